"""What a run says while it uploads: what will be sent, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TextIO

from imghost.hosts import Host, may_store_twice
from imghost.models import IMPORT
from imghost.run.job import Progress, Step
from imghost.wording import many

if TYPE_CHECKING:
    from imghost.run.job import Job, Outcome, Upload
    from imghost.run.upload import UploadContext


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


def announce(uploads: Sequence[Upload], context: UploadContext, job: Job) -> None:
    """Say what will be sent before it is sent."""
    host = context.host
    doubtful = [it for it in uploads if (it.image.sha256, host.name, it.variant) in context.doubtful]
    if doubtful and may_store_twice(host):
        job.say(f"{len(doubtful)} images may be stored twice: an earlier run ended before {host.name} answered")
    if uploads and host.needs_network:
        size = sum(upload.image.bytes for upload in uploads)
        most = "" if host.limits.is_price_certain else "at most "
        cost = f" for {most}${host.limits.price * len(uploads):.2f}" if host.limits.price else ""
        job.say(f"uploading {many(len(uploads), 'image')} ({size:,} bytes) to {host.name}{cost}")


@contextmanager
def reporting(job: Job, host: Host, count: int) -> Iterator[Callable[[Outcome], None]]:
    """Tell what became of each upload, as the front end shows it; a host on this machine is done at once."""

    def say(outcome: Outcome) -> None:
        if outcome.record and outcome.is_new and host.needs_network:
            job.say(f"uploaded {_named(outcome.upload)} to {outcome.record.url}")

    if job.progress is None or not host.needs_network or not count:
        yield say
        return
    with job.progress(count) as step:
        yield lambda outcome: step(_named(outcome.upload))


def _named(upload: Upload) -> str:
    """Name an image; an external one without its query, which may hold what only the page's author should see."""
    path = upload.paths[0]
    return path.partition("?")[0] if upload.variant == IMPORT else path
