"""One command starts every combination of database, cache, dashboard and environment."""

import itertools
import json
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.docker.stack import DEBUG_ENDPOINT
from tests.matrix import QUESTIONS, alternatives

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]


def choices(name):
    return alternatives(QUESTIONS[name], QUESTIONS[name]["default"])


# The environments of one combination share its image and run side by side.
TABLE = list(
    itertools.product(
        choices("database"),
        choices("cache"),
        [*choices("error_dashboard"), "no_sentry"],
    )
)

# A DSN at which nobody listens.
DEAD_DSN = "http://public@127.0.0.1:9/1"

FAIL = "import logging; logging.getLogger('probe').error('made by a test')"


@pytest.mark.parametrize(("database", "cache", "dashboard"), TABLE)
def test_a_fresh_project_is_up_after_one_command(stack, database, cache, dashboard):
    slug = "shop"  # for all, so that they share the layers of their images
    answers = {"database": database, "cache": cache}
    if dashboard == "no_sentry":
        answers["use_sentry"] = False
    elif dashboard == "none":
        answers["sentry_dsn"] = DEAD_DSN
    else:
        answers["error_dashboard"] = dashboard
    environments = choices("environment")
    stacks = {
        environment: stack(slug, environment=environment, domain="localhost", **answers)
        for environment in environments
    }
    # Two at a time, for what a small machine can build and start.
    with ThreadPoolExecutor(2) as pool:
        for done in [
            pool.submit(check, stacks[environment], environment, dashboard)
            for environment in environments
        ]:
            done.result()


def check(site, environment, dashboard):
    site.up()
    for path in ("/", "/admin/login/", "/healthz/"):
        assert site.get(path)[0] == 200, path
    status, body = site.get("/readyz/")
    assert status == 200
    assert json.loads(body) == {"status": "ok", "database": "ok", "cache": "ok"}
    style_sheet = re.search(r'href="(/static/[^"]+\.css)"', site.get("/")[1])[1]
    assert site.get(style_sheet)[0] == 200

    has_endpoint = environment == "development" and dashboard != "no_sentry"
    status, _ = site.get(DEBUG_ENDPOINT.format("division"))
    assert status == (500 if has_endpoint else 404)

    dsn = {
        "no_sentry": "",
        "none": f"SENTRY_DSN={DEAD_DSN}",
        "bugsink": "SENTRY_DSN=http://0123456789abcdef0123456789abcdef@bugsink:8000/1",
        "spotlight": "SENTRY_DSN=http://public@spotlight:8969/1",
    }[dashboard]
    variables = site.execute("web", "env").splitlines()
    assert [line for line in variables if "SENTRY" in line] == [dsn] * bool(dsn)
    line = f"Sentry initialized for environment '{environment}'"
    assert site.logs().count(line) == bool(dsn)

    if not has_endpoint and dsn:
        site.execute("web", "python", "manage.py", "shell", "-v0", "-c", FAIL)
    text = "ZeroDivisionError" if has_endpoint else "made by a test"
    if dashboard == "bugsink":
        (event,) = site.bugsink_events(1)
        assert text in json.dumps(event)
        assert event["environment"] == environment
    elif dashboard == "spotlight":
        assert text in spotlight_stream(site.dashboard_port, text)


def spotlight_stream(port, text):
    """Return what Spotlight shows, which begins with what it has, up to `text`."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    seen = ""
    with direct.open(f"http://localhost:{port}/stream", timeout=60) as stream:
        while text not in seen and (line := stream.readline()):
            seen += line.decode()
    return seen
