"""What a challenge must be like before it is signed: nothing that it says is trusted.

The chain and the token are constants of `x402`, the cap and the payee come from the settings. Every
check is one function; an offer that fails any of them is never signed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from imghost.errors import Action, HostError
from imghost.hosts.img402.x402 import DOMAIN, NETWORK, USDC, Challenge, Entry, Terms, dollars
from imghost.wording import printable

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


def _resource(entry: Entry, challenge: Challenge, policy: Policy) -> Objection:
    if entry.resource is None and challenge.version == 2:
        return None
    if isinstance(entry.resource, str) and _is_same_place(entry.resource, policy.url):
        return None
    return f"it is for {printable(entry.resource, 80)}, not for {policy.url}", "check `api_url`"


def _is_same_place(declared: str, asked: str) -> bool:
    """Compare scheme, host, port and path."""
    try:
        parts, wanted = urlsplit(declared), urlsplit(asked)
    except ValueError:
        return False
    here = (parts.scheme, parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80"), parts.path)
    there = (wanted.scheme, wanted.netloc.lower(), wanted.path)
    return here == there or (parts.scheme, parts.netloc.lower(), parts.path) == there


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
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
