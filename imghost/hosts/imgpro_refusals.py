"""What img.pro's refusals ask the client to do: tables, the code before the type before the status.

The `upload` generation of its API says `{"error": "code", "message", "action"}`, the `images` generation
`{"error": {"type", "code", "message", "action", "details"}}`. A proxy in front may say anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from imghost.errors import Action, HostError
from imghost.hosts.answers import COMMON, Rule, retry_after
from imghost.hosts.imgpro.options import NAME
from imghost.net.client import Answer
from imghost.wording import printable

APPS: Final = "https://img.pro/apps"
"""Where people make keys by hand."""
IN_PROGRESS: Final = "idempotency_key_in_progress"
IN_PROGRESS_WAIT: Final = 30.0
"""Seconds that the vendor's own client gives an upload that is still running under the same key."""

_LINK: Final = re.compile(r"https://[A-Za-z0-9.\-]{1,100}(?::[0-9]{1,5})?(?:[/?][A-Za-z0-9/?#=&._~%+\-]{0,150})?")

_BUG: Final = Rule(Action.FILE, "saw no image in the upload", "report it to imghost")
_SIZE: Final = Rule(Action.FILE, "refuses the image: it is too large", "make it smaller, or set `oversize: resize`")
_FORMAT: Final = Rule(Action.FILE, "refuses the image's format", "convert it to PNG, JPEG, GIF, WebP or AVIF")
_IMAGE: Final = Rule(Action.FILE, "refuses the image", "look at the image, or leave it out with `exclude`")
_CONFLICT: Final = Rule(Action.FILE, "sees a conflict with an earlier upload", "build again tomorrow")
_KEY: Final = Rule(Action.STOP, "refuses the credential", "check the key in IMGPRO_API_KEY")
_RIGHT: Final = Rule(Action.STOP, "forbids this to the key", "put a key that may write into IMGPRO_API_KEY")
_ACCOUNT: Final = Rule(Action.STOP, "has closed the account to uploads", "look at its state at img.pro")
_QUOTA: Final = Rule(Action.STOP, "has no quota left", "raise it, or wait until it is renewed")
_LATER: Final = Rule(Action.WAIT, "asks to wait: too many requests", "build again later")
_AGAIN: Final = Rule(Action.RETRY, "has an error of its own", "build again later")
_MOVED: Final = Rule(
    Action.STOP, "does not know this address: the host's API has moved", "check `api_url` and `api`, or upgrade imghost"
)

CODES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "missing_file": _BUG,
        "missing_url": _BUG,
        "file_too_large": _SIZE,
        "unsupported_format": _FORMAT,
        "fetch_failed": Rule(Action.FILE, "could not fetch the image", "check its address"),
        "unauthorized": _KEY,
        "forbidden": _RIGHT,
        "key_limit_reached": Rule(Action.STOP, "gives this address no more keys", f"delete one at {APPS}"),
        "registration_closed": Rule(Action.STOP, "takes no new accounts", f"make a key at {APPS}"),
        "not_found": _MOVED,
        "duplicate": _CONFLICT,
        "quota_exceeded": _QUOTA,
        "validation_error": _IMAGE,
        "rate_limited": _LATER,
        "app_suspended": _ACCOUNT,
        "app_blocked": _ACCOUNT,
        "workspace_unavailable": _ACCOUNT,
        "media_blocked": _IMAGE,
        "media_locked": _IMAGE,
        "media_failed": _IMAGE,
        "idempotency_key_conflict": _CONFLICT,
        "idempotency_recovery_conflict": _CONFLICT,
        IN_PROGRESS: Rule(Action.WAIT, "is still storing this image", "build again later"),
    }
)

TYPES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "authentication_error": _KEY,
        "permission_error": _RIGHT,
        "quota_error": _QUOTA,
        "rate_limit_error": _LATER,
        "validation_error": _IMAGE,
        "invalid_request_error": _IMAGE,
    }
)

STATUSES: Final[Mapping[int, Rule]] = MappingProxyType(
    {
        400: _IMAGE,
        401: _KEY,
        402: _QUOTA,
        403: _RIGHT,
        404: _MOVED,
        405: _MOVED,
        409: _CONFLICT,
        410: _MOVED,
        415: _FORMAT,
        422: _IMAGE,
        429: _LATER,
    }
)


class Refusal(NamedTuple):
    """An answer that is no success, read as far as it can be; every text in it is safe to print."""

    status: int
    code: str
    kind: str
    """The error's type, which stands in for a code that nobody knows yet."""
    message: str
    link: str
    wait: float | None

    def rule(self, own: Mapping[str, Rule] = MappingProxyType({})) -> Rule:
        """Find what it means: by the request's own codes, by the code, else by the type, else by the status."""
        if self.code in own:
            return own[self.code]
        if self.code == "fetch_failed" and self.status == 504:
            return _AGAIN
        if rule := CODES.get(self.code) or TYPES.get(self.kind) or STATUSES.get(self.status) or COMMON.get(self.status):
            return rule
        if 300 <= self.status < 400:
            return Rule(Action.STOP, "redirects, which is refused", "set `api_url` to where the API is")
        return _AGAIN if self.status >= 500 else _IMAGE

    def error(self, own: Mapping[str, Rule] = MappingProxyType({})) -> HostError:
        """Make the error that says so; `own` says what codes mean to this kind of request."""
        rule = self.rule(own)
        wait = self.wait if rule.action in {Action.WAIT, Action.RETRY} else None
        if self.code == IN_PROGRESS and wait is None:
            wait = IN_PROGRESS_WAIT
        said = [self.code or self.kind, self.message]
        words = ": ".join(text for text in said if text)
        return HostError(
            Action.WAIT if wait is not None else rule.action,
            f"{NAME} {rule.reason} (HTTP {self.status}{', ' + words if words else ''})",
            remedy=f"{rule.remedy}: {self.link}" if self.link else rule.remedy,
            wait=wait,
            is_ambiguous=self.status >= 500 or self.status == 408 or self.code == IN_PROGRESS,
        )


def read_refusal(answer: Answer) -> Refusal:
    """Read a refusal leniently, whoever wrote it."""
    try:
        whole = _object(answer.json())
    except ValueError:
        whole = {}
    error = _object(whole.get("error")) or whole
    code = _word(error.get("code")) or _word(whole.get("error")) or _word(whole.get("code"))
    return Refusal(
        status=answer.status,
        code=code,
        kind=_word(error.get("type")),
        message=printable(_message(whole, error, code)),
        link=link_in(error) or link_in(whole),
        wait=_longest(answer, error, _object(error.get("action")), _object(whole.get("action"))),
    )


def link_in(answer: Mapping[str, Any]) -> str:
    """Find where the answer says that the user can change something: an https link, or nothing."""
    for name in ("action", "upgrade", "verify"):
        url = _object(answer.get(name)).get("url")
        if isinstance(url, str) and _LINK.fullmatch(url):
            return url
    return ""


def _message(whole: Mapping[str, Any], error: Mapping[str, Any], code: str) -> str:
    """Give what the host says in words, with the fields that a validation names."""
    texts = [error.get("message"), whole.get("message"), None if code else whole.get("error")]
    told = next((text for text in texts if isinstance(text, str) and text.strip()), "")
    details = _object(error.get("details")) or _object(whole.get("errors"))
    return "; ".join([text for text in (told, *_details(details)) if text])


def _details(details: Mapping[str, Any]) -> Iterator[str]:
    for name, said in list(details.items())[:4]:
        first = said[0] if isinstance(said, list) and said else said
        if isinstance(first, str):
            yield f"{name}: {first}"


def _longest(answer: Answer, *places: Mapping[str, Any]) -> float | None:
    """Take the longest wait of those that the header and the body name, in seconds."""
    named = [place.get(name) for place in places for name in ("seconds", "retry_after")]
    waits = [seconds for wait in (retry_after(answer), *named) if (seconds := _seconds(wait)) is not None]
    return max(waits, default=None)


def _seconds(raw: object) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        return None
    try:
        seconds = float(raw)
    except OverflowError:
        return None
    return seconds if isfinite(seconds) and seconds >= 0 else None


def _word(raw: object) -> str:
    """Read a code: a short word; anything longer is a message."""
    return raw if isinstance(raw, str) and re.fullmatch(r"[a-z0-9_]{1,64}", raw) else ""


def _object(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, dict) else {}
