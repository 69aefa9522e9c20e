"""One copy of each image, found again where an answer or a record was lost; and deletions that delete."""

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from doubles.imageupload import ImageUpload as Double
from doubles.server import Fault, Reply
from hosts.imageupload_setup import MONTH, a_host, a_payload, a_picture, list_one, opened, refused

from imghost.errors import Action, HostError
from imghost.net import Client

LOST = [
    Fault.RESET_AFTER_ROUTE,
    Fault.CLOSE_AFTER_ROUTE,
    Fault.HANG_AFTER_ROUTE,
    Fault.HTML_PAGE,
    Fault.TRUNCATED_JSON,
    Fault.SHORT_BODY,
    Fault.GZIP,
    Fault.MANY_HEADERS,
    Fault.NOT_HTTP,
]


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: fault.name)
def test_an_answer_lost_after_the_store_leads_to_the_one_copy(tmp_path: Path, fault: Fault) -> None:
    double = Double()
    with opened(double, timeout=0.5) as host:
        payload = a_payload(tmp_path)
        double.lose(fault)
        error = refused(host, payload)
        assert (error.action, error.is_ambiguous) == (Action.RETRY, True)
        hosted = host.upload(payload)
    assert (hosted.id in double.copies, hosted.is_new) == (True, False)
    assert (len(double.copies), len(double.uploads)) == (1, 1)


@pytest.mark.parametrize("fault", [Fault.RESET_AFTER_BODY, Fault.HANG], ids=lambda fault: fault.name)
def test_a_request_lost_before_the_store_is_sent_again(tmp_path: Path, fault: Fault) -> None:
    double = Double()
    with opened(double, timeout=0.5) as host:
        payload = a_payload(tmp_path)
        double.lose(fault, fault)
        refused(host, payload)
        refused(host, payload)
        assert host.upload(payload).is_new
    assert (len(double.copies), len(double.uploads)) == (1, 3)


def test_an_internal_error_is_followed_by_a_look(tmp_path: Path) -> None:
    double = Double()
    with opened(double, folder="docs") as host:
        host.ready()
        double.answer_next(Reply.json({"error": "internal"}, 500))
        refused(host, a_payload(tmp_path))
        assert host.upload(a_payload(tmp_path)).is_new
    assert [name for name, _ in double.calls].count("list_images") >= 1
    assert len(double.copies) == 1


def test_the_first_try_needs_no_look(tmp_path: Path) -> None:
    double = Double()
    with opened(double) as host:
        host.upload(a_payload(tmp_path))
        double.answer_next(Reply.json({"error": "slow"}, 429))
        refused(host, a_payload(tmp_path, a_picture(colour="red")))
        host.upload(a_payload(tmp_path, a_picture(colour="red")))
    assert double.calls == []


def test_nothing_is_sent_again_while_the_look_fails(tmp_path: Path) -> None:
    double = Double()
    with opened(double) as host:
        payload = a_payload(tmp_path)
        double.lose(Fault.CLOSE_AFTER_ROUTE)
        refused(host, payload)
        double.answer_tools(Reply.json({"error": "down"}, 503), Reply(200, b"<html>"))
        for _ in range(2):
            error = refused(host, payload)
            assert (error.action, error.is_ambiguous) == (Action.RETRY, True)
        assert host.upload(payload).is_new is False
    assert len(double.uploads) == 1


def test_a_host_whose_tools_are_gone_still_stores_images(tmp_path: Path) -> None:
    double = Double()
    with opened(double) as host:
        double.lose(Fault.CLOSE_AFTER_ROUTE)
        refused(host, a_payload(tmp_path))
        double.answer_tools(Reply(404, b"no such page"))
        assert host.upload(a_payload(tmp_path)).is_new


def test_many_threads_that_lose_their_answers_leave_one_copy_of_each_image(tmp_path: Path) -> None:
    double = Double()
    payloads = [a_payload(tmp_path, a_picture(colour=f"#{number:02d}7700")) for number in range(12)]
    with opened(double) as host:
        double.lose(*[Fault.CLOSE_AFTER_ROUTE] * 12)

        def stubborn(start: int) -> None:
            for payload in payloads[start::4]:
                for _ in range(4):
                    with suppress(HostError):
                        host.upload(payload)
                        break

        threads = [threading.Thread(target=stubborn, args=(start,)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert sorted(copy.name for copy in double.copies.values()) == sorted(payload.name for payload in payloads)


@pytest.mark.parametrize("shape", ["images", "items", "data"])
@pytest.mark.parametrize("answers_as", ["structured", "text", "events"])
def test_lost_records_are_found_in_every_form_of_a_list(tmp_path: Path, shape: str, answers_as: str) -> None:
    double = Double(shape=shape, answers_as=answers_as)
    with double, Client(5.0, environ={}) as client:
        stored = a_host(double.api_url, client).upload(a_payload(tmp_path))
        later = a_host(double.api_url, client)
        found = later.find(a_payload(tmp_path))
        assert later.find(a_payload(tmp_path, a_picture(colour="red"))) is None
    assert found is not None
    assert (found.url, found.id, found.expires, found.is_new) == (stored.url, stored.id, None, False)


def test_the_list_is_read_once_a_run_over_all_its_pages(tmp_path: Path) -> None:
    double = Double(page=2)
    payloads = [a_payload(tmp_path, a_picture(colour=f"#{number:02d}0000")) for number in range(5)]
    with double, Client(5.0, environ={}) as client:
        for payload in payloads:
            a_host(double.api_url, client).upload(payload)
        host = a_host(double.api_url, client)
        assert all(host.find(payload) for payload in payloads)
    assert [arguments["offset"] for _, arguments in double.calls] == [0, 2, 4, 5]


def test_a_host_that_ignores_the_offset_does_not_hold_a_build_for_ever(tmp_path: Path) -> None:
    double = Double()
    with opened(double) as host:
        page = {"images": [{"slug": "a", "direct_url": "https://imageupload.io/f/a.png"}]}
        double.answer_tools(*[Reply.json({"id": 1, "result": {"structuredContent": page}})] * 5)
        assert host.find(a_payload(tmp_path)) is None
    assert len(double.calls) == 2


def test_a_refused_look_is_not_repeated_for_each_image(tmp_path: Path) -> None:
    double = Double()
    with opened(double, "iu_live_rotated") as host:
        for _ in range(5):
            with pytest.raises(HostError, match="IMAGEUPLOAD_API_KEY"):
                host.find(a_payload(tmp_path))
    assert len(double.calls) == 1


@pytest.mark.parametrize(
    ("changes", "is_found"),
    [
        ({"expires_at": None}, True),
        ({"expiration": "forever"}, True),
        ({}, False),
        ({"expires_at": None, "expiration": "1mo"}, False),
        ({"expires_at": 4_000_000_000}, False),
        ({"expires_at": None, "filename": "other.png"}, False),
        ({"expires_at": None, "filename": None}, False),
        ({"expires_at": None, "size": 10_000_000}, False),
        ({"expires_at": None, "size": 1}, True),
        ({"expires_at": None, "size": None}, False),
        ({"expires_at": None, "width": None, "size": 1}, False),
        ({"expires_at": None, "width": None}, True),
        ({"expires_at": None, "width": 10}, False),
        ({"expires_at": None, "width": 6, "height": 9}, True),
        ({"expires_at": None, "view_limit": 1}, False),
        ({"expires_at": None, "password_protected": True}, False),
        ({"expires_at": None, "direct_url": "https://imageupload.io/i/abc"}, False),
        ({"expires_at": None, "direct_url": "https://evil.example/f/abc.png"}, False),
    ],
)
def test_only_a_copy_that_is_surely_the_payloads_is_found(
    tmp_path: Path, changes: dict[str, object], is_found: bool
) -> None:
    payload = a_payload(tmp_path)
    double = Double()
    with opened(double) as host:
        list_one(double, **{"filename": payload.name, "size": payload.bytes, **changes})
        assert (host.find(payload) is not None) is is_found


@pytest.mark.parametrize(
    ("days", "retention", "period", "is_found"),
    [
        (20, MONTH, 0, True),
        (6, MONTH, 0, False),
        (-1, MONTH, 0, False),
        (6, timedelta(days=7), 0, True),
        (20, MONTH, 20, False),
        (20, MONTH, 15, True),
        (50, timedelta(days=365), 0, True),
        (3000, None, 0, False),
    ],
)
def test_a_copy_that_ends_too_soon_or_is_what_a_renewal_renews_is_not_found(
    tmp_path: Path, days: int, retention: timedelta | None, period: int, is_found: bool
) -> None:
    ends = int((datetime.now(UTC) + timedelta(days=days)).timestamp())
    renewed = ends - (days - period) * 86_400 if period else 0
    payload = a_payload(tmp_path, period=renewed)
    double = Double()
    with opened(double, retention=retention) as host:
        list_one(double, filename=payload.name, size=payload.bytes, expires_at=ends)
        assert (host.find(payload) is not None) is is_found


def test_of_several_copies_the_longest_lived_counts(tmp_path: Path) -> None:
    double = Double()
    with double, Client(5.0, environ={}) as client:
        for retention in (timedelta(days=7), None, MONTH):
            a_host(double.api_url, client, retention=retention).upload(a_payload(tmp_path))
        found = a_host(double.api_url, client, retention=timedelta(days=7)).find(a_payload(tmp_path))
    assert found is not None
    assert found.expires is None


def test_a_wrong_clock_here_does_not_hide_a_copy(tmp_path: Path) -> None:
    """A host whose clock is a year away from ours still finds what it has just stored."""
    for away in (-365 * 86_400, 365 * 86_400):
        double = Double(clock=away)
        with opened(double, retention=MONTH) as host:
            double.lose(Fault.CLOSE_AFTER_ROUTE)
            refused(host, a_payload(tmp_path))
            assert host.upload(a_payload(tmp_path)).is_new is False
        assert len(double.copies) == 1


def test_a_copy_in_another_projects_folder_is_not_found_and_no_folder_is_made_to_look(tmp_path: Path) -> None:
    double = Double()
    with double, Client(5.0, environ={}) as client:
        other = a_host(double.api_url, client, folder="other")
        other.ready()
        other.upload(a_payload(tmp_path))
        assert a_host(double.api_url, client, folder="docs").find(a_payload(tmp_path)) is None
        assert a_host(double.api_url, client, folder="other").find(a_payload(tmp_path)) is not None
    assert list(double.folders) == ["other"]
