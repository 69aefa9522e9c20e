"""x402 on the wire, and the policy that an offer must pass."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from imghost.errors import Action, HostError
from imghost.models import NamedTuple
from imghost.net import Answer, hidden_text
from imghost.wording import printable

# Nothing here sends, stores or signs. The chain, the token and its EIP-712 domain are the constants below,
# whatever a challenge says of them.
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
_TAG: Final = "imghost x402 nonce 2"


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
    reason = ""
    # A header that something on the way has cut stands beside a body that says the same.
    for text in (header, None)[header is None :]:
        try:
            return _challenge(answer.json() if text is None else decoded(text))
        except ValueError as problem:
            reason = reason or str(problem)
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
        _amount_of(raw, version),
        raw.get("payTo"),
        raw.get("maxTimeoutSeconds"),
        raw.get("extra"),
        raw.get("resource") if version == 1 else resource,
        raw,
    )


def _amount_of(raw: Mapping[str, Any], version: int) -> object:
    """Read the price under its version's name, else under the other one's, as some servers have it."""
    names = ("maxAmountRequired", "amount") if version == 1 else ("amount", "maxAmountRequired")
    return next((raw[name] for name in names if name in raw), None)


def nonce(payer: str, host: str, image: str, period: int, attempt: int) -> str:
    """Make the number that the token contract accepts once from a payer: the same purchase, the same number.

    It holds what a purchase is (see `journal.Purchase`) and nothing that may change beside it, so that a build
    without the journal, on another machine, cannot pay for it again.
    """
    parts = (_TAG, payer.lower(), host, image, str(period), str(attempt))
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


# The chain and the token are constants of `x402`, the cap and the payee come from the settings. Every
# check is one function; an offer that fails any of them is never signed.
SHORTEST: Final = 30
LONGEST: Final = 600
"""Seconds that a signed payment may be valid, at least and at most."""
MAX_ECHO: Final = 5_000
"""Characters of a challenge that a payment may have to repeat: servers cap headers at 8 KB and more."""

_NETWORKS: Final = frozenset({"base", NETWORK})
_AMOUNT: Final = re.compile(r"[1-9][0-9]{0,77}")
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")

Objection = tuple[str, str] | None
"""Why an offer is not signed, and the remedy; None = it passes."""


class Policy(NamedTuple):
    """What may be paid: at most this, to one of these, for this very request."""

    host: str
    url: str
    cap: int
    """Atomic units."""
    pay_to: frozenset[str]
    """Addresses in lower case."""


def chosen(challenge: Challenge, policy: Policy) -> Terms:
    """Choose the cheapest offer that passes every check.

    Raises:
        HostError: STOP; none does. It names the check that the best offer failed, and the setting.
    """
    try:
        judged = [(entry, _objection(entry, challenge, policy)) for entry in challenge.entries]
    except RecursionError:
        raise refused(policy.host, "it is nested too deeply", "") from None
    acceptable = [_terms(entry) for entry, objection in judged if objection is None]
    if acceptable:
        return min(acceptable, key=lambda terms: terms.amount)
    objections = [objection for _, objection in judged if objection]
    _, reason, remedy = max(objections, key=lambda found: found[0], default=(0, "it offers no way to pay", ""))
    raise refused(policy.host, reason, remedy)


def _terms(entry: Entry) -> Terms:
    return Terms(int(str(entry.amount)), str(entry.pay_to), min(_whole(entry.seconds), LONGEST), entry)


def refused(host: str, reason: str, remedy: str) -> HostError:
    """Make the error for a challenge that is not signed; the next image would meet the same one."""
    return HostError(
        Action.STOP,
        f"{host} asks for a payment that is refused: {reason}",
        remedy=remedy or "nothing was signed or paid; use another tier or host",
    )


def _objection(entry: Entry, challenge: Challenge, policy: Policy) -> tuple[int, str, str] | None:
    """Find the first check that an offer fails: how many it passed, the reason, the remedy."""
    for passed, check in enumerate(_CHECKS):
        if found := check(entry, challenge, policy):
            return passed, *found
    return None


def _scheme(entry: Entry, _: Challenge, __: Policy) -> Objection:
    if entry.scheme == "exact":
        return None
    return f"its scheme is {printable(entry.scheme, 40)}, not exact", ""


def _network(entry: Entry, _: Challenge, __: Policy) -> Objection:
    if isinstance(entry.network, str) and entry.network in _NETWORKS:
        return None
    return f"its network is {printable(entry.network, 60)}, not Base ({NETWORK})", ""


def _asset(entry: Entry, _: Challenge, __: Policy) -> Objection:
    if isinstance(entry.asset, str) and entry.asset.lower() == USDC.lower():
        return None
    return f"its asset is {printable(entry.asset, 60)}, not USDC on Base ({USDC})", ""


def _extra(entry: Entry, _: Challenge, __: Policy) -> Objection:
    if entry.extra is None:
        return None
    if not isinstance(entry.extra, dict):
        return "its `extra` is not an object", ""
    if entry.extra.get("assetTransferMethod", "eip3009") != "eip3009":
        method = printable(entry.extra["assetTransferMethod"], 40)
        return f"it wants the transfer method {method}, and only eip3009 is signed", ""
    for name in ("name", "version"):
        if entry.extra.get(name, DOMAIN[name]) != DOMAIN[name]:
            return f"its token's {name} is {printable(entry.extra[name], 40)}, not {DOMAIN[name]}", ""
    return None


def _resource(entry: Entry, _: Challenge, policy: Policy) -> Objection:
    """Check what the payment is said to be for: nothing that is signed says it, so that its spelling is free."""
    if entry.resource in (None, "") or (isinstance(entry.resource, str) and _is_same_place(entry.resource, policy.url)):
        return None
    return f"it is for {printable(entry.resource, 80)}, not for {policy.url}", "check `api_url`"


def _is_same_place(declared: str, asked: str) -> bool:
    """Compare host, port and path; behind a proxy that speaks TLS a server may think that it is asked by http."""
    try:
        here, there = _place(urljoin(asked, declared)), _place(asked)
    except ValueError:
        return False
    return here[1:] == there[1:] and (here[0] == there[0] or (here[0], there[0]) == ("http", "https"))


def _place(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    ports = {"https": (":443",), "http": (":80", ":443")}.get(parts.scheme, ())
    name = parts.netloc.lower()
    return (
        parts.scheme,
        next((name.removesuffix(port) for port in ports if name.endswith(port)), name),
        parts.path.rstrip("/"),
    )


def _payee(entry: Entry, _: Challenge, policy: Policy) -> Objection:
    address = entry.pay_to
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        return f"its payee {printable(address, 60)} is not an address", ""
    if address.lower() in {"0x" + "0" * 40, USDC.lower()}:
        return f"its payee {address} is not somebody's address", ""
    if address.lower() in policy.pay_to:
        return None
    return (
        f"its payee {address} is not the address that is known for {policy.host}",
        f"if the host says that it is new, set options: pay_to: '{address}'",
    )


def _amount(entry: Entry, _: Challenge, policy: Policy) -> Objection:
    if not isinstance(entry.amount, str) or not _AMOUNT.fullmatch(entry.amount):
        return f"its amount {printable(entry.amount, 40)} is not a whole number of units", ""
    if int(entry.amount) <= policy.cap:
        return None
    return (
        f"it wants ${dollars(int(entry.amount))}, over the ${dollars(policy.cap)} that this tier may cost",
        "choose another `tier`",
    )


def _validity(entry: Entry, _: Challenge, __: Policy) -> Objection:
    if _whole(entry.seconds) >= SHORTEST:
        return None
    return f"its payment would be valid for {printable(entry.seconds, 40)} seconds, under {SHORTEST}", ""


def _echo(entry: Entry, challenge: Challenge, _: Policy) -> Objection:
    echoed = json.dumps([entry.raw, challenge.resource, challenge.extensions])
    if challenge.version == 1 or len(echoed) <= MAX_ECHO:
        return None
    return f"it is too long to send back, over {MAX_ECHO} characters", ""


_CHECKS: Final[tuple[Callable[[Entry, Challenge, Policy], Objection], ...]] = (
    *(_scheme, _network, _asset, _extra, _resource, _payee, _amount, _validity, _echo),
)


def _whole(value: object) -> int:
    """Read a whole number, also one that is written as a text."""
    if isinstance(value, str):
        return int(value) if re.fullmatch("[0-9]{1,9}", value) else 0
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
