"""A Sentry-compatible sink: keeps every byte it gets and fails on request."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import socket
import socketserver
import ssl
import struct
import sys
import tempfile
import threading
import time
import uuid
import zlib
from binascii import a2b_base64
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from importlib import import_module
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import unquote_to_bytes, urlsplit

import brotli

from .process import free_port

T = TypeVar("T")

PUBLIC_KEY = "3" * 32
MODES = re.compile(
    r"ok|blackhole|reset|status:(?P<status>[45]\d\d)|429:(?P<retry>\d+)"
    r"|limits:(?P<limits>\d+:[a-z_;]*)|slow:(?P<slow>\d+(\.\d+)?)"
)

DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "br": brotli.decompress,
}
for module in ("compression.zstd", "backports.zstd"):
    with suppress(ImportError):
        DECODERS["zstd"] = import_module(module).decompress


class Malformed(ValueError):
    """A body that cannot be decoded, or an envelope against the specification."""


@dataclass(frozen=True)
class Item:
    """One item of an envelope; `payload` is exactly what was sent."""

    headers: dict[str, Any]
    payload: bytes

    @property
    def type(self) -> str:
        return self.headers["type"]

    @cached_property
    def json(self) -> Any:
        return json.loads(self.payload)


@dataclass(frozen=True)
class Envelope:
    """https://develop.sentry.dev/sdk/foundations/transport/envelopes/"""

    headers: dict[str, Any]
    items: list[Item]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a decompressed envelope. Raises Malformed."""
        headers, position = _json_line(data, 0)
        items = []
        while position < len(data):
            item, position = _json_line(data, position)
            length = item.get("length", _line_length(data, position))
            if not isinstance(item.get("type"), str) or not isinstance(length, int):
                raise Malformed(f"not the headers of an item: {item}")
            end = position + length
            if not position <= end <= len(data) or data[end : end + 1].strip(b"\n"):
                raise Malformed(f"payload is not as long as its header says: {item}")
            items.append(Item(item, data[position:end]))
            position = end + 1
        return cls(headers, items)


@dataclass(frozen=True)
class Request:
    """One HTTP request; header names are in lower case, `body` is decompressed."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Sink:
    """An HTTP server on 127.0.0.1 that plays Sentry and any other service.

    `mode` says how it answers and may change at any time:

    ok                   200 and, for an envelope, its id
    status:500           any status
    429:60               429 with Retry-After: 60
    limits:60:error      429 with X-Sentry-Rate-Limits; more categories after `;`
    slow:10              ok, after 10 s
    blackhole            takes everything, answers nothing as long as the client waits
    reset                takes the request, then breaks the connection (RST)

    Requests are kept in every mode. stop() makes the port refuse connections. With
    `tls` the certificate is from an unknown authority; `ca_file` is the authority.
    """

    def __init__(self, tls: bool = False) -> None:
        self.port = free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.dsn = self.url.replace("//", f"//{PUBLIC_KEY}@") + "/1"
        self.ca_file: Path | None = None
        self._mode = "ok"
        self._server: _Server | None = None
        self._arrived = threading.Condition()
        self._bugs: list[BaseException] = []
        self._temporary = tempfile.TemporaryDirectory(prefix="sink-")
        self._tls = self._certificate() if tls else None
        self.clear()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._temporary.cleanup()
        if self._bugs:
            raise self._bugs[0]

    def start(self) -> None:
        """Listen, always on the same port."""
        deadline = time.monotonic() + 5
        while not self._server:
            try:
                self._server = _Server(self)
            except OSError as error:
                # Whoever has the port is about to leave it: it is a free one.
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        ).start()

    def stop(self) -> None:
        """Close the port and every connection; keeps what was received."""
        if self._server:
            self._server.close()
            self._server = None

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if not MODES.fullmatch(mode):
            raise ValueError(f"unknown mode {mode!r}")
        self._mode = mode

    def clear(self) -> None:
        """Forget everything received so far."""
        with self._arrived:
            self.requests: list[Request] = []
            self._envelopes: list[Envelope] = []
            self._malformed: list[Malformed] = []
            self._wire: dict[Any, bytearray] = {}

    @property
    def envelopes(self) -> list[Envelope]:
        """All envelopes in the order of arrival. Raises Malformed."""
        with self._arrived:
            if self._malformed:
                raise self._malformed[0]
            return list(self._envelopes)

    def items(self, type: str | None = None) -> list[Item]:
        """Return the items of all envelopes, or those of one type."""
        items = [item for envelope in self.envelopes for item in envelope.items]
        return [item for item in items if type in (None, item.type)]

    def events(self) -> list[dict[str, Any]]:
        return [item.json for item in self.items("event")]

    def transactions(self) -> list[dict[str, Any]]:
        return [item.json for item in self.items("transaction")]

    def wait_for(self, predicate: Callable[[list[Item]], T], timeout: float = 30) -> T:
        """Return what `predicate` says of all items as soon as it is true.

        Raises TimeoutError, which lists the types that did arrive.
        """
        with self._arrived:
            found = self._arrived.wait_for(lambda: predicate(self.items()), timeout)
        if not found:
            types = [item.type for item in self.items()]
            raise TimeoutError(f"after {timeout} s there were only {types}")
        return found

    def wire(self) -> bytes:
        """Return all bytes received, after TLS, one connection after another."""
        with self._arrived:
            return b"\n".join(self._wire.values())

    def decoded(self) -> bytes:
        """Return the bodies of all requests, decompressed, one after another."""
        with self._arrived:
            return b"\n".join(request.body for request in self.requests)

    def assert_absent(self, secrets: Iterable[str]) -> None:
        """Fail if a secret was received: as it is, or behind any two of percent
        encoding, JSON escapes and base64.

        Fails, too, if nothing was received or a body could not be read, since
        that proves nothing. Raises ValueError for no secrets or one below 6
        characters, which would be found by chance.
        """
        secrets = list(secrets)
        if not secrets or min(map(len, secrets)) < 6:
            raise ValueError(f"need secrets of 6 characters or more, got {secrets}")
        if not self.wire():
            raise AssertionError("nothing was received, so nothing is proven")
        if self._malformed:
            raise AssertionError("a body could not be read") from self._malformed[0]
        views = {self.wire() + b"\n" + self.decoded()}
        for _ in range(2):
            views |= {decode(view) for view in views for decode in VIEWS}
        found = {
            secret: view[max(0, at - 60) : at + 60]
            for view in views
            for secret in secrets
            if (at := view.find(secret.encode())) >= 0
        }
        if found:
            lines = [f"{secret!r} in {context!r}" for secret, context in found.items()]
            raise AssertionError("received secrets:\n" + "\n".join(lines))

    def _keep_bytes(self, client: Any, data: bytes) -> None:
        with self._arrived:
            self._wire.setdefault(client, bytearray()).extend(data)

    def _keep(self, request: Request) -> str:
        """File a request whose body is still compressed; return an id for it.

        Raises Malformed.
        """
        with self._arrived:
            try:
                body = _decompress(request)
                self.requests.append(replace(request, body=body))
                if not urlsplit(request.path).path.endswith("/envelope/"):
                    return uuid.uuid4().hex
                envelope = Envelope.parse(body)
                self._envelopes.append(envelope)
                return envelope.headers.get("event_id", uuid.uuid4().hex)
            finally:
                self._arrived.notify_all()

    def _keep_malformed(self, error: Malformed) -> None:
        with self._arrived:
            self._malformed.append(error)
            self._arrived.notify_all()

    def _certificate(self) -> ssl.SSLContext:
        import trustme

        authority = trustme.CA()
        self.ca_file = Path(self._temporary.name, "ca.pem")
        authority.cert_pem.write_to_path(str(self.ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        return context


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", sink.port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.sink._tls:
            # The handshake is left to the thread of the connection.
            connection = self.sink._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        # Clients break connections and refuse certificates; that is no bug here.
        if error and not isinstance(error, OSError):
            self.sink._bugs.append(error)

    def close(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            with suppress(OSError):  # The client was faster.
                # Not that of SSLSocket, which drops the TLS state its thread reads.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Tee(RawIOBase):
    """Reads the socket of a handler; the sink gets every byte as well."""

    def __init__(self, handler: _Handler) -> None:
        self._handler = handler

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        handler = self._handler
        count = handler.connection.recv_into(buffer)
        handler.server.sink._keep_bytes(handler.client_address, buffer[:count])
        return count


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one send; two cost a delayed ACK, 40 ms.
    wbufsize = -1
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.rfile = BufferedReader(_Tee(self))

    def log_message(self, format: str, *args: Any) -> None:
        pass  # Everything is in wire().

    def _handle(self) -> None:
        sink = self.server.sink
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            body = self._body()
            id = sink._keep(Request(self.command, self.path, headers, body))
        except Malformed as error:
            sink._keep_malformed(error)
            self.close_connection = True
            self._answer(400, {"detail": str(error)})
        else:
            self._play(sink.mode, id)

    # The names are the interface of BaseHTTPRequestHandler.
    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = _handle

    def _body(self) -> bytes:
        try:
            if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
                return self._read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self._read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # Trailers.
            return body
        except (ValueError, OSError) as error:
            raise Malformed(f"body cut off or wrongly framed: {error}") from error

    def _read(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise Malformed(f"{len(data)} of {size} bytes")
        return data

    def _play(self, mode: str, id: str) -> None:
        match = MODES.fullmatch(mode)
        assert match
        if mode == "blackhole":
            self.close_connection = True
            while self.rfile.read1():
                pass
        elif mode == "reset":
            self.close_connection = True
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            # Past the objects, which would end the connection in good order first.
            os.close(self.connection.detach())
        elif match["status"]:
            self._answer(int(match["status"]), {"detail": mode})
        elif match["retry"]:
            self._answer(429, {"detail": mode}, {"Retry-After": match["retry"]})
        elif match["limits"]:
            limits = f"{match['limits']}:organization"
            self._answer(429, {"detail": mode}, {"X-Sentry-Rate-Limits": limits})
        else:
            self.server.closing.wait(float(match["slow"] or 0))
            self._answer(200, {"id": id})

    def _answer(
        self,
        status: int,
        content: dict[str, str],
        headers: dict[str, str] | None = None,
    ) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _json_line(data: bytes, start: int) -> tuple[dict[str, Any], int]:
    """Return the JSON object on the line at `start`, and where the next begins."""
    end = start + _line_length(data, start)
    try:
        value = json.loads(data[start:end])
    except ValueError as error:
        raise Malformed(f"not JSON: {data[start:end][:80]!r}") from error
    if not isinstance(value, dict):
        raise Malformed(f"not a JSON object: {value}")
    return value, end + 1


def _line_length(data: bytes, start: int) -> int:
    end = data.find(b"\n", start)
    return (end if end >= 0 else len(data)) - start


def _decompress(request: Request) -> bytes:
    encoding = request.headers.get("content-encoding", "")
    body = request.body
    for name in reversed(encoding.lower().split(",")):
        try:
            body = DECODERS[name.strip()](body)
        except Exception as error:
            raise Malformed(f"cannot decode Content-Encoding {name!r}") from error
    return body


def _unescape_json(data: bytes) -> bytes:
    """Replace JSON escapes, pairs of surrogates included, wherever they stand."""
    escapes = rb"""(?:\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt]))+"""

    def plain(match: re.Match[bytes]) -> bytes:
        return json.loads(b'"%b"' % match[0]).encode(errors="surrogatepass")

    return re.sub(escapes, plain, data)


def _decode_base64(data: bytes) -> bytes:
    """Return what each run of base64, of either alphabet, may stand for.

    A run may begin with foreign characters, so each is read from four places.
    """
    runs = re.findall(
        rb"[A-Za-z0-9+/]{8,}", data.translate(bytes.maketrans(b"-_", b"+/"))
    )
    starts = [run[skip:] for run in runs for skip in range(4)]
    return b"\n".join(a2b_base64(run + b"A" * (-len(run) % 4)) for run in starts)


VIEWS: tuple[Callable[[bytes], bytes], ...] = (
    unquote_to_bytes,
    lambda data: unquote_to_bytes(data.replace(b"+", b" ")),
    _unescape_json,
    _decode_base64,
)
