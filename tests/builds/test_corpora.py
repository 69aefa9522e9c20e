"""Whole runs on real built sites: everything that should move moves, and nothing else changes.

The count comes from html5lib and urllib alone, which share no code with the scanner or the resolver.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import html5lib
import pytest
from corpora import needs_corpora, sites
from sites import tree

from imghost.cli.main import main

ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".svg")
NEW_URL = re.compile(rb"(?:\.\./)*_imghost/[0-9a-f]{32}(?:-[a-z0-9]+)*\.(?:png|jpg|gif|webp|avif|svg)")
BASE = "http://site.test/"


def elements(page: bytes) -> Iterator[tuple[str, dict[str, str], bool]]:
    """Walk over a page's elements: name, attributes, and whether something around or on it holds it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = html5lib.parse(page.decode("utf-8", "replace"), treebuilder="etree", namespaceHTMLElements=False)

    def walk(element, is_held):
        if isinstance(element.tag, str):
            is_held = is_held or _is_held(element.attrib)
            yield element.tag.rpartition("}")[2], element.attrib, is_held
        for child in element:
            yield from walk(child, is_held)

    yield from walk(root, False)


def _is_held(attributes: dict[str, str]) -> bool:
    return attributes.get("data-imghost") == "off" or "no-imghost" in attributes.get("class", "").split()


def image_urls(page: bytes) -> Iterator[str]:
    """List the URLs of the kinds img, link and poster, which every site has."""
    for name, attributes, is_held in elements(page):
        if is_held or "toggler" in attributes.get("class", "").split():
            continue
        if name == "img":
            yield from filter(None, [attributes.get("src", "").strip(), attributes.get("data-src", "").strip()])
        elif name in {"a", "area"} and "download" not in attributes and "href" in attributes:
            if urlsplit(attributes["href"].strip()).path.lower().endswith(ENDINGS):
                yield attributes["href"].strip()
        elif name == "video" and attributes.get("poster"):
            yield attributes["poster"].strip()


def local(site: Path, page: str, url: str) -> str | None:
    """Find the site's own file that a URL means, by urllib."""
    whole = urlsplit(urljoin(BASE + page, url))
    path = unquote(whole.path).lstrip("/")
    return path if f"{whole.scheme}://{whole.netloc}/" == BASE and path and (site / path).is_file() else None


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sites(tmp_path_factory.mktemp("corpora"))


@needs_corpora
def test_every_resolvable_reference_of_real_sites_moves_and_no_other_byte_changes(
    corpora, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for original in corpora:
        site = tmp_path / "site"
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(original, site, symlinks=True)
        capsys.readouterr()
        assert main(["rehost", "site", "--host", "directory", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        stay = {kept["path"] for kept in report["kept"]}
        moved = 0
        for page in sorted(path for path in tree(original) if path.endswith(".html")):
            before, after = (original / page).read_bytes(), (site / page).read_bytes()
            _assert_only_urls_changed(page, before, after)
            for old, new in zip(image_urls(before), image_urls(after), strict=True):
                path = local(original, page, old)
                if path is None or path in stay:
                    assert old == new, (original.name, page, old)
                    continue
                target = local(site, page, new)
                assert target is not None, (original.name, page, new)
                assert target.startswith("_imghost/"), (original.name, page, old)
                moved += 1
        assert moved > 0 or report["images"]["found"] == 0
        assert report["references"]["rewritten"] >= moved
        first = tree(site)
        assert main(["rehost", "site", "--host", "directory"]) == 0
        assert tree(site) == first


@needs_corpora
def test_no_image_of_real_sites_stays_by_a_rule_that_is_too_wide(corpora, tmp_path, monkeypatch, capsys):
    """Prints each site's counts; Sphinx' signs that fold its index are all that its scripts rename."""
    monkeypatch.chdir(tmp_path)
    for original in corpora:
        shutil.rmtree(tmp_path / "site", ignore_errors=True)
        shutil.copytree(original, "site", symlinks=True)
        capsys.readouterr()
        elsewhere = ("--option", "base_url=https://images.test/", "--option", f"path={tmp_path / 'hosted'}")
        assert main(["rehost", "site", "--host", "directory", "--json", *elsewhere]) == 0
        report = json.loads(capsys.readouterr().out)
        rules = Counter(kept["reason"] for kept in report["kept"])
        with capsys.disabled():
            print(f"\n{original.name}: {report['images']['found']} images, held: {dict(rules) or 'none'}")
        assert {kept["path"] for kept in report["kept"]} <= {"_static/minus.png", "_static/plus.png"}


def _assert_only_urls_changed(page: str, before: bytes, after: bytes) -> None:
    """Split at the new URLs: the pieces must stand in the old page in order, with only URLs between them."""
    pieces = NEW_URL.split(after)
    at = len(pieces[0])
    assert before.startswith(pieces[0]), page
    for piece in pieces[1:]:
        found = before.find(piece, at) if piece else at
        assert found >= 0, page
        between = before[at:found]
        assert not re.search(rb"[<>\"'\s]", between.strip()), (page, between)
        at = found + len(piece)
    assert at == len(before), page
