"""What a record is worth at a moment is said once: commands and reports ask what the plan asks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sites import picture, write
from test_kept_records import Project

from imghost import settings
from imghost.cli.main import main
from imghost.hosts.registry import open_host
from imghost.models import Record
from imghost.net import Client
from imghost.records import lock as locks
from imghost.records import unconfirmed
from imghost.run import care
from imghost.run.audit import audit, hosted_by
from imghost.run.job import Job
from imghost.run.rewrite import _counting
from imghost.settings import Settings
from imghost.site.images import Origins
from imghost.testing import FakeStore, write_entry
from imghost.testing.fake import KEY

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStore]:
    write_entry(tmp_path / "entry", "fake", "imghost.testing:FakeHost")
    monkeypatch.syspath_prepend(str(tmp_path / "entry"))
    with FakeStore() as opened:
        yield opened


def record(seed: int, url: str, age: timedelta = 9 * DAY, left: timedelta | None = None, **more: object) -> Record:
    raw = picture(seed)
    digest = hashlib.sha256(raw).hexdigest()
    made = Record(digest, "fake", url, "i", "", len(raw), "image/png", 40, 30, NOW - age, left and NOW + left)
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("age", "left", "states"),
    [
        (0, 7, (0, 0)),  # a quarter of its own life is what counts, not the 14 days of `renew_before`
        (5, 2, (0, 0)),
        (6, 1, (1, 0)),
        (360, 13, (1, 0)),
        (340, 25, (0, 0)),
        (8, -1, (0, 1)),
    ],
)
def test_status_calls_expiring_what_would_be_renewed(tmp_path, monkeypatch, capsys, age, left, states) -> None:
    monkeypatch.chdir(tmp_path)
    known = record(1, "https://i.test/a.png", age * DAY, left * DAY)
    locks.write(tmp_path / "imghost.lock", locks.Lock("fake", (known,)))
    assert main(["status", "--json", "--host", "directory"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["hosts"]
    assert (row["expiring"], row["expired"]) == states


@pytest.mark.parametrize("left", [-1, -100, None])
def test_adopt_asks_for_what_has_only_an_expired_record(tmp_path: Path, store: FakeStore, left: int | None) -> None:
    """Another machine may have renewed it, and lost its lock."""
    project = Project(tmp_path / "p", store, project="q").show({"one.png": picture(1)})
    project.build(NOW)
    (made,) = locks.read(project.lock).records
    old = replace(made, url=made.url.replace(".png", "-7.png"), uploaded=NOW - 200 * DAY)
    kept = (replace(old, expires=NOW + left * DAY),) if left else ()
    locks.write(project.lock, locks.Lock("fake", kept))
    project.show({"one.png": picture(1)})
    given = settings.read(
        {"host": "fake", "options": project.options, "cache_dir": str(tmp_path / "new")}, project.root
    )
    found = care.adopt(Job(project.root / "site", given, {"FAKE_HOST_KEY": KEY}, Origins(is_own_source=True)))
    assert ([it.url for it in found.records], found.missing, found.known) == ([made.url], (), 0)


@pytest.mark.parametrize("seeds", [(1,), (1, 2), (2, 3, 4)])
def test_prune_leaves_what_nobody_has_seen_yet_and_a_kept_site_has_the_file_of(
    tmp_path: Path, store: FakeStore, monkeypatch: pytest.MonkeyPatch, seeds: tuple[int, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAKE_HOST_KEY", KEY)
    paths = {seed: f"p/{hashlib.sha256(picture(seed)).hexdigest()}.png" for seed in (*seeds, 9)}
    for path in paths.values():
        store._keep(path, picture(1))
    waiting = [unconfirmed(record(seed, f"{store.url}/{paths[seed]}")) for seed in seeds]
    locks.write(tmp_path / "imghost.lock", locks.Lock("fake", unconfirmed=tuple(waiting)))
    write(tmp_path / "site", {"index.html": "<p>t", **{f"{seed}.png": picture(seed) for seed in seeds}})
    write(tmp_path / "site", {"other.html": f'<img src="{store.url}/p/{"0" * 64}.png">'})
    store._keep(f"p/{'0' * 64}.png", picture(1))
    flags = ["--host", "fake", "--option", f"api_url={store.url}", "--option", "project=p", "--grace", "0s", "--yes"]
    assert main(["prune", "--keep", "site", *flags]) == 0
    assert set(store.images) == {*(paths[seed] for seed in seeds), f"p/{'0' * 64}.png"}


@pytest.mark.parametrize("variant", ["width480", "strip+width960", "edge2000+width480+webp80"])
def test_markdown_shows_the_whole_image_and_no_smaller_size(tmp_path: Path, store: FakeStore, variant: str) -> None:
    whole = record(1, f"{store.url}/project/{'a' * 64}.png")
    small = replace(whole, variant=variant, url=f"{store.url}/project/{'b' * 64}.png", width=20, uploaded=NOW)
    with Client(5, environ={}) as client:
        given = settings.read({"host": "fake", "options": {"api_url": store.url}}, tmp_path)
        host = open_host("fake", given, {}, client, tmp_path, is_asking=True)
        assert _counting((whole, small), host, NOW) == {whole.sha256: whole}
        for other in (replace(whole, host="other"), replace(whole, url="https://x.test/a.png")):
            assert _counting((other,), host, NOW) == {}
        assert _counting((replace(whole, expires=NOW),), host, NOW) == {}


@pytest.mark.parametrize("ends", [-3, 1, 5])
def test_the_audit_holds_no_page_to_the_record_of_what_was_there_before(tmp_path: Path, ends: int) -> None:
    """The image at that path changed: the old one's record ends, and pages show the new one."""
    old = record(1, "https://i.test/old.png", 99 * DAY, ends * DAY, extra={"path": "a.png"})
    new = record(2, "https://i.test/new.png", 1 * DAY, 300 * DAY, extra={"path": "a.png"})
    hosted = hosted_by((new, old), Settings(), NOW)
    write(tmp_path, {"index.html": f'<title>t</title><img alt="what it is" src="{new.url}">'})
    assert [it.kind for it in audit(tmp_path, now=NOW, hosted=hosted).findings] == []
    write(tmp_path, {"index.html": f'<title>t</title><img alt="what it is" src="{old.url}">'})
    assert [it.kind for it in audit(tmp_path, now=NOW, hosted=hosted).findings] == ["expiring"]
