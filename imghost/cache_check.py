"""Looks at the local store before diskcache opens it: a poisoned one could run code, or read and delete files.

The database is opened read-only and must be exactly what diskcache makes of our rows; any doubt and it is
put aside (CVE-2025-69872 has no fixed release).
"""

from __future__ import annotations

import re
import sqlite3
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_VALUE: Final = 4096
KEY: Final = re.compile(r"[a-z0-9._-]{1,64}:[0-9a-f]{64}")
SETTINGS: Final[Mapping[str, object]] = {
    "statistics": 0,
    "eviction_policy": "none",
    "size_limit": 2**40,
    "cull_limit": 0,
    "sqlite_mmap_size": 0,
    "sqlite_synchronous": 2,
}
"""How the store is opened: it never evicts, and what it has written is on the disk."""

_ALLOWED: Final[Mapping[str, tuple[object, ...]]] = {
    **{name: (value,) for name, value in SETTINGS.items()},
    "tag_index": (0,),
    "sqlite_auto_vacuum": (1,),
    "sqlite_cache_size": (8192,),
    "sqlite_journal_mode": ("wal",),
    "disk_min_file_size": (32768,),
    "disk_pickle_protocol": (4, 5),
}
_COUNTERS: Final = frozenset({"count", "size", "hits", "misses"})
_FILES: Final = ("cache.db", "cache.db-wal", "cache.db-shm", "cache.db-journal")


def _trigger(name: str, event: str, change: str, key: str) -> str:
    return (
        f"CREATE TRIGGER Settings_{name} AFTER {event} ON Cache FOR EACH ROW BEGIN "
        f'UPDATE Settings SET value = value {change} WHERE key = "{key}"; END'
    )


_SCHEMA: Final = frozenset(
    {
        "CREATE TABLE Settings ( key TEXT NOT NULL UNIQUE, value)",
        "CREATE TABLE Cache ( rowid INTEGER PRIMARY KEY, key BLOB, raw INTEGER, store_time REAL, expire_time REAL, "
        "access_time REAL, access_count INTEGER DEFAULT 0, tag BLOB, size INTEGER DEFAULT 0, mode INTEGER DEFAULT 0, "
        "filename TEXT, value BLOB)",
        "CREATE UNIQUE INDEX Cache_key_raw ON Cache(key, raw)",
        "CREATE INDEX Cache_expire_time ON Cache (expire_time)",
        _trigger("count_insert", "INSERT", "+ 1", "count"),
        _trigger("count_delete", "DELETE", "- 1", "count"),
        _trigger("size_insert", "INSERT", "+ NEW.size", "size"),
        _trigger("size_update", "UPDATE", "+ NEW.size - OLD.size", "size"),
        _trigger("size_delete", "DELETE", "- OLD.size", "size"),
    }
)


class DoubtError(Exception):
    """A store that is not as this program leaves it; the text is the doubt."""


def checked_rows(folder: Path) -> dict[str, str]:
    """Read every row of a store, having checked all of it; raises DoubtError."""
    _check_files(folder)
    if not (folder / "cache.db").exists():
        return {}
    try:
        return _read(folder / "cache.db")
    except (sqlite3.Error, UnicodeDecodeError, OverflowError, MemoryError, ValueError) as problem:
        raise DoubtError(f"it cannot be read ({type(problem).__name__})") from None


def _check_files(folder: Path) -> None:
    """Refuse links, devices, sparse giants and files that are not a store's."""
    if folder.is_symlink():
        raise DoubtError("it is a link")
    for path in folder.iterdir():
        found = path.lstat()
        if path.name not in _FILES:
            raise DoubtError("there is a file in it that is not a store's")
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise DoubtError("one of its files is a link or no file")
        if found.st_size > MAX_BYTES:
            raise DoubtError("it is too large")


def _read(path: Path) -> dict[str, str]:
    with_log = path.with_name("cache.db-wal").exists()
    # A database in a folder that cannot be written opens only as one that nobody changes.
    mode = "mode=ro" if with_log else "mode=ro&immutable=1"
    connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{mode}", uri=True, timeout=5)
    try:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA mmap_size=0")
        connection.execute("PRAGMA cell_size_check=ON")
        _check_schema(connection)
        if connection.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
            raise DoubtError("it is damaged")
        _check_settings(connection)
        return _rows(connection)
    finally:
        connection.close()


def _check_schema(connection: sqlite3.Connection) -> None:
    found = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    written = {" ".join(sql.split()) for _, name, sql in found if sql is not None}
    automatic = {name for _, name, sql in found if sql is None}
    if written != _SCHEMA or automatic != {"sqlite_autoindex_Settings_1"}:
        raise DoubtError("its tables are not those of a store")


def _check_settings(connection: sqlite3.Connection) -> None:
    for key, value in connection.execute("SELECT key, value FROM Settings"):
        is_counter = key in _COUNTERS and type(value) is int
        if not is_counter and value not in _ALLOWED.get(key, ()):
            raise DoubtError("its settings are not those of a store")


def _rows(connection: sqlite3.Connection) -> dict[str, str]:
    rows: dict[str, str] = {}
    query = "SELECT key, raw, expire_time, tag, mode, filename, value FROM Cache"
    for key, raw, expires, tag, mode, filename, value in connection.execute(query):
        is_plain = raw == 1 and mode == 1 and expires is None and tag is None and filename is None
        if not (is_plain and isinstance(key, str) and isinstance(value, str) and len(value) <= MAX_VALUE):
            raise DoubtError("one of its rows is not plain text")
        if not KEY.fullmatch(key):
            raise DoubtError("one of its keys is odd")
        rows[key] = value
    return rows
