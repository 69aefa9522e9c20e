"""WebP: the chunks of a RIFF container (Google, WebP container specification)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from imghost.image import structure
from imghost.image.structure import MAX_PARTS, Data, NotAnImage, Outline, Pieces, cut_short, part

_NAME: Final = "a WebP image"
_EXIF_FLAG, _XMP_FLAG = 0x08, 0x04
_FIRST: Final = {b"VP8 ", b"VP8L", b"VP8X"}


def is_webp(head: bytes) -> bool:
    """Say whether a file begins as a WebP does."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def size(data: Data) -> tuple[int, int]:
    """Read width and height from the beginning of a WebP."""
    name = part(data, 12, 4, _NAME)
    if name not in _FIRST:
        raise NotAnImage("it is a WebP image that does not begin with a picture")
    if name == b"VP8X":
        canvas = part(data, 24, 6, _NAME)
        return int.from_bytes(canvas[:3], "little") + 1, int.from_bytes(canvas[3:], "little") + 1
    return _picture(name, data, 20)


def outline(data: Data) -> Outline:
    """Walk all chunks to the end that the container names; raises `NotAnImage`."""
    width, height = size(data)
    end = 8 + int.from_bytes(part(data, 4, 4, _NAME), "little")
    if end > len(data):
        raise cut_short(_NAME)
    names: set[bytes] = set()
    kept: list[tuple[int, int]] = []
    exif_chunk = b""
    for name, start, stop, length in _chunks(data, end):
        if name == b"EXIF" and name not in names:
            exif_chunk = _turning(data, start + 8, length)
        elif name in {b"VP8 ", b"VP8L"} and _picture(name, data, start + 8) != (width, height):
            raise NotAnImage("it is a WebP image whose picture is not as large as its canvas")
        if name not in {b"EXIF", b"XMP "}:
            kept.append((start, stop))
        elif name == b"EXIF" and exif_chunk == data[start:stop]:
            kept.append((start, stop))
            exif_chunk = b""
            names.add(b"turned")
        names.add(name)
    if not names & {b"VP8 ", b"VP8L", b"ANMF"}:
        raise NotAnImage("it is a WebP image without a picture")
    pieces = _pieces(data, end, kept, exif_chunk, is_turned=b"turned" in names)
    return Outline("image/webp", width, height, b"ANMF" in names, pieces)


def _chunks(data: Data, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Give each chunk's name, span (with its padding) and length."""
    start = 12
    for _ in range(MAX_PARTS):
        if start == end:
            return
        name, length = struct.unpack("<4sI", part(data, start, 8, _NAME))
        stop = start + 8 + length
        if stop > end:
            raise cut_short(_NAME)
        stop = min(stop + (length & 1), end)  # some writers leave out the last padding
        yield name, start, stop, length
        start = stop
    raise NotAnImage("it is a WebP image in more chunks than an image needs")


def _picture(name: bytes, data: Data, start: int) -> tuple[int, int]:
    """Read width and height from a picture's own header."""
    if name == b"VP8 ":
        head = part(data, start, 10, _NAME)
        if head[0] & 1 or head[3:6] != b"\x9d\x01\x2a":
            raise NotAnImage("it is a WebP image without a key frame")
        width, height = struct.unpack("<HH", head[6:])
        return width & 0x3FFF, height & 0x3FFF
    head = part(data, start, 5, _NAME)
    if head[0] != 0x2F:
        raise NotAnImage("it is a WebP image with a broken picture")
    bits = int.from_bytes(head[1:], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _turning(data: Data, start: int, length: int) -> bytes:
    """Make the `EXIF` chunk that is left of this one: empty unless it turns the image."""
    value = structure.orientation(data[start : start + min(length, structure.LIMIT)])
    body = structure.minimal(value)
    return b"EXIF" + struct.pack("<I", len(body)) + body if value != 1 else b""


def _pieces(
    data: Data, end: int, kept: list[tuple[int, int]], exif_chunk: bytes, *, is_turned: bool
) -> tuple[slice | bytes, ...]:
    """Put a container together again, with the sizes and flags of what is left."""
    pieces = Pieces()
    length = sum(stop - start for start, stop in kept) + 4
    padding = b"\0" * (length % 2)
    if exif_chunk:
        length += len(padding + exif_chunk)
    if length == end - 8:
        pieces.keep(0, 12)
    else:
        pieces.put(b"RIFF" + struct.pack("<I", length) + b"WEBP")
    for start, stop in kept:
        if data[start : start + 4] != b"VP8X":
            pieces.keep(start, stop)
            continue
        flags = data[start + 8]
        wanted = flags & ~(_EXIF_FLAG | _XMP_FLAG) | (_EXIF_FLAG if exif_chunk or is_turned else 0)
        if wanted == flags:
            pieces.keep(start, stop)
        else:
            pieces.put(data[start : start + 8] + bytes([wanted]))
            pieces.keep(start + 9, stop)
    if exif_chunk:
        pieces.put(padding + exif_chunk)
    return pieces.done()
