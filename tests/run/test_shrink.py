"""A branch of published versions loses its images' copies, in one commit, and nothing else changes."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from sites import image_urls, picture, tree, write
from trust.place import counted, tell

from imghost import ImghostError, Job, Origins, SettingsError, read_settings
from imghost.cli.main import main
from imghost.run.shrink import find_branch, plan_shrink, shrink

LARGE = (400, 300)
KILLS = counted("SHRINK_KILLS", 3, of_all=20)
IDENTITY = {"GIT_AUTHOR_NAME": "T", "GIT_AUTHOR_EMAIL": "t@x.test", "GIT_COMMITTER_NAME": "T", "GIT_COMMITTER_EMAIL": "t@x.test"}  # fmt: skip


@pytest.fixture(autouse=True)
def _identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in IDENTITY.items():
        monkeypatch.setenv(name, text)


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def refs(folder: Path) -> dict[str, str]:
    lines = git(folder, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(line.split() for line in lines)


def files_of(folder: Path, commit: str, place: Path) -> Path:
    """Write a commit's files, links included."""
    raw = subprocess.run(["git", "archive", commit], cwd=folder, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        archive.extractall(place, filter="tar")
    return place


def shown(site: Path) -> dict[str, list[bytes]]:
    """Read the images that each page shows, in order; a link to a folder shows what that shows."""
    return {
        path: [(site / path).parent.joinpath(url).read_bytes() for url in image_urls(content)]
        for path, content in tree(site, ".html").items()
    }


def page(count: int) -> str:
    return "<!doctype html>\n" + "".join(f'<p><img src="images/{number}.png" alt="">\n' for number in range(count))


def published(folder: Path, versions: int = 3, count: int = 6) -> Path:
    """Make a checkout with a branch as mike leaves it: versions, a link for an alias, and a redirect."""
    write(folder, {"README.md": "x\n"})
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Begin")
    git(folder, "checkout", "-q", "--orphan", "gh-pages")
    git(folder, "rm", "-qrf", ".")
    for version in range(versions):
        # The last image is each version's own.
        pictures = {f"{version}.0/images/{seed}.png": picture(seed, LARGE) for seed in range(count - 1)}
        own = {f"{version}.0/images/{count - 1}.png": picture(100 + version, LARGE)}
        write(folder, {f"{version}.0/index.html": page(count), **pictures, **own})
    (folder / "latest").symlink_to(f"{versions - 1}.0")
    write(folder, {"index.html": '<meta http-equiv="refresh" content="0; url=latest/">\n', "versions.json": "[]\n"})
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Publish")
    git(folder, "checkout", "-q", "main")
    return folder


def job(folder: Path, **raw: object) -> Job:
    chosen = read_settings({"host": "directory", **raw}, folder)
    return Job(folder, chosen, dict(os.environ), Origins(is_own_source=True))


def test_every_version_shows_what_it_showed_and_the_copies_are_gone(tmp_path: Path) -> None:
    folder = published(tmp_path / "r")
    old = refs(folder)
    before = shown(files_of(folder, "gh-pages", tmp_path / "old"))
    shrunk = shrink(find_branch(folder, "gh-pages"), job(folder))
    site = files_of(folder, "gh-pages", tmp_path / "new")
    assert shown(site) == before
    assert [path for path in tree(site, ".png") if not path.startswith("_imghost/")] == []
    assert len(tree(site / "_imghost")) == 5 + 3
    assert (site / "latest").readlink() == Path("2.0")
    assert (shrunk.before, shrunk.after) == tuple(
        sum(map(len, tree(place).values())) - alias(place) for place in (tmp_path / "old", site)
    )
    assert shrunk.after < shrunk.before / 2
    # Nothing but the branch has moved, by one commit on top of what it was.
    assert {**refs(folder), "refs/heads/gh-pages": ""} == {**old, "refs/heads/gh-pages": ""}
    assert git(folder, "rev-parse", "gh-pages^") == old["refs/heads/gh-pages"]
    assert git(folder, "status", "--porcelain") in {"", "?? .cache/"}


def alias(site: Path) -> int:
    """Count the bytes below the link, which `tree` reads a second time."""
    return sum(len(content) for path, content in tree(site).items() if path.startswith("latest/"))


def test_a_second_time_there_is_nothing_to_do(tmp_path: Path) -> None:
    folder = published(tmp_path)
    shrink(find_branch(folder, "gh-pages"), job(folder))
    there = refs(folder)
    again = shrink(find_branch(folder, "gh-pages"), job(folder))
    assert (again.commit, refs(folder)) == ("", there)


def test_a_plan_tells_each_version_and_changes_nothing(tmp_path: Path) -> None:
    folder = published(tmp_path)
    there = refs(folder)
    planned = plan_shrink(find_branch(folder, "gh-pages"), job(folder))
    assert refs(folder) == there
    aliases = {"0.0": (), "1.0": (), "2.0": ("latest",), ".": ()}
    assert {version.name: version.aliases for version in planned.versions} == aliases
    assert all(version.after < version.before / 2 for version in planned.versions if version.name != ".")
    done = shrink(find_branch(folder, "gh-pages"), job(folder))
    assert planned.before == done.before
    assert 0 <= done.after - planned.after < 18 * 40  # what the new references are longer


def test_without_history_the_branch_is_one_commit(tmp_path: Path) -> None:
    folder = published(tmp_path)
    before = refs(folder)
    shrink(find_branch(folder, "gh-pages"), job(folder), is_orphan=True)
    assert git(folder, "rev-list", "--count", "gh-pages") == "1"
    # The way back that the documentation has, after git has cleaned up, too.
    git(folder, "gc", "-q")
    git(folder, "branch", "-f", "gh-pages", "gh-pages@{1}")
    assert refs(folder) == before
    assert git(folder, "fsck", "--no-dangling") == ""


def test_a_branch_that_only_a_remote_has_becomes_a_local_one(tmp_path: Path) -> None:
    folder = published(tmp_path / "origin")
    git(tmp_path, "clone", "-q", str(folder), "clone")
    clone = tmp_path / "clone"
    shrink(find_branch(clone, "gh-pages"), job(clone))
    assert git(clone, "rev-parse", "gh-pages^") == git(clone, "rev-parse", "origin/gh-pages")
    git(clone, "branch", "-f", "gh-pages", "origin/gh-pages")  # the way back that the documentation has
    assert shrink(find_branch(clone, "gh-pages"), job(clone)).commit


@pytest.mark.long
def test_a_branch_that_somebody_moves_meanwhile_stays_as_they_left_it(tmp_path: Path) -> None:
    folder = published(tmp_path)
    branch = find_branch(folder, "gh-pages")
    moved = git(folder, "commit-tree", "gh-pages^{tree}", "-p", "gh-pages", "-m", "theirs")
    git(folder, "update-ref", "refs/heads/gh-pages", moved)
    with pytest.raises(ImghostError, match="'gh-pages' was moved meanwhile and stays as it is; run it again"):
        shrink(branch, job(folder))
    assert git(folder, "rev-parse", "gh-pages") == moved


@pytest.mark.long
def test_what_cannot_be_shrunk_is_said(tmp_path: Path) -> None:
    folder = published(tmp_path / "r")
    with pytest.raises(SettingsError, match="there is no branch 'pages'"):
        find_branch(folder, "pages")
    with pytest.raises(SettingsError, match=r"'main' is checked out in .*; switch to another branch there"):
        find_branch(folder, "main")
    (tmp_path / "plain").mkdir()
    with pytest.raises(SettingsError, match="needs a git checkout"):
        find_branch(tmp_path / "plain", "main")


@pytest.mark.long
def test_files_come_back_byte_for_byte_whatever_git_is_told_of_them(tmp_path: Path) -> None:
    """Line ends, filters and export rules are for work trees; a published file is what it is."""
    folder = published(tmp_path)
    git(folder, "config", "core.autocrlf", "true")
    git(folder, "checkout", "-q", "gh-pages")
    write(
        folder,
        {
            ".gitattributes": "*.html text eol=crlf export-subst\n*.txt export-ignore\n",
            "a b.txt": "$Format:%H$\n",
            "1.0/line\nend.txt": "x",
        },
    )
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "More")
    before = git(folder, "ls-tree", "-r", "gh-pages")
    git(folder, "checkout", "-q", "-f", "main")
    shrink(find_branch(folder, "gh-pages"), job(folder))
    after = git(folder, "ls-tree", "-r", "gh-pages")
    kept = [line for line in before.splitlines() if not re.search(r"\.(?:png|html)\"?$", line)]
    assert kept == [line for line in after.splitlines() if not re.search(r"\.(?:png|html)\"?$", line)]
    assert any("100755" in line for line in kept)


@pytest.mark.more_in_all
@pytest.mark.skipif(sys.platform == "win32", reason="nothing there kills as SIGKILL does")
@pytest.mark.timeout(1200)
def test_killed_anywhere_the_branch_is_whole(tmp_path: Path) -> None:
    folder = published(tmp_path / "r")
    before = shown(files_of(folder, "gh-pages", tmp_path / "old"))
    begin = refs(folder)["refs/heads/gh-pages"]
    words = [sys.executable, "-m", "imghost", "shrink", "gh-pages", "--host", "directory", "--yes"]
    environ: Mapping[str, str] = {**os.environ, "TMPDIR": str(tmp_path)}
    started = time.perf_counter()
    subprocess.run(words, cwd=folder, env=environ, check=True, capture_output=True)
    usual = time.perf_counter() - started
    hits = 0
    for number in range(KILLS):
        git(folder, "update-ref", "refs/heads/gh-pages", begin)
        with subprocess.Popen(
            words, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as run:
            time.sleep(usual * (number + 1) / (KILLS + 1))
            run.send_signal(signal.SIGKILL)
        hits += run.returncode == -signal.SIGKILL
        assert git(folder, "fsck", "--connectivity-only", "--no-dangling") == ""
        assert shown(files_of(folder, "gh-pages", tmp_path / f"left{number}")) == before
        assert git(folder, "status", "--porcelain") in {"", "?? .cache/"}
        subprocess.run(words, cwd=folder, env=environ, check=True, capture_output=True)
        assert shown(files_of(folder, "gh-pages", tmp_path / f"then{number}")) == before
    assert list(tmp_path.glob("imghost-shrink-*")) == []
    tell(f"{hits} of {KILLS} runs of shrink killed, 0 branches torn")
    assert hits


def test_what_is_printed_ends_with_what_to_do(tmp_path: Path, monkeypatch, capsys) -> None:
    folder = published(tmp_path / "r", versions=2, count=3)
    monkeypatch.chdir(folder)
    assert main(["shrink", "gh-pages", "--host", "img402", "--option", "tier=1-year", "--retention", "365d"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["version", "pages", "images", "before", "after"]
    assert [re.split("  +", line)[:3] for line in lines[1:5]] == [
        ["0.0", "1", "3"],
        ["1.0 latest", "1", "3"],
        [".", "1", "0"],
        ["all", "3", "6"],
    ]
    assert re.fullmatch(r"to upload  4 images, \d+ kB to img402 for \$0\.04", lines[6])
    assert re.fullmatch(r"Pages      \d+ kB of 1 GB now, \d+ k?B after", lines[7])
    assert lines[8:] == [
        "history    the old commits keep their images; --orphan leaves them behind",
        "nothing is changed yet: --yes uploads, and commits to gh-pages only",
    ]
    assert main(["shrink", "gh-pages", "--host", "directory", "--yes"]) == 0
    assert re.search(r"\ngh-pages is at [0-9a-f]{10} now; push it: git push origin gh-pages\n", capsys.readouterr().out)
