"""The local store: records as they are earned, uploads under way, and digests of files that did not change.

The lock is the authority; this is a hint and a journal. It is read once into memory, through a check, and
diskcache is opened only to write.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imghost.cache_check import KEY, MAX_VALUE, SETTINGS, DoubtError, checked_rows
from imghost.errors import StateError
from imghost.lock import parse_record, render_record
from imghost.models import Facts, Record
from imghost.pages import Stamp

if TYPE_CHECKING:
    from imghost.safe_disk import Store

_FOLDER: Final = "store"
_SPARE: Final = 2000
"""Digests of files that this run did not see, kept at most: enough for a second site, not for ever."""

Known = tuple[str, Facts] | str
"""What is known of a file: its digest and facts, or why it is no image."""


@dataclass(slots=True)
class Cache:
    """One run's view of the local store."""

    folder: Path
    warnings: tuple[str, ...] = ()
    _rows: dict[str, str] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _new: dict[str, str] = field(default_factory=dict)
    _store: Store | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def load(cls, folder: Path) -> Cache:
        """Read the store; one that is in doubt is put aside, with a warning. Creates nothing."""
        store = folder / _FOLDER
        try:
            if not store.is_symlink() and not store.exists():
                return cls(folder)
            return cls(folder, _rows=checked_rows(store))
        except (DoubtError, OSError) as doubt:
            reason = doubt if isinstance(doubt, DoubtError) else doubt.strerror
            return cls(folder, warnings=(_put_aside(store, str(reason)),))

    def records(self) -> tuple[Record, ...]:
        """List the records that were earned, here or by an earlier run."""
        found = []
        for key, value in self._rows.items():
            if key.startswith("record:"):
                with contextlib.suppress(ValueError):
                    found.append(parse_record(value))
        return tuple(found)

    def keep(self, record: Record) -> None:
        """Keep a record, durably; raises StateError."""
        key = _key("record", *record.key)
        self._put(key, render_record(record), "an upload's record")
        self._drop(_key("intent", *record.key))

    def intend(self, sha256: str, host: str, variant: str) -> None:
        """Note, durably, that an upload is about to be tried; raises StateError, and then nothing may be sent."""
        self._put(_key("intent", sha256, host, variant), json.dumps([sha256, host, variant]), "an upload")

    def intents(self) -> frozenset[tuple[str, str, str]]:
        """List the uploads (digest, host, variant) that were tried and whose end is not known."""
        found = set()
        for key, value in self._rows.items():
            if key.startswith("intent:"):
                with contextlib.suppress(ValueError):
                    sha256, host, variant = json.loads(value)
                    if _key("record", sha256, host, variant) not in self._rows:
                        found.add((str(sha256), str(host), str(variant)))
        return frozenset(found)

    def facts(self, path: str, now: Stamp) -> Known | None:
        """Tell what is known of a file that still has this stamp."""
        key = _key("file", path)
        value = self._new.get(key) or self._rows.get(key)
        if value is None:
            return None
        self._seen.add(key)
        try:
            size, modified, inode, known = json.loads(value)
            if (size, modified, inode) != now:
                return None
            if isinstance(known, str):
                return known
            sha256, *facts = known
            return sha256, Facts(*facts)
        except (ValueError, TypeError):
            return None

    def remember_facts(self, path: str, now: Stamp, known: Known) -> None:
        """Note what a file is; written by `save`."""
        facts: object = known
        if not isinstance(known, str):
            sha256, found = known
            facts = [sha256, found.media_type, found.width, found.height, found.is_animated, found.has_metadata]
        key = _key("file", path)
        self._seen.add(key)
        self._new[key] = json.dumps([*now, facts])

    def save(self) -> None:
        """Write the new digests in one transaction, and forget files that are long gone; raises OSError."""
        if not self._new:
            return
        gone = [key for key in self._rows if key.startswith("file:") and key not in self._seen]
        gone = gone[_SPARE:]
        try:
            self._opened().write(self._new, gone)
        except Exception as problem:
            raise OSError(0, f"the store failed ({type(problem).__name__})") from problem
        self._rows |= self._new
        self._new = {}

    def close(self) -> None:
        """Close the store if it was opened."""
        if self._store:
            self._store.close()
            self._store = None

    def _put(self, key: str, value: str, what: str) -> None:
        try:
            with self._guard:
                self._opened().write({key: value}, ())
                self._rows[key] = value
        except Exception as problem:
            raise StateError(
                f"{what} cannot be noted in {self.folder} ({type(problem).__name__}); "
                "make room or change its mode: nothing further is uploaded"
            ) from None

    def _drop(self, key: str) -> None:
        with self._guard:
            self._rows.pop(key, None)
            if self._store:
                with contextlib.suppress(Exception):  # a left-over intent is only a remark in the next run
                    self._store.write({}, [key])

    def _opened(self) -> Store:
        if self._store is None:
            from imghost.safe_disk import Store

            make_folder(self.folder)
            self._store = Store(self.folder / _FOLDER, SETTINGS, KEY, MAX_VALUE)
        return self._store



def make_folder(folder: Path) -> None:
    """Make the store's folder, which git ignores."""
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", "utf-8")


def _key(kind: str, *parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return f"{kind}:{hashlib.sha256(text).hexdigest()}"


def _put_aside(store: Path, reason: str) -> str:
    for number in range(1, 1000):
        aside = store.with_name(f"{store.name}.quarantined-{number}")
        if not aside.exists() and not aside.is_symlink():
            break
    try:
        store.rename(aside)
    except OSError:
        return f"the local store {store} is not used: {reason}; delete it"
    return f"the local store was put aside as {aside.name}: {reason}; the lock's records are used"


@contextlib.contextmanager
def exclusive(folder: Path, wait: float = 30.0) -> Iterator[bool]:
    """Hold the lock around upload and record; gives False where another build still has it after `wait` seconds.

    It frees itself when its holder is killed. Raises StateError where the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        make_folder(folder)
        held = FileLock(folder / "build.lock", timeout=wait)
        try:
            held.acquire()
        except Timeout:
            yield False
            return
    except OSError as problem:
        reason = problem.strerror or os.strerror(problem.errno or 0)
        raise StateError(f"{folder} cannot be written: {reason}; change its mode or the option 'cache_dir'") from None
    try:
        yield True
    finally:
        held.release()
