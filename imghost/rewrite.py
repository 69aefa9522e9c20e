"""References and new URLs to a page's new text: a pure splice that leaves every other character as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from imghost.charrefs import decode
from imghost.models import Reference

_AMPERSAND: Final = {"&": "&amp;"}
_ESCAPES: Final = {
    '"': str.maketrans(_AMPERSAND | {'"': "&quot;"}),
    "'": str.maketrans(_AMPERSAND | {"'": "&#39;"}),
    "": str.maketrans(_AMPERSAND | {letter: f"&#{ord(letter)};" for letter in "\t\n\f\r \"'=<>`"}),
}
_NEEDS_QUOTES: Final = re.compile("[\t\n\f\r \"'=<>`]|\\A\\Z")
_IN_CSS: Final = re.compile(r"""[\x00-\x1f\x7f"'()\\<> ]""")
_IN_SRCSET: Final = re.compile(r"[\t\n\f\r ]|\A,+|,+\Z")


def splice(text: str, edits: Iterable[tuple[Reference, str]]) -> str:
    """Put each new URL where its reference is written, and leave everything else as it is.

    Raises:
        ValueError: two references overlap.
    """
    parts: list[str] = []
    position = 0
    for reference, url in sorted(edits, key=lambda edit: edit[0].start):
        if reference.start < position:
            raise ValueError(f"two edits overlap at character {reference.start}")
        raw = text[reference.start : reference.end]
        parts += text[position : reference.start], replacement(raw, reference, url)
        position = reference.end
    return "".join(parts) + text[position:]


def replacement(raw: str, reference: Reference, url: str) -> str:
    """Write a new URL as the reference's old text `raw` is written, with the old query and fragment."""
    rest, fragment = _split(url, "#")
    path, query = _split(rest, "?")
    is_plain = _is_plain(raw, reference)
    old_rest, old_fragment = _split(raw if is_plain else reference.url, "#")
    old_query = _split(old_rest, "?")[1]

    def kept(part: str) -> str:
        return part if is_plain else _escaped(part, reference)

    written = _escaped(path + query, reference)
    if old_query:
        written += _escaped("&", reference) + kept(old_query[1:]) if query else kept(old_query)
    written += kept(old_fragment) if old_fragment else _escaped(fragment, reference)
    return _quoted(written) if _is_whole_value(reference) and _NEEDS_QUOTES.search(written) else written


def _split(url: str, mark: str) -> tuple[str, str]:
    """Cut a URL before its first mark."""
    head, found, tail = url.partition(mark)
    return head, found + tail


def _is_plain(raw: str, reference: Reference) -> bool:
    """Say whether a URL is written letter by letter, so that parts of it can be kept as they are."""
    if reference.css is not None and "\\" in raw:
        return False
    return reference.quote is None or decode(raw) == raw


def _is_whole_value(reference: Reference) -> bool:
    """Say whether the span is all of an unquoted value, so that quotes may be put around it."""
    return reference.quote == "" and reference.css is None and not reference.in_srcset


def _escaped(part: str, reference: Reference) -> str:
    """Escape a part of a URL for CSS or a srcset, then for the attribute around it."""
    if reference.in_srcset:
        part = _IN_SRCSET.sub(lambda found: "".join(f"%{ord(letter):02X}" for letter in found[0]), part)
    if reference.css is not None:
        part = _IN_CSS.sub(lambda found: f"\\{ord(found[0]):x} ", part)
    if reference.quote is None:
        return part
    # Quotes come around a whole unquoted value where it needs them, so only what they need is escaped.
    return part.translate(_ESCAPES['"' if _is_whole_value(reference) else reference.quote])


def _quoted(value: str) -> str:
    return '"' + value.replace('"', "&quot;") + '"'
