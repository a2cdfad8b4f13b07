"""Bugsink, a Sentry-compatible server that stores errors and shows them in pages."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from filelock import FileLock

from .process import Process, free_port

# Bugsink pins its own Django and gunicorn, hence a virtual environment apart.
REQUIREMENT = "bugsink==2.6.1"

USERNAME = "admin@example.org"
PASSWORD = "bugsink-tests"
PUBLIC_KEY = "1" * 32
TOKEN = "2" * 40

# An eager task is done when the POST of its envelope returns. SINGLE_USER is what
# the licence of a local installation asks for. Databases are in the current folder.
SETTINGS = """
import os
from bugsink.settings.default import *

SECRET_KEY = "only-for-tests-" * 4
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
SNAPPEA = {"TASK_ALWAYS_EAGER": True}
TIME_ZONE = "UTC"
BUGSINK = {
    "BASE_URL": f"http://127.0.0.1:{os.environ['PORT']}",
    "INGEST_STORE_BASE_DIR": os.path.abspath("ingestion"),
    "KEEP_ENVELOPES": 1000,
    "PHONEHOME": False,
    "SINGLE_USER": True,
}
"""

SEED = f"""
import uuid
import django

django.setup()

from bsmain.models import AuthToken
from django.contrib.auth import get_user_model
from django.core.management import call_command
from projects.models import Project, ProjectMembership, ProjectRole
from teams.models import Team

call_command("migrate", "snappea", database="snappea", verbosity=0)
call_command("migrate", verbosity=0)
user = get_user_model().objects.create_superuser(
    username="{USERNAME}", email="{USERNAME}", password="{PASSWORD}"
)
project = Project.objects.create(
    pk=1,
    name="app",
    team=Team.objects.create(name="tests"),
    sentry_key=uuid.UUID("{PUBLIC_KEY}"),
)
ProjectMembership.objects.create(
    project=project, user=user, role=ProjectRole.ADMIN, accepted=True
)
AuthToken.create_full_access(token="{TOKEN}")
"""


class Bugsink:
    """A Bugsink with one project, `dsn`, that starts without events.

    `cache` is a folder that outlives the test run. The first start installs
    Bugsink there (needs a package index); later ones copy a migrated database.
    Its pages are at `url`; log in as USERNAME with PASSWORD.

    It answers an envelope with 200 and drops all but its errors, and asks clients
    to keep transactions for a day: look for those in a Sink.
    """

    def __init__(self, cache: Path) -> None:
        installed = _install(cache)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.dsn = f"http://{PUBLIC_KEY}@127.0.0.1:{self.port}/1"
        self._gunicorn = installed / "venv/bin/gunicorn"
        self._temporary = tempfile.TemporaryDirectory(prefix="bugsink-")
        self._folder = Path(self._temporary.name)
        shutil.copytree(installed / "seed", self._folder, dirs_exist_ok=True)
        self._process: Process | None = None
        self._data: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._temporary.cleanup()

    def start(self) -> None:
        """Start the server on its port, with the events it had."""
        self._process = Process(
            [
                str(self._gunicorn),
                f"--bind=127.0.0.1:{self.port}",
                "--workers=1",
                "--threads=4",
                # Its default place is one for all gunicorns of a user.
                "--no-control-socket",
                "bugsink.wsgi",
            ],
            env=_environment(self._folder, self.port),
            cwd=self._folder,
            ready_url=f"{self.url}/health/ready",
        )

    def stop(self) -> None:
        """Stop the server; does nothing when stopped."""
        if self._process:
            # SIGTERM would wait for clients that keep their connection open.
            self._process.stop(signal.SIGINT)
            self._process = None

    def events(self) -> list[dict[str, Any]]:
        """Return the whole data of each stored event, oldest first."""
        found = [
            event
            for issue in self._list("issues/?project=1")
            for event in self._list(f"events/?issue={issue['id']}")
        ]
        found.sort(key=lambda event: event["digested_at"])
        for event in found:
            if event["id"] not in self._data:
                self._data[event["id"]] = self._get(f"events/{event['id']}/")["data"]
        return [self._data[event["id"]] for event in found]

    def wait_for_event(
        self, predicate: Callable[[dict[str, Any]], Any], timeout: float = 60
    ) -> dict[str, Any]:
        """Return the first event that fulfils `predicate`.

        Raises TimeoutError, which counts what was there instead.
        """
        deadline = time.monotonic() + timeout
        while True:
            events = self.events()
            for event in events:
                if predicate(event):
                    return event
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"none of {len(events)} events fits after {timeout} s"
                )
            time.sleep(0.1)

    def issue_url(self, event: Mapping[str, Any]) -> str:
        """Return the address of the page that shows `event` in its issue."""
        return f"{self.url}/issues/event/{uuid.UUID(event['event_id'])}/"

    def _list(self, path: str) -> list[dict[str, Any]]:
        page = self._get(path)
        results = page["results"]
        while page["next"]:
            page = self._get(page["next"])
            results += page["results"]
        return results

    def _get(self, path: str) -> dict[str, Any]:
        """Return the JSON of an API path, or of the address of a further page."""
        address = path if "://" in path else f"{self.url}/api/canonical/0/{path}"
        request = urllib.request.Request(
            address, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=60) as response:
            return json.load(response)


def _install(cache: Path) -> Path:
    """Return a folder with `venv` and `seed`, made once for all processes.

    `seed` gets its name last, by a rename: where it is, everything is.
    """
    digest = hashlib.sha256((REQUIREMENT + SETTINGS + SEED).encode()).hexdigest()[:12]
    folder = cache.absolute() / f"bugsink-{digest}"
    python = folder / "venv/bin/python"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if (folder / "seed").exists() and python.exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        _run(["uv", "venv", "--python", sys.executable, folder / "venv"])
        _run(["uv", "pip", "install", "--python", python, REQUIREMENT])
        partial = folder / "partial"
        partial.mkdir()
        (partial / "bugsink_conf.py").write_text(SETTINGS)
        _run([python, "-c", SEED], cwd=partial, env=_environment(partial, 0))
        partial.rename(folder / "seed")
    return folder


def _environment(folder: Path, port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(folder),
        "DJANGO_SETTINGS_MODULE": "bugsink_conf",
        "PORT": str(port),
    }


def _run(command: list[str | Path], **options: Any) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    if done.returncode:
        raise RuntimeError(f"{command[:3]} failed:\n{done.stdout}")
