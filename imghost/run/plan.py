"""Site, lock and host to a plan: what is reused, what is uploaded, what stays and why. Sends nothing."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Final

from imghost import urls
from imghost.environment import Leave, leave_to_upload, version
from imghost.errors import BudgetError
from imghost.hosts import Deletes, Host, limits_at, registry, sorts, varies
from imghost.html import Theme
from imghost.models import FORMAT_NAMES, IMPORT, RASTER, Facts, Image, Limits, NamedTuple, Record, Refused
from imghost.net import Client
from imghost.records import confirmed, covers, falls_short, lasts, needs_renewal, owns
from imghost.records import lock as locks
from imghost.records.cache import Cache
from imghost.run import local_copies
from imghost.run.job import Job, Notice, Plan, Planned, Upload, cost_of, is_size
from imghost.settings import Settings
from imghost.site import page_map, pages
from imghost.site.dependents import Dependents, dependents_of, read_scripts
from imghost.site.images import Stay, identify, is_page
from imghost.site.page_map import PageMap, Scripts
from imghost.site.pages import Group, PageView
from imghost.site.survey import KEPT, Survey, survey
from imghost.urls import key_of, selected
from imghost.wording import limit, many, money, size

_CONVERTED: Final = frozenset({"image/png", "image/jpeg", "image/gif"})
"""What may be smaller in another format; the payload tells, and each image is tried once, ever."""


class Refusal(NamedTuple):
    """Why a host gets no payload of an image, and what the user can change."""

    reason: str
    remedy: str = ""
    code: str = ""
    """The code of the warning that it is worth; empty where nothing is wrong, as with a format that a host lacks."""
    brief: str = ""
    """Reason and remedy where the image's size stands beside them."""


def variant_of(
    image: Image,
    limits: Limits,
    *,
    metadata: str,
    max_edge: int | None,
    oversize: str,
    format: str | None = None,  # noqa: A002 - the option's name
    quality: int = 80,
    width: int | None = None,
    host: str = "the host",
) -> str | Refusal:
    """Decide what is done to an image's bytes before its upload; pure. `host` is how messages name the host.

    The parts, joined by `+`: `strip`, `edge<pixels>`, `width<pixels>`, `fit<bytes>`, and a format, with its quality
    where it loses something; empty = nothing. What is asked for is a part even where it turns out to gain nothing.
    """
    facts = image.facts
    if refusal := _refusal(image, limits, metadata, host):
        return refusal
    is_raster = facts.media_type in RASTER
    parts: list[str] = []
    if metadata == "strip" and facts.has_metadata:
        parts.append("strip")
    scales = is_raster and not (facts.is_animated and facts.media_type == "image/avif")
    if scales and max_edge and max(facts.width or 0, facts.height or 0) > max_edge:
        parts.append(f"edge{max_edge}")
    if width is not None:
        parts.append(f"width{width}")
    most = limits.sure_bytes if oversize == "resize" and scales and limits.sure_bytes else limits.max_bytes
    if most is not None and image.bytes > most:
        if oversize != "resize" or not scales:
            return _too_large(image.bytes, most, host, can_resize=scales)
        parts.append(f"fit{most}")
    if format and _converts(facts, limits, metadata, format):
        parts.append(format + (str(quality) if facts.media_type == "image/jpeg" else ""))
    return "+".join(parts)


def _converts(facts: Facts, limits: Limits, metadata: str, name: str) -> bool:
    """Say whether an image may become smaller in another format, and still be shown as it was."""
    if f"image/{name}" not in limits.formats or facts.is_animated or facts.natural:
        return False
    return facts.media_type in _CONVERTED and not (metadata == "keep" and facts.has_metadata)


def _too_large(count: int, most: int, host: str, *, can_resize: bool) -> Refusal:
    remedy = "set `oversize: resize`" if can_resize else "make it smaller"
    is_close = size(count) == size(most)
    taken, takes = (f"{count:,} bytes", f"{most:,}") if is_close else (size(count), limit(most))
    return Refusal(
        f"it is {taken} and {host} takes {takes}",
        f"{remedy} or `exclude` it",
        "oversize",
        f"is over the {limit(most)} of {host}; {remedy}",
    )


def _refusal(image: Image, limits: Limits, metadata: str, host: str) -> Refusal | None:
    """Say why an image cannot go to a host, whatever its size."""
    facts = image.facts
    if facts.media_type not in limits.formats:
        # A host's formats are no fault of the site, so there is nothing to warn of.
        reason = f"{FORMAT_NAMES[facts.media_type]}, which {host} does not take"
        return Refusal(reason, "convert or exclude it", brief=reason)
    if facts.media_type == "image/png" and facts.is_animated and not limits.keeps_animated_png:
        reason = "it is an animated PNG, of which the host would keep one frame"
        return Refusal(reason, "make it a GIF or a WebP, or exclude it", "animated")
    if metadata == "refuse" and facts.has_metadata:
        reason = "it has metadata, or bytes after its end, and 'metadata' is 'refuse'"
        return Refusal(reason, "remove them, or set 'metadata: strip'", "metadata")
    return None


MAX_IMPORTS: Final = 200
"""External images that one build brings home, unless `max_uploads` says otherwise: pages may be strangers'."""


def plan(
    images: Mapping[str, Image],
    stays: Mapping[str, Stay],
    groups: Sequence[Group],
    records: Mapping[tuple[str, str, str], Record],
    host: Host,
    settings: Settings,
    now: datetime,
    sized: Collection[str] = (),
) -> Plan:
    """Sort the images into those to reuse, to upload and to keep.

    `images` and `stays` share no path. Images with the same bytes count once. What appears only in
    groups that cannot move is kept, so that nothing is uploaded for nothing. `sized` are the paths of images for
    which a page can use smaller sizes.
    """
    variants, refused = _variants(images, host, settings)
    staying = dict(stays) | refused
    needed = _needed(groups, staying)
    reused: dict[str, Record] = {}
    uploads: dict[tuple[str, str], Upload] = {}
    sizes: dict[str, tuple[Record, ...]] = {}
    short: set[tuple[str, str]] = set()
    for path in sorted(needed):
        image = images[path]
        for variant in (variants[path], *(_sizes(image, host, settings) if path in sized else ())):
            record = records.get((image.sha256, host.name, variant))
            if record and covers(record, now):
                if is_size(variant):
                    sizes[path] = (*sizes.get(path, ()), record)
                else:
                    reused[path] = record
            is_due = record is None or needs_renewal(record, settings.renew_before, now)
            if not is_due and record and host.place == "network" and falls_short(record, settings.retention):
                short.add((image.sha256, variant))
            if is_due or (image.sha256, variant) in short:
                known = uploads.get((image.sha256, variant))
                paths = (*known.paths, path) if known else (path,)
                upload = Upload(known.image if known else image, variant, paths, record)
                uploads[image.sha256, variant] = _on_terms(upload, host)
    staying |= _left_out(groups, staying, needed)
    chosen = tuple(sorted(uploads.values(), key=lambda upload: upload.is_size))
    planned = Plan(reused, chosen, staying, host.limits.price, host.limits.is_price_certain, sizes)
    return _with_short(planned, short, settings) if short else planned


def _with_short(plan: Plan, short: Collection[tuple[str, str]], settings: Settings) -> Plan:
    """Store anew what was stored for less than is asked for now, as far as the budget goes: it lives meanwhile."""
    again = [upload for upload in plan.uploads if (upload.image.sha256, upload.variant) in short]
    chosen = [upload for upload in plan.uploads if upload not in again]
    room = max(len(chosen), _room([*chosen, *again], plan, settings))
    paths = tuple(sorted(path for upload in again for path in upload.paths))
    return plan._replace(uploads=(*chosen, *again[: room - len(chosen)]), short=paths)


def _on_terms(upload: Upload, host: Host) -> Upload:
    """Name the terms that an upload's paths choose, and what it costs on them."""
    tier = host.tier_of(upload.paths) if sorts(host) else ""
    return upload._replace(tier=tier, price=limits_at(host, upload.paths).price) if tier else upload


def _sizes(image: Image, host: Host, settings: Settings) -> list[str]:
    """Name the variants that are smaller sizes of an image, the widths that the settings ask for; none enlarges it."""
    facts = image.facts
    if not makes_sizes(settings, host) or facts.media_type not in RASTER or facts.is_animated or facts.natural:
        return []
    if image.is_counted_on or not facts.width or not facts.height:
        return []
    longest = max(facts.width, facts.height)
    width = facts.width * min(settings.max_edge or longest, longest) // longest
    variants = (decide(image, host, settings, size) for size in settings.widths if size < width)
    return [variant for variant in variants if isinstance(variant, str)]


def makes_sizes(settings: Settings, host: Host) -> bool:
    """Say whether smaller sizes are made here: only where the host does not make them."""
    return settings.responsive and not varies(host)


def _sized(views: Iterable[PageView]) -> frozenset[str]:
    """List the images that pages show by an element of their own, without sizes that the author wrote."""
    paths: set[str] = set()
    for view in views:
        members = Counter(reference.group for reference, _ in view.resolved() if reference.kind == "img")
        paths |= {
            target.path
            for reference, target in view.resolved()
            if reference.kind == "img" and not reference.in_srcset and members[reference.group] == 1
        }
    return frozenset(paths)


def _variants(images: Mapping[str, Image], host: Host, settings: Settings) -> tuple[dict[str, str], dict[str, Stay]]:
    variants: dict[str, str] = {}
    refused: dict[str, Stay] = {}
    for path, image in images.items():
        variant = decide(image, host, settings)
        if isinstance(variant, Refusal):
            refused[path] = Stay(variant.reason, variant.remedy, variant.code, variant.brief)
        else:
            variants[path] = variant
    return variants, refused


def decide(image: Image, host: Host, settings: Settings, width: int | None = None) -> str | Refusal:
    """Decide what is done to an image before it is sent: the variant, or why it is not sent.

    `width` asks for a smaller size of it, in pixels.
    """
    if "://" in image.path:
        return IMPORT
    may_resize = not image.is_counted_on
    decided = variant_of(
        image,
        limits_at(host, (image.path,)),
        metadata=settings.metadata,
        max_edge=settings.max_edge if may_resize else None,
        oversize=settings.oversize if may_resize else "keep",
        host=host.name,
        format=None if varies(host) else settings.format,
        quality=settings.quality,
        width=width,
    )
    if isinstance(decided, Refusal) and decided.code == "oversize" and not may_resize and settings.oversize == "resize":
        return decided._replace(remedy=_COUNTED)
    return decided


_COUNTED: Final = "make it smaller by hand: an image map, a srcset or a size in the page counts on its pixels"


def _counted(views: Iterable[PageView]) -> frozenset[str]:
    """List the images whose size in pixels a page counts on."""
    targets = (view.targets[at] for view in views for at in view.scan.fixed if at < len(view.targets))
    return frozenset(target.path for target in targets if target)


def _needed(groups: Iterable[Group], staying: Mapping[str, Stay]) -> set[str]:
    """Collect the images of the groups that can move."""
    needed: set[str] = set()
    for group in groups:
        if not group.held and staying.keys().isdisjoint(group.paths):
            needed |= group.paths
    return needed


def _left_out(groups: Iterable[Group], staying: Mapping[str, Stay], needed: set[str]) -> dict[str, Stay]:
    """Say why an image stays whose every group stays."""
    left: dict[str, Stay] = {}
    for group in groups:
        for path in sorted(group.paths - needed - staying.keys()):
            beside = next((other for other in sorted(group.paths) if other in staying), None)
            reason = group.held or f"moves together with {beside}, which stays local"
            left.setdefault(path, Stay(reason))
    return left


def within_budget(plan: Plan, settings: Settings, now: datetime) -> tuple[Plan, Plan]:
    """Give what the budget allows of a plan, and what of it has to wait; raises BudgetError where that is everything.

    Renewals of what still lives come first, as far as the budget goes, soonest end first: else pages would lose
    images that they have. New images go all or not at all.
    """
    renewals = sorted(
        (upload for upload in plan.uploads if covers(upload.renewed, now)),
        key=lambda upload: (upload.renewed and upload.renewed.expires) or now,
    )
    if not renewals or _room(plan.uploads, plan, settings) == len(plan.uploads):
        check_budget(plan, settings)
        return plan, plan._replace(uploads=())
    new = tuple(upload for upload in plan.uploads if not covers(upload.renewed, now))
    room = _room(renewals, plan, settings)
    going, waiting = tuple(renewals[:room]), tuple(renewals[room:])
    if _room(going + new, plan, settings) == len(going + new):
        going, new = going + new, ()
    return plan._replace(uploads=going), plan._replace(uploads=new + waiting)


def _room(uploads: Sequence[Upload], plan: Plan, settings: Settings) -> int:
    """Say how many of some uploads, from the first on, the budget allows."""
    most = len(uploads) if settings.max_uploads is None else min(settings.max_uploads, len(uploads))
    if not plan.is_price_certain:
        return most
    costs = accumulate(cost_of([upload], plan.price) for upload in uploads[:most])
    return next((n for n, cost in enumerate(costs) if cost > settings.max_cost), most)


def check_budget(plan: Plan, settings: Settings) -> None:
    """Refuse a plan over `max_uploads` or `max_cost` as a whole; raises BudgetError with what it would take."""
    count = len(plan.uploads)
    imports = sum(1 for upload in plan.uploads if upload.variant == IMPORT)
    if settings.max_uploads is None and imports > MAX_IMPORTS:
        raise BudgetError(
            f"{imports} external images would be brought to the host, more than {MAX_IMPORTS}: nothing is uploaded; "
            f"make the globs in 'remote' narrower, or set max_uploads: {count}"
        )
    if settings.max_uploads is not None and count > settings.max_uploads:
        raise BudgetError(
            f"{many(count, 'image')} ({size(plan.bytes)}) would be uploaded, over max_uploads ({settings.max_uploads})"
            f": nothing is uploaded; set max_uploads: {count}, or look at `imghost plan`"
        )
    if plan.is_price_certain and plan.cost > settings.max_cost:
        each = "" if plan.tiers else f" at {money(plan.price)} each"
        raise BudgetError(
            f"{many(count, 'image')}{each} would cost {money(plan.cost)}, over max_cost "
            f"({money(settings.max_cost)}): "
            f"nothing is uploaded; set max_cost: {plan.cost}, or look at `imghost plan`"
        )


_NO_HOST: Final = "no host is chosen and no credential is in the environment; set the option 'host'"


def plan_run(job: Job, client: Client, cache: Cache) -> Planned:
    """Scan the site, find its images and plan; raises ImghostError for a wrong set-up."""
    started = time.perf_counter()
    with locks.opened(job.settings.lock, job.now(), cache) as opened:
        return _planned(opened, job, client, cache, started)


def _planned(opened: locks.OpenLock, job: Job, client: Client, cache: Cache, started: float) -> Planned:
    settings = job.settings
    host = job.begun.host if job.begun else open_host(job, opened.host, client)
    found = survey(job.site, own_report(job))
    known, scripts = _remembered(job, found)
    depending = dependents_of(found, scripts)
    views, notices = _views(job, found, known, host, depending.words)
    groups = find_groups(views, depending, host, urls.place(settings.site_url))
    scanned = time.perf_counter()
    paths = {target.path for view in views for _, target in view.resolved()}
    remote = frozenset(path for path in paths if "://" in path)
    images, stays = identify(paths - remote, job.site, job.settings, job.origins, known.removed, cache)
    if pages_linked := _pages_linked(views, stays):
        views = tuple(map(partial(_without, pages_linked), views))
        groups = find_groups(views, depending, host, urls.place(settings.site_url))
        stays = {path: stay for path, stay in stays.items() if path not in pages_linked}
    images |= {path: replace(images[path], is_counted_on=True) for path in _counted(views) & images.keys()}
    hashed = time.perf_counter()
    network = leave_to_upload(settings, job.environ, is_serving=job.is_serving)
    images |= {url: brought(url) for url in remote}
    lock = opened.of(image.sha256 for image in images.values())
    records, refused = _usable(lock, host, images, job)
    every = [group for _, of_page in groups for group in of_page.values()]
    chosen = _plan(images, stays, every, records, host, settings, job.now(), views)
    chosen = _with_spares(chosen, host, lock, cache, settings, job.now())
    if not network.may_upload and host is not None and host.place != "network":
        chosen = _without_imports(chosen, network)
    leave = leave_for(network, host)
    chosen = without_refused(chosen, host, leave, job, cache)
    seconds = {"scan": scanned - started, "hash": hashed - scanned}
    notices += [Notice("cache", text) for text in cache.warnings] + refused
    return Planned(
        found, known, views, groups, images, stays, lock, host, leave, chosen, tuple(notices), seconds, scripts
    )


def _remembered(job: Job, found: Survey) -> tuple[PageMap, Scripts]:
    """Give what the last run knew of the site, as far as it counts with these settings, and what its scripts do."""
    last = page_map.load(job.page_map)
    # Another version may read scripts otherwise, as it may scan pages.
    is_ours = last.mark.partition(" ")[0] == version()
    scripts = read_scripts(found, job.begun.scripts if job.begun else last.scripts if is_ours else Scripts())
    last = page_map.marked(last, mark_of(job.settings) + scripts.mark)
    return local_copies.renewed(last, job.page_map, job.origins), scripts


def own_report(job: Job) -> tuple[str, ...]:
    """Name the report that an earlier run wrote into the site: it names every image, and is none of its pages."""
    report, site = job.settings.report, os.path.abspath(job.site)  # noqa: PTH100 - links stay
    where = os.path.abspath(report) if report else ""  # noqa: PTH100
    if report is None or not where.startswith(f"{site}{os.sep}") or not is_report(report):
        return ()
    return (where[len(site) + 1 :].replace(os.sep, "/"),)


_REPORTS: Final = (b'"imghost_report"', b"imghost report</title>")
"""What stands at the beginning of each report that any version has written."""


def is_report(path: Path) -> bool:
    """Say whether a file is an earlier run's report."""
    try:
        with path.open("rb") as file:
            start = file.read(64 * 1024)
    except OSError:
        return False
    return any(mark in start for mark in _REPORTS)


def replanned(planned: Planned, job: Job, lock: locks.Lock, cache: Cache) -> Planned:
    """Plan anew with the records of a lock that another build may have changed meanwhile."""
    records, _ = _usable(lock, planned.host, planned.images, job)
    now, every, host = job.now(), planned.all_groups, planned.host
    chosen = _plan(planned.images, planned.stays, every, records, host, job.settings, now, planned.views)
    chosen = _with_spares(chosen, host, lock, cache, job.settings, now)
    chosen = without_refused(chosen, host, planned.leave, job, cache)
    return planned._replace(lock=lock, plan=chosen)


def _with_spares(
    chosen: Plan, host: Host | None, lock: locks.Lock, cache: Cache, settings: Settings, now: datetime
) -> Plan:
    """Name for each upload the record that would spare it, once its URL is confirmed: nothing is sent twice.

    Such are what the local store alone knows, and what the lock has unconfirmed. One that must be renewed itself
    spares nothing, whatever else is in it.
    """
    if host is None or host.place != "network" or not chosen.uploads:
        return chosen
    spares: dict[tuple[str, str, str], Record] = {}
    for record in sorted((*cache.records(owner_of(settings, host)), *lock.unconfirmed), key=_end):
        is_good = lasts(confirmed(record), settings.renew_before, settings.retention, now)
        if is_good and owns(record, host.name, host.accepts):
            spares[record.key] = record
    if not spares:
        return chosen
    uploads = (
        upload._replace(spare=spares.get((upload.image.sha256, host.name, upload.variant))) for upload in chosen.uploads
    )
    return chosen._replace(uploads=tuple(uploads))


_WEEK: Final = timedelta(days=7)
"""How long a refusal counts of what was brought from a URL, where nothing here tells that it is another image now."""


def without_refused(chosen: Plan, host: Host | None, leave: Leave, job: Job, cache: Cache) -> Plan:
    """Set aside what the host has refused for good: it is not sent again until the image or the terms are others.

    A record that would spare the upload counts first. A build that may not upload has nothing to set aside.
    """
    if host is None or host.place != "network" or not leave.may_upload or not chosen.uploads:
        return chosen
    known = refused_by(host, job.settings, job.environ, cache)
    aside: list[tuple[Upload, Refused]] = []
    for upload in chosen.uploads:
        last = known.get((upload.image.sha256, host.name, upload.variant))
        is_old = last and upload.variant == IMPORT and abs(job.now() - last.since) > _WEEK
        if last and not is_old and not upload.spare and not (job.begun and job.begun.has(upload)):
            aside.append((upload, last))
    names = {id(upload) for upload, _ in aside}
    left = tuple(upload for upload in chosen.uploads if id(upload) not in names)
    paths = {path for upload, _ in aside for path in upload.paths}
    short = tuple(path for path in chosen.short if path not in paths)
    return chosen._replace(uploads=left, refused=tuple(aside), short=short)


def refused_by(
    host: Host, settings: Settings, environ: Mapping[str, str], cache: Cache
) -> dict[tuple[str, str, str], Refused]:
    """List what a host has refused of this project for good, on the terms of now."""
    known = cache.refused(owner_of(settings, host))
    terms = terms_of(settings, environ, host) if known else ""
    return {key: last for key, last in known.items() if last.terms == terms}


def words_of(last: Refused) -> tuple[str, str]:
    """Give the reason and the remedy of what a host has refused before."""
    remedies = last.remedy, "or have it tried once more with `imghost status --again`"
    reason = f"{last.reason}; that was on {last.since:%Y-%m-%d}, and it is not sent again"
    return reason, ", ".join(filter(None, remedies))


def terms_of(settings: Settings, environ: Mapping[str, str], host: Host) -> str:
    """Name all of the settings that a host's refusal may depend on, the credential included, and this version.

    Of a credential four bytes of a digest stand in it: enough to see that it is another one, and nothing to guess by.
    """
    limits = host.limits
    takes = sorted(limits.formats), limits.max_bytes, limits.sure_bytes, limits.retention
    credentials = [environ.get(name, "") for name in registry.host_type(host.name).credentials]
    mark = hashlib.sha256("\0".join(credentials).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    options = sorted((name, str(value)) for name, value in settings.options.items())
    terms = repr((version(), options, takes, settings.retention, mark))
    return hashlib.sha256(terms.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _end(record: Record) -> tuple[datetime, datetime]:
    return record.expires or datetime.max.replace(tzinfo=UTC), record.uploaded


_PLACES: Final = ("api_url", "base_url", "bucket", "endpoint_url", "folder", "namespace", "path", "prefix", "project")
"""Options that say where a host puts a project's images."""


def owner_of(settings: Settings, host: Host) -> str:
    """Name what owns the records that a local store keeps: the lock, and the place and account at the host.

    Projects share a store, in one repository or on one machine; what one has stored the other may not count on.
    """
    places = sorted((name, str(value)) for name, value in settings.options.items() if name in _PLACES)
    lock = os.path.relpath(settings.lock, settings.cache_dir)
    project = host.project if isinstance(host, Deletes) else ""
    return repr((lock, host.name, host.account, project, places))


def open_host(job: Job, last: str | None, client: Client) -> Host | None:
    """Open the host that is meant; None where there is none. Raises SettingsError."""
    name = registry.chosen(job.settings, job.environ, last)
    return registry.open_host(name, job.settings, job.environ, client, job.site, now=job.now) if name else None


def mark_of(settings: Settings) -> str:
    """Name what decides which references a page has: a map made otherwise does not tell unread pages."""
    return f"{version()} {','.join(sorted(settings.references))}"


def find_groups(
    views: tuple[PageView, ...], depending: Dependents, host: Host | None, site: urls.Place
) -> tuple[tuple[PageView, Mapping[int, Group]], ...]:
    """Collect what moves together in each page, and what holds it."""
    origins = host.origins if host else ()
    vouched = _vouched(views, site, depending.files)
    own, origin = urls.origin_of(site), origins[0] if origins else ""

    def groups_of(
        view: PageView, moving: frozenset[str] = frozenset(), moved: frozenset[str] = frozenset()
    ) -> Mapping[int, Group]:
        return pages.groups_of(view, origins, own, depending.asked_of(view, origin, vouched), moving, moved)

    # What style sheets show from the host, pages may preload from there.
    sheets = {view.path: groups_of(view) for view in views if view.path.endswith(".css")}
    moving = frozenset[str]().union(*(one.paths for of in sheets.values() for one in of.values() if not one.held))
    found = tuple((view, sheets[view.path] if view.path in sheets else groups_of(view, moving)) for view in views)
    if any(view.scan.early for view in views):
        # What a page fetches for a later one goes with what any page shows.
        moved = _moved(found)
        found = tuple((view, groups_of(view, moving, moved) if view.scan.early else groups) for view, groups in found)
    return found


def _moved(found: Iterable[tuple[PageView, Mapping[int, Group]]]) -> frozenset[str]:
    """List the images that pages show and that nothing holds there."""
    return frozenset(
        target.path
        for view, groups in found
        for one, target in view.resolved()
        if one.kind not in pages.UNSHOWN and not groups[one.group].held
    )


def _pages_linked(views: Iterable[PageView], stays: Mapping[str, Stay]) -> set[str]:
    """List the pages under an image's name that are only linked to: they are no images, and nobody's concern."""
    linked = {path for path, stay in stays.items() if is_page(stay)}
    if not linked:
        return linked
    shown = (target.path for view in views for reference, target in view.resolved() if reference.kind != "link")
    return linked.difference(shown)


def _without(paths: set[str], view: PageView) -> PageView:
    """Let references to these paths be somebody else's."""
    return view._replace(targets=tuple(None if target and target.path in paths else target for target in view.targets))


def _vouched(views: Iterable[PageView], site: urls.Place, files: frozenset[str]) -> frozenset[str]:
    """List the style sheets for whose bytes a page vouches."""
    targets = (urls.resolve(url, view.base, site, files) for view in views for url in view.scan.vouched)
    return frozenset(target.path for target in targets if target)


def _views(
    job: Job, found: Survey, known: PageMap, host: Host | None, words: frozenset[str]
) -> tuple[tuple[PageView, ...], list[Notice]]:
    site = urls.place(job.settings.site_url)
    files = found.files | known.removed.keys()
    is_local = host is not None and host.place != "network"
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
    room = KEPT
    is_css = "css" in job.settings.references
    # Style sheets that an earlier run rewrote must follow also when they are not asked for any more.
    stylesheets = (path for path in found.stylesheets if is_css or path in known.pages)
    theme, remembers = Theme(), job.page_map is not None
    for path in (*found.pages, *stylesheets):
        seen = pages.look(job.site, path, job.settings.references, known, words, theme, remembers=remembers)
        if seen is None:
            notices.append(Notice("page", f"{path}: left as it is; a page of more than 20 MB is not scanned"))
            continue
        view = pages.link(path, seen, site, means, keeps=room > 0)
        room -= len(view.content or b"")
        views.append(view)
    return tuple(views), notices


def leave_for(network: Leave, host: Host | None) -> Leave:
    """Decide whether images may be sent to this host; a part of the site itself may always be written."""
    if host is None:
        return Leave(may_upload=False, reason=_NO_HOST)
    if host.place != "network":
        return Leave(may_upload=True)
    if network.may_upload and host.lacks_credential:
        variables = " or ".join(registry.host_type(host.name).credentials)
        return Leave(may_upload=False, reason=f"no credential for {host.name} is in the environment ({variables})")
    return network


def _without_imports(chosen: Plan, network: Leave) -> Plan:
    """Leave external images where they are: for a host in the site they alone need the network."""
    barred = {path for upload in chosen.uploads if upload.variant == IMPORT for path in upload.paths}
    own = tuple(upload for upload in chosen.uploads if upload.variant != IMPORT)
    stay = Stay(network.reason, code=network.code)
    return chosen._replace(uploads=own, staying={**chosen.staying, **dict.fromkeys(barred, stay)})


def brought(url: str) -> Image:
    """Make the image that stands for an external URL: its digest is the URL's, and nothing else is known of it."""
    return Image(url, key_of(url), 0, Facts("", None, None))


def _usable(
    lock: locks.Lock, host: Host | None, images: Mapping[str, Image], job: Job
) -> tuple[dict[tuple[str, str, str], Record], list[Notice]]:
    """Select the records that count for this run; those of what it has begun to upload come with their outcomes."""
    records, notices = usable(lock.records, host, images, job.settings, job.now())
    return job.begun.without(records) if job.begun else records, notices


def usable(
    records: Iterable[Record], host: Host | None, images: Mapping[str, Image], settings: Settings, now: datetime
) -> tuple[dict[tuple[str, str, str], Record], list[Notice]]:
    """Select the records that count with the present settings, and warn of those that do not."""
    if host is None:
        return {}, []
    if host.place != "network":
        return _stored(host, images, settings, now), []
    used = {image.sha256 for image in images.values()}
    own = [record for record in records if record.host == host.name and record.sha256 in used]
    odd = [record for record in own if not host.accepts(record.url)]
    notices = []
    if odd:
        notices.append(
            Notice(
                "lock",
                f"{many(len(odd), 'record')} in the lock {'has' if len(odd) == 1 else 'have'} a URL that is not one of "
                f"{host.name}'s images with these settings, and {'is' if len(odd) == 1 else 'are'} not used, like "
                f"{odd[0].url}; take such lines out, or correct the options",
            )
        )
    return {record.key: record for record in own if owns(record, host.name, host.accepts)}, notices


def _stored(
    host: Host, images: Mapping[str, Image], settings: Settings, now: datetime
) -> dict[tuple[str, str, str], Record]:
    """Ask a host of this machine which images it has already; their files are their records."""
    found: dict[tuple[str, str, str], Record] = {}
    for image in images.values():
        variants = (decide(image, host, settings), *_sizes(image, host, settings))
        for variant in (variant for variant in variants if isinstance(variant, str)):
            if hosted := host.stored(image, variant):
                facts, size = hosted.facts or image.facts, hosted.bytes or image.bytes
                record = Record(
                    image.sha256, host.name, hosted.url, hosted.id, variant, size,
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
    views: Iterable[PageView],
) -> Plan:
    if host is None:
        staying = dict(stays) | {path: Stay(_NO_HOST) for path in images}
        return Plan({}, (), staying)
    sized = _sized(views) if makes_sizes(settings, host) else frozenset[str]()
    return plan(images, stays, list(groups), records, host, settings, now, sized)
