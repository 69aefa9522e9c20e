"""What a page does with a URL beside showing it: what of it loads files, what scripts make of it, what styles ask."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from imghost.models import Condition, endings

_S: Final = r"\t\n\f\r "
TAG: Final = re.compile(
    rf"""<(/?[a-zA-Z][^{_S}/>]*+)((?:[{_S}/]++|[^{_S}/>][^{_S}/>=]*+(?:[{_S}]*+=[{_S}]*+(?:"[^"]*+"?|'[^']*+'?|[^{_S}>"'][^{_S}>]*+|))?)*+)(?:>|\Z)"""
)
ATTRIBUTE: Final = re.compile(
    rf"""([^{_S}/>][^{_S}/>=]*+)(?:[{_S}]*+=[{_S}]*+("[^"]*+"?|'[^']*+'?|[^{_S}>"'][^{_S}>]*+|))?"""
)
_RAW: Final = frozenset({"script", "style", "textarea", "xmp", "iframe", "noembed", "noframes", "template", "noscript"})
"""Elements whose text is not shown as it is: code, or markup that a script may use."""

_SAYS: Final = frozenset({"title", "summary", "placeholder", "aria-label", "aria-description", "aria-roledescription"})
"""Attributes that readers read."""
_PICTURES: Final = frozenset({"img", "image", "area", "input"})
"""Elements whose `alt` stands for a picture."""
_SAYING_META: Final = re.compile(r"(?:description|title|keywords|author|alt|label|data)[0-9]*\Z", re.I)
_DRAWN: Final = re.compile(
    r"""\bclass\s*=\s*["']?[^"'>]*\b(?:mermaid|plantuml|kroki|wavedrom|nomnoml|markmap|graphviz|dot|vega|asciinema|"""
    r"""reveal|marp|drawio|excalidraw|diagram|gallery|carousel|slideshow|slides)\b|\sdata-(?:markdown|template|src)\b""",
    re.I | re.A,
)
"""Elements whose text a script turns into pictures."""


def loading_text(page: str) -> str:
    """Give a page without what no browser loads a file by; a text that begins with no tag stays whole."""
    if not page.lstrip("\ufeff\t\n\f\r ").startswith("<"):
        return page
    return "\n".join(_parts(page))


def _parts(page: str) -> Iterator[str]:
    position = 0
    while (opened := page.find("<", position)) >= 0:
        if page.startswith(("<!", "<?"), opened):
            end = _comment_end(page, opened)
            yield page[opened:end]
            position = end
            continue
        tag = TAG.match(page, opened)
        if tag is None:
            position = opened + 1
            continue
        name = tag[1].lower()
        yield _attributes(name, tag[2])
        position = tag.end()
        if _is_read(name, tag[2]):
            end = _element_end(page, name, position)
            yield page[position:end]
            position = end


def _is_read(name: str, attributes: str) -> bool:
    """Say whether an element's content counts as it is written, prose and all."""
    if name in _RAW or ("-" in name and name[0] != "/"):
        return True
    return name[0] != "/" and bool(_DRAWN.search(attributes))


def _element_end(page: str, name: str, start: int) -> int:
    """Give where the next end tag of this name begins; text of an element that is not closed goes to the end."""
    closing = re.compile(f"</{re.escape(name)}(?=[{_S}/>])", re.I | re.A).search(page, start)
    return closing.start() if closing else len(page)


def _comment_end(page: str, start: int) -> int:
    mark = "-->" if page.startswith("<!--", start) else ">"
    end = page.find(mark, start)
    return end + len(mark) if end >= 0 else len(page)


def _attributes(name: str, written: str) -> str:
    """Give a tag's attributes without those that only readers read."""
    if not written or written.isspace():
        return ""
    given = [(attribute[1].lower(), attribute[2] or "") for attribute in ATTRIBUTE.finditer(written)]
    is_saying_meta = name == "meta" and any(
        key in {"name", "property", "itemprop"} and _SAYING_META.search(value.strip("\"'")) for key, value in given
    )
    return "\n".join(
        value
        for key, value in given
        if value
        and key not in _SAYS
        and not (key == "alt" and name in _PICTURES)
        and not (key == "content" and is_saying_meta)
    )


# What a script makes images' names from: the literals and elements near a place where it reads an image's URL.
#
# A script that only names an image needs nothing of us: its own copy stays where it is. One that reads the URL of an
# element, changes it and writes it back finds a hosted URL there, and makes one of it that nobody serves.

_NEAR: Final = 160
"""Letters before and after where a URL is read and changed in which the literals of the change are looked for."""
_AROUND: Final = 600
"""The same for the elements that a function works on, and for where it uses what it has read."""
_NEAR_TAG: Final = 1000
"""Letters of a tag around code for an event."""
_LONGEST: Final = 120
"""Letters of a literal that can be a part of a file's name."""

_MENTIONS: Final = ("src", "Src", "ackground", "poster")
_READ: Final = re.compile(
    r"""\.\s*(?:src|currentSrc|srcset|backgroundImage|poster)\b(?!\s*=[^=])(?!\s*\()"""
    r"""|(?:attr|prop|css|getAttribute|getPropertyValue)\(\s*["'`](?:(?:data-)?src(?:set)?|poster|background-image)["'`]\s*\)"""
    r"""|\[\s*["'](?:src|srcset)["']\s*\](?!\s*=[^=])"""
    r"""|\b(?:src|currentSrc|srcset)\b(?=\s*\.\s*[a-zA-Z]+\()""",
    re.A,
)
_CHANGES: Final = (
    r"(?:replace(?:All)?|substr(?:ing)?|slice|split|match|search|concat"
    r"|(?:last)?[iI]ndexOf|includes|(?:starts|ends)With)"
)
_USED: Final = re.compile(
    rf"""(?:\.(?:toString|toLowerCase|trim|valueOf)\(\))*\s*(?:\.\s*{_CHANGES}\s*\(|\[|[=!]==?\s*["'`]|\+\s*["'`])"""
)
_KEPT: Final = re.compile(r"([A-Za-z_$][\w$]*)\s*=\s*[^=;,{}()\n][^=;,{}\n]{0,120}\Z|([A-Za-z_$][\w$]*)\s*=\s*\Z")
_TESTED: Final = re.compile(r"""(?:\.(?:test|exec)\(|[=!]==?|\bin\b|\bcase\b|["'`]\s*\+)\s*[\w$.\[\]]*\Z""")
_SELECTED: Final = re.compile(
    r"""(?<![\w$])(?:querySelector(?:All)?|closest|matches|\$|jQuery|find|filter|children|siblings|is|not|on)"""
    r"""\s*\(\s*(?:[^()"'`]{0,60},\s*)?["'`]([^"'`\n]{1,120})["'`]"""
)
_NAMED: Final = re.compile(
    r"""(?:getElementById|getElementsByClassName|hasClass|toggleClass|classList\s*\.\s*(?:contains|toggle))"""
    r"""\s*\(\s*["'`]([\w\- ]{1,120})["'`]"""
)
_GROWN: Final = re.compile(r"""["'`]\s*\+[^"'`;\n]{1,60}\+\s*["'`]([\w\-]{3,60})["'`]""")
_TOKEN: Final = re.compile(r"[#.]([\w\-]+)")
_REGEX: Final = re.compile(r"""[(,=]\s*/((?:[\w@.\- ]|\\.){1,60})/[a-z]*""")
_ESCAPED: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|(.))", re.S)
_GROUPS: Final = re.compile(r"\$(?:[&0-9]|<\w+>|\{[^{}]*\})")
_ENDING: Final = re.compile(rf"\.(?:{endings()})\Z", re.I | re.A)
_COUNTS: Final = re.compile(r"replace(?:All)?\(\s*/[^/\n]{0,40}(?:\\d|\[0-9\])")


_HANDLER: Final = re.compile(r"""[\s"'/]on[a-z]{3,20}+\s*+=\s*+(?:"([^"]*+)"|'([^']*+)')""", re.I)
_HANDLER_NAME: Final = re.compile(r"""[\s"'/]on[a-z]{3,20}+\s*+=""", re.I)
DIGITS: Final = "\\d"
"""The literal that says that digits in a name are changed."""


class Renames(NamedTuple):
    """What scripts work with where they change images' URLs."""

    literals: frozenset[str] = frozenset()
    """Literals, escapes undone, that a changed name may have, or have had."""
    words: frozenset[str] = frozenset()
    """Ids and classes of elements that are worked on; one that begins with `*` is the end of one."""

    def __bool__(self) -> bool:
        return bool(self.literals or self.words)

    def joined(self, other: Renames) -> Renames:
        """Put two scripts' together."""
        return Renames(self.literals | other.literals, self.words | other.words)


NOTHING: Final = Renames()


def all_of(renames: Iterable[Renames]) -> Renames:
    """Put the scripts of a page, or of a site, together."""
    whole = NOTHING
    for one in renames:
        whole = whole.joined(one) if one else whole
    return whole


def renames_of(script: str) -> Renames:
    """Read a script once; one that changes no image's URL gives nothing."""
    changing = list(_changing(script))
    if not changing:
        return NOTHING
    near = [script[start:end] for start, end in _merged(changing, _NEAR)]
    around = [script[start:end] for start, end in _merged(changing, _AROUND)]
    literals = frozenset(part for window in near for literal in _literals(window) for part in _joined_parts(literal))
    words = frozenset(word for window in around for word in _words(window))
    return Renames(literals | ({DIGITS} if any(map(_COUNTS.search, near)) else set()), words)


def handlers_renames(page: str, scripts: Iterable[tuple[int, int]]) -> Renames:
    """Read the code in a page's attributes for events, where it mentions images' URLs; `scripts` are the others' spans.

    That it is code shows the tag's beginning, near before the mention.
    """
    from imghost.html.tokenizer import decode

    whole = NOTHING
    for place in _places_outside(page, scripts):
        tag = page.rfind("<", max(0, place - _NEAR_TAG), place)
        if tag < 0 or not _HANDLER_NAME.search(page, tag, place):
            continue  # prose, most often
        for handler in _HANDLER.finditer(page, tag, place + _NEAR_TAG):
            if handler.start() <= place < handler.end():
                whole = whole.joined(renames_of(decode(handler[1] or handler[2] or "")))
    return whole


def _places_outside(page: str, scripts: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Yield where URLs may be changed outside of scripts; one search serves the three marks that end alike."""
    start = 0
    for opened, closed in (*scripts, (len(page), len(page))):
        if opened > start:
            place = page.find("src", start, opened)
            while place >= 0:
                if page.startswith((".src", "'src'", '"src"'), place - 1):
                    yield place - 1
                place = page.find("src", place + 3, opened)
            for word in (".currentSrc", "ackgroundImage"):
                place = page.find(word, start, opened)
                while place >= 0:
                    yield place
                    place = page.find(word, place + 1, opened)
        start = max(start, closed)


def _places(text: str, words: Iterable[str]) -> list[int]:
    """List where these words stand in a text, in order; they cost a tenth of a pattern."""
    places: list[int] = []
    for word in words:
        place = text.find(word)
        while place >= 0:
            places.append(place)
            place = text.find(word, place + 1)
    return sorted(places)


def _changing(script: str) -> Iterator[tuple[int, int]]:
    """Yield where an image's URL is read and then changed or compared."""
    end = 0
    for place in _places(script, _MENTIONS):
        read = _READ.search(script, max(0, place - 24), place + 24) if place >= end else None
        if read:
            end = read.end()
            if used := _changed_at(script, read):
                yield read.start(), used


def _changed_at(script: str, read: re.Match[str]) -> int:
    """Say up to where what was read is changed or compared, at once or by the name that it is given; 0 if it is not."""
    if used := _USED.match(script, read.end()):
        return used.end()
    before = script[max(0, read.start() - 160) : read.start()]
    if _TESTED.search(before):
        return read.end()
    kept = _KEPT.search(before)
    if kept is None:
        return 0
    name = re.escape(kept[1] or kept[2])
    after = script[read.end() : read.end() + _AROUND]
    later = rf"(?<![\w$.]){name}{_USED.pattern}|\.(?:test|exec)\(\s*{name}\s*\)|[\"'`]\s*\+\s*{name}\b|\$\{{\s*{name}\b"
    return max((read.end() + use.end() for use in re.finditer(later, after)), default=0)


def _merged(places: Iterable[tuple[int, int]], margin: int) -> list[tuple[int, int]]:
    """Make windows around places; those that overlap become one."""
    windows: list[tuple[int, int]] = []
    for first, last in places:
        start, end = max(0, first - margin), last + margin
        if windows and start <= windows[-1][1]:
            windows[-1] = windows[-1][0], max(end, windows[-1][1])
        else:
            windows.append((start, end))
    return windows


def _literals(window: str) -> Iterator[str]:
    """Yield what stands between quotes; a window may begin within a string, so both sides of each quote count."""
    for piece in re.split(r"[\"'`]|\$\{|\}", window):
        if len(piece) <= _LONGEST and not _is_code(piece):
            yield _ESCAPED.sub(_letter, piece)
    for pattern in _REGEX.finditer(window):
        yield re.sub(r"\\(.)", r"\1", pattern[1].removesuffix("$"))


def _is_code(piece: str) -> bool:
    return not piece.strip() or any(mark in piece for mark in "(;=\n,+:")


def _letter(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    return chr(int(code, 16)) if code else escape[3]


def _joined_parts(literal: str) -> Iterator[str]:
    """Yield a literal's parts around what varies in it, and what is left of each without an image's ending."""
    for part in _GROUPS.split(literal):
        # A dot alone before a group stands for the ending's: `'@2x.$1'`.
        for name in {part, part.removesuffix("."), _ENDING.sub("", part)}:
            if len(name) >= 2 and name not in {"..", "//", "./"}:
                yield name


def _words(window: str) -> Iterator[str]:
    for selected in _SELECTED.finditer(window):
        yield from _TOKEN.findall(selected[1])
    for named in _NAMED.finditer(window):
        yield from named[1].split()
    for grown in _GROWN.finditer(window):
        yield f"*{grown[1]}"
    for grown in re.finditer(r"""\+\s*["'`]([\w\-]{3,60})["'`]\s*[),]""", window):
        yield f"*{grown[1]}"


def renamed_paths(path: str, literals: Iterable[str]) -> Iterator[str]:
    """Yield the paths that a script may make of an image's: a literal exchanged, added before the ending, or gone."""
    literals = {literal for literal in literals if literal != DIGITS}
    stem, dot, ending = path.rpartition(".")
    for new in literals:
        yield f"{stem}{new}{dot}{ending}"
    rooted = f"/{path}"
    for old in literals:
        if old in rooted:
            for new in literals | {""}:
                yield rooted.replace(old, new).lstrip("/")


def names(path: str, literals: Iterable[str]) -> bool:
    """Say whether an image's file name stands in the scripts as a whole."""
    rooted = f"/{path}"
    return any(_ENDING.search(literal) and rooted.endswith(f"/{literal.lstrip('./')}") for literal in literals)


def works_on(words: frozenset[str], element_id: str, classes: Iterable[str]) -> bool:
    """Say whether scripts that change URLs work on an element with this id and these classes."""
    mine = {element_id, *classes} - {""}
    if not mine.isdisjoint(words):
        return True
    ends = tuple(word[1:] for word in words if word[0] == "*")
    return bool(ends) and any(word.endswith(ends) for word in mine)


# Selectors that ask for a URL's text: they must match as much, and no more, when the URL is another.

_ATTRIBUTES: Final = r"src|srcset|data-src|data-srcset|href|xlink\\?:href|poster|content|data"
_STRING: Final = r"""\\?"(?:[^"\\\n]|\\[^"])*\\?"|\\?'(?:[^'\\\n]|\\[^'])*\\?'|(?:[^\]\s"'\\]|\\.)+"""
_SELECTOR: Final = re.compile(
    rf"""\[\s*(?:\*?\|)?({_ATTRIBUTES})\s*([~|^$*]?=)\s*({_STRING})\s*([iIsS]?)\s*\]""", re.A | re.I
)
_ESCAPE: Final = re.compile(r"\\(?:([0-9a-fA-F]{1,6})\s?|(.))", re.S)
_UP: Final = re.compile(r"(?:\.{0,2}/)*")
_SUFFIX: Final = re.compile(r"\.[A-Za-z]{3,4}\Z")

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
    ending = _SUFFIX.search(path)
    up = _UP.match(path)
    where = f"{origin}/" if origin else f"{up[0] if up else ''}_imghost/"
    return f"{where}{'0' * 32}{ending[0] if ending else ''}{query_mark}{query}{mark}{fragment}"
