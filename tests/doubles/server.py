"""A real HTTP server on loopback, with faults on demand.

A double gives it a route, a function from `Request` to `Reply`. Requests are logged. A fault is taken
from the queue (`fail`) or picked by what the request holds (`fail_on`), and decides what happens on the
wire before or after the route has run.

    with Server(lambda request: Reply.json({"path": request.path})) as server:
        server.fail(Fault.RESET_AFTER_ROUTE)
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO, Self

from doubles.messages import Part, Reply, Request

__all__ = ["Fault", "Part", "Reply", "Request", "Server"]

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
    STALL = "half of the answer's body after a second, then nothing; the route has run"
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
    pick: Callable[[Request], Fault | None] = lambda request: None
    """Picks the fault of a request that no other fault is meant for; asked once for each, in the thread that answers."""

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

    def calm(self) -> None:
        """Forget the faults that no request has had yet."""
        with self._lock:
            self._queue.clear()

    def hang_up(self) -> None:
        """End the connections that are open, without a word."""
        with self._lock:
            for connection in list(self._open):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

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
        self._threads[0].join(timeout=5)
        self.hang_up()
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
                self._open.add(connection)
            with suppress(OSError):
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
                # The handshake comes after the new socket is known, so that the server's end can cut it short.
                secured = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                kept = secured
                with self._lock:
                    self._open.add(secured)
                secured.settimeout(MAX_HANG)
                _shake_hands(secured)
            yield kept
        finally:
            with self._lock:
                self._open -= {kept, connection}
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
            marked = next((fault for fault, fits in self._marked if fits(request)), None)
        return marked or self.pick(request)

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
        elif fault is Fault.STALL:
            self._ended.wait(1)
            connection.sendall(reply.head() + reply.body[: len(reply.body) // 2])
            self._ended.wait(MAX_HANG)
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


def _shake_hands(connection: ssl.SSLSocket) -> None:
    try:
        connection.do_handshake()
    except AttributeError:
        # The standard library makes no TLS object for a client that has already gone.
        raise ConnectionError("the client went away") from None


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
