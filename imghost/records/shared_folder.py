"""Shared records in a folder: for one machine with many repositories, or a network drive; the embedded default.

An entry is a file whose name ends in its generation, made whole elsewhere and linked to its name, which the file
system does in one step and refuses where the name is taken. To write over generation 3 is to make generation 4,
so that of two writers one loses, on a network drive, too.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from imghost.errors import SettingsError, StoreError
from imghost.files import remedy, sync_folder
from imghost.records.shared import MAX_TEXT, Entry
from imghost.threads import concurrently

WIDTH: Final = 32
"""Entries that are read at a time where one takes its time."""

_QUICK: Final = 0.002
"""Seconds an entry that a disk needs at most."""
_GENERATION: Final = re.compile(r"(.+)\.([1-9][0-9]{0,8})")
_KEY: Final = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
_UNFINISHED: Final = "unfinished"
_CLOCK: Final = "clock"


class FolderStore:
    """Keeps entries as files in a folder."""

    def __init__(self, url: str, environ: Mapping[str, str], timeout: float) -> None:  # noqa: ARG002 - no network
        self._root = _root(url)
        self.address = str(self._root)
        self._guard = threading.Lock()
        self._clock: int | None = None

    def get(self, key: str) -> Entry | None:
        """Read the newest generation of an entry."""
        path = self._path(key)
        for _ in range(10):
            try:
                generation = self._newest(path)
                return self._read(path, generation) if generation else None
            except FileNotFoundError:
                continue  # it was written anew, and swept, between the two steps
            except OSError as problem:
                raise self._failed(problem, "read") from None
        raise StoreError(f"the store {self.address} changes faster than it can be read", is_passing=True)

    def get_all(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """Read many entries: a disk answers one after the other as fast, and a network drive many at a time."""
        entries, started = list[Entry | None](), time.monotonic()
        while len(entries) < len(keys) and time.monotonic() - started <= _QUICK * (len(entries) + 1):
            entries.append(self.get(keys[len(entries)]))
        entries += concurrently(self.get, keys[len(entries) :], WIDTH)
        return {key: entry for key, entry in zip(keys, entries, strict=True) if entry}

    def put(self, key: str, text: str, tag: str | None) -> str | None:
        """Make an entry's next generation."""
        path = self._path(key)
        generation = int(tag or 0) + 1
        try:
            if generation > 1 and self._newest(path) != generation - 1:
                return None
            if not self._linked(path, generation, text.encode()):
                return None
            if self._newest(path) != generation:
                # Later ones are there, and those between were swept: this one came too late, and counts for nobody.
                _named(path, generation).unlink(missing_ok=True)
                return None
            self._sweep(path, generation)
        except OSError as problem:
            raise self._failed(problem, "write") from None
        return str(generation)

    def listed(self, prefix: str) -> Iterator[str]:
        """List the keys that begin with a prefix."""
        top = self._root / prefix.rpartition("/")[0]
        keys = set()
        for folder, _, names in os.walk(top, onerror=self._raise):
            for name in names:
                if match := _GENERATION.fullmatch(name):
                    keys.add((Path(folder) / match[1]).relative_to(self._root).as_posix())
        yield from sorted(key for key in keys if key.startswith(prefix) and not key.startswith(f"{_UNFINISHED}/"))

    def close(self) -> None:
        """Let go of the file that tells the time."""
        with self._guard:
            if self._clock is not None:
                os.close(self._clock)
                self._clock = None

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key) or ".." in key:
            raise StoreError(f"{key!r:.80} cannot be the name of an entry")
        return self._root / key

    def _newest(self, path: Path) -> int:
        """Find the newest generation; 0 where there is none."""
        newest = 0
        try:
            with os.scandir(path.parent) as entries:
                for entry in entries:
                    if entry.name.startswith(path.name) and (match := _GENERATION.fullmatch(entry.name)):
                        newest = max(newest, int(match[2]) if match[1] == path.name else 0)
        except FileNotFoundError:
            if not self._root.is_dir():
                reason = f"the store {self.address} is not there"
                raise StoreError(reason, "make the folder, or mount it; correct the option 'shared'") from None
        return newest

    def _read(self, path: Path, generation: int) -> Entry:
        with _named(path, generation).open("rb") as file:
            content = file.read(MAX_TEXT + 1)
            written = os.fstat(file.fileno()).st_mtime
        try:
            text = content.decode()
        except UnicodeDecodeError:
            text = ""
        return Entry(text, str(generation), self._now(written) - written)

    def _now(self, otherwise: float) -> float:
        """Tell the time by the file system's clock, which on a network drive is the server's.

        Where nothing may be written, nothing will be claimed either, and no claim is over.
        """
        with suppress(PermissionError):
            try:
                with self._guard:
                    if self._clock is None:
                        path = self._root / _CLOCK
                        self._clock = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
                os.utime(self._clock if os.utime in os.supports_fd else self._root / _CLOCK)
                return os.fstat(self._clock).st_mtime
            except OSError as problem:
                if problem.errno != errno.EROFS:
                    raise
        return otherwise

    def _linked(self, path: Path, generation: int, content: bytes) -> bool:
        """Make a generation's file, whole and durable; False where another writer has made it."""
        new = self._root / _UNFINISHED / secrets.token_hex(16)
        new.parent.mkdir(exist_ok=True)
        above = _to_be_made(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(new, _named(path, generation))
            except FileExistsError:
                # A network drive may have carried the call out, lost its answer, and refused its own repetition.
                return new.stat().st_nlink == 2
        finally:
            with suppress(OSError):
                new.unlink()
        # The file's own sync does not bring its name to the disk: without these a claim goes with the power.
        for folder in (path.parent, *above):
            sync_folder(folder)
        return True

    def _sweep(self, path: Path, generation: int) -> None:
        """Delete generations that nobody can write over any more; the last one before stays for who reads it now."""
        for old in range(generation - 2, 0, -1):
            try:
                _named(path, old).unlink()
            except OSError:
                return

    def _raise(self, problem: OSError) -> None:
        if not isinstance(problem, FileNotFoundError):
            raise self._failed(problem, "list")

    def _failed(self, problem: OSError, verb: str) -> StoreError:
        if problem.errno in {errno.EOPNOTSUPP, errno.EMLINK} or (problem.errno == errno.EPERM and verb == "write"):
            reason = f"the store {self.address} lies on a file system that knows no links"
            return StoreError(reason, "choose a folder on another one")
        passing = {errno.EAGAIN, errno.EINTR, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EBUSY}
        return StoreError(
            f"the store {self.address} cannot {verb}: {problem.strerror or problem}",
            remedy(problem),
            is_passing=problem.errno in passing,
            is_ambiguous=problem.errno in passing,
        )


def _to_be_made(folder: Path) -> list[Path]:
    """List the folders that get a new entry when this one is made with those above it; none where it is there."""
    above = []
    while not folder.exists():
        folder = folder.parent
        above.append(folder)
    return above


def _named(path: Path, generation: int) -> Path:
    return path.with_name(f"{path.name}.{generation}")


def _root(url: str) -> Path:
    """Read the folder's URL; raises SettingsError."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"} or parts.query or parts.fragment or not path.startswith("/"):
        raise SettingsError(f"option 'shared' should be like file:///mnt/shared/imghost, not {url!r:.80}", "shared")
    return Path(path[1:] if os.name == "nt" else path)
