"""Who names an image file: the texts of a site, read once when somebody asks to delete local copies."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from imghost.html.uses import loading_text
from imghost.site.names import Wanted, is_sealed, read
from imghost.site.pages import Survey, is_page

_NO_TEXTS: Final = (
    *(".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".ico", ".woff", ".woff2", ".ttf", ".otf", ".eot"),
    *(".mp3", ".mp4", ".ogg", ".webm", ".pdf", ".zip", ".whl", ".bz2", ".xz", ".tgz", ".tar.gz", ".epub", ".wasm"),
)
"""Endings of files that name no other; whatever else the site has is read as a text."""
_NO_USES: Final = re.compile(
    r"(?:.*/)?(?:_sources/.+\.txt|pagefind/.+\.pf_[a-z]+|doctools\.js|objects\.inv)", re.S | re.I
)
"""Texts by which no browser loads a picture: Sphinx's copies of a page's source, which are shown as plain text, and
its script that works on the theme's own `plus.png` and `minus.png`; the words that Pagefind goes through."""
_INDEX: Final = re.compile(r"(?:.*/)?(?:search(?:_|-)?index|@localSearchIndex)[^/]*\.(?:json|js)(?:\.gz)?", re.S | re.I)
"""Indexes of a site's words: prose, but for the markup in it."""
_QUOTED: Final = re.compile(r"""\\(["'/])""")
_PACKED: Final = (".br", ".zst")
_OWN_NAME: Final = re.compile(r"""(?:sodipodi:docname|inkscape:export-filename|xml:base)\s*=\s*(?:"[^"]*+"|'[^']*+')""")
"""Where a drawing tells its own name, or that of a file which was made of it."""


class Mentions(NamedTuple):
    """The image files that something names, each with the file that does; and why others may be named unseen."""

    named: Mapping[str, str]
    doubts: tuple[str, ...] = ()
    """Files that cannot be read, each with the reason; while there is one, every image may be named."""


def mentions(found: Survey, paths: Collection[str], pages_of: Mapping[str, Collection[str]] | None = None) -> Mentions:
    """Find what names these images in the site's texts, whatever the spelling.

    `pages_of` tells what pages refer to: a packed twin of a page, which cannot be read, names what the page does.
    """
    wanted, named, doubts = Wanted(paths), dict[str, str](), list[str]()
    for path, file in _texts(found):
        if named.keys() >= wanted.every:
            break
        plain = path.rpartition(".")[0]
        if path.endswith(_PACKED) and plain in found.files:
            # Its plain twin is read, or, where that was changed, has told what it was.
            hits: Collection[str] = wanted.every.intersection((pages_of or {}).get(plain, ()))
        else:
            hits, problem = _named_in(path, file, wanted, named)
            if problem:
                doubts.append(f"{path} {problem}")
        named |= dict.fromkeys((hit for hit in hits if hit not in named), path)
    return Mentions(named, tuple(doubts))


def _texts(found: Survey) -> Iterator[tuple[str, Path]]:
    """List every file that may name another one, also behind links to folders."""
    for path in sorted(found.files):
        if _is_text(path):
            yield path, found.root / path
    for folder, linked in _linked_folders(found.root):
        for name in sorted(linked):
            path = f"{folder}/{name}"
            if _is_text(path):
                yield path, found.root / path


def _is_text(path: str) -> bool:
    return not path.lower().endswith(_NO_TEXTS) and not _NO_USES.fullmatch(path)


def _linked_folders(root: Path) -> Iterator[tuple[str, list[str]]]:
    """List the files below links to folders, which the survey does not enter; each folder once."""
    real = os.path.realpath(root)
    seen = {real}
    links = [
        os.path.join(at, name)  # noqa: PTH118 - one of a whole site's names
        for at, folders, _ in os.walk(root)
        for name in folders
        if Path(at, name).is_symlink()
    ]
    while links:
        link = links.pop()
        for at, folders, names in os.walk(link, followlinks=True):
            place = os.path.realpath(at)
            if place in seen:
                folders.clear()
                continue
            seen.add(place)
            yield Path(at).relative_to(root).as_posix(), names


def _named_in(path: str, file: Path, wanted: Wanted, named: Mapping[str, str]) -> tuple[set[str], str]:
    """Find the images that one file names, but itself; or why it cannot be read."""
    try:
        content = file.read_bytes()
    except OSError as problem:
        return set(), f"cannot be read: {problem.strerror or problem}"
    reading = read(content, path)
    if reading.problem:
        return set(), reading.problem
    is_markup = is_page(path.removesuffix(".gz"))
    if is_markup and any(map(is_sealed, reading.texts)):
        return set(), "is encrypted"
    hits = set[str]()
    for text in reading.texts:
        new = wanted.named_in(text)
        # Most files name nothing that is asked for, and need not be taken apart.
        hits |= wanted.named_in(_uses(path, text, is_markup=is_markup)) if new - named.keys() - hits else set()
    own = path.rpartition("/")[2]
    return {hit for hit in hits if hit.rpartition("/")[2] != own}, ""


def _uses(path: str, text: str, *, is_markup: bool) -> str:
    """Give what of a text can load a file."""
    if path.lower().endswith(".svg"):
        return _OWN_NAME.sub("", text)
    if _INDEX.fullmatch(path) or (path.endswith(".json") and all(key in text for key in ('"location"', '"text"'))):
        return loading_text("<i>" + _QUOTED.sub(r"\1", text))
    return loading_text(text) if is_markup else text


def texts(found: Survey) -> Iterator[tuple[str, str, str]]:
    """Read every file of a site that may name another one: its path, and each text that it can be read as.

    Escapes are undone. A file that cannot be read has no text, and why stands in the last place.
    """
    for path, file in _texts(found):
        try:
            reading = read(file.read_bytes(), path)
        except OSError as problem:
            yield path, "", f"cannot be read: {problem.strerror or problem}"
            continue
        yield from ((path, text, "") for text in reading.texts)
        if reading.problem:
            yield path, "", reading.problem
