"""The words that messages share: counts, sizes, the nearest right name, and strangers' text made safe to print."""

from __future__ import annotations

from collections.abc import Iterable


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


def nearest(name: str, known: Iterable[str]) -> str:
    """Phrase the remedy for a mistyped name: the nearest right one, or all there are."""
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(str(name)[:80], names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}"


def size(count: int) -> str:
    """Write a number of bytes as people read it."""
    for unit, step in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if count >= step:
            return f"{count / step:.3g} {unit}" if count < 100 * step else f"{count / step:,.0f} {unit}"
    return f"{count} B"


def clause(reason: str, subject: str) -> str:
    """Make a clause of a reason that completes one; others stand alone."""
    predicate = reason.removeprefix("it ")
    return f"{subject} {predicate}" if predicate.startswith(_VERBS) else reason


_VERBS = ("is ", "has ", "belongs ", "matches ", "moves ", "was ", "cannot ")
