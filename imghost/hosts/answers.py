"""What hosts' answers have in common: errors, waiting times, dates, and the URLs of their images.

A host's answer is a stranger's text: exact types are checked, unknown fields are ignored, and what is
printed goes through `printable`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from imghost.errors import Action, HostError
from imghost.hosts.origins import extra_origins as extra_origins  # noqa: PLC0414 - where hosts look for it
from imghost.hosts.origins import image_urls as image_urls  # noqa: PLC0414 - where hosts look for it
from imghost.net.client import Answer
from imghost.wording import printable

MOST: Final = 10**15
"""No size and no count is as large; what a host gives beyond it is none, and would not fit a line."""


class Rule(NamedTuple):
    """What one refusal of a host means: what to do, the cause, and what the user can change."""

    action: Action
    reason: str
    """Continues the host's name: `img402 …`."""
    remedy: str = ""


COMMON: Final[Mapping[int, Rule]] = MappingProxyType(
    {
        400: Rule(Action.FILE, "refuses the request"),
        401: Rule(Action.STOP, "refuses the credential", "check that it is complete and still valid"),
        402: Rule(Action.STOP, "asks for a payment", "choose another tier or plan"),
        403: Rule(Action.FILE, "forbids this upload", "check the account's plan and storage"),
        404: Rule(Action.STOP, "has moved its API", "check `api_url`, or for a newer version of imghost"),
        405: Rule(Action.STOP, "has changed its API", "check `api_url`, or for a newer version of imghost"),
        408: Rule(Action.RETRY, "did not get the request in time"),
        409: Rule(Action.FILE, "sees a conflict with an earlier upload"),
        410: Rule(Action.STOP, "has closed its API", "check `api_url`, or for a newer version of imghost"),
        413: Rule(Action.FILE, "refuses the image: it is too large", "make it smaller, or set `oversize: resize`"),
        415: Rule(Action.FILE, "refuses the image's format"),
        422: Rule(Action.FILE, "refuses the image"),
        425: Rule(Action.RETRY, "asks to send the request again"),
        429: Rule(Action.WAIT, "asks to wait: too many uploads"),
        503: Rule(Action.RETRY, "is overloaded or down", "build again later"),
    }
)
"""By status, where neither the code nor the host's own table says more."""


def refusal(
    host: str,
    answer: Answer,
    codes: Mapping[str, Rule] = MappingProxyType({}),
    statuses: Mapping[int, Rule] = MappingProxyType({}),
) -> HostError:
    """Make the error that an answer means: by its code, then the host's statuses, then what is common.

    Of a status of 500 and over it is not known whether the host has stored the image.
    """
    code, message = error_code(answer)
    rule = codes.get(code) or statuses.get(answer.status) or COMMON.get(answer.status) or _by_class(answer.status)
    wait = retry_after(answer)
    said = ": ".join(text for text in (printable(code, 60), printable(message)) if text)
    return HostError(
        rule.action,
        f"{host} {rule.reason} (HTTP {answer.status}{', ' + said if said else ''})",
        remedy=rule.remedy,
        wait=wait,
        is_ambiguous=answer.status >= 500 or 200 <= answer.status < 300,
    )


def _by_class(status: int) -> Rule:
    if 300 <= status < 400:
        return Rule(Action.STOP, "redirects, which is refused", "check `api_url`")
    if 400 <= status < 500:
        return Rule(Action.FILE, "refuses the request")
    if status >= 500:
        return Rule(Action.RETRY, "has an error of its own", "build again later")
    return Rule(Action.RETRY, "gave an answer that makes no sense", "build again later")


def error_fields(answer: Answer) -> Mapping[str, object]:
    """Give the object that describes an error: the nested `error`, else the whole body; empty if there is none."""
    body = _read(answer)
    if not isinstance(body, dict):
        return {}
    nested = body.get("error")
    return nested if isinstance(nested, dict) else body


def error_code(answer: Answer) -> tuple[str, str]:
    """Read an error's code and message, each empty where the answer has none."""
    fields = error_fields(answer)
    code = fields.get("code") if isinstance(fields.get("code"), str) else fields.get("error")
    message = fields.get("message")
    return code if isinstance(code, str) else "", message if isinstance(message, str) else ""


def _read(answer: Answer) -> object:
    try:
        return answer.json()
    except ValueError:
        return None


def read_object(host: str, answer: Answer) -> dict[str, Any]:
    """Read a success's JSON object; without one, it is not known whether the host has stored the image."""
    body = _read(answer)
    if isinstance(body, dict):
        return body
    raise unclear(host, "is not a JSON object")


def unclear(host: str, what: str) -> HostError:
    """Make the error for a success that cannot be used: the host may have stored the image."""
    return HostError(
        Action.RETRY,
        f"{host} gave an answer that {what}",
        remedy="check `api_url`, or for a newer version of imghost",
        is_ambiguous=True,
    )


def retry_after(answer: Answer) -> float | None:
    """Read the seconds that `Retry-After` asks for, not capped; None where it is absent or makes no sense.

    A date counts from the answer's own `Date`, so that a wrong clock here does no harm.
    """
    text = answer.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,12}", text):
        return float(text)
    until = http_date(text)
    return None if until is None else max(0.0, (until - moment_of(answer)).total_seconds())


def moment_of(answer: Answer) -> datetime:
    """Give the moment of an answer by the host's clock, or by ours if it does not say."""
    return http_date(answer.headers.get("date", "")) or datetime.now(UTC)


def http_date(text: str) -> datetime | None:
    """Read a date as headers have it; None where it is none."""
    try:
        found = parsedate_to_datetime(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def moment(value: object) -> datetime | None:
    """Read when something ends: an ISO 8601 text or Unix seconds; None stays None, which is never.

    Raises:
        ValueError: it is neither.
    """
    if value is None:
        return None
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise ValueError("it is no date")
