"""Commands that guard a build: one that checked nothing, or not all, is red."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from doubles.server import Fault
from sites import small_site, tree, write

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

    def test_nothing_to_verify_is_no_success(self, project, capsys):
        assert main(["verify"]) == 1
        assert "nothing was verified: imghost.lock has no records" in capsys.readouterr().out


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
