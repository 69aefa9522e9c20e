"""What beside a site's pages decides how they reach a reader: packed twins, lists of digests, servers' headers.

They stand outside the pages, so a page that is right in itself can be served as it was before, or without its images.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

from imghost.files import write_whole
from imghost.html.policy import blocks

_PACKED: Final = (".br", ".zst")
_HEADERS: Final = frozenset(
    {"_headers", ".htaccess", "netlify.toml", "vercel.json", "staticwebapp.config.json", "web.config", "firebase.json"}
)
"""Files in a site by which servers choose the headers of its pages."""
_LARGEST: Final = 2_000_000
"""Bytes; what is larger is no settings file."""
_POLICY: Final = re.compile(
    r"""Content-Security-Policy(?!-Report-Only)["']?\s*(?:[:=,]\s*)?(?:["']?value["']?\s*[:=]\s*)?["']?([^"\n]{1,8000})""",
    re.I,
)
_EMBEDDER: Final = re.compile(
    r"""Cross-Origin-Embedder-Policy["',:=\s]{1,12}(?:value["'\s:=]{1,8})?require-corp""", re.I
)
_PRECACHES: Final = re.compile(r"""precache|["']?revision["']?\s*:""", re.I)
_LISTED: Final = re.compile(r"""["']?url["']?\s*:\s*["']([^"']{1,500})["']""")
_WORKERS: Final = re.compile(r"(?:.*/)?(?:sw|service-?worker|precache-manifest[^/]*|workbox-[^/]*)\.js", re.I)
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
        elif _WORKERS.fullmatch(path):
            listed = _precached(root / path)
        else:
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
    text = _text(file)
    return set(_LISTED.findall(text)) if _PRECACHES.search(text) else set()


def _is_listed(page: str, folder: str, listed: Collection[str]) -> bool:
    """Say whether a list beside this folder's files names a page, also by its folder's URL."""
    if not page.startswith(folder):
        return False
    own = page[len(folder) :]
    return bool({own, f"/{own}", f"./{own}", f"/{page}", own.removesuffix("index.html") or "/"} & set(listed))


def barring(root: Path, files: Collection[str], origins: Collection[str]) -> Iterator[Warned]:
    """Warn of headers that keep browsers from loading images of these origins, with the line to add."""
    if not origins:
        return
    wanted = " ".join(origins)
    for path in sorted(path for path in files if path.rpartition("/")[2] in _HEADERS):
        text = _text(root / path)
        policies = [found[1].strip() for found in _POLICY.finditer(text)]
        if blocks(policies, origins):
            yield Warned(
                "policy",
                f"{path} has a Content-Security-Policy that forbids images from the host; add {wanted} to its img-src",
            )
        if _EMBEDDER.search(text):
            yield _embedder(path)
    for path in sorted(
        path for path in files if path.rpartition("/")[2].startswith(_ISOLATING) and path.endswith(".js")
    ):
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
        return file.read_bytes().decode("utf-8", "replace") if file.stat().st_size <= _LARGEST else ""
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
