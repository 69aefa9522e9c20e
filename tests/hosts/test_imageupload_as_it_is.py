"""imageupload.io as it is met: sessions, long lists, other projects' images, short months, plans that keep nothing long."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.imageupload import FREE, PRO
from doubles.imageupload import ImageUpload as Double
from doubles.imageupload_store import Copy
from hosts.imageupload_setup import a_host, a_payload, a_picture, opened, refused

from imghost.errors import Action
from imghost.hosts import Usage
from imghost.net import Client

DAY = 86_400


class Dated(Double):
    """One that tells when an image was stored."""

    def _entry(self, copy: Copy) -> dict[str, Any]:
        return {**super()._entry(copy), "created_at": copy.created}


def methods(double: Double) -> list[str]:
    return [request.json()["method"] for request in double.server.requests("POST", "/mcp")]


def test_a_session_is_begun_once_a_run_where_the_server_wants_one() -> None:
    double = Double()
    with opened(double, folder="docs") as host:
        host.ready()
        host.usage()
    assert methods(double).count("initialize") == methods(double).count("notifications/initialized") == 1
    assert [name for name, _ in double.calls] == ["get_quota", "list_folders", "create_folder", "get_quota"]


def test_a_server_that_wants_none_is_not_asked_for_one() -> None:
    double = Double(wants_greeting=False)
    with opened(double) as host:
        host.ready()
    assert methods(double) == ["tools/call"]


def test_a_session_that_has_ended_is_begun_again() -> None:
    double = Double()
    with opened(double) as host:
        host.ready()
        double.sessions.clear()
        assert host.usage().plan == "pro"
    assert methods(double).count("initialize") == 2


def test_a_server_that_refuses_every_greeting_is_asked_for_one_once_a_call() -> None:
    double = Double()
    with opened(double) as host:
        greeted = double._greeted
        double._greeted = lambda message: replace(greeted(message), status=500)  # type: ignore[method-assign]
        assert not host.ready().is_proven
    assert methods(double) == ["tools/call", "initialize"]


def test_a_list_of_more_than_two_hundred_answers_is_read_to_its_end(tmp_path: Path) -> None:
    double, payload = Double(wants_greeting=False), a_payload(tmp_path)
    with opened(double) as host:
        hosted = host.upload(payload)
        copy = double.copies.pop(hosted.id)
        double.copies |= {f"o{number}": replace(copy, slug=f"o{number}", name="other.png") for number in range(205)}
        double.copies[hosted.id] = copy
        double.page = 1
        found = host.find(payload)
    assert found is not None
    assert found.id == hosted.id


def test_without_a_folder_the_images_in_one_are_another_projects(tmp_path: Path) -> None:
    """It would be found, put into pages, and deleted by the other project's prune."""
    double, payload = Double(folders={"other": "other"}), a_payload(tmp_path)
    with double, Client(5.0, environ={}) as client:
        theirs = a_host(double.api_url, client, folder="other").upload(payload)
        ours = a_host(double.api_url, client)
        assert ours.find(payload) is None
        hosted = ours.upload(payload)
        assert hosted.id != theirs.id
        assert a_host(double.api_url, client).find(payload) is not None


@pytest.mark.parametrize(
    ("expiration", "days", "retention", "is_enough"),
    [("1mo", 28, 30, True), ("1mo", 26, 30, False), ("3mo", 89, 90, True), ("3mo", 84, 90, False), ("1w", 6, 7, False)],
)
def test_a_month_may_have_28_days(tmp_path: Path, expiration: str, days: int, retention: int, is_enough: bool) -> None:
    double = Double()
    double.changes = {"expires_at": int(time.time()) + days * DAY + 60}
    with opened(double, PRO, timedelta(days=retention), expiration=expiration) as host:
        if is_enough:
            assert host.upload(a_payload(tmp_path)).expires is not None
        else:
            assert refused(host, a_payload(tmp_path)).action is Action.STOP


def test_a_plan_that_keeps_nothing_as_long_as_asked_is_not_sent_another_image(tmp_path: Path) -> None:
    """Ten uploads a month are gone after ten builds otherwise; it shows where the host tells when an image came."""
    double = Dated()
    payloads = [a_payload(tmp_path, a_picture(colour=colour)) for colour in ("red", "blue")]
    with double, Client(5.0, environ={}) as client:
        for _ in range(3):
            host = a_host(double.api_url, client, FREE, timedelta(days=30))
            host.ready()
            double.changes = {"expires_at": int(time.time()) + 7 * DAY}
            for payload in payloads[:1]:
                assert "sooner than `retention`" in str(refused(host, payload))
            for copy in double.copies.values():
                copy.expires = int(time.time()) + 7 * DAY
    assert len(double.uploads) == 1


def test_a_renewal_of_what_has_become_permanent_is_none(tmp_path: Path) -> None:
    double, payload = Double(), a_payload(tmp_path)
    with double, Client(5.0, environ={}) as client:
        hosted = a_host(double.api_url, client, PRO, timedelta(days=30), expiration="1mo").upload(payload)
        assert hosted.expires is not None
        renewal = replace(payload, period=int(hosted.expires.timestamp()))
        copy = double.copies[hosted.id]
        copy.expires, copy.expiration = None, "forever"
        again = a_host(double.api_url, client, PRO, timedelta(days=30)).upload(renewal)
    assert (again.id, again.expires, again.is_new) == (hosted.id, None, False)
    assert len(double.uploads) == 1


@pytest.mark.parametrize(
    ("expiration", "retention", "key", "sent"),
    [
        ("forever", 30, FREE, ["forever", "3mo", "1mo", "1mo"]),
        ("3mo", 30, FREE, ["3mo", "1mo", "1mo"]),
        ("forever", 7, FREE, ["forever", "3mo", "1mo", "1mo"]),
        ("forever", 30, PRO, ["forever", "forever"]),
    ],
)
def test_a_shorter_term_is_asked_for_where_the_plan_refuses_one_and_the_retention_allows(
    tmp_path: Path, expiration: str, retention: int, key: str, sent: list[str]
) -> None:
    double = Double()
    with opened(double, key, timedelta(days=retention), expiration=expiration) as host:
        for colour in ("red", "blue"):
            host.upload(a_payload(tmp_path, a_picture(colour=colour)))
    assert [request.form()[0]["expiration"] for request in double.uploads] == sent
    assert len(double.copies) == 2


@pytest.mark.parametrize(("expiration", "retention"), [("forever", None), ("3mo", 60), ("forever", 90)])
def test_no_term_is_asked_for_that_is_shorter_than_the_retention(
    tmp_path: Path, expiration: str, retention: int | None
) -> None:
    double = Double()
    kept = None if retention is None else timedelta(days=retention)
    with opened(double, FREE, kept, expiration=expiration) as host:
        refused(host, a_payload(tmp_path))
    lives = {"3mo": 90, "1mo": 30, "forever": 10_000}
    asked = {request.form()[0]["expiration"] for request in double.uploads}
    assert all(lives[term] >= (retention or 10_000) for term in asked)
    assert not double.copies


def test_a_copy_of_a_shorter_retention_shows_nothing_of_the_plan(tmp_path: Path) -> None:
    double, payload = Dated(), a_payload(tmp_path)
    with double, Client(5.0, environ={}) as client:
        a_host(double.api_url, client, FREE, timedelta(days=7)).upload(payload)
        host = a_host(double.api_url, client, FREE, timedelta(days=30))
        host.ready()
        assert host.upload(payload).expires is not None
    assert [copy.expiration for copy in double.copies.values()] == ["1w", "1mo"]


@pytest.mark.parametrize("asked", [30, 60, None])
def test_copies_without_a_date_that_end_too_soon_stop_the_third_upload(tmp_path: Path, asked: int | None) -> None:
    """A fresh local store, as every CI has, at an account whose plan keeps images for a week."""
    double, payload = Double(shortens=7 * DAY), a_payload(tmp_path)
    kept = None if asked is None else timedelta(days=asked)
    problems = []
    with double, Client(5.0, environ={}) as client:
        for _ in range(6):
            host = a_host(double.api_url, client, FREE if asked == 30 else PRO, kept)
            host.ready()
            host._is_proven = False
            problems.append(refused(host, payload))
    assert len(double.copies) == 2
    assert {problem.action for problem in problems} == {Action.STOP}
    assert all("sooner than `retention` asks" in problem.reason for problem in problems)


def test_one_old_copy_without_a_date_is_followed_by_a_new_one(tmp_path: Path) -> None:
    """What is left of it says nothing of the plan."""
    double, payload = Double(), a_payload(tmp_path)
    with double, Client(5.0, environ={}) as client:
        first = a_host(double.api_url, client, FREE, timedelta(days=30)).upload(payload)
        double.clock = 27 * DAY
        host = a_host(double.api_url, client, FREE, timedelta(days=30))
        host.ready()
        again = host.upload(payload)
    assert again.id != first.id
    assert len(double.copies) == 2


@pytest.mark.parametrize(
    ("told", "is_refused"), [("image/webp", True), (" IMAGE/PNG ", False), (None, False), (7, False)]
)
def test_an_answer_about_another_type_is_no_success(tmp_path: Path, told: object, *, is_refused: bool) -> None:
    with opened(Double(changes={"mime": told})) as host:
        if is_refused:
            problem = refused(host, a_payload(tmp_path))
            assert (problem.action, problem.is_ambiguous, "image/webp" in problem.reason) == (Action.FILE, True, True)
        else:
            assert host.upload(a_payload(tmp_path)).url


@pytest.mark.parametrize(
    ("told", "is_refused"),
    [(10_000_000, True), (1, False), (0, False), (None, False), ("7", False), (-1, False), (True, False)],
)
def test_an_answer_about_more_bytes_than_were_sent_is_no_success(
    tmp_path: Path, told: object, *, is_refused: bool
) -> None:
    """Fewer may be: the host takes metadata off."""
    with opened(Double(changes={"size": told})) as host:
        payload = a_payload(tmp_path)
        if is_refused:
            problem = refused(host, payload)
            assert (problem.action, problem.is_ambiguous, problem.is_final) == (Action.FILE, True, False)
            assert f"10,000,000 bytes, of {payload.bytes} that were sent" in problem.reason
        else:
            assert host.upload(payload).url


@pytest.mark.parametrize(
    ("folder", "told", "note"),
    [("docs", None, True), ("docs", "other", True), ("docs", {"slug": "docs"}, False), ("", None, False)],
)
def test_an_image_that_lies_in_another_folder_than_asked_is_told_once(
    tmp_path: Path, folder: str, told: object, *, note: bool
) -> None:
    with opened(Double(changes={"folder": told}), folder=folder or None) as host:
        host.ready()
        for colour in ("red", "blue"):
            host.upload(a_payload(tmp_path, a_picture(colour=colour)))
        notes = host.notes()
    assert len(notes) == note
    assert all("2 images into the folder 'docs': `adopt` and `prune` will not find them" in line for line in notes)


@pytest.mark.parametrize(
    ("key", "count", "is_sent"),
    [(FREE, 25_000_001, False), (PRO, 25_000_001, True), (PRO, 50_000_001, False), ("", 60_000_000, True)],
)
def test_what_is_over_the_plans_size_is_not_sent_once_the_plan_is_known(
    tmp_path: Path, key: str, count: int, *, is_sent: bool
) -> None:
    """A plan that nobody knows is left to the host's answer."""
    double = Double()
    with opened(double, key or PRO, timedelta(days=7)) as host:
        if key:
            host.ready()
        payload = replace(a_payload(tmp_path), bytes=count)
        problem = None
        try:
            host._check_length(payload)
        except Exception as refusal:
            problem = refusal
        assert (problem is None) is is_sent
    assert not double.uploads
    assert (host.limits.max_bytes, host.limits.sure_bytes) == (100_000_000, 25_000_000)


def test_the_plans_storage_is_told() -> None:
    told: dict[str, Usage] = {}
    for key in (FREE, PRO):
        with opened(Double(), key) as host:
            told[host.usage().plan] = host.usage()
    assert {plan: usage.bytes_limit for plan, usage in told.items()} == {"free": 500_000_000, "pro": 50_000_000_000}
