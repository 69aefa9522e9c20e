"""The run, as one straight line: site, references, images, plan, payloads, uploads, records, pages, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from imghost import files
from imghost.errors import ImghostError
from imghost.net.client import Client
from imghost.records.cache import Cache
from imghost.run import local_copies, report
from imghost.run.job import Job, Notice, Planned, Published, RewrittenPages
from imghost.run.plan import plan_run
from imghost.run.publish import publish
from imghost.run.report import Report, advice, make_report, new_lines, remarks, stay_notices
from imghost.run.rewrite import rewrite_pages
from imghost.site import page_map
from imghost.site.images import Stay, has_changed
from imghost.site.page_map import PageMap


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


def rehost(job: Job) -> Result:
    """Upload the site's images that are not known yet, and point its pages at them.

    Raises ImghostError for a wrong set-up, before anything is sent or changed, and where the system fails
    in what concerns the whole site.
    """
    try:
        return _run(replace(job, say=_unfailing(job.say)))
    except MemoryError:
        reason = "there is too little memory; give the build more, what was uploaded is kept"
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        reason = f"{where}{problem.strerror or problem}; mend that and build again, what was uploaded is kept"
    raise ImghostError(reason)


def _unfailing(say: Callable[[str], None]) -> Callable[[str], None]:
    """Make what tells the user things as far as anybody can be told: a closed log must not end a run half-way."""

    def tell(line: str) -> None:
        with suppress(OSError, ValueError):
            say(line)

    return tell


def _run(job: Job) -> Result:
    """Go along the line."""
    started = time.perf_counter()
    cache = Cache.load(job.settings.cache_dir)
    try:
        with Client(job.settings.timeout, environ=job.environ) as client:
            planned = plan_run(job, client, cache)
            local_copies.return_drawn(planned, job)
            prepared = time.perf_counter()
            published = drop_changed(publish(planned, job, client, cache), job)
            requests = client.requests
        uploaded = time.perf_counter()
        _sweep(planned)
        rewritten_pages = rewrite_pages(published, job)
        settled = local_copies.settle(published, rewritten_pages, job)
        notices = _save(published, rewritten_pages, job, cache)
    finally:
        cache.close()
    rewritten = time.perf_counter()
    seconds = dict(planned.seconds) | {
        "upload": uploaded - prepared,
        "rewrite": rewritten - uploaded,
        "total": rewritten - started,
    }
    made = make_report(published, rewritten_pages, job, requests, seconds, (settled.copies, settled.freed))
    if job.settings.report:
        made, problems = _write_report(made, published, rewritten_pages, job, job.settings.report)
        notices += problems
    every = (*planned.notices, *stay_notices(published), *published.notices, *rewritten_pages.notices, *notices)
    said = (*remarks(published), *rewritten_pages.remarks, *settled.remarks)
    return Result(made, every, said, published.is_refused, advice(published, job), new_lines(published, job))


def _sweep(planned: Planned) -> None:
    """Delete what a run that was killed left unfinished in the site."""
    for folder in {path.rpartition("/")[0] for path in planned.survey.files if "/.imghost-" in f"/{path}"}:
        files.sweep_unfinished(planned.survey.root / folder)


def _save(published: Published, rewritten_pages: RewrittenPages, job: Job, cache: Cache) -> tuple[Notice, ...]:
    """Keep what the next run can use; losing it costs that run time and nothing else."""
    known = {page.path: written.entry for page, written in rewritten_pages.pages if written.entry}
    removed = local_copies.removed_now(published.planned, job)
    try:
        hosted = tuple(sorted(local_copies.hosted_in_site(published)))
        last = published.planned.known
        if not any(written.is_half_written for _, written in rewritten_pages.pages):  # no map: all is written again
            page_map.save(job.page_map, PageMap(last.mark, known, removed, hosted), last)
        cache.save()
    except OSError as problem:
        why = f"{problem.strerror or problem}; {files.remedy(problem)}, or change 'cache_dir'"
        where = Path(problem.filename).parent if problem.filename else job.settings.cache_dir
        return (Notice("cache", f"the local store {where} cannot be written: {why}"),)
    return ()


def _write_report(
    made: Report, published: Published, rewritten_pages: RewrittenPages, job: Job, path: Path
) -> tuple[Report, tuple[Notice, ...]]:
    """Gather what a report tells beside the counts, and write it in the form that its ending names."""
    from imghost.run import report_html
    from imghost.run.report_facts import gather

    try:
        facts = gather(published, rewritten_pages, job, report.pages_by_image(published))
        full = made._replace(facts=facts)
        is_page = path.suffix == ".html"
        text = report_html.as_html(full, facts, job.site, path.parent) if is_page else report.as_json(full)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, text, is_durable=False)
    except OSError as problem:
        reason = problem.strerror or problem
        where = f"the report {path} cannot be written: {reason}; change the option 'report'"
        return made, (Notice("report", where),)
    return full, ()


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
