"""What a file's bytes say of it: whether it is an image to the end, and what of it is metadata.

No pixel is decoded here, and nothing beyond the standard library is imported: a warm build reads
every image through this module.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from pathlib import Path
from typing import BinaryIO, Final

from imghost.files import Window, open_beneath
from imghost.image import avif, gif, jpeg, png, webp
from imghost.image.structure import Data, NotAnImage, Outline
from imghost.models import Facts, Image

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "NotAnImage",
    "dimensions",
    "inspect",
    "outline",
    "read",
    "stripped",
]

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
    if found.width == 0 or found.height == 0:
        raise NotAnImage("it is an image without a single pixel")
    if found.media_type != "image/svg+xml" and (found.width or 0) * (found.height or 0) > MAX_PIXELS:
        raise NotAnImage(f"it has {found.width} x {found.height} pixels, more than the {MAX_PIXELS:,} allowed")
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


def dimensions(prefix: bytes) -> tuple[int, int] | None:
    """Read a raster image's width and height, as shown, from its first bytes; never raises."""
    try:
        if prefix.startswith(png.SIGNATURE):
            return png.size(prefix)
        if prefix.startswith(jpeg.SIGNATURE):
            return jpeg.size(prefix)
        if prefix.startswith(gif.SIGNATURES):
            return gif.size(prefix)
        if webp.is_webp(prefix[:12]):
            return webp.size(prefix)
        if avif.is_avif(prefix[:512]):
            return avif.size(prefix)
    except (NotAnImage, IndexError, struct.error):
        pass
    return None


def facts_of(found: Outline, size: int) -> Facts:
    """Say what a walk found of a file of this many bytes."""
    has_metadata = found.pieces != (slice(0, size),)
    return Facts(found.media_type, found.width, found.height, found.is_animated, has_metadata)


def _walk(data: Data) -> Outline:
    head = data[:512]
    if head.startswith(png.SIGNATURE):
        return png.outline(data)
    if head.startswith(jpeg.SIGNATURE):
        return jpeg.outline(data)
    if head.startswith(gif.SIGNATURES):
        return gif.outline(data)
    if webp.is_webp(head):
        return webp.outline(data)
    if avif.is_avif(head):
        return avif.outline(data)
    from imghost.image import svg  # expat, for sites that have drawings

    if svg.is_svg(head):
        return svg.outline(data)
    raise NotAnImage("it is not an image of a known format (PNG, JPEG, GIF, WebP, AVIF, SVG)")


def _check_length(length: int) -> None:
    if not length:
        raise NotAnImage("it is empty")
    if length > MAX_BYTES:
        raise NotAnImage(f"it has {length:,} bytes, more than the {MAX_BYTES:,} allowed")


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
