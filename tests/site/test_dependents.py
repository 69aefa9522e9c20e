"""What depends on an image's old URL, size or bytes keeps it where it is, and nothing else does."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from sites import picture, tree, write

from imghost.cli.main import main
from imghost.image.inspect import dimensions

NAMES = ("closed", "open", "a", "a@2x", "b")
PICTURES = {f"img/{name}.png": picture(seed) for seed, name in enumerate(NAMES)}
MOVED = re.compile(r"https://images\.test/[0-9a-f]+\.png")


def hosted(site: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[dict[str, Any], str]:
    """Host a site's images on another origin; gives the report, and what was said."""
    capsys.readouterr()
    elsewhere = ["--option", "base_url=https://images.test/", "--option", f"path={site.parent / 'hosted'}"]
    records = ["--lock", str(site.parent / "imghost.lock"), "--cache-dir", str(site.parent / "cache")]
    assert main(["rehost", str(site), "--json", "--host", "directory", *elsewhere, *records, *options]) == 0
    told = capsys.readouterr()
    return json.loads(told.out), told.err


def sheet(text: str, way: str = "sha256") -> str:
    return f"'{way}-{base64.b64encode(hashlib.new(way, text.encode()).digest()).decode()}'"


HASHED = "h1{background:url(img/a.png)}"
POLICY = '<meta http-equiv=Content-Security-Policy content="style-src {}">'
RENAME = "i.src = i.src.replace('closed.png', 'open.png')"

HELD = {
    "inline script": f'<img src="img/closed.png"><script>{RENAME}</script>',
    "event": "<img src='img/closed.png' onclick=\"this.src=this.src.substring(0, 5) + 'open.png'\">",
    "id": "<img id='t' src='img/b.png'><script>var i=document.getElementById('t');i.src=i.src.slice(0,n)+x</script>",
    "density": "<img src='img/a.png'><script>i.src=i.src.replace(/\\.(png)$/, '@2x.$1')</script>",
    "hash": POLICY.format(sheet(HASHED)) + f"<style>{HASHED}</style>",
    "hash in capitals": POLICY.format(sheet(HASHED, "sha384").replace("sha", "SHA")) + f"<style>{HASHED}</style>",
    "hashed attribute": POLICY.format("'unsafe-hashes' " + sheet("background:url(img/a.png)", "sha512"))
    + '<p style="background:url(img/a.png)">',
    "selector": '<style>img[src$="a.png"]{width:20px}</style><img src="img/a.png">',
    "selector of a folder": "<style>[src^='img/']{width:20px}</style><img src=img/a.png>",
    "selector with spaces": '<style>img[ SRC *= "a.PNG" i ]{width:20px}</style><img src="img/a.png">',
    "selector that excludes": '<style>img:not([src*="img/"]){width:20px}</style><img src="img/a.png">',
    "selector of a style": '<style>p[style*="url(img/a"]{color:red}</style><p style="background:url(img/a.png)">',
    "selector after a string that looks like a comment": (
        "<style>h1::before{content:'/*'}img[src$='a.png']{width:20px}h2::before{content:'*/'}</style><img src=img/a.png>"
    ),
    "selector after an address that looks like a comment": (
        "<style>h1{background:url(//x.test/*/b)}img[src$='a.png']{width:20px}h2{background:url(//x.test/*/b)}</style>"
        "<img src=img/a.png>"
    ),
    "selector after an escaped quote": r"<style>.a\'{color:red}img[src$='a.png']{width:20px}</style><img src=img/a.png>",
    "selector after a broken string": "<style>h1{content:'x\n}img[src$='a.png']{width:20px}</style><img src=img/a.png>",
    "preload for a link": '<link rel=preload as=image href="img/a.png"><img class=no-imghost src=img/a.png>',
    "selector in a script": "<img src=img/a.png><script>document.querySelector(\"img[src*='/a.']\")</script>",
    "preload for a sheet": '<link rel=preload as=image href="img/a.png"><link rel=stylesheet href=own.css>',
    "preload for what is held": '<link rel=preload as=image href="img/a.png"><img class=no-imghost src=img/a.png>',
    "preload with an integrity": '<link rel=preload as=image integrity=sha384-x href="img/a.png">',
    "late base": '<img src="img/a.png"><base href="sub/">',
    "mask": '<p style="mask-image:url(img/a.png)">',
}


@pytest.mark.parametrize("page", HELD.values(), ids=HELD)
def test_image_that_something_depends_on_stays(page, tmp_path, capsys):
    site = write(tmp_path / "site", {"index.html": f"<!doctype html><title>x</title>{page}", **PICTURES})
    report, _ = hosted(site, capsys)
    assert not MOVED.search((site / "index.html").read_text())
    assert report["uploads"] == []


ATTRIBUTE = "background:url(img/a.png)"


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("_headers", "/*\n  Content-Security-Policy: style-src 'self' {}\n"),
        (".htaccess", 'Header always set Content-Security-Policy "default-src https:; style-src-elem {}"\n'),
        ("netlify.toml", "[headers.values]\nContent-Security-Policy = \"style-src 'unsafe-hashes' {}\"\n"),
        ("vercel.json", '{{"headers":[{{"key":"Content-Security-Policy","value":"style-src {}"}}]}}'),
    ],
)
@pytest.mark.parametrize("way", ["sha256", "sha384", "sha512"])
def test_style_that_a_servers_header_admits_by_its_digest_stays(name, headers, way, tmp_path, capsys):
    for style, written in ((HASHED, f"<style>{HASHED}</style>"), (ATTRIBUTE, f'<p style="{ATTRIBUTE}">')):
        page = f"{written}<img src=img/b.png>"
        site = write(
            tmp_path / way / style[:2],
            {
                "index.html": page,
                name: headers.format(sheet(style, way)),
                "img/a.png": picture(2),
                "img/b.png": picture(4),
            },
        )
        hosted(site, capsys)
        text = (site / "index.html").read_text()
        assert style in text
        assert len(MOVED.findall(text)) == 1
        # A known page is read anew once the header is another.
        (site / name).write_text(headers.format(sheet("p{}", way)))
        hosted(site, capsys)
        assert len(MOVED.findall((site / "index.html").read_text())) == 2


FREE = {
    "another literal": f'<img src="img/a.png"><script>{RENAME}</script>',
    "no such file": "<img src='img/b.png'><script>i.src=i.src.replace('b.png', 'c.png'.slice(1))</script>".replace(
        "'b.png'", "'z'"
    ),
    "only named": "<img src='img/a.png'><script>load('img/a.png')</script>",
    "another hash": POLICY.format(sheet("p{}")) + f"<style>{HASHED}</style>",
    "sheet of no integrity": '<link rel=stylesheet href=own.css integrity=""><img src="img/a.png">',
    "fragment": '<style>[src$="#only-dark"]{display:none}</style><img src="img/a.png#only-dark">',
    "ending": '<style>[src$=".png"]{width:20px}</style><img src="img/a.png">',
    "commented out": '<style>/* img[src$="a.png"]{width:20px} */</style><img src="img/a.png">',
    "in a string": "<style>h1::before{content:'img[src$=\"a.png\"]'}</style><img src=img/a.png>",
    "in a string with an escaped quote": r"""<style>q{quotes:"\"[src*='a.png']" "x"}</style><img src=img/a.png>""",
    "in a font's name": """<style>p{font-family:"[src*='/a.png']"}</style><img src=img/a.png>""",
    "in an address": "<style>@import url(x.css?[src^=img]);</style><img src=img/a.png>",
    "in the value of another selector": """<style>p[title="[src*='a.png']"]{color:red}</style><img src=img/a.png>""",
    "what is no part of its URL": '<style>p[style*="background"]{color:red}</style><p style="background:url(img/a.png)">',
    "preload with its image": '<link rel=preload as=image href="img/a.png"><img src="img/a.png">',
    "base in noscript": '<img src="img/a.png"><noscript><base href="sub/"></noscript>',
    "policy with a path": '<meta http-equiv=Content-Security-Policy content="img-src https://images.test/"><img src=img/a.png>',
    "policy by http": '<meta http-equiv=Content-Security-Policy content="img-src http://images.test"><img src=img/a.png>',
    "policy with zeros": '<meta http-equiv=Content-Security-Policy content="img-src images.test:0443"><img src=img/a.png>',
}


@pytest.mark.parametrize("page", FREE.values(), ids=FREE)
def test_image_that_nothing_depends_on_moves(page, tmp_path, capsys):
    site = write(tmp_path / "site", {"index.html": f"<!doctype html><title>x</title>{page}", **PICTURES})
    hosted(site, capsys)
    text = (site / "index.html").read_text()
    assert MOVED.search(text)
    assert not re.search(r"(?:href|src)=[\"']?img/", re.sub(r"<script>.*?</script>", "", text))


@pytest.mark.parametrize("path", ["https://images.test/other/", "https://images.test/one.png", "images.test/x"])
def test_policy_for_another_path_of_the_host_keeps_the_image(path, tmp_path, capsys):
    page = f'<meta http-equiv=Content-Security-Policy content="img-src {path}"><img src=img/a.png>'
    site = write(tmp_path / "site", {"index.html": page, **PICTURES})
    hosted(site, capsys)
    assert (site / "index.html").read_text() == page


@pytest.mark.parametrize(
    ("files", "page"),
    [
        ({"own.js": RENAME}, '<img src="img/closed.png">'),
        (
            {"deep/own.mjs": "$('.swap').on('click',function(){this.src=this.src.split('_')[0]})"},
            '<img class="swap" src=img/a.png>',
        ),
        ({"Own.JS": RENAME}, '<img src="img/closed.png">'),
        ({"own.js": "if(i.src.includes('closed'))i.src='other/x.png'"}, '<img src="img/closed.png">'),
        (
            {
                "own.js": "document.querySelectorAll('.g img').forEach(i=>i.src=f(i.src));function f(s){return s.slice(0,n)}"
            },
            "<div class=g><p><img src=img/a.png></div>",
        ),
        ({"own.js": "function swap(i){i.src=i.src.replace(x,y)}"}, "<img src=img/a.png onclick=swap(this)>"),
        ({"own.css": 'main img[src*="/a.png"]{width:20px}'}, "<img src=img/a.png>"),
        ({"own.css": 'IMG[ SRC $= "A.png" i]{width:20px}'}, "<img src=img/a.png>"),
        ({"own.css": 'img[data-src*="/a.png"]{width:20px}'}, "<img data-src=img/a.png>"),
        ({"own.css": 'image[*|href*="a.png"]{width:20px}'}, "<svg><image xlink:href=img/a.png /></svg>"),
        ({"Own.CSS": 'div[style*="a.png"]{width:20px}'}, "<div style='background:url(img/a.png)'></div>"),
    ],
)
def test_scripts_and_styles_of_the_site_hold_images_of_its_pages(files, page, tmp_path, capsys):
    site = write(tmp_path / "site", {"index.html": f"{page}<img src=img/b.png>", **files, **PICTURES})
    report, _ = hosted(site, capsys)
    assert len(MOVED.findall((site / "index.html").read_text())) == 1
    assert [kept["path"] for kept in report["kept"]] != []
    # A next run, which knows the page, says the same, and so does one after the script has gone.
    before = tree(site)
    assert hosted(site, capsys)[0]["kept"] == report["kept"]
    assert tree(site) == before
    (site / next(iter(files))).unlink()
    assert hosted(site, capsys)[0]["kept"] == []


@pytest.mark.parametrize(
    "vouching",
    [
        '<link rel=stylesheet href=own.css integrity="sha384-x">',
        "<link integrity=x rel=preload as=style href=/own.css>",
        '<base href="/sub/"><LINK REL=STYLESHEET HREF="..\\own&#46;css?v=1" INTEGRITY=" sha384-x ">',
        '<script>l.integrity="sha384-x";l.href="own.css"</script>',
        '<script>document.write(\'<link href="/own.css" integrity="sha384-x">\')</script>',
        "<script src=own.js></script>",
    ],
)
def test_style_sheet_for_which_a_page_vouches_is_not_touched(vouching, tmp_path, capsys):
    css = "h1{background:url(img/a.png)}"
    script = 'load({href: "own.css", integrity: "sha384-x"})' if "own.js" in vouching else ""
    site = write(
        tmp_path / "site", {"index.html": vouching, "own.css": css, "free.css": css, "own.js": script, **PICTURES}
    )
    hosted(site, capsys, "--references", "css")
    assert (site / "own.css").read_text() == css
    assert MOVED.search((site / "free.css").read_text())


@pytest.mark.parametrize(
    ("page", "is_resized"),
    [
        ("<img src=img/big.png>", True),
        ("<img src=img/big.png usemap=#m>", False),
        ("<img src=img/big.png usemap=#m width=300>", True),
        ("<img src=img/a.png srcset='img/a.png 1x, img/big.png 2x'>", False),
        ("<a href=img/big.png data-pswp-width=300 data-pswp-height=200>x</a>", False),
        ("<meta property=og:image content=img/big.png><meta property=og:image:width content=300>", False),
    ],
)
def test_image_whose_pixels_are_counted_on_is_not_resized(page, is_resized, tmp_path, capsys):
    site = write(tmp_path / "site", {"index.html": page, "img/big.png": picture(9, (300, 200)), **PICTURES})
    report, _ = hosted(site, capsys, "--max-edge", "120")
    sizes = {dimensions(file.read_bytes()) for file in (tmp_path / "hosted").iterdir()}
    assert report["images"]["kept"] == 0
    assert ((120, 80) in sizes) is is_resized
    assert ((300, 200) in sizes) is not is_resized


@pytest.mark.parametrize(
    ("page", "has_sizes"),
    [
        ("<img src=img/big.png>", True),
        ("<img src=img/big.png usemap=#m>", False),
        ("<img src=img/a.png srcset='img/a.png 1x, img/big.png 2x'><img src=img/big.png>", False),
        ("<a href=img/big.png data-pswp-width=300 data-pswp-height=200><img src=img/big.png></a>", False),
        (
            "<meta property=og:image content=img/big.png><meta property=og:image:width content=300><img src=img/big.png>",
            False,
        ),
        ("<meta property=og:image content=img/big.png><img src=img/big.png>", True),
    ],
)
def test_image_whose_pixels_are_counted_on_gets_no_sizes(page, has_sizes, tmp_path, capsys):
    site = write(tmp_path / "site", {"index.html": page, "img/big.png": picture(9, (300, 200)), **PICTURES})
    hosted(site, capsys, "--responsive", "--widths", "120")
    sizes = {dimensions(file.read_bytes()) for file in (tmp_path / "hosted").iterdir()}
    assert ((120, 80) in sizes) is has_sizes
    assert ("120w" in (site / "index.html").read_text()) is has_sizes
    assert (300, 200) in sizes


BACKSLASHES = {
    "img/a\\\n.png": 'h1{{background:url("{}")}}',
    "img/a.png\\\r\n": "h1{{background:url('{}')}}p{{color:red}}",
    "img/a.png\\\f": 'h1{{background:url("{}")}}',
    "img/\\61 .png": "h1{{background:url({})}}",
    "img/a\\a.png": "h1{{background:url({})}}",
    "img/\\\n\\\na.png": 'h1{{background:url("{}")}}',
}


@pytest.mark.parametrize("url", BACKSLASHES)
def test_backslashes_in_a_style_are_read_as_browsers_do(url, tmp_path, capsys):
    style = BACKSLASHES[url].format(url)
    page = f"<!doctype html><title>x</title><style>{style}</style>"
    site = write(tmp_path / "site", {"index.html": page.encode(), **PICTURES})
    hosted(site, capsys)
    after = (site / "index.html").read_bytes().decode()
    moved = MOVED.search(after)
    assert moved
    assert after == page.replace(url, moved[0])


@pytest.mark.parametrize(
    "page",
    [
        "<img src=img\\a.png>",
        '<img src="img\\a.png">',
        "<img src=.\\img/..\\img\\a.png>",
        "<a href='\\img\\a.png'>x</a>",
        '<img srcset="img\\a.png 2x" src="img\\b.png">',
        "<style>h1{background:url(img\\\\a.png)}</style>",
    ],
)
def test_backslashes_in_an_address_are_slashes(page, tmp_path, capsys):
    site = write(tmp_path / "site", {"index.html": page, **PICTURES})
    hosted(site, capsys)
    after = (site / "index.html").read_text()
    assert MOVED.search(after)
    assert "\\" not in after


REASONS = {
    "<p style='--x:url(img/a.png)'>": "custom property in CSS",
    "<p style='mask:url(img/a.png)'>": "is a mask",
    "<style>p{-webkit-mask-image:url(img/a.png)}</style>": "is a mask",
    "<p style='shape-outside:url(img/a.png)'>": "a shape",
    "<img crossorigin src=img/a.png>": "crossorigin attribute",
    "<img data-imghost=off src=img/a.png>": "data-imghost",
    "<img class=no-imghost src=img/a.png>": "class no-imghost",
    "<img src=img/a.png><base href=./>": "before the page's <base>",
    "<style>img[src$='a.png']{width:9px}</style><img src=img/a.png>": "selector",
    "<link rel=preload as=image href=img/a.png>": "preloaded for nothing that moves",
    "<link rel=preload as=image integrity=x href=img/a.png>": "integrity attribute",
    f"{POLICY.format(sheet(HASHED))}<style>{HASHED}</style>": "by its hash",
    "<meta http-equiv=content-security-policy content='img-src x.test'><img src=img/a.png>": "forbids images",
    "<img src=img/a.png onclick=\"this.src=this.src.slice(0,5)+'open.png'\">": "a script renames it",
}


@pytest.mark.parametrize("page", REASONS)
def test_reason_is_the_true_one(page, tmp_path, capsys):
    site = write(tmp_path / "site", {"index.html": page, **PICTURES})
    [kept] = hosted(site, capsys)[0]["kept"]
    assert kept["path"] == "img/a.png"
    assert REASONS[page] in kept["reason"]


@pytest.mark.parametrize(
    ("page", "kinds", "count"),
    [
        ("<link rel=stylesheet href=own.css>", ("preload", "css"), 1),
        ("<link rel=stylesheet href=own.css><a href=img/a.png>x</a>", ("preload", "link"), 1),
        ("<link rel=stylesheet href=own.css><meta property=og:image content=img/a.png>", ("preload", "meta"), 1),
        ("<link rel=stylesheet href=own.css><video poster=img/a.png></video>", ("preload", "poster"), 2),
    ],
)
def test_a_preload_moves_with_what_shows_its_image(page, kinds, count, tmp_path, capsys):
    """In a style sheet that moves, it goes with that; a link and a preview show nothing."""
    preload = "<link rel=preload as=image href=img/a.png>"
    css = "h1{background:url(img/a.png)}"
    site = write(tmp_path / "site", {"index.html": f"{preload}{page}", "own.css": css, **PICTURES})
    hosted(site, capsys, *(option for kind in kinds for option in ("--references", kind)))
    after = (site / "index.html").read_text()
    assert len(MOVED.findall(after)) == count
    has_moved = preload not in after
    assert has_moved is ("css" in kinds or "poster" in kinds)


LATER = {"later.html": "<img src=img/a.png>", "held.html": "<img class=no-imghost src=img/b.png>"}


@pytest.mark.parametrize("link", ["rel=prefetch", "rel=prefetch as=image", "rel='PREFETCH x'"])
@pytest.mark.parametrize(
    ("name", "page", "moves"),
    [
        ("a", "", True),
        ("b", "", False),
        ("closed", "", False),
        ("b", "<img src=img/b.png>", True),
        ("a", "<img class=no-imghost src=img/a.png>", False),
        ("b", "<picture class=no-imghost><source srcset=img/a.png><img src=img/b.png></picture>", False),
    ],
)
def test_what_is_fetched_for_a_later_page_goes_with_that(link, name, page, moves, tmp_path, capsys):
    """Else a browser fetches it twice; what no page shows, or only one that keeps it, stays."""
    fetched = f"<link {link} href=img/{name}.png>"
    site = write(tmp_path / "site", {"index.html": f"{fetched}{page}", **LATER, **PICTURES})
    for _ in range(2):  # the second run knows the pages
        hosted(site, capsys)
        assert (fetched not in (site / "index.html").read_text()) is moves
    (site / "later.html").unlink()
    if name == "a" and not page:
        hosted(site, capsys)
        assert fetched in (site / "index.html").read_text()


def test_what_else_is_fetched_for_a_later_page_is_nobodys(tmp_path, capsys):
    page = "<link rel=prefetch href=later.html><link rel=prefetch as=script href=img/a.png>"
    site = write(tmp_path / "site", {"index.html": page, **LATER, **PICTURES})
    hosted(site, capsys)
    assert (site / "index.html").read_text() == page


COPIES = "for(const i of document.querySelectorAll('.copy'))i.onclick=()=>fetch(i.src).then(copy)"
DRAWS = "x.drawImage(document.querySelector('.copy'),0,0);c.getImageData(0,0,9,9)"


@pytest.mark.parametrize("code", [COPIES, DRAWS])
@pytest.mark.parametrize("where", ["page", "file"])
def test_what_a_script_reads_moves_within_the_site_alone(code, where, tmp_path, capsys):
    page = "<title>t</title><img class=copy src=img/a.png><img src=img/b.png>"
    files = {"index.html": page + (f"<script>{code}</script>" if where == "page" else ""), "js/copy.js": code}
    site = write(tmp_path / "site", {**files, **PICTURES})
    report, said = hosted(site, capsys)
    assert [kept["path"] for kept in report["kept"]] == ["img/a.png"]
    assert "a script reads its pixels or bytes" in said
    within = write(tmp_path / "within" / "site", {**files, **PICTURES})
    assert main(["rehost", str(within), "--host", "directory", "--cache-dir", str(tmp_path / "cache")]) == 0
    assert (within / "index.html").read_text().count("_imghost/") == 2


_POLICY = '<meta http-equiv=Content-Security-Policy content="{}">'
NO_BASE = _POLICY.format("base-uri 'none'")


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("<base href='javascript:x'><img src=img/a.png>", ["img/a.png"]),
        ("<base href=' DATA:text/html,x'><img src=img/a.png>", ["img/a.png"]),
        ("<noscript><base href='sub/'></noscript><img src=img/a.png>", ["img/a.png"]),
        ("<template><base href='sub/'></template><img src=img/a.png>", ["img/a.png"]),
        ("<base target=_blank><base href=' sub/ '><base href=x/><img src=img/a.png>", ["sub/img/a.png"]),
        (
            "<img src=img/b.png><base href='sub/'><img src=img/a.png><img src=/img/b.png>",
            ["sub/img/a.png", "img/b.png"],
        ),
        *(
            (f"{_POLICY.format(policy)}<base href='{base}'><img src=img/a.png>", [shown])
            for policy, base, shown in (
                ("base-uri 'none'", "sub/", "img/a.png"),
                ("default-src *; BASE-URI", "/sub/", "img/a.png"),
                ("base-uri 'self'", "sub/", "sub/img/a.png"),
                ("base-uri 'self'", "https://docs.test/sub/", "sub/img/a.png"),
                ("base-uri 'self'", "https://elsewhere.test/sub/", "img/a.png"),
                ("base-uri 'self'", "//elsewhere.test/sub/", "img/a.png"),
                ("base-uri https://docs.test", "sub/", "sub/img/a.png"),
                ("base-uri https://docs.test:0443/sub/", "sub/", "sub/img/a.png"),
                ("base-uri https://docs.test/other/", "sub/", "img/a.png"),
                ("base-uri elsewhere.test", "sub/", "img/a.png"),
                ("base-uri 'none'; base-uri *", "sub/", "img/a.png"),
                ("img-src *; default-src 'none'", "sub/", "sub/img/a.png"),
            )
        ),
        # The first counts, or none; what is before the policy, and what only those without scripts have, knows none.
        (f"{NO_BASE}<base href=sub/><base href=sub/><img src=img/a.png>", ["img/a.png"]),
        (f"<base href=sub/>{NO_BASE}<img src=img/a.png>", ["sub/img/a.png"]),
        (f"<noscript>{NO_BASE}</noscript><base href=sub/><img src=img/a.png>", ["sub/img/a.png"]),
        (f"{NO_BASE}<img src=img/b.png><base href=sub/>", ["img/b.png"]),
    ],
)
def test_a_base_counts_as_it_does_for_browsers(page, names, tmp_path, capsys):
    files = {**PICTURES, "sub/img/a.png": picture(70), "sub/img/b.png": picture(71)}
    site = write(tmp_path / "site", {"index.html": page, **files})
    hosted(site, capsys, "--site-url", "https://docs.test/")
    shown = {hashlib.sha256(content).hexdigest()[:32]: path for path, content in files.items()}
    moved = [url.rpartition("/")[2].removesuffix(".png") for url in MOVED.findall((site / "index.html").read_text())]
    assert [shown[name] for name in moved] == names


@pytest.mark.parametrize(
    ("policy", "base", "moves"),
    [
        ("base-uri 'none'", "sub/", True),
        ("base-uri 'self'", "sub/", True),
        ("base-uri 'self'", "https://docs.test/sub/", False),
        ("base-uri https://docs.test", "sub/", False),
    ],
)
def test_of_a_base_that_nobody_can_judge_nothing_moves(policy, base, moves, tmp_path, capsys):
    """A site that says no URL may be any of those that a policy names."""
    page = f"{_POLICY.format(policy)}<base href='{base}'><img src=img/a.png>"
    site = write(tmp_path / "site", {"index.html": page, "sub/img/a.png": picture(70), **PICTURES})
    hosted(site, capsys)
    assert bool(MOVED.search((site / "index.html").read_text())) is moves


@pytest.mark.parametrize(
    ("policy", "base", "moves"),
    [
        ("base-uri 'none'", "sub/", False),
        ("base-uri 'self'", "sub/", True),
        ("base-uri 'self'", "https://docs.test/sub/", False),
        ("base-uri https:", "https://docs.test/sub/", True),
        ("img-src *", "sub/", True),
    ],
)
def test_a_base_that_a_servers_policy_may_forbid_moves_nothing_after_it(policy, base, moves, tmp_path, capsys):
    """The header may be for some of the pages alone."""
    page = f"<base href='{base}'><img src=img/a.png><img src=/img/b.png>"
    headers = f"/x/*\n  Content-Security-Policy: {policy}\n"
    files = {"index.html": page, "_headers": headers, "sub/img/a.png": picture(70), **PICTURES}
    site = write(tmp_path / "site", files)
    report, _ = hosted(site, capsys, "--site-url", "https://docs.test/")
    assert len(MOVED.findall((site / "index.html").read_text())) == 1 + moves
    assert [kept["path"] for kept in report["kept"]] == ["sub/img/a.png"] * (not moves)


@pytest.mark.parametrize(
    ("policy", "option", "added"),
    [
        ("style-src 'self'", "--dimensions", "width="),
        ("default-src 'self' https://images.test", "--dimensions", "width="),
        ("script-src 'self'", "--fallback", "onerror="),
    ],
)
def test_what_a_servers_policy_forbids_is_not_added(policy, option, added, tmp_path, capsys):
    """Without our rule beside it, a width and a height show an image out of its shape."""
    header = f"/*\n  Content-Security-Policy: {policy}; img-src *\n"
    page = "<title>x</title><img src=img/a.png>"
    site = write(tmp_path / "site", {"index.html": page, "_headers": header, **PICTURES})
    hosted(site, capsys, option)
    assert MOVED.search((site / "index.html").read_text())
    assert added not in (site / "index.html").read_text()
    (site / "_headers").write_text("/*\n  X-Frame-Options: DENY\n")
    hosted(site, capsys, option)
    assert added in (site / "index.html").read_text()
