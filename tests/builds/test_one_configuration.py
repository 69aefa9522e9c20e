"""A project has one configuration: what a plugin built, the command finds as the plugin left it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from sites import picture, tree, write

from imghost.cli.main import main

PICTURES = {"one.png": picture(1), "two.png": picture(2)}


def mkdocs(folder: Path, options: dict[str, object]) -> Path:
    """Build a site with the MkDocs plugin; a part of the options is inherited."""
    inherited = {"plugins": {"imghost": {"options": options.pop("options", {})}}}
    write(folder, {f"docs/{name}": content for name, content in PICTURES.items()})
    write(folder, {"base.yml": json.dumps(inherited), "docs/index.md": "# Home\n\n![one](one.png)\n"})
    write(folder, {"docs/deep/page.md": '# Deep\n\n![one](../one.png)\n\n<img src="../../two.png">\n'})
    config = {"INHERIT": "base.yml", "site_name": "x", "site_url": "https://x.test/d/", "plugins": {"imghost": options}}
    write(folder, {"mkdocs.yml": json.dumps(config)})
    built(folder, "mkdocs", "build")
    return folder / "site"


def sphinx(folder: Path, options: dict[str, object]) -> Path:
    """Build a site with the Sphinx extension, whose map of the pages lies with the doctrees."""
    conf = ["extensions = ['sphinx_imghost']", "html_baseurl = 'https://x.test/d/'"]
    conf += [f"imghost_{name} = {value!r}" for name, value in options.items()]
    write(folder, {f"docs/{name}": content for name, content in PICTURES.items()})
    page = "Home\n====\n\n.. image:: one.png\n\n.. image:: two.png\n"
    write(folder, {"docs/conf.py": "\n".join(conf) + "\n", "docs/index.rst": page})
    built(folder, "sphinx", "-M", "html", "docs", "docs/_build")
    return folder / "docs/_build/html"


def built(folder: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=os.environ | {"CI": "", "SOURCE_DATE_EPOCH": "1700000000"}, capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def pages(site: Path) -> dict[str, bytes]:
    return tree(site, ".html")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("generate", [mkdocs, sphinx])
@pytest.mark.parametrize("more", [{}, {"remove_local": True}, {"dimensions": True, "lazy": True, "responsive": True}])
def test_the_command_changes_nothing_and_needs_no_flag(tmp_path, monkeypatch, capsys, generate, more):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    monkeypatch.delenv("CI", raising=False)
    with ImgPro("images") as host:
        site = generate(
            tmp_path, {"host": "img.pro", "options": {"api_url": host.api_url, "namespace": "docs"}, **more}
        )
        before = tree(site)
        assert host.api_url.removesuffix("/v1").encode() in before["index.html"]
        name = str(site.relative_to(tmp_path))
        for command in (["rehost", name], ["check", name], ["verify", "--site", name], ["status"], ["plan", name]):
            assert main(command) == 0, (command, capsys.readouterr().err)
        assert main(["prune", "--keep", name, "--grace", "0s", "--yes"]) == 0, capsys.readouterr().err
        assert len(host.copies) == 2
        assert tree(site) == before
    lines = capsys.readouterr().err.splitlines()
    named = "mkdocs.yml" if generate is mkdocs else "docs/conf.py"
    assert [line for line in lines if "options are those of" in line] == [
        f"imghost: the options are those of {named}"
    ] * 6


@pytest.mark.long
@pytest.mark.parametrize("generate", [mkdocs, sphinx])
@pytest.mark.parametrize("host", ["img.pro", "directory"])
def test_restore_brings_back_what_the_generator_wrote(tmp_path, monkeypatch, generate, host):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    plain = pages(generate(tmp_path, {"host": "directory", "include": ["none"]}))
    with ImgPro("images") as double:
        options = {"api_url": double.api_url} if host == "img.pro" else {}
        site = generate(tmp_path, {"host": host, "options": options})
        assert pages(site) != plain
        assert main(["restore", str(site)]) == 0
    assert pages(site) == plain


def test_zensical_takes_its_options_from_where_it_drops_them(tmp_path, monkeypatch, capsys):
    pytest.importorskip("zensical", reason="zensical is not installed")
    monkeypatch.chdir(tmp_path)
    table = '[project]\nsite_name = "x"\nsite_url = "https://x.test/"\n[project.plugins.imghost]\nhost = "directory"\n'
    write(tmp_path, {"zensical.toml": table, "docs/index.md": "![one](one.png)\n", "docs/one.png": picture(1)})
    subprocess.run(
        [str(Path(sys.executable).with_name("zensical")), "build"], check=True, capture_output=True, timeout=100
    )
    assert main(["check", "site"]) == 1
    assert main(["rehost", "site"]) == 0
    assert main(["check", "site"]) == 0
    assert b"_imghost/" in (tmp_path / "site/index.html").read_bytes()
    assert "the options are those of zensical.toml" in capsys.readouterr().err
