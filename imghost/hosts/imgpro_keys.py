"""Making an img.pro key by its API, for those who have none yet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from imghost.errors import Action, HostError
from imghost.hosts import Secret
from imghost.hosts.answers import Rule, unclear
from imghost.hosts.imgpro.api import is_success
from imghost.hosts.imgpro.options import NAME
from imghost.hosts.imgpro_refusals import APPS, read_refusal
from imghost.net.client import Client
from imghost.wording import printable

_KEY: Final = re.compile(r"[A-Za-z0-9_-]{8,256}")
_ADDRESS: Final = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,190}")
_NOT_THERE: Final = frozenset({404, 405, 410})
_LIMITS: Final = (("uploads", "uploads"), ("storage_mb", "MB"), ("retention_days", "days"))
_RULES: Final[Mapping[str, Rule]] = {
    "validation_error": Rule(Action.STOP, "refuses the e-mail address", "check its spelling"),
    "rate_limited": Rule(Action.STOP, "has been asked for keys too often", "try again in an hour"),
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was made just now; the host never shows it again."""

    key: Secret
    id: str
    is_verified: bool | None
    """Whether images sent with it last; None = the host does not say."""
    limits: str
    """What it allows, like `100 uploads, 5000 MB, 30 days`; empty = the host does not say."""
    message: str
    """The host's own words, safe to print."""


def create_key(client: Client, api_url: str, email: str, name: str | None = None) -> Key:
    """Make a key for an e-mail address; the key is in nothing but the value's `key`.

    Raises:
        HostError: the host makes none.
    """
    if not _ADDRESS.fullmatch(email):
        raise HostError(Action.STOP, f"{printable(email, 80)!r} is no e-mail address", remedy="check its spelling")
    asked = {"email": email} | ({"name": name} if name else {})
    answer = client.send("POST", f"{api_url.rstrip('/')}/keys", json=asked)
    if answer.status in _NOT_THERE:
        raise HostError(Action.STOP, f"{NAME} does not make keys by its API", remedy=f"make one at {APPS}")
    if not is_success(answer):
        raise read_refusal(answer).error(_RULES)
    try:
        return _read(answer.json())
    except ValueError:
        problem = unclear(NAME, "has no key")
    # Another key might be made, and the host allows few.
    problem.action = Action.STOP
    raise problem


def _read(body: object) -> Key:
    if not isinstance(body, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004
    inner = body.get("data")
    told: Mapping[str, Any] = inner if isinstance(inner, dict) and "key" not in body else body
    key = told.get("key")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError("the answer has no key")

    def said(field: str) -> str:
        text = told.get(field)
        return printable(text.replace(key, "<hidden>")) if isinstance(text, str) else ""

    verified = told.get("verified")
    return Key(
        Secret(key),
        said("key_id"),
        verified if isinstance(verified, bool) else None,
        _limits(told.get("limits")),
        said("message"),
    )


def _limits(raw: object) -> str:
    limits: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
    counted = [(limits.get(field), unit) for field, unit in _LIMITS]
    return ", ".join(f"{count} {unit}" for count, unit in counted if type(count) is int and 0 < count < 10**9)
