"""What is not a screen: the hill, the station's parts, small marks and the card for social media."""

from __future__ import annotations

import math
import random
from typing import Final

from PIL import Image, ImageDraw, ImageFilter

from drawing import screens, widgets
from drawing.surface import LIGHT, Surface

STEEL: Final = ("#eef2f4", "#b9c4cc", "#7d8b96", "#3d4953")
DAY: Final = ((112, 168, 214), (226, 236, 240), ("#8fa9b5", "#6d8f86", "#4f7560", "#3a5b45"))
DUSK: Final = ((44, 52, 96), (244, 170, 118), ("#6c5b7d", "#4d4866", "#343652", "#23263c"))
Mood = tuple[tuple[int, int, int], tuple[int, int, int], tuple[str, ...]]


def landscape(width: int, height: int, mood: Mood = DAY) -> Image.Image:
    """Draw four ranges of hills under a sky, as a photograph would show them."""
    upper, lower, ranges = mood
    sky = Image.linear_gradient("L").resize((width, height))
    scene = Image.composite(Image.new("RGB", sky.size, lower), Image.new("RGB", sky.size, upper), sky)
    pencil = ImageDraw.Draw(scene)
    for depth, colour in enumerate(ranges):
        base = height * (0.55 + depth * 0.11)
        ridge = [
            (
                x,
                base
                - height * 0.07 * math.sin(x / width * (5 + depth * 1.7) + depth * 2.2)
                - height * 0.02 * math.sin(x / width * (17 + depth * 5)),
            )
            for x in range(0, width + 8, 8)
        ]
        pencil.polygon([(0, height), *ridge, (width, height)], fill=colour)
    return scene.filter(ImageFilter.GaussianBlur(1.2))


def grained(scene: Image.Image, strength: int = 9) -> Image.Image:
    """Add the grain of a camera, the same at each run."""
    noise = random.Random(1).randbytes(scene.width * scene.height)  # noqa: S311 (repeatable on purpose)
    grain = Image.frombytes("L", scene.size, noise)
    soft = Image.merge("RGB", [grain.filter(ImageFilter.GaussianBlur(0.8))] * 3)
    return Image.blend(scene, soft, strength / 255)


def mast_photo(width: int = 1200, height: int = 800) -> Image.Image:
    """Draw the station on its mast in front of the hills."""
    scene = landscape(width, height).convert("RGBA")
    station = Surface(300, 640)
    _mast(station)
    drawn = station.rendered(height / 720)
    scene.alpha_composite(drawn, (round(width * 0.56), height - drawn.height))
    return grained(scene.convert("RGB"))


def _mast(surface: Surface) -> None:
    light, pale, mid, dark = STEEL
    surface.box(144, 70, 12, 570, mid)
    surface.box(144, 70, 4, 570, pale)
    surface.line([(150, 330), (30, 640)], dark, 1.5)
    surface.line([(150, 330), (270, 640)], dark, 1.5)
    surface.box(60, 128, 180, 7, mid, radius=3)
    for cup in (-54, 2, 50):
        surface.line([(150, 64), (150 + cup, 60)], dark, 4)
        surface.disc((150 + cup, 58), 15, dark)
        surface.disc((150 + cup - 3, 55), 10, mid)
    surface.disc((150, 64), 8, dark)
    _shield(surface, 78, 150)
    _funnel(surface, 222, 100)
    surface.box(118, 330, 66, 86, light, radius=6, outline=mid)
    widgets.mark(surface, (151, 360), 15, LIGHT.accent)
    surface.text(151, 396, "METEO ONE", dark, 8, anchor="mm", bold=True)
    surface.shape([(104, 470), (186, 446), (196, 492), (114, 516)], "#22344e")
    surface.line([(131, 462), (141, 508)], "#5d7ba3", 1.5)
    surface.line([(158, 454), (168, 500)], "#5d7ba3", 1.5)


def _shield(surface: Surface, x: float, y: float, scale: float = 1) -> None:
    light, _, mid, _ = STEEL
    for plate in range(6):
        top = y + plate * 13 * scale
        surface.box(x - 32 * scale, top, 64 * scale, 8 * scale, light, radius=4 * scale, outline=mid)


def _funnel(surface: Surface, x: float, y: float, scale: float = 1) -> None:
    light, pale, mid, dark = STEEL
    surface.box(x - 24 * scale, y, 48 * scale, 62 * scale, light, radius=4 * scale, outline=mid)
    surface.box(x - 27 * scale, y - 3 * scale, 54 * scale, 9 * scale, dark, radius=3 * scale)
    surface.line([(x - 14 * scale, y + 16 * scale), (x - 14 * scale, y + 54 * scale)], pale, 5 * scale)


def part(name: str) -> Surface:
    """Draw one sensor on a plain ground: `thermometer`, `anemometer` or `rain-gauge`."""
    surface = Surface(320, 240, "#e9eff2")
    _, pale, mid, dark = STEEL
    surface.box(60, 206, 200, 6, "#d5dde2", radius=3)
    if name == "thermometer":
        surface.box(154, 60, 12, 148, mid)
        _shield(surface, 160, 46, 1.8)
    elif name == "rain-gauge":
        _funnel(surface, 160, 60, 2.4)
    else:
        surface.box(154, 80, 12, 128, mid)
        surface.box(154, 80, 4, 128, pale)
        for cup, down in ((-78, 6), (12, -14), (66, 12)):
            surface.line([(160, 76), (160 + cup, 72 + down)], dark, 5)
            surface.disc((160 + cup, 70 + down), 24, dark)
            surface.disc((156 + cup, 66 + down), 17, mid)
        surface.disc((160, 76), 13, dark)
    return surface


def compass() -> Surface:
    """Draw a compass on a transparent ground."""
    surface = Surface(160, 160)
    surface.disc((80, 80), 76, LIGHT.panel, LIGHT.border)
    for turn in range(16):
        angle = math.radians(turn * 22.5)
        inner = 58 if turn % 4 == 0 else 65
        ends = [(80 + math.sin(angle) * r, 80 - math.cos(angle) * r) for r in (inner, 72)]
        surface.line(ends, LIGHT.muted, 2)
    surface.shape([(80, 22), (92, 80), (68, 80)], LIGHT.alarm)
    surface.shape([(80, 138), (92, 80), (68, 80)], LIGHT.muted)
    surface.disc((80, 80), 6, LIGHT.ink)
    return surface


def seal() -> Surface:
    """Draw the mark of a calibrated device."""
    surface = Surface(120, 120)
    surface.disc((60, 60), 58, LIGHT.accent)
    surface.disc((60, 60), 50, LIGHT.accent, LIGHT.tint)
    surface.line([(38, 56), (54, 71), (83, 38)], LIGHT.panel, 7)
    surface.text(60, 90, "calibrated", LIGHT.tint, 12, anchor="mm")
    return surface


def send_button() -> Surface:
    """Draw a button that carries a picture, for a form."""
    surface = Surface(132, 36)
    surface.box(0, 0, 131, 35, LIGHT.accent, radius=8)
    surface.shape([(16, 10), (34, 18), (16, 26), (20, 18)], LIGHT.panel)
    surface.text(46, 18, "Send report", LIGHT.panel, 13)
    return surface


def favicon() -> Surface:
    """Draw the product's mark on a round ground."""
    surface = Surface(64, 64)
    surface.disc((32, 32), 31, LIGHT.accent)
    widgets.mark(surface, (32, 33), 25, LIGHT.panel)
    return surface


def no_signal() -> Surface:
    """Draw a chart that breaks off, for pages that are not there."""
    surface = Surface(640, 240, LIGHT.panel)
    surface.box(0, 0, 639, 239, radius=10, outline=LIGHT.border)
    for level in (60, 120, 180):
        surface.line([(24, level), (616, level)], LIGHT.border)
    curve = [(24 + x, 120 - 40 * math.sin(x / 38) - 12 * math.sin(x / 11)) for x in range(300)]
    surface.line(curve, LIGHT.accent, 3)
    surface.disc(curve[-1], 6, LIGHT.alarm)
    surface.text(484, 108, "no signal", LIGHT.muted, 26, anchor="mm", bold=True)
    surface.text(484, 140, "last contact 404 minutes ago", LIGHT.muted, 13, anchor="mm")
    return surface


def social_card() -> Image.Image:
    """Draw the 1200 by 630 card that social media show."""
    card = landscape(1200, 630, DUSK)
    words = Surface(1200, 630)
    widgets.mark(words, (124, 150), 50, "#ffffff")
    words.text(74, 268, "Meteo One", "#ffffff", 76, bold=True)
    words.text(78, 336, "The weather station that keeps its own books", "#f6e6da", 26)
    card.paste(words.rendered(), (0, 0), words.rendered())
    screen = screens.overview().rendered(0.62)
    card.paste(screen, (650, 380))
    return card


def poster() -> Image.Image:
    """Draw the first picture of the guided tour."""
    scene = mast_photo(960, 540)
    words = Surface(960, 540)
    words.text(60, 250, "A tour in four minutes", "#ffffff", 38, bold=True)
    words.text(62, 296, "From the box to the first reading", "#f2f6f8", 20)
    scene.paste(words.rendered(), (0, 0), words.rendered())
    return scene


def contour_tile() -> Surface:
    """Draw a tile of faint dots that repeats in both directions."""
    surface = Surface(48, 48, "#f3f8f9")
    for x, y in ((12, 12), (36, 36)):
        surface.disc((x, y), 2, "#d6e7ea")
    return surface
