"""Files that are there whole or not at all: written beside the old one, then put in its place."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_STARTED: Final = time.time()
_OURS: Final = re.compile(r"\.imghost-[0-9a-f]{16}\.tmp")
_BINARY: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def replace(path: Path, content: bytes | str, *, is_durable: bool) -> None:
    """Put content in a file's place in one step, so that a reader sees the old file or the new one.

    The old file's permission bits stay. With `is_durable` the new file survives a loss of power once
    this returns. Text is written as UTF-8, undecodable bytes as they were. Raises OSError, after which
    the old file is unchanged and no temporary file is left.
    """
    whole = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    mode = _mode(path)
    new = path.with_name(f".imghost-{secrets.token_hex(8)}.tmp")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(whole)
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        if mode is not None:
            new.chmod(mode)
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    if is_durable:
        sync_folder(path.parent)


def remedy(problem: OSError) -> str:
    """Say what a user can do about a file that cannot be written."""
    if problem.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return "make room"
    if problem.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "make it writable"
    if problem.errno == errno.ENOMEM:
        return "give the build more memory"
    return "mend that"


def sync_folder(folder: Path) -> None:
    """Make a folder's own entries survive a loss of power; Windows does so by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync() -> None:
    """Make everything written so far survive a loss of power, where the system has a call for that."""
    if hasattr(os, "sync"):
        os.sync()


def sweep(folder: Path) -> None:
    """Delete what a killed run left half-written in one folder; files of this run's time stay."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if _OURS.fullmatch(entry.name):
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and found.st_mtime < _STARTED:
                    Path(entry.path).unlink()


def _mode(path: Path) -> int | None:
    """Give the permission bits to keep; None for a new file, whose bits are the system's choice."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode) & 0o777
    except FileNotFoundError:
        return None
    if not os.access(path, os.W_OK):
        # The folder may allow the step all the same, but whoever protected the file meant it.
        raise PermissionError(13, "the file is read-only", str(path))
    return mode
