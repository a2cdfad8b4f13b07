"""The repository of the template that the tests of updates share."""

from unittest import mock

import pytest
from copier._main import Worker

from tests import matrix
from tests.update import releases


@pytest.fixture(scope="package", autouse=True)
def quickly():
    """Update at half the cost: for each file written, Copier starts a git process.

    It asks whether git heeds file modes, and if it does, as here, goes on as before.
    """
    skipped = mock.patch.object(Worker, "_sync_git_index_executable_bit")
    with matrix.compile_once(), skipped:
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """The template with all its releases, of which the newest is the working tree."""
    folder = tmp_path_factory.mktemp("releases") / "template"
    return releases.Template.of_working_tree(folder)


@pytest.fixture(scope="session")
def fresh(template, tmp_path_factory):
    """Return a function that returns a new project, which is not to be changed."""
    folder = tmp_path_factory.mktemp("fresh")
    rendered = {}

    def fresh(**answers):
        key = tuple(sorted(answers.items()))
        if key not in rendered:
            path = folder / str(len(rendered))
            rendered[key] = template.render(path, **answers)
        return rendered[key]

    return fresh
