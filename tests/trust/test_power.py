"""What is left after a loss of power: a disk's image as it is at some moment, without what nobody has synced."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from doubles.imgpro import ImgPro
from doubles.server import Reply, Request
from sites import tree
from trust.disks import FROM_FILE, Disk, disk
from trust.place import Project, assert_done, built_site, crawl

from imghost import settings
from imghost.hosts import registry
from imghost.net import Client
from imghost.records import lock
from imghost.records.cache import Cache
from imghost.run.plan import owner_of

IMAGES = 3


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    """Make a disk's image with nothing on it."""
    file = tmp_path / "disk"
    with file.open("wb") as empty:
        empty.truncate(16 * 2**20)
    if shutil.which("mkfs.ext4"):
        subprocess.run(["mkfs.ext4", "-q", str(file)], check=True)
    return file


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    (tmp_path / "project").mkdir()
    with ImgPro("images") as host:
        yield Project(tmp_path / "project", host)


def write_site(mounted: Disk, project: Project) -> dict[str, bytes]:
    """Generate the site, and have it all on the disk, as it is once a generator ran some while ago."""
    seen = mounted.viewed(project)
    before = tree(built_site(seen.site, count=IMAGES))
    subprocess.run(["sync", "--file-system", str(seen.root)], check=True)
    return before


def snapshots(project: Project, blank: Path) -> dict[str, Path]:
    """Build, and copy the disk's image at each request, as the host sees it, and at the end."""
    taken: dict[str, Path] = {}

    def take(name: str) -> None:
        taken[name] = blank.with_name(f"{name}.disk")
        shutil.copyfile(blank, taken[name])

    server = project.host.server
    inner = server.route

    def route(request: Request) -> Reply:
        if request.method == "POST":
            take(f"sent-{len(project.host.copies)}")
        elif "/t/" in request.path:
            take(f"asked-{request.path.rpartition('/')[2].partition('.')[0]}")
        return inner(request)

    server.route = route
    with disk(project.root, FROM_FILE, str(blank)) as mounted:
        write_site(mounted, project)
        assert mounted.run(project, "--concurrency", "1").returncode == 0
        take("ended")
    server.route = inner
    return taken


def store_on(image: Path, project: Project) -> Cache:
    """Read the store that a disk's image has, from a copy of it, since SQLite takes no path over `/proc`."""
    copy = image.with_suffix(".store")
    with disk(project.root, FROM_FILE, str(image)) as mounted:
        shutil.copytree(mounted.viewed(project).cache, copy)
    return Cache.load(copy)


def test_no_record_is_lost_with_the_power(project: Project, blank: Path) -> None:
    """An upload is noted before it is sent, its record kept before its URL is asked for, the lock at the end.

    URLs are asked for beside the uploads, so the next one may be on its way by then, or there; none after that.
    """
    taken = snapshots(project, blank)
    assert len(taken) == 2 * IMAGES + 1
    chosen = settings.read({"host": project.chosen, "options": {"api_url": project.host.api_url}}, project.root)
    with Client(environ={}) as client:
        owner = owner_of(chosen, registry.open_host(project.chosen, chosen, dict([project.key]), client, project.site))
    digests = [copy.sent for copy in project.host.copies.values()]
    for number, name in enumerate(project.host.copies):
        left = store_on(taken[f"sent-{number}"], project)
        assert [intent[0] for intent in left.intents(owner)] == [digests[number]]
        assert {record.sha256 for record in left.records(owner)} == set(digests[:number])
        left = store_on(taken[f"asked-{name}"], project)
        assert left.warnings == ()
        on_their_way = {intent[0] for intent in left.intents(owner)}
        kept = {record.sha256 for record in left.records(owner)}
        assert set(digests[: number + 1]) <= kept <= set(digests[: number + 3])
        assert on_their_way <= set(digests[number + 1 : number + 3]) - kept
    with disk(project.root, FROM_FILE, str(taken["ended"])) as mounted:
        seen = mounted.viewed(project)
        assert {record.sha256 for record in lock.read(seen.root / "imghost.lock").records} == set(digests)


def test_the_build_after_a_loss_of_power_completes_the_site(project: Project, blank: Path) -> None:
    taken = snapshots(project, blank)
    before = tree(built_site(blank.parent / "other", count=IMAGES))
    for moment in ("sent-1", "ended"):
        with disk(project.root, FROM_FILE, str(taken[moment])) as mounted:
            seen = mounted.viewed(project)
            crawl(seen.site, before, project.host)
            write_site(mounted, project)
            assert mounted.run(project).returncode == 0
            assert_done(seen, before)
        assert len(project.host.copies) == IMAGES


SHARED = "from imghost.records.shared_folder import FolderStore; store = FolderStore(Path.cwd().as_uri(), {}, 1.0)"
LEFT = {
    "a file that was replaced": (
        "from imghost.files import write_whole; file = Path('kept'); write_whole(file, 'old', is_durable=True); sync()",
        "write_whole(file, 'new', is_durable=True)",
        {"kept": b"new"},
    ),
    "a store that was made": (
        "from imghost.records import cache",
        "cache._create(Path('store').absolute())",
        {"store/cache.db": b"SQLite format 3"},
    ),
    "a shared entry": (
        SHARED,
        "store.put('a/b/k', 'x' * 9, None)",
        {"a/b/k.1": b"x" * 9},
    ),
    "a shared entry that was written over": (
        f"{SHARED}; tag = store.put('k', 'old', None)",
        "store.put('k', 'new', tag)",
        {"k.2": b"new"},
    ),
    "an earlier shared entry": (
        SHARED,
        "store.put('k', 'x' * 9, None); store.put('l', 'y', None)",
        {"k.1": b"x" * 9},
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_a_call_has_written_for_good_is_there_after_a_loss_of_power(
    tmp_path: Path, project: Project, blank: Path, name: str
) -> None:
    """Once it returns nothing more is needed: neither the next write's sync nor the seconds that a system takes."""
    first, last, expected = LEFT[name]
    code = f"import os; from os import sync; from pathlib import Path; {first}; {last}; print('done', flush=True)"
    with disk(project.root, FROM_FILE, str(blank)) as mounted:
        subprocess.run(["sync", "--file-system", str(mounted.seen(project.root))], check=True)
        done = subprocess.run([*mounted.inside, str(project.root), sys.executable, "-c", code], capture_output=True)
        assert done.stdout == b"done\n", done.stderr
        taken = tmp_path / "taken"
        shutil.copyfile(blank, taken)
    with disk(project.root, FROM_FILE, str(taken)) as mounted:
        root = mounted.seen(project.root)
        there = {path: file.read_bytes() for path in expected if (file := root / path).exists()}
    assert {path: content[: len(expected[path])] for path, content in there.items()} == expected
