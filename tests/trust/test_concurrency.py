"""Builds at the same time, on one machine or on two, store each image once; the same lock gives the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from doubles.imgpro import ImgPro
from sites import tree
from trust.place import Project, assert_done, built_site, counted, crawl, duplicates, references, tell
from trust.points import Ended, Tracer

from imghost.records import lock

BUILDS = 8


@pytest.fixture(scope="module")
def builders() -> Iterator[list[Tracer]]:
    """Give as many processes as build at the same time, with their modules loaded."""
    with ExitStack() as stack:
        yield [stack.enter_context(Tracer()) for _ in range(BUILDS)]


def built(builders: list[Tracer], projects: list[Project]) -> list[Ended]:
    """Build all of these at once."""
    pairs = list(zip(builders, projects, strict=False))
    for builder, project in pairs:
        builder.begin(project)
    ended = [builder.end(project) for builder, project in pairs]
    for one in ended:
        assert one.status == 0, one.err
    return ended


def quiet(ended: list[Ended]) -> bool:
    return not any("warning" in one.err for one in ended)


def sites(root: Path, host: ImgPro) -> list[Project]:
    return [Project(root, host, name=f"site{number}") for number in range(BUILDS)]


@pytest.mark.sampled(1)
@pytest.mark.more_in_all
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("generation", ["images", "upload"])
def test_eight_builds_on_one_cache_and_lock_store_each_image_once(
    tmp_path: Path, builders: list[Tracer], generation: str
) -> None:
    rounds = counted("ROUNDS", 2, of_all=5)
    for number in range(rounds):
        with ImgPro(generation) as host:
            projects = sites(tmp_path / str(number), host)
            before = [tree(built_site(project.site, count=6)) for project in projects]
            assert quiet(built(builders, projects))
            assert (len(host.copies), duplicates(host)) == (6, 0)
            assert len(lock.read(projects[0].root / "imghost.lock").records) == 6
            for project, was in zip(projects, before, strict=True):
                assert_done(project, was)
    tell(f"{rounds} rounds of {BUILDS} builds on one cache and lock ({generation}), 0 duplicates")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_eight_builds_of_one_site_leave_it_whole(tmp_path: Path, builders: list[Tracer]) -> None:
    rounds = counted("ROUNDS", 3)
    for number in range(rounds):
        with ImgPro("images") as host:
            project = Project(tmp_path / str(number), host)
            before = tree(built_site(project.site, count=6))
            built(builders, [project] * BUILDS)
            crawl(project.site, before, host)
            project.build()
            assert_done(project, before)
            assert len(host.copies) == 6
    tell(f"{rounds} rounds of {BUILDS} builds of one site, 0 duplicates")


@pytest.mark.long
def test_builds_with_different_images_all_keep_their_records(tmp_path: Path, builders: list[Tracer]) -> None:
    """The lock is read again under the store's own, so that no build overwrites what another one added."""
    with ImgPro("images") as host:
        projects = sites(tmp_path, host)
        for number, project in enumerate(projects):
            built_site(project.site, count=3, first=number * 10)
        assert quiet(built(builders, projects))
        assert len(lock.read(tmp_path / "imghost.lock").records) == len(host.copies) == 3 * BUILDS
        assert duplicates(host) == 0


@pytest.mark.sampled(1)
@pytest.mark.more_in_all
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("generation", ["images", "upload"])
def test_two_machines_at_once_store_each_image_once(tmp_path: Path, builders: list[Tracer], generation: str) -> None:
    """They share nothing but the account: each has its own cache and its own lock."""
    rounds = counted("ROUNDS", 1, of_all=4)
    for number in range(rounds):
        with ImgPro(generation) as host:
            machines = [Project(tmp_path / f"{number}-{name}", host) for name in "ab"]
            before = [tree(built_site(machine.site, count=6)) for machine in machines]
            built(builders, machines)
            assert (len(host.copies), duplicates(host)) == (6, 0)
            for machine, was in zip(machines, before, strict=True):
                assert_done(machine, was)
    tell(f"{rounds} rounds of two machines at once ({generation}), 0 duplicates")


def test_the_same_source_and_lock_give_the_same_bytes_with_and_without_a_network(tmp_path: Path) -> None:
    with ImgPro("images") as host:
        first = Project(tmp_path / "first", host)
        built_site(first.site)
        first.build()
        second = Project(tmp_path / "second", host)
        built_site(second.site)
        (second.root / "imghost.lock").write_bytes((first.root / "imghost.lock").read_bytes())
        assert second.build().report.requests == 0
        third = Project(tmp_path / "third", host)
        built_site(third.site)
        (third.root / "imghost.lock").write_bytes((first.root / "imghost.lock").read_bytes())
        assert offline(third).returncode == 0
    wanted = tree(first.site)
    assert tree(second.site) == tree(third.site) == wanted
    assert any("http://127.0.0.1" in url for url in references(wanted["index.html"]))
    assert (third.root / "imghost.lock").read_bytes() == (first.root / "imghost.lock").read_bytes()


NO_SOCKETS = """
import sys

def refuse(event, _):
    if event.startswith("socket."):
        raise SystemExit(f"the build made a {event}")

sys.addaudithook(refuse)
from imghost.cli.main import main
sys.exit(main())
"""


def offline(project: Project) -> subprocess.CompletedProcess[str]:
    """Build in a process that ends at the first thing it does with a socket, and without a key."""
    environ = {name: value for name, value in project.environ().items() if name != "IMGPRO_API_KEY"}
    command = [sys.executable, "-c", NO_SOCKETS, *project.command()[3:]]
    return subprocess.run(command, cwd=project.root, env=environ, capture_output=True, text=True, timeout=60)


def test_the_order_of_files_on_the_disk_changes_no_byte(tmp_path: Path) -> None:
    with ImgPro("images") as host:
        first, second = Project(tmp_path / "first", host), Project(tmp_path / "second", host)
        files = tree(built_site(first.site, count=5))
        for path, content in reversed(files.items()):
            file = second.site / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            os.utime(file, (1, 1))
        first.build()
        second.build()
        assert tree(first.site) == tree(second.site)
        lines = [(it.root / "imghost.lock").read_text().splitlines() for it in (first, second)]
        assert [line.partition('"uploaded"')[0] for line in lines[0]] == [
            line.partition('"uploaded"')[0] for line in lines[1]
        ]
