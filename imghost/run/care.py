"""What comes after the first upload: verify, adopt, prune, restore."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Final

from imghost import files, urls
from imghost.errors import HostError, ImghostError, SettingsError
from imghost.hosts import Deletes, Finds, Host, Stored, Varies, registry
from imghost.html.edit import changes_of
from imghost.image import payload
from imghost.image.inspect import NotAnImage
from imghost.image.inspect import read as read_image
from imghost.models import (
    IMPORT,
    KINDS,
    MEDIA_TYPES,
    Failure,
    Image,
    Record,
    Reference,
    Scan,
    Served,
    changed_text,
    served_of,
)
from imghost.net import Client
from imghost.records import asked_for, covers, needs_renewal
from imghost.records import lock as locks
from imghost.records.cache import Cache
from imghost.run import local_copies
from imghost.run.job import Job, Outcome, Upload
from imghost.run.plan import decide, plan_run
from imghost.run.publish import downloaded
from imghost.run.upload import confirm, difference, recorded
from imghost.settings import Settings
from imghost.site import pages
from imghost.site.images import opened_any
from imghost.site.page_map import PageEntry, PageMap, digest_of
from imghost.site.survey import Survey, decode, encode, survey
from imghost.threads import concurrently
from imghost.urls import Place
from imghost.wording import day, printable


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one hosted image."""

    url: str
    state: str
    """`alive`, `expiring`, `dead`, `altered`, or `unknown` where the host could not be asked."""
    reason: str = ""
    record: Record | None = None
    pages: tuple[str, ...] = ()


def verdicts(
    records: Iterable[Record],
    client: Client,
    now: datetime,
    renew_before: timedelta,
    concurrency: int,
    tell: Callable[[], object] = lambda: None,
) -> list[Verdict]:
    """Fetch every record's URL, and say what a reader would get; `tell` is called for each."""
    return concurrently(lambda record: _verdict(record, client, now, renew_before), list(records), concurrency, tell)


def _verdict(record: Record, client: Client, now: datetime, renew_before: timedelta) -> Verdict:
    state, reason = _answer(record.url, (record.width, record.height), client, record.served, record.media_type)
    if state == "alive" and record.expires and needs_renewal(record, renew_before, now):
        state, reason = "expiring", f"until {day(record.expires, now)}"
    return Verdict(record.url, state, reason, record)


def _answer(
    url: str, size: tuple[int | None, int | None], client: Client, served: Served | None = None, expected: str = ""
) -> tuple[str, str]:
    try:
        answer = client.fetch(url)
    except HostError as problem:
        return "unknown", problem.reason
    if answer.status != 200:
        # What a client did wrong is so for every reader; a server may be well again later.
        is_dead = 400 <= answer.status < 500 and answer.status not in {408, 425, 429}
        return "dead" if is_dead else "unknown", f"answers {answer.status}"
    found = difference(*size, answer.headers.get("content-type", ""), answer.body, expected)
    return found or _unlike(served, answer.body) or ("alive", "")


def _unlike(served: Served | None, body: bytes) -> tuple[str, str] | None:
    """Hold a host to what it served when its URL was first confirmed, where the record tells that."""
    if served is None or served == served_of(body):
        return None
    return "altered", f"serves {len(body):,} bytes that are not the {served.bytes:,} of its first confirmation"


@dataclass(frozen=True, slots=True)
class Changed:
    """What a lock has that a commit's did not, and what was confirmed then of the URLs that both have."""

    records: tuple[Record, ...]
    served: Mapping[str, Served]

    def held_to(self, verdict: Verdict) -> Verdict:
        """Judge a changed line, which may not say itself what its URL is to be held to."""
        then, record = self.served.get(verdict.url), verdict.record
        if record is None or then is None or record.served == then:
            return verdict
        return replace(verdict, state="altered", reason="its line no longer says what was served at first")


def changed_since(lock: Path, commit: str, now: datetime) -> Changed:
    """Compare a lock with a commit's: a pull request's changes, to be fetched before they count.

    Raises:
        SettingsError: git cannot tell, or knows no such commit.
        LockError: one of the two locks cannot be read.
    """
    try:
        before = files.at_commit(lock.resolve(), commit)
    except OSError as problem:
        raise SettingsError(f"{lock.name} at {printable(commit, 80)} cannot be read: {problem}") from None
    old = locks.parse(before or b"", f"{lock.name} at {commit}", now)
    had = {record.key: record for record in old.records}
    new = tuple(record for record in locks.read(lock, now).records if had.get(record.key) != record)
    return Changed(new, {record.url: record.served for record in old.records if record.served})


def hosted_in(site: Path, accepts: Callable[[str], bool]) -> dict[str, tuple[str, ...]]:
    """Find the hosted images that a site's pages refer to: URL -> pages."""
    found: dict[str, dict[str, None]] = {}
    kinds = frozenset(KINDS)
    listed = survey(site)
    for path in (*listed.pages, *listed.stylesheets):
        seen = pages.look(site, path, kinds, PageMap())
        for reference in seen.scan.references if seen else ():
            url = reference.url.partition("#")[0]
            for candidate in (url, url.partition("?")[0]):
                if accepts(candidate):
                    found.setdefault(candidate, {})[path] = None
                    break
    return {url: tuple(pages) for url, pages in found.items()}


def page_verdicts(
    urls: Mapping[str, tuple[str, ...]], known: Iterable[Verdict], client: Client, concurrency: int
) -> list[Verdict]:
    """Say what a reader gets for each hosted image that pages refer to; what is known is not asked again."""
    by_url = {verdict.url: verdict for verdict in known}

    def verdict(url: str) -> Verdict:
        told = by_url.get(url)
        state, reason = (told.state, told.reason) if told else _answer(url, (None, None), client)
        return Verdict(url, state, reason, told.record if told else None, urls[url])

    return concurrently(verdict, sorted(urls), concurrency)


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
        planned = plan_run(job, client, Cache.load(job.settings.cache_dir))
        host = planned.host
        is_shared = host is not None and host.place == "network" and bool(job.settings.shared)
        if host is None or not (isinstance(host, Finds) or is_shared):
            name = f"the host {host.name!r}" if host else "no host"
            raise SettingsError(f"{name} can be asked what it has; adopt works with img.pro, imageupload.io and s3")
        if not planned.leave.may_upload:
            raise SettingsError(f"nothing can be asked: {planned.leave.reason}")
        every = (*planned.plan.uploads, *(upload for upload, _ in planned.plan.refused))
        wanted = [upload for upload in every if not covers(upload.renewed, job.now())]
        taken: list[Outcome] = []
        if is_shared:  # what others have uploaded, from the store of shared records, before the host is asked
            from imghost.run.sharing import sharing

            with sharing(job, host) as among:
                taken, wanted = among.take(wanted, client) if among else ([], wanted)
        with files.payload_folder() as folder:
            finds = isinstance(host, Finds)
            found = [_found(upload, job, host, client, folder) if finds else None for upload in wanted]
    shared = [outcome.record for outcome in taken if outcome.record]
    records = (*shared, *(record for record in found if isinstance(record, Record)))
    if records:
        locks.add(job.settings.lock, records, host.name, job.now())
    return Adopted(
        records,
        tuple(upload.paths[0] for upload, record in zip(wanted, found, strict=True) if record is None),
        tuple(failure for failure in (*(it.failure for it in taken), *found) if isinstance(failure, Failure)),
        len(planned.plan.reused),
    )


def _found(upload: Upload, job: Job, host: Host, client: Client, folder: Path) -> Record | Failure | None:
    path = upload.shown
    try:
        if upload.variant == IMPORT:
            made = downloaded(upload, host, job, folder)
        else:
            with opened_any(upload.paths, job.site, job.origins) as source:
                made = payload.prepare(upload.image, source, upload.variant, folder)
        assert isinstance(host, Finds)
        hosted = host.find(made)
        if hosted is None:
            return None
        record = asked_for(recorded(upload, made, hosted, host.name, job.now()), job.settings.retention)
        record = record.with_served(served_of(confirm(record, client, job.settings.retries).body))
    except HostError as refusal:
        return Failure(path, refusal.reason, refusal.remedy)
    except (ImghostError, OSError) as problem:
        return Failure(path, printable(problem))
    return record


_WORD: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Pruning:
    """What may go and what stays."""

    unused: tuple[Stored, ...]
    young: int
    """Unused ones that are too young to go."""
    used: int


def find_unused(
    host: Host, sites: Sequence[Path], grace: timedelta, now: datetime, records: Sequence[Record]
) -> Pruning:
    """Find this project's images at the host that nothing in the named sites uses; deletes nothing.

    An image counts as used if its id stands anywhere in a text, or if a site has the file that its record was made
    from: so that rather one too many is kept. A record tells when an image was uploaded, for hosts that do not; an
    image whose age nobody knows is young.

    Raises:
        SettingsError: a site names none of the images, though it shows some: it is not rewritten yet.
    """
    if not isinstance(host, Deletes):
        raise SettingsError(f"the host {host.name!r} cannot delete images; ask its operators, or let the images expire")
    if not host.project:
        raise SettingsError(
            "prune needs to know which images are this project's; "
            "set the host's namespace, folder or prefix in 'options'"
        )
    listed = list(host.listed())
    used = _used(listed, sites, records)
    ages = {record.url: record.uploaded for record in records}
    left = [stored for stored in listed if stored.id not in used]
    young = {stored.id for stored in left if grace and now - (stored.uploaded or ages.get(stored.url, now)) < grace}
    return Pruning(tuple(stored for stored in left if stored.id not in young), len(young), len(used))


def _used(listed: Sequence[Stored], sites: Iterable[Path], records: Sequence[Record]) -> set[str]:
    """Find the ids of the images that sites use."""
    used = set[str]()
    for site in sites:
        found = survey(site)
        words = _words(site, found)
        named = {stored.id for stored in listed if not words.isdisjoint(_names(stored))}
        if listed and not named and _has_images(found, words):
            raise SettingsError(
                f"the site {site} has images, but names none of the hosted ones; build and rewrite it first, "
                "or leave it out of --keep"
            )
        digests = {_digest(site / path) for path in found.files if path.lower().endswith(_ENDINGS)}
        urls_of = {record.url for record in records if record.sha256 in digests}
        used |= named | {stored.id for stored in listed if stored.url in urls_of}
    return used


def _has_images(found: Survey, words: set[str]) -> bool:
    """Say whether a site shows images, so that one which names no hosted image is not rewritten yet."""
    return "img" in words or any(path.lower().endswith(_ENDINGS) for path in found.files)


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
    except OSError:
        return ""


def _words(site: Path, found: Survey) -> set[str]:
    """Collect the words of all texts of a site; one that cannot be read stops what would delete by them."""
    from imghost.site.names import texts

    words: set[str] = set()
    for path, text, problem in texts(found):
        if problem:
            raise ImghostError(f"{site / path} {problem}, so what it names is not known; unpack it, or take it out")
        words.update(_WORD.findall(text))
    return words


def _names(stored: Stored) -> set[str]:
    """List the words by which a page could mention an image: its id, and its file's name."""
    stem = stored.url.partition("?")[0].rpartition("/")[2].partition(".")[0]
    return {word for text in (stored.id, stem) for word in [text.rpartition("/")[2].partition(".")[0]] if word}


BATCH: Final = 100
"""Images that are forgotten and then deleted at a time, which is what hosts take at once."""


def delete(host: Deletes, unused: Sequence[Stored], lock_path: Path, cache_dir: Path) -> dict[str, str]:
    """Delete images; gives why for each that could not be.

    Their records go first, batch by batch, from the lock and the local store: what is stopped half-way leaves
    images without a record, which the next prune lists again, and no record without an image, which would put a
    dead URL into pages.
    """
    failed: dict[str, str] = {}
    for start in range(0, len(unused), BATCH):
        batch = unused[start : start + BATCH]
        gone = {stored.url for stored in batch}
        if lock_path.exists():
            locks.drop(lock_path, gone)
        with closing(Cache.load(cache_dir)) as cache:
            cache.forget(gone)
        failed |= host.delete([stored.id for stored in batch])
    return failed


def find_left(records: Iterable[Record], sites: Sequence[Path], grace: timedelta, now: datetime) -> tuple[Record, ...]:
    """Find the records whose images have left all of the named sites, and were uploaded longer ago than `grace`.

    One counts as used if its URL's name or id stands anywhere in a site, or a file of a site has its bytes.
    """
    words, digests = set[str](), set[str]()
    for site in sites:
        found = survey(site)
        words |= _words(site, found)
        digests |= {_digest(site / path) for path in found.files if path.lower().endswith(_ENDINGS)}
    return tuple(
        record
        for record in records
        if record.sha256 not in digests
        and now - record.uploaded >= grace
        and words.isdisjoint(_names(Stored(record.id, record.url)))
    )


_ENDINGS = tuple(f".{ending}" for ending in (*MEDIA_TYPES.values(), "jpeg"))


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a site."""

    pages: int
    """Pages that were changed."""
    left: tuple[tuple[str, str], ...]
    """Pages and the URL in each that could not be put back; such a page is as it was, if the map knows it."""
    copies: int = 0
    """Local copies that are back from the host's own files in the site, as they were put there."""
    before: Mapping[str, bytes] = field(default_factory=dict)
    """What was in the pages that were changed."""


def restore(
    site: Path, known: PageMap, records: Iterable[Record], settings: Settings, host: Host | None = None
) -> Restored:
    """Put the local references of every page back; asks no network.

    `host` is one whose files are on this machine: where the map is lost, they tell what a page showed.
    """
    place, records = urls.place(settings.site_url), list(records)
    lost = local_copies.put_back(site, known.removed, known.removed, is_exact=True)
    still_lost = _back_from_host(site, known, lost, place) if lost else lost
    found = survey(site)
    homes: Mapping[str, str] | None = None
    varied = _varied(records)
    before: dict[str, bytes] = {}
    left: list[tuple[str, str]] = []
    for path in (*found.pages, *found.stylesheets):
        content = (site / path).read_bytes()
        entry = known.pages.get(path)
        is_as_left = entry is not None and digest_of(content) == entry.digest
        text = pages.before_changes(path, decode(content), entry) if entry and is_as_left else None
        if entry and text is not None:
            missing = _shown_in(path, entry, still_lost, place)
            text = decode(content) if missing else text
        else:
            homes = _homes(found, records, settings, host) if homes is None else homes
            text, missing = _by_home(path, decode(content), homes, host, found.files, settings, varied)
        left += [(path, url) for url in missing]
        if encode(text) != content:
            files.write_whole(site / path, encode(text), is_durable=False)
            before[path] = content
    return Restored(len(before), tuple(left), len(lost) - len(still_lost), before)


def undo(site: Path, restored: Restored, page_map: Path | None, known: bytes | None) -> None:
    """Make pages again what they were before they were restored, and the map what it was, if it is known."""
    for path, content in restored.before.items():
        files.write_whole(site / path, content, is_durable=False)
    if page_map is not None and known is not None:
        files.write_whole(page_map, known, is_durable=False)


def _back_from_host(site: Path, known: PageMap, lost: set[str], place: Place) -> set[str]:
    """Bring copies back from the files of a host that is a part of the site; gives those that are still lost.

    What a page shows now in place of a copy is that image, if perhaps without its metadata.
    """
    hosted, sources = frozenset(known.hosted), dict[str, str]()
    for page, entry in known.pages.items():
        for before, after in _replaced(page, entry, lost, place):
            base = pages.base_of(page, entry.scan, place)
            copy = urls.resolve(unescape(after), base, place, hosted) if base else None
            if copy:
                sources.setdefault(before, str(site / copy.path))
    removed = {path: known.removed[path]._replace(source=source) for path, source in sources.items()}
    return (lost - removed.keys()) | local_copies.put_back(site, removed, removed)


def _replaced(page: str, entry: PageEntry, paths: Container[str], place: Place) -> Iterator[tuple[str, str]]:
    """List which of some images a page showed, and what was written in place of each."""
    base = pages.base_of(page, entry.scan, place)
    for _, before, after in entry.changes if base else ():
        url = unescape(before)
        target = urls.resolve(url, base or "", place, paths) or urls.resolve_in_root(url, place, paths)
        if before and target:
            yield target.path, after


def _shown_in(page: str, entry: PageEntry, lost: Container[str], place: Place) -> list[str]:
    """List what a page shows in place of images that cannot be brought back."""
    return [after for _, after in _replaced(page, entry, lost, place)]


def _homes(found: Survey, records: Iterable[Record], settings: Settings, host: Host | None) -> Mapping[str, str]:
    """Say for each hosted URL, or path of a host in the site, where in the site its image is; empty = nowhere."""
    records = list(records)
    if not records and host is None:
        return {}
    local = _local(found, host)
    homes = {record.url: local[record.sha256].path if record.sha256 in local else "" for record in records}
    for image in local.values() if host else ():
        assert host is not None
        variant = decide(image, host, settings)
        if isinstance(variant, str) and (hosted := host.stored(image, variant)):
            homes[hosted.url] = image.path
    # A host may name an image in another format by another ending.
    return {_whole(url): home for url, home in homes.items()} | homes


def _varied(records: Iterable[Record]) -> frozenset[str]:
    """List the URLs in which hosts read a query, so that none is the author's."""
    records = list(records)
    hosts = {record.host for record in records}.intersection(registry.installed())
    varying = {name for name in hosts if hasattr(registry.host_type(name), Varies.converted.__name__)}
    return frozenset(_whole(record.url) for record in records if record.host in varying)


def _whole(url: str) -> str:
    """Name what is the same in the URL of an image and of its copies in other formats: all but query and ending."""
    path, _, name = url.partition("?")[0].rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{path}/{stem}{dot}*" if "://" in url and dot else url


def _local(found: Survey, host: Host | None) -> dict[str, Image]:
    """Find the site's own image files by their digest."""
    local: dict[str, Image] = {}
    for path in sorted(found.files):
        if path.lower().endswith(_ENDINGS) and not (host and host.accepts(path)):
            try:
                image = read_image(found.root, path)
            except (NotAnImage, OSError):
                continue
            local.setdefault(image.sha256, image)
    return local


def _by_home(
    path: str,
    text: str,
    homes: Mapping[str, str],
    host: Host | None,
    files_there: Container[str],
    settings: Settings,
    varied: Container[str],
) -> tuple[str, list[str]]:
    """Replace a page's hosted URLs by the local files that have the same bytes; gives those that have none."""
    from imghost.html.improve import without_additions  # reads pages, as only a restore without the map does

    place = urls.place(settings.site_url)
    edits: dict[bool, dict[Reference, str]] = {True: {}, False: {}}
    """New URLs, by whether the query stays."""
    missing: list[str] = []
    text = text if path.endswith(".css") else without_additions(text)
    scanned = pages.scan_text(path, text, settings.references) if homes or host else Scan(())
    base = pages.base_of(path, scanned, place)
    for reference in scanned.references:
        url = reference.url.partition("#")[0]
        target = urls.resolve(reference.url, base, place, files_there) if host and base else None
        names = [target.path] if target else [url, url.partition("?")[0], _whole(url)]
        home = next((homes[name] for name in names if name in homes), None)
        if home and base is not None:
            form = "absolute" if reference.kind == "meta" and place.authority else "relative"
            edits[_whole(url) not in varied][reference] = urls.written(home, form, base, place)
        elif home is not None or (host and any(map(host.accepts, names))):
            missing.append(url)
    changes = (change for keeps in edits for change in changes_of(text, edits[keeps], keeps_query=keeps))
    return changed_text(text, sorted(changes)), missing


def forget(path: Path | None) -> None:
    """Forget what was rewritten: nothing is any more."""
    if path is not None:
        path.unlink(missing_ok=True)
