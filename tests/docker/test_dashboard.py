"""An error travels from the site to Bugsink, and into a browser."""

import shutil
from pathlib import Path

import pytest

from tests.docker.stack import DEBUG_ENDPOINT

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def chromium():
    """The path of a Chromium, or None for the one Playwright has downloaded."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    own = Path.home() / ".cache" / "ms-playwright"
    if not found and not any(own.glob("chromium*")):
        pytest.skip("there is no Chromium here; playwright install chromium brings one")
    return found


def division(site):
    return site.get(DEBUG_ENDPOINT.format("division"))[0]


def dsn(site):
    """Return what `docker compose exec web env | grep SENTRY_DSN` prints."""
    pipe = "docker compose exec -T web env | grep SENTRY_DSN"
    return site.run("bash", "-c", pipe).strip()


def test_errors_carry_the_commit_until_the_dsn_is_emptied(stack):
    site = stack(
        "site_dashboard",
        variables={"GIT_COMMIT": COMMIT},
        error_dashboard="bugsink",
    )
    site.up()
    assert dsn(site).startswith("SENTRY_DSN=http://0123456789abcdef")
    assert "Sentry initialized for environment 'development'" in site.logs()
    assert division(site) == 500
    (event,) = site.bugsink_events(1)
    assert event["release"] == COMMIT
    assert event["exception"]["values"][-1]["type"] == "ZeroDivisionError"
    assert event["tags"]["request_path"] == "/api/v1/debug/sentry-test/"

    with (site.folder / ".env").open("a") as file:
        file.write("SENTRY_DSN=\n")
    site.compose("restart", "web")
    assert dsn(site) != "SENTRY_DSN="
    site.compose("up", "-d", "--wait", "web")
    assert dsn(site) == "SENTRY_DSN="
    assert "Sentry" not in site.logs()
    assert division(site) == 500
    # An error that would arrive has done so when the container has stopped.
    site.compose("stop", "web")
    assert len(site.bugsink_events(1)) == 1


def test_an_error_is_seen_in_a_browser(chromium, stack):
    from playwright.sync_api import expect, sync_playwright

    site = stack("site_dashboard", error_dashboard="bugsink")
    site.up()
    assert division(site) == 500
    (event,) = site.bugsink_events(1)
    dotenv = (site.folder / ".env").read_text()
    password = dotenv.split("BUGSINK_PASSWORD=")[1].split()[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)
        expect.set_options(timeout=30_000)
        page.goto(f"http://localhost:{site.dashboard_port}/")
        page.get_by_placeholder("username").fill("admin@example.com")
        page.get_by_placeholder("password").fill(password)
        page.keyboard.press("Enter")
        page.get_by_role("link", name=site.slug).first.click()
        page.get_by_text("ZeroDivisionError").first.click()
        expect(page.get_by_text("division by zero").first).to_be_visible()
        expect(page.get_by_text("monitoring/views.py").first).to_be_visible()
        browser.close()
