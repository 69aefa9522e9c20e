"""Policies, bases and selectors as Chromium reads them: what moves is shown, and what it would not show stays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sites import picture, write
from test_browser import CHROMIUM, browser

from imghost.cli.main import main

__all__ = ["browser"]

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
    pytest.mark.filterwarnings("ignore"),
]

SITE, HOST = "https://docs.test/", "https://images.test/"
POLICY = '<meta http-equiv="Content-Security-Policy" content="{}">'
LOOK = """async () => {
  for (const image of document.images) await image.decode().catch(() => 0)
  return [...document.images].map(image => [image.naturalWidth, image.getBoundingClientRect().width])
}"""


def hosted(folder: Path, page: str) -> Path:
    """Host the images of a site of one page; `img/a.png` is 40 wide, `sub/img/a.png` 50."""
    pictures = {"img/a.png": picture(1, (40, 30)), "sub/img/a.png": picture(2, (50, 30))}
    site = write(folder / "site", {"index.html": page, **pictures})
    where = ["--option", f"base_url={HOST}one/", "--option", f"path={folder / 'hosted' / 'one'}", "--site-url", SITE]
    records = ["--lock", str(folder / "imghost.lock"), "--cache-dir", str(folder / "cache")]
    assert main(["rehost", str(site), "--host", "directory", *where, *records]) == 0
    return site


def shown(browser: Any, page: str, folder: Path, look: str = LOOK) -> Any:
    """Open a page at its published address; gives each image's own width and that on the screen, or what is looked for."""

    def answer(route: Any) -> None:
        url = route.request.url
        if url == SITE:
            route.fulfill(body=page, content_type="text/html")
            return
        root = folder / "site" if url.startswith(SITE) else folder / "hosted"
        file = root / url.split("/", 3)[3]
        if file.is_file():
            route.fulfill(body=file.read_bytes(), content_type="image/png")
        else:
            route.fulfill(status=404)

    opened = browser.new_page()
    opened.route("**/*", answer)
    opened.goto(SITE)
    found = opened.evaluate(look)
    opened.close()
    return found


IMAGE = "<img src=img/a.png>"
SOURCES = {
    "path of the host": (f"img-src 'self' {HOST}one/", True),
    "host and path without a scheme": ("img-src 'self' images.test/one/", True),
    "encoded path": (f"img-src 'self' {HOST}%6Fne/", True),
    "another path": (f"img-src 'self' {HOST}two/", False),
    "path without its slash": (f"img-src 'self' {HOST}one", False),
    "upgraded http": ("img-src 'self' http://images.test", True),
    "upgraded http with its port": ("img-src 'self' http://images.test:80", True),
    "upgraded scheme": ("img-src 'self' http:", True),
    "port with zeros": ("img-src 'self' images.test:0443", True),
    "more zeros": ("img-src 'self' https://images.test:0000443", True),
    "upgraded port with zeros": ("img-src 'self' http://images.test:080", True),
    "another port": ("img-src 'self' images.test:8443", False),
    "host in capitals": ("img-src 'self' HTTPS://IMAGES.TEST", True),
}


@pytest.mark.sampled(6)
@pytest.mark.parametrize("case", SOURCES)
def test_a_policy_lets_through_what_moves_and_bars_what_stays(browser, case, tmp_path):
    policy, moves = SOURCES[case]
    page = f"<!doctype html><title>x</title>{POLICY.format(policy)}{IMAGE}"
    site = hosted(tmp_path, page)
    after = (site / "index.html").read_text()
    assert (HOST in re.sub("<meta[^>]*>", "", after)) is moves
    assert shown(browser, after, tmp_path) == [[40, 40]]
    if not moves:
        write(tmp_path / "hosted", {"one/x.png": picture(1, (40, 30))})
        moved = page.replace("img/a.png", f"{HOST}one/x.png")
        assert shown(browser, moved, tmp_path)[0][0] == 0


BASES = {
    "none": (POLICY.format("base-uri 'none'") + "<base href=sub/>", 40),
    "own, relative": (POLICY.format("base-uri 'self'") + "<base href=sub/>", 50),
    "own, absolute": (POLICY.format("base-uri 'self'") + f"<base href={SITE}sub/>", 50),
    "own, and elsewhere": (POLICY.format("base-uri 'self'") + "<base href=https://other.test/sub/>", 40),
    "host": (POLICY.format("base-uri https://docs.test") + "<base href=sub/>", 50),
    "host and path": (POLICY.format("base-uri https://docs.test/sub/") + "<base href=sub/>", 50),
    "another path": (POLICY.format("base-uri https://docs.test/other/") + "<base href=sub/>", 40),
    "another host": (POLICY.format("base-uri other.test") + "<base href=sub/>", 40),
    "default": (POLICY.format("default-src 'none'; img-src *") + "<base href=sub/>", 50),
    "late policy": ("<base href=sub/>" + POLICY.format("base-uri 'none'"), 50),
    "second base": (POLICY.format("base-uri 'none'") + "<base href=sub/><base href=sub/>", 40),
    "in noscript": ("<noscript>" + POLICY.format("base-uri 'none'") + "</noscript><base href=sub/>", 50),
}


@pytest.mark.sampled(6)
@pytest.mark.parametrize("case", BASES)
def test_a_base_leads_where_a_browser_goes(browser, case, tmp_path):
    head, width = BASES[case]
    page = f"<!doctype html><head><title>x</title>{head}</head>{IMAGE}"
    site = hosted(tmp_path, page)
    after = (site / "index.html").read_text()
    assert HOST in after
    assert shown(browser, page, tmp_path) == shown(browser, after, tmp_path) == [[width, width]]


STYLES = {
    "string": "h1::before{content:'img[src$=\"a.png\"]'}",
    "comment": "/* img[src$='a.png']{width:99px} */",
    "string like a comment": "h1::before{content:'/*'}img[src$='a.png']{width:99px}h2::before{content:'*/'}",
    "address like a comment": "h1{background:url(//x.test/*/b)}img[src$='a.png']{width:99px}h2{background:url(//x.test/*/b)}",
    "broken string": "h1{content:'x\n}img[src$='a.png']{width:99px}",
    "escaped quote": ".a\\'{color:red}img[src$='a.png']{width:99px}",
    "string with an escaped quote": "q{quotes:\"\\\"[src*='a.png']\" 'x'}",
    "value of another selector": "p[title=\"[src*='a.png']\"]{width:99px}",
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("case", STYLES)
def test_what_is_a_selector_to_a_browser_holds_an_image_and_nothing_else_does(browser, case, tmp_path):
    page = f"<!doctype html><title>x</title><style>{STYLES[case]}</style>{IMAGE}"
    site = hosted(tmp_path, page)
    after = (site / "index.html").read_text()
    width = shown(browser, page, tmp_path)[0][1]
    assert shown(browser, after, tmp_path) == [[40, width]]
    assert (HOST in after) is (width == 40)


READERS = {
    "canvas": (
        "const c=document.createElement('canvas').getContext('2d');const i=document.getElementById('i');"
        "await i.decode();c.drawImage(i,0,0);return c.getImageData(0,0,1,1).data.length"
    ),
    "data of a canvas": (
        "const c=document.createElement('canvas');const i=document.querySelector('.copy');await i.decode();"
        "c.getContext('2d').drawImage(i,0,0);return c.toDataURL().length"
    ),
    "fetch": "const i=document.querySelector('.copy');return (await (await fetch(i.src)).blob()).size",
    "request": (
        "const r=new XMLHttpRequest();r.open('GET',document.getElementById('i').src);"
        "return new Promise((done,no)=>{r.onload=()=>done(r.response.length);r.onerror=no;r.send()})"
    ),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", READERS)
def test_what_a_script_reads_it_reads_still(browser, case, tmp_path):
    """Of another origin's image a browser gives a script neither pixels nor bytes."""
    code = f"window.look = async () => {{{READERS[case]}}}"
    page = f"<!doctype html><title>x</title><img id=i class=copy src=img/a.png><script>{code}</script>"
    site = hosted(tmp_path, page)
    after = (site / "index.html").read_text()
    look = "() => window.look().catch(() => -1)"
    before = shown(browser, page, tmp_path, look)
    assert before > 0
    assert shown(browser, after, tmp_path, look) == before
    if "canvas" in case:  # what answers requests here gives any of them leave
        write(tmp_path / "hosted", {"one/x.png": picture(1, (40, 30))})
        assert shown(browser, page.replace("img/a.png", f"{HOST}one/x.png"), tmp_path, look) == -1
