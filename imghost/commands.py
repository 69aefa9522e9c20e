"""What each command does: settings and a site in, lines out, exit status back."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from imghost import lock as locks
from imghost import page_map, report
from imghost.rehost import rehost as run
from imghost.cache import Cache
from imghost.errors import HostError, SettingsError
from imghost.hosts import registry
from imghost.http import Client
from imghost.models import MEDIA_TYPES, Record
from imghost.prospect import Job, Prospect, foresee
from imghost.provenance import Origins
from imghost.settings import PERMANENT, Settings

_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the command line, read."""

    site: Path | None
    settings: Settings
    environ: Mapping[str, str]
    is_strict: bool
    is_json: bool

    def job(self) -> Job:
        """Make the run's job: here the site is its own source."""
        assert self.site is not None
        return Job(
            site=self.site,
            settings=self.settings,
            environ=self.environ,
            origins=Origins(is_own_source=True),
            page_map=page_map.location(self.settings.cache_dir, self.site),
            is_serving=self.environ.get("IMGHOST_SERVE") == "1",
            say=_say,
        )


def _say(line: str) -> None:
    print(f"imghost: {line}", file=sys.stderr, flush=True)


def _print_json(found: object) -> None:
    print(json.dumps(found, indent=1, ensure_ascii=False))


def _warn(texts: Iterable[str]) -> None:
    for text in texts:
        print(f"imghost: warning: {text}", file=sys.stderr, flush=True)


def rehost(call: Call) -> int:
    """Upload a site's images and rewrite its pages."""
    job = call.job()
    if job.is_serving and not call.settings.serve:
        _say("this is a live preview (IMGHOST_SERVE=1): the pages stay as they are")
        return 0
    result = run(job)
    for remark in result.remarks:
        _say(remark)
    _warn(notice.text for notice in result.notices)
    if call.is_json:
        _print_json(report.as_mapping(result.report))
    else:
        print(report.summary(result.report))
    return 1 if result.is_refused or (call.is_strict and result.notices) else 0


def plan(call: Call) -> int:
    """Show what `rehost` would do."""
    job = call.job()
    with Client(call.settings.timeout, environ=call.environ) as client:
        cache = Cache.load(call.settings.cache_dir)
        prospect = foresee(job, client, cache)
        quota = _quota(prospect)
        cache.close()
    _warn(notice.text for notice in prospect.notices)
    found = _planned(prospect, quota)
    if call.is_json:
        _print_json(found)
    else:
        _print_plan(found)
    over = call.settings.max_uploads is not None and len(prospect.plan.uploads) > call.settings.max_uploads
    return 1 if call.is_strict and (prospect.notices or over) else 0


def _quota(prospect: Prospect) -> tuple[int | None, str]:
    """Ask the host how many uploads it still allows, where this build might upload at all."""
    host = prospect.host
    if host is None or not (host.needs_network and prospect.leave.may_upload and prospect.plan.uploads):
        return None, ""
    try:
        quota = host.ready()
    except HostError as refusal:
        return 0, str(refusal)
    return quota.remaining, quota.link


def _planned(prospect: Prospect, quota: tuple[int | None, str]) -> dict[str, Any]:
    plan = prospect.plan
    held = set(plan.kept)
    savable = {path for path in (*plan.reused, *(path for upload in plan.uploads for path in upload.paths))} - held
    images = prospect.images
    return {
        "imghost_plan": 1,
        "host": prospect.host.name if prospect.host else None,
        "may_upload": prospect.leave.may_upload,
        "why_not": prospect.leave.reason,
        "reused": len(plan.reused),
        "uploads": [
            {
                "path": upload.paths[0],
                "sha256": upload.image.sha256,
                "bytes": upload.image.bytes,
                "variant": upload.variant,
                "renews": upload.renewed.url if upload.renewed else None,
            }
            for upload in plan.uploads
        ],
        "bytes": plan.bytes,
        "price": str(plan.price),
        "cost": f"{plan.cost:.2f}",
        "quota": {"remaining": quota[0], "link": quota[1]},
        "kept": [{"path": path, "reason": stay.reason, "remedy": stay.remedy} for path, stay in sorted(plan.kept.items())],
        "removable_bytes": sum(images[path].bytes for path in savable if path in images),
    }


def _print_plan(found: Mapping[str, Any]) -> None:
    print(f"host        {found['host'] or 'none'}")
    print(f"reused      {found['reused']} images have a URL already")
    cost = f", ${found['cost']} at ${found['price']} each" if float(found["price"]) else ""
    print(f"to upload   {len(found['uploads'])} images, {found['bytes']:,} bytes{cost}")
    if found["quota"]["remaining"] is not None or found["quota"]["link"]:
        print(f"quota       {found['quota']['remaining']} uploads left {found['quota']['link']}")
    if found["uploads"] and not found["may_upload"]:
        print(f"but         nothing can be uploaded: {found['why_not']}")
    for upload in found["uploads"]:
        note = " (renewal)" if upload["renews"] else ""
        print(f"  upload    {upload['path']}  {upload['bytes']:,} bytes{note}")
    for kept in found["kept"]:
        print(f"  keep      {kept['path']}: {kept['reason']}")
    print(f"remove_local would take up to {found['removable_bytes'] / _MEGABYTE:.1f} MB off the site")


def check(call: Call) -> int:
    """Say whether the lock covers the site."""
    job = replace(call.job(), settings=replace(call.settings, frozen=True))
    with Client(call.settings.timeout, environ=call.environ) as client:
        cache = Cache.load(call.settings.cache_dir)
        prospect = foresee(job, client, cache)
        cache.save()
        cache.close()
    is_local = prospect.host is not None and not prospect.host.needs_network
    missing = [upload for upload in prospect.plan.uploads if upload.renewed is None and not is_local]
    uncovered = [path for upload in missing for path in upload.paths]
    if prospect.host is None:
        uncovered = sorted(prospect.images)
    _warn(notice.text for notice in prospect.notices)
    if call.is_json:
        _print_json({"imghost_check": 1, "covered": len(prospect.plan.reused), "missing": uncovered})
    else:
        for path in uncovered:
            print(f"{path}: not in {call.settings.lock.name}; build once with a credential and commit the lock")
        print(f"{len(prospect.plan.reused)} images are covered, {len(uncovered)} are not")
    return 1 if uncovered or (call.is_strict and prospect.notices) else 0


def status(call: Call) -> int:
    """Show the lock's records."""
    lock = locks.read(call.settings.lock)
    now = datetime.now(UTC)
    by_host: dict[str, list[Record]] = {}
    for record in lock.records:
        by_host.setdefault(record.host, []).append(record)
    rows = [_host_status(name, records, call.settings, now) for name, records in sorted(by_host.items())]
    if call.is_json:
        _print_json({"imghost_status": 1, "lock": str(call.settings.lock), "host": lock.host, "hosts": rows})
    elif not rows:
        print(f"{call.settings.lock.name} has no records yet; build once with a credential in the environment")
    else:
        shown = [
            (row["host"], row["records"], f"{row['bytes']:,}", row["permanent"], row["expiring"], row["expired"])
            for row in rows
        ]
        _print_table(("host", "records", "bytes", "permanent", "expiring", "expired"), shown)
    return 0


def _host_status(name: str, records: Sequence[Record], settings: Settings, now: datetime) -> dict[str, Any]:
    dated = sorted(record.expires for record in records if record.expires)
    return {
        "host": name,
        "records": len(records),
        "bytes": sum(record.bytes for record in records),
        "permanent": len(records) - len(dated),
        "expiring": sum(1 for expires in dated if now < expires <= now + settings.renew_before),
        "expired": sum(1 for expires in dated if expires <= now),
        "next_expiry": dated[0].isoformat().replace("+00:00", "Z") if dated else None,
    }


def hosts(call: Call) -> int:
    """List the installed hosts."""
    rows = [_host_row(name, call) for name in registry.installed()]
    if call.is_json:
        _print_json({"imghost_hosts": 1, "hosts": rows})
        return 0
    shown = [(row["host"], row["formats"], row["max_bytes"], row["retention"], row["price"], row["credential"]) for row in rows]
    _print_table(("host", "formats", "max size", "retention", "price", "credential"), shown)
    return 0


def _host_row(name: str, call: Call) -> dict[str, str]:
    kind = registry.host_type(name)
    limits = registry.limits_of(name, call.environ)
    present = [variable for variable in kind.credentials if call.environ.get(variable)]
    credential = "not needed" if not kind.credentials else "present" if present else f"none ({kind.credentials[0]})"
    if limits is None:
        return dict.fromkeys(("formats", "max_bytes", "retention", "price"), "?") | {"host": name, "credential": credential}
    return {
        "host": name,
        "formats": " ".join(ending for kind_, ending in MEDIA_TYPES.items() if kind_ in limits.formats),
        "max_bytes": f"{limits.max_bytes / _MEGABYTE:.0f} MB" if limits.max_bytes else "any",
        "retention": f"{limits.retention.days} days" if limits.retention else PERMANENT,
        "price": f"${limits.price}" if limits.price else "free",
        "credential": credential,
    }


def _print_table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
