"""What a record is worth at a moment is said once: commands and reports ask what the plan asks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from doubles.server import Reply, Request, Server
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
from imghost.testing import FakeStore
from imghost.testing.fake import KEY

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


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


class TestCheck:
    """Covered, missing, expired: each counted, and the status is red for what no page may show."""

    @pytest.fixture(autouse=True)
    def _here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize(
        ("lives", "counts"),
        [
            ([(9, None)], (1, 0, 0)),
            ([(6, 1), (350, 13)], (2, 0, 0)),  # what only waits for its renewal is covered
            ([(8, -1)], (0, 0, 1)),
            ([(9, None), (8, -1), None, None], (1, 2, 1)),
            ([None], (0, 1, 0)),
        ],
    )
    def test_with_a_host_elsewhere(self, tmp_path, store, capsys, lives, counts) -> None:
        paths = {seed: f"project/{hashlib.sha256(picture(seed)).hexdigest()}.png" for seed in range(len(lives))}
        known = [
            record(seed, f"{store.url}/{paths[seed]}", life[0] * DAY, life[1] and life[1] * DAY)
            for seed, life in enumerate(lives)
            if life
        ]
        locks.write(tmp_path / "imghost.lock", locks.Lock("fake", tuple(known)))
        write(tmp_path / "site", {"index.html": "".join(f'<img src="{seed}.png">' for seed in paths)})
        write(tmp_path / "site", {f"{seed}.png": picture(seed) for seed in paths})
        flags = ["--host", "fake", "--option", f"api_url={store.url}", "--retention", "1d"]
        status = main(["check", "site", "--json", *flags])
        found = json.loads(capsys.readouterr().out)
        assert (found["covered"], len(found["missing"]), len(found["expired"])) == counts
        assert status == (1 if counts[1] or counts[2] else 0)

    @pytest.mark.parametrize("gone", [0, 1, 2])
    def test_with_the_directory_host_by_its_files(self, tmp_path, capsys, gone: int) -> None:
        images = {f"{seed}.png": picture(seed) for seed in range(2)}
        site = write(tmp_path / "site", {"index.html": "".join(f'<img src="{path}">' for path in images), **images})
        assert main(["check", "site", "--host", "directory"]) == 1
        assert main(["rehost", "site", "--host", "directory"]) == 0
        for file in sorted((site / "_imghost").iterdir())[:gone]:
            file.unlink()
        assert main(["check", "site", "--host", "directory"]) == (1 if gone else 0)
        assert f"{2 - gone} image" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("age", "left", "strict"), [(0, 7, 0), (5, 2, 0), (6, 1, 1), (0, 365, 0), (355, 10, 1), (9, None, 0)]
)
def test_verify_calls_expiring_what_would_be_renewed(tmp_path, store, monkeypatch, age, left, strict) -> None:
    """A record of a week is not expiring from its first second on."""
    monkeypatch.chdir(tmp_path)
    path = f"project/{hashlib.sha256(picture(1)).hexdigest()}.png"
    store._keep(path, picture(1))
    known = record(1, f"{store.url}/{path}", age * DAY, left and left * DAY)
    locks.write(tmp_path / "imghost.lock", locks.Lock("fake", (known,)))
    flags = ["--host", "fake", "--option", f"api_url={store.url}"]
    assert main(["verify", *flags]) == 0
    assert main(["verify", "--strict", *flags]) == strict


@pytest.mark.parametrize(("limit", "renewed"), [(0, 0), (1, 1), (2, 2), (3, 3), (None, 3)])
def test_renewals_that_fall_due_together_refuse_no_build(
    tmp_path: Path, store: FakeStore, limit: int | None, renewed: int
) -> None:
    store.life, store.is_idempotent = 2 * DAY, False
    now = datetime.now(UTC).replace(microsecond=0)  # of the test: the host tells its own, too
    images = {f"{number}.png": picture(number) for number in range(3)}
    project = Project(tmp_path / "p", store).show(images)
    project.build(now - 28 * DAY)
    store.life = 90 * DAY
    done = project.show(images).build(now, max_uploads=limit)
    assert (store.stored, done.is_refused, done.notices) == (3 + renewed, False, ())
    assert project.page.count(f'src="{store.url}') == 3


@pytest.mark.parametrize("way", ["over it", "in its place", "by a copy"])
def test_an_image_of_the_same_size_and_time_is_another(tmp_path: Path, store: FakeStore, way: str) -> None:
    """A build that can be repeated clamps all times: nothing but the time of the change tells."""
    seeds = [seed for seed in range(9) if len(picture(seed)) == len(picture(1))][:2]
    project = Project(tmp_path / "p", store).show({"a.png": picture(seeds[0])})
    file, new = project.root / "site/a.png", tmp_path / "new.png"
    os.utime(file, ns=(10**18, 10**18))
    project.build(NOW)
    before = project.page
    new.write_bytes(picture(seeds[1]))
    os.utime(new, ns=(10**18, 10**18))
    if way == "over it":
        file.write_bytes(new.read_bytes())
        os.utime(file, ns=(10**18, 10**18))
    elif way == "in its place":
        new.replace(file)
    else:
        shutil.copy2(new, file)
    project.build(NOW)
    assert (store.stored, project.page == before) == (2, False)


class TestImports:
    """External images are known by what they are, whatever their URLs."""

    @pytest.fixture
    def away(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
        def route(request: Request) -> Reply:
            seed = int(request.path.rpartition("/")[2][0])
            return Reply.image(picture(seed), "image/png")

        with Server(route) as server:
            monkeypatch.setenv("IMGHOST_ALLOW_REMOTE", server.url.partition("//")[2])
            yield server

    @pytest.mark.parametrize("names", [("1a", "1b"), ("1a?x=1", "1a?x=2"), ("1a", "1b", "2c", "1d?y")])
    def test_several_urls_of_one_image_are_one_upload(self, tmp_path, store, away, names) -> None:
        store.is_idempotent = False
        project = Project(tmp_path / "p", store)
        shown = "".join(f'<img src="{away.url}/{name}">' for name in names)
        write(project.root / "site", {"index.html": shown})
        allowed = {"IMGHOST_ALLOW_REMOTE": away.url.partition("//")[2]}
        done = project.build(NOW, allowed, remote=[f"{away.url}/*"])
        assert (done.notices, store.stored) == ((), len({name[0] for name in names}))
        assert project.page.count(f'src="{store.url}') == len(names)

    @pytest.mark.parametrize(("form", "size"), [("PNG", (9, 7)), ("JPEG", (40, 30)), ("GIF", (5, 5))])
    @pytest.mark.parametrize("answer", [404, 503])
    def test_one_that_is_seen_late_is_recorded_as_what_it_is(self, tmp_path, monkeypatch, form, size, answer) -> None:
        """img.pro fetches it by itself, and may serve it a moment later."""
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        monkeypatch.chdir(tmp_path)
        media_type = f"image/{form.lower()}"
        origin = Server(lambda _: Reply.image(picture(1, size, form), media_type))
        with origin, ImgPro("images") as host:
            monkeypatch.setenv("IMGHOST_ALLOW_REMOTE", origin.url.partition("//")[2])
            page = f'<img src="{origin.url}/one.{form.lower()}">'
            flags = ["--host", "img.pro", "--remote", f"{origin.url}/*", "--retries", "1"]
            flags += ["--option", f"api_url={host.api_url}"]
            route = host.server.route
            host.server.route = lambda it: Reply(answer) if it.path.startswith("/t/") else route(it)
            write(tmp_path / "site", {"index.html": page})
            main(["rehost", "site", *flags])
            assert (tmp_path / "site/index.html").read_text() == page
            host.server.route = route
            assert main(["rehost", "site", "--strict", *flags]) == 0
            assert host.server.url in (tmp_path / "site/index.html").read_text()
            (known,) = locks.read(tmp_path / "imghost.lock").records
            assert (known.media_type, known.width, known.height) == (media_type, *size)
            assert len(host.copies) == 1
