"""A page's references: the elements and attributes that hold them, and `srcset`."""

from __future__ import annotations

import hashlib
import re
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from imghost.html import CHANGING, HELD_BY_READER, Theme, admits_by_hash, blocks, forbids_all, without
from imghost.html.tokenizer import (
    HTML,
    SPACE,
    SVG,
    Attribute,
    Decoded,
    Tag,
    UnreadError,
    ascii_lower,
    attributes,
    decode_with_offsets,
    names,
    tags,
    value,
)
from imghost.models import Condition, NamedTuple, Reference, Scan, endings

if TYPE_CHECKING:
    from imghost.html.uses import Renames

_REMOVED: Final = str.maketrans("\0", "\ufffd", "\t\n\r")

_STYLED: Final = re.compile("style", re.I | re.A)


@dataclass(slots=True)
class _Cover:
    """An open element whose references move together: a `<picture>`, or a link to an image."""

    name: str
    group: int
    held: str = ""
    members: list[int] = field(default_factory=list)
    has_cors: bool = False


_BEFORE_SRC: Final = frozenset(".'\"")
"""What stands before it where code reads it: `this.src`, `attr('src')`."""
_SELECTING: Final = ("[src", "[href", "[data-src", "[poster", "[style", "[ ")
"""How selectors begin in a script that ask for a URL's text."""
_CODE: Final = ("on", "@", ":", "_", "(", "x-", "v-", "hx-on", "ng-", "data-on")
"""How attributes begin that hold code: for events, and what frameworks read as such."""
_KEPT_CODE: Final = 50_000
"""Letters of a script that is kept; a longer one is known by its digest, since it is large or another on each page."""
_KEPT_LIBRARIES: Final = 64
"""Longer scripts of which is remembered what they say, by their digests."""
_SHORTEST_CODE: Final = 8
"""Letters; less code than that changes no URL."""
_WITH_CODE: Final = frozenset({"img", "input", "image"})
"""Elements whose own code for events is about themselves."""
_ROOTED: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:|[/\\]")


def scan(text: str, kinds: frozenset[str], words: frozenset[str] = frozenset(), theme: Theme | None = None) -> Scan:
    """Find the references of these kinds in a page, whatever the page is, in linear time.

    `words` are ids and classes of elements on whose URLs scripts of the site work, and of its servers' headers, in
    quotes as a policy has them, the digests that they name, and after a `;` what may forbid a `<base>`. `theme` keeps
    what the page before was like, which changes nothing but the time.
    """
    page = _read(text, kinds, words, theme)
    renames = page.renames()
    if renames and not renames.words <= words:
        page = _read(text, kinds, words | renames.words, theme)  # few pages work on elements of theirs
    if any(word.startswith((">", "=>")) for word in page.words):
        page.hold_inside()
    return Scan(
        tuple(page.found),
        page.base,
        tuple(page.policies),
        tuple(sorted(renames.literals)) if renames else (),
        tuple(sorted(page.selectors)),
        tuple(page.vouched),
        tuple(page.fixed),
        tuple(page.early),
    )


_AHEAD: Final = 8
"""Stretches of the page before that are tried where the two differ."""
_HEAD: Final = 24
"""Letters by which a stretch is told first."""
_LARGEST: Final = 1_000_000
"""Letters of a page that is kept until the next one."""
_MOST_STRETCHES: Final = 10_000
_LEAST_PASSED: Final = 8
"""Which part of a page has to be passed for that to cost less than to read all of it: one in so many letters."""
_PATIENCE: Final = 8
"""Pages in a row of which less was passed, before all others of the run are read in any case."""


class _Trail:
    """A page in stretches: where nothing is open that changes what follows, up to the next such place.

    Each begins at a `<`, and ends before one. What a stretch is to the tokenizer its letters and that `<` decide
    alone, so the same letters at such a place of another page are the same there. One that holds a reference, or
    anything that counts outside of it, is always read.
    """

    def __init__(self, page: _Page, last: object) -> None:
        self.page = page
        self.last = last if isinstance(last, _Trail) and last.page.kinds == page.kinds else None
        self.starts: list[int] = []
        self._groups: list[int] = []
        self._scripts: list[int] = []
        """Before each stretch, how many groups and scripts there are."""
        self._held: list[int] = []
        """The stretches that must be read."""
        self._next = 0
        """The stretch of the last page that is expected."""
        self._meant = 0
        self.passed = 0
        """Letters that were not read."""
        self._in_vain = 0
        """Letters that were compared and differed: a page of such may not take longer than its length allows."""

    @property
    def is_short(self) -> bool:
        """Whether it is worth to be kept until the next page."""
        return len(self.page.text) <= _LARGEST and len(self.starts) <= _MOST_STRETCHES

    def ahead(self, gap: int, at: int) -> int:
        """Give where to go on: at this tag, or behind all that the last page had as well."""
        page = self.page
        if not page.is_neutral:
            return at
        if (meant := page.meant) != self._meant:
            self._meant = meant
            if self.starts:
                self._held.append(len(self.starts) - 1)
        if gap < at and (first := page.text.find("<", gap)) < at:
            self._begin(first)
        self._begin(at)
        return at if self.last is None else self._passed(self.last, at)

    def _begin(self, start: int) -> None:
        if not self.starts or self.starts[-1] < start:
            self.starts.append(start)
            self._groups.append(self.page.groups)
            self._scripts.append(len(self.page.scripts))

    def _passed(self, last: _Trail, at: int) -> int:
        head = self.page.text[at : at + _HEAD]
        old, starts, held = last.page.text, last.starts, last._held
        for number in range(self._next, min(self._next + _AHEAD, len(starts) - 1)):
            if old.startswith(head, starts[number]):
                following = bisect_left(held, number)
                end = held[following] if following < len(held) else len(starts) - 1
                if (reached := self._reached(last, number, end, at)) > number:
                    return self._pass(last, number, reached, at)
        return at

    def _reached(self, last: _Trail, number: int, end: int, at: int) -> int:
        """Give the first stretch from this one up to `end` that the page does not have here; steps grow and shrink."""
        text, old, starts, shift = self.page.text, last.page.text, last.starts, at - last.starts[number]
        step, is_growing = 1, True
        while step and number < end:
            tried = min(number + step, end)
            start, stop = starts[number], starts[tried]
            ending = max(start, stop - _HEAD)  # long ones that differ mostly have another length
            if not text.startswith(old[ending : stop + 1], ending + shift):
                is_growing = False
            elif text.startswith(old[start : stop + 1], start + shift):
                number = tried
            else:
                is_growing = False
                self._in_vain += stop - start
                if self._in_vain > len(text):
                    self.last = None
                    break
            step = step * 2 if is_growing else step // 2
        return number

    def _pass(self, last: _Trail, number: int, reached: int, at: int) -> int:
        shift = at - last.starts[number]
        groups = self.page.groups - last._groups[number]
        scripts = len(self.page.scripts) - last._scripts[number]
        passed = slice(number + 1, reached + 1)
        self.starts += [start + shift for start in last.starts[passed]]
        self._groups += [count + groups for count in last._groups[passed]]
        self._scripts += [count + scripts for count in last._scripts[passed]]
        between = last.page.scripts[last._scripts[number] : last._scripts[reached]]
        self.page.pass_over(
            last._groups[reached] - last._groups[number],
            [tag._replace(body=tag.body + shift, end=tag.end + shift) for tag in between],
        )
        self.passed += last.starts[reached] - last.starts[number]
        self._next = reached
        return last.starts[reached] + shift


def _mentions(text: str) -> list[int]:
    """List where code may read a `src`; a pattern for that takes half as long again."""
    places: list[int] = []
    place = text.find("src")
    while place >= 0:
        if text[place - 1 : place] in _BEFORE_SRC:
            places.append(place - 1)
        place = text.find("src", place + 3)
    return places


class _Code(NamedTuple):
    """What one script of a page's own says about images' URLs."""

    renames: Renames | None = None
    selectors: frozenset[Condition] = frozenset()
    vouched: tuple[str, ...] = ()
    """Style sheets that it loads with an `integrity`."""


def _code_of(script: str) -> _Code:
    """Read a script; what its patterns are compiled for, few have."""
    is_mentioning = any(mark in script for mark in CHANGING)
    is_vouching = "integrity" in script
    if not is_mentioning and not is_vouching and "[style" not in script:
        return _NO_CODE
    from imghost.html.uses import renames_of, selectors_of, sheets_of

    has_selector = any(mark in script for mark in _SELECTING)
    return _Code(
        renames_of(script) if is_mentioning else None,
        selectors_of(script) if has_selector else frozenset(),
        tuple(sheets_of(script)) if is_vouching else (),
    )


_NO_CODE: Final = _Code()
_code_of_theme: Final = lru_cache(maxsize=64)(_code_of)
"""A theme's pages have the same scripts, and finding that out costs a hash."""


def _asked_by(style: str) -> frozenset[Condition]:
    """Read the selectors of a style that ask for a URL's text."""
    from imghost.html.uses import selectors_of

    return selectors_of(style, is_style=True)


_asked_by_theme: Final = lru_cache(maxsize=64)(_asked_by)
"""A theme's pages have the same styles, too."""
_libraries: Final[dict[bytes, _Code]] = {}


def _code_of_library(script: str) -> _Code:
    """Read a long script, once where several pages hold it, as of a plot; each page's own data is read, too."""
    digest = hashlib.blake2b(script.encode("utf-8", "surrogatepass")).digest()
    if digest not in _libraries:
        if len(_libraries) >= _KEPT_LIBRARIES:
            _libraries.clear()
        _libraries[digest] = _code_of(script)
    return _libraries[digest]


def _read(text: str, kinds: frozenset[str], words: frozenset[str], theme: Theme | None) -> _Page:
    page = _Page(text, kinds, words)
    trail = None if theme is None or theme.in_vain >= _PATIENCE else _Trail(page, theme.last)
    try:
        ahead = trail.ahead if trail else None
        for tag in tags(text, with_styles="style" in kinds, with_title=False, with_icons="icon" in kinds, ahead=ahead):
            page.read(tag)
    except UnreadError:
        return _read(text, kinds, words, None)
    page.end()
    if theme is not None and trail is not None and trail.is_short:
        is_worth_it = trail.passed * _LEAST_PASSED > len(text)
        theme.in_vain = 0 if is_worth_it else theme.in_vain + 1
        trail.last = None
        theme.last = trail
    return page


def scan_css(text: str, kind: str = "css") -> Scan:
    """Find the references in a CSS file; each moves alone."""
    return Scan(
        tuple(
            Reference(kind, image.start, image.end, image.url, None, image.quote, group=at, needs_cors=image.needs_cors)
            for at, image in enumerate(css_images(text), 1)
        )
    )


class _Words(NamedTuple):
    """What the words of a scan say, sorted once: all pages of a site have the same."""

    read: frozenset[str]
    """What elements have of whose images a script reads the pixels or bytes."""
    digests: str
    policies: tuple[str, ...]
    """Those of servers that may forbid a `<base>`."""


@lru_cache(maxsize=8)
def _sorted(words: frozenset[str]) -> _Words:
    return _Words(
        frozenset(word[1:] for word in words if word[0] == "="),
        " ".join(word for word in words if word[0] == "'"),
        tuple(word for word in words if word[0] == ";"),
    )


class _Page:
    """One page as it is read: what was found, and the elements that are open around the next tag."""

    def __init__(self, text: str, kinds: frozenset[str], words: frozenset[str]) -> None:
        self.text = text
        self.kinds = kinds
        self.words = words
        self._read, self._digests, self._servers = _sorted(words)
        self.scripts: list[Tag] = []
        self._code: list[_Code] = []
        self.found: list[Reference] = []
        self.base: str | None = None
        self._has_base = False
        self._is_base_certain = True
        self.policies: list[str] = []
        self.selectors: set[Condition] = set()
        self.vouched: list[str] = []
        self.fixed: list[int] = []
        self.early: list[int] = []
        self._before_base = 0
        self._has_card_size = False
        self._groups = 0
        self._link: _Cover | None = None
        self._media: list[_Cover] = []
        self._open_media = dict.fromkeys(("audio", "picture", "video"), 0)
        self._inert = 0
        self._style_held = ""
        self._marks = 0
        """How many tags have meant something for the page as a whole that no list shows."""

    @property
    def is_neutral(self) -> bool:
        """Whether nothing is open that changes what follows means."""
        return not self._media and not self._inert and self._link is None

    @property
    def meant(self) -> int:
        """A count that grows with each tag that means something for what is around it."""
        return len(self.found) + len(self.policies) + len(self.vouched) + self._marks

    @property
    def groups(self) -> int:
        """How many groups of references there can be so far."""
        return self._groups

    def pass_over(self, groups: int, scripts: Iterable[Tag]) -> None:
        """Count what was passed unread as if it had been read."""
        self._groups += groups
        self.scripts += scripts

    def read(self, tag: Tag) -> None:
        """Note what one tag refers to, opens and closes."""
        name = tag.name
        if name == "#css":
            self._add_sheet(tag)
        elif name[0] == "/":
            if tag.namespace == HTML:
                self._close(name[1:])
        elif name == "a" and tag.namespace == HTML:
            self._link = None
            self._open(tag)
        elif name == "script":
            self.scripts.append(tag)
        elif (
            (tag.namespace == HTML and name in MATTERING)
            or (tag.namespace == SVG and name in {"image", "feimage"})
            or name == "style"
            or _STYLED.search(self.text, tag.body, tag.end)
        ):
            self._open(tag)

    def end(self) -> None:
        """End the page: what is still open is settled as if it were closed."""
        while self._media:
            self._settle(self._media.pop())
        for at, one in enumerate(self.found if not self._is_base_certain else self.found[: self._before_base]):
            if not one.held and not _ROOTED.match(one.url):
                why = HELD_BY_BASE if at < self._before_base else HELD_BY_SERVER
                self.found[at] = one._replace(held=why)
        if self._has_card_size:
            self.fixed += [at for at, one in enumerate(self.found) if one.kind == "meta"]
        self._read_code()

    def renames(self) -> Renames | None:
        """Say what the page's own code, in scripts and in attributes for events, makes of images' URLs."""
        changing = [code.renames for code in self._code if code.renames]
        text = self.text
        places = _mentions(text)
        if places:
            edges = [edge for span in self._spans() for edge in span]
            places = [at for at in places if bisect_right(edges, at) % 2 == 0]
        if not changing and not places:
            return None
        from imghost.html.uses import all_of, handlers_renames

        return all_of((*changing, handlers_renames(text, places)))

    def _read_code(self) -> None:
        """Read the page's scripts; most have no text."""
        for start, end in self._spans():
            if end - start > _SHORTEST_CODE:
                code = (_code_of_theme if end - start <= _KEPT_CODE else _code_of_library)(self.text[start:end])
                if code is not _NO_CODE:
                    self._code.append(code)
                    self.selectors |= code.selectors
                    self.vouched += code.vouched

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Yield the spans of the page's scripts."""
        text = self.text
        if not all(text.startswith("script", tag.body - 6) for tag in self.scripts):
            text = ascii_lower(text)  # markup in capitals ends its scripts in them
        for tag in self.scripts:
            end = text.find("</script", tag.end)
            yield tag.end, end if end >= 0 else len(text)

    def _add_selectors(self, text: str) -> None:
        """Note the conditions on URLs' texts in a style."""
        if "[" in text:
            self._marks += 1
            self.selectors |= (_asked_by_theme if len(text) <= _KEPT_CODE else _asked_by)(text)

    def _open(self, tag: Tag) -> None:
        self._groups += 1
        given = attributes(self.text, tag.body, tag.end)
        element = Element(tag.name, tag.namespace, self.text, given, tag.body, tag.end)
        is_plain = given.keys() <= _PLAIN_NAMES
        held = "" if is_plain else element.held or self._held_by_code(element)
        before = len(self.found)
        self._add(element, held)
        if not is_plain and len(self.found) > before:
            if _counts_on_size(element):
                self.fixed += range(before, len(self.found))
            if element.is_prefetch:
                self.early += (at for at in range(before, len(self.found)) if self.found[at].kind == "preload")
        if "style" in self.kinds and (style := element.given.get("style")):
            decoded = decode_with_offsets(self.text[style.start : style.end])
            around = held or self._held_around()
            if self._is_vouched(decoded.text, "style-src-attr"):
                around = around or HELD_BY_HASH
            self._add_css(decoded, style.start, style.quote, around)
        if tag.name == "style":
            self._style_held = held or self._held_around()
        elif tag.namespace == HTML:
            self._marks += tag.name == "base"
            self._enter(element, held, before)

    def _enter(self, element: Element, held: str, before: int) -> None:
        """Follow what an element of HTML means for those after it; `before` counts what was found before it."""
        name = element.name
        if name in {"picture", "video", "audio"}:
            self._media.append(_Cover(name, self._group_around(), held or self._held_around()))
            self._open_media[name] += 1
        elif name == "a" and self.found[before:] and self.found[before].kind == "link":
            self._link = _Cover(name, self.found[before].group, self.found[before].held)
        elif name == "img" and (picture := self._picture()):
            picture.has_cors = picture.has_cors or "crossorigin" in element.given
        elif name in {"template", "noscript"}:
            self._inert += 1
        elif name == "base" and not self._has_base and not self._inert and "href" in element.given:
            self._has_base = True
            if not forbids_all(self.policies, "base-uri"):
                self.base = value(self.text, element.given["href"])
                self._before_base = before
                self._is_base_certain = not any(_may_forbid(word, self.base) for word in self._servers)
        elif name == "link" and element.is_vouched and "href" in element.given:
            self.vouched.append(value(self.text, element.given["href"]))
        elif name == "meta" and self.text.find("image:", element.body, element.end) >= 0:
            self._marks += 1
            self._has_card_size = self._has_card_size or bool(_CARD_SIZE.search(self.text, element.body, element.end))
        elif name == "meta" and element.says("http-equiv") == "content-security-policy":
            policy = value(self.text, element.given.get("content"))
            # One for those who run no script, or after the base, lets the base count.
            self.policies.append(without(policy, "base-uri") if self._inert or self._has_base else policy)

    def _close(self, name: str) -> None:
        if name == "a":
            self._link = None
        elif name in {"template", "noscript"}:
            self._inert = max(0, self._inert - 1)
        elif self._open_media.get(name):
            while self._settle(self._media.pop()) != name:
                pass

    def _settle(self, cover: _Cover) -> str:
        """Close a `<picture>`: what its image asks for, its sources ask for too."""
        self._open_media[cover.name] -= 1
        for at in cover.members if cover.has_cors else ():
            self.found[at] = self.found[at]._replace(needs_cors=True)
        return cover.name

    def _held_by_code(self, element: Element) -> str:
        """Say whether a script of the site or the page, or the element's own code for events, changes its URL."""
        given = element.given
        if self.words:
            from imghost.html.uses import works_on

            element_id = value(self.text, given["id"]) if "id" in given else ""
            classes = value(self.text, given["class"]).split() if "class" in given else ()
            others = [f"[{name}" for name in given if name.startswith("data-")]
            if "name" in given:
                others.append(f"#{value(self.text, given['name'])}")
            if works_on(self.words, element_id, classes, others):
                return HELD_BY_SCRIPT
            if self._read and works_on(self._read, element_id, classes, others):
                return HELD_BY_READER
        for name, where in given.items() if element.name in _WITH_CODE else ():
            if name.startswith(_CODE):
                from imghost.html.uses import calls, reading_places, renames_of

                code = value(self.text, where)
                if renames_of(code) or calls(self.words, code):
                    return HELD_BY_SCRIPT
                if calls(self._read, code) or reading_places(code):
                    return HELD_BY_READER
        return ""

    def hold_inside(self) -> None:
        """Hold the images in elements whose images scripts change."""
        from imghost.html.uses import spans_inside

        for words, why in ((self.words, HELD_BY_SCRIPT), (self._read, HELD_BY_READER)):
            self._hold_in(sorted(spans_inside(self.text, words)), why)

    def _hold_in(self, spans: list[tuple[int, int]], why: str) -> None:
        if not spans:
            return
        starts = [start for start, _ in spans]
        ends = [*accumulate((end for _, end in spans), max)]
        for at, one in enumerate(self.found):
            before = bisect_right(starts, one.start)
            if one.kind == "img" and not one.held and before and one.start < ends[before - 1]:
                self.found[at] = one._replace(held=why)

    def _picture(self) -> _Cover | None:
        return self._media[-1] if self._media and self._media[-1].name == "picture" else None

    def _group_around(self) -> int:
        cover = self._link or self._picture()
        return cover.group if cover else self._groups

    def _held_around(self) -> str:
        picture = self._picture()
        return (self._link.held if self._link else "") or (picture.held if picture else "")

    def _add(self, element: Element, held: str) -> None:
        """Add what an element's attributes refer to, but its style."""
        picture = self._picture()
        places = sources(element, in_picture=bool(picture))
        if places is None or places.kind not in self.kinds:
            return
        held, needs_cors = held or self._held_around(), "crossorigin" in element.given
        for name in places.attributes:
            attribute = element.given.get(name)
            for start, end, url in _urls(self.text, attribute, name in SETS) if attribute else ():
                if places.only_images and not is_image_name(url):
                    continue
                if picture and places.kind == "img":
                    picture.members.append(len(self.found))
                quote, group = attribute.quote if attribute else None, self._group_around()
                self.found.append(
                    Reference(places.kind, start, end, url, quote, None, name in SETS, group, held, needs_cors)
                )

    def _add_sheet(self, tag: Tag) -> None:
        """Add what an element `<style>` refers to; in SVG its text has character references."""
        if "style" in self.kinds:
            raw = self.text[tag.body : tag.end]
            decoded = decode_with_offsets(raw, in_text=True) if tag.namespace == SVG else Decoded(raw)
            held = self._style_held
            if self._is_vouched(decoded.text, "style-src-elem"):
                held = held or HELD_BY_HASH
            self._add_css(decoded, tag.body, None, held)
            self._add_selectors(decoded.text)

    def _is_vouched(self, css: str, directive: str) -> bool:
        """Say whether a policy, the page's own or a server's, names the digest of a style."""
        policies = [*self.policies, f"{directive} {self._digests}"] if self._digests else self.policies
        return bool(policies) and admits_by_hash(policies, css, directive)

    def _add_css(self, decoded: Decoded, start: int, quote: str | None, held: str) -> None:
        for image in css_images(decoded.text):
            self._groups += 1
            first, last = start + decoded.raw(image.start), start + decoded.raw(image.end)
            if quote is None and decoded.ends and "&" in self.text[first:last]:
                # A reference does not say that its CSS is markup, so it could not be written back.
                continue
            self.found.append(
                Reference(
                    "style",
                    first,
                    last,
                    image.url.translate(_REMOVED),
                    quote,
                    image.quote,
                    group=self._groups,
                    held=held,
                    needs_cors=image.needs_cors,
                )
            )


_OWN: Final = "https://site.invalid"


def _may_forbid(word: str, base: str) -> bool:
    """Say whether a policy of a server's may forbid a `<base>`; what is relative has the page's own origin."""
    return blocks([word[1:]], [base if _ROOTED.match(base) else _OWN], "base-uri", _OWN)


def _urls(text: str, attribute: Attribute, in_srcset: bool) -> Iterator[tuple[int, int, str]]:
    """Yield the raw span and the decoded URL of each URL in an attribute, but those that are data.

    An unquoted value is a span as a whole, so that quotes can be put around it.
    """
    origin, is_whole = attribute.start, not attribute.quote and not in_srcset
    raw = text[origin : attribute.end]
    if not in_srcset and "&" not in raw and raw.isprintable() and raw.strip(" ") == raw:
        if raw and raw[:5].lower() != "data:":
            yield origin, attribute.end, sys.intern(raw)  # as most are; see below
        return
    decoded = decode_with_offsets(raw)
    for start, end in candidates(decoded.text) if in_srcset else (_stripped(decoded.text),):
        # Pages name the same images alike, and all of them are kept until the site is written.
        url = sys.intern(decoded.text[start:end].translate(_REMOVED))
        if url and url[:5].lower() != "data:":
            yield (
                (origin, attribute.end, url)
                if is_whole
                else (origin + decoded.raw(start), origin + decoded.raw(end), url)
            )


def _stripped(text: str) -> tuple[int, int]:
    start = len(text) - len(text.lstrip(SPACE))
    return start, max(start, len(text.rstrip(SPACE)))


HELD_BY_ATTRIBUTE: Final = 'kept by data-imghost="off"'
HELD_BY_CLASS: Final = "kept by the class no-imghost"
HELD_BY_SCRIPT: Final = "a script renames it"
HELD_BY_HASH: Final = "is in a style that a Content-Security-Policy admits by its hash"
HELD_BY_INTEGRITY: Final = "has an integrity attribute, which vouches for its bytes"
HELD_BY_BASE: Final = "stands before the page's <base>"
HELD_BY_SERVER: Final = "stands after a <base> that a server's Content-Security-Policy may forbid (base-uri)"

SETS: Final = frozenset({"srcset", "imagesrcset", "data-srcset"})
"""The attributes that hold several URLs."""

_PLAIN_NAMES: Final = names("alt decoding height href loading src title width")
"""Attributes that say of an element, in whatever state its page and scripts are, no more than what it refers to."""
MATTERING: Final = names("a area audio base embed img input link meta noscript object picture source template video")
"""The elements of HTML that refer to images, or that change what others mean."""

_META_NAMES: Final = frozenset(
    {"og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src"}
)
_ICON_ENDINGS: Final = ("icon", "icon-precomposed")


_CARD_SIZE: Final = re.compile(r"(?:og|twitter):image:(?:width|height)", re.I)


class Element(NamedTuple):
    """A start tag with its attributes."""

    name: str
    namespace: str
    text: str
    given: Mapping[str, Attribute]
    body: int = 0
    end: int = 0

    def says(self, name: str) -> str:
        """Read an attribute that is compared without regard to case."""
        return ascii_lower(value(self.text, self.given.get(name)).strip(SPACE))

    @property
    def is_prefetch(self) -> bool:
        """Say whether it fetches something that this page itself does not wait for."""
        return (
            self.name == "link" and "preload" not in (relations := self.says("rel").split()) and "prefetch" in relations
        )

    @property
    def is_vouched(self) -> bool:
        """Say whether it vouches for the bytes of what it loads; an empty value asks for nothing."""
        return self.name == "link" and "integrity" in self.given and bool(self.says("integrity"))

    @property
    def held(self) -> str:
        """Why its own attributes keep its references local, or nothing."""
        if "data-imghost" in self.given and self.says("data-imghost") == "off":
            return HELD_BY_ATTRIBUTE
        classes = value(self.text, self.given.get("class")).split()
        if "no-imghost" in classes:
            return HELD_BY_CLASS
        if self.is_vouched:
            return HELD_BY_INTEGRITY
        return HELD_BY_SCRIPT if self.name == "img" and "toggler" in classes else ""


_SIZED_DATA: Final = re.compile(r"data-[^\s/>=]{0,200}(?:width|height|size)[\s/>=]", re.I | re.A)


def _counts_on_size(element: Element) -> bool:
    """Say whether an element would be shown otherwise, or be wrong, with an image of another size in pixels."""
    given = element.given
    if element.name in {"img", "source", "input"}:
        is_bounded = "width" in given or "height" in given
        if not is_bounded and ("usemap" in given or "srcset" in given):
            return True
    # What lightboxes are told beforehand: `data-pswp-width`, `data-size`.
    return _SIZED_DATA.search(element.text, element.body, element.end) is not None and any(
        name.startswith("data-") and name.endswith(("width", "height", "size")) for name in given
    )


class Sources(NamedTuple):
    """Where an element's references of one kind are written."""

    kind: str
    attributes: tuple[str, ...]
    only_images: bool = False
    """Whether a URL counts only if its path ends like an image's."""


_IMAGE: Final = Sources("img", ("src", "srcset", "data-src", "data-srcset"))
_LINK: Final = Sources("link", ("href",), only_images=True)
_ALWAYS: Final = {
    "embed": Sources("object", ("src",), only_images=True),
    "img": _IMAGE,
    "object": Sources("object", ("data",), only_images=True),
    "video": Sources("poster", ("poster",)),
}


def sources(element: Element, *, in_picture: bool) -> Sources | None:
    """Say where an element refers to images, if it does."""
    name = element.name
    if element.namespace != HTML:
        is_image = element.namespace == SVG and name in {"image", "feimage"}
        return Sources("svg", ("href", "xlink:href")) if is_image else None
    if name == "source":
        return _IMAGE if in_picture else None
    if name in {"a", "area"}:
        return None if "download" in element.given else _LINK
    if name == "input":
        return Sources("img", ("src",)) if element.says("type") == "image" else None
    if name == "meta":
        named = {element.says("property"), element.says("name")}
        return None if named.isdisjoint(_META_NAMES) else Sources("meta", ("content",))
    return _linked(element) if name == "link" else _ALWAYS.get(name)


def _linked(element: Element) -> Sources | None:
    relations = element.says("rel").split()
    if {"preload", "prefetch"} & set(relations) and element.says("as") == "image":
        return Sources("preload", ("href", "imagesrcset"))
    if "prefetch" in relations and not element.says("as"):
        # What is fetched for a later page need not say what it is.
        return Sources("preload", ("href",), only_images=True)
    is_icon = any(relation.endswith(_ICON_ENDINGS) for relation in relations)
    return Sources("icon", ("href",)) if is_icon else None


_S: Final = r"\t\n\f\r "
_URL: Final = re.compile(rf"[{_S},]*+([^{_S}]++)")
_DESCRIPTORS: Final = re.compile(r"[^,(]*+(?:\([^)]*+\)?[^,(]*+)*+,?")


def candidates(srcset: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each candidate's URL.

    A comma inside a URL belongs to it, commas at its end separate, and those in a descriptor's
    parentheses do not. A candidate counts even if its descriptor is wrong.
    """
    position = 0
    while found := _URL.match(srcset, position):
        start, end = found.span(1)
        while srcset[end - 1] == ",":
            end -= 1
        position = found.end()
        if end == position:
            rest = _DESCRIPTORS.match(srcset, position)
            position = rest.end() if rest else position
        yield start, end


# The images that CSS refers to, found by the CSS syntax's tokenizer in linear time.

_BLANK: Final = r"\t\n\f\r "
_ESCAPE: Final = rf"(?=\\[^\n\f\r])\\(?:[0-9a-fA-F]{{1,6}}(?:\r\n|[{_BLANK}])?|[^\n\f\r])"
# Letters, `_`, `-` and all beyond ASCII, told by what is none of these: else those take seven milliseconds to compile.
_LETTER: Final = r"[^\x00-,.-@\[-^`{-\x7f]"
_TOKEN: Final = re.compile(
    rf"""/\*|["']|((?:[#@]?(?:{_LETTER}|{_ESCAPE})|[0-9])(?:{_LETTER}|[0-9.]|{_ESCAPE})*+)(\(?)|[(){{}};:]"""
)
_MAYBE: Final = re.compile(r"url|image-set|\\", re.IGNORECASE | re.ASCII)
_STRING: Final = {
    quote: re.compile(rf"[^{quote}\\\n\f\r]*+(?:\\(?:\r\n|[\s\S]|\Z)[^{quote}\\\n\f\r]*+)*+") for quote in "\"'"
}
_LEADING: Final = re.compile(rf"[{_BLANK}]*+")
_BARE: Final = re.compile(rf"(?:[^\"'()\\{_BLANK}\x00-\x08\x0b\x0e-\x1f\x7f]++|{_ESCAPE})*+")
_BARE_END: Final = re.compile(rf"[{_BLANK}]*+(?:\)|\Z)")
_BAD_END: Final = re.compile(r"(?:[^)\\]++|\\[\s\S]?)*+\)?")
_ESCAPED: Final = re.compile(rf"\\(?:([0-9a-fA-F]{{1,6}})(?:\r\n|[{_BLANK}])?|(\r\n|[\n\f\r])|([\s\S])|\Z)")
_LINE_END: Final = re.compile(r"\r\n|[\n\f\r]")
_REMOVED_FROM_URLS: Final = str.maketrans("", "", "\t\n\r")

_FROM_STRINGS: Final = frozenset({"image-set", "-webkit-image-set"})
_NOT_IMAGES: Final = frozenset({"@import", "@namespace", "@charset", "@document", "@-moz-document"})
_SAME_ORIGIN: Final = names(
    "filter -webkit-filter backdrop-filter clip-path -webkit-clip-path fill stroke marker marker-start marker-mid "
    "marker-end offset-path behavior -moz-binding src"
)
_IMAGES: Final = ("background", "list-style", "border-image", "content", "cursor")
_IMAGE_NAME: Final = re.compile(rf"[^?#]*\.(?:{endings()})(?:[?#]|\Z)", re.IGNORECASE | re.ASCII)


class CssImage(NamedTuple):
    """An image's URL in CSS: its span, what it says, and how it is quoted."""

    start: int
    end: int
    url: str
    quote: str
    """`"` or `'` inside a string, empty inside a bare `url(…)`."""
    needs_cors: bool
    """Whether browsers load it only where its origin allows that: masks and shapes."""


@dataclass(slots=True)
class _Context:
    """Where in a style sheet the tokenizer is."""

    functions: list[str] = field(default_factory=list)
    blocks: list[bool] = field(default_factory=list)
    """For each open block, whether it is inside an `@font-face`."""
    first: str = ""
    """The first name since the last declaration or block ended: an at-keyword or a property."""
    property: str = ""

    def enter(self, mark: str) -> None:
        """Follow a punctuation mark."""
        if mark == "(":
            self.functions.append("")
        elif mark == ")":
            del self.functions[-1:]
        elif self.functions:
            return
        elif mark == ":":
            self.property = self.property or self.first
        else:
            if mark == "{":
                self.blocks.append(self.first == "@font-face" or self.blocks[-1:] == [True])
            elif mark == "}" and self.blocks:
                self.blocks.pop()
            self.first = self.property = ""


def is_image_name(url: str) -> bool:
    """Say whether a URL's path ends like an image's."""
    return bool(_IMAGE_NAME.match(url))


def css_images(css: str) -> Iterator[CssImage]:
    """Yield the images of a style sheet or of a style attribute's declarations.

    Fonts, imports and fragments are none, nor is what browsers take from the same origin alone (filters,
    clip paths, markers).
    """
    if not _MAYBE.search(css):
        return
    context = _Context()
    position = 0
    while token := _TOKEN.search(css, position):
        position = token.end()
        name, mark = token[1], token[0]
        found = None
        if name is not None:
            name = unescape(name).lower()
            if token[2] and name == "url":
                found, position = _url(css, position, context)
            elif token[2]:
                context.functions.append(name)
            elif not context.first:
                context.first = name
        elif mark == "/*":
            position = _after_comment(css, position)
        elif mark in "\"'":
            found, position = _string(css, position, mark, context)
        else:
            context.enter(mark)
        if found:
            yield found


def unescape(text: str) -> str:
    """Read CSS escapes."""
    return _ESCAPED.sub(_read_escape, text) if "\\" in text else text


def _read_escape(found: re.Match[str]) -> str:
    if found[1]:
        code = int(found[1], 16)
        return "\ufffd" if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF else chr(code)
    return found[3] or ""


def _after_comment(css: str, start: int) -> int:
    end = css.find("*/", start)
    return end + 2 if end >= 0 else len(css)


def _string(css: str, start: int, quote: str, context: _Context) -> tuple[CssImage | None, int]:
    """Read a string; it is an image where a `url(` has just begun, or directly inside an `image-set(`."""
    text = _STRING[quote].match(css, start)
    end = text.end() if text else start
    around = context.functions[-1] if context.functions else ""
    if around == "url":
        context.functions[-1] = "modifiers"
    if css[end : end + 1] not in {quote, ""}:
        # A line's end breaks the string off, and with it the declaration.
        return None, end
    found = _found(css, start, end, quote, context) if around == "url" or around in _FROM_STRINGS else None
    return found, end + 1


def _url(css: str, start: int, context: _Context) -> tuple[CssImage | None, int]:
    """Read what follows `url(`: a string, which is left to be read, or a bare URL."""
    leading = _LEADING.match(css, start)
    start = leading.end() if leading else start
    if css[start : start + 1] in {'"', "'"}:
        context.functions.append("url")
        return None, start
    bare = _BARE.match(css, start)
    end = bare.end() if bare else start
    if closing := _BARE_END.match(css, end):
        return _found(css, start, end, "", context), closing.end()
    bad = _BAD_END.match(css, end)
    return None, bad.end() if bad else end


def _found(css: str, start: int, end: int, quote: str, context: _Context) -> CssImage | None:
    """Make a found URL of a span, unless it is no image or none that may come from elsewhere."""
    raw = css[start:end]
    start += len(raw) - len(raw.lstrip("\t\n\f\r "))
    end = max(start, end - (len(raw) - len(raw.rstrip("\t\n\f\r "))))
    if quote and css[end - 1 : end] == "\\" and (line_end := _LINE_END.match(css, end)):
        written = css[start:end]
        if (len(written) - len(written.rstrip("\\"))) % 2:
            end = line_end.end()  # an escaped line's end belongs to its backslash
    url = unescape(css[start:end]).strip("\t\n\f\r ").translate(_REMOVED_FROM_URLS)
    name = context.property
    if not url or url[0] == "#" or url[:5].lower() == "data:":
        return None
    if context.blocks[-1:] == [True] or context.first in _NOT_IMAGES or name in _SAME_ORIGIN:
        return None
    if not name.startswith(_IMAGES) and not is_image_name(url):
        return None
    needs_cors = name.startswith(("mask", "-webkit-mask", "shape-outside", "--"))
    return CssImage(start, end, url, quote, needs_cors)
