"""Asks a host again as its refusals allow: for how long, how often, and when to give it up for this run."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, TypeVar

from imghost.errors import Action, HostError
from imghost.work import Course, Work

MAX_WAIT: Final = 60.0
"""Seconds that one wait may take."""
MAX_WAITS: Final = 300.0
"""Seconds that all waits of a run may take together."""
BREAKER: Final = 3
"""How often in a row a host may be out of reach, or an image unconfirmed, before it is given up."""

Answered = TypeVar("Answered")


def patiently(ask: Callable[[], Answered], work: Work, course: Course | None = None) -> Answered:
    """Ask a host until it answers, as its refusals allow; raises the HostError that is left."""
    course = course or Course()
    for attempt in range(1, work.tries + 1):
        try:
            answered = ask()
        except HostError as refusal:
            _count_unreachable(refusal, course)
            if refusal.action in {Action.FILE, Action.STOP} or course.stopped:
                raise
            if attempt == work.tries:
                raise HostError(_last(refusal), refusal.reason, remedy=refusal.remedy or "build again later") from None
            _wait(refusal, attempt, work, course)
        else:
            course.unreachable = 0
            return answered
    raise HostError(Action.FILE, "no try was allowed", remedy="set retries to 1 or more")


def _last(refusal: HostError) -> Action:
    """Stop where the host still asks to wait after the last try: it would ask the next image, too."""
    return Action.STOP if refusal.action is Action.WAIT else Action.FILE


def _count_unreachable(refusal: HostError, course: Course) -> None:
    """Trip the breaker when the host was out of reach several times in a row."""
    is_unreachable = refusal.action is Action.RETRY and not refusal.is_ambiguous
    with course.guard:
        course.unreachable = course.unreachable + 1 if is_unreachable else 0
        if course.unreachable >= BREAKER and course.stopped is None:
            course.stopped = HostError(Action.STOP, refusal.reason, remedy=refusal.remedy)


def _wait(refusal: HostError, attempt: int, work: Work, course: Course) -> None:
    """Wait as told, or with full jitter; raises STOP where that would take too long."""
    pause = refusal.wait
    if pause is None:
        pause = random.uniform(0, min(8.0, 0.25 * 2**attempt))  # noqa: S311 - spreads load, guards nothing
    with course.guard:
        course.waited += pause
        is_too_long = pause > MAX_WAIT or course.waited > MAX_WAITS
    if is_too_long:
        raise HostError(
            Action.STOP, f"{refusal.reason} (asks to wait {pause:.0f} s)", remedy=refusal.remedy or "build again later"
        )
    sleep(pause, work, course)


def sleep(seconds: float, work: Work, course: Course) -> None:
    """Wait, unless the run is stopped meanwhile."""
    (work.sleep or course.interrupted.wait)(seconds)
