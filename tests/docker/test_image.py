"""What is in the image, who it runs as, and what a build uses again."""

import json
import subprocess
import sys
from http.client import HTTPException

import pytest

from tests.docker.stack import ComposeError, wait_for
from tests.servers.process import Process

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def image(site, slug):
    return json.loads(site.run("docker", "image", "inspect", slug))[0]


def test_the_container_has_no_rights_and_cannot_write_its_code(stack):
    site = stack("site_rights", use_sentry=False)
    site.up()
    state = site.inspect()
    assert state["Config"]["User"] == "1000:1000"
    assert state["HostConfig"]["ReadonlyRootfs"]
    status = site.execute("web", "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["Uid"].split() == fields["Gid"].split() == ["1000"] * 4
    assert fields["NoNewPrivs"] == "1"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[kind], 16) == 0, kind
    write = ("web", "sh", "-c", "echo >> $0")
    for path in ("/app/config/settings.py", "/app/new", "/venv/new", "/etc/new"):
        with pytest.raises(
            ComposeError, match="Permission denied|Read-only file system"
        ):
            site.execute(*write, path)
        with pytest.raises(ComposeError, match="Read-only file system"):
            site.compose("exec", "-T", "--user", "root", *write, path)
    for path in ("/app/data/new", "/app/logs/new", "/tmp/new"):
        site.execute(*write, path)


def test_the_image_holds_the_code_and_nothing_of_the_build_or_the_machine(stack):
    slug = "site_content"
    site = stack(slug, variables={"GIT_COMMIT": COMMIT}, environment="production")
    (site.folder / "data" / "db.sqlite3").write_text("not for the image")
    site.compose("build")
    built = image(site, slug)
    size = built["Size"] - image(site, "python:3.13-slim")["Size"]
    assert size < 200e6
    run = ("docker", "run", "--rm", slug)
    listing = site.run(*run, "find", "/app", "-not", "-name", "*.pyc").splitlines()
    assert "/app/config/settings.py" in listing
    assert "/app/staticfiles/staticfiles.json" in listing
    assert any(".pyc" in path for path in site.run(*run, "find", "/app").splitlines())
    unwanted = (".env", ".git", ".venv", "tests", "docs", "README.md", "Dockerfile")
    for name in (*unwanted, "docker-compose.yml", "data/db.sqlite3", "uv.lock.old"):
        assert f"/app/{name}" not in listing
    for tool in ("uv", "gcc", "make"):
        with pytest.raises(ComposeError):
            site.run(*run, "sh", "-c", f"command -v {tool}")
    variables = site.run(*run, "env")
    assert f"GIT_COMMIT={COMMIT}" in variables
    assert "SECRET_KEY" not in variables
    dotenv = (site.folder / ".env").read_text()
    secret = dotenv.split("SECRET_KEY=")[1].split()[0]
    history = site.run(
        "docker", "history", "--no-trunc", "--format", "{{json .}}", slug
    )
    assert secret not in history + json.dumps(built)


def test_uid_and_gid_can_be_chosen(stack):
    site = stack(
        "site_uid", variables={"UID": "12345", "GID": "23456"}, use_sentry=False
    )
    site.up()
    assert site.execute("web", "id").startswith("uid=12345(app) gid=23456(app)")
    found = site.execute("web", "stat", "--format", "%u:%g", "data/db.sqlite3")
    assert found.strip() == "12345:23456"


def test_a_change_of_the_code_builds_one_layer_anew(stack):
    slug = "site_rebuild"
    site = stack(slug, use_sentry=False)
    site.up()
    first = image(site, slug)["RootFS"]["Layers"]
    home = site.folder / "templates" / "home.html"
    home.write_text(home.read_text().replace("<h1>", "<h1>Changed: "))
    site.up()
    assert "<h1>Changed: " in site.get("/")[1]
    second = image(site, slug)["RootFS"]["Layers"]
    assert first[:-1] == second[:-1]
    assert first[-1] != second[-1]


def test_saved_changes_are_live_while_compose_watches(stack):
    site = stack("site_watch", use_sentry=False)
    site.up()
    with Process(
        ["docker", "compose", "watch", "--no-up"],
        cwd=site.folder,
        env=site.env,
        ready_line="Watch enabled",
    ):
        home = site.folder / "templates" / "home.html"
        home.write_text(home.read_text().replace("<h1>", "<h1>Live: "))
        wait_for(lambda: "<h1>Live: " in page(site), timeout=180)  # a build


def page(site):
    """Return the home page, or nothing while the container is being replaced."""
    try:
        return site.get("/")[1]
    except (OSError, HTTPException):
        return ""


def test_a_lock_file_decides_the_versions_and_must_be_up_to_date(stack):
    slug = "site_lock"
    site = stack(slug, use_sentry=False)
    # An older version than the newest allowed, which only the lock can ask for.
    lock = [sys.executable, "-m", "uv", "lock", "--quiet", "--no-python-downloads"]
    subprocess.run(
        [*lock, "--upgrade-package", "environs==15.2.0"], cwd=site.folder, check=True
    )
    site.compose("build")
    version = "from importlib.metadata import version as v; print(v('environs'))"
    run = ("docker", "run", "--rm", slug, "python", "-c", version)
    assert site.run(*run).strip() == "15.2.0"
    pyproject = site.folder / "pyproject.toml"
    pyproject.write_text(
        pyproject.read_text().replace("whitenoise>=6.9", "whitenoise>=6.8")
    )
    with pytest.raises(ComposeError, match="needs to be updated"):
        site.compose("build")
