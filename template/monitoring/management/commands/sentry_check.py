import json
import math
import shutil
import sys
import textwrap
from argparse import ArgumentTypeError
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

from django.core.management.base import BaseCommand

from monitoring import config
from monitoring.probe import Probe, Verdict
from monitoring.redaction.patterns import Redactor
from monitoring.redaction.secrets import own_secrets

TITLES = {
    "configuration": "Configuration",
    "resolve": "Name",
    "connect": "Connection",
    "encrypt": "TLS",
    "ingest": "Ingest",
    "error": "Test error",
    "transaction": "Test transaction",
    "log": "Test log message",
}
OFF = (
    "Monitoring is off: SENTRY_DSN is empty. To switch it on, copy the DSN of a project "
    "from Sentry or a compatible server into .env, and restart the server."
)
# What the sample for --preview is made for while there is no DSN; nothing is sent.
NOWHERE = "https://public@sentry.invalid/1"


def seconds(text):
    """A number of seconds above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds above 0.")
    return number


class Command(BaseCommand):
    help = (
        "Checks, step by step, whether errors of this project reach Sentry. Exits with 0 "
        "only if all is well."
    )
    # The checks of the project would stop the command where it is needed most.
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument(
            "--send",
            action="store_true",
            help="Send a test error, a test transaction and a test log message.",
        )
        parser.add_argument(
            "--preview",
            action="store_true",
            help="Show what a sample error holds and what of it would be sent.",
        )
        parser.add_argument(
            "--timeout",
            type=seconds,
            default=5,
            metavar="SECONDS",
            help="The time each step may take (default: 5).",
        )
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *, send, preview, timeout, **options):
        self.as_text = options["format"] == "text"
        self.report = {"ok": False, "configuration": {}, "checks": [], "events": []}
        try:
            self.check(send, preview, timeout)
        except KeyboardInterrupt:
            self.line("Stopped.")
        self.report["ok"] = bool(self.report["checks"]) and all(
            check["ok"] for check in self.report["checks"]
        )
        if not self.as_text:
            self.stdout.write(json.dumps(self.report, indent=2, ensure_ascii=False))
        sys.exit(0 if self.report["ok"] else 1)

    def check(self, send, preview, timeout):
        try:
            loaded = config.load()
        except config.ConfigError as error:
            for problem in error.errors:
                self.verdict(Verdict("configuration", problem.msg, problem.hint))
            return
        redactor = Redactor(loaded.policy, own_secrets())
        if not loaded.dsn:
            self.verdict(Verdict("configuration", "off", OFF))
            if preview and find_spec("sentry_sdk"):
                self.preview(replace(loaded, dsn=NOWHERE), redactor)
            return
        self.configuration(loaded)
        if preview:
            self.preview(loaded, redactor)
        probe = Probe(loaded.dsn, timeout)
        for step in probe.run():
            if isinstance(step, Verdict):
                self.verdict(step)
            else:
                self.progress(step)
        if send and all(check["ok"] for check in self.report["checks"]):
            self.send(probe, loaded, redactor)

    def configuration(self, loaded):
        self.report["configuration"] = values = {
            "SENTRY_DSN": loaded.masked_dsn,
            "ENVIRONMENT": loaded.environment,
            "GIT_COMMIT": loaded.release,
            "SENTRY_TRACES_SAMPLE_RATE": loaded.traces_sample_rate,
            "SENTRY_PROFILES_SAMPLE_RATE": loaded.profiles_sample_rate,
        }
        for name, value in values.items():
            self.line(f"  {name:28}{value}")

    def send(self, probe, loaded, redactor):
        from monitoring import sample

        for kind, _, envelope in sample.envelopes(loaded, redactor):
            self.progress(kind)
            post = partial(probe.post, envelope.serialize(), kind)
            verdict = probe.attempt(kind, post)
            event_id = envelope.headers.get("event_id")
            if verdict.ok and event_id:
                verdict.detail += f", event {event_id}"
                self.report["events"].append({"type": kind, "event_id": event_id})
            self.verdict(verdict)
        self.report["link"] = probe.page
        self.line(f"\nLook for it at {probe.page}")

    def preview(self, loaded, redactor):
        from monitoring import sample

        _, collected, sent = next(sample.envelopes(loaded, redactor))
        before = collected.items[0].payload.json
        after = json.loads(sent.items[0].get_bytes())
        self.report["preview"] = {"collected": before, "sent": after}
        rows = [("", "collected", "sent")] + [
            (path, as_text(old), "–" if new is None else as_text(new))
            for path, old, new in sample.differences(before, after)
        ]
        width = max(24, (shutil.get_terminal_size((100, 24)).columns - 30) // 2)
        self.line(
            "\nA sample error, where what is sent differs from what was collected:\n"
        )
        for path, old, new in rows:
            label = path if len(path) <= 24 else f"…{path[-23:]}"
            cells = ([label], wrap(old, width), wrap(new, width))
            for line in range(max(map(len, cells))):
                first, left, right = (
                    cell[line] if line < len(cell) else "" for cell in cells
                )
                self.line(f"  {first:24}  {left:{width}}  {right}".rstrip())
        self.line("")

    # --- Output -------------------------------------------------------------------------

    def indented(self, text):
        """Break a text that begins at column 7 where the terminal ends."""
        if not self.stdout.isatty():
            return text
        width = max(40, shutil.get_terminal_size((100, 24)).columns - 8)
        return ("\n" + 7 * " ").join(
            textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
        )

    def line(self, text):
        if self.as_text:
            self.stdout.write(text)

    def progress(self, step):
        """On a terminal, say what is being waited for, on a line that the verdict takes."""
        if self.as_text and self.stdout.isatty():
            self.stdout.write(f"… {TITLES[step]}", ending="\r")
            self.stdout.flush()

    def verdict(self, verdict):
        fields = {"step": verdict.step, "ok": verdict.ok, "detail": verdict.detail}
        self.report["checks"].append(
            fields | ({"fix": verdict.fix} if verdict.fix else {})
        )
        style = self.style.SUCCESS if verdict.ok else self.style.ERROR
        mark = style("ok    " if verdict.ok else "FAILED")
        text = f"{TITLES[verdict.step]}: {verdict.detail}"
        self.line(f"{mark} {self.indented(text)}")
        if verdict.fix:
            self.line(f"       {self.indented(verdict.fix)}")


def as_text(value):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def wrap(text, width):
    return textwrap.wrap(text[:600], width) or [""]
