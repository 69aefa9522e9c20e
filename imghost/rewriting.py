"""All pages of a site, pointed at what is hosted."""

from __future__ import annotations

from functools import cache, partial
from typing import NamedTuple

from imghost import urls
from imghost.run import local_copies
from imghost.run.job import Published
from imghost.run.plan import Job, Notice
from imghost.run.rewrite import Written, edits_of, url_maker, write_page
from imghost.site import page_map
from imghost.site.pages import PageView
from imghost.wishes import better_of, remarks, wishes_of


class Rewriting(NamedTuple):
    """What became of the pages."""

    pages: tuple[tuple[PageView, Written], ...]
    local: frozenset[str]
    """Images that some reference still means locally."""
    notices: tuple[Notice, ...]
    remarks: tuple[str, ...] = ()


def rewrite_pages(published: Published, job: Job) -> Rewriting:
    """Change the pages, one by one, each whole or not at all."""
    site = urls.place(job.settings.site_url)
    host = published.prospect.host
    is_in_site = host is not None and not host.origins
    wishes = wishes_of(job.settings, host)
    pages: list[tuple[PageView, Written]] = []
    local: set[str] = set()
    notices: list[Notice] = []
    lost: set[str] = set()
    set_aside = cache(partial(page_map.set_aside, job.page_map))  # once, before the first change
    for page, groups in published.prospect.groups:
        edits = edits_of(page, groups, published.records, url_maker(page, site, is_in_site=is_in_site))
        needed = {target.path for reference, target in page.resolved() if reference not in edits}
        lost |= local_copies.put_back(job.site, needed - local, published.prospect.known.removed)
        local |= needed
        if needed & lost:
            gone = min(needed & lost)
            text = f"{page.path}: left as it was: {gone} has no URL now and its local copy was removed; build it again"
            notices.append(Notice("page", text))
            pages.append((page, Written(page.entry, 0)))
            continue
        better = better_of(page, edits, published.records, published.prospect.images, host, wishes)
        written = write_page(job.site, page, edits, better, set_aside)
        if written.problem:
            local |= {target.path for _, target in page.resolved()}
            text = f"{page.path}: its references stay as they were: {written.problem}"
            notices.append(Notice("page", text))
        pages.append((page, written))
    hosted = (page for page, written in pages if written.rewritten)
    return Rewriting(tuple(pages), frozenset(local), tuple(notices), remarks(job.settings, host, hosted))
