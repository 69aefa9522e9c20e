"""diskcache's way of storing, cut down to plain text in rows: no pickle, no files. Imported at the first write only."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from diskcache import Disk

from imghost.records.safe_diskcache import KEY, MAX_VALUE

_RAW: Final = 1
"""diskcache's number for a value that is in its row as it is."""


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
        if read or type(value) is not str or len(value.encode()) > MAX_VALUE:
            raise ValueError(f"the value is not a text of at most {MAX_VALUE:,} bytes")
        return 0, _RAW, None, value

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


def _checked_key(key: Any) -> str:
    if type(key) is not str or not KEY.fullmatch(key):
        raise ValueError("the key is not one of ours")
    return key
