"""What the README of this repository says is so."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import matrix
from tests.matrix import QUESTIONS
from tests.servers.process import Process, free_port
from tests.test_monitoring import Browser
from tests.test_project import blocks, run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TRY, TEST, CREATE, CREATE_WITH_DATA, UPDATE = (
    block.strip() for block in blocks(README)
)


@pytest.fixture(scope="module")
def with_copier(environment):
    """The variables with which `copier` and `uv` are those of this environment."""
    scripts = Path(sys.executable).parent
    git = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com"}
    git |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in git.items()}
    return environment | git | {"PATH": f"{scripts}:{environment['PATH']}"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, with_copier):
    """A clone in which the changes that are not committed yet are."""
    folder = tmp_path_factory.mktemp("readme") / "checkout"
    subprocess.run(["git", "clone", "-q", ROOT, folder], check=True)
    shutil.rmtree(folder / "template")
    matrix.copy_template(folder)
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, folder / name)
    run("git add . && git commit -qm now --allow-empty", folder, with_copier)
    return folder


def test_the_first_command_makes_a_project_that_is_served(checkout, with_copier):
    command, serve = TRY.removeprefix("pip install uv && ").rsplit(" && ", 1)
    assert serve == "uv run manage.py runserver"
    run(command, checkout, with_copier)
    port = free_port()
    with Process(
        [*serve.split(), f"127.0.0.1:{port}"],
        cwd=checkout.parent / "my_site",
        env=with_copier,
        ready_url=f"http://127.0.0.1:{port}/",
    ) as site:
        status, page = Browser(site.url).get("/")
    assert status == 200
    assert "<h1>My Site</h1>" in page


def test_the_second_command_runs_these_tests():
    assert TEST == "pip install uv && uv run pytest"


def test_projects_are_created_and_updated_as_described(checkout, with_copier, tmp_path):
    here = str(checkout)
    create = CREATE.replace("path/to/this/checkout", here) + " --defaults"
    with_data = CREATE_WITH_DATA.replace("path/to/this/checkout", here)
    run(f"{create}\n{with_data}", tmp_path, with_copier)
    project = tmp_path / "corner_shop"
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert answers["project_name"] == "Corner Shop"
    assert answers["database"] == "postgresql"
    commit = "git init -q && git add . && git commit -qm start"
    run(f"{commit}\n{UPDATE} --vcs-ref HEAD", project, with_copier)
    assert run("git status --short", project, with_copier) == ""


def test_the_table_of_questions_is_that_of_copier_yml():
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|", README, re.M)
    asked = [name for name, q in QUESTIONS.items() if q.get("when") is not False]
    assert [name for name, *_ in rows] == asked
    for name, answers, default in rows:
        question = QUESTIONS[name]
        if choices := question.get("choices"):
            values = choices.values() if isinstance(choices, dict) else choices
            assert set(re.findall(r"`([^`]+)`", answers)) == set(values)
        if isinstance(question["default"], bool):
            assert default == ("yes" if question["default"] else "no")
        elif isinstance(question["default"], float) or name == "domain":
            assert default.strip("`") == str(question["default"])


def test_links_lead_to_files():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
