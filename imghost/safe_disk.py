"""diskcache, hardened: plain text in rows, no pickle, no files. Imported at the first write only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import diskcache


class SafeDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """A diskcache disk that stores and fetches plain text in rows, and does nothing else."""

    key: re.Pattern[str]
    most: int

    def __init__(self, directory: str, **_: object) -> None:
        """Ignore the options: they come from the database."""
        for name, value in {"_directory": directory, "min_file_size": 32768, "pickle_protocol": 5}.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        """Ignore what the database's settings would set."""

    def put(self, key: Any) -> tuple[str, bool]:
        """Take a key as it is."""
        if not isinstance(key, str) or not self.key.fullmatch(key):
            raise ValueError("an odd key")
        return key, True

    def get(self, key: Any, raw: Any) -> str:
        """Give a key back."""
        if not raw or not isinstance(key, str) or not self.key.fullmatch(key):
            raise ValueError("an odd key")
        return key

    def store(self, value: Any, read: bool, key: Any = None) -> tuple[int, int, None, str]:  # noqa: ARG002, FBT001
        """Take a text into its row."""
        if read or not isinstance(value, str) or len(value) > self.most:
            raise ValueError("an odd value")
        return 0, diskcache.core.MODE_RAW, None, value

    def fetch(self, mode: Any, filename: Any, value: Any, read: bool) -> str:  # noqa: FBT001
        """Give a row's text."""
        if read or mode != diskcache.core.MODE_RAW or filename is not None or type(value) is not str:
            raise ValueError("an odd value")
        return value

    def filename(self, key: Any = None, value: Any = None) -> NoReturn:  # noqa: ARG002
        """Refuse: nothing is ever stored in a file."""
        raise ValueError("no files")

    def remove(self, file_path: Any) -> None:
        """Do nothing: no file is ours to delete."""


class Store:
    """The store, open for writing."""

    def __init__(self, folder: Path, settings: Mapping[str, object], key: re.Pattern[str], most: int) -> None:
        disk = type("_Disk", (SafeDisk,), {"key": key, "most": most})
        self._cache = diskcache.Cache(str(folder), timeout=30, disk=disk, **settings)

    def write(self, rows: Mapping[str, str], gone: Iterable[str]) -> None:
        """Write and delete rows in one transaction; once this returns they are on the disk."""
        with self._cache.transact(retry=True):
            for key, value in rows.items():
                self._cache.set(key, value, retry=True)
            for key in gone:
                self._cache.delete(key, retry=True)

    def close(self) -> None:
        """Close the database, and its log with it."""
        self._cache.close()
