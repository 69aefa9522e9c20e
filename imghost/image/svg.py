"""SVG: well-formed to its end, and nothing in it that runs, loads or links.

Expat reads it with no entity ever declared or expanded: a document type with declarations of its own
is refused before the first of them counts.
"""

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

from imghost.image import Data, NotAnImage, Outline, Pieces, Shown

_SVG: Final = "http://www.w3.org/2000/svg"
_XHTML: Final = "http://www.w3.org/1999/xhtml"
_LINKING: Final = {"", "http://www.w3.org/1999/xlink", "http://www.w3.org/XML/1998/namespace"}
"""Namespaces of attributes that browsers know; those of editors mean nothing to them."""
_MAX_BYTES: Final = 10_000_000
_ENCODINGS: Final = {"utf-8", "utf-16", "us-ascii", "ascii", "iso-8859-1"}
_ACTIVE: Final = {
    "script": "a script",
    "foreignobject": "foreignObject",
    "handler": "a script",
    "listener": "a script",
    **{name: f"<{name}>" for name in ("iframe", "object", "embed", "audio", "video", "link", "meta", "base")},
}
_LINKS: Final = {"href", "src", "base", "srcset", "data", "action", "formaction", "poster"}
# What browsers read as CSS: the style itself, the presentation attributes that may load something (SVG 1.1 and 2),
# and what an animation puts in their place.
_STYLES: Final = {
    "style", "clip-path", "color-profile", "cursor", "fill", "filter", "marker", "marker-start", "marker-mid",
    "marker-end", "mask", "mask-image", "stroke", "font", "font-family", "content", "background", "background-image",
    "list-style", "list-style-image", "border-image", "shape-outside", "offset-path", "d", "transform", "from", "to",
    "by", "values",
}  # fmt: skip
_PICTURE: Final = re.compile(r"data:image/(?:png|jpe?g|gif|webp|avif)[;,]", re.IGNORECASE)
_DRAWING: Final = re.compile(r"data:image/svg\+xml[;,]", re.IGNORECASE)
_FONT: Final = re.compile(r"data:(?:font/|application/(?:x-)?font-|application/vnd\.ms-fontobject)", re.IGNORECASE)
_CONTROLS: Final = "".join(map(chr, range(0x21)))
"""What a URL's beginning and end may have around it (WHATWG URL: C0 control or space)."""

# CSS Syntax Level 3: what a comment or a string holds is neither a function nor an address.
_NEWLINE: Final = re.compile(r"\r\n?|\f")
_ESCAPE: Final = r"\\(?:([0-9a-fA-F]{1,6})[ \t\n]?|([^\n]))"
_ESCAPED: Final = re.compile(_ESCAPE)
_PLAIN_ESCAPE: Final = r"\\(?:[0-9a-fA-F]{1,6}[ \t\n]?|[^\n0-9a-fA-F])"
_TOKEN: Final = re.compile(rf"/\*|[\"']|(@?(?:[-a-zA-Z0-9_\u0080-\U0010ffff]|{_PLAIN_ESCAPE})+)(\(?)")
_STRING: Final = {quote: re.compile(rf"(?:[^{quote}\\\n]|\\[\s\S])*+") for quote in "\"'"}
_BARE: Final = re.compile(r"[ \t\n]*+((?:[^)\\]|\\[\s\S])*+)")
_OPENING: Final = re.compile(r"[ \t\n]*+([\"'])")
_LOADING: Final = {"image", "image-set", "-webkit-image-set", "src"}

_NUMBER: Final = r"(\d{1,9}(?:\.\d{1,30})?|\.\d{1,30})(?:e([+-]?\d))?"
_BLANK: Final = "[ \t\n\f\r]*"
_LENGTH: Final = re.compile(rf"{_BLANK}\+?{_NUMBER}(px|pt|pc|mm|cm|in|q|){_BLANK}", re.IGNORECASE | re.ASCII)
_PIXELS: Final = {
    "": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0, "q": 96 / 101.6,
}  # fmt: skip
# Lengths by a font or a window, which this file does not tell, and nothing at all.
_RELATIVE: Final = re.compile(
    rf"{_BLANK}(?:[+-]?{_NUMBER}(?:r?em|r?ex|r?ch|r?cap|r?ic|r?lh|[sld]?v(?:w|h|i|b|min|max)|cq\w+)|-.*|.*\(.*)",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_BOX_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,9}(?:\.\d{0,30})?|\.\d{1,30})(?:e[+-]?\d)?", re.IGNORECASE | re.ASCII)

# Where editors note the paths of the machine they ran on.
_EDITORS: Final = ("http://www.inkscape.org/namespaces/inkscape", "http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd")
_PATHS: Final = {"docname", "docbase", "absref", "export-filename"}
_START_TAG: Final = re.compile(rb"""<[^<>"']*+(?:"[^"]*+"[^<>"']*+|'[^']*+'[^<>"']*+)*+>""")
_ATTRIBUTE: Final = re.compile(rb"""[ \t\r\n]+([\w.-]+):([\w.-]+)[ \t\r\n]*=[ \t\r\n]*(?:"[^"]*"|'[^']*')""")
# With these in a style, taking an element away may change how another is drawn.
_POSITIONAL: Final = re.compile(r":(?:nth-|first-|last-|only-|has|empty)|[+~]")


def is_svg(head: bytes) -> bool:
    """Say whether a file begins like XML, so that it may be an SVG."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[2:3] == b"<" or head[3:4] == b"<"
    return head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").startswith(b"<")


def outline(data: Data) -> Outline:
    """Read a drawing to its end; raises `NotAnImage` for what is active, or no drawing."""
    if len(data) > _MAX_BYTES:
        raise _stays(f"of more than {_MAX_BYTES:,} bytes")
    raw = data[0 : len(data)]
    reader = _Reader(raw)
    try:
        reader.parser.Parse(raw, True)
    except expat.ExpatError as error:
        if reader.root is None:
            raise NotAnImage("it is not an image") from None
        if error.code == expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS]:
            raise NotAnImage("it is an SVG that is cut short", _MEND) from None
        raise NotAnImage(f"it is an SVG with an error in line {error.lineno}", _MEND) from None
    except (ValueError, LookupError) as error:
        if isinstance(error, NotAnImage):
            raise
        raise NotAnImage("it is not an image") from None
    return Outline("image/svg+xml", Shown(*_size(reader.root or {})), False, reader.pieces())


_MEND: Final = "mend it, or exclude it"


def _stays(what: str) -> NotAnImage:
    """Make the verdict on a drawing that is in order, but may not be hosted: it stays where it is, and works there."""
    return NotAnImage(f"it is an SVG {what}", "", is_harmless=True)


class _Reader:
    """Expat with a check on each event, and a note of the spans that describe and draw nothing."""

    def __init__(self, raw: bytes) -> None:
        self.root: dict[str, str] | None = None
        self._raw = raw
        # Expat counts bytes; in UTF-16 a search for one of these would not find what it means.
        self._is_ascii = not raw.startswith((b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<"))
        self._style: list[str] | None = None
        self._styles: list[str] = []
        self._notes: list[tuple[int, int]] = []
        self._elements: list[tuple[int, int]] = []
        self._described = 0
        self._prefixes: set[bytes] = set()
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.XmlDeclHandler = self._declaration
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._entity
        self.parser.SkippedEntityHandler = self._entity
        self.parser.StartNamespaceDeclHandler = self._namespace
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._stop
        self.parser.CharacterDataHandler = self._text
        self.parser.CommentHandler = self._comment
        self.parser.ProcessingInstructionHandler = self._instruction

    def pieces(self) -> tuple[slice | bytes, ...]:
        """Give what stays when comments, `<metadata>` and editors' paths are taken off."""
        spans = list(self._notes)
        if not any(_POSITIONAL.search(style) for style in self._styles):
            spans += self._elements
        pieces = Pieces()
        at = 0
        for start, end in sorted(spans):
            if start >= at:
                pieces.keep(at, start)
            at = max(at, end)
        pieces.keep(at, len(self._raw))
        return pieces.done()

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding and encoding.lower() not in _ENCODINGS:
            raise _stays("in an encoding other than UTF-8 or UTF-16")

    def _doctype(self, name: str, _system: str | None, _public: str | None, has_declarations: int) -> None:
        if name.lower() == "html":
            raise NotAnImage("it is not an image but HTML")
        if has_declarations:
            raise _stays("with declarations of its own in its DOCTYPE")

    def _entity(self, *_: object) -> None:
        raise _stays("with an entity")

    def _instruction(self, target: str, _text: str) -> None:
        if target.lower() == "xml-stylesheet":
            raise _stays("with a style sheet outside of it")

    def _namespace(self, prefix: str | None, uri: str) -> None:
        if prefix and uri in _EDITORS:
            self._prefixes.add(prefix.encode())

    def _comment(self, _: str) -> None:
        start = self.parser.CurrentByteIndex
        end = self._raw.find(b"-->", start)
        if self._is_ascii and end >= 0:
            self._notes.append((start, end + 3))

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        if self.root is None:
            if local != "svg" or space not in {_SVG, ""}:
                raise NotAnImage("it is not an image")
            self.root = attributes
        if self._style is not None:
            raise _stays("with an element in a style")
        if space == _XHTML:
            raise _stays("with HTML in it")
        if space in {_SVG, ""} and (active := _ACTIVE.get(local.lower())):
            raise _stays(f"with {active}")
        for attribute, text in attributes.items():
            _check_attribute(local, attribute, text)
        if local.lower() == "style":
            self._style = []
        if self._is_ascii:
            self._note_start(space, local)

    def _note_start(self, space: str, local: str) -> None:
        """Note where metadata begins, and the paths among an element's attributes."""
        start = self.parser.CurrentByteIndex
        if space == _SVG and local == "metadata":
            self._described += 1
            if self._described == 1:
                self._elements.append((start, start))
        if self._prefixes and (tag := _START_TAG.match(self._raw, start)):
            for found in _ATTRIBUTE.finditer(self._raw, start, tag.end()):
                if found[1] in self._prefixes and found[2].decode("ascii", "replace") in _PATHS:
                    self._notes.append(found.span())

    def _stop(self, name: str) -> None:
        space, _, local = name.rpartition(" ")
        if self._style is not None and local.lower() == "style":
            css = "".join(self._style)
            _check_style(css)
            self._styles.append(css)
            self._style = None
        if self._described and space == _SVG and local == "metadata":
            self._described -= 1
            at = self.parser.CurrentByteIndex
            # Of an empty element the tag that begins it is the one that ends it.
            tag = _START_TAG.match(self._raw, at)
            if not self._described:
                self._elements[-1] = (self._elements[-1][0], tag.end() if tag else at)

    def _text(self, text: str) -> None:
        if self._style is not None:
            self._style.append(text)


def _check_attribute(element: str, name: str, text: str) -> None:
    """Refuse an attribute that runs something, or reaches outside of the file."""
    space, _, local = name.rpartition(" ")
    local = local.lower()
    if space not in _LINKING:
        return
    if not space and local.startswith("on"):
        raise _stays(f"with an event attribute ({local[:20]})")
    # An animation can give another element a link that it does not have in the file.
    if local == "attributename":
        target = text.strip(_CONTROLS).rpartition(":")[2].lower()
        if target in _LINKS or target.startswith("on"):
            raise _stays("that animates a link")
    if not space and local == "ping" and text.strip(_CONTROLS):
        raise _stays("that tells another server of a click (ping)")
    if local in _LINKS and not _is_inside(element, text):
        raise _stays(f"that refers to something outside of it ({local})")
    if not space and local in _STYLES:
        _check_style(text)


def _is_inside(element: str, link: str) -> bool:
    """Say whether a link leads to a place in the drawing, or to a picture written into it."""
    link = link.strip(_CONTROLS)
    if link == "" or link.startswith("#") or _PICTURE.match(link):
        return True
    # A drawing in a drawing is only ever shown as a picture by these two.
    return element.lower() in {"image", "feimage"} and bool(_DRAWING.match(link))


def _check_style(css: str) -> None:
    """Refuse CSS that loads something."""
    if "(" not in css and "@" not in css and "\\" not in css:
        return
    css = _NEWLINE.sub("\n", css)
    at = 0
    while token := _TOKEN.search(css, at):
        at = token.end()
        if token[0] == "/*":
            at = css.find("*/", at) + 2
            if at < 2:
                return
        elif token[1] is None:
            at = _string(css, at, token[0])[1]
        else:
            name = _unescaped(token[1]).lower()
            if name == "@import" or (token[2] and name in _LOADING):
                raise _stays("whose style loads something")
            if token[2] and name == "url":
                at = _check_url(css, at)


def _check_url(css: str, at: int) -> int:
    """Refuse an address that leads out of the file; gives where it ends."""
    if opening := _OPENING.match(css, at):
        address, end = _string(css, opening.end(), opening[1])
    else:
        bare = _BARE.match(css, at)
        assert bare
        address, end = bare[1].rstrip(" \t\n"), bare.end()
    address = _unescaped(address).strip(_CONTROLS)
    if not (address.startswith("#") or any(form.match(address) for form in (_PICTURE, _DRAWING, _FONT))):
        raise _stays("that refers to something outside of it (url)")
    return end


def _string(css: str, at: int, quote: str) -> tuple[str, int]:
    """Give what a string says, and where it ends; an end of the line breaks it off."""
    body = _STRING[quote].match(css, at)
    assert body
    return body[0].replace("\\\n", ""), body.end() + (css[body.end() : body.end() + 1] == quote)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(_unescape, text) if "\\" in text else text


def _unescape(match: re.Match[str]) -> str:
    if not match[1]:
        return match[2]
    code = int(match[1], 16)
    return chr(code) if 0 < code < 0x110000 else "\ufffd"


def _size(root: dict[str, str]) -> tuple[int | None, int | None]:
    """Read a drawing's size in pixels as Chromium does; none where the file does not tell it alone."""
    texts = root.get("width", ""), root.get("height", "")
    if any(_RELATIVE.fullmatch(text.strip(" \t\n\f\r")) for text in texts):
        return None, None
    width, height = map(_length, texts)
    if width is None and height is None:
        return None, None
    ratio = _ratio(root)
    if width is None and height is not None and ratio:
        width = height * ratio
    elif height is None and width is not None and ratio:
        height = width / ratio
    if width is None or height is None or not (0.5 <= width < 1e6 and 0.5 <= height < 1e6):
        return None, None
    return int(width + 0.5), int(height + 0.5)


def _ratio(root: dict[str, str]) -> float | None:
    """Give width by height of what is drawn, unless the drawing may be stretched."""
    numbers = re.split(
        r"[ \t\n\f\r]*,[ \t\n\f\r]*|[ \t\n\f\r]+", root.get("viewBox", "").strip(" \t\n\f\r"), maxsplit=4
    )
    if len(numbers) != 4 or not all(map(_BOX_NUMBER.fullmatch, numbers)):
        return None
    across, down = float(numbers[2]), float(numbers[3])
    is_stretched = root.get("preserveAspectRatio", "").split()[:1] == ["none"]
    return across / down if across > 0 and down > 0 and not is_stretched else None


def _length(text: str) -> float | None:
    match = _LENGTH.fullmatch(text)
    return float(match[1]) * 10.0 ** int(match[2] or 0) * _PIXELS[match[3].lower()] if match else None
