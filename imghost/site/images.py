"""Which image files may leave the machine, and what each is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, Final

from imghost.files import digest, open_beneath, stamp
from imghost.models import Image, NamedTuple

if TYPE_CHECKING:
    from imghost.records.cache import Cache, KnownFile
    from imghost.settings import Settings
    from imghost.site.page_map import Removed

# A rendered site may hold the machine's own files: generators follow links and `../`. So a copied file
# is judged at its source.
_PACKAGE_FOLDERS: Final = frozenset({"site-packages", "dist-packages"})


class Origins(NamedTuple):
    """Which files of a site are copies of what, and the folders that images may come from."""

    roots: tuple[Path, ...] = ()
    sources: Mapping[str, Path] = MappingProxyType({})
    """Path in the site -> the file that was copied there."""
    packages: tuple[Path, ...] = ()
    """Folders of themes, whose files differ from machine to machine."""
    is_own_source: bool = False
    """Whether the site itself is the source, as on the command line."""
    stands_for_copy: bool = False
    """Whether a source's stamp may stand for its copy's: no plugin rewrites such files."""


class Stay(NamedTuple):
    """Why an image stays local; the reason completes "it …"."""

    reason: str
    remedy: str = ""
    code: str = ""
    """The warning's stable code; empty where there is nothing to warn of."""
    brief: str = ""
    """Reason and remedy where the image's size stands beside them, or several images share them; else as above."""
    is_wish: bool = False
    """Whether the user asked for it."""


_PACKAGED: Final = Stay("belongs to the theme or an installed package")
_OUTSIDE: Final = Stay(
    "has its source outside the project",
    "move it into the project, or name its folder in the option 'sources'",
    code="origin",
)
_LINK_OUT: Final = Stay("is a link out of the site", "put the file itself there", code="origin")


class Judge:
    """Decides which images of a site may leave the machine; what is true of a folder is found once."""

    def __init__(self, site: Path, origins: Origins) -> None:
        self._site = str(site)
        self._roots = [os.path.realpath(root) for root in origins.roots]
        self._packages = [os.path.realpath(package) for package in origins.packages]
        self._sources: Mapping[str, Path] = {} if origins.is_own_source else origins.sources
        self._judged: dict[str, Stay | None] = {}
        self._real_folders: dict[str, str] = {}
        self._links: dict[str, frozenset[str]] = {}

    def __call__(self, path: str) -> Stay | None:
        """Decide for one image of the site; None = it may."""
        source = self._sources.get(path)
        if source is None:
            return self._of_own(path)
        folder, _, name = str(source).rpartition(os.sep)
        if name in self._links_in(folder):
            folder, name = os.path.split(os.path.realpath(source))
        if name in _PACKAGE_FOLDERS:
            return _PACKAGED
        if folder not in self._judged:
            self._judged[folder] = self._of_sources(folder)
        return self._judged[folder]

    def _of_sources(self, folder: str) -> Stay | None:
        """Judge the files of a folder that are no links themselves: they all lie where it lies."""
        real = os.path.join(self._real(folder), "")  # noqa: PTH118
        if not _PACKAGE_FOLDERS.isdisjoint(Path(real).parts) or any(_is_below(real, one) for one in self._packages):
            return _PACKAGED
        return None if any(_is_below(real, root) for root in self._roots) else _OUTSIDE

    def _of_own(self, path: str) -> Stay | None:
        """Judge a file that has no source but itself: it must lie in the site, links followed."""
        folder, name = os.path.split(f"{self._site}{os.sep}{path}")
        real = os.path.join(self._real(folder), name)  # noqa: PTH118
        if name in self._links_in(folder):
            real = os.path.realpath(real)
        return None if _is_below(real, self._real(self._site)) else _LINK_OUT

    def _real(self, folder: str) -> str:
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder)
        return self._real_folders[folder]

    def _links_in(self, folder: str) -> frozenset[str]:
        if folder not in self._links:
            self._links[folder] = _links(folder)
        return self._links[folder]


def _links(folder: str) -> frozenset[str]:
    """List the links in a folder: one question for all of its files."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:
        return frozenset()


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


_GONE: Final = Stay("is gone since the pages were scanned", "build again", code="page")


def identify(
    paths: Iterable[str],
    site: Path,
    settings: Settings,
    origins: Origins,
    removed: Mapping[str, Removed],
    cache: Cache,
) -> tuple[dict[str, Image], dict[str, Stay]]:
    """Identify every image, by its path in the site: what it is, or why it stays."""
    images: dict[str, Image] = {}
    stays: dict[str, Stay] = {}
    selects, judge = _selection(settings), Judge(site, origins)
    below = f"{site}{os.sep}"  # paths as objects would take longer than all else here
    for path in sorted(paths):
        found = (selects and selects(path)) or judge(path)
        image = found or _identified(path, below, origins, removed, cache)
        if isinstance(image, Image):
            images[path] = image
        else:
            stays[path] = image
    return images, stays


def _selection(settings: Settings) -> Callable[[str], Stay | None] | None:
    """Make what decides by `include` and `exclude` whether an image is selected; None = all are."""
    if not settings.include and not settings.exclude:
        return None
    from pathspec import GitIgnoreSpec

    include, exclude = GitIgnoreSpec.from_lines(settings.include), GitIgnoreSpec.from_lines(settings.exclude)

    def select(path: str) -> Stay | None:
        if settings.include and not include.match_file(path):
            return Stay("matches no glob of the option 'include'", is_wish=True)
        if exclude.match_file(path):
            return Stay("matches a glob of the option 'exclude'", is_wish=True)
        return None

    return select


def _identified(path: str, below: str, origins: Origins, removed: Mapping[str, Removed], cache: Cache) -> Image | Stay:
    """Digest one image, or take what is known of the very same file; `below` is the site's path and a separator."""
    root, name = below, path
    where = below + path
    now = stamp(where)
    source = origins.sources.get(path)
    original = stamp(str(source)) if source and (now is None or origins.stands_for_copy) else None
    if source and original and (now is None or original[0] == now[0]):
        if now is None:
            root, name = str(source.parent), source.name
        where, now = str(source), original
    if now is None:
        # The local copy was removed and had no source: what was known of it then still holds.
        return removed[path].image if path in removed else _GONE
    known = cache.facts(where, now)
    if known is None:
        try:
            known = _read(Path(root), name)
        except OSError as problem:
            return Stay(f"cannot be read: {problem.strerror or problem}", "change its mode", code="type")
        cache.remember_facts(where, now, known)
    if isinstance(known, str):
        reason, remedy, code = (*known.split("\t"), "", "")[:3]
        return Stay(reason, remedy, code)
    sha256, facts = known
    return Image(path, sha256, now[0], facts, (where, now))


def is_by_place(stay: Stay) -> bool:
    """Say whether an image stays for where it lies or by the user's wish, whatever its bytes are."""
    return stay.is_wish or stay == _PACKAGED


def is_page(stay: Stay) -> bool:
    """Say whether what stays is a page under an image's name, as wikis name the pages that show images."""
    return stay.reason == "it is not an image but HTML"


def _read(root: Path, name: str) -> KnownFile:
    from imghost.image.inspect import NotAnImage
    from imghost.image.inspect import read as read_image

    try:
        image = read_image(root, name)
    except NotAnImage as verdict:
        # What browsers show where it is, like a drawing with a link or an icon, is worth no warning.
        return "\t".join((str(verdict), verdict.remedy, "" if verdict.is_harmless else "type"))
    return image.sha256, image.facts


def has_changed(image: Image, site: Path, origins: Origins) -> bool:
    """Say whether an image's file has other bytes than when it was identified; one that is gone has none."""
    if image.seen is None:
        return False
    where, then = image.seen
    now = stamp(where)
    if now is None or now == then:
        return False
    try:
        with opened(image.path, site, origins) as file:
            return digest(file) != image.sha256
    except OSError:
        return True  # it is no plain file of the site any more


def opened(path: str, site: Path, origins: Origins) -> BinaryIO:
    """Open an image of the site, or its source where the local copy was removed; raises OSError."""
    source = origins.sources.get(path)
    if source and stamp(site / path) is None:
        return open_beneath(source.resolve().parent, source.resolve().name)
    return open_beneath(site, path)


def opened_any(paths: Sequence[str], site: Path, origins: Origins) -> BinaryIO:
    """Open the first file that is there of those with the same bytes: of some the local copy may be removed.

    Raises OSError, of the first one where none is there.
    """

    def is_there(path: str) -> bool:
        return any(file is not None and stamp(file) is not None for file in (site / path, origins.sources.get(path)))

    return opened(next(filter(is_there, paths), paths[0]), site, origins)
