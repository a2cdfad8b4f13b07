"""Virtual environments with what a project asks for, kept from run to run in .cache."""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

from filelock import FileLock
from packaging.specifiers import SpecifierSet
from uv import find_uv_bin

from tests import boot
from tests.matrix import ROOT

CACHE = ROOT / ".cache" / "venvs"


class Venv:
    """A virtual environment with the packages of a project and nothing else.

    `pyproject` and `requirements` are texts of a project. Its development tools, such
    as pytest, are in a folder apart, lest one of them stands in for a dependency that
    the project forgot to name.

    Raises RuntimeError if there is no Python that the project admits, or the packages
    cannot be installed.
    """

    def __init__(self, pyproject: str, requirements: str) -> None:
        project = tomllib.loads(pyproject)
        tools = "\n".join(project["dependency-groups"]["dev"])
        base = find_python(project["project"]["requires-python"])
        key = hashlib.sha256("\0".join([base, requirements, tools]).encode())
        self.folder = CACHE / key.hexdigest()[:16]
        self.python = self.folder / "bin" / "python"
        self.tools = self.folder / "tools"
        complete = self.folder / "complete"
        CACHE.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.folder}.lock"):
            if complete.exists() and self.python.exists():
                return
            shutil.rmtree(self.folder, ignore_errors=True)
            uv("venv", "--python", base, self.folder)
            self._install(requirements)
            self._install(tools, "--target", self.tools)
            complete.touch()

    def run(
        self, *arguments: str | Path, **options: Any
    ) -> subprocess.CompletedProcess:
        """Run Python with `arguments`; return its result with the output as text."""
        return subprocess.run(
            [self.python, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )

    def _install(self, requirements: str, *options: str | Path) -> None:
        arguments = ["--python", self.python, "--compile-bytecode", *options]
        uv("pip", "install", "-q", *arguments, "-r", "-", input=requirements)


@cache
def find_python(requires: str) -> str:
    """Return the path of a Python that `requires` admits: this one, if it does."""
    if "{}.{}.{}".format(*sys.version_info) in SpecifierSet(requires):
        return sys.executable
    try:
        return uv("python", "find", requires, env=os.environ | all_of_pyenv())
    except RuntimeError as error:
        error.add_note("`uv python install` gets one.")
        raise


def all_of_pyenv() -> dict[str, str]:
    """Return what makes pyenv, if it is there, offer all its versions to uv."""
    if not shutil.which("pyenv"):
        return {}
    command = ["pyenv", "versions", "--bare"]
    versions = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"PYENV_VERSION": ":".join(versions.stdout.split())}


def uv(*arguments: str | Path, **options: Any) -> str:
    """Run uv and return its output; raises RuntimeError with what it reports."""
    command = [find_uv_bin(), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"uv {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout.strip()


class ForkServer:
    """A process of a venv that has Django in memory and forks for each project."""

    def __init__(self, venv: Venv) -> None:
        self._process = subprocess.Popen(
            [venv.python, boot.__file__],
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def boot(
        self,
        folder: Path,
        environ: Mapping[str, str],
        commands: Sequence[Sequence[str]],
        requests: Sequence[Mapping[str, Any]],
        timeout: float = 300,
    ) -> dict[str, Any]:
        """Boot the project in `folder`; boot.py describes arguments and result.

        Raises TimeoutError after `timeout` seconds.
        """
        job = {
            "folder": str(folder),
            "environ": dict(environ),
            "commands": commands,
            "requests": requests,
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise TimeoutError(f"{folder} has not booted after {timeout} s")
        return json.loads(self._process.stdout.readline())
