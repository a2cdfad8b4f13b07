import logging
import subprocess
import sys

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client

from monitoring import config
from monitoring.sampling import make_traces_sampler

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
    ("path", "rate"),
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
    path, rate, context
):
    assert make_traces_sampler(0.5)(context(path)) == rate


def test_debug_endpoint_does_not_exist_without_debug(client):
    assert client.get("/api/v1/debug/sentry-test/?type=division").status_code == 404


@pytest.fixture
def debug_endpoint(settings):
    settings.DEBUG = True
    settings.ROOT_URLCONF = "monitoring.urls"
    return Client(raise_request_exception=False)


def test_debug_endpoint_lists_its_types(debug_endpoint):
    response = debug_endpoint.get("/sentry-test/")
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
    response = debug_endpoint.get("/sentry-test/", {"type": name})
    assert response.status_code == status
    if name == "logging":
        assert caplog.records[0].levelno == logging.ERROR
