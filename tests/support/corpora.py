"""Rendered sites of other projects, to try the stages on: from the folder that IMGHOST_CORPORA names."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

VARIABLE = "IMGHOST_CORPORA"

needs_corpora = pytest.mark.skipif(
    not os.environ.get(VARIABLE), reason=f"{VARIABLE} names no folder of rendered sites (folders or *.tar.xz)"
)


def sites(tmp: Path) -> list[Path]:
    """List the corpora's sites, sorted; archives are unpacked under `tmp`, folders are used where they are."""
    named = os.environ.get(VARIABLE)
    if not named:
        return []
    found: list[Path] = []
    for entry in sorted(Path(named).iterdir()):
        if entry.is_dir():
            found.append(entry)
        elif entry.name.endswith(".tar.xz"):
            target = tmp / entry.name.removesuffix(".tar.xz")
            with tarfile.open(entry) as archive:
                archive.extractall(target, filter="data")
            found.append(_inner(target))
    return found


def _inner(folder: Path) -> Path:
    """Give the site itself where an archive has it in one folder of its own."""
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder
