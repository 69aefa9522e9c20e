"""The command line: what is typed to what is done, and what people see of it."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, TextIO, TypeVar

from imghost.environment import is_serving, is_terminal
from imghost.errors import SettingsError
from imghost.run.job import Job, Step
from imghost.run.report import columns_of, log_lines, on_terminal
from imghost.settings import Settings
from imghost.site import page_map
from imghost.site.images import Origins
from imghost.site.survey import endless_text, has_page, pages_without_ending, survey
from imghost.wording import json_in_log, one_line, values_without_secrets

# What people see: colours, the terminal's width, tables, and one call with the lines that it says.

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
    if not is_terminal(stream) or environ.get("TERM") == "dumb" or environ.get("CI"):
        return False
    # The old console of Windows prints the codes as they are.
    return sys.platform != "win32" or bool(environ.get("WT_SESSION") or environ.get("TERM"))


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


_LEAST: Final = 20
"""Columns that the last cell or a note gets on a terminal that is too narrow for the table."""


NO_COLOURS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Row:
    """One row, and a note that stands below it."""

    cells: tuple[object, ...]
    note: str = ""
    colour: str = ""
    """Of the first cell."""


def print_table(
    head: Sequence[str],
    rows: Iterable[Row],
    *,
    note_below: int = -1,
    is_cut: bool = True,
    right: Sequence[int] = (),
    colours: Mapping[str, str] = NO_COLOURS,
) -> None:
    """Print rows in columns; `note_below` is the column that notes begin at, `right` those with numbers.

    Where the table is too wide for a terminal, the last column is cut, unless people copy what stands in it.
    `colours` are those of whole words.
    """
    width = columns_of(sys.stdout)
    for line in laid_out(head, list(rows), width, note_below % len(head), is_cut=is_cut, right=right):
        for word, colour in colours.items():
            line = re.sub(rf"\b{word}\b", painted(word, colour, sys.stdout), line)  # noqa: PLW2901
        print(line)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and what they are, one a line, on a terminal each wrapped below itself."""
    listed = list(facts)
    indent = max(_LEAST_NAME, *(len(name) + 2 for name, _ in listed))
    width = columns_of(sys.stdout)
    for name, text in listed:
        lines = [one_line(text)] if width is None else _wrapped(one_line(text), max(_LEAST, width - 1 - indent))
        first, *rest = lines or [""]
        print(f"{painted(name, 'bold', sys.stdout)}{' ' * (indent - len(name))}{first}")
        for line in rest:
            print(" " * indent + line)


_LEAST_NAME: Final = 9
"""Columns of the names of facts, so that they stand alike under every command."""


def laid_out(
    head: Sequence[str],
    rows: Sequence[Row],
    width: int | None,
    note_below: int,
    *,
    is_cut: bool = True,
    right: Sequence[int] = (),
) -> list[str]:
    """Lay a table out for a terminal of this width; None = nothing has to fit."""
    texts = [[one_line(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row.cells] for row in rows]
    widths = [max(columns(line[at]) for line in (list(head), *texts)) for at in range(len(head))]
    starts = [sum(widths[:at]) + 2 * at for at in range(len(head))]
    if width and is_cut:
        widths[-1] = min(widths[-1], max(_LEAST, width - starts[-1]))
    numbers = set(right)
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
    if width is None:
        lines, indent = [one_line(note)] if note else [], start
    else:
        room = width - start
        indent, room = (start, room) if room >= _LEAST else (2, max(_LEAST, width - 2))
        lines = _wrapped(one_line(note), room)
    for line in lines:
        yield " " * indent + painted(line, "faint", sys.stdout)


def wrapped(text: str, width: int, indent: int) -> str:
    """Break a sentence between words for a terminal of this width; what follows is indented."""
    indented = " " * indent
    return "\n".join(
        textwrap.wrap(text, width, subsequent_indent=indented, break_long_words=False, break_on_hyphens=False)
    )


def _wrapped(text: str, room: int) -> list[str]:
    """Break between words only: half a URL is none."""
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)


MOST: Final = 20
"""Rows of a list on a terminal."""

Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True)
class Call:
    """What the user asked for, read; and how it is answered."""

    site: Path | None
    settings: Settings
    environ: Mapping[str, str]
    is_strict: bool = False
    is_json: bool = False
    is_quiet: bool = False
    is_verbose: bool = False
    given: Mapping[str, object] = field(default_factory=dict)
    """The command's own flags."""
    configured: Settings = field(default_factory=Settings)
    """What the configuration says, whatever was typed."""

    def job(self, *, is_asking: bool = False) -> Job:
        """Make the run's job: here the site is its own source.

        One that only asks goes by what a plugin knows of the pages, too, which it alone may write.
        """
        assert self.site is not None
        return Job(
            site=self.site,
            settings=self.settings,
            environ=self.environ,
            origins=Origins(is_own_source=True),
            page_map=(page_map.last_of if is_asking else page_map.location)(self.settings.cache_dir, self.site),
            is_serving=is_serving(self.environ),
            say=self.say,
            receipt=say,
            detail=self.say if self.is_verbose else lambda _: None,
            alert=lambda text: warn([text]),
            progress=None if self.is_quiet else on_terminal(sys.stderr, self.environ),
        )

    def showing(self, count: int, words: tuple[str, str]) -> AbstractContextManager[Step]:
        """Show how far something is, on a terminal as a bar and in a log as a line now and then."""
        bar = None if self.is_quiet else on_terminal(sys.stderr, self.environ)
        return bar(count, 0) if bar and count else log_lines(self.say, count, 0, words=words)

    @staticmethod
    def folder(name: str) -> Path:
        """Find a built site by the name that was typed; raises SettingsError for a folder that holds no page."""
        if not name.strip():
            raise SettingsError("a folder's name is empty, as of a variable that is not set; name the built site")
        folder = Path(name).absolute()
        if not folder.is_dir():
            raise SettingsError(f"there is no folder {name!r}; name the folder that holds the built site")
        if not has_page(folder):
            where = "name the folder that your generator writes, such as site, public or _build/html"
            if endless := pages_without_ending(folder, survey(folder).files):
                where = endless_text(endless)
            raise SettingsError(f"there is no page in {name!r}; {where}")
        return folder

    def first(self, every: Sequence[Shown], most: int = MOST) -> Sequence[Shown]:
        """Take of a list what a terminal shows of it; a pipe, and who asks for more, gets all."""
        return every if self.is_verbose or columns_of(sys.stdout) is None else every[:most]

    def say(self, line: str) -> None:
        """Tell the user what is going on, beside the command's output."""
        if not self.is_quiet:
            say(line)

    def done(self, line: str) -> None:
        """Print what a command came to, which did what was asked; its colours are those of the states in it."""
        if not self.is_quiet:
            text = "\n".join(sentence(line, sys.stdout))
            print(_STATE.sub(lambda found: painted(found[0], _STATES[found[0]], sys.stdout), text))


_STATES: Final = {"uploaded": "green", "failed": "red"}
_STATE: Final = re.compile(r"\b(?:uploaded|failed)\b")


def sentence(text: str, stream: TextIO | None, most: int = 100) -> list[str]:
    """Break a sentence between words for a terminal, going on two columns in; what goes into a pipe is one line.

    A path that is longer than a line is cut in the middle, a URL never.
    """
    width = columns_of(stream)
    text = one_line(text)
    if width is None:
        return [text]
    # The last column stays free: some terminals go on to the next line where it is written.
    room = max(_LEAST, min(width - 1, most))
    words = (word if "://" in word else shortened(word, room - 2) for word in text.split(" "))
    glued = _UNIT.sub("\N{NO-BREAK SPACE}", " ".join(words))
    lines = textwrap.wrap(glued, room, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines] or [""]


_UNIT: Final = re.compile(r"(?<=\d) (?=(?:B|kB|MB|GB|s|min)\b)")
"""The space between a number and its unit, where no line ends."""


def say(line: str) -> None:
    """Tell the user something beside the command's output."""
    _tell(f"imghost: {line}")


def warn(texts: Iterable[str]) -> None:
    """Print warnings."""
    for text in texts:
        _tell(f"imghost: warning: {text}", "warning:", "yellow")


def complain(text: str) -> None:
    """Print why a command could not do what was asked."""
    _tell(f"imghost: error: {text}", "error:", "red")


def _tell(text: str, mark: str = "", colour: str = "") -> None:
    if sys.stderr is None:  # closed before we began; print would take the output instead
        return
    for number, line in enumerate(sentence(text, sys.stderr)):
        shown = line.replace(mark, painted(mark, colour, sys.stderr), 1) if mark and number == 0 else line
        print(shown, file=sys.stderr, flush=True)


def put(text: object = "") -> None:
    """Print a line of a command's output."""
    print(one_line(text))


def put_sentence(text: str) -> None:
    """Print a sentence of a command's output, on a terminal broken between words."""
    for line in sentence(text, sys.stdout):
        print(line)


def print_json(found: object) -> None:
    """Print what a script reads."""
    found = values_without_secrets(found)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # the stream would escape its letters, but not as JSON does
        text = json.dumps(found, indent=1)
    print(json_in_log(text))
