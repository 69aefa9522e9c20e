"""img.pro keeps images as long as asked, without a key and with one, or says so."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from doubles.imgpro import MONTH, UNVERIFIED, UPGRADE_LINK, VERIFIED, VERIFY_LINK
from doubles.imgpro import ImgPro as Double
from doubles.server import Reply, Server
from hosts.imgpro_setup import (
    EITHER,
    PERMANENT,
    THIRTY_DAYS,
    a_host,
    a_payload,
    a_picture,
    offline,
    opened,
    refused,
)

from imghost.errors import Action, HostError
from imghost.net import Client


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


def test_an_anonymous_answer_that_is_repeated_within_a_day_is_good_enough(tmp_path: Path) -> None:
    double = Double("images")
    with double, Client(environ={}) as client:
        first = a_host(double.api_url, client, None, THIRTY_DAYS).upload(a_payload(tmp_path))
        double.clock = 20 * 3600
        double.copies[first.id].expires = double.now() - 40 * 3600 + MONTH
        second = a_host(double.api_url, client, None, THIRTY_DAYS).upload(a_payload(tmp_path))
    assert second.id == first.id
    assert len(double.copies) == 1


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
