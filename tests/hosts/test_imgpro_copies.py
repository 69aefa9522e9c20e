"""img.pro stores one copy, whatever is lost on the way: answers, records, a day."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.imgpro import MONTH, VERIFIED
from doubles.imgpro import ImgPro as Double
from doubles.server import Fault, Reply, Server
from hosts.imgpro_setup import EITHER, THIRTY_DAYS, a_host, a_payload, a_picture, opened, refused

from imghost.errors import Action
from imghost.models import Payload
from imghost.net import Client


@EITHER
def test_all_that_is_sent_is_the_same_for_the_same_bytes_under_another_path(tmp_path: Path, generation: str) -> None:
    sent = []
    for folder in ("one", "two"):
        double = Double(generation)
        with opened(double, namespace="docs", tags=("a", "b c"), public=False) as host:
            host.upload(replace(a_payload(tmp_path / folder), image=folder))
        [request] = double.uploads
        fields, files = request.form()
        sent.append((fields, files["file"], request.headers.get("idempotency-key")))
    assert sent[0] == sent[1]
    assert "one" not in json.dumps(sent[0][0])


def test_other_bytes_namespaces_retentions_and_renewals_have_other_keys(tmp_path: Path) -> None:
    double = Double()
    uploads: list[tuple[dict[str, Any], Payload]] = [
        ({}, a_payload(tmp_path)),
        ({}, a_payload(tmp_path, a_picture(colour="red"))),
        ({}, a_payload(tmp_path, period=1_900_000_000)),
        ({}, a_payload(tmp_path, period=1_900_000_001)),
        ({"namespace": "one"}, a_payload(tmp_path)),
        ({"namespace": "two"}, a_payload(tmp_path)),
        ({"retention": timedelta(days=7)}, a_payload(tmp_path)),
        ({"retention": timedelta(days=8)}, a_payload(tmp_path)),
    ]
    with double, Client(environ={}) as client:
        for settings, payload in uploads:
            a_host(double.api_url, client, **settings).upload(payload)
    assert len({request.form()[0]["external_id"] for request in double.uploads}) == len(uploads)
    assert len(double.copies) == len(uploads)


@EITHER
def test_an_answer_lost_after_the_store_leaves_one_copy(tmp_path: Path, generation: str) -> None:
    double = Double(generation)
    payload = a_payload(tmp_path)
    with opened(double) as host:
        host.ready()
        double.die_after_store(2)
        assert [refused(host, payload).is_ambiguous for _ in range(2)] == [True, True]
        hosted = host.upload(payload)
    assert len(double.copies) == 1
    assert hosted.id in double.copies


@EITHER
def test_an_anonymous_answer_lost_after_the_store_leaves_one_copy(tmp_path: Path, generation: str) -> None:
    double = Double(generation)
    payload = a_payload(tmp_path)
    with opened(double, None, THIRTY_DAYS) as host:
        double.server.fail(Fault.CLOSE_AFTER_ROUTE, when=lambda request: request.path == f"/v1/{generation}")
        refused(host, payload)
        hosted = host.upload(payload)
    assert list(double.copies) == [hosted.id]


@EITHER
@pytest.mark.parametrize("hours", [0, 30, 24 * 400])
def test_a_lost_record_leaves_one_copy(tmp_path: Path, generation: str, hours: int) -> None:
    double = Double(generation)
    payload = a_payload(tmp_path)
    with double, Client(environ={}) as client:
        first = a_host(double.api_url, client).upload(payload)
        double.clock = hours * 3600
        second = a_host(double.api_url, client).upload(payload)
    assert len(double.copies) == 1
    assert (second.url, second.id, second.is_new) == (first.url, first.id, False)


@pytest.mark.parametrize("place", ["flat", "media", "data"])
def test_the_existing_media_is_found_wherever_a_409_has_it(tmp_path: Path, place: str) -> None:
    double = Double(duplicates=place)
    with opened(double) as host:
        first = host.upload(a_payload(tmp_path))
        second = host.upload(a_payload(tmp_path))
    assert second == replace(first, is_new=False)


@EITHER
def test_another_namespace_does_not_take_over_a_picture(tmp_path: Path, generation: str) -> None:
    double = Double(generation)
    with double, Client(environ={}) as client:
        for namespace in ("one", "two", None):
            assert a_host(double.api_url, client, namespace=namespace).upload(a_payload(tmp_path)).is_new
    assert len(double.copies) == 3


def test_a_project_is_asked_for_as_a_whole_and_an_image_alone_only_where_there_are_more(tmp_path: Path) -> None:
    double = Double("images", page=2)
    payloads = [a_payload(tmp_path, a_picture(colour=colour)) for colour in ("red", "green", "blue")]
    with double, Client(environ={}) as client:
        for payload in payloads:
            a_host(double.api_url, client).upload(payload)
        before = len(double.server.requests("GET", "/v1/images"))
        host = a_host(double.api_url, client)
        found = [host.upload(payload) for payload in payloads]
    asked = [request.query for request in double.server.requests("GET", "/v1/images")[before:]]
    assert [hosted.is_new for hosted in found] == [False] * 3
    assert len(double.copies) == 3
    assert "label[imghost]" in asked[0]
    assert [query["label[sha256]"] for query in asked[1:]] == [payload.sha256 for payload in payloads]


def test_a_new_project_costs_one_question_for_all_of_its_images(tmp_path: Path) -> None:
    double = Double("images")
    payloads = [a_payload(tmp_path, a_picture(colour=f"#0000{number:02x}")) for number in range(12)]
    with opened(double) as host, ThreadPoolExecutor(6) as pool:
        assert all(hosted.is_new for hosted in pool.map(host.upload, payloads))
    assert len(double.server.requests("GET", "/v1/images")) == 1
    assert len(double.copies) == 12


def test_a_host_that_lists_nothing_still_takes_uploads(tmp_path: Path) -> None:
    with opened(Double("images", lists_labels=False)) as host:
        assert host.upload(a_payload(tmp_path)).is_new


@pytest.mark.parametrize(
    ("listing", "action"),
    [
        (Reply(200, b"{}"), None),
        (Reply(200, b'{"data": [7, {}, {"id": "a"}]}'), None),
        (Reply(403), None),
        (Reply(422), None),
        (Reply(200, b"<html>"), Action.RETRY),
        (Reply(503), Action.RETRY),
        (Reply(429), Action.WAIT),
        (Reply(401), Action.STOP),
    ],
)
def test_an_upload_waits_for_a_list_that_may_come_and_for_no_other(
    tmp_path: Path, listing: Reply, action: Action | None
) -> None:
    media = {"object": "image", "id": "a", "url": "https://src.img.pro/t/a.png"}
    server = Server(lambda request: listing if request.method == "GET" else Reply.json(media))
    with server, Client(environ={}) as client:
        host = a_host(server.url, client, api="images")
        if action is None:
            assert host.upload(a_payload(tmp_path)).is_new
        else:
            error = refused(host, a_payload(tmp_path))
            assert (error.action, error.is_ambiguous) == (action, False)
    assert len(server.requests("POST")) == (action is None)


@EITHER
def test_a_copy_that_is_about_to_end_is_renewed_once(tmp_path: Path, generation: str) -> None:
    double = Double(generation, lifetime=MONTH)
    payload = a_payload(tmp_path)
    with double, Client(environ={}) as client:
        first = a_host(double.api_url, client, VERIFIED, THIRTY_DAYS).upload(payload)
        found = []
        for days in (10, 5, 5):
            double.copies[first.id].expires = _soon(days)
            found.append(a_host(double.api_url, client, VERIFIED, THIRTY_DAYS).upload(payload))
    assert [hosted.is_new for hosted in found] == [False, True, False]
    assert [hosted.id == first.id for hosted in found] == [True, False, False]
    assert len(double.copies) == 2


def _soon(days: int) -> float:
    """Give the end of the hour some days ahead, which is the same moment twice."""
    hour = 3600
    return (datetime.now(UTC).timestamp() // hour + 1) * hour + days * 86400


@EITHER
def test_copies_that_were_stored_before_the_account_was_verified_are_replaced(tmp_path: Path, generation: str) -> None:
    double = Double(generation, lifetime=MONTH)
    payload = a_payload(tmp_path)
    with double, Client(environ={}) as client:
        assert refused(a_host(double.api_url, client), payload).action is Action.STOP
        double.lifetime = None
        hosted = a_host(double.api_url, client).upload(payload)
    assert hosted.is_new
    assert hosted.expires is None


def test_a_duplicate_of_another_size_is_not_taken_for_the_image(tmp_path: Path) -> None:
    double = Double()
    with opened(double) as host:
        host.upload(a_payload(tmp_path))
        next(iter(double.copies.values())).width = 7
        error = refused(host, a_payload(tmp_path))
    assert error.action is Action.FILE
    assert "7 x 6 pixels, not 9 x 6" in error.reason


def test_a_labelled_copy_of_another_size_is_not_adopted(tmp_path: Path) -> None:
    double = Double("images")
    payload = a_payload(tmp_path)
    with double, Client(environ={}) as client:
        a_host(double.api_url, client).upload(payload)
        next(iter(double.copies.values())).width = 7
        double.clock = 30 * 3600
        assert a_host(double.api_url, client).upload(payload).is_new


@pytest.mark.parametrize("code", ["idempotency_key_conflict", "idempotency_recovery_conflict"])
def test_a_key_conflict_is_answered_with_a_new_key_once(tmp_path: Path, code: str) -> None:
    double = Double("images")
    conflict = Reply.json({"error": {"type": "idempotency_error", "code": code}}, 409)
    with opened(double) as host:
        double.answer_next(conflict)
        assert host.upload(a_payload(tmp_path)).is_new
        double.answer_next(conflict, conflict)
        error = refused(host, a_payload(tmp_path, a_picture(colour="red")))
    keys = [request.headers["idempotency-key"] for request in double.uploads]
    assert len(keys) == len(set(keys)) == 4
    assert error.action is Action.FILE


def test_a_repetition_after_a_key_conflict_meets_the_same_copy(tmp_path: Path) -> None:
    double = Double("images", lists_labels=False)
    with double, Client(environ={}) as client:
        a_host(double.api_url, client, public=True).upload(a_payload(tmp_path))
        for _ in range(3):
            a_host(double.api_url, client, public=False).upload(a_payload(tmp_path))
    assert len(double.copies) == 2


def test_a_key_in_progress_is_waited_for(tmp_path: Path) -> None:
    double = Double("images")
    with opened(double) as host:
        double.answer_next(
            Reply.json({"error": {"code": "idempotency_key_in_progress"}}, 409),
            Reply.json({"error": {"code": "idempotency_key_in_progress", "action": {"retry_after": 3}}}, 409),
        )
        errors = [refused(host, a_payload(tmp_path)) for _ in range(2)]
        host.upload(a_payload(tmp_path))
    assert [(error.action, error.wait, error.is_ambiguous) for error in errors] == [
        (Action.WAIT, 30.0, True),
        (Action.WAIT, 3.0, True),
    ]
    assert len({request.headers["idempotency-key"] for request in double.uploads}) == 1
