"""What hosts over HTTP share: origins, refusals as tables, dates, waiting times, the host's clock, and its claims."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import SplitResult, urlsplit

from imghost.errors import Action, HostError, SettingsError
from imghost.models import NamedTuple
from imghost.net import Answer
from imghost.wording import printable

_ADDRESS = r"https?://(?:[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/\-]*)?"
_HOST = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?"


def image_urls(own: str, path: str, api_url: str, origin: str, url_hosts: Sequence[str]) -> re.Pattern[str]:
    """Make the one expression that a host's image URLs match, in full and as they are written.

    `own` matches the URLs of the host's own image domain. `path` matches what follows the origin where
    `api_url` is set to another `origin` than the host's, or at one of `url_hosts`. Behind a reverse proxy it
    also follows the folders of `api_url`'s path, or the first of them.
    """
    elsewhere = extra_origins(api_url, origin, url_hosts)
    folders = ""
    for folder in reversed([part for part in urlsplit(api_url).path.split("/") if part not in {"", ".", ".."}]):
        folders = f"(?:/{re.escape(folder)}{folders})?"
    at_api = origin_of(urlsplit(api_url))
    places = (re.escape(place) + (folders if place == at_api else "") for place in elsewhere)
    return re.compile("|".join([own, *(place + path for place in places)]))


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


def is_at(url: str, origin: str) -> bool:
    """Say whether an address is one of an origin."""
    parts = split_origin(url)
    return parts is not None and origin_of(parts) == origin


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


def an_object(body: object) -> Mapping[str, Any]:
    """Take a JSON object; raises ValueError for anything else."""
    if not isinstance(body, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004
    return body


def mapping(raw: object) -> Mapping[str, Any]:
    """Take a JSON object; anything else is an empty one."""
    return raw if isinstance(raw, dict) else {}


def a_text(raw: object) -> str:
    """Take a text; anything else is an empty one."""
    return raw if isinstance(raw, str) else ""


def count(raw: object) -> int | None:
    """Take a count, 0 included; None where it is none that can be."""
    return raw if isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < MOST else None


def positive(raw: object) -> int | None:
    """Take a size or a limit; None where there is none, which hosts write as null, 0 or -1."""
    return count(raw) or None


class Rule(NamedTuple):
    """What one refusal of a host means: what to do, the cause, and what the user can change."""

    action: Action
    reason: str
    """Continues the host's name: `img402 …`."""
    remedy: str = ""
    is_final: bool = False
    """Whether it is about the bytes alone: sent again on the same terms, they are refused again."""


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
        413: Rule(
            Action.FILE, "refuses the image: it is too large", "make it smaller, or set `oversize: resize`", True
        ),
        415: Rule(Action.FILE, "refuses the image's format", is_final=True),
        422: Rule(Action.FILE, "refuses the image", is_final=True),
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
        is_final=rule.is_final,
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
    body = error_body(answer)
    nested = body.get("error")
    return nested if isinstance(nested, dict) else body


def error_body(answer: Answer) -> Mapping[str, Any]:
    """Give the JSON object of an answer, whatever it is; empty where there is none."""
    return mapping(_read(answer))


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
    return told_moment(answer.headers) or datetime.now(UTC)


def told_moment(headers: Mapping[str, str]) -> datetime | None:
    """Read the moment that an answer tells: its `Date`, and its `Age` where a cache has kept it (RFC 9111, 4.2.3)."""
    dated = http_date(headers.get("date", ""))
    age = headers.get("age", "").strip()
    return dated + timedelta(seconds=int(age)) if dated and re.fullmatch(r"[0-9]{1,9}", age) else dated


def http_date(text: str) -> datetime | None:
    """Read a date as headers have it; None where it is none."""
    try:
        found = parsedate_to_datetime(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def moment(value: object) -> datetime | None:
    """Read when something ends: an ISO 8601 text, or Unix seconds or milliseconds; None stays None, which is never.

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
            # Seconds reach this number in the year 5138, milliseconds had it in 1973.
            return datetime.fromtimestamp(value / 1000 if value >= 1e11 else value, UTC)
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


class Copy(Protocol):
    """An image as a host describes it, its types checked; its URL is not yet."""

    @property
    def url(self) -> str:
        """The image's address."""

    @property
    def width(self) -> int | None:
        """Pixels."""

    @property
    def height(self) -> int | None:
        """Pixels."""

    @property
    def expires(self) -> datetime | None:
        """When the host deletes it; None = never."""


_Copy = TypeVar("_Copy", bound=Copy)


class CopyJudge:
    """Compares the copies that a host has with what was sent, and their life with the retention."""

    def __init__(
        self, host: str, accepts: Callable[[str], bool], retention: timedelta | None, now: Callable[[], datetime]
    ) -> None:
        self._host = host
        self._accepts = accepts
        self._retention = retention
        self._now = now

    def objection(self, copy: Copy, size: Size, *, is_ambiguous: bool) -> HostError | None:
        """Say what is wrong with a copy: its address, or its pixels."""
        if not self._accepts(copy.url):
            return foreign(self._host, copy.url)
        return other_size(self._host, (copy.width, copy.height), size, is_ambiguous=is_ambiguous)

    def is_enough(self, expires: datetime | None, slack: timedelta) -> bool:
        """Say whether a new image lives as long as asked, but for `slack`: clocks differ, and so do the moments."""
        if expires is None or self._retention is None:
            return expires is None
        return expires - self._now() >= self._retention - min(slack, self._retention / 4)

    def is_left(self, expires: datetime | None) -> bool:
        """Say whether an image that is found again has as much life left as a record that is not due."""
        if expires is None or self._retention is None:
            return expires is None
        return expires - self._now() >= min(_DUE, self._retention / 4)


def longest_lived(copies: Iterable[_Copy]) -> _Copy | None:
    """Choose the copy that lives longest, always the same of several; None where there is none."""
    return max(copies, key=lambda copy: (copy.expires or NEVER, copy.url), default=None)


CREDIBLE: Final = timedelta(days=3_650)
"""How far a host's clock may be from ours before it is not believed."""


class HostClock:
    """The host's clock, as its last answer told it, so that a wrong one here does no harm; until then the run's."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._ahead = timedelta()

    def hear(self, answer: Answer) -> None:
        """Take the time from an answer that tells one."""
        told = told_moment(answer.headers)
        ahead = timedelta() if told is None else told - self._now()
        self._ahead = ahead if abs(ahead) < CREDIBLE else timedelta()

    def now(self) -> datetime:
        """Give the moment."""
        return self._now() + self._ahead
