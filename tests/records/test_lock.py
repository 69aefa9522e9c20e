"""The lock is read strictly, merged without order, and written stable to the byte."""

from __future__ import annotations

import json
import os
import random
import string
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imghost.errors import LockError
from imghost.models import Record
from imghost.records import lock as locks
from imghost.records import unconfirmed
from imghost.records.lock import Lock, load_object, quick_record, record_of

if sys.platform != "win32":
    import fcntl
    import resource

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX limits and locks")
HEADER = '{"imghost_lock": 1, "host": "img.pro"}'
SHA = "0123456789abcdef" * 4
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECORD = Record(SHA, "img.pro", "https://src.img.pro/ab/1.png", "1", "", 10, "image/png", 4, 3, NOON)
LINE = locks.render_record(RECORD)


def line(**changes: Any) -> str:
    """Give a record's line with some fields replaced; `...` leaves one out."""
    fields = json.loads(LINE) | changes
    return json.dumps({name: found for name, found in fields.items() if found is not ...}, ensure_ascii=False)


def test_the_lock_is_written_as_documented() -> None:
    later = replace(
        RECORD, host="img402", width=None, height=None, variant="strip", expires=NOON, extra={"b": 2, "a": [1]}
    )
    assert locks.render(locks.merged(Lock(), [later, RECORD], "img.pro")) == (
        f"{HEADER}\n"
        f'{{"sha256": "{SHA}", "host": "img.pro", "url": "https://src.img.pro/ab/1.png", "id": "1", "variant": "", '
        '"bytes": 10, "media_type": "image/png", "width": 4, "height": 3, '
        '"uploaded": "2026-03-01T12:00:00Z", "expires": null}\n'
        f'{{"sha256": "{SHA}", "host": "img402", "url": "https://src.img.pro/ab/1.png", "id": "1", "variant": "strip", '
        '"bytes": 10, "media_type": "image/png", "width": null, "height": null, '
        '"uploaded": "2026-03-01T12:00:00Z", "expires": "2026-03-01T12:00:00Z", "a": [1], "b": 2}\n'
    )


def test_a_missing_or_empty_lock_is_an_empty_one(tmp_path: Path) -> None:
    assert locks.read(tmp_path / "imghost.lock") == Lock()
    assert locks.parse("\n\r\n  \n", "imghost.lock") == Lock()


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\n{LINE}\n",
        f"{HEADER}\n{LINE}",
        f"{HEADER}\r\n{LINE}\r\n",
        f"\ufeff{HEADER}\n{LINE}\n",
        f"\n{LINE}\n\n{LINE}\n{HEADER}\n",
        f'{{"imghost_lock": 1, "host": "img402"}}\n{HEADER}\n{LINE}\n{{"imghost_lock":1,"host":null}}\n',
        f"{HEADER}\n  {LINE}\t\n",
        HEADER + "\n" + LINE.replace(": ", ":").replace(", ", " ,\t"),
        HEADER + "\n" + line(**dict(reversed(list(json.loads(LINE).items())))),
        HEADER + "\n" + LINE.replace("img.pro/ab", r"img.pro\/ab").replace('"bytes"', r'"b\u0079tes"'),
    ],
)
def test_what_git_and_editors_make_of_a_lock_is_read(text: str) -> None:
    wanted = Lock("img.pro", (RECORD,))
    assert locks.parse(text, "imghost.lock") == wanted
    assert locks.parse(text.encode(), "imghost.lock") == wanted


@pytest.mark.parametrize("days", [2, 40, 4000])
def test_a_clock_that_is_set_back_during_the_run_costs_no_record(tmp_path: Path, days: int) -> None:
    path, other = tmp_path / "imghost.lock", replace(RECORD, sha256="f" * 64)
    locks.append(path, [locks.render_record(RECORD)], "img.pro")
    assert locks.add(path, [other, RECORD], "img.pro", RECORD.uploaded - timedelta(days=days))
    assert locks.read(path).records == (RECORD, other)


HOSTILE = {
    "conflict marker, ours": "<<<<<<< HEAD",
    "conflict marker, base": "||||||| 1234567",
    "conflict marker, middle": "=======",
    "conflict marker, theirs": ">>>>>>> branch",
    "words": "records follow",
    "cut short": LINE[:-1],
    "two on a line": LINE + LINE,
    "comma at the end": LINE + ",",
    "a list": f"[{LINE}]",
    "a text": '"imghost"',
    "a number": "1",
    "null": "null",
    "an empty object": "{}",
    "single quotes": LINE.replace('"', "'"),
    "a comment": "# " + LINE,
    "a key twice": LINE.replace('"id": "1"', '"id": "1", "id": "2"'),
    "a key twice, escaped": LINE.replace('"id": "1"', r'"id": "1", "\u0069d": "2"'),
    "the digest twice": LINE[:-1] + f', "sha256": "{"f" * 64}"}}',
    "an unknown key twice": LINE[:-1] + ', "x": 1, "x": 2}',
    "a key twice, inside": LINE[:-1] + ', "x": {"y": 1, "y": 2}}',
    "NaN": line(extra=float("nan")),
    "infinity": line(extra=float("inf")),
    "minus infinity": line(bytes=float("-inf")),
    "a float beyond all": LINE[:-1] + ', "x": 1e999}',
    "an int of 10,000 digits": LINE[:-1] + f', "x": {"9" * 10_000}}}',
    "nested 100,000 deep": LINE[:-1] + f', "x": {"[" * 30_000}{"]" * 30_000}}}',
    "nested 300 deep": LINE[:-1] + f', "x": {"[" * 300}{"]" * 300}}}',
    "no digest": line(sha256=...),
    "no url": line(url=...),
    "no expiry": line(expires=...),
    "a short digest": line(sha256=SHA[1:]),
    "a digest in capitals": line(sha256=SHA.upper()),
    "a digest and a line end": line(sha256=SHA + "\n"),
    "a digest of other digits": line(sha256="١" * 64),
    "a number as digest": line(sha256=0),
    "a javascript url": line(url="javascript:alert(1)"),
    "a data url": line(url="data:image/png;base64,AAAA"),
    "a url without scheme": line(url="//src.img.pro/a.png"),
    "a url in capitals": line(url="HTTPS://src.img.pro/a.png"),
    "a url with a quote": line(url='https://src.img.pro/a.png"onerror="alert(1)'),
    "a url with a single quote": line(url="https://src.img.pro/a'b.png"),
    "a url with a bracket": line(url="https://src.img.pro/<script>"),
    "a url with a backtick": line(url="https://src.img.pro/`a"),
    "a url with a backslash": line(url="https://src.img.pro\\@evil.example/a.png"),
    "a url with a space": line(url="https://src.img.pro/a b.png"),
    "a url with a tab": line(url="https://src.img.pro/a\tb.png"),
    "a url with a line end": line(url="https://src.img.pro/a.png\n"),
    "a url with a carriage return": line(url="https://src.img.pro/a.png\r\nX: y"),
    "a url with NUL": line(url="https://src.img.pro/a\0.png"),
    "a url with DEL": line(url="https://src.img.pro/a\x7f.png"),
    "a url with bidi marks": line(url="https://src.img.pro/\u202egnp.a"),
    "a url with an umlaut": line(url="https://src.img.pro/ü.png"),
    "a url of 2,001 characters": line(url="https://src.img.pro/".ljust(2001, "a")),
    "a list as url": line(url=["https://src.img.pro/a.png"]),
    "null as url": line(url=None),
    "a host with a slash": line(host="../img.pro"),
    "an empty host": line(host=""),
    "a host with bidi marks": line(host="img\u202e.pro"),
    "a host of 65 characters": line(host="h" * 65),
    "a variant with a line end": line(variant="strip\n"),
    "a variant with a quote": line(variant='a"b'),
    "a number as id": line(id=1),
    "an id without end": line(id="1" * 2001),
    "a media type with a space": line(media_type="image/png x"),
    "text as bytes": line(bytes="10"),
    "true as bytes": line(bytes=True),
    "minus one byte": line(bytes=-1),
    "half a byte": line(bytes=0.5),
    "no width": line(width=0),
    "a width of eleven digits": line(width=10**10),
    "a height of eleven digits": line(height=10**10),
    "true as height": line(height=True),
    "a time without zone": line(uploaded="2026-03-01T12:00:00"),
    "a time elsewhere": line(uploaded="2026-03-01T12:00:00+01:00"),
    "a time in parts of seconds": line(expires="2026-03-01T12:00:00.5Z"),
    "a time that is none": line(expires="2026-02-30T12:00:00Z"),
    "the year 0": line(uploaded="0000-01-01T00:00:00Z"),
    "no time": line(uploaded=None),
    "a number as time": line(expires=1772366400),
    "a line of 64 KB": line(extra="x" * 65_536),
    "a line of blanks": LINE[:-1] + " " * 70_000 + "}",
    "unknown fields of 33 KB": line(extra="x" * 33_000),
    "a newer version": '{"imghost_lock": 2, "host": "img.pro"}',
    "version 0": '{"imghost_lock": 0, "host": "img.pro"}',
    "version true": '{"imghost_lock": true, "host": "img.pro"}',
    "version 1.0": '{"imghost_lock": 1.0, "host": "img.pro"}',
    "a text as version": '{"imghost_lock": "1"}',
    "a number as the header's host": '{"imghost_lock": 1, "host": 5}',
    "a line end in the header's host": '{"imghost_lock": 1, "host": "img.pro\\n"}',
    "a header's key twice": '{"imghost_lock": 1, "host": "img.pro", "host": "img402"}',
    "NUL": "\0",
    "a byte order mark in the middle": "\ufeff" + LINE,
    "another line end": LINE + "\u2028",
}


@pytest.mark.parametrize("bad", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_line_is_one_error_that_names_the_line(bad: str) -> None:
    with pytest.raises(LockError) as caught:
        locks.parse(f"{HEADER}\n\n{bad}\n{LINE}\n", "imghost.lock")
    text = str(caught.value)
    assert text.startswith("imghost.lock, line 3: it")
    assert text.isprintable()
    assert len(text) < 400
    assert "; " in text


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("=======", "keep the lines of both sides"),
        ('{"imghost_lock": 7}', "it was written by a newer imghost; upgrade imghost"),
        (line(sha256="x"), "its 'sha256' is not 64 lower-case hexadecimal digits; restore the file from git"),
    ],
)
def test_an_error_says_what_to_do(bad: str, words: str) -> None:
    with pytest.raises(LockError, match=words):
        locks.parse(f"{HEADER}\n{bad}", "imghost.lock")


@pytest.mark.parametrize("length", [2_000, 20_000, 32_700])
def test_unknown_fields_of_a_length_that_is_allowed_survive(length: int) -> None:
    text = f"{HEADER}\n{line(later='x' * length)}\n"
    assert locks.render(locks.parse(text, "imghost.lock")) == text


@pytest.mark.parametrize("text", ["", HEADER, f"{HEADER}\n", f"{HEADER}\n{LINE}", f"{HEADER}\r\n{LINE}\r\n"])
def test_a_line_that_is_appended_is_one_more_line_and_nothing_else(tmp_path: Path, text: str) -> None:
    path, other = tmp_path / "imghost.lock", replace(RECORD, sha256="f" * 64)
    path.write_bytes(text.encode())
    locks.append(path, [locks.render_record(other)], "img.pro")
    before = text or f"{HEADER}\n"
    whole = before if before.endswith("\n") else f"{before}\n"
    assert path.read_bytes().decode() == f"{whole}{locks.render_record(other)}\n"
    assert other in locks.read(path).records


@posix
@pytest.mark.parametrize("left", [0, 1, 100])
def test_a_line_that_the_disk_takes_a_part_of_is_an_error_and_leaves_the_lock_as_it_was(
    tmp_path: Path, left: int
) -> None:
    """Who believed the record kept would tell no receipt, and pay again; half a line would be an error ever after."""
    path = tmp_path / "imghost.lock"
    locks.append(path, [locks.render_record(RECORD)], "img.pro")
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + left, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            locks.append(path, [locks.render_record(replace(RECORD, sha256="f" * 64))], "img.pro")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before


@posix
def test_a_lock_that_somebody_holds_for_too_long_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "imghost.lock"
    path.touch()
    with path.open() as held, path.open() as waiting:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            locks._lock_file(waiting.fileno(), time.monotonic() + 0.05)
        fcntl.flock(held, fcntl.LOCK_UN)
        locks._lock_file(waiting.fileno(), time.monotonic())


def test_a_lock_is_made_with_its_folder_and_may_be_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "imghost.lock"
    for number in range(2):
        locks.append(path, [locks.render_record(replace(RECORD, sha256=f"{number:064x}"))], "img.pro")
    assert len(locks.read(path).records) == 2
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    os.umask(before := os.umask(0))
    return before


@pytest.mark.parametrize("path", ["a.png", "ä b/č.png", 'q"uote.png', "back\\slash.png", "", "x" * 150])
@pytest.mark.parametrize("served", [None, {"bytes": 12, "sha256": "e" * 64}])
def test_what_is_written_with_a_path_is_read_the_same_in_both_ways(path: str, served: object) -> None:
    extra = {"path": path} | ({"served": served} if served else {})
    written = locks.render_record(replace(RECORD, extra=extra))
    assert record_of(load_object(written)).extra == extra
    assert (quick_record(written) or record_of(load_object(written))).extra == extra


def test_an_unconfirmed_record_waits_until_one_that_is_as_late_counts() -> None:
    """A later upload of the same image is not forgotten for an older record that counts."""
    waiting = unconfirmed(replace(RECORD, url="https://src.img.pro/ab/2.png", uploaded=NOON))
    early, late = replace(RECORD, uploaded=NOON - timedelta(days=1)), replace(RECORD, uploaded=NOON + timedelta(days=1))
    for records, counting, left in (
        ((waiting,), (), (waiting,)),
        ((waiting, early), (early,), (waiting,)),
        ((late, waiting), (late,), ()),
        ((waiting, replace(early, url=waiting.url)), (replace(early, url=waiting.url),), ()),
    ):
        lock = locks.merged(Lock(), records, "img.pro")
        assert (lock.records, lock.unconfirmed) == (counting, left)
        assert locks.parse(locks.render(lock), "imghost.lock") == lock


def test_records_without_a_header_are_refused() -> None:
    with pytest.raises(LockError, match="it has no header"):
        locks.parse(LINE, "imghost.lock")


@pytest.mark.parametrize("content", [b"\xff\xfe{\x00", HEADER.encode() + b'\n{"id": "\xfc"}', HEADER.encode("utf-16")])
def test_other_encodings_are_refused(content: bytes) -> None:
    with pytest.raises(LockError, match=r"line \d: it is not UTF-8"):
        locks.parse(content, "imghost.lock")


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "imghost.lock"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(LockError, match="longer than 2 GB"):
        locks.read(path)


def test_a_lock_of_a_large_site_is_no_huge_file(tmp_path: Path) -> None:
    """Two hundred thousand records are 64 MB, which was the end; blanks stand for them here."""
    path = tmp_path / "imghost.lock"
    path.write_text(f"{HEADER}\n{' ' * (65 * 1024 * 1024)}\n", "utf-8")
    assert locks.read(path).records == ()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="is not a regular file"):
        locks.read(tmp_path)


def test_a_lock_is_written_only_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "imghost.lock"
    lock = locks.merged(Lock(), [RECORD], "img.pro")
    assert locks.write(path, lock)
    before = path.stat()
    assert not locks.write(path, lock)
    assert path.stat() == before
    assert locks.write(path, locks.merged(lock, (), "img402"))
    assert locks.read(path) == replace(lock, host="img402")
    assert [entry.name for entry in path.parent.iterdir()] == ["imghost.lock"]


def test_a_linked_lock_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "imghost.lock")
    assert locks.write(tmp_path / "link", Lock("img.pro", (RECORD,)))
    assert (tmp_path / "link").is_symlink()
    assert locks.read(tmp_path / "imghost.lock") == Lock("img.pro", (RECORD,))


@pytest.mark.parametrize(
    "changes",
    [
        {"url": 'https://src.img.pro/"'},
        {"url": "ftp://src.img.pro/a"},
        {"host": "a b"},
        {"bytes": -1},
        {"id": "x" * 2001},
        {"extra": {"x": float("nan")}},
        {"extra": {"x": {1}}},
        {"extra": {"x": "y" * 40_000}},
    ],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "imghost.lock"
    with pytest.raises(LockError, match="cannot be kept"):
        locks.write(path, Lock("img.pro", (replace(RECORD, **changes),)))
    assert not path.exists()


def test_the_longest_lived_record_counts() -> None:
    short = replace(RECORD, url="https://a.example/", expires=NOON + timedelta(days=1))
    longer = replace(RECORD, url="https://b.example/", expires=NOON + timedelta(days=2))
    renewed = replace(longer, url="https://a.example/", uploaded=NOON + timedelta(days=1))
    beside = replace(renewed, url="https://c.example/")
    for records in ([RECORD, short, beside], [beside, short, RECORD]):
        assert locks.merged(Lock(), records, None).records == (RECORD,)
    for records in ([short, longer, renewed, beside], [beside, renewed, longer, short]):
        assert locks.merged(Lock(), records, None).records == (beside,)


def test_another_hosts_record_and_another_variant_survive() -> None:
    old = locks.merged(
        Lock("img402", header={"x": 1}), [replace(RECORD, host="img402"), replace(RECORD, variant="strip")], None
    )
    new = locks.merged(old, [RECORD], "img.pro")
    assert [record.key for record in new.records] == [
        (SHA, "img.pro", ""),
        (SHA, "img.pro", "strip"),
        (SHA, "img402", ""),
    ]
    assert (new.host, new.header) == ("img.pro", {"x": 1})


def test_times_are_kept_in_whole_seconds_of_utc() -> None:
    moment = datetime(2026, 3, 1, 14, 30, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    lock = locks.merged(Lock(), [replace(RECORD, uploaded=moment, expires=moment)], None)
    assert locks.parse(locks.render(lock), "imghost.lock") == lock
    assert lock.records[0].uploaded == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


URLS = st.text(string.ascii_letters + string.digits + "/.-_~%?=&#:@!$()*+,;[]^|{}", min_size=1, max_size=60)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
EXTRAS = st.dictionaries(st.text(max_size=6).map("x".__add__), VALUES, max_size=3)
TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0))
RECORDS = st.builds(
    Record,
    sha256=st.sampled_from(["0" * 64, "a" * 64, SHA]) | st.binary(min_size=32, max_size=32).map(bytes.hex),
    host=st.sampled_from(["img.pro", "img402", "imageupload.io", "s3", "another-host_2"]),
    url=URLS.map("https://src.img.pro/".__add__),
    id=st.text(max_size=20),
    variant=st.sampled_from(["", "strip", "strip+edge1600", "import", "fit5000000"]),
    bytes=st.integers(0, 10**15),
    media_type=st.sampled_from(["image/png", "image/svg+xml", "image/x-later"]),
    width=st.none() | st.integers(1, 10**9),
    height=st.none() | st.integers(1, 10**9),
    uploaded=TIMES.map(lambda moment: min(moment, NOON)),
    expires=st.none() | TIMES,
    extra=st.just({}) | EXTRAS,
)
LOCKS = st.builds(
    lambda host, records, header: locks.merged(Lock(header=header), records, host),
    st.none() | st.sampled_from(["img.pro", "img402"]),
    st.lists(RECORDS, max_size=8),
    st.just({}) | EXTRAS,
)


@settings(max_examples=150, deadline=None)
@given(LOCKS)
def test_a_lock_survives_its_own_text(lock: Lock) -> None:
    text = locks.render(lock)
    again = locks.parse(text.encode("ascii"), "imghost.lock")
    assert again == lock
    assert locks.render(again) == text


@settings(max_examples=150, deadline=None)
@given(LOCKS, LOCKS, st.randoms(use_true_random=False))
def test_a_union_merge_in_any_order_is_the_merged_lock(ours: Lock, theirs: Lock, chance: random.Random) -> None:
    theirs = replace(theirs, host=ours.host, header=ours.header)
    lines = (locks.render(ours) + locks.render(theirs)).splitlines()
    chance.shuffle(lines)
    wanted = locks.render(locks.merged(ours, theirs.records, ours.host))
    assert locks.render(locks.parse("\r\n".join(lines), "imghost.lock")) == wanted
    assert locks.render(locks.merged(theirs, ours.records, ours.host)) == wanted


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200) | VALUES.map(json.dumps))
def test_whatever_a_lock_holds_it_is_read_or_is_one_error(content: str | bytes) -> None:
    try:
        found = locks.parse(content, "imghost.lock")
    except LockError as problem:
        text = str(problem)
    else:
        text = ""
        assert found.records == ()
    assert text == "" or text.isprintable()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(LINE) - 1), st.characters(), st.booleans())
def test_a_line_read_in_one_match_means_what_json_means(at: int, letter: str, is_added: bool) -> None:
    """The quick way and the slow way agree on every line that is one character off."""
    changed = LINE[:at] + letter + LINE[at if is_added else at + 1 :]
    try:
        quick = quick_record(changed)
    except ValueError:
        return
    if quick is not None:
        assert quick == record_of(load_object(changed))


def test_ten_thousand_records_are_read_in_a_blink() -> None:
    """CPU time of the best of three, with room for a slow machine."""
    records = [
        replace(RECORD, sha256=f"{number:064x}", expires=NOON if number % 2 else None) for number in range(10_000)
    ]
    text = locks.render(locks.merged(Lock(), records, "img.pro"))
    spent = []
    for _ in range(3):
        started = time.process_time()
        assert len(locks.parse(text, "imghost.lock").records) == 10_000
        spent.append(time.process_time() - started)
    assert min(spent) < 0.3
