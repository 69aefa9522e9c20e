"""A process whose children buy, one after the other, each ready to be killed: it has loaded what takes long.

It reads a task (JSON) from each line, and prints its child's number; the child waits for one more line, then buys.
Then it prints how the child ended.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from doubles.payer import a_host, a_payload
from doubles.paying_process import bought
from imghost.errors import HostError
from imghost.hosts.img402 import x402
from imghost.net import Client

YEAR = timedelta(days=365)
SAMPLE = {"from": x402.USDC, "to": x402.USDC, "value": 1, "validAfter": 0, "validBefore": 1, "nonce": bytes(32)}


def buy(task: dict[str, Any]) -> None:
    folder = Path(task["folder"])
    print(json.dumps({"pid": os.getpid()}), flush=True)
    os.read(0, 100)
    with Client(task["timeout"], environ={}) as client:
        host = a_host(client, task["url"], folder, task["key"], tier="1-year", retention=YEAR)
        print(json.dumps(bought(host, folder, 0)), flush=True)


def main() -> None:
    print("ready", flush=True)
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            buy(json.loads(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)


def load() -> None:
    """Load once what every child would: by a payment to nobody."""
    with TemporaryDirectory() as folder, Client(1, environ={}) as client, suppress(HostError):
        host = a_host(client, "http://127.0.0.1:9", Path(folder))
        till = host.till
        assert till is not None
        till._deal.signer.sign(x402.DOMAIN, x402.TYPES, SAMPLE)
        host.upload(a_payload(Path(folder)))


if __name__ == "__main__":
    load()
    main()
