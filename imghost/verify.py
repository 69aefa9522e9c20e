"""Records and pages to what a reader gets: which hosted images live, and which do not. Read-only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from imghost.confirm import difference
from imghost.errors import HostError
from imghost.models import KINDS, Record
from imghost.net.client import Client
from imghost.pages import survey
from imghost.site import pages
from imghost.site.page_map import PageMap
from imghost.upload import concurrently


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one hosted image."""

    url: str
    state: str
    """`alive`, `expiring`, `dead`, `altered`, or `unknown` where the host could not be asked."""
    reason: str = ""
    record: Record | None = None
    pages: tuple[str, ...] = ()


def verdicts(
    records: Iterable[Record], client: Client, now: datetime, renew_before: timedelta, concurrency: int
) -> list[Verdict]:
    """Fetch every record's URL, and say what a reader would get."""
    return concurrently(lambda record: _verdict(record, client, now, renew_before), list(records), concurrency)


def _verdict(record: Record, client: Client, now: datetime, renew_before: timedelta) -> Verdict:
    state, reason = _answer(record.url, (record.width, record.height), client)
    if state == "alive" and record.expires and record.expires - now <= renew_before:
        state, reason = "expiring", f"on {record.expires.date()}"
    return Verdict(record.url, state, reason, record)


def _answer(url: str, size: tuple[int | None, int | None], client: Client) -> tuple[str, str]:
    try:
        answer = client.fetch(url)
    except HostError as problem:
        return "unknown", problem.reason
    if answer.status in {404, 410}:
        return "dead", f"answers {answer.status}"
    if answer.status != 200:
        return "unknown", f"answers {answer.status}"
    return difference(*size, answer.headers.get("content-type", ""), answer.body) or ("alive", "")


def hosted_in(site: Path, accepts: Callable[[str], bool]) -> dict[str, tuple[str, ...]]:
    """Find the hosted images that a site's pages refer to: URL -> pages."""
    found: dict[str, dict[str, None]] = {}
    kinds = frozenset(KINDS)
    listed = survey(site)
    for path in (*listed.pages, *listed.stylesheets):
        seen = pages.look(site, path, kinds, PageMap())
        for reference in seen.scan.references if seen else ():
            url = reference.url.partition("#")[0]
            for candidate in (url, url.partition("?")[0]):
                if accepts(candidate):
                    found.setdefault(candidate, {})[path] = None
                    break
    return {url: tuple(pages) for url, pages in found.items()}


def page_verdicts(
    urls: Mapping[str, tuple[str, ...]], known: Iterable[Verdict], client: Client, concurrency: int
) -> list[Verdict]:
    """Say what a reader gets for each hosted image that pages refer to; what is known is not asked again."""
    by_url = {verdict.url: verdict for verdict in known}

    def verdict(url: str) -> Verdict:
        told = by_url.get(url)
        state, reason = (told.state, told.reason) if told else _answer(url, (None, None), client)
        return Verdict(url, state, reason, told.record if told else None, urls[url])

    return concurrently(verdict, sorted(urls), concurrency)
