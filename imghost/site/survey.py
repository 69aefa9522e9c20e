"""The site's files: which there are, and which of them are pages; a page's bytes as text."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from imghost.files import ASIDE
from imghost.models import NamedTuple

_NOT_ENTERED: Final = frozenset({".git", ".doctrees", ".cache", ASIDE})


_PAGES: Final = (".html", ".htm", ".xhtml")


class Survey(NamedTuple):
    """What files a site has, by their relative paths with forward slashes."""

    root: Path
    files: frozenset[str]
    pages: tuple[str, ...]
    stylesheets: tuple[str, ...]
    links: frozenset[str] = frozenset()
    """Those of the files that are links to others."""


def survey(root: Path, apart: Container[str] = ()) -> Survey:
    """List a site's files; links to folders are not followed, so that nothing is seen twice or from outside.

    `apart` are files that are none of the site's.
    """
    links: set[str] = set()
    files = frozenset(path for path in walk(str(root), links) if path not in apart)
    return Survey(
        root,
        files,
        tuple(sorted(path for path in files if path.endswith(".html") or is_page(path))),
        tuple(sorted(path for path in files if path.endswith(".css"))),
        frozenset(links),
    )


def is_page(path: str) -> bool:
    """Say whether a file is a page by its name, in any case."""
    return path.lower().endswith(_PAGES)


def has_page(root: Path) -> bool:
    """Whether a folder holds any page."""
    return any(map(is_page, walk(str(root), set())))


_MOST_READ: Final = 50
"""Files without an ending that are looked into; a site of pages without one has many, and a few tell it."""
_BEGINNINGS: Final = (b"<!doctype html", b"<html")


def pages_without_ending(root: Path, files: Iterable[str]) -> tuple[str, ...]:
    """Find files that begin as a page does and have no ending: a page is known by its name, so these are not read."""
    unnamed = sorted(path for path in files if "." not in path[path.rfind("/") + 1 :])
    found = []
    for path in unnamed[:_MOST_READ]:
        try:
            with open(f"{root}/{path}", "rb") as file:  # noqa: PTH123 - a path as an object costs more
                head = file.read(64)
        except OSError:
            continue
        if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_BEGINNINGS):
            found.append(path)
    return tuple(found)


def endless_text(paths: Sequence[str]) -> str:
    """Say what was seen of pages without an ending, and what helps."""
    seen = f"{paths[0]} begins" if len(paths) == 1 else f"{len(paths)} files begin, like {paths[0]},"
    has = "has" if len(paths) == 1 else "have"
    is_read = "is" if len(paths) == 1 else "are"
    return f"{seen} as a page does and {has} no ending, so {is_read} not read; have your generator write .html"


def walk(root: str, links: set[str]) -> Iterator[str]:
    """List a folder's files, however deep they lie: nothing calls itself. Those that are links are noted, too."""
    waiting = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in _NOT_ENTERED:
                        waiting.append((entry.path, f"{prefix}{entry.name}/"))
                elif entry.is_file():
                    if entry.is_symlink():
                        links.add(prefix + entry.name)
                    yield prefix + entry.name


KEPT: Final = 8_000_000
"""Bytes of pages that are kept from the first look at them until they are written, so that most are read once."""


def decode(content: bytes) -> str:
    """Read a page so that `encode` gives back the same bytes, whatever they are."""
    return content.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Turn a page's text back into its bytes."""
    return text.encode("utf-8", "surrogateescape")
