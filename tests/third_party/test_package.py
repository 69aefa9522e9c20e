"""A host by others, in a package of its own: installed by pip, then used like ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shelf_double import TOKEN, ShelfDouble

from imghost.testing import Fault, draw

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package and install it into a folder, without any network."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    for name in ("pyproject.toml", "imghost_shelf.py"):
        shutil.copyfile(HERE / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-index"]
    command = [*pip, "--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project's folder with a built site of two images and one that Shelf does not take."""
    site = tmp_path / "site"
    site.mkdir()
    shown = []
    for number, (media_type, ending) in enumerate([("image/png", "png"), ("image/jpeg", "jpg"), ("image/gif", "gif")]):
        (site / f"{number}.{ending}").write_bytes(draw(number, media_type))
        shown.append(f'<img src="{number}.{ending}">')
    (site / "index.html").write_text("\n".join(shown))
    return tmp_path


class Run:
    """The command line as a user has it, with the package beside imghost."""

    def __init__(self, packages: Path, folder: Path, token: str | None = TOKEN) -> None:
        self.folder = folder
        paths = [str(packages), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environ = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        if token:
            self.environ["SHELF_TOKEN"] = token

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "imghost", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=60)
        assert TOKEN not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def rehost(self, *arguments: str) -> dict[str, object]:
        done = self("rehost", "site", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found


@pytest.fixture
def run(installed: Path, project: Path) -> Run:
    return Run(installed, project)


@pytest.mark.long
def test_the_host_is_listed_with_its_limits_and_credential(run: Run) -> None:
    rows = json.loads(run("hosts", "--json").stdout)["hosts"]
    (row,) = (row for row in rows if row["host"] == "shelf")
    assert (row["formats"], row["max_bytes"], row["credential"]) == ("png jpg webp", "8 MB", "present")
    assert {"directory", "img.pro", "img402", "imageupload.io", "s3"} < {row["host"] for row in rows}


def test_a_site_is_rehosted_there_once(run: Run, project: Path) -> None:
    """The credential alone chooses the host, as with ours."""
    with ShelfDouble() as double:
        first = run.rehost("--option", f"api_url={double.url}", "--option", "board=manual")
        page = (project / "site/index.html").read_text()
        sent = len(double.log)
        second = run.rehost("--option", f"api_url={double.url}", "--option", "board=manual")
        assert len(double.log) == sent
    assert page.count(f"{double.url}/img/") == double.stored == 2
    assert '<img src="2.gif">' in page
    assert (first["host"], first["images"]["uploaded"], second["images"]["uploaded"]) == ("shelf", 2, 0)
    assert '"host": "shelf"' in (project / "imghost.lock").read_text()


def test_a_lost_answer_and_a_full_host_leave_a_whole_site(run: Run, project: Path) -> None:
    with ShelfDouble(room=1) as double:
        double.fail(Fault.LOST)
        done = run("rehost", "site", "--option", f"api_url={double.url}", "--concurrency", "1")
        page = (project / "site/index.html").read_text()
    assert (done.returncode, double.stored) == (0, 1)
    assert page.count(f"{double.url}/img/") == 1
    assert "shelf has no room left" in done.stderr
    assert "remove images, or choose another plan" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--option", "bord=x"], "'board'"),
        (["--option", "api_url=http://shelf.example"], "api_url"),
        (["--option", "api_url=https://evil.example"], "IMGHOST_ALLOW_API_URL"),
        (["--option", "board"], "KEY=VALUE"),
    ],
)
def test_a_wrong_option_is_one_line_before_anything_is_sent(run: Run, arguments: list[str], said: str) -> None:
    done = run("rehost", "site", "--host", "shelf", *arguments)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("usage:")]
    assert said in line


def test_a_misspelt_host_is_told_its_name(run: Run) -> None:
    done = run("rehost", "site", "--host", "shelv")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "did you mean 'shelf'" in done.stderr


def test_without_the_credential_the_site_stays_local(installed: Path, project: Path) -> None:
    before = (project / "site/index.html").read_bytes()
    with ShelfDouble() as double:
        run = Run(installed, project, token=None)
        run.rehost("--host", "shelf", "--option", f"api_url={double.url}")
        assert double.log == []
    assert (project / "site/index.html").read_bytes() == before
