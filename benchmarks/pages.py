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
                    Origins(is_own_source=True)))
print(json.dumps({"cpu": time.process_time() - cpu, "pages": result.report.counts.pages_rewritten,
                  "peak": peak()}))
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
