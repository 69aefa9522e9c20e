"""Builds the wheel twice, to the same bytes, and checks it alone: packages, entry points, licence, a first run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("imghost", "mkdocs_imghost", "sphinx_imghost")
ENTRIES = {
    "console_scripts": {"imghost"},
    "imghost.hosts": {"directory", "imageupload.io", "img.pro", "img402", "s3"},
    "markdown.extensions": {"imghost"},
    "mkdocs.plugins": {"imghost"},
    "properdocs.plugins": {"imghost"},
}


def copied(folder: Path, mode: int, moment: int) -> Path:
    """Copy what the wheel is built of, with these modes and times."""
    for name in (*PACKAGES, "pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        path = ROOT / name
        copy, ignore = folder / name, shutil.ignore_patterns("__pycache__")
        shutil.copytree(path, copy, ignore=ignore) if path.is_dir() else shutil.copy(path, copy)
    for path in (*folder.rglob("*"), folder):
        path.chmod(mode | 0o100 if path.is_dir() else mode)
        os.utime(path, (moment, moment))
    return folder


def built(source: Path, folder: Path, umask: int, **environ: str) -> Path:
    """Build the wheel of a copy, with this umask and these variables."""
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(source)]
    kept = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    mask = {"umask": umask} if os.name == "posix" else {}
    subprocess.run(command, check=True, env=kept | environ, **mask)
    (wheel,) = folder.glob("imghost-*.whl")
    return wheel


def check_same(folder: Path) -> Path:
    """Build twice, where and when and as whom it should not matter; gives the wheel."""
    copies = [folder / "one" / "imghost", folder / "two" / "elsewhere" / "again"]
    for copy in copies:
        copy.mkdir(parents=True)
    first = built(copied(copies[0], 0o644, 1_000_000_000), folder / "first", 0o022, TZ="UTC", PYTHONHASHSEED="1")
    second = built(
        copied(copies[1], 0o600, 1_700_000_001), folder / "second", 0o077, TZ="Asia/Tokyo", PYTHONHASHSEED="2"
    )
    assert first.name == second.name, (first, second)
    digests = [hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in (first, second)]
    assert digests[0] == digests[1], f"two builds differ: {digests}"
    print(f"two builds gave {digests[0]}")
    return first


def check_names(wheel: Path) -> None:
    """Check what the wheel holds, and that it holds nothing else."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES), tops
    assert [name for name in names if name.endswith("/licenses/LICENSE")], "no licence in the wheel"
    for part in ("report.html.jinja", "report.css", "report.js"):
        assert f"imghost/run/{part}" in names, f"the HTML report lacks {part}"
    for package in PACKAGES:
        assert f"{package}/py.typed" in names, f"{package} is not typed"


def check_run(wheel: Path, folder: Path) -> None:
    """Install the wheel alone and rehost a page with it."""
    home = folder / "venv"
    venv.create(home, with_pip=True)
    python = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
    entries = "; ".join(
        f"assert {names!r} <= {{entry.name for entry in entry_points(group={group!r})}}, {group!r}"
        for group, names in ENTRIES.items()
    )
    subprocess.run([python, "-c", f"from importlib.metadata import entry_points; {entries}"], check=True)
    site = folder / "site"
    site.mkdir()
    # A whole picture of one pixel.
    pixel = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
        "0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
    )
    (site / "a.png").write_bytes(pixel)
    (site / "index.html").write_text('<img src="a.png">')
    subprocess.run([python, "-m", "imghost", "rehost", "site", "--host", "directory"], cwd=folder, check=True)
    assert "_imghost/" in (site / "index.html").read_text()


def main() -> None:
    """Build and check."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = check_same(folder)
        check_names(wheel)
        check_run(wheel, folder)
    print(f"the wheel is whole: {wheel.name}")


if __name__ == "__main__":
    main()
