"""How far uploads are, as a line that is drawn again, and as lines in a log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imghost.run.report import Count, bar_line, log_lines


def counted(steps: list[tuple[float, int]], images: int, total: int) -> Count:
    """Count uploads that ended at these seconds with these bytes."""
    count = Count(images, total, 0.0)
    for now, size in steps:
        count = count.after(size, now)
    return count


def test_the_line_is_that_of_the_design() -> None:
    sent = [(number, 400_000) for number in range(1, 31)] + [(31, 400_000)]
    count = counted(sent, 51, 21_500_000)
    assert bar_line(count, 80) == "imghost: [###############-----------]  31/51   12.4 of 21.5 MB   23 s left"


def test_no_time_is_told_in_the_first_seconds_nor_before_a_twentieth() -> None:
    assert counted([(2.9, 500)], 10, 1000).left is None
    assert counted([(3.0, 500)], 10, 1000).left == 3.0
    assert counted([(60.0, 49)], 100, 1000).left is None
    assert counted([(60.0, 50)], 100, 1000).left is not None
    assert counted([(60.0, 1000)], 1, 1000).left is None


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    """A slow start is forgotten: 100 bytes a second for the last ten, though it was 1 before."""
    count = counted([(100.0, 100), (110.0, 1000)], 3, 2100)
    assert count.left == pytest.approx(10.0)


@given(
    st.integers(1, 10_000),
    st.lists(st.tuples(st.floats(0, 1000), st.integers(0, 10**9)), max_size=30),
    st.integers(44, 200),
)
def test_the_line_fits_and_the_bar_is_never_too_full(images: int, steps: list[tuple[float, int]], width: int) -> None:
    steps = sorted(steps)[:images]
    line = bar_line(counted(steps, images, sum(size for _, size in steps) + 1), width)
    assert len(line) < width
    bar = line[line.index("[") + 1 : line.index("]")]
    assert 1 <= len(bar) <= 26
    assert bar.count("#") == len(bar) * len(steps) // images


def test_a_log_gets_a_line_at_most_every_ten_seconds() -> None:
    now = 0.0
    said: list[str] = []
    with log_lines(said.append, 51, 21_500_000, lambda: now) as step:
        for _ in range(51):
            now += 0.9
            step("a.png", 421_568)
    assert said == [
        "uploading: 12 of 51 images, 5.1 of 21.5 MB",
        "uploading: 24 of 51 images, 10.1 of 21.5 MB",
        "uploading: 36 of 51 images, 15.2 of 21.5 MB",
        "uploading: 48 of 51 images, 20.2 of 21.5 MB",
    ]


def test_what_has_no_bytes_is_counted_alone() -> None:
    """As records are that `verify` fetches."""
    count = Count(54, 54, 0.0, has_bytes=False)
    for second in range(31):
        count = count.after(1, float(second))
    assert bar_line(count, 80) == "imghost: [##############------------]  31/54   23 s left"
    now = 0.0
    said: list[str] = []
    with log_lines(said.append, 3, 0, lambda: now, ("checking", "record")) as step:
        for _ in range(3):
            now += 6
            step("", 0)
    assert said == ["checking: 2 of 3 records"]
