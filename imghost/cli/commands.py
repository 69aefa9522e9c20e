"""The commands about records: what there is, whether it lives, and what becomes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imghost import urls
from imghost.commands import site
from imghost.commands.call import Call, print_json, warn
from imghost.commands.money import paid
from imghost.cli.terminal import Row, print_facts, print_table
from imghost.environment import leave_to_upload
from imghost.errors import HostError, SettingsError
from imghost.hosts import Host, Tells, registry
from imghost.models import Record
from imghost.net.client import Client
from imghost.records import lock as locks
from imghost.run import care as adoption
from imghost.run import care as pruning
from imghost.run import care as restoring
from imghost.run.care import Verdict, hosted_in, page_verdicts, verdicts
from imghost.settings import Settings, read_duration
from imghost.site import page_map
from imghost.wording import many, size


def status(call: Call) -> int:
    """Show the lock's records."""
    lock = locks.read(call.settings.lock)
    now = datetime.now(UTC)
    by_host: dict[str, list[Record]] = {}
    for record in lock.records:
        by_host.setdefault(record.host, []).append(record)
    rows = [_host_status(name, records, call.settings, now) for name, records in sorted(by_host.items())]
    usage = _usage(call, lock.host)
    paid_for = paid(call)
    spent, unresolved = paid_for.spent, paid_for.unresolved
    if call.is_json:
        money = {"spent": f"{spent:.2f}", "unresolved": f"{unresolved:.2f}", "lost": list(paid_for.lost)}
        found = {"imghost_status": 1, "lock": str(call.settings.lock), "host": lock.host}
        print_json(found | {"hosts": rows, "usage": usage, "money": money})
        return 1 if unresolved else 0
    if spent or unresolved:
        print(f"paid ${spent:.2f} for this lock's images; ${unresolved:.2f} more is signed and has bought none yet")
    for digest in paid_for.lost:
        print(f"lost {digest}: ask the host; `imghost wallet --pay-again {digest[:8]}…` lets it be paid once more")
    if usage:
        print_facts((name.replace("_", " "), _shown(name, value)) for name, value in usage.items() if value)
        print()
    if rows:
        print_table(
            ("host", "records", "size", "permanent", "expiring", "expired", "next expiry"), map(_status_row, rows)
        )
    else:
        print(f"{call.settings.lock.name} has no records yet; build once with a credential in the environment")
    return 1 if unresolved else 0


def _status_row(row: Mapping[str, Any]) -> Row:
    colour = "red" if row["expired"] else "yellow" if row["expiring"] else ""
    counts = (row["permanent"], row["expiring"], row["expired"])
    return Row((row["host"], row["records"], size(row["bytes"]), *counts, (row["next_expiry"] or "")[:10]), "", colour)


def _shown(name: str, value: object) -> str:
    if isinstance(value, int):
        return size(value) if name.startswith("bytes") else f"{value:,}"
    return str(value)


def _usage(call: Call, published: str | None) -> dict[str, Any] | None:
    """Ask the chosen host for its own numbers, where this build may ask anything."""
    name = registry.chosen(call.settings, call.environ, published)
    if name is None or not leave_to_upload(call.settings, call.environ, is_serving=False).may_upload:
        return None
    with Client(call.settings.timeout, environ=call.environ) as client:
        host = registry.open_host(name, call.settings, call.environ, client, Path.cwd(), is_asking=True)
        if host.lacks_credential or not isinstance(host, Tells):
            return None
        try:
            found = host.usage()
        except HostError as refusal:
            warn([f"{name} does not tell its numbers: {refusal}"])
            return None
    resets = found.resets.isoformat() if found.resets else None
    return {"host": name} | found._asdict() | {"resets": resets}


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


def verify(call: Call) -> int:
    """Fetch every record's URL, and what a site's pages refer to."""
    settings, now = call.settings, datetime.now(UTC)
    lock = locks.read(settings.lock)
    with Client(settings.timeout, environ=call.environ) as client:
        hosts = {name: _opened(name, call, client) for name in {record.host for record in lock.records}}
        own = [record for record in lock.records if (host := hosts[record.host]) and host.accepts(record.url)]
        found = verdicts(own, client, now, settings.renew_before, settings.concurrency)
        if call.given.get("site"):
            site = Path(str(call.given["site"])).absolute()
            accepts = [host.accepts for host in hosts.values() if host and host.needs_network]
            urls = hosted_in(site, lambda url: any(accept(url) for accept in accepts))
            told = page_verdicts(urls, found, client, settings.concurrency)
            found = [verdict for verdict in found if verdict.url not in urls] + told
    if skipped := len(lock.records) - len(own):
        warn([f"{skipped} records have a URL that the present settings do not accept and were not fetched"])
    bad = [verdict for verdict in found if verdict.state != "alive"]
    counts = Counter(verdict.state for verdict in found)
    if call.is_json:
        rows = [{"url": it.url, "state": it.state, "reason": it.reason, "pages": list(it.pages)} for it in found]
        print_json({"imghost_verify": 1, "counts": dict(counts), "images": rows})
    else:
        if bad:
            print_table(("state", "url"), map(_verdict_row, bad), is_cut=False)
        print(", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "no records to verify")
    is_bad = any(verdict.state in {"dead", "altered"} for verdict in bad)
    return 1 if is_bad or (call.is_strict and bad) else 0


def _verdict_row(verdict: Verdict) -> Row:
    more = f" and {len(verdict.pages) - 3} more" if len(verdict.pages) > 3 else ""
    where = f"in {', '.join(verdict.pages[:3])}{more}" if verdict.pages else ""
    note = "; ".join(filter(None, (verdict.reason, where)))
    return Row((verdict.state, verdict.url), note, "red" if verdict.state in {"dead", "altered"} else "yellow")


def _opened(name: str, call: Call, client: Client) -> Host | None:
    """Open a host of the lock, as far as the settings can; its own options are those of the chosen host."""
    chosen = call.settings if call.settings.host in {name, "auto"} else replace(call.settings, options={})
    try:
        return registry.open_host(name, replace(chosen, host=name), call.environ, client, Path.cwd(), is_asking=True)
    except SettingsError:
        return None


def adopt(call: Call) -> int:
    """Record a site's images that the host has already."""
    found = adoption.adopt(call.job())
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
        print(f"{len(found.records)} adopted, {found.known} known already, {len(found.missing)} not at the host")
    return 1 if call.is_strict and found.failures else 0


def prune(call: Call) -> int:
    """List, or delete, hosted images that no named site refers to."""
    sites = [Path(name).absolute() for name in call.given["keep"]]  # type: ignore[attr-defined]
    if missing := [folder for folder in sites if not folder.is_dir()]:
        raise SettingsError(f"there is no folder {str(missing[0])!r}; name every site whose images must stay")
    try:
        grace = read_duration(call.given.get("grace") or "7d")
    except ValueError as wrong:
        raise SettingsError(f"--grace should be {wrong}") from None
    with Client(call.settings.timeout, environ=call.environ) as client:
        host = _chosen(call, client)
        try:
            known = {record.url: record.uploaded for record in locks.read(call.settings.lock).records}
            found = pruning.find_unused(host, sites, grace, datetime.now(UTC), known)
            is_deleting = bool(call.given["yes"]) and bool(found.unused)
            failed = pruning.delete(host, found.unused, call.settings.lock) if is_deleting else {}  # type: ignore[arg-type]
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
        print(f"{len(found.unused)} unused, {found.young} too young to go, {found.used} used{end}")
    warn(f"{name} could not be deleted: {why}" for name, why in failed.items())
    return 1 if failed else 0


def _chosen(call: Call, client: Client) -> Host:
    """Open the host that the settings mean, to ask it something."""
    lock = locks.read(call.settings.lock)
    name = registry.chosen(call.settings, call.environ, lock.host)
    if name is None:
        raise SettingsError("no host is chosen and no credential is in the environment; set the option 'host'")
    host = registry.open_host(name, call.settings, call.environ, client, Path.cwd(), is_asking=True)
    leave = leave_to_upload(call.settings, call.environ, is_serving=False)
    if not leave.may_upload and host.needs_network:
        raise SettingsError(f"nothing can be asked: {leave.reason}")
    if host.lacks_credential:
        variables = " or ".join(registry.host_type(name).credentials)
        raise SettingsError(f"no credential for {name} is in the environment ({variables})")
    return host


def restore(call: Call) -> int:
    """Put a site's local references back."""
    done = _restored(call)
    if not done.left:
        restoring.forget(call.job().page_map)
    if call.is_json:
        left = [{"page": page, "url": url} for page, url in done.left]
        print_json({"imghost_restore": 1, "pages": done.pages, "left": left})
    else:
        print(f"{many(done.pages, 'page')} with the local references back")
    return 1 if done.left else 0


def migrate(call: Call) -> int:
    """Move a site's images to another host: back to local, then to the new one."""
    done = _restored(call)
    status = site.rehost(call)
    return 1 if done.left else status


def _restored(call: Call) -> restoring.Restored:
    """Put the call's site back to local references, and warn of what stays."""
    job = call.job()
    known = page_map.load(job.page_map, "")
    records = locks.read(call.settings.lock).records
    place = urls.place(call.settings.site_url)
    done = restoring.restore(job.site, known, records, place, call.settings.references)
    warn(f"{page}: {url} stays: no file of the site has its bytes; build the site again" for page, url in done.left)
    return done
