"""What a run says: while it uploads, in its summary, remarks and warnings, and in the report's values and JSON."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TextIO

from imghost import wording
from imghost.environment import is_terminal, is_watched
from imghost.files import is_ignored
from imghost.hosts import Host, may_store_twice
from imghost.models import IMPORT, Failure, NamedTuple, Record
from imghost.records.lock import render_record
from imghost.run.job import NOT_UPLOADED, Job, Notice, Progress, Published, RewrittenPages, Step, cost_of, is_remade
from imghost.wording import (
    clause,
    json_in_log,
    lasted,
    listed,
    many,
    money,
    one_line,
    part_of,
    size,
    values_without_secrets,
)

if TYPE_CHECKING:
    from datetime import datetime

    from imghost.run.audit import Finding
    from imghost.run.job import Job, Outcome, Upload
    from imghost.run.upload import UploadContext


class Uploaded(NamedTuple):
    """One upload of the run, and the pages that show the image."""

    path: str
    record: Record
    pages: tuple[str, ...]


class HostedBytes(NamedTuple):
    """One image of which something else was sent: its bytes in the site, and as hosted."""

    path: str
    before: int
    after: int
    media_type: str
    """As hosted."""
    is_remade: bool
    """Whether its pixels were written anew, in another format or size; else only metadata went."""


class Counts(NamedTuple):
    """How many were found, and what became of them: each image file counts once, under one of the four."""

    pages: int = 0
    pages_rewritten: int = 0
    references: int = 0
    references_rewritten: int = 0
    images: int = 0
    cached: int = 0
    uploaded: int = 0
    kept: int = 0
    failed: int = 0


class SiteBytes(NamedTuple):
    """Where the bytes of a site are: `before` is what it would have with every local copy in it."""

    before: int = 0
    after: int = 0
    pages: int = 0
    """In all that is no image of the pages: pages, search, the theme."""
    unused: int = 0
    """In image files that no page names."""
    copies: int = 0
    """In local copies that `remove_local` would delete."""


class Weight(NamedTuple):
    """What a page's or a folder's images weigh, each once."""

    name: str
    images: int
    bytes: int
    hosted: int
    """Of these bytes, those that come from the host."""


class Version(NamedTuple):
    """One version in a site that has several; `before` counts the local copies that are gone."""

    name: str
    aliases: tuple[str, ...]
    pages: int
    images: int
    before: int
    after: int


class ListedImage(NamedTuple):
    """One image of the site as a report lists it."""

    path: str
    state: str
    """`hosted`, `new`, `local`, `failed` or `unused`."""
    bytes: int
    size: tuple[int, int] | None = None
    sha256: str = ""
    url: str = ""
    expires: datetime | None = None
    is_expiring: bool = False
    recorded: datetime | None = None
    cost: Decimal | None = None
    sent: int = 0
    """Bytes of the payload."""
    is_stripped: bool = False
    """Whether its metadata was taken off before the upload."""
    is_there: bool = True
    """Whether the site has a local copy."""
    pages: tuple[str, ...] = ()
    reason: str = ""
    remedy: str = ""
    shown: float | None = None
    """The largest width in CSS pixels at which a page shows it, where every page tells."""
    alts: tuple[str, ...] = ()


class Waiting(NamedTuple):
    """Images that would be uploaded, and why they are not."""

    images: int = 0
    bytes: int = 0
    cost: Decimal = Decimal(0)
    why: str = ""
    """`credential`, `budget`, or the reason in words."""


class Facts(NamedTuple):
    """All that a report tells beside the run's counts; gathered only where one is asked for."""

    built: datetime
    version: str
    commit: str = ""
    title: str = ""
    """The site's own, as its first page has it."""
    place: str = ""
    """Where the images live, in words."""
    notice: str = ""
    """What "permanent" means there, where some of the images are that."""
    site_bytes: SiteBytes = SiteBytes()
    images: tuple[ListedImage, ...] = ()
    by_page: tuple[Weight, ...] = ()
    """The heaviest first."""
    findings: tuple[Finding, ...] = ()
    versions: tuple[Version, ...] = ()
    waiting: Waiting = Waiting()
    warnings: tuple[Failure, ...] = ()
    """What the run warned of that is no single image: `path` is the code, `reason` the text."""
    spent: Decimal = Decimal(0)
    """US dollars for all records of these images so far."""
    has_price: bool = False
    max_edge: int | None = None
    is_collected: bool = False
    """Whether the host is a folder, so that nothing left the machine."""


class Report(NamedTuple):
    """What a run found and did. Money in US dollars, times in seconds."""

    site: str
    host: str | None
    counts: Counts
    uploads: tuple[Uploaded, ...] = ()
    kept: tuple[Failure, ...] = ()
    failures: tuple[Failure, ...] = ()
    bytes_uploaded: int = 0
    requests: int = 0
    cost: Decimal = Decimal("0.00")
    seconds: Mapping[str, float] = MappingProxyType({})
    removed: tuple[int, int] = (0, 0)
    """Local copies that were deleted, and their bytes."""
    image_bytes: tuple[int, int] = (0, 0)
    """The images that have a URL, each once: their bytes in the site, and as hosted."""
    by_image: tuple[HostedBytes, ...] = ()
    """Those of them that were not sent as they are."""
    duplicates_possible: int = 0
    """Second copies that the host may have, since an answer was lost and it cannot be asked."""
    facts: Facts | None = None
    """What a written report tells beside this; None where none was asked for."""
    address: str = ""
    """Where pages point now: the host's name, or the embedded directory's folder or URL."""
    is_network: bool = True
    """Whether images leave the machine."""
    same: int = 0
    """Further names in the site of images that this run uploaded."""
    found_again: int = 0
    """Images without a record that the host turned out to have."""
    warned: int = 0
    """Of those kept, how many should have moved."""
    is_warm: bool = False
    """Whether nothing had to be asked, though it might have been."""


def as_json(report: Report) -> str:
    """Write the report as JSON."""
    return json.dumps(values_without_secrets(as_mapping(report)), indent=1, ensure_ascii=False) + "\n"


def as_mapping(report: Report) -> dict[str, Any]:
    """Give the report as plain values, by the names that other tools read."""
    counts = report.counts
    return {
        "imghost_report": 1,
        "host": report.host,
        "site": report.site,
        "pages": {"found": counts.pages, "rewritten": counts.pages_rewritten},
        "references": {
            "found": counts.references,
            "rewritten": counts.references_rewritten,
            "kept": counts.references - counts.references_rewritten,
        },
        "images": {
            "found": counts.images,
            "cached": counts.cached,
            "uploaded": counts.uploaded,
            "kept": counts.kept,
            "failed": counts.failed,
        },
        "duplicates_possible": report.duplicates_possible,
        "bytes_uploaded": report.bytes_uploaded,
        "requests": report.requests,
        "cost": f"{report.cost:.2f}",
        "uploads": [_upload(upload) for upload in report.uploads],
        "kept": [{"path": kept.path, "reason": kept.reason} for kept in report.kept],
        "failures": [
            {"path": failure.path, "reason": failure.reason, "remedy": failure.remedy} for failure in report.failures
        ],
        "seconds": {name: round(seconds, 4) for name, seconds in report.seconds.items()},
        "removed": {"files": report.removed[0], "bytes": report.removed[1]},
        "image_bytes": {"before": report.image_bytes[0], "after": report.image_bytes[1]},
        "by_image": [
            {"path": it.path, "before": it.before, "after": it.after, "media_type": it.media_type}
            for it in report.by_image
        ],
        **(_facts(report.facts) if report.facts else {}),
    }


def _facts(facts: Facts) -> dict[str, Any]:
    sizes = facts.site_bytes
    return {
        "version": facts.version,
        "commit": facts.commit or None,
        "site_bytes": {"before": sizes.before, "after": sizes.after, "pages": sizes.pages, "unused": sizes.unused},
        "by_page": [
            {"path": page.name, "images": page.images, "bytes": page.bytes, "hosted": page.hosted}
            for page in facts.by_page
        ],
        "findings": [
            {"kind": it.kind, "paths": list(it.paths), "text": it.text, "remedy": it.remedy} for it in facts.findings
        ],
    }


def _upload(upload: Uploaded) -> dict[str, Any]:
    expires = upload.record.expires
    return {
        "path": upload.path,
        "sha256": upload.record.sha256,
        "url": upload.record.url,
        "expires": expires.isoformat().replace("+00:00", "Z") if expires else None,
        "pages": list(upload.pages),
    }


def summary(report: Report) -> str:
    """Say in one line what the run came to."""
    counts = report.counts
    moved = f"{many(counts.references_rewritten, 'reference')} to {many(counts.cached + counts.uploaded, 'image')}"
    where = f"in {many(counts.pages_rewritten, 'page')} point to {report.address}"
    stays, failed = counts.kept - report.warned, counts.failed + report.warned
    copies, bytes_removed = report.removed
    parts = [
        f"{moved} {where}" if counts.references_rewritten else "no reference was rewritten",
        _some(counts.uploaded, f"{'uploaded' if report.is_network else 'collected'} ({_paid_in(report)})"),
        _some(report.same, f"{'has' if report.same == 1 else 'have'} the same bytes as others"),
        _some(report.found_again, "found at the host again"),
        _some(stays, f"{'stays' if stays == 1 else 'stay'} local"),
        _some(failed, "failed"),
        _lighter(report),
        _some(copies, f"local {'copy' if copies == 1 else 'copies'} removed ({size(bytes_removed)})"),
        "0 requests" if report.is_warm else "",
    ]
    return ", ".join(filter(None, parts))


def _lighter(report: Report) -> str:
    """Say what other formats and sizes take off the hosted images; metadata alone is not worth a word."""
    before, after = report.image_bytes
    if after >= before or not any(it.is_remade for it in report.by_image):
        return ""
    return f"images {(before - after) * 100 // before} % lighter ({size(before)} before, {size(after)} after)"


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}" if count else ""


def _paid_in(report: Report) -> str:
    """Say what the uploads took: bytes, and on the way to a host seconds and dollars."""
    taken = size(report.bytes_uploaded)
    if not report.is_network:
        return taken
    taken += f" in {lasted(report.seconds.get('upload', 0.0))}"
    return f"{taken}, {money(report.cost)}" if report.cost else taken


def stay_notices(published: Published) -> Iterable[Notice]:
    """Warn of the images that stay local though they should not; many of one reason are one warning."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for path, stay in sorted(published.staying.items()):
        if stay.code:
            reasons.setdefault((stay.code, stay.brief or _with_remedy(stay.reason, stay.remedy)), []).append(path)
    for (code, why), paths in reasons.items():
        if len(paths) > FEW:
            yield Notice(code, f"{wording.stay(len(paths))}: {clause(why, 'each')} ({listed(paths)})")
            continue
        for path in paths:
            stay = published.staying[path]
            yield Notice(code, f"{path} stays local: {clause(_with_remedy(stay.reason, stay.remedy), 'it')}")


def failure_notices(
    failures: Iterable[Failure], hosted: Container[str] = frozenset(), *, of_sizes: bool = False
) -> Iterable[Notice]:
    """Warn of the images that could not be uploaded; many of one reason are one warning.

    Those that are `hosted` by an older record keep that; without a smaller size an image is as good as before.
    """
    reasons: dict[tuple[str, bool], list[Failure]] = {}
    for failure in dict.fromkeys(failures):
        key = _with_remedy(failure.reason, failure.remedy), failure.path in hosted
        reasons.setdefault(key, []).append(failure)
    for (why, is_hosted), alike in reasons.items():
        if len(alike) > FEW:
            count = len(alike)
            left = f"{many(count, 'image')} {'lack a smaller size' if of_sizes else 'keep the copy that they have'}"
            outcome = left if of_sizes or is_hosted else wording.stay(count)
            yield Notice("upload", f"{outcome}: {why} ({listed([it.path for it in alike])})")
            continue
        outcome = "lacks a smaller size" if of_sizes else "keeps the copy that it has" if is_hosted else "stays local"
        for failure in alike:
            reason = ", ".join(filter(None, (failure.reason, failure.effort)))
            yield Notice("upload", f"{failure.path} {outcome}: {_with_remedy(reason, failure.remedy)}")


FEW: Final = 3
"""Warnings of one reason that stand alone; more are one, with as many names."""


def _with_remedy(reason: str, remedy: str) -> str:
    return f"{reason}; {remedy}" if remedy else reason


def remarks(published: Published) -> tuple[str, ...]:
    """Say, a line for each reason that no warning has, how many images stay local; last what the user asked for."""
    warned = [notice.text for notice in published.notices]
    reasons = Counter(stay.reason for stay in published.staying.values() if not stay.code and not stay.is_wish)
    for reason in [it for it in reasons if any(it.removeprefix(NOT_UPLOADED) in text for text in warned)]:
        del reasons[reason]
    short = published.planned.plan.short
    wishes = sorted(path for path, stay in published.staying.items() if stay.is_wish)
    return (
        *_of_repeats(published),
        *((_of_short(published),) if short else ()),
        *(
            f"{wording.stay(count)}: {clause(reason, 'each' if count > 1 else 'it')}"
            for reason, count in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
        ),
        *((f"{wording.stay(len(wishes))}, as you asked: {listed(wishes)}",) if wishes else ()),
    )


def _of_short(published: Published) -> str:
    """Say what becomes of images that were stored for less than `retention` asks now."""
    plan, leave = published.planned.plan, published.planned.leave
    again = {path for upload in plan.uploads for path in upload.paths}.intersection(plan.short)
    left = len(plan.short) - len(again)
    text = f"{many(len(plan.short), 'image')} were stored for less than `retention` asks for now"
    if not leave.may_upload:
        return f"{text}; a build that may upload stores them anew"
    if not left:
        return f"{text}, and are stored anew"
    return f"{text}; the budget has no room to store {'all of them' if again else 'them'} anew: raise it, or wait"


def advice(published: Published, job: Job) -> tuple[str, ...]:
    """Say what is left to do on a machine where somebody can commit the lock; a CI gets a warning instead."""
    count, name = len(_new_records(published)), job.settings.lock.name
    if not count or job.environ.get("CI") or any(notice.code == "lock" for notice in published.notices):
        return ()  # where the lock could not be written, its lines were told
    records = f"{count:,} new {'record' if count == 1 else 'records'}"
    if is_ignored(job.settings.lock):
        return (f"{name} has {records} and git ignores it: take it out of .gitignore, and commit it",)
    return (f"commit {name}: it has {records}",)


def lacking(published: Published, job: Job) -> str:
    """Say which images have no URL where `require` asks for one for each, and why the first of them has none."""
    if not job.settings.require or job.is_serving:
        return ""
    plan = published.planned.plan
    uploads = (*plan.uploads, *(upload for upload, _ in plan.refused))
    movable = {path for upload in uploads for path in upload.paths} | plan.reused.keys()
    if published.planned.host is None:
        movable = set(published.planned.images)
    paths = sorted(movable - published.records.keys())
    if not paths:
        return ""
    reasons = {path: clause(stay.reason, "it") for path, stay in published.staying.items()}
    reasons |= {failure.path: failure.reason for failure in published.failures}
    have = "has" if len(paths) == 1 else "have"
    why = reasons.get(paths[0], "it was not uploaded")
    return f"`require` is set and {many(len(paths), 'image')} {have} no URL ({listed(paths)}): {why}"


def new_lines(published: Published, job: Job) -> str:
    """Write the lock's new lines as they stand in it, between marks, so that they can be pasted from a CI's log."""
    records = _new_records(published)
    if not records or not job.environ.get("CI"):
        return ""
    name = one_line(job.settings.lock.name)
    lines = [json_in_log(render_record(record)) for record in records]
    lines = [f"-----BEGIN {name}-----", *lines, f"-----END {name}-----"]
    if job.environ.get("GITHUB_ACTIONS"):
        lines = [f"::group::{name}", *lines, "::endgroup::"]
    return "\n".join(lines) + "\n"


def _new_records(published: Published) -> list[Record]:
    """List the records that this run brought to the lock, in the lock's order."""
    host = published.planned.host
    if host is None or host.place != "network":
        return []
    records = (outcome.record for outcome in published.outcomes if outcome.record)
    return sorted(records, key=lambda record: record.key)


def _of_repeats(published: Published) -> tuple[str, ...]:
    host, count = published.planned.host, _repeats(published)
    if host is None or not count:
        return ()
    return (f"{host.name} may have {many(count, 'image')} twice: an answer was lost, and the host cannot be asked",)


def _repeats(published: Published) -> int:
    return sum(outcome.repeats for outcome in published.outcomes)


def make_report(
    published: Published,
    rewritten_pages: RewrittenPages,
    job: Job,
    requests: int,
    seconds: Mapping[str, float],
    removed: tuple[int, int],
) -> Report:
    """Make the report of a run."""
    every = [outcome for outcome in published.outcomes if outcome.record and outcome.is_new]
    sizes = [outcome.record for outcome in every if outcome.record and outcome.upload.is_size]
    new = {it.upload.paths[0]: it.record for it in every if it.record and not it.upload.is_size}
    failed = {failure.path for failure in published.failures}
    host, records = published.planned.host, published.records
    before, after, by_image = _hosted_bytes(published)
    is_network = host is not None and host.place == "network"
    # One that changed meanwhile was uploaded for nothing: it stays.
    moved = {path: it.upload.paths for it in every if not it.upload.is_size for path in it.upload.paths[:1]}
    uploaded = [path for path, paths in moved.items() if not records.keys().isdisjoint(paths)]
    pages_of = pages_by_image(published) if moved else {}
    views = published.planned.views
    counts = Counts(
        pages=len(published.planned.survey.pages),
        pages_rewritten=sum(1 for _, written in rewritten_pages.pages if written.rewritten),
        references=sum(len(page.targets) - page.targets.count(None) for page, _ in rewritten_pages.pages),
        references_rewritten=sum(written.rewritten for _, written in rewritten_pages.pages),
        images=len({target.path for view in views for target in view.targets if target}),
        cached=len(records) - len(uploaded),
        uploaded=len(uploaded),
        kept=len(published.staying),
        failed=len(failed),
    )
    return Report(
        site=_named(job),
        host=host.name if host else None,
        counts=counts,
        uploads=tuple(
            Uploaded(path, record, _pages_of_all(moved[path], pages_of)) for path, record in sorted(new.items())
        ),
        kept=tuple(
            Failure(path, clause(stay.reason, "it"), stay.remedy) for path, stay in sorted(published.staying.items())
        ),
        failures=published.failures,
        bytes_uploaded=sum(record.bytes for record in (*new.values(), *sizes)),
        requests=requests,
        cost=_cost(host, (*new.values(), *sizes)),
        seconds=seconds,
        removed=removed,
        image_bytes=(before, after),
        by_image=by_image,
        duplicates_possible=_repeats(published),
        address=_address(host, records),
        is_network=is_network,
        same=sum(len(outcome.upload.paths) - 1 for outcome in every if not outcome.upload.is_size),
        found_again=sum(1 for it in published.outcomes if it.record and not it.is_new and not it.upload.is_size)
        if is_network
        else 0,
        warned=sum(1 for stay in published.staying.values() if stay.code),
        is_warm=is_network and not requests and not published.outcomes and published.planned.leave.may_upload,
    )


def _pages_of_all(paths: Iterable[str], pages_of: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """List the pages that show an image under any of its names."""
    return tuple(sorted({page for path in paths for page in pages_of.get(path, ())}))


def _hosted_bytes(published: Published) -> tuple[int, int, tuple[HostedBytes, ...]]:
    """Add up the images that have a URL, in the site and as hosted: the same bytes count once, and so does a URL."""
    images = published.planned.images
    records = {path: record for path, record in published.records.items() if path in images}
    changed = tuple(
        HostedBytes(path, images[path].bytes, record.bytes, record.media_type, is_remade(record.variant))
        for path, record in sorted(records.items())
        if record.bytes != images[path].bytes
    )
    before = {images[path].sha256: images[path].bytes for path in records}
    after = {record.url: record.bytes for record in records.values()}
    return sum(before.values()), sum(after.values()), changed


def _address(host: Host | None, records: Mapping[str, Record]) -> str:
    """Name where pages point: of a host on this machine the folder, since its name says nothing to a reader."""
    if host is None:
        return ""
    record = next(iter(records.values()), None)
    return host.name if host.place == "network" or record is None else record.url.rpartition("/")[0]


def _cost(host: Host | None, records: Iterable[Record]) -> Decimal:
    """Say what the run has spent, in US dollars: by the host's count, else by its receipts."""
    if host is not None and host.spent is not None:
        return host.spent
    receipts = (record.extra.get("receipt") for record in records)
    amounts = (receipt.get("amount", "0") for receipt in receipts if isinstance(receipt, Mapping))
    return sum((Decimal(str(amount)) for amount in amounts), Decimal("0.00"))


def _named(job: Job) -> str:
    """Name the site from the configuration's folder, since a report may be published."""
    folder = job.settings.folder.absolute()
    return job.site.relative_to(folder).as_posix() if job.site.is_relative_to(folder) else str(job.site)


def pages_by_image(published: Published) -> dict[str, tuple[str, ...]]:
    """Find the pages that refer to each image."""
    found: dict[str, dict[str, None]] = {}
    for page in published.planned.views:
        for _, target in page.resolved():
            found.setdefault(target.path, {})[page.path] = None
    return {path: tuple(pages) for path, pages in found.items()}


# What a run says while it uploads: what will be sent, and how far it is.


def on_terminal(stream: TextIO | None, environ: Mapping[str, str]) -> Progress | None:
    """Give a bar where somebody watches a stream; a CI's log and a pipe get lines instead."""
    return partial(bar, stream) if stream is not None and is_watched(stream, environ) else None


USUAL: Final = 80
"""Columns of a terminal that does not say how wide it is."""


def columns_of(stream: TextIO | None) -> int | None:
    """Measure a terminal in columns; None = what is printed goes into a pipe or a file."""
    if stream is None or not is_terminal(stream):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL
    except (OSError, ValueError, AttributeError):  # what only looks like a terminal has no number
        return USUAL


@contextmanager
def bar(stream: TextIO, images: int, total: int) -> Iterator[Step]:
    """Draw one line again and again, and leave none when it is done; a total of 0 = what is done has no bytes."""
    count = Count(images, total or images, time.monotonic(), has_bytes=bool(total))
    drawn = 0

    def draw(line: str) -> None:
        nonlocal drawn
        # A terminal that went away must not end what it only showed.
        with suppress(OSError, ValueError):
            stream.write(f"\r{line}{' ' * (drawn - len(line))}")
            stream.flush()
        drawn = len(line)

    def step(_: str, size: int) -> None:
        nonlocal count
        count = count.after(size if total else 1, time.monotonic())
        draw(bar_line(count, columns_of(stream) or USUAL))

    draw(bar_line(count, columns_of(stream) or USUAL))
    try:
        yield step
    finally:
        draw("")
        draw("\r")


_RATED: Final = 10.0
"""Seconds over which the rate is measured that tells the time left."""
_EARLY: Final = 3.0
"""Seconds in which a rate tells nothing yet; neither does less than a twentieth of the bytes."""


class Count(NamedTuple):
    """How far the uploads are: images and bytes, done and in all, by a clock's seconds."""

    images: int
    total: int
    started: float
    done: int = 0
    sent: int = 0
    past: tuple[tuple[float, int], ...] = ()
    """When how many bytes were sent, over the last seconds; the first one is older, if there is one."""
    has_bytes: bool = True
    """False where each image counts alike."""

    def after(self, size: int, now: float) -> Count:
        """Count one image more."""
        past = (*(self.past or ((self.started, 0),)), (now, self.sent + size))
        while len(past) > 1 and past[1][0] <= now - _RATED:
            past = past[1:]
        return self._replace(done=self.done + 1, sent=self.sent + size, past=past)

    @property
    def left(self) -> float | None:
        """Estimate the seconds that are left by the rate of the last ones; None = too early to tell."""
        if not self.past or self.sent >= self.total or self.sent * 20 < self.total:
            return None
        (since, before), (now, _) = self.past[0], self.past[-1]
        if now - self.started < _EARLY or self.sent == before:
            return None
        return (self.total - self.sent) * (now - since) / (self.sent - before)


def bar_line(count: Count, width: int) -> str:
    """Write how far the uploads are in one line that fits; a narrow one says less."""
    counted = f"{count.done:>{len(str(count.images))}}/{count.images}"
    left = count.left
    rest = [counted]
    if count.has_bytes:
        rest.append(part_of(count.sent, count.total))
    if left is not None:
        rest.append(f"{lasted(left)} left")
    while len(rest) > 1 and _room(rest, width) < _BAR[0]:
        rest.pop()
    room = max(1, min(_BAR[1], _room(rest, width)))
    full = room * count.done // count.images
    return f"{_LABEL}[{'#' * full}{'-' * (room - full)}]{_GAP}{'   '.join(rest)}"


_LABEL: Final = "imghost: "
_GAP: Final = "  "
_BAR: Final = (8, 26)
"""Columns of the bar, at least and at most."""


def _room(rest: Sequence[str], width: int) -> int:
    # The last column stays free: some terminals go on to the next line where it is written.
    return width - 1 - len(_LABEL) - len("[]") - len(_GAP) - len("   ".join(rest))


@contextmanager
def log_lines(
    say: Callable[[str], None],
    images: int,
    total: int,
    clock: Callable[[], float] = time.monotonic,
    words: tuple[str, str] = ("uploading", "image"),
) -> Iterator[Step]:
    """Say now and then how far it is, where a log keeps every line; `words` are what is done, and to what."""
    done = sent = 0
    last = clock()

    def step(_: str, size: int) -> None:
        nonlocal done, sent, last
        done, sent = done + 1, sent + size
        if done < images and clock() - last >= SECONDS_A_LINE:
            last = clock()
            taken = f", {part_of(sent, total)}" if total else ""
            say(f"{words[0]}: {done:,} of {many(images, words[1])}{taken}")

    yield step


SECONDS_A_LINE: Final = 10.0


def announce(uploads: Sequence[Upload], context: UploadContext, job: Job) -> None:
    """Say what will be sent before it is sent."""
    host = context.host
    doubtful = [it for it in uploads if (it.image.sha256, host.name, it.variant) in context.doubtful]
    if doubtful and may_store_twice(host):
        twice = f"{many(len(doubtful), 'image')} may be stored twice"
        job.say(f"{twice}: an earlier run ended before {host.name} answered")

    if uploads and host.place == "network":
        total = sum(upload.image.bytes for upload in uploads)
        most = "" if host.limits.is_price_certain else "at most "
        cost = f" for {most}{money(cost_of(uploads, host.limits.price))}" if host.limits.price else ""
        job.say(f"uploading {many(len(uploads), 'image')} ({size(total)}) to {host.name}{cost}")


@contextmanager
def reporting(job: Job, host: Host, uploads: Sequence[Upload]) -> Iterator[Callable[[Outcome], None]]:
    """Show what became of each upload as the front end shows it; a host on this machine is done at once."""
    if host.place != "network" or not uploads:
        yield lambda _: None
        return
    shown = job.progress or partial(log_lines, job.say)
    with shown(len(uploads), sum(upload.image.bytes for upload in uploads)) as step:

        def tell(outcome: Outcome) -> None:
            tell_uploaded(outcome, job)
            step(_name_of(outcome.upload), outcome.upload.image.bytes)

        yield tell


def tell_uploaded(outcome: Outcome, job: Job) -> None:
    """Tell those who ask for more of one image that was uploaded."""
    if outcome.record and outcome.is_new:
        job.detail(f"uploaded {_name_of(outcome.upload)} to {outcome.record.url}")


def _name_of(upload: Upload) -> str:
    """Name an image; an external one without its query, which may hold what only the page's author should see."""
    path = upload.paths[0]
    return path.partition("?")[0] if upload.variant == IMPORT else path
