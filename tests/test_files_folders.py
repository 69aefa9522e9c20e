"""What a killed run leaves in folders of its own the next one sweeps, and nothing of a run that lives."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from doubles.imgpro import ImgPro
from doubles.server import Fault
from sites import tree
from trust.place import Project, assert_done, built_site

from imghost import files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot lock folders, so nothing is swept")

LEFT = "imghost-payloads-"


def folders(root: Path, prefix: str = LEFT) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.name.startswith(prefix))


def await_folder(root: Path, count: int = 1) -> None:
    """Wait until so many builds have made payloads, and make no more: some are made ahead of their turn."""
    until = time.monotonic() + 20
    before: dict[Path, object] = {}
    while len(before) < count or not all(before.values()) or before != {path: tree(path) for path in folders(root)}:
        assert time.monotonic() < until, "no payload was made"
        before = {path: tree(path) for path in folders(root)}
        time.sleep(0.2)


@contextmanager
def hanging(project: Project) -> Iterator[subprocess.Popen[bytes]]:
    """Run a build whose first upload gets no answer, until it has made what it sends."""
    project.host.server.fail(Fault.HANG, when=lambda request: request.method == "POST")
    count = len(folders(project.root)) + 1
    printed = subprocess.DEVNULL
    command = [*project.command(), "--timeout", "15"]
    with subprocess.Popen(command, cwd=project.root, env=project.environ(), stdout=printed, stderr=printed) as build:
        try:
            await_folder(project.root, count)
            yield build
        finally:
            build.kill()


@pytest.mark.long
def test_the_payloads_of_a_killed_build_are_swept_by_the_next(tmp_path: Path) -> None:
    with ImgPro("images") as host:
        project = Project(tmp_path, host)
        before = tree(built_site(project.site))
        with hanging(project) as build:
            build.send_signal(signal.SIGKILL)
        assert len(folders(tmp_path)) == 1
        assert project.run().returncode == 0
        assert folders(tmp_path) == []
        assert_done(project, before)


def test_the_payloads_of_a_build_that_runs_are_not_swept_by_another(tmp_path: Path) -> None:
    """Two projects share the system's folder for temporary files."""
    with ImgPro("images") as host, ImgPro("images") as other:
        project = Project(tmp_path, host)
        built_site(project.site)
        second = Project(tmp_path, other, (("cache_dir", "other-cache"), ("lock", "other.lock")), name="other")
        built_site(second.site, first=50)
        with hanging(project):
            of_the_first = {path: tree(path) for path in folders(tmp_path)}
            ended = second.run()
            assert (ended.returncode, len(other.copies)) == (0, 3), ended.stderr
            assert {path: tree(path) for path in folders(tmp_path)} == of_the_first


def test_a_store_that_was_killed_half_made_is_swept_by_the_next_write(tmp_path: Path) -> None:
    with ImgPro("images") as host:
        project = Project(tmp_path, host)
        before = tree(built_site(project.site))
        half = project.cache / ".store-0a1b2c3d"
        half.mkdir(parents=True)
        (half / "cache.db").write_bytes(b"half")
        project.build()
        assert folders(project.cache, ".store-") == []
        assert_done(project, before)


def held_elsewhere(parent: Path, ready: object, end: object) -> None:
    with files.private_folder(parent, LEFT):
        ready.set()  # type: ignore[attr-defined]
        end.wait(20)  # type: ignore[attr-defined]


def test_a_folder_is_swept_only_once_its_process_is_gone(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    other = context.Process(target=held_elsewhere, args=(tmp_path, ready, end))
    other.start()
    assert ready.wait(20)
    files.sweep_folders(tmp_path, LEFT)
    assert len(folders(tmp_path)) == 1
    other.kill()
    other.join()
    assert len(folders(tmp_path)) == 1
    files.sweep_folders(tmp_path, LEFT)
    assert folders(tmp_path) == []


def test_only_folders_with_the_whole_name_are_swept(tmp_path: Path) -> None:
    """Neither a file, nor a link to a folder, nor what somebody named alike by hand."""
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "kept").write_text("kept")
    (tmp_path / f"{LEFT}aaaaaaaa").symlink_to(treasure)
    (tmp_path / f"{LEFT}bbbbbbbb").write_text("a file")
    os.mkfifo(tmp_path / f"{LEFT}cccccccc")
    (tmp_path / f"{LEFT}by-hand").mkdir()
    dead = tmp_path / f"{LEFT}dddddddd"
    dead.mkdir()
    (dead / "away").symlink_to(treasure)
    kept = {path.name for path in tmp_path.iterdir()} - {dead.name}
    files.sweep_folders(tmp_path, LEFT)
    assert {path.name for path in tmp_path.iterdir()} == kept
    assert (treasure / "kept").read_text() == "kept"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can make another's folder")
def test_another_users_folder_stays(tmp_path: Path) -> None:
    other = tmp_path / f"{LEFT}aaaaaaaa"
    other.mkdir()
    os.chown(other, 65534, 65534)
    files.sweep_folders(tmp_path, LEFT)
    assert other.is_dir()


def sweeping(parent: Path, end: object) -> None:
    while not end.is_set():  # type: ignore[attr-defined]
        files.sweep_folders(parent, LEFT)


def test_a_folder_lives_through_another_runs_sweeps_from_its_first_moment(tmp_path: Path) -> None:
    """Between its making and its lock a sweep may take it; then it is made again."""
    context = multiprocessing.get_context("spawn")
    end = context.Event()
    other = context.Process(target=sweeping, args=(tmp_path, end))
    other.start()
    try:
        for _ in range(500):
            with files.private_folder(tmp_path, LEFT) as made:
                (made / "payload").write_bytes(b"x")
                assert (made / "payload").read_bytes() == b"x"
    finally:
        end.set()
        other.join(20)
    assert folders(tmp_path) == []


def test_a_sweep_where_nothing_is_does_nothing(tmp_path: Path) -> None:
    files.sweep_folders(tmp_path / "missing", LEFT)
    assert list(tmp_path.iterdir()) == []
