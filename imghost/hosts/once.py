"""Makes something at its first use, once, whichever thread asks first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Made = TypeVar("_Made")


class Once(Generic[_Made]):
    """Gives what `make` makes, always the same; so what only uploads need is loaded by the first of them."""

    def __init__(self, make: Callable[[], _Made]) -> None:
        self._make = make
        self._made: _Made | None = None
        self._guard = threading.Lock()

    @property
    def is_made(self) -> bool:
        """Whether anybody has used it yet."""
        return self._made is not None

    def __call__(self) -> _Made:
        """Give it; raises what `make` raises, and then tries again the next time."""
        with self._guard:
            if self._made is None:
                self._made = self._make()
            return self._made
