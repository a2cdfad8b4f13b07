"""Every combination of answers that copier.yml allows, each rendered once per test run.

The test processes share the work and the result through a folder.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import copier
import jinja2
import yaml
from filelock import FileLock, Timeout
from jinja2.sandbox import SandboxedEnvironment
from plumbum import local

ROOT = Path(__file__).resolve().parent.parent
CONFIG = yaml.safe_load((ROOT / "copier.yml").read_text())
QUESTIONS = {name: value for name, value in CONFIG.items() if name[0] != "_"}

# What decides which dependencies a project has. Projects alike in this are a block,
# which one test process handles as a whole.
BLOCK = ("django_version", "database", "cache", "use_sentry")

# Git as it comes, whatever is set up on this machine.
PLAIN_GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}

Answers = dict[str, Any]


def as_data(answers: Mapping[str, Any]) -> str:
    """Return the answers as the options that render this project by hand."""
    return " ".join(f"--data {name}={value}" for name, value in answers.items())


@dataclass(frozen=True)
class Project:
    """A rendered project: the `answers` given and the digest of each file's content."""

    answers: Answers
    files: dict[str, str]

    def __str__(self) -> str:
        return as_data(self.answers)


class Block:
    """The combinations that are alike in the answers named in BLOCK."""

    def __init__(self, combinations: list[Answers]) -> None:
        self.combinations = combinations
        self.answers = {name: combinations[0][name] for name in BLOCK}
        self.name = "-".join(
            {True: name, False: f"no_{name}"}.get(value, value)
            for name, value in self.answers.items()
        )


@cache
def combinations() -> list[Answers]:
    """Return every combination of answers worth telling apart, defaults first.

    Only questions that are asked, and of whose answers there is more than one, are in
    it: choices, bools, and floats, of which the ends and the default are taken.
    """
    found: list[tuple[Answers, Answers]] = [({}, {})]
    for name, question in QUESTIONS.items():
        found = [
            (answers | chosen, context | chosen | unasked)
            for answers, context in found
            for chosen, unasked in outcomes(name, question, context)
        ]
    return [answers for answers, _ in found]


def outcomes(
    name: str, question: Mapping[str, Any], context: Answers
) -> Iterator[tuple[Answers, Answers]]:
    """Yield each answer to try, or else the default that Copier takes unasked."""
    # No question depends on the value of a secret.
    default = "" if question.get("secret") else evaluate(question["default"], context)
    if question["type"] != "str" and isinstance(default, str):
        default = yaml.safe_load(default)
    # A condition renders to text, which is read as YAML, as Copier does it.
    asked = yaml.safe_load(str(evaluate(question.get("when", True), context)))
    values = alternatives(question, default) if asked else []
    for value in values:
        yield {name: value}, {}
    if not values:
        yield {}, {name: default}


def evaluate(value: Any, context: Answers) -> Any:
    return jinja(value).render(context) if isinstance(value, str) else value


@cache
def jinja(text: str) -> jinja2.Template:
    settings = CONFIG["_envops"] | {"undefined": jinja2.StrictUndefined}
    extensions = ["jinja2_ansible_filters.AnsibleCoreFiltersExtension"]
    return SandboxedEnvironment(extensions=extensions, **settings).from_string(text)


def alternatives(question: Mapping[str, Any], default: Any) -> list[Any]:
    """Return the answers to try, default first; none if only the default is tried."""
    if choices := question.get("choices"):
        values = list(choices.values() if isinstance(choices, dict) else choices)
    elif question["type"] == "bool":
        values = [True, False]
    elif question["type"] == "float":
        values = [0.0, 1.0]
    elif question["type"] == "str":
        return []
    else:
        raise NotImplementedError(f"no values to try for {question['type']}")
    return [default, *(value for value in values if value != default)]


def blocks() -> list[Block]:
    """Return the combinations in blocks, the largest first, so that none is late."""
    grouped: dict[tuple, list[Answers]] = {}
    for answers in combinations():
        grouped.setdefault(tuple(answers[name] for name in BLOCK), []).append(answers)
    found = [Block(answers) for answers in grouped.values()]
    return sorted(found, key=lambda block: -len(block.combinations))


class Matrix:
    """The rendered blocks in `folder`, which several processes may use at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.template = folder / "template"
        self._contents = folder / "contents"
        self._contents.mkdir(parents=True, exist_ok=True)
        self._projects: dict[str, list[Project]] = {}
        self.seconds: dict[str, float] = {}  # that the rendering of each block took
        with FileLock(folder / "template.lock"):
            if not self.template.exists():
                partial = folder / "partial"
                copy_template(partial)
                partial.rename(self.template)

    def projects(self, block: Block, wait: bool = True) -> list[Project] | None:
        """Return the projects of a block.

        None if another process is rendering them and this one is not to `wait`.
        """
        if block.name in self._projects:
            return self._projects[block.name]
        result = self.folder / f"{block.name}.json"
        try:
            with FileLock(f"{result}.lock", timeout=-1 if wait else 0):
                if not result.exists():
                    result.write_text(json.dumps(self._render_all(block)))
        except Timeout:
            return None
        found = json.loads(result.read_text())
        self.seconds[block.name] = found["seconds"]
        self._projects[block.name] = [Project(**each) for each in found["projects"]]
        return self._projects[block.name]

    def all_projects(self) -> list[Project]:
        """Return all projects, after sharing what is left to render with the others."""
        every = blocks()
        for block in every:
            self.projects(block, wait=False)
        return list(itertools.chain(*(self.projects(block) for block in every)))

    def content(self, digest: str) -> bytes:
        return (self._contents / digest).read_bytes()

    def write(self, project: Project, folder: Path) -> None:
        """Write the files of a project into `folder`."""
        for path, digest in project.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._contents / digest, target)

    def _render_all(self, block: Block) -> dict[str, Any]:
        started = time.monotonic()
        with quickly():
            projects = [asdict(self._render(each)) for each in block.combinations]
        return {"seconds": time.monotonic() - started, "projects": projects}

    def _render(self, answers: Answers) -> Project:
        with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
            folder = Path(temporary, "project")
            try:
                render(self.template, folder, answers)
            except Exception as error:
                error.add_note(as_data(answers))
                raise
            return Project(
                answers,
                {
                    path.relative_to(folder).as_posix(): self._keep(path)
                    for path in sorted(folder.rglob("*"))
                    if path.is_file()
                },
            )

    def _keep(self, path: Path) -> str:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if not (self._contents / digest).exists():
            # Moved into place, so that the other processes see all of it or nothing.
            os.replace(path, self._contents / digest)
        return digest


def copy_template(folder: Path) -> None:
    """Copy the template as it is now, without git and without caches, to `folder`."""
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
    shutil.copytree(ROOT / "template", folder / "template", ignore=ignored)
    shutil.copy(ROOT / "copier.yml", folder)


def render(template: Path, folder: Path, answers: Answers) -> None:
    """Render as a user would who does not trust the template (no `--trust`)."""
    copier.run_copy(
        str(template), folder, data=answers, defaults=True, unsafe=False, quiet=True
    )


@contextmanager
def quickly() -> Iterator[None]:
    """Render at a fifth of the cost, without two things that repeat themselves.

    Copier compiles each Jinja text anew in each render, and asks git about each file
    although there is no repository.
    """
    with compile_once(), local.env(PATH=""):
        yield


@contextmanager
def compile_once() -> Iterator[None]:
    """Compile each Jinja text once, wherever a render finds the file that it is in."""
    compiled: dict[tuple, Any] = {}
    original = jinja2.Environment.compile

    def compile_once(self, source, name=None, filename=None, **options):
        key = (source, name)
        if options:
            return original(self, source, name, filename, **options)
        if key not in compiled:
            compiled[key] = original(self, source, name, filename)
        return compiled[key]

    with mock.patch.object(jinja2.Environment, "compile", compile_once):
        yield
