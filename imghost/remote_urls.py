"""Which external image URLs are meant by the option `remote`, and what each is known by; pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple
from urllib.parse import quote

LONGEST: Final = 2_000
"""Characters of the longest URL that is asked."""

# Without re.A, ſ and the Kelvin sign would count as s and k.
_URL: Final = re.compile(
    r"(?:(?P<scheme>https?):)?//"
    r"(?P<host>[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{0,9}))?"
    r"(?P<rest>(?:[/?][^\x00-\x1f\x7f\"<>\\^`{|}#]*)?)"
    r"(?:#[^\x00-\x1f\x7f]*)?",
    re.A | re.I,
)
_DOTS: Final = re.compile(r"/(?:\.|%2e){1,2}(?:/|\Z)", re.A | re.I)
_AUTHORITY: Final = re.compile(r"[^:/]*://((?:\[[^\]]*\]|[^/\[])*)/")
_KEPT: Final = "/?%:=&@!$'()*+,;~[]"
_PORTS: Final = {"http": 80, "https": 443}


class Target(NamedTuple):
    """An http or https URL, taken apart without leaving anything to interpretation."""

    scheme: str
    host: str
    """In lower case; an IPv6 address without its brackets."""
    port: int
    rest: str
    """Path and query, as written."""

    @property
    def name(self) -> str:
        """The host as a URL has it, with the port unless it is the scheme's own; safe to print."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name}{self.rest}"


def target(url: str) -> Target | None:
    """Take a URL apart; None for one that is not plain http or https, or that has a user name in it.

    A URL without a scheme (`//host/…`) is https: readers of a published site have no other.
    """
    match = _URL.fullmatch(url) if len(url) <= LONGEST and url.isprintable() else None
    if not match or _DOTS.search(match["rest"].partition("?")[0]):
        return None
    scheme = (match["scheme"] or "https").lower()
    port = int(match["port"] or _PORTS[scheme])
    return Target(scheme, match["host"].lower().strip("[]"), port, match["rest"]) if 0 < port < 65_536 else None


def key_of(url: str) -> str:
    """Give what a URL's record is looked up by: the SHA-256 of its normalised text, in hexadecimal.

    Scheme and host in lower case, without fragment and default port; nothing else is changed.
    """
    text = str(target(url) or url.partition("#")[0])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def absolute(url: str) -> str:
    """Give the URL to ask: normalised, with spaces and letters outside ASCII percent-encoded.

    Raises:
        ValueError: it is not a plain http or https URL.
    """
    found = target(url)
    if found is None:
        raise ValueError("it is not a plain http or https URL")
    return f"{found.scheme}://{found.name}{quote(found.rest, safe=_KEPT)}"


def selected(url: str, globs: Sequence[str]) -> bool:
    """Say whether a URL is one of those to bring to the host; `*` in a glob spans `/`.

    A glob's host has to match the URL's host by itself: `https://*.example.org/*` does not mean a
    stranger's `https://stranger.example/x.example.org/x.png`.
    """
    found = target(url)
    if found is None:
        return False
    forms = {str(found), absolute(url)}
    return any(fnmatchcase(form, glob) for glob in _apt(found, globs) for form in forms)


def _apt(found: Target, globs: Sequence[str]) -> Iterator[str]:
    """Give the globs that fit a URL's host, with their own in lower case."""
    for glob in globs:
        own = _AUTHORITY.match(glob)
        if own is None:
            yield glob
        elif fnmatchcase(found.name, own[1].lower()):
            yield own[0].lower() + glob[own.end() :]
