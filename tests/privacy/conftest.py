"""A project with the probe in it, and what it sent in each column."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
from filelock import FileLock

from tests.privacy.run import Column, Result, isolated_run

PROBE = Path(__file__).parent / "probe"


def install_probe(project: Path) -> None:
    """Put the probe beside the project's own apps."""
    shutil.copytree(PROBE, project / "probe", ignore=lambda *_: ["__pycache__"])


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id):
    """A folder that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "privacy"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def probed(shared, render, python_for, environment):
    """A migrated project with the probe in it."""
    project = shared / "my_site"
    with FileLock(f"{project}.lock"):
        if not project.exists():
            new = render(shared / "new" / "my_site")
            install_probe(new)
            python = python_for(new, "uvicorn", "brotli")
            migrate = [python, "manage.py", "migrate", "-v0"]
            subprocess.run(migrate, cwd=new, env=environment, check=True)
            new.rename(project)
    return project


@pytest.fixture(scope="session")
def capture(shared, probed, python_for):
    """Return a function that returns what arrived in a `Column`; run once, then kept."""

    def capture(column: Column, sdk: str = "newest") -> Result:
        kept = shared / f"{column}-{sdk}.json"
        with FileLock(f"{kept}.lock"):
            if not kept.exists():
                version = [] if sdk == "newest" else [f"sentry-sdk=={sdk}"]
                python = python_for(probed, "uvicorn", "brotli", *version)
                result = isolated_run(column, probed, python)
                kept.write_text(json.dumps(asdict(result)))
        return Result(**json.loads(kept.read_text()))

    return capture


@pytest.fixture(scope="session")
def oldest(probed):
    """The oldest version of the SDK that the project admits."""
    requirements = (probed / "requirements.txt").read_text()
    return re.search(r"^sentry-sdk\S*>=([\d.]+)", requirements, re.M)[1] + ".0"
