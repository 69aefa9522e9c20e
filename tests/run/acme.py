"""The report of a documentation that does not exist, with something in every part: what the page's tests look at."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sites import picture, write

from imghost.models import Failure
from imghost.run.audit import Finding, Place
from imghost.run.report import Counts, Report
from imghost.run.report_html import Facts, ListedImage, SiteBytes, Version, Weight

NOW = datetime(2026, 11, 28, 14, 32, tzinfo=UTC)
YEAR = datetime(2027, 11, 12, tzinfo=UTC)


def listed(path: str, state: str, weight: int, **more: object) -> ListedImage:
    is_hosted = state in {"hosted", "new"}
    digest = hashlib.sha256(path.encode()).hexdigest()
    known = {
        "size": (2880, 1800),
        "sha256": digest,
        "url": f"https://i.img402.dev/{digest[:10]}.png" if is_hosted else "",
        "expires": YEAR if is_hosted else None,
        "recorded": NOW - timedelta(days=0 if state == "new" else 16) if is_hosted else None,
        "cost": Decimal("0.01") if is_hosted else None,
        "sent": weight,
        "is_there": not is_hosted,
        "pages": ("guide/dashboards/index.html",),
        "alts": ("A panel while it is moved",),
    }
    return ListedImage(path, state, weight, **known | more)  # type: ignore[arg-type]


SOON = NOW + timedelta(days=9)
IMAGES = (
    listed("img/guide/tour.gif", "failed", 7_912_552, reason="7.9 MB; img402 takes 5 MB", size=(1280, 800),
           remedy="set `oversize: resize`, or host it elsewhere", pages=("index.html",), alts=("A tour in 20 seconds",)),
    listed("img/guide/dashboard-edit.png", "hosted", 2_240_318, shown=720.0),
    listed("img/guide/overview.png", "hosted", 1_912_440, shown=720.0, pages=("index.html", "guide/dashboards/index.html")),
    listed("img/old/overview-v3.png", "unused", 1_702_116, pages=(), alts=()),
    listed("img/blog/field-notes/station.jpg", "hosted", 918_440, size=(2048, 1365), shown=1360.0, is_stripped=True,
           pages=("blog/2026/field-notes/index.html",), alts=("A station on a hill",)),
    listed("img/blog/field-notes/sensor.jpg", "new", 796_204, size=(2048, 1365)),
    listed("img/guide/history.png", "hosted", 521_860, size=(1440, 900), alts=()),
    listed("img/guide/a.png", "hosted", 411_000, is_expiring=True, expires=SOON),
    listed("img/guide/b.png", "hosted", 402_000, is_expiring=True, expires=SOON),
    listed("img/admin/audit-log.png", "failed", 488_120, reason="img402 did not answer, 5 tries in 94 s",
           remedy="build again"),
    listed("img/internal/floor-plan.png", "local", 265_904, reason='kept by data-imghost="off"'),
    listed("img/guide/first-panel.png", "hosted", 96_000),
    listed("img/blog/release-4/first-panel.png", "hosted", 96_000, pages=("blog/2026/release-4/index.html",)),
    listed("img/admin/architecture.svg", "local", 61_904, reason="SVG; img402 takes PNG, JPEG, GIF, WebP",
           remedy="the host `s3` or `directory` takes SVG", size=(1200, 700)),
    listed("img/old/logo-2019.png", "unused", 61_240, size=(800, 800), pages=(), alts=()),
    listed("img/favicon.png", "local", 1_904, reason="matches a glob of the option 'exclude'", size=(64, 64), alts=("",)),
)  # fmt: skip


def finding(kind: str, text: str, *paths: str, remedy: str = "", places: tuple[Place, ...] = ()) -> Finding:
    return Finding(kind, paths, text, remedy, places)


FINDINGS = (
    finding("broken", "../../img/guide/setup-wizard.png is not in the site", "img/guide/setup-wizard.png",
            remedy="there is img/guide/setup-wizzard.png", places=(Place("guide/install/index.html", 212),)),
    finding("alt", "img/guide/history.png has none", "img/guide/history.png"),
    finding("large", "2,880 px wide, shown at 720 px in 1 page", "img/guide/dashboard-edit.png"),
    finding("large", "2,880 px wide, shown at 720 px in 2 pages", "img/guide/overview.png"),
    finding("unused", "1.7 MB, no page names it", "img/old/overview-v3.png"),
    finding("unused", "61 kB, no page names it", "img/old/logo-2019.png"),
    finding("twin", "", "img/guide/first-panel.png", "img/blog/release-4/first-panel.png"),
    finding("metadata", "tells a place", "img/blog/field-notes/station.jpg"),
)  # fmt: skip

FACTS = Facts(
    built=NOW,
    version="0.2.0",
    commit="8f31c2e0a1b2c3d4",
    title="Acme docs",
    place="img402",
    site_bytes=SiteBytes(before=38_600_000, after=16_800_000, pages=6_200_000, unused=1_763_356),
    images=IMAGES,
    by_page=(
        Weight("index.html", 9, 12_600_000, 4_687_448),
        Weight("guide/dashboards/index.html", 10, 7_700_000, 7_700_000),
        *(Weight(f"guide/page-{number}/index.html", 9 - number, 2_200_000 - number, 2_200_000 - number) for number in range(8)),
    ),
    findings=FINDINGS,
    versions=(
        Version("4.2", ("latest",), 43, 59, 38_600_000, 16_800_000),
        Version("4.1", (), 43, 55, 35_900_000, 15_600_000),
    ),
    spent=Decimal("0.51"),
    has_price=True,
)  # fmt: skip

COUNTS = Counts(
    pages=43,
    pages_rewritten=43,
    references=90,
    references_rewritten=75,
    images=59,
    cached=46,
    uploaded=6,
    kept=5,
    failed=2,
)
REPORT = Report(
    "site",
    "img402",
    COUNTS,
    failures=(Failure("img/admin/audit-log.png", "img402 did not answer", "build again"),),
    bytes_uploaded=2_300_000,
    requests=23,
    cost=Decimal("0.06"),
    seconds={"upload": 97.2, "total": 98.0},
)


def local_copies(site: Path) -> Path:
    """Write the files that the site has, as small pictures."""
    there = (image.path for image in IMAGES if image.is_there and not image.path.endswith((".svg", ".gif")))
    return write(site, {path: picture(number, (96, 60)) for number, path in enumerate(there)})
