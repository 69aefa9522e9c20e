"""What a written report tells beside the counts, after real runs on small sites: bytes, pages, findings, every image."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from sites import picture, write

from imghost.cli.main import main
from imghost.run.report_html import commit

DRAWING = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
SITE = {
    "index.html": "<title>Acme &amp; sons - Acme &amp; sons</title>\n<img src=img/a.png alt=A width=40><img src=img/gone.png alt=x>"
    '<img src=img/drawing.svg alt="">',
    "guide/index.html": '<img src="../img/a.png"><img src="../img/b.png" alt=B><img src="../img/kept.png" alt=K>',
    "img/a.png": picture(1, (300, 200)),
    "img/b.png": picture(2, (100, 100)),
    "img/kept.png": picture(3),
    "img/old.png": picture(4),
    "img/drawing.svg": DRAWING,
    "style.css": "h1 { color: red }",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    write(tmp_path / "site", SITE)
    return tmp_path


def run(*options: str, host: ImgPro | None = None, report: str = "r.json") -> dict[str, object] | str:
    where = ("--option", f"api_url={host.api_url}") if host else ("--host", "directory")
    assert main(["rehost", "site", "--report", report, "--exclude", "img/kept.png", *where, *options]) == 0
    text = Path(report).read_text("utf-8")
    return json.loads(text) if report.endswith(".json") else text


def sizes(site: Path) -> int:
    return sum(path.stat().st_size for path in site.rglob("*") if path.is_file())


def test_bytes_pages_and_findings_are_told(project):
    with ImgPro("images") as host:
        report = run(host=host)
        weights = {path: len(SITE[path]) for path in SITE}
        assert report["site_bytes"] == {
            "before": sizes(project / "site"),
            "after": sizes(project / "site"),
            "pages": sum((project / "site" / path).stat().st_size for path in SITE if not path.startswith("img/")),
            "unused": weights["img/old.png"],
        }
        a, b, kept, svg = (weights[f"img/{name}"] for name in ("a.png", "b.png", "kept.png", "drawing.svg"))
        assert report["by_page"] == [
            {"path": "guide/index.html", "images": 3, "bytes": a + b + kept, "hosted": a + b},
            {"path": "index.html", "images": 2, "bytes": a + svg, "hosted": a},
        ]
        kinds = {(finding["kind"], tuple(finding["paths"])) for finding in report["findings"]}
        assert kinds == {
            ("broken", ("img/gone.png",)),
            ("alt", ("img/a.png",)),
            ("unused", ("img/old.png",)),
        }
        assert all(finding.keys() == {"kind", "paths", "text", "remedy"} for finding in report["findings"])
        assert re.fullmatch(r"\d+\.\d+\.\d+.*", report["version"])
        assert report["commit"] is None


def test_removed_copies_make_the_site_lighter_than_before(project):
    before = sizes(project / "site")
    with ImgPro("images") as host:
        report = run("--remove-local", host=host)
        after, gone = sizes(project / "site"), len(SITE["img/a.png"]) + len(SITE["img/b.png"])
        assert report["site_bytes"]["after"] == after < before
        assert report["site_bytes"]["before"] == after + gone
        again = run("--remove-local", host=host)
        assert again["site_bytes"] == report["site_bytes"], "a warm build tells the same"
        assert again["requests"] == 0
        assert [finding["kind"] for finding in again["findings"]] == [it["kind"] for it in report["findings"]]


def test_page_shows_every_image_with_its_state(project):
    with ImgPro("images") as host:
        text = run(host=host, report="r.html")
        states = dict(re.findall(r'data-state="(\w+)".*?aria-controls="[^"]*">(?:<span class="dir">img/</span><wbr>)?([\w.]+)<',
                                 text, re.DOTALL))  # fmt: skip
        rows = re.findall(r'data-state="(\w+)".*?<wbr>([\w.]+)</button>', text, re.DOTALL)
        assert {name: state for state, name in rows} == {
            "a.png": "new", "b.png": "new", "kept.png": "local", "drawing.svg": "local", "old.png": "unused",
        }, states  # fmt: skip
        assert "<h1>2 of 4 images live on img.pro, and <code>remove_local</code> would make the site" in text
        assert "<b>Acme &amp; sons</b> · images" in text
        assert "1 reference leads nowhere" in text
        assert "as you asked" in text
        text = run(host=host, report="r.html")
        assert {state for state, _ in re.findall(r'data-state="(\w+)".*?<wbr>([\w.]+)</button>', text, re.DOTALL)} == {
            "hosted", "local", "unused"
        }  # fmt: skip
        assert "nothing new" in text


def test_without_a_credential_images_wait_for_one(project, monkeypatch):
    monkeypatch.delenv("IMGPRO_API_KEY")
    text = run("--host", "img.pro", report="r.html")
    assert "<h1>No image was moved: 2 wait for a build with a credential. <" in text


def test_directory_collects_and_makes_nothing_lighter(project):
    text = run(report="r.html")
    assert "are collected in _imghost" in text
    assert " on directory" not in text


def test_over_its_budget_it_says_what_it_would_take(project):
    with ImgPro("images") as host:
        options = ["--option", f"api_url={host.api_url}", "--max-uploads", "1", "--report", "r.html"]
        assert main(["rehost", "site", *options]) == 1
    text = Path("r.html").read_text("utf-8")
    assert re.search(r"<h1>3 images \(\d+ k?B\) would go to img.pro; nothing is sent yet\.", text)
    assert "thing needs you." in text or "things need you." in text


def test_versions_of_a_site_are_told_by_its_own_list(project):
    write(project / "site", {
        "versions.json": json.dumps([{"version": "2.0", "title": "2.0", "aliases": ["latest"]}, {"version": "../x"}, {"version": "1.0"}]),
        "2.0/index.html": "<img src=a.png alt=A>", "2.0/a.png": picture(7),
        "1.0/index.html": "<img src=a.png alt=A>", "1.0/a.png": picture(8),
    })  # fmt: skip
    with ImgPro("images") as host:
        text = run("--remove-local", host=host, report="r.html")
    rows = re.findall(
        r'<tr(?: class="sum")?><th scope="row">([\w.]+)(?: <small>(\w+)</small>)?</th>(?:<td class="n">([^<]*)</td>){4}',
        text,
    )
    assert [row[:2] for row in rows] == [("2.0", "latest"), ("1.0", ""), ("all", "")]


def test_build_without_a_report_gathers_nothing_for_one(project):
    """Neither the page's template nor the audit is loaded, nor a page parsed."""
    program = (
        "import sys; from imghost.cli.main import main; main(['rehost', 'site', '--host', 'directory'])\n"
        "print({'jinja2', 'bs4', 'imghost.run.audit', 'imghost.run.report_html'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


class TestCommit:
    def git(self, folder: Path, *arguments: str) -> str:
        settings = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *settings, *arguments], cwd=folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def test_git_tells_it(self, tmp_path):
        assert commit(tmp_path, {}) == ""
        self.git(tmp_path, "init", "-q")
        assert commit(tmp_path, {}) == ""
        self.git(tmp_path, "commit", "-q", "--allow-empty", "-m", "x")
        assert commit(tmp_path, {}) == self.git(tmp_path, "rev-parse", "HEAD")

    def test_ci_tells_it(self, tmp_path):
        assert commit(tmp_path, {"GITHUB_SHA": "8f31c2e"}) == "8f31c2e"
        assert commit(tmp_path, {"CI_COMMIT_SHA": "<script>"}) == ""


def test_report_that_cannot_be_written_is_a_warning(project, capsys):
    write(project, {"r.html/x": ""})
    assert main(["rehost", "site", "--host", "directory", "--report", "r.html"]) == 0
    assert "cannot be written" in capsys.readouterr().err


def test_lock_of_a_stranger_cannot_break_the_report(project):
    with ImgPro("images") as host:
        run(host=host)
        lines = (project / "imghost.lock").read_text("utf-8").splitlines()
        for odd in ("x", "NaN", "-1e999", ["1"], None):
            record = json.loads(lines[1]) | {"receipt": {"amount": odd}, "expires": None}
            (project / "imghost.lock").write_text("\n".join([lines[0], json.dumps(record), *lines[2:], ""]), "utf-8")
            run(host=host)
            run(host=host, report="r.html")


def test_times_are_in_utc(project):
    text = run(report="r.html")
    assert re.search(r"built \d{4}-\d\d-\d\d \d\d:\d\d UTC", text)
    assert datetime.strptime(re.search(r"built (\S+ \S+) UTC", text)[1], "%Y-%m-%d %H:%M")  # noqa: DTZ007
