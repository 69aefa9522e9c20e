"""What a file's bytes say of it: whether it is an image to the end, and what of it is metadata.

No pixel of a site's image is decoded here, and nothing beyond the standard library is imported for one: a warm build
reads every image through this module.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import re
import struct
import warnings
from pathlib import Path
from typing import BinaryIO, Final

from imghost.files import Window, open_beneath
from imghost.image import Data, Format, NotAnImage, Outline, Shown, avif, gif, jpeg, png, webp
from imghost.models import Facts, Image

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "NotAnImage",
    "dimensions",
    "inspect",
    "is_whole",
    "outline",
    "read",
    "shown",
    "stripped",
]

FORMATS: Final[tuple[Format, ...]] = (png.FORMAT, jpeg.FORMAT, gif.FORMAT, webp.FORMAT, avif.FORMAT)
"""The raster formats; a drawing is none of them, and its reader is loaded where one comes."""

MAX_PIXELS: Final = 50_000_000
MAX_BYTES: Final = 70_000_000
_WHOLE: Final = 1 << 20
"""Bytes up to which a file is read at once; a longer one is seen through a window."""


def read(root: Path, relative: str) -> Image:
    """Read an image of the site, once and safely.

    Raises: `NotAnImage`, or `OSError` for what cannot or may not be opened.
    """
    with open_beneath(root, relative) as file:
        size = os.fstat(file.fileno()).st_size
        _check_length(size)
        if size <= _WHOLE:
            whole = file.read(size)
            return Image(relative, hashlib.sha256(whole).hexdigest(), len(whole), inspect(whole))
        return Image(relative, _digest(file, size), size, facts_of(outline(Window(file, size)), size))


def inspect(buffer: bytes | mmap.mmap | memoryview | Window) -> Facts:
    """Check that these bytes are one image, whole and harmless, and say what is known of it.

    The type is judged by the bytes alone. Raises `NotAnImage` with the reason, and nothing else.
    """
    return facts_of(outline(buffer), len(buffer))


def outline(buffer: bytes | mmap.mmap | memoryview | Window) -> Outline:
    """Walk over an image's structure to its end; raises `NotAnImage`."""
    data: Data = bytes(buffer) if isinstance(buffer, memoryview) else buffer
    _check_length(len(data))
    try:
        found = _walk(data)
    except (IndexError, struct.error):
        raise NotAnImage("it is an image that is cut short") from None
    width, height = found.shown[:2]
    if width == 0 or height == 0:
        raise NotAnImage("it is an image without a single pixel")
    pixels = (width or 0) * (height or 0)
    if found.media_type != "image/svg+xml" and pixels > MAX_PIXELS:
        count = f"{pixels / 1e6:.3g} megapixels ({width} x {height})"
        raise NotAnImage(f"it has {count}, more than the {MAX_PIXELS // 10**6} allowed", _SMALLER)
    return found


def stripped(buffer: bytes | mmap.mmap | memoryview, facts: Facts) -> list[memoryview | bytes]:
    """Give the pieces of an image that stay when metadata goes, in order.

    The pixels stay to the bit, and so do orientation, colour profile and private chunks; what
    follows the image's end goes. The views need the buffer to stay open. Raises `NotAnImage`.
    """
    view = memoryview(buffer)
    if not facts.has_metadata:
        return [view]
    return [view[piece] if isinstance(piece, slice) else piece for piece in outline(buffer).pieces]


def shown(prefix: bytes) -> Shown | None:
    """Say how Chromium shows a raster image, from its first bytes; never raises."""
    try:
        for format_ in FORMATS:
            if format_.matches(prefix[:512]):
                return format_.shown(prefix)
    except (NotAnImage, IndexError, struct.error):
        pass
    return None


def media_type_of(prefix: bytes) -> str:
    """Say by a raster image's first bytes which format it is; empty for anything else."""
    return next((format_.media_type for format_ in FORMATS if format_.matches(prefix[:512])), "")


def dimensions(prefix: bytes) -> tuple[int, int] | None:
    """Read a raster image's width and height in pixels, as turned, from its first bytes; never raises."""
    picture = shown(prefix)
    if picture is None or picture.width is None or picture.height is None:
        return None
    return picture.width, picture.height


def is_whole(content: bytes) -> bool:
    """Say whether a raster image is there to its end: by its structure or, where that is odd, by decoding it.

    What a host serves it may have written itself, in a way that is shown and that no walk here allows.
    """
    try:
        outline(content)
    except NotAnImage:
        return _decodes(content)
    return True


def _decodes(content: bytes) -> bool:
    import PIL.Image  # for what is odd alone

    try:
        with warnings.catch_warnings(action="ignore"), PIL.Image.open(io.BytesIO(content)) as opened:
            opened.load()
    except (OSError, SyntaxError, ValueError, EOFError, PIL.Image.DecompressionBombError):
        return False
    return True


def facts_of(found: Outline, size: int) -> Facts:
    """Say what a walk found of a file of this many bytes."""
    has_metadata = found.pieces != (slice(0, size),)
    width, height, _, natural = found.shown
    return Facts(found.media_type, width, height, found.is_animated, has_metadata, natural)


def _walk(data: Data) -> Outline:
    head = data[:512]
    for format_ in FORMATS:
        if format_.matches(head):
            return format_.outline(data)
    if _is_html(data):
        raise NotAnImage("it is not an image but HTML")
    from imghost.image import svg  # expat, for sites that have drawings

    if svg.is_svg(head):
        return svg.outline(data)
    raise _unknown(head)


_BEFORE: Final = re.compile(rb"(?:[\t\n\f\r ]++|<!--[\s\S]*?-->|<\?xml\b[^>]*+>)*+")
_HTML: Final = re.compile(
    rb"<(?:!doctype[\t\n\f\r ]+html|(?:html|head|body|script|iframe|h1|div|font|table|a|style|title|b|br|p|meta|link|"
    rb"frameset)(?=[\t\n\f\r />]))",
    re.I,
)
"""How a page begins (MIME Sniffing standard, 7.1, and what generators write as redirects)."""
_MOST_BEFORE: Final = 65_536
"""Bytes of comments before a page in which its beginning is looked for."""


def _is_html(data: Data) -> bool:
    """Say whether a file is a page under an image's name."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        head = data[:2048].decode("utf-16", "ignore").encode("ascii", "ignore")
    elif data[:1] in b"<\xef\t\n\f\r ":
        head = bytes(data[:_MOST_BEFORE]).removeprefix(b"\xef\xbb\xbf")
    else:
        return False
    before = _BEFORE.match(head)
    return bool(_HTML.match(head, before.end() if before else 0))


def _unknown(head: bytes) -> NotAnImage:
    """Name what a file is that is none of the formats, and what to do with it."""
    for beginnings, name, is_shown in _OTHERS:
        if head.startswith(beginnings):
            remedy = "convert it to PNG, JPEG, WebP or AVIF, or exclude it"
            return NotAnImage(f"it is {name}, which is not hosted", remedy, is_harmless=is_shown)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF:
        return NotAnImage("it is a HEIC image, which most browsers do not show", "convert it to JPEG, or exclude it")
    if head.startswith(b"version https://git-lfs.github.com/"):
        return NotAnImage("it is a pointer of git-lfs, not the image", "fetch the images with `git lfs pull`")
    return NotAnImage("it is not an image of a known format (PNG, JPEG, GIF, WebP, AVIF, SVG)")


_SMALLER: Final = "make it smaller, or exclude it"
_HEIF: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
# How files of other formats begin, what they are, and whether browsers show them.
_OTHERS: Final[tuple[tuple[tuple[bytes, ...], str, bool], ...]] = (
    ((b"BM",), "a BMP image", True),
    ((b"\0\0\1\0", b"\0\0\2\0"), "an icon (ICO)", True),
    ((b"\x1f\x8b",), "a compressed drawing (svgz) or other gzip file", True),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "a TIFF image", False),
    ((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), "a JPEG 2000 image", False),
    ((b"\xff\x0a", b"\0\0\0\x0cJXL "), "a JPEG XL image", False),
    ((b"8BPS",), "a Photoshop document", False),
)


def _check_length(length: int) -> None:
    if not length:
        raise NotAnImage("it is empty")
    if length > MAX_BYTES:
        raise NotAnImage(f"it has {length:,} bytes, more than the {MAX_BYTES:,} allowed", _SMALLER)


def _digest(file: BinaryIO, size: int) -> str:
    """Hash exactly so many bytes: a file that grows meanwhile is not read for ever."""
    known = hashlib.sha256()
    left = size
    while left:
        part = file.read(min(left, 1 << 18))
        if not part:
            raise OSError("the file was cut short while it was read")
        known.update(part)
        left -= len(part)
    return known.hexdigest()
