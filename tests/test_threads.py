"""Threads that begin or say that they do not, and that are not waited for once they are gone."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue

import pytest

from imghost import threads
from imghost.errors import StateError
from imghost.threads import Crew, Worker, awaited, concurrently, received, start


def test_a_thread_that_dies_before_its_first_step_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does that finds too little memory for itself: the system gave it, and it serves nobody."""
    monkeypatch.setattr(threads._thread, "start_new_thread", lambda *_: 1)
    served: list[int] = []
    worker = Worker(lambda: served.append(1))
    with pytest.raises(RuntimeError, match="did not begin"):
        worker.start(patience=0.05)
    assert worker.join(5)
    assert served == []


def test_a_thread_that_begins_too_late_serves_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    late: list[threading.Timer] = []

    def slowly(run: object, given: tuple[object, ...]) -> int:
        late.append(threading.Timer(0.2, run, given))  # type: ignore[arg-type]
        late[0].start()
        return 1

    monkeypatch.setattr(threads._thread, "start_new_thread", slowly)
    served: list[int] = []
    with pytest.raises(RuntimeError):
        Worker(lambda: served.append(1)).start(patience=0.05)
    late[0].join()
    assert served == []


def test_where_the_system_gives_no_more_threads_there_are_those_it_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, given = threads._thread.start_new_thread, iter((True, True, False))

    def sparsely(*arguments: object) -> int:
        if not next(given):
            raise RuntimeError("can't start new thread")
        return usual(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(threads._thread, "start_new_thread", sparsely)
    workers: list[Worker] = []
    assert "can't start" in str(start(lambda: None, 5, workers))
    assert len(workers) == 2
    assert all(worker.join(5) for worker in workers)


@pytest.mark.parametrize("problem", [MemoryError(), KeyError("a"), SystemExit(3)])
def test_who_waits_for_threads_that_died_hears_it(problem: BaseException) -> None:
    def serve() -> None:
        raise problem

    workers: list[Worker] = []
    start(serve, 3, workers)
    with pytest.raises(StateError, match=type(problem).__name__) as told:
        received(SimpleQueue(), workers)
    assert told.value.__cause__ is problem


def test_what_a_thread_gave_at_its_end_is_received() -> None:
    for _ in range(200):
        answers: SimpleQueue[int] = SimpleQueue()
        workers: list[Worker] = []
        start(lambda answers=answers: answers.put(1), 1, workers)  # type: ignore[misc]
        assert received(answers, workers) == 1
        assert awaited(answers, workers) is None


def test_what_is_done_concurrently_comes_in_order() -> None:
    told: list[int] = []
    running, most, guard = 0, 0, threading.Lock()

    def double(number: int) -> int:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        time.sleep(0.001 * (7 - number % 7))
        with guard:
            running -= 1
        return 2 * number

    assert concurrently(double, range(40), 4, lambda: told.append(1)) == [2 * number for number in range(40)]
    assert (len(told), most) == (40, 4)
    assert concurrently(double, [], 4) == []


def test_what_is_done_concurrently_is_done_here_where_there_are_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads._thread, "start_new_thread", none)
    assert concurrently(lambda number: (number, threading.current_thread()), [1, 2], 4) == [
        (1, threading.main_thread()), (2, threading.main_thread()),
    ]  # fmt: skip


def test_after_one_has_failed_nothing_further_is_begun() -> None:
    begun: list[int] = []

    def fail(number: int) -> None:
        begun.append(number)
        time.sleep(0.05)
        raise ValueError(number)

    with pytest.raises(ValueError, match=r"0|1"):
        concurrently(fail, range(100), 2)
    assert len(begun) <= 4


def test_after_one_has_failed_what_is_under_way_ends_first() -> None:
    """A host that is asked to delete, say, has answered before the run goes on or ends."""
    begun, done = threading.Event(), threading.Event()

    def work(number: int) -> None:
        if number:
            begun.set()
            time.sleep(0.3)
            done.set()
        else:
            assert begun.wait(5)
            raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        concurrently(work, range(2), 2)
    assert done.is_set()


def test_a_look_that_exhausts_memory_is_told() -> None:
    def exhaust(_: int) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        concurrently(exhaust, [1], 2)


class TestCrew:
    """Tasks beside what their caller does."""

    def test_tasks_are_done_side_by_side_and_give_their_results(self) -> None:
        crew, meeting = Crew(3), threading.Barrier(3)
        tasks = [crew.begin(lambda: meeting.wait(5)) for _ in range(3)]
        assert sorted(task.result() for task in tasks) == [0, 1, 2]
        crew.close()

    def test_what_a_task_raises_is_raised_where_it_is_asked_for(self) -> None:
        crew = Crew(1)
        task, next_one = crew.begin(lambda: 1 / 0), crew.begin(lambda: "done")
        with pytest.raises(ZeroDivisionError):
            task.result()
        assert next_one.result() == "done"
        crew.close()

    def test_the_end_waits_for_what_was_begun(self) -> None:
        crew, done = Crew(1), list[int]()
        for number in range(3):
            crew.begin(lambda number=number: (time.sleep(0.05), done.append(number)))
        crew.close()
        assert done == [0, 1, 2]

    def test_where_the_system_gives_no_thread_a_task_is_done_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[int] = []

        def refuse(*_: object) -> int:
            asked.append(1)
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threads._thread, "start_new_thread", refuse)
        crew = Crew(4)
        assert [crew.begin(lambda number=number: number).result() for number in range(3)] == [0, 1, 2]
        assert len(asked) == 1
        crew.close()

    def test_a_task_whose_threads_are_gone_is_not_waited_for(self) -> None:
        crew = Crew(1)
        crew.begin(lambda: None).result()
        crew._waiting.put(None)  # as its thread would end that the system kills
        assert crew._workers[0].join(5)
        with pytest.raises(StateError, match="threads ended before their work"):
            crew.begin(lambda: None).result()
