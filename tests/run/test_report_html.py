"""The HTML report in a browser: for eyes and keyboards and screen readers, with few images and with 3,000."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import html5lib
import pytest
from sites import picture, write

from imghost.models import Failure
from imghost.run.report import Counts, Report, Shown
from imghost.run.report_html import STYLE, as_html

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
STATES = ("hosted", "uploaded", "kept", "failed")
in_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()


def image(number: int) -> Shown:
    state = STATES[number % 4]
    url = f"https://src.img.pro/a/{number}.png" if number % 4 < 2 else ""
    return Shown(
        path=f"images/shot-{number:04}.png",
        url=url,
        bytes=1000 * (number + 1),
        media_type="image/png",
        size=(40, 30),
        expires="2027-03-01" if number % 8 == 1 else None,
        pages=tuple(f"page-{page}.html" for page in range(1 + number % 8)),
        state=state,
        reason={"kept": "it matches 'exclude'", "failed": "img.pro answers 503"}.get(state, ""),
    )


def report(images: tuple[Shown, ...]) -> Report:
    failures = tuple(Failure(it.path, it.reason, "build again later") for it in images if it.state == "failed")
    counts = Counts(images=len(images), failed=len(failures), pages=9, pages_rewritten=8, references=7)
    return Report("docs/site", "img.pro", counts, failures=failures, images=images)


def written(folder: Path, images: tuple[Shown, ...]) -> Path:
    page = folder / "report.html"
    page.write_text(as_html(report(images), folder / "site", folder), "utf-8")
    return page


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """Open a report on eight images, in a browser without a network."""
    write(tmp_path / "site", {f"images/shot-{number:04}.png": picture(number) for number in range(8)})
    with browser.new_context(offline=True) as context:
        opened = context.new_page()
        wrong: list[str] = []
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.goto(written(tmp_path, tuple(map(image, range(8)))).as_uri())
        yield opened
        assert wrong == []


def paths(page: Page) -> list[str]:
    """List the images that are shown, by number, in their order."""
    named = page.locator("tbody tr:not([hidden]) th").all_text_contents()
    return [str(int(re.search(r"shot-(\d+)", text)[1])) for text in named]


@in_browser
class TestReader:
    def test_words_and_states_select_together_and_the_count_is_told(self, page):
        page.get_by_role("searchbox", name="Find").fill("PAGE-5 shot")
        assert paths(page) == ["5", "6", "7"]
        page.get_by_role("radio", name="failed").check(force=True)
        assert paths(page) == ["7"]
        assert page.get_by_role("status").inner_text() == "1 of 8 images"
        page.get_by_role("searchbox").fill("nothing like it")
        assert paths(page) == []
        page.get_by_role("button", name="Show all").click()
        assert len(paths(page)) == 8
        assert page.get_by_role("status").inner_text() == "8 images"

    def test_keyboard_alone_reaches_and_works_everything(self, page):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "words"
        page.keyboard.type("0003")
        assert paths(page) == ["3"]
        page.keyboard.press("Escape")
        assert len(paths(page)) == 8
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.value") == "failed"
        assert paths(page) == ["3", "7"]
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.locator("[aria-sort]").get_attribute("data-key") == "path"
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "words"

    @pytest.mark.parametrize(("name", "first"), [("Size", "7"), ("Path and address", "0"), ("Shown on", "7")])
    def test_columns_sort_both_ways_and_say_so(self, page, name, first):
        button = page.get_by_role("columnheader").get_by_role("button", name=name)
        button.click()
        assert paths(page)[0] == first
        assert page.locator("[aria-sort]").count() == 1
        button.click()
        assert paths(page)[-1] == first

    def test_focus_is_seen(self, page):
        for control in ("#words", "thead button", "tbody a"):
            page.locator(control).first.focus()
            page.keyboard.press("Shift+Tab")
            page.keyboard.press("Tab")
            width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
            assert width != "0px", control

    def test_hosted_copy_that_does_not_load_gives_way_to_the_local_one(self, page):
        page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth === 40)")

    def test_screen_reader_hears_a_table_with_named_controls(self, page):
        page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
        told = [(it["role"]["value"], it.get("name", {}).get("value", "")) for it in nodes if not it["ignored"]]
        assert ("table", "Every image that the site's pages refer to") in told
        assert ("heading", "Images of docs/site") in told
        assert ("heading", "2 images could not be uploaded") in told
        roles = [role for role, _ in told]
        assert roles.count("row") == 9
        assert roles.count("rowheader") == 8
        assert roles.count("columnheader") == 6
        assert "image" not in roles, "a thumbnail says nothing that its path does not"
        assert ("search", "Images") in told
        assert ("group", "State") in told
        assert all(name for role, name in told if role in {"searchbox", "radio", "button", "link", "columnheader"})

    @pytest.mark.parametrize("width", [320, 400, 800, 1400])
    def test_nothing_runs_over_the_side(self, page, width):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@in_browser
def test_three_thousand_images_open_filter_and_sort_at_once(browser, tmp_path):
    file = written(tmp_path, tuple(map(image, range(3000))))
    assert file.stat().st_size < 4_000_000
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        began = monotonic()
        page.goto(file.as_uri())
        assert page.get_by_role("status").inner_text() == "3,000 images"
        assert monotonic() - began < 10
        timed = "action => { const began = performance.now(); action(); document.body.offsetHeight; return performance.now() - began }"
        for action in (
            "words.value = 'shot-00'; select()",
            "words.value = ''; select()",
            "document.querySelector('[data-key=bytes] button').click()",
        ):
            assert page.evaluate(f"({timed})(() => {{ {action} }})") < 2000, action
        assert page.locator("tbody th").first.inner_text().startswith("images/shot-2999.png")
        loaded = page.evaluate("[...document.images].filter(image => image.complete).length")
        assert loaded < 300, "thumbnails wait until they are near"


@in_browser
def test_page_shows_everything_without_its_script(browser, tmp_path):
    with browser.new_context(offline=True, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(written(tmp_path, tuple(map(image, range(8)))).as_uri())
        assert len(paths(page)) == 8
        assert not page.locator("form").is_visible()


@in_browser
def test_names_and_reasons_are_text_and_nothing_else(browser, tmp_path):
    evil = '"><script>document.title = "owned"</script><img src=x onerror="document.title=\'owned\'">.png'
    shown = Shown(evil, "", 1, "image/png", None, None, (evil,), "failed", evil)
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.goto(written(tmp_path, (shown,)).as_uri())
        assert page.title() == "Images of docs/site – imghost report"
        assert evil in page.locator("tbody").inner_text()


def test_page_is_valid_and_asks_nobody_but_for_images(tmp_path):
    text = written(tmp_path, tuple(map(image, range(12)))).read_text("utf-8")
    html5lib.HTMLParser(strict=True).parse(text)
    for found in re.findall(r'(\S+)="https?:[^"]*"', text):
        assert found in {"href", "src"}
    assert re.findall(r"<(?:link|script|iframe|object)\b[^>]*(?:src|href)", text) == []
    assert "url(" not in text
    assert "and 4 more" in text


def test_link_to_a_local_copy_is_only_made_where_there_is_one(tmp_path):
    write(tmp_path / "site", {"images/shot-0000.png": picture(0)})
    text = written(
        tmp_path, (image(0), image(1), Shown("https://example.org/a.png", "", 0, "", None, None, (), "kept"))
    ).read_text()
    assert 'href="site/images/shot-0000.png"' in text
    assert 'href="site/images/shot-0001.png"' not in text
    assert "site/https" not in text


def test_report_without_images_is_a_page_too(tmp_path):
    text = as_html(Report("site", None, Counts()), tmp_path, tmp_path)
    html5lib.HTMLParser(strict=True).parse(text)
    assert "point to <strong>no host</strong>" in text


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_read(scheme):
    block = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--(\w+): (#\w+)", block))
    for text in ("text", "soft", "link", "bad", "good", "warm"):
        for back in ("back", "card"):
            bright, dim = sorted((luminance(colours[text]), luminance(colours[back])), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= 4.5, (text, back)
