"""Signs payments: the one place that holds a wallet's key.

eth-account is behind it, imported at the first address or signature, so that a build that pays nothing
never loads it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final, Protocol

from imghost.errors import SettingsError
from imghost.hosts import Secret

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
