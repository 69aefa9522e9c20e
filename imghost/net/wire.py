"""One request and its answer on the wire, and what it means when there is none.

A message names the host and what to change; never a header, a URL's path or query, or what a library
says of the request. Errors are raised outside of the `except` clauses, so that no traceback holds
the library's exception, which holds the request and its secrets.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final, Protocol

import certifi
import h11
import httpcore
import httpx

from imghost.connections import Deadlines, Exchange, Stage
from imghost.errors import Action, HostError
from imghost.proxies import Proxy, proxy_for
from imghost.wording import printable

HEADERS: Final = 16 * 1024
"""Bytes of an answer's headers that are accepted."""

RATE: Final = 100_000
"""Bytes a second that a connection is expected to send at least."""

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
    """The connections of one client: a pool for direct ones, and one for each proxy."""

    def __init__(self, timeout: float, environ: Mapping[str, str], connections: int) -> None:
        self._timeout = timeout
        self._environ = environ
        self._connections = connections
        self._network = Deadlines()
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, Proxy | None], httpcore.ConnectionPool] = {}
        self._agent = f"imghost/{version('imghost')}"

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()

    def request(self, method: str, url: str, parts: dict[str, Any]) -> httpx.Request:
        """Put a request together; a file in it is read only when it is sent."""
        fixed = {"user-agent": self._agent, "accept": "*/*", "accept-encoding": "identity"}
        headers = {**fixed, **parts.get("headers", {})}
        try:
            request = httpx.Request(method, url, **{**parts, "headers": headers})
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
        """Send a request and read status, headers and body, all before the deadline.

        Over `limit` bytes the body is cut, or refused; with a `sink` it goes there. With `addresses`
        only those are connected to, except by a proxy, which looks names up itself.
        """
        host, port = request.url.host, request.url.port or (443 if request.url.scheme == "https" else 80)
        proxy = proxy_for(host, port, self._environ) if request.url.scheme == "https" else None
        seconds = self._timeout + int(request.headers.get("content-length", "0")) / RATE
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        until = time.monotonic() + seconds if deadline is None else deadline
        exchange = Exchange(until, target, str(proxy or ""), addresses=() if proxy else addresses)
        try:
            with self._network.follow(exchange):
                pool = self._pool(request.url.scheme, proxy)
                return _received(pool, self._outgoing(request), limit, cut=cut, sink=sink)
        except FOREIGN as error:
            failure = _explained(error, exchange)
        except _RefusedError as error:
            failure = UnreadAnswerError(Action.RETRY, f"{exchange.target} {error}", is_ambiguous=True)
        # A question changes nothing at the host, however it ends.
        failure.is_ambiguous = failure.is_ambiguous and request.method not in {"GET", "HEAD"}
        raise failure

    def _outgoing(self, request: httpx.Request) -> httpcore.Request:
        url = request.url
        waits = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout)
        return httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions={"timeout": waits},
        )

    def _pool(self, scheme: str, proxy: Proxy | None) -> httpcore.ConnectionPool:
        with self._lock:
            if (scheme, proxy) not in self._pools:
                self._pools[scheme, proxy] = self._made(scheme, proxy)
            return self._pools[scheme, proxy]

    def _made(self, scheme: str, proxy: Proxy | None) -> httpcore.ConnectionPool:
        shared: dict[str, Any] = {
            # Reading the certificates takes longer than a request on loopback, which needs none.
            "ssl_context": _trust(self._environ) if scheme == "https" else None,
            "max_connections": self._connections,
            "max_keepalive_connections": self._connections,
            "keepalive_expiry": 5.0,
            "network_backend": self._network,
        }
        if proxy is None:
            return httpcore.ConnectionPool(**shared)
        own = _trust(self._environ) if proxy.scheme == "https" else None
        return httpcore.HTTPProxy(proxy.url, proxy_auth=proxy.auth, proxy_ssl_context=own, **shared)


class _RefusedError(Exception):
    """Why an answer that came will not be read, without the host's name."""


def _received(
    pool: httpcore.ConnectionPool, request: httpcore.Request, limit: int, *, cut: bool, sink: Sink | None
) -> tuple[int, dict[str, str], bytes]:
    response = pool.handle_request(request)
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
    return HostError(Action.RETRY, f"{exchange.target} {_broken(error)}", is_ambiguous=exchange.sent > 0)


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
    if isinstance(error, httpcore.TimeoutException):
        return "did not finish its answer in time"
    if isinstance(error, httpcore.RemoteProtocolError):
        return "did not give a whole HTTP answer"
    return "broke the connection"


def _trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Make the one TLS context there is: certificates are always verified."""
    file, folder = environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR")
    try:
        return ssl.create_default_context(cafile=file or (None if folder else certifi.where()), capath=folder or None)
    except (OSError, ValueError):
        name = printable(file or folder)
    raise HostError(
        Action.STOP,
        f"the certificates in {name} cannot be read",
        remedy="correct SSL_CERT_FILE or SSL_CERT_DIR",
    )
