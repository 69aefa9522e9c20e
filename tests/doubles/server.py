"""A real HTTP server on loopback, with faults on demand.

A double gives it a route, a function from `Request` to `Reply`. Requests are logged. A fault is taken
from the queue (`fail`) or picked by what the request holds (`fail_on`), and decides what happens on the
wire before or after the route has run.

    with Server(lambda request: Reply.json({"path": request.path})) as server:
        server.fail(Fault.RESET_AFTER_ROUTE)
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from email import policy
from email.parser import BytesParser
from enum import Enum
from typing import Any, BinaryIO, Self
from urllib.parse import parse_qs, urlsplit

MAX_HANG = 20.0
"""Seconds after which a hanging connection gives up, so that no test hangs for ever."""


class Fault(Enum):
    """What goes wrong; the route has run, as at a host that stored the image, where the name says so."""

    RESET_BEFORE_BODY = "reset when the headers are read"
    RESET_AFTER_BODY = "reset when the body is read, before the route"
    RESET_AFTER_ROUTE = "reset after the route"
    CLOSE_AFTER_ROUTE = "close after the route, without an answer"
    HANG = "never answer, the route has not run"
    HANG_AFTER_ROUTE = "never answer, the route has run"
    DRIP_HEADERS = "one byte of the headers a tenth of a second, for ever; the route has run"
    DRIP_BODY = "a good answer's body, one byte a tenth of a second; the route has run"
    ENDLESS_100 = "100 Continue without end; the route has run"
    EARLY_413 = "413 and a close before the body is read"
    HTML_PAGE = "200 with an HTML page; the route has run"
    TRUNCATED_JSON = "half of the answer's body, with its own length; the route has run"
    SHORT_BODY = "half of the body under the whole length, then a close; the route has run"
    OVERSIZE_BODY = "200 with a body of 8 MB; the route has run"
    GZIP = "an answer that says it is gzip; the route has run"
    MANY_HEADERS = "2,000 headers; the route has run"
    LONG_HEADER = "one header of 1 MB; the route has run"
    NOT_HTTP = "bytes that are no HTTP; the route has run"
    SLOW = "the good answer half a second later; the route has run"


BEFORE_ROUTE = frozenset({Fault.RESET_BEFORE_BODY, Fault.RESET_AFTER_BODY, Fault.HANG, Fault.EARLY_413})


@dataclass(frozen=True)
class Part:
    """One part of a multipart form that has a file name."""

    name: str
    media_type: str
    body: bytes


@dataclass(frozen=True)
class Request:
    """One request, as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        found = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[-1] for name, values in found.items()}

    @property
    def bearer(self) -> str | None:
        """The token of `Authorization: Bearer`, or None."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind.lower() == "bearer" else None

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> tuple[dict[str, str], dict[str, Part]]:
        """Give the form's fields and files; both empty for a body that is no form."""
        kind = self.headers.get("content-type", "")
        if kind.startswith("application/x-www-form-urlencoded"):
            return {name: values[-1] for name, values in parse_qs(self.body.decode()).items()}, {}
        fields: dict[str, str] = {}
        files: dict[str, Part] = {}
        if not kind.startswith("multipart/form-data"):
            return fields, files
        message = BytesParser(policy=policy.HTTP).parsebytes(
            b"Content-Type: " + kind.encode() + b"\r\n\r\n" + self.body
        )
        for part in message.iter_parts():
            body = part.get_payload(decode=True) or b""
            name = str(part.get_param("name", header="content-disposition"))
            if part.get_filename() is None:
                fields[name] = body.decode()
            else:
                files[name] = Part(str(part.get_filename()), part.get_content_type(), body)
        return fields, files


@dataclass(frozen=True)
class Reply:
    """One answer; `length` may lie about the body."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None

    @classmethod
    def json(cls, value: object, status: int = 200, **headers: str) -> Reply:
        """Answer with JSON; underscores in the names of headers become dashes."""
        own = tuple((name.replace("_", "-"), text) for name, text in headers.items())
        return cls(status, json.dumps(value).encode(), (("Content-Type", "application/json"), *own))

    @classmethod
    def image(cls, body: bytes, media_type: str) -> Reply:
        return cls(200, body, (("Content-Type", media_type),))

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Reply:
        return cls(status, b"", (("Location", location),))

    def last(self) -> Reply:
        """Say that the connection closes after this answer, so that no client sends the next one into it."""
        return replace(self, headers=(*self.headers, ("Connection", "close")))

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Status"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines.append(f"Content-Length: {len(self.body) if self.length is None else self.length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


Route = Callable[[Request], Reply]


@dataclass
class Server:
    """The server; a context manager that ends all of its threads and connections."""

    route: Route
    tls: ssl.SSLContext | None = None
    swallow: bool = False
    """Read bodies without keeping them, for large uploads."""
    log: list[Request] = field(default_factory=list)
    received: int = 0
    """Bytes of bodies read so far."""
    connections: int = 0
    """Connections accepted so far."""

    def __post_init__(self) -> None:
        self._queue: deque[tuple[Fault, Callable[[Request], bool]]] = deque()
        self._marked: list[tuple[Fault, Callable[[Request], bool]]] = []
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]

    @property
    def host(self) -> str:
        """`host:port`; a server with TLS is asked by name, as its certificate has one."""
        return f"{'localhost' if self.tls else '127.0.0.1'}:{self.port}"

    @property
    def url(self) -> str:
        """The origin, `scheme://host:port`."""
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def fail(self, *faults: Fault, when: Callable[[Request], bool] = lambda request: True) -> None:
        """Let each of the next requests that fit have one fault, in this order."""
        with self._lock:
            self._queue.extend((fault, when) for fault in faults)

    def fail_on(self, marker: bytes, fault: Fault) -> None:
        """Let each request whose body holds the marker have this fault, always."""
        with self._lock:
            self._marked.append((fault, lambda request: marker in request.body))

    def requests(self, method: str | None = None, path: str | None = None) -> list[Request]:
        """Give the requests so far that fit."""
        with self._lock:
            return [
                request for request in self.log if method in {None, request.method} and path in {None, request.path}
            ]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with suppress(OSError):
            # Closing alone does not wake the thread that accepts.
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        self._listener.close()
        with self._lock:
            for connection in list(self._open):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(timeout=5)

    def _start(self, target: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=target, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError), self._kept(connection) as kept:
            kept.settimeout(MAX_HANG)
            with kept.makefile("rb") as stream:
                while not self._ended.is_set() and self._answered(kept, stream):
                    pass

    @contextmanager
    def _kept(self, connection: socket.socket) -> Iterator[socket.socket]:
        kept = connection
        try:
            if self.tls is not None:
                connection.settimeout(MAX_HANG)
                kept = self.tls.wrap_socket(connection, server_side=True)
            with self._lock:
                self._open.add(kept)
            yield kept
        finally:
            with self._lock:
                self._open.discard(kept)
            kept.close()
            connection.close()

    def _answered(self, connection: socket.socket, stream: BinaryIO) -> bool:
        """Serve one request; False ends the connection."""
        head = _head(stream)
        if head is None:
            return False
        bare = Request(*head, b"")
        fault = self._taken(bare, (Fault.RESET_BEFORE_BODY, Fault.EARLY_413))
        if fault is not None:
            with self._lock:
                self.log.append(bare)
            return _broken_early(fault, connection)
        body = self._body(stream, int(bare.headers.get("content-length", "0")))
        request = Request(*head, body)
        with self._lock:
            self.log.append(request)
            fault = self._taken(request)
        if fault in BEFORE_ROUTE:
            return self._broken(fault, connection, Reply())
        reply = self.route(request)
        if fault is not None:
            return self._broken(fault, connection, reply)
        reply = reply.last() if reply.length is not None else reply
        connection.sendall(reply.head() + (b"" if request.method == "HEAD" else reply.body))
        return reply.length is None and request.headers.get("connection", "").lower() != "close"

    def _body(self, stream: BinaryIO, length: int) -> bytes:
        kept = bytearray()
        while length > 0:
            chunk = stream.read(min(length, 65536))
            if not chunk:
                raise ConnectionError("the client went away")
            length -= len(chunk)
            with self._lock:
                self.received += len(chunk)
            if not self.swallow:
                kept += chunk
        return bytes(kept)

    def _taken(self, request: Request, only: tuple[Fault, ...] = ()) -> Fault | None:
        with self._lock:
            if self._queue:
                fault, fits = self._queue[0]
                if (not only or fault in only) and fits(request):
                    self._queue.popleft()
                    return fault
            if only:
                return None
            return next((fault for fault, fits in self._marked if fits(request)), None)

    def _broken(self, fault: Fault, connection: socket.socket, reply: Reply) -> bool:
        if fault in {Fault.RESET_BEFORE_BODY, Fault.RESET_AFTER_BODY, Fault.RESET_AFTER_ROUTE}:
            _reset(connection)
        elif fault in {Fault.HANG, Fault.HANG_AFTER_ROUTE}:
            self._ended.wait(MAX_HANG)
        elif fault is Fault.SLOW:
            self._ended.wait(0.5)
            connection.sendall(reply.head() + reply.body)
            return True
        elif fault is Fault.DRIP_HEADERS:
            self._drip(connection, b"HTTP/1.1 200 OK\r\nX-Drip: " + b"a" * 10_000)
        elif fault is Fault.DRIP_BODY:
            connection.sendall(reply.last().head())
            self._drip(connection, reply.body)
        elif fault is Fault.ENDLESS_100:
            while not self._ended.wait(0.01):
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 10)
        else:
            connection.sendall(_spoilt(fault, reply))
        return False

    def _drip(self, connection: socket.socket, text: bytes) -> None:
        for start in range(len(text)):
            connection.sendall(text[start : start + 1])
            if self._ended.wait(0.1):
                return


def _head(stream: BinaryIO) -> tuple[str, str, dict[str, str]] | None:
    """Read the request line and the headers; None where the client has gone."""
    line = stream.readline(65536).decode("latin-1")
    if not line.endswith("\r\n"):
        return None
    method, target, _ = line.split(" ", 2)
    headers: dict[str, str] = {}
    while (line := stream.readline(65536).decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return method, target, headers


def _broken_early(fault: Fault, connection: socket.socket) -> bool:
    if fault is Fault.RESET_BEFORE_BODY:
        _reset(connection)
        return False
    reply = Reply.json({"error": "file_too_large"}, 413).last()
    connection.sendall(reply.head() + reply.body)
    return False


def _spoilt(fault: Fault, reply: Reply) -> bytes:
    half = reply.body[: len(reply.body) // 2]
    page = b"<!doctype html><title>502 Bad Gateway</title><h1>Bad Gateway</h1>"
    crowd = tuple((f"X-Header-{number}", "x" * 40) for number in range(2_000))
    spoilt = {
        Fault.HTML_PAGE: Reply(200, page, (("Content-Type", "text/html"),)),
        Fault.TRUNCATED_JSON: Reply(reply.status, half, reply.headers),
        Fault.SHORT_BODY: Reply(reply.status, half, reply.headers, length=len(reply.body)),
        Fault.OVERSIZE_BODY: Reply(200, b" " * 8_000_000, reply.headers),
        Fault.GZIP: Reply(200, reply.body, (("Content-Encoding", "gzip"),)),
        Fault.MANY_HEADERS: Reply(200, reply.body, crowd),
        Fault.LONG_HEADER: Reply(200, reply.body, (("X-Long", "x" * 1_000_000),)),
    }
    if fault in spoilt:
        return spoilt[fault].last().head() + spoilt[fault].body
    return b"SSH-2.0-OpenSSH_9.2\r\n" if fault is Fault.NOT_HTTP else b""


def _reset(connection: socket.socket) -> None:
    # Closing with a linger of no seconds sends RST in place of FIN.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
