"""What the double of imageupload.io stores, by which plans, and what it does to an image."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from canaries import credential
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from doubles.server import Part

FREE = credential("iu_live_free")
STARTER = credential("iu_live_starter")
PRO = credential("iu_live_pro")
PLANS = {FREE: "free", STARTER: "starter", PRO: "pro"}
QUOTAS = {"free": 10, "starter": 50, "pro": None}
MAX_BYTES = {"free": 25_000_000, "starter": 25_000_000, "pro": 50_000_000}

DAY = 86_400
LIVES = {"1d": DAY, "1w": 7 * DAY, "1mo": 30 * DAY, "3mo": 90 * DAY, "burn": None, "views": None, "forever": None}
TYPES = {"PNG": "png", "JPEG": "jpg", "GIF": "gif", "WEBP": "webp", "AVIF": "avif"}


class RefusedError(Exception):
    """A refusal on its way to its reply."""

    def __init__(self, status: int, text: str, **more: Any) -> None:
        super().__init__(text)
        self.status, self.text, self.more = status, text, more


@dataclass
class Copy:
    """One stored image."""

    slug: str
    ending: str
    body: bytes
    width: int
    height: int
    owner: str
    name: str
    media_type: str
    """As the part of the form said."""
    expiration: str
    folder: str | None
    created: float
    expires: int | None


def stripped(part: Part) -> tuple[bytes, str, tuple[int, int]]:
    """Take the metadata off a JPEG as the host does; formats are known by the bytes, and the part must agree."""
    try:
        with Picture.open(io.BytesIO(part.body), formats=list(TYPES)) as picture:
            form, size = str(picture.format), picture.size
            if part.media_type != Picture.MIME[form]:
                raise RefusedError(415, "Unsupported type")
            if form != "JPEG" or "exif" not in picture.info:
                return part.body, form, size
            again = io.BytesIO()
            picture.save(again, form, quality="keep", exif=b"")
            return again.getvalue(), form, size
    except (UnidentifiedImageError, OSError, SyntaxError):
        pass
    raise RefusedError(415, "Unsupported type")
