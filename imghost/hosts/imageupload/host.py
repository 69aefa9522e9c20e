"""imageupload.io as it is spoken with: quota, uploads, what it has, deletion."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from imghost.errors import Action, HostError
from imghost.hosts import Quota, Setup, Stored, Usage
from imghost.hosts.answers import read_object, unclear
from imghost.hosts.clock import HostClock
from imghost.hosts.imageupload.api import read_allowance, read_entry, read_headers
from imghost.hosts.imageupload.options import NAME, ORIGIN, ImageUploadOptions
from imghost.hosts.imageupload_api import Api, Pace
from imghost.hosts.imageupload_judge import Judge, is_ours
from imghost.hosts.imageupload_refusals import ToolError, refused_upload, text_of, upgrade_link
from imghost.hosts.imageupload_stock import Stock
from imghost.hosts.origins import origin_of, split_origin
from imghost.models import Hosted, Payload
from imghost.net.client import Answer
from imghost.wording import printable

MINUTE: Final = 61.0
"""Seconds in which the host takes 60 uploads and 120 calls of its tools, and one for the way there."""


class Service:
    """Speaks with the host for one run; safe to share between threads."""

    def __init__(
        self, options: ImageUploadOptions, setup: Setup, expiration: str, folder: str, accepts: Callable[[str], bool]
    ) -> None:
        self._expiration = expiration
        parts = split_origin(options.api_url)
        self._site = origin_of(parts) if parts else ORIGIN
        mcp_url = options.mcp_url or f"{options.api_url.rstrip('/')}/mcp"
        # Another address than the host's own is a proxy or a test server, whose rate nobody has published.
        paces = (Pace(60, MINUTE), Pace(120, MINUTE)) if self._site == ORIGIN else None
        self._api = Api(setup.client, options.api_url, mcp_url, setup.credential, HostClock(setup.now), paces)
        self._stock = Stock(self._api, folder)
        self._judge = Judge(accepts, setup.retention, self._api.now)
        self._guard = threading.Lock()
        self._doubts: set[tuple[str, int]] = set()
        self._forbidden = ""
        self._spent = ""

    @property
    def project(self) -> str:
        """The folder that marks this project's images."""
        return self._stock.slug

    def ready(self) -> Quota:
        """Ask for the quota, and make the folder; tools that are out of order do not stop uploads."""
        try:
            allowance = read_allowance(self._api.call("get_quota"))
        except HostError as problem:
            if isinstance(problem, ToolError) and problem.is_about_key:
                raise
            allowance = None
        self._stock.make_folder()
        if allowance is None:
            return Quota(is_proven=False)
        is_proven = allowance.plan.lower() not in {"", "free"}
        return Quota(allowance.remaining, allowance.plan, upgrade_link(allowance.raw, self._site), is_proven)

    def usage(self) -> Usage:
        """Ask how much of the month's uploads is used; raises HostError."""
        allowance = read_allowance(self._api.call("get_quota"))
        if allowance is None:
            raise HostError(Action.STOP, f"{NAME} does not tell the account's usage", remedy="check `mcp_url`")
        return Usage(
            plan=allowance.plan,
            used=allowance.used,
            limit=allowance.limit,
            remaining=allowance.remaining,
            resets=_next_month(self._api.now()) if allowance.limit else None,
            link=upgrade_link(allowance.raw, self._site),
        )

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload; after a try of which nothing is known, look for its copy first."""
        mark = (payload.sha256, payload.period)
        if self._spent:
            raise HostError(Action.STOP, f"{NAME} allows no more uploads this month", remedy=self._spent)
        if mark in self._doubts and (found := self._arrived(payload)):
            return found
        try:
            hosted = self._sent(payload)
        except HostError as problem:
            if problem.is_ambiguous:
                with self._guard:
                    self._doubts.add(mark)
                self._stock.forget()
            raise
        with self._guard:
            self._doubts.discard(mark)
        return hosted

    def _arrived(self, payload: Payload) -> Hosted | None:
        """Look for the copy of a try whose answer was lost; without an answer here, nothing is sent again."""
        try:
            return self.find(payload)
        except ToolError as problem:
            if problem.is_about_key or problem.action in {Action.WAIT, Action.RETRY}:
                problem.is_ambiguous = True
                raise
            # A host whose tools are gone for good can still store images.
            return None
        except HostError as problem:
            problem.is_ambiguous = True
            raise

    def _sent(self, payload: Payload) -> Hosted:
        form = {"expiration": self._expiration}
        if self.project:
            form["folder"] = self.project
        answer = self._api.upload(payload, form)
        if not 200 <= answer.status < 300:
            raise self._refused(answer, payload)
        with self._guard:
            self._forbidden = ""
        found = read_object(NAME, answer)
        self._keep_quota(answer, found)
        return self._hosted(found, payload)

    def _refused(self, answer: Answer, payload: Payload) -> HostError:
        """Read a refusal; one that does not say why, for two images in a row, is about the account."""
        problem = refused_upload(answer, self._site)
        if answer.status != 403:
            return problem
        with self._guard:
            if self._forbidden not in {"", payload.sha256}:
                problem.action = Action.STOP
            self._forbidden = payload.sha256
        return problem

    def _keep_quota(self, answer: Answer, found: Mapping[str, object]) -> None:
        """Send nothing more once the host says that this was the month's last upload."""
        raw = found.get("quota")
        allowance = read_allowance(raw) if isinstance(raw, dict) else read_headers(answer.headers)
        if allowance and allowance.limit and allowance.remaining == 0:
            link = upgrade_link(allowance.raw, self._site)
            self._spent = f"wait until the 1st of the next month (UTC), or upgrade the plan: {link}"

    def _hosted(self, found: Mapping[str, object], payload: Payload) -> Hosted:
        if found.get("ok") is False:
            raise HostError(Action.FILE, f"{NAME} did not store the image: {printable(text_of(found)) or 'no reason'}")
        try:
            entry = read_entry(found)
        except ValueError as wrong:
            problem = unclear(NAME, f"has no image: {wrong}")
        else:
            if wrong_copy := self._judge.problem(entry, payload):
                raise wrong_copy
            self._judge.check_life(entry)
            return Hosted(entry.url, entry.slug, entry.expires)
        raise problem

    def find(self, payload: Payload) -> Hosted | None:
        """Find a copy that is stored already, by its name, which follows from the bytes; its size is checked."""
        best = self._judge.best(self._stock.entries(), payload)
        return Hosted(best.url, best.slug, best.expires, is_new=False) if best else None

    def listed(self) -> Iterator[Stored]:
        """List this project's images: those in its folder that this program has named.

        Raises:
            HostError: the host does not say which folder an image is in.
        """
        if not self.project:
            return
        self._stock.forget()
        for entry in self._stock.entries():
            if entry.folder is None:
                raise HostError(
                    Action.STOP,
                    f"{NAME} does not say which folder its images are in, so this project's cannot be told apart",
                    remedy="delete images at imageupload.io",
                )
            if entry.name == "" or is_ours(entry.name):
                yield Stored(entry.slug, entry.url, entry.uploaded, entry.bytes)

    def delete(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Delete images, one call each; gives why for each that was not."""
        return self._stock.delete(ids)


def _next_month(now: datetime) -> datetime:
    """Give the moment when the host counts anew: the 1st, 00:00 UTC."""
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)
