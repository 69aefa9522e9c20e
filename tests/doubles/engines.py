"""Stores for shared records on their engines, for tests of whole builds."""

from __future__ import annotations

import json
import secrets
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from doubles.stores import Moto, Postgres
from imghost.records.shared import Store, open_store


class Folder:
    """A store in a folder, which nobody can count requests to."""

    environ: Mapping[str, str] = {}

    def __init__(self, root: Path) -> None:
        self._root = root

    def fresh(self) -> str:
        place = self._root / secrets.token_hex(8)
        place.mkdir(parents=True)
        return place.as_uri()


Engine = Folder | Postgres | Moto


@contextmanager
def opened(engine: Engine, url: str) -> Iterator[Store]:
    """Open a store as a build does, but patiently; for S3 the environment has to have the credential.

    moto's server answers one request at a time, and eight builds ask it meanwhile.
    """
    store = open_store(url, engine.environ, 60.0)
    try:
        yield store
    finally:
        store.close()


def end_claims(store: Store, of: Container[str] | None = None) -> int:
    """Let every claim's time be over, as it is a minute after its holder died; gives how many there were.

    One that is written meanwhile is not ended. `of` names the projects whose claims these are; None = all.
    """
    count = 0
    for path in list(store.listed("records/")):
        entry = store.get(path)
        assert entry is not None
        fields = json.loads(entry.text)
        if fields["claim"] and (of is None or fields["project"] in of):
            fields["claim"]["lease"] = 1e-9
            count += store.put(path, json.dumps(fields), entry.tag) is not None
    return count


def states(store: Store) -> list[dict[str, object]]:
    """Read all entries of records."""
    entries = store.get_all(list(store.listed("records/")))
    return [json.loads(entry.text) for entry in entries.values()]
