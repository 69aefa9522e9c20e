"""Draw the example's images into the folder `images`: the same bytes at each run with the same Pillow."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from PIL import Image

from drawing import scenery, screens
from drawing.surface import DARK, Surface

IMAGES: Final = Path(__file__).parent / "images"
"""The drawings go here, beside logo.svg and wiring.svg, which are written by hand."""


def main() -> None:
    """Draw all images."""
    for folder in (IMAGES / "parts", IMAGES / "thumbs"):
        folder.mkdir(parents=True, exist_ok=True)
    draw_screens()
    draw_photos()
    draw_parts()
    draw_marks()
    draw_thumbnails()


def draw_screens() -> None:
    """Draw the screenshots: one density, two densities, two themes, three formats, an animation."""
    save_png(screens.overview(), "overview.png", "overview@2x.png")
    save_png(screens.overview(DARK), "overview-dark.png")
    save_png(screens.overview(is_german=True), "übersicht.png")
    save_png(screens.history(), "history.png", "history@2x.png")
    save_png(screens.sensors(), "sensor list.png")
    save_png(screens.alarm_rule(), "alarm-rule.png")
    save_png(screens.alarm_rule(DARK), "alarm-rule-dark.png")
    rain = screens.rain_week().rendered(2)
    few_colours(rain).save(IMAGES / "rain-week.png", optimize=True)
    rain.save(IMAGES / "rain-week.webp", lossless=True, quality=100, method=6)
    # One thread, since the encoder's split of the work between threads shows in the bytes.
    rain.save(IMAGES / "rain-week.avif", quality=70, speed=6, max_threads=1)
    frames = [few_colours(screens.pairing(step / 11).rendered()) for step in range(12)]
    durations = [240] * (len(frames) - 1) + [2400]
    frames[0].save(
        IMAGES / "pairing.gif", save_all=True, append_images=frames[1:], duration=durations, loop=0
    )


def draw_photos() -> None:
    """Draw what stands for photographs; the first one knows where it was taken, as a telephone's does."""
    photo = scenery.mast_photo()
    photo.save(IMAGES / "mast.jpg", quality=82, optimize=True, exif=whereabouts())
    scenery.poster().save(IMAGES / "tour-poster.jpg", quality=80, optimize=True)
    scenery.landscape(1600, 420, scenery.DUSK).save(IMAGES / "horizon.webp", quality=80, method=6)
    scenery.social_card().save(IMAGES / "social-card.png", optimize=True)


def whereabouts() -> Image.Exif:
    """Return EXIF fields with a camera and a place."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Fernblick", "Pocket 5"
    exif[0x0132] = "2026:06:04 14:12:09"
    exif[0x8825] = {1: "N", 2: (46.0, 33.0, 9.4), 3: "E", 4: (7.0, 58.0, 48.2), 5: 0, 6: 2061.0}
    return exif


def draw_parts() -> None:
    """Draw the sensors; the rain gauge has two names, as a copied file has."""
    for name in ("thermometer", "anemometer", "rain-gauge"):
        save_png(scenery.part(name), f"parts/{name}.png", f"parts/{name}@2x.png")
    shutil.copyfile(IMAGES / "parts/rain-gauge.png", IMAGES / "cover.png")


def draw_marks() -> None:
    """Draw what is small: marks, a button, a tile, the picture of the page that is not there."""
    save_png(scenery.favicon(), "favicon.png")
    save_png(scenery.no_signal(), "no-signal.png")
    save_png(scenery.contour_tile(), "tile.png")
    for name, mark in {
        "compass": scenery.compass(),
        "seal": scenery.seal(),
        "send": scenery.send_button(),
    }.items():
        mark.rendered(2).save(IMAGES / f"{name}.png", optimize=True)


def draw_thumbnails() -> None:
    """Scale the gallery's pictures down."""
    for source in ("overview@2x.png", "history@2x.png", "sensor list.png", "alarm-rule.png", "mast.jpg"):
        with Image.open(IMAGES / source) as picture:
            thumbnail = picture.convert("RGB")
        thumbnail.thumbnail((480, 320), Image.Resampling.LANCZOS)
        name = source.partition(".")[0].removesuffix("@2x").replace(" ", "-")
        thumbnail.save(IMAGES / "thumbs" / f"{name}.webp", quality=84, method=6)


def save_png(surface: Surface, name: str, double: str = "") -> None:
    """Save a drawing, and the same at two device pixels per screen pixel where that has a name."""
    surface.rendered().save(IMAGES / name, optimize=True)
    if double:
        surface.rendered(2).save(IMAGES / double, optimize=True)


def few_colours(picture: Image.Image) -> Image.Image:
    """Reduce a picture to a palette; dithering would show in a screenshot's plain areas."""
    return picture.quantize(160, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
