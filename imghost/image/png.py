"""PNG and APNG: chunks from the header to `IEND` (W3C, PNG third edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from imghost.image import (
    LIMIT,
    MAX_PARTS,
    Data,
    Exif,
    Format,
    NotAnImage,
    Outline,
    Pieces,
    Shown,
    cut_short,
    is_sideways,
    part,
    read_exif,
    write_exif,
)

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_NAME: Final = "a PNG image"
_HEAD: Final = struct.Struct(">I4s")
_HEADER: Final = struct.Struct(">IIBBBBB")
_CRITICAL: Final = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_CHECKED: Final = {b"IHDR", b"PLTE", b"IEND", b"acTL"}
# Of the ancillary chunks those stay that a browser or a decoder reads: transparency, colour, animation, and
# numbers about the pixels. All others describe (text, time, documents of the program that wrote the file), point to
# places in the file (iDOT), or sign all of it, so that without the others it would only look forged (caBX).
_KEPT: Final = _CRITICAL | {
    b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV", b"mDCv", b"cLLI", b"cLLi",
    b"bKGD", b"hIST", b"pHYs", b"acTL", b"fcTL", b"fdAT",
}  # fmt: skip
_DEPTHS: Final = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}


def shown(data: Data) -> Shown:
    """Read from the beginning of a PNG how it is shown: an `eXIf` chunk before the pixels turns it."""
    size = _header(data)
    start = len(SIGNATURE)
    for _ in range(MAX_PARTS):
        head = data[start : start + 8]
        if len(head) < 8 or head[4:] in {b"IDAT", b"IEND"}:
            break
        end = start + 12 + int.from_bytes(head[:4], "big")
        if head[4:] == b"eXIf":
            return _turned(size, _orientation(data, start, end))
        start = end
    return _turned(size, 1)


def outline(data: Data) -> Outline:
    """Walk all chunks to `IEND`; raises `NotAnImage`."""
    size = _header(data)
    pieces = Pieces()
    pieces.keep(0, len(SIGNATURE))
    names: set[bytes] = set()
    turn, frames = 1, 0
    is_apart = False  # what old programs show is no frame of the animation
    for name, start, end in _chunks(data):
        if name == b"IHDR" and names:
            raise NotAnImage("it is a PNG image with two headers")
        if name == b"acTL" and b"IDAT" not in names:
            frames = int.from_bytes(data[start + 8 : start + 12], "big")
        if name == b"IDAT" and b"fcTL" not in names:
            is_apart = True
        if name in _KEPT:
            pieces.keep(start, end)
        elif name == b"eXIf" and not names & {b"eXIf", b"IDAT"}:
            turn = _orientation(data, start, end)
            if turn != 1:
                pieces.replace(data, start, end, _chunk(b"eXIf", write_exif(Exif(turn), is_dense=False)))
        names.add(name)
    if b"IDAT" not in names or (data[25] == 3 and b"PLTE" not in names):
        raise NotAnImage("it is a PNG image without its pixels or its palette")
    return Outline("image/png", _turned(size, turn), frames > (not is_apart), pieces.done())


def _header(data: Data) -> tuple[int, int]:
    """Read width and height as they are stored."""
    length, name = _HEAD.unpack(part(data, 8, 8, _NAME))
    if name != b"IHDR" or length != _HEADER.size:
        raise NotAnImage("it is a PNG image without its header")
    width, height, depth, colour, *methods = _HEADER.unpack(part(data, 16, length, _NAME))
    if depth not in _DEPTHS.get(colour, ()) or methods[0] or methods[1] or methods[2] > 1:
        raise NotAnImage("it is a PNG image with a header that no decoder knows")
    return width, height


def _turned(size: tuple[int, int], turn: int) -> Shown:
    return Shown(*(size[::-1] if is_sideways(turn) else size), turn)


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


def _orientation(data: Data, start: int, end: int) -> int:
    """Read from an `eXIf` chunk what turns the image."""
    return read_exif(data[start + 8 : min(end - 4, start + 8 + LIMIT)]).turn


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


FORMAT: Final = Format("image/png", lambda head: head.startswith(SIGNATURE), outline, shown, "PNG")
