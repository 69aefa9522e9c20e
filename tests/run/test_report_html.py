"""The report as a page: its words in every state; in a browser for eyes, keyboards and screen readers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import html5lib
import pytest
from run.acme import COUNTS, FACTS, IMAGES, NOW, REPORT, listed, local_copies
from sites import picture, write

from imghost.models import Failure
from imghost.run import report_html
from imghost.run.report import Counts, Report
from imghost.run.report_html import Facts, ListedImage, SiteBytes, Waiting, as_html, verdict

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
STYLE = Path(report_html.__file__).with_name("report.css").read_text("utf-8")
in_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no chromium")
QUIET = FACTS._replace(findings=(), images=IMAGES[1:3], versions=())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()


def written(folder: Path, report: Report = REPORT, facts: Facts = FACTS) -> Path:
    page = folder / "report.html"
    page.write_text(as_html(report, facts, folder / "site", folder), "utf-8")
    return page


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """Open the report in a browser without a network."""
    local_copies(tmp_path / "site")
    with browser.new_context(offline=True, viewport={"width": 1280, "height": 900}, reduced_motion="reduce") as context:
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        opened = context.new_page()
        wrong: list[str] = []
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.goto(written(tmp_path).as_uri())
        yield opened
        assert wrong == []


def names(page: Page) -> list[str]:
    """List the images that are shown, in their order."""
    return page.locator(".list tbody tr:not([hidden]) button.open").all_text_contents()


def pressed(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.textContent")


class TestWords:
    def counted(self, **more: int) -> Report:
        return REPORT._replace(counts=COUNTS._replace(**more))

    def test_verdict_tells_what_it_brought(self):
        assert verdict(REPORT, FACTS) == "52 of 59 images live on img402, and the site is 21.8 MB lighter."

    def test_all_of_them(self):
        all_well = self.counted(images=52, kept=0, failed=0)
        assert verdict(all_well, FACTS) == "All 52 images live on img402, and the site is 21.8 MB lighter."

    def test_without_remove_local_it_tells_what_that_would_bring(self):
        sizes = SiteBytes(before=38_600_000, after=38_600_000, pages=6_200_000, copies=21_800_000)
        kept = FACTS._replace(site_bytes=sizes)
        assert verdict(REPORT, kept) == (
            "52 of 59 images live on img402, and `remove_local` would make the site 21.8 MB lighter."
        )

    def test_nothing_lighter_is_not_said(self):
        assert verdict(REPORT, FACTS._replace(site_bytes=SiteBytes(5, 5, 5))) == "52 of 59 images live on img402."

    def test_no_credential(self):
        waiting = FACTS._replace(waiting=Waiting(14, 9, why="credential"))
        report = self.counted(cached=45, uploaded=0)
        assert verdict(report, waiting) == ("45 of 59 images live on img402; 14 wait for a build with a credential.")
        one = waiting._replace(waiting=Waiting(1, 9, why="credential"))
        assert verdict(report, one).endswith("; 1 waits for a build with a credential.")

    def test_nothing_moved_says_why(self):
        none = self.counted(cached=0, uploaded=0)
        why = "no host is chosen and no credential is in the environment; set the option 'host'"
        assert verdict(none, FACTS._replace(waiting=Waiting(9, 9, why=why))) == f"No image was moved: {why}."
        drawings = tuple(listed(f"{n}.svg", "local", 9, reason="it is svg, and the host takes png") for n in range(2))
        kept = FACTS._replace(images=drawings)
        assert verdict(none, kept) == "No image was moved: it is svg, and the host takes png."

    def test_first_plan_over_its_budget_tells_what_it_would_take(self):
        plan = FACTS._replace(waiting=Waiting(52, 22_000_000, Decimal("0.52"), "budget"))
        assert verdict(self.counted(cached=0, uploaded=0), plan) == (
            "52 images (22.0 MB) would go to img402 for at most $0.52; nothing is sent yet."
        )
        assert verdict(REPORT, plan).endswith("; 52 wait for a larger budget.")

    def test_site_without_images(self):
        assert verdict(Report("site", None, Counts(pages=43)), FACTS) == "There is no image of the site in 43 pages."

    def test_directory_collects(self):
        facts = QUIET._replace(place="_imghost", is_collected=True)
        assert verdict(REPORT, facts).startswith("52 of 59 images are collected in _imghost, and")

    def test_nothing_is_sent_to_a_directory(self, tmp_path):
        text = written(tmp_path, facts=FACTS._replace(place="_imghost", is_collected=True)).read_text("utf-8")
        assert "Collected once:" in text
        assert "The metadata was taken off in the collected copy:" in text
        assert not re.search(r"\bSent\b|before the upload", text)

    def test_one_image_is_one(self):
        assert verdict(self.counted(images=1, cached=1, uploaded=0), QUIET).startswith("1 of 1 image lives on img402")


def parsed(text: str) -> str:
    html5lib.HTMLParser(strict=True).parse(text)
    return text


def test_page_is_valid_and_asks_nobody_but_for_thumbnails(tmp_path):
    text = parsed(written(tmp_path).read_text("utf-8"))
    for attribute in re.findall(r'(\S+)="https?:[^"]*"', text):
        assert attribute in {"href", "src", "data-copy"}
    assert re.findall(r"<(?:link|script|iframe|object)\b[^>]*(?:src|href)=", text) == []
    assert "url(" not in text
    assert 'name="referrer" content="no-referrer"' in text


@pytest.mark.parametrize(
    ("facts", "gone"),
    [
        (QUIET, ["Needs you", "Worth a look", "What stays local", "Versions", "things"]),
        (QUIET._replace(has_price=False, spent=Decimal(0)), ["Needs you"]),
        (QUIET._replace(by_page=()), ["Heaviest page"]),
        (QUIET._replace(images=()), ["Folders", "<form", 'class="list"', "keys"]),
        (Facts(NOW, "0.2.0"), ["Needs you", "Where the site", "Heaviest", "Cost", "commit", "<form"]),
    ],
)
def test_part_without_facts_is_left_out(tmp_path, facts, gone):
    report = REPORT._replace(cost=Decimal(0))
    text = parsed(written(tmp_path, report, facts).read_text("utf-8"))
    body = re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.S)
    assert [part for part in gone if part in body] == []


def test_names_and_reasons_are_text_and_nothing_else(tmp_path):
    evil = '"><script>document.title = "owned"</script><img src=x onerror=alert(1)>{{ 7 * 7 }}`.png'
    image = ListedImage(evil, "failed", 1, pages=(evil,), reason=evil, remedy=evil, alts=(evil,))
    facts = FACTS._replace(images=(image,), title=evil, place=evil, warnings=(Failure("lock", evil),), commit="<b>")
    text = parsed(written(tmp_path, REPORT, facts).read_text("utf-8"))
    tree = html5lib.parse(text, namespaceHTMLElements=False)
    assert len(tree.findall(".//script")) == 1
    assert tree.find(".//title").text == f"Images of {evil} – imghost report"
    assert [one.attrib.keys() & {"onerror"} for one in tree.iter()] == [set()] * len(list(tree.iter()))
    assert "49" not in "".join(tree.find(".//title").itertext())


def test_link_to_a_local_copy_is_only_made_where_there_is_one(tmp_path):
    images = (
        listed("img/here.png", "local", 9, is_there=True),
        listed("img/gone.png", "hosted", 9, is_there=False),
        ListedImage("https://example.org/a.png", "local", 9),
    )
    text = written(tmp_path, REPORT, QUIET._replace(images=images)).read_text("utf-8")
    assert 'href="site/img/here.png"' in text
    assert "site/img/gone.png" not in text
    assert "site/https" not in text


def test_warnings_of_the_run_need_somebody(tmp_path):
    warning = Failure("payment", "1 payment to img402 is open; look at `imghost wallet`")
    text = written(tmp_path, REPORT, QUIET._replace(warnings=(warning,))).read_text("utf-8")
    assert (
        '<li class="bad"><span class="mark" aria-hidden="true">!</span><div><h3>1 payment to img402 is open</h3>'
        in text
    )
    assert "Look at <code>imghost wallet</code>." in text
    assert "1 thing needs you." in text


def tokens(scheme: str) -> dict[str, str]:
    """Read the style sheet's colours; what the dark scheme does not set is as in the light one."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[:2]
    read = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", light))
    return read | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", dark)) if scheme == "dark" else {})


def luminance(colour: str) -> float:
    """Compute a colour's relative luminance as WCAG 2 defines it."""
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("ground", ["back", "tint", "sel"])
def test_colours_can_be_told_from_every_ground(scheme, ground):
    colours = tokens(scheme)
    for text in ("text", "soft", "link", "good", "bad", "warn"):
        assert contrast(colours[text], colours[ground]) >= 5.4, text
    for shape in ("edge", "fill", "stay"):
        assert contrast(colours[shape], colours[ground]) >= 3, shape


def test_every_colour_of_the_style_sheet_is_a_token():
    rules = re.sub(r":root \{.*?\}", "", STYLE, flags=re.DOTALL)
    assert re.findall(r"#[0-9a-f]{3,8}\b|\brgba?\(|\bhsl\(", rules) == []
    assert set(re.findall(r"var\(--([\w-]+)\)", STYLE)) <= tokens("light").keys()


@in_browser
class TestReader:
    @pytest.mark.long
    def test_words_and_states_select_together_and_the_count_is_told(self, page):
        page.get_by_role("searchbox", name="Find").fill("FIRST img/")
        assert names(page) == ["img/blog/release-4/first-panel.png", "img/guide/first-panel.png"]
        assert page.get_by_role("status").inner_text() == "2 of 16, 192 kB"
        page.get_by_role("searchbox").fill("")
        page.get_by_role("radio", name="Failed").check(force=True)
        assert names(page) == ["img/guide/tour.gif", "img/admin/audit-log.png"]
        page.get_by_role("searchbox").fill("nothing like it")
        assert names(page) == []
        page.get_by_role("button", name="Show all").click()
        assert len(names(page)) == 16

    @pytest.mark.long
    def test_view_is_in_the_address_and_comes_back(self, page):
        page.get_by_role("searchbox").fill("panel")
        page.get_by_role("radio", name="Hosted").check(force=True)
        page.get_by_role("columnheader").get_by_role("button", name="Image").click()
        assert page.url.endswith("#q=panel&show=hosted&by=path")
        seen, address = names(page), page.url
        page.goto("about:blank")
        page.goto(address)
        assert names(page) == seen
        assert page.get_by_role("searchbox").input_value() == "panel"

    def test_every_row_has_an_address(self, page):
        row = page.locator(".list tbody tr").nth(4)
        address = page.url.partition("#")[0] + "#" + row.get_attribute("id")
        page.goto("about:blank")
        page.goto(address)
        assert row.locator(".more dl").is_visible()
        page.wait_for_function("document.activeElement.textContent === 'img/blog/field-notes/station.jpg'")

    @pytest.mark.long
    def test_remark_shows_its_images_and_gets_a_button_when_asked(self, page):
        assert page.get_by_role("radio", name="Large").count() == 0
        page.get_by_role("link", name=re.compile("^Show 2: 2 images are 3 times")).click()
        assert names(page) == ["img/guide/dashboard-edit.png", "img/guide/overview.png"]
        assert page.get_by_role("radio", name="Large").is_checked()
        page.get_by_role("link", name=re.compile("^Show 2: 2 images expire")).click()
        assert names(page) == ["img/guide/a.png", "img/guide/b.png"]

    @pytest.mark.long
    def test_heavy_page_and_folder_filter_the_list(self, page):
        page.get_by_role("table", name="Folders by").get_by_role("link", name="img/admin/").click()
        assert names(page) == ["img/admin/audit-log.png", "img/admin/architecture.svg"]
        page.get_by_role("table", name="Pages by").get_by_role("link", name="index.html").click()
        assert names(page) == ["img/guide/tour.gif", "img/guide/overview.png"]

    def test_named_image_opens_its_row(self, page):
        page.get_by_role("link", name="img/guide/tour.gif").first.click()
        assert page.locator("tr.open button.open").all_text_contents() == ["img/guide/tour.gif"]
        assert focused(page) == "img/guide/tour.gif"

    def test_keyboard_alone_finds_walks_opens_copies_and_closes(self, page):
        pressed(page, "/")
        page.keyboard.type("first")
        pressed(page, "Escape")
        assert len(names(page)) == 16
        page.locator(".list button.open").first.focus()
        pressed(page, "j", "j")
        assert focused(page) == "img/guide/overview.png"
        pressed(page, "k", "Enter")
        assert page.locator("tr.open button.open").all_text_contents() == ["img/guide/dashboard-edit.png"]
        pressed(page, "c")
        page.wait_for_function("document.querySelector('tr.open .copy').textContent === 'Copied'")
        assert page.evaluate("navigator.clipboard.readText()") == IMAGES[1].url
        pressed(page, "Escape")
        assert page.locator("tr.open").count() == 0

    @pytest.mark.long
    def test_keys_can_be_turned_off(self, page):
        page.get_by_role("checkbox", name="keys").uncheck()
        page.locator(".list button.open").first.focus()
        pressed(page, "j", "/")
        assert focused(page) == "img/guide/tour.gif"
        pressed(page, "Enter")
        assert page.locator("tr.open").count() == 1
        pressed(page, "Escape")
        assert page.locator("tr.open").count() == 0

    @pytest.mark.long
    @pytest.mark.parametrize(
        ("name", "first"), [("Size", "tour.gif"), ("Pages", "overview.png"), ("Pixels", "edit.png")]
    )
    def test_columns_sort_both_ways_and_say_so(self, page, name, first):
        button = page.get_by_role("columnheader").get_by_role("button", name=name)
        if name == "Size":
            button.click()
            assert page.locator("[aria-sort]").get_attribute("aria-sort") == "ascending"
        button.click()
        assert names(page)[0].endswith(first)
        assert page.locator("[aria-sort]").get_attribute("aria-sort") == "descending"

    @pytest.mark.long
    def test_focus_is_seen(self, page):
        for control in (".show", ".list thead button", ".list button.open", ".bars a", "#words"):
            page.locator(control).first.focus()
            pressed(page, "Shift+Tab", "Tab")
            width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
            assert width == "2px", control

    def test_hosted_copy_that_does_not_load_gives_way_to_the_local_one(self, browser, tmp_path):
        write(tmp_path / "site", {"img/a.png": picture(1)})
        facts = QUIET._replace(
            images=(listed("img/a.png", "hosted", 9, is_there=True), listed("img/b.png", "hosted", 9))
        )
        with browser.new_context(offline=True) as context:
            opened = context.new_page()
            opened.goto(written(tmp_path, REPORT, facts).as_uri())
            opened.wait_for_function("document.querySelector('img.t').naturalWidth === 40")
            opened.wait_for_function("!document.querySelectorAll('img.t')[1].hasAttribute('src')")

    def test_screen_reader_hears_named_parts_tables_and_controls(self, page):
        page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
        heard = [(it["role"]["value"], it.get("name", {}).get("value", "")) for it in nodes if not it["ignored"]]
        for table in ("Every image of the site, largest first", "Pages by the bytes of their images",
                      "Folders by the bytes of their images", "Why images stay local", "Versions of the site"):  # fmt: skip
            assert ("table", table) in heard
        heading = "52 of 59 images live on img402, and the site is 21.8 MB lighter. 5 things need you."
        assert ("heading", heading) in heard
        for part in ("Needs you 5", "Worth a look 7", "Heaviest pages", "Folders", "Versions", "All images"):
            assert ("heading", part) in heard
            assert ("region", part) in heard
        assert ("search", "Images") in heard
        assert ("group", "Show") in heard
        roles = [role for role, _ in heard]
        assert roles.count("main") == roles.count("banner") == roles.count("contentinfo") == 1
        assert "image" not in roles, "a thumbnail says nothing that its path does not"
        named = {"searchbox", "radio", "button", "link", "columnheader", "checkbox", "combobox", "region", "table"}
        assert [(role, name) for role, name in heard if role in named and not name] == []
        links = [name for role, name in heard if role == "link"]
        assert not any(re.fullmatch(r"Show \d+", name) for name in links), "each says what it shows"

    @pytest.mark.sampled(1)
    @pytest.mark.parametrize("width", [320, 390, 800, 1400])
    def test_nothing_runs_over_the_side(self, page, width):
        page.set_viewport_size({"width": width, "height": 800})
        page.locator(".list button.open").nth(1).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    def test_narrow_row_is_picture_name_and_one_line_of_facts(self, page):
        page.set_viewport_size({"width": 390, "height": 800})
        row = page.locator(".list tbody tr").nth(1)
        tops = [row.locator(cell).bounding_box()["y"] for cell in (".n:not(.px):not(.pg)", ".st", ".pg", ".u")]
        assert max(tops) - min(tops) < 4
        assert not row.locator(".px").is_visible()
        assert page.get_by_role("combobox", name="Order").is_visible()

    @pytest.mark.long
    def test_print_has_every_row_and_no_control(self, page):
        page.get_by_role("searchbox").fill("")
        page.emulate_media(media="print")
        for control in (".tools", ".show", ".copy", ".keys"):
            assert not page.locator(control).first.is_visible()
        assert page.locator(".list tbody tr").last.locator("button.open").is_visible()


@in_browser
def test_page_shows_everything_without_its_script(browser, tmp_path):
    local_copies(tmp_path / "site")
    with browser.new_context(offline=True, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(written(tmp_path).as_uri())
        assert len(names(page)) == 16
        assert page.locator(".more dl").nth(1).is_visible()
        for control in ("form", ".copy", ".keys"):
            assert not page.locator(control).first.is_visible()


def many_images(count: int) -> tuple[ListedImage, ...]:
    states = ("hosted", "new", "local", "failed")
    return tuple(
        listed(
            f"images/{number % 40}/shot-{number:04}.png",
            states[number % 4],
            1000 * (number + 1),
            pages=tuple(f"page-{page}/index.html" for page in range(1 + number % 8)),
            reason="" if number % 4 < 2 else "img402 answers 503",
        )
        for number in range(count)
    )


def test_image_on_very_many_pages_lists_the_first_and_is_found_by_all(tmp_path):
    image = listed("img/logo.png", "hosted", 9, pages=tuple(f"p{number}/index.html" for number in range(60)))
    text = written(tmp_path, REPORT, QUIET._replace(images=(image,))).read_text("utf-8")
    assert "and 10 more" in text
    assert re.search(r'data-also="p50/ [^"]*p59/"', text)


@pytest.mark.long
@in_browser
def test_three_thousand_images_are_written_opened_filtered_and_sorted_at_once(browser, tmp_path):
    facts = FACTS._replace(images=many_images(3000), findings=())
    began = monotonic()
    file = written(tmp_path, REPORT, facts)
    assert monotonic() - began < 10
    assert file.stat().st_size < 6_000_000
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.goto(file.as_uri())
        assert page.get_by_role("status").inner_text() == "3,000 images"
        timed = "action => { const began = performance.now(); action(); document.body.offsetHeight; return performance.now() - began }"
        for action in (
            "words.value = 'shot-00'; select()",
            "words.value = ''; select()",
            "document.querySelector('[data-key=bytes] button').click()",
        ):
            assert page.evaluate(f"({timed})(() => {{ {action} }})") < 2000, action
        loaded = page.evaluate("[...document.images].filter(image => image.complete).length")
        assert loaded < 600, "thumbnails wait until they are near"
