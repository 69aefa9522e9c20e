"""Feeds, site maps and JSON: no kind of reference is theirs, so they stay, and so does what they name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sites import picture, tree, write

from imghost.cli.main import main
from imghost.models import KINDS

URL = "https://site.test/"
_RSS = '<?xml version="1.0" encoding="utf-8"?>\r\n<rss version="2.0"><channel><item>{}</item></channel></rss>\r\n'
_TEXTS = {
    "enclosure": ("feed.xml", _RSS.format('<enclosure url="{url}" length="9" type="image/png"/>')),
    "media": ("feed.xml", _RSS.format('<media:content url="{url}" medium="image"/><media:thumbnail url="{url}"/>')),
    "section": ("feed.xml", _RSS.format('<description><![CDATA[<p><img src="{url}" alt="x"></p>]]></description>')),
    "escaped": ("feed.rss", _RSS.format('<description>&lt;img src=&quot;/{path}&quot; alt="x"&gt;</description>')),
    "unclosed": ("broken.xml", '<item><img src="{path}"><style>p {{ background: url({path}) }}</style>'),
    "atom": ("atom.xml", '<feed><entry><content type="xhtml"><img src="{url}"/></content></entry></feed>\n'),
    "site map": (
        "sitemap.xml",
        "<urlset><url><image:image><image:loc>{url}</image:loc></image:image></url></urlset>\n",
    ),
    "search": ("search/search_index.json", '{{"docs":[{{"location":"","text":"<img src=\\"../{path}\\">"}}]}}\n'),
    "value": ("feed.json", '{{"items": [{{"image": "{url}", "banner_image": "{path}"}}]}}\n'),
    "slashes": ("feed.json", '{{"image": "https:\\/\\/site.test\\/img\\/named.png"}}\n'),
    "manifest": ("site.webmanifest", '{{"icons": [{{"src": "/{path}", "sizes": "40x30", "type": "image/png"}}]}}\n'),
}


def rehosted(site: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Host a site's images, with every kind asked for and copies deleted; gives the report."""
    kinds = [f"--references={kind}" for kind in KINDS]
    records = [f"--lock={site.parent / 'imghost.lock'}", f"--cache-dir={site.parent / 'cache'}"]
    chosen = ["--host=directory", f"--site-url={URL}", "--remove-local", *kinds, *records]
    assert main(["rehost", str(site), "--json", *chosen]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("name", "text"), _TEXTS.values(), ids=_TEXTS)
def test_feed_stays_to_the_byte_and_keeps_the_image_that_it_names(name, text, tmp_path, capsys):
    """Whatever kinds are asked for, and whatever may be deleted."""
    text = text.format(url=f"{URL}img/named.png", path="img/named.png")
    images = {f"img/{image}.png": picture(seed) for seed, image in enumerate(("named", "shown"))}
    page = '<!doctype html>\n<title>x</title>\n<img src="img/named.png">\n<img src="img/shown.png">\n'
    site = write(tmp_path / "site", {name: text, "index.html": page, **images})
    report = rehosted(site, capsys)
    after = tree(site)
    assert report["pages"] == {"found": 1, "rewritten": 1}
    assert report["references"] == {"found": 2, "rewritten": 2, "kept": 0}
    assert after[name] == text.encode()
    assert after["img/named.png"] == images["img/named.png"]
    assert "img/shown.png" not in after
    assert b"img/" not in after["index.html"]


@pytest.mark.parametrize(("name", "text"), _TEXTS.values(), ids=_TEXTS)
def test_image_that_only_a_feed_names_stays_and_is_not_uploaded(name, text, tmp_path, capsys):
    text = text.format(url=f"{URL}img/named.png", path="img/named.png")
    site = write(tmp_path / "site", {name: text, "index.html": "<!doctype html>\n<p>x\n", "img/named.png": picture()})
    before = tree(site)
    assert rehosted(site, capsys)["images"]["found"] == 0
    assert tree(site) == before
