"""Each page's references, what they mean, and what moves together."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Container, Iterable, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Final

from imghost import urls
from imghost.files import Stamp, read_whole, stamp
from imghost.html import HELD_BY_READER, Theme, blocks, forbids_all
from imghost.models import KINDS, NamedTuple, Reference, Scan
from imghost.site.page_map import PageEntry, PageMap, digest_of, undone
from imghost.site.survey import decode, encode
from imghost.urls import Place, SiteTarget, absolute


class Group(NamedTuple):
    """References of one page that move together or not at all: the images they mean, and what holds them."""

    paths: frozenset[str]
    held: str = ""


MAX_PAGE: Final = 20_000_000
"""Bytes; a larger page is left as it is."""


_EVERY_KIND = frozenset(KINDS)
_PRELOADED = "is preloaded for nothing that moves"
_CSS_CORS = "is a mask, a shape or a custom property in CSS, for which browsers ask another origin's leave"
UNSEEN_BY_CSP = frozenset({"link", "meta"})
"""Kinds that a page's policy for images says nothing about."""


class PageView(NamedTuple):
    """One page (or style sheet): its references, and the image that each of them means."""

    path: str
    stamp: Stamp
    scan: Scan
    targets: tuple[SiteTarget | None, ...]
    base: str
    """The path that relative references start from."""
    entry: PageEntry | None = None
    """What the last run rewrote in it, where the page is still as that run left it."""
    is_read: bool = True
    """False where the page's stamp alone told that it is as the last run left it."""
    origin: str = ""
    """SHA-256 of the page's bytes as the generator wrote them."""
    content: bytes | None = None
    """Its bytes at that stamp, where there was room to keep them until it is written."""

    def resolved(self) -> Iterable[tuple[Reference, SiteTarget]]:
        """List the references that mean an image of this site."""
        pairs = zip(self.scan.references, self.targets, strict=True)
        return ((reference, target) for reference, target in pairs if target)


class Seen(NamedTuple):
    """A page as the generator wrote it, before anything is resolved."""

    stamp: Stamp
    scan: Scan
    entry: PageEntry | None = None
    is_read: bool = True
    origin: str = ""
    content: bytes | None = None


def look(
    root: Path,
    path: str,
    kinds: frozenset[str],
    known: PageMap,
    words: frozenset[str] = frozenset(),
    theme: Theme | None = None,
    *,
    remembers: bool = True,
) -> Seen | None:
    """Scan one page, or take what the last run knew of it; None = too large or gone.

    `words` are ids and classes of elements on whose URLs scripts of the site work; `theme` has what the page before was
    like. Without `remembers` no map is kept, and nobody asks for a page's digest.

    A page that the last run rewrote, and nobody since, is seen as it was before that. One that the generator
    has written again just as it was then is not scanned again.
    """
    file = f"{root}/{path}"  # as an object it would cost more than the question
    if (now := stamp(file)) is None or now[0] > MAX_PAGE:
        return None
    entry = known.pages.get(path)
    if entry is not None and entry.stamp == now:
        return Seen(now, entry.scan, entry, is_read=False, origin=entry.origin)
    content = read_whole(file)
    text, digest = decode(content), digest_of(content) if remembers else ""
    if entry is not None and digest == entry.digest and (original := before_changes(path, text, entry)) is not None:
        origin = entry.origin or digest_of(encode(original))
        scan = _scan_of(path, original, kinds, entry, origin, words, theme)
        return Seen(now, scan, entry, origin=origin, content=content)
    return Seen(now, _scan_of(path, text, kinds, entry, digest, words, theme), origin=digest, content=content)


def before_changes(path: str, text: str, entry: PageEntry) -> str | None:
    """Put the generator's references back into a page whose digest is the entry's; None where they were none.

    The map may come from a stranger: what it puts into a page must be a URL that a scan finds at that place.
    """
    original = undone(text, entry)
    if original is None or not entry.changes:
        return original
    spans = {(one.start, one.end) for one in scan_text(path, original, _EVERY_KIND).references}
    is_sound = all(not before or (at, at + len(before)) in spans for at, before, _ in entry.changes)
    return original if is_sound else None


def _scan_of(
    path: str,
    text: str,
    kinds: frozenset[str],
    entry: PageEntry | None,
    origin: str,
    words: frozenset[str],
    theme: Theme | None,
) -> Scan:
    """Scan a text, unless the map knows it: it is believed only where each URL stands just where it says."""
    if entry is None or entry.origin != origin:
        return scan_text(path, text, kinds, words, theme)
    if all(_stands(reference, text) for reference in entry.scan.references):
        return entry.scan
    return scan_text(path, text, kinds, words, theme)


def _stands(reference: Reference, text: str) -> bool:
    """Say whether a text has a reference's URL where it says, as it is or, in an attribute, escaped."""
    written = text[reference.start : reference.end]
    if written == reference.url:
        return True
    if "&" not in written or reference.css is not None:
        return False
    from imghost.html.tokenizer import decode  # a tenth of what the scanner takes to load

    return decode(written) == reference.url


def scan_text(
    path: str, text: str, kinds: frozenset[str], words: frozenset[str] = frozenset(), theme: Theme | None = None
) -> Scan:
    """Scan a page or a style sheet, by its name."""
    from imghost.html import scan  # a build in which no page was written anew does without

    if path.endswith(".css"):
        return scan.scan_css(text) if "css" in kinds else Scan(())
    return scan.scan(text, kinds, words, theme)


Meaning = Callable[[str, str | None, bool], SiteTarget | None]
"""The image that a URL means: by the URL, the folder that it starts from, and whether it stands in a `<meta>`."""


_LEADS_UP: Final = cache(partial(re.compile, r"(?:\.\./)+[A-Za-z0-9_-][^:]*", re.A))
"""A URL that stays the same reference without its `../`, from as many folders further up: no scheme, no root."""


def meaning(
    site: Place, files: Container[str], is_ours: Callable[[str], bool], is_remote: Callable[[str], bool]
) -> Meaning:
    """Make what resolves a site's URLs, each once a folder; what is ours already is nobody's to move.

    An external URL that is to be brought home is a target, too: its path is the URL.
    """

    def means(url: str, folder: str | None, is_meta: bool) -> SiteTarget | None:
        # Thousands of pages lead up to the same images, each from a folder of its own.
        if folder is not None and url[:3] == "../" and not is_meta and _LEADS_UP().fullmatch(url):
            while url[:3] == "../":
                url, folder = url[3:], folder[: folder.rfind("/", 0, -1) + 1] or "/"
        return meant(url, folder, is_meta)

    @lru_cache(maxsize=4096)  # pages come folder by folder, and a large site has hundreds of thousands of such pairs
    def meant(url: str, folder: str | None, is_meta: bool) -> SiteTarget | None:
        target = None if folder is None else urls.resolve(url, folder, site, files)
        if target is None and is_meta:
            target = urls.resolve_in_root(url, site, files)
        if target is None and is_remote(url):
            target = SiteTarget(absolute(url), "absolute" if is_meta and site.authority else "relative")
        # What a thousand pages show is held once.
        return None if target is None or is_ours(target.path) else target._replace(path=sys.intern(target.path))

    return means


_UNKNOWN: Final = "https://site.invalid"
"""The origin of a site that says none, which no policy names."""


def base_of(path: str, scan: Scan, site: Place) -> str | None:
    """Give the path that a page's relative references start from; None where its `<base>` leads elsewhere.

    One that the page's policies forbid counts as none (CSP level 3, base-uri). Where the site says no origin, nobody
    can tell whether a policy means it by name, and the references are somebody else's.
    """
    found = urls.base_of(path, scan.base, site)
    policies = [policy for policy in scan.policies if "base-uri" in policy.lower()]
    if scan.base is None or not policies:
        return found
    own = urls.origin_of(site)
    address = f"{own or _UNKNOWN}{found}" if found else scan.base.strip()
    address = f"{site.scheme or 'https'}:{address}" if address.startswith("//") else address
    if not blocks(policies, [address], "base-uri", own or _UNKNOWN):
        return found
    return urls.base_of(path, None, site) if own or forbids_all(policies, "base-uri") else None


def link(path: str, seen: Seen, site: Place, means: Meaning, *, keeps: bool = False) -> PageView:
    """Resolve a page's references; with `keeps` it holds the bytes of one that may change."""
    base = base_of(path, seen.scan, site)
    folder = base and base[: base.rindex("/") + 1]
    targets = tuple(means(found.url, folder, found.kind == "meta") for found in seen.scan.references)
    content = seen.content if keeps and any(targets) else None
    return PageView(path, seen.stamp, seen.scan, targets, base or "/", seen.entry, seen.is_read, seen.origin, content)


UNSHOWN: Final = frozenset({"link", "meta", "preload", "icon"})
"""Kinds by which a page shows nothing itself."""


def groups_of(
    page: PageView,
    origins: tuple[str, ...],
    own: str = "",
    depends: Callable[[Reference, str], str] | None = None,
    moving: frozenset[str] = frozenset(),
    moved: frozenset[str] = frozenset(),
) -> dict[int, Group]:
    """Collect what moves together in a page, by group number; `origins` are the hosted images', `own` the site's.

    `depends` says why a reference stays that something else depends on; `moving` are the images that style sheets show
    from the host, and `moved` those that any page does.
    """
    held: dict[int, str] = {}
    paths: dict[int, set[str]] = {}
    blocked = _blocked(page.scan.policies, origins, own) if page.scan.policies else frozenset[str]()
    early: set[int] = set()
    for reference, target in zip(page.scan.references, page.targets, strict=True):
        if target:
            paths.setdefault(reference.group, set()).add(target.path)
            if reference.kind == "preload":
                early.add(reference.group)
        if why := _held(reference, origins, blocked) or (depends and target and depends(reference, target.path)):
            held.setdefault(reference.group, why)
    if early:
        held = _preloads_held(page, paths, early, held, moving, moved) | held
    return {number: _group(found, held.get(number, "")) for number, found in paths.items()}


def _group(paths: set[str], held: str) -> Group:
    """Make a group; that of one image, as most are, is held once for all pages that show it."""
    return _alone(*paths, held) if len(paths) == 1 else Group(frozenset(paths), held)


@lru_cache(maxsize=4096)
def _alone(path: str, held: str) -> Group:
    return Group(frozenset({path}), held)


def _preloads_held(
    page: PageView,
    paths: Mapping[int, set[str]],
    early: Iterable[int],
    held: Container[int],
    moving: frozenset[str],
    moved: frozenset[str],
) -> dict[int, str]:
    """Hold what is preloaded for nothing that moves.

    What is fetched for a later page goes with that, unless this page itself shows it.
    """
    shown = [(one.group, target.path) for one, target in page.resolved() if one.kind not in UNSHOWN]
    own = moving.union(path for number, path in shown if number not in held)
    later = {page.scan.references[at].group for at in page.scan.early}
    any_page = own | moved.difference(path for _, path in shown)
    return {number: _PRELOADED for number in early if not paths[number] <= (any_page if number in later else own)}


def _blocked(policies: tuple[str, ...], origins: tuple[str, ...], own: str) -> frozenset[str]:
    """List the directives by which a page's policies forbid all images from the host."""
    directives = ("img-src", "object-src")
    return frozenset(name for name in directives if blocks(policies, origins, name, own, any_path=True))


def _held(reference: Reference, origins: tuple[str, ...], blocked: Container[str]) -> str:
    if reference.held and (origins or reference.held != HELD_BY_READER):
        return reference.held
    directive = "object-src" if reference.kind == "object" else "img-src"
    if directive in blocked and reference.kind not in UNSEEN_BY_CSP:
        return "is on a page whose Content-Security-Policy forbids images from the host"
    if reference.needs_cors and origins:
        return (
            _CSS_CORS if reference.css is not None else "has a crossorigin attribute that would block the hosted copy"
        )
    return ""
