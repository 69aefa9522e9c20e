"""Smaller pictures, by Pillow, which is imported when the first one is made."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from imghost.wording import printable

if TYPE_CHECKING:
    import PIL.Image

_NAMES: Final = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/avif": "AVIF",
}
_SAVING: Final[dict[str, dict[str, Any]]] = {
    "PNG": {"optimize": True},
    "JPEG": {"quality": 88, "optimize": True, "progressive": True},
    "GIF": {"optimize": True},
    "WEBP": {"quality": 88, "method": 4},
    "AVIF": {"quality": 80, "speed": 7},
}
_TRIES: Final = 24
# One at a time: a decoded picture takes up to 200 MB, and every upload thread may want one.
_decoding: Final = threading.Lock()


class CannotResizeError(Exception):
    """A picture that Pillow cannot read, or that stays too large at any size."""


def resize(source: Path, target: Path, media_type: str, edge: int | None, limit: int | None) -> None:
    """Write a picture in its own format, at most `edge` pixels long and `limit` bytes large.

    Profile, transparency and the way up stay, metadata does not. The caller has checked the header:
    the number of pixels, and that nothing moves. Raises `CannotResizeError`.
    """
    name = _NAMES[media_type]
    with _decoding:
        try:
            picture, options = _load(source, name)
            fits = _shrink(picture, target, name, options, edge, limit)
        # A decoder may raise anything for a broken file.
        except Exception as error:
            raise CannotResizeError(f"Pillow cannot resize it ({printable(error)})") from error
    if not fits:
        raise CannotResizeError(f"it does not fit into {limit:,} bytes at any size")


def _load(source: Path, name: str) -> tuple[PIL.Image.Image, dict[str, Any]]:
    """Decode a picture, turned the way it is shown, with the settings that keep its colours."""
    import PIL.Image
    import PIL.ImageOps

    with PIL.Image.open(source, formats=[name]) as opened:
        options = _SAVING[name] | {"icc_profile": opened.info.get("icc_profile")}
        picture = _mixable(PIL.ImageOps.exif_transpose(opened))
    if name == "WEBP":
        with source.open("rb") as file:
            options["lossless"] = b"VP8L" in file.read(4096)
    return picture, options


def _shrink(
    picture: PIL.Image.Image, target: Path, name: str, options: dict[str, Any], edge: int | None, limit: int | None
) -> bool:
    """Save ever smaller until the limit is met, and say whether it is."""
    from PIL.Image import Resampling

    longest = max(picture.size)
    wanted = min(longest, edge or longest)
    for _ in range(_TRIES):
        size = tuple(max(1, round(side * wanted / longest)) for side in picture.size)
        smaller = picture if wanted == longest else picture.resize((size[0], size[1]), Resampling.LANCZOS)
        smaller.info.clear()
        smaller.save(target, format=name, **options)
        written = target.stat().st_size
        if limit is None or written <= limit:
            return True
        if wanted == 1:
            return False
        wanted = max(1, int(wanted * min(0.9, 0.95 * math.sqrt(limit / written))))
    return False


def _mixable(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Give a picture in a mode in which its pixels can be mixed, transparency included."""
    is_transparent = "transparency" in picture.info
    if picture.mode in {"P", "PA"}:
        return picture.convert("RGBA" if is_transparent or picture.mode == "PA" else "RGB")
    if picture.mode == "1" or (picture.mode == "L" and is_transparent):
        return picture.convert("LA" if is_transparent else "L")
    if picture.mode == "RGB" and is_transparent:
        return picture.convert("RGBA")
    picture.load()
    return picture
