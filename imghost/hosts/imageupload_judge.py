"""Judges the images that imageupload.io shows: which is the one that was sent, and which lives long enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from imghost.errors import Action, HostError
from imghost.hosts.claims import NEVER, foreign, least_left, other_size
from imghost.hosts.imageupload.api import Entry
from imghost.hosts.imageupload.options import NAME
from imghost.models import Payload

SLACK: Final = timedelta(hours=1)
"""How much sooner than asked an image may end, since host and client do not count from the same moment."""


class Judge:
    """Compares an image with what was sent, and its life with the retention."""

    def __init__(
        self, accepts: Callable[[str], bool], retention: timedelta | None, now: Callable[[], datetime]
    ) -> None:
        self._accepts = accepts
        self._retention = retention
        self._now = now

    def problem(self, entry: Entry, payload: Payload) -> HostError | None:
        """Say what is wrong with an image that is said to be the payload's."""
        if not self._accepts(entry.url):
            return foreign(NAME, entry.url)
        if not entry.is_open:
            return HostError(Action.STOP, f"{NAME} hides the image behind a password or a count of views")
        theirs, ours = (entry.width, entry.height), (payload.width, payload.height)
        return other_size(NAME, theirs, ours, is_ambiguous=True)

    def check_life(self, entry: Entry) -> None:
        """Refuse an image that ends sooner than asked; so would every other, since it is the account's plan."""
        if not entry.has_life:
            raise HostError(
                Action.STOP,
                f"{NAME} does not say how long the image lives",
                remedy="check for a newer version of imghost",
                is_ambiguous=True,
            )
        if entry.expires is None:
            return
        now = self._now()
        if self._retention is not None and entry.expires - now >= self._retention - SLACK:
            return
        days = max(1, (entry.expires - now).days)
        raise HostError(
            Action.STOP,
            f"{NAME} keeps images only until {entry.expires:%Y-%m-%d}, which is sooner than `retention` asks",
            remedy=f"upgrade the plan, or set retention: {days}d or less",
        )

    def best(self, entries: Iterable[Entry], payload: Payload) -> Entry | None:
        """Choose the longest-lived copy of the payload, if there is any."""
        copies = (entry for entry in entries if self._is_copy(entry, payload))
        return max(copies, key=lambda entry: (entry.expires or NEVER, entry.slug), default=None)

    def _is_copy(self, entry: Entry, payload: Payload) -> bool:
        if entry.name != payload.name or self.problem(entry, payload) or not self._lasts(entry, payload):
            return False
        if entry.bytes is None or entry.width is None or payload.width is None:
            return entry.bytes == payload.bytes
        # Taking the metadata off makes a file smaller, never larger.
        return entry.bytes <= payload.bytes

    def _lasts(self, entry: Entry, payload: Payload) -> bool:
        """Say whether an image that is found again lives long enough; a renewal must outlive what it renews."""
        if not entry.has_life or entry.expires is None:
            return entry.has_life
        if self._retention is None or entry.expires.timestamp() <= payload.period:
            return False
        return entry.expires - self._now() >= least_left(self._retention)


def is_ours(name: str) -> bool:
    """Say whether this program has named an image."""
    digest, _, ending = name.partition(".")
    return len(digest) == 12 and set(digest) <= set("0123456789abcdef") and ending.isalnum()
