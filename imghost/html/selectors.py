"""Selectors that ask for a URL's text: they must match as much, and no more, when the URL is another."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from imghost.models import Condition

_ATTRIBUTES: Final = r"src|srcset|data-src|data-srcset|href|xlink\\?:href|poster|content|data"
_STRING: Final = r"""\\?"(?:[^"\\\n]|\\[^"])*\\?"|\\?'(?:[^'\\\n]|\\[^'])*\\?'|(?:[^\]\s"'\\]|\\.)+"""
_SELECTOR: Final = re.compile(
    rf"""\[\s*(?:\*?\|)?({_ATTRIBUTES})\s*([~|^$*]?=)\s*({_STRING})\s*([iIsS]?)\s*\]""", re.A | re.I
)
_ESCAPE: Final = re.compile(r"\\(?:([0-9a-fA-F]{1,6})\s?|(.))", re.S)
_UP: Final = re.compile(r"(?:\.{0,2}/)*")
_ENDING: Final = re.compile(r"\.[A-Za-z]{3,4}\Z")

_WRITTEN_IN: Final = {
    "img": ({"src", "data-src"}, {"srcset", "data-srcset"}),
    "link": ({"href"}, set[str]()),
    "poster": ({"poster"}, set[str]()),
    "meta": ({"content"}, set[str]()),
    "preload": ({"href"}, {"imagesrcset"}),
    "svg": ({"href", "xlink:href"}, set[str]()),
    "object": ({"src", "data"}, set[str]()),
    "icon": ({"href"}, set[str]()),
}
"""The attributes that hold the references of a kind: those of one URL, and those of several."""


def matches(condition: Condition, text: str) -> bool:
    """Say whether an attribute with this text fulfils a condition."""
    operator, value = condition.operator, condition.value
    if condition.ignores_case:
        text, value = text.lower(), value.lower()
    if operator == "=":
        return text == value
    if not value:
        return False
    if operator == "^=":
        return text.startswith(value)
    if operator == "$=":
        return text.endswith(value)
    if operator == "*=":
        return value in text
    if operator == "~=":
        return value in text.split()
    return text == value or text.startswith(f"{value}-")


def selectors_of(text: str) -> frozenset[Condition]:
    """Find the selectors that ask for a URL's text, in a style sheet or a script."""
    if "[" not in text:
        return frozenset()
    return frozenset(
        Condition(found[1].lower().replace("\\", ""), found[2], _read(found[3]), found[4].lower() == "i")
        for found in _SELECTOR.finditer(text)
    )


def _read(written: str) -> str:
    """Read a selector's value: a string, one in a script's string, or an identifier."""
    bare = written.removeprefix("\\") if written[:2] in {'\\"', "\\'"} else written
    if bare[:1] in {'"', "'"}:
        bare = bare[1:-1].removesuffix("\\")
    return _ESCAPE.sub(lambda escape: chr(int(escape[1], 16) % 0x110000) if escape[1] else escape[2], bare)


def differs(selectors: Iterable[Condition], kind: str, old: str, new: str, *, in_srcset: bool) -> Condition | None:
    """Find a selector that matches a reference's old URL and not the new one, or the new one alone.

    `a[href^="http"]::after` draws a mark beside links that lead elsewhere, and would beside a hosted image's.
    """
    attributes = _WRITTEN_IN.get(kind, (set[str](), set[str]()))[in_srcset]
    for selector in selectors:
        if selector.attribute in attributes and matches(selector, old) is not matches(selector, new):
            return selector
    return None


def stand_in(old: str, origin: str) -> str:
    """Write a URL as a hosted image's could be: its name from the bytes, its ending and what follows it as before.

    Without an origin the image lies in the site, and the URL leads up as the old one does.
    """
    path, mark, fragment = old.partition("#")
    path, query_mark, query = path.partition("?")
    ending = _ENDING.search(path)
    up = _UP.match(path)
    where = f"{origin}/" if origin else f"{up[0] if up else ''}_imghost/"
    return f"{where}{'0' * 32}{ending[0] if ending else ''}{query_mark}{query}{mark}{fragment}"
