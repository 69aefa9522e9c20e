"""Pages pointed at what is hosted, each whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from imghost import files, urls
from imghost.files import Stamp, stamp
from imghost.hosts import Host, Varies
from imghost.html import policy
from imghost.html.edit import Additions, HostedImage, Improvements, Shaping
from imghost.models import Image, Record, Reference
from imghost.run import local_copies
from imghost.run.job import Job, Notice, Planned, RewrittenPages, WrittenPage
from imghost.settings import Settings
from imghost.site import page_map
from imghost.site.page_map import PageEntry, digest_of
from imghost.site.pages import UNSEEN_BY_CSP, Group, PageView, Survey, before_changes, decode, encode
from imghost.urls import Place, SiteTarget

SEEN: Final = "shown"
"""The field of a record that lists the kinds of derived addresses that were fetched and shown an image."""


def rewrite_pages(
    planned: Planned,
    records: Mapping[str, Record],
    job: Job,
    sizes: Mapping[str, Sequence[Record]] = MappingProxyType({}),
) -> RewrittenPages:
    """Change the pages, one by one, each whole or not at all; `records` tell what may be pointed to, by its path."""
    site = urls.place(job.settings.site_url)
    host = planned.host
    is_in_site = host is not None and host.place == "site"
    additions = additions_of(job.settings, host)
    shaping = _shaping(planned.survey) if additions.dimensions or additions.responsive else Shaping()
    pages: list[tuple[PageView, WrittenPage]] = []
    local: set[str] = set()
    notices: list[Notice] = []
    lost: set[str] = set()
    keeps_query = not isinstance(host, Varies)
    # Without a map there is nothing that tells the generator to write a page again.
    is_in_place = job.writes_again and job.page_map is not None
    set_aside = cache(partial(page_map.set_aside, job.page_map))  # once, before the first change
    for page, groups in planned.groups:
        maker = url_maker(page, site, is_in_site=is_in_site)
        edits = choose_urls(page, groups, records, maker, urls.origin_of(site))
        needed = {target.path for reference, target in page.resolved() if reference not in edits}
        lost |= local_copies.put_back(job.site, needed - local, planned.last_map.removed)
        local |= needed
        if needed & lost:
            gone = min(needed & lost)
            text = f"{page.path}: left as it was: {gone} has no URL now and its local copy was removed; build it again"
            notices.append(Notice("page", text))
            pages.append((page, WrittenPage(page.entry, 0)))
            continue
        improvements = improvements_of(page, edits, records, planned.images, host, additions, shaping, sizes, maker)
        written = write_page(
            job.site, page, edits, improvements, set_aside, is_in_place=is_in_place, keeps_query=keeps_query
        )
        if written.problem:
            local |= {target.path for _, target in page.resolved()}
            text = f"{page.path}: its references stay as they were: {written.problem}"
            notices.append(Notice("page", text))
        pages.append((page, written))
    hosted = (page for page, written in pages if written.rewritten)
    return RewrittenPages(tuple(pages), frozenset(local), tuple(notices), remarks(job.settings, host, hosted))


def choose_urls(
    page: PageView,
    groups: Mapping[int, Group],
    records: Mapping[str, Record],
    urls: Callable[[Record, SiteTarget], str],
    own: str = "",
) -> dict[Reference, str]:
    """Choose the new URL of each reference that moves: whole groups, and only onto records.

    `own` is the site's origin.
    """
    edits: dict[Reference, str] = {}
    barred: set[int] = set()
    for reference, target in page.resolved():
        group = groups[reference.group]
        if not group.held and group.paths <= records.keys():
            edits[reference] = urls(records[target.path], target)
            if page.scan.policies and _is_barred(page, reference, edits[reference], own):
                barred.add(reference.group)
    if barred:
        edits = {reference: url for reference, url in edits.items() if reference.group not in barred}
    return _with_users(page, edits) if any(reference.kind == "preload" for reference in edits) else edits


def _is_barred(page: PageView, reference: Reference, url: str, own: str) -> bool:
    """Say whether the page's policies name another path of the host than this image's."""
    if reference.kind in UNSEEN_BY_CSP or "://" not in url:
        return False
    directive = "object-src" if reference.kind == "object" else "img-src"
    return policy.blocks(page.scan.policies, [url], directive, own)


def _with_users(page: PageView, edits: dict[Reference, str]) -> dict[Reference, str]:
    """Let a preload stay where what it is for stays."""
    users = {target.path for reference, target in page.resolved() if reference in edits and reference.kind != "preload"}
    paths = {reference: target.path for reference, target in page.resolved() if reference.kind == "preload"}
    alone = {reference.group for reference, path in paths.items() if path not in users}
    return {one: url for one, url in edits.items() if one.kind != "preload" or one.group not in alone}


def url_maker(page: PageView, site: Place, *, is_in_site: bool) -> Callable[[Record, SiteTarget], str]:
    """Make what writes a record's URL into a page: as it is, or in the form of the old reference."""

    def make(record: Record, target: SiteTarget) -> str:
        return urls.written(record.url, target.form, page.base, site) if is_in_site else record.url

    return make


def write_page(
    root: Path,
    page: PageView,
    edits: Mapping[Reference, str],
    improvements: Improvements | None = None,
    before: Callable[[], None] = lambda: None,
    *,
    is_in_place: bool = False,
    keeps_query: bool = True,
) -> WrittenPage:
    """Bring one page to what its edits say; a page that changed since it was scanned is left alone.

    `before` is called before a file changes. With `is_in_place` the page is written over instead of replaced, which
    only a generator allows that writes it again after a run that was killed half-way.
    """
    if page.path.endswith(".css"):
        improvements = None
    wanted = _wanted(edits, improvements)
    if not page.is_read and page.entry and page.entry.wanted == wanted:
        return WrittenPage(page.entry, len(edits))
    if page.is_read and not edits and (page.entry is None or not page.entry.digest):
        return WrittenPage(PageEntry(page.stamp, "", page.scan, (), wanted, page.origin), 0)
    file = root / page.path
    try:
        content = file.read_bytes()
    except OSError as problem:
        return WrittenPage(
            None, 0, f"it cannot be read: {problem.strerror or problem}; make it readable and build again"
        )
    if stamp(file) != page.stamp:  # asked after the read, so that what was read is what was scanned
        return WrittenPage(None, 0, "it changed while the build ran; build again")
    text = _original(content, page)
    if text is None:
        return WrittenPage(None, 0, "it is not as the last run left it; build again")
    changes = _changes(text, page, edits, improvements, keeps_query=keeps_query)
    from imghost.html.edit import changed_text

    changed = encode(changed_text(text, changes))
    now = page.stamp
    if changed != content:
        outcome = _put(file, content, changed, page.stamp, before, is_in_place=is_in_place)
        if isinstance(outcome, WrittenPage):
            return outcome
        now = outcome
    digest = digest_of(changed) if changes else ""
    return WrittenPage(PageEntry(now, digest, page.scan, changes, wanted, page.origin), len(edits))


def _put(
    file: Path, content: bytes, changed: bytes, expected: Stamp, before: Callable[[], None], *, is_in_place: bool
) -> Stamp | WrittenPage:
    """Write a page; gives its stamp then, or why it is not written."""
    try:
        before()
    except OSError as problem:
        return WrittenPage(None, 0, f"the map of changes cannot be put aside: {problem.filename}: {_told(problem)}")
    try:
        if is_in_place:
            now = files.write_over(file, content, changed, expected)
            return now or WrittenPage(None, 0, "it changed while the build ran; build again")
        files.write_whole(file, changed, is_durable=False)
    except OSError as problem:
        is_half = isinstance(problem, files.HalfWrittenError)
        return WrittenPage(None, 0, f"it cannot be written: {_told(problem)}", is_half_written=is_half)
    return stamp(file) or expected


def _told(problem: OSError) -> str:
    return f"{problem.strerror or problem}; {files.remedy(problem)} and build again"


def _original(content: bytes, page: PageView) -> str | None:
    """Give a page as its generator wrote it."""
    text = decode(content)
    if page.entry is None or not page.entry.digest:
        return text
    return before_changes(page.path, text, page.entry) if digest_of(content) == page.entry.digest else None


def _changes(
    text: str, page: PageView, edits: Mapping[Reference, str], improvements: Improvements | None, *, keeps_query: bool
) -> tuple[tuple[int, str, str], ...]:
    """List what changes in a page, in order."""
    from imghost.html.edit import changes_of

    if not improvements or not edits:
        return changes_of(text, edits, keeps_query=keeps_query)
    from imghost.html.improve import improve

    chosen, added = improve(text, page.scan, edits, improvements)
    return tuple(sorted((*changes_of(text, chosen, keeps_query=keeps_query), *added)))


def _wanted(edits: Mapping[Reference, str], improvements: Improvements | None) -> str:
    """Digest what a page is to become."""
    if not edits:
        return ""
    told: object = sorted((reference.start, url) for reference, url in edits.items())
    if improvements:
        told = (
            told,
            improvements.additions,
            sorted((one.start, repr(known)) for one, known in improvements.known.items()),
            [sorted(part) if isinstance(part, frozenset) else part for part in improvements.shaping],
        )
    return hashlib.sha256(repr(told).encode("utf-8", "surrogatepass")).hexdigest()


_CONVERTED: Final = frozenset({"image/png", "image/jpeg"})
_STILL: Final = _CONVERTED | {"image/gif", "image/webp", "image/avif"}


def additions_of(settings: Settings, host: Host | None) -> Additions:
    """Read the options; those that this host can do nothing for are left out."""
    varies, is_elsewhere = isinstance(host, Varies), host is not None and host.place != "site"
    return Additions(
        responsive=settings.responsive,
        format=(settings.format or "") if varies else "",
        dimensions=settings.dimensions,
        lazy=settings.lazy,
        fallback=settings.fallback and is_elsewhere,
    )


def improvements_of(
    page: PageView,
    edits: Mapping[Reference, str],
    records: Mapping[str, Record],
    images: Mapping[str, Image],
    host: Host | None,
    additions: Additions,
    shaping: Shaping = Shaping(),  # noqa: B008 - a value that nothing changes
    sizes: Mapping[str, Sequence[Record]] = MappingProxyType({}),
    make: Callable[[Record, SiteTarget], str] = lambda record, _: record.url,
) -> Improvements | None:
    """Collect what improves a page's images; None where nothing is asked for."""
    if not additions:
        return None
    moved = ((reference, target) for reference, target in page.resolved() if reference in edits)
    known = {
        one: only_seen(
            hosted_image(
                records[target.path],
                images.get(target.path),
                host,
                additions,
                [
                    (size.width, make(size, target))
                    for size in sizes.get(target.path, ())
                    # One that has no fewer bytes than the whole image would only cost.
                    if size.width and size.bytes < records[target.path].bytes
                ],
                make(records[target.path], target),
            ),
            records[target.path],
            additions,
            host,
        )
        for one, target in moved
        if one.kind == "img"
    }
    return Improvements(additions, known, shaping)


def _shaping(found: Survey) -> Shaping:
    """Read what a site's style sheets decide of images' sizes; one that cannot be read decides nothing."""
    from imghost.html.shaping import all_shaping

    def sheets() -> Iterable[str]:
        for path in found.stylesheets:
            with suppress(OSError):
                yield decode((found.root / path).read_bytes())

    return all_shaping(sheets())


def hosted_image(
    record: Record,
    image: Image | None,
    host: Host | None,
    additions: Additions,
    sizes: Iterable[tuple[int, str]] = (),
    url: str = "",
) -> HostedImage:
    """Say what a page can use of a hosted image; one that is animated, or may be, keeps its one address.

    `sizes` are the widths and addresses of what was made smaller here, `url` is the image's own address in the page.
    """
    if image and image.facts.natural:
        # Its pixels are not what it is shown by, and a choice by width would count them.
        return HostedImage("", *image.facts.natural)
    form = image.facts.media_type if image and not image.facts.is_animated else ""
    if not isinstance(host, Varies) or form not in _STILL:
        made = dict(sorted(size for size in sizes if record.width and size[0] < record.width))
        whole = ((url or record.url, f"{record.width}w"),) if made else ()
        return HostedImage("", record.width, record.height, (*((at, f"{wide}w") for wide, at in made.items()), *whole))
    smaller = host.variants(record) if additions.responsive and record.width and record.height else ()
    choices = (*smaller, (record.url, f"{record.width}w")) if smaller else ()
    if not additions.format or form not in _CONVERTED:
        return HostedImage("", record.width, record.height, choices)
    converted = tuple((host.converted(url, additions.format), width) for url, width in choices)
    return HostedImage(host.converted(record.url, additions.format), record.width, record.height, converted)


def kinds_of(hosted: HostedImage, additions: Additions) -> dict[str, str]:
    """Name each kind of derived address that a page would use of an image, with one address of it."""
    kinds = {f"format={additions.format}": hosted.url} if hosted.url else {}
    if hosted.choices:
        kinds["size" + (f"+format={additions.format}" if hosted.url else "")] = hosted.choices[0][0]
    return kinds


def only_seen(hosted: HostedImage, record: Record, additions: Additions, host: Host | None) -> HostedImage:
    """Leave out the addresses of the kinds that nobody has seen; those of sizes made here are records' own."""
    if not isinstance(host, Varies):
        return hosted
    kinds, seen = kinds_of(hosted, additions), seen_kinds(record)
    if seen.issuperset(kinds):
        return hosted
    has_format = f"format={additions.format}" in seen
    has_sizes = has_format is bool(hosted.url) and all(kind in seen for kind in kinds if kind.startswith("size"))
    return hosted._replace(url=hosted.url if has_format else "", choices=hosted.choices if has_sizes else ())


def seen_kinds(record: Record) -> frozenset[str]:
    """List the kinds of derived addresses of an image that were fetched and shown one."""
    kinds = record.extra.get(SEEN)
    return frozenset(map(str, kinds)) if isinstance(kinds, list) else frozenset()


def remarks(settings: Settings, host: Host | None, pages: Iterable[PageView]) -> tuple[str, ...]:
    """Say what is asked for and cannot be done, a line for each; `pages` are those with hosted images."""
    if host is None:
        return ()
    said = []
    if settings.format and not isinstance(host, Varies) and f"image/{settings.format}" not in host.limits.formats:
        said.append(f"'format' changes nothing: {host.name} does not take {settings.format}")
    if settings.fallback and host.place == "site":
        said.append("'fallback' changes nothing: the hosted images are a part of the site")
    elif settings.fallback:
        barred = sum(1 for page in pages if not policy.allows_inline(page.scan.policies, "script-src-attr"))
        text = f"{barred} {'page has' if barred == 1 else 'pages have'} no fallback: a Content-Security-Policy forbids"
        said += [f"{text} inline scripts there"] * bool(barred)
    return tuple(said)
