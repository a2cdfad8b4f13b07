"""Whatever becomes of Sentry, a site answers as its twin does that has no monitoring."""

import itertools
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.servers.process import Process, free_port
from tests.servers.sink import Sink

FILES = {
    "probe_urls.py": """
import logging
import os

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse

from config.urls import handler500, path, urlpatterns


def fail(request, number=0):
    raise ValueError(f"error {number} of process {os.getpid()}")


def log(request):
    logging.getLogger("shop").error("the basket is empty")
    return HttpResponse("logged")


def denied(request):
    raise PermissionDenied


urlpatterns += [
    path("fail/<int:number>/", fail),
    path("log/", log),
    path("denied/", denied),
]
""",
    # Name resolution that never answers, without a change to that of the machine.
    "probe_settings.py": """
import socket
import time

from config.settings import *

ROOT_URLCONF = "probe_urls"
resolve = socket.getaddrinfo


def getaddrinfo(host, *arguments, **options):
    if host == "silent.invalid":
        time.sleep(600)
    return resolve(host, *arguments, **options)


socket.getaddrinfo = getaddrinfo
""",
    # Errors of the process that gunicorn forks.
    "preloading_settings.py": """
from probe_settings import *

MIDDLEWARE = [*MIDDLEWARE, "preloading_settings.Reporting"]


def Reporting(get_response):
    import sentry_sdk

    # One whose connection is open still, and some that wait.
    sentry_sdk.capture_message("before the fork")
    sentry_sdk.flush()
    for _ in range(20):
        sentry_sdk.capture_message("before the fork")
    return get_response
""",
    "forking.conf.py": """
from pathlib import Path

exec(Path("gunicorn.conf.py").read_text())
preload_app = False
""",
}

REQUESTS = [
    ("GET", "/"),
    ("GET", "/fail/0/"),
    ("GET", "/log/"),
    ("GET", "/denied/"),
    ("GET", "/nowhere/"),
    ("POST", "/admin/login/"),  # without a token: a security event
]
ERRORS = 20  # of a site while Sentry is broken


@pytest.fixture(scope="module")
def project(render, python_for, tmp_path_factory, environment):
    folder = render(
        tmp_path_factory.mktemp("faults") / "my_site",
        environment="production",
        use_docker=False,
    )
    for name, text in FILES.items():
        (folder / name).write_text(text)
    python = python_for(folder, "uvicorn")
    collect = [python, "manage.py", "collectstatic", "-v0", "--noinput"]
    subprocess.run(collect, cwd=folder, env=environment, check=True)
    return folder, python


@pytest.fixture(scope="module")
def serve(project, environment):
    """Return a function that serves the project, or a copy of it, with gunicorn."""
    folder, python = project

    def serve(*options, cwd=folder, settings="probe_settings", **variables):
        port = free_port()
        command = [python.parent / "gunicorn", *options, "config.wsgi"]
        if "uvicorn" in options:
            command = [
                python,
                "-m",
                *options,
                "--port",
                port,
                "config.asgi:application",
            ]
        else:
            command[1:1] = ["--bind", f"127.0.0.1:{port}"]
        defaults = {
            "DJANGO_SETTINGS_MODULE": settings,
            "SENTRY_TRACES_SAMPLE_RATE": "1",
        }
        return Process(
            command,
            cwd=cwd,
            env=environment | defaults | variables,
            ready_url=f"http://127.0.0.1:{port}/healthz/",
        )

    return serve


def answer(site, method="GET", path="/fail/0/"):
    """Return (status, headers, body), without what differs from request to request."""
    request = urllib.request.Request(
        site.url + path,
        method=method,
        headers={"Host": "example.com", "X-Forwarded-Proto": "https"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        response = opener.open(request, timeout=20)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        body = response.read().decode()
    headers.pop("date")
    return response.status, headers, body.replace(headers.pop("x-request-id"), "")


# --- Broken Sentries ------------------------------------------------------------------


class Broken:
    """A Sentry in one of the modes of the sink."""

    heals = True

    def __init__(self, mode="ok", tls=False):
        self.mode = mode
        self.sink = Sink(tls=tls)
        self.dsn = self.sink.dsn

    def __enter__(self):
        self.sink.start()
        return self

    def __exit__(self, *error):
        self.sink.__exit__(*error)

    def fail(self):
        self.sink.mode = self.mode

    def heal(self):
        self.sink.mode = "ok"


class Refusing(Broken):
    def fail(self):
        self.sink.stop()

    def heal(self):
        self.sink.start()


class Dropping(Broken):
    """Its queue of connections is full, so that the system drops each SYN."""

    def __init__(self):
        super().__init__()
        self.sockets = ExitStack()

    def fail(self):
        self.sink.stop()
        listener = self.sockets.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.sink.port))
        listener.listen(0)
        address = listener.getsockname()
        with suppress(TimeoutError):
            while True:
                waiting = socket.create_connection(address, timeout=0.2)
                self.sockets.enter_context(waiting)

    def heal(self):
        self.sockets.close()
        self.sink.start()

    def __exit__(self, *error):
        self.sockets.close()
        super().__exit__(*error)


class Lost(Broken):
    """One that only another DSN could mend."""

    heals = False

    def __init__(self, dsn, **options):
        super().__init__(**options)
        self.dsn = dsn.format(port=self.sink.port)


FAULTS = {
    "refused": Refusing,
    "accepting and silent": lambda: Broken("blackhole"),
    "SYN dropped": Dropping,
    "slow": lambda: Broken("slow:3"),
    "429 with Retry-After": lambda: Broken("429:3"),
    "429 by category": lambda: Broken("limits:3:error;default"),
    "500": lambda: Broken("status:500"),
    "connection reset": lambda: Broken("reset"),
    "foreign project": lambda: Broken("status:403"),
    "self-signed certificate": lambda: Lost("https://a@127.0.0.1:{port}/1", tls=True),
    "no TLS behind https": lambda: Lost("https://a@127.0.0.1:{port}/1"),
    "unknown name": lambda: Lost("https://a@sentry.invalid/1"),
    "silent name server": lambda: Lost("https://a@silent.invalid/1"),
}

# Those of which a process learns at once that there is no connection.
NO_CONNECTION = {
    "refused",
    "self-signed certificate",
    "no TLS behind https",
    "unknown name",
}


def survive(broken, site, twin):
    """Let a site meet a Sentry that is broken, whole and broken again."""
    broken.fail()
    for request in REQUESTS:
        assert answer(site, *request) == answer(twin, *request), request
    for number in range(ERRORS):
        answer(site, path=f"/fail/{number}/")
    if broken.heals:
        broken.heal()
        wait_for_news(broken.sink, site)
        broken.fail()
        answer(site)


def wait_for_news(sink, site):
    """Make errors until one of them has arrived."""
    deadline = time.monotonic() + 240
    for number in itertools.count(1000):
        answer(site, path=f"/fail/{number}/")
        time.sleep(0.3)
        if any(found >= 1000 for found, _ in errors(sink)):
            return
        assert time.monotonic() < deadline, "nothing arrived"


def wait_for_errors(sink, count):
    deadline = time.monotonic() + 240
    while len(errors(sink)) < count:
        assert time.monotonic() < deadline, f"{len(errors(sink))} have arrived"
        time.sleep(0.5)


def errors(sink):
    """Return (number, process) of each error of /fail/ that has arrived."""
    found = [
        re.fullmatch(r"error (\d+) of process (\d+)", value["value"])
        for event in sink.events()
        for value in (event.get("exception") or {}).get("values") or []
    ]
    return [(int(match[1]), int(match[2])) for match in found if match]


def test_faults_of_sentry_are_none_of_the_site(subtests, serve):
    with ExitStack() as stack:
        twin = stack.enter_context(serve(SENTRY_DSN=""))
        pool = stack.enter_context(ThreadPoolExecutor(5))

        def start(fault):
            broken = stack.enter_context(fault())
            site = stack.enter_context(serve(SENTRY_DSN=broken.dsn))
            survive(broken, site, twin)
            return site

        sites = {name: pool.submit(start, fault) for name, fault in FAULTS.items()}
        wait(sites.values())
        # Now that nothing else is going on, and few at a time.
        stopper = stack.enter_context(ThreadPoolExecutor(3))
        stops = {
            name: stopper.submit(site.result().stop)
            for name, site in sites.items()
            if not site.exception()
        }
        for name, site in sites.items():
            with subtests.test(name):
                site = site.result()
                seconds, returncode = stops[name].result()
                output = site.output()
                # The errors of the site are logged, and no other.
                logged = re.findall(r'"GET /(?:fail/\d+|denied)/ HTTP/1.1" ', output)
                assert len(logged) > ERRORS
                assert output.count("Traceback") == len(logged)
                processes = output.count("Booting worker")
                said = output.count("Sentry cannot be reached")
                assert (1 if name in NO_CONNECTION else 0) <= said <= processes
                assert "urllib3" not in output
                assert returncode == 0
                # Of itself: gunicorn kills what takes longer. The benchmark says how
                # long it takes on an idle machine.
                assert seconds < 30


def test_a_limit_of_errors_leaves_the_traces_alone(serve):
    with Sink() as sink, serve(SENTRY_DSN=sink.dsn, WEB_CONCURRENCY="1") as site:
        sink.mode = "limits:60:error"
        for _ in range(ERRORS):
            answer(site)
        sink.wait_for(lambda items: len(sink.transactions()) == ERRORS)
        assert len(sink.events()) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_takes_neither_the_site_nor_sentry_down(project, serve, tmp_path):
    folder = shutil.copytree(project[0], tmp_path / "site")
    log = folder / "logs" / "security.log"
    log.unlink(missing_ok=True)
    log.symlink_to("/dev/full")
    with (
        Sink() as sink,
        serve(SENTRY_DSN="") as twin,
        serve(SENTRY_DSN=sink.dsn, cwd=folder, WEB_CONCURRENCY="1") as site,
    ):
        for request in REQUESTS:
            assert answer(site, *request) == answer(twin, *request), request
        wait_for_errors(sink, 1)
        assert site.output().count("security.log cannot be written: No space left") == 1
        log.unlink()
        answer(site, "POST", "/admin/login/")
        assert "django.security.csrf" in log.read_text()


# --- Nothing is lost, nothing comes twice ---------------------------------------------


def burst(site, count, first=0):
    """Make `count` errors, numbered from `first`, with 8 clients at once."""
    numbers = range(first, first + count)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: answer(site, path=f"/fail/{number}/"), numbers))


def test_a_burst_of_errors_is_not_lost(serve):
    with (
        Sink() as sink,
        serve(
            SENTRY_DSN=sink.dsn, SENTRY_TRACES_SAMPLE_RATE="0.1", WEB_CONCURRENCY="1"
        ) as site,
    ):
        burst(site, 2000)
        wait_for_errors(sink, 2000)
        assert sorted(number for number, _ in errors(sink)) == list(range(2000))


@pytest.mark.parametrize(
    "options",
    [
        ["--threads", "1"],
        ["--threads", "8"],
        ["-c", "forking.conf.py"],
        ["uvicorn", "--workers", "2"],
    ],
    ids=["preloaded", "preloaded with threads", "not preloaded", "uvicorn"],
)
def test_each_process_reports_each_error_once(serve, options):
    made = 0
    with Sink() as sink, serve(*options, SENTRY_DSN=sink.dsn) as site:
        deadline = time.monotonic() + 240
        # One may serve long before the other has started.
        while len({process for _, process in errors(sink)}) < 2:
            assert time.monotonic() < deadline, "one process serves all requests"
            burst(site, 60, first=made)
            made += 60
            wait_for_errors(sink, made)
        site.stop()
        found = errors(sink)
    assert sorted(number for number, _ in found) == list(range(made))


def test_errors_before_the_fork_are_reported_once(serve):
    with (
        Sink() as sink,
        serve(SENTRY_DSN=sink.dsn, settings="preloading_settings") as site,
    ):
        burst(site, 60)
        wait_for_errors(sink, 60)
        site.stop()

        def before():
            return [e for e in sink.events() if e.get("message") == "before the fork"]

        sink.wait_for(lambda items: len(before()) >= 21)
    assert len(before()) == 21
