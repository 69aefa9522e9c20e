"""The private copy that is sent: stripped or resized as the variant says, never the file itself."""

from __future__ import annotations

import hashlib
import math
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from imghost.errors import ImghostError
from imghost.files import Window, digest
from imghost.models import RASTER, Image, Payload
from imghost.wording import printable

if TYPE_CHECKING:
    import PIL.Image

    from imghost.image.structure import Outline


_CHUNK: Final = 1 << 18
_VARIANT: Final = re.compile(
    r"(?:(?P<strip>strip)(?:\+(?!\Z)|\Z))?(?:edge(?P<edge>[1-9][0-9]{0,8})(?:\+(?!\Z)|\Z))?(?:fit(?P<fit>[1-9][0-9]{0,9}))?"
)


class PayloadError(ImghostError):
    """A payload that cannot be made of an image; the image stays local."""


class ChangedError(PayloadError):
    """A file whose bytes are no longer those that were planned."""


def prepare(image: Image, source: BinaryIO, variant: str, folder: Path) -> Payload:
    """Make the private copy that is sent for an image, with its variant applied.

    The source is read once, from its beginning, and what was read is what is checked and sent.
    Raises: `ChangedError` where it is not the image that was planned, `PayloadError` where it is no
    image or the variant cannot be made, `OSError`.
    """
    edge, limit, strips = _read_variant(variant)
    copy = _copy(image, source, folder)
    try:
        found = _outline(copy, image.bytes)
        if edge or limit:
            target = _resized(copy, found, edge, limit)
        elif strips and found.pieces != (slice(0, image.bytes),):
            target = _stripped(copy, found)
        else:
            return _payload(image, copy, image.sha256, found, variant)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    copy.unlink(missing_ok=True)
    return _finished(image, target, variant)


def _read_variant(variant: str) -> tuple[int | None, int | None, bool]:
    """Read a variant's text: longest edge, most bytes, and whether metadata goes."""
    match = _VARIANT.fullmatch(variant)
    if not match:
        raise PayloadError(f"no variant {printable(variant)!r} is known; it is like 'strip+edge1600+fit1000000'")
    strips, edge, limit = match["strip"], match["edge"], match["fit"]
    return int(edge) if edge else None, int(limit) if limit else None, strips is not None


def _copy(image: Image, source: BinaryIO, folder: Path) -> Path:
    """Copy an open file, and check that it is the image; never more of it than the image has."""
    source.seek(0)
    known = hashlib.sha256()
    length = 0

    def parts() -> Iterator[bytes]:
        nonlocal length
        while length <= image.bytes and (part := source.read(_CHUNK)):
            length += len(part)
            known.update(part)
            yield part

    copy = _write(folder, image.sha256, parts())
    if length != image.bytes or known.hexdigest() != image.sha256:
        copy.unlink(missing_ok=True)
        raise ChangedError("it changed while the build ran; build again")
    return copy


def _write(folder: Path, name: str, parts: Iterator[bytes]) -> Path:
    """Write a new file that only this user can read."""
    import tempfile

    descriptor, path = tempfile.mkstemp(prefix=f"{name[:12]}-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[file.write(view) :]
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
    return Path(path)


def _outline(copy: Path, size: int) -> Outline:
    from imghost.image.inspect import NotAnImage, outline

    with copy.open("rb") as file:
        try:
            return outline(file.read() if size <= 1 << 20 else Window(file, size))
        except NotAnImage as verdict:
            raise PayloadError(f"{verdict}; put a real image there, or exclude it") from None


def _stripped(copy: Path, found: Outline) -> Path:
    """Write the pieces of a copy that stay."""
    with copy.open("rb") as file:

        def parts() -> Iterator[bytes]:
            for piece in found.pieces:
                if isinstance(piece, bytes):
                    yield piece
                    continue
                file.seek(piece.start)
                left = piece.stop - piece.start
                while left and (part := file.read(min(left, _CHUNK))):
                    left -= len(part)
                    yield part

        return _write(copy.parent, copy.name, parts())


def _finished(image: Image, target: Path, variant: str) -> Payload:
    """Describe a payload whose bytes are not the image's."""
    try:
        with target.open("rb") as file:
            sha256 = digest(file)
        return _payload(image, target, sha256, _outline(target, target.stat().st_size), variant)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _payload(image: Image, file: Path, sha256: str, found: Outline, variant: str) -> Payload:
    size = file.stat().st_size
    return Payload(image.sha256, sha256, file, size, found.media_type, found.width, found.height, variant)


def _resized(copy: Path, found: Outline, edge: int | None, limit: int | None) -> Path:
    """Write a smaller picture of a copy."""
    if found.is_animated or found.media_type not in RASTER:
        raise PayloadError("it moves or is drawn, so it cannot be resized; make it smaller, or exclude it")

    target = _write(copy.parent, copy.name, iter(()))
    try:
        resize(copy, target, found.media_type, edge, limit)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, CannotResizeError):
            raise PayloadError(f"{error}; exclude it") from error
        raise
    return target


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
