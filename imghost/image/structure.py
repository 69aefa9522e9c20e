"""What all image formats share: a format's parts, an outline of a file, and why one is no image."""

from __future__ import annotations

import mmap
import re
import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

from imghost.files import Window

# Each has `outline`, which checks the file to the end of its image and says which of its bytes stay
# when metadata is taken away, and the raster ones have `size`, which needs only the beginning.
# A walk is linear in the file's length and raises nothing but `NotAnImage`.
Data: TypeAlias = bytes | mmap.mmap | Window
"""The bytes of a file: what can be measured, indexed, and sliced to bytes."""

MAX_PARTS: Final = 200_000
"""Chunks, segments or blocks of one file; a real image has a tenth of it, a hostile one would cost seconds."""


class NotAnImage(ValueError):  # noqa: N818 - a verdict on the bytes, and its text completes "this file …"
    """Bytes that are no whole, harmless image of a known format; the text says why, on one line."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What a walk found: the size as a browser shows it, and the pieces of the file that stay."""

    media_type: str
    width: int | None
    height: int | None
    is_animated: bool
    pieces: tuple[slice | bytes, ...]
    """Spans of the file and new bytes, in order; one span of the whole file if nothing is to go."""


class Pieces:
    """Collects what stays of a file, joining spans that touch."""

    __slots__ = ("_end", "_pieces", "_start")

    def __init__(self) -> None:
        self._pieces: list[slice | bytes] = []
        self._start = self._end = 0

    def keep(self, start: int, end: int) -> None:
        """Let a span of the file stay."""
        if start != self._end:
            self._flush()
            self._start = start
        self._end = end

    def put(self, new: bytes) -> None:
        """Write new bytes here."""
        self._flush()
        self._start = self._end
        self._pieces.append(new)

    def done(self) -> tuple[slice | bytes, ...]:
        """Give the pieces, in order."""
        self._flush()
        return tuple(self._pieces)

    def _flush(self) -> None:
        if self._end > self._start:
            self._pieces.append(slice(self._start, self._end))
        self._start = self._end


def cut_short(name: str) -> NotAnImage:
    """Make the verdict on a file that ends before its image does."""
    return NotAnImage(f"it is {name} that is cut short")


def part(data: Data, start: int, length: int, name: str) -> bytes:
    """Give exactly so many bytes of a file; raises `NotAnImage` where it ends before."""
    found = data[start : start + length]
    if len(found) != length:
        raise cut_short(name)
    return found


def search(data: Data, pattern: re.Pattern[bytes], start: int) -> int:
    """Give where a pattern of exactly two bytes is found next, or -1."""
    if isinstance(data, Window):
        return data.search(pattern, start)
    match = pattern.search(data, start)
    return match.start() if match else -1


LIMIT: Final = 1 << 16
"""Bytes of EXIF that are read: the orientation is in its first directory."""

_ORIENTATION: Final = 0x0112
_SHORT: Final = 3


def orientation(tiff: bytes) -> int:
    """Read the orientation from a TIFF structure: 1 to 8, and 1 where there is none or it is broken."""
    tiff = tiff.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == _ORIENTATION:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def minimal(value: int) -> bytes:
    """Write a TIFF structure that holds an orientation and nothing else."""
    return struct.pack("<4sIHHHIHHI", b"II*\0", 8, 1, _ORIENTATION, _SHORT, 1, value, 0, 0)


def is_sideways(value: int) -> bool:
    """Say whether an orientation swaps width and height."""
    return value >= 5
