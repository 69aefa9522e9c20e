"""imageupload.io: uploads by REST, and its tools (MCP) for what REST does not have.

The host knows no idempotency key: the same bytes sent twice are two images. So where an answer was lost,
the next try first looks whether the image has arrived. An upload without an expiration would be deleted
after a day, so one is always sent.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from imghost.errors import Action, HostError
from imghost.hosts import HostBase, Quota, Setup, Stored, Terms, Usage
from imghost.hosts.answers import CopyJudge, HostClock, extra_origins, image_urls, is_at, longest_lived
from imghost.hosts.imageupload import (
    FOLDER,
    LIVES,
    NAME,
    ORIGIN,
    ROOTS,
    SLUG,
    ImageUploadOptions,
    read_expiration,
    read_folder,
)
from imghost.models import RASTER, Hosted, Limits, Payload, endings
from imghost.wording import limit, many, printable, size

if TYPE_CHECKING:
    from imghost.hosts.imageupload.api import Allowance, Api, ImageEntry

_FORMATS: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"})
_FILE: Final = rf"/f/[A-Za-z0-9_-]{{1,64}}\.(?:{endings(sorted(RASTER))})"
SLACK: Final = {"1mo": timedelta(days=3), "3mo": timedelta(days=5)}
"""How much sooner than asked an image may end: a month may have 28 days, and three 89."""
MOMENT: Final = timedelta(hours=1)
"""The same of shorter terms, since host and client do not count from the same moment."""
SURE: Final = 25_000_000
"""Bytes that every plan takes of an image."""
LARGEST: Final = 100_000_000
"""Bytes that the largest plan takes; what is over the account's own is not sent once its plan is known."""
MINUTE: Final = 61.0
"""Seconds in which the host takes 60 uploads and 120 calls of its tools, and one for the way there."""


class ImageUpload(HostBase):
    """Uploads images to imageupload.io; safe to share between threads."""

    name = NAME
    credentials: tuple[str, ...] = ("IMAGEUPLOAD_API_KEY",)
    origin = ORIGIN
    Options = ImageUploadOptions
    terms = Terms("as the plan allows", "by plan")

    def __init__(self, options: ImageUploadOptions, setup: Setup) -> None:
        self._expiration, folder = read_expiration(options, setup.retention), read_folder(options)
        self.limits = Limits(_FORMATS, LARGEST, sure_bytes=SURE, retention=LIVES[self._expiration])
        self.origins = (ORIGIN, *extra_origins(options.api_url, ORIGIN, options.url_hosts))
        self._urls = image_urls(r"https://imageupload\.io" + _FILE, _FILE, options.api_url, ORIGIN, options.url_hosts)
        self.lacks_credential = setup.credential is None
        self._slack = SLACK.get(self._expiration, MOMENT)
        self._is_proven = True
        self._options = options
        self._setup = setup
        self._clock = HostClock(setup.now)
        self._judge = CopyJudge(NAME, self.accepts, setup.retention, self._clock.now)
        self._guard = threading.RLock()
        self._opened: Api | None = None
        self._listing = Listing(lambda: self._api, folder)
        self._doubts: set[tuple[str, int]] = set()
        self._forbidden = ""
        self._spent = ""
        self._plan = ""
        self._outside = 0

    @property
    def _api(self) -> Api:
        """Load what speaks with the host: at the first question, since it takes 5 to 13 ms."""
        with self._guard:
            if self._opened is None:
                from imghost.hosts.imageupload.api import Api, Pace

                url = self._options.api_url
                # Another address than the host's own is a proxy or a test server, whose rate nobody has published.
                paces = (Pace(60, MINUTE), Pace(120, MINUTE)) if is_at(url, ORIGIN) else None
                mcp_url = self._options.mcp_url or f"{url.rstrip('/')}/mcp"
                self._opened = Api(self._setup.client, url, mcp_url, self._setup.credential, self._clock, paces)
            return self._opened

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images, and not a page that shares one."""
        return self._urls.fullmatch(url) is not None

    @property
    def project(self) -> str:
        """The folder that marks this project's images."""
        return self._listing.slug

    def ready(self) -> Quota:
        """Ask for the quota, and make the folder; tools that are out of order do not stop uploads."""
        api = self._api
        try:
            allowance = api.allowance()
        except HostError as problem:
            if api.is_about_key(problem):
                raise
            allowance = None
        self._listing.make_folder()
        if allowance is None:
            self._is_proven = False
            return Quota(is_proven=False)
        self._plan = allowance.plan.lower()
        is_proven = self._is_proven = allowance.plan.lower() not in {"", "free"}
        usage = self._usage(allowance)
        return Quota(usage.remaining, usage.plan, usage.link, is_proven, usage.resets, usage.allowance)

    def usage(self) -> Usage:
        """Ask how much of the month's uploads is used; raises HostError."""
        allowance = self._api.allowance()
        if allowance is None:
            raise HostError(Action.STOP, f"{NAME} does not tell the account's usage", remedy="check `mcp_url`")
        return self._usage(allowance)

    def _usage(self, allowance: Allowance) -> Usage:
        room = self._api.room_of(allowance.plan)
        return Usage(
            bytes_limit=room.storage if room else None,
            plan=allowance.plan,
            used=allowance.used,
            limit=allowance.limit,
            remaining=allowance.remaining,
            resets=_next_month(self._clock.now()) if allowance.limit else None,
            link=self._api.upgrade_link(allowance),
        )

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload; after a try of which nothing is known, look for its copy first."""
        mark = (payload.sha256, payload.period)
        if self._spent:
            raise HostError(Action.STOP, f"{NAME} allows no more uploads this month", remedy=self._spent)
        self._check_length(payload)
        if mark in self._doubts and (copy := self._arrived(payload)):
            return copy
        if (payload.period or not self._is_proven) and (copy := self._earlier(payload)):
            return copy
        try:
            hosted = self._sent(payload)
        except HostError as problem:
            if problem.is_ambiguous:
                with self._guard:
                    self._doubts.add(mark)
                self._listing.forget()
            raise
        with self._guard:
            self._doubts.discard(mark)
        return hosted

    def _check_length(self, payload: Payload) -> None:
        """Send nothing that the account's plan is known to refuse."""
        room = self._api.room_of(self._plan)
        if room and payload.bytes > room.image:
            why = f"it is {size(payload.bytes)}, and the plan {self._plan!r} at {NAME} takes {limit(room.image)}"
            remedy = "set `oversize: resize`, upgrade the plan or `exclude` it"
            raise HostError(Action.FILE, why, remedy=remedy, is_final=True)

    def notes(self) -> tuple[str, ...]:
        """Say how many images the host has put elsewhere than asked; they are well, but not found again."""
        if not self._outside:
            return ()
        count = many(self._outside, "image")
        text = f"{NAME} has not put {count} into the folder {self._listing.slug!r}: `adopt` and `prune` will not find"
        return (f"{text} {'it' if self._outside == 1 else 'them'}; look at the folder at {NAME}",)

    def _earlier(self, payload: Payload) -> Hosted | None:
        """Find a copy that makes an upload needless, where that is likely or an upload costs one of few a month.

        A renewal is needless where the plan has changed and the old copy lasts after all; and where the plan has
        never kept an image as long as asked, the next would be refused after it was stored, at every build.

        Raises:
            HostError: the plan does not keep images as long as asked (STOP).
        """
        try:
            entries = self._listing.entries()
        except HostError:
            return None
        if copy := self.find(payload):
            return copy
        for entry in entries:
            is_ours = entry.name == payload.name and not self._problem(entry, payload)
            # One that was stored for a shorter term, under another `retention`, shows nothing of the plan.
            is_same_term = entry.term in {"", self._expiration}
            if is_ours and is_same_term and entry.is_dated and entry.has_life and not payload.period:
                self._check_life(entry, since=entry.uploaded)
        # One that nobody dates may be old. Of two that both end too soon the later one was stored since the first did.
        undated = [
            entry
            for entry in entries
            if entry.name == payload.name and not self._problem(entry, payload)
            if entry.term in {"", self._expiration} and entry.has_life and not entry.is_dated
        ]
        if len(undated) > 1 and not payload.period and (latest := longest_lived(undated)):
            self._check_life(latest)
        return None

    def _arrived(self, payload: Payload) -> Hosted | None:
        """Look for the copy of a try whose answer was lost; without an answer here, nothing is sent again."""
        try:
            return self.find(payload)
        except HostError as problem:
            is_final = self._api.is_tools(problem) and problem.action not in {Action.WAIT, Action.RETRY}
            if is_final and not self._api.is_about_key(problem):
                # A host whose tools are gone for good can still store images.
                return None
            problem.is_ambiguous = True
            raise

    def _sent(self, payload: Payload) -> Hosted:
        for expiration in (self._expiration, *shorter(self._expiration, self._setup.retention)):
            form = {"expiration": expiration} | ({"folder": self.project} if self.project else {})
            try:
                image, allowance = self._api.upload(payload, form)
            except HostError as problem:
                if self._api.is_unexplained(problem) and shorter(expiration, self._setup.retention):
                    # The plan may refuse the term alone; nothing is stored then, and a shorter one will do.
                    continue
                self._take_refusal(problem, payload)
                raise
            break
        self._take_term(expiration)
        with self._guard:
            self._forbidden = ""
        self._keep_quota(allowance)
        return self._hosted(image, payload)

    def _take_term(self, expiration: str) -> None:
        """Ask for the term that the plan allows from now on."""
        with self._guard:
            if LIVES_BY_LENGTH.index(expiration) < LIVES_BY_LENGTH.index(self._expiration):
                self._expiration, self._slack = expiration, SLACK.get(expiration, MOMENT)

    def _take_refusal(self, problem: HostError, payload: Payload) -> None:
        """Take a refusal that does not say why, for two images in a row, for one of the account."""
        if not self._api.is_unexplained(problem):
            return
        with self._guard:
            if self._forbidden not in {"", payload.sha256}:
                problem.action = Action.STOP
            self._forbidden = payload.sha256

    def _keep_quota(self, allowance: Allowance | None) -> None:
        """Send nothing more once the host says that this was the month's last upload."""
        if allowance and allowance.limit and allowance.remaining == 0:
            link = self._api.upgrade_link(allowance)
            self._spent = f"wait until the 1st of the next month (UTC), or upgrade the plan: {link}"

    def _hosted(self, image: Mapping[str, object], payload: Payload) -> Hosted:
        entry = self._api.read_upload(image)
        if problem := self._problem(entry, payload):
            raise problem
        other = ""
        if entry.media_type and entry.media_type != payload.media_type:
            other = f"{printable(entry.media_type, 60)}, not {payload.media_type}"
        elif entry.bytes and entry.bytes > payload.bytes:
            # Taking the metadata off makes a file smaller, never larger.
            other = f"{entry.bytes:,} bytes, of {payload.bytes:,} that were sent"
        if other:
            why = f"{NAME} says that it has stored {other}"
            raise HostError(Action.FILE, why, remedy="report it to the host", is_ambiguous=True)
        self._check_life(entry)
        if self.project and entry.folder is not None and entry.folder not in {self.project, self._options.folder}:
            with self._guard:
                self._outside += 1
        return Hosted(entry.url, entry.slug, entry.expires)

    def _problem(self, entry: ImageEntry, payload: Payload) -> HostError | None:
        """Say what is wrong with an image that is said to be the payload's."""
        if self.accepts(entry.url) and not entry.is_open:
            return HostError(Action.STOP, f"{NAME} hides the image behind a password or a count of views")
        return self._judge.objection(entry, (payload.width, payload.height), is_ambiguous=True)

    def _check_life(self, entry: ImageEntry, since: datetime | None = None) -> None:
        """Refuse an image that ends sooner than asked; so would every other, since it is the account's plan.

        `since` is when it was stored, if that is not now.
        """
        if not entry.has_life:
            raise HostError(
                Action.STOP,
                f"{NAME} does not say how long the image lives",
                remedy="check for a newer version of imghost",
                is_ambiguous=True,
            )
        now = self._clock.now()
        age = max(timedelta(), now - since) if since else timedelta()
        if entry.expires is None or self._judge.is_enough(entry.expires + age, self._slack):
            return
        days = max(1, (entry.expires + age - now).days)
        raise HostError(
            Action.STOP,
            f"{NAME} keeps images only until {entry.expires:%Y-%m-%d}, which is sooner than `retention` asks",
            remedy=f"upgrade the plan, or set retention: {days}d or less",
        )

    def find(self, payload: Payload) -> Hosted | None:
        """Find a copy that is stored already, by its name, which follows from the bytes; its size is checked."""
        copy = longest_lived(entry for entry in self._listing.entries() if self._is_copy(entry, payload))
        return Hosted(copy.url, copy.slug, copy.expires, is_new=False) if copy else None

    def _is_copy(self, entry: ImageEntry, payload: Payload) -> bool:
        if entry.name != payload.name or self._problem(entry, payload) or not self._lasts(entry, payload):
            return False
        if entry.bytes is None or entry.width is None or payload.width is None:
            return entry.bytes == payload.bytes
        # Taking the metadata off makes a file smaller, never larger.
        return entry.bytes <= payload.bytes

    def _lasts(self, entry: ImageEntry, payload: Payload) -> bool:
        """Say whether an image that is found again lives long enough; a renewal must outlive what it renews."""
        if not entry.has_life or (entry.expires and entry.expires.timestamp() <= payload.period):
            return False
        return self._judge.is_left(entry.expires)

    def listed(self) -> Iterator[Stored]:
        """List this project's images: those in its folder that this program has named.

        Raises:
            HostError: the host does not say which folder an image is in.
        """
        if not self.project:
            return
        self._listing.forget()
        for entry in self._listing.entries():
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
        return self._listing.delete(ids)


LIVES_BY_LENGTH: Final = tuple(LIVES)


def shorter(expiration: str, retention: timedelta | None) -> tuple[str, ...]:
    """List the terms that are shorter and still as long as the retention asks, the longest first."""
    if retention is None:
        return ()
    before = LIVES_BY_LENGTH[: LIVES_BY_LENGTH.index(expiration)]
    return tuple(name for name in reversed(before) if (life := LIVES[name]) is not None and life >= retention)


def is_ours(name: str) -> bool:
    """Say whether this program has named an image."""
    digest, _, ending = name.partition(".")
    return len(digest) == 12 and set(digest) <= set("0123456789abcdef") and ending.isalnum()


def _next_month(now: datetime) -> datetime:
    """Give the moment when the host counts anew: the 1st, 00:00 UTC."""
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)


PAGES: Final = 2_000
"""Answers of a hundred images after which a list counts as endless."""


class Listing:
    """Knows the folder's slug and lists its images, once a run unless told to look again."""

    def __init__(self, api: Callable[[], Api], folder: str) -> None:
        self._api = api
        self._folder = folder
        self._slug = ""
        self._entries: tuple[ImageEntry, ...] | None = None
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
        if problem is None:
            return
        if self._api().is_about_key(problem):
            raise problem
        if self._api().is_refusal(problem) or not self.slug:
            raise HostError(
                Action.STOP,
                f"{NAME} does not make the folder {self._folder!r}: {problem.reason}",
                remedy="make it at imageupload.io, or set another `folder`",
            )

    def _try_folder(self) -> HostError | None:
        try:
            self._slug = self._known_slug() or self._api().make_folder(self._folder)
        except HostError as problem:
            return problem
        return None

    def _known_slug(self) -> str:
        folders = self._api().folders()
        return folders.get(self._folder) or folders.get(_kebab(self._folder), "")

    def forget(self) -> None:
        """Look again at the next question: something may have been stored since."""
        with self._guard:
            self._entries = None

    def entries(self) -> tuple[ImageEntry, ...]:
        """List the folder's images, or those that are in none where the settings name none; raises HostError."""
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

    def _listed(self) -> tuple[ImageEntry, ...]:
        if self._folder and not self._slug:
            self._slug = self._known_slug()
            if not self._slug:
                return ()
        entries: dict[str, ImageEntry] = {}
        seen = 0
        for _ in range(PAGES):
            # Without a folder images go where the host calls it unsorted; elsewhere are other projects'.
            page, count = self._api().images(self._slug or "unsorted", seen)
            before = len(entries)
            entries |= {entry.slug: entry for entry in page}
            seen += count
            # A host that ignores `offset` gives the same page for ever.
            if count == 0 or (page and len(entries) == before):
                break
        else:
            raise HostError(
                Action.STOP, f"{NAME} does not end its list of images", remedy="set a `folder` of few images"
            )
        ours = {None, self._slug, self._folder} if self._slug else {None, "", *ROOTS}
        return tuple(entry for entry in entries.values() if entry.folder in ours)

    def delete(self, ids: Sequence[str]) -> dict[str, str]:
        """Delete images, one call each; gives why for each that was not."""
        kept: dict[str, str] = {}
        stop = "" if self.slug else "no `folder` is set, so nothing is known to be this project's"
        for slug in ids:
            if stop or not SLUG.fullmatch(slug):
                kept[slug] = stop or "it is no image's id at this host"
                continue
            try:
                self._api().delete(slug)
            except HostError as problem:
                kept[slug] = str(problem)
                if problem.action in {Action.STOP, Action.WAIT}:
                    stop = f"was not tried: {problem}"
        self.forget()
        return kept


def _kebab(name: str) -> str:
    """Guess the slug that the host makes of a folder's name; empty where it cannot be guessed."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return slug if FOLDER.fullmatch(slug) else ""
