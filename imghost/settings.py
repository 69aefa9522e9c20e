"""The options: declared once, here. The front ends derive theirs from this declaration."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from imghost.credentials import refuse_credentials
from imghost.errors import SettingsError
from imghost.git import git_top
from imghost.models import DEFAULT_KINDS, KINDS

Read = Callable[[Any, Path], Any]
"""Turns what a configuration holds into a setting's value; raises ValueError with what it should be."""

PERMANENT: Final = "permanent"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def _text(raw: Any, _: Path) -> str:
    if not isinstance(raw, str) or not raw.strip().isprintable() or not raw.strip():
        raise ValueError("a text of one line")
    return raw.strip()


def _flag(raw: Any, _: Path) -> bool:
    if not isinstance(raw, bool):
        raise ValueError("true or false")  # noqa: TRY004
    return raw


def _texts(raw: Any, _: Path) -> tuple[str, ...]:
    raw = [raw] if isinstance(raw, str) else raw
    if not isinstance(raw, (list, tuple, set, frozenset)) or not all(isinstance(text, str) for text in raw):
        raise ValueError("a list of texts")
    return tuple(raw)


def _path(raw: Any, folder: Path) -> Path:
    if not isinstance(raw, (str, Path)) or not str(raw) or "\0" in str(raw):
        raise ValueError("a path")
    try:
        return folder / Path(raw).expanduser()
    except RuntimeError:
        unknown = "a path in a home folder that is there"
    raise ValueError(unknown)


def _paths(raw: Any, folder: Path) -> tuple[Path, ...]:
    raw = [raw] if isinstance(raw, (str, Path)) else raw
    if not isinstance(raw, (list, tuple)):
        raise ValueError("a list of folders")  # noqa: TRY004
    return tuple(_path(path, folder) for path in raw)


def _kinds(raw: Any, folder: Path) -> frozenset[str]:
    kinds = frozenset(_texts(raw, folder))
    if unknown := sorted(kinds - set(KINDS)):
        raise ValueError(f"some of {', '.join(KINDS)}, not {unknown[0]!r}")
    return kinds


def _choice(*names: str) -> Read:
    def read(raw: Any, _: Path) -> str:
        if raw not in names:
            raise ValueError(" or ".join(repr(name) for name in names))
        return str(raw)

    return read


def _count(least: int) -> Read:
    def read(raw: Any, _: Path) -> int:
        if isinstance(raw, str) and raw.strip().isdecimal():
            raw = int(raw)
        if isinstance(raw, bool) or not isinstance(raw, int) or raw < least:
            raise ValueError(f"a whole number, {least} or more")
        return raw

    return read


def _seconds(raw: Any, _: Path) -> float:
    try:
        seconds = float(raw)
    except (TypeError, ValueError):
        seconds = 0.0
    if isinstance(raw, bool) or not 0 < seconds <= 3600:
        raise ValueError("a number of seconds up to 3600")
    return seconds


def _dollars(raw: Any, _: Path) -> Decimal:
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


def _duration(raw: Any, _: Path) -> timedelta:
    return read_duration(raw)


def _retention(raw: Any, _: Path) -> timedelta | None:
    if raw == PERMANENT:
        return None
    try:
        retention = read_duration(raw)
    except ValueError:
        retention = timedelta(0)
    if not retention:
        raise ValueError(f"{PERMANENT!r} or a duration like '30d'")
    return retention


def _mapping(raw: Any, _: Path) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping) or not all(isinstance(name, str) for name in raw):
        raise ValueError("a mapping of the host's own settings")
    return MappingProxyType(dict(raw))


def _option(default: Any, read: Read, about: str, *, optional: bool = False) -> Any:
    """Declare an option: its default as a value, how its text is read, and one line of help."""
    metadata = {"read": read, "about": about, "optional": optional}
    if isinstance(default, Mapping):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


_NO_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a user can choose; paths are absolute once read. Times in seconds, money in US dollars."""

    host: str = _option("auto", _text, "where images go: a host's name, or auto by the credential in the environment")
    options: Mapping[str, Any] = _option(_NO_OPTIONS, _mapping, "the host's own settings")
    lock: Path = _option(Path("imghost.lock"), _path, "the committed file of records")
    cache_dir: Path = _option(Path(".cache/imghost"), _path, "the local store")
    frozen: bool = _option(False, _flag, "never touch the network; an image missing from the lock is a warning")
    serve: bool = _option(False, _flag, "use what the lock knows in a live preview, too")
    site_url: str | None = _option(None, _text, "where the site will live", optional=True)
    sources: tuple[Path, ...] = _option((), _paths, "more folders that images may come from")
    include: tuple[str, ...] = _option((), _texts, "only images whose path in the site matches one of these globs")
    exclude: tuple[str, ...] = _option((), _texts, "never images whose path in the site matches one of these globs")
    references: frozenset[str] = _option(frozenset(DEFAULT_KINDS), _kinds, "kinds of references to rewrite")
    remote: tuple[str, ...] = _option((), _texts, "globs of external image URLs to bring to the host, too")
    retention: timedelta | None = _option(None, _retention, "how long an image must live: permanent, or like 30d")
    renew_before: timedelta = _option(timedelta(days=14), _duration, "renew a record when less than this is left")
    max_cost: Decimal = _option(Decimal(0), _dollars, "US dollars that one build may spend")
    max_uploads: int | None = _option(None, _count(0), "images that one build may upload", optional=True)
    oversize: str = _option("keep", _choice("keep", "resize"), "an image over the host's limit: keep local, or resize")
    max_edge: int | None = _option(None, _count(1), "scale images down to this longest edge in pixels", optional=True)
    metadata: str = _option("strip", _choice("strip", "keep", "refuse"), "EXIF, GPS, XMP, and bytes after the end")
    verify: bool = _option(True, _flag, "fetch each new URL before its record counts")
    responsive: bool = _option(False, _flag, "a srcset from the host's sizes (img.pro)")
    format: str | None = _option(None, _choice("webp", "avif"), "converted by the host (img.pro)", optional=True)
    dimensions: bool = _option(False, _flag, "add width and height where an image has neither")
    lazy: bool = _option(False, _flag, "add loading=lazy after the first image")
    fallback: bool = _option(False, _flag, "on a failed load show the local copy, once")
    remove_local: bool = _option(False, _flag, "delete local copies that nothing in the site names any more")
    concurrency: int = _option(8, _count(1), "uploads at a time")
    timeout: float = _option(30.0, _seconds, "seconds that a request may take")
    retries: int = _option(5, _count(1), "tries of an upload")
    report: Path | None = _option(None, _path, "write a report here: .json or .html", optional=True)
    folder: Path = field(default=Path(), metadata={"internal": True})
    """What relative paths are relative to: the configuration's folder."""


def options() -> tuple[Field[Any], ...]:
    """List the declared options in order, for a front end to derive its own from."""
    return tuple(option for option in fields(Settings) if "read" in option.metadata)


def default_of(option: Field[Any]) -> Any:
    """Give an option's default value."""
    return option.default_factory() if option.default_factory is not MISSING else option.default


def read(raw: Mapping[str, Any], folder: Path, origin: str = "imghost", given: Iterable[str] = ()) -> Settings:
    """Make settings of what a configuration holds; None means not set.

    `origin` is how messages name the place, like `mkdocs.yml`; `given` names what the user typed, not the
    configuration. Raises SettingsError, one line.
    """
    known = {option.name: option for option in options()}
    refuse_credentials(raw, origin)
    _refuse_unknown(raw, known, f"{origin}: option")
    values = {name: _value(option, raw.get(name), folder, origin) for name, option in known.items()}
    settings = Settings(folder=folder, **values)
    _refuse_at_odds(settings, origin)
    _refuse_far(settings, {name for name in raw if raw[name] is not None} - set(given), origin)
    if settings.report and settings.report.suffix not in {".json", ".html"}:
        raise SettingsError(f"{origin}: option 'report' should end in .json or .html, not {settings.report.name!r:.80}")
    return settings


def _refuse_far(settings: Settings, names: Iterable[str], origin: str) -> None:
    """Refuse files outside the project: a pull request can change the configuration."""
    near = (git_top(settings.folder) or settings.folder, Path.home(), Path(tempfile.gettempdir()))
    for name in sorted({"cache_dir", "lock", "report"} & set(names)):
        path = Path(os.path.abspath(getattr(settings, name)))  # noqa: PTH100 - `..` goes, links stay
        if not any(path.is_relative_to(folder) for folder in near):
            raise SettingsError(f"{origin}: option {name!r} leads out of the project; choose a path in it", name)


def over(under: Settings, upper: Settings, names: Iterable[str]) -> Settings:
    """Put the named options of one over those of another; a host's paths follow the `options` that count."""
    names = [*names, *(["folder"] if "options" in names else [])]
    return replace(under, **{name: getattr(upper, name) for name in names})


def _value(option: Field[Any], raw: Any, folder: Path, origin: str) -> Any:
    if raw is None:
        default = default_of(option)
        return folder / default if isinstance(default, Path) else default
    try:
        return option.metadata["read"](raw, folder)
    except ValueError as wrong:
        text = f"{origin}: option {option.name!r} should be {wrong}, not {raw!r:.80}"
        raise SettingsError(text, option.name) from None


def _refuse_unknown(names: Iterable[str], known: Iterable[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise SettingsError(f"{what} {name!r:.80} is unknown; {nearest(name, known)}", str(name))


def nearest(name: str, known: Iterable[str]) -> str:
    """Phrase the remedy for a mistyped name: the nearest right one, or all there are."""
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(str(name)[:80], names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}"


def _refuse_at_odds(settings: Settings, origin: str) -> None:
    """Refuse options that exclude each other."""
    if settings.fallback and settings.remove_local:
        raise SettingsError(
            f"{origin}: option 'fallback' shows local copies, and 'remove_local' deletes them; leave one of them out",
            "fallback",
        )


def read_host_options(options_type: type[Any], raw: Mapping[str, Any], host: str) -> Any:
    """Make a host's own options of `options`; its fields' default types say what is right."""
    known = {option.name: option for option in fields(options_type)}
    _refuse_unknown(raw, known, f"host {host!r}: option")
    values = {}
    for name, value in raw.items():
        if value is None:
            continue
        try:
            values[name] = _host_value(known[name], value)
        except ValueError as wrong:
            raise SettingsError(f"host {host!r}: option {name!r} should be {wrong}, not {value!r:.80}") from None
    return options_type(**values)


def _host_value(option: Field[Any], value: Any) -> Any:
    """Read one of a host's options by its annotation; the command line gives all of them as texts."""
    kind = str(option.type)
    if "bool" in kind:
        if str(value).lower() not in {"true", "false"}:
            raise ValueError("true or false")
        return str(value).lower() == "true"
    if "tuple" in kind:
        texts = value.split(",") if isinstance(value, str) else value
        return tuple(text.strip() for text in _texts(texts, Path()))
    if "int" in kind and "str" not in kind:
        return _count(0)(value, Path())
    if isinstance(value, (bool, Mapping, list, tuple)):
        raise ValueError("a text of one line")  # noqa: TRY004
    return _text(str(value), Path())
