"""PNG and APNG: chunks from the header to `IEND` (W3C, PNG third edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from imghost.image import structure
from imghost.image.structure import MAX_PARTS, Data, NotAnImage, Outline, Pieces, cut_short, part

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_NAME: Final = "a PNG image"
_HEAD: Final = struct.Struct(">I4s")
_HEADER: Final = struct.Struct(">IIBBBBB")
_CRITICAL: Final = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_CHECKED: Final = {b"IHDR", b"PLTE", b"IEND", b"acTL"}
# Content credentials (caBX) sign the whole file: without the other chunks they would only look forged.
_METADATA: Final = {b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"caBX"}
_DEPTHS: Final = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}


def size(data: Data) -> tuple[int, int]:
    """Read width and height from the beginning of a PNG."""
    length, name = _HEAD.unpack(part(data, 8, 8, _NAME))
    if name != b"IHDR" or length != _HEADER.size:
        raise NotAnImage("it is a PNG image without its header")
    width, height, depth, colour, *methods = _HEADER.unpack(part(data, 16, length, _NAME))
    if depth not in _DEPTHS.get(colour, ()) or methods[0] or methods[1] or methods[2] > 1:
        raise NotAnImage("it is a PNG image with a header that no decoder knows")
    return width, height


def outline(data: Data) -> Outline:
    """Walk all chunks to `IEND`; raises `NotAnImage`."""
    width, height = size(data)
    pieces = Pieces()
    pieces.keep(0, len(SIGNATURE))
    seen: set[bytes] = set()
    is_animated = False
    for name, start, end in _chunks(data):
        if name == b"IHDR" and seen:
            raise NotAnImage("it is a PNG image with two headers")
        if name == b"acTL" and b"IDAT" not in seen:
            is_animated = True
        if name not in _METADATA:
            pieces.keep(start, end)
        elif name == b"eXIf" and name not in seen:
            _keep_orientation(data, start, end, pieces)
        seen.add(name)
    if b"IDAT" not in seen or (data[25] == 3 and b"PLTE" not in seen):
        raise NotAnImage("it is a PNG image without its pixels or its palette")
    return Outline("image/png", width, height, is_animated, pieces.done())


def _chunks(data: Data) -> Iterator[tuple[bytes, int, int]]:
    """Give each chunk's name and span, `IEND` last."""
    start, total = len(SIGNATURE), len(data)
    for _ in range(MAX_PARTS):
        length, name = _HEAD.unpack(part(data, start, 8, _NAME))
        end = start + 12 + length
        if end > total:
            raise cut_short(_NAME)
        if name in _CHECKED:
            _check(data, name, start, length)
        elif not name.isalpha() or (name[:1].isupper() and name not in _CRITICAL):
            raise NotAnImage("it is a PNG image with a chunk that no decoder knows")
        yield name, start, end
        if name == b"IEND":
            return
        start = end
    raise NotAnImage("it is a PNG image in more chunks than an image needs")


def _check(data: Data, name: bytes, start: int, length: int) -> None:
    """Compare the checksum of a chunk that says how the pixels are read."""
    if length > 768 or (name == b"IEND" and length):
        raise NotAnImage(f"it is a PNG image with a broken {name.decode()} chunk")
    body = part(data, start + 4, length + 8, _NAME)
    if zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "big"):
        raise NotAnImage(f"it is a PNG image with a wrong checksum in its {name.decode()} chunk")


def _keep_orientation(data: Data, start: int, end: int, pieces: Pieces) -> None:
    """Keep of an `eXIf` chunk what turns the image, if anything does."""
    value = structure.orientation(data[start + 8 : min(end - 4, start + 8 + structure.LIMIT)])
    if value == 1:
        return
    body = b"eXIf" + structure.minimal(value)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    if data[start:end] == chunk:
        pieces.keep(start, end)
    else:
        pieces.put(chunk)
