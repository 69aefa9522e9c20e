"""The images that CSS refers to, found by the CSS syntax's tokenizer in linear time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from imghost.html.tokenizer import names
from imghost.models import endings

_S: Final = r"\t\n\f\r "
_ESCAPE: Final = rf"(?=\\[^\n\f\r])\\(?:[0-9a-fA-F]{{1,6}}(?:\r\n|[{_S}])?|[^\n\f\r])"
_LETTER: Final = r"[a-zA-Z_\-\u0080-\U0010ffff]"
_TOKEN: Final = re.compile(
    rf"""/\*|["']|((?:[#@]?(?:{_LETTER}|{_ESCAPE})|[0-9])(?:{_LETTER}|[0-9.]|{_ESCAPE})*+)(\(?)|[(){{}};:]"""
)
_MAYBE: Final = re.compile(r"url|image-set|\\", re.IGNORECASE | re.ASCII)
_STRING: Final = {
    quote: re.compile(rf"[^{quote}\\\n\f\r]*+(?:\\(?:\r\n|[\s\S]|\Z)[^{quote}\\\n\f\r]*+)*+") for quote in "\"'"
}
_LEADING: Final = re.compile(rf"[{_S}]*+")
_BARE: Final = re.compile(rf"(?:[^\"'()\\{_S}\x00-\x08\x0b\x0e-\x1f\x7f]++|{_ESCAPE})*+")
_BARE_END: Final = re.compile(rf"[{_S}]*+(?:\)|\Z)")
_BAD_END: Final = re.compile(r"(?:[^)\\]++|\\[\s\S]?)*+\)?")
_ESCAPED: Final = re.compile(rf"\\(?:([0-9a-fA-F]{{1,6}})(?:\r\n|[{_S}])?|(\r\n|[\n\f\r])|([\s\S])|\Z)")
_LINE_END: Final = re.compile(r"\r\n|[\n\f\r]")
_REMOVED: Final = str.maketrans("", "", "\t\n\r")

_FROM_STRINGS: Final = frozenset({"image-set", "-webkit-image-set"})
_NOT_IMAGES: Final = frozenset({"@import", "@namespace", "@charset", "@document", "@-moz-document"})
_SAME_ORIGIN: Final = names(
    "filter -webkit-filter backdrop-filter clip-path -webkit-clip-path fill stroke marker marker-start marker-mid "
    "marker-end offset-path behavior -moz-binding src"
)
_IMAGES: Final = ("background", "list-style", "border-image", "content", "cursor")
_IMAGE_NAME: Final = re.compile(rf"[^?#]*\.(?:{endings()})(?:[?#]|\Z)", re.IGNORECASE | re.ASCII)


class Found(NamedTuple):
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


def images(css: str) -> Iterator[Found]:
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


def _string(css: str, start: int, quote: str, context: _Context) -> tuple[Found | None, int]:
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


def _url(css: str, start: int, context: _Context) -> tuple[Found | None, int]:
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


def _found(css: str, start: int, end: int, quote: str, context: _Context) -> Found | None:
    """Make a found URL of a span, unless it is no image or none that may come from elsewhere."""
    raw = css[start:end]
    start += len(raw) - len(raw.lstrip("\t\n\f\r "))
    end = max(start, end - (len(raw) - len(raw.rstrip("\t\n\f\r "))))
    if quote and css[end - 1 : end] == "\\" and (line_end := _LINE_END.match(css, end)):
        written = css[start:end]
        if (len(written) - len(written.rstrip("\\"))) % 2:
            end = line_end.end()  # an escaped line's end belongs to its backslash
    url = unescape(css[start:end]).strip("\t\n\f\r ").translate(_REMOVED)
    name = context.property
    if not url or url[0] == "#" or url[:5].lower() == "data:":
        return None
    if context.blocks[-1:] == [True] or context.first in _NOT_IMAGES or name in _SAME_ORIGIN:
        return None
    if not name.startswith(_IMAGES) and not is_image_name(url):
        return None
    needs_cors = name.startswith(("mask", "-webkit-mask", "shape-outside", "--"))
    return Found(start, end, url, quote, needs_cors)
