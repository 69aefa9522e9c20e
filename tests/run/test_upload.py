"""The loop of uploads: what one group of threads leaves is no stop for the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import pytest
from doubles.imgpro import ImgPro
from sites import tree
from trust.place import Project, assert_done, built_site

from imghost.errors import HostError
from imghost.net import Client
from imghost.records.cache import Cache
from imghost.run.job import Upload
from imghost.run.upload import SharedState, UploadContext, upload_one
from imghost.testing import FakeStore, a_payload, fake_host
from imghost.testing.fake import an_image


@pytest.fixture
def _slow_ends() -> Iterator[None]:
    """Let each worker live a while after its last outcome, as on a machine that is busy."""

    def linger(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code.co_name == "_serve":
            time.sleep(0.1)

    threading.setprofile(linger)
    yield
    threading.setprofile(None)


@pytest.mark.usefixtures("_slow_ends")
def test_the_first_upload_alone_does_not_stop_the_others_by_ending_late(tmp_path: Path) -> None:
    """Its thread was once taken for one that an interrupted run leaves, and every other image stayed local."""
    with ImgPro("images") as host:
        project = Project(tmp_path, host)
        before = tree(built_site(project.site))
        result = project.build()
        assert (result.notices, len(host.copies)) == ((), 3)
        assert_done(project, before)


@pytest.mark.parametrize(
    ("faults", "is_open"),
    [
        (["refused"], False),
        (["lost", "refused"], False),
        (["quota"], False),
        (["lost", "quota"], True),
    ],
)
def test_a_final_answer_ends_the_intent(tmp_path: Path, faults: list[str], is_open: bool) -> None:
    """Else each later build would say that the image may be stored twice."""
    with FakeStore(is_idempotent=False) as store, Client(5, environ={}) as client:
        cache = Cache.load(tmp_path / "cache")
        payload = a_payload(tmp_path, 1)
        image = an_image(payload)
        state = SharedState()

        def sleep(_: float) -> None:
            if faults[-1] == "refused":
                store.refuse(payload.sha256)
            else:
                store.quota = 0

        if faults[0] == "lost":
            store.lose()
        else:
            sleep(0)
        context = UploadContext(
            host=fake_host(store, client, tmp_path),
            client=client,
            prepare=lambda _: payload,
            bring=None,
            intend=lambda payload: cache.intend(payload.image, "fake", payload.variant),
            settle=lambda payload: cache.settle(payload.image, "fake", payload.variant),
            earn=cache.keep,
            doubtful=frozenset(),
            now=lambda: datetime.now(UTC),
            tries=3,
            concurrency=1,
            verify=False,
            sleep=sleep,
        )
        with pytest.raises(HostError):
            upload_one(Upload(image, "", ("1.png",)), context, state)
        cache.close()
        assert bool(Cache.load(tmp_path / "cache").intents()) is is_open


@pytest.mark.parametrize("variant", ["", "strip", "import", "edge100+webp80"])
@pytest.mark.parametrize("over", [0, 1, 5_000])
def test_what_is_sent_is_measured_and_not_the_file_that_it_was(tmp_path: Path, variant: str, over: int) -> None:
    """What an image became may have more bytes than it had, and of an external one nothing is known before."""
    with FakeStore() as store, Client(5, environ={}) as client:
        host = fake_host(store, client, tmp_path)
        assert host.limits.max_bytes is not None
        payload = replace(a_payload(tmp_path, 1), variant=variant, bytes=host.limits.max_bytes + over)
        context = UploadContext(
            host=host,
            client=client,
            prepare=lambda _: payload,
            bring=None,
            intend=lambda _: None,
            settle=lambda _: None,
            earn=lambda _: None,
            doubtful=frozenset(),
            now=lambda: datetime.now(UTC),
            tries=1,
            concurrency=1,
            verify=False,
        )
        upload = Upload(an_image(payload), variant, ("1.png",))
        if not over:
            upload_one(upload, context, SharedState())
            assert len(store.images) == 1
            return
        with pytest.raises(HostError, match="what is sent for it has") as refusal:
            upload_one(upload, context, SharedState())
        assert "oversize: resize" in refusal.value.remedy
        assert store.images == {}
