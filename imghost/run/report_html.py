"""The report as one self-contained page: totals, and each image with where it lives, how long and who shows it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote

from imghost.report_style import SCRIPT, STYLE
from imghost.run.report import Report, Shown

_STATES: Final = ("failed", "kept", "uploaded", "hosted")
"""In the order of what somebody should look at."""
_FIRST_PAGES: Final = 4
_MOST_PAGES: Final = 50
_MOST_FAILURES: Final = 10

_HEAD: Final = {
    "Image": "",
    "Path and address": "path",
    "State": "state",
    "Size": "bytes",
    "Lives until": "until",
    "Shown on": "pages",
}
"""Each column's name, and what it is sorted by."""


def as_html(report: Report, site: Path, folder: Path) -> str:
    """Write the report on a site as a page that lies in a folder, which local thumbnails are relative to."""
    rows = "\n".join(_row(image, site, folder) for image in report.images)
    total = len(report.images)
    head = "".join(_column(name, key) for name, key in _HEAD.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">
<title>Images of {escape(report.site)} – imghost report</title><style>{STYLE}</style></head><body>
<header><h1>Images of {escape(report.site)}</h1><p>{_sentence(report)}</p></header>
<main><dl aria-label="Totals">{_totals(report)}</dl>
{_failures(report)}<form role="search" aria-label="Images" hidden>
<label class="find"><span>Find</span><input id="words" type="search" placeholder="path, address, reason or page"
 autocomplete="off" aria-keyshortcuts="/"></label>
<fieldset><legend>State</legend>{_choices(report)}</fieldset>
<output id="shown" aria-live="polite">{total:,} images</output></form>
<table role="table"><caption>Every image that the site's pages refer to</caption>
<thead role="rowgroup"><tr role="row">{head}</tr></thead>
<tbody role="rowgroup">
{rows}
</tbody></table><p id="none" hidden>No image fits. <button type="button" id="all">Show all</button></p>
</main><script>{SCRIPT}</script></body></html>
"""


def _sentence(report: Report) -> str:
    """Say in a line what readers get."""
    counts = report.counts
    host = escape(report.host or "no host")
    return (
        f"{_many(counts.references_rewritten, 'reference')} in {_many(counts.pages_rewritten, 'page')} "
        f"point to <strong>{host}</strong>."
    )


def _totals(report: Report) -> str:
    counts = report.counts
    totals = (
        ("Images", f"{counts.images:,}", ""),
        ("Uploaded", f"{counts.uploaded:,}", _size(report.bytes_uploaded)),
        ("Known already", f"{counts.cached:,}", ""),
        ("Kept local", f"{counts.kept:,}", ""),
        ("Failed", f"{counts.failed:,}", ""),
        ("Pages", f"{counts.pages_rewritten:,}", f"of {counts.pages:,} rewritten"),
        ("References", f"{counts.references_rewritten:,}", f"of {counts.references:,} rewritten"),
        ("Requests", f"{report.requests:,}", ""),
        ("Cost", f"${report.cost:.2f}", ""),
    )
    boxes = (
        f"<div{' class=bad' if name == 'Failed' and counts.failed else ''}><dt>{name}</dt><dd>{value}"
        f"{f' <small>{more}</small>' if more else ''}</dd></div>"
        for name, value, more in totals
    )
    return "".join(boxes)


def _failures(report: Report) -> str:
    """List first what somebody should look at."""
    if not report.failures:
        return ""
    lines = (
        f"<li><b>{escape(failure.path)}</b>: {escape(failure.reason)}"
        f"{f'; <em>{escape(failure.remedy)}</em>' if failure.remedy else ''}</li>"
        for failure in report.failures[:_MOST_FAILURES]
    )
    more = len(report.failures) - _MOST_FAILURES
    rest = f"<p>and {more:,} more, below</p>" if more > 0 else ""
    title = f"{_many(len(report.failures), 'image')} could not be uploaded"
    heading = f'<section class="failures" aria-labelledby="f"><h2 id="f">{title}</h2>'
    return f"{heading}<ul>{''.join(lines)}</ul>{rest}</section>\n"


def _choices(report: Report) -> str:
    found = Counter(image.state for image in report.images)
    choices = [("", "all", len(report.images)), *((state, state, found[state]) for state in _STATES if found[state])]
    return "".join(
        f'<label><input type="radio" name="state" value="{value}"{"" if value else " checked"}>'
        f"<span>{name} <small>{count:,}</small></span></label>"
        for value, name, count in choices
    )


def _column(name: str, key: str) -> str:
    if not key:
        return f'<th role="columnheader" scope="col">{name}</th>'
    return f'<th role="columnheader" scope="col" data-key="{key}"><button type="button">{name}</button></th>'


def _row(image: Shown, site: Path, folder: Path) -> str:
    local = "" if "://" in image.path or not (site / image.path).is_file() else _relative(site / image.path, folder)
    hosted = image.url if "://" in image.url else _relative(site / image.url, folder) if image.url else ""
    name = f'<a href="{escape(local)}">{escape(image.path)}</a>' if local else escape(image.path)
    address = f'<a class="url" href="{escape(hosted)}">{escape(image.url)}</a>' if hosted else ""
    reason = f'<span class="why">{escape(image.reason)}</span>' if image.reason else ""
    pixels = f"<small>{image.size[0]} × {image.size[1]}</small>" if image.size else ""
    until = image.expires or ("permanent" if image.url else "")
    return (
        f'<tr role=row data-state="{image.state}" data-bytes="{image.bytes}" data-pages="{len(image.pages)}">'
        f"<td role=cell>{_thumbnail(hosted or local, local, image)}</td>"
        f'<th role=rowheader scope="row">{name}{address}</th>'
        f'<td role=cell><span class="state {image.state}">{image.state}</span>{reason}</td>'
        f'<td role=cell class="n">{_size(image.bytes)}{pixels}</td><td role=cell class="u">{until}</td>'
        f"<td role=cell>{''.join(_pages(image, site, folder))}</td></tr>"
    )


def _thumbnail(address: str, local: str, image: Shown) -> str:
    """Show what readers get, or where that does not load, the local copy; the path beside it names the image."""
    if not address:
        return ""
    other = f' data-local="{escape(local)}"' if local and local != address else ""
    size = f' width="{image.size[0]}" height="{image.size[1]}"' if image.size else ""
    return f'<img src="{escape(address)}" alt="" loading="lazy" decoding="async"{size}{other}>'


def _pages(image: Shown, site: Path, folder: Path) -> Iterator[str]:
    """List the pages, all but the first few folded up, where they can be found all the same."""
    lines = [
        f'<li><a href="{escape(_relative(site / page, folder))}">{escape(page)}</a></li>'
        for page in image.pages[:_MOST_PAGES]
    ]
    if lines:
        yield f"<ul>{''.join(lines[:_FIRST_PAGES])}</ul>"
    if rest := lines[_FIRST_PAGES:]:
        yield f"<details><summary>and {len(image.pages) - _FIRST_PAGES:,} more</summary><ul>{''.join(rest)}"
        if len(image.pages) > _MOST_PAGES:
            yield f"<li>and {len(image.pages) - _MOST_PAGES:,} more</li>"
        yield "</ul></details>"


def _size(count: int) -> str:
    """Write a number of bytes as people read it, in the columns of its neighbours."""
    for unit, step in (("MB", 1_000_000), ("kB", 1_000)):
        if count >= step:
            return f"{count / step:,.1f} {unit}"
    return f"{count} B" if count else ""


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}" + "s" * (count != 1)


def _relative(path: Path, folder: Path) -> str:
    try:
        found = os.path.relpath(path, folder)
    except ValueError:  # another drive
        return path.as_uri()
    return quote(found.replace(os.sep, "/"))
