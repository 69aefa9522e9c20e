"""img.pro's requests, answers, refusals, account and keys."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from imghost.errors import Action, HostError
from imghost.hosts import Quota, Secret, Usage
from imghost.hosts.answers import (
    COMMON,
    HostClock,
    Rule,
    a_text,
    an_object,
    count,
    error_body,
    mapping,
    moment,
    positive,
    retry_after,
    unclear,
)
from imghost.hosts.imgpro import APPS, NAME, Fields, Generation, What, is_id
from imghost.models import NamedTuple, Payload
from imghost.net import Answer, Client, FilePart
from imghost.wording import printable

# The `upload` generation of its API says `{"error": "code", "message", "action"}`, the `images` generation
# `{"error": {"type", "code", "message", "action", "details"}}`. A proxy in front may say anything.
IN_PROGRESS: Final = "idempotency_key_in_progress"
IN_PROGRESS_WAIT: Final = 30.0
"""Seconds that the vendor's own client gives an upload that is still running under the same key."""

_LINK: Final = re.compile(r"https://[A-Za-z0-9.\-]{1,100}(?::[0-9]{1,5})?(?:[/?][A-Za-z0-9/?#=&._~%+\-]{0,400})?")

_BUG: Final = Rule(Action.FILE, "saw no image in the upload", "report it to imghost")
_SIZE: Final = Rule(
    Action.FILE, "refuses the image: it is too large", "make it smaller, or set `oversize: resize`", True
)
_FORMAT: Final = Rule(Action.FILE, "refuses the image's format", "convert it to PNG, JPEG, GIF, WebP or AVIF", True)
_IMAGE: Final = Rule(Action.FILE, "refuses the image", "look at the image, or leave it out with `exclude`", True)
_CONFLICT: Final = Rule(Action.FILE, "sees a conflict with an earlier upload", "build again tomorrow")
_BAD_KEY: Final = Rule(Action.STOP, "refuses the credential", "check the key in IMGPRO_API_KEY")
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
        "unauthorized": _BAD_KEY,
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
        "authentication_error": _BAD_KEY,
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
        401: _BAD_KEY,
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
        # A proxy's word, which may have another tomorrow.
        return _AGAIN if self.status >= 500 else _IMAGE._replace(is_final=False)

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
            is_final=rule.is_final,
        )


def read_refusal(answer: Answer) -> Refusal:
    """Read a refusal leniently, whoever wrote it."""
    whole = error_body(answer)
    error = mapping(whole.get("error")) or whole
    code = _word(error.get("code")) or _word(whole.get("error")) or _word(whole.get("code"))
    return Refusal(
        status=answer.status,
        code=code,
        kind=_word(error.get("type")),
        message=printable(_message(whole, error, code)),
        link=link_in(error) or link_in(whole),
        wait=_longest(answer, error, mapping(error.get("action")), mapping(whole.get("action"))),
    )


def link_in(answer: Mapping[str, Any]) -> str:
    """Find where the answer says that the user can change something: an https link, or nothing."""
    for name in ("action", "upgrade", "verify"):
        url = mapping(answer.get(name)).get("url")
        if isinstance(url, str) and _LINK.fullmatch(url):
            return url
    return ""


def _message(whole: Mapping[str, Any], error: Mapping[str, Any], code: str) -> str:
    """Give what the host says in words, with the fields that a validation names."""
    texts = [error.get("message"), whole.get("message"), None if code else whole.get("error")]
    told = next((text for text in texts if isinstance(text, str) and text.strip()), "")
    details = mapping(error.get("details")) or mapping(whole.get("errors"))
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


# The API has changed its form several times under one address, so each answer's own shape decides how it
# is read, and unknown fields are ignored.
_CURSOR: Final = re.compile(r"[\x21-\x7e]{1,2000}")
_Read = TypeVar("_Read")


class Media(NamedTuple):
    """An image as the host describes it, its types checked; its URL is not yet."""

    url: str
    id: str
    width: int | None
    height: int | None
    expires: datetime | None
    has_failed: bool = False
    link: str = ""
    """Where the user can make the host keep it longer."""
    labels: Mapping[str, object] = MappingProxyType({})
    name: str = ""
    namespace: str = ""
    uploaded: datetime | None = None
    bytes: int | None = None
    tags: tuple[str, ...] | None = None
    """None where the host does not say, as with the next two."""
    public: bool | None = None
    metadata: Mapping[str, object] | None = None


class Page(NamedTuple):
    """A part of a list of images; what cannot be read of it is left out."""

    media: tuple[Media, ...] = ()
    cursor: str = ""
    """What asks for the next part; empty where the host names none."""
    has_more: bool = False


def is_success(answer: Answer) -> bool:
    """Say whether an answer grants what was asked."""
    return 200 <= answer.status < 300


def read(reader: Callable[[object], _Read], answer: Answer, lack: str, *, is_ambiguous: bool = True) -> _Read:
    """Read a success; one that cannot be read says nothing of what the host has stored.

    Raises:
        HostError: the answer `lack`s what it should have.
    """
    try:
        return reader(answer.json())
    except ValueError:
        problem = unclear(NAME, lack)
    problem.is_ambiguous = is_ambiguous
    raise problem


def read_media(body: object) -> Media:
    """Read an image from the answer to an upload.

    Raises:
        ValueError: the answer is none of the known forms.
        HostError: it names a page about the image, and no image.
    """
    answer = an_object(body)
    inner = answer.get("data")
    media = inner if isinstance(inner, dict) and "id" not in answer else answer
    found = media.get("id")
    if not isinstance(found, str) or not is_id(found):
        raise ValueError("the answer has no image's id")
    return Media(
        url=_url(media),
        id=found,
        width=positive(media.get("width")),
        height=positive(media.get("height")),
        expires=moment(media.get("expires_at")),
        has_failed=media.get("status") == "failed",
        link=link_in(media) or link_in(answer),
        labels=mapping(media.get("labels")),
        name=a_text(media.get("name")),
        namespace=a_text(media.get("namespace")),
        uploaded=_uploaded(media),
        bytes=positive(media.get("bytes")) or positive(media.get("filesize")),
        tags=tuple(map(str, media["tags"])) if isinstance(media.get("tags"), list) else None,
        public=media["public"] if isinstance(media.get("public"), bool) else None,
        metadata=media["metadata"] if isinstance(media.get("metadata"), dict) else None,
    )


def read_existing(body: object) -> Media:
    """Read the image that a refused duplicate is one of: beside the error, or one level below.

    Raises:
        ValueError: there is none.
    """
    answer = an_object(body)
    for name in ("media", "data", "image"):
        if isinstance(answer.get(name), dict):
            return read_media(answer[name])
    return read_media(answer)


def read_list(body: object) -> Page:
    """Read a part of a list: `data` with a `pagination`, or `items` with a `cursor`.

    Raises:
        ValueError: the answer is no object.
    """
    answer = an_object(body)
    lists = [answer[name] for name in ("data", "items") if isinstance(answer.get(name), list)]
    places = (answer, mapping(answer.get("pagination")))
    cursors = [place.get(name) for place in places for name in ("next_cursor", "cursor")]
    texts = [str(cursor) for cursor in cursors if isinstance(cursor, (str, int)) and not isinstance(cursor, bool)]
    cursor = next((text for text in texts if _CURSOR.fullmatch(text)), "")
    said = next((place["has_more"] for place in places if isinstance(place.get("has_more"), bool)), bool(cursor))
    return Page(tuple(media for entry in (lists[0] if lists else ()) if (media := _readable(entry))), cursor, said)


def read_groups(body: object) -> tuple[tuple[str, int, int], ...]:
    """Read the account's namespaces, each with its images and bytes; what cannot be read of them is left out.

    Raises:
        ValueError: the answer is no object.
    """
    groups = an_object(body).get("namespaces")
    told = [mapping(group) for group in (groups if isinstance(groups, list) else ())]
    return tuple(
        (printable(group["namespace"], 64), count(group.get("count")) or 0, count(group.get("storage_bytes")) or 0)
        for group in told
        if isinstance(group.get("namespace"), str)
    )


def read_batch(body: object) -> tuple[Mapping[str, str], int | None]:
    """Read what became of a deletion: why, for each id that is still there, and how many were deleted if it says.

    Raises:
        ValueError: the answer is no object.
    """
    answer = an_object(body)
    errors = answer.get("errors")
    kept: dict[str, str] = {}
    for entry in errors if isinstance(errors, list) else ():
        one = mapping(entry)
        error = mapping(one.get("error"))
        if isinstance(one.get("id"), str) and error.get("code") != "not_found":
            said = [printable(error[name], 100) for name in ("code", "message") if isinstance(error.get(name), str)]
            kept[one["id"]] = f"{NAME} has not deleted it" + (f" ({': '.join(said)})" if said else "")
    count = answer.get("deleted")
    return kept, count if isinstance(count, int) and not isinstance(count, bool) else None


def _url(media: Mapping[str, Any]) -> str:
    """Choose the field that holds the image: `url` means a page about it in one generation, the image in another."""
    is_image_object = media.get("object") == "image" or "page_url" in media
    url = media.get("url") if is_image_object else media.get("src")
    if isinstance(url, str):
        return url
    if not is_image_object and ("link" in media or "url" in media):
        raise HostError(
            Action.STOP,
            "img.pro's answer names a page about the image, but not the image itself",
            remedy="set `api` to `images` or `upload` in the options, or upgrade imghost",
            is_ambiguous=True,
        )
    raise ValueError("the answer has no image's address")


def _readable(entry: object) -> Media | None:
    try:
        return read_media(entry)
    except (ValueError, HostError):
        return None


def _uploaded(media: Mapping[str, Any]) -> datetime | None:
    """Read since when an image is there, in either generation's field; nonsense is nothing."""
    for name in ("created_at", "published_at"):
        try:
            if stored := moment(media.get(name)):
                return stored
        except ValueError:
            continue
    return None


class Account(NamedTuple):
    """The account, and which generation of the API speaks of it."""

    generation: Generation
    usage: Usage
    is_verified: bool | None
    """None where the host does not say."""

    @property
    def quota(self) -> Quota:
        """What of it an upload depends on."""
        usage = self.usage
        is_proven = self.is_verified is True
        return Quota(usage.remaining, usage.plan, usage.link, is_proven, usage.resets, usage.allowance)


def read_account(body: object) -> Account:
    """Read the account's usage: a flat object, or one with `limits`.

    Raises:
        ValueError: it is neither.
    """
    answer = an_object(body)
    inner = answer.get("data")
    usage = inner if isinstance(inner, dict) and "success" in answer else answer
    verified = usage.get("verified")
    is_verified = verified if isinstance(verified, bool) else None
    if "limits" in usage or "object" in usage:
        return Account("images", _nested(usage), is_verified)
    if not any(name in usage for name in ("plan", "uploads_used", "uploads_remaining", "verified")):
        raise ValueError("the answer does not tell the usage")
    return Account("upload", _flat(usage), is_verified)


def _nested(usage: Mapping[str, Any]) -> Usage:
    images = mapping(mapping(usage.get("limits")).get("images"))
    used, limit = count(images.get("used")), positive(images.get("limit"))
    stored = count(mapping(usage.get("totals")).get("images_stored"))
    return Usage(
        plan=_plan(usage),
        used=stored if used is None else used,
        limit=limit,
        remaining=_left(used, limit),
        resets=_resets(usage),
        link=link_in(usage),
    )


def _flat(usage: Mapping[str, Any]) -> Usage:
    used, limit = count(usage.get("uploads_used")), positive(usage.get("uploads_limit"))
    space, room = count(usage.get("storage_used_bytes")), positive(usage.get("storage_limit_bytes"))
    said = count(usage.get("uploads_remaining"))
    # A limit that is null, 0 or -1 is none, whatever is said to remain of it.
    is_unlimited = "uploads_limit" in usage and limit is None
    left = None if is_unlimited else _left(used, limit) if said is None else said
    return Usage(
        plan=_plan(usage),
        used=used,
        limit=limit,
        # Where the storage is full, nothing goes up, whatever the number says.
        remaining=0 if _left(space, room) == 0 else left,
        bytes_used=space,
        bytes_limit=room,
        resets=_resets(usage),
        link=link_in(usage),
    )


def _plan(usage: Mapping[str, Any]) -> str:
    return printable(usage["plan"], 40) if isinstance(usage.get("plan"), str) else ""


def _resets(usage: Mapping[str, Any]) -> datetime | None:
    try:
        return moment(usage.get("resets_at"))
    except ValueError:
        return None


def _left(used: int | None, limit: int | None) -> int | None:
    return None if used is None or limit is None else max(0, limit - used)


LIST_LIMIT: Final = 1 << 20
"""Bytes that a list of a hundred images may take."""
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_NOT_THERE: Final = frozenset({404, 405, 410})
_CONFLICTS: Final = frozenset({"idempotency_key_conflict", "idempotency_recovery_conflict"})


class Api:
    """Sends the requests and reads their answers; the credential is revealed here and nowhere else."""

    def __init__(self, client: Client, url: str, secret: Secret | None, fields: Fields, clock: HostClock) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._secret = secret
        self._fields = fields
        self._clock = clock
        self._spent = ""

    def now(self) -> datetime:
        """Give the moment by the host's clock."""
        return self._clock.now()

    def account(self) -> Account:
        """Ask for the account's usage, by which the API also shows its generation; a refusal concerns every upload."""
        answer = self._send("GET", "/usage")
        if is_success(answer):
            return read(read_account, answer, "does not tell the account's usage", is_ambiguous=False)
        problem = read_refusal(answer).error()
        if problem.action is Action.FILE:
            problem.action = Action.STOP
        problem.is_ambiguous = False
        raise problem

    def labelled(self, label: str, value: str) -> tuple[Page, HostError | None]:
        """Ask for the first hundred images that have a label (`images` generation).

        A host or key that does not list images can still store them: then why it does not, and no images.
        """
        answer = self._listing("/images", {f"label[{label}]": value})
        refusal = None if is_success(answer) else read_refusal(answer).error()
        if refusal and answer.status != 401 and refusal.action not in {Action.WAIT, Action.RETRY}:
            return Page(), refusal
        return _page(answer), None

    def page(self, generation: Generation, cursor: str) -> Page:
        """Ask for the next hundred images of the project."""
        onward = {"cursor": cursor} if cursor else {}
        if generation == "images":
            return _page(self._listing("/images", {"label[imghost]": self._fields.project, **onward}))
        namespace = {"namespace": self._fields.namespace} if self._fields.namespace else {}
        return _page(self._listing("/media", {**namespace, **onward}))

    def tagged_page(self, cursor: str) -> Page:
        """Ask for the next hundred images that have all of the settings' tags (`upload` generation)."""
        query = {"tags": ",".join(self._fields.tags), "tag_mode": "all"}
        return _page(self._listing("/media", {**query, **({"cursor": cursor} if cursor else {})}))

    def chosen(self, ids: Sequence[str]) -> tuple[Media, ...]:
        """Ask for at most fifty images (`images` generation); those that are gone are left out."""
        return _page(self._send("GET", f"/images?{urlencode({'ids': ','.join(ids)})}", limit=LIST_LIMIT)).media

    def image(self, name: str) -> Media | None:
        """Ask for one image by its id (`upload` generation); None where it is gone."""
        answer = self._send("GET", f"/media/{name}")
        return None if _is_gone(answer) else read(read_media, _granted(answer), "is no image", is_ambiguous=False)

    def delete(self, generation: Generation, ids: Sequence[str]) -> Mapping[str, str] | None:
        """Delete at most a hundred images, by their ids alone; gives why for each that was not.

        None = the host leaves it open which are deleted.
        """
        path = "/images/batch" if generation == "images" else "/media/batch"
        answer = self._send("DELETE", path, json={"ids": list(ids)}, limit=LIST_LIMIT)
        if generation == "upload" and _is_gone(answer):
            return None
        kept, count = read(read_batch, _granted(answer), "does not tell what was deleted")
        return kept if generation == "images" or count == len(ids) else None

    def edit(self, ids: Sequence[str], fields: Mapping[str, object]) -> int | None:
        """Change at most a hundred images (`upload` generation); gives how many were, if the host says."""
        if len(ids) == 1:
            _granted(self._send("PATCH", f"/media/{ids[0]}", json=dict(fields), limit=LIST_LIMIT))
            return 1
        answer = self._send("PATCH", "/media/batch", json={"ids": list(ids), **fields}, limit=LIST_LIMIT)
        lack = "does not tell what was changed"
        return count(read(an_object, _granted(answer), lack, is_ambiguous=False).get("updated"))

    def groups(self) -> tuple[tuple[str, int, int], ...]:
        """Ask for the account's namespaces; a host that does not tell them has none to tell."""
        answer = self._send("GET", "/namespaces", limit=LIST_LIMIT)
        return read(read_groups, answer, "is no list of namespaces") if is_success(answer) else ()

    def any_page(self, cursor: str) -> Page:
        """Ask for the next hundred images of the account, whatever their namespace (`upload` generation)."""
        return _page(self._listing("/media", {"cursor": cursor} if cursor else {}))

    def store(self, what: What, key: str, *, is_sure: bool) -> tuple[Media, bool] | None:
        """Store an image under an external id (`upload` generation), or give the copy of that id: and if it is new.

        None = there is no such address, where it is not `is_sure` that the API is of this generation.
        """
        fields = {"external_id": key, **self._fields.shared(), **self._fields.grouped()}
        if isinstance(what, str):
            answer = self._send("POST", "/import", json={"url": what, **fields})
        else:
            answer = self._post("/upload", what, {"name": what.name, **fields}, {})
        if is_success(answer):
            return read(read_media, answer, "has no image's address"), True
        if answer.status in _NOT_THERE and not is_sure:
            return None
        return _existing(answer), False

    def create(self, what: What, labels: Mapping[str, str]) -> Media:
        """Store an image with labels, under an idempotency key made of its `key` (`images` generation)."""
        answer = self._create(what, labels, labels["key"])
        if not is_success(answer) and read_refusal(answer).code in _CONFLICTS:
            # Follows from the first key, so that a repetition meets the same copy.
            again = hashlib.sha256(f"{labels['key']}\nagain".encode()).hexdigest()
            answer = self._create(what, labels, again)
        return read(read_media, _granted(answer), "has no image's address")

    def _create(self, what: What, labels: Mapping[str, str], attempt: str) -> Answer:
        fields = {**self._fields.shared(), **self._fields.labelled(labels)}
        headers = {"Idempotency-Key": attempt}
        if isinstance(what, str):
            return self._send("POST", "/images", headers=headers, json={"url": what, **fields})
        return self._post("/images", what, fields, headers)

    def _listing(self, path: str, query: Mapping[str, str]) -> Answer:
        return self._send("GET", f"{path}?{urlencode({**query, 'limit': '100'})}", limit=LIST_LIMIT)

    def _post(self, path: str, payload: Payload, fields: Mapping[str, object], headers: Mapping[str, str]) -> Answer:
        form = {name: told if isinstance(told, str) else json.dumps(told) for name, told in fields.items()}
        part = FilePart("file", payload.name, payload.media_type, payload.file)
        return self._send("POST", path, headers=headers, form=form, file=part)

    def _send(self, method: str, path: str, *, headers: Mapping[str, str] = _NONE, **parts: Any) -> Answer:
        key = self._secret.reveal() if self._secret else ""
        own = {"Authorization": f"Bearer {key}"} if key else {}
        if key and self._fields.user:
            own["X-Img-User"] = self._fields.user
        answer = self._client.send(method, self._url + path, headers={**headers, **own}, **parts)
        self._clock.hear(answer)
        self._spent = _spent(answer.headers) or ("" if method == "GET" else self._spent)
        return answer

    def check_allowance(self) -> None:
        """Raise HostError (STOP) where an answer has told that nothing is left; so nothing is sent to be refused."""
        if self._spent:
            raise HostError(Action.STOP, f"{NAME} has no {self._spent} left", remedy=f"{_QUOTA.remedy}: {APPS}")


_ALLOWED: Final = (
    ("x-monthly-uploads", "", "uploads of this month"),
    ("x-storage", "", "room"),
    ("x-ratelimit", "", "uploads of this hour"),
    ("x-ratelimit", "-daily", "uploads of this day"),
)
"""The headers of each answer to an upload: how they begin and end, and what they count."""


def _spent(headers: Mapping[str, str]) -> str:
    """Say what an answer's headers say is used up; empty where something is left, or there is no limit."""
    for begin, end, what in _ALLOWED:
        limit, left = headers.get(f"{begin}-limit{end}", ""), headers.get(f"{begin}-remaining{end}", "")
        if re.fullmatch("[1-9][0-9]{0,15}", limit) and left.strip() == "0":
            return what
    return ""


def _page(answer: Answer) -> Page:
    if is_success(answer):
        return read(read_list, answer, "is no list of images", is_ambiguous=False)
    refusal = read_refusal(answer).error()
    refusal.is_ambiguous = False
    raise refusal


def _existing(answer: Answer) -> Media:
    """Read the image that a refusal is about; raises what another refusal means."""
    refusal = read_refusal(answer)
    if refusal.code != "duplicate":
        raise refusal.error()
    try:
        return read_existing(answer.json())
    except ValueError:
        problem = refusal.error()
    raise problem


def _granted(answer: Answer) -> Answer:
    if not is_success(answer):
        raise read_refusal(answer).error()
    return answer


def _is_gone(answer: Answer) -> bool:
    return answer.status in {404, 410}


_KEY: Final = re.compile(r"[A-Za-z0-9_-]{8,256}")
_ADDRESS: Final = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,190}")
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
