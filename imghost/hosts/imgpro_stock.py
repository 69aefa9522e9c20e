"""What img.pro has of a project already: asked for once a run, and never more than the project's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Set
from typing import Final, NamedTuple

from imghost.errors import Action, HostError
from imghost.hosts.answers import unclear
from imghost.hosts.imgpro.api import Media, Page, is_success, read, read_list, read_media
from imghost.hosts.imgpro.options import NAME, Generation
from imghost.hosts.imgpro_api import Api
from imghost.hosts.imgpro_refusals import read_refusal
from imghost.net.client import Answer

PAGES: Final = 1_000
"""Answers of a hundred images after which a list counts as endless: twice the largest plan that is counted."""


class Labelled(NamedTuple):
    """The images that have some labels, or why the host does not list them."""

    media: tuple[Media, ...]
    refusal: HostError | None = None


class Stock:
    """A project's images at the host; safe to share between threads."""

    def __init__(self, api: Api, pages: int = PAGES) -> None:
        self._api = api
        self._pages_at_most = pages
        self._first: tuple[Page, HostError | None] | None = None
        self._whole: tuple[Media, ...] | None = None
        self._guard = threading.Lock()

    def labelled(self, wanted: Mapping[str, str]) -> Labelled:
        """Give the images that have all of these labels (`images` generation).

        Raises:
            HostError: the list may come later, or the key is wrong.
        """
        with self._guard:
            if self._first is None:
                self._first = self._asked("imghost", self._api.fields.project)
        page, refusal = self._first
        if page.has_more:
            # One question for all is enough only where the whole project fits into its answer.
            page, refusal = self._asked(*next(iter(wanted.items())))
        fitting = (one for one in page.media if all(one.labels.get(name) == text for name, text in wanted.items()))
        return Labelled(tuple(fitting), refusal)

    def named(self, name: str) -> tuple[Media, ...]:
        """Give the images that were sent under a name, with their size (`upload` generation)."""
        return tuple(self._sized(media) for media in self.whole("upload") if media.name == name)

    def whole(self, generation: Generation) -> tuple[Media, ...]:
        """Give all of the project's images.

        Raises:
            HostError: the host does not list them, or not to the end.
        """
        with self._guard:
            if self._whole is None:
                pages = self._pages(generation)
                own = self._api.fields.own
                self._whole = tuple(one for page in pages for one in page.media if own(one, generation))
            return self._whole

    def known(self) -> tuple[Media, ...]:
        """Give the project's images as far as they are listed already."""
        with self._guard:
            return self._whole or ()

    def forget(self, ids: Set[str]) -> None:
        """Leave out images that have been deleted."""
        with self._guard:
            self._first = None
            if self._whole is not None:
                self._whole = tuple(media for media in self._whole if media.id not in ids)

    def _pages(self, generation: Generation) -> Iterator[Page]:
        page, asked = Page(has_more=True), set[str]()
        while page.has_more:
            if page.cursor in asked or len(asked) == self._pages_at_most:
                raise _without_end()
            asked.add(page.cursor)
            page = _listed(self._api.page(generation, page.cursor))
            yield page

    def _asked(self, label: str, value: str) -> tuple[Page, HostError | None]:
        answer = self._api.images(label, value)
        refusal = None if is_success(answer) else read_refusal(answer).error()
        if refusal and answer.status != 401 and refusal.action not in {Action.WAIT, Action.RETRY}:
            # A host or key that does not list images can still store them.
            return Page(), refusal
        return _listed(answer), None

    def _sized(self, media: Media) -> Media:
        """Ask for the image alone where the list does not tell its size."""
        if None not in (media.width, media.height):
            return media
        answer = self._api.one(media.id)
        if is_success(answer):
            return read(read_media, answer, "is no image", is_ambiguous=False)
        return media


def _listed(answer: Answer) -> Page:
    if is_success(answer):
        return read(read_list, answer, "is no list of images", is_ambiguous=False)
    refusal = read_refusal(answer).error()
    refusal.is_ambiguous = False
    raise refusal


def _without_end() -> HostError:
    problem = unclear(NAME, "does not end its list of images")
    problem.action = Action.STOP
    problem.is_ambiguous = False
    return problem
