"""The ways around the transport are shut, and a failing rule lets nothing through."""

import json
import subprocess
from collections import Counter

import pytest

from tests.privacy.test_channels import CONTROL, USUAL
from tests.servers.sink import Sink

# Both print what a probing statement gets to see, and wait for what is sent.
START = {
    "project": "import django; django.setup()",
    "SDK": "import sentry_sdk, os; sentry_sdk.init(os.environ['SENTRY_DSN'])",
}
SECRET = "q7-in-a-local-variable"
SEND = f"""
import sentry_sdk
def fail():
    password_of_nobody = "{SECRET[:5]}" + "{SECRET[5:]}"
    raise ValueError("seen")
try:
    fail()
except ValueError:
    sentry_sdk.capture_exception()
sentry_sdk.flush(10)
"""


@pytest.fixture
def sink():
    with Sink() as sink:
        yield sink


@pytest.fixture
def other():
    """A second server, which nothing may reach."""
    with Sink() as other:
        yield other


@pytest.fixture(scope="module")
def python(probed, python_for):
    return python_for(probed, "uvicorn", "brotli")


@pytest.fixture
def run(probed, python, environment, sink):
    """Return a function that runs code in the project and returns its output."""

    def run(code, python=python, **variables):
        done = subprocess.run(
            [python, "-c", code],
            cwd=probed,
            env=environment
            | {"DJANGO_SETTINGS_MODULE": "config.settings", "SENTRY_DSN": sink.dsn}
            | {"SENTRY_TRACES_SAMPLE_RATE": "0"}
            | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


@pytest.mark.parametrize("start", START)
def test_spotlight_cannot_be_switched_on_by_a_variable(run, sink, other, start):
    run(START[start] + SEND, SENTRY_SPOTLIGHT=f"{other.url}/stream")
    assert len(sink.wait_for(lambda items: sink.events())) == 1
    assert len(other.requests) == (1 if start == "SDK" else 0)


@pytest.mark.parametrize("start", START)
def test_envelopes_cannot_be_printed_by_a_variable(run, sink, start):
    output = run(START[start] + SEND, SENTRY_PRINT_ENVELOPES="1")
    assert len(sink.wait_for(lambda items: sink.events())) == 1
    assert (SECRET in output) == (start == "SDK")


OTLP = {
    **START,
    "SDK": "import sentry_sdk, os\n"
    "from sentry_sdk.integrations.otlp import OTLPIntegration\n"
    "sentry_sdk.init(os.environ['SENTRY_DSN'], integrations=[OTLPIntegration()])",
}


@pytest.mark.parametrize("start", OTLP)
def test_opentelemetry_exports_nothing_to_sentry(run, probed, python_for, sink, start):
    code = """
from opentelemetry import trace
with trace.get_tracer("probe").start_as_current_span("exported"):
    pass
getattr(trace.get_tracer_provider(), "force_flush", lambda: None)()
"""
    run(
        f"{OTLP[start]}\n{SEND}\n{code}",
        python_for(probed, "uvicorn", "brotli", "sentry-sdk[opentelemetry-otlp]"),
    )
    assert len(sink.wait_for(lambda items: sink.events())) == 1
    exported = [request.path for request in sink.requests if "otlp" in request.path]
    assert len(exported) == (1 if start == "SDK" else 0)


@pytest.mark.parametrize(
    "server",
    [
        """
from config.wsgi import application
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/admin/login/", "HTTP_HOST": "a.example",
    "SERVER_NAME": "a", "SERVER_PORT": "80", "wsgi.url_scheme": "http",
    "wsgi.input": __import__("io").BytesIO(), "HTTP_SENTRY_TRACE": TRACE,
    "HTTP_BAGGAGE": BAGGAGE}
for _ in range(20):
    application(environ, lambda *arguments: None).close()
""",
        """
import asyncio
from asgiref.testing import ApplicationCommunicator
from config.asgi import application
scope = {"type": "http", "method": "GET", "path": "/admin/login/", "query_string": b"",
    "asgi": {"version": "3.0"}, "headers": [(b"host", b"a.example"),
    (b"sentry-trace", TRACE.encode()), (b"baggage", BAGGAGE.encode())]}
async def call():
    communicator = ApplicationCommunicator(application, scope)
    await communicator.send_input({"type": "http.request"})
    await communicator.receive_output(60)
    await communicator.wait(60)
for _ in range(20):
    asyncio.run(call())
""",
    ],
    ids=["wsgi", "asgi"],
)
@pytest.mark.parametrize(("rate", "traces"), [("0", 0), ("1", 20)])
def test_a_client_can_neither_force_a_trace_nor_choose_its_id(
    run, sink, server, rate, traces
):
    trace_id = "0123456789abcdef0123456789abcdef"
    names = (
        f"TRACE = '{trace_id}-0123456789abcdef-1'\n"
        f"BAGGAGE = 'sentry-trace_id={trace_id},sentry-sampled=true,"
        "sentry-sample_rate=1,sentry-org_id=1'\n"
    )
    code = START["project"] + "\n" + names + server + "import sentry_sdk\n"
    run(code + "sentry_sdk.flush(10)", SENTRY_TRACES_SAMPLE_RATE=rate)
    sink.wait_for(lambda items: len(sink.transactions()) >= traces)
    assert len(sink.transactions()) == traces
    assert trace_id.encode() not in sink.decoded()


# What each stands for in the table of channels; there, both kinds of server and of traces
# are tried.
WAYS = {
    "incoming baggage": "baggage: a Sentry member",
    "the command line": "argument of the command line",
    "the host name": "host name",
    "the environment of runserver": "environment: ordinary name",
    "the context of templates": "template: context of render()",
    "@sensitive_variables": "frame: @sensitive_variables",
}


@pytest.mark.parametrize("channel", WAYS.values(), ids=WAYS)
def test_what_the_sdk_collects_behind_the_back_stays_in(capture, channel):
    assert channel in capture(CONTROL).leaks["short"]
    for column in USUAL:
        assert channel not in set().union(*capture(column).leaks.values())


# --- Fail closed ------------------------------------------------------------------------

BREAK = """
import json, logging
from monitoring.redaction.rules import Rules
def broken(self, *arguments):
    raise RuntimeError("the rule quotes hunter2-and-more")
Rules.{rule} = broken
"""


def lost(sink):
    """Return {(reason, category): quantity} of the client reports."""
    total = Counter()
    for item in sink.items("client_report"):
        for event in item.json["discarded_events"]:
            total[event["reason"], event["category"]] += event["quantity"]
    return total


@pytest.mark.parametrize(
    ("rule", "send", "category"),
    [
        ("event", "sentry_sdk.capture_message('seen')", "error"),
        ("frame", SEND, "error"),
        ("log", "sentry_sdk.logger.info('seen')", "log_item"),
        ("metric", "sentry_sdk.metrics.count('seen', 1)", "trace_metric"),
        (
            "check_in",
            "sentry_sdk.crons.capture_checkin('seen', status='ok')",
            "monitor",
        ),
    ],
)
def test_an_item_whose_rule_fails_is_dropped_and_counted(
    run, sink, rule, send, category
):
    # The report goes out with the next envelope, or with an empty one.
    output = run(
        f"{BREAK.format(rule=rule)}\n{START['project']}\n"
        f"import sentry_sdk, sentry_sdk.crons\n{send}\n{send}\nsentry_sdk.flush(10)\n"
        "sentry_sdk.get_client().transport._flush_client_reports(force=True)\n"
        "sentry_sdk.flush(10)"
    )
    sink.wait_for(lambda items: lost(sink)["event_processor", category] >= 2)
    assert b'"seen"' not in sink.decoded()
    assert output.count("Dropped a Sentry") == 1
    assert "RuntimeError" in output
    assert "hunter2" not in output
    assert b"hunter2" not in sink.decoded()


def test_nothing_is_sent_if_the_headers_cannot_be_redacted(run, sink):
    code = BREAK.format(rule="none_of_them") + (
        "from monitoring.redaction.transport import Redaction\n"
        "Redaction.headers = broken\n"
    )
    output = run(f"{code}{START['project']}\n{SEND}")
    assert sink.events() == []
    assert "Dropped a Sentry header: RuntimeError" in output


def test_unknown_items_and_attachments_are_dropped_and_counted(run, sink):
    run(
        f"{START['project']}\n"
        "import sentry_sdk\n"
        "from sentry_sdk.envelope import Envelope, Item\n"
        "envelope = Envelope()\n"
        "envelope.add_item(Item(b'not to be seen', type='attachment'))\n"
        "envelope.add_item(Item(b'not to be seen', type='replay_recording'))\n"
        "envelope.add_item(Item(b'not JSON', type='event'))\n"
        "sentry_sdk.get_client().transport.capture_envelope(envelope)\n"
        "sentry_sdk.get_client().transport._flush_client_reports(force=True)\n"
        "sentry_sdk.flush(10)"
    )
    expected = {"client_report", "event"}
    sink.wait_for(lambda items: {item.type for item in items} >= expected)
    assert [e["logentry"] for e in sink.events()] == [
        {"message": "Dropped a Sentry %s: %s"}
    ]
    assert {item.type for item in sink.items()} == expected
    assert b"not to be seen" not in sink.decoded()
    assert b"not JSON" not in sink.decoded()
    assert lost(sink)["event_processor", "attachment"] == len("not to be seen")
    assert lost(sink)["event_processor", "error"] == 1


def test_values_that_are_not_json_do_not_stop_an_event(run, sink):
    run(
        f"{START['project']}\n"
        "import sentry_sdk\n"
        "scope = sentry_sdk.get_current_scope()\n"
        "scope.set_extra('ratio', float('nan'))\n"
        "scope.set_context('size', {'width': float('inf'), 'name': '\\ud800'})\n"
        "sentry_sdk.capture_message('seen')\n"
        "sentry_sdk.flush(10)"
    )
    (event,) = sink.wait_for(lambda items: sink.events())
    assert event["extra"]["ratio"] == "nan"
    assert event["contexts"]["size"]["width"] == "inf"
    json.dumps(event, allow_nan=False)
