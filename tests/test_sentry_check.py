"""`manage.py sentry_check` against servers that behave, and servers that do not."""

import json
import socket
import subprocess
import threading
from contextlib import suppress

import pytest

from tests.servers.bugsink import Bugsink
from tests.servers.sink import Sink


@pytest.fixture(scope="module")
def check(render, python_for, environment, tmp_path_factory):
    """Return a function that runs the command; its result has returncode and stdout."""
    folder = render(
        tmp_path_factory.mktemp("checked") / "my_site",
        environment="production",
        use_docker=False,
    )
    python = python_for(folder)

    def run(*arguments, **variables):
        result = subprocess.run(
            [python, "manage.py", "sentry_check", *arguments],
            cwd=folder,
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert "Traceback" not in result.stdout + result.stderr
        return result

    return run


@pytest.fixture
def sink():
    with Sink() as sink:
        yield sink


def test_all_is_well(check, sink):
    result = check(SENTRY_DSN=sink.dsn)
    assert result.returncode == 0
    assert result.stdout.count("ok ") == 4
    assert "FAILED" not in result.stdout
    (item,) = sink.wait_for(lambda items: items)
    assert item.type == "client_report"


def test_the_key_of_the_dsn_is_not_shown(check, sink):
    key = sink.dsn.split("//")[1].split("@")[0]
    result = check(SENTRY_DSN=sink.dsn)
    assert key not in result.stdout + result.stderr
    assert f"{key[:4]}****@" in result.stdout


def test_send_delivers_an_error_a_transaction_and_a_log_message(check, sink):
    result = check("--send", SENTRY_DSN=sink.dsn)
    assert result.returncode == 0
    expected = {"event", "transaction", "log"}
    sink.wait_for(lambda items: {item.type for item in items} >= expected)
    (event,) = sink.events()
    assert event["event_id"] in result.stdout
    assert "alice@example.com" not in sink.decoded().decode()


def test_bugsink_accepts_what_is_sent(check, pytestconfig):
    with Bugsink(pytestconfig.cache.mkdir("bugsink")) as bugsink:
        result = check("--send", SENTRY_DSN=bugsink.dsn)
        assert result.returncode == 0, result.stdout
        event = bugsink.wait_for_event(lambda event: "exception" in event)
    assert event["event_id"] in result.stdout
    assert "test error of sentry_check" in event["exception"]["values"][0]["value"]


def test_preview_shows_what_was_collected_beside_what_is_sent(check, sink):
    report = json.loads(
        check("--preview", "--format", "json", SENTRY_DSN=sink.dsn).stdout
    )
    collected = report["preview"]["collected"]
    sent = report["preview"]["sent"]
    assert "alice@example.com" in collected["exception"]["values"][0]["value"]
    assert "[REDACTED_EMAIL]" in sent["exception"]["values"][0]["value"]
    assert "password='[Filtered]'" in sent["exception"]["values"][0]["value"]
    assert sent["extra"] == {"api_key": "[Filtered]"}
    table = check("--preview", SENTRY_DSN=sink.dsn).stdout
    assert "collected" in table
    assert "[REDACTED_TOKEN]" in table


def test_json_says_the_same_to_programs(check, sink):
    result = check("--format", "json", SENTRY_DSN=sink.dsn)
    report = json.loads(result.stdout)
    assert report["ok"] is True
    assert [step["step"] for step in report["checks"]] == [
        *("resolve", "connect", "encrypt", "ingest")
    ]
    sink.mode = "status:403"
    result = check("--format", "json", SENTRY_DSN=sink.dsn)
    report = json.loads(result.stdout)
    assert result.returncode == 1
    assert report["ok"] is False
    assert "DSN" in report["checks"][-1]["fix"]


def test_without_a_dsn_it_says_how_to_switch_monitoring_on(check):
    result = check(SENTRY_DSN="")
    assert result.returncode == 1
    assert "Monitoring is off" in result.stdout
    assert ".env" in result.stdout


def test_preview_works_before_monitoring_is_switched_on(check):
    result = check("--preview", SENTRY_DSN="")
    assert result.returncode == 1
    assert "Monitoring is off" in result.stdout
    assert "[REDACTED_TOKEN]" in result.stdout


def test_both_halves_of_an_old_dsn_are_hidden(check, sink):
    dsn = sink.dsn.replace("@", ":correct-horse@")
    result = check(SENTRY_DSN=dsn)
    assert result.returncode == 0
    assert "correct-horse" not in result.stdout + result.stderr


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon"])
def test_a_time_limit_that_is_none_is_refused(check, seconds):
    result = check(f"--timeout={seconds}")
    assert result.returncode == 2
    assert f"'{seconds}' is not a number of seconds above 0." in result.stderr


def test_a_wrong_configuration_is_named_with_its_fix(check):
    result = check(SENTRY_DSN="nonsense", SENTRY_TRACES_SAMPLE_RATE="5")
    assert result.returncode == 1
    assert "SENTRY_DSN is not a DSN" in result.stdout
    assert "SENTRY_TRACES_SAMPLE_RATE is '5'" in result.stdout


@pytest.mark.parametrize(
    ("mode", "verdict"),
    [
        ("status:401", "does not know this key"),
        ("status:403", "refuses this key"),
        ("status:404", "no such project"),
        ("status:500", "HTTP 500"),
        ("429:60", "asks to wait 60 s"),
        ("limits:60:error", "takes no more"),
        ("reset", "the connection broke"),
        ("blackhole", "no answer within 1 s"),
        ("slow:10", "no answer within 1 s"),
    ],
)
def test_each_answer_of_a_server_gets_a_verdict(check, sink, mode, verdict):
    sink.mode = mode
    # Whoever is to answer gets the time that a busy machine takes.
    seconds = "1" if mode in ("blackhole", "slow:10") else "30"
    result = check("--timeout", seconds, SENTRY_DSN=sink.dsn)
    assert result.returncode == 1
    assert "FAILED Ingest" in result.stdout
    assert verdict in result.stdout


def test_a_host_without_an_address_is_named(check):
    # A name server that does not answer is asked once, for a second.
    asked = {"RES_OPTIONS": "timeout:1 attempts:1"}
    result = check(SENTRY_DSN="https://public@sentry.invalid/1", **asked)
    assert result.returncode == 1
    assert "FAILED Name: sentry.invalid" in result.stdout


def test_a_server_that_is_not_there_is_named(check, sink):
    sink.stop()
    result = check(SENTRY_DSN=sink.dsn)
    assert result.returncode == 1
    assert "FAILED Connection" in result.stdout
    assert "refused" in result.stdout


def test_a_certificate_nobody_trusts_is_named(check):
    with Sink(tls=True) as sink:
        result = check(SENTRY_DSN=sink.dsn)
        assert result.returncode == 1
        assert "FAILED TLS: the certificate is not trusted" in result.stdout
        trusted = check(SENTRY_DSN=sink.dsn, SSL_CERT_FILE=str(sink.ca_file))
        assert trusted.returncode == 0, trusted.stdout


def test_a_server_without_tls_is_named(check, sink):
    result = check(SENTRY_DSN=sink.dsn.replace("http:", "https:"))
    assert result.returncode == 1
    assert "FAILED TLS: the server does not speak TLS" in result.stdout


def test_a_server_that_does_not_speak_http_is_named(check):
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=greet, args=[server], daemon=True).start()
        port = server.getsockname()[1]
        result = check(SENTRY_DSN=f"http://public@127.0.0.1:{port}/1")
    assert result.returncode == 1
    assert "FAILED Ingest: the connection broke" in result.stdout


def greet(server):
    """Answer each connection as a mail server does."""
    with suppress(OSError):  # until it is closed
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"220 mail.example ESMTP\r\n")
