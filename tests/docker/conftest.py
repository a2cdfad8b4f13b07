"""Fixtures of the tests that need Docker, which run one at a time on a machine."""

import re
import secrets
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from filelock import FileLock

from tests.docker.stack import Stack

IMAGES = Path(__file__).parent / "images"
LOCK = Path(tempfile.gettempdir(), "docker-tests.lock")


def answers(*command):
    """Tell whether a command exists and succeeds."""
    return bool(shutil.which(command[0])) and not (
        subprocess.run(command, capture_output=True).returncode
    )


@pytest.fixture(scope="session")
def compose():
    if not answers("docker", "compose", "version"):
        pytest.skip("there is no Docker Compose here (docker compose version)")


@pytest.fixture(scope="session")
def engine(compose):
    if not answers("docker", "info"):
        pytest.skip("no Docker engine answers here (docker info)")


@pytest.fixture(scope="session")
def images(engine):
    """Bring the images that have a stand-in here for engines without their registry."""
    for dockerfile in IMAGES.glob("*.Dockerfile"):
        tag = re.search("(?m)^# tag: (.+)", dockerfile.read_text())[1]
        with FileLock(LOCK):
            if not any(
                answers("docker", *command, tag)
                for command in (["image", "inspect"], ["pull"])
            ):
                build = ["docker", "build", "--quiet", "--tag", tag, "--file"]
                subprocess.run([*build, dockerfile, IMAGES], check=True)


@pytest.fixture
def stack(images, render, tmp_path):
    """Return a function that renders a project and returns it as a Stack.

    It is not started, and gone after the test. A slug stays the same from run to run,
    so that the layers of the last build are used again.
    """

    def stack(slug, variables=None, **answers):
        name = f"{slug}-{secrets.token_hex(4)}"
        folder = render(tmp_path / name, project_slug=slug, **answers)
        made = Stack(folder, slug, name, variables or {})
        # One that cannot be removed leaves none of the others behind.
        stacks.callback(made.remove)
        return made

    with FileLock(LOCK), ExitStack() as stacks:
        yield stack
