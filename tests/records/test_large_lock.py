"""A large lock is searched instead of read, and says what its whole text says: whatever git and editors made of it."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imghost import files
from imghost.errors import LockError
from imghost.models import Record
from imghost.records import lock as locks
from imghost.records import unconfirmed
from imghost.records.cache import Cache
from imghost.records.lock import Lock, Span

HEADER = '{"imghost_lock": 1, "host": "img.pro"}'
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = NOON + timedelta(days=1)


def record_of(number: int, **changes: object) -> Record:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    record = Record(
        digest, "img.pro", f"https://src.img.pro/{digest[:20]}.png", digest[:20], "", number + 1, "image/png", 8, 6,
        NOON - timedelta(minutes=number), extra={"path": f"a/{number}.png", "served": {"bytes": 9, "sha256": digest}},
    )  # fmt: skip
    return replace(record, **changes)  # type: ignore[arg-type]


def lines_of(count: int) -> list[str]:
    return [locks.render_record(record) for record in sorted(map(record_of, range(count)), key=lambda it: it.key)]


FILLING = lines_of(900)
"""Lines of 370 KB, so that a lock which has them is a large one."""
DIGESTS = st.sampled_from([line[12:76] for line in FILLING]) | st.binary(min_size=32, max_size=32).map(bytes.hex)
EXTRAS = st.sampled_from(
    [
        {},
        {"path": "ä/č 😀.png"},
        {"path": 'q"uo\\te\x7f.png'},
        {"path": "x" * 9_000},
        {"path": "ü" * 500},
        {"receipt": {"amount": "0.01", "network": "eip155:8453", "transaction": "0xab"}},
        {"later": [1, 1.5, True, None, {"a": "b"}], "path": "a.png"},
        {"unconfirmed": True},
        {"later": "y" * 20_000},
    ]
)
RECORDS = st.builds(
    lambda sha256, host, variant, days, life, extra: Record(
        sha256, host, f"https://src.img.pro/{sha256[:9]}-{days}.png", "1", variant, 10, "image/png", 4, 3,
        NOON - timedelta(days=days), life and NOON + timedelta(days=life), extra,
    ),
    DIGESTS,
    st.sampled_from(["img.pro", "img", "img402"]),
    st.sampled_from(["", "strip", "strip+edge1600"]),
    st.integers(0, 900),
    st.none() | st.integers(1, 300),
    EXTRAS,
)  # fmt: skip


def put(text: list[str], at: float, line: str) -> None:
    text.insert(int(at * len(text)), line)


def _swap(text: list[str], at: float, count: int) -> None:
    start = int(at * len(text))
    text[start : start + count] = reversed(text[start : start + count])


def _move(text: list[str], at: float, count: int) -> None:
    start = int(at * len(text))
    part = text[start : start + count]
    del text[start : start + count]
    text += part


def _double(text: list[str], at: float, count: int) -> None:
    start = int(at * len(text))
    text += text[start : start + count]


def _returns(text: list[str], at: float, count: int) -> None:
    start = int(at * len(text))
    text[start : start + count] = [f"{line}\r" for line in text[start : start + count]]


PLACES = st.floats(0, 1, exclude_max=True)
STEPS = st.one_of(
    st.tuples(st.just(put), PLACES, RECORDS.map(locks.render_record)),
    st.tuples(
        st.just(put), PLACES, st.sampled_from(["", " ", HEADER, '{"imghost_lock": 1, "host": "img402", "x": 1}'])
    ),
    st.tuples(st.sampled_from([_swap, _move, _double, _returns]), PLACES, st.integers(1, 400)),
)
BROKEN = st.sampled_from(
    [
        "=======",
        "words",
        FILLING[0][:-1],
        FILLING[0] * 2,
        "x" + FILLING[0],
        FILLING[0].replace('"width": 8', '"width": 0'),
        FILLING[0].replace(NOON.strftime("%Y-"), "2031-", 1),
        FILLING[0].replace('"path"', '"sha256"'),
        FILLING[0].replace("2026-", "2026-02-30T", 1),
        "\ufeff" + FILLING[0],
        '{"imghost_lock": 2, "host": "img.pro"}',
        "y" * 70_000,
    ]
)


def answers(path: Path, digests: Iterable[str]) -> Lock | str:
    """Ask a lock for some images, as a build does; an error is its text."""
    try:
        with locks.opened(path, NOW) as lock:
            return lock.of(digests)
    except LockError as problem:
        return str(problem)


def whole(path: Path, digests: Iterable[str]) -> Lock | str:
    """Say what the whole text says of these images."""
    wanted = set(digests)
    try:
        lock = locks.parse(path.read_bytes(), path.name, NOW)
    except LockError as problem:
        return str(problem)
    records, left = (tuple(it for it in some if it.sha256 in wanted) for some in (lock.records, lock.unconfirmed))
    return replace(lock, records=records, unconfirmed=left)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(STEPS, max_size=5),
    broken=st.none() | st.tuples(PLACES, BROKEN),
    end=st.sampled_from(["", "\n"]),
    digests=st.lists(DIGESTS, min_size=1, max_size=12),
)
def test_a_large_lock_answers_as_its_whole_text(
    tmp_path: Path, steps: list[tuple[Callable[..., None], float, object]], broken: tuple[float, str] | None, end: str,
    digests: list[str],
) -> None:  # fmt: skip
    """Unions, other orders, CRLF, repeated lines and headers, and one broken line: the same records, the same error."""
    path, text = tmp_path / "imghost.lock", [HEADER, *FILLING]
    for step, at, what in steps:
        step(text, at, what)
    asked = {*digests, *(line[12:76] for line in text[::97] if len(line) > 200)}
    if broken:
        put(text, *broken)
    path.write_bytes("\n".join(text).encode() + end.encode())
    assert answers(path, asked) == whole(path, asked)
    assert answers(path, []) == whole(path, [])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=4), new=st.lists(RECORDS, max_size=6), chance=st.randoms(use_true_random=False))
def test_a_large_lock_is_written_as_its_whole_text_would_be(
    tmp_path: Path, steps: list[tuple[Callable[..., None], float, object]], new: list[Record], chance: random.Random
) -> None:
    """What is only copied comes out to the byte as what is read and rendered; a second time nothing is written."""
    path, text = tmp_path / "imghost.lock", [HEADER, *FILLING]
    for step, at, what in steps:
        step(text, at, what)
    path.write_text("\n".join([*text, ""]), "utf-8")
    before = locks.parse(path.read_bytes(), path.name, NOW)
    wanted = locks.render(locks.merged(before, new, "img402")).encode()
    is_same = path.read_bytes() == wanted
    assert locks.add(path, new, "img402", NOW) != is_same
    assert path.read_bytes() == wanted
    assert not locks.add(path, chance.sample(new, len(new)), None, NOW)
    gone = {record.url for record in locks.read(path, NOW).records[::50]}
    assert locks.drop(path, gone) == len(gone)
    left = locks.parse(wanted, path.name, NOW)
    kept = [tuple(it for it in some if it.url not in gone) for some in (left.records, left.unconfirmed)]
    assert path.read_bytes() == locks.render(replace(left, records=kept[0], unconfirmed=kept[1])).encode()


@pytest.fixture(scope="module")
def long_lines() -> list[str]:
    """Lines of 5 MB, at which looking is worth a note in the local store."""
    return lines_of(12_000)


@pytest.fixture
def long_lock(tmp_path: Path, long_lines: list[str]) -> Path:
    path = tmp_path / "imghost.lock"
    path.write_text("\n".join([HEADER, *long_lines, ""]), "utf-8")
    wait_until_settled(path)
    return path


def wait_until_settled(path: Path) -> None:
    while not files.is_settled(path.stat()):
        threading.Event().wait(0.01)


def opened_with(path: Path, folder: Path, digests: Iterable[str]) -> Lock:
    """Ask as one build does, which loads the local store and saves it at its end."""
    with Cache.load(folder) as cache:
        with locks.opened(path, NOW, cache) as lock:
            found = lock.of(digests)
        cache.save()
    return found


def bytes_read() -> int:
    """Say how many bytes this process has read, by the system's own account."""
    counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counts["rchar"])


linux = pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system keeps no account of what is read")


@linux
def test_a_lock_that_was_looked_at_is_not_read_again(tmp_path: Path, long_lock: Path) -> None:
    asked = [record_of(number).sha256 for number in range(0, 12_000, 600)]
    size = long_lock.stat().st_size
    spent = []
    for _ in range(3):
        before = bytes_read()
        found = opened_with(long_lock, tmp_path / "cache", asked)
        spent.append(bytes_read() - before)
        assert found == whole(long_lock, asked)
    assert spent[0] > size
    assert max(spent[1:]) < size / 4


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps no time of the last change of any kind")
@pytest.mark.parametrize("at", [1, 6_000, 12_000])
def test_an_edit_of_equal_length_with_the_old_time_is_seen(tmp_path: Path, long_lock: Path, at: int) -> None:
    asked = [record_of(7).sha256]
    for _ in range(2):
        opened_with(long_lock, tmp_path / "cache", asked)
    before = long_lock.stat()
    lines = long_lock.read_bytes().split(b"\n")
    lines[at] = lines[at].replace(b'"width": 8', b'"width": 0')
    with long_lock.open("r+b") as file:
        file.write(b"\n".join(lines))
    os.utime(long_lock, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (long_lock.stat().st_size, long_lock.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    with pytest.raises(LockError, match=rf"imghost.lock, line {at + 1}: its 'width' is not a whole number"):
        opened_with(long_lock, tmp_path / "cache", asked)


def test_a_lock_from_the_future_is_an_error_also_where_it_was_looked_at(tmp_path: Path, long_lock: Path) -> None:
    """The clock may be set back between two builds."""
    opened_with(long_lock, tmp_path / "cache", [])
    early, words = NOON - timedelta(days=2), r"line \d+: its 'uploaded' is in the future"
    with (
        Cache.load(tmp_path / "cache") as cache,
        pytest.raises(LockError, match=words),
        locks.opened(long_lock, early, cache),
    ):
        pass


def test_what_was_just_written_proves_nothing_by_its_stamp() -> None:
    """File systems count time in steps of milliseconds, some of seconds: two changes in one have the same stamp."""

    def status(changed: int) -> os.stat_result:
        return os.stat_result((0,) * 10, {"st_mtime_ns": changed, "st_ctime_ns": changed})

    now = time.time_ns()
    assert not files.is_settled(status(now))
    assert not files.is_settled(status(now // 1_000_000_000 * 1_000_000_000))
    assert files.is_settled(status(now - 10_000_000_001))


def test_a_proof_is_of_the_whole_file_or_of_none(long_lock: Path) -> None:
    kept = {}

    class Proofs:
        def proof(self, path: Path, now: files.Stamp) -> str:
            return ""

        def keep_proof(self, path: Path, now: files.Stamp, proof: str) -> None:
            kept[now] = proof

    with locks.opened(long_lock, NOW, Proofs()) as lock:
        assert lock.runs == (Span(len(HEADER) + 1, long_lock.stat().st_size),)
    (proof,) = kept.values()
    size = long_lock.stat().st_size
    assert locks._proven(proof, size)
    for wrong in ("", "1", proof.replace("1 ", "2 ", 1), proof.replace(" 0-", " 1-"), proof + " 5-9", "x" * 5_000):
        assert locks._proven(wrong, size) is None
    assert locks._proven(proof, size + 1) is None


@pytest.mark.parametrize("spread", ["evenly", "at the start", "in two heaps"])
def test_any_digest_is_found_however_digests_are_spread(tmp_path: Path, spread: str) -> None:
    numbers = {"evenly": range(0, 2**60, 2**60 // 3000), "at the start": range(1, 6000, 2)}.get(
        spread, [*range(1, 3000, 2), *range(2**60 - 3000, 2**60 - 1, 2)]
    )
    digests = [f"{number:015x}{'0' * 49}" for number in numbers]
    path, template = tmp_path / "imghost.lock", record_of(1)
    records = (replace(template, sha256=digest, url=f"https://src.img.pro/{digest[:15]}.png") for digest in digests)
    path.write_text("\n".join([HEADER, *map(locks.render_record, records), ""]), "utf-8")
    with locks.opened(path, NOW) as lock:
        assert lock.runs
        for digest in digests[::37]:
            assert [it.sha256 for it in lock.of([digest]).records] == [digest]
            beside = f"{int(digest[:15], 16) + 1:015x}{'0' * 49}"
            assert lock.of([beside]).records == ()
        assert lock.of({"0" * 64, "f" * 64} - {*digests}).records == ()


def test_a_record_is_found_by_its_url(long_lock: Path) -> None:
    locks.append(long_lock, [locks.render_record(record_of(50_000))], "img.pro")
    with locks.opened(long_lock, NOW) as lock:
        for number in (0, 77, 11_999, 50_000):
            assert lock.bound(record_of(number).url) == record_of(number)
        assert lock.bound("https://src.img.pro/none.png") is None
        assert lock.bound("https://src.img.pro/") is None


def test_an_open_lock_stays_what_it_was(long_lock: Path) -> None:
    """Workers append to the lock, and others replace it, while a build asks it."""
    with locks.opened(long_lock, NOW) as lock:
        locks.append(long_lock, [locks.render_record(record_of(50_000))], "img.pro")
        assert lock.of([record_of(50_000).sha256]).records == ()
        locks.drop(long_lock, {record_of(5).url})
        assert lock.of([record_of(5).sha256]).records == (record_of(5),)
    assert locks.read(long_lock).records == tuple(
        sorted((record_of(number) for number in (*range(12_000), 50_000) if number != 5), key=lambda it: it.key)
    )


@pytest.mark.timeout(20)  # it was searched for its end byte by byte
@pytest.mark.parametrize("left", [0, 1, 100_000, 3_000_000])
def test_a_lock_that_is_cut_short_meanwhile_is_an_error(long_lock: Path, left: int) -> None:
    with locks.opened(long_lock, NOW) as lock:
        os.truncate(long_lock, left)
        with pytest.raises(LockError, match="changed while it was read; build again"):
            lock.of(record_of(number).sha256 for number in range(40))


def test_many_threads_ask_one_lock(long_lock: Path) -> None:
    problems: list[BaseException] = []

    def ask(first: int) -> None:
        try:
            for number in range(first, 12_000, 400):
                assert lock.of([record_of(number).sha256]).records == (record_of(number),)
                assert lock.bound(record_of(number).url) == record_of(number)
        except BaseException as problem:
            problems.append(problem)

    with locks.opened(long_lock, NOW) as lock:
        workers = [threading.Thread(target=ask, args=(first,)) for first in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert problems == []


def taken(work: Callable[[], object]) -> int:
    """Give the most bytes that were allocated at a time."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts CPython's memory")
def test_a_search_and_a_write_take_little_memory(tmp_path: Path, long_lock: Path) -> None:
    """Neither the first look nor a write makes a record of each line: that would be 15 MB here."""
    asked = [record_of(number).sha256 for number in range(200)]
    assert taken(lambda: answers(long_lock, asked)) < 8_000_000
    assert taken(lambda: locks.add(long_lock, [record_of(60_000)], "img.pro", NOW)) < 8_000_000
    locks.append(long_lock, [locks.render_record(unconfirmed(record_of(60_001)))], "img.pro")
    assert taken(lambda: locks.add(long_lock, [record_of(60_002)], "img.pro", NOW)) < 8_000_000
    assert taken(lambda: locks.read(long_lock)) > 10_000_000
