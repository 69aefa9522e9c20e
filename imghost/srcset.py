"""The URLs of a `srcset`, by the HTML standard's parser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_S: Final = r"\t\n\f\r "
_URL: Final = re.compile(rf"[{_S},]*+([^{_S}]++)")
_DESCRIPTORS: Final = re.compile(r"[^,(]*+(?:\([^)]*+\)?[^,(]*+)*+,?")


def candidates(srcset: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each candidate's URL.

    A comma inside a URL belongs to it, commas at its end separate, and those in a descriptor's
    parentheses do not. A candidate counts even if its descriptor is wrong.
    """
    position = 0
    while found := _URL.match(srcset, position):
        start, end = found.span(1)
        while srcset[end - 1] == ",":
            end -= 1
        position = found.end()
        if end == position:
            rest = _DESCRIPTORS.match(srcset, position)
            position = rest.end() if rest else position
        yield start, end
