"""`imghost audit`: what it prints in each form, and its exit status, as people and CI systems call it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sites import picture, write

from imghost.cli.main import main

SITE = {
    "index.html": '<p>\n<img src="a.png">\n<img src="gone.png" alt="x">\n<img src="b.png" alt="B">',
    "a.png": picture(1),
    "b.png": picture(2),
    "old.png": picture(3),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "site", SITE)
    return tmp_path


def test_findings_are_lines_that_editors_jump_to_and_the_total_comes_last(project, capsys):
    assert main(["audit", "site"]) == 1
    out, err = capsys.readouterr()
    assert out == (
        "index.html:3: broken gone.png is not in the site\n"
        "index.html:2: alt a.png has none\n"
        f"old.png: unused {len(SITE['old.png'])} B, no page names it\n"
        "\n"
        "3 findings: 1 broken, 1 alt, 1 unused; exit 1 for broken and alt\n"
    )
    assert err == ""


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ([], 1),
        (["--fail", "alt"], 1),
        (["--fail", "large"], 0),
        (["--fail", "large", "--fail", "unused"], 1),
        (["--fail", "large,unused"], 1),
        (["--fail", "none"], 0),
    ],
)
def test_chosen_kinds_decide_the_exit_status(project, options, status):
    assert main(["audit", "site", *options]) == status


def test_clean_site_has_nothing_to_mend(project, capsys):
    write(project / "site", {"index.html": '<img src="a.png" alt=A><img src="b.png" alt=""><img src="old.png" alt=x>'})
    assert main(["audit", "site"]) == 0
    assert capsys.readouterr().out == "3 images in 1 page: nothing to mend\n"


@pytest.mark.parametrize("options", [["--json"], ["--format", "json"]])
def test_json_is_one_value(project, capsys, options):
    assert main(["audit", "site", *options]) == 1
    read = json.loads(capsys.readouterr().out)
    assert [finding["kind"] for finding in read["findings"]] == ["broken", "alt", "unused"]


def test_sarif_names_files_from_the_current_folder(project, capsys):
    assert main(["audit", "site", "--format", "sarif"]) == 1
    [run] = json.loads(capsys.readouterr().out)["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "site/index.html"}, "region": {"startLine": 3}}


def test_github_annotates_the_source_where_it_is_found(project, capsys):
    write(project, {"docs/index.md": "# Title\n\n![x](gone.png)\n"})
    assert main(["audit", "site", "--format", "github"]) == 1
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("::error file=docs/index.md,line=3,title=imghost audit%3A broken::gone.png is not")
    assert second.startswith("::error file=site/index.html,line=2,title=imghost audit%3A alt::a.png has none")


def test_records_of_the_lock_tell_of_hosted_images(project, capsys):
    expires = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    record = {
        "sha256": "0" * 64, "host": "img402", "url": "https://i.img402.dev/abc.png", "id": "abc", "variant": "",
        "bytes": 90000, "media_type": "image/png", "width": 1600, "height": 900, "uploaded": "2026-01-01T00:00:00Z",
        "expires": expires, "path": "img/a.png",
    }  # fmt: skip
    lines = ({"imghost_lock": 1, "host": "img402"}, record)
    write(project, {"imghost.lock": "".join(json.dumps(line) + "\n" for line in lines)})
    write(project / "site", {"index.html": '<img src="https://i.img402.dev/abc.png" width="400">'})
    assert main(["audit", "site", "--json", "--fail", "expiring"]) == 1
    findings = {finding["kind"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["alt"]["paths"] == findings["large"]["paths"] == findings["expiring"]["paths"] == ["img/a.png"]
    assert findings["large"]["text"] == "1,600 px wide, shown at 400 px in 1 page"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["audit", "empty"], "there is no page in 'empty'; name the folder that your generator writes"),
        (["audit", "gone"], "there is no folder 'gone'"),
        (
            ["audit", "site", "--fail", "brokn"],
            "--fail should be a kind of finding, not 'brokn'; did you mean 'broken'?",
        ),
        (["audit", "site", "--format", "webp"], "--format should be one of text, json, github, sarif, not 'webp'"),
        (["audit", "site", "--json", "--format", "sarif"], "are two forms; leave one of them out"),
    ],
)
def test_wrong_words_are_told_in_a_line(project, capsys, arguments, said):
    (project / "empty").mkdir()
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1


def test_help_tells_its_own_format_first(capsys):
    assert main(["audit", "--help"]) == 0
    own, _, rest = capsys.readouterr().out.partition("settings, over")
    assert "--format {text,json,github,sarif}" in own
    assert "{webp,avif}" not in rest
    assert "--site-url" in rest
