"""Whole runs of the command line against imageupload.io's double."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from doubles.imageupload import FREE, PRO
from doubles.imageupload import ImageUpload as Double
from doubles.server import Fault
from sites import small_site

from imghost.cli.main import main


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project's folder with a built site of three images, as the current folder, and a key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGEUPLOAD_API_KEY", PRO)
    small_site(tmp_path / "site")
    return tmp_path


def run(double: Double, capsys: pytest.CaptureFixture[str], command: str = "rehost", *more: str) -> str:
    """Run a command on the site and give all that it prints."""
    where = [] if command == "prune" else ["site"]
    main([command, *where, "--option", f"api_url={double.api_url}", "--option", "folder=docs", *more])
    printed = capsys.readouterr()
    assert not any(key in printed.out + printed.err for key in (PRO, FREE))
    return printed.out + printed.err


def records(project: Path) -> list[dict[str, object]]:
    lines = (project / "imghost.lock").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines[1:]]


def test_a_site_is_rehosted_once_and_its_pages_name_the_images_themselves(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Double() as double:
        run(double, capsys)
        page = (project / "site" / "index.html").read_text()
        asked = len(double.server.log)
        run(double, capsys)
        assert len(double.server.log) == asked
    assert page.count(f"{double.api_url}/f/s") == 3
    assert {copy.expiration for copy in double.copies.values()} == {"forever"}
    assert {copy.folder for copy in double.copies.values()} == {"docs"}
    assert [(record["host"], record["expires"]) for record in records(project)] == [("imageupload.io", None)] * 3


def test_every_answer_lost_leaves_one_copy_of_each_image(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Double() as double:
        double.lose(*[Fault.CLOSE_AFTER_ROUTE] * 3)
        run(double, capsys)
    assert len(double.copies) == len(records(project)) == 3


def test_lost_records_are_adopted_without_an_upload(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Double() as double:
        run(double, capsys)
        before = records(project)
        (project / "imghost.lock").unlink()
        small_site(project / "site")
        subprocess.run([sys.executable, "-c", "import shutil; shutil.rmtree('.cache')"], check=True, cwd=project)
        sent = len(double.uploads)
        said = run(double, capsys, "adopt", "--host", "imageupload.io")
        assert (len(double.uploads), "3 adopted" in said) == (sent, True)
    assert [record["url"] for record in records(project)] == [record["url"] for record in before]


def test_a_free_plan_that_keeps_nothing_for_ever_leaves_the_site_as_it_was(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEUPLOAD_API_KEY", FREE)
    before = (project / "site" / "index.html").read_bytes()
    with Double() as double:
        said = run(double, capsys, "rehost", "--concurrency", "1")
    assert (project / "site" / "index.html").read_bytes() == before
    assert "retention: 30d" in said
    assert len(double.uploads) == 2
    assert not double.copies


def test_a_quota_that_does_not_suffice_uploads_what_it_allows_and_names_the_link(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEUPLOAD_API_KEY", FREE)
    with Double(used={FREE: 8}) as double:
        said = run(double, capsys, "rehost", "--retention", "30d")
    assert (len(double.copies), len(double.uploads)) == (2, 2)
    assert f"{double.api_url}/dashboard/profile#upgrade" in said


def test_the_key_goes_to_no_address_that_only_the_configuration_names(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("api_url", "mcp_url"):
        options = ["--option", f"{option}=https://evil.example/mcp"]
        assert main(["rehost", "site", "--host", "imageupload.io", *options]) == 2
        assert option in capsys.readouterr().err


def test_a_pull_request_uploads_nothing(project: Path) -> None:
    environ = os.environ | {"GITHUB_EVENT_NAME": "pull_request"}
    with Double() as double:
        command = [sys.executable, "-m", "imghost", "rehost", "site", "--option", f"api_url={double.api_url}"]
        done = subprocess.run(command, env=environ, cwd=project, capture_output=True, text=True)
    assert (done.returncode, double.server.log) == (0, [])


def test_two_builds_with_one_key_keep_the_pace_that_the_host_asks_both_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither knows of the other: what one has used up the other is refused, and both wait as they are told."""
    with Double(rate=4, span=1.0, retry_after="1") as double:
        builds = []
        for name in ("one", "two"):
            small_site(tmp_path / name / "site", 6)
            flags = ["--option", f"api_url={double.api_url}", "--option", f"folder={name}", "--retries", "9"]
            environ = os.environ | {"IMAGEUPLOAD_API_KEY": PRO}
            command = [sys.executable, "-m", "imghost", "rehost", "site", "--strict", *flags]
            pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
            builds.append(subprocess.Popen(command, cwd=tmp_path / name, env=environ, **pipes))
        ends = [build.communicate(timeout=60)[1] for build in builds]
        assert [build.returncode for build in builds] == [0, 0], ends
        assert len(double.copies) == 12
        assert len(double.uploads) > 12
        assert {copy.folder for copy in double.copies.values()} == {"one", "two"}
    for name in ("one", "two"):
        assert (tmp_path / name / "site/index.html").read_text("utf-8").count("/f/s") == 6
