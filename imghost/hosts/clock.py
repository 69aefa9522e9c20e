"""The host's clock, by which it keeps images and counts quotas."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from imghost.hosts.answers import http_date
from imghost.net.client import Answer

CREDIBLE: Final = timedelta(days=3_650)
"""How far a host's clock may be from ours before it is not believed."""


class HostClock:
    """The host's clock, as its last answer told it, so that a wrong one here does no harm; until then the run's."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._ahead = timedelta()

    def hear(self, answer: Answer) -> None:
        """Take the time from an answer that tells one."""
        told = http_date(answer.headers.get("date", ""))
        ahead = timedelta() if told is None else told - self._now()
        self._ahead = ahead if abs(ahead) < CREDIBLE else timedelta()

    def now(self) -> datetime:
        """Give the moment."""
        return self._now() + self._ahead
