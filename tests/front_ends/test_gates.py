"""Commands that guard a build: one that checked nothing, or not all, is red."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from doubles.server import Fault
from sites import picture, small_site, tree, write

from imghost.cli.main import main


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    small_site(tmp_path / "site")
    return tmp_path


@pytest.fixture
def published(project, monkeypatch, capsys):
    """A project whose images are on img.pro, with the host's options in its configuration."""
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    with ImgPro("images") as host:
        write(project, {"imghost.toml": f'host = "img.pro"\n[options]\napi_url = "{host.api_url}"\n'})
        assert main(["rehost", "site", "--quiet"]) == 0
        capsys.readouterr()
        yield host


class TestVerify:
    def test_all_alive_is_green(self, published, capsys):
        assert main(["verify"]) == 0
        assert capsys.readouterr().out.endswith("3 alive\n")

    @pytest.mark.parametrize(
        ("typed", "said"),
        [
            (["--option", "namespase=docs"], "option 'namespase' is unknown; did you mean 'namespace'?"),
            (["--host", "imgpro"], "no host named 'imgpro' is installed; did you mean 'img.pro'?"),
            (["--host", "auto", "--option", "apiurl=x"], "option 'apiurl' is unknown; did you mean 'api_url'?"),
            (["--timeout", "soon"], "timeout should be"),
        ],
    )
    def test_a_typo_in_the_settings_is_wrong_usage(self, published, capsys, typed, said):
        assert main(["verify", *typed]) == 2
        assert said in capsys.readouterr().err

    def test_records_that_the_settings_do_not_accept_are_no_success(self, published, project, capsys):
        write(project, {"imghost.toml": 'host = "img.pro"\n'})
        assert main(["verify"]) == 1
        printed = capsys.readouterr()
        assert "3 records with a URL that these settings do not accept were not fetched" in printed.err
        assert "nothing was verified" in printed.out

    def test_records_of_a_host_that_cannot_be_opened_are_no_success(self, published, project, capsys):
        lines = (project / "imghost.lock").read_text().splitlines()
        other = json.loads(lines[1]) | {"host": "s3", "url": "https://b.test/x.png"}
        write(project, {"imghost.lock": "\n".join([*lines, json.dumps(other)]) + "\n"})
        assert main(["verify", "--json"]) == 1
        printed = capsys.readouterr()
        assert "1 record of s3 was not fetched" in printed.err
        found = json.loads(printed.out)
        assert (found["counts"], found["skipped"]) == ({"alive": 3}, 1)

    def test_a_host_that_is_down_is_no_success(self, published, capsys):
        published.server.pick = lambda request: Fault.RESET_BEFORE_BODY
        assert main(["verify"]) == 1
        assert "3 unknown" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("host", "why"),
        [
            ("auto", "imghost.lock has no records yet; build once with a credential in the environment"),
            (
                "directory",
                "imghost.lock has no records, and needs none: what the host 'directory' has stands in the site",
            ),
        ],
    )
    def test_nothing_to_verify_is_no_success_and_says_why(self, project, capsys, host, why):
        assert main(["verify", "--host", host]) == 1
        assert f"nothing was verified: {why}" in capsys.readouterr().out
        assert main(["status", "--host", host]) == 0
        assert why in capsys.readouterr().out


class TestFolders:
    """A folder without a page is the wrong one, whatever the command."""

    @pytest.mark.parametrize(
        "command",
        [
            ["rehost"], ["plan"], ["check"], ["adopt"], ["restore"], ["audit"], ["migrate", "--to", "directory"],
            ["prune", "--keep", "site", "--keep"], ["verify", "--site"],
        ],
    )  # fmt: skip
    @pytest.mark.parametrize(
        "files", [{"index.md": "# Home", "a.png": "x"}, {}, {"page.html.txt": "", ".git/x.html": ""}]
    )
    def test_it_is_wrong_usage_and_nothing_is_touched(self, project, capsys, command, files):
        (project / "docs").mkdir()
        write(project / "docs", files)
        before = tree(project)
        assert main([*command, "docs"]) == 2
        err = capsys.readouterr().err
        where = "name the folder that your generator writes, such as site, public or _build/html"
        assert err == f"imghost: error: there is no page in 'docs'; {where}\n"
        assert tree(project) == before

    def test_pages_by_other_endings_count(self, project, capsys):
        write(project / "old", {"A.HTM": '<img src="a.png">'})
        assert main(["plan", "old", "--host", "directory"]) == 0


class TestAfterAPlugin:
    """The commands in a project whose options stand in the generator's own configuration."""

    def test_every_command_works_without_a_flag(self, published, project, capsys):
        options = f"{{host: img.pro, options: {{api_url: '{published.api_url}', namespace: docs}}}}"
        (project / "imghost.toml").unlink()
        write(project, {"mkdocs.yml": f"site_name: x\nplugins: [imghost: {options}]\n"})
        before = tree(project / "site")
        for command in [
            "rehost site",
            "check site",
            "verify",
            "status",
            "prune --keep site",
            "plan site",
            "adopt site",
        ]:
            assert main(command.split()) == 0, command
            assert "the options are those of mkdocs.yml" in capsys.readouterr().err
        assert tree(project / "site") == before

    def test_quiet_says_nothing_where_all_is_well(self, published, project, capsys):
        shutil.rmtree(project / "site")
        small_site(project / "site")
        assert main(["rehost", "site", "-q"]) == 0
        assert capsys.readouterr() == ("", "")
        assert main(["plan", "site", "--quiet"]) == 0
        assert capsys.readouterr().out


class TestRequire:
    """An image that could move and has no URL at the end is an error, where that is asked for."""

    @pytest.mark.parametrize(
        ("typed", "reason"),
        [
            (["--host", "img.pro"], "no credential for img.pro is in the environment (IMGPRO_API_KEY)"),
            ([], "no host is chosen and no credential is in the environment"),
            (["--host", "img.pro", "--frozen"], "`frozen` is set and the lock has no record"),
        ],
    )
    def test_a_missing_secret_does_not_pass_unseen(self, project, capsys, typed, reason):
        assert main(["rehost", "site", *typed]) == 0
        capsys.readouterr()
        assert main(["rehost", "site", "--require", *typed]) == 1
        *_, last = capsys.readouterr().err.splitlines()
        named = "(images/0.png, images/1.png, images/2.png and 1 more)"
        assert last.startswith(f"imghost: error: `require` is set and 4 images have no URL {named}: {reason}")

    def test_a_pull_request_is_no_excuse(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        monkeypatch.setenv("GITHUB_EVENT_NAME", "pull_request")
        assert main(["rehost", "site", "--require"]) == 1
        assert "a pull request of GitHub uploads nothing" in capsys.readouterr().err

    def test_one_refused_image_is_enough(self, published, project, capsys):
        write(project / "site", {"images/1.png": picture(91)})
        published.server.pick = lambda request: Fault.RESET_BEFORE_BODY if request.method == "POST" else None
        assert main(["rehost", "site", "--require", "--retries", "1"]) == 1
        assert "1 image has no URL (images/1.png): " in capsys.readouterr().err

    def test_what_stays_by_a_rule_or_a_wish_is_no_lack(self, published, project, capsys):
        drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
        write(project / "site", {"x.svg": drawing, "s.html": '<img src="x.svg"><img src="images/9.png">'})
        write(project / "site", {"images/9.png": picture(9)})
        assert main(["rehost", "site", "--require", "--exclude", "images/9.png"]) == 0

    def test_mkdocs_and_sphinx_end_the_build(self, tmp_path):
        write(
            tmp_path,
            {"docs/index.md": "![a](a.png)\n", "docs/a.png": picture(1), "index.rst": ".. image:: docs/a.png\n"},
        )
        write(tmp_path, {"mkdocs.yml": "site_name: x\nplugins: [imghost: {host: img.pro, require: true}]\n"})
        write(
            tmp_path, {"conf.py": "extensions = ['sphinx_imghost']\nimghost_host = 'img.pro'\nimghost_require = True\n"}
        )
        for command in (["mkdocs", "build", "-q"], ["sphinx", "-q", "-b", "html", ".", "out"]):
            done = subprocess.run(
                [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
            )
            assert done.returncode != 0
            assert "`require` is set and 1 image has no URL" in done.stderr


class TestCheck:
    def test_a_plugin_that_was_left_out_is_seen(self, project, capsys):
        """Zensical drops it without a word: what `directory` would have collected is not there."""
        write(project, {"mkdocs.yml": "site_name: x\nplugins: [imghost: {host: directory}]\n"})
        assert main(["check", "site"]) == 1
        assert capsys.readouterr().out.endswith(
            "0 images are covered, 4 not: build with the plugin, or run `imghost rehost` after the build\n"
        )
        assert main(["rehost", "site"]) == 0
        assert main(["check", "site"]) == 0


class TestHostsOwnOptions:
    """An option of the host's, written where imghost's own stand, is told its place."""

    @pytest.mark.parametrize(
        ("files", "typed", "said"),
        [
            ({"imghost.toml": 'tier = "free"\n'}, [], "imghost.toml: option 'tier' is one of img402: put it under 'options'"),
            ({"mkdocs.yml": "plugins: [imghost: {bucket: b}]"}, [], "mkdocs.yml: option 'bucket' is one of s3: put it under 'options'"),
            ({"conf.py": "imghost_tier = 'free'"}, [], "conf.py: option 'imghost_tier' is one of img402: put it under 'imghost_options'"),
            ({"imghost.toml": 'teir = "free"\n'}, [], "option 'teir' is unknown"),
            ({}, ["--tier", "free"], "there is no option '--tier'; it is a host's own, so write --option tier=..."),
            ({}, ["--api-url", "x"], "it is a host's own, so write --option api_url=..."),
        ],
    )  # fmt: skip
    def test_it_is(self, project, capsys, files, typed, said):
        write(project, files)
        assert main(["status", *typed]) == 2
        assert said in capsys.readouterr().err

    def test_sphinx_says_it_too(self, tmp_path):
        write(tmp_path, {"conf.py": "extensions = ['sphinx_imghost']\nimghost_bucket = 'b'\n", "index.rst": "x\n=\n"})
        command = [sys.executable, "-m", "sphinx", "-b", "html", ".", "out"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
        assert "option 'imghost_bucket' is one of s3: put it under 'imghost_options'" in done.stderr
        assert done.returncode == 2
