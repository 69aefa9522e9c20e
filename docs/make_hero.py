"""Measures a real documentation before and after, and draws the README's picture of it: `python docs/make_hero.py`.

The site is the demonstration of mkdocs-glightbox, as its source distribution has it, built by MkDocs with Material;
pip fetches it. Its images go to a folder beside the site, as they would to a host. The caption is printed and written
into the README and the documentation's first page.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent
README: Final = HERE.parent / "README.md"
PROJECT: Final = ("mkdocs-glightbox", "0.5.3")
OPTIONS: Final = """
plugins:
  - glightbox:
      zoomable: true
      draggable: true
  - imghost:
      host: directory
      remove_local: true
      report: ../report.json
      options:
        path: ../hosted
        base_url: https://images.example/
"""
WIDTH: Final = 720
"""Pixels of the whole bar: the bytes before."""
GAP: Final = 3


class Figures(NamedTuple):
    """What was measured, in bytes but for the counts."""

    before: int
    after: int
    moved: int
    images: int
    references: int
    pages: int
    lock: int
    requests: int
    """Requests of the second build."""


def unpacked(folder: Path) -> Path:
    """Fetch the source distribution, and give its demonstration's folder."""
    name, version = PROJECT
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        name,
        f"{name}=={version}",
    ]
    subprocess.run([*command, "--dest", str(folder)], check=True)  # noqa: S603 - pip, with what stands here
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("*/demo-mkdocs"))


def built(project: Path, site: Path, config: str) -> int:
    """Build the documentation; gives the site's bytes."""
    (project / config).touch()
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "-f", str(project / config), "-d", str(site)]
    subprocess.run(command, check=True)  # noqa: S603 - MkDocs, as a reader would
    return size_of(site)


def size_of(folder: Path) -> int:
    """Add up a folder's bytes."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def measured(folder: Path) -> Figures:
    """Build plain, and twice with imghost."""
    project = unpacked(folder)
    original = (project / "mkdocs.yml").read_text("utf-8")
    plain = original[: original.index("plugins:")]
    (project / "plain.yml").write_text(plain + OPTIONS.partition("  - imghost:")[0], "utf-8")
    (project / "hosted.yml").write_text(plain + OPTIONS, "utf-8")
    before = built(project, folder / "plain", "plain.yml")
    after = built(project, folder / "site", "hosted.yml")
    report = json.loads((project.parent / "report.json").read_text("utf-8"))
    built(project, folder / "site", "hosted.yml")
    again = json.loads((project.parent / "report.json").read_text("utf-8"))
    return Figures(
        before, after, before - after, report["images"]["found"], report["references"]["rewritten"],
        report["pages"]["rewritten"], size_of(folder / "hosted"), again["requests"],
    )  # fmt: skip


def megabytes(count: int) -> str:
    """Write bytes as the picture does."""
    return f"{count / 1_000_000:.1f}"


def drawn(figures: Figures) -> str:
    """Draw the picture: each width is its share of the bytes before."""
    left = round(WIDTH * figures.moved / figures.before)
    rest = WIDTH - left - GAP
    before, after, moved = map(megabytes, (figures.before, figures.after, figures.moved))
    name = PROJECT[0]
    return f'''<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 300" width="720" height="300" role="img" aria-labelledby="t d">
<title id="t">A documentation site before and after: {before} MB become {after} MB</title>
<desc id="d">Before: {moved} MB of images that pages show, {after} MB of pages, search and theme. After: the images are on the host, and {figures.references} references lead there. A second build makes {figures.requests} requests.</desc>
<style>
  :root {{ --text: #1a1e22; --soft: #59626b; --edge: #7c848d; --fill: #2b8c7f; --rest: #7c848d; --good: #0b6b60 }}
  @media (prefers-color-scheme: dark) {{ :root {{ --text: #e3e6e9; --soft: #9aa4ad; --edge: #6f7a84; --fill: #3f9f91; --rest: #6f7a84; --good: #6fcdbf }} }}
  text {{ font: 20px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--text) }}
  .big {{ font-size: 26px; font-weight: 600 }} .soft {{ fill: var(--soft) }} .good {{ fill: var(--good) }} .code {{ font: 19px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }}
</style>
<text x="0" y="24"><tspan class="big">{before} MB</tspan><tspan class="soft" dx="10">{name}'s documentation as MkDocs built it</tspan></text>
<rect x="0" y="38" width="{left}" height="34" style="fill:var(--fill)"/>
<rect x="{left + GAP}" y="38" width="{rest}" height="34" style="fill:var(--rest)"/>
<text x="0" y="98" class="soft">images on its pages {moved}</text><text x="720" y="98" text-anchor="end" class="soft">rest {after}</text>
<text x="0" y="158"><tspan class="big good">{after} MB</tspan><tspan class="soft" dx="10">with imghost and </tspan><tspan class="code">remove_local</tspan></text>
<rect x=".5" y="172.500" width="{left - 1}" height="33" fill="none" stroke-dasharray="5 4" style="stroke:var(--edge)"/>
<text x="{left // 2}" y="196" text-anchor="middle">{figures.images} images on the host</text>
<rect x="{left + GAP}" y="172" width="{rest}" height="34" style="fill:var(--rest)"/>
<text x="0" y="252">{figures.references} references rewritten, every other byte of its pages as it was.</text>
<text x="0" y="282">Second build: <tspan style="font-weight:600">{figures.requests} requests</tspan>, the same pages.</text>
</svg>
'''


def caption(figures: Figures) -> str:
    """Say what was measured, for the line below the picture."""
    return (
        f"The documentation of {PROJECT[0]} {PROJECT[1]}, built by MkDocs: {figures.before:,} bytes, {figures.after:,} "
        f"after; {figures.images} images, {figures.references} references in {figures.pages} pages."
    )


def main() -> None:
    """Measure, draw, and write the caption below the picture."""
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(Path(folder))
    (HERE / "images" / "hero.svg").write_text(drawn(figures), "utf-8")
    for page in (README, HERE / "index.md"):
        text = page.read_text("utf-8")
        start, end = (text.index(mark) for mark in ("<!-- hero -->", "<!-- /hero -->"))
        page.write_text(f"{text[:start]}<!-- hero -->\n<sub>{caption(figures)}</sub>\n{text[end:]}", "utf-8")
    print(caption(figures))


if __name__ == "__main__":
    main()
