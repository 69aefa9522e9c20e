"""The sizes and formats that img.pro serves of what it has, at addresses that follow from the record."""

from __future__ import annotations

from typing import Final, Literal

EDGES: Final = (("s", 320), ("m", 640), ("l", 1080))
"""The host's sizes, each with its shorter edge in pixels."""

Format = Literal["webp", "avif"]


def _with(url: str, name: str, value: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{name}={value}"


def converted(url: str, format: str) -> str:  # noqa: A002 - the option's name
    """Name the copy of an image, or of one of its sizes, in another format."""
    return _with(url, "format", format)


def variants(record_url: str, width: int, height: int) -> tuple[tuple[str, str], ...]:
    """Name the smaller copies of an image for a `srcset`: each one's URL, and its width like `426w`.

    Sizes as large as the image or larger are left out, since the host enlarges nothing.
    """
    shorter = min(width, height)
    return tuple(
        (_with(record_url, "size", size), f"{width * edge // shorter}w") for size, edge in EDGES if edge < shorter
    )
