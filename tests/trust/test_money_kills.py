"""Two machines with one wallet, killed at random steps, their journals lost at random: each image is paid once."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doubles.chain import shared_chain
from doubles.img402_paid import PaidImg402
from doubles.paying_process import STEPS
from trust.place import counted, tell

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
