"""Finds the installed hosts and opens the chosen one, with its credential checked before it is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import Any, cast

from imghost.errors import SettingsError
from imghost.hosts import Host, HostBase, HostType, Secret, Setup
from imghost.hosts.answers import is_loopback, origin_of, split_origin
from imghost.models import Limits
from imghost.net import Client
from imghost.settings import Settings, read_host_options, show_duration
from imghost.wording import nearest, printable

GROUP = "imghost.hosts"
CREDENTIALS = "imghost.credentials"
"""The group that names a class by each variable whose presence chooses its host; so no other class is loaded."""
_SHAPE = r"[\x21-\x7e]{8,256}"


def installed() -> dict[str, EntryPoint]:
    """List the hosts that are installed, ours and others', by name."""
    entries = (entry for package in _packages() for entry in package.entry_points if entry.group == GROUP)
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}


def _packages() -> Iterator[Distribution]:
    """Give the packages that have hosts: to parse only what names the group takes half of `entry_points()`'s time."""
    seen = set[str]()
    for package in distributions():
        # Without metadata it is what an installation left that was not finished.
        is_whole = GROUP in (package.read_text("entry_points.txt") or "") and (
            package.read_text("METADATA") or package.read_text("PKG-INFO")
        )
        # Of packages with one name, the first on the path is meant.
        if is_whole and (name := package.name) and name not in seen:
            seen.add(name)
            yield distribution(name)


def _own() -> dict[str, EntryPoint]:
    """List our own hosts: to look into one distribution takes a twentieth of looking into all."""
    try:
        return {entry.name: entry for entry in distribution("imghost").entry_points if entry.group == GROUP}
    except PackageNotFoundError:
        return {}


def host_type(name: str) -> HostType:
    """Load a host's class by its name; raises SettingsError with the names that there are."""
    hosts = _own()
    hosts = hosts if name in hosts else installed()
    if name not in hosts:
        raise SettingsError(f"no host named {name!r} is installed; {nearest(name, hosts)}")
    return _loaded(hosts[name])


def _loaded(entry: EntryPoint) -> HostType:
    try:
        loaded = entry.load()
    except (ImportError, AttributeError) as problem:
        why = f"the host {entry.name!r} cannot be loaded: {printable(problem)}"
    else:
        return _completed(loaded)
    raise SettingsError(f"{why}; install its package again, or take it out")


def _completed(kind: type[Any]) -> HostType:
    """Give a class that does not inherit `HostBase` what it leaves to the defaults."""
    whole = (
        kind if issubclass(kind, HostBase) else type(kind.__name__, (kind, HostBase), {"__module__": kind.__module__})
    )
    return cast("HostType", whole)


def owners_of(option: str) -> list[str]:
    """List the hosts that have an option of their own by this name."""
    owners = []
    for name in installed():
        with suppress(SettingsError):  # a host that cannot be loaded has nothing to say here
            if option in {field.name for field in fields(host_type(name).Options)}:
                owners.append(name)
    return owners


def chosen(settings: Settings, environ: Mapping[str, str], published: str | None) -> str | None:
    """Decide which host is meant: the option, the one credential in the environment, or the lock's last one.

    None = no host at all. Raises SettingsError where several credentials leave it open.
    """
    if settings.host != "auto":
        return settings.host
    having = sorted({name for package in _packages() for name in _meant(package, environ)})
    if len(having) > 1:
        raise SettingsError(f"there are credentials for {' and '.join(having)}; choose one with the option 'host'")
    return having[0] if having else published


def open_host(
    name: str,
    settings: Settings,
    environ: Mapping[str, str],
    client: Client,
    site: Path,
    *,
    is_asking: bool = False,
    now: Callable[[], datetime] | None = None,
) -> Host:
    """Make the host ready to be asked; raises SettingsError for what cannot work, before anything is sent.

    Who is only asking about what is there needs no promise of retention. `now` is the run's clock.
    """
    kind = host_type(name)
    options = read_host_options(kind.Options, settings.options, name)
    credential = _credential(kind, environ)
    is_there = credential is not None or kind.finds_credential(environ) is True
    for option in ("api_url", "mcp_url", "endpoint_url"):
        if url := getattr(options, option, None):
            _check_address(option, url, kind, environ, has_credential=is_there)
    setup = Setup(
        client,
        credential,
        settings.retention,
        settings.folder,
        site,
        environ,
        max_cost=settings.max_cost,
        lock=settings.lock,
        cache_dir=settings.cache_dir,
        **({"now": now} if now else {}),
    )
    host = kind(options, setup)
    if not is_asking:
        _check_retention(host, settings)
    return host


def limits_of(name: str, environ: Mapping[str, str]) -> Limits | None:
    """Tell what a host takes with its default settings; None where only its own options can tell."""
    kind = host_type(name)
    try:
        here = Path.cwd()
        setup = Setup(Client(environ=environ), _credential(kind, environ), None, here, here / "site", environ)
        return kind(kind.Options(), setup).limits
    except SettingsError:
        return kind.limits if kind.limits.formats else None


def _meant(package: Distribution, environ: Mapping[str, str]) -> Iterator[str]:
    """Name the package's hosts of which the environment has a credential.

    A package that names no variable in the group `imghost.credentials` has its classes loaded, to ask them.
    """
    hosts = [entry for entry in package.entry_points if entry.group == GROUP]
    variables = [entry for entry in package.entry_points if entry.group == CREDENTIALS]
    having = {entry.value for entry in variables if environ.get(entry.name)}
    for entry in hosts:
        if entry.value in having if variables else _is_chosen(_loaded(entry), environ):
            yield entry.name


def _is_chosen(kind: HostType, environ: Mapping[str, str]) -> bool:
    return kind.is_chosen_by_credential and any(map(environ.get, kind.credentials))


def _credential(kind: HostType, environ: Mapping[str, str]) -> Secret | None:
    if kind.finds_credential(environ) is not None:
        return None
    for variable in kind.credentials:
        if not (text := environ.get(variable)):
            continue
        if variable.endswith("_FILE"):
            text = _read_secret(variable, text)
        if not re.fullmatch(_SHAPE, text):
            raise SettingsError(
                f"the environment's {variable} is not a key (its value is not shown): it should have 8 to 256 "
                "visible ASCII characters and no white space or line end; copy it again"
            )
        return Secret(text)
    return None


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError, ValueError):
        raise SettingsError(f"the file that {variable} names cannot be read; check its path and mode") from None


def _check_address(option: str, url: str, kind: HostType, environ: Mapping[str, str], *, has_credential: bool) -> None:
    """Refuse an address that a credential must not go to: a pull request can change the configuration."""
    parts = split_origin(url)
    if parts is None:
        raise SettingsError(f"option {option!r} should be an https URL (http on loopback only), not {url!r:.80}")
    if not has_credential or kind.is_own_origin(origin_of(parts)) or is_loopback(parts):
        return
    allowed = {address.rstrip("/") for address in re.split(r"[\s,]+", environ.get("IMGHOST_ALLOW_API_URL", ""))}
    if not allowed & {url.rstrip("/"), origin_of(parts)}:
        raise SettingsError(
            f"option {option!r} would send the credential to {origin_of(parts)}, which is not {kind.origin}; "
            f"if that is right, name it in the environment variable IMGHOST_ALLOW_API_URL"
        )


def _check_retention(host: Host, settings: Settings) -> None:
    promise = host.limits.retention
    if host.lacks_credential or promise is None:
        return
    if settings.retention is None or settings.retention > promise:
        raise SettingsError(
            f"host {host.name!r} promises {show_duration(promise)} with these settings, less than the retention "
            f"{show_duration(settings.retention)!r}; set retention: {show_duration(promise)} or less, "
            "or choose another host"
        )
