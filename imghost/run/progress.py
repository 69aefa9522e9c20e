"""What a run says while it uploads: what will be sent, and how far it is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

from imghost.hosts import Host, may_store_twice
from imghost.models import IMPORT
from imghost.run.job import Progress, Step
from imghost.wording import lasted, many, money, part_of, size

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


USUAL: Final = 80
"""Columns of a terminal that does not say how wide it is."""


def columns_of(stream: TextIO | None) -> int | None:
    """Measure a terminal in columns; None = what is printed goes into a pipe or a file."""
    if stream is None or not is_terminal(stream):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL
    except (OSError, ValueError, AttributeError):  # what only looks like a terminal has no number
        return USUAL


@contextmanager
def _bar(stream: TextIO, images: int, total: int) -> Iterator[Step]:
    """Draw one line again and again, and leave none when it is done; a total of 0 = what is done has no bytes."""
    count = Count(images, total or images, time.monotonic(), has_bytes=bool(total))
    drawn = 0

    def draw(line: str) -> None:
        nonlocal drawn
        # A terminal that went away must not end what it only showed.
        with suppress(OSError, ValueError):
            stream.write(f"\r{line}{' ' * (drawn - len(line))}")
            stream.flush()
        drawn = len(line)

    def step(_: str, size: int) -> None:
        nonlocal count
        count = count.after(size if total else 1, time.monotonic())
        draw(bar_line(count, columns_of(stream) or USUAL))

    draw(bar_line(count, columns_of(stream) or USUAL))
    try:
        yield step
    finally:
        draw("")
        draw("\r")


_RATED: Final = 10.0
"""Seconds over which the rate is measured that tells the time left."""
_EARLY: Final = 3.0
"""Seconds in which a rate tells nothing yet; neither does less than a twentieth of the bytes."""


class Count(NamedTuple):
    """How far the uploads are: images and bytes, done and in all, by a clock's seconds."""

    images: int
    total: int
    started: float
    done: int = 0
    sent: int = 0
    past: tuple[tuple[float, int], ...] = ()
    """When how many bytes were sent, over the last seconds; the first one is older, if there is one."""
    has_bytes: bool = True
    """False where each image counts alike."""

    def after(self, size: int, now: float) -> Count:
        """Count one image more."""
        past = (*(self.past or ((self.started, 0),)), (now, self.sent + size))
        while len(past) > 1 and past[1][0] <= now - _RATED:
            past = past[1:]
        return self._replace(done=self.done + 1, sent=self.sent + size, past=past)

    @property
    def left(self) -> float | None:
        """Estimate the seconds that are left by the rate of the last ones; None = too early to tell."""
        if not self.past or self.sent >= self.total or self.sent * 20 < self.total:
            return None
        (since, before), (now, _) = self.past[0], self.past[-1]
        if now - self.started < _EARLY or self.sent == before:
            return None
        return (self.total - self.sent) * (now - since) / (self.sent - before)


def bar_line(count: Count, width: int) -> str:
    """Write how far the uploads are in one line that fits; a narrow one says less."""
    counted = f"{count.done:>{len(str(count.images))}}/{count.images}"
    left = count.left
    rest = [counted]
    if count.has_bytes:
        rest.append(part_of(count.sent, count.total))
    if left is not None:
        rest.append(f"{lasted(left)} left")
    while len(rest) > 1 and _room(rest, width) < _BAR[0]:
        rest.pop()
    room = max(1, min(_BAR[1], _room(rest, width)))
    full = room * count.done // count.images
    return f"{_LABEL}[{'#' * full}{'-' * (room - full)}]{_GAP}{'   '.join(rest)}"


_LABEL: Final = "imghost: "
_GAP: Final = "  "
_BAR: Final = (8, 26)
"""Columns of the bar, at least and at most."""


def _room(rest: Sequence[str], width: int) -> int:
    # The last column stays free: some terminals go on to the next line where it is written.
    return width - 1 - len(_LABEL) - len("[]") - len(_GAP) - len("   ".join(rest))


@contextmanager
def log_lines(
    say: Callable[[str], None],
    images: int,
    total: int,
    clock: Callable[[], float] = time.monotonic,
    words: tuple[str, str] = ("uploading", "image"),
) -> Iterator[Step]:
    """Say now and then how far it is, where a log keeps every line; `words` are what is done, and to what."""
    done = sent = 0
    last = clock()

    def step(_: str, size: int) -> None:
        nonlocal done, sent, last
        done, sent = done + 1, sent + size
        if done < images and clock() - last >= SECONDS_A_LINE:
            last = clock()
            taken = f", {part_of(sent, total)}" if total else ""
            say(f"{words[0]}: {done:,} of {many(images, words[1])}{taken}")

    yield step


SECONDS_A_LINE: Final = 10.0


def announce(uploads: Sequence[Upload], context: UploadContext, job: Job) -> None:
    """Say what will be sent before it is sent."""
    host = context.host
    doubtful = [it for it in uploads if (it.image.sha256, host.name, it.variant) in context.doubtful]
    if doubtful and may_store_twice(host):
        twice = f"{many(len(doubtful), 'image')} may be stored twice"
        job.say(f"{twice}: an earlier run ended before {host.name} answered")

    if uploads and host.place == "network":
        total = sum(upload.image.bytes for upload in uploads)
        most = "" if host.limits.is_price_certain else "at most "
        cost = f" for {most}{money(host.limits.price * len(uploads))}" if host.limits.price else ""
        job.say(f"uploading {many(len(uploads), 'image')} ({size(total)}) to {host.name}{cost}")


@contextmanager
def reporting(job: Job, host: Host, uploads: Sequence[Upload]) -> Iterator[Callable[[Outcome], None]]:
    """Show what became of each upload as the front end shows it; a host on this machine is done at once."""
    if host.place != "network" or not uploads:
        yield lambda _: None
        return
    shown = job.progress or partial(log_lines, job.say)
    with shown(len(uploads), sum(upload.image.bytes for upload in uploads)) as step:

        def tell(outcome: Outcome) -> None:
            if outcome.record and outcome.is_new:
                job.detail(f"uploaded {_named(outcome.upload)} to {outcome.record.url}")
            step(_named(outcome.upload), outcome.upload.image.bytes)

        yield tell


def _named(upload: Upload) -> str:
    """Name an image; an external one without its query, which may hold what only the page's author should see."""
    path = upload.paths[0]
    return path.partition("?")[0] if upload.variant == IMPORT else path
