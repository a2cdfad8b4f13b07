"""Measures how long Copier takes for the template; writes docs/benchmarks.md.

    uv run python -m benchmarks.copier [--quick] [--output FILE]

The commands take turns, so that what else the machine does falls on all of them; only
ratios within one run mean something.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks.page import PAGE, write_section
from tests.update.releases import Template, commit, git

FLOOR = "`copier copy`, a template of one file"
COPY = "`copier copy`, the defaults"
UPDATE = "`copier update`, one line changed"
STARTPROJECT = "`django-admin startproject`"
START = "`copier --version`"

# What each is compared with, and the highest ratio that is good enough.
BARS = {
    FLOOR: None,
    COPY: (FLOOR, 1.8),
    UPDATE: (COPY, 2.5),
    STARTPROJECT: (FLOOR, None),
}

# Runs Copier's command line and reports the seconds of its start and of compiling Jinja.
INSTRUMENTED = """
import json, sys
from time import perf_counter
from jinja2 import Environment
from copier._cli import CopierApp

seconds, texts = 0, 0
compile = Environment.compile

def timed(*arguments, **options):
    global seconds, texts
    started = perf_counter()
    try:
        return compile(*arguments, **options)
    finally:
        seconds += perf_counter() - started
        texts += 1

Environment.compile = timed
CopierApp.run(["copier", *sys.argv[1:]], exit=False)
print(json.dumps([seconds, texts]))
"""


class Commands:
    """The commands to measure, each with what it needs in `folder`."""

    def __init__(self, folder):
        self.folder = folder
        self.new = folder / "new"
        settings = folder / "settings.yml"
        settings.write_text("{}")
        # Without what keeps Python from writing and reading its byte code.
        self.environ = {
            name: value for name, value in os.environ.items() if name[:6] != "PYTHON"
        } | {"COPIER_SETTINGS_PATH": str(settings)}
        template = Template.of_working_tree(folder / "template")
        self.project = template.start(folder / "project")
        later = template.release(folder / "later", {"docs/updating.md": ("", "New.\n")})
        # The project looks for the later release where it found this one.
        shutil.rmtree(template.folder)
        later.folder.rename(template.folder)
        copy = ["-m", "copier", "copy", "--quiet", "--defaults"]
        release = f"--vcs-ref={template.latest}"
        self.arguments = {
            FLOOR: [*copy, template_of_one_file(folder / "one"), self.new],
            COPY: [*copy, release, template.folder, self.new],
            UPDATE: ["-m", "copier", "update", "--quiet", "--defaults", self.new],
            STARTPROJECT: ["-m", "django", "startproject", "site_of_django", self.new],
            START: ["-m", "copier", "--version"],
        }

    def prepare(self, name):
        shutil.rmtree(self.new, ignore_errors=True)
        if name == UPDATE:
            git(self.folder, "clone", "--quiet", self.project, self.new)
        elif name == STARTPROJECT:
            self.new.mkdir()

    def run(self, name, program=(), **environ):
        """Run a command, by another program if it is given.

        Return (seconds, what it wrote to standard output).
        """
        self.prepare(name)
        arguments = self.arguments[name]
        command = [*program, *arguments[2:]] if program else arguments
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=self.environ | environ,
            stdout=subprocess.PIPE,
            check=True,
        )
        return time.perf_counter() - started, done.stdout


def template_of_one_file(folder):
    (folder / "template").mkdir(parents=True)
    (folder / "copier.yml").write_text("_subdirectory: template\n")
    (folder / "template" / "README.md").write_text("# One\n")
    git(folder, "init", "--quiet")
    commit(folder, "Release")
    git(folder, "tag", "v1.0.0")
    return folder


def measure(commands, turns):
    """Return the seconds of each command, warm and cold: the minima of all turns."""
    seconds = {}
    with tempfile.TemporaryDirectory() as empty:
        # As on a first run: no byte code is found, and none is kept for the next one.
        cold = {"PYTHONPYCACHEPREFIX": empty, "PYTHONDONTWRITEBYTECODE": "1"}
        for turn in range(turns):
            kinds = {"warm": {}} | ({"cold": cold} if turn % 5 == 0 else {})
            for kind, environ in kinds.items():
                for name in BARS:
                    key = name, kind
                    taken, _ = commands.run(name, **environ)
                    seconds[key] = min(taken, seconds.get(key, taken))
    return seconds


def parts(commands, name, turns):
    """Return a line on where the time of a command goes, in the fastest of all turns."""
    best = None
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder, "trace")
            program = ["-c", INSTRUMENTED]
            run = commands.run(name, program, GIT_TRACE2_EVENT=str(trace))
            if best is None or run[0] < best[0]:
                best = *run, [json.loads(line) for line in trace.open()]
    total, output, events = best
    compiling, texts = json.loads(output)
    # A git process inside another has its identifier behind that of the other.
    processes = [event for event in events if "/" not in event["sid"]]
    ends = [event["t_abs"] for event in processes if event["event"] == "atexit"]
    names = [event["name"] for event in processes if event["event"] == "cmd_name"]
    start = min(commands.run(START)[0] for _ in range(turns))
    return (
        f"- {name}: {start / total:.0%} the start of Copier, {compiling / total:.0%} "
        f"compiling {texts}\n  Jinja texts, {sum(ends) / total:.0%} inside of "
        f"{len(ends)} git processes ({names.count('config')} of them only ask\n  for "
        "`core.fileMode`, for a file each); the rest is rendering, writing and starting "
        "git\n"
    )


def rows(seconds):
    for name, bar in BARS.items():
        values = []
        verdict = ""
        for kind in ("warm", "cold"):
            taken = seconds[name, kind]
            text = f"{taken:.2f} s"
            if bar:
                ratio = taken / seconds[bar[0], kind]
                text = f"{text}, {ratio:.2f} ×"
                if kind == "warm" and bar[1]:
                    met = "met" if ratio <= bar[1] else "**missed**"
                    verdict = f"at most {bar[1]} ×: {met}"
            values.append(text)
        yield name, *values, verdict


def table(head, body):
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(seconds, where, command):
    versions = f"Python {platform.python_version()}, Copier {version('copier')}"
    return f"""## What a copy and an update cost

Written by `{command}` with {versions}.

Wall time, the minimum of many turns, with Python's byte code there (warm) and not (cold, as
on the first run after an installation). Other runs and machines have other times; it is the
ratios that compare: of an update with a copy, and of all else with the first row.

{table(["command", "warm", "cold", "bar, warm"], rows(seconds))}

Where the time goes:

{where}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run")
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        commands = Commands(Path(folder))
        turns = 1 if options.quick else 15
        seconds = measure(commands, turns)
        where = "".join(parts(commands, name, turns) for name in (COPY, UPDATE))
    command = "uv run python -m benchmarks.copier" + " --quick" * options.quick
    write_section(page(seconds, where, command), options.output)


if __name__ == "__main__":
    main()
