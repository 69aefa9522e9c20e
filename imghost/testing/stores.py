"""The contract of stores for shared records, as tests to subclass: a store is right if every build may trust it.

    class TestMine(StoreContract):
        @contextmanager
        def place(self, folder):
            with MyServer() as server:
                yield lambda: MyStore(server.url, {}, 5.0)

Each test gets a place of its own, without entries. Nothing of pytest is imported.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TypeVar

from imghost.errors import StoreError
from imghost.models import Record
from imghost.records import shared
from imghost.records.shared import Course, Entry, Key, Seen, State, Store, Writer
from imghost.testing.bench import expect

Opened = Callable[[], Store]
"""Opens the place once more, as another build on another machine does."""

Answered = TypeVar("Answered")

BUILDS = 6
ROUNDS = 4
_SLACK = 2.5
"""Seconds that a store's clock may be coarse by, and a test machine slow."""


class StoreContract:
    """What holds for every store of shared records."""

    def place(self, folder: Path) -> AbstractContextManager[Opened]:
        """Make a place without entries, and say how to open it."""
        raise NotImplementedError("say how to make the store")

    def test_an_entry_is_written_and_read_and_what_is_absent_is_none(self, tmp_path: Path) -> None:
        """The least of it; another build sees the same."""
        with self.place(tmp_path) as opened:
            store, other = opened(), opened()
            expect(store.get("records/a/b") is None, "an entry is there before it is written")
            tag = store.put("records/a/b", "text ü", None)
            expect(tag is not None, "the first write was refused")
            for reader in (store, other):
                entry = reader.get("records/a/b")
                expect(entry is not None and entry[:2] == ("text ü", tag), f"another entry was read: {entry}")
            _closed(store, other)

    def test_what_is_there_is_not_created_again(self, tmp_path: Path) -> None:
        """Creating is refused where anybody has written, and changes nothing."""
        with self.place(tmp_path) as opened:
            store, other = opened(), opened()
            tag = store.put("k", "first", None)
            expect(other.put("k", "second", None) is None, "an entry was created over another one")
            entry = other.get("k")
            expect(entry is not None and entry[:2] == ("first", tag), f"a refused write changed the entry: {entry}")
            _closed(store, other)

    def test_a_write_counts_only_over_what_was_read(self, tmp_path: Path) -> None:
        """Neither an older tag nor one of another key writes, and what is absent is not replaced."""
        with self.place(tmp_path) as opened:
            store = opened()
            first = store.put("k", "1", None)
            second = store.put("k", "2", first)
            expect(second not in {None, first}, "a write on its condition was refused, or has an old tag")
            expect(store.put("k", "3", first) is None, "a write over an older entry was carried out")
            third = store.put("k", "4", second)
            expect(store.put("k", "5", first) is None, "a write over a much older entry was carried out")
            expect(store.put("absent", "6", first) is None, "what is absent was replaced")
            entry = store.get("k")
            expect(entry is not None and entry[:2] == ("4", third), f"the entry is {entry}")
            expect(store.get("absent") is None, "a refused write made an entry")
            _closed(store)

    def test_of_many_that_create_at_once_one_does(self, tmp_path: Path) -> None:
        """Six builds, each with a connection of its own, several times."""
        self._race(tmp_path, is_there=False)

    def test_of_many_that_take_over_at_once_one_does(self, tmp_path: Path) -> None:
        """Six builds that have read the same entry, several times."""
        self._race(tmp_path, is_there=True)

    def _race(self, folder: Path, *, is_there: bool) -> None:
        with self.place(folder) as opened:
            stores = [opened() for _ in range(BUILDS)]
            for number in range(ROUNDS):
                key = f"race/{number}"
                tag = stores[0].put(key, "claim", None) if is_there else None
                gate = threading.Barrier(len(stores))

                def write(
                    store: Store, key: str = key, tag: str | None = tag, gate: threading.Barrier = gate
                ) -> str | None:
                    gate.wait()
                    return store.put(key, secrets.token_hex(8), tag)

                with ThreadPoolExecutor(len(stores)) as pool:
                    tags = [new for new in pool.map(write, stores) if new]
                expect(len(tags) == 1, f"{len(tags)} of {len(stores)} writes at once were carried out, not one")
                entry = stores[-1].get(key)
                expect(entry is not None and entry.tag == tags[0], "the entry is not the one that was written")
            _closed(*stores)

    def test_the_age_is_the_stores_own(self, tmp_path: Path) -> None:
        """A claim is over by the store's clock: its age grows as time does, whoever asks, and a write begins anew."""
        with self.place(tmp_path) as opened:
            store, other = opened(), opened()
            tag = store.put("k", "1", None)
            started = time.monotonic()
            time.sleep(1.2)
            for reader in (store, other):
                entry = reader.get("k")
                passed = time.monotonic() - started
                expect(
                    entry is not None and abs(entry.age - passed) <= _SLACK, f"the age after {passed:.1f} s: {entry}"
                )
                expect(entry is not None and entry.age > 0, "time does not pass in the store")
            store.put("k", "2", tag)
            entry = other.get("k")
            expect(entry is not None and entry.age <= _SLACK, f"a new entry is old: {entry}")
            _closed(store, other)

    def test_many_are_read_at_once(self, tmp_path: Path) -> None:
        """What is absent is left out."""
        with self.place(tmp_path) as opened:
            store = opened()
            keys = [f"records/h/{number:02x}" for number in range(40)]
            for key in keys[::2]:
                store.put(key, key, None)
            entries = store.get_all(keys)
            expect(set(entries) == set(keys[::2]), f"{len(entries)} entries were read, not {len(keys[::2])}")
            expect(all(entry.text == key for key, entry in entries.items()), "entries were mixed up")
            expect(store.get_all([]) == {}, "nothing was asked for, and something given")
            _closed(store)

    def test_keys_are_listed_by_their_beginning(self, tmp_path: Path) -> None:
        """For people's commands, and each key once, however often it was written."""
        with self.place(tmp_path) as opened:
            store = opened()
            expect(list(store.listed("records/")) == [], "a store without entries lists some")
            tag = store.put("records/a/1", "x", None)
            store.put("records/a/1", "y", tag)
            for key in ("records/a/2", "records/b/1", "uses/p/1"):
                store.put(key, "x", None)
            expect(sorted(store.listed("records/a/")) == ["records/a/1", "records/a/2"], "the list is another one")
            expect(len(list(store.listed("records/"))) == 3, "the list is another one")
            _closed(store)

    def test_it_keeps_its_conditions(self, tmp_path: Path) -> None:
        """What a build checks before its first claim: the first time, and each time after."""
        with self.place(tmp_path) as opened:
            store = opened()
            shared.check_conditions(store)
            shared.check_conditions(store)
            _closed(store)

    def test_two_builds_upload_once_whatever_fails(self, tmp_path: Path) -> None:
        """Each call of the first build fails once in each way, while a second build wants the same image."""
        with self.place(tmp_path) as opened:
            store, other = opened(), opened()
            for fault in Fault:
                for call in range(1, 5):
                    _check_course(Failing(store, {call: fault}), other, f"{fault.name} at call {call}")
            _closed(store, other)

    def test_of_two_that_take_over_at_once_one_does_whatever_fails(self, tmp_path: Path) -> None:
        """A holder died; two builds find its claim over."""
        with self.place(tmp_path) as opened:
            stores = [opened() for _ in range(2)]
            for fault in Fault:
                for call in range(1, 4):
                    _check_succession(Failing(stores[0], {call: fault}), stores[1], f"{fault.name} at call {call}")
            _closed(*stores)

    def test_a_store_that_forgets_a_claim_leaves_one_record(self, tmp_path: Path) -> None:
        """Both builds have uploaded; the record that is there first counts for both."""
        with self.place(tmp_path) as opened:
            store = Forgetting(opened())
            key, writers = a_key(), [a_writer(), a_writer()]
            first = shared.claim(store, key, Seen(), writers[0])
            store.forget()
            expect(
                first is not None and shared.extend(store, first, writers[0]) is None,
                "a claim that is gone was extended",
            )
            second = shared.claim(store, key, shared.ask(store, key), writers[1])
            expect(second is not None, "what was forgotten cannot be claimed")
            late = shared.publish(store, key, first, a_record(key, "first"), writers[0], lambda _: True)
            taken = shared.publish(store, key, second, a_record(key, "second"), writers[1], lambda _: True)
            expect(late.is_ours and not taken.is_ours and taken.record == late.record, f"{late}, and then {taken}")
            _closed(store)


class Fault(Enum):
    """How a call to a store fails once."""

    UNSENT = "unsent"
    """Nothing arrived."""
    LOST = "lost"
    """It was carried out, and the answer was lost."""
    LATE = "late"
    """No answer came in time, and it is carried out after the next call."""


class Failing:
    """A store of which chosen calls fail, counted from one; a call that is made again is the next one."""

    def __init__(self, store: Store, faults: Mapping[int, Fault]) -> None:
        self.address = store.address
        self.calls = 0
        self._store = store
        self._faults = faults
        self._late: list[Callable[[], object]] = []

    def get(self, key: str) -> Entry | None:
        """Read one entry."""
        return self._call(lambda: self._store.get(key))

    def get_all(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """Read many entries."""
        return self._call(lambda: self._store.get_all(keys))

    def put(self, key: str, text: str, tag: str | None) -> str | None:
        """Write an entry on its condition."""
        return self._call(lambda: self._store.put(key, text, tag))

    def listed(self, prefix: str) -> Iterator[str]:
        """List keys."""
        yield from self._store.listed(prefix)

    def close(self) -> None:
        """Carry out what is late, and close the store."""
        self._settle()
        self._store.close()

    def _call(self, call: Callable[[], Answered]) -> Answered:
        self.calls += 1
        fault = self._faults.get(self.calls)
        if fault is None:
            answered = call()
            self._settle()
            return answered
        if fault is Fault.LOST:
            call()
        if fault is Fault.LATE:
            self._late.append(call)
        raise StoreError("the store does not answer", is_passing=True, is_ambiguous=True)

    def _settle(self) -> None:
        while self._late:
            self._late.pop()()


class Forgetting:
    """A store that can forget all that it has: what is asked for after that is another key of the engine's."""

    def __init__(self, store: Store) -> None:
        self.address = store.address
        self._store = store
        self._times = 0

    def forget(self) -> None:
        """Forget everything."""
        self._times += 1

    def get(self, key: str) -> Entry | None:
        """Read one entry."""
        return self._store.get(self._named(key))

    def get_all(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """Read many entries."""
        return {key: entry for key in keys if (entry := self.get(key))}

    def put(self, key: str, text: str, tag: str | None) -> str | None:
        """Write an entry on its condition."""
        return self._store.put(self._named(key), text, tag)

    def listed(self, prefix: str) -> Iterator[str]:
        """List keys."""
        yield from (key.removeprefix(self._named("")) for key in self._store.listed(self._named(prefix)))

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _named(self, key: str) -> str:
        return f"memory{self._times}/{key}"


def a_key() -> Key:
    """Make a key that nothing has."""
    return Key("shelf", "", secrets.token_hex(32), "")


def a_writer(project: str = "docs") -> Writer:
    """Make a build that does not wait between its tries."""
    return Writer(secrets.token_hex(8), project, sleep=lambda _: None)


def a_record(key: Key, name: str = "image") -> Record:
    """Make a record for a key."""
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    url = f"https://shelf.example/{name}.png"
    return Record(key.sha256, key.host, url, name, key.variant, 100, "image/png", 4, 3, moment)


def _check_course(store: Store, other: Store, case: str) -> None:
    """Let a build whose store fails claim, extend and publish, with another one that asks after each step."""
    key, writer, rival = a_key(), a_writer(), a_writer()
    held = shared.claim(store, key, _asked(store, key, writer), writer)
    expect(held is not None, f"{case}: nobody else was there, and the claim was refused")
    assert held is not None
    _expect_waiting(other, key, rival, case)
    held = shared.extend(store, held, writer, {"nonce": "0x1"})
    expect(held is not None, f"{case}: the claim was extended for nobody")
    _expect_waiting(other, key, rival, case)
    record = a_record(key)
    published = shared.publish(store, key, held, record, writer, lambda _: True)
    expect(published == (record, True), f"{case}: {published}")
    state = _asked(other, key, rival).state
    expect(state == State(record, None, writer.project, 1), f"{case}: the other build reads {state}")


def _check_succession(store: Store, other: Store, case: str) -> None:
    """Let two builds, one with a store that fails, take over the claim of a third that died."""
    key, dead = a_key(), a_writer()
    held = shared.claim(other, key, Seen(), dead)
    expect(held is not None, f"{case}: the first claim was refused")
    assert held is not None
    builds = [(store, a_writer()), (other, a_writer())]
    asked = [_asked(place, key, writer)._replace(age=shared.LEASE + 1) for place, writer in builds]
    taken = [shared.claim(place, key, seen, writer) for (place, writer), seen in zip(builds, asked, strict=True)]
    expect(sum(map(bool, taken)) == 1, f"{case}: {sum(map(bool, taken))} builds took over")
    expect(shared.extend(other, held, dead) is None, f"{case}: the dead one's claim was extended")


def _expect_waiting(store: Store, key: Key, writer: Writer, case: str) -> None:
    seen = _asked(store, key, writer)
    expect(shared.course(seen, writer.holder, lambda _: True) is Course.WAIT, f"{case}: two hold it")
    expect(shared.claim(store, key, Seen(), writer) is None, f"{case}: claimed twice")


def _asked(store: Store, key: Key, writer: Writer) -> Seen:
    return shared.ask(store, key, writer.sleep)


def _closed(*stores: Store) -> None:
    for store in stores:
        store.close()
