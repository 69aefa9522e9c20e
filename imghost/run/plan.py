"""Everything up to the plan: what a run would do, found without changing anything and without the network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from imghost import urls
from imghost.environment import Leave, leave_to_upload, version
from imghost.hosts import Host, registry
from imghost.models import Facts, Image, Record
from imghost.net.client import Client
from imghost.pages import Survey, survey
from imghost.plan import Group, Plan, decide, plan
from imghost.provenance import Origins, Stay
from imghost.records import lock as locks
from imghost.records.cache import Cache
from imghost.run import local_copies
from imghost.run.progress import Progress
from imghost.settings import Settings
from imghost.site import page_map, pages
from imghost.site.images import identify
from imghost.site.page_map import PageMap
from imghost.site.pages import PageView
from imghost.urls import key_of, selected

_NO_HOST: Final = "no host is chosen and no credential is in the environment; set the option 'host'"


@dataclass(frozen=True, slots=True)
class Job:
    """One run's site and circumstances; time and environment come in from outside."""

    site: Path
    settings: Settings
    environ: Mapping[str, str]
    origins: Origins = field(default_factory=Origins)
    page_map: Path | None = None
    """Where the map of rewritten references lives; None = the generator writes every page again."""
    is_serving: bool = False
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], object] | None = None
    """How to wait between tries; None = as long as asked, or until the run is stopped."""
    patience: float = 30.0
    """Seconds to wait for another build that uploads."""
    say: Callable[[str], None] = lambda _: None
    """Tells the user what is going on, one line at a time."""
    progress: Progress | None = None
    """Shows how far the uploads are; None = a line for each that is done."""


class Notice(NamedTuple):
    """Something worth a warning; `code` is stable, for `suppress_warnings`."""

    code: str
    text: str


class Prospect(NamedTuple):
    """What a run would do, and all that was found on the way."""

    survey: Survey
    known: PageMap
    views: tuple[PageView, ...]
    groups: tuple[tuple[PageView, Mapping[int, Group]], ...]
    images: Mapping[str, Image]
    stays: Mapping[str, Stay]
    lock: locks.Lock
    host: Host | None
    leave: Leave
    plan: Plan
    notices: tuple[Notice, ...]
    seconds: Mapping[str, float]

    @property
    def all_groups(self) -> list[Group]:
        """Every group of every page."""
        return [group for _, groups in self.groups for group in groups.values()]


def foresee(job: Job, client: Client, cache: Cache) -> Prospect:
    """Scan the site, find its images and plan; raises ImghostError for a wrong set-up."""
    started = time.perf_counter()
    settings = job.settings
    lock = locks.read(settings.lock)
    host = _open(job, lock, client)
    known = local_copies.renewed(page_map.load(job.page_map, mark_of(settings)), job.page_map, job.origins)
    found = survey(job.site)
    views, notices = _views(job, found, known, host)
    origins = host.origins if host else ()
    groups = tuple((view, pages.groups_of(view, origins)) for view in views)
    scanned = time.perf_counter()
    paths = {target.path for view in views for _, target in view.resolved()}
    remote = frozenset(path for path in paths if "://" in path)
    images, stays = identify(paths - remote, job.site, job.settings, job.origins, known.removed, cache)
    hashed = time.perf_counter()
    leave = _leave(job, host)
    images |= {url: brought(url) for url in remote}
    records, refused = usable(lock.records, host, images, settings, job.now())
    every = [group for _, of_page in groups for group in of_page.values()]
    planned = _plan(images, stays, every, records, host, settings, job.now())
    seconds = {"scan": scanned - started, "hash": hashed - scanned}
    notices += [Notice("cache", text) for text in cache.warnings] + refused
    return Prospect(found, known, views, groups, images, stays, lock, host, leave, planned, tuple(notices), seconds)


def replanned(prospect: Prospect, job: Job, lock: locks.Lock) -> Prospect:
    """Plan anew with the records of a lock that another build may have changed meanwhile."""
    records, _ = usable(lock.records, prospect.host, prospect.images, job.settings, job.now())
    planned = _plan(
        prospect.images, prospect.stays, prospect.all_groups, records, prospect.host, job.settings, job.now()
    )
    return prospect._replace(lock=lock, plan=planned)


def _open(job: Job, lock: locks.Lock, client: Client) -> Host | None:
    name = registry.chosen(job.settings, job.environ, lock.host)
    return registry.open_host(name, job.settings, job.environ, client, job.site, now=job.now) if name else None


def mark_of(settings: Settings) -> str:
    """Name what decides which references a page has: a map made otherwise does not tell unread pages."""
    return f"{version()} {','.join(sorted(settings.references))}"


def _views(job: Job, found: Survey, known: PageMap, host: Host | None) -> tuple[tuple[PageView, ...], list[Notice]]:
    site = urls.place(job.settings.site_url)
    files = found.files | known.removed.keys()
    is_local = host is not None and not host.needs_network
    remote = job.settings.remote

    def is_ours(path: str) -> bool:
        # A site in this one has its images in a folder of its own, and its own builds look after them.
        parts = path.split("/")
        return is_local and host is not None and any(host.accepts("/".join(parts[n:])) for n in range(len(parts)))

    def is_remote(url: str) -> bool:
        return bool(remote) and selected(url, remote) and not (host is not None and host.accepts(url))

    means = pages.meaning(site, files, is_ours, is_remote)
    views: list[PageView] = []
    notices: list[Notice] = []
    is_css = "css" in job.settings.references
    # Style sheets that an earlier run rewrote must follow also when they are not asked for any more.
    stylesheets = (path for path in found.stylesheets if is_css or path in known.pages)
    for path in (*found.pages, *stylesheets):
        seen = pages.look(job.site, path, job.settings.references, known)
        if seen is None:
            notices.append(Notice("page", f"{path}: left as it is; a page of more than 20 MB is not scanned"))
            continue
        views.append(pages.link(path, seen, site, means))
    return tuple(views), notices


def _leave(job: Job, host: Host | None) -> Leave:
    """Decide whether images may be sent to this host; a part of the site itself may always be written."""
    if host is None:
        return Leave(may_upload=False, reason=_NO_HOST)
    if not host.needs_network:
        return Leave(may_upload=True)
    leave = leave_to_upload(job.settings, job.environ, is_serving=job.is_serving)
    if leave.may_upload and host.lacks_credential:
        variables = " or ".join(registry.host_type(host.name).credentials)
        return Leave(may_upload=False, reason=f"no credential for {host.name} is in the environment ({variables})")
    return leave


def brought(url: str) -> Image:
    """Make the image that stands for an external URL: its digest is the URL's, and nothing else is known of it."""
    return Image(url, key_of(url), 0, Facts("", None, None))


def usable(
    records: Iterable[Record], host: Host | None, images: Mapping[str, Image], settings: Settings, now: datetime
) -> tuple[dict[tuple[str, str, str], Record], list[Notice]]:
    """Select the records that count with the present settings, and warn of those that do not."""
    if host is None:
        return {}, []
    if not host.needs_network:
        return _stored(host, images, settings, now), []
    used = {image.sha256 for image in images.values()}
    own = [record for record in records if record.host == host.name and record.sha256 in used]
    odd = [record for record in own if not host.accepts(record.url)]
    notices = []
    if odd:
        notices.append(
            Notice(
                "lock",
                f"{len(odd)} records in the lock have a URL that is not one of {host.name}'s images with these "
                f"settings and are not used, like {odd[0].url}; take their lines out, or correct the options",
            )
        )
    return {record.key: record for record in own if host.accepts(record.url)}, notices


def _stored(
    host: Host, images: Mapping[str, Image], settings: Settings, now: datetime
) -> dict[tuple[str, str, str], Record]:
    """Ask a host of this machine which images it has already; their files are their records."""
    found: dict[tuple[str, str, str], Record] = {}
    for image in images.values():
        variant = decide(image, host.limits, settings)
        if isinstance(variant, str) and (hosted := host.stored(image, variant)):
            facts = image.facts
            record = Record(
                image.sha256, host.name, hosted.url, hosted.id, variant, image.bytes,
                facts.media_type, facts.width, facts.height, now,
            )  # fmt: skip
            found[record.key] = record
    return found


def _plan(
    images: Mapping[str, Image],
    stays: Mapping[str, Stay],
    groups: Iterable[Group],
    records: Mapping[tuple[str, str, str], Record],
    host: Host | None,
    settings: Settings,
    now: datetime,
) -> Plan:
    if host is None:
        kept = dict(stays) | {path: Stay(_NO_HOST) for path in images}
        return Plan({}, (), kept)
    return plan(images, stays, list(groups), records, host, settings, now)
