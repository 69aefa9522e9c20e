"""`make bench`: measures every row, and writes the table to README.md beside this file.

python -m benchmarks [--quick] [--npm FOLDER]
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import builds, images, locks, pages, reports, uploads
from benchmarks.measure import Row

TABLE = Path(__file__).with_name("README.md")
MARKS = ("<!-- table -->\n", "<!-- /table -->\n")
PACKAGES = ("imghost", "mkdocs", "mkdocs-material", "mkdocs-glightbox", "sphinx", "furo", "beautifulsoup4", "httpx")


def main() -> int:
    """Measure, print and write."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    asked.add_argument("--quick", action="store_true", help="a tenth of the sizes, and nothing is written")
    asked.add_argument("--npm", type=Path, help="the folder where npm has installed picgo")
    given = asked.parse_args()
    if given.npm and not (given.npm / "node_modules" / "picgo").is_dir():
        given.npm = None
    folder = Path(tempfile.mkdtemp(prefix="imghost-bench-"))
    began = time.perf_counter()
    try:
        rows = _measured(folder, 0.1 if given.quick else 1.0, given.npm)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = _table(rows)
    print(table, f"{time.perf_counter() - began:.0f} s", sep="\n")
    if not given.quick:
        text = TABLE.read_text("utf-8")
        before, after = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
        TABLE.write_text(f"{text[:before]}\n{_about(given.npm)}\n\n{table}\n{text[after:]}", "utf-8")
    return 0


def _measured(folder: Path, size: float, npm: Path | None) -> list[Row]:
    def sized(count: int) -> int:
        return int(count * size)

    site = folder / "mkdocs"
    site.mkdir()
    steps: tuple[Callable[[], list[Row]], ...] = (
        lambda: builds.mkdocs(site, sized(1000)),
        lambda: builds.light(folder / "light", sized(300), sized(200)),
        lambda: builds.light(folder / "small", 20, 20, is_small=True),
        lambda: pages.beside_others(site / "site-plain"),
        lambda: reports.audit(site / "site-plain"),
        lambda: reports.page(folder / "report", sized(3000)),
        lambda: pages.growth(folder, site / "site-plain", sized(1000), sized(10_000)),
        lambda: pages.large(folder / "large", sized(20_000), sized(3000)),
        lambda: pages.beside_files(folder / "files", sized(100_000)),
        lambda: builds.sphinx(folder / "sphinx", [sized(count) for count in (100, 200, 300)]),
        lambda: builds.real(folder / "real"),
        lambda: builds.beside_records(folder / "locks", 100, 200, sized(100_000)),
        lambda: builds.beside_records(folder / "locks", 100, 200, sized(1_000_000)),
        lambda: images.many(folder / "images", sized(5000), 200_000),
        lambda: locks.texts(folder / "texts", sized(1_000_000)),
        lambda: uploads.cold(folder / "cold", 200, 16, 0.1),
        lambda: uploads.cold(folder / "cold", 200, 16, 0.1, 1.25, verify=True),
        lambda: uploads.cold(folder / "cold", 200, 16, 0.5, 1.08),
        lambda: uploads.cold(folder / "cold", 200, 16, 0.5, 1.25, verify=True),
        lambda: uploads.behind_rendering(folder / "rendering", sized(300), sized(200), 0.1),
        lambda: uploads.beside_a_store(folder / "shared", 200, 16, 0.5, 0.02),
        lambda: uploads.memory(folder / "memory", 8, sized(70_000_000)),
        lambda: uploads.beside_others(folder / "beside", sized(200), npm),
    )
    rows: list[Row] = []
    for number, step in enumerate(steps, 1):
        try:
            found = step()
        except (RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as problem:
            found = [Row(f"step {number} of {len(steps)}", None, None, note=f"failed: {str(problem)[-300:]!r}")]
        for row in found:
            print(f"{row.what}: {_value(row)} {row.note}", flush=True)
            rows.append(row)
    return rows


def _value(row: Row) -> str:
    return "–" if row.value is None else _number(row.value, row.unit)


def _number(value: float, unit: str) -> str:
    text = f"{value:.0f}" if unit in {"MB", "ms", ""} and (value >= 10 or value == int(value)) else f"{value:.3g}"
    return f"{text} {unit}".strip()


def _table(rows: list[Row]) -> str:
    lines = ["| what | measured | at most | reached | |", "|---|---|---|---|---|"]
    for row in rows:
        target = "" if row.target is None else _number(row.target, row.unit)
        reached = {True: "yes", False: "**no**", None: ""}[row.is_met]
        lines.append(f"| {row.what} | {_value(row)} | {target} | {reached} | {row.note} |")
    return "\n".join(lines)


def _about(npm: Path | None) -> str:
    """Say when and with what it was measured."""
    found = [f"{name} {_version(name)}" for name in (*PACKAGES, "images-upload-cli")]
    picgo = npm / "node_modules" / "picgo" / "package.json" if npm else None
    if picgo and picgo.is_file():
        import json

        found.append(f"PicGo {json.loads(picgo.read_text())['version']}")
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
        found.append(f"node {node.stdout.strip()}")
    day = datetime.now(UTC).date().isoformat()
    return (
        f"{day}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {', '.join(found)}."
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    sys.exit(main())
