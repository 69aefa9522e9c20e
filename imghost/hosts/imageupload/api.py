"""What imageupload.io's good answers say: an image, a list, the quota, folders.

Its documentation shows the answer to an upload in full and the tools' answers in part, so what they may
look like is read in several forms, and unknown fields are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from imghost.hosts.answers import MOST, moment
from imghost.hosts.imageupload.options import CONSUMED, LIVES
from imghost.wording import printable

SLUG: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
FOLDER: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Entry(NamedTuple):
    """An image as the host describes it, its types checked; its URL is not yet."""

    slug: str
    url: str
    name: str
    bytes: int | None
    width: int | None
    height: int | None
    expires: datetime | None
    """When the host deletes it; None = never, if `has_life`."""
    has_life: bool
    """Whether the host says how long it lives."""
    is_open: bool
    """False where a password or a count of views stands between it and its readers."""
    folder: str | None
    """The folder's slug, empty for none; None where the host does not say."""
    uploaded: datetime | None


class Allowance(NamedTuple):
    """How much of the month's uploads is used; None = unknown, or without a limit."""

    plan: str
    used: int | None
    limit: int | None
    remaining: int | None
    raw: Mapping[str, Any]


def read_entry(raw: object) -> Entry:
    """Read an image from the answer to an upload or from a list.

    Raises:
        ValueError: it has no slug, or no address of the image itself.
    """
    if not isinstance(raw, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004
    slug, url, name = raw.get("slug"), raw.get("direct_url"), raw.get("filename")
    if not isinstance(slug, str) or not SLUG.fullmatch(slug):
        raise ValueError("it has no `slug`")
    if not isinstance(url, str):
        raise ValueError("it has no `direct_url`")  # noqa: TRY004
    expires, has_life = _life(raw)
    return Entry(
        slug=slug,
        url=url,
        name=name if isinstance(name, str) else "",
        bytes=_count(raw.get("size")),
        width=_count(raw.get("width")),
        height=_count(raw.get("height")),
        expires=expires,
        has_life=has_life,
        is_open=raw.get("view_limit") is None
        and raw.get("password_protected") in (None, False)
        and str(raw.get("expiration")) not in CONSUMED,
        folder=_folder(raw),
        uploaded=_created(raw),
    )


def read_entries(found: Mapping[str, Any]) -> tuple[list[Entry], int]:
    """Read one page of a list, and how many images it had; what cannot be read is left out.

    Raises:
        ValueError: it is no list.
    """
    raw = _list(found, "images")
    entries = []
    for one in raw:
        try:
            entries.append(read_entry(one))
        except ValueError:
            continue
    return entries, len(raw)


def read_folders(found: Mapping[str, Any]) -> dict[str, str]:
    """Read the folders: names and slugs, each to the slug.

    Raises:
        ValueError: it is no list.
    """
    known: dict[str, str] = {}
    for one in _list(found, "folders"):
        if slug := read_slug(one):
            known[slug] = slug
            if isinstance(one, dict) and isinstance(one.get("name"), str):
                known.setdefault(one["name"], slug)
    return known


def read_slug(raw: object) -> str:
    """Read a folder's slug; empty where there is none."""
    if isinstance(raw, dict):
        inner = raw.get("folder")
        raw = raw.get("slug", inner.get("slug") if isinstance(inner, dict) else inner)
    return raw if isinstance(raw, str) and FOLDER.fullmatch(raw) else ""


def read_allowance(found: Mapping[str, Any]) -> Allowance | None:
    """Read the month's quota, flat or under `quota`; None where nothing is said of it."""
    inner = found.get("quota")
    raw = inner if isinstance(inner, dict) else found
    if not any(name in raw for name in ("used", "limit", "remaining", "plan", "unlimited")):
        return None
    plan = printable(raw["plan"], 40) if isinstance(raw.get("plan"), str) else ""
    used, limit, left = _whole(raw.get("used")), _count(raw.get("limit")), _whole(raw.get("remaining"))
    if raw.get("unlimited") is True or ("limit" in raw and limit is None):
        # A limit that is null, 0 or -1 is none, whatever is said to remain of it.
        return Allowance(plan, used, None, None, raw)
    if left is None and limit is not None and used is not None:
        left = max(0, limit - used)
    return Allowance(plan, used, limit, left, raw)


def read_headers(headers: Mapping[str, str]) -> Allowance | None:
    """Read the quota from the headers of an upload's answer."""
    names = ("used", "limit", "remaining")
    raw = {name: headers[f"x-quota-{name}"].strip() for name in names if f"x-quota-{name}" in headers}
    numbers = {name: int(text) for name, text in raw.items() if re.fullmatch(r"[0-9]{1,9}", text)}
    return read_allowance(numbers) if len(numbers) == len(names) else None


def _life(raw: Mapping[str, Any]) -> tuple[datetime | None, bool]:
    """Read when an image ends, and whether that is told; never is believed only if nothing speaks against it."""
    term = raw.get("expiration")
    try:
        expires = moment(raw.get("expires_at"))
    except ValueError:
        return None, False
    if expires is not None:
        return expires, True
    is_dated = isinstance(term, str) and (LIVES.get(term) is not None or term in CONSUMED)
    return None, not is_dated and (term == "forever" or "expires_at" in raw)


def _created(raw: Mapping[str, Any]) -> datetime | None:
    """Read when an image was stored: as told, or reckoned back from its end; what never ends does not show it."""
    for name in ("created_at", "uploaded_at", "created", "uploaded"):
        try:
            if found := moment(raw.get(name)):
                return found
        except ValueError:
            continue
    life = LIVES.get(str(raw.get("expiration")))
    expires, _ = _life(raw)
    # The host's months may be calendar months, so an image may be a few days younger than this says; not older.
    return expires - life if expires and life and expires.year > 1 else None


def _folder(raw: Mapping[str, Any]) -> str | None:
    if "folder" not in raw:
        return None
    folder = raw["folder"]
    if isinstance(folder, dict):
        folder = folder.get("slug")
    return folder if isinstance(folder, str) else ""


def _list(found: Mapping[str, Any], name: str) -> list[Any]:
    for place in (name, "items", "data"):
        if isinstance(found.get(place), list):
            return list(found[place])
        inner = found.get(place)
        if isinstance(inner, dict) and isinstance(inner.get(name), list):
            return list(inner[name])
    raise ValueError("it is no list")


def _count(raw: object) -> int | None:
    number = _whole(raw)
    return number or None


def _whole(raw: object) -> int | None:
    return raw if isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < MOST else None
