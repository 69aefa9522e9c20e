"""What imageupload.io already has of a project: its folder, and the images in it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from imghost.errors import Action, HostError
from imghost.hosts.answers import unclear
from imghost.hosts.imageupload.api import FOLDER, SLUG, Entry, read_entries, read_folders, read_slug
from imghost.hosts.imageupload.options import NAME
from imghost.hosts.imageupload_api import Api
from imghost.hosts.imageupload_refusals import NOT_FOUND, ToolError

PAGE: Final = 100
"""Images in one answer of a list, at most."""
PAGES: Final = 200
"""Answers that are read at most."""

_Read = TypeVar("_Read")


class Stock:
    """Knows the folder's slug and lists its images, once a run unless told to look again."""

    def __init__(self, api: Api, folder: str) -> None:
        self._api = api
        self._folder = folder
        self._slug = ""
        self._entries: tuple[Entry, ...] | None = None
        self._stopped: HostError | None = None
        self._guard = threading.RLock()

    @property
    def slug(self) -> str:
        """The slug of the project's folder, as far as known; empty without one."""
        return self._slug or _kebab(self._folder)

    def make_folder(self) -> None:
        """Make the folder if there is none.

        Where the tools are out of order, its name's usual slug is used, and the upload shows whether it exists.

        Raises:
            HostError: the host refuses the credential, or to make the folder.
        """
        with self._guard:
            if not self._folder or self._slug:
                return
            problem = self._try_folder()
        if isinstance(problem, ToolError) and problem.is_about_key:
            raise problem
        is_refused = isinstance(problem, ToolError) and problem.code is not None and problem.action is Action.FILE
        if problem and (is_refused or not self.slug):
            raise HostError(
                Action.STOP,
                f"{NAME} does not make the folder {self._folder!r}: {problem.reason}",
                remedy="make it at imageupload.io, or set another `folder`",
            )

    def _try_folder(self) -> HostError | None:
        try:
            self._slug = self._known_slug() or read_slug(self._api.call("create_folder", name=self._folder))
        except HostError as problem:
            return problem
        return None

    def _known_slug(self) -> str:
        known = _read(read_folders, self._api.call("list_folders"), "is no list of folders")
        return known.get(self._folder) or known.get(_kebab(self._folder), "")

    def forget(self) -> None:
        """Look again at the next question: something may have been stored since."""
        with self._guard:
            self._entries = None

    def entries(self) -> tuple[Entry, ...]:
        """List the folder's images, or all that are the account's where there is no folder; raises HostError."""
        with self._guard:
            if self._stopped:
                raise self._stopped.with_traceback(None)
            try:
                if self._entries is None:
                    self._entries = self._listed()
            except HostError as problem:
                if problem.action is Action.STOP:
                    self._stopped = problem
                raise
            return self._entries

    def _listed(self) -> tuple[Entry, ...]:
        if self._folder and not self._slug:
            self._slug = self._known_slug()
            if not self._slug:
                return ()
        entries: dict[str, Entry] = {}
        seen = 0
        for _ in range(PAGES):
            page, count = self._page(seen)
            known = len(entries)
            entries |= {entry.slug: entry for entry in page}
            seen += count
            # A host that ignores `offset` gives the same page for ever.
            if count == 0 or (page and len(entries) == known):
                break
        ours = {None, self._slug, self._folder}
        return tuple(entry for entry in entries.values() if not self._slug or entry.folder in ours)

    def _page(self, offset: int) -> tuple[list[Entry], int]:
        wanted = {"folder": self._slug} if self._slug else {}
        found = self._api.call("list_images", **wanted, limit=PAGE, offset=offset)
        return _read(read_entries, found, "is no list of images")

    def delete(self, ids: Sequence[str]) -> dict[str, str]:
        """Delete images, one call each; gives why for each that was not."""
        kept: dict[str, str] = {}
        stop = "" if self.slug else "no `folder` is set, so nothing is known to be this project's"
        for slug in ids:
            if stop or not SLUG.fullmatch(slug):
                kept[slug] = stop or "it is no image's id at this host"
                continue
            try:
                self._delete(slug)
            except HostError as problem:
                kept[slug] = str(problem)
                if problem.action in {Action.STOP, Action.WAIT}:
                    stop = f"was not tried: {problem}"
        self.forget()
        return kept

    def _delete(self, slug: str) -> None:
        """Delete an image; one that is not there is no error.

        Raises:
            HostError: it may still be there.
        """
        try:
            self._api.call("delete_image", slug=slug)
        except ToolError as problem:
            is_gone = problem.is_missing
            if is_gone is None:
                is_gone = not self._has(slug)
            if not is_gone:
                raise

    def _has(self, slug: str) -> bool:
        """Ask for an image by itself, where one code means both that it is gone and that the storage is down."""
        try:
            self._api.call("get_image", slug=slug)
        except ToolError as problem:
            return problem.code != NOT_FOUND or problem.is_missing is False
        return True


def _read(reader: Callable[[Mapping[str, Any]], _Read], found: Mapping[str, Any], lack: str) -> _Read:
    try:
        return reader(found)
    except ValueError:
        problem = unclear(NAME, lack)
    problem.is_ambiguous = False
    raise problem


def _kebab(name: str) -> str:
    """Guess the slug that the host makes of a folder's name; empty where it cannot be guessed."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return slug if FOLDER.fullmatch(slug) else ""
