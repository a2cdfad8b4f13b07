"""An update can change what a project was made with, and change it back."""

import re
import subprocess

import pytest

from tests import matrix
from tests.update.releases import commit, differences, git, update
from tests.update.test_work import work_on

# Questions whose answers change which files or packages a project has, or more than a
# number in them. Each is taken to every other answer and back.
CHANGES = {
    name: [*alternatives[1:], alternatives[0]]
    for name, question in matrix.QUESTIONS.items()
    if "choices" in question or question["type"] == "bool"
    for alternatives in [matrix.alternatives(question, question["default"])]
}


@pytest.mark.parametrize("question", CHANGES)
def test_an_answer_can_be_changed_and_changed_back(template, fresh, tmp_path, question):
    project = template.start(tmp_path / "site")
    variables = (project / ".env").read_bytes()
    for answer in CHANGES[question]:
        update(project, **{question: answer})
        assert not differences(project, fresh(**{question: answer})), answer
        commit(project, f"{question} {answer}")
    assert git(project, "diff", "HEAD~", "HEAD", "--stat")
    assert git(project, "diff", ":/Start", "HEAD", "--stat") == ""
    assert (project / ".env").read_bytes() == variables


def test_all_answers_can_be_changed_at_once_and_changed_back(template, fresh, tmp_path):
    one, *_, other = matrix.combinations()
    project = template.start(tmp_path / "site", **one)
    for answers in (other, one):
        update(project, **answers)
        assert not differences(project, fresh(**answers))
        commit(project)


def test_edits_survive_sentry_off_and_on(template, tmp_path):
    project = template.start(tmp_path / "site")
    work_on(project)
    commit(project)
    for use_sentry in (False, True):
        update(project, use_sentry=use_sentry)
        expected = template.render(tmp_path / f"{use_sentry}", use_sentry=use_sentry)
        work_on(expected)
        assert not differences(project, expected)
        commit(project)


def test_what_an_answer_leaves_out_leaves_no_empty_folder(fresh):
    project = fresh(use_sentry=False, use_docker=False, ci="none")
    folders = [path for path in project.rglob("*") if path.is_dir()]
    assert [folder.name for folder in folders if not any(folder.iterdir())] == []


@pytest.fixture
def check(python_for, environment):
    """Return a function that runs the system checks of a project."""

    def check(project):
        return subprocess.run(
            [python_for(project), "manage.py", "check"],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
        )

    return check


def test_settings_name_the_variables_that_new_answers_need(template, tmp_path, check):
    project = template.start(tmp_path / "site", use_sentry=False)
    assert check(project).returncode == 0
    update(project, database="postgresql", cache="redis")
    problems = check(project).stderr
    assert problems.startswith("manage.py: Set these environment variables right")
    named = re.findall(r"(\w+): Environment variable not set", problems)
    assert named == ["DATABASE_URL", "CACHE_URL"]


def test_variables_that_no_answer_needs_any_more_do_no_harm(template, tmp_path, check):
    project = template.start(
        tmp_path / "site", error_dashboard="bugsink", environment="production"
    )
    with (project / ".env").open("a") as file:
        file.write("SENTRY_DSN=https://public@sentry.example/1\n")
        file.write("SENTRY_TRACES_SAMPLE_RATE=0.5\n")
    update(project, use_sentry=False, use_docker=False, environment="development")
    done = check(project)
    assert done.returncode == 0, done.stderr
