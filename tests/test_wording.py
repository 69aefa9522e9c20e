"""The words that all messages share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imghost.wording import (
    day,
    guess,
    lasted,
    limit,
    listed,
    many,
    money,
    nearest,
    one_line,
    size,
    stay,
    without_secrets,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (229, "229 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (412_345, "412 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (7_900_000, "7.9 MB"),
        (99_949_999, "99.9 MB"),
        (99_950_000, "100 MB"),
        (138_900_000, "139 MB"),
        (999_499_999, "999 MB"),
        (999_500_000, "1.00 GB"),
        (1_040_000_000, "1.04 GB"),
        (5_000_000_000, "5.00 GB"),
    ],
)
def test_bytes_are_decimal_and_change_their_unit_before_a_thousand(count, text):
    assert size(count) == text


@given(st.integers(0, 10**13))
def test_bytes_never_show_a_thousand_of_a_unit_that_has_a_next_one(count):
    number, unit = size(count).split(" ")
    assert unit == "GB" or float(number) < 1000
    digits = len(number.partition(".")[2])
    step = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}[unit]
    assert abs(float(number.replace(",", "")) * step - count) <= 0.5001 * step / 10**digits


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (5_000_000, "5 MB"),
        (25_000_000, "25 MB"),
        (5_000_000_000, "5 GB"),
        (512, "512 B"),
        (200_000, "200 kB"),
        (7_500_000, "7.5 MB"),
        (100_000_000, "100 MB"),
    ],
)
def test_limits_are_round(count, text):
    assert limit(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.1 s"),
        (0.42, "0.4 s"),
        (1.0, "1 s"),
        (1.44, "1.4 s"),
        (9.96, "10 s"),
        (38.2, "38 s"),
        (97, "97 s"),
        (119.6, "2 min"),
        (125, "2 min 5 s"),
        (3725, "62 min 5 s"),
    ],
)
def test_times_have_as_many_digits_as_somebody_needs(seconds, text):
    assert lasted(seconds) == text


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        ("0", "$0.00"),
        ("0.06", "$0.06"),
        ("0.51", "$0.51"),
        ("0.005", "$0.005"),
        ("0.00010", "$0.0001"),
        ("1", "$1.00"),
        ("1234.5", "$1,234.50"),
    ],
)
def test_money_has_more_digits_only_below_a_cent(dollars, text):
    assert money(Decimal(dollars)) == text


NOW = datetime(2026, 11, 28, 23, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (0, "2026-11-28, today"),
        (1, "2026-11-29, in 1 day"),
        (9, "2026-12-07, in 9 days"),
        (59, "2027-01-26, in 59 days"),
        (60, "2027-01-27"),
        (-1, "2026-11-27"),
    ],
)
def test_dates_that_are_near_say_how_near(days, text):
    assert day(NOW + timedelta(days=days), NOW) == text


def test_counts_agree_with_their_words():
    assert [many(count, "page") for count in (0, 1, 2, 1234)] == ["0 pages", "1 page", "2 pages", "1,234 pages"]
    assert [stay(count) for count in (1, 2, 3000)] == [
        "1 image stays local",
        "2 images stay local",
        "3,000 images stay local",
    ]
    assert listed(["a", "b"]) == "a, b"
    assert listed(["a", "b", "c", "d"]) == "a, b, c and 1 more"


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("hots", "host"),
        ("teir", "tier"),
        ("imgpro", "img.pro"),
        ("imgr", ""),
        ("ho", ""),
        ("hos", "host"),
        ("timeout", "timeout"),
        ("tmeot", "timeout"),
        ("tmot", ""),
        ("", ""),
    ],
)
def test_a_name_is_guessed_at_two_letters_distance_or_less(name, right):
    assert guess(name, ["host", "tier", "img.pro", "img402", "timeout"]) == right


def test_where_nothing_is_near_all_are_named():
    assert nearest("imgr", ["img.pro", "img402"]) == "there are: img.pro, img402"
    assert nearest("imgpr", ["img.pro", "img402"]) == "did you mean 'img.pro'?"


@given(st.text("abc", max_size=8), st.lists(st.text("abc", min_size=1, max_size=8), min_size=1))
def test_a_right_name_is_its_own_guess(name, names):
    if name in names:
        assert guess(name, names) == name or not name
    else:
        assert guess(name, names) in {"", *names}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://x.test/a.png?token=1: gone", "https://x.test/a.png: gone"),
        ("see (https://u:p@x.test/a.png?t=1&size=s#f), HTTP://y.test/?q", "see (https://x.test/a.png), HTTP://y.test/"),
        ("https://x.test/a.png?size=s and https://x.test/a?size=s&format=webp", None),
        ("is this https://x.test/a? yes, me@x.test?", "is this https://x.test/a yes, me@x.test?"),
    ],
)
def test_addresses_are_shown_without_what_may_be_secret(text, shown):
    assert without_secrets(text) == (text if shown is None else shown)
    assert one_line(one_line(text)) == one_line(text)
