"""img.pro's own options, and what they and the run's settings add to each upload."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from imghost.errors import SettingsError
from imghost.hosts.imgpro_answers import Generation
from imghost.hosts.imgpro_refusals import NAME
from imghost.models import Payload
from imghost.settings import nearest, read_duration

GENERATIONS: Final[dict[str, Generation | None]] = {"auto": None, "upload": "upload", "images": "images"}
"""The option `api`'s values, and the generation that each forces."""


@dataclass(frozen=True, slots=True)
class ImgProOptions:
    """The host's own settings."""

    api_url: str = "https://api.img.pro/v1"
    api: str = "auto"
    """`upload` or `images` force one generation of the API."""
    namespace: str | None = None
    """Groups a project's images: 2 to 64 of `a-z`, `0-9` and `-`."""
    tags: tuple[str, ...] = ()
    public: bool | None = None
    ttl: str | None = None
    """How long the host shall keep an image, like `90d`; None = as long as it does."""
    url_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fields:
    """What the settings add to each upload."""

    namespace: str | None
    tags: tuple[str, ...]
    public: bool | None
    ttl: timedelta | None
    retention: timedelta | None

    @property
    def project(self) -> str:
        """The label that all of a project's images share."""
        return self.namespace or "default"

    def key(self, payload: Payload, period: int) -> str:
        """Make the name under which the host knows this upload; other bytes or terms are another one."""
        retention = "permanent" if self.retention is None else f"{int(self.retention.total_seconds())}s"
        terms = "\n".join([payload.sha256, self.namespace or "", retention, str(period)])
        return hashlib.sha256(terms.encode()).hexdigest()

    def shared(self) -> dict[str, str]:
        """Give the form fields that both generations have."""
        form = {}
        if self.public is not None:
            form["public"] = "true" if self.public else "false"
        if self.ttl is not None:
            form["ttl"] = str(int(self.ttl.total_seconds()))
        return form


def read_fields(options: ImgProOptions, retention: timedelta | None) -> Fields:
    """Read the options that are sent; raises SettingsError for those that the host would refuse."""
    if options.api not in GENERATIONS:
        raise SettingsError(f"host {NAME!r}: no api named {options.api!r:.80}; {nearest(options.api, GENERATIONS)}")
    if options.namespace is not None and not re.fullmatch(r"[a-z0-9-]{2,64}", options.namespace):
        raise SettingsError(
            f"host {NAME!r}: option 'namespace' should be 2 to 64 of a-z, 0-9 and -, not {options.namespace!r:.80}"
        )
    if len(options.tags) > 10 or not all(
        re.fullmatch(r"[^,]{1,50}", tag) and tag.isprintable() for tag in options.tags
    ):
        raise SettingsError(
            f"host {NAME!r}: option 'tags' should be at most 10 texts of at most 50 letters, without commas"
        )
    ttl = _ttl(options, retention)
    return Fields(options.namespace, options.tags, options.public, ttl, retention)


def _ttl(options: ImgProOptions, retention: timedelta | None) -> timedelta | None:
    if options.ttl is None:
        return None
    try:
        ttl = read_duration(options.ttl)
    except ValueError as wrong:
        raise SettingsError(f"host {NAME!r}: option 'ttl' should be {wrong}, not {options.ttl!r:.80}") from None
    if retention is None or ttl < retention:
        raise SettingsError(
            f"host {NAME!r}: option 'ttl' ({options.ttl}) ends sooner than `retention` asks; "
            f"leave it out, or set retention: {options.ttl}"
        )
    return ttl
