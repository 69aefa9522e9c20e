"""Other generators' output through the command: real Zensical and Pelican builds."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sites import image_urls, local_file, picture, tree, write
from world.projects import recipe

from imghost.cli.main import main


def ran(folder: Path, *command: str) -> None:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=100, env=os.environ | {"PATH": path}
    )
    assert done.returncode == 0, done.stdout + done.stderr


def zensical(folder: Path) -> Path:
    """Build a site with Zensical."""
    pytest.importorskip("zensical", reason="zensical is not installed")
    write(
        folder,
        {
            "zensical.toml": '[project]\nsite_name = "Small"\nsite_url = "https://x.test/small/"\n',
            "docs/index.md": "# Home\n\n![one](img/one.png)\n",
            "docs/deep/page.md": "# Deep\n\n![one](../img/one.png)\n",
            "docs/img/one.png": picture(1),
        },
    )
    ran(folder, str(Path(sys.executable).with_name("zensical")), "build")
    return folder / "site"


def pelican(folder: Path) -> Path:
    """Build a site with Pelican."""
    pytest.importorskip("pelican", reason="pelican is not installed")
    write(
        folder,
        {
            "content/home.md": "Title: Home\nDate: 2026-01-01\n\n![one]({static}/images/one.png)\n",
            "content/images/one.png": picture(1),
            "pelicanconf.py": "SITENAME = 'Small'\nPATH = 'content'\nTIMEZONE = 'UTC'\nRELATIVE_URLS = True\n",
        },
    )
    ran(folder, sys.executable, "-m", "pelican", "content", "-s", "pelicanconf.py", "-o", "output")
    return folder / "output"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("generate", [zensical, pelican])
def test_a_generators_site_is_rehosted_and_the_next_build_uploads_nothing(tmp_path, monkeypatch, capsys, generate):
    monkeypatch.chdir(tmp_path)
    site = generate(tmp_path)
    capsys.readouterr()
    assert main(["rehost", str(site), "--host", "directory", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["images"]["uploaded"], report["images"]["failed"]) == (1, 0)
    shown = 0
    for page, content in tree(site, ".html").items():
        for url in image_urls(content):
            if "_imghost/" in url:
                assert local_file(site, page, url).read_bytes() == picture(1)
                shown += 1
            assert not url.endswith("one.png")
    assert shown > 0
    generate(tmp_path)
    assert main(["rehost", str(site), "--host", "directory", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"]["failed"] == 0


RECIPES: dict[str, dict[str, str | bytes]] = {
    "Zensical": {
        "zensical.toml": '[project]\nsite_name = "Small"\n[project.plugins.imghost]\nhost = "directory"\n',
        "docs/index.md": "# Home\n\n![one](one.png)\n",
        "docs/one.png": picture(1),
    },
    "Pelican": {
        "content/home.md": "Title: Home\nDate: 2026-01-01\n\n![one]({static}/images/one.png)\n",
        "content/images/one.png": picture(1),
        "pelicanconf.py": "SITENAME = 'Small'\nPATH = 'content'\nTIMEZONE = 'UTC'\nRELATIVE_URLS = True\n",
    },
    "Hugo": {
        "config.toml": 'baseURL = "https://docs.example.org/"\ntitle = "Small"\ndisableKinds = ["taxonomy", "term"]\n',
        "content/_index.md": "---\ntitle: Home\n---\n![one](/one.png)\n",
        "layouts/index.html": "<title>x</title>{{ .Content }}",
        "static/one.png": picture(1),
    },
    "Jekyll": {
        "_config.yml": "title: Small\n",
        "index.md": "---\ntitle: Home\n---\n![one](/one.png)\n",
        "one.png": picture(1),
    },
    "Doxygen": {
        "Doxyfile": "PROJECT_NAME=Small\nINPUT=main.md\nIMAGE_PATH=.\nGENERATE_LATEX=NO\nUSE_MDFILE_AS_MAINPAGE=main.md\n",
        "main.md": "# Home\n\n![one](one.png)\n",
        "one.png": picture(1),
    },
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_of_the_documentation_moves_the_image(tmp_path, name):
    """The commands are the page's own; a generator that is not installed is left out."""
    commands = recipe(name)
    programs = [commands[0].split()[0], "sh"]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    if lacking := [program for program in programs if shutil.which(program, path=path) is None]:
        pytest.skip(f"{lacking[0]} is not installed")
    write(tmp_path, RECIPES[name])
    if name != "Zensical":
        write(tmp_path, {"imghost.toml": 'host = "directory"\nsite_url = "https://docs.example.org/"\n'})
    for command in commands:
        ran(tmp_path, "sh", "-c", command)
    site = tmp_path / re.findall(r"imghost rehost (\S+)", " ".join(commands))[0]
    moved = [
        (site / url.lstrip("/") if url.startswith("/") else local_file(site, page, url)).read_bytes()
        for page, content in tree(site, ".html").items()
        for url in image_urls(content)
        if "_imghost/" in url
    ]
    assert picture(1) in moved  # beside it, Doxygen's own


@pytest.mark.long
def test_notebook_outputs_of_myst_nb_are_rehosted(tmp_path):
    """A notebook's stored output is a picture that the build writes: its own source."""
    pytest.importorskip("myst_nb", reason="myst-nb is not installed")
    output = {
        "output_type": "display_data", "metadata": {},
        "data": {"image/png": base64.b64encode(picture(5)).decode(), "text/plain": "a picture"},
    }  # fmt: skip
    cell = {
        "cell_type": "code",
        "id": "a",
        "execution_count": 1,
        "metadata": {},
        "source": "draw()",
        "outputs": [output],
    }
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    conf = (
        "project = 'Small'\nextensions = ['myst_nb', 'sphinx_imghost']\nnb_execution_mode = 'off'\n"
        "root_doc = 'home'\nimghost_host = 'directory'\nimghost_report = 'report.json'\n"
    )
    write(tmp_path, {"conf.py": conf, "home.ipynb": json.dumps(notebook)})
    ran(tmp_path, sys.executable, "-m", "sphinx", "-b", "html", ".", "_build/html")
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert report["images"] == {"found": 1, "cached": 0, "uploaded": 1, "kept": 0, "failed": 0}
    assert "_imghost/" in (tmp_path / "_build/html/home.html").read_text("utf-8")


@pytest.mark.long
def test_mike_deploys_versions_whose_images_are_hosted(tmp_path):
    """Each version is built and committed to a branch by mike; each has its own copies in the embedded directory."""
    pytest.importorskip("mike", reason="mike is not installed")
    write(
        tmp_path,
        {
            "mkdocs.yml": "site_name: Small\ntheme: {name: material, font: false}\nplugins:\n  - mike\n  - imghost: {host: directory}\n",
            "docs/index.md": "# Home\n\n![one](one.png)\n",
            "docs/one.png": picture(1),
            ".gitignore": "site/\n.cache/\n",
        },
    )
    for command in (("init", "-q"), ("config", "user.name", "T"), ("config", "user.email", "t@x.test"), ("add", "-A")):
        ran(tmp_path, "git", *command)
    ran(tmp_path, "git", "commit", "-qm", "Begin")
    mike = str(Path(sys.executable).with_name("mike"))
    (command,) = recipe("mike")
    assert command == "mike deploy 1.0"
    for version in ("1.0", "2.0"):
        ran(tmp_path, mike, *command.replace("1.0", version).split()[1:])
        write(tmp_path, {"docs/one.png": picture(9)})
    for version, seed in (("1.0", 1), ("2.0", 9)):
        page = subprocess.run(
            ["git", "show", f"gh-pages:{version}/index.html"], cwd=tmp_path, capture_output=True, check=True
        ).stdout
        (url,) = [url for url in image_urls(page) if "_imghost/" in url]
        image = subprocess.run(
            ["git", "show", f"gh-pages:{version}/{url}"], cwd=tmp_path, capture_output=True, check=True
        ).stdout
        assert image == picture(seed)
