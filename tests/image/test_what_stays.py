"""Of an image file stays what browsers use, and all of that: gain maps, known chunks, the turn, every sample."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import PIL.Image
import pytest
from pictures import CANARY, animated, chunk, noise, pixels, position, saved

from imghost.image.inspect import NotAnImage, inspect, shown, stripped
from imghost.image.jpeg import segments

SECOND = saved("jpeg", noise(32, 24, "L"))


def lean(raw: bytes) -> bytes:
    return b"".join(stripped(raw, inspect(raw)))


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 255, marker, len(body) + 2) + body


# Gain maps of HDR photographs

XMP = b"http://ns.adobe.com/xap/1.0/\0"
ISO = segment(0xE2, b"urn:iso:std:iso:ts:21496:-1\0" + bytes(40))
ULTRA = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:Canary="urn:canary" '
    'xmlns:Container="http://ns.google.com/photos/1.0/container/" '
    'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" '
    'hdrgm:Version="1.0" Canary:By="Canary" {}</rdf:Description></rdf:RDF></x:xmpmeta>'
)
DIRECTORY = (
    '><Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary" '
    'Item:Mime="image/jpeg"/></rdf:li><rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" '
    'Item:Mime="image/jpeg" Item:Length="{}"/></rdf:li></rdf:Seq></Container:Directory>'
)
APPLE = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/" HDRGainMap:HDRGainMapVersion="65536" '
    'xmlns:Canary="urn:canary" Canary:By="Canary"/></rdf:RDF></x:xmpmeta>'
)


def note(text: str) -> bytes:
    return segment(0xE1, XMP + text.encode())


def index(first: int, others: list[tuple[int, int, int]]) -> bytes:
    """Write an index (CIPA DC-007) of pictures: what each is, its length, and where it begins from the header."""
    rows = [(0x030000, first, 0), *others]
    tiff = struct.pack("<4sIH", b"II*\0", 8, 3)
    tiff += struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, len(rows))
    tiff += struct.pack("<HHIII", 0xB002, 7, 16 * len(rows), 50, 0)
    tiff += b"".join(struct.pack("<IIIHH", kind, length, at, 0, 0) for kind, length, at in rows)
    return segment(0xE2, b"MPF\0" + tiff)


def photograph(notes: bytes, pictures: list[tuple[int, bytes]], *, is_indexed: bool = True) -> bytes:
    """Write a photograph and pictures after it, each with what an index calls it."""
    plain = saved("jpeg", noise(64, 48))
    exif = segment(0xE1, position(6))
    head = len(b"\xff\xd8" + exif + notes)
    length = len(plain) + len(exif + notes) + (len(index(0, [(0, 0, 0)] * len(pictures))) if is_indexed else 0)
    rows, at = [], length - head - 8
    for kind, raw in pictures:
        rows.append((kind, len(raw), at))
        at += len(raw)
    named = index(length, rows) if is_indexed else b""
    return plain[:2] + exif + notes + named + plain[2:] + b"".join(raw for _, raw in pictures)


def described(notes: bytes) -> bytes:
    return SECOND[:2] + notes + segment(0xE1, position()) + SECOND[2:]


MAP = 0x050000
BY_ULTRA = described(note(ULTRA.format('hdrgm:GainMapMax="2.5"/>').replace("></rdf:Description>", ">", 1)))
HDR: dict[str, Callable[[], bytes]] = {
    "Ultra HDR": lambda: photograph(note(ULTRA.format(DIRECTORY.format(len(BY_ULTRA)))), [(MAP, BY_ULTRA)]),
    "Ultra HDR by XMP alone": lambda: photograph(
        note(ULTRA.format(DIRECTORY.format(len(BY_ULTRA)))), [(MAP, BY_ULTRA)], is_indexed=False
    ),
    "Apple": lambda: photograph(b"", [(0, described(note(APPLE)))]),
    "ISO 21496-1": lambda: photograph(ISO, [(MAP, described(ISO))]),
    "a preview before it": lambda: photograph(ISO, [(0x010001, saved("jpeg")), (MAP, described(ISO))]),
}


@pytest.mark.parametrize("kind", HDR)
def test_the_gain_map_of_a_photograph_stays_without_its_metadata(kind: str) -> None:
    raw = HDR[kind]()
    assert CANARY in raw
    sent = lean(raw)
    assert CANARY not in sent
    *_, last = segments(sent)
    second = sent[last.end :]
    assert pixels(second) == pixels(SECOND)
    with PIL.Image.open(io.BytesIO(sent[: last.end])) as picture:
        assert picture.getexif()[0x0112] == 6
    if (at := sent.find(b"MPF\0")) >= 0:
        first, _, length, start = (struct.unpack_from("<I", sent, at + 4 + 50 + n)[0] for n in (4, 16, 20, 24))
        assert (first, length) == (last.end, len(second))
        assert at + 4 + start == last.end
    else:
        assert f'Item:Length="{len(second)}"'.encode() in sent
    if kind.startswith("Ultra"):
        assert b'hdrgm:Version="1.0"' in sent
        assert b'hdrgm:GainMapMax="2.5"' in second
    assert lean(sent) == sent


@pytest.mark.parametrize(
    "pictures", [[(0x010001, SECOND)], [(0x020001, SECOND)], [(0x010002, SECOND), (0x020003, SECOND)]]
)
def test_what_an_index_names_that_is_no_gain_map_goes(pictures: list[tuple[int, bytes]]) -> None:
    sent = lean(photograph(b"", pictures))
    *_, last = segments(sent)
    assert last.end == len(sent)
    assert SECOND not in sent


# Chunks, markers, thumbnails


def riff(raw: bytes, *more: tuple[bytes, bytes]) -> bytes:
    body = raw[8:] + b"".join(
        name + struct.pack("<I", len(text)) + text + b"\0" * (len(text) & 1) for name, text in more
    )
    return raw[:4] + struct.pack("<I", len(body)) + body


INFO = [b"INAM", b"IART", b"ICMT", b"ISFT"]


@pytest.mark.parametrize(
    "more",
    [
        *[[(b"LIST", b"INFO" + name + struct.pack("<I", 6) + CANARY)] for name in INFO],
        [(b"XMP\0", CANARY * 9)],
        [(b"XMP ", CANARY), (b"xmp ", CANARY)],
        *[[(name, CANARY)] for name in INFO],
        [(b"JUNK", CANARY), (b"C2PA", CANARY), (b"EXIF", CANARY)],
    ],
)
@pytest.mark.parametrize("is_moving", [False, True])
def test_only_chunks_that_browsers_use_stay_in_a_webp(more: list[tuple[bytes, bytes]], is_moving: bool) -> None:
    raw = animated("webp") if is_moving else saved("webp", noise(24, 16, "RGBA"))
    sent = lean(riff(raw, *more))
    assert CANARY not in sent
    assert pixels(sent) == pixels(raw)


@pytest.mark.parametrize("name", [b"prVW", b"mkBF", b"cpIp", b"meTa", b"mkBS", b"mkBT", b"caBX", b"skMf", b"zzZz"])
@pytest.mark.parametrize("place", [b"IDAT", b"IEND"])
def test_a_document_in_a_private_chunk_of_a_png_goes(name: bytes, place: bytes) -> None:
    raw = saved("png")
    at = raw.index(place) - 4
    sent = lean(raw[:at] + chunk(name, b"Canary.fw.png") + raw[at:])
    assert CANARY not in sent
    assert sent == raw


THUMBNAIL = CANARY * 8


@pytest.mark.parametrize(
    "body",
    [
        segment(0xE0, b"JFIF\0\1\2\0\0\1\0\1\4\4" + THUMBNAIL),
        segment(0xE0, b"JFXX\0\x10" + SECOND + CANARY),
        segment(0xE0, b"JFXX\0\x13\4\4" + THUMBNAIL),
        segment(0xEE, b"Adobe\0\x64\0\0\0\0\1" + CANARY),
        segment(0xEE, b"Ducky" + CANARY),
        segment(0x02, CANARY),
        segment(0xBF, CANARY),
        segment(0xF0, CANARY),
        segment(0xFD, CANARY),
    ],
)
def test_no_thumbnail_and_nothing_of_an_unknown_segment_stays_in_a_jpeg(body: bytes) -> None:
    raw = saved("jpeg")
    sent = lean(raw[:20] + body + raw[20:])
    assert CANARY not in sent
    assert SECOND not in sent
    assert pixels(sent) == pixels(raw)


def test_a_jfif_thumbnail_of_the_first_segment_goes_and_the_density_stays() -> None:
    raw = saved("jpeg", dpi=(144, 144))
    head = segment(0xE0, raw[6:18] + b"\4\6" + THUMBNAIL[:48] + bytes(24))
    sent = lean(raw[:2] + head + raw[20:])
    assert sent == raw


# Which way up


def tiff(*entries: tuple[int, int, int, int], order: str = "<") -> bytes:
    """Write a directory of entries: tag, kind, count, value."""
    rows = b"".join(
        struct.pack(order + "HHI", tag, kind, count) + struct.pack(order + ("HH" if kind == 3 else "I"), *value)
        for tag, kind, count, *value in (
            (tag, kind, count, value, 0) if kind == 3 else (tag, kind, count, value)
            for tag, kind, count, value in entries
        )
    )
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries)) + rows + bytes(4)


TURN = 0x0112


@pytest.mark.parametrize(
    ("head", "body", "turn"),
    [
        (b"Exif\0\0", tiff((TURN, 3, 1, 6)), 6),
        (b"Exif\0\xff", tiff((TURN, 3, 1, 6)), 6),
        (b"Exif\0A", tiff((TURN, 3, 1, 8), order=">"), 8),
        (b"Exif\0\0", tiff((TURN, 3, 5, 6)), 1),
        (b"Exif\0\0", tiff((TURN, 3, 0, 6)), 1),
        (b"Exif\0\0", tiff((TURN, 4, 1, 6)), 1),
        (b"Exif\0\0", tiff((TURN, 3, 1, 9)), 1),
        (b"Exif\0\0", tiff((TURN, 3, 1, 3), (TURN, 3, 1, 6)), 3),
        (b"Exif\0\0", tiff((TURN, 3, 1, 0), (TURN, 3, 1, 6)), 6),
        (b"Exif\0\0", tiff((TURN, 3, 5, 3), (TURN, 3, 1, 8)), 8),
        (b"exif\0\0", tiff((TURN, 3, 1, 6)), 1),
        (b"Exif\0\0", b"II+\0" + tiff((TURN, 3, 1, 6))[4:], 1),
    ],
)
def test_exif_of_an_odd_form_turns_a_jpeg_as_in_chromium(head: bytes, body: bytes, turn: int) -> None:
    """Each turn was read off Chromium, which decodes the JPEG with this segment."""
    raw = saved("jpeg", noise(64, 48))
    raw = raw[:2] + segment(0xE1, head + body) + raw[2:]
    size = (48, 64) if turn > 4 else (64, 48)
    for file in (raw, lean(raw)):
        facts = inspect(file)
        assert (facts.width, facts.height) == size
        seen = shown(file)
        assert seen is not None
        assert seen.turn == turn


# Samples of a moving AVIF


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body


def moved(raw: bytes, add: int) -> bytes:
    """Add to each place that an AVIF names: what stands before its pixels has grown by so much."""
    result = bytearray(raw)
    at = raw.index(b"stco") + 8
    for number in range(struct.unpack_from(">I", raw, at)[0]):
        place = at + 4 + 4 * number
        struct.pack_into(">I", result, place, struct.unpack_from(">I", raw, place)[0] + add)
    at = raw.index(b"iloc")
    end = at - 4 + struct.unpack_from(">I", raw, at - 4)[0]
    first = struct.pack(">I", struct.unpack_from(">I", raw, raw.index(b"stco") + 12)[0])
    while (at := raw.find(first, at, end)) >= 0:
        struct.pack_into(">I", result, at, struct.unpack(">I", first)[0] + add)
        at += 4
    return bytes(result)


def test_a_moving_avif_whose_last_sample_is_past_its_end_is_refused() -> None:
    raw = bytearray(animated("avif"))
    at = raw.rindex(b"stsz") + 8
    count = struct.unpack_from(">I", raw, at + 4)[0]
    place = at + 8 + 4 * (count - 1)
    struct.pack_into(">I", raw, place, struct.unpack_from(">I", raw, place)[0] + 500)
    with pytest.raises(NotAnImage, match="cut short"):
        inspect(bytes(raw))
    with pytest.raises(NotAnImage, match="cut short"):
        inspect(bytes(raw) + CANARY + bytes(600))


@pytest.mark.parametrize("name", [b"imda", b"free", b"skip", b"wide"])
def test_samples_stay_in_whatever_box_they_are(name: bytes) -> None:
    raw = animated("avif")
    at = raw.rindex(b"mdat")
    other = raw[:at] + name + raw[at + 4 :]
    sent = lean(other + box(b"free", CANARY))
    assert CANARY not in sent
    assert pixels(sent.replace(name, b"mdat")) == pixels(raw)


@pytest.mark.parametrize("name", [b"imda", b"mdat", b"zzzz"])
def test_a_sample_that_goes_on_in_another_box_is_refused_and_never_cut(name: bytes) -> None:
    raw = animated("avif")
    at, last = raw.rindex(b"mdat") - 4, 20
    cut = len(raw) - last - 8
    first = struct.pack(">I", cut - at) + raw[at + 4 : cut]
    with pytest.raises(NotAnImage, match="cut short"):
        inspect(raw[:at] + first + struct.pack(">I", last + 8) + name + raw[-last:])


@pytest.mark.parametrize("name", [b"prft", b"emsg", b"uuid"])
def test_a_box_at_the_top_that_tells_a_time_or_a_tool_is_blanked(name: bytes) -> None:
    raw = animated("avif")
    at = raw.rindex(b"mdat") - 4
    extra = box(name, bytes(8) + CANARY)
    other = moved(raw, len(extra))
    other = other[:at] + extra + other[at:]
    assert pixels(other) == pixels(raw)
    sent = lean(other)
    assert CANARY not in sent
    assert len(sent) == len(other)
    assert pixels(sent) == pixels(raw)
