"""Takes the documentation's screenshots of the example sites: `python docs/make_screenshots.py`, after `make demo`.

Needs chromium and Pillow, and no network.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image

HERE: Final = Path(__file__).parent
EXAMPLE: Final = HERE.parent / "example_site"
SHOTS: Final = {
    "guide.png": (EXAMPLE / "mkdocs/site/dashboards/index.html", (1100, 760)),
    "handbook.png": (EXAMPLE / "sphinx/_build/html/screens.html", (1100, 760)),
}
"""Name of the screenshot -> the page, and the window's size in pixels."""


def shoot(page: Path, size: tuple[int, int], target: Path) -> None:
    """Show a page in chromium without a window, and keep what it shows in as few colours as do."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={folder}/profile", "--virtual-time-budget=3000", "--allow-file-access-from-files"]
        command += [f"--window-size={size[0]},{size[1]}", f"--screenshot={shot}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=90)  # noqa: S603 - our own pages
        with Image.open(shot) as picture:
            picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    for name, (page, size) in SHOTS.items():
        shoot(page, size, HERE / "images" / name)
