"""Any order of edits, builds, kills and losses, on two machines: references work, no image is stored twice."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import ClassVar

import pytest
from doubles.imgpro import DAY, ImgPro
from doubles.server import Reply, Request
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sites import tree, write
from trust.place import MEMORY, Project, assert_done, counted, crawl, duplicates, of_orders, pages, picture, tell, today
from trust.points import Tracer

IMAGES = 4
LIFE = 60 * DAY
ORDERS = counted("ORDERS", 15, of_all=1000)
STEPS = counted("STEPS", 30)
EVENTS = 210
"""Events of Python in a build that uploads, of which a kill hits one."""
MACHINES = st.integers(0, 1)


class Dated(ImgPro):
    """A host whose answers have its own clock's date."""

    def _route(self, request: Request) -> Reply:
        reply = super()._route(request)
        return replace(reply, headers=(*reply.headers, ("Date", formatdate(self.now(), usegmt=True))))


class Publishing(RuleBasedStateMachine):
    """Two machines that publish one source with one account, each with its own cache and lock."""

    builder: Tracer
    tally: ClassVar[Counter[str]] = Counter()
    """How many there were of each event, over all orders."""

    @initialize(generation=st.sampled_from(["images", "upload"]))
    def begin(self, generation: str) -> None:
        self.tally["orders"] += 1
        self.root = Path(tempfile.mkdtemp(prefix="machine-", dir=MEMORY))
        self.host = Dated(generation, lifetime=LIFE, quota=10_000).__enter__()
        options = (("retention", "30d"),)
        self.machines = [Project(self.root / name, self.host, options) for name in "ab"]
        self.seeds = list(range(IMAGES))
        self.before: list[dict[str, bytes]] = [{}, {}]
        for machine in (0, 1):
            self.write(machine)

    def teardown(self) -> None:
        if hasattr(self, "host"):
            self.tally["copies"] += len(self.host.copies)
            self.host.__exit__(None, None, None)
            shutil.rmtree(self.root)

    def now(self) -> datetime:
        return today() + timedelta(seconds=self.host.clock)

    def write(self, machine: int) -> None:
        """Write the site anew, as a generator's clean build does."""
        images = {f"images/{number}.png": picture(seed) for number, seed in enumerate(self.seeds)}
        files = {**pages(IMAGES), **images, "images/copy.png": picture(self.seeds[0])}
        self.before[machine] = tree(write(self.machines[machine].site, files))

    def publish(self, machine: int) -> None:
        """Publish; whatever happened before, the site is then complete."""
        project = self.machines[machine]
        result = project.build(now=self.now, sleep=lambda _: time.sleep(0.001))
        assert not [notice for notice in result.notices if notice.code != "cache"], result.notices
        assert_done(project, self.before[machine])
        self.tally["uploads"] += result.report.counts.uploaded

    @rule(number=st.integers(0, IMAGES - 1), seed=st.integers(0, 30), machine=MACHINES)
    def edit(self, number: int, seed: int, machine: int) -> None:
        """Change an image of the source, which one machine sees at once and the other when it generates."""
        self.tally["edit"] += 1
        self.seeds[number] = seed
        self.write(machine)

    @rule(machine=MACHINES)
    def generate(self, machine: int) -> None:
        self.tally["generate"] += 1
        self.write(machine)

    @rule(machine=MACHINES)
    def build(self, machine: int) -> None:
        self.tally["build"] += 1
        self.tally["build by the second machine"] += machine
        self.publish(machine)

    @rule(machine=MACHINES, event=st.integers(1, EVENTS))
    def kill(self, machine: int, event: int) -> None:
        """Publish in a process that dies on its way, if it comes so far."""
        ended = self.builder.kill(self.machines[machine], event, self.host.clock)
        assert ended.status in {0, -9}, ended.err
        self.tally["kill"] += 1
        self.tally["kill that hit"] += ended.status == -9

    @rule(machine=MACHINES)
    def lose_answer(self, machine: int) -> None:
        """Publish while an answer is lost after the host has stored the image."""
        self.tally["lose an answer"] += 1
        self.host.die_after_store()
        self.publish(machine)
        self.host.server.calm()

    @rule(machine=MACHINES)
    def lose_cache(self, machine: int) -> None:
        self.tally["lose the cache"] += 1
        shutil.rmtree(self.machines[machine].root / ".cache", ignore_errors=True)

    @rule(machine=MACHINES)
    def lose_lock(self, machine: int) -> None:
        self.tally["lose the lock"] += 1
        (self.machines[machine].root / "imghost.lock").unlink(missing_ok=True)

    @rule(machine=MACHINES)
    def pull(self, machine: int) -> None:
        """Take the other machine's lock, merged as git does."""
        self.tally["pull"] += 1
        locks = [it.root / "imghost.lock" for it in (self.machines[machine], self.machines[1 - machine])]
        lines = [line for file in locks if file.exists() for line in file.read_text("ascii").splitlines(keepends=True)]
        if lines:
            locks[0].write_text("".join(dict.fromkeys(lines)), "ascii")

    @rule(days=st.sampled_from([1, 70]))
    def wait(self, days: int) -> None:
        """Let time pass; where images end, the pages of old builds end with them."""
        self.tally["expire" if days * DAY > LIFE else "wait"] += 1
        self.host.clock += days * DAY
        for name in [name for name, copy in self.host.copies.items() if (copy.expires or 0) <= self.host.now()]:
            del self.host.copies[name]
        for machine in (0, 1):
            self.write(machine)

    @invariant()
    def every_reference_works(self) -> None:
        if hasattr(self, "host"):
            for machine, project in enumerate(self.machines):
                crawl(project.site, self.before[machine], self.host)

    @invariant()
    def no_image_is_stored_twice(self) -> None:
        if hasattr(self, "host"):
            self.tally["steps"] += 1
            assert duplicates(self.host) == 0


REQUIRED = {
    "edit",
    "build",
    "kill that hit",
    "lose the cache",
    "lose the lock",
    "expire",
    "build by the second machine",
}
"""What must have happened for the test to have shown anything."""


@pytest.mark.more_in_all
@pytest.mark.timeout(36_000)
def test_any_order_of_events_leaves_working_sites_and_one_copy_of_each_image() -> None:
    """The numbers of orders and of steps in each are raised for a soak."""
    machine = Publishing
    machine.tally.clear()
    machine.TestCase.settings = of_orders("ORDERS", ORDERS, STEPS)
    with Tracer() as builder:
        machine.builder = builder
        machine.TestCase().runTest()
    tell(f"{', '.join(f'{count} {event}' for event, count in machine.tally.items())}, 0 duplicates")
    assert all(machine.tally[event] >= max(1, ORDERS // 30) for event in REQUIRED), machine.tally
