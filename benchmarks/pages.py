"""Pages alone: scan and rewrite beside what others do with the same pages, and how the cost grows."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import sites
from benchmarks.measure import Row, environ, median, python, run

_REHOST = """
import json, sys, time
from pathlib import Path
from benchmarks.measure import peak
from imghost import Job, Settings, rehost
from imghost.site.images import Origins
site = Path(sys.argv[1])
cpu = time.process_time()
result = rehost(Job(site, Settings(host="directory", folder=site.parent, cache_dir=site.parent / "cache"), {},
                    Origins(is_own_source=True), Path(sys.argv[2]) if sys.argv[2:] else None))
print(json.dumps({"cpu": time.process_time() - cpu, "pages": result.report.counts.pages_rewritten,
                  "images": result.report.counts.images, "peak": peak()}))
"""


def beside_others(site: Path) -> list[Row]:
    """Compare a page's scan and rewrite with other plugins' hooks and a BeautifulSoup pass."""
    paths = sorted(site.rglob("part*/**/index.html"))[:40]
    texts = [path.read_text("utf-8") for path in paths]
    rows = []
    peers: tuple[tuple[str, float | None, Callable[[], Callable[[str], object]]], ...] = (
        ("mkdocs-glightbox", 0.35, _glightbox),
        ("a BeautifulSoup pass", 0.012, _soup),
        ("Material's privacy plugin", 1.2, _privacy),
    )
    for name, target, make in peers:
        what = f"scan and rewrite of a page, to {name}"
        try:
            other = make()
        except ImportError as problem:
            rows.append(Row(what, None, target, note=f"skipped: {problem}"))
            continue
        count = 8 if make is _soup else len(texts)
        rounds = [(_timed(_ours(), texts[:count]), _timed(other, texts[:count])) for _ in range(5)]
        ours, theirs = (median([pair[at] for pair in rounds]) * 1000 for at in (0, 1))
        note = f"{ours:.2f} ms to {theirs:.2f} ms a page of {len(texts[0]) // 1000} KB"
        rows.append(Row(what, median([one / two for one, two in rounds]), target, note=note))
    return rows


def _timed(work: Callable[[str], object], texts: list[str]) -> float:
    began = time.process_time()
    for text in texts:
        work(text)
    return (time.process_time() - began) / len(texts)


def _ours() -> Callable[[str], object]:
    """Scan and rewrite as a run does, in which each page may pass unread what the one before had as well."""
    from imghost.html import Theme
    from imghost.html.edit import changed_text, changes_of
    from imghost.html.scan import scan
    from imghost.models import DEFAULT_KINDS

    theme, kinds = Theme(), frozenset(DEFAULT_KINDS)

    def page(text: str) -> str:
        found = scan(text, kinds, theme=theme).references
        return changed_text(
            text, changes_of(text, dict.fromkeys(found, "https://src.img.pro/abc/0123456789abcdef.png"))
        )

    return page


def _glightbox() -> Callable[[str], object]:
    from types import SimpleNamespace

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs_glightbox.plugin import LightboxPlugin  # type: ignore[import-untyped]

    plugin = LightboxPlugin()
    plugin.load_config({})
    config = MkDocsConfig()
    config.load_dict({"site_name": "Bench", "theme": "material"})
    config.validate()
    plugin.on_config(config)
    page = SimpleNamespace(meta={}, url="part0/page0/", file=SimpleNamespace(url="part0/page0/"))

    def both_hooks(text: str) -> object:
        # MkDocs gives the first hook the article alone, and the second one the whole page.
        start, end = text.index("<article"), text.index("</article>")
        content = plugin.on_page_content(text[start:end], page=page, config=config)
        return plugin.on_post_page(text[:start] + content + text[end:], page=page, config=config)

    return both_hooks


def _privacy() -> Callable[[str], object]:
    """Run both hooks of the plugin that brings external files home, on pages that have none to bring."""
    from types import SimpleNamespace

    from material.plugins.privacy.plugin import PrivacyPlugin  # type: ignore[import-untyped]
    from mkdocs.config.defaults import MkDocsConfig

    plugin = PrivacyPlugin()
    plugin.load_config({})
    config = MkDocsConfig()
    config.load_dict({"site_name": "Bench", "site_url": "https://docs.example.com/", "theme": "material"})
    config.validate()
    plugin.on_config(config)
    page = SimpleNamespace(file=SimpleNamespace(url="part0/page0/", src_uri="part0/page0.md"))

    def both_hooks(text: str) -> object:
        start, end = text.index("<article"), text.index("</article>")
        plugin.on_page_content(text[start:end], page=page, config=config, files=None)
        return plugin.on_post_page(text, page=page, config=config)

    return both_hooks


def _soup() -> Callable[[str], object]:
    from bs4 import BeautifulSoup

    def whole(text: str) -> str:
        soup = BeautifulSoup(text, "html.parser")
        for image in soup.find_all("img"):
            image["src"] = "https://src.img.pro/abc/0123456789abcdef.png"
        return str(soup)

    return whole


def growth(folder: Path, pages: Path, small: int, large: int) -> list[Row]:
    """Rewrite sites of two sizes, cold in the page map and in no network, and compare time and memory."""
    found: dict[int, dict[str, float]] = {}
    paths = sorted(pages.rglob("part*/**/index.html"))[:100]
    for count in (small, large):
        runs = []
        for _ in range(2 if count == small else 1):
            site = folder / "site"
            _spread(paths, site, count)
            run(python(_REHOST, site), folder, environ())
            runs.append(json.loads((folder / ".benchmark.log").read_text()))
            shutil.rmtree(folder / "site")
            shutil.rmtree(folder / "cache", ignore_errors=True)
        found[count] = min(runs, key=lambda taken: taken["cpu"])
        assert found[count]["pages"] == count, "some pages were not rewritten"
    one, other = found[small], found[large]
    memory = (other["peak"] - one["peak"]) / 1e6
    seconds = f"{one['cpu']:.1f} s to {other['cpu']:.1f} s of CPU"
    size = paths[0].stat().st_size // 1000
    each = memory * 1000 / (large - small)
    peaks = f"{one['peak'] / 1e6:.0f} MB to {other['peak'] / 1e6:.0f} MB; a page has {size} KB"
    return [
        Row(f"cost of {large:,} pages to {small:,} pages", other["cpu"] / one["cpu"], 10, note=seconds),
        Row("memory that each page more takes", each, 2, "KB", peaks),
    ]


def _spread(paths: list[Path], site: Path, count: int) -> None:
    """Copy pages to a site of so many, with the images that they show."""
    sites.images(site / "images", 600, 2_000)
    content = [path.read_bytes() for path in paths]
    for number in range(count):
        page = site / f"part{number // 100}" / f"page{number}" / "index.html"
        page.parent.mkdir(parents=True)
        page.write_bytes(content[number % len(content)])


def large(folder: Path, pages: int, pictures: int) -> list[Row]:
    """Rehost a site of many small pages on the directory host, cold and again, and one of a quarter of its size."""
    small, whole = (_cold_and_again(folder, pages // part, pictures // part) for part in (4, 1))
    rows = []
    for at, how in enumerate(("cold on the directory host", "again")):
        one, other = small[at], whole[at]
        note = (
            f"{one['cpu']:.2f} s to {other['cpu']:.2f} s of CPU, {one['peak'] / 1e6:.0f} MB to "
            f"{other['peak'] / 1e6:.0f} MB"
        )
        what = f"{pages:,} small pages and {pictures:,} images, {how}, to {pages // 4:,} and {pictures // 4:,}"
        rows.append(Row(what, other["cpu"] / one["cpu"], 4.4, note=note))
    return rows


def _cold_and_again(folder: Path, pages: int, pictures: int) -> list[dict[str, float]]:
    """Give what a site's first build with a map takes, and the least of two that find it as it was left."""
    site = folder / "site"
    sites.images(site / "images", pictures, 500)
    for number in range(pages):
        place = site / f"part{number // 100}"
        if not number % 100:
            place.mkdir()
        (place / f"page{number}.html").write_text(sites.html(number, pictures))
    builds = _built(folder, 3)
    assert all(it["pages"] == pages and it["images"] == pictures for it in builds), "some pages were not rewritten"
    shutil.rmtree(folder)
    return [builds[0], min(builds[1:], key=lambda it: it["cpu"])]


def _built(folder: Path, count: int) -> list[dict[str, float]]:
    """Rehost a site so many times, with a map of its pages; gives what each run took."""
    taken = []
    for _ in range(count):
        run(python(_REHOST, folder / "site", folder / "map.json"), folder, environ())
        taken.append(json.loads((folder / ".benchmark.log").read_text()))
    return taken


def beside_files(folder: Path, count: int) -> list[Row]:
    """Build a page with an image again among many files that are neither, and among a tenth of them."""
    taken = []
    for others in (count // 10, count):
        site = folder / "site"
        sites.images(site / "images", 1, 500)
        (site / "index.html").write_text('<!doctype html>\n<img src="images/p0.png" alt="">\n')
        for number in range(others):
            place = site / f"part{number // 1000}" / f"of{number // 100}"
            if not number % 100:
                place.mkdir(parents=True)
            (place / f"file{number}.bin").touch()
        taken.append(min(_built(folder, 4)[1:], key=lambda it: it["cpu"]))
        shutil.rmtree(folder)
    one, other = taken
    note = f"{one['cpu']:.2f} s to {other['cpu']:.2f} s of CPU, {other['peak'] / 1e6:.0f} MB"
    return [
        Row(
            f"again: a page in a folder of {count:,} files, to {count // 10:,}",
            other["cpu"] / one["cpu"],
            11,
            note=note,
        )
    ]
