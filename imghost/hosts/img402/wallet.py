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
from imghost.net import Client
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


_SIGNATURE: Final = re.compile(r"(?:0x)?[0-9a-fA-F]{130}")
_PATIENCE: Final = 120.0
"""Seconds for the command that signs: somebody may have to press a button on a device."""
_QUESTION: Final[Mapping[str, Any]] = {
    "domain": {"name": "imghost", "version": "1"},
    "types": {"Question": [{"name": "question", "type": "string"}]},
    "message": {"question": "Which wallet pays for images? This signature moves no money."},
}


class CommandSigner:
    """Has a command of the user's sign, such as a hardware wallet's or a payment agent's: no key is here.

    The command gets EIP-712 typed data as JSON on its input, and prints the signature's 65 bytes in hexadecimal
    digits. What it gives is checked before anything is sent.
    """

    def __init__(self, command: str, address: str = "") -> None:
        self._command = command
        self._address = address
        self._guard = threading.Lock()

    @property
    def address(self) -> str:
        """The payer's address: IMG402_ADDRESS, else that of a signature which means nothing."""
        with self._guard:
            if not self._address:
                signature = self._signed(_QUESTION["domain"], _QUESTION["types"], _QUESTION["message"])
                self._address = _recovered(signature, **_QUESTION)
            return self._address

    def sign(self, domain: Mapping[str, Any], types: Mapping[str, Any], message: Mapping[str, Any]) -> bytes:
        """Sign EIP-712 typed data; raises HostError where the command does not, or signs for another wallet."""
        payer, signature = self.address, self._signed(domain, types, message)
        if _recovered(signature, domain, types, message).lower() != payer.lower():
            raise _unsigned(f"its signature is not one of {payer}", "let it sign with one wallet, see IMG402_ADDRESS")
        return signature

    def _signed(self, domain: Mapping[str, Any], types: Mapping[str, Any], message: Mapping[str, Any]) -> bytes:
        import json
        import shlex
        import subprocess

        try:
            asked = subprocess.run(  # noqa: S603 - the user's own command
                shlex.split(self._command), input=json.dumps(typed_data(domain, types, message)),
                capture_output=True, text=True, timeout=_PATIENCE, check=False,
            )  # fmt: skip
        except (OSError, ValueError, subprocess.SubprocessError) as problem:
            raise _unsigned(f"it cannot be run: {printable(problem, 120)}", "check the command") from None
        found = asked.stdout.strip()
        if asked.returncode or not _SIGNATURE.fullmatch(found):
            said = printable(asked.stderr.strip() or "it prints no signature", 120)
            raise _unsigned(f"{said} (exit status {asked.returncode})", "run it by hand to see why")
        return bytes.fromhex(found.removeprefix("0x"))


def typed_data(domain: Mapping[str, Any], types: Mapping[str, Any], message: Mapping[str, Any]) -> dict[str, Any]:
    """Write what is to be signed as JSON wallets take it (`eth_signTypedData_v4`), bytes in hexadecimal digits."""
    kinds = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
    own = [{"name": name, "type": kinds[name]} for name in kinds if name in domain]
    shown = {name: "0x" + value.hex() if isinstance(value, bytes) else value for name, value in message.items()}
    (primary,) = types
    return {"types": {"EIP712Domain": own, **types}, "primaryType": primary, "domain": dict(domain), "message": shown}


def _recovered(
    signature: bytes, domain: Mapping[str, Any], types: Mapping[str, Any], message: Mapping[str, Any]
) -> str:
    from eth_account import Account
    from eth_account.messages import encode_typed_data

    encoded = encode_typed_data(dict(domain), dict(types), dict(message))
    try:
        return str(Account.recover_message(encoded, signature=signature))
    except Exception as problem:  # the library raises errors of several packages
        raise _unsigned(f"its signature is none: {type(problem).__name__}", "run it by hand to see why") from None


def _unsigned(reason: str, remedy: str) -> HostError:
    return HostError(Action.STOP, f"the command in {SIGNER} did not sign: {reason}", remedy=remedy)


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
    check_extra()


def check_extra() -> None:
    """Check that the extra is installed without which nothing is signed, nor checked; raises SettingsError."""
    if find_spec("eth_account") is None:
        raise SettingsError("host 'img402': payments need an extra; run pip install \"imghost[x402]\"")


KEY: Final = "IMG402_PRIVATE_KEY"
KEY_FILE: Final = "IMG402_PRIVATE_KEY_FILE"
SIGNER: Final = "IMG402_SIGNER"
ADDRESS: Final = "IMG402_ADDRESS"
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
        return CommandSigner(environ[SIGNER], environ.get(ADDRESS, "")).address if environ.get(SIGNER) else None
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
