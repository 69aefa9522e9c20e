"""A record as one line of JSON, for the lock and the cache: strict in reading, stable to the byte in writing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

from imghost.errors import LockError
from imghost.models import Record
from imghost.wording import printable

MAX_LINE: Final = 64 * 1024

_MAX_EXTRA: Final = 32 * 1024
"""Characters of unknown fields: less than a line, so that escapes never make a read line unreadable."""
_MAX_ID: Final = 2000
_MAX_NESTING: Final = 256

# One grammar for both ways of reading a record: as a whole line, and field by field.
_NUMBER: Final = "[1-9][0-9]{0,9}"
_MOMENT: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
_SHA256: Final = "[0-9a-f]{64}"
_HOST: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_URL: Final = r"https?://[!#-&(-;=?-\[\]-_a-~]{1,1992}"
_PLAIN: Final = r"[ !#-\[\]-~]"
_VARIANT: Final = _PLAIN + "{0,200}"
_TYPE: Final = "[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}"
_WHOLE: Final = re.compile(
    rf'\{{"sha256": "({_SHA256})", "host": "({_HOST})", "url": "({_URL})", "id": "({_PLAIN}{{0,{_MAX_ID}}})", '
    rf'"variant": "({_VARIANT})", "bytes": (0|[1-9][0-9]{{0,15}}), "media_type": "({_TYPE})", '
    rf'"width": (?:null|({_NUMBER})), "height": (?:null|({_NUMBER})), '
    rf'"uploaded": "({_MOMENT})", "expires": (?:null|"({_MOMENT})")\}}'
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
    sha256, host, url, identity, variant, size, media_type, width, height, uploaded, expires = match.groups()
    return Record(
        sha256,
        host,
        url,
        identity,
        variant,
        int(size),
        media_type,
        int(width) if width else None,
        int(height) if height else None,
        _moment("uploaded", uploaded),
        _moment("expires", expires) if expires else None,
    )


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
    if line.count("[") + line.count("{") > _MAX_NESTING:
        raise ValueError("it is nested too deeply")
    try:
        found = json.loads(
            line, object_pairs_hook=_unique, parse_constant=_number, parse_float=_number, parse_int=_integer
        )
    except json.JSONDecodeError as problem:
        reason = f"it is not JSON ({problem.msg} at column {problem.colno})"
    except RecursionError:
        reason = "it is nested too deeply"
    else:
        if isinstance(found, dict):
            return found
        reason = "it is not a JSON object"
    raise ValueError(reason)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it repeats a key")
    return found


def _number(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("it holds a number that is not finite")
    return number


def _integer(text: str) -> int:
    if len(text) > 400:
        raise ValueError("it holds a number of more than 400 digits")
    return int(text)


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


def _written(moment: datetime) -> str:
    # isoformat pads the year to four digits; strftime does not everywhere.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
