"""Serves a project with the probe, drives it, and tells what arrived at Sentry.

    python -m tests.privacy.run '{"project": ..., "python": ..., ...}'

Run as a command of its own, so that `unshare` can take the network away.
"""

from __future__ import annotations

import errno
import fcntl
import http.client
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.privacy.probe import client, process
from tests.privacy.probe.channels import all_channels
from tests.privacy.probe.secrets import DIGITS_PART, FORMS, PART, parts, secret
from tests.servers.process import Process, free_port
from tests.servers.sink import VIEWS, Item, Sink

REPOSITORY = Path(__file__).parents[2]
CHANNELS = all_channels()


@dataclass(frozen=True)
class Column:
    """A configuration in which all channels are tried; see `probe.apps`."""

    server: str = "wsgi"
    lifecycle: str = "static"
    collection: str = "project"
    redaction: str = "usual"

    def __str__(self) -> str:
        return "-".join(asdict(self).values())

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms of secrets that are tried."""
        if self.redaction == "none":
            return FORMS[:1]
        usual = self.collection == "project" and self.redaction == "usual"
        # Of the four that remain, two with all forms cover both servers and lifecycles.
        half = (self.server == "wsgi") == (self.lifecycle == "static")
        return FORMS if usual and half else FORMS[:2]


@dataclass
class Result:
    """What arrived.

    leaks        form → names of the channels whose secret arrived, even in part
    unsupported  names of the channels that this version of the SDK does not have
    types        type → number of items
    kept         [type, payload] of the items of the request to /probe/kept/
    upstream     headers of the requests that the project made to other services
    bypasses     paths on which something arrived that did not pass the transport
    isolated     whether nothing but loopback existed
    output       of the project
    """

    leaks: dict[str, list[str]] = field(default_factory=dict)
    unsupported: list[str] = field(default_factory=list)
    types: dict[str, int] = field(default_factory=dict)
    kept: list[list[Any]] = field(default_factory=list)
    upstream: list[dict[str, str]] = field(default_factory=list)
    bypasses: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    isolated: bool = False
    output: str = ""

    def of(self, type: str) -> list[Any]:
        """Return the payloads of the kept items of a type."""
        return [payload for found, payload in self.kept if found == type]


def isolated_run(column: Column, project: Path, python: Path) -> Result:
    """Run `column` in a process that has nothing but loopback, if the kernel lets it.

    Raises CalledProcessError.
    """
    options = {"column": asdict(column), "project": f"{project}", "python": f"{python}"}
    command = [sys.executable, "-m", "tests.privacy.run", json.dumps(options)]
    done = subprocess.run(
        [*without_network(), *command],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
    )
    return Result(**json.loads(done.stdout))


def without_network() -> list[str]:
    """Return the command that takes the network away, or nothing if there is none."""
    command = ["unshare", "--user", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"]).returncode:
        return []
    return command


def raise_loopback() -> None:
    """Switch loopback on, which a new network has switched off."""
    with socket.socket() as any_socket, suppress(PermissionError):
        # <linux/sockios.h> and <linux/if.h>: SIOCSIFFLAGS, IFF_UP | IFF_RUNNING
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))


def is_isolated() -> bool:
    """Whether there is no way to an address on the Internet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anywhere:
        try:
            anywhere.connect(("192.0.2.1", 9))  # RFC 5737: for documentation
        except OSError as error:
            return error.errno == errno.ENETUNREACH
    return False


def run(column: Column, project: Path, python: Path) -> Result:
    if sys.platform == "linux":
        raise_loopback()
    result = Result(isolated=is_isolated())
    with (
        tempfile.TemporaryDirectory() as folder,
        Sink() as sink,
        Sink() as upstream,
    ):
        database = Path(folder, "db.sqlite3")
        shutil.copy(project / "data/db.sqlite3", database)
        port = free_port()
        environ = {
            # First, since the SDK takes the first ten.
            **{name: joined(channel) for name, channel in process.ENVIRON.items()},
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "probe.settings",
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": folder,
            "DATABASE_URL": f"sqlite:///{database}",
            "ALLOWED_HOSTS": "127.0.0.1",
            "DEBUG": "false",
            "SECRET_KEY": "only for the probe " * 3,
            "ENVIRONMENT": "staging",
            "GIT_COMMIT": "abc1234",
            "SENTRY_DSN": sink.dsn,
            "SENTRY_TRACES_SAMPLE_RATE": "1",
            "SENTRY_PROFILES_SAMPLE_RATE": "1",
            "PROBE_LIFECYCLE": column.lifecycle,
            "PROBE_COLLECTION": column.collection,
            "PROBE_REDACTION": column.redaction,
            "PROBE_UPSTREAM": upstream.url.replace("127.0.0.1", "localhost"),
            "PROBE_HOST_NAME": joined(process.HOST_NAME),
            # The ways around the transport, which must stay shut.
            "SENTRY_SPOTLIGHT": f"{upstream.url}/spotlight/stream",
            "SENTRY_PRINT_ENVELOPES": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"{upstream.url}/otlp",
            **{
                f"PROBE_{n}": joined(channel) for n, channel in process.SETTINGS.items()
            },
            **{
                f"OWN_{number}_PASSWORD": secret(channel.name, "own", channel.digits)
                for number, channel in enumerate(CHANNELS)
            },
        }
        with Process(
            command(column.server, python, port),
            env=environ,
            cwd=project,
            ready_url=f"http://127.0.0.1:{port}/healthz/",
        ) as server:
            _, headers = send(client.Request("/probe/login/short/"), port)
            send(client.Request("/probe/kept/", cookies=cookies(headers)), port)
            send(client.Request("/probe/flush/"), port)
            # What the request left to send at its very end may come after the flush.
            sink.wait_for(lambda items: complete(items, column.lifecycle))
            result.kept = [[item.type, item.json] for item in sink.items()]
            for form in column.forms:
                drive(form, port, result)
            send(client.Request("/probe/flush/", query=[("close", "")]), port)
            result.output = server.output()
        received = search(sink)
        result.leaks = {
            form: [c.name for c in CHANNELS if leaked(c, form, received)]
            for form in column.forms
        }
        result.types = dict(Counter(item.type for item in sink.items()))
        calls = [r for r in upstream.requests if r.path == "/traced"]
        result.upstream = [call.headers for call in calls]
        result.bypasses = [
            request.path
            for request in upstream.requests
            if request.path.startswith(("/spotlight", "/otlp"))
        ]
    return result


def complete(items: list[Item], lifecycle: str) -> bool:
    """Whether all kinds of items of the request to /probe/kept/ are there."""
    trace = "span" if lifecycle == "stream" else "transaction"
    of_request = {item.type for item in items if b'"/probe/kept/"' in item.payload}
    others = {item.type for item in items}
    return of_request >= {"event", trace} and others >= {"log", "trace_metric"}


def joined(channel: str) -> str:
    """Return the secrets of all forms: what is planted once holds them all."""
    return " ".join(secret(channel, form) for form in FORMS)


def command(server: str, python: Path, port: int) -> list[str | Path]:
    """The servers whose own environment an SDK could collect, and an argument."""
    argument = joined(process.ARGUMENT)
    if server == "wsgi":
        manage = [python, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
        return [*manage, "--pythonpath", argument]
    uvicorn = [python, "-m", "uvicorn", "config.asgi:application", f"--port={port}"]
    return [*uvicorn, "--header", f"X-Argument:{argument}"]


def drive(form: str, port: int, result: Result) -> None:
    """Plant the secrets of one form in all channels."""
    _, headers = send(client.Request(f"/probe/login/{form}/"), port)
    session = cookies(headers)
    for name, make in client.REQUESTS.items():
        request = make()
        request.cookies += session
        for channel in client.CHANNELS:
            if channel.request == name:
                channel.plant(request, secret(channel.name, form))
        result.statuses[f"{name}, {form}"], _ = send(request, port)
    code = client.Request(f"/probe/code/{form}/", cookies=session)
    status, _, body = send(code, port, read=True)
    result.statuses[f"code, {form}"] = status
    result.unsupported = json.loads(body)["unsupported"]


def cookies(headers: list[tuple[str, str]]) -> list[str]:
    """Return the cookies that a response set, as name=value."""
    return [v.partition(";")[0] for k, v in headers if k.lower() == "set-cookie"]


def send(request: client.Request, port: int, read: bool = False) -> Any:
    """Return (status, headers) and, if asked for, the body."""
    method, target, headers, body = request.encoded()
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=60, source_address=(process.ADDRESS, 0)
    )
    try:
        own_host = any(name == "Host" for name, _ in headers)
        connection.putrequest(method, target, skip_host=own_host)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        answer = response.status, response.getheaders()
        return (*answer, response.read()) if read else answer
    finally:
        connection.close()


def search(sink: Sink) -> set[str]:
    """Return the parts of secrets that stand in anything received, however encoded."""
    if not sink.items():
        raise AssertionError("nothing was received, so nothing is proven")
    everything = sink.wire() + b"\n" + sink.decoded()
    # Each text once: the same stack traces come again and again.
    texts = {*re.findall(rb'"(?:[^"\\]|\\.)*"', sink.decoded())} | {
        f"{request.path} {request.headers}".encode() for request in sink.requests
    }
    views = {b"\n".join(texts)}
    for _ in range(2):
        views |= {decode(view) for view in views for decode in VIEWS}
    views.add(everything)
    return {
        found.decode().lower()
        for view in views
        for pattern in (PART, DIGITS_PART)
        for found in pattern.findall(view)
    } | {process.ADDRESS for view in views if process.ADDRESS.encode() in view}


def leaked(channel: Any, form: str, received: set[str]) -> bool:
    """Whether a part of the secret arrived that the form uses."""
    return not received.isdisjoint(parts(channel.name, form, channel.digits))


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    result = run(
        Column(**options["column"]), Path(options["project"]), Path(options["python"])
    )
    json.dump(asdict(result), sys.stdout)
