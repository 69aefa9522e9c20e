"""Reading a file of the site and nothing else: no link out of it, no device, no path that climbs."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO, Final, overload

_BUFFER: Final = 1 << 18
_HAS_OPENAT: Final = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_LINK_ERRORS: Final = {errno.ELOOP, errno.ENOTDIR, getattr(errno, "EMLINK", errno.ELOOP)}


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
