"""Who else depends on an image's old URL, size or bytes: asked once a site, before anything moves.

A script that makes another name of an image's URL, a selector that asks for its text, a page that vouches for a
style sheet's bytes: each holds what it depends on. A site that has none of them pays for one look at its scripts and
style sheets, and its pages for nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache, lru_cache, partial
from os.path import commonpath
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from imghost.files import is_settled, stamp, write_whole
from imghost.html import CHANGING, blocks
from imghost.models import ANY, ASKED, DIGITS, Condition, NamedTuple, Reference, endings
from imghost.site.page_map import HEADERS, SCRIPTS, Scripts, contents, read_for_scripts, whole_digest
from imghost.site.pages import PageView
from imghost.site.survey import Survey, decode

if TYPE_CHECKING:
    from imghost.html.uses import Renames

HELD_BY_NAME: Final = "is named by a script that renames images"
HELD_BY_MANY: Final = "may be renamed by a script that changes more images' URLs than can be followed"
HELD_BY_SELECTOR: Final = "is styled by a selector that asks for its URL"
HELD_BY_INTEGRITY: Final = "is in a style sheet for whose bytes a page vouches (integrity)"

_DIGEST: Final = cache(partial(re.compile, r"'sha(?:256|384|512)-[A-Za-z0-9+/_-]{1,100}={0,2}'", re.I))
"""How a policy names the digest of a style or a script (CSP level 3, hash-source)."""
_CHANGING: Final = tuple(mark.encode() for mark in CHANGING)
_SELECTOR: Final = cache(
    partial(
        re.compile,
        rb"\[\s*(?:\*?\|)?(?:(?:data-)?src|(?:xlink\\?:)?href|poster|content|data|style)\w*\s*[~|^$*]?=",
        re.I,
    )
)
_APART: Final = frozenset({"searchindex.js", "doctools.js"})
"""Sphinx's index of words, and its script that works on `img.toggler` alone, which is held by its class."""
_ANY: Final = ("utf-8", "surrogatepass")


class Dependents(NamedTuple):
    """What a site's scripts and style sheets do with images."""

    literals: frozenset[str] = frozenset()
    """Literals of which its scripts make images' names."""
    words: frozenset[str] = frozenset()
    """Ids and classes of elements on whose URLs its scripts work.

    Of its servers' headers, the digests of styles, in quotes, and after a `;` the policies that may forbid a `<base>`.
    """
    selectors: frozenset[Condition] = frozenset()
    files: frozenset[str] = frozenset()
    """The site's files; only a name that one of them has can be shown in another's place."""
    sheets: frozenset[str] = frozenset()
    """Style sheets that a script names which vouches for what it loads."""

    def asked_of(self, page: PageView, origin: str, vouched: frozenset[str]) -> Callable[[Reference, str], str] | None:
        """Make the question why a reference of this page stays; None where nothing there depends on any.

        `origin` is the hosted images', empty where they lie in the site.
        """
        if page.path in vouched or page.path in self.sheets:
            return lambda _, __: HELD_BY_INTEGRITY
        literals = self.literals.union(page.scan.renaming) if page.scan.renaming else self.literals
        selectors = self.selectors.union(page.scan.selectors) if page.scan.selectors else self.selectors
        if not literals and not selectors:
            return None
        if ANY in literals:
            return lambda _, __: HELD_BY_MANY
        asked = _asked_in(literals)

        def why(reference: Reference, path: str) -> str:
            if literals and (is_renamed(path, literals, self.files) or _is_asked(asked, reference.url, origin)):
                return HELD_BY_NAME
            if selectors and _is_restyled(selectors, reference.kind, reference.url, reference.in_srcset, origin):
                return HELD_BY_SELECTOR
            return ""

        return why


def read_scripts(found: Survey, last: Scripts) -> Scripts:
    """Read each script and style sheet of a site once, unless the last run did: they are the theme's, mostly.

    To know a file by its bytes takes a hundredth of what it takes to understand it, and by its stamp next to nothing.
    Only where there are others than the last run's are they read twice, since one is in memory at a time.
    """
    paths = read_for_scripts(found.files)
    stamps = hashlib.sha256(repr([(path, stamp(f"{found.root}/{path}")) for path in paths]).encode(*_ANY)).hexdigest()
    if last.digest and last.stamps == stamps:
        return last
    if not all(map(_is_settled, (f"{found.root}/{path}" for path in paths))):
        stamps = ""  # one of them may change yet, and keep its stamp
    if last.digest and last.digest == whole_digest(found.root, paths):
        return last._replace(stamps=stamps)
    whole = hashlib.sha256()
    # The digest is of the bytes that were understood, whatever a file was a moment ago.
    return _understood(contents(found.root, paths, whole))._replace(stamps=stamps, digest=whole.hexdigest())


def _is_settled(path: str) -> bool:
    """Say whether a file would get another stamp by a change; one that is gone has none to keep."""
    try:
        return is_settled(os.stat(path))  # noqa: PTH116 - a path as an object costs more
    except OSError:
        return True


def _understood(contents: Iterable[tuple[str, bytes]]) -> Scripts:
    """Find what scripts and style sheets do with images."""
    renames: list[Renames] = []
    selectors: set[Condition] = set()
    digests: set[str] = set()
    vouched: set[str] = set()
    for path, content in contents:
        if path.rpartition("/")[2] in HEADERS:
            digests.update(_DIGEST().findall(decode(content)))
            digests.update(base_policies(_policies_in(_said(decode(content)))))
        is_script = path.lower().endswith(SCRIPTS) and path.rpartition("/")[2] not in _APART
        if is_script and any(mark in content for mark in _CHANGING):
            from imghost.html.uses import renames_of

            renames.append(renames_of(decode(content)))
        if is_script and b"integrity" in content:
            from imghost.html.uses import sheets_of

            vouched |= {name.rpartition("/")[2] for name in sheets_of(decode(content))}
        if _SELECTOR().search(content):
            from imghost.html.uses import selectors_of

            selectors |= selectors_of(decode(content), is_style=path.lower().endswith(".css"))
    literals = {literal for one in renames for literal in one.literals}
    words = digests.union(*(one.words for one in renames))
    return Scripts(
        literals=tuple(sorted(literals)),
        words=tuple(sorted(words)),
        selectors=tuple(sorted(selectors)),
        vouched=tuple(sorted(vouched)),
    )


def dependents_of(found: Survey, scripts: Scripts) -> Dependents:
    """Put together what of a site depends on images, as its scripts and style sheets were read."""
    vouched = frozenset(scripts.vouched)
    sheets = frozenset(path for path in found.stylesheets if path.rpartition("/")[2] in vouched) if vouched else vouched
    return Dependents(
        frozenset(scripts.literals), frozenset(scripts.words), frozenset(scripts.selectors), found.files, sheets
    )


_ENDING: Final = cache(partial(re.compile, rf"\.(?:{endings()})\Z", re.I | re.A))


@lru_cache(maxsize=4096)
def is_renamed(path: str, literals: frozenset[str], files: frozenset[str]) -> bool:
    """Say whether scripts make another of the site's files of this image's name, or ask for it."""
    if names(path, literals):
        return True
    made = renamed_paths(path, _plain(literals), _useful(literals, files))
    if any(new != path and new in files for new in made):
        return True
    return DIGITS in literals and _series(files)[_numberless(path)] > 1


def names(path: str, literals: frozenset[str]) -> bool:
    """Say whether an image's file name stands in the scripts as a whole."""
    return f"/{path}".endswith(_whole_names(literals))


@lru_cache(maxsize=256)
def _whole_names(literals: frozenset[str]) -> tuple[str, ...]:
    return tuple(f"/{literal.lstrip('./')}" for literal in literals if _ENDING().search(literal))


@lru_cache(maxsize=256)
def _plain(literals: frozenset[str]) -> frozenset[str]:
    """Leave out what is no part of a name."""
    return frozenset(literal for literal in literals if literal != DIGITS and not literal.startswith(ASKED))


@lru_cache(maxsize=256)
def _useful(literals: frozenset[str], files: frozenset[str]) -> frozenset[str]:
    """Choose the literals that stand in some file's path: no other one makes the name of a file."""
    every = _every_path(files)
    return frozenset(literal for literal in _plain(literals) if literal.removeprefix("./").lstrip("/") in every)


@lru_cache(maxsize=2)
def _every_path(files: frozenset[str]) -> str:
    return "\n".join(files)


def renamed_paths(path: str, olds: frozenset[str], news: frozenset[str]) -> Iterator[str]:
    """Yield the paths that a script may make of an image's: a literal exchanged, put at either end, or gone."""
    stem, dot, ending = path.rpartition(".")
    folder, slash, name = path.rpartition("/")
    folders = [path[: at + 1] for at, letter in enumerate(path) if letter == "/"]
    rooted = f"/{path}"
    for new in news:
        yield f"{stem}{new}{dot}{ending}"
        yield f"{stem}{new}"
        yield f"{folder}{slash}{new}{name}"
        if "/" in new:
            below = new.removeprefix("./").lstrip("/")
            yield from (f"{around}{below}{name}" for around in ("", *folders))
        if _ENDING().search(new):
            yield from (
                f"{path[:at]}{new}" for at in range(len(folder) + len(slash), len(stem)) if not path[at].isalnum()
            )
    for old in olds:
        if old in rooted:
            for new in news | {""}:
                yield rooted.replace(old, new).lstrip("/")


@lru_cache(maxsize=256)
def _asked_in(literals: frozenset[str]) -> tuple[str, ...]:
    """Choose what a script asks for in a URL."""
    return tuple(literal.removeprefix(ASKED) for literal in literals if literal.startswith(ASKED))


def _is_asked(asked: tuple[str, ...], url: str, origin: str) -> bool:
    """Say whether a script asks for what an image's URL has and a hosted one has not."""
    held = [literal for literal in asked if literal in url]
    if not held:
        return False
    new = stand_in(url, origin)
    return any(literal not in new for literal in held)


@lru_cache(maxsize=2)
def _series(files: frozenset[str]) -> Counter[str]:
    """Count the files whose names differ in their digits alone."""
    return Counter(map(_numberless, files))


def _numberless(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{re.sub('[0-9]+', '0', name)}"


@lru_cache(maxsize=4096)  # pages show the same images by the same URLs, and their theme has a dozen selectors
def _is_restyled(selectors: frozenset[Condition], kind: str, url: str, in_srcset: bool, origin: str) -> bool:
    """Say whether a selector matches one of a reference's URL now and a hosted one, and not the other."""
    return differs(selectors, kind, url, stand_in(url, origin), in_srcset=in_srcset) is not None


_WRITTEN_IN: Final = {
    "img": ({"src", "data-src"}, {"srcset", "data-srcset"}),
    "link": ({"href"}, set[str]()),
    "poster": ({"poster"}, set[str]()),
    "meta": ({"content"}, set[str]()),
    "preload": ({"href"}, {"imagesrcset"}),
    "svg": ({"href", "xlink:href"}, set[str]()),
    "object": ({"src", "data"}, set[str]()),
    "icon": ({"href"}, set[str]()),
}
"""The attributes that hold the references of a kind: those of one URL, and those of several."""
_AROUND_URL: Final = cache(partial(re.compile, r"""\A.*url\(\s*["']?|["']?\s*\).*\Z""", re.S | re.I))
_UP: Final = cache(partial(re.compile, r"(?:\.{0,2}/)*"))
_SUFFIX: Final = cache(partial(re.compile, r"\.[A-Za-z]{3,4}\Z"))


def matches(condition: Condition, text: str) -> bool:
    """Say whether an attribute with this text fulfils a condition."""
    operator, value = condition.operator, condition.value
    if condition.ignores_case:
        text, value = text.lower(), value.lower()
    if operator == "=":
        return text == value
    if not value:
        return False
    if operator == "^=":
        return text.startswith(value)
    if operator == "$=":
        return text.endswith(value)
    if operator == "*=":
        return value in text
    if operator == "~=":
        return value in text.split()
    return text == value or text.startswith(f"{value}-")


def differs(selectors: Iterable[Condition], kind: str, old: str, new: str, *, in_srcset: bool) -> Condition | None:
    """Find a selector that matches a reference's old URL and not the new one, or the new one alone.

    `a[href^="http"]::after` draws a mark beside links that lead elsewhere, and would beside a hosted image's.
    """
    attributes = _WRITTEN_IN.get(kind, (set[str](), set[str]()))[in_srcset]
    for selector in selectors:
        if kind == "style" and selector.attribute == "style":
            # A style is more than its URL, so what is asked of it is looked for in that.
            part = _AROUND_URL().sub("", selector.value)
            if len(part) > 1 and part in old and part not in new:
                return selector
        if selector.attribute in attributes and matches(selector, old) is not matches(selector, new):
            return selector
    return None


def stand_in(old: str, origin: str) -> str:
    """Write a URL as a hosted image's could be: its name from the bytes, its ending and what follows it as before.

    Without an origin the image lies in the site, and the URL leads up as the old one does.
    """
    path, mark, fragment = old.partition("#")
    path, query_mark, query = path.partition("?")
    ending = _SUFFIX().search(path)
    up = _UP().match(path)
    where = f"{origin}/" if origin else f"{up[0] if up else ''}_imghost/"
    return f"{where}{'0' * 32}{ending[0] if ending else ''}{query_mark}{query}{mark}{fragment}"


# What beside a site's pages decides how they reach a reader: packed twins, lists of digests, servers' headers.
#
# They stand outside the pages, so a page that is right in itself can be served as it was before, or without its images.

_PACKED: Final = (".br", ".zst")
_LARGEST_LIST: Final = 2_000_000
"""Bytes; what is larger is no settings file."""
_POLICY: Final = cache(
    partial(
        re.compile,
        r"""Content-Security-Policy(?!-Report-Only)["']?\s*(?:[:=,]\s*)?(?:["']?value["']?\s*[:=]\s*)?"""
        r"""(?:(?:\'{3}|"{3})([^"]{1,8000}?)(?:\'{3}|"{3})|["']?([^"\n]{1,8000}))"""
        r"""|\bvalue["']?\s*[:=]\s*"([^"]{1,8000})"\s*,?\s*["']?(?:key|name)["']?\s*[:=]\s*["']Content-Security-Policy["']""",
        re.I,
    )
)
_EMBEDDER: Final = cache(
    partial(
        re.compile,
        r"""Cross-Origin-Embedder-Policy["',:=\s]{1,12}(?:value["'\s:=]{1,8})?require-corp"""
        r"""|require-corp["',\s]{1,8}(?:key|name)["'\s:=]{1,8}Cross-Origin-Embedder-Policy""",
        re.I,
    )
)
_COMMENTS: Final = cache(partial(re.compile, r"^[\t ]*(?:#|//|;).*$|<!--[\s\S]*?(?:-->|\Z)|\\\r?\n|\bunset\b.*$", re.M))
"""What says nothing in a settings file, and the ends of lines that go on."""
_PRECACHES: Final = cache(partial(re.compile, r"""precache|["']?(?:revision|hash)["']?\s*:""", re.I))
_ENTRY: Final = cache(partial(re.compile, r"\{([^{}]{1,2000})\}"))
_LISTED: Final = cache(partial(re.compile, r"""\burl["']?\s*:\s*["'`]([^"'`]{1,500})["'`]"""))
_DIGEST_OF: Final = cache(partial(re.compile, r"""\b(?:revision|hash|integrity)["']?\s*:\s*["'`][^"'`]"""))
_PAIR: Final = cache(partial(re.compile, r"""\[\s*["']([^"']{1,500})["']\s*,\s*["'][0-9a-f]{8,128}["']\s*\]"""))
_SUM: Final = cache(
    partial(
        re.compile, r"^(?:\\?[0-9a-fA-F]{32,128} [ *](.{1,500})|\w+ \((.{1,500})\) = [0-9a-fA-F]{32,128})\s*$", re.M
    )
)
"""A line of `sha256sum` and its kin, and of BSD's."""
_WORKERS: Final = cache(
    partial(
        re.compile,
        r"(?:.*/)?(?:[^/]*(?:sw|worker|workbox|precache|pwa|offline|thread|isolat)[^/]*\.m?js|[^/]*manifest[^/]*\.(?:js|json))",
        re.I,
    )
)
_SUMS: Final = cache(
    partial(
        re.compile, r"(?:.*/)?(?:(?:sha\d*|md5|b2)sums?(?:\.txt)?|check-?sums?(?:\.\w+)?|[^/]+\.(?:sha\d+|md5))", re.I
    )
)
_ISOLATING: Final = "coi-serviceworker"

_HYDRATING: Final = (
    ("hashmap.json", "", "VitePress"),
    ("assets/app.", ".js", "VitePress"),
    ("assets/js/runtime~main.", ".js", "Docusaurus"),
    ("_next/static/", ".js", "Next.js"),
    ("_nuxt/", ".js", "Nuxt"),
    ("page-data/app-data.json", "", "Gatsby"),
)
"""How files begin and end by which to know that a site's scripts draw the pages after the first."""


_ENDS: Final = (*HEADERS, *_PACKED, ".gz", "ngsw.json", "hashmap.json", "app-data.json", "search_index.js")
_CODE: Final = (*SCRIPTS, ".json")
_BEGINS: Final = ("assets/js/runtime~main.", "_next/", "_nuxt/")


def may_matter(files: Collection[str]) -> bool:
    """Say whether any file of a site may be one that this is about, by its name alone; most sites have none."""
    return any(map(_may_matter, files))


def _may_matter(path: str) -> bool:
    if path.endswith(_ENDS) or path.startswith(_BEGINS):
        return True
    return _is_worker(path) or _has_sums(path)


def _is_worker(path: str) -> bool:
    """Say whether a file may be a service worker, or a list for one; most paths end otherwise, and cost no pattern."""
    return path.lower().endswith(_CODE) and _WORKERS().fullmatch(path) is not None


def _has_sums(path: str) -> bool:
    """Say whether a file is a list of digests."""
    name = path.rpartition("/")[2].lower()
    return ("sum" in name or ".sha" in name or ".md5" in name) and _SUMS().fullmatch(path) is not None


def lists_bytes(files: Collection[str], pages: Collection[str]) -> bool:
    """Say whether a file of a site may tell of pages' bytes, as packed twins and lists of digests do; by its name."""
    twins = (f"{page}{ending}" for page in pages for ending in (".gz", *_PACKED))
    return any(twin in files for twin in twins) or any(
        path.endswith("ngsw.json") or (not path.endswith(SCRIPTS) and _is_worker(path)) or _has_sums(path)
        for path in files
    )


class Warned(NamedTuple):
    """Something of the site that needs the user's hand: a stable code, and one line."""

    code: str
    text: str


def renew_twins(root: Path, files: Collection[str], pages: Collection[str]) -> tuple[list[str], list[Warned]]:
    """Pack the pages that were changed anew where the site has them packed with gzip; gives the twins, and problems."""
    renewed: list[str] = []
    problems: list[Warned] = []
    for page in sorted(pages):
        twin = f"{page}.gz"
        if twin in files:
            try:
                if _renew(root / page, root / twin):
                    renewed.append(twin)
            except OSError as problem:
                text = (
                    f"{twin} cannot be written and holds the page as it was: {problem.strerror or problem}; delete it"
                )
                problems.append(Warned("twin", text))
    return renewed, problems


def _renew(page: Path, twin: Path) -> bool:
    """Pack a page, unless its twin holds it already; the time of packing is left out, so that builds agree."""
    content = page.read_bytes()
    try:
        if gzip.decompress(twin.read_bytes()) == content:
            return False
    except (OSError, EOFError, ValueError):
        pass  # a broken twin is written anew
    write_whole(twin, gzip.compress(content, 9, mtime=0), is_durable=False)
    return True


def stale(root: Path, files: Collection[str], pages: Collection[str]) -> Iterator[Warned]:
    """Warn, once for each kind, of files that vouch for the bytes which changed pages had."""
    packed = sorted(f"{page}{ending}" for page in pages for ending in _PACKED if f"{page}{ending}" in files)
    if packed:
        more = f" and {len(packed) - 1} more hold" if len(packed) > 1 else " holds"
        text = (
            f"{packed[0]}{more} a page as it was before its images moved; pack the site after imghost, or delete them"
        )
        yield Warned("twin", text)
    for path in sorted(files):
        name = path.rpartition("/")[2]
        if name == "ngsw.json":
            listed = _hashed(root / path)
        elif _is_worker(path):
            listed = _precached(root / path)
        elif _has_sums(path):
            listed = {found[1] or found[2] for found in _SUM().finditer(_text(root / path))}
        else:
            continue
        if not listed:
            continue
        folder = path[: len(path) - len(name)]
        if page := next((page for page in sorted(pages) if _is_listed(page, folder, listed)), ""):
            text = f"{path} lists the digest that {page} had before its images moved; make it after imghost has run"
            yield Warned("digest", text)


def _hashed(file: Path) -> set[str]:
    """Read the paths of which Angular's service worker keeps digests."""
    try:
        table = json.loads(_text(file) or "{}")
        return set(map(str, table["hashTable"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        return set()


def _precached(file: Path) -> set[str]:
    """Read the URLs of which a service worker keeps revisions; one that is null vouches for nothing."""
    text = _text(file)
    if not _PRECACHES().search(text):
        return set()
    entries = (entry[1] for entry in _ENTRY().finditer(text))
    urls = {url[1] for entry in entries if _DIGEST_OF().search(entry) and (url := _LISTED().search(entry))}
    return urls | {pair[1] for pair in _PAIR().finditer(text)}


def _is_listed(page: str, folder: str, listed: Collection[str]) -> bool:
    """Say whether a list beside this folder's files names a page, also by its folder's URL."""
    if not page.startswith(folder):
        return False
    own = page[len(folder) :]
    paths = {urlsplit(url).path.removeprefix("./") if "://" in url else url.removeprefix("./") for url in listed}
    # A site that is published below its host's root is listed with that folder.
    rooted = [path.rpartition("/")[0] for path in paths if path.startswith("/")]
    around = f"{commonpath(rooted) if rooted and all(rooted) else ''}/"
    below = {path.removeprefix(around) for path in paths}
    shorter = own.removesuffix("index.html")
    return bool({own, f"/{own}", f"/{page}", shorter or "/", f"/{shorter}"} & paths) or bool(
        {own, shorter} & below - {""}
    )


def _said(text: str) -> str:
    """Take out of a settings file what says nothing."""
    return _COMMENTS().sub(" ", text)


def _policies_in(text: str) -> list[str]:
    found = (next(filter(None, one.groups())) for one in _POLICY().finditer(text))
    return [" ".join(policy.replace("\\ ", " ").split()) for policy in found]


def base_policies(policies: Iterable[str]) -> Iterator[str]:
    """Yield the policies of a site's servers that may forbid a `<base>`, as a scan takes them among its words."""
    return (f";{policy}" for policy in policies if "base-uri" in policy.lower())


def header_policies(root: Path, files: Collection[str]) -> tuple[str, ...]:
    """Read the policies that files for a site's servers set; each may be for some of its pages alone."""
    paths = sorted(path for path in files if path.rpartition("/")[2] in HEADERS)
    return tuple(policy for path in paths for policy in _policies_in(_said(_text(root / path))))


def barring(root: Path, files: Collection[str], origins: Collection[str]) -> Iterator[Warned]:
    """Warn of headers that keep browsers from loading images of these origins, with the line to add."""
    if not origins:
        return
    wanted = " ".join(origins)
    for path in sorted(path for path in files if path.rpartition("/")[2] in HEADERS):
        text = _said(_text(root / path))
        policies = _policies_in(text)
        if blocks(policies, origins):
            yield Warned(
                "policy",
                f"{path} has a Content-Security-Policy that forbids images from the host; add {wanted} to its img-src",
            )
        if _EMBEDDER().search(text):
            yield _embedder(path)
    for path in sorted(path for path in files if path.endswith(".js")):
        is_isolating = path.rpartition("/")[2].startswith(_ISOLATING)
        if is_isolating or (_is_worker(path) and _EMBEDDER().search(_text(root / path))):
            yield _embedder(path)


def _embedder(path: str) -> Warned:
    text = (
        f"{path} sets Cross-Origin-Embedder-Policy: require-corp, by which browsers refuse images from a host that "
        "does not send Cross-Origin-Resource-Policy; set it to credentialless, or use the host directory"
    )
    return Warned("policy", text)


def _text(file: Path) -> str:
    """Read a small text file; one that cannot be read says nothing."""
    try:
        return file.read_bytes().decode("utf-8", "replace") if file.stat().st_size <= _LARGEST_LIST else ""
    except OSError:
        return ""


def drawn_by_scripts(files: Collection[str]) -> str:
    """Name the framework whose scripts draw a site's pages after the first; empty where none does."""
    for path in files:
        if path.endswith((".js", ".json")):
            for begin, end, name in _HYDRATING:
                if path.startswith(begin) and path.endswith(end):
                    return name
    return ""


def works_offline(files: Collection[str]) -> bool:
    """Say whether a site is made to be read without a network, by Material's plugin `offline`."""
    return "search/search_index.js" in files and any(path.startswith("assets/javascripts/bundle.") for path in files)


def seen_elsewhere(addresses: Iterable[str], files: Collection[str]) -> tuple[int, str, str]:
    """Find absolute URLs whose path ends as a file of the site does: how many, one of them, and that file."""
    count, example, own = 0, "", ""
    for address in sorted(set(addresses)):
        parts = unquote(address.partition("#")[0].partition("?")[0]).split("/")[3:]
        # A site is published at its host's root, or a folder or two below it.
        file = next((path for at in range(min(3, len(parts))) if (path := "/".join(parts[at:])) in files), "")
        if file:
            count, example, own = count + 1, example or address, own or file
    return count, example, own
