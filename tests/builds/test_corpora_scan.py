"""Every page of rendered sites of other projects: html5lib sees the same references, and a splice only URLs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import oracle
import pytest
from corpora import needs_corpora, sites

from imghost.html.edit import splice
from imghost.html.scan import scan
from imghost.models import KINDS
from imghost.site.survey import decode, encode

ALL = frozenset(KINDS)
# html5lib reads about three megabytes a second; larger pages are embedded videos.
LARGEST = 300_000


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    found: list[Path] = []
    for site in sites(tmp_path_factory.mktemp("corpora")):
        found += sorted(site.rglob("*.html"))
    return [page.read_bytes() for page in found]


@needs_corpora
def test_html5lib_sees_the_same_references(pages: list[bytes]) -> None:
    seen = 0
    for page in pages:
        if len(page) <= LARGEST:
            expected = oracle.references(decode(page))
            assert Counter((found.kind, found.url) for found in scan(decode(page), ALL).references) == expected
            seen += expected.total()
    assert seen > 100


@needs_corpora
def test_a_splice_leaves_every_other_byte(pages: list[bytes]) -> None:
    for page in pages:
        text = decode(page)
        references = scan(text, ALL).references
        changed = splice(text, [(reference, f"/{'x' * at}.png") for at, reference in enumerate(references)])
        position = 0
        for part in _outside(text):
            position = changed.index(part, position) + len(part)
        assert encode(splice(text, [])) == page
        assert len(scan(changed, ALL).references) == len(references)


def _outside(text: str) -> list[str]:
    edges = [0]
    for reference in scan(text, ALL).references:
        edges += reference.start, reference.end
    edges.append(len(text))
    return [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
