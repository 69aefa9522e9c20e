"""Builds that share records and one wallet, each with a payment journal of its own: what the chain says was paid."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from doubles.chain import shared_chain
from doubles.engines import Engine, opened, states
from doubles.img402_paid import PaidImg402
from run.test_sharing import begun, illustrated
from sites import image_urls
from trust.place import Elsewhere, Project, counted, tell

PRICE = 10_000
"""Atomic units that a year costs."""
BUILDS, IMAGES = 8, counted("PAID_IMAGES", 4)


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

    def project(self, number: int) -> Project:
        """Make a repository whose home, and so whose journal, is its own."""
        terms = (("option", "tier=1-year"), ("retention", "365d"), ("max_cost", "1"), ("shared", self.store))
        key = ("IMG402_PRIVATE_KEY", "0x" + bytes(self.wallet.key).hex())
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
