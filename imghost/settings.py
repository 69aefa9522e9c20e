"""The options: declared once, here. The front ends derive theirs from this declaration."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from imghost import values
from imghost.credentials import refuse_credentials
from imghost.errors import SettingsError
from imghost.git import git_top
from imghost.models import DEFAULT_KINDS


def _option(default: Any, read: values.Read, about: str, *, optional: bool = False) -> Any:
    """Declare an option: its default as a value, how its text is read, and one line of help."""
    metadata = {"read": read, "about": about, "optional": optional}
    if isinstance(default, Mapping):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


_NO_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a user can choose; paths are absolute once read. Times in seconds, money in US dollars."""

    host: str = _option(
        "auto", values.text, "where images go: a host's name, or auto by the credential in the environment"
    )
    options: Mapping[str, Any] = _option(_NO_OPTIONS, values.mapping, "the host's own settings")
    lock: Path = _option(Path("imghost.lock"), values.path, "the committed file of records")
    cache_dir: Path = _option(Path(".cache/imghost"), values.path, "the local store")
    frozen: bool = _option(False, values.flag, "never touch the network; an image missing from the lock is a warning")
    serve: bool = _option(False, values.flag, "use what the lock knows in a live preview, too")
    site_url: str | None = _option(None, values.text, "where the site will live", optional=True)
    sources: tuple[Path, ...] = _option((), values.paths, "more folders that images may come from")
    include: tuple[str, ...] = _option(
        (), values.texts, "only images whose path in the site matches one of these globs"
    )
    exclude: tuple[str, ...] = _option(
        (), values.texts, "never images whose path in the site matches one of these globs"
    )
    references: frozenset[str] = _option(frozenset(DEFAULT_KINDS), values.kinds, "kinds of references to rewrite")
    remote: tuple[str, ...] = _option((), values.texts, "globs of external image URLs to bring to the host, too")
    retention: timedelta | None = _option(None, values.retention, "how long an image must live: permanent, or like 30d")
    renew_before: timedelta = _option(timedelta(days=14), values.duration, "renew a record when less than this is left")
    max_cost: Decimal = _option(Decimal(0), values.dollars, "US dollars that one build may spend")
    max_uploads: int | None = _option(None, values.count(0), "images that one build may upload", optional=True)
    oversize: str = _option(
        "keep", values.choice("keep", "resize"), "an image over the host's limit: keep local, or resize"
    )
    max_edge: int | None = _option(
        None, values.count(1), "scale images down to this longest edge in pixels", optional=True
    )
    metadata: str = _option(
        "strip", values.choice("strip", "keep", "refuse"), "EXIF, GPS, XMP, and bytes after the end"
    )
    verify: bool = _option(True, values.flag, "fetch each new URL before its record counts")
    responsive: bool = _option(False, values.flag, "a srcset from the host's sizes (img.pro)")
    format: str | None = _option(None, values.choice("webp", "avif"), "converted by the host (img.pro)", optional=True)
    dimensions: bool = _option(False, values.flag, "add width and height where an image has neither")
    lazy: bool = _option(False, values.flag, "add loading=lazy after the first image")
    fallback: bool = _option(False, values.flag, "on a failed load show the local copy, once")
    remove_local: bool = _option(False, values.flag, "delete local copies that nothing in the site names any more")
    concurrency: int = _option(8, values.count(1), "uploads at a time")
    timeout: float = _option(30.0, values.seconds, "seconds that a request may take")
    retries: int = _option(5, values.count(1), "tries of an upload")
    report: Path | None = _option(None, values.path, "write a report here: .json or .html", optional=True)
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
    found = {name: _value(option, raw.get(name), folder, origin) for name, option in known.items()}
    settings = Settings(folder=folder, **found)
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
    found = {}
    for name, value in raw.items():
        if value is None:
            continue
        try:
            found[name] = _host_value(known[name], value)
        except ValueError as wrong:
            raise SettingsError(f"host {host!r}: option {name!r} should be {wrong}, not {value!r:.80}") from None
    return options_type(**found)


def _host_value(option: Field[Any], value: Any) -> Any:
    """Read one of a host's options by its annotation; the command line gives all of them as texts."""
    kind = str(option.type)
    if "bool" in kind:
        if str(value).lower() not in {"true", "false"}:
            raise ValueError("true or false")
        return str(value).lower() == "true"
    if "tuple" in kind:
        texts = value.split(",") if isinstance(value, str) else value
        return tuple(text.strip() for text in values.texts(texts, Path()))
    if "int" in kind and "str" not in kind:
        return values.count(0)(value, Path())
    if isinstance(value, (bool, Mapping, list, tuple)):
        raise ValueError("a text of one line")  # noqa: TRY004
    return values.text(str(value), Path())
