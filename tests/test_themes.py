"""Real themes: the references that html5lib finds move, and nothing else in a page changes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from oracle import references
from sites import tree
from themes import THEMES, URL, build

from imghost.models import KINDS
from imghost.scan import scan

pytestmark = pytest.mark.filterwarnings("ignore")
_NEW = re.compile(rb"(?:http://site\.test/)?(?:\.\./)*_imghost/[0-9a-f]{32}\.png")
_OLD = re.compile(rb"(?:\.\./)*(?:img|_images)/shot-[a-z]+\.png")


def local(site: Path, page: str, url: str) -> str | None:
    """Find the site's own file that a URL means, by urllib."""
    whole = urljoin(URL + page, url)
    path = unquote(urlsplit(whole).path).lstrip("/")
    return path if whole.startswith(URL) and (site / path).is_file() else None


def pages_of(site: Path) -> dict[str, bytes]:
    files = tree(site, ".html").items()
    return {path: re.sub(rb"Build Date UTC : [^\n]*", b"", content) for path, content in files}


@pytest.mark.parametrize("theme", THEMES)
def test_every_reference_to_an_authors_image_moves_and_no_other_byte_changes(theme, tmp_path):
    plain = build(theme, tmp_path / "plain", None)
    hosted = build(theme, tmp_path / "hosted", {"host": "directory"})
    before, after = pages_of(plain), pages_of(hosted)
    assert before.keys() == after.keys()
    moved = 0
    for page, content in before.items():
        text = content.decode("utf-8")
        expected = references(text)
        assert Counter((found.kind, found.url) for found in scan(text, frozenset(KINDS)).references) == expected
        files = [local(plain, page, url) for kind, url in expected.elements() if kind not in {"icon", "object"}]
        of_author = sum(1 for file in files if file and "shot-" in file)
        new = [local(hosted, page, url) for _, url in references(after[page].decode("utf-8")).elements()]
        assert sum(1 for file in new if file and file.startswith("_imghost/")) == of_author, page
        assert not [file for file in new if file and "shot-" in file], page
        # What is left once the URLs are out is the same: so only URLs have changed, and in their places.
        assert _NEW.split(after[page]) == _outside_urls(content, len(_NEW.findall(after[page]))), page
        moved += of_author
    assert moved >= 12


def _outside_urls(page: bytes, count: int) -> list[bytes]:
    """Split a page at the URLs of its author's images, leaving out where they only stand in texts."""
    spans = sorted(
        (reference.start, reference.end)
        for reference in scan(page.decode("utf-8"), frozenset(KINDS)).references
        if _OLD.match(reference.url.encode())
    )
    text, at, parts = page.decode("utf-8"), 0, []
    assert len(spans) == count
    for start, end in spans:
        parts.append(text[at:start])
        at = end - len(text[start:end].partition("#")[2]) - ("#" in text[start:end])
    return [part.encode() for part in [*parts, text[at:]]]
