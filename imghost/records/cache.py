"""The local store: records as they are earned, uploads under way, and digests of files that did not change.

The lock is the authority; this is a hint and a journal. It is read once into memory, through a check, and
nothing of it is opened for writing, or even made, before the first write.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imghost import files
from imghost.errors import LockError, StateError
from imghost.files import Stamp
from imghost.models import MEDIA_TYPES, Facts, Record
from imghost.record_lines import parse_record, render_record, whole

if TYPE_CHECKING:
    from imghost.cache_store import Changes, Writer

Known = tuple[str, Facts] | str
"""What is known of a file: its digest and facts, or why it is no image."""
Upload = tuple[str, str, str]
"""An upload under way: digest, host, variant."""

_STORE: Final = "store"
_LOCK: Final = "uploads.lock"
_SPARE: Final = 1000
"""Digests of files unseen in a run that are kept in any case: a second, smaller site shares the store."""
_FACTS: Final = re.compile(r"([0-9a-f]{64}) ([a-z]+/[a-z0-9.+-]+) (-|[0-9]{1,10}) (-|[0-9]{1,10}) ([01])([01])")
_OBJECTION: Final = "! "
_MAX_OBJECTION: Final = 1000


class Cache:
    """One run's view of the local store; safe to share between threads."""

    warnings: tuple[str, ...]
    """What the user should know of a store that was not used."""
    is_writable: bool
    """False where the store cannot be written, so that nothing can be uploaded."""

    def __init__(self, folder: Path, rows: dict[str, str], warnings: tuple[str, ...], *, is_writable: bool) -> None:
        self.warnings = warnings
        self.is_writable = is_writable
        self._folder = folder
        self._rows = rows
        self._seen: set[str] = set()
        self._new: set[str] = set()
        self._guard = threading.Lock()
        self._writer: Writer | None = None

    @classmethod
    def load(cls, folder: Path) -> Cache:
        """Read the store; one that is in doubt is put aside. A bad store is a warning, never an error."""
        store = folder / _STORE
        is_writable = _is_writable(store)
        if not os.path.lexists(store):
            return cls(folder, {}, (), is_writable=is_writable)
        from imghost.records.safe_diskcache import DoubtError, UnreadableError, checked_rows, quarantine

        try:
            return cls(folder, checked_rows(store), (), is_writable=is_writable)
        except UnreadableError as problem:
            warning = f"the local store {store} is not used: {problem}; make it readable or delete it"
        except DoubtError as doubt:
            try:
                aside = quarantine(store)
            except OSError as problem:
                reason = f"{doubt}, and it cannot be put aside: {problem.strerror or problem}"
                warning = f"the local store {store} is not used: {reason}; delete it"
            else:
                warning = f"the local store was put aside as {aside}: {doubt}; delete that, the lock has what counts"
                return cls(folder, {}, (warning,), is_writable=is_writable)
        return cls(folder, {}, (warning,), is_writable=False)

    def records(self) -> tuple[Record, ...]:
        """List the records that were earned on this machine, whether or not the lock has them."""
        found: list[Record] = []
        for key, value in self._of_kind("record:"):
            with suppress(ValueError):
                record = parse_record(value)
                if _key("record", *record.key) == key:
                    found.append(record)
        return tuple(found)

    def keep(self, record: Record) -> None:
        """Keep a record, and end its upload; once this returns it survives a crash. Raises StateError."""
        try:
            line = render_record(whole(record))
        except LockError as problem:
            raise StateError(str(problem)) from None
        changes = {_key("record", *record.key): line, _key("intent", *record.key): None}
        self._write(changes, f"the record of {record.sha256[:12]} cannot be kept in")

    def intents(self) -> tuple[Upload, ...]:
        """List the uploads that were begun and whose end is not known."""
        found: list[Upload] = []
        for key, value in self._of_kind("intent:"):
            with suppress(ValueError, TypeError):
                sha256, host, variant = json.loads(value)
                if _key("intent", sha256, host, variant) == key:
                    found.append((sha256, host, variant))
        return tuple(found)

    def intend(self, sha256: str, host: str, variant: str) -> None:
        """Note that an upload begins; raises StateError, and then nothing may be sent."""
        value = json.dumps([sha256, host, variant])
        self._write({_key("intent", sha256, host, variant): value}, "no more is uploaded, since it cannot be noted in")

    def settle(self, sha256: str, host: str, variant: str) -> None:
        """Note that an upload ended without a record: the host is known not to have it. Raises StateError."""
        key = _key("intent", sha256, host, variant)
        if key in self._rows:
            self._write({key: None}, "the end of an upload cannot be noted in")

    def facts(self, path: str, now: Stamp) -> Known | None:
        """Tell what is known of a file that still has this stamp."""
        key = _key("file", path)
        value = self._rows.get(key)
        start = _start(now)
        if value is None or not value.startswith(start):
            return None
        self._seen.add(key)
        return _read_known(value[len(start) :])

    def remember_facts(self, path: str, now: Stamp, known: Known) -> None:
        """Note what a file with this stamp is; `save` writes it."""
        key = _key("file", path)
        self._rows[key] = _start(now) + _written_known(known)
        self._seen.add(key)
        (self._new.add if _is_settled(now) else self._new.discard)(key)

    def save(self) -> None:
        """Write the new digests in one step, and forget those of files long gone; raises OSError.

        Where the store cannot be written nothing is, since digests only save time.
        """
        unseen = [key for key, _ in self._of_kind("file:") if key not in self._seen]
        gone = unseen if len(unseen) > max(2 * len(self._seen), _SPARE) else []
        changes: Changes = {key: self._rows[key] for key in self._new} | dict.fromkeys(gone)
        if changes and self.is_writable:
            self._apply(changes)
            self._new.clear()

    def close(self) -> None:
        """Close the store, if it was opened."""
        if self._writer:
            self._writer.close()

    def _of_kind(self, prefix: str) -> list[tuple[str, str]]:
        with self._guard:
            return [(key, value) for key, value in self._rows.items() if key.startswith(prefix)]

    def _write(self, changes: Changes, what: str) -> None:
        try:
            if not self.is_writable:
                raise PermissionError(errno.EACCES, "the folder cannot be written")
            self._apply(changes)
        except OSError as problem:
            reason = _told(problem)
        else:
            return
        raise StateError(f"{what} the local store {self._folder}: {reason}")

    def _apply(self, changes: Changes) -> None:
        with self._guard:
            if self._writer is None:
                from imghost.cache_store import Writer

                self._writer = Writer(self._folder / _STORE)
        self._writer.write(changes)
        with self._guard:
            for key, value in changes.items():
                if value is None:
                    self._rows.pop(key, None)
                else:
                    self._rows[key] = value


@contextmanager
def exclusive(folder: Path, wait: float = 30.0) -> Iterator[bool]:
    """Hold the store around uploads and their records; gives False if another build has it after `wait` seconds.

    It frees itself when its holder is killed. Raises StateError where the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    from imghost.cache_store import prepare

    path = folder / _LOCK
    try:
        prepare(folder)
        if path.is_symlink():
            path.unlink()  # opening it would cut off the file it leads to
        held = FileLock(path)
        held.acquire(timeout=wait)
    except Timeout:
        yield False
        return
    except OSError as problem:
        raise StateError(f"nothing is uploaded, since {folder} cannot be written: {_told(problem)}") from None
    try:
        yield True
    finally:
        with suppress(OSError):  # the end of the process lets go of it, too
            held.release()


def _told(problem: OSError) -> str:
    """Say why the store cannot be written, and what to change; SQLite's own words have no number."""
    remedy = files.remedy(problem) if problem.errno else "make room"
    return f"{problem.strerror or problem}; {remedy}, or change 'cache_dir'"


def _is_writable(store: Path) -> bool:
    """Say whether the nearest folder that exists can be written."""
    nearest = next((folder for folder in (store, *store.absolute().parents) if folder.exists()), store)
    return os.access(nearest, os.W_OK)


def _key(kind: str, *parts: str) -> str:
    """Name a row: digests only, so that the store tells no path."""
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return f"{kind}:{hashlib.sha256(text).hexdigest()}"


def _start(now: Stamp) -> str:
    return f"{now[0]} {now[1]} {now[2]} "


def _is_settled(now: Stamp) -> bool:
    """Say whether a change from now on must give the file another stamp.

    File systems count time in steps: a file that changes twice within one keeps its stamp.
    """
    step = 2_100_000_000 if now[1] % 1_000_000_000 == 0 else 50_000_000
    return abs(time.time_ns() - now[1]) > step


def _written_known(known: Known) -> str:
    if isinstance(known, str):
        return _OBJECTION + known.encode("utf-8", "replace").decode()[:_MAX_OBJECTION]
    sha256, facts = known
    size = " ".join("-" if edge is None else str(edge) for edge in (facts.width, facts.height))
    return f"{sha256} {facts.media_type} {size} {facts.is_animated:d}{facts.has_metadata:d}"


def _read_known(text: str) -> Known | None:
    if text.startswith(_OBJECTION):
        return text.removeprefix(_OBJECTION)
    match = _FACTS.fullmatch(text)
    if match is None or match[2] not in MEDIA_TYPES:
        return None
    sha256, media_type, width, height, is_animated, has_metadata = match.groups()
    return sha256, Facts(media_type, _edge(width), _edge(height), is_animated == "1", has_metadata == "1")


def _edge(text: str) -> int | None:
    return None if text == "-" else int(text)
