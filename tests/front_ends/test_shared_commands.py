"""Commands around shared records: share, status --shared, adopt, prune and tidy."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from doubles.engines import Folder, opened, states
from doubles.imgpro import ImgPro
from run.test_sharing import a_project, illustrated
from trust.place import Project, picture

from imghost.cli.main import main
from imghost.records import lock


@pytest.fixture
def engine(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "stores")


def configured(project: Project, url: str, **more: str) -> Project:
    """Write the project's configuration, for commands that are run in its folder."""
    lines = [f'host = "img.pro"\nshared = "{url}"\ntimeout = 3\n']
    own = {"api_url": project.host.api_url, "namespace": "docs", **more}
    lines += ["[options]\n", *(f'{name} = "{text}"\n' for name, text in own.items())]
    project.root.mkdir(parents=True, exist_ok=True)
    (project.root / "imghost.toml").write_text("".join(lines), "utf-8")
    return project


def typed(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str, str]:
    """Run a command in the project's folder; gives its status and what it printed."""
    monkeypatch.chdir(project.root)
    monkeypatch.setenv(*project.key)
    status = main(list(words))
    out, err = capsys.readouterr()
    return status or 0, out, err


def test_a_project_that_joins_shares_its_lock(
    tmp_path: Path, engine: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = engine.fresh()
    with ImgPro("images") as host, opened(engine, url) as store:
        alone = Project(tmp_path / "first", host, (("options", {"api_url": host.api_url, "namespace": "docs"}),))
        illustrated(alone.site, [1, 2])
        assert alone.build().report.counts.uploaded == 2
        first = configured(alone, url)
        ran = typed(first, capsys, monkeypatch, "share", "--dry-run")
        assert (ran[0], ran[1]) == (0, f"2 would be published to {store.address}, 0 there already, 0 of no use\n")
        assert states(store) == []
        ran = typed(first, capsys, monkeypatch, "share")
        assert (ran[0], ran[1]) == (0, f"2 published to {store.address}, 0 there already, 0 of no use\n")
        ran = typed(first, capsys, monkeypatch, "share", "--json")
        assert json.loads(ran[1]) == {
            "imghost_share": 1, "store": store.address, "dry_run": False, "published": 0, "there": 2, "left": 0,
        }  # fmt: skip
        second = configured(a_project(tmp_path, "second", host, url), url)
        illustrated(second.site, [1, 2])
        typed(second, capsys, monkeypatch, "rehost", "site")
        assert len(host.copies) == 2
        ran = typed(second, capsys, monkeypatch, "status", "--shared")
        assert "img.pro" in ran[1]
        assert "first/imghost.lock" in ran[1]
        found = json.loads(typed(second, capsys, monkeypatch, "status", "--shared", "--json")[1])["shared"]
        assert found["hosts"] == {"img.pro": 2}
        assert found["projects"] == [
            {"project": "first/imghost.lock", "written": 2, "used": 0},
            {"project": "second/imghost.lock", "written": 0, "used": 2},
        ]


def test_a_pull_request_publishes_nothing(
    tmp_path: Path, engine: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ImgPro("images") as host:
        project = configured(a_project(tmp_path, "first", host, ""), engine.fresh())
        monkeypatch.setenv("GITHUB_EVENT_NAME", "pull_request")
        status, _, err = typed(project, capsys, monkeypatch, "share")
        assert (status, "nothing is published: a pull request of GitHub" in err) == (2, True), err


def test_without_a_store_the_option_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ImgPro("images") as host:
        project = Project(tmp_path / "first", host)
        project.root.mkdir()
        status, _, err = typed(project, capsys, monkeypatch, "status", "--shared")
        assert (status, "no store is set; set the option 'shared' to its URL" in err) == (2, True)


def test_adopt_asks_the_store_first(
    tmp_path: Path, engine: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = engine.fresh()
    with ImgPro("images") as host:
        first, second = (configured(a_project(tmp_path, name, host, url), url) for name in ("first", "second"))
        for project in (first, second):
            illustrated(project.site, [1, 2])
        typed(first, capsys, monkeypatch, "rehost", "site")
        asked = len(host.server.log)
        ran = typed(second, capsys, monkeypatch, "adopt", "site")
        assert ran[1] == "2 adopted, 0 known already, 0 not at the host\n"
        lists = [request for request in host.server.log[asked:] if request.path.startswith("/v1/")]
        assert lists == []
        assert len(lock.read(second.root / "imghost.lock").records) == 2


def test_prune_spares_what_another_project_uses_and_takes_the_rest_out_of_the_store(
    tmp_path: Path, engine: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = engine.fresh()
    with ImgPro("images") as host, opened(engine, url) as store:
        first, second = (configured(a_project(tmp_path, name, host, url), url) for name in ("first", "second"))
        illustrated(first.site, [1, 2, 3])
        illustrated(second.site, [2])
        for project in (first, second):
            typed(project, capsys, monkeypatch, "rehost", "site")
        assert len(host.copies) == 3
        (first.site / "index.html").write_text("<p>nothing", "utf-8")
        for number in (1, 2, 3):
            (first.site / f"images/{number}.png").unlink()
        words = ("prune", "--keep", "site", "--grace", "0s")
        _, out, err = typed(first, capsys, monkeypatch, *words)
        assert out.endswith("2 unused, 0 too young to go, 1 used; --yes deletes them\n")
        assert "1 image stay, since other projects use them, like second/imghost.lock" in err
        status, out, _ = typed(first, capsys, monkeypatch, *words, "--yes", "--timeout", "1")
        assert (status, [copy.sent for copy in host.copies.values()]) == (0, [_digest(2)])
        left = {it["record"]["sha256"] for it in states(store) if it["record"]}  # type: ignore[index]
        assert left == {_digest(2)}
        assert not any(it["claim"] for it in states(store))


@pytest.mark.long
def test_prune_puts_back_what_it_could_not_delete(
    tmp_path: Path, engine: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = engine.fresh()
    with ImgPro("images") as host, opened(engine, url) as store:
        first = configured(a_project(tmp_path, "first", host, url), url)
        illustrated(first.site, [1, 2])
        typed(first, capsys, monkeypatch, "rehost", "site")
        host.locked.add(next(iter(host.copies)))
        (first.site / "index.html").write_text("<p>nothing", "utf-8")
        for number in (1, 2):
            (first.site / f"images/{number}.png").unlink()
        typed(first, capsys, monkeypatch, "prune", "--keep", "site", "--grace", "0s", "--yes", "--timeout", "1")
        (copy,) = host.copies.values()
        assert [it["record"]["sha256"] for it in states(store) if it["record"]] == [copy.sent]  # type: ignore[index]


def test_tidy_takes_out_what_left_every_version_long_ago(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ImgPro("images") as host:
        project = Project(tmp_path / "first", host)
        illustrated(project.site, [1, 2, 3])
        illustrated(project.root / "old", [3])
        project.build()
        illustrated(project.site, [1])
        (project.site / "images/2.png").unlink()
        (project.site / "images/3.png").unlink()
        keep = ("tidy", "--keep", "site", "--keep", "old")
        ran = typed(project, capsys, monkeypatch, *keep)
        assert ran[1] == "0 of 3 records are of images that have left the sites\n"
        ran = typed(project, capsys, monkeypatch, *keep, "--grace", "0s")
        assert ran[1] == "1 of 3 records are of images that have left the sites; --yes takes them out\n"
        assert len(lock.read(project.root / "imghost.lock").records) == 3
        ran = typed(project, capsys, monkeypatch, *keep, "--grace", "0s", "--yes")
        assert ran[1] == "1 of 3 records are of images that have left the sites and are out of imghost.lock\n"
        left = {record.sha256 for record in lock.read(project.root / "imghost.lock").records}
        assert left == {_digest(1), _digest(3)}
        assert len(host.copies) == 3


def _digest(number: int) -> Any:
    return sha256(picture(number)).hexdigest()
