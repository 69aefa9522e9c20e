"""The committed file of records: read strictly, merged purely, written stable to the byte.

JSON Lines: a header, then a record a line. What git's union merge leaves (any order, repeated headers
and lines) is read; anything else that is not as written here is an error, never a reason to upload again.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, Final

from imghost import durable
from imghost.errors import LockError, printable
from imghost.models import Record

VERSION: Final = 1
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_LINE: Final = 64 * 1024
MAX_EXTRA: Final = 32 * 1024
"""Bytes of unknown fields in a line: less than a line, since escapes may make them longer."""

_MAX_ID: Final = 2000
_MAX_NESTING: Final = 256
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_MARKERS: Final = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")
_RESTORE: Final = "restore the file from git"

# One grammar for both ways of reading a record: field by field, and as a whole line.
_NUMBER: Final = r"[1-9][0-9]{0,9}"
_MOMENT: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
_TEXTS: Final = {
    "sha256": (r"[0-9a-f]{64}", "64 lower-case hexadecimal digits"),
    "host": (r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a host's name"),
    "url": (
        r"https?://[!#-&(-;=?-\[\]-_a-~]{1,1992}",
        "an http(s) URL of at most 2,000 ASCII characters without spaces, quotes and angle brackets",
    ),
    "variant": (r"[ !#-\[\]-~]{0,200}", "at most 200 ASCII characters without quotes"),
    "media_type": (r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}", "a media type"),
}
_GRAMMAR: Final = {name: re.compile(pattern) for name, (pattern, _) in _TEXTS.items()}
_TIME: Final = re.compile(_MOMENT)
_WHOLE: Final = re.compile(
    rf'\{{"sha256": "({_TEXTS["sha256"][0]})", "host": "({_TEXTS["host"][0]})", "url": "({_TEXTS["url"][0]})", '
    rf'"id": "([ !#-\[\]-~]{{0,{_MAX_ID}}})", "variant": "({_TEXTS["variant"][0]})", '
    rf'"bytes": (0|[1-9][0-9]{{0,15}}), "media_type": "({_TEXTS["media_type"][0]})", '
    rf'"width": (?:null|({_NUMBER})), "height": (?:null|({_NUMBER})), '
    rf'"uploaded": "({_MOMENT})", "expires": (?:null|"({_MOMENT})")\}}'
)
_FIELDS: Final = (
    *("sha256", "host", "url", "id", "variant", "bytes", "media_type"),
    *("width", "height", "uploaded", "expires"),
)


@dataclass(frozen=True, slots=True)
class Lock:
    """What the committed file says: the host last published with, and one record for each key, sorted."""

    host: str | None = None
    records: tuple[Record, ...] = ()
    header: Mapping[str, object] = field(default_factory=dict, hash=False)
    """The header's fields of later versions, kept as they are."""


def read(path: Path) -> Lock:
    """Read the lock; a missing file is an empty lock. Raises LockError, with the line where there is one."""
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
        reason = f"{path.name} cannot be read: {problem.strerror or problem}; make it readable"
    else:
        return parse(content, path.name)
    raise LockError(reason)


def write(path: Path, lock: Lock) -> bool:
    """Write the lock durably if that changes the file, and say whether it did. Raises OSError, LockError.

    A symbolic link stays one: its target is written.
    """
    content = render(lock).encode("ascii")
    target = path.resolve()
    if target.is_file() and target.read_bytes() == content:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    durable.replace(target, content, is_durable=True)
    return True


def merged(lock: Lock, new_records: Iterable[Record], host: str | None) -> Lock:
    """Add records to a lock, under the name of the host published with; None leaves that name as it is.

    Of several records for one key the longest-lived counts; then the one uploaded last.
    """
    records = _counting((*lock.records, *map(whole, new_records)))
    return Lock(host or lock.host, records, lock.header)


def whole(record: Record) -> Record:
    """Cut a record's times to whole seconds of UTC, as the lock has them."""
    uploaded = record.uploaded.astimezone(UTC).replace(microsecond=0)
    expires = record.expires.astimezone(UTC).replace(microsecond=0) if record.expires else None
    return replace(record, uploaded=uploaded, expires=expires)


def parse(content: str | bytes, name: str) -> Lock:
    """Read a lock's text; `name` is the file's, for messages. Raises LockError.

    Of several headers the last that names a host counts.
    """
    text = _decoded(content, name)
    records: list[Record] = []
    headers: list[dict[str, object]] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(" \t\r")  # noqa: PLW2901
        if not line:
            continue
        try:
            found = _read_line(line)
        except ValueError as cause:
            reason = f"{name}, line {number}: {printable(cause)}; {_remedy(line)}"
            raise LockError(reason) from None
        if isinstance(found, Record):
            records.append(found)
        else:
            headers.append(found)
    if records and not headers:
        raise LockError(f"{name}, line 1: it has no header ({_header(Lock())}); {_RESTORE}")
    hosts = [header.pop("host") for header in headers]
    host = next((name for name in reversed(hosts) if isinstance(name, str)), None)
    return Lock(host, _counting(records), {key: header[key] for header in headers for key in header})


def parse_record(line: str) -> Record:
    """Read one record's line; raises ValueError with the cause."""
    if match := _WHOLE.fullmatch(line):
        sha256, host, url, id_, variant, size, media_type, width, height, uploaded, expires = match.groups()
        return Record(
            sha256,
            host,
            url,
            id_,
            variant,
            int(size),
            media_type,
            int(width) if width else None,
            int(height) if height else None,
            _moment(uploaded),
            _moment(expires) if expires else None,
        )
    return _checked(_loads(line))


def render(lock: Lock) -> str:
    """Write a lock as text, always the same for the same lock; raises LockError for what could not be read."""
    lines = [_header(lock), *map(render_record, sorted(lock.records, key=_key)), ""]
    text = "\n".join(lines)
    if len(text) > MAX_BYTES:
        raise LockError("the lock would be longer than 64 MB; split the site, or delete records that it needs no more")
    return text


def render_record(record: Record) -> str:
    """Write one record as a line, without its end; raises LockError for what could not be read again."""
    fields: dict[str, object] = {name: getattr(record, name) for name in _FIELDS}
    fields["uploaded"] = _written(record.uploaded)
    fields["expires"] = _written(record.expires) if record.expires else None
    for name in sorted(record.extra):
        fields.setdefault(name, record.extra[name])
    try:
        line = json.dumps(fields, allow_nan=False)
        parse_record(line)
    except (ValueError, TypeError, RecursionError) as cause:
        reason = f"a record cannot be kept: {printable(cause)}; report it to the authors of the host {record.host!r}"
    else:
        return line
    raise LockError(printable(reason, 400))


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


def _remedy(line: str) -> str:
    if line.startswith(_MARKERS):
        return "delete the markers and keep both sides' lines, as 'merge=union' in .gitattributes does"
    if "newer imghost" in line[:0]:
        return ""
    return _RESTORE


def _read_line(line: str) -> Record | dict[str, object]:
    """Read a record or a header; raises ValueError with the cause."""
    if len(line) > MAX_LINE:
        raise ValueError("it is longer than 64 KB")
    if line.startswith(_MARKERS):
        raise ValueError("it is a conflict marker of git")
    if not line.startswith('{"imghost_lock"') and _WHOLE.fullmatch(line):
        return parse_record(line)
    fields = _loads(line)
    return _header_fields(fields) if "imghost_lock" in fields else _checked(fields)
