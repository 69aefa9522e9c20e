"""The committed file of records: read strictly, merged, written stable to the byte."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import sys
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from imghost import files
from imghost.errors import LockError, StateError
from imghost.models import Record
from imghost.records import is_confirmed
from imghost.wording import printable

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

MAX_LINE: Final = 64 * 1024

_MAX_EXTRA: Final = 32 * 1024
"""Characters of unknown fields: less than a line, so that escapes never make a read line unreadable."""
_MAX_ID: Final = 2000

# One grammar for both ways of reading a record: as a whole line, and field by field.
_NUMBER: Final = "[1-9][0-9]{0,9}"
_MOMENT: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
_SHA256: Final = "[0-9a-f]{64}"
_HOST: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_URL: Final = r"https?://[!#-&(-;=?-\[\]-_a-~]{1,1992}"
_PLAIN: Final = r"[ !#-\[\]-~]"
_VARIANT: Final = _PLAIN + "{0,200}"
_TYPE: Final = "[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}"
_JSON_TEXT: Final = r'"(?:[ !#-\[\]-~]|\\["\\/bfnrt]|\\u[0-9a-f]{4}){0,1000}"'
_WHOLE: Final = re.compile(
    rf'\{{"sha256": "({_SHA256})", "host": "({_HOST})", "url": "({_URL})", "id": "({_PLAIN}{{0,{_MAX_ID}}})", '
    rf'"variant": "({_VARIANT})", "bytes": (0|[1-9][0-9]{{0,15}}), "media_type": "({_TYPE})", '
    rf'"width": (?:null|({_NUMBER})), "height": (?:null|({_NUMBER})), '
    rf'"uploaded": "({_MOMENT})", "expires": (?:null|"({_MOMENT})")'
    rf'(?:, "path": ({_JSON_TEXT}))?(?:, "served": \{{"bytes": (0|[1-9][0-9]{{0,15}}), "sha256": "({_SHA256})"\}})?\}}'
)
_TEXTS: Final = {
    "sha256": (re.compile(_SHA256), "64 lower-case hexadecimal digits"),
    "host": (re.compile(_HOST), "a host's name"),
    "url": (
        re.compile(_URL),
        "an http(s) URL of at most 2,000 ASCII characters without spaces, quotes and brackets",
    ),
    "variant": (re.compile(_VARIANT), "at most 200 ASCII characters without quotes"),
    "media_type": (re.compile(_TYPE), "a media type"),
}
_TIME: Final = re.compile(_MOMENT)
_FIELDS: Final = (
    *("sha256", "host", "url", "id", "variant", "bytes", "media_type"),
    *("width", "height", "uploaded", "expires"),
)


def parse_record(line: str) -> Record:
    """Read one record's line; raises ValueError with the cause."""
    return quick_record(line) or record_of(load_object(line))


def quick_record(line: str) -> Record | None:
    """Read a record's line that is as we write it and has nothing unknown; None for every other line.

    A match of the whole line leaves nothing to check and no key to repeat, in a fraction of the time.
    """
    match = _WHOLE.fullmatch(line)
    if match is None:
        return None
    sha256, host, url, identity, variant, size, media_type, width, height, uploaded, expires, *more = match.groups()
    # What a million lines repeat is kept once.
    return Record(
        sha256,
        sys.intern(host),
        url,
        identity,
        sys.intern(variant),
        int(size),
        sys.intern(media_type),
        int(width) if width else None,
        int(height) if height else None,
        _known_moment("uploaded", uploaded),
        _known_moment("expires", expires) if expires else None,
        _quick_extra(*more) if any(more) else {},
    )


def _quick_extra(path: str | None, length: str | None, sha256: str | None) -> dict[str, object]:
    """Read what later versions added, and every one writes; the pattern leaves nothing to check."""
    extra: dict[str, object] = {}
    if path is not None:
        extra["path"] = json.loads(path) if "\\" in path else path[1:-1]
    if sha256 is not None:
        extra["served"] = {"bytes": int(length or 0), "sha256": sha256}
    return extra


def record_of(fields: Mapping[str, Any]) -> Record:
    """Check a record's fields, whatever their order; raises ValueError with the cause."""
    for name in _FIELDS:
        if name not in fields:
            raise ValueError(f"it lacks the field '{name}'")
    for name in _TEXTS:
        check_text(name, fields[name])
    if not isinstance(fields["id"], str) or len(fields["id"]) > _MAX_ID:
        raise ValueError(f"its 'id' is not a text of at most {_MAX_ID:,} characters")
    expires = fields["expires"]
    extra = {name: fields[name] for name in sorted(fields.keys() - set(_FIELDS))}
    if extra and len(json.dumps(extra)) > _MAX_EXTRA:
        raise ValueError("its unknown fields are longer than 32 KB")
    return Record(
        sha256=fields["sha256"],
        host=fields["host"],
        url=fields["url"],
        id=fields["id"],
        variant=fields["variant"],
        bytes=_count("bytes", fields["bytes"], 0, 10**16),
        media_type=fields["media_type"],
        width=None if fields["width"] is None else _count("width", fields["width"], 1, 10**10),
        height=None if fields["height"] is None else _count("height", fields["height"], 1, 10**10),
        uploaded=_moment("uploaded", fields["uploaded"]),
        expires=None if expires is None else _moment("expires", expires),
        extra=extra,
    )


def render_record(record: Record) -> str:
    """Write one record as a line, without its end; raises LockError for what could not be read again."""
    fields = {name: getattr(record, name) for name in _FIELDS}
    try:
        fields["uploaded"] = _written(record.uploaded)
        fields["expires"] = _written(record.expires) if record.expires else None
        fields |= {name: record.extra[name] for name in sorted(record.extra.keys() - fields.keys())}
        line = json.dumps(fields, allow_nan=False)
        parse_record(line)
    except (ValueError, TypeError, OverflowError, RecursionError) as cause:
        reason = f"a record of the host {str(record.host)!r} cannot be kept: {cause}; report it to the host's authors"
    else:
        return line
    raise LockError(printable(reason, 300))


def whole(record: Record) -> Record:
    """Cut a record's times to whole seconds of UTC, as its line has them."""
    expires = record.expires and record.expires.astimezone(UTC).replace(microsecond=0)
    return replace(record, uploaded=record.uploaded.astimezone(UTC).replace(microsecond=0), expires=expires)


def check_text(name: str, found: object) -> None:
    """Check one field by its grammar; raises ValueError."""
    grammar, wanted = _TEXTS[name]
    if not isinstance(found, str) or not grammar.fullmatch(found):
        raise ValueError(f"its '{name}' is not {wanted}")


def load_object(line: str) -> dict[str, Any]:
    """Read one JSON object that repeats no key; raises ValueError with the cause."""
    if len(line) > MAX_LINE:
        raise ValueError("it is longer than 64 KB")
    fields = files.strict_json(line)
    if not isinstance(fields, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - as every other fault of a line
    return fields


def _count(name: str, found: object, least: int, end: int) -> int:
    if isinstance(found, int) and not isinstance(found, bool) and least <= found < end:
        return found
    raise ValueError(f"its '{name}' is not a whole number from {least}")


def _moment(name: str, found: object) -> datetime:
    if isinstance(found, str) and _TIME.fullmatch(found):
        try:
            return datetime.fromisoformat(found)
        except ValueError:
            pass
    raise ValueError(f"its '{name}' is not a time like 2026-01-31T12:00:00Z")


_known_moment: Final = lru_cache(maxsize=4096)(_moment)
"""The same for times that stand in many lines."""


def _written(moment: datetime) -> str:
    # isoformat pads the year to four digits; strftime does not everywhere.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


# JSON Lines: a header, then a record a line. What git's union merge leaves (any order, repeated headers
# and lines) is read; everything else that is not as written here is an error, never a reason to upload again.
MAX_BYTES: Final = 2 * 1024**3
"""Six million records: what is longer is no lock, and would only fill the memory."""

_VERSION: Final = 1
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_MARKERS: Final = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")
_RESTORE: Final = "restore the file from git"
_AHEAD: Final = timedelta(days=1)
"""How far the clock of the machine that wrote a record may have been ahead of this one's."""


@dataclass(frozen=True, slots=True)
class Lock:
    """What the committed file says: the host last published with, and one record for each key, sorted."""

    host: str | None = None
    """None = never published."""
    records: tuple[Record, ...] = ()
    header: Mapping[str, object] = field(default_factory=dict, hash=False)
    """The header's fields of later versions, kept as they are."""
    unconfirmed: tuple[Record, ...] = ()
    """Records whose URLs nobody has seen yet, sorted: no page may name them, and the next build asks them again."""


class _BrokenLineError(ValueError):
    """A line that cannot be read: the cause, and what to do."""

    def __init__(self, cause: str, remedy: str = _RESTORE) -> None:
        super().__init__(cause)
        self.remedy = remedy


def read(path: Path, now: datetime | None = None) -> Lock:
    """Read the lock; a missing file is an empty lock. `now` is the run's clock. Raises LockError."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise LockError(f"{path.name} is not a regular file; name a file with the option 'lock'")
        if found.st_size > MAX_BYTES:
            raise LockError(f"{path.name} is longer than 2 GB, so it is no lock; {_RESTORE}")
        content = path.read_bytes()
    except FileNotFoundError:
        return Lock()
    except OSError as problem:
        reason = problem.strerror or str(problem)
    else:
        return parse(content, path.name, now)
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
    records, left = _counting((*lock.records, *lock.unconfirmed, *map(whole, new_records)))
    return Lock(host or lock.host, records, lock.header, left)


def add(path: Path, new_records: Iterable[Record], host: str | None, now: datetime | None = None) -> bool:
    """Merge records into the file as it is now, and say whether that changed it.

    Whatever else wrote meanwhile, another build or `git pull`, stays. Raises OSError and LockError.
    """
    new = tuple(new_records)
    if now:
        # A clock that was set back during the run makes none of its own records one from the future.
        now = max([now, *(record.uploaded for record in new)])
    with _held(path):
        return write(path, merged(read(path, now), new, host))


def append(path: Path, record: Record, host: str) -> None:
    """Add one record's line at the file's end: the moment that it is earned, so that no kill forgets it.

    The lock is read in any order; `add` sorts the line in. Not synced: a killed process loses no write, and what a
    loss of power takes the local store has. Raises OSError and LockError.
    """
    line = render_record(whole(record)) + "\n"
    with _held(path), path.resolve().open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        before = "" if size else _header(Lock(host)) + "\n"
        if size:
            file.seek(size - 1)
            before = "" if file.read(1) == b"\n" else "\n"
        left = memoryview(f"{before}{line}".encode("ascii"))
        try:
            while left:
                left = left[file.write(left) :]
        except OSError:
            file.truncate(size)  # a disk that is full takes a part of a line, which would be an error ever after
            raise


def drop(path: Path, urls: Container[str]) -> int:
    """Take the records of these URLs out of the file as it is now, and say how many there were."""
    with _held(path):
        lock = read(path)
        records = tuple(record for record in lock.records if record.url not in urls)
        left = tuple(record for record in lock.unconfirmed if record.url not in urls)
        count = len(lock.records) + len(lock.unconfirmed) - len(records) - len(left)
        if count:
            write(path, Lock(lock.host, records, lock.header, left))
        return count


def check_place(path: Path) -> None:
    """Refuse a place without locks, before anything is sent whose record two builds there could spoil.

    What cannot be written for another reason costs no image: each record is told. Raises StateError.
    """
    try:
        with _held(path):
            return
    except OSError as problem:
        if problem.errno not in files.NO_LOCKS:
            return
        reason = f"{path} cannot be locked: {problem.strerror}"
    raise StateError(f"{reason}; set 'lock' to a file on a drive of this machine")


_LONGEST_WAIT: Final = 30.0
"""Seconds to wait for another process that writes the lock, which takes it milliseconds."""


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold the lock file itself against other processes that write it; made where there is none. Raises OSError.

    A write replaces the file, so what was waited for may be the old one: then the new one is held instead. One that
    was made for this and got nothing, as on a full disk, goes again. Windows has no such locks, and goes without.
    """
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    if fcntl is None:  # Windows puts no file in the place of one that is open
        yield
        return
    deadline = time.monotonic() + _LONGEST_WAIT
    while True:
        file, is_new = _made(target)
        try:
            _lock_file(file, deadline)
            if not _is_at(target, file):
                continue
            yield
            return
        finally:
            if is_new and _is_at(target, file) and not os.fstat(file).st_size:
                with suppress(OSError):
                    target.unlink()
            os.close(file)


def _made(target: Path) -> tuple[int, bool]:
    """Open a file, made where there is none; gives its descriptor, and whether it is new."""
    with suppress(FileExistsError):
        return os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
    return os.open(target, os.O_RDWR | os.O_CREAT, 0o666), False  # NFS locks no file that is open for reading alone


def _is_at(target: Path, file: int) -> bool:
    """Say whether an open file is still the one at a path."""
    try:
        return os.fstat(file).st_ino == target.stat().st_ino
    except FileNotFoundError:
        return False


def _lock_file(file: int, deadline: float) -> None:
    """Wait for a file to be ours alone. Raises OSError."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def parse(content: str | bytes, name: str, now: datetime | None = None) -> Lock:
    """Read a lock's text; `name` is the file's, for messages. Raises LockError.

    Of several headers the last one that names a host counts. A record from the future would count for ever, since
    of two that live as long the later one does: it is an error.
    """
    latest = (now or datetime.now(UTC)) + _AHEAD
    records: list[Record] = []
    headers: list[dict[str, object]] = []
    lines: Iterable[str | bytes] = content.split("\n") if isinstance(content, str) else io.BytesIO(content)
    for number, raw in enumerate(lines, 1):
        try:
            line = _decoded(raw, number)
            if record := quick_record(line):
                records.append(_in_time(record, latest))
            elif stripped := line.strip(" \t\r"):
                found = _parsed(stripped)
                if isinstance(found, Record):
                    records.append(_in_time(found, latest))
                else:
                    headers.append(found)
        except ValueError as cause:
            remedy = cause.remedy if isinstance(cause, _BrokenLineError) else _RESTORE
            reason = f"{name}, line {number}: {printable(cause)}; {remedy}"
            raise LockError(reason) from None
    if records and not headers:
        raise LockError(f"{name}, line 1: it has no header like {_header(Lock())}; {_RESTORE}")
    hosts = [header.pop("host") for header in headers]
    host = next((name for name in reversed(hosts) if isinstance(name, str)), None)
    counting, left = _counting(records)
    return Lock(host, counting, {key: header[key] for header in headers for key in header}, left)


def _in_time(record: Record, latest: datetime) -> Record:
    """Refuse a record that was made later than now, give or take a day."""
    if record.uploaded <= latest:
        return record
    raise _BrokenLineError(
        f"its 'uploaded' is in the future ({_written(record.uploaded)})", f"{_RESTORE}, or set this machine's clock"
    )


def render(lock: Lock) -> str:
    """Write a lock as text, always the same for the same lock; raises LockError for what could not be read again."""
    lines = (_header(lock), *map(render_record, sorted((*lock.records, *lock.unconfirmed), key=_key)), "")
    text = "\n".join(lines)
    if len(text) > MAX_BYTES:
        raise LockError("the lock would be longer than 2 GB; take out what left the sites with `imghost tidy`")
    return text


def _decoded(line: str | bytes, number: int) -> str:
    """Decode one line, without its end and the mark that may stand before the first; raises ValueError."""
    if isinstance(line, bytes):
        try:
            line = line.decode("utf-8").removesuffix("\n")
        except UnicodeDecodeError:
            raise _BrokenLineError("it is not UTF-8") from None
    return line.removeprefix("\ufeff") if number == 1 else line


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


def _counting(records: Iterable[Record]) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Keep the record that counts for each key, and beside it one that is not confirmed yet; both sorted."""
    records = tuple(records)
    if all(map(is_confirmed, records)) and all(_key(one) < _key(two) for one, two in pairwise(records)):
        return records, ()  # as we write it: each key once, and sorted
    kept: dict[tuple[str, str, str], Record] = {}
    left: dict[tuple[str, str, str], Record] = {}
    for record in records:
        chosen = kept if is_confirmed(record) else left
        known = chosen.setdefault(record.key, record)
        # Unknown fields that are equal in Python may be written differently: 1, 1.0, true.
        if known is not record and (known != record or record.extra):
            chosen[record.key] = max(known, record, key=_life)
    waiting = (record for key, record in sorted(left.items()) if key not in kept or _is_later(record, kept[key]))
    return tuple(kept[key] for key in sorted(kept)), tuple(waiting)


def _is_later(record: Record, known: Record) -> bool:
    """Say whether an unconfirmed record is of a later upload than the one that counts."""
    return record.url != known.url and record.uploaded > known.uploaded


def _life(record: Record) -> tuple[datetime, datetime, str, int, str]:
    """Rank records of one key: of two that say the same the one that tells more counts.

    The whole line comes last, so that the order of the lines never decides.
    """
    return record.expires or _NEVER, record.uploaded, record.url, len(record.extra), render_record(record)
