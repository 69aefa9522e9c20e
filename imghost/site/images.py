"""Image files to images: what each one that a page means is, by its bytes, or why it stays local."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from imghost.files import digest, open_beneath, stamp
from imghost.models import Image
from imghost.provenance import Judge, Origins, Stay
from imghost.records.cache import Cache, Known
from imghost.settings import Settings
from imghost.site.page_map import Removed

_GONE: Final = Stay("is gone since the pages were scanned", "build again", code="page")


def identify(
    paths: Iterable[str],
    site: Path,
    settings: Settings,
    origins: Origins,
    removed: Mapping[str, Removed],
    cache: Cache,
) -> tuple[dict[str, Image], dict[str, Stay]]:
    """Identify every image, by its path in the site: what it is, or why it stays."""
    images: dict[str, Image] = {}
    stays: dict[str, Stay] = {}
    selects, judge = _selection(settings), Judge(site, origins)
    for path in sorted(paths):
        found = selects(path) or judge(path)
        image = found or _identified(path, site, origins, removed, cache)
        if isinstance(image, Image):
            images[path] = image
        else:
            stays[path] = image
    return images, stays


def _selection(settings: Settings) -> Callable[[str], Stay | None]:
    """Make what decides by `include` and `exclude` whether an image is selected."""
    if not settings.include and not settings.exclude:
        return lambda _: None
    from pathspec import GitIgnoreSpec

    include, exclude = GitIgnoreSpec.from_lines(settings.include), GitIgnoreSpec.from_lines(settings.exclude)

    def select(path: str) -> Stay | None:
        if settings.include and not include.match_file(path):
            return Stay("matches no glob of the option 'include'")
        if exclude.match_file(path):
            return Stay("matches a glob of the option 'exclude'")
        return None

    return select


def _identified(path: str, site: Path, origins: Origins, removed: Mapping[str, Removed], cache: Cache) -> Image | Stay:
    """Digest one image, or take what is known of the very same file."""
    root, name = site, path
    where = f"{site}{os.sep}{path}"  # paths as objects would take longer than all else here
    now = stamp(where)
    source = origins.sources.get(path)
    original = stamp(str(source)) if source and (now is None or origins.stands_for_copy) else None
    if source and original and (now is None or original[0] == now[0]):
        if now is None:
            root, name = source.parent, source.name
        where, now = str(source), original
    if now is None:
        # The local copy was removed and had no source: what was known of it then still holds.
        return removed[path].image if path in removed else _GONE
    known = cache.facts(where, now)
    if known is None:
        try:
            known = _read(root, name)
        except OSError as problem:
            return Stay(f"cannot be read: {problem.strerror or problem}", "change its mode", code="type")
        cache.remember_facts(where, now, known)
    if isinstance(known, str):
        # Drawings with links or scripts are common and harmless where they are, so they are worth no warning.
        is_drawing = known.startswith("is an SVG")
        return Stay(known) if is_drawing else Stay(known, "put a real image there, or exclude it", code="type")
    sha256, facts = known
    return Image(path, sha256, now[0], facts, (where, now))


def _read(root: Path, name: str) -> Known:
    from imghost.image.inspect import NotAnImage
    from imghost.image.inspect import read as read_image

    try:
        image = read_image(root, name)
    except NotAnImage as reason:
        return str(reason)
    return image.sha256, image.facts


def has_changed(image: Image, site: Path, origins: Origins) -> bool:
    """Say whether an image's file has other bytes than when it was identified; one that is gone has none."""
    if image.seen is None:
        return False
    where, then = image.seen
    now = stamp(where)
    if now is None or now == then:
        return False
    try:
        with opened(image.path, site, origins) as file:
            return digest(file) != image.sha256
    except OSError:
        return True  # it is no plain file of the site any more


def opened(path: str, site: Path, origins: Origins) -> BinaryIO:
    """Open an image of the site, or its source where the local copy was removed; raises OSError."""
    source = origins.sources.get(path)
    if source and stamp(site / path) is None:
        return open_beneath(source.resolve().parent, source.resolve().name)
    return open_beneath(site, path)
