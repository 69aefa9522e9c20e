"""Connections whose every wait ends by the deadline of the request that uses them.

No HTTP library has a deadline for a whole request: a server that drips one byte a second holds a client
for ever. httpcore lets the network below it be replaced, which is where a deadline can be kept.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import httpcore

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

    @property
    def exchange(self) -> Exchange:
        """What the current thread is about."""
        current: Exchange = self._local.exchange
        return current

    @contextmanager
    def follow(self, exchange: Exchange) -> Iterator[None]:
        """Make the current thread's connections keep to this exchange."""
        self._local.exchange = exchange
        try:
            yield
        finally:
            del self._local.exchange

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
                stream = self._tcp.connect_tcp(address, port, wait, local_address, socket_options)
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
        return self._inner.read(max_bytes, self._network.exchange.left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write everything, a piece at a time."""
        exchange = self._network.exchange
        # A kept connection is open from the start.
        exchange.stage = Stage.OPEN if exchange.stage is Stage.CONNECT else exchange.stage
        for start in range(0, len(buffer), PIECE):
            wait = exchange.left(timeout, httpcore.WriteTimeout)
            piece = buffer[start : start + PIECE]
            # Counted before it is written: a write that fails may have reached the host in part.
            exchange.sent += len(piece)
            self._inner.write(piece, wait)

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
