"""The map of what was found and rewritten in each page: pages follow that nobody wrote again, or wrote the same.

It lives with the output's state. It is a hint: a page that is not exactly as the map says counts as new.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, Final

from imghost import files
from imghost.files import Stamp
from imghost.models import ENDINGS, Condition, Facts, Image, NamedTuple, Reference, Scan

VERSION: Final = 7
_REMOVED: Final = [(str, str, int, str, *edges, bool, bool) for edges in ((int, int), (NoneType, NoneType))]
_ENDINGS: Final = frozenset({"", *chain(*ENDINGS.values())})
"""Endings of images, which may have none."""
_REFERENCE: Final = [
    (str, int, int, str, *written, bool, int, str, bool)
    for written in ((str, NoneType), (str, str), (NoneType, str), (NoneType, NoneType))
]
MAX_BYTES: Final = 256_000_000


Change = tuple[int, str, str]
"""Where in the page as the generator wrote it, the text there, and the text that took its place."""


class PageEntry(NamedTuple):
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
    origin: str = ""
    """SHA-256 of the page's bytes as the generator wrote them; empty where `scan` does not count any more."""


class Removed(NamedTuple):
    """An image whose local copy `remove_local` deleted, as it was then."""

    image: Image
    source: str = ""
    """The file that it was a copy of; empty = none."""


class Scripts(NamedTuple):
    """What a site's scripts and style sheets do with images, and which files said so: they are the theme's, mostly."""

    stamps: str = ""
    """SHA-256 of the files' paths and stamps: where it is the same, none of them need be read."""
    digest: str = ""
    """SHA-256 of the files' paths and bytes; empty = nobody has read any."""
    literals: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    selectors: tuple[Condition, ...] = ()
    vouched: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """Name what a scan of a page depends on: a scan made under another mark does not count."""
        words = "\n".join(self.words)
        return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:16] if words else ""


class PageMap(NamedTuple):
    """What the last run knew of a site's pages."""

    mark: str = ""
    """What decides which references a page has; a scan made under another mark does not count."""
    pages: Mapping[str, PageEntry] = MappingProxyType({})
    removed: Mapping[str, Removed] = MappingProxyType({})
    """Images whose local copy was removed, by their path in the site."""
    hosted: tuple[str, ...] = ()
    """Files that a host which is a part of the site has in it."""
    scripts: Scripts = Scripts()
    again: Mapping[str, Any] = MappingProxyType({})
    """What the last run went by and came to, as JSON has it, where the next one may repeat it; see `run.repeat`."""


SCRIPTS: Final = (".js", ".mjs", ".cjs")
HEADERS: Final = frozenset(
    {
        *(
            "_headers",
            ".htaccess",
            "netlify.toml",
            "vercel.json",
            "staticwebapp.config.json",
            "web.config",
            "firebase.json",
        ),
        *("now.json", "serve.json", "static.json", "nginx.conf", "Caddyfile", "customHttp.yml"),
    }
)
"""Files in a site by which servers choose the headers of its pages."""
_READ: Final = tuple(ending.lower() for ending in (*SCRIPTS, ".css", *HEADERS))
_LARGEST: Final = 20_000_000
"""Bytes; a larger script or style sheet is data."""


def read_for_scripts(names: Iterable[str]) -> list[str]:
    """List the files of a site that are read for what scripts, styles and servers do with images, in order."""
    return sorted(path for path in names if path.lower().endswith(_READ))


def contents(root: Path, paths: Iterable[str], whole: hashlib._Hash) -> Iterator[tuple[str, bytes]]:
    """Yield files with their contents, one in memory at a time, and put each into the digest of them all."""
    for path in paths:
        content = _content(f"{root}/{path}")
        whole.update(f"{path}\0{len(content)}\0".encode("utf-8", "surrogatepass"))
        whole.update(content)
        yield path, content


def _content(file: str) -> bytes:
    """Read a file; one that cannot be read, or is too large to be code, says nothing."""
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - a path as an object costs more
            content = opened.read(_LARGEST + 1)
    except OSError:
        return b""
    return content if len(content) <= _LARGEST else b""


def whole_digest(root: Path, paths: Iterable[str]) -> str:
    """Digest files with their paths, as `Scripts` has it."""
    whole = hashlib.sha256()
    for _ in contents(root, paths, whole):
        pass
    return whole.hexdigest()


def location(folder: Path, site: Path) -> Path:
    """Say where a site's map lives in the folder that holds such state: one, however the site's path is spelled."""
    key = hashlib.sha256(os.path.realpath(site).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return folder / f"imghost-pages-{key}.json"


def last_of(folder: Path, site: Path) -> Path:
    """Say which map to read of a site: the folder's own, else what the Sphinx extension left with the doctrees.

    Sphinx keeps those in the site, and its own makefile beside it.
    """
    places = (folder, site / ".doctrees", site.parent / "doctrees", site.parent / ".doctrees")
    return next((file for place in places if (file := location(place, site)).exists()), location(folder, site))


def digest_of(content: bytes) -> str:
    """Digest a page's bytes."""
    return hashlib.sha256(content).hexdigest()


def undone(text: str, entry: PageEntry) -> str | None:
    """Put the generator's references back into a page whose digest is the entry's."""
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


def load(path: Path | None, mark: str | None = None) -> PageMap:
    """Read the map; a missing, broken or outdated one is an empty one. Without a mark it is as it was written.

    Of a site that was emptied since only what the generator's own pages said is left.
    """
    if path is None:
        return PageMap(mark or "")
    try:
        if path.exists() or _aside(path).exists():
            found = _read(path if path.exists() else _aside(path))
        else:
            last = _read(last_place(path))
            found = PageMap(last.mark, _memories(last.pages), scripts=last.scripts)
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError, RecursionError):
        found = PageMap(mark or "")
    return found if mark is None else marked(found, mark)


def marked(known: PageMap, mark: str) -> PageMap:
    """Let a map count under this mark: of one that was made under another, only what undoes a page is left."""
    return known if known.mark == mark else known._replace(mark=mark, pages=_stale(known.pages))


def _read(path: Path) -> PageMap:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(path)
    found = json.loads(path.read_bytes().decode())
    if found["imghost_pages"] != VERSION:
        raise ValueError(path)
    rows = found["pages"]
    pages = {name: _entry(rows.pop(name)) for name in tuple(rows)}  # each row goes as its entry comes
    removed = {name: _removed(name, row) for name, row in found["removed"].items()}
    hosted = tuple(str(path) for path in found["hosted"])
    if not all(map(is_image_in_site, hosted)):
        raise ValueError(path)
    again = found.get("again", {})
    return PageMap(str(found["mark"]), pages, removed, hosted, _scripts(*found["scripts"]), again)


def is_image_in_site(path: str) -> bool:
    """Say whether a path stays in the site and can be an image's: copies are made and deleted where the map says."""
    os.fsencode(path)
    parts = path.split("/")
    is_foreign = "\0" in path or (os.name == "nt" and not {"\\", ":"}.isdisjoint(path))
    ending = parts[-1].rpartition(".")[2].lower() if "." in parts[-1] else ""
    return not is_foreign and {"", ".", ".."}.isdisjoint(parts) and ending in _ENDINGS


_NEVER: Final[Stamp] = (-1, -1, -1)
"""The stamp of no file."""


def _stale(pages: Mapping[str, PageEntry]) -> dict[str, PageEntry]:
    """Keep what undoes a rewritten page, but let none count as unchanged."""
    return {name: entry._replace(stamp=_NEVER, origin="") for name, entry in pages.items() if entry.digest}


def _memories(pages: Mapping[str, PageEntry]) -> dict[str, PageEntry]:
    """Keep what was found in pages, which counts wherever the generator writes the same again."""
    return {name: entry._replace(stamp=_NEVER, digest="", changes=()) for name, entry in pages.items()}


def set_aside(path: Path | None) -> None:
    """Take the map away while pages change: a run that is killed then must not leave it standing for new pages.

    What it tells of the pages that were not reached still holds.
    """
    if path is not None and path.exists():  # a folder that is read-only has no such error for what is not there
        with suppress(FileNotFoundError):
            path.replace(_aside(path))


def retire(path: Path) -> bool:
    """Take the map of a site away that is emptied and generated anew; what it remembers of pages may still help.

    Gives False where it cannot be taken away, so that the run has to do without.
    """
    try:
        _aside(path).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            path.replace(last_place(path))
    except OSError:
        return not (path.exists() or _aside(path).exists())
    return True


def _aside(path: Path) -> Path:
    return path.with_suffix(".unfinished")


def last_place(path: Path) -> Path:
    """Say where the map is of a site that its generator emptied since."""
    return path.with_suffix(".last")


def save(path: Path | None, known: PageMap, last: PageMap | None = None) -> None:
    """Write the map, unless it is the last one; where it cannot be written, that must not stand for new pages."""
    if path is None or (last is not None and _tells_the_same(known, last) and path.exists()):
        return
    removed = {
        path: [
            gone.source,
            gone.image.sha256,
            gone.image.bytes,
            *gone.image.facts[:5],
            *(gone.image.facts.natural or ()),
        ]
        for path, gone in known.removed.items()
    }
    # Named tuples are written as lists.
    save_rows(path, {"imghost_pages": VERSION} | known._asdict() | {"again": dict(known.again), "removed": removed})


def save_rows(path: Path, found: Mapping[str, Any]) -> None:
    """Write the map as its rows are; raises OSError, and then there is none."""
    _save_text(path, _text_of(found))


def save_again(path: Path, text: bytes, found: Mapping[str, Any], before: Mapping[str, Sequence[Any]]) -> None:
    """Write a map whose text was read, with what its pages' rows have that is new; else as `save_rows`.

    `before` are the rows in the text. Most have another stamp alone, and to write each anew takes longer than to read
    them all.
    """
    try:
        pieces: Iterable[bytes | memoryview] = list(_renewed(text, found["pages"], before))
    except ValueError:  # somebody else has written it
        pieces = _text_of(found)
    _save_text(path, pieces)


def _renewed(
    text: bytes, pages: Mapping[str, Sequence[Any]], before: Mapping[str, Sequence[Any]]
) -> Iterator[bytes | memoryview]:
    """Put other rows into a map's text; raises ValueError where one is not in it as we write it."""
    encode, at, whole = json.JSONEncoder(separators=(",", ":")).encode, 0, memoryview(text)
    for path, row in pages.items():
        was = before[path]
        if row == was:
            continue
        name = encode(path)
        if row[1:] == was[1:]:
            old, new = (f"{name}:[{encode(one[0])},".encode() for one in (was, row))
        else:
            old, new = (f"{name}:{encode(one)}".encode() for one in (was, row))
        start = text.index(old, at)
        yield whole[at:start]
        yield new
        at = start + len(old)
    yield whole[at:]


def _save_text(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, pieces, is_durable=False)
        for older in (_aside(path), last_place(path)):
            older.unlink(missing_ok=True)
    except OSError:
        path.unlink(missing_ok=True)
        raise


_TOGETHER: Final = 500
"""Pages of the map that are written as one text: all of them would take as much memory as what they tell."""


def _text_of(found: Mapping[str, Any]) -> Iterator[bytes]:
    """Write the map as JSON, piece by piece."""
    encode = json.JSONEncoder(separators=(",", ":")).encode
    mark = "{"
    for name, value in found.items():
        yield f"{mark}{encode(name)}:".encode()
        if name == "pages":
            yield from _pages_text(value, encode)
        else:
            yield encode(value).encode()
        mark = ","
    yield b"}"


def _pages_text(pages: Mapping[str, Any], encode: Callable[[Any], str]) -> Iterator[bytes]:
    rows, mark = iter(pages.items()), ""
    yield b"{"
    while some := dict(islice(rows, _TOGETHER)):
        yield f"{mark}{encode(some)[1:-1]}".encode()
        mark = ","
    yield b"}"


def _tells_the_same(known: PageMap, last: PageMap) -> bool:
    """Say whether a map tells what the last one did.

    Sphinx writes two pages in every build. Where nothing is to be rewritten in them, to digest them again costs
    less than to write the map of all pages for their stamps.
    """
    if known._replace(pages=last.pages) != last or known.pages.keys() != last.pages.keys():
        return False
    pairs = ((entry, last.pages[name]) for name, entry in known.pages.items())
    return all(now == was or (not now.digest and now == was._replace(stamp=now.stamp)) for now, was in pairs)


def _removed(path: str, row: list[Any]) -> Removed:
    source, sha256, size, *facts = row
    media_type, *edges = facts[:3]
    natural = (facts[5], facts[6]) if len(facts) == 7 else None
    is_sound = (
        tuple(map(type, row[:8])) in _REMOVED
        and tuple(map(type, facts[5:])) in {(), (int, int)}
        and media_type in ENDINGS
        and min(size, *filter(None, edges)) >= 0
    )
    if not is_sound or not is_image_in_site(path):
        raise ValueError(path)
    return Removed(Image(path, sha256, size, Facts(*facts[:5])._replace(natural=natural)), source)


def _entry(row: list[Any]) -> PageEntry:
    (size, modified, inode), digest, scan, changes, wanted, origin = row
    if not all(tuple(map(type, change)) == (int, str, str) for change in changes):
        raise TypeError(row)
    return PageEntry(
        (int(size), int(modified), int(inode)),
        str(digest),
        _scan(*scan),
        tuple((start, sys.intern(before), sys.intern(after)) for start, before, after in changes),
        str(wanted),
        str(origin),
    )


def _scan(
    references: list[Any],
    base: str | None,
    policies: list[str],
    renaming: list[str] = [],  # noqa: B006 - read alone
    selectors: list[list[Any]] = [],  # noqa: B006
    vouched: list[str] = [],  # noqa: B006
    fixed: list[int] = [],  # noqa: B006
    early: list[int] = [],  # noqa: B006
) -> Scan:
    """Read what a page refers to, and nothing but what a scan could have found."""
    conditions = _conditions(selectors)
    kinds = {type(text) for text in (*policies, *renaming, *vouched)} | {str}
    if kinds != {str} or type(base) not in {str, NoneType} or not {int}.issuperset(map(type, (*fixed, *early))):
        raise TypeError(base)
    return Scan(
        tuple(map(_reference, references)),
        base,
        tuple(policies),
        tuple(renaming),
        conditions,
        tuple(vouched),
        tuple(fixed),
        tuple(early),
    )


def _conditions(rows: list[list[Any]]) -> tuple[Condition, ...]:
    conditions = tuple(Condition(*row) for row in rows)
    if not {(str, str, str, bool)}.issuperset(tuple(map(type, one)) for one in conditions):
        raise TypeError(rows)
    return conditions


def _scripts(
    stamps: str, digest: str, literals: list[str], words: list[str], selectors: list[list[Any]], vouched: list[str]
) -> Scripts:
    if not {str}.issuperset(map(type, (stamps, digest, *literals, *words, *vouched))):
        raise TypeError(digest)
    return Scripts(stamps, digest, tuple(literals), tuple(words), _conditions(selectors), tuple(vouched))


def _reference(row: list[Any]) -> Reference:
    if tuple(map(type, row)) not in _REFERENCE:
        raise TypeError(row)
    row[0], row[3] = sys.intern(row[0]), sys.intern(row[3])  # as in a scan, what pages repeat is kept once
    return tuple.__new__(Reference, row)  # by its constructor it would take twice as long
