"""Tables that fit the terminal; in a pipe nothing is cut."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from imghost.commands.style import columns, painted, plain, shortened
from imghost.run.progress import is_terminal

_USUAL: Final = 80
_LEAST: Final = 20
"""Columns that the last cell or a note gets on a terminal that is too narrow for the table."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row, and a note that stands below it."""

    cells: tuple[object, ...]
    note: str = ""
    colour: str = ""
    """Of the first cell."""


def print_table(head: Sequence[str], rows: Iterable[Row], *, note_below: int = -1, is_cut: bool = True) -> None:
    """Print rows in columns, numbers to the right; `note_below` is the column that notes begin at.

    Where the table is too wide for a terminal, the last column is cut, unless people copy what stands in it.
    """
    width = terminal_width(sys.stdout)
    for line in laid_out(head, list(rows), width, note_below % len(head), is_cut=is_cut):
        print(line)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and what they are, one a line, each wrapped below itself."""
    listed = list(facts)
    indent = max(len(name) for name, _ in listed) + 3
    room = max(_LEAST, (terminal_width(sys.stdout) or _USUAL) - indent)
    for name, text in listed:
        first, *rest = _wrapped(plain(text), room) or [""]
        print(f"{painted(name, 'bold', sys.stdout)}{' ' * (indent - len(name))}{first}")
        for line in rest:
            print(" " * indent + line)


def terminal_width(stream: TextIO | None) -> int | None:
    """Measure a terminal in columns; None = what is printed goes into a pipe or a file."""
    if stream is None or not is_terminal(stream):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL
    except (OSError, ValueError):
        return _USUAL


def laid_out(
    head: Sequence[str], rows: Sequence[Row], width: int | None, note_below: int, *, is_cut: bool = True
) -> list[str]:
    """Lay a table out for a terminal of this width; None = nothing has to fit."""
    texts = [[plain(str(cell)) for cell in row.cells] for row in rows]
    widths = [max(columns(line[at]) for line in (list(head), *texts)) for at in range(len(head))]
    starts = [sum(widths[:at]) + 2 * at for at in range(len(head))]
    if width and is_cut:
        widths[-1] = min(widths[-1], max(_LEAST, width - starts[-1]))
    numbers = {at for at in range(len(head)) if rows and all(isinstance(row.cells[at], int) for row in rows)}
    lines = [painted(_line(head, widths, numbers), "bold", sys.stdout)]
    for row, cells in zip(rows, texts, strict=True):
        cells[-1] = shortened(cells[-1], widths[-1])
        line = _line(cells, widths, numbers)
        if row.colour:
            line = painted(cells[0], row.colour, sys.stdout) + line[len(cells[0]) :]
        lines += [line, *_note(row.note, starts[note_below], width)]
    return lines


def _line(cells: Sequence[str], widths: Sequence[int], numbers: set[int]) -> str:
    padded = []
    for at, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        gap = " " * (width - columns(cell))
        padded.append(gap + cell if at in numbers else cell + gap)
    return "  ".join(padded).rstrip()


def _note(note: str, start: int, width: int | None) -> Iterator[str]:
    room = (width or _USUAL) - start
    indent, room = (start, room) if room >= _LEAST else (2, max(_LEAST, (width or _USUAL) - 2))
    for line in _wrapped(plain(note), room):
        yield " " * indent + painted(line, "faint", sys.stdout)


def _wrapped(text: str, room: int) -> list[str]:
    """Break between words only: half a URL is none."""
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
