"""What the tests share: the rendered projects, servers, and the closing report."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from plumbum import local
from xdist.scheduler import LoadScopeScheduling

from tests.matrix import PLAIN_GIT, Matrix
from tests.servers.postgres import Postgres
from tests.servers.valkey import Valkey

pytest_plugins = ["tests.projects"]


@pytest.fixture(scope="session", autouse=True)
def no_copier_settings(tmp_path_factory):
    """Keep the defaults that a user has set for Copier out of the tests."""
    settings = tmp_path_factory.mktemp("copier") / "settings.yml"
    settings.write_text("{}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COPIER_SETTINGS_PATH", str(settings))
        yield


@pytest.fixture(scope="session", autouse=True)
def plain_git():
    """Keep out how a user has set up git, and the repository of a hook that runs this."""
    with pytest.MonkeyPatch.context() as patch:
        inherited = [name for name in os.environ if name.startswith("GIT_")]
        # Copier starts git with what plumbum has copied from the environment.
        for variables in (os.environ, local.env):
            for name in inherited:
                patch.delitem(variables, name)
            for name, value in PLAIN_GIT.items():
                patch.setitem(variables, name, value)
        yield


@pytest.fixture(scope="session")
def matrix(tmp_path_factory, worker_id):
    """The rendered projects, shared by all workers of this run."""
    folder = tmp_path_factory.getbasetemp()
    return Matrix((folder if worker_id == "master" else folder.parent) / "matrix")


@pytest.fixture(scope="session")
def postgres():
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def valkey():
    with Valkey() as server:
        yield server


@pytest.fixture
def measure(record_property):
    """Return a function that adds a number to a line of the closing report."""
    return lambda line, number: record_property("measured", (line, number))


class BlockScheduling(LoadScopeScheduling):
    """Runs the tests that share a block of the matrix, or the engine, in one process."""

    def _split_scope(self, nodeid):
        module, _, test = nodeid.partition("::")
        if "/docker/" in module:
            return "docker"
        return test.partition("[")[2] if "test_matrix" in module else nodeid


def pytest_xdist_make_scheduler(config, log):
    return BlockScheduling(config, log)


def pytest_terminal_summary(terminalreporter):
    total = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                for name, value in report.user_properties:
                    if name == "measured":
                        line, number = value
                        total[line] += number
    if total:
        terminalreporter.section("matrix, seconds of all test processes together")
    for line, number in total.items():
        terminalreporter.write_line(f"{number:8,.0f} {line}")
