"""What is sent is decided from facts alone, and is a private copy of exactly the planned bytes."""

from __future__ import annotations

import gc
import hashlib
import io
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import PIL.Image
import PIL.ImageOps
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import CANARY, FORMATS, large_png, noise, pixels, profile, saved, tagged

from imghost.image.inspect import inspect
from imghost.image.payload import ChangedError, PayloadError, prepare
from imghost.models import MEDIA_TYPES, Facts, Image, Limits, Payload
from imghost.run.plan import Refusal, variant_of

ALL = Limits(frozenset(MEDIA_TYPES), max_bytes=1_000)


def image(facts: Facts, size: int = 500) -> Image:
    return Image("a.png", "0" * 64, size, facts)


def planned(raw: bytes) -> Image:
    return Image("a/b.png", hashlib.sha256(raw).hexdigest(), len(raw), inspect(raw))


def decided(subject: Image, limits: Limits = ALL, **settings: object) -> str | Refusal:
    chosen: dict[str, object] = {"metadata": "strip", "max_edge": None, "oversize": "keep"} | settings
    return variant_of(subject, limits, **chosen)  # type: ignore[arg-type]


def made(raw: bytes, variant: str, folder: Path) -> tuple[Payload, bytes]:
    payload = prepare(planned(raw), io.BytesIO(raw), variant, folder)
    assert list(folder.iterdir()) == [payload.file]
    sent = payload.file.read_bytes()
    assert payload.image == hashlib.sha256(raw).hexdigest()
    assert payload.sha256 == hashlib.sha256(sent).hexdigest()
    assert (payload.bytes, payload.variant) == (len(sent), variant)
    facts = inspect(sent)
    assert (payload.media_type, payload.width, payload.height) == (facts.media_type, facts.width, facts.height)
    return payload, sent


# Decisions

PLAIN = Facts("image/png", 100, 80)
TAGGED = Facts("image/jpeg", 100, 80, has_metadata=True)
MOVING = Facts("image/gif", 100, 80, is_animated=True)
DRAWING = Facts("image/svg+xml", 4_000, 3_000)


@pytest.mark.parametrize(
    ("subject", "chosen", "variant"),
    [
        (image(PLAIN), {}, ""),
        (image(TAGGED), {}, "strip"),
        (image(TAGGED), {"metadata": "keep"}, ""),
        (image(PLAIN), {"metadata": "refuse"}, ""),
        (image(PLAIN), {"max_edge": 100}, ""),
        (image(PLAIN), {"max_edge": 99}, "edge99"),
        (image(PLAIN, 1_001), {"oversize": "resize"}, "fit1000"),
        (image(PLAIN, 1_000), {"oversize": "keep"}, ""),
        (image(TAGGED, 2_000), {"oversize": "resize", "max_edge": 50}, "strip+edge50+fit1000"),
        (image(DRAWING), {"max_edge": 99}, ""),
        (image(MOVING), {"max_edge": 100}, ""),
        (image(MOVING), {"max_edge": 99}, "edge99"),
        (image(MOVING, 1_001), {"oversize": "resize"}, "fit1000"),
        (image(MOVING._replace(media_type="image/avif")), {"max_edge": 99}, ""),
        (image(PLAIN), {"format": "webp"}, "webp"),
        (image(PLAIN), {"format": "avif"}, "avif"),
        (image(TAGGED), {"format": "webp"}, "strip+webp80"),
        (image(TAGGED), {"format": "avif", "quality": 50, "max_edge": 64}, "strip+edge64+avif50"),
        (image(TAGGED), {"format": "webp", "metadata": "keep"}, ""),
        (image(TAGGED._replace(natural=(50, 40))), {"format": "webp"}, "strip"),
        (image(MOVING), {"format": "webp"}, ""),
        (image(DRAWING), {"format": "webp"}, ""),
        (image(TAGGED), {"width": 48, "format": "webp"}, "strip+width48+webp80"),
    ],
)
def test_the_variant_says_what_is_done(subject: Image, chosen: dict[str, object], variant: str) -> None:
    assert decided(subject, **chosen) == variant


@pytest.mark.parametrize(
    ("subject", "limits", "chosen", "word"),
    [
        (image(DRAWING), Limits(frozenset({"image/png"})), {}, "SVG, which the host does not take"),
        (image(PLAIN, 1_001), ALL, {}, "1,001 bytes"),
        (image(DRAWING, 1_001), ALL, {"oversize": "resize"}, "1,001 bytes"),
        (image(PLAIN, 7_900_000), Limits(ALL.formats, 5_000_000), {}, "it is 7.9 MB and the host takes 5 MB"),
        (image(TAGGED), ALL, {"metadata": "refuse"}, "metadata"),
        (image(Facts("image/png", 9, 9, True)), Limits(ALL.formats, keeps_animated_png=False), {}, "animated PNG"),
    ],
)
def test_an_objection_names_cause_and_remedy(
    subject: Image, limits: Limits, chosen: dict[str, object], word: str
) -> None:
    refusal = decided(subject, limits, **chosen)
    assert isinstance(refusal, Refusal)
    assert word in refusal.reason
    assert refusal.remedy
    assert bool(refusal.code) == (not word.startswith("SVG"))


@given(
    facts=st.builds(
        Facts,
        st.sampled_from(sorted(MEDIA_TYPES)),
        st.none() | st.integers(1, 9_000),
        st.none() | st.integers(1, 9_000),
        st.booleans(),
        st.booleans(),
    ),
    size=st.integers(1, 2_000),
    metadata=st.sampled_from(["strip", "keep", "refuse"]),
    max_edge=st.none() | st.integers(1, 9_000),
    oversize=st.sampled_from(["keep", "resize"]),
)
def test_what_is_sent_keeps_the_settings(
    facts: Facts, size: int, metadata: str, max_edge: int | None, oversize: str
) -> None:
    variant = decided(image(facts, size), metadata=metadata, max_edge=max_edge, oversize=oversize)
    if isinstance(variant, Refusal):
        return
    parts = variant.split("+") if variant else []
    assert ("strip" in parts) == (facts.has_metadata and metadata == "strip")
    assert not (facts.has_metadata and metadata == "refuse")
    assert ("fit1000" in parts) == (size > 1_000)
    resizes = any(part != "strip" for part in parts)
    assert not (resizes and facts.media_type == "image/svg+xml")
    assert not (resizes and facts.is_animated and facts.media_type == "image/avif")


# Copies


@pytest.mark.parametrize("format_", FORMATS)
def test_nothing_to_do_sends_the_same_bytes(format_: str, tmp_path: Path) -> None:
    raw = tagged(format_)
    assert made(raw, "", tmp_path)[1] == raw


@pytest.mark.parametrize("format_", FORMATS)
def test_a_stripped_payload_has_the_same_pixels(format_: str, tmp_path: Path) -> None:
    raw = tagged(format_) + b"<script>tail</script>"
    payload, sent = made(raw, "strip", tmp_path)
    assert CANARY not in sent
    assert b"tail" not in sent
    assert pixels(sent) == pixels(raw)
    assert payload.name == f"{payload.sha256[:12]}.{MEDIA_TYPES[payload.media_type]}"


def test_the_source_is_read_from_its_beginning(tmp_path: Path) -> None:
    raw = saved("png")
    source = io.BytesIO(raw)
    source.read()
    assert prepare(planned(raw), source, "", tmp_path).file.read_bytes() == raw


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
@pytest.mark.parametrize("variant", ["", "strip", "edge20"])
def test_only_this_user_can_read_the_copy(variant: str, tmp_path: Path) -> None:
    payload, _ = made(tagged("png"), variant, tmp_path)
    assert stat.S_IMODE(payload.file.stat().st_mode) == 0o600


@pytest.mark.parametrize("change", [lambda raw: raw + b"x", lambda raw: raw[:-1], lambda raw: raw[::-1], lambda _: b""])
def test_a_file_that_changed_is_not_sent(change, tmp_path: Path) -> None:
    raw = tagged("png")
    with pytest.raises(ChangedError, match="it changed"):
        prepare(planned(raw), io.BytesIO(change(raw)), "strip", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_grows_is_not_read_for_ever(tmp_path: Path) -> None:
    raw = saved("png")

    class Endless(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(size) or b"\0" * (size or 1)

    with pytest.raises(ChangedError):
        prepare(planned(raw), Endless(raw), "", tmp_path)


def test_bytes_that_are_no_image_are_not_sent_even_if_planned(tmp_path: Path) -> None:
    raw = b"TOKEN=secret"
    subject = Image("a.png", hashlib.sha256(raw).hexdigest(), len(raw), PLAIN)
    for variant in ("", "strip", "edge20"):
        with pytest.raises(PayloadError, match="not an image"):
            prepare(subject, io.BytesIO(raw), variant, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_changed_while_it_is_read_is_sent_whole_or_not_at_all(tmp_path: Path) -> None:
    one, other = large_png(2_000_000), large_png(2_100_000)
    path, folder = tmp_path / "x.png", tmp_path / "copies"
    folder.mkdir()
    path.write_bytes(one)
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            for raw in (other, one):
                path.write_bytes(raw)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(60):
            with path.open("rb") as file:
                try:
                    payload = prepare(planned(one), file, "", folder)
                except ChangedError:
                    continue
            assert payload.file.read_bytes() == one
            payload.file.unlink()
    finally:
        done.set()
        writer.join()
    assert not list(folder.iterdir())


# Smaller pictures


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("variant", ["edge20", "strip+edge20"])
def test_a_large_image_is_scaled_down(format_: str, variant: str, tmp_path: Path) -> None:
    raw = tagged(format_)
    payload, sent = made(raw, variant, tmp_path)
    assert (payload.width, payload.height, payload.media_type) == (20, 15, f"image/{format_}")
    assert CANARY not in sent
    assert not inspect(sent).has_metadata


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp", "avif"])
def test_a_smaller_picture_looks_the_same(format_: str, tmp_path: Path) -> None:
    gradient = PIL.Image.merge("RGB", [PIL.Image.linear_gradient("L").rotate(angle) for angle in (0, 90, 180)])
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    raw = saved(format_, gradient.resize((256, 128)), exif=exif.tobytes(), icc_profile=profile())
    _, sent = made(raw, "edge64", tmp_path)
    with PIL.Image.open(io.BytesIO(sent)) as small, PIL.Image.open(io.BytesIO(raw)) as large:
        # Browsers pass over EXIF in WebP and AVIF: there nothing turns the picture.
        turned = PIL.ImageOps.exif_transpose(large) if format_ != "webp" else large
        assert small.size == ((64, 32) if format_ == "webp" else (32, 64))
        assert small.info["icc_profile"] == profile()
        wanted = turned.convert("RGB").resize(small.size)
        differences = zip(small.convert("RGB").tobytes(), wanted.tobytes(), strict=True)
        assert max(abs(a - b) for a, b in differences) < 24


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_picture_can_be_scaled(mode: str, tmp_path: Path) -> None:
    if mode == "CMYK":
        raw = saved("jpeg", noise().convert("CMYK"))
    elif mode == "I;16":
        raw = saved("png", PIL.Image.new("I;16", (64, 48), 40_000))
    elif mode == "PA":
        raw = saved("png", noise().quantize(16), transparency=3)
    else:
        raw = saved("png", noise(mode="RGB" if mode == "P" else "RGBA").convert(mode))
    payload, sent = made(raw, "edge16", tmp_path)
    assert (payload.width, payload.height) == (16, 12)
    with PIL.Image.open(io.BytesIO(sent)) as small:
        assert ("A" in small.getbands()) == (mode in {"LA", "PA", "RGBA"})


@pytest.mark.parametrize("format_", FORMATS)
def test_an_image_is_made_to_fit(format_: str, tmp_path: Path) -> None:
    raw = saved(format_, PIL.Image.effect_noise((300, 200), 90).convert("RGB"))
    payload, _ = made(raw, "fit6000", tmp_path)
    assert 2_000 < payload.bytes <= 6_000
    assert payload.width is not None
    assert payload.height is not None
    assert abs(payload.width / payload.height - 1.5) < 0.1


@pytest.mark.parametrize(
    ("options", "is_lossless"),
    [
        ({"lossless": True, "icc_profile": profile() + bytes(9_000)}, True),
        ({"lossless": True, "icc_profile": profile(), "exif": b"Exif\0\0" + bytes(70_000)}, True),
        ({"lossless": True, "icc_profile": profile() + b"VP8 " * 3_000}, True),
        ({"quality": 60, "icc_profile": profile() + b"VP8L" * 3_000}, False),
    ],
)
@pytest.mark.parametrize("is_moving", [False, True])
def test_a_webp_without_loss_is_resized_without_loss(
    options: dict[str, object], is_lossless: bool, is_moving: bool, tmp_path: Path
) -> None:
    """What stands before the picture, a long profile say, does not decide how it is stored."""
    grain = PIL.Image.effect_noise((240, 180), 90).convert("RGB")
    if is_moving:
        options = options | {"save_all": True, "append_images": [grain.rotate(180)], "duration": 80}
    raw = saved("webp", grain, **options)
    _, sent = made(raw, "edge150", tmp_path)
    assert inspect(sent).width == 150
    icc = options["icc_profile"]
    assert isinstance(icc, bytes)
    kinds = {name for name in (b"VP8L", b"VP8 ") if name in sent.replace(icc, b"")}
    assert kinds == ({b"VP8L"} if is_lossless else {b"VP8 "})


def test_an_image_that_cannot_fit_is_an_error(tmp_path: Path) -> None:
    raw = saved("png")
    with pytest.raises(PayloadError, match="does not fit into 20 bytes"):
        prepare(planned(raw), io.BytesIO(raw), "fit20", tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_drawn_is_never_resized(tmp_path: Path) -> None:
    raw = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    with pytest.raises(PayloadError, match="cannot be resized"):
        prepare(planned(raw), io.BytesIO(raw), "edge5", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_picture_that_pillow_cannot_decode_is_one_error(tmp_path: Path) -> None:
    raw = large_png(200_000)
    with pytest.raises(PayloadError, match="Pillow cannot resize it"):
        prepare(planned(raw), io.BytesIO(raw), "edge5", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "variant", ["crop", "edge", "edge-1", "fitx", "strip+", "edge٣", "edge0", "edge5+strip", "stripedge5", "+"]
)
def test_an_unknown_variant_is_an_error(variant: str, tmp_path: Path) -> None:
    raw = saved("png")
    with pytest.raises(PayloadError, match="variant"):
        prepare(planned(raw), io.BytesIO(raw), variant, tmp_path)
    assert not list(tmp_path.iterdir())


def test_pillow_is_imported_only_to_resize(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(tagged("png"))
    code = (
        "import sys; from pathlib import Path; from imghost.image.inspect import read; from imghost.image.payload import prepare\n"
        "folder = Path(sys.argv[1]); image = read(folder, 'x.png')\n"
        "prepare(image, open(folder / 'x.png', 'rb'), 'strip', folder)\n"
        "print('PIL' in sys.modules)\n"
        "prepare(image, open(folder / 'x.png', 'rb'), 'edge9', folder)\n"
        "print('PIL' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.split() == ["False", "True"]


# Memory


@pytest.mark.sampled(1)
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's peak memory")
@pytest.mark.parametrize("variant", ["", "strip"])
def test_long_images_take_little_memory(variant: str, tmp_path: Path) -> None:
    raw = large_png(20_000_000)
    subject = planned(raw)
    path = tmp_path / "x.png"
    path.write_bytes(raw)
    del raw
    gc.collect()

    def one(number: int) -> int:
        folder = tmp_path / str(number)
        folder.mkdir()
        with path.open("rb") as file:
            payload = prepare(subject, file, variant, folder)
        payload.file.unlink()
        return payload.bytes

    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        pytest.skip(f"the peak cannot be reset: {error}")
    before = memory("VmRSS")
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(one, range(8)))
    assert min(sizes) > 19_000_000
    assert memory("VmHWM") - before < 25_000


def memory(name: str) -> int:
    """Read a figure of this process's memory, in kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
