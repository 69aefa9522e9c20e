"""A process of its own that sends images while the generator renders: a thread beside it would wait at every step.

Python runs one thread at a time, and one that renders lets another have its turn two hundred times a second; an upload
needs some twenty turns. So the uploads have a processor, and an interpreter, of their own.

The process is given uploads on its standard input, and writes what became of them to its standard output, both
pickled: nobody else can write there. Where the input ends before its time, as when the generator is killed, it begins
no other, finishes what is under way and ends.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Final

from imghost.environment import Leave
from imghost.errors import HostError, ImghostError, StateError
from imghost.files import STORE
from imghost.hosts import Host, Notes, Quota
from imghost.models import NamedTuple
from imghost.net import Client
from imghost.records import lock as locks
from imghost.records.cache import Cache, exclusive
from imghost.run.job import Job, Outcome, Plan, Planned, Sent
from imghost.run.plan import open_host
from imghost.run.publish import context_of, ending_in_order, workshop
from imghost.settings import Settings
from imghost.site.page_map import PageMap
from imghost.site.survey import Survey
from imghost.threads import Worker
from imghost.wording import printable

if TYPE_CHECKING:
    from imghost.run.job import Upload
    from imghost.run.upload import UploadContext

_PROGRAM: Final = "import sys; sys.path[:] = {path!r}; from imghost.run.sending import serve; serve()"


class Given(NamedTuple):
    """What the process has to know beside the uploads."""

    site: Path
    settings: Settings
    environ: Mapping[str, str]


class Room(NamedTuple):
    """How many images the site may have to send: where the account has no room for all, the run has to choose."""

    images: int


class Receipt(NamedTuple):
    """A line that has to be printed, since the lock could not be written."""

    line: str


class Ended(NamedTuple):
    """The process has done what it was to do, or could not."""

    sent: Sent = Sent({})
    """All but the outcomes, which were told one by one."""
    problem: str = ""
    """Why it ended before its time; empty where it did not."""


class Sender:
    """The process, as who renders sees it. Raises OSError where the system gives none."""

    def __init__(self) -> None:
        # A file takes what is written though nobody reads it yet. An interrupt from the keyboard is not for the
        # process: who gives it work tells it when there is no more.
        others: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}
        with ExitStack() as held:
            self._answers: IO[bytes] = held.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(  # noqa: S603 - this Python
                [sys.executable, "-c", _PROGRAM.format(path=sys.path)],
                stdin=subprocess.PIPE,
                stdout=self._answers,
                stderr=subprocess.DEVNULL,
                **others,
            )
            held.pop_all()
        assert self._process.stdin
        self._work = self._process.stdin

    def give(self, work: Given | Room | Upload | None) -> None:
        """Hand over what it has to know, then one upload after another; None = that was all, and is to be sent.

        Raises OSError once it is gone.
        """
        pickle.dump(work, self._work)
        self._work.flush()

    def kill(self) -> None:
        """End it at once, where it was given no upload."""
        self._process.kill()

    def end(self, patience: float | None = None) -> tuple[Sent, tuple[str, ...], str]:
        """Wait so many seconds for its end; gives what it sent, receipts to print, and why it ended before its time.

        Where it was not told that it has been given all, it begins nothing more.
        """
        with suppress(OSError):  # it is gone, with what it was not given
            self._work.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        with self._answers as answers:
            return _read(answers)


def _read(answers: IO[bytes]) -> tuple[Sent, tuple[str, ...], str]:
    """Put together what the process has written."""
    outcomes: dict[tuple[str, str], Outcome] = {}
    receipts: list[str] = []
    end = Ended(problem="it was ended")
    answers.seek(0)
    with suppress(EOFError, pickle.UnpicklingError):  # one that was killed while it wrote
        while True:
            answer = pickle.load(answers)  # noqa: S301 - from a process of ours, by a file without a name
            if isinstance(answer, Ended):
                end = answer
            elif isinstance(answer, Outcome):
                outcomes[answer.upload.image.sha256, answer.upload.variant] = answer
            else:
                receipts.append(answer.line)
    return end.sent._replace(outcomes=MappingProxyType(outcomes)), tuple(receipts), end.problem


def may_send() -> bool:
    """Say whether a process of Python's can be started: a program that brings its own has none."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def is_known(settings: Settings) -> bool:
    """Say whether there is anything that may know of this project's uploads: a lock, or a local store."""
    return settings.lock.exists() or os.path.lexists(settings.cache_dir / STORE)


class _Work:
    """What comes in on standard input."""

    def __init__(self, stream: IO[bytes]) -> None:
        from imghost.run.upload import Feed

        self.feed = Feed()
        self.room = 0
        self.is_over = False
        """Whether no further upload is to be begun."""
        self.has_begun = threading.Event()
        """Set with the first upload, or the end."""
        self._stream = stream

    def next(self) -> Any:
        """Wait for what comes next; raises EOFError where nothing does, or UnpicklingError."""
        return pickle.load(self._stream)  # noqa: S301 - from who started this process

    def read(self) -> None:
        """Take what comes after the first, until it ends."""
        try:
            while work := self.next():
                if isinstance(work, Room):
                    self.room = work.images
                else:
                    self.feed.give(work)
                    self.has_begun.set()
        except (EOFError, pickle.UnpicklingError):  # who gives it stops, or was killed
            self.is_over = True
        finally:
            self.feed.close()
            self.has_begun.set()


def serve() -> None:
    """Be that process, from its first step to its last."""
    answers = os.fdopen(os.dup(1), "wb")
    sys.stdout = sys.stderr  # what a host's own code prints is no answer

    def tell(answer: Outcome | Receipt | Ended) -> None:
        pickle.dump(answer, answers)
        answers.flush()

    with ending_in_order():
        try:
            tell(_sent(_Work(sys.stdin.buffer), tell))
        except EOFError:  # there is nothing to do
            tell(Ended())
        except (ImghostError, OSError) as problem:  # the run says what it is
            tell(Ended(problem=printable(problem)))
        except Exception as problem:  # a host by others may raise anything, and its text may hold a secret
            tell(Ended(problem=f"it broke with {type(problem).__name__}"))


def _sent(work: _Work, tell: Callable[[Outcome | Receipt], None]) -> Ended:
    """Send what comes, telling what becomes of each; raises what stands in the way, and EOFError without any work."""
    given: Given = work.next()
    Worker(work.read).start()
    job = Job(given.site, given.settings, given.environ, receipt=lambda line: tell(Receipt(line)))
    with ExitStack() as held:
        client = held.enter_context(Client(job.settings.timeout, environ=job.environ))
        host = open_host(job, None, client)
        _load(client)
        work.has_begun.wait()
        began = time.perf_counter()
        # What another build sends, or has sent meanwhile, the run goes by.
        is_alone = work.feed.count and held.enter_context(exclusive(job.settings.cache_dir, wait=0))
        if not is_alone or host is None or is_known(job.settings):
            return Ended()
        locks.check_place(job.settings.lock)
        cache = held.enter_context(Cache.load(job.settings.cache_dir))
        cache.expect()
        folder = held.enter_context(workshop())
        lock = held.enter_context(locks.opened(job.settings.lock, job.now()))
        context = context_of(host, _nothing_known(job.site, host), job, client, cache, folder, lock)
        stop, problem = _served(work, replace(context, is_over=lambda: work.is_over), tell)
        notes = host.notes() if isinstance(host, Notes) else ()
        seconds = time.perf_counter() - began
        sent = Sent({}, stop, frozenset(context.told), notes, client.requests, seconds)
        return Ended(sent, problem)


def _load(client: Client) -> None:
    """Load what uploads need, before the first one comes."""
    import imghost.image.payload
    import imghost.run.upload  # noqa: F401

    client.load()


def _served(work: _Work, context: UploadContext, tell: Callable[[Outcome], None]) -> tuple[str, str]:
    """Send what comes, where all may go; gives why no more is to be sent, and what went wrong on this side."""
    from imghost.run.upload import upload_as_given, with_retries

    try:
        quota = with_retries(context.host.ready, context)
    except HostError:
        return "", ""  # the run asks, and says so
    if not _has_room(quota, work.room):
        return "", ""
    stop = ""
    context = replace(context, is_first_alone=not quota.is_proven, allowance=quota.allowance)
    try:
        for outcome in upload_as_given(work.feed, context):
            if outcome.stop:
                stop = outcome.stop  # of what it stopped nothing else is told
            else:
                tell(outcome)
    except StateError as problem:  # the run finds so, too, and says it
        return "", printable(problem)
    return stop, ""


def _has_room(quota: Quota, count: int) -> bool:
    """Say whether an account has room for all images of a site: else the run has to choose."""
    return quota.remaining is None or quota.remaining >= count


def _nothing_known(site: Path, host: Host) -> Planned:
    """Make a plan in which nothing is known of any image."""
    nothing: frozenset[str] = frozenset()
    return Planned(
        Survey(site, nothing, (), ()), PageMap(), (), (), {}, {}, locks.Lock(), host, Leave(may_upload=True),
        Plan({}, (), MappingProxyType({})), (), {},
    )  # fmt: skip
