"""Real generators, building on what is there: after each edit the site is what a build from nothing leaves."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from mkdocs.commands.build import build as build_mkdocs
from mkdocs.config import load_config
from mkdocs.plugins import BasePlugin
from sites import picture, tree, write
from sphinx.cmd.build import build_main

pytestmark = pytest.mark.filterwarnings("ignore")
_OUTPUTS = shutil.ignore_patterns("_build", "site", ".cache", "clean")
_FUTURE = 4_000_000_000

Step = tuple[str, Callable[[Path], object], dict[str, Any]]


def image(path: str, seed: int) -> Callable[[Path], object]:
    """Make an edit that changes an image only."""

    def edit(folder: Path) -> None:
        write(folder, {path: picture(seed)})
        os.utime(folder / path, (_FUTURE + seed, _FUTURE + seed))

    return edit


def text(path: str, more: str) -> Callable[[Path], object]:
    """Make an edit that adds to a page."""

    def edit(folder: Path) -> None:
        (folder / path).write_text((folder / path).read_text("utf-8") + more, "utf-8")
        os.utime(folder / path, (_FUTURE, _FUTURE))

    return edit


def nothing(folder: Path) -> None:
    """Change a setting only."""


def without_map(folder: Path) -> None:
    for file in [*folder.rglob("imghost-pages-*.json")]:
        file.unlink()


SPHINX = {
    "conf.py": "import json, pathlib\nproject = 'Small'\nextensions = ['sphinx_imghost']\nhtml_theme = 'alabaster'\n"
    "html_static_path = ['_static']\nhtml_extra_path = ['extra']\nhtml_css_files = ['own.css']\n"
    "html_baseurl = 'https://x.test/small/'\nexclude_patterns = ['_build', 'clean', 'extra']\n"
    "globals().update(json.loads((pathlib.Path(__file__).parent / 'options.json').read_text()))\n",
    "index.rst": "Small\n=====\n\n.. toctree::\n\n   deep/page\n\n.. image:: img/one.png\n\n"
    ".. figure:: img/two.png\n   :target: _images/two.png\n",
    "deep/page.rst": "Page\n====\n\n.. image:: /img/one.png\n\n.. raw:: html\n\n   <img src='../_static/three.png'>\n",
    "extra/old.html": "<!doctype html><img src=_static/three.png>",
    "_static/own.css": "body { background: url(three.png) }",
    **{f"img/{name}.png": picture(seed) for seed, name in enumerate(("one", "two"))},
    "_static/three.png": picture(3),
}
MKDOCS = {
    "docs/index.md": "# Home\n\n![one](img/one.png)\n\n![two](img/two.png#only-dark)\n",
    "docs/deep/page.md": "# Deep\n\n![one](../img/one.png)\n\n<a href='../../img/two.png'>big</a>\n",
    "docs/old.html": "<!doctype html><img src=img/three.png>",
    "docs/own.css": "body { background: url(img/three.png) }",
    **{f"docs/img/{name}.png": picture(seed) for seed, name in enumerate(("one", "two", "three"))},
}


def steps(images: str, three: str, page: str) -> list[Step]:
    """List edits, each with the options that hold from then on."""
    hosts = {"host": "directory"}
    css = hosts | {"references": ["img", "link", "css"]}
    return [
        ("nothing is new", nothing, hosts),
        ("an image changes", image(f"{images}/one.png", 11), hosts),
        ("a page changes", text(page, "\nMore.\n"), hosts),
        ("style sheets are asked for", nothing, css),
        ("an image of a style sheet changes", image(three, 13), css),
        ("an image is excluded", nothing, css | {"exclude": ["**/one.png"]}),
        ("copies are removed", nothing, css | {"remove_local": True}),
        ("an image changes whose copy is gone", image(f"{images}/two.png", 12), css | {"remove_local": True}),
        ("the map is lost", without_map, css | {"remove_local": True}),
        ("copies are wanted again", nothing, css),
        ("style sheets are not asked for", nothing, hosts),
        ("nothing may be uploaded", nothing, {"host": "img.pro"}),
    ]


def shown(site: Path) -> dict[str, bytes]:
    """Read what a reader can come to, without the day of the build."""
    files = {path: content for path, content in tree(site).items() if path.endswith((".html", ".css", ".png"))}
    return {path: re.sub(rb"Build Date UTC : [^\n]*", b"", content) for path, content in files.items()}


def sphinx(folder: Path, options: dict[str, Any], *, is_dirty: bool) -> dict[str, bytes]:
    if not is_dirty:
        shutil.rmtree(folder / "_build", ignore_errors=True)
    named = {f"imghost_{name}": value for name, value in options.items()}
    (folder / "options.json").write_text(json.dumps(named), "utf-8")
    told = io.StringIO()
    with redirect_stdout(told), redirect_stderr(told):
        status = build_main(
            ["-b", "html", "-W", "-d", str(folder / "_build/state"), str(folder), str(folder / "_build/html")]
        )
    assert status == 0, told.getvalue()
    return shown(folder / "_build/html")


def mkdocs_options(folder: Path, options: dict[str, Any]) -> None:
    config = {
        "site_name": "Small",
        "site_url": "https://x.test/small/",
        "nav": [{"Home": "index.md"}, {"Deep": "deep/page.md"}],
        "extra_css": ["own.css"],
        "plugins": [{"imghost": options}],
    }
    (folder / "mkdocs.yml").write_text(json.dumps(config), "utf-8")


def mkdocs(folder: Path, options: dict[str, Any], *, is_dirty: bool) -> dict[str, bytes]:
    mkdocs_options(folder, options)
    loaded = load_config(str(folder / "mkdocs.yml"))
    loaded.plugins.on_startup(command="build", dirty=is_dirty)
    build_mkdocs(loaded, dirty=is_dirty)
    return shown(folder / "site")


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("build", "files", "edits"),
    [
        pytest.param(mkdocs, MKDOCS, steps("docs/img", "docs/img/three.png", "docs/deep/page.md"), id="mkdocs"),
        pytest.param(sphinx, SPHINX, steps("img", "_static/three.png", "deep/page.rst"), id="sphinx"),
    ],
)
def test_each_edit_leaves_what_a_clean_build_leaves(tmp_path, monkeypatch, build, files, edits):
    write(tmp_path, files)
    build(tmp_path, {"host": "directory"}, is_dirty=False)
    for name, edit, options in edits:
        edit(tmp_path)
        dirty = build(tmp_path, options, is_dirty=True)
        shutil.rmtree(tmp_path / "clean", ignore_errors=True)
        shutil.copytree(tmp_path, tmp_path / "clean", ignore=_OUTPUTS)
        clean = build(tmp_path / "clean", options, is_dirty=False)
        assert sorted(dirty) == sorted(clean), name
        assert dirty == clean, name


_KILLED = """
import os, runpy, sys
pages = []

def die_at_the_second_page(event, arguments):
    # Each page is written over in place, through what reads and writes it.
    if event == "open" and str(arguments[0]).endswith(".html") and arguments[2] & os.O_RDWR:
        pages.append(arguments[0])
        if len(pages) == 2:
            os._exit(9)

sys.addaudithook(die_at_the_second_page)
sys.argv = ["sphinx-build", "-b", "html", "-d", "_build/state", ".", "_build/html"]
runpy.run_module("sphinx", run_name="__main__")
"""


@pytest.mark.long
def test_build_after_one_that_was_killed_among_its_pages_leaves_what_a_clean_one_leaves(tmp_path):
    write(tmp_path, SPHINX)
    local = sphinx(tmp_path, {"host": "img.pro"}, is_dirty=False)
    (tmp_path / "options.json").write_text('{"imghost_host": "directory"}')
    done = subprocess.run([sys.executable, "-c", _KILLED], cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == 9, done.stderr
    assert any(b"_imghost" in content for path, content in shown(tmp_path / "_build/html").items() if path in local)
    after = sphinx(tmp_path, {"host": "img.pro"}, is_dirty=True)
    pages = [path for path in local if path.endswith(".html")]
    assert {path: after[path] for path in pages} == {path: local[path] for path in pages}


def watched(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Stamp every file and folder of a project but the generator's output: what a watcher would see."""
    found: dict[str, tuple[int, int, int]] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in {"_build", "site"}]
        for path in (Path(parent, name) for name in (".", *names)):
            state = path.stat()
            found[path.relative_to(folder).as_posix()] = (state.st_mtime_ns, state.st_ctime_ns, state.st_size)
    return found


def served(folder: Path, *, is_dirty: bool = False) -> None:
    """Build as `mkdocs serve` does; a plugin that may rewrite images has every copy looked at."""
    loaded = load_config(str(folder / "mkdocs.yml"))
    loaded.plugins.on_startup(command="serve", dirty=is_dirty)
    loaded.plugins["other"] = BasePlugin()
    build_mkdocs(loaded, dirty=is_dirty)


@pytest.mark.parametrize("mark", ["", "1"])
def test_a_sphinx_build_that_changes_nothing_leaves_no_trace_beside_its_output(tmp_path, monkeypatch, mark):
    """A watcher like sphinx-autobuild builds again whenever a file in the sources' folder changes."""
    write(tmp_path, SPHINX)
    monkeypatch.setenv("IMGHOST_SERVE", mark)
    options = {"host": "directory", "serve": True, "cache_dir": "img/cache"}
    options |= {"report": "report.json"} if mark else {}
    for _ in range(2):
        sphinx(tmp_path, options, is_dirty=True)
    before = watched(tmp_path)
    os.utime(tmp_path / "index.rst", (_FUTURE, _FUTURE))
    before["index.rst"] = watched(tmp_path)["index.rst"]
    before["options.json"] = (0, 0, 0)
    for _ in range(2):
        sphinx(tmp_path, options, is_dirty=True)
        assert watched(tmp_path) | {"options.json": (0, 0, 0)} == before
    assert (tmp_path / "img/cache/store/cache.db").is_file()


def test_a_live_preview_that_changes_nothing_leaves_no_trace_beside_its_output(tmp_path):
    write(tmp_path, MKDOCS)
    options = {"host": "directory", "serve": True, "cache_dir": "docs/.cache", "report": "docs/report.html"}
    mkdocs(tmp_path, options | {"report": None}, is_dirty=False)
    served(tmp_path)
    before = watched(tmp_path)
    for _ in range(2):
        served(tmp_path)
        assert watched(tmp_path) == before
    assert (tmp_path / "docs/.cache/store/cache.db").is_file()


@pytest.mark.parametrize("change", ["exclude", "references", "serve", "another exclude"])
def test_a_live_preview_follows_its_settings_in_pages_that_are_not_written_again(tmp_path, change):
    """`mkdocs serve --dirty` writes only pages whose source changed: the map tells what was done to the others."""
    write(tmp_path, MKDOCS)
    first = {"host": "directory", "serve": True, "cache_dir": "docs/.cache"}
    then = {
        "exclude": {**first, "exclude": ["img/*"]},
        "references": {**first, "references": ["poster"]},
        "serve": {**first, "serve": False},
        "another exclude": {**first, "exclude": ["two.png"]},
    }[change]
    mkdocs(tmp_path, first, is_dirty=False)
    served(tmp_path)
    page = tmp_path / "site/deep/page/index.html"
    assert page.read_text("utf-8").count("_imghost/") == 2
    mkdocs_options(tmp_path, then)
    served(tmp_path, is_dirty=True)
    assert page.read_text("utf-8").count("_imghost/") == (1 if change == "another exclude" else 0)
    assert "../../img/two.png" in page.read_text("utf-8")
    mkdocs_options(tmp_path, first)
    served(tmp_path, is_dirty=True)
    assert page.read_text("utf-8").count("_imghost/") == 2
    before = page.stat()
    served(tmp_path, is_dirty=True)
    assert page.stat().st_mtime_ns == before.st_mtime_ns, "written again for nothing"
