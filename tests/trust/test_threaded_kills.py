"""A build killed at any moment of eight upload threads is completed by the next, with no second copy that need not be."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from doubles.imageupload import PRO, ImageUpload
from doubles.img402 import Img402
from doubles.imgpro import VERIFIED, ImgPro
from doubles.server import Reply, Request
from sites import tree
from trust.place import Project, assert_whole, built_site, counted, crawl, references, scratch, tell
from trust.points import Ended, Tracer

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux names processes safely")

IMAGES = 24
THREADS = 8
_DOUBT = re.compile(r"(\d+) images? may be stored twice")


class Free(Img402):
    @property
    def api_url(self) -> str:
        return self.url


@dataclass(frozen=True)
class Kind:
    """A host, and whether it has a way to be asked for what an earlier run stored."""

    name: str
    double: Callable[[], Any]
    stored: Callable[[Any], int]
    options: tuple[tuple[str, str], ...] = ()
    key: tuple[str, str] = ("IMGPRO_API_KEY", VERIFIED)
    is_blind: bool = False

    def project(self, folder: Path, host: Any) -> Project:
        options = (("concurrency", str(THREADS)), *self.options)
        return Project(folder, host, options, chosen=self.name, key=self.key)


def copies(host: Any) -> int:
    return len(host.copies)


KINDS = {
    "img.pro, images": Kind("img.pro", lambda: ImgPro("images"), copies),
    "img.pro, upload": Kind("img.pro", lambda: ImgPro("upload"), copies),
    "imageupload.io": Kind("imageupload.io", ImageUpload, copies, key=("IMAGEUPLOAD_API_KEY", PRO)),
    "img402, free": Kind(
        "img402", Free, lambda host: len(host.images), (("option", "tier=free"), ("retention", "7d")), is_blind=True
    ),
}


class Traffic:
    """Slows a double down, so that all threads are under way, and tells of each request before or after its route."""

    def __init__(self, host: Any, chance: random.Random) -> None:
        self._route, host.server.route = host.server.route, self._slowed
        self._chance = chance
        self._numbers = count(1)
        self._guard = threading.Lock()
        self._open = 0
        self.most = 0
        """The most requests at the same time."""
        self.at: Callable[[int], None] = lambda number: None

    def _slowed(self, request: Request) -> Reply:
        with self._guard:
            self._open += 1
            self.most = max(self.most, self._open)
            pauses = [self._chance.uniform(0, 0.02) for _ in range(2)]
        self.at(next(self._numbers))
        time.sleep(pauses[0])
        reply = self._route(request)
        self.at(next(self._numbers))
        time.sleep(pauses[1])
        with self._guard:
            self._open -= 1
        return reply


@contextmanager
def killer(tracer: Tracer, project: Project) -> Iterator[Callable[[], None]]:
    """Begin a build; gives what kills it, and nothing else that may have its number by then."""
    held = os.pidfd_open(tracer.begin(project))
    try:

        def kill() -> None:
            try:
                signal.pidfd_send_signal(held, signal.SIGKILL)
            except ProcessLookupError:
                return  # it had ended

        yield kill
    finally:
        os.close(held)


def killed(tracer: Tracer, project: Project, traffic: Traffic, chance: random.Random, span: float) -> Ended:
    """Kill a build after a random time, or at a random event of the host's."""
    with killer(tracer, project) as kill:
        if chance.random() < 0.5:
            time.sleep(chance.uniform(0, span))
            kill()
        else:
            number = chance.randint(1, 2 * 2 * IMAGES)
            traffic.at = lambda now: kill() if now == number else None
        ended = tracer.end(project)
        traffic.at = lambda now: None
    return ended


def complete(project: Project, before: dict[str, bytes], ended: Ended) -> None:
    """Check that every reference is hosted, and that nothing of the killed run is left once one has uploaded."""
    for page, moved in crawl(project.site, before, project.host).items():
        assert moved == sum(".png" in url for url in references(before[page])), page
    assert not [path for path in tree(project.site) if ".imghost-" in path]
    assert not [*project.cache.glob(".store-*")]
    assert "uploading" not in ended.err or not [*project.root.glob("imghost-*")]


def round_of(tracer: Tracer, name: str, seed: int, span: float) -> Counter[str]:
    """Kill one build, judge what it left and what the two after it make of that; gives what there was to count."""
    kind, chance = KINDS[name], random.Random(seed)
    with scratch("threads") as folder, kind.double() as host:
        project = kind.project(Path(folder), host)
        before = tree(built_site(project.site, IMAGES))
        traffic = Traffic(host, chance)
        ended = killed(tracer, project, traffic, chance, span)
        assert ended.status in {0, -9}, ended.err
        assert_whole(crawl(project.site, before, host), before)
        stored = kind.stored(host)
        after = rebuilt(tracer, project)
        complete(project, before, after)
        doubts = doubted(after)
        extra = kind.stored(host) - IMAGES
        assert 0 <= extra <= (min(doubts, THREADS) if kind.is_blind else 0), f"{name}, seed {seed}: {extra}, {doubts}"
        built_site(project.site, IMAGES)
        assert "upload" not in rebuilt(tracer, project).err
        assert kind.stored(host) - IMAGES == extra
    hit, is_between = ended.status == -9, 0 < stored < IMAGES
    return Counter({"hit": hit, "amid uploads": hit and is_between, f"extra at {name}": extra, "reported": doubts})


def rebuilt(tracer: Tracer, project: Project) -> Ended:
    """Build, undisturbed."""
    tracer.begin(project)
    ended = tracer.end(project)
    assert ended.status == 0, ended.err
    return ended


def doubted(ended: Ended) -> int:
    """Give how many images a build says may be stored twice."""
    return sum(map(int, _DOUBT.findall(ended.err)))


def undisturbed(tracer: Tracer, name: str) -> float:
    """Measure how long a build takes, and see that all threads are under way at once."""
    kind = KINDS[name]
    with scratch("threads") as folder, kind.double() as host:
        project = kind.project(Path(folder), host)
        traffic = Traffic(host, random.Random(0))
        before = tree(built_site(project.site, IMAGES))
        begin = time.monotonic()
        ended = rebuilt(tracer, project)
        span = time.monotonic() - begin
        complete(project, before, ended)
        assert "uploading 24 images" in ended.err
        assert doubted(ended) == 0
        assert traffic.most >= THREADS // 2
        return span


def all_of(seeds: range) -> Counter[str]:
    total: Counter[str] = Counter()
    names = list(KINDS)
    with Tracer() as tracer:
        spans = {name: undisturbed(tracer, name) for name in names}
        for seed in seeds:
            name = names[seed // 2 % len(names)]
            total += round_of(tracer, name, seed, spans[name])
    return total


@pytest.mark.long
@pytest.mark.timeout(14_400)
def test_builds_killed_at_random_with_eight_threads_are_completed_without_a_second_copy() -> None:
    """Only a host that cannot be asked stores some twice: at most one for each thread, and the build says so."""
    kills = counted("THREADED_KILLS", 16)
    first = random.randrange(10**9) if kills > 100 else 0
    with ThreadPoolExecutor(2) as pool:
        total = sum(pool.map(all_of, (range(first, first + kills, 2), range(first + 1, first + kills, 2))), Counter())
    extras = ", ".join(f"{total[f'extra at {name}']} at {name}" for name in KINDS)
    told = f"{kills} random kills with {THREADS} threads from seed {first}: {total['hit']} hit"
    tell(f"{told}, {total['amid uploads']} amid uploads; copies too many: {extras}; {total['reported']} reported")
    assert total["hit"] >= kills // 2
    assert total["amid uploads"] >= kills // 8
