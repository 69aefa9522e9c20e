"""The report as one self-contained page: is anything wrong, what did it bring, where are the bytes, what stays and why.

The page is `report.html.jinja`, with `report.css` and `report.js` in it; this module decides what stands there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from imghost.environment import version
from imghost.files import git_top, stamp
from imghost.hosts import Host, registry
from imghost.models import Failure, Image, NamedTuple, Record
from imghost.records import needs_renewal
from imghost.run import local_copies
from imghost.run.audit import Audit, Finding, HostedCopy, ImageFile, ShownAt, audit
from imghost.run.job import Job, Notice, Published, RewrittenPages, cost_of
from imghost.run.report import Facts, ListedImage, Report, SiteBytes, Version, Waiting, Weight
from imghost.run.rewrite import additions_of, hosted_image
from imghost.site.images import Stay
from imghost.site.survey import survey
from imghost.wording import clause, lasted, many, money, printable, size, values_without_secrets

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

_STATES: Final = ("failed", "local", "new", "hosted", "unused")
_MOST_DETAILS: Final = 3
_MOST_PAGES: Final = 50
"""Pages listed of one image; the others can be found all the same."""
_MOST_HEAVY: Final = 8
_MOST_FOLDERS: Final = 12
_DISTANT: Final = 60
"""Days from which on a date stands without its distance."""
_PAGES_LIMIT: Final = 1_000_000_000
"""Bytes that GitHub Pages takes for one site, by its documentation."""


def as_html(report: Report, facts: Facts, site: Path, folder: Path) -> str:
    """Write the report on a site as a page that lies in a folder, which local thumbnails are relative to."""
    here = Path(__file__)
    style, script = (here.with_name(f"report.{ending}").read_text("utf-8") for ending in ("css", "js"))
    page = _page(values_without_secrets(report), values_without_secrets(facts), _Links(site, folder))
    return _template().render(page=page, style=_own(style), script=_own(script))


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    # Paths, reasons and alternative texts are strangers': whatever is not marked as ours is escaped.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    environment.filters |= {"size": size, "count": _count, "many": many, "share": _share, "code": _code}
    return environment.from_string(Path(__file__).with_name("report.html.jinja").read_text("utf-8"))


def _own(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - a file of this package


def _code(text: str) -> Markup:
    """Show what stands in backticks as code, and everything else as text."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just before


def _count(number: int) -> str:
    return f"{number:,}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}" if whole else "0"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class _Links:
    """Writes addresses as the report's place sees them."""

    def __init__(self, site: Path, folder: Path) -> None:
        self._site, self._folder = site, folder
        self._to_site = self._relative(site)

    def to(self, path: str) -> str:
        """Lead to a file of the site."""
        return f"{self._to_site}/{quote(path.encode('utf-8', 'surrogateescape'))}"

    def hosted(self, url: str) -> str:
        """Lead to a hosted image, which may be a part of the site."""
        return url if "://" in url else self.to(url)

    def _relative(self, path: Path) -> str:
        try:
            relative = os.path.relpath(path, self._folder)
        except ValueError:  # another drive
            return path.as_uri()
        return quote(relative.replace(os.sep, "/"))


class Part(NamedTuple):
    """A thing that a remark names, where it leads, and what is said of it."""

    name: str
    href: str = ""
    text: str = ""
    mark: str = ":"


class Remark(NamedTuple):
    """One entry of *Needs you* or *Worth a look*."""

    head: str
    things: int
    """How many it is about."""
    level: str = ""
    """`bad`, `warn` or nothing."""
    cause: str = ""
    details: tuple[Part, ...] = ()
    more: int = 0
    fix: str = ""
    show: str = ""
    shown: int = 0
    """Rows of the list that `show` selects."""


class Figure(NamedTuple):
    """One of the figures at the top."""

    name: str
    value: str
    note: str = ""
    link: str = ""
    before: str = ""


class BarPart(NamedTuple):
    """A part of the bar."""

    kind: str
    bytes: int
    text: str


class Stays(NamedTuple):
    """A reason for which images stay local."""

    reason: str
    images: int
    bytes: int
    help: str


def _page(report: Report, facts: Facts, links: _Links) -> dict[str, Any]:
    """Decide what stands on the page."""
    ids = _ids(facts.images)
    needs, looks = _needs(facts, links, ids), _looks(facts, ids)
    folders, stays = _folders(facts.images), _stays(facts.images)
    count = sum(need.things for need in needs)
    flags = _flags(facts)
    return {
        "title": facts.title or report.site,
        "about": _about(facts),
        "verdict": verdict(report, facts),
        "alarm": f"{many(count, 'thing')} {'needs' if count == 1 else 'need'} you." if count else "",
        "lead": _lead(report, facts),
        "parts": _parts(facts, stays),
        "figures": _figures(report, facts),
        "bar": _bar(facts) if facts.site_bytes.before else (),
        "bar_total": facts.site_bytes.before,
        "needs": needs,
        "looks": looks,
        "heaviest": [weight._replace(name=_named(weight.name)) for weight in facts.by_page[:_MOST_HEAVY]],
        "heaviest_note": _heaviest_note(facts),
        "folders": folders[:_MOST_FOLDERS],
        "folders_note": _folders_note(folders),
        "stays": stays,
        "versions": _versions(facts.versions),
        "versions_note": _versions_note(facts.versions),
        "choices": _choices(facts.images, flags),
        "columns": _COLUMNS,
        "rows": [_row(image, ids[image.path], flags.get(image.path, ()), facts, links) for image in _by_size(facts)],
    }


_COLUMNS: Final = (
    ("Image", "path", False),
    ("Size", "bytes", True),
    ("Pixels", "px", True),
    ("State", "state", False),
    ("Lives until", "until", False),
    ("Pages", "pages", True),
)


def _by_size(facts: Facts) -> list[ListedImage]:
    return sorted(facts.images, key=lambda image: (-image.bytes, image.path))


def _about(facts: Facts) -> str:
    commit = f" · commit {facts.commit[:7]}" if facts.commit else ""
    return f"imghost {facts.version} · built {facts.built:%Y-%m-%d %H:%M} UTC{commit}"


def verdict(report: Report, facts: Facts) -> str:
    """Say in a sentence what the run came to."""
    counts, waiting = report.counts, facts.waiting
    hosted = counts.cached + counts.uploaded
    if not counts.images:
        return f"There is no image of the site in {many(counts.pages, 'page')}."
    if not hosted and waiting.why == "budget":
        cost = f" for at most {money(waiting.cost)}" if waiting.cost else ""
        what = f"{many(waiting.images, 'image')} ({size(waiting.bytes)})"
        return f"{what} would go to {facts.place}{cost}; nothing is sent yet."
    if not hosted:
        return f"No image was moved: {_why_none(facts)}."
    everything = f"All {many(counts.images, 'image')}" if hosted == counts.images and hosted > 1 else ""
    what = everything or f"{hosted:,} of {many(counts.images, 'image')}"
    verb = (
        ("is" if hosted == 1 else "are") + " collected in"
        if facts.is_collected
        else "lives on"
        if hosted == 1
        else "live on"
    )
    sentence = f"{what} {verb} {facts.place}"
    if waiting.images:
        return f"{sentence}; {_waits(waiting.images, waiting.why)}."
    return f"{sentence}{_lighter(facts.site_bytes)}."


def _waits(count: int, why: str) -> str:
    verb = "waits" if count == 1 else "wait"
    if why == "credential":
        return f"{count:,} {verb} for a build with a credential"
    if why == "budget":
        return f"{count:,} {verb} for a larger budget"
    return f"{count:,} {'stays' if count == 1 else 'stay'} local: {why}"


def _why_none(facts: Facts) -> str:
    """Say why nothing has a URL: what keeps the uploads, else what keeps the images."""
    if facts.waiting.why == "credential":
        return _waits(facts.waiting.images, facts.waiting.why)
    if facts.waiting.images:
        return facts.waiting.why
    reasons_of = Counter(image.reason for image in facts.images if image.reason)
    if not reasons_of:
        return "none of them is a file of the site"
    (reason, count), *others = reasons_of.most_common()
    return reason if not others else f"{count:,} of them since {reason}"


def _lighter(sizes: SiteBytes) -> str:
    gone = sizes.before - sizes.after
    if gone > 0:
        return f", and the site is {size(gone)} lighter"
    return f", and `remove_local` would make the site {size(sizes.copies)} lighter" if sizes.copies else ""


def _lead(report: Report, facts: Facts) -> str:
    counts = report.counts
    if not counts.references_rewritten:
        return f"{many(counts.references, 'reference')} to images in {many(counts.pages, 'page')}."
    there = f"{many(counts.references_rewritten, 'reference')} in {many(counts.pages_rewritten, 'page')} point there"
    failed = any(image.state == "failed" for image in facts.images)
    notice = f" {facts.notice[:1].upper()}{facts.notice[1:]}." if facts.notice else ""
    return there + ("; what could not be uploaded stays local." if failed else ".") + notice


def _parts(facts: Facts, stays: Sequence[Stays]) -> list[tuple[str, str]]:
    """List what the page has below its first screen."""
    parts = [("h-pages", "pages and folders")] if facts.by_page else []
    parts += [("h-stay", "what stays local")] if stays else []
    parts += [("h-vers", "versions")] if facts.versions else []
    count = len(facts.images)
    return [*parts, ("images", f"all {many(count, 'image')}" if count > 1 else "the image")] if count else parts


def _figures(report: Report, facts: Facts) -> Iterator[Figure]:
    sizes, counts = facts.site_bytes, report.counts
    gone = sizes.before - sizes.after
    if gone > 0:
        removed = sum(1 for image in facts.images if not image.is_there)
        note = f"{many(removed, 'local copy').replace('copys', 'copies')} removed"
        yield Figure("Site", size(sizes.after), note, before=size(sizes.before))
    elif sizes.before:
        note = f"{size(sizes.before - sizes.copies)} with `remove_local`" if sizes.copies else "nothing was removed"
        yield Figure("Site", size(sizes.after), note)
    if facts.by_page:
        heaviest = facts.by_page[0]
        yield Figure(
            "Heaviest page", size(heaviest.bytes), f"{many(heaviest.images, 'image')} on", link=_named(heaviest.name)
        )
    seconds = report.seconds.get("upload" if counts.uploaded else "total", 0.0)
    requests = many(report.requests, "request")
    sent = f"{size(report.bytes_uploaded)} in {lasted(seconds)}" if counts.uploaded else lasted(seconds)
    yield Figure("This build", f"{counts.uploaded:,} new" if counts.uploaded else "nothing new", f"{sent}, {requests}")
    if facts.has_price or report.cost or facts.spent:
        note = f"{money(facts.spent)} so far for these images" if facts.spent else ""
        yield Figure("Cost", money(report.cost), note)


def _bar(facts: Facts) -> list[BarPart]:
    """Cut the site's bytes into what is gone, what could go, what is no image, what stays, what nobody names."""
    sizes = facts.site_bytes
    stays = [image for image in facts.images if image.is_there and not image.url and image.state != "unused"]
    unused = [image for image in facts.images if image.state == "unused"]
    gone = sizes.before - sizes.after
    rest = sizes.after - sizes.pages - sizes.unused - sizes.copies
    where = f"collected in {facts.place}" if facts.is_collected else f"on {facts.place}"
    images = f"in {many(len(stays), 'image')} that {'stays' if len(stays) == 1 else 'stay'}"
    has_copies = any(image.is_there and image.url for image in facts.images) and not sizes.copies
    if facts.is_collected or has_copies:
        images = "in images and copies that stay"
    parts = (
        BarPart("gone", gone, f"{where}, no longer in the site"),
        BarPart("copies", sizes.copies, "in copies of these, which `remove_local` would take out"),
        BarPart("html", sizes.pages, "pages, search, theme"),
        BarPart("local", rest, images),
        BarPart("unused", sizes.unused, f"in {many(len(unused), 'file')} that no page names"),
    )
    return [part for part in parts if part.bytes > 0]


def _needs(facts: Facts, links: _Links, ids: Mapping[str, str]) -> list[Remark]:
    """Collect what somebody has to do something about."""
    by_kind = _by_kind(facts.findings)
    needs = [
        _failed([image for image in facts.images if image.state == "failed"], ids),
        _broken(by_kind.get("broken", []), links),
        _expiring([image for image in facts.images if image.is_expiring], facts),
        *(_warning(warning.path, warning.reason) for warning in facts.warnings),
    ]
    return [need for need in needs if need]


def _failed(images: Sequence[ListedImage], ids: Mapping[str, str]) -> Remark | None:
    if not images:
        return None
    count = len(images)
    details = tuple(Part(image.path, f"#i-{ids[image.path]}", image.reason) for image in images[:_MOST_DETAILS])
    stay = "It stays" if count == 1 else "Both stay" if count == 2 else f"All {count:,} stay"
    remedies = "; ".join(dict.fromkeys(image.remedy for image in images if image.remedy))
    fix = f"{stay} local, so no page is broken." + (f" {_capital(remedies)}." if remedies else "")
    head = f"{many(count, 'image')} could not be uploaded"
    return Remark(head, count, "bad", "", details, count - len(details), fix, "failed", count)


def _broken(findings: Sequence[Finding], links: _Links) -> Remark | None:
    if not findings:
        return None
    places = [(finding, place) for finding in findings for place in finding.places]
    count = len(places)
    details = tuple(
        Part(
            _named(place.page), links.to(place.page), f"line {place.line}: `{_url_of(finding)}` is not in the site", ","
        )
        for finding, place in places[:_MOST_DETAILS]
    )
    near = [finding.remedy.removeprefix("there is ") for finding in findings if finding.remedy.startswith("there is ")]
    if near and len(findings) == 1:
        fix = f"There is `{near[0]}`: one of the two is misspelt."
    elif near:
        fix = f"There is {', '.join(f'`{name}`' for name in near[:_MOST_DETAILS])}: a letter may be misspelt."
    else:
        fix = "Add the file, or take the reference out." if count == 1 else "Add the files, or take the references out."
    head = f"{many(count, 'reference')} {'leads' if count == 1 else 'lead'} nowhere"
    return Remark(head, count, "bad", "", details, count - len(details), fix)


def _url_of(finding: Finding) -> str:
    return finding.text.removesuffix(" is not in the site")


def _expiring(images: Sequence[ListedImage], facts: Facts) -> Remark | None:
    moments = sorted(image.expires for image in images if image.expires)
    if not moments:
        return None
    count, first, last = len(moments), moments[0], moments[-1]
    when = distance(first, facts.built)
    until = f"{first:%Y-%m-%d}" if first.date() == last.date() else f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    head = f"{many(count, 'image')} {'expires' if count == 1 else 'expire'} {when or f'on {first:%Y-%m-%d}'}"
    cause = f"{'It lives' if count == 1 else 'They live'} until {until}."
    needed = "Raise `max_cost`, and build again" if facts.has_price else "Build again with the host's credential"
    fix = f"{needed} before then."
    return Remark(head, count, "warn", cause, fix=fix, show="expiring", shown=count)


def _warning(code: str, text: str) -> Remark:
    """Make a remark of a warning, which says the thing and the cause, and after a semicolon the remedy."""
    head, _, fix = text.partition("; ")
    return Remark(
        _capital(head), 1, "bad" if code in {"payment", "budget"} else "warn", fix=_capital(fix) + "." * bool(fix)
    )


class _Odd(NamedTuple):
    """The findings of one kind, and what its remark needs beside them."""

    findings: tuple[Finding, ...]
    rows: tuple[ListedImage, ...]
    ids: Mapping[str, str]
    facts: Facts

    @property
    def bytes(self) -> int:
        """Of all the images that it is about."""
        return sum(image.bytes for image in self.rows)

    def jump(self, path: str, text: str = "") -> Part:
        """Lead to an image's row."""
        return Part(path, f"#i-{self.ids[path]}" if path in self.ids else "", text, "")


def _looks(facts: Facts, ids: Mapping[str, str]) -> list[Remark]:
    """Collect what is odd, and harms nobody."""
    by_kind = _by_kind(facts.findings)
    by_path = {image.path: image for image in facts.images}
    writers = {"alt": _without_text, "large": _large, "unused": _unused, "twin": _twins, "metadata": _telling}
    looks = []
    for kind, write in writers.items():
        if findings := by_kind.get(kind):
            paths = dict.fromkeys(path for finding in findings for path in finding.paths)
            rows = tuple(by_path[path] for path in paths if path in by_path)
            looks.append(write(_Odd(tuple(findings), rows, ids, facts)))
    return looks


def _without_text(odd: _Odd) -> Remark:
    count = len(odd.findings)
    head = f"{many(count, 'image')} {'has' if count == 1 else 'have'} no alternative text"
    cause = f"Readers who do not see {'it' if count == 1 else 'them'} get nothing."
    return Remark(head, count, cause=cause, show="alt" if odd.rows else "", shown=len(odd.rows))


def _large(odd: _Odd) -> Remark:
    count, most = len(odd.findings), odd.facts.max_edge
    head = f"{many(count, 'image')} {'is' if count == 1 else 'are'} 3 times as wide as shown, or more"
    cause = f"{size(odd.bytes)}{' together' if count > 1 else ''}."
    # Twice the largest width that is shown suffices for sharp screens, in round hundreds.
    edge = -(-2 * int(max((row.shown or 0 for row in odd.rows), default=0)) // 100) * 100
    pronoun = "it" if count == 1 else "them"
    fix = f"`max_edge: {edge}` sends {pronoun} smaller; your files stay as they are."
    is_told = edge > 0 and (most is None or most > edge)
    return Remark(head, count, cause=cause, fix=fix if is_told else "", show="large", shown=len(odd.rows))


def _unused(odd: _Odd) -> Remark:
    count = len(odd.findings)
    head = f"{many(count, 'file')} {'is' if count == 1 else 'are'} named by no page"
    cause = f"{size(odd.bytes)}, deployed for nobody."
    return Remark(head, count, cause=cause, show="unused", shown=len(odd.rows))


def _twins(odd: _Odd) -> Remark:
    count = len(odd.findings)
    first, second = odd.findings[0].paths[:2]
    names = "two names" if all(len(finding.paths) == 2 for finding in odd.findings) else "several names"
    head = f"{many(count, 'image')} {'has' if count == 1 else 'have'} {names}"
    verb = "Collected" if odd.facts.is_collected else "Sent and paid" if odd.facts.spent else "Sent"
    sent = f"{verb} once:"
    cause = sent if any(row.url for row in odd.rows) else ""
    details = (odd.jump(second, f"has the bytes of `{first}`"),)
    return Remark(head, count, cause=cause, details=details, more=count - 1, show="twin", shown=len(odd.rows))


def _telling(odd: _Odd) -> Remark:
    """Say which images' metadata tells of the world, and whether it went with them."""
    count = len(odd.findings)
    is_place = all("a place" in finding.text for finding in odd.findings)
    what = ("where it was taken" if count == 1 else "where they were taken") if is_place else "a place or a person"
    if odd.rows and all(row.is_stripped for row in odd.rows):
        copy = "in the collected copy" if odd.facts.is_collected else "before the upload"
        cause, fix = f"The metadata was taken off {copy}:", "Your repository still has it."
    else:
        cause, fix = "The metadata stands in the file:", "Strip what you publish of it."
    head = f"{many(count, 'image')} {'tells' if count == 1 else 'tell'} {what}"
    details = (odd.jump(odd.findings[0].paths[0]),)
    shown = len(odd.rows)
    return Remark(head, count, "", cause, details, count - 1, fix, "metadata" if count > 1 else "", shown)


def _by_kind(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    return kinds


def _named(page: str) -> str:
    """Name a page as its address does: a folder's own page by the folder."""
    return page.removesuffix("index.html") if page.endswith("/index.html") else page


def _heaviest_note(facts: Facts) -> str:
    lighter = len(facts.by_page) - _MOST_HEAVY
    pages = "page with images is" if lighter == 1 else "pages with images are"
    more = f" {lighter:,} more {pages} lighter."
    return "Each image once a page, as readers without a cache get it." + (more if lighter > 0 else "")


def _folders(images: Iterable[ListedImage]) -> list[Weight]:
    """Sum the images up by their folders, two levels deep, the heaviest first."""
    weights: dict[str, Weight] = {}
    for image in images:
        if "://" in image.path or "/" not in image.path:
            continue
        name = "/".join(image.path.split("/")[:-1][:2]) + "/"
        known = weights.get(name, Weight(name, 0, 0, 0))
        hosted = known.hosted + (image.bytes if image.url else 0)
        weights[name] = Weight(name, known.images + 1, known.bytes + image.bytes, hosted)
    return sorted(weights.values(), key=lambda weight: (-weight.bytes, weight.name))


def _folders_note(folders: Sequence[Weight]) -> str:
    more = len(folders) - _MOST_FOLDERS
    rest = f" {many(more, 'more folder')} {'is' if more == 1 else 'are'} lighter." if more > 0 else ""
    return f"In a bar, what is hosted comes first (green), then what is in the site (amber).{rest}"


def _stays(images: Iterable[ListedImage]) -> list[Stays]:
    """Sum up what stays by its reason, the most bytes first."""
    left = sorted((image for image in images if image.reason and not image.url), key=lambda image: image.reason)
    sums = [
        Stays(reason, len(group), sum(image.bytes for image in group), _help_of(group[0]))
        for reason, grouped in groupby(left, key=lambda image: image.reason)
        for group in [list(grouped)]
    ]
    return sorted(sums, key=lambda one: (-one.bytes, one.reason))


_WISHES: Final = re.compile(r"kept by|'exclude'|'include'")


def _help_of(image: ListedImage) -> str:
    return "as you asked" if _WISHES.search(image.reason) else image.remedy


def _versions(versions: Sequence[Version]) -> list[dict[str, Any]]:
    """Write the versions, and below them their sum."""
    rows = [version._asdict() | {"aliases": ", ".join(version.aliases)} for version in versions]
    if not rows:
        return []
    sums = {key: sum(row[key] for row in rows) for key in ("pages", "images", "before", "after")}
    return [*rows, {"name": "all", "aliases": "", **sums}]


def _versions_note(versions: Sequence[Version]) -> str:
    total = sum(version.after for version in versions)
    rest = _PAGES_LIMIT - total
    over = f"{size(rest)} are left" if rest >= 0 else f"that is {size(-rest)} too much"
    shrink = "`imghost shrink` takes the images out of versions that are published already."
    return f"GitHub Pages takes 1 GB: {over}. {shrink}"


def _flags(facts: Facts) -> dict[str, tuple[str, ...]]:
    """Say of each image what is odd about it."""
    flags: dict[str, dict[str, None]] = {}
    for finding in facts.findings:
        for path in finding.paths if finding.kind not in {"broken", "expiring", "failed"} else ():
            flags.setdefault(path, {})[finding.kind] = None
    for image in facts.images:
        if image.is_expiring:
            flags.setdefault(image.path, {})["expiring"] = None
        if image.path in flags or image.state in {"failed", "unused"}:
            flags.setdefault(image.path, {})["look"] = None
    return {path: tuple(names) for path, names in flags.items()}


def _choices(images: Sequence[ListedImage], flags: Mapping[str, Sequence[str]]) -> list[tuple[str, str, int]]:
    states = Counter(image.state for image in images)
    looks = sum(1 for image in images if "look" in flags.get(image.path, ()))
    choices = [("", "All", len(images)), *([("look", "To look at", looks)] if looks else [])]
    return choices + [(state, _capital(state), states[state]) for state in _STATES if states[state]]


def _ids(images: Iterable[ListedImage]) -> dict[str, str]:
    """Name each row by its path, so that a link to it holds from build to build."""
    ids: dict[str, str] = {}
    taken: set[str] = set()
    for image in images:
        digest = hashlib.sha256(image.path.encode("utf-8", "surrogatepass")).hexdigest()
        length = next(length for length in range(8, 65) if digest[:length] not in taken)
        taken.add(digest[:length])
        ids[image.path] = digest[:length]
    return ids


def distance(moment: datetime, now: datetime) -> str:
    """Say how far off a moment is, where that is below 60 days; else nothing."""
    days = (moment - now).days
    if days >= _DISTANT:
        return ""
    return "gone by now" if moment < now else "today" if not days else f"in {many(days, 'day')}"


def _row(image: ListedImage, name: str, flags: Sequence[str], facts: Facts, links: _Links) -> dict[str, Any]:
    """Write one row of the list."""
    folder, slash, file = image.path.rpartition("/")
    is_elsewhere = "://" in image.path
    local = links.to(image.path) if image.is_there and not is_elsewhere else ""
    hosted = links.hosted(image.url) if image.url else image.path if is_elsewhere else ""
    pages = [(_named(page), links.to(page)) for page in image.pages[:_MOST_PAGES]]
    return {
        "id": name,
        "state": image.state,
        "flags": " ".join(flags),
        "bytes": image.bytes,
        "pixels": image.size[0] * image.size[1] if image.size else 0,
        "size": f"{image.size[0]:,} × {image.size[1]:,}" if image.size else "",
        "page_count": len(image.pages),
        "until_key": f"{image.expires:%Y-%m-%d}" if image.expires else "9998" if image.url else "9999",
        "until": f"{image.expires:%Y-%m-%d}" if image.expires else "permanent" if image.url else "",
        "distance": distance(image.expires, facts.built) if image.expires else "",
        "folder": folder + slash,
        "name": file,
        "note": "; ".join(_notes(image, flags)),
        "thumb": hosted or local,
        "local_thumb": local if hosted and local else "",
        "address": image.url,
        "address_href": hosted,
        "facts": list(_facts_of(image, local)),
        "pages": pages,
        "more_pages": len(image.pages) - len(pages),
        "also": " ".join(_named(page) for page in image.pages[_MOST_PAGES:]),
    }


def _notes(image: ListedImage, flags: Sequence[str]) -> Iterator[str]:
    """Say why an image stays, and what is odd about it."""
    if image.reason and not image.url:
        yield image.reason
    if "large" in flags and image.size and image.shown:
        yield f"{image.size[0] / image.shown:.0f} × as wide as shown"
    if "alt" in flags:
        yield "no alternative text"


def _facts_of(image: ListedImage, local: str) -> Iterator[tuple[str, str, str]]:
    """List what is known of an image: a name, a text, and where it leads."""
    if image.recorded:
        cost = f", {money(image.cost)}" if image.cost else ""
        fewer = image.bytes - image.sent
        share = f", {fewer * 100 // image.bytes} % fewer" if fewer * 100 >= image.bytes > 0 else ""
        yield "Recorded", f"{image.recorded:%Y-%m-%d}{cost}, sent {image.sent:,} bytes{share}", ""
    if "://" not in image.path:
        yield "In the site", image.path + ("" if image.is_there else ", local copy removed"), local
    if image.sha256:
        yield "SHA-256", f"{image.sha256[:16]}…", ""
    shown = [f"up to {image.shown:,.0f} px wide"] if image.shown else []
    shown += [f"alt: {', '.join(f'“{alt}”' if alt else 'empty' for alt in image.alts[:3])}"] if image.alts else []
    if shown:
        yield "Shown", "; ".join(shown), ""


# What a report tells beside the run's counts: where the site's bytes are, what is odd, each image.
#
# It is gathered only where a report is asked for: every file of the site is looked at, and every page is read.


_GIT_SECONDS: Final = 10


def gather(
    published: Published, rewritten_pages: RewrittenPages, job: Job, pages_of: Mapping[str, tuple[str, ...]]
) -> Facts:
    """Collect all that a report tells beside the counts, once the site is as its readers get it."""
    host, settings, now = published.planned.host, job.settings, job.now()
    copies = _copies(published, job, now)
    seen = audit(job.site, now=now, site_url=settings.site_url, hosted=copies, folder=settings.folder)
    listed = (*_listed(published, job, pages_of, seen, now), *_unnamed_files(seen))
    failed = (_failed_images(image) for image in listed if image.state == "failed")
    records = {record.url: record for record in published.records.values()}
    return Facts(
        built=now,
        version=version(),
        commit=commit(settings.folder, job.environ),
        title=_plain(seen.title),
        place=_place(host, published.records),
        notice=_notice(host, published.records),
        site_bytes=_site_bytes(published, rewritten_pages, job, listed),
        images=listed,
        by_page=tuple(_weights(published, listed)),
        findings=(*failed, *seen.findings),
        versions=tuple(_listed_versions(job.site, listed)),
        waiting=_waiting(published),
        warnings=tuple(_warnings((*published.planned.notices, *published.notices, *rewritten_pages.notices))),
        spent=sum(map(_paid, records.values()), Decimal(0)),
        has_price=host is not None and host.limits.price > 0,
        max_edge=settings.max_edge,
        is_collected=host is not None and host.place != "network",
    )


def _notice(host: Host | None, records: Mapping[str, Record]) -> str:
    """Say what "permanent" means at the host, where an image of the site is that."""
    if host is None or all(record.expires for record in records.values()):
        return ""
    return registry.host_type(host.name).terms.notice


def _failed_images(image: ListedImage) -> Finding:
    return Finding("failed", (image.path,), image.reason, image.remedy)


def _copies(published: Published, job: Job, now: datetime) -> dict[str, HostedCopy]:
    """Say of every URL that a page may have which image it is, those that follow from a record included."""
    host, settings = published.planned.host, job.settings
    additions = additions_of(settings, host)
    copies: dict[str, HostedCopy] = {}
    for path, record in sorted(published.records.items()):
        image = published.planned.images.get(path)
        is_expiring = needs_renewal(record, settings.renew_before, now)
        copy = HostedCopy(path, record.bytes, record.width, record.height, record.expires, is_expiring, record.sha256)
        derived = hosted_image(record, image, host, additions)
        for url in (record.url, derived.url, *(url for url, _ in derived.choices)):
            copies.setdefault(url, copy)
    copies.pop("", None)
    return copies


def _listed(
    published: Published, job: Job, pages_of: Mapping[str, tuple[str, ...]], seen: Audit, now: datetime
) -> Iterator[ListedImage]:
    """List the images that pages refer to."""
    new = {path for outcome in published.outcomes if outcome.record and outcome.is_new for path in outcome.upload.paths}
    failures = {failure.path: failure for failure in published.failures}
    names: dict[str, str] = {}
    for path in sorted(published.records):
        names.setdefault(published.records[path].url, path)
    for path, pages in sorted(pages_of.items()):
        record = published.records.get(path)
        # Of a URL that several files share, the pages were read under the first name.
        shown = seen.shown.get(names[record.url] if record else path, ShownAt(None, ()))
        image = _seen(path, published.planned.images.get(path), seen.files.get(path))
        image = image._replace(pages=pages, shown=shown.width, alts=shown.alts)
        if record:
            is_expiring = needs_renewal(record, job.settings.renew_before, now)
            yield _with_url(image, record)._replace(state="new" if path in new else "hosted", is_expiring=is_expiring)
        else:
            yield _staying(image, failures.get(path), published.staying.get(path))


def _seen(path: str, image: Image | None, file: ImageFile | None) -> ListedImage:
    """Say what is known of an image by its bytes: what the run identified, else what the audit measured."""
    if image:
        size, sha256 = (image.facts.width, image.facts.height), image.sha256
    else:
        size, sha256 = ((file.width, file.height), file.sha256) if file else ((None, None), "")
    weight = file.bytes if file else image.bytes if image else 0
    edges = (size[0], size[1]) if size[0] and size[1] else None
    return ListedImage(path, "local", weight, edges, sha256, is_there=file is not None)


def _with_url(image: ListedImage, record: Record) -> ListedImage:
    return image._replace(
        bytes=image.bytes or record.bytes,
        url=record.url,
        expires=record.expires,
        recorded=record.uploaded,
        cost=_paid(record),
        sent=record.bytes,
        is_stripped="strip" in record.variant.split("+"),
    )


def _staying(image: ListedImage, failure: Failure | None, stay: Stay | None) -> ListedImage:
    """Say why an image stays; one that should have moved has failed."""
    if failure:
        return image._replace(state="failed", reason=failure.reason, remedy=failure.remedy)
    if stay is None:
        return image
    state = "failed" if stay.code else "local"
    return image._replace(state=state, reason=clause(stay.reason, "it"), remedy=stay.remedy)


def _unnamed_files(seen: Audit) -> Iterator[ListedImage]:
    for finding in seen.findings:
        if finding.kind == "unused":
            path = finding.paths[0]
            file = seen.files[path]
            size = (file.width, file.height) if file.width and file.height else None
            yield ListedImage(path, "unused", file.bytes, size, file.sha256)


def _paid(record: Record) -> Decimal:
    """Give what a record's receipt says was paid for it, in US dollars; the lock may come from a stranger."""
    receipt = record.extra.get("receipt")
    try:
        paid = Decimal(str(receipt.get("amount", "0"))) if isinstance(receipt, Mapping) else Decimal(0)
    except ArithmeticError:
        return Decimal(0)
    return paid if paid.is_finite() and 0 <= paid < _NO_PRICE else Decimal(0)


_NO_PRICE: Final = 1_000_000
"""US dollars that no image costs."""


def _plain(title: str) -> str:
    """Say once what a theme writes twice on a home page: the site's name as the page's, and the site's."""
    half = title[: (len(title) - len(" - ")) // 2]
    return half if half and any(title == f"{half} {mark} {half}" for mark in "-–—|·") else title


def _place(host: Host | None, records: Mapping[str, Record]) -> str:
    """Name where the images live; of a folder its address, since `directory` says nothing to a reader."""
    if host is None:
        return ""
    record = next(iter(records.values()), None)
    return host.name if host.place == "network" or record is None else record.url.rpartition("/")[0] or host.name


def _site_bytes(
    published: Published, rewritten_pages: RewrittenPages, job: Job, listed: Iterable[ListedImage]
) -> SiteBytes:
    """Measure the site as it is, and what it would be with every local copy, and without those that may go."""
    sizes = {path: known[0] for path in survey(job.site).files if (known := stamp(job.site / path))}
    after = sum(sizes.values())
    collected = {url for url in local_copies.hosted_in_site(published) if url in sizes}
    states = {image.path: image.state for image in listed if image.path in sizes}
    images = published.planned.images.items()
    gone = sum(image.bytes for path, image in images if "://" not in path and path not in sizes)
    return SiteBytes(
        before=after + max(0, gone - sum(sizes[path] for path in collected)),
        after=after,
        pages=after - sum(sizes[path] for path in states.keys() | collected),
        unused=sum(sizes[path] for path, state in states.items() if state == "unused"),
        copies=sum(sizes.get(path, 0) for path in _removable(published, rewritten_pages, job)),
    )


def _removable(published: Published, rewritten_pages: RewrittenPages, job: Job) -> Iterable[str]:
    """List the local copies that `remove_local` would delete now."""
    if job.settings.remove_local:
        return ()
    files = published.planned.survey.files
    paths = {path for path in published.records if path in files and path not in rewritten_pages.local}
    return local_copies.unnamed(published.planned.survey, paths) if paths else ()


def _weights(published: Published, listed: Iterable[ListedImage]) -> list[Weight]:
    """Sum up each page's images, each once, the heaviest page first."""
    known = {image.path: image for image in listed}
    weights = []
    for page in published.planned.views:
        images = [known[path] for path in {target.path for _, target in page.resolved()} if path in known]
        if images and not page.path.endswith(".css"):
            hosted = sum(image.bytes for image in images if image.url)
            weights.append(Weight(page.path, len(images), sum(image.bytes for image in images), hosted))
    return sorted(weights, key=lambda weight: (-weight.bytes, weight.name))


def _listed_versions(site: Path, listed: Sequence[ListedImage]) -> Iterator[Version]:
    """Read the versions that a site says it has, by the `versions.json` that mike writes into its root."""
    try:
        rows = json.loads((site / "versions.json").read_bytes())
        names = {str(row["version"]): tuple(map(str, row.get("aliases", ()))) for row in rows}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return
    for name, aliases in names.items():
        folder = site / name
        if "/" in name or name in {"", ".", ".."} or not folder.is_dir() or folder.is_symlink():
            continue
        found = survey(folder)
        now = sum(known[0] for path in found.files if (known := stamp(folder / path)))
        images = [image for image in listed if image.path.startswith(f"{name}/")]
        gone = sum(image.bytes for image in images if not image.is_there)
        yield Version(name, aliases, len(found.pages), len(images), now + gone, now)


def _waiting(published: Published) -> Waiting:
    """Say how many images would be uploaded if this build might, and why it may not."""
    plan, leave, host = published.planned.plan, published.planned.leave, published.planned.host
    left = [upload for upload in plan.uploads if not published.records.keys() & set(upload.paths)]
    if not left or (leave.may_upload and not published.is_refused):
        return Waiting()
    why = "budget" if published.is_refused else leave.reason
    if not leave.may_upload and host is not None and leave.code == "" and host.lacks_credential:
        why = "credential"
    return Waiting(len(left), sum(upload.image.bytes for upload in left), cost_of(left, plan.price), why)


def _warnings(notices: Iterable[Notice]) -> Iterator[Failure]:
    """Take what was warned of beside single images, which the list has."""
    for notice in notices:
        if notice.code != "upload":
            yield Failure(notice.code, printable(notice.text, 400))


def commit(folder: Path, environ: Mapping[str, str]) -> str:
    """Find the commit that is built: as the CI service says, else as git does; empty where neither knows."""
    for name in ("GITHUB_SHA", "CI_COMMIT_SHA", "READTHEDOCS_GIT_COMMIT_HASH", "COMMIT_REF", "CF_PAGES_COMMIT_SHA"):
        if re.fullmatch(r"[0-9a-f]{7,64}", environ.get(name, "")):
            return environ[name]
    if git_top(folder.absolute()) is None:
        return ""
    from subprocess import DEVNULL, SubprocessError, run

    try:
        told = run(  # noqa: S603
            ["git", "-C", str(folder), "rev-parse", "--verify", "HEAD"],  # noqa: S607 - as the user's own build finds it
            stdout=-1, stderr=DEVNULL, text=True, timeout=_GIT_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, SubprocessError):
        return ""
    text = told.stdout.strip()
    return text if re.fullmatch(r"[0-9a-f]{40,64}", text) else ""
