"""Colours, where a terminal shows them and nobody has turned them off."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Mapping
from typing import Final, TextIO

from imghost.run.progress import is_terminal

_CODES: Final = {"bold": "1", "faint": "2", "red": "1;31", "green": "32", "yellow": "1;33"}


def painted(text: str, colour: str, stream: TextIO | None, environ: Mapping[str, str] | None = None) -> str:
    """Paint a text for a stream, or leave it: without a terminal, with `NO_COLOR`, on a terminal that has none."""
    if not text or not _has_colours(stream, os.environ if environ is None else environ):
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def _has_colours(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    if not is_terminal(stream) or environ.get("TERM") == "dumb":
        return False
    # The old console of Windows prints the codes as they are.
    return sys.platform != "win32" or bool(environ.get("WT_SESSION") or environ.get("TERM"))


def plain(text: str) -> str:
    """Show what a terminal would obey, such as an escape code in a file's name, instead of sending it there."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def columns(text: str) -> int:
    """Count the columns that a text takes on a terminal, where East Asian letters take two."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(bool(unicodedata.combining(letter)) for letter in text)


def shortened(text: str, most: int) -> str:
    """Cut a path or a URL in its middle, since both of its ends tell it from others."""
    if columns(text) <= most:
        return text
    head, tail = text, text
    while columns(head) > (most - 1) // 2:
        head = head[:-1]
    while columns(tail) > most - 1 - columns(head):
        tail = tail[1:]
    return f"{head}…{tail}"
