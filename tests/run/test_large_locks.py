"""A build beside a lock of many other images: it reads what its site needs, and trusts no line that it did not see."""

from __future__ import annotations

from pathlib import Path

import pytest
from run.test_kept_records import NOW, Project, hosted, png_with_text

from imghost.errors import LockError
from imghost.models import Record
from imghost.records import lock as locks
from imghost.records.cache import Cache
from imghost.testing import FakeStore

IMAGES = {"a.png": png_with_text(""), "b.png": png_with_text("by b")}


@pytest.fixture
def is_idempotent() -> bool:
    return False


def with_many(project: Project, count: int = 11_000) -> None:
    """Put the records of many images, which left the site long ago, beside those that the lock has: 4.5 MB."""
    header, *lines = project.lock.read_text().splitlines()
    known = locks.parse_record(lines[0])
    for number in range(count):
        digest, url = f"{number * 2**60 // count:015x}{'5' * 49}", f"{project.store.url}/i/{number}.png"
        lines.append(lines[0].replace(known.sha256, digest, 1).replace(known.url, url))
    project.lock.write_text("\n".join([header, *sorted(lines), ""]))


def records_of(project: Project) -> tuple[Record, ...]:
    return locks.read(project.lock).records


def test_a_warm_build_asks_nobody_and_writes_nothing(tmp_path: Path, store: FakeStore) -> None:
    project = Project(tmp_path / "p", store).show(IMAGES)
    project.build()
    with_many(project)
    for _ in range(2):
        project.show(IMAGES).build()
    before, asked = project.lock.stat(), len(store.log)
    result = project.show(IMAGES).build()
    assert (result.notices, hosted(project), len(store.log)) == ((), 2, asked)
    assert project.lock.stat() == before


def test_a_new_image_is_one_line_more(tmp_path: Path, store: FakeStore) -> None:
    """What stands in the lock already is copied; a payload that is the one of an image there is not sent."""
    project = Project(tmp_path / "p", store).show(IMAGES)
    project.build()
    with_many(project)
    stored, lines = store.stored, project.lock.read_text().splitlines()
    result = project.show({**IMAGES, "d.png": png_with_text("by d")}).build()
    assert (result.notices, store.stored, hosted(project)) == ((), stored, 3)
    after = project.lock.read_text().splitlines()
    assert [line for line in after if line not in set(lines)] == [
        locks.render_record(record) for record in records_of(project) if record.path == "d.png"
    ]
    assert len(after) == len(lines) + 1
    with Cache.load(project.cache) as cache, locks.opened(project.lock, NOW, cache) as lock:
        assert len(lock.runs) == 1


@pytest.mark.parametrize("at", [3, -2])
def test_a_broken_line_is_an_error_before_any_request(tmp_path: Path, store: FakeStore, at: int) -> None:
    project = Project(tmp_path / "p", store).show(IMAGES)
    project.build()
    with_many(project)
    project.show(IMAGES).build()
    lines = project.lock.read_text().split("\n")
    lines[at] = lines[at][:-1] + ","
    project.lock.write_text("\n".join(lines))
    asked = len(store.log)
    with pytest.raises(LockError, match=rf"imghost.lock, line {at % len(lines) + 1}: it is not JSON"):
        project.show({**IMAGES, "d.png": png_with_text("by d")}).build()
    assert len(store.log) == asked
