"""Records are counted, shared, renewed and kept as what they are: nothing is sent twice, lost, or another project's."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin
from sites import picture, write
from trust.disks import SMALL, disk

from imghost import settings
from imghost.errors import LockError
from imghost.files import stamp
from imghost.hosts.registry import open_host
from imghost.models import Record
from imghost.net import Client
from imghost.records import confirmed, is_confirmed, unconfirmed
from imghost.records import lock as locks
from imghost.records.cache import Cache
from imghost.run import care
from imghost.run.job import Job
from imghost.run.publish import _Ledger
from imghost.run.rehost import Result, rehost
from imghost.site.images import Origins
from imghost.site.page_map import location
from imghost.testing import FakeStore, fake_host, write_entry
from imghost.testing.fake import KEY, FakeHost, Reply


def png_with_text(author: str) -> bytes:
    """Draw one picture, with an author's name that is stripped before the upload."""
    text = PngImagePlugin.PngInfo()
    if author:
        text.add_text("Author", author)
    file = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(file, "PNG", pnginfo=text)
    return file.getvalue()


NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


@pytest.fixture
def is_idempotent() -> bool:
    return False


class Project:
    """A project of one page, on a store; several share a cache where they are given the same one."""

    def __init__(self, root: Path, store: FakeStore, cache: Path | None = None, **options: Any) -> None:
        self.root = root
        self.store = store
        self.cache = cache or root / "cache"
        self.options = {"api_url": store.url, **options}
        self.lock = root / "imghost.lock"
        self.origins = Origins((root,), is_own_source=True)

    def show(self, images: Mapping[str, bytes]) -> Project:
        """Write the site anew, with a page that shows these images."""
        shown = "".join(f'<img src="{name}" alt="">' for name in images)
        shutil.rmtree(self.root / "site", ignore_errors=True)
        write(self.root / "site", {"index.html": f"<title>t</title>{shown}", **images})
        return self

    def build(self, now: datetime = NOW, environ: Mapping[str, str] | None = None, **more: Any) -> Result:
        return rehost(self.job(now, environ, **more))

    def job(self, now: datetime = NOW, environ: Mapping[str, str] | None = None, **more: Any) -> Job:
        raw = {"host": "fake", "options": self.options, "cache_dir": str(self.cache), "retries": 1, **more}
        given = settings.read(raw, self.root)
        environ = {"FAKE_HOST_KEY": KEY, **(environ or {})}
        return Job(self.root / "site", given, environ, self.origins, self.root / "map.json", now=lambda: now)

    def prune(self) -> None:
        """Delete what the site does not show."""
        job = self.job()
        with Client(5, environ={}) as client:
            host = open_host("fake", job.settings, job.environ, client, job.site)
            unused = care.find_unused(host, [job.site], timedelta(0), NOW, locks.read(self.lock).records).unused
            care.delete(host, unused, self.lock, self.cache)  # type: ignore[arg-type]

    @property
    def page(self) -> str:
        return (self.root / "site/index.html").read_text("utf-8")


def hosted(project: Project) -> int:
    """Count the references of the page that point at the store."""
    return project.page.count(f'src="{project.store.url}')


class TestEqualPayloads:
    @pytest.mark.parametrize("texts", [("", "made by A"), ("made by A", "made by B"), ("x", "y")])
    def test_files_whose_payloads_are_equal_share_one_upload_and_url(
        self, tmp_path: Path, store: FakeStore, texts: tuple[str, str]
    ) -> None:
        """One has a text that is stripped: what is at the host is the same."""
        one, two = (png_with_text(text) for text in texts)
        project = Project(tmp_path / "p", store).show({"one.png": one, "two.png": two})
        result = project.build()
        assert (result.notices, store.stored, hosted(project)) == ((), 1, 2)
        assert len({record.url for record in locks.read(project.lock).records}) == 1

    def test_one_that_comes_later_needs_no_upload_either(self, tmp_path: Path, store: FakeStore) -> None:
        project = Project(tmp_path / "p", store).show({"one.png": png_with_text("")})
        project.build()
        project.show({"one.png": png_with_text(""), "two.png": png_with_text("by B")})
        result = project.build()
        assert (result.notices, store.stored, hosted(project)) == ((), 1, 2)

    def test_a_url_that_is_given_for_other_bytes_is_still_refused(self, tmp_path: Path, store: FakeStore) -> None:
        project = Project(tmp_path / "p", store).show({"one.png": picture(1)})
        project.build()
        record = locks.read(project.lock).records[0]
        locks.write(project.lock, locks.Lock("fake", (replace(record, sha256="f" * 64),)))
        store.is_idempotent = True
        store._images[record.url.removeprefix(store.url + "/").replace("-0.", ".")] = picture(1)
        locks.write(
            project.lock,
            locks.Lock("fake", (replace(record, sha256="f" * 64, url=record.url.replace("-0.", ".")),)),
        )
        project.cache = tmp_path / "fresh"
        result = project.show({"one.png": picture(1)}).build()
        assert ["already belongs to another image" in notice.text for notice in result.notices] == [True]
        assert hosted(project) == 0


def _noise(seed: int) -> bytes:
    """Draw what WebP makes no smaller."""
    file = io.BytesIO()
    Image.frombytes("L", (4, 4), random.Random(seed).randbytes(16)).save(file, "PNG", optimize=True)
    return file.getvalue()


class TestRenewal:
    @pytest.mark.parametrize("other", [{"bytes": 7}, {"uploaded": DAY}, {"extra": {"path": "b.png"}}])
    def test_a_record_in_the_cache_that_must_be_renewed_itself_stops_no_renewal(
        self, tmp_path: Path, store: FakeStore, other: dict[str, Any]
    ) -> None:
        """Another machine's line in a merged lock differs a little from this machine's own."""
        store.life = 2 * DAY
        project = Project(tmp_path / "p", store).show({"one.png": picture(1)})
        now = datetime.now(UTC)
        project.build(now - 28 * DAY)
        lock = locks.read(project.lock)
        if "uploaded" in other:
            other = {"uploaded": lock.records[0].uploaded + other["uploaded"]}
        twin = replace(lock.records[0], **other)
        locks.write(project.lock, locks.Lock("fake", (twin,)))
        store.life = 90 * DAY
        project.show({"one.png": picture(1)}).build(now)
        assert store.stored == 2
        assert locks.read(project.lock).records[0].expires > now + 60 * DAY  # type: ignore[operator]

    @pytest.mark.parametrize("names", [("one.png",), ("one.png", "two.png")])
    def test_one_whose_variant_gained_nothing_is_renewed_too(
        self, tmp_path: Path, store: FakeStore, names: tuple[str, ...]
    ) -> None:
        """What the host has of these bytes spares no upload where that is just what runs out."""
        store.life = 2 * DAY
        images = {name: _noise(number) for number, name in enumerate(names)}
        project = Project(tmp_path / "p", store).show(images)
        now = datetime.now(UTC)
        project.build(now - 28 * DAY, format="webp")
        assert {record.media_type for record in locks.read(project.lock).records} == {"image/png"}
        store.life = 90 * DAY
        project.show(images).build(now, format="webp")
        assert store.stored == 2 * len(names)

    @staticmethod
    def _of_three_to_renew(folder: Path, store: FakeStore) -> tuple[Project, dict[str, bytes], datetime]:
        """Make a project whose three images are to be renewed; gives it, the images, and the time by then."""
        store.life = 2 * DAY
        images = {f"{number}.png": picture(number) for number in range(3)}
        project = Project(folder / "p", store).show(images)
        late = datetime.now(UTC)
        project.build(late - 28 * DAY)
        store.life = 90 * DAY
        return project, images, late

    def test_renewals_come_first_out_of_a_budget_and_the_rest_waits(self, tmp_path: Path, store: FakeStore) -> None:
        project, images, late = self._of_three_to_renew(tmp_path, store)
        new = {**images, "new.png": picture(9)}
        first = project.show(new).build(late, max_uploads=2)
        assert (store.stored, hosted(project)) == (5, 3)
        assert "room for renewals alone" in first.notices[0].text
        second = project.show(new).build(late, max_uploads=2)
        assert (store.stored, hosted(project), second.notices) == (7, 4, ())

    @pytest.mark.parametrize(("most", "line"), [(2, "1 renewal"), (1, "2 renewals")])
    def test_renewals_that_wait_are_no_warning(self, tmp_path: Path, store: FakeStore, most: int, line: str) -> None:
        """What they renew is shown as before, and nothing new stays local."""
        project, images, late = self._of_three_to_renew(tmp_path, store)
        said: list[str] = []
        result = rehost(replace(project.show(images).job(late, max_uploads=most), say=said.append))
        assert (result.notices, result.is_refused, hosted(project)) == ((), False, 3)
        assert f"{line} must wait for the next build: the budget has no room for more" in said

    @pytest.mark.parametrize(("image", "verify"), [(picture(1), True), (png_with_text("by A"), False)])
    def test_what_a_host_made_of_an_image_is_not_sent_in_its_place(
        self, tmp_path: Path, store: FakeStore, image: bytes, *, verify: bool
    ) -> None:
        """A copy of its copy would be a little worse each time, also where nobody has seen how the host serves it."""
        store.life = 2 * DAY
        serve = store._server._route
        remade = Reply(200, picture(2), {"Content-Type": "image/png"})
        store._server._route = lambda seen: _unserved(serve, seen, remade)
        project = Project(tmp_path / "p", store).show({"one.png": image})
        now = datetime.now(UTC)
        project.build(now - 28 * DAY, remove_local=True, verify=verify)
        (record,) = locks.read(project.lock).records
        assert (bool(record.variant), bool(record.served)) == (not verify, verify)
        store.life = 90 * DAY
        result = project.build(now, remove_local=True, verify=verify)
        assert ["put the file back into the site before" in notice.text for notice in result.notices] == [True]
        assert (store.stored, hosted(project)) == (1, 1)

    @pytest.mark.parametrize("image", [picture(1), picture(1, form="GIF"), png_with_text("by A")])
    @pytest.mark.parametrize("is_altered", [False, True])
    def test_what_has_no_local_copy_any_more_is_renewed_from_the_host(
        self, tmp_path: Path, store: FakeStore, image: bytes, *, is_altered: bool
    ) -> None:
        """`remove_local` on the command line leaves no source to read."""
        store.life = 2 * DAY
        project = Project(tmp_path / "p", store).show({"one.png": image})
        now = datetime.now(UTC)
        project.build(now - 28 * DAY, remove_local=True)
        assert not (project.root / "site/one.png").exists()
        if is_altered:
            store._images = dict.fromkeys(store._images, picture(2))
        store.life = 90 * DAY
        result = project.build(now, remove_local=True)
        assert (store.stored, hosted(project)) == ((1, 1) if is_altered else (2, 1))
        assert ["put the file back into the site before" in notice.text for notice in result.notices] == [
            True
        ] * is_altered


class TestRaisedRetention:
    """What was stored for less than is asked for now is told, and stored anew where the budget allows."""

    WEEK = {"retention": "7d"}  # noqa: RUF012

    def stored_for_a_week(self, root: Path, store: FakeStore) -> Project:
        store.life = 7 * DAY
        images = {f"{number}.png": picture(number) for number in range(3)}
        project = Project(root, store).show(images)
        project.build(datetime.now(UTC), **self.WEEK)
        store.life = None
        return project.show(images)

    @pytest.mark.parametrize("asked", ["permanent", "365d", "30d"])
    def test_all_are_stored_anew(self, tmp_path: Path, store: FakeStore, asked: str) -> None:
        project = self.stored_for_a_week(tmp_path / "p", store)
        store.life = None if asked == "permanent" else timedelta(days=int(asked[:-1]))
        said = project.build(datetime.now(UTC), retention=asked)
        assert "3 images were stored for less than `retention` asks for now, and are stored anew" in said.remarks
        assert (store.stored, hosted(project), said.notices) == (6, 3, ())
        again = project.build(datetime.now(UTC), retention=asked)
        assert (store.stored, again.report.requests, again.remarks) == (6, 0, ())

    @pytest.mark.parametrize(("limit", "stored", "left"), [(2, 5, "all of them"), (0, 3, "them")])
    def test_the_budget_decides_how_many(
        self, tmp_path: Path, store: FakeStore, limit: int, stored: int, left: str
    ) -> None:
        project = self.stored_for_a_week(tmp_path / "p", store)
        said = project.build(datetime.now(UTC), max_uploads=limit)
        assert (store.stored, hosted(project), said.is_refused) == (stored, 3, False)
        assert f"no room to store {left} anew" in said.remarks[0]

    def test_new_images_come_first(self, tmp_path: Path, store: FakeStore) -> None:
        project = self.stored_for_a_week(tmp_path / "p", store)
        write(project.root / "site", {"new.html": '<img src="new.png">', "new.png": picture(9)})
        said = project.build(datetime.now(UTC), max_uploads=1)
        assert (store.stored, said.report.counts.uploaded, said.is_refused) == (4, 1, False)

    @pytest.mark.parametrize("asked", ["permanent", "30d"])
    def test_a_host_that_gives_no_more_is_not_asked_for_it_again(
        self, tmp_path: Path, store: FakeStore, asked: str
    ) -> None:
        project = self.stored_for_a_week(tmp_path / "p", store)
        store.life = 8 * DAY
        project.build(datetime.now(UTC), retention=asked)
        assert store.stored == 6
        for cache in ("cache", "fresh"):
            project.cache = tmp_path / cache
            said = project.build(datetime.now(UTC), retention=asked)
            assert (store.stored, said.report.requests, said.remarks) == (6, 0, ())

    @pytest.mark.parametrize("asked", ["7d", "6d", "1d"])
    def test_what_lasts_as_long_as_asked_is_left(self, tmp_path: Path, store: FakeStore, asked: str) -> None:
        project = self.stored_for_a_week(tmp_path / "p", store)
        said = project.build(datetime.now(UTC), retention=asked)
        assert (store.stored, said.report.requests, said.remarks) == (3, 0, ())

    def test_a_build_that_may_not_upload_tells_so(self, tmp_path: Path, store: FakeStore) -> None:
        project = self.stored_for_a_week(tmp_path / "p", store)
        said = project.build(datetime.now(UTC), {"GITHUB_EVENT_NAME": "pull_request"})
        assert "a build that may upload stores them anew" in said.remarks[0]
        assert (store.stored, hosted(project), said.notices) == (3, 3, ())


class TestStamps:
    def test_a_copy_with_the_same_size_and_time_is_seen_as_another(self, tmp_path: Path) -> None:
        """As a build that can be repeated sets all times: the old picture must not stay."""
        file = tmp_path / "a.png"
        file.write_bytes(picture(1))
        os.utime(file, ns=(10**18, 10**18))
        before = stamp(file)
        file.write_bytes(bytes(len(picture(1))))
        os.utime(file, ns=(10**18, 10**18))
        assert stamp(file) != before

    def test_one_site_has_one_map_however_its_path_is_spelled(self, tmp_path: Path) -> None:
        (tmp_path / "site").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "site")
        ways = [tmp_path / "site", tmp_path / "link", tmp_path / "site" / ".." / "site"]
        assert len({location(tmp_path, site) for site in ways}) == 1


class TestSharedCache:
    @pytest.mark.parametrize("apart", ["projects", "namespaces", "accounts"])
    def test_what_one_project_stored_is_not_taken_by_another(
        self, tmp_path: Path, store: FakeStore, apart: str
    ) -> None:
        cache = tmp_path / "cache"
        Project(tmp_path / "a", store, cache).show({"one.png": picture(1)}).build()
        options = {"project": "other"} if apart == "namespaces" else {}
        root = tmp_path / ("b" if apart == "projects" else "a")
        second = Project(root, store, cache, **options).show({"one.png": picture(1)})
        second.lock.unlink(missing_ok=True)
        second.build(environ={"FAKE_HOST_KEY": KEY})
        expected = 1 if apart == "accounts" else 2
        assert (store.stored, hosted(second)) == (expected, 1)


class TestBudgetAfterReuse:
    @pytest.mark.parametrize("more", [{"max_uploads": 1}, {"max_uploads": 2}, {}])
    def test_a_lost_lock_costs_no_budget_and_no_quota(
        self, tmp_path: Path, store: FakeStore, more: dict[str, Any]
    ) -> None:
        images = {f"{number}.png": picture(number) for number in range(5)}
        project = Project(tmp_path / "p", store).show(images)
        project.build()
        project.lock.unlink()
        store.quota = 6
        said: list[str] = []
        result = rehost(replace(project.show({**images, "new.png": picture(9)}).job(**more), say=said.append))
        assert (result.notices, store.stored, hosted(project)) == ((), 6, 6)
        assert "5 images found at the host again, so that nothing is sent" in said
        assert len(list(result.report.uploads)) == 1


class PricedHost(FakeHost):
    """A store that takes a cent for each image."""

    name = "priced"

    def __init__(self, options: Any, setup: Any) -> None:
        super().__init__(options, setup)
        self.limits = replace(self.limits, price=Decimal("0.01"))


@pytest.mark.parametrize(("max_cost", "fits"), [("0.01", True), ("0.05", True), ("0", False)])
def test_what_the_local_store_knows_costs_nothing(
    tmp_path: Path, store: FakeStore, max_cost: str, *, fits: bool
) -> None:
    write_entry(tmp_path / "entry", "priced", f"{__name__}:PricedHost")
    images = {f"{number}.png": picture(number) for number in range(5)}
    project = Project(tmp_path / "p", store).show(images)
    assert project.build(host="priced", max_cost="0.05").notices == ()
    project.lock.unlink()
    result = project.show({**images, "new.png": picture(9)}).build(host="priced", max_cost=max_cost)
    assert (result.is_refused, store.stored, hosted(project)) == ((False, 6, 6) if fits else (True, 5, 5))
    assert len(locks.read(project.lock).records) == (6 if fits else 5)


@pytest.mark.parametrize("trouble", ["quota", "max_uploads", "the host's refusal"])
def test_what_is_known_is_shown_also_where_nothing_can_be_uploaded(
    tmp_path: Path, store: FakeStore, trouble: str
) -> None:
    images = {f"{number}.png": picture(number) for number in range(5)}
    project = Project(tmp_path / "p", store).show(images)
    project.build()
    project.lock.unlink()
    store.quota = 5 if trouble == "quota" else None
    if trouble == "the host's refusal":
        serve = store._server._route
        store._server._route = lambda seen: Reply(403) if seen.target == "/usage" else serve(seen)
    limit = {"max_uploads": 0} if trouble == "max_uploads" else {}
    result = project.show({**images, "new.png": picture(9)}).build(**limit)
    assert (store.stored, hosted(project), len(result.notices)) == (5, 5, 1)
    assert 'src="new.png"' in project.page
    assert len(locks.read(project.lock).records) == 5


class TestUnconfirmed:
    @pytest.mark.parametrize("answer", [Reply(404), Reply(503), Reply(200, b"<html>", {"Content-Type": "text/html"})])
    def test_what_cannot_be_confirmed_is_in_the_lock_and_not_uploaded_again(
        self, tmp_path: Path, store: FakeStore, answer: Reply
    ) -> None:
        """In CI there is no local store: the lock alone must know."""
        project = Project(tmp_path / "p", store).show({"one.png": picture(1)})
        serve = store._server._route
        store._server._route = lambda seen: _unserved(serve, seen, answer)
        project.build()
        lock = locks.read(project.lock)
        assert (lock.records, [is_confirmed(record) for record in lock.unconfirmed]) == ((), [False])
        assert hosted(project) == 0
        store._server._route = serve
        project.cache = tmp_path / "fresh"
        assert project.show({"one.png": picture(1)}).build().notices == ()
        lock = locks.read(project.lock)
        assert (store.stored, hosted(project), len(lock.records), lock.unconfirmed) == (1, 1, 1, ())

    @pytest.mark.parametrize(("answer", "stored"), [(Reply(404), 2), (Reply(503), 1)])
    def test_what_is_gone_is_sent_again_and_what_cannot_be_asked_waits(
        self, tmp_path: Path, store: FakeStore, answer: Reply, stored: int
    ) -> None:
        project = Project(tmp_path / "p", store).show({"one.png": picture(1)})
        serve = store._server._route
        store._server._route = lambda seen: _unserved(serve, seen, answer)
        project.build()
        gone = next(iter(store.images))
        store._server._route = lambda seen: answer if gone in seen.target and seen.method == "GET" else serve(seen)
        result = project.build()
        assert (store.stored, hosted(project), len(result.notices)) == (stored, stored - 1, 2 - stored)

    def test_a_record_that_counts_outlives_an_unconfirmed_renewal(self) -> None:
        old = locks.parse_record(LINE)
        new = unconfirmed(replace(old, url=old.url + "x", uploaded=old.uploaded + DAY))
        lock = locks.merged(locks.Lock("fake"), (new, old), "fake")
        assert (lock.records, lock.unconfirmed) == ((old,), (new,))
        again = locks.parse(locks.render(lock), "l")
        assert again == lock
        done = locks.merged(again, (confirmed(replace(new, expires=None)),), "fake")
        assert (len(done.records), done.unconfirmed) == (1, ())


LINE = json.dumps(
    {
        "sha256": "a" * 64, "host": "fake", "url": "https://fake.example/a", "id": "a", "variant": "", "bytes": 1,
        "media_type": "image/png", "width": 1, "height": 1, "uploaded": "2026-11-01T00:00:00Z",
        "expires": "2027-11-01T00:00:00Z",
    }
)  # fmt: skip


def _unserved(serve: Any, seen: Any, answer: Reply) -> Any:
    return answer if seen.method == "GET" and seen.target.endswith(".png") else serve(seen)


def signalled(project: Project, at: int, name: str, environ: dict[str, str], *, concurrency: int) -> str:
    """Write a program that builds, and sends itself a signal as an upload begins, counted from 1."""
    raw = {"host": "fake", "options": project.options, "concurrency": concurrency, "cache_dir": str(project.cache)}
    return (
        "import os, signal, sys\n"
        f"sys.path.insert(0, {str(project.root.parent / 'entry')!r})\n"
        "from pathlib import Path\n"
        "from imghost import Job, rehost, settings\n"
        "from imghost.testing import fake\n"
        "upload, count = fake.FakeHost.upload, [0]\n"
        "def counted(self, payload):\n"
        "    count[0] += 1\n"
        f"    if count[0] == {at}: os.kill(os.getpid(), signal.{name})\n"
        "    return upload(self, payload)\n"
        "fake.FakeHost.upload = counted\n"
        f"root = Path({str(project.root)!r})\n"
        f"job = Job(root / 'site', settings.read({raw!r}, root), { ({'FAKE_HOST_KEY': KEY} | environ)!r}, say=print)\n"
        "rehost(job)\n"
    )


def test_the_lock_names_the_host_that_was_last_published_with(tmp_path: Path, store: FakeStore) -> None:
    """Also where nothing was sent: a build without a credential goes by that name."""
    project = Project(tmp_path / "p", store).show({"one.png": picture(1)})
    project.build()
    text = project.lock.read_text("utf-8")
    project.lock.write_text(text.replace('"host": "fake"', '"host": "img.pro"', 1), "utf-8")
    project.show({"one.png": picture(1)}).build()
    assert project.lock.read_text("utf-8") == text


def test_a_build_beside_the_main_thread_uploads(tmp_path: Path, store: FakeStore) -> None:
    """Only the main thread may be told of signals: another that asked would end in an error."""
    project = Project(tmp_path / "p", store).show({"one.png": picture(1)})
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(project.build()))
    thread.start()
    thread.join(30)
    assert [result.notices for result in results] == [()]
    assert (store.stored, hosted(project)) == (1, 1)


class TestKills:
    def test_each_record_is_in_the_lock_before_the_next_upload_begins(self, tmp_path: Path, store: FakeStore) -> None:
        """The tenth upload kills the build, in a process of its own, without a local store afterwards."""
        images = {f"{number}.png": picture(number) for number in range(12)}
        project = Project(tmp_path / "p", store).show(images)
        program = signalled(project, 10, "SIGKILL", {"CI": "1"}, concurrency=1)
        done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
        assert done.returncode == -9, done.stderr
        lock = locks.read(project.lock)
        assert (store.stored, len(lock.records) + len(lock.unconfirmed)) == (9, 9)
        project.cache = tmp_path / "fresh"
        project.show(images).build()
        assert (store.stored, hosted(project)) == (12, 12)

    def test_a_request_to_end_ends_the_uploads_in_order(self, tmp_path: Path, store: FakeStore) -> None:
        """As `mkdocs build` and `sphinx-build` know none of their own."""
        images = {f"{number}.png": picture(number) for number in range(12)}
        project = Project(tmp_path / "p", store).show(images)
        program = signalled(project, 5, "SIGTERM", {}, concurrency=2)
        done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
        assert done.returncode == -15, done.stderr
        lock = locks.read(project.lock)
        assert 4 <= store.stored == len(lock.records) + len(lock.unconfirmed) < 12
        assert project.lock.read_text("utf-8") == locks.render(lock), "sorted, as at the end of every run"

    def test_a_line_that_is_interrupted_while_it_is_logged_loses_no_record(
        self, tmp_path: Path, store: FakeStore
    ) -> None:
        project = Project(tmp_path / "p", store).show({f"{number}.png": picture(number) for number in range(4)})
        given = settings.read(
            {"host": "fake", "options": project.options, "cache_dir": str(project.cache)}, project.root
        )

        def interrupted(_: str) -> None:
            raise KeyboardInterrupt

        job = Job(project.root / "site", given, {"FAKE_HOST_KEY": KEY}, detail=interrupted)
        with pytest.raises(KeyboardInterrupt):
            rehost(job)
        lock = locks.read(project.lock)
        assert len(lock.records) + len(lock.unconfirmed) == store.stored > 0

    def test_where_the_lock_cannot_be_written_each_receipt_is_told_at_once(
        self, tmp_path: Path, store: FakeStore
    ) -> None:
        project = Project(tmp_path / "p", store).show({"one.png": picture(1)})
        project.lock.symlink_to("/proc/nowhere/imghost.lock")
        given = settings.read(
            {"host": "fake", "options": project.options, "cache_dir": str(project.cache)}, project.root
        )
        said: list[str] = []
        result = rehost(Job(project.root / "site", given, {"FAKE_HOST_KEY": KEY}, say=said.append))
        assert any(line.startswith("receipt: ") for line in said)
        assert {notice.code for notice in result.notices} == {"lock"}

    @pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGKILL"])
    def test_a_build_that_is_ended_while_the_disk_is_full_has_told_what_it_earned(
        self, tmp_path: Path, store: FakeStore, name: str
    ) -> None:
        """The receipts in the log are lines of the lock: with them nothing is sent again."""
        images = {f"{number}.png": picture(number) for number in range(12)}
        project = Project(tmp_path / "p", store).show(images)
        folder = tmp_path / "locks"
        folder.mkdir()
        project.lock.symlink_to(folder / "imghost.lock")
        with disk(folder, SMALL, "64k") as small:
            small.fill()
            program = signalled(project, 5, name, {"CI": "1"}, concurrency=1)
            command = ["env", "--default-signal=INT", sys.executable, "-u", "-c", program]
            done = subprocess.run(
                [*small.inside, str(project.root), *command], check=False, capture_output=True, text=True
            )
            assert [path.name for path in small.seen(folder).iterdir()] == ["filler"]
        assert done.returncode != 0
        lines = [line.partition("receipt: ")[2] for line in done.stdout.splitlines() if "receipt: " in line]
        assert len(lines) == store.stored >= 4
        project.lock.unlink()
        project.lock.write_text("\n".join(['{"imghost_lock": 1, "host": "fake"}', *lines, ""]), "utf-8")
        project.cache = tmp_path / "fresh"
        assert project.show(images).build().notices == ()
        assert (store.stored, hosted(project)) == (12, 12)


class TestLockFile:
    @pytest.mark.parametrize("content", [None, b"", b"\n"])
    def test_a_write_that_fails_leaves_the_file_that_was_there_or_none(
        self, tmp_path: Path, content: bytes | None
    ) -> None:
        path = tmp_path / "imghost.lock"
        if content is not None:
            path.write_bytes(content)
        record = replace(locks.parse_record(LINE), url="no URL")
        for write_to in (
            lambda: locks.add(path, [record], "fake"),
            lambda: locks.append(path, [locks.render_record(record)], "fake"),
        ):
            with pytest.raises(LockError):
                write_to()
            assert (path.read_bytes() if path.exists() else None) == content
        assert locks.drop(path, {"https://fake.example/a"}) == 0
        assert (path.read_bytes() if path.exists() else None) == content

    @pytest.mark.parametrize("odd", [(), (0,), (5, 11)])
    def test_workers_that_earn_at_once_write_together_and_none_keeps_another_out(
        self, tmp_path: Path, store: FakeStore, odd: tuple[int, ...]
    ) -> None:
        """One that no lock can have is its own worker's failure; each other's line is there once it is through."""
        with Client(environ={}) as client, Cache.load(tmp_path / "cache") as cache:
            chosen = settings.read({"host": "fake"}, tmp_path, "test")
            ledger = _Ledger(fake_host(store, client, tmp_path), Job(tmp_path, chosen, {}), cache)
            path, record = chosen.lock, locks.parse_record(LINE)
            records = [
                replace(record, sha256=f"{n:064x}", url=f"no URL {n}" if n in odd else f"https://fake.example/{n}")
                for n in range(16)
            ]
            through: list[bool] = []

            def earn(one: Record) -> None:
                with suppress(LockError):
                    ledger.earn(one)
                    through.append(one.sha256 in path.read_text())

            workers = [threading.Thread(target=earn, args=(one,)) for one in records]
            with locks._held(path):
                for worker in workers:
                    worker.start()
                time.sleep(0.05)
                assert path.read_text() == ""
            for worker in workers:
                worker.join(30)
        assert through == [True] * (16 - len(odd))
        kept = {int(one.sha256, 16) for one in locks.read(path).records}
        assert kept == set(range(16)) - set(odd)

    def test_one_that_waits_for_a_file_that_went_again_makes_its_own(self, tmp_path: Path) -> None:
        path, record = tmp_path / "imghost.lock", locks.parse_record(LINE)
        waiting = threading.Thread(target=lambda: locks.append(path, [locks.render_record(record)], "fake"))
        with suppress(KeyError), locks._held(path):
            waiting.start()
            time.sleep(0.05)
            raise KeyError
        waiting.join()
        assert locks.read(path).records == (record,)

    def test_two_projects_with_one_lock_lose_no_line(self, tmp_path: Path) -> None:
        """Each process adds what it earned to the file as it is then."""
        path = tmp_path / "imghost.lock"
        program = (
            "import sys; from pathlib import Path; from dataclasses import replace\n"
            "from imghost.records import lock as locks\n"
            f"record = locks.parse_record({LINE!r})\n"
            "for number in range(20):\n"
            "    one = replace(record, sha256=f'{sys.argv[1]}{number:063x}')\n"
            f"    (locks.append({str(path)!r} and Path({str(path)!r}), [locks.render_record(one)], 'fake') if number % 2 else "
            f"locks.add(Path({str(path)!r}), [one], 'fake'))\n"
        )
        runs = [subprocess.Popen([sys.executable, "-c", program, name], env={**os.environ}) for name in "ab"]
        assert [run.wait() for run in runs] == [0, 0]
        assert len(locks.read(path).records) == 40

    def test_a_line_is_appended_to_a_file_without_an_end_of_line(self, tmp_path: Path) -> None:
        path = tmp_path / "imghost.lock"
        record = locks.parse_record(LINE)
        locks.append(path, [locks.render_record(record)], "fake")
        path.write_bytes(path.read_bytes().rstrip(b"\n"))
        locks.append(path, [locks.render_record(replace(record, sha256="b" * 64))], "fake")
        assert len(locks.read(path).records) == 2

    def test_the_store_forgets_what_is_deleted(self, tmp_path: Path) -> None:
        cache = Cache.load(tmp_path)
        record = locks.parse_record(LINE)
        cache.keep(record, "mine")
        cache.keep(replace(record, url="https://fake.example/b"), "theirs")
        cache.forget({record.url})
        cache.close()
        again = Cache.load(tmp_path)
        assert (again.records("mine"), len(again.records("theirs"))) == ((), 1)


class TestPruned:
    """What `prune` has deleted no record brings back, though a CDN still serves it."""

    @pytest.mark.parametrize("is_lock_lost", [False, True])
    def test_a_deleted_image_that_comes_back_is_sent_again(
        self, tmp_path: Path, store: FakeStore, *, is_lock_lost: bool
    ) -> None:
        store.lingers = True
        one, both = {"one.png": picture(1)}, {"one.png": picture(1), "two.png": picture(2)}
        project = Project(tmp_path / "p", store).show(both)
        project.build()
        project.show(one).build()
        if is_lock_lost:
            project.lock.unlink()
        project.prune()
        assert store.stored == 1
        project.show(both).build()
        assert (store.stored, hosted(project)) == (2, 2)

    def test_so_are_two_that_shared_its_url(self, tmp_path: Path, store: FakeStore) -> None:
        store.lingers = True
        images = {"a.png": picture(1), "b.png": png_with_text("by B"), "c.png": png_with_text("by C")}
        project = Project(tmp_path / "p", store).show(images)
        project.build()
        project.show({"a.png": picture(1)}).build()
        project.prune()
        assert store.stored == 1
        project.show(images).build()
        urls = re.findall(r'src="([^"]+)"', project.page)
        assert {url.removeprefix(f"{store.url}/") for url in urls} == set(store.images)


class TestAlikeFiles:
    """Of files with the same bytes the one that is there is read, where `remove_local` has taken another."""

    @pytest.fixture
    def project(self, tmp_path: Path, store: FakeStore) -> Project:
        """Give a project that lost its records, and whose script names the later one of two files."""
        project = Project(tmp_path / "p", store).show({"one.png": picture(1), "two.png": picture(1)})
        write(project.root / "site", {"app.js": "show('two.png')"})
        project.build(remove_local=True)
        assert sorted(file.name for file in (project.root / "site").glob("*.png")) == ["two.png"]
        project.lock.unlink()
        shutil.rmtree(project.cache)
        return project

    def test_it_is_uploaded_from_there(self, project: Project, store: FakeStore) -> None:
        result = project.build(remove_local=True)
        assert (result.notices, hosted(project), store.stored) == ((), 2, 2)

    def test_it_is_found_at_the_host_from_there(self, project: Project, store: FakeStore) -> None:
        found = care.adopt(project.job())
        assert (len(found.records), found.failures, store.stored) == (1, (), 1)
