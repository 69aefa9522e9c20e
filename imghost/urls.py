"""What a URL in a page means: a file of the site, as a browser would find it, or an external image. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache, partial
from typing import Final
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes, urlsplit

from imghost.models import NamedTuple

_SCHEME: Final = cache(partial(re.compile, r"[A-Za-z][A-Za-z0-9+.\-]*:"))
_DOT: Final = frozenset({".", "%2e"})
_DOTS: Final = frozenset({"..", ".%2e", "%2e.", "%2e%2e"})
_PORTS: Final = {"http": 80, "https": 443}
_BLANKS: Final = "".join(map(chr, range(1, 33)))
"""What a browser takes off both ends of a URL: control characters and spaces."""
_UNSEEN: Final = dict.fromkeys(map(ord, "\t\n\r"))
"""What a browser takes out of a URL, wherever it stands."""


class Place(NamedTuple):
    """Where a site will live: its origin (scheme and authority, empty if unknown) and its path, with slashes."""

    scheme: str = ""
    authority: str = ""
    prefix: str = "/"
    """Percent-encoded as `quoted` does it."""


class SiteTarget(NamedTuple):
    """What a reference means: an image's path in the site, and the form in which it was written."""

    path: str
    """Relative to the site, or for an external image its URL."""
    form: str
    """`relative`, `root`, `network` (`//host/…`), `absolute`, or `site` (relative to the site's root)."""


def place(site_url: str | None) -> Place:
    """Read a site's URL; one that cannot be read tells nothing."""
    try:
        parts = urlsplit(site_url or "")
        port = parts.port
    except ValueError:
        return Place()
    if parts.scheme not in _PORTS or not parts.hostname:
        return Place(prefix=_slashed(parts.path) if not parts.netloc and not parts.scheme else "/")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    authority = name + (f":{port}" if port not in {None, _PORTS[parts.scheme]} else "")
    return Place(parts.scheme, authority.lower(), _slashed(parts.path))


def origin_of(site: Place) -> str:
    """Write a site's origin; empty where it is not known."""
    return f"{site.scheme}://{site.authority}" if site.authority else ""


def _slashed(path: str) -> str:
    names = [quoted(unquote_to_bytes(part)) for part in path.strip("/").split("/")]
    return f"/{'/'.join(names)}/" if names != [""] else "/"


def quoted(path: str | bytes) -> str:
    """Percent-encode a path of the site, also one whose name is not UTF-8."""
    return quote_from_bytes(_bytes(path) if isinstance(path, str) else path)


def base_of(page: str, base: str | None, site: Place) -> str | None:
    """Give the path that a page's relative references start from; None where `<base href>` leads elsewhere.

    One that is data or a script counts as none (HTML, set the frozen base URL).
    """
    own = site.prefix + quoted(page)
    if base is None or base.strip(_BLANKS)[:1] in {"", "#", "?"}:
        return own
    if base.strip(_BLANKS).lower().startswith(("javascript:", "data:")):
        return own
    found = _absolute_path(base, own, site)
    return found[0] if found else None


def resolve(url: str, base: str, site: Place, files: Container[str]) -> SiteTarget | None:
    """Find the file of the site that a URL means, from the base path; None = it belongs to somebody else."""
    found = _absolute_path(url, base, site)
    if found is None:
        return None
    path = _site_path(found[0], site)
    return SiteTarget(path, found[1]) if path is not None and path in files else None


def resolve_in_root(url: str, site: Place, files: Container[str]) -> SiteTarget | None:
    """Find a file as if the URL stood in a page at the site's root, as authors write og:image."""
    target = resolve(url, site.prefix, site, files)
    return SiteTarget(target.path, "site") if target and target.form == "relative" else target


def _absolute_path(url: str, base: str, site: Place) -> tuple[str, str] | None:
    """Turn a URL into a path on the site's own origin, still percent-encoded, and its form."""
    rest = url.strip(_BLANKS).translate(_UNSEEN).partition("#")[0].partition("?")[0]
    if "\0" in rest:
        return None
    rest = rest.replace("\\", "/")  # as in every URL of http (URL standard, special schemes)
    form = "relative"
    if scheme := _SCHEME().match(rest):
        form, rest = "absolute", rest[scheme.end() :]
        if scheme[0][:-1].lower() != site.scheme or not rest.startswith("//"):
            return None
    if rest.startswith("//"):
        form = "network" if form == "relative" else form
        authority, slash, path = rest[2:].partition("/")
        if not site.authority or not _is_same(authority, site):
            return None
        rest = slash + path or "/"
    if not rest:
        return None
    if rest.startswith("/"):
        return _dotless(rest), "root" if form == "relative" else form
    return _dotless(base[: base.rindex("/") + 1] + rest), form


def _is_same(authority: str, site: Place) -> bool:
    return authority.lower().removesuffix(f":{_PORTS[site.scheme]}") == site.authority


def _dotless(path: str) -> str:
    """Take `.` and `..` out of a path, as the URL standard does: never above the root."""
    if "/." not in path and "%" not in path:
        return path
    kept: list[str] = []
    parts = path.split("/")[1:]
    for number, part in enumerate(parts):
        if part[:1] not in {".", "%"}:
            kept.append(part)
            continue
        is_last = number == len(parts) - 1
        if part.lower() in _DOTS:
            del kept[-1:]
        elif part.lower() not in _DOT:
            kept.append(part)
            continue
        if is_last:
            kept.append("")
    return "/" + "/".join(kept)


def _site_path(path: str, site: Place) -> str | None:
    """Take the site's own path off and decode once; refuse what no file name can be."""
    if path.isascii() and "%" not in path and "//" not in path and path.startswith(site.prefix):
        return None if path.endswith("/") else path[len(site.prefix) :]
    above = site.prefix.split("/")[:-1]
    found = path.split("/")
    if [unquote_to_bytes(_bytes(part)) for part in found[: len(above)]] != [unquote_to_bytes(part) for part in above]:
        return None
    parts = []
    for part in found[len(above) :]:
        try:
            name = unquote_to_bytes(_bytes(part)).decode("utf-8")
        except UnicodeDecodeError:
            return None
        if name in {"", ".", ".."} or not {"/", "\\", "\0"}.isdisjoint(name):
            return None
        parts.append(name)
    return "/".join(parts)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def written(path: str, form: str, base: str, site: Place) -> str:
    """Write a reference to a file of the site in the form of the one that it replaces."""
    if form == "site":
        return quoted(path)
    rooted = site.prefix + quoted(path)
    if form == "relative":
        return _relative(rooted, base)
    if form == "root":
        return rooted
    return f"{site.scheme}:" * (form == "absolute") + f"//{site.authority}{rooted}"


def _relative(path: str, base: str) -> str:
    """Lead from a base to a path, folder by folder; every `..` takes one folder off, however it is written."""
    here, there = base.split("/")[1:-1], path.split("/")[1:]
    shared = 0
    while shared < min(len(here), len(there) - 1) and here[shared] == there[shared]:
        shared += 1
    found = "/".join([".."] * (len(here) - shared) + there[shared:])
    return f"./{found}" if found.startswith("/") else found


LONGEST: Final = 2_000
"""Characters of the longest URL that is asked."""

# Without re.A, ſ and the Kelvin sign would count as s and k.
_URL: Final = cache(
    partial(
        re.compile,
        r"(?:(?P<scheme>https?):)?//"
        r"(?P<host>[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]{2,45}\])"
        r"(?::(?P<port>[0-9]{0,9}))?"
        r"(?P<rest>(?:[/?][^\x00-\x1f\x7f\"<>\\^`{|}#]*)?)"
        r"(?:#[^\x00-\x1f\x7f]*)?",
        re.A | re.I,
    )
)
_DOT_SEGMENT: Final = cache(partial(re.compile, r"/(?:\.|%2e){1,2}(?:/|\Z)", re.A | re.I))
_AUTHORITY: Final = cache(partial(re.compile, r"[^:/]*://((?:\[[^\]]*\]|[^/\[])*)/"))
_KEPT: Final = "/?%:=&@!$'()*+,;~[]"


class ExternalUrl(NamedTuple):
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


def external_url(url: str) -> ExternalUrl | None:
    """Take a URL apart; None for one that is not plain http or https, or that has a user name in it.

    A URL without a scheme (`//host/…`) is https: readers of a published site have no other.
    """
    match = _URL().fullmatch(url) if len(url) <= LONGEST and url.isprintable() else None
    if not match or _DOT_SEGMENT().search(match["rest"].partition("?")[0]):
        return None
    scheme = (match["scheme"] or "https").lower()
    port = int(match["port"] or _PORTS[scheme])
    return ExternalUrl(scheme, match["host"].lower().strip("[]"), port, match["rest"]) if 0 < port < 65_536 else None


def key_of(url: str) -> str:
    """Give what a URL's record is looked up by: the SHA-256 of its normalised text, in hexadecimal.

    Scheme and host in lower case, without fragment and default port; nothing else is changed.
    """
    text = str(external_url(url) or url.partition("#")[0])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def absolute(url: str) -> str:
    """Give the URL to ask: normalised, with spaces and letters outside ASCII percent-encoded.

    Raises:
        ValueError: it is not a plain http or https URL.
    """
    found = external_url(url)
    if found is None:
        raise ValueError("it is not a plain http or https URL")
    return f"{found.scheme}://{found.name}{quote(found.rest, safe=_KEPT)}"


def selected(url: str, globs: Sequence[str]) -> bool:
    """Say whether a URL is one of those to bring to the host; `*` in a glob spans `/`.

    A glob's host has to match the URL's host by itself: `https://*.example.org/*` does not mean a
    stranger's `https://stranger.example/x.example.org/x.png`.
    """
    found = external_url(url)
    if found is None:
        return False
    forms = {str(found), absolute(url)}
    return any(fnmatchcase(form, glob) for glob in _apt(found, globs) for form in forms)


def _apt(found: ExternalUrl, globs: Sequence[str]) -> Iterator[str]:
    """Give the globs that fit a URL's host, with their own in lower case."""
    for glob in globs:
        own = _AUTHORITY().match(glob)
        if own is None:
            yield glob
        elif fnmatchcase(found.name, own[1].lower()):
            yield own[0].lower() + glob[own.end() :]
