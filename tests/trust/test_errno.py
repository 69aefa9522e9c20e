"""A build in which any system call fails ends with one line for each trouble, and leaves a site that works."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from doubles.imgpro import ImgPro
from sites import tree
from trust.place import Project, assert_done, built_site, counted, crawl, scratch, tell
from trust.points import Ended, Point, Tracer, can_trace, repeated

pytestmark = pytest.mark.skipif(not can_trace(), reason="strace is not installed, or may not trace here")

CAUSES = {
    "write": ("ENOSPC", "EIO", "EPIPE"),
    "pwrite64": ("ENOSPC", "EIO"),
    "openat": ("EMFILE", "EACCES", "EIO"),
    "rename": ("EACCES", "EROFS"),
    "unlink": ("EPERM", "EBUSY"),
    "unlinkat": ("EPERM",),
    "mkdir": ("ENOSPC", "EROFS"),
    "rmdir": ("EBUSY",),
    "chmod": ("EPERM",),
    "fsync": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO", "ENOSPC"),
    "ftruncate": ("EIO",),
    "flock": ("ENOLCK", "EINTR"),
    "sendto": ("ECONNRESET", "ETIMEDOUT"),
    "connect": ("ECONNREFUSED", "ENETUNREACH"),
}


LASTING = {"write", "pwrite64", "fsync", "fdatasync", "rename"}

Failing = tuple[Point, str, str]
"""A system call, what it fails with, and `+` where every later one does, too."""


def failings(points: list[Point], count: int) -> list[Failing]:
    """Choose as many as asked for; a point that comes again has another cause."""
    found: list[Failing] = []
    for number, point in enumerate(repeated(points, count)):
        turn, place = divmod(number, len(points))
        causes = CAUSES[point[0]]
        lasts = "+" if (place + turn) % 5 == 4 and point[0] in LASTING else ""
        found.append((point, causes[(place + turn) % len(causes)], lasts))
    return found


def failed(tracer: Tracer, number: int, failing: Failing) -> str:
    """Fail one call of a build, and every one after it for some; gives what went wrong for the user, or nothing."""
    point, cause, lasts = failing
    with scratch("errno") as folder, ImgPro(("images", "upload")[number % 2]) as host:
        project = Project(Path(folder), host)
        before = tree(built_site(project.site))
        ended = tracer.inject(project, (point[0], f"{point[1]}{lasts}"), f"error={cause}")  # type: ignore[arg-type]
        problem = judged(ended)
        crawl(project.site, before, host)
        project.build()
        assert_done(project, before)
        return problem and f"{point} {cause}{lasts}: {problem}"


def judged(ended: Ended) -> str:
    """Say how an end is not one of those that the command promises."""
    if ended.status not in {0, 1, 2}:
        return f"status {ended.status}: {ended.err[-2000:]}"
    return f"a traceback: {ended.err[-2000:]}" if "Traceback" in ended.err else ""


def all_failed(chosen: list[Failing]) -> list[str]:
    with Tracer() as tracer:
        return [problem for number, one in enumerate(chosen) if (problem := failed(tracer, number, one))]


@pytest.mark.more_in_all
@pytest.mark.timeout(14_400)
def test_a_build_in_which_any_call_fails_ends_in_order_and_the_next_completes_it(tmp_path: Path) -> None:
    """Every reference leads somewhere, no image is stored twice, and no traceback is shown."""
    with ImgPro("images") as host, Tracer() as tracer:
        project = Project(tmp_path, host)
        built_site(project.site)
        known = tracer.found(project)
    chosen = failings(known, counted("ERRORS", 12, of_all=90))
    with ThreadPoolExecutor(2) as pool:
        problems = [problem for found in pool.map(all_failed, (chosen[::2], chosen[1::2])) for problem in found]
    points = {point for point, _, _ in chosen}
    calls, causes = {name for name, _ in points}, {cause for _, cause, _ in chosen}
    told = f"{len(chosen)} errno points ({len(points)} different calls of {len(known)}, {len(set(chosen))} faults)"
    tell(f"{told}, {len(calls)} system calls, {len(causes)} causes, {len(problems)} tracebacks, 0 duplicates")
    assert not problems, "\n".join(problems)
    assert len(chosen) >= 10
