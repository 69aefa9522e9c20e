"""Small built sites and images for tests."""

from __future__ import annotations

import io
import re
from pathlib import Path
from urllib.parse import unquote

from PIL import Image as Picture


def picture(seed: int = 0, size: tuple[int, int] = (40, 30), form: str = "PNG", **more: object) -> bytes:
    """Draw a small picture; every seed gives other bytes."""
    drawn = Picture.new("RGB", size)
    drawn.putdata(
        [((x * 7 + seed * 31) % 256, (y * 5 + seed) % 256, seed % 256) for y in range(size[1]) for x in range(size[0])]
    )
    stream = io.BytesIO()
    drawn.save(stream, form, **more)
    return stream.getvalue()


def write(site: Path, files: dict[str, str | bytes]) -> Path:
    """Write a site's files."""
    for path, content in files.items():
        file = site / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return site


def small_site(site: Path, count: int = 3) -> Path:
    """Write a site with a page in the root, one below, and this many images, one of them twice."""
    images = {f"images/{number}.png": picture(number) for number in range(count)}
    shown = "".join(f'<p><img src="images/{number}.png" alt="n {number}"></p>\n' for number in range(count))
    below = '<img src="../images/0.png"><img src="../images/copy.png"><a href="../index.html">up</a>'
    return write(
        site,
        {
            "index.html": f"<!doctype html>\n<title>small</title>\n{shown}",
            "below/index.html": f"<!doctype html>\r\n{below}\r\n",
            "images/copy.png": picture(0),
            **images,
        },
    )


def tree(folder: Path, ending: str = "") -> dict[str, bytes]:
    """Read every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob(f"*{ending}"))
        if path.is_file()
    }


def image_urls(page: bytes) -> list[str]:
    """List what a page's img elements load, by a way that shares no code with the scanner."""
    return re.findall(rb'<img[^>]*? src="([^"]*)"', page) and [
        url.decode() for url in re.findall(rb'<img[^>]*? src="([^"]*)"', page)
    ]


def local_file(site: Path, page: str, url: str) -> Path:
    """Find the file that a relative URL of a page means."""
    return (site / page).parent / unquote(url.partition("#")[0].partition("?")[0])
