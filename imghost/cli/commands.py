"""What each command does and prints: settings and a site in, lines out, exit status back."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from imghost.cli import (
    Call,
    Row,
    complain,
    painted,
    print_facts,
    print_json,
    print_table,
    put,
    put_sentence,
    warn,
    wrapped,
)
from imghost.environment import leave_to_upload, version
from imghost.errors import BudgetError, HostError, SettingsError, StateError
from imghost.hosts import Deletes, Edits, Host, Tells, registry
from imghost.models import MEDIA_TYPES, Limits, NamedTuple, Record
from imghost.net import Client
from imghost.records import covers, needs_renewal, owns
from imghost.records import lock as locks
from imghost.records.cache import Cache
from imghost.records.lock import Lock
from imghost.run import report
from imghost.run.job import Job, Plan, Planned
from imghost.run.plan import owner_of, plan_run, refused_by, within_budget, words_of
from imghost.run.publish import priced
from imghost.run.rehost import Result
from imghost.run.rehost import rehost as run
from imghost.run.report import columns_of
from imghost.settings import PERMANENT, Settings, read_duration
from imghost.site import page_map
from imghost.site.images import Stay
from imghost.wording import clause, day, lasted, limit, listed, many, money, nearest, part_of, size, stay

if TYPE_CHECKING:  # what uploads and the audit need comes with them, so it is loaded where it is used
    from imghost.run.audit import Line
    from imghost.run.care import Pruning, Restored, Verdict
    from imghost.run.shrink import Shrunk


def rehost(call: Call) -> int:
    """Upload a site's images and rewrite its pages."""
    if _is_idle(call):
        call.say("this is a live preview (IMGHOST_SERVE=1): the pages stay as they are")
        return 0
    return _rehosted(call)[0]


def _is_idle(call: Call) -> bool:
    return call.job().is_serving and not call.settings.serve


def _rehosted(call: Call) -> tuple[int, Result]:
    """Run, and tell what came of it; gives the exit status, too."""
    job = call.job()
    alerted: list[str] = []

    def alert(text: str) -> None:
        alerted.append(text)
        warn([text])

    result = run(replace(job, alert=alert))
    _tell(call, result, alerted)
    return 1 if result.error or result.is_refused or (call.is_strict and result.notices) else 0, result


def _tell(call: Call, result: Result, alerted: Collection[str]) -> None:
    """Print what a run came to: what stays, warnings, the summary, and what to do last, next to the prompt."""
    for remark in result.remarks:
        call.say(remark)
    notices = [notice for notice in result.notices if notice.text not in alerted]
    warn(notice.text for notice in notices if notice.code != "ci")
    if call.is_json:
        print_json(report.as_mapping(result.report))
    else:
        call.done(report.summary(result.report))
    for line in result.advice:
        call.say(line)
    warn(notice.text for notice in notices if notice.code == "ci")
    if sys.stderr:
        print(result.new_lines, end="", file=sys.stderr)  # also where it is quiet: the warning says that they follow
    if result.error:
        complain(result.error)


def plan(call: Call) -> int:
    """Show what `rehost` would do."""
    job = call.job(is_asking=True)
    with Client(call.settings.timeout, environ=call.environ) as client, Cache.load(call.settings.cache_dir) as cache:
        planned = plan_run(job, client, cache)
        quota, over = _quota(planned), _over_budget(planned, job)
    warn(notice.text for notice in planned.notices)
    found = _as_planned(planned, quota)
    if planned.plan.price or planned.plan.cost:
        paid_for = paid(call)
        found["budget"] = {
            "max_cost": f"{call.settings.max_cost:.2f}",
            "spent": f"{paid_for.spent:.2f}",
            "unresolved": f"{paid_for.unresolved:.2f}",
        }
        found["alternatives"] = _alternatives(planned)
    if call.is_json:
        print_json(found)
    else:
        _print_plan(call, planned, found)
    if over:
        call.say(over)
    return 1 if call.is_strict and (planned.notices or over) else 0


def _over_budget(planned: Planned, job: Job) -> str:
    """Say why a build would refuse what the plan asks for; empty where it would not."""
    settings, plan, host = job.settings, planned.plan, planned.host
    if host is not None and planned.leave.may_upload:
        with suppress(HostError):  # then the highest known price has to do
            plan = priced(plan, host, settings)
    left = tuple(upload for upload in plan.uploads if not upload.spare)
    try:
        _, waiting = within_budget(plan._replace(uploads=left), settings, job.now())
    except BudgetError as over:
        return str(over).removesuffix(", or look at `imghost plan`")
    new = [upload for upload in waiting.uploads if not covers(upload.renewed, job.now())]
    return f"the budget has room for renewals alone: {many(len(new), 'new image')} would stay local" if new else ""


def _quota(planned: Planned) -> tuple[int | None, str]:
    """Ask the host how many uploads it still allows, where this build might upload at all."""
    host = planned.host
    if host is None or not (host.place == "network" and planned.leave.may_upload and planned.plan.uploads):
        return None, ""
    try:
        quota = host.ready()
    except HostError as refusal:
        return 0, str(refusal)
    return quota.remaining, quota.link


def _as_planned(planned: Planned, quota: tuple[int | None, str]) -> dict[str, Any]:
    plan, images, pages = planned.plan, planned.images, _pages_of(planned)
    return {
        "imghost_plan": 1,
        "host": planned.host.name if planned.host else None,
        "may_upload": planned.leave.may_upload,
        "why_not": planned.leave.reason,
        "reused": len(plan.reused),
        "uploads": [
            {
                "path": upload.paths[0],
                "sha256": upload.image.sha256,
                "bytes": upload.image.bytes,
                "pages": len(frozenset().union(*(pages[path] for path in upload.paths))),
                "variant": upload.variant,
                "renews": upload.renewed.url if upload.renewed else None,
                "tier": upload.tier or None,
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
                "pages": len(pages[path]),
                "reason": stay.reason,
                "remedy": stay.remedy,
            }
            for path, stay in sorted(_staying(plan).items())
        ],
        **_bytes_of(planned),
    }


def _staying(plan: Plan) -> Mapping[str, Stay]:
    """Say what stays local and why: also what the host has refused for good, and no record serves meanwhile."""
    refused = {path: Stay(*words_of(last)) for upload, last in plan.refused for path in upload.paths}
    return {**plan.staying, **{path: stay for path, stay in refused.items() if path not in plan.reused}}


def _pages_of(planned: Planned) -> Mapping[str, Set[str]]:
    """Find the pages that show each image."""
    pages: dict[str, set[str]] = defaultdict(set)
    for view in planned.views:
        for _, target in view.resolved():
            pages[target.path].add(view.path)
    return pages


def _bytes_of(planned: Planned) -> dict[str, Any]:
    """Measure the site, and what `remove_local` would leave of it, at the least."""
    plan, images = planned.plan, planned.images
    movable = {*plan.reused, *(path for upload in plan.uploads for path in upload.paths)} - plan.staying.keys()
    removable = sum(images[path].bytes for path in movable if path in images)
    now = sum((planned.survey.root / path).stat().st_size for path in planned.survey.files)
    collected = plan.bytes if planned.host and planned.host.place == "site" else 0
    return {"removable_bytes": removable, "site_bytes": {"now": now, "after": max(0, now - removable) + collected}}


def _alternatives(planned: Planned) -> list[dict[str, Any]]:
    """List what the same images would cost otherwise: by the host's other offers, and at other hosts."""
    assert planned.host is not None
    count, offers = len(planned.plan.uploads), registry.host_type(planned.host.name).terms.offers
    others = [
        {"host": planned.host.name, "set": what, "cost": f"{limits.price * count:.2f}", "life": _life(limits)}
        for what, limits in offers.items()
        if limits.price * count != planned.plan.cost
    ]
    for name in registry.installed():
        terms = registry.host_type(name).terms
        if name != planned.host.name and terms.price:
            others.append({"host": name, "set": f"host={name}", "cost": terms.price, "life": terms.life})
    return others


def _life(limits: Limits) -> str:
    """Say how long an image lives at the least."""
    days = limits.retention.days if limits.retention else 0
    return {0: "permanently", 365: "for a year"}.get(days) or f"for {many(days, 'day')}"


def _print_plan(call: Call, planned: Planned, found: Mapping[str, Any]) -> None:
    """Print lists first, totals after them."""
    uploads = sorted(found["uploads"], key=lambda it: (-it["bytes"], it["path"]))
    rows = [
        Row(("renew" if it["renews"] else "upload", size(it["bytes"]), it["pages"], it["path"]), "", "green")
        for it in call.first(uploads)
    ]
    if rest := uploads[len(rows) :]:
        rows.append(Row(("upload", "", "", f"and {len(rest):,} more, {size(sum(it['bytes'] for it in rest))}")))
    rows += _kept_rows(call, planned)
    if rows:
        print_table(("action", "size", "pages", "image"), rows, right=(1, 2))
        put()
    if uploads:
        print_facts(_plan_facts(planned, found))
        return
    hosted, staying = found["reused"], len(found["kept"])
    if hosted:
        text = f"{many(hosted, 'image')} {'has' if hosted == 1 else 'have'} a URL on {found['host']}"
        text += f", {staying:,} {'stays' if staying == 1 else 'stay'} local" if staying else ""
    else:
        text = stay(staying) if staying else "no page shows an image of this site"
    put(f"nothing to upload: {text}")


def _kept_rows(call: Call, planned: Planned) -> Iterator[Row]:
    """List what stays by its reason, with the reason below; on a wide terminal beside."""
    pages = _pages_of(planned)
    reasons: dict[str, list[str]] = {}
    for path, cause in _staying(planned.plan).items():
        why = cause.brief or "; ".join(filter(None, (cause.reason, cause.remedy)))
        reasons.setdefault(clause(why, "it"), []).append(path)

    def taken(path: str) -> int:
        return planned.images[path].bytes if path in planned.images else 0

    for why, paths in sorted(reasons.items(), key=lambda pair: (-sum(map(taken, pair[1])), pair[0])):
        largest = sorted(paths, key=lambda path: (-taken(path), path))
        total, shown = sum(map(taken, paths)), len(frozenset().union(*(pages[path] for path in paths)))
        names = listed(largest, len(call.first(largest, 3)))
        is_wide = (columns_of(sys.stdout) or 0) >= WIDE
        cells = ("keep", size(total) if total else "", shown, f"{names}  {why}" if is_wide else names)
        yield Row(cells, "" if is_wide else why)


WIDE: Final = 120
"""Columns of a terminal on which a reason stands beside what it is for."""


def _plan_facts(planned: Planned, found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """List what the plan comes to."""
    host, plan = planned.host, planned.plan
    if host:
        is_far = host.place == "network"
        yield "host", f"{host.name}, {_life(host.limits) if is_far else registry.host_type(host.name).terms.life}"
    else:
        yield "host", "none"
    most = "" if plan.is_price_certain else "at most "
    each = "" if plan.tiers else f" at {money(plan.price)} each"
    cost = f", {most}{money(plan.cost)}{each}" if plan.price else ""
    yield "upload", f"{many(len(plan.uploads), 'image')}, {size(plan.bytes)}{cost}"
    if plan.tiers:
        yield "tiers", ", ".join(f"{count:,} {tier}" for tier, count in sorted(plan.tiers.items()))
    if found["reused"]:
        yield "hosted", f"{many(found['reused'], 'image')} with a URL already"
    if staying := _staying(plan):
        left = sum(planned.images[path].bytes for path in staying if path in planned.images)
        yield "keep", many(len(staying), "image") + (f", {size(left)}" if left else "")
    if "budget" in found:
        budget = found["budget"]
        yield "budget", f"max_cost ${budget['max_cost']}; ${budget['spent']} paid, ${budget['unresolved']} open"
        yield "else", _elsewhere(found["alternatives"], str(found["host"]))
    remaining, link = found["quota"]["remaining"], found["quota"]["link"]
    if remaining is not None or link:
        yield "quota", ", ".join(filter(None, ("" if remaining is None else f"{many(remaining, 'upload')} left", link)))
    if plan.uploads and not planned.leave.may_upload:
        yield "but", f"nothing can be uploaded: {planned.leave.reason}"
    now, after = found["site_bytes"]["now"], found["site_bytes"]["after"]
    yield "site", f"{size(now)} now, {size(after)} with remove_local"


def _elsewhere(others: Sequence[Mapping[str, str]], host: str) -> str:
    """Say what the same images would cost on other terms."""
    own = [f"{money(Decimal(it['cost']))} {it['life']} with {it['set']}" for it in others if it["host"] == host]
    prices = ", ".join(f"{it['host']} ({it['cost']})" for it in others if it["host"] != host)
    return "; ".join((*own, f"or another host: {prices}"))


def check(call: Call) -> int:
    """Say whether the lock covers the site."""
    job = replace(call.job(is_asking=True), settings=replace(call.settings, frozen=True))
    with Client(call.settings.timeout, environ=call.environ) as client:
        cache = Cache.load(call.settings.cache_dir)
        planned = plan_run(job, client, cache)
        cache.save()
        cache.close()
    expired = [path for path in _uncovered(planned) if path not in set(_missing(planned))]
    uncovered = _missing(planned) if planned.host else sorted(planned.images)
    incomplete = _incomplete(planned, job.settings)
    warn(notice.text for notice in planned.notices)
    covered = len(planned.plan.reused)
    if call.is_json:
        listed = {"missing": uncovered, "expired": expired, "incomplete": incomplete}
        print_json({"imghost_check": 1, "covered": covered, **listed})
    else:
        for path in (*uncovered, *expired, *incomplete):
            put(path)
        remedy = f": {_way_to_cover(call, planned.host)}" if uncovered or expired or incomplete else ""
        ended = f", {len(expired)} expired" if expired else ""
        part = f", {len(incomplete)} without a size or format that is asked for" if incomplete else ""
        text = f"{many(covered, 'image')} {'is' if covered == 1 else 'are'} covered, {len(uncovered)} not{ended}{part}"
        put_sentence(f"{text}{remedy}")
    return 1 if uncovered or expired or incomplete or (call.is_strict and planned.notices) else 0


def _way_to_cover(call: Call, host: Host | None) -> str:
    if host is None:
        return "choose a host, by the option 'host' or a credential in the environment"
    if host.place != "network":
        return "build with the plugin, or run `imghost rehost` after the build"
    return f"build once with a credential and commit {call.settings.lock.name}"


def _missing(planned: Planned) -> list[str]:
    """List the images that could move and have no record."""
    whole = (upload for upload in planned.plan.uploads if not upload.is_size)
    return [path for upload in whole if upload.renewed is None for path in upload.paths]


def _uncovered(planned: Planned) -> list[str]:
    """List the images that could move and have no record that counts: none, or one that has expired."""
    whole = (upload for upload in planned.plan.uploads if not upload.is_size)
    return [path for upload in whole for path in upload.paths if path not in planned.plan.reused]


def _incomplete(planned: Planned, settings: Settings) -> list[str]:
    """List the covered images of which nobody has tried a size or format that is asked for.

    What was tried and gained nothing has a record, or a note in one, that says so.
    """
    from imghost.run.publish import untried

    known = {(path, record.variant) for path, records in planned.plan.sizes.items() for record in records}
    sizes = (upload for upload in planned.plan.uploads if upload.is_size)
    paths = {path for upload in sizes for path in upload.paths if (path, upload.variant) not in known}
    return sorted((paths | untried(planned, settings)) & planned.plan.reused.keys())


def status(call: Call) -> int:
    """Show the lock's records, or the store of shared ones."""
    if call.given["shared"]:
        among = _shared_status(call)
        print_json({"imghost_status": 1, "shared": among}) if call.is_json else _print_shared(among)
        return 0
    lock = locks.read(call.settings.lock)
    now = datetime.now(UTC)
    by_host: dict[str, list[Record]] = {}
    for record in lock.records:
        by_host.setdefault(record.host, []).append(record)
    rows = [_host_status(name, records, call.settings, now) for name, records in sorted(by_host.items())]
    usage, refusals = _usage(call, lock.host)
    paid_for = paid(call)
    spent, unresolved = paid_for.spent, paid_for.unresolved
    if call.is_json:
        money = {"spent": f"{spent:.2f}", "unresolved": f"{unresolved:.2f}", "lost": list(paid_for.lost)}
        found = {"imghost_status": 1, "lock": str(call.settings.lock), "host": lock.host}
        print_json(found | {"hosts": rows, "usage": usage, "money": money, "refused": refusals._asdict()})
        return 1 if unresolved else 0
    if rows:
        head = ("host", "records", "size", "permanent", "expiring", "expired", "next expiry")
        print_table(head, (_status_row(row, now) for row in rows), right=(1, 2, 3, 4, 5))
        put()
    for digest in paid_for.lost:
        put(f"lost {digest}: ask the host; `imghost wallet --pay-again {digest[:8]}…` lets it be paid once more")
    print_facts((*_status_facts(call, lock, usage, paid_for), *_refused_facts(refusals)))
    return 1 if unresolved else 0


def _status_facts(
    call: Call, lock: Lock, usage: Mapping[str, Any] | None, paid_for: Money
) -> Iterator[tuple[str, str]]:
    name, last = call.settings.lock.name, f", last published to {lock.host}" if lock.host else ""
    if lock.records:
        yield "lock", f"{name}, {many(len(lock.records), 'record')}{last}"
    else:
        yield "lock", f"{name} has no records{_why_empty(call)}"
    if paid_for.spent or paid_for.unresolved:
        yield "money", f"{money(paid_for.spent)} paid, {money(paid_for.unresolved)} open"
    if paid_for.spent:
        yield "lost", "an image that is paid and gone: `imghost wallet --pay-again SHA256` lets it be paid once more"
    if usage:
        yield "account", _account(usage)
        for name, images, stored in usage["groups"]:
            yield "namespace", f"{name or 'none'}, {many(images, 'image')}, {size(stored)}"


def _why_empty(call: Call) -> str:
    """Say why a lock has no records, and what to do where it should have some."""
    if call.settings.host == "directory":
        return ", and needs none: what the host 'directory' has stands in the site; `imghost check SITE` looks there"
    return " yet; build once with a credential in the environment"


def _account(usage: Mapping[str, Any]) -> str:
    """Say what the host tells of the account."""
    used, limit, left = usage["used"], usage["limit"], usage["remaining"]
    stored, room = usage["bytes_used"], usage["bytes_limit"]
    parts = [usage["plan"]]
    if used is not None:
        parts.append(f"{used:,} of {many(limit, 'image')}" if limit is not None else many(used, "image"))
    elif left is not None:
        parts.append(f"{many(left, 'image')} more")
    if stored is not None:
        parts.append(part_of(stored, room) if room is not None else size(stored))
    if usage["resets"]:
        parts.append(f"counted anew on {usage['resets'][:10]}")
    return ", ".join(filter(None, (*parts, usage["link"])))


def _status_row(row: Mapping[str, Any], now: datetime) -> Row:
    colour = "red" if row["expired"] else "yellow" if row["expiring"] else ""
    counts = (row["permanent"], row["expiring"], row["expired"])
    expiry = day(datetime.fromisoformat(row["next_expiry"]), now) if row["next_expiry"] else "never"
    return Row((row["host"], row["records"], size(row["bytes"]), *counts, expiry), "", colour)


class Refusals(NamedTuple):
    """What the host has refused for good, so that no build sends it again."""

    images: tuple[Mapping[str, str], ...] = ()
    """Digest, reason and day of each."""
    again: int = 0
    """How many others the next build sends once more, since the account or the user has changed something."""


def _usage(call: Call, published: str | None) -> tuple[dict[str, Any] | None, Refusals]:
    """Ask the chosen host for its own numbers, where this build may ask anything; and look what it has refused."""
    name = registry.chosen(call.settings, call.environ, published)
    if name is None or not leave_to_upload(call.settings, call.environ, is_serving=False).may_upload:
        return None, Refusals()
    with Client(call.settings.timeout, environ=call.environ) as client:
        host = registry.open_host(name, call.settings, call.environ, client, Path.cwd(), is_asking=True)
        if host.lacks_credential or not isinstance(host, Tells):
            return None, _refusals(call, host, "")
        try:
            found = host.usage()
        except HostError as refusal:
            warn([f"{name} does not tell its numbers: {refusal}"])
            return None, _refusals(call, host, "")
    resets = found.resets.isoformat() if found.resets else None
    return {"host": name} | found._asdict() | {"resets": resets}, _refusals(call, host, found.allowance)


def _refusals(call: Call, host: Host, allowance: str) -> Refusals:
    """List what a host has refused for good; what it may take by now, or is to be asked again, is forgotten."""
    with Cache.load(call.settings.cache_dir) as cache:
        known = refused_by(host, call.settings, call.environ, cache)
        again = [
            key
            for key, last in known.items()
            if call.given["again"] or (allowance and last.allowance not in {"", allowance})
        ]
        cache.ask_again(again, owner_of(call.settings, host))
    left = [(key, last) for key, last in sorted(known.items()) if key not in again]
    images = ({"sha256": key[0], "reason": it.reason, "since": f"{it.since:%Y-%m-%d}"} for key, it in left)
    return Refusals(tuple(images), len(again))


def _refused_facts(refusals: Refusals) -> Iterator[tuple[str, str]]:
    """Say what is not sent again, and how it would be."""
    if refusals.again:
        yield "again", f"{many(refusals.again, 'image')} that the host refused: the next build sends them once more"
    if refusals.images:
        first, count = refusals.images[0], len(refusals.images)
        like = f", like {first['sha256'][:12]} on {first['since']}: {first['reason']}"
        yield "refused", f"{many(count, 'image')}{like}; no build sends them again before something changes, or --again"


def _host_status(name: str, records: Sequence[Record], settings: Settings, now: datetime) -> dict[str, Any]:
    dated = sorted(record.expires for record in records if record.expires)
    return {
        "host": name,
        "records": len(records),
        "bytes": sum(record.bytes for record in records),
        "permanent": len(records) - len(dated),
        "expiring": sum(1 for it in records if covers(it, now) and needs_renewal(it, settings.renew_before, now)),
        "expired": sum(1 for it in records if not covers(it, now)),
        "next_expiry": dated[0].isoformat().replace("+00:00", "Z") if dated else None,
    }


def _shared_status(call: Call) -> dict[str, Any]:
    """Look at the store of shared records."""
    from imghost.run import sharing

    with sharing.opened(call.settings, call.environ) as store:
        found = sharing.holdings(store)
    projects = sorted(found.written.keys() | found.used.keys())
    return found._asdict() | {
        "latency": round(found.latency, 4),
        "hosts": dict(sorted(found.hosts.items())),
        "projects": [
            {"project": name, "written": found.written.get(name, 0), "used": found.used.get(name, 0)}
            for name in projects
        ],
    }


def _print_shared(found: Mapping[str, Any]) -> None:
    total = sum(found["hosts"].values())
    facts = {"store": found["address"], "latency": f"{found['latency'] * 1000:.1f} ms an answer"}
    facts |= {"records": f"{total:,}", "claimed": f"{found['claimed']:,}"} if total else {"records": "0"}
    print_facts(facts.items())
    if found["hosts"]:
        print()
        print_table(("host", "records"), (Row((name, f"{count:,}")) for name, count in found["hosts"].items()))
    if found["projects"]:
        print()
        rows = (Row((it["project"], f"{it['written']:,}", f"{it['used']:,}")) for it in found["projects"])
        print_table(("project", "written", "taken from others"), rows)
    if found["read"] < total:
        print(f"written: of the first {found['read']:,} entries")


def share(call: Call) -> int:
    """Publish the lock's records to the store of shared records, for a project that joins."""
    from imghost.run import sharing

    leave = leave_to_upload(call.settings, call.environ, is_serving=False)
    if not leave.may_upload:
        raise SettingsError(f"nothing is published: {leave.reason}")
    is_dry, lock = bool(call.given["dry-run"]), locks.read(call.settings.lock)
    with (
        Client(call.settings.timeout, environ=call.environ) as client,
        sharing.opened(call.settings, call.environ) as store,
    ):
        hosts, skipped = _hosts_of(lock, call, client)
        now = datetime.now(UTC)
        joined = sharing.share(store, call.settings, lock.records, hosts, now, is_dry=is_dry)
        address = store.address
    warn(f"{many(count, 'record')} of {why.replace('fetched', 'published')}" for why, count in skipped.items())
    if call.is_json:
        print_json({"imghost_share": 1, "store": address, "dry_run": is_dry} | joined._asdict())
    else:
        verb = "would be published" if is_dry else "published"
        print(f"{joined.published:,} {verb} to {address}, {joined.there:,} there already, {joined.left:,} of no use")
    return 1 if call.is_strict and skipped else 0


def tidy(call: Call) -> int:
    """Take the records of images that have left the sites out of the lock."""
    from imghost.run import care

    sites = [call.folder(name) for name in call.given["keep"]]  # type: ignore[attr-defined]
    grace, lock = _grace(call, "90d"), locks.read(call.settings.lock)
    left = care.find_left(lock.records, sites, grace, datetime.now(UTC))
    is_writing = bool(call.given["yes"]) and bool(left)
    if is_writing:
        gone = {(record.key, record.url) for record in left}
        digests = {record.sha256 for record in left}
        locks.change(call.settings.lock, digests, lambda _, there: (it for it in there if (it.key, it.url) not in gone))
    if call.is_json:
        rows = [{"sha256": record.sha256, "host": record.host, "url": record.url} for record in left]
        print_json({"imghost_tidy": 1, "records": len(lock.records), "written": is_writing, "left": rows})
    else:
        name = call.settings.lock.name
        end = f" and are out of {name}" if is_writing else "; --yes takes them out" if left else ""
        print(f"{len(left):,} of {many(len(lock.records), 'record')} are of images that have left the sites{end}")
    return 0


def _grace(call: Call, usual: str) -> timedelta:
    try:
        return read_duration(call.given.get("grace") or usual)
    except ValueError as wrong:
        raise SettingsError(f"--grace should be {wrong}") from None


def verify(call: Call) -> int:
    """Fetch every record's URL, and what a site's pages refer to; what checked nothing, or not all, is no success."""
    from imghost.run import care

    settings, now, started = call.settings, datetime.now(UTC), time.perf_counter()
    site = call.folder(str(call.given["site"])) if call.given.get("site") else None
    lock, since = locks.read(settings.lock), call.given.get("since")
    changed = care.changed_since(settings.lock, str(since), now) if since else None
    if changed:
        lock = replace(lock, records=changed.records)
        if not lock.records and not site:
            _print_verdicts(call, [], 0, 0.0, f"no record has changed since {since}")
            return 0
    with Client(settings.timeout, environ=call.environ) as client:
        hosts, skipped = _hosts_of(lock, call, client)
        own = [record for record in lock.records if any(owns(record, name, it.accepts) for name, it in hosts.items())]
        with call.showing(len(own), ("checking", "record")) as step:
            verdicts = care.verdicts(own, client, now, settings.renew_before, settings.concurrency, lambda: step("", 0))
        verdicts = [changed.held_to(verdict) for verdict in verdicts] if changed else verdicts
        if site:
            accepts = [host.accepts for host in hosts.values() if host.place == "network"]
            urls = care.hosted_in(site, lambda url: any(accept(url) for accept in accepts))
            of_pages = care.page_verdicts(urls, verdicts, client, settings.concurrency)
            verdicts = [verdict for verdict in verdicts if verdict.url not in urls] + of_pages
    foreign = len(lock.records) - len(own) - sum(skipped.values())
    warn(f"{many(count, 'record')} of {why}" for why, count in skipped.items())
    if foreign:
        records = f"{many(foreign, 'record')} with a URL that these settings do not accept"
        warn([f"{records} {'was' if foreign == 1 else 'were'} not fetched; correct the options"])
    _print_verdicts(call, verdicts, len(lock.records) - len(own), time.perf_counter() - started)
    states = {verdict.state for verdict in verdicts}
    is_whole = bool(verdicts) and len(own) == len(lock.records) and "unknown" not in states
    return 0 if is_whole and states <= ({"alive"} if call.is_strict else {"alive", "expiring"}) else 1


def _hosts_of(lock: Lock, call: Call, client: Client) -> tuple[dict[str, Host], Counter[str]]:
    """Open the hosts of a lock, and count the records of those that cannot be, by host and reason.

    The options are those of the host that is meant: where they are wrong, that is an error.
    """
    chosen = call.settings
    if chosen.host != "auto":
        registry.host_type(chosen.host)
    hosts: dict[str, Host] = {}
    skipped: Counter[str] = Counter()
    for name, count in Counter(record.host for record in lock.records).items():
        is_meant = name == (lock.host if chosen.host == "auto" else chosen.host)
        own = replace(chosen, host=name, options=chosen.options if is_meant else {})
        try:
            hosts[name] = registry.open_host(name, own, call.environ, client, Path.cwd(), is_asking=True)
        except SettingsError as wrong:
            if is_meant:
                raise
            skipped[f"{name} {'was' if count == 1 else 'were'} not fetched: {wrong}"] += count
    return hosts, skipped


def _print_verdicts(call: Call, verdicts: Sequence[Verdict], skipped: int, seconds: float, none: str = "") -> None:
    counts = Counter(verdict.state for verdict in verdicts)
    if call.is_json:
        rows = [{"url": it.url, "state": it.state, "reason": it.reason, "pages": list(it.pages)} for it in verdicts]
        print_json({"imghost_verify": 1, "counts": dict(counts), "skipped": skipped, "images": rows})
        return
    bad = sorted((it for it in verdicts if it.state != "alive"), key=lambda it: _STATES.index(it.state))
    if bad:
        shown = [_verdict_row(verdict) for verdict in call.first(bad)]
        more = [Row(("", f"and {len(bad) - len(shown):,} more; --verbose shows all"))] * (len(bad) > len(shown))
        print_table(("state", "url"), shown + more, is_cut=False)
    if not verdicts:
        why = " that could be fetched" if skipped else _why_empty(call)
        put_sentence(none or f"nothing was verified: {call.settings.lock.name} has no records{why}")
        return
    states = ", ".join(f"{counts[state]:,} {state}" for state in ("alive", *reversed(_STATES)) if counts[state])
    put(f"{many(len(verdicts), 'record')} in {lasted(seconds)}: {states}")


_STATES: Final = ("dead", "altered", "unknown", "expiring")
"""Of what is not just alive, the worst first."""


def _verdict_row(verdict: Verdict) -> Row:
    path = str(verdict.record.extra.get("path") or "") if verdict.record else ""
    where = " in ".join(filter(None, (path, many(len(verdict.pages), "page") if verdict.pages else "")))
    note = "; ".join(filter(None, (verdict.reason, where if path else f"shown in {where}" if where else "")))
    return Row((verdict.state, verdict.url), note, "yellow" if verdict.state in {"expiring", "unknown"} else "red")


def adopt(call: Call) -> int:
    """Record a site's images that the host has already."""
    from imghost.run import care

    found = care.adopt(call.job())
    warn(str(failure) for failure in found.failures)
    if call.is_json:
        print_json(
            {
                "imghost_adopt": 1,
                "known": found.known,
                "adopted": [{"sha256": record.sha256, "url": record.url} for record in found.records],
                "missing": list(found.missing),
                "failures": [{"path": failure.path, "reason": failure.reason} for failure in found.failures],
            }
        )
    else:
        put(f"{len(found.records)} adopted, {found.known} known already, {len(found.missing)} not at the host")
    return 1 if call.is_strict and found.failures else 0


def prune(call: Call) -> int:
    """List, or delete, hosted images that no named site refers to."""
    from imghost.run import care

    sites = [call.folder(name) for name in call.given["keep"]]  # type: ignore[attr-defined]
    grace = _grace(call, "7d")
    with Client(call.settings.timeout, environ=call.environ) as client:
        host = _chosen(call, client)
        try:
            lock = locks.read(call.settings.lock)
            records = (*lock.records, *lock.unconfirmed)  # what nobody has seen yet is used by whoever has its file
            found = care.find_unused(host, sites, grace, datetime.now(UTC), records)
            is_deleting = bool(call.given["yes"]) and bool(found.unused)
            failed = {}
            with _among_others(call, host, found) as (found, deleted):
                if is_deleting and isinstance(host, Deletes):
                    failed = care.delete(host, found.unused, call.settings.lock, call.settings.cache_dir)
                    deleted += [it.url for it in found.unused if it.id not in failed]
        except HostError as refusal:
            raise SettingsError(f"nothing more is deleted: {refusal}") from None
    if call.is_json:
        rows = [{"id": it.id, "url": it.url, "why_not": failed.get(it.id, "")} for it in found.unused]
        totals = {"used": found.used, "young": found.young, "deleted": len(rows) - len(failed) if is_deleting else 0}
        print_json({"imghost_prune": 1, **totals, "unused": rows})
    else:
        if found.unused:
            states = ("deleted" if is_deleting and it.id not in failed else "unused" for it in found.unused)
            rows_shown = (Row((state, it.url)) for state, it in zip(states, found.unused, strict=True))
            print_table(("state", "url"), rows_shown, is_cut=False)
        end = "" if is_deleting or not found.unused else "; --yes deletes them"
        put(f"{len(found.unused)} unused, {found.young} too young to go, {found.used} used{end}")
    warn(f"{name} could not be deleted: {why}" for name, why in failed.items())
    return 1 if failed else 0


def edit(call: Call) -> int:
    """List, or change, what the host knows of this project's images otherwise than the settings say."""
    with Client(call.settings.timeout, environ=call.environ) as client:
        host = _chosen(call, client)
        if not isinstance(host, Edits):
            raise SettingsError(f"the host {host.name!r} keeps nothing beside an image that could be changed")
        records = [it for it in locks.read(call.settings.lock).records if owns(it, host.name, host.accepts)]
        is_editing, failed = bool(call.given["yes"]), {}
        try:
            edits = host.outdated(records)
            if is_editing and edits:
                failed = dict(host.edit(edits))
        except HostError as refusal:
            raise SettingsError(f"nothing is changed: {refusal}") from None
    if call.is_json:
        rows = [{"id": it.id, "url": it.url, "fields": it.fields, "why_not": failed.get(it.id, "")} for it in edits]
        print_json({"imghost_edit": 1, "changed": len(rows) - len(failed) if is_editing else 0, "outdated": rows})
    else:
        for it in edits if call.is_verbose else ():
            put(f"{it.url}: {', '.join(it.fields)}")
        fields = ", ".join(sorted({name for it in edits for name in it.fields}))
        what = f"{many(len(edits), 'image')} of {many(len(records), 'record')}"
        end = f": {fields}" + ("" if is_editing else "; --yes changes them") if edits else ""
        put(f"{what} {'changed' if is_editing and edits else 'to change'}{end}")
    warn(f"{name} could not be changed: {why}" for name, why in failed.items())
    return 1 if failed else 0


@contextmanager
def _among_others(call: Call, host: Host, found: Pruning) -> Iterator[tuple[Pruning, list[str]]]:
    """Leave out what other projects use, by the store of shared records, and take the rest out of it meanwhile.

    Gives what may be deleted, and a list for the URLs of what was.
    """
    deleted: list[str] = []
    if not call.settings.shared or not found.unused:
        yield found, deleted
        return
    from imghost.run import sharing

    records = locks.read(call.settings.lock).records
    with sharing.opened(call.settings, call.environ) as store:
        seen, used = sharing.spared(store, call.settings, host, found.unused, records)
        withdrawn = sharing.Withdrawn({}, used)
        if call.given["yes"]:
            urls = {it.url for it in found.unused} - used.keys()
            wait = sharing.pause(call.settings)
            call.say(f"waiting {wait:.0f} seconds for builds that may just be taking one of these")
            withdrawn = sharing.withdraw(store, call.settings, seen, urls)
            used |= withdrawn.kept
        if used:
            project = next(iter(used.values()))
            call.say(f"{many(len(used), 'image')} stay, since other projects use them, like {project}")
        free = tuple(it for it in found.unused if it.url not in used)
        try:
            yield replace(found, unused=free, used=found.used + len(used)), deleted
        finally:
            sharing.settle(store, call.settings, withdrawn, deleted)


def _chosen(call: Call, client: Client) -> Host:
    """Open the host that the settings mean, to ask it something."""
    lock = locks.read(call.settings.lock)
    name = registry.chosen(call.settings, call.environ, lock.host)
    if name is None:
        raise SettingsError("no host is chosen and no credential is in the environment; set the option 'host'")
    host = registry.open_host(name, call.settings, call.environ, client, Path.cwd(), is_asking=True)
    leave = leave_to_upload(call.settings, call.environ, is_serving=False)
    if not leave.may_upload and host.place == "network":
        raise SettingsError(f"nothing can be asked: {leave.reason}")
    if host.lacks_credential:
        variables = " or ".join(registry.host_type(name).credentials)
        raise SettingsError(f"no credential for {name} is in the environment ({variables})")
    return host


def shrink(call: Call) -> int:
    """Show what a branch of published versions weighs with and without its images, and with --yes take them out."""
    from imghost.run import shrink as shrinking

    name, is_orphan = str(call.given["branch"]), bool(call.given["orphan"])
    branch = shrinking.find_branch(Path.cwd(), name)
    job = replace(call, site=branch.top).job()
    is_meant = bool(call.given["yes"])
    shrunk = shrinking.shrink(branch, job, is_orphan=is_orphan) if is_meant else shrinking.plan_shrink(branch, job)
    notices = shrunk.result.notices if shrunk.result else shrunk.planned.notices if shrunk.planned else ()
    warn(notice.text for notice in notices)
    if call.is_json:
        print_json(_as_shrunk(name, shrunk))
    else:
        _print_shrunk(call, name, shrunk, is_orphan=is_orphan)
    is_refused = shrunk.result is not None and shrunk.result.is_refused
    return 1 if is_refused or (call.is_strict and notices) else 0


def _as_shrunk(name: str, shrunk: Shrunk) -> dict[str, Any]:
    return {
        "imghost_shrink": 1,
        "branch": name,
        "commit": shrunk.commit or None,
        "before": shrunk.before,
        "after": shrunk.after,
        "versions": [version._asdict() for version in shrunk.versions],
        "uploads": len(shrunk.planned.plan.uploads) if shrunk.planned else None,
        "report": report.as_mapping(shrunk.result.report) if shrunk.result else None,
    }


def _print_shrunk(call: Call, name: str, shrunk: Shrunk, *, is_orphan: bool) -> None:
    """Print the versions, the largest first, what it takes, and what to do."""
    from imghost.run.shrink import Version

    counts = _counts_of(shrunk)
    rows = [
        Row((" ".join((it.name, *it.aliases)), *counts.get(it.name, ()), size(it.before), size(it.after)))
        for it in (*shrunk.versions, Version("all", shrunk.before, shrunk.after))
    ]
    head = ("version", "pages", "images", "before", "after") if counts else ("version", "before", "after")
    print_table(head, rows, right=range(1, len(head)))
    put()
    print_facts(_shrunk_facts(shrunk, is_orphan=is_orphan))
    if shrunk.planned:
        put(f"nothing is changed yet: --yes uploads, and commits to {name} only")
    elif shrunk.commit:
        force = "--force-with-lease " if is_orphan else ""
        put(f"{name} is at {shrunk.commit[:10]} now; push it: git push {force}origin {name}")
        for line in shrunk.result.advice if shrunk.result else ():
            call.say(line)
    else:
        put(f"{name} stays as it is")


def _counts_of(shrunk: Shrunk) -> Mapping[str, tuple[int, int]]:
    """Count the pages of each version and the images that they show; nothing is known of them once it is done."""
    from imghost.run.shrink import version_of

    pages: Counter[str] = Counter()
    images: dict[str, set[str]] = defaultdict(set)
    for view in shrunk.planned.views if shrunk.planned else ():
        for name in (version_of(view.path), "all"):
            pages[name] += 1
            images[name] |= {target.path for _, target in view.resolved()}
    names = (*(version.name for version in shrunk.versions), "all")
    return {name: (pages[name], len(images[name])) for name in names} if shrunk.planned else {}


def _shrunk_facts(shrunk: Shrunk, *, is_orphan: bool) -> Iterator[tuple[str, str]]:
    from imghost.run.shrink import PAGES_LIMIT

    if shrunk.planned:
        plan, host = shrunk.planned.plan, shrunk.planned.host
        most = "" if plan.is_price_certain else "at most "
        cost = f" for {most}{money(plan.cost)}" if plan.price else ""
        where = f" to {host.name}" if host else ""
        yield "to upload", f"{many(len(plan.uploads), 'image')}, {size(plan.bytes)}{where}{cost}"
    yield "Pages", f"{size(shrunk.before)} of {limit(PAGES_LIMIT)} now, {size(shrunk.after)} after"
    if not is_orphan:
        yield "history", "the old commits keep their images; --orphan leaves them behind"


def restore(call: Call) -> int:
    """Put a site's local references back."""
    from imghost.run import care

    restored = _restored(call, call.settings)
    if not restored.left:
        care.forget(call.job().page_map)
    if call.is_json:
        left = [{"page": page, "url": url} for page, url in restored.left]
        print_json({"imghost_restore": 1, "pages": restored.pages, "left": left})
    else:
        call.done(f"{many(restored.pages, 'page')} with the local references back")
    return 1 if restored.left else 0


def migrate(call: Call) -> int:
    """Move a site's images to another host: back to local, then, if all came back, to the new one.

    The new host is asked first, and a site of which nothing moved is left as it was.
    """
    from imghost.run import care

    if why := _immovable(call):
        call.say(f"nothing is moved: {why}")
        return 1
    page_map_file = call.job().page_map
    known = page_map_file.read_bytes() if page_map_file and page_map_file.exists() else None
    restored = _restored(call, call.configured)
    if restored.left:
        call.say("nothing is moved, since not every reference could be put back; build the site again first")
        return 1
    status, result = _rehosted(call)
    if result.report.counts.references_rewritten or not restored.pages:
        return status
    care.undo(call.job().site, restored, page_map_file, known)
    call.say("nothing is moved: the new host has none of the images, and the pages are as they were")
    return 1


def _immovable(call: Call) -> str:
    """Say why nothing can move to the new host, before a page changes; empty where it can."""
    if _is_idle(call):
        return "this is a live preview (IMGHOST_SERVE=1)"
    job = call.job()
    with Client(call.settings.timeout, environ=call.environ) as client, Cache.load(call.settings.cache_dir) as cache:
        planned = plan_run(job, client, cache)
    if planned.host is None:
        return "no host is chosen; name one with --to, and set its credential"
    is_closed = planned.host.place == "network" and not planned.leave.may_upload
    return planned.leave.reason if is_closed and not planned.plan.reused else ""


def _restored(call: Call, published: Settings) -> Restored:
    """Put the call's site back to local references, and warn of what stays; `published` are those it was made with."""
    from imghost.run import care

    job = call.job(is_asking=True)
    lock = locks.read(call.settings.lock)
    known = page_map.load(job.page_map, "")
    with Client(call.settings.timeout, environ=call.environ) as client:
        host = _host_here(call, published, client)
        restored = care.restore(job.site, known, lock.records, call.settings, host)
    if restored.copies:
        call.say(f"{many(restored.copies, 'image')} came back from the host's own files, as they were put there")
    by_url: dict[str, list[str]] = {}
    for page, url in restored.left:
        by_url.setdefault(url, []).append(page)
    warn(
        f"{url} stays in {listed(pages)}: no file of the site has its bytes; build the site again"
        for url, pages in by_url.items()
    )
    return restored


def _host_here(call: Call, published: Settings, client: Client) -> Host | None:
    """Open the host that a site was published with, if its files are on this machine; `auto` means none of those."""
    if published.host == "auto":
        return None
    assert call.site is not None
    host = registry.open_host(published.host, published, call.environ, client, call.site, is_asking=True)
    return host if host.place != "network" else None


def hosts(call: Call) -> int:
    """List the installed hosts."""
    rows = [_host_row(name, call) for name in registry.installed()]
    if call.is_json:
        print_json({"imghost_hosts": 1, "hosts": rows})
        return 0
    is_wide = (columns_of(sys.stdout) or 0) >= WIDE
    head = ("host", "up to", "images live", "price", "credential", *(("formats",) if is_wide else ()))
    print_table(head, (_shown_host(row, is_wide=is_wide) for row in rows), note_below=1, colours={"present": "green"})
    return 0


def _shown_host(row: Mapping[str, str], *, is_wide: bool) -> Row:
    """Lay out one host; what has no column stands below."""
    is_missing = row["credential"].endswith("is not set")
    credential = "missing" if is_missing else "none needed" if row["credential"] == "not needed" else row["credential"]
    cells = (row["host"], row["max_bytes"], row["life"], row["price"], credential)
    formats = () if is_wide else (row["formats"],)
    variable = f"set {row['credential'].partition(' ')[0]}" if is_missing else ""
    return Row((*cells, row["formats"]) if is_wide else cells, "; ".join(filter(None, (*formats, variable))))


def _host_row(name: str, call: Call) -> dict[str, str]:
    kind = registry.host_type(name)
    limits = registry.limits_of(name, call.environ)
    present = [variable for variable in kind.credentials if call.environ.get(variable)]
    credential = "not needed" if not kind.credentials else "present" if present else f"{kind.credentials[0]} is not set"
    row = dict.fromkeys(("formats", "max_bytes", "retention", "life", "price"), "?") | {
        "host": name,
        "credential": credential,
    }
    if limits is None:
        return row
    return row | {
        "formats": " ".join(ending for media_type, ending in MEDIA_TYPES.items() if media_type in limits.formats),
        "max_bytes": limit(limits.max_bytes) if limits.max_bytes else "any",
        "retention": f"{limits.retention.days} days" if limits.retention else PERMANENT,
        "life": kind.terms.life or _life(limits),
        "price": kind.terms.price or (money(limits.price) if limits.price else "free"),
    }


def wallet(call: Call) -> int:
    """Show the wallet that pays for img402, and with a node's URL its balance."""
    from imghost.hosts.img402.wallet import usdc_balance, wallet_address

    address = wallet_address(call.environ)
    if address is None:
        raise SettingsError(
            "no wallet is in the environment; set IMG402_PRIVATE_KEY, IMG402_PRIVATE_KEY_FILE or IMG402_SIGNER"
        )
    if digest := call.given.get("pay-again"):
        return _pay_again(call, str(digest))
    balance = None
    if url := call.given.get("rpc-url"):
        with Client(call.settings.timeout, environ=call.environ) as client:
            try:
                balance = usdc_balance(client, str(url), address)
            except HostError as refusal:
                raise SettingsError(f"the balance is not known: {refusal}") from None
    if call.is_json:
        print_json({"imghost_wallet": 1, "address": address, "usdc": None if balance is None else str(balance)})
    else:
        put(address if balance is None else f"{address}  {balance} USDC")
    return 0


def _pay_again(call: Call, digest: str) -> int:
    """Let an image whose payment was lost be paid once more: only the user may decide that."""
    from imghost.hosts.img402.journal import journal_of

    try:
        count = journal_of(call.environ, call.settings.folder, call.settings.cache_dir).allow_again(digest)
    except StateError as problem:
        raise SettingsError(str(problem)) from None
    if not count:
        raise SettingsError(f"no lost payment is known for {digest:.80}; `imghost status` tells what is unresolved")
    _forget_lost(call, digest)
    put(f"the next build may pay once more for {digest}")
    return 0


def _forget_lost(call: Call, digest: str) -> None:
    """Forget the records of a paid image that the host lost, since pages would go on naming what is gone."""
    from imghost.records.cache import Cache

    lock = locks.read(call.settings.lock).records
    with Cache.load(call.settings.cache_dir) as cache:
        known = (*lock, *(record for _, record in cache.every_record()))
        gone = {it.url for it in known if it.host == "img402" and it.sha256.startswith(digest)}
        if gone and call.settings.lock.exists():
            locks.drop(call.settings.lock, gone)
        cache.forget(gone)


def keys(call: Call) -> int:
    """Make an img.pro key and print it, once."""
    from imghost.hosts.imgpro import ImgProOptions
    from imghost.hosts.imgpro.api import create_key

    url = str(call.settings.options.get("api_url") or ImgProOptions().api_url)
    with Client(call.settings.timeout, environ=call.environ) as client:
        try:
            name = call.given.get("name")
            made = create_key(client, url, str(call.given["email"]), str(name) if name else None)
        except HostError as refusal:
            raise SettingsError(f"no key was made: {refusal}") from None
    if call.is_json:
        about = {"id": made.id, "verified": made.is_verified, "limits": made.limits, "message": made.message}
        print_json({"imghost_key": 1, "key": made.key.reveal(), **about})
    else:
        put(made.key.reveal())
        call.say("put it into the environment as IMGPRO_API_KEY; it is not shown again")
        for told in (made.limits, made.message):
            if told:
                call.say(f"img.pro: {told}")
        if not made.is_verified:
            call.say("verify the address first: until then its images live for 30 days")
    return 0


@dataclass(frozen=True, slots=True)
class Money:
    """US dollars, and what they did not buy."""

    spent: Decimal = Decimal(0)
    """What bought images for this lock."""
    unresolved: Decimal = Decimal(0)
    """What was signed for it and bought none yet."""
    lost: tuple[str, ...] = ()
    """Digests of the images that were paid for and never given."""


def paid(call: Call) -> Money:
    """Say what was paid for the call's lock."""
    from imghost.hosts.img402.journal import journal_of

    settings = call.settings
    try:
        journal = journal_of(call.environ, settings.folder, settings.cache_dir)
        return Money(journal.spent(settings.lock), journal.unresolved(settings.lock), journal.lost(settings.lock))
    except StateError as problem:
        warn([f"the payments are not known: {problem}"])
        return Money()


def audit(call: Call) -> int:
    """Show what is wrong with a site's images, hosted or not."""
    from imghost.run import audit as audits

    assert call.site is not None
    failing, form = _failing(call.given["fail"]), _form(call)
    now, here = datetime.now(UTC), Path.cwd()
    hosted = audits.hosted_by(locks.read(call.settings.lock).records, call.settings, now)
    seen = audits.audit(
        call.site, now=now, site_url=call.settings.site_url, hosted=hosted, folder=here, workers=os.cpu_count() or 1
    )
    for remark in seen.remarks:
        call.say(remark)
    if form == "json":
        print_json(audits.as_mapping(seen))
    elif form == "sarif":
        print_json(audits.as_sarif(seen, failing, _from(here, call.site), version()))
    else:
        if form == "github":
            for annotation in audits.as_github(seen, failing, _from(here, call.site)):
                print(annotation)
        else:
            _print_findings(audits.lines(seen))
        put(audits.total(seen, failing))
    return 1 if audits.fails(seen, failing) else 0


def _failing(typed: object) -> frozenset[str]:
    """Read the kinds that are exit 1; several may stand in one word, separated by commas."""
    from imghost.run.audit import FAILING, KINDS_OF_FINDINGS

    words = [word.strip() for text in typed or () for word in str(text).split(",")]  # type: ignore[attr-defined]
    for word in words:
        if word not in {*KINDS_OF_FINDINGS, "none"}:
            raise SettingsError(
                f"--fail should be a kind of finding, not {word!r:.80}; {nearest(word, KINDS_OF_FINDINGS)}"
            )
    return frozenset(words) - {"none"} if words else frozenset(FAILING)


_FORMS: Final = ("text", "json", "github", "sarif")


def _form(call: Call) -> str:
    form = str(call.given["format"] or ("json" if call.is_json else "text"))
    if form not in _FORMS:
        raise SettingsError(f"--format should be one of {', '.join(_FORMS)}, not {form!r:.80}")
    if call.is_json and form != "json":
        raise SettingsError(f"--json and --format {form} are two forms; leave one of them out")
    return form


def _from(here: Path, site: Path) -> str:
    """Name a site as its files stand in the repository, whose top a CI calls from."""
    return site.relative_to(here).as_posix() if site.is_relative_to(here) else site.as_posix()


def _print_findings(found: Sequence[Line]) -> None:
    """Print a line for each, on a terminal wrapped, so that editors jump to what each begins with."""
    width = columns_of(sys.stdout)
    for line in found:
        head = f"{line.where}: {line.kind}"
        text = wrapped(str(line), width, indent=2) if width else str(line)
        colour = "red" if line.kind in {"broken", "alt"} else "yellow"
        shown = f"{line.where}: {painted(line.kind, colour, sys.stdout)}"
        print(shown + text.removeprefix(head) if text.startswith(head) else text)
    if found:
        put()
