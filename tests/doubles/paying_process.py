"""A process that buys, and may be killed at a step: `python paying_process.py JSON`.

It says `ready`, waits for a line, buys each of the images that were named, and prints a line of JSON for
each: its URL, or why there is none.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from doubles.payer import a_host, a_payload, changed
from imghost.errors import Action, HostError, ImghostError
from imghost.hosts.img402.journal import Budget, Journal, Payment, Purchase, Sent, Signed, Step
from imghost.net import Client


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly(Journal):
    """A journal whose process dies at one of its steps."""

    def __init__(self, file: Path, step: str) -> None:
        super().__init__(file)
        self.step = step

    def _at(self, step: str) -> None:
        if self.step == step:
            die()

    def reserve(
        self, purchase: Purchase, sent: Sent, amount: int, budget: Budget, sign: Callable[[Step], Signed], *more: Any
    ) -> tuple[Payment, bool]:
        def signing(step: Step) -> Signed:
            signed = sign(step)
            self._at("signed, not kept")
            return signed

        self._at("before the signature")
        made = super().reserve(purchase, sent, amount, budget, signing, *more)
        self._at("kept, not sent")
        return made

    def keep_token(self, payment: Payment, token: str, expires: float, paid_by: str | None) -> None:
        self._at("paid, the token not kept")
        super().keep_token(payment, token, expires, paid_by)
        self._at("the token kept, not used")

    def finish(self, payment: Payment, url: str, name: str, expires: float | None, paid_by: str | None) -> None:
        self._at("uploaded, not kept")
        super().finish(payment, url, name, expires, paid_by)
        self._at("all kept, nothing returned")


STEPS = (
    *("before the signature", "signed, not kept", "kept, not sent", "paid, the token not kept"),
    *("the token kept, not used", "uploaded, not kept", "all kept, nothing returned"),
)


def main(task: dict[str, Any]) -> None:
    folder = Path(task["folder"])
    with Client(10, environ={}) as client:
        host = a_host(client, task["url"], folder, task["key"], max_cost=task.get("max_cost", "5"))
        file = Path(task.get("state", folder / "state")) / "payments.sqlite3"
        journal = Deadly(file, task.get("step", ""))
        changed(host, journal=lambda: journal)
        host.till.prepare()  # as a build does before its first upload: what others pay from here on counts
        print("ready", flush=True)
        sys.stdin.readline()
        for number in task["images"]:
            print(json.dumps(bought(host, folder, number)), flush=True)


def bought(host: Any, folder: Path, number: int) -> dict[str, str]:
    error: ImghostError | None = None
    for _ in range(5):
        try:
            return {"url": host.upload(a_payload(folder, number)).url}
        except HostError as problem:
            error = problem
            if problem.action not in {Action.RETRY, Action.WAIT}:
                break
    return {"error": str(error)}


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
