"""What configurations hold, read as settings' values: each reader takes any value, and the configuration's folder.

A reader raises ValueError with what the value should be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from imghost.models import KINDS

Read = Callable[[Any, Path], Any]
"""Turns what a configuration holds into a setting's value; raises ValueError with what it should be."""

PERMANENT: Final = "permanent"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def text(raw: Any, _: Path) -> str:
    """Read a text of one line."""
    if not isinstance(raw, str) or not raw.strip().isprintable() or not raw.strip():
        raise ValueError("a text of one line")
    return raw.strip()


def flag(raw: Any, _: Path) -> bool:
    """Read true or false."""
    if not isinstance(raw, bool):
        raise ValueError("true or false")  # noqa: TRY004
    return raw


def texts(raw: Any, _: Path) -> tuple[str, ...]:
    """Read a list of texts; one text is a list of one."""
    raw = [raw] if isinstance(raw, str) else raw
    if not isinstance(raw, (list, tuple, set, frozenset)) or not all(isinstance(one, str) for one in raw):
        raise ValueError("a list of texts")
    return tuple(raw)


def path(raw: Any, folder: Path) -> Path:
    """Read a path; a relative one starts from the configuration's folder."""
    if not isinstance(raw, (str, Path)) or not str(raw) or "\0" in str(raw):
        raise ValueError("a path")
    try:
        return folder / Path(raw).expanduser()
    except RuntimeError:
        unknown = "a path in a home folder that is there"
    raise ValueError(unknown)


def paths(raw: Any, folder: Path) -> tuple[Path, ...]:
    """Read a list of folders; one folder is a list of one."""
    raw = [raw] if isinstance(raw, (str, Path)) else raw
    if not isinstance(raw, (list, tuple)):
        raise ValueError("a list of folders")  # noqa: TRY004
    return tuple(path(one, folder) for one in raw)


def kinds(raw: Any, folder: Path) -> frozenset[str]:
    """Read kinds of references."""
    kinds = frozenset(texts(raw, folder))
    if unknown := sorted(kinds - set(KINDS)):
        raise ValueError(f"some of {', '.join(KINDS)}, not {unknown[0]!r}")
    return kinds


def choice(*names: str) -> Read:
    """Make what reads one of some names."""

    def read(raw: Any, _: Path) -> str:
        if raw not in names:
            raise ValueError(" or ".join(repr(name) for name in names))
        return str(raw)

    return read


def count(least: int) -> Read:
    """Make what reads a whole number."""

    def read(raw: Any, _: Path) -> int:
        if isinstance(raw, str) and raw.strip().isdecimal():
            raw = int(raw)
        if isinstance(raw, bool) or not isinstance(raw, int) or raw < least:
            raise ValueError(f"a whole number, {least} or more")
        return raw

    return read


def seconds(raw: Any, _: Path) -> float:
    """Read a number of seconds."""
    try:
        seconds = float(raw)
    except (TypeError, ValueError):
        seconds = 0.0
    if isinstance(raw, bool) or not 0 < seconds <= 3600:
        raise ValueError("a number of seconds up to 3600")
    return seconds


def dollars(raw: Any, _: Path) -> Decimal:
    """Read an amount of US dollars."""
    try:
        dollars = Decimal(str(raw))
    except InvalidOperation:
        dollars = Decimal(-1)
    if isinstance(raw, bool) or not dollars.is_finite() or dollars < 0:
        raise ValueError("an amount of US dollars, 0 or more")
    return dollars


def read_duration(raw: Any) -> timedelta:
    """Read a duration like `30d`: a whole number and one of s, m, h, d, w, y (365 days)."""
    found = re.fullmatch(r"([0-9]{1,7})\s*([smhdwy])", raw.strip()) if isinstance(raw, str) else None
    if not found or int(found[1]) * _UNITS[found[2]] > 1000 * _UNITS["y"]:
        raise ValueError("a duration like '30d' (s, m, h, d, w or y)")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def show_duration(duration: timedelta | None) -> str:
    """Write a duration as the options take it, in the largest unit of d, h, m and s that fits."""
    if duration is None:
        return PERMANENT
    seconds = int(duration.total_seconds())
    unit = next(unit for unit in "dhms" if seconds % _UNITS[unit] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


def duration(raw: Any, _: Path) -> timedelta:
    """Read a duration."""
    return read_duration(raw)


def retention(raw: Any, _: Path) -> timedelta | None:
    """Read how long an image must live; None = for ever."""
    if raw == PERMANENT:
        return None
    try:
        retention = read_duration(raw)
    except ValueError:
        retention = timedelta(0)
    if not retention:
        raise ValueError(f"{PERMANENT!r} or a duration like '30d'")
    return retention


def mapping(raw: Any, _: Path) -> Mapping[str, Any]:
    """Read a host's own settings."""
    if not isinstance(raw, Mapping) or not all(isinstance(name, str) for name in raw):
        raise ValueError("a mapping of the host's own settings")
    return MappingProxyType(dict(raw))
