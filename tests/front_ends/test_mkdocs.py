"""Real MkDocs and ProperDocs builds of small projects."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from sites import picture, tree, write

CONFIG = """
site_name: Small
site_url: https://x.test/small/
nav: [Home: {index}, Deep: {deep}]
{more}
plugins:
{plugins}
  - imghost:
      report: report.json
{options}
"""


def project(folder: Path, options: str = "host: directory", plugins: str = "", more: str = "") -> Path:
    """Write a small MkDocs project."""
    indented = "\n".join(f"      {line}" for line in options.splitlines())
    return write(
        folder,
        {
            "mkdocs.yml": CONFIG.format(
                options=indented, plugins=plugins, more=more, index="index.md", deep="deep/page.md"
            ),
            "docs/index.md": "# Home\n\n![one](img/one.png)\n\n![two](img/two.png#only-dark)\n",
            "docs/deep/page.md": '# Deep\n\n![one](../img/one.png)\n\n<a href="../../img/two.png">big</a>\n',
            "docs/img/one.png": picture(1),
            "docs/img/two.png": picture(2),
        },
    )


def build(folder: Path, *arguments: str, tool: str = "mkdocs", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a build as a user would."""
    command = [sys.executable, "-m", tool, "build", *arguments]
    return subprocess.run(
        command, cwd=folder, env=os.environ | environ, capture_output=True, text=True, check=False, timeout=100
    )


def report(folder: Path) -> dict[str, dict[str, int]]:
    return json.loads((folder / "report.json").read_text("utf-8"))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("tool", ["mkdocs", "properdocs"])
def test_build_moves_every_image_and_the_second_one_uploads_nothing(tmp_path, tool):
    project(tmp_path, more="theme: {name: material, font: false}" if tool == "properdocs" else "")
    if tool == "properdocs":
        shutil.move(tmp_path / "mkdocs.yml", tmp_path / "properdocs.yml")
    done = build(tmp_path, "--strict", tool=tool)
    assert done.returncode == 0, done.stderr
    assert report(tmp_path)["images"] == {"found": 2, "cached": 0, "uploaded": 2, "kept": 0, "failed": 0}
    assert report(tmp_path)["references"]["rewritten"] == 4
    first = tree(tmp_path / "site")
    assert build(tmp_path, "--strict", tool=tool).returncode == 0
    assert report(tmp_path)["images"]["uploaded"] == 0
    assert drop(tree(tmp_path / "site")) == drop(first)


def drop(files: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out what MkDocs itself dates."""
    return {
        path: re.sub(rb"Build Date UTC : [^\n]*", b"", content)
        for path, content in files.items()
        if not path.startswith("sitemap.xml")
    }


def test_build_with_a_host_keeps_records_and_the_next_asks_nobody(tmp_path):
    with ImgPro("images") as host:
        project(tmp_path, f"options:\n  api_url: {host.api_url}")
        done = build(tmp_path, IMGPRO_API_KEY=VERIFIED)
        assert done.returncode == 0, done.stderr
        assert len(host.copies) == 2
        count = len(host.server.requests())
        first = drop(tree(tmp_path / "site", ".html"))
        assert build(tmp_path, "--strict", IMGPRO_API_KEY=VERIFIED).returncode == 0
        assert len(host.server.requests()) == count
        assert drop(tree(tmp_path / "site", ".html")) == first
        done = build(tmp_path, "--strict")
        assert done.returncode == 0, done.stderr
        assert drop(tree(tmp_path / "site", ".html")) == first
        assert len((tmp_path / "imghost.lock").read_text().splitlines()) == 3


WATCHED = """
import atexit, sys
atexit.register(lambda: print("LOADED", sorted(name for name in sys.modules if "imghost" in name), file=sys.stderr))
"""


@pytest.mark.parametrize("theme", ["{name: material, font: false}", "mkdocs"])
def test_a_build_in_which_nothing_is_new_loads_nothing_that_decides(tmp_path, theme):
    """MkDocs' own themes write the moment of the build into a page, which is scanned."""
    with ImgPro("images") as host:
        project(tmp_path, f"options:\n  api_url: {host.api_url}", more=f"theme: {theme}")
        settings = tmp_path / "mkdocs.yml"
        settings.write_text(settings.read_text("utf-8").replace("      report: report.json\n", ""), "utf-8")
        write(tmp_path / "startup", {"sitecustomize.py": WATCHED})
        environ = {"IMGPRO_API_KEY": VERIFIED, "PYTHONPATH": str(tmp_path / "startup")}
        for _ in range(2):
            done = build(tmp_path, "--strict", **environ)
            assert done.returncode == 0, done.stderr
        asked, whole = len(host.server.requests()), done
        site = drop(tree(tmp_path / "site"))
        done = build(tmp_path, "--strict", **environ)
        assert done.returncode == 0, done.stderr
        assert "imghost.run.plan" in whole.stderr
        assert "imghost.run.plan" not in done.stderr
        assert len(re.findall(r"'[^']*imghost[^']*'", done.stderr)) < (20 if "material" in theme else 27)
        assert drop(tree(tmp_path / "site")) == site
        assert len(host.server.requests()) == asked

        def told(by: subprocess.CompletedProcess[str]) -> list[str]:
            return [line for line in by.stderr.splitlines() if "imghost" in line and "LOADED" not in line]

        assert told(done) == told(whole)
        assert any("4 references to 2 images in 2 pages point to img.pro" in line for line in told(done))
        (tmp_path / "docs/img/one.png").write_bytes(picture(5))
        done = build(tmp_path, "--strict", **environ)
        assert "uploaded" in done.stderr
        assert len(host.copies) == 3


def test_no_host_and_no_credential_is_an_information(tmp_path):
    project(tmp_path, "frozen: false")
    done = build(tmp_path, "--strict")
    assert done.returncode == 0, done.stderr
    assert "2 images stay local" in done.stderr
    assert "WARNING" not in done.stderr


def test_strict_build_ends_on_a_warning_even_when_quiet(tmp_path):
    project(tmp_path, "host: img.pro\nfrozen: true")
    for arguments in (["--strict"], ["--quiet", "--strict"]):
        done = build(tmp_path, *arguments)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
    assert build(tmp_path).returncode == 0


def test_unknown_option_names_the_nearest(tmp_path):
    project(tmp_path, "host: directory\nretension: 30d")
    done = build(tmp_path)
    assert done.returncode == 1
    assert "did you mean 'retention'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_host_is_one_line(tmp_path):
    project(tmp_path, "host: imgpro")
    done = build(tmp_path)
    assert done.returncode == 1
    assert "did you mean 'img.pro'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_broken_lock_is_one_line_that_names_the_line(tmp_path):
    project(tmp_path, "host: img.pro")
    (tmp_path / "imghost.lock").write_text('{"imghost_lock": 1, "host": "img.pro"}\n<<<<<<< HEAD\n')
    done = build(tmp_path)
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_link_out_of_the_project_is_not_uploaded(tmp_path):
    outside = write(tmp_path / "outside", {"secret.png": picture(66)})
    folder = project(tmp_path / "project")
    (folder / "docs/img/one.png").unlink()
    (folder / "docs/img/one.png").symlink_to(outside / "secret.png")
    done = build(folder)
    assert done.returncode == 0
    assert "img/one.png" in done.stderr
    assert "outside the project" in done.stderr
    assert picture(66) not in [file.read_bytes() for file in (folder / "site/_imghost").iterdir()]
    assert 'src="img/one.png"' in (folder / "site/index.html").read_text()


@pytest.mark.long
def test_text_named_png_is_not_uploaded(tmp_path):
    project(tmp_path)
    (tmp_path / "docs/img/one.png").write_text("PASSWORD=hunter2")
    done = build(tmp_path)
    assert done.returncode == 0
    assert "img/one.png" in done.stderr
    assert len(list((tmp_path / "site/_imghost").iterdir())) == 1


@pytest.mark.long
def test_builds_for_each_language_end_in_one_upload(tmp_path):
    languages = "  - i18n:\n      docs_structure: folder\n      languages:\n        - {locale: en, default: true, name: English}\n        - {locale: de, name: Deutsch}"
    project(tmp_path, plugins=languages)
    docs = tmp_path / "docs"
    (docs / "en").mkdir()
    for name in ("index.md", "deep", "img"):
        shutil.move(docs / name, docs / "en" / name)
    shutil.copytree(docs / "en", docs / "de")
    (docs / "de/img/two.png").write_bytes(picture(3))
    done = build(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("point to _imghost, 3 collected (") == 1
    assert report(tmp_path)["images"]["uploaded"] == 3
    for page in ("index.html", "de/index.html"):
        assert "_imghost/" in (tmp_path / "site" / page).read_text("utf-8")


@pytest.mark.long
def test_dirty_build_follows_a_changed_image(tmp_path):
    project(tmp_path)
    assert build(tmp_path).returncode == 0
    (tmp_path / "docs/img/one.png").write_bytes(picture(50))
    os.utime(tmp_path / "docs/img/one.png", (4_000_000_000, 4_000_000_000))
    done = build(tmp_path, "--dirty")
    assert done.returncode == 0, done.stderr
    dirty = drop(tree(tmp_path / "site", ".html"))
    assert build(tmp_path).returncode == 0
    assert drop(tree(tmp_path / "site", ".html")) == dirty


@pytest.mark.long
def test_dirty_build_without_the_map_writes_every_page_again(tmp_path):
    project(tmp_path)
    assert build(tmp_path).returncode == 0
    clean = drop(tree(tmp_path / "site", ".html"))
    shutil.rmtree(tmp_path / ".cache")
    assert build(tmp_path, "--dirty").returncode == 0
    assert drop(tree(tmp_path / "site", ".html")) == clean


def test_dirty_build_without_the_map_leaves_what_is_not_its_own(tmp_path):
    """A site folder may hold what other tools put there, and what an earlier build left."""
    project(tmp_path, "host: directory\nreferences: [img, css]")
    write(tmp_path, {"docs/more.css": "p { background: url(img/two.png) }", "docs/raw.html": '<img src="img/one.png">'})
    assert build(tmp_path).returncode == 0
    clean = drop(tree(tmp_path / "site"))
    others = {"api/index.html": "<p>of another tool", "CNAME": "x.test", "coverage/a.js": "1", "old.css": "p { }"}
    write(tmp_path / "site", others)
    shutil.rmtree(tmp_path / ".cache")
    assert build(tmp_path, "--dirty").returncode == 0
    assert drop(tree(tmp_path / "site")) == clean | {path: text.encode() for path, text in others.items()}


@pytest.mark.parametrize("more", ["exclude: ['**/one.png']", "references: [poster]"])
def test_dirty_build_without_the_map_undoes_what_the_settings_no_longer_ask_for(tmp_path, more):
    """Nothing tells what an earlier build rewrote, so the pages are written again, though their sources are old."""
    project(tmp_path)
    assert build(tmp_path).returncode == 0
    shutil.rmtree(tmp_path / ".cache")
    project(tmp_path, f"host: directory\n{more}")
    for file in (path for path in (tmp_path / "docs").rglob("*") if path.is_file()):
        os.utime(file, (1, 1))
    assert build(tmp_path, "--dirty").returncode == 0
    dirty = drop(tree(tmp_path / "site", ".html"))
    assert build(tmp_path).returncode == 0
    assert drop(tree(tmp_path / "site", ".html")) == dirty


@pytest.mark.parametrize("dropped", ["mine.png", f"{'ab' * 32}.png", "the folder"])
def test_files_that_the_docs_have_where_the_host_puts_its_own_go_with_their_sources(tmp_path, dropped):
    """Also one that is called as the host's own are, though its bytes are others."""
    project(tmp_path, "host: directory\noptions: {path: pictures}")
    own = {"mine.png": picture(7), f"{'ab' * 32}.png": picture(8), "deep/note.txt": "a", "b.svg": "<svg/>"}
    write(tmp_path / "docs/pictures", own)
    assert build(tmp_path).returncode == 0
    hosted = set(tree(tmp_path / "site/pictures")) - own.keys()
    assert len(hosted) == 2
    if dropped == "the folder":
        shutil.rmtree(tmp_path / "docs/pictures")
    else:
        (tmp_path / "docs/pictures" / dropped).unlink()
    left = set() if dropped == "the folder" else own.keys() - {dropped}
    for _ in range(2):
        assert build(tmp_path).returncode == 0
        assert report(tmp_path)["images"]["uploaded"] == 0
        assert set(tree(tmp_path / "site/pictures")) == hosted | left


def test_what_a_killed_build_put_aside_goes_once_another_host_is_chosen(tmp_path):
    project(tmp_path)
    assert build(tmp_path).returncode == 0
    (tmp_path / "site/_imghost").rename(tmp_path / "site/.imghost-kept")
    config = (tmp_path / "mkdocs.yml").read_text()
    (tmp_path / "mkdocs.yml").write_text(config.replace("host: directory", "host: img.pro"))
    assert build(tmp_path).returncode == 0
    assert not (tmp_path / "site/.imghost-kept").exists()


def test_serve_touches_neither_pages_nor_network(tmp_path):
    project(tmp_path)
    code = (
        "from mkdocs.config import load_config; from mkdocs.commands.build import build; c = load_config('mkdocs.yml');"
        "c.plugins.on_startup(command='serve', dirty=False); build(c)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    assert "_imghost" not in (tmp_path / "site/index.html").read_text()
    done = build(tmp_path, IMGHOST_SERVE="1")
    assert done.returncode == 0
    assert "_imghost" not in (tmp_path / "site/index.html").read_text()


@pytest.mark.long
def test_theme_files_stay_local(tmp_path):
    project(tmp_path, "host: directory\nreferences: [img, icon]", more="theme: {name: mkdocs}")
    assert build(tmp_path, "--strict").returncode == 0
    assert re.search(r'<link rel="shortcut icon" href="img/favicon.ico"', (tmp_path / "site/index.html").read_text())
