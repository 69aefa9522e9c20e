"""The one place that holds a key: it signs, and tells address and balance."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from imghost.errors import Action, HostError, SettingsError
from imghost.hosts import Secret
from imghost.hosts.img402.x402 import ATOMS, USDC
from imghost.net.client import Client
from imghost.wording import printable

# eth-account is behind it, imported at the first address or signature, so that a build that pays nothing
# never loads it.
_KEY: Final = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")


class Signer(Protocol):
    """What can sign typed data for one address."""

    @property
    def address(self) -> str:
        """The payer's address, with its checksum's capitals."""
        ...

    def sign(self, domain: Mapping[str, Any], types: Mapping[str, Any], message: Mapping[str, Any]) -> bytes:
        """Sign EIP-712 typed data; gives 65 bytes."""
        ...


class KeySigner:
    """Signs with a private key; its text is shown nowhere."""

    def __init__(self, key: Secret) -> None:
        self._key = key
        self._guard = threading.Lock()
        self._account: Any = None

    @property
    def address(self) -> str:
        """The payer's address."""
        return str(self._opened().address)

    def sign(self, domain: Mapping[str, Any], types: Mapping[str, Any], message: Mapping[str, Any]) -> bytes:
        """Sign EIP-712 typed data."""
        signed = self._opened().sign_typed_data(dict(domain), dict(types), dict(message))
        return bytes(signed.signature)

    def _opened(self) -> Any:
        # Several threads may pay at once; the first import takes a quarter of a second.
        with self._guard:
            if self._account is None:
                self._account = _account(self._key)
            return self._account


def _account(key: Secret) -> Any:
    from eth_account import Account

    try:
        return Account.from_key(bytes.fromhex(key.reveal().removeprefix("0x")))
    except Exception:  # noqa: S110 - the library's own error shows the key
        pass
    raise SettingsError("the img402 key (not shown) is not a private key: it is out of range; make a new wallet")


def check_key(key: Secret) -> None:
    """Check a key's shape without showing it, and that it could sign; raises SettingsError."""
    if not _KEY.fullmatch(key.reveal()):
        raise SettingsError(
            "the key in IMG402_PRIVATE_KEY or IMG402_PRIVATE_KEY_FILE (not shown) is not a wallet's private key: "
            "it should be 64 hexadecimal digits, with or without 0x; copy it again"
        )
    if find_spec("eth_account") is None:
        raise SettingsError("host 'img402': payments need an extra; run pip install \"imghost[x402]\"")


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
