"""Long locks: what records of other images add to a warm build."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from benchmarks import sites
from benchmarks.measure import Row, environ, python, run

_WARM = """
import json, sys, time
from pathlib import Path
from benchmarks.measure import peak
from imghost import Job, Settings, rehost
from imghost.site.images import Origins
folder = Path(sys.argv[1])
settings = Settings(host="img.pro", folder=folder, cache_dir=folder / "cache", lock=folder / "imghost.lock")
cpu = time.process_time()
result = rehost(Job(folder / "site", settings, {}, Origins(is_own_source=True), folder / "cache" / "map.json"))
print(json.dumps({"cpu": time.process_time() - cpu, "rewritten": result.report.counts.references_rewritten,
                  "peak": peak()}))
"""
_PAGES = 100


def long(folder: Path, counts: tuple[int, ...]) -> list[Row]:
    """Rehost the same small site beside locks of these lengths, and compare with one of its own images alone."""
    sites.images(folder / "site" / "images", _PAGES, 2_000)
    for number in range(_PAGES):
        (folder / "site" / f"page{number}.html").write_text(
            f'<!doctype html><title>Page</title><p>{"words " * 500}</p><img src="images/p{number}.png" alt="">'
        )
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted((folder / "site/images").iterdir())]
    own = _taken(folder, digests)
    rows = []
    for count in counts:
        others = (hashlib.sha256(str(number).encode()).hexdigest() for number in range(count))
        long = _taken(folder, [*digests, *others])
        time, memory = (long["cpu"] - own["cpu"]) * 1000, (long["peak"] - own["peak"]) / 1e6
        what = f"a lock of {count:,} records, added to a warm build of {_PAGES} pages"
        note = (
            f"{own['cpu'] * 1000:.0f} ms and {own['peak'] / 1e6:.0f} MB with a lock of its own images alone; least of 3"
        )
        rows += [Row(what, time, 20, "ms", note), Row("the same, memory", memory, 30, "MB")]
    shutil.rmtree(folder)
    return rows


def _taken(folder: Path, digests: list[str]) -> dict[str, float]:
    """Give the least time and memory of warm runs with a lock that has these images."""
    with (folder / "imghost.lock").open("w", encoding="ascii", newline="\n") as lock:
        lock.write('{"imghost_lock": 1, "host": "img.pro"}\n')
        lock.writelines(f"{_line(digest)}\n" for digest in sorted(digests))
    runs = []
    for _ in range(4):
        run(python(_WARM, folder), folder, environ())
        runs.append(json.loads((folder / ".benchmark.log").read_text()))
    assert all(one["rewritten"] == _PAGES for one in runs), "some images have no record"
    return {name: min(one[name] for one in runs[1:]) for name in ("cpu", "peak")}


def _line(digest: str) -> str:
    return json.dumps(
        {
            "sha256": digest,
            "host": "img.pro",
            "url": f"https://src.img.pro/{digest[:3]}/{digest[:16]}.png",
            "id": digest[:16],
            "variant": "",
            "bytes": 2000,
            "media_type": "image/png",
            "width": 64,
            "height": 9,
            "uploaded": "2026-01-01T00:00:00Z",
            "expires": None,
        }
    )
