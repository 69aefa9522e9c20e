"""Brings an image home from a URL in a page, as a fetcher must that strangers' pages feed.

Nothing is sent but the URL; only public addresses are asked, also after redirects; size, time and the
number of redirects are capped. What comes is written to a private file and not looked at: the caller
judges the bytes.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imghost.errors import Action, HostError
from imghost.public_addresses import ALLOWED, Resolve, check_public, public_addresses
from imghost.urls import ExternalUrl, absolute, external_url, key_of, selected
from imghost.wording import printable

if TYPE_CHECKING:
    import httpx

    from imghost.net.wire import Wire

__all__ = ["ALLOWED", "LIMIT", "absolute", "check_public", "download", "key_of", "selected"]

LIMIT: Final = 20_000_000
"""Bytes of the largest image that is downloaded."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST: Final = 3
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_IMAGE: Final = re.compile(r"image/[a-z0-9.+-]+[ \t]*(?:;.*)?", re.I | re.A)
_REMEDY: Final = "take it out of 'remote', or put the image into the site"


def download(
    url: str,
    folder: Path,
    *,
    environ: Mapping[str, str],
    timeout: float = 30.0,
    limit: int = LIMIT,
    resolve: Resolve | None = None,
) -> Path:
    """Fetch an image by its URL into a new file of `folder` that only this user can read.

    `timeout` is in seconds for everything together, name look-ups and redirects too. The address
    that was checked is the one that is connected to; a proxy of `environ` looks the name up itself,
    after it was checked here.

    Raises:
        HostError: there is no image (FILE), or none now (RETRY); no message has a path or a query.
    """
    from imghost.net.wire import UnreadAnswerError, Wire

    deadline = time.monotonic() + timeout
    try:
        with closing(Wire(timeout, environ, 1)) as wire, _Copy(folder, key_of(url)[:12], limit) as copy:
            _follow(url, wire, copy, environ, deadline, resolve)
            return copy.kept()
    except UnreadAnswerError as error:
        failure = HostError(Action.FILE, error.reason, remedy=_REMEDY)
    except HostError as error:
        # What a stranger's server does stops nobody else's image.
        action = Action.RETRY if error.action is Action.RETRY else Action.FILE
        failure = HostError(action, error.reason, remedy=error.remedy)
    raise failure


class _Copy:
    """A new private file for an answer's body, which goes away unless it is kept."""

    def __init__(self, folder: Path, name: str, limit: int) -> None:
        self._folder = folder
        self._name = name
        self._limit = limit
        self._host = ""
        self._left = limit
        self._begun: list[Path] = []
        self._descriptor = -1

    def __enter__(self) -> _Copy:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        for path in self._begun:
            path.unlink(missing_ok=True)

    def expect(self, host: str) -> None:
        """Say whose answer comes next, for messages."""
        self._host = host

    def begin(self, status: int, headers: Mapping[str, str]) -> bool:
        """Open the file for an answer that is an image."""
        if status != 200:
            return False
        if not _IMAGE.fullmatch(headers.get("content-type", "")):
            kind = printable(headers.get("content-type", "") or "nothing that it names", 60)
            raise HostError(Action.FILE, f"{self._host} gave {kind} in place of an image", remedy=_REMEDY)
        length = headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 18 or int(length) > self._limit):
            raise self._too_large()
        try:
            self._descriptor, path = tempfile.mkstemp(prefix=f"{self._name}-", dir=self._folder)
        except OSError as error:
            raise self._unwritten(error) from None
        self._begun.append(Path(path))
        return True

    def take(self, chunk: bytes) -> None:
        """Write the next bytes, unless they are too many."""
        self._left -= len(chunk)
        if self._left < 0:
            raise self._too_large()
        try:
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise self._unwritten(error) from None

    def kept(self) -> Path:
        """Give the whole file, to stay."""
        self._close()
        return self._begun.pop()

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _too_large(self) -> HostError:
        return HostError(Action.FILE, f"{self._host} gave more than {self._limit:,} bytes", remedy=_REMEDY)

    def _unwritten(self, error: OSError) -> HostError:
        return HostError(Action.FILE, f"the download cannot be written: {error.strerror}", remedy="make room for it")


def _follow(
    url: str, wire: Wire, copy: _Copy, environ: Mapping[str, str], deadline: float, resolve: Resolve | None
) -> None:
    """Ask the URL, and where it leads, until an answer's body is in the copy."""
    here = _plain(url, "it")
    for _ in range(_MOST + 1):
        addresses = public_addresses(here, environ, resolve=resolve, deadline=deadline)
        copy.expect(here.name)
        request = _request(wire, here)
        status, headers, _body = wire.exchange(request, 0, cut=False, sink=copy, addresses=addresses, deadline=deadline)
        if status == 200:
            return
        if status not in _REDIRECTS:
            action = Action.RETRY if status in _PASSING else Action.FILE
            raise HostError(action, f"{here.name} answered {status}", remedy=_REMEDY)
        here = _next(here, request.url, headers.get("location", ""))
    raise HostError(Action.FILE, f"{here.name} redirects more than {_MOST} times", remedy=_REMEDY)


def _plain(url: str, name: str) -> ExternalUrl:
    found = external_url(url)
    if found is None:
        # The URL may hold a password, so it is not shown.
        raise HostError(Action.FILE, f"{name} is not a plain http or https URL", remedy=_REMEDY)
    return found


def _request(wire: Wire, here: ExternalUrl) -> httpx.Request:
    try:
        return wire.request("GET", absolute(str(here)), {})
    except HostError:
        reason = f"{here.name} is not a name that a host can have"
    raise HostError(Action.FILE, reason, remedy=_REMEDY)


def _next(here: ExternalUrl, asked: httpx.URL, location: str) -> ExternalUrl:
    """Resolve a redirect, and refuse one that leaves https."""
    import httpx

    try:
        there = str(asked.join(location)) if location else ""
    except (httpx.InvalidURL, ValueError):
        there = ""
    found = _plain(there, f"what {here.name} redirects to")
    if here.scheme == "https" and found.scheme != "https":
        raise HostError(Action.FILE, f"{here.name} redirects from https to http, which is refused", remedy=_REMEDY)
    return found
