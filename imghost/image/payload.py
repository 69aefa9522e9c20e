"""The private copy that is sent: stripped, or remade smaller as the variant says, never the file itself."""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from imghost.errors import ImghostError
from imghost.files import Window, digest
from imghost.image import Exif, Outline, avif, is_sideways, jpeg, png, webp, write_exif
from imghost.image.jpeg import segment_of
from imghost.models import RASTER, Image, NamedTuple, Payload
from imghost.wording import printable

if TYPE_CHECKING:
    import PIL.Image

_CHUNK: Final = 1 << 18
_WHOLE: Final = 1 << 20
"""Bytes up to which an image is worked on in memory, and written once: nearly every one."""
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
    if image.bytes <= _WHOLE:
        return _prepared_whole(image, source, variant, folder)
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


def _prepared_whole(image: Image, source: BinaryIO, variant: str, folder: Path) -> Payload:
    """Make the private copy of an image that fits into memory: read once, written once."""
    strips, wanted = _read_variant(variant)
    raw = b"".join(_checked(image, source))
    outline = _outline_of(raw)
    made, plain = None, None
    if wanted:
        made = _remade_of(raw, outline, wanted)
        plain = None if made else "strip" * strips
    if made is None and strips and outline.pieces != (slice(0, len(raw)),):
        made = _lean(raw, outline)
    if made is None:
        return _payload(image, _write(folder, image.sha256, iter((raw,))), image.sha256, outline, variant, plain)
    outline, sha256 = _outline_of(made), hashlib.sha256(made).hexdigest()
    return _payload(image, _write(folder, image.sha256, iter((made,))), sha256, outline, variant, plain)


def _read_variant(variant: str) -> tuple[bool, Wanted | None]:
    """Read a variant's text: whether metadata goes, and what else is wanted."""
    match = _VARIANT.fullmatch(variant)
    if not match:
        raise PayloadError(f"no variant {printable(variant)!r} is known; it is like 'strip+edge1600+fit1000000'")
    edge, width, limit = (int(text) if (text := match[name]) else None for name in ("edge", "width", "fit"))
    if not (edge or width or limit or match["format"]):
        return match["strip"] is not None, None

    media_type = f"image/{match['format']}" if match["format"] else ""
    return match["strip"] is not None, Wanted(edge, width, limit, media_type, int(match["quality"] or 80))


def _copy(image: Image, source: BinaryIO, folder: Path) -> Path:
    """Copy an open file, and check that it is the image."""
    return _write(folder, image.sha256, _checked(image, source))


def _checked(image: Image, source: BinaryIO) -> Iterator[bytes]:
    """Read an open file, never more of it than the image has; raises `ChangedError` where it is not the image."""
    source.seek(0)
    known = hashlib.sha256()
    length = 0
    while length <= image.bytes and (part := source.read(_CHUNK)):
        length += len(part)
        known.update(part)
        yield part
    if length != image.bytes or known.hexdigest() != image.sha256:
        raise ChangedError("it changed while the build ran; build again")


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
    with copy.open("rb") as file:
        return _outline_of(file.read() if size <= _WHOLE else Window(file, size))


def _outline_of(data: bytes | Window) -> Outline:
    from imghost.image.inspect import NotAnImage, outline

    try:
        return outline(data)
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
    made = _remade_of(copy.read_bytes(), outline, wanted)
    return _write(copy.parent, copy.name, iter((made,))) if made else None


def _lean(raw: bytes, outline: Outline) -> bytes:
    """Join the pieces that stay."""
    return b"".join(raw[piece] if isinstance(piece, slice) else piece for piece in outline.pieces)


def _remade_of(raw: bytes, outline: Outline, wanted: Wanted) -> bytes | None:
    """Make a smaller file of an image; None where the image itself is better."""
    if outline.media_type not in RASTER:
        raise PayloadError("it is drawn, so it cannot be resized; make it smaller, or exclude it")
    try:
        result = remade(_lean(raw, outline), outline, wanted)
    except CannotResizeError as error:
        if wanted.edge or wanted.limit:
            raise PayloadError(f"{error}; exclude it") from error
        return None  # a format, and sizes beside it, are for what gains by them; browsers show more than Pillow reads
    return result[1] if result else None


# Smaller pictures: fewer pixels, or another format, by Pillow, which is imported when the first one is made.
#
# What is decoded here is the stripped copy, so that no metadata can turn, warn or mislead. Which way up a picture is
# shown, and what decides its colours, is known from the walk over the file: the turn is carried out, the colours
# travel.

LEAST_GAIN: Final = 0.05
"""The share of bytes that another format must save, to be worth a change."""
_TRIES: Final = 24
_MAX_ANIMATED: Final = 60_000_000
"""Pixels of all frames of an animation that is resized: 240 MB while it is in memory."""
_WEBP_EDGE: Final = 16_383
_SMALL: Final = 250_000
"""Pixels up to which colours keep their full resolution: there the bytes are few, and the loss is seen."""
# The quality of a lossy picture that is made smaller in its own format, by its pixels: what it loses is not to be seen.
_TINY_QUALITY: Final = 97
_QUALITIES: Final = ((10_000, _TINY_QUALITY), (_SMALL, 92))
_QUALITY: Final = 88
_LEAST_QUALITY: Final = 85
"""Where a picture would else have more bytes than it had before."""
# The order of Pillow's transpositions that carry out EXIF's orientations 2 to 8.
_TRANSPOSED: Final = (0, 3, 1, 5, 4, 6, 2)
_COLOUR_CHUNKS: Final = {b"cHRM", b"gAMA", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"mDCv", b"cLLI", b"cLLi"}
_PLAIN_GAMMA: Final = range(45_000, 46_001)
_SRGB_CODES: Final = (1, 13)
_NO_CODES: Final = 2
_CLOSE: Final = 1.5
"""The mean difference, of 255, up to which a palette stands for a picture's own colours."""


class CannotResizeError(Exception):
    """A picture that Pillow cannot read, or that stays too large at any size."""


class Wanted(NamedTuple):
    """What a picture shall become; the most that is asked for counts."""

    edge: int | None = None
    """Pixels of the longest edge."""
    width: int | None = None
    limit: int | None = None
    """Bytes, at any size."""
    media_type: str = ""
    """Another format; empty = its own."""
    quality: int = 80
    """Of a lossy picture in another format."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """A decoded picture, its pixels in a mode in which they can be mixed, and what must not be lost of the rest."""

    media_type: str
    frames: tuple[PIL.Image.Image, ...]
    durations: tuple[float, ...] = ()
    """Milliseconds for each frame of an animation."""
    loop: int | None = None
    """How often an animation is shown; 0 = for ever, None = its format's own."""
    colours: int = 0
    """Colours of the palette that it had; 0 = none."""
    icc: bytes | None = None
    chunks: bytes = b""
    """A PNG's chunks about colour."""
    codes: tuple[int, int] | None = None
    """An AVIF's colour primaries and transfer function (ITU-T H.273), where they are not sRGB's."""
    sampling: int = -1
    is_lossless: bool = True
    is_plain: bool = True
    """Whether an ICC profile, or sRGB, says all of its colours, and eight bits all of its pixels."""
    natural: tuple[int, int] | None = None
    turn: int = 1
    """What still turns it: the gain map beside a photograph lies as its pixels do."""
    second: bytes = b""
    """The gain map, and before it what says how it is applied."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.frames[0].size


def remade(lean: bytes, outline: Outline, wanted: Wanted) -> tuple[str, bytes] | None:
    """Make of a stripped file what is wanted: its media type and bytes, or None where the file itself is better.

    Raises `CannotResizeError` for what cannot be decoded, and where a limit cannot be met.
    """
    pixels = _MAX_ANIMATED if outline.is_animated else (outline.shown.width or 0) * (outline.shown.height or 0)
    with _gate.passed(pixels):
        try:
            with _decoding, warnings.catch_warnings():
                # Only one thread at a time, since the filters are the process's; Pillow warns of what we do not use.
                warnings.simplefilter("ignore")
                picture = _load(lean, outline)
            if picture is None:
                _check_limit(lean, wanted)
                return None
            return _best(lean, picture, wanted)
        except (CannotResizeError, MemoryError):
            raise
        # A decoder may raise anything for a broken file; its text may name a path of this machine, or memory.
        except Exception as error:
            text = "" if isinstance(error, OSError) and error.filename else f" ({printable(error, 80)})"
            raise CannotResizeError(f"Pillow cannot resize it{_without_addresses(text)}") from error


def _without_addresses(text: str) -> str:
    return "" if "/" in text or "\\" in text or " object at 0x" in text else text


def _check_limit(lean: bytes, wanted: Wanted) -> None:
    """Let a file be that cannot be remade without loss of what it is, unless it is too large for the host."""
    if wanted.limit is not None and len(lean) > wanted.limit:
        raise CannotResizeError(f"it does not fit into {wanted.limit:,} bytes, and cannot be made smaller as it is")


def _best(lean: bytes, picture: _Picture, wanted: Wanted) -> tuple[str, bytes] | None:
    """Choose the smallest of the file itself, a smaller picture, and one in another format."""
    longest = max(picture.size)
    edge = min(longest, wanted.edge or longest)
    if wanted.width and wanted.width < picture.size[0]:
        edge = min(edge, max(1, round(longest * wanted.width / picture.size[0])))
    for _ in range(_TRIES):
        made = _candidate(lean, picture, wanted, edge)
        length = len(made[1] if made else lean)
        if wanted.limit is None or length <= wanted.limit:
            return made
        if edge == 1:
            break
        edge = max(1, int(edge * min(0.9, 0.95 * math.sqrt(wanted.limit / length))))
    raise CannotResizeError(f"it does not fit into {wanted.limit:,} bytes at any size")


def _candidate(lean: bytes, picture: _Picture, wanted: Wanted, edge: int) -> tuple[str, bytes] | None:
    """Make the best file with this longest edge; None where that is the file as it is."""
    smaller = picture
    if edge < max(picture.size):
        size = _scaled(picture.size, edge, wanted)
        smaller = replace(picture, frames=tuple(_resized(frame, size) for frame in picture.frames))
    if wanted.media_type and wanted.media_type != picture.media_type:
        raw = _converted(smaller, wanted)
        if raw is not None and len(raw) <= len(lean) * (1 - LEAST_GAIN):
            return wanted.media_type, raw
    if smaller is not picture:
        raw = _saved(smaller, len(lean))
        if raw is not None and len(raw) < len(lean):
            return picture.media_type, raw
    return None


def _scaled(size: tuple[int, int], edge: int, wanted: Wanted) -> tuple[int, int]:
    longest = max(size)
    width, height = (max(1, round(side * edge / longest)) for side in size)
    # A size that is asked for by its width has exactly that: the page tells it.
    if wanted.width and wanted.width < size[0] and abs(width - wanted.width) <= 1:
        width, height = wanted.width, max(1, round(size[1] * wanted.width / size[0]))
    return width, height


def _resized(frame: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    """Mix pixels by Lanczos' filter, colours weighted by their opacity (Pillow premultiplies), in the values stored."""
    from PIL.Image import Resampling

    return frame.resize(size, Resampling.LANCZOS)


# Decoding


class _Gate:
    """Lets pictures through as long as their pixels fit into memory together; a large one goes alone."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._changed = threading.Condition()

    @contextmanager
    def passed(self, pixels: int) -> Iterator[None]:
        pixels = min(pixels, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= pixels)
            self._left -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._left += pixels
                self._changed.notify_all()


_gate: Final = _Gate(50_000_000)
_decoding: Final = threading.Lock()


def _load(lean: bytes, outline: Outline) -> _Picture | None:
    """Decode a picture and carry out its turn; None for what would not be the same picture afterwards."""
    import PIL.Image

    name = outline.media_type.rpartition("/")[2].upper()
    load = _load_frames if outline.is_animated else _LOADERS[outline.media_type]
    try:
        with PIL.Image.open(io.BytesIO(lean), formats=[name]) as opened:
            picture = load(lean, opened)
    except (OSError, SyntaxError, ValueError, EOFError, PIL.Image.DecompressionBombError):
        # Pillow does not read every animation, nor every GIF and AVIF, that browsers show: these stay as they are.
        if not outline.is_animated and outline.media_type not in {"image/gif", "image/avif"}:
            raise
        return None
    if picture is None:
        return None
    turn = 1 if picture.second else outline.shown.turn
    frames = tuple(_turned(frame, turn) for frame in picture.frames)
    for frame in frames:
        frame.info.clear()
    size = _turned_size(outline.shown.width, outline.shown.height, outline.shown.turn // turn)
    if frames[0].size != size:
        return None  # Pillow and browsers do not agree on how large it is
    return replace(picture, frames=frames, natural=outline.shown.natural, turn=outline.shown.turn // turn)


def _turned_size(width: int | None, height: int | None, turn: int) -> tuple[int | None, int | None]:
    return (height, width) if is_sideways(turn) else (width, height)


def _turned(frame: PIL.Image.Image, turn: int) -> PIL.Image.Image:
    from PIL.Image import Transpose

    return frame if turn == 1 else frame.transpose(Transpose(_TRANSPOSED[turn - 2]))


def _load_png(lean: bytes, opened: PIL.Image.Image) -> _Picture:
    head = _png_head(lean)
    chunks = b"".join(raw for name, raw in head if name in _COLOUR_CHUNKS)
    bodies = {name: raw[8:-4] for name, raw in head}
    depth, colour = lean[24], lean[25]
    icc = opened.info.get("icc_profile")
    plain = _is_plain(bodies, icc) and depth < 16
    picture = _Picture("image/png", (), chunks=chunks, icc=icc, is_plain=plain)
    key = bodies.get(b"tRNS") if colour in {0, 2} else None
    if colour == 3:
        has_alpha = "transparency" in opened.info
        palette = len(bodies.get(b"PLTE", b"")) // 3
        return replace(picture, frames=(opened.convert("RGBA" if has_alpha else "RGB"),), colours=max(2, palette))
    if depth == 16 and colour in {0, 2}:
        return replace(picture, frames=(_deep(lean, opened, colour, key),))
    opened.load()
    frame = opened.convert("L") if opened.mode == "1" else opened.copy()
    if key is not None:
        # A decoder spreads few bits over eight, and what is transparent is told in the few.
        spread = 255 // ((1 << depth) - 1)
        values = [value * spread for value in struct.unpack(f">{len(key) // 2}H", key)]
        frame.info["transparency"] = values[0] if colour == 0 else tuple(values)
        frame = frame.convert("LA" if colour == 0 else "RGBA")
    return replace(picture, frames=(frame,), colours=1 << depth if colour == 0 and depth < 8 and key is None else 0)


def _deep(lean: bytes, opened: PIL.Image.Image, colour: int, key: bytes | None) -> PIL.Image.Image:
    """Read the upper eight of sixteen bits; what is transparent is told in all of them."""
    import PIL.Image
    from PIL import ImageChops

    if colour == 0:
        raw = opened.tobytes()  # the lower byte of each first
        upper, lower = (PIL.Image.frombytes("L", opened.size, raw[at::2]) for at in (1, 0))
    else:
        # By rows read as of the other order, what Pillow takes for the upper byte is the lower.
        upper, lower = (_unpacked(lean, f"RGB;16{order}") for order in "BL")
    if key is None:
        return upper
    mask = PIL.Image.new("L", opened.size, 0)
    for at, band in enumerate(zip(upper.split(), lower.split(), strict=True)):
        for half, value in zip(band, key[2 * at : 2 * at + 2], strict=True):
            differs = half.point([0 if level == value else 255 for level in range(256)])
            mask = ImageChops.lighter(mask, differs)
    upper.putalpha(mask)
    return upper


def _unpacked(lean: bytes, raw_mode: str) -> PIL.Image.Image:
    """Decode a PNG with its rows read as another kind of pixels."""
    import PIL.Image

    with PIL.Image.open(io.BytesIO(lean), formats=["PNG"]) as opened:
        opened.tile = [opened.tile[0]._replace(args=raw_mode)]
        opened.load()
        return opened.copy()


def _load_jpeg(lean: bytes, opened: Any) -> _Picture:
    from PIL import JpegImagePlugin

    sampling = JpegImagePlugin.get_sampling(opened)
    opened.load()
    icc = opened.info.get("icc_profile")
    second = jpeg.second_of(lean)
    is_plain = not second and (opened.mode == "RGB" or (opened.mode == "L" and not icc))
    frame = opened.copy()
    return _Picture(
        "image/jpeg", (frame,), icc=icc, sampling=sampling, is_lossless=False, is_plain=is_plain, second=second
    )


def _load_gif(_lean: bytes, opened: PIL.Image.Image) -> _Picture:
    return _Picture("image/gif", (opened.convert("RGBA"),), colours=256)


def _load_webp(lean: bytes, opened: PIL.Image.Image) -> _Picture:
    opened.load()
    frame = opened.convert("RGBA" if "A" in opened.mode else "RGB")
    return _Picture("image/webp", (frame,), icc=opened.info.get("icc_profile"), is_lossless=webp.is_lossless(lean))


def _load_avif(lean: bytes, opened: PIL.Image.Image) -> _Picture | None:
    if avif.is_more_than_pixels(lean):
        return None
    opened.load()
    codes = avif.codes(lean)
    return _Picture("image/avif", (opened.copy(),), icc=opened.info.get("icc_profile"), codes=codes, is_lossless=False)


def _load_frames(lean: bytes, opened: Any) -> _Picture | None:
    """Decode an animation: each frame as it is shown, and for how long."""
    count = getattr(opened, "n_frames", 1)
    if count < 2 or count * opened.width * opened.height > _MAX_ANIMATED or opened.format == "AVIF":
        return None
    frames, durations = [], []
    for number in range(count):
        opened.seek(number)
        frames.append(opened.convert("RGBA"))
        durations.append(opened.info.get("duration", 0))
    loop, icc = opened.info.get("loop"), opened.info.get("icc_profile")
    if opened.format == "PNG":
        if opened.info.get("default_image") or lean[24] == 16:
            return None
        chunks = b"".join(raw for name, raw in _png_head(lean) if name in _COLOUR_CHUNKS)
        return _Picture("image/png", tuple(frames), tuple(durations), loop, chunks=chunks)
    is_lossless = opened.format == "GIF" or webp.is_lossless(lean)
    return _Picture(
        f"image/{opened.format.lower()}", tuple(frames), tuple(durations), loop, icc=icc, is_lossless=is_lossless
    )


_LOADERS: Final[Mapping[str, Callable[[bytes, Any], _Picture | None]]] = {
    "image/png": _load_png,
    "image/jpeg": _load_jpeg,
    "image/gif": _load_gif,
    "image/webp": _load_webp,
    "image/avif": _load_avif,
}


def _png_head(lean: bytes) -> list[tuple[bytes, bytes]]:
    """List the chunks before a PNG's pixels, each by its name and with all its bytes."""
    chunks = []
    start = len(png.SIGNATURE)
    while (name := lean[start + 4 : start + 8]) not in {b"IDAT", b""}:
        end = start + 12 + int.from_bytes(lean[start : start + 4], "big")
        chunks.append((name, lean[start:end]))
        start = end
    return chunks


def _is_plain(bodies: dict[bytes, bytes], icc: bytes | None) -> bool:
    """Say whether a PNG's colours are sRGB's, or said by its profile, as Chromium reads its chunks."""
    if b"cICP" in bodies:
        return tuple(bodies[b"cICP"][:2]) == _SRGB_CODES
    if b"iCCP" in bodies:
        return icc is not None and icc[16:20] == b"RGB "
    if b"sRGB" in bodies or b"gAMA" not in bodies:
        return True
    return b"cHRM" not in bodies and int.from_bytes(bodies[b"gAMA"], "big") in _PLAIN_GAMMA


# Encoding


def _saved(picture: _Picture, most: int) -> bytes | None:
    """Write a picture in its own format, in fewer bytes than `most` if that can be; None for another animation."""
    if picture.durations:
        return _animated(picture)
    frame = picture.frames[0]
    if picture.media_type == "image/png":
        return _saved_png(picture, most)
    if picture.media_type == "image/gif":
        few = _for_gif(frame)
        return _written(few, "GIF", optimize=True, transparency=few.info.get("transparency"))
    write = {"image/jpeg": _jpeg, "image/webp": _own_webp, "image/avif": _own_avif}[picture.media_type]
    raw = write(picture, _quality(frame))
    return raw if len(raw) < most else write(picture, _LEAST_QUALITY)


def _jpeg(picture: _Picture, quality: int) -> bytes:
    frame = picture.frames[0]
    options: dict[str, Any] = {"quality": quality, "optimize": True, "progressive": True}
    if frame.mode == "RGB":
        options["subsampling"] = 0 if frame.width * frame.height <= _SMALL else picture.sampling
    return _dense(_written(frame, "JPEG", icc_profile=picture.icc, **options), picture)


def _own_webp(picture: _Picture, quality: int) -> bytes:
    # The smallest without loss: by loss WebP has half of the colours' resolution, at any quality.
    is_lossless = picture.is_lossless or quality == _TINY_QUALITY
    return _webp(picture.frames[0], picture.icc, None if is_lossless else quality)


def _own_avif(picture: _Picture, quality: int) -> bytes:
    raw = _written(picture.frames[0], "AVIF", quality=quality - 8, speed=7, icc_profile=picture.icc)
    return avif.with_codes(raw, picture.codes) if picture.codes else raw


def _quality(frame: PIL.Image.Image) -> int:
    pixels = frame.width * frame.height
    return next((quality for most, quality in _QUALITIES if pixels <= most), _QUALITY)


def _saved_png(picture: _Picture, most: int) -> bytes:
    """Write a PNG with the palette it had, if that is close to its colours, or where it would else be too long."""
    full = _with_chunks(_written(_fewest_bands(picture.frames[0]), "PNG", optimize=True), picture.chunks)
    if not picture.colours:
        return full
    few = _few_colours(picture.frames[0], picture.colours)
    short = _with_chunks(_written(few, "PNG", optimize=True), picture.chunks)
    is_close = _distance(few, picture.frames[0]) <= (_CLOSE if len(full) < most else 4 * _CLOSE)
    return short if is_close and len(short) < len(full) else full


def _few_colours(frame: PIL.Image.Image, colours: int) -> PIL.Image.Image:
    """Give a picture a palette of its own."""
    from PIL.Image import Dither, Quantize

    if frame.mode == "L":
        return frame.quantize(min(256, max(colours, 16)), Quantize.MEDIANCUT, dither=Dither.NONE)
    frame = _fewest_bands(frame)
    counted = frame.getcolors(256)
    if counted is not None:
        colours = max(colours, len(counted))
    if frame.mode == "RGB":
        return frame.quantize(min(256, max(colours, 16)), Quantize.MEDIANCUT, kmeans=2, dither=Dither.NONE)
    return frame.quantize(256, Quantize.FASTOCTREE, dither=Dither.NONE)


def _for_gif(frame: PIL.Image.Image) -> PIL.Image.Image:
    """Give a picture a palette, in which one colour is transparent if any place is so by half."""
    from PIL.Image import Dither, Quantize

    if not _is_clear_below(frame, 128):
        return _few_colours(frame.convert("RGB"), 256)
    clear = frame.getchannel("A").point([255 if level < 128 else 0 for level in range(256)])
    few = frame.convert("RGB").quantize(255, Quantize.MEDIANCUT, kmeans=2, dither=Dither.NONE)
    few.paste(255, mask=clear)
    few.info["transparency"] = 255
    return few


def _distance(few: PIL.Image.Image, frame: PIL.Image.Image) -> float:
    """Measure the mean difference of two pictures as they are seen, transparency included."""
    from PIL import ImageChops, ImageStat

    pair = [picture.convert("RGBA").convert("RGBa") for picture in (few, frame)]
    difference = ImageChops.difference(*(_as_bands(picture) for picture in pair))
    return max(ImageStat.Stat(difference).mean)


def _as_bands(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Read premultiplied pixels as plain ones, for what cannot count with the former."""
    import PIL.Image

    return PIL.Image.frombytes("RGBA", picture.size, picture.tobytes())


def _is_clear_below(frame: PIL.Image.Image, level: int) -> bool:
    """Say whether some place is less opaque than this, of 255."""
    return any(frame.getchannel("A").histogram()[:level])


def _fewest_bands(frame: PIL.Image.Image) -> PIL.Image.Image:
    """Leave out an alpha band that says nothing."""
    if frame.mode in {"RGBA", "LA"} and not _is_clear_below(frame, 255):
        return frame.convert(frame.mode[:-1])
    return frame


def _with_chunks(raw: bytes, chunks: bytes) -> bytes:
    """Put a PNG's chunks about colour behind its header, where they count for all that follows."""
    end = len(png.SIGNATURE) + 12 + 13
    return raw[:end] + chunks + raw[end:]


def _dense(raw: bytes, picture: _Picture) -> bytes:
    """Put into a JPEG what else says how it is shown: its turn, its size if not one for each pixel, its gain map."""
    exif = Exif(picture.turn)
    if picture.natural:
        (width, height), (across, down) = picture.size, picture.natural
        if is_sideways(picture.turn):
            across, down = down, across
        exif = Exif(picture.turn, (width * 72, across, height * 72, down), (across, down))
    is_dense = exif.natural(*picture.size) is not None
    if picture.turn != 1 or is_dense:
        body = b"Exif\0\0" + write_exif(exif, is_dense=is_dense)
        raw = raw[:2] + segment_of(0xE1, body) + raw[2:]
    if picture.second:
        from imghost.image.jpeg import attached

        raw = attached(raw, picture.second)
    return raw


def _webp(frame: PIL.Image.Image, icc: bytes | None, quality: int | None) -> bytes:
    options: dict[str, Any] = {"lossless": True, "quality": 80}
    if quality is not None:
        options = {"quality": quality, "use_sharp_yuv": True}
    return _written(frame, "WEBP", method=4, icc_profile=icc, **options)


def _written(frame: PIL.Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    frame.save(buffer, name, **{key: value for key, value in options.items() if value is not None})
    return buffer.getvalue()


def _animated(picture: _Picture) -> bytes | None:
    """Write an animation frame by frame; None where its frames would not be shown as they were."""
    name = picture.media_type.rpartition("/")[2].upper()
    options: dict[str, Any] = {"duration": list(picture.durations), "icc_profile": picture.icc}
    if picture.loop is not None:
        options["loop"] = picture.loop
    frames: Sequence[PIL.Image.Image] = picture.frames
    if name == "WEBP":
        options |= {"lossless": True} if picture.is_lossless else {"quality": _quality(picture.frames[0])}
        options |= {"method": 4, "minimize_size": True}
    elif name == "GIF":
        frames = [_for_gif(frame) for frame in frames]
        options |= {"disposal": 2, "optimize": False}
    elif any(duration == 0 for duration in picture.durations):
        return None
    raw = _written(frames[0], name, save_all=True, append_images=frames[1:], **options)
    if name == "PNG":
        raw = _with_chunks(raw, picture.chunks)
    return raw if _has_same_frames(raw, picture, name) else None


def _has_same_frames(raw: bytes, picture: _Picture, name: str) -> bool:
    """Read an animation again, and compare how long it takes, how often, and each frame at its time."""
    import PIL.Image

    with _decoding, warnings.catch_warnings(), PIL.Image.open(io.BytesIO(raw), formats=[name]) as opened:
        warnings.simplefilter("ignore")
        frames, times = [], []
        for number in range(getattr(opened, "n_frames", 1)):
            opened.seek(number)
            frames.append(opened.convert("RGBA"))
            times.append(opened.info.get("duration", 0))
        if abs(sum(times) - sum(picture.durations)) > 1 or opened.info.get("loop") != picture.loop:
            return False
    at, passed = 0, 0.0
    for frame, duration in zip(picture.frames, picture.durations, strict=True):
        while at + 1 < len(frames) and passed + 0.5 >= sum(times[: at + 1]):
            at += 1
        if _distance(frames[at], frame) > 4 * _CLOSE:
            return False
        passed += duration
    return True


def _converted(picture: _Picture, wanted: Wanted) -> bytes | None:
    """Write a still picture in another format: without loss where it had none; None where that cannot be."""
    frame = picture.frames[0]
    is_webp = wanted.media_type == "image/webp"
    if picture.durations or not picture.is_plain or picture.natural or (is_webp and max(picture.size) > _WEBP_EDGE):
        return None
    if picture.media_type == "image/jpeg":
        if is_webp:
            return _webp(frame.convert("RGB"), picture.icc, wanted.quality)
        return _written(frame, "AVIF", quality=wanted.quality, speed=6, icc_profile=picture.icc)
    if picture.media_type not in {"image/png", "image/gif"} or (picture.icc and frame.mode in {"L", "LA"}):
        return None
    seen = _fewest_bands(frame)
    seen = seen.convert("RGBA" if "A" in seen.mode else "RGB")
    if is_webp:
        raw = _webp(seen, picture.icc, None)
    elif picture.icc or seen.mode == "RGBA" or not _is_grey(seen):
        # Pillow turns colours into luminance and chroma first, and no quality brings all of them back. Chromium (156)
        # takes an opacity of 254 in a still AVIF for 255, and one of 128 for 130.
        return None
    else:
        raw = _written(seen, "AVIF", quality=100, subsampling="4:0:0", speed=6)
    return raw if _is_same(raw, frame, "WEBP" if is_webp else "AVIF") else None


def _is_grey(frame: PIL.Image.Image) -> bool:
    """Say whether each pixel's colours are equal."""
    from PIL import ImageChops

    red, green, blue = frame.split()
    return not (ImageChops.difference(red, green).getbbox() or ImageChops.difference(red, blue).getbbox())


def _is_same(raw: bytes, frame: PIL.Image.Image, name: str) -> bool:
    """Decode what was written, and compare it with what it was written of, pixel by pixel as they are seen."""
    import PIL.Image

    with PIL.Image.open(io.BytesIO(raw), formats=[name]) as opened:
        again = opened.convert("RGBA").convert("RGBa")
    return again.tobytes() == frame.convert("RGBA").convert("RGBa").tobytes()
