"""The committed file of records: read strictly, merged purely, written stable to the byte.

JSON Lines: a header, then a record a line. What git's union merge leaves (any order, repeated headers
and lines) is read; everything else that is not as written here is an error, never a reason to upload again.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from imghost import files
from imghost.errors import LockError
from imghost.models import Record
from imghost.record_lines import (
    MAX_LINE,
    check_text,
    load_object,
    parse_record,
    quick_record,
    record_of,
    render_record,
    whole,
)
from imghost.wording import printable

__all__ = ["MAX_BYTES", "Lock", "merged", "parse", "parse_record", "read", "render", "render_record", "write"]

MAX_BYTES: Final = 64 * 1024 * 1024

_VERSION: Final = 1
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_MARKERS: Final = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")
_RESTORE: Final = "restore the file from git"


@dataclass(frozen=True, slots=True)
class Lock:
    """What the committed file says: the host last published with, and one record for each key, sorted."""

    host: str | None = None
    """None = never published."""
    records: tuple[Record, ...] = ()
    header: Mapping[str, object] = field(default_factory=dict, hash=False)
    """The header's fields of later versions, kept as they are."""


class _BrokenLineError(ValueError):
    """A line that cannot be read: the cause, and what to do."""

    def __init__(self, cause: str, remedy: str = _RESTORE) -> None:
        super().__init__(cause)
        self.remedy = remedy


def read(path: Path) -> Lock:
    """Read the lock; a missing file is an empty lock. Raises LockError."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise LockError(f"{path.name} is not a regular file; name a file with the option 'lock'")
        if found.st_size > MAX_BYTES:
            raise _too_long(path.name)
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Lock()
    except OSError as problem:
        reason = problem.strerror or str(problem)
    else:
        return parse(content, path.name)
    raise LockError(f"{path.name} cannot be read: {reason}; make it readable")


def write(path: Path, lock: Lock) -> bool:
    """Write the lock durably if that changes the file, and say whether it did.

    A symbolic link stays one: its target is written. Raises OSError, and LockError for a lock that could
    not be read again.
    """
    content = render(lock).encode("ascii")
    target = path.resolve()
    if target.is_file() and target.read_bytes() == content:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(target, content, is_durable=True)
    return True


def merged(lock: Lock, new_records: Iterable[Record], host: str | None) -> Lock:
    """Add records to a lock, under the name of the host published with; None leaves that name as it is.

    Of several records for one key the longest-lived counts; of two that live as long, the later one.
    """
    return Lock(host or lock.host, _counting((*lock.records, *map(whole, new_records))), lock.header)


def parse(content: str | bytes, name: str) -> Lock:
    """Read a lock's text; `name` is the file's, for messages. Raises LockError.

    Of several headers the last one that names a host counts.
    """
    records: list[Record] = []
    headers: list[dict[str, object]] = []
    for number, line in enumerate(_decoded(content, name).split("\n"), 1):
        try:
            if record := quick_record(line):
                records.append(record)
            elif stripped := line.strip(" \t\r"):
                found = _parsed(stripped)
                (records if isinstance(found, Record) else headers).append(found)  # type: ignore[arg-type]
        except ValueError as cause:
            remedy = cause.remedy if isinstance(cause, _BrokenLineError) else _RESTORE
            reason = f"{name}, line {number}: {printable(cause)}; {remedy}"
            raise LockError(reason) from None
    if records and not headers:
        raise LockError(f"{name}, line 1: it has no header like {_header(Lock())}; {_RESTORE}")
    hosts = [header.pop("host") for header in headers]
    host = next((name for name in reversed(hosts) if isinstance(name, str)), None)
    return Lock(host, _counting(records), {key: header[key] for header in headers for key in header})


def render(lock: Lock) -> str:
    """Write a lock as text, always the same for the same lock; raises LockError for what could not be read again."""
    lines = (_header(lock), *map(render_record, sorted(lock.records, key=_key)), "")
    text = "\n".join(lines)
    if len(text) > MAX_BYTES:
        raise LockError("the lock would be longer than 64 MB; delete records that the site needs no more")
    return text


def _decoded(content: str | bytes, name: str) -> str:
    if len(content) > MAX_BYTES:
        raise _too_long(name)
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
    raise LockError(f"{name}, line {number}: it is not UTF-8; {_RESTORE}")


def _too_long(name: str) -> LockError:
    return LockError(f"{name} is longer than 64 MB; {_RESTORE}")


def _parsed(line: str) -> Record | dict[str, object]:
    """Read a header or a record, in whatever form; raises ValueError."""
    if line.startswith(_MARKERS):
        raise _BrokenLineError("it is a conflict marker of git", "delete the markers and keep the lines of both sides")
    if record := quick_record(line):
        return record
    fields = load_object(line)
    return _header_fields(fields) if "imghost_lock" in fields else record_of(fields)


def _header_fields(fields: dict[str, Any]) -> dict[str, object]:
    """Check a header, and give its fields without the version."""
    version = fields.pop("imghost_lock")
    if type(version) is not int or version < 1:
        raise _BrokenLineError("its version is not known")
    if version > _VERSION:
        raise _BrokenLineError("it was written by a newer imghost", "upgrade imghost")
    if fields.setdefault("host", None) is not None:
        check_text("host", fields["host"])
    return fields


def _header(lock: Lock) -> str:
    fields: dict[str, object] = {"imghost_lock": _VERSION, "host": lock.host}
    fields |= {name: lock.header[name] for name in sorted(lock.header.keys() - fields.keys())}
    line = json.dumps(fields, allow_nan=False)
    if len(line) > MAX_LINE:
        raise LockError(f"the lock's header would be longer than 64 KB; {_RESTORE}")
    return line


def _key(record: Record) -> tuple[str, str, str]:
    return record.key


def _counting(records: Iterable[Record]) -> tuple[Record, ...]:
    """Keep the record that counts for each key, sorted."""
    kept: dict[tuple[str, str, str], Record] = {}
    for record in records:
        known = kept.setdefault(record.key, record)
        # Unknown fields that are equal in Python may be written differently: 1, 1.0, true.
        if known is not record and (known != record or record.extra):
            kept[record.key] = max(known, record, key=_life)
    return tuple(kept[key] for key in sorted(kept))


def _life(record: Record) -> tuple[datetime, datetime, str, str]:
    """Rank records of one key; the whole line comes last, so that the order of the lines never decides."""
    return record.expires or _NEVER, record.uploaded, record.url, render_record(record)
