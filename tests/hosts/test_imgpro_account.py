"""img.pro tells the account's usage, and makes keys that are shown once."""

import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from canaries import credential
from doubles.imgpro import EXHAUSTED, UNVERIFIED, VERIFY_LINK
from doubles.imgpro import ImgPro as Double
from doubles.server import Fault, Reply, Server
from hosts.imgpro_setup import EITHER, THIRTY_DAYS, a_host, a_payload, a_picture, opened

from imghost.errors import Action, HostError
from imghost.hosts import Usage
from imghost.hosts.imgpro.api import create_key
from imghost.net import Client

EMAIL = "docs@example.org"
KEY = credential("img_live_made")
MADE = {"key": KEY, "key_id": "k1", "verified": True}


def test_the_older_generation_tells_uploads_bytes_and_when_they_begin_anew(tmp_path: Path) -> None:
    with opened(Double()) as host:
        for colour in ("red", "green"):
            host.upload(a_payload(tmp_path, a_picture(colour=colour)))
        usage = host.usage()
    assert usage.resets is not None
    assert timedelta(hours=23) < usage.resets - datetime.now(UTC) < timedelta(hours=25)
    assert usage == Usage("free", 2, 100, 98, 0, 5_000_000_000, usage.resets)


def test_the_newer_generation_tells_the_images_that_it_stores(tmp_path: Path) -> None:
    with opened(Double("images")) as host:
        host.upload(a_payload(tmp_path))
        assert host.usage() == Usage("free", 1, 100, 99)


def test_an_unverified_account_is_told_with_its_link_and_is_no_error() -> None:
    with opened(Double(), UNVERIFIED) as host:
        assert host.usage().link == VERIFY_LINK


@EITHER
def test_a_used_up_account_has_nothing_left(generation: str) -> None:
    with opened(Double(generation), EXHAUSTED) as host:
        assert (host.usage().used, host.usage().remaining) == (100, 0)


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (b'{"plan": "pro", "limits": null, "totals": {"images_stored": 7}}', Usage("pro", 7)),
        (b'{"plan": "u", "limits": {"images": {"used": 7, "limit": -1}}}', Usage("u", 7)),
        (b'{"plan": "\\u001b[2J", "uploads_used": true, "resets_at": "soon"}', Usage("\\x1b[2J")),
        (b'{"plan": "p", "storage_used_bytes": 9, "storage_limit_bytes": 8}', Usage("p", None, None, 0, 9, 8)),
    ],
)
def test_what_the_account_does_not_say_is_unknown(body: bytes, usage: Usage) -> None:
    with Server(lambda _: Reply(200, body)) as server, Client(environ={}) as client:
        assert a_host(server.url, client).usage() == usage


def test_without_a_key_there_is_no_account_to_ask() -> None:
    double = Double()
    with opened(double, None, THIRTY_DAYS) as host, pytest.raises(HostError, match="only with a key") as caught:
        host.usage()
    assert caught.value.action is Action.STOP
    assert not double.server.log


def made_at(place: Double | Server, email: str = EMAIL, timeout: float = 5.0) -> HostError:
    """Try to make a key, and give why there is none."""
    url = place.url if isinstance(place, Server) else place.api_url
    with Client(timeout, environ={}) as client, pytest.raises(HostError) as caught:
        create_key(client, url, email)
    return caught.value


def test_a_made_key_uploads_and_shows_itself_to_nobody(tmp_path: Path) -> None:
    double = Double()
    with double, Client(environ={}) as client:
        made = create_key(client, double.api_url + "/", EMAIL, "docs")
        host = a_host(double.api_url, client, made.key.reveal(), THIRTY_DAYS)
        assert host.upload(a_payload(tmp_path)).is_new
    assert (made.id, made.is_verified, made.limits) == ("k1", False, "100 uploads, 5000 MB, 30 days")
    assert made.message == f"Verify {EMAIL} to keep images"
    assert made.key.reveal() in double.keys
    assert made.key.reveal() not in repr(made)
    [request] = double.server.requests("POST", "/v1/keys")
    assert request.json() == {"email": EMAIL, "name": "docs"}
    assert request.bearer is None


def test_an_address_has_three_keys_and_an_hour_five_tries() -> None:
    double = Double()
    with double, Client(environ={}) as client:
        for _ in range(3):
            create_key(client, double.api_url, EMAIL)
        errors = [made_at(double) for _ in range(3)]
    assert [error.action for error in errors] == [Action.STOP] * 3
    assert ["key_limit_reached" in error.reason for error in errors] == [True, True, False]
    assert "https://img.pro/apps" in errors[0].remedy
    assert errors[2].remedy == "try again in an hour"
    assert len(double.keys) == 3


def test_a_closed_registration_names_the_other_way() -> None:
    with Double(is_open=False) as double:
        error = made_at(double)
    assert (error.action, "https://img.pro/apps" in error.remedy) == (Action.STOP, True)


def test_the_newer_generation_makes_no_keys_and_the_error_says_where_people_do() -> None:
    with Double("images") as double:
        error = made_at(double)
    assert error.action is Action.STOP
    assert "https://img.pro/apps" in str(error)


@pytest.mark.parametrize("status", [404, 405, 410])
def test_a_host_without_that_request_is_said_to_have_none(status: int) -> None:
    with Server(lambda _: Reply(status)) as server:
        assert "https://img.pro/apps" in made_at(server).remedy


@pytest.mark.parametrize("email", ["", "docs", "@", "a@", "a b@example.org", "a@b@c", "a@example.org\n", "\x1b@a.b"])
def test_what_is_no_address_is_not_sent(email: str) -> None:
    with Double() as double:
        error = made_at(double, email)
        assert not double.server.log
    assert str(error).isprintable()


def test_an_address_that_the_host_refuses_is_named_as_the_cause() -> None:
    with Double() as double:
        error = made_at(double, "docs@localhost")
    assert error.action is Action.STOP
    assert "refuses the e-mail address" in error.reason
    assert "email: is not valid" in error.reason


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"key": None},
        {"key": ""},
        {"key": "short"},
        {"key": "a b c d e f"},
        {"key": "key\x1b[2Jkey\n"},
        {"key": "x" * 257},
    ],
)
def test_an_answer_without_a_sound_key_is_no_key(body: object) -> None:
    with Server(lambda _: Reply.json(body, 201)) as server:
        error = made_at(server)
    assert "has no key" in error.reason
    assert (error.action, error.is_ambiguous) == (Action.STOP, True)
    assert len(server.log) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"message": f"your key is {KEY}\n::error::"},
        {"key_id": KEY, "limits": {"uploads": KEY}},
        {"limits": [1], "message": 7, "verified": "yes", "key_id": None},
        {"limits": {"uploads": True, "storage_mb": -1, "retention_days": 10**400}},
    ],
)
def test_the_hosts_words_are_safe_to_print_and_do_not_repeat_the_key(more: dict[str, object]) -> None:
    with Server(lambda _: Reply.json({**MADE, **more}, 201)) as server, Client(environ={}) as client:
        made = create_key(client, server.url, EMAIL)
    told = f"{made.id}{made.limits}{made.message}"
    assert made.key.reveal() == KEY
    assert "img_live" not in told
    assert "::" not in told
    assert told.isprintable()
    assert made.limits == ""


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.SLOW])
def test_a_key_whose_answer_is_lost_is_in_no_exception(fault: Fault) -> None:
    with Server(lambda _: Reply.json(MADE, 201)) as server:
        server.fail(fault)
        error = made_at(server, timeout=0.2)
    assert KEY not in "".join(traceback.format_exception(error))


def test_a_redirect_does_not_take_the_address_along() -> None:
    with Server(lambda _: Reply.json(MADE, 201)) as evil, Server(lambda _: Reply.redirect(evil.url, 307)) as server:
        assert "redirects" in made_at(server).reason
    assert not evil.log
