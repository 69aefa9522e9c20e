"""Hosted images that no site refers to any more: found, and deleted only when asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from imghost.errors import SettingsError
from imghost.hosts import Deletes, Stored
from imghost.pages import survey
from imghost.records import lock as locks
from imghost.run import local_copies

_WORD: Final = re.compile(r"[A-Za-z0-9_-]{4,}")


@dataclass(frozen=True, slots=True)
class Pruning:
    """What may go and what stays."""

    unused: tuple[Stored, ...]
    young: int
    """Unused ones that are too young to go."""
    used: int


def foresee(
    host: object, sites: Sequence[Path], grace: timedelta, now: datetime, known: Mapping[str, datetime]
) -> Pruning:
    """Find this project's images at the host that no text file of the named sites mentions; deletes nothing.

    An image counts as used if its id stands anywhere, so that rather one too many is kept. `known` tells when
    a URL was uploaded, for hosts that do not; an image whose age nobody knows is young.
    """
    if not isinstance(host, Deletes):
        name = getattr(host, "name", "none")
        raise SettingsError(f"the host {name!r} cannot delete images; ask its operators, or let the images expire")
    if not host.project:
        raise SettingsError(
            "prune needs to know which images are this project's; "
            "set the host's namespace, folder or prefix in 'options'"
        )
    words = _words(sites)
    unused: list[Stored] = []
    young = used = 0
    for stored in host.listed():
        if not words.isdisjoint(_names(stored)):
            used += 1
        elif grace and now - (stored.uploaded or known.get(stored.url, now)) < grace:
            young += 1
        else:
            unused.append(stored)
    return Pruning(tuple(unused), young, used)


def _words(sites: Iterable[Path]) -> set[str]:
    words: set[str] = set()
    for site in sites:
        for text in local_copies.texts(survey(site)):
            words.update(_WORD.findall(text))
    return words


def _names(stored: Stored) -> set[str]:
    """List the words by which a page could mention an image: its id, and its file's name."""
    stem = stored.url.partition("?")[0].rpartition("/")[2].partition(".")[0]
    return {word for text in (stored.id, stem) for word in [text.rpartition("/")[2].partition(".")[0]] if word}


def delete(host: Deletes, unused: Sequence[Stored], lock_path: Path) -> dict[str, str]:
    """Delete images and their records; gives why for each that could not be."""
    gone = {stored.url for stored in unused}
    failed = dict(host.delete([stored.id for stored in unused]))
    gone -= {stored.url for stored in unused if stored.id in failed}
    lock = locks.read(lock_path)
    kept = tuple(record for record in lock.records if record.url not in gone)
    if len(kept) < len(lock.records):
        locks.write(lock_path, locks.Lock(lock.host, kept, lock.header))
    return failed
