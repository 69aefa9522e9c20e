"""The srcset parser against the standard's algorithm, read letter by letter."""

from __future__ import annotations

import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imghost.html.scan import candidates


def urls(srcset: str) -> list[str]:
    return [srcset[start:end] for start, end in candidates(srcset)]


@pytest.mark.parametrize(
    ("srcset", "expected"),
    [
        ("", []),
        (" , ,", []),
        ("a.png", ["a.png"]),
        ("a.png 1x, b.png 2x", ["a.png", "b.png"]),
        ("a.png,b.png", ["a.png,b.png"]),
        ("a.png, b.png", ["a.png", "b.png"]),
        ("a.png,, b.png,,", ["a.png", "b.png"]),
        ("/w_1,h_2/a.png 1x,b.png 2x", ["/w_1,h_2/a.png", "b.png"]),
        ("a.png (1, 2) 1x, b.png", ["a.png", "b.png"]),
        ("a.png (1, b.png", ["a.png"]),
        ("a.png 100w 50h,\n\tb.png\f2x ", ["a.png", "b.png"]),
        ("data:,a ( , ), b.png 2x", ["data:,a", "b.png"]),
    ],
)
def test_a_srcset_is_parsed_by_the_standard(srcset: str, expected: list[str]) -> None:
    assert urls(srcset) == expected


@settings(max_examples=500)
@given(st.text(alphabet="ab.,( )\n", max_size=40))
def test_every_srcset_is_parsed_as_the_algorithm_says(srcset: str) -> None:
    assert urls(srcset) == list(oracle.urls_in_srcset(srcset))
