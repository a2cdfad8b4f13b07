"""Pages of a project in a browser: the test errors, and the page for errors.

    PICTURES=docs uv run pytest tests/test_pages.py

makes the pictures for the documents of this repository, too.
"""

import io
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.servers.bugsink import PASSWORD, USERNAME, Bugsink
from tests.servers.process import Process, free_port
from tests.servers.sink import Sink

SIZE = {"width": 900, "height": 740}
PHONE = {"width": 360, "height": 640}
DEBUG_PAGE = "/api/v1/debug/"

FILES = {
    "probe_urls.py": """
from config.urls import handler500, path, urlpatterns

urlpatterns = [*urlpatterns, path("checkout/", lambda request: 1 / 0)]
""",
    # A browser, unlike a proxy, does not say that it came by HTTPS.
    "probe_settings.py": """
from config.settings import *

ROOT_URLCONF = "probe_urls"
SECURE_SSL_REDIRECT = False
""",
}


@pytest.fixture(scope="module")
def serve(render, python_for, environment, tmp_path_factory):
    """Return a function that serves a project for one of these environments."""
    folders = {}
    for name in ("development", "production"):
        folder = tmp_path_factory.mktemp("pages") / "shop"
        folders[name] = render(
            folder, project_name="Corner Shop", environment=name, domain="localhost"
        )
        for file, text in FILES.items():
            (folder / file).write_text(text)
    python = python_for(folder)
    env = environment | {
        "DJANGO_SETTINGS_MODULE": "probe_settings",
        "GIT_COMMIT": "4f1d2c3",
    }
    for folder in folders.values():
        for arguments in (["migrate", "-v0"], ["collectstatic", "-v0", "--noinput"]):
            command = [python, "manage.py", *arguments]
            subprocess.run(command, cwd=folder, env=env, check=True)

    def serve(name, dsn):
        port = free_port()
        return Process(
            [python.parent / "gunicorn", "--bind", f"127.0.0.1:{port}", "config.wsgi"],
            cwd=folders[name],
            env=env | {"SENTRY_DSN": dsn},
            ready_url=f"http://localhost:{port}/healthz/",
        )

    serve.folders, serve.python, serve.env = folders, python, env
    return serve


@pytest.fixture(scope="module")
def chromium(
    serve,
):  # which renders, and Copier and Playwright want a loop of their own
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if not path:
        pytest.skip(f"there is none of {', '.join(names)} here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A tab. What is wrong with its pages fails the test."""
    context = chromium.new_context(viewport=SIZE, device_scale_factor=1.5)
    page = context.new_page()
    page.set_default_timeout(120_000)
    problems = []
    page.on("pageerror", lambda error: problems.append(error))
    page.on("requestfailed", lambda request: problems.append(request.url))
    yield page
    context.close()
    assert not problems


@pytest.fixture
def picture(tmp_path):
    """Return a function that saves what a page shows, down to `height`."""
    folder = Path(os.environ.get("PICTURES", tmp_path))

    def picture(page, name, height, width=SIZE["width"]):
        clip = {"x": 0, "y": 0, "width": width, "height": height}
        page.screenshot(path=folder / name, clip=clip)
        assert (folder / name).stat().st_size > 10_000

    return picture


@pytest.fixture
def sink():
    with Sink() as sink:
        yield sink


def test_the_debug_page_shows_the_state_and_makes_each_error(
    serve, sink, page, picture
):
    with serve("development", sink.dsn) as site:
        page.goto(site.url + DEBUG_PAGE)
        picture(page, "debug-page.png", SIZE["height"])
        text = page.inner_text("main")
        assert "Monitoring is on." in text
        buttons = page.get_by_role("button")
        names = [button.get_attribute("value") for button in buttons.all()]
        assert {"division", "value", "api_key", "database", "logging"} <= set(names)
        for button in buttons.all():
            with page.expect_popup() as popup:
                button.click()
            answer = popup.value
            answer.wait_for_load_state()
            name = button.get_attribute("value")
            assert answer.url.endswith(f"/sentry-test/?type={name}")
            answer.close()
        sink.wait_for(
            lambda items: (
                "ZeroDivisionError" in str(sink.events())
                and "test error of the log" in str(sink.events())
            )
        )


def test_the_debug_page_fits_a_phone(serve, page):
    with serve("development", "") as site:
        page.set_viewport_size(PHONE)
        page.goto(site.url + DEBUG_PAGE)
        assert "Monitoring is off: SENTRY_DSN is empty." in page.inner_text("main")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width == PHONE["width"]


def test_the_page_for_errors_shows_the_reference_of_the_event(
    serve, sink, page, picture
):
    with serve("production", sink.dsn) as site:
        answer = page.goto(f"{site.url}/checkout/".replace("127.0.0.1", "localhost"))
        picture(page, "error-page.png", 400)
        assert answer.status == 500
        reference = page.inner_text("code")
        (event,) = sink.wait_for(lambda items: sink.events())
        assert event["event_id"] == reference == answer.headers["x-request-id"]


def test_a_redacted_error_is_easy_to_debug(
    serve, chromium, picture, pytestconfig, tmp_path
):
    with (
        Bugsink(pytestconfig.cache.mkdir("bugsink")) as bugsink,
        serve("development", bugsink.dsn) as site,
    ):
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(f"{site.url}{DEBUG_PAGE}sentry-test/?type=api_key")
        event = bugsink.wait_for_event(lambda event: True)
        assert event["tags"]["request_path"] == f"{DEBUG_PAGE}sentry-test/"
        page.goto(bugsink.url)
        page.get_by_placeholder("username").fill(USERNAME)
        page.get_by_placeholder("password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("link", name="app").first.click()
        page.get_by_text("PermissionError").first.click()
        page.wait_for_load_state()
        seen = page.inner_text("body")
        for text in (
            "Failed to authenticate with key: [REDACTED_TOKEN]",
            f"GET {site.url}{DEBUG_PAGE}sentry-test/",
            "monitoring/views.py in api_key",
            'raise PermissionError(f"Failed to authenticate with key: {secrets',
            "4f1d2c3",  # the release
            "request_id",
            "development",
        ):
            assert text in seen, text
        picture(page, "error.png", 900, 1280)
        page.close()


def test_sentry_check_has_a_picture(serve, sink, tmp_path):
    folder, python, env = serve.folders["production"], serve.python, serve.env
    command = ["sentry_check", "--preview", "--send", "--force-color"]
    done = subprocess.run(
        [python, "manage.py", *command],
        cwd=folder,
        env=env | {"SENTRY_DSN": sink.dsn, "COLUMNS": "100"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    # Where the project lies for this test is of no interest.
    shown = re.sub(r"(?m)^ {2}\S*abs_path .*\n(?: {26}.*\n)*", "", done.stdout)
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ python manage.py " + " ".join(command[:-1]), Style(dim=True)))
    console.print(Text.from_ansi(shown))
    drawn = console.export_svg(title="manage.py sentry_check")
    # Pictures in a README may not load fonts; the browser has one of its own.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    (Path(os.environ.get("PICTURES", tmp_path)) / "sentry-check.svg").write_text(drawn)
    assert "[REDACTED_EMAIL]" in drawn
