"""The commands about one site: rehost, plan, check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from imghost.commands.call import Call, print_json, say, warn
from imghost.commands.money import paid
from imghost.commands.style import plain
from imghost.cli.terminal import Row, print_facts, print_table
from imghost.errors import HostError
from imghost.net.client import Client
from imghost.records.cache import Cache
from imghost.run import report
from imghost.run.job import Prospect
from imghost.run.plan import foresee
from imghost.run.rehost import rehost as run
from imghost.wording import clause, many, size


def rehost(call: Call) -> int:
    """Upload a site's images and rewrite its pages."""
    job = call.job()
    if job.is_serving and not call.settings.serve:
        say("this is a live preview (IMGHOST_SERVE=1): the pages stay as they are")
        return 0
    result = run(job)
    for remark in result.remarks:
        say(remark)
    warn(notice.text for notice in result.notices)
    if call.is_json:
        print_json(report.as_mapping(result.report))
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
    warn(notice.text for notice in prospect.notices)
    found = _planned(prospect, quota)
    if prospect.plan.price:
        money = paid(call)
        found["budget"] = {
            "max_cost": f"{call.settings.max_cost:.2f}",
            "spent": f"{money.spent:.2f}",
            "unresolved": f"{money.unresolved:.2f}",
        }
    if call.is_json:
        print_json(found)
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
    savable = {*plan.reused, *(path for upload in plan.uploads for path in upload.paths)} - held
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
        "kept": [
            {
                "path": path,
                "bytes": images[path].bytes if path in images else None,
                "reason": stay.reason,
                "remedy": stay.remedy,
            }
            for path, stay in sorted(plan.kept.items())
        ],
        "removable_bytes": sum(images[path].bytes for path in savable if path in images),
    }


def _print_plan(found: Mapping[str, Any]) -> None:
    print_facts(_plan_facts(found))
    uploads = [
        Row(("renew" if it["renews"] else "upload", size(it["bytes"]), it["path"]), "", "green")
        for it in found["uploads"]
    ]
    kept = list(_kept_rows(found["kept"]))
    if uploads or kept:
        print()
        print_table(("action", "size", "image"), uploads + kept)


def _kept_rows(kept: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """List what stays by its reason, which stands once, below the last of those that share it."""

    def why(image: Mapping[str, Any]) -> str:
        return "; ".join(filter(None, (clause(image["reason"], "it"), image["remedy"])))

    for reason, group in groupby(sorted(kept, key=why), key=why):
        *others, last = group
        yield from (_kept_row(image) for image in others)
        yield _kept_row(last, f"these {len(others) + 1}: {reason}" if others else reason)


def _kept_row(image: Mapping[str, Any], note: str = "") -> Row:
    return Row(("keep", "" if image["bytes"] is None else size(image["bytes"]), image["path"]), note)


def _plan_facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """List what is decided on before any single image."""
    yield "host", found["host"] or "none"
    yield "reused", f"{many(found['reused'], 'image')} with a URL already"
    cost = f", ${found['cost']} at ${found['price']} each" if float(found["price"]) else ""
    yield "to upload", f"{many(len(found['uploads']), 'image')}, {size(found['bytes'])}{cost}"
    if "budget" in found:
        budget = found["budget"]
        yield "budget", f"max_cost ${budget['max_cost']}; ${budget['spent']} paid so far, ${budget['unresolved']} open"
    if found["quota"]["remaining"] is not None:
        yield "quota", f"{many(found['quota']['remaining'], 'upload')} left {found['quota']['link']}"
    elif found["quota"]["link"]:
        yield "quota", found["quota"]["link"]
    if found["uploads"] and not found["may_upload"]:
        yield "but", f"nothing can be uploaded: {found['why_not']}"
    yield "to save", f"{size(found['removable_bytes'])} at most off the site, with remove_local"


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
    warn(notice.text for notice in prospect.notices)
    if call.is_json:
        print_json({"imghost_check": 1, "covered": len(prospect.plan.reused), "missing": uncovered})
    else:
        for path in uncovered:
            print(plain(path))
        remedy = f": build once with a credential and commit {call.settings.lock.name}" if uncovered else ""
        covered = len(prospect.plan.reused)
        print(f"{many(covered, 'image')} {'is' if covered == 1 else 'are'} covered, {len(uncovered)} not{remedy}")
    return 1 if uncovered or (call.is_strict and prospect.notices) else 0
