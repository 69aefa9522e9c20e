"""Builds the wheel and checks it in an environment of its own: packages, entry points, licence, a first run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("imghost", "mkdocs_imghost", "sphinx_imghost")
ENTRIES = {
    "console_scripts": {"imghost"},
    "imghost.hosts": {"directory", "imageupload.io", "img.pro", "img402", "s3"},
    "markdown.extensions": {"imghost"},
    "mkdocs.plugins": {"imghost"},
    "properdocs.plugins": {"imghost"},
}


def built(folder: Path) -> Path:
    """Build the wheel from the checkout."""
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("imghost-*.whl")
    return wheel


def check_names(wheel: Path) -> None:
    """Check what the wheel holds, and that it holds nothing else."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES), tops
    assert [name for name in names if name.endswith("/licenses/LICENSE")], "no licence in the wheel"
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
        wheel = built(folder)
        check_names(wheel)
        check_run(wheel, folder)
    print(f"the wheel is whole: {wheel.name}")


if __name__ == "__main__":
    main()
