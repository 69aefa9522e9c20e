"""Formats and sizes made here: each one upload, counted, known again, and never more bytes than before."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import zlib
from pathlib import Path

import PIL.Image
import PIL.ImageChops
import PIL.ImageDraw
import PIL.PngImagePlugin
import pytest
from doubles.img402 import Img402
from sites import write

from imghost.cli.main import main
from imghost.image import payload

WHERE = ("--host", "img402", "--option", "tier=free", "--retention", "7d")


def screenshot(seed: int = 1, width: int = 700, height: int = 420) -> bytes:
    """Draw lines of text on white, as a screenshot has them."""
    picture = PIL.Image.new("RGB", (width, height), "white")
    draw, chance = PIL.ImageDraw.Draw(picture), random.Random(seed)
    for row in range(0, height, 14):
        colour = (chance.randrange(200), 30, chance.randrange(200))
        draw.text((9, row), " ".join(f"word{chance.randrange(99)}" for _ in range(width // 45)), fill=colour)
    return encoded(picture, "PNG")


def photograph(width: int = 600, height: int = 400) -> bytes:
    bands = [PIL.Image.radial_gradient("L").rotate(turn).resize((width, height)) for turn in (0, 70, 140)]
    noise = PIL.Image.effect_noise((width, height), 25)
    return encoded(PIL.Image.blend(PIL.Image.merge("RGB", bands), noise.convert("RGB"), 0.2), "JPEG", quality=92)


def encoded(picture: PIL.Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)
    return buffer.getvalue()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pages = {"index.html": '<img src="a.png"><p><img src="b.jpg">', "p.html": '<a href="a.png">a</a><img src="c.png">'}
    images = {"a.png": screenshot(), "b.jpg": photograph(), "c.png": screenshot(2, 200, 90)}
    write(tmp_path / "site", pages | images)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict:
    capsys.readouterr()
    assert main(["rehost", "site", "--json", *arguments]) == status
    printed = capsys.readouterr()
    return (json.loads(printed.out) if printed.out else {}) | {"err": printed.err}


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict]:
    """Ask what is missing; this asks no host and makes no picture."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(payload, "remade")
        status = main(["check", "site", "--json", *arguments])
    return status, json.loads(capsys.readouterr().out)


def records(project: Path) -> list[dict]:
    return [json.loads(line) for line in (project / "imghost.lock").read_text("utf-8").splitlines()[1:]]


def picture_at(host: Img402, url: str) -> PIL.Image.Image:
    body, media_type = host.images["/" + url.split("/", 3)[3]]
    picture = PIL.Image.open(io.BytesIO(body))
    assert PIL.Image.MIME[picture.format] == media_type
    return picture


def test_screenshots_lose_bytes_and_no_pixel(project, capsys):
    before = {path.name: path.read_bytes() for path in (project / "site").glob("*.png")}
    with Img402() as host:
        report = run(capsys, *WHERE, "--option", f"api_url={host.url}", "--format", "webp")
        assert report["images"] == {"found": 3, "cached": 0, "uploaded": 3, "kept": 0, "failed": 0}
        lines = records(project)
        assert {line["variant"] for line in lines} == {"webp", "webp80"}
        for line in lines:
            assert line["media_type"] == "image/webp"
            picture = picture_at(host, line["url"])
            assert picture.size == (line["width"], line["height"])
            raw = before.get(line["path"]) if "path" in line else None
            if raw:
                assert line["bytes"] < 0.8 * len(raw)
                assert picture.convert("RGB").tobytes() == PIL.Image.open(io.BytesIO(raw)).convert("RGB").tobytes()


def test_a_warm_build_makes_nothing_again(project, capsys, monkeypatch):
    with Img402() as host:
        arguments = (*WHERE, "--option", f"api_url={host.url}", "--format", "webp", "--responsive", "--widths", "300")
        run(capsys, *arguments)
        first = {path.name: path.read_text() for path in (project / "site").glob("*.html")}
        monkeypatch.delattr(payload, "remade")  # whatever made a picture now would end the run
        report = run(capsys, *arguments)
        assert (report["images"]["uploaded"], report["requests"]) == (0, 0)
        assert {path.name: path.read_text() for path in (project / "site").glob("*.html")} == first


def test_each_size_is_one_upload_and_stands_in_the_page(project, capsys):
    with Img402() as host:
        address = ("--option", f"api_url={host.url}")
        report = run(capsys, *WHERE, *address, "--responsive", "--widths", "150", "--widths", "500")
        # Of a.png and b.jpg both widths, of c.png the one that is smaller than it.
        assert sorted(line["variant"] for line in records(project)) == sorted(
            ["", "", "", "width150", "width150", "width150", "width500", "width500"]
        )
        assert report["images"]["uploaded"] == 3
        page = (project / "site/index.html").read_text()
        srcset = re.search(r'srcset="([^"]*)" sizes="600px"', page)
        assert srcset
        for url, width in (choice.split() for choice in srcset[1].split(", ")):
            assert picture_at(host, url).size[0] == int(width.removesuffix("w"))
        assert [choice.split()[1] for choice in srcset[1].split(", ")] == ["150w", "500w", "600w"]


def test_a_size_that_the_host_has_stands_for_no_other_size(project, capsys):
    """One after the other, so that each is asked for once the smaller ones are there."""
    write(project / "site", {"index.html": '<img src="b.jpg">', "p.html": "<p>"})
    with Img402() as host:
        address = ("--option", f"api_url={host.url}", "--concurrency", "1")
        widths = [it for width in (150, 300, 500) for it in ("--widths", str(width))]
        run(capsys, *WHERE, *address, "--responsive", *widths)
        sizes = [line for line in records(project) if line["variant"]]
        assert sorted(line["width"] for line in sizes) == [150, 300, 500]
        assert len({line["url"] for line in sizes}) == len(sizes)


def test_sizes_count_in_what_one_build_may_upload(project, capsys):
    with Img402() as host:
        address = ("--option", f"api_url={host.url}")
        run(capsys, *WHERE, *address, "--responsive", "--widths", "150", "--max-uploads", "4", status=1)
        assert host.images == {}
        assert main(["plan", "site", "--json", *WHERE, *address, "--responsive", "--widths", "150"]) == 0
        planned = json.loads(capsys.readouterr().out)
        assert [upload["variant"] for upload in planned["uploads"]] == ["", "", "", "width150", "width150", "width150"]


def test_a_format_that_saves_nothing_sends_no_image_twice(project, capsys):
    """The records of the same bytes stand for both settings."""
    tiny = encoded(PIL.Image.effect_noise((40, 40), 90).convert("RGB"), "JPEG", quality=5)
    write(project / "site", {"b.jpg": tiny, "a.png": screenshot(), "c.png": screenshot(3, 90, 40)})
    with Img402() as host:
        address = ("--option", f"api_url={host.url}")
        run(capsys, *WHERE, *address)
        sent = len(host.images)
        report = run(capsys, *WHERE, *address, "--format", "webp", "--quality", "100")
        jpeg = [line for line in records(project) if line["media_type"] == "image/jpeg"]
        assert len(jpeg) == 2
        assert {line["variant"] for line in jpeg} == {"", "webp100"}
        assert len({line["url"] for line in jpeg}) == 1
        assert len(host.images) == sent + 2
        assert report["images"]["uploaded"] == 2


def test_a_format_that_saves_nothing_sends_no_stripped_image_twice(project, capsys):
    """What was taken off it before does not make it another."""
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text("Author", "somebody")
    tiny = encoded(PIL.Image.frombytes("L", (4, 4), random.Random(1).randbytes(16)), "PNG", pnginfo=text)
    write(project / "site", {"a.png": tiny, "index.html": '<img src="a.png">', "p.html": "<p>"})
    with Img402() as host:
        address = ("--option", f"api_url={host.url}")
        run(capsys, *WHERE, *address)
        report = run(capsys, *WHERE, *address, "--format", "webp")
        assert {line["variant"] for line in records(project)} == {"strip", "strip+webp"}
        assert (len(host.images), report["images"]["uploaded"]) == (1, 0)


def test_a_size_with_more_bytes_than_the_image_is_not_named(project, capsys):
    """A drawing of few colours has more of them when it is mixed, and more bytes."""
    write(project / "site", {"a.png": chequered(), "index.html": '<img src="a.png">', "p.html": "<p>"})
    with Img402() as host:
        address = ("--option", f"api_url={host.url}")
        run(capsys, *WHERE, *address, "--responsive", "--widths", "790")
        (whole, size) = sorted(records(project), key=lambda line: line["variant"])
        assert size["bytes"] <= whole["bytes"]
        page = (project / "site/index.html").read_text()
        assert ("srcset" in page) == (size["bytes"] < whole["bytes"])
        assert len(host.images) == len({whole["url"], size["url"]})


def test_the_embedded_directory_has_formats_and_sizes_too(project, capsys):
    arguments = ("--host", "directory", "--format", "webp", "--responsive", "--widths", "300")
    report = run(capsys, *arguments)
    assert report["images"]["uploaded"] == 3
    page = (project / "site/index.html").read_text()
    assert " 300w, " in page
    assert "-webp.webp" in page
    report = run(capsys, *arguments)
    assert report["images"]["uploaded"] == 0
    assert (project / "site/index.html").read_text() == page


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("page", "is_sized"),
    [
        ('<img src="a.png" srcset="a.png 2x">', False),
        ('<picture><source srcset="c.png"><img src="a.png"></picture>', False),
        ('<a href="a.png">a</a>', False),
        ('<meta property="og:image" content="a.png"><img src="c.png">', False),
        ('<a href="a.png"><img src="a.png"></a>', True),
        ('<img src="a.png" width="350">', True),
    ],
)
def test_sizes_are_made_only_for_what_a_page_shows_by_width(project, capsys, page, is_sized):
    write(project / "site", {"index.html": page, "p.html": '<img src="b.jpg">'})
    with Img402() as host:
        run(capsys, *WHERE, "--option", f"api_url={host.url}", "--responsive", "--widths", "250")
    sizes = [line for line in records(project) if line["variant"] == "width250" and line["width"] == 250]
    assert len(sizes) == 1 + is_sized


def test_report_and_summary_tell_the_bytes_before_and_after_also_of_a_warm_build(project, capsys):
    before = {path.name: path.stat().st_size for path in (project / "site").glob("*.[pj]*g")}
    with Img402() as host:
        arguments = (*WHERE, "--option", f"api_url={host.url}", "--format", "webp")
        first = run(capsys, *arguments, "--report", "r.html")
        after = {line["path"].rpartition("/")[2]: line["bytes"] for line in records(project)}
        for report in (first, run(capsys, *arguments)):
            assert report["image_bytes"] == {"before": sum(before.values()), "after": sum(after.values())}
            assert report["by_image"] == [
                {"path": name, "before": before[name], "after": after[name], "media_type": "image/webp"}
                for name in sorted(before)
            ]
        text = (project / "r.html").read_text("utf-8")
        for name, length in after.items():
            assert f"sent {length:,} bytes, {(before[name] - length) * 100 // before[name]} % fewer" in text
        assert main(["rehost", "site", *arguments]) == 0
        share = (sum(before.values()) - sum(after.values())) * 100 // sum(before.values())
        assert re.search(rf"images {share} % lighter \(\S+ kB before, \S+ kB\s+after\)", capsys.readouterr().out)


@pytest.mark.parametrize(("options", "is_told"), [((), False), (("--max-edge", "200"), True)])
def test_metadata_alone_is_told_for_its_image_and_not_in_the_summary(project, capsys, options, is_told):
    with PIL.Image.open(project / "site/b.jpg") as picture:
        exif = PIL.Image.Exif()
        exif[0x010F] = "Maker " * 500
        write(project / "site", {"b.jpg": encoded(picture, "JPEG", quality=92, exif=exif)})
    with Img402() as host:
        arguments = (*WHERE, "--option", f"api_url={host.url}", *options)
        report = run(capsys, *arguments)
        assert {it["path"] for it in report["by_image"]} == ({"a.png", "b.jpg"} if is_told else {"b.jpg"})
        assert report["image_bytes"]["after"] < report["image_bytes"]["before"]
        assert main(["rehost", "site", *arguments]) == 0
        assert ("lighter" in capsys.readouterr().out) is is_told


def test_a_second_name_of_the_same_bytes_is_told_and_counts_once(project, capsys):
    write(project / "site", {"twin.png": (project / "site/a.png").read_bytes(), "q.html": '<img src="twin.png">'})
    with Img402() as host:
        report = run(capsys, *WHERE, "--option", f"api_url={host.url}", "--format", "webp")
        once = {it["path"]: it for it in report["by_image"]}
        assert once["twin.png"] == once["a.png"] | {"path": "twin.png"}
        assert report["image_bytes"]["before"] == sum(it["before"] for it in once.values()) - once["a.png"]["before"]


def chequered() -> bytes:
    """Draw lines so close that any smaller size of them has more bytes."""
    board = PIL.Image.new("1", (800, 600), 1)
    draw = PIL.ImageDraw.Draw(board)
    for at in range(0, 800, 4):
        draw.line((at, 0, at, 600), fill=0)
    return encoded(board, "PNG")


@pytest.mark.parametrize("where", [("--host", "directory"), WHERE])
def test_check_sees_sizes_that_nobody_has_made_and_not_those_that_gained_nothing(project, capsys, where):
    write(project / "site", {"d.png": chequered(), "q.html": '<img src="d.png">'})
    asked = ("--responsive", "--widths", "300", "--widths", "500", "--widths", "790")
    with Img402() as host:
        where = (*where, *(("--option", f"api_url={host.url}") if where is WHERE else ()))
        run(capsys, *where)
        assert check(capsys, *where)[0] == 0
        status, found = check(capsys, *where, *asked)
        assert (status, found["covered"], found["missing"], found["expired"]) == (1, 4, [], [])
        assert found["incomplete"] == ["a.png", "b.jpg", "d.png"]  # c.png is smaller than any
        assert main(["check", "site", *where, *asked]) == 1
        assert "4 images are covered, 0 not, 3 without a size or format" in capsys.readouterr().out
        run(capsys, *where, *asked)
        assert ", " not in re.sub(r'[^"]* 300w, ', "", (project / "site/q.html").read_text())  # 790 px gained nothing
        status, found = check(capsys, *where, *asked)
        assert (status, found["incomplete"]) == (0, [])
        assert check(capsys, *where, *asked, "--widths", "310")[1]["incomplete"] == ["a.png", "b.jpg", "d.png"]


def test_check_sees_sizes_that_have_expired(project, capsys):
    asked = ("--responsive", "--widths", "150")
    with Img402() as host:
        where = (*WHERE, "--option", f"api_url={host.url}")
        run(capsys, *where, *asked)
        lock = project / "imghost.lock"
        old = [json.loads(line) for line in lock.read_text("utf-8").splitlines()]
        for line in old:
            if line.get("variant") == "width150" and line["width"] == 150 and line["media_type"] == "image/jpeg":
                line |= {"uploaded": "2020-01-01T00:00:00Z", "expires": "2020-01-08T00:00:00Z"}
        lock.write_text("".join(json.dumps(line) + "\n" for line in old), "utf-8")
        status, found = check(capsys, *where, *asked)
        assert (status, found["covered"], found["missing"], found["expired"]) == (1, 3, [], [])
        assert found["incomplete"] == ["b.jpg"]


@pytest.mark.parametrize("where", [("--host", "directory"), WHERE])
def test_check_sees_a_format_that_nobody_has_made_and_not_one_that_gained_nothing(project, capsys, where):
    tiny = encoded(PIL.Image.effect_noise((40, 40), 90).convert("RGB"), "JPEG", quality=5)
    write(project / "site", {"b.jpg": tiny})
    with Img402() as host:
        where = (*where, *(("--option", f"api_url={host.url}") if where is WHERE else ()))
        run(capsys, *where)
        asked = ("--format", "webp", "--quality", "100")
        assert check(capsys, *where, *asked) == (
            1,
            {"imghost_check": 1, "covered": 0, "missing": ["a.png", "b.jpg", "c.png"], "expired": [], "incomplete": []},
        )
        report = run(capsys, *where, *asked)
        assert {it["path"] for it in report["by_image"]} == {"a.png", "c.png"}
        assert check(capsys, *where, *asked)[0] == 0


def torn(raw: bytes) -> bytes:
    """Spoil the pixels of a PNG, whose chunks stay whole: browsers show what there is, Pillow reads nothing."""
    at = raw.index(b"IDAT")
    length = int.from_bytes(raw[at - 4 : at], "big")
    body = raw[at + 4 : at + 4 + length // 2] + bytes(length - length // 2)
    return raw[: at + 4] + body + zlib.crc32(b"IDAT" + body).to_bytes(4, "big") + raw[at + 8 + length :]


@pytest.mark.parametrize("asked", [("--format", "webp"), ("--responsive", "--widths", "300")])
def test_what_pillow_cannot_read_goes_as_it_is_and_check_does_not_wait_for_it(project, capsys, asked):
    write(project / "site", {"a.png": torn(screenshot())})
    with Img402() as host:
        where = (*WHERE, "--option", f"api_url={host.url}", *asked)
        report = run(capsys, *where)
        assert (report["images"]["uploaded"], report["failures"]) == (3, [])
        assert check(capsys, *where)[0] == 0
        assert "a.png" not in (project / "site/index.html").read_text()
        sent = [body for body, _ in host.images.values()]
        assert sent.count((project / "site/a.png").read_bytes()) == 1


def drawn(mode: str, seed: int = 1) -> PIL.Image.Image:
    """Draw greys in this mode, in each of 256 levels."""
    grey = PIL.Image.linear_gradient("L").resize((400, 300)).rotate(seed)
    noisy = PIL.ImageChops.add(grey, PIL.Image.effect_noise(grey.size, 3), 2)
    if mode == "P":
        return noisy.quantize(64)
    picture = noisy.convert(mode)
    if mode.endswith("A"):
        picture.putalpha(PIL.Image.radial_gradient("L").resize(picture.size))
    return picture


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_greys_become_avif_without_a_changed_pixel(project, capsys, mode):
    raw = encoded(drawn(mode), "PNG", compress_level=0)
    write(project / "site", {"a.png": raw})
    run(capsys, "--host", "directory", "--format", "avif")
    (file,) = (project / "site/_imghost").glob(f"{hashlib.sha256(raw).hexdigest()[:32]}*")
    assert file.name.endswith("-avif.avif")
    assert file.stat().st_size <= len(raw) * 0.95
    with PIL.Image.open(file) as hosted, PIL.Image.open(io.BytesIO(raw)) as was:
        assert hosted.convert("RGBA").convert("RGBa").tobytes() == was.convert("RGBA").convert("RGBa").tobytes()


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("PNG", lambda picture: picture.putpixel((5, 5), (200, 30, 77))),
        ("GIF", lambda picture: picture.putpixel((5, 5), (200, 30, 77))),
        ("PNG", lambda picture: picture.putalpha(200)),
    ],
)
def test_what_avif_cannot_keep_stays_as_it_is_which_one_line_tells(project, capsys, name, spoil):
    """One pixel of colour is enough, since no quality brings back each colour; browsers differ about opacity."""
    picture = drawn("RGB")
    spoil(picture)
    picture = picture.quantize(200) if name == "GIF" else picture
    raw = encoded(picture, name, **({"compress_level": 0} if name == "PNG" else {}))
    write(project / "site", {f"e.{name.lower()}": raw, "r.html": f'<img src="e.{name.lower()}">'})
    where = ("--host", "directory", "--format", "avif")
    report = run(capsys, *where)
    types = {it["path"]: it["media_type"] for it in report["by_image"]}
    assert types == {"b.jpg": "image/avif"}
    line = "3 PNG or GIF images stay as uploaded: 'format: avif' is without loss for opaque greys alone"
    assert line in report["err"]
    assert "warning" not in report["err"]
    report = run(capsys, *where)
    assert (report["images"]["uploaded"], line in report["err"]) == (0, True)
    assert "PNG or GIF" not in run(capsys, "--host", "directory", "--format", "webp")["err"]


def test_images_of_one_payload_have_a_file_each_in_the_directory(project, capsys):
    """A file is known by its image, so one that stood for two was made again at each build, at another address."""
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text("Author", "somebody")
    other = PIL.PngImagePlugin.PngInfo()
    other.add_text("Author", "somebody else")
    picture = PIL.Image.open(io.BytesIO(screenshot()))
    images = {"a.png": text, "c.png": other}
    write(project / "site", {path: encoded(picture, "PNG", pnginfo=info) for path, info in images.items()})
    for options in ((), ("--format", "webp"), ("--responsive", "--widths", "300")):
        where = ("--host", "directory", *options)
        first = run(capsys, *where)
        assert first["images"]["uploaded"] + first["images"]["cached"] == 3
        pages = {path.name: path.read_bytes() for path in (project / "site").glob("*.html")}
        files = {path: path.stat().st_mtime_ns for path in (project / "site/_imghost").iterdir()}
        assert check(capsys, *where)[0] == 0
        again = run(capsys, *where)
        assert (again["images"]["uploaded"], again["images"]["cached"]) == (0, 3)
        assert {path.name: path.read_bytes() for path in (project / "site").glob("*.html")} == pages
        assert {path: path.stat().st_mtime_ns for path in (project / "site/_imghost").iterdir()} == files
