"""What img.pro's good answers say: an image, a list of images, the account's usage.

The API has changed its form several times under one address, so each answer's own shape decides how it
is read, and unknown fields are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from imghost.errors import Action, HostError, printable
from imghost.hosts import Quota
from imghost.hosts.answers import moment
from imghost.hosts.imgpro_refusals import link_in

Generation = Literal["upload", "images"]
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True)
class Media:
    """An image as the host describes it, its types checked; its URL is not yet."""

    url: str
    id: str
    width: int | None
    height: int | None
    expires: datetime | None
    has_failed: bool = False
    link: str = ""
    """Where the user can make the host keep it longer."""
    labels: Mapping[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Usage:
    """The account, and which generation of the API speaks of it."""

    generation: Generation
    quota: Quota
    is_verified: bool | None
    """None where the host does not say."""
    link: str = ""


def read_media(body: object) -> Media:
    """Read an image from the answer to an upload.

    Raises:
        ValueError: the answer is none of the known forms.
        HostError: it names a page about the image, and no image.
    """
    answer = _object(body)
    inner = answer.get("data")
    media = inner if isinstance(inner, dict) and "id" not in answer else answer
    name = media.get("id")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise ValueError("the answer has no image's id")
    return Media(
        url=_url(media),
        id=name,
        width=_pixels(media.get("width")),
        height=_pixels(media.get("height")),
        expires=moment(media.get("expires_at")),
        has_failed=media.get("status") == "failed",
        link=link_in(media) or link_in(answer),
        labels=_or_empty(media.get("labels")),
    )


def read_existing(body: object) -> Media:
    """Read the image that a refused duplicate is one of: beside the error, or one level below.

    Raises:
        ValueError: there is none.
    """
    answer = _object(body)
    for name in ("media", "data", "image"):
        if isinstance(answer.get(name), dict):
            return read_media(answer[name])
    return read_media(answer)


def read_list(body: object) -> tuple[tuple[Media, ...], bool]:
    """Read a list of images, and whether there are more; what cannot be read is left out.

    Raises:
        ValueError: the answer is no object.
    """
    answer = _object(body)
    entries = answer.get("data")
    if not isinstance(entries, list):
        return (), False
    pagination = _or_empty(answer.get("pagination"))
    has_more = any(place.get(name) for place in (answer, pagination) for name in ("has_more", "next_cursor"))
    return tuple(media for entry in entries if (media := _readable(entry))), has_more


def read_usage(body: object) -> Usage:
    """Read the account's usage: a flat object, or one with `limits`.

    Raises:
        ValueError: it is neither.
    """
    answer = _object(body)
    inner = answer.get("data")
    usage = inner if isinstance(inner, dict) and "success" in answer else answer
    verified = usage.get("verified")
    is_verified = verified if isinstance(verified, bool) else None
    link = link_in(usage)
    plan = printable(usage["plan"], 40) if isinstance(usage.get("plan"), str) else ""
    if "limits" in usage or "object" in usage:
        images = _or_empty(_or_empty(usage.get("limits")).get("images"))
        left = _left(images.get("used"), images.get("limit"))
        return Usage("images", Quota(left, plan, link, is_proven=is_verified is True), is_verified, link)
    if not any(name in usage for name in ("plan", "uploads_used", "uploads_remaining", "verified")):
        raise ValueError("the answer does not tell the usage")
    return Usage("upload", Quota(_flat_left(usage), plan, link, is_proven=is_verified is True), is_verified, link)


def _url(media: Mapping[str, Any]) -> str:
    """Choose the field that holds the image: `url` means a page about it in one generation, the image in another."""
    is_image_object = media.get("object") == "image" or "page_url" in media
    url = media.get("url") if is_image_object else media.get("src")
    if isinstance(url, str):
        return url
    if not is_image_object and ("link" in media or "url" in media):
        raise HostError(
            Action.STOP,
            "img.pro's answer names a page about the image, but not the image itself",
            remedy="set `api` to `images` or `upload` in the options, or upgrade imghost",
            is_ambiguous=True,
        )
    raise ValueError("the answer has no image's address")


def _readable(entry: object) -> Media | None:
    try:
        return read_media(entry)
    except (ValueError, HostError):
        return None


def _flat_left(usage: Mapping[str, Any]) -> int | None:
    """Count the uploads left; none where the storage is full, whatever the number says."""
    if _left(usage.get("storage_used_bytes"), usage.get("storage_limit_bytes")) == 0:
        return 0
    left = usage.get("uploads_remaining")
    if isinstance(left, int) and not isinstance(left, bool) and left >= 0:
        return left
    return _left(usage.get("uploads_used"), usage.get("uploads_limit"))


def _left(used: object, limit: object) -> int | None:
    """Subtract; None where there is no limit, which hosts write as null, 0 or -1."""
    if not isinstance(used, int) or not isinstance(limit, int) or isinstance(limit, bool) or limit <= 0:
        return None
    return max(0, limit - used)


def _pixels(raw: object) -> int | None:
    return raw if isinstance(raw, int) and not isinstance(raw, bool) and raw > 0 else None


def _object(body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004
    return body


def _or_empty(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, dict) else {}
