"""What is made at its first use is made once, whichever thread asks first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from imghost.hosts.answers import Once


def test_of_many_threads_one_makes_it_and_all_are_given_the_same() -> None:
    together, made = threading.Barrier(8), list[object]()

    def make() -> object:
        made.append(object())
        threading.Event().wait(0.05)
        return made[-1]

    once = Once(make)
    assert (once.is_made, made) == (False, [])

    def ask(_: int) -> object:
        together.wait()
        return once()

    with ThreadPoolExecutor(8) as pool:
        given = set(pool.map(ask, range(8)))
    assert (given, len(made), once.is_made) == ({made[0]}, 1, True)


def test_what_could_not_be_made_is_tried_again() -> None:
    tries = iter([OSError("not yet"), None])

    def make() -> str:
        if problem := next(tries):
            raise problem
        return "made"

    once = Once(make)
    with pytest.raises(OSError, match="not yet"):
        once()
    assert not once.is_made
    assert (once(), once()) == ("made", "made")
