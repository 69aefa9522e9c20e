"""The last run once more: where all that it went by is as it was then, nothing is decided anew.

Most builds change no image and no page that shows one. The last run leaves in the map what it went by, and
what it came to; a run that finds all of that as it was does to the pages what was done then, and loads none of
what decides. In doubt it does nothing, and the whole run follows.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from imghost import files
from imghost.environment import version
from imghost.errors import ImghostError
from imghost.files import Stamp
from imghost.models import NamedTuple, changed_text
from imghost.site import page_map
from imghost.site.page_map import Change, digest_of, read_for_scripts, whole_digest
from imghost.site.survey import KEPT, decode, encode, pages_without_ending, walk
from imghost.wording import one_line

if TYPE_CHECKING:
    from imghost.run.job import Job, Planned, Published, RewrittenPages

_LARGEST_LOCK: Final = 4_000_000
"""Bytes; of a larger lock not every URL is read for a few pages."""
_PASSING: Final = frozenset({"_", "COLUMNS", "LINES", "OLDPWD", "PWD", "SHLVL", "TERM"})
"""Variables that differ from one call to the next, and concern nobody here."""
_COPY, _SOURCE, _PLACE = "copy", "source", "place"
"""By what an image was known: the site's file, the file that it is a copy of, or where these lie alone."""
_PLAIN: Final = r"[A-Za-z0-9:/._~%+@-]+"
"""What stands in any attribute and style sheet as it is."""
_URL: Final = cache(partial(re.compile, rf'"url": ?"({_PLAIN})"'))


class Told(NamedTuple):
    """What a front end tells of a run: one line that sums it up, and all that is worth a line or a warning."""

    summary: str
    notices: tuple[tuple[str, str], ...] = ()
    """Warnings: a stable code, and the text."""
    remarks: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    new_lines: str = ""
    error: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """All that is worth a line and no warning, in order."""
        return tuple(map(one_line, (*self.remarks, self.summary, *self.advice)))


def repeat(job: Job) -> Told | None:
    """Do what the last run did, where it is sure that a run would do just that; None = it is not, and nothing is done.

    No request is made, and nothing is written but pages that the generator has written again just as it did then.
    """
    if job.page_map is None or not _may_repeat(job):
        return None
    try:
        with uncollected():
            return _repeated(job, job.page_map)
    except files.HalfWrittenError as problem:
        why = f"{problem.filename}: {problem.strerror or problem}; {files.remedy(problem)} and build again"
        raise ImghostError(why) from None
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError, RecursionError, MemoryError):
        return None


def _repeated(job: Job, place: Path) -> Told | None:
    """Do the last run once more by the map at a place; raises what a map that a stranger wrote can raise."""
    text = (place if place.exists() else page_map.last_place(place)).read_bytes()  # of a site that is emptied first
    known = _read(text)
    last = known["again"]
    if not last or last["key"] != _key(job) or not _is_standing(last, job):
        return None
    if (names := _names(job.site)) is None or last["names"] != _digest_of(sorted(names)):
        return None
    if last["endless"] != list(pages_without_ending(job.site, names)):
        return None
    if known["scripts"][1] != whole_digest(job.site, read_for_scripts(names)):
        return None
    rows = known["pages"]
    before = {path: [*row] for path, row in rows.items()}
    pages = _pages_written(known, last, job)
    if pages is None or not _write(pages, rows, job):
        return None
    if pages or any(row[5] != before[path][5] for path, row in rows.items()):
        page_map.save_again(place, text, known, before)
    return Told(str(last["summary"]), remarks=tuple(map(str, last["remarks"])))


@contextmanager
def uncollected() -> Iterator[None]:
    """Put the search for unreachable cycles off: the values of a run have none, and the generator's are many.

    A generator that has built a site holds a million objects, and values of ours, tuples of tuples, would have all of
    them looked through again.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _may_repeat(job: Job) -> bool:
    """Say whether a run with these settings can be repeated: others write more than pages' addresses."""
    chosen = job.settings
    adds = chosen.responsive or chosen.format or chosen.dimensions or chosen.lazy or chosen.fallback
    is_more = bool(chosen.report or chosen.remove_local or chosen.remote or adds)
    return job.writes_again and not job.is_serving and not job.origins.is_own_source and not is_more


def _read(text: bytes) -> dict[str, Any]:
    """Read the map's rows as they stand in it."""
    found = json.loads(text)
    if found["imghost_pages"] != page_map.VERSION or found["removed"] or found["hosted"]:
        raise ValueError(found["imghost_pages"])
    return dict(found)


def _key(job: Job) -> str:
    """Name all that a run goes by beside files: the settings, the environment, and what is installed."""
    values = (getattr(job.settings, field.name) for field in fields(job.settings))
    settings = [sorted(value) if isinstance(value, frozenset) else value for value in values]
    installed = [files.stamp(place) for place in sys.path if place.endswith("-packages")]
    origins = job.origins
    places = [str(place) for place in (job.site, job.page_map, *origins.roots, *origins.packages)]
    told = repr((version(), sys.version, settings, installed, places, origins.stands_for_copy))
    environ = (f"{name}={value}" for name, value in sorted(job.environ.items()) if name not in _PASSING)
    # Credentials are in the environment: four bytes tell that it is another one, and nothing to guess by.
    return f"{_digest_of([told])} {_digest_of(environ)[:8]}"


def _digest_of(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def _is_standing(last: Mapping[str, Any], job: Job) -> bool:
    """Say whether the lock and all images are as they were, and no record is due yet."""
    until = last["until"]
    if until is not None and job.now().timestamp() >= until:
        return False
    if _stamp(job.settings.lock) != tuple(last["lock"]):
        return False
    if any(os.path.realpath(folder) != real for folder, real in last["folders"].items()):
        return False
    site, sources = f"{job.site}{os.sep}", job.origins.sources
    return all(
        str(sources.get(path, "")) == source and _is_same(site + path, source, then, by)
        for path, (source, then, by) in last["images"].items()
    )


def _is_same(file: str, source: str, then: list[int], by: str) -> bool:
    """Say whether an image's file is the one that was identified, as itself or by the file that it is a copy of."""
    copy = _stamp(file)
    if copy is None:
        return False
    if by == _SOURCE:
        return copy[0] == then[0] and _stamp(source) == tuple(then)
    return copy == tuple(then) if by == _COPY else True


def _stamp(path: Path | str) -> Stamp | None:
    """Give a file's stamp; None for a link, too, which may lead elsewhere than it did."""
    try:  # twice for each image, where a context would take as long as the question
        found = os.lstat(path)
    except OSError:
        return None
    return files.stamp_in(found) if stat.S_ISREG(found.st_mode) else None


def _names(site: Path) -> set[str] | None:
    """List a site's files; None where one is a link."""
    links: set[str] = set()
    names = set(walk(str(site), links))
    return None if links else names


class _Written(NamedTuple):
    """A page that the generator has written again as it did before the last run, and that is to change as then."""

    path: str
    stamp: Stamp
    changes: list[Change]
    content: bytes | None
    """Its bytes, where there was room to keep them."""


def _pages_written(known: Mapping[str, Any], last: Mapping[str, Any], job: Job) -> list[_Written] | None:
    """Find the pages that are to change; None where one is neither as the last run left it nor as it was before.

    The rows learn the stamps of those that were written again and stay as they are, and the digests of others.
    """
    rows, written = known["pages"], dict[str, Stamp]()
    for path, (then, _, _, changes, *_) in rows.items():
        now = files.stamp(f"{job.site}/{path}")
        if now == tuple(then):
            continue
        if now is None or now[0] != then[0] - _growth(changes):
            return None
        written[path] = now
    found: list[_Written] = []
    names = {path.rpartition("/")[2] for path in last["images"]}
    urls = _urls(job.settings.lock) if any(rows[path][3] for path in written) else frozenset()
    room = KEPT
    for path, now in written.items():
        changes = rows[path][3]
        content = files.read_whole(f"{job.site}/{path}")
        if (digest := digest_of(content)) != rows[path][5]:
            if not _is_alike(path, content, rows[path][2], known["scripts"][3], job):
                return None
            rows[path][1], rows[path][5] = "", digest
        if not changes:
            rows[path][0] = now
            continue
        if not _is_sound(changes, decode(content), urls, names):
            return None
        room -= len(content)
        found.append(_Written(path, now, changes, content if room > 0 else None))
    return found


def _is_alike(path: str, content: bytes, scan: object, words: Iterable[str], job: Job) -> bool:
    """Say whether other bytes of a page refer to just what the last ones did, each at the same place.

    Generators write the moment of a build into a page. All that is decided of a page is by its scan.
    """
    from imghost.site.pages import scan_text

    found = scan_text(path, decode(content), job.settings.references, frozenset(words))
    return bool(json.loads(json.dumps(found)) == scan)


def _growth(changes: list[Change]) -> int:
    """Count the bytes that changes add to a page."""
    return sum(len(encode(after)) - len(encode(before)) for _, before, after in changes)


def _is_sound(changes: list[Change], text: str, urls: Container[str], names: Container[str]) -> bool:
    """Say whether changes put URLs of the lock in the place of images' URLs: the map may be a stranger's."""
    at = 0
    for start, before, after in changes:
        if start < at or not _is_move(before, after, urls, names) or not text.startswith(before, start):
            return False
        at = start + len(before)
    return True


def _write(pages: Sequence[_Written], rows: Mapping[str, Any], job: Job) -> bool:
    """Write the pages as the last run did; False where one is not as it was looked at."""
    if not pages:
        return True
    page_map.set_aside(job.page_map)
    for page in pages:
        file = f"{job.site}/{page.path}"
        content = page.content if page.content is not None else files.read_whole(file)
        changed = encode(changed_text(decode(content), page.changes))
        now = files.write_over(file, content, changed, page.stamp)
        if now is None:
            return False
        rows[page.path][0] = now
        rows[page.path][1] = rows[page.path][1] or digest_of(changed)
    return True


def _urls(lock: Path) -> frozenset[str]:
    return frozenset(_URL().findall(lock.read_text("utf-8")))


def _is_move(before: str, after: str, urls: Container[str], names: Container[str]) -> bool:
    """Say whether a text that names one of the site's images, as it is written, became a URL of the lock.

    What stands behind the path, a query or a fragment, is as before, or went.
    """
    (path, rest), (url, kept) = _split(before), _split(after)
    fragment = rest[rest.find("#") :] if "#" in rest else ""
    return path.rpartition("/")[2] in names and url in urls and kept in {rest, fragment}


def _split(url: str) -> tuple[str, str]:
    """Split a URL in front of its query or fragment."""
    path = url.partition("#")[0].partition("?")[0]
    return path, url[len(path) :]


def note(published: Published, pages: RewrittenPages, result: Told, since: Stamp | None, job: Job) -> dict[str, Any]:
    """Say what a run went by and what it came to, as JSON has it; empty where the next one had better decide anew.

    `since` is the lock's stamp from before it was read.
    """
    from imghost.records import renewal_due

    planned = published.planned
    lock, records = job.settings.lock, [*published.records.values(), *chain(*published.sizes.values())]
    is_plain = (
        _may_repeat(job)
        and job.begun is None  # what was sent for a page that is another one by now is told once
        and _has_ended_well(published, pages, result)
        and since is not None
        and _stamp(lock) == since
        and since[0] <= _LARGEST_LOCK
        and files.is_settled(lock.stat())
    )
    images = _images(planned, job) if is_plain else None
    if images is None:
        return {}
    names = {path.rpartition("/")[2] for path in images}
    urls = {record.url for record in records if re.fullmatch(_PLAIN, record.url)}
    changes = (change for _, written in pages.pages if written.entry for change in written.entry.changes)
    if not all(_is_move(before, after, urls, names) for _, before, after in changes):
        return {}
    folders = {os.path.dirname(of or f"{job.site}/{path}") for path, (of, _, _) in images.items()}  # noqa: PTH120
    ends = [due for record in records if (due := renewal_due(record, job.settings.renew_before)) is not None]
    return {
        "key": _key(job),
        "names": _digest_of(sorted(planned.survey.files)),
        "lock": since and list(since),
        "until": min(ends).timestamp() if ends else None,
        "folders": {folder: os.path.realpath(folder) for folder in sorted(folders)},
        "images": images,
        "endless": list(pages_without_ending(job.site, planned.survey.files)),
        "summary": result.summary,
        "remarks": list(result.remarks),
    }


def _has_ended_well(published: Published, pages: RewrittenPages, told: Told) -> bool:
    """Say whether a run had nothing to do but to point pages at what the lock knew, and nothing to warn of."""
    from imghost.site.dependents import lists_bytes

    planned, host = published.planned, published.planned.host
    if host is None or host.place != "network" or not type(host).__module__.startswith("imghost."):
        return False  # others' hosts may go by what nobody knows here
    plan = planned.plan
    left = plan.uploads or plan.refused or plan.short or published.outcomes or published.failures
    odd = planned.survey.links or planned.last_map.hosted or planned.last_map.removed
    is_told = told.notices or told.advice or told.new_lines or told.error
    return (
        planned.lock.host == host.name
        and not (left or odd or is_told)
        and bool(planned.scripts.digest)
        and not any("/.imghost-" in f"/{path}" for path in planned.survey.files)
        and not lists_bytes(planned.survey.files, planned.survey.pages)
        and all(written.entry is not None and not written.problem for _, written in pages.pages)
    )


def _images(planned: Planned, job: Job) -> dict[str, list[Any]] | None:
    """Say by which file each image was known; None where one was judged by more than where it lies and what it is."""
    from imghost.site.images import is_by_place

    if not all(map(is_by_place, planned.stays.values())):
        return None
    found: dict[str, list[Any]] = {}
    for path, image in planned.images.items():
        source = str(job.origins.sources.get(path, ""))
        where, then = image.seen or ("", None)
        if then is None or _stamp(where) != then or not files.is_long_ago(then[1]):
            return None
        found[path] = [source, list(then), _SOURCE if where == source else _COPY]
    return found | {path: [str(job.origins.sources.get(path, "")), [], _PLACE] for path in planned.stays}
