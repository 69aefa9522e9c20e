"""img.pro fetches images by their URLs, once for each project and key."""

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from doubles.imgpro import READ_ONLY, UNVERIFIED, VERIFIED, VERIFY_LINK
from doubles.imgpro import ImgPro as Double
from doubles.server import Fault, Reply, Request, Server
from hosts.imgpro_setup import EITHER, THIRTY_DAYS, a_host, a_payload, a_picture, opened
from PIL import Image as Picture

from imghost.errors import Action, HostError
from imghost.hosts.imgpro.host import ImgPro
from imghost.net import Client

KEY = "3f" * 32
PLACES = {"upload": "/v1/import", "images": "/v1/images"}


def serve(request: Request) -> Reply:
    if request.path == "/badge.png":
        return Reply.image(a_picture(), "image/png")
    return Reply(200, b"<html>") if request.path == "/page.html" else Reply(404)


@pytest.fixture(scope="module")
def away() -> Iterator[Server]:
    """Somebody's server, which has one image."""
    with Server(serve) as server:
        yield server


def refusal(host: ImgPro, url: str) -> HostError:
    with pytest.raises(HostError) as caught:
        host.bring(url, KEY)
    return caught.value


@EITHER
def test_an_image_is_fetched_by_the_host_and_lives_there(away: Server, generation: str) -> None:
    double = Double(generation)
    before = len(away.log)
    with opened(double, namespace="docs") as host, Client(environ={}) as reader:
        hosted = host.bring(f"{away.url}/badge.png", KEY)
        assert host.accepts(hosted.url)
        with Picture.open(io.BytesIO(reader.fetch(hosted.url).body)) as served:
            assert served.size == (9, 6)
    assert (hosted.is_new, hosted.expires) == (True, None)
    assert [request.path for request in double.uploads] == [PLACES[generation]]
    assert len(away.log) - before == 1
    assert away.log[-1].bearer is None


@EITHER
@pytest.mark.parametrize("hours", [0, 30])
@pytest.mark.parametrize("page", [100, 1])
def test_a_repeated_import_is_the_same_copy(away: Server, generation: str, hours: int, page: int) -> None:
    double = Double(generation, page=page)
    with double, Client(environ={}) as client:
        a_host(double.api_url, client).bring(f"{away.url}/badge.png", "other")
        first = a_host(double.api_url, client).bring(f"{away.url}/badge.png", KEY)
        double.clock = hours * 3600
        again = a_host(double.api_url, client).bring(f"{away.url}/badge.png", KEY)
    assert (again.url, again.id, again.is_new) == (first.url, first.id, False)
    assert len(double.copies) == 2


@EITHER
def test_an_answer_lost_after_the_import_leaves_one_copy(away: Server, generation: str) -> None:
    double = Double(generation)
    with opened(double) as host:
        host.ready()
        double.server.fail(Fault.CLOSE_AFTER_ROUTE, when=lambda request: request.method == "POST")
        assert refusal(host, f"{away.url}/badge.png").is_ambiguous
        hosted = host.bring(f"{away.url}/badge.png", KEY)
    assert list(double.copies) == [hosted.id]


@EITHER
def test_two_projects_never_share_an_import_nor_delete_each_others(away: Server, generation: str) -> None:
    double = Double(generation)
    with double, Client(environ={}) as client:
        hosts = [a_host(double.api_url, client, namespace=name) for name in ("one", "two", None)]
        ids = [host.bring(f"{away.url}/badge.png", KEY).id for host in hosts]
        assert len(set(ids)) == 3
        assert set(hosts[1].delete(ids)) == {ids[0], ids[2]}
    assert list(double.copies) == [ids[0], ids[2]]


def test_the_options_reach_an_import_in_the_older_generation(away: Server) -> None:
    double = Double()
    with opened(double, VERIFIED, THIRTY_DAYS, namespace="docs", tags=("a", "b"), public=False, ttl="90d") as host:
        hosted = host.bring(f"{away.url}/badge.png", KEY)
    sent = double.uploads[0].json()
    assert len(sent.pop("external_id")) == 64
    assert sent == {
        "url": f"{away.url}/badge.png",
        "namespace": "docs",
        "tags": "a,b",
        "public": False,
        "ttl": 90 * 86400,
    }
    assert hosted.expires is not None


def test_the_options_reach_an_import_in_the_newer_generation(away: Server) -> None:
    double = Double("images")
    with opened(double, VERIFIED, THIRTY_DAYS, namespace="docs", tags=("a", "b"), public=True, ttl="90d") as host:
        host.bring(f"{away.url}/badge.png", KEY)
    [request] = double.uploads
    assert request.json() == {
        "url": f"{away.url}/badge.png",
        "labels": {"imghost": "docs", "key": request.headers["idempotency-key"]},
        "metadata": {"tags": ["a", "b"]},
        "public": True,
        "ttl": 90 * 86400,
    }


def test_the_ttl_and_the_visibility_reach_an_upload_in_the_newer_generation(tmp_path: Path) -> None:
    double = Double("images")
    with opened(double, VERIFIED, THIRTY_DAYS, public=False, ttl="90d") as host:
        expires = host.upload(a_payload(tmp_path)).expires
    fields, _ = double.uploads[0].form()
    assert (fields["public"], fields["ttl"], "metadata" in fields) == ("false", str(90 * 86400), False)
    assert expires is not None
    assert 89 <= (expires - datetime.now(UTC)).days <= 90


@EITHER
@pytest.mark.parametrize("path", ["/gone.png", "/page.html"])
def test_what_cannot_be_fetched_or_is_no_image_concerns_that_image_alone(
    away: Server, generation: str, path: str
) -> None:
    double = Double(generation)
    with opened(double) as host:
        error = refusal(host, away.url + path)
        assert host.bring(f"{away.url}/badge.png", KEY).is_new
    assert error.action is Action.FILE
    assert ("fetch_failed" in error.reason) is (path == "/gone.png")


@pytest.mark.parametrize(("generation", "action"), [("upload", Action.FILE), ("images", Action.RETRY)])
def test_a_server_too_slow_for_the_host_is_tried_again_where_the_host_says_that_it_was(
    generation: str, action: Action
) -> None:
    with Server(serve) as slow, opened(Double(generation, patience=0.1)) as host:
        slow.fail(Fault.HANG_AFTER_ROUTE)
        assert refusal(host, f"{slow.url}/badge.png").action is action


@EITHER
def test_an_address_that_is_not_public_is_the_hosts_to_refuse(generation: str) -> None:
    with opened(Double(generation)) as host:
        error = refusal(host, "http://10.0.0.1/badge.png")
    assert (error.action, "not public" in error.reason) == (Action.FILE, True)


@EITHER
def test_without_a_key_imports_are_anonymous_and_find_the_generation(away: Server, generation: str) -> None:
    double = Double(generation)
    with opened(double, None, THIRTY_DAYS) as host:
        for number in range(2):
            assert host.bring(f"{away.url}/badge.png", f"{number}").expires is not None
    paths = [request.path for request in double.uploads]
    assert paths == ([PLACES["upload"]] * 2 if generation == "upload" else [PLACES["upload"], *[PLACES["images"]] * 2])


@EITHER
def test_a_key_that_may_not_write_stops_imports(away: Server, generation: str) -> None:
    with opened(Double(generation), READ_ONLY) as host:
        assert refusal(host, f"{away.url}/badge.png").action is Action.STOP


def test_an_import_that_would_not_last_is_not_started(away: Server) -> None:
    double = Double()
    with opened(double, UNVERIFIED) as host:
        error = refusal(host, f"{away.url}/badge.png")
    assert error.action is Action.STOP
    assert VERIFY_LINK in error.remedy
    assert not double.uploads


@EITHER
@pytest.mark.parametrize("url", ["https://evil.example/a.png", "javascript:alert(1)", "https://img.pro/abc"])
def test_an_import_that_the_host_says_is_elsewhere_is_refused(away: Server, generation: str, url: str) -> None:
    double = Double(generation)
    with opened(double) as host:
        double.answer_next(Reply.json({"id": "a", "object": "image", "url": url}, 201))
        error = refusal(host, f"{away.url}/badge.png")
    assert (error.action, error.is_ambiguous) == (Action.FILE, True)


@pytest.mark.parametrize(("seconds", "allowed"), [(3600.0, {"hourly": 3}), (86400.0, {"hourly": 9, "daily": 3})])
@pytest.mark.parametrize("act", ["upload", "bring"])
@EITHER
def test_the_anonymous_limits_are_told_in_seconds_and_end(
    away: Server, tmp_path: Path, generation: str, act: str, seconds: float, allowed: dict[str, int]
) -> None:
    double = Double(generation, **allowed)  # type: ignore[arg-type]
    with opened(double, None, THIRTY_DAYS) as host:
        acts: dict[str, Callable[[int], object]] = {
            "upload": lambda number: host.upload(a_payload(tmp_path, a_picture(colour=f"#00000{number}"))),
            "bring": lambda number: host.bring(f"{away.url}/badge.png", str(number)),
        }
        for number in range(3):
            acts[act](number)
        with pytest.raises(HostError) as caught:
            acts[act](3)
        double.clock = seconds + 1
        acts[act](3)
    assert (caught.value.action, caught.value.wait) == (Action.WAIT, seconds)
    assert len(double.copies) == 4


@EITHER
def test_no_path_and_no_key_of_the_account_is_in_what_an_import_sends(away: Server, generation: str) -> None:
    double = Double(generation)
    with opened(double) as host:
        host.bring(f"{away.url}/badge.png", KEY)
    [request] = double.uploads
    assert VERIFIED not in json.dumps(request.json())
    assert request.bearer == VERIFIED
