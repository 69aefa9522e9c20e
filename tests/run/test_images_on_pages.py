"""What a page and the terminal say of images of every kind: sizes as browsers show them, and warnings only of what helps."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import PIL.Image
import pytest
from pictures import noise, position, saved
from sites import write

from imghost.cli.main import main

PAGE = "<!doctype html><title>t</title><style>img{max-width:100%}</style>"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "site"


def drawing(attributes: str, inside: str = "<rect width='9' height='9'/>") -> bytes:
    return f"<svg xmlns='http://www.w3.org/2000/svg' {attributes}>{inside}</svg>".encode()


SIZED = "width='30' height='20'"


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("link.svg", drawing(SIZED, "<a href='https://example.com/'><rect width='9' height='9'/></a>")),
        ("text.svg", drawing(SIZED, "<foreignObject><p xmlns='http://www.w3.org/1999/xhtml'>x</p></foreignObject>")),
        ("entity.svg", b"<!DOCTYPE svg [<!ENTITY x 'y'>]>" + drawing(SIZED)),
        ("script.svg", drawing(SIZED, "<script>1</script>")),
        ("font.svg", drawing(SIZED, "<style>@import 'https://example.com/x.css';</style>")),
        ("zip.svgz", gzip.compress(drawing(SIZED), mtime=0)),
        ("icon.ico", saved("ico", noise(32, 32))),
        ("old.bmp", saved("bmp", noise())),
    ],
)
def test_what_stays_and_is_shown_where_it_is_fails_no_strict_build(site, capsys, name, raw):
    write(site, {"index.html": f"{PAGE}<img src=a.png><img src={name}>", "a.png": saved("png"), name: raw})
    assert main(["rehost", "site", "--host", "directory", "--strict"]) == 0
    told = capsys.readouterr()
    assert "warning" not in told.err
    page = (site / "index.html").read_text("utf-8")
    assert f"src={name}" in page
    assert "src=a.png" not in page


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("a.tiff", saved("tiff", noise()), "convert it"),
        ("a.jp2", saved("jpeg2000", noise()), "convert it"),
        ("a.heic", b"\0\0\0\x18ftypheic" + bytes(90), "convert it to JPEG"),
        ("a.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 9\n", "git lfs pull"),
        ("b.png", saved("png", PIL.Image.new("1", (10_000, 10_000))), "make it smaller"),
        ("c.png", saved("png")[:-30], "put a real image there"),
    ],
)
def test_what_no_browser_shows_is_a_warning_that_names_what_helps(site, capsys, name, raw, words):
    write(site, {"index.html": f"{PAGE}<img src={name}>", name: raw})
    assert main(["rehost", "site", "--host", "directory", "--strict"]) == 1
    assert words in " ".join(capsys.readouterr().err.split())


def dense(turn: int = 1) -> bytes:
    """Write EXIF by which a picture of 96 x 64 pixels is shown in half of that."""
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x011B], exif[0x0128] = turn, 144, 144, 2
    ifd = exif.get_ifd(0x8769)
    ifd[0xA002], ifd[0xA003] = 48, 32
    return exif.tobytes()


@pytest.mark.parametrize(
    ("name", "raw", "size"),
    [
        ("a.svg", drawing("viewBox='0 0 24 24'"), None),
        ("a.svg", drawing("viewBox='0 0 5525 1326' width='12.5ex' height='3ex'"), None),
        ("a.svg", drawing("viewBox='0 0 30 15' width='100%'"), None),
        ("a.svg", drawing("viewBox='0 0 30 15' width='60'"), (60, 30)),
        ("a.svg", drawing("width='40q' height='80Q'"), (38, 76)),
        ("a.jpg", saved("jpeg", noise(96, 64), exif=position(6)), (64, 96)),
        ("a.jpg", saved("jpeg", noise(96, 64), exif=dense()), (48, 32)),
        ("a.jpg", saved("jpeg", noise(96, 64), exif=dense(8)), (32, 48)),
        ("a.png", saved("png", noise(96, 64), exif=position(5)), (64, 96)),
        ("a.webp", saved("webp", noise(96, 64), exif=position(6)), (96, 64)),
        ("a.avif", saved("avif", noise(96, 64), exif=position(7)), (64, 96)),
    ],
)
def test_dimensions_are_those_by_which_a_browser_shows_the_image(site, name, raw, size):
    write(site, {"index.html": f"{PAGE}<img src={name}>", name: raw})
    assert main(["rehost", "site", "--host", "directory", "--dimensions"]) == 0
    page = (site / "index.html").read_text("utf-8")
    told = re.search(r'<img[^>]* width="(\d+)" height="(\d+)"', page)
    assert (told and tuple(map(int, told.groups()))) == size


@pytest.mark.parametrize(
    "raw",
    [
        saved("jpeg", noise(96, 64), exif=dense()),
        drawing("viewBox='0 0 900 600'"),
        saved("gif", noise(96, 64), save_all=True, append_images=[noise(96, 64).rotate(180)]),
    ],
)
def test_what_is_not_shown_by_its_pixels_gets_no_sizes(site, capsys, raw):
    write(site, {"index.html": f"{PAGE}<img src=a.x>", "a.x": raw})
    assert main(["rehost", "site", "--host", "directory", "--responsive", "--widths", "20", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"]["uploaded"] == 1
    assert "srcset" not in (site / "index.html").read_text("utf-8")
