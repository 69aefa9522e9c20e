"""All pages of a site, pointed at what is hosted; then, if asked for, the local copies go."""

from __future__ import annotations

from dataclasses import dataclass

from imghost import durable, removal, resolve
from imghost.prospect import Job, Notice
from imghost.publish import Published
from imghost.references import PageView
from imghost.wishes import better_of, remarks, wishes_of
from imghost.write_pages import Written, edits_of, url_maker, write_page


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What became of the pages."""

    pages: tuple[tuple[PageView, Written], ...]
    local: frozenset[str]
    """Images that some reference still means locally."""
    notices: tuple[Notice, ...]
    remarks: tuple[str, ...] = ()


def rewrite_pages(published: Published, job: Job) -> Rewriting:
    """Change the pages, one by one, each whole or not at all."""
    site = resolve.place(job.settings.site_url)
    host = published.prospect.host
    is_in_site = host is not None and not host.origins
    wishes = wishes_of(job.settings, host)
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
        better = better_of(page, edits, published.records, published.prospect.images, host, wishes)
        written = write_page(job.site, page, edits, better)
        if written.problem:
            local |= {target.path for _, target in page.resolved()}
            text = f"{page.path}: its references stay as they were: {written.problem}; build again"
            notices.append(Notice("page", text))
        pages.append((page, written))
    hosted = (page for page, written in pages if written.rewritten)
    return Rewriting(tuple(pages), frozenset(local), tuple(notices), remarks(job.settings, host, hosted))


def remove_copies(published: Published, rewriting: Rewriting, job: Job) -> tuple[int, int]:
    """Delete the local copies that are not needed any more, if that is asked for."""
    if not job.settings.remove_local or rewriting.notices:
        return 0, 0
    found = published.prospect.survey
    candidates = {path for path in published.records if path in found.files and path not in rewriting.local}
    if not candidates:
        return 0, 0
    durable.sync()
    return removal.remove(job.site, removal.unnamed(found, candidates))
