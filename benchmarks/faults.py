"""Measures a site whose Sentry is broken, and writes docs/benchmarks.md.

    uv run python -m benchmarks.faults [--quick] [--output FILE]

One site for each fault, one with a healthy Sentry and one with none, all of one worker.
Requests go to them in turns, so that whatever else the machine does falls on all alike.
Only ratios within one run mean something.
"""

import argparse
import os
import platform
import random
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.page import PAGE, write_section
from tests import matrix
from tests.servers.process import Process, free_port
from tests.test_faults import FAULTS, FILES, Broken
from tests.venvs import Venv

GOOD, ERROR = "/", "/fail/0/"
HEALTHY, NONE = "healthy", "no Sentry"
BAR = 1.1  # for the median of good requests, in relation to a healthy Sentry
HEADERS = {"Host": "example.com", "X-Forwarded-Proto": "https"}


def make_project(folder):
    """Render a project for production with the views of the tests; return its Python."""
    matrix.copy_template(folder / "template")
    project = folder / "my_site"
    answers = {"environment": "production", "use_docker": False}
    matrix.render(folder / "template", project, answers)
    for name, text in FILES.items():
        (project / name).write_text(text)
    texts = [(project / n).read_text() for n in ("pyproject.toml", "requirements.txt")]
    python = Venv(*texts).python
    collect = [python, "manage.py", "collectstatic", "-v0", "--noinput"]
    subprocess.run(collect, cwd=project, env=environment(""), check=True)
    return project, python


def environment(dsn):
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {
        "DJANGO_SETTINGS_MODULE": "probe_settings",
        "SENTRY_DSN": dsn,
        "WEB_CONCURRENCY": "1",
        "LOG_LEVEL": "CRITICAL",
    }


class Site:
    """A site with one worker, and what was measured of it."""

    def __init__(self, project, python, dsn):
        self.port = free_port()
        self.times = {GOOD: [], ERROR: []}
        self.process = Process(
            [python.parent / "gunicorn", "--bind", f"127.0.0.1:{self.port}"]
            + ["--max-requests", "0", "config.wsgi"],
            cwd=project,
            env=environment(dsn),
            ready_url=f"http://127.0.0.1:{self.port}/healthz/",
        )

    def ask(self, path):
        """Make a request; return the seconds it took."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        started = time.perf_counter()
        connection.request("GET", path, headers=HEADERS)
        connection.getresponse().read()
        connection.close()
        return time.perf_counter() - started

    def memory(self):
        """Return the resident memory of the worker in MB."""
        command = ["ps", "-o", "rss=", "--ppid", str(self.process.pid)]
        return int(subprocess.check_output(command, text=True)) / 1024

    def median(self, path):
        """Return milliseconds."""
        return statistics.median(self.times[path]) * 1000


def measure(project, python, rounds, flood):
    """Return {name: Site}, each with its `times`, `before`, `growth` and `stop`."""
    with ExitStack() as stack:
        sites = {}
        for name, fault in {HEALTHY: Broken, **FAULTS}.items():
            broken = stack.enter_context(fault())
            broken.fail()
            sites[name] = Site(project, python, broken.dsn)
            stack.enter_context(sites[name].process)
        sites[NONE] = Site(project, python, "")
        stack.enter_context(sites[NONE].process)
        every = list(sites.values())
        for number in range(-10, rounds):
            random.shuffle(every)
            for site in every:
                # One error for ten good requests keeps the sender busy.
                for path in (GOOD, ERROR) if number % 10 == 0 else (GOOD,):
                    seconds = site.ask(path)
                    if number >= 0:
                        site.times[path].append(seconds)
        for site in every:
            site.before = site.memory()
        for site in every:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(site.ask, [ERROR] * flood))
            site.growth = site.memory() - site.before
        for site in every:
            site.stop, _ = site.process.stop()
    return sites


def table(sites):
    head = (
        "Sentry", "good request ms", "ratio", "error ms", "ratio", "memory MB",
        "growth MB", "stop s",
    )  # fmt: skip
    lines = [head, ["---"] * len(head)]
    healthy = sites[HEALTHY]
    for name, site in sites.items():
        ratio = {path: site.median(path) / healthy.median(path) for path in site.times}
        good = f"{ratio[GOOD]:.2f}"
        lines.append(
            (
                name,
                f"{site.median(GOOD):.2f}",
                good if ratio[GOOD] <= BAR else f"**{good}**",
                f"{site.median(ERROR):.2f}",
                f"{ratio[ERROR]:.2f}",
                f"{site.before:.0f}",
                f"{site.growth:+.1f}",
                f"{site.stop:.2f}",
            )
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(sites, flood, versions, command):
    rounds = len(sites[HEALTHY].times[GOOD])
    return f"""## What a broken Sentry costs

Written by `{command}` with {versions}.

A project with the default answers, as it runs in production, with one worker of gunicorn.
Medians of {rounds} requests of the home page, and of one error for ten of them, in turns with
all the other sites; the ratios are to the site with a healthy Sentry, and those of a good
request above {BAR} are bold. The memory is that of the worker, its growth what {flood} more
errors add as fast as they can be made: the queue holds 2,500 events. Then the site is
stopped, which waits up to 1.5 s for what is under way.

{table(sites)}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run")
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    rounds, flood = (20, 20) if options.quick else (500, 3000)
    with tempfile.TemporaryDirectory() as folder:
        project, python = make_project(Path(folder))
        sites = measure(project, python, rounds, flood)
        query = "import django, sentry_sdk as s; print(django.__version__, s.VERSION)"
        output = subprocess.check_output([python, "-c", query], text=True)
    django, sdk = output.split()
    versions = f"Python {platform.python_version()}, Django {django}, sentry-sdk {sdk}"
    command = "uv run python -m benchmarks.faults" + " --quick" * options.quick
    write_section(page(sites, flood, versions, command), options.output)


if __name__ == "__main__":
    main()
