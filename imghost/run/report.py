"""The report of a run: counts, what was uploaded, what stayed local and why; as JSON or one self-contained page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

from imghost.models import Failure, Record
from imghost.wording import many


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


class Shown(NamedTuple):
    """One image of the site as the HTML report shows it."""

    path: str
    url: str
    bytes: int
    media_type: str
    size: tuple[int, int] | None
    expires: str | None
    pages: tuple[str, ...]
    state: str
    """`hosted`, `uploaded`, `kept` or `failed`."""
    reason: str = ""


class Report(NamedTuple):
    """What a run found and did. Money in US dollars, times in seconds."""

    site: str
    host: str | None
    counts: Counts
    uploads: tuple[Uploaded, ...] = ()
    kept: tuple[Failure, ...] = ()
    failures: tuple[Failure, ...] = ()
    images: tuple[Shown, ...] = ()
    bytes_uploaded: int = 0
    requests: int = 0
    cost: Decimal = Decimal("0.00")
    seconds: Mapping[str, float] = MappingProxyType({})
    removed: tuple[int, int] = (0, 0)
    """Local copies that were deleted, and their bytes."""
    duplicates_possible: int = 0
    """Second copies that the host may have, since an answer was lost and it cannot be asked."""


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
