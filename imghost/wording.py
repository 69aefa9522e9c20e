"""The words that messages share: counts, sizes, the nearest right name, and strangers' text made safe to print."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache, partial
from typing import Any, Final, TypeVar


def one_line(text: object) -> str:
    """Show a text as one line that neither a terminal nor a CI obeys: the door of all that any front end prints.

    What is not printable is shown as Python escapes it: controls, line ends, what turns the direction of writing,
    letters of a file's name that are no text. What a CI takes for a command gets a space into it. Once is enough:
    a line that came through the door goes through it unchanged.
    """
    line = str(text)
    if not line.isprintable():
        line = "".join(letter if letter.isprintable() else _escaped(letter) for letter in line)
    line = without_secrets(line)
    return _COMMAND().sub(_broken, line) if _may_command(line) else line


_ADDRESS: Final = cache(partial(re.compile, r"https?://[^\s\"'<>]*+", re.IGNORECASE))
_HARMLESS: Final = cache(partial(re.compile, r"(?:(?:size|format)=\w+(?:&(?:amp;)?(?=\w)|\Z))*\Z"))
"""Queries that choose a copy of a hosted image."""
_AFTER: Final = ":;,.!)]}`"
"""What stands after an address in a sentence, and is no part of it."""


def without_secrets(text: str) -> str:
    """Cut the queries and the names of users off the URLs in a text: a token is often in one.

    An image from elsewhere is known by its whole URL, so that any line, list or report may have one in it.
    """
    return _ADDRESS().sub(_cut, text) if "://" in text and not {"?", "@"}.isdisjoint(text) else text


def _cut(address: re.Match[str]) -> str:
    whole = address[0].rstrip(_AFTER)
    scheme, _, rest = whole.partition("://")
    before, mark, query = rest.partition("?")
    authority, slash, path = before.partition("/")
    kept = f"?{query}" if mark and query and _HARMLESS().match(query.partition("#")[0]) else ""
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}{kept}{address[0][len(whole) :]}"


_Value = TypeVar("_Value")


def values_without_secrets(value: _Value) -> _Value:
    """Cut them off in all that a value is made of: text, lists, mappings and named tuples."""
    return _inside(value)  # type: ignore[no-any-return]


def _inside(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {_inside(name): _inside(part) for name, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(map(_inside, value))
    return type(value)(map(_inside, value)) if isinstance(value, list | tuple) else value


_COMMAND: Final = cache(
    partial(
        re.compile,
        # GitHub reads `::name::` at the start of a line, after any space; `##[name]` (as Azure does), `##vso[` of
        # Azure and `##teamcity[` anywhere in it. A terminal may break a line at a space.
        r"(?:(?<=\s)|^):{2,}|##(?=[A-Za-z-]*\[)"
        # GitLab and Travis fold their logs, and Buildkite does by how a line begins.
        r"|(?:section_(?:start|end)|travis_(?:fold|time)):+|^\s*(?:---|\+\+\+|~~~|\^\^\^)(?=\s)",
        re.IGNORECASE,
    )
)


def load_patterns() -> None:
    """Compile what lines are made safe with, before there is anything to tell: it may be that there is no memory."""
    for pattern in (_ADDRESS, _HARMLESS, _COMMAND, _JSON_COMMAND):
        pattern()


def _may_command(line: str) -> bool:
    """Say whether a line has what each command has: most lines have none, and the pattern takes long to compile."""
    return not {":", "#"}.isdisjoint(line) or line.lstrip().startswith(("-", "+", "~", "^"))


def _broken(command: re.Match[str]) -> str:
    text = command[0]
    if text.startswith((":", "#")):
        return " ".join(text)
    word = text.rstrip(":")
    return f"{word} {' '.join(text[len(word) :])}" if word != text else f"\\{text.lstrip()}"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def printable(text: object, limit: int = 200) -> str:
    """Make a stranger's text fit a message: one line through the door, white space in one, and capped.

    Nobody knows where in a line it will stand, so that every `::` is broken.
    """
    line = re.sub(":(?=:)", ": ", one_line(" ".join(str(text)[: limit * 4].split())))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def json_in_log(text: str) -> str:
    """Write JSON so that no CI takes a part of it for a command: the same values, in other escapes.

    What is escaped stands in strings alone: no `##` and no letter beyond ASCII does elsewhere in JSON.
    """
    text = text if text.isprintable() else "".join(map(_in_json, text))
    return _JSON_COMMAND().sub(_all_escaped, text)


_JSON_COMMAND: Final = cache(
    partial(re.compile, r"##|(?:(?<=section_start)|(?<=section_end)|(?<=travis_fold)|(?<=travis_time)):", re.I)
)


def _all_escaped(command: re.Match[str]) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in command[0])


def _in_json(letter: str) -> str:
    if letter.isprintable() or letter == "\n":
        return letter
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(units[at : at + 2]):04x}" for at in range(0, len(units), 2))


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
