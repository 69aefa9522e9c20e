"""The map of what was rewritten in each page, so that a page that its generator did not write again can follow.

It lives with the output's state. It is a hint: a page that is not exactly as the map says counts as new.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from imghost import durable
from imghost.models import Facts, Image, Reference, Scan
from imghost.pages import Stamp

_VERSION: Final = 3
MAX_BYTES: Final = 256_000_000


Change = tuple[int, str, str]
"""Where in the page as the generator wrote it, the text there, and the text that took its place."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One page as the last run left it."""

    stamp: Stamp
    digest: str
    """SHA-256 of the page's bytes on disk; empty where nothing in it was rewritten."""
    scan: Scan
    """Its references, with offsets in the page as the generator wrote it."""
    changes: tuple[Change, ...] = ()
    """What was put into it, in order."""
    wanted: str = ""
    """Digest of what it was to become, so that a page nobody touched need not be read to know that it is."""


@dataclass(frozen=True, slots=True)
class Removed:
    """An image whose local copy `remove_local` deleted, as it was then."""

    image: Image
    source: str = ""
    """The file that it was a copy of; empty = none."""


@dataclass(frozen=True, slots=True)
class PageMap:
    """What the last run knew of a site's pages."""

    mark: str = ""
    """The settings that decide what a reference is; a map made under others does not count."""
    pages: Mapping[str, Entry] = field(default_factory=dict)
    removed: Mapping[str, Removed] = field(default_factory=dict)
    """Images whose local copy was removed, by their path in the site."""
    hosted: tuple[str, ...] = ()
    """Files that a host which is a part of the site has in it."""


def location(folder: Path, site: Path) -> Path:
    """Say where a site's map lives in the folder that holds such state."""
    key = hashlib.sha256(str(site.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return folder / f"imghost-pages-{key}.json"


def undo(text: str, content: bytes, entry: Entry) -> str | None:
    """Put the generator's references back into a page; None where it is not as the map says."""
    if not entry.digest or hashlib.sha256(content).hexdigest() != entry.digest:
        return None
    pieces: list[str] = []
    at = shift = 0
    for place, before, after in entry.changes:
        start = place + shift
        if start < at or text[start : start + len(after)] != after:
            return None
        pieces += [text[at:start], before]
        at = start + len(after)
        shift += len(after) - len(before)
    return "".join(pieces) + text[at:]


def load(path: Path | None, mark: str) -> PageMap:
    """Read the map; a missing, broken or outdated one is an empty one."""
    if path is None:
        return PageMap(mark)
    try:
        path = path if path.exists() else _aside(path)
        if path.stat().st_size > MAX_BYTES:
            return PageMap(mark)
        found = json.loads(path.read_bytes())
        if found["imghost_pages"] != _VERSION:
            return PageMap(mark)
        pages = {name: _entry(row) for name, row in found["pages"].items()}
        removed = {name: _removed(name, row) for name, row in found["removed"].items()}
        hosted = tuple(str(path) for path in found["hosted"])
        return PageMap(mark, pages if found["mark"] == mark else _stale(pages), removed, hosted)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return PageMap(mark)


def _stale(pages: Mapping[str, Entry]) -> dict[str, Entry]:
    """Keep what undoes a rewritten page, but let none count as unchanged."""
    return {name: replace(entry, stamp=(-1, -1, -1)) for name, entry in pages.items()}


def set_aside(path: Path | None) -> None:
    """Take the map away while pages change: a run that is killed then must not leave it standing for new pages.

    What it tells of the pages that were not reached still holds.
    """
    if path is not None:
        with suppress(FileNotFoundError):
            path.replace(_aside(path))


def _aside(path: Path) -> Path:
    return path.with_suffix(".unfinished")


def save(path: Path | None, known: PageMap) -> None:
    """Write the map; where it cannot be written, the old one must not stand for the new pages."""
    if path is None:
        return
    rows = {name: _row(entry) for name, entry in known.pages.items()}
    removed = {
        path: [gone.source, gone.image.sha256, gone.image.bytes, *astuple(gone.image.facts)]
        for path, gone in known.removed.items()
    }
    found = {"imghost_pages": _VERSION, "mark": known.mark, "pages": rows, "removed": removed, "hosted": known.hosted}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.replace(path, json.dumps(found, separators=(",", ":")), is_durable=False)
        _aside(path).unlink(missing_ok=True)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _removed(path: str, row: list[Any]) -> Removed:
    source, sha256, size, *facts = row
    return Removed(Image(path, sha256, size, Facts(*facts)), source)


def _row(entry: Entry) -> list[Any]:
    references = [
        [
            reference.kind,
            reference.start,
            reference.end,
            reference.url,
            reference.quote,
            reference.css,
            reference.in_srcset,
            reference.group,
            reference.held,
            reference.needs_cors,
        ]
        for reference in entry.scan.references
    ]
    scan = entry.scan
    return [entry.stamp, entry.digest, entry.wanted, scan.base, scan.policies, references, entry.changes]


def _entry(row: list[Any]) -> Entry:
    stamp, digest, wanted, base, policies, references, changes = row
    size, modified, inode = stamp
    return Entry(
        (int(size), int(modified), int(inode)),
        str(digest),
        Scan(tuple(Reference(*found) for found in references), base, tuple(policies)),
        tuple((start, before, after) for start, before, after in changes),
        str(wanted),
    )
