"""What an operator relies on: references that meet, no noise, scheduled commands."""

import json
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from tests.servers.process import Process, free_port
from tests.servers.sink import Sink

FILES = {
    "probe_urls.py": """
import logging
import time

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.http.request import UnreadablePostError

from config.urls import handler500, path, urlpatterns

logger = logging.getLogger("shop")


def raises(error):
    def view(request):
        raise error

    return view


def fail(request):
    logger.error("the till is stuck")
    raise ValueError("the basket is empty")


def twice(request):
    from sentry_sdk import capture_exception

    try:
        raise LookupError("no such basket")
    except LookupError as error:
        capture_exception(error)
    raise ValueError("the basket is empty")


async def later(request):
    raise ValueError("the basket is empty")


def endless(request):
    return StreamingHttpResponse(b"x" * 100_000 for _ in range(10_000))


urlpatterns += [
    path("fail/", fail),
    path("twice/", twice),
    path("later/", later),
    path("endless/", endless),
    path("missing/", raises(Http404("no such page"))),
    path("denied/", raises(PermissionDenied("not yours"))),
    path("odd/", raises(SuspiciousOperation("odd"))),
    path("gone/", raises(BrokenPipeError("the visitor went away"))),
    path("reset/", raises(UnreadablePostError("the visitor went away"))),
]
""",
    "probe_settings.py": """
from config.settings import *

ROOT_URLCONF = "probe_urls"
""",
}


@pytest.fixture(scope="module")
def project(render, python_for, tmp_path_factory, environment):
    """A project for production, with the views above and a database."""
    folder = render(
        tmp_path_factory.mktemp("operations") / "my_site",
        environment="production",
        use_docker=False,
    )
    for name, text in FILES.items():
        (folder / name).write_text(text)
    python = python_for(folder, "uvicorn")
    for arguments in (["migrate", "-v0"], ["collectstatic", "-v0", "--noinput"]):
        command = [python, "manage.py", *arguments]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    return folder, python


@pytest.fixture
def sink():
    with Sink() as sink:
        yield sink


@pytest.fixture
def serve(project, environment):
    """Return a function that serves the project for this DSN, in one process."""
    folder, python = project

    def serve(dsn, server="gunicorn"):
        port = free_port()
        module = {
            "gunicorn": ["gunicorn", "--bind", f"127.0.0.1:{port}", "config.wsgi"],
            "uvicorn": ["uvicorn", "--port", port, "config.asgi:application"],
        }[server]
        settings = {
            "DJANGO_SETTINGS_MODULE": "probe_settings",
            "SENTRY_TRACES_SAMPLE_RATE": "1",
            "WEB_CONCURRENCY": "1",
        }
        return Process(
            [python, "-m", *module],
            cwd=folder,
            env=environment | settings | {"SENTRY_DSN": dsn},
            ready_url=f"http://127.0.0.1:{port}/healthz/",
        )

    return serve


def get(site, path, host="example.com"):
    """Return (status, headers, body) of a request that came through a proxy."""
    headers = {"Host": host, "X-Forwarded-Proto": "https"}
    request = urllib.request.Request(site.url + path, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        response = opener.open(request, timeout=60)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return response.status, response.headers, response.read().decode()


# --- References -----------------------------------------------------------------------


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
@pytest.mark.parametrize("path", ["/fail/", "/later/"])
def test_page_header_log_and_event_share_a_reference(serve, sink, server, path):
    with serve(sink.dsn, server) as site:
        status, headers, page = get(site, path)
        reference = headers["X-Request-ID"]
        raised = sink.wait_for(lambda items: unhandled(sink))
        transaction = sink.wait_for(lambda items: sink.transactions())
        (line,) = re.findall(r".* \[(\w+)\]: Internal Server Error", site.output())
    assert status == 500
    assert f"<code>{reference}</code>" in page
    assert line == reference
    assert [event["event_id"] for event in raised] == [reference]
    assert transaction[0]["event_id"] != reference
    for event in (*sink.events(), *transaction):
        assert event["tags"]["request_id"] == reference
    headers = [envelope.headers.get("event_id") for envelope in sink.envelopes]
    assert reference in headers


def test_of_several_errors_of_a_request_the_unhandled_has_its_reference(serve, sink):
    with serve(sink.dsn) as site:
        _, headers, _ = get(site, "/twice/")
        events = sink.wait_for(
            lambda items: sink.events() if len(sink.events()) == 2 else None
        )
    handled, raised = sorted(
        events, key=lambda event: event["event_id"] in headers.values()
    )
    assert raised["event_id"] == headers["X-Request-ID"]
    assert handled["event_id"] != raised["event_id"]
    assert handled["tags"]["request_id"] == raised["tags"]["request_id"]


def unhandled(sink):
    return [
        event
        for event in sink.events()
        if any(
            value["mechanism"]["handled"] is False
            for value in (event.get("exception") or {"values": []})["values"]
        )
    ]


# --- Noise ----------------------------------------------------------------------------


def hang_up(site, path):
    """Ask for something long, and go away after the first bytes."""
    host, _, port = site.url.removeprefix("http://").partition(":")
    request = (
        f"GET {path} HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-Proto: https\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(request.encode())
        connection.recv(1000)


def test_what_is_no_error_of_the_site_is_not_reported(serve, sink):
    with serve(sink.dsn) as site:
        statuses = {
            path: get(site, path)[0]
            for path in ("/missing/", "/denied/", "/odd/", "/gone/", "/reset/", "/no/")
        }
        refused, _, _ = get(site, "/", host="evil.example")
        hang_up(site, "/endless/")
        get(site, "/fail/")
        sink.wait_for(lambda items: unhandled(sink))
        site.stop()
    assert statuses == {
        "/missing/": 404,
        "/denied/": 403,
        "/odd/": 400,
        "/gone/": 500,
        "/reset/": 500,
        "/no/": 404,
    }
    assert refused == 400
    paths = {event["tags"]["request_path"] for event in sink.events()}
    assert paths == {"/fail/"}


def test_health_checks_and_static_files_are_not_traced(serve, sink):
    with serve(sink.dsn) as site:
        style_sheet = re.search(r'href="(/static/.*?)"', get(site, "/")[2])[1]
        for path in ("/healthz/", "/readyz/", style_sheet):
            assert get(site, path)[0] == 200
        site.stop()
        sink.wait_for(lambda items: sink.transactions())
    assert [transaction["transaction"] for transaction in sink.transactions()] == ["/"]


def test_of_a_sentry_that_cannot_be_reached_the_log_tells_once(serve, sink):
    sink.stop()
    with serve(sink.dsn) as site:
        for _ in range(50):
            get(site, "/fail/")
        site.stop()
        output = site.output()
    assert output.count("Sentry cannot be reached") == 1
    assert "urllib3" not in output
    assert output.count("Internal Server Error") == 50


# --- Scheduled commands ---------------------------------------------------------------


@pytest.fixture
def manage(project, environment):
    """Return a function that runs a command of the project."""
    folder, python = project

    def manage(*arguments, **variables):
        return subprocess.run(
            [python, "manage.py", *arguments],
            cwd=folder,
            env=environment | variables,
            capture_output=True,
            text=True,
        )

    return manage


def check_ins(sink):
    """Wait for both check-ins of a command, and return them."""
    sink.wait_for(lambda items: len(sink.items("check_in")) >= 2)
    return [item.json for item in sink.items("check_in")]


def test_a_scheduled_command_reports_that_it_began_and_ended_well(manage, sink):
    result = manage("nightly", "--verbosity", "2", SENTRY_DSN=sink.dsn)
    assert result.returncode == 0
    assert "Removed expired sessions." in result.stdout
    began, ended = check_ins(sink)
    assert [began["status"], ended["status"]] == ["in_progress", "ok"]
    assert began["check_in_id"] == ended["check_in_id"]
    assert began["monitor_slug"] == ended["monitor_slug"] == "nightly"
    assert ended["duration"] >= 0
    assert began["monitor_config"] == {
        "schedule": {"type": "crontab", "value": "0 3 * * *"},
        "timezone": "UTC",
        "max_runtime": 30,
        "checkin_margin": 10,
    }
    assert sink.events() == []


def test_a_scheduled_command_that_fails_reports_that_and_its_error(
    manage, sink, tmp_path
):
    empty = f"sqlite:///{tmp_path / 'db.sqlite3'}"
    result = manage("nightly", SENTRY_DSN=sink.dsn, DATABASE_URL=empty)
    assert result.returncode == 1
    assert [each["status"] for each in check_ins(sink)] == ["in_progress", "error"]
    (event,) = sink.wait_for(lambda items: sink.events())
    assert event["exception"]["values"][-1]["type"] == "OperationalError"


def test_a_scheduled_command_runs_while_sentry_hangs(manage, sink):
    sink.mode = "blackhole"
    started = time.monotonic()
    result = manage("nightly", SENTRY_DSN=sink.dsn)
    assert result.returncode == 0
    # The SDK gives up after 8 s, its requests after 30 s.
    assert time.monotonic() - started < 28


# --- Releases -------------------------------------------------------------------------


class Releases(BaseHTTPRequestHandler):
    """As much of Sentry's API for releases as sentry-cli needs."""

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = self.headers["Authorization"]
        self.server.received.append((self.command, self.path, token, body))
        release = {
            "version": "1",
            "dateCreated": "2026-01-01T00:00:00Z",
            "newGroups": 0,
            "projects": [{"slug": "shop", "name": "shop"}],
        }
        content = json.dumps([] if self.command == "GET" else release).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *arguments):
        pass


@pytest.fixture
def release(render, environment, tmp_path):
    """Return a function that runs the step of the CI that tells Sentry of a release."""
    folder = render(tmp_path / "shop")
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    for arguments in (
        ["init", "-q"],
        ["remote", "add", "origin", "https://github.com/example/shop.git"],
        ["add", "."],
        [*author, "commit", "-q", "-m", "Open the shop"],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    workflow = yaml.safe_load((folder / ".github/workflows/ci.yml").read_text())
    job = workflow["jobs"]["release"]
    step = job["steps"][-1]

    def run(**variables):
        assert set(variables) == set(step["env"])
        return subprocess.run(
            ["bash", "-e", "-c", step["run"]],
            cwd=folder,
            env=environment | variables | {"GITHUB_SHA": "4f1d" * 10},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    run.folder, run.job = folder, job
    return run


def test_ci_tells_sentry_the_commits_of_a_release(release):
    with ThreadingHTTPServer(("127.0.0.1", 0), Releases) as server:
        server.received = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = release(
            SENTRY_AUTH_TOKEN="a-token",
            SENTRY_ORG="corner",
            SENTRY_PROJECT="shop",
            SENTRY_URL=f"http://127.0.0.1:{server.server_port}/",
        )
        server.shutdown()
    assert result.returncode == 0, result.stdout
    sent = b" ".join(body for *_, body in server.received).decode()
    assert f'"version":"{"4f1d" * 10}"' in sent
    assert "Open the shop" in sent
    assert "dateReleased" in sent
    assert {token for _, _, token, _ in server.received} == {"Bearer a-token"}
    assert all("/organizations/corner/" in path for _, path, *_ in server.received)


def test_ci_tells_sentry_nothing_without_a_token(release):
    result = release(
        SENTRY_AUTH_TOKEN="", SENTRY_ORG="", SENTRY_PROJECT="", SENTRY_URL="x"
    )
    assert result.returncode == 0
    assert result.stdout == "Skipped: there is no secret SENTRY_AUTH_TOKEN.\n"


def test_the_token_of_ci_stays_in_one_step(release):
    text = "".join(
        path.read_text()
        for path in release.folder.rglob("*")
        if path.is_file() and ".git" not in path.parts and path.suffix != ".md"
    )
    uses = text.count("secrets.SENTRY_AUTH_TOKEN")
    assert uses == str(release.job["steps"][-1]).count("secrets.SENTRY_AUTH_TOKEN") == 1
    assert "SENTRY_AUTH_TOKEN" not in (release.folder / "Dockerfile").read_text()
    assert release.job["continue-on-error"] is True
