"""imageupload.io's requests, REST and tools, with their answers and refusals."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, TypeVar
from urllib.parse import urljoin

from imghost.errors import Action, HostError
from imghost.hosts import Secret
from imghost.hosts.answers import (
    COMMON,
    HostClock,
    Rule,
    a_text,
    count,
    error_body,
    mapping,
    moment,
    origin_of,
    positive,
    read_object,
    retry_after,
    split_origin,
    unclear,
)
from imghost.hosts.imageupload import CONSUMED, FOLDER, LIVES, NAME, ORIGIN, SLUG
from imghost.models import NamedTuple, Payload
from imghost.net import Answer, Client, FilePart
from imghost.wording import printable

# Its REST interface says `{"error": "free text"}` without a code; its tools (MCP, JSON-RPC 2.0) say
# `{"error": {"code", "message"}}`. A proxy in front may say anything.
NOT_FOUND: Final = -32004
"""Says that there is no such image, and also that the host's storage is down."""

_UPGRADE: Final = "/dashboard/profile#upgrade"
_LINK: Final = r"(?:[/?#][A-Za-z0-9/?#=&._~%+\-]{0,150})?"

_IMAGE: Final = Rule(Action.FILE, "refuses the upload", "look at the image, or leave it out with `exclude`", True)
_SIZE: Final = Rule(
    Action.FILE, "refuses the image: it is too large", "make it smaller, or set `oversize: resize`", True
)
_FORMAT: Final = Rule(Action.FILE, "refuses the image's format", "convert it to PNG, JPEG, GIF, WebP or AVIF", True)
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
        400: _IMAGE._replace(is_final=False),  # it may be about a folder or a term
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

    def wants_greeting(self, greeting: Greeting) -> bool:
        """Say whether the server refuses because no session has begun, or the one that had has ended.

        The protocol has 400 for the one and 404 for the other; servers put -32600 or -32000 beside them.
        """
        if greeting.has_begun:
            has_ended = self.status == 404 and self.code in {None, -32000, -32001, -32600}
            return has_ended and "Mcp-Session-Id" in greeting.headers
        return self.code == -32600 or (self.status in {400, 412} and self.code in {None, -32000})

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


class RefusedUploadError(HostError):
    """An upload's refusal; `status` is HTTP's."""

    status = 0


def refused_upload(answer: Answer, origin: str) -> RefusedUploadError:
    """Make the error for an upload that is no success; where it may be stored all the same, it is ambiguous."""
    body = error_body(answer)
    quota = _quota_in(body)
    rule = _QUOTA if answer.status == 429 and quota is not None else _rule(answer.status)
    remedy = f"{rule.remedy}: {upgrade_link(quota or {}, origin)}" if rule is _QUOTA else rule.remedy
    words = printable(text_of(body))
    refusal = RefusedUploadError(
        rule.action,
        f"{NAME} {rule.reason} (HTTP {answer.status}{': ' + words if words else ''})",
        remedy=remedy,
        wait=retry_after(answer) if rule.action in {Action.WAIT, Action.RETRY} else None,
        is_ambiguous=answer.status >= 500 or answer.status == 408,
        is_final=rule.is_final,
    )
    refusal.status = answer.status
    return refusal


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
    texts = (error, mapping(error).get("message"), body.get("message"))
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
    return _AGAIN if status >= 500 or status < 300 else _IMAGE._replace(is_final=False)


def _quota_in(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for place in (body, mapping(body.get("error"))):
        if isinstance(place.get("quota"), dict):
            return dict(place["quota"])
    return None


# Its documentation shows the answer to an upload in full and the tools' answers in part, so what they may
# look like is read in several forms, and unknown fields are ignored.
_Read = TypeVar("_Read")


class ImageEntry(NamedTuple):
    """An image as the host describes it, its types checked; its URL is not yet."""

    slug: str
    url: str
    name: str
    bytes: int | None
    width: int | None
    height: int | None
    expires: datetime | None
    """When the host deletes it; None = never, if `has_life`."""
    has_life: bool
    """Whether the host says how long it lives."""
    is_open: bool
    """False where a password or a count of views stands between it and its readers."""
    folder: str | None
    """The folder's slug, empty for none; None where the host does not say."""
    uploaded: datetime | None
    """When it was stored, as told, or reckoned back from its end."""
    is_dated: bool = False
    """Whether the host tells when."""
    term: str = ""
    """The expiration that was asked for it, if the host says."""
    media_type: str = ""
    """Its type, if the host says."""


class Allowance(NamedTuple):
    """How much of the month's uploads is used; None = unknown, or without a limit."""

    plan: str
    used: int | None
    limit: int | None
    remaining: int | None
    raw: Mapping[str, Any]


def read_entry(raw: object) -> ImageEntry:
    """Read an image from the answer to an upload or from a list.

    Raises:
        ValueError: it has no slug, or no address of the image itself.
    """
    if not isinstance(raw, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004
    slug, url, name = raw.get("slug"), raw.get("direct_url"), raw.get("filename")
    if not isinstance(slug, str) or not SLUG.fullmatch(slug):
        raise ValueError("it has no `slug`")
    if not isinstance(url, str):
        raise ValueError("it has no `direct_url`")  # noqa: TRY004
    expires, has_life = _life(raw)
    return ImageEntry(
        slug=slug,
        url=url,
        name=name if isinstance(name, str) else "",
        bytes=positive(raw.get("size")),
        width=positive(raw.get("width")),
        height=positive(raw.get("height")),
        expires=expires,
        has_life=has_life,
        is_open=raw.get("view_limit") is None
        and raw.get("password_protected") in (None, False)
        and str(raw.get("expiration")) not in CONSUMED,
        folder=_folder(raw),
        uploaded=_told(raw) or _reckoned(raw),
        is_dated=_told(raw) is not None,
        term=raw["expiration"] if isinstance(raw.get("expiration"), str) else "",
        media_type=raw["mime"].strip().lower() if isinstance(raw.get("mime"), str) else "",
    )


def read_entries(found: Mapping[str, Any]) -> tuple[list[ImageEntry], int]:
    """Read one page of a list, and how many images it had; what cannot be read is left out.

    Raises:
        ValueError: it is no list.
    """
    raw = _list(found, "images")
    entries = []
    for one in raw:
        try:
            entries.append(read_entry(one))
        except ValueError:
            continue
    return entries, len(raw)


def read_folders(found: Mapping[str, Any]) -> dict[str, str]:
    """Read the folders: names and slugs, each to the slug.

    Raises:
        ValueError: it is no list.
    """
    known: dict[str, str] = {}
    for one in _list(found, "folders"):
        if slug := read_slug(one):
            known[slug] = slug
            if isinstance(one, dict) and isinstance(one.get("name"), str):
                known.setdefault(one["name"], slug)
    return known


def read_slug(raw: object) -> str:
    """Read a folder's slug; empty where there is none."""
    if isinstance(raw, dict):
        inner = raw.get("folder")
        raw = raw.get("slug", inner.get("slug") if isinstance(inner, dict) else inner)
    return raw if isinstance(raw, str) and FOLDER.fullmatch(raw) else ""


class PlanLimits(NamedTuple):
    """What a plan takes, in bytes."""

    image: int
    storage: int


PLANS: Final[Mapping[str, PlanLimits]] = MappingProxyType(
    {
        "free": PlanLimits(25_000_000, 500_000_000),
        "starter": PlanLimits(25_000_000, 5_000_000_000),
        "pro": PlanLimits(50_000_000, 50_000_000_000),
        "business": PlanLimits(100_000_000, 500_000_000_000),
    }
)
"""The plans of the host's price list; of another one its answers decide."""


def read_allowance(found: Mapping[str, Any]) -> Allowance | None:
    """Read the month's quota, flat or under `quota`; None where nothing is said of it."""
    inner = found.get("quota")
    raw = inner if isinstance(inner, dict) else found
    if not any(name in raw for name in ("used", "limit", "remaining", "plan", "unlimited")):
        return None
    plan = printable(raw["plan"], 40) if isinstance(raw.get("plan"), str) else ""
    used, limit, left = count(raw.get("used")), positive(raw.get("limit")), count(raw.get("remaining"))
    if raw.get("unlimited") is True or ("limit" in raw and limit is None):
        # A limit that is null, 0 or -1 is none, whatever is said to remain of it.
        return Allowance(plan, used, None, None, raw)
    if left is None and limit is not None and used is not None:
        left = max(0, limit - used)
    return Allowance(plan, used, limit, left, raw)


def read_headers(headers: Mapping[str, str]) -> Allowance | None:
    """Read the quota from the headers of an upload's answer."""
    names = ("used", "limit", "remaining")
    raw = {name: headers[f"x-quota-{name}"].strip() for name in names if f"x-quota-{name}" in headers}
    numbers = {name: int(text) for name, text in raw.items() if re.fullmatch(r"[0-9]{1,9}", text)}
    return read_allowance(numbers) if len(numbers) == len(names) else None


def _life(raw: Mapping[str, Any]) -> tuple[datetime | None, bool]:
    """Read when an image ends, and whether that is told; never is believed only if nothing speaks against it."""
    term = raw.get("expiration")
    try:
        expires = moment(raw.get("expires_at"))
    except ValueError:
        return None, False
    if expires is not None:
        return expires, True
    is_dated = isinstance(term, str) and (LIVES.get(term) is not None or term in CONSUMED)
    return None, not is_dated and (term == "forever" or "expires_at" in raw)


def _told(raw: Mapping[str, Any]) -> datetime | None:
    """Read when an image was stored, in any of the fields that hosts have for it."""
    for name in ("created_at", "uploaded_at", "created", "uploaded"):
        try:
            if found := moment(raw.get(name)):
                return found
        except ValueError:
            continue
    return None


def _reckoned(raw: Mapping[str, Any]) -> datetime | None:
    """Reckon back from an image's end when it was stored; what never ends does not show it."""
    life = LIVES.get(str(raw.get("expiration")))
    expires, _ = _life(raw)
    # The host's months may be calendar months, so an image may be a few days younger than this says; not older.
    return expires - life if expires and life and expires.year > 1 else None


def _folder(raw: Mapping[str, Any]) -> str | None:
    if "folder" not in raw:
        return None
    folder = raw["folder"]
    if isinstance(folder, dict):
        folder = folder.get("slug")
    return folder if isinstance(folder, str) else ""


def _list(found: Mapping[str, Any], name: str) -> list[Any]:
    for place in (name, "items", "data"):
        if isinstance(found.get(place), list):
            return list(found[place])
        inner = found.get(place)
        if isinstance(inner, dict) and isinstance(inner.get(name), list):
            return list(inner[name])
    raise ValueError("it is no list")


PAGE: Final = 100
"""Images in one answer of a list, at most."""
LIST_LIMIT: Final = 1 << 20
"""Bytes that a list of a hundred images may take."""


class Pace:
    """Keeps calls under a rate that the host publishes, so that no build is refused for its speed.

    At most `calls` within any `seconds`; the one too many waits. Safe to share between threads.
    """

    def __init__(
        self,
        calls: int,
        seconds: float,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._seconds = seconds
        self._now = now
        self._sleep = sleep
        self._turns: deque[float] = deque(maxlen=calls)
        self._guard = threading.Lock()

    def turn(self) -> None:
        """Wait until one more call may be sent."""
        with self._guard:
            now = self._now()
            is_full = len(self._turns) == self._turns.maxlen
            turn = max(now, self._turns[0] + self._seconds) if is_full else now
            self._turns.append(turn)
        if turn > now:
            self._sleep(turn - now)


PROTOCOL: Final = "2025-06-18"
"""The version of the Model Context Protocol that is offered; the server may choose another."""
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,256}")


class Greeting(NamedTuple):
    """What the server wants to see in each call since it was greeted."""

    headers: Mapping[str, str] = MappingProxyType({})
    has_begun: bool = False


class Api:
    """Sends the requests; the credential is revealed here and nowhere else."""

    def __init__(
        self,
        client: Client,
        url: str,
        mcp_url: str,
        secret: Secret | None,
        clock: HostClock,
        paces: tuple[Pace, Pace] | None = None,
    ) -> None:
        self._client = client
        self.site = origin_of(parts) if (parts := split_origin(url)) else ORIGIN
        """Where the plan can be changed."""
        self._url = f"{url.rstrip('/')}/api/upload"
        self._mcp_url = mcp_url
        self._secret = secret
        self._paces = paces
        """For uploads and for tools; None = as fast as it goes."""
        self._numbers = itertools.count(1)
        self._greeting = Greeting()
        self._guard = threading.Lock()
        self._clock = clock

    def now(self) -> datetime:
        """Give the moment by the host's clock."""
        return self._clock.now()

    def upload(self, payload: Payload, form: Mapping[str, str]) -> tuple[Mapping[str, Any], Allowance | None]:
        """Store an image, the part's Content-Type being the payload's: the answer, and what is left of the month.

        Raises:
            RefusedUploadError: the host says no.
        """
        part = FilePart("file", payload.name, payload.media_type, payload.file)
        answer = self._send(self._url, 0, form=form, file=part)
        if not 200 <= answer.status < 300:
            raise refused_upload(answer, self.site)
        image = read_object(NAME, answer)
        raw = image.get("quota")
        return image, read_allowance(raw) if isinstance(raw, dict) else read_headers(answer.headers)

    def read_upload(self, image: Mapping[str, Any]) -> ImageEntry:
        """Read what an upload's answer says of the image; raises HostError where there is none."""
        if image.get("ok") is False:
            raise HostError(Action.FILE, f"{NAME} did not store the image: {printable(text_of(image)) or 'no reason'}")
        try:
            return read_entry(image)
        except ValueError as wrong:
            problem = unclear(NAME, f"has no image: {wrong}")
        raise problem

    @staticmethod
    def room_of(plan: str) -> PlanLimits | None:
        """Tell what a plan takes; None of one that is not in the price list."""
        return PLANS.get(plan.lower())

    def upgrade_link(self, allowance: Allowance) -> str:
        """Give the address where the plan can be changed."""
        return upgrade_link(allowance.raw, self.site)

    @staticmethod
    def is_tools(problem: HostError) -> bool:
        """Say whether a tool, or something in its place, has answered."""
        return isinstance(problem, ToolError)

    @staticmethod
    def is_about_key(problem: HostError) -> bool:
        """Say whether a tool refuses the credential, which no other request would change."""
        return isinstance(problem, ToolError) and problem.is_about_key

    @staticmethod
    def is_refusal(problem: HostError) -> bool:
        """Say whether a tool itself refuses what was asked, and only that."""
        return isinstance(problem, ToolError) and problem.code is not None and problem.action is Action.FILE

    @staticmethod
    def is_unexplained(problem: HostError) -> bool:
        """Say whether an upload is refused for a reason that may be the image, the plan or the account."""
        return isinstance(problem, RefusedUploadError) and problem.status == 403

    def allowance(self) -> Allowance | None:
        """Ask how much of the month's uploads is used; None where the tool does not say."""
        return read_allowance(self.call("get_quota"))

    def folders(self) -> Mapping[str, str]:
        """List the account's folders: names and slugs, each to the slug."""
        return _read(read_folders, self.call("list_folders"), "is no list of folders")

    def make_folder(self, name: str) -> str:
        """Make a folder, and give its slug; empty where the host does not tell it."""
        return read_slug(self.call("create_folder", name=name))

    def images(self, folder: str, offset: int) -> tuple[list[ImageEntry], int]:
        """List the next images of a folder: those that can be read, and how many there were."""
        listed = self.call("list_images", folder=folder, limit=PAGE, offset=offset)
        return _read(read_entries, listed, "is no list of images")

    def delete(self, slug: str) -> None:
        """Delete an image; one that is not there is no error.

        Raises:
            HostError: it may still be there.
        """
        try:
            self.call("delete_image", slug=slug)
        except ToolError as problem:
            is_gone = problem.is_missing
            if is_gone is None:
                is_gone = not self._has(slug)
            if not is_gone:
                raise

    def _has(self, slug: str) -> bool:
        """Ask for an image by itself, where one code means both that it is gone and that the storage is down."""
        try:
            self.call("get_image", slug=slug)
        except ToolError as problem:
            return problem.code != NOT_FOUND or problem.is_missing is False
        return True

    def call(self, tool: str, **arguments: object) -> Mapping[str, Any]:
        """Call one of the host's tools, and give what it returns in structured form.

        Raises:
            ToolError: the tool, or something in its place, refuses.
            HostError: there is no answer, or none that can be read.
        """
        params = {"name": tool, "arguments": arguments}
        greeting = self._greeting
        try:
            return _result(self._ask("tools/call", params, greeting))
        except ToolError as problem:
            if not problem.wants_greeting(greeting) or not self._greet(greeting):
                raise
        return _result(self._ask("tools/call", params, self._greeting))

    def _ask(
        self, method: str, params: Mapping[str, object], greeting: Greeting, *, is_question: bool = True
    ) -> Answer:
        request: dict[str, object] = {"jsonrpc": "2.0", "method": method, "params": params}
        if is_question:
            request["id"] = next(self._numbers)
        headers = {"Accept": "application/json, text/event-stream", **greeting.headers}
        return self._send(self._mcp_url, 1, headers=headers, json=request, limit=LIST_LIMIT)

    def _greet(self, before: Greeting) -> bool:
        """Begin a session as the protocol has it, where the server wants one; says whether it has begun.

        The documented server answers without; one that does not is asked to once a run, and again where it has
        ended the session.
        """
        with self._guard:
            if self._greeting is not before:
                return True
            about = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": {"name": "imghost", "version": "1"}}
            answer = self._ask("initialize", about, Greeting())
            result = mapping(_message(answer).get("result"))
            if not 200 <= answer.status < 300 or not result:
                return False
            session, spoken = answer.headers.get("mcp-session-id", ""), a_text(result.get("protocolVersion"))
            named = {"Mcp-Session-Id": session, "MCP-Protocol-Version": spoken}
            self._greeting = Greeting({name: text for name, text in named.items() if _TOKEN.fullmatch(text)}, True)
            self._ask("notifications/initialized", {}, self._greeting, is_question=False)
            return True

    def _send(self, url: str, kind: int, *, headers: Mapping[str, str] | None = None, **parts: Any) -> Answer:
        if self._paces:
            self._paces[kind].turn()
        key = self._secret.reveal() if self._secret else ""
        own = {"Authorization": f"Bearer {key}"} if key else {}
        answer = self._client.send("POST", url, headers={**(headers or {}), **own}, **parts)
        self._clock.hear(answer)
        return answer


def _read(reader: Callable[[Mapping[str, Any]], _Read], told: Mapping[str, Any], lack: str) -> _Read:
    try:
        return reader(told)
    except ValueError:
        problem = unclear(NAME, lack)
    problem.is_ambiguous = False
    raise problem


def _result(answer: Answer) -> Mapping[str, Any]:
    """Read a tool's answer: the error it means, or the structured content, or JSON in its text."""
    message = _message(answer)
    error = message.get("error")
    if error is not None or not 200 <= answer.status < 300:
        code = error.get("code") if isinstance(error, dict) else None
        raise refused_tool(answer, _code(code), text_of(message))
    result = message.get("result")
    if not isinstance(result, dict):
        raise unclear(NAME, "is no tool's result")
    found, text = _content(result)
    if result.get("isError") is True:
        raise refused_tool(answer, _code(found.get("code")), text_of(found) or text)
    return found


def _content(result: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    structured = result.get("structuredContent")
    content = result.get("content")
    parts = content if isinstance(content, list) else []
    texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    first = texts[0] if texts else ""
    if isinstance(structured, dict):
        return structured, first
    for value in map(_parsed, texts):
        if isinstance(value, dict):
            return value, first
        if isinstance(value, list):
            return {"items": value}, first
    return {}, first


def _message(answer: Answer) -> Mapping[str, Any]:
    """Read the JSON-RPC message, which a server may also send as the last of a stream of events."""
    if answer.headers.get("content-type", "").lower().startswith("text/event-stream"):
        text = answer.body.decode("utf-8", "replace").replace("\r\n", "\n")
        events = ["\n".join(_fields(event)) for event in text.split("\n\n")]
        messages = [value for event in events if isinstance(value := _parsed(event), dict)]
        answers = [message for message in messages if "result" in message or "error" in message]
        return answers[-1] if answers else {}
    return error_body(answer)


def _fields(event: str) -> list[str]:
    return [line[5:].strip() for line in event.split("\n") if line.startswith("data:")]


def _parsed(text: str) -> object:
    try:
        return Answer(200, {}, text.encode()).json()
    except ValueError:
        return None


def _code(raw: object) -> int | None:
    return raw if isinstance(raw, int) and not isinstance(raw, bool) else None
