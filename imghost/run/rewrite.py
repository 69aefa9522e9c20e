"""Pages, what stands beside them, and single texts pointed at what is hosted, each whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache, lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from imghost import files, urls
from imghost.files import Stamp, digest, open_beneath, read_whole, stamp
from imghost.hosts import Converts, Host, Varies, registry, varies
from imghost.html import allows_inline, blocks
from imghost.html.edit import Additions, HostedImage, Improvements, Shaping, splice
from imghost.models import DEFAULT_KINDS, IMPORT, Image, NamedTuple, Record, Reference, changed_text
from imghost.net import Client
from imghost.records import covers, owns
from imghost.records import lock as locks
from imghost.run import local_copies
from imghost.run.job import Job, Notice, Planned, RewrittenPages, WrittenPage, is_size
from imghost.settings import Settings
from imghost.site import page_map
from imghost.site.dependents import (
    barring,
    drawn_by_scripts,
    header_policies,
    may_matter,
    renew_twins,
    seen_elsewhere,
    stale,
    works_offline,
)
from imghost.site.page_map import PageEntry, digest_of
from imghost.site.pages import UNSEEN_BY_CSP, UNSHOWN, Group, PageView, before_changes, groups_of
from imghost.site.survey import Survey, decode, encode, endless_text, pages_without_ending, survey
from imghost.urls import Place, SiteTarget, base_of, resolve
from imghost.wording import many

SEEN: Final = "shown"
"""The field of a record that lists the kinds of derived addresses that were fetched and shown an image."""
REFUSED: Final = "unshown"
"""The field that lists the kinds that the host was asked for and does not serve: `check` does not wait for them."""
WAY: Final = "converts"
"""The field of a record that keeps in which way the host names converted copies, where it has several."""


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
    policies = _policies(planned.survey) if additions.dimensions or additions.fallback else ()
    pages: list[tuple[PageView, WrittenPage]] = []
    local: set[str] = set()
    notices: list[Notice] = []
    lost: set[str] = set()
    keeps_query = not isinstance(host, Varies)
    # Without a map there is nothing that tells the generator to write a page again.
    is_in_place = job.writes_again and job.page_map is not None
    set_aside = cache(partial(page_map.set_aside, job.page_map))  # once, before the first change
    for page, groups in _links_first(planned):
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
        improvements = improvements and improvements._replace(policies=policies)
        written = write_page(
            job.site, page, edits, improvements, set_aside, is_in_place=is_in_place, keeps_query=keeps_query
        )
        if written.problem:
            local |= {target.path for _, target in page.resolved()}
            text = f"{page.path}: its references stay as they were: {written.problem}"
            notices.append(Notice("page", text))
        # Without a map nobody asks what was changed where.
        pages.append((page, written if job.page_map else written._replace(entry=None)))
    hosted = (page for page, written in pages if written.rewritten)
    never_avif = _never_avif(planned, records) if job.settings.format == "avif" else 0
    said = remarks(job.settings, planned.host, hosted, never_avif)
    return RewrittenPages(tuple(pages), frozenset(local), tuple(notices), said)


def _links_first(planned: Planned) -> Sequence[tuple[PageView, Mapping[int, Group]]]:
    """Order pages so that one which is a link to another becomes a page of its own before that one changes.

    Its references start from where it stands itself; one that leads to another link goes before that.
    """
    found = planned.survey
    if not found.links:
        return planned.groups
    return sorted(planned.groups, key=lambda pair: -_steps(found, pair[0].path))


def _steps(found: Survey, path: str) -> int:
    """Count the links from a file to what it means in the end."""
    place, steps = str(found.root / path), 0
    while path in found.links and steps < _MOST_LINKS and os.path.islink(place):  # noqa: PTH114
        place, steps = os.path.join(os.path.dirname(place), os.readlink(place)), steps + 1  # noqa: PTH115, PTH118, PTH120
    return steps


_MOST_LINKS: Final = 40
"""Links in a row that Linux follows."""


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
    return blocks(page.scan.policies, [url], directive, own)


def _with_users(page: PageView, edits: dict[Reference, str]) -> dict[Reference, str]:
    """Let a preload stay where what it is for stays; one of an image that no element shows is for a style sheet."""
    shown = {target.path for reference, target in page.resolved() if reference.kind not in UNSHOWN}
    users = {target.path for one, target in page.resolved() if one in edits and one.kind not in UNSHOWN}
    paths = {reference: target.path for reference, target in page.resolved() if reference.kind == "preload"}
    alone = {reference.group for reference, path in paths.items() if path in shown - users}
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
    file = f"{root}/{page.path}"  # as an object it would cost more than to read it
    try:
        content = page.content if page.content is not None else read_whole(file)
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
    file: str, content: bytes, changed: bytes, expected: Stamp, before: Callable[[], None], *, is_in_place: bool
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
        files.write_whole(Path(file), changed, is_durable=False)
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
            "placed",  # earlier versions took other images for sized, bounded or first
            told,
            improvements.additions,
            sorted((one.start, repr(known)) for one, known in improvements.known.items()),
            _in_order(improvements.shaping),
            improvements.policies,
        )
    return hashlib.sha256(repr(told).encode("utf-8", "surrogatepass")).hexdigest()


def _in_order(told: object) -> str:
    """Write values down alike in every process: sets have an order of their own in each."""
    if isinstance(told, frozenset):
        return f"{{{','.join(sorted(map(_in_order, told)))}}}"
    return f"({','.join(map(_in_order, told))})" if isinstance(told, tuple) else repr(told)


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


def _policies(found: Survey) -> tuple[str, ...]:
    """Read the policies that a site's servers set by their headers; most sites hold no such file."""
    return header_policies(found.root, found.files) if may_matter(found.files) else ()


def _shaping(found: Survey) -> Shaping:
    """Read what a site's style sheets decide of images' sizes; one that cannot be read decides nothing."""
    from imghost.html.improve import all_shaping

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
    if not varies(host) or form not in _STILL:
        made = dict(sorted(size for size in sizes if record.width and size[0] < record.width))
        whole = ((url or record.url, f"{record.width}w"),) if made else ()
        return HostedImage("", record.width, record.height, (*((at, f"{wide}w") for wide, at in made.items()), *whole))
    smaller = host.variants(record) if additions.responsive and record.width and record.height else ()
    choices = (*smaller, (record.url, f"{record.width}w")) if smaller else ()
    if not additions.format or form not in _CONVERTED:
        return HostedImage("", record.width, record.height, choices)
    converted = tuple((_converted(url, record, host, additions.format), width) for url, width in choices)
    plain = _converted(record.url, record, host, additions.format)
    return HostedImage(plain, record.width, record.height, converted)


def _converted(url: str, record: Record, host: Varies, form: str) -> str:
    way = record.extra.get(WAY)
    if isinstance(host, Converts) and isinstance(way, str):
        return host.converted(url, form, way)
    return host.converted(url, form)


def kinds_of(hosted: HostedImage, additions: Additions) -> dict[str, str]:
    """Name each kind of derived address that a page would use of an image, with one address of it."""
    kinds = {f"format={additions.format}": hosted.url} if hosted.url else {}
    if hosted.choices:
        kinds["size" + (f"+format={additions.format}" if hosted.url else "")] = hosted.choices[0][0]
    return kinds


def only_seen(hosted: HostedImage, record: Record, additions: Additions, host: Host | None) -> HostedImage:
    """Leave out the addresses of the kinds that nobody has seen; those of sizes made here are records' own."""
    if not varies(host):
        return hosted
    kinds, seen = kinds_of(hosted, additions), seen_kinds(record)
    if seen.issuperset(kinds):
        return hosted
    has_format = f"format={additions.format}" in seen
    has_sizes = has_format is bool(hosted.url) and all(kind in seen for kind in kinds if kind.startswith("size"))
    return hosted._replace(url=hosted.url if has_format else "", choices=hosted.choices if has_sizes else ())


def seen_kinds(record: Record, field: str = SEEN) -> frozenset[str]:
    """List the kinds of derived addresses of an image that were fetched and shown one; or that another field lists."""
    kinds = record.extra.get(field)
    return frozenset(map(str, kinds)) if isinstance(kinds, list) else frozenset()


def remarks(settings: Settings, host: Host | None, pages: Iterable[PageView], never_avif: int = 0) -> tuple[str, ...]:
    """Say what is asked for and cannot be done, a line for each; `pages` are those with hosted images."""
    if host is None:
        return ()
    said = []
    if never_avif and not isinstance(host, Varies):
        stay = f"{many(never_avif, 'PNG or GIF image')} {'stays' if never_avif == 1 else 'stay'} as uploaded"
        said.append(
            f"{stay}: 'format: avif' is without loss for opaque greys alone, and only where it saves 5 %; 'webp' keeps "
            "every colour"
        )
    if settings.format and not isinstance(host, Varies) and f"image/{settings.format}" not in host.limits.formats:
        said.append(f"'format' changes nothing: {host.name} does not take {settings.format}")
    if settings.fallback and host.place == "site":
        said.append("'fallback' changes nothing: the hosted images are a part of the site")
    elif settings.fallback:
        barred = sum(1 for page in pages if not allows_inline(page.scan.policies, "script-src-attr"))
        text = f"{barred} {'page has' if barred == 1 else 'pages have'} no fallback: a Content-Security-Policy forbids"
        said += [f"{text} inline scripts there"] * bool(barred)
    return tuple(said)


def _never_avif(planned: Planned, records: Mapping[str, Record]) -> int:
    """Count the still images that AVIF would have to keep each pixel of, and that were not made one."""
    pairs = ((planned.images.get(path), record) for path, record in records.items())
    facts = {
        image.sha256: image.facts for image, record in pairs if image and record.media_type == image.facts.media_type
    }
    return sum(1 for it in facts.values() if it.media_type in {"image/png", "image/gif"} and not it.is_animated)


# What stands beside the changed pages: packed twins renewed, and the user told of what only they can mend.


class Tended(NamedTuple):
    """What is worth a warning, and what is worth a line."""

    notices: tuple[Notice, ...] = ()
    remarks: tuple[str, ...] = ()


def tend(planned: Planned, rewritten: RewrittenPages, job: Job) -> Tended:
    """Renew packed twins of changed pages, and tell of what else in the site counts on how pages were."""
    files, host = planned.survey.files, planned.host
    hosted = {page.path for page, written in rewritten.pages if written.rewritten}
    lines = () if job.settings.site_url else _absolute(planned)
    if unread := pages_without_ending(job.site, files):
        lines += (endless_text(unread),)
    if not hosted or host is None or not may_matter(files):
        return Tended(remarks=lines)
    renewed, problems = renew_twins(job.site, files, hosted)
    warned = (
        *problems,
        *stale(job.site, files, hosted),
        *barring(job.site, files, host.origins),
    )
    if renewed:
        lines += (f"{len(renewed)} gzip {'twin' if len(renewed) == 1 else 'twins'} of changed pages packed anew",)
    if host.origins and works_offline(files):
        lines += ("the plugin offline makes a site that is read without a network, and its hosted images need one",)
    if name := drawn_by_scripts(files):
        lines += (f"{name} draws the next page with scripts after a click: images there are the local copies",)
    return Tended(tuple(Notice(one.code, one.text) for one in warned), lines)


def _absolute(planned: Planned) -> tuple[str, ...]:
    """Say that absolute URLs were seen which may be this site's, where it does not say its own."""
    addresses = set(_unresolved(planned))
    if not addresses:
        return ()
    count, example, file = seen_elsewhere(addresses, planned.survey.files)
    if not count:
        return ()
    seen = "1 absolute URL may mean a file" if count == 1 else f"{count} absolute URLs may mean files"
    return (f"{seen} of this site, like {example} ({file}); set 'site_url' if so",)


def _unresolved(planned: Planned) -> Iterable[str]:
    """Yield the absolute URLs that mean nothing of this site, as far as is known."""
    for view in planned.views:
        for reference, target in zip(view.scan.references, view.targets, strict=True):
            if target is None and reference.url[:4] == "http":
                yield reference.url


# One rendered text, its images pointed at what the lock already knows: no site, no upload, no network.

_KINDS: Final = frozenset(DEFAULT_KINDS)
_SITE: Final = Place()
_UNREAD: Final = (0, 0, 0)


class LockedImages(NamedTuple):
    """What a host serves of the lock's images."""

    host: Host
    since: Stamp
    """The lock's stamp: when it changes, images may have been added, too."""
    said: Callable[[Collection[str]], Iterable[Record]]
    """Reads what the lock says of images with these digests."""
    now: datetime

    def of(self, digests: Collection[str]) -> dict[str, Record]:
        """Give the records that count, by the digest of the image's file."""
        return _counting(self.said(digests), self.host, self.now)


def read_lock(lock: Path, options: Mapping[str, Any], now: datetime) -> LockedImages | None:
    """Read what the host that the lock names serves at this moment; None = there is no lock, or no host in it.

    Raises ImghostError for a broken lock, a host that is not installed, or options that it does not take.
    """
    since = stamp(lock)
    if since is None:
        return None
    is_large = since[0] >= locks.WORTH_PROVING
    name, said = _searched(lock) if is_large else _known(lock, since)
    if name is None:
        return None
    settings = Settings(host=name, options=dict(options), lock=lock, folder=lock.parent)
    # No environment, so no credential: whoever renders a text has no use for one.
    host = registry.open_host(name, settings, {}, Client(environ={}), lock.parent, is_asking=True)
    return LockedImages(host, since, said, now)


_Said = tuple[str | None, Callable[[Collection[str]], Iterable[Record]]]
"""The host that a lock names, and what reads the records of images."""


@lru_cache(maxsize=4)
def _known(lock: Path, _: Stamp) -> _Said:
    """Read a lock once for all texts."""
    committed = locks.read(lock)
    records: dict[str, list[Record]] = {}
    for record in committed.records:
        records.setdefault(record.sha256, []).append(record)
    return committed.host, lambda digests: (record for sha256 in digests for record in records.get(sha256, ()))


def _searched(lock: Path) -> _Said:
    """Search a large lock for the images of one text; that every line is as it should be is found out once."""

    def said(digests: Collection[str]) -> Iterable[Record]:
        with locks.opened(lock, proofs=_PROOFS) as there:
            return there.of(digests).records

    with locks.opened(lock, proofs=_PROOFS) as there:
        return there.host, said


class _Proofs:
    """What was found out of large locks, for as long as this process lives."""

    def __init__(self) -> None:
        self._proofs: dict[Path, tuple[Stamp, str]] = {}

    def proof(self, path: Path, now: Stamp) -> str:
        """Tell what was found out of a file with this stamp."""
        then, proof = self._proofs.get(path, (None, ""))
        return proof if then == now else ""

    def keep_proof(self, path: Path, now: Stamp, proof: str) -> None:
        """Keep what was found out."""
        self._proofs[path] = now, proof


_PROOFS: Final = _Proofs()


def _counting(records: Iterable[Record], host: Host, now: datetime) -> dict[str, Record]:
    """Choose the record of each image: one that lives, no smaller size, and of several variants the last."""
    own = [
        record
        for record in records
        if owns(record, host.name, host.accepts)
        and covers(record, now)
        and record.variant != IMPORT
        and not is_size(record.variant)
    ]
    return {record.sha256: record for record in sorted(own, key=lambda record: (record.uploaded, record.variant))}


def rewrite_text(text: str, docs: Path, images: LockedImages, page: str = "") -> str:
    """Point a rendered text's references at hosted images; everything else in it stays as it is.

    A reference means what it would mean in `page`. Where the page is not known, it means the one file of the
    docs folder whose path ends as the reference does.
    """
    from imghost.html.scan import scan  # a page that is as it was needs none

    found = scan(text, _KINDS)
    look = _in_page(docs, page, found.base) if page else _by_ending(docs, images)
    targets = tuple(look(reference) for reference in found.references)
    view = PageView(page, _UNREAD, found, targets, "/")
    paths = {target.path for _, target in view.resolved()}
    digests = {path: sha256 for path in paths if (sha256 := _digest_of(docs, path))}
    known = images.of(set(digests.values())) if digests else {}
    records = {path: known[sha256] for path, sha256 in digests.items() if sha256 in known}
    edits = choose_urls(view, groups_of(view, images.host.origins), records, lambda record, _: record.url)
    return splice(text, edits.items(), keeps_query=not isinstance(images.host, Varies))


def _digest_of(docs: Path, path: str) -> str:
    now = stamp(docs / path)
    return _digest(docs, path, now) if now else ""


@lru_cache(maxsize=4096)
def _digest(docs: Path, path: str, _: Stamp) -> str:
    """Give a file's digest; empty for one that leads out of the folder or cannot be read."""
    try:
        with open_beneath(docs, path) as file:
            return digest(file)
    except OSError:
        return ""


class _Files:
    """Every file below a folder, asked one by one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, path: object) -> bool:
        return stamp(self._folder / str(path)) is not None


def _in_page(docs: Path, page: str, base: str | None) -> Callable[[Reference], SiteTarget | None]:
    start, files = base_of(page, base, _SITE), _Files(docs)
    return lambda reference: None if start is None else resolve(reference.url, start, _SITE, files)


class _Endings:
    """Every path below a folder, by the ends of it that name a file; `paths` are listed by the file's name."""

    def __init__(self, paths: Mapping[str, tuple[str, ...]]) -> None:
        self._paths = paths

    def of(self, ending: str) -> list[str]:
        """List the paths that end in these names."""
        known = self._paths.get(ending.rpartition("/")[2], ())
        return [path for path in known if f"/{path}".endswith(f"/{ending}")]

    def __contains__(self, ending: object) -> bool:
        return bool(self.of(str(ending)))


@lru_cache(maxsize=4)
def _endings(docs: Path, _: Stamp) -> _Endings:
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(survey(docs).files) if docs.is_dir() else ():
        name = path.rpartition("/")[2]
        found[name] = (*found.get(name, ()), path)
    return _Endings(found)


def _by_ending(docs: Path, images: LockedImages) -> Callable[[Reference], SiteTarget | None]:
    """Look a reference up by how its path ends, where that leaves no doubt about the bytes."""
    endings = _endings(docs, images.since)

    def look(reference: Reference) -> SiteTarget | None:
        target = resolve(reference.url, "/", _SITE, endings)
        if target is None:
            return None
        paths = [target.path] if target.form == "root" else endings.of(target.path)
        digests = {_digest_of(docs, path) for path in paths}
        return SiteTarget(paths[0], target.form) if len(digests) == 1 else None

    return look
