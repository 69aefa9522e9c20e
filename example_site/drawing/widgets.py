"""What the station's screens are made of: a window, cards, charts, tables, buttons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from drawing.surface import Point, Surface, Theme

SIDEBAR: Final = 150
TITLE_BAR: Final = 34


def window(size: tuple[int, int], theme: Theme, title: str, sections: Sequence[str], current: int) -> Surface:
    """Draw an application window with a title bar and a sidebar whose current section is marked."""
    width, height = size
    surface = Surface(width, height, theme.page)
    surface.box(0, 0, SIDEBAR, height, theme.panel)
    surface.line([(SIDEBAR, 0), (SIDEBAR, height)], theme.border)
    title_bar(surface, theme, title)
    mark(surface, (24, 62), 10, theme.accent)
    surface.text(42, 62, "Meteo One", theme.ink, 14, bold=True)
    for row, section in enumerate(sections):
        y = 104 + row * 32
        if row == current:
            surface.box(10, y - 14, SIDEBAR - 20, 28, theme.tint, radius=6)
        ink = theme.accent if row == current else theme.muted
        surface.box(20, y - 5, 10, 10, ink, radius=3)
        surface.text(40, y, section, ink, bold=row == current)
    surface.disc((22, height - 22), 4, theme.good)
    surface.text(34, height - 22, "mast-01 online", theme.muted, 11)
    surface.box(0, 0, width - 1, height - 1, outline=theme.border)
    return surface


def title_bar(surface: Surface, theme: Theme, title: str) -> None:
    """Draw a window's upper edge with its title and three lamps."""
    width, _ = surface.size
    surface.box(0, 0, width, TITLE_BAR, theme.panel)
    surface.line([(0, TITLE_BAR), (width, TITLE_BAR)], theme.border)
    for step, colour in enumerate((theme.alarm, "#e5b84a", theme.good)):
        surface.disc((18 + step * 18, TITLE_BAR / 2), 5, colour)
    surface.text(width / 2, TITLE_BAR / 2, title, theme.muted, 12, anchor="mm")


def mark(surface: Surface, centre: Point, radius: float, colour: str) -> None:
    """Draw the product's mark: three cups of an anemometer."""
    x, y = centre
    for turn in range(3):
        angle = math.radians(90 + turn * 120)
        cup = (x + math.cos(angle) * radius * 0.72, y - math.sin(angle) * radius * 0.72)
        surface.line([centre, cup], colour, radius * 0.16)
        surface.disc(cup, radius * 0.36, colour)
    surface.disc(centre, radius * 0.2, colour)


def card(surface: Surface, theme: Theme, place: Point, size: Point, title: str) -> None:
    """Draw an empty panel with a title."""
    (x, y), (width, height) = place, size
    surface.box(x, y, width, height, theme.panel, radius=8, outline=theme.border)
    surface.text(x + 14, y + 18, title, theme.muted, 12)


def reading(
    surface: Surface, theme: Theme, place: Point, title: str, number: str, unit: str, trend: str
) -> None:
    """Draw a panel with one large number and how it has changed."""
    x, y = place
    card(surface, theme, place, (146, 92), title)
    surface.text(x + 14, y + 49, number, theme.ink, 28, bold=True)
    surface.text(x + 132, y + 53, unit, theme.muted, 14, anchor="rm")
    surface.text(x + 14, y + 77, trend, theme.good if trend.startswith("+") else theme.rain, 11)


def line_chart(
    surface: Surface, theme: Theme, place: Point, size: Point, values: Sequence[float], labels: Sequence[str]
) -> None:
    """Draw a filled curve through the values, with a grid of four lines."""
    (x, y), (width, height) = place, size
    least, most = min(values), max(values)
    _grid(surface, theme, place, size, least, most)
    step, span = width / (len(values) - 1), (most - least) or 1
    curve = [(x + i * step, y + height - (value - least) / span * height) for i, value in enumerate(values)]
    surface.shape([(x, y + height), *curve, (x + width, y + height)], theme.tint)
    surface.line(curve, theme.accent, 2)
    surface.disc(curve[-1], 4, theme.accent)
    for i, label in enumerate(labels):
        at = x + width * i / (len(labels) - 1)
        surface.text(at, y + height + 13, label, theme.muted, 10, anchor="mm")


def bar_chart(
    surface: Surface, theme: Theme, place: Point, size: Point, values: Sequence[float], labels: Sequence[str]
) -> None:
    """Draw one bar for each value, from zero upwards."""
    (x, y), (width, height) = place, size
    most = max(values)
    _grid(surface, theme, place, size, 0, most)
    step = width / len(values)
    for i, value in enumerate(values):
        tall = value / most * height
        surface.box(x + i * step + step * 0.2, y + height - tall, step * 0.6, tall, theme.rain, radius=2)
    for i, label in enumerate(labels):
        at = x + width * (i + 0.5) / len(labels)
        surface.text(at, y + height + 13, label, theme.muted, 10, anchor="mm")


def _grid(surface: Surface, theme: Theme, place: Point, size: Point, least: float, most: float) -> None:
    (x, y), (width, height) = place, size
    for i in range(4):
        level = y + height * i / 3
        surface.line([(x, level), (x + width, level)], theme.border)
        surface.text(x - 6, level, f"{most - (most - least) * i / 3:.0f}", theme.muted, 10, anchor="rm")


def wind_rose(surface: Surface, theme: Theme, centre: Point, radius: float, shares: Sequence[float]) -> None:
    """Draw how much of the wind came from each direction, north first, clockwise."""
    x, y = centre
    for ring in (1, 2, 3):
        surface.disc(centre, radius * ring / 3, outline=theme.border)
    half = math.pi / len(shares) * 0.8
    for i, share in enumerate(shares):
        angle = 2 * math.pi * i / len(shares)
        edge = [
            (x + math.sin(angle + turn) * radius * share, y - math.cos(angle + turn) * radius * share)
            for turn in (-half, -half / 2, 0, half / 2, half)
        ]
        surface.shape([centre, *edge], theme.accent)
    for name, (right, down) in {"N": (0, -1), "E": (1, 0), "S": (0, 1), "W": (-1, 0)}.items():
        surface.text(x + right * (radius + 10), y + down * (radius + 10), name, theme.muted, 11, anchor="mm")


def table(
    surface: Surface,
    theme: Theme,
    place: Point,
    columns: Sequence[tuple[str, float]],
    rows: Sequence[Sequence[str]],
) -> None:
    """Draw rows of text; a column is its title and where it begins."""
    x, y = place
    width = surface.size[0] - x - 20
    surface.box(x, y, width, 36 + 42 * len(rows), theme.panel, radius=8, outline=theme.border)
    for title, offset in columns:
        surface.text(x + offset, y + 18, title, theme.muted, 11)
    for number, row in enumerate(rows):
        middle = y + 57 + number * 42
        surface.line([(x, middle - 21), (x + width, middle - 21)], theme.border)
        for (_, offset), words in zip(columns, row, strict=True):
            if words.endswith("%"):
                meter(surface, theme, (x + offset, middle), float(words[:-1]) / 100)
            elif words in {"ok", "check"}:
                pill(surface, theme, (x + offset, middle), words)
            else:
                surface.text(x + offset, middle, words, theme.ink, 12, bold=offset < 20)


def meter(surface: Surface, theme: Theme, place: Point, share: float, width: float = 64) -> None:
    """Draw a bar that is full to a share of one."""
    x, y = place
    surface.box(x, y - 4, width, 8, theme.border, radius=4)
    colour = theme.good if share > 0.3 else theme.alarm
    surface.box(x, y - 4, max(8, width * share), 8, colour, radius=4)


def pill(surface: Surface, theme: Theme, place: Point, words: str) -> None:
    """Draw a state in a round frame."""
    x, y = place
    colour = theme.good if words == "ok" else theme.alarm
    surface.box(x, y - 10, 52, 20, radius=10, outline=colour)
    surface.text(x + 26, y, words, colour, 11, anchor="mm")


def button(
    surface: Surface, theme: Theme, place: Point, words: str, *, is_main: bool = False, width: float = 96
) -> None:
    """Draw a button; the main one is filled."""
    x, y = place
    fill = theme.accent if is_main else theme.panel
    surface.box(x, y, width, 32, fill, radius=6, outline=theme.accent if is_main else theme.border)
    surface.text(x + width / 2, y + 16, words, theme.panel if is_main else theme.ink, 13, anchor="mm")


def field(surface: Surface, theme: Theme, place: Point, label: str, words: str, width: float = 200) -> None:
    """Draw a form field with its label above."""
    x, y = place
    surface.text(x, y, label, theme.muted, 11)
    surface.box(x, y + 10, width, 32, theme.panel, radius=6, outline=theme.border)
    surface.text(x + 12, y + 26, words, theme.ink)


def switch(surface: Surface, theme: Theme, place: Point, label: str, *, is_on: bool) -> None:
    """Draw a switch and its label."""
    x, y = place
    surface.box(x, y - 9, 34, 18, theme.accent if is_on else theme.border, radius=9)
    surface.disc((x + (25 if is_on else 9), y), 6.5, theme.panel)
    surface.text(x + 46, y, label, theme.ink)
