"""Where an image came from, and whether it may leave the machine.

A rendered site may hold the machine's own files: generators follow links and `../`. So a copied file
is judged at its source.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

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
