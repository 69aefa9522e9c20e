"""Finds the installed hosts and opens the chosen one, with its credential checked before it is used."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from imghost.errors import SettingsError, printable
from imghost.hosts import Host, HostType, Limits, Secret, Setup
from imghost.http import Client
from imghost.settings import Settings, nearest, read_host_options
from imghost.values import show_duration

GROUP = "imghost.hosts"
_SHAPE = re.compile(r"[\x21-\x7e]{8,256}")
_ADDRESS = re.compile(r"https?://(?:[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/\-]*)?")


def installed() -> dict[str, EntryPoint]:
    """List the hosts that are installed, ours and others', by name."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}


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
    try:
        loaded: HostType = hosts[name].load()
    except (ImportError, AttributeError) as problem:
        reason = f"the host {name!r} cannot be loaded: {printable(problem)}; install its package again, or take it out"
    else:
        return loaded
    raise SettingsError(reason)


def chosen(settings: Settings, environ: Mapping[str, str], published: str | None) -> str | None:
    """Decide which host is meant: the option, the one credential in the environment, or the lock's last one.

    None = no host at all. Raises SettingsError where several credentials leave it open.
    """
    if settings.host != "auto":
        return settings.host
    having = [name for name in installed() if _is_meant(host_type(name), environ)]
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
        if not _SHAPE.fullmatch(text):
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


def split_origin(url: str) -> SplitResult | None:
    """Split an address that may be asked: https, or http on loopback, without user, query or odd characters."""
    if not _ADDRESS.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or port == 0:
        return None
    return parts if parts.scheme == "https" or is_loopback(parts) else None


def origin_of(parts: SplitResult) -> str:
    """Give `scheme://host[:port]` in lower case."""
    return f"{parts.scheme}://{parts.netloc}".lower()


def is_loopback(parts: SplitResult) -> bool:
    """Say whether an address stays on this machine."""
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


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
