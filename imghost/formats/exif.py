"""The one value of EXIF that changes how an image looks: its orientation."""

from __future__ import annotations

import struct
from typing import Final

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
