"""What counts as confirmed: a URL whose answer a browser would show, for the plain copy and for those derived of it."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from doubles.server import Fault, Reply, Request
from PIL import Image as Picture
from sites import picture, write

from imghost.cli.main import main
from imghost.net import LIMIT, Client
from imghost.records import lock as locks
from imghost.records import unconfirmed
from imghost.run.upload import difference

SIZE = (900, 600)
PNG, JPEG = picture(1, SIZE), picture(1, SIZE, "JPEG")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="900" height="600"/>'
LONG_PNG, LONG_JPEG = picture(1, SIZE, compress_level=0), picture(1, SIZE, "JPEG", quality=100, subsampling=0)
assert min(len(LONG_PNG), len(LONG_JPEG)) > LIMIT
FORMS = ("GIF", "WEBP", "AVIF")
ICON = b"\0\0\1\0\1\0\x10\x10\0\0" + bytes(60)


@pytest.mark.parametrize(
    ("media_type", "body", "expected", "state"),
    [
        ("image/png", PNG, "image/png", ""),
        ("image/png; charset=binary", PNG, "image/png", ""),
        ("image/jpg", JPEG, "image/jpeg", ""),
        ("image/apng", PNG, "image/png", ""),
        ("image/svg+xml", SVG, "image/svg+xml", ""),
        ("image/png", b"<!doctype html><p>Sign in</p>", "image/png", "dead"),
        ("image/png", b"\x89", "image/png", "dead"),
        ("image/png", PNG[:18], "image/png", "dead"),
        ("image/jpeg", JPEG[:12], "image/jpeg", "dead"),
        # With a size, and without all of the picture.
        ("image/png", PNG[:33], "image/png", "dead"),
        ("image/png", PNG[: len(PNG) // 2], "image/png", "dead"),
        ("image/jpeg", JPEG[: len(JPEG) // 2], "image/jpeg", "dead"),
        *(
            (f"image/{form.lower()}", picture(1, (90, 60), form)[:-9], f"image/{form.lower()}", "dead")
            for form in FORMS
        ),
        # Of a long one a fetch reads the beginning alone.
        ("image/jpeg", LONG_JPEG[:LIMIT], "image/jpeg", ""),
        ("image/png", LONG_PNG[:LIMIT], "image/png", ""),
        ("image/png", LONG_PNG[: LIMIT - 1], "image/png", "dead"),
        # As a host may write it.
        *((f"image/{form.lower()}", picture(1, SIZE, form), f"image/{form.lower()}", "") for form in FORMS),
        ("image/png", PNG + b"\n<!-- cached -->", "image/png", ""),
        ("image/jpeg", JPEG.replace(b"\xff\xda", b"\0\0\xff\xda", 1), "image/jpeg", ""),
        ("image/png", SVG, "image/png", "dead"),
        ("image/svg+xml", SVG, "image/png", "dead"),
        ("image/x-icon", ICON, "image/png", "dead"),
        ("image/png", JPEG, "image/png", "altered"),
        ("image/jpeg", PNG, "image/png", "altered"),
        ("image/png", picture(1, (450, 300)), "image/png", "altered"),
        ("text/html", PNG, "image/png", "dead"),
        ("image/png", b"", "image/png", "dead"),
    ],
)
def test_answer_counts_only_if_a_browser_would_show_the_image(media_type, body, expected, state):
    found = difference(*SIZE, media_type, body, expected)
    assert (found[0] if found else "") == state


def is_derived(request: Request) -> bool:
    return request.path.startswith("/t/") and "?" in request.target


class Odd(ImgPro):
    """The host, but for some addresses that it makes of an image's."""

    refuses: tuple[str, ...] = ()
    spares: tuple[str, ...] = ()
    """What is served all the same beside what it refuses."""
    both = False
    """Whether it refuses what asks for a format and a size at once, and nothing else."""
    only: int | None = None
    """The number of the image of which alone it refuses anything."""
    answer = Reply(422, b"no", (("Content-Type", "text/plain"),))

    @property
    def shown(self) -> list[str]:
        """The addresses that were asked for which are made of an image's."""
        return [request.target for request in self.server.requests("GET") if is_derived(request)]

    def _served(self, name: str, query: dict[str, str]) -> Reply:
        is_refused = bool(set(self.refuses) & query.keys()) and not set(self.spares) & query.keys()
        is_refused = is_refused or (self.both and {"format", "size"} <= query.keys())
        is_meant = self.only is None or f"{self.only:06}" in name
        return self.answer if is_refused and is_meant else super()._served(name, query)


@pytest.fixture
def host() -> Iterator[Odd]:
    with Odd("images") as host:
        yield host


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    return write(tmp_path, {"site/index.html": "<title>t</title><img src=a.png>", "site/a.png": PNG})


def published(host: ImgPro, *more: str) -> None:
    """Publish the site without other formats and sizes, and build it anew."""
    page = Path("site/index.html").read_bytes()
    assert main(["rehost", "site", "--host", "img.pro", "--option", f"api_url={host.api_url}", *more]) == 0
    Path("site/index.html").write_bytes(page)


def run(capsys: pytest.CaptureFixture[str], host: ImgPro, *arguments: str, status: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    chosen = ["--host", "img.pro", "--option", f"api_url={host.api_url}", "--format", "webp", "--responsive"]
    assert main(["rehost", "site", "--json", *chosen, *arguments]) == status
    printed = capsys.readouterr()
    return json.loads(printed.out) | {"err": printed.err, "page": Path("site/index.html").read_text("utf-8")}


def test_derived_addresses_are_seen_once_and_then_named(project, capsys, host):
    first = run(capsys, host)
    assert "format=webp" in first["page"]
    assert "size=s" in first["page"]
    assert '"shown"' in Path("imghost.lock").read_text()
    again = run(capsys, host)
    assert again["requests"] == 0
    assert again["page"] == first["page"]


@pytest.mark.parametrize(
    ("refuses", "has_format", "has_sizes"),
    [(("format",), False, False), (("size",), True, False)],
)
@pytest.mark.parametrize("answer", [Odd.answer, Reply(200, b"<p>no</p>", (("Content-Type", "image/webp"),))])
def test_what_no_browser_would_show_keeps_its_plain_address(
    refuses, has_format, has_sizes, answer, project, capsys, host
):
    host.refuses, host.answer = refuses, answer
    report = run(capsys, host, "--remove-local")
    assert ("format=webp" in report["page"]) is has_format
    assert ("srcset" in report["page"]) is has_sizes
    assert re.search(r'src="?http://127', report["page"])
    assert "plain address" in report["err"]
    assert report["images"]["failed"] == 0
    host.refuses = ()
    mended = run(capsys, host)["page"]
    assert "format=webp" in mended
    assert "srcset" in mended


@pytest.mark.parametrize("generation", ["upload", "images"])
@pytest.mark.parametrize("form", ["webp", "avif"])
@pytest.mark.parametrize("api", ["auto", None])
def test_formats_are_named_as_the_generation_found_converts(generation, form, api, project, capsys):
    """A generation that does not know a parameter serves the original, and says nothing."""
    with ImgPro(generation) as host:
        own = ("--format", form, "--option", f"api={api or generation}")
        first = run(capsys, host, *own)
        assert re.search(rf"i000000\.{form}\b" if generation == "upload" else f"[?&]format={form}", first["page"])
        assert (f"format={form}" in first["page"]) is (generation == "images")
        named = re.findall(r"(http://127[^\s\"',>]+)", html.unescape(first["page"]))
        with Client(environ={}) as client:
            assert {client.fetch(url).headers["content-type"] for url in named} == {f"image/{form}"}
        again = run(capsys, host, *own)
        assert again["requests"] == 0
        assert again["page"] == first["page"]


def test_addresses_that_cannot_be_reached_are_asked_for_three_times_and_then_left(project, capsys, host):
    images = {f"site/{number}.png": picture(number, SIZE) for number in range(5)}
    shown = "".join(f"<img src={name[5:]}>" for name in images)
    write(project, {"site/index.html": f"<title>t</title>{shown}", **images})
    derived = lambda request: bool({"format", "size"} & request.query.keys())  # noqa: E731
    host.server.fail(*[Fault.RESET_AFTER_BODY] * 99, when=derived)
    report = run(capsys, host, "--concurrency", "1", "--retries", "1")
    assert "5 images keep the plain address: http://127" in report["err"]
    assert "format=" not in report["page"]
    assert len(re.findall('src="?http://127', report["page"])) == 5
    assert len({request.target for request in host.server.requests() if derived(request)}) == 3
    host.server.calm()
    assert "format=webp" in run(capsys, host)["page"]


def test_what_was_seen_and_cannot_be_written_down_is_told_in_words(project, capsys, host):
    """The lock's place is taken while the copies are asked for."""
    serve, lock = host.server.route, Path("imghost.lock")

    def route(request):
        if "format" in request.query and lock.is_file():
            lock.rename("kept")
            lock.mkdir()
        return serve(request)

    host.server.route = route
    report = run(capsys, host)
    assert "imghost.lock cannot be written: Is a directory; make room or change its mode" in report["err"]
    assert "format=webp" in report["page"]


def test_an_original_served_in_place_of_a_conversion_is_none(project, capsys, host):
    host.refuses, host.answer = ("format",), Reply(200, PNG, (("Content-Type", "image/png"),))
    report = run(capsys, host)
    assert "format=" not in report["page"]
    assert "not image/webp" in report["err"]


def test_without_leave_to_ask_nothing_is_named_that_nobody_saw(project, capsys, host):
    host.refuses = ("format", "size")
    run(capsys, host)
    report = run(capsys, host, "--frozen")
    assert report["requests"] == 0
    assert "format=" not in report["page"]


@pytest.mark.parametrize(
    ("status", "state"), [(422, "dead"), (403, "dead"), (410, "dead"), (500, "unknown"), (429, "unknown")]
)
def test_every_status_but_200_fails_the_verdict_of_a_page(status, state, project, capsys, host):
    run(capsys, host)
    host.refuses, host.answer = ("format",), Reply(status, b"no", (("Content-Type", "text/plain"),))
    capsys.readouterr()
    chosen = ["--host", "img.pro", "--option", f"api_url={host.api_url}", "--retries", "1"]
    assert main(["verify", "--json", "--site", "site", *chosen]) == 1
    states = {row["state"] for row in json.loads(capsys.readouterr().out)["images"] if "format" in row["url"]}
    assert states == {state}


QUERIES = {
    "img.html": ('<img src="a.png?w=100&rotate=90">', '<img src="{}">', '<img src="{}?w=100&rotate=90">'),
    "fragment.html": (
        "<img src='a.png?v=1#only-dark'>",
        "<img src='{}#only-dark'>",
        "<img src='{}?v=1#only-dark'>",
    ),
    "set.html": ("<img srcset='a.png?size=s 2x'>", "<img srcset='{} 2x'>", "<img srcset='{}?size=s 2x'>"),
    "style.html": ("<p style='background:url(a.png?format=avif)'>", "<p style='background:url({})'>",
                   "<p style='background:url({}?format=avif)'>"),
    "bare.html": ("<a href=a.png?download>x</a>", "<a href={}>x</a>", "<a href={}?download>x</a>"),
}  # fmt: skip


@pytest.mark.parametrize("obeys", [True, False])
def test_the_query_of_an_old_address_asks_nothing_of_a_host_that_reads_queries(obeys, tmp_path, monkeypatch, capsys):
    """A hosted address is never old, so what only kept old copies away has no use; elsewhere it stays as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    write(tmp_path / "site", {"a.png": picture(1), **{name: pages[0] for name, pages in QUERIES.items()}})
    with ImgPro("images") as double:
        network = ("--host", "img.pro", "--option", f"api_url={double.api_url}")
        folder = ("--host", "directory", "--option", "base_url=https://cdn.test/", "--option", "path=hosted")
        assert main(["rehost", "site", "--json", *(network if obeys else folder)]) == 0
    report = json.loads(capsys.readouterr().out)
    url = report["uploads"][0]["url"]
    for name, (_, dropped, kept) in QUERIES.items():
        assert Path("site", name).read_text() == (dropped if obeys else kept).format(url)


def check(capsys: pytest.CaptureFixture[str], host: ImgPro, *arguments: str) -> tuple[int, list[str]]:
    """Ask what is missing, which asks no host; gives the status, and the images without what is asked for."""
    capsys.readouterr()
    asked = len(host.server.requests())
    status = main(["check", "site", "--json", "--host", "img.pro", "--option", f"api_url={host.api_url}", *arguments])
    assert len(host.server.requests()) == asked
    return status, json.loads(capsys.readouterr().out)["incomplete"]


@pytest.mark.parametrize("asked", [("--format", "webp"), ("--responsive",), ("--format", "avif", "--responsive")])
def test_check_sees_addresses_that_nobody_has_fetched(project, capsys, host, asked):
    plain = ["rehost", "site", "--host", "img.pro", "--option", f"api_url={host.api_url}"]
    assert main(plain) == 0
    assert check(capsys, host) == (0, [])
    assert check(capsys, host, *asked) == (1, ["a.png"])
    assert check(capsys, host, *asked, "--no-verify") == (0, [])  # nothing would be fetched
    assert main([*plain, *asked]) == 0
    assert check(capsys, host, *asked) == (0, [])


@pytest.mark.parametrize(
    ("answer", "is_final"),
    [
        (Odd.answer, True),
        (Reply(200, PNG, (("Content-Type", "image/png"),)), True),
        (Reply(404, b"no", (("Content-Type", "text/plain"),)), True),
        (Reply(503, b"no", (("Content-Type", "text/plain"),)), False),
        (Reply(429, b"no", (("Content-Type", "text/plain"),)), False),
    ],
)
def test_check_is_not_red_for_ever_for_what_the_host_does_not_make(project, capsys, host, answer, is_final):
    host.refuses, host.answer = ("format",), answer
    asked = ("--format", "webp", "--responsive", "--retries", "1")
    run(capsys, host, "--retries", "1")
    before = Path("imghost.lock").read_bytes()
    assert check(capsys, host, *asked) == ((0, []) if is_final else (1, ["a.png"]))
    again = run(capsys, host, "--retries", "1")
    assert again["requests"] > 0  # a build asks again, and warns
    assert "plain address" in again["err"]
    assert Path("imghost.lock").read_bytes() == before
    host.refuses = ()
    assert "format=webp" in run(capsys, host)["page"]
    assert check(capsys, host, *asked) == (0, [])


def test_without_verify_addresses_are_named_that_nobody_has_seen(project, capsys, host):
    """As the plain ones are: the user has said that nothing is to be fetched."""
    host.refuses = ("format", "size")
    report = run(capsys, host, "--no-verify")
    assert host.shown == []
    assert "format=webp" in report["page"]
    assert "srcset" in report["page"]
    assert "plain address" not in report["err"]


@pytest.mark.parametrize("status", [203, 206, 226, 304])
def test_an_image_under_another_status_than_200_is_none(status, project, capsys, host):
    """What answers a question that nobody asked (a range, a condition) may be another thing for a reader."""
    body = b"" if status == 304 else picture(1, SIZE, "WEBP")
    host.refuses, host.answer = ("format",), Reply(status, body, (("Content-Type", "image/webp"),))
    report = run(capsys, host)
    assert "format=" not in report["page"]
    assert f"answers {status}" in report["err"]


def many_images(count: int) -> None:
    """Put more images into the site, each on the page."""
    shown = "".join(f"<img src={number}.png>" for number in range(2, count + 1))
    write(Path("site"), {f"{number}.png": picture(number, SIZE) for number in range(2, count + 1)})
    write(Path("site"), {"index.html": f"<title>t</title><img src=a.png>{shown}"})


def test_what_was_seen_of_one_image_says_nothing_of_another(project, capsys, host):
    many_images(3)
    host.only = 1
    host.refuses = ("format", "size")
    page = run(capsys, host)["page"]
    named = [tag for tag in re.findall("<img[^>]*>", page) if "format=" in tag]
    assert len(named) == 2
    assert all("srcset" in tag for tag in named)
    kinds = [row["shown"] for row in map(json.loads, Path("imghost.lock").read_text().splitlines()) if "shown" in row]
    assert len(kinds) == 2


def test_a_host_that_does_not_say_how_it_converts_leaves_the_plain_addresses(project, capsys, host):
    published(host)
    route = host.server.route
    host.server.route = lambda request: Reply(503, b"") if request.path.startswith("/v1") else route(request)
    report = run(capsys, host, "--retries", "1")
    assert "format=" not in report["page"]
    assert "1 image keeps the plain address" in report["err"].replace("image keep ", "image keeps ")
    host.server.route = route
    assert "format=webp" in run(capsys, host)["page"]


def test_sizes_are_not_named_in_a_form_that_the_image_itself_does_not_have(project, capsys, host):
    """A reader's browser may take any of them."""
    host.refuses, host.spares = ("format",), ("size",)
    report = run(capsys, host)
    assert ("srcset" in report["page"], "format=" in report["page"]) == (False, False)


def test_a_size_that_was_seen_says_nothing_of_its_other_format(project, capsys, host):
    published(host, "--responsive")
    assert len(host.shown) == 1
    host.both = True
    page = run(capsys, host)["page"]
    assert ("srcset" in page, "format=webp" in page) == (False, True)


@pytest.mark.parametrize("kinds", ["5", "true", '"size"', '{"size": 1}', "[5, null]", "null"])
def test_a_lock_that_tells_of_them_in_another_way_tells_nothing(kinds, project, capsys, host):
    run(capsys, host)
    lock = Path("imghost.lock")
    changed = re.sub(r'"shown": *\[[^]]*\]', f'"shown": {kinds}', lock.read_text())
    assert changed != lock.read_text()
    lock.write_text(changed)
    write(Path("site"), {"index.html": "<title>t</title><img src=a.png>"})
    report = run(capsys, host)
    assert report["requests"] > 0
    assert "format=webp" in report["page"]


@pytest.mark.parametrize(("form", "is_still"), [("GIF", False), ("PNG", False), ("WEBP", False), ("PNG", True)])
def test_an_animation_keeps_its_one_address(form, is_still, project, capsys, host):
    """Whether a conversion moves, no fetch tells; and img.pro's makes a still of some."""
    frames = [Picture.new("RGB", SIZE, (80 * number, 9, 9)) for number in range(1 if is_still else 3)]
    file = io.BytesIO()
    frames[0].save(file, form, save_all=not is_still, **({} if is_still else {"append_images": frames[1:]}))
    write(Path("site"), {"index.html": "<title>t</title><img src=a.png>", "a.png": file.getvalue()})
    page = run(capsys, host, "--responsive")["page"]
    assert ("format=" in page, "srcset" in page) == (is_still, is_still)


def test_a_way_that_was_found_today_changes_no_address_that_was_seen_before(project, capsys, host):
    """A host that has moved on may still convert the old copies as it did, and nobody has seen others of them."""
    host.generation = "upload"
    own = ("--option", "api=auto")
    first = run(capsys, host, *own)["page"]
    assert "i000000.webp" in first
    host.generation = "images"
    many_images(2)
    page = run(capsys, host, *own)["page"]
    assert "i000000.webp" in page
    assert "i000001.png?format=webp" in page


def test_a_later_copy_that_nobody_has_seen_stays_in_the_lock(project, capsys, host):
    """What is told of a record is told of that one alone."""
    published(host)
    file = Path("imghost.lock")
    known = locks.read(file)
    [record] = known.records
    later = replace(record, url=record.url.replace("i0", "i9"), id="i900000", uploaded=record.uploaded + timedelta(1))
    file.write_text(file.read_text() + locks.render_record(unconfirmed(later)) + "\n")
    assert "format=webp" in run(capsys, host)["page"]
    left = locks.read(file)
    assert [(it.url, it.extra.get("shown")) for it in left.unconfirmed] == [(later.url, None)]
    assert [it.url for it in left.records] == [record.url]
