"""The template as a repository with releases, and projects that follow them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import copier

from tests import matrix
from tests.matrix import PLAIN_GIT, ROOT, Answers

FIRST_COMMIT = "v0.0.1"
WORKING_TREE = "v1000.0.0"

ENVIRONMENT = (
    # Without the repository of a hook that runs the tests.
    {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    | PLAIN_GIT
    | {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "A Person"), ("EMAIL", "person@example.com"))
    }
)


def git(folder: Path, *arguments: str | Path) -> str:
    """Run git in `folder` and return its output without blanks around it."""
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()


def commit(folder: Path, message: str = "Work") -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", f"--message={message}")


def released() -> dict[str, str]:
    """Return the commit of each version that CHANGELOG.md has a section of.

    A version without a tag is taken to be the commit that wrote its heading; one
    without a commit is about to be released, and is the working tree.
    """
    headings = re.findall(r"^## \[(\d.*?)\]", changelog(), re.MULTILINE)
    commits = {f"v{version}": commit_of(version) for version in headings}
    return {tag: commit for tag, commit in commits.items() if commit}


def changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text()


def commit_of(version: str) -> str:
    tagged = git(
        ROOT, "for-each-ref", "--format=%(objectname)", f"refs/tags/v{version}"
    )
    log = ["log", "--reverse", "--format=%H", f"-S## [{version}]", "--", "CHANGELOG.md"]
    return tagged or git(ROOT, *log).partition("\n")[0]


def first_commit() -> str:
    """Return the first commit from which a project can be made."""
    log = git(ROOT, "log", "--reverse", "--format=%H", "--", "copier.yml")
    return log.partition("\n")[0]


def every_pair() -> list[Answers]:
    """Return a few combinations, such that each two answers that can meet do so."""
    rows = matrix.combinations()
    pairs = [set(combinations(row.items(), 2)) for row in rows]
    missing = set().union(*pairs)
    chosen = []
    while missing:
        best = max(range(len(rows)), key=lambda number: len(pairs[number] & missing))
        chosen.append(rows[best])
        missing -= pairs[best]
    return chosen


class Template:
    """A repository of the template. `latest` is the tag of its newest release."""

    def __init__(self, folder: Path, latest: str) -> None:
        self.folder = folder
        self.latest = latest

    @classmethod
    def of_working_tree(cls, folder: Path) -> Template:
        """Clone this repository, release what is not committed, tag what was."""
        git(ROOT, "clone", "--quiet", ROOT, folder)
        tags = released() | {FIRST_COMMIT: first_commit()}
        for tag, commit_of_tag in tags.items():
            git(folder, "tag", "--force", tag, f"{commit_of_tag}^{{commit}}")
        git(folder, "rm", "-r", "--quiet", "template")
        matrix.copy_template(folder)
        template = cls(folder, WORKING_TREE)
        template._tag()
        return template

    def release(
        self, folder: Path, changes: Mapping[str, tuple[str, str] | None]
    ) -> Template:
        """Return a clone in `folder` with one more release.

        `changes` are a text and its replacement for each file of the template, named as
        in a project; an empty text stands for the beginning of the file. None stands
        for a new file.
        """
        git(folder.parent, "clone", "--quiet", self.folder, folder)
        for name, change in changes.items():
            path = folder / "template" / name
            if change is None:
                path.write_text("New.\n")
                continue
            jinja = path.with_name(f"{path.name}.jinja")
            edit(jinja if jinja.exists() else path, *change)
        major, rest = self.latest.split(".", 1)
        template = Template(folder, f"{major}.{int(rest[0]) + 1}.0")
        template._tag()
        return template

    def _tag(self) -> None:
        commit(self.folder, f"Release {self.latest}")
        git(self.folder, "tag", self.latest)

    def render(self, folder: Path, version: str = "", **answers: Any) -> Path:
        """Render a project into `folder`, as one who does not trust the template."""
        copier.run_copy(
            str(self.folder),
            folder,
            data=answers,
            vcs_ref=version or self.latest,
            defaults=True,
            unsafe=False,
            quiet=True,
        )
        return folder

    def start(self, folder: Path, version: str = "", **answers: Any) -> Path:
        """Render a project into `folder` and commit it."""
        self.render(folder, version, **answers)
        git(folder, "init", "--quiet", "--initial-branch=main")
        commit(folder, "Start")
        return folder


def update(project: Path, **answers: Any) -> None:
    """Update a project to the newest release, with earlier answers but for `answers`."""
    copier.run_update(
        project, data=answers, defaults=True, overwrite=True, unsafe=False, quiet=True
    )


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there by another."""
    text = path.read_text()
    assert old in text, f"{path} does not have {old!r}"
    path.write_text(text.replace(old, new, 1))


def differences(one: Path, other: Path) -> str:
    """Return in what the files of two projects differ, but for `.env`.

    As for git, which brings a project to others, a folder without files is nothing.
    """
    names = ["--exclude=.git", "--exclude=.env"]
    diff = ["diff", "--recursive", "--new-file", "--unified=0", *names, one, other]
    found = subprocess.run(diff, stdout=subprocess.PIPE, text=True).stdout
    if not found and modes(one) != modes(other):
        found = f"{modes(one)} {modes(other)}"
    return found


def modes(project: Path) -> dict[str, int]:
    return {
        path.relative_to(project).as_posix(): path.stat().st_mode
        for path in project.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(project).parts
    }
