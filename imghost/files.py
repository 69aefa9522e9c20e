"""Files: none outside the site is read, each is written whole or not at all, and a run has private folders."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, Final, overload

if sys.platform != "win32":
    import fcntl

_BUFFER: Final = 1 << 18
_HAS_OPENAT: Final = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_LINK_ERRORS: Final = {errno.ELOOP, errno.ENOTDIR, getattr(errno, "EMLINK", errno.ELOOP)}


STORE: Final = "store"
"""What the local store is called in its folder."""
OURS: Final = cache(partial(re.compile, r"\.gitignore$|\.?store\b|uploads\.lock$|imghost-pages-"))
"""Names that this program gives in that folder."""
_ANYBODYS: Final = frozenset({"CACHEDIR.TAG", ".gitkeep", ".DS_Store", "Thumbs.db"})
"""Files that say nothing of whose a folder is."""


def others_in(folder: Path) -> str:
    """Name a file that makes a folder somebody else's, so that no local store is begun there; empty where none does.

    Other programs' folders beside ours are usual, as in `.cache`; files are keys, sources or somebody's records.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_file()) for entry in entries)
    except OSError:
        return ""
    if any(name == STORE for name, _ in found):
        return ""
    return next((name for name, is_file in found if is_file and name not in _ANYBODYS and not OURS().match(name)), "")


def open_beneath(root: Path, relative: str) -> BinaryIO:
    """Open a regular file below a folder, whatever others do to the path meanwhile.

    A symbolic link is followed only to a target below the folder. Raises `OSError`: `PermissionError`
    for what is refused, with a text to show.
    """
    parts = _parts(relative)
    if not _HAS_OPENAT:
        return _open_checked(root, parts)
    try:
        descriptor = _descend(root, parts)
    except OSError as error:
        if error.errno not in _LINK_ERRORS:
            raise
        # A link, perhaps: its target is opened without following anything, so a swap cannot win.
        descriptor = _descend(root, _resolved(root, parts))
    return _regular(descriptor, relative)


def digest(source: BinaryIO) -> str:
    """Give the SHA-256 of the rest of an open file, in hexadecimal."""
    known = hashlib.sha256()
    while part := source.read(_BUFFER):
        known.update(part)
    return known.hexdigest()


class Window:
    """A long file seen through one short buffer.

    Memory stays flat, and a file that is cut short meanwhile gives short slices, where a memory map
    would kill the process. Slices give bytes; their bounds are not negative.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._start = 0
        self._buffer = b""

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, where: int) -> int: ...
    @overload
    def __getitem__(self, where: slice) -> bytes: ...
    def __getitem__(self, where: int | slice) -> int | bytes:
        if isinstance(where, int):
            return self._span(where, where + 1)[0]
        start, stop, _ = where.indices(self._size)
        return self._span(start, stop)

    def search(self, pattern: re.Pattern[bytes], start: int) -> int:
        """Give where a pattern of exactly two bytes is found next, or -1."""
        while start + 1 < self._size:
            part = self._span(start, min(start + _BUFFER, self._size))
            if match := pattern.search(part):
                return start + match.start()
            if len(part) < 2:
                break
            start += len(part) - 1  # the two bytes may straddle the border
        return -1

    def _span(self, start: int, stop: int) -> bytes:
        begin = start - self._start
        if begin < 0 or stop > self._start + len(self._buffer):
            self._file.seek(start)
            wanted = min(max(stop - start, _BUFFER), max(self._size - start, 0))
            if wanted > _BUFFER:
                return self._file.read(wanted)
            self._buffer, self._start, begin = self._file.read(wanted), start, 0
        return self._buffer[begin : begin + max(stop - start, 0)]


def _parts(relative: str) -> list[str]:
    """Split a path into its components, or refuse it."""
    parts = relative.split("/")
    if "\0" in relative or "\\" in relative:
        raise PermissionError("a path with a NUL or a backslash is not read")
    if not all(parts) or any(part in {".", ".."} for part in parts):
        raise PermissionError(f"{relative!r} is not a plain path below the site, so it is not read")
    if os.name == "nt" and ":" in relative:
        raise PermissionError(f"{relative!r} names a drive or a stream, so it is not read")
    try:
        os.fsencode(relative)
    except UnicodeEncodeError:
        raise PermissionError(f"{relative!r} is not a name that this file system can have") from None
    return parts


def _descend(root: Path, parts: list[str]) -> int:
    """Open component by component, following nothing."""
    common = os.O_RDONLY | os.O_CLOEXEC
    folder = os.open(root, common | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, common | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        # A FIFO without a writer would block the open for ever.
        return os.open(parts[-1], common | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)


def _resolved(root: Path, parts: list[str]) -> list[str]:
    """Follow the links of a path, and give the components of what they lead to below the folder."""
    top = root.resolve(strict=True)
    target = Path(os.path.realpath(top.joinpath(*parts), strict=True))
    if not target.is_relative_to(top) or target == top:
        raise PermissionError(f"{'/'.join(parts)!r} is a link out of the site, so it is not read")
    return list(target.relative_to(top).parts)


def _open_checked(root: Path, parts: list[str]) -> BinaryIO:
    """Open where the system cannot open relative to a folder: check the path before and after."""
    name = "/".join(parts)
    before = _resolved(root, parts)
    target = root.resolve(strict=True).joinpath(*before)
    if not stat.S_ISREG(target.lstat().st_mode):
        raise PermissionError(f"{name!r} is not a regular file")
    descriptor = os.open(target, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    file = _regular(descriptor, name)
    try:
        is_same = _resolved(root, parts) == before and os.path.samestat(os.fstat(descriptor), target.lstat())
    except OSError:
        is_same = False
    if not is_same:
        file.close()
        raise PermissionError(f"{name!r} changed while it was opened")
    return file


def _regular(descriptor: int, name: str) -> io.BufferedReader:
    """Make a file of a descriptor, unless it is a folder, a device, a FIFO or a socket."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PermissionError(f"{name!r} is not a regular file")
    return os.fdopen(descriptor, "rb")


ASIDE: Final = ".imghost-kept"
"""The folder in a site where the host's files there wait while a generator cleans up; a killed build leaves it."""
_STARTED: Final = time.time()
_OURS: Final = cache(partial(re.compile, r"\.imghost-[0-9a-f]{16}\.tmp"))
_BINARY: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def write_whole(path: Path, content: bytes | str | Iterable[bytes | memoryview], *, is_durable: bool) -> None:
    """Put content, or its pieces, in a file's place in one step, so that a reader sees the old file or the new one.

    The old file's permission bits stay. With `is_durable` the new file survives a loss of power once
    this returns. Text is written as UTF-8, undecodable bytes as they were. Raises OSError, after which
    the old file is unchanged and no temporary file is left.
    """
    whole = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    pieces = (whole,) if isinstance(whole, bytes) else whole
    mode = _mode(path)
    new = path.with_name(f".imghost-{os.urandom(8).hex()}.tmp")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
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


def write_over(path: Path | str, old: bytes, new: bytes, expected: Stamp) -> Stamp | None:
    """Write new content over a file's old, without a second file; gives its stamp then, None where it had changed.

    Making a file beside another takes ten to fifty times as long as writing over it, so this is for files that
    somebody writes again where a run was killed half-way. After an error the old content is written back. What is
    no plain file of one name is replaced whole. Raises OSError; HalfWrittenError where even that failed.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | _BINARY | getattr(os, "O_NOFOLLOW", 0))
    except OSError as problem:
        if problem.errno not in _LINK_ERRORS:
            raise
        return _replaced(path, new)
    try:
        seen = os.fstat(descriptor)
        if stamp_in(seen) != expected:
            return None
        if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1:
            _put_over(descriptor, old, new, path)
            return stamp_in(os.fstat(descriptor))
    finally:
        os.close(descriptor)
    return _replaced(path, new)


def _replaced(path: Path | str, new: bytes) -> Stamp | None:
    write_whole(Path(path), new, is_durable=False)
    return stamp(path)


class HalfWrittenError(OSError):
    """A file is neither what it was nor what it was to become."""


def _put_over(descriptor: int, old: bytes, new: bytes, path: Path | str) -> None:
    try:
        _write_from_start(descriptor, new)
    except BaseException as problem:  # a signal may end the run at any line, too
        try:
            _write_from_start(descriptor, old)
        except OSError as second:
            raise HalfWrittenError(
                second.errno, f"{second.strerror}, and it is half-written now", str(path)
            ) from problem
        raise


def _write_from_start(descriptor: int, content: bytes) -> None:
    """Make content all that an open file has; the file is never empty in between."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
    if os.fstat(descriptor).st_size > len(content):  # to shorten a file costs ten times the question, whatever its size
        os.ftruncate(descriptor, len(content))


def remedy(problem: OSError) -> str:
    """Say what a user can do about a file that cannot be written."""
    if problem.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return "make room"
    if problem.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "make it writable"
    if problem.errno == errno.ENOMEM:
        return "give the build more memory"
    return "mend that"


NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What a system says of a file on a drive that has no locks, as some network drives have none."""


def check_locks(path: Path) -> None:
    """Raise OSError where a file cannot be locked, so that nobody could know who else is at work on it."""
    if sys.platform == "win32":
        return
    # For writing, since NFS locks no other file.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o666)
    try:
        with suppress(BlockingIOError):  # somebody has locked it
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make a folder's own entries survive a loss of power; Windows does so by itself.

    A drive that knows no such call for folders, as SMB's, says EINVAL: what it keeps is the server's to see to.
    """
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def walk(top: Path | str, *, follows_links: bool = False) -> Iterator[tuple[str, list[str], list[str]]]:
    """List folders as `os.walk` does, which before Python 3.12 ends in an error a thousand folders deep."""
    waiting = [os.fspath(top)]
    while waiting:
        folder = waiting.pop()
        folders: list[str] = []
        names: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    (folders if entry.is_dir() else names).append(entry.name)
        except OSError:
            continue
        yield folder, folders, names
        below = [os.path.join(folder, name) for name in folders]  # noqa: PTH118 - a path as an object costs more
        waiting += [path for path in reversed(below) if follows_links or not os.path.islink(path)]  # noqa: PTH114


def sync() -> None:
    """Make everything written so far survive a loss of power, where the system has a call for that."""
    if hasattr(os, "sync"):
        os.sync()


def sweep_unfinished(folder: Path) -> None:
    """Delete what a killed run left half-written in one folder; files of this run's time stay."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if _OURS().fullmatch(entry.name):
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


# A run holds a lock on its folder, which the system lets go of with the process: what has our name, is this user's
# own and is held by nobody belongs to no run any more. Where folders cannot be locked nothing is ever swept.
_PAYLOADS: Final = "imghost-payloads-"


@contextmanager
def payload_folder() -> Iterator[Path]:
    """Make a folder for what is to be sent, where the system has such; raises OSError."""
    parent = Path(tempfile.gettempdir())
    sweep_folders(parent, _PAYLOADS)
    with private_folder(parent, _PAYLOADS) as made:
        yield made


@contextmanager
def private_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a folder that is gone at the end, unless it was moved away; raises OSError."""
    made, held = _made(parent, prefix)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if held is not None:
            os.close(held)


def sweep_folders(parent: Path, prefix: str) -> None:
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


def git_top(folder: Path) -> Path | None:
    """Find the git checkout's top level that holds a folder."""
    return next((path for path in (folder, *folder.parents) if (path / ".git").exists()), None)


def at_commit(path: Path, commit: str) -> bytes | None:
    """Read a file as a commit of git has it; None where the commit has no such file.

    Raises:
        OSError: git cannot be asked, or knows no such commit.
    """
    if _git(path.parent, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}") is None:
        raise OSError(f"git knows no commit {commit!r:.80} here; fetch it, or name another one")
    return _git(path.parent, "show", "--end-of-options", f"{commit}:./{path.name}")


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Ask git; None where it says no. Raises OSError where it cannot be asked."""
    import subprocess

    try:
        asked = subprocess.run(  # noqa: S603 - the user's own git, and names that follow an end of options
            ["git", *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,  # noqa: S607
        )  # fmt: skip
    except subprocess.SubprocessError as problem:
        raise OSError(f"git does not answer: {problem}") from None
    return asked.stdout if asked.returncode == 0 else None


def is_ignored(path: Path) -> bool:
    """Whether git ignores a file; no where there is no git to ask."""
    import subprocess

    try:
        asked = subprocess.run(  # noqa: S603 - a fixed command, and a path that follows `--`
            ["git", "check-ignore", "--quiet", "--", path.name],  # noqa: S607 - the user's own git
            cwd=path.parent, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False
    return asked.returncode == 0


Stamp = tuple[int, int, int]
"""A file's size in bytes, modification time in nanoseconds, and what tells one file from another there.

The last is the inode, with the time of the last change of any kind where the system keeps that: a copy over a file may
have its size and set its modification time, as builds that can be repeated do. Windows keeps the time of creation.
"""


def stamp(path: Path | str | int) -> Stamp | None:
    """Give what a change of a file, or of one that is open, would change; None where there is no regular file."""
    try:
        return stamp_in(os.stat(path))  # noqa: PTH116 - a Path costs more than the call, once an image
    except OSError:
        return None


def read_whole(file: str) -> bytes:
    """Read a file whose path is a text."""
    with open(file, "rb", buffering=0) as opened:  # noqa: PTH123 - a path as an object costs more
        return opened.read()


def is_settled(status: os.stat_result) -> bool:
    """Say whether every change of a file from now on must give it another stamp."""
    return is_long_ago(status.st_mtime_ns if os.name == "nt" else status.st_ctime_ns)


def is_long_ago(changed: int) -> bool:
    """Say whether what changes now gets another time than this, in nanoseconds.

    File systems count time in steps: a file that changes twice within one keeps its stamp.
    """
    step = 2_100_000_000 if changed % 1_000_000_000 == 0 else 50_000_000
    return abs(time.time_ns() - changed) > step


def stamp_in(status: os.stat_result) -> Stamp:
    """Give the stamp of a file that was asked already."""
    changed = 0 if os.name == "nt" else status.st_ctime_ns
    return status.st_size, status.st_mtime_ns, status.st_ino ^ changed


_DEEPEST: Final = 200
"""Brackets within brackets that no file or answer of ours has; what a parser bears may have been raised by others."""
_LONGEST_NUMBER: Final = 1_000
"""Digits of a whole number; reading many takes quadratic time."""


def strict_json(text: str) -> Any:
    """Read JSON as RFC 8259 means it to be written, where a stranger wrote it.

    Raises:
        ValueError: it is not JSON, repeats a key, is nested too deeply, or holds a number that is not finite or
            is endlessly long; the message completes a sentence that begins with what was read.
    """
    if _is_deep(text):
        raise ValueError("it is nested too deeply")
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_number, parse_float=_number, parse_int=_integer
        )
    except json.JSONDecodeError as problem:
        reason = f"it is not JSON ({problem.msg} at column {problem.colno})"
    except RecursionError:
        reason = "it is nested too deeply"
    raise ValueError(reason)


def _is_deep(text: str) -> bool:
    """Say whether brackets nest too deeply; those inside texts count, too, since nothing of ours has so many."""
    if text.count("[") + text.count("{") <= _DEEPEST:
        return False
    depth = 0
    for bracket in re.finditer(r"[][{}]", text):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > _DEEPEST:
            return True
    return False


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("it repeats a key")
    return fields


def _number(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("it holds a number that is not finite")
    return number


def _integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"it holds a number of more than {_LONGEST_NUMBER} digits")
    return int(text)
