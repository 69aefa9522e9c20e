"""Disks that are really full, or really read-only: no page breaks, no image is lost or stored twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from doubles.imgpro import ImgPro
from sites import picture, tree, write
from trust.disks import READ_ONLY, SMALL, disk
from trust.place import Project, assert_done, built_site, crawl, duplicates
from trust.test_statuses import Ground

PAGE = 4096
"""Bytes that a disk in memory gives a file at a time."""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with ImgPro("images") as host:
        yield Project(tmp_path, host)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("pages_left", [0, 12, 30])
def test_a_disk_that_fills_up_at_any_step_loses_nothing(project: Project, pages_left: int) -> None:
    """Site, records and what is made for sending are all on the disk that is full sooner or later."""
    root = project.root / "small"
    root.mkdir()
    project = Project(root, project.host)
    with disk(root, SMALL, "8m") as small:
        seen = small.viewed(project)
        before = tree(built_site(seen.site))
        filler = small.fill(left=pages_left * PAGE)
        done = small.run(project, "--strict")
        assert done.returncode in {0, 1, 2}, done.stderr
        assert "Traceback" not in done.stderr
        if pages_left == 0:
            assert project.host.copies == {}
            assert "No space left on device" in done.stderr
            assert "make room" in done.stderr
        crawl(seen.site, before, project.host)
        assert not [path for path in tree(seen.site) if ".imghost-" in path]
        filler.unlink()
        stored = len(project.host.copies)
        again = small.run(project)
        assert again.returncode == 0, again.stderr
        assert_done(seen, before)
        assert len(project.host.copies) == max(stored, 3)


LENGTHS = (0, 1, 60, 500, 1_500, 3_000, 4_096, 5_000, 20_000, 33_000, 50_000, 90_000)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("length", LENGTHS)
def test_writes_that_are_cut_short_at_any_length_lose_nothing(tmp_path: Path, length: int) -> None:
    """No file may grow beyond it: lock, store, payloads, pages and the report end in the middle of a write."""
    import resource

    with ImgPro("images") as host:
        project = Project(tmp_path, host)
        before = tree(built_site(project.site))

        def cut() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (length, length))

        done = project.run("--report", "report.json", preexec_fn=cut)
        assert done.returncode in {0, 1, 2}, done.stderr
        assert "Traceback" not in done.stderr
        crawl(project.site, before, host)
        project.build()
        assert_done(project, before)


def test_where_an_upload_cannot_be_noted_none_is_made(project: Project) -> None:
    before = tree(built_site(project.site))
    store = project.root / ".cache"
    store.mkdir()
    with disk(store, SMALL, "1m") as small:
        small.fill()
        done = small.run(project, "--strict")
        assert done.returncode == 1
        why = f"{project.cache} cannot be written: No space left on device; make room, or change 'cache_dir'"
        assert f"warning: nothing is uploaded: {why}\n" in done.stderr
    assert project.host.server.requests("POST") == []
    assert tree(project.site) == before


def test_where_a_record_cannot_be_kept_no_more_is_sent_and_nothing_is_stored_twice(project: Project) -> None:
    """The store runs full at a record, or at an intent; what was sent before counts."""
    counts: list[int] = []
    store = project.root / ".cache"
    store.mkdir()
    for pages_left in (76, 100):
        project.host.copies.clear()
        (project.root / "imghost.lock").unlink(missing_ok=True)
        before = tree(built_site(project.site, count=16))
        with disk(store, SMALL, "1m") as small:
            filler = small.fill(left=pages_left * PAGE)
            done = small.run(project, "--concurrency", "1")
            assert done.returncode == 0, done.stderr
            assert "Traceback" not in done.stderr
            assert "database or disk is full; make room, or change 'cache_dir'" in done.stderr
            assert done.stderr.count("database or disk is full") == 1
            counts.append(len(project.host.copies))
            crawl(project.site, before, project.host)
            filler.unlink()
            assert small.run(project).returncode == 0
            assert_done(project, before)
        assert len(project.host.copies) == 16
    assert 0 < counts[0] < counts[1] < 16


def test_a_lock_on_a_full_disk_costs_no_image_and_its_lines_are_printed(project: Project) -> None:
    before = tree(built_site(project.site))
    folder = project.root / "locks"
    folder.mkdir()
    with disk(folder, SMALL, "64k") as small:
        filler = small.fill()
        done = small.run(project, "--lock", "locks/imghost.lock", "--strict")
        assert done.returncode == 1
        assert "imghost.lock cannot be written: No space left on device; make room" in done.stderr
        receipts = [line.partition("receipt: ")[2] for line in done.stderr.splitlines() if "receipt: " in line]
        assert {json.loads(line)["sha256"] for line in receipts} == {it.sent for it in project.host.copies.values()}
        assert_done(project, before)
        assert list(tree(small.seen(folder))) == ["filler"]
        filler.unlink()
        built_site(project.site)
        assert small.run(project, "--lock", "locks/imghost.lock").returncode == 0
        assert len((small.seen(folder) / "imghost.lock").read_text().splitlines()) == 4
    assert len(project.host.copies) == 3


@pytest.mark.parametrize("count", [7, 8, 9])
def test_a_lock_that_a_disk_has_room_for_a_part_of_a_line_of_stays_whole(project: Project, count: int) -> None:
    """What the disk takes of a line before it is full would be a broken line to every later build."""
    built_site(project.site, count=count)
    assert project.run().returncode == 0
    folder = project.root / "locks"
    folder.mkdir()
    known = (project.root / "imghost.lock").read_bytes()
    with disk(folder, SMALL, "64k") as small:
        lock = small.seen(folder) / "imghost.lock"
        lock.write_bytes(known)
        filler = small.fill()
        shutil.rmtree(project.root / ".cache")
        before = tree(built_site(project.site, count=count, first=40))
        done = small.run(project, "--lock", "locks/imghost.lock", "--concurrency", "1", "--strict")
        assert done.returncode == 1
        kept = lock.read_bytes()
        assert kept.startswith(known)
        assert kept.endswith(b"\n")
        receipts = {line.partition("receipt: ")[2] for line in done.stderr.splitlines() if "receipt: " in line}
        told = {json.loads(line)["sha256"] for line in (*kept.decode().splitlines()[1:], *receipts)}
        assert told >= {it.sent for it in project.host.copies.values()}
        assert_done(project, before)
        filler.unlink()
        built_site(project.site, count=count, first=40)
        assert small.run(project, "--lock", "locks/imghost.lock").returncode == 0
    assert len(project.host.copies) == 2 * count


def test_a_page_that_the_disk_has_no_room_for_stays_and_smaller_ones_move(project: Project) -> None:
    project.site.mkdir()
    with disk(project.site, SMALL, "1m") as small:
        seen = small.viewed(project)
        built_site(seen.site)
        before = tree(write(seen.site, {"large.html": '<img src="images/1.png">' + "<p>words" * 5_000}))
        filler = small.fill(left=PAGE)
        before |= {"filler": filler.read_bytes()}
        done = small.run(project, "--strict")
        assert done.returncode == 1
        why = "it cannot be written: No space left on device; make room and build again"
        assert f"large.html: its references stay as they were: {why}" in done.stderr
        assert done.stderr.count("cannot be written") == 1
        moved = crawl(seen.site, before, project.host)
        assert moved["large.html"] == 0 < moved["index.html"]
        assert not [path for path in tree(seen.site) if ".imghost-" in path]
        filler.unlink()
        assert small.run(project).returncode == 0
        assert_done(seen, {path: content for path, content in before.items() if path != "filler"})
    assert len(project.host.uploads) == 3


def test_a_site_that_is_read_only_stays_as_it_is_and_each_page_is_told(project: Project) -> None:
    before = tree(built_site(project.site))
    with disk(project.site, READ_ONLY) as shut:
        done = shut.run(project, "--strict")
        assert done.returncode == 1
        for page in ("index.html", "below/index.html"):
            assert (
                f"{page}: its references stay as they were: it cannot be written: the file is read-only;" in done.stderr
            )
        assert done.stderr.count("; make it writable and build again") == 2
    assert "plain.html" not in done.stderr
    assert tree(project.site) == before
    assert project.build().notices == ()
    assert_done(project, before)
    assert len(project.host.uploads) == 3


def test_a_read_only_site_takes_no_copies_either(project: Project) -> None:
    before = tree(built_site(project.site))
    with disk(project.site, READ_ONLY) as shut:
        done = shut.run(project, "--host", "directory", "--strict", env=project.environ(IMGPRO_API_KEY=""))
        assert done.returncode in {1, 2}, done.stderr
    assert "Traceback" not in done.stderr
    assert tree(project.site) == before


def test_a_read_only_page_stays_and_the_others_move(project: Project) -> None:
    before = tree(built_site(project.site))
    with disk(project.site / "index.html", READ_ONLY) as shut:
        done = shut.run(project, "--strict")
        assert done.returncode == 1
    assert "index.html: its references stay as they were" in done.stderr
    moved = crawl(project.site, before, project.host)
    assert moved["index.html"] == 0 < moved["below/index.html"]


def test_a_store_that_is_read_only_from_the_beginning_hinders_no_page(project: Project) -> None:
    built_site(project.site)
    project.build()
    shutil.rmtree(project.root / ".cache")
    before = tree(built_site(project.site))
    (project.root / ".cache").mkdir()
    with disk(project.root / ".cache", READ_ONLY) as shut:
        done = shut.run(project)
        assert done.returncode == 0, done.stderr
    assert_done(project, before)


@pytest.mark.long
def test_mkdocs_goes_by_the_lock_where_the_store_is_read_only(project: Project) -> None:
    """What the lock knows is shown from the host, and what is new stays local with one warning."""
    ground = Ground(project.root, project.host)
    ground.make()
    folder = project.root / "mkdocs"
    command = [sys.executable, "-m", "mkdocs", "build"]
    kept = {"cwd": folder, "env": project.environ(**ground.key), "capture_output": True, "text": True}
    assert subprocess.run(command, **kept).returncode == 0
    page, hosted = folder / "site" / "index.html", project.host.server.url.encode()
    with disk(folder / ".cache", READ_ONLY) as shut:
        done = subprocess.run([*shut.inside, str(folder), *command], **kept)
        assert done.returncode == 0, done.stderr
        assert page.read_bytes().count(hosted) == 2
        assert "WARNING" not in done.stderr
        write(folder / "docs", {"1.png": picture(9)})
        done = subprocess.run([*shut.inside, str(folder), *command], **kept)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("WARNING") == 1
        assert "nothing is uploaded" in done.stderr
        assert page.read_bytes().count(hosted) == 1
        assert b'src="1.png"' in page.read_bytes()
    assert len(project.host.copies) == 2


def test_a_read_only_store_is_read_and_nothing_is_uploaded(project: Project) -> None:
    """An upload could not be noted, and no page changes while the map of changes cannot be put aside."""
    built_site(project.site)
    project.build()
    stored = set(project.host.copies)
    before = tree(write(built_site(project.site), {"images/2.png": picture(40)}))
    with disk(project.root / ".cache", READ_ONLY) as shut:
        done = shut.run(project, "--strict")
        assert done.returncode == 1
        why = "Read-only file system; make it writable"
        assert f"nothing is uploaded: {project.cache} cannot be written: {why}, or change 'cache_dir'\n" in done.stderr
        assert f".json: {why} and build again\n" in done.stderr
    assert set(project.host.copies) == stored
    crawl(project.site, before, project.host)
    project.build()
    assert_done(project, before)
    assert duplicates(project.host) == 0
