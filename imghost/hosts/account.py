"""What a host says when it is asked: of the account, and of an image that it has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Quota:
    """What the host says of the account, asked once before the first upload."""

    remaining: int | None = None
    """Uploads that the host still allows; None = unknown or unlimited."""
    plan: str = ""
    link: str = ""
    """Where to get more, or to verify the account."""
    is_proven: bool = True
    """False where only the first upload's answer shows whether images last: it is then sent alone."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the host says of the account, for people to read; None = it does not say."""

    plan: str = ""
    used: int | None = None
    limit: int | None = None
    """Uploads, or stored images, that the plan allows."""
    remaining: int | None = None
    bytes_used: int | None = None
    bytes_limit: int | None = None
    resets: datetime | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """One image as a host lists it."""

    id: str
    url: str
    uploaded: datetime | None = None
    bytes: int | None = None
