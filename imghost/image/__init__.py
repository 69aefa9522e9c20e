"""Image files: bytes to facts, and the copy that is sent. Decodes no pixel unless it resizes.

Here is what all formats share: a format's parts, an outline of a file, and why one is no image.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Callable
from typing import Final, TypeAlias

from imghost.files import Window
from imghost.models import NamedTuple, dataclass

# Each has `outline`, which checks the file to the end of its image and says which of its bytes stay
# when metadata is taken away, and the raster ones have `shown`, which needs only the beginning.
# A walk is linear in the file's length and raises nothing but `NotAnImage`.
Data: TypeAlias = bytes | mmap.mmap | Window
"""The bytes of a file: what can be measured, indexed, and sliced to bytes."""

MAX_PARTS: Final = 200_000
"""Chunks, segments or blocks of one file; a real image has a tenth of it, a hostile one would cost seconds."""


class NotAnImage(ValueError):  # noqa: N818 - a verdict on the bytes, and its text completes "this file …"
    """Bytes that are no whole, harmless image of a known format; the text says why, on one line."""

    def __init__(
        self, reason: str, remedy: str = "put a real image there, or exclude it", *, is_harmless: bool = False
    ) -> None:
        super().__init__(reason)
        self.remedy = remedy
        self.is_harmless = is_harmless
        """Whether browsers show the file where it is, so that there is nothing to warn of."""


class Shown(NamedTuple):
    """How Chromium shows an image: its pixels as they are turned, what turns them, and its natural size."""

    width: int | None
    height: int | None
    """In pixels, after the turn; None for a drawing without a size of its own."""
    turn: int = 1
    """What turns the pixels, counted as EXIF's orientation is: 1 to 8."""
    natural: tuple[int, int] | None = None
    """The size in CSS pixels, after the turn, where it is not one for each pixel."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What a walk found: how the image is shown, and the pieces of the file that stay."""

    media_type: str
    shown: Shown
    is_animated: bool
    pieces: tuple[slice | bytes, ...]
    """Spans of the file and new bytes, in order; one span of the whole file if nothing is to go."""


class Format(NamedTuple):
    """A raster format: how a file of it begins, and what reads it."""

    media_type: str
    matches: Callable[[bytes], bool]
    """Says of a file's first 512 bytes whether it is one."""
    outline: Callable[[Data], Outline]
    shown: Callable[[Data], Shown]
    """Needs only the beginning."""
    pillow: str
    """Its name in Pillow."""


class Pieces:
    """Collects what stays of a file, joining spans that touch."""

    __slots__ = ("_end", "_pieces", "_start", "length")

    def __init__(self) -> None:
        self.length = 0
        """Bytes that stay so far."""
        self._pieces: list[slice | bytes] = []
        self._start = self._end = 0

    def keep(self, start: int, end: int) -> None:
        """Let a span of the file stay."""
        if start != self._end:
            self._flush()
            self._start = start
        self._end = end
        self.length += end - start

    def put(self, new: bytes) -> None:
        """Write new bytes here."""
        self._flush()
        self._start = self._end
        self._pieces.append(new)
        self.length += len(new)

    def replace(self, data: Data, start: int, end: int, new: bytes) -> None:
        """Write new bytes in place of a span; where they are the same, the span stays."""
        if data[start:end] == new:
            self.keep(start, end)
        else:
            self.put(new)

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
"""Bytes of EXIF that are read: what counts is in its first directories."""

_ORIENTATION, _ACROSS, _DOWN, _UNIT = 0x0112, 0x011A, 0x011B, 0x0128
_MORE, _WIDTH, _HEIGHT = 0x8769, 0xA002, 0xA003
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_INCH: Final = 2
_ENTRY: Final = 12


class Exif(NamedTuple):
    """What browsers read of EXIF: which way up, and the density at which a picture is as large as it says."""

    turn: int = 1
    resolution: tuple[int, int, int, int] | None = None
    """Pixels an inch across and down, each as numerator and denominator."""
    size: tuple[int, int] = (0, 0)
    """The size that the camera or the program wrote, before the turn."""

    def natural(self, width: int, height: int) -> tuple[int, int] | None:
        """Give the size at which these pixels are shown, if it is another (HTML, density-corrected natural size)."""
        if self.resolution is None or not all(self.size) or not all(self.resolution):
            return None
        across, over, down, under = self.resolution
        shown = (width * 72 * over / across + 0.5) // 1, (height * 72 * under / down + 0.5) // 1
        return self.size if shown == self.size != (width, height) else None


def read_exif(tiff: bytes) -> Exif:
    """Read a TIFF structure as Chromium does: of each tag the first value of the right form counts."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return Exif()
    values: dict[int, tuple[int, ...]] = {}
    _read_directory(tiff, order, struct.unpack_from(order + "I", tiff, 4)[0], values, is_first=True)
    (unit,) = values.get(_UNIT, (0,))
    across, down = values.get(_ACROSS), values.get(_DOWN)
    is_dense = unit == _INCH and across is not None and down is not None
    return Exif(
        values.get(_ORIENTATION, (1,))[0],
        (*across, *down) if is_dense else None,  # type: ignore[misc]
        (values.get(_WIDTH, (0,))[0], values.get(_HEIGHT, (0,))[0]),
    )


def _read_directory(tiff: bytes, order: str, start: int, values: dict[int, tuple[int, ...]], *, is_first: bool) -> None:
    """Collect the tags of a directory and of the one it names; entries that are cut short do not count."""
    if start + 2 > len(tiff):
        return
    (count,) = struct.unpack_from(order + "H", tiff, start)
    count = min(count, (len(tiff) - start - 2) // _ENTRY)
    for at in range(start + 2, start + 2 + _ENTRY * count, _ENTRY):
        tag, kind, length, value = struct.unpack_from(order + "HHII", tiff, at)
        short = struct.unpack_from(order + "H", tiff, at + 8)[0]
        if length != 1 or tag in values:
            continue
        if tag == _MORE and kind == _LONG and is_first:
            _read_directory(tiff, order, value, values, is_first=False)
        elif (tag == _ORIENTATION and kind == _SHORT and 1 <= short <= 8) or (tag == _UNIT and kind == _SHORT):
            values[tag] = (short,)
        elif tag in {_WIDTH, _HEIGHT} and kind in {_SHORT, _LONG}:
            values[tag] = (short if kind == _SHORT else value,)
        elif tag in {_ACROSS, _DOWN} and kind == _RATIONAL and value + 8 <= len(tiff):
            values[tag] = struct.unpack_from(order + "II", tiff, value)


def write_exif(exif: Exif, *, is_dense: bool) -> bytes:
    """Write a TIFF structure that holds what turns an image, and its density where that counts, and nothing else."""
    if not is_dense or exif.resolution is None:
        return struct.pack("<4sIHHHIHHI", b"II*\0", 8, 1, _ORIENTATION, _SHORT, 1, exif.turn, 0, 0)
    count = 4 + (exif.turn != 1)
    after = 8 + 2 + _ENTRY * count + 4
    turned = struct.pack("<HHIHH", _ORIENTATION, _SHORT, 1, exif.turn, 0) if exif.turn != 1 else b""
    first = [
        struct.pack("<4sIH", b"II*\0", 8, count) + turned,
        struct.pack("<HHIIHHII", _ACROSS, _RATIONAL, 1, after, _DOWN, _RATIONAL, 1, after + 8),
        struct.pack("<HHIHHHHIII", _UNIT, _SHORT, 1, _INCH, 0, _MORE, _LONG, 1, after + 16, 0),
        struct.pack("<IIII", *exif.resolution),
        struct.pack("<HHHIIHHIII", 2, _WIDTH, _LONG, 1, exif.size[0], _HEIGHT, _LONG, 1, exif.size[1], 0),
    ]
    return b"".join(first)


def is_sideways(turn: int) -> bool:
    """Say whether an orientation, as EXIF counts them, swaps width and height."""
    return turn >= 5
