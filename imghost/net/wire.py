"""One request on the wire: its deadline, proxy and TLS, and what a failure means."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final, Protocol, cast
from urllib.parse import unquote, urlsplit

import certifi
import h11
import httpcore

if "httpx" not in sys.modules:
    # It loads a command line of its own, and all that this draws with, wherever it finds that installed: as much again
    # as the rest. What cannot be loaded it does without, and here nobody calls that.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]
import httpx

from imghost.errors import Action, HostError
from imghost.wording import printable

if sys.modules.get("httpx._main", "") is None:
    del sys.modules["httpx._main"]

# A message names the host and what to change; never a header, a URL's path or query, or what a library
# says of the request. Errors are raised outside of the `except` clauses, so that no traceback holds
# the library's exception, which holds the request and its secrets.
HEADERS: Final = 16 * 1024
"""Bytes of an answer's headers that are accepted."""

RATE: Final = 40_000
"""Bytes a second that all requests together are expected to send at least, so 10 s for an image of 400 kB."""
LEAST: Final = 1_000
"""Bytes a second below which one request counts as standing still, whatever trickles."""
BUFFER: Final = 128 * 1024
"""Bytes that the system may hold of what was written, so that what it took shows how fast the line is.

Left alone, Linux takes 4 MB at once, and a line of 75 kB/s then looks like a host that does not answer. With a
round trip of 100 ms this still sends 1.3 MB/s over each connection.
"""

_JOINED: Final = 64 * 1024
"""Bytes of a body's parts that are sent as one; a file is read in pieces of this length."""

FOREIGN: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    # httpcore lets this one through where a body ends before its declared length.
    h11.LocalProtocolError,
    OSError,
)


class UnreadAnswerError(HostError):
    """An answer that came, and that will not be read."""


class Sink(Protocol):
    """What takes an answer's body as it comes, in place of memory."""

    def begin(self, status: int, headers: Mapping[str, str]) -> bool:
        """Say whether the body is wanted; it is left unread otherwise."""
        ...

    def take(self, chunk: bytes) -> None:
        """Take the next bytes; raises `HostError` to stop."""
        ...


class Wire:
    """The connections of one client, each for one request at a time.

    A pool of httpcore's looks at all of its connections for each of them, twice a request, under one lock: with
    sixteen at work that is a third of what an upload takes. So pools only make connections here.
    """

    def __init__(self, timeout: float, environ: Mapping[str, str], connections: int) -> None:
        self._timeout = timeout
        self._environ = environ
        self._network = Deadlines()
        self._lock = threading.Lock()
        self._room = threading.Semaphore(connections)
        self._connections = connections
        self._pools: dict[tuple[str, Proxy | None], httpcore.ConnectionPool] = {}
        self._idle: list[httpcore.ConnectionInterface] = []
        """Those that wait for the next request, the one used last at the end."""
        self._busy: set[httpcore.ConnectionInterface] = set()
        self._agent = f"imghost/{version('imghost')}"
        self._url = lru_cache(maxsize=8)(httpx.URL)
        """Reads an address; uploads all go to the same one."""

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            connections = [*self._busy, *self._idle]
            self._idle.clear()
        for connection in connections:
            connection.close()

    def request(self, method: str, url: str, parts: dict[str, Any]) -> httpx.Request:
        """Put a request together; a file in it is read only when it is sent."""
        fixed = {"user-agent": self._agent, "accept": "*/*", "accept-encoding": "identity"}
        headers = {**fixed, **parts.get("headers", {})}
        try:
            request = httpx.Request(method, self._url(url), **{**parts, "headers": headers})
            if request.url.scheme in {"http", "https"} and request.url.host and (request.url.port or 1) < 65_536:
                return request
        except (httpx.InvalidURL, ValueError):
            pass
        raise HostError(
            Action.STOP,
            "the request cannot be written as HTTP",
            remedy="check the URL in `options`, and the credential for line ends and letters outside ASCII",
        )

    def exchange(
        self,
        request: httpx.Request,
        limit: int,
        *,
        cut: bool,
        sink: Sink | None = None,
        addresses: tuple[str, ...] = (),
        deadline: float | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request and read status, headers and body.

        It fails where nothing moves for the client's timeout; or at the `deadline`, whatever moves. Over `limit`
        bytes the body is cut, or refused; with a `sink` it goes there. With `addresses` only
        those are connected to, except by a proxy, which looks names up itself.
        """
        host, port = request.url.host, request.url.port or (443 if request.url.scheme == "https" else 80)
        proxy = proxy_for(host, port, self._environ) if request.url.scheme == "https" else None
        length = int(request.headers.get("content-length", "0"))
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        until = time.monotonic() + self._timeout if deadline is None else deadline
        exchange = Exchange(until, target, str(proxy or ""), addresses=() if proxy else addresses)
        if deadline is None and length:
            exchange.timeout, exchange.last = self._timeout, until + length / LEAST
        try:
            with self._network.follow(exchange, length):
                outgoing = self._outgoing(request)
                with self._connection(outgoing.url.origin, proxy) as connection:
                    return _received(connection, outgoing, limit, cut=cut, sink=sink)
        except FOREIGN as error:
            failure = _explained(error, exchange)
        except _RefusedError as error:
            failure = UnreadAnswerError(Action.RETRY, f"{exchange.target} {error}", is_ambiguous=True)
        # A question changes nothing at the host, however it ends.
        failure.is_ambiguous = failure.is_ambiguous and request.method not in {"GET", "HEAD"}
        raise failure

    def _outgoing(self, request: httpx.Request) -> httpcore.Request:
        url = request.url
        waits = dict.fromkeys(("connect", "read", "write"), self._timeout)
        return httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=_Joined(cast("Iterable[bytes]", request.stream)),
            extensions={"timeout": waits},
        )

    @contextmanager
    def _connection(self, origin: httpcore.Origin, proxy: Proxy | None) -> Iterator[httpcore.ConnectionInterface]:
        """Take a connection for one request: an idle one that leads there, or a new one."""
        if not self._room.acquire(timeout=self._timeout):
            raise httpcore.PoolTimeout
        try:
            connection = self._taken(origin, proxy)
            try:
                yield connection
            finally:
                self._put_back(connection)
        finally:
            self._room.release()

    def _taken(self, origin: httpcore.Origin, proxy: Proxy | None) -> httpcore.ConnectionInterface:
        pool = self._pool(origin.scheme.decode(), proxy)
        while True:
            with self._lock:
                kept = next((idle for idle in reversed(self._idle) if idle.can_handle_request(origin)), None)
                connection = kept or pool.create_connection(origin)
                self._idle = [idle for idle in self._idle if idle is not kept]
                self._busy.add(connection)
                surplus = max(0, len(self._idle) + len(self._busy) - self._connections)
                others, self._idle = self._idle[:surplus], self._idle[surplus:]
            for other in others:
                other.close()
            if not kept or not kept.has_expired():
                return connection
            self._end(connection)

    def _put_back(self, connection: httpcore.ConnectionInterface) -> None:
        """Keep a connection whose answer was read to its end; any other can carry no further request."""
        if not connection.is_available():
            self._end(connection)
            return
        with self._lock:
            self._busy.discard(connection)
            self._idle.append(connection)

    def _end(self, connection: httpcore.ConnectionInterface) -> None:
        with self._lock:
            self._busy.discard(connection)
        connection.close()

    def _pool(self, scheme: str, proxy: Proxy | None) -> httpcore.ConnectionPool:
        with self._lock:
            if (scheme, proxy) not in self._pools:
                self._pools[scheme, proxy] = self._made(scheme, proxy)
            return self._pools[scheme, proxy]

    def _made(self, scheme: str, proxy: Proxy | None) -> httpcore.ConnectionPool:
        shared: dict[str, Any] = {
            # Reading the certificates takes longer than a request on loopback, which needs none.
            "ssl_context": _trust(self._environ) if scheme == "https" else None,
            "keepalive_expiry": 5.0,
            "network_backend": self._network,
        }
        if proxy is None:
            return httpcore.ConnectionPool(**shared)
        own = _trust(self._environ) if proxy.scheme == "https" else None
        return httpcore.HTTPProxy(proxy.url, proxy_auth=proxy.auth, proxy_ssl_context=own, **shared)


class _Joined:
    """A request's body in large pieces.

    A form comes as a dozen parts of a few bytes, and each part that is sent alone is a packet, a call of the system
    and, among many threads, a wait for the interpreter.
    """

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        kept = bytearray()
        for part in self._parts:
            if kept and len(kept) + len(part) > _JOINED:
                yield bytes(kept)
                kept.clear()
            kept += part
        if kept:
            yield bytes(kept)


class _RefusedError(Exception):
    """Why an answer that came will not be read, without the host's name."""


def _received(
    connection: httpcore.ConnectionInterface, request: httpcore.Request, limit: int, *, cut: bool, sink: Sink | None
) -> tuple[int, dict[str, str], bytes]:
    response = connection.handle_request(request)
    try:
        headers = _headers(response)
        body = bytearray()
        is_wanted = sink is None or sink.begin(response.status, headers)
        for chunk in response.iter_stream() if is_wanted else ():
            if sink is not None:
                sink.take(chunk)
                continue
            body += chunk
            if len(body) > limit:
                break
    finally:
        response.close()
    if len(body) > limit and not cut:
        raise _RefusedError(f"gave an answer that is too long, over {limit} bytes")
    return response.status, headers, bytes(body[:limit])


def _headers(response: httpcore.Response) -> dict[str, str]:
    if sum(len(name) + len(value) for name, value in response.headers) > HEADERS:
        raise _RefusedError(f"gave headers that are too long, over {HEADERS} bytes")
    if response.status < 200:
        raise _RefusedError("changed the protocol, which nobody asked for")
    headers: dict[str, str] = {}
    for raw, value in response.headers:
        name = raw.decode("latin-1").lower()
        text = value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    if headers.get("content-encoding", "identity").strip().lower() not in {"identity", ""}:
        raise _RefusedError("gave a compressed answer, which nobody asked for")
    return headers


def _explained(error: Exception, exchange: Exchange) -> HostError:
    """Say what a failure means for the upload, by how far the request had come."""
    if isinstance(error, OSError):
        return HostError(Action.FILE, f"the file to send cannot be read: {error.strerror}")
    if isinstance(error, (httpcore.LocalProtocolError, h11.LocalProtocolError, httpcore.UnsupportedProtocol)):
        return _unsendable(exchange)
    if exchange.proxy and exchange.stage in {Stage.CONNECT, Stage.TUNNEL}:
        return _proxied(error, exchange)
    if exchange.stage is Stage.CONNECT:
        return HostError(
            Action.RETRY, f"{exchange.target} {_unreached(error, exchange.cause)}", remedy="check the network"
        )
    if exchange.stage is Stage.TLS:
        return _untrusted(exchange)
    is_slow = isinstance(error, httpcore.TimeoutException) and exchange.timeout > 0
    remedy = "on a slow line, set a smaller 'concurrency' or a larger 'timeout'" if is_slow else ""
    return HostError(Action.RETRY, f"{exchange.target} {_broken(error)}", remedy=remedy, is_ambiguous=exchange.sent > 0)


def _unsendable(exchange: Exchange) -> HostError:
    if exchange.sent and exchange.stage is Stage.OPEN:
        return HostError(Action.FILE, "the file changed while it was sent", is_ambiguous=True)
    return HostError(
        Action.STOP,
        f"the request to {exchange.target} cannot be written as HTTP",
        remedy="check the credential for line ends and letters outside ASCII",
    )


def _proxied(error: Exception, exchange: Exchange) -> HostError:
    said = f" ({printable(error, 60)})" if isinstance(error, httpcore.ProxyError) else ""
    return HostError(
        Action.STOP,
        f"the proxy {exchange.proxy} does not lead to {exchange.target}{said}",
        remedy="check HTTPS_PROXY, or name the host in NO_PROXY",
    )


def _untrusted(exchange: Exchange) -> HostError:
    cause = exchange.cause
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
        detail = getattr(cause, "verify_message", "") or cause.reason or "TLS failed"
        return HostError(
            Action.STOP,
            f"{exchange.target} cannot be trusted: {printable(detail)}",
            remedy="if a proxy opens TLS here, name its certificates in SSL_CERT_FILE",
        )
    return HostError(Action.RETRY, f"{exchange.target} broke off while TLS began")


def _unreached(error: Exception, cause: BaseException | None) -> str:
    if isinstance(error, httpcore.PoolTimeout):
        return "has no connection free"
    if isinstance(error, httpcore.TimeoutException):
        return "does not answer"
    if isinstance(cause, (socket.gaierror, UnicodeError)):
        return "does not resolve to an address"
    return f"cannot be reached ({printable(getattr(cause, 'strerror', None) or 'no route')})"


def _broken(error: Exception) -> str:
    if isinstance(error, httpcore.WriteTimeout):
        return "took no more of the upload"
    if isinstance(error, httpcore.TimeoutException):
        return "did not finish its answer in time"
    if isinstance(error, httpcore.RemoteProtocolError):
        return "did not give a whole HTTP answer"
    return "broke the connection"


def _trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Make the one TLS context there is: certificates are always verified."""
    # The second is what the AWS tools read; who has named certificates for S3 has named them for this build.
    file, folder = environ.get("SSL_CERT_FILE") or environ.get("AWS_CA_BUNDLE"), environ.get("SSL_CERT_DIR")
    try:
        return ssl.create_default_context(cafile=file or (None if folder else certifi.where()), capath=folder or None)
    except (OSError, ValueError):
        name = printable(file or folder)
    raise HostError(
        Action.STOP,
        f"the certificates in {name} cannot be read",
        remedy="correct SSL_CERT_FILE, AWS_CA_BUNDLE or SSL_CERT_DIR",
    )


# No HTTP library has a deadline for a whole request: a server that drips one byte a second holds a client
# for ever. httpcore lets the network below it be replaced, which is where a deadline can be kept.
PIECE: Final = 16 * 1024
"""Bytes written between two looks at the deadline."""


class Stage(Enum):
    """How far a request has come, which decides what a failure means."""

    CONNECT = "connect"
    TUNNEL = "tunnel"
    TLS = "tls"
    OPEN = "open"


@dataclass(slots=True)
class Exchange:
    """One request on the wire, followed by the connection that carries it."""

    deadline: float
    """On the monotonic clock."""
    target: str
    """`host:port`, safe to print."""
    proxy: str = ""
    """The proxy's `host:port`, or empty."""
    stage: Stage = Stage.CONNECT
    sent: int = 0
    """Bytes given to the connection to the host; nothing has reached it while this is 0."""
    cause: BaseException | None = None
    """Why it could not connect, by the operating system or TLS; httpcore does not pass it on."""
    addresses: tuple[str, ...] = ()
    """The only addresses to connect to; empty = those that the name resolves to."""
    timeout: float = 0.0
    """Seconds that a request with a body may stand still; 0 = the deadline is fixed."""
    last: float = 0.0
    """The moment at which such a request ends, however it moves."""
    began: float = 0.0
    """When its first byte was written; 0 = not yet, or the answer is awaited."""
    may_wait: bool = False

    def moved(self) -> None:
        """Count the time of standing still anew: a piece of the body was taken."""
        if self.timeout:
            now = time.monotonic()
            self.began = self.began or now
            self.deadline = min(self.last, now + self.timeout)

    def awaited(self, in_flight: int) -> None:
        """Give the answer its time, from when the body was taken until what the line still holds of it has gone.

        That is what this request's own speed says of the buffers on the way, or what all bodies that are in
        flight need at the least rate. Idempotent until more is written.
        """
        if not self.timeout or not self.began:
            return
        now = time.monotonic()
        behind = min(self.sent, 2 * BUFFER) * (now - self.began) / max(self.sent, 1)
        self.deadline = now + self.timeout + max(behind, in_flight / RATE)
        self.began, self.may_wait = 0.0, True

    def waits_on(self, in_flight: int) -> bool:
        """Say whether to wait once more: for the bodies that others have begun to send meanwhile."""
        if self.may_wait:
            self.deadline = time.monotonic() + in_flight / RATE
        was, self.may_wait = self.may_wait, False
        return was

    def left(self, timeout: float | None, late: type[httpcore.TimeoutException]) -> float:
        """Give the seconds that one wait may take; raises `late` where there are none."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise late("the deadline has passed")
        return seconds if timeout is None else min(seconds, timeout)


class Deadlines(httpcore.NetworkBackend):
    """The network, as seen by the request of the current thread."""

    def __init__(self) -> None:
        self._tcp = httpcore.SyncBackend()
        self._local = threading.local()
        self._lock = threading.Lock()
        self.in_flight = 0
        """Bytes of the bodies that are being sent now, or whose answers are awaited."""

    @property
    def exchange(self) -> Exchange:
        """What the current thread is about."""
        current: Exchange = self._local.exchange
        return current

    @contextmanager
    def follow(self, exchange: Exchange, length: int) -> Iterator[None]:
        """Make the current thread's connections keep to this exchange, whose body has so many bytes."""
        self._local.exchange = exchange
        self._count(length)
        try:
            yield
        finally:
            self._count(-length)
            del self._local.exchange

    def _count(self, length: int) -> None:
        with self._lock:
            self.in_flight += length

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers, with the time shared between them."""
        exchange = self.exchange
        try:
            # Never looked up again: a second answer could be another than the one that was checked.
            addresses = exchange.addresses or _addresses(host, port)
        except (OSError, UnicodeError) as error:
            exchange.cause = error
            raise httpcore.ConnectError("the name does not resolve") from None
        for number, address in enumerate(addresses, 1):
            wait = exchange.left(timeout, httpcore.ConnectTimeout) / (len(addresses) - number + 1)
            try:
                narrow = (*(socket_options or ()), (socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER))
                stream = self._tcp.connect_tcp(address, port, wait, local_address, narrow)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                exchange.cause = error.__cause__
                if number == len(addresses):
                    raise
            else:
                exchange.stage = Stage.TUNNEL if exchange.proxy else Stage.OPEN
                return Stream(stream, self)
        raise httpcore.ConnectError("the name has no address")


class Stream(httpcore.NetworkStream):
    """A connection that counts what is sent and ends every wait by the deadline."""

    def __init__(self, inner: httpcore.NetworkStream, network: Deadlines) -> None:
        self._inner = inner
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come, at most `max_bytes`."""
        exchange = self._network.exchange
        exchange.awaited(self._network.in_flight)
        while True:
            # By the deadline alone, which for an upload is longer than one wait.
            wait = exchange.left(None if exchange.timeout else timeout, httpcore.ReadTimeout)
            try:
                return self._inner.read(max_bytes, wait)
            except httpcore.ReadTimeout:
                if not exchange.waits_on(self._network.in_flight):
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write everything, a piece at a time."""
        exchange = self._network.exchange
        # A kept connection is open from the start.
        exchange.stage = Stage.OPEN if exchange.stage is Stage.CONNECT else exchange.stage
        if exchange.stage is Stage.TUNNEL and exchange.target.startswith("["):
            # httpcore writes an address of the sixth version without the brackets that RFC 9112, 3.2.3 has.
            buffer = buffer.replace(re.sub(r"[\[\]]", "", exchange.target).encode(), exchange.target.encode())
        for start in range(0, len(buffer), PIECE):
            wait = exchange.left(timeout, httpcore.WriteTimeout)
            piece = buffer[start : start + PIECE]
            # Counted before it is written: a write that fails may have reached the host in part.
            exchange.sent += len(piece)
            self._inner.write(piece, wait)
            exchange.moved()

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Begin TLS with the proxy (before CONNECT is sent) or with the host."""
        exchange = self._network.exchange
        is_proxy = bool(exchange.proxy) and exchange.sent == 0
        exchange.stage = Stage.TUNNEL if is_proxy else Stage.TLS
        wait = exchange.left(timeout, httpcore.ConnectTimeout)
        try:
            stream = self._inner.start_tls(ssl_context, server_hostname, wait)
        except httpcore.ConnectError as error:
            exchange.cause = error.__cause__
            raise
        if not is_proxy:
            # What went to the proxy for CONNECT was no part of the request.
            exchange.stage, exchange.sent = Stage.OPEN, 0
        return Stream(stream, self._network)

    def get_extra_info(self, info: str) -> Any:
        """Tell what httpcore asks of a connection."""
        return self._inner.get_extra_info(info)


def _addresses(host: str, port: int) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, with its credentials out of sight."""

    scheme: str
    host: str
    port: int
    auth: tuple[bytes, bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, without credentials."""
        return f"{self.scheme}://{self}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"<Proxy {self}>"


def proxy_for(host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    """Find the proxy for an https host: HTTPS_PROXY, else ALL_PROXY, unless NO_PROXY names the host.

    Raises:
        HostError: the variable does not hold an http or https proxy (STOP).
    """
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        if text := environ.get(name, "").strip():
            return None if _is_exempt(host, port, environ) else _parsed(name, text)
    return None


def _is_exempt(host: str, port: int, environ: Mapping[str, str]) -> bool:
    """Say whether NO_PROXY names the host, in the forms that curl and requests read: names, addresses, networks."""
    listed = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    return any(_is_named(host, port, entry) for entry in listed.lower().replace(",", " ").split())


def _is_named(host: str, port: int, entry: str) -> bool:
    name, only = entry, ""
    if entry.startswith("[") or entry.count(":") == 1:
        # An address of the sixth version has its port behind brackets only.
        name, _, only = entry.rpartition(":") if entry.rpartition(":")[2].isdigit() else (entry, "", "")
    if only and int(only) != port:
        return False
    name = name.strip("[]")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    except ValueError:
        domain = name.removeprefix("*").removeprefix(".")
        return entry == "*" or (bool(domain) and (host == domain or host.endswith(f".{domain}")))


def _parsed(name: str, text: str) -> Proxy:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in {"http", "https"} or not host:
        # The value may hold a password, so only its name is told.
        raise HostError(Action.STOP, f"{name} is not an http or https proxy", remedy="write it as http://host:port")
    auth = None
    if parts.username is not None:
        auth = unquote(parts.username).encode(), unquote(parts.password or "").encode()
    return Proxy(scheme, host, port or (443 if scheme == "https" else 80), auth)
