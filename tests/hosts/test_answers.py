"""What is read from any host's answer."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import SettingsError
from imghost.hosts.answers import HostClock, error_code, extra_origins, image_urls, moment, moment_of, retry_after
from imghost.net import Answer


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


@pytest.mark.parametrize(
    ("api_url", "url", "is_image"),
    [
        ("http://127.0.0.1:8080/img402", "http://127.0.0.1:8080/img402/a.png", True),
        ("http://127.0.0.1:8080/img402", "http://127.0.0.1:8080/a.png", True),
        ("https://proxy.example/one/two", "https://proxy.example/one/a.png", True),
        ("https://proxy.example/one/two/", "https://proxy.example/one/two/a.png", True),
        ("https://proxy.example/one/two", "https://proxy.example/two/a.png", False),
        ("https://proxy.example/one", "https://proxy.example/one/../a.png", False),
        ("https://proxy.example/o.e", "https://proxy.example/one/a.png", False),
        ("https://proxy.example/one", "https://cdn.example/one/a.png", False),
        ("https://host.example/one", "https://host.example/one/a.png", False),
    ],
)
def test_images_behind_a_reverse_proxy_are_the_hosts(api_url: str, url: str, is_image: bool) -> None:
    urls = image_urls(r"https://i\.host\.example/a\.png", r"/a\.png", api_url, "https://host.example", ["cdn.example"])
    assert (urls.fullmatch(url) is not None) is is_image
    assert urls.fullmatch("https://cdn.example/a.png")


def test_an_answer_from_a_cache_tells_the_time_with_its_age() -> None:
    """RFC 9111, section 4.2.3: what is 20 days old was made 20 days before it is read."""
    old = {"date": "Sun, 01 Nov 2026 12:00:00 GMT"}
    aged = {**old, "age": "1728000"}
    assert moment_of(Answer(200, old, b"")) == datetime(2026, 11, 1, 12, tzinfo=UTC)
    assert moment_of(Answer(200, aged, b"")) == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert moment_of(Answer(200, {**old, "age": "-5"}, b"")) == moment_of(Answer(200, old, b""))
    clock = HostClock(lambda: datetime(2026, 11, 21, 12, 1, tzinfo=UTC))
    clock.hear(Answer(200, aged, b""))
    assert clock.now() == datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_a_moment_in_milliseconds_is_the_one_in_seconds() -> None:
    assert moment(1_771_286_400_000) == moment(1_771_286_400)
    assert moment(1_771_286_400_500) == moment(1_771_286_400) + timedelta(seconds=0.5)
