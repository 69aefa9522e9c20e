"""The run, as one straight line: site, references, images, plan, payloads, uploads, records, pages, report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from imghost import durable, page_map, removal, report, report_page, resolve
from imghost.cache import Cache
from imghost.http import Client
from imghost.models import Failure, Record
from imghost.page_map import PageMap, Removed
from imghost.prospect import Job, Notice, Prospect, foresee, mark_of
from imghost.publish import Published, publish
from imghost.references import PageView
from imghost.report import Counts, Report, Shown, Uploaded
from imghost.write_pages import Written, edits_of, url_maker, write_page


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to: the report, and what is worth a warning once all is written."""

    report: Report
    notices: tuple[Notice, ...]
    remarks: tuple[str, ...] = ()
    """What is worth a line, but no warning."""
    is_refused: bool = False
    """Whether the plan was over its budget, so that nothing was uploaded."""


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What became of the pages."""

    pages: tuple[tuple[PageView, Written], ...]
    local: frozenset[str]
    """Images that some reference still means locally."""
    notices: tuple[Notice, ...]


def rehost(job: Job) -> Result:
    """Upload the site's images that are not known yet, and point its pages at them.

    Raises ImghostError for a wrong set-up, before anything is sent or changed.
    """
    started = time.perf_counter()
    cache = Cache.load(job.settings.cache_dir)
    try:
        with Client(job.settings.timeout, environ=job.environ) as client:
            prospect = foresee(job, client, cache)
            planned = time.perf_counter()
            published = publish(prospect, job, client, cache)
            requests = client.requests
        uploaded = time.perf_counter()
        _sweep(prospect)
        rewriting = _rewrite(published, job)
        removed = _remove(published, rewriting, job)
        notices = _save(published, rewriting, job, cache)
    finally:
        cache.close()
    rewritten = time.perf_counter()
    seconds = dict(prospect.seconds) | {
        "upload": uploaded - planned,
        "rewrite": rewritten - uploaded,
        "total": rewritten - started,
    }
    made = _report(published, rewriting, job, requests, seconds, removed)
    if job.settings.report:
        notices += _write_report(made, job.site, job.settings.report)
    every = (*prospect.notices, *_stay_notices(published), *published.notices, *rewriting.notices, *notices)
    return Result(made, every, _remarks(published), published.is_refused)


def _sweep(prospect: Prospect) -> None:
    """Delete what a run that was killed left unfinished in the site."""
    for folder in {path.rpartition("/")[0] for path in prospect.survey.files if "/.imghost-" in f"/{path}"}:
        durable.sweep(prospect.survey.root / folder)


def _rewrite(published: Published, job: Job) -> Rewriting:
    """Change the pages, one by one, each whole or not at all."""
    site = resolve.place(job.settings.site_url)
    host = published.prospect.host
    is_in_site = host is not None and not host.origins
    pages: list[tuple[PageView, Written]] = []
    local: set[str] = set()
    notices: list[Notice] = []
    lost: set[str] = set()
    for page, groups in published.prospect.groups:
        edits = edits_of(page, groups, published.records, url_maker(page, site, is_in_site=is_in_site))
        needed = {target.path for reference, target in page.resolved() if reference not in edits}
        lost |= removal.put_back(job.site, needed - local, published.prospect.known.removed)
        local |= needed
        if needed & lost:
            gone = min(needed & lost)
            text = f"{page.path}: left as it was: {gone} has no URL now and its local copy was removed; build it again"
            notices.append(Notice("page", text))
            pages.append((page, Written(page.entry, 0)))
            continue
        written = write_page(job.site, page, edits)
        if written.problem:
            local |= {target.path for _, target in page.resolved()}
            text = f"{page.path}: its references stay as they were: {written.problem}; build again"
            notices.append(Notice("page", text))
        pages.append((page, written))
    return Rewriting(tuple(pages), frozenset(local), tuple(notices))


def _remove(published: Published, rewriting: Rewriting, job: Job) -> tuple[int, int]:
    """Delete the local copies that are not needed any more, if that is asked for."""
    if not job.settings.remove_local or rewriting.notices:
        return 0, 0
    found = published.prospect.survey
    candidates = {path for path in published.records if path in found.files and path not in rewriting.local}
    if not candidates:
        return 0, 0
    durable.sync()
    return removal.remove(job.site, removal.unnamed(found, candidates))


def _save(published: Published, rewriting: Rewriting, job: Job, cache: Cache) -> tuple[Notice, ...]:
    """Keep what the next run can use; losing it costs that run time and nothing else."""
    known = {page.path: written.entry for page, written in rewriting.pages if written.entry}
    removed = {
        path: Removed(image, str(job.origins.sources.get(path, "")))
        for path, image in published.prospect.images.items()
        if not (job.site / path).exists()
    }
    try:
        page_map.save(job.page_map, PageMap(mark_of(job.settings), known, removed))
        cache.save()
    except OSError as problem:
        reason = problem.strerror or problem
        return (Notice("cache", f"the local store cannot be written: {reason}; make room or change cache_dir"),)
    return ()


def _write_report(made: Report, root: Path, path: Path) -> tuple[Notice, ...]:
    """Write the report in the form that its ending names."""
    text = report_page.as_html(made, root, path.parent) if path.suffix == ".html" else report.as_json(made)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.replace(path, text, is_durable=False)
    except OSError as problem:
        reason = problem.strerror or problem
        return (Notice("report", f"the report {path} cannot be written: {reason}; change the option 'report'"),)
    return ()


def _stay_notices(published: Published) -> Iterable[Notice]:
    for path, stay in sorted(published.kept.items()):
        if stay.code:
            yield Notice(stay.code, str(Failure(path, f"stays local: {clause(stay.reason, 'it')}", stay.remedy)))


_VERBS = ("is ", "has ", "belongs ", "matches ", "moves ", "was ", "cannot ")


def clause(reason: str, subject: str) -> str:
    """Make a clause of a reason that completes one; others stand alone."""
    return f"{subject} {reason}" if reason.startswith(_VERBS) else reason


def _remarks(published: Published) -> tuple[str, ...]:
    """Say, a line for each reason, how many images stay local without anything being wrong."""
    reasons = Counter(stay.reason for stay in published.kept.values() if not stay.code)
    return tuple(
        f"{count} {'image stays' if count == 1 else 'images stay'} local: {clause(reason, 'each')}"
        for reason, count in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    )


def _report(
    published: Published,
    rewriting: Rewriting,
    job: Job,
    requests: int,
    seconds: Mapping[str, float],
    removed: tuple[int, int],
) -> Report:
    pages_of = _pages_of(published)
    new = {outcome.upload.paths[0]: outcome.record for outcome in published.outcomes if outcome.record and outcome.is_new}
    failed = {failure.path for failure in published.failures}
    host = published.prospect.host
    counts = Counts(
        pages=len(published.prospect.survey.pages),
        pages_rewritten=sum(1 for _, written in rewriting.pages if written.rewritten),
        references=sum(1 for page, _ in rewriting.pages for _ in page.resolved()),
        references_rewritten=sum(written.rewritten for _, written in rewriting.pages),
        images=len(pages_of),
        cached=len(published.records.keys() - new.keys()),
        uploaded=len(new),
        kept=len(published.kept),
        failed=len(failed),
    )
    return Report(
        site=_named(job),
        host=host.name if host else None,
        counts=counts,
        uploads=tuple(Uploaded(path, record, pages_of.get(path, ())) for path, record in sorted(new.items())),
        kept=tuple(Failure(path, clause(stay.reason, "it"), stay.remedy) for path, stay in sorted(published.kept.items())),
        failures=published.failures,
        images=tuple(_shown(published, pages_of, new, failed)),
        bytes_uploaded=sum(record.bytes for record in new.values()),
        requests=requests,
        cost=_cost(new.values()),
        seconds=seconds,
        removed=removed,
    )


def _cost(records: Iterable[Record]) -> Decimal:
    """Add up what the run's receipts say, in US dollars."""
    receipts = (record.extra.get("receipt") for record in records)
    amounts = (receipt.get("amount", "0") for receipt in receipts if isinstance(receipt, Mapping))
    return sum((Decimal(str(amount)) for amount in amounts), Decimal("0.00"))


def _named(job: Job) -> str:
    """Name the site from the configuration's folder, since a report may be published."""
    folder = job.settings.folder.absolute()
    return job.site.relative_to(folder).as_posix() if job.site.is_relative_to(folder) else str(job.site)


def _pages_of(published: Published) -> dict[str, tuple[str, ...]]:
    """Find the pages that refer to each image."""
    found: dict[str, dict[str, None]] = {}
    for page in published.prospect.views:
        for _, target in page.resolved():
            found.setdefault(target.path, {})[page.path] = None
    return {path: tuple(pages) for path, pages in found.items()}


def _shown(
    published: Published, pages_of: Mapping[str, tuple[str, ...]], new: Mapping[str, Record], failed: set[str]
) -> Iterable[Shown]:
    failures = {failure.path: failure.reason for failure in published.failures}
    for path, pages in sorted(pages_of.items()):
        record = published.records.get(path)
        image = published.prospect.images.get(path)
        state = "uploaded" if path in new else "hosted" if record else "failed" if path in failed else "kept"
        stay = published.kept.get(path)
        yield Shown(
            path=path,
            url=record.url if record else "",
            bytes=record.bytes if record else image.bytes if image else 0,
            media_type=image.facts.media_type if image else "",
            size=(image.facts.width, image.facts.height) if image and image.facts.width and image.facts.height else None,
            expires=record.expires.date().isoformat() if record and record.expires else None,
            pages=pages,
            state=state,
            reason=failures.get(path) or (clause(stay.reason, "it") if stay and not record else ""),
        )
