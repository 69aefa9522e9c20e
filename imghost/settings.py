"""The options: declared once, here. The front ends derive theirs from this declaration."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, field, fields, replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from imghost.errors import SettingsError
from imghost.files import git_top, others_in
from imghost.models import DEFAULT_KINDS, KINDS, dataclass
from imghost.wording import nearest

_SHAPES: Final = cache(
    partial(re.compile, r"img_(?:sk_)?live_\w{6,}|iu_live_\w{6,}|(?<![0-9a-fA-F])0[xX][0-9a-fA-F]{64}(?![0-9a-fA-F])")
)
_NAMES: Final = cache(
    partial(re.compile, r"(?:^|_)(?:api_?key|private_?key|secret|password|access_?token|token)(?:_|$)", re.I)
)
# What each credential and each credential's name has in it: few configurations have any, and the patterns compile long.
_SHAPED: Final = ("_live_", "0x", "0X")
_NAMED: Final = ("key", "secret", "password", "token")


def refuse_credentials(raw: Mapping[Any, Any], origin: str) -> None:
    """Refuse a credential anywhere in a configuration, without showing it; raises SettingsError."""
    try:
        _look(raw, origin, "")
    except RecursionError:
        raise SettingsError(f"{origin}: the options are nested too deeply; take what holds itself out") from None


def _look(raw: Any, origin: str, name: str) -> None:
    if isinstance(raw, Mapping):
        for key, value in raw.items():
            _refuse(key, origin, "")
            _look(value, origin, str(key))
    elif isinstance(raw, (list, tuple, set, frozenset)):
        for value in raw:
            _look(value, origin, name)
    else:
        _refuse(raw, origin, name)


def _refuse(raw: Any, origin: str, name: str) -> None:
    # YAML and TOML read an unquoted 0x… as a number.
    is_key = raw.bit_length() > 192 if isinstance(raw, int) else _is_credential(str(raw))
    is_named = isinstance(raw, (str, int)) and raw and not isinstance(raw, bool) and _names_credential(name)
    if is_key or is_named:
        where = f"option {name!r:.80}" if name else "an option's name"
        raise SettingsError(
            f"{origin or 'the command line'}: {where} holds a credential (not shown); take it out, make a new one, "
            "and put that in the environment"
        )


def _is_credential(text: str) -> bool:
    return any(part in text for part in _SHAPED) and bool(_SHAPES().search(text))


def _names_credential(name: str) -> bool:
    # Case is folded, as a pattern does that ignores it: the long s is one, too.
    return any(part in name.casefold() for part in _NAMED) and bool(_NAMES().search(name))


# A reader raises ValueError with what the value should be.
Read = Callable[[Any, Path], Any]
"""Turns what a configuration holds into a setting's value; raises ValueError with what it should be."""

PERMANENT: Final = "permanent"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def as_text(raw: Any, _: Path) -> str:
    """Read a text of one line."""
    if not isinstance(raw, str) or not raw.strip().isprintable() or not raw.strip():
        raise ValueError("a text of one line")
    return raw.strip()


_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})


def as_flag(raw: Any, _: Path) -> bool:
    """Read true or false, in the words that YAML, INI files and the environment have for them.

    A text that is the whole of an environment's variable comes from `!ENV [CI, false]` and the like: that the variable
    is set, as CI services set CI to their own names, means true.
    """
    word = str(raw).strip().lower() if isinstance(raw, (bool, int, str)) else ""
    if word in _TRUE | _FALSE:
        return word in _TRUE
    if isinstance(raw, str) and raw.strip() and raw in os.environ.values():
        return True
    raise ValueError("true or false")


def as_texts(raw: Any, _: Path) -> tuple[str, ...]:
    """Read a list of texts; one text is a list of one."""
    raw = [raw] if isinstance(raw, str) else raw
    if not isinstance(raw, (list, tuple, set, frozenset)) or not all(isinstance(one, str) for one in raw):
        raise ValueError("a list of texts")
    return tuple(raw)


def as_path(raw: Any, folder: Path) -> Path:
    """Read a path; a relative one starts from the configuration's folder."""
    if not isinstance(raw, (str, Path)) or not str(raw) or "\0" in str(raw):
        raise ValueError("a path")
    try:
        return folder / Path(raw).expanduser()
    except RuntimeError:
        unknown = "a path in a home folder that is there"
    raise ValueError(unknown)


def as_paths(raw: Any, folder: Path) -> tuple[Path, ...]:
    """Read a list of folders; one folder is a list of one."""
    raw = [raw] if isinstance(raw, (str, Path)) else raw
    if not isinstance(raw, (list, tuple)):
        raise ValueError("a list of folders")  # noqa: TRY004
    return tuple(as_path(one, folder) for one in raw)


def as_kinds(raw: Any, folder: Path) -> frozenset[str]:
    """Read kinds of references."""
    kinds = frozenset(as_texts(raw, folder))
    if unknown := sorted(kinds - set(KINDS)):
        raise ValueError(f"some of {', '.join(KINDS)}, not {unknown[0]!r}")
    return kinds


def as_choice(*names: str) -> Read:
    """Make what reads one of some names."""

    def read(raw: Any, _: Path) -> str:
        if raw not in names:
            raise ValueError(" or ".join(repr(name) for name in names))
        return str(raw)

    return read


def as_globs(raw: Any, folder: Path) -> tuple[str, ...]:
    """Read globs as `.gitignore` has them."""
    globs = as_texts(raw, folder)
    if globs:
        from pathspec import GitIgnoreSpec
        from pathspec.patterns.gitignore import GitIgnorePatternError

        for glob in globs:
            try:
                GitIgnoreSpec.from_lines([glob])
            except GitIgnorePatternError:
                raise ValueError(f"globs as in .gitignore, and {glob!r:.40} is none") from None
    return globs


def as_store(raw: Any, folder: Path) -> str:
    """Read where shared records are: a URL without a password, or a folder."""
    text = as_text(raw, folder)
    if "://" not in text:
        return as_path(text, folder).absolute().as_uri()
    if re.search(r"://[^/?#]*:[^/?#]*@", text) or re.search(r"[?&](?:password|passfile|sslpassword)=", text):
        why = "option 'shared' holds a password (not shown); give it in the environment, as PGPASSWORD"
        raise SettingsError(why, "shared")
    return text


def as_count(least: int) -> Read:
    """Make what reads a whole number."""

    def read(raw: Any, _: Path) -> int:
        if isinstance(raw, str) and raw.strip().isdecimal():
            raw = int(raw)
        if isinstance(raw, bool) or not isinstance(raw, int) or raw < least:
            raise ValueError(f"a whole number, {least} or more")
        return raw

    return read


def as_quality(raw: Any, folder: Path) -> int:
    """Read a quality."""
    quality: int = as_count(1)(raw, folder)
    if quality > 100:
        raise ValueError("a whole number from 1 to 100")
    return quality


def as_widths(raw: Any, folder: Path) -> tuple[int, ...]:
    """Read widths in pixels: a list, or a text with commas; one width is a list of one."""
    parts = raw.split(",") if isinstance(raw, str) else raw if isinstance(raw, (list, tuple)) else [raw]
    parts = [one for part in parts for one in (part.split(",") if isinstance(part, str) else [part])]
    try:
        return tuple(sorted({as_count(1)(part, folder) for part in parts}))
    except ValueError:
        reason = "a list of whole numbers, 1 or more"
    raise ValueError(reason)


def as_seconds(raw: Any, _: Path) -> float:
    """Read a number of seconds."""
    try:
        seconds = float(raw)
    except (TypeError, ValueError):
        seconds = 0.0
    if isinstance(raw, bool) or not 0 < seconds <= 3600:
        raise ValueError("a number of seconds up to 3600")
    return seconds


def as_dollars(raw: Any, _: Path) -> Decimal:
    """Read an amount of US dollars."""
    try:
        dollars = Decimal(str(raw))
    except InvalidOperation:
        dollars = Decimal(-1)
    if isinstance(raw, bool) or not dollars.is_finite() or dollars < 0:
        raise ValueError("US dollars, 0 or more")
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


def as_duration(raw: Any, _: Path) -> timedelta:
    """Read a duration."""
    return read_duration(raw)


def as_retention(raw: Any, _: Path) -> timedelta | None:
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


def as_mapping(raw: Any, _: Path) -> Mapping[str, Any]:
    """Read a host's own settings."""
    if not isinstance(raw, Mapping) or not all(isinstance(name, str) for name in raw):
        raise ValueError("a mapping of the host's own settings")
    return MappingProxyType(dict(raw))


def _option(default: Any, read: Read, about: str, metavar: str = "N") -> Any:
    """Declare an option: its default as a value, how its text is read, one line of help, and what that calls a value.

    A `metavar` of a few values in braces, like `{keep,resize}`, is also what shells complete.
    """
    metadata = {"read": read, "about": about, "metavar": metavar}
    if isinstance(default, Mapping):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


_NO_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a user can choose; paths are absolute once read. Times in seconds, money in US dollars."""

    host: str = _option(
        "auto", as_text, "where images go: a host's name, or auto by the credential in the environment", "HOST"
    )
    options: Mapping[str, Any] = _option(_NO_OPTIONS, as_mapping, "the host's own settings", "KEY=VALUE")
    lock: Path = _option(Path("imghost.lock"), as_path, "the committed file of records", "FILE")
    cache_dir: Path = _option(Path(".cache/imghost"), as_path, "the local store", "FOLDER")
    frozen: bool = _option(False, as_flag, "never touch the network; an image missing from the lock is a warning")
    serve: bool = _option(False, as_flag, "use what the lock knows in a live preview, too")
    site_url: str | None = _option(None, as_text, "where the site will live", "URL")
    sources: tuple[Path, ...] = _option((), as_paths, "more folders that images may come from", "FOLDER")
    include: tuple[str, ...] = _option(
        (), as_globs, "only images whose path in the site matches one of these globs", "GLOB"
    )
    exclude: tuple[str, ...] = _option(
        (), as_globs, "never images whose path in the site matches one of these globs", "GLOB"
    )
    references: frozenset[str] = _option(frozenset(DEFAULT_KINDS), as_kinds, "kinds of references to rewrite", "KIND")
    remote: tuple[str, ...] = _option((), as_texts, "globs of external image URLs to bring to the host, too", "GLOB")
    retention: timedelta | None = _option(
        None, as_retention, "how long an image must live: permanent, or like 30d", "DURATION"
    )
    renew_before: timedelta = _option(
        timedelta(days=14), as_duration, "renew a record when less than this is left", "DURATION"
    )
    max_cost: Decimal = _option(Decimal(0), as_dollars, "US dollars that one build may spend", "DOLLARS")
    max_uploads: int | None = _option(None, as_count(0), "images that one build may upload")
    oversize: str = _option(
        "keep", as_choice("keep", "resize"), "an image over the host's limit: keep local, or resize", "{keep,resize}"
    )
    max_edge: int | None = _option(None, as_count(1), "scale images down to this longest edge in pixels", "PIXELS")
    metadata: str = _option(
        "strip", as_choice("strip", "keep", "refuse"), "EXIF, GPS, XMP, and bytes after the end", "{strip,keep,refuse}"
    )
    verify: bool = _option(True, as_flag, "fetch each new URL before its record counts")
    responsive: bool = _option(False, as_flag, "a srcset: of the host's sizes (img.pro), or of sizes made here")
    widths: tuple[int, ...] = _option((480, 960, 1600), as_widths, "the widths that are made here", "PIXELS")
    format: str | None = _option(
        None, as_choice("webp", "avif"), "a smaller format, where it saves 5 % or more", "{webp,avif}"
    )
    quality: int = _option(80, as_quality, "of lossy pictures that are made here", "1-100")
    dimensions: bool = _option(False, as_flag, "add width and height where an image has neither")
    lazy: bool = _option(False, as_flag, "add loading=lazy after the first image")
    fallback: bool = _option(False, as_flag, "on a failed load show the local copy, once")
    remove_local: bool = _option(False, as_flag, "delete local copies that nothing in the site names any more")
    concurrency: int = _option(8, as_count(1), "uploads at a time")
    timeout: float = _option(30.0, as_seconds, "seconds that a request may take", "SECONDS")
    retries: int = _option(5, as_count(1), "tries of an upload")
    report: Path | None = _option(None, as_path, "write a report here: .json or .html", "FILE")
    shared: str | None = _option(None, as_store, "a store of records shared by several projects", "URL")
    shared_required: bool = _option(True, as_flag, "without an answer from the shared store nothing is uploaded")
    require: bool = _option(False, as_flag, "an image that could move and has no URL at the end is an error")
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

    `origin` is how messages name the place, like `mkdocs.yml`, and empty for what was typed; `given` names what the
    user typed, not the configuration. Raises SettingsError, one line.
    """
    known = {option.name: option for option in options()}
    refuse_credentials(raw, origin)
    _refuse_unknown(raw, known, f"{origin}: option")
    found = {name: _value(option, raw.get(name), folder, origin) for name, option in known.items()}
    settings = Settings(folder=folder, **found)
    _refuse_at_odds(settings, origin)
    _refuse_far(settings, {name for name in raw if raw[name] is not None} - set(given), origin)
    if raw.get("cache_dir") is not None and (other := others_in(settings.cache_dir)):
        raise SettingsError(
            f"{_named(origin, 'cache_dir')} is a folder that holds files which are not imghost's, like {other!r:.80}; "
            f"choose a new folder, like {Path(str(raw['cache_dir'])) / 'imghost'}",
            "cache_dir",
        )
    if settings.report and settings.report.suffix not in {".json", ".html"}:
        raise SettingsError(
            f"{_named(origin, 'report')} should end in .json or .html, not {settings.report.name!r:.80}"
        )
    return settings


def _named(origin: str, name: str) -> str:
    """Name an option as the place does where it was set."""
    return f"{origin}: option {name!r}" if origin else name


def _refuse_far(settings: Settings, names: Iterable[str], origin: str) -> None:
    """Refuse files outside the project: a pull request can change the configuration."""
    near = (git_top(settings.folder) or settings.folder, *_home(), Path(tempfile.gettempdir()))
    for name in sorted({"cache_dir", "lock", "report"} & set(names)):
        path = Path(os.path.abspath(getattr(settings, name)))  # noqa: PTH100 - `..` goes, links stay
        if not any(path.is_relative_to(folder) for folder in near):
            raise SettingsError(f"{_named(origin, name)} leads out of the project; choose a path in it", name)


def _home() -> tuple[Path, ...]:
    """Find the user's folder; none in a container that has neither HOME nor a name for its user."""
    try:
        return (Path.home(),)
    except RuntimeError:
        return ()


def over(under: Settings, upper: Settings, names: Iterable[str]) -> Settings:
    """Put the named options of one over those of another; a host's paths follow the `options` that count.

    Raises SettingsError where the two exclude each other.
    """
    names = [*names, *(["folder"] if "options" in names else [])]
    chosen = replace(under, **{name: getattr(upper, name) for name in names})
    _refuse_at_odds(chosen, "")
    return chosen


def _value(option: Field[Any], raw: Any, folder: Path, origin: str) -> Any:
    if raw is None:
        default = default_of(option)
        return folder / default if isinstance(default, Path) else default
    try:
        return option.metadata["read"](raw, folder)
    except ValueError as wrong:
        text = f"{_named(origin, option.name)} should be {wrong}, not {raw!r:.80}"
        raise SettingsError(text, option.name) from None


def _refuse_unknown(names: Iterable[str], known: Iterable[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise SettingsError(f"{what} {name!r:.80} is unknown; {nearest(name, known)}", str(name))


def _refuse_at_odds(settings: Settings, origin: str) -> None:
    """Refuse options that exclude each other."""
    if settings.fallback and settings.remove_local:
        place = _named(origin, "fallback") if origin else "'fallback'"
        raise SettingsError(
            f"{place} shows local copies, and 'remove_local' deletes them; leave one of them out",
            "fallback",
        )


def read_host_options(options_type: type[Any], raw: Mapping[str, Any], host: str) -> Any:
    """Make a host's own options of `options`; the types of its fields say what is right."""
    if not raw:
        return options_type()
    kinds = get_type_hints(options_type)
    _refuse_unknown(raw, kinds, f"host {host!r}: option")
    values = {}
    for name, value in raw.items():
        if value is None:
            continue
        try:
            values[name] = _host_value(kinds[name], value)
        except ValueError as wrong:
            raise SettingsError(f"host {host!r}: option {name!r} should be {wrong}, not {value!r:.80}") from None
    return options_type(**values)


def _texts_by_name(value: Any) -> Mapping[str, str]:
    """Read names and texts: a mapping, or from the command line `name=text,name=text`."""
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",")]
        if not all(mark for _, mark, _ in pairs):
            raise ValueError("names and texts, like name=text,name=text")
        value = {name.strip(): text.strip() for name, _, text in pairs}
    if not isinstance(value, Mapping) or not all(isinstance(text, (str, int, float, bool)) for text in value.values()):
        raise ValueError("names, each with a text")
    return {as_text(str(name), Path()): as_text(str(text), Path()) for name, text in value.items()}


def _host_value(kind: Any, value: Any) -> Any:
    """Read one of a host's options by its type; the command line gives all of them as texts."""
    kinds = set(get_args(kind)) if get_origin(kind) in {Union, UnionType} else {kind}
    origins = {get_origin(kind) or kind for kind in kinds}
    if bool in origins:
        return as_flag(value, Path())
    if tuple in origins:
        texts = value.split(",") if isinstance(value, str) else value
        return tuple(text.strip() for text in as_texts(texts, Path()))
    if Mapping in origins:
        return _texts_by_name(value)
    if int in origins and str not in origins:
        return as_count(0)(value, Path())
    if isinstance(value, (bool, Mapping, list, tuple)):
        raise ValueError("a text of one line")  # noqa: TRY004
    return as_text(str(value), Path())
