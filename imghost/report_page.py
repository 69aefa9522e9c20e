"""The report as one self-contained page: totals, and each image with where it lives, how long and who shows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote

from imghost.report import Report, Shown

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --bad: #c62828; --good: #2e7d32 }
@media (prefers-color-scheme: dark) { :root { --bad: #ef9a9a; --good: #a5d6a7 } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1.5rem }
h1 { font-size: 1.5rem; margin: 0 0 .25rem }
dl { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0 }
dl div { background: var(--soft); border-radius: .5rem; padding: .5rem 1rem; min-width: 6rem }
dt { font-size: .8rem; opacity: .8 } dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums }
form { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0 }
input, select { font: inherit; padding: .25rem .5rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .5rem; border-bottom: 1px solid var(--line) }
td { overflow-wrap: anywhere } td.n, td.u { white-space: nowrap; overflow-wrap: normal } td.n { text-align: right }
tr { content-visibility: auto; contain-intrinsic-size: auto 5rem }
img { width: 6rem; height: 4rem; object-fit: contain; background: var(--soft); border-radius: .25rem }
.failed { color: var(--bad) } .uploaded { color: var(--good) } small { opacity: .8 }
"""

_SCRIPT: Final = """
const words = document.getElementById("words"), state = document.getElementById("state");
const rows = [...document.querySelectorAll("tbody tr")], shown = document.getElementById("shown");
function select() {
  let count = 0;
  for (const row of rows) {
    const fits = row.textContent.toLowerCase().includes(words.value.toLowerCase())
      && (!state.value || row.dataset.state === state.value);
    row.hidden = !fits; count += fits;
  }
  shown.textContent = count + " of " + rows.length + " images";
}
words.addEventListener("input", select); state.addEventListener("input", select); select();
"""

_STATES: Final = ("hosted", "uploaded", "kept", "failed")


def as_html(report: Report, site: Path, folder: Path) -> str:
    """Write the report on a site as a page that lies in a folder, which local thumbnails are relative to."""
    counts = report.counts
    totals = {
        "Host": report.host or "none",
        "Pages rewritten": f"{counts.pages_rewritten:,} of {counts.pages:,}",
        "References rewritten": f"{counts.references_rewritten:,} of {counts.references:,}",
        "Images": f"{counts.images:,}",
        "Uploaded": f"{counts.uploaded:,} ({report.bytes_uploaded:,} bytes)",
        "Known already": f"{counts.cached:,}",
        "Kept local": f"{counts.kept:,}",
        "Failed": f"{counts.failed:,}",
        "Requests": f"{report.requests:,}",
        "Cost": f"${report.cost:.2f}",
    }
    boxes = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in totals.items())
    states = "".join(f"<option>{name}</option>" for name in _STATES)
    rows = "\n".join(_row(image, site, folder) for image in report.images)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>imghost report</title><style>{_STYLE}</style></head><body>
<main><h1>Images of this site</h1><small>{escape(report.site)}</small>
<dl>{boxes}</dl>
<form onsubmit="return false"><label>Find <input id="words" type="search"></label>
<label>State <select id="state"><option value="">all</option>{states}</select></label>
<output id="shown" aria-live="polite"></output></form>
<table><thead><tr><th scope="col">Image</th><th scope="col">Path and address</th><th scope="col">State</th>
<th scope="col">Size</th><th scope="col">Until</th><th scope="col">Pages</th></tr></thead>
<tbody>
{rows}
</tbody></table></main><script>{_SCRIPT}</script></body></html>
"""


def _row(image: Shown, site: Path, folder: Path) -> str:
    local = _relative(site / image.path, folder)
    hosted = image.url if "://" in image.url else _relative(site / image.url, folder) if image.url else ""
    address = f'<br><a href="{escape(hosted)}"><small>{escape(image.url)}</small></a>' if hosted else ""
    reason = f"<br><small>{escape(image.reason)}</small>" if image.reason else ""
    pixels = f"<br><small>{image.size[0]} × {image.size[1]}</small>" if image.size else ""
    until = image.expires or ("permanent" if image.url else "")
    return (
        f'<tr data-state="{image.state}"><td><img src="{escape(hosted or local)}" alt="" loading="lazy"></td>'
        f'<td><a href="{escape(local)}">{escape(image.path)}</a>{address}</td>'
        f'<td class="{image.state}">{image.state}{reason}</td>'
        f'<td class="n">{image.bytes:,} bytes{pixels}</td><td class="u">{until}</td>'
        f"<td>{'<br>'.join(_pages(image))}</td></tr>"
    )


def _pages(image: Shown, most: int = 5) -> Iterator[str]:
    yield from (escape(page) for page in image.pages[:most])
    if len(image.pages) > most:
        yield f"<small>and {len(image.pages) - most} more</small>"


def _relative(path: Path, folder: Path) -> str:
    try:
        found = os.path.relpath(path, folder)
    except ValueError:  # another drive
        return path.as_uri()
    return quote(found.replace(os.sep, "/"))
