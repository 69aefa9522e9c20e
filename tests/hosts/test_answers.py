"""What is read from any host's answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import SettingsError
from imghost.hosts.answers import error_code, extra_origins, moment, retry_after
from imghost.net.client import Answer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"<html>",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"[1e999]",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 10_000,
    ],
    ids=repr,
)
def test_json_that_readers_disagree_on_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the texts are the standard library's
        Answer(200, {}, body).json()


@given(st.binary(max_size=200))
def test_reading_an_answer_never_breaks(body: bytes) -> None:
    answer = Answer(400, {"retry-after": body.decode("latin-1"), "date": "x"}, body)
    code, message = error_code(answer)
    wait = retry_after(answer)
    assert isinstance(code, str)
    assert isinstance(message, str)
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"error": "gone", "message": "m"}', ("gone", "m")),
        (b'{"error": {"type": "t", "code": "gone", "message": "m"}}', ("gone", "m")),
        (b'{"error": {"code": 5}, "message": "m"}', ("", "")),
        (b'{"code": "gone"}', ("gone", "")),
        (b'{"error": ["gone"]}', ("", "")),
        (b'"gone"', ("", "")),
        (b"<h1>502</h1>", ("", "")),
    ],
)
def test_an_error_is_read_in_each_form(body: bytes, found: tuple[str, str]) -> None:
    assert error_code(Answer(400, {}, body)) == found


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("0", 0.0),
        ("60", 60.0),
        ("999999999", 999_999_999.0),
        ("Wed, 21 Oct 2026 07:29:00 GMT", 60.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("-5", None),
        ("1e9", None),
        ("NaN", None),
        ("", None),
        ("soon", None),
        ("٣", None),
        ("9" * 400, None),
    ],
)
def test_a_waiting_time_is_read_against_the_hosts_clock(text: str, wait: float | None) -> None:
    answer = Answer(429, {"retry-after": text, "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"")
    assert retry_after(answer) == wait


@pytest.mark.parametrize("value", [True, [], {}, "", "soon", 1e300, -1e300, float("nan"), "9999-12-31T23:59:59-14:00"])
def test_what_is_no_date_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="no date"):
        moment(value)


def test_dates_come_in_three_forms() -> None:
    assert moment(None) is None
    assert moment("2026-02-17T00:00:00Z") == moment(1_771_286_400) == moment("2026-02-17T01:00:00+01:00")


API = "https://api.example.org"


@pytest.mark.parametrize("name", ["images.example.org", "localhost", "a.b:1", "images.example.org:65535"])
def test_a_host_that_serves_images_is_named_with_or_without_a_port(name: str) -> None:
    assert extra_origins(API, API, [name]) == (f"https://{name}",)


@pytest.mark.parametrize(
    "name",
    ["a.b:0", "a.b:65536", "a.b:99999", "a.b:", "a.b:x", "https://a.b", "a.b/c", "a@b.c", "", "A.b", "a b", "[::1]"],
)
def test_what_is_no_host_is_refused_in_the_settings(name: str) -> None:
    with pytest.raises(SettingsError, match="url_hosts"):
        extra_origins(API, API, [name])
