"""img.pro: uploads that can be repeated safely, in both generations of its API.

`POST /upload` knows an image by its `external_id`, `POST /images` by an `Idempotency-Key` for a day and by
its labels for ever. All are functions of the bytes and the settings, so that a repeated upload, a lost
answer and a lost lock lead to the same stored copy.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from imghost.errors import Action, HostError, printable
from imghost.hosts import Limits, Quota, Setup
from imghost.hosts.answers import extra_origins, image_urls, unclear
from imghost.hosts.imgpro_answers import Generation, Media, read_existing, read_list, read_media, read_usage
from imghost.hosts.imgpro_api import Api
from imghost.hosts.imgpro_refusals import NAME, read_refusal
from imghost.hosts.imgpro_settings import GENERATIONS, ImgProOptions, read_fields
from imghost.http import Answer
from imghost.models import Hosted, Image, Payload

ANONYMOUS: Final = timedelta(days=30)
"""How long an image lives that was uploaded without a key, or with one that is not verified."""
REPLAY: Final = timedelta(hours=25)
"""How old an image may be that answers an upload: an idempotency key's day, and clocks that differ."""
DUE: Final = timedelta(days=14)
"""An image that is found again counts while more than this, or than a quarter of the retention, is left."""
RENEWALS: Final = 8
"""How many copies, each the renewal of the one before, are looked at before giving up."""

_FORMATS: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
_VARIANT: Final = r"(?:size|format|w|h|fit)=[a-z0-9-]{1,16}"
_NAME: Final = rf"[A-Za-z0-9_-]{{1,128}}\.(?:png|jpe?g|gif|webp|avif)(?:\?{_VARIANT}(?:&{_VARIANT}){{0,3}})?"
_OWN: Final = rf"https://src\.img\.pro/(?:[A-Za-z0-9_-]{{1,64}}/){{0,2}}{_NAME}"
_ELSEWHERE: Final = rf"/(?:[A-Za-z0-9_-]{{1,64}}/){{0,8}}{_NAME}"
_NOT_THERE: Final = frozenset({404, 405, 410})
_CONFLICTS: Final = frozenset({"idempotency_key_conflict", "idempotency_recovery_conflict"})

_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_Read = TypeVar("_Read")


class ImgPro:
    """Uploads images to img.pro."""

    name = NAME
    credentials: tuple[str, ...] = ("IMGPRO_API_KEY",)
    origin = "https://api.img.pro"
    Options = ImgProOptions
    needs_network = True

    def __init__(self, options: ImgProOptions, setup: Setup) -> None:
        fields = read_fields(options, setup.retention)
        self.origins = ("https://src.img.pro", *extra_origins(options.api_url, self.origin, options.url_hosts))
        self._urls = image_urls(_OWN, _ELSEWHERE, options.api_url, self.origin, options.url_hosts)
        self._retention = setup.retention
        self.lacks_credential = setup.credential is None and self._is_long()
        lives = [life for life in (fields.ttl, None if setup.credential else ANONYMOUS) if life is not None]
        self.limits = Limits(_FORMATS, 20_000_000, keeps_animated_png=False, retention=min(lives, default=None))
        self._api = Api(setup.client, options.api_url, setup.credential, fields)
        self._is_automatic = options.api == "auto"
        self._generation = GENERATIONS[options.api]
        self._stock: tuple[tuple[Media, ...], bool] | None = None
        self._guard = threading.Lock()

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images, and not a page about one."""
        return self._urls.fullmatch(url) is not None

    def stored(self, image: Image, variant: str) -> Hosted | None:  # noqa: ARG002 - nothing is on this machine
        """Find nothing: the images are elsewhere."""
        return None

    def ready(self) -> Quota:
        """Ask for the quota, by which the API also shows its generation; refuse a key whose images would not last."""
        if not self._api.has_key:
            return Quota(is_proven=False)
        answer = self._api.usage()
        if not _is_success(answer):
            refusal = read_refusal(answer).error()
            if refusal.action is Action.FILE:
                refusal.action = Action.STOP
            refusal.is_ambiguous = False
            raise refusal
        usage = _read(read_usage, answer, "does not tell the account's usage", is_ambiguous=False)
        if self._is_automatic:
            self._generation = usage.generation
        if usage.is_verified is False and self._is_long():
            raise _too_short("images of an account that is not verified", usage.quota.link, "verify the account")
        return usage.quota

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload, or find the copy that an earlier try has stored."""
        period = payload.period
        for _ in range(RENEWALS):
            media, is_new = self._copy(payload, self._api.fields.key(payload, period))
            if problem := self._problem(media, payload):
                raise problem
            if media.expires is None or self._lasts(media.expires, is_new=is_new):
                return Hosted(media.url, media.id, media.expires, is_new)
            if is_new:
                raise _too_short("this image", media.link, "verify or upgrade the account")
            # Where the stored copy ends too soon, it is renewed as a record of it would be.
            period = int(media.expires.timestamp())
        raise HostError(
            Action.FILE,
            f"{NAME} has only copies of this image that end sooner than `retention` asks",
            remedy="delete them at img.pro, or set `namespace` to another name",
        )

    def _copy(self, payload: Payload, key: str) -> tuple[Media, bool]:
        """Store the payload under a key, or find what is there; and say whether it is new."""
        if self._spoken() != "images":
            answer = self._api.upload(payload, key)
            # Without a key nothing tells the generation but this answer; other threads may know it meanwhile.
            is_older = self._generation == "upload" or not self._is_automatic
            if is_older or answer.status not in _NOT_THERE:
                return self._uploaded(answer)
            self._generation = "images"
        if found := self._found(payload, key):
            return found, False
        return self._created(payload, key), True

    def _spoken(self) -> Generation | None:
        if self._generation is None and self._api.has_key:
            self.ready()
        return self._generation

    def _uploaded(self, answer: Answer) -> tuple[Media, bool]:
        if _is_success(answer):
            media = _read(read_media, answer, "has no image's address")
            self._generation = self._generation or "upload"
            return media, True
        refusal = read_refusal(answer)
        if refusal.code != "duplicate":
            raise refusal.error()
        try:
            return read_existing(answer.json()), False
        except ValueError:
            problem = refusal.error()
        raise problem

    def _created(self, payload: Payload, key: str) -> Media:
        answer = self._api.create(payload, key, key)
        if not _is_success(answer) and read_refusal(answer).code in _CONFLICTS:
            # Follows from the first key, so that a repetition meets the same copy.
            again = hashlib.sha256(f"{key}\nagain".encode()).hexdigest()
            answer = self._api.create(payload, key, again)
        if not _is_success(answer):
            raise read_refusal(answer).error()
        return _read(read_media, answer, "has no image's address")

    def _found(self, payload: Payload, key: str) -> Media | None:
        """Look for a copy that an earlier build has stored and whose record is lost."""
        if not self._api.has_key:
            return None
        with self._guard:
            if self._stock is None:
                self._stock = self._labelled("imghost", self._api.fields.project)
        media, has_more = self._stock
        if has_more:
            # One question for all is enough only where the whole project fits into its answer.
            media, _ = self._labelled("sha256", payload.sha256)
        wanted = {"key": key, "sha256": payload.sha256}
        ours = [
            one
            for one in media
            if all(one.labels.get(name) == text for name, text in wanted.items()) and not self._problem(one, payload)
        ]
        return max(ours, key=lambda one: (one.expires or _NEVER, one.id), default=None)

    def _labelled(self, label: str, value: str) -> tuple[tuple[Media, ...], bool]:
        answer = self._api.images(label, value)
        if _is_success(answer):
            return _read(read_list, answer, "is no list of images", is_ambiguous=False)
        refusal = read_refusal(answer).error()
        if answer.status == 401 or refusal.action in {Action.WAIT, Action.RETRY}:
            refusal.is_ambiguous = False
            raise refusal
        # A host or key that does not list images can still store them.
        return (), False

    def _problem(self, media: Media, payload: Payload) -> HostError | None:
        """Say what is wrong with an image that is said to be the payload's: its address or its size."""
        if media.has_failed:
            return HostError(Action.FILE, f"{NAME} could not read the image", remedy="look at the image")
        if not self.accepts(media.url):
            return HostError(
                Action.FILE,
                f"{NAME} gave a URL that is not one of its images: {printable(media.url, 80)}",
                remedy="if it is right, name its host in `options.url_hosts`",
                is_ambiguous=True,
            )
        theirs, ours = (media.width, media.height), (payload.width, payload.height)
        # The host may turn the image as its orientation says.
        if None not in theirs + ours and theirs not in {ours, ours[::-1]}:
            sizes = f"{theirs[0]} x {theirs[1]} pixels, not {ours[0]} x {ours[1]}"
            return HostError(Action.FILE, f"{NAME} has another image in this one's place: {sizes}")
        return None

    def _lasts(self, expires: datetime, *, is_new: bool) -> bool:
        """Say whether an image lives as long as asked; what is found again has a part of its life behind it."""
        if self._retention is None:
            return False
        least = self._retention - min(REPLAY, self._retention / 4) if is_new else min(DUE, self._retention / 4)
        return expires >= datetime.now(UTC) + least

    def _is_long(self) -> bool:
        return self._retention is None or self._retention > ANONYMOUS


def _is_success(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _read(reader: Callable[[object], _Read], answer: Answer, lack: str, *, is_ambiguous: bool = True) -> _Read:
    """Read a success; one that cannot be read says nothing of what the host has stored."""
    try:
        return reader(answer.json())
    except ValueError:
        problem = unclear(NAME, lack)
    problem.is_ambiguous = is_ambiguous
    raise problem


def _too_short(what: str, link: str, remedy: str) -> HostError:
    return HostError(
        Action.STOP,
        f"{NAME} deletes {what} sooner than `retention` asks",
        remedy=f"{remedy}{f' ({link})' if link else ''}, or set a shorter `retention` like 30d",
    )
