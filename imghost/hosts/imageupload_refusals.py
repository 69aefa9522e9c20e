"""What imageupload.io's refusals ask the client to do: tables, the tools' codes before the status.

Its REST interface says `{"error": "free text"}` without a code; its tools (MCP, JSON-RPC 2.0) say
`{"error": {"code", "message"}}`. A proxy in front may say anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urljoin

from imghost.errors import Action, HostError
from imghost.hosts.answers import COMMON, Rule, retry_after
from imghost.hosts.imageupload.options import NAME
from imghost.net.client import Answer
from imghost.wording import printable

NOT_FOUND: Final = -32004
"""Says that there is no such image, and also that the host's storage is down."""

_UPGRADE: Final = "/dashboard/profile#upgrade"
_LINK: Final = r"(?:[/?#][A-Za-z0-9/?#=&._~%+\-]{0,150})?"

_IMAGE: Final = Rule(Action.FILE, "refuses the upload", "look at the image, or leave it out with `exclude`")
_SIZE: Final = Rule(Action.FILE, "refuses the image: it is too large", "make it smaller, or set `oversize: resize`")
_FORMAT: Final = Rule(Action.FILE, "refuses the image's format", "convert it to PNG, JPEG, GIF, WebP or AVIF")
_KEY: Final = Rule(Action.STOP, "refuses the credential", "check the key in IMAGEUPLOAD_API_KEY, and if it was renewed")
_QUOTA: Final = Rule(
    Action.STOP, "allows no more uploads this month", "wait until the 1st of the next month (UTC), or upgrade the plan"
)
_LATER: Final = Rule(Action.WAIT, "asks to wait: too many requests", "build again later")
_AGAIN: Final = Rule(Action.RETRY, "has an error of its own", "build again later")
_STORAGE: Final = Rule(Action.RETRY, "cannot reach its storage", "build again later")
_BUSY: Final = Rule(Action.RETRY, "is overloaded or down", "build again later")
_MOVED: Final = Rule(
    Action.STOP,
    "does not know this address: the host's API has moved",
    "check `api_url` and `mcp_url`, or upgrade imghost",
)
_FORBIDDEN: Final = Rule(
    Action.FILE,
    "forbids this",
    "it does not say why: the account's storage may be full, its plan may not have this expiration (then set "
    "`retention: 30d` or upgrade), or its moderation may refuse the image",
)

STATUSES: Final[Mapping[int, Rule]] = MappingProxyType(
    {
        400: _IMAGE,
        401: _KEY,
        402: _QUOTA,
        403: _FORBIDDEN,
        404: _MOVED,
        405: _MOVED,
        410: _MOVED,
        413: _SIZE,
        415: _FORMAT,
        422: _IMAGE,
        429: _LATER,
        500: _AGAIN,
        502: _STORAGE,
        503: _BUSY,
    }
)

CODES: Final[Mapping[int, Rule]] = MappingProxyType(
    {
        -32700: _MOVED,
        -32600: _MOVED,
        -32601: _MOVED,
        -32602: Rule(Action.FILE, "refuses the request", "report it to imghost"),
        -32603: _FORBIDDEN,
        -32000: _AGAIN,
        -32001: _KEY,
        -32002: _LATER,
        -32003: _BUSY,
        NOT_FOUND: Rule(Action.FILE, "does not find it, or cannot reach its storage", "try again later"),
        -32029: _QUOTA,
    }
)


class ToolError(HostError):
    """A tool's refusal; `code` is the tool's own, None where something else answered in its place."""

    def __init__(self, rule: Rule, status: int, code: int | None, text: str, wait: float | None) -> None:
        said = ", ".join([f"HTTP {status}", *([] if code is None else [f"code {code}"])])
        words = printable(text)
        super().__init__(
            rule.action, f"{NAME} {rule.reason} ({said}{': ' + words if words else ''})", remedy=rule.remedy, wait=wait
        )
        self.status = status
        self.code = code
        self.text = words

    @property
    def is_about_key(self) -> bool:
        """Say whether the credential is refused, which no other request would change."""
        return self.code == -32001 or (self.code is None and self.status == 401)

    @property
    def is_missing(self) -> bool | None:
        """Say whether the thing asked for is not there; None where the one code for two causes leaves it open."""
        if self.code != NOT_FOUND or self.status >= 500:
            return False
        says_gone = re.search(
            r"not.?found|not yours|no such|unknown|(?:does not|doesn't) exist|already deleted", self.text, re.I
        )
        says_down = re.search(r"storage|backend|upstream|gateway|unavailable|502|try again|retry", self.text, re.I)
        if bool(says_gone) == bool(says_down):
            return True if self.status == 404 and not says_down else None
        return bool(says_gone)


def refused_upload(answer: Answer, origin: str) -> HostError:
    """Make the error for an upload that is no success; where it may be stored all the same, it is ambiguous."""
    body = _object(answer)
    quota = _quota_in(body)
    rule = _QUOTA if answer.status == 429 and quota is not None else _rule(answer.status)
    remedy = f"{rule.remedy}: {upgrade_link(quota or {}, origin)}" if rule is _QUOTA else rule.remedy
    words = printable(text_of(body))
    return HostError(
        rule.action,
        f"{NAME} {rule.reason} (HTTP {answer.status}{': ' + words if words else ''})",
        remedy=remedy,
        wait=retry_after(answer) if rule.action in {Action.WAIT, Action.RETRY} else None,
        is_ambiguous=answer.status >= 500 or answer.status == 408,
    )


def refused_tool(answer: Answer, code: int | None, text: str) -> ToolError:
    """Make the error for a tool's refusal: by its code, else by the status."""
    rule = (CODES.get(code) if code is not None else None) or _rule(answer.status)
    if code == NOT_FOUND and answer.status >= 500:
        rule = _STORAGE
    return ToolError(rule, answer.status, code, text, retry_after(answer))


def upgrade_link(quota: Mapping[str, Any], origin: str) -> str:
    """Give the full address where the plan can be changed; the host writes it without its origin."""
    named = quota.get("upgrade_url")
    if isinstance(named, str) and len(named) <= 200:
        link = _joined(origin, named)
        if re.fullmatch(re.escape(origin) + _LINK, link):
            return link
    return origin + _UPGRADE


def text_of(body: Mapping[str, Any]) -> str:
    """Read what a refusal says in words, in any of the places where hosts put it."""
    error = body.get("error")
    inner = error if isinstance(error, dict) else {}
    texts = (error, inner.get("message"), body.get("message"))
    return next((text for text in texts if isinstance(text, str) and text.strip()), "")


def _joined(origin: str, path: str) -> str:
    try:
        return urljoin(f"{origin}/", path)
    except ValueError:
        return ""


def _rule(status: int) -> Rule:
    if rule := STATUSES.get(status) or COMMON.get(status):
        return rule
    if 300 <= status < 400:
        return Rule(Action.STOP, "redirects, which is refused", "set `api_url` or `mcp_url` to where the API is")
    return _AGAIN if status >= 500 or status < 300 else _IMAGE


def _quota_in(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    error = body.get("error")
    for place in (body, error if isinstance(error, dict) else {}):
        if isinstance(place.get("quota"), dict):
            return dict(place["quota"])
    return None


def _object(answer: Answer) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
