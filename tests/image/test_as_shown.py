"""An image is shown as Chromium shows it, and made smaller so that nobody sees it: turn, size, colours, motion, words."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path

import PIL.Image
import PIL.ImageChops
import PIL.ImageOps
import PIL.PngImagePlugin
import pytest
from pictures import XMP, chunk, noise, pixels, position, profile, saved

from imghost.image import avif
from imghost.image.inspect import NotAnImage, inspect, outline, stripped
from imghost.image.payload import PayloadError, Wanted, prepare, remade
from imghost.models import Image


def lean(raw: bytes) -> bytes:
    return b"".join(stripped(raw, inspect(raw)))


def smaller(raw: bytes, edge: int = 40) -> bytes:
    """Make a picture smaller, of what is left of it without metadata."""
    raw = lean(raw)
    made = remade(raw, outline(raw), Wanted(edge=edge))
    assert made is not None
    return made[1]


def opened(raw: bytes) -> PIL.Image.Image:
    picture = PIL.Image.open(io.BytesIO(raw))
    picture.load()
    return picture


def with_chunks(raw: bytes, *more: bytes) -> bytes:
    """Put chunks behind a PNG's header."""
    return raw[:33] + b"".join(more) + raw[33:]


# Which way up (I3)

QUARTERS = {(0, 0): "red", (1, 0): "lime", (0, 1): "blue", (1, 1): "white"}


def quarters() -> PIL.Image.Image:
    """Draw a picture, wider than high, whose corners tell how it was turned; grain makes it worth its bytes."""
    picture = PIL.Image.new("RGB", (96, 64))
    for (x, y), colour in QUARTERS.items():
        picture.paste(colour, (48 * x, 32 * y, 48 * x + 48, 32 * y + 32))
    return PIL.Image.blend(picture, noise(96, 64), 0.2)


def corners(picture: PIL.Image.Image) -> list[tuple[int, ...]]:
    """Say of each corner which colour it has, as far as a lossy picture tells."""
    picture = picture.convert("RGB")
    wide, high = picture.size
    places = [(x * wide // 8, y * high // 8) for y in (1, 7) for x in (1, 7)]
    return [tuple(255 * (band > 127) for band in picture.getpixel(place)) for place in places]  # type: ignore[union-attr]


def xmp(turn: int) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{turn}"/></rdf:RDF></x:xmpmeta>'
    ).encode()


def raw_profile(turn: int) -> bytes:
    """Write EXIF as ImageMagick puts it into a PNG's text."""
    exif = position(turn)
    text = f"\nexif\n{len(exif):8}\n{exif.hex()}\n".encode()
    return chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))


def of_avif(turn: int) -> bytes:
    """Pillow writes an orientation as `irot` and `imir`, which are what browsers obey."""
    return saved("avif", quarters(), quality=95, exif=position(turn))


def exif_of_avif(turn: int) -> bytes:
    """An item of EXIF alone, which browsers pass over; Pillow would write what they obey, so the tag is named later."""
    exif = PIL.Image.Exif()
    exif[0x0113] = turn
    raw = saved("avif", quarters(), quality=95, exif=exif.tobytes())
    tag = struct.pack("<HHI", 0x0113, 3, 1) if tag_order(raw) == "<" else struct.pack(">HHI", 0x0113, 3, 1)
    assert raw.count(tag) == 1
    return raw.replace(tag, struct.pack(tag_order(raw) + "HHI", 0x0112, 3, 1))


def tag_order(raw: bytes) -> str:
    return "<" if b"II*\0" in raw else ">"


OBEYED = {
    "EXIF in JPEG": lambda turn: saved("jpeg", quarters(), quality=95, exif=position(turn)),
    "eXIf in PNG": lambda turn: saved("png", quarters(), exif=position(turn)),
    "irot and imir in AVIF": of_avif,
}
IGNORED = {
    "XMP in JPEG": lambda turn: saved("jpeg", quarters(), quality=95, xmp=xmp(turn)),
    "XMP in PNG": lambda turn: with_chunks(
        saved("png", quarters()), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(turn))
    ),
    "raw profile in PNG": lambda turn: with_chunks(saved("png", quarters()), raw_profile(turn)),
    "EXIF in WebP": lambda turn: saved("webp", quarters(), lossless=True, exif=position(turn)),
    "XMP in WebP": lambda turn: saved("webp", quarters(), lossless=True, xmp=xmp(turn)),
    "XMP in AVIF": lambda turn: saved("avif", quarters(), quality=95, xmp=xmp(turn)),
    "EXIF in AVIF": exif_of_avif,
}


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("how", [*OBEYED, *IGNORED])
def test_a_picture_is_turned_by_what_browsers_obey_and_by_nothing_else(how: str, turn: int) -> None:
    raw = (OBEYED | IGNORED)[how](turn)
    exif = PIL.Image.Exif()
    exif[0x0112] = turn if how in OBEYED else 1
    wanted = quarters()
    wanted.info["exif"] = exif.tobytes()
    wanted = PIL.ImageOps.exif_transpose(wanted)
    facts = inspect(raw)
    assert (facts.width, facts.height) == wanted.size
    assert (inspect(lean(raw)).width, inspect(lean(raw)).height) == wanted.size
    small = smaller(raw, 48)
    assert outline(small).shown.turn == 1
    assert opened(small).size == (wanted.width // 2, wanted.height // 2)
    assert corners(opened(small)) == corners(wanted)


# Pixels and bytes (I4)


def board(size: tuple[int, int] = (800, 600)) -> PIL.Image.Image:
    return PIL.Image.radial_gradient("L").resize(size).point(lambda level: level // 16 * 16)


@pytest.mark.parametrize("mode", ["1", "L", "P", "4 bits", "LA"])
@pytest.mark.parametrize("edge", [790, 400, 90])
def test_a_picture_of_few_colours_never_has_more_bytes_than_before(mode: str, edge: int) -> None:
    picture = board()
    if mode == "4 bits":
        raw = saved("png", picture.quantize(16), bits=4, optimize=True)
    elif mode == "P":
        raw = saved("png", picture.convert("RGB").quantize(64), optimize=True)
    else:
        raw = saved("png", picture.convert(mode), optimize=True)
    made = remade(raw, outline(raw), Wanted(edge=edge))
    if made is None:
        return  # the file itself is better
    assert len(made[1]) < len(raw)
    assert opened(made[1]).size == (edge, round(edge * 600 / 800))
    assert opened(made[1]).mode in ({"1", "L", "P"} if mode in {"1", "L"} else {"P", "L", "LA", "RGB"})


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "gif"])
def test_what_would_be_longer_stays_the_file_itself(name: str, tmp_path: Path) -> None:
    """A file at its own smallest: one pixel less gains nothing that a filter does not cost."""
    picture = PIL.Image.new("1", (64, 64))
    picture.putdata([(x // 2 + y // 2) % 2 * 255 for y in range(64) for x in range(64)])
    options = {"png": {"optimize": True}, "jpeg": {"quality": 5}, "webp": {"lossless": True}, "gif": {}}[name]
    raw = saved(name, picture.convert("L") if name == "jpeg" else picture, **options)
    image = Image("a", hashlib.sha256(raw).hexdigest(), len(raw), inspect(raw))
    assert prepare(image, io.BytesIO(raw), "edge63", tmp_path).bytes <= len(raw)


# Colours (I5)


def colour(name: bytes) -> bytes:
    return {
        b"gAMA": struct.pack(">I", 100_000),
        b"cHRM": struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
        b"cICP": bytes((12, 16, 0, 1)),
        b"sRGB": b"\0",
        b"iCCP": b"p\0\0" + zlib.compress(profile()),
        b"mDCV": bytes(24),
        b"cLLI": bytes(8),
    }[name]


@pytest.mark.parametrize(
    "names", [[b"gAMA"], [b"gAMA", b"cHRM"], [b"cICP"], [b"iCCP"], [b"sRGB"], [b"cICP", b"mDCV", b"cLLI"]]
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_what_decides_the_colours_of_a_png_travels(names: list[bytes], mode: str) -> None:
    told = [chunk(name, colour(name)) for name in names]
    raw = with_chunks(saved("png", noise(96, 64).quantize(32) if mode == "P" else noise(96, 64, mode)), *told)
    sent = smaller(raw)
    for one in told:
        assert sent.index(one) < sent.index(b"IDAT")
        assert "PLTE" not in str(sent[: sent.index(one)])  # they come before a palette
    made = remade(raw, outline(raw), Wanted(media_type="image/webp"))
    if b"gAMA" in names or b"mDCV" in names or b"cICP" in names:
        assert made is None  # which WebP has no words for


def keyed(depth: int, colour_type: int, key: bytes, rows: bytes, width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = chunk(b"tRNS", key) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(("colour_type", "depth"), [*((0, depth) for depth in (1, 2, 4, 8, 16)), (2, 8), (2, 16)])
def test_the_one_transparent_colour_of_a_png_stays_transparent(depth: int, colour_type: int) -> None:
    """The left half has it, the right half another one; of sixteen bits all count, of which the upper are equal."""
    bands = 1 if colour_type == 0 else 3
    clear, other = (1, 0) if depth == 1 else (2, 3) if depth < 16 else (0x1234, 0x1235)
    size = 64
    row = b"\0"
    if depth == 16:
        row += struct.pack(f">{size * bands}H", *[clear] * (size * bands // 2), *[other] * (size * bands // 2))
    elif depth == 8:
        row += bytes([clear] * (size * bands // 2) + [other] * (size * bands // 2))
    else:
        values = [clear] * (size // 2) + [other] * (size // 2)
        each = 8 // depth
        row += bytes(
            sum(value << (8 - depth * (at + 1)) for at, value in enumerate(values[start : start + each]))
            for start in range(0, size, each)
        )
    raw = keyed(depth, colour_type, struct.pack(f">{bands}H", *[clear] * bands), row * size, size, size)
    sent = remade(raw, outline(raw), Wanted(edge=16))
    alpha = opened(sent[1] if sent else raw).convert("RGBA").getchannel("A")
    wide = alpha.width
    assert alpha.getpixel((wide // 8, 4)) == 0
    assert alpha.getpixel((wide - wide // 8, 4)) == 255


@pytest.mark.parametrize("codes", [(9, 14), (12, 13), (1, 8)])
def test_the_colour_codes_of_an_avif_travel(codes: tuple[int, int]) -> None:
    raw = avif.with_codes(saved("avif", noise(96, 64), quality=90), codes)
    assert avif.codes(raw) == codes
    assert avif.codes(smaller(raw)) == codes


@pytest.mark.parametrize("codes", [(9, 16), (9, 18), (12, 16)])
def test_an_avif_of_a_high_range_is_not_made_smaller_in_eight_bits(codes: tuple[int, int]) -> None:
    raw = avif.with_codes(saved("avif", noise(96, 64), quality=90), codes)
    assert remade(raw, outline(raw), Wanted(edge=40)) is None


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_a_profile_travels(name: str) -> None:
    raw = saved(name, noise(96, 64), icc_profile=profile())
    assert opened(smaller(raw)).info["icc_profile"] == profile()


# The size that a photograph says it has (I8)


def dense(width: int, height: int, across: int, down: int, turn: int = 1) -> bytes:
    """Write EXIF by which a picture is shown at another size than its pixels' count."""
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x011B], exif[0x0128] = turn, across, down, 2
    ifd = exif.get_ifd(0x8769)
    ifd[0xA002], ifd[0xA003] = width, height
    return exif.tobytes()


@pytest.mark.parametrize(
    ("exif", "natural"),
    [
        (dense(48, 32, 144, 144), (48, 32)),
        (dense(32, 16, 216, 288), (32, 16)),
        (dense(48, 32, 144, 144, turn=6), (32, 48)),
        (dense(96, 64, 72, 72), None),
        (dense(50, 32, 144, 144), None),
    ],
)
def test_a_picture_keeps_the_size_by_its_density_without_metadata_and_made_smaller(
    exif: bytes, natural: tuple[int, int] | None
) -> None:
    raw = saved("jpeg", quarters(), exif=exif)
    facts = inspect(raw)
    assert facts.natural == natural
    assert inspect(lean(raw)).natural == natural
    small = inspect(smaller(raw, 60))
    assert max(small.width or 0, small.height or 0) == 60
    assert small.natural == natural


# Odd, and shown (I9, I11)


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body


def associated_twice(raw: bytes) -> bytes:
    """Say what belongs to an AVIF's items in two boxes, one in each version that there is."""
    at = raw.index(b"ipma") - 4
    length = int.from_bytes(raw[at : at + 4], "big")
    count = int.from_bytes(raw[at + 12 : at + 16], "big")
    rows, place = [], at + 16
    for _ in range(count):
        item, of_item = struct.unpack_from(">HB", raw, place)
        rows.append((item, raw[place + 2 : place + 3 + of_item]))
        place += 3 + of_item
    first = box(b"ipma", bytes(4) + struct.pack(">I", 1) + struct.pack(">H", rows[0][0]) + rows[0][1])
    rest = b"".join(struct.pack(">I", item) + row for item, row in rows[1:])
    second = box(b"ipma", b"\1\0\0\0" + struct.pack(">I", count - 1) + rest)
    return resized(raw, at, length, first + second)


def resized(raw: bytes, at: int, length: int, new: bytes) -> bytes:
    """Put other bytes into an AVIF's boxes, with every length and place around them made true."""
    delta = len(new) - length
    made = bytearray(raw[:at] + new + raw[at + length :])
    for name in (b"meta", b"iprp"):
        start = raw.index(name) - 4
        if start < at < start + int.from_bytes(raw[start : start + 4], "big"):
            made[start : start + 4] = (int.from_bytes(raw[start : start + 4], "big") + delta).to_bytes(4, "big")
    start = raw.index(b"iloc") + 4
    assert raw[start] == 0
    assert raw[start + 4 : start + 6] == b"\x44\0"
    count, place = int.from_bytes(raw[start + 6 : start + 8], "big"), start + 8
    for _ in range(count):
        extents = int.from_bytes(raw[place + 4 : place + 6], "big")
        for number in range(extents):
            spot = place + 6 + 8 * number
            made[spot : spot + 4] = (int.from_bytes(raw[spot : spot + 4], "big") + delta).to_bytes(4, "big")
        place += 6 + 8 * extents
    return bytes(made)


@pytest.mark.parametrize("turn", [1, 3, 6])
def test_an_avif_may_say_in_several_boxes_what_belongs_to_its_items(turn: int) -> None:
    plain = saved("avif", noise(96, 64, "RGBA"), exif=position(turn))
    raw = associated_twice(plain)
    assert opened(raw).tobytes() == opened(plain).tobytes()
    facts = inspect(raw)
    assert (facts.width, facts.height) == ((64, 96) if turn == 6 else (96, 64))
    sent = lean(raw)
    assert b"Canary" not in sent
    assert opened(sent).tobytes() == opened(raw).tobytes()


@pytest.mark.parametrize("told", [{"exif": position()}, {"xmp": XMP}, {"exif": position(), "xmp": XMP}])
@pytest.mark.parametrize("count", [2, 5])
def test_metadata_that_the_item_and_the_track_of_a_moving_avif_share_goes_once(
    told: dict[str, bytes], count: int
) -> None:
    frames = [noise(96, 64).rotate(90 * number) for number in range(count)]
    raw = saved("avif", frames[0], save_all=True, append_images=frames[1:], duration=80, **told)
    assert raw.count(b"meta") >= 2  # both name it
    assert b"Canary" in raw
    assert inspect(raw).is_animated
    sent = lean(raw)
    assert b"Canary" not in sent
    assert pixels(sent) == pixels(raw)


@pytest.mark.parametrize(("count", "is_late"), [(1, False), (0, False), (2, True)])
def test_a_png_that_would_move_and_does_not_is_a_still_picture(count: int, is_late: bool) -> None:
    """One frame alone moves nothing, and what is told after the pixels is told too late."""
    raw = saved("png", noise(96, 64))
    control = chunk(b"fcTL", struct.pack(">5I2H2B", 0, 96, 64, 0, 0, 1, 10, 0, 0))
    told = chunk(b"acTL", struct.pack(">II", count, 0)) + (control if count == 1 else b"")
    raw = raw[:-12] + told + raw[-12:] if is_late else with_chunks(raw, told)
    assert not inspect(raw).is_animated
    assert opened(smaller(raw)).size == (40, 27)


@pytest.mark.parametrize(("marker", "depth"), [(0xC1, 12), (0xC3, 8), (0xC0, 12), (0xC6, 8), (0xC2, 16)])
def test_a_jpeg_that_no_browser_shows_is_refused(marker: int, depth: int) -> None:
    raw = saved("jpeg", noise())
    at = raw.index(b"\xff\xc0")
    with pytest.raises(NotAnImage):
        inspect(raw[: at + 1] + bytes((marker,)) + raw[at + 2 : at + 4] + bytes((depth,)) + raw[at + 5 :])


@pytest.mark.parametrize("variant", ["edge40", "webp", "fit900"])
@pytest.mark.parametrize("kind", ["torn", "foreign", "odd profile"])
def test_what_is_wrong_with_a_file_is_told_without_paths_and_by_no_library(
    kind: str, variant: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = saved("png", noise(96, 64, "RGBA"))
    if kind == "torn":
        at = raw.index(b"IDAT")
        body = bytes(int.from_bytes(raw[at - 4 : at], "big"))
        raw = raw[: at - 4] + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    elif kind == "foreign":
        raw = with_chunks(raw, chunk(b"eXIf", b"II*\0" + bytes(range(40))))
    else:
        raw = with_chunks(raw, chunk(b"iCCP", b"p\0\0" + zlib.compress(b"not a profile")))
    image = Image("a.png", hashlib.sha256(raw).hexdigest(), len(raw), inspect(raw))
    told = ""
    try:
        prepare(image, io.BytesIO(raw), variant, tmp_path)
    except PayloadError as problem:
        told = str(problem)
    assert str(tmp_path) not in told
    assert " object at " not in told
    assert capfd.readouterr() == ("", "")


# Named for what they are (I10)


@pytest.mark.parametrize(
    ("head", "words", "is_harmless"),
    [
        (saved("bmp", noise()), ("BMP", "convert"), True),
        (saved("ico", noise(32, 32)), ("ICO", "convert"), True),
        (b"\0\0\2\0" + bytes(90), ("ICO", "convert"), True),
        (saved("tiff", noise()), ("TIFF", "convert"), False),
        (b"MM\0*" + bytes(90), ("TIFF", "convert"), False),
        (saved("jpeg2000", noise()), ("JPEG 2000", "convert"), False),
        (b"\xff\x4f\xff\x51" + bytes(90), ("JPEG 2000", "convert"), False),
        (b"\x1f\x8b\x08\0" + bytes(90), ("svgz", "convert"), True),
        (b"\0\0\0\x18ftypheic" + bytes(90), ("HEIC", "JPEG"), False),
        (b"\0\0\0\x18ftypmif1" + bytes(90), ("HEIC", "JPEG"), False),
        (b"\xff\x0a" + bytes(90), ("JPEG XL", "convert"), False),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(90), ("JPEG XL", "convert"), False),
        (b"8BPS\0\1" + bytes(90), ("Photoshop", "convert"), False),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n", ("git-lfs", "git lfs pull"), False),
        (saved("png", PIL.Image.new("1", (10_000, 10_000))), ("100 megapixels", "smaller"), False),
        (saved("gif", PIL.Image.new("1", (7_100, 7_100))), ("50.4 megapixels", "smaller"), False),
    ],
)
def test_a_file_is_called_by_its_format_and_what_helps_is_named(
    head: bytes, words: tuple[str, str], is_harmless: bool
) -> None:
    with pytest.raises(NotAnImage) as verdict:
        inspect(head)
    assert words[0] in str(verdict.value)
    assert words[1] in verdict.value.remedy
    assert verdict.value.is_harmless is is_harmless


# What moves (I12)


def moving(name: str, durations: list[int], loop: int, **options: object) -> bytes:
    first = noise(96, 64, "RGBA" if name != "gif" else "RGB")
    frames = [first.rotate(90 * number) for number in range(1, len(durations))]
    return saved(name, first, save_all=True, append_images=frames, duration=durations, loop=loop, **options)


@pytest.mark.parametrize("name", ["gif", "png", "webp"])
@pytest.mark.parametrize(
    ("durations", "loop"), [([100, 250, 40], 0), ([30, 30, 900, 60], 3), ([500, 20], 1), ([100, 100], 7)]
)
@pytest.mark.parametrize("disposal", [0, 1, 2])
def test_an_animation_is_resized_frame_by_frame(name: str, durations: list[int], loop: int, disposal: int) -> None:
    options = {} if name == "webp" else {"disposal": disposal if name == "gif" else min(disposal, 1)}
    options |= {"lossless": True} if name == "webp" else {}
    raw = moving(name, durations, loop, **options)
    with PIL.Image.open(io.BytesIO(raw)) as before, PIL.Image.open(io.BytesIO(smaller(raw, 48))) as after:
        assert after.size == (48, 32)
        assert after.n_frames == before.n_frames  # type: ignore[attr-defined]
        assert after.info.get("loop") == before.info.get("loop")
        for number in range(before.n_frames):  # type: ignore[attr-defined]
            before.seek(number)
            after.seek(number)
            pair = [frame.convert("RGBA").resize((12, 8)).convert("RGB") for frame in (before, after)]
            assert after.info["duration"] == before.info["duration"]
            difference = PIL.ImageChops.difference(*pair).histogram()
            assert sum(level % 256 * count for level, count in enumerate(difference)) / (3 * 96) < 30


@pytest.mark.parametrize("durations", [[0, 100], [100, 0, 50]])
def test_an_animation_whose_timing_would_change_stays_as_it_is(durations: list[int]) -> None:
    """Pillow and browsers take no time at all for different times."""
    raw = moving("png", durations, 0)
    assert remade(raw, outline(raw), Wanted(edge=48)) is None


# Drawings (I2, I13)


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ("viewBox='0 0 5525 1326' width='12.5ex' height='3ex'", (None, None)),
        ("viewBox='0 0 5525 1326' width='12.5ex'", (None, None)),
        ("viewBox='0 0 30 15' width='4em' height='2em'", (None, None)),
        ("viewBox='0 0 30 15' width='4rem' height='20'", (None, None)),
        ("viewBox='0 0 30 15' width='2ch'", (None, None)),
        ("viewBox='0 0 30 15' width='50vw' height='20'", (None, None)),
        ("width='40q' height='80Q'", (38, 76)),
        ("width='1cm' height='10mm'", (38, 38)),
        ("width='2pc' height='6pt'", (32, 8)),
        ("viewBox='0 0 30 15' width='auto' height='auto'", (None, None)),
        ("viewBox='0 0 30 15' width='auto' height='20'", (40, 20)),
        ("viewBox='0 0 30 15' width='60' preserveAspectRatio='none'", (None, None)),
        ("viewBox='0 0 30 15' height='60' preserveAspectRatio='none'", (None, None)),
        ("viewBox='0 0 30 15' width='60' height='60' preserveAspectRatio='none'", (60, 60)),
        ("viewBox='0 0 24 24'", (None, None)),
        ("viewBox='0 0 24 24' width='100%'", (None, None)),
    ],
)
def test_a_length_that_a_file_cannot_tell_is_no_size(attributes: str, size: tuple[int | None, int | None]) -> None:
    facts = inspect(f"<svg xmlns='http://www.w3.org/2000/svg' {attributes}/>".encode())
    assert (facts.width, facts.height) == size
