"""Local copies deleted, or brought back."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Set
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imghost import files
from imghost.run.job import Job, Planned, Published, RewrittenPages, Settled
from imghost.site.images import Origins
from imghost.site.page_map import PageMap, Removed, is_image_in_site
from imghost.site.survey import Survey

if TYPE_CHECKING:
    from imghost.site.names import Mentions


def unnamed(survey: Survey, paths: Collection[str]) -> tuple[str, ...]:
    """Find the images whose file name stands in no text file of the site, however it is spelled there.

    The name alone decides, wherever the text points: rather a copy too many is kept than one missed. So if a text
    cannot be read, all are kept.
    """
    from imghost.site.names import mentions

    who = mentions(survey, paths)
    return () if who.doubts else tuple(sorted(set(paths) - who.named.keys()))


def remove(root: Path, paths: Iterable[str]) -> tuple[int, int]:
    """Delete local copies; gives how many and their bytes. A copy that cannot be deleted stays."""
    count = size = 0
    for path in paths:
        file = root / path
        try:
            found = file.stat().st_size
            file.unlink()
        except OSError:
            continue
        count, size = count + 1, size + found
    return count, size


def put_back(root: Path, paths: Iterable[str], removed: Mapping[str, Removed], *, is_exact: bool = False) -> set[str]:
    """Bring local copies back that a page needs again, from their sources; gives those that are lost.

    What is no image, or leads out of the site, is lost; so is, if `is_exact`, what is not the image that was removed.
    """
    lost: set[str] = set()
    for path in paths:
        if path in removed and not (root / path).exists():
            try:
                _put_back(root, path, removed[path], is_exact=is_exact)
            except (OSError, ValueError):
                lost.add(path)
    return lost


def _put_back(root: Path, path: str, gone: Removed, *, is_exact: bool) -> None:
    """Bring one copy back: only an image, and only into the site, since the map may come from a stranger."""
    from imghost.image.inspect import inspect

    source, file = Path(gone.source), root / path
    if not source.is_file() or not file.parent.resolve().is_relative_to(root.resolve()):
        raise ValueError(path)
    content = source.read_bytes()
    inspect(content)
    if is_exact and hashlib.sha256(content).hexdigest() != gone.image.sha256:
        raise ValueError(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def renewed(known: PageMap, page_map: Path | None, origins: Origins) -> PageMap:
    """Go by the sources of this build; a removed copy whose source is gone is no file of the site any more."""
    found: dict[str, Removed] = {}
    for path, gone in known.removed.items():
        place = copy_place(page_map, path, origins)
        source = str(origins.sources.get(path, place if Path(place).is_file() else ""))
        # The command knows no sources: a plugin's copy is then known by its digest alone, and is not read.
        if source or gone.source in {"", place} or origins.is_own_source:
            found[path] = gone._replace(source=source)
    return known._replace(removed={path: gone for path, gone in found.items() if _is_known(gone)})


def _is_known(gone: Removed) -> bool:
    return not gone.source or Path(gone.source).is_file()


def kept_folder(page_map: Path) -> Path:
    """Say where the copies are kept that have no source, beside a site's map."""
    return page_map.with_name(f"{page_map.stem}-copies")


def copy_place(page_map: Path | None, path: str, origins: Origins) -> str:
    """Say where the copy of a drawn image is kept; empty where it is not."""
    if page_map is None or origins.is_own_source:
        return ""
    name = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return str(kept_folder(page_map) / f"{name}{Path(path).suffix}")


# A page that its generator did not write again may need a copy that an earlier run removed. So what has a source
# can be copied again, and what the build itself drew is kept beside the map.
def settle_copies(published: Published, pages: RewrittenPages, job: Job) -> Settled:
    """Delete the local copies that are not needed any more, if that is asked for, and bring back the others.

    Where a page could not be written, everything stays.
    """
    planned = published.planned
    _sweep_unfinished(planned.survey)
    settled = Settled() if pages.notices else _settled(published, pages, job)
    removed = _removed_now(planned, job)
    if job.page_map is not None:
        _forget(kept_folder(job.page_map), {Path(gone.source) for gone in removed.values()})
    return settled._replace(removed=removed)


def _sweep_unfinished(survey: Survey) -> None:
    """Delete what a run that was killed left unfinished in the site."""
    for folder in {path.rpartition("/")[0] for path in survey.files if "/.imghost-" in f"/{path}"}:
        files.sweep_unfinished(survey.root / folder)
    shutil.rmtree(survey.root / files.ASIDE, ignore_errors=True)  # by now a build of this run has emptied its own


def _settled(published: Published, pages: RewrittenPages, job: Job) -> Settled:
    """Delete and bring back, now that every page is as it should be."""
    found, known = published.planned.survey, published.planned.last_map
    candidates: set[str] = set()
    if job.settings.remove_local:
        there = found.files | known.removed.keys()
        # A name that the map would not be believed for stays.
        named = (path for path in published.records if is_image_in_site(path))
        candidates = {path for path in named if path in there and path not in pages.local}
    remove(job.site, _unused(published))
    gone, remarks = _removable(found, candidates, pages) if candidates else (set[str](), ())
    put_back(job.site, known.removed.keys() - gone, known.removed)
    if not gone:
        return Settled(remarks=remarks)
    files.sync()
    _keep_drawn(job, gone - job.origins.sources.keys())
    return Settled(*remove(job.site, gone), remarks)


def _removable(found: Survey, candidates: set[str], pages: RewrittenPages) -> tuple[set[str], tuple[str, ...]]:
    """Find the local copies that nothing names, and what is to be said of the others."""
    from imghost.site.names import mentions  # what reads texts is loaded only where copies may go

    who = mentions(found, candidates, _referred(pages))
    return set() if who.doubts else candidates - who.named.keys(), _staying(who, candidates)


def _referred(pages: RewrittenPages) -> dict[str, set[str]]:
    """List what each page refers to as its generator wrote it."""
    return {page.path: {target.path for _, target in page.resolved()} for page, _ in pages.pages}


def _staying(who: Mentions, candidates: Collection[str]) -> tuple[str, ...]:
    """Say which local copies stay though their images are hosted, and what names them."""
    count = len(candidates if who.doubts else who.named)
    stay = f"{count} local {'copy stays' if count == 1 else 'copies stay'}"
    if who.doubts:
        return (f"{stay}: {who.doubts[0]}, so what it names is not known",)
    if not count:
        return ()
    shown = ", ".join(f"{path} ({by})" for path, by in sorted(who.named.items())[:3])
    more = f" and {count - 3} more" if count > 3 else ""
    return (f"{stay}, since a text names {'it' if count == 1 else 'them'}: {shown}{more}",)


def _unused(published: Published) -> Set[str]:
    """Find the files of a host in the site, this one or an earlier one, that no page and no script names now."""
    found, host = published.planned.survey, published.planned.host
    is_in_site = host is not None and host.place == "site"
    theirs = {path for path in found.files if is_in_site and host and host.accepts(path)}
    unused = (theirs | found.files.intersection(published.planned.last_map.hosted)) - hosted_in_site(published)
    if not unused:
        return unused
    # The name, from the image's bytes, is the same in every such folder, and at the `base_url` where one is served
    # from elsewhere: where it is in use, the folder decides.
    in_use = {url.rpartition("/")[2] for url in _hosted_at(published)}
    namesakes = {path for path in unused if path.rpartition("/")[2] in in_use}
    if namesakes:
        namesakes -= _written_in(found, namesakes)
    return namesakes.union(unnamed(found, unused - namesakes))


def _written_in(found: Survey, paths: Set[str]) -> set[str]:
    """Find the paths that stand in a text as a whole; where a text cannot be read, all do."""
    from imghost.site.names import texts

    written = set[str]()
    for _, text, problem in texts(found):
        if problem:
            return set(paths)
        written |= {path for path in paths if path in text}
    return written


def hosted_in_site(published: Published) -> set[str]:
    """List the files of the site that records stand for."""
    host = published.planned.host
    return _hosted_at(published) if host is not None and host.place == "site" else set()


def _hosted_at(published: Published) -> set[str]:
    """List the URLs of the records, those of sizes included."""
    sizes = (record.url for records in published.sizes.values() for record in records)
    return {*(record.url for record in published.records.values()), *sizes}


def _removed_now(planned: Planned, job: Job) -> dict[str, Removed]:
    """List the images whose local copy is gone, with what brings them back."""
    removed: dict[str, Removed] = {}
    there = planned.survey.files if not job.settings.remove_local else frozenset()
    for path, image in planned.images.items():
        # Paths as objects would take longer than the question itself.
        if path not in there and "://" not in path and not os.path.exists(f"{job.site}{os.sep}{path}"):  # noqa: PTH110
            place = copy_place(job.page_map, path, job.origins)
            source = job.origins.sources.get(path, place if Path(place).is_file() else "")
            removed[path] = Removed(image, str(source))
    return removed


def _keep_drawn(job: Job, paths: Iterable[str]) -> None:
    """Copy images that have no source beside the map before they go; one that cannot be kept is just gone."""
    for path in paths:
        place = copy_place(job.page_map, path, job.origins)
        with suppress(OSError):
            if place and (job.site / path).is_file():
                Path(place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(job.site / path, place)


def _forget(folder: Path, needed: Collection[Path]) -> None:
    with suppress(OSError):
        for file in list(folder.iterdir()):
            if file not in needed:
                file.unlink()
