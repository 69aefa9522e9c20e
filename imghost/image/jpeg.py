"""JPEG: how it is shown, and what stays of it, a gain map after its end included."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from imghost.image.segments import FRAMES, NAME, SCAN, SIGNATURE, Segment, exif_of, is_exif, segments, stripped
from imghost.image.structure import Data, Exif, Format, NotAnImage, Outline, Pieces, Shown, is_sideways, part

# Baseline, extended and progressive, by Huffman's or arithmetic coding: what browsers decode.
_DECODED_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
# Both may name a second picture.
_NAMING: Final = ((0xE2, b"MPF\0"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0"))


def shown(data: Data) -> Shown:
    """Read from a JPEG up to its frame header how it is shown."""
    exif: Exif | None = None
    for segment in segments(data):
        if exif is None and is_exif(data, segment):
            exif = exif_of(data, segment)
        if segment.marker in FRAMES:
            return _as_shown(_frame(data, segment), exif or Exif())
    raise NotAnImage("it is a JPEG image without a frame")


def outline(data: Data) -> Outline:
    """Walk all segments and scans to the end of the image; raises `NotAnImage`."""
    every = list(segments(data))
    size: tuple[int, int] | None = None
    has_scan = False
    for segment in every:
        if segment.marker in FRAMES and size is None:
            size = _frame(data, segment)
        if segment.marker == SCAN:
            has_scan = True
            if size is None:
                raise NotAnImage("it is a JPEG image with a scan before its frame")
    if size is None or not has_scan:
        raise NotAnImage("it is a JPEG image without a picture")
    exif = next((exif_of(data, segment) for segment in every if is_exif(data, segment)), Exif())
    pieces = _with_gain_map(data, every, size, exif) or stripped(data, every, size, exif)
    return Outline("image/jpeg", _as_shown(size, exif), False, pieces.done())


def second_of(lean: bytes) -> bytes:
    """Give a stripped image with a gain map; empty where it has none."""
    *_, last = segments(lean)
    return lean if last.end < len(lean) else b""


def _frame(data: Data, segment: Segment) -> tuple[int, int]:
    """Read width and height from a frame header, as they are stored."""
    if segment.end - segment.start < 10:
        raise NotAnImage("it is a JPEG image with a broken frame")
    depth, height, width = struct.unpack(">BHH", part(data, segment.start + 4, 5, NAME))
    if segment.marker not in _DECODED_FRAMES or depth != 8:
        kind = "lossless or hierarchical" if segment.marker not in _DECODED_FRAMES else f"{depth}-bit"
        raise NotAnImage(
            f"it is a {kind} JPEG image, which no browser shows", "save it as an ordinary JPEG, or exclude it"
        )
    return width, height


def _as_shown(size: tuple[int, int], exif: Exif) -> Shown:
    natural = exif.natural(*size)
    if is_sideways(exif.turn):
        return Shown(size[1], size[0], exif.turn, natural and natural[::-1])
    return Shown(*size, exif.turn, natural)


def _with_gain_map(data: Data, every: Sequence[Segment], size: tuple[int, int], exif: Exif) -> Pieces | None:
    """Collect what stays of an image and of the gain map after it; None where it names none."""
    if every[-1].end == len(data):
        return None
    if not any(m == kind and data[s + 4 : s + 4 + len(name)] == name for m, s, _ in every for kind, name in _NAMING):
        return None
    from imghost.image import gain_map  # reads XMP; few photographs have one

    return gain_map.kept(data, every, size, exif)


FORMAT: Final = Format("image/jpeg", lambda head: head.startswith(SIGNATURE), outline, shown, "JPEG")
