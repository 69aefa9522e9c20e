"""The committed file of records: read strictly, merged, written stable to the byte."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import sys
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache, partial
from itertools import pairwise
from operator import lt
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from imghost import files
from imghost.errors import LockError, StateError
from imghost.models import NamedTuple, Record, dataclass
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
    "sha256": (_SHA256, "64 lower-case hexadecimal digits"),
    "host": (_HOST, "a host's name"),
    "url": (
        _URL,
        "an http(s) URL of at most 2,000 ASCII characters without spaces, quotes and brackets",
    ),
    "variant": (_VARIANT, "at most 200 ASCII characters without quotes"),
    "media_type": (_TYPE, "a media type"),
}
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
    try:
        line = _line_of(record)
        if not _WHOLE.fullmatch(line):  # else nothing is left to check
            parse_record(line)
    except (ValueError, TypeError, OverflowError, RecursionError) as cause:
        reason = f"a record of the host {str(record.host)!r} cannot be kept: {cause}; report it to the host's authors"
    else:
        return line
    raise LockError(printable(reason, 300))


def _line_of(record: Record) -> str:
    fields = {name: getattr(record, name) for name in _FIELDS}
    fields["uploaded"] = _written(record.uploaded)
    fields["expires"] = _written(record.expires) if record.expires else None
    fields |= {name: record.extra[name] for name in sorted(record.extra.keys() - fields.keys())}
    return json.dumps(fields, allow_nan=False)


def whole(record: Record) -> Record:
    """Cut a record's times to whole seconds of UTC, as its line has them."""
    expires = record.expires and record.expires.astimezone(UTC).replace(microsecond=0)
    return replace(record, uploaded=record.uploaded.astimezone(UTC).replace(microsecond=0), expires=expires)


def check_text(name: str, found: object) -> None:
    """Check one field by its grammar; raises ValueError."""
    grammar, wanted = _TEXTS[name]
    if not isinstance(found, str) or not re.fullmatch(grammar, found):
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
    if isinstance(found, str) and re.fullmatch(_MOMENT, found):
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
    with _file(path) as file:
        return _parsed_whole(file, path, now) if file else Lock()


def _file(path: Path) -> AbstractContextManager[BinaryIO | None]:
    """Open a lock for reading; None where there is none. Raises LockError."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise LockError(f"{path.name} is not a regular file; name a file with the option 'lock'")
        if found.st_size > MAX_BYTES:
            raise LockError(f"{path.name} is longer than 2 GB, so it is no lock; {_RESTORE}")
        return path.open("rb", buffering=0)
    except FileNotFoundError:
        return nullcontext()
    except OSError as problem:
        raise _unreadable(path, problem) from None


def _parsed_whole(file: BinaryIO, path: Path, now: datetime | None) -> Lock:
    """Read a lock from its first line to its last; raises LockError."""
    try:
        file.seek(0)
        content = file.read()
    except OSError as problem:
        raise _unreadable(path, problem) from None
    return parse(content, path.name, now)


def _unreadable(path: Path, problem: OSError) -> LockError:
    return LockError(f"{path.name} cannot be read: {problem.strerror or problem}; make it readable")


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
    new: dict[str, list[Record]] = {}
    for record in map(whole, new_records):
        new.setdefault(record.sha256, []).append(record)
    if now:
        # A clock that was set back during the run makes none of its own records one from the future.
        now = max([now, *(record.uploaded for records in new.values() for record in records)])
    return change(path, new, lambda digest, records: (*records, *new[digest]), host=host, now=now)


def append(path: Path, rendered: Iterable[str], host: str) -> None:
    """Add records' lines at the file's end: the moment that they are earned, so that no kill forgets them.

    The lock is read in any order; `add` sorts the lines in. Not synced: a killed process loses no write, and what a
    loss of power takes the local store has. Raises OSError and LockError.
    """
    lines = "".join(f"{line}\n" for line in rendered)
    with _held(path) as target, target.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        before = "" if size else _header(Lock(host)) + "\n"
        if size:
            file.seek(size - 1)
            before = "" if file.read(1) == b"\n" else "\n"
        left = memoryview(f"{before}{lines}".encode("ascii"))
        try:
            while left:
                left = left[file.write(left) :]
        except OSError:
            file.truncate(size)  # a disk that is full takes a part of a line, which would be an error ever after
            raise


def drop(path: Path, urls: Container[str]) -> int:
    """Take the records of these URLs out of the file as it is now, and say how many there were."""
    with _held(path), opened(path) as lock:
        gone = [record for record in lock.every() if record.url in urls]
        if gone:
            left = partial(_without, urls)
            _write_changed(path, lock, {record.sha256 for record in gone}, left)
        return len(gone)


def _without(urls: Container[str], _: str, records: Sequence[Record]) -> Iterator[Record]:
    return (record for record in records if record.url not in urls)


Change = Callable[[str, Sequence[Record]], Iterable[Record]]
"""What becomes of a digest's records: the digest, and those that count now or are not confirmed yet."""


def change(
    path: Path, digests: Collection[str], changed: Change, *, host: str | None = None, now: datetime | None = None
) -> bool:
    """Put into the place of each digest's records, as the file has them now, others; says whether that changed it.

    `host` is the one published with; None leaves that name as it is. Raises OSError and LockError.
    """
    with _held(path), opened(path, now) as lock:
        return _write_changed(path, lock, digests, changed, host)


def _write_changed(
    path: Path, lock: OpenLock, digests: Collection[str], changed: Change, host: str | None = None
) -> bool:
    """Write a lock anew, durably, if that changes the file; where it is large, what stays is only copied."""
    target = path.resolve()
    if lock.runs:
        if not lock.says(_anew(lock, digests, changed, host)):
            files.write_whole(target, _anew(lock, digests, changed, host), is_durable=True)
            return True
        return False
    content = b"".join(_anew(lock, digests, changed, host))
    if target.is_file() and target.read_bytes() == content:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(target, content, is_durable=True)
    return True


def _anew(lock: OpenLock, digests: Collection[str], changed: Change, host: str | None) -> Iterator[bytes]:
    """Give a lock's text piece by piece, always the same for the same lock; raises LockError for one that is too long.

    Only lines whose digests are named, or which lie where we would not write them, become records on the way.
    """
    length = 0
    for piece in lock.pieces(digests, changed, host):
        length += len(piece)
        if length > MAX_BYTES:
            raise LockError("the lock would be longer than 2 GB; take out what left the sites with `imghost tidy`")
        yield piece


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
def _held(path: Path) -> Iterator[Path]:
    """Hold the lock file itself against other processes that write it; made where there is none. Raises OSError.

    Gives its path, without links.

    A write replaces the file, so what was waited for may be the old one: then the new one is held instead. One that
    was made for this and got nothing, as on a full disk, goes again. Windows has no such locks, and goes without.
    """
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    if fcntl is None:  # Windows puts no file in the place of one that is open
        yield target
        return
    deadline = time.monotonic() + _LONGEST_WAIT
    while True:
        file, is_new = _made(target)
        try:
            _lock_file(file, deadline)
            if not _is_at(target, file):
                continue
            yield target
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
    lines: Iterable[str | bytes] = content.split("\n") if isinstance(content, str) else io.BytesIO(content)
    records, headers = _told_in(lines, name, now)
    if records and not headers:
        raise LockError(f"{name}, line 1: it has no header like {_header(Lock())}; {_RESTORE}")
    counting, left = _counting(records)
    return replace(_headed(headers), records=counting, unconfirmed=left)


def _told_in(
    lines: Iterable[str | bytes], name: str, now: datetime | None
) -> tuple[list[Record], list[dict[str, object]]]:
    """Read lines of a lock: the records and the headers, as they stand there. Raises LockError."""
    latest = (now or datetime.now(UTC)) + _AHEAD
    records: list[Record] = []
    headers: list[dict[str, object]] = []
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
    return records, headers


def _headed(headers: Iterable[Mapping[str, object]]) -> Lock:
    """Make a lock without records of the headers that a file has."""
    fields: dict[str, object] = {}
    host = None
    for header in headers:
        fields |= {name: header[name] for name in header if name != "host"}
        host = header["host"] if isinstance(header["host"], str) else host
    return Lock(host, header=fields)


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


# A large lock is searched, not read. Its lines are sorted by digest, and each is as we write it: that is found out
# once, without a record for each line, and kept with the file's stamp in the local store. From then on a build
# reads the pages of the file that have the digests of its site. Where lines lie otherwise, as `merge=union` and
# workers leave them, there are several such runs of lines, and between them lines that are read one by one.
_LARGE: Final = 256 * 1024
"""Bytes of a lock that is read whole in the time that searching would save."""
WORTH_PROVING: Final = 4 * 1024 * 1024
"""Bytes of a lock at whose lines it takes so long to look that it is worth a write into the local store."""
_BLOCK: Final = 1 << 20
_PAGE: Final = 4096
_SHORTEST_RUN: Final = 64 * 1024
_MOST_RUNS: Final = 64
"""Runs that a value of the local store has room to name, with what lies between them."""
_MOST_LOOSE: Final = 4 * 1024 * 1024
"""Bytes of lines that are read one by one beside the runs; a lock with more of them is read as a whole."""
_SEARCH: Final = 40_000
"""Bytes that are looked through in the time that one search takes."""
_DIGEST: Final = slice(len('{"sha256": "'), len('{"sha256": "') + 64)
"""Where a line that is as we write it has its digest."""
_LAST: Final = b"g"
"""What is sorted behind every digest."""
_MARK: Final = "\ufeff".encode()
"""What some editors put before a text."""

_Row = tuple[bytes, bytes, bytes, bytes]
"""Digest, host, variant, and when it was uploaded."""


class Proofs(Protocol):
    """Keeps what was found out of a file, for as long as it has the same stamp."""

    def proof(self, path: Path, now: files.Stamp) -> str:
        """Tell what was found out of a file with this stamp; empty = nothing."""

    def keep_proof(self, path: Path, now: files.Stamp, proof: str) -> None:
        """Keep what was found out of a file with this stamp."""


class Span(NamedTuple):
    """Some lines of a file: where the first begins, and where the last has ended."""

    start: int
    end: int


class _Shape(NamedTuple):
    """How the lines of a lock lie, in the order of the file."""

    runs: tuple[Span, ...]
    """Lines that are as we write them, each key once, and sorted."""
    loose: tuple[Span, ...]
    """All others."""
    latest: str
    """When the last one of the runs' records was uploaded."""


class OpenLock:
    """A lock of which only those records are read that are asked for, as the file was when opened; for any thread.

    Its methods raise LockError where somebody writes into that file meanwhile, which no program of ours does.
    """

    def __init__(
        self, name: str, headed: Lock, loose: Iterable[Record], file: BinaryIO | None = None, runs: Sequence[Span] = ()
    ) -> None:
        self.runs: Final = tuple(runs)
        self._name = name
        self._headed = headed
        self._loose: dict[str, list[Record]] = {}
        for record in loose:
            self._loose.setdefault(record.sha256, []).append(record)
        self._file = file
        self._ends = [(self._line_from(run, run.start)[1], self._last_digest(run)) for run in runs]
        self._looking = threading.Lock()
        self._urls: dict[str, Record] | None = None
        self._marks = array("q")
        """A number for each URL of the runs, sorted: a million URLs themselves would take 200 MB."""

    @property
    def host(self) -> str | None:
        """The host last published with; None = never published."""
        return self._headed.host

    def of(self, digests: Iterable[str]) -> Lock:
        """Read what the lock says of some images."""
        wanted = set(digests)
        found = [record for digest in wanted for record in self._loose.get(digest, ())]
        named = {digest.encode("utf-8", "replace") for digest in wanted}
        for number, run in enumerate(self.runs):
            if len(named) * _SEARCH > run.end - run.start:
                lines: Iterable[bytes] = (line for line in self._lines(run) if line[_DIGEST] in named)
            else:
                lines = (line for digest in named for line in self._of_digest(number, digest)[1])
            found += map(self._record, lines)
        counting, left = _counting(found)
        return replace(self._headed, records=counting, unconfirmed=left)

    def every(self) -> Iterator[Record]:
        """Give every record, also those that do not count beside others."""
        yield from (record for records in self._loose.values() for record in records)
        for run in self.runs:
            yield from map(self._record, self._lines(run))

    def bound(self, url: str) -> Record | None:
        """Find a record by its URL alone."""
        with self._looking:
            if self._urls is None:
                self._urls = {record.url: record for records in self._loose.values() for record in records}
                self._marks = self._marks_of_urls()
        if record := self._urls.get(url):
            return record
        text = url.encode("utf-8", "replace")
        at = bisect_left(self._marks, hash(text))
        if at == len(self._marks) or self._marks[at] != hash(text):
            return None
        named = b'"url": "' + text + b'"'
        blocks = (block for run in self.runs for block in self._blocks(run) if named in block)
        found = (self._record(line) for block in blocks for line in block.split(b"\n") if named in line)
        return next((record for record in found if record.url == url), None)

    def _marks_of_urls(self) -> array[int]:
        named = re.compile(rb'"url": "([^"]*)"')
        blocks = (block for run in self.runs for block in self._blocks(run))
        return array("q", sorted(array("q", (hash(url) for block in blocks for url in named.findall(block)))))

    def says(self, pieces: Iterable[bytes]) -> bool:
        """Say whether the file is this text."""
        at = 0
        for piece in pieces:
            if self._read(at, len(piece)) != piece:
                return False
            at += len(piece)
        return not self._read(at, 1)

    def pieces(self, digests: Collection[str], changed: Change, host: str | None) -> Iterator[bytes]:
        """Give the text of the lock with other records of these digests; the rest of its runs is copied."""
        yield f"{_header(replace(self._headed, host=host or self.host))}\n".encode("ascii")
        at = [run.start for run in self.runs]
        for digest in sorted({*digests, *self._loose, *self._seams()}):
            found = [self._of_digest(number, digest.encode("ascii")) for number in range(len(self.runs))]
            yield from self._between(map(Span, at, (place.start for place, _ in found)))
            lines = (self._record(line) for _, lines in found for line in lines)
            records = _sorted((*self._loose.get(digest, ()), *lines))
            yield _text_of(changed(digest, records) if digest in digests else records)
            at = [place.end for place, _ in found]
        yield from self._between(map(Span, at, (run.end for run in self.runs)))

    def _between(self, spans: Iterable[Span]) -> Iterator[bytes]:
        """Give the lines of some spans as one sorted text."""
        full = [span for span in spans if span.start < span.end]
        if len(full) == 1:
            yield from self._blocks(full[0])
        elif full:
            yield _text_of(self._record(line) for span in full for line in self._lines(span))

    def _seams(self) -> Iterator[str]:
        """Give digests at which to part the text where runs lie beside each other, so that no part is long."""
        if len(self.runs) > 1:
            for run, ends in zip(self.runs, self._ends, strict=True):
                inner = (self._line_from(run, at)[1] for at in range(run.start + _BLOCK, run.end, _BLOCK))
                yield from (digest.decode("ascii") for digest in (*ends, *inner) if digest != _LAST)

    def _of_digest(self, number: int, digest: bytes) -> tuple[Span, list[bytes]]:
        """Find a digest's lines in a run, and where they are, or would be."""
        run, (first, last) = self.runs[number], self._ends[number]
        if not first <= digest <= last:
            at = run.start if digest < first else run.end
            return Span(at, at), []
        start = self._guessed(run, first, last, digest)
        found: list[bytes] = []
        for line in self._lines(Span(start, run.end), 3 * _PAGE):
            if line[_DIGEST] < digest:
                start += len(line) + 1
            elif line[_DIGEST] == digest:
                found.append(line)
            else:
                break
        return Span(start, start + sum(len(line) + 1 for line in found)), found

    def _guessed(self, run: Span, first: bytes, last: bytes, digest: bytes) -> int:
        """Guess where a digest's lines begin, by how far digests are from each other: mostly right at the second look.

        Gives a place before them; where the guess was wrong, they are searched for.
        """
        least, most, wanted = _size_of(first), _size_of(last), _size_of(digest)
        start, there = self._line_from(
            run, run.start + (run.end - run.start) * (wanted - least) // max(1, most - least)
        )
        if there == _LAST:
            return self._before(run, first, last, digest)
        near = start + (run.end - run.start) * (wanted - _size_of(there)) // max(1, most - least) - 2 * _PAGE
        near = min(max(near, run.start), run.end - 1)
        text = self._read(near, min(4 * _PAGE, run.end - near))
        at = text.find(b'\n{"sha256": "' + digest) + 1
        begin = text.find(b"\n") + 1
        if at and begin < at:
            return near + at
        return self._before(run, first, last, digest)

    def _before(self, run: Span, first: bytes, last: bytes, digest: bytes) -> int:
        """Search for a line that is little before the first one of a digest, or before where that would be.

        Digests are spread evenly, so the place is guessed by their own size, a page before and a page behind it in
        turn, and every third time halfway, however they are spread.
        """
        low, high = run
        least, most, wanted = _size_of(first), _size_of(last), _size_of(digest)
        tries = 0
        while high - low > 2 * _PAGE:
            guess = low + (high - low) * (wanted - least) // max(1, most - least)
            guess = (guess - _PAGE, guess + _PAGE, (low + high) // 2)[tries % 3]
            middle = min(max(guess, low + 1), high - 1)
            start, there = self._line_from(run, middle)
            if start < high and there < digest:
                low, least = start, _size_of(there)
            else:
                high, most = middle, most if there == _LAST else _size_of(there)
            tries += 1
        return low

    def _line_from(self, run: Span, at: int) -> tuple[int, bytes]:
        """Find the first line that begins at an offset or behind it, and its digest; the run's end where none does."""
        place, found = at - 1, -1
        if at <= run.start:
            return run.start, self._read(run.start, _DIGEST.stop)[_DIGEST]
        while found < 0 and place < run.end:
            known = self._read(place, min(_PAGE, run.end - place))
            if not known:
                raise self._has_changed()
            found = known.find(b"\n")
            place += found + 1 if found >= 0 else len(known)
        if place >= run.end:
            return run.end, _LAST
        line = known[found + 1 :] if len(known) > found + _DIGEST.stop else self._read(place, _DIGEST.stop)
        return place, line[_DIGEST]

    def _last_digest(self, run: Span) -> bytes:
        start = max(run.start, run.end - MAX_LINE - 1)
        known = self._read(start, run.end - start)
        return known[known.rfind(b"\n", 0, -1) + 1 :][_DIGEST]

    def _lines(self, span: Span, block: int = _BLOCK) -> Iterator[bytes]:
        """Give lines without their ends."""
        for text in self._blocks(span, block):
            yield from text[:-1].split(b"\n")

    def _blocks(self, span: Span, block: int = _BLOCK) -> Iterator[bytes]:
        """Give the text of a span, in blocks of whole lines."""
        at, left = span.start, b""
        while at < span.end:
            known = self._read(at, min(block, span.end - at))
            at += len(known)
            lines, end, left = (left + known).rpartition(b"\n")
            if end:
                yield lines + end
            if not known or len(left) > MAX_LINE:
                break
        if at < span.end or left:
            raise self._has_changed()

    def _read(self, at: int, length: int) -> bytes:
        assert self._file is not None
        try:
            return os.pread(self._file.fileno(), length, at)
        except OSError as problem:
            raise LockError(f"{self._name} cannot be read: {problem.strerror or problem}; build again") from None

    def _record(self, line: bytes) -> Record:
        try:
            return parse_record(line.decode("ascii"))
        except ValueError:
            raise self._has_changed() from None

    def _has_changed(self) -> LockError:
        return LockError(f"{self._name} changed while it was read; build again")


def _size_of(digest: bytes) -> int:
    """Give a number that is larger for a larger digest."""
    return int(digest[:15], 16)


def _sorted(records: Iterable[Record]) -> list[Record]:
    """Sort the records that count, each with the one behind it that is not confirmed yet."""
    counting, left = _counting(records)
    return sorted((*counting, *left), key=_key)


def _text_of(records: Iterable[Record]) -> bytes:
    return "".join(f"{render_record(record)}\n" for record in _sorted(records)).encode("ascii")


@contextmanager
def opened(path: Path, now: datetime | None = None, proofs: Proofs | None = None) -> Iterator[OpenLock]:
    """Open the lock to ask it for single images; a missing file is an empty lock. Raises LockError.

    Every line is looked at before anything is told, unless `proofs` knows that this was done. `now` is the run's
    clock.
    """
    with _file(path) as file:
        lock = _looked_at(path, file, now, proofs) if file else OpenLock(path.name, Lock(), ())
        if file and not lock.runs:
            file.close()  # all is read, and Windows puts no file in the place of one that is open
        yield lock


def _looked_at(path: Path, file: BinaryIO, now: datetime | None, proofs: Proofs | None) -> OpenLock:
    try:
        is_large = os.fstat(file.fileno()).st_size >= _LARGE and os.name != "nt"
        shape = _shape(path, file, proofs) if is_large else None
        lock = shape and _searchable(path.name, file, shape, now)
    except OSError as problem:
        raise _unreadable(path, problem) from None
    if lock:
        return lock
    read_whole = _parsed_whole(file, path, now)
    loose = (*read_whole.records, *read_whole.unconfirmed)
    return OpenLock(path.name, replace(read_whole, records=(), unconfirmed=()), loose)


def _searchable(name: str, file: BinaryIO, shape: _Shape, now: datetime | None) -> OpenLock | None:
    """Open a lock of a known shape; None where something is wrong with it, which only its whole text tells."""
    if shape.latest > _written((now or datetime.now(UTC)) + _AHEAD):
        return None
    records: list[Record] = []
    headers: list[dict[str, object]] = []
    for span in shape.loose:
        file.seek(span.start)
        content = file.read(span.end - span.start)
        if span.start and content.startswith(_MARK):
            return None
        try:
            there, named = _told_in(io.BytesIO(content), name, now)
        except LockError:  # the line has another number in the whole text
            return None
        records += there
        headers += named
    return OpenLock(name, _headed(headers), records, file, shape.runs) if headers else None


def prove(path: Path, proofs: Proofs) -> None:
    """Look at a lock that this process has just written, so that the next build need not. Raises no error."""
    with suppress(OSError, LockError), _file(path) as file:
        if file and os.fstat(file.fileno()).st_size >= WORTH_PROVING:
            _shape(path, file, proofs, is_ours=True)


def _shape(path: Path, file: BinaryIO, proofs: Proofs | None, *, is_ours: bool = False) -> _Shape | None:
    """Find out how an open lock's lines lie, or remember it; None where that is no way to read it. Raises OSError."""
    now, found = files.stamp(file.fileno()), os.fstat(file.fileno())
    if proofs is None or now is None or found.st_size < WORTH_PROVING:
        return _Sorter().sorted(file, found.st_size)
    if shape := _proven(proofs.proof(path, now), found.st_size):
        return shape
    # A change of the same step of the file system's clock would not be seen, unless the file is older than that.
    is_settled = is_ours or files.is_settled(found)
    shape = _Sorter().sorted(file, found.st_size)
    if shape and is_settled and now == files.stamp(file.fileno()):
        proofs.keep_proof(path, now, _proof(shape))
    return shape


_PROOF: Final = cache(
    partial(re.compile, r"1 ([0-9TZ:-]{20})((?: [0-9]{1,10}-[0-9]{1,10})+) /((?: [0-9]{1,10}-[0-9]{1,10})+)")
)
"""The first number is that of the rules by which lines are looked at."""


def _proof(shape: _Shape) -> str:
    runs, loose = ("".join(f" {span.start}-{span.end}" for span in spans) for spans in (shape.runs, shape.loose))
    return f"1 {shape.latest}{runs} /{loose}"


def _proven(proof: str, size: int) -> _Shape | None:
    """Read a proof; None for one that does not tell of every byte of a file, each once."""
    match = _PROOF().fullmatch(proof)
    if not match:
        return None
    runs, loose = (tuple(Span(*map(int, pair.split("-"))) for pair in text.split()) for text in match.groups()[1:])
    at = 0
    for span in sorted(runs + loose):
        if span.start != at or span.end <= at:
            return None
        at = span.end
    return _Shape(runs, loose, match[1]) if at == size else None


class _Sorter:
    """Finds the runs of sorted lines that are as we write them, in a file of any length."""

    def __init__(self) -> None:
        self._runs: list[Span] = []
        self._loose: list[Span] = []
        self._start = self._at = 0
        self._last: _Row | None = None
        """The last line of the run that goes on, which began at `_start`; None where none does."""
        self._latest = b""

    def sorted(self, file: BinaryIO, size: int) -> _Shape | None:
        """Give the shape of a file; None where so much of it is loose that it is better read as a whole."""
        file.seek(0)
        left = b""
        while self._at < size and not self._is_hopeless():
            known = file.read(_BLOCK)
            lines, end, left = (left + known).rpartition(b"\n")
            self._take(lines + end)
            if not known or len(left) > MAX_LINE:
                break
        if left:
            self._take_line(left)
        self._end_run()
        if self._at != size or not self._runs or self._is_hopeless():
            return None
        return _Shape(tuple(self._runs), tuple(self._loose), self._latest.decode("ascii"))

    def _is_hopeless(self) -> bool:
        return len(self._runs) > _MOST_RUNS or sum(span.end - span.start for span in self._loose) > _MOST_LOOSE

    def _take(self, block: bytes) -> None:
        """Take whole lines: all at once where each is as it should be, which costs a microsecond a line."""
        rows: list[_Row] = _as_written().findall(block)
        keys = [row[:3] for row in rows]
        is_whole = len(keys) == block.count(b"\n") and all(map(lt, keys, keys[1:]))
        if is_whole and keys and (self._last is None or self._last[:3] < keys[0]):
            self._take_rows(len(block), rows)
        else:
            for line in io.BytesIO(block):
                self._take_line(line)

    def _take_line(self, line: bytes) -> None:
        match = _as_written().fullmatch(line)
        row: _Row | None = (match[1], match[2], match[3], match[4]) if match else _row_of(line)
        if row is None or (self._last is not None and row[:3] <= self._last[:3]):
            self._end_run()
        if row is None:
            self._add_loose(Span(self._at, self._at + len(line)))
            self._at += len(line)
        else:
            self._take_rows(len(line), [row])

    def _take_rows(self, length: int, rows: Sequence[_Row]) -> None:
        """Let the run go on by some lines, or begin."""
        if self._last is None:
            self._start = self._at
        self._at += length
        self._last = rows[-1]
        self._latest = max(self._latest, *(row[3] for row in rows))

    def _end_run(self) -> None:
        """End the run; one that is too short for a search is loose."""
        if self._last is not None:
            run = Span(self._start, self._at)
            if run.end - run.start < _SHORTEST_RUN:
                self._add_loose(run)
            else:
                self._runs.append(run)
        self._last = None

    def _add_loose(self, span: Span) -> None:
        if self._loose and self._loose[-1].end == span.start:
            span = Span(self._loose.pop().start, span.end)
        self._loose.append(span)


_DAY: Final = (
    "[1-9][0-9]{3}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
)
_TIME_OF_DAY: Final = "T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
_ESCAPED: Final = r'\\["\\bfnrt]|\\u(?!00(?:[2-6][0-9a-f]|7[0-9a-e]|0[89acd]))[0-9a-f]{4}'
_WRITTEN_TEXT: Final = rf'"(?:[ !#-\[\]-~]{{1,64}}+|{_ESCAPED}){{0,400}}+"'
_SHORT_TEXT: Final = rf'"{_PLAIN}{{0,200}}+"'


@lru_cache(maxsize=1)
def _as_written() -> re.Pattern[bytes]:
    """Make the pattern of a line that `render_record` writes just so, and that needs no other look at what it says.

    A line that has more is looked at by itself: fields of later versions, the last day of a leap year's February.
    """
    receipt = rf'\{{"amount": {_SHORT_TEXT}, "network": {_SHORT_TEXT}(?:, "transaction": {_SHORT_TEXT})?\}}'
    line = (
        rf'^\{{"sha256": "({_SHA256})", "host": "({_HOST}+)", "url": "{_URL}+", "id": "{_PLAIN}{{0,{_MAX_ID}}}+", '
        rf'"variant": "({_VARIANT}+)", "bytes": (?:0|[1-9][0-9]{{0,15}}+), "media_type": "{_TYPE}", '
        rf'"width": (?:null|{_NUMBER}+), "height": (?:null|{_NUMBER}+), '
        rf'"uploaded": "({_DAY}{_TIME_OF_DAY})", "expires": (?:null|"{_DAY}{_TIME_OF_DAY}")'
        rf'(?:, "path": {_WRITTEN_TEXT})?(?:, "receipt": {receipt})?'
        rf'(?:, "served": \{{"bytes": (?:0|[1-9][0-9]{{0,15}}+), "sha256": "{_SHA256}"\}})?\}}\n'
    )
    return re.compile(line.encode("ascii"), re.MULTILINE)


def _row_of(line: bytes) -> _Row | None:
    """Look at a line that has more than others; None for one that is not as we would write it, or is wrong."""
    try:
        text = line.removesuffix(b"\n").decode("ascii")
        record = record_of(load_object(text))
        if not line.endswith(b"\n") or _line_of(record) != text:
            return None
    except ValueError:
        return None
    uploaded = _written(record.uploaded)
    digest, host, variant, moment = (part.encode("ascii") for part in (*record.key, uploaded))
    return digest, host, variant, moment
