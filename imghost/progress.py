"""How far the uploads are, for somebody who watches: one bar on a terminal, a line for each image elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TextIO

Step = Callable[[str], None]
"""Told once for each upload that has ended, with the image's path."""

Progress = Callable[[int], AbstractContextManager[Step]]
"""Opens the display for this many uploads; leaving it ends the display, however the uploads ended."""


def on_terminal(stream: TextIO, environ: Mapping[str, str]) -> Progress | None:
    """Give a bar where somebody watches a stream; a CI's log and a pipe get lines instead."""
    return partial(_bar, stream) if is_watched(stream, environ) else None


def is_watched(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a stream is a terminal that can show progress on one line."""
    return stream.isatty() and environ.get("TERM") != "dumb" and not environ.get("CI")


@contextmanager
def _bar(stream: TextIO, total: int) -> Iterator[Step]:
    from click import progressbar

    with progressbar(
        length=total,
        label="imghost: uploading",
        file=stream,
        show_pos=True,
        show_percent=False,
        width=0,  # as wide as the terminal, also after it is resized
    ) as bar:
        yield lambda _: bar.update(1)
