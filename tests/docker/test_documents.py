"""The page on monitoring, followed from top to bottom by somebody who uses Docker."""

import re
import subprocess

import pytest

from tests.test_documents import ADDRESS, EXAMPLE_DSN, blocks, write_env

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]

# The key is the one that docker-compose.yml gives the dashboard's project.
DASHBOARD = "http://0123456789abcdef0123456789abcdef@bugsink:8000/1"
REFERENCE = "0b0f4e9a0d6d4a5a8c3b0f4e9a0d6d4a"
INITIALIZED = 'grep "Sentry initialized"'
REVISION = "git rev-parse"


def test_commands_of_the_page_on_monitoring_work_from_top_to_bottom(stack):
    site = stack("documents", error_dashboard="bugsink")
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Start"]):
        subprocess.run(["git", *author, *command], cwd=site.folder, check=True)
    site.up()
    page = blocks((site.folder / "docs" / "monitoring.md").read_text())
    # What is looked at more closely below is on the page.
    scripts = "".join(block.text for block in page if block.language == "bash")
    for text in (REFERENCE, INITIALIZED, REVISION):
        assert text in scripts
    for block in page:
        if block.language == "dotenv" and block.heading != "Configuration":
            write_env(site.folder, block.text.replace(EXAMPLE_DSN, DASHBOARD))
        if block.language != "bash":
            continue
        script = block.text.replace(ADDRESS, f"localhost:{site.port}")
        if REFERENCE in script:
            script = script.replace(REFERENCE, reference_of_an_error(site))
        output = site.run("bash", "-euo", "pipefail", "-c", script)
        assert "FAILED" not in output
        if INITIALIZED in script:
            assert "Sentry initialized for environment 'development'" in output
        if REVISION in script:
            commit = site.run("git", "rev-parse", "HEAD").strip()
            assert site.execute("web", "printenv", "GIT_COMMIT").strip() == commit
    # What the page ends with: no DSN, no SDK, and a site.
    missing = "import importlib.util as u; assert not u.find_spec('sentry_sdk')"
    site.execute("web", "python", "-c", missing)
    assert site.get("/")[0] == 200


def reference_of_an_error(site):
    url = f"http://localhost:{site.port}/api/v1/debug/sentry-test/?type=value"
    return re.search(r"(?i)x-request-id: (\w+)", site.run("curl", "-si", url))[1]
