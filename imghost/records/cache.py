"""The local store: records as they are earned, uploads under way, digests."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import threading
import weakref
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Any, Final, Self

from imghost import files
from imghost.errors import LockError, StateError
from imghost.files import OURS, STORE, Stamp
from imghost.models import MEDIA_TYPES, Facts, Record, Refused
from imghost.records.lock import parse_record, render_record, whole
from imghost.threads import LOOK, Worker
from imghost.wording import printable

_LOCK: Final = "uploads.lock"
_NEW: Final = ".store-"
"""What a store is called while it is made."""
_PATIENCE: Final = 10.0
"""Seconds to wait for another process's write."""

Changes = Mapping[str, str | None]
"""Key -> value, or None to delete it."""


class _Request:
    """What one thread wants written, and what came of it."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.done = threading.Event()
        self.problem = ""


class Writer:
    """Writes rows so that they survive a crash once `write` returns; for any number of threads.

    A write to the disk costs the same for one row as for ten, so those that wait are written together.
    After a failure nothing more is tried: what a failed sync has lost cannot be known.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._guard = threading.Lock()
        self._waiting: SimpleQueue[_Request | None] | None = None
        self._thread: Worker | None = None

    def begin(self) -> None:
        """Open the database while nobody waits for it; what is wrong with it the first write will say."""
        with self._guard, suppress(OSError):
            self._running().put(_Request({}))

    def write(self, changes: Changes) -> None:
        """Write and delete rows, all or none; raises OSError."""
        request = _Request(changes)
        with self._guard:
            self._running().put(request)
            thread = self._thread
        while not request.done.wait(LOOK):
            if thread and thread.is_over:
                raise OSError(errno.ENOMEM, f"who writes it has ended: {thread.problem!r}")
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
            thread = Worker(partial(_serve, self._store, waiting))
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
                if database is None:
                    database = _opened(store, _rows(requests))
                if database is not None:
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


def _rows(requests: list[_Request]) -> dict[str, str]:
    """Give what a new store has in it once these are done."""
    changes = {key: value for request in requests for key, value in request.changes.items()}
    return {key: value for key, value in changes.items() if value is not None}


def _write(database: Any, requests: list[_Request]) -> None:
    with database.transact():
        for request in requests:
            for key, value in request.changes.items():
                if value is None:
                    database.delete(key)
                else:
                    database.set(key, value)


def _reason(error: Exception) -> str:
    from diskcache import Timeout

    if isinstance(error, Timeout):
        return "another process holds it"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _opened(store: Path, rows: Mapping[str, str] = MappingProxyType({})) -> Any:
    """Open the store, made or remade if need be; what is in doubt is put aside.

    One that was made with these rows is complete, and need not be opened: then this gives None.
    """
    from imghost.records.safe_diskcache import DoubtError, checked_rows, quarantine

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
    is_made = not os.path.lexists(store) and _create(store, rows)
    return None if is_made and rows else _database(store)


def _create(store: Path, rows: Mapping[str, str] = MappingProxyType({})) -> bool:
    """Make a store aside and move it into place, so that nobody ever reads one half-made; False where one is there."""
    from imghost.records.safe_diskcache import create

    with files.private_folder(store.parent, _NEW) as new:
        try:
            create(new, rows)
            files.sync_folder(new)
            new.rename(store)
            files.sync_folder(store.parent)
        except OSError:
            if not store.exists():
                raise
            return False  # another process was first
    return True


def _database(store: Path) -> Any:
    # Loaded at the first write: diskcache and its guard cost milliseconds, and a warm build writes nothing.
    from diskcache import Cache as Database

    from imghost.records.safe_diskcache import SETTINGS, safe_disk

    return Database(str(store), timeout=_PATIENCE, disk=safe_disk(), **SETTINGS)


def prepare(folder: Path) -> None:
    """Make the cache's folder, with a `.gitignore` of its own; raises OSError.

    A folder that held other things before, such as the project's own, gets none: git would forget all of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / STORE).exists() and any(not OURS().match(name) for name in os.listdir(folder)):  # noqa: PTH208
        return
    with suppress(FileExistsError), (folder / ".gitignore").open("x", encoding="ascii") as ignored:
        ignored.write("*\n")


# The lock is the authority; this is a hint and a journal. It is read once into memory, through a check, and
# nothing of it is opened for writing, or even made, before the first write.
KnownFile = tuple[str, Facts] | str
"""What is known of a file: its digest and facts, or why it is no image."""
UploadKey = tuple[str, str, str]
"""An upload under way: digest, host, variant."""

_SPARE: Final = 1000
"""Digests of files unseen in a run that are kept in any case: a second, smaller site shares the store."""
# The number is the judgement's: where it reads files in another way than before, what it once said counts no more.
_FACTS: Final = re.compile(
    r"([a-z]+/[a-z0-9.+-]+) (-|[0-9]{1,10}) (-|[0-9]{1,10}) ([01])([01])"
    r"(?: ([0-9]{1,10})x([0-9]{1,10}))?"
)
_OBJECTION: Final = "!2 "
_MAX_OBJECTION: Final = 1000
_MAX_WORDS: Final = 300
"""Letters of a host's refusal; three such texts fit a row, whatever their script."""


class Cache:
    """One run's view of the local store; safe to share between threads."""

    warnings: tuple[str, ...]
    """What the user should know of a store that was not used."""
    is_writable: bool
    """False where the store cannot be written, so that nothing can be uploaded."""

    def __init__(
        self,
        folder: Path,
        rows: dict[str, str],
        warnings: tuple[str, ...],
        *,
        is_writable: bool,
        has_log: bool = False,
    ) -> None:
        self.warnings = warnings
        self.is_writable = is_writable
        # What a killed build has left is folded in once, else every build to come would touch it in reading.
        self._has_log = has_log
        self._folder = folder
        self._rows = rows
        self._seen: set[str] = set()
        self._new: set[str] = set()
        self._restamped: set[str] = set()
        self._proofs: dict[str, tuple[Path, Stamp]] = {}
        self._guard = threading.Lock()
        self._writer: Writer | None = None

    @classmethod
    def load(cls, folder: Path) -> Cache:
        """Read the store; one that is in doubt is put aside. A bad store is a warning, never an error."""
        store = folder / STORE
        is_writable = _is_writable(store)
        if not os.path.lexists(store):
            return cls(folder, {}, (), is_writable=is_writable)
        from imghost.records.safe_diskcache import DoubtError, UnreadableError, checked_rows, has_log, quarantine

        try:
            rows = checked_rows(store)
            return cls(folder, rows, (), is_writable=is_writable, has_log=has_log(store))
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

    def records(self, owner: str = "") -> tuple[Record, ...]:
        """List the records that were earned on this machine for a project, whether or not its lock has them.

        `owner` names the lock, and the settings that own an image at its host: projects share a store.
        """
        return tuple(record for key, record in self.every_record() if _key("record", owner, *record.key) == key)

    def every_record(self) -> Iterator[tuple[str, Record]]:
        """Yield every project's records, each with its row's key."""
        for key, value in self._of_kind("record:"):
            with suppress(ValueError):
                yield key, parse_record(value)

    def keep(self, record: Record, owner: str = "") -> None:
        """Keep a record, and end its upload; once this returns it survives a crash. Raises StateError."""
        try:
            line = render_record(whole(record))
        except LockError as problem:
            raise StateError(str(problem)) from None
        key = owner, *record.key
        changes = {_key("record", *key): line, _key("intent", *key): None}
        if (refused := _key("refused", *key)) in self._rows:
            changes[refused] = None
        self._write(changes, f"the record of {record.sha256[:12]} cannot be kept in")

    def forget(self, urls: Container[str]) -> None:
        """Forget the records of images that are deleted at their host, whoever earned them. Raises StateError."""
        gone: dict[str, str | None] = {key: None for key, record in self.every_record() if record.url in urls}
        if gone:
            self._write(gone, "records cannot be taken out of")

    def intents(self, owner: str = "") -> tuple[UploadKey, ...]:
        """List the uploads that a project began and whose end is not known."""
        found: list[UploadKey] = []
        for key, value in self._of_kind("intent:"):
            with suppress(ValueError, TypeError):
                sha256, host, variant = json.loads(value)
                if _key("intent", owner, sha256, host, variant) == key:
                    found.append((sha256, host, variant))
        return tuple(found)

    def expect(self) -> None:
        """Open the store for uploads that will begin soon."""
        if self.is_writable:
            self._opened_writer().begin()

    def intend(self, sha256: str, host: str, variant: str, owner: str = "") -> None:
        """Note that an upload begins; raises StateError, and then nothing may be sent."""
        value = json.dumps([sha256, host, variant])
        key = _key("intent", owner, sha256, host, variant)
        self._write({key: value}, "no more is uploaded, since it cannot be noted in")

    def settle(self, sha256: str, host: str, variant: str, owner: str = "") -> None:
        """Note that an upload ended without a record: the host is known not to have it. Raises StateError."""
        key = _key("intent", owner, sha256, host, variant)
        if key in self._rows:
            self._write({key: None}, "the end of an upload cannot be noted in")

    def refuse(self, upload: UploadKey, refused: Refused, owner: str = "") -> None:
        """Note that a host has refused an image for good, which ends its upload. Raises StateError."""
        words = [text[:_MAX_WORDS] for text in (refused.reason, refused.remedy)]
        value = [*upload, *words, refused.since.isoformat(), refused.terms, refused.allowance[:_MAX_WORDS]]
        # Names are written as they are: escaped, each letter of another script would take six bytes of the row.
        row = json.dumps(value, ensure_ascii=False)
        changes = {_key("refused", owner, *upload): row, _key("intent", owner, *upload): None}
        self._write(changes, "what a host has refused cannot be noted in")

    def refused(self, owner: str = "") -> dict[UploadKey, Refused]:
        """List what a host has refused of a project for good."""
        found: dict[UploadKey, Refused] = {}
        for key, value in self._of_kind("refused:"):
            with suppress(ValueError, TypeError, OverflowError):
                sha256, host, variant, reason, remedy, since, terms, allowance = json.loads(value)
                upload = sha256, host, variant
                if _key("refused", owner, *upload) == key:
                    words = printable(reason, _MAX_WORDS), printable(remedy, _MAX_WORDS)
                    moment = datetime.fromisoformat(since).astimezone(UTC)
                    found[upload] = Refused(*words, moment, str(terms), str(allowance))
        return found

    def ask_again(self, uploads: Iterable[UploadKey], owner: str = "") -> None:
        """Forget that a host has refused images, so that a build sends them once more. Raises StateError."""
        gone: dict[str, str | None] = {_key("refused", owner, *upload): None for upload in uploads}
        if gone:
            self._write(gone, "what a host has refused cannot be taken out of")

    def facts(self, path: str, now: Stamp) -> KnownFile | None:
        """Tell what is known of a file that still has this stamp."""
        key = _key("file", path)
        value = self._rows.get(key)
        start = _start(now)
        if value is None or not value.startswith(start):
            return None
        self._seen.add(key)
        return _read_known(value[len(start) :])

    def remember_facts(self, path: str, now: Stamp, known: KnownFile) -> None:
        """Note what a file with this stamp is; `save` writes it."""
        key = _key("file", path)
        told = _written_known(known)
        if key not in self._new:
            is_same_file = self._rows.get(key, "").split(" ", 3)[3:] == [told]
            (self._restamped.add if is_same_file else self._restamped.discard)(key)
        self._rows[key] = _start(now) + told
        self._seen.add(key)
        (self._new.add if files.is_long_ago(now[1]) else self._new.discard)(key)

    def learn(self, other: Cache) -> None:
        """Take over what another view has found out of files."""
        self._rows |= {key: other._rows[key] for key in other._new}
        self._new |= other._new

    def proof(self, path: Path, now: Stamp) -> str:
        """Tell what was found out of a lock that still has this stamp; empty = nothing."""
        start, value = _start(now), self._rows.get(_key("lock", os.path.realpath(path)), "")
        return value.removeprefix(start) if value.startswith(start) else ""

    def keep_proof(self, path: Path, now: Stamp, proof: str) -> None:
        """Note what was found out of a lock; `save` writes it, unless the lock may have changed since."""
        key = _key("lock", os.path.realpath(path))
        self._rows[key] = _start(now) + proof
        self._proofs[key] = path, now

    def save(self, *, is_serving: bool = False) -> None:
        """Write the new digests in one step, and forget those of files long gone; raises OSError.

        Where the store cannot be written nothing is, since digests only save time. A live preview copies the same
        files again at each build: it writes only what it has learned of them, since what it writes may be watched.
        """
        unseen = [key for key, _ in self._of_kind("file:") if key not in self._seen]
        gone = unseen if len(unseen) > max(2 * len(self._seen), _SPARE) else []
        new = self._new - self._restamped if is_serving else self._new
        new |= {key for key, (path, then) in self._proofs.items() if _is_as_then(path, then)}
        changes: Changes = {key: self._rows[key] for key in new} | dict.fromkeys(gone)
        if self.is_writable and (changes or self._has_log):
            self._apply(changes)
            self._new.clear()
            self._proofs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

    def _opened_writer(self) -> Writer:
        with self._guard:
            if self._writer is None:
                self._writer = Writer(self._folder / STORE)
            return self._writer

    def _apply(self, changes: Changes) -> None:
        self._opened_writer().write(changes)
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

    path = folder / _LOCK
    try:
        prepare(folder)
        if path.is_symlink():
            path.unlink()  # opening it would cut off the file it leads to
        files.check_locks(path)  # without locks the library would make do with a file that a kill leaves behind
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
    if problem.errno in files.NO_LOCKS:
        return f"it cannot be locked there ({problem.strerror}); set 'cache_dir' to a folder on a drive of this machine"
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


def _is_as_then(path: Path, then: Stamp) -> bool:
    """Say whether a file has the stamp that it had, and will never have it again once it changes."""
    with suppress(OSError):
        return files.stamp(path) == then and files.is_settled(path.stat())
    return False


def _written_known(known: KnownFile) -> str:
    if isinstance(known, str):
        return _OBJECTION + known.encode("utf-8", "replace").decode()[:_MAX_OBJECTION]
    sha256, facts = known
    size = " ".join("-" if edge is None else str(edge) for edge in (facts.width, facts.height))
    natural = f" {facts.natural[0]}x{facts.natural[1]}" if facts.natural else ""
    return f"2 {sha256} {facts.media_type} {size} {facts.is_animated:d}{facts.has_metadata:d}{natural}"


def _read_known(text: str) -> KnownFile | None:
    if text.startswith(_OBJECTION):
        return text.removeprefix(_OBJECTION)
    sha256, facts = text[2:66], _facts_in(text[67:])
    if facts is None or text[:2] != "2 " or text[66] != " " or not _is_digest(sha256):
        return None
    return sha256, facts


def _is_digest(text: str) -> bool:
    """Say whether a text is 64 lower-case hexadecimal digits: once an image, in a quarter of a pattern's time."""
    try:
        return len(text) == 64 and bytes.fromhex(text).hex() == text
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def _facts_in(text: str) -> Facts | None:
    """Read what is known of an image beside its digest; many are alike in it, and then it is kept once."""
    match = _FACTS.fullmatch(text)
    if match is None or match[1] not in MEDIA_TYPES:
        return None
    media_type, width, height, is_animated, has_metadata, across, down = match.groups()
    natural = (int(across), int(down)) if across else None
    return Facts(media_type, _edge(width), _edge(height), is_animated == "1", has_metadata == "1", natural)


def _edge(text: str) -> int | None:
    return None if text == "-" else int(text)
