"""What several tests of runs have: a host that keeps each image once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imghost.testing import FakeStore, write_entry


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStore]:
    write_entry(tmp_path / "entry", "fake", "imghost.testing:FakeHost")
    monkeypatch.syspath_prepend(str(tmp_path / "entry"))
    with FakeStore() as opened:
        yield opened
