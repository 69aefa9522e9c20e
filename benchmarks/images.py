"""Images alone: what a warm build asks of many large ones whose sources stand for their copies."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from benchmarks import sites
from benchmarks.measure import Row, environ, median, python, run

_WARM = """
import json, sys, time
from pathlib import Path
time.perf_counter = time.process_time  # so that the report tells the processor's time, which others do not disturb
folder = Path(sys.argv[1])
from imghost import Job, Settings, rehost
from imghost.site.images import Origins
import imghost.cache_check
sources = {f"images/{path.name}": path for path in (folder / "docs").iterdir()}
origins = Origins(roots=(folder,), sources=sources, stands_for_copy=True)
settings = Settings(host="img.pro", folder=folder, cache_dir=folder / "cache", lock=folder / "imghost.lock")
result = rehost(Job(folder / "site", settings, {}, origins))
print(json.dumps({"found": result.report.counts.images, **result.report.seconds}))
"""
_PER_PAGE = 50


def many(folder: Path, count: int, length: int) -> list[Row]:
    """Identify many images of a built site again: everything but the pages' scan."""
    sites.images(folder / "docs", count, length)
    copies = folder / "site" / "images"
    copies.mkdir(parents=True)
    for source in (folder / "docs").iterdir():
        os.link(source, copies / source.name)  # a copy of its own would only fill the disk
    for start in range(0, count, _PER_PAGE):
        shown = "".join(
            f'<p><img src="images/p{number}.png" alt=""></p>\n' for number in range(start, start + _PER_PAGE)
        )
        (folder / "site" / f"page{start}.html").write_text(f"<!doctype html><title>Page</title>\n{shown}")
    time.sleep(0.2)
    cold = _run(folder)
    assert cold["found"] == count, "some images were not found"
    warm = [_run(folder) for _ in range(7)]
    beside = median([(taken["total"] - taken["scan"]) * 1000 for taken in warm])
    hashed = median([taken["hash"] * 1000 for taken in warm])
    first = cold["hash"] * 1000
    note = f"CPU; {hashed:.0f} ms of it to know the images (cold: {first:.0f} ms), the rest is store, plan, report"
    size = count * length / 1e9
    return [Row(f"warm, images only: {count:,} images, {size:.1f} GB, beside the page scan", beside, 50, "ms", note)]


def _run(folder: Path) -> dict[str, float]:
    run(python(_WARM, folder), folder, environ())
    found: dict[str, float] = json.loads((folder / ".benchmark.log").read_text())
    return found
