"""Finds the installed hosts and opens the chosen one, with its credential checked before it is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, distributions
from pathlib import Path

from imghost.errors import SettingsError
from imghost.hosts import Host, HostType, Secret, Setup
from imghost.hosts.answers import is_loopback, origin_of, split_origin
from imghost.models import Limits
from imghost.net.client import Client
from imghost.settings import Settings, read_host_options, show_duration
from imghost.wording import nearest, printable

GROUP = "imghost.hosts"
_SHAPE = r"[\x21-\x7e]{8,256}"


def installed() -> dict[str, EntryPoint]:
    """List the hosts that are installed, ours and others', by name."""
    # Of packages with one name, the first on the path is meant.
    found = (distribution(name) for name in dict.fromkeys(_packages()))
    entries = (entry for one in found for entry in one.entry_points if entry.group == GROUP)
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}


def _packages() -> Iterator[str]:
    """Name the packages that have hosts: to parse only what names the group takes half of `entry_points()`'s time."""
    for one in distributions():
        # Without metadata it is what an installation left that was not finished.
        is_whole = GROUP in (one.read_text("entry_points.txt") or "") and (
            one.read_text("METADATA") or one.read_text("PKG-INFO")
        )
        if is_whole and (name := one.name):
            yield name


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
        loaded: HostType = entry.load()
    except (ImportError, AttributeError) as problem:
        why = f"the host {entry.name!r} cannot be loaded: {printable(problem)}"
    else:
        return loaded
    raise SettingsError(f"{why}; install its package again, or take it out")


def chosen(settings: Settings, environ: Mapping[str, str], published: str | None) -> str | None:
    """Decide which host is meant: the option, the one credential in the environment, or the lock's last one.

    None = no host at all. Raises SettingsError where several credentials leave it open.
    """
    if settings.host != "auto":
        return settings.host
    hosts = installed() | _own()
    having = [name for name, entry in hosts.items() if _is_meant(_loaded(entry), environ)]
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
    is_there = credential is not None or _finds_credential(kind, environ)
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
        return getattr(kind, "limits", None)


def _is_meant(kind: HostType, environ: Mapping[str, str]) -> bool:
    """Say whether a credential in the environment means this host.

    A class whose credentials are often there for other reasons says `is_chosen_by_credential = False`.
    """
    return getattr(kind, "is_chosen_by_credential", True) and any(map(environ.get, kind.credentials))


def _finds_credential(kind: HostType, environ: Mapping[str, str]) -> bool:
    """Say whether a host whose library reads the credential itself, so that none is given to it, will have one."""
    finds = getattr(kind, "finds_credential", None)
    return finds is not None and finds(environ)


def _credential(kind: HostType, environ: Mapping[str, str]) -> Secret | None:
    if hasattr(kind, "finds_credential"):
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
    is_own = getattr(kind, "is_own_origin", kind.origin.__eq__)
    if not has_credential or is_own(origin_of(parts)) or is_loopback(parts):
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
