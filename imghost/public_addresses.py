"""Which addresses are everybody's: a stranger's page must not make this machine ask its own network.

The lists go beyond `ipaddress`, whose own differ between Python's releases.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from queue import Empty, SimpleQueue
from typing import Final

from imghost.errors import Action, HostError
from imghost.urls import ExternalUrl, external_url

ALLOWED: Final = "IMGHOST_ALLOW_REMOTE"
"""The environment variable that names hosts of an intranet, as `host` or `host:port`."""

Resolve = Callable[[str, int], Sequence[str]]
"""Gives the addresses of a host; raises `OSError` or `ValueError`."""

_PATIENCE: Final = 10.0
"""Seconds that a look-up may take at most."""

_REMEDY: Final = f"take it out of 'remote', or name the host in the environment variable {ALLOWED}"
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
        raise HostError(Action.FILE, f"{name}:{found.port} is not on a web server's port, 80 or 443", remedy=_REMEDY)
    addresses = (found.host,) if literal else _looked_up(found, resolve or look_up, deadline)
    if not is_allowed and not all(map(is_public, addresses)):
        verb = "is" if literal else "resolves to"
        raise HostError(Action.FILE, f"{name} {verb} an address that is not public", remedy=_REMEDY)
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
    threading.Thread(target=ask, name="imghost-look-up", daemon=True).start()
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
