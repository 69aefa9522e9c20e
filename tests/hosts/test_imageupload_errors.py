"""imageupload.io's documented errors, by REST and by its tools, each with what it asks for."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.imageupload import FREE, STARTER
from doubles.imageupload import ImageUpload as Double
from doubles.server import Reply, Server
from hosts.imageupload_setup import MONTH, Opened, a_host, a_payload, a_picture, opened, refused
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import Action, HostError
from imghost.hosts.answers import HostClock
from imghost.hosts.imageupload.api import (
    Api,
    Pace,
    ToolError,
    read_allowance,
    read_entries,
    read_entry,
    read_folders,
    read_slug,
    refused_upload,
)
from imghost.net import Answer, Client

FILE, STOP, WAIT, RETRY = Action.FILE, Action.STOP, Action.WAIT, Action.RETRY
QUOTA = {"used": 10, "limit": 10, "remaining": 0, "plan": "free", "upgrade_url": "/dashboard/profile#upgrade"}


@pytest.fixture(scope="module")
def answering() -> Iterator[Opened]:
    with Double() as double, Client(5.0, environ={}) as client:
        yield double, a_host(double.api_url, client)


REST = [
    *[(status, FILE) for status in (400, 403, 409, 413, 415, 418, 422)],
    *[(status, STOP) for status in (301, 302, 303, 307, 308, 401, 402, 404, 405, 410)],
    *[(status, RETRY) for status in (408, 425, 500, 502, 503, 504, 520)],
    (429, WAIT),
]


@pytest.mark.parametrize(
    "body", [{"error": "In words."}, {"error": {"message": "In words."}}, {"message": "In words."}]
)
@pytest.mark.parametrize(("status", "action"), REST)
def test_each_status_has_its_action(
    answering: Opened, tmp_path: Path, status: int, action: Action, body: dict[str, Any]
) -> None:
    double, host = answering
    host = a_host(double.api_url, host._api._client)
    double.answer_next(Reply.json(body, status, Location="https://elsewhere.example/"))
    error = refused(host, a_payload(tmp_path))
    assert error.action is action
    assert f"(HTTP {status}: In words.)" in error.reason
    assert error.is_ambiguous is (status >= 500 or status == 408)
    assert error.remedy or status in {409, 408, 425}


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"[]", b"\xff", b'"text"', b'{"error": 7}'])
def test_an_error_that_a_proxy_wrote_is_read_by_its_status(answering: Opened, tmp_path: Path, body: bytes) -> None:
    double, host = answering
    for status, action in ((413, FILE), (502, RETRY), (401, STOP)):
        double.answer_next(Reply(status, body))
        assert refused(a_host(double.api_url, host._api._client), a_payload(tmp_path)).action is action


def test_the_months_quota_stops_with_a_whole_link(answering: Opened, tmp_path: Path) -> None:
    double, host = answering
    for body in ({"error": "Monthly API upload quota exceeded", "quota": QUOTA}, {"error": {"quota": QUOTA}}):
        double.answer_next(Reply.json(body, 429, Retry_After="5"))
        error = refused(host, a_payload(tmp_path))
        assert (error.action, error.wait) == (STOP, None)
        assert f"{double.api_url}/dashboard/profile#upgrade" in error.remedy


def test_a_rate_limit_waits_as_told(answering: Opened, tmp_path: Path) -> None:
    double, host = answering
    for headers, wait in (({}, None), ({"Retry_After": "7"}, 7.0)):
        double.answer_next(Reply.json({"error": "Too many"}, 429, **headers))
        error = refused(host, a_payload(tmp_path))
        assert (error.action, error.wait, error.is_ambiguous) == (WAIT, wait, False)


def test_the_double_refuses_as_the_host_does(tmp_path: Path) -> None:
    with opened(Double(used={FREE: 10}), FREE, MONTH) as host:
        assert "no more uploads this month" in refused(host, a_payload(tmp_path)).reason
    with opened(Double(rate=1), STARTER) as host:
        host.upload(a_payload(tmp_path))
        assert refused(host, a_payload(tmp_path)).action is WAIT
    with opened(Double()) as host:
        error = refused(host, a_payload(tmp_path, b"<svg/>"))
    assert (error.action, "format" in error.reason) == (FILE, True)


def test_one_forbidden_image_stays_local_and_its_remedy_names_the_three_causes(tmp_path: Path) -> None:
    bad, good = a_picture(colour="red"), a_picture(colour="blue")
    with opened(Double(blocked={bad})) as host:
        for _ in range(3):
            error = refused(host, a_payload(tmp_path, bad))
            assert error.action is FILE
        assert all(cause in error.remedy for cause in ("storage", "plan", "moderation", "retention"))
        host.upload(a_payload(tmp_path, good))
        assert refused(host, a_payload(tmp_path, bad)).action is FILE


def test_two_forbidden_images_in_a_row_stop_the_host(tmp_path: Path) -> None:
    """A free plan that refuses to keep images for ever refuses each of them."""
    double = Double()
    with opened(double, FREE) as host:
        assert refused(host, a_payload(tmp_path, a_picture(colour="red"))).action is FILE
        assert refused(host, a_payload(tmp_path, a_picture(colour="blue"))).action is STOP
    assert not double.copies


@pytest.mark.parametrize(
    ("changes", "action", "said"),
    [
        ({"expires_at": 1_000_000_000}, STOP, "retention"),
        ({"expires_at": 0}, STOP, "retention"),
        ({"expires_at": None, "expiration": "1d"}, STOP, "how long"),
        ({"expires_at": "soon"}, STOP, "how long"),
        ({"expires_at": True}, STOP, "how long"),
        ({"expires_at": 10**30}, STOP, "how long"),
        ({"expires_at": [], "expiration": []}, STOP, "how long"),
        ({"view_limit": 3}, STOP, "views"),
        ({"password_protected": True}, STOP, "password"),
        ({"password_protected": ["x"]}, STOP, "password"),
        ({"expiration": "burn"}, STOP, "views"),
        ({"width": 7}, FILE, "7 x 6 pixels, not 9 x 6"),
        ({"ok": False, "error": "no"}, FILE, "no"),
        ({"slug": 7}, RETRY, "slug"),
        ({"slug": "../x"}, RETRY, "slug"),
        ({"direct_url": None}, RETRY, "direct_url"),
    ],
)
def test_a_success_that_would_break_a_page_is_an_error(
    tmp_path: Path, changes: dict[str, object], action: Action, said: str
) -> None:
    with opened(Double(changes=changes)) as host:
        error = refused(host, a_payload(tmp_path))
    assert error.action is action
    assert said in str(error)


def test_an_image_that_the_host_has_turned_is_accepted(tmp_path: Path) -> None:
    with opened(Double(changes={"width": 6, "height": 9})) as host:
        host.upload(a_payload(tmp_path))


def test_an_image_that_ends_sooner_than_asked_stops_with_what_the_host_allows(tmp_path: Path) -> None:
    body = {"slug": "a", "direct_url": "https://imageupload.io/f/a.png", "expires_at": 1_577_836_800 + 7 * 86_400}
    with (
        Server(lambda _: Reply.json(body, Date="Wed, 01 Jan 2020 00:10:00 GMT")) as server,
        Client(environ={}) as client,
    ):
        error = refused(a_host(server.url, client, retention=MONTH), a_payload(tmp_path))
        assert (error.action, "retention: 6d" in error.remedy) == (STOP, True)
        week = a_host(server.url, client, retention=timedelta(days=7))
        assert week.upload(a_payload(tmp_path)).id == "a"


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "soon"])
@pytest.mark.parametrize("expires", [253_402_300_799, -62_135_596_800, 0])
def test_dates_at_the_ends_of_time_are_answers_as_any_other(tmp_path: Path, date: str, expires: int) -> None:
    entry = {"slug": "a", "direct_url": "https://imageupload.io/f/a.png", "expires_at": expires, "expiration": "1mo"}
    body = {**entry, "id": 1, "result": {"structuredContent": {"images": [entry]}}}
    with Server(lambda _: Reply.json(body, Date=date)) as server, Client(environ={}) as client:
        for retention in (MONTH, timedelta(days=365_000)):
            host = a_host(server.url, client, retention=retention)
            with suppress(HostError):
                host.upload(a_payload(tmp_path))
            host.find(a_payload(tmp_path))


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b"{}", b'{"slug": "a"}', b'{"share_url": "x"}', b"{" * 9]
)
def test_a_success_that_makes_no_sense_is_retried_as_ambiguous(answering: Opened, tmp_path: Path, body: bytes) -> None:
    double, _ = answering
    with Client(5.0, environ={}) as client:
        host = a_host(double.api_url, client)
        double.answer_next(Reply(200, body))
        error = refused(host, a_payload(tmp_path))
    assert (error.action, error.is_ambiguous) == (RETRY, True)


TOOLS = [
    (-32602, 400, FILE),
    (-32001, 401, STOP),
    (-32603, 403, FILE),
    (-32004, 404, FILE),
    (-32602, 413, FILE),
    (-32002, 429, WAIT),
    (-32029, 429, STOP),
    (-32000, 500, RETRY),
    (-32004, 502, RETRY),
    (-32003, 503, RETRY),
    (-32601, 404, STOP),
    (-32700, 400, STOP),
    (-99999, 503, RETRY),
    (-99999, 200, RETRY),
    (None, 401, STOP),
    (None, 404, STOP),
    (None, 429, WAIT),
    (None, 307, STOP),
    (None, 502, RETRY),
]


@pytest.mark.parametrize(("code", "status", "action"), TOOLS)
def test_each_error_of_the_tools_has_its_action(
    answering: Opened, code: int | None, status: int, action: Action
) -> None:
    double, host = answering
    error = {"code": code, "message": "In words."} if code else "In words."
    for shown in {status, status if code in {None, -32004, -99999} else 200}:
        double.answer_tools(Reply.json({"jsonrpc": "2.0", "id": 1, "error": error}, shown))
        with pytest.raises(ToolError) as caught:
            host.usage()
        assert (caught.value.action, caught.value.code) == (action, code)
        assert "In words." in caught.value.reason
        assert caught.value.is_about_key is (action is STOP and status == 401)


def test_a_tool_that_says_it_failed_in_its_result_has_failed(answering: Opened) -> None:
    double, host = answering
    for result in (
        {
            "isError": True,
            "content": [{"type": "text", "text": "Invalid API key"}],
            "structuredContent": {"code": -32001},
        },
        {"isError": True, "content": [{"type": "text", "text": '{"code": -32001, "message": "Invalid API key"}'}]},
    ):
        double.answer_tools(Reply.json({"jsonrpc": "2.0", "id": 1, "result": result}))
        with pytest.raises(ToolError, match="Invalid API key") as caught:
            host.usage()
        assert caught.value.is_about_key


def test_tools_that_say_nothing_of_the_quota_are_an_error_only_for_who_asks(answering: Opened) -> None:
    double, host = answering
    double.answer_tools(Reply.json({"jsonrpc": "2.0", "id": 1, "result": {"structuredContent": {"hello": 1}}}))
    with pytest.raises(HostError, match="usage"):
        host.usage()


def test_uploads_at_the_hosts_pace_are_never_refused_for_their_speed(tmp_path: Path) -> None:
    with Double(rate=3, span=0.2) as double, Client(5.0, environ={}) as client:
        host = a_host(double.api_url, client)
        host._opened = Api(
            client, double.api_url, "", None, HostClock(lambda: datetime.now(UTC)), (Pace(3, 0.25), Pace(9, 0.1))
        )
        double.server.route = lambda request: double._route(
            type(request)(
                request.method, request.target, {**request.headers, "authorization": f"Bearer {STARTER}"}, request.body
            )
        )
        for number in range(8):
            host.upload(a_payload(tmp_path, a_picture((9, 6), f"#0000{number:02d}")))
    assert len(double.copies) == len(double.uploads) == 8


NAMES = (
    "slug direct_url filename size width expires_at expiration view_limit folder images items data folders name "
    "quota used limit remaining plan created_at"
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=6),
    max_leaves=12,
)


@given(VALUES)
def test_any_json_is_read_or_refused_as_what_it_is_not(value: Any) -> None:
    for reader in (read_entry, read_entries, read_folders, read_slug, read_allowance):
        if not isinstance(value, dict) and reader in {read_entries, read_folders, read_allowance}:
            continue
        try:
            reader(value)
        except ValueError:
            continue


@given(VALUES, st.sampled_from([200, 400, 401, 403, 429, 500, 302]))
def test_any_body_of_a_refusal_gives_one_printable_line(value: Any, status: int) -> None:
    error = refused_upload(
        Answer(status, {}, json.dumps({"error": value, "quota": value}).encode()), "https://a.example"
    )
    assert str(error).isprintable()
