"""What is wrong with a built site's images, hosted or not: found in the pages as a reader gets them. Changes nothing.

BeautifulSoup reads pages here and nowhere else: whether an image needs a text depends on what stands around it,
and time does not matter as it does in a build.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache, partial
from html import unescape
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import quote, unquote

from imghost.files import open_beneath, stamp
from imghost.html.scan import candidates
from imghost.html.tokenizer import names
from imghost.models import KINDS, MEDIA_TYPES, NamedTuple, Scan, endings
from imghost.site.dependents import base_policies, header_policies
from imghost.site.pages import MAX_PAGE, base_of
from imghost.site.survey import Survey, decode, survey
from imghost.urls import Place as SitePlace
from imghost.urls import place, resolve, resolve_in_root
from imghost.wording import guess, many, printable, size

if TYPE_CHECKING:
    from bs4 import Tag
    from PIL.ImageFile import ImageFile as Picture

    from imghost.models import Record
    from imghost.settings import Settings

KINDS_OF_FINDINGS: Final = MappingProxyType(
    {
        "broken": "a reference to a file that is not there",
        "alt": "an image without an alternative text",
        "expiring": "a hosted image that is about to expire",
        "metadata": "an image file that tells a place or a person",
        "large": "an image of many more pixels than are shown",
        "twin": "the same bytes under several names",
        "unused": "an image file that no page names",
    }
)
"""What is looked for, the gravest first, and what each means."""
FAILING: Final = ("broken", "alt")
"""Kinds that fail a check, unless others are chosen."""

_EVERY_KIND: Final = frozenset(KINDS)
_FETCHED: Final = frozenset({"img", "poster", "meta", "preload", "svg", "icon", "link", "object"})
"""Kinds that a reader's browser asks for, or a click on them; a style's rule may match nothing."""
_TEMPLATED: Final = re.compile(r"\{\{|\$\{|<%|\{%")
"""A place that a script or a server fills in later: `{{ url }}`, `${url}`, `<%= url %>`."""

# What is never closed ends with the page, so that no text is searched twice.
_RAW: Final = re.compile(
    r"<(script|style|textarea|xmp|iframe|noembed|noframes)\b[^>]*+(?:>.*?(?:</\1\s*+>|\Z)|\Z)|<!--.*?(?:-->|\Z)",
    re.I | re.S | re.A,
)
_SVG: Final = re.compile(r"(<svg\b[^>]*+)(?:>(.*?)(?:</svg\s*+>|\Z)|\Z)", re.I | re.S | re.A)
_SVG_NAME: Final = re.compile(r"<title\b[^>]*+>\s*+[^<\s]", re.I | re.A)
_KEPT: Final = "a|button|figure|figcaption|img|image|input|picture|source|template|title|base"
"""Elements that an image's need of a text depends on."""
_ATTRIBUTES: Final = r"""(?:[^>"']++|"[^"]*+"|'[^']*+')*+"""
_RUN: Final = re.compile(
    # Texts, and tags of other elements that cannot hide what they hold: most of a page, at one go.
    rf"""(?:[^<]++|<(?![/a-zA-Z])|<(?!/?(?:{_KEPT})[\s/>])(?![^>]*(?:hidden|none))/?[a-zA-Z]{_ATTRIBUTES}>)++""",
    re.I | re.A,
)
_TAG: Final = re.compile(rf"<(/?)([a-zA-Z][^\s/>]*+)({_ATTRIBUTES})>")
_KEPT_NAME: Final = re.compile(_KEPT, re.I | re.A)
_ANY_TAG: Final = re.compile(rf"</?[a-zA-Z]{_ATTRIBUTES}>")
_NAMING: Final = names("a button figcaption title")
"""Elements whose texts matter."""
_VOID: Final = names("area base br col embed hr img image input link meta param source track wbr")
_UNSEEN: Final = re.compile(
    r"""\saria-hidden\s*+=\s*+["']?true|\shidden(?=[\s=/]|\Z)|\sstyle\s*+=\s*+["'][^"']*?(?:display\s*:\s*none|visibility\s*:\s*hidden)""",
    re.I | re.A,
)
_BARE_LINK: Final = re.compile(r"<(a|button)\b[^<>]*+>([^<]*+)</\1\s*+>", re.I | re.A)
_IMAGE: Final = re.compile(r"<(?:img|image|input)\b", re.I | re.A)
_EDIT: Final = re.compile(
    r"""<a\s[^<>]{0,400}?href=["']([^"'<>]{0,400}?(?:/edit/|/-/edit/|_edit/|/blob/|/src/|mode=edit)[^"'<>]{0,400})["']""",
    re.I | re.A,
)
_ROOTED: Final = re.compile(r"""\s(?:href|src)=["'](/[^/"'][^"'#?]*+)""", re.I | re.A)
_MOST_ROOTED: Final = 8
_PIXELS: Final = re.compile(r"\s*+(\d+(?:\.\d+)?)(?:px)?\s*+\Z")
_STYLE_SIZE: Final = re.compile(r"(?:\A|;)\s*(max-)?(width|height)\s*:\s*(\d+(?:\.\d+)?)px\s*(?=;|\Z|!)", re.I | re.A)
_DENSITY: Final = re.compile(r"\s*+(\d+(?:\.\d+)?)x")


class Named(NamedTuple):
    """One URL in a page that means an image."""

    kind: str
    url: str
    line: int
    is_fetched: bool
    """Whether a reader meets it, so that a missing file is a broken picture or link."""


class ShownImage(NamedTuple):
    """One image as a page shows it."""

    url: str
    line: int
    alt: str | None
    lacks_text: str
    """Why its alternative text is missing, to follow the image's name; empty where none is meant, or it is there."""
    width: float | None = None
    """In CSS pixels, where the page tells it."""
    height: float | None = None
    choices: tuple[tuple[str, float], ...] = ()
    """Other URLs that a browser may choose, each with its density; 0 where a width decides."""
    link: str = ""
    """Where the link around it leads."""
    lacks_if_own: str = ""
    """Why its text is missing if that is the name of its file, which a hosted image's URL does not tell."""


class PageImages(NamedTuple):
    """What one page tells of images."""

    path: str
    base: Scan
    """Its `<base>`, with the policies that may forbid one; it has no references."""
    named: tuple[Named, ...]
    shown: tuple[ShownImage, ...]
    rooted: tuple[str, ...] = ()
    """Some paths that the page names from the root, whatever they are."""
    edit_links: tuple[str, ...] = ()
    title: str = ""
    is_open: bool = False
    """Whether nobody can tell for all of its references if its `<base>` counts."""


def read_page(root: Path, headers: frozenset[str], path: str) -> PageImages:
    """Read one page of a site; one that is gone or too large tells nothing.

    `headers` are the policies of its servers that may forbid a `<base>`, as `scan` takes them.
    """
    file = root / path
    try:
        content = file.read_bytes() if file.stat().st_size <= MAX_PAGE else b""
    except OSError:
        content = b""
    return look(path, decode(content), headers)


def look(path: str, text: str, headers: frozenset[str] = frozenset()) -> PageImages:
    """Find the images that a page names and shows."""
    from imghost.html.scan import HELD_BY_BASE, HELD_BY_SERVER, scan

    found = scan(text, _EVERY_KIND, headers)
    base = Scan((), found.base, found.policies if found.base is not None else ())
    is_open = any(reference.held in {HELD_BY_BASE, HELD_BY_SERVER} for reference in found.references)
    lines = _Lines(text)
    named = tuple(
        Named(
            reference.kind,
            reference.url,
            lines.of(reference.start),
            _is_fetched(reference.kind, reference.url, text[max(0, reference.start - 40) : reference.start]),
        )
        for reference in found.references
    )
    slim = slimmed(text)
    shown = tuple(_shown(slim)) if _IMAGE.search(slim) else ()
    rooted = dict.fromkeys(unquote(match[1]) for _, match in zip(range(64), _ROOTED.finditer(text), strict=False))
    links = tuple(dict.fromkeys(match[1] for match in _EDIT.finditer(text)))[:_MOST_ROOTED]
    match = re.search(r"<title\b[^>]*+>([^<]*+)", slim, re.I | re.A)
    title = " ".join(unescape(match[1]).split()) if match else ""
    return PageImages(path, base, named, shown, tuple(rooted)[:_MOST_ROOTED], links, title, is_open)


class _Lines:
    """Tells lines by offsets that only grow."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._line = text, 0, 1

    def of(self, offset: int) -> int:
        """Give the line of an offset, counted from 1."""
        if offset < self._at:
            return self._text.count("\n", 0, offset) + 1
        self._line += self._text.count("\n", self._at, offset)
        self._at = offset
        return self._line


def _is_fetched(kind: str, url: str, before: str) -> bool:
    """Say whether a URL is asked for as it stands: not a lazy loader's, which a script completes, nor a template's."""
    is_lazy = re.search(r"\sdata-[a-z-]+\s*=\s*[\"']?[^\"']*\Z", before, re.I | re.A) is not None
    return kind in _FETCHED and not is_lazy and not _TEMPLATED.search(url)


def slimmed(text: str) -> str:
    """Leave of a page what an image's need of a text depends on, each thing on its line.

    A tree of the whole page costs ten times as much to build. What is not shown goes with all that it holds:
    HTML has `hidden` for what is not relevant, WAI-ARIA `aria-hidden` for what is kept from the accessibility
    tree (technique C65 and failure F38 of WCAG speak of both ways to hide a picture).
    """
    text = _RAW.sub(_breaks, text)
    text = _SVG.sub(_named_drawing, text)
    pieces = "".join(_pieces(text))
    return _BARE_LINK.sub(_trace, pieces)


def _breaks(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")


def _named_drawing(match: re.Match[str]) -> str:
    """Put a letter for a drawing that has a name, which may be the name of the link around it."""
    has_name = "aria-label" in match[1] or _SVG_NAME.search(match[2] or "")
    return ("x" if has_name else "") + _breaks(match)


def _trace(link: re.Match[str]) -> str:
    """Write a link without images as one letter, or nothing, and its line ends."""
    return ("x" if link[2].strip() else "") + _breaks(link)


def _pieces(text: str) -> Iterator[str]:
    """Yield the pieces of a page that stay."""
    at, open_naming = 0, 0
    while at < len(text):
        if run := _RUN.match(text, at):
            yield _ANY_TAG.sub(_breaks, run[0]) if open_naming else "\n" * run[0].count("\n")
            at = run.end()
            continue
        tag = _TAG.match(text, at)
        if tag is None:  # the page ends inside of it, as far as a browser is concerned
            yield "\n" * text.count("\n", at)
            return
        name, begin, at = tag[2].lower(), at, tag.end()
        if not tag[1] and _UNSEEN.search(tag[3]):
            at = at if name in _VOID else _after(text, name, at)
            yield "\n" * text.count("\n", begin, at)
        elif _KEPT_NAME.fullmatch(name):
            if name in _NAMING:
                open_naming = max(0, open_naming + (-1 if tag[1] else 1))
            yield tag[0]
        else:
            yield "\n" * tag[0].count("\n")


def _after(text: str, name: str, at: int) -> int:
    """Give where an element ends whose content begins here; one that is never closed ends with the page."""
    depth = 1
    for tag in re.compile(rf"<(/?){re.escape(name)}(?=[\s/>]){_ATTRIBUTES}>", re.I | re.A).finditer(text, at):
        depth += -1 if tag[1] else 1
        if not depth:
            return tag.end()
    return len(text)


def _shown(slim: str) -> Iterator[ShownImage]:
    """Read the images of a slimmed page."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(slim, "html.parser")
    for tag in soup.find_all(["img", "image", "input"]):
        if tag.name == "input" and str(tag.get("type", "")).lower() != "image":
            continue
        # A template is no part of the page until a script has filled it in.
        if tag.find_parent("template") is not None:
            continue
        url = _text(tag, "src") or _text(tag, "data-src")
        if not url or _TEMPLATED.search(url):
            continue
        width, height = _size(tag)
        alt = tag.get("alt")
        yield ShownImage(
            url,
            tag.sourceline or 1,
            None if alt is None else str(alt),
            lacking(tag),
            width,
            height,
            tuple(_choices(tag)),
            _link(tag),
            _lacking_if_own(tag),
        )


def _text(tag: Tag, name: str) -> str:
    return str(tag.get(name) or "").strip()


def lacking(tag: Tag) -> str:
    """Say why an image's alternative text is missing, or nothing where it is there or none is meant.

    The rules, each with its source (HTML = the HTML standard, "Requirements for providing text to act as an
    alternative for images"; techniques and failures are WCAG 2's):
    """
    if _is_named_otherwise(tag):
        return ""
    alt = tag.get("alt")
    text = None if alt is None or _is_own_name(str(alt), _text(tag, "src")) else str(alt).strip()
    if text:
        return ""
    if tag.name == "input":
        # H36, F65: a submit button that is an image is named by nothing but its `alt` (or `title`).
        return "" if _text(tag, "title") else "is a button without an alternative text"
    if text == "":
        # H67: an empty `alt` says that the image is decoration. HTML, "A link or button containing nothing but
        # the image", and F89: there it leaves the link without a name.
        # A caption says what the figure is, so there nothing more is meant.
        is_nameless = _leaves_link_nameless(tag) and not _is_captioned(tag)
        return "has an empty alternative text and is all that its link has" if is_nameless else ""
    return "" if _may_do_without(tag) else _how_it_lacks(tag)


def _is_named_otherwise(tag: Tag) -> bool:
    """Say whether an image has a name beside `alt`, or needs none."""
    # ARIA6, ARIA10: `aria-label` and `aria-labelledby` name an image as `alt` does.
    if _text(tag, "aria-label") or _text(tag, "aria-labelledby"):
        return True
    # WAI-ARIA: `presentation` and its synonym `none` take an element out of the accessibility tree.
    return not {"presentation", "none"}.isdisjoint(_text(tag, "role").lower().split())


_FILE_NAME: Final = re.compile(rf"\S+\.(?:{endings()})", re.I | re.A)


def _lacking_if_own(tag: Tag) -> str:
    """Say why a text that is a file's name is missing, if the file is the image's."""
    alt = _text(tag, "alt")
    if not _FILE_NAME.fullmatch(alt) or lacking(tag) or _is_named_otherwise(tag) or _may_do_without(tag):
        return ""
    return _how_it_lacks(tag)


def _how_it_lacks(tag: Tag) -> str:
    # F65 without an `alt`; F30: a file's name is no alternative (Sphinx writes it where the author gave none).
    return "has none" if tag.get("alt") is None else "has its own file name for one"


def _may_do_without(tag: Tag) -> bool:
    """Say whether an `alt` may be left out."""
    # HTML, "Images whose contents are not known": a `title`, or a figure whose caption speaks for the one image.
    if _text(tag, "title") or _is_captioned(tag):
        return True
    # HTML, "An image not intended for the user": what counts visits has one pixel or none.
    width, height = _size(tag)
    return (width is not None and width <= 1) or (height is not None and height <= 1)


def _is_own_name(alt: str, url: str) -> bool:
    """Say whether a text is nothing but the image's file: its URL as written, or the name at its end."""
    alt, url = alt.strip(), unquote(url.partition("#")[0].partition("?")[0])
    return bool(alt) and "." in alt and alt.lstrip("./") in {url.lstrip("./"), url.rpartition("/")[2]}


def _is_captioned(tag: Tag) -> bool:
    figure = tag.find_parent("figure")
    if figure is None or len(figure.find_all(["img", "image"])) > 1:
        return False
    caption = figure.find("figcaption")
    return caption is not None and bool(caption.get_text().strip())


def _leaves_link_nameless(tag: Tag) -> bool:
    """Say whether the image is all that a link or button has, and nothing else names it.

    The accessible name is made of its texts, its other images' alternatives, `aria-label` and `title`.
    """
    link = tag.find_parent(["a", "button"])
    if link is None or (link.name == "a" and not link.has_attr("href")):
        return False
    if any(_text(link, name) for name in ("aria-label", "aria-labelledby", "title")) or link.get_text().strip():
        return False
    if _text(link, "tabindex") == "-1" or _text(tag, "title"):
        return False
    return not any(_text(other, "alt") or _text(other, "aria-label") for other in link.find_all(["img", "image"]))


def _size(tag: Tag) -> tuple[float | None, float | None]:
    """Give the size in CSS pixels at which an image is shown, as far as its element says; a style counts first."""
    styled: dict[str, float] = {}
    for is_most, name, number in _STYLE_SIZE.findall(_text(tag, "style")):
        if not is_most:
            styled[name.lower()] = float(number)
    return tuple(  # type: ignore[return-value]
        styled[name] if name in styled else _pixels(_text(tag, name)) for name in ("width", "height")
    )


def _pixels(text: str) -> float | None:
    number = _PIXELS.match(text)
    return float(number[1]) if number else None


def _choices(tag: Tag) -> Iterator[tuple[str, float]]:
    """List the URLs of `srcset`, here and in the sources of the picture around."""
    picture = tag.find_parent("picture")
    sources = picture.find_all("source") if picture is not None else []
    for srcset in (_text(one, "srcset") for one in (tag, *sources)):
        for start, end in candidates(srcset):
            density = _DENSITY.match(srcset, end)
            is_plain = srcset[end:].lstrip()[:1] in {"", ","}
            yield srcset[start:end], float(density[1]) if density else 1.0 if is_plain else 0.0


def _link(tag: Tag) -> str:
    link = tag.find_parent("a")
    return "" if link is None else _text(link, "href")


class Place(NamedTuple):
    """Where a finding stands: a line of a page, and of the source that it was made of where that is known."""

    page: str
    line: int
    source: str = ""
    """Relative to the project's folder."""
    source_line: int = 0


class Finding(NamedTuple):
    """One thing to mend."""

    kind: str
    paths: tuple[str, ...]
    """Image files of the site, relative to it, or the URLs of images from elsewhere."""
    text: str
    remedy: str = ""
    places: tuple[Place, ...] = ()


class HostedCopy(NamedTuple):
    """What is known of a hosted image that pages refer to by its URL."""

    path: str
    bytes: int
    width: int | None
    height: int | None
    expires: datetime | None = None
    is_expiring: bool = False
    sha256: str = ""
    """Of the image in the site."""


class ImageFile(NamedTuple):
    """What an image file of the site is."""

    bytes: int
    sha256: str = ""
    width: int | None = None
    height: int | None = None
    media_type: str = ""
    tells: str = ""
    """What its metadata tells of the world: `a place`, `a person`, or both; empty = nothing."""


class ShownAt(NamedTuple):
    """How the pages show one image."""

    width: float | None
    """The largest width in CSS pixels; None where some page does not tell it."""
    alts: tuple[str, ...]


class Audit(NamedTuple):
    """What was found, and what a report uses beside it."""

    pages: int
    images: int
    findings: tuple[Finding, ...]
    shown: Mapping[str, ShownAt]
    remarks: tuple[str, ...] = ()
    title: str = ""
    """The first page's title."""
    files: Mapping[str, ImageFile] = MappingProxyType({})
    """The site's image files."""


def hosted_by(records: Iterable[Record], settings: Settings, now: datetime) -> dict[str, HostedCopy]:
    """Say what is known of hosted images by a lock's records."""
    from imghost.records import needs_renewal

    copies, named = {}, set[str]()
    for record in sorted(records, key=lambda record: record.uploaded, reverse=True):
        path = record.extra.get("path")
        # What the site had there before goes by its URL: other versions may still show it.
        name = path if isinstance(path, str) and path not in named else record.url
        named.add(name)
        copies[record.url] = HostedCopy(
            name,
            record.bytes,
            record.width,
            record.height,
            record.expires,
            needs_renewal(record, settings.renew_before, now),
            record.sha256,
        )
    return copies


def audit(
    site: Path,
    *,
    now: datetime,
    site_url: str | None = None,
    hosted: Mapping[str, HostedCopy] = MappingProxyType({}),
    folder: Path | None = None,
    workers: int = 1,
) -> Audit:
    """Look over a built site; `hosted` has what is known of hosted images by their URLs (or paths in the site).

    `folder` is the project's, where the pages' sources are looked for. More than one of `workers` are processes.
    """
    listed = survey(site)
    paths = sorted(path for path in listed.files if path.lower().endswith(_ENDINGS))
    with _cores(workers, len(listed.files)) as spread:
        headers = frozenset(base_policies(header_policies(site, listed.files)))
        pages = spread(partial(read_page, site, headers), listed.pages)
        files = dict(zip(paths, spread(partial(_measured, site), paths), strict=True))
        is_placed = place(site_url) if site_url else None
        links = _Links(listed.files, is_placed, pages, hosted)
        named = {path for page in pages for one in page.named if (path := links.file(page, one))}
        if collected := _collected(files, named):
            hosted = {**collected, **hosted}
            links = _Links(listed.files, is_placed, pages, hosted)
        unnamed = _unnamed(listed, _unread(listed, files, named, hosted), spread)
    shown = _by_image(pages, links)
    findings = [
        *_broken(pages, links, files),
        *_without_text(shown),
        *_expiring(hosted, shown, now),
        *_telling(files),
        *_large(shown, files, hosted),
        *_twins(files),
        *_unused(unnamed, files),
    ]
    sources = _Sources(folder, listed, pages)
    return Audit(
        len(pages),
        len({path for path in (*shown, *named) if path in files or "://" in path}),
        tuple(map(sources.told, findings)),
        {path: _shown_at(uses) for path, uses in shown.items()},
        links.remarks(),
        next((page.title for page in pages if page.path == "index.html"), ""),
        files,
    )


_COLLECTED: Final = re.compile(r"(?:.*/)?([0-9a-f]{32})[.-][^/]*", re.S)
"""How the directory host calls a file: by the digest of the image that it was made of."""


def _collected(files: Mapping[str, ImageFile], named: Iterable[str]) -> dict[str, HostedCopy]:
    """Say which images of the site the directory host's files stand for, whose records are these files alone."""
    origins = {file.sha256[:32]: path for path, file in sorted(files.items()) if not _COLLECTED.fullmatch(path)}
    copies = {}
    for path in named:
        match = _COLLECTED.fullmatch(path)
        if match and path in files and (origin := origins.get(match[1])):
            file = files[origin]
            copies[path] = HostedCopy(origin, file.bytes, file.width, file.height, sha256=file.sha256)
    return copies


_S = TypeVar("_S")
_T = TypeVar("_T")
_FEW: Final = 200
"""Files up to which starting processes takes longer than the work."""


class _Spread(Protocol):
    """Does the same work for many things."""

    def __call__(self, work: Callable[[_S], _T], things: Sequence[_S]) -> list[_T]: ...


@contextmanager
def _cores(workers: int, count: int) -> Iterator[_Spread]:
    """Use several cores where there is enough to read for them."""

    def alone(work: Callable[[_S], _T], things: Sequence[_S]) -> list[_T]:
        return list(map(work, things))

    if workers < 2 or count < _FEW:
        yield alone
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Processes that are begun anew: a fork would copy the locks that other threads hold.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:

        def together(work: Callable[[_S], _T], things: Sequence[_S]) -> list[_T]:
            return list(pool.map(work, things, chunksize=max(1, len(things) // (8 * workers))))

        yield together


class _Links:
    """Says which file of the site, or which hosted image, a URL means."""

    def __init__(
        self,
        files: frozenset[str],
        site: SitePlace | None,
        pages: Sequence[PageImages],
        hosted: Mapping[str, HostedCopy],
    ) -> None:
        self._files, self._hosted = files, hosted
        self._is_placed = site is not None
        # Without its URL a site may lie below any path, so what climbs out of it or begins at the root is open.
        self._site = site or _SOMEWHERE
        self._has_own_root = self._is_placed or _has_own_root(pages, files)
        self._skipped: set[str] = set()

    def file(self, page: PageImages, named: Named) -> str | None:
        """Give the path in the site that a URL means, whether there is such a file or not; None = not the site's."""
        return self._path(named.url, page, named.kind == "meta")

    def has(self, path: str) -> bool:
        """Say whether the site has this file."""
        return path in self._files

    def image(self, page: PageImages, url: str) -> str:
        """Give the image that a URL means: a path in the site, also of one that is hosted, or the URL itself."""
        path = self._path(url, page, False)
        copy = self._hosted.get(path or url) or self._hosted.get(url.partition("#")[0])
        return copy.path if copy else path or url

    def _path(self, url: str, page: PageImages, is_meta: bool) -> str | None:
        rooted = url.startswith("/") and not url.startswith("//")
        if rooted and not self._is_placed and not self._has_own_root:
            self._skipped.add(url)
            return None
        site = _ROOT if rooted and not self._is_placed else self._site
        path = _resolved(url, page.path, page.base, site, is_meta, self._files)
        if page.is_open and path not in self._files:
            # Without its base it may mean another file; what neither reading finds is not there.
            other = _resolved(url, page.path, _NO_BASE, site, is_meta, self._files)
            return other if other in self._files else path
        return path

    def remarks(self) -> tuple[str, ...]:
        """Say what could not be judged."""
        count = len(self._skipped)
        if not count:
            return ()
        what = f"{count:,} {'reference that begins' if count == 1 else 'references that begin'} with / could not be"
        return (f"{what} judged, such as {printable(min(self._skipped))}; set 'site_url' to where the site will live",)


_NO_BASE: Final = Scan(())
_ROOT: Final = SitePlace()
_SOMEWHERE: Final = SitePlace(prefix="/imghost-knows-no-site-url/")


class _Anything(Container[str]):
    """Every path that there could be."""

    def __contains__(self, path: object) -> bool:
        return True


_ANYTHING: Final = _Anything()


@cache
def _resolved(url: str, page: str, base: Scan, site: SitePlace, is_meta: bool, files: frozenset[str]) -> str | None:
    start = base_of(page, base, site)
    target = resolve(url, start, site, _ANYTHING) if start else None
    if is_meta and (target is None or target.path not in files):
        # As authors write `og:image`.
        rooted = resolve_in_root(url, site, files)
        return rooted.path if rooted else target.path if target and target.form != "relative" else None
    return target.path if target else None


def _has_own_root(pages: Iterable[PageImages], files: Container[str]) -> bool:
    """Say whether what the pages name from the root mostly lies in the site: then it is to live at the root."""
    paths = {path.strip("/") for page in pages for path in page.rooted}
    hits = sum(path in files or f"{path}/index.html".lstrip("/") in files or f"{path}.html" in files for path in paths)
    return 2 * hits > len(paths)


def _broken(pages: Sequence[PageImages], links: _Links, files: Mapping[str, ImageFile]) -> Iterator[Finding]:
    """Find the references to files that are not there, each file once."""
    places: dict[str, dict[Place, None]] = {}
    urls: dict[str, str] = {}
    for page in pages:
        for named in page.named:
            path = links.file(page, named) if named.is_fetched else None
            if path is not None and not links.has(path):
                places.setdefault(path, {})[Place(page.path, named.line)] = None
                urls.setdefault(path, named.url)
    for path, where in sorted(places.items()):
        near = nearest_file(path, files)
        yield Finding(
            "broken",
            (path,),
            f"{urls[path]} is not in the site",
            f"there is {near}" if near else "add the file, or take the reference out",
            tuple(where),
        )


def nearest_file(path: str, files: Iterable[str]) -> str:
    """Find the image that was probably meant: two letters off in its folder, or of the same name elsewhere."""
    folder, _, name = path.rpartition("/")
    if near := guess(path, (other for other in files if other.rpartition("/")[0] == folder)):
        return near
    same = [other for other in files if other.rpartition("/")[2].lower() == name.lower()]
    return same[0] if len(same) == 1 else ""


class _Use(NamedTuple):
    """One place where an image is shown."""

    page: PageImages
    image: ShownImage
    density: float = 1.0
    """How many of its pixels stand for one of CSS; 0 where the browser chooses by width."""
    opens_itself: bool = False
    """Whether a click shows the whole image."""


def _by_image(pages: Iterable[PageImages], links: _Links) -> dict[str, list[_Use]]:
    """Sort what pages show by the image."""
    uses: dict[str, list[_Use]] = {}
    for page in pages:
        for image in page.shown:
            opens = bool(image.link)
            target = links.image(page, image.link) if opens else ""
            for url, density in ((image.url, 0.0 if _has_widths(image) else 1.0), *image.choices):
                path = links.image(page, url)
                uses.setdefault(path, []).append(_Use(page, image, density, opens and target == path))
    return uses


def _has_widths(image: ShownImage) -> bool:
    return any(not density for _, density in image.choices)


def _shown_at(uses: Sequence[_Use]) -> ShownAt:
    widths = [use.image.width if use.density else None for use in uses]
    alts = dict.fromkeys(use.image.alt for use in uses if use.image.alt is not None)
    return ShownAt(max(filter(None, widths), default=None) if all(widths) else None, tuple(alts))


def _without_text(shown: Mapping[str, Sequence[_Use]]) -> Iterator[Finding]:
    for path, uses in sorted(shown.items()):
        reasons = ((use, _why_it_lacks(use.image, path)) for use in uses)
        lacking_in = {Place(use.page.path, use.image.line): reason for use, reason in reasons if reason}
        if lacking_in and not path.startswith("data:"):
            why = next(iter(lacking_in.values()))
            remedy = 'write what it shows, or alt="" for decoration'
            yield Finding("alt", (path,), f"{path} {why}", remedy, tuple(lacking_in))


def _why_it_lacks(image: ShownImage, path: str) -> str:
    return image.lacks_text or (image.lacks_if_own if _is_own_name(image.alt or "", path) else "")


def _expiring(
    hosted: Mapping[str, HostedCopy], shown: Mapping[str, Sequence[_Use]], now: datetime
) -> Iterator[Finding]:
    for path, copy in sorted({copy.path: copy for copy in hosted.values() if copy.is_expiring}.items()):
        if copy.expires and path in shown:
            days = (copy.expires - now).days
            when = "gone by now" if days < 0 else "today" if not days else f"in {days} {'day' if days == 1 else 'days'}"
            where = tuple(Place(use.page.path, use.image.line) for use in shown[path])
            text = f"lives until {copy.expires.date().isoformat()}, {when}"
            yield Finding("expiring", (path,), text, "build again with the host's credential", where)


def _telling(files: Mapping[str, ImageFile]) -> Iterator[Finding]:
    for path, file in sorted(files.items()):
        if file.tells:
            remedy = "strip the metadata of what you publish"
            yield Finding("metadata", (path,), f"tells {file.tells}", remedy)


_LARGE: Final = 3.0
"""Times as wide as shown from which an image is too large; sharp screens show two to three pixels for one."""
_LIGHT: Final = 14_600
"""Bytes; a smaller file comes with the first answer anyway: ten segments of 1,460 bytes (RFC 6928)."""


def _large(
    shown: Mapping[str, Sequence[_Use]], files: Mapping[str, ImageFile], hosted: Mapping[str, HostedCopy]
) -> Iterator[Finding]:
    copies = {copy.path: copy for copy in hosted.values()}
    for path, uses in sorted(shown.items()):
        known = files.get(path) or copies.get(path)
        if known is None or known.bytes < _LIGHT or path.lower().endswith(".svg"):
            continue
        if any(use.opens_itself for use in uses):
            continue
        smallest = min((_ratio(use, known.width, known.height) for use in uses), key=lambda told: told[0])
        if smallest[0] >= _LARGE:
            ratio, words = smallest
            pages = len({use.page.path for use in uses})
            text = f"{words} in {pages:,} {'page' if pages == 1 else 'pages'}"
            yield Finding("large", (path,), text, f"it is {ratio:.0f} times as large as shown: 2 times would do")


def _ratio(use: _Use, width: int | None, height: int | None) -> tuple[float, str]:
    """Say how many of an image's pixels stand for one that is shown, 0 where the page does not tell."""
    if not use.density or not width or not height:
        return 0.0, ""
    edges = ((width, use.image.width, "wide"), (height, use.image.height, "high"))
    told = [
        (pixels / shown / use.density, f"{pixels:,} px {what}, shown at {shown:,.0f} px")
        for pixels, shown, what in edges
        if shown and shown > 1
    ]
    return min(told, key=lambda one: one[0]) if told else (0.0, "")


def _twins(files: Mapping[str, ImageFile]) -> Iterator[Finding]:
    """Find the files of the same bytes; a copy that the directory host made under its digest is none."""
    by_digest: dict[str, list[str]] = {}
    for path, file in sorted(files.items()):
        if file.sha256 and not path.rpartition("/")[2].startswith(file.sha256[:32]):
            by_digest.setdefault(file.sha256, []).append(path)
    for paths in by_digest.values():
        if len(paths) > 1:
            first, *others = paths
            text = f"{others[0]} has the bytes of {first}" + (f", and {len(others) - 1:,} more" if others[1:] else "")
            yield Finding("twin", tuple(paths), text, "name one of them everywhere")


_CONVENTIONAL: Final = re.compile(r"(?:favicon[^/]*|apple-touch-icon[^/]*)\.(?:png|svg|jpg|gif|webp)", re.I | re.A)
"""Files at the root that browsers ask for unasked."""


_SPHINX: Final = frozenset({"objects.inv", "searchindex.js", "genindex.html", "_static/documentation_options.js"})


def _unread(
    listed: Survey, files: Mapping[str, ImageFile], named: Container[str], hosted: Mapping[str, HostedCopy]
) -> frozenset[str]:
    """List the image files that no page shows; the local copy of what is hosted is in use all the same."""
    digests = {copy.sha256 for copy in hosted.values()}
    left = {
        path
        for path, file in files.items()
        if path not in named and file.sha256 not in digests and not _CONVENTIONAL.fullmatch(path)
    } - hosted.keys()
    if not _SPHINX.isdisjoint(listed.files):
        # Sphinx's themes and extensions put files there that only some settings use; nobody can delete them.
        left = {path for path in left if not path.startswith("_static/")}
    return frozenset(left)


_BATCH: Final = 40
"""Files that are searched at a time."""


def _unnamed(listed: Survey, left: frozenset[str], spread: _Spread) -> list[str]:
    """Find those of the files that no other text of the site names either; where one cannot be read, none is sure."""
    if not left:
        return []
    # A packed twin names what its plain one does.
    texts = [path for path in sorted(listed.files) if not _is_packed_twin(path, listed.files)]
    batches = [frozenset(texts[at : at + _BATCH]) for at in range(0, len(texts), _BATCH)]
    found = spread(partial(_mentions, listed.root, left), batches)
    if any(doubts for _, doubts in found):
        return []
    return sorted(left.difference(*(named for named, _ in found)))


def _is_packed_twin(path: str, files: Container[str]) -> bool:
    return path.endswith((".br", ".gz", ".zst")) and path.rpartition(".")[0] in files


def _mentions(root: Path, paths: frozenset[str], files: frozenset[str]) -> tuple[set[str], bool]:
    """Say which of the images these files name, and whether they may name others unseen."""
    from imghost.site.names import mentions

    who = mentions(Survey(root, files, (), ()), paths)
    return set(who.named), bool(who.doubts)


def _unused(unnamed: Iterable[str], files: Mapping[str, ImageFile]) -> Iterator[Finding]:
    for path in unnamed:
        yield Finding("unused", (path,), f"{size(files[path].bytes)}, no page names it", "delete it")


_ENDINGS: Final = tuple(f".{ending}" for ending in (*MEDIA_TYPES.values(), "jpeg"))


def _measured(root: Path, path: str) -> ImageFile:
    """Read an image file; of one that is no image only its bytes are known."""
    from imghost.image.inspect import NotAnImage, read

    known = stamp(root / path)
    try:
        image = read(root, path)
    except (OSError, NotAnImage):
        return ImageFile(known[0] if known else 0)
    facts = image.facts
    tells = ""
    if facts.has_metadata and facts.media_type != "image/svg+xml":
        with open_beneath(root, path) as file:
            tells = " and ".join(what_metadata_tells(file.read()))
    return ImageFile(image.bytes, image.sha256, facts.width, facts.height, facts.media_type, tells)


_GPS, _EXIF = 0x8825, 0x8769
_LATITUDE: Final = 2
_PEOPLE: Final = (0x013B, 0x9C9D)
"""EXIF's Artist, and Windows' XPAuthor."""
_OWNER: Final = 0xA430
_XMP_PLACE: Final = re.compile(rb"GPSLatitude|<photoshop:City>|photoshop:City=|Iptc4xmpCore:Location")
_XMP_PERSON: Final = re.compile(rb"<dc:creator>.{0,200}?<rdf:li[^>]*+>\s*+[^<\s]", re.S)
_IPTC_PLACE, _IPTC_PERSON = ((2, 90), (2, 92)), ((2, 80),)


def what_metadata_tells(content: bytes) -> list[str]:
    """Say whether an image's metadata names a place or a person, by EXIF, XMP, IPTC and PNG's texts."""
    import io

    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content)) as picture:
                return list(_told_by(picture))
        except (OSError, ValueError, SyntaxError, TypeError, KeyError, Image.DecompressionBombError):
            return []  # what Pillow cannot read tells nobody anything here


def _told_by(picture: Picture) -> Iterator[str]:
    from PIL.Image import Exif
    from PIL.IptcImagePlugin import getiptcinfo

    exif = Exif()
    exif.load(picture.info.get("exif") or b"")  # `getexif` would decode a PNG's pixels to look behind them
    xmp = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
    xmp = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp
    iptc: Mapping[tuple[int, int], object] = getiptcinfo(picture) or {}
    gps = exif.get_ifd(_GPS)
    if gps.get(_LATITUDE) or _XMP_PLACE.search(xmp) or any(iptc.get(key) for key in _IPTC_PLACE):
        yield "a place"
    people = [*(exif.get(tag) for tag in _PEOPLE), exif.get_ifd(_EXIF).get(_OWNER), picture.info.get("Author")]
    if any(map(_says_something, people)) or _XMP_PERSON.search(xmp) or any(iptc.get(key) for key in _IPTC_PERSON):
        yield "a person"


def _says_something(text: object) -> bool:
    letters = text.decode("utf-16-le", "replace") if isinstance(text, bytes) else str(text or "")
    return bool(letters.strip("\0 "))


_SOURCE_ENDINGS: Final = (".md", ".rst", ".markdown", ".mdx", ".ipynb", ".txt", ".html")
_SOURCE_FOLDERS: Final = ("docs", "doc", "source", "docs/source", "src", "content", ".")


class _Sources:
    """Finds the source of a page, where the generator tells it, and the line in it."""

    def __init__(self, folder: Path | None, listed: Survey, pages: Iterable[PageImages]) -> None:
        self._folder, self._files, self._root = folder, listed.files, listed.root
        self._links = {page.path: page.edit_links for page in pages}
        self._texts: dict[str, list[str]] = {}

    def told(self, finding: Finding) -> Finding:
        """Add the source to each place of a finding."""
        if self._folder is None or not finding.places:
            return finding
        name = unquote(finding.paths[0].rpartition("/")[2])
        return finding._replace(places=tuple(self._placed(one, name) for one in finding.places))

    def _placed(self, place: Place, name: str) -> Place:
        """Name the line of the source that names the file; without such a line the page is where to look."""
        for source in self._candidates(place.page):
            for number, line in enumerate(self._lines(source), 1):
                if name in line or name in unquote(line):
                    return place._replace(source=source, source_line=number)
        return place

    def _candidates(self, page: str) -> Iterator[str]:
        """List where a page's source can be, by what the generator tells: a link to edit it, a copy of its source.

        Else the page's own path tells: MkDocs, Zensical and Sphinx's `dirhtml` make `guide/install/index.html` of
        `guide/install.md`.
        """
        stem = page.removesuffix(".html")
        stems = [stem, stem.removesuffix("/index")] if stem.endswith("/index") else [stem]
        for link in self._links.get(page, ()):
            parts = unquote(link.partition("?")[0].partition("#")[0]).split("/")
            if parts[-1].rpartition(".")[0] in {*(one.rpartition("/")[2] for one in stems), "README", "index"}:
                yield from ("/".join(parts[at:]) for at in range(3, len(parts)))
        written = [f"{one}{ending}" for one in stems for ending in _SOURCE_ENDINGS]
        copied = [name for name in written if f"_sources/{name}.txt" in self._files]
        for folder in _SOURCE_FOLDERS:
            yield from (f"{folder}/{name}" if folder != "." else name for name in copied or written)

    def _lines(self, source: str) -> list[str]:
        if source not in self._texts:
            assert self._folder is not None
            file = self._folder / source
            is_source = _is_plain(source) and file.is_file() and not file.resolve().is_relative_to(self._root.resolve())
            self._texts[source] = decode(file.read_bytes()).split("\n") if is_source else []
        return self._texts[source]


def _is_plain(source: str) -> bool:
    """Say whether a path that a page tells stays in the project."""
    return {"", ".", ".."}.isdisjoint(source.split("/")) and "\0" not in source and "\\" not in source


# What an audit found, as people and other tools read it: lines, JSON, GitHub's annotations, SARIF. Pure.


class Line(NamedTuple):
    """One finding as a line: an editor jumps to `where`."""

    where: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.kind} {self.text}"


def lines(audit: Audit) -> list[Line]:
    """Write the findings as lines, the gravest first, then by path."""
    return [
        Line(printable(_where(finding)), finding.kind, printable(_sentence(finding))) for finding in in_order(audit)
    ]


def in_order(audit: Audit) -> list[Finding]:
    """Sort the findings: the gravest kind first, then by the path."""
    rank = {kind: at for at, kind in enumerate(KINDS_OF_FINDINGS)}
    return sorted(audit.findings, key=lambda finding: (rank[finding.kind], _where(finding), finding.paths))


def _where(finding: Finding) -> str:
    """Say where to look: at the page for what stands in one, else at the file."""
    if finding.kind in {"broken", "alt"} and finding.places:
        return f"{finding.places[0].page}:{finding.places[0].line}"
    return finding.paths[0]


def _sentence(finding: Finding) -> str:
    remedy = f"; {finding.remedy}" if finding.kind == "broken" and finding.remedy.startswith("there is") else ""
    more = len(finding.places) - 1 if finding.kind in {"broken", "alt"} else 0
    others = f" (and in {many(more, 'more place')})" if more > 0 else ""
    return f"{finding.text}{remedy}{others}"


def total(audit: Audit, failing: Collection[str]) -> str:
    """Say in one line what was found, and what of it fails."""
    counts = Counter(finding.kind for finding in audit.findings)
    if not counts:
        return f"{many(audit.images, 'image')} in {many(audit.pages, 'page')}: nothing to mend"
    count = counts.total()
    kinds = ", ".join(f"{counts[kind]:,} {kind}" for kind in KINDS_OF_FINDINGS if counts[kind])
    fatal = [kind for kind in KINDS_OF_FINDINGS if counts[kind] and kind in failing]
    end = f"; exit 1 for {' and '.join(filter(None, [', '.join(fatal[:-1]), fatal[-1]]))}" if fatal else ""
    return f"{many(count, 'finding')}: {kinds}{end}"


def fails(audit: Audit, failing: Collection[str]) -> bool:
    """Say whether there is a finding of a kind that fails."""
    return any(finding.kind in failing for finding in audit.findings)


def as_mapping(audit: Audit) -> dict[str, Any]:
    """Give the audit as plain values, by the names that other tools read."""
    return {
        "imghost_audit": 1,
        "pages": audit.pages,
        "images": audit.images,
        "findings": [finding_mapping(finding) for finding in in_order(audit)],
        "remarks": list(audit.remarks),
    }


def finding_mapping(finding: Finding) -> dict[str, Any]:
    """Give one finding as plain values."""
    return {
        "kind": finding.kind,
        "paths": list(finding.paths),
        "text": finding.text,
        "remedy": finding.remedy,
        "places": [_place_mapping(place) for place in finding.places],
    }


def _place_mapping(place: Place) -> dict[str, Any]:
    source = {"source": place.source, "source_line": place.source_line} if place.source else {}
    return {"page": place.page, "line": place.line} | source


def as_github(audit: Audit, failing: Collection[str], site: str) -> Iterator[str]:
    """Write workflow commands that GitHub shows beside the lines of a pull request.

    GitHub's documentation has the form: https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    """
    for finding in in_order(audit):
        level = "error" if finding.kind in failing else "warning"
        file, line = _file_of(finding, site)
        place = f"file={_property(file)}" + (f",line={line}" if line else "")
        text = _sentence(finding) + _told_remedy(finding)
        yield f"::{level} {place},title={_property(f'imghost audit: {finding.kind}')}::{_escaped(printable(text))}"


def _told_remedy(finding: Finding) -> str:
    is_told = finding.kind == "broken" and finding.remedy.startswith("there is")
    return f"; {finding.remedy}" if finding.remedy and not is_told else ""


def _file_of(finding: Finding, site: str) -> tuple[str, int]:
    """Name the file to show a finding at, and its line: the source where it is known, else what the site has."""
    if finding.places:
        place = finding.places[0]
        return (place.source, place.source_line) if place.source else (_in_site(place.page, site), place.line)
    return _in_site(finding.paths[0], site), 0


def _in_site(path: str, site: str) -> str:
    folder = site.replace("\\", "/").rstrip("/")
    return f"{folder}/{path}" if folder not in {"", "."} else path


def _escaped(text: str) -> str:
    """Escape a command's text, as GitHub's toolkit does."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(printable(text)).replace(":", "%3A").replace(",", "%2C")


_SARIF: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def as_sarif(audit: Audit, failing: Collection[str], site: str, version: str) -> dict[str, Any]:
    """Give the audit as SARIF 2.1.0 (OASIS), which code scanners collect."""
    kinds = list(KINDS_OF_FINDINGS)
    rules = [{"id": kind, "shortDescription": {"text": KINDS_OF_FINDINGS[kind]}} for kind in kinds]
    results = [
        {
            "ruleId": finding.kind,
            "ruleIndex": kinds.index(finding.kind),
            "level": "error" if finding.kind in failing else "warning",
            "message": {"text": printable(_sentence(finding) + _told_remedy(finding))},
            "locations": [_location(*_file_of(finding, site))],
        }
        for finding in in_order(audit)
    ]
    driver = {"name": "imghost", "version": version, "rules": rules}
    return {"$schema": _SARIF, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _location(file: str, line: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(file)}}
    return {"physicalLocation": place | ({"region": {"startLine": line}} if line else {})}
