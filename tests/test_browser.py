"""Hosted sites in a real browser: no image fails, and what themes do with images still works."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from themes import build

playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
    pytest.mark.filterwarnings("ignore"),
]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback; gives its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@contextmanager
def shown(browser: Any, theme: str, folder: Path) -> Iterator[tuple[Any, str, str]]:
    """Build a theme's site with its images on a server of their own; gives a page, the site's and the images' URLs.

    At the end no request to either server may have failed, and nobody else may have been asked.
    """
    with served(folder / "hosted") as images:
        site = build(
            theme, folder / "project", {"host": "directory", "options": {"path": "../hosted", "base_url": images}}
        )
        with served(site) as url:
            page = browser.new_page(color_scheme="light")
            answers: list[tuple[int, str]] = []
            page.route(lambda asked: not asked.startswith((url, images, "data:")), lambda route: route.abort())
            page.on("response", lambda answer: answers.append((answer.status, answer.url)))
            yield page, url, images
            page.close()
            assert [found for found in answers if found[0] >= 400 and not found[1].endswith("favicon.ico")] == []
            assert any(address.startswith(images) for _, address in answers)


def broken(page: Any) -> list[str]:
    """Bring every image into view and list those that do not load."""
    page.evaluate(
        "async () => { for (const image of document.images) { image.loading = 'eager'; image.scrollIntoView();"
        " await Promise.race([image.decode().catch(() => 0), new Promise(end => setTimeout(end, 3000))]) } }"
    )
    return page.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.outerHTML)")


def visible(page: Any, images: str) -> list[int]:
    """List the widths at which the page's first two hosted images, the light and the dark one, are shown."""
    selector = "[src*='only-light'], [src*='only-dark'], .only-light, .only-dark"
    return page.evaluate(
        f"[...document.querySelectorAll(`{selector}`)].filter(image => image.tagName === 'IMG')"
        f".filter(image => image.src.startsWith('{images}')).map(image => image.offsetWidth && 1)"
    )


@pytest.mark.parametrize("theme", ["material", "readthedocs", "mkdocs", "alabaster", "furo", "pydata"])
def test_no_image_fails(browser, tmp_path, theme):
    with shown(browser, theme, tmp_path) as (page, url, images):
        deep = {"material": "deep/", "mkdocs": "deep/", "readthedocs": "deep.html"}.get(theme, "deep/page.html")
        for address in (url, url + deep):
            page.goto(address)
            assert broken(page) == []
            assert page.evaluate(f"[...document.images].filter(image => image.src.startsWith('{images}')).length") >= 2
            drawn = page.evaluate("getComputedStyle(document.querySelector('.drawn')).backgroundImage")
            assert drawn.startswith(f'url("{images}')


@pytest.mark.parametrize(
    ("theme", "switch"),
    [
        ("material", "label[for='__palette_1'], label[for='__palette_0']"),
        ("furo", ".theme-toggle-header, .theme-toggle-content .theme-toggle, button.theme-toggle"),
        ("pydata", "button.theme-switch-button, button.theme-change-button[data-mode='dark']"),
    ],
)
def test_switch_between_light_and_dark_shows_the_other_image(browser, tmp_path, theme, switch):
    with shown(browser, theme, tmp_path) as (page, url, images):
        page.set_viewport_size({"width": 1400, "height": 900})
        page.goto(url)
        assert visible(page, images) == [1, 0]
        for _ in range(3):
            [found for found in page.locator(switch).all() if found.is_visible()][-1].click()
            if visible(page, images) == [0, 1]:
                break
        assert visible(page, images) == [0, 1]
        assert broken(page) == []


def test_lightbox_opens_the_hosted_image(browser, tmp_path):
    with shown(browser, "material", tmp_path) as (page, url, images):
        page.goto(url)
        page.locator("a.glightbox img.large").click()
        opened = page.locator(".gslide.current img")
        opened.wait_for(state="visible")
        assert opened.get_attribute("src").startswith(images)
        assert opened.evaluate("image => image.decode().then(() => image.naturalWidth)") == 120


def test_image_map_leads_where_it_did(browser, tmp_path):
    with shown(browser, "mkdocs", tmp_path) as (page, url, images):
        page.goto(url)
        plan = page.locator("#plan")
        assert plan.get_attribute("src").startswith(images)
        plan.click(position={"x": 100, "y": 40}, force=True)
        assert page.url.endswith("#right")
        plan.click(position={"x": 20, "y": 40}, force=True)
        assert page.url.endswith("#left")


def test_module_index_folds_its_groups(browser, tmp_path):
    with shown(browser, "alabaster", tmp_path) as (page, url, _):
        page.goto(url)
        page.goto(url + "py-modindex.html")
        inner = page.locator("text=alpha.inner")
        assert not inner.is_visible() or page.locator("img.toggler").get_attribute("src").endswith("minus.png")
        was = inner.is_visible()
        page.locator("img.toggler").click()
        assert inner.is_visible() is not was
        assert page.locator("img.toggler").get_attribute("src").endswith("plus.png" if was else "minus.png")
        assert broken(page) == []
