"""img.pro finds and lists what a project has there, and nothing of another project's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from doubles.imgpro import MONTH, VERIFIED
from doubles.imgpro import ImgPro as Double
from doubles.server import Reply, Server
from hosts.imgpro_setup import (
    EITHER,
    GENERATIONS,
    PERMANENT,
    THIRTY_DAYS,
    a_host,
    a_payload,
    filled,
    listings,
    opened,
    payloads,
)

from imghost.errors import Action, HostError
from imghost.hosts import Deletes, Finds, Imports, Secret, Tells
from imghost.hosts.answers import HostClock
from imghost.hosts.imgpro import Generation, ImgProOptions, read_fields
from imghost.hosts.imgpro.api import Api
from imghost.hosts.imgpro.host import Listing
from imghost.net import Client


@EITHER
def test_the_host_can_all_that_a_host_can(generation: str) -> None:
    with opened(Double(generation), namespace="docs") as host:
        assert isinstance(host, Finds)
        assert isinstance(host, Deletes)
        assert isinstance(host, Tells)
        assert isinstance(host, Imports)
        assert host.project == "docs"


@EITHER
@pytest.mark.parametrize("namespace", ["docs", None])
def test_what_is_there_is_found_without_an_upload(tmp_path: Path, generation: str, namespace: str | None) -> None:
    double = Double(generation)
    with double, Client(environ={}) as client:
        host = a_host(double.api_url, client, namespace=namespace)
        uploaded = [host.upload(payload) for payload in payloads(tmp_path, 5)]
        sent, asked = len(double.uploads), listings(double)
        host = a_host(double.api_url, client, namespace=namespace)
        found = [host.find(payload) for payload in payloads(tmp_path, 6)]
    assert [hosted and (hosted.url, hosted.id, hosted.is_new) for hosted in found[:5]] == [
        (hosted.url, hosted.id, False) for hosted in uploaded
    ]
    assert found[5] is None
    assert len(double.uploads) == sent
    assert listings(double) - asked == 1


@pytest.mark.parametrize(("generation", "questions"), [("upload", 3), ("images", 1 + 5)])
def test_a_large_project_is_listed_once_or_asked_by_image(tmp_path: Path, generation: str, questions: int) -> None:
    double = Double(generation, page=2)
    with double, Client(environ={}) as client:
        host = filled(double, client, tmp_path, 5)
        asked = listings(double)
        assert all(host.find(payload) for payload in payloads(tmp_path, 5))
    assert listings(double) - asked == questions


@EITHER
@pytest.mark.parametrize("is_filtering", [True, False])
@pytest.mark.parametrize(("theirs", "ours"), [("one", "two"), ("one", None), (None, "two"), (None, "default")])
def test_another_projects_picture_is_not_found(
    tmp_path: Path, generation: str, is_filtering: bool, theirs: str | None, ours: str | None
) -> None:
    double = Double(generation, is_filtering=is_filtering)
    with double, Client(environ={}) as client:
        filled(double, client, tmp_path, 1, theirs)
        assert a_host(double.api_url, client, namespace=theirs).find(*payloads(tmp_path, 1))
        assert a_host(double.api_url, client, namespace=ours).find(*payloads(tmp_path, 1)) is None


@EITHER
@pytest.mark.parametrize(
    ("days", "retention", "is_found"),
    [(None, PERMANENT, True), (400, PERMANENT, False), (20, THIRTY_DAYS, True), (5, THIRTY_DAYS, False)],
)
def test_only_a_copy_that_lasts_is_found(
    tmp_path: Path, generation: str, days: int | None, retention: timedelta | None, is_found: bool
) -> None:
    double = Double(generation)
    with double, Client(environ={}) as client:
        filled(double, client, tmp_path, 1)
        [copy] = double.copies.values()
        copy.expires = None if days is None else datetime.now(UTC).timestamp() + days * 86400
        found = a_host(double.api_url, client, VERIFIED, retention, namespace="docs").find(*payloads(tmp_path, 1))
    assert (found is not None) is is_found


@EITHER
def test_of_several_copies_the_longest_lived_is_found_whatever_its_terms(tmp_path: Path, generation: str) -> None:
    double = Double(generation, lifetime=MONTH)
    [payload] = payloads(tmp_path, 1)
    with double, Client(environ={}) as client:
        for retention, days in ((THIRTY_DAYS, 20), (timedelta(days=7), 25), (timedelta(days=8), 22)):
            hosted = a_host(double.api_url, client, VERIFIED, retention).upload(payload)
            double.copies[hosted.id].expires = datetime.now(UTC).timestamp() + days * 86400
        found = a_host(double.api_url, client, VERIFIED, THIRTY_DAYS).find(payload)
    assert len(double.copies) == 3
    assert found is not None
    assert found.id == list(double.copies)[1]


@EITHER
def test_a_copy_of_another_size_or_at_a_strange_address_is_not_found(tmp_path: Path, generation: str) -> None:
    double = Double(generation)
    with double, Client(environ={}) as client:
        filled(double, client, tmp_path, 2)
        one, two = double.copies.values()
        one.width, two.ending = 7, "html"
        host = a_host(double.api_url, client, namespace="docs")
        assert [host.find(payload) for payload in payloads(tmp_path, 2)] == [None, None]


@pytest.mark.parametrize(("width", "is_found"), [(9, True), (7, False)])
def test_an_image_whose_size_the_list_does_not_tell_is_asked_for_alone(
    tmp_path: Path, width: int, is_found: bool
) -> None:
    double = Double("upload", lists_sizes=False)
    with double, Client(environ={}) as client:
        host = filled(double, client, tmp_path, 3)
        double.copies["i000001"].width = width
        assert (host.find(payloads(tmp_path, 3)[1]) is not None) is is_found
    assert len(double.server.requests("GET", "/v1/media/i000001")) == 1
    assert len([r for r in double.server.requests("GET") if r.path.startswith("/v1/media/")]) == 1


def test_a_name_alone_does_not_prove_an_image_whose_size_nobody_tells(tmp_path: Path) -> None:
    double = Double("upload")
    with double, Client(environ={}) as client:
        host = filled(double, client, tmp_path, 1)
        double.is_processing = True
        assert host.find(*payloads(tmp_path, 1)) is None


@EITHER
def test_without_a_key_nothing_is_found_and_nothing_asked(tmp_path: Path, generation: str) -> None:
    double = Double(generation)
    with opened(double, None, THIRTY_DAYS) as host:
        assert host.find(a_payload(tmp_path)) is None
    assert not double.server.log


@EITHER
def test_a_key_that_may_not_list_is_told_so_where_a_search_was_asked_for(tmp_path: Path, generation: str) -> None:
    double = Double(generation, lists_labels=False)
    with opened(double) as host, pytest.raises(HostError) as caught:
        host.find(a_payload(tmp_path))
    assert caught.value.action is Action.STOP


@EITHER
@pytest.mark.parametrize("is_filtering", [True, False])
def test_a_list_has_the_projects_images_on_all_pages_and_no_others(
    tmp_path: Path, generation: str, is_filtering: bool
) -> None:
    double = Double(generation, page=3, is_filtering=is_filtering)
    with double, Client(environ={}) as client:
        filled(double, client, tmp_path, 2, None)
        ours = filled(double, client, tmp_path, 7)
        filled(double, client, tmp_path, 2, "other")
        asked = listings(double)
        listed = list(ours.listed())
        again = list(ours.listed())
    assert [one.id for one in listed] == [f"i{number:06d}" for number in range(2, 9)]
    assert listed == again
    assert listings(double) - asked == (3 if is_filtering else 4)
    assert all(one.url.startswith(double.server.url) and one.bytes for one in listed)
    assert all((one.uploaded is not None) is (generation == "upload") for one in listed)


@EITHER
def test_an_image_at_a_strange_address_is_not_offered_for_deletion(tmp_path: Path, generation: str) -> None:
    double = Double(generation)
    with double, Client(environ={}) as client:
        host = filled(double, client, tmp_path, 2)
        double.copies["i000000"].ending = "svg"
        assert [one.id for one in host.listed()] == ["i000001"]


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("cursor", ["a", "", None])
def test_a_list_that_goes_in_circles_ends_with_an_error(generation: str, cursor: str | None) -> None:
    page: dict[str, object] = {
        "items": [],
        "data": [],
        "cursor": cursor,
        "has_more": True,
        "pagination": {"next_cursor": cursor},
    }
    with Server(lambda _: Reply.json(page)) as server, Client(environ={}) as client:
        host = a_host(server.url, client, api=generation, namespace="docs")
        with pytest.raises(HostError, match="does not end its list") as caught:
            list(host.listed())
    assert caught.value.action is Action.STOP
    assert len(server.log) == (2 if cursor else 1)


@EITHER
def test_a_list_without_end_is_given_up(generation: Generation) -> None:
    server = Server(lambda r: Reply.json({"cursor": r.query.get("cursor", "") + "x", "has_more": True}))
    with server, Client(environ={}) as client:
        fields = read_fields(ImgProOptions(), PERMANENT)
        api = Api(client, server.url, Secret(VERIFIED), fields, HostClock(lambda: datetime.now(UTC)))
        listing = Listing(lambda: api, fields, pages=20)
        with pytest.raises(HostError, match="does not end its list"):
            listing.whole(generation)
    assert len(server.log) == 20
