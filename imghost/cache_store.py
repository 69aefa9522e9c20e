"""The cache, open for writing: one thread holds the database, and writes what has gathered in one step.

Imported at the first write only, since it brings diskcache.
"""

from __future__ import annotations

import errno
import os
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import diskcache

from imghost import files
from imghost.records.safe_diskcache import SETTINGS, DoubtError, checked_rows, quarantine
from imghost.safe_disk import SafeDisk

_NEW: Final = ".store-"
"""What a store is called while it is made."""
_PATIENCE: Final = 10.0
"""Seconds to wait for another process's write."""

Changes = Mapping[str, str | None]
"""Key -> value, or None to delete it."""


@dataclass(slots=True)
class _Request:
    """What one thread wants written, and what came of it."""

    changes: Changes
    done: threading.Event = field(default_factory=threading.Event)
    problem: str = ""


class Writer:
    """Writes rows so that they survive a crash once `write` returns; for any number of threads.

    A write to the disk costs the same for one row as for ten, so those that wait are written together.
    After a failure nothing more is tried: what a failed sync has lost cannot be known.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._guard = threading.Lock()
        self._waiting: SimpleQueue[_Request | None] | None = None
        self._thread: threading.Thread | None = None

    def write(self, changes: Changes) -> None:
        """Write and delete rows, all or none; raises OSError."""
        request = _Request(changes)
        with self._guard:
            self._running().put(request)
        request.done.wait()
        if request.problem:
            raise OSError(request.problem)

    def close(self) -> None:
        """Finish what waits and close the database; a later write opens it again."""
        with self._guard:
            waiting, thread, self._waiting, self._thread = self._waiting, self._thread, None, None
        if waiting is not None and thread is not None:
            waiting.put(None)
            thread.join(_PATIENCE)

    def _running(self) -> SimpleQueue[_Request | None]:
        if self._waiting is None:
            waiting: SimpleQueue[_Request | None] = SimpleQueue()
            thread = threading.Thread(target=_serve, args=(self._store, waiting), daemon=True)
            try:
                thread.start()
            except RuntimeError as problem:
                raise OSError(errno.ENOMEM, str(problem)) from None
            self._waiting, self._thread = waiting, thread
            weakref.finalize(self, waiting.put, None)
        return self._waiting


def _serve(store: Path, waiting: SimpleQueue[_Request | None]) -> None:
    """Write requests until the end is asked for; the database belongs to this thread alone."""
    database: Any = None
    problem = ""
    is_last = False
    while not is_last:
        requests, is_last = _gathered(waiting)
        if requests and not problem:
            try:
                database = _opened(store) if database is None else database
                _write(database, requests)
            except Exception as error:  # diskcache, SQLite and the system each raise their own
                problem = _reason(error)
        for request in requests:
            request.problem = problem
            request.done.set()
    if database is not None:  # its truth is its length, which a broken disk cannot tell
        with suppress(Exception):
            database.close()


def _gathered(waiting: SimpleQueue[_Request | None]) -> tuple[list[_Request], bool]:
    """Wait for a request, and take all that wait with it; say whether the end was asked for."""
    found = [waiting.get()]
    with suppress(Empty):
        while found[-1] is not None:
            found.append(waiting.get_nowait())
    return [request for request in found if request is not None], found[-1] is None


def _write(database: Any, requests: list[_Request]) -> None:
    with database.transact():
        for request in requests:
            for key, value in request.changes.items():
                if value is None:
                    database.delete(key)
                else:
                    database.set(key, value)


def _reason(error: Exception) -> str:
    if isinstance(error, diskcache.Timeout):
        return "another process holds it"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _opened(store: Path) -> Any:
    """Open the store, made or remade if need be; what is in doubt is put aside."""
    store = store.absolute()
    if os.path.expandvars(store) != str(store):
        # diskcache expands it, and would open another folder.
        raise OSError("its path has the name of an environment variable in it")
    prepare(store.parent)
    files.sweep_folders(store.parent, _NEW)
    if os.path.lexists(store):
        try:
            checked_rows(store, is_for_writing=True)
        except DoubtError:
            quarantine(store)
    if not os.path.lexists(store):
        _create(store)
    return _database(store)


def _create(store: Path) -> None:
    """Make a store aside and move it into place, so that nobody ever reads one half-made."""
    with files.private_folder(store.parent, _NEW) as new:
        try:
            _database(new).close()
            files.sync_folder(new)
            new.rename(store)
            files.sync_folder(store.parent)
        except OSError:
            if not store.exists():  # else another process was first
                raise


def _database(store: Path) -> Any:
    return diskcache.Cache(str(store), timeout=_PATIENCE, disk=SafeDisk, **SETTINGS)


def prepare(folder: Path) -> None:
    """Make the cache's folder, with a `.gitignore` of its own; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), (folder / ".gitignore").open("x", encoding="ascii") as ignored:
        ignored.write("*\n")
