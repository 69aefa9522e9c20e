"""What the uploads of one run need and share, and what becomes of each."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from imghost.errors import HostError, ImghostError
from imghost.hosts import Host
from imghost.models import Failure, Hosted, Payload, Record
from imghost.net.client import Client
from imghost.plan import Upload


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one upload: a record, or why there is none."""

    upload: Upload
    record: Record | None = None
    is_new: bool = True
    failure: Failure | None = None
    stop: str = ""
    """Why no further upload was tried, where that is the reason."""
    repeats: int = 0
    """How often it was sent again to a host that may have stored it before, and cannot be asked."""


@dataclass(slots=True)
class Course:
    """What the workers of one run share; only ever changed under its lock."""

    guard: threading.Lock = field(default_factory=threading.Lock)
    waited: float = 0.0
    unreachable: int = 0
    unconfirmed: int = 0
    stopped: HostError | None = None
    fatal: ImghostError | None = None
    urls: dict[str, str] = field(default_factory=dict)
    repeats: Counter[str] = field(default_factory=Counter)
    """By the payload's image."""
    interrupted: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Work:
    """Everything an upload needs beside the image: the host, and where payloads come from and records go."""

    host: Host
    client: Client
    prepare: Callable[[Upload], Payload]
    bring: Callable[[Upload], Hosted] | None
    """Has the host fetch an external image itself, where it can."""
    intend: Callable[[Payload], None]
    """Makes the intent durable before anything is sent."""
    earn: Callable[[Record], None]
    """Keeps the record durably as soon as the host has answered."""
    earned: Mapping[tuple[str, str, str], Record]
    """Records that the local store alone knows: a hint, so their URLs are confirmed before they count."""
    doubtful: frozenset[tuple[str, str, str]]
    """Uploads (digest, host, variant) that an earlier run tried and whose end is not known."""
    now: Callable[[], datetime]
    tries: int
    concurrency: int
    verify: bool
    urls: dict[str, str]
    """URLs that records already bind, each to its image's digest."""
    is_first_alone: bool = False
    sleep: Callable[[float], object] | None = None
    """How to wait; the interruptible default is for runs, another one for tests."""
