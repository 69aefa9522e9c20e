"""Which URLs are a host's images, and from which origins, as the host's own settings name them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from imghost.errors import SettingsError
from imghost.wording import printable

_ADDRESS = r"https?://(?:[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/\-]*)?"
_HOST = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?"


def image_urls(own: str, path: str, api_url: str, origin: str, url_hosts: Sequence[str]) -> re.Pattern[str]:
    """Make the one expression that a host's image URLs match, in full and as they are written.

    `own` matches the URLs of the host's own image domain. `path` matches what follows the origin where
    `api_url` is set to another `origin` than the host's, or at one of `url_hosts`.
    """
    elsewhere = extra_origins(api_url, origin, url_hosts)
    return re.compile("|".join([own, *(re.escape(place) + path for place in elsewhere)]))


def extra_origins(api_url: str, origin: str, url_hosts: Sequence[str]) -> tuple[str, ...]:
    """List the origins beside the host's own that its images may have, as the settings name them.

    Raises:
        SettingsError: one of them cannot be an origin.
    """
    parts = split_origin(api_url)
    if parts is None:
        raise SettingsError("option 'api_url' should be an https URL (http on loopback only)")
    for name in url_hosts:
        if not re.fullmatch(_HOST, name) or split_origin(f"https://{name}") is None:
            raise SettingsError(
                f"option 'url_hosts' should list hosts like 'images.example.org', not {printable(name, 80)!r}"
            )
    api = origin_of(parts)
    return (*(() if api == origin else (api,)), *(f"https://{name}" for name in url_hosts))


def split_origin(url: str) -> SplitResult | None:
    """Split an address that may be asked: https, or http on loopback, without user, query or odd characters."""
    if not re.fullmatch(_ADDRESS, url):
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
