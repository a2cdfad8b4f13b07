import logging
import subprocess
import sys

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client
from django.urls import include, path

from monitoring import config
from monitoring.noise import SILENCE, OnceInAWhile, RepeatLimit
from monitoring.sampling import make_traces_sampler
from monitoring.views import TYPES

urlpatterns = [path("debug/", include("monitoring.urls"))]

DSN = "https://public@sentry.example/1"


def test_monitoring_is_off_without_a_dsn_and_the_sdk_is_not_loaded():
    code = (
        "import django; django.setup(); from django.test import Client; import sys;"
        "Client().get('/'); sys.exit('sentry_sdk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_configuration_comes_from_the_settings(settings):
    settings.SENTRY_DSN = f" {DSN} "
    settings.SENTRY_TRACES_SAMPLE_RATE = "0.25"
    loaded = config.load()
    assert loaded.dsn == DSN
    assert loaded.environment == "test"
    assert loaded.traces_sample_rate == 0.25
    assert loaded.public_key == "public"


@pytest.mark.parametrize(
    ("name", "value", "check_id"),
    [
        ("SENTRY_DSN", "sentry.example", "monitoring.E001"),
        ("SENTRY_DSN", "https://sentry.example/1", "monitoring.E001"),
        ("SENTRY_DSN", "https://public@sentry.example/", "monitoring.E001"),
        ("SENTRY_DSN", "https://public@sentry.example:port/1", "monitoring.E001"),
        ("SENTRY_TRACES_SAMPLE_RATE", "10%", "monitoring.E002"),
        ("SENTRY_TRACES_SAMPLE_RATE", "1.5", "monitoring.E002"),
        ("SENTRY_PROFILES_SAMPLE_RATE", "nan", "monitoring.E003"),
        ("SENTRY_REDACTION", {"patterns": ["("]}, "monitoring.E005"),
        ("SENTRY_REDACTION", {"stricter": True}, "monitoring.E005"),
    ],
)
def test_wrong_configuration_fails_the_system_checks(settings, name, value, check_id):
    setattr(settings, name, value)
    with pytest.raises(SystemCheckError, match=check_id) as error:
        call_command("check")
    assert "HINT" in str(error.value)


def test_dsn_without_the_sdk_fails_the_system_checks(settings, monkeypatch):
    settings.SENTRY_DSN = DSN
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    monkeypatch.setitem(sys.modules, "sentry_sdk.utils", None)
    with pytest.raises(SystemCheckError, match="monitoring.E004"):
        call_command("check")


def test_a_dsn_is_never_repeated_in_an_error(settings, caplog):
    settings.SENTRY_DSN = "https://not-for-the-log@sentry.example/"
    with pytest.raises(config.ConfigError) as error:
        config.load()
    assert "not-for-the-log" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "rate"),
    [
        ("/", 0.5),
        ("/admin/", 0.5),
        ("/healthz/", 0.0),
        ("/readyz/", 0.0),
        ("/static/css/site.css", 0.0),
    ],
)
@pytest.mark.parametrize(
    "context",
    [
        lambda path: {"wsgi_environ": {"PATH_INFO": path}},
        lambda path: {"asgi_scope": {"path": path}, "parent_sampled": True},
    ],
)
def test_requests_are_traced_at_the_configured_rate_but_probes_never(
    url, rate, context
):
    assert make_traces_sampler(0.5)(context(url)) == rate


@pytest.mark.parametrize("page", ["", "sentry-test/?type=division"])
def test_debug_pages_do_not_exist_without_debug(client, page):
    assert client.get(f"/api/v1/debug/{page}").status_code == 404


@pytest.fixture
def debug_endpoint(settings):
    settings.DEBUG = True
    settings.ROOT_URLCONF = __name__
    return Client(raise_request_exception=False)


def test_debug_endpoint_lists_its_types(debug_endpoint):
    response = debug_endpoint.get("/debug/sentry-test/")
    assert response.status_code == 400
    assert {"division", "value", "api_key"} <= set(response.json()["types"])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("division", 500),
        ("value", 500),
        ("api_key", 500),
        ("template", 500),
        ("middleware", 500),
        ("database", 500),
        ("logging", 200),
        ("slow_query", 200),
        ("cache", 200),
    ],
)
def test_debug_endpoint_fails_as_asked(debug_endpoint, caplog, name, status):
    response = debug_endpoint.get("/debug/sentry-test/", {"type": name})
    assert response.status_code == status
    if name == "logging":
        assert caplog.records[0].levelno == logging.ERROR


@pytest.mark.parametrize(
    ("dsn", "state"),
    [
        ("", "<code>SENTRY_DSN</code> is empty"),
        ("nonsense", "SENTRY_DSN is not a DSN"),
        (DSN, "<dd>sentry.example</dd>"),
    ],
)
def test_debug_page_shows_the_state_and_a_button_for_each_type(
    debug_endpoint, settings, dsn, state
):
    settings.SENTRY_DSN = dsn
    page = debug_endpoint.get("/debug/").content.decode()
    assert state in page
    assert "public@" not in page
    for name in TYPES:
        assert f'name="type" value="{name}"' in page


def test_only_the_first_of_many_equal_errors_are_sent():
    now = 0.0
    limit = RepeatLimit(limit=3, clock=lambda: now)

    def sent(line, times):
        frame = {"filename": "views.py", "lineno": line}
        stacktrace = {"stacktrace": {"frames": [frame]}}
        event = {"exception": {"values": [{"type": "ValueError", **stacktrace}]}}
        return sum(limit.before_send(event, {}) is not None for _ in range(times))

    assert sent(line=1, times=10) == 3
    assert sent(line=2, times=2) == 2
    now = 61.0
    assert sent(line=1, times=10) == 3


def test_connection_errors_of_the_sdk_are_logged_once(caplog):
    now = 0.0
    only_once = OnceInAWhile(clock=lambda: now)
    record = logging.makeLogRecord(
        {"msg": "refused", "threadName": "sentry-sdk.Worker"}
    )
    assert not any(only_once.filter(record) for _ in range(5))
    assert caplog.text.count("Sentry cannot be reached: refused") == 1
    now = SILENCE + 1.0
    only_once.filter(record)
    assert caplog.text.count("Sentry cannot be reached: refused") == 2
    ours = logging.makeLogRecord({"msg": "refused", "threadName": "MainThread"})
    assert only_once.filter(ours)


@pytest.mark.django_db
def test_monitored_commands_run_without_monitoring_too(capsys):
    call_command("nightly")
    assert "Removed expired sessions." in capsys.readouterr().out
