"""One rendered text, its images pointed at what the lock already knows: no site, no upload, no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from imghost.files import Stamp, digest, open_beneath, stamp
from imghost.hosts import Host, Varies, registry
from imghost.html.edit import splice
from imghost.html.scan import scan
from imghost.models import DEFAULT_KINDS, IMPORT, Record, Reference
from imghost.net.client import Client
from imghost.records import lock as locks
from imghost.run.rewrite import choose_urls
from imghost.settings import Settings
from imghost.site.pages import PageView, groups_of, survey
from imghost.urls import Place, SiteTarget, base_of, resolve

_KINDS: Final = frozenset(DEFAULT_KINDS)
_SITE: Final = Place()
_UNREAD: Final = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class LockedImages:
    """What a host serves: the records that count, by the digest of the image's file."""

    host: Host
    records: Mapping[str, Record]
    since: Stamp
    """The lock's stamp: when it changes, images may have been added, too."""


def read_lock(lock: Path, options: Mapping[str, Any], now: datetime) -> LockedImages | None:
    """Read what the host that the lock names serves at this moment; None = there is no lock, or no host in it.

    Raises ImghostError for a broken lock, a host that is not installed, or options that it does not take.
    """
    since = stamp(lock)
    committed = _records_of(lock, since) if since else locks.Lock()
    if since is None or committed.host is None:
        return None
    settings = Settings(host=committed.host, options=dict(options), lock=lock, folder=lock.parent)
    # No environment, so no credential: whoever renders a text has no use for one.
    host = registry.open_host(committed.host, settings, {}, Client(environ={}), lock.parent, is_asking=True)
    return LockedImages(host, _counting(committed.records, host, now), since)


@lru_cache(maxsize=4)
def _records_of(lock: Path, _: Stamp) -> locks.Lock:
    return locks.read(lock)


def _counting(records: Iterable[Record], host: Host, now: datetime) -> dict[str, Record]:
    """Choose the record of each image: one that lives, and of several variants the one uploaded last."""
    own = [
        record
        for record in records
        if record.host == host.name and record.variant != IMPORT and record.lives_at(now) and host.accepts(record.url)
    ]
    return {record.sha256: record for record in sorted(own, key=lambda record: (record.uploaded, record.variant))}


def rewrite_text(text: str, docs: Path, images: LockedImages, page: str = "") -> str:
    """Point a rendered text's references at hosted images; everything else in it stays as it is.

    A reference means what it would mean in `page`. Where the page is not known, it means the one file of the
    docs folder whose path ends as the reference does.
    """
    found = scan(text, _KINDS)
    look = _in_page(docs, page, found.base) if page else _by_ending(docs, images)
    targets = tuple(look(reference) for reference in found.references)
    view = PageView(page, _UNREAD, found, targets, "/")
    paths = {target.path for _, target in view.resolved()}
    records = {path: record for path in paths if (record := images.records.get(_digest_of(docs, path)))}
    edits = choose_urls(view, groups_of(view, images.host.origins), records, lambda record, _: record.url)
    return splice(text, edits.items(), keeps_query=not isinstance(images.host, Varies))


def _digest_of(docs: Path, path: str) -> str:
    now = stamp(docs / path)
    return _digest(docs, path, now) if now else ""


@lru_cache(maxsize=4096)
def _digest(docs: Path, path: str, _: Stamp) -> str:
    """Give a file's digest; empty for one that leads out of the folder or cannot be read."""
    try:
        with open_beneath(docs, path) as file:
            return digest(file)
    except OSError:
        return ""


class _Files:
    """Every file below a folder, asked one by one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, path: object) -> bool:
        return stamp(self._folder / str(path)) is not None


def _in_page(docs: Path, page: str, base: str | None) -> Callable[[Reference], SiteTarget | None]:
    start, files = base_of(page, base, _SITE), _Files(docs)
    return lambda reference: None if start is None else resolve(reference.url, start, _SITE, files)


@dataclass(frozen=True, slots=True)
class _Endings:
    """Every path below a folder, by the ends of it that name a file."""

    paths: Mapping[str, tuple[str, ...]] = field(hash=False)
    """File name -> paths."""

    def of(self, ending: str) -> list[str]:
        """List the paths that end in these names."""
        known = self.paths.get(ending.rpartition("/")[2], ())
        return [path for path in known if f"/{path}".endswith(f"/{ending}")]

    def __contains__(self, ending: object) -> bool:
        return bool(self.of(str(ending)))


@lru_cache(maxsize=4)
def _endings(docs: Path, _: Stamp) -> _Endings:
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(survey(docs).files) if docs.is_dir() else ():
        name = path.rpartition("/")[2]
        found[name] = (*found.get(name, ()), path)
    return _Endings(found)


def _by_ending(docs: Path, images: LockedImages) -> Callable[[Reference], SiteTarget | None]:
    """Look a reference up by how its path ends, where that leaves no doubt about the bytes."""
    endings = _endings(docs, images.since)

    def look(reference: Reference) -> SiteTarget | None:
        target = resolve(reference.url, "/", _SITE, endings)
        if target is None:
            return None
        paths = [target.path] if target.form == "root" else endings.of(target.path)
        digests = {_digest_of(docs, path) for path in paths}
        return SiteTarget(paths[0], target.form) if len(digests) == 1 else None

    return look
