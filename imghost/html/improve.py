"""Moved images made improvements: sizes to choose from, room reserved, loaded late, a local copy to fall back on. Pure.

Nothing that the author wrote is replaced: attributes are added where they are missing, by span.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from imghost.html import policy
from imghost.html.edit import HostedImage, Improvements
from imghost.html.scan import Element
from imghost.html.tokenizer import HTML, Tag, attributes, tags
from imghost.models import Reference, Scan

MARK: Final = ' data-imghost="sized"'
GUARD: Final = "<style>:where(img[data-imghost=sized]){height:auto}</style>"
"""Keeps an image's shape where the theme makes it narrower; any rule of the theme's own outweighs it."""

_PIXELS: Final = re.compile(r"[0-9]{1,6}")
_FLUID: Final = re.compile(r"[\t\n\f\r ][0-9]+[wh](?=[\t\n\f\r ,]|\Z)")
_SIZED: Final = re.compile(r"(?:\A|;)\s*(?:width|height)\s*:", re.I)
_LOADED_BY_SCRIPT: Final = frozenset({"data-src", "data-srcset"})


@dataclass(frozen=True, slots=True)
class _Shown:
    """An element `<img>`: where it is in the page, and what of it moves."""

    element: Element
    at: int
    """Where its attributes begin."""
    source: Reference | None
    """What its `src` is, if that moves."""
    moved: tuple[Reference, ...]
    picture: tuple[Reference, ...] | None
    """What the `<picture>` around it refers to, if one is."""
    is_first: bool

    def has(self, name: str) -> bool:
        """Say whether the author wrote this attribute."""
        return name in self.element.given


def improve(
    text: str, scan: Scan, edits: Mapping[Reference, str], improvements: Improvements
) -> tuple[dict[Reference, str], tuple[tuple[int, str, str], ...]]:
    """Choose the URLs anew, and list what is added to the page: where, nothing, and the text that comes there."""
    images, title = _read(text, scan, edits)
    known = improvements.known
    # A browser fetches what is preloaded by its plain address, so nothing else may be asked for in its place.
    preloaded = {url for reference, url in edits.items() if reference.kind == "preload"}
    chosen = dict(edits)
    added: list[tuple[int, str, str]] = []
    for image in images:
        is_early = any(edits[reference] in preloaded for reference in image.moved)
        if image.picture is None and not is_early:
            chosen |= {one: known[one].url for one in image.moved if known[one].url}
        if new := _attributes(image, scan, improvements, is_early=is_early):
            added.append((image.at, "", "".join(f' {name}="{_escaped(told)}"' for name, told in new.items())))
    is_sized = any(MARK in told for _, _, told in added)
    if is_sized and title is not None and policy.allows_inline(scan.policies, "style-src-elem"):
        added.append((title, "", GUARD))
    return chosen, tuple(sorted(added))


def _attributes(image: _Shown, scan: Scan, improvements: Improvements, *, is_early: bool) -> dict[str, str]:
    """List what an image gets that the author did not write; `is_early` is one that the page preloads."""
    if not image.element.given.keys().isdisjoint(_LOADED_BY_SCRIPT):
        return {}
    additions, new = improvements.additions, dict[str, str]()
    if additions.dimensions:
        new |= _dimensions(image, improvements.known)
    if additions.lazy and not is_early:
        new |= _lazy(image)
    if additions.responsive and not is_early:
        new |= _responsive(image, improvements.known, new)
    if additions.fallback and policy.allows_inline(scan.policies, "script-src-attr"):
        new |= _fallback(image)
    return new


class _Place(NamedTuple):
    """Where an `<img>` is: its tag, and the span of the `<picture>` around it."""

    tag: Tag
    picture: tuple[int, int] | None
    is_first: bool


def _read(text: str, scan: Scan, edits: Mapping[Reference, str]) -> tuple[list[_Shown], int | None]:
    """Find the images of a page that move, and where its title begins."""
    written = sorted((one for one in scan.references if one.kind == "img"), key=lambda one: one.start)
    starts = [one.start for one in written]

    def between(start: int, end: int) -> tuple[Reference, ...]:
        return tuple(written[bisect_left(starts, start) : bisect_left(starts, end)])

    def shown(place: _Place) -> _Shown:
        tag = place.tag
        element = Element("img", HTML, text, attributes(text, tag.body, tag.end))
        moved = tuple(one for one in between(tag.body, tag.end) if one in edits)
        source = element.given.get("src")
        own = next((one for one in moved if source and source.start <= one.start < source.end), None)
        beside = between(*place.picture) if place.picture else None
        return _Shown(element, tag.body, own, moved, beside, place.is_first)

    places, title = _walk(text)
    return [image for image in map(shown, places) if image.moved], title


def _walk(text: str) -> tuple[list[_Place], int | None]:
    """Find a page's images, and where its title begins."""
    found: list[tuple[Tag, int | None]] = []
    ends: dict[int, int] = {}
    open_pictures: list[int] = []
    title: int | None = None
    for tag in tags(text, with_styles=False):
        if tag.namespace != HTML:
            continue
        if tag.name == "picture":
            open_pictures.append(tag.end)
        elif tag.name == "/picture" and open_pictures:
            ends[open_pictures.pop()] = tag.end
        elif tag.name == "img":
            found.append((tag, open_pictures[-1] if open_pictures else None))
        elif tag.name == "title" and title is None:
            title = tag.body - len("<title")
    spans = (None if start is None else (start, ends.get(start, len(text))) for _, start in found)
    return [_Place(tag, span, at == 0) for at, ((tag, _), span) in enumerate(zip(found, spans, strict=True))], title


def _dimensions(image: _Shown, known: Mapping[Reference, HostedImage]) -> dict[str, str]:
    """Add the image's own size, where nothing else decides it."""
    if not image.source or image.has("width") or image.has("height") or image.has("sizes"):
        return {}
    if _FLUID.search(image.element.says("srcset")) or _SIZED.search(image.element.says("style")):
        return {}
    size = known[image.source]
    if not size.width or not size.height:
        return {}
    # In a picture a source of another size than the image would be shown out of shape.
    beside = (known.get(one) for one in image.picture or ())
    if any(one is None or (one.width, one.height) != (size.width, size.height) for one in beside):
        return {}
    mark = {} if image.has("data-imghost") else {"data-imghost": "sized"}
    return {"width": str(size.width), "height": str(size.height)} | mark


def _lazy(image: _Shown) -> dict[str, str]:
    is_wanted_soon = image.is_first or image.element.says("fetchpriority") == "high"
    return {} if image.has("loading") or is_wanted_soon else {"loading": "lazy"}


def _responsive(image: _Shown, known: Mapping[Reference, HostedImage], new: Mapping[str, str]) -> dict[str, str]:
    """Add the sizes to choose from; the image is shown as large as it was."""
    if not image.source or image.picture is not None or image.has("srcset") or image.has("sizes"):
        return {}
    choices = known[image.source].choices
    if not choices:
        return {}
    width, height = (_pixels(name, image, new) for name in ("width", "height"))
    slot = width or _natural(known[image.source], height)
    is_lazy = (new.get("loading") or image.element.says("loading")) == "lazy"
    # By `auto` a browser lays the image out without its own size, so that both must be told.
    automatic = "auto, " if is_lazy and width and height else ""
    srcset = ", ".join(f"{url.replace(',', '%2C').replace(' ', '%20')} {wide}" for url, wide in choices)
    return {"srcset": srcset, "sizes": f"{automatic}(max-width: {slot}px) 100vw, {slot}px"}


def _pixels(name: str, image: _Shown, new: Mapping[str, str]) -> int:
    told = new.get(name) or image.element.says(name)
    return int(told) if _PIXELS.fullmatch(told) else 0


def _natural(known: HostedImage, height: int) -> int:
    """Give the width at which an image is shown for which at most a height is told."""
    assert known.width
    assert known.height
    return max(1, known.width * height // known.height) if height else known.width


def _fallback(image: _Shown) -> dict[str, str]:
    """Add what shows the local copy when the hosted one does not load, once."""
    if not image.source or image.picture is not None or image.has("onerror"):
        return {}
    local = "".join(map(_in_script, image.source.url))
    return {"onerror": f"this.onerror=null;this.removeAttribute('srcset');this.src='{local}'"}


def _in_script(letter: str) -> str:
    """Write a letter in a script's string; a byte that is no text stays the page's own."""
    if letter in "'\\":
        return f"\\{letter}"
    if " " <= letter <= "~" or "\udc80" <= letter <= "\udcff":
        return letter
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _escaped(told: str) -> str:
    return told.replace("&", "&amp;").replace('"', "&quot;")
