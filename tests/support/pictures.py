"""Images of every format for the tests, made with Pillow: with positions, comments, profiles and tails."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

import PIL.Image
import PIL.ImageCms
import PIL.PngImagePlugin

CANARY = b"Canary"
"""What metadata is planted with: it must never leave the machine."""

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">Canary in XMP, long enough to be written over</x:xmpmeta>'
FORMATS = ("png", "jpeg", "gif", "webp", "avif")
"""The raster formats, as Pillow names them in lower case."""


def noise(width: int = 64, height: int = 48, mode: str = "RGB") -> PIL.Image.Image:
    """Draw a picture that differs at each place, so that a lost or turned pixel shows."""
    bands = [bytes((x * a + y * b + x * y) % 251 for y in range(height) for x in range(width)) for a, b in _SLOPES]
    picture = PIL.Image.merge("RGBA", [PIL.Image.frombytes("L", (width, height), band) for band in bands])
    return picture.convert(mode)


_SLOPES = ((3, 7), (11, 5), (2, 13), (17, 3))


def position(orientation: int = 1) -> bytes:
    """Write EXIF with a camera's name, a place and an orientation."""
    exif = PIL.Image.Exif()
    exif[0x010F] = "Canary Camera"
    if orientation != 1:
        exif[0x0112] = orientation
    place = exif.get_ifd(0x8825)
    place[1], place[2], place[3], place[4] = "N", (48.0, 51.0, 29.5), "E", (2.0, 17.0, 40.2)
    return exif.tobytes()


@cache
def profile() -> bytes:
    """Give a colour profile."""
    return PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()


def saved(format_: str, picture: PIL.Image.Image | None = None, **options: Any) -> bytes:
    """Save a picture in a format."""
    buffer = io.BytesIO()
    (picture or noise()).save(buffer, format_.upper(), **options)
    return buffer.getvalue()


def animated(format_: str, frames: int = 3) -> bytes:
    """Save a moving picture: GIF, WebP, AVIF or PNG."""
    first = noise(24, 16)
    rest = [first.rotate(180 * number + 90) for number in range(1, frames)]
    return saved(format_, first, save_all=True, append_images=rest, duration=80, loop=0)


def tagged(format_: str, orientation: int = 1) -> bytes:
    """Save a picture with all the metadata that its format knows."""
    exif = position(orientation)
    if format_ == "png":
        texts = PIL.PngImagePlugin.PngInfo()
        texts.add_text("Author", "Canary")
        texts.add_text("Comment", "Canary " * 50, zip=True)
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
        texts.add(b"tIME", b"\x07\xea\x01\x02\x03\x04\x05")
        return saved("png", pnginfo=texts, exif=exif, icc_profile=profile(), dpi=(96, 96))
    if format_ == "jpeg":
        return _tagged_jpeg(exif)
    if format_ == "gif":
        return saved("gif", comment="Canary comment", loop=0, save_all=True)
    return saved(format_, exif=exif, xmp=XMP, icc_profile=profile())


def _tagged_jpeg(exif: bytes) -> bytes:
    raw = saved("jpeg", exif=exif, xmp=XMP, icc_profile=profile(), comment="Canary", quality=90)
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0aCanaryIPTC"
    makers = b"GoPro\0Canary 48.85 N"
    extra = b"".join(
        struct.pack(">BBH", 255, mark, len(body) + 2) + body for mark, body in ((0xED, iptc), (0xE6, makers))
    )
    at = raw.index(b"\xff\xdb")
    return raw[:at] + extra + raw[at:]


def chunk(name: bytes, body: bytes) -> bytes:
    """Write a PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """Write a small PNG that would decode to gigabytes."""
    rows = zlib.compress(bytes(1 << 16)) * 4_000
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def large_png(length: int) -> bytes:
    """Write a PNG of about so many bytes, with a comment; its pixels are not meant to be decoded."""
    header = struct.pack(">IIBBBBB", 4_000, 4_000, 8, 2, 0, 0, 0)
    body = bytes(range(256)) * 256
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"tEXt", b"Author\0Canary")]
    parts += [chunk(b"IDAT", body)] * (length // len(body))
    return b"".join([*parts, chunk(b"IEND", b"")])


def pixels(raw: bytes) -> list[bytes]:
    """Decode every frame, to compare to the bit."""
    with PIL.Image.open(io.BytesIO(raw)) as picture:
        frames = []
        for number in range(getattr(picture, "n_frames", 1)):
            picture.seek(number)
            frames.append(picture.mode.encode() + picture.tobytes() + bytes(picture.getpalette() or []))
        return frames
