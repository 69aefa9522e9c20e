"""Real themes: the references that html5lib finds move, and nothing else in a site changes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from oracle import references
from sites import tree
from themes import THEMES, URL, build

from imghost.html.scan import scan
from imghost.models import KINDS

pytestmark = pytest.mark.filterwarnings("ignore")
_NEW = re.compile(rb"(?:\.\./)*_imghost/[0-9a-f]{32}\.(?:png|webp)")
_OLD = rb"((?:\.\./)*(?:img|_images)/[\w-]+\.(?:png|webp))"
_BUILT: dict[str, tuple[Path, Path]] = {}
_LEAST = {"gallery": 30, "photofinish": 38}
"""References to the author's images, counted by hand, where there are more than in the other projects."""
_OF_ITS_BUILD = (".buildinfo", ".zip")
"""Endings of files that differ from build to build: the settings' hash, the times of an archive's members."""


def local(site: Path, page: str, url: str) -> str | None:
    """Find the site's own file that a URL means, by urllib."""
    whole = urljoin(URL + page, url)
    path = unquote(urlsplit(whole).path).lstrip("/")
    return path if whole.startswith(URL) and (site / path).is_file() else None


def of_author(site: Path, page: str, found: Counter[tuple[str, str]]) -> Counter[str]:
    """Count the URLs of the author's images among a page's references, without their fragments."""
    urls = [url for kind, url in found.elements() if kind not in {"icon", "object"}]
    return Counter(
        url.partition("#")[0] for url in urls if (local(site, page, url) or "").startswith(("img/", "_images/"))
    )


@pytest.fixture
def built(theme, tmp_path_factory, monkeypatch):
    """Build a theme's project, once for all tests: as it is, and with its images hosted."""
    if theme not in _BUILT:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1760000000")  # both are of the same day
        folder = tmp_path_factory.mktemp(theme)
        _BUILT[theme] = build(theme, folder / "plain", None), build(theme, folder / "hosted", {"host": "directory"})
    return _BUILT[theme]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("theme", THEMES)
def test_every_reference_to_an_authors_image_moves_and_no_other_byte_changes(theme, built):
    plain, hosted = built
    before, after = tree(plain, ".html"), tree(hosted, ".html")
    assert before.keys() == after.keys()
    moved = 0
    for page, content in before.items():
        text = content.decode("utf-8")
        expected = references(text)
        assert Counter((found.kind, found.url) for found in scan(text, frozenset(KINDS)).references) == expected
        # The page as it was is the page as it is with local URLs in the places of the new ones, and with those that
        # html5lib finds: so all of them have moved, and nothing but them has changed.
        was = re.fullmatch(_OLD.join(map(re.escape, _NEW.split(after[page]))), content)
        assert was, page
        assert Counter(url.decode() for url in was.groups()) == of_author(plain, page, expected), page
        new = references(after[page].decode("utf-8"))
        assert not of_author(hosted, page, new), page
        shown = [local(hosted, page, url) or "" for _, url in new.elements()]
        assert sum(file.startswith("_imghost/") for file in shown) == len(was.groups()), page
        moved += len(was.groups())
    assert moved >= _LEAST.get(theme, 14)


@pytest.mark.parametrize("theme", THEMES)
def test_no_file_but_pages_changes(theme, built):
    """Search indexes, site maps, scripts, styles, notebooks and images are what they were, to the byte."""
    before, after = (tree(site) for site in built)
    kept = {path for path in before if not path.endswith((".html", *_OF_ITS_BUILD))}
    assert [path for path in sorted(kept) if after.get(path) != before[path]] == []
    assert [path for path in after.keys() - before.keys() if not path.startswith("_imghost/")] == []
    assert {Path(path).suffix for path in kept} >= {".js", ".css", ".png"}


@pytest.mark.parametrize("theme", ["minified"])
def test_minifier_has_taken_quotes_and_comments_out(theme, built):
    """Without this the minified theme might be the plain one once more."""
    page = (built[1] / "index.html").read_bytes()
    assert re.search(rb"<img [^>\"']*src=_imghost/[0-9a-f]{32}\.png#only-light[ >]", page)
    assert b"<!--" not in page
    assert {path for path in tree(built[1]) if path.startswith("own.")} == {"own.min.css", "own.min.js"}
