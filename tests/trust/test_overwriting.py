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
@pytest.mark.parametrize("way", ["flag", "imghost.toml", "home"])
def test_a_cache_in_a_folder_of_other_files_is_refused_in_one_line(
    site: Path, capsys, monkeypatch, name: str, way: str
) -> None:
    folder = site.parent / name
    folder.mkdir(parents=True)
    (folder / "id_rsa").write_text("mine")
    settle(site)
    before = tree(site.parent)
    monkeypatch.setenv("HOME", str(site.parent))
    if way == "imghost.toml":
        before["imghost.toml"] = f'cache_dir = "~/{name}"\n'.encode()
        Path("imghost.toml").write_bytes(before["imghost.toml"])
    flags = {"flag": ["--cache-dir", name], "imghost.toml": [], "home": ["--cache-dir", f"~/{name}"]}[way]
    assert rehost(*flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "files which are not imghost's, like 'id_rsa'; choose a new folder, like " in line
    assert tree(site.parent) == before


def test_a_cache_beside_other_programs_folders_gets_no_gitignore_and_stays_ours(site: Path) -> None:
    """A `.gitignore` of ours there would have git forget everything beside it."""
    folder = site.parent / ".cache"
    (folder / "plugin").mkdir(parents=True)
    (folder / "CACHEDIR.TAG").write_text("")
    settle(site)
    assert rehost("--cache-dir", ".cache") == 0
    assert (folder / "store").is_dir()
    assert not (folder / ".gitignore").exists()
    (folder / "index.json").write_text("another program's")
    assert rehost("--cache-dir", ".cache") == 0


@pytest.mark.parametrize("content", ['{"name": "x"}\n', "-----BEGIN KEY-----\nabc\n", "\0\xff"])
@pytest.mark.parametrize("command", ["rehost", "status", "prune"])
def test_a_lock_that_is_somebody_elses_file_is_refused_and_left(site: Path, capsys, content: str, command: str) -> None:
    Path("package.json").write_text(content)
    flags = {"rehost": ["site"], "status": [], "prune": ["--keep", "site", "--yes"]}[command]
    assert main([command, *flags, "--host", "directory", "--lock", "package.json"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert Path("package.json").read_text() == content


def test_a_cache_of_its_own_gets_a_gitignore(site: Path) -> None:
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
