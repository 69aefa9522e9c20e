"""A page's own Content-Security-Policy: whether it lets a browser load images from an origin (CSP level 3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit


def blocks(policies: Iterable[str], origins: Iterable[str]) -> bool:
    """Say whether any of the policies forbids images from any of the origins (`scheme://host[:port]`)."""
    origins = tuple(origins)
    return any(not _allows(policy, origin) for policy in policies for origin in origins)


def _allows(policy: str, origin: str) -> bool:
    directives: dict[str, list[str]] = {}
    for directive in policy.split(";"):
        name, *sources = directive.split() or [""]
        directives.setdefault(name.lower(), sources)
    sources = directives.get("img-src", directives.get("default-src"))
    return sources is None or any(_matches(source.lower(), origin) for source in sources)


def _matches(source: str, origin: str) -> bool:
    parts = urlsplit(origin)
    if source == "*":
        return True
    if source.endswith(":"):
        return source[:-1] == parts.scheme or (source == "http:" and parts.scheme == "https")
    found = re.fullmatch(r"(?:([a-z][a-z0-9+.\-]*)://)?(\*|(?:\*\.)?[^/:*']+)(?::(\d+|\*))?(/.*)?", source)
    if not found or found[4] not in {None, "/"}:
        return False
    scheme, host, port = found[1], found[2], found[3]
    own = parts.hostname or ""
    is_host = host in {"*", own} or (host.startswith("*.") and own.endswith(host[1:]))
    is_port = port == "*" or (str(parts.port) if parts.port else None) == port or (port == "443" and not parts.port)
    return is_host and is_port and scheme in {None, parts.scheme, "http" if parts.scheme == "https" else None}
