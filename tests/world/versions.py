"""Shrinks a branch of many versions and opens each in Chromium, plain and shrunk: `python -m tests.world.versions`."""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

from PIL import Image as Picture

from tests.world.__main__ import chromium, compared, served


def main() -> int:
    """Make the branch, shrink it, and compare a sample of each version's pages; 1 where one differs."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--folder", type=Path, required=True, help="where the checkout is made; emptied first")
    asked.add_argument("--versions", type=int, default=13)
    asked.add_argument("--images", type=int, default=200, help="of each version")
    asked.add_argument("--pages", type=int, default=4, help="of each version, to open")
    given = asked.parse_args()
    shutil.rmtree(given.folder, ignore_errors=True)
    given.folder.mkdir(parents=True)
    checkout = published(given.folder, given.versions, given.images)
    before = laid_out(checkout, given.folder / "before")
    with served(given.folder / "images") as address:
        told = shrunk(checkout, given.folder / "images", address)
        after = laid_out(checkout, given.folder / "after")
        print(
            f"{given.versions} versions of {given.images} images: {told['before'] / 1e6:.1f} MB before, "
            f"{told['after'] / 1e6:.1f} MB after and {sum_of(given.folder / 'images') / 1e6:.1f} MB at the host"
        )
        with served(before) as plain, served(after) as moved:
            pages, images, found = judged(before, plain, moved, address, given.pages)
    for difference in found:
        print(f"  {difference.page}: {difference.what}: {difference.detail}")
    print(f"{pages} pages with {images} images opened, {len(found)} differences")
    return int(bool(found) or not pages)


def published(folder: Path, versions: int, images: int) -> Path:
    """Build a project once, and commit it as mike does, version by version, each with a tenth of its images its own."""
    site = built(folder / "project", images)
    checkout = folder / "checkout"
    checkout.mkdir()
    git(checkout, "init", "-q", "-b", "gh-pages")
    git(checkout, "config", "user.name", "T")
    git(checkout, "config", "user.email", "t@docs.test")
    names = [f"{number // 10}.{number % 10}" for number in range(versions)]
    for number, name in enumerate(names):
        shutil.copytree(site, checkout / name)
        for image in range(number, images, 10):
            (checkout / name / f"img/{image}.png").write_bytes(picture(image + 1000 * number))
        latest = checkout / "latest"
        latest.unlink(missing_ok=True)
        latest.symlink_to(name)
        # As mike's redirect to the default version, and its list.
        (checkout / "index.html").write_text('<meta http-equiv="refresh" content="0; url=latest/">\n')
        listed = [{"version": one, "title": one, "aliases": ["latest"] * (one == name)} for one in names[: number + 1]]
        (checkout / "versions.json").write_text(json.dumps(listed))
        git(checkout, "add", "-A")
        git(checkout, "commit", "-qm", f"Deployed {name} with mike")
    git(checkout, "checkout", "-q", "--orphan", "main")
    git(checkout, "rm", "-rfq", "--cached", ".")
    for path in checkout.iterdir():
        if path.name != ".git":
            path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)
    return checkout


def built(folder: Path, images: int) -> Path:
    """Build a site with MkDocs' theme Material: twenty images a page."""
    docs = folder / "docs"
    (docs / "img").mkdir(parents=True)
    for number in range(images):
        (docs / f"img/{number}.png").write_bytes(picture(number))
    for page in range(0, images, 20):
        shown = "".join(f"![Image {one}](img/{one}.png)\n\n" for one in range(page, min(page + 20, images)))
        (docs / f"page-{page // 20}.md").write_text(f"# Page {page // 20}\n\n{shown}")
    (docs / "index.md").write_text("# Home\n\n![One](img/0.png)\n")
    (folder / "mkdocs.yml").write_text("site_name: Versions\ntheme: {name: material, font: false}\n")
    subprocess.run([sys.executable, "-m", "mkdocs", "build", "-q"], cwd=folder, check=True)
    return folder / "site"


def picture(seed: int) -> bytes:
    """Draw an image of 43 kB, the same one for the same number."""
    stream = io.BytesIO()
    Picture.frombytes("RGB", (160, 90), random.Random(seed).randbytes(160 * 90 * 3)).save(stream, "PNG")
    return stream.getvalue()


def git(folder: Path, *words: str) -> bytes:
    """Ask git."""
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True).stdout


def laid_out(checkout: Path, place: Path) -> Path:
    """Write what the branch publishes."""
    with tarfile.open(fileobj=io.BytesIO(git(checkout, "archive", "gh-pages"))) as archive:
        archive.extractall(place, filter="tar")
    return place


def sum_of(folder: Path) -> int:
    """Count the bytes in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def shrunk(checkout: Path, images: Path, address: str) -> dict[str, Any]:
    """Shrink the branch, its images to a folder that is served beside; gives what the command says."""
    host = ["--host", "directory", "--option", f"path={images}", "--option", f"base_url={address}"]
    command = [sys.executable, "-m", "imghost", "shrink", "gh-pages", *host]
    told: dict[str, Any] = {}
    for last in ([], ["--yes", "--json"]):
        began = time.monotonic()
        ended = subprocess.run([*command, *last], cwd=checkout, capture_output=True, text=True)
        if ended.returncode:
            raise RuntimeError(ended.stdout + ended.stderr)
        print(f"shrink {' '.join(last) or '(what it would do)'}: {time.monotonic() - began:.1f} s")
        if last:
            told = json.loads(ended.stdout)
        else:
            print(ended.stdout)
    return told


def judged(before: Path, plain: str, moved: str, address: str, most: int) -> tuple[int, int, list[Any]]:
    """Open a sample of each version's pages, before and after; gives pages, images and differences."""
    from playwright.sync_api import sync_playwright

    pages = images = 0
    found: list[Any] = []
    chosen = random.Random(13)
    with sync_playwright() as started:
        browser = chromium(started)
        for version in sorted(path for path in before.iterdir() if path.is_dir()):
            own = sorted(path for path in version.glob("**/index.html"))
            for file in chosen.sample(own, min(most, len(own))):
                path = file.relative_to(before).as_posix()
                different, _ = compared(browser, path, plain, moved, address)
                found += different
                pages, images = pages + 1, images + len(re.findall("<img", file.read_text("utf-8")))
        browser.close()
    return pages, images, found


if __name__ == "__main__":
    sys.exit(main())
