"""Deleting at img.pro, which cannot be undone: by ids alone, and only this project's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from typing import Final

from imghost.errors import Action, HostError
from imghost.hosts.imgpro.api import is_id, is_success, read, read_batch, read_list, read_media
from imghost.hosts.imgpro.options import NAME, Generation
from imghost.hosts.imgpro_api import Api
from imghost.hosts.imgpro_refusals import read_refusal
from imghost.net.client import Answer

BATCH: Final = 100
"""Ids that the host deletes at once."""
CHOSEN: Final = 50
"""Ids that the host looks up at once."""

Reasons = dict[str, str]
"""Why each image that could not be deleted is still there, by its id."""


def delete(api: Api, generation: Generation, listed: Set[str], ids: Sequence[str]) -> Reasons:
    """Delete images of the project, of which those `listed` are known to be; give why for each that was not."""
    asked = list(dict.fromkeys(ids))
    sound = [name for name in asked if is_id(name)]
    kept = {name: f"is no id of an image at {NAME}" for name in asked if not is_id(name)}
    found, foreign = _sorted_out(api, generation, [name for name in sound if name not in listed])
    ours = [name for name in sound if name in listed or name in found]
    return kept | foreign | _each(ours, BATCH, lambda batch: _deleted(api, generation, batch))


def _each(ids: Sequence[str], size: int, act: Callable[[Sequence[str]], Reasons]) -> Reasons:
    """Act on the ids part by part; after a refusal that concerns all of them, the rest is not tried."""
    kept: Reasons = {}
    for start in range(0, len(ids), size):
        try:
            kept |= act(ids[start : start + size])
        except HostError as problem:
            is_over = problem.action is not Action.FILE
            kept |= dict.fromkeys(ids[start:] if is_over else ids[start : start + size], str(problem))
            if is_over:
                break
    return kept


def _sorted_out(api: Api, generation: Generation, ids: Sequence[str]) -> tuple[set[str], Reasons]:
    """Look up ids that no list has shown: those that are ours, and why the others stay; the rest is gone."""
    found: set[str] = set()

    def look_up(part: Sequence[str]) -> Reasons:
        kept: Reasons = {}
        for name, is_ours in (_chosen if generation == "images" else _singly)(api, part):
            if is_ours:
                found.add(name)
            else:
                kept[name] = "is not one of this project's images"
        return kept

    return found, _each(ids, CHOSEN, look_up)


def _chosen(api: Api, ids: Sequence[str]) -> Iterator[tuple[str, bool]]:
    answer = _granted(api.chosen(ids))
    for media in read(read_list, answer, "is no list of images", is_ambiguous=False).media:
        if media.id in ids:
            yield media.id, api.fields.own(media, "images")


def _singly(api: Api, ids: Sequence[str]) -> Iterator[tuple[str, bool]]:
    for name in ids:
        answer = api.one(name)
        if not _is_gone(answer):
            media = read(read_media, _granted(answer), "is no image", is_ambiguous=False)
            yield name, api.fields.own(media, "upload")


def _deleted(api: Api, generation: Generation, ids: Sequence[str]) -> Reasons:
    answer = api.delete(generation, ids)
    if generation == "upload" and _is_gone(answer):
        return _left(api, ids)
    kept, count = read(read_batch, _granted(answer), "does not tell what was deleted")
    if generation == "upload" and count != len(ids):
        return _left(api, ids)
    return {name: kept[name] for name in ids if name in kept}


def _left(api: Api, ids: Sequence[str]) -> Reasons:
    """See which of the images are still there, where the host has not said so of each."""
    answers = {name: api.one(name) for name in ids}
    return {
        name: f"is still at {NAME}" if is_success(answer) else str(read_refusal(answer).error())
        for name, answer in answers.items()
        if not _is_gone(answer)
    }


def _is_gone(answer: Answer) -> bool:
    return answer.status in {404, 410}


def _granted(answer: Answer) -> Answer:
    if not is_success(answer):
        raise read_refusal(answer).error()
    return answer
