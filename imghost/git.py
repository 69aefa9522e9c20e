"""The git checkout that a folder lies in."""

from __future__ import annotations

from pathlib import Path


def git_top(folder: Path) -> Path | None:
    """Find the git checkout's top level that holds a folder."""
    return next((path for path in (folder, *folder.parents) if (path / ".git").exists()), None)
