"""How often a host is asked again, and how long everybody waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from doubles.img402 import Img402 as DoubleImg402
from doubles.server import Fault

from imghost.hosts import Action, HostBase, Hosted, HostError, Payload
from imghost.hosts.img402 import Img402Options
from imghost.hosts.img402.host import Img402
from imghost.models import Limits
from imghost.net import Client
from imghost.run.job import Upload
from imghost.run.upload import MAX_WAITS, SharedState, UploadContext, upload_one
from imghost.testing import a_payload, a_setup
from imghost.testing.fake import an_image

HERE = "https://scripted.example/"


class Scripted(HostBase):
    """A host that answers as a test says: an error to raise, or None for a success."""

    name = "scripted"
    limits = Limits(frozenset({"image/png"}))
    origins = (HERE.rstrip("/"),)

    def __init__(self, answer: Callable[[int], HostError | None]) -> None:
        self.answer = answer
        self.tries = 0
        self.guard = threading.Lock()

    def accepts(self, url: str) -> bool:
        return url.startswith(HERE)

    def upload(self, payload: Payload) -> Hosted:
        with self.guard:
            self.tries += 1
            number = self.tries
        if problem := self.answer(number):
            raise problem
        return Hosted(f"{HERE}{payload.sha256}.png", payload.sha256)


class Looking(Scripted):
    """One that can be asked, and refuses to tell."""

    refusal = HostError(Action.STOP, "forbids this")

    def find(self, payload: Payload) -> Hosted | None:
        raise self.refusal


def a_context(host: HostBase, client: Client, sleep: Callable[[float], object]) -> UploadContext:
    return UploadContext(
        host=host,  # type: ignore[arg-type]
        client=client,
        prepare=lambda upload: upload,  # type: ignore[arg-type, return-value]
        bring=None,
        intend=lambda payload: None,
        settle=lambda payload: None,
        earn=lambda record: None,
        doubtful=frozenset(),
        now=lambda: datetime.now(UTC),
        tries=5,
        concurrency=8,
        verify=False,
        sleep=sleep,
    )


def uploaded(host: HostBase, folder: Path, sleep: Callable[[float], object], *, images: int = 1, **more: object):
    """Upload images at a time with one state; gives it, and what came of each."""
    state = SharedState()
    with Client(5.0, environ={}) as client:

        def upload(number: int) -> object:
            payload = a_payload(folder, number)
            context = replace(a_context(host, client, sleep), prepare=lambda _: payload, **more)
            if more.get("doubtful"):
                context = replace(context, doubtful=frozenset({(payload.image, host.name, "")}))
            try:
                return upload_one(Upload(an_image(payload), "", (f"{number}.png",)), context, state)
            except HostError as problem:
                return problem

        with ThreadPoolExecutor(images) as pool:
            return state, list(pool.map(upload, range(images)))


@pytest.mark.parametrize("fault", [Fault.GZIP, Fault.HTML_PAGE, Fault.CLOSE_AFTER_ROUTE])
def test_a_host_that_cannot_be_asked_gets_one_more_try_of_what_it_may_have(tmp_path: Path, fault: Fault) -> None:
    with DoubleImg402() as double, Client(5.0, environ={}) as client:
        host = Img402(Img402Options(api_url=double.url, tier="free"), a_setup(client, tmp_path))
        double.server.fail(*[fault] * 5)
        state, [problem] = uploaded(host, tmp_path, lambda _: None)
        assert isinstance(problem, HostError)
        assert problem.action is Action.FILE
        assert len(double.images) == 2
        assert sum(state.repeats.values()) == 1
        sent = len(double.images)
        state, [problem] = uploaded(host, tmp_path, lambda _: None, doubtful=True)
        assert isinstance(problem, HostError)
        assert (len(double.images) - sent, sum(state.repeats.values())) == (1, 1)


@pytest.mark.parametrize("action", [Action.STOP, Action.FILE])
def test_a_look_up_that_is_refused_tells_nothing_and_stops_nothing(tmp_path: Path, action: Action) -> None:
    host = Looking(lambda _: None)
    host.refusal = HostError(action, "forbids this")
    state, [outcome] = uploaded(host, tmp_path, lambda _: None, doubtful=True)
    assert isinstance(outcome, tuple)
    assert (host.tries, sum(state.repeats.values())) == (1, 1)


def test_workers_that_are_told_to_wait_at_once_wait_in_the_same_seconds(tmp_path: Path) -> None:
    """Eight times 40 s is more than a run may wait; the same 40 s are not."""
    assert MAX_WAITS < 8 * 40
    together = threading.Barrier(8)

    def answer(number: int) -> HostError | None:
        if number > 8:
            return None
        together.wait(20)
        return HostError(Action.WAIT, "asks to wait", wait=40.0)

    host = Scripted(answer)
    state, outcomes = uploaded(host, tmp_path, lambda _: together.wait(20), images=8)
    assert [type(outcome) for outcome in outcomes] == [tuple] * 8
    assert 40 <= state.waited < 60


@pytest.mark.parametrize(("wait", "tries"), [(40.0, 8), (60.0, 6), (9.5, 32)])
def test_all_waits_of_a_run_together_have_an_end(tmp_path: Path, wait: float, tries: int) -> None:
    """A host that always asks to wait a little, and as many tries as anybody could set."""
    slept: list[float] = []
    host = Scripted(lambda _: HostError(Action.WAIT, "asks to wait", wait=wait))
    _, [problem] = uploaded(host, tmp_path, slept.append, tries=1_000)
    assert isinstance(problem, HostError)
    assert (problem.action, host.tries) == (Action.STOP, tries)
    assert sum(slept) <= MAX_WAITS < sum(slept) + wait
    assert f"(asks to wait {wait:.0f} s)" in problem.reason


def test_a_worker_that_begins_waits_as_another_was_told(tmp_path: Path) -> None:
    """So two images at a host's limit cost it one refusal, not two."""
    host = Scripted(lambda number: HostError(Action.WAIT, "asks to wait", wait=1.0) if number == 1 else None)
    begun = threading.Event()

    def sleep(seconds: float) -> None:
        begun.set()
        time.sleep(seconds)

    with Client(5.0, environ={}) as client:
        state = SharedState()
        payloads = [a_payload(tmp_path, number) for number in range(2)]
        contexts = [replace(a_context(host, client, sleep), prepare=lambda _, own=one: own) for one in payloads]
        uploads = [Upload(an_image(one), "", ("a.png",)) for one in payloads]
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(upload_one, uploads[0], contexts[0], state)
            assert begun.wait(5)
            began = time.monotonic()
            upload_one(uploads[1], contexts[1], state)
            assert time.monotonic() - began > 0.5
            first.result()
    assert host.tries == 3


def test_a_limit_by_the_minute_is_waited_for_where_nobody_says_how_long(tmp_path: Path) -> None:
    slept: list[float] = []
    host = Scripted(lambda number: HostError(Action.WAIT, "asks to wait") if number < 5 else None)
    _, [outcome] = uploaded(host, tmp_path, slept.append)
    assert isinstance(outcome, tuple)
    assert sum(slept) >= 60


def test_a_host_that_is_out_of_reach_three_times_in_a_row_is_given_up(tmp_path: Path) -> None:
    """Five hundred images would else wait for it one after another."""
    away = HostError(Action.RETRY, "cannot be reached", remedy="check the network")
    host = Scripted(lambda _: away)
    state, [problem] = uploaded(host, tmp_path, lambda _: None)
    assert isinstance(problem, HostError)
    assert (host.tries, str(state.stopped)) == (3, str(HostError(Action.STOP, away.reason, remedy=away.remedy)))
    host = Scripted(lambda number: None if number == 3 else away)
    state, [outcome] = uploaded(host, tmp_path, lambda _: None)
    assert isinstance(outcome, tuple)
    assert (state.stopped, state.unreachable) == (None, 0)


def test_a_url_that_is_not_one_of_the_hosts_images_is_neither_kept_nor_named(tmp_path: Path) -> None:
    class Elsewhere(Scripted):
        def upload(self, payload: Payload) -> Hosted:
            return Hosted("https://elsewhere.example/x.png", payload.sha256)

    kept: list[object] = []
    _, [problem] = uploaded(Elsewhere(lambda _: None), tmp_path, lambda _: None, earn=kept.append)
    assert isinstance(problem, HostError)
    assert (problem.action, kept) == (Action.FILE, [])
    assert "not one of its images" in problem.reason
