"""The loop of uploads: what one group of threads leaves is no stop for the next."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import pytest
from doubles.imgpro import ImgPro
from doubles.server import Reply, Server
from hypothesis import given, settings
from hypothesis import strategies as st
from sites import tree
from trust.place import Project, assert_done, built_site

from imghost import threads
from imghost.errors import Action, HostError, StateError
from imghost.hosts import Hosted, Quota
from imghost.image.payload import PayloadError
from imghost.models import IMPORT, Payload, Record
from imghost.net import Client
from imghost.records import is_confirmed
from imghost.records.cache import Cache
from imghost.run.job import Outcome, Upload
from imghost.run.publish import _allowed
from imghost.run.upload import (
    Content,
    SharedState,
    UploadContext,
    confirm,
    preparing,
    recorded,
    upload_all,
    upload_one,
)
from imghost.testing import FakeStore, Fault, a_payload, fake_host
from imghost.testing.fake import an_image


def context_of(store: FakeStore, client: Client, folder: Path) -> UploadContext:
    """Make what uploads to a fake host need; nothing is kept."""
    return UploadContext(
        host=fake_host(store, client, folder),
        client=client,
        prepare=lambda upload: a_payload(folder, int(upload.paths[0])),
        bring=None,
        intend=lambda _: None,
        settle=lambda _: None,
        earn=lambda _: None,
        doubtful=frozenset(),
        now=lambda: datetime.now(UTC),
        tries=3,
        concurrency=1,
        verify=False,
    )


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


def test_a_store_that_cannot_note_an_upload_ends_them_all(tmp_path: Path) -> None:
    with FakeStore() as store, Client(5, environ={}) as client:
        asked: list[Payload] = []

        def intend(payload: Payload) -> None:
            asked.append(payload)
            raise StateError("it cannot be noted")

        context = replace(context_of(store, client, tmp_path), intend=intend)
        uploads = [Upload(an_image(a_payload(tmp_path, number)), "", (str(number),)) for number in range(3)]
        outcomes: list[Outcome] = []
        with pytest.raises(StateError, match="it cannot be noted"):
            outcomes.extend(upload_all(uploads, context))
        assert (len(asked), store.stored) == (1, 0)


def test_where_the_system_gives_no_thread_one_line_says_what_would_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    with FakeStore() as store, Client(5, environ={}) as client:
        monkeypatch.setattr(threads._thread, "start_new_thread", start)
        uploads = [Upload(an_image(a_payload(tmp_path, 1)), "", ("1",))]
        with pytest.raises(
            StateError, match="no more is uploaded, since the system says: can't start new thread; give"
        ):
            list(upload_all(uploads, context_of(store, client, tmp_path)))
        monkeypatch.undo()
        assert store.stored == 0


def test_what_is_under_way_when_a_build_is_interrupted_is_waited_for_and_given(tmp_path: Path) -> None:
    """Else the host has an image that nobody knows of."""
    with FakeStore() as store, Client(5, environ={}) as client:
        serve, begun = store._server._route, threading.Event()

        def route(seen: Any) -> Any:
            if seen.method == "PUT" and store.stored:
                begun.set()
                time.sleep(0.5)
            return serve(seen)

        store._server._route = route
        uploads = [Upload(an_image(a_payload(tmp_path, number)), "", (str(number),)) for number in range(3)]
        line = upload_all(uploads, replace(context_of(store, client, tmp_path), verify=True))
        outcomes = [next(line)]
        assert begun.wait(5)
        with suppress(KeyboardInterrupt):
            outcomes.append(line.throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            outcomes.extend(line)
        assert [is_confirmed(outcome.record) for outcome in outcomes if outcome.record] == [True, True]
        assert store.stored == 2


@pytest.mark.parametrize(
    ("faults", "is_open"),
    [
        (["refused"], False),
        (["lost", "refused"], False),
        (["quota"], False),
        (["lost", "quota"], True),
        (["elsewhere"], True),
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

        if faults[0] == "elsewhere":  # it has the image, and gave an address that no page may name
            store.fail(Fault.ELSEWHERE)
        elif faults[0] == "lost":
            store.lose()
        else:
            sleep(0)
        context = replace(
            context_of(store, client, tmp_path),
            prepare=lambda _: payload,
            intend=lambda payload: cache.intend(payload.image, "fake", payload.variant),
            settle=lambda payload: cache.settle(payload.image, "fake", payload.variant),
            earn=cache.keep,
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
        context = replace(context_of(store, client, tmp_path), host=host, prepare=lambda _: payload, tries=1)
        upload = Upload(an_image(payload), variant, ("1.png",))
        if not over:
            upload_one(upload, context, SharedState())
            assert len(store.images) == 1
            return
        with pytest.raises(HostError, match="what is sent for it has") as refusal:
            upload_one(upload, context, SharedState())
        assert "oversize: resize" in refusal.value.remedy
        assert refusal.value.is_final, "it is measured once, and no later build makes it again"
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


class TestPayloadsAhead:
    """They are made while workers wait for the host, which changes nothing but the time."""

    COUNT = 12

    @pytest.fixture
    def uploads(self, tmp_path: Path) -> list[Upload]:
        return [Upload(an_image(a_payload(tmp_path, number)), "", (str(number),)) for number in range(self.COUNT)]

    @pytest.fixture
    def context(self, tmp_path: Path) -> Iterator[UploadContext]:
        with FakeStore() as store, Client(5, environ={}) as client:
            yield replace(context_of(store, client, tmp_path), concurrency=4)

    @given(st.data())
    @settings(max_examples=30, deadline=None)
    def test_each_worker_gets_its_own_payload_or_what_is_wrong_with_it(self, data: st.DataObject) -> None:
        """In any order, with any that cannot be made, and where some are not asked for at all."""
        order = data.draw(st.permutations(range(self.COUNT)))[: data.draw(st.integers(0, self.COUNT))]
        broken = data.draw(st.sets(st.integers(0, self.COUNT - 1)))
        made: Counter[int] = Counter()

        def prepare(upload: Upload) -> Payload:
            number = int(upload.paths[0])
            made[number] += 1
            if number in broken:
                raise PayloadError(str(number))
            return a_payload(folder, number)

        with TemporaryDirectory() as name, FakeStore() as store, Client(5, environ={}) as client:
            folder = Path(name)
            uploads = [Upload(an_image(a_payload(folder, n)), "", (str(n),)) for n in range(self.COUNT)]
            context = replace(context_of(store, client, folder), prepare=prepare, concurrency=3)
            with preparing(uploads, context) as ahead:
                for number in order:
                    if number in broken:
                        with pytest.raises(PayloadError, match=f"^{number}$"):
                            ahead.prepare(uploads[number])
                    else:
                        assert ahead.prepare(uploads[number]).sha256 == uploads[number].image.sha256
        assert set(order) <= made.keys()
        assert max(made.values(), default=0) <= 1
        assert len(made) <= len(order) + 3

    def test_no_more_are_made_ahead_than_there_are_workers(self, uploads: list[Upload], context: UploadContext) -> None:
        """Each takes room on the disk."""
        made: list[Upload] = []
        begun = threading.Semaphore(0)

        def prepare(upload: Upload) -> Payload:
            made.append(upload)
            begun.release()
            return context.prepare(upload)

        with preparing(uploads, replace(context, prepare=prepare)) as ahead:
            for _ in range(4):
                assert begun.acquire(timeout=10)
            assert not begun.acquire(timeout=0.2)
            ahead.prepare(uploads[0])
            assert begun.acquire(timeout=10)
            assert not begun.acquire(timeout=0.2)
        assert made == uploads[:5]

    def test_what_asks_the_host_is_loaded_before_anything_is_made(
        self, uploads: list[Upload], context: UploadContext
    ) -> None:
        """Both want the processor, and only the host's answer is waited for."""
        wires: list[int] = []

        def prepare(upload: Upload) -> Payload:
            wires.append(len(context.client._wires))
            return context.prepare(upload)

        with preparing(uploads, replace(context, prepare=prepare)) as ahead:
            ahead.prepare(uploads[0])
        assert 0 not in wires

    def test_what_takes_long_is_made_by_several_at_once(self, uploads: list[Upload], context: UploadContext) -> None:
        """A thread alone would make every worker wait for large images that are made smaller."""
        together = threading.Barrier(3)

        def prepare(upload: Upload) -> Payload:
            together.wait(timeout=10)
            return context.prepare(upload)

        with preparing(uploads[:3], replace(context, prepare=prepare)) as ahead:
            workers = [threading.Thread(target=ahead.prepare, args=(upload,)) for upload in uploads[1:3]]
            for worker in workers:
                worker.start()
            ahead.prepare(uploads[0])
            for worker in workers:
                worker.join(10)
        assert not together.broken

    @pytest.mark.parametrize("change", [{"variant": IMPORT}, {"renewed": True}])
    def test_nothing_is_fetched_before_its_turn(
        self, uploads: list[Upload], context: UploadContext, change: dict[str, Any]
    ) -> None:
        """An external image, and a renewal whose local copy is gone, come from the network."""
        record = recorded(
            uploads[0], context.prepare(uploads[0]), Hosted("https://x.test/a.png", "a"), "fake", context.now()
        )
        change = {"renewed": record} if "renewed" in change else change
        begun = threading.Event()

        def prepare(upload: Upload) -> Payload:
            begun.set()
            return context.prepare(upload)

        several = [upload._replace(**change) for upload in uploads]
        with preparing(several, replace(context, prepare=prepare)):
            assert not begun.wait(0.2)
