"""A build that is killed at any system call leaves a site that works, and the next build completes it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from doubles.imgpro import ImgPro
from sites import tree
from trust.place import Project, assert_done, assert_whole, built_site, counted, crawl, duplicates, scratch, tell
from trust.points import Point, Tracer, can_trace, repeated

pytestmark = pytest.mark.skipif(not can_trace(), reason="strace is not installed, or may not trace here")

GENERATIONS = ("images", "upload")


def every_point(folder: Path) -> list[Point]:
    with ImgPro("images") as host, Tracer() as tracer:
        project = Project(folder, host)
        built_site(project.site)
        return tracer.found(project)


def killed(tracer: Tracer, point: Point, generation: str) -> bool:
    """Kill one build, judge what it left, build again and judge that; says whether the kill hit."""
    with scratch("kill") as folder, ImgPro(generation) as host:
        project = Project(Path(folder), host)
        before = tree(built_site(project.site))
        ended = tracer.inject(project, point, "signal=KILL")
        assert ended.status in {0, -9}, ended.err
        assert_whole(crawl(project.site, before, host), before)
        notices = project.build().notices
        assert not [notice for notice in notices if notice.code != "cache"], (point, generation, notices)
        assert_done(project, before)
        assert not list(project.cache.glob(".store-*"))
        stored = len(host.copies)
        built_site(project.site)
        assert project.build().report.requests == 0
        assert (stored, duplicates(host)) == (3, 0)
        return ended.status == -9


def all_killed(rounds: list[tuple[Point, str]]) -> int:
    with Tracer() as tracer:
        return sum(killed(tracer, point, generation) for point, generation in rounds)


@pytest.mark.more_in_all
@pytest.mark.timeout(14_400)
def test_a_build_killed_at_any_call_is_completed_by_the_next_without_a_second_copy(tmp_path: Path) -> None:
    """Pages are old or new, no image is stored twice, and a third build asks nobody."""
    known = every_point(tmp_path)
    count = counted("KILLS", 10, of_all=60)
    chosen = repeated(known, count)
    # A point that comes again has the other generation.
    kinds = [GENERATIONS[(number + number // len(known)) % 2] for number in range(count)]
    rounds = list(zip(chosen, kinds, strict=True))
    with ThreadPoolExecutor(2) as pool:
        hits = sum(pool.map(all_killed, (rounds[::2], rounds[1::2])))
    calls = len({name for name, _ in chosen})
    told = f"{count} kill points ({len(set(chosen))} different ones of {len(known)}) over {calls} system calls"
    tell(f"{told}, {hits} hit, 0 pages half-written, 0 duplicates")
    assert hits >= 50 or count < 60
    # Threads share the work differently each time, so that some points are never reached.
    assert hits >= 0.75 * count


@pytest.mark.long
def test_a_build_killed_again_and_again_comes_to_its_end(tmp_path: Path) -> None:
    """Every attempt dies somewhat later than the one before, as on a machine that lacks memory."""
    with ImgPro("images") as host, Tracer() as tracer:
        project = Project(tmp_path, host)
        before = tree(built_site(project.site, count=5))
        for number in range(1, 11):
            tracer.inject(project, ("fdatasync", number * 7), "signal=KILL")
            crawl(project.site, before, host)
        project.build()
        assert_done(project, before)
