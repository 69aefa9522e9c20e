"""The files of a site: finds its pages, reads them so that no byte is lost, and knows when they changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

MAX_PAGE: Final = 20_000_000
"""Bytes; a larger page is left as it is."""

_NOT_ENTERED: Final = frozenset({".git", ".doctrees", ".cache"})


class Survey(NamedTuple):
    """What files a site has, by their relative paths with forward slashes."""

    root: Path
    files: frozenset[str]
    pages: tuple[str, ...]
    stylesheets: tuple[str, ...]


def survey(root: Path) -> Survey:
    """List a site's files; links to folders are not followed, so that nothing is seen twice or from outside."""
    files = frozenset(_walk(str(root), ""))
    return Survey(
        root,
        files,
        tuple(sorted(path for path in files if path.endswith(".html"))),
        tuple(sorted(path for path in files if path.endswith(".css"))),
    )


def _walk(folder: str, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _NOT_ENTERED:
                    yield from _walk(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield prefix + entry.name


def decode(content: bytes) -> str:
    """Read a page so that `encode` gives back the same bytes, whatever they are."""
    return content.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Turn a page's text back into its bytes."""
    return text.encode("utf-8", "surrogateescape")
