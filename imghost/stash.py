"""Keeps the embedded directory's images over a generator's clean-up, so that a warm build copies nothing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from imghost.settings import Settings

_NAME = ".imghost-kept"
"""Hidden, since generators leave hidden files where they are."""


@dataclass(frozen=True, slots=True)
class Stash:
    """Where the images were, and where they wait."""

    folder: Path
    waiting: Path

    @classmethod
    def take(cls, site: Path, settings: Settings) -> Stash | None:
        """Move the embedded directory aside, if the settings have one in the site."""
        if settings.host != "directory" or settings.options.get("base_url"):
            return None
        path = str(settings.options.get("path") or "_imghost")
        folder = site / path
        if "/" in path or "\\" in path or path.startswith("."):
            return None
        stash = cls(folder, site / _NAME)
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(stash.waiting, ignore_errors=True)
            folder.rename(stash.waiting)
        return stash

    def bring_back(self) -> None:
        """Move the images back; what the generator itself wrote there counts more."""
        if not self.waiting.is_dir():
            return
        if not self.folder.exists():
            self.waiting.rename(self.folder)
        shutil.rmtree(self.waiting, ignore_errors=True)
