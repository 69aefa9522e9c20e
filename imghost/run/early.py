"""Uploads that begin while the generator still renders, so that they hide behind it.

Rendered pages are looked at in memory and stay as they are: what becomes of a page is decided at the end as ever. An
image goes early only where it is sure that the run would send it, too, whatever else the site will hold; all others
wait for the run.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Final, Self

from imghost import urls
from imghost.environment import leave_to_upload
from imghost.errors import ImghostError
from imghost.hosts import Host
from imghost.html import Theme
from imghost.models import NamedTuple, endings
from imghost.net import Client
from imghost.records.cache import Cache
from imghost.run.job import Begun, Job, Sent, Upload, unfailing
from imghost.run.plan import decide, find_groups, leave_for, open_host, own_report, plan
from imghost.run.publish import ending_in_order
from imghost.run.report import tell_uploaded
from imghost.run.sending import Given, Room, Sender, is_known, may_send
from imghost.site.dependents import Dependents, dependents_of, read_scripts
from imghost.site.images import Judge, identify
from imghost.site.page_map import Scripts
from imghost.site.pages import UNSHOWN, Group, Meaning, PageView, Seen, link, meaning, scan_text
from imghost.site.survey import Survey, survey
from imghost.threads import GRACE

_ENDINGS: Final = tuple(f".{ending}" for ending in endings().split("|"))


def begin(job: Job) -> Early | None:
    """Begin to look at the pages of a site's first build as they are rendered, to upload their images meanwhile.

    Gives None where it is not sure before the first page that this build may upload. What costs money or has a limit
    waits for the whole plan, and so does a build of which others know. Where there is a lock most images are in it, and
    a local store may know of uploads: to look at each page twice would cost more than it hides.
    """
    job = unfailing(job)
    settings = job.settings
    waits = settings.remote or settings.shared or settings.max_uploads is not None or is_known(settings)
    if waits or not job.origins.stands_for_copy or not may_send():
        return None
    leave = leave_to_upload(settings, job.environ, is_serving=job.is_serving)
    with ExitStack() as stack:
        try:
            client = stack.enter_context(Client(settings.timeout, environ=job.environ))
            host = open_host(job, None, client)
            if host is None or host.place != "network" or not leave_for(leave, host).may_upload:
                return None
            return None if host.limits.price else Early(job, host, client, _started(job), stack.pop_all())
        except (ImghostError, OSError):  # the run says what it is
            return None


def _started(job: Job) -> Sender:
    """Start the process that sends; raises OSError."""
    settings = replace(job.settings, options=dict(job.settings.options))  # what only shows a mapping has no copy
    sender = Sender()
    sender.give(Given(job.site, settings, dict(job.environ)))
    return sender


class _Site(NamedTuple):
    """What a site holds when its first page is rendered: static files, the theme's, and those that plugins made."""

    survey: Survey
    scripts: Scripts
    depending: Dependents
    means: Meaning
    place: urls.Place


class Early:
    """The uploads of one build before its run: what is sure to go is found here, and a process of its own sends it.

    A context manager, which lets go of what the run goes on with.
    """

    def __init__(self, job: Job, host: Host, client: Client, sender: Sender, held: ExitStack) -> None:
        self._job = job
        self._host = host
        self._client = client
        self._sender = sender
        self._held = held
        self._signals = ExitStack()
        self._known = Cache(job.settings.cache_dir, {}, (), is_writable=False)
        """What is found out of files; the store itself is for the process that sends."""
        self._given: set[tuple[str, str]] = set()
        self._site: _Site | None = None
        self._theme = Theme()
        self._left: set[str] = set()
        """Images of which no page was seen that shows them."""
        self._is_over = False
        self._sent: Sent | None = None
        atexit.register(self.close)  # nobody tells of an interrupt

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
        """Give no more; what was given goes on being sent. None = nobody has seen a page."""
        self._is_over = True
        if self._site is None:
            return None
        if self._sent is None:
            with suppress(OSError):  # it has ended before
                self._sender.give(None)
        return Begun(self._client, self._host, self._site.scripts, self._known, self._given, self._ended)

    def close(self) -> None:
        """Give what is under way a moment to finish, and let go of all; what was earned is kept."""
        self._ended(GRACE)
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ended(self, patience: float | None = None) -> Sent:
        """Wait for the end of what is sent, and tell the user what was."""
        self._is_over = True
        if self._sent is None:
            if not self._given:
                self._sender.kill()
            self._sent, receipts, problem = self._sender.end(patience)
            for line in receipts:
                (self._job.receipt or self._job.say)(line)
            for outcome in self._sent.outcomes.values():
                tell_uploaded(outcome, self._job)
            if problem and self._given:
                self._job.detail(f"no more was uploaded while pages were rendered: {problem}")
            atexit.unregister(self.close)
            self._signals.close()
        return self._sent

    def _shown(self, path: str, text: str) -> Iterator[Upload]:
        """Find what a page shows for the first time that is sure to be sent."""
        if self._site is None:
            self._site = self._surveyed()
            may_go, files = Judge(self._job.site, self._job.origins), self._site.survey.files
            self._left = {path for path in files if path.lower().endswith(_ENDINGS) and not may_go(path)}
            self._sender.give(Room(len(self._left)))
        if not self._left:
            return  # what was found goes on being sent
        groups = self._moving(self._view(path, text, self._site), self._site)
        paths = frozenset[str]().union(*(group.paths for group in groups))
        self._left -= paths
        job = self._job
        if not paths:
            return
        images, stays = identify(paths, job.site, job.settings, job.origins, {}, self._known)
        for upload in plan(images, stays, groups, {}, self._host, job.settings, job.now()).uploads:
            if self._is_sure(upload):
                yield upload

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
        """Say whether an upload will be the same whatever other pages say."""
        if upload.tier or upload.is_size:
            return False  # a tier may be another for paths that nobody has seen yet, and sizes come behind all images
        always = decide(replace(upload.image, is_counted_on=True), self._host, self._job.settings)
        return always == upload.variant

    def _give(self, upload: Upload) -> None:
        """Have an image sent, once."""
        if (key := (upload.image.sha256, upload.variant)) in self._given:
            return
        if not self._given:
            self._job.say(f"uploading to {self._host.name} while pages are rendered")
            self._signals.enter_context(ending_in_order())
        self._given.add(key)
        self._sender.give(upload)
