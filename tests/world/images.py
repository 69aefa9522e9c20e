"""Takes every image file under a folder through every path, and compares what Chromium shows: `make world-images`."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from html import unescape
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.world.__main__ import served

PATHS: Final[dict[str, tuple[str, ...]]] = {
    "plain": ("--metadata", "keep"),
    "strip": (),
    "max_edge": ("--max-edge", "100"),
    "webp": ("--format", "webp"),
    "avif": ("--format", "avif"),
    "responsive": ("--responsive", "--widths", "40", "--widths", "100"),
    "dimensions": ("--dimensions",),
}
"""What is done to the images -> the options that ask for it."""

_PER_PAGE: Final = 10
_EDGE: Final = 100
_SAME: Final = 1
"""Of 255: what rounding in a browser's own colour conversion may differ by."""
_ALIKE: Final = 10.0
"""Of 255, on average: what a smaller or a lossy picture may differ by."""
_PART: Final = 0.25
"""The size at which those are compared: what a filter or a quantizer does to single pixels is no fault."""
_LOSSLESS: Final = {"image/png", "image/gif"}
_TYPES: Final = {b"\x89PNG": "image/png", b"GIF8": "image/gif", b"\xff\xd8\xff": "image/jpeg"}
# Warnings that are meant, though a browser shows the file, or what there is of it.
_MEANT: Final = re.compile(r"megapixels|cut short|bytes, more than")
_IMG: Final = re.compile(r"<img\b[^>]*>")
_ATTRIBUTE: Final = re.compile(r'\b(src|srcset)=(?:"([^"]*)"|([^\s>"]+))')

_BOXES: Final = """async () => {
  const seen = []
  const whole = []
  for (const image of document.images) {
    image.loading = 'eager'
    whole.push(await Promise.race([image.decode().then(() => 1, () => 0), new Promise(end => setTimeout(end, 5000, 1))]))
  }
  for (const [at, image] of [...document.images].entries()) {
    const box = image.getBoundingClientRect()
    seen.push([image.naturalWidth * whole[at], image.naturalHeight * whole[at], box.width, box.height])
  }
  return seen
}"""
_COMPARE: Final = """async ([one, other, part]) => {
  const load = async url => {
    const image = new Image()
    image.src = url
    try { await image.decode() } catch { return null }
    return image
  }
  const pair = [await load(one), await load(other)]
  if (!pair[0] || !pair[1]) return { sizes: pair.map(it => it && [it.naturalWidth, it.naturalHeight]) }
  const sizes = pair.map(it => [it.naturalWidth, it.naturalHeight])
  const most = 1500 / Math.max(...sizes[1], 1500)
  const [width, height] = sizes[1].map(side => Math.max(1, Math.round(side * most * part)))
  let max = 0, sum = 0, count = 0, blank = 0
  for (const ground of ['#fff', '#000']) {
    const drawn = pair.map(image => {
      // Averaged here, since a browser that scales far in one step leaves pixels out.
      const least = Math.min(1, 1500 / Math.max(image.naturalWidth, image.naturalHeight))
      const wide = Math.max(width, Math.round(image.naturalWidth * least))
      const high = Math.max(height, Math.round(image.naturalHeight * least))
      const canvas = document.createElement('canvas')
      canvas.width = wide
      canvas.height = high
      const context = canvas.getContext('2d', { willReadFrequently: true })
      context.imageSmoothingQuality = 'high'
      context.fillStyle = ground
      context.fillRect(0, 0, wide, high)
      context.drawImage(image, 0, 0, wide, high)
      const data = context.getImageData(0, 0, wide, high).data
      if (wide === width && high === height) return data
      const found = new Float32Array(width * height * 4), counts = new Float32Array(width * height)
      for (let y = 0; y < high; y++)
        for (let x = 0; x < wide; x++) {
          const place = Math.floor(y * height / high) * width + Math.floor(x * width / wide)
          counts[place]++
          for (let band = 0; band < 4; band++) found[place * 4 + band] += data[(y * wide + x) * 4 + band]
        }
      return found.map((sum, at) => sum / counts[at >> 2])
    })
    const bare = ground === '#fff' ? 255 : 0
    if (drawn[0].every((level, at) => at % 4 === 3 || Math.abs(level - bare) < 0.01)) blank++
    for (let at = 0; at < drawn[0].length; at++) {
      const by = Math.abs(drawn[0][at] - drawn[1][at])
      if (by > max) max = by
      sum += by
      count++
    }
  }
  return { sizes, max, mean: sum / count * 4 / 3, isBlank: blank === 2 }
}"""


class File(NamedTuple):
    """One image file: the suite it comes from, its name there, and its name in the site."""

    suite: str
    name: str
    path: str
    media_type: str


class Shown(NamedTuple):
    """An image in a page: its natural size and its box, in CSS pixels."""

    natural: tuple[int, int]
    box: tuple[float, float]


class Finding(NamedTuple):
    """What a reader, or somebody at the terminal, would see."""

    file: File | None
    path: str
    what: str


def collected(folder: Path) -> list[File]:
    """List the files, the suite of each being the first folder in which they part."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    top = Path(os.path.commonpath(files)) if files else folder
    found = []
    for number, path in enumerate(files):
        relative = path.relative_to(top).as_posix()
        suite = relative.partition("/")[0] if "/" in relative else top.name
        with path.open("rb") as file:
            head = file.read(8)
        media_type = next((name for start, name in _TYPES.items() if head.startswith(start)), "")
        found.append(File(suite, relative, f"f/{number:04}{path.suffix.lower()}", media_type))
    return found


def laid_out(folder: Path, files: Sequence[File], site: Path) -> None:
    """Write a site that shows each file, so many in a page."""
    top = Path(os.path.commonpath([path for path in folder.rglob("*") if path.is_file()]))
    (site / "f").mkdir(parents=True)
    for file in files:
        shutil.copyfile(top / file.name, site / file.path)
    for number, start in enumerate(range(0, len(files), _PER_PAGE)):
        rows = "".join(f'<p><img alt="" src="{file.path}">\n' for file in files[start : start + _PER_PAGE])
        page = f"<!doctype html><meta charset=utf-8><title>Images</title>\n{rows}"
        (site / f"p{number:03}.html").write_text(page, encoding="utf-8")


class Ended(NamedTuple):
    """What a run gave: its report, and what stood on the terminal."""

    report: dict[str, Any]
    odd: list[str]
    """Lines that are none of imghost's."""
    warnings: str
    status: int


def hosted(site: Path, images: Path, address: str, options: Sequence[str]) -> Ended:
    """Move a site's images."""
    command = [
        *(sys.executable, "-X", "dev", "-m", "imghost", "rehost", str(site), "--host", "directory", "--json"),
        *("--option", f"path={images}", "--option", f"base_url={address}", *options),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=site.parent, check=False)
    odd = [line for line in ended.stderr.splitlines() if line and not line.startswith(("imghost: ", "  "))]
    warnings = "\n".join(line for line in ended.stderr.splitlines() if line.startswith("imghost: warning: "))
    try:
        return Ended(json.loads(ended.stdout), odd, warnings, ended.returncode)
    except ValueError:
        return Ended({}, [*odd, *ended.stderr.splitlines()[-3:]], warnings, ended.returncode)


def sources(site: Path) -> Iterator[tuple[str, tuple[tuple[str, int], ...]]]:
    """Give the address of each image of a site, in order, and the choices of its `srcset` with their widths."""
    for page in sorted(site.glob("p*.html")):
        for tag in _IMG.findall(page.read_text("utf-8")):
            found = {name: unescape(quoted or bare) for name, quoted, bare in _ATTRIBUTE.findall(tag)}
            choices = [choice.split() for choice in found.get("srcset", "").split(", ") if choice]
            yield found["src"], tuple((url, int(width.removesuffix("w"))) for url, width in choices)


def boxes(page: Any, address: str, site: Path) -> list[Shown]:
    """Open each page of a site, and measure its images."""
    found: list[Shown] = []
    for file in sorted(site.glob("p*.html")):
        page.goto(address + file.name, wait_until="load", timeout=120_000)
        found += [Shown((a, b), (round(c, 1), round(d, 1))) for a, b, c, d in page.evaluate(_BOXES)]
    return found


def judged(page: Any, file: File, path: str, was: Shown, now: Shown, url: str, old: str) -> Iterator[str]:
    """Say in what a hosted image differs from the file; `old` is the file's address."""
    is_scaled = path == "max_edge" and max(was.natural) > _EDGE
    if not now.natural[0] or not now.natural[1]:
        yield f"not shown: {was.natural} before"
        return
    if path != "max_edge" and now.natural != was.natural:
        yield f"natural size {was.natural} is {now.natural}"
    # A drawing's size may be a fraction of a pixel, which no attribute can tell.
    if path != "max_edge" and max(abs(a - b) for a, b in zip(was.box, now.box, strict=True)) > 0.5:
        yield f"box {was.box} is {now.box}"
    is_lossless = not is_scaled and (path not in {"webp", "avif"} or file.media_type in _LOSSLESS)
    seen = page.evaluate(_COMPARE, [old, url, 1 if is_lossless else _PART])
    if "max" not in seen:
        yield f"cannot be drawn: {seen['sizes']}"
        return
    if seen["isBlank"]:
        return  # a file that a browser decodes to nothing
    if is_lossless and seen["max"] > _SAME:
        yield f"differs by {seen['max']} of 255"
    elif not is_lossless and seen["mean"] > _ALIKE:
        yield f"differs by {seen['mean']:.1f} of 255 on average"


def taken(page: Any, folder: Path, address: str, files: Sequence[File], path: str, before: Sequence[Shown]) -> list[Finding]:  # fmt: skip
    """Take all files through one path, and compare."""
    site, images = folder / path, folder / f"{path}-images"
    shutil.copytree(folder / "site", site)
    report, odd, warnings, status = hosted(site, images, f"{address}{path}-images/", PATHS[path])
    found = [Finding(None, path, f"on the terminal: {line}") for line in odd]
    if status == 2 or not report:
        return [*found, Finding(None, path, f"status {status}")]
    by_path = {file.path: (file, seen) for file, seen in zip(files, before, strict=True)}
    for kept in (*report["failures"], *report["kept"]):
        file, seen = by_path[kept["path"]]
        reason = kept["reason"].removeprefix("it ")
        # What a browser shows in part, or only lately, is warned of with good reason; this list is to be read.
        if seen.natural[0] and reason in warnings and not _MEANT.search(reason):
            found.append(Finding(file, path, f"warned of, and shown: {reason}"))
    after = boxes(page, f"{address}{path}/", site)
    for file, was, now, (url, choices) in zip(files, before, after, sources(site), strict=True):
        if not was.natural[0]:
            continue  # what a browser cannot decode cannot be compared
        if url == file.path:
            if was != now:
                found.append(Finding(file, path, f"stays, and is shown otherwise: {was} is {now}"))
            continue
        old = f"{address}site/{file.path}"
        found += [Finding(file, path, what) for what in judged(page, file, path, was, now, url, old)]
        for choice, width in choices:
            seen = page.evaluate(_COMPARE, [old, choice, _PART])
            is_alike = "max" in seen and (seen["isBlank"] or seen["mean"] <= _ALIKE)
            if not is_alike or seen["sizes"][1][0] != width:
                found.append(Finding(file, path, f"the size of {width} px: {seen}"))
    print(f"{path}: {report['images']}, {report['image_bytes']}, {len(found)} findings", flush=True)
    return found


def told(files: Sequence[File], before: Sequence[Shown], moved: dict[str, Counter[str]], found: Sequence[Finding]) -> None:  # fmt: skip
    """Print the table by suite, and each finding."""
    for finding in found:
        print(
            f"  {finding.path}: {finding.file.suite + '/' + finding.file.name if finding.file else ''}: {finding.what}"
        )
    shown = Counter(file.suite for file, seen in zip(files, before, strict=True) if seen.natural[0])
    count = Counter(file.suite for file in files)
    print(f"{'suite':32} {'files':>5} {'shown':>5} {'moved':>5} " + " ".join(f"{path:>10}" for path in PATHS))
    for suite in sorted(count):
        differ = [
            len({it.file.path for it in found if it.file and it.file.suite == suite and it.path == path})
            for path in PATHS
        ]
        print(
            f"{suite[:32]:32} {count[suite]:5} {shown[suite]:5} {max(counted[suite] for counted in moved.values()):5} "
            + " ".join(f"{number:10}" for number in differ)
        )
    print(f"{len(files)} files, {sum(shown.values())} shown by Chromium, {max(sum(counted.values()) for counted in moved.values())} moved, "
          f"{len(PATHS)} paths, {len(found)} findings")  # fmt: skip


def main() -> int:
    """Judge the files under a folder; 1 where something differs, 2 where there is nothing to judge."""
    asked = argparse.ArgumentParser(prog="make world-images", description=__doc__)
    asked.add_argument("images", type=Path, help="a folder of image files, of any kind and from any source")
    asked.add_argument("--folder", type=Path, required=True, help="where the sites are made; emptied first")
    asked.add_argument("--only", action="append", default=[], choices=[*PATHS], help="a path, instead of all")
    given = asked.parse_args()
    files = collected(given.images)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not files or chromium is None:
        print("there are no files" if chromium else "no chromium is installed; install it")
        return 2
    from playwright.sync_api import sync_playwright

    shutil.rmtree(given.folder, ignore_errors=True)
    laid_out(given.images, files, given.folder / "site")
    found: list[Finding] = []
    moved: dict[str, Counter[str]] = {path: Counter() for path in PATHS}
    with sync_playwright() as started, served(given.folder) as address:
        browser = started.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        before = boxes(page, f"{address}site/", given.folder / "site")
        for path in given.only or PATHS:
            found += taken(page, given.folder, address, files, path, before)
            pairs = zip(files, sources(given.folder / path), strict=True)
            moved[path].update(file.suite for file, (url, _) in pairs if url != file.path)
        browser.close()
    told(files, before, moved, found)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
