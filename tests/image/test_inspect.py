"""An image is judged by its bytes, to its end; metadata goes without a pixel changing."""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import struct
import subprocess
import sys
import tarfile
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import PIL.Image
import PIL.ImageOps
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import CANARY, FORMATS, XMP, animated, bomb, chunk, large_png, noise, pixels, saved, tagged

from imghost.files import Window
from imghost.image import Exif, read_exif, write_exif
from imghost.image.inspect import MAX_BYTES, NotAnImage, dimensions, inspect, read, stripped
from imghost.models import Facts

TAILS = (b"PK\x03\x04" + bytes(60), b"<html><script>alert(1)</script></html>", b"\0", bytes(5_000), b"\xff\xd9 more")
SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="8" height="4">{}</svg>'


def without_metadata(raw: bytes) -> bytes:
    return b"".join(stripped(raw, inspect(raw)))


def turned(raw: bytes) -> PIL.Image.Image:
    with PIL.Image.open(io.BytesIO(raw)) as picture:
        return PIL.ImageOps.exif_transpose(picture).convert("RGBA")


def reason(raw: bytes) -> str:
    with pytest.raises(NotAnImage) as caught:
        inspect(raw)
    return str(caught.value)


# Facts


@pytest.mark.parametrize("format_", FORMATS)
def test_the_bytes_tell_type_and_size(format_: str) -> None:
    facts = inspect(saved(format_, noise(61, 37)))
    assert facts == Facts(f"image/{format_}", 61, 37)


@pytest.mark.parametrize("format_", ["png", "gif", "webp", "avif"])
def test_a_moving_image_is_known(format_: str) -> None:
    facts = inspect(animated(format_))
    assert (facts.is_animated, facts.width, facts.height) == (True, 24, 16)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_taken(mode: str) -> None:
    picture = PIL.Image.new("I;16", (9, 5), 40_000) if mode == "I;16" else noise(9, 5, "RGBA").convert(mode)
    assert inspect(saved("png", picture)) == Facts("image/png", 9, 5)


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_blocks": 1}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_kind_of_jpeg_is_taken(mode: str, options: dict[str, object]) -> None:
    assert inspect(saved("jpeg", noise(50, 70, "RGB").convert(mode), **options)) == Facts("image/jpeg", 50, 70)


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 20}, {"exact": True}])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_every_kind_of_webp_is_taken(mode: str, options: dict[str, object]) -> None:
    assert inspect(saved("webp", noise(50, 70, mode), **options)) == Facts("image/webp", 50, 70)


@pytest.mark.parametrize("format_", ["jpeg", "avif"])
def test_the_size_is_the_one_that_is_shown(format_: str) -> None:
    raw = tagged(format_, orientation=6)
    facts = inspect(raw)
    assert (facts.width, facts.height) == turned(raw).size == (48, 64)
    assert dimensions(raw) == (48, 64)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_buffer_is_read_alike(format_: str, tmp_path: Path) -> None:
    raw = tagged(format_, 3) + b"tail"
    path = tmp_path / "x"
    path.write_bytes(raw)
    facts = inspect(raw)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert inspect(memoryview(raw)) == inspect(mapped) == inspect(Window(file, len(raw))) == facts
        pieces = stripped(mapped, facts)
        assert b"".join(pieces) == without_metadata(raw)
        for piece in pieces:
            if isinstance(piece, memoryview):
                piece.release()


def test_an_interlaced_palette_png_is_taken() -> None:
    raw = saved("png", noise(9, 9).convert("P"), bits=4)
    raw = raw[:28] + b"\x01" + raw[29:]
    raw = raw[:8] + chunk(b"IHDR", raw[16:29]) + raw[33:]
    assert inspect(raw).width == 9


# Metadata


@pytest.mark.parametrize("format_", FORMATS)
def test_metadata_goes_and_every_pixel_stays(format_: str) -> None:
    raw = tagged(format_)
    assert CANARY in raw
    assert inspect(raw).has_metadata
    clean = without_metadata(raw)
    assert CANARY not in clean
    assert XMP[:12] not in clean or format_ == "avif"
    assert pixels(clean) == pixels(raw)
    with PIL.Image.open(io.BytesIO(clean)) as picture, PIL.Image.open(io.BytesIO(raw)) as before:
        assert not dict(picture.getexif())
        assert picture.info.get("icc_profile") == before.info.get("icc_profile")
        assert format_ != "png" or picture.info["dpi"] == before.info["dpi"]
        assert picture.info.get("loop") == before.info.get("loop")


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp", "avif"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_orientation_stays(format_: str, orientation: int) -> None:
    raw = tagged(format_, orientation)
    clean = without_metadata(raw)
    assert CANARY not in clean
    with PIL.Image.open(io.BytesIO(clean)) as picture:
        assert dict(picture.getexif()) == {0x0112: orientation}
    assert turned(clean).tobytes() == turned(raw).tobytes()


@pytest.mark.parametrize("format_", ["png", "gif", "webp", "avif"])
def test_a_moving_image_keeps_its_motion(format_: str) -> None:
    raw = animated(format_)
    clean = without_metadata(raw + TAILS[0])
    assert clean == without_metadata(raw)
    assert pixels(clean) == pixels(raw)


@pytest.mark.parametrize("format_", [*FORMATS, "apng"])
@pytest.mark.parametrize("tail", TAILS)
def test_what_follows_the_end_goes(format_: str, tail: bytes) -> None:
    raw = animated("png") if format_ == "apng" else saved(format_)
    assert inspect(raw + tail).has_metadata
    assert without_metadata(raw + tail) == without_metadata(raw) == raw


@pytest.mark.parametrize("format_", [*FORMATS, "svg"])
def test_a_clean_image_is_left_alone(format_: str) -> None:
    raw = SVG.format("<g/>").encode() if format_ == "svg" else saved(format_)
    facts = inspect(raw)
    assert not facts.has_metadata
    assert b"".join(stripped(raw, facts)) == raw


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("orientation", [1, 3, 8])
def test_a_second_time_changes_nothing(format_: str, orientation: int) -> None:
    clean = without_metadata(tagged(format_, orientation) + b"tail")
    assert not inspect(clean).has_metadata


@pytest.mark.parametrize("name", [b"prVW", b"mkBF", b"cpIp", b"meTa", b"npTc", b"iDOT", b"vpAg"])
def test_only_chunks_that_browsers_use_stay_in_a_png(name: bytes) -> None:
    """Some programs keep a whole document in a chunk of their own."""
    raw = saved("png")
    colour = chunk(b"gAMA", struct.pack(">I", 45_455)) + chunk(b"pHYs", bytes(9))
    raw = raw[:33] + colour + chunk(name, CANARY) + chunk(b"tEXt", b"Author\0Canary") + raw[33:]
    assert without_metadata(raw) == raw[:33] + colour + saved("png")[33:]


def test_a_gif_and_script_at_once_loses_its_tail() -> None:
    raw = saved("gif", comment=b"*/=1;alert(1)//") + b"*/=1;alert(document.domain)"
    assert b"alert" not in without_metadata(raw)
    assert pixels(without_metadata(raw)) == pixels(raw)


def test_a_second_image_behind_a_jpeg_goes() -> None:
    first, second = saved("jpeg"), saved("jpeg", noise(99, 99))
    index = struct.pack(">BBH", 0xFF, 0xE2, 2 + 12) + b"MPF\0Canary.."
    raw = first[:2] + index + first[2:] + second
    assert without_metadata(raw) == first


def test_the_marker_of_adobe_stays() -> None:
    raw = saved("jpeg", noise(32, 32).convert("CMYK"))
    assert b"Adobe" in without_metadata(raw + b"tail")
    assert pixels(without_metadata(raw + b"tail")) == pixels(raw)


def test_a_webp_says_what_is_left_in_it() -> None:
    clean = without_metadata(tagged("webp"))
    assert clean[:4] == b"RIFF"
    assert struct.unpack("<I", clean[4:8])[0] == len(clean) - 8
    assert clean[20] & 0x0C == 0
    assert without_metadata(tagged("webp", 6))[20] & 0x0C == 0x08


def test_metadata_of_an_avif_that_overlaps_pixels_is_refused() -> None:
    raw = tagged("avif")
    at = raw.index(b"iloc") + 8
    count = struct.unpack(">H", raw[at + 2 : at + 4])[0]
    entries = [raw[at + 4 + 14 * number : at + 18 + 14 * number] for number in range(count)]
    forged = b"".join(entry[:6] + entries[0][6:] for entry in entries)
    assert "overlaps" in reason(raw[: at + 4] + forged + raw[at + 4 + 14 * count :])


# Refusals


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("made", [saved, tagged, animated])
def test_an_image_that_is_cut_short_is_refused(format_: str, made) -> None:
    raw = animated("png") if made is animated and format_ == "jpeg" else made(format_)
    step = max(1, len(raw) // 400)
    for length in [*range(0, len(raw) - 1, step), len(raw) - 1]:
        with pytest.raises(NotAnImage):
            inspect(raw[:length])


@pytest.mark.parametrize(
    "raw",
    [b"", b"SECRET_KEY=abc\nDB=postgres://u:p@h/d\n", b"<!DOCTYPE html><html><body>x</body></html>", b"<html/>",
     b"%PDF-1.7\n1 0 obj\n", b"PK\x03\x04" + bytes(80), b"\x7fELF" + bytes(80), b"MZ" + bytes(80), b"root:x:0:0:",
     b"-----BEGIN PRIVATE KEY-----\nMIIE\n", b"BM" + bytes(80), b"II*\0" + bytes(80), b"\x1f\x8b\x08" + bytes(80),
     b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"\0\0\0\x14ftypavif\0\0\0\0avif",
     b"\0\0\0\x18ftypheic\0\0\0\0heicmif1", b"GIF89a/*" + b"A" * 90, b"<?xml version='1.0'?><plist/>", b"\xff\xfe<\0",
     b"{}", b"\0" * 4096, "тайна".encode()],
)  # fmt: skip
def test_what_is_no_image_is_refused(raw: bytes) -> None:
    text = reason(raw)
    assert text == text.strip()
    assert text.isprintable()
    assert "secret" not in text.lower()


def test_a_bomb_is_refused_from_its_header() -> None:
    raw = bomb()
    start = time.perf_counter()
    assert "pixels" in reason(raw)
    assert time.perf_counter() - start < 0.05


def claiming(format_: str, width: int, height: int) -> bytes:
    """Save a small picture and let its header claim another size, in each place where its format says one."""
    how = {"webp-lossless": {"lossless": True}, "webp-extended": {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}}
    form = format_.partition("-")[0]
    file = io.BytesIO()
    PIL.Image.new("RGB", (24, 16), "teal").save(file, form, **how.get(format_, {}))
    raw = bytearray(file.getvalue())
    if form == "jpeg":
        at = raw.index(b"\xff\xc0")
        raw[at + 5 : at + 9] = struct.pack(">HH", height, width)
    elif form == "gif":
        at = raw.index(b",", 13)
        raw[6:10] = raw[at + 5 : at + 9] = struct.pack("<HH", width, height)
    elif form == "avif":
        at = raw.index(b"ispe") + 8
        raw[at : at + 8] = struct.pack(">II", width, height)
    elif format_ == "webp-lossless":
        at = raw.index(b"VP8L") + 9
        raw[at : at + 4] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    else:
        at = raw.index(b"VP8 ") + 14
        raw[at : at + 4] = struct.pack("<HH", width, height)
        if format_ == "webp-extended":
            at = raw.index(b"VP8X") + 12
            raw[at : at + 6] = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return bytes(raw)


@pytest.mark.parametrize("format_", ["jpeg", "gif", "avif", "webp", "webp-lossless", "webp-extended"])
def test_a_bomb_of_any_format_is_refused_from_its_header(format_: str) -> None:
    assert inspect(claiming(format_, 24, 16)).width == 24
    text = reason(claiming(format_, 16_000, 12_000))
    assert "192 megapixels (16000 x 12000)" in text


@pytest.mark.parametrize("place", [13, 24])
def test_a_frame_that_is_larger_than_its_gif_is_no_bomb_either(place: int) -> None:
    """What decodes it would make room for the frame, whatever the screen's size."""
    raw = bytearray(claiming("gif", 24, 16))
    at = raw.index(b",", 13)
    raw[at + 5 : at + 9] = struct.pack("<HH", 65_535, 65_535)
    assert reason(bytes(raw))


@pytest.mark.parametrize("depth", [3, 9])
def test_a_drawing_that_unfolds_is_refused(depth: int) -> None:
    """Entities of entities: gigabytes from a few lines."""
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x"}">' for n in range(depth + 1))
    raw = f'<!DOCTYPE svg [{entities}]><svg xmlns="http://www.w3.org/2000/svg"><text>&e{depth};</text></svg>'
    assert reason(raw.encode())


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (2**31, 2**31), (10_000, 5_001)])
def test_a_size_that_cannot_be_is_refused(width: int, height: int) -> None:
    reason(bomb(width, height))


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(NotAnImage, match="bytes"):
        read(tmp_path, "x.png")


@pytest.mark.parametrize("place", [17, 29, 40])
def test_a_png_with_a_damaged_chunk_is_refused(place: int) -> None:
    raw = bytearray(saved("png", noise(9, 9).convert("P")))
    raw[place] ^= 4
    reason(bytes(raw))


def test_an_unknown_critical_chunk_is_refused() -> None:
    raw = saved("png")
    reason(raw[:33] + chunk(b"CgBI", b"\0\0\0\0") + raw[33:])
    reason(raw[:8] + chunk(b"CgBI", b"\0\0\0\0") + raw[8:])
    reason(raw[:33] + raw[8:33] + raw[33:])


@pytest.mark.parametrize(
    ("format_", "place", "text"),
    [("jpeg", 20, b"secret text"), ("jpeg", 20, b"\xfe\xda\0\x0c"), ("gif", -1, b"secret"), ("gif", -1, b"\0\1")],
)
def test_bytes_between_the_parts_of_an_image_keep_it_where_browsers_show_it(
    format_: str, place: int, text: bytes
) -> None:
    raw = saved(format_)
    with pytest.raises(NotAnImage, match="bytes between its") as caught:
        inspect(raw[:place] + text + raw[place:])
    assert caught.value.is_harmless
    assert caught.value.remedy == "save it anew"


# Drawings

HARMLESS = {
    "plain": "<rect width='1' height='1' fill='url(#g)'/>",
    "link inside": "<use xlink:href='#a'/><use href='#a'/><a href='#x'><g/></a>",
    "picture inside": "<image href='data:image/png;base64,AAAA'/>",
    "drawing inside": "<image href='data:image/svg+xml;base64,AAAA'/>",
    "style": "<style>.a{fill:url(#b);stroke:red} /* url(https://e.com) */</style>",
    "font inside": "<style>@font-face{src:url('data:font/woff2;base64,AA') format('woff2')}</style>",
    "entities": "<text>&amp;&lt;&#65;</text>",
    "title": "<title>javascript: the good parts, on line</title><desc>url(http://x)</desc>",
    "metadata": "<metadata xmlns:r='urn:r'><r:license r:resource='https://creativecommons.org/'/></metadata>",
    "CDATA": "<style><![CDATA[.a > .b{fill:red}]]></style>",
    "animation": "<animate attributeName='opacity' values='0;1' dur='1s'/>",
    "transform": "<g transform='translate(1,2) rotate(3)' style='mask:url(\"#m\")'/>",
    "id like a function": "<g id='image(1)'/><use href='#image(1)'/>",
    "label like a link": "<g aria-label='opens javascript: the good parts, url(x)'/>",
    "data like CSS": "<g data-name='url(x)' class='src(y)'/>",
    "text like CSS": "<text lang='en'>@import url(https://example.com)</text>",
    "editor's note like CSS": "<g xmlns:e='urn:editor' e:style='url(x)' e:href='x'/>",
    "string like a function": "<style>.a::before{content:'url(https://example.com)'}</style>",
    "empty ping": "<a href='#x' ping=' '><g/></a>",
    "comment like a string": "<style>/* it's */ .a{fill:url(#b)} /* isn't */</style>",
}
HOSTILE = {
    "script": "<script>alert(1)</script>",
    "script elsewhere": "<s:script xmlns:s='http://www.w3.org/2000/svg'>alert(1)</s:script>",
    "script by link": "<script href='#x'/>",
    "html script": "<h:script xmlns:h='http://www.w3.org/1999/xhtml'>alert(1)</h:script>",
    "html image": "<h:img xmlns:h='http://www.w3.org/1999/xhtml' src='data:image/png,x'/>",
    "iframe": "<iframe/>",
    "load": "<g onload='alert(1)'/>",
    "click": "<rect ONCLICK='alert(1)'/>",
    "begin": "<animate onbegin='alert(1)' attributeName='x'/>",
    "foreignObject": "<foreignObject><p/></foreignObject>",
    "foreignObject in capitals": "<FOREIGNOBJECT/>",
    "remote image": "<image href='https://example.com/x.png'/>",
    "relative image": "<image xlink:href='../secret.png'/>",
    "file": "<image href='file:///etc/passwd'/>",
    "protocol-relative": "<use href='//example.com/x.svg#a'/>",
    "remote use": "<use xlink:href='x.svg#a'/>",
    "drawing used": "<use href='data:image/svg+xml,x#a'/>",
    "javascript link": "<a href='javascript:alert(1)'><g/></a>",
    "javascript with a tab": "<a href='java&#9;script:alert(1)'><g/></a>",
    "javascript by entity": "<a xlink:href='&#106;avascript:alert(1)'><g/></a>",
    "html data": "<a href='data:text/html,hi'><g/></a>",
    "link": "<a href='https://example.com'><g/></a>",
    "animated link": "<a><animate attributeName='href' values='javascript:alert(1)'/></a>",
    "set link": "<a><set attributeName='xlink:href' to='https://example.com'/></a>",
    "ping": "<a href='#x' ping='https://example.com/'><g/></a>",
    "ping of a page": "<a xlink:href='#x' PING='told'><g/></a>",
    "style in a style": "<style><style/>@import 'https://example.com/x.css';</style>",
    "group in a style": "<style>.a{}<g/>@import url(https://example.com/x.css)</style>",
    "set event": "<set attributeName='onclick' to='alert(1)'/>",
    "import": "<style>@import 'https://example.com/x.css';</style>",
    "escaped import": r"<style>@\69mport 'https://example.com/x.css';</style>",
    "style url": "<style>.a{background:url(https://example.com/x)}</style>",
    "style url in CDATA": "<style><![CDATA[.a{fill:url(//e.com)}]]></style>",
    "escaped url": r"<g style='fill:u\72l(https://example.com/x)'/>",
    "image-set": "<g style='background:image-set(\"https://e.com/x\" 1x)'/>",
    "attribute url": "<g fill='url(https://example.com/x.svg#a)'/>",
    "html by url": "<g style='fill:url(data:text/html,x)'/>",
    "source": "<g src='https://example.com/x.js'/>",
    "base": "<g xml:base='https://example.com/'><use href='#a'/></g>",
    "comment in a string": "<style>.a{content:'/*';fill:url(https://example.com/x)} .b{content:'*/'}</style>",
    "comment in an address": "<style>.a{fill:url(#a/*)} .b{fill:url(https://example.com/x)} /* */</style>",
    "comment before an address": "<style>.a{fill:url(/**/#a)}</style>",
    "element in a style": "<style>.a{fill:u<g/>rl(https://example.com/x)}</style>",
    "title in a style": "<style>.a{}<title>x</title></style>",
    "line end after an escape": "<g style='fill:u\\72&#13;&#10;l(https://example.com/x)'/>",
    "tab after an escape": "<g style='fill:u\\000072&#9;l(https://example.com/x)'/>",
    "no-break space before a fragment": "<g style='fill:url(&#160;#a)'/>",
    "wide space before a fragment": "<use href='&#x3000;#a'/>",
    "string cut by a line end": "<style>.a{content:'x\n;fill:url(https://example.com/x)}</style>",
    "function in capitals": "<g style='fill:URL(https://example.com/x)'/>",
    "handler": "<handler xmlns:ev='http://www.w3.org/2001/xml-events'>alert(1)</handler>",
    "unknown entity": "<text>&nbsp;</text>",
    "unclosed": "<g>",
    "lone ampersand": "<text>a & b</text>",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_drawing_is_taken(name: str) -> None:
    facts = Facts("image/svg+xml", 8, 4, has_metadata=name == "metadata")
    assert inspect(SVG.format(HARMLESS[name]).encode()) == facts


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_drawing_is_refused(name: str) -> None:
    assert "SVG" in reason(SVG.format(HOSTILE[name]).encode())


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + SVG.format("<text>&x;</text>"),
        f'<!DOCTYPE svg [<!ENTITY l0 "lol">{LAUGHS}]>' + SVG.format("<text>&l9;</text>"),
        '<!DOCTYPE svg [<!ENTITY % p SYSTEM "http://example.com/x.dtd"> %p;]>' + SVG.format(""),
        '<!DOCTYPE svg [<!ATTLIST svg onload CDATA "alert(1)">]>' + SVG.format(""),
        # What a declaration adds is not among the bytes that metadata is taken out of.
        '<!DOCTYPE svg [<!ATTLIST svg id CDATA "made by somebody">]>' + SVG.format(""),
        '<!DOCTYPE svg SYSTEM "x.dtd">' + SVG.format("<text>&x;</text>"),
        '<?xml-stylesheet href="https://example.com/x.css"?>' + SVG.format(""),
        '<?xml version="1.0" encoding="utf-7"?>' + SVG.format(""),
        "<html>" + SVG.format("") + "</html>",
        SVG.format("") + "<script>alert(1)</script>",
        SVG.format("") + "secret",
        "secret" + SVG.format(""),
        '<svg onload="alert(1)"/>',
        '<x:svg xmlns:x="http://www.w3.org/1999/xhtml"/>',
    ],
)
def test_a_hostile_document_is_refused(text: str) -> None:
    start = time.perf_counter()
    reason(text.encode())
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ("width='10' height='20'", (10, 20)),
        ("width='10px' height='20.4px' viewBox='0 0 1 1'", (10, 20)),
        ("width='72pt' height='1in'", (96, 96)),
        ("viewBox='0 0 30 15'", (None, None)),
        ("viewBox='0,0,30,15' width='60'", (60, 30)),
        ("viewBox='0 0 30 15' height='60'", (120, 60)),
        ("width='100%' height='100%' viewBox='-5 -5 30.2 15'", (None, None)),
        ("width='100%' height='30' viewBox='-5 -5 30.2 15'", (60, 30)),
        ("width='460.79999999999998pt' height='345.6pt'", (614, 461)),
        ("width='1e9' height='1e9'", (None, None)),
        ("width='x' height='-5' viewBox='nan inf 1 0'", (None, None)),
        ("", (None, None)),
    ],
)
def test_the_size_of_a_drawing(attributes: str, size: tuple[int | None, int | None]) -> None:
    facts = inspect(f"<svg xmlns='http://www.w3.org/2000/svg' {attributes}/>".encode())
    assert (facts.width, facts.height) == size


def test_a_drawing_that_is_too_long_is_refused() -> None:
    assert "10,000,000 bytes" in reason(SVG.format("<g/>" * 2_500_000).encode())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_drawing_may_be_in_any_unicode_encoding(encoding: str) -> None:
    declaration = f'<?xml version="1.0" encoding="{encoding[:6].removesuffix("-")}"?>\n<!-- größe -->\n'
    document = '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">'
    assert inspect((declaration + document + SVG.format("")).encode(encoding)).width == 8
    reason((declaration + SVG.format("<script/>")).encode(encoding))


# Any bytes at all


SEEDS = [
    *(saved(format_) for format_ in FORMATS),
    *(tagged(format_, 6) for format_ in FORMATS),
    *(animated(format_) for format_ in ("png", "gif", "webp", "avif")),
    *(SVG.format(body).encode() for body in HARMLESS.values()),
    saved("jpeg", progressive=True, restart_marker_blocks=1),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Give a valid image with some of its bytes replaced, removed, doubled or cut off."""
    raw = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 6))):
        # Most structure is near the beginning.
        at = draw(st.integers(0, min(len(raw), draw(st.sampled_from([40, 400, len(raw)])))))
        length = draw(st.integers(0, 40))
        kind = draw(st.sampled_from(["replace", "insert", "remove", "double", "cut"]))
        if kind in {"replace", "insert"}:
            new = draw(st.binary(max_size=8) | st.sampled_from([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"]))
            raw[at : at + (len(new) if kind == "replace" else 0)] = new
        elif kind == "remove":
            del raw[at : at + length]
        elif kind == "double":
            raw[at:at] = raw[at : at + length]
        else:
            del raw[at:]
    return bytes(raw)


def judge(raw: bytes) -> None:
    """Check all that holds for any bytes."""
    assert dimensions(raw) is None or len(dimensions(raw) or ()) == 2
    try:
        facts = inspect(raw)
    except NotAnImage as verdict:
        text = str(verdict)
    else:
        text = ""
        hold(raw, facts)
    assert text.isprintable()


def hold(raw: bytes, facts: Facts) -> None:
    """Check all that holds for an image."""
    clean = b"".join(stripped(raw, facts))
    assert (clean != raw) == facts.has_metadata
    again = inspect(clean)
    assert not again.has_metadata
    assert (again.media_type, again.width, again.height, again.is_animated) == (
        facts.media_type,
        facts.width,
        facts.height,
        facts.is_animated,
    )
    assert inspect(Window(io.BytesIO(raw), len(raw))) == facts
    if facts.media_type != "image/svg+xml":
        assert dimensions(raw) == (facts.width, facts.height)


@settings(max_examples=900, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated())
def test_any_mutation_gives_facts_or_a_verdict(raw: bytes) -> None:
    judge(raw)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\x40\0\0\0WEBPVP8X", b"<svg ",
                     b"\0\0\0\x14ftypavif\0\0\0\0avif", b"\0\0\0\x14ftypavif\0\0\0\0avif\0\0\0\x40meta\0\0\0\0"]),
    st.binary(max_size=200),
)  # fmt: skip
def test_any_bytes_give_facts_or_a_verdict(head: bytes, rest: bytes) -> None:
    judge(head + rest)


@given(st.binary(max_size=60))
def test_any_exif_gives_an_orientation(raw: bytes) -> None:
    assert 1 <= read_exif(raw).turn <= 8
    assert 1 <= read_exif(b"II*\0\x08\0\0\0" + raw).turn <= 8


@pytest.mark.parametrize("value", range(1, 9))
def test_the_shortest_exif_is_read_back(value: int) -> None:
    assert read_exif(write_exif(Exif(value), is_dense=False)) == Exif(value)


def grown(kind: str, length: int) -> bytes:
    """Write a hostile file of about so many bytes."""
    png, jpeg, gif, webp, avif = (saved(format_) for format_ in FORMATS)
    return {
        "empty chunks": lambda: png[:33] + chunk(b"IDAT", b"") * (length // 12) + png[33:],
        "segments": lambda: jpeg[:2] + b"\xff\xfe\0\x02" * (length // 4) + jpeg[2:],
        "fill": lambda: jpeg[:2] + b"\xff" * length + jpeg[2:],
        "markers in a scan": lambda: jpeg[:-2] + b"\xff\xd0" * (length // 2) + jpeg[-2:],
        "sub-blocks": lambda: gif[:-2] + b"\x01A" * (length // 2) + gif[-2:],
        "extensions": lambda: gif[:-1] + b"\x21\xfe\0" * (length // 3) + gif[-1:],
        "webp chunks": lambda: (
            webp[:4] + struct.pack("<I", len(webp) - 8 + length // 8 * 8) + webp[8:] + b"abcd\0\0\0\0" * (length // 8)
        ),
        "boxes": lambda: avif + b"\0\0\0\x08free" * (length // 8),
        "elements": lambda: SVG.format("<g/>" * (length // 4)).encode(),
        "depth": lambda: SVG.format("<g>" * (length // 7) + "</g>" * (length // 7)).encode(),
        "attribute": lambda: SVG.format(f"<g d='{'url( ' * (length // 5)}'/>").encode(),
        "escapes": lambda: SVG.format("<style>" + "\\" * length + "</style>").encode(),
        "comments": lambda: SVG.format("<style>" + "/*" * (length // 2) + "</style>").encode(),
    }[kind]()


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "kind",
    ["empty chunks", "segments", "fill", "markers in a scan", "sub-blocks", "extensions", "webp chunks", "boxes",
     "elements", "depth", "attribute", "escapes", "comments"],
)  # fmt: skip
def test_the_work_is_linear_and_bounded(kind: str) -> None:
    def seconds(length: int) -> float:
        raw = grown(kind, length)
        start = time.process_time()
        with suppress(NotAnImage):
            inspect(raw)
        return time.process_time() - start

    assert seconds(1_000_000) < 2
    # Four times the length takes four times as long, and sixteen times if the work is quadratic.
    short = min(seconds(100_000) for _ in range(3))
    assert min(seconds(400_000) for _ in range(2)) < max(8 * short, 0.05)


# Reading


def test_an_image_is_read_with_its_digest(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "ä b.txt").write_bytes(saved("png"))
    image = read(tmp_path, "a/ä b.txt")
    assert (image.path, image.facts.media_type, image.bytes) == ("a/ä b.txt", "image/png", len(saved("png")))
    assert image.sha256 == hashlib.sha256(saved("png")).hexdigest()


def test_a_long_image_is_read_alike(tmp_path: Path) -> None:
    raw = large_png(3_000_000)
    (tmp_path / "x.png").write_bytes(raw)
    image = read(tmp_path, "x.png")
    assert image.facts == inspect(raw)
    assert image.sha256 == hashlib.sha256(raw).hexdigest()
    assert image.bytes == len(raw)


def test_a_secret_named_as_an_image_is_not_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"TOKEN=abc\n")
    with pytest.raises(NotAnImage):
        read(tmp_path, "a.png")
    with pytest.raises(PermissionError):
        read(tmp_path, "../a.png")


def test_the_beginning_of_a_file_gives_its_size() -> None:
    for format_ in FORMATS:
        raw = saved(format_, noise(61, 37))
        assert dimensions(raw[:1000]) == (61, 37)
        assert dimensions(raw[:5]) is None
    assert dimensions(b"<html>") is None
    assert dimensions(b"") is None


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys, imghost.image.inspect; print([n for n in ('PIL', 'httpx', 'pyexpat', 'xml') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"


# Real sites


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("IMGHOST_CORPORA")
    if not named:
        pytest.skip("IMGHOST_CORPORA names no folder of real sites")
    folder = Path(named)
    archives = sorted(folder.glob("*.tar.xz"))
    if not archives:
        return folder
    unpacked = tmp_path_factory.mktemp("corpora")
    for archive in archives:
        with tarfile.open(archive) as packed:
            wanted = [member for member in packed if member.isfile() and is_raster(member.name)]
            packed.extractall(unpacked / archive.name, wanted, filter="data")
    return unpacked


def is_raster(name: str) -> bool:
    return name.lower().endswith((".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif"))


def opened(folder: Path) -> Iterator[tuple[Path, bytes, PIL.Image.Image]]:
    for path in sorted(folder.rglob("*")):
        if not is_raster(path.name) or not path.is_file():
            continue
        raw = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                picture = PIL.Image.open(io.BytesIO(raw))
                picture.load()
            except OSError:
                continue
        yield path, raw, picture


def test_every_image_of_real_sites_is_taken_and_keeps_its_pixels(corpora: Path) -> None:
    count = 0
    for path, raw, picture in opened(corpora):
        facts = inspect(raw)
        clean = b"".join(stripped(raw, facts))
        with PIL.Image.open(io.BytesIO(clean)) as after:
            shown = PIL.ImageOps.exif_transpose(picture) if facts.media_type == "image/jpeg" else picture
            assert (facts.width, facts.height) == shown.size, path
            assert after.tobytes() == picture.tobytes(), path
        count += 1
    assert count
