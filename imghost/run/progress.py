"""How far the uploads are, for somebody who watches: one bar on a terminal, a line for each image elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import TextIO

Step = Callable[[str], None]
"""Told once for each upload that has ended, with the image's path."""

Progress = Callable[[int], AbstractContextManager[Step]]
"""Opens the display for this many uploads; leaving it ends the display, however the uploads ended."""


def on_terminal(stream: TextIO | None, environ: Mapping[str, str]) -> Progress | None:
    """Give a bar where somebody watches a stream; a CI's log and a pipe get lines instead."""
    return partial(_bar, stream) if stream is not None and is_watched(stream, environ) else None


def is_watched(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    """Whether a stream is a terminal that can show progress on one line."""
    return is_terminal(stream) and environ.get("TERM") != "dumb" and not environ.get("CI")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal; one that was closed, before or since Python began, is none."""
    try:
        return stream is not None and stream.isatty()
    except (ValueError, OSError):
        return False


@contextmanager
def _bar(stream: TextIO, total: int) -> Iterator[Step]:
    from click import progressbar

    bar = progressbar(
        length=total,
        label="imghost: uploading",
        file=stream,
        show_pos=True,
        show_percent=False,
        width=0,  # as wide as the terminal, also after it is resized
    )
    # A terminal that went away must not end what it only showed.
    with suppress(OSError, ValueError):
        bar.render_progress()

    def step(_: str) -> None:
        with suppress(OSError, ValueError):
            bar.update(1)

    try:
        yield step
    finally:
        with suppress(OSError, ValueError):
            bar.render_finish()
