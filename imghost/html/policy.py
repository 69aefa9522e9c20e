"""A page's own Content-Security-Policy: whether it lets a browser load images from an origin (CSP level 3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_PORTS: Final = {"http": "80", "https": "443"}
_SOURCE: Final = re.compile(
    r"(?:([a-z][a-z0-9+.\-]*)://)?(\*|\[[0-9a-f:.]+\]|(?:\*\.)?[^/:*']+)(?::([0-9]+|\*))?(/.*)?"
)
_STRICTER: Final = ("'nonce-", "'sha256-", "'sha384-", "'sha512-", "'strict-dynamic'")


def blocks(policies: Iterable[str], origins: Iterable[str], directive: str = "img-src") -> bool:
    """Say whether any of the policies forbids images from any of the origins (`scheme://host[:port]`).

    For object and embed elements the directive is `object-src`.
    """
    origins = tuple(origins)
    return any(not _allows(policy, origin, directive) for policy in policies for origin in origins)


def allows_inline(policies: Iterable[str], directive: str) -> bool:
    """Say whether all of the policies let what stands in the page itself run or apply.

    The directive is `script-src-attr` for event handlers and `style-src-elem` for style elements.
    """
    return all(_allows_inline(policy, directive) for policy in policies)


def _allows_inline(policy: str, wanted: str) -> bool:
    directives = _directives(policy)
    names = (wanted, wanted.rpartition("-")[0], "default-src")
    found = next((directives[name] for name in names if name in directives), None)
    if found is None:
        return True
    sources = {source.lower() for source in found}
    # Beside a nonce or a hash, 'unsafe-inline' does not count.
    return "'unsafe-inline'" in sources and not any(source.startswith(_STRICTER) for source in sources)


def _directives(policy: str) -> dict[str, list[str]]:
    directives: dict[str, list[str]] = {}
    for directive in policy.split(";"):
        name, *sources = directive.split() or [""]
        directives.setdefault(name.lower(), sources)
    return directives


def _allows(policy: str, origin: str, wanted: str) -> bool:
    directives = _directives(policy)
    images = directives.get(wanted, directives.get("default-src"))
    return images is None or any(_matches(source.lower(), origin) for source in images)


def _matches(source: str, origin: str) -> bool:
    scheme, own, port = _parts(origin)
    if source == "*":
        return True
    if source.endswith(":"):
        return source[:-1] in _upgraded(scheme)
    found = _SOURCE.fullmatch(source)
    if not found or found[4] not in {None, "/"}:
        return False
    host = found[2]
    is_host = host in {"*", own} or (host.startswith("*.") and own.endswith(host[1:]))
    is_port = found[3] == "*" or (found[3] or _PORTS.get(scheme)) == port
    return is_host and is_port and (found[1] is None or found[1] in _upgraded(scheme))


def _parts(origin: str) -> tuple[str, str, str | None]:
    """Split an origin without ever failing: what cannot be one matches no source."""
    scheme, _, authority = origin.lower().partition("://")
    host, colon, port = authority.rpartition(":")
    if colon and port.isdecimal():
        return scheme, host, port
    return scheme, authority, _PORTS.get(scheme)


def _upgraded(scheme: str) -> frozenset[str]:
    """List the schemes in a policy that let this one through: http lets https through, too."""
    return frozenset({scheme, "http"} if scheme == "https" else {scheme})
