"""The local store keeps what it is told through any crash, and a poisoned one does nothing but go aside."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import diskcache
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imghost.errors import StateError
from imghost.models import MEDIA_TYPES, Facts, Record
from imghost.records import safe_diskcache
from imghost.records.cache import Cache, KnownFile, Writer, _create, exclusive

if sys.platform != "win32":
    import resource

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals, links and limits")
SHA = "0123456789abcdef" * 4
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUPPORT = [str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[1])]
RECORD = Record(SHA, "img.pro", "https://src.img.pro/ab/1.png", "1", "", 10, "image/png", 4, 3, NOON)
FACTS = Facts("image/png", 4, 3)
OLD = (10, 1_600_000_000_123_456_789, 7)
"""A stamp of long ago."""


def records(count: int) -> list[Record]:
    return [replace(RECORD, sha256=f"{number:064x}") for number in range(count)]


def run(code: str, *args: object, **more: Any) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a store with one record, one upload under way and one digest."""
    folder = tmp_path / "cache"
    fill(folder)
    return folder


def fill(folder: Path) -> None:
    cache = Cache.load(folder)
    cache.intend("f" * 64, "img.pro", "strip")
    cache.keep(RECORD)
    cache.remember_facts("a.png", OLD, (SHA, FACTS))
    cache.save()
    cache.close()


class TestWhatIsKept:
    def test_a_record_an_upload_and_a_digest_are_there_the_next_time(self, folder: Path) -> None:
        cache = Cache.load(folder)
        assert cache.warnings == ()
        assert cache.is_writable
        assert cache.records() == (RECORD,)
        assert cache.intents() == (("f" * 64, "img.pro", "strip"),)
        assert cache.facts("a.png", OLD) == (SHA, FACTS)

    def test_a_missing_store_is_empty_and_looking_creates_nothing(self, tmp_path: Path) -> None:
        cache = Cache.load(tmp_path / "cache" / "deeper")
        assert (cache.records(), cache.intents(), cache.facts("a.png", OLD), cache.warnings) == ((), (), None, ())
        cache.save()
        cache.close()
        assert list(tmp_path.iterdir()) == []

    def test_git_ignores_the_store(self, folder: Path) -> None:
        assert (folder / ".gitignore").read_bytes() == b"*\n"
        (folder / ".gitignore").write_text("mine")
        fill(folder)
        assert (folder / ".gitignore").read_text() == "mine"

    def test_a_kept_record_ends_its_upload(self, folder: Path) -> None:
        cache = Cache.load(folder)
        cache.keep(replace(RECORD, sha256="f" * 64, variant="strip"))
        cache.close()
        assert cache.intents() == Cache.load(folder).intents() == ()

    def test_an_upload_that_is_settled_is_forgotten_alone(self, folder: Path) -> None:
        cache = Cache.load(folder)
        cache.intend("e" * 64, "img.pro", "strip")
        cache.settle("f" * 64, "img.pro", "strip")
        cache.settle("f" * 64, "img.pro", "never begun")
        cache.close()
        assert Cache.load(folder).intents() == (("e" * 64, "img.pro", "strip"),)
        assert Cache.load(folder).records() == (RECORD,)

    def test_a_newer_record_replaces_the_older_one(self, folder: Path) -> None:
        renewed = replace(RECORD, uploaded=NOON + timedelta(days=1), expires=NOON + timedelta(days=31))
        cache = Cache.load(folder)
        cache.keep(replace(renewed, uploaded=renewed.uploaded + timedelta(milliseconds=3)))
        cache.close()
        assert cache.records() == Cache.load(folder).records() == (renewed,)

    def test_records_kept_by_many_threads_are_all_there(self, tmp_path: Path) -> None:
        cache = Cache.load(tmp_path)
        every = records(160)

        def work(mine: list[Record]) -> None:
            for record in mine:
                cache.intend(*record.key)
                cache.keep(record)

        threads = [threading.Thread(target=work, args=(every[start::8],)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(Cache.load(tmp_path).records(), key=lambda record: record.key) == every
        assert Cache.load(tmp_path).intents() == ()
        cache.close()

    def test_two_caches_of_one_run_may_write_in_turn(self, folder: Path) -> None:
        first, second = Cache.load(folder), Cache.load(folder)
        first.remember_facts("b.png", OLD, "is empty")
        second.keep(replace(RECORD, host="img402"))
        first.save()
        second.keep(replace(RECORD, host="s3"))
        first.close()
        second.close()
        assert {record.host for record in Cache.load(folder).records()} == {"img.pro", "img402", "s3"}

    def test_a_closed_cache_can_still_keep(self, folder: Path) -> None:
        cache = Cache.load(folder)
        for host in ("img402", "s3"):
            cache.keep(replace(RECORD, host=host))
            cache.close()
        assert len(Cache.load(folder).records()) == 3

    def test_a_record_that_could_not_be_read_again_is_refused(self, folder: Path) -> None:
        cache = Cache.load(folder)
        with pytest.raises(StateError, match="'url' is not an http"):
            cache.keep(replace(RECORD, url='https://src.img.pro/"'))
        with pytest.raises(StateError, match="4,096 bytes"):
            cache.keep(replace(RECORD, extra={"x": "y" * 5000}))

    def test_the_store_tells_no_path(self, folder: Path) -> None:
        cache = Cache.load(folder)
        cache.remember_facts("/home/canary/secret-name.png", OLD, (SHA, FACTS))
        cache.save()
        cache.close()
        for file in (folder / "store").iterdir():
            assert b"canary" not in file.read_bytes()


class TestDigests:
    @pytest.mark.parametrize("changed", [(11, *OLD[1:]), (OLD[0], OLD[1] + 1, OLD[2]), (*OLD[:2], 8), (1, 0, *OLD[1:])])
    def test_a_file_with_another_stamp_is_not_known(self, folder: Path, changed: Any) -> None:
        assert Cache.load(folder).facts("a.png", changed) is None
        assert Cache.load(folder).facts("b.png", OLD) is None

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.text(max_size=30),
                st.tuples(st.integers(0, 10**9), st.integers(-(10**18), 10**18), st.integers(0, 2**128)),
                st.text(max_size=50).filter(lambda text: text.isprintable())
                | st.tuples(
                    st.just(SHA),
                    st.builds(
                        Facts,
                        st.sampled_from(sorted(MEDIA_TYPES)),
                        st.none() | st.integers(0, 10**9),
                        st.none() | st.integers(0, 10**9),
                        st.booleans(),
                        st.booleans(),
                        st.none() | st.tuples(st.integers(1, 9_999), st.integers(1, 9_999)),
                    ),
                ),
            ),
            max_size=5,
            unique_by=lambda row: row[0],
        )
    )
    def test_what_is_remembered_is_known_the_next_time(self, rows: list[tuple[str, Any, KnownFile]]) -> None:
        with tempfile.TemporaryDirectory() as name:
            cache = Cache.load(Path(name))
            for path, stamp, known in rows:
                cache.remember_facts(path, stamp, known)
            cache.save()
            cache.close()
            again = Cache.load(Path(name))
            for path, stamp, known in rows:
                assert cache.facts(path, stamp) == again.facts(path, stamp) == known

    def test_a_file_written_just_now_counts_for_this_run_only(self, tmp_path: Path) -> None:
        """Within one step of the file system's clock it could change again under the same stamp."""
        cache = Cache.load(tmp_path)
        now = (10, time.time_ns(), 7)
        whole = (10, time.time_ns() // 10**9 * 10**9, 7)
        for path, stamp in (("fine", now), ("coarse", whole)):
            cache.remember_facts(path, OLD, (SHA, FACTS))
            cache.remember_facts(path, stamp, (SHA, FACTS))
            assert cache.facts(path, stamp) == (SHA, FACTS)
        cache.remember_facts("old", OLD, (SHA, FACTS))
        cache.save()
        cache.close()
        again = Cache.load(tmp_path)
        assert again.facts("old", OLD) == (SHA, FACTS)
        assert again.facts("fine", now) is again.facts("coarse", whole) is None

    def test_digests_of_files_long_gone_are_dropped_and_nothing_else(self, folder: Path) -> None:
        cache = Cache.load(folder)
        for number in range(1100):
            cache.remember_facts(f"{number}.png", OLD, (SHA, FACTS))
        cache.save()
        cache.close()
        cache = Cache.load(folder)
        assert cache.facts("1.png", OLD)
        cache.save()
        cache.close()
        again = Cache.load(folder)
        assert again.facts("1.png", OLD)
        assert again.facts("2.png", OLD) is None
        assert again.records() == (RECORD,)
        assert len(again.intents()) == 1

    def test_digests_of_a_second_site_stay(self, folder: Path) -> None:
        for site in ("one", "two"):
            cache = Cache.load(folder)
            for number in range(400):
                cache.remember_facts(f"{site}/{number}.png", OLD, (SHA, FACTS))
            cache.save()
            cache.close()
        assert Cache.load(folder).facts("one/1.png", OLD) == (SHA, FACTS)

    @pytest.mark.parametrize(
        "text",
        ["", "!", f"{SHA} image/png 1 1 00", f"2 {SHA}", f"2 {SHA} image/png 1 1 0", f"2 {SHA} text/html 1 1 00",
         f"2 {SHA[1:]} image/png 1 1 00", f"2 {SHA} image/png x 1 00", f"2 {SHA} image/png {'9' * 11} 1 00",
         f"2 {SHA} image/png 1 1 00\n", f"2 {'A' * 64} image/png 1 1 00", f"2 {'a' * 62}   image/png 1 1 00",
         f"2 {'g' * 64} image/png 1 1 00", f"2 {'é' * 64} image/png 1 1 00", f"2 {SHA}-image/png 1 1 00",
         f"1 {SHA} image/png 1 1 00"],
    )  # fmt: skip
    def test_a_row_that_says_something_else_says_nothing(self, folder: Path, text: str) -> None:
        tamper(folder, "UPDATE Cache SET value = ? WHERE key LIKE 'file:%'", "{} {} {} ".format(*OLD) + text)
        cache = Cache.load(folder)
        assert cache.warnings == ()
        assert cache.facts("a.png", OLD) is None

    def test_a_record_or_an_upload_under_a_wrong_key_or_broken_does_not_count(self, folder: Path) -> None:
        for change in ("key = substr(key, 1, length(key) - 1) || '0'", "value = '[1, 2, 3]'", "value = '{\"a\": 1}'"):
            fill(folder)
            tamper(folder, f"UPDATE Cache SET {change} WHERE key NOT LIKE 'file:%'")
            cache = Cache.load(folder)
            assert (cache.records(), cache.intents(), cache.warnings) == ((), (), ())


def tamper(folder: Path, sql: str, *values: object) -> None:
    connection = sqlite3.connect(folder / "store" / "cache.db")
    with connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(sql, values)
    connection.close()


class Bomb:
    """Pickles to something that makes a file when it is read back."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


Poison = Callable[[Path, Path], None]
"""Poisons the store in a folder; `victim` is a file outside that must stay as it is."""


def sql(text: str, *values: object) -> Poison:
    return lambda folder, victim: tamper(folder, text, *values)


def pickled(text: str) -> Poison:
    return lambda folder, victim: tamper(folder, text, pickle.dumps(Bomb(victim.with_name("executed"))))


def named(text: str) -> Poison:
    return lambda folder, victim: tamper(folder, text, str(victim))


def file(name: str, content: bytes) -> Poison:
    def poison(folder: Path, victim: Path) -> None:
        (folder / "store" / name).write_bytes(content)

    return poison


def sparse(name: str) -> Poison:
    def poison(folder: Path, victim: Path) -> None:
        with (folder / "store" / name).open("ab") as grown:
            grown.truncate(2**36)

    return poison


def linked(name: str, *, is_hard: bool = False) -> Poison:
    def poison(folder: Path, victim: Path) -> None:
        path = folder / "store" / name
        path.unlink(missing_ok=True)
        path.hardlink_to(victim) if is_hard else path.symlink_to(victim)

    return poison


def linked_database(folder: Path, victim: Path) -> None:
    elsewhere = victim.with_name("elsewhere.db")
    (folder / "store" / "cache.db").rename(elsewhere)
    (folder / "store" / "cache.db").symlink_to(elsewhere)


def linked_store(folder: Path, victim: Path) -> None:
    (folder / "store").rename(victim.with_name("elsewhere"))
    (folder / "store").symlink_to(victim.with_name("elsewhere"))


def pipe(folder: Path, victim: Path) -> None:
    (folder / "store" / "cache.db").unlink()
    os.mkfifo(folder / "store" / "cache.db")


def no_folder(folder: Path, victim: Path) -> None:
    shutil.rmtree(folder / "store")
    (folder / "store").write_bytes(b"")


def no_database(folder: Path, victim: Path) -> None:
    (folder / "store" / "cache.db").unlink()


def cut_short(folder: Path, victim: Path) -> None:
    os.truncate(folder / "store" / "cache.db", 5000)


def read_only(folder: Path, victim: Path) -> None:
    with (folder / "store" / "cache.db").open("r+b") as database:
        database.seek(18)
        database.write(b"\x09")


def hidden_in_the_log(folder: Path, victim: Path) -> None:
    """Leave the database as it was, and a pickle in the log that the next reader takes in."""
    database, log = folder / "store" / "cache.db", folder / "store" / "cache.db-wal"
    before = database.read_bytes()
    connection = sqlite3.connect(database)
    with connection:
        connection.execute("UPDATE Cache SET mode = 4, value = ?", [pickle.dumps(Bomb(victim.with_name("executed")))])
    logged = log.read_bytes()
    connection.close()
    database.write_bytes(before)
    log.write_bytes(logged)


def half_replaced(folder: Path, victim: Path) -> None:
    with (folder / "store" / "cache.db").open("r+b") as database:
        database.seek(4096)
        database.write(os.urandom(8192))


HOSTILE: dict[str, Poison] = {
    "pickled value": pickled("UPDATE Cache SET mode = 4, value = ?"),
    "pickled key": pickled("UPDATE Cache SET raw = 0, key = ? WHERE rowid = 1"),
    "pickled value under a good mode": pickled("UPDATE Cache SET value = ?"),
    "pickled value in the log": hidden_in_the_log,
    "file to read as text": named("UPDATE Cache SET mode = 3, value = NULL, filename = ?"),
    "file to read as bytes": named("UPDATE Cache SET mode = 2, value = NULL, filename = ?"),
    "file to delete": named("UPDATE Cache SET filename = ?"),
    "file to delete once expired": named("UPDATE Cache SET expire_time = 1.0, filename = ?"),
    "expiry": sql("UPDATE Cache SET expire_time = 1.0"),
    "tag": sql("UPDATE Cache SET tag = 'x'"),
    "key that climbs": sql("UPDATE Cache SET key = '../../x' WHERE rowid = 1"),
    "key with a line end": sql("UPDATE Cache SET key = key || char(10) WHERE rowid = 1"),
    "key of bytes": sql("UPDATE Cache SET key = CAST(key AS BLOB) WHERE rowid = 1"),
    "number as a value": sql("UPDATE Cache SET value = 1"),
    "no value": sql("UPDATE Cache SET value = NULL"),
    "bytes as a value": sql("UPDATE Cache SET value = CAST(value AS BLOB)"),
    "text that is not UTF-8": sql("UPDATE Cache SET value = CAST(X'FFFEFD' AS TEXT)"),
    "long value": sql("UPDATE Cache SET value = ?", "x" * 4097),
    "long value after NUL": sql("UPDATE Cache SET value = ?", "x\0" + "y" * 1_000_000),
    "text as raw": sql("UPDATE Cache SET raw = 'yes' WHERE rowid = 1"),
    "size of a file": sql("UPDATE Cache SET size = 5"),
    "odd time": sql("UPDATE Cache SET store_time = 'now'"),
    "setting of the disk": sql("INSERT INTO Settings VALUES ('disk__directory', '/')"),
    "setting that is an attribute": sql("INSERT INTO Settings VALUES ('_disk', 'x')"),
    "setting that is a pragma": sql("INSERT INTO Settings VALUES ('sqlite_writable_schema', 1)"),
    "unsafe journal": sql("UPDATE Settings SET value = 'off' WHERE key = 'sqlite_journal_mode'"),
    "no syncing": sql("UPDATE Settings SET value = 0 WHERE key = 'sqlite_synchronous'"),
    "eviction": sql("UPDATE Settings SET value = 'least-recently-used' WHERE key = 'eviction_policy'"),
    "small limit": sql("UPDATE Settings SET value = 0 WHERE key = 'size_limit'"),
    "true as a setting": sql("UPDATE Settings SET value = 0.0 WHERE key = 'statistics'"),
    "setting gone": sql("DELETE FROM Settings WHERE key = 'statistics'"),
    "counter gone": sql("DELETE FROM Settings WHERE key = 'count'"),
    "counter of text": sql("UPDATE Settings SET value = 'x' WHERE key = 'count'"),
    "trigger that rewrites": sql(
        "CREATE TRIGGER evil AFTER INSERT ON Cache BEGIN UPDATE Cache SET value = 'https://evil.example/'; END"
    ),
    "trigger with another body": sql(
        "UPDATE sqlite_master SET sql = replace(sql, 'value + 1', 'value + 2') WHERE name = 'Settings_count_insert'"
    ),
    "trigger gone": sql("DROP TRIGGER Settings_size_delete"),
    "view": sql("CREATE VIEW v AS SELECT * FROM Cache"),
    "table": sql("CREATE TABLE t (x)"),
    "index": sql("CREATE INDEX i ON Cache (value)"),
    "index on an expression": sql("CREATE INDEX i ON Cache (abs(size))"),
    "index gone": sql("DROP INDEX Cache_key_raw"),
    "virtual table": sql(
        "INSERT INTO sqlite_master VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING fts3(x)')"
    ),
    "column with a default": sql(
        "UPDATE sqlite_master SET sql = replace(sql, 'tag BLOB', 'tag BLOB DEFAULT (1)') WHERE name = 'Cache'"
    ),
    "column that is computed": sql("ALTER TABLE Cache ADD COLUMN x AS (value)"),
    "table that is another": sql("UPDATE sqlite_master SET rootpage = 2 WHERE name = 'Cache'"),
    "schema that is no SQL": sql("UPDATE sqlite_master SET sql = 'boo' WHERE name = 'Cache'"),
    "schema of a megabyte": sql(f"CREATE TABLE t (x DEFAULT '{'x' * 1_000_000}')"),
    "no database": no_database,
    "empty database": file("cache.db", b""),
    "other file": file("cache.db", b"words\n" * 5000),
    "only a header": file("cache.db", b"SQLite format 3\0"),
    "cut short": cut_short,
    "half replaced": half_replaced,
    "form of a later SQLite": read_only,
    "sparse giant": sparse("cache.db"),
    "sparse giant log": sparse("cache.db-wal"),
    "schema in blobs": sql("UPDATE sqlite_master SET tbl_name = CAST(tbl_name AS BLOB) WHERE name = 'Cache'"),
    "journal": file("cache.db-journal", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\0" * 600),
    "store that is a file": no_folder,
}
HOSTILE_LINKS: dict[str, Poison] = {
    "linked database": linked_database,
    "linked store": linked_store,
    "linked log": linked("cache.db-wal"),
    "linked index of the log": linked("cache.db-shm"),
    "linked journal": linked("cache.db-journal"),
    "second name as log": linked("cache.db-wal", is_hard=True),
    "second name as index of the log": linked("cache.db-shm", is_hard=True),
    "pipe": pipe,
}
POISONS = [pytest.param(poison, id=name) for name, poison in HOSTILE.items()] + [
    pytest.param(poison, id=name, marks=posix) for name, poison in HOSTILE_LINKS.items()
]


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """Make a file outside the store: still there and the same at the end, and nothing was executed beside it."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    yield victim
    assert victim.read_text() == "untouched"
    assert not victim.with_name("executed").exists()


@pytest.mark.parametrize("poison", POISONS)
class TestPoison:
    @pytest.mark.sampled(14)
    def test_a_poisoned_store_goes_aside_and_a_new_one_takes_its_place(
        self, folder: Path, victim: Path, poison: Poison
    ) -> None:
        poison(folder, victim)
        cache = Cache.load(folder)
        assert len(cache.warnings) == 1
        assert "store.quarantined: " in cache.warnings[0]
        assert (cache.records(), cache.intents(), cache.facts("a.png", OLD)) == ((), (), None)
        assert os.path.lexists(folder / "store.quarantined")
        assert not (folder / "store").exists()
        cache.keep(RECORD)
        cache.close()
        assert Cache.load(folder).records() == (RECORD,)
        assert Cache.load(folder).warnings == ()

    @pytest.mark.sampled(16)
    def test_a_store_poisoned_since_it_was_read_is_not_written(
        self, folder: Path, victim: Path, poison: Poison
    ) -> None:
        cache = Cache.load(folder)
        poison(folder, victim)
        cache.keep(replace(RECORD, host="img402"))
        cache.close()
        assert os.path.lexists(folder / "store.quarantined")
        assert [record.host for record in Cache.load(folder).records()] == ["img402"]


class TestSafeDisk:
    """The second wall: what diskcache itself does with odd rows, should the check have missed them."""

    def test_plain_diskcache_would_have_executed_the_poison(self, folder: Path, tmp_path: Path) -> None:
        HOSTILE["pickled value"](folder, tmp_path / "victim")
        plain = diskcache.Cache(str(folder / "store"))
        for key in list(plain):
            plain.get(key)
        plain.close()
        assert (tmp_path / "executed").exists()

    @pytest.mark.parametrize("name", ["pickled value", "pickled key", "file to read as text", "file to read as bytes"])
    def test_odd_rows_are_refused(self, folder: Path, victim: Path, name: str) -> None:
        HOSTILE[name](folder, victim)
        refused = pytest.raises(ValueError, match=r"not plain text|not one of ours")
        with (
            diskcache.Cache(str(folder / "store"), disk=safe_diskcache.safe_disk(), **safe_diskcache.SETTINGS) as safe,
            refused,
        ):
            list(map(safe.get, safe))

    def test_a_file_that_a_row_names_is_neither_deleted_nor_written(self, folder: Path, victim: Path) -> None:
        HOSTILE["file to delete once expired"](folder, victim)
        with diskcache.Cache(str(folder / "store"), disk=safe_diskcache.safe_disk(), **safe_diskcache.SETTINGS) as safe:
            for key in safe:
                safe.set(key, "new")
            safe.expire()
            safe.clear()

    def test_settings_in_the_database_do_not_reach_the_disk(self, folder: Path, victim: Path) -> None:
        tamper(folder, "INSERT INTO Settings VALUES ('disk_remove', 'x'), ('disk__directory', '/')")
        with diskcache.Cache(str(folder / "store"), disk=safe_diskcache.safe_disk(), **safe_diskcache.SETTINGS) as safe:
            assert callable(safe.disk.remove)
            assert safe.disk._directory == str(folder / "store")

    @pytest.mark.parametrize(
        ("key", "value"),
        [("plain", "x"), (b"record:" + b"0" * 64, "x"), (1, "x"), (("a",), "x"), (f"record:{SHA}", b"x"),
         (f"record:{SHA}", 1), (f"record:{SHA}", {"a": 1}), (f"record:{SHA}", "é" * 2049), (f"record:{SHA}\n", "x")],
    )  # fmt: skip
    def test_only_short_texts_under_our_keys_are_stored(self, tmp_path: Path, key: object, value: object) -> None:
        with diskcache.Cache(str(tmp_path), disk=safe_diskcache.safe_disk(), **safe_diskcache.SETTINGS) as safe:
            with pytest.raises(ValueError, match=r"the (key|value) is not"):
                safe.set(key, value)
            assert len(safe) == 0

    def test_a_text_of_the_greatest_length_is_kept_and_read_again(self, folder: Path) -> None:
        """What was kept and could not be read would be a row in doubt, and the whole store would go aside."""
        writer, text = Writer(folder / "store"), "x" * safe_diskcache.MAX_VALUE
        writer.write({f"intent:{SHA}": text})
        writer.close()
        assert safe_diskcache.checked_rows(folder / "store")[f"intent:{SHA}"] == text

    def test_a_new_store_is_what_diskcache_makes_of_its_rows(self, tmp_path: Path) -> None:
        rows = {f"file:{number:064x}": "x" * number for number in range(3)}
        for name in ("ours", "theirs"):
            (tmp_path / name).mkdir()
        safe_diskcache.create(tmp_path / "ours", rows)
        with diskcache.Cache(
            tmp_path / "theirs", disk=safe_diskcache.safe_disk(), **safe_diskcache.SETTINGS
        ) as database:
            for key, value in rows.items():
                database[key] = value
        told = {}
        for name in ("ours", "theirs"):
            assert [file.name for file in (tmp_path / name).iterdir()] == ["cache.db"]
            assert safe_diskcache.checked_rows(tmp_path / name, is_for_writing=True) == rows
            with sqlite3.connect(tmp_path / name / "cache.db") as connection:
                asked = (
                    "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name",
                    "SELECT key, value, typeof(value) FROM Settings ORDER BY key",
                    "SELECT key, raw, expire_time, access_count, tag, size, mode, filename, value FROM Cache ORDER BY key",
                    "SELECT typeof(store_time), typeof(access_time), store_time = access_time FROM Cache",
                    *(f"PRAGMA {name}" for name in ("auto_vacuum", "encoding", "journal_mode", "page_size")),
                )
                told[name] = [connection.execute(question).fetchall() for question in asked]
            connection.close()
        assert told["ours"] == told["theirs"]

    @pytest.mark.parametrize("row", [("file:a", "x"), (f"file:{SHA}", "x" * 4097), ("x", "y"), (f"file:{SHA}", b"x")])
    def test_a_new_store_takes_no_row_but_ours(self, tmp_path: Path, row: tuple[str, Any]) -> None:
        with pytest.raises(ValueError, match="not"):
            safe_diskcache.create(tmp_path, dict([row]))
        assert not any(tmp_path.iterdir())

    def test_a_store_that_another_process_has_made_meanwhile_gets_the_rows_too(self, folder: Path) -> None:
        new = {f"file:{'e' * 64}": "x"}
        store = (folder / "store").absolute()
        before = safe_diskcache.checked_rows(store)
        assert not _create(store, new)
        assert safe_diskcache.checked_rows(store) == before
        Writer(store).write(new)
        assert safe_diskcache.checked_rows(store) == before | new

    def test_the_installed_diskcache_makes_the_schema_that_is_allowed(self, tmp_path: Path) -> None:
        diskcache.Cache(str(tmp_path / "store"), disk=safe_diskcache.safe_disk(), **safe_diskcache.SETTINGS).close()
        assert safe_diskcache.checked_rows(tmp_path / "store") == {}
        assert set(diskcache.DEFAULT_SETTINGS) == set(safe_diskcache.SETTINGS)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=40)), min_size=1, max_size=4)
)
def test_whatever_bytes_a_store_holds_it_loads_and_the_next_record_is_kept(changes: list[tuple[float, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "cache"
        shutil.copytree(template(), folder)
        database = folder / "store" / "cache.db"
        size = database.stat().st_size
        with database.open("r+b") as opened:
            for place, content in changes:
                opened.seek(int(place * size))
                opened.write(content)
        cache = Cache.load(folder)
        cache.records()
        cache.intents()
        cache.facts("a.png", OLD)
        cache.keep(replace(RECORD, host="img402"))
        cache.close()
        again = Cache.load(folder)
        assert replace(RECORD, host="img402") in again.records()
        assert again.warnings == ()


def template() -> Path:
    path = Path(tempfile.gettempdir()) / f"imghost-test-store-{os.getpid()}"
    if not path.exists():
        fill(path)
    return path


@pytest.fixture(scope="module", autouse=True)
def _remove_template() -> Iterator[None]:
    yield
    shutil.rmtree(Path(tempfile.gettempdir()) / f"imghost-test-store-{os.getpid()}", ignore_errors=True)


def test_few_stores_are_put_aside(folder: Path) -> None:
    for _ in range(9):
        (folder / "store" / "cache.db").write_bytes(b"")
        assert "was put aside" in Cache.load(folder).warnings[0]
        (folder / "store").mkdir()
    (folder / "store" / "cache.db").write_bytes(b"")
    cache = Cache.load(folder)
    assert "cannot be put aside" in cache.warnings[0]
    assert not cache.is_writable
    with pytest.raises(StateError, match="no more is uploaded"):
        cache.intend(*RECORD.key)
    assert len(list(folder.iterdir())) == 11


class TestTrouble:
    @posix
    def test_every_record_that_was_reported_kept_survives_a_kill(self, tmp_path: Path) -> None:
        code = (
            "import os, sys, threading; from pathlib import Path\n"
            "sys.path[:0] = [sys.argv[2], *sys.argv[-2:]]; import test_cache\n"
            "from imghost.records.cache import Cache\n"
            "cache = Cache.load(Path(sys.argv[1]))\n"
            "def work(mine):\n"
            "    for record in mine:\n"
            "        cache.intend(*record.key); cache.keep(record); os.write(1, f'{record.sha256}\\n'.encode())\n"
            "every = test_cache.records(20_000)\n"
            "for start in range(4): threading.Thread(target=work, args=(every[start::4],)).start()\n"
        )
        words = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent), *SUPPORT]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            reported = {worker.stdout.readline().strip() for _ in range(60)}
            worker.kill()
            # A line that the kill cut in two was not reported.
            reported |= {line.strip() for line in worker.stdout if line.endswith("\n") and len(line) == 65}
        assert worker.returncode == -signal.SIGKILL
        cache = Cache.load(tmp_path)
        assert cache.warnings == ()
        assert len(reported) >= 60
        assert reported <= {record.sha256 for record in cache.records()}
        assert len(cache.intents()) <= 4
        cache.keep(RECORD)
        cache.close()

    @posix
    def test_a_full_disk_stops_the_upload_before_it_begins(self, folder: Path) -> None:
        code = (
            "import resource, sys; from pathlib import Path\n"
            "from imghost.records.cache import Cache; from imghost.errors import StateError\n"
            "cache = Cache.load(Path(sys.argv[1]))\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))\n"
            "noted = 0\n"
            "try:\n"
            "    for number in range(5000): cache.intend(f'{number:064x}', 'img.pro', ''); noted += 1\n"
            "except StateError as problem: print(noted, problem)\n"
            "try: cache.save(); cache.intend('0' * 64, 'img.pro', 'again')\n"
            "except StateError as problem: print('still', problem)\n"
        )
        for limit in (20_000, 150_000):
            done = run(code, folder, limit)
            noted, _, text = done.stdout.partition(" ")
            assert text.startswith("no more is uploaded, since it cannot be noted in the local store"), done.stderr
            assert "still no more is uploaded" in text
            cache = Cache.load(folder)
            assert cache.warnings == ()
            assert cache.records() == (RECORD,)
            assert len(cache.intents()) >= int(noted)

    @posix
    @pytest.mark.parametrize("limit", [1_000, 9_000, 20_000])
    def test_a_store_that_a_full_disk_lets_nobody_finish_is_none(self, tmp_path: Path, limit: int) -> None:
        """Else it would be in doubt, and each build on such a disk would put one more aside."""
        code = (
            "import resource, sys; from pathlib import Path\n"
            "from imghost.records.cache import Cache; from imghost.errors import StateError\n"
            "cache = Cache.load(Path(sys.argv[1]))\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))\n"
            "try: cache.intend('0' * 64, 'img.pro', '')\n"
            "except StateError as problem: print(problem)\n"
        )
        folder = tmp_path / "cache"
        done = run(code, folder, limit)
        assert done.stdout.startswith("no more is uploaded, since it cannot be noted"), done.stderr
        cache = Cache.load(folder)
        assert (cache.warnings, cache.is_writable, (folder / "store").exists()) == ((), True, False)
        fill(folder)
        assert Cache.load(folder).records() == (RECORD,)

    @posix
    def test_a_store_that_cannot_be_opened_now_stays_where_it_is(self, folder: Path) -> None:
        """A machine without a free descriptor says nothing of the store, whose uploads under way are in no lock."""
        with Cache.load(folder) as writing:
            writing.intend("d" * 64, "img.pro", "")
            free, limits = os.dup(0), resource.getrlimit(resource.RLIMIT_NOFILE)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, limits[1]))
            try:
                cache = Cache.load(folder)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert "is not used: " in "".join(cache.warnings)
        assert not cache.is_writable
        assert len(Cache.load(folder).intents()) == 2

    @posix
    def test_a_store_in_a_folder_that_cannot_be_written_is_read(self, folder: Path) -> None:
        """Root may write everything, so another user reads where the tests run as root."""
        for path in (*folder.rglob("*"), folder):
            path.chmod(0o555 if path.is_dir() else 0o444)
        for parent in folder.parents[:4]:
            parent.chmod(parent.stat().st_mode | 0o055)
        code = (
            "import os, sys; from pathlib import Path\n"
            "from imghost.records.cache import Cache, exclusive; from imghost.errors import StateError\n"
            "import filelock, imghost.records.safe_diskcache\n"
            "os.getuid() or os.setuid(65534)\n"
            "cache = Cache.load(Path(sys.argv[1]))\n"
            "print(len(cache.records()), len(cache.intents()), cache.warnings, cache.is_writable)\n"
            "cache.remember_facts('b.png', (1, 2, 3), 'is empty'); cache.save()\n"
            "try: cache.intend('0' * 64, 'img.pro', '')\n"
            "except StateError as problem: print(problem)\n"
            "try:\n"
            "    with exclusive(Path(sys.argv[1]), wait=0): print('held')\n"
            "except StateError as problem: print(problem)\n"
        )
        done = run(code, folder)
        for path in (folder, folder / "store"):
            path.chmod(0o755)
        first, second, third = done.stdout.splitlines() or [done.stderr, "", ""]
        assert first == "1 1 () False"
        assert second.startswith("no more is uploaded, since it cannot be noted in the local store")
        assert "the folder cannot be written; make it writable, or change 'cache_dir'" in second
        assert third.startswith("nothing is uploaded, since ")
        assert sorted(path.name for path in (folder / "store").iterdir()) == ["cache.db"]

    def test_a_store_that_another_process_writes_is_read(self, folder: Path) -> None:
        writer = Writer(folder / "store")
        writer.write({f"intent:{SHA}": "x"})
        connection = sqlite3.connect(folder / "store" / "cache.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        assert Cache.load(folder).records() == (RECORD,)
        connection.execute("ROLLBACK")
        connection.close()
        writer.close()

    def test_a_path_that_names_a_variable_is_not_expanded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ELSEWHERE", str(tmp_path / "elsewhere"))
        with pytest.raises(StateError, match="environment variable"):
            Cache.load(tmp_path / "$ELSEWHERE").intend(*RECORD.key)
        assert not (tmp_path / "elsewhere").exists()

    @pytest.mark.parametrize("name", ["a b", "q?x=1&y", "100%41", "#", "ü", "~", "'\"" if os.name != "nt" else "'"])
    def test_any_name_of_a_folder_will_do(self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for folder in (tmp_path / name, Path(name)):
            fill(folder)
            assert Cache.load(folder).records() == (RECORD,)
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_a_cache_folder_that_is_a_file_is_one_error_at_the_first_write(self, tmp_path: Path) -> None:
        (tmp_path / "cache").touch()
        cache = Cache.load(tmp_path / "cache")
        with pytest.raises(StateError, match="no more is uploaded"):
            cache.intend(*RECORD.key)
        with pytest.raises(StateError, match="nothing is uploaded"), exclusive(tmp_path / "cache", wait=0):
            pass


class TestExclusive:
    @staticmethod
    def holder(folder: Path) -> subprocess.Popen[str]:
        code = (
            "import sys, time; from pathlib import Path; from imghost.records.cache import exclusive\n"
            "with exclusive(Path(sys.argv[1])) as is_alone: print(is_alone, flush=True); time.sleep(60)"
        )
        held = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
        assert held.stdout is not None
        assert held.stdout.readline() == "True\n"
        return held

    def test_one_build_at_a_time_and_a_killed_one_holds_nothing(self, tmp_path: Path) -> None:
        with self.holder(tmp_path) as other:
            started = time.monotonic()
            with exclusive(tmp_path, wait=0.3) as is_alone:
                assert not is_alone
            assert 0.2 < time.monotonic() - started < 5
            other.kill()
            other.wait()
            with exclusive(tmp_path, wait=5) as is_alone:
                assert is_alone
            with exclusive(tmp_path, wait=0) as is_alone:
                assert is_alone

    def test_a_build_waits_for_the_other_one(self, tmp_path: Path) -> None:
        with self.holder(tmp_path) as other:
            threading.Timer(0.3, other.kill).start()
            with exclusive(tmp_path, wait=20) as is_alone:
                assert is_alone

    @posix
    def test_a_link_in_the_locks_place_is_not_followed(self, tmp_path: Path, victim: Path) -> None:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "uploads.lock").symlink_to(victim)
        with exclusive(tmp_path / "cache", wait=0) as is_alone:
            assert is_alone


@pytest.mark.long
def test_what_another_view_has_found_out_of_files_counts_and_is_kept(tmp_path: Path) -> None:
    """As long as they are as they were; and what may still change unseen is not taken over."""
    young = (10, time.time_ns(), 7)
    seen = Cache(tmp_path / "nowhere", {}, (), is_writable=False)
    seen.remember_facts("old.png", OLD, (SHA, FACTS))
    seen.remember_facts("young.png", young, (SHA, FACTS))
    with Cache.load(tmp_path) as cache:
        cache.learn(seen)
        cache.save()
    for known in (cache, Cache.load(tmp_path)):
        assert known.facts("old.png", OLD) == (SHA, FACTS)
        assert known.facts("old.png", (11, *OLD[1:])) is None
        assert known.facts("young.png", young) is None
    assert not (tmp_path / "nowhere").exists()


def test_builds_that_make_the_store_at_the_same_moment_all_keep_their_records(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path[:0] = [sys.argv[2], *sys.argv[-2:]]; import test_cache\n"
        "from dataclasses import replace; from imghost.records.cache import Cache; from imghost.records import cache\n"
        "cache = Cache.load(Path(sys.argv[1])); print('ready', flush=True); sys.stdin.readline()\n"
        "cache.keep(replace(test_cache.RECORD, host=sys.argv[3])); cache.close()\n"
    )
    tests = str(Path(__file__).parent)
    builds = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "cache"), tests, f"host{number}", *SUPPORT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for build in builds:
        assert build.stdout is not None
        assert build.stdout.readline() == "ready\n"
    for build in builds:
        build.communicate("\n", timeout=30)
        assert build.returncode == 0
    cache = Cache.load(tmp_path / "cache")
    assert sorted(record.host for record in cache.records()) == ["host0", "host1", "host2", "host3"]
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [".gitignore", "store"]


def test_reading_brings_no_diskcache(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from imghost.records.cache import Cache\n"
        "cache = Cache.load(Path(sys.argv[1])); cache.records(); cache.save(); cache.close()\n"
        "print({'diskcache', 'filelock', 'httpx'} & set(sys.modules))"
    )
    assert run(code, folder).stdout == "set()\n"


def test_ten_thousand_rows_are_read_in_a_blink(tmp_path: Path) -> None:
    """CPU time of the best of three, with room for a slow machine."""
    cache = Cache.load(tmp_path)
    for number in range(10_000):
        cache.remember_facts(f"{number}.png", OLD, (f"{number:064x}", FACTS))
    cache.save()
    cache.close()
    spent = []
    for _ in range(3):
        started = time.process_time()
        assert Cache.load(tmp_path).facts("9999.png", OLD)
        spent.append(time.process_time() - started)
    assert min(spent) < 0.12


def traces(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def test_reading_a_store_leaves_no_trace(folder):
    before = traces(folder)
    for _ in range(2):
        with Cache.load(folder) as cache:
            assert cache.records() == (RECORD,)
            cache.save()
    assert traces(folder) == before


def test_what_a_killed_build_left_in_the_log_is_read_and_folded_in_once(folder):
    code = (
        "import os, sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path; from imghost.records.cache import Cache\n"
        "Cache.load(Path(sys.argv[1])).intend('e' * 64, 'img.pro', ''); os._exit(9)"
    )
    assert run(code, folder, *SUPPORT).returncode == 9
    assert (folder / "store/cache.db-wal").stat().st_size > 0
    with Cache.load(folder) as cache:
        assert ("e" * 64, "img.pro", "") in cache.intents()
        cache.save()
    assert {path.name for path in (folder / "store").iterdir()} == {"cache.db"}
    before = traces(folder)
    with Cache.load(folder) as cache:
        assert ("e" * 64, "img.pro", "") in cache.intents()
        cache.save()
    assert traces(folder) == before


def test_rows_that_another_build_has_in_its_log_are_read(folder):
    with Cache.load(folder) as writing:
        writing.intend("d" * 64, "img.pro", "")
        assert (folder / "store/cache.db-wal").stat().st_size > 0
        assert ("d" * 64, "img.pro", "") in Cache.load(folder).intents()
    assert ("d" * 64, "img.pro", "") in Cache.load(folder).intents()
