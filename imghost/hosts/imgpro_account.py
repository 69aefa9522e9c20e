"""What img.pro says of the account: how much of the plan is used, and in which generation of its API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from imghost.hosts import Quota, Usage
from imghost.hosts.answers import MOST, moment
from imghost.hosts.imgpro.options import Generation
from imghost.hosts.imgpro_refusals import link_in
from imghost.wording import printable


class Account(NamedTuple):
    """The account, and which generation of the API speaks of it."""

    generation: Generation
    usage: Usage
    is_verified: bool | None
    """None where the host does not say."""

    @property
    def quota(self) -> Quota:
        """What of it an upload depends on."""
        usage = self.usage
        return Quota(usage.remaining, usage.plan, usage.link, is_proven=self.is_verified is True)


def read_account(body: object) -> Account:
    """Read the account's usage: a flat object, or one with `limits`.

    Raises:
        ValueError: it is neither.
    """
    answer = _object(body)
    inner = answer.get("data")
    usage = inner if isinstance(inner, dict) and "success" in answer else answer
    verified = usage.get("verified")
    is_verified = verified if isinstance(verified, bool) else None
    if "limits" in usage or "object" in usage:
        return Account("images", _nested(usage), is_verified)
    if not any(name in usage for name in ("plan", "uploads_used", "uploads_remaining", "verified")):
        raise ValueError("the answer does not tell the usage")
    return Account("upload", _flat(usage), is_verified)


def _nested(usage: Mapping[str, Any]) -> Usage:
    images = _or_empty(_or_empty(usage.get("limits")).get("images"))
    used, limit = _count(images.get("used")), _limit(images.get("limit"))
    stored = _count(_or_empty(usage.get("totals")).get("images_stored"))
    return Usage(
        plan=_plan(usage),
        used=stored if used is None else used,
        limit=limit,
        remaining=_left(used, limit),
        resets=_resets(usage),
        link=link_in(usage),
    )


def _flat(usage: Mapping[str, Any]) -> Usage:
    used, limit = _count(usage.get("uploads_used")), _limit(usage.get("uploads_limit"))
    space, room = _count(usage.get("storage_used_bytes")), _limit(usage.get("storage_limit_bytes"))
    said = _count(usage.get("uploads_remaining"))
    left = _left(used, limit) if said is None else said
    return Usage(
        plan=_plan(usage),
        used=used,
        limit=limit,
        # Where the storage is full, nothing goes up, whatever the number says.
        remaining=0 if _left(space, room) == 0 else left,
        bytes_used=space,
        bytes_limit=room,
        resets=_resets(usage),
        link=link_in(usage),
    )


def _plan(usage: Mapping[str, Any]) -> str:
    return printable(usage["plan"], 40) if isinstance(usage.get("plan"), str) else ""


def _resets(usage: Mapping[str, Any]) -> datetime | None:
    try:
        return moment(usage.get("resets_at"))
    except ValueError:
        return None


def _left(used: int | None, limit: int | None) -> int | None:
    return None if used is None or limit is None else max(0, limit - used)


def _count(raw: object) -> int | None:
    return raw if isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < MOST else None


def _limit(raw: object) -> int | None:
    """Read a limit; None where there is none, which hosts write as null, 0 or -1."""
    return _count(raw) or None


def _object(body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004
    return body


def _or_empty(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, dict) else {}
