"""Local copies deleted, or brought back."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from pathlib import Path
from typing import Final

from imghost import files
from imghost.run.job import Job, Prospect, Published, Rewriting
from imghost.site.images import Origins
from imghost.site.page_map import PageMap, Removed, is_image_in_site
from imghost.site.pages import Survey, decode

_NO_TEXTS: Final = (
    *(".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".ico", ".woff", ".woff2", ".ttf", ".otf", ".eot"),
    *(".mp3", ".mp4", ".ogg", ".webm", ".pdf", ".zip", ".whl", ".gz", ".bz2", ".xz"),
)
"""Endings of files that name no other; whatever else the site has is read as a text."""
_SHOWN_SOURCE: Final = re.compile(r"(?:.*/)?_sources/.+\.txt", re.S)
"""Sphinx's copies of a page's source, which a browser shows as plain text: no picture is loaded by them."""
_ALT: Final = re.compile(r"""(<img(?:\s++(?!alt=)[a-z-]++(?:="[^"<>]*+")?+)*+)\s++alt="[^"<>]*+\"""")
"""A picture up to the text that stands for it: Sphinx puts the picture's own path there where it is given none."""
_WORD: Final = re.compile(r"[A-Za-z0-9_.-]+")
"""What every format writes as it is; of other letters, which have many spellings, nothing is asked."""
_ESCAPE: Final = re.compile(r"(?:|[a-z]|(?:25){0,5}[0-9A-Fa-f]{2}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})")
"""What is left of the letter before a word where that is encoded: `%2F`, `%252F`, `\\n`, `\\x2f`, `\\u002f`."""


def unnamed(survey: Survey, paths: Collection[str]) -> tuple[str, ...]:
    """Find the images whose file name stands in no text file of the site, however it is encoded there.

    The name's last plain part alone decides, wherever the text points: rather a copy too many is kept
    than one missed. So if a text cannot be read, all are kept.
    """
    tails: dict[str, list[str]] = {}
    for path in paths:
        tails.setdefault(_tail(path), []).append(path)
    left = set(paths).difference(tails.get("", ()))
    seen: set[str] = set()
    try:
        for text in texts(survey):
            words = set(_WORD.findall(text)) - seen
            seen |= words
            for tail in _said(words, tails.keys()):
                left.difference_update(tails[tail])
    except OSError:
        return ()
    return tuple(sorted(left))


def _tail(path: str) -> str:
    """Cut a file's name down to its last part without letters that may be encoded."""
    return next(reversed(_WORD.findall(path.rpartition("/")[2])), "")


def _said(words: Iterable[str], tails: Set[str]) -> set[str]:
    """Find the tails that stand in the words: at the beginning or behind an escape, whatever follows."""
    endings = {tail[-4:] for tail in tails if tail}
    found: set[str] = set()
    for word in words:
        ends = {place + len(ending) for ending in endings for place in _places(ending, word)}
        if ends:
            starts = [start for start in range(min(len(word), 16)) if _ESCAPE.fullmatch(word, 0, start)]
            found |= tails & {word[start:end] for start in starts for end in ends}
    return found


def _places(part: str, word: str) -> Iterator[int]:
    place = word.find(part)
    while place >= 0:
        yield place
        place = word.find(part, place + 1)


def texts(survey: Survey) -> Iterator[str]:
    """Read every file of a site that may name another one, without what no browser loads a picture by."""
    for path in sorted(survey.files):
        if not path.lower().endswith(_NO_TEXTS) and not _SHOWN_SOURCE.fullmatch(path):
            text = decode((survey.root / path).read_bytes())
            yield _ALT.sub(r"\1", text) if path.endswith(".html") else text


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
        place = kept(page_map, path, origins)
        source = str(origins.sources.get(path, place if Path(place).is_file() else ""))
        if source or gone.source in {"", place}:
            found[path] = gone._replace(source=source)
    return known._replace(removed={path: gone for path, gone in found.items() if _is_known(gone)})


def _is_known(gone: Removed) -> bool:
    return not gone.source or Path(gone.source).is_file()


def kept_folder(page_map: Path) -> Path:
    """Say where the copies are kept that have no source, beside a site's map."""
    return page_map.with_name(f"{page_map.stem}-copies")


def kept(page_map: Path | None, path: str, origins: Origins) -> str:
    """Say where the copy of a drawn image is kept; empty where it is not."""
    if page_map is None or origins.is_own_source:
        return ""
    name = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return str(kept_folder(page_map) / f"{name}{Path(path).suffix}")


# A page that its generator did not write again may need a copy that an earlier run removed. So what has a source
# can be copied again, and what the build itself drew is kept beside the map.
def return_drawn(prospect: Prospect, job: Job) -> None:
    """Bring back removed copies of drawn images that are to be uploaded again; others are read at their source."""
    paths = {path for upload in prospect.plan.uploads for path in upload.paths}
    put_back(job.site, paths - job.origins.sources.keys(), prospect.known.removed)


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
    remove(job.site, _unused(published))
    left = frozenset(unnamed(found, candidates) if candidates else ())
    put_back(job.site, known.removed.keys() - left, known.removed)
    if not candidates & left:
        return 0, 0
    files.sync()
    _keep(job, (candidates & left) - job.origins.sources.keys())
    return remove(job.site, candidates & left)


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
        for text in texts(found) if namesakes else ():
            namesakes = {path for path in namesakes if path not in text}
    except OSError:
        return frozenset()
    return namesakes.union(unnamed(found, unused - namesakes))


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
            place = kept(job.page_map, path, job.origins)
            source = job.origins.sources.get(path, place if Path(place).is_file() else "")
            removed[path] = Removed(image, str(source))
    if job.page_map is not None:
        _forget(kept_folder(job.page_map), {Path(gone.source) for gone in removed.values()})
    return removed


def _keep(job: Job, paths: Iterable[str]) -> None:
    """Copy images that have no source beside the map before they go; one that cannot be kept is just gone."""
    for path in paths:
        place = kept(job.page_map, path, job.origins)
        with suppress(OSError):
            if place and (job.site / path).is_file():
                Path(place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(job.site / path, place)


def _forget(folder: Path, needed: Collection[Path]) -> None:
    with suppress(OSError):
        for file in list(folder.iterdir()):
            if file not in needed:
                file.unlink()
