"""Judges the images that img.pro shows: which is the one that was asked for, and which lives long enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from imghost.errors import Action, HostError
from imghost.hosts.claims import NEVER, foreign, least_left, other_size
from imghost.hosts.imgpro.api import Media
from imghost.hosts.imgpro.options import NAME
from imghost.hosts.imgpro_api import What

REPLAY: Final = timedelta(hours=25)
"""How old an image may be that answers an upload: an idempotency key's day, and clocks that differ."""


class Judge:
    """Compares an image with what was sent, and its life with the retention."""

    def __init__(
        self, accepts: Callable[[str], bool], retention: timedelta | None, now: Callable[[], datetime]
    ) -> None:
        self._accepts = accepts
        self._retention = retention
        self._now = now

    def best(self, what: What, media: Iterable[Media]) -> Media | None:
        """Choose the longest-lived of the copies, if any is what it is said to be."""
        sound = (one for one in media if not self.problem(one, what))
        return max(sound, key=lambda one: (one.expires or NEVER, one.id), default=None)

    def problem(self, media: Media, what: What) -> HostError | None:
        """Say what is wrong with an image that is said to be this one: its address or its size."""
        if media.has_failed:
            return HostError(Action.FILE, f"{NAME} could not read the image", remedy="look at the image")
        if not self._accepts(media.url):
            return foreign(NAME, media.url)
        theirs = media.width, media.height
        ours = theirs if isinstance(what, str) else (what.width, what.height)
        return other_size(NAME, theirs, ours, is_ambiguous=False)

    def lasts(self, expires: datetime, *, is_new: bool) -> bool:
        """Say whether an image lives as long as asked; what is found again has a part of its life behind it."""
        if self._retention is None:
            return False
        least = self._retention - min(REPLAY, self._retention / 4) if is_new else least_left(self._retention)
        return expires - self._now() >= least

    def counts(self, expires: datetime | None) -> bool:
        """Say whether an image that is found again lives long enough."""
        return expires is None or self.lasts(expires, is_new=False)
