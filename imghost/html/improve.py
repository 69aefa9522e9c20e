"""Moved images made improvements: sizes to choose from, room reserved, loaded late, a local copy to fall back on. Pure.

Nothing that the author wrote is replaced: attributes are added where they are missing, by span.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

from imghost.html import allows_inline
from imghost.html.edit import HostedImage, Improvements, Shaping, SizeRule
from imghost.html.scan import Element
from imghost.html.tokenizer import CLOSING_P, HTML, Tag, attributes, tags, value
from imghost.models import NamedTuple, Reference, Scan

_MARK: Final = "data-imghost"
_MARKED: Final = {"width": "sized", "loading": "lazy", "srcset": "sizes", "onerror": "fallback"}
"""What an image's mark says of each thing that was added to it, by the first attribute of that."""
GUARD: Final = "<style>:where(img[data-imghost~=sized]){height:auto}</style>"
"""Keeps an image's shape where the theme makes it narrower; any rule of the theme's own outweighs it."""

_PIXELS: Final = re.compile(r"[0-9]{1,6}")
_FLUID: Final = re.compile(r"[\t\n\f\r ][0-9]+[wh](?=[\t\n\f\r ,]|\Z)")
_HARMLESS: Final = re.compile(
    r"(?:\s*(?:margin|padding|border|outline|background|opacity|float|clear|color|cursor|vertical-align|text-align|"
    r"box-shadow|filter|max-width|z-index|image-rendering|visibility)[a-z\-]*\s*:[^;]*(?:;|\Z))*\s*",
    re.I,
)
"""A style attribute that leaves an image's height to its own shape."""
_OWN_WIDTH: Final = re.compile(r"(?:\A|[;\s])width\s*:\s*([0-9]{1,6})px\s*(?:!\s*important\s*)?(?:;|\Z)", re.I)
_BOUND: Final = re.compile(r"(?:\A|[;\s])(?:max-)?width\s*:\s*[0-9.]+(?:%|vw)", re.I)
_INERT: Final = frozenset({"noscript", "template"})
"""Elements whose images a browser does not show where they stand."""
_LOADED_BY_SCRIPT: Final = re.compile(
    r"data-(?:src|srcset)|(?:[:\[]|(?:v-|x-)?bind:|(?:data-)?ng-|\[(?:attr|prop)\.)(?:src|srcset)\]?"
)
"""Attributes by which a script gives an image its URL, or another one: of loaders, Alpine, Vue, Svelte, Angular."""


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
    is_copied: bool
    """Whether it stands in a `<template>`, and may come into a shadow tree, where the page's styles do not reach."""

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
    policies = (*scan.policies, *improvements.policies)
    has_rule = title is not None and allows_inline(policies, "style-src-elem")
    may_size = improvements.additions.dimensions and has_rule
    shaping = improvements.shaping.joined(_own_shaping(text))
    known = improvements.known
    styled = _styled(text, shaping) if may_size or improvements.additions.responsive else _Styled()
    # A browser fetches what is preloaded by its plain address, so nothing else may be asked for in its place.
    preloaded = {url for reference, url in edits.items() if reference.kind == "preload"}
    chosen = dict(edits)
    added: list[tuple[int, str, str]] = []
    is_sized = False
    for image in images:
        is_early = any(edits[reference] in preloaded for reference in image.moved)
        if image.picture is None and not is_early:
            chosen |= {one: known[one].url for one in image.moved if known[one].url}
        is_sizable = may_size and image.at not in styled.heights
        if new := _attributes(image, policies, improvements, styled, is_early=is_early, may_size=is_sizable):
            added.append((image.at, "", "".join(f' {name}="{_escaped(told)}"' for name, told in new.items())))
            is_sized = is_sized or "width" in new
    if is_sized and title is not None:
        added.append((title, "", GUARD))
    return chosen, tuple(sorted(added))


_MARKS: Final = "|".join(_MARKED.values())
_ADDED: Final = re.compile(
    rf'(?: (?:width|height|loading|srcset|sizes|onerror)="[^"]*")+ {_MARK}="(?:{_MARKS})(?: (?:{_MARKS}))*"'
)


def without_additions(text: str) -> str:
    """Take out of a page all that was added to it, which its marks tell."""
    if f"{_MARK}=" not in text:
        return text
    found = (_ADDED.match(text, tag.body, tag.end) for tag in tags(text, with_styles=False) if tag.name == "img")
    parts, at = [], 0
    for added in filter(None, found):
        parts.append(text[at : added.start()])
        at = added.end()
    return "".join((*parts, text[at:])).replace(GUARD, "")


def _own_shaping(text: str) -> Shaping:
    """Read a page's own styles."""
    sheets = (text[tag.body : tag.end] for tag in tags(text, with_styles=False) if tag.name == "#css")
    return all_shaping(sheets)


def _attributes(
    image: _Shown,
    policies: Sequence[str],
    improvements: Improvements,
    styled: _Styled,
    *,
    is_early: bool,
    may_size: bool,
) -> dict[str, str]:
    """List what an image gets that the author did not write; `is_early` is one that the page preloads.

    What is added is known by a mark at its end, so that it can be taken out where no map of the page is left.
    """
    if image.has(_MARK) or any(map(_LOADED_BY_SCRIPT.fullmatch, image.element.given)):
        return {}
    additions, new = improvements.additions, dict[str, str]()
    if may_size and not image.is_copied:
        new |= _dimensions(image, improvements.known)
    if additions.lazy and not is_early:
        new |= _lazy(image)
    if additions.responsive and not is_early and not image.is_copied:
        new |= _responsive(image, improvements.known, new, styled)
    if additions.fallback and allows_inline(policies, "script-src-attr"):
        new |= _fallback(image)
    marks = [mark for name, mark in _MARKED.items() if name in new]
    return new | {_MARK: " ".join(marks)} if marks else {}


class _Place(NamedTuple):
    """Where an `<img>` is: its tag, and the span of the `<picture>` around it."""

    tag: Tag
    picture: tuple[int, int] | None
    is_first: bool
    is_copied: bool


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
        return _Shown(element, tag.body, own, moved, beside, place.is_first, place.is_copied)

    places, title = _walk(text)
    return [image for image in map(shown, places) if image.moved], title


def _walk(text: str) -> tuple[list[_Place], int | None]:
    """Find a page's images, and where its title begins."""
    found: list[tuple[Tag, int | None, bool]] = []
    ends: dict[int, int] = {}
    open_pictures: list[int] = []
    inert = templates = 0
    first: Tag | None = None
    early: list[tuple[Tag, str]] = []
    title: int | None = None
    edges = _unshown(text)
    for tag in tags(text, with_styles=False):
        if tag.namespace != HTML:
            continue
        if tag.name == "picture":
            open_pictures.append(tag.end)
        elif tag.name == "/picture" and open_pictures:
            ends[open_pictures.pop()] = tag.end
        elif tag.name in _INERT:
            inert += 1
            templates += tag.name == "template"
        elif tag.name[1:] in _INERT:
            inert = max(0, inert - 1)
            templates = max(0, templates - (tag.name == "/template"))
        elif tag.name == "img":
            if first is None and not inert and bisect_right(edges, tag.body) % 2 == 0:
                first = _judged_first(text, tag, early)
                # One of a pair for a dark and a light page was seen before it.
                first = early[0][0] if first and len({scheme for _, scheme in early}) > 1 else first
            found.append((tag, open_pictures[-1] if open_pictures else None, templates > 0))
        elif tag.name == "title" and title is None:
            title = tag.body - len("<title")
    hasty = {tag for tag, _ in early}
    spans = (None if start is None else (start, ends.get(start, len(text))) for _, start, _ in found)
    return [
        _Place(tag, span, tag is first or tag in hasty, is_copied)
        for (tag, _, is_copied), span in zip(found, spans, strict=True)
    ], title


_UNSHOWN: Final = re.compile(r"(?:\A|[;\s])(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.I)
_HIDING: Final = frozenset({"hidden", "popover"})
"""Attributes by which a browser does not show an element at first."""
_ONE_SCHEME: Final = frozenset(
    {"only-dark", "only-light", "dark-only", "light-only", "dark-mode-only", "light-mode-only"}
)
_FOR_ONE_SCHEME: Final = re.compile(r"#(?:gh-)?(?:only-(?:dark|light)|(?:dark|light)-mode-only)\Z")


def _judged_first(text: str, tag: Tag, early: list[tuple[Tag, str]]) -> Tag | None:
    """Give an image that a reader is sure to see; of two for a dark and a light page each goes to `early`."""
    element = Element("img", HTML, text, attributes(text, tag.body, tag.end))
    source = element.says("src")
    is_pixel = element.says("width") in {"0", "1"} and element.says("height") in {"0", "1"}
    is_empty = (not source or source.startswith("data:")) and "srcset" not in element.given
    is_hidden = not element.given.keys().isdisjoint(_HIDING) or bool(_UNSHOWN.search(element.says("style")))
    if is_pixel or is_empty or is_hidden:
        return None
    classes = value(text, element.given.get("class")).split()
    if (fragment := _FOR_ONE_SCHEME.search(source)) or not _ONE_SCHEME.isdisjoint(classes):
        early.append((tag, "dark" if "dark" in (fragment[0] if fragment else " ".join(classes)) else "light"))
        return None
    return tag


def _dimensions(image: _Shown, known: Mapping[Reference, HostedImage]) -> dict[str, str]:
    """Add the image's own size, where nothing else decides it."""
    if not image.source or any(map(image.has, ("width", "height", "sizes"))):
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
    return {"width": str(size.width), "height": str(size.height)}


def _lazy(image: _Shown) -> dict[str, str]:
    is_wanted_soon = image.is_first or image.element.says("fetchpriority") == "high"
    return {} if image.has("loading") or is_wanted_soon else {"loading": "lazy"}


def _responsive(
    image: _Shown, known: Mapping[Reference, HostedImage], new: Mapping[str, str], styled: _Styled
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
    is_decided = image.at in styled.widths
    is_loose = bool(_LOOSE.search(style)) or (image.at in styled.loose and not is_decided)
    width, height = (0 if is_loose else _pixels(name, image, new) for name in ("width", "height"))
    slot = width or _natural(known[image.source], height)
    if (own := _OWN_WIDTH.search(style)) is not None:
        slot = int(own[1])
    elif is_decided or "width" in style:
        slot = _natural(known[image.source], 0)
    is_told = (image.has("width") and not is_loose) or width or height or own or _BOUND.search(style)
    is_bounded = is_told or styled.is_bounded or is_decided
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
# Rules are read by what they ask of an image and of elements around it: names, classes and ids. What else they ask, an
# attribute or the place among others, is taken as fulfilled, and so is any order of the elements around.

_COMMENT: Final = re.compile(r"/\*.*?(?:\*/|\Z)", re.S)
_BLOCK: Final = re.compile(r"\{([^{}]*)\}")
_KEEPS: Final = r"\s*:\s*(?!(?:auto|none|initial|unset|revert|0)\s*(?:!|;|\Z))"
_HEIGHT: Final = re.compile(rf"(?<![\w-])(?:(?:max-|min-)?(?:height|block-size)|aspect-ratio){_KEEPS}", re.I)
_WIDTH: Final = re.compile(rf"(?<![\w-])(?:min-)?(?:width|inline-size){_KEEPS}", re.I)
_LOOSE: Final = re.compile(
    r"(?<![\w-])(?:width|inline-size)\s*:\s*(?:auto|initial|unset|revert|(?:max|min|fit)-content)", re.I
)
_BOUNDING: Final = re.compile(r"(?<![\w-])(?:max-)?(?:width|inline-size)\s*:\s*[0-9.]+(?:%|vw)", re.I)
# Flex lays out a column as wide as its widest, a row with a height as high as that (CSS Flexbox, align-items).
_STRETCHING: Final = re.compile(
    r"(?<![\w-])(?:flex-(?:direction|flow)\s*:[^;]{0,200}\bcolumn|(?:align|justify|place)-items\s*:[^;]{0,200}\bstretch)",
    re.I,
)
_FLEX: Final = re.compile(r"(?<![\w-])display\s*:\s*(?:inline-)?flex\b", re.I)
_ANY_OF: Final = re.compile(r":(?:is|where|matches|-webkit-any|-moz-any)\(([^()]*)\)", re.I)
_ASKING: Final = re.compile(r":(?!(?:is|where|matches|-webkit-any|-moz-any)\()[\w-]+\([^()]*\)", re.I)
_BRACKETS: Final = re.compile(r"""\[(?:[^\]"']|"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z))*+(?:\]|\Z)""")
_PARTING: Final = re.compile("[(),]")
_MOST_NESTED: Final = 8
"""Functions in each other of which a selector is read."""
_MOST_ALTERNATIVES: Final = 64
_STEPS: Final = re.compile(r"[\s>+~]+")
_PART: Final = re.compile(r"[.#]?(?:[\w-]|[^\x00-\x7f]|\\.)+|::?[\w-]+|.", re.S)
_NOT_IMAGES: Final = frozenset({":root", ":host", ":before", ":after", ":focus-within", ":target", "&"})
_ESCAPE: Final = re.compile(r"\\(.)", re.S)


def all_shaping(sheets: Iterable[str]) -> Shaping:
    """Read style sheets."""
    return reduce(Shaping.joined, map(shaping_of, sheets), Shaping())


def shaping_of(css: str) -> Shaping:
    """Read one style sheet, each rule once."""
    css = _COMMENT.sub(" ", css)
    heights: set[SizeRule] = set()
    widths: set[SizeRule] = set()
    loose: set[SizeRule] = set()
    stretching: set[frozenset[str]] = set()
    is_bounded = False
    at = 0
    for block in _BLOCK.finditer(css):
        before = css[at : block.start()]
        at = block.end()
        declared = block[1]
        has_height, has_width = bool(_HEIGHT.search(declared)), bool(_WIDTH.search(declared))
        is_loose = bool(_LOOSE.search(declared))
        is_bounding = bool(_BOUNDING.search(declared))
        stretches = bool(_STRETCHING.search(declared)) or (has_height and bool(_FLEX.search(declared)))
        if not (has_height or has_width or is_loose or is_bounding or stretches):
            continue
        for around, last in _selectors(before[max(map(before.rfind, "{};")) + 1 :]):
            own = frozenset(part for part in last if part[:1] != ":")
            names = {part for part in own if part[0] not in ".#"}
            if stretches:
                stretching.add(own)
            if names - {"img"} or not _NOT_IMAGES.isdisjoint(last):
                continue
            rule = SizeRule(frozenset(around), own)
            for told, rules in ((has_height, heights), (has_width, widths), (is_loose, loose)):
                if told:
                    rules.add(rule)
            is_bounded = is_bounded or (is_bounding and own <= {"img"})
    return Shaping(frozenset(heights), frozenset(widths), frozenset(loose), is_bounded, frozenset(stretching))


def _selectors(written: str) -> Iterator[tuple[list[frozenset[str]], list[str]]]:
    """Give for each selector what it asks of elements around, and the parts of its last step."""
    text = _BRACKETS.sub(":a", written)
    for _ in range(_MOST_NESTED):
        text, count = _ASKING.subn(":a", text)
        if not count:
            break
    for selector in _parted(text):
        for plain in _alternatives(selector.strip()):
            *around, last = ([*_parts_of(step)] for step in _STEPS.split(plain.strip(" \t\n>+~")))
            asked = [frozenset(part for part in parts if part[:1] not in {":", "&"}) for parts in around]
            yield [parts for parts in asked if parts], last


def _parted(text: str) -> Iterator[str]:
    """Part a list of selectors at the commas that stand in no function."""
    at = depth = 0
    for mark in _PARTING.finditer(text):
        if mark[0] != ",":
            depth = max(0, depth + (1 if mark[0] == "(" else -1))
        elif not depth:
            yield text[at : mark.start()]
            at = mark.end()
    yield text[at:]


def _alternatives(selector: str) -> list[str]:
    """Write a selector out for each of what its `:is()` and `:where()` name."""
    written = [selector]
    while (found := next(((at, one) for at, text in enumerate(written) if (one := _ANY_OF.search(text))), None)) and (
        len(written) < _MOST_ALTERNATIVES
    ):
        at, one = found
        text = written.pop(at)
        parts = one[1].split(",")
        if len(written) + len(parts) > _MOST_ALTERNATIVES:
            parts = [":a"]  # as what is not understood
        written += [f"{text[: one.start()]}{part.strip()}{text[one.end() :]}" for part in parts]
    return written


def _parts_of(step: str) -> Iterator[str]:
    """Give an element's name, its classes and ids, and what else a selector asks of it, as a word after a colon."""
    for part in _PART.findall(step):
        if part[0] in ".#":
            yield _ESCAPE.sub(r"\1", part) if len(part) > 1 else ":a"
        elif part[0] == ":":
            yield part.removeprefix(":") if part.startswith("::") else part
        elif part[0].isalnum():
            yield part.lower()
        elif part != "*":
            yield part if part == "&" else ":a"


# Where in a page's elements an image stands. They are followed as far as rules need it: one that is left open, as `<b>`
# may be, counts as around what comes after it, so that a size is rather left out than told wrongly.

_LITERAL: Final = frozenset({"script", "style", "textarea", "xmp"})
_EMPTY: Final = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)
_CLOSED_BY_ITSELF: Final = frozenset({"li", "p", "dt", "dd", "tr", "td", "th", "option"})
_PASSED_OVER: Final = frozenset({"a", "picture"})
"""What may stand between an image and the element that lays it out."""


class _Open(NamedTuple):
    """An element that is open."""

    name: str
    fulfilled: tuple[frozenset[str], ...]
    """What of rules' steps it fulfils."""
    stretches: bool


class _Around:
    """The elements that are open at a place in a page, and what rules' steps they fulfil."""

    def __init__(self, shaping: Shaping) -> None:
        self._stretching = shaping.stretching
        self._steps: dict[str, set[frozenset[str]]] = {}
        for step in {step for rule in shaping.rules for step in rule.around}:
            self._steps.setdefault(max(step), set()).add(step)
        self._stack: list[_Open] = []
        self._open: Counter[str] = Counter()
        self._fulfilled: Counter[frozenset[str]] = Counter()
        self.push("html", {"html", "body"}, "")

    def push(self, name: str, has: set[str], style: str) -> None:
        """Open an element."""
        if name in _CLOSED_BY_ITSELF and self._stack[-1].name == name:
            self._pop()
        steps = tuple(step for part in has for step in self._steps.get(part, ()) if step <= has)
        stretches = bool(style) and bool(_STRETCHING.search(style) or (_FLEX.search(style) and _HEIGHT.search(style)))
        stretches = stretches or any(parts <= has for parts in self._stretching)
        self._stack.append(_Open(name, steps, stretches))
        self._open[name] += 1
        self._fulfilled.update(steps)

    def close(self, name: str) -> None:
        """Close an element, and what is still open in it."""
        if self._open[name] and name != "html":
            while self._pop() != name:
                pass

    def _pop(self) -> str:
        last = self._stack.pop()
        self._open[last.name] -= 1
        self._fulfilled.subtract(last.fulfilled)
        return last.name

    def fulfils(self, rule: SizeRule, has: set[str]) -> bool:
        """Say whether a rule applies to an image that has this, in this place."""
        return rule.own <= has and all(self._fulfilled[step] > 0 for step in rule.around)

    def is_stretched(self) -> bool:
        """Say whether the element right around this place stretches what is in it."""
        for element in reversed(self._stack[-3:]):
            if element.stretches or element.name not in _PASSED_OVER:
                return element.stretches
        return False


class _Styled(NamedTuple):
    """The images of a page, by where their attributes begin, whose sizes a style may decide."""

    heights: frozenset[int] = frozenset()
    widths: frozenset[int] = frozenset()
    loose: frozenset[int] = frozenset()
    is_bounded: bool = False


def _styled(text: str, shaping: Shaping) -> _Styled:
    """Follow a page's elements, and find the images whose sizes a style may decide."""
    around = _Around(shaping)
    heights: list[int] = []
    widths: list[int] = []
    loose: list[int] = []
    for place, name, written in _elements(text):
        if name[0] == "/":
            around.close(name[1:])
            continue
        has, style = _told(name, written)
        if name == "img":
            if around.is_stretched() or any(around.fulfils(rule, has) for rule in shaping.heights):
                heights.append(place)
            for rules, places in ((shaping.widths, widths), (shaping.loose, loose)):
                if any(around.fulfils(rule, has) for rule in rules):
                    places.append(place)
        elif name not in _EMPTY and name not in _LITERAL:
            around.push(name, has, style)
    return _Styled(frozenset(heights), frozenset(widths), frozenset(loose), shaping.is_bounded)


def _elements(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield a page's tags: where their attributes begin, their names in lower case, and their attributes."""
    from imghost.html.uses import TAG

    at = 0
    while (start := text.find("<", at)) >= 0:
        tag = TAG.match(text, start)
        if tag is None:
            at = _comment_end(text, start) if text.startswith("<!--", start) else start + 1
            continue
        at = tag.end()
        name = tag[1].lower()
        yield tag.start(2), name, tag[2]
        if name in _LITERAL:
            at = _end_of(text, name, at)


_MAY_HIDE: Final = re.compile(
    r"<(?:details|dialog|audio|video|canvas|datalist)\b|[\s\"']hidden[\s=>]|[\s\"']popover[\s=>]"
    r"|display\s*:\s*none|visibility\s*:\s*hidden",
    re.I | re.A,
)
_CLOSED: Final = frozenset({"details", "dialog"})
"""Elements whose content is shown once they are open."""
_INSTEAD: Final = frozenset({"audio", "video", "canvas", "datalist"})
"""Elements whose content stands for them where a browser does not know them."""


def _unshown(text: str) -> list[int]:
    """List the places at which what no browser shows at first begins and ends, in turn."""
    if not _MAY_HIDE.search(text):
        return []
    edges: list[int] = []
    stack: list[tuple[str, int]] = []
    depths: Counter[str] = Counter()
    hidden = 0
    for place, tag, written in _elements(text):
        before = hidden
        name = tag.removeprefix("/")
        ended = name if name != tag or (name in _CLOSED_BY_ITSELF and stack[-1:] and stack[-1][0] == name) else ""
        if ended or (name in CLOSING_P and depths["p"]):
            hidden -= _popped(ended or "p", stack, depths)
        if name == tag and name not in _EMPTY and name not in _LITERAL:
            is_title = name == "summary" and stack[-1:] == [("details", 1)]
            stack.append((name, -1 if is_title else int(_hides(name, written))))
            depths[name] += 1
            hidden += stack[-1][1]
        if bool(before) != bool(hidden):
            edges.append(place)
    return edges


def _popped(name: str, stack: list[tuple[str, int]], depths: Counter[str]) -> int:
    """Close an element, and what is still open in it, if it is open; gives how many of them hid something."""
    hidden = 0
    while depths[name]:
        last, hides = stack.pop()
        depths[last] -= 1
        hidden += hides
        if last == name:
            break
    return hidden


def _hides(name: str, written: str) -> bool:
    """Say whether an element's content is not shown when the page is."""
    if name in _INSTEAD:
        return True
    from imghost.html.uses import ATTRIBUTE

    given = {one[1].lower(): (one[2] or "").strip("\"'") for one in ATTRIBUTE.finditer(written)}
    is_closed = name in _CLOSED and "open" not in given
    return is_closed or not given.keys().isdisjoint(_HIDING) or bool(_UNSHOWN.search(given.get("style", "")))


def _told(name: str, written: str) -> tuple[set[str], str]:
    """Give what rules may ask of an element: its name, classes and id; and its own style."""
    from imghost.html.uses import ATTRIBUTE

    has, style = {name}, ""
    for attribute in ATTRIBUTE.finditer(written):
        told = (attribute[2] or "").strip("\"'")
        match attribute[1].lower():
            case "class":
                has.update(f".{one}" for one in told.split())
            case "id":
                has.add(f"#{told}")
            case "style":
                style = told
    return has, style


def _comment_end(text: str, start: int) -> int:
    end = text.find("-->", start)
    return end + 3 if end >= 0 else len(text)


def _end_of(text: str, name: str, start: int) -> int:
    closing = re.compile(f"</{name}", re.I).search(text, start)
    return closing.start() if closing else len(text)
