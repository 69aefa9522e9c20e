"""Folders as services lay sites out: versions side by side, a site in a site, another output, images made late."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from oracle import references
from sites import picture, tree, write

from imghost.cli.main import main

ORIGIN = "https://x.test"
MKDOCS = {
    "docs/index.md": "# Home\n\n![one](img/one.png)\n\n<meta property='og:image' content='{url}img/one.png'>\n",
    "docs/deep/page.md": "# Deep\n\n![one](../img/one.png)\n\n<a href='../../img/one.png'>big</a>\n",
    "docs/img/one.png": picture(1),
}
SPHINX = {
    "conf.py": "project = 'Small'\nextensions = ['sphinx_imghost']\nhtml_theme = 'alabaster'\n"
    "imghost_host = 'directory'\nimghost_report = 'report.json'\nexclude_patterns = ['out']\n{more}",
    "index.rst": "Small\n=====\n\n.. toctree::\n\n   deep/page\n\n.. image:: img/one.png\n",
    "deep/page.rst": "Page\n====\n\n.. image:: /img/one.png\n",
    "img/one.png": picture(1),
}


def project(folder: Path, url: str, **more: object) -> Path:
    """Write a small MkDocs project that will live at a URL."""
    imghost = {"imghost": {"host": "directory", "report": "report.json"}}
    config = {"site_name": "Small", "site_url": url, "plugins": [imghost]} | more
    home = str(MKDOCS["docs/index.md"]).format(url=url)
    return write(folder, MKDOCS | {"mkdocs.yml": json.dumps(config), "docs/index.md": home})


def run(folder: Path, *command: str, **environ: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr


def image_files(site: Path, base: str) -> Iterator[tuple[str, Path]]:
    """List each page's images and the files that a reader's browser would ask for, the site being at `base`."""
    for page, content in tree(site, ".html").items():
        for kind, url in references(content.decode("utf-8")).elements():
            whole = urljoin(base + page, url)
            if kind not in {"icon", "preload"} and whole.startswith(base):
                yield page, site / unquote(urlsplit(whole).path)[len(urlsplit(base).path) :]


def check(site: Path, base: str, folders: set[str]) -> None:
    """Assert that every local image is there, and that those of the documents lie in these folders."""
    found = list(image_files(site, base))
    assert [(page, file) for page, file in found if not file.is_file()] == []
    assert {file.parent.relative_to(site).as_posix() for _, file in found} == folders


@pytest.mark.long
def test_versions_side_by_side_each_have_their_own_images(tmp_path):
    published = tmp_path / "published"
    for number, version in enumerate(("1.0", "1.1", "latest")):
        folder = project(tmp_path / "work", f"{ORIGIN}/small/{version}/")
        (folder / "docs/img/one.png").write_bytes(picture(number))
        run(folder, "mkdocs", "build", "-q", "--strict", "--site-dir", str(tmp_path / "built"))
        shutil.copytree(tmp_path / "built", published / version)
    for number, version in enumerate(("1.0", "1.1", "latest")):
        assert list(tree(published / version / "_imghost").values()) == [picture(number)]
        check(published / version, f"{ORIGIN}/small/{version}/", {"_imghost"})
    check(published, f"{ORIGIN}/small/", {"1.0/_imghost", "1.1/_imghost", "latest/_imghost"})


@pytest.mark.long
def test_site_in_a_site_is_built_first_or_last(tmp_path):
    inner = project(tmp_path / "inner", f"{ORIGIN}/outer/inner/")
    outer = project(tmp_path / "outer", f"{ORIGIN}/outer/")
    (inner / "docs/img/one.png").write_bytes(picture(7))
    run(inner, "mkdocs", "build", "-q")
    shutil.copytree(inner / "site", outer / "docs/inner")
    run(outer, "mkdocs", "build", "-q")
    check(outer / "site", f"{ORIGIN}/outer/", {"_imghost", "inner/_imghost"})
    first = tree(outer / "site/inner", ".html")
    assert first == tree(inner / "site", ".html")

    shutil.rmtree(outer / "docs/inner")
    run(outer, "mkdocs", "build", "-q")
    run(inner, "mkdocs", "build", "-q", "--site-dir", str(outer / "site/inner"))
    check(outer / "site", f"{ORIGIN}/outer/", {"_imghost", "inner/_imghost"})
    again = {"docs/deep/page.md": "# Deep\n\nMore. ![one](../img/one.png)\n"}
    write(inner, again)
    os.utime(inner / "docs/deep/page.md", (4_000_000_000, 4_000_000_000))
    run(inner, "mkdocs", "build", "-q", "--dirty", "--site-dir", str(outer / "site/inner"))
    check(outer / "site", f"{ORIGIN}/outer/", {"_imghost", "inner/_imghost"})


def test_command_over_versions_leaves_their_own_images_where_they_are(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for version in ("1.0", "1.1"):
        write(tmp_path / "built", {"index.html": '<img src="one.png">', "one.png": picture(1)})
        assert main(["rehost", "built", "--host", "directory"]) == 0
        shutil.move(tmp_path / "built", tmp_path / "all" / version)
    before = tree(tmp_path / "all")
    assert main(["rehost", "all", "--host", "directory"]) == 0
    assert tree(tmp_path / "all") == before


@pytest.mark.sampled(1)
@pytest.mark.parametrize("tool", ["mkdocs", "sphinx"])
def test_output_folder_of_read_the_docs(tmp_path, tool):
    output = tmp_path / "_readthedocs/html"
    environ = {"READTHEDOCS": "True", "READTHEDOCS_VERSION_TYPE": "branch", "READTHEDOCS_OUTPUT": str(output.parent)}
    if tool == "mkdocs":
        project(tmp_path, f"{ORIGIN}/en/latest/")
        run(tmp_path, "mkdocs", "build", "--clean", "--site-dir", str(output), "--config-file", "mkdocs.yml", **environ)
    else:
        url = f"html_baseurl = '{ORIGIN}/en/latest/'\n"
        write(tmp_path, SPHINX | {"conf.py": str(SPHINX["conf.py"]).format(more=url)})
        run(
            tmp_path,
            "sphinx",
            "-T",
            "-W",
            "-b",
            "html",
            "-d",
            "_build/doctrees",
            "-D",
            "language=en",
            ".",
            str(output),
            **environ,
        )
    check(output, f"{ORIGIN}/en/latest/", {"_imghost"})


@pytest.mark.long
@pytest.mark.parametrize("priority", [0, -100])
def test_images_and_pages_that_a_plugin_writes_after_the_build(tmp_path, priority):
    hook = f"""
import pathlib
from mkdocs.plugins import event_priority

@event_priority({priority})
def on_post_build(config):
    site = pathlib.Path(config.site_dir)
    (site / "plots").mkdir(exist_ok=True)
    (site / "plots/drawn.png").write_bytes(bytes.fromhex("{picture(8).hex()}"))
    (site / "plots/index.html").write_text('<img src="drawn.png"><img src="../img/one.png">')
"""
    project(tmp_path, f"{ORIGIN}/small/", hooks=["late.py"])
    write(tmp_path, {"late.py": hook})
    for arguments in (["--strict"], ["--dirty"], []):
        run(tmp_path, "mkdocs", "build", "-q", *arguments)
        check(tmp_path / "site", f"{ORIGIN}/small/", {"_imghost"})
        assert picture(8) in tree(tmp_path / "site/_imghost").values()


@pytest.mark.long
def test_parallel_sphinx_build_writes_what_a_serial_one_writes(tmp_path):
    pages = {f"page{number}.rst": f"Page {number}\n=======\n\n.. image:: img/one.png\n" for number in range(12)}
    toctree = "Small\n=====\n\n.. toctree::\n   :glob:\n\n   page*\n   deep/page\n"
    write(tmp_path, SPHINX | pages | {"conf.py": str(SPHINX["conf.py"]).format(more=""), "index.rst": toctree})
    run(tmp_path, "sphinx", "-W", "-q", "-b", "html", "-j", "auto", ".", "out/parallel")
    run(tmp_path, "sphinx", "-W", "-q", "-b", "html", ".", "out/serial")
    check(tmp_path / "out/parallel", f"{ORIGIN}/", {"_imghost"})
    assert tree(tmp_path / "out/parallel", ".html") == tree(tmp_path / "out/serial", ".html")


def test_feeds_and_json_stay_as_they_are_and_keep_what_they_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    feed = (
        f'<rss><channel><item><enclosure url="{ORIGIN}/one.png"/><description>&lt;img src="two.png"&gt;</description>'
    )
    texts = {"feed.xml": feed, "search.json": '{"image": "three.png"}', "atom.xml": "<link href='four.png'/>"}
    names = ("one", "two", "three", "four", "five")
    images = {f"{name}.png": picture(seed) for seed, name in enumerate(names)}
    page = "".join(f'<img src="{name}">' for name in images)
    write(tmp_path / "site", texts | images | {"index.html": page})
    flags = ["--host", "directory", "--site-url", ORIGIN, "--remove-local"]
    assert main(["rehost", "site", *flags]) == 0
    left = tree(tmp_path / "site")
    assert {path: left[path].decode() for path in texts} == texts
    assert [name for name in images if name in left] == ["one.png", "two.png", "three.png", "four.png"]
    assert left["index.html"].count(b"_imghost/") == 5
