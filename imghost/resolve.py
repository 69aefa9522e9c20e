"""References to image files, as a browser would: relative, root-absolute, absolute under the site's URL."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_DOT: Final = re.compile(r"(?:\.|%2e)\Z", re.I)
_DOTS: Final = re.compile(r"(?:\.|%2e){2}\Z", re.I)
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a site will live: its origin (scheme and authority, empty if unknown) and its path, with slashes."""

    scheme: str = ""
    authority: str = ""
    prefix: str = "/"


@dataclass(frozen=True, slots=True)
class Target:
    """What a reference means: an image's path in the site, and the form in which it was written."""

    path: str
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
    authority = parts.hostname + (f":{port}" if port not in {None, _PORTS[parts.scheme]} else "")
    return Place(parts.scheme, authority.lower(), _slashed(parts.path))


def _slashed(path: str) -> str:
    return f"/{path.strip('/')}/" if path.strip("/") else "/"


def base_of(page: str, base: str | None, site: Place) -> str | None:
    """Give the path that a page's relative references start from; None where `<base href>` leads elsewhere."""
    own = site.prefix + page
    if base is None:
        return own
    found = _absolute_path(base.strip(), own, site)
    return found[0] if found else None


def resolve(url: str, base: str, site: Place, files: Container[str]) -> Target | None:
    """Find the file of the site that a URL means, from the base path; None = it belongs to somebody else."""
    found = _absolute_path(url, base, site)
    if found is None:
        return None
    path = _site_path(found[0], site)
    return Target(path, found[1]) if path is not None and path in files else None


def resolve_in_root(url: str, site: Place, files: Container[str]) -> Target | None:
    """Find a file as if the URL stood in a page at the site's root, as authors write og:image."""
    target = resolve(url, site.prefix, site, files)
    return Target(target.path, "site") if target and target.form == "relative" else target


def _absolute_path(url: str, base: str, site: Place) -> tuple[str, str] | None:
    """Turn a URL into a path on the site's own origin, still percent-encoded, and its form."""
    rest = url.partition("#")[0].partition("?")[0]
    if "\\" in rest or "\0" in rest:
        return None
    form = "relative"
    if scheme := _SCHEME.match(rest):
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
        return None if url.startswith(("#", "?")) or not url else (base, form)
    if rest.startswith("/"):
        return _dotless(rest), "root" if form == "relative" else form
    return _dotless(base[: base.rindex("/") + 1] + rest), form


def _is_same(authority: str, site: Place) -> bool:
    return authority.lower().removesuffix(f":{_PORTS[site.scheme]}") == site.authority


def _dotless(path: str) -> str:
    """Take `.` and `..` out of a path, as the URL standard does: never above the root."""
    kept: list[str] = []
    parts = path.split("/")[1:]
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        if _DOTS.match(part):
            kept = kept[:-1]
        elif not _DOT.match(part):
            kept.append(part)
            continue
        if is_last:
            kept.append("")
    return "/" + "/".join(kept)


def _site_path(path: str, site: Place) -> str | None:
    """Take the site's own path off and decode once; refuse what no file name can be."""
    if not path.startswith(site.prefix):
        return None
    parts = []
    for part in path[len(site.prefix) :].split("/"):
        try:
            name = unquote_to_bytes(part.encode("utf-8", "surrogateescape")).decode("utf-8")
        except UnicodeDecodeError:
            return None
        if name in {"", ".", ".."} or not {"/", "\\", "\0"}.isdisjoint(name):
            return None
        parts.append(name)
    return "/".join(parts)


def written(path: str, form: str, base: str, site: Place) -> str:
    """Write a reference to a file of the site in the form of the one that it replaces."""
    if form == "site":
        return quote(path)
    if form == "relative":
        return _relative(quote(site.prefix + path, safe="/%"), base)
    rooted = quote(site.prefix, safe="/%") + quote(path)
    if form == "root":
        return rooted
    return f"{site.scheme}:" * (form == "absolute") + f"//{site.authority}{rooted}"


def _relative(path: str, base: str) -> str:
    found = posixpath.relpath(path, posixpath.dirname(base))
    return f"./{found}" if ":" in found.partition("/")[0] else found
