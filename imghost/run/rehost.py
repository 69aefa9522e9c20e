"""The run, as one straight line: site, references, images, plan, payloads, uploads, records, pages, report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from imghost import files
from imghost.errors import ImghostError
from imghost.models import NamedTuple
from imghost.net import Client
from imghost.records.cache import Cache
from imghost.run import report
from imghost.run.job import Job, Notice, Planned, Published, RewrittenPages, Sent, Settled, unfailing
from imghost.run.local_copies import hosted_in_site, settle_copies
from imghost.run.plan import is_report, plan_run
from imghost.run.publish import publish
from imghost.run.repeat import Told, note, uncollected
from imghost.run.report import Report, advice, lacking, new_lines, remarks, stay_notices, summary
from imghost.run.rewrite import rewrite_pages, tend
from imghost.site import page_map
from imghost.site.images import Stay, has_changed
from imghost.site.page_map import PageMap
from imghost.wording import listed, load_patterns, many

if TYPE_CHECKING:
    from imghost.run.early import Early


class Result(NamedTuple):
    """What a run came to: the report, and what is worth a warning once all is written."""

    report: Report
    notices: tuple[Notice, ...]
    remarks: tuple[str, ...] = ()
    """What is worth a line, but no warning."""
    is_refused: bool = False
    """Whether the plan was over its budget, so that nothing was uploaded."""
    advice: tuple[str, ...] = ()
    """What to do next."""
    new_lines: str = ""
    """In CI, which keeps no file: the lines that the lock has now and had not, to be pasted; empty elsewhere."""
    error: str = ""
    """Why the build fails though all is written: `require` is set, and images have no URL."""

    @property
    def told(self) -> Told:
        """What a front end tells of it."""
        return Told(summary(self.report), self.notices, self.remarks, self.advice, self.new_lines, self.error)


def rehost(job: Job, early: Early | None = None) -> Result:
    """Upload the site's images that are not known yet, and point its pages at them.

    `early` is what looked at its pages while they were rendered.
    Raises ImghostError for a wrong set-up, before anything is sent or changed, and where the system fails
    in what concerns the whole site.
    """
    try:
        load_patterns()
        with early or nullcontext():
            return _run(replace(unfailing(job), begun=early.end() if early else None))
    except MemoryError:
        reason = "there is too little memory; give the build more, what was uploaded is kept"
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        reason = f"{where}{problem.strerror or problem}; mend that and build again, what was uploaded is kept"
    raise ImghostError(reason)


def _run(job: Job) -> Result:
    """Go along the line: each stage's output is what the next ones read."""
    began, since = time.perf_counter(), files.stamp(job.settings.lock)
    own = job.begun.client if job.begun else Client(job.settings.timeout, environ=job.environ)
    with Cache.load(job.settings.cache_dir) as cache, own as client:
        if job.begun:
            cache.learn(job.begun.known)
        with uncollected():
            planned = plan_run(job, client, cache)  # changes nothing, sends nothing
        sent = job.begun.wait() if job.begun else Sent({})
        was_planned = time.perf_counter()
        published = publish(planned, job, client, cache)  # uploads, and keeps each record as it is earned
        published = drop_changed(published, job)
        published, unseen, plain = _with_derived(published, job, client)
        was_published = time.perf_counter()
        with uncollected():
            pages = rewrite_pages(planned, published.records, job, published.sizes)  # each whole or not at all
        tended = tend(planned, pages, job)
        copies = settle_copies(published, pages, job)  # the one place that deletes local copies
        seconds = dict(planned.seconds) | {
            "upload": was_published - was_planned + sent.seconds,
            "rewrite": time.perf_counter() - was_published,
            "total": time.perf_counter() - began,
        }
        report, unwritten = make_report(published, pages, copies, job, client.requests + sent.requests, seconds)
        notices = (
            *planned.notices,
            *stay_notices(published),
            *published.notices,
            *pages.notices,
            *unseen,
            *tended.notices,
            *unwritten,
        )
        result = Result(
            report,
            notices,
            (*_unshown(planned, job), *remarks(published), *pages.remarks, *plain, *tended.remarks, *copies.remarks),
            published.is_refused,
            advice(published, job),
            new_lines(published, job),
            lacking(published, job),
        )
        new_map = _new_map(published, pages, copies, note(published, pages, result.told, since, job))
        unsaved = save(new_map, planned.last_map, job, cache)  # and nothing else
    return result._replace(notices=(*notices, *unsaved))


def _unshown(planned: Planned, job: Job) -> tuple[str, ...]:
    """Tell of what was uploaded for a rendered page that is another one by now."""
    wanted = {(upload.image.sha256, upload.variant) for upload in planned.plan.uploads}
    outcomes = job.begun.wait().outcomes if job.begun else {}
    paths = [it.upload.shown for key, it in outcomes.items() if it.record and key not in wanted]
    if not paths:
        return ()
    was = "was" if len(paths) == 1 else "were"
    return (f"{many(len(paths), 'image')} that no page shows any more {was} uploaded: {listed(paths)}",)


def _with_derived(
    published: Published, job: Job, client: Client
) -> tuple[Published, tuple[Notice, ...], tuple[str, ...]]:
    """See the addresses that a host makes of its images', where pages are to name them."""
    if not job.settings.format and not job.settings.responsive:
        return published, (), ()
    from imghost.run.publish import confirm_derived

    return confirm_derived(published, job, client)


def _new_map(published: Published, pages: RewrittenPages, copies: Settled, again: Mapping[str, Any]) -> PageMap | None:
    """Make what the next run shall know of the pages; one that is not as it should be is not in it.

    Where a page is half-written there is no map, so that all are written again.
    """
    if any(written.is_half_written for _, written in pages.pages):
        return None
    entries = {page.path: written.entry for page, written in pages.pages if written.entry}
    hosted = tuple(sorted(hosted_in_site(published)))
    planned = published.planned
    return PageMap(planned.last_map.mark, entries, copies.removed, hosted, planned.scripts, again)


def save(new: PageMap | None, last: PageMap, job: Job, cache: Cache) -> tuple[Notice, ...]:
    """Keep what the next run can use; losing it costs that run time and nothing else."""
    try:
        if new is not None:
            page_map.save(job.page_map, new, last)
        cache.save(is_serving=job.is_serving)
    except OSError as problem:
        why = f"{problem.strerror or problem}; {files.remedy(problem)}, or change 'cache_dir'"
        where = Path(problem.filename).parent if problem.filename else job.settings.cache_dir
        return (Notice("cache", f"the local store {where} cannot be written: {why}"),)
    return ()


def make_report(
    published: Published,
    pages: RewrittenPages,
    copies: Settled,
    job: Job,
    requests: int,
    seconds: Mapping[str, float],
) -> tuple[Report, tuple[Notice, ...]]:
    """Count what came of the run, and write the report where one is asked for."""
    counted = report.make_report(published, pages, job, requests, seconds, (copies.copies, copies.freed))
    if job.settings.report is None or job.is_serving:
        # A live preview may watch the folder where the report stands, whose seconds differ each time.
        return counted, ()
    return _written_report(counted, published, pages, job, job.settings.report)


def _written_report(
    counted: Report, published: Published, pages: RewrittenPages, job: Job, path: Path
) -> tuple[Report, tuple[Notice, ...]]:
    """Gather what a report tells beside the counts, and write it in the form that its ending names."""
    from imghost.run import report_html
    from imghost.run.report_html import gather

    try:
        if not is_free(path):
            why = "there is a file that is no report of ours"
            where = f"the report {path} is not written: {why}; change the option 'report'"
            return counted, (Notice("report", where),)
        facts = gather(published, pages, job, report.pages_by_image(published))
        full = counted._replace(facts=facts)
        is_page = path.suffix == ".html"
        text = report_html.as_html(full, facts, job.site, path.parent) if is_page else report.as_json(full)
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name of bytes that are no text is shown escaped: the report itself is text.
        files.write_whole(path, text.encode("utf-8", "backslashreplace").decode(), is_durable=False)
    except OSError as problem:
        reason = problem.strerror or problem
        where = f"the report {path} cannot be written: {reason}; change the option 'report'"
        return counted, (Notice("report", where),)
    return full, ()


def is_free(path: Path) -> bool:
    """Say whether a report may be written there: the file is new, empty, or an earlier report."""
    return not path.is_file() or path.stat().st_size == 0 or is_report(path)


_CHANGED: Final = Stay("it changed while the build ran", "build again", code="page")


def drop_changed(published: Published, job: Job) -> Published:
    """Take back the records of images whose files are no longer those that were identified.

    The lock keeps them, as the records of bytes that the site had. Where nothing was uploaded no time has gone
    by, and nothing is asked.
    """
    planned = published.planned
    if not published.outcomes:
        return published
    known = ((path, planned.images.get(path)) for path in published.records)
    changed = {path for path, image in known if image and has_changed(image, job.site, job.origins)}
    if not changed:
        return published
    records = {path: record for path, record in published.records.items() if path not in changed}
    return published._replace(records=records, staying={**published.staying, **dict.fromkeys(changed, _CHANGED)})
