"""What stands beside the changed pages: packed twins renewed, and the user told of what only they can mend."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from imghost.run.job import Job, Notice, Planned, RewrittenPages

_ENDS: Final = (
    *(".gz", ".br", ".zst", "ngsw.json", "_headers", ".htaccess", "netlify.toml", "vercel.json", "web.config"),
    *("staticwebapp.config.json", "firebase.json", "sw.js", "worker.js", "worker.min.js", "hashmap.json"),
    *("app-data.json", "search_index.js"),
)
_BEGINS: Final = ("assets/js/runtime~main.", "_next/", "_nuxt/", "workbox-", "precache-manifest")
"""How files begin or end that may say how pages reach a reader; most sites have none."""


class Tended(NamedTuple):
    """What is worth a warning, and what is worth a line."""

    notices: tuple[Notice, ...] = ()
    remarks: tuple[str, ...] = ()


def tend(planned: Planned, rewritten: RewrittenPages, job: Job) -> Tended:
    """Renew packed twins of changed pages, and tell of what else in the site counts on how pages were."""
    files, host = planned.survey.files, planned.host
    hosted = {page.path for page, written in rewritten.pages if written.rewritten}
    lines = () if job.settings.site_url else _absolute(planned)
    if not hosted or host is None or not any(path.endswith(_ENDS) or path.startswith(_BEGINS) for path in files):
        return Tended(remarks=lines)
    from imghost.site import surroundings

    renewed, problems = surroundings.renew_twins(job.site, files, hosted)
    warned = (
        *problems,
        *surroundings.stale(job.site, files, hosted),
        *surroundings.barring(job.site, files, host.origins),
    )
    if renewed:
        lines += (f"{len(renewed)} gzip {'twin' if len(renewed) == 1 else 'twins'} of changed pages packed anew",)
    if host.origins and surroundings.works_offline(files):
        lines += ("the plugin offline makes a site that is read without a network, and its hosted images need one",)
    if name := surroundings.drawn_by_scripts(files):
        lines += (f"{name} draws the next page with scripts after a click: images there are the local copies",)
    return Tended(tuple(Notice(one.code, one.text) for one in warned), lines)


def _absolute(planned: Planned) -> tuple[str, ...]:
    """Say that absolute URLs were seen which may be this site's, where it does not say its own."""
    addresses = set(_unresolved(planned))
    if not addresses:
        return ()
    from imghost.site.surroundings import seen_elsewhere

    count, example, file = seen_elsewhere(addresses, planned.survey.files)
    if not count:
        return ()
    seen = "1 absolute URL may mean a file" if count == 1 else f"{count} absolute URLs may mean files"
    return (f"{seen} of this site, like {example} ({file}); set 'site_url' if so",)


def _unresolved(planned: Planned) -> Iterable[str]:
    """Yield the absolute URLs that mean nothing of this site, as far as is known."""
    for view in planned.views:
        for reference, target in zip(view.scan.references, view.targets, strict=True):
            if target is None and reference.url[:4] == "http":
                yield reference.url
