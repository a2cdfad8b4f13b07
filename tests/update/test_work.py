"""No update loses what a person has done to a project."""

import re
import subprocess
import sys

import pytest
import yaml

from tests.update.releases import (
    commit,
    copier,
    differences,
    edit,
    git,
    update,
)

# What a person changes in a new project: a text, and what takes its place.
EDITS = {
    "config/settings.py": ('TIME_ZONE = "UTC"', 'TIME_ZONE = "Europe/Vienna"'),
    "config/urls.py": (
        '    path("admin/", admin.site.urls),\n',
        '    path("office/", admin.site.urls),\n    path("shop/", shop),\n',
    ),
    "accounts/models.py": (
        "class User(AbstractUser):\n",
        "class User(AbstractUser):\n    phone = models.CharField(max_length=30)\n\n",
    ),
    "templates/home.html": (
        "<h1>{{ project_name }}</h1>",
        "<h1>Welcome to {{ project_name }}</h1>",
    ),
    "README.md": ("## What is where\n", "## Where to look\n"),
    "docker-compose.yml": (
        "  migrate:\n",
        "  mail:\n    image: axllent/mailpit\n\n  migrate:\n",
    ),
    "pyproject.toml": ('    "gunicorn', '    "pillow>=11",\n    "gunicorn'),
    "requirements.txt": ("gunicorn", "pillow>=11\ngunicorn"),
}

# What a later release changes in the same files, in their first line.
ELSEWHERE = {
    name: ("", {".html": "{# New #}\n", ".md": "<!-- New -->\n"}.get(suffix, "# New\n"))
    for name, suffix in ((name, name[name.rindex(".") :]) for name in EDITS)
}

# What a later release changes in the same lines.
SAME_LINES = {
    name: (old, f"{old.rstrip()} # New\n" if old.endswith("\n") else f"New {old}")
    for name, (old, _) in EDITS.items()
}

OURS, BETWEEN, THEIRS = "<<<<<<< before updating", "=======", ">>>>>>> after updating"


def work_on(project):
    """Make a person's changes to a project."""
    for name, change in EDITS.items():
        edit(project / name, *change)


def test_edits_survive_where_the_template_changed_other_lines(template, tmp_path):
    later = template.release(tmp_path / "later", ELSEWHERE)
    project = follow(later, template.start(tmp_path / "site"))
    work_on(project)
    commit(project)
    update(project)
    expected = later.render(tmp_path / "expected")
    work_on(expected)
    assert not differences(project, expected)


def follow(later, project):
    """Let a project take its updates from the repository `later`; return the project."""
    answers = project / ".copier-answers.yml"
    answers.write_text(
        re.sub(
            "(?<=^_src_path: ).*", str(later.folder), answers.read_text(), flags=re.M
        )
    )
    commit(project)
    return project


@pytest.fixture(scope="module")
def conflicted(template, tmp_path_factory):
    """A project of a person who changed the same lines as the template."""
    folder = tmp_path_factory.mktemp("conflicted")
    later = template.release(folder / "later", SAME_LINES)
    project = follow(later, template.start(folder / "site"))
    work_on(project)
    commit(project)
    update(project)
    return project


def test_edits_survive_with_markers_where_the_template_changed_the_same_lines(
    conflicted,
):
    for name, (_, mine) in EDITS.items():
        text = (conflicted / name).read_text()
        ours, theirs = re.fullmatch(
            f".*^{OURS}\n(.*?)^{BETWEEN}\n(.*?)^{THEIRS}\n.*", text, re.M | re.S
        ).groups()
        assert mine.strip() in ours
        assert SAME_LINES[name][1].strip() in theirs
        # Without the markers and their version, it is what the person had.
        kept = text.replace(f"{OURS}\n", "").replace(
            f"{BETWEEN}\n{theirs}{THEIRS}\n", ""
        )
        assert kept == git(conflicted, "show", f"HEAD:{name}") + "\n"


def test_git_shows_a_conflict_as_both_modified(conflicted):
    status = git(conflicted, "status", "--porcelain").splitlines()
    assert sorted(status) == sorted(
        ["M .copier-answers.yml", *(f"UU {name}" for name in EDITS)]
    )
    assert git(conflicted, "status").count("both modified:") == len(EDITS)


def ci_step(project):
    """Run the CI step that looks for conflict markers, as GitHub's runner does."""
    workflow = yaml.safe_load((project / ".github/workflows/ci.yml").read_text())
    (step,) = [
        step["run"]
        for step in workflow["jobs"]["test"]["steps"]
        if "conflict markers" in step.get("name", "")
    ]
    return subprocess.run(
        ["bash", "-e", "-c", step], cwd=project, capture_output=True, text=True
    )


def pre_commit_hook(project):
    """Run the pre-commit hook that looks for conflict markers, as pre-commit does."""
    configuration = yaml.safe_load((project / ".pre-commit-config.yaml").read_text())
    (hook,) = [
        hook
        for repository in configuration["repos"]
        if repository["repo"].endswith("/pre-commit/pre-commit-hooks")
        for hook in repository["hooks"]
        if hook["id"] == "check-merge-conflict"
    ]
    module = "pre_commit_hooks.check_merge_conflict"
    files = git(project, "ls-files").splitlines()
    return subprocess.run(
        [sys.executable, "-m", module, *hook["args"], *files],
        cwd=project,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("check", [ci_step, pre_commit_hook])
def test_ci_and_pre_commit_refuse_a_conflict_and_nothing_else(
    conflicted, template, tmp_path, check
):
    project = template.start(tmp_path / "site")
    assert check(project).returncode == 0

    forgotten = tmp_path / "forgotten"
    git(tmp_path, "clone", "--quiet", conflicted, forgotten)
    for name in EDITS:
        (forgotten / name).write_text((conflicted / name).read_text())
    commit(forgotten, "Update without a look")
    refused = check(forgotten)
    assert refused.returncode == 1
    for name in EDITS:
        assert name in refused.stdout


def test_env_database_and_uploads_stay_byte_for_byte(template, tmp_path):
    project = template.start(tmp_path / "site", "v0.1.0")
    with (project / ".env").open("a") as file:
        file.write("EMAIL_URL=smtp://mail.example\r\n# mine \n\n")
    (project / "data/db.sqlite3").write_bytes(b"SQLite format 3\0\xff")
    (project / "data/media").mkdir()
    (project / "data/media/photo.jpg").write_bytes(b"\xff\xd8\r\n\0")
    (project / "logs/security.log").write_text("one line\n")
    mine = [".env", "data/db.sqlite3", "data/media/photo.jpg", "logs/security.log"]
    before = {name: (project / name).read_bytes() for name in mine}
    assert git(project, "status", "--porcelain") == ""

    update(project)
    assert {name: (project / name).read_bytes() for name in mine} == before
    commit(project)
    update(project, database="postgresql", cache="redis", use_sentry=False)
    assert {name: (project / name).read_bytes() for name in mine} == before


def test_env_stays_where_a_person_has_put_it_into_git(template, tmp_path):
    project = template.start(tmp_path / "site", "v0.1.0")
    git(project, "add", "--force", ".env")
    commit(project)
    (project / ".env").write_text("SECRET_KEY=mine\n")
    commit(project)
    update(project)
    assert (project / ".env").read_text() == "SECRET_KEY=mine\n"


def test_a_new_clone_gets_a_new_env(template, tmp_path):
    project = template.start(tmp_path / "site", "v0.1.0")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", project, clone)
    assert not (clone / ".env").exists()
    update(clone)
    keys = [
        re.search("^SECRET_KEY=(.{64})$", (folder / ".env").read_text(), re.M)[1]
        for folder in (project, clone)
    ]
    assert len(set(keys)) == 2


def test_a_deleted_file_stays_deleted(template, tmp_path):
    names = ["templates/home.html", "config/urls.py", "requirements.txt"]
    later = template.release(
        tmp_path / "later", {name: ELSEWHERE[name] for name in names}
    )
    project = follow(later, template.start(tmp_path / "site"))
    for name in names:
        (project / name).unlink()
    commit(project)
    update(project)
    assert git(project, "status", "--porcelain") == "M .copier-answers.yml"


def test_a_file_with_the_name_of_a_new_one_of_the_template_stays(template, tmp_path):
    later = template.release(tmp_path / "later", {"docs/tasks.md": None})
    project = follow(later, template.start(tmp_path / "site"))
    (project / "docs/tasks.md").write_text("Mine.\n")
    commit(project)
    update(project)
    assert "Mine.\n" in (project / "docs/tasks.md").read_text()
    assert "UU docs/tasks.md" in git(project, "status", "--porcelain")


def test_what_a_person_added_to_a_folder_survives_its_end(template, tmp_path):
    project = template.start(tmp_path / "site")
    (project / "monitoring/alerts.py").write_text("# Mine.\n")
    commit(project)
    update(project, use_sentry=False)
    left = git(project, "ls-files", "--cached", "monitoring", "--others").splitlines()
    assert [name for name in left if (project / name).exists()] == [
        "monitoring/alerts.py"
    ]


def test_recopy_keeps_env(template, tmp_path):
    project = template.start(tmp_path / "site")
    work_on(project)
    (project / ".env").write_text("SECRET_KEY=mine\n")
    copier.run_recopy(project, defaults=True, overwrite=True, unsafe=False, quiet=True)
    assert (project / ".env").read_text() == "SECRET_KEY=mine\n"
    assert git(project, "status", "--porcelain") == ""
