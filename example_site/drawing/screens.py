"""The station's screens, each as a function that draws one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from drawing import widgets
from drawing.surface import LIGHT, Surface, Theme

ENGLISH: Final = ("Overview", "History", "Sensors", "Alerts", "Settings")
GERMAN: Final = ("Übersicht", "Verlauf", "Sensoren", "Alarme", "Optionen")
SIZE: Final = (800, 500)
LEFT: Final = widgets.SIDEBAR + 20


def day_of_temperatures() -> list[float]:
    """Return a summer day: coldest before sunrise, warmest in the afternoon, a shower at six."""
    hours = [hour / 4 for hour in range(97)]
    return [
        15.5
        - 5.6 * math.cos((hour - 3.5) / 24 * 2 * math.pi)
        + 0.5 * math.sin(hour * 2.1)
        - 3.2 * math.exp(-((hour - 18) ** 2) / 2)
        for hour in hours
    ]


def overview(theme: Theme = LIGHT, *, is_german: bool = False) -> Surface:
    """Draw the first screen: four readings, the day's temperature and the wind rose."""
    sections = GERMAN if is_german else ENGLISH
    surface = widgets.window(SIZE, theme, "http://meteo-one.local/", sections, 0)
    english = ("Temperature", "Humidity", "Wind", "Pressure"), "Temperature, last 24 hours", "Wind rose"
    german = ("Temperatur", "Feuchte", "Wind", "Luftdruck"), "Temperatur, letzte 24 Stunden", "Windrose"
    names, day, rose = german if is_german else english
    numbers = (
        ("18.4", "°C", "+1.2 / h"),
        ("62", "%", "-3 / h"),
        ("4.2", "m/s", "+0.6 / h"),
        ("1016", "hPa", "+0.1 / h"),
    )
    for column, (name, number) in enumerate(zip(names, numbers, strict=True)):
        shown = (number[0].replace(".", ","), number[1], number[2].replace(".", ",")) if is_german else number
        widgets.reading(surface, theme, (LEFT + column * 154, 52), name, *shown)
    widgets.card(surface, theme, (LEFT, 158), (392, 322), day)
    hours = ("00", "04", "08", "12", "16", "20", "24")
    widgets.line_chart(surface, theme, (LEFT + 40, 200), (332, 240), day_of_temperatures(), hours)
    widgets.card(surface, theme, (LEFT + 404, 158), (204, 322), rose)
    shares = (0.35, 0.28, 0.3, 0.22, 0.3, 0.45, 0.62, 0.8, 0.7, 0.92, 1.0, 0.78, 0.6, 0.42, 0.34, 0.3)
    widgets.wind_rose(surface, theme, (LEFT + 506, 300), 76, shares)
    direction = "SW, 4,2 m/s" if is_german else "SW, 4.2 m/s"
    surface.text(LEFT + 506, 430, direction, theme.ink, 14, anchor="mm", bold=True)
    surface.text(
        LEFT + 506, 452, "max 11,8 m/s" if is_german else "gust 11.8 m/s", theme.muted, 12, anchor="mm"
    )
    return surface


def history(theme: Theme = LIGHT) -> Surface:
    """Draw a year of temperatures with the buttons that choose the range."""
    surface = widgets.window(SIZE, theme, "http://meteo-one.local/history", ENGLISH, 1)
    surface.text(LEFT, 70, "History", theme.ink, 20, bold=True)
    for column, words in enumerate(("Day", "Week", "Month", "Year")):
        widgets.button(
            surface, theme, (LEFT + 316 + column * 74, 54), words, is_main=words == "Year", width=68
        )
    widgets.card(surface, theme, (LEFT, 104), (610, 376), "Mean temperature by day, °C")
    values = [
        9.5
        - 9.5 * math.cos((day - 20) / 365 * 2 * math.pi)
        + 2.6 * math.sin(day * 0.37)
        + 1.7 * math.sin(day * 1.13)
        for day in range(0, 366, 2)
    ]
    months = ("Jan", "Mar", "May", "Jul", "Sep", "Nov", "Jan")
    widgets.line_chart(surface, theme, (LEFT + 44, 150), (544, 286), values, months)
    return surface


def rain_week(theme: Theme = LIGHT) -> Surface:
    """Draw a week of rain as bars."""
    surface = Surface(720, 320, theme.page)
    widgets.card(surface, theme, (12, 12), (696, 296), "Rain in week 23, mm")
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    widgets.bar_chart(surface, theme, (60, 58), (624, 206), (2.4, 0.3, 7.8, 12.1, 5.2, 0.2, 1.6), days)
    return surface


def sensors(theme: Theme = LIGHT) -> Surface:
    """Draw the list of sensors with battery and state."""
    surface = widgets.window(SIZE, theme, "http://meteo-one.local/sensors", ENGLISH, 2)
    surface.text(LEFT, 70, "Sensors", theme.ink, 20, bold=True)
    widgets.button(surface, theme, (LEFT + 490, 54), "Pair sensor", is_main=True, width=120)
    columns = (("Sensor", 16), ("Model", 170), ("Last reading", 270), ("Battery", 400), ("State", 520))
    rows = (
        ("Thermometer", "T-20", "18.4 °C", "92%", "ok"),
        ("Hygrometer", "H-12", "62.1 rel", "88%", "ok"),
        ("Anemometer", "W-40", "4.2 m/s", "71%", "ok"),
        ("Wind vane", "V-40", "SW (228°)", "69%", "ok"),
        ("Rain gauge", "R-08", "0.2 mm", "18%", "check"),
        ("Barometer", "P-10", "1016 hPa", "97%", "ok"),
        ("Soil probe", "S-05", "14.9 °C", "54%", "ok"),
        ("Light sensor", "L-03", "38 klx", "83%", "ok"),
    )
    widgets.table(surface, theme, (LEFT, 104), columns, rows)
    return surface


def alarm_rule(theme: Theme = LIGHT) -> Surface:
    """Draw the dialog that makes an alarm rule."""
    surface = Surface(520, 380, theme.page)
    widgets.title_bar(surface, theme, "New alarm rule")
    widgets.field(surface, theme, (28, 66), "Name", "Gale at the hut", 464)
    widgets.field(surface, theme, (28, 130), "Sensor", "Anemometer, W-40", 224)
    widgets.field(surface, theme, (268, 130), "Above", "17.2 m/s", 104)
    widgets.field(surface, theme, (388, 130), "For", "10 min", 104)
    widgets.switch(surface, theme, (28, 212), "Send a message to everyone on duty", is_on=True)
    widgets.switch(surface, theme, (28, 246), "Sound the horn at the mast", is_on=False)
    widgets.switch(surface, theme, (28, 280), "Write it to the log", is_on=True)
    widgets.button(surface, theme, (280, 328), "Cancel")
    widgets.button(surface, theme, (388, 328), "Save rule", is_main=True, width=104)
    surface.box(0, 0, 519, 379, outline=theme.border)
    return surface


def pairing(progress: float, theme: Theme = LIGHT) -> Surface:
    """Draw the pairing dialog at a share of its way."""
    surface = Surface(440, 200, theme.page)
    widgets.title_bar(surface, theme, "Pair a sensor")
    steps: Sequence[str] = ("Listening on 868 MHz", "Found W-40, anemometer", "Exchanging keys", "Paired")
    words = steps[min(int(progress * len(steps)), len(steps) - 1)]
    surface.text(28, 74, words, theme.ink, 17, bold=True)
    surface.text(28, 102, "Hold the button on the sensor until its lamp blinks.", theme.muted, 12)
    widgets.meter(surface, theme, (28, 132), max(progress, 0.31), 384)
    is_done = progress >= 1
    widgets.button(surface, theme, (316, 154), "Done" if is_done else "Cancel", is_main=is_done)
    surface.box(0, 0, 439, 199, outline=theme.border)
    return surface
