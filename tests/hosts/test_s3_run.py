"""Whole runs with S3-compatible storage, through the command line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from doubles.s3 import VARIABLES, Storage
from sites import small_site, write

from imghost.cli.main import main


@pytest.mark.usefixtures("credential")
class TestCommand:
    """The whole run, through the command line."""

    @pytest.fixture
    def project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        site = small_site(tmp_path / "site")
        write(site, {"d.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="3"/>'})
        write(site, {"draw/index.html": '<img src="../d.svg">'})
        return tmp_path

    @staticmethod
    def run(storage: Storage, capsys: pytest.CaptureFixture[str], status: int = 0) -> dict[str, Any]:
        options = {"bucket": "images", "prefix": "docs", "base_url": storage.base_url, "endpoint_url": storage.url}
        given = [text for name, value in options.items() for text in ("--option", f"{name}={value}")]
        capsys.readouterr()
        assert main(["rehost", "site", "--host", "s3", "--json", *given]) == status
        printed = capsys.readouterr()
        assert "canary" not in (printed.out + printed.err).lower()
        return {**json.loads(printed.out), "err": printed.err} if printed.out else {"err": printed.err}

    def test_each_image_is_uploaded_once_and_shown_from_the_bucket(
        self, project: Path, storage: Storage, capsys: pytest.CaptureFixture[str]
    ) -> None:
        report = self.run(storage, capsys)
        assert report["images"] == {"found": 5, "cached": 1, "uploaded": 4, "kept": 0, "failed": 0}
        assert report["requests"] == len(storage.log)
        assert len(storage.objects()) == 4
        page = (project / "site/draw/index.html").read_text()
        assert f'<img src="{storage.base_url}docs/' in page
        assert '.svg">' in page
        lock = (project / "imghost.lock").read_text()
        assert '"host": "s3"' in lock
        assert "canary" not in lock.lower()

    def test_a_second_run_makes_no_request(
        self, project: Path, storage: Storage, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.run(storage, capsys)
        storage.log.clear()
        report = self.run(storage, capsys)
        assert (report["images"]["uploaded"], report["requests"], storage.log) == (0, 0, [])

    def test_a_lost_lock_and_cache_upload_nothing_twice(
        self, project: Path, storage: Storage, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.run(storage, capsys)
        before = {key: found["LastModified"] for key, found in storage.objects().items()}
        lock = (project / "imghost.lock").read_text()
        (project / "imghost.lock").unlink()
        shutil.rmtree(project / ".cache")
        shutil.rmtree(project / "site")
        small_site(project / "site")
        self.run(storage, capsys)
        assert {key: found["LastModified"] for key, found in storage.objects().items()} == before
        urls = [json.loads(line)["url"] for line in lock.splitlines()[1:]]
        again = [json.loads(line)["url"] for line in (project / "imghost.lock").read_text().splitlines()[1:]]
        assert set(again) <= set(urls)

    def test_without_a_credential_the_site_stays_local_and_nothing_is_sent(
        self, project: Path, storage: Storage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in VARIABLES:
            monkeypatch.delenv(name)
        assert self.run(storage, capsys)["images"]["kept"] == 5
        assert storage.log == []

    def test_without_the_extra_one_line_says_what_to_install(
        self, project: Path, storage: Storage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "boto3", None)
        assert 'pip install "imghost[s3]"' in self.run(storage, capsys, status=2)["err"]
        assert storage.log == []
