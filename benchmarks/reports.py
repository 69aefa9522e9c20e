"""What an audit and a report cost: pages read on every core, and a page of three thousand images written and opened."""

from __future__ import annotations

import json
import statistics
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from benchmarks.measure import Row, environ, run
from imghost.run.report import Counts, Report
from imghost.run.report_html import Facts, ListedImage, as_html

CHROMIUM = Path("/usr/bin/chromium")


def audit(site: Path) -> list[Row]:
    """Audit a built MkDocs site of Material's."""
    taken = run([sys.executable, "-m", "imghost", "audit", site, "--fail", "none"], site.parent, environ())
    pages = sum(1 for _ in site.rglob("*.html"))
    what = f"`imghost audit` of {pages:,} pages, on both cores"
    return [Row(what, taken.wall, 20.0, "s", f"{taken.cpu:.1f} s of processor time")]


def page(folder: Path, count: int) -> list[Row]:
    """Write the report of so many images, and open it in chromium."""
    folder.mkdir(exist_ok=True)
    now = datetime(2026, 11, 28, tzinfo=UTC)
    images = tuple(
        ListedImage(
            f"images/{number % 40}/shot-{number:04}.png", "hosted", 1000 * number, (1440, 900), f"{number:064x}",
            f"https://src.img.pro/a/{number}.png", None, False, now, Decimal(0), 1000 * number,
            pages=tuple(f"page-{at}/index.html" for at in range(1 + number % 8)),
        )
        for number in range(count)
    )  # fmt: skip
    report, facts = Report("site", "img.pro", Counts(images=count, cached=count)), Facts(now, "0", images=images)
    as_html(report, facts, folder, folder)  # the template is compiled once
    began = time.process_time()
    text = as_html(report, facts, folder, folder)
    written = time.process_time() - began
    file = folder / "report.html"
    file.write_text(text, "utf-8")
    note = f"{len(text) / 1e6:.1f} MB of HTML"
    return [Row(f"the report of {count:,} images, written", written, 1.0, "s", note), *_opened(file, count)]


def _opened(file: Path, count: int) -> list[Row]:
    """Measure how long chromium takes until the page can be used, without a network."""
    what = f"the report of {count:,} images, until it can be used in chromium"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return [Row(what, None, 1.0, "s", "skipped: there is no playwright")]
    if not CHROMIUM.exists():
        return [Row(what, None, 1.0, "s", "skipped: there is no chromium")]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        times = []
        for _ in range(5):
            with browser.new_context(offline=True) as context:
                shown = context.new_page()
                shown.goto(file.as_uri())
                script = "JSON.stringify(performance.getEntriesByType('navigation')[0])"
                times.append(json.loads(shown.evaluate(script))["domContentLoadedEventEnd"] / 1000)
        browser.close()
    return [Row(what, statistics.median(times), 1.0, "s", "median of 5, to the end of its script")]
