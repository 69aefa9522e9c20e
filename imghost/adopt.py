"""After lost records: finds the site's images that the host has already, and records them again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imghost import files
from imghost.confirm import confirm
from imghost.errors import HostError, ImghostError, SettingsError
from imghost.hosts import Finds
from imghost.image import payload
from imghost.models import Failure, Record
from imghost.net.client import Client
from imghost.plan import Upload
from imghost.records import lock as locks
from imghost.records.cache import Cache
from imghost.run.plan import Job, foresee
from imghost.run.upload import recorded
from imghost.site.images import opened
from imghost.wording import printable


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was found at the host."""

    records: tuple[Record, ...]
    missing: tuple[str, ...]
    """Images that the host does not have."""
    failures: tuple[Failure, ...]
    known: int
    """Images that the lock had already."""


def adopt(job: Job) -> Adopted:
    """Ask the host for each image that the lock misses, confirm what it has, and write the lock; no upload."""
    with Client(job.settings.timeout, environ=job.environ) as client:
        prospect = foresee(job, client, Cache.load(job.settings.cache_dir))
        host = prospect.host
        if host is None or not isinstance(host, Finds):
            name = f"the host {host.name!r}" if host else "no host"
            raise SettingsError(f"{name} can be asked what it has; adopt works with img.pro, imageupload.io and s3")
        if not prospect.leave.may_upload:
            raise SettingsError(f"nothing can be asked: {prospect.leave.reason}")
        wanted = [planned for planned in prospect.plan.uploads if planned.renewed is None]
        with files.payload_folder() as folder:
            found = [_found(planned, job, host, client, folder) for planned in wanted]
    records = tuple(record for record in found if isinstance(record, Record))
    if records:
        locks.write(job.settings.lock, locks.merged(locks.read(job.settings.lock), records, host.name))
    return Adopted(
        records,
        tuple(planned.paths[0] for planned, record in zip(wanted, found, strict=True) if record is None),
        tuple(failure for failure in found if isinstance(failure, Failure)),
        len(prospect.plan.reused),
    )


def _found(planned: Upload, job: Job, host: Finds, client: Client, folder: Path) -> Record | Failure | None:
    path = planned.paths[0]
    try:
        with opened(path, job.site, job.origins) as source:
            made = payload.prepare(planned.image, source, planned.variant, folder)
        hosted = host.find(made)
        if hosted is None:
            return None
        record = recorded(planned, made, hosted, getattr(host, "name", ""), job.now())
        confirm(record, client, job.settings.retries)
    except HostError as refusal:
        return Failure(path, refusal.reason, refusal.remedy)
    except (ImghostError, OSError) as problem:
        return Failure(path, printable(problem))
    return record
