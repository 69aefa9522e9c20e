"""Threads that begin or say that they do not, and end where nothing is left to do.

`threading.Thread.start` waits until the thread has begun. One that finds too little memory for its own first steps
dies before that, and the wait has no end.
"""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

from imghost.errors import StateError

Given = TypeVar("Given")
Found = TypeVar("Found")

MORE: Final = "give the build more memory, or a smaller 'concurrency'"
GRACE: Final = 5.0
"""Seconds that what is under way gets to finish when the run is stopped."""
_PATIENCE: Final = 10.0
"""Seconds in which a thread begins, on the busiest machine."""
LOOK: Final = 0.5
"""Seconds between two looks whether anybody who could answer is left."""


class Worker:
    """A daemon thread, which no end of the process waits for; what it raises is `problem`."""

    def __init__(self, serve: Callable[[], object]) -> None:
        self.problem: BaseException | None = None
        self._serve = serve
        self._ticket = threading.Lock()
        """Who takes it decides whether this is served: the thread, or who has waited too long for it."""
        self._begun = threading.Event()
        self._ended = threading.Event()

    def start(self, patience: float = _PATIENCE) -> None:
        """Start the thread; raises RuntimeError where the system gives none, or none that comes to its first step."""
        _thread.start_new_thread(self._run, ())
        if not self._begun.wait(patience) and self._ticket.acquire(blocking=False):
            raise RuntimeError("a new thread did not begin")

    def join(self, timeout: float) -> bool:
        """Wait so many seconds for its end; False = it goes on. One that did not begin has ended."""
        # An interrupt may have come between the start and the first step, which takes but a moment.
        return not self._begun.wait(min(timeout, 0.2)) or self._ended.wait(timeout)

    @property
    def is_over(self) -> bool:
        """Whether it has ended; one that did not begin has not."""
        return self._ended.is_set()

    def _run(self) -> None:
        if not self._ticket.acquire(blocking=False):
            return
        try:
            self._begun.set()
            self._serve()
        except BaseException as problem:  # it is told by who waits for what this was to do
            self.problem = problem
        finally:
            self._ended.set()


def start(serve: Callable[[], object], count: int, workers: list[Worker]) -> RuntimeError | None:
    """Start so many threads, and list each; gives why the system gave no more, if it did not."""
    for _ in range(count):
        workers.append(Worker(serve))  # an interrupt may come while it is started
        try:
            workers[-1].start()
        except RuntimeError as problem:
            workers.pop()
            return problem
    return None


def join_all(workers: Sequence[Worker], deadline: float) -> None:
    """Wait for the ends of these threads, by the monotonic clock not beyond the deadline."""
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))


def awaited(answers: SimpleQueue[Given], workers: Sequence[Worker]) -> Given | None:
    """Wait for the next thing that these threads give; None once none of them is left to give one."""
    while True:
        is_last = all(worker.is_over for worker in workers)  # asked before the look: what came meanwhile is seen
        try:
            return answers.get(timeout=0 if is_last else LOOK)
        except Empty:
            if is_last:
                return None


def received(answers: SimpleQueue[Given], workers: Sequence[Worker]) -> Given:
    """Wait for the next answer of these threads; raises StateError once none of them is left to give one."""
    answer = awaited(answers, workers)
    if answer is None:
        problem = next((worker.problem for worker in workers if worker.problem), None)
        raise StateError(f"the build's threads ended before their work, by {problem!r}; {MORE}") from problem
    return answer


def concurrently(
    function: Callable[[Given], Found],
    values: Sequence[Given],
    concurrency: int,
    tell: Callable[[], object] = lambda: None,
) -> list[Found]:
    """Apply a function that waits for the network to every value, some at a time; gives the results in order.

    `tell` is called here, in the caller's thread, for each result. Raises what the function did; then nothing
    further is begun.
    """
    waiting: SimpleQueue[int] = SimpleQueue()
    answers: SimpleQueue[tuple[int, Found | None, Exception | None]] = SimpleQueue()
    for number in range(len(values)):
        waiting.put(number)
    is_over = threading.Event()

    def serve() -> None:
        while not is_over.is_set():
            try:
                number = waiting.get_nowait()
            except Empty:
                return
            try:
                answers.put((number, function(values[number]), None))
            except Exception as problem:  # raised again where it is waited for
                answers.put((number, None, problem))

    workers: list[Worker] = []
    results: dict[int, Found] = {}
    try:
        if start(serve, min(concurrency, len(values)), workers) and not workers:
            serve()
        for _ in values:
            number, result, problem = received(answers, workers)
            if problem:
                raise problem
            results[number] = result  # type: ignore[assignment]
            tell()
    finally:
        is_over.set()
        join_all(workers, time.monotonic() + GRACE)
    return [results[number] for number in range(len(values))]


class Task(Generic[Found]):
    """Something that is done beside what its caller does."""

    def __init__(self, step: Callable[[], Found], workers: Sequence[Worker]) -> None:
        self._step = step
        self._workers = workers
        self._done = threading.Event()
        self._result: Found
        self._problem: BaseException | None = None

    def carry_out(self) -> None:
        """Do it; what it raises is raised where its result is asked for."""
        try:
            self._result = self._step()
        except BaseException as problem:
            self._problem = problem
        finally:
            self._done.set()

    def result(self) -> Found:
        """Wait for what it gives; raises what it did, and StateError once no thread is left to do it."""
        while not self._done.wait(LOOK):
            if all(worker.is_over for worker in self._workers) and not self._done.is_set():
                raise StateError(f"the build's threads ended before their work; {MORE}")
        if self._problem:
            raise self._problem
        return self._result


class Crew:
    """Threads that take up tasks in their order, each started when there is one more; used by one thread.

    Where the system gives none, a task is done at once, where it is begun.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: SimpleQueue[Task[Any] | None] = SimpleQueue()
        self._workers: list[Worker] = []

    def begin(self, step: Callable[[], Found]) -> Task[Found]:
        """Have something done; it begins once one of the threads has time."""
        task = Task(step, self._workers)
        if len(self._workers) < self._most and start(self._serve, 1, self._workers):
            self._most = len(self._workers)  # to be told so takes a while each time
        if self._workers:
            self._waiting.put(task)
        else:
            task.carry_out()
        return task

    def close(self) -> None:
        """Wait until all that was begun is done."""
        for _ in self._workers:
            self._waiting.put(None)
        for worker in self._workers:
            while not worker.join(LOOK):
                pass

    def _serve(self) -> None:
        while task := self._waiting.get():
            task.carry_out()
