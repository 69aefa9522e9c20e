"""imageupload.io: upload, find, list, delete, and what counts as a copy."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from imghost.errors import Action, HostError
from imghost.hosts import Quota, Setup, Stored, Usage
from imghost.hosts.answers import (
    NEVER,
    HostClock,
    foreign,
    least_left,
    origin_of,
    other_size,
    read_object,
    split_origin,
    unclear,
)
from imghost.hosts.imageupload.api import (
    FOLDER,
    NOT_FOUND,
    SLUG,
    Api,
    Entry,
    Pace,
    ToolError,
    read_allowance,
    read_entries,
    read_entry,
    read_folders,
    read_headers,
    read_slug,
    refused_upload,
    text_of,
    upgrade_link,
)
from imghost.hosts.imageupload.options import NAME, ORIGIN, ImageUploadOptions
from imghost.models import Hosted, Payload
from imghost.net.client import Answer
from imghost.wording import printable

SLACK: Final = timedelta(hours=1)
"""How much sooner than asked an image may end, since host and client do not count from the same moment."""


class Judge:
    """Compares an image with what was sent, and its life with the retention."""

    def __init__(
        self, accepts: Callable[[str], bool], retention: timedelta | None, now: Callable[[], datetime]
    ) -> None:
        self._accepts = accepts
        self._retention = retention
        self._now = now

    def problem(self, entry: Entry, payload: Payload) -> HostError | None:
        """Say what is wrong with an image that is said to be the payload's."""
        if not self._accepts(entry.url):
            return foreign(NAME, entry.url)
        if not entry.is_open:
            return HostError(Action.STOP, f"{NAME} hides the image behind a password or a count of views")
        theirs, ours = (entry.width, entry.height), (payload.width, payload.height)
        return other_size(NAME, theirs, ours, is_ambiguous=True)

    def check_life(self, entry: Entry) -> None:
        """Refuse an image that ends sooner than asked; so would every other, since it is the account's plan."""
        if not entry.has_life:
            raise HostError(
                Action.STOP,
                f"{NAME} does not say how long the image lives",
                remedy="check for a newer version of imghost",
                is_ambiguous=True,
            )
        if entry.expires is None:
            return
        now = self._now()
        if self._retention is not None and entry.expires - now >= self._retention - SLACK:
            return
        days = max(1, (entry.expires - now).days)
        raise HostError(
            Action.STOP,
            f"{NAME} keeps images only until {entry.expires:%Y-%m-%d}, which is sooner than `retention` asks",
            remedy=f"upgrade the plan, or set retention: {days}d or less",
        )

    def best(self, entries: Iterable[Entry], payload: Payload) -> Entry | None:
        """Choose the longest-lived copy of the payload, if there is any."""
        copies = (entry for entry in entries if self._is_copy(entry, payload))
        return max(copies, key=lambda entry: (entry.expires or NEVER, entry.slug), default=None)

    def _is_copy(self, entry: Entry, payload: Payload) -> bool:
        if entry.name != payload.name or self.problem(entry, payload) or not self._lasts(entry, payload):
            return False
        if entry.bytes is None or entry.width is None or payload.width is None:
            return entry.bytes == payload.bytes
        # Taking the metadata off makes a file smaller, never larger.
        return entry.bytes <= payload.bytes

    def _lasts(self, entry: Entry, payload: Payload) -> bool:
        """Say whether an image that is found again lives long enough; a renewal must outlive what it renews."""
        if not entry.has_life or entry.expires is None:
            return entry.has_life
        if self._retention is None or entry.expires.timestamp() <= payload.period:
            return False
        return entry.expires - self._now() >= least_left(self._retention)


def is_ours(name: str) -> bool:
    """Say whether this program has named an image."""
    digest, _, ending = name.partition(".")
    return len(digest) == 12 and set(digest) <= set("0123456789abcdef") and ending.isalnum()


PAGE: Final = 100
"""Images in one answer of a list, at most."""
PAGES: Final = 200
"""Answers that are read at most."""

_Read = TypeVar("_Read")


class Stock:
    """Knows the folder's slug and lists its images, once a run unless told to look again."""

    def __init__(self, api: Api, folder: str) -> None:
        self._api = api
        self._folder = folder
        self._slug = ""
        self._entries: tuple[Entry, ...] | None = None
        self._stopped: HostError | None = None
        self._guard = threading.RLock()

    @property
    def slug(self) -> str:
        """The slug of the project's folder, as far as known; empty without one."""
        return self._slug or _kebab(self._folder)

    def make_folder(self) -> None:
        """Make the folder if there is none.

        Where the tools are out of order, its name's usual slug is used, and the upload shows whether it exists.

        Raises:
            HostError: the host refuses the credential, or to make the folder.
        """
        with self._guard:
            if not self._folder or self._slug:
                return
            problem = self._try_folder()
        if isinstance(problem, ToolError) and problem.is_about_key:
            raise problem
        is_refused = isinstance(problem, ToolError) and problem.code is not None and problem.action is Action.FILE
        if problem and (is_refused or not self.slug):
            raise HostError(
                Action.STOP,
                f"{NAME} does not make the folder {self._folder!r}: {problem.reason}",
                remedy="make it at imageupload.io, or set another `folder`",
            )

    def _try_folder(self) -> HostError | None:
        try:
            self._slug = self._known_slug() or read_slug(self._api.call("create_folder", name=self._folder))
        except HostError as problem:
            return problem
        return None

    def _known_slug(self) -> str:
        known = _read(read_folders, self._api.call("list_folders"), "is no list of folders")
        return known.get(self._folder) or known.get(_kebab(self._folder), "")

    def forget(self) -> None:
        """Look again at the next question: something may have been stored since."""
        with self._guard:
            self._entries = None

    def entries(self) -> tuple[Entry, ...]:
        """List the folder's images, or all that are the account's where there is no folder; raises HostError."""
        with self._guard:
            if self._stopped:
                raise self._stopped.with_traceback(None)
            try:
                if self._entries is None:
                    self._entries = self._listed()
            except HostError as problem:
                if problem.action is Action.STOP:
                    self._stopped = problem
                raise
            return self._entries

    def _listed(self) -> tuple[Entry, ...]:
        if self._folder and not self._slug:
            self._slug = self._known_slug()
            if not self._slug:
                return ()
        entries: dict[str, Entry] = {}
        seen = 0
        for _ in range(PAGES):
            page, count = self._page(seen)
            known = len(entries)
            entries |= {entry.slug: entry for entry in page}
            seen += count
            # A host that ignores `offset` gives the same page for ever.
            if count == 0 or (page and len(entries) == known):
                break
        ours = {None, self._slug, self._folder}
        return tuple(entry for entry in entries.values() if not self._slug or entry.folder in ours)

    def _page(self, offset: int) -> tuple[list[Entry], int]:
        wanted = {"folder": self._slug} if self._slug else {}
        found = self._api.call("list_images", **wanted, limit=PAGE, offset=offset)
        return _read(read_entries, found, "is no list of images")

    def delete(self, ids: Sequence[str]) -> dict[str, str]:
        """Delete images, one call each; gives why for each that was not."""
        kept: dict[str, str] = {}
        stop = "" if self.slug else "no `folder` is set, so nothing is known to be this project's"
        for slug in ids:
            if stop or not SLUG.fullmatch(slug):
                kept[slug] = stop or "it is no image's id at this host"
                continue
            try:
                self._delete(slug)
            except HostError as problem:
                kept[slug] = str(problem)
                if problem.action in {Action.STOP, Action.WAIT}:
                    stop = f"was not tried: {problem}"
        self.forget()
        return kept

    def _delete(self, slug: str) -> None:
        """Delete an image; one that is not there is no error.

        Raises:
            HostError: it may still be there.
        """
        try:
            self._api.call("delete_image", slug=slug)
        except ToolError as problem:
            is_gone = problem.is_missing
            if is_gone is None:
                is_gone = not self._has(slug)
            if not is_gone:
                raise

    def _has(self, slug: str) -> bool:
        """Ask for an image by itself, where one code means both that it is gone and that the storage is down."""
        try:
            self._api.call("get_image", slug=slug)
        except ToolError as problem:
            return problem.code != NOT_FOUND or problem.is_missing is False
        return True


def _read(reader: Callable[[Mapping[str, Any]], _Read], found: Mapping[str, Any], lack: str) -> _Read:
    try:
        return reader(found)
    except ValueError:
        problem = unclear(NAME, lack)
    problem.is_ambiguous = False
    raise problem


def _kebab(name: str) -> str:
    """Guess the slug that the host makes of a folder's name; empty where it cannot be guessed."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return slug if FOLDER.fullmatch(slug) else ""


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
        resets = _next_month(self._api.now()) if allowance.limit else None
        return Quota(allowance.remaining, allowance.plan, upgrade_link(allowance.raw, self._site), is_proven, resets)

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
