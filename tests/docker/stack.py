"""A generated project that Docker Compose runs, on ports of its own."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.servers.process import free_port
from tests.test_monitoring import Browser

T = TypeVar("T")

# What a stack may see of this process: settings of the project must not be in it.
INHERITED = ("PATH", "HOME", "LANG", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG")

# What the proxy in front would say.
HTTPS = {"X-Forwarded-Proto": "https"}

DEBUG_ENDPOINT = "/api/v1/debug/sentry-test/?type={}"

EVENTS = """
import json, time
from events.models import Event
deadline = time.monotonic() + {timeout}
while Event.objects.count() < {count} and time.monotonic() < deadline:
    time.sleep(0.2)
events = [event.get_parsed_data() for event in Event.objects.order_by("digested_at")]
print(json.dumps(events))
"""


class ComposeError(AssertionError):
    """A command failed; the text has its output and the logs of the services."""


class Stack:
    """The project in `folder`, not started yet, beside others under its own `name`.

    `slug` is its `project_slug`, which names the image; `variables` are those of the
    shell that `docker compose` runs in.
    """

    def __init__(
        self, folder: Path, slug: str, name: str, variables: dict[str, str]
    ) -> None:
        self.folder = folder
        self.slug = slug
        self.name = name
        self.port, self.dashboard_port = free_port(), free_port()
        inherited = {key: os.environ[key] for key in INHERITED if key in os.environ}
        self.env = (
            inherited
            | {
                "COMPOSE_PROJECT_NAME": name,
                "WEB_PORT": str(self.port),
                "BUGSINK_PORT": str(self.dashboard_port),
                "SPOTLIGHT_PORT": str(self.dashboard_port),
            }
            | variables
        )
        self.browser = Browser(f"http://localhost:{self.port}")

    def remove(self) -> None:
        """Remove containers, networks, volumes and images, but not the layers."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "1")
        images = [self.slug, f"{self.slug}:previous"]
        subprocess.run(
            ["docker", "image", "rm", "--force", *images], capture_output=True
        )

    def run(self, *command: str, **options: Any) -> str:
        """Run a command in the project's folder and return its standard output.

        Raises ComposeError if it fails.
        """
        options = {"cwd": self.folder, "env": self.env, "text": True} | options
        done = subprocess.run(command, capture_output=True, **options)
        if done.returncode:
            logs = subprocess.run(
                ["docker", "compose", "logs", "--no-color", "--tail", "20"],
                cwd=self.folder,
                env=self.env,
                capture_output=True,
                text=True,
            )
            raise ComposeError(
                f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}\n{logs.stdout}"
            )
        return done.stdout

    def compose(self, *arguments: str, **options: Any) -> str:
        return self.run("docker", "compose", *arguments, **options)

    def up(self, *arguments: str) -> None:
        self.compose("up", "-d", "--build", "--wait", *arguments)

    def execute(self, service: str, *command: str) -> str:
        return self.compose("exec", "-T", service, *command)

    def logs(self, service: str = "web") -> str:
        return self.compose("logs", "--no-color", "--no-log-prefix", service)

    def inspect(self, service: str = "web") -> dict[str, Any]:
        container = self.compose("ps", "--all", "--quiet", service).strip()
        return json.loads(self.run("docker", "inspect", container))[0]

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body, as a visitor behind the proxy sees them."""
        return self.browser.get(path, HTTPS)

    def bugsink_events(self, count: int, timeout: float = 60) -> list[dict[str, Any]]:
        """Return what Bugsink has stored, waiting until it is `count` events."""
        code = EVENTS.format(count=count, timeout=timeout)
        shell = ("bugsink-manage", "shell", "--verbosity", "0", "--command", code)
        return json.loads(self.execute("bugsink", *shell))


def wait_for(predicate: Callable[[], T], timeout: float = 60) -> T:
    """Return what `predicate` says as soon as it is true. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while not (found := predicate()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout} s")
        time.sleep(0.1)
    return found


class Load:
    """Visitors who ask one after the other, each without pause, in a with block.

    connect: returns a new `http.client` connection; a visitor keeps his and makes a new
    one after an error. `answers` counts the statuses, and the names of errors.
    """

    def __init__(
        self,
        connect: Callable[[], HTTPConnection],
        *requests: tuple[str, str],
        headers: dict[str, str],
    ) -> None:
        self.answers: Counter[int | str] = Counter()
        self._ended = threading.Event()
        self._visitors = [
            threading.Thread(target=self._visit, args=(connect, *request, headers))
            for request in requests
        ]

    def __enter__(self) -> Self:
        for visitor in self._visitors:
            visitor.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for visitor in self._visitors:
            visitor.join()

    def _visit(self, connect, method, path, headers) -> None:
        connection = connect()
        while not self._ended.is_set():
            try:
                connection.request(method, path, headers=headers)
                response = connection.getresponse()
                response.read()
                self.answers[response.status] += 1
            except (OSError, HTTPException) as error:
                self.answers[type(error).__name__] += 1
                connection.close()
                connection = connect()
                time.sleep(0.05)
        connection.close()
