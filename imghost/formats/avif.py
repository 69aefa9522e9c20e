"""AVIF: the boxes of an ISO base media file (AV1 Image File Format, ISO/IEC 23008-12).

Offsets inside the file are absolute, so metadata is not cut out but overwritten at its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from imghost.image import avif
from imghost.image.avif import Box, Meta, boxes
from imghost.image.structure import Data, NotAnImage, Outline, Pieces, cut_short, part

_NAME: Final = avif.NAME
_BRANDS: Final = {b"avif", b"avis"}
_NEEDED: Final = {b"ftyp", b"meta", b"moov", b"mdat", b"moof", b"styp", b"sidx", b"mfra"}
_IDLE: Final = {b"free", b"skip", b"uuid", b"udta"}
_EXIF_HEAD: Final = b"\0\0\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"
_XMP_HEAD: Final = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


class _Blank(NamedTuple):
    """New bytes of the same length for a span of the file."""

    start: int
    new: bytes


def is_avif(head: bytes) -> bool:
    """Say whether a file begins as an AVIF does: one of its brands is among the first."""
    length = int.from_bytes(head[:4], "big")
    brands = {head[at : at + 4] for at in range(8, min(length, len(head)), 4) if at != 12}
    return head[4:8] == b"ftyp" and bool(brands & _BRANDS)


def size(data: Data) -> tuple[int, int]:
    """Read width and height, as shown, from the beginning of an AVIF."""
    top: list[Box] = []
    for box in boxes(data, 0, len(data), is_top=True):
        top.append(box)
        if box.name in {b"meta", b"moov"} and (found := _dimensions(data, top)):
            return found
    raise NotAnImage("it is an AVIF image without a size")


def outline(data: Data) -> Outline:
    """Walk all boxes to the last that the image needs; raises `NotAnImage`."""
    top = _needed(data)
    found = _dimensions(data, top)
    if found is None:
        raise NotAnImage("it is an AVIF image without a size")
    if not any(box.name == b"mdat" for box in top) and not any(meta.idat for meta in _metas(data, top)):
        raise NotAnImage("it is an AVIF image without its pixels")
    is_animated = data[8:12] == b"avis" and any(box.name == b"moov" for box in top)
    end = _end(data, top)
    pieces = Pieces()
    at = 0
    for start, new in sorted(_blanks(data, top, end)):
        if data[start : start + len(new)] == new:
            continue
        pieces.keep(at, start)
        pieces.put(new)
        at = start + len(new)
    pieces.keep(at, end)
    return Outline("image/avif", found[0], found[1], is_animated, pieces.done())


def _needed(data: Data) -> list[Box]:
    """Give the boxes up to the last one that holds a part of the image: what follows is not of it."""
    top: list[Box] = []
    for box in boxes(data, 0, len(data), is_top=True):
        if box.name not in _NEEDED | _IDLE:
            break
        if box.end > len(data):
            if box.name in _NEEDED:
                raise cut_short(_NAME)
            break
        top.append(box)
    while top and top[-1].name in _IDLE:
        top.pop()
    return top


def _end(data: Data, top: list[Box]) -> int:
    """Say where the image ends; a last box without a length ends where its last item does."""
    last = top[-1]
    if not last.is_open or any(box.name == b"moov" for box in top):
        return last.end
    return max((stop for meta in _metas(data, top) for _, stop in meta.spans(len(data))), default=last.end)


def _metas(data: Data, top: list[Box]) -> Iterator[Meta]:
    """Give the parsed `meta` boxes of the file, of its movie and of the movie's tracks."""
    for box in _inner(data, top):
        if box.name == b"meta":
            yield avif.read_meta(data, box)


def _inner(data: Data, level: Iterable[Box], names: tuple[bytes, ...] = (b"moov", b"trak")) -> Iterator[Box]:
    """Give these boxes, and those inside a movie and its tracks."""
    for box in level:
        yield box
        if names and box.name == names[0]:
            yield from _inner(data, boxes(data, box.body, box.end), names[1:])


def _dimensions(data: Data, top: list[Box]) -> tuple[int, int] | None:
    for box in top:
        if box.name == b"meta" and (found := avif.read_meta(data, box).size):
            return found
    for box in _inner(data, top):
        if box.name == b"tkhd":
            tail = part(data, box.end - 8, 8, _NAME)
            return int.from_bytes(tail[:2], "big"), int.from_bytes(tail[4:6], "big")
    return None


def _blanks(data: Data, top: list[Box], end: int) -> Iterator[_Blank]:
    """Give what is to be written over EXIF, XMP and the boxes that hold notes."""
    places = [(box.body, box.end) for box in top if box.name == b"mdat"]
    taken: list[tuple[int, int, bool]] = []
    for meta in _metas(data, top):
        homes = [*places, meta.idat] if meta.idat else places
        for item in meta.items:
            spans = meta.item_spans(item, len(data))
            head = {"exif": _EXIF_HEAD, "xmp": _XMP_HEAD}.get(item.kind)
            taken.extend((start, stop, head is not None) for start, stop in spans)
            if any(stop > end for _, stop in spans):
                raise cut_short(_NAME)
            if head is None:
                continue
            if not all(any(a <= start and stop <= b for a, b in homes) for start, stop in spans):
                raise NotAnImage("it is an AVIF image whose metadata is not among its data")
            yield from _blank_item(item.kind, head, spans)
    _refuse_overlap(taken)
    for box in _inner(data, top):
        if box.name in {b"uuid", b"udta"}:
            length = box.end - box.start
            yield _Blank(box.start, (length.to_bytes(4, "big") + b"free").ljust(length, b"\0"))


def _blank_item(kind: str, head: bytes, spans: list[tuple[int, int]]) -> Iterator[_Blank]:
    total = sum(stop - start for start, stop in spans)
    filler = b"\0" if kind == "exif" else b" "
    new = head.ljust(total, filler) if total >= len(head) else filler * total
    for start, stop in spans:
        yield _Blank(start, new[: stop - start])
        new = new[stop - start :]


def _refuse_overlap(taken: list[tuple[int, int, bool]]) -> None:
    """Refuse a file in which overwriting the metadata would overwrite something else."""
    reach, was_metadata = 0, False
    for start, stop, is_metadata in sorted(taken):
        if start < reach and (is_metadata or was_metadata):
            raise NotAnImage("it is an AVIF image whose metadata overlaps its pixels")
        if stop >= reach:
            reach, was_metadata = stop, is_metadata
