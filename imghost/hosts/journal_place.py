"""Where the payment journal is: the user's state folder, never what git commits or CI caches."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from imghost.errors import StateError
from imghost.files import git_top
from imghost.hosts.img402.journal import Journal

FILE: Final = "payments.sqlite3"
VARIABLE: Final = "IMGHOST_STATE_DIR"


def journal_of(
    environ: Mapping[str, str], folder: Path | None = None, cache_dir: Path | None = None, platform: str = sys.platform
) -> Journal:
    """Give the journal of this user; nothing is made yet.

    Raises:
        StateError: it would lie in the checkout that holds `folder`, or in `cache_dir`, and IMGHOST_STATE_DIR
            does not say so.
    """
    if named := environ.get(VARIABLE):
        return Journal(Path(named).expanduser().resolve() / FILE)
    place = _state_folder(environ, platform).resolve()
    top = git_top(folder.resolve()) if folder else None
    for what, where in (("the git checkout", top), ("the cache", cache_dir)):
        if where and place.is_relative_to(where.resolve()):
            raise StateError(f"the payment journal would be in {what}, at {place}; name another folder in {VARIABLE}")
    return Journal(place / FILE)


def _state_folder(environ: Mapping[str, str], platform: str) -> Path:
    """Give the platform's folder for what programs keep between runs."""
    if platform == "win32":
        local = environ.get("LOCALAPPDATA")
        return (Path(local) if local else _home(environ, "USERPROFILE") / "AppData" / "Local") / "imghost"
    if platform == "darwin":
        return _home(environ, "HOME") / "Library" / "Application Support" / "imghost"
    state = environ.get("XDG_STATE_HOME", "")
    # The XDG specification says to ignore a path that is not absolute.
    return (Path(state) if Path(state).is_absolute() else _home(environ, "HOME") / ".local" / "state") / "imghost"


def _home(environ: Mapping[str, str], variable: str) -> Path:
    if home := environ.get(variable):
        return Path(home)
    raise StateError(f"there is no place for the payment journal, since {variable} is not set; set {VARIABLE}")
