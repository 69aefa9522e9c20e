"""The report's values and its JSON, the summary, the remarks and the warnings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from imghost.hosts import Host
from imghost.models import Failure, Record
from imghost.run.job import NOT_UPLOADED, Job, Notice, Published, RewrittenPages
from imghost.wording import clause, many

if TYPE_CHECKING:  # a warm build without a report gathers nothing for one
    from imghost.run.report_facts import Facts


class Uploaded(NamedTuple):
    """One upload of the run, and the pages that show the image."""

    path: str
    record: Record
    pages: tuple[str, ...]


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
    duplicates_possible: int = 0
    """Second copies that the host may have, since an answer was lost and it cannot be asked."""
    facts: Facts | None = None
    """What a written report tells beside this; None where none was asked for."""


def as_json(report: Report) -> str:
    """Write the report as JSON."""
    return json.dumps(as_mapping(report), indent=1, ensure_ascii=False) + "\n"


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
    where = f"in {many(counts.pages_rewritten, 'page')} point to {report.host}"
    parts = [f"{moved} {where}" if counts.references_rewritten else "no reference was rewritten"]
    if counts.uploaded:
        parts.append(f"{counts.uploaded} uploaded ({report.bytes_uploaded:,} bytes)")
    if counts.kept:
        parts.append(f"{counts.kept} {'stays' if counts.kept == 1 else 'stay'} local")
    if counts.failed:
        parts.append(f"{counts.failed} failed")
    if report.removed[0]:
        parts.append(f"{report.removed[0]} local copies removed ({report.removed[1]:,} bytes)")
    return ", ".join(parts)


def stay_notices(published: Published) -> Iterable[Notice]:
    """Warn of each image that stays local though it should not."""
    for path, stay in sorted(published.staying.items()):
        if stay.code:
            yield Notice(stay.code, str(Failure(path, f"stays local: {clause(stay.reason, 'it')}", stay.remedy)))


def remarks(published: Published) -> tuple[str, ...]:
    """Say, a line for each reason that no warning has, how many images stay local."""
    warned = [notice.text for notice in published.notices]
    reasons = Counter(stay.reason for stay in published.staying.values() if not stay.code)
    for reason in [one for one in reasons if any(one.removeprefix(NOT_UPLOADED) in text for text in warned)]:
        del reasons[reason]
    return (
        *_of_repeats(published),
        *(
            f"{count} {'image stays' if count == 1 else 'images stay'} local: {clause(reason, 'each')}"
            for reason, count in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
        ),
    )


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
    pages_of = pages_by_image(published)
    new = {
        outcome.upload.paths[0]: outcome.record for outcome in published.outcomes if outcome.record and outcome.is_new
    }
    failed = {failure.path for failure in published.failures}
    host = published.planned.host
    counts = Counts(
        pages=len(published.planned.survey.pages),
        pages_rewritten=sum(1 for _, written in rewritten_pages.pages if written.rewritten),
        references=sum(1 for page, _ in rewritten_pages.pages for _ in page.resolved()),
        references_rewritten=sum(written.rewritten for _, written in rewritten_pages.pages),
        images=len(pages_of),
        cached=len(published.records.keys() - new.keys()),
        uploaded=len(new),
        kept=len(published.staying),
        failed=len(failed),
    )
    return Report(
        site=_named(job),
        host=host.name if host else None,
        counts=counts,
        uploads=tuple(Uploaded(path, record, pages_of.get(path, ())) for path, record in sorted(new.items())),
        kept=tuple(
            Failure(path, clause(stay.reason, "it"), stay.remedy) for path, stay in sorted(published.staying.items())
        ),
        failures=published.failures,
        bytes_uploaded=sum(record.bytes for record in new.values()),
        requests=requests,
        cost=_cost(host, new.values()),
        seconds=seconds,
        removed=removed,
        duplicates_possible=_repeats(published),
    )


def _cost(host: Host | None, records: Iterable[Record]) -> Decimal:
    """Say what the run has spent, in US dollars: by the host's count, else by its receipts."""
    if isinstance(spent := getattr(host, "spent", None), Decimal):
        return spent
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
