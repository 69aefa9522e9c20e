"""The records of what was earned: the committed lock and the local cache; here, what a record is worth at a moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from imghost.models import Record

# What a record is worth at a moment: whether it covers an image, must be renewed, and is this project's.
#
# A plan, `check`, `verify`, `status`, `adopt`, `prune`, `migrate` and the report ask these: no two of them differ.

_MARK = "unconfirmed"


def is_confirmed(record: Record) -> bool:
    """Say whether the record's URL was seen to serve the image, or need not be asked."""
    return record.extra.get(_MARK) is not True


def unconfirmed(record: Record) -> Record:
    """Mark a record whose URL nobody has seen yet: no page may name it, and the next build asks it again."""
    return replace(record, extra={**record.extra, _MARK: True})


def confirmed(record: Record) -> Record:
    """Take that mark away."""
    return replace(record, extra={name: value for name, value in record.extra.items() if name != _MARK})


def covers(record: Record | None, now: datetime) -> bool:
    """Say whether pages may name a record's URL now: it is confirmed, and its host still promises the image."""
    return record is not None and is_confirmed(record) and record.lives_at(now)


def needs_renewal(record: Record, renew_before: timedelta, now: datetime) -> bool:
    """Say whether less than `renew_before` is left, at most a quarter of the record's own life."""
    due = renewal_due(record, renew_before)
    return due is not None and now >= due


def renewal_due(record: Record, renew_before: timedelta) -> datetime | None:
    """Say from when on a record must be renewed; None = never."""
    if record.expires is None:
        return None
    life = max(record.expires - record.uploaded, timedelta(0))
    return record.expires - min(renew_before, life / 4)


_ASKED = "retention"
_SLACK = timedelta(days=1)


def asked_for(record: Record, retention: timedelta | None) -> Record:
    """Tell in a record that ends sooner than is asked for that this was all that the host gave: it is not asked again.

    `retention` is None where it is to last for ever.
    """
    if not falls_short(record, retention):
        return record
    return replace(record, extra={**record.extra, _ASKED: _retention_text(retention)})


def falls_short(record: Record, retention: timedelta | None) -> bool:
    """Say whether a record was stored for less than is asked for now, as by settings that asked for less.

    A day, or a quarter of what is asked for, is no shortfall: clocks differ, and hosts count in days.
    """
    if record.expires is None or record.extra.get(_ASKED) == _retention_text(retention):
        return False
    return retention is None or record.expires - record.uploaded < retention - min(_SLACK, retention / 4)


def lasts(record: Record, renew_before: timedelta, retention: timedelta | None, now: datetime) -> bool:
    """Say whether a record needs no other in its place: it covers, is not due, and has all that is asked for."""
    is_due = needs_renewal(record, renew_before, now) or falls_short(record, retention)
    return covers(record, now) and not is_due


def _retention_text(retention: timedelta | None) -> str:
    return "permanent" if retention is None else f"{int(retention.total_seconds())}s"


def owns(record: Record, host: str, accepts: Callable[[str], bool]) -> bool:
    """Say whether a record is of an image that this host, with these settings, would have given."""
    return record.host == host and accepts(record.url)
