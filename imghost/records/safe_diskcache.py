"""diskcache made safe: its database is looked at before anything trusts it, and holds plain text alone.

A cache may come from a stranger, and diskcache would execute, read or delete what a prepared database
tells it to. So the database is first read here, by SQLite alone and read-only, and must be exactly as we
write it. Nothing of diskcache is imported for that.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import stat
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import quote

if TYPE_CHECKING:
    from diskcache import Disk

DATABASE: Final = "cache.db"
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_VALUE: Final = 4096
"""Bytes of one value."""
KEY: Final = re.compile(r"[a-z0-9._-]{1,64}:[0-9a-f]{64}")
SETTINGS: Final[Mapping[str, object]] = MappingProxyType(
    {
        "cull_limit": 0,
        "disk_min_file_size": 32768,
        "disk_pickle_protocol": 5,
        "eviction_policy": "none",
        "size_limit": 2**40,
        "sqlite_auto_vacuum": 1,
        "sqlite_cache_size": 8192,
        "sqlite_journal_mode": "wal",
        "sqlite_mmap_size": 0,
        "sqlite_synchronous": 2,
        "statistics": 0,
        "tag_index": 0,
    }
)
"""All of diskcache's settings: nothing is ever evicted, and a write is on the disk once it returns."""

_HEADER: Final = re.compile(rb"SQLite format 3\0..\x02\x02", re.DOTALL)
"""How a database begins that is read and written through a log; one of another form may be read-only."""
_COUNTERS: Final = frozenset({"count", "size", "hits", "misses"})
_SCHEMA: Final = "7abcca4627825a97ba12bdc5e4c85ae150636c11a85d900b4a740f866d03163a"
"""SHA-256 of the tables, indexes and triggers that diskcache makes with these settings."""
_TABLES: Final = (
    "TABLE Settings ( key TEXT NOT NULL UNIQUE, value)",
    (
        "TABLE Cache ( rowid INTEGER PRIMARY KEY, key BLOB, raw INTEGER, store_time REAL, expire_time REAL, access_time"
        " REAL, access_count INTEGER DEFAULT 0, tag BLOB, size INTEGER DEFAULT 0, mode INTEGER DEFAULT 0, filename TEXT"
        ", value BLOB)"
    ),
    "UNIQUE INDEX Cache_key_raw ON Cache(key, raw)",
    "INDEX Cache_expire_time ON Cache (expire_time)",
    *(
        f"TRIGGER Settings_{counter}_{event.lower()} AFTER {event} ON Cache FOR EACH ROW BEGIN"  # noqa: S608 - of these words
        f' UPDATE Settings SET value = value {change} WHERE key = "{counter}"; END'
        for counter, event, change in (
            ("count", "INSERT", "+ 1"),
            ("count", "DELETE", "- 1"),
            ("size", "INSERT", "+ NEW.size"),
            ("size", "UPDATE", "+ NEW.size - OLD.size"),
            ("size", "DELETE", "- OLD.size"),
        )
    ),
)
"""What diskcache makes in a new database, as it writes that: `_SCHEMA` is the digest of it."""
_ODD_ROWS: Final = """
    SELECT EXISTS (SELECT 1 FROM Cache WHERE NOT (
        typeof(key) = 'text' AND typeof(value) = 'text' AND filename IS NULL AND expire_time IS NULL AND tag IS NULL
        AND typeof(raw) = 'integer' AND raw = 1 AND typeof(mode) = 'integer' AND mode = 1
        AND typeof(size) = 'integer' AND size = 0 AND typeof(store_time) = 'real' AND typeof(access_time) = 'real'
        AND typeof(access_count) = 'integer'))
"""
_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""SQLite's codes for what is the machine's trouble, and says nothing of the database."""
_MAX_QUARANTINED: Final = 9


class DoubtError(Exception):
    """A store that is not as we write it, and is to be put aside."""


class UnreadableError(Exception):
    """A store that this machine cannot read now; it may be fine."""


def checked_rows(store: Path, *, is_for_writing: bool = False) -> dict[str, str]:
    """Read every row of a store, without changing it. Raises DoubtError, UnreadableError.

    Only writing needs the indexes, so only then do they have to agree with the rows.
    """
    try:
        _check_files(store)
        if not is_for_writing and (rows := _rows_at_rest(store)) is not None:
            return rows
        with closing(_opened(store)) as connection:
            return _checked(connection, "integrity_check" if is_for_writing else "quick_check")
    except sqlite3.Error as problem:
        if getattr(problem, "sqlite_errorcode", 0) & 0xFF in _PASSING:
            raise UnreadableError(str(problem)) from None
        raise DoubtError(str(problem)) from None
    except OSError as problem:
        raise UnreadableError(problem.strerror or str(problem)) from None
    except ValueError:
        raise DoubtError("it has text that is not UTF-8") from None


def quarantine(store: Path) -> Path:
    """Put a store aside, unopened; raises OSError. Few are kept, so that a bad cache cannot fill the disk."""
    for number in range(_MAX_QUARANTINED):
        aside = store.with_name(f"{store.name}.quarantined" + (f"-{number}" if number else ""))
        if not os.path.lexists(aside):
            with suppress(FileNotFoundError):  # another build was first
                store.rename(aside)
            return aside
    raise OSError(f"there are {_MAX_QUARANTINED} stores put aside already")


def _check_files(store: Path) -> None:
    """Refuse links, devices and huge files: SQLite would follow, block on or truncate them."""
    if not stat.S_ISDIR(store.lstat().st_mode):
        raise DoubtError("it is not a folder")
    if os.path.lexists(store / f"{DATABASE}-journal"):
        raise DoubtError("it has a journal, which our stores never have")
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
        try:
            found = (store / name).lstat()
        except FileNotFoundError:
            if name == DATABASE:
                raise DoubtError("it has no database") from None
            continue
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise DoubtError(f"{name} is not a file of its own")
        if found.st_size > MAX_BYTES:
            raise DoubtError(f"{name} is longer than 64 MB")
    with (store / DATABASE).open("rb") as database:
        if not _HEADER.match(database.read(20)):
            raise DoubtError("it is not a database of ours")


def _rows_at_rest(store: Path) -> dict[str, str] | None:
    """Read a store that nobody writes to, without a trace: SQLite would leave two files beside the database.

    Whatever watches the folder, like sphinx-autobuild, would see a change at every build, and build again. A store
    is at rest while it has no log, since who writes makes one first; where it is not the same at the end, nothing
    that was read counts.
    """
    before = _stamp_at_rest(store)
    if before is None:
        return None
    try:
        with closing(_opened(store, is_at_rest=True)) as connection:
            rows = _checked(connection, "quick_check")
    except (sqlite3.Error, DoubtError, OSError, ValueError):
        if _stamp_at_rest(store) == before:
            raise
        return None
    return rows if _stamp_at_rest(store) == before else None


def has_log(store: Path) -> bool:
    """Say whether rows stand in a log yet: a process writes, or one was killed before it could close the store."""
    try:
        return (store / f"{DATABASE}-wal").lstat().st_size > 0
    except FileNotFoundError:
        return False


def _stamp_at_rest(store: Path) -> tuple[int, int, int, int] | None:
    if has_log(store):
        return None
    found = (store / DATABASE).lstat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _opened(store: Path, *, is_at_rest: bool = False) -> sqlite3.Connection:
    path = (store / DATABASE).absolute().as_posix()
    root = "" if path.startswith("/") else "/"
    # In a folder that cannot be written, SQLite cannot make the files beside the database that it would need.
    mode = "ro&immutable=1" if is_at_rest or not os.access(store, os.W_OK) else "ro"
    uri = f"file://{root}{quote(os.fsencode(path), safe='/:')}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 16 * MAX_VALUE)
    for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON", "mmap_size = 0"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _checked(connection: sqlite3.Connection, pragma: str) -> dict[str, str]:
    """Read the rows of a database that is as it should be: its schema first, since a query may run it."""
    connection.execute("BEGIN")
    if schema_digest(connection) != _SCHEMA:
        raise DoubtError("its schema is not ours")
    if connection.execute(f"PRAGMA {pragma}(1)").fetchall() != [("ok",)]:
        raise DoubtError("it is damaged")
    _check_settings(connection.execute("SELECT key, value FROM Settings LIMIT 99").fetchall())
    if connection.execute(_ODD_ROWS).fetchone() != (0,):
        raise DoubtError("it has a row that we would not write")
    found: dict[str, str] = {}
    for key, value in connection.execute("SELECT key, value FROM Cache NOT INDEXED"):
        if not KEY.fullmatch(key) or len(value) > MAX_VALUE or key in found:
            raise DoubtError("it has a row that we would not write")
        found[key] = value
    return found


def schema_digest(connection: sqlite3.Connection) -> str:
    """Fingerprint everything that a database's schema holds."""
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name LIMIT 99"
    found = json.dumps(connection.execute(query).fetchall(), default=repr)  # a blob in place of a text, for one
    return hashlib.sha256(found.encode()).hexdigest()


def _check_settings(found: list[tuple[object, object]]) -> None:
    """Refuse settings other than ours: diskcache makes attributes and PRAGMAs of whatever it finds there."""
    settings = {str(key): value for key, value in found}
    counters = {key: settings.pop(key, None) for key in _COUNTERS}
    types = {key: type(value) for key, value in settings.items()}
    is_ours = settings == SETTINGS and types == {key: type(value) for key, value in SETTINGS.items()}
    if not is_ours or len(found) != len(SETTINGS) + len(_COUNTERS):
        raise DoubtError("its settings are not ours")
    if any(type(value) is not int for value in counters.values()):
        raise DoubtError("its counters are not numbers")


_RAW: Final = 1
"""diskcache's number for a value that is in its row as it is."""


def create(folder: Path, rows: Mapping[str, str]) -> None:
    """Make a store's database with its first rows; raises OSError, and ValueError for a row that is not one of ours.

    diskcache takes fifty steps for that, each of which it waits to have on the disk. Here nobody reads the database
    before its folder is moved into place, so it is written at once, and synced once.
    """
    now = time.time()
    told = [(_checked_key(key), _RAW, now, now, 0, _RAW, _checked_value(value)) for key, value in rows.items()]
    path = folder / DATABASE
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for pragma in ("auto_vacuum = 1", "journal_mode = memory", "synchronous = off"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN")
            for statement in _TABLES:
                connection.execute(f"CREATE {statement}")
            settings = [*dict.fromkeys(sorted(_COUNTERS), 0).items(), *SETTINGS.items()]
            connection.executemany("INSERT INTO Settings VALUES (?, ?)", settings)
            connection.executemany(
                "INSERT INTO Cache(key, raw, store_time, access_time, size, mode, value) VALUES (?, ?, ?, ?, ?, ?, ?)",
                told,
            )
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = wal")
    except sqlite3.Error as problem:
        raise OSError(str(problem)) from None
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@cache
def safe_disk() -> type[Disk]:  # noqa: C901 - eight refusals, each of one line
    """Make diskcache's way of storing, cut down to plain text in rows: no pickle, no files.

    The class is made at the first write, since diskcache costs milliseconds and a warm build writes nothing.
    """
    from diskcache import Disk

    class SafeDisk(Disk):  # type: ignore[misc]  # diskcache has no types
        """Stores and fetches short texts in rows, and refuses everything else."""

        def __init__(self, directory: str, **_: object) -> None:
            # The options come from the database, and nothing here needs them.
            object.__setattr__(self, "_directory", directory)

        def __setattr__(self, name: str, value: object) -> None:
            """Ignore what a database's settings would change here."""

        def put(self, key: Any) -> tuple[str, bool]:
            """Take a key as it is."""
            return _checked_key(key), True

        def get(self, key: Any, raw: Any) -> str:
            """Give a key back, never unpickled."""
            if raw != 1:
                raise ValueError("the key is not plain text")
            return _checked_key(key)

        def store(self, value: Any, read: Any, key: Any = None) -> tuple[int, int, None, str]:  # noqa: ARG002
            """Take a short text into its row."""
            if read:
                raise ValueError("the value is a file")
            return 0, _RAW, None, _checked_value(value)

        def fetch(self, mode: Any, filename: Any, value: Any, read: Any) -> str:
            """Give a row's text, never a file's."""
            if read or mode != _RAW or filename is not None or type(value) is not str:
                raise ValueError("the value is not plain text")
            return value

        def filename(self, key: Any = None, value: Any = None) -> NoReturn:  # noqa: ARG002
            """Refuse: nothing is stored in a file."""
            raise ValueError("nothing is stored in files")

        def remove(self, file_path: Any) -> None:
            """Do nothing: no file is ours to delete, whatever a row says."""

    return SafeDisk


def _checked_value(value: Any) -> str:
    if type(value) is not str or len(value.encode()) > MAX_VALUE:
        raise ValueError(f"the value is not a text of at most {MAX_VALUE:,} bytes")
    return value


def _checked_key(key: Any) -> str:
    if type(key) is not str or not KEY.fullmatch(key):
        raise ValueError("the key is not one of ours")
    return key
