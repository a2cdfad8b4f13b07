"""What a person types: the copier command, in the words of the documents."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.matrix import QUESTIONS
from tests.update.releases import (
    ENVIRONMENT,
    WORKING_TREE,
    commit,
    differences,
    git,
)

UPDATING = Path(__file__).parents[2].joinpath("template/docs/updating.md").read_text()
COMMANDS = re.findall(r"```bash\n(.*?)```", UPDATING, re.S)


def run(command, folder):
    """Run a shell command, with copier on the path and no terminal; return its output."""
    done = subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=folder,
        env=ENVIRONMENT
        | {"PATH": f"{Path(sys.executable).parent}:{ENVIRONMENT['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize(
    "source",
    ["{template}", "../{name}", "git+file://{template}"],
    ids=["path", "relative path", "URL"],
)
def test_a_project_finds_its_template_again_however_that_was_named(
    template, tmp_path, source
):
    elsewhere = template.folder.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    source = source.format(template=template.folder, name=template.folder.name)
    project = tmp_path / "site"
    run(f"copier copy --quiet --defaults '{source}' {project}", elsewhere)
    git(project, "init", "--quiet")
    commit(project)
    run("copier update --quiet --defaults", project)
    assert git(project, "status", "--porcelain") == ""
    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert recorded["_src_path"] in (str(template.folder), source)


def test_the_commands_of_the_document_do_what_it_says(template, fresh, tmp_path):
    project = template.start(tmp_path / "site", "v0.1.0")
    update, keep, other_answer = COMMANDS
    assert len((update + keep).splitlines()) == 3
    shown = run(update, project)
    run(keep, project)
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "log", "-1", "--format=%s") == "Update from the template"
    assert not differences(project, fresh())

    assert max(map(len, shown.splitlines())) <= 80
    assert "conflict: edit between <<<<<<< and >>>>>>>" in shown
    assert "docs/updating.md" in shown

    run(other_answer, project)
    assert not differences(project, fresh(use_docker=False))


def test_the_markers_of_the_document_are_those_of_an_update():
    for marker in ("<<<<<<< before updating", "=======", ">>>>>>> after updating"):
        assert f"\n    {marker}\n" in UPDATING


def test_only_new_questions_are_asked_with_skip_answered(template, tmp_path):
    """All but those whose answers are in `.env` alone: they have no earlier answer."""
    assert "--skip-answered" in UPDATING
    project = template.start(tmp_path / "site")
    secrets = [
        f"--data {name}=''"
        for name, question in QUESTIONS.items()
        if question.get("secret") and question.get("when") is not False
    ]
    run(f"copier update --quiet --skip-answered {' '.join(secrets)}", project)
    assert git(project, "status", "--porcelain") == ""


def test_a_new_version_is_announced(template, tmp_path):
    assert "copier check-update" in UPDATING
    project = template.start(tmp_path / "site", "v0.1.0")
    assert WORKING_TREE[1:] in run("copier check-update", project)


def test_an_unwanted_update_can_be_reset(template, tmp_path):
    reset = "git reset --hard && git clean -fd"
    assert f"`{reset}`" in UPDATING
    project = template.start(tmp_path / "site", "v0.1.0")
    before = shutil.copytree(project, tmp_path / "before")
    run(f"copier update --quiet --defaults && {reset}", project)
    assert not differences(project, before)
