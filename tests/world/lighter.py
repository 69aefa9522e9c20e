"""Measures what another format takes off real sites: `python -m tests.world.lighter FOLDER...`, a site or images each."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import PIL.Image

_SHOWN = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".svg"}
_LOSSLESS = {"PNG", "GIF"}


class Measured(NamedTuple):
    """One site: its hosted images, their bytes before and after, and pictures that lost a pixel though none may."""

    name: str
    images: int
    before: int
    after: int
    png_before: int
    """Of PNG and GIF images alone, of which no pixel may change."""
    png_after: int
    changed: tuple[str, ...]


def measured(folder: Path, format_: str) -> Measured:
    """Host a copy of a site in a folder beside it, with the images in another format."""
    with tempfile.TemporaryDirectory(prefix="imghost-lighter-") as made:
        site, hosted = Path(made, "site"), Path(made, "hosted")
        shutil.copytree(folder, site)
        if not any(site.rglob("*.html")):
            names = sorted(path.relative_to(site) for path in site.rglob("*") if path.suffix in _SHOWN)
            (site / "index.html").write_text("".join(f'<p><img alt="" src="{name.as_posix()}">\n' for name in names))
        command = [
            *(sys.executable, "-m", "imghost", "rehost", str(site), "--json", "--host", "directory"),
            *("--option", f"path={hosted}", "--option", "base_url=https://cdn.test/", "--format", format_),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=made, check=True)
        report = json.loads(ended.stdout)
        urls = {upload["path"]: upload["url"].rpartition("/")[2] for upload in report["uploads"]}
        lossless = {one["path"]: one for one in report["by_image"] if _kind(folder / one["path"]) in _LOSSLESS}
        changed = [path for path in lossless if path in urls and not _is_same(folder / path, hosted / urls[path])]
        of_kind = [path for path in urls if _kind(folder / path) in _LOSSLESS]
        return Measured(
            folder.name,
            report["images"]["uploaded"],
            report["image_bytes"]["before"],
            report["image_bytes"]["after"],
            sum((folder / path).stat().st_size for path in of_kind),
            sum((hosted / urls[path]).stat().st_size for path in of_kind),
            tuple(changed),
        )


def _kind(path: Path) -> str:
    try:
        with PIL.Image.open(path) as picture:
            return picture.format or ""
    except OSError:
        return ""


def _is_same(one: Path, other: Path) -> bool:
    """Compare two pictures as they are seen: what is under a wholly clear pixel nobody sees."""
    pair = []
    for path in (one, other):
        with PIL.Image.open(path) as picture:
            pair.append(picture.convert("RGBA").convert("RGBa").tobytes())
    return pair[0] == pair[1]


def main() -> int:
    """Print a table; 1 where a pixel changed that may not."""
    asked = argparse.ArgumentParser(prog="python -m tests.world.lighter", description=__doc__)
    asked.add_argument("sites", nargs="+", type=Path)
    asked.add_argument("--format", default="webp", choices=["webp", "avif"])
    given = asked.parse_args()
    warnings.simplefilter("ignore")
    rows = [measured(folder, given.format) for folder in given.sites]
    print("| site | images | before | after | less | of PNG and GIF | changed pixels |\n|---|---|---|---|---|---|---|")
    for row in rows:
        less = (row.before - row.after) / max(row.before, 1)
        png = (row.png_before - row.png_after) / max(row.png_before, 1)
        mega = f"{row.before / 1e6:.2f} MB | {row.after / 1e6:.2f} MB"
        print(f"| {row.name} | {row.images} | {mega} | {less:.0%} | {png:.0%} | {len(row.changed)} |")
    for row in rows:
        for path in row.changed:
            print(f"{row.name}/{path}: a pixel changed")
    return int(any(row.changed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
