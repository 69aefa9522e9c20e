"""What several tests of runs have: a host that keeps each image once, and stores of shared records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from doubles.engines import Engine, Folder
from doubles.stores import Moto, Postgres, postgres_programs

from imghost.testing import FakeStore, write_entry


@pytest.fixture
def is_idempotent() -> bool:
    """Whether the host knows an upload that comes again; a module says otherwise by a fixture of this name."""
    return True


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_idempotent: bool) -> Iterator[FakeStore]:
    write_entry(tmp_path / "entry", "fake", "imghost.testing:FakeHost")
    monkeypatch.syspath_prepend(str(tmp_path / "entry"))
    with FakeStore(is_idempotent=is_idempotent) as opened:
        yield opened


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Engine]]:
    with ExitStack() as stack:
        found: dict[str, Engine] = {"s3": stack.enter_context(Moto())}
        if postgres_programs():
            found["postgresql"] = stack.enter_context(Postgres())
        yield found


@pytest.fixture(params=["file", "s3", "postgresql"])
def engine(
    request: pytest.FixtureRequest, servers: dict[str, Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Engine:
    if request.param == "file":
        return Folder(tmp_path / "stores")
    if request.param not in servers:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    for name, text in servers[request.param].environ.items():
        monkeypatch.setenv(name, text)
    return servers[request.param]
