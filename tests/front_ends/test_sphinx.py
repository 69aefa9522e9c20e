"""Real Sphinx builds of small projects."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sites import picture, tree, write

from imghost.cli.main import main

CONF = """
project = "Small"
extensions = ["sphinx_imghost"{extensions}]
html_theme = "{theme}"
html_baseurl = "https://x.test/small/"
html_static_path = ["_static"]
imghost_host = "directory"
imghost_report = "report.json"
{more}
"""

INDEX = """
Small
=====

.. toctree::

   deep/page

.. image:: img/one.png

.. figure:: img/two.png
   :target: _images/two.png

.. raw:: html

   <img src="_static/three.png" data-x="a>b">
"""

PAGE = """
Page
====

.. image:: /img/one.png
"""


def project(folder: Path, more: str = "", extensions: str = "", theme: str = "alabaster") -> Path:
    """Write a small Sphinx project."""
    return write(
        folder,
        {
            "conf.py": CONF.format(more=more, extensions=extensions, theme=theme),
            "index.rst": INDEX,
            "deep/page.rst": PAGE,
            "img/one.png": picture(1),
            "img/two.png": picture(2),
            "_static/three.png": picture(3),
        },
    )


def build(folder: Path, *arguments: str, builder: str = "html", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run sphinx-build as a user would."""
    command = [sys.executable, "-m", "sphinx", "-b", builder, *arguments, ".", f"_build/{builder}"]
    return subprocess.run(
        command, cwd=folder, env=os.environ | environ, capture_output=True, text=True, check=False, timeout=100
    )


def pages(folder: Path, builder: str = "html") -> dict[str, bytes]:
    return tree(folder / "_build" / builder, ".html")


def images(folder: Path) -> dict[str, int]:
    return json.loads((folder / "report.json").read_text("utf-8"))["images"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("builder", ["html", "dirhtml"])
def test_build_moves_every_image_and_the_second_one_uploads_nothing(tmp_path, builder):
    project(tmp_path)
    done = build(tmp_path, "-W", builder=builder)
    assert done.returncode == 0, done.stderr
    assert images(tmp_path) == {"found": 3, "cached": 0, "uploaded": 3, "kept": 0, "failed": 0}
    first = pages(tmp_path, builder)
    assert b'="_images/' not in first["index.html"].replace(b'alt="_images/', b"")
    assert build(tmp_path, "-W", builder=builder).returncode == 0
    assert images(tmp_path)["uploaded"] == 0
    assert pages(tmp_path, builder) == first


@pytest.mark.long
@pytest.mark.parametrize("builder", ["singlehtml", "epub", "text"])
def test_other_builders_stay_self_contained(tmp_path, builder):
    project(tmp_path)
    assert build(tmp_path, builder=builder).returncode == 0
    assert not (tmp_path / "report.json").exists()


def test_incremental_builds_leave_what_a_clean_one_would(tmp_path):
    project(tmp_path)
    assert build(tmp_path).returncode == 0
    (tmp_path / "img/one.png").write_bytes(picture(11))
    write(tmp_path, {"deep/page.rst": PAGE + "\nMore.\n"})
    assert build(tmp_path).returncode == 0
    (tmp_path / "_static/three.png").write_bytes(picture(33))
    assert build(tmp_path, "-a").returncode == 0
    incremental = pages(tmp_path)
    shutil.rmtree(tmp_path / "_build")
    assert build(tmp_path).returncode == 0
    assert pages(tmp_path) == incremental


def test_local_copies_go_though_sphinx_shows_sources_and_has_paths_for_texts(tmp_path):
    """Sphinx copies each page's source and writes an image's path as its `alt`: neither loads a picture."""
    folder = project(tmp_path, "imghost_remove_local = True")
    first = build(folder)
    assert first.returncode == 0, first.stderr
    out = folder / "_build/html"
    assert b'alt="_images/one.png"' in (out / "index.html").read_bytes()
    assert "img/one.png" in (out / "_sources/index.rst.txt").read_text()
    assert not list(out.glob("_images/*.png"))
    assert not list(out.glob("_static/three.png"))
    assert len(list((out / "_imghost").iterdir())) == 3
    before = pages(folder)
    again = build(folder)
    assert again.returncode == 0, again.stderr
    assert pages(folder) == before


def test_the_commands_know_what_the_extension_did(tmp_path, monkeypatch, capsys):
    project(tmp_path)
    assert build(tmp_path).returncode == 0
    built = pages(tmp_path)
    monkeypatch.chdir(tmp_path)
    for command, told in [
        ("plan", "nothing to upload: 3 images have a URL on directory\n"),
        ("check", "3 images are covered, 0 not\n"),
        ("restore", "2 pages with the local references back\n"),
    ]:
        assert main([command, "_build/html"]) == 0
        assert capsys.readouterr().out == told
    assert b"_imghost/" not in b"".join(pages(tmp_path).values())
    assert build(tmp_path).returncode == 0
    assert pages(tmp_path) == built


@pytest.mark.long
def test_page_that_was_not_written_again_follows_a_setting(tmp_path):
    project(tmp_path)
    assert build(tmp_path).returncode == 0
    assert build(tmp_path, "-D", "imghost_exclude=**/one.png").returncode == 0
    incremental = pages(tmp_path)
    assert b'src="_images/one.png"' in incremental["index.html"]
    shutil.rmtree(tmp_path / "_build")
    assert build(tmp_path, "-D", "imghost_exclude=**/one.png").returncode == 0
    assert pages(tmp_path) == incremental


@pytest.mark.long
def test_lost_map_has_every_page_written_again(tmp_path):
    project(tmp_path)
    assert build(tmp_path).returncode == 0
    clean = pages(tmp_path)
    for path in (tmp_path / "_build/html/.doctrees").glob("imghost-pages-*"):
        path.unlink()
    (tmp_path / "img/one.png").write_bytes(picture(11))
    assert build(tmp_path).returncode == 0
    incremental = pages(tmp_path)
    assert incremental != clean
    shutil.rmtree(tmp_path / "_build")
    assert build(tmp_path).returncode == 0
    assert pages(tmp_path) == incremental


@pytest.mark.long
def test_image_from_outside_the_project_is_not_uploaded(tmp_path):
    write(tmp_path, {"secret.png": picture(66)})
    folder = project(tmp_path / "project")
    write(folder, {"deep/page.rst": PAGE + "\n.. image:: ../../secret.png\n"})
    done = build(folder)
    assert done.returncode == 0
    assert "secret.png" in done.stderr
    assert "outside the project" in done.stderr
    assert picture(66) not in tree(folder / "_build/html/_imghost").values()
    assert build(folder, "-a", "-W").returncode in {1, 2}  # 2 on Sphinx before 8.1, which stops at the first
    assert build(folder, "-a", "-W", "-D", "suppress_warnings=imghost.origin").returncode == 0


@pytest.mark.long
def test_generated_drawing_is_its_own_source(tmp_path):
    if shutil.which("dot") is None:
        pytest.skip("graphviz's dot is not installed")
    project(tmp_path, extensions=', "sphinx.ext.graphviz"')
    write(tmp_path, {"deep/page.rst": PAGE + "\n.. graphviz::\n\n   digraph { a -> b }\n"})
    done = build(tmp_path, "-W")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "_build/html/deep/page.html").read_text("utf-8")
    assert '<img src="../_imghost/' in page
    assert "_images/graphviz" not in page


def test_wrong_options_are_one_line(tmp_path):
    project(tmp_path, more='imghost_retension = "30d"')
    done = build(tmp_path)
    assert done.returncode == 2
    assert "did you mean 'imghost_retention'?" in done.stderr
    write(tmp_path, {"conf.py": CONF.format(more='imghost_retention = "soon"', extensions="", theme="alabaster")})
    done = build(tmp_path)
    assert done.returncode == 2
    assert "imghost_retention" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_preview_leaves_the_pages(tmp_path):
    project(tmp_path)
    assert build(tmp_path, IMGHOST_SERVE="1").returncode == 0
    assert b"_imghost" not in pages(tmp_path)["index.html"]


def test_an_idle_rebuild_reads_nothing_again_and_the_next_build_writes_every_page(tmp_path):
    project(tmp_path)
    assert build(tmp_path, IMGHOST_SERVE="1").returncode == 0
    for _ in range(2):
        done = build(tmp_path, IMGHOST_SERVE="1")
        assert "0 added, 0 changed, 0 removed" in done.stdout
    assert build(tmp_path).returncode == 0
    for name in ("index.html", "deep/page.html"):
        assert b"_imghost" in pages(tmp_path)[name]


@pytest.mark.long
def test_parallel_build_is_the_same(tmp_path):
    project(tmp_path)
    assert build(tmp_path).returncode == 0
    serial = pages(tmp_path)
    shutil.rmtree(tmp_path / "_build")
    assert build(tmp_path, "-j", "2").returncode == 0
    assert pages(tmp_path) == serial


@pytest.mark.long
def test_module_index_toggle_stays(tmp_path):
    project(tmp_path, extensions=', "sphinx.ext.autodoc"')
    write(
        tmp_path,
        {"deep/page.rst": PAGE + "\n.. py:module:: a\n\n.. py:module:: a.b\n\n.. py:module:: c\n"},
    )
    assert build(tmp_path, "-W").returncode == 0
    index = (tmp_path / "_build/html/py-modindex.html").read_text("utf-8")
    assert 'src="_static/minus.png"' in index
