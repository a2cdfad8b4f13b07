"""From the first command to the error in a Sentry-compatible server."""

import re

import pytest

from tests.servers.bugsink import Bugsink
from tests.servers.process import Process, free_port
from tests.test_monitoring import Browser, migrate_with_user


@pytest.fixture(scope="module")
def bugsink(pytestconfig):
    with Bugsink(pytestconfig.cache.mkdir("bugsink")) as server:
        yield server


def test_an_error_of_a_fresh_project_is_found_in_bugsink(
    bugsink, render, python_for, environment, tmp_path
):
    project = render(tmp_path / "my_site", sentry_dsn=bugsink.dsn)
    python = python_for(project)
    migrate_with_user(project, python, environment)
    port = free_port()
    with Process(
        [python.parent / "gunicorn", "--bind", f"127.0.0.1:{port}", "config.wsgi"],
        cwd=project,
        env=environment | {"GIT_COMMIT": "abc1234"},
        ready_url=f"http://127.0.0.1:{port}/healthz/",
    ) as server:
        browser = Browser(server.url)
        browser.log_in()
        for kind in ("division", "api_key"):
            status, _ = browser.get(f"/api/v1/debug/sentry-test/?type={kind}")
            assert status == 500
        division = bugsink.wait_for_event(is_a("ZeroDivisionError"))
        api_key = bugsink.wait_for_event(is_a("PermissionError"))

    (exception,) = division["exception"]["values"]
    assert exception["value"] == "division by zero"
    assert exception["stacktrace"]["frames"][-1]["function"] == "division"
    assert division["user"]["username"] == "alice"
    assert division["user"]["is_staff"] is True
    assert division["tags"]["request_path"] == "/api/v1/debug/sentry-test/"
    assert division["environment"] == "development"
    assert division["release"] == "abc1234"
    message = api_key["exception"]["values"][0]["value"]
    assert message == "Failed to authenticate with key: [REDACTED_TOKEN]"
    assert not re.search("[0-9a-f]{64}", str(api_key))


def is_a(name):
    return lambda event: event["exception"]["values"][0]["type"] == name
