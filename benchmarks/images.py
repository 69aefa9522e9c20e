"""Images alone: what a warm build asks of many large ones whose sources stand for their copies."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from benchmarks import sites
from benchmarks.measure import Row, environ, python, run

_WARM = """
import json, os, sys, time
from pathlib import Path
time.perf_counter = time.process_time  # so that the report tells the processor's time, which others do not disturb
folder = Path(sys.argv[1])
from imghost import Job, Settings, rehost
from imghost.site.images import Origins
import imghost.records.safe_diskcache
sources = {f"images/{path.name}": path for path in (folder / "docs").iterdir()}
origins = Origins(roots=(folder,), sources=sources, stands_for_copy=True)
settings = Settings(host="img.pro", folder=folder, cache_dir=folder / "cache", lock=folder / "imghost.lock")
result = rehost(Job(folder / "site", settings, {}, origins))
began = time.process_time()
for name, source in sources.items():
    os.stat(f"{folder}/site/{name}")
    os.stat(source)
stats = time.process_time() - began
print(json.dumps({"found": result.report.counts.images, "stats": stats, **result.report.seconds}))
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
    beside, hashed, stats = (
        min(one) * 1000
        for one in (
            [taken["total"] - taken["scan"] for taken in warm],
            [taken["hash"] for taken in warm],
            [taken["stats"] for taken in warm],
        )
    )
    first = cold["hash"] * 1000
    note = (
        f"CPU: {beside:.0f} ms beside the page scan, {hashed:.0f} of them to know the images (cold: {first:.0f}), "
        f"to {stats:.0f} ms for two questions an image to the file system; least of {len(warm)}"
    )
    size = count * length / 1e9
    return [
        Row(
            f"warm, images only: {count:,} images, {size:.1f} GB, to two stats an image", beside / stats, 1.5, note=note
        )
    ]


def _run(folder: Path) -> dict[str, float]:
    run(python(_WARM, folder), folder, environ())
    found: dict[str, float] = json.loads((folder / ".benchmark.log").read_text())
    return found
