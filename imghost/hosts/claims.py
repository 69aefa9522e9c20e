"""What a host claims of an image, held against what was sent to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from imghost.errors import Action, HostError
from imghost.wording import printable

NEVER: Final = datetime.max.replace(tzinfo=UTC)
"""When an image ends that is permanent, to compare it with others."""
_DUE: Final = timedelta(days=14)

Size = tuple[int | None, int | None]
"""Width and height in pixels; None = unknown."""


def foreign(host: str, url: str) -> HostError:
    """Say that a URL is not one of the host's images."""
    return HostError(
        Action.FILE,
        f"{host} gave a URL that is not one of its images: {printable(url, 80)}",
        remedy="if it is right, name its host in `options.url_hosts`",
        is_ambiguous=True,
    )


def other_size(host: str, theirs: Size, ours: Size, *, is_ambiguous: bool) -> HostError | None:
    """Say that an image has other pixels than what was sent; a host may turn it as its orientation says."""
    if None in theirs + ours or theirs in {ours, ours[::-1]}:
        return None
    sizes = f"{theirs[0]} x {theirs[1]} pixels, not {ours[0]} x {ours[1]}"
    return HostError(Action.FILE, f"{host} has another image in this one's place: {sizes}", is_ambiguous=is_ambiguous)


def least_left(retention: timedelta) -> timedelta:
    """Give how long an image that is found again must still live to count: as long as a record that is not due."""
    return min(_DUE, retention / 4)
