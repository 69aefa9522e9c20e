"""Whether a URL serves what its record says, as a reader would get it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from imghost.errors import Action, HostError
from imghost.image.inspect import dimensions
from imghost.models import Record
from imghost.net.client import Client
from imghost.wording import printable

_PAUSES: Final = (0.0, 0.5, 1.5, 3.0, 5.0)
"""Seconds before each try: a CDN may need a moment to know a new image."""


def confirm(record: Record, client: Client, tries: int, wait: Callable[[float], bool] | None = None) -> None:
    """Fetch a record's URL: 200, an image, of the right size.

    `wait` sleeps and says whether to give up. Raises HostError; its action is FILE where the URL is dead or
    wrong, RETRY where it could not be known.
    """
    problem = HostError(Action.RETRY, "its URL could not be confirmed")
    for pause in _PAUSES[: max(tries, 1)]:
        if pause and (wait or _sleep)(pause):
            break
        try:
            answer = client.fetch(record.url)
        except HostError as refusal:
            problem = refusal
            continue
        if answer.status == 200:
            _check_image(record, answer.headers.get("content-type", ""), answer.body)
            return
        action = Action.FILE if answer.status in {404, 410} else Action.RETRY
        problem = HostError(action, f"its URL answers {answer.status}: {record.url}")
    action = Action.FILE if problem.action is Action.FILE else Action.RETRY
    raise HostError(action, problem.reason, remedy="the next build asks again, without a new upload")


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _check_image(record: Record, media_type: str, body: bytes) -> None:
    """Compare an answer with the record; raises HostError (FILE)."""
    if problem := difference(record.width, record.height, media_type, body):
        raise HostError(Action.FILE, f"its URL {problem[1]}: {record.url}", remedy="report it to the host")


def difference(width: int | None, height: int | None, media_type: str, body: bytes) -> tuple[str, str] | None:
    """Say how an answer of 200 differs from an image of this size: `dead` or `altered`, and the clause."""
    if not media_type.strip().lower().startswith("image/") or not body:
        return "dead", f"serves {printable(media_type, 60) or 'nothing'}, not an image"
    size = dimensions(body)
    if size and width and height and size != (width, height):
        return "altered", f"serves {size[0]} x {size[1]} pixels, not {width} x {height}"
    return None
