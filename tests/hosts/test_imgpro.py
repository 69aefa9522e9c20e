"""img.pro in both generations of its API, against its double."""

import hashlib
import io
import json
import subprocess
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.hostile import HOSTILE_URLS
from doubles.imgpro import EXHAUSTED, MONTH, READ_ONLY, UNVERIFIED, UPGRADE_LINK, VERIFIED, VERIFY_LINK
from doubles.imgpro import ImgPro as Double
from doubles.server import Fault, Reply, Request, Server
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

from imghost.errors import Action, HostError, SettingsError
from imghost.hosts import Host, HostType, Secret, Setup
from imghost.hosts.imgpro import ImgPro, ImgProOptions
from imghost.http import Client
from imghost.models import Payload

PERMANENT = None
THIRTY_DAYS = timedelta(days=30)
GENERATIONS = ("upload", "images")
EITHER = pytest.mark.parametrize("generation", GENERATIONS)


def a_picture(size: tuple[int, int] = (9, 6), colour: str = "teal", form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Picture.new("RGB", size, colour).save(file, form)
    return file.getvalue()


def a_payload(folder: Path, body: bytes | None = None, **more: Any) -> Payload:
    body = a_picture() if body is None else body
    digest = hashlib.sha256(body).hexdigest()
    folder.mkdir(exist_ok=True)
    file = folder / digest
    file.write_bytes(body)
    known: dict[str, Any] = {"media_type": "image/png", "width": 9, "height": 6, **more}
    return Payload(digest, digest, file, len(body), **known)


def a_setup(client: Client, key: str | None = VERIFIED, retention: timedelta | None = PERMANENT) -> Setup:
    here = Path()
    return Setup(client, Secret(key) if key else None, retention, folder=here, site=here, environ={})


def a_host(
    api_url: str, client: Client, key: str | None = VERIFIED, retention: timedelta | None = PERMANENT, **more: Any
) -> ImgPro:
    return ImgPro(ImgProOptions(api_url=api_url, **more), a_setup(client, key, retention))


@contextmanager
def opened(
    double: Double, key: str | None = VERIFIED, retention: timedelta | None = PERMANENT, **more: Any
) -> Iterator[ImgPro]:
    with double, Client(5.0, environ={}) as client:
        yield a_host(double.api_url, client, key, retention, **more)


def refused(host: ImgPro, payload: Payload) -> HostError:
    with pytest.raises(HostError) as caught:
        host.upload(payload)
    return caught.value


def offline(**more: Any) -> ImgPro:
    options = {name: more.pop(name) for name in tuple(more) if name in ImgProOptions.__slots__}
    return ImgPro(ImgProOptions(**options), a_setup(Client(environ={}), **more))


def test_the_class_fits_what_an_entry_point_names() -> None:
    kind: HostType = ImgPro
    host: Host = kind(ImgProOptions(), a_setup(Client(environ={})))
    assert host.name == kind.name == "img.pro"
    assert kind.Options().api_url.startswith(kind.origin + "/")
    assert host.limits.retention is None
    assert not host.limits.keeps_animated_png


@EITHER
def test_an_upload_gives_a_url_that_serves_an_image_of_the_same_size(tmp_path: Path, generation: str) -> None:
    double = Double(generation)
    with opened(double) as host, Client(environ={}) as reader:
        quota = host.ready()
        hosted = host.upload(a_payload(tmp_path))
        answer = reader.fetch(hosted.url)
    assert quota.remaining == 100
    assert (hosted.is_new, hosted.expires) == (True, None)
    assert host.accepts(hosted.url)
    assert answer.headers["content-type"] == "image/png"
    with Picture.open(io.BytesIO(answer.body)) as served:
        assert served.size == (9, 6)


@EITHER
def test_the_usage_is_asked_once_and_shows_the_generation(tmp_path: Path, generation: str) -> None:
    double = Double(generation)
    with opened(double) as host:
        host.ready()
        host.upload(a_payload(tmp_path))
        host.upload(a_payload(tmp_path, a_picture(colour="red")))
    assert len(double.server.requests("GET", "/v1/usage")) == 1
    assert {request.path for request in double.uploads} == {f"/v1/{generation}"}


@EITHER
def test_a_host_that_was_not_asked_before_finds_the_generation_itself(tmp_path: Path, generation: str) -> None:
    double = Double(generation)
    with opened(double) as host:
        host.upload(a_payload(tmp_path))
    assert [request.path for request in double.uploads] == [f"/v1/{generation}"]


@EITHER
def test_a_forced_generation_is_spoken_whatever_the_usage_says(tmp_path: Path, generation: str) -> None:
    other = GENERATIONS[1 - GENERATIONS.index(generation)]
    double = Double(generation)
    with opened(double, api=other) as host:
        host.ready()
        error = refused(host, a_payload(tmp_path))
    assert error.action is Action.STOP
    assert "API has moved" in error.reason


def test_only_the_older_generations_verified_key_is_proven_before_the_first_upload() -> None:
    proven = {}
    for generation in GENERATIONS:
        with opened(Double(generation)) as host:
            proven[generation] = host.ready().is_proven
    assert proven == {"upload": True, "images": False}


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


def test_the_options_reach_the_older_generation(tmp_path: Path) -> None:
    double = Double()
    with opened(double, VERIFIED, THIRTY_DAYS, namespace="docs", tags=("a", "b"), public=False, ttl="90d") as host:
        payload = a_payload(tmp_path)
        hosted = host.upload(payload)
    fields, files = double.uploads[0].form()
    key = fields.pop("external_id")
    assert len(key) == 64
    assert fields == {
        "name": payload.name,
        "namespace": "docs",
        "tags": "a,b",
        "public": "false",
        "ttl": str(90 * 86400),
    }
    assert files["file"].name == payload.name
    assert hosted.expires is not None


def test_the_options_reach_the_newer_generation(tmp_path: Path) -> None:
    double = Double("images")
    with opened(double, namespace="docs", tags=("a", "b"), public=True) as host:
        payload = a_payload(tmp_path)
        host.upload(payload)
    fields, _ = double.uploads[0].form()
    labels = json.loads(fields.pop("labels"))
    assert labels == {
        "imghost": "docs",
        "key": double.uploads[0].headers["idempotency-key"],
        "sha256": payload.sha256,
    }
    assert json.loads(fields.pop("metadata")) == {"tags": ["a", "b"]}
    assert fields == {"public": "true"}


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


def test_a_turned_image_counts_as_the_same_size(tmp_path: Path) -> None:
    with opened(Double()) as host:
        assert host.upload(a_payload(tmp_path, width=6, height=9)).is_new


@EITHER
def test_an_image_that_is_still_worked_on_has_no_size_yet(tmp_path: Path, generation: str) -> None:
    with opened(Double(generation, is_processing=True)) as host:
        assert host.upload(a_payload(tmp_path)).is_new


def test_an_image_that_the_host_failed_to_read_stays_local(tmp_path: Path) -> None:
    double = Double("images")
    with opened(double) as host:
        media = {"object": "image", "id": "a", "url": "https://src.img.pro/t/a.png", "status": "failed"}
        double.answer_next(Reply.json(media))
        assert refused(host, a_payload(tmp_path)).action is Action.FILE


def test_the_oldest_envelope_is_read_too(tmp_path: Path) -> None:
    with opened(Double(has_envelope=True)) as host:
        assert host.upload(a_payload(tmp_path)).url.endswith(".png")


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


def test_without_a_key_and_for_thirty_days_images_go_up_anonymously(tmp_path: Path) -> None:
    double = Double()
    with opened(double, None, THIRTY_DAYS) as host:
        assert not host.lacks_credential
        assert not host.ready().is_proven
        hosted = host.upload(a_payload(tmp_path))
    assert hosted.expires is not None
    assert abs(hosted.expires - datetime.now(UTC) - THIRTY_DAYS) < timedelta(minutes=1)
    assert not double.server.requests("GET")
    assert "authorization" not in double.uploads[0].headers
    assert host.limits.retention == THIRTY_DAYS


def test_an_anonymous_upload_falls_back_to_the_newer_generation_and_remembers_it(tmp_path: Path) -> None:
    double = Double("images")
    with opened(double, None, THIRTY_DAYS) as host:
        for colour in ("red", "green", "blue"):
            host.upload(a_payload(tmp_path, a_picture(colour=colour)))
    assert [request.path for request in double.uploads] == ["/v1/upload", *["/v1/images"] * 3]
    assert len(double.copies) == 3


def test_threads_that_fall_back_together_all_arrive(tmp_path: Path) -> None:
    double = Double("images")
    payloads = [a_payload(tmp_path, a_picture(colour=f"#0000{number:02x}")) for number in range(12)]
    with opened(double, None, THIRTY_DAYS) as host, ThreadPoolExecutor(12) as pool:
        assert all(hosted.is_new for hosted in pool.map(host.upload, payloads))


@pytest.mark.parametrize("status", [404, 405, 410])
def test_no_forced_generation_falls_back(tmp_path: Path, status: int) -> None:
    with Server(lambda _: Reply(status)) as server, Client(environ={}) as client:
        host = a_host(server.url, client, None, THIRTY_DAYS, api="upload")
        assert refused(host, a_payload(tmp_path)).action is Action.STOP
    assert [request.path for request in server.log] == ["/upload"]


@pytest.mark.parametrize(
    ("key", "retention", "lacks"),
    [
        (None, PERMANENT, True),
        (None, timedelta(days=31), True),
        (None, THIRTY_DAYS, False),
        (None, timedelta(days=1), False),
        (VERIFIED, PERMANENT, False),
    ],
)
def test_only_what_outlives_thirty_days_needs_a_credential(
    key: str | None, retention: timedelta | None, lacks: bool
) -> None:
    assert offline(key=key, retention=retention).lacks_credential is lacks


@pytest.mark.parametrize("retention", [PERMANENT, timedelta(days=31)])
def test_an_unverified_key_is_refused_with_the_link_before_anything_is_sent(retention: timedelta | None) -> None:
    double = Double()
    with opened(double, UNVERIFIED, retention) as host, pytest.raises(HostError) as caught:
        host.ready()
    assert caught.value.action is Action.STOP
    assert VERIFY_LINK in caught.value.remedy
    assert not double.uploads


def test_an_unverified_key_is_enough_for_thirty_days(tmp_path: Path) -> None:
    with opened(Double(), UNVERIFIED, THIRTY_DAYS) as host:
        host.ready()
        assert host.upload(a_payload(tmp_path)).expires is not None


@EITHER
@pytest.mark.parametrize("retention", [PERMANENT, timedelta(days=60)])
def test_an_image_that_ends_sooner_than_asked_stops_the_rest(
    tmp_path: Path, generation: str, retention: timedelta | None
) -> None:
    with opened(Double(generation, lifetime=MONTH), VERIFIED, retention) as host:
        error = refused(host, a_payload(tmp_path))
    assert error.action is Action.STOP
    assert UPGRADE_LINK in error.remedy
    assert "sooner than `retention` asks" in error.reason


@pytest.mark.parametrize(
    ("expires", "is_enough"),
    [(3600, False), (20 * 86400, False), (31 * 86400, True), (400 * 86400, True), (None, True)],
)
@pytest.mark.parametrize("form", ["unix", "iso", "zulu"])
def test_the_answers_expiry_counts_in_each_form(
    tmp_path: Path, expires: int | None, is_enough: bool, form: str
) -> None:
    moment = None if expires is None else datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=expires)
    text = None if moment is None else moment.isoformat()
    written = {
        "unix": None if moment is None else int(moment.timestamp()),
        "iso": text,
        "zulu": text and text.replace("+00:00", "Z"),
    }
    double = Double()
    with opened(double, VERIFIED, THIRTY_DAYS) as host:
        media = {"id": "a", "src": "https://src.img.pro/t/a.png", "expires_at": written[form]}
        double.answer_next(Reply.json(media))
        if is_enough:
            assert host.upload(a_payload(tmp_path)).expires == moment
        else:
            assert refused(host, a_payload(tmp_path)).action is Action.STOP


@pytest.mark.parametrize("expires", [True, "soon", "", [], {}, 1e30, -1e30, 10**400])
def test_an_expiry_that_cannot_be_read_is_never_permanent(tmp_path: Path, expires: object) -> None:
    double = Double()
    with opened(double) as host:
        double.answer_next(Reply.json({"id": "a", "src": "https://src.img.pro/t/a.png", "expires_at": expires}))
        assert refused(host, a_payload(tmp_path)).is_ambiguous


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


@pytest.fixture(scope="module")
def answering() -> Iterator[tuple[Double, ImgPro, Double, ImgPro]]:
    """One double and host for each generation, for tests that give the double its answers."""
    older, newer = Double("upload"), Double("images")
    with older, newer, Client(5.0, environ={}) as client:
        yield older, a_host(older.api_url, client), newer, a_host(newer.api_url, client)


Answering = tuple[Double, ImgPro, Double, ImgPro]


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


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize(
    "media",
    [
        {"id": "a", "src": "https://src.img.pro/t/a.jpeg", "url": "https://img.pro/a", "unknown": [{}]},
        {"id": "a", "url": "https://src.img.pro/t/a.jpeg", "object": "image"},
        {"id": "a", "url": "https://src.img.pro/t/a.jpeg", "page_url": "https://img.pro/a", "src": 7},
        {"success": True, "data": {"id": "a", "src": "https://src.img.pro/t/a.jpeg"}},
    ],
)
def test_the_answers_shape_decides_which_field_is_the_image(
    answering: Answering, tmp_path: Path, status: int, media: object
) -> None:
    for double, host in (answering[:2], answering[2:]):
        double.answer_next(Reply.json(media, status))
        assert host.upload(a_payload(tmp_path)).url == "https://src.img.pro/t/a.jpeg"


@pytest.mark.parametrize(
    "media",
    [
        {"id": "a", "url": "https://img.pro/a"},
        {"id": "a", "link": "https://img.pro/a"},
        {"id": "a", "object": "image", "url": "https://img.pro/a"},
        {"id": "a", "src": "https://img.pro/a"},
        {"id": "a", "src": "https://img.pro/a.png"},
    ],
)
def test_a_page_about_the_image_is_refused(answering: Answering, tmp_path: Path, media: object) -> None:
    for double, host in (answering[:2], answering[2:]):
        double.answer_next(Reply.json(media, 201))
        assert refused(host, a_payload(tmp_path)).action in {Action.STOP, Action.FILE}


HOSTILE = [url.replace("i.img402.dev", "src.img.pro") if isinstance(url, str) else url for url in HOSTILE_URLS]
LEGITIMATE = "https://src.img.pro/4j2/abc_1-2.jpeg"


@pytest.mark.parametrize("url", HOSTILE)
def test_no_hostile_url_is_accepted(answering: Answering, tmp_path: Path, url: object) -> None:
    assert len(HOSTILE) >= 64
    double, host, _, _ = answering
    double.answer_next(Reply.json({"id": "a", "src": url}, 201))
    error = refused(host, a_payload(tmp_path))
    assert error.is_ambiguous
    assert error.reason.isprintable()
    assert not isinstance(url, str) or not host.accepts(url)


OFFLINE = offline()


@given(st.text())
def test_nothing_but_an_image_address_is_accepted(text: str) -> None:
    host = OFFLINE
    assert host.accepts(LEGITIMATE)
    assert not host.accepts(text)
    assert not host.accepts(LEGITIMATE + (text or " "))
    assert not host.accepts((text or " ") + LEGITIMATE)


@pytest.mark.parametrize(
    ("url", "is_accepted"),
    [
        ("https://src.img.pro/a.png", True),
        ("https://src.img.pro/t/a.png", True),
        ("https://src.img.pro/t/u/a.avif", True),
        ("https://src.img.pro/t/a.jpg?size=s", True),
        ("https://src.img.pro/t/a.jpg?format=webp&w=640", True),
        ("https://src.img.pro/t/u/v/a.png", False),
        ("https://src.img.pro/t/a", False),
        ("https://src.img.pro/t/a.svg", False),
        ("https://src.img.pro/t/a.html", False),
        ("https://src.img.pro/t/a.png?", False),
        ('https://src.img.pro/t/a.png?w="', False),
        ("https://src.img.pro/t/a.png?w=%22", False),
        ("https://src.img.pro/t/a.png#only-dark", False),
        ("http://src.img.pro/t/a.png", False),
        ("https://img.pro/abc123", False),
        ("https://img.pro/abc123.png", False),
        ("https://cdn.example/x/y/z/u/a.png", True),
        ("http://cdn.example/a.png", False),
        ("https://cdn.example:8443/a.png", False),
        ("http://127.0.0.1:8080/t/a.png", True),
        ("http://127.0.0.1:8080/t/a", False),
        ("http://127.0.0.1:8081/t/a.png", False),
        ("https://127.0.0.1:8080/t/a.png", False),
    ],
)
def test_an_address_is_accepted_from_the_image_domain_and_where_the_settings_say(url: str, is_accepted: bool) -> None:
    host = offline(api_url="http://127.0.0.1:8080/v1", url_hosts=("cdn.example",))
    assert host.accepts(url) is is_accepted
    assert host.origins == ("https://src.img.pro", "http://127.0.0.1:8080", "https://cdn.example")
    assert offline().origins == ("https://src.img.pro",)


def test_a_redirect_never_takes_the_key_along(tmp_path: Path) -> None:
    with Server(lambda _: Reply.json({})) as evil, Client(environ={}) as client:
        for status in (301, 302, 303, 307, 308):
            with Server(lambda _, status=status: Reply.redirect(evil.url, status)) as server:  # type: ignore[misc]
                for api in GENERATIONS:
                    host = a_host(server.url, client, api=api)
                    with pytest.raises(HostError, match="redirects") as caught:
                        host.ready()
                    assert caught.value.action is Action.STOP
                    assert refused(host, a_payload(tmp_path)).action is Action.STOP
    assert not evil.log


def _echo(request: Request) -> Reply:
    """Repeat the key wherever a text is printed, as careless servers do."""
    key = request.bearer or ""
    link = {"url": f"https://img.pro/{key}"}
    error = {"code": key, "type": key, "message": f"bad key {key}", "action": link, "details": {key: [key]}}
    status = 422 if request.path == "/upload" else 500
    return Reply.json({"error": error, "id": key, "src": f"https://img.pro/{key}"}, status)


def _texts(host: ImgPro, payload: Payload) -> list[str]:
    """Let both requests fail, and give all that could be printed of it."""
    texts = [repr(host), str(vars(host))]
    for act in (host.ready, lambda: host.upload(payload)):
        with pytest.raises(HostError) as caught:
            act()
        texts += [str(caught.value), "".join(traceback.format_exception(caught.value))]
    return texts


KEYS = [VERIFIED, "img_live_" + "x" * 40, "a" * 256, "img_live_(.*)+[\\]", 'img"live"quote\\', "img/live/slash"]


@EITHER
@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_the_host_repeats_is_in_no_exception(tmp_path: Path, generation: str, key: str) -> None:
    with Server(_echo) as server, Client(5.0, environ={}) as client:
        texts = _texts(a_host(server.url, client, key, api=generation), a_payload(tmp_path))
    assert [request.bearer for request in server.log] == [key] * len(server.log)
    assert not any(key in text or json.dumps(key)[1:-1] in text for text in texts)


@pytest.mark.parametrize("fault", Fault)
def test_the_key_is_in_no_exception_whatever_fails_on_the_wire(tmp_path: Path, fault: Fault) -> None:
    with Server(_echo) as server, Client(0.2, environ={}) as client:
        server.fail(fault, fault)
        texts = _texts(a_host(server.url, client, api="upload"), a_payload(tmp_path))
    assert not any(VERIFIED in text for text in texts)


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
    "usage",
    [
        (b'{"plan": "pro", "uploads_remaining": 5, "verified": true}', 5, "pro"),
        (b'{"plan": "pro", "uploads_used": 5, "uploads_limit": null, "verified": true}', None, "pro"),
        (b'{"plan": "free", "uploads_used": 5, "uploads_limit": 7}', 2, "free"),
        (b'{"plan": 1, "uploads_remaining": "many"}', None, ""),
        (b'{"plan": "f", "uploads_remaining": 5, "storage_used_bytes": 9, "storage_limit_bytes": 9}', 0, "f"),
        (b'{"success": true, "data": {"plan": "f", "uploads_remaining": 1}}', 1, "f"),
        (b'{"object": "usage", "plan": "free", "limits": {"images": {"used": 4990, "limit": 5000}}}', 10, "free"),
        (b'{"plan": "unlimited", "limits": {"images": {"used": 4990, "limit": null}}}', None, "unlimited"),
        (b'{"plan": "unlimited", "limits": {"images": {"used": 4990, "limit": -1}}}', None, "unlimited"),
        (b'{"limits": null}', None, ""),
    ],
)
def test_the_quota_is_read_from_each_form(usage: tuple[bytes, int | None, str]) -> None:
    body, remaining, plan = usage
    with Server(lambda _: Reply(200, body)) as server, Client(environ={}) as client:
        quota = a_host(server.url, client).ready()
    assert (quota.remaining, quota.plan) == (remaining, plan)


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


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"api": "uplaod"}, "upload"),
        ({"namespace": "a"}, "namespace"),
        ({"namespace": "Docs"}, "namespace"),
        ({"namespace": "a" * 65}, "namespace"),
        ({"namespace": "a\n"}, "namespace"),
        ({"tags": tuple("abcdefghijk")}, "tags"),
        ({"tags": ("",)}, "tags"),
        ({"tags": ("a,b",)}, "tags"),
        ({"tags": ("a" * 51,)}, "tags"),
        ({"tags": ("a\x1b",)}, "tags"),
        ({"ttl": "soon"}, "ttl"),
        ({"ttl": "90d"}, "retention"),
        ({"ttl": "6d", "retention": timedelta(days=7)}, "retention"),
        ({"url_hosts": ("https://cdn.example",)}, "url_hosts"),
        ({"api_url": "http://example.org/v1"}, "api_url"),
    ],
)
def test_an_option_that_cannot_work_is_refused_before_anything_is_sent(options: dict[str, Any], what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        offline(**options)


def test_a_warm_build_does_not_load_the_http_library() -> None:
    code = "import sys, imghost.hosts.imgpro; print(sorted({'httpx', 'httpcore', 'PIL', 'ssl'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
