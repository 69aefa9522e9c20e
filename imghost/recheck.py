"""Images that changed while the run went on: their references stay local, since what was uploaded is out of date."""

from __future__ import annotations

from typing import Final

from imghost.provenance import Stay
from imghost.run.job import Published
from imghost.run.plan import Job
from imghost.site.images import has_changed

_CHANGED: Final = Stay("it changed while the build ran", "build again", code="page")


def recheck(published: Published, job: Job) -> Published:
    """Take back the records of images whose files are no longer those that were identified.

    The lock keeps them, as the records of bytes that the site had. Where nothing was uploaded no time has gone
    by, and nothing is asked.
    """
    prospect = published.prospect
    if not published.outcomes:
        return published
    known = ((path, prospect.images.get(path)) for path in published.records)
    changed = {path for path, image in known if image and has_changed(image, job.site, job.origins)}
    if not changed:
        return published
    records = {path: record for path, record in published.records.items() if path not in changed}
    return published._replace(records=records, kept={**published.kept, **dict.fromkeys(changed, _CHANGED)})
