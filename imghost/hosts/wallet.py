"""The wallet that pays img402: its address, and what it holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

from imghost.errors import Action, HostError, SettingsError
from imghost.hosts import Secret
from imghost.hosts.img402.wallet import KeySigner, check_key
from imghost.hosts.img402.x402 import ATOMS, USDC
from imghost.net.client import Client
from imghost.wording import printable

KEY: Final = "IMG402_PRIVATE_KEY"
KEY_FILE: Final = "IMG402_PRIVATE_KEY_FILE"
_WORD: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")
_BALANCE_OF: Final = "0x70a08231"
"""The selector of `balanceOf(address)`."""


def wallet_address(environ: Mapping[str, str]) -> str | None:
    """Give the address of the environment's wallet; None without a key.

    Raises:
        SettingsError: the key cannot be read or is no key, or the extra `x402` is missing.
    """
    text = environ.get(KEY, "")
    if not text and (file := environ.get(KEY_FILE)):
        try:
            text = Path(file).read_text("utf-8").strip()
        except (OSError, ValueError):
            text = ""
        if not text:
            raise SettingsError(f"the file that {KEY_FILE} names cannot be read; check its path and mode")
    if not text:
        return None
    key = Secret(text)
    check_key(key)
    return KeySigner(key).address


def usdc_balance(client: Client, rpc_url: str, address: str) -> Decimal:
    """Ask a JSON-RPC node of Base for an address's USDC, in dollars.

    Raises:
        HostError: the node does not answer, or not with a number.
    """
    call = {"to": USDC, "data": _BALANCE_OF + address[2:].lower().rjust(64, "0")}
    question = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [call, "latest"]}
    answer = client.send("POST", rpc_url, json=question)
    try:
        found = answer.json()
    except ValueError:
        found = None
    result = found.get("result") if isinstance(found, dict) else None
    if answer.status == 200 and isinstance(result, str) and _WORD.fullmatch(result):
        return Decimal(int(result, 16)) / ATOMS
    said = printable(found.get("error", ""), 120) if isinstance(found, dict) else ""
    raise HostError(
        Action.STOP,
        f"the node does not tell the balance (HTTP {answer.status}{', ' + said if said else ''})",
        remedy="check the RPC URL: it should be a node of Base",
    )
