"""Images and records to a plan: what is reused, what would be uploaded, and what stays local and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from imghost.errors import BudgetError
from imghost.hosts import Host
from imghost.image.payload import Refusal, variant_of
from imghost.models import IMPORT, Image, Limits, Record
from imghost.provenance import Stay
from imghost.settings import Settings

MAX_IMPORTS: Final = 200
"""External images that one build brings home, unless `max_uploads` says otherwise: pages may be strangers'."""


class Group(NamedTuple):
    """References of one page that move together or not at all: the images they mean, and what holds them."""

    page: str
    paths: frozenset[str]
    held: str = ""


class Upload(NamedTuple):
    """One image to upload, known by its bytes, with every path at which the site has it."""

    image: Image
    variant: str
    paths: tuple[str, ...]
    renewed: Record | None = None
    """The record that runs out; it counts until the renewal is there."""


class Plan(NamedTuple):
    """What a run would do."""

    reused: Mapping[str, Record]
    """Path in the site -> the record that already tells its URL."""
    uploads: tuple[Upload, ...]
    kept: Mapping[str, Stay]
    """Path in the site -> why it stays local."""
    price: Decimal = Decimal(0)
    """US dollars for each upload, at most."""

    is_price_certain: bool = True
    """False where some uploads may cost nothing."""

    @property
    def bytes(self) -> int:
        """Bytes of the images to upload, as they are in the site."""
        return sum(upload.image.bytes for upload in self.uploads)

    @property
    def cost(self) -> Decimal:
        """US dollars for all uploads, at most."""
        return self.price * len(self.uploads)


def plan(
    images: Mapping[str, Image],
    stays: Mapping[str, Stay],
    groups: Sequence[Group],
    records: Mapping[tuple[str, str, str], Record],
    host: Host,
    settings: Settings,
    now: datetime,
) -> Plan:
    """Sort the images into those to reuse, to upload and to keep.

    `images` and `stays` share no path. Images with the same bytes count once. What appears only in
    groups that cannot move is kept, so that nothing is uploaded for nothing.
    """
    variants, refused = _variants(images, host.limits, settings)
    kept = dict(stays) | refused
    needed = _needed(groups, kept)
    reused: dict[str, Record] = {}
    uploads: dict[tuple[str, str], Upload] = {}
    for path in sorted(needed):
        image, variant = images[path], variants[path]
        record = records.get((image.sha256, host.name, variant))
        if record and record.lives_at(now):
            reused[path] = record
        if record is None or not _lasts(record, settings, now):
            known = uploads.get((image.sha256, variant))
            paths = (*known.paths, path) if known else (path,)
            uploads[image.sha256, variant] = Upload(known.image if known else image, variant, paths, record)
    kept |= _left_out(groups, kept, needed)
    return Plan(reused, tuple(uploads.values()), kept, host.limits.price, host.limits.is_price_certain)


def _variants(
    images: Mapping[str, Image], limits: Limits, settings: Settings
) -> tuple[dict[str, str], dict[str, Stay]]:
    variants: dict[str, str] = {}
    refused: dict[str, Stay] = {}
    for path, image in images.items():
        variant = decide(image, limits, settings)
        if isinstance(variant, Refusal):
            refused[path] = Stay(variant.reason, variant.remedy, variant.code)
        else:
            variants[path] = variant
    return variants, refused


def decide(image: Image, limits: Limits, settings: Settings) -> str | Refusal:
    """Decide what is done to an image before it is sent: the variant, or why it is not sent."""
    if "://" in image.path:
        return IMPORT
    return variant_of(image, limits, metadata=settings.metadata, max_edge=settings.max_edge, oversize=settings.oversize)


def _needed(groups: Iterable[Group], kept: Mapping[str, Stay]) -> set[str]:
    """Collect the images of the groups that can move."""
    needed: set[str] = set()
    for group in groups:
        if not group.held and kept.keys().isdisjoint(group.paths):
            needed |= group.paths
    return needed


def _left_out(groups: Iterable[Group], kept: Mapping[str, Stay], needed: set[str]) -> dict[str, Stay]:
    """Say why an image stays whose every group stays."""
    left: dict[str, Stay] = {}
    for group in groups:
        for path in sorted(group.paths - needed - kept.keys()):
            beside = next((other for other in sorted(group.paths) if other in kept), None)
            reason = group.held or f"moves together with {beside}, which stays local"
            left.setdefault(path, Stay(reason))
    return left


def _lasts(record: Record, settings: Settings, now: datetime) -> bool:
    """Say whether a record needs no renewal yet: `renew_before`, at most a quarter of its own life."""
    if record.expires is None:
        return True
    life = max(record.expires - record.uploaded, timedelta(0))
    return record.expires - now > min(settings.renew_before, life / 4)


def check_budget(plan: Plan, settings: Settings) -> None:
    """Refuse a plan over `max_uploads` or `max_cost` as a whole; raises BudgetError with what it would take."""
    count = len(plan.uploads)
    imports = sum(1 for upload in plan.uploads if upload.variant == IMPORT)
    if settings.max_uploads is None and imports > MAX_IMPORTS:
        raise BudgetError(
            f"{imports} external images would be brought to the host, more than {MAX_IMPORTS}: nothing is uploaded; "
            f"make the globs in 'remote' narrower, or set max_uploads: {count}"
        )
    if settings.max_uploads is not None and count > settings.max_uploads:
        raise BudgetError(
            f"{count} images ({plan.bytes:,} bytes) would be uploaded, over max_uploads ({settings.max_uploads}): "
            f"nothing is uploaded; set max_uploads: {count}, or look at `imghost plan`"
        )
    if plan.is_price_certain and plan.cost > settings.max_cost:
        raise BudgetError(
            f"{count} images at ${plan.price} each would cost ${plan.cost}, over max_cost (${settings.max_cost}): "
            f"nothing is uploaded; set max_cost: {plan.cost}, or look at `imghost plan`"
        )
