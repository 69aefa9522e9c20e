"""The command line as a user meets it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from doubles.imgpro import EXHAUSTED, VERIFIED, ImgPro
from sites import picture, small_site, tree, write

from imghost.cli.main import main


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    small_site(tmp_path / "site")
    return tmp_path


def fails(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """Run a command that must fail with one line; gives the line."""
    capsys.readouterr()
    assert main([*arguments]) == status
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.count("\n") == 1, err
    return err


class TestConfiguration:
    def test_toml_file_is_read_and_flags_count_more(self, project, capsys):
        write(project, {"imghost.toml": 'host = "img.pro"\nfrozen = true\n[options]\nnamespace = "docs"\n'})
        assert main(["plan", "site", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["host"] == "img.pro"
        assert main(["plan", "site", "--json", "--host", "directory", "--config", "none.toml"]) == 2
        write(project, {"other.toml": 'host = "directory"\n'})
        assert main(["plan", "site", "--json", "--config", "other.toml"]) == 0
        assert '"host": "directory"' in capsys.readouterr().out

    def test_pyproject_table_is_read(self, project, capsys):
        write(project, {"pyproject.toml": '[tool.imghost]\nhost = "directory"\n'})
        assert main(["plan", "site", "--json"]) == 0
        assert '"host": "directory"' in capsys.readouterr().out

    def test_paths_follow_the_configuration_and_on_the_command_line_the_current_folder(self, project, capsys):
        write(project, {"conf/imghost.toml": 'host = "directory"\nreport = "out/report.json"\ncache_dir = "c"\n'})
        assert main(["rehost", "site", "--config", "conf/imghost.toml"]) == 0
        assert (project / "conf/out/report.json").is_file()
        assert (project / "conf/c").is_dir()
        assert main(["rehost", "site", "--config", "conf/imghost.toml", "--report", "here.html"]) == 0
        assert "<!doctype html>" in (project / "here.html").read_text("utf-8")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["rehost", "nowhere"], "there is no folder 'nowhere'"),
            (["rehost", "site", "--host", "imgpro"], "did you mean 'img.pro'?"),
            (["rehost", "site", "--retention", "soon"], "error: retention should be"),
            (["plan", "site", "--max-cost", "abc"], "error: max_cost should be US dollars, 0 or more, not 'abc'"),
            (["rehost", "site", "--option", "tier"], "KEY=VALUE"),
            (["rehost", "site", "--host", "img402", "--option", "teir=free"], "did you mean 'tier'?"),
            (["rehost", "site", "--references", "imgs"], "'imgs'"),
            (["rehost", "site", "--config", "none.toml"], "none.toml"),
            (
                ["rehost", "site", "--host", "directory", "--report", "report.pdf"],
                "error: report should end in .json or .html",
            ),
            (["rehost", "site", "--host", "directory", "--option", "path=../.."], "'path'"),
        ],
    )
    def test_wrong_options_are_one_line(self, project, capsys, arguments, said):
        assert said in fails(capsys, *arguments)

    def test_wrong_toml_is_one_line(self, project, capsys):
        write(project, {"imghost.toml": "host = \n"})
        assert "imghost.toml is not valid TOML" in fails(capsys, "rehost", "site")

    def test_api_url_off_the_hosts_origin_is_refused_with_a_key(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        assert "api_url" in fails(capsys, "rehost", "site", "--option", "api_url=https://evil.test/v1")

    def test_usage_errors_exit_with_2(self, project, capsys):
        assert main(["rehost"]) == 2
        assert main(["upload", "site"]) == 2
        assert main([]) == 2
        assert main(["--version"]) == 0


class TestPlanAndCheck:
    def test_plan_changes_nothing_and_says_what_would_be(self, project, capsys):
        before = tree(project / "site")
        assert main(["plan", "site", "--host", "img.pro"]) == 0
        shown = capsys.readouterr().out
        assert "\nupload   3 images, 316 B\n" in shown
        assert "no credential for img.pro" in shown
        assert "remove_local" in shown
        assert tree(project / "site") == before
        assert not (project / "imghost.lock").exists()

    def test_plan_asks_for_the_quota_only(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        with ImgPro("upload") as host:
            assert main(["plan", "site", "--json", "--option", f"api_url={host.api_url}"]) == 0
            assert [request.method for request in host.server.requests()] == ["GET"]
        assert json.loads(capsys.readouterr().out)["quota"]["remaining"] is not None

    def test_check_tells_whether_the_lock_covers_the_site(self, project, capsys, monkeypatch):
        assert main(["check", "site", "--host", "img.pro"]) == 1
        assert "images/0.png" in capsys.readouterr().out
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        with ImgPro("images") as host:
            where = ["--option", f"api_url={host.api_url}"]
            assert main(["rehost", "site", *where]) == 0
            monkeypatch.delenv("IMGPRO_API_KEY")
            assert main(["check", "site", *where]) == 0
            write(project / "site", {"images/2.png": picture(77)})
            assert main(["check", "site", *where]) == 1

    def test_status_counts_records_by_host(self, project, capsys, monkeypatch):
        assert main(["status"]) == 0
        assert "no records yet" in capsys.readouterr().out
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        with ImgPro("images") as host:
            main(["rehost", "site", "--option", f"api_url={host.api_url}"])
        capsys.readouterr()
        assert main(["status", "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)["hosts"]
        assert (row["host"], row["records"], row["permanent"]) == ("img.pro", 3, 3)

    def test_hosts_lists_each_installed_host(self, project, capsys):
        assert main(["hosts"]) == 0
        shown = capsys.readouterr().out
        for name in ("directory", "img.pro", "img402"):
            assert name in shown
        assert main(["hosts", "--json"]) == 0


class TestCaps:
    def test_over_max_uploads_nothing_at_all_is_uploaded(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        with ImgPro("images") as host:
            where = ["--option", f"api_url={host.api_url}"]
            assert main(["rehost", "site", *where, "--max-uploads", "2"]) == 1
            assert host.uploads == []
            assert "set max_uploads: 3" in capsys.readouterr().err
            assert main(["rehost", "site", *where, "--max-uploads", "3"]) == 0

    def test_used_up_quota_is_one_warning_with_the_link(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", EXHAUSTED)
        with ImgPro("upload") as host:
            assert main(["rehost", "site", "--option", f"api_url={host.api_url}"]) == 0
            err = capsys.readouterr().err
        assert err.count("warning") == 1
        assert "https://img.pro/" in err


class TestRemoveLocal:
    def test_copies_that_nothing_names_go_and_the_others_stay(self, project, capsys):
        write(project / "site", {"app.js": "load('images/1.png')"})
        report = self.rehost(capsys)
        assert report["removed"]["files"] == 3
        assert not (project / "site/images/0.png").exists()
        assert not (project / "site/images/copy.png").exists()
        assert (project / "site/images/1.png").exists()

    def test_next_run_on_the_same_site_leaves_the_same_pages(self, project, capsys):
        self.rehost(capsys)
        first = tree(project / "site")
        report = self.rehost(capsys)
        assert tree(project / "site") == first
        assert report["references"]["rewritten"] == 5

    def rehost(self, capsys) -> dict:
        capsys.readouterr()
        assert main(["rehost", "site", "--host", "directory", "--remove-local", "--json"]) == 0
        return json.loads(capsys.readouterr().out)


class TestLock:
    @pytest.mark.parametrize(
        "broken", ["<<<<<<< HEAD\n", "{\n", '{"sha256": "x"}\n', '{"imghost_lock": 2, "host": null}\n']
    )
    def test_broken_line_is_named_before_any_request(self, project, capsys, monkeypatch, broken):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        write(project, {"imghost.lock": '{"imghost_lock": 1, "host": "img.pro"}\n' + broken})
        with ImgPro("images") as host:
            assert "line 2" in fails(capsys, "rehost", "site", "--option", f"api_url={host.api_url}")
            assert host.server.requests() == []

    def test_record_of_another_origin_is_not_used(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        with ImgPro("images") as host:
            main(["rehost", "site", "--option", f"api_url={host.api_url}"])
        monkeypatch.delenv("IMGPRO_API_KEY")
        shutil.rmtree(project / "site")
        small_site(project / "site")
        capsys.readouterr()
        assert main(["rehost", "site", "--host", "img.pro"]) == 0
        printed = capsys.readouterr()
        assert "3 records in the lock have a URL that is not one of img.pro's images" in printed.err
        assert b"127.0.0.1" not in (project / "site/index.html").read_bytes()

    def test_uploads_in_ci_ask_to_commit_the_lock(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        monkeypatch.setenv("CI", "true")
        with ImgPro("images") as host:
            assert main(["rehost", "site", "--option", f"api_url={host.api_url}"]) == 0
        err = capsys.readouterr().err
        lines = (project / "imghost.lock").read_text().splitlines()[1:]
        warning = (
            "imghost: warning: 3 records are new: commit imghost.lock, or the next build uploads these images again"
        )
        marks = ("-----BEGIN imghost.lock-----", "-----END imghost.lock-----")
        assert err.splitlines()[-6:] == [f"{warning}; the lines follow", marks[0], *lines, marks[1]]

    def test_new_lines_are_folded_on_github_and_asked_for_elsewhere(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        with ImgPro("images") as host:
            where = ["--option", f"api_url={host.api_url}"]
            monkeypatch.setenv("CI", "true")
            monkeypatch.setenv("GITHUB_ACTIONS", "true")
            assert main(["rehost", "site", *where]) == 0
            lines = capsys.readouterr().err.splitlines()
            assert (lines[-7], lines[-1]) == ("::group::imghost.lock", "::endgroup::")
            monkeypatch.delenv("CI")
            write(project / "site", {"images/1.png": picture(71)})
            assert main(["rehost", "site", *where]) == 0
            assert capsys.readouterr().err.splitlines()[-1] == "imghost: commit imghost.lock: it has 1 new record"
            assert main(["rehost", "site", *where]) == 0
            assert capsys.readouterr().err == ""

    def test_lock_that_git_ignores_is_said(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        monkeypatch.delenv("CI", raising=False)
        subprocess.run(["git", "init", "-q"], check=True)
        write(project, {".gitignore": "*.lock\n"})
        with ImgPro("images") as host:
            assert main(["rehost", "site", "--option", f"api_url={host.api_url}"]) == 0
        said = "imghost: imghost.lock has 3 new records and git ignores it: take it out of .gitignore, and commit it"
        assert capsys.readouterr().err.splitlines()[-1] == said

    def test_images_that_a_lost_lock_had_are_found_again_and_not_announced(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        with ImgPro("images") as host:
            where = ["--option", f"api_url={host.api_url}"]
            assert main(["rehost", "site", *where]) == 0
            shutil.rmtree(project / "site")
            small_site(project / "site")
            (project / "imghost.lock").unlink()
            capsys.readouterr()
            assert main(["rehost", "site", *where]) == 0
            printed = capsys.readouterr()
            assert "uploading" not in printed.err
            assert "3 found at the host again" in printed.out
            assert "uploaded" not in printed.out
            assert len(host.uploads) == 3


def test_auto_without_anything_is_an_information(project, capsys):
    assert main(["rehost", "site", "--strict"]) == 0
    assert "warning" not in capsys.readouterr().err


def test_module_runs_as_the_command(project):
    done = subprocess.run([sys.executable, "-m", "imghost", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("imghost ")


class TestWhatPlanPrints:
    """Lists first, totals after them; all in a pipe, twenty on a terminal."""

    def test_bill_of_a_paid_host_and_what_others_would_take(self, project, capsys):
        assert main(["plan", "site", "--host", "img402", "--max-cost", "5"]) == 0
        shown = capsys.readouterr().out
        assert "\nhost     img402, permanently\nupload   3 images, 316 B, $3.00 at $1.00 each\n" in shown
        assert "\nbudget   max_cost $5.00; $0.00 paid, $0.00 open\n" in shown
        (other,) = [line for line in shown.splitlines() if line.startswith("else ")]
        assert other.startswith(
            "else     $0.03 for a year with tier=1-year; $0.00 for 7 days with tier=free; or another"
        )
        assert "img.pro (by plan)" in other
        assert main(["plan", "site", "--host", "img402", "--json"]) == 0
        others = json.loads(capsys.readouterr().out)["alternatives"]
        assert {"host": "img402", "set": "tier=1-year", "cost": "0.03", "life": "for a year"} in others

    def test_images_stand_largest_first_with_the_pages_that_show_them(self, project, capsys):
        write(project / "site", {"images/1.png": picture(1, (90, 90)), "x.html": '<img src="images/1.png">'})
        assert main(["plan", "site", "--host", "img.pro"]) == 0
        head, first, *_ = capsys.readouterr().out.splitlines()
        assert head.split() == ["action", "size", "pages", "image"]
        assert first.split()[-2:] == ["2", "images/1.png"]

    def test_nothing_to_upload_is_one_line(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        with ImgPro("images") as host:
            where = ["--option", f"api_url={host.api_url}"]
            assert main(["rehost", "site", *where]) == 0
            capsys.readouterr()
            assert main(["plan", "site", *where]) == 0
        assert capsys.readouterr().out == "nothing to upload: 4 images have a URL on img.pro\n"

    def test_site_is_measured_with_and_without_its_copies(self, project, capsys):
        assert main(["plan", "site", "--host", "img.pro", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        now = sum(path.stat().st_size for path in (project / "site").rglob("*") if path.is_file())
        copies = sum(path.stat().st_size for path in (project / "site/images").iterdir())
        assert found["site_bytes"] == {"now": now, "after": now - copies}


def test_status_says_when_records_end_and_what_the_lock_has(project, capsys):
    expires = (datetime.now(UTC) + timedelta(days=9)).replace(microsecond=0)
    record = {
        "sha256": "0" * 64, "host": "img402", "url": "https://i.img402.dev/a.png", "id": "a", "variant": "",
        "bytes": 21_500_000, "media_type": "image/png", "width": 1, "height": 1, "uploaded": "2026-01-02T03:04:05Z",
        "expires": expires.isoformat().replace("+00:00", "Z"),
    }  # fmt: skip
    lasting = record | {"sha256": "1" * 64, "url": "https://i.img402.dev/b.png", "id": "b", "expires": None}
    lines = ['{"imghost_lock": 1, "host": "img402"}', json.dumps(record), json.dumps(lasting)]
    write(project, {"imghost.lock": "\n".join(lines) + "\n"})
    assert main(["status"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "host    records     size  permanent  expiring  expired  next expiry",
        f"img402        2  43.0 MB          1         1        0  {expires.date()}, in 9 days",
        "",
        "lock     imghost.lock, 2 records, last published to img402",
    ]


def test_hosts_say_how_long_images_live_and_what_is_missing(project, capsys, monkeypatch):
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    monkeypatch.delenv("IMG402_PRIVATE_KEY", raising=False)
    assert main(["hosts"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[0] == "host"
    assert [part.strip() for part in re.split(r"  +", lines[1])] == [
        "directory", "any", "as long as the folder", "none", "none needed",
    ]  # fmt: skip
    assert any(re.match(r"img\.pro +70 MB +permanently, 30 days unkeyed +by plan +present$", line) for line in lines)
    assert any(line.strip() == "png jpg gif webp; set IMG402_PRIVATE_KEY" for line in lines)
