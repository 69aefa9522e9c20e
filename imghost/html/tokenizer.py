"""HTML as tags and raw text, read by the standard's tokenizer rules in linear time.

It knows what a page's markup is and what only looks like it: comments, scripts, text areas, foreign
content. Patterns match at every position, so that nothing is tried twice; quantifiers are possessive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final, NamedTuple

from imghost.charrefs import decode
from imghost.foreign import HTML, MATHML, SVG, Foreign, names

SPACE: Final = "\t\n\f\r "
"""ASCII white space, as the HTML standard has it."""

_S: Final = r"\t\n\f\r "
_VALUE: Final = rf"""(?:"[^"]*+"?|'[^']*+'?|[^{_S}>"'][^{_S}>]*+|)"""
_GIVEN: Final = rf"(?:[{_S}]*+=[{_S}]*+{_VALUE})?"
_ATTRIBUTES: Final = rf"(?:[{_S}/]++|[^{_S}/>][^{_S}/>=]*+{_GIVEN})*+"
# An attribute's name but `style`; only names that begin with an s are looked at twice.
_NO_STYLE: Final = rf"(?:[^{_S}/>sS]|(?![sS][tT][yY][lL][eE](?:[{_S}/>=]|\Z))[sS])[^{_S}/>=]*+"
_UNSTYLED: Final = rf"""(?:[{_S}/]++(?:{_NO_STYLE}(?:="[^"]*+"|{_GIVEN}))?|{_NO_STYLE}{_GIVEN})*+"""
_ENDING: Final = r"\.(?:[pP][nN]|[jJ][pP]|[gG][iI]|[wW][eE]|[aA][vV]|[sS][vV])"
# A link in its usual form that cannot name an image: it ends in no image's letters and nothing in it is encoded.
_ORDINARY_LINK: Final = rf"""[aA](?: {_NO_STYLE}="(?:[^".&\t\n\r]++|(?!{_ENDING})\.|(?=&[aglq][a-z]*+;)&)*+"){{0,8}}>"""
# Most tags of a page, tried first: with a class or nothing, and a name that begins like none of those below.
_COMMON: Final = r'/?+(?:[cdfghjkqruwyz]|s[mpu]|t[bdhr]|p(?=[>r])|li(?=>))[a-z0-9]*+(?: class="[^"]*+")?+>'

_STARTS: Final = names(
    "a area audio base embed iframe image img input link math meta noembed noframes object picture plaintext "
    "script source style svg template textarea title video xmp"
)
_ENDS: Final = ("audio", "picture", "template", "video")
_RAW: Final = frozenset({"iframe", "noembed", "noframes", "style", "textarea", "title", "xmp"})
_SHAPES: Final = ("circle", "defs", "ellipse", "g", "line", "path", "polygon", "polyline", "rect")


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


def _any_case(words: Iterable[str]) -> str:
    """Write a pattern for these names, sorted into branches by their first letters."""
    branches: dict[str, list[str]] = {}
    for word in sorted(words):
        branches.setdefault(word[:1], []).append(word[1:])
    written = (f"[{head}{head.upper()}]{_any_case(rests)}" if head else "" for head, rests in branches.items())
    alternatives = sorted(written, reverse=True)
    return alternatives[0] if len(alternatives) == 1 else f"(?:{'|'.join(alternatives)})"


@cache
def _stops(*, with_styles: bool, in_link: bool) -> re.Pattern[str]:
    """Compile what skips ordinary tags, up to 400 at a time to bound the memory, and reads the next other one.

    Compiling takes milliseconds, so each form waits until a page needs it.
    """
    attributes = _UNSTYLED if with_styles else _ATTRIBUTES
    ends, starts = _any_case([*_ENDS, "a"] if in_link else _ENDS), _any_case(_STARTS)
    rest = rf"[a-zA-Z][^{_S}/>]*+(?:>|{attributes}>)"
    ordinary = rf"{_COMMON}|/(?!{ends}(?:[{_S}/>]|\Z)){rest}|(?!{starts}(?:[{_S}/>]|\Z)){rest}|(?![a-zA-Z/!?])"
    if not in_link:
        ordinary += f"|{_ORDINARY_LINK}"
    return re.compile(
        rf"(?:[^<]*+<(?:{ordinary})){{0,400}}[^<]*+"
        rf"(?:<(?:(/?[a-zA-Z][^{_S}/>]*+){_ATTRIBUTES}(?:(>)|\Z)|([!?/])))?"
    )


_NEXT_OF_ALL: Final = re.compile(
    rf"(?:[^<]++|(?!<[a-zA-Z/!?])<)*+(?:<(?:(/?[a-zA-Z][^{_S}/>]*+){_ATTRIBUTES}(?:(>)|\Z)|([!?/])))?"
)
_ICON: Final = re.compile(rf"(?:[^<]*+</?{_any_case(_SHAPES)}(?=[{_S}/>]){_UNSTYLED}>){{0,40}}[^<]*+</[sS][vV][gG]>")
_ATTRIBUTE: Final = re.compile(
    rf"""([^{_S}/>][^{_S}/>=]*+)(?:[{_S}]*+=[{_S}]*+(?:"([^"]*+)"|'([^']*+)'|([^{_S}>"'][^{_S}>]*+)|()))?"""
)
# What a link's tag has at least when something in it can be an image.
_LINK_MATTERS: Final = re.compile(r"\.(?:png|jpe?g|gif|webp|avif|svg)|&(?:#|period;)|[\t\n\r]|style", re.I | re.A)
_COMMENT_END: Final = re.compile(r"--!?>")
_SCRIPT: Final = re.compile(rf"<!--|-->|<(/?)script(?=[{_S}/>])", re.IGNORECASE | re.ASCII)
_HIDING: Final = _RAW | {"plaintext", "script"}
_CAPITALS: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_QUOTES: Final = ("", "", '"', "'", "", "")


def tags(text: str, *, with_styles: bool) -> Iterator[Tag]:
    """Yield the tags that can refer to an image, or change what others mean, in the page's order.

    With `with_styles` also every tag that has an attribute `style`. A tag that the page's end cuts off is
    none, and a link that cannot name an image is passed over unless it ends one that can. Images in
    `<noscript>` and `<template>` count as markup.
    """
    foreign, in_link, position = Foreign(text), False, 0
    while position < len(text):
        is_outside, start = not foreign.is_open, position
        skip = _stops(with_styles=with_styles, in_link=in_link) if is_outside else _NEXT_OF_ALL
        found = skip.match(text, start)
        if found is None or (found[1] and not found[2]):
            return
        position = found.end()
        if not is_outside and foreign.is_style:
            yield Tag("#css", SVG, start, _text_end(found))
        if found[1]:
            tag = _tag(text, ascii_lower(found[1]), found.end(1), position, foreign)
            if tag.name in {"a", "/a"} and tag.namespace == HTML:
                was_in_link, in_link = in_link, tag.name == "a" and bool(_LINK_MATTERS.search(text, tag.body, tag.end))
                if not in_link and not was_in_link:
                    continue
            yield tag
            position = _after_content(text, tag, foreign, is_outside)
            if tag.name == "style" and tag.namespace == HTML:
                yield Tag("#css", HTML, tag.end, position)
        elif found[3]:
            start, position = position, _after_declaration(text, position - 1, foreign)
            if foreign.is_style and text.startswith("[CDATA[", start):
                yield Tag("#css", HTML, start + 7, max(start + 7, position - 3))


def _text_end(found: re.Match[str]) -> int:
    """Give where the text before a tag or declaration ends."""
    return found.start(1) - 1 if found[1] else found.start(3) - 1 if found[3] else found.end()


def _after_content(text: str, tag: Tag, foreign: Foreign, is_outside: bool) -> int:
    """Give where to read on after a tag: after what only looks like markup, and after a whole icon."""
    if tag.namespace == HTML and tag.name in _HIDING:
        return _raw_text_end(text, tag.name, tag.end)
    if is_outside and tag.name == SVG and foreign.is_open and (icon := _ICON.match(text, tag.end)):
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
