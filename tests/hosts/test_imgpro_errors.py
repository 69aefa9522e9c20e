"""img.pro's documented errors in both generations, each with what it asks for."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from doubles.imgpro import EXHAUSTED, READ_ONLY, UPGRADE_LINK
from doubles.imgpro import ImgPro as Double
from doubles.server import Reply, Server
from hosts.imgpro_setup import (
    GENERATIONS,
    THIRTY_DAYS,
    Answering,
    a_host,
    a_payload,
    open_both,
    opened,
    refused,
)
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import Action, HostError
from imghost.hosts.imgpro.api import read_account, read_batch, read_existing, read_list, read_media, read_refusal
from imghost.net import Answer, Client


@pytest.fixture(scope="module")
def answering() -> Iterator[Answering]:
    with open_both() as both:
        yield both


def test_a_read_only_key_and_an_empty_quota_stop(tmp_path: Path) -> None:
    for generation in GENERATIONS:
        with opened(Double(generation), READ_ONLY) as host:
            assert refused(host, a_payload(tmp_path)).action is Action.STOP
        with opened(Double(generation), EXHAUSTED) as host:
            assert host.ready().remaining == 0
            error = refused(host, a_payload(tmp_path))
        assert error.action is Action.STOP
        assert UPGRADE_LINK in error.remedy


def test_a_file_that_is_no_image_stays_local(tmp_path: Path) -> None:
    for generation in GENERATIONS:
        with opened(Double(generation)) as host:
            assert refused(host, a_payload(tmp_path, b"<svg/>")).action is Action.FILE


def test_the_anonymous_rate_is_told_in_seconds(tmp_path: Path) -> None:
    with opened(Double(hourly=0), None, THIRTY_DAYS) as host:
        error = refused(host, a_payload(tmp_path))
    assert (error.action, error.wait) == (Action.WAIT, 3600.0)


FILE, STOP, WAIT, RETRY = Action.FILE, Action.STOP, Action.WAIT, Action.RETRY


OLDER = [
    (400, "missing_file", FILE),
    (400, "missing_url", FILE),
    (400, "file_too_large", FILE),
    (400, "unsupported_format", FILE),
    (400, "fetch_failed", FILE),
    (401, "unauthorized", STOP),
    (403, "forbidden", STOP),
    (403, "key_limit_reached", STOP),
    (403, "registration_closed", STOP),
    (404, "not_found", STOP),
    (409, "duplicate", FILE),
    (413, "quota_exceeded", STOP),
    (403, "quota_exceeded", STOP),
    (429, "quota_exceeded", STOP),
    (422, "validation_error", FILE),
    (429, "rate_limited", WAIT),
]


NEWER = [
    (401, "unauthorized", "authentication_error", STOP),
    (403, "forbidden", "permission_error", STOP),
    (402, "quota_exceeded", "quota_error", STOP),
    (403, "quota_exceeded", "quota_error", STOP),
    (413, "quota_exceeded", "quota_error", STOP),
    (429, "quota_exceeded", "quota_error", STOP),
    (403, "app_suspended", "permission_error", STOP),
    (403, "app_blocked", "permission_error", STOP),
    (503, "workspace_unavailable", "api_error", STOP),
    (403, "media_blocked", "permission_error", FILE),
    (403, "media_locked", "permission_error", FILE),
    (404, "not_found", "not_found_error", STOP),
    (422, "validation_error", "validation_error", FILE),
    (422, "media_failed", "validation_error", FILE),
    (429, "rate_limited", "rate_limit_error", WAIT),
    (502, "fetch_failed", "api_error", FILE),
    (504, "fetch_failed", "api_error", RETRY),
    (400, "brand_new", "authentication_error", STOP),
    (400, "brand_new", "permission_error", STOP),
    (400, "brand_new", "quota_error", STOP),
    (400, "brand_new", "rate_limit_error", WAIT),
    (403, "brand_new", "validation_error", FILE),
    (403, "brand_new", "brand_new_error", STOP),
    (422, "brand_new", "brand_new_error", FILE),
    (500, "brand_new", "brand_new_error", RETRY),
]


STATUSES = [
    *[(status, FILE) for status in (400, 409, 413, 415, 418, 422)],
    *[(status, STOP) for status in (301, 302, 303, 307, 308, 401, 402, 403, 404, 405, 410)],
    *[(status, RETRY) for status in (408, 425, 500, 502, 503, 504, 520)],
    (429, WAIT),
]


@pytest.mark.parametrize(("status", "code", "action"), OLDER)
def test_each_error_of_the_older_generation_has_its_action(
    answering: Answering, tmp_path: Path, status: int, code: str, action: Action
) -> None:
    double, host, _, _ = answering
    double.answer_next(Reply.json({"error": code, "message": "In words."}, status))
    error = refused(host, a_payload(tmp_path))
    assert error.action is action
    assert f"{code}: In words." in error.reason
    assert error.remedy


@pytest.mark.parametrize(("status", "code", "kind", "action"), NEWER)
def test_each_error_of_the_newer_generation_has_its_action(
    answering: Answering, tmp_path: Path, status: int, code: str, kind: str, action: Action
) -> None:
    _, _, double, host = answering
    double.answer_next(Reply.json({"error": {"type": kind, "code": code, "message": "In words."}}, status))
    error = refused(host, a_payload(tmp_path))
    assert error.action is action
    assert error.is_ambiguous is (status >= 500)
    assert f"{code}: In words." in error.reason


@pytest.mark.parametrize(("status", "action"), STATUSES)
@pytest.mark.parametrize("body", [b"", b"<h1>Error</h1>", b"[1]", b'{"error": {"code": 7}}', b'{"error": null}'])
def test_without_a_code_the_status_decides(
    answering: Answering, tmp_path: Path, status: int, action: Action, body: bytes
) -> None:
    for double, host in (answering[:2], answering[2:]):
        double.answer_next(Reply(status, body))
        error = refused(host, a_payload(tmp_path))
        assert error.action is action
        assert error.is_ambiguous is (status >= 500 or status == 408)


@pytest.mark.parametrize(
    ("body", "header", "wait"),
    [
        ({"error": "rate_limited"}, "7", 7.0),
        ({"error": "rate_limited", "action": {"seconds": 9}}, "7", 9.0),
        ({"error": "rate_limited", "action": {"seconds": 5}}, "7", 7.0),
        ({"error": {"code": "rate_limited", "action": {"retry_after": 11}}}, None, 11.0),
        ({"error": {"code": "rate_limited", "retry_after": 2.5}}, None, 2.5),
        ({"error": "rate_limited"}, None, None),
        ({"error": "rate_limited", "action": {"seconds": -5}}, "-1", None),
        ({"error": "rate_limited", "action": {"seconds": True}}, "soon", None),
        ({"error": "rate_limited", "action": {"seconds": 10**400}}, None, None),
        ({"error": "rate_limited", "action": "wait"}, None, None),
    ],
)
def test_the_longest_wait_that_makes_sense_counts(
    answering: Answering, tmp_path: Path, body: object, header: str | None, wait: float | None
) -> None:
    double, host, _, _ = answering
    double.answer_next(Reply.json(body, 429, **({"Retry_After": header} if header else {})))
    error = refused(host, a_payload(tmp_path))
    assert (error.action, error.wait) == (Action.WAIT, wait)


def test_a_503_that_names_a_time_is_waited_for(answering: Answering, tmp_path: Path) -> None:
    double, host, _, _ = answering
    double.answer_next(Reply.json({"error": {}}, 503, Retry_After="4"))
    error = refused(host, a_payload(tmp_path))
    assert (error.action, error.wait, error.is_ambiguous) == (Action.WAIT, 4.0, True)


@pytest.mark.parametrize("name", ["errors", "details"])
def test_a_validations_reasons_are_told(answering: Answering, tmp_path: Path, name: str) -> None:
    double, host, _, _ = answering
    reasons = {"file": ["is broken"], "ttl": "is short", "odd": 3}
    body = {"errors": {"error": "validation_error", "message": "Validation failed", "errors": reasons}}
    body |= {"details": {"error": {"code": "validation_error", "message": "Validation failed", "details": reasons}}}
    double.answer_next(Reply.json(body[name], 422))
    assert "Validation failed; file: is broken; ttl: is short" in refused(host, a_payload(tmp_path)).reason


USELESS = [
    b"",
    b"<!doctype html><title>Hello</title>",
    b"null",
    b"[]",
    b"{}",
    b'{"id": "a"}',
    b'{"id": "a", "src": null}',
    b'{"id": "a", "src": ["https://src.img.pro/t/a.png"]}',
    b'{"src": "https://src.img.pro/t/a.png"}',
    b'{"id": 7, "src": "https://src.img.pro/t/a.png"}',
    b'{"id": "../a", "src": "https://src.img.pro/t/a.png"}',
    b'{"id": "a", "id": "b", "src": "https://src.img.pro/t/a.png"}',
    b'{"id": "a", "src": "https://src.img.pro/t/a.png", "width": NaN}',
    b'{"id": "a", "object": "image"}',
    b"[" * 30_000,
]


@pytest.mark.parametrize("body", USELESS)
@pytest.mark.parametrize("status", [200, 201])
def test_a_success_without_an_image_may_have_stored_it(
    answering: Answering, tmp_path: Path, body: bytes, status: int
) -> None:
    for double, host in (answering[:2], answering[2:]):
        double.answer_next(Reply(status, body))
        error = refused(host, a_payload(tmp_path))
        assert (error.action, error.is_ambiguous) == (Action.RETRY, True)


def test_a_hosts_words_are_one_printable_line(answering: Answering, tmp_path: Path) -> None:
    double, host, _, _ = answering
    words = "\n::stop-commands::x\x1b[2J" + "y" * 5_000
    link = {"url": "https://img.pro/\x1b[2J"}
    double.answer_next(Reply.json({"error": words, "message": words, "action": link, "errors": {words: [words]}}, 422))
    error = refused(host, a_payload(tmp_path))
    assert str(error).isprintable()
    assert "::" not in str(error)
    assert "img.pro/\\" not in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        (Reply(200, b"<html>"), Action.RETRY),
        (Reply(200, b"{}"), Action.RETRY),
        (Reply(401), Action.STOP),
        (Reply(403), Action.STOP),
        (Reply(404), Action.STOP),
        (Reply(422), Action.STOP),
        (Reply(429), Action.WAIT),
        (Reply(500), Action.RETRY),
    ],
)
def test_a_usage_that_is_not_told_is_an_error_that_stored_nothing(reply: Reply, action: Action) -> None:
    with Server(lambda _: reply) as server, Client(environ={}) as client, pytest.raises(HostError) as caught:
        a_host(server.url, client).ready()
    assert (caught.value.action, caught.value.is_ambiguous) == (action, False)


FAULTY = ("error", "code", "type", "message", "action", "url", "seconds", "retry_after", "errors", "details")
GOOD = ("id", "src", "link", "object", "page_url", "data", "media", "expires_at", "width", "status", "labels")
ACCOUNT = ("success", "pagination", "has_more", "limits", "images", "used", "limit", "plan", "verified", "upgrade")
NAMES = st.sampled_from(FAULTY + GOOD + ACCOUNT)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)


@given(JSON, st.integers(200, 599))
def test_no_answer_breaks_the_reading(body: object, status: int) -> None:
    error = read_refusal(Answer(status, {}, json.dumps(body).encode())).error()
    assert str(error).isprintable()
    for read in (read_media, read_existing, read_list, read_batch, read_account):
        with suppress(ValueError, HostError):
            read(body)
