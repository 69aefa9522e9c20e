"""The gain map of an HDR photograph: a second JPEG after the first, named by an index or by XMP.

Three kinds are in use: Ultra HDR (XMP of Google and Adobe), Apple's, and ISO 21496-1; the index is CIPA's MPF.
The second picture stays, and of the metadata of both only what says how it is applied; what else an index names
(previews, originals before a crop, panoramas) does not.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from xml.parsers import expat

from imghost.image.segments import SIGNATURE, Segment, segment_of, segments, stripped
from imghost.image.structure import Data, Exif, NotAnImage, Pieces

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
