"""Who else depends on an image's old URL, size or bytes: asked once a site, before anything moves.

A script that makes another name of an image's URL, a selector that asks for its text, a page that vouches for a
style sheet's bytes: each holds what it depends on. A site that has none of them pays for one look at its scripts and
style sheets, and its pages for nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from imghost.models import Condition, Reference
from imghost.site.pages import PageView, Survey, decode

if TYPE_CHECKING:
    from imghost.html.scripts import Renames

HELD_BY_NAME: Final = "is named by a script that renames images"
HELD_BY_SELECTOR: Final = "is styled by a selector that asks for its URL"
HELD_BY_INTEGRITY: Final = "is in a style sheet for whose bytes a page vouches (integrity)"

_SCRIPTS: Final = (".js", ".mjs", ".cjs")
_LARGEST: Final = 20_000_000
"""Bytes; a larger script or style sheet is data."""
_APART: Final = frozenset({"searchindex.js", "doctools.js"})
"""Sphinx's index of words, and its script that works on `img.toggler` alone, which is held by its class."""


class Dependents(NamedTuple):
    """What a site's scripts and style sheets do with images."""

    literals: frozenset[str] = frozenset()
    """Literals of which its scripts make images' names."""
    words: frozenset[str] = frozenset()
    """Ids and classes of elements on whose URLs its scripts work."""
    selectors: frozenset[Condition] = frozenset()
    files: frozenset[str] = frozenset()
    """The site's files; only a name that one of them has can be shown in another's place."""

    @property
    def mark(self) -> str:
        """Name what a scan of a page depends on: a scan made under another mark does not count."""
        words = "\n".join(sorted(self.words))
        return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:16] if words else ""

    def asked_of(self, page: PageView, origin: str, vouched: frozenset[str]) -> Callable[[Reference, str], str] | None:
        """Make the question why a reference of this page stays; None where nothing there depends on any.

        `origin` is the hosted images', empty where they lie in the site.
        """
        if page.path in vouched:
            return lambda _, __: HELD_BY_INTEGRITY
        literals = self.literals.union(page.scan.renaming) if page.scan.renaming else self.literals
        selectors = self.selectors.union(page.scan.selectors) if page.scan.selectors else self.selectors
        if not literals and not selectors:
            return None

        def why(reference: Reference, path: str) -> str:
            if literals and is_renamed(path, literals, self.files):
                return HELD_BY_NAME
            return HELD_BY_SELECTOR if selectors and _is_restyled(selectors, reference, origin) else ""

        return why


def dependents_of(found: Survey) -> Dependents:
    """Read each script and style sheet of a site once."""
    renames: list[Renames] = []
    selectors: set[Condition] = set()
    for path in sorted(path for path in found.files if path.endswith((*_SCRIPTS, ".css"))):
        content = _content(found, path)
        if b"src" in content and path.endswith(_SCRIPTS) and path.rpartition("/")[2] not in _APART:
            from imghost.html.scripts import renames_of

            renames.append(renames_of(decode(content)))
        if b"[src" in content or b"[href" in content or b"[poster" in content:
            from imghost.html.selectors import selectors_of

            selectors |= selectors_of(decode(content))
    literals = frozenset(literal for one in renames for literal in one.literals)
    words = frozenset(word for one in renames for word in one.words)
    return Dependents(literals, words, frozenset(selectors), found.files)


def _content(found: Survey, path: str) -> bytes:
    """Read a file; one that cannot be read, or is too large to be code, says nothing."""
    try:
        with open(f"{found.root}/{path}", "rb") as file:  # noqa: PTH123 - a path as an object costs more
            content = file.read(_LARGEST + 1)
    except OSError:
        return b""
    return content if len(content) <= _LARGEST else b""


@lru_cache(maxsize=4096)
def is_renamed(path: str, literals: frozenset[str], files: frozenset[str]) -> bool:
    """Say whether scripts make another of the site's files of this image's name, or ask for it."""
    from imghost.html.scripts import DIGITS, names, renamed_paths

    if names(path, literals) or any(new != path and new in files for new in renamed_paths(path, literals)):
        return True
    return DIGITS in literals and _series(files)[_numberless(path)] > 1


@lru_cache(maxsize=2)
def _series(files: frozenset[str]) -> Counter[str]:
    """Count the files whose names differ in their digits alone."""
    return Counter(map(_numberless, files))


def _numberless(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{re.sub('[0-9]+', '0', name)}"


def _is_restyled(selectors: Iterable[Condition], reference: Reference, origin: str) -> bool:
    """Say whether a selector matches one of a reference's URL now and a hosted one, and not the other."""
    from imghost.html.selectors import differs, stand_in

    new = stand_in(reference.url, origin)
    return differs(selectors, reference.kind, reference.url, new, in_srcset=reference.in_srcset) is not None
