"""The images' local copies, and the embedded directory's files: only those that the finished site names stay.

A page that its generator did not write again may need a copy that an earlier run removed. So what has a source
can be copied again, and what the build itself drew is kept beside the map.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Set
from contextlib import suppress
from pathlib import Path

from imghost import files
from imghost.rewriting import Rewriting
from imghost.run import local_copies
from imghost.run.job import Published
from imghost.run.plan import Job, Prospect
from imghost.site.page_map import Removed, is_image_in_site


def return_drawn(prospect: Prospect, job: Job) -> None:
    """Bring back removed copies of drawn images that are to be uploaded again; others are read at their source."""
    paths = {path for upload in prospect.plan.uploads for path in upload.paths}
    local_copies.put_back(job.site, paths - job.origins.sources.keys(), prospect.known.removed)


def settle(published: Published, rewriting: Rewriting, job: Job) -> tuple[int, int]:
    """Delete the local copies that are not needed any more, if that is asked for, and bring back the others.

    Gives how many were deleted, and their bytes. Where a page could not be written, everything stays.
    """
    if rewriting.notices:
        return 0, 0
    found, known = published.prospect.survey, published.prospect.known
    candidates: set[str] = set()
    if job.settings.remove_local:
        there = found.files | known.removed.keys()
        # A name that the map would not be believed for stays.
        named = (path for path in published.records if is_image_in_site(path))
        candidates = {path for path in named if path in there and path not in rewriting.local}
    local_copies.remove(job.site, _unused(published))
    left = frozenset(local_copies.unnamed(found, candidates) if candidates else ())
    local_copies.put_back(job.site, known.removed.keys() - left, known.removed)
    if not candidates & left:
        return 0, 0
    files.sync()
    _keep(job, (candidates & left) - job.origins.sources.keys())
    return local_copies.remove(job.site, candidates & left)


def _unused(published: Published) -> Set[str]:
    """Find the files of a host in the site, this one or an earlier one, that no page and no script names now."""
    found, host = published.prospect.survey, published.prospect.host
    is_in_site = host is not None and not host.needs_network and not host.origins
    theirs = {path for path in found.files if is_in_site and host and host.accepts(path)}
    unused = (theirs | found.files.intersection(published.prospect.known.hosted)) - hosted_in_site(published)
    if not unused:
        return unused
    # The name, from the image's bytes, is the same in every such folder: where it is in use, the folder decides.
    in_use = {record.url.rpartition("/")[2] for record in published.records.values()}
    namesakes = {path for path in unused if path.rpartition("/")[2] in in_use}
    try:
        for text in local_copies.texts(found) if namesakes else ():
            namesakes = {path for path in namesakes if path not in text}
    except OSError:
        return frozenset()
    return namesakes.union(local_copies.unnamed(found, unused - namesakes))


def hosted_in_site(published: Published) -> set[str]:
    """List the files of the site that records stand for."""
    host = published.prospect.host
    if host is None or host.needs_network or host.origins:
        return set()
    return {record.url for record in published.records.values()}


def removed_now(prospect: Prospect, job: Job) -> dict[str, Removed]:
    """List the images whose local copy is gone, with what brings them back, and forget copies of others."""
    removed: dict[str, Removed] = {}
    there = prospect.survey.files if not job.settings.remove_local else frozenset()
    for path, image in prospect.images.items():
        # Paths as objects would take longer than the question itself.
        if path not in there and "://" not in path and not os.path.exists(f"{job.site}{os.sep}{path}"):  # noqa: PTH110
            place = local_copies.kept(job.page_map, path, job.origins)
            source = job.origins.sources.get(path, place if Path(place).is_file() else "")
            removed[path] = Removed(image, str(source))
    if job.page_map is not None:
        _forget(local_copies.kept_folder(job.page_map), {Path(gone.source) for gone in removed.values()})
    return removed


def _keep(job: Job, paths: Iterable[str]) -> None:
    """Copy images that have no source beside the map before they go; one that cannot be kept is just gone."""
    for path in paths:
        place = local_copies.kept(job.page_map, path, job.origins)
        with suppress(OSError):
            if place and (job.site / path).is_file():
                Path(place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(job.site / path, place)


def _forget(folder: Path, needed: Collection[Path]) -> None:
    with suppress(OSError):
        for file in list(folder.iterdir()):
            if file not in needed:
                file.unlink()
