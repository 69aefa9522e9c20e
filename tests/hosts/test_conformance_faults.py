"""Every fault at every host, through the loop that a build uses: it ends as values, in time, with the site whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from doubles.server import Fault
from hosts.conformance_hosts import SERVED, S3Bucket, Served
from sites import image_urls, small_site, tree

from imghost import settings
from imghost.hosts import Host
from imghost.models import Record
from imghost.net import Client
from imghost.run.job import Job, Outcome, Upload
from imghost.run.rehost import Result, rehost
from imghost.run.upload import UploadContext, upload_all
from imghost.testing import Bench, a_payload, write_entry
from imghost.testing.fake import an_image

EARLY = (Fault.RESET_BEFORE_BODY, Fault.EARLY_413)
"""Faults that the server picks before it has seen what the body holds."""
LATE = tuple(fault for fault in Fault if fault not in EARLY)
BOUND = 40.0
"""Seconds that all faults together may take, eight at a time."""
SETTLING = 4.0
"""Seconds that a payment gets: on a busy machine the chain, which settles one at a time, keeps eight of them waiting."""


@pytest.fixture(params=SERVED, ids=lambda kind: kind.__name__)
def opened(request: pytest.FixtureRequest) -> Served:
    """Make each host in turn; the storage is started for the one that needs it."""
    found: Served = request.param()
    if isinstance(found, S3Bucket):
        found.storage = request.getfixturevalue("storage")
    return found


def context_of(bench: Bench, folder: Path, numbers: Mapping[str, int], kept: list[Record]) -> UploadContext:
    def prepare(upload: Upload) -> Any:
        return a_payload(folder, numbers[upload.image.sha256])

    return UploadContext(
        host=bench.host,
        client=bench.client,
        prepare=prepare,
        bring=None,
        intend=lambda payload: None,
        settle=lambda payload: None,
        earn=kept.append,
        doubtful=frozenset(),
        now=lambda: datetime.now(UTC),
        tries=5,
        concurrency=8,
        verify=True,
        sleep=lambda seconds: time.sleep(min(seconds, 0.05)),
    )


def carried_out(bench: Bench, folder: Path, numbers: range, kept: list[Record]) -> dict[int, Outcome]:
    """Upload pictures of these numbers as a build would, and give what became of each."""
    images = {number: an_image(a_payload(folder, number)) for number in numbers}
    known = {image.sha256: number for number, image in images.items()}
    context = context_of(bench, folder, known, kept)
    context = replace(context, is_first_alone=not bench.host.ready().is_proven)
    uploads = [Upload(image, "", (f"{number}.png",)) for number, image in images.items()]
    outcomes = list(upload_all(uploads, context))
    assert len(outcomes) == len(uploads)
    return {known[outcome.upload.image.sha256]: outcome for outcome in outcomes}


def texts(outcomes: Mapping[int, Outcome]) -> str:
    return "\n".join(f"{outcome.failure} {outcome.stop} {outcome.record}" for outcome in outcomes.values())


@pytest.mark.sampled(1)
def test_every_fault_is_outlived_and_leaves_no_more_copies_than_it_must(
    opened: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept: list[Record] = []
    numbers = range(len(LATE))
    with caplog.at_level(1), opened.bench(tmp_path, timeout=SETTLING if opened.max_cost else 1.0) as bench:
        for number, fault in zip(numbers, LATE, strict=True):
            bench.asked.mark(a_payload(tmp_path, number).file.read_bytes(), fault)
        begin = time.monotonic()
        outcomes = carried_out(bench, tmp_path, numbers, kept)
        assert time.monotonic() - begin < BOUND
        assert bench.asked.unspent == []
        lost = {LATE[number].name: outcome.failure for number, outcome in outcomes.items() if not outcome.record}
        assert lost == {}
        assert {record.url for record in kept} == {outcome.record.url for outcome in outcomes.values()}
        assert len({record.url for record in kept}) == len(LATE)
        extra = 0 if opened.is_idempotent or opened.looks_first else len(LATE)
        assert len(LATE) <= bench.asked.stored <= len(LATE) + extra
        assert not bench.holds_secret(texts(outcomes) + caplog.text)


@pytest.mark.parametrize("fault", EARLY, ids=lambda fault: fault.name)
def test_a_fault_before_the_body_is_a_value_too(opened: Served, tmp_path: Path, fault: Fault) -> None:
    with opened.bench(tmp_path) as bench:
        bench.asked.server.fail(fault, when=bench.asked._is_upload)
        outcomes = carried_out(bench, tmp_path, range(1), [])
        outcome = outcomes[0]
        if fault is Fault.EARLY_413:
            assert "413" in str(outcome.failure)
            assert outcome.record is None
        else:
            assert outcome.record is not None
            assert bench.asked.stored == 1
        assert not bench.holds_secret(texts(outcomes))


def published(opened: Served, double: Any, folder: Path) -> Result:
    """Publish a site with a whole run, as a user's settings have it."""
    raw: dict[str, Any] = {"host": opened.kind.name, "options": opened.options(double), "retries": 2}
    raw |= {"timeout": 5, "max_cost": str(opened.max_cost), "concurrency": 2}
    if opened.retention:
        raw["retention"] = f"{opened.retention.days}d"
    credential = {opened.kind.credentials[0]: opened.credential} if opened.credential else {}
    environ = {**opened.at_home(folder), **credential}
    return rehost(Job(folder / "site", settings.read(raw, folder), environ))


@pytest.mark.sampled(3)
def test_a_site_with_one_image_that_never_arrives_stays_whole(
    opened: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page shows that image from its own folder and the others from the host, which serves them."""
    write_entry(tmp_path / "entry", "shelf", "third_party.imghost_shelf:Shelf")
    monkeypatch.syspath_prepend(str(tmp_path / "entry"))
    site = small_site(tmp_path / "site", count=3)
    before = tree(site)
    with opened.double() as double, Client(5, environ={}) as reader:
        always: Callable[[Any], bool] = lambda request: before["images/1.png"] in request.body  # noqa: E731
        double.server._marked.append((Fault.RESET_AFTER_BODY, always))
        result = published(opened, double, tmp_path)
        urls = image_urls((site / "index.html").read_bytes())
        served = [reader.fetch(url).headers["content-type"] for url in urls if "://" in url]
    assert [url for url in urls if "://" not in url] == ["images/1.png"]
    assert served == ["image/png", "image/png"]
    assert (site / "images/1.png").read_bytes() == before["images/1.png"]
    assert [failure.path for failure in result.report.failures] == ["images/1.png"]
    written = b"".join(tree(tmp_path).values()).decode("latin-1") + repr(result)
    secrets = opened.secrets()
    assert not [secret for secret in secrets if secret in written]


def test_the_host_of_another_package_fits_the_protocol() -> None:
    found: Callable[..., Host] = SERVED[-1].kind
    assert found.__name__ == "Shelf"
