"""Uploads that begin while the generator still renders, so that they hide behind it.

Rendered pages are looked at in memory and stay as they are: what becomes of a page is decided at the end as ever. An
image goes early only where it is sure that the run would send it, too, whatever else the site will hold; all others
wait for the run.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

from imghost import urls
from imghost.environment import Leave, leave_to_upload
from imghost.errors import HostError, ImghostError, StateError
from imghost.hosts import Host, Quota
from imghost.html import Theme
from imghost.models import NamedTuple, endings
from imghost.net import Client
from imghost.records import lock as locks
from imghost.records.cache import Cache, exclusive
from imghost.run.job import Begun, Job, Outcome, Plan, Planned, Upload, unfailing
from imghost.run.plan import decide, find_groups, leave_for, open_host, own_report, owner_of, plan, refused_by
from imghost.run.publish import context_of, ending_in_order, workshop
from imghost.run.report import tell_uploaded
from imghost.site.dependents import Dependents, dependents_of, read_scripts
from imghost.site.images import Judge, identify
from imghost.site.page_map import PageMap, Scripts
from imghost.site.pages import UNSHOWN, Group, Meaning, PageView, Seen, link, meaning, scan_text
from imghost.site.survey import Survey, survey
from imghost.threads import GRACE, LOOK, Worker

if TYPE_CHECKING:
    from imghost.run.upload import UploadContext

_ENDINGS: Final = tuple(f".{ending}" for ending in endings().split("|"))


def begin(job: Job) -> Early | None:
    """Begin to look at the pages of a site's first build as they are rendered, to upload their images meanwhile.

    Gives None where it is not sure before the first page that this build may upload. What costs money or has a limit
    waits for the whole plan, and so does a build of which others know. Where there is a lock most images are in it: to
    look at each page twice would cost more than it hides.
    """
    job = unfailing(job)
    settings = job.settings
    waits = settings.remote or settings.shared or settings.max_uploads is not None or settings.lock.exists()
    if waits or not job.origins.stands_for_copy:
        return None
    leave = leave_to_upload(settings, job.environ, is_serving=job.is_serving)
    with ExitStack() as held:
        try:
            client = held.enter_context(Client(settings.timeout, environ=job.environ))
            host = open_host(job, None, client)
            if host is None or host.place != "network" or not leave_for(leave, host).may_upload:
                return None
            return None if host.limits.price else Early(job, host, client, held.pop_all())
        except (ImghostError, OSError):  # the run says what it is
            return None


def _load() -> None:
    """Load what uploads need, once one begins: a thread that reads files beside a busy one waits at each of them."""
    import imghost.image.payload
    import imghost.run.upload  # noqa: F401


class _Site(NamedTuple):
    """What a site holds when its first page is rendered: static files, the theme's, and those that plugins made."""

    survey: Survey
    scripts: Scripts
    depending: Dependents
    means: Meaning
    place: urls.Place


class Early:
    """The uploads of one build before its run; all but the sending is done by the thread that renders.

    A context manager, which lets go of what the run goes on with.
    """

    def __init__(self, job: Job, host: Host, client: Client, held: ExitStack) -> None:
        self._job = job
        self._host = host
        self._client = client
        self._held = held
        self._signals = ExitStack()
        self._is_alone = False
        self._cache: Cache | None = None
        self._aside: set[tuple[str, str, str]] = set()
        """What was given to send, and of what else something is known, so that the run has to decide."""
        self._site: _Site | None = None
        self._theme = Theme()
        self._left: set[str] = set()
        """Images of which no page was seen that shows them."""
        self._count = 0
        self._waiting: SimpleQueue[Upload | None] = SimpleQueue()
        self._sender: Worker | None = None
        self._is_over = False
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        self._stop = ""
        self._quota: Quota | HostError | None = None
        self._told: set[str] = set()
        self._seconds = 0.0

    def look(self, path: str, text: str) -> None:
        """Have sent what a rendered page shows and nobody has, as far as that is sure."""
        if self._is_over:
            return
        try:
            for upload in self._shown(path, text):
                self._give(upload)
        except (ImghostError, OSError, MemoryError, RuntimeError):  # the run says what it is
            self._is_over = True

    def end(self) -> Begun | None:
        """Take back what is not begun, wait for what is under way, and tell what came of it.

        None = nobody has seen a page.
        """
        self._is_over = True
        self._waiting.put(None)
        while self._sender and not self._sender.join(LOOK):
            pass
        self._release()
        return self._site and Begun(
            self._client,
            self._host,
            self._site.scripts,
            MappingProxyType(self._outcomes),
            self._stop,
            self._left_of_quota(),
            frozenset(self._told),
            self._seconds,
            is_alone=self._is_alone,
        )

    def _left_of_quota(self) -> Quota | HostError | None:
        """Take off what was sent."""
        quota = self._quota
        if not isinstance(quota, Quota) or quota.remaining is None:
            return quota
        sent = sum(1 for outcome in self._outcomes.values() if outcome.record and outcome.is_new)
        return quota._replace(remaining=quota.remaining - sent)

    def close(self) -> None:
        """Give what is under way a moment to finish, and let go of all; what was earned is kept."""
        self._is_over = True
        self._waiting.put(None)
        if self._sender:
            self._sender.join(GRACE)
        self._release()
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _release(self) -> None:
        atexit.unregister(self.close)
        self._signals.close()

    def _shown(self, path: str, text: str) -> Iterator[Upload]:
        """Find what a page shows for the first time that is sure to be sent."""
        if self._site is None:
            self._site = self._surveyed()
            may_go, files = Judge(self._job.site, self._job.origins), self._site.survey.files
            self._left = {path for path in files if path.lower().endswith(_ENDINGS) and not may_go(path)}
            self._count = len(self._left)
        if not self._left:
            return  # what was found goes on being sent
        groups = self._moving(self._view(path, text, self._site), self._site)
        paths = frozenset[str]().union(*(group.paths for group in groups))
        self._left -= paths
        job = self._job
        if not paths:
            return
        if not (cache := self._opened()):
            self._is_over = True
            return
        images, stays = identify(paths, job.site, job.settings, job.origins, {}, cache)
        for upload in plan(images, stays, groups, {}, self._host, job.settings, job.now()).uploads:
            if self._is_sure(upload):
                yield upload

    def _opened(self) -> Cache | None:
        """Hold the local store from the first image on; None where another build sends, or has sent meanwhile."""
        if self._cache is None:
            settings, owner = self._job.settings, owner_of(self._job.settings, self._host)
            self._is_alone = self._held.enter_context(exclusive(settings.cache_dir, wait=0))
            if not self._is_alone or settings.lock.exists():
                return None
            locks.check_place(settings.lock)
            cache = self._held.enter_context(Cache.load(settings.cache_dir))
            self._aside |= {
                *cache.intents(owner),
                *(record.key for record in cache.records(owner)),
                *refused_by(self._host, settings, self._job.environ, cache),
            }
            self._cache = cache
        return self._cache

    def _surveyed(self) -> _Site:
        job = self._job
        found = survey(job.site, own_report(job))
        scripts = read_scripts(found, Scripts())
        place = urls.place(job.settings.site_url)
        means = meaning(place, found.files, lambda _: False, lambda _: False)
        return _Site(found, scripts, dependents_of(found, scripts), means, place)

    def _view(self, path: str, text: str, site: _Site) -> PageView:
        scan = scan_text(path, text, self._job.settings.references, site.depending.words, self._theme)
        return link(path, Seen((0, 0, 0), scan), site.place, site.means)

    def _moving(self, view: PageView, site: _Site) -> list[Group]:
        """List the groups of a page that nothing holds, and that show an image which no page before it did."""
        shown = {one.group for one, target in view.resolved() if one.kind not in UNSHOWN and target.path in self._left}
        if not shown:
            return []
        ((_, groups),) = find_groups((view,), site.depending, self._host, site.place)
        return [group for number, group in groups.items() if number in shown and not group.held]

    def _is_sure(self, upload: Upload) -> bool:
        """Say whether an upload will be the same whatever other pages say, and nothing was ever known of it."""
        image, settings = upload.image, self._job.settings
        if upload.tier or self._key(upload) in self._aside:
            return False  # a tier may be another for the paths that nobody has seen yet
        return decide(replace(image, is_counted_on=True), self._host, settings) == upload.variant

    def _key(self, upload: Upload) -> tuple[str, str, str]:
        return upload.image.sha256, self._host.name, upload.variant

    def _give(self, upload: Upload) -> None:
        """Have an image sent; with the first one, begin to send."""
        self._aside.add(self._key(upload))
        if not self._sender:
            self._begin()
        self._waiting.put(upload)

    def _begin(self) -> None:
        _load()
        self._client.load()
        self._job.say(f"uploading to {self._host.name} while pages are rendered")
        atexit.register(self.close)  # nobody tells of an interrupt
        self._signals.enter_context(ending_in_order())
        self._sender = Worker(self._serve)
        self._sender.start()

    def _serve(self) -> None:
        """Send what waits, all that is there at a time, until there is no more."""
        with workshop() as folder:
            while not self._is_over and (first := self._waiting.get()):
                began = time.perf_counter()
                try:
                    self._send(first, folder)
                finally:
                    self._seconds += time.perf_counter() - began

    def _send(self, first: Upload, folder: Path) -> None:
        # What uploads need is loaded where one begins.
        from imghost.run.upload import preparing, upload_all

        with locks.opened(self._job.settings.lock, self._job.now()) as lock:
            context = self._context(lock, folder)
            if not (quota := self._asked(context)):
                self._is_over = True
                return
            batch = [first, *self._drained()]
            is_proven = quota.is_proven or any(outcome.record for outcome in self._outcomes.values())
            context = replace(context, is_first_alone=not is_proven, allowance=quota.allowance)
            try:
                with preparing(batch, context) as ready:
                    for outcome in upload_all(batch, ready):
                        self._keep(outcome)
            except StateError:  # the run finds so, too, and says it
                self._is_over, self._stop = True, ""
                self._outcomes = {key: it for key, it in self._outcomes.items() if not it.stop}
            finally:
                self._told |= context.told

    def _context(self, lock: locks.OpenLock, folder: Path) -> UploadContext:
        """Collect what the uploads need, as for a plan in which nothing is known of any image."""
        assert self._site
        assert self._cache
        planned = Planned(
            self._site.survey, PageMap(), (), (), {}, {}, locks.Lock(), self._host, Leave(may_upload=True),
            Plan({}, (), {}), (), {}, self._site.scripts,
        )  # fmt: skip
        context = context_of(self._host, planned, self._job, self._client, self._cache, folder, lock)
        return replace(context, is_over=lambda: self._is_over)

    def _asked(self, context: UploadContext) -> Quota | None:
        """Ask the host of the account, once; None where not all may go, so that the run has to choose."""
        from imghost.run.upload import with_retries

        if self._quota is None:
            try:
                self._quota = with_retries(self._host.ready, context)
            except HostError as refusal:
                self._quota = refusal
        if isinstance(self._quota, HostError):
            return None
        left = self._quota.remaining
        return self._quota if left is None or left >= self._count else None

    def _drained(self) -> Iterator[Upload]:
        while not self._waiting.empty():
            if (upload := self._waiting.get()) is None:
                self._waiting.put(None)
                return
            yield upload

    def _keep(self, outcome: Outcome) -> None:
        """Keep what became of an upload; of one that was not tried nothing did."""
        if outcome.stop and outcome.failure is None:
            return
        if outcome.stop:
            self._is_over, self._stop = True, outcome.stop
        self._outcomes[outcome.upload.image.sha256, outcome.upload.variant] = outcome
        tell_uploaded(outcome, self._job)
