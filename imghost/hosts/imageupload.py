"""imageupload.io: uploads by REST, and its tools (MCP) for what REST does not have.

The host knows no idempotency key: the same bytes sent twice are two images. So where an answer was lost,
the next try first looks whether the image has arrived. An upload without an expiration would be deleted
after a day, so one is always sent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from imghost.errors import Action, HostError, printable
from imghost.hosts import Limits, Quota, Setup, Stored, Usage
from imghost.hosts.answers import extra_origins, image_urls, read_object, unclear
from imghost.hosts.clock import HostClock
from imghost.hosts.imageupload_answers import SLUG, Entry, read_allowance, read_entry, read_headers
from imghost.hosts.imageupload_api import Api, Pace
from imghost.hosts.imageupload_refusals import ToolError, refused_upload, text_of, upgrade_link
from imghost.hosts.imageupload_settings import LIVES, NAME, ORIGIN, ImageUploadOptions, read_expiration, read_folder
from imghost.hosts.imageupload_stock import Stock
from imghost.hosts.registry import origin_of, split_origin
from imghost.http import Answer
from imghost.models import Hosted, Image, Payload

SLACK: Final = timedelta(hours=1)
"""How much sooner than asked an image may end, since host and client do not count from the same moment."""
DUE: Final = timedelta(days=14)
"""An image that is found again counts while more than this, or than a quarter of the retention, is left."""
MINUTE: Final = 61.0
"""Seconds in which the host takes 60 uploads and 120 calls of its tools, and one for the way there."""

_FORMATS: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"})
_FILE: Final = r"/f/[A-Za-z0-9_-]{1,64}\.(?:png|jpe?g|webp|gif|avif)"
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class ImageUpload:
    """Uploads images to imageupload.io."""

    name = NAME
    credentials: tuple[str, ...] = ("IMAGEUPLOAD_API_KEY",)
    origin = ORIGIN
    Options = ImageUploadOptions
    needs_network = True

    def __init__(self, options: ImageUploadOptions, setup: Setup) -> None:
        self._expiration = read_expiration(options, setup.retention)
        self._folder = read_folder(options)
        self.limits = Limits(_FORMATS, 25_000_000, retention=LIVES[self._expiration])
        elsewhere = extra_origins(options.api_url, ORIGIN, options.url_hosts)
        self.origins = (ORIGIN, *elsewhere)
        self._urls = image_urls(r"https://imageupload\.io" + _FILE, _FILE, options.api_url, ORIGIN, options.url_hosts)
        self.lacks_credential = setup.credential is None
        self._retention = setup.retention
        parts = split_origin(options.api_url)
        self._site = origin_of(parts) if parts else ORIGIN
        mcp_url = options.mcp_url or f"{options.api_url.rstrip('/')}/mcp"
        # Another address than the host's own is a proxy or a test server, whose rate nobody has published.
        paces = (Pace(60, MINUTE), Pace(120, MINUTE)) if self._site == ORIGIN else None
        self._api = Api(setup.client, options.api_url, mcp_url, setup.credential, HostClock(setup.now), paces)
        self._stock = Stock(self._api, self._folder)
        self._guard = threading.Lock()
        self._doubts: set[tuple[str, int]] = set()
        self._forbidden = ""
        self._spent = ""

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images, and not a page that shares one."""
        return self._urls.fullmatch(url) is not None

    def stored(self, image: Image, variant: str) -> Hosted | None:  # noqa: ARG002 - nothing is on this machine
        """Find nothing: the images are elsewhere."""
        return None

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
            if wrong_copy := self._problem(entry, payload):
                raise wrong_copy
            self._check_life(entry, self._api.now())
            return Hosted(entry.url, entry.slug, entry.expires)
        raise problem

    def _problem(self, entry: Entry, payload: Payload) -> HostError | None:
        """Say what is wrong with an image that is said to be the payload's."""
        if not self.accepts(entry.url):
            return HostError(
                Action.FILE,
                f"{NAME} gave a URL that is not one of its images: {printable(entry.url, 80)}",
                remedy="if it is right, name its host in `options.url_hosts`",
                is_ambiguous=True,
            )
        if not entry.is_open:
            return HostError(Action.STOP, f"{NAME} hides the image behind a password or a count of views")
        theirs, ours = (entry.width, entry.height), (payload.width, payload.height)
        # The host takes the metadata off, and may turn the image as its orientation says.
        if None not in theirs + ours and theirs not in {ours, ours[::-1]}:
            sizes = f"{theirs[0]} x {theirs[1]} pixels, not {ours[0]} x {ours[1]}"
            return HostError(Action.FILE, f"{NAME} has another image in this one's place: {sizes}", is_ambiguous=True)
        return None

    def _check_life(self, entry: Entry, now: datetime) -> None:
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
        if self._retention is not None and entry.expires - now >= self._retention - SLACK:
            return
        days = max(1, (entry.expires - now).days)
        raise HostError(
            Action.STOP,
            f"{NAME} keeps images only until {entry.expires:%Y-%m-%d}, which is sooner than `retention` asks",
            remedy=f"upgrade the plan, or set retention: {days}d or less",
        )

    def find(self, payload: Payload) -> Hosted | None:
        """Find a copy that is stored already, by its name, which follows from the bytes; its size is checked."""
        fitting = [entry for entry in self._stock.entries() if self._is_copy(entry, payload)]
        best = max(fitting, key=lambda entry: (entry.expires or _NEVER, entry.slug), default=None)
        return Hosted(best.url, best.slug, best.expires, is_new=False) if best else None

    def _is_copy(self, entry: Entry, payload: Payload) -> bool:
        if entry.name != payload.name or self._problem(entry, payload) or not self._lasts(entry, payload):
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
        return entry.expires - self._api.now() >= min(DUE, self._retention / 4)

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
            if entry.name == "" or _is_ours(entry.name):
                yield Stored(entry.slug, entry.url, entry.uploaded, entry.bytes)

    def delete(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Delete images, one call each; gives why for each that was not."""
        kept: dict[str, str] = {}
        stop = "" if self.project else "no `folder` is set, so nothing is known to be this project's"
        for slug in ids:
            if stop or not SLUG.fullmatch(slug):
                kept[slug] = stop or "it is no image's id at this host"
                continue
            try:
                self._stock.delete(slug)
            except HostError as problem:
                kept[slug] = str(problem)
                if problem.action in {Action.STOP, Action.WAIT}:
                    stop = f"was not tried: {problem}"
        self._stock.forget()
        return kept


def _is_ours(name: str) -> bool:
    digest, _, ending = name.partition(".")
    return len(digest) == 12 and set(digest) <= set("0123456789abcdef") and ending.isalnum()


def _next_month(now: datetime) -> datetime:
    """Give the moment when the host counts anew: the 1st, 00:00 UTC."""
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)
