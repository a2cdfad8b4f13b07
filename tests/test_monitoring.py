"""What arrives at Sentry, read from the wire of a project that gunicorn serves."""

import http.cookiejar
import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import pytest

from tests.servers.process import Process, free_port
from tests.servers.sink import Sink

TOKEN = "0123456789abcdef" * 4
PASSWORD = "correct horse battery"

# Views and a middleware as a project would have them, beside the debug endpoint.
PROBES = {
    "probe_urls.py": f'''
from config.urls import path, urlpatterns
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
import logging

@csrf_exempt
def checkout(request, token):
    card_password = "not to be seen"
    logging.getLogger("shop").info("paying with %s", "{TOKEN}")
    raise ValueError("The bank refused the token {TOKEN}")

def denied(request):
    logging.getLogger("security").warning("a failed login")
    logging.getLogger("django.security.csrf").warning("a forged form")
    logging.getLogger("shop").warning("the basket was empty")
    raise ValueError("after security events")

async def later(request):
    raise RuntimeError("raised in an async view")

def page(request):
    return render(request, "home.html", {{"api_token": "{TOKEN}"}})

urlpatterns = [
    path("checkout/<token>/", checkout),
    path("denied/", denied),
    path("later/", later),
    path("page/", page),
    *urlpatterns,
]
''',
    "probe_wsgi.py": """
import sentry_sdk
from config.wsgi import application

for number in range(20):
    sentry_sdk.capture_message(f"before the fork, {number}")
""",
    "probe_middleware.py": """
class Failing:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.path == "/middleware/":
            raise LookupError("raised in a middleware")
        return self.get_response(request)
""",
    "probe_settings.py": """
from config.settings import *

ROOT_URLCONF = "probe_urls"
MIDDLEWARE = [*MIDDLEWARE, "probe_middleware.Failing"]
""",
}


class Browser:
    """Keeps cookies, follows nothing it is not told to, and never raises."""

    def __init__(self, url):
        self.url = url
        jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPCookieProcessor(jar),
        )

    def get(self, path, headers=None, data=None):
        """Return (status, body)."""
        data = data and urllib.parse.urlencode(data).encode()
        request = urllib.request.Request(self.url + path, data, headers or {})
        try:
            with self.opener.open(request, timeout=60) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def log_in(self, username="alice"):
        _, form = self.get("/admin/login/")
        csrf = re.search(r'csrfmiddlewaretoken" value="(\w+)"', form)[1]
        status, page = self.get(
            "/admin/login/?next=/admin/",
            data={
                "username": username,
                "password": PASSWORD,
                "csrfmiddlewaretoken": csrf,
            },
        )
        assert status == 200
        assert "Site administration" in page


def command(server, python, port, application="config"):
    """Return the command that serves the project."""
    address = f"127.0.0.1:{port}"
    return {
        "gunicorn": [python.parent / "gunicorn", "--bind", address, "config.wsgi"],
        "runserver": [python, "manage.py", "runserver", address],
        "uvicorn": [
            *(python, "-m", "uvicorn", "--port", str(port), "config.asgi:application")
        ],
    }[server]


def migrate_with_user(folder, python, environment):
    """Make the tables of a project, and the superuser whom `Browser.log_in` expects."""
    create = (
        "from django.contrib.auth import get_user_model as model;"
        f"model().objects.create_superuser('alice', 'alice@example.com', '{PASSWORD}')"
    )
    for arguments in (["migrate", "-v0"], ["shell", "-c", create]):
        command = [python, "manage.py", *arguments]
        subprocess.run(command, cwd=folder, env=environment, check=True)


@pytest.fixture(scope="module")
def project(render, python_for, environment, tmp_path_factory):
    """A project with the default answers, a user, and the probes above."""
    folder = render(tmp_path_factory.mktemp("monitored") / "my_site")
    for name, text in PROBES.items():
        (folder / name).write_text(text)
    python = python_for(folder, "uvicorn")
    migrate_with_user(folder, python, environment)
    return folder, python


@pytest.fixture(scope="module")
def serve(project, environment):
    """Return a function that serves the project with these variables."""
    folder, python = project

    def start(server="gunicorn", settings="probe_settings", ready="/healthz/", **more):
        port = free_port()
        process = Process(
            command(server, python, port),
            cwd=folder,
            env=environment | {"DJANGO_SETTINGS_MODULE": settings} | more,
            ready_url=f"http://127.0.0.1:{port}{ready}",
        )
        return process

    return start


@pytest.fixture(scope="module", params=["gunicorn", "uvicorn"])
def traced(request, serve):
    """(browser, sink) of a project under WSGI or ASGI that traces every request."""
    with (
        Sink() as sink,
        serve(
            request.param,
            SENTRY_DSN=sink.dsn,
            SENTRY_TRACES_SAMPLE_RATE="1",
            SENTRY_PROFILES_SAMPLE_RATE="1",
            ENVIRONMENT="staging",
            GIT_COMMIT="abc1234",
        ) as process,
    ):
        yield Browser(process.url), sink


def error(sink, text, type="event"):
    """Wait for the event in which `text` stands, and return it."""

    def find(items):
        found = [item for item in items if item.type == type]
        return next((i.json for i in found if text in json.dumps(i.json)), None)

    return sink.wait_for(find)


def frames(event):
    return event["exception"]["values"][-1]["stacktrace"]["frames"]


DEBUG_ERRORS = {
    "division": ("ZeroDivisionError", "division"),
    "value": ("ValueError", "value"),
    "api_key": ("PermissionError", "api_key"),
    "database": ("OperationalError", "execute"),
    "template": ("ZeroDivisionError", "divisibleby"),
    "middleware": ("RuntimeError", "process_request"),
}


@pytest.mark.parametrize("kind", DEBUG_ERRORS)
def test_errors_arrive_with_stack_trace_request_and_tags(traced, kind):
    browser, sink = traced
    sink.clear()
    status, _ = browser.get(f"/api/v1/debug/sentry-test/?type={kind}")
    assert status == 500
    name, function = DEBUG_ERRORS[kind]
    event = error(sink, name)
    assert event["exception"]["values"][-1]["type"] == name
    assert function in [frame.get("function") for frame in frames(event)]
    assert "monitoring/views.py" in [frame["filename"] for frame in frames(event)]
    assert event["request"]["method"] == "GET"
    assert event["request"]["url"] == f"{browser.url}/api/v1/debug/sentry-test/"
    assert event["environment"] == "staging"
    assert event["release"] == "abc1234"
    assert event["transaction"] == "/api/v1/debug/sentry-test/"
    assert event["tags"] == {
        "request_id": event["event_id"],
        "request_path": "/api/v1/debug/sentry-test/",
        "request_method": "GET",
        "storage_backend": "FileSystemStorage",
    }
    if kind == "database":
        messages = [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
        assert "SELECT * FROM monitoring_no_such_table" in messages


def test_logged_errors_arrive_without_their_parameters(traced):
    browser, sink = traced
    sink.clear()
    browser.get("/api/v1/debug/sentry-test/?type=logging")
    event = error(sink, "test error of the log")
    assert event["logger"] == "monitoring.views"
    assert event["level"] == "error"
    message = "This is a test error of the log, number %d"
    assert event["logentry"] == {"message": message}


def test_security_events_are_no_breadcrumbs(traced):
    browser, sink = traced
    sink.clear()
    browser.get("/denied/")
    event = error(sink, "after security events")
    messages = [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
    assert messages == ["the basket was empty"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/middleware/", "raised in a middleware"),
        ("/later/", "raised in an async view"),
    ],
)
def test_errors_of_middleware_and_async_views_arrive(traced, path, text):
    browser, sink = traced
    sink.clear()
    browser.get(path)
    event = error(sink, text)
    assert event["tags"]["request_path"] == path


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/later/", "raised in an async view"),
        ("/api/v1/debug/sentry-test/?type=value", "ValueError"),
    ],
)
def test_errors_say_who_was_logged_in(traced, path, text):
    browser, sink = traced
    browser = Browser(browser.url)
    browser.log_in()
    sink.clear()
    browser.get(path)
    event = error(sink, text)
    error(sink, event["event_id"], "transaction")
    assert event["user"] == {"id": 1, "username": "alice", "is_staff": True}
    assert b"alice@example.com" not in sink.decoded()


def test_errors_of_visitors_name_nobody(traced):
    browser, sink = traced
    sink.clear()
    Browser(browser.url).get("/api/v1/debug/sentry-test/?type=value")
    assert "user" not in error(sink, "ValueError")


def test_transactions_hold_middleware_sql_and_cache_spans(traced):
    browser, sink = traced
    browser = Browser(browser.url)
    browser.log_in()
    sink.clear()
    browser.get("/api/v1/debug/sentry-test/?type=cache")
    browser.get("/admin/")
    # By what it holds: others, of earlier requests, may arrive at any time.
    cache = error(sink, '"cache.get"', "transaction")
    admin = error(sink, "admin/index.html", "transaction")
    spans = cache["spans"] + admin["spans"]
    assert cache["transaction_info"] == {"source": "route"}
    assert cache["contexts"]["trace"]["op"] == "http.server"
    assert [s["data"]["cache.hit"] for s in spans if s["op"] == "cache.get"] == [
        False,
        True,
    ]
    sql = [span["description"] for span in spans if span["op"] == "db"]
    assert any('FROM "accounts_user"' in statement for statement in sql)
    middleware = [s for s in admin["spans"] if s["op"] == "middleware.django"]
    assert [span["description"] for span in middleware] == [
        "middleware before the view"
    ]


def test_slow_queries_can_be_found(traced):
    browser, sink = traced
    sink.clear()
    browser.get("/api/v1/debug/sentry-test/?type=slow_query")
    transaction = error(sink, "RECURSIVE", "transaction")
    (span,) = [s for s in transaction["spans"] if "RECURSIVE" in s["description"]]
    assert span["op"] == "db"
    assert "code.filepath" in span["data"] or "code.file.path" in span["data"]


def test_nothing_that_is_filtered_leaves_in_any_item(traced):
    browser, sink = traced
    sink.clear()
    secrets = {
        "Authorization": "Bearer bearer-value",
        "Cookie": "sessionid=cookie-value",
        "X-Api-Key": "header-value",
    }
    form = {name: f"{name}-value" for name in ("password", "api_key", "secret", "key")}
    browser.get("/page/?token=query-value", headers=secrets)
    browser.get(f"/checkout/{TOKEN}/?token=query-value", headers=secrets, data=form)
    browser.get("/nowhere/9f8e7d6c5b4a/", headers=secrets)
    event = error(sink, "The bank refused the token")
    assert event["exception"]["values"][-1]["value"].endswith("[REDACTED_TOKEN]")
    assert event["request"]["url"] == f"{browser.url}/checkout/[Filtered]/"
    for path in ("/page/", "/checkout/", "/nowhere/[Filtered]/"):
        error(sink, path, "transaction")
    sink.assert_absent(
        [
            TOKEN,
            "bearer-value",
            "cookie-value",
            "header-value",
            "query-value",
            "not to be seen",
            "9f8e7d6c5b4a",
            *form.values(),
        ]
    )


def test_profiles_arrive_at_their_rate(serve):
    with (
        Sink() as sink,
        serve(
            SENTRY_DSN=sink.dsn,
            SENTRY_TRACES_SAMPLE_RATE="1",
            SENTRY_PROFILES_SAMPLE_RATE="1",
        ) as process,
    ):
        Browser(process.url).get("/api/v1/debug/sentry-test/?type=slow_query")
        profile = error(sink, "slow_query", "profile")
    assert profile["profile"]["frames"]


def test_probes_are_never_traced_and_clients_cannot_force_it(serve):
    force = {"sentry-trace": "0123456789abcdef0123456789abcdef-0123456789abcdef-1"}
    with (
        Sink() as sink,
        serve(SENTRY_DSN=sink.dsn, SENTRY_TRACES_SAMPLE_RATE="0") as process,
    ):
        for path in ("/healthz/", "/readyz/", "/", "/admin/login/"):
            Browser(process.url).get(path, headers=force)
        Browser(process.url).get("/api/v1/debug/sentry-test/?type=value")
        error(sink, "ValueError")
        process.stop()
        assert "transaction" not in {item.type for item in sink.items()}


@pytest.mark.parametrize("server", ["gunicorn", "runserver", "uvicorn"])
def test_start_is_announced_once(serve, server):
    with (
        Sink() as sink,
        serve(server, SENTRY_DSN=sink.dsn, ENVIRONMENT="production") as process,
    ):
        line = "Sentry initialized for environment 'production'"
        assert process.output().count(line) == 1


def test_without_a_dsn_nothing_is_announced(serve):
    with serve(SENTRY_DSN="") as process:
        Browser(process.url).get("/")
        assert "Sentry" not in process.output()


@pytest.mark.parametrize(
    ("name", "value", "check_id"),
    [
        ("SENTRY_DSN", "https://sentry.example/1", "monitoring.E001"),
        ("SENTRY_TRACES_SAMPLE_RATE", "10%", "monitoring.E002"),
        ("SENTRY_PROFILES_SAMPLE_RATE", "-1", "monitoring.E003"),
    ],
)
def test_a_mistake_stops_the_checks_but_not_the_site(
    project, serve, environment, name, value, check_id
):
    folder, python = project
    variables = {"SENTRY_DSN": "http://public@127.0.0.1:9/1", name: value}
    checks = subprocess.run(
        [python, "manage.py", "check"],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
    )
    assert checks.returncode == 1
    assert check_id in checks.stderr
    assert "HINT" in checks.stderr
    with serve(**variables) as process:
        assert Browser(process.url).get("/")[0] == 200
        assert process.output().count("Monitoring is off") == 1
        assert name in process.output()
        assert "Traceback" not in process.output()


def test_errors_are_delivered_while_the_server_stops(serve):
    with (
        Sink() as sink,
        serve(SENTRY_DSN=sink.dsn, SENTRY_TRACES_SAMPLE_RATE="0") as process,
    ):
        sink.mode = "slow:0.1"  # so that most of them wait when it stops
        for _ in range(20):
            Browser(process.url).get("/api/v1/debug/sentry-test/?type=value")
        process.stop()
        sink.wait_for(lambda items: len(sink.events()) >= 20)
        assert len(sink.events()) == 20


def test_what_waits_while_workers_are_forked_arrives_once(project, environment):
    folder, python = project
    port = free_port()
    address = f"127.0.0.1:{port}"
    with Sink() as sink:
        with Process(
            [
                *(python.parent / "gunicorn", "--bind", address, "--workers", "3"),
                "probe_wsgi",
            ],
            cwd=folder,
            env=environment | {"SENTRY_DSN": sink.dsn},
            ready_url=f"http://{address}/healthz/",
        ) as process:
            for _ in range(12):
                Browser(process.url).get("/api/v1/debug/sentry-test/?type=value")
            error(sink, "ValueError")
            process.stop()

        def messages():
            return [event["message"] for event in sink.events() if "message" in event]

        sink.wait_for(lambda items: len(messages()) >= 20)
        assert sorted(messages()) == sorted(f"before the fork, {n}" for n in range(20))
