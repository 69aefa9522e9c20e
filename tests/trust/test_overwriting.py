"""Nothing outside the site is written, and no file that is not ours is overwritten."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sites import picture, small_site, tree

from imghost.cli.main import main

posix = pytest.mark.skipif(os.name == "nt", reason="links need leave there, and names are text")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return small_site(tmp_path / "site")


def rehost(*flags: str) -> int:
    return main(["rehost", "site", "--host", "directory", *flags])


@pytest.mark.parametrize("name", ["package.json", "README.html", "notes.json"])
@pytest.mark.parametrize("content", ['{"name": "x"}', "<title>mine</title>", "x"])
def test_a_report_overwrites_no_file_of_somebody_elses(site: Path, capsys, name: str, content: str) -> None:
    Path(name).write_text(content)
    assert rehost("--report", name) == 0
    assert "no report of ours" in capsys.readouterr().err
    assert Path(name).read_text() == content
    assert rehost("--report", name, "--strict") == 1


@pytest.mark.parametrize("name", ["new.json", "new.html"])
def test_a_report_takes_the_place_of_an_earlier_one(site: Path, name: str) -> None:
    assert rehost("--report", name, "--strict") == 0
    before = Path(name).read_bytes()
    assert rehost("--report", name, "--strict") == 0
    assert Path(name).read_bytes() != before
    Path(name).write_bytes(b"")
    assert rehost("--report", name, "--strict") == 0
    assert Path(name).stat().st_size > 100


@posix
def test_a_report_about_names_that_are_no_text_is_text(site: Path) -> None:
    page = os.fsencode(site) + b"/p\xff.html"
    Path(os.fsdecode(page)).write_text('<title>x</title><img src="images/0.png">')
    for name in ("r.json", "r.html"):
        assert rehost("--report", name, "--strict") == 0
        assert Path(name).read_text("utf-8")
    assert json.loads(Path("r.json").read_text("utf-8"))["pages"]["found"] == 3


@posix
@pytest.mark.parametrize("flags", [[], ["--option", "path=pictures/deep"]])
def test_a_link_in_the_directorys_place_leads_nowhere(site: Path, capsys, flags: list[str]) -> None:
    outside = site.parent / "outside"
    outside.mkdir()
    (outside / "mine.png").write_bytes(picture(9))
    (site / ("pictures" if flags else "_imghost")).symlink_to(outside)
    before = tree(outside)
    assert rehost(*flags) == 2
    assert "link" in capsys.readouterr().err
    assert tree(outside) == before


@posix
def test_a_page_that_is_a_link_out_of_the_site_leaves_its_target_alone(site: Path) -> None:
    target = site.parent / "page.html"
    target.write_text('<title>x</title><img src="images/0.png">')
    (site / "linked.html").symlink_to(target)
    before = target.read_bytes()
    assert rehost() == 0
    assert target.read_bytes() == before


def settle(site: Path) -> None:
    """Make the files old enough for what is known of them to be kept."""
    for file in site.rglob("*.png"):
        os.utime(file, (1_700_000_000, 1_700_000_000))


@pytest.mark.parametrize("name", [".ssh", "project", "deep/shared"])
def test_a_cache_in_a_folder_of_other_things_writes_new_files_alone(site: Path, name: str) -> None:
    """A `.gitignore` of ours there would have git forget everything beside it."""
    folder = site.parent / name
    folder.mkdir(parents=True)
    (folder / "id_rsa").write_text("mine")
    settle(site)
    assert rehost("--cache-dir", name) == 0
    assert (folder / "store").is_dir()
    assert not (folder / ".gitignore").exists()
    assert (folder / "id_rsa").read_text() == "mine"
    settle(small_site(site, 4))
    assert rehost("--cache-dir", "own") == 0
    assert Path("own/.gitignore").read_text() == "*\n"


@pytest.fixture
def deep(site: Path) -> Iterator[Path]:
    """Put a page a thousand folders deep; what deletes folders by calling itself could not take it away."""
    here = Path.cwd()
    os.chdir(site)
    for _ in range(1_000):
        os.mkdir("d")  # noqa: PTH102 - a path this long is not to be spelled out each time
        os.chdir("d")
    Path("deep.html").write_text('<title>x</title><img src="own.png" alt=x>')
    Path("own.png").write_bytes(picture(5))
    os.chdir(here)
    yield site
    subprocess.run(["rm", "-rf", site / "d"], check=True)


@posix
@pytest.mark.parametrize(
    "command", ["rehost", "rehost --remove-local --strict", "check", "audit", "plan", "restore"], ids=str
)
def test_a_site_a_thousand_folders_deep_is_like_another(deep: Path, capsys, command: str) -> None:
    assert main(["rehost", "site", "--host", "directory"]) == 0
    name, *flags = command.split()
    assert main([name, "site", *flags, *(["--fail", "broken"] if name == "audit" else ["--host", "directory"])]) == 0
    assert "Traceback" not in capsys.readouterr().err
    page = deep / "/".join(["d"] * 1_000) / "deep.html"
    assert ("_imghost" in page.read_text()) is (name != "restore")
