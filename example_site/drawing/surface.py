"""A surface to draw on in screen pixels, with smooth edges, and the colours of both themes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

OVERSAMPLING: Final = 4
"""Pillow draws hard edges, so everything is drawn this much larger and scaled down."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of one theme."""

    page: str
    panel: str
    border: str
    ink: str
    muted: str
    accent: str
    tint: str
    rain: str
    good: str
    alarm: str


LIGHT: Final = Theme(
    page="#f3f6f8",
    panel="#ffffff",
    border="#d5dde3",
    ink="#1d2b36",
    muted="#6a7b88",
    accent="#0f7c8a",
    tint="#dff0f2",
    rain="#4c8fd6",
    good="#2f9560",
    alarm="#d9683c",
)
DARK: Final = Theme(
    page="#12191f",
    panel="#1b252d",
    border="#33424d",
    ink="#e6edf1",
    muted="#90a3b0",
    accent="#3cc0cc",
    tint="#1e3a40",
    rain="#6aa9ec",
    good="#58c58b",
    alarm="#f08a5d",
)


class Surface:
    """An image under the pencil; lengths and places are in screen pixels."""

    def __init__(self, width: int, height: int, fill: str | None = None) -> None:
        size = (width * OVERSAMPLING, height * OVERSAMPLING)
        self.size = (width, height)
        self.image = Image.new("RGB", size, fill) if fill else Image.new("RGBA", size)
        self._pencil = ImageDraw.Draw(self.image)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str | None = None,
        *,
        radius: float = 0,
        outline: str | None = None,
        line: float = 1,
    ) -> None:
        """Draw a rectangle with round corners."""
        corners = _enlarged([(x, y), (x + width, y + height)])
        self._pencil.rounded_rectangle(
            corners, radius * OVERSAMPLING, fill, outline, width=round(line * OVERSAMPLING)
        )

    def disc(self, centre: Point, radius: float, fill: str | None = None, outline: str | None = None) -> None:
        """Draw a circle."""
        (x, y) = centre
        corners = _enlarged([(x - radius, y - radius), (x + radius, y + radius)])
        self._pencil.ellipse(corners, fill, outline, width=OVERSAMPLING)

    def line(self, points: Iterable[Point], fill: str, width: float = 1) -> None:
        """Draw a line through the points."""
        self._pencil.line(_enlarged(points), fill, round(width * OVERSAMPLING), joint="curve")

    def shape(self, points: Iterable[Point], fill: str) -> None:
        """Fill the polygon between the points."""
        self._pencil.polygon(_enlarged(points), fill)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        fill: str,
        size: float = 13,
        *,
        anchor: str = "lm",
        bold: bool = False,
    ) -> None:
        """Write one line; the anchor is Pillow's, two letters for left-to-right and top-to-bottom."""
        font = ImageFont.load_default(size * OVERSAMPLING)
        spelt = unicodedata.normalize("NFD", words)
        plain = spelt.replace("\N{COMBINING DIAERESIS}", "")
        weight = round(size * OVERSAMPLING / 40) if bold else 0
        place = (x * OVERSAMPLING, y * OVERSAMPLING)
        self._pencil.text(place, plain, fill, font, anchor, stroke_width=weight, stroke_fill=fill)
        # The font that Pillow brings has no umlauts.
        before = spelt.find("\N{COMBINING DIAERESIS}")
        if before > 0:
            left, top, _, _ = self._pencil.textbbox(place, plain, font, anchor)
            start, end = (left + font.getlength(plain[:length]) for length in (before - 1, before))
            for step in (0.3, 0.7):
                dot = ((start + (end - start) * step) / OVERSAMPLING, top / OVERSAMPLING - size * 0.13)
                self.disc(dot, size * 0.065, fill)

    def paste(self, other: Surface, x: float, y: float) -> None:
        """Lay another surface over this one."""
        place = (round(x * OVERSAMPLING), round(y * OVERSAMPLING))
        self.image.paste(other.image, place, other.image if other.image.mode == "RGBA" else None)

    def rendered(self, density: float = 1) -> Image.Image:
        """Scale the drawing down to so many device pixels per screen pixel."""
        width, height = self.size
        return self.image.resize((round(width * density), round(height * density)), Image.Resampling.BOX)


def _enlarged(points: Iterable[Point]) -> Sequence[Point]:
    return [(round(x * OVERSAMPLING), round(y * OVERSAMPLING)) for x, y in points]
