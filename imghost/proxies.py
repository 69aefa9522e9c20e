"""Which proxy leads to a host, by the environment's own rules; only for https, through CONNECT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from imghost.errors import Action, HostError


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, with its credentials out of sight."""

    scheme: str
    host: str
    port: int
    auth: tuple[bytes, bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, without credentials."""
        return f"{self.scheme}://{self}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"<Proxy {self}>"


def proxy_for(host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    """Find the proxy for an https host: HTTPS_PROXY, else ALL_PROXY, unless NO_PROXY names the host.

    Raises:
        HostError: the variable does not hold an http or https proxy (STOP).
    """
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        if text := environ.get(name, "").strip():
            return None if _is_exempt(host, port, environ) else _parsed(name, text)
    return None


def _is_exempt(host: str, port: int, environ: Mapping[str, str]) -> bool:
    listed = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    for entry in listed.lower().replace(",", " ").split():
        name, _, only = entry.rpartition(":") if entry.rpartition(":")[2].isdigit() else (entry, "", "")
        domain = name.strip("[]").removeprefix("*").removeprefix(".")
        if only and int(only) != port:
            continue
        if entry == "*" or (domain and (host == domain or host.endswith(f".{domain}"))):
            return True
    return False


def _parsed(name: str, text: str) -> Proxy:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in {"http", "https"} or not host:
        # The value may hold a password, so only its name is told.
        raise HostError(Action.STOP, f"{name} is not an http or https proxy", remedy="write it as http://host:port")
    auth = None
    if parts.username is not None:
        auth = unquote(parts.username).encode(), unquote(parts.password or "").encode()
    return Proxy(scheme, host, port or (443 if scheme == "https" else 80), auth)
