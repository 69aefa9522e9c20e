"""Hosted sites in a real browser: no image fails, and what themes do with images still works."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from themes import THEMES, build

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
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
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


class _Sites:
    """The themes' sites, each built once, with its images on a server of their own."""

    def __init__(self, folder: Path, servers: ExitStack):
        self._folder, self._servers = folder, servers
        self._built: dict[str, tuple[Path, str, str]] = {}

    def of(self, theme: str) -> tuple[Path, str, str]:
        """Give a theme's site as a folder, its URL and that of its images."""
        if theme not in self._built:
            folder = self._folder / theme
            images = self._servers.enter_context(served(folder / "hosted"))
            where = {"path": "../hosted", "base_url": images}
            site = build(theme, folder / "project", {"host": "directory", "options": where})
            self._built[theme] = site, self._servers.enter_context(served(site)), images
        return self._built[theme]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Sites]:
    with ExitStack() as servers:
        yield _Sites(tmp_path_factory.mktemp("sites"), servers)


@contextmanager
def shown(browser: Any, sites: _Sites, theme: str, density: int = 1) -> Iterator[tuple[Any, str, str]]:
    """Open a page for a theme's site; gives it, the site's and the images' URLs.

    At the end no request to either server may have failed, and nobody else may have been asked for an image;
    the scripts that some themes have from elsewhere are refused.
    """
    _, url, images = sites.of(theme)
    page = browser.new_page(color_scheme="light", device_scale_factor=density)
    answers: list[tuple[int, str]] = []
    pictures: list[str] = []
    page.route(lambda asked: not asked.startswith((url, images, "data:")), lambda route: route.abort())
    page.on("response", lambda answer: answers.append((answer.status, answer.url)))
    page.on("request", lambda asked: asked.resource_type == "image" and pictures.append(asked.url))
    yield page, url, images
    page.close()
    assert [found for found in answers if found[0] >= 400 and not found[1].endswith("favicon.ico")] == []
    assert [address for address in pictures if not address.startswith((url, images, "data:"))] == []
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


@pytest.mark.sampled(1)
@pytest.mark.parametrize("theme", THEMES)
def test_no_image_fails(browser, sites, theme):
    with shown(browser, sites, theme) as (page, url, images):
        folder, *_ = sites.of(theme)
        drawn = 0
        for file in sorted(folder.rglob("*.html")):
            if "<img" not in file.read_text("utf-8") or "_static" in file.parts:
                continue
            page.goto(url + file.relative_to(folder).as_posix())
            assert broken(page) == [], file
            for found in page.locator(".drawn").all():
                background = found.evaluate("element => getComputedStyle(element).backgroundImage")
                assert background.startswith(f'url("{images}')
                assert (
                    page.evaluate(f"[...document.images].filter(image => image.src.startsWith('{images}')).length") >= 2
                )
                drawn += 1
        assert drawn == 2


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("theme", "switch"),
    [
        ("material", "label[for='__palette_1'], label[for='__palette_0']"),
        ("minified", "label[for='__palette_1'], label[for='__palette_0']"),
        ("furo", ".theme-toggle-header, .theme-toggle-content .theme-toggle, button.theme-toggle"),
        ("pydata", "button.theme-switch-button, button.theme-change-button[data-mode='dark']"),
        ("book", "button.theme-switch-button, button.theme-change-button[data-mode='dark']"),
    ],
)
def test_switch_between_light_and_dark_shows_the_other_image(browser, sites, theme, switch):
    with shown(browser, sites, theme) as (page, url, images):
        page.set_viewport_size({"width": 1400, "height": 900})
        page.goto(url)
        assert visible(page, images) == [1, 0]
        for _ in range(3):
            [found for found in page.locator(switch).all() if found.is_visible()][-1].click()
            if visible(page, images) == [0, 1]:
                break
        assert visible(page, images) == [0, 1]
        assert broken(page) == []


@pytest.mark.long
@pytest.mark.parametrize("theme", ["material", "minified"])
def test_lightbox_opens_the_hosted_image(browser, sites, theme):
    with shown(browser, sites, theme) as (page, url, images):
        page.goto(url)
        page.locator("a.glightbox img.large").click()
        opened = page.locator(".gslide.current img")
        opened.wait_for(state="visible")
        assert opened.get_attribute("src").startswith(images)
        assert opened.evaluate("image => image.decode().then(() => image.naturalWidth)") == 120


@pytest.mark.long
@pytest.mark.parametrize("theme", ["mkdocs", "minified", "rtd"])
def test_image_map_leads_where_it_did(browser, sites, theme):
    with shown(browser, sites, theme) as (page, url, images):
        page.goto(url)
        plan = page.locator("#plan")
        assert plan.get_attribute("src").startswith(images)
        plan.click(position={"x": 100, "y": 40}, force=True)
        assert page.url.endswith("#right")
        plan.click(position={"x": 20, "y": 40}, force=True)
        assert page.url.endswith("#left")


@pytest.mark.long
@pytest.mark.parametrize("theme", ["alabaster", "gallery"])
def test_module_index_folds_its_groups(browser, sites, theme):
    with shown(browser, sites, theme) as (page, url, _):
        page.goto(url)
        page.goto(url + "py-modindex.html")
        inner = page.locator("text=alpha.inner")
        toggler = page.locator("img.toggler")
        was = inner.is_visible()
        assert toggler.get_attribute("src").endswith("minus.png" if was else "plus.png")
        toggler.click()
        assert inner.is_visible() is not was
        assert toggler.get_attribute("src").endswith("plus.png" if was else "minus.png")
        assert broken(page) == []


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("theme", "place", "density", "width", "kind"),
    [
        ("gallery", "gallery/plot_first.html", 1, 120, "png"),
        ("gallery", "gallery/plot_first.html", 2, 240, "png"),
        ("photofinish", "index.html", 1, 100, "webp"),
        ("photofinish", "index.html", 2, 120, "webp"),
    ],
)
def test_screen_gets_the_hosted_image_of_its_density(browser, sites, theme, place, density, width, kind):
    with shown(browser, sites, theme, density) as (page, url, images):
        page.goto(url + place)
        assert broken(page) == []
        chosen = page.locator("img.sphx-glr-single-img, picture img[loading]").first.evaluate(
            "image => image.currentSrc"
        )
        assert chosen.startswith(images)
        assert chosen.endswith(f".{kind}")
        load = "url => { const image = new Image(); image.src = url; return image.decode().then(() => image.naturalWidth) }"
        assert page.evaluate(load, chosen) == width
