"""What a gallery's examples draw with, and how sphinx-gallery saves it: Pillow in the place of matplotlib."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image as Picture
from sites import picture

_DRAWN: list[Picture.Image] = []


def draw(seed: int) -> None:
    """Draw a picture in an example."""
    _DRAWN.append(Picture.open(io.BytesIO(picture(seed, (120, 80)))))


def _get_sg_image_scraper() -> Any:
    """Say what saves the pictures, by the name that sphinx-gallery asks a module for."""
    return _save


def _save(block: object, variables: dict[str, Any], settings: dict[str, Any]) -> str:
    from sphinx_gallery.scrapers import figure_rst

    figures = []
    for drawn, path in zip(_DRAWN, map(Path, variables["image_path_iterator"]), strict=False):
        paths = {0: path} | {
            times: path.with_stem(f"{path.stem}_{times:.2f}x".replace(".", "_")) for times in settings["image_srcset"]
        }
        for times, place in paths.items():
            drawn.resize([int(edge * (times or 1)) for edge in drawn.size]).save(place)
        figures.append(figure_rst([path], settings["src_dir"], srcsetpaths=[paths]))
    _DRAWN.clear()
    return "".join(figures)
