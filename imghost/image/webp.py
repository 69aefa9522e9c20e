"""WebP: the chunks of a RIFF container (Google, WebP container specification)."""

from __future__ import annotations

import struct
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
    part,
    read_exif,
    write_exif,
)

_NAME: Final = "a WebP image"
_EXIF_FLAG, _XMP_FLAG = 0x08, 0x04
_FIRST: Final = {b"VP8 ", b"VP8L", b"VP8X"}
# What a decoder reads. All others describe: EXIF (of which an orientation stays: browsers ignore it here, but other
# programs may not), XMP under names of several spellings, and the `INFO` lists that RIFF files of every kind may have.
_KEPT: Final = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}
_IN_FRAME: Final = {b"VP8 ", b"VP8L", b"ALPH"}
_FRAME_HEAD: Final = 24
"""Bytes of an `ANMF` chunk before the first chunk in it: its own name and length, place, size and duration."""


def is_webp(head: bytes) -> bool:
    """Say whether a file begins as a WebP does."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def shown(data: Data) -> Shown:
    """Read from the beginning of a WebP how large it is shown."""
    name = part(data, 12, 4, _NAME)
    if name not in _FIRST:
        raise NotAnImage("it is a WebP image that does not begin with a picture")
    if name == b"VP8X":
        canvas = part(data, 24, 6, _NAME)
        return Shown(int.from_bytes(canvas[:3], "little") + 1, int.from_bytes(canvas[3:], "little") + 1)
    return Shown(*_picture(name, data, 20))


def outline(data: Data) -> Outline:
    """Walk all chunks to the end that the container names; raises `NotAnImage`."""
    size = shown(data)
    end = 8 + int.from_bytes(part(data, 4, 4, _NAME), "little")
    if end > len(data):
        raise cut_short(_NAME)
    names: set[bytes] = set()
    body = Pieces()
    exif = b""
    for name, start, stop, length in _chunks(data, 12, end):
        if name in {b"VP8 ", b"VP8L"} and _picture(name, data, start + 8) != size[:2]:
            raise NotAnImage("it is a WebP image whose picture is not as large as its canvas")
        if name == b"ANMF":
            _keep_frame(data, start, stop, length, body)
        elif name == b"VP8X":
            exif = _turning(data, end)
            flags = data[start + 8] & ~_XMP_FLAG & ~(0 if exif else _EXIF_FLAG)
            body.replace(data, start, start + 9, data[start : start + 8] + bytes([flags]))
            body.keep(start + 9, stop)
        elif name == b"EXIF" and name not in names:
            if exif:
                body.replace(data, start, stop, exif)
        elif name in _KEPT:
            body.keep(start, stop)
        names.add(name)
    if not names & {b"VP8 ", b"VP8L", b"ANMF"}:
        raise NotAnImage("it is a WebP image without a picture")
    return Outline("image/webp", size, b"ANMF" in names, _contained(data, body))


def is_lossless(data: Data) -> bool:
    """Say whether the first picture of a whole WebP, still or moving, is stored without loss."""
    end = 8 + int.from_bytes(data[4:8], "little")
    for name, start, stop, length in _chunks(data, 12, min(end, len(data))):
        if name == b"ANMF":
            inner = {chunk for chunk, *_ in _chunks(data, start + _FRAME_HEAD, min(start + 8 + length, stop))}
            return b"VP8L" in inner
        if name in {b"VP8 ", b"VP8L"}:
            return name == b"VP8L"
    return False


def _chunks(data: Data, start: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Give each chunk's name, span (with its padding) and length."""
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


def _turning(data: Data, end: int) -> bytes:
    """Make the chunk that is left of the first `EXIF`: empty unless it has an orientation."""
    for name, start, _, length in _chunks(data, 12, end):
        if name == b"EXIF":
            raw = data[start + 8 : start + 8 + min(length, LIMIT)].removeprefix(b"Exif\0\0")
            turn = read_exif(raw).turn
            body = write_exif(Exif(turn), is_dense=False)
            return b"EXIF" + struct.pack("<I", len(body)) + body if turn != 1 else b""
    return b""


def _keep_frame(data: Data, start: int, stop: int, length: int, body: Pieces) -> None:
    """Keep a frame of an animation, without what describes it."""
    inner = list(_chunks(data, start + _FRAME_HEAD, start + 8 + length))
    kept = [(first, last) for name, first, last, _ in inner if name in _IN_FRAME]
    if len(kept) == len(inner):
        body.keep(start, stop)
        return
    new = sum(last - first for first, last in kept) + _FRAME_HEAD - 8
    body.put(b"ANMF" + struct.pack("<I", new) + data[start + 8 : start + _FRAME_HEAD])
    for first, last in kept:
        body.keep(first, last)


def _contained(data: Data, body: Pieces) -> tuple[slice | bytes, ...]:
    """Put a container around what is left, with the length that it has now."""
    pieces = Pieces()
    pieces.replace(data, 0, 12, b"RIFF" + struct.pack("<I", body.length + 4) + b"WEBP")
    for piece in body.done():
        if isinstance(piece, slice):
            pieces.keep(piece.start, piece.stop)
        else:
            pieces.put(piece)
    return pieces.done()


FORMAT: Final = Format("image/webp", is_webp, outline, shown, "WEBP")
