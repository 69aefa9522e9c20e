"""The segments and scans of a JPEG, `SOI` to the first `EOI` (ITU-T T.81, annex B), and which browsers use."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from imghost.image.structure import (
    MAX_PARTS,
    Data,
    Exif,
    NotAnImage,
    Pieces,
    cut_short,
    part,
    read_exif,
    search,
    write_exif,
)

SIGNATURE: Final = b"\xff\xd8\xff"
NAME: Final = "a JPEG image"
FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SCAN, _END, _FILL = 0xDA, 0xD9, 0xFF
_STANDALONE: Final = frozenset(range(0xD0, 0xD8)) | {0x01}
# Frames, tables (C4, CC, DB, DD, DC) and scans. Comments, reserved markers and most application segments describe:
# thumbnails, EXIF and XMP (1), further images after the end (MPF), makers' notes with positions (6), IPTC (13).
_KEPT: Final = FRAMES | _STANDALONE | {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, SCAN, _END, _FILL}
_NEXT_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_NO_FILL: Final = re.compile(rb"\xff[^\xff]", re.DOTALL)
_EXIF: Final = b"Exif\0"
_EXIF_HEAD: Final = 6
"""Bytes before the TIFF structure: the name, and one that browsers let be anything."""
_JFIF, _JFIF_LENGTH = b"JFIF\0", 14
_ADOBE, _ADOBE_LENGTH = b"Adobe", 12
_PROFILE: Final = b"ICC_PROFILE\0"


class Segment(NamedTuple):
    """A marker segment, or a scan with its data: the marker, and its span."""

    marker: int
    start: int
    end: int


def stripped(
    data: Data,
    every: Sequence[Segment],
    size: tuple[int, int],
    exif: Exif,
    new: Mapping[int, bytes] = MappingProxyType({}),
    pieces: Pieces | None = None,
) -> Pieces:
    """Collect what browsers use of an image's segments; `new` takes the place of those that begin there."""
    pieces = pieces or Pieces()
    is_dense = exif.natural(*size) is not None
    is_first = True
    pieces.keep(every[0].start - 2, every[0].start)
    for segment in every:
        marker, start, end = segment
        if start in new:
            pieces.replace(data, start, end, new[start])
        elif marker in _KEPT:
            pieces.keep(start, end)
        elif is_exif(data, segment):
            if is_first and (exif.turn != 1 or is_dense):
                body = _EXIF + b"\0" + write_exif(exif, is_dense=is_dense)
                pieces.replace(data, start, end, segment_of(0xE1, body))
            is_first = False
        elif body := _needed(data, segment):
            pieces.replace(data, start, end, segment_of(marker, body))
        elif marker == 0xE2 and data[start + 4 : start + 16] == _PROFILE:
            pieces.keep(start, end)
    return pieces


def segments(data: Data, start: int = 0) -> Iterator[Segment]:
    """Give each segment of the image that begins here, a scan with its data, and the end marker last."""
    start, total = start + 2, len(data)
    for _ in range(MAX_PARTS):
        head = part(data, start, 2, NAME)
        if head == b"\xff\xff":
            begin = start
            start = search(data, _NO_FILL, start)
            if start < 0:
                raise cut_short(NAME)
            head = data[start : start + 2]
            yield Segment(_FILL, begin, start)
        if head[0] != 0xFF or head[1] == 0:
            raise NotAnImage("it is a JPEG image with bytes between its segments")
        marker = head[1]
        end = start + 2
        if marker not in _STANDALONE and marker != _END:
            length = int.from_bytes(part(data, end, 2, NAME), "big")
            end += length
            if length < 2 or end > total:
                raise cut_short(NAME)
        if marker == SCAN:
            end = search(data, _NEXT_MARKER, end)
            if end < 0:
                raise cut_short(NAME)
        yield Segment(marker, start, end)
        if marker == _END:
            return
        start = end
    raise NotAnImage("it is a JPEG image in more segments than an image needs")


def segment_of(marker: int, body: bytes) -> bytes:
    """Write a segment."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _needed(data: Data, segment: Segment) -> bytes:
    """Give what a decoder reads of a JFIF or an Adobe segment: no thumbnail, and nothing after it; else nothing."""
    marker, start, end = segment
    if marker == 0xE0:
        body = data[start + 4 : min(end, start + 4 + _JFIF_LENGTH)]
        return body[:-2] + b"\0\0" if body[:5] == _JFIF and len(body) == _JFIF_LENGTH else b""
    if marker == 0xEE:
        body = data[start + 4 : min(end, start + 4 + _ADOBE_LENGTH)]
        return body if body[:5] == _ADOBE and len(body) == _ADOBE_LENGTH else b""
    return b""


def is_exif(data: Data, segment: Segment) -> bool:
    """Say whether a segment holds EXIF."""
    marker, start, end = segment
    return marker == 0xE1 and end - start >= 4 + _EXIF_HEAD and data[start + 4 : start + 4 + len(_EXIF)] == _EXIF


def exif_of(data: Data, segment: Segment) -> Exif:
    """Read what browsers use of a segment of EXIF."""
    return read_exif(data[segment.start + 4 + _EXIF_HEAD : segment.end])
