"""Puts a site's local references back: from the map of what was rewritten, else by what the lock knows of a URL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imghost import files, urls
from imghost.html.edit import splice
from imghost.image.inspect import NotAnImage
from imghost.image.inspect import read as read_image
from imghost.models import MEDIA_TYPES, Record, Reference
from imghost.pages import Survey, decode, encode, survey
from imghost.run import local_copies
from imghost.site import pages
from imghost.site.page_map import PageMap, digest_of
from imghost.urls import Place

_ENDINGS = tuple(f".{ending}" for ending in (*MEDIA_TYPES.values(), "jpeg"))


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a site."""

    pages: int
    """Pages that were changed."""
    left: tuple[tuple[str, str], ...]
    """Pages and the URL in each that could not be put back."""


def restore(site: Path, known: PageMap, records: Iterable[Record], place: Place, kinds: frozenset[str]) -> Restored:
    """Put the local references of every page back; asks no network."""
    lost = local_copies.put_back(site, known.removed, known.removed, is_exact=True)
    found = survey(site)
    by_url = {record.url: record.sha256 for record in records}
    local: Mapping[str, str] | None = None
    changed = 0
    left: list[tuple[str, str]] = []
    for path in (*found.pages, *found.stylesheets):
        content = (site / path).read_bytes()
        entry = known.pages.get(path)
        is_as_left = entry is not None and digest_of(content) == entry.digest
        text = pages.before_changes(path, decode(content), entry) if entry and is_as_left else None
        if text is None or (entry and lost):
            local = _local(found) if local is None and by_url else local
            text, missing = _by_digest(path, decode(content), by_url, local or {}, place, kinds)
            left += [(path, url) for url in missing]
        if encode(text) != content:
            files.write_whole(site / path, encode(text), is_durable=False)
            changed += 1
    return Restored(changed, tuple(left))


def _local(found: Survey) -> dict[str, str]:
    """Find the site's own image files by their digest."""
    local: dict[str, str] = {}
    for path in sorted(found.files):
        if path.lower().endswith(_ENDINGS):
            try:
                local.setdefault(read_image(found.root, path).sha256, path)
            except (NotAnImage, OSError):
                continue
    return local


def _by_digest(
    path: str, text: str, by_url: Mapping[str, str], local: Mapping[str, str], place: Place, kinds: frozenset[str]
) -> tuple[str, list[str]]:
    """Replace a page's hosted URLs by the local files that the lock says have the same bytes."""
    edits: list[tuple[Reference, str]] = []
    missing: list[str] = []
    scanned = pages.scan_text(path, text, kinds)
    base = urls.base_of(path, scanned.base, place)
    for reference in scanned.references:
        url = reference.url.partition("#")[0]
        sha256 = by_url.get(url) or by_url.get(url.partition("?")[0])
        if sha256 is None:
            continue
        if sha256 in local and base is not None:
            form = "absolute" if reference.kind == "meta" and place.authority else "relative"
            edits.append((reference, urls.written(local[sha256], form, base, place)))
        else:
            missing.append(url)
    return splice(text, edits), missing


def forget(path: Path | None) -> None:
    """Forget what was rewritten: nothing is any more."""
    if path is not None:
        path.unlink(missing_ok=True)
