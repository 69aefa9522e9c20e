"""Two machines with one wallet, killed at random steps, what they know lost at random: each image is paid once."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import pytest
from doubles.chain import shared_chain
from doubles.img402_paid import PaidImg402
from doubles.paying_process import STEPS
from doubles.server import Reply, Request
from sites import tree
from trust.place import Project, built_site, counted, crawl, picture, references, scratch, tell
from trust.points import NEVER, Ended, Tracer

from imghost.records import lock as locks
from imghost.records.cache import Cache

SCRIPT = Path(__file__).parents[1] / "doubles" / "paying_process.py"
DOLLAR = 1_000_000
IMAGES = 4


def buy(task: dict[str, object]) -> tuple[int, list[dict[str, str]]]:
    """Buy in a process of its own; gives its exit status, negative where it was killed, and what came of it."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(task)], input="go\n", capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()[1:]]


@pytest.mark.sampled(1)
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_killed_and_lost_each_image_is_paid_once(tmp_path: Path, seed: int) -> None:
    """The host knows a payment by its number; a journal that is lost is one of both, or both."""
    chance, kills, lost = random.Random(seed), 0, 0
    account = shared_chain().wallet(100)
    key = "0x" + bytes(account.key).hex()
    with PaidImg402(chain=shared_chain(), memory="nonce") as double:
        common: dict[str, object] = {"url": double.url, "folder": str(tmp_path), "key": key, "max_cost": "50"}
        states = [tmp_path / name for name in ("one", "two")]
        for _ in range(counted("MONEY_KILLS", 8) // 2 or 1):
            images = chance.sample(range(IMAGES), chance.randint(1, IMAGES))
            step = chance.choice(STEPS)
            status, _ = buy({**common, "state": str(chance.choice(states)), "step": step, "images": images})
            kills += status == -9
            for state in states:
                if chance.random() < 0.25:
                    lost += state.exists()
                    shutil.rmtree(state, ignore_errors=True)
        for state in states:
            status, outcomes = buy({**common, "state": str(state), "images": list(range(IMAGES))})
            assert (status, ["url" in outcome for outcome in outcomes]) == (0, [True] * IMAGES), outcomes
        paid = 100 * DOLLAR - shared_chain().balance(account.address)
        assert (paid, len(double.images)) == (IMAGES * DOLLAR, IMAGES)
    tell(f"{kills} kills and {lost} lost journals on two machines: {IMAGES} images paid once each")


# Whole builds, of two checkouts: what they may lose is the journal, the lock and the local store.

SIGNING = ("eth_account", "eth_account.messages")
"""What a build loads when it signs."""
EVENTS = 700
"""Events of Python in a build that pays for a few images, of which a kill hits one."""
ASKED = 40
"""Times that the host begins or ends an answer to such a build, of which a kill hits one."""
KILLS = 10
"""Kills of one world: so few that most find something that is not bought yet."""
TROUBLES = ("cache", "lock", "journal")


class Till(PaidImg402):
    """The host, which calls `at` as it begins and ends each answer."""

    at: Callable[[], object] = staticmethod(lambda: None)

    @property
    def api_url(self) -> str:
        return self.url

    def route(self, request: Request) -> Reply:
        self.at()
        reply = super().route(request)
        self.at()
        return reply


class Machine(Project):
    """A checkout, its store, and the state folder of its user."""

    @property
    def places(self) -> dict[str, Path]:
        names = (".cache", "imghost.lock", ".local")
        return dict(zip(TROUBLES, (self.root / name for name in names), strict=True))

    def lose(self, what: str) -> bool:
        """Lose one of the three; says whether it was there."""
        place = self.places[what]
        is_there = place.exists()
        shutil.rmtree(place, ignore_errors=True)
        with suppress(FileNotFoundError, NotADirectoryError):
            place.unlink()
        return is_there

    def knows(self, host: PaidImg402) -> set[str]:
        """List the images whose place at the host a file of this machine tells, or lets the host tell."""
        held = (*locks.read(self.places["lock"]).records, *locks.read(self.places["lock"]).unconfirmed)
        with Cache.load(self.cache) as cache:
            kept = [record for _, record in cache.every_record()]
        return {record.sha256 for record in (*held, *kept)} | self._signed_for(host)

    def _signed_for(self, host: PaidImg402) -> set[str]:
        file = self.places["journal"] / "state" / "imghost" / "payments.sqlite3"
        if not file.exists():
            return set()
        with closing(sqlite3.connect(file)) as connection, suppress(sqlite3.OperationalError):
            rows = connection.execute("SELECT image, state, header, nonce FROM payments").fetchall()
            return {image for image, state, header, nonce in rows if state == "done" or host.has_sold(header, nonce)}
        return set()  # it was killed before there was a table in it


class World:
    """Two machines, one wallet, one host, and images that nobody has bought yet."""

    def __init__(self, root: Path, host: Till, chance: random.Random, builders: Sequence[Tracer]) -> None:
        self.host, self.chance, self.builders = host, chance, builders
        self.account = shared_chain().wallet(100)
        key = ("IMG402_PRIVATE_KEY", "0x" + bytes(self.account.key).hex())
        options = (("max_cost", str(IMAGES)), ("concurrency", str(chance.choice([1, 2, 4]))))
        self.machines = [Machine(root / name, host, options, chosen="img402", key=key) for name in "ab"]
        self.before = [tree(built_site(machine.site, IMAGES)) for machine in self.machines]
        self.tally: Counter[str] = Counter()

    @property
    def paid(self) -> int:
        return 100 * DOLLAR - shared_chain().balance(self.account.address)

    def go_on(self) -> None:
        """Build on one of the machines, or on both at once, be killed, and lose something."""
        both = self.chance.random() < 0.25
        chosen = [0, 1] if both else [self.chance.randrange(2)]
        for number in chosen:
            if self.chance.random() < 0.7:
                built_site(self.machines[number].site, IMAGES)
        with self._strikes(chosen):
            ended = [self.builders[number].end(self.machines[number]) for number in chosen]
        self.tally["kills"] += sum(one.status == -9 for one in ended)
        self.tally["builds at once"] += both
        self._judge(ended)
        for machine in self.machines:
            for what in TROUBLES:
                if self.chance.random() < 0.25:
                    self.tally[f"lost {what}"] += machine.lose(what)
        if self.chance.random() < 0.2:
            self.pull(*self.chance.sample([0, 1], 2))

    @contextmanager
    def _strikes(self, chosen: Sequence[int]) -> Iterator[None]:
        """Begin builds that are killed at an event of their own, or while the host is at work on an answer."""
        dies = [self.chance.choice([NEVER, self.chance.randint(1, EVENTS)]) for _ in chosen]
        builds = [
            os.pidfd_open(self.builders[number].begin(self.machines[number], dies=event))
            for number, event in zip(chosen, dies, strict=True)
        ]
        left = [self.chance.randint(1, ASKED) if event == NEVER else NEVER for event in dies]
        guard = threading.Lock()

        def at() -> None:
            with guard:
                for number, build in enumerate(builds):
                    left[number] -= 1
                    if left[number] == 0:
                        with suppress(ProcessLookupError):
                            signal.pidfd_send_signal(build, signal.SIGKILL)

        self.host.at = at
        yield
        self.host.at = lambda: None
        for build in builds:
            os.close(build)

    def pull(self, to: int, source: int) -> None:
        """Take the other machine's lock, merged as git does."""
        files = [self.machines[number].places["lock"] for number in (to, source)]
        lines = [line for file in files if file.exists() for line in file.read_text("ascii").splitlines(keepends=True)]
        if lines:
            files[0].write_text("".join(dict.fromkeys(lines)), "ascii")

    def _judge(self, ended: Sequence[Ended]) -> None:
        for one in ended:
            assert one.status in {0, -9}, one.err
            assert "Traceback" not in one.err, one.err
        for machine, before in zip(self.machines, self.before, strict=True):
            crawl(machine.site, before, self.host)
        assert self.paid <= IMAGES * DOLLAR
        bodies = [body for body, _ in self.host.images.values()]
        assert len(set(bodies)) == len(bodies) <= len(self.host.settled)

    def finish(self) -> set[str]:
        """Build both to the end, each with the other's lock; gives the images that stay local on one of them."""
        local: set[str] = set()
        for number in (0, 1, 0, 1):
            machine = self.machines[number]
            built_site(machine.site, IMAGES)
            self.builders[number].begin(machine)
            ended = self.builders[number].end(machine)
            self._judge([ended])
            self.pull(1 - number, number)
            local = self._local(number) if number == 0 else local | self._local(number)
            assert bool(local) == ("unresolved" in ended.err), ended.err
        return local

    def _local(self, number: int) -> set[str]:
        page = (self.machines[number].site / "index.html").read_bytes()
        shown = [url for url in references(page) if url.startswith("images/")]
        return {digest(int(re.findall(r"\d+", url)[0])) for url in shown}


def digest(number: int) -> str:
    return sha256(picture(number)).hexdigest()


def world_of(seed: int, builders: Sequence[Tracer], root: Path) -> Counter[str]:
    """Live through one world; what a host knows payments by is told by its number."""
    chance = random.Random(seed)
    memory = ("nonce", "header", "none")[seed % 3]
    with Till(chain=shared_chain(), memory=memory) as host:
        world = World(root, host, chance, builders)
        while world.tally["kills"] < KILLS:
            world.go_on()
        can_know = set[str]().union(*(machine.knows(host) for machine in world.machines))
        bought = len(host.settled)
        local = world.finish()
        assert world.paid == len(host.settled) * DOLLAR
        if memory == "nonce":
            assert not local
        assert not local & can_know, f"seed {seed}: {local & can_know} are known, and stay local"
        assert local or world.paid == IMAGES * DOLLAR, f"seed {seed}"
        tally = world.tally + Counter({"worlds": 1, f"lost to everybody, {memory}": len(local)})
        return tally + Counter({"images": IMAGES, "bought": bought})


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux names processes safely")
@pytest.mark.timeout(36_000)
def test_builds_that_are_killed_and_lose_what_they_know_pay_for_each_image_once() -> None:
    """By the balance on the chain: neither the journal, the lock nor the store has to be kept for that.

    A host that knows payments by their number gives each image again. With another one the chain refuses a second
    payment, and an image is lost to everybody whose journal went before the lock or the store had it: it stays local,
    is not paid again, and is counted here.
    """
    worlds = max(1, counted("WALLET_KILLS", 60) // KILLS)
    total: Counter[str] = Counter()
    with Tracer(*SIGNING) as one, Tracer(*SIGNING) as two:
        for seed in range(worlds):
            with scratch("wallet") as folder:
                total += world_of(seed, (one, two), Path(folder))
    tell(f"two machines, one wallet: {', '.join(f'{number} {what}' for what, number in sorted(total.items()))}")
    assert total["kills"] >= worlds * KILLS
