"""What hosts over HTTP share: origins, refusals as tables, dates, waiting times, the host's clock, and its claims."""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final, Generic, NamedTuple, TypeVar
from urllib.parse import SplitResult, urlsplit

from imghost.errors import Action, HostError, SettingsError
from imghost.net.client import Answer
from imghost.wording import printable

_ADDRESS = r"https?://(?:[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/\-]*)?"
_HOST = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?"


def image_urls(own: str, path: str, api_url: str, origin: str, url_hosts: Sequence[str]) -> re.Pattern[str]:
    """Make the one expression that a host's image URLs match, in full and as they are written.

    `own` matches the URLs of the host's own image domain. `path` matches what follows the origin where
    `api_url` is set to another `origin` than the host's, or at one of `url_hosts`.
    """
    elsewhere = extra_origins(api_url, origin, url_hosts)
    return re.compile("|".join([own, *(re.escape(place) + path for place in elsewhere)]))


def extra_origins(api_url: str, origin: str, url_hosts: Sequence[str]) -> tuple[str, ...]:
    """List the origins beside the host's own that its images may have, as the settings name them.

    Raises:
        SettingsError: one of them cannot be an origin.
    """
    parts = split_origin(api_url)
    if parts is None:
        raise SettingsError("option 'api_url' should be an https URL (http on loopback only)")
    for name in url_hosts:
        if not re.fullmatch(_HOST, name) or split_origin(f"https://{name}") is None:
            raise SettingsError(
                f"option 'url_hosts' should list hosts like 'images.example.org', not {printable(name, 80)!r}"
            )
    api = origin_of(parts)
    return (*(() if api == origin else (api,)), *(f"https://{name}" for name in url_hosts))


def split_origin(url: str) -> SplitResult | None:
    """Split an address that may be asked: https, or http on loopback, without user, query or odd characters."""
    if not re.fullmatch(_ADDRESS, url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or port == 0:
        return None
    return parts if parts.scheme == "https" or is_loopback(parts) else None


def origin_of(parts: SplitResult) -> str:
    """Give `scheme://host[:port]` in lower case."""
    return f"{parts.scheme}://{parts.netloc}".lower()


def is_loopback(parts: SplitResult) -> bool:
    """Say whether an address stays on this machine."""
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


# A host's answer is a stranger's text: exact types are checked, unknown fields are ignored, and what is
# printed goes through `printable`.
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


NEVER: Final = datetime.max.replace(tzinfo=UTC)
"""When an image ends that is permanent, to compare it with others."""
_DUE: Final = timedelta(days=14)

Size = tuple[int | None, int | None]
"""Width and height in pixels; None = unknown."""


def foreign(host: str, url: str) -> HostError:
    """Say that a URL is not one of the host's images."""
    return HostError(
        Action.FILE,
        f"{host} gave a URL that is not one of its images: {printable(url, 80)}",
        remedy="if it is right, name its host in `options.url_hosts`",
        is_ambiguous=True,
    )


def other_size(host: str, theirs: Size, ours: Size, *, is_ambiguous: bool) -> HostError | None:
    """Say that an image has other pixels than what was sent; a host may turn it as its orientation says."""
    if None in theirs + ours or theirs in {ours, ours[::-1]}:
        return None
    sizes = f"{theirs[0]} x {theirs[1]} pixels, not {ours[0]} x {ours[1]}"
    return HostError(Action.FILE, f"{host} has another image in this one's place: {sizes}", is_ambiguous=is_ambiguous)


def least_left(retention: timedelta) -> timedelta:
    """Give how long an image that is found again must still live to count: as long as a record that is not due."""
    return min(_DUE, retention / 4)


CREDIBLE: Final = timedelta(days=3_650)
"""How far a host's clock may be from ours before it is not believed."""


class HostClock:
    """The host's clock, as its last answer told it, so that a wrong one here does no harm; until then the run's."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._ahead = timedelta()

    def hear(self, answer: Answer) -> None:
        """Take the time from an answer that tells one."""
        told = http_date(answer.headers.get("date", ""))
        ahead = timedelta() if told is None else told - self._now()
        self._ahead = ahead if abs(ahead) < CREDIBLE else timedelta()

    def now(self) -> datetime:
        """Give the moment."""
        return self._now() + self._ahead


_Made = TypeVar("_Made")


class Once(Generic[_Made]):
    """Gives what `make` makes, always the same; so what only uploads need is loaded by the first of them."""

    def __init__(self, make: Callable[[], _Made]) -> None:
        self._make = make
        self._made: _Made | None = None
        self._guard = threading.Lock()

    @property
    def is_made(self) -> bool:
        """Whether anybody has used it yet."""
        return self._made is not None

    def __call__(self) -> _Made:
        """Give it; raises what `make` raises, and then tries again the next time."""
        with self._guard:
            if self._made is None:
                self._made = self._make()
            return self._made
