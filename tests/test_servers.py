"""The servers that other tests rely on do what those tests take for granted."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import os
import select
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.parse
import zlib
from concurrent.futures import ThreadPoolExecutor

import brotli
import psycopg
import pytest
import redis
import sentry_sdk
from sentry_sdk.envelope import Envelope as SdkEnvelope

from tests.servers import bugsink as bugsink_module
from tests.servers import process as process_module
from tests.servers.bugsink import PASSWORD, USERNAME, Bugsink
from tests.servers.postgres import Postgres
from tests.servers.process import StartError, free_port, serve
from tests.servers.sink import Malformed, Sink
from tests.servers.valkey import Valkey

SECRET = "hunter2/ü+päss wörd"


@pytest.fixture
def sink():
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as postgres:
        yield postgres


@pytest.fixture(scope="module")
def bugsink(pytestconfig):
    with Bugsink(pytestconfig.cache.mkdir("bugsink")) as bugsink:
        yield bugsink


@pytest.fixture
def sdk():
    """Return a function that makes SDK clients, closed when the test ends."""
    clients = []

    def client(dsn, **options):
        clients.append(sentry_sdk.Client(dsn, default_integrations=False, **options))
        return clients[-1]

    yield client
    for client in clients:
        client.close(timeout=0)


def request(sink, method="POST", path="/", body=b"", headers=()):
    """Return the status and the headers of one request without the SDK."""
    connection = http.client.HTTPConnection("127.0.0.1", sink.port, timeout=60)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        response.read()
        return response.status, response.headers
    finally:
        connection.close()


def capture(client, message):
    client.capture_event({"message": message, "level": "error"})
    client.flush(timeout=60)


# Process


def test_a_process_is_ready_when_its_url_answers():
    port = free_port()
    command = [sys.executable, "-um", "http.server", port, "--bind", "127.0.0.1"]
    with serve(command, ready_url=f"http://127.0.0.1:{port}/?x=1") as site:
        assert site.url == f"http://127.0.0.1:{port}"
        assert "GET /?x=1" in site.output()
        seconds, returncode = site.stop(signal.SIGTERM)
    assert seconds < 30
    assert returncode == -signal.SIGTERM
    assert "GET /?x=1" in site.output()


def test_a_process_that_ends_early_is_an_error_with_its_output():
    with pytest.raises(StartError, match=r"code 3\. Output:\nno such table"):
        serve(["sh", "-c", "echo no such table >&2; exit 3"], ready_line="ready")


def test_a_process_that_is_never_ready_is_an_error_with_its_output():
    with pytest.raises(StartError, match=r"after 3 s\. Output:\nwaiting"):
        serve(["sh", "-c", "echo waiting; sleep 60"], ready_line="up", timeout=3)


def test_a_process_that_answers_with_errors_only_is_not_ready(sink):
    sink.mode = "status:503"
    with pytest.raises(StartError, match="was not ready"):
        serve(["sleep", "60"], ready_url=sink.url, timeout=0.3)
    assert sink.requests


def test_a_process_that_ignores_the_signal_is_killed():
    command = ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"]
    process = serve(command, ready_line="up")
    with pytest.raises(TimeoutError, match=r"ran on for 0\.3 s"):
        process.stop(timeout=0.3)


def test_no_child_of_a_process_survives():
    ours, theirs = os.pipe()
    command = ["sh", "-c", "sleep 60 & echo up; wait"]
    with serve(command, ready_line="up", pass_fds=[theirs]) as process:
        os.close(theirs)
        process.stop(signal.SIGKILL)
    # The pipe ends, and so has something to read, when nobody holds it any more.
    assert select.select([ours], [], [], 60)[0] == [ours]
    os.close(ours)


def test_a_process_sees_the_given_environment_only(monkeypatch):
    monkeypatch.setenv("OURS", "1")
    command = ["/bin/sh", "-c", "/usr/bin/env; sleep 60"]
    with serve(command, env={"THEIRS": "1"}, ready_line="THEIRS=1") as process:
        assert "OURS" not in process.output()


def test_a_port_is_given_once_and_to_one_worker(monkeypatch):
    given = []
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "2")
    for worker in ("gw0", "gw1"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        process_module._ports.cache_clear()
        given += [free_port() for _ in range(1000)]
    process_module._ports.cache_clear()
    assert len(set(given)) == len(given)


# PostgreSQL and Valkey


def test_postgres_gives_every_test_its_own_database(postgres):
    first, second = postgres.create_database(), postgres.create_database()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE app (id int)")
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT to_regclass('app')").fetchone() == (None,)
    with psycopg.connect(first) as in_use:
        postgres.drop_database(first)
        with pytest.raises(psycopg.OperationalError):
            in_use.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(first)


def test_postgres_lets_in_nobody_but_the_app_with_its_password(postgres):
    url = postgres.create_database()
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(url.replace(postgres.password, "wrong"))
    with pytest.raises(psycopg.OperationalError, match="pg_hba"):
        psycopg.connect(url.replace("//app:", "//postgres:"))


def test_postgres_can_go_away_and_come_back_with_its_data():
    with Postgres() as postgres:
        url = postgres.create_database()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        postgres.stop()
        with pytest.raises(psycopg.OperationalError, match="refused"):
            psycopg.connect(url)
        postgres.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_valkey_can_go_away_and_come_back():
    with Valkey() as valkey, redis.from_url(valkey.url(3)) as client:
        client.set("key", "value")
        with redis.from_url(valkey.url(4)) as neighbour:
            assert neighbour.get("key") is None
        valkey.stop()
        with pytest.raises(redis.ConnectionError):
            client.get("key")
        valkey.start()
        assert client.get("key") is None


# Bugsink


def test_bugsink_stores_what_the_sdk_sends(bugsink, sdk):
    client = sdk(bugsink.dsn, release="bugsink-stores")
    capture(client, "stored whole")
    event = bugsink.wait_for_event(lambda event: event["release"] == "bugsink-stores")
    assert event["message"] == "stored whole"
    assert event in bugsink.events()


def test_bugsink_says_what_it_has_when_the_event_never_comes(bugsink):
    with pytest.raises(TimeoutError, match=r"none of \d+ events"):
        bugsink.wait_for_event(lambda event: False, timeout=0.2)


def test_bugsink_shows_the_issue_of_an_event_to_its_user(bugsink, sdk, browse):
    capture(sdk(bugsink.dsn, release="bugsink-shows"), "shown in a page")
    event = bugsink.wait_for_event(lambda event: event["release"] == "bugsink-shows")
    page = browse(f"{bugsink.url}/accounts/login/")
    token = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    form = {
        "csrfmiddlewaretoken": token,
        "username": USERNAME,
        "password": PASSWORD,
    }
    browse(f"{bugsink.url}/accounts/login/", form)
    assert "shown in a page" in browse(bugsink.issue_url(event))


@pytest.fixture
def browse():
    """Return a function that gets or posts with cookies and returns the page."""
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor()
    )

    def open_page(url, form=None):
        data = form and urllib.parse.urlencode(form).encode()
        with opener.open(url, data, timeout=60) as response:
            return response.read().decode()

    return open_page


def test_bugsink_keeps_its_events_over_a_restart(bugsink, sdk):
    capture(sdk(bugsink.dsn, release="bugsink-keeps"), "kept")
    bugsink.wait_for_event(lambda event: event["release"] == "bugsink-keeps")
    bugsink.stop()
    bugsink.start()
    bugsink.wait_for_event(lambda event: event["release"] == "bugsink-keeps")


@pytest.fixture
def installer(monkeypatch):
    """Replace the commands of an installation: their order and number count.

    Returns the list of commands run; set its attribute `fails_at` to an index.
    """

    class Commands(list):
        fails_at = None

    commands = Commands()

    def run(command, **options):
        commands.append(command)
        time.sleep(0.05)
        if commands.fails_at == len(commands) - 1:
            raise RuntimeError("index unreachable")
        if command[1] == "venv":
            (command[-1] / "bin").mkdir(parents=True)
            (command[-1] / "bin/python").touch()

    monkeypatch.setattr(bugsink_module, "_run", run)
    return commands


def test_bugsink_is_installed_once_for_two_at_the_same_time(installer, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        folders = set(pool.map(bugsink_module._install, [tmp_path, tmp_path]))
    assert [(folder / "seed").is_dir() for folder in folders] == [True]
    assert len(installer) == 3


@pytest.mark.parametrize("index", [0, 1, 2])
def test_bugsink_half_installed_is_installed_again(installer, tmp_path, index):
    installer.fails_at = index
    with pytest.raises(RuntimeError, match="index unreachable"):
        bugsink_module._install(tmp_path)
    installer.clear()
    installer.fails_at = None
    bugsink_module._install(tmp_path)
    assert len(installer) == 3


# Sink


def test_sink_receives_errors_and_transactions_of_the_sdk(sink, sdk):
    client = sdk(sink.dsn, traces_sample_rate=1)
    client.capture_event({"message": "an error"})
    client.capture_event({"type": "transaction", "transaction": "/home/"})
    events = sink.wait_for(lambda items: len(items) > 1 and sink.events())
    assert [event["message"] for event in events] == ["an error"]
    assert [item["transaction"] for item in sink.transactions()] == ["/home/"]
    assert sink.envelopes[0].headers["event_id"] == events[0]["event_id"]
    assert sink.requests[0].headers["content-encoding"] == "br"
    assert b"an error" not in sink.wire()
    assert b"an error" in sink.decoded()


def test_sink_reads_an_envelope_as_the_sdk_does(sink):
    envelope = SdkEnvelope(headers={"event_id": "a" * 32})
    envelope.add_event({"message": "line\nbreak"})
    for payload in (b"\n\n{}", b""):
        envelope.add_item(sentry_sdk.envelope.Item(payload, type="attachment"))
    request(sink, path="/api/1/envelope/", body=envelope.serialize())
    (received,) = sink.envelopes
    assert received.headers == envelope.headers
    assert [(item.type, item.payload) for item in received.items] == [
        (item.type, item.get_bytes()) for item in envelope.items
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]\n",
        b'{}\n{"length":1}\nx',
        b'{}\n{"type":"event","length":9}\n{}',
        b'{}\n{"type":"event","length":1}\n{}',
        b'{}\n{"type":"event","length":-1}\n{}',
        b'{}\n{"type":"event","length":"2"}\n{}',
        b'{}\n\n{"type":"event"}\n{}',
    ],
)
def test_sink_refuses_a_malformed_envelope(sink, body):
    assert request(sink, path="/api/1/envelope/", body=body)[0] == 400
    with pytest.raises(Malformed):
        sink.items()


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("", bytes),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
        ("gzip, br", lambda body: brotli.compress(gzip.compress(body))),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_sink_decodes_a_body(sink, encoding, compress, chunked):
    body = compress(b"decoded body")
    headers = {"Content-Encoding": encoding}
    request(sink, body=iter([body[:5], body[5:]]) if chunked else body, headers=headers)
    assert ("transfer-encoding" in sink.requests[0].headers) is chunked
    assert sink.decoded() == b"decoded body"


def test_sink_keeps_every_byte_of_a_connection(sink):
    sent = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
    cut_off = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"
    with socket.create_connection(("127.0.0.1", sink.port), timeout=60) as client:
        client.sendall(sent + sent + cut_off)
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    assert sink.wire() == sent + sent + cut_off
    with pytest.raises(AssertionError, match="could not be read"):
        sink.assert_absent(["anything"])


def test_sink_keeps_the_trace_headers_of_any_other_request(sink):
    status, _ = request(sink, "PUT", "/v1/users?q=1", headers={"Sentry-Trace": "0-1"})
    (received,) = sink.requests
    assert (status, received.method, received.path) == (200, "PUT", "/v1/users?q=1")
    assert received.headers["sentry-trace"] == "0-1"


def test_sink_answers_over_one_connection_without_delay(sink):
    connection = http.client.HTTPConnection("127.0.0.1", sink.port)
    times = []
    for _ in range(60):
        started = time.monotonic()
        connection.request("POST", "/", b"x")
        connection.getresponse().read()
        times.append(time.monotonic() - started)
    connection.close()
    assert len(sink.requests) == 60
    # Linux begins to delay its ACKs, by 40 ms, after some exchanges: then all of them.
    assert min(times[-20:]) < 0.02


WAYS_TO_WRITE = {
    "plain": str,
    "json": lambda secret: json.dumps({"key": secret}),
    "json in json": lambda secret: json.dumps(json.dumps({"key": secret})),
    "path": urllib.parse.quote,
    "form": urllib.parse.quote_plus,
    "basic auth": lambda secret: base64.b64encode(f"me:{secret}".encode()).decode(),
    "url-safe": lambda secret: f"x{base64.urlsafe_b64encode(secret.encode()).decode()}",
    "base64 in path": lambda secret: urllib.parse.quote(
        base64.b64encode(secret.encode())
    ),
    "json in base64": lambda secret: base64.b64encode(
        json.dumps(secret).encode()
    ).decode(),
}


@pytest.mark.parametrize("write", WAYS_TO_WRITE.values(), ids=WAYS_TO_WRITE)
def test_sink_finds_a_secret_however_it_is_written(sink, write):
    body = gzip.compress(write(SECRET).encode())
    request(sink, body=body, headers={"Content-Encoding": "gzip"})
    sink.assert_absent(["another secret"])
    with pytest.raises(AssertionError, match="received secrets"):
        sink.assert_absent(["another secret", SECRET])


def test_sink_finds_a_secret_in_a_header(sink):
    request(sink, headers={"Baggage": "user=hunter2"})
    with pytest.raises(AssertionError, match="user=hunter2"):
        sink.assert_absent(["hunter2"])


def test_sink_refuses_to_call_an_empty_capture_clean(sink):
    with pytest.raises(AssertionError, match="nothing was received"):
        sink.assert_absent([SECRET])
    request(sink)
    sink.assert_absent([SECRET])
    sink.clear()
    with pytest.raises(AssertionError, match="nothing was received"):
        sink.assert_absent([SECRET])


def test_sink_refuses_to_call_an_unreadable_capture_clean(sink):
    status, _ = request(sink, body=b"not brotli", headers={"Content-Encoding": "br"})
    assert status == 400
    with pytest.raises(AssertionError, match="could not be read"):
        sink.assert_absent([SECRET])


@pytest.mark.parametrize("secrets", [[], [""], ["short"]])
def test_sink_refuses_secrets_that_prove_nothing(sink, secrets):
    request(sink)
    with pytest.raises(ValueError, match="6 characters"):
        sink.assert_absent(secrets)


@pytest.mark.parametrize(
    ("mode", "status", "header"),
    [
        ("status:500", 500, None),
        ("429:60", 429, ("Retry-After", "60")),
        (
            "limits:60:error;transaction",
            429,
            ("X-Sentry-Rate-Limits", "60:error;transaction:organization"),
        ),
        ("slow:0.3", 200, None),
    ],
)
def test_sink_changes_its_answer_at_run_time(sink, mode, status, header):
    assert request(sink)[0] == 200
    sink.mode = mode
    started = time.monotonic()
    received, headers = request(sink)
    assert received == status
    assert header is None or headers[header[0]] == header[1]
    if mode.startswith("slow"):
        assert time.monotonic() - started >= 0.3
    sink.mode = "ok"
    assert request(sink)[0] == 200
    assert len(sink.requests) == 3


def test_sink_does_not_know_every_mode(sink):
    with pytest.raises(ValueError, match="status:teapot"):
        sink.mode = "status:teapot"


def test_sink_as_a_black_hole_takes_everything_and_says_nothing(sink):
    sink.mode = "blackhole"
    with socket.create_connection(("127.0.0.1", sink.port), timeout=0.3) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nand more")
        with pytest.raises(TimeoutError):
            client.recv(1)
        deadline = time.monotonic() + 60
        while not sink.wire().endswith(b"and more"):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_sink_breaks_the_connection_on_request(sink):
    sink.mode = "reset"
    with socket.create_connection(("127.0.0.1", sink.port), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert len(sink.requests) == 1


def test_sink_refuses_connections_while_it_is_stopped(sink):
    sink.stop()
    with pytest.raises(ConnectionRefusedError):
        request(sink)
    sink.start()
    assert request(sink)[0] == 200


def test_sink_waits_until_its_port_is_left(sink):
    sink.stop()
    with socket.socket() as other:
        other.bind(("127.0.0.1", sink.port))
        threading.Timer(0.2, other.close).start()
        sink.start()
    assert request(sink)[0] == 200


def test_the_sdk_keeps_quiet_about_a_limited_category_only(sink, sdk):
    client = sdk(sink.dsn, traces_sample_rate=1, send_client_reports=False)
    sink.mode = "limits:60:error"
    capture(client, "told to wait")
    capture(client, "not sent")
    client.capture_event({"type": "transaction", "transaction": "/home/"})
    client.flush(timeout=60)
    assert [item.type for item in sink.items()] == ["event", "transaction"]


def test_sink_speaks_tls_with_a_certificate_of_its_own_authority(sdk):
    with Sink(tls=True) as sink:
        capture(sdk(sink.dsn), "refused")
        assert sink.wire() == b""
        capture(sdk(sink.dsn, ca_certs=str(sink.ca_file)), "trusted")
        (event,) = sink.events()
        assert event["message"] == "trusted"
        plain = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            http.client.HTTPSConnection("127.0.0.1", sink.port, context=plain).connect()


def test_sink_does_not_choke_on_tls_sent_to_its_plain_port(sink):
    with pytest.raises(ssl.SSLError):
        http.client.HTTPSConnection("127.0.0.1", sink.port, timeout=60).connect()
    assert request(sink)[0] == 200
