"""Any order of edits, builds, kills and losses, on two machines: references work, no image is stored twice."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import formatdate
from pathlib import Path

import pytest
from doubles.imgpro import DAY, ImgPro
from doubles.server import Reply, Request
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sites import picture, tree, write
from trust.place import Project, assert_done, built_site, counted, crawl, duplicates, today
from trust.points import Tracer

IMAGES = 4
LIFE = 60 * DAY
STEPS = counted("STEPS", 20)
SOAKS = "IMGHOST_SOAK_ORDERS" in os.environ
MACHINES = st.integers(0, 1)


class Dated(ImgPro):
    """A host whose answers have its own clock's date."""

    def _route(self, request: Request) -> Reply:
        reply = super()._route(request)
        return replace(reply, headers=(*reply.headers, ("Date", formatdate(self.now(), usegmt=True))))


class Publishing(RuleBasedStateMachine):
    """Two machines that publish one source with one account, each with its own cache and lock."""

    builder: Tracer

    @initialize(generation=st.sampled_from(["images", "upload"]))
    def begin(self, generation: str) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="machine-"))
        self.host = Dated(generation, lifetime=LIFE, quota=10_000).__enter__()
        options = (("retention", "30d"),)
        self.machines = [Project(self.root / name, self.host, options) for name in "ab"]
        self.seeds = list(range(IMAGES))
        self.before: list[dict[str, bytes]] = [{}, {}]
        for machine in (0, 1):
            self.generate(machine)

    def teardown(self) -> None:
        if hasattr(self, "host"):
            self.host.__exit__(None, None, None)
            shutil.rmtree(self.root)

    def now(self) -> datetime:
        return today() + timedelta(seconds=self.host.clock)

    @rule(number=st.integers(0, IMAGES - 1), seed=st.integers(0, 30))
    def edit(self, number: int, seed: int) -> None:
        """Change an image of the source."""
        self.seeds[number] = seed

    @rule(machine=MACHINES)
    def generate(self, machine: int) -> None:
        """Have the generator write the site anew, as a clean build does."""
        site = built_site(self.machines[machine].site, count=IMAGES)
        images = {f"images/{number}.png": picture(seed) for number, seed in enumerate(self.seeds)}
        self.before[machine] = tree(write(site, {**images, "images/copy.png": picture(self.seeds[0])}))

    @rule(machine=MACHINES)
    def build(self, machine: int) -> None:
        """Publish; whatever happened before, the site is then complete."""
        project = self.machines[machine]
        result = project.build(now=self.now)
        assert not [notice for notice in result.notices if notice.code != "cache"], result.notices
        assert_done(project, self.before[machine])

    @rule(machine=MACHINES, event=st.integers(1, 400))
    def kill(self, machine: int, event: int) -> None:
        """Publish in a process that dies on its way."""
        if self.host.clock == 0:  # a process of its own goes by the machine's clock
            self.builder.kill(self.machines[machine], event)

    @rule(machine=MACHINES)
    def lose_answer(self, machine: int) -> None:
        """Publish while an answer is lost after the host has stored the image."""
        self.host.die_after_store()
        self.build(machine)
        self.host.server.calm()

    @rule(machine=MACHINES)
    def lose_cache(self, machine: int) -> None:
        shutil.rmtree(self.machines[machine].root / ".cache", ignore_errors=True)

    @rule(machine=MACHINES)
    def lose_lock(self, machine: int) -> None:
        (self.machines[machine].root / "imghost.lock").unlink(missing_ok=True)

    @rule(machine=MACHINES)
    def pull(self, machine: int) -> None:
        """Take the other machine's lock, merged as git does."""
        locks = [it.root / "imghost.lock" for it in (self.machines[machine], self.machines[1 - machine])]
        lines = [line for file in locks if file.exists() for line in file.read_text("ascii").splitlines(keepends=True)]
        if lines:
            locks[0].write_text("".join(dict.fromkeys(lines)), "ascii")

    @rule(days=st.sampled_from([1, 70]))
    def wait(self, days: int) -> None:
        """Let time pass; where images end, the pages of old builds end with them."""
        self.host.clock += days * DAY
        for name in [name for name, copy in self.host.copies.items() if (copy.expires or 0) <= self.host.now()]:
            del self.host.copies[name]
        for machine in (0, 1):
            self.generate(machine)

    @invariant()
    def every_reference_works(self) -> None:
        if hasattr(self, "host"):
            for machine, project in enumerate(self.machines):
                crawl(project.site, self.before[machine], self.host)

    @invariant()
    def no_image_is_stored_twice(self) -> None:
        if hasattr(self, "host"):
            assert duplicates(self.host) == 0


@pytest.mark.timeout(36_000)
def test_any_order_of_events_leaves_working_sites_and_one_copy_of_each_image() -> None:
    """The numbers of orders and of steps in each are raised for a soak."""
    machine = Publishing
    machine.TestCase.settings = settings(
        max_examples=counted("ORDERS", 30),
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=not SOAKS,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate] if SOAKS else list(Phase),
    )
    with Tracer() as builder:
        machine.builder = builder
        machine.TestCase().runTest()
