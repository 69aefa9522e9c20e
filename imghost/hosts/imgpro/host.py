"""img.pro: uploads that can be repeated safely, in both generations of its API.

`POST /upload` knows an image by its `external_id`, `POST /images` by an `Idempotency-Key` for a day and by
its labels for ever. All are functions of the bytes and the settings, so that a repeated upload, a lost
answer and a lost lock lead to the same stored copy.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from imghost.errors import Action, HostError, SettingsError
from imghost.hosts import Edit, HostBase, Quota, Setup, Stored, Terms, Usage
from imghost.hosts.answers import CopyJudge, HostClock, extra_origins, image_urls, is_at, longest_lived, unclear
from imghost.hosts.imgpro import (
    ANONYMOUS,
    APP_KEY,
    APPS,
    GENERATIONS,
    NAME,
    Fields,
    Generation,
    ImgProOptions,
    What,
    is_id,
    read_fields,
)
from imghost.models import IMPORT, Hosted, Limits, NamedTuple, Payload, Record, endings
from imghost.wording import limit, size

if TYPE_CHECKING:
    from imghost.hosts.imgpro.api import Account, Api, Media, Page

_FORMATS: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
_SVG: Final = "image/svg+xml"
MAX_SVG: Final = 10_000_000
"""Bytes of a drawing that the host takes."""
SURE: Final = 20_000_000
"""Bytes that the host takes of every other image; its newest client sends no more."""
WITH_KEY: Final = 70_000_000
"""Bytes that it takes with a key, by its older pages; of what is larger than is sure its answer decides."""
_VARIANT: Final = r"(?:size|format|w|h|fit)=[a-z0-9-]{1,16}"
_OPTIONS: Final = rf"(?:\?{_VARIANT}(?:&{_VARIANT}){{0,3}})?"


def _addresses(formats: Set[str], api_url: str, others: Sequence[str]) -> re.Pattern[str]:
    """Make the pattern of the images' addresses."""
    name = rf"[A-Za-z0-9_-]{{1,128}}\.(?:{endings(sorted(formats))}){_OPTIONS}"
    own = rf"https://src\.img\.pro/(?:[A-Za-z0-9_-]{{1,64}}/){{0,2}}{name}"
    return image_urls(own, rf"/(?:[A-Za-z0-9_-]{{1,64}}/){{0,8}}{name}", api_url, ImgPro.origin, others)


EDGES: Final = (("s", 320), ("m", 640), ("l", 1080))
"""The host's sizes, each with its shorter edge in pixels."""
HOURLY: Final = 20
"""Uploads that the host allows an address without a key in an hour; and 100 a day."""
DUE: Final = timedelta(days=90)
"""How long before its end an image may be renewed; more is no renewal of what is about to end."""
MOMENT: Final = timedelta(minutes=2)
"""Older than this, an answer to an upload is about an earlier one."""
REPLAY: Final = timedelta(hours=25)
"""How old an image may be that answers an upload: an idempotency key's day, and clocks that differ."""
YOUNG: Final = timedelta(days=1)
"""How long the end of a copy shows what another upload would get: an account may be verified meanwhile."""
RENEWALS: Final = 8
"""How many copies, each the renewal of the one before, are looked at before giving up."""


class ImgPro(HostBase):
    """Uploads images to img.pro; safe to share between threads."""

    name = NAME
    credentials: tuple[str, ...] = ("IMGPRO_API_KEY",)
    origin = "https://api.img.pro"
    Options = ImgProOptions
    terms = Terms("permanently, 30 days unkeyed", "by plan")

    def __init__(self, options: ImgProOptions, setup: Setup) -> None:
        fields = read_fields(options, setup.retention)
        self.origins = ("https://src.img.pro", *extra_origins(options.api_url, self.origin, options.url_hosts))
        formats = _FORMATS | {_SVG} if options.svg else _FORMATS
        self._urls = _addresses(formats, options.api_url, options.url_hosts)
        self.lacks_credential = setup.credential is None and fields.is_long
        lives = [life for life in (fields.ttl, None if setup.credential else ANONYMOUS) if life is not None]
        if fields.user and setup.credential and not setup.credential.reveal().startswith(APP_KEY):
            raise SettingsError(
                f"host {NAME!r}: option 'user' needs an App's secret key, which begins with {APP_KEY}; "
                "leave it out, or put such a key into IMGPRO_API_KEY"
            )
        self.limits = Limits(
            formats,
            WITH_KEY if setup.credential else SURE,
            sure_bytes=SURE,
            keeps_animated_png=False,
            retention=min(lives, default=None),
        )
        self.project = options.namespace or ""
        self._has_key = setup.credential is not None
        self._setup = setup
        self._options = options
        self._fields = fields
        self._is_automatic = options.api == "auto"
        self._is_verified: bool | None = None
        self._generation = GENERATIONS[options.api]
        self._guard = threading.Lock()
        self._dropped = set[str]()
        self._speaking_api: Api | None = None
        clock = HostClock(setup.now)
        self._clock = clock
        self._judge = CopyJudge(NAME, self.accepts, setup.retention, clock.now)
        self._listing = Listing(lambda: self._api, fields)

    @property
    def _api(self) -> Api:
        """Load what speaks with the host: at the first question, since it takes 5 to 13 ms."""
        with self._guard:
            if self._speaking_api is None:
                from imghost.hosts.imgpro.api import Api

                setup, url = self._setup, self._options.api_url
                self._speaking_api = Api(setup.client, url, setup.credential, self._fields, self._clock)
            return self._speaking_api

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images, and not a page about one."""
        return self._urls.fullmatch(url) is not None

    def ready(self) -> Quota:
        """Ask for the quota, by which the API also shows its generation; refuse a key whose images would not last."""
        if not self._has_key:
            # What the host allows to an address without a key; another address has its own rules.
            is_own = is_at(self._options.api_url, self.origin)
            if self._fields.ttl is not None:
                why = f"{NAME} takes `ttl` only with a key"
                raise HostError(Action.STOP, why, remedy="set IMGPRO_API_KEY, or leave `ttl` out")
            return Quota(HOURLY if is_own else None, "without a key", f"{APPS}", is_proven=False)
        account = self._account()
        if account.is_verified is False and self._fields.is_long:
            raise _too_short("images of an account that is not verified", account.usage.link, "verify the account")
        return account.quota

    def usage(self) -> Usage:
        """Ask how much of the plan is used."""
        self._need_key("tells the usage")
        account = self._account()
        if account.generation != "upload":
            return account.usage
        try:
            return account.usage._replace(groups=self._api.groups())
        except HostError:
            return account.usage

    def notes(self) -> tuple[str, ...]:
        """Say which of the options the host did not take up; the images themselves are well."""
        with self._guard:
            names = ", ".join(f"`{name}`" for name in sorted(self._dropped))
        return (f"{NAME} has not taken up {names}: look at what the account's plan allows",) if names else ()

    def outdated(self, records: Sequence[Record]) -> tuple[Edit, ...]:
        """List what the host knows otherwise than the settings say, of the images that have records.

        Raises:
            HostError: there is no key, or the host cannot be asked.
        """
        self._need_key("changes images")
        if self._spoken() != "upload":
            why = f"{NAME}'s `images` API does not change stored images"
            raise HostError(Action.STOP, why, remedy="change them at img.pro")
        wanted = {record.id: record.url for record in records if record.host == NAME and is_id(record.id)}
        known = self._fields.known()
        if not wanted or not known:
            return ()
        listed = {media.id: media for media in self._listing.any_of(set(wanted))}
        return tuple(
            Edit(name, wanted[name], fields)
            for name in sorted(listed)
            if (fields := {field: told for field, told in known.items() if differs(listed[name], field, told)})
        )

    def edit(self, edits: Sequence[Edit]) -> Mapping[str, str]:
        """Change images, a hundred at a time that need the same; gives why for each that was not."""
        kept: Reasons = {}
        groups: dict[str, list[Edit]] = {}
        for one in edits:
            groups.setdefault(repr(sorted(one.fields.items())), []).append(one)
        for same in groups.values():
            kept |= _each([one.id for one in same], BATCH, partial(self._edited, same[0].fields))
        return kept

    def _edited(self, fields: Mapping[str, object], ids: Sequence[str]) -> Reasons:
        done = self._api.edit(ids, fields)
        why = f"{NAME} has changed {done} of {len(ids)} images; run `imghost edit` again"
        return dict.fromkeys(ids, why) if done is not None and done < len(ids) else {}

    def _note_dropped(self, media: Media) -> None:
        dropped = {name for name, told in self._fields.known().items() if lacks(media, name, told)}
        with self._guard:
            self._dropped |= dropped

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload, or find the copy that an earlier try has stored."""
        self._api.check_allowance()
        if payload.media_type == _SVG and payload.bytes > MAX_SVG:
            why = f"{NAME} takes drawings of up to {limit(MAX_SVG)}, and this one has {size(payload.bytes)}"
            raise HostError(Action.FILE, why, remedy="make it smaller or `exclude` it", is_final=True)
        if payload.period and (copy := self._outlived(payload)):
            return copy
        return self._lasting(payload, payload.period, lambda period: self._fields.key(payload, period))

    def _outlived(self, payload: Payload) -> Hosted | None:
        """Find, before a renewal that is due, whether the old copy lasts after all, as of an account verified since."""
        if payload.period - self._clock.now().timestamp() > DUE.total_seconds():
            return None
        try:
            return self.find(payload)
        except HostError:
            return None

    def bring(self, url: str, key: str) -> Hosted:
        """Have the host fetch a public image, or find the copy of an earlier import under this key."""
        return self._lasting(url, 0, lambda period: self._fields.import_key(key, period))

    def find(self, payload: Payload) -> Hosted | None:
        """Find a copy that lasts and that this project has stored of the payload, under whatever terms."""
        if not self._has_key:
            return None
        if self._spoken() == "images":
            # What the host has fetched itself it knows by the URL.
            is_import = payload.variant == IMPORT
            own = {"key": self._fields.import_key(payload.image, 0)} if is_import else {"sha256": payload.sha256}
            labelled = self._listing.labelled({**own, "imghost": self._fields.project})
            if labelled.refusal:
                raise labelled.refusal
            media = labelled.media
        else:
            media = tuple(one for one in self._listing.named(payload.name) if None not in (one.width, one.height))
        copy = self._best(payload, (one for one in media if self._judge.is_left(one.expires)))
        return Hosted(copy.url, copy.id, copy.expires, is_new=False) if copy else None

    def listed(self) -> Iterator[Stored]:
        """List this project's images; one at an address that no page could have from here is left out."""
        for media in self._listing.whole(self._speaking()):
            if self.accepts(media.url):
                yield Stored(media.id, media.url, media.uploaded, media.bytes)

    def delete(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Delete images of this project, which cannot be undone; gives why for each that is still there."""
        return self._listing.delete(self._speaking(), ids)

    def variants(self, record: Record) -> tuple[tuple[str, str], ...]:
        """Name the smaller copies of an image for a `srcset`: each one's URL, and its width like `426w`.

        Sizes as large as the image or larger are left out, since the host enlarges nothing.
        """
        if not record.width or not record.height:
            return ()
        shorter = min(record.width, record.height)
        return tuple(
            (_with(record.url, "size", size), f"{record.width * edge // shorter}w")
            for size, edge in EDGES
            if edge < shorter
        )

    def way(self) -> str:
        """Say which generation of the API converts, which no address of an image shows."""
        return self._spoken() or "images"

    def converted(self, url: str, format: str, way: str = "") -> str:  # noqa: A002 - the option's name
        """Name the copy of an image, or of one of its sizes, in another format.

        The `upload` generation converts by the file's ending, `images` by a parameter, which goes before the ending.
        """
        if (way if self._is_automatic and way else self._options.api) != "upload":
            return _with(url, "format", format)
        path, mark, query = url.partition("?")
        return f"{path.rpartition('.')[0]}.{format}{mark}{query}"

    def _speaking(self) -> Generation:
        """Say in which generation to list and delete, which only a key and a namespace allow."""
        self._need_key("lists and deletes images")
        if not self._fields.namespace:
            raise HostError(Action.STOP, f"no `namespace` marks this project's images at {NAME}", remedy="set one")
        return self._spoken() or "upload"

    def _need_key(self, what: str) -> None:
        if not self._has_key:
            raise HostError(Action.STOP, f"{NAME} {what} only with a key", remedy="set IMGPRO_API_KEY")

    def _account(self) -> Account:
        account = self._api.account()
        self._is_verified = account.is_verified
        if self._is_automatic:
            self._generation = account.generation
        return account

    def _spoken(self) -> Generation | None:
        if self._generation is None and self._has_key:
            self._account()
        return self._generation

    def _lasting(self, what: What, period: int, key: Callable[[int], str]) -> Hosted:
        """Store something, or find it; where the copy found ends too soon, renew it as a record would be."""
        short = 0
        for _ in range(RENEWALS):
            media, is_new = self._copy(what, key(period))
            if problem := self._problem(media, what):
                raise problem
            if self._is_gone(media, is_new=is_new):
                # Deleted by hand or by moderation, and still named by the key: the next one stores it anew.
                period += 1
                continue
            if is_new:
                self._note_dropped(media)
            is_enough = self._judge.is_enough(media.expires, REPLAY) if is_new else self._judge.is_left(media.expires)
            if is_enough or media.expires is None:
                return Hosted(media.url, media.id, media.expires, is_new)
            short += 1
            if is_new or (short > 1 and self._is_hopeless(media)):
                raise _too_short("this image", media.link, "verify or upgrade the account")
            period = int(media.expires.timestamp())
        raise HostError(
            Action.FILE,
            f"{NAME} has only copies of this image that end sooner than `retention` asks",
            remedy="delete them at img.pro, or set `namespace` to another name",
        )

    def _is_hopeless(self, media: Media) -> bool:
        """Say whether another upload would end as soon as this copy, which was stored today after one that did.

        One try more than the first, since the account may have been verified in between; then one a day.
        """
        now = self._clock.now()
        # Where nobody tells when, an end in 30 days does: that is what images get that do not last.
        end = (media.expires or now) - ANONYMOUS
        return now - (media.uploaded or end) < YOUNG and self._is_verified is not True

    def _is_gone(self, media: Media, *, is_new: bool) -> bool:
        """Say whether a copy that the host found, by a key or a label, is no longer served."""
        is_replay = media.uploaded is not None and self._clock.now() - media.uploaded > MOMENT
        if is_new and not is_replay:
            return False
        try:
            return self._setup.client.fetch(media.url, limit=1).status in {404, 410}
        except HostError:
            return False

    def _copy(self, what: What, key: str) -> tuple[Media, bool]:
        """Store something under a key, or find what is there; and say whether it is new."""
        if self._generation is None:
            self.ready()
        if self._generation != "images":
            # Without a key nothing tells the generation but this answer; other threads may know it meanwhile.
            is_sure = self._generation == "upload" or not self._is_automatic
            stored = self._api.store(what, key, is_sure=is_sure)
            self._generation = "images" if stored is None else self._generation or "upload"
            if stored:
                return stored
        wanted = {"key": key} if isinstance(what, str) else {"sha256": what.sha256, "key": key}
        # What an earlier build has stored and whose record is lost.
        if self._has_key and (copy := self._best(what, self._listing.labelled(wanted).media)):
            return copy, False
        return self._api.create(what, wanted), True

    def _best(self, what: What, media: Iterable[Media]) -> Media | None:
        return longest_lived(one for one in media if not self._problem(one, what))

    def _problem(self, media: Media, what: What) -> HostError | None:
        """Say what is wrong with an image that is said to be this one."""
        if media.has_failed:
            return HostError(Action.FILE, f"{NAME} could not read the image", remedy="look at the image", is_final=True)
        size = (media.width, media.height) if isinstance(what, str) else (what.width, what.height)
        if not isinstance(what, str) and what.media_type == _SVG:
            if self.accepts(media.url) and not media.url.partition("?")[0].endswith(".svg"):
                why = f"{NAME} would not serve this drawing as one, but as {media.url.rpartition('.')[2][:8]}"
                return HostError(Action.FILE, why, remedy="leave `svg` out, or `exclude` it", is_final=True)
            size = (media.width, media.height)  # a drawing has no pixels of its own
        return self._judge.objection(media, size, is_ambiguous=False)


def lacks(media: Media, name: str, told: object) -> bool:
    """Say whether the host tells another thing of an image than it was told; what it leaves out differs in nothing."""
    if name == "tags":
        return media.tags is not None and set(media.tags) != set(str(told).split(","))
    if name == "public":
        return media.public is not None and media.public is not told
    return False


def differs(media: Media, name: str, told: object) -> bool:
    """Say whether a field is to be sent: it is another, or the host does not show it."""
    if name == "namespace":
        return media.namespace != told
    if name == "metadata":
        return media.metadata is None or any(media.metadata.get(key) != text for key, text in dict(told).items())  # type: ignore[call-overload]
    return (media.tags if name == "tags" else media.public) is None or lacks(media, name, told)


def _with(url: str, name: str, value: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{name}={value}"


def _too_short(what: str, link: str, remedy: str) -> HostError:
    return HostError(
        Action.STOP,
        f"{NAME} deletes {what} sooner than `retention` asks",
        remedy=f"{remedy}{f' ({link})' if link else ''}, or set a shorter `retention` like 30d",
    )


PAGES: Final = 1_000
"""Answers of a hundred images after which a list counts as endless: twice the largest plan that is counted."""
BATCH: Final = 100
"""Ids that the host deletes at once."""
CHOSEN: Final = 50
"""Ids that the host looks up at once."""

Reasons = dict[str, str]
"""Why each image that could not be deleted is still there, by its id."""


class Labelled(NamedTuple):
    """The images that have some labels, or why the host does not list them."""

    media: tuple[Media, ...]
    refusal: HostError | None = None


class Listing:
    """A project's images at the host, asked for once a run; safe to share between threads."""

    def __init__(self, api: Callable[[], Api], fields: Fields, pages: int = PAGES) -> None:
        self._api = api
        self._fields = fields
        self._pages_at_most = pages
        self._first: tuple[Page, HostError | None] | None = None
        self._whole: tuple[Media, ...] | None = None
        self._of_tags: tuple[Media, ...] | None = None
        self._guard = threading.Lock()

    def labelled(self, wanted: Mapping[str, str]) -> Labelled:
        """Give the images that have all of these labels (`images` generation).

        Raises:
            HostError: the list may come later, or the key is wrong.
        """
        with self._guard:
            if self._first is None:
                self._first = self._api().labelled("imghost", self._fields.project)
        page, refusal = self._first
        if page.has_more:
            # One question for all is enough only where the whole project fits into its answer.
            page, refusal = self._api().labelled(*next(iter(wanted.items())))
        fitting = (one for one in page.media if all(one.labels.get(name) == text for name, text in wanted.items()))
        return Labelled(tuple(fitting), refusal)

    def named(self, name: str) -> tuple[Media, ...]:
        """Give the images that were sent under a name, with their size (`upload` generation)."""
        fitting = [media for media in self._tagged() if media.name == name]
        fitting = fitting or [media for media in self.whole("upload") if media.name == name]
        return tuple(self._sized(media) for media in fitting)

    def _tagged(self) -> tuple[Media, ...]:
        """Give the images with all of the project's tags, where no namespace makes the list short."""
        if self._fields.namespace or not self._fields.tags:
            return ()
        with self._guard:
            if self._of_tags is None:
                pages = self._pages(lambda cursor: self._api().tagged_page(cursor))
                self._of_tags = tuple(one for page in pages for one in page.media if self._is_own(one, "upload"))
            return self._of_tags

    def whole(self, generation: Generation) -> tuple[Media, ...]:
        """Give all of the project's images.

        Raises:
            HostError: the host does not list them, or not to the end.
        """
        with self._guard:
            if self._whole is None:
                pages = self._pages(lambda cursor: self._api().page(generation, cursor))
                self._whole = tuple(one for page in pages for one in page.media if self._is_own(one, generation))
            return self._whole

    def any_of(self, ids: Set[str]) -> Iterator[Media]:
        """Give the images of these ids, in whatever namespace, with as few questions as a list takes."""
        left = set(ids)
        for page in self._pages(lambda cursor: self._api().any_page(cursor)):
            yield from (media for media in page.media if media.id in left)
            left -= {media.id for media in page.media}
            if not left:
                return

    def delete(self, generation: Generation, ids: Sequence[str]) -> Reasons:
        """Delete images that are the project's; give why for each that was not."""
        asked = list(dict.fromkeys(ids))
        sound = [name for name in asked if is_id(name)]
        kept = {name: f"is no id of an image at {NAME}" for name in asked if not is_id(name)}
        with self._guard:
            listed = {media.id for media in self._whole or ()}
        own, foreign = self._sorted_out(generation, [name for name in sound if name not in listed])
        ours = [name for name in sound if name in listed or name in own]
        kept |= foreign | _each(ours, BATCH, lambda part: self._deleted(generation, part))
        self._forget(set(ids) - set(kept))
        return kept

    def _forget(self, ids: Set[str]) -> None:
        with self._guard:
            self._first = self._of_tags = None
            if self._whole is not None:
                self._whole = tuple(media for media in self._whole if media.id not in ids)

    def _pages(self, asking: Callable[[str], Page]) -> Iterator[Page]:
        asked, cursor = set[str](), ""
        while cursor not in asked and len(asked) < self._pages_at_most:
            asked.add(cursor)
            page = asking(cursor)
            yield page
            if not page.has_more:
                return
            cursor = page.cursor
        problem = unclear(NAME, "does not end its list of images")
        problem.action = Action.STOP
        problem.is_ambiguous = False
        raise problem

    def _sized(self, media: Media) -> Media:
        """Ask for the image alone where the list does not tell its size."""
        if None not in (media.width, media.height):
            return media
        return self._api().image(media.id) or media

    def _is_own(self, media: Media, generation: Generation) -> bool:
        """Say whether an image that the host lists is this project's, whatever was asked for."""
        if generation == "images":
            return media.labels.get("imghost") == self._fields.project
        return media.namespace == (self._fields.namespace or "")

    def _sorted_out(self, generation: Generation, ids: Sequence[str]) -> tuple[set[str], Reasons]:
        """Look up ids that no list has shown: those that are ours, and why the others stay; the rest is gone."""
        own = set[str]()

        def look_up(part: Sequence[str]) -> Reasons:
            kept: Reasons = {}
            for media in self._looked_up(generation, part):
                if self._is_own(media, generation):
                    own.add(media.id)
                else:
                    kept[media.id] = "is not one of this project's images"
            return kept

        return own, _each(ids, CHOSEN, look_up)

    def _looked_up(self, generation: Generation, ids: Sequence[str]) -> Iterator[Media]:
        if generation == "images":
            yield from (media for media in self._api().chosen(ids) if media.id in ids)
            return
        for name in ids:
            if media := self._api().image(name):
                yield media._replace(id=name)

    def _deleted(self, generation: Generation, ids: Sequence[str]) -> Reasons:
        kept = self._api().delete(generation, ids)
        return self._left(ids) if kept is None else {name: kept[name] for name in ids if name in kept}

    def _left(self, ids: Sequence[str]) -> Reasons:
        """See which of the images are still there, where the host has not said so of each."""
        kept: Reasons = {}
        for name in ids:
            try:
                if self._api().image(name):
                    kept[name] = f"is still at {NAME}"
            except HostError as problem:
                kept[name] = str(problem)
        return kept


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
