"""Builds that share records and one wallet, each with a payment journal of its own: what the chain says was paid."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from doubles.chain import shared_chain
from doubles.engines import Engine, end_claims, opened, states
from doubles.img402_paid import PaidImg402
from doubles.server import Request
from run.test_sharing import begun, illustrated
from sites import image_urls
from trust.place import Elsewhere, Project, counted, tell

PRICE = 10_000
"""Atomic units that a year costs."""
BUILDS, IMAGES = 8, counted("PAID_IMAGES", 4)
ROUNDS = counted("PAID_ROUNDS", 2)


@dataclass
class Shop:
    """The till, its wallet, and repositories that know of each other by the store alone."""

    folder: Path
    engine: Engine
    double: PaidImg402
    store: str
    wallet: Any
    had: int

    @property
    def paid(self) -> int:
        """How many prices have left the wallet."""
        gone = self.had - self.double.chain.balance(self.wallet.address)
        assert gone % PRICE == 0
        return gone // PRICE

    def project(self, number: int, wallet: Any = None) -> Project:
        """Make a repository whose home, and so whose journal, is its own."""
        terms = (("option", "tier=1-year"), ("retention", "365d"), ("max_cost", "1"), ("shared", self.store))
        key = ("IMG402_PRIVATE_KEY", "0x" + bytes((wallet or self.wallet).key).hex())
        host = Elsewhere(self.double.url)
        project = Project(self.folder / f"{number}", host, terms, chosen="img402", key=key)
        illustrated(project.site, list(range(IMAGES)))
        return project

    def begin(self, project: Project) -> subprocess.Popen[str]:
        """Build the site anew, in a process of its own."""
        illustrated(project.site, list(range(IMAGES)))
        return begun(project, self.engine, self.folder, "--timeout", "30", "--retries", "5")


@contextmanager
def a_shop(folder: Path, engine: Engine) -> Iterator[Shop]:
    chain = shared_chain()
    wallet = chain.wallet(5)
    with PaidImg402(chain=chain) as double:
        yield Shop(folder, engine, double, engine.fresh(), wallet, chain.balance(wallet.address))


def ended(running: list[subprocess.Popen[str]]) -> list[str]:
    return [one.communicate(timeout=1200)[1] for one in running]


def hosted(project: Project) -> int:
    return sum("://" in url for url in image_urls((project.site / "index.html").read_bytes()))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_eight_builds_at_once_pay_for_each_image_once(tmp_path: Path, engine: Engine) -> None:
    with a_shop(tmp_path, engine) as shop:
        projects = [shop.project(number) for number in range(BUILDS)]
        running = [shop.begin(project) for project in projects]
        told = ended(running)
        assert [one.returncode for one in running] == [0] * BUILDS, told
        assert (shop.paid, len(shop.double.settled), len(shop.double.images)) == (IMAGES,) * 3, told
        assert [hosted(project) for project in projects] == [IMAGES] * BUILDS, told
        with opened(engine, shop.store) as place:
            assert [it["claim"] for it in states(place)] == [None] * IMAGES
    tell(f"{BUILDS} paying builds with {engine.__class__.__name__}: {shop.paid} payments for {IMAGES} images")


def begun_and_killed(shop: Shop, project: Project) -> None:
    """Kill a build whose first payment has settled and whose answer is lost, and let its claims' time be over."""
    shop.double.after_settling = [503] * 1000
    running = shop.begin(project)
    while not shop.double.settled and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    told = running.communicate()[1]
    assert shop.paid == 1, told
    shop.double.after_settling = []
    with opened(shop.engine, shop.store) as place:
        assert end_claims(place) > 0
    time.sleep(1.1)  # a payment that is signed anew would end a second later, and be other bytes


@pytest.mark.timeout(300)
def test_who_takes_over_sends_the_same_payment(tmp_path: Path, engine: Engine) -> None:
    """The till knows a payment by its bytes alone: another one with its number moves no money, and buys nothing."""
    with a_shop(tmp_path, engine) as shop:
        first, second = shop.project(0), shop.project(1)
        begun_and_killed(shop, first)
        told = ended([shop.begin(second)])
        assert (shop.paid, len(shop.double.settled), len(shop.double.images)) == (IMAGES,) * 3, told
        assert hosted(second) == IMAGES, told
        assert len({_cheque(request) for request in shop.double.payments()}) == IMAGES
        # And who was killed, and has the payment in its own journal, takes what was bought from the store.
        told = ended([shop.begin(first)])
        assert (shop.paid, hosted(first)) == (IMAGES, IMAGES), told


def test_another_wallet_pays_for_nothing_that_is_begun(tmp_path: Path, engine: Engine) -> None:
    with a_shop(tmp_path, engine) as shop:
        begun_and_killed(shop, shop.project(0))
        other = shop.double.chain.wallet(5)
        second = shop.project(1, other)
        (told,) = ended([shop.begin(second)])
        assert f"another build has signed another payment for this image, from the wallet {shop.wallet.address}" in told
        left = shop.double.chain.balance(other.address)
        assert (shop.paid, 5_000_000 - left, hosted(second)) == (1, (IMAGES - 1) * PRICE, IMAGES - 1), told


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_claims_that_are_lost_and_taken_over_pay_for_each_image_once(
    tmp_path: Path, engine: Engine, round_: int
) -> None:
    """Every third build is killed somewhere, and every claim is over as soon as it is seen: all take each other's."""
    chance = random.Random(round_)
    with a_shop(tmp_path, engine) as shop, opened(engine, shop.store) as place:
        projects = [shop.project(number) for number in range(BUILDS)]
        running = [shop.begin(project) for project in projects]
        doomed = {number: chance.randint(0, IMAGES) for number in chance.sample(range(BUILDS), BUILDS // 3)}
        over = Counter[str]()
        while any(one.poll() is None for one in running):
            over["claims"] += end_claims(place)
            for number, after in doomed.items():
                if len(shop.double.settled) >= after and running[number].poll() is None:
                    time.sleep(chance.uniform(0, 0.3))
                    running[number].send_signal(signal.SIGKILL)
                    over["builds"] += 1
            time.sleep(chance.uniform(0.05, 0.5))
        told = ended(running)
        end_claims(place)
        told += ended([shop.begin(project) for project in projects])
        assert (shop.paid, len(shop.double.settled), len(shop.double.images)) == (IMAGES,) * 3, told
        assert [hosted(project) for project in projects] == [IMAGES] * BUILDS, told
        assert len({_cheque(request) for request in shop.double.payments()}) == IMAGES, told
    tell(
        f"{BUILDS} paying builds with {engine.__class__.__name__}, {over['builds']} killed, {over['claims']} claims "
        f"ended: {shop.paid} payments for {IMAGES} images"
    )


def _cheque(request: Request) -> str:
    return request.headers["payment-signature"]
