"""References and URLs to pages on disk: each page spliced and replaced whole, or left as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from imghost import files, urls
from imghost.files import stamp
from imghost.models import Record, Reference
from imghost.pages import decode, encode
from imghost.plan import Group
from imghost.site.page_map import Entry, digest_of
from imghost.site.pages import PageView, before_changes
from imghost.urls import Place, SiteTarget
from imghost.wishes import Better


class Written(NamedTuple):
    """What became of one page."""

    entry: Entry | None
    """What the map keeps of it; None where it is not as it should be."""
    rewritten: int
    """References that point to hosted images now."""
    problem: str = ""


def edits_of(
    page: PageView,
    groups: Mapping[int, Group],
    records: Mapping[str, Record],
    urls: Callable[[Record, SiteTarget], str],
) -> dict[Reference, str]:
    """Choose the new URL of each reference that moves: whole groups, and only onto records."""
    edits: dict[Reference, str] = {}
    for reference, target in page.resolved():
        group = groups[reference.group]
        if not group.held and group.paths <= records.keys():
            edits[reference] = urls(records[target.path], target)
    return edits


def url_maker(page: PageView, site: Place, *, is_in_site: bool) -> Callable[[Record, SiteTarget], str]:
    """Make what writes a record's URL into a page: as it is, or in the form of the old reference."""

    def make(record: Record, target: SiteTarget) -> str:
        return urls.written(record.url, target.form, page.base, site) if is_in_site else record.url

    return make


def write_page(
    root: Path,
    page: PageView,
    edits: Mapping[Reference, str],
    better: Better | None = None,
    before: Callable[[], None] = lambda: None,
) -> Written:
    """Bring one page to what its edits say; a page that changed since it was scanned is left alone.

    `before` is called before a file changes.
    """
    if page.path.endswith(".css"):
        better = None
    wanted = _wanted(edits, better)
    if not page.is_read and page.entry and page.entry.wanted == wanted:
        return Written(page.entry, len(edits))
    if page.is_read and not edits and (page.entry is None or not page.entry.digest):
        return Written(Entry(page.stamp, "", page.scan, (), wanted, page.origin), 0)
    file = root / page.path
    try:
        content = file.read_bytes()
    except OSError as problem:
        return Written(None, 0, f"it cannot be read: {problem.strerror or problem}; make it readable and build again")
    if stamp(file) != page.stamp:  # asked after the read, so that what was read is what was scanned
        return Written(None, 0, "it changed while the build ran; build again")
    text = _original(content, page)
    if text is None:
        return Written(None, 0, "it is not as the last run left it; build again")
    changes = _changes(text, page, edits, better)
    from imghost.html.edit import changed_text

    changed = encode(changed_text(text, changes))
    if changed != content:
        try:
            before()
        except OSError as problem:
            return Written(None, 0, f"the map of changes cannot be put aside: {problem.filename}: {_told(problem)}")
        try:
            files.write_whole(file, changed, is_durable=False)
        except OSError as problem:
            return Written(None, 0, f"it cannot be written: {_told(problem)}")
    digest = digest_of(changed) if changes else ""
    return Written(Entry(stamp(file) or page.stamp, digest, page.scan, changes, wanted, page.origin), len(edits))


def _told(problem: OSError) -> str:
    return f"{problem.strerror or problem}; {files.remedy(problem)} and build again"


def _original(content: bytes, page: PageView) -> str | None:
    """Give a page as its generator wrote it."""
    text = decode(content)
    if page.entry is None or not page.entry.digest:
        return text
    return before_changes(page.path, text, page.entry) if digest_of(content) == page.entry.digest else None


def _changes(
    text: str, page: PageView, edits: Mapping[Reference, str], better: Better | None
) -> tuple[tuple[int, str, str], ...]:
    """List what changes in a page, in order."""
    from imghost.html.edit import changes_of

    if not better or not edits:
        return changes_of(text, edits)
    from imghost.html.improve import improve

    chosen, added = improve(text, page.scan, edits, better)
    return tuple(sorted((*changes_of(text, chosen), *added)))


def _wanted(edits: Mapping[Reference, str], better: Better | None) -> str:
    """Digest what a page is to become."""
    if not edits:
        return ""
    told: object = sorted((reference.start, url) for reference, url in edits.items())
    if better:
        told = told, better.wishes, sorted((one.start, repr(known)) for one, known in better.known.items())
    return hashlib.sha256(repr(told).encode("utf-8", "surrogatepass")).hexdigest()
