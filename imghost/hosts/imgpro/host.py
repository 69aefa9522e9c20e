"""img.pro: upload, find, list, delete, import, and the variants that it serves."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from imghost.errors import Action, HostError
from imghost.hosts import Quota, Setup, Stored, Usage
from imghost.hosts.answers import NEVER, HostClock, foreign, least_left, other_size, unclear
from imghost.hosts.imgpro.api import (
    Account,
    Api,
    Media,
    Page,
    What,
    is_id,
    is_success,
    read,
    read_account,
    read_batch,
    read_existing,
    read_list,
    read_media,
    read_refusal,
)
from imghost.hosts.imgpro.options import GENERATIONS, NAME, Fields, Generation, ImgProOptions
from imghost.models import Hosted, Payload
from imghost.net.client import Answer

REPLAY: Final = timedelta(hours=25)
"""How old an image may be that answers an upload: an idempotency key's day, and clocks that differ."""


class Judge:
    """Compares an image with what was sent, and its life with the retention."""

    def __init__(
        self, accepts: Callable[[str], bool], retention: timedelta | None, now: Callable[[], datetime]
    ) -> None:
        self._accepts = accepts
        self._retention = retention
        self._now = now

    def best(self, what: What, media: Iterable[Media]) -> Media | None:
        """Choose the longest-lived of the copies, if any is what it is said to be."""
        sound = (one for one in media if not self.problem(one, what))
        return max(sound, key=lambda one: (one.expires or NEVER, one.id), default=None)

    def problem(self, media: Media, what: What) -> HostError | None:
        """Say what is wrong with an image that is said to be this one: its address or its size."""
        if media.has_failed:
            return HostError(Action.FILE, f"{NAME} could not read the image", remedy="look at the image")
        if not self._accepts(media.url):
            return foreign(NAME, media.url)
        theirs = media.width, media.height
        ours = theirs if isinstance(what, str) else (what.width, what.height)
        return other_size(NAME, theirs, ours, is_ambiguous=False)

    def lasts(self, expires: datetime, *, is_new: bool) -> bool:
        """Say whether an image lives as long as asked; what is found again has a part of its life behind it."""
        if self._retention is None:
            return False
        least = self._retention - min(REPLAY, self._retention / 4) if is_new else least_left(self._retention)
        return expires - self._now() >= least

    def counts(self, expires: datetime | None) -> bool:
        """Say whether an image that is found again lives long enough."""
        return expires is None or self.lasts(expires, is_new=False)


PAGES: Final = 1_000
"""Answers of a hundred images after which a list counts as endless: twice the largest plan that is counted."""


class Labelled(NamedTuple):
    """The images that have some labels, or why the host does not list them."""

    media: tuple[Media, ...]
    refusal: HostError | None = None


class Stock:
    """A project's images at the host; safe to share between threads."""

    def __init__(self, api: Api, pages: int = PAGES) -> None:
        self._api = api
        self._pages_at_most = pages
        self._first: tuple[Page, HostError | None] | None = None
        self._whole: tuple[Media, ...] | None = None
        self._guard = threading.Lock()

    def labelled(self, wanted: Mapping[str, str]) -> Labelled:
        """Give the images that have all of these labels (`images` generation).

        Raises:
            HostError: the list may come later, or the key is wrong.
        """
        with self._guard:
            if self._first is None:
                self._first = self._asked("imghost", self._api.fields.project)
        page, refusal = self._first
        if page.has_more:
            # One question for all is enough only where the whole project fits into its answer.
            page, refusal = self._asked(*next(iter(wanted.items())))
        fitting = (one for one in page.media if all(one.labels.get(name) == text for name, text in wanted.items()))
        return Labelled(tuple(fitting), refusal)

    def named(self, name: str) -> tuple[Media, ...]:
        """Give the images that were sent under a name, with their size (`upload` generation)."""
        return tuple(self._sized(media) for media in self.whole("upload") if media.name == name)

    def whole(self, generation: Generation) -> tuple[Media, ...]:
        """Give all of the project's images.

        Raises:
            HostError: the host does not list them, or not to the end.
        """
        with self._guard:
            if self._whole is None:
                pages = self._pages(generation)
                fields = self._api.fields
                self._whole = tuple(one for page in pages for one in page.media if _is_own(one, fields, generation))
            return self._whole

    def known(self) -> tuple[Media, ...]:
        """Give the project's images as far as they are listed already."""
        with self._guard:
            return self._whole or ()

    def forget(self, ids: Set[str]) -> None:
        """Leave out images that have been deleted."""
        with self._guard:
            self._first = None
            if self._whole is not None:
                self._whole = tuple(media for media in self._whole if media.id not in ids)

    def _pages(self, generation: Generation) -> Iterator[Page]:
        page, asked = Page(has_more=True), set[str]()
        while page.has_more:
            if page.cursor in asked or len(asked) == self._pages_at_most:
                raise _without_end()
            asked.add(page.cursor)
            page = _listed(self._api.page(generation, page.cursor))
            yield page

    def _asked(self, label: str, value: str) -> tuple[Page, HostError | None]:
        answer = self._api.images(label, value)
        refusal = None if is_success(answer) else read_refusal(answer).error()
        if refusal and answer.status != 401 and refusal.action not in {Action.WAIT, Action.RETRY}:
            # A host or key that does not list images can still store them.
            return Page(), refusal
        return _listed(answer), None

    def _sized(self, media: Media) -> Media:
        """Ask for the image alone where the list does not tell its size."""
        if None not in (media.width, media.height):
            return media
        answer = self._api.one(media.id)
        if is_success(answer):
            return read(read_media, answer, "is no image", is_ambiguous=False)
        return media


def _listed(answer: Answer) -> Page:
    if is_success(answer):
        return read(read_list, answer, "is no list of images", is_ambiguous=False)
    refusal = read_refusal(answer).error()
    refusal.is_ambiguous = False
    raise refusal


def _without_end() -> HostError:
    problem = unclear(NAME, "does not end its list of images")
    problem.action = Action.STOP
    problem.is_ambiguous = False
    return problem


BATCH: Final = 100
"""Ids that the host deletes at once."""
CHOSEN: Final = 50
"""Ids that the host looks up at once."""

Reasons = dict[str, str]
"""Why each image that could not be deleted is still there, by its id."""


def delete(api: Api, generation: Generation, listed: Set[str], ids: Sequence[str]) -> Reasons:
    """Delete images of the project, of which those `listed` are known to be; give why for each that was not."""
    asked = list(dict.fromkeys(ids))
    sound = [name for name in asked if is_id(name)]
    kept = {name: f"is no id of an image at {NAME}" for name in asked if not is_id(name)}
    found, foreign = _sorted_out(api, generation, [name for name in sound if name not in listed])
    ours = [name for name in sound if name in listed or name in found]
    return kept | foreign | _each(ours, BATCH, lambda batch: _deleted(api, generation, batch))


def _each(ids: Sequence[str], size: int, act: Callable[[Sequence[str]], Reasons]) -> Reasons:
    """Act on the ids part by part; after a refusal that concerns all of them, the rest is not tried."""
    kept: Reasons = {}
    for start in range(0, len(ids), size):
        try:
            kept |= act(ids[start : start + size])
        except HostError as problem:
            is_over = problem.action is not Action.FILE
            kept |= dict.fromkeys(ids[start:] if is_over else ids[start : start + size], str(problem))
            if is_over:
                break
    return kept


def _sorted_out(api: Api, generation: Generation, ids: Sequence[str]) -> tuple[set[str], Reasons]:
    """Look up ids that no list has shown: those that are ours, and why the others stay; the rest is gone."""
    found: set[str] = set()

    def look_up(part: Sequence[str]) -> Reasons:
        kept: Reasons = {}
        for name, is_ours in (_chosen if generation == "images" else _singly)(api, part):
            if is_ours:
                found.add(name)
            else:
                kept[name] = "is not one of this project's images"
        return kept

    return found, _each(ids, CHOSEN, look_up)


def _is_own(media: Media, fields: Fields, generation: Generation) -> bool:
    """Say whether an image that the host lists is this project's, whatever was asked for."""
    if generation == "images":
        return media.labels.get("imghost") == fields.project
    return media.namespace == (fields.namespace or "")


def _chosen(api: Api, ids: Sequence[str]) -> Iterator[tuple[str, bool]]:
    answer = _granted(api.chosen(ids))
    for media in read(read_list, answer, "is no list of images", is_ambiguous=False).media:
        if media.id in ids:
            yield media.id, _is_own(media, api.fields, "images")


def _singly(api: Api, ids: Sequence[str]) -> Iterator[tuple[str, bool]]:
    for name in ids:
        answer = api.one(name)
        if not _is_gone(answer):
            media = read(read_media, _granted(answer), "is no image", is_ambiguous=False)
            yield name, _is_own(media, api.fields, "upload")


def _deleted(api: Api, generation: Generation, ids: Sequence[str]) -> Reasons:
    answer = api.delete(generation, ids)
    if generation == "upload" and _is_gone(answer):
        return _left(api, ids)
    kept, count = read(read_batch, _granted(answer), "does not tell what was deleted")
    if generation == "upload" and count != len(ids):
        return _left(api, ids)
    return {name: kept[name] for name in ids if name in kept}


def _left(api: Api, ids: Sequence[str]) -> Reasons:
    """See which of the images are still there, where the host has not said so of each."""
    answers = {name: api.one(name) for name in ids}
    return {
        name: f"is still at {NAME}" if is_success(answer) else str(read_refusal(answer).error())
        for name, answer in answers.items()
        if not _is_gone(answer)
    }


def _is_gone(answer: Answer) -> bool:
    return answer.status in {404, 410}


def _granted(answer: Answer) -> Answer:
    if not is_success(answer):
        raise read_refusal(answer).error()
    return answer


RENEWALS: Final = 8
"""How many copies, each the renewal of the one before, are looked at before giving up."""
_NOT_THERE: Final = frozenset({404, 405, 410})
_CONFLICTS: Final = frozenset({"idempotency_key_conflict", "idempotency_recovery_conflict"})


class Service:
    """Speaks with the host for one run; safe to share between threads."""

    def __init__(self, options: ImgProOptions, setup: Setup, fields: Fields, accepts: Callable[[str], bool]) -> None:
        self._accepts = accepts
        self._api = Api(setup.client, options.api_url, setup.credential, fields, HostClock(setup.now))
        self._judge = Judge(accepts, setup.retention, self._api.now)
        self._is_automatic = options.api == "auto"
        self._generation = GENERATIONS[options.api]
        self._stock = Stock(self._api)

    def ready(self) -> Quota:
        """Ask for the quota, by which the API also shows its generation; refuse a key whose images would not last."""
        if not self._api.has_key:
            return Quota(is_proven=False)
        account = self._account()
        if account.is_verified is False and self._api.fields.is_long:
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
        found = self._judge.best(payload, [one for one in media if self._judge.counts(one.expires)])
        return Hosted(found.url, found.id, found.expires, is_new=False) if found else None

    def listed(self) -> Iterator[Stored]:
        """List this project's images; one at an address that no page could have from here is left out."""
        for media in self._stock.whole(self._speaking()):
            if self._accepts(media.url):
                yield Stored(media.id, media.url, media.uploaded, media.bytes)

    def delete(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Delete images of this project, which cannot be undone; gives why for each that is still there."""
        generation = self._speaking()
        listed = {media.id for media in self._stock.known()}
        kept = delete(self._api, generation, listed, ids)
        self._stock.forget(set(ids) - set(kept))
        return kept

    def _speaking(self) -> Generation:
        """Say in which generation to list and delete, which only a key and a namespace allow."""
        self._need_key("lists and deletes images")
        if not self._api.fields.namespace:
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
            if problem := self._judge.problem(media, what):
                raise problem
            if media.expires is None or self._judge.lasts(media.expires, is_new=is_new):
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
        if self._api.has_key and (found := self._judge.best(what, self._stock.labelled(wanted).media)):
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


def _too_short(what: str, link: str, remedy: str) -> HostError:
    return HostError(
        Action.STOP,
        f"{NAME} deletes {what} sooner than `retention` asks",
        remedy=f"{remedy}{f' ({link})' if link else ''}, or set a shorter `retention` like 30d",
    )
