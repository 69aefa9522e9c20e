"""The plan's uploads to outcomes. The only module with threads.

A record is kept in the worker, the moment it is earned, so that nothing that stops the run loses it.
"""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from imghost.errors import Action, HostError, ImghostError, StateError
from imghost.models import IMPORT, Failure
from imghost.plan import Upload
from imghost.run.upload import store
from imghost.wording import printable
from imghost.work import Course, Outcome, Work

MORE: Final = "give the build more memory, or a smaller 'concurrency'"
_GRACE: Final = 5.0
"""Seconds that uploads under way get to finish when the run is stopped."""

Given = TypeVar("Given")
Found = TypeVar("Found")


def upload_all(uploads: Sequence[Upload], work: Work) -> Iterator[Outcome]:
    """Upload, and give each outcome as it comes.

    Raises StateError where a record could not be kept: then nothing further is sent.
    """
    course = Course(urls=dict(work.urls))
    first = list(uploads[:1]) if work.is_first_alone else []
    yield from _run(first, work, course)
    yield from _run(list(uploads[len(first) :]), work, course)
    if course.fatal:
        raise course.fatal


def _run(uploads: Sequence[Upload], work: Work, course: Course) -> Iterator[Outcome]:
    """Give the uploads to daemon threads, so that a stop does not wait for a host that hangs.

    An interrupt comes out once what was under way had its time, and what came of that was given.
    """
    waiting: queue.SimpleQueue[Upload | None] = queue.SimpleQueue()
    outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    for upload in uploads:
        waiting.put(upload)
    workers = _started(lambda: _serve(waiting, outcomes, work, course), min(work.concurrency, len(uploads)))
    for _ in workers:
        waiting.put(None)
    try:
        for _ in uploads:
            yield outcomes.get()
    except BaseException as end:
        course.interrupted.set()
        _await(workers)
        while isinstance(end, KeyboardInterrupt) and not outcomes.empty():
            yield outcomes.get()
        raise
    _await(workers)  # one may still be on its way out, which is no reason to stop what comes next


def _started(serve: Callable[[], None], count: int) -> list[threading.Thread]:
    """Start so many threads, or as many as the system gives; raises StateError where it gives none."""
    workers: list[threading.Thread] = []
    for _ in range(count):
        worker = threading.Thread(target=serve, daemon=True)
        try:
            worker.start()
        except RuntimeError as problem:
            if not workers:
                raise StateError(f"no more is uploaded, since the system says: {problem}; {MORE}") from None
            break
        workers.append(worker)
    return workers


def _await(workers: Sequence[threading.Thread]) -> None:
    deadline = time.monotonic() + _GRACE
    for worker in workers:
        worker.join(timeout=max(0.0, deadline - time.monotonic()))


def _serve(
    waiting: queue.SimpleQueue[Upload | None], outcomes: queue.SimpleQueue[Outcome], work: Work, course: Course
) -> None:
    while (upload := waiting.get()) is not None:
        outcome = _outcome(upload, work, course)
        outcomes.put(replace(outcome, repeats=course.repeats[upload.image.sha256]))


def _outcome(upload: Upload, work: Work, course: Course) -> Outcome:
    """Upload one image; whatever goes wrong with it is a value."""
    path = upload.paths[0]
    if upload.variant == IMPORT:
        path = path.partition("?")[0]  # a query may hold what only the page's author should see in a log
    if course.stopped:
        return Outcome(upload, stop=str(course.stopped))
    if course.fatal or course.interrupted.is_set():
        return Outcome(upload, stop=str(course.fatal or "the run was stopped"))
    try:
        record, is_new = store(upload, work, course)
        return Outcome(upload, record, is_new)
    except HostError as refusal:
        if refusal.action is Action.STOP:
            with course.guard:
                course.stopped = course.stopped or refusal
            return Outcome(upload, failure=Failure(path, refusal.reason, refusal.remedy), stop=str(refusal))
        return Outcome(upload, failure=Failure(path, refusal.reason, refusal.remedy))
    except StateError as problem:
        with course.guard:
            course.fatal = course.fatal or problem
        return Outcome(upload, failure=Failure(path, str(problem)), stop=str(course.fatal))
    except ImghostError as problem:
        return Outcome(upload, failure=Failure(path, printable(problem)))
    except (OSError, MemoryError) as problem:
        return Outcome(upload, failure=_uncopied(path, problem))
    except Exception as problem:  # a host by others may raise anything, and its text may hold a secret
        reason = f"the host {work.host.name!r} broke with {type(problem).__name__}"
        return Outcome(upload, failure=Failure(path, reason, "report it to the host's authors"))


def _uncopied(path: str, problem: OSError | MemoryError) -> Failure:
    """Tell why no copy of an image could be made to send: it cannot be read, or disk or memory take no more."""
    if isinstance(problem, MemoryError):
        return Failure(path, "there is too little memory for it", MORE)
    reason = f"no copy of it can be made to send: {printable(problem.strerror or problem)}"
    is_full = problem.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
    return Failure(path, reason, "make room, or set TMPDIR" if is_full else "build again")


def concurrently(function: Callable[[Given], Found], values: Sequence[Given], concurrency: int) -> list[Found]:
    """Apply a function that waits for the network to every value, some at a time; gives the results in order."""
    from concurrent.futures import ThreadPoolExecutor

    if not values:
        return []
    with ThreadPoolExecutor(min(concurrency, len(values))) as pool:
        return list(pool.map(function, values))
