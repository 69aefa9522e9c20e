"""img.pro: uploads that can be repeated safely, in both generations of its API.

`POST /upload` knows an image by its `external_id`, `POST /images` by an `Idempotency-Key` for a day and by
its labels for ever. All are functions of the bytes and the settings, so that a repeated upload, a lost
answer and a lost lock lead to the same stored copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from imghost.errors import Action, HostError, printable
from imghost.hosts import Limits, Quota, Setup, Stored, Usage, imgpro_variants
from imghost.hosts.answers import extra_origins, image_urls
from imghost.hosts.clock import HostClock
from imghost.hosts.imgpro_account import Account, read_account
from imghost.hosts.imgpro_answers import Generation, Media, is_success, read, read_existing, read_media
from imghost.hosts.imgpro_api import Api, What
from imghost.hosts.imgpro_delete import delete
from imghost.hosts.imgpro_refusals import NAME, read_refusal
from imghost.hosts.imgpro_settings import GENERATIONS, ImgProOptions, read_fields
from imghost.hosts.imgpro_stock import Stock
from imghost.http import Answer
from imghost.models import Hosted, Image, Payload, Record

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
        self._api = Api(setup.client, options.api_url, setup.credential, fields, HostClock(setup.now))
        self._is_automatic = options.api == "auto"
        self._generation = GENERATIONS[options.api]
        self._stock = Stock(self._api)
        self.project = options.namespace or ""

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
        account = self._account()
        if account.is_verified is False and self._is_long():
            raise _too_short("images of an account that is not verified", account.usage.link, "verify the account")
        return account.quota

    def usage(self) -> Usage:
        """Ask how much of the plan is used."""
        self._need_key("tells the usage")
        return self._account().usage

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload, or find the copy that an earlier try has stored."""
        return self._lasting(payload, payload.period, lambda period: self._api.fields.key(payload, period))

    def bring(self, url: str, key: str) -> Hosted:
        """Have the host fetch a public image, or find the copy of an earlier import under this key."""
        return self._lasting(url, 0, lambda period: self._api.fields.import_key(key, period))

    def find(self, payload: Payload) -> Hosted | None:
        """Find a copy that lasts and that this project has stored of the payload, under whatever terms."""
        if not self._api.has_key:
            return None
        if self._spoken() == "images":
            wanted = {"sha256": payload.sha256, "imghost": self._api.fields.project}
            labelled = self._stock.labelled(wanted)
            if labelled.refusal:
                raise labelled.refusal
            media = labelled.media
        else:
            media = tuple(one for one in self._stock.named(payload.name) if None not in (one.width, one.height))
        found = self._best(payload, [one for one in media if self._counts(one.expires)])
        return Hosted(found.url, found.id, found.expires, is_new=False) if found else None

    def listed(self) -> Iterator[Stored]:
        """List this project's images; one at an address that no page could have from here is left out."""
        for media in self._stock.whole(self._speaking()):
            if self.accepts(media.url):
                yield Stored(media.id, media.url, media.uploaded, media.bytes)

    def delete(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Delete images of this project, which cannot be undone; gives why for each that is still there."""
        generation = self._speaking()
        listed = {media.id for media in self._stock.known()}
        kept = delete(self._api, generation, listed, ids)
        self._stock.forget(set(ids) - set(kept))
        return kept

    def variants(self, record: Record) -> tuple[tuple[str, str], ...]:
        """Name the smaller copies that the host serves of an image."""
        if not record.width or not record.height:
            return ()
        return imgpro_variants.variants(record.url, record.width, record.height)

    def converted(self, url: str, format: str) -> str:  # noqa: A002 - the option's name
        """Name the copy of an image in another format."""
        return imgpro_variants.converted(url, format)

    def _speaking(self) -> Generation:
        """Say in which generation to list and delete, which only a key and a namespace allow."""
        self._need_key("lists and deletes images")
        if not self.project:
            raise HostError(Action.STOP, f"no `namespace` marks this project's images at {NAME}", remedy="set one")
        return self._spoken() or "upload"

    def _need_key(self, what: str) -> None:
        if not self._api.has_key:
            raise HostError(Action.STOP, f"{NAME} {what} only with a key", remedy="set IMGPRO_API_KEY")

    def _account(self) -> Account:
        answer = self._api.usage()
        if not is_success(answer):
            refusal = read_refusal(answer).error()
            if refusal.action is Action.FILE:
                refusal.action = Action.STOP
            refusal.is_ambiguous = False
            raise refusal
        account = read(read_account, answer, "does not tell the account's usage", is_ambiguous=False)
        if self._is_automatic:
            self._generation = account.generation
        return account

    def _spoken(self) -> Generation | None:
        if self._generation is None and self._api.has_key:
            self._account()
        return self._generation

    def _lasting(self, what: What, period: int, key: Callable[[int], str]) -> Hosted:
        """Store something, or find it; where the copy found ends too soon, renew it as a record would be."""
        for _ in range(RENEWALS):
            media, is_new = self._copy(what, key(period))
            if problem := self._problem(media, what):
                raise problem
            if media.expires is None or self._lasts(media.expires, is_new=is_new):
                return Hosted(media.url, media.id, media.expires, is_new)
            if is_new:
                raise _too_short("this image", media.link, "verify or upgrade the account")
            period = int(media.expires.timestamp())
        raise HostError(
            Action.FILE,
            f"{NAME} has only copies of this image that end sooner than `retention` asks",
            remedy="delete them at img.pro, or set `namespace` to another name",
        )

    def _copy(self, what: What, key: str) -> tuple[Media, bool]:
        """Store something under a key, or find what is there; and say whether it is new."""
        if self._generation is None:
            self.ready()
        if self._generation != "images":
            answer = self._api.store(what, key)
            # Without a key nothing tells the generation but this answer; other threads may know it meanwhile.
            is_older = self._generation == "upload" or not self._is_automatic
            if is_older or answer.status not in _NOT_THERE:
                return self._uploaded(answer)
            self._generation = "images"
        wanted = {"key": key} if isinstance(what, str) else {"sha256": what.sha256, "key": key}
        # What an earlier build has stored and whose record is lost.
        if self._api.has_key and (found := self._best(what, self._stock.labelled(wanted).media)):
            return found, False
        return self._created(what, wanted), True

    def _uploaded(self, answer: Answer) -> tuple[Media, bool]:
        if is_success(answer):
            media = read(read_media, answer, "has no image's address")
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

    def _created(self, what: What, labels: Mapping[str, str]) -> Media:
        key = labels["key"]
        answer = self._api.create(what, labels, key)
        if not is_success(answer) and read_refusal(answer).code in _CONFLICTS:
            # Follows from the first key, so that a repetition meets the same copy.
            again = hashlib.sha256(f"{key}\nagain".encode()).hexdigest()
            answer = self._api.create(what, labels, again)
        if not is_success(answer):
            raise read_refusal(answer).error()
        return read(read_media, answer, "has no image's address")

    def _best(self, what: What, media: Iterable[Media]) -> Media | None:
        """Choose the longest-lived of the copies, if any is what it is said to be."""
        sound = (one for one in media if not self._problem(one, what))
        return max(sound, key=lambda one: (one.expires or _NEVER, one.id), default=None)

    def _problem(self, media: Media, what: What) -> HostError | None:
        """Say what is wrong with an image that is said to be this one: its address or its size."""
        if media.has_failed:
            return HostError(Action.FILE, f"{NAME} could not read the image", remedy="look at the image")
        if not self.accepts(media.url):
            return HostError(
                Action.FILE,
                f"{NAME} gave a URL that is not one of its images: {printable(media.url, 80)}",
                remedy="if it is right, name its host in `options.url_hosts`",
                is_ambiguous=True,
            )
        theirs = media.width, media.height
        ours = theirs if isinstance(what, str) else (what.width, what.height)
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
        return expires - self._api.now() >= least

    def _counts(self, expires: datetime | None) -> bool:
        return expires is None or self._lasts(expires, is_new=False)

    def _is_long(self) -> bool:
        return self._retention is None or self._retention > ANONYMOUS


def _too_short(what: str, link: str, remedy: str) -> HostError:
    return HostError(
        Action.STOP,
        f"{NAME} deletes {what} sooner than `retention` asks",
        remedy=f"{remedy}{f' ({link})' if link else ''}, or set a shorter `retention` like 30d",
    )
