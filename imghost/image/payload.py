"""The private copy that is sent: stripped or remade as the variant says, never the file itself."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from imghost.errors import ImghostError
from imghost.files import Window, digest
from imghost.models import RASTER, Image, Payload
from imghost.wording import printable

if TYPE_CHECKING:
    from imghost.image.resize import Wanted
    from imghost.image.structure import Outline


_CHUNK: Final = 1 << 18
_VARIANT: Final = re.compile(
    r"(?:(?P<strip>strip)(?:\+(?!\Z)|\Z))?(?:edge(?P<edge>[1-9][0-9]{0,8})(?:\+(?!\Z)|\Z))?"
    r"(?:width(?P<width>[1-9][0-9]{0,8})(?:\+(?!\Z)|\Z))?(?:fit(?P<fit>[1-9][0-9]{0,9})(?:\+(?!\Z)|\Z))?"
    r"(?:(?P<format>webp|avif)(?P<quality>[1-9][0-9]?|100)?)?"
)


class PayloadError(ImghostError):
    """A payload that cannot be made of an image; the image stays local."""


class ChangedError(PayloadError):
    """A file whose bytes are no longer those that were planned."""


def prepare(image: Image, source: BinaryIO, variant: str, folder: Path) -> Payload:
    """Make the private copy that is sent for an image, with its variant applied.

    The source is read once, from its beginning, and what was read is what is checked and sent. What would gain
    nothing by being remade is sent as it is; the payload then says so.
    Raises: `ChangedError` where it is not the image that was planned, `PayloadError` where it is no
    image or the variant cannot be made, `OSError`.
    """
    strips, wanted = _read_variant(variant)
    copy = _copy(image, source, folder)
    target: Path | None = None
    try:
        outline = _outline(copy, image.bytes)
        plain = None
        if wanted:
            target = _remade(copy, outline, wanted)
            plain = None if target else "strip" * strips
        if target is None and strips and outline.pieces != (slice(0, image.bytes),):
            target = _stripped(copy, outline)
        if target is None:
            return _payload(image, copy, image.sha256, outline, variant, plain)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    copy.unlink(missing_ok=True)
    return _finished(image, target, variant, plain)


def _read_variant(variant: str) -> tuple[bool, Wanted | None]:
    """Read a variant's text: whether metadata goes, and what else is wanted."""
    match = _VARIANT.fullmatch(variant)
    if not match:
        raise PayloadError(f"no variant {printable(variant)!r} is known; it is like 'strip+edge1600+fit1000000'")
    edge, width, limit = (int(text) if (text := match[name]) else None for name in ("edge", "width", "fit"))
    if not (edge or width or limit or match["format"]):
        return match["strip"] is not None, None
    from imghost.image.resize import Wanted

    media_type = f"image/{match['format']}" if match["format"] else ""
    return match["strip"] is not None, Wanted(edge, width, limit, media_type, int(match["quality"] or 80))


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
            raise PayloadError("; ".join(filter(None, (str(verdict), verdict.remedy)))) from None


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


def _finished(image: Image, target: Path, variant: str, plain: str | None) -> Payload:
    """Describe a payload whose bytes are not the image's."""
    try:
        with target.open("rb") as file:
            sha256 = digest(file)
        return _payload(image, target, sha256, _outline(target, target.stat().st_size), variant, plain)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _payload(image: Image, file: Path, sha256: str, outline: Outline, variant: str, plain: str | None) -> Payload:
    size = file.stat().st_size
    width, height = outline.shown[:2]
    return Payload(image.sha256, sha256, file, size, outline.media_type, width, height, variant, plain=plain)


def _remade(copy: Path, outline: Outline, wanted: Wanted) -> Path | None:
    """Write a smaller file of a copy; None where the image itself is better."""
    if outline.media_type not in RASTER:
        raise PayloadError("it is drawn, so it cannot be resized; make it smaller, or exclude it")
    from imghost.image.resize import CannotResizeError, remade

    raw = copy.read_bytes()
    lean = b"".join(raw[piece] if isinstance(piece, slice) else piece for piece in outline.pieces)
    try:
        result = remade(lean, outline, wanted)
    except CannotResizeError as error:
        raise PayloadError(f"{error}; exclude it") from error
    return _write(copy.parent, copy.name, iter((result[1],))) if result else None
