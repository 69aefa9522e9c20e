"""Long locks: what records of other images add to a text of the Markdown extension."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path

from benchmarks import sites
from benchmarks.measure import Row, environ, python, run

_TEXTS = """
import json, sys, time
from markdown import Markdown
from benchmarks.measure import peak
from imghost.markdown import ImghostExtension
md = Markdown(extensions=[ImghostExtension(lock="imghost.lock", docs="site")])
cpu, spent = time.process_time(), []
for number in range(int(sys.argv[1])):
    assert "https://src.img.pro" in md.reset().convert(f"words ![a](images/p{number}.png)")
    spent.append(time.process_time())
print(json.dumps({"first": spent[0] - cpu, "cpu": spent[-1] - spent[0], "peak": peak()}))
"""
_PAGES = 100


def texts(folder: Path, count: int) -> list[Row]:
    """Render texts by the Markdown extension beside a lock of this length, and beside one of their own images alone."""
    digests = _site(folder)
    taken = []
    for others in (0, count):
        _fill(folder, [*digests, *(hashlib.sha256(str(number).encode()).hexdigest() for number in range(others))])
        time.sleep(0.1)  # what was written this moment may change unseen, and is looked at again
        runs = [_run(_TEXTS, folder, str(_PAGES)) for _ in range(3)]
        taken.append({name: min(one[name] for one in runs) for name in runs[0]})
    own, many = taken
    shutil.rmtree(folder)
    what = f"a lock of {count:,} records, added to each of {_PAGES - 1} texts of the Markdown extension"
    note = f"CPU; the first text {many['first']:.2f} s and {(many['peak'] - own['peak']) / 1e6:.0f} MB more, since no "
    note += (
        f"store remembers that each line was looked at; {own['cpu'] * 1000 / (_PAGES - 1):.1f} ms with its own images"
    )
    return [Row(what, (many["cpu"] - own["cpu"]) * 1000 / (_PAGES - 1), 1, "ms", note)]


def _run(code: str, folder: Path, *given: str) -> dict[str, float]:
    run(python(code, *given), folder, environ())
    found: dict[str, float] = json.loads((folder / ".benchmark.log").read_text())
    return found


def _site(folder: Path) -> list[str]:
    """Write pages that show an image each; gives the images' digests."""
    sites.images(folder / "site" / "images", _PAGES, 2_000)
    for number in range(_PAGES):
        (folder / "site" / f"page{number}.html").write_text(
            f'<!doctype html><title>Page</title><p>{"words " * 500}</p><img src="images/p{number}.png" alt="">'
        )
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted((folder / "site/images").iterdir())]


def _fill(folder: Path, digests: list[str]) -> None:
    with (folder / "imghost.lock").open("w", encoding="ascii", newline="\n") as lock:
        lock.write('{"imghost_lock": 1, "host": "img.pro"}\n')
        lock.writelines(f"{_line(digest)}\n" for digest in sorted(digests))


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
