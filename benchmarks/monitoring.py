"""Measures what monitoring costs in a generated project, and writes docs/benchmarks.md.

    uv run python -m benchmarks.monitoring [--quick] [--output FILE]

Each way of monitoring has a process of its own. They take turns, so that what else the
machine does falls on all of them; only ratios within one run mean something.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

from copier import run_copy

from benchmarks.page import PAGE, write_section

ROOT = Path(__file__).parent.parent
# A production server's, with monitoring off as yet.
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "DEBUG": "false",
    "ALLOWED_HOSTS": "example.com",
    "GIT_COMMIT": "1.0",
    "LOG_LEVEL": "WARNING",
    "DJANGO_SETTINGS_MODULE": "config.settings",
}
NONE = ("none", 0)
# `profiled`: this project with the profiles of its default answers, 0.1 of its traces.
KINDS = ("defaults", "project")
PROFILED = ("profiled", 0.1)
# What the SDK's defaults look for in order to hook into it.
PACKAGES = ("redis", "celery", "httpx")
LARGER = "redis, Celery and HTTPX"
VIEWS = {"hello": "a view that says hello", "page": "a page with six queries"}
ITEMS = {
    "event": "that error event",
    "transaction": "a transaction of 15 spans",
    "log": "a batch of 20 logs",
    "trace_metric": "a batch of 20 metrics",
}
FRAMES = 26  # the view and its callees, each with its own code and values
IMPORTS = """import builtins
import json
from hashlib import sha1
from random import Random

WORDS = dir(builtins)
"""
STEP = """

def step_NN(request, order):
    items = [
        {
            "sku": sha1(b"item NN %d" % number).hexdigest(),
            "name": f"Thing {NN * number}",
            "price": {"amount": NN * number, "currency": "EUR", "tax": 0.19},
        }
        for number in range(10)
    ]
    customers = {
        sha1(b"customer NN %d" % number).hexdigest(): {
            "orders": [NN * number + past for past in range(5)],
            "note": " ".join(Random(NN * number).choices(WORDS, k=40)),
        }
        for number in range(10)
    }
    payload = json.dumps({"order": order, "items": items, "customers": customers})
    if NN < LAST:
        return step_NEXT(request, order)
    raise ValueError(f"Order {order} of {len(payload)} bytes cannot be paid")
"""


def make_project(folder):
    """Render the template with the default answers; return (project, python, python of
    a larger environment).
    """
    source, project = folder / "template", folder / "my_site"
    # A copy without git, so that the files are rendered as they are now.
    shutil.copytree(ROOT / "template", source / "template")
    shutil.copy(ROOT / "copier.yml", source)
    run_copy(str(source), project, defaults=True, quiet=True)
    shutil.copytree(ROOT / "benchmarks" / "overlay", project, dirs_exist_ok=True)
    steps = "".join(
        STEP.replace("NN", str(step)).replace("NEXT", str(step + 1))
        for step in range(1, FRAMES)
    )
    stack = IMPORTS + steps.replace("LAST", str(FRAMES - 1))
    (project / "benchmark_stack.py").write_text(stack)
    python, larger = (project / name / "bin" / "python" for name in ("venv", "larger"))
    for interpreter, packages in (python, ()), (larger, PACKAGES):
        venv = ["uv", "venv", "-q", "--python", sys.executable, interpreter.parents[1]]
        subprocess.run(venv, check=True)
        install = ["uv", "pip", "install", "-q", "--python", interpreter, *packages]
        subprocess.run([*install, "-r", "requirements.txt"], cwd=project, check=True)
    for command in "migrate -v0", "collectstatic -v0 --noinput":
        manage = [python, "manage.py", *command.split()]
        subprocess.run(manage, cwd=project, env=ENVIRONMENT, check=True)
    return project, python, larger


@contextmanager
def worker(project, python, kind, rate):
    """Yield a function that asks a process of the project, monitored in this way."""
    process = subprocess.Popen(
        [python, "benchmark_worker.py", kind, str(rate)],
        cwd=project,
        env=ENVIRONMENT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def ask(*question):
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield ask
    process.communicate()


def measure(project, python, larger, rates, rounds):
    """Return all costs: the minima, since other processes only ever add."""
    ways = [NONE, *((kind, rate) for kind in KINDS for rate in rates), PROFILED]
    requests = {(way, view): [[] for _ in range(10)] for way in ways for view in VIEWS}
    errors, starts, larger_starts = ({kind: [] for kind in KINDS} for _ in range(3))
    with ExitStack() as stack:
        workers = {
            way: stack.enter_context(worker(project, python, *way)) for way in ways
        }
        for turn in range(-1, 10 * rounds):
            for (way, view), turns in requests.items():
                seconds = workers[way]("request_cost", f"/{view}/", turn)
                if turn >= 0:  # the first one warms up
                    turns[turn % 10].append(seconds)
            for kind in KINDS:
                errors[kind].append(workers[kind, 0.1]("error_cost"))
        ours = workers["project", 0.1]
        parts = {view: ours("request_parts", f"/{view}/") for view in VIEWS}
        redaction = ours("redaction_cost", 10 * rounds)
    for kind in KINDS * rounds:
        with worker(project, python, kind, 0.1) as ask:
            starts[kind].append((ask("start_cost"), ask("error_cost")[0]))
        with worker(project, larger, kind, 0.1) as ask:
            larger_starts[kind].append([ask("start_cost")])
    return {
        "requests": {key: sum(map(min, turns)) for key, turns in requests.items()},
        "errors": [minima(errors[kind]) for kind in KINDS],
        "starts": [minima(starts[kind]) for kind in KINDS],
        "larger_starts": [minima(larger_starts[kind])[0] for kind in KINDS],
        "parts": parts,
        "redaction": redaction,
    }


def minima(rows):
    return [min(column) for column in zip(*rows, strict=True)]


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def compared(title, pair, unit, bar=None):
    """Return a row of the table. bar: the highest ratio that meets it."""
    ratio = pair[1] / pair[0]
    values = [f"{value:.2f} {unit}" for value in pair]
    verdict = ""
    if bar:
        verdict = f"at most {bar:.2f}: {'met' if ratio <= bar else '**missed**'}"
    return title, *values, f"{ratio:.3f}", verdict


def rows(costs, rates):
    for view, title in VIEWS.items():

        def added(*way, view=view):
            return costs["requests"][way, view] / costs["requests"][NONE, view] - 1

        for rate in rates:
            title_of_rate = f"{title}, {f'traces {rate}' if rate else 'errors only'}"
            pair = [added(kind, rate) for kind in KINDS]
            yield compared(title_of_rate, pair, "×", 0.65 if rate == 0.1 else None)
        pair = added("defaults", 0.1), added(*PROFILED)
        yield compared(f"{title}, traces 0.1, profiles 0.1 here only", pair, "×")
    seconds, size, wire = zip(*costs["errors"], strict=True)
    start, first = zip(*costs["starts"], strict=True)
    for title, pair, scale, unit, bar in (
        ("an error event", seconds, 1e3, "ms", 0.10),
        ("the first one of a process", first, 1e3, "ms", None),
        ("its size", size, 1e-3, "kB", 0.05),
        ("its size, compressed", wire, 1e-3, "kB", 0.05),
        ("start", start, 1e3, "ms", None),
        (f"start beside {LARGER}", costs["larger_starts"], 1e3, "ms", 0.15),
    ):
        yield compared(title, [value * scale for value in pair], unit, bar)


def where_time_goes(costs):
    for view, title in VIEWS.items():
        none, ours = (costs["requests"][way, view] for way in (NONE, ("project", 0.1)))
        redaction, sending = (part / (ours - none) for part in costs["parts"][view])
        yield (
            f"- {title}: {redaction:.0%} redaction, {sending:.0%} serialising and "
            "compressing,\n  the rest collecting, in the SDK\n"
        )


def page(costs, rates, versions, command):
    """Return a section of docs/benchmarks.md."""
    redaction = [
        (title, f"{own * 1e6:.0f} µs", f"{own / sending:.1f}")
        for name, title in ITEMS.items()
        for own, sending in [costs["redaction"][name]]
    ]
    return f"""## What monitoring costs

Written by `{command}` with {versions}.

A project with the default answers, as it runs in production, is asked through its WSGI
handler: without Sentry, with the SDK's defaults (`sentry_sdk.init` with a DSN, a release, an
environment and a rate of traces), and as generated. Times are CPU of all threads, the
minimum of many turns. Envelopes are serialised and compressed, and thrown away. Other runs
and machines have other times; it is the ratios that compare.

{table(["what it adds", "SDK defaults", "this project", "ratio", "bar"], rows(costs, rates))}

For a request, 1 × is what it costs without Sentry. The error has {FRAMES} frames with local
variables, and 50 breadcrumbs. The start leaves out the import of the SDK itself. The SDK's
defaults import each package they could hook into, so that their start depends on what is
installed; a project that imports these packages anyway saves less.

Where the time goes that this project adds to a request, at traces 0.1:

{"".join(where_time_goes(costs))}
Redaction, beside what the SDK takes to serialise and compress the same item unredacted:

{table(["item", "redaction", "ratio"], redaction)}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run")
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    rates, rounds = ((0.1,), 1) if options.quick else ((0, 0.1, 1), 15)
    with tempfile.TemporaryDirectory() as folder:
        project, python, larger = make_project(Path(folder))
        costs = measure(project, python, larger, rates, rounds)
        query = "import django, sentry_sdk as s; print(django.__version__, s.VERSION)"
        output = subprocess.check_output([python, "-c", query], text=True)
    django, sdk = output.split()
    versions = f"Python {platform.python_version()}, Django {django}, sentry-sdk {sdk}"
    command = "uv run python -m benchmarks.monitoring" + " --quick" * options.quick
    write_section(page(costs, rates, versions, command), options.output)


if __name__ == "__main__":
    main()
