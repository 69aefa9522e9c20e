"""Other generators' output through the command: real Zensical and Pelican builds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sites import image_urls, local_file, picture, tree, write

from imghost.cli import main


def ran(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)
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
