"""Addresses that a host makes of a hosted image's: fetched once for each image before a page names them.

A host may refuse to convert one image, and a page that names the address then shows nothing. So one of each kind
is fetched, and the record tells which were seen; what was not keeps its plain address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from imghost.errors import HostError
from imghost.hosts import Host, Varies
from imghost.html.edit import Additions
from imghost.net.client import Client
from imghost.records import lock as locks
from imghost.run.job import Job, Notice, Published
from imghost.run.rewrite import SEEN, additions_of, hosted_image, kinds_of, seen_kinds
from imghost.wording import many

_BREAKER: Final = 3
"""Addresses that cannot be reached, after which no more are asked for in this run."""


class Confirmed(NamedTuple):
    """What pages may name: the records, told what was seen of them, and what is worth a warning or a line."""

    published: Published
    notices: tuple[Notice, ...] = ()
    remarks: tuple[str, ...] = ()


def confirm_derived(published: Published, job: Job, client: Client) -> Confirmed:
    """Fetch one address of each kind for each image that pages are to name so, where nobody has yet."""
    host, additions = published.planned.host, additions_of(job.settings, published.planned.host)
    if not isinstance(host, Varies) or not (additions.format or additions.responsive):
        return Confirmed(published)
    wanted = _wanted(published, host, additions)
    if not wanted:
        return Confirmed(published)
    if not job.settings.verify:
        return Confirmed(_with(published, {url: frozenset(kinds) for url, kinds in wanted.items()}))
    if not published.planned.leave.may_upload:
        text = f"{many(len(wanted), 'image')} keep the plain address: nobody has seen the host's other copies yet"
        return Confirmed(published, remarks=(text,))
    seen, problems = _asked(wanted, client, job.settings.concurrency)
    published = _with(published, seen)
    notices = _noted(published, job, seen.keys()) if any(seen.values()) else ()
    if problems:
        text = f"{many(len(problems), 'image')} keep the plain address: {problems[0]}; build again, or ask the host"
        notices += (Notice("derived", text),)
    return Confirmed(published, notices)


def _wanted(published: Published, host: Host, additions: Additions) -> dict[str, dict[str, str]]:
    """List, by the images' addresses, the kinds that nobody has seen yet, with one address of each."""
    wanted: dict[str, dict[str, str]] = {}
    for path, record in published.records.items():
        kinds = kinds_of(hosted_image(record, published.planned.images.get(path), host, additions), additions)
        if new := {kind: url for kind, url in kinds.items() if kind not in seen_kinds(record)}:
            wanted[record.url] = new
    return wanted


def _asked(
    wanted: Mapping[str, Mapping[str, str]], client: Client, concurrency: int
) -> tuple[dict[str, frozenset[str]], list[str]]:
    """Fetch the addresses; gives the kinds that were seen of each image, and what was wrong with the others."""
    from imghost.run.upload import concurrently

    unreachable: list[str] = []

    def look(kinds: Mapping[str, str]) -> dict[str, str]:
        return {kind: _problem(url, client, unreachable) for kind, url in kinds.items()}

    looks = concurrently(look, list(wanted.values()), concurrency)
    seen = {
        plain: frozenset(kind for kind, problem in found.items() if not problem)
        for plain, found in zip(wanted, looks, strict=True)
    }
    return seen, [problem for found in looks if (problem := next(filter(None, found.values()), ""))]


def _problem(url: str, client: Client, unreachable: list[str]) -> str:
    """Say why an address shows no image; empty where it does. What cannot be reached is noted."""
    from imghost.run.upload import difference

    if len(unreachable) >= _BREAKER:
        return unreachable[0]
    try:
        answer = client.fetch(url)
    except HostError as problem:
        unreachable.append(f"{url}: {problem.reason}")
        return unreachable[-1]
    if answer.status != 200:
        return f"{url} answers {answer.status}"
    found = difference(None, None, answer.headers.get("content-type", ""), answer.body, "image/*")
    return f"{url} {found[1]}" if found else ""


def _with(published: Published, seen: Mapping[str, frozenset[str]]) -> Published:
    """Tell the records what was seen of them."""
    records = {
        path: replace(record, extra={**record.extra, SEEN: sorted(seen_kinds(record) | seen[record.url])})
        if seen.get(record.url)
        else record
        for path, record in published.records.items()
    }
    return published._replace(records=records)


def _noted(published: Published, job: Job, urls: Iterable[str]) -> tuple[Notice, ...]:
    """Write into the lock what was seen; where it cannot be, the next build looks again."""
    told = {record.key: record for record in published.records.values() if record.url in set(urls)}
    try:
        lock = locks.read(job.settings.lock, job.now())
        known = (told.get(record.key, record) for record in lock.records)
        locks.write(job.settings.lock, locks.Lock(lock.host, tuple(known), lock.header))
    except OSError as problem:
        reason = problem.strerror or problem
        return (Notice("lock", f"{job.settings.lock} cannot be written: {reason}; make room or change its mode"),)
    return ()
