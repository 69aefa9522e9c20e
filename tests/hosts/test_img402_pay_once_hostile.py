"""A till that settles and then gives nothing, in seven ways, met again in three: the ledger has one payment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.chain import shared_chain
from doubles.hostile_till import FIRST_PRICE, MODES, HostileTill
from doubles.payer import a_host, a_payload, changed
from test_img402_pay_once import Wallet, a_random_number, tried

from imghost.errors import HostError
from imghost.hosts.img402.host import Img402
from imghost.net import Client

SCRIPT = Path(__file__).parents[1] / "doubles" / "paying_forks.py"
YEAR = timedelta(days=365)
RETRIES = (1, 2, 5)
PATIENCE = {MODES[1]: 0.8}
"""Seconds that a client waits for a till that never answers; others are given the time that they take."""


class Forks:
    """A process that is killed while it buys, as often as wanted."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def killed(self, till: HostileTill, folder: Path, key: str, after: int) -> int:
        """Buy in a process that gets this many of the till's answers, and dies at the next; gives its exit status."""
        self._say({"url": till.url, "folder": str(folder), "key": key, "timeout": PATIENCE.get(till.mode, 20)})
        pid, last = self._told()["pid"], till.moments + after

        def kill() -> None:
            if till.moments > last:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

        till.at_the_worst = kill
        self._say("go")
        told = self._told()
        return int((self._told() if "status" not in told else told)["status"])

    def _say(self, line: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def _told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    command = [sys.executable, str(SCRIPT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Forks(process)
        process.kill()


@contextmanager
def a_buyer(till: HostileTill, folder: Path, key: str, **changes: Any) -> Iterator[Img402]:
    folder.mkdir(exist_ok=True)
    with Client(PATIENCE.get(till.mode, 20), environ={}) as client:
        yield changed(a_host(client, till.url, folder, key, tier="1-year", retention=YEAR), **changes)


Retry = Callable[[int], None]


@contextmanager
def in_one_process(till: HostileTill, folder: Path, key: str, forks: Forks) -> Iterator[Retry]:
    """The same host is asked again, as a build does, and every other time a new one, as the next build does."""

    def again(number: int) -> None:
        if number % 2:
            tries(host, folder)
            return
        with a_buyer(till, folder, key) as other:
            tries(other, folder)

    with a_buyer(till, folder, key) as host:
        tries(host, folder)
        yield again


@contextmanager
def after_kills(till: HostileTill, folder: Path, key: str, forks: Forks) -> Iterator[Retry]:
    """Each build dies where the money has moved, every other one after the till's answer to its first try."""

    def again(number: int) -> None:
        assert forks.killed(till, folder, key, after=number % 2) in {-signal.SIGKILL, 0}

    assert forks.killed(till, folder, key, after=0) == -signal.SIGKILL
    yield again


@contextmanager
def on_other_machines(till: HostileTill, folder: Path, key: str, forks: Forks) -> Iterator[Retry]:
    """Each machine has the key and the image, and neither journal nor cache of another."""

    def again(number: int) -> None:
        with a_buyer(till, folder / f"machine-{number}", key) as host:
            tries(host, folder / f"machine-{number}")

    again(0)
    yield again


def tries(host: Img402, folder: Path) -> None:
    """Try, and get nothing for it."""
    with pytest.raises(HostError) as caught:
        host.upload(a_payload(folder))
    assert str(caught.value).isprintable()


PATHS = {"same process": in_one_process, "after kill -9": after_kills, "second machine": on_other_machines}
COMBINATIONS = [(mode, path) for mode in MODES for path in PATHS]


def test_there_are_seven_modes_and_three_paths() -> None:
    assert (len(MODES), len(PATHS), len(COMBINATIONS)) == (7, 3, 21)


@pytest.mark.sampled(1)
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize(("mode", "path"), COMBINATIONS)
def test_however_a_till_cheats_and_whoever_asks_again_one_payment_settles(
    tmp_path: Path, forks: Forks, mode: str, path: str
) -> None:
    """After one, two and five retries the ledger has one payment; an honest till then gives the image for it."""
    wallet = Wallet(shared_chain())
    with HostileTill(chain=wallet.chain, mode=mode) as till:
        with PATHS[path](till, tmp_path, wallet.key, forks) as again:
            for number in range(1, max(RETRIES) + 1):
                again(number)
                if number in RETRIES:
                    assert len(till.settled) <= 1
                    assert wallet.paid in {0, FIRST_PRICE}
        assert till.moments > 0
        assert till.images == {}
        till.repent()
        last = tmp_path if path != "second machine" else tmp_path / "last"
        with a_buyer(till, last, wallet.key) as host:
            hosted = tried(host, last, tries=9)
        assert hosted.url.removeprefix(till.url) in till.images
        assert (len(till.settled), wallet.paid, len(till.images)) == (1, FIRST_PRICE, 1)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("mode", MODES)
def test_with_random_numbers_every_mode_is_paid_twice_on_a_second_machine(tmp_path: Path, mode: str) -> None:
    """A test of the test above: the payment's number is what holds there."""
    wallet = Wallet(shared_chain())
    with HostileTill(chain=wallet.chain, mode=mode) as till:
        for name in "ab":
            with a_buyer(till, tmp_path / name, wallet.key, number=a_random_number) as host:
                tries(host, tmp_path / name)
        begin = time.monotonic()
        while len(till.settled) < 2 and time.monotonic() < begin + 20:
            time.sleep(0.05)  # a client that has gone does not stop a settlement
        assert len(till.settled) == 2
