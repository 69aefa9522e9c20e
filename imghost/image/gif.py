"""GIF: blocks from the screen descriptor to the trailer (GIF89a)."""

from __future__ import annotations

import struct
from typing import Final

from imghost.image import MAX_PARTS, Data, Format, NotAnImage, Outline, Pieces, Shown, cut_short, part

SIGNATURES: Final = (b"GIF87a", b"GIF89a")
_NAME: Final = "a GIF image"
_MAX_SUB_BLOCKS: Final = 2_000_000
_EXTENSION, _FRAME, _TRAILER = 0x21, 0x2C, 0x3B
_COMMENT, _PLAIN_TEXT, _APPLICATION = 0xFE, 0x01, 0xFF
_KEPT_APPLICATIONS: Final = {b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"}


def shown(data: Data) -> Shown:
    """Read up to the first frame, which browsers let exceed the screen, how large a GIF is shown."""
    walk = _Walk(data)
    for _ in range(MAX_PARTS):
        if data[walk.at] == _FRAME:
            walk.frame()
            return Shown(walk.width, walk.height)
        if walk.step() == _TRAILER:
            break
    raise NotAnImage("it is a GIF image without a frame")


def outline(data: Data) -> Outline:
    """Walk all blocks to the trailer; raises `NotAnImage`."""
    walk = _Walk(data)
    for _ in range(MAX_PARTS):
        if walk.step() == _TRAILER:
            break
    else:
        raise NotAnImage("it is a GIF image in more blocks than an image needs")
    if not walk.frames:
        raise NotAnImage("it is a GIF image without a frame")
    return Outline("image/gif", Shown(walk.width, walk.height), walk.frames > 1, walk.pieces.done())


class _Walk:
    """A walk over a GIF's blocks, and what it has seen so far."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.width, self.height, flags = struct.unpack("<HHB", part(data, 6, 5, _NAME))
        self.at = 13 + _palette(flags)
        self.frames = 0
        self.pieces = Pieces()
        self.pieces.keep(0, self.at)
        self._left = _MAX_SUB_BLOCKS

    def step(self) -> int:
        """Go over the next block, and give its introducer."""
        start = self.at
        introducer = part(self.data, start, 1, _NAME)[0]
        stays = True
        if introducer == _EXTENSION:
            stays = self._extension()
        elif introducer == _FRAME:
            self._skip(start + 11 + self.frame())
        elif introducer == _TRAILER:
            self.at += 1
        else:
            # Browsers show the frames before.
            raise NotAnImage("it is a GIF image with bytes between its blocks", "save it anew", is_harmless=True)
        if stays:
            self.pieces.keep(start, self.at)
        return introducer

    def _extension(self) -> bool:
        head = part(self.data, self.at, 3, _NAME)
        label = head[1]
        application = self.data[self.at + 3 : self.at + 3 + head[2]]
        self._skip(self.at + 2)
        if label == _APPLICATION:
            return application in _KEPT_APPLICATIONS
        return label not in {_COMMENT, _PLAIN_TEXT}

    def frame(self) -> int:
        """Read the header of the frame that comes next, and give the length of its palette."""
        left, top, width, height, flags = struct.unpack("<HHHHB", part(self.data, self.at + 1, 9, _NAME))
        if not self.frames:
            self.width, self.height = max(self.width, left + width), max(self.height, top + height)
        self.frames += 1
        return _palette(flags)

    def _skip(self, at: int) -> None:
        """Go over sub-blocks to the empty one that ends them."""
        data, left = self.data, self._left
        try:
            while length := data[at]:
                at += length + 1
                left -= 1
                if not left:
                    raise NotAnImage("it is a GIF image in more blocks than an image needs")
        except IndexError:
            raise cut_short(_NAME) from None
        self.at, self._left = at + 1, left


def _palette(flags: int) -> int:
    """Give the length of the colour table that these flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


FORMAT: Final = Format("image/gif", lambda head: head.startswith(SIGNATURES), outline, shown, "GIF")
