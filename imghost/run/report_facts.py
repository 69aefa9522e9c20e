"""What a report tells beside the run's counts: where the site's bytes are, what is odd, each image.

It is gathered only where a report is asked for: every file of the site is looked at, and every page is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

from imghost.environment import version
from imghost.files import git_top, stamp
from imghost.hosts import Host
from imghost.models import Failure, Image, Record
from imghost.records.state import needs_renewal
from imghost.run import local_copies
from imghost.run.audit import Audit, Finding, HostedCopy, ImageFile, ShownAt, audit
from imghost.run.job import Job, Notice, Published, RewrittenPages
from imghost.run.rewrite import additions_of, hosted_image
from imghost.site.images import Stay
from imghost.site.pages import survey
from imghost.wording import clause, printable


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


_GIT_SECONDS: Final = 10


def gather(
    published: Published, rewritten_pages: RewrittenPages, job: Job, pages_of: Mapping[str, tuple[str, ...]]
) -> Facts:
    """Collect all that a report tells beside the counts, once the site is as its readers get it."""
    host, settings, now = published.planned.host, job.settings, job.now()
    copies = _copies(published, job, now)
    seen = audit(job.site, now=now, site_url=settings.site_url, hosted=copies, folder=settings.folder)
    listed = (*_listed(published, job, pages_of, seen, now), *_unnamed_files(seen))
    failed = (_failed(image) for image in listed if image.state == "failed")
    records = {record.url: record for record in published.records.values()}
    return Facts(
        built=now,
        version=version(),
        commit=commit(settings.folder, job.environ),
        title=seen.title,
        place=_place(host, published.records),
        site_bytes=_site_bytes(published, rewritten_pages, job, listed),
        images=listed,
        by_page=tuple(_weights(published, listed)),
        findings=(*failed, *seen.findings),
        versions=tuple(_versions(job.site, listed)),
        waiting=_waiting(published),
        warnings=tuple(_warnings((*published.planned.notices, *published.notices, *rewritten_pages.notices))),
        spent=sum(map(_paid, records.values()), Decimal(0)),
        has_price=host is not None and host.limits.price > 0,
        max_edge=settings.max_edge,
        is_collected=host is not None and host.place != "network",
    )


def _failed(image: ListedImage) -> Finding:
    return Finding("failed", (image.path,), image.reason, image.remedy)


def _copies(published: Published, job: Job, now: datetime) -> dict[str, HostedCopy]:
    """Say of every URL that a page may have which image it is, those that follow from a record included."""
    host, settings = published.planned.host, job.settings
    additions = additions_of(settings, host)
    copies: dict[str, HostedCopy] = {}
    for path, record in sorted(published.records.items()):
        image = published.planned.images.get(path)
        is_expiring = needs_renewal(record, settings.renew_before, now)
        copy = HostedCopy(path, record.bytes, record.width, record.height, record.expires, is_expiring, record.sha256)
        derived = hosted_image(record, image, host, additions)
        for url in (record.url, derived.url, *(url for url, _ in derived.choices)):
            copies.setdefault(url, copy)
    copies.pop("", None)
    return copies


def _listed(
    published: Published, job: Job, pages_of: Mapping[str, tuple[str, ...]], seen: Audit, now: datetime
) -> Iterator[ListedImage]:
    """List the images that pages refer to."""
    new = {path for outcome in published.outcomes if outcome.record and outcome.is_new for path in outcome.upload.paths}
    failures = {failure.path: failure for failure in published.failures}
    names: dict[str, str] = {}
    for path in sorted(published.records):
        names.setdefault(published.records[path].url, path)
    for path, pages in sorted(pages_of.items()):
        record = published.records.get(path)
        # Of a URL that several files share, the pages were read under the first name.
        shown = seen.shown.get(names[record.url] if record else path, ShownAt(None, ()))
        image = _seen(path, published.planned.images.get(path), seen.files.get(path))
        image = image._replace(pages=pages, shown=shown.width, alts=shown.alts)
        if record:
            is_expiring = needs_renewal(record, job.settings.renew_before, now)
            yield _with_url(image, record)._replace(state="new" if path in new else "hosted", is_expiring=is_expiring)
        else:
            yield _staying(image, failures.get(path), published.staying.get(path))


def _seen(path: str, image: Image | None, file: ImageFile | None) -> ListedImage:
    """Say what is known of an image by its bytes: what the run identified, else what the audit measured."""
    if image:
        size, sha256 = (image.facts.width, image.facts.height), image.sha256
    else:
        size, sha256 = ((file.width, file.height), file.sha256) if file else ((None, None), "")
    weight = file.bytes if file else image.bytes if image else 0
    edges = (size[0], size[1]) if size[0] and size[1] else None
    return ListedImage(path, "local", weight, edges, sha256, is_there=file is not None)


def _with_url(image: ListedImage, record: Record) -> ListedImage:
    return image._replace(
        bytes=image.bytes or record.bytes,
        url=record.url,
        expires=record.expires,
        recorded=record.uploaded,
        cost=_paid(record),
        sent=record.bytes,
        is_stripped="strip" in record.variant.split("+"),
    )


def _staying(image: ListedImage, failure: Failure | None, stay: Stay | None) -> ListedImage:
    """Say why an image stays; one that should have moved has failed."""
    if failure:
        return image._replace(state="failed", reason=failure.reason, remedy=failure.remedy)
    if stay is None:
        return image
    state = "failed" if stay.code else "local"
    return image._replace(state=state, reason=clause(stay.reason, "it"), remedy=stay.remedy)


def _unnamed_files(seen: Audit) -> Iterator[ListedImage]:
    for finding in seen.findings:
        if finding.kind == "unused":
            path = finding.paths[0]
            file = seen.files[path]
            size = (file.width, file.height) if file.width and file.height else None
            yield ListedImage(path, "unused", file.bytes, size, file.sha256)


def _paid(record: Record) -> Decimal:
    """Give what a record's receipt says was paid for it, in US dollars; the lock may come from a stranger."""
    receipt = record.extra.get("receipt")
    try:
        paid = Decimal(str(receipt.get("amount", "0"))) if isinstance(receipt, Mapping) else Decimal(0)
    except ArithmeticError:
        return Decimal(0)
    return paid if paid.is_finite() and 0 <= paid < _NO_PRICE else Decimal(0)


_NO_PRICE: Final = 1_000_000
"""US dollars that no image costs."""


def _place(host: Host | None, records: Mapping[str, Record]) -> str:
    """Name where the images live; of a folder its address, since `directory` says nothing to a reader."""
    if host is None:
        return ""
    record = next(iter(records.values()), None)
    return host.name if host.place == "network" or record is None else record.url.rpartition("/")[0] or host.name


def _site_bytes(
    published: Published, rewritten_pages: RewrittenPages, job: Job, listed: Iterable[ListedImage]
) -> SiteBytes:
    """Measure the site as it is, and what it would be with every local copy, and without those that may go."""
    sizes = {path: known[0] for path in survey(job.site).files if (known := stamp(job.site / path))}
    after = sum(sizes.values())
    collected = {url for url in local_copies.hosted_in_site(published) if url in sizes}
    states = {image.path: image.state for image in listed if image.path in sizes}
    images = published.planned.images.items()
    gone = sum(image.bytes for path, image in images if "://" not in path and path not in sizes)
    return SiteBytes(
        before=after + max(0, gone - sum(sizes[path] for path in collected)),
        after=after,
        pages=after - sum(sizes[path] for path in states.keys() | collected),
        unused=sum(sizes[path] for path, state in states.items() if state == "unused"),
        copies=sum(sizes.get(path, 0) for path in _removable(published, rewritten_pages, job)),
    )


def _removable(published: Published, rewritten_pages: RewrittenPages, job: Job) -> Iterable[str]:
    """List the local copies that `remove_local` would delete now."""
    if job.settings.remove_local:
        return ()
    files = published.planned.survey.files
    paths = {path for path in published.records if path in files and path not in rewritten_pages.local}
    return local_copies.unnamed(published.planned.survey, paths) if paths else ()


def _weights(published: Published, listed: Iterable[ListedImage]) -> list[Weight]:
    """Sum up each page's images, each once, the heaviest page first."""
    known = {image.path: image for image in listed}
    weights = []
    for page in published.planned.views:
        images = [known[path] for path in {target.path for _, target in page.resolved()} if path in known]
        if images and not page.path.endswith(".css"):
            hosted = sum(image.bytes for image in images if image.url)
            weights.append(Weight(page.path, len(images), sum(image.bytes for image in images), hosted))
    return sorted(weights, key=lambda weight: (-weight.bytes, weight.name))


def _versions(site: Path, listed: Sequence[ListedImage]) -> Iterator[Version]:
    """Read the versions that a site says it has, by the `versions.json` that mike writes into its root."""
    try:
        rows = json.loads((site / "versions.json").read_bytes())
        names = {str(row["version"]): tuple(map(str, row.get("aliases", ()))) for row in rows}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return
    for name, aliases in names.items():
        folder = site / name
        if "/" in name or name in {"", ".", ".."} or not folder.is_dir() or folder.is_symlink():
            continue
        found = survey(folder)
        now = sum(known[0] for path in found.files if (known := stamp(folder / path)))
        images = [image for image in listed if image.path.startswith(f"{name}/")]
        gone = sum(image.bytes for image in images if not image.is_there)
        yield Version(name, aliases, len(found.pages), len(images), now + gone, now)


def _waiting(published: Published) -> Waiting:
    """Say how many images would be uploaded if this build might, and why it may not."""
    plan, leave, host = published.planned.plan, published.planned.leave, published.planned.host
    left = [upload for upload in plan.uploads if not published.records.keys() & set(upload.paths)]
    if not left or (leave.may_upload and not published.is_refused):
        return Waiting()
    why = "budget" if published.is_refused else leave.reason
    if not leave.may_upload and host is not None and leave.code == "" and host.lacks_credential:
        why = "credential"
    return Waiting(len(left), sum(upload.image.bytes for upload in left), plan.price * len(left), why)


def _warnings(notices: Iterable[Notice]) -> Iterator[Failure]:
    """Take what was warned of beside single images, which the list has."""
    for notice in notices:
        if notice.code != "upload":
            yield Failure(notice.code, printable(notice.text, 400))


def commit(folder: Path, environ: Mapping[str, str]) -> str:
    """Find the commit that is built: as the CI service says, else as git does; empty where neither knows."""
    for name in ("GITHUB_SHA", "CI_COMMIT_SHA", "READTHEDOCS_GIT_COMMIT_HASH", "COMMIT_REF", "CF_PAGES_COMMIT_SHA"):
        if re.fullmatch(r"[0-9a-f]{7,64}", environ.get(name, "")):
            return environ[name]
    if git_top(folder.absolute()) is None:
        return ""
    from subprocess import DEVNULL, SubprocessError, run

    try:
        told = run(  # noqa: S603
            ["git", "-C", str(folder), "rev-parse", "--verify", "HEAD"],  # noqa: S607 - as the user's own build finds it
            stdout=-1, stderr=DEVNULL, text=True, timeout=_GIT_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, SubprocessError):
        return ""
    text = told.stdout.strip()
    return text if re.fullmatch(r"[0-9a-f]{40,64}", text) else ""
