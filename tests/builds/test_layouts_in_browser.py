"""Improved images are as large as they were, whatever decides their size: each layout opened in Chromium before and after."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sites import picture, write
from test_browser import CHROMIUM, browser, served

from imghost.cli.main import main

__all__ = ["browser"]

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
    pytest.mark.filterwarnings("ignore"),
]

HIGH = '<div class="r"><img src="{}"><div style="height:700px">x</div></div>'
ROW = '<div class="r"><img src="{}"><div>x</div></div>'
IN_LOGO = '<div class="logo" id="top" data-x="1"><p><img src="{}"></p></div>'
SHADOW = '<template shadowrootmode="open"><style>img{{max-width:100%}}</style><img src="{}"></template>'
LAYOUTS = {
    "row as high as its text": (".r{display:flex}", HIGH),
    "row of a height": (".r{display:flex;height:300px}", ROW),
    "row that wraps": (".r{display:flex;flex-wrap:wrap;min-height:300px}", ROW),
    "column": (".r{display:flex;flex-direction:column}", ROW),
    "column by flow": ("main > div{display:inline-flex;flex-flow:column;width:500px}", f"<main>{ROW}</main>"),
    "column, image last": (".r{display:flex;flex-direction:column}", '<div class="r"><p>x</p><img src="{}"></div>'),
    "column, image in a link": (".r{display:flex;flex-direction:column}", '<div class="r"><a><img src="{}"></a></div>'),
    "grid": (".r{display:grid;grid-template-columns:300px 1fr;height:400px}", ROW),
    "grid that stretches": (".r{display:grid;grid-template-columns:300px 1fr;place-items:stretch;height:400px}", ROW),
    "height around": (".logo img{height:50px}", IN_LOGO),
    "height around, by id": ("#top > p > img{max-height:50px}", IN_LOGO),
    "height around, by attribute": ("[data-x] img{height:50px}", IN_LOGO),
    "height around, of any": (":is(.logo, .x) img{height:50px}", IN_LOGO),
    "height around, weightless": (":where(.logo img){height:50px}", IN_LOGO),
    "height around, nested": (".logo{color:red; & img{height:50px}}", IN_LOGO),
    "height in a layer": ("@layer a{img{height:50px}}", IN_LOGO),
    "height in a medium": ("@media (min-width:100px){img:not(.z){height:50px!important}}", IN_LOGO),
    "height of an id": ("#own{height:50px}", '<img id="own" src="{}">'),
    "height of an attribute": ("[alt=k]{height:50px}", '<img alt="k" src="{}">'),
    "height that another rule takes back": (".logo img{height:auto;width:400px}", IN_LOGO),
    "shape": ("img{aspect-ratio:1}", IN_LOGO),
    "place": (".logo{position:relative;width:500px;height:300px} img{position:absolute;top:0;bottom:0}", IN_LOGO),
    "narrow": ("p{width:30px} img{max-width:100%}", IN_LOGO),
    "wide": ("p{width:900px} img{width:100%;object-fit:cover}", IN_LOGO),
    "least width": ("img{min-width:500px}", IN_LOGO),
    "upright": (".logo{writing-mode:vertical-rl;inline-size:300px} img{max-inline-size:100%}", IN_LOGO),
    "cell": ("img{max-width:100%}", '<table><tr><td><img src="{}"></table>'),
    "shadow tree": ("x-y{display:block;width:60px} img{max-width:100%}", "<x-y>" + SHADOW + "</x-y>"),
    "nothing": ("", IN_LOGO),
}
BOXES = """async () => {
  const trees = [...document.querySelectorAll('x-y')].map(own => own.shadowRoot)
  const images = [...document.images, ...trees.flatMap(tree => [...tree.querySelectorAll('img')])]
  for (const image of images) { image.loading = 'eager'; await image.decode() }
  return images.map(image => { const box = image.getBoundingClientRect(); return [box.width, box.height] })
}"""


@pytest.mark.parametrize(
    "options",
    [
        ["--dimensions"],
        ["--responsive", "--widths", "20", "--widths", "120"],
        ["--dimensions", "--lazy", "--responsive", "--widths", "40"],
    ],
    ids=" ".join,
)
def test_no_image_is_shown_in_another_size(options: list[str], browser, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    pages = {}
    for number, (css, body) in enumerate(LAYOUTS.values()):
        rows = "".join(f"<section>{body.format(name)}</section>" for name in ("wide.png", "high.png"))
        style = f"<style>section{{width:800px}}{css}</style>"
        pages[f"{number}.html"] = f"<!doctype html><meta charset=utf-8><title>t</title>{style}{rows}"
    images = {"wide.png": picture(1, (200, 100)), "high.png": picture(2, (50, 200))}
    write(tmp_path / "plain", pages | images)
    shutil.copytree("plain", "hosted")
    assert main(["rehost", "hosted", "--host", "directory", *options]) == 0
    added = [name for name in pages if "width=" in Path("hosted", name).read_text().replace("width:", "")]
    with served(tmp_path) as url:
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        for layout, name in zip(LAYOUTS, pages, strict=True):
            seen = []
            for folder in ("plain", "hosted"):
                page.goto(f"{url}{folder}/{name}")
                seen.append(page.evaluate(BOXES))
            assert seen[0] == seen[1], layout
        page.close()
    if "--dimensions" in options:
        assert len(added) >= 9, "where nothing decides the height, the size is told"
