"""What keeps a warm build fast, and what must stay true for it."""

from __future__ import annotations

import re
import time

import pytest

from imghost import tokens
from imghost.models import DEFAULT_KINDS
from imghost.scan import scan

MATTERING = sorted({*tokens._STARTS, *(f"/{name}" for name in (*tokens._ENDS, "a"))})


@pytest.mark.parametrize("name", MATTERING)
def test_no_tag_that_matters_is_taken_for_a_common_one(name):
    for ending in (">", ' class="a">', "\t>", "/>", " style='x'>"):
        assert not re.match(tokens._COMMON, name + ending)


@pytest.mark.parametrize("name", ["span", "/span", "td", "tr", "/th", "pre", "div", "code", "h2", "ul"])
def test_usual_tags_are_common_ones(name):
    assert re.fullmatch(tokens._COMMON, f'{name} class="nb">')
    assert not re.match(tokens._COMMON, f'{name} class="nb" style="background: url(a.png)">')


@pytest.mark.parametrize(
    "piece", ['<span class="', '<span class="a" ', "<td><p", '</li class="x"', '<p class="<img src=a.png>">']
)
def test_common_tags_that_do_not_end_take_linear_time(piece):
    def taken(count: int) -> float:
        text, best = piece * count, 9.0
        for _ in range(3):
            began = time.process_time()
            scan(text, frozenset(DEFAULT_KINDS))
            best = min(best, time.process_time() - began)
        return best

    taken(10)
    assert taken(40_000) < 12 * taken(10_000) + 0.01
