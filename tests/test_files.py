"""Only a regular file below the folder is ever opened."""

from __future__ import annotations

import io
import os
import re
import socket
import stat
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imghost import files

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX links and FIFOs")
OPENERS = [
    pytest.param(files.open_beneath, id="openat", marks=posix),
    pytest.param(lambda root, name: files._open_checked(root, files._parts(name)), id="checked"),
]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_bytes(b"secret")
    root = tmp_path / "site"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "x.png").write_bytes(b"image")
    return root


@pytest.mark.parametrize("opened", OPENERS)
def test_a_file_below_the_folder_is_opened(site: Path, opened) -> None:
    with opened(site, "a/b/x.png") as file:
        assert file.read() == b"image"


@pytest.mark.parametrize("opened", OPENERS)
@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "../secret.txt", "a/../../secret.txt", "a//b/x.png", "/etc/hostname", "a/./b/x.png", "a/b/",
     "a\\b\\x.png", "..\\secret.txt", "x\0.png", "a/b/x.png\0", "/", "a/b/x.png/..", "\\\\host\\share", "./x.png",
     "a/b/\ud800.png"],
)  # fmt: skip
def test_a_path_that_is_not_plain_is_refused(site: Path, opened, path: str) -> None:
    with pytest.raises(PermissionError):
        opened(site, path)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "", "a", "b", "x.png", "secret.txt", "\\", "\0", "%2e%2e"]), max_size=6))
def test_no_path_leads_to_the_secret(components: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "site")
        (root / "a" / "b").mkdir(parents=True)
        Path(folder, "secret.txt").write_bytes(b"secret")
        try:
            with files.open_beneath(root, "/".join(components)) as file:
                assert file.read() != b"secret"
        except OSError:
            pass


@pytest.mark.parametrize("opened", OPENERS)
def test_a_missing_file_is_an_os_error(site: Path, opened) -> None:
    with pytest.raises(FileNotFoundError):
        opened(site, "a/none.png")
    with pytest.raises(OSError):  # noqa: PT011 - which one is the system's business
        opened(site, "a/b/x.png/y.png")


@posix
@pytest.mark.parametrize("opened", OPENERS)
def test_a_link_inside_is_followed(site: Path, opened) -> None:
    (site / "link.png").symlink_to("a/b/x.png")
    (site / "folder").symlink_to(site / "a")
    (site / "chain.png").symlink_to("link.png")
    for path in ("link.png", "folder/b/x.png", "chain.png"):
        with opened(site, path) as file:
            assert file.read() == b"image"


@posix
@pytest.mark.parametrize("opened", OPENERS)
def test_a_link_out_is_refused(site: Path, opened) -> None:
    (site / "out.png").symlink_to("../secret.txt")
    (site / "absolute.png").symlink_to(site.parent / "secret.txt")
    (site / "up").symlink_to("..")
    (site / "chain.png").symlink_to("out.png")
    (site / "self.png").symlink_to("self.png")
    (site / "top").symlink_to(".")
    for path in ("out.png", "absolute.png", "up/secret.txt", "chain.png", "self.png", "top"):
        with pytest.raises(OSError):  # noqa: PT011 - a loop has an error of its own
            opened(site, path)


@posix
@pytest.mark.parametrize("opened", OPENERS)
def test_what_is_no_regular_file_is_refused_at_once(site: Path, opened) -> None:
    os.mkfifo(site / "fifo.png")
    (site / "folder.png").mkdir()
    (site / "zero.png").symlink_to("/dev/zero")
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(site)  # a socket's path is short
    try:
        server.bind("socket.png")
    finally:
        os.chdir(here)
    with server:
        for path in ("fifo.png", "folder.png", "zero.png", "socket.png"):
            start = time.perf_counter()
            with pytest.raises(OSError):  # noqa: PT011 - each kind has its own
                opened(site, path)
            assert time.perf_counter() - start < 0.1


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes devices")
def test_a_device_in_the_site_is_refused(site: Path) -> None:
    try:
        os.mknod(site / "zero.png", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except OSError as error:
        pytest.skip(f"this file system has no devices: {error}")
    with pytest.raises(OSError):  # noqa: PT011 - refused here, or by the mount's own options
        files.open_beneath(site, "zero.png")


@posix
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_path_swapped_meanwhile_never_leaks(site: Path, what: str) -> None:
    outside = site.parent / "outside"
    outside.mkdir()
    (outside / "x.png").write_bytes(b"secret")
    (site / "good").mkdir()
    (site / "good" / "x.png").write_bytes(b"image")
    place = site / "swap"
    done = threading.Event()

    def flip() -> None:
        spare = site / "spare"
        targets = (site / "good", outside) if what == "folder" else (site / "good/x.png", outside / "x.png")
        while not done.is_set():
            for target in targets:
                spare.symlink_to(target)
                spare.replace(place)

    flipper = threading.Thread(target=flip)
    flipper.start()
    seen, refused = 0, 0
    try:
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            try:
                with files.open_beneath(site, "swap/x.png" if what == "folder" else "swap") as file:
                    assert file.read() == b"image"
                    seen += 1
            except OSError:
                refused += 1
    finally:
        done.set()
        flipper.join()
    assert seen > 10
    assert refused > 10


@posix
def test_no_descriptor_is_left_open(site: Path) -> None:
    folder = Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")
    (site / "out.png").symlink_to("../secret.txt")
    os.mkfifo(site / "fifo.png")
    before = len(list(folder.iterdir()))
    for path in ("a/b/x.png", "out.png", "fifo.png", "a/none", "a/b/x.png/y", "a"):
        try:
            files.open_beneath(site, path).close()
        except OSError:
            continue
    assert len(list(folder.iterdir())) == before


def test_a_window_shows_what_the_file_has(tmp_path: Path) -> None:
    raw = os.urandom(700_000)
    file = io.BytesIO(raw)
    window = files.Window(file, len(raw))
    for span in ((0, 10), (262_140, 262_150), (5, 400_000), (699_990, 800_000), (700_000, 700_010), (1, 3), (9, 9)):
        assert window[span[0] : span[1]] == raw[span[0] : span[1]]
    assert window[262_144] == raw[262_144]
    with pytest.raises(IndexError):
        window[700_000]


def test_a_window_finds_what_lies_across_its_border() -> None:
    for place in (0, 262_142, 262_143, 262_144, 524_287, 599_998):
        raw = bytearray(600_000)
        raw[place : place + 2] = b"\xff\xd9"
        window = files.Window(io.BytesIO(raw), len(raw))
        assert window.search(re.compile(rb"\xff[\xd9]"), 0) == place
        assert window.search(re.compile(rb"\xff[\xd9]"), place + 1) == -1


def test_a_file_cut_short_under_a_window_gives_short_slices(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(1_000_000))
    with path.open("rb") as file:
        window = files.Window(file, 1_000_000)
        assert len(window[0:10]) == 10
        os.truncate(path, 300_000)
        assert len(window[290_000:310_000]) in {10_000, 20_000}
        assert window[900_000:900_010] == b""
        assert window.search(re.compile(rb"\xff\xd9"), 280_000) == -1
