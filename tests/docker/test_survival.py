"""What a production site goes through: restarts, crashes, a stop under load."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest

from tests.docker.stack import DEBUG_ENDPOINT, HTTPS, Load, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]

CREATE_USER = (
    "from django.contrib.auth import get_user_model as model;"
    "model().objects.create_superuser('alice', 'alice@example.com', 'a password')"
)
COUNT_USERS = (
    "from django.contrib.auth import get_user_model as model;"
    "print(model().objects.filter(username='alice').count())"
)


def shell(site, code):
    return site.execute("web", "python", "manage.py", "shell", "-v0", "-c", code)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_data_survives_down_and_up(stack, database):
    site = stack(f"site_down_{database}", database=database, use_sentry=False)
    site.up()
    shell(site, CREATE_USER)
    site.execute("web", "sh", "-c", "mkdir data/media && echo text > data/media/a.txt")
    site.execute("web", "sh", "-c", "echo line >> logs/security.log")
    site.compose("down")
    site.up()
    assert shell(site, COUNT_USERS).strip() == "1"
    assert site.execute("web", "cat", "data/media/a.txt").strip() == "text"
    assert "line" in site.execute("web", "cat", "logs/security.log")


# A session cookie, which the database is asked about.
SESSION = HTTPS | {"Cookie": f"sessionid={'a' * 32}"}


def test_the_site_outlives_its_database_and_its_cache(stack):
    site = stack(
        "site_outage",
        database="postgresql",
        cache="redis",
        environment="production",
        domain="localhost",
        use_sentry=False,
    )
    site.up()
    started = site.inspect()["State"]["StartedAt"]

    def ready():
        status, body = site.get("/readyz/")
        return status, json.loads(body)

    everything = {"status": "ok", "database": "ok", "cache": "ok"}
    down = {"status": "unavailable"}

    def connect():
        return HTTPConnection("localhost", site.port, timeout=30)

    def load():
        return Load(connect, *[("GET", "/admin/login/")] * 4, headers=SESSION)

    with load() as before:
        wait_for(lambda: before.answers[200] > 10)
    assert set(before.answers) == {200}

    with load() as during:
        site.compose("kill", "db")
        wait_for(lambda: during.answers[500] > 10)
        assert ready() == (503, everything | down | {"database": "down"})
        status, page = site.browser.get("/admin/login/", SESSION)
        assert status == 500
        assert "</html>" in page
        assert "Traceback" not in page and "psycopg" not in page
        assert site.get("/healthz/")[0] == 200
        assert site.get("/")[0] == 200
        site.compose("start", "db")
        wait_for(lambda: ready() == (200, everything))
    assert set(during.answers) == {200, 500}
    with load() as after:
        wait_for(lambda: after.answers[200] > 10)
    assert set(after.answers) == {200}

    # A crash, which nobody but Docker repairs.
    site.execute("db", "sh", "-c", "kill -QUIT 1")
    wait_for(lambda: site.inspect("db")["RestartCount"] >= 1)
    wait_for(lambda: ready() == (200, everything))

    site.compose("kill", "cache")
    assert ready() == (503, everything | down | {"cache": "down"})
    assert site.get("/admin/login/")[0] == 200
    site.compose("start", "cache")
    wait_for(lambda: ready() == (200, everything))
    assert site.inspect()["State"]["StartedAt"] == started


# Plays Sentry: keeps everything waiting until GET /open, then takes 2 ms for each, and
# counts in GET /events.
SENTRY = """
import gzip, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

gate, lock, counted = threading.Event(), threading.Lock(), 0

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self):
        global counted
        body = self.rfile.read(int(self.headers["Content-Length"]))
        gate.wait()
        time.sleep(0.002)
        with lock:
            counted += gzip.decompress(body).count(b'"type":"event"')
        self.answer(b"{}")

    def do_GET(self):
        if self.path == "/open":
            gate.set()
        self.answer(str(counted).encode())

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("", 9000), Handler).serve_forever()
"""


def test_a_stop_serves_every_request_and_delivers_a_thousand_events(stack):
    site = stack(
        "site_stop",
        sentry_dsn="http://public@sentry:9000/1",
        sentry_traces_sample_rate=0.0,
    )
    # One process, so that all events stand in one queue.
    with (site.folder / ".env").open("a") as file:
        file.write("WEB_CONCURRENCY=1\n")
    sentry = {
        "image": "python:3.13-slim",
        "command": ["python", "-c", SENTRY],
        "init": True,
    }
    (site.folder / "docker-compose.override.yml").write_text(
        json.dumps({"services": {"sentry": sentry}})
    )
    site.up()

    def ask_sentry(path):
        code = f"""
from urllib.request import urlopen
print(urlopen("http://127.0.0.1:9000{path}").read().decode())
"""
        return int(site.execute("sentry", "python", "-c", code))

    asked = []

    def ask(kind, times=1):
        statuses = set()
        with closing(HTTPConnection("localhost", site.port, timeout=60)) as connection:
            for _ in range(times):
                connection.request("GET", DEBUG_ENDPOINT.format(kind))
                asked.append(kind)
                response = connection.getresponse()
                response.read()
                statuses.add(response.status)
        return statuses

    with ThreadPoolExecutor(8) as visitors:
        assert list(visitors.map(ask, ["division"] * 8, [125] * 8)) == [{500}] * 8
        assert ask_sentry("/events") == 0
        slow = [visitors.submit(ask, "slow_query") for _ in range(4)]
        wait_for(lambda: asked.count("slow_query") == 4)
        ask_sentry("/open")
        started = time.monotonic()
        site.compose("stop", "web")
        seconds = time.monotonic() - started
        assert [future.result() for future in slow] == [{200}] * 4
    assert ask_sentry("/events") == 1000
    state = site.inspect()["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
    assert seconds < 40
