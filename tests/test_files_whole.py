"""A file is replaced whole or not at all, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from trust.points import can_trace

from imghost import files

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions and limits")
LEFT_OVER = ".imghost-0123456789abcdef.tmp"


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("is_durable", [True, False])
def test_content_is_written_byte_for_byte(tmp_path: Path, is_durable: bool) -> None:
    file = tmp_path / "page.html"
    files.write_whole(file, b"one\r\ntwo\n\x00", is_durable=is_durable)
    files.write_whole(tmp_path / "text", "é\r\n\udcff", is_durable=is_durable)
    assert file.read_bytes() == b"one\r\ntwo\n\x00"
    assert (tmp_path / "text").read_bytes() == "é\r\n".encode() + b"\xff"
    assert names(tmp_path) == ["page.html", "text"]


@posix
def test_a_replaced_file_keeps_its_permission_bits(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("old")
    for mode in (0o600, 0o640, 0o664, 0o755):
        file.chmod(mode)
        files.write_whole(file, f"{mode:o}", is_durable=False)
        assert file.stat().st_mode & 0o7777 == mode
        assert file.read_text() == f"{mode:o}"


@posix
def test_a_new_file_gets_the_bits_that_the_system_gives(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    files.write_whole(tmp_path / "new", b"", is_durable=True)
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


@posix
def test_a_link_is_replaced_and_what_it_led_to_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    link = tmp_path / "link"
    link.symlink_to(outside)
    files.write_whole(link, "new", is_durable=False)
    assert (outside.read_text(), link.read_text(), link.is_symlink()) == ("untouched", "new", False)


def test_a_failed_step_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        files.write_whole(tmp_path / "folder", b"content", is_durable=False)
    assert names(tmp_path) == ["folder"]


@posix
def test_a_read_only_file_stays_as_it_is(tmp_path: Path) -> None:
    """Root may write everything, so the file is tried as another user where the tests run as root."""
    file = tmp_path / "page.html"
    file.write_text("old")
    file.chmod(0o444)
    tmp_path.chmod(0o777)
    code = (
        "import os, sys; from pathlib import Path; from imghost import files\n"
        "os.getuid() or os.setuid(65534)\n"
        "try: files.write_whole(Path(sys.argv[1]), 'new', is_durable=False)\n"
        "except PermissionError as problem: print('refused:', problem.strerror)"
    )
    for folder in tmp_path.parents[:4]:
        folder.chmod(folder.stat().st_mode | 0o055)
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True)
    assert done.stdout == "refused: the file is read-only\n", done.stderr
    assert (file.read_text(), names(tmp_path)) == ("old", ["page.html"])


@posix
@pytest.mark.parametrize("is_durable", [True, False])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, is_durable: bool) -> None:
    file = tmp_path / "page.html"
    file.write_text("old")
    code = (
        "import resource, sys; from pathlib import Path; from imghost import files\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: files.write_whole(Path(sys.argv[1]), b'x' * 100_000, is_durable=sys.argv[2] == 'True')\n"
        "except OSError as problem: print('failed:', problem.errno)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file), str(is_durable)], capture_output=True, text=True)
    assert done.stdout.startswith("failed:"), done.stderr
    assert (file.read_text(), names(tmp_path)) == ("old", ["page.html"])


@pytest.mark.skipif(not can_trace(), reason="strace is not installed, or may not trace here")
@pytest.mark.parametrize(
    ("call", "error", "said", "content"),
    [(1, "EIO", "failed: 5", "old"), (2, "EIO", "failed: 5", "new"), (2, "EINVAL", "written", "new")],
)
def test_a_sync_that_fails_is_an_error_but_of_a_folder_on_a_drive_that_has_none(
    tmp_path: Path, call: int, error: str, said: str, content: str
) -> None:
    """A file's own sync is the first, its folder's the second, which SMB's drives do not know."""
    file = tmp_path / "page.html"
    file.write_text("old")
    code = (
        "import sys; from pathlib import Path; from imghost import files\n"
        "try: files.write_whole(Path(sys.argv[1]), 'new', is_durable=True); print('written')\n"
        "except OSError as problem: print('failed:', problem.errno)"
    )
    inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject=fsync:error={error}:when={call}"]
    done = subprocess.run([*inject, sys.executable, "-c", code, str(file)], capture_output=True, text=True)
    assert done.stdout == f"{said}\n", done.stderr
    assert (file.read_text(), names(tmp_path)) == (content, ["page.html"])


@posix
def test_a_reader_sees_the_old_content_or_the_new_whatever_kills_the_writer(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    whole = {letter * 300_000 for letter in "ab"}
    file.write_text("a" * 300_000)
    code = (
        "import itertools, sys; from pathlib import Path; from imghost import files\n"
        "print('ready', flush=True)\n"
        "for letter in itertools.cycle('ab'): files.write_whole(Path(sys.argv[1]), letter * 300_000, is_durable=False)"
    )
    for pause in (0.0, 0.003, 0.007, 0.02):
        with subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(pause)
            writer.kill()
        assert file.read_text() in whole


def test_sweeping_deletes_only_old_files_of_our_own_making(tmp_path: Path) -> None:
    old = time.time() - 86_400
    kept = [
        ".imghost-0123456789abcdef.tmp.bak",
        ".imghost-0123456789ABCDEF.tmp",
        ".imghost-kept",
        "imghost-0123456789abcdef.tmp",
        "page.html",
    ]
    for name in (*kept, LEFT_OVER):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (old, old))
    young = LEFT_OVER.replace("0123", "4567")
    (tmp_path / young).touch()
    files.sweep_unfinished(tmp_path)
    assert names(tmp_path) == sorted((*kept, young))


def test_sweeping_leaves_folders_and_links_alone(tmp_path: Path) -> None:
    (tmp_path / LEFT_OVER).mkdir()
    link = tmp_path / LEFT_OVER.replace("0123", "4567")
    victim = tmp_path / "victim"
    victim.touch()
    os.utime(victim, (0, 0))
    link.symlink_to(victim)
    files.sweep_unfinished(tmp_path)
    files.sweep_unfinished(tmp_path / "missing")
    assert names(tmp_path) == sorted((LEFT_OVER, link.name, "victim"))


def test_syncing_everything_needs_no_file(tmp_path: Path) -> None:
    files.sync()
    files.sync_folder(tmp_path)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EFBIG, "make room"),
        (errno.EACCES, "make it writable"),
        (errno.EPERM, "make it writable"),
        (errno.EROFS, "make it writable"),
        (errno.ENOMEM, "give the build more memory"),
        (errno.EIO, "mend that"),
    ],
)
def test_what_a_user_can_change_follows_from_the_systems_number(number: int, remedy: str) -> None:
    assert files.remedy(OSError(number, os.strerror(number))) == remedy


def over(path: Path, old: bytes, new: bytes) -> bool:
    stamp = files.stamp(path)
    assert stamp is not None
    return files.write_over(path, old, new, stamp) == files.stamp(path)


@pytest.mark.parametrize("new", [b"", b"shorter", b"a text that is longer than the old one"])
def test_what_is_written_over_is_the_new_content_alone(tmp_path: Path, new: bytes) -> None:
    """In the same file, with its bits, and with none beside it."""
    page = tmp_path / "page.html"
    page.write_bytes(b"the old content")
    page.chmod(0o640)
    inode = page.stat().st_ino
    assert over(page, b"the old content", new)
    assert (page.read_bytes(), page.stat().st_ino, page.stat().st_mode & 0o777) == (new, inode, 0o640)
    assert list(tmp_path.iterdir()) == [page]


def test_a_file_that_has_changed_since_is_not_written_over(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(b"old")
    before = files.stamp(page)
    page.write_bytes(b"somebody else's")
    assert before is not None
    assert files.write_over(page, b"old", b"ours", before) is None
    assert page.read_bytes() == b"somebody else's"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
@pytest.mark.parametrize("name", ["symbolic", "hard"])
def test_through_a_link_no_other_file_is_written_over(tmp_path: Path, name: str) -> None:
    other, page = tmp_path / "other.html", tmp_path / "page.html"
    other.write_bytes(b"old")
    page.symlink_to(other) if name == "symbolic" else page.hardlink_to(other)
    assert over(page, b"old", b"new")
    assert (page.read_bytes(), other.read_bytes()) == (b"new", b"old")


@pytest.mark.skipif(sys.platform == "win32", reason="a process's file size is limited by POSIX alone")
def test_a_full_disk_leaves_what_was_written_over_as_it_was(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(b"old" * 10)
    code = (
        "import resource, signal, sys; from pathlib import Path; from imghost import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))\n"
        "page = Path(sys.argv[1]); old = page.read_bytes()\n"
        "try: files.write_over(page, old, b'new' * 100, files.stamp(page))\n"
        "except OSError as problem: print(type(problem).__name__, problem.strerror)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(page)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("OSError File too large\n", "")
    assert page.read_bytes() == b"old" * 10


@pytest.mark.skipif(sys.platform == "win32", reason="a process's file size is limited by POSIX alone")
def test_what_can_be_written_neither_anew_nor_back_is_told_as_half_written(tmp_path: Path) -> None:
    """Here the disk shrinks below the old size, as a quota does that somebody lowers."""
    page = tmp_path / "page.html"
    page.write_bytes(b"old" * 10)
    code = (
        "import resource, signal, sys; from pathlib import Path; from imghost import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))\n"
        "page = Path(sys.argv[1]); old = page.read_bytes()\n"
        "try: files.write_over(page, old, b'new' * 100, files.stamp(page))\n"
        "except files.HalfWrittenError as problem: print(problem.strerror)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(page)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("File too large, and it is half-written now\n", "")
