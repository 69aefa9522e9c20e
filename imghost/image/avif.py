"""AVIF, and the boxes of the ISO base media file format that it is made of."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from imghost.image import (
    MAX_PARTS,
    Data,
    Format,
    NotAnImage,
    Outline,
    Pieces,
    Shown,
    cut_short,
    is_sideways,
    part,
)
from imghost.models import NamedTuple, dataclass

NAME: Final = "an AVIF image"
_MAX_META: Final = 1 << 21
_XMP: Final = b"application/rdf+xml"
# How EXIF counts a rotation (`irot`, quarters against the clock) that a mirror (`imir`: none, axis 0, axis 1) follows.
_TURNS: Final = ((1, 4, 2), (8, 5, 7), (3, 2, 4), (6, 7, 5))


class Box(NamedTuple):
    """A box's name and span; its contents are from `body` to `end`."""

    name: bytes
    start: int
    body: int
    end: int
    is_open: bool = False
    """Whether it has no length of its own and goes to the file's end."""


class Item(NamedTuple):
    """One item: what kind of metadata it is (`exif`, `xmp`, `note`, or empty), and where its bytes are."""

    kind: str
    method: int
    extents: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Meta:
    """What a `meta` box says: how the primary item is shown, and all items."""

    shown: Shown | None
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
    shown = _shown(raw, properties, wanted) if properties and wanted is not None else None
    idat = found.get(b"idat")
    return Meta(shown, items, (idat.body + box.start, idat.end + box.start) if idat else None)


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
        elif kind in {b"mime", b"uri "}:
            kinds[number] = "note"
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


def _shown(raw: bytes, properties: Box, primary: int) -> Shown | None:
    """Read the primary item's width and height, and how `irot` and `imir` turn it."""
    inner = list(boxes(raw, properties.body, properties.end))
    container = next((child for child in inner if child.name == b"ipco"), None)
    if container is None:
        return None
    known = list(boxes(raw, container.body, container.end))
    size: tuple[int, int] | None = None
    angle = mirror = 0
    links = (_linked(_Reader(raw[box.body : box.end]), primary) for box in inner if box.name == b"ipma")
    for index, is_essential in (link for several in links for link in several if 0 < link[0] <= len(known)):
        prop = known[index - 1]
        if prop.name in {b"clap", b"irot", b"imir"} and not is_essential:
            raise NotAnImage("it is an AVIF image turned or cropped in a way that no browser shows", "save it anew")
        body = _Reader(raw[prop.body : prop.end])
        if prop.name == b"ispe":
            body.take(4)
            size = (body.take(4), body.take(4))
        elif prop.name == b"irot":
            angle = body.take(1) & 3
        elif prop.name == b"imir":
            mirror = 1 + (body.take(1) & 1)
    turn = _TURNS[angle][mirror]
    return Shown(*(size[::-1] if is_sideways(turn) else size), turn) if size else None


def _linked(reader: _Reader, primary: int) -> list[tuple[int, bool]]:
    """Read which properties, counted from 1, the primary item has, and whether each is essential."""
    head = reader.take(4)
    id_size, width = 2 if head >> 24 < 1 else 4, 1 + (head & 1)
    flag = 0x80 << 8 * (width - 1)
    for _ in range(reader.take(4)):
        number = reader.take(id_size)
        count = reader.take(1)
        links = [reader.take(width) for _ in range(count)]
        if number == primary:
            return [(link & ~flag, bool(link & flag)) for link in links]
    return []


# Offsets inside the file are absolute, so metadata is not cut out but overwritten at its place.
_BRANDS: Final = {b"avif", b"avis"}
_SRGB: Final = (1, 13)
_HIGH_RANGE: Final = {16, 18}
"""Transfer functions PQ and HLG."""
_STRUCTURE: Final = {b"ftyp", b"meta", b"moov", b"moof", b"styp", b"sidx", b"mfra"}
_CONTENT: Final = {b"mdat", b"imda"}
# What a box of notes becomes: browsers pass over `free`.
_NOTES: Final = {b"uuid", b"udta"}
_HEADS: Final = {
    "exif": b"\0\0\0\0II*\0\x08\0\0\0\0\0\0\0\0\0",
    "xmp": b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
    "note": b"",
}


class _Blank(NamedTuple):
    """New bytes of the same length for a span of the file."""

    start: int
    new: bytes


class _Span(NamedTuple):
    """Where some bytes of an item or of a track's samples are; `kind` is empty for pixels."""

    start: int
    stop: int
    kind: str = ""


def is_avif(head: bytes) -> bool:
    """Say whether a file begins as an AVIF does: one of its brands is among the first."""
    length = int.from_bytes(head[:4], "big")
    brands = {head[at : at + 4] for at in range(8, min(length, len(head)), 4) if at != 12}
    return head[4:8] == b"ftyp" and bool(brands & _BRANDS)


def shown(data: Data) -> Shown:
    """Read from the beginning of an AVIF how it is shown."""
    top: list[Box] = []
    for box in boxes(data, 0, len(data), is_top=True):
        top.append(box)
        if box.name in {b"meta", b"moov"} and (picture := _picture(data, top)):
            return picture
    raise NotAnImage("it is an AVIF image without a size")


def outline(data: Data) -> Outline:
    """Walk all boxes to the last that the image needs; raises `NotAnImage`."""
    top = _top(data)
    picture = _picture(data, top)
    if picture is None:
        raise NotAnImage("it is an AVIF image without a size")
    metas = list(_metas(data, top))
    items = [(meta, item, meta.item_spans(item, len(data))) for meta in metas for item in meta.items]
    spans = [_Span(*span, item.kind) for _, item, spans in items for span in spans]
    spans = sorted([*spans, *_samples(data, top)])
    top = _needed(top, spans)
    if not any(_holds(box, spans) or box.name == b"moof" for box in top):
        raise NotAnImage("it is an AVIF image without its pixels")
    end = _end(top, spans)
    if any(span.stop > end for span in spans):
        raise cut_short(NAME)
    _refuse_overlap(spans)
    blanks = {blank for meta, item, places in items for blank in _blank_item(meta, item, places, top)}
    is_animated = data[8:12] == b"avis" and any(box.name == b"moov" for box in top)
    return Outline(
        "image/avif", picture, is_animated, _pieces(data, sorted(blanks.union(_blank_boxes(data, top, spans))), end)
    )


def is_more_than_pixels(data: bytes) -> bool:
    """Say whether a file holds what a decoder to eight bits would lose: a gain map, a high range, or a crop."""
    length = int.from_bytes(data[:4], "big")
    has_high_range = (codes(data) or _SRGB)[1] in _HIGH_RANGE
    return has_high_range or b"tmap" in data[8:length] or any(box.name == b"clap" for box in _properties(data))


def codes(data: bytes) -> tuple[int, int] | None:
    """Read colour primaries and transfer function (ITU-T H.273), where they are told and are not sRGB's."""
    for box in _properties(data):
        if box.name == b"colr" and data[box.body : box.body + 4] == b"nclx":
            primaries, transfer = (int.from_bytes(data[box.body + at : box.body + at + 2], "big") for at in (4, 6))
            return (primaries, transfer) if (primaries, transfer) != _SRGB else None
    return None


def with_codes(data: bytes, codes: tuple[int, int]) -> bytes:
    """Write colour primaries and transfer function in place of those that a file tells."""
    for box in _properties(data):
        if box.name == b"colr" and data[box.body : box.body + 4] == b"nclx":
            new = b"".join(code.to_bytes(2, "big") for code in codes)
            return data[: box.body + 4] + new + data[box.body + 8 :]
    return data


def _properties(data: bytes) -> Iterator[Box]:
    """Give the properties of a file's items."""
    for meta in boxes(data, 0, len(data), is_top=True):
        if meta.name == b"meta":
            for box in _inner(data, boxes(data, meta.body + 4, meta.end), (b"iprp", b"ipco")):
                if box.name not in {b"iprp", b"ipco"}:
                    yield box
            return


def _top(data: Data) -> list[Box]:
    """Give the boxes at the top; what is no box, or is cut short and no part of an image, ends them."""
    top: list[Box] = []
    for box in boxes(data, 0, len(data), is_top=True):
        if box.end > len(data):
            if box.name in _STRUCTURE | _CONTENT:
                raise cut_short(NAME)
            break
        top.append(box)
    return top


def _needed(top: list[Box], spans: list[_Span]) -> list[Box]:
    """Give the boxes up to the last one that holds a part of the image: what follows is not of it."""
    is_fragmented = any(box.name == b"moof" for box in top)  # whose samples are not followed here
    needed = _STRUCTURE | _CONTENT if is_fragmented else _STRUCTURE
    last = max((at for at, box in enumerate(top) if box.name in needed or _holds(box, spans)), default=-1)
    return top[: last + 1]


def _holds(box: Box, spans: list[_Span]) -> bool:
    """Say whether a box has a part of the image in it; the spans are in order."""
    at = bisect_left(spans, (box.body,))
    return at < len(spans) and spans[at].start < box.end


def _end(top: list[Box], spans: list[_Span]) -> int:
    """Say where the image ends; a last box without a length ends where its last item or sample does."""
    last = top[-1] if top else None
    if last is None:
        return 0
    return max((span.stop for span in spans), default=last.end) if last.is_open else last.end


def _pieces(data: Data, blanks: list[_Blank], end: int) -> tuple[slice | bytes, ...]:
    pieces = Pieces()
    at = 0
    for start, new in blanks:
        pieces.keep(at, start)
        pieces.replace(data, start, start + len(new), new)
        at = start + len(new)
    pieces.keep(at, end)
    return pieces.done()


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


def _picture(data: Data, top: list[Box]) -> Shown | None:
    """Say how the primary item, or else the first track, is shown."""
    for box in top:
        if box.name == b"meta" and (picture := read_meta(data, box).shown):
            return picture
    for box in _inner(data, top):
        if box.name == b"tkhd":
            tail = part(data, box.end - 8, 8, NAME)
            return Shown(int.from_bytes(tail[:2], "big"), int.from_bytes(tail[4:6], "big"))
    return None


def _samples(data: Data, top: list[Box]) -> Iterator[_Span]:
    """Give where the samples of each track are, a chunk at a time."""
    for table in _inner(data, top, (b"moov", b"trak", b"mdia", b"minf", b"stbl")):
        if table.name == b"stbl":
            inner = {box.name: box for box in boxes(data, table.body, table.end)}
            readers = {name: _Reader(part(data, box.body, box.end - box.body, NAME)) for name, box in inner.items()}
            yield from _chunks(readers)


def _chunks(readers: Mapping[bytes, _Reader]) -> Iterator[_Span]:
    """Follow a sample table: which samples each chunk has (`stsc`), how long they are, and where it begins."""
    places, lengths, runs = readers.get(b"stco") or readers.get(b"co64"), readers.get(b"stsz"), readers.get(b"stsc")
    if places is None or lengths is None or runs is None:
        return
    width = 4 if b"stco" in readers else 8
    lengths.take(4)
    same, left = lengths.take(4), lengths.take(4)
    runs.take(4)
    first = {runs.take(4): (runs.take(4), runs.take(4))[0] for _ in range(_bounded(runs.take(4)))}
    places.take(4)
    count = 0
    for number in range(1, _bounded(places.take(4)) + 1):
        start = places.take(width)
        count = min(first.get(number, count), left)
        left -= count
        yield _Span(start, start + (same * count if same else sum(lengths.take(4) for _ in range(_bounded(count)))))


def _bounded(count: int) -> int:
    if count > MAX_PARTS:
        raise NotAnImage("it is an AVIF image in more pieces than an image needs")
    return count


def _blank_boxes(data: Data, top: list[Box], spans: list[_Span]) -> Iterator[_Blank]:
    """Give what is to be written over boxes that hold notes, and over those at the top that no browser knows."""
    known = _STRUCTURE | _CONTENT
    strange = {box for box in top if box.name not in known and not _holds(box, spans)}
    starts = {box.start for box in top}
    for box in _inner(data, top):
        if box in strange or (box.name in _NOTES and box.start not in starts):
            length = box.end - box.start
            yield _Blank(box.start, (length.to_bytes(4, "big") + b"free").ljust(length, b"\0"))


def _blank_item(meta: Meta, item: Item, places: list[tuple[int, int]], top: list[Box]) -> Iterator[_Blank]:
    """Give what is to be written over an item of metadata, piece by piece."""
    if not item.kind:
        return
    homes = [(box.body, box.end) for box in top if box.name in _CONTENT] + ([meta.idat] if meta.idat else [])
    if not all(any(a <= start and stop <= b for a, b in homes) for start, stop in places):
        raise NotAnImage("it is an AVIF image whose metadata is not among its data")
    head = _HEADS[item.kind]
    total = sum(stop - start for start, stop in places)
    filler = b" " if item.kind == "xmp" else b"\0"
    new = head.ljust(total, filler) if total >= len(head) else filler * total
    for start, stop in places:
        yield _Blank(start, new[: stop - start])
        new = new[stop - start :]


def _refuse_overlap(spans: list[_Span]) -> None:
    """Refuse a file in which overwriting the metadata would overwrite something else; the same may be named twice."""
    last = _Span(0, 0)
    for span in sorted(set(spans)):
        if span.start < last.stop and (span.kind or last.kind) and span != last:
            raise NotAnImage("it is an AVIF image whose metadata overlaps its pixels")
        if span.stop >= last.stop:
            last = span


FORMAT: Final = Format("image/avif", is_avif, outline, shown, "AVIF")
