"""The report as a page."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote

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


STYLE: Final = """
:root { color-scheme: light dark; --back: #fff; --card: #f5f6f8; --text: #1b1f24; --soft: #59636e; --line: #d5dae0;
  --link: #0a58b5; --bad: #b3261e; --good: #1a6b34; --warm: #7a5200; --check: #0001 }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171b; --card: #1f2429; --text: #e4e8ec; --soft: #9ca6b0; --line: #363d45;
    --link: #7db7ff; --bad: #ff9c94; --good: #7fd69a; --warm: #e5bd6b; --check: #fff1 }
}
* { box-sizing: border-box }
html { scroll-padding-top: 7rem }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 82rem; padding: 1.5rem;
  background: var(--back); color: var(--text) }
a { color: var(--link) }
small { font-size: .8rem; color: var(--soft); font-weight: 400 }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin: 0 0 .25rem }
header p { margin: .25rem 0 0; color: var(--soft) }
:focus-visible, fieldset :focus-visible + span { outline: 2px solid var(--link); outline-offset: 2px }

dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: .5rem; margin: 1.25rem 0 }
dl div { background: var(--card); border-radius: .5rem; padding: .5rem .75rem }
dt { font-size: .8rem; color: var(--soft) }
dd { margin: 0; font-size: 1.3rem; line-height: 1.3; font-variant-numeric: tabular-nums }
dd small { display: block }
.bad dd, .failures h2 { color: var(--bad) }
.failures { border-left: .25rem solid var(--bad); padding: .25rem 1rem; margin: 1rem 0; overflow-wrap: anywhere }
.failures ul, .failures p { margin: 0; padding-left: 1.25rem }

form:not([hidden]) { display: flex; flex-wrap: wrap; gap: .5rem 1.25rem; align-items: end; padding: .75rem 0;
  position: sticky; top: 0; z-index: 1; background: var(--back); border-bottom: 1px solid var(--line) }
.find { flex: 1 1 16rem }
.find span, legend { display: block; font-size: .8rem; line-height: 1.5; color: var(--soft); padding: 0 }
input[type=search] { font: inherit; width: 100%; padding: .35rem .6rem; border: 1px solid var(--line);
  border-radius: .4rem; background: var(--card); color: var(--text) }
::placeholder { color: var(--soft); opacity: 1 }
fieldset { border: 0; margin: 0; padding: 0; min-width: 0; display: flex; flex-wrap: wrap; gap: .25rem }
legend { float: left; width: 100%; margin-bottom: -.25rem }
fieldset label { position: relative }
fieldset input { position: absolute; inset: 0; opacity: 0; margin: 0; cursor: pointer }
fieldset span { display: block; padding: .35rem .7rem; border: 1px solid var(--line); border-radius: .4rem;
  background: var(--card) }
fieldset :checked + span { border-color: var(--link); box-shadow: inset 0 0 0 1px var(--link); font-weight: 600 }
output { color: var(--soft); padding: .35rem 0; font-variant-numeric: tabular-nums }

/* Rows are grids, not table rows: only so can the browser leave out those that are not in view. */
table, thead, tbody { display: block }
tr:not([hidden]) { display: grid; gap: 0 .75rem; border-bottom: 1px solid var(--line); padding: .6rem 0;
  grid-template-columns: 8rem minmax(0, 2fr) minmax(0, 1fr) 5.5rem 6.5rem minmax(0, 1.2fr) }
tbody { overflow-anchor: none }
tbody tr { content-visibility: auto; contain-intrinsic-size: auto 6.25rem }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
th, td { text-align: left; padding: 0; overflow-wrap: anywhere; font-weight: 400 }
thead th { font-size: .85rem; color: var(--soft); font-weight: 600 }
thead button { all: unset; cursor: pointer }
thead button:hover { text-decoration: underline }
thead button:focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
[aria-sort=ascending] button::after { content: " \\2191" }
[aria-sort=descending] button::after { content: " \\2193" }
tbody th a:first-child { font-weight: 600 }
tbody td { font-size: .9rem }
td > small, .url, .why { display: block }
.url { font-size: .85rem }
.why { color: var(--soft) }
summary { cursor: pointer; color: var(--soft) }
.n, .u { font-variant-numeric: tabular-nums }
td ul { list-style: none; margin: 0; padding: 0 }
img { display: block; width: 8rem; height: 5rem; object-fit: contain; border-radius: .25rem;
  background: repeating-conic-gradient(var(--check) 0 25%, transparent 0 50%) 0 0 / 12px 12px, var(--card) }
.state { font-weight: 600 }
.failed { color: var(--bad) }
.uploaded { color: var(--good) }
.kept { color: var(--warm) }

@media (max-width: 52rem) {
  body { padding: 1rem }
  dl { grid-template-columns: repeat(auto-fill, minmax(6.5rem, 1fr)) }
  form:not([hidden]) { position: static }
  thead tr:not([hidden]) { display: flex; flex-wrap: wrap }
  thead th:first-child { display: none }
  tbody tr:not([hidden]) { grid-template-columns: 6rem minmax(0, 1fr); contain-intrinsic-size: auto 11rem }
  tbody td:first-child { grid-row: 1 / 6 }
  tbody td:not(:first-child), tbody th { grid-column: 2 }
  tbody td:empty:not(:first-child) { display: none }
  img { width: 6rem; height: 4.5rem }
  .n small { display: inline; margin-left: .5rem }
}
@media print { form:not([hidden]) { display: none } tbody { overflow-anchor: none }
tbody tr { content-visibility: visible } }
"""

SCRIPT: Final = """
const body = document.querySelector("tbody"), rows = [...body.rows], form = document.querySelector("form");
const words = document.getElementById("words"), shown = document.getElementById("shown");
const none = document.getElementById("none"), texts = new Map();
const many = number => number.toLocaleString("en");

function textOf(row) {
  if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
  return texts.get(row);
}
function select() {
  const wanted = words.value.toLowerCase().split(/\\s+/), state = form.elements.state.value;
  let found = 0;
  for (const row of rows) {
    const fits = (!state || row.dataset.state === state) && wanted.every(word => textOf(row).includes(word));
    if (row.hidden === fits) row.hidden = !fits;
    found += fits;
  }
  shown.textContent = (found === rows.length ? "" : many(found) + " of ") + many(rows.length) + " images";
  none.hidden = found > 0;
}

const keys = {
  path: row => row.cells[1].textContent, state: row => row.dataset.state, until: row => row.cells[4].textContent,
  bytes: row => +row.dataset.bytes, pages: row => +row.dataset.pages,
};
function sort(head) {
  const key = keys[head.dataset.key], isNumber = typeof key(rows[0]) === "number";
  const [first, second] = isNumber ? ["descending", "ascending"] : ["ascending", "descending"];
  const order = head.getAttribute("aria-sort") === first ? second : first, sign = order === "ascending" ? 1 : -1;
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const sorted = rows.map(row => [key(row), row]).sort(([a], [b]) => sign * (a < b ? -1 : a > b ? 1 : 0));
  body.append(...sorted.map(([, row]) => row));
}

let waiting;
words.addEventListener("input", () => {
  clearTimeout(waiting);
  if (rows.length < 500) select();
  else waiting = setTimeout(select, 100);
});
form.addEventListener("change", select);
form.addEventListener("submit", event => { event.preventDefault(); select(); });
document.querySelector("thead").addEventListener("click", event => {
  const head = event.target.closest("button")?.parentNode;
  if (head && rows.length) sort(head);
});
document.getElementById("all").addEventListener("click", () => { form.reset(); select(); words.focus(); });
document.addEventListener("keydown", event => {
  if (event.key === "/" && event.target !== words && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    words.focus();
  }
  if (event.key === "Escape" && event.target === words) { words.value = ""; select(); }
});

// Errors of images that the browser met before this script ran are found by their state.
function fallBack(image) {
  if (!image.dataset?.local) return;
  image.src = image.dataset.local;
  delete image.dataset.local;
}
document.addEventListener("error", ({target}) => fallBack(target), true);
for (const image of document.images) if (image.complete && !image.naturalWidth) fallBack(image);
form.hidden = false;
select();
"""
