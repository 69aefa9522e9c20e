"""Boxes of an ISO base media file, and the `meta` box that says where an image's items are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from imghost.image.structure import MAX_PARTS, Data, NotAnImage, cut_short, part

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
