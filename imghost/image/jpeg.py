"""JPEG: segments and scans from `SOI` to the first `EOI` (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

from imghost.image import structure
from imghost.image.structure import MAX_PARTS, Data, NotAnImage, Outline, Pieces, cut_short, part, search

SIGNATURE: Final = b"\xff\xd8\xff"
_NAME: Final = "a JPEG image"
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_APPLICATION: Final = frozenset(range(0xE0, 0xF0))
_SCAN, _END, _COMMENT = 0xDA, 0xD9, 0xFE
_STANDALONE: Final = frozenset(range(0xD0, 0xD8)) | {0x01}
_NEXT_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_NO_FILL: Final = re.compile(rb"\xff[^\xff]", re.DOTALL)
_EXIF: Final = b"Exif\0\0"
# What a decoder reads of the application segments. All others describe: EXIF and XMP (1), thumbnails
# (JFXX), further images after the end (MPF), makers' notes with positions (6), IPTC (13), and so on.
_DECODED: Final = ((0xE0, b"JFIF\0"), (0xE0, b"AVI1"), (0xE2, b"ICC_PROFILE\0"), (0xEE, b"Adobe"))


def size(data: Data) -> tuple[int, int]:
    """Read width and height, as shown, from a JPEG up to its frame header."""
    turned: int | None = None
    for marker, start, end in _segments(data):
        if turned is None and _is_exif(data, marker, start):
            turned = _orientation(data, start, end)
        if marker in _FRAMES:
            return _frame(data, start, end, turned or 1)
    raise NotAnImage("it is a JPEG image without a frame")


def outline(data: Data) -> Outline:
    """Walk all segments and scans to the end of the image; raises `NotAnImage`."""
    pieces = Pieces()
    pieces.keep(0, 2)
    size: tuple[int, int] | None = None
    turned: int | None = None
    scans = 0
    for marker, start, end in _segments(data):
        if turned is None and _is_exif(data, marker, start):
            turned = _orientation(data, start, end)
            _keep_orientation(data, start, end, turned, pieces)
        elif _stays(data, marker, start):
            pieces.keep(start, end)
        if marker in _FRAMES and size is None:
            size = _frame(data, start, end, 1)
        if marker == _SCAN:
            scans += 1
            if size is None:
                raise NotAnImage("it is a JPEG image with a scan before its frame")
    if size is None or not scans:
        raise NotAnImage("it is a JPEG image without a picture")
    width, height = size[::-1] if structure.is_sideways(turned or 1) else size
    return Outline("image/jpeg", width, height, False, pieces.done())


def _segments(data: Data) -> Iterator[tuple[int, int, int]]:
    """Give each segment's marker and span, a scan with its data, and the end marker last."""
    start, total = 2, len(data)
    for _ in range(MAX_PARTS):
        head = part(data, start, 2, _NAME)
        if head == b"\xff\xff":
            begin = start
            start = search(data, _NO_FILL, start)
            if start < 0:
                raise cut_short(_NAME)
            head = data[start : start + 2]
            yield 0xFF, begin, start
        if head[0] != 0xFF or head[1] == 0:
            raise NotAnImage("it is a JPEG image with bytes between its segments")
        marker = head[1]
        end = start + 2
        if marker not in _STANDALONE and marker != _END:
            length = int.from_bytes(part(data, end, 2, _NAME), "big")
            end += length
            if length < 2 or end > total:
                raise cut_short(_NAME)
        if marker == _SCAN:
            end = search(data, _NEXT_MARKER, end)
            if end < 0:
                raise cut_short(_NAME)
        yield marker, start, end
        if marker == _END:
            return
        start = end
    raise NotAnImage("it is a JPEG image in more segments than an image needs")


def _frame(data: Data, start: int, end: int, turned: int) -> tuple[int, int]:
    """Read width and height from a frame header."""
    if end - start < 10:
        raise NotAnImage("it is a JPEG image with a broken frame")
    height, width = struct.unpack(">HH", part(data, start + 5, 4, _NAME))
    return (height, width) if structure.is_sideways(turned) else (width, height)


def _stays(data: Data, marker: int, start: int) -> bool:
    """Say whether a segment is needed to show the image."""
    if marker == _COMMENT:
        return False
    if marker not in _APPLICATION:
        return True
    head = data[start + 4 : start + 16]
    return any(marker == known and head.startswith(name) for known, name in _DECODED)


def _is_exif(data: Data, marker: int, start: int) -> bool:
    return marker == 0xE1 and data[start + 4 : start + 4 + len(_EXIF)] == _EXIF


def _orientation(data: Data, start: int, end: int) -> int:
    return structure.orientation(data[start + 4 + len(_EXIF) : end])


def _keep_orientation(data: Data, start: int, end: int, turned: int, pieces: Pieces) -> None:
    """Keep of an EXIF segment what turns the image, if anything does."""
    if turned == 1:
        return
    body = _EXIF + structure.minimal(turned)
    segment = struct.pack(">BBH", 0xFF, 0xE1, len(body) + 2) + body
    if data[start:end] == segment:
        pieces.keep(start, end)
    else:
        pieces.put(segment)
