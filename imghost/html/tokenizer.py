"""HTML as tags and attributes, foreign content and character references included."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from html.entities import html5
from typing import Final

from imghost.models import NamedTuple, endings

# It knows what a page's markup is and what only looks like it: comments, scripts, text areas, foreign
# content. Patterns match at every position, so that nothing is tried twice; quantifiers are possessive.
SPACE: Final = "\t\n\f\r "
"""ASCII white space, as the HTML standard has it."""


def _beginnings(words: Iterable[str]) -> str:
    """Write a pattern for how names begin, in any case: three letters tell nearly all, and compile in half the time."""
    branches: dict[str, set[str]] = {}
    for word in words:
        branches.setdefault(f"[{word[0]}{word[0].upper()}]", set()).add(
            "".join(f"[{letter}{letter.upper()}]" for letter in word[1:3])
        )
    return "|".join(f"{first}(?:{'|'.join(sorted(rests))})" for first, rests in branches.items())


_S: Final = r"\t\n\f\r "
_VALUE: Final = rf"""(?:"[^"]*+"?|'[^']*+'?|[^{_S}>"'][^{_S}>]*+|)"""
_GIVEN: Final = rf"(?:[{_S}]*+=[{_S}]*+{_VALUE})?"
_ATTRIBUTES: Final = rf"(?:[{_S}/]++|[^{_S}/>][^{_S}/>=]*+{_GIVEN})*+"
# An attribute's name but `style`; only names that begin with an s are looked at twice.
_NO_STYLE: Final = rf"(?:[^{_S}/>sS]|(?![sS][tT][yY][lL][eE](?:[{_S}/>=]|\Z))[sS])[^{_S}/>=]*+"
_UNSTYLED: Final = rf"""(?:[{_S}/]*+{_NO_STYLE}(?:="[^"]*+"|{_GIVEN})|[{_S}/]++)*+"""
_NAME_ENDS: Final = rf"(?:[{_S}/>]|\Z)"
_ENDING: Final = rf"\.(?:{_beginnings(endings().split('|'))})"
# A link in its usual form that cannot name an image: it ends in no image's letters and nothing in it is encoded.
_PLAIN_URL: Final = r"""(?:[./]*+(?:(?<=["/])|(?=")))?+[^".&\t\n\r]*+(?:\.html(?:#[^".&\t\n\r]*+)?+)?+"""
_OTHERS: Final = r'(?: [a-gi-rt-z][a-z-]*+="[^"]*+")*+'
_USUAL_LINK: Final = rf'a{_OTHERS} href="{_PLAIN_URL}"{_OTHERS}>'
_ORDINARY_VALUE: Final = rf"""(?:[^".&\t\n\r]++|(?!{_ENDING})\.|(?=&[aglq][a-z]*+;)&)*+"""
_ORDINARY_LINK: Final = rf'[aA](?: (?![sS][tT][yY][lL][eE])[a-zA-Z-]++="{_ORDINARY_VALUE}"){{0,8}}>'
# Most tags of a page, tried first: with a class or nothing, and a name that begins like none of those below. A word of
# code in its colour and a table's cell are passed as a whole: each step costs more than the letters that it passes.
_COMMON_NAME: Final = (
    "(?:[cdfghjkqruwyz]|s[mpu]|t[bdhr]|p(?=[>r ])|l(?:a|i(?=[> ]))|b[oru]|na|ar(?=t)|as|ol|ma[ir])[a-z0-9]*+"
)
_COMMON: Final = "|".join(
    (
        r'span(?: class="[^"]*+")?+>(?:[^<]*+</span>)?+',
        r"t[dh]>(?:[^<]*+</t[dh]>)?+",
        rf"/{_COMMON_NAME}>",
        r'li class="[^"]*+">',
        rf'{_COMMON_NAME}(?: [a-rt-z][a-z-]*+(?:="[^"]*+")?+)*+ ?+>',
    )
)


# Elements of the head, and of a theme's controls, that refer to no image, as generators write them; what is written
# otherwise is read: a link by its `rel`, a `<meta>` by its name, an `<input>` that loads nothing, a script with no text
# and an icon, which is most of the foreign content that pages have.
_RELATIONS: Final = "alternate|author|canonical|license|next|prev|search|stylesheet"
_ICON_RELATIONS: Final = "(?:shortcut )?icon|apple-touch-icon"
_LINK: Final = r'link(?: (?:rel="(?:{})"|(?:class|href|hreflang|id|media|sizes|title|type)="[^"]*+"))++ ?+/?>'
_NAMED: Final = r'(?:name|property)="(?:[a-z-]++|(?:og|twitter):(?!image)[a-z_]++)"'
_PLAIN: Final = r'(?: (?!s(?:rc|tyle))[a-z][a-zA-Z0-9:-]*+(?:="[^"]*+")?+)*+ ?+/?>'
_SHAPE: Final = "circle|defs|ellipse|g|line|path|poly(?:gon|line)|rect|use"
_ICON: Final = rf"(?:[^<]*+</?(?:{_SHAPE})(?=[ >/]){_PLAIN}){{0,40}}[^<]*+</svg>"
_IDLE: Final = "|".join(
    (
        rf'meta (?:charset="[^"]*+"|{_NAMED} content="(?:[^"i]++|i(?!mage:))*+") ?+/?>',
        rf"input(?= ){_PLAIN}",
        r'script(?: [a-z-]++(?:="[^"]*+")?+)*+></script>',
        rf"svg(?=[ >]){_PLAIN}{_ICON}",
    )
)


# The HTML standard's rules for foreign content, for what is open from the outermost `<svg>` or `<math>` on.
# What is open around it is not followed, but counted when an end tag matches nothing inside: then it closes it all.
def names(text: str) -> frozenset[str]:
    """Read a set of names that are separated by spaces."""
    return frozenset(text.split())


_STARTS: Final = names(
    "area audio base embed iframe image img input link math meta noembed noframes noscript object picture plaintext "
    "script source style svg template textarea title video xmp"
)
_ENDS: Final = ("audio", "noscript", "picture", "template", "video")
_RAW: Final = frozenset({"iframe", "noembed", "noframes", "style", "textarea", "title", "xmp"})


class Tag(NamedTuple):
    """A tag of the markup: `name` in lower case, beginning with a slash for an end tag.

    `body` is where its attributes begin, `end` is after its `>`. A `style` element's text follows its
    start tag as a tag of the name `#css`, whose `body` and `end` are the text's.
    """

    name: str
    namespace: str
    body: int
    end: int


class Attribute(NamedTuple):
    """Where an attribute's value is written, without its quotes; `quote` is empty for an unquoted one."""

    start: int
    end: int
    quote: str


@cache
def _stops(*, with_styles: bool, in_link: bool, with_title: bool, with_icons: bool) -> re.Pattern[str]:
    """Compile what skips ordinary tags, which nothing looks at twice, and reads the next other one.

    Compiling takes milliseconds, so each form waits until a page needs it.
    """
    attributes = _UNSTYLED if with_styles else _ATTRIBUTES
    end, after = rf"[aA]{_NAME_ENDS}|" if in_link else "", rf"[aA]{_NAME_ENDS}|"
    links = "" if in_link else f"{_USUAL_LINK}|/a>|{_ORDINARY_LINK}|"
    names = rf"(?:/(?!{end}{_beginnings(_ENDS)})|(?!{after}{_beginnings(_STARTS)}))[a-zA-Z][^{_S}/>]*+"
    title = "" if with_title else "title>[^<]*+</title>|"
    link = _LINK.format(_RELATIONS if with_icons else f"{_RELATIONS}|{_ICON_RELATIONS}")
    others = rf"{names}(?:>|{attributes}>)|(?![a-zA-Z/!?])"
    return re.compile(
        rf"(?:[^<]*+<(?:{_COMMON}|{links}{title}{link}|{_IDLE}|{others}))*+[^<]*+"
        rf"(?:<(?:(/?[a-zA-Z][^{_S}/>]*+){_ATTRIBUTES}(?:(>)|\Z)|([!?/])))?"
    )


@cache
def _icon() -> re.Pattern[str]:
    return re.compile(_ICON)


_NEXT_OF_ALL: Final = re.compile(
    rf"(?:[^<]++|(?!<[a-zA-Z/!?])<)*+(?:<(?:(/?[a-zA-Z][^{_S}/>]*+){_ATTRIBUTES}(?:(>)|\Z)|([!?/])))?"
)
_ATTRIBUTE: Final = re.compile(
    rf"""([^{_S}/>][^{_S}/>=]*+)(?:[{_S}]*+=[{_S}]*+(?:"([^"]*+)"|'([^']*+)'|([^{_S}>"'][^{_S}>]*+)|()))?"""
)
# What a link's tag has at least when something in it can be an image.
_LINK_MATTERS: Final = re.compile(rf"\.(?:{endings()})|&(?:#|period;)|[\t\n\r]|style", re.I | re.A)
_COMMENT_END: Final = re.compile(r"--!?>")
_SCRIPT: Final = re.compile(rf"<!--|-->|<(/?)script(?=[{_S}/>])", re.IGNORECASE | re.ASCII)
_HIDING: Final = _RAW | {"plaintext", "script"}
_CAPITALS: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_QUOTES: Final = ("", "", '"', "'", "", "")


class UnreadError(Exception):
    """What decides how the page goes on can have been passed unread."""


def tags(
    text: str,
    *,
    with_styles: bool,
    with_title: bool = True,
    with_icons: bool = True,
    ahead: Callable[[int, int], int] | None = None,
) -> Iterator[Tag]:
    """Yield the tags that can refer to an image, or change what others mean, in the page's order.

    With `with_styles` also every tag that has an attribute `style`; without `with_title` no plain `<title>`, without
    `with_icons` no plain `<link>` to an icon. A tag that the page's end cuts off is none, and a link that cannot name
    an image is passed over unless it ends one that can. Images in `<noscript>` and `<template>` count as markup.

    `ahead` is asked before a tag where nothing is open that the tokenizer follows: it is told where the first `<` after
    the last tag can be, and where the next tag begins, and gives that or a later place to go on at, a `<` where nothing
    is open either. Raises UnreadError where all that stands before counts, which few pages' markup is wrong enough for.
    """
    foreign, in_link, position, is_raw = Foreign(text, is_read=ahead is None), False, 0, False
    stops = partial(_stops, with_styles=with_styles, with_title=with_title, with_icons=with_icons)
    skip_outside = stops(in_link=False)
    while position < len(text):
        is_outside, start = not foreign.is_open, position
        skip = _NEXT_OF_ALL if not is_outside else stops(in_link=True) if in_link else skip_outside
        found = skip.match(text, start)
        if found is None or ((written := found[1]) and not found[2]):
            return
        position = found.end()
        if not is_outside and foreign.is_style:
            yield Tag("#css", SVG, start, _text_end(found))
        if written:
            # That raw text ends shows only its end tag, so nobody may go on before that.
            at = found.start(1) - 1
            if ahead and is_outside and not in_link and (landed := ahead(at if is_raw else start, at)) > at:
                position, is_raw = landed, False
                continue
            tag = _tag(text, ascii_lower(written), found.end(1), position, foreign)
            name = tag.name
            is_link, was_in_link = name in {"a", "/a"} and tag.namespace == HTML, in_link
            in_link = _matters(text, tag) if is_link else in_link
            if is_link and not in_link and not was_in_link:
                continue
            yield tag
            position = _after_content(text, tag, foreign, is_outside)
            is_raw = name in _HIDING
            if name == "style" and tag.namespace == HTML:
                yield Tag("#css", HTML, tag.end, position)
        elif found[3]:
            start, position, is_raw = position, _after_declaration(text, position - 1, foreign), False
            if foreign.is_style and text.startswith("[CDATA[", start):
                yield Tag("#css", HTML, start + 7, max(start + 7, position - 3))


def _matters(text: str, link: Tag) -> bool:
    """Say whether a link's start tag can name an image."""
    return link.name == "a" and bool(_LINK_MATTERS.search(text, link.body, link.end))


def _text_end(found: re.Match[str]) -> int:
    """Give where the text before a tag or declaration ends."""
    return found.start(1) - 1 if found[1] else found.start(3) - 1 if found[3] else found.end()


def _after_content(text: str, tag: Tag, foreign: Foreign, is_outside: bool) -> int:
    """Give where to read on after a tag: after what only looks like markup, and after a whole icon."""
    if tag.namespace == HTML and tag.name in _HIDING:
        return _raw_text_end(text, tag.name, tag.end)
    if is_outside and tag.name == SVG and foreign.is_open and (icon := _icon().match(text, tag.end)):
        # Icons are most of the foreign content that pages have, and nothing in their shapes matters.
        foreign.end(tag.name, icon.end())
        return icon.end()
    return tag.end


def _tag(text: str, name: str, body: int, end: int, foreign: Foreign) -> Tag:
    """Name a tag's namespace and note what it opens or closes."""
    start = body - len(name) - 1
    if name[0] == "/":
        return Tag(name, foreign.end(name[1:], start), body, end)
    if not foreign.is_open and name not in {SVG, MATHML}:
        return Tag("img" if name == "image" else name, HTML, body, end)
    namespace = foreign.start(
        name,
        start,
        is_self_closing=text[end - 2] == "/" and _closes_itself(text, body, end),
        leans_to_html=name in {"font", "annotation-xml"} and _leans_to_html(attributes(text, body, end), text),
    )
    return Tag("img" if name == "image" and namespace == HTML else name, namespace, body, end)


def _closes_itself(text: str, body: int, end: int) -> bool:
    """Say whether the slash before a tag's `>` is not the last letter of an unquoted value."""
    return all(found.end() < end - 1 for found in _ATTRIBUTE.finditer(text, body, end - 1))


def _leans_to_html(given: dict[str, Attribute], text: str) -> bool:
    """Say whether a `<font>` or an `<annotation-xml>` is HTML by its attributes."""
    encoding = ascii_lower(value(text, given.get("encoding")))
    return encoding in {"text/html", "application/xhtml+xml"} or not given.keys().isdisjoint({"color", "face", "size"})


def attributes(text: str, body: int, end: int) -> dict[str, Attribute]:
    """Find a tag's attributes by their names in lower case; of duplicates the first counts."""
    found: dict[str, Attribute] = {}
    for match in _ATTRIBUTE.finditer(text, body, end - 1):
        name = ascii_lower(match[1])
        if name not in found:
            group = match.lastindex or 1
            at = match.end() if group == 1 else match.start(group)
            found[name] = Attribute(at, match.end(group) if group > 1 else at, _QUOTES[group])
    return found


def value(text: str, attribute: Attribute | None) -> str:
    """Read an attribute as a browser does; an absent one is empty."""
    return decode(text[attribute.start : attribute.end]).replace("\0", "\ufffd") if attribute else ""


def ascii_lower(name: str) -> str:
    """Lower the letters A to Z alone, as HTML does."""
    return name.lower() if name.isascii() else name.translate(_CAPITALS)


def _after_declaration(text: str, start: int, foreign: Foreign) -> int:
    """Give the end of what begins with `<!`, `<?` or `</` and is no tag; `start` is that second character."""
    if text.startswith("!--", start):
        if text.startswith((">", "->"), start + 3):
            return text.index(">", start + 3) + 1
        ending = _COMMENT_END.search(text, start + 3)
        return ending.end() if ending else len(text)
    if foreign.is_markup and text.startswith("![CDATA[", start):
        end = text.find("]]>", start + 8)
        return end + 3 if end >= 0 else len(text)
    end = text.find(">", start + 1)
    return end + 1 if end >= 0 else len(text)


def _raw_text_end(text: str, name: str, start: int) -> int:
    """Give where an element's raw text ends: before its end tag, or with the page."""
    if name == "plaintext":
        return len(text)
    if name == "script":
        return _script_end(text, start)
    found = re.compile(rf"</{name}(?=[{_S}/>])", re.IGNORECASE | re.ASCII).search(text, start)
    return found.start() if found else len(text)


def _script_end(text: str, start: int) -> int:
    """Give where a script ends: `<!--<script>` hides one `</script>` (the standard's double-escaped state)."""
    end = text.find("</", start)
    if text.startswith("</script>", end) and text.find("<!--", start, end) < 0:
        return end  # as nearly all do
    is_escaped = is_hidden = False
    while found := _SCRIPT.search(text, start):
        start = found.end()
        if found[0] == "<!--":
            # The dashes that open a comment may also close it: `<!-->`.
            start, is_escaped = start - 2, True
        elif found[0] == "-->":
            is_escaped = is_hidden = False
        elif found[1] and not is_hidden:
            return found.start()
        else:
            is_hidden = is_escaped and not found[1]
    return len(text)


HTML: Final = "html"
SVG: Final = "svg"
MATHML: Final = "math"


_VOID: Final = names(
    "area base basefont bgsound br col embed frame hr image img input keygen link meta param source track wbr"
)
_BREAKOUT: Final = names(
    "b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing menu "
    "meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var"
)
_MAYBE_BREAKOUT: Final = _BREAKOUT | {"font"}
_SPECIAL: Final = names(
    "address applet area article aside base basefont bgsound blockquote body br button caption center col colgroup "
    "dd details dir div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head "
    "header hgroup hr html iframe img input keygen li link listing main marquee menu meta nav noembed noframes "
    "noscript object ol p param plaintext pre script search section select source style summary table tbody td "
    "template textarea tfoot th thead title tr track ul wbr xmp"
)
CLOSING_P: Final = names(
    "address article aside blockquote center details dialog dir div dl fieldset figcaption figure footer form h1 h2 "
    "h3 h4 h5 h6 header hgroup hr li listing main menu nav ol p plaintext pre search section summary ul xmp"
)
"""The elements of HTML before which an open paragraph ends by itself."""
_NEVER_AROUND: Final = _VOID | names(
    "body frameset head html iframe noembed noframes p plaintext script style template textarea title xmp"
)
_MATHML_TEXT: Final = frozenset({"mi", "mn", "mo", "ms", "mtext"})
_ROOTS: Final = frozenset({SVG, MATHML})
_SVG_TO_HTML: Final = frozenset({"desc", "foreignobject", "title"})
_ANY_TAG: Final = re.compile(r"<(/?)([a-zA-Z][^<\t\n\f\r />]*+)")


_Open = tuple[str, str, str, int, int, int]
"""An open element. Plain tuples, since pages may nest hundreds of thousands, and these cost a third of named ones:

its name; its namespace; whether its content is HTML: `all`, `text` (MathML's text elements) or empty; the depth
of the nearest HTML element, itself included, -1 = none; the same of the nearest special HTML element; and of the
nearest element that hides what is open around it.
"""
_OUTERMOST: Final[_Open] = ("", HTML, "all", -1, -1, -1)
"""What stands for all that is open around."""


class Foreign:
    """The elements open inside the outermost foreign one; every step takes constant time."""

    def __init__(self, text: str, *, is_read: bool = True) -> None:
        self.is_open = False
        """Whether the tokenizer is inside an `<svg>` or `<math>`."""
        self.is_style = False
        """Whether the current element is SVG's `<style>`, whose text is markup."""
        self._text = text
        self._is_read = is_read
        """Whether all of the page is read, so that what is open around can be known."""
        self._stack: list[_Open] = []
        self._depths: dict[str, list[int]] = {}
        self._around: Counter[str] = Counter()
        self._outside: list[tuple[int, int]] = []
        self._left = 0

    @property
    def is_markup(self) -> bool:
        """Whether the current element is foreign itself, so that CDATA sections are text."""
        return bool(self._stack) and self._stack[-1][1] != HTML

    def start(self, name: str, at: int, *, is_self_closing: bool, leans_to_html: bool) -> str:
        """Enter the start tag at this offset and give its namespace.

        `leans_to_html` says that a `font` has an attribute of HTML's, or that an `annotation-xml` holds HTML.
        """
        top = self._stack[-1] if self._stack else _OUTERMOST
        if top[1] == SVG and not top[2] and name not in _MAYBE_BREAKOUT:
            if not is_self_closing:
                self._push(name, SVG, "all" if name in _SVG_TO_HTML else "")
            return SVG
        is_html = _is_html(top, name)
        if not is_html and (name in _BREAKOUT or (name == "font" and leans_to_html)):
            top = self._leave(name, at)
            is_html = True
        if is_html and name not in _ROOTS:
            if self._stack and name not in _VOID:
                self._close_implied(name, at)
                self._push(name, HTML, "")
            return HTML
        namespace = name if is_html else top[1]
        if not is_self_closing:
            if not self._stack:
                self._outside.append((self._left, at))
            self._push(name, namespace, _content(name, namespace, leans_to_html))
        return namespace

    def end(self, name: str, at: int) -> str:
        """Enter the end tag at this offset (its name without the slash) and give the namespace of what it ends."""
        if not self._stack:
            return HTML
        _, namespace, _, last_html, last_special, scope = self._stack[-1]
        depth = self._depth(name)
        if namespace != HTML:
            if name in {"br", "p"}:
                self._leave(name, at)
                return HTML
            if depth > last_html:
                self._pop_to(depth, at)
                return namespace
        if depth > scope and self._stack[depth][1] == HTML:
            if name in _SPECIAL or last_special < depth:
                self._pop_to(depth, at)
        elif scope < 0 and name not in _NEVER_AROUND and self._is_around(name):
            self._pop_to(0, at)
        return HTML

    def _depth(self, name: str) -> int:
        """Give the depth of the innermost open element of this name; -1 = none."""
        depths = self._depths.get(name)
        return depths[-1] if depths else -1

    def _is_around(self, name: str) -> bool:
        """Say whether such an element is open around the outermost foreign one, by counting its tags."""
        if not self._is_read:
            raise UnreadError
        around = self._around
        for start, end in self._outside:
            for found in _ANY_TAG.finditer(self._text, start, end):
                opened = found[2].lower()
                around[opened] = max(0, around[opened] - 1) if found[1] else around[opened] + 1
        self._outside.clear()
        return around[name] > 0

    def _leave(self, name: str, at: int) -> _Open:
        """Close foreign elements up to one whose content is HTML, and give that."""
        while self._stack and not _is_html(self._stack[-1], name):
            self._pop_to(len(self._stack) - 1, at)
        return self._stack[-1] if self._stack else _OUTERMOST

    def _close_implied(self, name: str, at: int) -> None:
        """Close what an HTML start tag ends by itself: an open paragraph, the previous item of a list."""
        for implied in (("p",) if name in CLOSING_P else ()) + (("li",) if name == "li" else ()):
            depth = self._depth(implied)
            if self._stack and depth > self._stack[-1][5] and self._stack[depth][1] == HTML:
                self._pop_to(depth, at)

    def _push(self, name: str, namespace: str, takes_html: str) -> None:
        stack = self._stack
        depth = len(stack)
        _, _, _, html, special, scope = stack[-1] if stack else _OUTERMOST
        if namespace == HTML:
            html = depth
            special = depth if name in _SPECIAL else special
        elif takes_html or (name == "annotation-xml" and namespace == MATHML):
            scope = depth
        stack.append((name, namespace, takes_html, html, special, scope))
        depths = self._depths.get(name)
        if depths is None:
            self._depths[name] = [depth]
        else:
            depths.append(depth)
        self.is_open = True
        self.is_style = name == "style" and namespace == SVG

    def _pop_to(self, depth: int, at: int) -> None:
        while len(self._stack) > depth:
            self._depths[self._stack.pop()[0]].pop()
        self.is_style = bool(self._stack) and self._stack[-1][:2] == ("style", SVG)
        if not self._stack:
            self.is_open = False
            self._left = at


def _is_html(top: _Open, name: str) -> bool:
    """Say whether a start tag in this element is HTML's."""
    around, namespace, takes_html = top[:3]
    return (
        namespace == HTML
        or (takes_html != "" and (takes_html == "all" or name not in {"malignmark", "mglyph"}))
        or (name == SVG and around == "annotation-xml" and namespace == MATHML)
    )


def _content(name: str, namespace: str, leans_to_html: bool) -> str:
    if namespace == SVG:
        return "all" if name in _SVG_TO_HTML else ""
    if name in _MATHML_TEXT:
        return "text"
    return "all" if name == "annotation-xml" and leans_to_html else ""


_REFERENCE: Final = re.compile(r"&(?:#[xX]([0-9a-fA-F]++);?|#([0-9]++);?|([a-zA-Z][a-zA-Z0-9]*+)(;?))")
_LONGEST: Final = max(len(name) for name in html5 if not name.endswith(";"))
_ENDS_NAME: Final = re.compile(r"[=a-zA-Z0-9]")


class Decoded(NamedTuple):
    """A raw text as a browser reads it, and the way back from its offsets to the raw ones."""

    text: str
    ends: tuple[int, ...] = ()
    """Where each decoded character reference ends in `text`, in order."""
    shifts: tuple[int, ...] = ()
    """How much longer the raw text is up to there."""

    def raw(self, offset: int) -> int:
        """Give the raw offset of a decoded one."""
        passed = bisect_right(self.ends, offset)
        return offset + (self.shifts[passed - 1] if passed else 0)


def decode(raw: str, *, in_text: bool = False) -> str:
    """Read an attribute's value, or with `in_text` an element's text, as a browser does."""
    if "&" not in raw:
        return raw
    return _REFERENCE.sub(_reader(in_text), raw)


def decode_with_offsets(raw: str, *, in_text: bool = False) -> Decoded:
    """Decode as `decode` does and keep the way back."""
    if "&" not in raw:
        return Decoded(raw)
    read = _reader(in_text)
    parts: list[str] = []
    ends: list[int] = []
    shifts: list[int] = []
    position = length = 0
    for found in _REFERENCE.finditer(raw):
        value = read(found)
        if value == found[0]:
            continue
        before = raw[position : found.start()]
        parts += before, value
        position = found.end()
        length += len(before) + len(value)
        ends.append(length)
        shifts.append(position - length)
    return Decoded("".join(parts) + raw[position:], tuple(ends), tuple(shifts))


def _reader(in_text: bool) -> Callable[[re.Match[str]], str]:
    return _read_in_text if in_text else _read_in_attribute


def _read_in_attribute(found: re.Match[str]) -> str:
    """Read one reference; in attributes `&copy=2` and `&copyright` are text (the standard's named rule)."""
    name = found[3]
    if name is None:
        return _numeric(found)
    if found[4] and (value := html5.get(name + ";")):
        return value
    if name in html5 and not _ENDS_NAME.match(found.string, found.end(3)):
        return html5[name] + found[4]
    return found[0]


def _read_in_text(found: re.Match[str]) -> str:
    name = found[3]
    if name is None:
        return _numeric(found)
    if found[4] and (value := html5.get(name + ";")):
        return value
    for size in range(min(len(name), _LONGEST), 1, -1):
        if name[:size] in html5:
            return html5[name[:size]] + name[size:] + found[4]
    return found[0]


def _numeric(found: re.Match[str]) -> str:
    """Read a numeric reference, with the standard's replacements."""
    digits = (found[1] or found[2]).lstrip("0")
    code = int(digits or "0", 16 if found[1] else 10) if len(digits) < 8 else 0
    if 0x80 <= code <= 0x9F:
        return bytes([code]).decode("cp1252", "replace").replace("\ufffd", chr(code))
    if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return chr(code)
