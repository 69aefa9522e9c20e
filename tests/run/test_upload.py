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
from doubles.server import Reply, Server
from sites import tree
from trust.place import Project, assert_done, built_site

from imghost.errors import Action, HostError
from imghost.hosts import Hosted, Quota
from imghost.models import IMPORT, Record
from imghost.net import Client
from imghost.records.cache import Cache
from imghost.run.job import Upload
from imghost.run.publish import _allowed
from imghost.run.upload import Content, SharedState, UploadContext, confirm, recorded, upload_one
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


A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("other", "may_be"),
    [
        (Content(A, 0, "", (None, None)), True),
        (Content(B, 10, "image/png", (4, 3)), False),
        (Content("", 10, "image/png", (4, 3)), True),
        (Content("", 0, "", (None, None)), True),
        (Content("", 11, "image/png", (4, 3)), False),
        (Content("", 0, "image/gif", (None, None)), False),
        (Content("", 0, "", (4, 4)), False),
    ],
)
def test_a_url_that_two_images_got_is_one_images_if_nothing_that_is_known_differs(
    other: Content, *, may_be: bool
) -> None:
    """Two images of one length, type and size are not the same one: the page of the second would show the first."""
    mine = Content(A, 10, "image/png", (4, 3))
    assert (mine.may_be(other), other.may_be(mine)) == (may_be, may_be)


def test_the_address_of_an_external_image_stands_in_no_message_and_no_record(tmp_path: Path) -> None:
    """Its query may be what lets somebody see the image."""
    payload = a_payload(tmp_path, 1)
    here, there = "a/b.png?c", "https://elsewhere.example/b.png?token=hidden"
    own, other = Upload(an_image(payload), "", (here,)), Upload(an_image(payload), IMPORT, (there,))
    assert (own.shown, other.shown) == (here, "https://elsewhere.example/b.png")
    records = [
        recorded(one, payload, Hosted("https://h.example/1", "1"), "h", datetime.now(UTC)) for one in (own, other)
    ]
    assert [record.extra for record in records] == [{"path": here}, {}]


@pytest.mark.parametrize(
    ("status", "action", "remedy"),
    [
        (404, Action.FILE, "the next build asks again"),
        (410, Action.FILE, "the next build asks again"),
        (401, Action.RETRY, "make the bucket or the image public"),
        (403, Action.RETRY, "make the bucket or the image public"),
        (402, Action.RETRY, "the next build asks again"),
        (500, Action.RETRY, "the next build asks again"),
    ],
)
def test_a_url_that_shows_no_image_is_dead_only_where_the_server_says_so(
    status: int, action: Action, remedy: str
) -> None:
    """What is dead is uploaded, and may be paid, again."""
    with Server(lambda _: Reply(status)) as server, Client(5, environ={}) as client:
        record = Record(A, "h", f"{server.url}/a.png", "1", "", 10, "image/png", 4, 3, datetime.now(UTC))
        with pytest.raises(HostError) as caught:
            confirm(record, client, 1)
    assert caught.value.action is action
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("remaining", "link", "allowed"),
    [(None, "", 5), (None, "more", 5), (0, "more", 0), (0, "", 1), (3, "more", 3), (3, "", 4), (9, "", 5), (-1, "", 1)],
)
def test_no_more_is_sent_than_the_host_has_room_for_but_one_where_only_its_refusal_tells(
    remaining: int | None, link: str, allowed: int
) -> None:
    assert _allowed(Quota(remaining, link=link), 5) == allowed
