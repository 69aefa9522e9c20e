"""The lock under review: what its lines tell a reviewer, and what a pull request's changes are held to."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from doubles.img402 import Img402
from sites import picture, small_site, write

from imghost.cli.main import main
from imghost.errors import LockError
from imghost.models import Served
from imghost.records import lock as locks

FLAGS = ["--host", "img402", "--option", "tier=free", "--retention", "7d"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Publish three images, and commit their lock."""
    monkeypatch.chdir(tmp_path)
    small_site(tmp_path / "site")
    write(tmp_path, {"site/图.png": picture(7), "site/more.html": '<title>x</title><img src="图.png">'})
    with Img402() as double:
        flags = [*FLAGS, "--option", f"api_url={double.url}"]
        assert main(["rehost", "site", *flags]) == 0
        for command in (["init", "-q"], ["add", "imghost.lock"], ["commit", "-qm", "lock"]):
            git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *command]
            subprocess.run(git, cwd=tmp_path, check=True)
        yield tmp_path, double, flags


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "imghost.lock").read_text("ascii").splitlines()]


def change(folder: Path, number: int, **fields: object) -> None:
    """Edit one record's line, as a pull request may."""
    found = lines(folder)
    found[number] |= fields
    (folder / "imghost.lock").write_text("".join(json.dumps(line) + "\n" for line in found))


def test_a_line_names_the_image_and_what_was_served(project) -> None:
    folder, double, _ = project
    records = locks.read(folder / "imghost.lock").records
    assert {record.path for record in records} == {"images/0.png", "images/1.png", "images/2.png", "图.png"}
    for record in records:
        body = double.images[record.url.removeprefix(double.url)][0]
        assert record.served == Served(len(body), sha256(body).hexdigest())
    for line in (folder / "imghost.lock").read_text("ascii").splitlines()[1:]:
        assert locks.quick_record(line) == locks.record_of(json.loads(line)), "what every line has is read at once"


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "served", [None, 7, {"bytes": "9", "sha256": "x"}, {"bytes": True}, {"bytes": 9, "sha256": 1}, []]
)
def test_a_line_that_does_not_say_it_counts_as_before(project, served: object) -> None:
    folder, _, flags = project
    change(folder, 1, served=served, path=9)
    record = next(it for it in locks.read(folder / "imghost.lock").records if it.path == "")
    assert record.served is None
    assert main(["verify", *flags]) == 0


@pytest.mark.long
def test_a_host_is_held_to_what_it_served_at_first(project, capsys) -> None:
    folder, double, flags = project
    assert main(["verify", *flags]) == 0
    url = str(lines(folder)[1]["url"])
    path = url.removeprefix(double.url)
    body, *rest = double.images[path]
    double.images[path] = (body + b"another end of the same size in pixels", *rest)
    capsys.readouterr()
    assert main(["verify", *flags]) == 1
    assert "altered" in capsys.readouterr().out


def test_a_pull_requests_changes_alone_are_fetched(project, capsys) -> None:
    folder, double, flags = project
    double.server.log.clear()
    assert main(["verify", "--since", "HEAD", *flags]) == 0
    assert (double.server.log, "no record has changed" in capsys.readouterr().out) == ([], True)
    change(folder, 1, width=41)
    assert main(["verify", "--since", "HEAD", *flags]) == 1
    assert [request.path for request in double.server.log] == [str(lines(folder)[1]["url"]).removeprefix(double.url)]


def test_another_images_url_of_the_same_size_is_altered(project, capsys) -> None:
    """A swap within one host: the size is the same, the served digest is not."""
    folder, _, flags = project
    other = lines(folder)[2]
    change(folder, 1, url=other["url"], id=other["id"], width=None, height=None)
    assert main(["verify", "--since", "HEAD", *flags]) == 1
    assert "altered" in capsys.readouterr().out


@pytest.mark.long
def test_a_swap_that_takes_the_served_digest_along_is_told_by_its_line(project, capsys) -> None:
    """The reviewer sees it: the digest of one image beside the address of another that the lock has."""
    folder, double, flags = project
    url = str(lines(folder)[1]["url"])
    path = url.removeprefix(double.url)
    body, *rest = double.images[path]
    changed = body + b"x"
    double.images[path] = (changed, *rest)
    change(folder, 1, served={"bytes": len(changed), "sha256": sha256(changed).hexdigest()})
    assert main(["verify", "--since", "HEAD", *flags]) == 1
    assert "no longer says" in capsys.readouterr().out
    change(folder, 1, served=None)
    assert main(["verify", "--since", "HEAD", *flags]) == 1


@pytest.mark.sampled(2)
@pytest.mark.parametrize("commit", ["nowhere", "--output=x", "HEAD~9", ""])
def test_a_commit_that_git_does_not_know_is_an_error_in_words(project, capsys, commit: str) -> None:
    folder, _, flags = project
    status = main(["verify", f"--since={commit}", *flags])
    assert status == (2 if commit else 0)
    assert not (folder / "x").exists()


def test_a_lock_that_the_commit_had_not_is_new_as_a_whole(project) -> None:
    folder, double, flags = project
    (folder / "imghost.lock").rename(folder / "new.lock")
    double.server.log.clear()
    assert main(["verify", "--since", "HEAD", "--lock", "new.lock", *flags]) == 0
    assert len(double.server.log) == 4


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("ahead", "is_read"), [(timedelta(hours=23), True), (timedelta(hours=25), False)])
def test_a_record_from_the_future_is_an_error_that_names_the_line(project, ahead: timedelta, is_read: bool) -> None:
    """Else it would win over every other one for its image, for ever."""
    folder, double, flags = project
    moment = (datetime.now(UTC) + ahead).strftime("%Y-%m-%dT%H:%M:%SZ")
    change(folder, 3, uploaded=moment, expires="9999-12-31T00:00:00Z")
    double.server.log.clear()
    if is_read:
        locks.read(folder / "imghost.lock")
        return
    with pytest.raises(LockError, match=r"line 4.*in the future"):
        locks.read(folder / "imghost.lock")
    assert main(["rehost", "site", *flags]) == 2
    assert double.server.log == []
    assert locks.read(folder / "imghost.lock", datetime.now(UTC) + timedelta(days=2)).records, "the run's clock counts"
