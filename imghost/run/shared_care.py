"""What people do with shared records: publish a lock's, look at the store, and spare what other projects use."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from imghost.environment import project_name
from imghost.errors import SettingsError
from imghost.hosts import Host, Stored
from imghost.models import Record
from imghost.records import shared
from imghost.records.shared import Held, Key, Seen, Store, Writer
from imghost.settings import Settings

SETTLING: Final = 2
"""Timeouts between taking records out and deleting images: a build that asked just before has noted its use by then."""
SAMPLE: Final = 10_000
"""Entries that are read to tell the projects that wrote them."""
_WIDTH: Final = 16


class Joined(NamedTuple):
    """What `share` found, and what it published."""

    published: int
    """Records that the store lacked; with a dry run those that would be published."""
    there: int
    """Records that the store had already."""
    left: int
    """Records that nobody can use: expired, or of a host that is not set up so."""


class Holdings(NamedTuple):
    """What a store has."""

    address: str
    latency: float
    """Seconds of one answer."""
    hosts: Mapping[str, int]
    """Records by host."""
    written: Mapping[str, int]
    """Records by the project that wrote them, of as many as were read."""
    used: Mapping[str, int]
    """Records that projects use and others wrote."""
    claimed: int
    """Images that are being uploaded."""
    read: int


@contextmanager
def opened(settings: Settings, environ: Mapping[str, str]) -> Iterator[Store]:
    """Open the store that the settings name; raises SettingsError where they name none."""
    if not settings.shared:
        raise SettingsError("no store is set; set the option 'shared' to its URL", "shared")
    store = shared.open_store(settings.shared, environ, settings.timeout)
    try:
        yield store
    finally:
        store.close()


def share(
    store: Store,
    settings: Settings,
    records: Iterable[Record],
    hosts: Mapping[str, Host],
    now: datetime,
    *,
    is_dry: bool,
) -> Joined:
    """Publish the lock's records that the store lacks, and note the use of those that it has; raises StoreError."""
    writer = a_writer(settings)
    every = list(records)
    live = {
        _key(record, hosts[record.host]): record
        for record in every
        if record.host in hosts and hosts[record.host].accepts(record.url) and record.lives_at(now)
    }
    seen = shared.ask_all(store, live)
    lacking = {key: record for key, record in live.items() if not _is_there(seen[key], now)}
    there = [key for key in live if key not in lacking]
    if not is_dry:
        shared.check_conditions(store)
        foreign = [key.path.removeprefix("records/") for key in there if seen[key].state.project != writer.project]
        if foreign:
            shared.note_uses(store, writer, foreign)
        with ThreadPoolExecutor(_WIDTH) as pool:
            for _ in pool.map(lambda key: _publish(store, key, lacking[key], writer, now), lacking):
                pass
    return Joined(len(lacking), len(there), len(every) - len(live))


def _publish(store: Store, key: Key, record: Record, writer: Writer, now: datetime) -> None:
    shared.publish(store, key, None, record, writer, lambda there: there.lives_at(now))


def _is_there(seen: Seen, now: datetime) -> bool:
    return seen.state.record is not None and seen.state.record.lives_at(now)


def holdings(store: Store) -> Holdings:
    """Look at a store; raises StoreError, also where this user may not list it."""
    started = time.monotonic()
    store.get("probe")
    latency = time.monotonic() - started
    paths = list(store.listed("records/"))
    states = [state for _, state in shared.every(store, paths[:SAMPLE])]
    used = Counter[str]()
    for _, project, keys in shared.uses(store):
        used[project] += len(set(keys))
    return Holdings(
        store.address,
        latency,
        Counter(path.split("/")[1] for path in paths),
        Counter(seen.state.project for seen in states if seen.state.record),
        used,
        sum(seen.state.claim is not None for seen in states),
        len(states),
    )


def spared(
    store: Store, settings: Settings, host: Host, unused: Sequence[Stored], records: Iterable[Record]
) -> tuple[dict[Key, Seen], dict[str, str]]:
    """Say which images of a host the store knows, and which of them other projects use: URL -> project.

    An image that the lock does not know may be anybody's, so that for one of those the whole store is read.
    """
    own = project_name(settings.lock)
    urls = {stored.url for stored in unused}
    keys = {_key(record, host) for record in records if record.host == host.name and record.url in urls}
    known = {record.url for record in records if record.host == host.name}
    seen = shared.ask_all(store, keys)
    if urls - known:
        seen |= dict(shared.every(store, list(store.listed(f"records/{host.name}/"))))
    mine = {key: there for key, there in seen.items() if there.state.record and there.state.record.url in urls}
    used = _used_by_others(store, own)
    by_others = {}
    for key, there in mine.items():
        record = there.state.record
        project = there.state.project if there.state.project != own else used.get(key.path, "")
        if record and project:
            by_others[record.url] = project
    return mine, by_others


class Withdrawn(NamedTuple):
    """Records that were taken out of the store, so that no build takes one while its image is deleted."""

    claims: Mapping[str, tuple[Held, Record]]
    """URL -> this command's claim, and the record that was there."""
    kept: Mapping[str, str]
    """URL -> who needs the image after all."""


def withdraw(
    store: Store,
    settings: Settings,
    seen: Mapping[Key, Seen],
    urls: Iterable[str],
    sleep: Callable[[float], object] = time.sleep,
) -> Withdrawn:
    """Claim the keys of images that are to be deleted, and look once more who uses them; raises StoreError.

    A build that has asked just before says so within the pause; one that asks later waits for the claim.
    """
    writer = a_writer(settings)._replace(lease=pause(settings) + 600)
    doomed = set(urls)
    claims: dict[str, tuple[Held, Record]] = {}
    kept: dict[str, str] = {}
    for key, there in seen.items():
        record = there.state.record
        if record is None or record.url not in doomed:
            continue
        held = shared.claim(store, key, there._replace(state=replace(there.state, record=None)), writer)
        if held:
            claims[record.url] = held, record
        else:
            kept[record.url] = "another build"
    if claims:
        sleep(pause(settings))
    used = _used_by_others(store, writer.project)
    kept |= {url: used[held.key.path] for url, (held, _) in claims.items() if held.key.path in used}
    return Withdrawn(claims, kept)


def pause(settings: Settings) -> float:
    """Give the seconds that deleting waits for builds under way."""
    return SETTLING * settings.timeout


def settle(store: Store, settings: Settings, withdrawn: Withdrawn, deleted: Container[str]) -> None:
    """Give up the keys of images that are gone, and put the records of all others back; raises StoreError."""
    writer = a_writer(settings)
    for url, (held, record) in withdrawn.claims.items():
        if url in deleted:
            shared.give_up(store, held, writer)
        else:
            shared.publish(store, held.key, held, record, writer, lambda _: True)


def _used_by_others(store: Store, own: str) -> dict[str, str]:
    return {key: project for _, project, keys in shared.uses(store) if project != own for key in keys}


def _key(record: Record, host: Host) -> Key:
    return Key(record.host, getattr(host, "account", ""), record.sha256, record.variant)


def a_writer(settings: Settings) -> Writer:
    """Make who writes in a person's name."""
    return Writer(secrets.token_hex(16), project_name(settings.lock))
