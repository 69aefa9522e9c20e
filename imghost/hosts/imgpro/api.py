"""What img.pro's good answers say: an image, a list of images, what became of a deletion.

The API has changed its form several times under one address, so each answer's own shape decides how it
is read, and unknown fields are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from imghost.errors import Action, HostError
from imghost.hosts.answers import MOST, moment, unclear
from imghost.hosts.imgpro.options import NAME
from imghost.hosts.imgpro_refusals import link_in
from imghost.net.client import Answer
from imghost.wording import printable

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_CURSOR: Final = re.compile(r"[\x21-\x7e]{1,2000}")
_Read = TypeVar("_Read")


class Media(NamedTuple):
    """An image as the host describes it, its types checked; its URL is not yet."""

    url: str
    id: str
    width: int | None
    height: int | None
    expires: datetime | None
    has_failed: bool = False
    link: str = ""
    """Where the user can make the host keep it longer."""
    labels: Mapping[str, object] = MappingProxyType({})
    name: str = ""
    namespace: str = ""
    uploaded: datetime | None = None
    bytes: int | None = None


class Page(NamedTuple):
    """A part of a list of images; what cannot be read of it is left out."""

    media: tuple[Media, ...] = ()
    cursor: str = ""
    """What asks for the next part; empty where the host names none."""
    has_more: bool = False


def is_success(answer: Answer) -> bool:
    """Say whether an answer grants what was asked."""
    return 200 <= answer.status < 300


def is_id(text: str) -> bool:
    """Say whether a text can be an image's id, and stand in an address."""
    return _ID.fullmatch(text) is not None


def read(reader: Callable[[object], _Read], answer: Answer, lack: str, *, is_ambiguous: bool = True) -> _Read:
    """Read a success; one that cannot be read says nothing of what the host has stored.

    Raises:
        HostError: the answer `lack`s what it should have.
    """
    try:
        return reader(answer.json())
    except ValueError:
        problem = unclear(NAME, lack)
    problem.is_ambiguous = is_ambiguous
    raise problem


def read_media(body: object) -> Media:
    """Read an image from the answer to an upload.

    Raises:
        ValueError: the answer is none of the known forms.
        HostError: it names a page about the image, and no image.
    """
    answer = _object(body)
    inner = answer.get("data")
    media = inner if isinstance(inner, dict) and "id" not in answer else answer
    found = media.get("id")
    if not isinstance(found, str) or not is_id(found):
        raise ValueError("the answer has no image's id")
    return Media(
        url=_url(media),
        id=found,
        width=_count(media.get("width")),
        height=_count(media.get("height")),
        expires=moment(media.get("expires_at")),
        has_failed=media.get("status") == "failed",
        link=link_in(media) or link_in(answer),
        labels=_or_empty(media.get("labels")),
        name=_text(media.get("name")),
        namespace=_text(media.get("namespace")),
        uploaded=_uploaded(media),
        bytes=_count(media.get("bytes")) or _count(media.get("filesize")),
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


def read_list(body: object) -> Page:
    """Read a part of a list: `data` with a `pagination`, or `items` with a `cursor`.

    Raises:
        ValueError: the answer is no object.
    """
    answer = _object(body)
    lists = [answer[name] for name in ("data", "items") if isinstance(answer.get(name), list)]
    places = (answer, _or_empty(answer.get("pagination")))
    cursors = [place.get(name) for place in places for name in ("next_cursor", "cursor")]
    texts = [str(cursor) for cursor in cursors if isinstance(cursor, (str, int)) and not isinstance(cursor, bool)]
    cursor = next((text for text in texts if _CURSOR.fullmatch(text)), "")
    said = next((place["has_more"] for place in places if isinstance(place.get("has_more"), bool)), bool(cursor))
    return Page(tuple(media for entry in (lists[0] if lists else ()) if (media := _readable(entry))), cursor, said)


def read_batch(body: object) -> tuple[Mapping[str, str], int | None]:
    """Read what became of a deletion: why, for each id that is still there, and how many were deleted if it says.

    Raises:
        ValueError: the answer is no object.
    """
    answer = _object(body)
    errors = answer.get("errors")
    kept: dict[str, str] = {}
    for entry in errors if isinstance(errors, list) else ():
        one = _or_empty(entry)
        error = _or_empty(one.get("error"))
        if isinstance(one.get("id"), str) and error.get("code") != "not_found":
            said = [printable(error[name], 100) for name in ("code", "message") if isinstance(error.get(name), str)]
            kept[one["id"]] = f"{NAME} has not deleted it" + (f" ({': '.join(said)})" if said else "")
    count = answer.get("deleted")
    return kept, count if isinstance(count, int) and not isinstance(count, bool) else None


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


def _uploaded(media: Mapping[str, Any]) -> datetime | None:
    """Read since when an image is there; nothing depends on it, so nonsense is nothing."""
    try:
        return moment(media.get("created_at"))
    except ValueError:
        return None


def _text(raw: object) -> str:
    return raw if isinstance(raw, str) else ""


def _count(raw: object) -> int | None:
    return raw if isinstance(raw, int) and not isinstance(raw, bool) and 0 < raw < MOST else None


def _object(body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004
    return body


def _or_empty(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, dict) else {}
