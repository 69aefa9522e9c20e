"""Moved images made improvements: sizes to choose from, room reserved, loaded late, a local copy to fall back on. Pure.

Nothing that the author wrote is replaced: attributes are added where they are missing, by span.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Final, NamedTuple

from imghost.html import allows_inline
from imghost.html.edit import HostedImage, Improvements, Shaping
from imghost.html.scan import Element
from imghost.html.tokenizer import HTML, Tag, attributes, tags, value
from imghost.models import Reference, Scan

MARK: Final = ' data-imghost="sized"'
GUARD: Final = "<style>:where(img[data-imghost=sized]){height:auto}</style>"
"""Keeps an image's shape where the theme makes it narrower; any rule of the theme's own outweighs it."""

_PIXELS: Final = re.compile(r"[0-9]{1,6}")
_FLUID: Final = re.compile(r"[\t\n\f\r ][0-9]+[wh](?=[\t\n\f\r ,]|\Z)")
_HARMLESS: Final = re.compile(
    r"(?:\s*(?:margin|padding|border|outline|background|opacity|float|clear|color|cursor|vertical-align|text-align|"
    r"box-shadow|filter|max-width|z-index|image-rendering|visibility)[a-z\-]*\s*:[^;]*(?:;|\Z))*\s*",
    re.I,
)
"""A style attribute that leaves an image's height to its own shape."""
_OWN_WIDTH: Final = re.compile(r"(?:\A|[;\s])width\s*:\s*([0-9]{1,6})px\s*(?:;|\Z)", re.I)
_AROUND: Final = re.compile(r"<([a-z][a-z0-9-]*)([^<>]*)>\s*(?:<(?:a|picture|source)\b[^<>]*>\s*)*\Z", re.I)
_BOUND: Final = re.compile(r"(?:\A|[;\s])(?:max-)?width\s*:\s*[0-9.]+(?:%|vw)", re.I)
_INERT: Final = frozenset({"noscript", "template"})
"""Elements whose images a browser does not show where they stand."""
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

    @property
    def classes(self) -> list[str]:
        """Its classes."""
        return value(self.element.text, self.element.given.get("class")).split()

    def has(self, name: str) -> bool:
        """Say whether the author wrote this attribute."""
        return name in self.element.given


def improve(
    text: str, scan: Scan, edits: Mapping[Reference, str], improvements: Improvements
) -> tuple[dict[Reference, str], tuple[tuple[int, str, str], ...]]:
    """Choose the URLs anew, and list what is added to the page: where, nothing, and the text that comes there."""
    images, title = _read(text, scan, edits)
    has_rule = title is not None and allows_inline(scan.policies, "style-src-elem")
    may_size = improvements.additions.dimensions and has_rule
    shaping = improvements.shaping.joined(_own_shaping(text))
    known = improvements.known
    # A browser fetches what is preloaded by its plain address, so nothing else may be asked for in its place.
    preloaded = {url for reference, url in edits.items() if reference.kind == "preload"}
    chosen = dict(edits)
    added: list[tuple[int, str, str]] = []
    for image in images:
        is_early = any(edits[reference] in preloaded for reference in image.moved)
        if image.picture is None and not is_early:
            chosen |= {one: known[one].url for one in image.moved if known[one].url}
        if new := _attributes(image, scan, improvements, shaping, is_early=is_early, may_size=may_size):
            added.append((image.at, "", "".join(f' {name}="{_escaped(told)}"' for name, told in new.items())))
    is_sized = any(MARK in told for _, _, told in added)
    if is_sized and title is not None:
        added.append((title, "", GUARD))
    return chosen, tuple(sorted(added))


def _own_shaping(text: str) -> Shaping:
    """Read a page's own styles."""
    sheets = (text[tag.body : tag.end] for tag in tags(text, with_styles=False) if tag.name == "#css")
    return all_shaping(sheets)


def _attributes(
    image: _Shown, scan: Scan, improvements: Improvements, shaping: Shaping, *, is_early: bool, may_size: bool
) -> dict[str, str]:
    """List what an image gets that the author did not write; `is_early` is one that the page preloads."""
    if not image.element.given.keys().isdisjoint(_LOADED_BY_SCRIPT):
        return {}
    additions, new = improvements.additions, dict[str, str]()
    if may_size:
        new |= _dimensions(image, improvements.known, shaping)
    if additions.lazy and not is_early:
        new |= _lazy(image)
    if additions.responsive and not is_early:
        new |= _responsive(image, improvements.known, new, shaping)
    if additions.fallback and allows_inline(scan.policies, "script-src-attr"):
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
    inert = 0
    first: Tag | None = None
    title: int | None = None
    for tag in tags(text, with_styles=False):
        if tag.namespace != HTML:
            continue
        if tag.name == "picture":
            open_pictures.append(tag.end)
        elif tag.name == "/picture" and open_pictures:
            ends[open_pictures.pop()] = tag.end
        elif tag.name in _INERT:
            inert += 1
        elif tag.name[1:] in _INERT:
            inert = max(0, inert - 1)
        elif tag.name == "img":
            first = first or (None if inert else tag)
            found.append((tag, open_pictures[-1] if open_pictures else None))
        elif tag.name == "title" and title is None:
            title = tag.body - len("<title")
    spans = (None if start is None else (start, ends.get(start, len(text))) for _, start in found)
    return [_Place(tag, span, tag is first) for (tag, _), span in zip(found, spans, strict=True)], title


def _dimensions(image: _Shown, known: Mapping[Reference, HostedImage], shaping: Shaping) -> dict[str, str]:
    """Add the image's own size, where nothing else decides it."""
    if shaping.decides_height(image.classes) or _is_in_column(image, shaping):
        return {}
    if not image.source or any(map(image.has, ("width", "height", "sizes", "data-imghost"))):
        return {}
    srcset = image.element.says("srcset")
    if _FLUID.search(srcset) or "data:" in srcset or not _HARMLESS.fullmatch(image.element.says("style")):
        return {}
    size = known[image.source]
    if not size.width or not size.height:
        return {}
    # In a picture a source of another size than the image would be shown out of shape.
    beside = (known.get(one) for one in image.picture or ())
    if any(one is None or (one.width, one.height) != (size.width, size.height) for one in beside):
        return {}
    return {"width": str(size.width), "height": str(size.height), "data-imghost": "sized"}


def _lazy(image: _Shown) -> dict[str, str]:
    is_wanted_soon = image.is_first or image.element.says("fetchpriority") == "high"
    return {} if image.has("loading") or is_wanted_soon else {"loading": "lazy"}


def _responsive(
    image: _Shown, known: Mapping[Reference, HostedImage], new: Mapping[str, str], shaping: Shaping
) -> dict[str, str]:
    """Add the sizes to choose from; the image is shown as large as it was, and by a file that is large enough.

    `sizes` also decides how large an image is shown for which nothing else does, so it tells the window's width
    only where the shown width is bounded. `auto` would have a browser lay the image out without its own size
    (HTML, sizes attributes), which no author counts on.
    """
    if not image.source or image.picture is not None or image.has("srcset") or image.has("sizes"):
        return {}
    choices = known[image.source].choices
    if not choices:
        return {}
    style = image.element.says("style")
    width, height = (_pixels(name, image, new) for name in ("width", "height"))
    slot = width or _natural(known[image.source], height)
    if (own := _OWN_WIDTH.search(style)) is not None:
        slot = int(own[1])
    elif shaping.decides_width(image.classes) or "width" in style:
        slot = _natural(known[image.source], 0)
    is_told = image.has("width") or width or height or own or _BOUND.search(style)
    is_bounded = is_told or shaping.is_bounded or shaping.decides_width(image.classes)
    sizes = f"(max-width: {slot}px) 100vw, {slot}px" if is_bounded else f"{slot}px"
    srcset = ", ".join(f"{url.replace(',', '%2C').replace(' ', '%20')} {wide}" for url, wide in choices)
    return {"srcset": srcset, "sizes": sizes}


def _pixels(name: str, image: _Shown, new: Mapping[str, str]) -> int:
    told = new.get(name) or image.element.says(name)
    return int(told) if _PIXELS.fullmatch(told) else 0


def _natural(known: HostedImage, height: int) -> int:
    """Give the width at which an image is shown for which at most a height is told."""
    assert known.width
    assert known.height
    return max(1, known.width * height // known.height) if height else known.width


def _is_in_column(image: _Shown, shaping: Shaping) -> bool:
    """Say whether the element right around an image lays out a column, which stretches what is in it."""
    around = _AROUND.search(image.element.text, max(0, image.at - 600), image.at - len("<img"))
    if around is None:
        return False
    given = attributes(image.element.text, around.end(1), around.end(2) + 1)
    classes, style = (value(image.element.text, given.get(name)) for name in ("class", "style"))
    return not shaping.column_classes.isdisjoint(classes.split()) or "column" in style


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


# What a site's styles say of the size of images: whether something beside an image's own attributes decides it.
#
# Rules are read as far as they can be without a tree of elements: one that asks for elements around an image by a
# class or an id is passed over.

_COMMENT: Final = re.compile(r"/\*.*?(?:\*/|\Z)", re.S)
_BLOCK: Final = re.compile(r"\{([^{}]*)\}")
_KEEPS: Final = r"\s*:\s*(?!(?:auto|none|initial|unset|revert|0)\s*(?:!|;|\Z))"
_HEIGHT: Final = re.compile(rf"(?<![\w-])(?:(?:max-|min-)?(?:height|block-size)|aspect-ratio){_KEEPS}", re.I)
_WIDTH: Final = re.compile(rf"(?<![\w-])(?:width|inline-size){_KEEPS}", re.I)
_BOUNDING: Final = re.compile(r"(?<![\w-])(?:max-)?(?:width|inline-size)\s*:\s*[0-9.]+(?:%|vw)", re.I)
_COLUMN: Final = re.compile(r"(?<![\w-])flex-(?:direction|flow)\s*:[^;]*\bcolumn", re.I)
_STEPS: Final = re.compile(r"[\s>+~]+")
_CLASS: Final = re.compile(r"\.([\w-]+)")
_ANY_IMAGE: Final = re.compile(r"(?:img|\*|)(?::[\w-]+(?:\([^()]*\))?|\[[^\]]*\])*\Z", re.I)
_PLAIN: Final = re.compile(r"(?:[a-z][a-z0-9]*|\*|:root)\Z", re.I)


def all_shaping(sheets: Iterable[str]) -> Shaping:
    """Read style sheets."""
    return reduce(Shaping.joined, map(shaping_of, sheets), Shaping())


def shaping_of(css: str) -> Shaping:
    """Read one style sheet, each rule once."""
    css = _COMMENT.sub(" ", css)
    found = Shaping()
    at = 0
    for block in _BLOCK.finditer(css):
        before = css[at : block.start()]
        at = block.end()
        selectors = before[max(map(before.rfind, "{};")) + 1 :]
        if decides := _decided(block[1]):
            for selector in selectors.split(","):
                found = found.joined(_of_rule(selector.strip(), decides))
    return found


def _decided(declarations: str) -> dict[str, bool]:
    """Say what a rule decides; empty where nothing of images' sizes."""
    patterns = {"height": _HEIGHT, "width": _WIDTH, "bound": _BOUNDING, "column": _COLUMN}
    decided = {name: bool(pattern.search(declarations)) for name, pattern in patterns.items()}
    return decided if any(decided.values()) else {}


def _of_rule(selector: str, decides: dict[str, bool]) -> Shaping:
    *around, last = _STEPS.split(selector) or [""]
    classes = frozenset(_CLASS.findall(last))
    column = classes if decides["column"] else frozenset[str]()
    if not all(map(_PLAIN.match, around)):
        return Shaping(is_bounded=decides["bound"] and last.lower() == "img", column_classes=column)
    is_any = bool(last) and bool(_ANY_IMAGE.match(last))
    return Shaping(
        is_any and decides["height"],
        classes if decides["height"] else frozenset(),
        is_any and decides["width"],
        classes if decides["width"] else frozenset(),
        is_any and decides["bound"],
        column,
    )
