"""img.pro as it is spoken with: quota, uploads, imports, what it has, deletion."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from imghost.errors import Action, HostError
from imghost.hosts import Quota, Setup, Stored, Usage
from imghost.hosts.clock import HostClock
from imghost.hosts.imgpro.api import Media, is_success, read, read_existing, read_media
from imghost.hosts.imgpro.options import GENERATIONS, NAME, Fields, Generation, ImgProOptions
from imghost.hosts.imgpro_account import Account, read_account
from imghost.hosts.imgpro_api import Api, What
from imghost.hosts.imgpro_delete import delete
from imghost.hosts.imgpro_judge import Judge
from imghost.hosts.imgpro_refusals import read_refusal
from imghost.hosts.imgpro_stock import Stock
from imghost.models import Hosted, Payload
from imghost.net.client import Answer

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
