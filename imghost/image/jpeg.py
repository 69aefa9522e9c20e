"""JPEG: how it is shown, and what stays of it, a gain map after its end included."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from imghost.image import (
    MAX_PARTS,
    Data,
    Exif,
    Format,
    NotAnImage,
    Outline,
    Pieces,
    Shown,
    cut_short,
    is_sideways,
    part,
    read_exif,
    search,
    write_exif,
)
from imghost.models import NamedTuple

# The segments and scans of a JPEG, `SOI` to the first `EOI` (ITU-T T.81, annex B), and which browsers use.

SIGNATURE: Final = b"\xff\xd8\xff"
NAME: Final = "a JPEG image"
FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SCAN, _END, _FILL = 0xDA, 0xD9, 0xFF
_STANDALONE: Final = frozenset(range(0xD0, 0xD8)) | {0x01}
# Frames, tables (C4, CC, DB, DD, DC) and scans. Comments, reserved markers and most application segments describe:
# thumbnails, EXIF and XMP (1), further images after the end (MPF), makers' notes with positions (6), IPTC (13).
_KEPT: Final = FRAMES | _STANDALONE | {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, SCAN, _END, _FILL}
_NEXT_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_NO_FILL: Final = re.compile(rb"\xff[^\xff]", re.DOTALL)
_EXIF: Final = b"Exif\0"
_EXIF_HEAD: Final = 6
"""Bytes before the TIFF structure: the name, and one that browsers let be anything."""
_JFIF, _JFIF_LENGTH = b"JFIF\0", 14
_ADOBE, _ADOBE_LENGTH = b"Adobe", 12
_PROFILE: Final = b"ICC_PROFILE\0"


class Segment(NamedTuple):
    """A marker segment, or a scan with its data: the marker, and its span."""

    marker: int
    start: int
    end: int


def stripped(
    data: Data,
    every: Sequence[Segment],
    size: tuple[int, int],
    exif: Exif,
    new: Mapping[int, bytes] = MappingProxyType({}),
    pieces: Pieces | None = None,
) -> Pieces:
    """Collect what browsers use of an image's segments; `new` takes the place of those that begin there."""
    pieces = pieces or Pieces()
    is_dense = exif.natural(*size) is not None
    is_first = True
    pieces.keep(every[0].start - 2, every[0].start)
    for segment in every:
        marker, start, end = segment
        if start in new:
            pieces.replace(data, start, end, new[start])
        elif marker in _KEPT:
            pieces.keep(start, end)
        elif is_exif(data, segment):
            if is_first and (exif.turn != 1 or is_dense):
                body = _EXIF + b"\0" + write_exif(exif, is_dense=is_dense)
                pieces.replace(data, start, end, segment_of(0xE1, body))
            is_first = False
        elif body := _needed(data, segment):
            pieces.replace(data, start, end, segment_of(marker, body))
        elif marker == 0xE2 and data[start + 4 : start + 16] == _PROFILE:
            pieces.keep(start, end)
    return pieces


def segments(data: Data, start: int = 0) -> Iterator[Segment]:
    """Give each segment of the image that begins here, a scan with its data, and the end marker last."""
    start, total = start + 2, len(data)
    for _ in range(MAX_PARTS):
        head = part(data, start, 2, NAME)
        if head == b"\xff\xff":
            begin = start
            start = search(data, _NO_FILL, start)
            if start < 0:
                raise cut_short(NAME)
            head = data[start : start + 2]
            yield Segment(_FILL, begin, start)
        if head[0] != 0xFF or head[1] == 0:
            # Browsers look for the next marker and show what follows; what lies there may be anything.
            raise NotAnImage("it is a JPEG image with bytes between its segments", "save it anew", is_harmless=True)
        marker = head[1]
        end = start + 2
        if marker not in _STANDALONE and marker != _END:
            length = int.from_bytes(part(data, end, 2, NAME), "big")
            end += length
            if length < 2 or end > total:
                raise cut_short(NAME)
        if marker == SCAN:
            end = search(data, _NEXT_MARKER, end)
            if end < 0:
                raise cut_short(NAME)
        yield Segment(marker, start, end)
        if marker == _END:
            return
        start = end
    raise NotAnImage("it is a JPEG image in more segments than an image needs")


def segment_of(marker: int, body: bytes) -> bytes:
    """Write a segment."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _needed(data: Data, segment: Segment) -> bytes:
    """Give what a decoder reads of a JFIF or an Adobe segment: no thumbnail, and nothing after it; else nothing."""
    marker, start, end = segment
    if marker == 0xE0:
        body = data[start + 4 : min(end, start + 4 + _JFIF_LENGTH)]
        return body[:-2] + b"\0\0" if body[:5] == _JFIF and len(body) == _JFIF_LENGTH else b""
    if marker == 0xEE:
        body = data[start + 4 : min(end, start + 4 + _ADOBE_LENGTH)]
        return body if body[:5] == _ADOBE and len(body) == _ADOBE_LENGTH else b""
    return b""


def is_exif(data: Data, segment: Segment) -> bool:
    """Say whether a segment holds EXIF."""
    marker, start, end = segment
    return marker == 0xE1 and end - start >= 4 + _EXIF_HEAD and data[start + 4 : start + 4 + len(_EXIF)] == _EXIF


def exif_of(data: Data, segment: Segment) -> Exif:
    """Read what browsers use of a segment of EXIF."""
    return read_exif(data[segment.start + 4 + _EXIF_HEAD : segment.end])


# How it is shown, and what stays of it.

# Baseline, extended and progressive, by Huffman's or arithmetic coding: what browsers decode.
_DECODED_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
# Both may name a second picture.
_NAMING: Final = ((0xE2, b"MPF\0"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0"))


def shown(data: Data) -> Shown:
    """Read from a JPEG up to its frame header how it is shown."""
    exif: Exif | None = None
    for segment in segments(data):
        if exif is None and is_exif(data, segment):
            exif = exif_of(data, segment)
        if segment.marker in FRAMES:
            return _as_shown(_frame(data, segment), exif or Exif())
    raise NotAnImage("it is a JPEG image without a frame")


def outline(data: Data) -> Outline:
    """Walk all segments and scans to the end of the image; raises `NotAnImage`."""
    every = list(segments(data))
    size: tuple[int, int] | None = None
    has_scan = False
    for segment in every:
        if segment.marker in FRAMES and size is None:
            size = _frame(data, segment)
        if segment.marker == SCAN:
            has_scan = True
            if size is None:
                raise NotAnImage("it is a JPEG image with a scan before its frame")
    if size is None or not has_scan:
        raise NotAnImage("it is a JPEG image without a picture")
    exif = next((exif_of(data, segment) for segment in every if is_exif(data, segment)), Exif())
    pieces = _with_gain_map(data, every, size, exif) or stripped(data, every, size, exif)
    return Outline("image/jpeg", _as_shown(size, exif), False, pieces.done())


def second_of(lean: bytes) -> bytes:
    """Give a stripped image with a gain map; empty where it has none."""
    *_, last = segments(lean)
    return lean if last.end < len(lean) else b""


def _frame(data: Data, segment: Segment) -> tuple[int, int]:
    """Read width and height from a frame header, as they are stored."""
    if segment.end - segment.start < 10:
        raise NotAnImage("it is a JPEG image with a broken frame")
    depth, height, width = struct.unpack(">BHH", part(data, segment.start + 4, 5, NAME))
    if segment.marker not in _DECODED_FRAMES or depth != 8:
        kind = "lossless or hierarchical" if segment.marker not in _DECODED_FRAMES else f"{depth}-bit"
        raise NotAnImage(
            f"it is a {kind} JPEG image, which no browser shows", "save it as an ordinary JPEG, or exclude it"
        )
    return width, height


def _as_shown(size: tuple[int, int], exif: Exif) -> Shown:
    natural = exif.natural(*size)
    if is_sideways(exif.turn):
        return Shown(size[1], size[0], exif.turn, natural and natural[::-1])
    return Shown(*size, exif.turn, natural)


def _with_gain_map(data: Data, every: Sequence[Segment], size: tuple[int, int], exif: Exif) -> Pieces | None:
    """Collect what stays of an image and of the gain map after it; None where it names none."""
    if every[-1].end == len(data):
        return None
    if not any(m == kind and data[s + 4 : s + 4 + len(name)] == name for m, s, _ in every for kind, name in _NAMING):
        return None

    return kept(data, every, size, exif)


FORMAT: Final = Format("image/jpeg", lambda head: head.startswith(SIGNATURE), outline, shown, "JPEG")


# The gain map of an HDR photograph: a second JPEG after the first, named by an index or by XMP.
#
# Three kinds are in use: Ultra HDR (XMP of Google and Adobe), Apple's, and ISO 21496-1; the index is CIPA's MPF.
# The second picture stays, and of the metadata of both only what says how it is applied; what else an index names
# (previews, originals before a crop, panoramas) does not.

_MPF: Final = b"MPF\0"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_ISO: Final = b"urn:iso:std:iso:ts:21496:-1\0"
_ISO_LONGEST: Final = 256
"""Bytes of a gain map's numbers: 141 at most today."""
_UNDEFINED, _GAIN_MAP = 0, 0x050000
_ENTRIES: Final = 0xB002
_ENTRY: Final = 16
_MAX_IMAGES: Final = 8
_ULTRA: Final = "http://ns.adobe.com/hdr-gain-map/1.0/"
_APPLE: Final = "http://ns.apple.com/HDRGainMap/1.0/"
_KIND: Final = "http://ns.apple.com/pixeldatainfo/1.0/"
_CONTAINER: Final = "http://ns.google.com/photos/1.0/container/"
_ITEM: Final = "http://ns.google.com/photos/1.0/container/item/"
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PREFIXES: Final = {_ULTRA: "hdrgm", _APPLE: "HDRGainMap", _KIND: "apdi", _CONTAINER: "Container", _ITEM: "Item"}
_VALUE: Final = re.compile(r"[\w.:+-]{1,64}", re.ASCII)


class _Notes(NamedTuple):
    """What the XMP of a picture says of gain maps."""

    properties: Mapping[tuple[str, str], tuple[str, ...]]
    """(Namespace, name) -> its value, or its values for red, green and blue."""
    lengths: tuple[tuple[str, int], ...]
    """What follows the picture, in order: what it means, and its bytes."""


def kept(data: Data, every: Sequence[Segment], size: tuple[int, int], exif: Exif) -> Pieces | None:
    """Collect what stays of a picture and of its gain map; None where it has none."""
    notes = _notes(data, every)
    for start in _named(data, every, notes):
        if data[start : start + 3] != SIGNATURE:
            continue
        try:
            second = list(segments(data, start))
        except NotAnImage:
            continue
        return _joined(data, every, size, exif, second, notes)
    return None


def attached(first: bytes, old: bytes) -> bytes:
    """Put the gain map of a stripped photograph behind another picture of it, whose pixels lie the same way."""
    every = list(segments(old))
    notes = b"".join(
        old[segment.start : segment.end]
        for segment in every
        if _says(old, segment, 0xE1, _XMP) or _says(old, segment, 0xE2, _ISO)
    )
    start = 2 + len(notes)
    second = old[every[-1].end :]
    index = _index(0, 0, 0)
    total = len(first) + len(notes) + len(index)
    index = _index(total, len(second), total - start - 4 - len(_MPF))
    return first[:2] + notes + index + first[2:] + second


def _joined(
    data: Data, every: Sequence[Segment], size: tuple[int, int], exif: Exif, second: Sequence[Segment], notes: _Notes
) -> Pieces:
    """Put both pictures together, with an index and XMP that fit the lengths they have now."""
    second_new = _second_notes(data, second)
    after = stripped(data, second, (0, 0), Exif(), second_new).length
    new = _first_notes(data, every, notes, after)
    index = next((at for at, segment in enumerate(every) if _says(data, segment, 0xE2, _MPF)), None)
    if index is not None:
        before = stripped(data, every[:index], size, exif, new).length if index else len(SIGNATURE) - 1
        start = every[index].start
        total = stripped(data, every, size, exif, {**new, start: _index(0, 0, 0)}).length
        new[start] = _index(total, after, total - before - 4 - len(_MPF))
    pieces = stripped(data, every, size, exif, new)
    return stripped(data, second, (0, 0), Exif(), second_new, pieces)


def _named(data: Data, every: Sequence[Segment], notes: _Notes) -> Iterator[int]:
    """Give where pictures begin that the index or the XMP calls gain maps."""
    end = every[-1].end
    for segment in every:
        if _says(data, segment, 0xE2, _MPF):
            start = segment.start + 4 + len(_MPF)
            offsets = _indexed(data[start : segment.end])
            yield from (start + offset for offset in offsets if start + offset >= end)
            break
    for meaning, length in notes.lengths:
        if meaning == "GainMap":
            yield end
        end += length


def _indexed(tiff: bytes) -> list[int]:
    """Read from an index where its further pictures begin, in bytes from the index' own header."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return []
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, length, place = struct.unpack_from(order + "HHII", tiff, at)
            if tag == _ENTRIES:
                rows = range(place + _ENTRY, place + min(length, _MAX_IMAGES * _ENTRY), _ENTRY)
                found = [struct.unpack_from(order + "III", tiff, row) for row in rows]
                return [offset for kind, _, offset in found if kind & 0xFFFFFF in {_UNDEFINED, _GAIN_MAP}]
    except struct.error:
        pass
    return []


def _index(first: int, second: int, offset: int) -> bytes:
    """Write the index of two pictures: their lengths, and where the second begins from the index' own header."""
    tiff = struct.pack("<4sIH", b"II*\0", 8, 3)
    tiff += struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, 2)
    tiff += struct.pack("<HHIII", _ENTRIES, 7, 2 * _ENTRY, len(tiff) + 12 + 4, 0)
    tiff += struct.pack("<IIIHH", 0x030000, first, 0, 0, 0) + struct.pack("<IIIHH", 0, second, offset, 0, 0)
    return segment_of(0xE2, _MPF + tiff)


def _first_notes(data: Data, every: Sequence[Segment], notes: _Notes, length: int) -> dict[int, bytes]:
    """Say what takes the place of the first picture's XMP and ISO segments."""
    new = _iso(data, every)
    version = notes.properties.get((_ULTRA, "Version"), ())
    for segment in every:
        if version and _says(data, segment, 0xE1, _XMP):
            new[segment.start] = _container(version[0], length)
            break
    return new


def _second_notes(data: Data, every: Sequence[Segment]) -> dict[int, bytes]:
    """Say what takes the place of the gain map's own XMP and ISO segments."""
    new = _iso(data, every)
    properties = {name: values for name, values in _notes(data, every).properties.items() if name[0] != _CONTAINER}
    for segment in every:
        if properties and _says(data, segment, 0xE1, _XMP):
            new[segment.start] = _properties(properties)
            break
    return new


def _iso(data: Data, every: Sequence[Segment]) -> dict[int, bytes]:
    """Keep the numbers of ISO 21496-1 as they are, if they are no longer than numbers are."""
    return {
        segment.start: data[segment.start : segment.end]
        for segment in every
        if _says(data, segment, 0xE2, _ISO) and segment.end - segment.start <= len(_ISO) + _ISO_LONGEST
    }


def _container(version: str, length: int) -> bytes:
    first = '<Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/>'
    second = f'<Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="{length}"/>'
    rows = "".join(f'<rdf:li rdf:parseType="Resource">{row}</rdf:li>' for row in (first, second))
    inner = f"<Container:Directory><rdf:Seq>{rows}</rdf:Seq></Container:Directory>"
    return _written(f' hdrgm:Version="{version}"', inner, (_ULTRA, _CONTAINER, _ITEM))


def _properties(properties: Mapping[tuple[str, str], tuple[str, ...]]) -> bytes:
    single, several = "", ""
    for (space, name), values in sorted(properties.items()):
        called = f"{_PREFIXES[space]}:{name}"
        if len(values) == 1:
            single += f' {called}="{values[0]}"'
        else:
            rows = "".join(f"<rdf:li>{value}</rdf:li>" for value in values)
            several += f"<{called}><rdf:Seq>{rows}</rdf:Seq></{called}>"
    return _written(single, several, tuple(sorted({space for space, _ in properties})))


def _written(attributes: str, inner: str, spaces: tuple[str, ...]) -> bytes:
    names = "".join(f' xmlns:{_PREFIXES[space]}="{space}"' for space in spaces)
    body = f'<rdf:Description rdf:about=""{names}{attributes}>{inner}</rdf:Description>'
    text = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">{body}</rdf:RDF></x:xmpmeta>'
    return segment_of(0xE1, _XMP + text.encode("ascii"))


def _says(data: Data, segment: Segment, marker: int, name: bytes) -> bool:
    return segment.marker == marker and data[segment.start + 4 : segment.start + 4 + len(name)] == name


def _notes(data: Data, every: Sequence[Segment]) -> _Notes:
    """Read what the first XMP of a picture says of gain maps; nothing of what is broken."""
    from xml.parsers import expat  # few photographs have any

    for segment in every:
        if _says(data, segment, 0xE1, _XMP):
            reader = _Reader()
            try:
                reader.parser.Parse(data[segment.start + 4 + len(_XMP) : segment.end].rstrip(b"\0"), True)
            except (expat.ExpatError, ValueError):
                break
            return _Notes(reader.properties, tuple(reader.lengths))
    return _Notes({}, ())


class _Reader:
    """Takes from XMP the properties of gain maps, as attributes or as elements."""

    def __init__(self) -> None:
        from xml.parsers import expat

        self.properties: dict[tuple[str, str], tuple[str, ...]] = {}
        self.lengths: list[tuple[str, int]] = []
        self._open: tuple[str, str] | None = None
        self._text = ""
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._stop
        self.parser.CharacterDataHandler = self._letters

    def _doctype(self, *_: object) -> None:
        raise ValueError("XMP has no document type")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._text = ""
        if _split(name) == (_CONTAINER, "Item"):
            own = {_split(key): value for key, value in attributes.items()}
            length = own.get((_ITEM, "Length"), "0"), own.get((_ITEM, "Padding"), "0")
            if all(number.isascii() and number.isdigit() and len(number) < 10 for number in length):
                self.lengths.append((own.get((_ITEM, "Semantic"), ""), sum(map(int, length))))
            return
        for key, value in attributes.items():
            self._add(_split(key), value)
        if _split(name)[0] in {_ULTRA, _APPLE, _KIND}:
            self._open = _split(name)

    def _letters(self, text: str) -> None:
        self._text += text

    def _stop(self, name: str) -> None:
        if self._open and (name.endswith(" li") or _split(name) == self._open):
            self._add(self._open, self._text.strip())
            self._text = ""
        if _split(name) == self._open:
            self._open = None

    def _add(self, name: tuple[str, str], value: str) -> None:
        if name[0] in {_ULTRA, _APPLE, _KIND} and _VALUE.fullmatch(value) and _VALUE.fullmatch(name[1]):
            self.properties[name] = (*self.properties.get(name, ()), value)


def _split(name: str) -> tuple[str, str]:
    space, _, local = name.rpartition(" ")
    return space, local
