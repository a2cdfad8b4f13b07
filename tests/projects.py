"""Fixtures for tests that look at one project, not at all combinations."""

import os

import pytest

from tests import matrix
from tests.venvs import Venv


@pytest.fixture(scope="session")
def render(tmp_path_factory):
    """Return a function that renders a project into a folder and returns the folder.

    Answers are keywords; those not given are the defaults.
    """
    template = tmp_path_factory.mktemp("template") / "copy"
    matrix.copy_template(template)

    def render(folder, **answers):
        matrix.render(template, folder, answers)
        return folder

    return render


@pytest.fixture(scope="session")
def python_for():
    """Return a function that returns the Python of a project's own environment.

    It has what the project's requirements.txt names, and the `extra` requirements.
    """

    def python_for(project, *extra):
        pyproject = (project / "pyproject.toml").read_text()
        requirements = (project / "requirements.txt").read_text()
        return Venv(pyproject, "\n".join([requirements, *extra])).python

    return python_for


@pytest.fixture(scope="session")
def environment():
    """The variables of this process that a project's process may see."""
    names = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "TMPDIR")
    inherited = {name: os.environ[name] for name in names if name in os.environ}
    return inherited | matrix.PLAIN_GIT | {"PYTHONUNBUFFERED": "1"}
