"""An external image fetched, from public addresses only."""

from __future__ import annotations

import os
import re
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from imghost.errors import Action, HostError
from imghost.threads import Worker
from imghost.urls import ExternalUrl, absolute, external_url, key_of
from imghost.wording import printable

if TYPE_CHECKING:
    import httpx

    from imghost.net.wire import Wire


# Nothing is sent but the URL; only public addresses are asked, also after redirects; size, time and the
# number of redirects are capped. What comes is written to a private file and not looked at: the caller
# judges the bytes.
LIMIT: Final = 20_000_000
"""Bytes of the largest image that is downloaded."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST: Final = 3
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_IMAGE: Final = re.compile(r"image/[a-z0-9.+-]+[ \t]*(?:;.*)?", re.I | re.A)
_REMEDY: Final = "take it out of 'remote', or put the image into the site"


def download(
    url: str,
    folder: Path,
    *,
    environ: Mapping[str, str],
    timeout: float = 30.0,
    limit: int = LIMIT,
    resolve: Resolve | None = None,
) -> Path:
    """Fetch an image by its URL into a new file of `folder` that only this user can read.

    `timeout` is in seconds for everything together, name look-ups and redirects too. The address
    that was checked is the one that is connected to; a proxy of `environ` looks the name up itself,
    after it was checked here.

    Raises:
        HostError: there is no image (FILE), or none now (RETRY); no message has a path or a query.
    """
    from imghost.net.wire import UnreadAnswerError, Wire

    deadline = time.monotonic() + timeout
    try:
        with closing(Wire(timeout, environ, 1)) as wire, _Copy(folder, key_of(url)[:12], limit) as copy:
            _follow(url, wire, copy, environ, deadline, resolve)
            return copy.kept()
    except UnreadAnswerError as error:
        failure = HostError(Action.FILE, error.reason, remedy=_REMEDY)
    except HostError as error:
        # What a stranger's server does stops nobody else's image.
        action = Action.RETRY if error.action is Action.RETRY else Action.FILE
        failure = HostError(action, error.reason, remedy=error.remedy)
    raise failure


class _Copy:
    """A new private file for an answer's body, which goes away unless it is kept."""

    def __init__(self, folder: Path, name: str, limit: int) -> None:
        self._folder = folder
        self._name = name
        self._limit = limit
        self._host = ""
        self._left = limit
        self._begun: list[Path] = []
        self._descriptor = -1

    def __enter__(self) -> _Copy:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        for path in self._begun:
            path.unlink(missing_ok=True)

    def expect(self, host: str) -> None:
        """Say whose answer comes next, for messages."""
        self._host = host

    def begin(self, status: int, headers: Mapping[str, str]) -> bool:
        """Open the file for an answer that is an image."""
        if status != 200:
            return False
        if not _IMAGE.fullmatch(headers.get("content-type", "")):
            kind = printable(headers.get("content-type", "") or "nothing that it names", 60)
            raise HostError(Action.FILE, f"{self._host} gave {kind} in place of an image", remedy=_REMEDY)
        length = headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 18 or int(length) > self._limit):
            raise self._too_large()
        try:
            self._descriptor, path = tempfile.mkstemp(prefix=f"{self._name}-", dir=self._folder)
        except OSError as error:
            raise self._unwritten(error) from None
        self._begun.append(Path(path))
        return True

    def take(self, chunk: bytes) -> None:
        """Write the next bytes, unless they are too many."""
        self._left -= len(chunk)
        if self._left < 0:
            raise self._too_large()
        try:
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise self._unwritten(error) from None

    def kept(self) -> Path:
        """Give the whole file, to stay."""
        self._close()
        return self._begun.pop()

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _too_large(self) -> HostError:
        return HostError(Action.FILE, f"{self._host} gave more than {self._limit:,} bytes", remedy=_REMEDY)

    def _unwritten(self, error: OSError) -> HostError:
        return HostError(Action.FILE, f"the download cannot be written: {error.strerror}", remedy="make room for it")


def _follow(
    url: str, wire: Wire, copy: _Copy, environ: Mapping[str, str], deadline: float, resolve: Resolve | None
) -> None:
    """Ask the URL, and where it leads, until an answer's body is in the copy."""
    here = _plain(url, "it")
    for _ in range(_MOST + 1):
        addresses = public_addresses(here, environ, resolve=resolve, deadline=deadline)
        copy.expect(here.name)
        request = _request(wire, here)
        status, headers, _body = wire.exchange(request, 0, cut=False, sink=copy, addresses=addresses, deadline=deadline)
        if status == 200:
            return
        if status not in _REDIRECTS:
            action = Action.RETRY if status in _PASSING else Action.FILE
            raise HostError(action, f"{here.name} answered {status}", remedy=_REMEDY)
        here = _next(here, request.url, headers.get("location", ""))
    raise HostError(Action.FILE, f"{here.name} redirects more than {_MOST} times", remedy=_REMEDY)


def _plain(url: str, name: str) -> ExternalUrl:
    found = external_url(url)
    if found is None:
        # The URL may hold a password, so it is not shown.
        raise HostError(Action.FILE, f"{name} is not a plain http or https URL", remedy=_REMEDY)
    return found


def _request(wire: Wire, here: ExternalUrl) -> httpx.Request:
    try:
        return wire.request("GET", absolute(str(here)), {})
    except HostError:
        reason = f"{here.name} is not a name that a host can have"
    raise HostError(Action.FILE, reason, remedy=_REMEDY)


def _next(here: ExternalUrl, asked: httpx.URL, location: str) -> ExternalUrl:
    """Resolve a redirect, and refuse one that leaves https."""
    import httpx

    try:
        there = str(asked.join(location)) if location else ""
    except (httpx.InvalidURL, ValueError):
        there = ""
    found = _plain(there, f"what {here.name} redirects to")
    if here.scheme == "https" and found.scheme != "https":
        raise HostError(Action.FILE, f"{here.name} redirects from https to http, which is refused", remedy=_REMEDY)
    return found


# The lists go beyond `ipaddress`, whose own differ between Python's releases.
ALLOWED: Final = "IMGHOST_ALLOW_REMOTE"
"""The environment variable that names hosts of an intranet, as `host` or `host:port`."""

Resolve = Callable[[str, int], Sequence[str]]
"""Gives the addresses of a host; raises `OSError` or `ValueError`."""

_PATIENCE: Final = 10.0
"""Seconds that a look-up may take at most."""

_REMEDY_PRIVATE: Final = f"take it out of 'remote', or name the host in the environment variable {ALLOWED}"
_SPECIAL_4: Final = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments; a cloud keeps its keys at 192.0.0.192
    IPv4Network("192.88.99.0/24"),  # relays to the nearest IPv6, wherever they lead
    IPv4Network("168.63.129.16/32"),  # looks public, and is the inside of a cloud that runs many builds
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_UNICAST_6: Final = IPv6Network("2000::/3")
_SPECIAL_6: Final = (
    IPv6Network("2001::/23"),  # protocol assignments, tunnels that hold an IPv4 address among them
    IPv6Network("2001:db8::/32"),
    IPv6Network("3fff::/20"),
)
_NUMERIC: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


def is_public(text: str) -> bool:
    """Say whether an address belongs to one machine that everybody can reach: global unicast."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return _is_public_4(address)
    if address.scope_id is not None:
        return False
    # What leads to an IPv4 address is judged by that address.
    if address in _NAT64:
        return _is_public_4(IPv4Address(int(address) & 0xFFFF_FFFF))
    if address.sixtofour is not None:
        return _is_public_4(address.sixtofour)
    return _is_public_6(address)


def check_public(url: str, environ: Mapping[str, str]) -> None:
    """Refuse a URL whose host is not everybody's, by what it resolves to now.

    Raises:
        HostError: it is refused (FILE), or the name does not resolve (RETRY).
    """
    found = external_url(url)
    if found is None:
        raise HostError(Action.FILE, "it is not a plain http or https URL", remedy="take it out of 'remote'")
    public_addresses(found, environ)


def public_addresses(
    found: ExternalUrl, environ: Mapping[str, str], *, resolve: Resolve | None = None, deadline: float | None = None
) -> tuple[str, ...]:
    """Look a host up once and give its addresses, all of them public: what may be connected to.

    Hosts named in IMGHOST_ALLOW_REMOTE may be anywhere. `deadline` is on the monotonic clock.

    Raises:
        HostError: one of them is not public, or the port is none of a web server's (FILE), or there
            is no address in time (RETRY).
    """
    name = f"[{found.host}]" if ":" in found.host else found.host
    literal = _literal(found.host)
    if literal is None and (":" in found.host or _NUMERIC.fullmatch(found.host)):
        # Systems read such numbers in different ways.
        raise HostError(Action.FILE, f"{name} is an address in an unusual spelling", remedy="write it plainly")
    is_allowed = _is_allowed(name, found.port, environ)
    if not is_allowed and found.port not in {80, 443}:
        raise HostError(
            Action.FILE, f"{name}:{found.port} is not on a web server's port, 80 or 443", remedy=_REMEDY_PRIVATE
        )
    addresses = (found.host,) if literal else _looked_up(found, resolve or look_up, deadline)
    if not is_allowed and not all(map(is_public, addresses)):
        verb = "is" if literal else "resolves to"
        raise HostError(Action.FILE, f"{name} {verb} an address that is not public", remedy=_REMEDY_PRIVATE)
    return addresses


def look_up(host: str, port: int) -> tuple[str, ...]:
    """Ask the system for a host's addresses."""
    return tuple(str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _looked_up(found: ExternalUrl, resolve: Resolve, deadline: float | None) -> tuple[str, ...]:
    """Look a name up in time: the system's own look-up has no limit that could be set."""
    answers: SimpleQueue[tuple[str, ...]] = SimpleQueue()

    def ask() -> None:
        addresses: tuple[str, ...] = ()
        try:
            addresses = tuple(dict.fromkeys(resolve(found.host, found.port)))
        except (OSError, ValueError):
            pass
        finally:
            answers.put(addresses)

    # A daemon, since a look-up that hangs must not hold the build's end.
    try:
        Worker(ask).start()
    except RuntimeError as problem:
        raise MemoryError(f"{problem}") from None
    left = _PATIENCE if deadline is None else min(max(deadline - time.monotonic(), 0), _PATIENCE)
    try:
        addresses = answers.get(timeout=left)
    except Empty:
        addresses = ()
    if addresses:
        return addresses
    raise HostError(Action.RETRY, f"{found.name} does not resolve to an address", remedy="check the name")


def _is_allowed(name: str, port: int, environ: Mapping[str, str]) -> bool:
    listed = re.split(r"[\s,]+", environ.get(ALLOWED, "").lower())
    return not {name, name.strip("[]"), f"{name}:{port}"}.isdisjoint(listed)


def _is_public_4(address: IPv4Address) -> bool:
    is_special = any(address in network for network in _SPECIAL_4)
    return address.is_global and not (address.is_multicast or address.is_reserved or is_special)


def _is_public_6(address: IPv6Address) -> bool:
    is_special = any(address in network for network in _SPECIAL_6)
    return address.is_global and address in _UNICAST_6 and not is_special
