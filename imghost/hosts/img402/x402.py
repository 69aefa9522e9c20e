"""What x402 says on the wire, in versions 1 and 2: challenges, payments, receipts.

Nothing here sends, stores or signs. The chain, the token and its EIP-712 domain are the constants below,
whatever a challenge says of them.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final, NamedTuple

from imghost.errors import Action, HostError
from imghost.net.client import Answer, hidden_text
from imghost.wording import printable

CHAIN: Final = 8453
"""Base."""
NETWORK: Final = f"eip155:{CHAIN}"
USDC: Final = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
"""The token contract on Base."""
DOMAIN: Final[Mapping[str, Any]] = {
    "name": "USD Coin",
    "version": "2",
    "chainId": CHAIN,
    "verifyingContract": USDC,
}
TYPES: Final[Mapping[str, Any]] = {
    "TransferWithAuthorization": [
        {"name": "from", "type": "address"},
        {"name": "to", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "validAfter", "type": "uint256"},
        {"name": "validBefore", "type": "uint256"},
        {"name": "nonce", "type": "bytes32"},
    ]
}
ATOMS: Final = 1_000_000
"""Atomic units of USDC in a dollar."""
_TRANSACTION: Final = re.compile(r"0x[0-9a-fA-F]{64}")
_IDENTIFIER: Final = "payment-identifier"
_TAG: Final = "imghost x402 nonce 1"


class Entry(NamedTuple):
    """One way to pay that a challenge offers, as it came; no field is checked yet."""

    scheme: object
    network: object
    asset: object
    amount: object
    pay_to: object
    seconds: object
    extra: object
    resource: object
    raw: Mapping[str, Any]


class Challenge(NamedTuple):
    """A host's answer that asks for a payment."""

    version: int
    entries: tuple[Entry, ...]
    resource: Mapping[str, Any] | None = None
    extensions: Mapping[str, Any] | None = None


class Terms(NamedTuple):
    """The offer that was chosen; every field has passed the policy."""

    amount: int
    pay_to: str
    seconds: int
    entry: Entry


def read_challenge(host: str, answer: Answer) -> Challenge:
    """Read what a 402 asks for: the header of version 2, else the JSON body in either version.

    Raises:
        HostError: STOP; it cannot be read.
    """
    header = answer.headers.get("payment-required")
    try:
        found = answer.json() if header is None else decoded(header)
        return _challenge(found)
    except ValueError as problem:
        reason = str(problem)
    raise HostError(
        Action.STOP,
        f"{host} asks for a payment that is refused: it cannot be read ({reason})",
        remedy="nothing was signed or paid; check for a newer version of imghost",
    )


def _challenge(found: object) -> Challenge:
    if not isinstance(found, dict) or not isinstance(found.get("accepts"), list):
        raise ValueError("it is no x402 challenge")  # noqa: TRY004 - one kind of error for whatever a stranger sends
    version = found.get("x402Version")
    if type(version) is not int or version not in {1, 2}:
        raise ValueError("its version is neither 1 nor 2")
    resource = found.get("resource")
    extensions = found.get("extensions")
    return Challenge(
        version,
        tuple(_entry(entry, version, resource) for entry in found["accepts"] if isinstance(entry, dict)),
        resource if isinstance(resource, dict) else None,
        extensions if isinstance(extensions, dict) else None,
    )


def _entry(raw: dict[str, Any], version: int, resource: object) -> Entry:
    if isinstance(resource, dict):
        resource = resource.get("url", "")
    return Entry(
        raw.get("scheme"),
        raw.get("network"),
        raw.get("asset"),
        raw.get("maxAmountRequired" if version == 1 else "amount"),
        raw.get("payTo"),
        raw.get("maxTimeoutSeconds"),
        raw.get("extra"),
        raw.get("resource") if version == 1 else resource,
        raw,
    )


def nonce(payer: str, url: str, image: str, period: int, attempt: int) -> str:
    """Make the number that the token contract accepts once from a payer: the same purchase, the same number."""
    parts = (_TAG, payer.lower(), url, image, str(period), str(attempt))
    return "0x" + sha256("\0".join(parts).encode()).hexdigest()


def authorization(terms: Terms, payer: str, number: str, now: int) -> dict[str, str]:
    """Make the authorization of a transfer, as it is sent."""
    return {
        "from": payer,
        "to": terms.pay_to,
        "value": str(terms.amount),
        "validAfter": "0",
        "validBefore": str(now + terms.seconds),
        "nonce": number,
    }


def message(agreed: Mapping[str, str]) -> dict[str, Any]:
    """Make the EIP-712 message that an authorization is signed as."""
    numbers = {name: int(agreed[name]) for name in ("value", "validAfter", "validBefore")}
    return {**agreed, **numbers, "nonce": bytes.fromhex(agreed["nonce"][2:])}


def header(
    challenge: Challenge, terms: Terms, url: str, agreed: Mapping[str, str], signature: bytes
) -> tuple[str, str]:
    """Make the payment's header: its name and value. Whoever has it can cash the payment, once."""
    payload = {"signature": "0x" + signature.hex(), "authorization": dict(agreed)}
    if challenge.version == 1:
        offer = {"scheme": terms.entry.scheme, "network": terms.entry.network}
        return "X-PAYMENT", encoded({"x402Version": 1, **offer, "payload": payload})
    paid: dict[str, Any] = {"x402Version": 2, "payload": payload, "accepted": terms.entry.raw}
    paid["resource"] = challenge.resource or {"url": url}
    if challenge.extensions is not None:
        paid["extensions"] = _identified(challenge.extensions, agreed["nonce"])
    return "PAYMENT-SIGNATURE", encoded(paid)


def _identified(extensions: Mapping[str, Any], number: str) -> dict[str, Any]:
    """Send the host's extensions back, with the payment's name where it asks for one; none is acted upon."""
    asked = extensions.get(_IDENTIFIER)
    if not isinstance(asked, dict) or not isinstance(asked.get("info", {}), dict):
        return dict(extensions)
    named = {**asked, "info": {**asked.get("info", {}), "id": f"pay_{number[2:]}"}}
    return {**extensions, _IDENTIFIER: named}


def read_receipt(answer: Answer, amount: int) -> dict[str, str]:
    """Read what a settled payment may be remembered by: transaction, network, amount in dollars."""
    text = answer.headers.get("payment-response") or answer.headers.get("x-payment-response", "")
    try:
        found = decoded(text)
    except ValueError:
        found = None
    transaction = found.get("transaction") if isinstance(found, dict) else None
    receipt = {"amount": dollars(amount), "network": NETWORK}
    if isinstance(transaction, str) and _TRANSACTION.fullmatch(transaction):
        receipt["transaction"] = transaction
    return receipt


def complaint(answer: Answer, cheque: str = "") -> str:
    """Say why a host did not take a payment, as far as its 402 tells; made to be printed, without the cheque."""
    return printable(hidden_text(_complaint(answer), (cheque,) if cheque else ()), 120)


def _complaint(answer: Answer) -> str:
    for name in ("payment-response", "x-payment-response", "payment-required"):
        try:
            found = decoded(answer.headers.get(name, ""))
        except ValueError:
            continue
        if isinstance(found, dict) and (said := found.get("errorReason") or found.get("error")):
            return str(said)
    try:
        body = answer.json()
    except ValueError:
        return ""
    return body["error"] if isinstance(body, dict) and isinstance(body.get("error"), str) else ""


def encoded(value: object) -> str:
    """Write JSON as a header's value."""
    return base64.b64encode(json.dumps(value, separators=(",", ":")).encode()).decode()


def decoded(text: str) -> object:
    """Read a header's value as strict JSON; raises ValueError."""
    try:
        body = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        body = b""
    if not body:
        raise ValueError("its header is not base64")
    return Answer(402, {}, body).json()


def dollars(amount: int) -> str:
    """Write atomic units as dollars, with cents at least."""
    value = Decimal(amount) / ATOMS
    return f"{value:.2f}" if amount % (ATOMS // 100) == 0 else f"{value.normalize():f}"


def atoms(amount: Decimal) -> int:
    """Give dollars as atomic units, never more than they are worth."""
    return int(amount * ATOMS)
