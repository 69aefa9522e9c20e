"""SVG: well-formed to its end, and nothing in it that runs, loads or links.

Expat reads it with no entity ever declared or expanded: a document type with declarations of its own
is refused before the first of them counts.
"""

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

from imghost.image.structure import Data, NotAnImage, Outline

_SVG: Final = "http://www.w3.org/2000/svg"
_XHTML: Final = "http://www.w3.org/1999/xhtml"
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
_RUNNING: Final = ("javascript:", "vbscript:")
_PICTURE: Final = re.compile(r"data:image/(?:png|jpe?g|gif|webp|avif)[;,]", re.IGNORECASE)
_DRAWING: Final = re.compile(r"data:image/svg\+xml[;,]", re.IGNORECASE)
_FONT: Final = re.compile(r"data:(?:font/|application/(?:x-)?font-|application/vnd\.ms-fontobject)", re.IGNORECASE)
_ESCAPE: Final = re.compile(r"\\(?:([0-9a-fA-F]{1,6})\s?|(.))", re.DOTALL)
_COMMENT: Final = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_URL: Final = re.compile(r"url\(\s*[\"']?\s*", re.IGNORECASE)
_LOADING: Final = re.compile(r"@import|(?<![\w-])(?:-webkit-)?(?:image-set|image|src)\(", re.IGNORECASE)
_BLANKS: Final = re.compile(r"[\x00-\x20]+")
_LENGTH: Final = re.compile(
    r"\s*\+?(\d{1,9}(?:\.\d{0,30})?|\.\d{1,30})(?:e([+-]?\d))?(px|pt|pc|mm|cm|in|)\s*", re.IGNORECASE
)
_PIXELS: Final = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}


def is_svg(head: bytes) -> bool:
    """Say whether a file begins like XML, so that it may be an SVG."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[2:3] == b"<" or head[3:4] == b"<"
    return head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").startswith(b"<")


def outline(data: Data) -> Outline:
    """Read a drawing to its end; raises `NotAnImage` for what is active, or no drawing."""
    if len(data) > _MAX_BYTES:
        raise NotAnImage(f"it is an SVG of more than {_MAX_BYTES:,} bytes")
    reader = _Reader()
    try:
        reader.parser.Parse(data[0 : len(data)], True)
    except expat.ExpatError as error:
        if reader.root is None:
            raise NotAnImage("it is not an image") from None
        if error.code == expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS]:
            raise NotAnImage("it is an SVG that is cut short") from None
        raise NotAnImage(f"it is an SVG with an error in line {error.lineno}") from None
    except (ValueError, LookupError) as error:
        if isinstance(error, NotAnImage):
            raise
        raise NotAnImage("it is not an image") from None
    width, height = _dimensions(reader.root or {})
    return Outline("image/svg+xml", width, height, False, (slice(0, len(data)),))


class _Reader:
    """Expat with a check on each event."""

    def __init__(self) -> None:
        self.root: dict[str, str] | None = None
        self._style: list[str] | None = None
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.XmlDeclHandler = self._declaration
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._entity
        self.parser.SkippedEntityHandler = self._entity
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._stop
        self.parser.CharacterDataHandler = self._text
        self.parser.ProcessingInstructionHandler = self._instruction

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding and encoding.lower() not in _ENCODINGS:
            raise NotAnImage("it is an SVG in an encoding other than UTF-8 or UTF-16")

    def _doctype(self, name: str, _system: str | None, _public: str | None, has_declarations: int) -> None:
        if name.lower() == "html":
            raise NotAnImage("it is not an image but HTML")
        if has_declarations:
            raise NotAnImage("it is an SVG with declarations of its own in its DOCTYPE")

    def _entity(self, *_: object) -> None:
        raise NotAnImage("it is an SVG with an entity")

    def _instruction(self, target: str, _text: str) -> None:
        if target.lower() == "xml-stylesheet":
            raise NotAnImage("it is an SVG with a style sheet outside of it")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        if self.root is None:
            if local != "svg" or space not in {_SVG, ""}:
                raise NotAnImage("it is not an image")
            self.root = attributes
        if space == _XHTML:
            raise NotAnImage("it is an SVG with HTML in it")
        if active := _ACTIVE.get(local.lower()):
            raise NotAnImage(f"it is an SVG with {active}")
        for attribute, text in attributes.items():
            _check_attribute(local, attribute, text)
        if local.lower() == "style":
            self._style = []

    def _stop(self, name: str) -> None:
        if self._style is not None and name.rpartition(" ")[2].lower() == "style":
            _check_style("".join(self._style))
            self._style = None

    def _text(self, text: str) -> None:
        if self._style is not None:
            self._style.append(text)


def _check_attribute(element: str, name: str, text: str) -> None:
    """Refuse an attribute that runs something, or reaches outside of the file."""
    space, _, local = name.rpartition(" ")
    local = local.lower()
    if not space and local.startswith("on"):
        raise NotAnImage(f"it is an SVG with an event attribute ({local[:20]})")
    # An animation can give another element a link that it does not have in the file.
    if local == "attributename":
        target = text.strip().rpartition(":")[2].lower()
        if target in _LINKS or target.startswith("on"):
            raise NotAnImage("it is an SVG that animates a link")
    plain = _BLANKS.sub("", text).lower()
    if any(scheme in plain for scheme in _RUNNING):
        raise NotAnImage("it is an SVG with a script in an attribute")
    if local in _LINKS and not _is_inside(element, text):
        raise NotAnImage(f"it is an SVG that refers to something outside of it ({local})")
    _check_style(text)


def _is_inside(element: str, link: str) -> bool:
    """Say whether a link leads to a place in the drawing, or to a picture written into it."""
    link = link.strip()
    if link == "" or link.startswith("#") or _PICTURE.match(link):
        return True
    # A drawing in a drawing is only ever shown as a picture by these two.
    return element.lower() in {"image", "feimage"} and bool(_DRAWING.match(link))


def _check_style(css: str) -> None:
    """Refuse CSS that loads something."""
    if "(" not in css and "@" not in css and "\\" not in css:
        return
    css = _ESCAPE.sub(_unescape, _COMMENT.sub("", css)) if "\\" in css or "/*" in css else css
    if _LOADING.search(css):
        raise NotAnImage("it is an SVG whose style loads something")
    for match in _URL.finditer(css):
        target = css[match.end() : match.end() + 60]
        if not (target.startswith("#") or any(p.match(target) for p in (_PICTURE, _DRAWING, _FONT))):
            raise NotAnImage("it is an SVG that refers to something outside of it (url)")


def _unescape(match: re.Match[str]) -> str:
    if not match[1]:
        return match[2]
    code = int(match[1], 16)
    return chr(code) if 0 < code < 0x110000 else "\ufffd"


def _dimensions(root: dict[str, str]) -> tuple[int | None, int | None]:
    """Read the size in pixels as a browser would show the drawing alone."""
    width, height = _length(root.get("width", "")), _length(root.get("height", ""))
    box = re.split(r"[\s,]+", root.get("viewBox", "").strip(), maxsplit=4)
    across, down = (_length(box[2]), _length(box[3])) if len(box) == 4 else (None, None)
    if across and down:
        if width is None and height is None:
            width, height = across, down
        width = width or (height or 0) * across / down
        height = height or width * down / across
    if width is None or height is None or not (width < 1e6 and height < 1e6):
        return None, None
    return max(1, round(width)), max(1, round(height))


def _length(text: str) -> float | None:
    match = _LENGTH.fullmatch(text)
    if not match:
        return None
    found = float(match[1]) * 10.0 ** int(match[2] or 0) * _PIXELS[match[3].lower()]
    return found or None
