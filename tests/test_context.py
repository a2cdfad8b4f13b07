"""An event says who was logged in, and changes nothing about the request it is of."""

import http.client
import socket
import sqlite3
import subprocess
from contextlib import suppress

import pytest

from tests.servers.process import Process, free_port
from tests.servers.sink import Sink
from tests.test_monitoring import PASSWORD, Browser, command, migrate_with_user

PROBES = {
    "probe_urls.py": """
import logging
import time

from config.urls import handler500, path, urlpatterns
from django.http import HttpResponse

logger = logging.getLogger("shop")


def greet(request):
    logger.error("before the greeting")
    return HttpResponse(f"hello {request.user.get_username()}")


def public(request):
    for number in range(4):
        logger.error("a public page")
    return HttpResponse("hello")


def slow(request):
    logger.error("a slow page")
    time.sleep(0.5)
    return HttpResponse("at last")


urlpatterns += [path("greet/", greet), path("public/", public), path("slow/", slow)]
""",
    "probe_backend.py": """
import logging

from django.contrib.auth.backends import ModelBackend


class Backend(ModelBackend):
    def get_user(self, user_id):
        logging.getLogger("shop").error("slow today")
        return super().get_user(user_id)
""",
    "probe_settings.py": """
import os

from config.settings import *

ROOT_URLCONF = "probe_urls"
AUTHENTICATION_BACKENDS = [
    os.environ.get("BACKEND", "django.contrib.auth.backends.ModelBackend")
]
""",
}


@pytest.fixture(scope="module")
def project(render, tmp_path_factory):
    """Return a function that renders a project with the probes above."""

    def project(**answers):
        folder = render(tmp_path_factory.mktemp("context") / "my_site", **answers)
        for name, text in PROBES.items():
            (folder / name).write_text(text)
        return folder

    return project


@pytest.fixture(scope="module")
def serve(python_for, environment):
    """Return a function that serves a project with these variables."""

    def serve(folder, **variables):
        port = free_port()
        settings = {"DJANGO_SETTINGS_MODULE": "probe_settings", "WEB_CONCURRENCY": "1"}
        return Process(
            command("gunicorn", python_for(folder, "uvicorn"), port),
            cwd=folder,
            env=environment | settings | variables,
            ready_url=f"http://127.0.0.1:{port}/healthz/",
        )

    return serve


@pytest.fixture(scope="module")
def site(project, python_for, environment):
    """A project with the user whom `Browser.log_in` expects."""
    folder = project()
    migrate_with_user(folder, python_for(folder, "uvicorn"), environment)
    return folder


@pytest.fixture
def shell(site, python_for, environment):
    """Return a function that runs code in the project; `model` is that of the user."""

    def shell(code):
        code = f"from django.contrib.auth import get_user_model as model; {code}"
        python = python_for(site, "uvicorn")
        command = [python, "manage.py", "shell", "-v0", "-c", code]
        subprocess.run(command, cwd=site, env=environment, check=True)

    return shell


@pytest.fixture(scope="module")
def twins(site, serve):
    """(twin without Sentry, monitored one, sink) of one database."""
    with (
        Sink() as sink,
        serve(site, SENTRY_DSN="") as twin,
        serve(site, SENTRY_DSN=sink.dsn, SENTRY_TRACES_SAMPLE_RATE="0") as monitored,
    ):
        yield twin, monitored, sink


def log_in(process, username="alice"):
    """Return the session's cookie."""
    browser = Browser(process.url)
    browser.log_in(username)
    (jar,) = [h for h in browser.opener.handlers if hasattr(h, "cookiejar")]
    return {cookie.name: cookie.value for cookie in jar.cookiejar}["sessionid"]


def answer(process, path, session):
    """Return (status, headers, body), without what differs from one to the next."""
    connection = http.client.HTTPConnection(process.url.removeprefix("http://"))
    connection.request("GET", path, headers={"Cookie": f"sessionid={session}"})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    headers = {
        name: value
        for name, value in response.getheaders()
        if name not in ("Date", "X-Request-ID")
    }
    return response.status, headers, body


def rows(site, session):
    with sqlite3.connect(site / "data" / "db.sqlite3") as database:
        query = "SELECT count(*) FROM django_session WHERE session_key = ?"
        return database.execute(query, [session]).fetchone()[0]


def test_a_page_for_one_visitor_still_varies_by_cookie(twins):
    twin, monitored, sink = twins
    session = log_in(twin)
    seen = answer(monitored, "/greet/", session)
    assert seen == answer(twin, "/greet/", session)
    assert seen[1]["Vary"] == "Cookie"
    assert seen[2] == "hello alice"
    sink.wait_for(lambda items: "before the greeting" in messages(sink))


def test_a_public_page_does_not_vary_by_cookie_though_its_event_has_a_user(twins):
    twin, monitored, sink = twins
    session = log_in(twin)
    seen = answer(monitored, "/public/", session)
    assert seen == answer(twin, "/public/", session)
    assert "Vary" not in seen[1]
    sink.wait_for(lambda items: messages(sink).count("a public page") >= 4)
    users = [e["user"] for e in sink.events() if "a public page" in str(e["logentry"])]
    assert [user["username"] for user in users] == ["alice"] * len(users)


def messages(sink):
    return [event["logentry"]["message"] for event in sink.events()]


def test_no_event_ends_the_session_of_a_visitor(twins, site, shell):
    twin, monitored, _ = twins
    shell(f"model().objects.create_superuser('bob', password='{PASSWORD}')")
    session = log_in(twin, "bob")
    # Which is no longer valid when the password has changed.
    shell(
        "bob = model().objects.get(username='bob'); bob.set_password('x'); bob.save()"
    )
    seen = answer(monitored, "/public/", session)
    assert seen == answer(twin, "/public/", session)
    assert "Set-Cookie" not in seen[1]
    assert rows(site, session) == 1


def test_a_backend_that_logs_an_error_makes_one_event_more(site, serve):
    backend = {"BACKEND": "probe_backend.Backend"}
    with serve(site, SENTRY_DSN="", **backend) as twin:
        session = log_in(twin)
    with Sink() as sink, serve(site, SENTRY_DSN=sink.dsn, **backend) as process:
        assert answer(process, "/public/", session)[0] == 200
        sink.wait_for(lambda items: messages(sink).count("a public page") >= 4)
        process.stop()
        assert messages(sink).count("slow today") == 1


def test_an_event_waits_for_a_silent_database_once(project, serve):
    folder = project(database="postgresql")
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Sink() as sink,
    ):
        url = f"postgres://a:b@127.0.0.1:{silent.getsockname()[1]}/c?connect_timeout=2"
        with serve(folder, SENTRY_DSN=sink.dsn, DATABASE_URL=url) as process:
            for _ in range(3):
                assert answer(process, "/public/", "a" * 32)[0] == 200
            sink.wait_for(lambda items: messages(sink).count("a public page") == 12)
        assert waiting(silent) == 1


def waiting(server):
    """Return how many connections the system has taken for a server that takes none."""
    server.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            count += 1
    return count


def test_what_the_sdk_asks_of_sentry_is_no_part_of_a_trace(site, serve):
    with (
        Sink() as sink,
        serve(site, SENTRY_DSN=sink.dsn, SENTRY_TRACES_SAMPLE_RATE="1") as process,
    ):
        assert answer(process, "/slow/", "a" * 32)[0] == 200
        (trace,) = sink.wait_for(lambda items: sink.transactions())
        assert messages(sink) == ["a slow page"]
    assert [span for span in trace["spans"] if span["op"] == "http.client"] == []
