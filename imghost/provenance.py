"""Where an image came from, and whether it may leave the machine.

A rendered site may hold the machine's own files: generators follow links and `../`. So a copied file
is judged at its source.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
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


def judge(site: Path, path: str, origins: Origins) -> Stay | None:
    """Decide whether an image of the site may leave the machine; None = it may."""
    if origins.is_own_source:
        return _judge_own(site, path)
    source = origins.sources.get(path)
    if source is None:
        return _judge_own(site, path)
    named = str(source)
    folder, name = os.path.split(named)
    if os.path.islink(named):  # noqa: PTH114
        folder, name = os.path.split(os.path.realpath(named))
    return _judge_source(folder, origins.roots, origins.packages, is_named_so=name in _PACKAGE_FOLDERS)


@lru_cache(maxsize=4096)
def _judge_source(
    folder: str, roots: tuple[Path, ...], packages: tuple[Path, ...], *, is_named_so: bool
) -> Stay | None:
    """Judge the files of a folder that are no links themselves: they all lie where it lies."""
    real = os.path.join(_real_folder(folder), "")  # noqa: PTH118
    if is_named_so or _is_packaged(real, packages):
        return Stay("belongs to the theme or an installed package")
    if not any(_is_below(real, _real_folder(str(root))) for root in roots):
        return Stay(
            "has its source outside the project",
            "move it into the project, or name its folder in the option 'sources'",
            code="origin",
        )
    return None


def _judge_own(site: Path, path: str) -> Stay | None:
    """Judge a file that has no source but itself: it must lie in the site, links followed."""
    if _is_below(_real(f"{site}{os.sep}{path}"), _real_folder(str(site))):
        return None
    return Stay("is a link out of the site", "put the file itself there", code="origin")


def _real(path: str) -> str:
    """Follow links; the folder's part is remembered, since many images share one."""
    folder, name = os.path.split(path)
    real = os.path.join(_real_folder(folder), name)  # noqa: PTH118
    return os.path.realpath(real) if os.path.islink(real) else real  # noqa: PTH114


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def forget_links() -> None:
    """Forget which links were followed; a new run must look again."""
    _real_folder.cache_clear()
    _judge_source.cache_clear()


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _is_packaged(real: str, packages: Iterable[Path]) -> bool:
    if not _PACKAGE_FOLDERS.isdisjoint(Path(real).parts):
        return True
    return any(_is_below(real, _real_folder(str(package))) for package in packages)
