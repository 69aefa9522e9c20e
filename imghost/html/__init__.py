"""A page's text to references, and new URLs back into the text; knows no file and no network.

Here is what a page's own Content-Security-Policy lets a browser load (CSP level 3).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import cache, partial
from typing import Final
from urllib.parse import unquote

_READERS: Final = ("SVGInject", "ColorThief", "Vibrant.", "Cropper(", "Tesseract.")
"""What a script calls that reads an image for it."""
CHANGING: Final = ("src", "Src", "href", "ackground", "poster", "drawImage", "texImage2D", *_READERS)
"""What a script has at least that changes images' URLs, or reads images."""
HELD_BY_READER: Final = "a script reads its pixels or bytes, which browsers let it of the site's own images alone"
"""Why an image stays that could move within the site."""


class Theme:
    """What a run keeps of the page that it has read last: the next one has most of it, too, and passes that unread.

    It is of one run and one thread, and nothing but the time depends on it.
    """

    __slots__ = ("in_vain", "last")

    def __init__(self) -> None:
        self.last: object = None
        self.in_vain = 0
        """Pages in a row of which so little was passed that it cost more than it spared."""


_PORTS: Final = {"http": "80", "https": "443"}
_ALONE: Final = frozenset({"base-uri", "form-action", "frame-ancestors"})
"""Directives for which `default-src` does not stand in."""
_SOURCE: Final = cache(
    partial(re.compile, r"(?:([a-z][a-z0-9+.\-]*)://)?(\*|\[[0-9a-f:.]+\]|(?:\*\.)?[^/:*']+)(?::([0-9]+|\*))?(/.*)?")
)
_HASH: Final = cache(partial(re.compile, r"'sha(?:256|384|512)-", re.I))
_URL_SAFE: Final = str.maketrans("-_", "+/")
_STRICTER: Final = ("'nonce-", "'sha256-", "'sha384-", "'sha512-", "'strict-dynamic'")


def blocks(
    policies: Iterable[str],
    addresses: Iterable[str],
    directive: str = "img-src",
    own: str = "",
    *,
    any_path: bool = False,
) -> bool:
    """Say whether any of the policies forbids images from any of the addresses, which are origins or URLs.

    `own` is the page's own origin, if it is known. With `any_path` an origin is blocked only if all of its paths
    are. For object and embed elements the directive is `object-src`.
    """
    addresses = tuple(addresses)
    return any(not _allows(policy, address, directive, own, any_path) for policy in policies for address in addresses)


def forbids_all(policies: Iterable[str], directive: str) -> bool:
    """Say whether any of the policies lets this directive's things come from nowhere."""
    found = (_directives(policy).get(directive) for policy in policies)
    return any(sources is not None and {"'none'"}.issuperset(map(str.lower, sources)) for sources in found)


def without(policy: str, directive: str) -> str:
    """Take a directive out of a policy."""
    return ";".join(part for part in policy.split(";") if (part.split() or [""])[0].lower() != directive)


def allows_inline(policies: Iterable[str], directive: str) -> bool:
    """Say whether all of the policies let what stands in the page itself run or apply.

    The directive is `script-src-attr` for event handlers and `style-src-elem` for style elements.
    """
    return all(_allows_inline(policy, directive) for policy in policies)


def _allows_inline(policy: str, wanted: str) -> bool:
    found = _sources(policy, wanted)
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


def admits_by_hash(policies: Iterable[str], text: str, directive: str) -> bool:
    """Say whether any policy names the digest of a text in the page, so that the text must stay as it is.

    The directive is `style-src-elem` for style elements and `style-src-attr` for style attributes.
    """
    return any(_names_digest(policy, text, directive) for policy in policies if "'sha" in policy.lower())


def _names_digest(policy: str, text: str, wanted: str) -> bool:
    """Compare a text with each digest of a directive; its letters may be those of URLs."""
    content = text.encode("utf-8", "surrogateescape")
    for source in _sources(policy, wanted) or ():
        if _HASH().match(source):
            algorithm, _, digest = source.strip("'").partition("-")
            own = hashlib.new(algorithm.lower(), content).digest()
            if digest.translate(_URL_SAFE).rstrip("=") == base64.b64encode(own).decode().rstrip("="):
                return True
    return False


def _sources(policy: str, wanted: str) -> list[str] | None:
    """Give the sources of the directive that decides; None where none does."""
    directives = _directives(policy)
    names = (wanted, wanted.rpartition("-")[0], "default-src")
    return next((directives[name] for name in names if name in directives), None)


def _allows(policy: str, address: str, wanted: str, own: str, any_path: bool) -> bool:
    directives = _directives(policy)
    sources = directives.get(wanted, None if wanted in _ALONE else directives.get("default-src"))
    return sources is None or any(_matches(source, address, own, any_path) for source in sources)


def _matches(source: str, address: str, own: str, any_path: bool) -> bool:
    scheme, rest = address.partition("://")[::2]
    authority, slash, path = rest.partition("/")
    scheme, host, port = _parts(f"{scheme}://{authority}")
    lowered = source.lower()
    if lowered == "*":
        return True
    if lowered == "'self'":
        return bool(own) and _is_self(_parts(own), (scheme, host, port))
    if lowered.endswith(":"):
        return lowered[:-1] in _upgraded(scheme)
    found = _SOURCE().fullmatch(lowered)
    if not found:
        return False
    is_host = found[2] in {"*", host} or (found[2].startswith("*.") and host.endswith(found[2][1:]))
    is_scheme = found[1] is None or found[1] in _upgraded(scheme)
    is_path = (any_path and not slash) or _leads(source[found.start(4) :] if found[4] else "", f"/{path}")
    return is_host and is_scheme and is_path and _is_port(found[1], found[3], scheme, port)


def _is_self(own: tuple[str, str, str | None], asked: tuple[str, str, str | None]) -> bool:
    """Compare an origin with the page's own, which is upgraded to https by the usual ports (CSP level 3, 'self')."""
    is_upgraded = asked[0] == "https" and own[0] == "http"
    usual = own[2] == _PORTS.get(own[0]) and asked[2] == _PORTS.get(asked[0])
    return own == asked or (is_upgraded and own[1] == asked[1] and (usual or own[2] == asked[2]))


def _is_port(source_scheme: str | None, written: str | None, scheme: str, port: str | None) -> bool:
    """Compare ports as numbers; 80 is upgraded to 443 where http is to https."""
    if written == "*":
        return True
    wanted = written or _PORTS.get(scheme)
    if not wanted or not port:
        return wanted == port
    is_upgraded = source_scheme != "https" and scheme == "https" and (int(wanted), int(port)) == (80, 443)
    return int(wanted) == int(port) or is_upgraded


def _leads(source: str, path: str) -> bool:
    """Compare a source's path: one that ends with a slash stands for all below it, another for itself alone."""
    if not source:
        return True
    source, path = unquote(source), unquote(path.partition("?")[0].partition("#")[0])
    return path.startswith(source) if source.endswith("/") else path == source


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
