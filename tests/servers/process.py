"""Start a real process, wait until it is ready, stop it and leave nothing behind."""

from __future__ import annotations

import http.client
import itertools
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit


class StartError(RuntimeError):
    """A process ended, or did not become ready in time; the text has its output."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nothing listens, a new one each time.

    So two servers that start later than they choose their ports have two.
    """
    while True:
        port = next(_ports())
        with socket.socket() as candidate, suppress(OSError):
            # Else a server could not take the port while another looks at it.
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            candidate.bind(("127.0.0.1", port))
            return port


@cache
def _ports() -> Iterator[int]:
    """Yield the ports of this process, one again only after all the others.

    No two workers of a test run have one in common. All lie below those that the
    system gives to outgoing connections, so none of these can take a port while its
    server is stopped, and a client that polls it cannot connect to itself.
    """
    ports = range(20_000, _first_outgoing_port())
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = ports[number % count :: count]
    # Not the generator that test runners seed alike in every run.
    return itertools.cycle(random.SystemRandom().sample(own, len(own)))


def _first_outgoing_port() -> int:
    """Return that of Linux, where it can be changed; that of macOS is higher."""
    usual = 32_768
    with suppress(OSError):
        file = Path("/proc/sys/net/ipv4/ip_local_port_range")
        first = int(file.read_text().split()[0])
        # Where too little is left below, chance must do.
        return first if 25_000 < first < usual else usual
    return usual


class Process:
    """One running command with everything it starts; a with block kills it all.

    `env` is the whole environment (None: inherit). Ready means that `ready_line`
    is in the output and `ready_url` answers with a status below 500. Further
    keywords go to `subprocess.Popen`.

    Raises StartError if the process is not ready after `timeout` seconds.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        ready_url: str | None = None,
        ready_line: str | None = None,
        timeout: float = 120,
        **popen: Any,
    ) -> None:
        self.command = [str(part) for part in command]
        self.url = ready_url and "{0.scheme}://{0.netloc}".format(urlsplit(ready_url))
        self._output: str | None = None
        # A file, not a pipe: a pipe that nobody reads blocks the process.
        self._log = tempfile.TemporaryFile()
        try:
            self._popen = subprocess.Popen(
                self.command,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **popen,
            )
        except BaseException:
            self._log.close()
            raise
        self.pid = self._popen.pid
        try:
            self._wait_until_ready(ready_url, ready_line, timeout)
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def output(self) -> str:
        """Return all of standard output and standard error so far."""
        if self._output is not None:
            return self._output
        # pread leaves the file position alone: the process writes at it.
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def stop(
        self, signal: int = signal.SIGTERM, timeout: float = 60
    ) -> tuple[float, int]:
        """Send `signal` to the process itself and return (seconds, returncode).

        What it leaves running is killed. Raises TimeoutError after `timeout`.
        """
        started = time.monotonic()
        self._popen.send_signal(signal)
        try:
            returncode = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(self._describe(f"ran on for {timeout} s")) from None
        seconds = time.monotonic() - started
        self.kill()
        return seconds, returncode

    def kill(self) -> None:
        """Kill the whole process group; does nothing the second time."""
        if self._output is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        self._output = self.output()
        self._log.close()

    def _wait_until_ready(
        self, url: str | None, line: str | None, timeout: float
    ) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            ready = (line is None or line in self.output()) and (
                url is None or _answers(url)
            )
            # Asked last: the answer may come from another process on the port.
            if self._popen.poll() is not None:
                code = self._popen.returncode
                raise StartError(self._describe(f"ended with code {code}"))
            if ready:
                return
            time.sleep(0.05)
        raise StartError(self._describe(f"was not ready after {timeout} s"))

    def _describe(self, problem: str) -> str:
        return f"{' '.join(self.command)} {problem}. Output:\n{self.output()}"


def _answers(url: str) -> bool:
    """Tell whether a GET of `url` (http) gets a status below 500."""
    parts = urlsplit(url)
    # http.client, because urllib would send the request to a proxy of the
    # environment.
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", target)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


# Reads better in `with serve([...], ready_url=...) as site:`.
serve = Process
