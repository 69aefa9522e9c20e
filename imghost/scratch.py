"""Folders for the time of a run, and the sweep of those that a killed run left.

A run holds a lock on its folder, which the system lets go of with the process: what has our name, is this user's
own and is held by nobody belongs to no run any more. Where folders cannot be locked nothing is ever swept.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

_PAYLOADS: Final = "imghost-payloads-"


@contextmanager
def payloads() -> Iterator[Path]:
    """Make a folder for what is to be sent, where the system has such; raises OSError."""
    parent = Path(tempfile.gettempdir())
    sweep(parent, _PAYLOADS)
    with folder(parent, _PAYLOADS) as made:
        yield made


@contextmanager
def folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a folder that is gone at the end, unless it was moved away; raises OSError."""
    made, held = _made(parent, prefix)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if held is not None:
            os.close(held)


def sweep(parent: Path, prefix: str) -> None:
    """Delete the folders with this prefix that runs of this user left when they were killed."""
    if sys.platform == "win32":
        return
    name = re.compile(re.escape(prefix) + r"[a-z0-9_]{8}")
    with suppress(OSError):
        for entry in list(os.scandir(parent)):
            if name.fullmatch(entry.name):
                _delete_unheld(Path(entry.path))


def _made(parent: Path, prefix: str) -> tuple[Path, int | None]:
    """Make a folder and lock it; another run may sweep it before the lock is there."""
    while True:
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            held = _locked(made)
        except FileNotFoundError:
            continue
        except OSError:
            made.rmdir()
            raise
        if held is None or _is_at(made, held):
            return made, held
        os.close(held)


def _locked(made: Path) -> int | None:
    """Lock a folder; gives its descriptor, or None where the system has no such locks."""
    if sys.platform == "win32":
        return None
    held = _opened(made)
    with suppress(OSError):  # some network file systems refuse, as they will to whoever sweeps
        fcntl.flock(held, fcntl.LOCK_EX)
    return held


def _delete_unheld(left: Path) -> None:
    """Delete a folder that is this user's own, and not a link to one, if no run holds it."""
    if sys.platform == "win32":
        return
    with suppress(OSError):
        held = _opened(left)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(held).st_uid == os.geteuid() and _is_at(left, held):
                shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(held)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _is_at(path: Path, held: int) -> bool:
    """Say whether an open folder still has this name."""
    with suppress(OSError):
        return os.path.samestat(os.lstat(path), os.fstat(held))
    return False
