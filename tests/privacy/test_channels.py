"""Nothing secret leaves the process, in any kind of telemetry."""

import re
from itertools import product

import pytest

from tests.matrix import ROOT
from tests.privacy.probe.channels import AUTOMATIC, DEVELOPER
from tests.privacy.run import CHANNELS, Column, without_network

KIND = {channel.name: channel.kind for channel in CHANNELS}

# What the project collects; and, lest only the collection keeps secrets in, all that the
# SDK can collect.
USUAL = [
    Column(server, lifecycle, collection)
    for server, lifecycle, collection in [
        *product(["wsgi", "asgi"], ["static", "stream"], ["project"]),
        ("wsgi", "stream", "everything"),
        ("asgi", "static", "everything"),
    ]
]
STRICT = [
    Column("wsgi", "static", "everything", "strict"),
    Column("asgi", "stream", "project", "strict"),
]
CONTROL = Column("wsgi", "static", "everything", "none")

# Where 12 letters and digits that a developer wrote himself leave as he wrote them: no
# pattern can tell them from a word. Strict mode drops them.
WRITTEN = {
    "path: argument with an ordinary name",
    "exception: message",
    "exception: several arguments",
    "exception: dictionary",
    "exception: bytes",
    "exception: its own __str__",
    "exception: key",
    "exception: note",
    "exception: context",
    "exception: cause",
    "exception: group",
    "exception: name of the class",
    "exception: assertion",
    "exception: attribute",
    "exception: import",
    "exception: path of a file",
    "exception: file name of compiled code",
    "exception: SystemError",
    "exception: ImproperlyConfigured",
    "exception: e-mail refused",
    "exception: no such URL",
    "exception: path that does not resolve",
    "exception: template that is included",
    "exception: no such template",
    "exception: command that failed",
    "exception: command that took too long",
    "source: text in a template",
    "source: line of a template",
    "source: comment in a template",
    "log: f-string",
    "log: f-string of an info",
    "log: object as message",
    "log: exception as message",
    "log: name of the logger",
    "log: extra",
    "log: nested extra",
    "log: Sentry's logger",
    "log: name of an attribute",
    "message",
    "breadcrumb: message",
    "breadcrumb: data",
    "breadcrumb: nested data",
    "breadcrumb: name in data",
    "breadcrumb: category",
    "breadcrumb: type",
    "tag",
    "tag: name",
    "extra",
    "extra: nested",
    "extra: name",
    "extra: nested name",
    "extra: object",
    "extra: bytes",
    "extra: deep",
    "extra: number",
    "context",
    "context: nested",
    "context: name",
    "context: number",
    "fingerprint",
    "user: id",
    "user: username",
    "transaction: name",
    "transaction: of the developer",
    "span: name",
    "span: op",
    "span: function",
    "span: signal receiver",
    "span: tag",
    "span: status",
    "span data: name",
    "span data: number",
    "measurement: name",
    "scope attribute: name",
    "metric: name",
    "metric: name of an attribute",
    "metric: unit",
    "check-in: slug",
    "check-in: schedule",
    "flag: name",
}


def test_the_table_has_channels_enough():
    assert len(CHANNELS) >= 350
    assert f"planted in {len(CHANNELS)} places" in (ROOT / "README.md").read_text()
    assert sum(channel.kind == AUTOMATIC for channel in CHANNELS) >= 200
    assert {name for name in WRITTEN if KIND[name] != DEVELOPER} == set()


def assert_kept_in(result, expected_in_short=frozenset()):
    leaks = {form: set(names) for form, names in result.leaks.items()}
    assert {
        n for names in leaks.values() for n in names if KIND[n] == AUTOMATIC
    } == set()
    assert leaks.pop("short") <= expected_in_short
    assert leaks and set().union(*leaks.values()) == set()
    # None of the ways around the transport was open.
    assert result.bypasses == []
    assert "event_id" not in result.output
    assert "Dropped a Sentry" not in result.output


@pytest.mark.parametrize("column", USUAL, ids=str)
def test_no_secret_leaves(capture, measure, column):
    result = capture(column)
    assert_kept_in(result, WRITTEN)
    planted = len(CHANNELS) - len(result.unsupported)
    measure("channels tried for leaks, in all columns", planted * len(column.forms))
    measure("of them leaked text that a developer wrote", len(result.leaks["short"]))


def test_no_more_is_listed_as_leaking_than_leaks(capture):
    leaks = {name for column in USUAL for name in capture(column).leaks["short"]}
    assert leaks == WRITTEN


@pytest.mark.parametrize("column", STRICT, ids=str)
def test_strict_mode_leaves_nothing_at_all(capture, column):
    assert_kept_in(capture(column))


@pytest.mark.parametrize(
    "column",
    [Column("wsgi", "stream", "everything"), Column("asgi", "static", "everything")],
    ids=str,
)
def test_the_oldest_sdk_keeps_secrets_in_as_well(capture, oldest, column):
    assert_kept_in(capture(column, oldest), WRITTEN)


def test_the_channels_are_open_without_redaction(capture, measure):
    """A channel that could not leak anyway would prove nothing."""
    leaks = capture(CONTROL).leaks["short"]
    measure("channels open without redaction", len(leaks))
    assert len(leaks) >= 300
    assert sum(KIND[name] == AUTOMATIC for name in leaks) >= 200
    topics = {channel.topic for channel in CHANNELS}
    assert {channel.topic for channel in CHANNELS if channel.name in leaks} == topics


@pytest.mark.parametrize("column", [*USUAL, *STRICT, CONTROL], ids=str)
def test_every_request_and_every_kind_of_item_was_made(capture, column):
    result = capture(column)
    assert set(result.statuses.values()) <= {200, 400, 403, 404, 500}
    assert all(result.statuses[f"code, {form}"] == 200 for form in column.forms)
    traces = {"span"} if column.lifecycle == "stream" else {"transaction", "profile"}
    common = {"event", "log", "trace_metric", "check_in", "session", "sessions"}
    assert set(result.types) >= traces | common
    # Attachments never leave, and what stays behind is counted.
    assert ("attachment" in result.types) == (column.redaction == "none")
    assert "client_report" in result.types


def test_nothing_but_loopback_existed(capture):
    if not without_network():
        pytest.skip("the kernel refuses `unshare --user --net`")
    assert capture(USUAL[0]).isolated


@pytest.mark.parametrize("column", [*USUAL, *STRICT], ids=str)
def test_other_services_learn_nothing_of_the_trace(capture, column):
    """Neither the trace of this project nor the `sentry-*` baggage of a visitor."""
    calls = capture(column).upstream
    assert len(calls) == len(column.forms)
    for headers in calls:
        assert not {"sentry-trace", "baggage", "traceparent"} & set(headers)


def test_the_documentation_says_what_becomes_of_each_channel():
    """Each topic is a row of the table in docs/privacy.md, and the other way round."""
    text = (ROOT / "template/docs/privacy.md").read_text()
    rows = re.findall(r"^\| (.+?) \|.*\|.*\|$", text, re.M)
    assert set(rows) - {"topic", "---"} == {channel.topic for channel in CHANNELS}


# --- What stays, so that dropping everything would not pass -----------------------------


@pytest.fixture(params=USUAL, ids=str)
def kept(request, capture):
    return capture(request.param)


@pytest.fixture
def event(kept):
    return event_of(kept)


def event_of(result):
    (event,) = [e for e in result.of("event") if e.get("transaction") == "/probe/kept/"]
    return event


def test_the_exception_stays(event):
    value = event["exception"]["values"][-1]
    assert value["type"] == "ValueError"
    assert value["value"] == "The bank refused order 1234 with password=[Filtered]"
    frame = value["stacktrace"]["frames"][-1]
    assert frame["filename"] == "probe/views.py"
    assert frame["function"] == "kept"
    assert frame["lineno"] > 0
    assert frame["context_line"].startswith("    raise ValueError(")
    assert len(frame["pre_context"]) >= 3
    assert "vars" not in frame


def test_the_request_stays(event):
    assert event["transaction"] == "/probe/kept/"
    assert event["request"]["method"] == "GET"
    assert event["request"]["url"].startswith("http://127.0.0.1:")
    assert event["request"]["url"].endswith("/probe/kept/")
    assert event["tags"] | {"plan": "gold"} == {
        "plan": "gold",
        "request_id": event["event_id"],
        "request_path": "/probe/kept/",
        "request_method": "GET",
        "storage_backend": "FileSystemStorage",
    }
    assert event["environment"] == "staging"
    assert event["release"] == "abc1234"


def test_the_user_stays(event):
    assert event["user"] == {"id": 1, "username": "alice-short", "is_staff": True}


def test_what_the_developer_attached_stays(event):
    assert event["tags"]["plan"] == "gold"
    assert event["extra"]["cart"] == {"items": 3, "colours": ["red", "green"]}
    assert event["contexts"]["cart"] == {"items": 3, "currency": "EUR"}


def test_breadcrumbs_stay(event):
    crumbs = event["breadcrumbs"]["values"]
    messages = [crumb.get("message") for crumb in crumbs]
    assert "opened the cart" in messages
    assert "SELECT ? FROM accounts_user WHERE id = ? AND ? = ?" in messages
    assert "The cart of %s is full" in messages
    assert any(
        message and message.startswith('SELECT "accounts_user"."id", "accounts_user".')
        for message in messages
    )
    (http,) = [crumb["data"] for crumb in crumbs if crumb["category"] == "httplib"]
    assert set(http.values()) >= {"GET", 200}


def spans(result):
    """Return (op, name, data) of the spans, in whichever form they were sent."""
    for transaction in result.of("transaction"):
        for span in transaction["spans"]:
            yield span["op"], span["description"], span["data"]
    for batch in result.of("span"):
        for span in batch["items"]:
            data = {key: item["value"] for key, item in span["attributes"].items()}
            yield data.get("sentry.op"), span["name"], data


def test_spans_stay(kept):
    found = list(spans(kept))
    names = {(op, name) for op, name, _ in found}
    assert ("view.render", "probe.views.kept") in names
    assert ("cart", "price the cart") in names
    statement = "SELECT ? FROM accounts_user WHERE id = ? AND ? = ?"
    assert ("db", statement) in names
    assert ("middleware.django", "middleware before the view") in names
    # Not the one in which the SDK sends what it streams.
    (http,) = [(name, data) for _, name, data in found if name.startswith("GET http")]
    assert http[0].startswith("GET http://localhost:")
    assert http[1].get("http.response.status_code", http[1].get("status_code")) == 200
    hits = [data["cache.hit"] for op, _, data in found if op == "cache.get"]
    assert hits == [True, False]


def test_the_route_and_the_status_of_a_request_stay(kept):
    routes = {
        (t["transaction"], t["contexts"]["response"]["status_code"])
        for t in kept.of("transaction")
    } | {
        (name, data["http.response.status_code"])
        for op, name, data in spans(kept)
        if op == "http.server"
    }
    assert ("/probe/kept/", 500) in routes
    assert ("/probe/login/{form}/", 200) in routes


def test_logs_and_metrics_stay(kept):
    logs = [log for batch in kept.of("log") for log in batch["items"]]
    assert "The cart of %s is full" in [log["body"] for log in logs]
    (metric,) = [
        metric for batch in kept.of("trace_metric") for metric in batch["items"]
    ]
    assert metric["name"] == "orders"
    assert metric["value"] == 2
    assert metric["attributes"]["items"] == {"value": 3, "type": "integer"}


@pytest.mark.parametrize("column", STRICT, ids=str)
def test_strict_mode_keeps_the_structure(capture, column):
    result = capture(column)
    event = event_of(result)
    value = event["exception"]["values"][-1]
    assert value["type"] == "ValueError"
    assert value["value"] == "[Filtered]"
    assert value["stacktrace"]["frames"][-1]["function"] == "kept"
    assert event["transaction"] == "/probe/kept/"
    assert event["user"] == {"id": 1, "is_staff": True}
    assert event["tags"] == {
        "request_id": event["event_id"],
        "request_path": "/probe/kept/",
        "request_method": "GET",
        "storage_backend": "FileSystemStorage",
    }
    assert "extra" not in event
    assert ("view.render", "probe.views.kept") in {s[:2] for s in spans(result)}
