"""The embedded host on disks as they are: full, in the way, read while it writes."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pictures import saved
from test_directory import NAME, host, payload

from imghost.errors import Action, HostError


def test_a_reader_sees_a_whole_file_or_none(tmp_path: Path) -> None:
    content = saved("png") * 500
    folder = host(tmp_path)
    made = payload(tmp_path / "sent", content)
    target = tmp_path / "site/_imghost" / NAME
    seen: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            if target.exists():
                seen.add(len(target.read_bytes()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(30):
        folder.upload(made)
    done.set()
    watcher.join()
    assert seen == {len(content)}


def test_a_folder_that_cannot_be_made_stops_the_host(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/_imghost").write_text("a file is in the way")
    with pytest.raises(HostError, match=r"cannot be written: .*; make room or change the option 'path'") as caught:
        host(tmp_path).upload(payload(tmp_path / "sent"))
    assert caught.value.action is Action.STOP


def test_a_file_in_the_way_leaves_nothing_unfinished(tmp_path: Path) -> None:
    (tmp_path / "site/_imghost" / NAME).mkdir(parents=True)
    with pytest.raises(HostError):
        host(tmp_path).upload(payload(tmp_path / "sent"))
    assert [file.name for file in (tmp_path / "site/_imghost").iterdir()] == [NAME]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 64 kilobytes, where that is allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"this machine mounts no disk: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_stops_the_host_and_leaves_nothing_unfinished(small_disk: Path, tmp_path: Path) -> None:
    folder = host(tmp_path, str(small_disk / "out"), "https://img.example/")
    url = folder.upload(payload(tmp_path / "sent", b"x" * 30_000)).url
    assert url.startswith("https://img.example/")
    with pytest.raises(HostError, match="No space left on device; make room") as caught:
        folder.upload(payload(tmp_path / "sent", b"y" * 100_000, variant="strip"))
    assert caught.value.action is Action.STOP
    assert [file.name for file in (small_disk / "out").iterdir()] == [NAME]


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX systems")
def test_a_file_can_be_read_by_the_server_that_publishes_it(tmp_path: Path) -> None:
    file = tmp_path / "site" / host(tmp_path).upload(payload(tmp_path / "sent")).url
    assert stat.S_IMODE(file.stat().st_mode) & 0o444 == 0o444
