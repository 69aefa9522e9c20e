"""Whole runs whose pages come out better, looked at in a real browser where a reader would look."""

from __future__ import annotations

import io
import json
import mimetypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from doubles.imgpro_copies import varied
from doubles.server import Reply, Request, Server
from PIL import Image as Picture
from PIL import ImageSequence
from playwright.sync_api import Browser, Page, Route, sync_playwright
from sites import picture, tree, write

from imghost.cli.main import main

CHROMIUM = Path("/usr/bin/chromium")
EVERY = ("--responsive", "--format", "webp", "--dimensions", "--lazy", "--fallback")
NARROWING = "<style>body{margin:0}img{max-width:100%}</style>"
"""What Sphinx's basic theme says of images: they get narrower, of their height nothing."""

in_a_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium")


def plain(size: tuple[int, int], colour: str, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Picture.new("RGB", size, colour).save(stream, form)
    return stream.getvalue()


def moving(form: str, size: tuple[int, int] = (60, 40)) -> bytes:
    frames = [Picture.new("RGB", size, colour) for colour in ("red", "blue", "lime")]
    stream = io.BytesIO()
    frames[0].save(stream, form, save_all=True, append_images=frames[1:], duration=90, loop=0)
    return stream.getvalue()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, as the current one, with a key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    return tmp_path


@pytest.fixture
def host() -> Iterator[ImgPro]:
    with ImgPro("images") as host:
        yield host


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def site(project: Path) -> Iterator[Server]:
    """The built site, served."""

    def route(request: Request) -> Reply:
        file = project / "site" / unquote(request.path).lstrip("/")
        if not file.is_file():
            return Reply(404, b"not there", (("Content-Type", "text/plain"),))
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return Reply(200, file.read_bytes(), (("Content-Type", kind),))

    with Server(route) as server:
        yield server


def run(capsys: pytest.CaptureFixture[str], host: ImgPro | None, *arguments: str) -> dict[str, Any]:
    """Run `imghost rehost site` and give its report."""
    capsys.readouterr()
    where = ("--host", "img.pro", "--option", f"api_url={host.api_url}") if host else ()
    status = main(["rehost", "site", "--json", *where, *arguments])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    return json.loads(printed.out) | {"err": printed.err}


def page_with(*images: str, head: str = "") -> str:
    return f'<!doctype html><meta charset="utf-8"><title>t</title>{head}{NARROWING}' + "".join(images)


def shown(page: Page) -> list[dict[str, Any]]:
    """Wait for what is being loaded, and say of each image what it is and how large."""
    page.wait_for_function("[...document.images].every(i => i.complete || i.loading == 'lazy')")
    return page.eval_on_selector_all(
        "img",
        "all => all.map(i => { const box = i.getBoundingClientRect(); return {src: i.currentSrc, "
        "natural: i.naturalWidth, width: box.width, height: box.height} })",
    )


@contextmanager
def window(browser: Browser, url: str, width: int = 1280, density: float = 1) -> Iterator[Page]:
    """Open a page in a window of its own, with an empty cache."""
    context = browser.new_context(viewport={"width": width, "height": 900}, device_scale_factor=density)
    page = context.new_page()
    page.goto(url)
    yield page
    context.close()


def fetched(host: ImgPro) -> list[str]:
    return [request.query.get("size", "whole") for request in host.server.requests("GET") if request.path[:3] == "/t/"]


@in_a_browser
class TestResponsive:
    """A reader gets the size that the window needs, and sees the page as it was."""

    @pytest.mark.long
    def test_each_window_fetches_the_size_it_needs(self, project, capsys, host, site, browser):
        write(project / "site", {"a.png": plain((1100, 1085), "teal"), "index.html": page_with('<img src="a.png">')})
        run(capsys, host, "--responsive")
        for width, density, size in (
            (300, 1, "s"),
            (600, 1, "m"),
            (300, 2, "m"),
            (1000, 1, "l"),
            (1900, 1, "whole"),
        ):
            before = len(fetched(host))
            with window(browser, f"{site.url}/index.html", width, density) as page:
                [image] = shown(page)
            assert fetched(host)[before:] == [size], width
            assert abs(image["width"] - min(width, 1100)) < 1

    @pytest.mark.long
    def test_an_image_is_as_large_as_before(self, project, capsys, host, site, browser):
        owns = (
            "",
            'width="300"',
            'style="width:50%"',
            'class="low"',
            'width="80%"',
            'style="height:50px"',
            'width="0"',
        )
        head = "<style>.low{height:90px;width:auto}</style>"
        shows = [f'<p><img src="a.png" {own}>' for own in ("", *owns)]
        write(project / "site", {"a.png": plain((900, 600), "teal"), "index.html": page_with(*shows, head=head)})
        widths = (350, 700, 1280)
        before = [self.sizes(browser, site, width) for width in widths]
        run(capsys, host, *EVERY)
        after = [self.sizes(browser, site, width) for width in widths]
        assert "/t/" in (project / "site/index.html").read_text()
        for old, new in zip(before, after, strict=True):
            assert len(old) == len(owns) + 1
            assert all(abs(a - b) < 2 for one, two in zip(old, new, strict=True) for a, b in zip(one, two, strict=True))

    def sizes(self, browser: Browser, site: Server, width: int) -> list[tuple[float, float]]:
        with window(browser, f"{site.url}/index.html", width) as page:
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            page.wait_for_load_state("networkidle")
            return [(image["width"], image["height"]) for image in shown(page)]

    def test_a_browser_shows_the_format_that_is_asked_for(self, project, capsys, host, site, browser):
        write(project / "site", {"a.png": plain((400, 390), "teal"), "index.html": page_with('<img src="a.png">')})
        run(capsys, host, "--format", "webp", "--responsive")
        with window(browser, f"{site.url}/index.html", 300) as page:
            [image] = shown(page)
        assert image["src"].endswith("?size=s&format=webp")
        assert image["natural"] == 300


@in_a_browser
class TestDimensions:
    """What is below an image does not move when it is loaded."""

    @pytest.mark.long
    def test_no_layout_shifts_when_images_arrive(self, project, capsys, host, site, browser):
        write(
            project / "site",
            {"a.png": plain((800, 600), "teal"), "index.html": page_with('<img src="a.png">', "<p id=below>below")},
        )
        run(capsys, host, "--dimensions")
        for width in (300, 1200):
            with window(browser, "about:blank", width) as page:
                before, [image], after = self.arriving(page, f"{site.url}/index.html")
            assert image["natural"] == 800
            assert after == before > 100
            assert abs(image["width"] / image["height"] - 4 / 3) < 0.01

    def arriving(self, page: Page, url: str) -> tuple[float, list[dict[str, Any]], float]:
        """Load a page, its images only after a look at it."""
        waiting: list[Route] = []

        def hold(route: Route) -> None:
            waiting.append(route)

        page.route("**/t/**", hold)
        page.goto(url, wait_until="domcontentloaded")
        before = self.below(page)
        for _ in range(500):
            if waiting:
                break
            page.wait_for_timeout(10)
        [route] = waiting
        route.continue_()
        return before, shown(page), self.below(page)

    def below(self, page: Page) -> float:
        return float(page.eval_on_selector("#below", "p => p.getBoundingClientRect().top"))


@in_a_browser
class TestLazy:
    """What is far below is fetched when the reader comes near."""

    @pytest.mark.long
    def test_a_far_image_waits(self, project, capsys, host, site, browser):
        far = '<img src="a.png"><div style="height:20000px"></div><img src="b.png">'
        write(project / "site", {"a.png": picture(1), "b.png": picture(2), "index.html": page_with(far)})
        run(capsys, host, "--lazy", "--dimensions")
        before = len(fetched(host))
        with window(browser, f"{site.url}/index.html") as page:
            assert [image["natural"] for image in shown(page)] == [40, 0]
            assert len(fetched(host)) == before + 1
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            page.wait_for_function("document.images[1].naturalWidth > 0")


@in_a_browser
class TestFallback:
    """When the host is gone the reader still sees the page."""

    @pytest.mark.long
    def test_the_local_copies_are_shown(self, project, capsys, site, browser):
        write(
            project / "site",
            {
                "im ages/a'b.png": plain((900, 700), "teal"),
                "c.png": picture(2),
                "deep/p.html": page_with('<img src="../im%20ages/a\'b.png">', '<img src="../c.png?v=1#only-dark">'),
            },
        )
        with ImgPro("upload") as host:
            run(capsys, host, *EVERY)
        with window(browser, f"{site.url}/deep/p.html") as page:
            page.wait_for_function("[...document.images].every(i => i.naturalWidth > 0)")
            images = shown(page)
        assert [image["natural"] for image in images] == [900, 40]
        assert [image["src"].removeprefix(site.url) for image in images] == [
            "/im%20ages/a'b.png",
            "/c.png?v=1#only-dark",
        ]

    def test_a_local_copy_that_is_gone_is_asked_for_once(self, project, capsys, site, browser):
        write(project / "site", {"c.png": picture(2), "p.html": page_with('<img src="c.png">')})
        with ImgPro("upload") as host:
            run(capsys, host, *EVERY)
        (project / "site/c.png").unlink()
        with window(browser, f"{site.url}/p.html") as page:
            page.wait_for_function("document.images[0].src.endsWith('c.png') && document.images[0].complete")
            page.wait_for_timeout(200)
        assert len(site.requests("GET", "/c.png")) == 1

    def test_a_policy_without_inline_scripts_is_told_and_left_alone(self, project, capsys, host, site, browser):
        policy = f"script-src 'self'; img-src 'self' https://src.img.pro {host.server.url}"
        meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        write(
            project / "site",
            {"a.png": picture(1), "index.html": page_with('<img src="a.png">', head=meta), "b.html": "<img src=a.png>"},
        )
        report = run(capsys, host, "--fallback")
        assert "1 page has no fallback: a Content-Security-Policy forbids inline scripts there" in report["err"]
        assert "onerror" not in (project / "site/index.html").read_text()
        assert "onerror" in (project / "site/b.html").read_text()
        said: list[str] = []
        with window(browser, "about:blank") as page:
            page.on("console", lambda message: said.append(message.text))
            page.goto(f"{site.url}/index.html")
            assert [(image["natural"], "/t/" in image["src"]) for image in shown(page)] == [(40, True)]
        assert [text for text in said if "policy" in text.lower()] == []


def small(project: Path) -> Path:
    return write(
        project / "site",
        {
            "a.png": plain((900, 600), "teal"),
            "b.jpg": plain((700, 500), "navy", "JPEG"),
            "move.gif": moving("GIF"),
            "index.html": page_with('<img src="a.png">\r\n', "<IMG SRC=b.jpg ALT='é'>", '<img src="move.gif">'),
            "deep/p.html": page_with('<a href="../a.png"><img src="../a.png#only-dark"></a>'),
            "none.html": page_with("<p>no image"),
        },
    )


class TestIncremental:
    """Any build leaves what a clean one would, whatever option changed before it."""

    CHOICES = ((), EVERY, ("--dimensions",), ("--format", "avif", "--responsive"), ("--lazy", "--fallback"), ())

    @pytest.mark.long
    def test_each_choice_of_options_leaves_the_pages_of_a_clean_build(self, project, capsys, host):
        small(project)
        for choice in self.CHOICES:
            run(capsys, host, *choice)
            found = tree(project / "site", ".html")
            assert run(capsys, host, *choice)["requests"] == 0
            assert tree(project / "site", ".html") == found
            shutil.move(project / "site", project / "kept")
            shutil.move(project / ".cache", project / "kept-cache")
            small(project)
            assert run(capsys, host, *choice)["images"]["uploaded"] == 0
            assert tree(project / "site", ".html") == found, choice
            shutil.rmtree(project / "site")
            shutil.rmtree(project / ".cache")
            shutil.move(project / "kept", project / "site")
            shutil.move(project / "kept-cache", project / ".cache")
        assert len(host.copies) == 3

    def test_an_unchanged_page_is_not_written_again(self, project, capsys, host):
        small(project)
        run(capsys, host, *EVERY)
        stamps = {path: path.stat().st_mtime_ns for path in (project / "site").rglob("*.html")}
        run(capsys, host, *EVERY)
        assert {path: path.stat().st_mtime_ns for path in stamps} == stamps

    def test_restore_puts_every_byte_back(self, project, capsys, host):
        before = tree(small(project))
        run(capsys, host, *EVERY)
        assert tree(project / "site") != before
        where = ("--host", "img.pro", "--option", f"api_url={host.api_url}")
        assert main(["restore", "site", *where]) == 0
        assert tree(project / "site") == before

    def test_a_changed_image_changes_its_size_and_its_sizes(self, project, capsys, host):
        small(project)
        run(capsys, host, *EVERY)
        write(project / "site", {"a.png": plain((400, 800), "teal")})
        run(capsys, host, *EVERY)
        page = (project / "site/deep/p.html").read_text("utf-8")
        assert 'width="400" height="800"' in page
        assert re.search(r'srcset="[^" ]*\?size=s&amp;format=webp 320w, [^" ]*\?format=webp 400w"', page)


class TestPayloads:
    """What is sent is what the options say, and what moves goes on moving."""

    def test_animated_images_stay_animated_and_keep_one_address(self, project, capsys, host):
        write(
            project / "site",
            {
                "a.gif": moving("GIF"),
                "a.webp": moving("WEBP"),
                "index.html": '<title>t</title><img src="a.gif"><img src="a.webp">',
            },
        )
        run(capsys, host, *EVERY)
        page = (project / "site/index.html").read_text()
        assert "format=" not in page
        assert "srcset=" not in page
        assert page.count('width="60" height="40"') == 2
        for copy in host.copies.values():
            with Picture.open(io.BytesIO(copy.body)) as served:
                assert len(list(ImageSequence.Iterator(served))) == 3

    def test_what_moves_is_hosted_and_still_moves(self, project, capsys, host):
        """It is made smaller frame by frame, or sent as it is where that gains nothing."""
        write(project / "site", {"a.gif": moving("GIF", (300, 200)), "index.html": '<img src="a.gif">'})
        run(capsys, host, *EVERY, "--max-edge", "100", "--oversize", "resize")
        [copy] = host.copies.values()
        with Picture.open(io.BytesIO(copy.body)) as served:
            assert len(list(ImageSequence.Iterator(served))) == 3
        assert len(copy.body) <= len((project / "site/a.gif").read_bytes())

    def test_sizes_are_those_of_the_smaller_image_that_was_sent(self, project, capsys, host):
        write(
            project / "site", {"a.png": plain((1200, 900), "teal"), "index.html": '<title>t</title><img src="a.png">'}
        )
        run(capsys, host, *EVERY, "--max-edge", "600")
        page = (project / "site/index.html").read_text()
        [copy] = host.copies.values()
        assert (copy.width, copy.height) == (600, 450)
        assert 'width="600" height="450"' in page
        assert "?size=s&amp;format=webp 426w" in page
        assert "size=m" not in page

    def test_an_image_that_is_turned_has_the_size_that_a_browser_shows(self, project, capsys, host):
        stream = io.BytesIO()
        turned = Picture.Exif()
        turned[0x0112] = 6
        turned[0x010F] = "a maker"
        Picture.new("RGB", (90, 60)).save(stream, "JPEG", exif=turned)
        write(project / "site", {"a.jpg": stream.getvalue(), "index.html": '<title>t</title><img src="a.jpg">'})
        run(capsys, None, "--host", "directory", "--dimensions")
        assert 'width="60" height="90"' in (project / "site/index.html").read_text()


class TestHosts:
    """What a host cannot do is said in a line, and is no warning."""

    def test_the_directory_says_what_it_does_not_do_and_does_the_rest(self, project, capsys):
        small(project)
        report = run(capsys, None, "--host", "directory", *EVERY, "--strict")
        assert "'fallback' changes nothing" in report["err"]
        assert "'responsive'" not in report["err"]  # its sizes and formats are made here
        assert "'format'" not in report["err"]
        page = (project / "site/index.html").read_text()
        assert 'width="700" height="500"' in page
        assert page.count('loading="lazy"') == 2

    def test_fallback_and_remove_local_exclude_each_other(self, project, capsys):
        small(project)
        before = tree(project / "site")
        assert main(["rehost", "site", "--fallback", "--remove-local"]) == 2
        assert "'fallback' shows local copies, and 'remove_local' deletes them" in capsys.readouterr().err
        assert tree(project / "site") == before

    def test_nothing_is_added_where_images_stay_local(self, project, capsys, monkeypatch):
        monkeypatch.delenv("IMGPRO_API_KEY")
        before = tree(small(project))
        run(capsys, None, "--host", "img.pro", *EVERY)
        assert tree(project / "site") == before


class TestGenerators:
    """The options work in a generator's configuration, and what a host cannot do is no warning there."""

    @pytest.mark.long
    def test_mkdocs_builds_strictly(self, project):
        write(
            project,
            {
                "mkdocs.yml": "site_name: S\nplugins:\n  - imghost:\n      host: directory\n      dimensions: true\n"
                "      lazy: true\n      format: avif\n      responsive: true\n",
                "docs/index.md": "![a](a.png) ![b](b.png)\n",
                "docs/a.png": picture(1),
                "docs/b.png": picture(2),
            },
        )
        done = build(project, "mkdocs", "build", "--strict")
        assert done.returncode == 0, done.stderr
        assert "changes nothing" not in done.stderr
        page = (project / "site/index.html").read_text("utf-8")
        assert page.count('<img width="40" height="30"') == 2
        assert page.count(' loading="lazy"') == 1

    @pytest.mark.long
    def test_sphinx_builds_strictly_and_again_the_same(self, project):
        write(
            project,
            {
                "conf.py": "extensions = ['sphinx_imghost']\nimghost_host = 'directory'\nimghost_dimensions = True\n"
                "imghost_lazy = True\nimghost_responsive = True\nimghost_fallback = True\n",
                "index.rst": "Title\n=====\n\n.. image:: a.png\n\n.. image:: b.png\n   :width: 20px\n",
                "a.png": picture(1),
                "b.png": picture(2),
            },
        )
        for _ in range(2):
            done = build(project, "sphinx", "-b", "html", "-W", ".", "site")
            assert done.returncode == 0, done.stderr
            page = (project / "site/index.html").read_text("utf-8")
            assert page.count('width="40" height="30"') == page.count('loading="lazy"') == page.count("<style>") == 1


def build(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = {name: text for name, text in os.environ.items() if name != "IMGPRO_API_KEY"}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


def test_the_double_serves_sizes_as_the_host_does(host):
    host.copies["i"] = copy = host._keep(None, {}, part(plain((900, 600), "teal")))
    for query, size, form in (
        ({"size": "s"}, (480, 320), "PNG"),
        ({"size": "l"}, (900, 600), "PNG"),
        ({"size": "m", "format": "webp"}, (900, 600), "WEBP"),
        ({"format": "tiff", "size": "xxl"}, (900, 600), "PNG"),
    ):
        with Picture.open(io.BytesIO(varied(copy, query)[0])) as served:
            assert (served.size, served.format) == (size, form)


def part(body: bytes) -> Any:
    from doubles.server import Part

    return Part("a.png", "image/png", body)


def test_what_a_page_is_to_become_is_written_down_alike_in_every_process():
    """Sets of texts have another order in each, and a page that is as it should be would be read again."""
    code = (
        "from imghost.html.improve import shaping_of;from imghost.run.rewrite import _in_order;"
        "print(_in_order(shaping_of('.a .b img.c,#d p img{height:2em;width:3em}.e,.f{flex-flow:column}')))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in range(3)
    }
    assert len(told) == 1
