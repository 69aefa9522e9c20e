"""The protocol of shared records, step by step: pure over a store."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imghost.errors import SettingsError, StoreError
from imghost.records import shared
from imghost.records.shared import Claim, Course, Entry, Key, Seen, State, Writer
from imghost.records.shared_folder import FolderStore
from imghost.records.shared_postgres import PostgresStore
from imghost.records.shared_s3 import S3Store
from imghost.testing.contract import Failing, StoreFault, a_key, a_record, a_writer

LATER = datetime(2030, 1, 1, tzinfo=UTC)


class Memory:
    """A store in memory, whose clock a test turns."""

    address = "memory"

    def __init__(self) -> None:
        self.now = 0.0
        self.entries: dict[str, tuple[str, str, float]] = {}
        self._tags = itertools.count()

    def get(self, key: str) -> Entry | None:
        text, tag, written = self.entries.get(key, ("", "", 0.0))
        return Entry(text, tag, self.now - written) if tag else None

    def get_all(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        return {key: entry for key in keys if (entry := self.get(key))}

    def put(self, key: str, text: str, tag: str | None) -> str | None:
        if self.entries.get(key, ("", None, 0.0))[1] != tag:
            return None
        new = f"t{next(self._tags)}"
        self.entries[key] = text, new, self.now
        return new

    def listed(self, prefix: str) -> Iterator[str]:
        yield from sorted(key for key in self.entries if key.startswith(prefix))

    def close(self) -> None: ...


def yes(_: object) -> bool:
    return True


class TestCourse:
    """What a build can do about a key."""

    @pytest.mark.parametrize(
        ("state", "age", "course"),
        [
            (State(), 0, Course.CLAIM),
            (State(claim=Claim("somebody-else", 60)), 59, Course.WAIT),
            (State(claim=Claim("somebody-else", 60)), 61, Course.CLAIM),
            (State(claim=Claim("this-build", 60)), 0, Course.CLAIM),
            (State(a_record(a_key())), 0, Course.TAKE),
            (State(a_record(a_key()), Claim("somebody-else", 60)), 0, Course.TAKE),
        ],
    )
    def test_by_record_claim_and_age(self, state: State, age: float, course: Course) -> None:
        assert shared.course(Seen(state, "t", age), "this-build", yes) is course

    def test_a_record_that_cannot_be_used_is_renewed_or_waited_for(self) -> None:
        state = State(a_record(a_key()))
        assert shared.course(Seen(state, "t"), "this-build", lambda _: False) is Course.CLAIM
        renewed = replace(state, claim=Claim("somebody-else", 60))
        assert shared.course(Seen(renewed, "t"), "this-build", lambda _: False) is Course.WAIT


class TestSteps:
    """Claims and records of builds that meet."""

    def test_a_renewal_keeps_the_record_readable_and_is_the_next_generation(self) -> None:
        store, key, writer = Memory(), a_key(), a_writer()
        old = replace(a_record(key, "old"), expires=LATER)
        new = replace(a_record(key, "new"), expires=LATER + timedelta(days=9))
        shared.publish(store, key, None, old, writer, yes)
        held = shared.claim(store, key, shared.ask(store, key), writer)
        assert held
        assert shared.ask(store, key).state.record == old
        assert shared.publish(store, key, held, new, writer, yes) == (new, True)
        assert shared.ask(store, key).state == State(new, None, "docs", 2)

    def test_who_was_taken_over_keeps_what_is_there_first(self) -> None:
        store, key, (slow, quick) = Memory(), a_key(), (a_writer("slow"), a_writer("quick"))
        held = shared.claim(store, key, Seen(), slow)
        store.now = 100
        taken = shared.claim(store, key, shared.ask(store, key), quick)
        assert held
        assert taken
        assert shared.extend(store, held, slow) is None
        assert shared.publish(store, key, taken, a_record(key, "quick"), quick, yes).is_ours
        assert shared.publish(store, key, held, a_record(key, "slow"), slow, yes) == (a_record(key, "quick"), False)

    def test_who_was_taken_over_and_is_first_all_the_same_ends_the_others_claim(self) -> None:
        store, key, (slow, quick) = Memory(), a_key(), (a_writer("slow"), a_writer("quick"))
        held = shared.claim(store, key, Seen(), slow)
        store.now = 100
        taken = shared.claim(store, key, shared.ask(store, key), quick)
        assert taken
        assert shared.publish(store, key, held, a_record(key), slow, yes).is_ours
        assert shared.extend(store, taken, quick) is None
        assert shared.give_up(store, taken, quick) is False
        assert shared.ask(store, key).state.record == a_record(key)

    def test_giving_up_never_takes_a_successors_claim_away(self) -> None:
        store, key, (first, second) = Memory(), a_key(), (a_writer(), a_writer())
        held = shared.claim(store, key, Seen(), first)
        assert held
        assert shared.give_up(store, held, first)
        assert shared.course(shared.ask(store, key), second.holder, yes) is Course.CLAIM
        assert shared.claim(store, key, shared.ask(store, key), second)
        assert shared.give_up(store, held, first) is False
        assert shared.course(shared.ask(store, key), first.holder, yes) is Course.WAIT

    def test_what_was_signed_outlives_its_claim_and_goes_with_the_record(self) -> None:
        store, key, writer = Memory(), a_key(), a_writer()
        held = shared.claim(store, key, Seen(), writer)
        assert held
        held = shared.extend(store, held, writer, {"nonce": "0x12"})
        assert held
        shared.give_up(store, held, writer)
        assert shared.ask(store, key).state.payment == {"nonce": "0x12"}
        shared.publish(store, key, None, a_record(key), writer, yes)
        assert shared.ask(store, key).state.payment is None

    def test_a_store_without_conditions_is_found_out(self) -> None:
        store = Memory()
        store.put = lambda key, text, tag: "t"  # type: ignore[method-assign]
        with pytest.raises(StoreError, match="does not keep conditional writes"):
            shared.check_conditions(store)

    def test_uses_are_noted_and_listed(self) -> None:
        store = Memory()
        shared.note_uses(store, a_writer("a"), ["img.pro/1", "img.pro/2"])
        shared.note_uses(store, a_writer("b"), ["img.pro/1"])
        noted = {(project, keys) for _, project, keys in shared.uses(store)}
        assert noted == {("a", ("records/img.pro/1", "records/img.pro/2")), ("b", ("records/img.pro/1",))}


class TestTexts:
    """An entry's text is read strictly: whoever may write to the store decides what pages show."""

    def test_what_is_written_is_read(self) -> None:
        key = Key("img.pro", "account", "ab" * 32, "strip")
        state = State(a_record(key), Claim("0123456789abcdef", 60.0), "docs", 3, {"nonce": "1"})
        assert shared.parse(key, shared.render(key, state, "w")) == state

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"imghost_shared": "1"}, "not imghost's"),
            ({"imghost_shared": 2}, "newer imghost"),
            ({"key": ["img.pro", "", "0" * 64, ""]}, "another key"),
            ({"record": {}}, "lacks the field"),
            ({"claim": {"holder": "x"}}, "claim makes no sense"),
            ({"claim": {"holder": "0123456789", "lease": True}}, "claim makes no sense"),
            ({"claim": {"holder": "0123456789", "lease": 1e9}}, "claim makes no sense"),
            ({"generation": -1}, "generation"),
            ({"payment": {"nonce": 1}}, "payment"),
            ({"project": "x" * 300}, "project"),
        ],
    )
    def test_what_makes_no_sense_is_an_error(self, change: dict[str, Any], why: str) -> None:
        key = a_key()
        text = json.dumps(json.loads(shared.render(key, State(), "w")) | change)
        with pytest.raises(ValueError, match=why):
            shared.parse(key, text)

    def test_another_images_record_is_refused(self) -> None:
        key, other = a_key(), a_key()
        fields = json.loads(shared.render(other, State(a_record(other)), "w")) | {"key": list(key)}
        with pytest.raises(ValueError, match="another image's"):
            shared.parse(key, json.dumps(fields))

    @given(st.text(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
    @settings(max_examples=200, deadline=None)
    def test_anything_else_is_a_value_error(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"\w"):
            shared.parse(a_key(), text)


class TestAnyOrder:
    """Builds that come, stand still, die, are taken over and lose answers, in any order."""

    @pytest.mark.long
    @given(st.data())
    @settings(max_examples=120, deadline=None)
    def test_two_builds_send_an_image_only_if_the_first_was_silent_for_a_lease(self, data: st.DataObject) -> None:
        """So a host is sent an image twice only after its builder died, and by then it can be asked for it."""
        store, key = Memory(), a_key()
        sent: list[float] = []
        builds: list[Iterator[None]] = []
        for _ in range(data.draw(st.integers(10, 60))):
            choice = data.draw(st.integers(0, 6))
            if choice == 0 or not builds:
                calls = data.draw(st.dictionaries(st.integers(1, 6), st.sampled_from(StoreFault), max_size=2))
                builds.append(_build(Failing(store, calls), lambda: store.now, key, sent))
            elif choice == 1:
                store.now += data.draw(st.sampled_from([1.0, 30.0, 70.0]))
            elif choice == 2:
                builds.pop(data.draw(st.integers(0, len(builds) - 1)))
            else:
                build = data.draw(st.sampled_from(builds))
                if next(build, "done") == "done":
                    builds.remove(build)
        assert all(later - earlier > shared.LEASE for earlier, later in itertools.pairwise(sent))
        assert shared.ask(store, key).state.record is None or sent


def _build(store: Failing, now: Callable[[], float], key: Key, sent: list[float]) -> Iterator[None]:
    """Build in steps; between two of them anything may happen.

    Looking at the claim and sending are one step here, since the run sends within half a lease of its last look.
    """
    writer: Writer = a_writer()
    try:
        seen = shared.ask(store, key, writer.sleep)
        yield
        while (course := shared.course(seen, writer.holder, yes)) is not Course.TAKE:
            held = shared.claim(store, key, seen, writer) if course is Course.CLAIM else None
            yield
            held = shared.extend(store, held, writer) if held else None
            if held:
                sent.append(now())
                yield
                shared.publish(store, key, held, a_record(key), writer, yes)
                return
            seen = shared.ask(store, key, writer.sleep)
            yield
    except StoreError:
        return


class TestAddresses:
    """What the option takes."""

    @pytest.mark.parametrize(
        ("kind", "url"),
        [
            (FolderStore, "file://elsewhere/x"),
            (FolderStore, "file:///x?y"),
            (S3Store, "s3://"),
            (S3Store, "s3://bucket/../x"),
            (S3Store, "s3://user:secret@bucket/x"),
            (PostgresStore, "postgresql://host"),
            (PostgresStore, "postgresql://host/"),
            (PostgresStore, "postgresql://user:secret@host/db"),
            (PostgresStore, "postgresql://host/db?host=evil.example"),
            (PostgresStore, "postgresql://host/db?schema=a;b"),
            (PostgresStore, "postgresql://host/db?password="),
            (PostgresStore, "postgresql://host:port/db"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, kind: Any, url: str) -> None:
        with pytest.raises(SettingsError, match="option 'shared'"):
            kind(url, {}, 1.0)

    @pytest.mark.parametrize(
        ("url", "address"),
        [
            ("postgresql://host/d", "postgresql://host/d"),
            ("postgresql://me@host:5433/db?schema=s&sslmode=require", "postgresql://host:5433/db?schema=s"),
            ("postgresql:///db?schema=", "postgresql:///db"),
        ],
    )
    def test_a_database_is_told_without_its_user(self, url: str, address: str) -> None:
        assert PostgresStore(url, {}, 1.0).address == address

    def test_every_version_looks_for_an_entry_under_the_same_name(self) -> None:
        """Else two builds, one upgraded, would each upload and pay for what the other has."""
        key = Key("img.pro", "me", "0123456789abcdef" * 4, "strip")
        assert key.path == f"records/img.pro/01/23/{key.sha256}-3ad8d720616b91df"

    def test_the_environments_password_goes_only_where_the_environment_says(self) -> None:
        secret = {"PGPASSWORD": "canary-0123456789"}
        with pytest.raises(SettingsError, match=r"would send PGPASSWORD to evil\.example"):
            PostgresStore("postgresql://evil.example/db", secret, 1.0)
        for more in ({"PGHOST": "db.example"}, {"IMGHOST_ALLOW_API_URL": "postgresql://db.example"}):
            PostgresStore("postgresql://db.example/db", secret | more, 1.0)
        PostgresStore("postgresql://localhost/db", secret, 1.0)

    def test_an_engine_whose_library_is_not_installed_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stores = ("psycopg", PostgresStore, "postgresql://host/db"), ("boto3", S3Store, "s3://bucket/x")
        for library, kind, url in stores:
            monkeypatch.setitem(sys.modules, library, None)
            extra = {"psycopg": "postgres", "boto3": "s3"}[library]
            with pytest.raises(SettingsError, match=rf'needs {library} for .*; pip install "imghost\[{extra}\]"'):
                kind(url, {}, 1.0).get("k")

    def test_an_engine_that_is_not_installed_is_told_with_those_that_are(self) -> None:
        with pytest.raises(SettingsError, match=r"no store for 'redis' is installed; there are: file, postgresql, s3"):
            shared.open_store("redis://host", {}, 1.0)


class TestFolder:
    """What only files can do."""

    def test_old_generations_are_swept_and_one_that_comes_late_counts_for_nobody(self, tmp_path: Path) -> None:
        store = FolderStore(tmp_path.as_uri(), {}, 1.0)
        tags = [store.put("a/k", "0", None)]
        for number in range(1, 6):
            tags.append(store.put("a/k", str(number), tags[-1]))
        assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["k.5", "k.6"]
        assert store.put("a/k", "late", tags[0]) is None
        entry = store.get("a/k")
        assert entry is not None
        assert entry.text == "5"
        assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["k.5", "k.6"]
        store.close()

    def test_of_two_writers_the_one_that_stood_still_leaves_nothing_behind(self, tmp_path: Path) -> None:
        """It had looked before the others wrote, and swept; its own file is none of theirs to sweep."""

        class Slow(FolderStore):
            def _linked(self, path: Path, generation: int, content: bytes) -> bool:
                tag: str | None = str(generation - 1)
                for number in range(4):
                    tag = other.put("a/k", str(number), tag)
                return super()._linked(path, generation, content)

        other, slow = FolderStore(tmp_path.as_uri(), {}, 1.0), Slow(tmp_path.as_uri(), {}, 1.0)
        assert slow.put("a/k", "late", other.put("a/k", "first", None)) is None
        assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["k.4", "k.5"]

    def test_an_entry_that_cannot_be_read_is_never_taken_for_none(self, tmp_path: Path) -> None:
        """Where one is listed and gone whenever it is opened, its image would be sent, and paid, once more."""
        store = FolderStore(tmp_path.as_uri(), {}, 1.0)
        (tmp_path / "k.1").symlink_to(tmp_path / "gone")
        with pytest.raises(StoreError, match="changes faster than it can be read") as caught:
            store.get("k")
        assert caught.value.is_passing

    def test_the_time_is_told_also_once_somebody_has_tidied_its_file_away(self, tmp_path: Path) -> None:
        store = FolderStore(tmp_path.as_uri(), {}, 1.0)
        store.put("k", "x", None)
        assert store.get("k")
        (tmp_path / "clock").unlink()
        os.utime(tmp_path / "k.1", (0, 0))
        entry = store.get("k")
        store.close()
        assert entry is not None
        assert entry.age > 1_000_000_000

    def test_a_build_that_died_while_it_wrote_leaves_nothing_that_is_read(self, tmp_path: Path) -> None:
        store = FolderStore(tmp_path.as_uri(), {}, 1.0)
        (tmp_path / "unfinished").mkdir()
        (tmp_path / "unfinished" / "x").write_text("half")
        assert store.put("a/k", "whole", None) == "1"
        assert list(store.listed("")) == ["a/k"]
        store.close()
