"""Measures the image of a generated project, its builds and its start.

    uv run python -m benchmarks.containers [--output FILE]

Needs a Docker engine. Times are seconds by the clock, the best of three.
"""

import argparse
import json
import os
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

from benchmarks.page import PAGE, write_section
from tests.docker.stack import Stack
from tests.matrix import copy_template, render

VARIANTS = {
    "SQLite, no cache": {},
    "PostgreSQL and Valkey": {"database": "postgresql", "cache": "redis"},
    "the same with Bugsink": {
        "database": "postgresql",
        "cache": "redis",
        "error_dashboard": "bugsink",
    },
}
BASE = "python:3.13-slim"
CACHE = "--mount=type=cache,"
ROUNDS = 3


@contextmanager
def project(folder, **answers):
    """Yield a Stack of a new project that shares no layer with any before."""
    slug = f"site_{uuid.uuid4().hex[:8]}"
    template = folder / "template"
    if not template.exists():
        copy_template(template)
    render(template, folder / slug, {"project_slug": slug} | answers)
    stack = Stack(folder / slug, slug, slug, {})
    try:
        yield stack
    finally:
        stack.remove()


def seconds(action, *arguments):
    started = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - started


def append(path, line):
    with path.open("a") as file:
        file.write(line)


def builds(folder):
    """Return what a build takes: {why: seconds}, and the sizes in bytes."""
    times = {}

    def build(why, stack):
        times[why] = min(seconds(stack.compose, "build"), times.get(why, float("inf")))

    for number in range(ROUNDS):
        with project(folder, **VARIANTS["PostgreSQL and Valkey"]) as stack:
            dockerfile = stack.folder / "Dockerfile"
            # A cache of downloads of its own, which begins empty.
            text = dockerfile.read_text()
            assert CACHE in text
            dockerfile.write_text(text.replace(CACHE, f"{CACHE}id={stack.name},"))
            build("cold: nothing is there but the base image", stack)
            append(stack.folder / "pyproject.toml", f"# {number}\n")
            build("the dependencies have changed", stack)
            append(stack.folder / "config" / "urls.py", f"# {number}\n")
            build("a line of code has changed", stack)
            build("nothing has changed", stack)
            inspected = stack.run("docker", "image", "inspect", stack.slug, BASE)
            sizes = [image["Size"] for image in json.loads(inspected)]
    return times, sizes


def starts(folder, answers):
    """Return the seconds of `up --wait` the first and the next time, and those in
    which `web` is replaced, with the memory of each service in MiB."""
    with project(folder, **answers) as stack:
        stack.compose("build")
        first = seconds(stack.compose, "up", "-d", "--wait")
        memory = {
            service: float(usage.split("MiB")[0])
            for service in stack.compose("ps", "--services").split()
            for usage in [
                stack.run(
                    *("docker", "stats", "--no-stream", "--format", "{{.MemUsage}}"),
                    stack.inspect(service)["Id"],
                )
            ]
        }
        times = {"first": first}
        for _ in range(ROUNDS):
            stack.compose("down")
            again = seconds(stack.compose, "up", "-d", "--wait")
            replaced = seconds(replace, stack)
            times["next"] = min(again, times.get("next", again))
            times["replaced"] = min(replaced, times.get("replaced", replaced))
        return times, memory


def replace(stack):
    """Put a new container in place of `web`, and wait until it answers."""
    stack.compose("up", "-d", "--no-deps", "--force-recreate", "web")
    while True:
        try:
            assert stack.get("/")[0] == 200
            return
        except OSError:
            time.sleep(0.02)


def page(folder):
    times, (size, base) = builds(folder)
    lines = [
        "## Containers",
        "",
        "Written by `uv run python -m benchmarks.containers`. Seconds by the clock, the best",
        f"of {ROUNDS}, on {os.cpu_count()} cores (load average {os.getloadavg()[0]:.1f}).",
        "",
        f"The image adds {(size - base) / 1e6:.0f} MB to `{BASE}`.",
        "",
        "| build | seconds |",
        "| --- | --- |",
        *(f"| {why} | {taken:.1f} |" for why, taken in times.items()),
        "",
        "| start | first | next | `web` replaced | MiB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, answers in VARIANTS.items():
        taken, memory = starts(folder, answers)
        used = ", ".join(f"{service} {mib:.0f}" for service, mib in memory.items())
        columns = [f"{taken[key]:.1f}" for key in ("first", "next", "replaced")]
        lines.append(f"| {' | '.join([name, *columns, used])} |")
    lines += [
        "",
        "First: `docker compose up -d --wait` with the image there, until everything is",
        "healthy; the database is made and migrated. Next: the same after `docker compose",
        "down`. Replaced: from the command to the first page of the new container.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        write_section(page(Path(temporary)), options.output)
