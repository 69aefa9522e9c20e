"""References and URLs to pages on disk: each page spliced and replaced whole, or left as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imghost import durable, resolve
from imghost.models import Record, Reference
from imghost.page_map import Entry, undo
from imghost.pages import decode, encode, stamp
from imghost.plan import Group
from imghost.references import PageView
from imghost.resolve import Place, Target
from imghost.rewrite import replacement, splice


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one page."""

    entry: Entry | None
    """What the map keeps of it; None where it is not as it should be."""
    rewritten: int
    """References that point to hosted images now."""
    problem: str = ""


def edits_of(
    page: PageView, groups: Mapping[int, Group], records: Mapping[str, Record], urls: Callable[[Record, Target], str]
) -> dict[Reference, str]:
    """Choose the new URL of each reference that moves: whole groups, and only onto records."""
    edits: dict[Reference, str] = {}
    for reference, target in page.resolved():
        group = groups[reference.group]
        if not group.held and group.paths <= records.keys():
            edits[reference] = urls(records[target.path], target)
    return edits


def url_maker(page: PageView, site: Place, *, is_in_site: bool) -> Callable[[Record, Target], str]:
    """Make what writes a record's URL into a page: as it is, or in the form of the old reference."""

    def make(record: Record, target: Target) -> str:
        return resolve.written(record.url, target.form, page.base, site) if is_in_site else record.url

    return make


def write_page(root: Path, page: PageView, edits: Mapping[Reference, str]) -> Written:
    """Bring one page to what its edits say; a page that changed since it was scanned is left alone."""
    if not page.is_read and page.entry and _is_as_wanted(page.entry, edits):
        return Written(page.entry, len(edits))
    if page.is_read and not edits and (page.entry is None or not page.entry.digest):
        return Written(_entry(page, "", {}, ""), 0)
    file = root / page.path
    if stamp(file) != page.stamp:
        return Written(None, 0, "it changed while the build ran")
    content = file.read_bytes()
    text: str | None = decode(content)
    if page.entry and page.entry.digest:
        text = undo(decode(content), content, page.entry)
        if text is None:
            return Written(None, 0, "it is not as the last run left it")
    assert text is not None
    changed = encode(splice(text, edits.items()))
    if changed != content:
        try:
            durable.replace(file, changed, is_durable=False)
        except OSError as problem:
            return Written(None, 0, f"it cannot be written: {problem.strerror or problem}")
    return Written(_entry(page, text, edits, hashlib.sha256(changed).hexdigest() if edits else "", file), len(edits))


def _is_as_wanted(entry: Entry, edits: Mapping[Reference, str]) -> bool:
    """Say whether a page that was not read already has just these edits."""
    for reference, pair in zip(entry.scan.references, entry.texts, strict=True):
        url = edits.get(reference)
        if (pair is None) != (url is None):
            return False
        if pair is not None and url is not None and replacement(pair[0], reference, url) != pair[1]:
            return False
    return True


def _entry(page: PageView, text: str, edits: Mapping[Reference, str], digest: str, file: Path | None = None) -> Entry:
    texts = tuple(
        (before := text[reference.start : reference.end], replacement(before, reference, edits[reference]))
        if reference in edits
        else None
        for reference in page.scan.references
    )
    now = stamp(file) if file else page.stamp
    return Entry(now or page.stamp, digest, page.scan, texts)
