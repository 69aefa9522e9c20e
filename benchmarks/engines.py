"""The engines of shared records that are here: real servers on loopback, at the end of a slow line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"


def find() -> None:
    """Have the tests' doubles found."""
    for place in (TESTS, TESTS / "support"):
        if str(place) not in sys.path:
            sys.path.insert(0, str(place))


def far(stack: ExitStack, folder: Path, trip: float) -> Iterator[tuple[str, Callable[[], str], Mapping[str, str]]]:
    """Open each engine a round trip of so many seconds away; gives what makes a new store, and a build's environment.

    Each store has had a build before, which found out that it keeps conditions.
    A folder sleeps as long for each question and each write: no network drive can be mounted here.
    """
    find()
    from doubles.slow import SECONDS
    from doubles.stores import Line, Postgres, Weed, postgres_programs, weed_program

    from imghost.records.shared_folder import FolderStore
    from imghost.records.shared_postgres import PostgresStore
    from imghost.testing import write_entry

    folder.mkdir(parents=True)
    write_entry(folder / "entry", "slow", "doubles.slow:SlowFolder", "imghost.stores")
    known = os.pathsep.join((str(folder / "entry"), str(TESTS), str(TESTS.parent)))

    def fresh() -> str:
        place = folder / f"store{len(list(folder.iterdir()))}"
        place.mkdir()
        FolderStore(place.as_uri(), {}, 5.0).put("probe", "imghost\n", None)
        return "slow" + place.as_uri().removeprefix("file")

    yield "a folder", fresh, {SECONDS: str(trip), "PYTHONPATH": known}
    if postgres_programs():
        server = stack.enter_context(Postgres())
        line = stack.enter_context(Line(server.port, trip))

        def schema() -> str:
            url = server.fresh()
            made = PostgresStore(url, {}, 5.0)
            made.put("probe", "imghost\n", None)
            made.close()
            return url.replace(f":{server.port}/", f":{line.port}/")

        yield "PostgreSQL", schema, {}
    if weed_program():
        storage = stack.enter_context(Weed())
        port = int(storage.client.meta.endpoint_url.rpartition(":")[2])
        line_to_it = stack.enter_context(Line(port, trip))

        def prefix() -> str:
            url = storage.fresh()
            key = f"{url.removeprefix(f's3://{storage.bucket}/')}/probe"
            storage.client.put_object(Bucket=storage.bucket, Key=key, Body=b"imghost\n")
            return url

        yield "S3", prefix, {**storage.environ, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{line_to_it.port}"}
