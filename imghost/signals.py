"""Signals that end a run in order: what is under way may finish, and what was earned is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

_ENDING: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let a request to end interrupt what runs inside, as the keyboard does; a second one ends it at once.

    A signal that is ignored, as under nohup, stays so. Only the main thread can be interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = [signum for signum in _ENDING if signal.getsignal(signum) is signal.SIG_DFL]
    for signum in usual:
        signal.signal(signum, _interrupt)
    try:
        yield
    finally:
        for signum in usual:
            signal.signal(signum, signal.SIG_DFL)


def _interrupt(signum: int, _: FrameType | None) -> NoReturn:
    signal.signal(signum, signal.SIG_DFL)
    raise KeyboardInterrupt(signum)


def status_of(interrupt: KeyboardInterrupt) -> int:
    """Give the exit status that shells give a command which a signal ended."""
    return 128 + (interrupt.args[0] if interrupt.args else int(signal.SIGINT))
