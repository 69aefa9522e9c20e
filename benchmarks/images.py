"""Images alone: what a warm build asks of many large ones whose sources stand for their copies."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import sites
from benchmarks.measure import Row, environ, python, run
from imghost.image import inspect
from imghost.models import Record
from imghost.records import lock as locks

_WARM = """
import json, os, sys, time
from pathlib import Path
time.perf_counter = time.process_time  # so that the report tells the processor's time, which others do not disturb
folder, has_map = Path(sys.argv[1]), sys.argv[2] == "map"
from imghost import Job, Settings, rehost
from imghost.run.repeat import repeat
from imghost.site import page_map
from imghost.site.images import Origins
import imghost.records.safe_diskcache
sources = {f"images/{path.name}": path for path in (folder / "docs").iterdir()}
origins = Origins(roots=(folder,), sources=sources, stands_for_copy=True)
settings = Settings(host="img.pro", folder=folder, cache_dir=folder / "cache", lock=folder / "imghost.lock")
place = page_map.location(settings.cache_dir, folder / "site") if has_map else None
job = Job(folder / "site", settings, {}, origins, place, writes_again=has_map)
if has_map:  # as MkDocs' plugin does before each build, and MkDocs then
    page_map.retire(place)
    assert all(map(str, sources.values()))  # the plugin has compared them, as text
    for page in (folder / "pages").iterdir():
        (folder / "site" / page.name).write_bytes(page.read_bytes())
began = time.process_time()
told = repeat(job)
repeated = time.process_time() - began
report = None if told else rehost(job).report
began = time.process_time()
for name, source in sources.items():
    os.stat(f"{folder}/site/{name}")
    os.stat(source)
stats = time.process_time() - began
found = {"images": report.counts.images, "cached": report.counts.cached, **report.seconds} if report else {}
print(json.dumps({"repeated": repeated if told else 0, "stats": stats, **found}))
"""
_PER_PAGE = 50
_ROUNDS = 7


def many(folder: Path, count: int, length: int) -> list[Row]:
    """Identify many images of a built site again: everything but the pages' scan.

    Then with a lock that has them all and a map of the pages, which is how front ends build: where nothing is new
    the last run is repeated, and all that it takes is counted.
    """
    _make(folder, count, length)
    time.sleep(0.2)
    cold = _run(folder, "")
    assert cold["images"] == count, "some images were not found"
    warm = [_run(folder, "") for _ in range(_ROUNDS)]
    taken = {name: min(one[name] for one in warm) * 1000 for name in ("hash", "stats")}
    beside = min(one["total"] - one["scan"] for one in warm) * 1000
    asked = f"two questions an image to the file system; least of {_ROUNDS}"
    note = (
        f"CPU: {beside:.0f} ms beside the page scan, {taken['hash']:.0f} of them to know the images "
        f"(cold: {cold['hash'] * 1000:.0f}), to {taken['stats']:.0f} ms for {asked}"
    )
    _lock(folder)
    time.sleep(0.2)
    whole = _run(folder, "map")
    assert whole["cached"] == count, "some images have no record that counts"
    again = [_run(folder, "map") for _ in range(_ROUNDS)]
    assert all(one["repeated"] for one in again), "the last run was not repeated"
    spent, stats = (min(one[name] for one in again) * 1000 for name in ("repeated", "stats"))
    size = count * length / 1e9
    what = f"warm, images only: {count:,} images, {size:.1f} GB, to two stats an image"
    all_of_it = (
        f"CPU: {spent:.0f} ms for all of it, {count // _PER_PAGE} pages written again (the whole run: "
        f"{whole['total'] * 1000:.0f}), to {stats:.0f} ms for {asked}"
    )
    return [
        Row(what, beside / taken["stats"], 1.5, note=note),
        Row("the same where nothing is new: the last run repeated", spent / stats, 1.5, note=all_of_it),
    ]


def _make(folder: Path, count: int, length: int) -> None:
    """Write images, their copies in a site, and pages that show them."""
    sites.images(folder / "docs", count, length)
    copies, pages = folder / "site" / "images", folder / "pages"
    copies.mkdir(parents=True)
    pages.mkdir()
    for source in (folder / "docs").iterdir():
        os.link(source, copies / source.name)  # a copy of its own would only fill the disk
    for start in range(0, count, _PER_PAGE):
        shown = "".join(
            f'<p><img src="images/p{number}.png" alt=""></p>\n' for number in range(start, start + _PER_PAGE)
        )
        text = f"<!doctype html><title>Page</title>\n{shown}"
        for place in (pages, folder / "site"):
            (place / f"page{start}.html").write_text(text)


def _lock(folder: Path) -> None:
    """Write the lock as if all images had been uploaded."""
    now = datetime.now(UTC)
    records = []
    for path in sorted((folder / "docs").iterdir()):
        image = inspect.read(path.parent, path.name)
        url, facts = f"https://src.img.pro/bench/{image.sha256[:32]}.png", image.facts
        told = (image.sha256, "img.pro", url, image.sha256[:8], "", path.stat().st_size, facts.media_type)
        records.append(Record(*told, facts.width, facts.height, now))
    locks.add(folder / "imghost.lock", records, "img.pro")


def _run(folder: Path, how: str) -> dict[str, float]:
    run(python(_WARM, folder, how), folder, environ())
    found: dict[str, float] = json.loads((folder / ".benchmark.log").read_text())
    return found
