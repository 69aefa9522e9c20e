"""The words that messages share: counts, sizes, the nearest right name, and strangers' text made safe to print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final


def printable(text: object, limit: int = 200) -> str:
    """Make a stranger's text safe for a terminal and a CI log: one line, no control characters, capped.

    A line that begins with `::` is a command to some CI systems, so the colons are spaced.
    """
    line = " ".join(str(text)[: limit * 4].split())
    line = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in line)
    line = line.replace("::", ": :")
    return line if len(line) <= limit else line[: limit - 1] + "…"


def many(count: int, word: str) -> str:
    """Count things in words."""
    return f"{count:,} {word}" + "s" * (count != 1)


def stay(count: int) -> str:
    """Say how many images stay local."""
    return f"{many(count, 'image')} {'stays' if count == 1 else 'stay'} local"


def listed(names: Sequence[str], most: int = 3) -> str:
    """List names, of many the first ones and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def nearest(name: str, known: Iterable[str]) -> str:
    """Phrase the remedy for a mistyped name: the nearest right one, or all there are."""
    names = sorted(known)
    near = guess(name, names)
    return f"did you mean {near!r}?" if near else f"there are: {', '.join(names)}"


def guess(name: str, known: Iterable[str]) -> str:
    """Find the name that was meant, two letters off at most; empty where none is so near.

    Two swapped neighbours count as one, as they are one slip of the fingers.
    """
    written = str(name)[:80]
    distances = {right: _distance(written, right) for right in known if abs(len(written) - len(right)) <= _NEAR}
    near = min(distances, key=lambda right: (distances[right], right), default="")
    return near if near and distances[near] <= _NEAR and distances[near] < len(written) else ""


_NEAR: Final = 2


def _distance(one: str, other: str) -> int:
    """Count the letters to add, take out, change or swap with the next until two words are the same.

    The optimal string alignment distance: each row needs the two before it.
    """
    before: list[int] = []
    last = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        row = [at]
        for to, right in enumerate(other, 1):
            least = min(last[to] + 1, row[to - 1] + 1, last[to - 1] + (letter != right))
            if at > 1 and to > 1 and letter == other[to - 2] and one[at - 2] == right:
                least = min(least, before[to - 2] + 1)
            row.append(least)
        before, last = last, row
    return last[-1]


def size(count: int) -> str:
    """Write a number of bytes as people read it, in decimal units: whole B and kB, one decimal of MB below 100."""
    if count < 1000:
        return f"{count} B"
    if count < 999_500:
        return f"{count / 1000:.0f} kB"
    if count < 99_950_000:
        return f"{count / 1_000_000:.1f} MB"
    if count < 999_500_000:
        return f"{count / 1_000_000:.0f} MB"
    return f"{count / 1_000_000_000:,.2f} GB"


def part_of(count: int, total: int) -> str:
    """Write how many of some bytes there are; the unit once where both have the same."""
    number, unit = size(count).split(" ")
    return f"{number} of {size(total)}" if size(total).endswith(f" {unit}") else f"{size(count)} of {size(total)}"


def limit(count: int) -> str:
    """Write a number of bytes that somebody chose, which is round: 5 MB, not 5.0 MB."""
    number, unit = size(count).split(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"


def lasted(seconds: float) -> str:
    """Write how long something took."""
    if seconds < 9.95:
        return f"{max(seconds, 0.1):.1f}".removesuffix(".0") + " s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:,} min {rest} s" if rest else f"{minutes:,} min"


def money(dollars: Decimal) -> str:
    """Write US dollars: whole cents, and more digits only of what is less than one."""
    if 0 < dollars < Decimal("0.01"):
        return f"${dollars.normalize():f}"
    return f"${dollars:,.2f}"


def day(moment: datetime, now: datetime) -> str:
    """Write a date, and how far off it is where that is less than 60 days."""
    days = (moment.date() - now.date()).days
    if not 0 <= days < _DISTANT:
        return moment.date().isoformat()
    distance = f"in {many(days, 'day')}" if days else "today"
    return f"{moment.date().isoformat()}, {distance}"


_DISTANT: Final = 60
"""Days from which on a date stands without its distance."""


def clause(reason: str, subject: str) -> str:
    """Make a clause of a reason that completes one; others stand alone."""
    predicate = reason.removeprefix("it ")
    return f"{subject} {predicate}" if predicate.startswith(_VERBS) else reason


_VERBS = ("is ", "has ", "belongs ", "matches ", "moves ", "was ", "cannot ")
