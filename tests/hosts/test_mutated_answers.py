"""Whatever a host answers to an upload, it is an image of that host's, or one printable line that says why not."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest
from doubles.messages import Reply, Request
from doubles.mutants import Mutator, repeats
from hosts.conformance_hosts import SERVED, Img402Permanent, S3Bucket, Served, ShelfByOthers
from trust.place import counted, tell

from imghost.errors import HostError
from imghost.hosts import Host
from imghost.models import Hosted, Payload
from imghost.records.lock import parse_record, render_record
from imghost.run.job import Upload
from imghost.run.upload import recorded
from imghost.testing import Bench, a_payload, a_setup
from imghost.testing.fake import an_image

ANSWERS = counted("ANSWERS", 200)
TRIES = 2
"""Times that an image is sent, where the first answer allows it: a host may then look for its copy."""
BOUND = 10.0
"""Seconds that an upload may take, with all that it asks on the way; the client's own deadline is shorter."""
MOMENT = datetime(2026, 11, 21, tzinfo=UTC)


OURS = [kind for kind in SERVED if kind is not ShelfByOthers]


@pytest.fixture(params=OURS, ids=lambda kind: kind.__name__)
def opened(request: pytest.FixtureRequest) -> Served:
    """Make each host in turn; the storage is started for the one that needs it."""
    found: Served = request.param()
    if isinstance(found, S3Bucket):
        found.storage = request.getfixturevalue("storage")
    found.max_cost = Decimal(1_000_000)
    return found


class Replay:
    """Answers as the double did when all went well, and changes the answers of one round at random."""

    def __init__(self, bench: Bench) -> None:
        self._server = bench.asked.server  # type: ignore[attr-defined]
        self._known: dict[tuple[str, str], list[Reply]] = {}
        self._honest = self._server.route
        self._server.route = self._learn
        self.sent = 0
        self._chance = Random(0)

    def _learn(self, request: Request) -> Reply:
        reply: Reply = self._honest(request)
        self._known.setdefault((request.method, kind_of(request)), []).append(reply)
        return reply

    def begin(self, seed: str) -> None:
        """Begin a round."""
        self._chance = Random(seed)
        self._server.route = self._answer
        self._server.log.clear()
        self._server._threads[1:] = [thread for thread in self._server._threads[1:] if thread.is_alive()]

    def _answer(self, request: Request) -> Reply:
        known = self._known.get((request.method, kind_of(request))) or [Reply.json({"error": "not_found"}, 404)]
        reply = self._chance.choice(known)
        if not is_upload(request) and self._chance.random() < 0.5:
            return reply
        self.sent += 1
        return Mutator(self._chance, repeats(request)).changed(reply)


def kind_of(request: Request) -> str:
    """Name what is asked: the tool, or the path without what differs from image to image."""
    if request.path.endswith("/mcp"):
        message = json.loads(request.body)
        return str(message["params"].get("name", message["method"]))
    is_paid = bool({"payment-signature", "x-payment"} & set(request.headers))
    return re.sub(r"[0-9a-f]{40,}", "…", request.path) + (" paid" if is_paid else "")


def is_upload(request: Request) -> bool:
    return request.method == "PUT" or (request.method == "POST" and b"PNG\r\n" in request.body)


@contextmanager
def replayed(opened: Served, folder: Path) -> Iterator[tuple[Bench, Replay]]:
    """Open a host on its double, and let it learn how all goes well: an upload, and a look for what is there."""
    with opened.bench(folder, is_ready=False, timeout=1.0) as bench:
        replay = Replay(bench)
        bench.host.ready()
        payload = a_payload(folder, 0)
        assert bench.host.upload(payload).is_new
        if hasattr(bench.host, "find"):
            bench.host.find(payload)
        if opened.is_idempotent and not isinstance(opened, Img402Permanent):
            bench.anew().upload(payload)
        yield bench, replay


def made(opened: Served, bench: Bench, folder: Path) -> Host:
    """Make a host that remembers nothing of earlier rounds; loading boto3 for each would take minutes."""
    if isinstance(opened, S3Bucket):
        bench.host._lacks = frozenset()  # type: ignore[attr-defined]
        return bench.host
    credential = opened.credential if opened.kind.credentials else None
    environ = dict(opened.environ)
    setup = a_setup(bench.client, folder, credential, opened.retention, environ, max_cost=opened.max_cost)
    return opened.host(bench.asked, setup)


def is_plainly_ours(url: str, host: Host) -> bool:
    """Say whether a URL is at one of a host's origins, by a way that shares no code with the host."""
    parts = urlsplit(url)
    origins = {origin.rstrip("/") for origin in host.origins}
    is_plain = re.fullmatch(r"[!-~]{1,1992}", url) and not set(url) & set("\"'<>\\`{}|^#@,()")
    path = parts.path.split("/")
    return (
        bool(is_plain)
        and f"{parts.scheme}://{parts.netloc}" in origins
        and not {"", ".", ".."} & set(path[1:])
        and path[-1].endswith((".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".svg"))
    )


def check_hosted(bench: Bench, host: Host, payload: Payload, hosted: Hosted) -> None:
    """Check that what an upload gave is one of the host's images, and that the lock can keep it."""
    assert host.accepts(hosted.url), hosted
    assert is_plainly_ours(hosted.url, host), hosted
    assert not bench.holds_secret(repr(hosted)), hosted
    assert re.fullmatch(r"[!-~]{1,1000}", hosted.id), hosted
    upload = Upload(an_image(payload), "", ("images/a.png",))
    moment = hosted.expires and hosted.expires.replace(microsecond=0)
    record = recorded(upload, payload, hosted, host.name, MOMENT)
    found = parse_record(render_record(record))
    assert (found.url, found.id, found.expires) == (hosted.url, hosted.id, moment)


def tried(bench: Bench, host: Host, payload: Payload, chance: Random) -> str:
    """Upload as a run would, and name what came of it."""
    try:
        if chance.random() < 0.2:
            host.ready()
        for attempt in range(TRIES):
            try:
                hosted = host.upload(payload)
            except HostError as error:
                if error.action.name not in {"RETRY", "WAIT"} or attempt + 1 == TRIES:
                    raise
                bench.check_text(error)
            else:
                check_hosted(bench, host, payload, hosted)
                return "HOSTED"
    except HostError as error:
        bench.check_text(error)
        return error.action.name
    raise AssertionError("it neither succeeded nor failed")


@pytest.mark.sampled(1)
@pytest.mark.timeout(36_000)
def test_a_mutated_answer_ends_as_an_image_of_the_host_or_as_one_printable_line(opened: Served, tmp_path: Path) -> None:
    name = type(opened).__name__
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    with replayed(opened, tmp_path) as (bench, replay):
        number = 0
        while replay.sent < ANSWERS:
            number += 1
            seed = f"{name} {number}"
            replay.begin(seed)
            payload = a_payload(tmp_path, number)
            begin = time.monotonic()
            try:
                outcomes[tried(bench, made(opened, bench, tmp_path), payload, Random(seed))] += 1
            except Exception as broken:
                raise AssertionError(f"round {seed!r} broke with {broken!r}") from broken
            slowest = max(slowest, time.monotonic() - begin)
            payload.file.unlink()
    assert slowest < BOUND
    assert len(outcomes) >= 3
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    tell(f"{replay.sent} mutated answers to {number} uploads at {name}: {counts}; slowest {slowest:.2f} s")
