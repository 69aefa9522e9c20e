"""Images to upload in tests: real ones, each with bytes of its own."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from PIL import Image as Picture
from PIL import features

from imghost.image.inspect import inspect
from imghost.models import MEDIA_TYPES, Image, Payload

PRIVATE = "private-name"
"""What payloads' files are called: no host may be told."""


def draw(number: int = 0, media_type: str = "image/png") -> bytes:
    """Draw a picture of 24 x 16 pixels; every number gives other bytes."""
    shade = (number * 37 % 256, number // 7 % 256, 90)
    if media_type == "image/svg+xml":
        size, colour = 'width="24" height="16"', "#{:02x}{:02x}{:02x}".format(*shade)
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><path id="n{number}" fill="{colour}"/></svg>'.encode()
    drawn = Picture.new("RGB", (24, 16), shade)
    for digit, x in zip(f"{number:024b}", range(24), strict=False):
        drawn.putpixel((x, 0), (255, 255, 255) if digit == "1" else (0, 0, 0))
    file = io.BytesIO()
    drawn.save(file, media_type.partition("/")[2], **({} if media_type == "image/gif" else {"lossless": True}))
    return file.getvalue()


def drawable(formats: frozenset[str]) -> list[str]:
    """List those of a host's formats that can be drawn here; a Pillow without AVIF draws none."""
    lacking = frozenset() if features.check("avif") else frozenset({"image/avif"})
    return sorted(formats & MEDIA_TYPES.keys() - lacking)


def a_payload(folder: Path, number: int = 0, media_type: str = "image/png") -> Payload:
    """Make a payload as a run makes it: a file of its own, known by its bytes."""
    body = draw(number, media_type)
    digest = hashlib.sha256(body).hexdigest()
    file = folder / f"{PRIVATE}-{number}"
    file.write_bytes(body)
    facts = inspect(body)
    return Payload(digest, digest, file, len(body), media_type, facts.width, facts.height)


def an_image(payload: Payload) -> Image:
    """Give the image of the site that a payload is of."""
    return Image(f"images/{payload.image[:8]}", payload.image, payload.bytes, inspect(payload.file.read_bytes()))
