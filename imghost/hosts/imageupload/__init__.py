"""imageupload.io: uploads by REST, and its tools (MCP) for what REST does not have.

Here are its own options, and what they and the run's settings add to each upload.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from imghost.errors import SettingsError
from imghost.models import dataclass
from imghost.wording import nearest

NAME: Final = "imageupload.io"
ORIGIN: Final = "https://imageupload.io"
SLUG: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What names an image."""
FOLDER: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""What names a folder."""

LIVES: Final[Mapping[str, timedelta | None]] = MappingProxyType(
    {
        "1d": timedelta(days=1),
        "1w": timedelta(days=7),
        "1mo": timedelta(days=30),
        "3mo": timedelta(days=90),
        "forever": None,
    }
)
"""How long an image lives by the option `expiration`, from the shortest to the longest."""
CONSUMED: Final = frozenset({"burn", "views"})
"""Expirations that count readers: such an image is gone after the first of them."""
ROOTS: Final = frozenset({"unsorted", "root", "default"})
"""The host's words for the images that are in no folder."""


@dataclass(frozen=True, slots=True)
class ImageUploadOptions:
    """The host's own settings."""

    api_url: str = ORIGIN
    mcp_url: str | None = None
    """Where the host's tools are asked: for quota, folders, lists and deletions; None = `{api_url}/mcp`."""
    expiration: str | None = None
    """`1d`, `1w`, `1mo`, `3mo` or `forever`; None = the shortest that `retention` allows."""
    folder: str | None = None
    """Groups a project's images; made where it does not exist."""
    url_hosts: tuple[str, ...] = ()


def read_expiration(options: ImageUploadOptions, retention: timedelta | None) -> str:
    """Choose the expiration to send, which is always sent: left out, the host deletes an image after a day.

    Raises:
        SettingsError: the option names none, or one that a site cannot live with.
    """
    chosen = options.expiration
    if chosen is None:
        return next(name for name, life in LIVES.items() if life is None or (retention and life >= retention))
    if chosen in CONSUMED:
        raise SettingsError(
            f"host {NAME!r}: option 'expiration' cannot be {chosen!r}, since the first readers would use the "
            "image up; leave it out, or set forever"
        )
    if chosen not in LIVES:
        raise SettingsError(f"host {NAME!r}: no expiration named {chosen!r:.80}; {nearest(chosen, LIVES)}")
    return chosen


def read_folder(options: ImageUploadOptions) -> str:
    """Read the folder's name; empty where the settings have none.

    Raises:
        SettingsError: the host would refuse it, or means by it the images that are in no folder.
    """
    name = options.folder
    if name is None:
        return ""
    if not 1 <= len(name) <= 40 or not name.isprintable() or name != name.strip():
        raise SettingsError(f"host {NAME!r}: option 'folder' should have 1 to 40 visible letters, not {name!r:.80}")
    if name.lower() in ROOTS:
        raise SettingsError(
            f"host {NAME!r}: option 'folder' cannot be {name!r}, which is the host's word for no folder; "
            "leave it out, or choose another name"
        )
    return name
