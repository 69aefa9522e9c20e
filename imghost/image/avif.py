"""AVIF, and the boxes of the ISO base media file format that it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from imghost.image.structure import MAX_PARTS, Data, NotAnImage, Outline, Pieces, cut_short, part

NAME: Final = "an AVIF image"
_MAX_META: Final = 1 << 21
_XMP: Final = b"application/rdf+xml"


class Box(NamedTuple):
    """A box's name and span; its contents are from `body` to `end`."""

    name: bytes
    start: int
    body: int
    end: int
    is_open: bool = False
    """Whether it has no length of its own and goes to the file's end."""


class Item(NamedTuple):
    """One item: what kind of metadata it is (`exif`, `xmp`, or empty), and where its bytes are."""

    kind: str
    method: int
    extents: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Meta:
    """What a `meta` box says: the primary item's size as shown, and all items."""

    size: tuple[int, int] | None
    items: tuple[Item, ...]
    idat: tuple[int, int] | None

    def item_spans(self, item: Item, total: int) -> list[tuple[int, int]]:
        """Give an item's spans of the file; a length of 0 goes to the end of what it is in."""
        if item.method > 1 or (item.method == 1 and self.idat is None):
            if item.kind:
                raise NotAnImage("it is an AVIF image whose metadata is inside another item")
            return []
        first, last = self.idat if item.method == 1 and self.idat else (0, total)
        return [(first + at, first + at + length if length else last) for at, length in item.extents]

    def spans(self, total: int) -> Iterator[tuple[int, int]]:
        """Give the spans of all items."""
        for item in self.items:
            yield from self.item_spans(item, total)


def boxes(data: Data, start: int, end: int, *, is_top: bool = False) -> Iterator[Box]:
    """Walk the boxes of a span; at the top, what is no box ends the walk, elsewhere it is an error."""
    for _ in range(MAX_PARTS):
        head = data[start : min(start + 16, end)]
        if len(head) < 8:
            if head and not is_top:
                raise cut_short(NAME)
            return
        length, name, body = int.from_bytes(head[:4], "big"), head[4:8], start + 8
        if length == 1:
            length, body = int.from_bytes(head[8:16], "big"), start + 16
        is_open = is_top and length == 0
        stop = end if is_open else start + length
        if stop < body or (stop > end and not is_top):
            if is_top:
                return
            raise NotAnImage("it is an AVIF image with a broken box")
        yield Box(name, start, body, stop, is_open)
        start = stop
    raise NotAnImage("it is an AVIF image in more boxes than an image needs")


class _Reader:
    """Takes big-endian numbers off some bytes."""

    __slots__ = ("at", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def take(self, length: int) -> int:
        """Take the next number of so many bytes."""
        found = self.raw[self.at : self.at + length]
        if len(found) != length:
            raise NotAnImage("it is an AVIF image with a broken box")
        self.at += length
        return int.from_bytes(found, "big")


def read_meta(data: Data, box: Box) -> Meta:
    """Read a `meta` box."""
    if box.end > len(data):
        raise cut_short(NAME)
    if box.end - box.start > _MAX_META:
        raise NotAnImage("it is an AVIF image with a description longer than an image needs")
    raw = part(data, box.start, box.end - box.start, NAME)
    found = {child.name: child for child in boxes(raw, min(box.body + 4 - box.start, len(raw)), len(raw))}

    def reader(name: bytes) -> _Reader | None:
        child = found.get(name)
        return _Reader(raw[child.body : child.end]) if child else None

    primary, kinds, places = reader(b"pitm"), reader(b"iinf"), reader(b"iloc")
    names = _kinds(kinds) if kinds else {}
    items = tuple(
        Item(names.get(number, ""), method, extents)
        for number, method, extents in (_locations(places) if places else ())
    )
    wanted = primary.take(2 if primary.take(4) >> 24 == 0 else 4) if primary else None
    properties = found.get(b"iprp")
    size = _size(raw, properties, wanted) if properties and wanted is not None else None
    idat = found.get(b"idat")
    return Meta(size, items, (idat.body + box.start, idat.end + box.start) if idat else None)


def _kinds(reader: _Reader) -> Mapping[int, str]:
    """Read which items are metadata from `iinf`."""
    kinds: dict[int, str] = {}
    reader.take(2 if reader.take(4) >> 24 == 0 else 4)
    for child in boxes(reader.raw, reader.at, len(reader.raw)):
        entry = _Reader(reader.raw[child.body : child.end])
        version = entry.take(4) >> 24
        if child.name != b"infe" or version < 2:
            continue
        number = entry.take(2 if version == 2 else 4)
        entry.take(2)
        kind = entry.take(4).to_bytes(4, "big")
        if kind == b"Exif":
            kinds[number] = "exif"
        elif kind == b"mime" and _XMP in entry.raw[entry.at :].split(b"\0"):
            kinds[number] = "xmp"
    return kinds


def _locations(reader: _Reader) -> Iterator[tuple[int, int, tuple[tuple[int, int], ...]]]:
    """Read each item's number, method and extents from `iloc`."""
    version = reader.take(4) >> 24
    sizes = reader.take(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    left = MAX_PARTS
    for _ in range(reader.take(2 if version < 2 else 4)):
        number = reader.take(2 if version < 2 else 4)
        method = reader.take(2) & 15 if version else 0
        reader.take(2)
        base = reader.take(base_size)
        count = reader.take(2)
        left -= count
        if left < 0:
            raise NotAnImage("it is an AVIF image in more pieces than an image needs")
        extents = []
        for _ in range(count):
            reader.take(index_size)
            extents.append((base + reader.take(offset_size), reader.take(length_size)))
        yield number, method, tuple(extents)


def _size(raw: bytes, properties: Box, primary: int) -> tuple[int, int] | None:
    """Read the primary item's width and height, turned as `irot` says."""
    found = {child.name: child for child in boxes(raw, properties.body, properties.end)}
    container, links = found.get(b"ipco"), found.get(b"ipma")
    if container is None or links is None:
        return None
    known = list(boxes(raw, container.body, container.end))
    size, is_sideways = None, False
    for index in _linked(_Reader(raw[links.body : links.end]), primary):
        if not 0 < index <= len(known):
            continue
        prop = known[index - 1]
        body = _Reader(raw[prop.body : prop.end])
        if prop.name == b"ispe":
            body.take(4)
            size = (body.take(4), body.take(4))
        elif prop.name == b"irot":
            is_sideways = body.take(1) % 2 == 1
    return size[::-1] if size and is_sideways else size


def _linked(reader: _Reader, primary: int) -> list[int]:
    """Read which properties, counted from 1, the primary item has."""
    head = reader.take(4)
    id_size, is_wide = 2 if head >> 24 < 1 else 4, head & 1
    for _ in range(reader.take(4)):
        number = reader.take(id_size)
        count = reader.take(1)
        links = [reader.take(2) & 0x7FFF if is_wide else reader.take(1) & 0x7F for _ in range(count)]
        if number == primary:
            return links
    return []


# Offsets inside the file are absolute, so metadata is not cut out but overwritten at its place.
_NAME: Final = NAME
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
            yield read_meta(data, box)


def _inner(data: Data, level: Iterable[Box], names: tuple[bytes, ...] = (b"moov", b"trak")) -> Iterator[Box]:
    """Give these boxes, and those inside a movie and its tracks."""
    for box in level:
        yield box
        if names and box.name == names[0]:
            yield from _inner(data, boxes(data, box.body, box.end), names[1:])


def _dimensions(data: Data, top: list[Box]) -> tuple[int, int] | None:
    for box in top:
        if box.name == b"meta" and (found := read_meta(data, box).size):
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
