"""The options of S3-compatible storage, and what they say of keys and URLs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from imghost.errors import SettingsError
from imghost.hosts.origins import origin_of, split_origin

NAME: Final = "s3"
FOLDERS: Final = r"(?:(?!\.{1,2}/)[A-Za-z0-9._~\-]+/)"
_SHAPES: Final = {
    # Without a colon, which would make it the name of something other than a bucket.
    "bucket": (r"[A-Za-z0-9][A-Za-z0-9._\-]{1,61}[A-Za-z0-9]", "the name of a bucket"),
    # It becomes a part of the host's name.
    "region": (r"[a-z0-9]+(?:-[a-z0-9]+){0,5}", "a region like 'eu-central-1'"),
}


@dataclass(frozen=True, slots=True)
class S3Options:
    """The host's own settings."""

    bucket: str = ""
    prefix: str = ""
    """The folder in the bucket that is this project's."""
    base_url: str = ""
    """Where the bucket's root is served to readers."""
    endpoint_url: str | None = None
    """The storage's API; None = Amazon's."""
    region: str | None = None
    url_hosts: tuple[str, ...] = ()
    """Other hosts that serve the bucket, like a CDN's former name."""


def check_shapes(options: S3Options) -> None:
    """Refuse options that cannot work; raises SettingsError."""
    lacking = [name for name in ("bucket", "base_url") if not getattr(options, name)]
    if lacking:
        raise SettingsError(
            f"host {NAME!r}: option {lacking[0]!r} is needed; set bucket, and base_url to where it is served"
        )
    for name, (shape, meaning) in _SHAPES.items():
        if (text := getattr(options, name)) is not None and not re.fullmatch(shape, text):
            raise SettingsError(f"host {NAME!r}: option {name!r} should be {meaning}, not {text!r:.80}")


def read_prefix(text: str) -> str:
    """Read the project's folder: empty, or with a slash at its end; raises SettingsError."""
    prefix = f"{text.strip('/')}/" if text.strip("/") else ""
    if not re.fullmatch(FOLDERS + "{0,16}", prefix) or len(prefix) > 512:
        raise SettingsError(f"host {NAME!r}: option 'prefix' should be a folder like 'docs/images', not {text!r:.80}")
    return prefix


def read_base(text: str) -> tuple[str, str]:
    """Read where the bucket is served: a URL that ends in a slash, and its origin; raises SettingsError."""
    base = f"{text.rstrip('/')}/"
    parts = split_origin(base)
    if parts is None or not re.fullmatch(f"/{FOLDERS}{{0,16}}", parts.path):
        raise SettingsError(
            f"host {NAME!r}: option 'base_url' should be an https URL (http on loopback only), not {text!r:.80}"
        )
    return base, origin_of(parts)
