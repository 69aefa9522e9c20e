"""References and new URLs to a page's new text: a pure splice that leaves every other character as it is."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache, partial
from types import MappingProxyType
from typing import Final

from imghost.models import NamedTuple, Reference, changed_text

_AMPERSAND: Final = {"&": "&amp;"}
_ESCAPES: Final = {
    '"': str.maketrans(_AMPERSAND | {'"': "&quot;"}),
    "'": str.maketrans(_AMPERSAND | {"'": "&#39;"}),
    "": str.maketrans(_AMPERSAND | {letter: f"&#{ord(letter)};" for letter in "\t\n\f\r \"'=<>`"}),
}
_NEEDS_QUOTES: Final = cache(partial(re.compile, "[\t\n\f\r \"'=<>`]|\\A\\Z"))
_IN_CSS: Final = cache(partial(re.compile, r"""[\x00-\x1f\x7f"'()\\<> ]"""))
_IN_SRCSET: Final = cache(partial(re.compile, r"[\t\n\f\r ]|\A,+|,+\Z"))


def splice(text: str, edits: Iterable[tuple[Reference, str]], *, keeps_query: bool = True) -> str:
    """Put each new URL where its reference is written, and leave everything else as it is.

    Raises:
        ValueError: two references overlap.
    """
    return changed_text(text, changes_of(text, dict(edits), keeps_query=keeps_query))


def changes_of(
    text: str, edits: Mapping[Reference, str], *, keeps_query: bool = True
) -> tuple[tuple[int, str, str], ...]:
    """List what the edits change, in order: where, the text there, and the text that takes its place."""
    found = []
    for reference, url in sorted(edits.items(), key=lambda edit: edit[0].start):
        raw = text[reference.start : reference.end]
        written = replacement(raw, reference, url, keeps_query=keeps_query)
        # The map keeps them for every page, and many show the same images.
        found.append((reference.start, sys.intern(raw), sys.intern(written)))
    return tuple(found)


def replacement(raw: str, reference: Reference, url: str, *, keeps_query: bool = True) -> str:
    """Write a new URL as the reference's old text `raw` is written, with the old query and fragment.

    A host that makes other pictures by the query must not get one that only kept old copies from being shown.
    """
    is_plain = raw == reference.url and "?" not in raw and "#" not in raw
    if is_plain and reference.quote and reference.css is None and not reference.in_srcset:
        return url.translate(_ESCAPES[reference.quote])  # as most are: nothing of the old text is kept
    if reference.in_srcset:
        url = _IN_SRCSET().sub(lambda found: "".join(f"%{ord(letter):02X}" for letter in found[0]), url)
    path, query, fragment = _parts(url)
    old_query, old_fragment = _kept(raw, reference)
    written = _escaped(path + query, reference)
    if old_query and keeps_query:
        written += _escaped("&", reference) + old_query[1:] if query else old_query
    written += old_fragment or _escaped(fragment, reference)
    return _quoted(written) if _is_whole_value(reference) and _NEEDS_QUOTES().search(written) else written


def _parts(url: str) -> tuple[str, str, str]:
    """Split a URL into its path, query and fragment, the last two with their marks."""
    rest, hash_mark, fragment = url.partition("#")
    path, mark, query = rest.partition("?")
    return path, mark + query, hash_mark + fragment


def _kept(raw: str, reference: Reference) -> tuple[str, str]:
    """Give the old query and fragment as they are written, or written anew where their marks are encoded."""
    _, *written = _parts(raw)
    _, *meant = _parts(reference.url)
    if [_meaning(part, reference) for part in written] != meant:
        written = [_escaped(part, reference) for part in meant]
    return written[0], written[1]


def _meaning(part: str, reference: Reference) -> str:
    # Both bring large patterns and tables, and plain URLs, which most are, need neither.
    if reference.quote is not None and "&" in part:
        from imghost.html.tokenizer import decode

        part = decode(part)
    if reference.css is not None and part:
        from imghost.html.scan import unescape

        part = unescape(part)
    return part


def _is_whole_value(reference: Reference) -> bool:
    """Say whether the span is all of an unquoted value, so that quotes may be put around it."""
    return reference.quote == "" and reference.css is None and not reference.in_srcset


def _escaped(part: str, reference: Reference) -> str:
    """Escape a part of a URL for CSS, then for the attribute around it."""
    if reference.css is not None:
        part = _IN_CSS().sub(lambda found: f"\\{ord(found[0]):x} ", part)
    if reference.quote is None:
        return part
    # Quotes come around a whole unquoted value where it needs them, so only what they need is escaped.
    return part.translate(_ESCAPES['"' if _is_whole_value(reference) else reference.quote])


def _quoted(value: str) -> str:
    return '"' + value.replace('"', "&quot;") + '"'


class Additions(NamedTuple):
    """What the options ask for."""

    responsive: bool = False
    format: str = ""
    dimensions: bool = False
    lazy: bool = False
    fallback: bool = False

    def __bool__(self) -> bool:
        return any(tuple(self))


class HostedImage(NamedTuple):
    """What is known of the hosted image that a reference moves to."""

    url: str = ""
    """Its address in the format asked for; empty where the plain one stays."""
    width: int | None = None
    height: int | None = None
    choices: tuple[tuple[str, str], ...] = ()
    """Addresses to choose from by width, each with its descriptor, the whole image last."""


class SizeRule(NamedTuple):
    """A rule that decides images' height: what the image has, and what some elements around it have.

    Each is told by names of elements, by `.class` and by `#id`; nothing = any.
    """

    around: frozenset[frozenset[str]]
    own: frozenset[str]


class Shaping(NamedTuple):
    """What styles decide of images, each in the places that its rules name."""

    heights: frozenset[SizeRule] = frozenset()
    widths: frozenset[SizeRule] = frozenset()
    loose: frozenset[SizeRule] = frozenset()
    """Rules by which an image is as wide as its file, whatever width it is told."""
    is_bounded: bool = False
    """Whether no image is shown wider than a part of the window or of what it stands in."""
    stretching: frozenset[frozenset[str]] = frozenset()
    """What elements have that stretch the images right in them, as a column of `flex` does."""

    def joined(self, other: Shaping) -> Shaping:
        """Put two style sheets together."""
        return Shaping(
            self.heights | other.heights,
            self.widths | other.widths,
            self.loose | other.loose,
            self.is_bounded or other.is_bounded,
            self.stretching | other.stretching,
        )

    @property
    def rules(self) -> frozenset[SizeRule]:
        """All of its rules."""
        return self.heights | self.widths | self.loose


class Improvements(NamedTuple):
    """What a page's images shall be, beside moved."""

    additions: Additions = Additions()
    known: Mapping[Reference, HostedImage] = MappingProxyType({})
    shaping: Shaping = Shaping()
    """What the site's style sheets decide of images' sizes."""
    policies: tuple[str, ...] = ()
    """The policies that its servers' headers set, beside the page's own."""
