"""img.pro as it is met: copies that are gone, accounts that are verified later, limits told in headers, metadata."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from canaries import credential
from doubles.imgpro import DAY, MONTH, VERIFIED
from doubles.imgpro import ImgPro as Double
from doubles.server import Reply, Request
from hosts.imgpro_setup import EITHER, PERMANENT, THIRTY_DAYS, a_host, a_payload, a_picture, offline, opened, refused

from imghost.errors import Action, SettingsError
from imghost.hosts.imgpro import ImgProOptions
from imghost.hosts.imgpro.api import read_account, read_media
from imghost.hosts.imgpro.host import ImgPro
from imghost.models import Facts, Image, Payload
from imghost.net import Client
from imghost.run.plan import Refusal, variant_of
from imghost.settings import read_host_options

URL = "https://src.img.pro/4j2/abc12345.jpg"


@EITHER
def test_a_copy_that_is_no_longer_served_leads_to_the_next_key(tmp_path: Path, generation: str) -> None:
    """Deleted by hand or by moderation, it is still a duplicate to the host."""
    double, payload = Double(generation), a_payload(tmp_path)
    with double, Client(5.0, environ={}) as client:
        first = a_host(double.api_url, client).upload(payload)
        serve = double._served
        double._served = lambda name, query: (  # type: ignore[method-assign]
            Reply(410, b"gone") if name.startswith(first.id) else serve(name, query)
        )
        again = a_host(double.api_url, client).upload(payload)
        third = a_host(double.api_url, client).upload(payload)
    assert again.id != first.id
    assert (third.id, third.is_new) == (again.id, False)
    assert len(double.copies) == 2


@EITHER
def test_a_renewal_after_the_account_was_verified_uploads_nothing(tmp_path: Path, generation: str) -> None:
    double, payload = Double(generation, lifetime=MONTH), a_payload(tmp_path)
    with double, Client(5.0, environ={}) as client:
        hosted = a_host(double.api_url, client, VERIFIED, THIRTY_DAYS).upload(payload)
        assert hosted.expires is not None
        [copy] = double.copies.values()
        copy.expires = None
        renewal = replace(payload, period=int(hosted.expires.timestamp()))
        again = a_host(double.api_url, client, VERIFIED, THIRTY_DAYS).upload(renewal)
    assert (again.id, again.expires, again.is_new) == (hosted.id, None, False)
    assert len(double.copies) == 1


@EITHER
def test_an_account_whose_images_do_not_last_stores_two_copies_and_not_one_a_build(
    tmp_path: Path, generation: str
) -> None:
    """Where the API does not say whether it is verified; and once it was, the next build stores the image for good."""
    double, payload = Double(generation, lifetime=MONTH), a_payload(tmp_path)

    def a_build(client: Client) -> ImgPro:
        host = a_host(double.api_url, client, VERIFIED, PERMANENT)
        host.ready()
        host._is_verified = None
        return host

    with double, Client(5.0, environ={}) as client:
        for number in range(4):
            assert refused(a_build(client), payload).action is Action.STOP
            assert len(double.copies) == min(number + 1, 2)
            if number < 2:  # as if the builds were a minute apart
                newest = list(double.copies.values())[-1]
                newest.expires = (newest.expires or 0) - 60 * (2 - number)
        for copy in double.copies.values():
            copy.created -= 2 * DAY
            copy.expires = (copy.expires or 0) - 2 * DAY
        double.lifetime = None
        assert a_build(client).upload(payload).expires is None
        assert len(double.copies) == 3


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ({"X-Monthly-Uploads-Limit": "100", "X-Monthly-Uploads-Remaining": "0"}, "uploads of this month"),
        ({"X-Storage-Limit": "5000", "X-Storage-Remaining": "0"}, "room"),
        ({"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0"}, "uploads of this hour"),
        ({"X-RateLimit-Limit-Daily": "100", "X-RateLimit-Remaining-Daily": "0"}, "uploads of this day"),
        ({"X-Monthly-Uploads-Limit": "0", "X-Monthly-Uploads-Remaining": "0"}, ""),
        ({"X-Monthly-Uploads-Limit": "100", "X-Monthly-Uploads-Remaining": "1"}, ""),
        ({"X-Monthly-Uploads-Remaining": "0"}, ""),
    ],
)
@EITHER
def test_what_an_answers_headers_say_is_left_counts_at_once(
    tmp_path: Path, generation: str, headers: dict[str, str], what: str
) -> None:
    double = Double(generation)
    with opened(double) as host:
        route = double.server.route
        double.server.route = lambda request: replace(
            reply := route(request), headers=(*reply.headers, *headers.items())
        )
        host.upload(a_payload(tmp_path))
        sent = len(double.uploads)
        second = a_payload(tmp_path, a_picture(colour="red"))
        if what:
            assert what in refused(host, second).reason
            assert len(double.uploads) == sent
        else:
            host.upload(second)


@pytest.mark.parametrize("told", [1, 10_000_000, 0, None, "9"])
@EITHER
def test_no_length_that_an_answer_tells_is_wrong(tmp_path: Path, generation: str, told: object) -> None:
    """The service encodes anew, and its copy may be smaller or larger than what was sent; pixels are compared."""
    double = Double(generation)
    with opened(double) as host:
        route, names = double.server.route, ("filesize", "bytes")

        def changed(request: Request) -> Reply:
            reply = route(request)
            if request.method != "POST":
                return reply
            media = json.loads(reply.body)
            return Reply.json({name: told if name in names else text for name, text in media.items()}, reply.status)

        double.server.route = changed
        assert host.upload(a_payload(tmp_path)).is_new


@pytest.mark.parametrize(("told", "left"), [(None, None), (-1, None), (0, None), (5, 3)])
@pytest.mark.parametrize("said", [None, -1, 0])
def test_an_unlimited_plan_has_no_number_left(told: int | None, left: int | None, said: int | None) -> None:
    body = {"plan": "unlimited", "uploads_used": 2, "uploads_limit": told}
    more = {} if told == 5 or said is None else {"uploads_remaining": said}
    assert read_account({**body, **more}).quota.remaining == left


@pytest.mark.parametrize("api", ["auto", "upload", "images"])
def test_each_generation_converts_in_its_own_way(api: str) -> None:
    host = offline(api=api)
    sized = f"{URL}?size=s"
    if api == "upload":
        assert host.converted(URL, "webp") == URL.replace(".jpg", ".webp")
        assert host.converted(sized, "avif") == sized.replace(".jpg", ".avif")
    else:
        assert host.converted(URL, "webp") == f"{URL}?format=webp"
    assert all(host.accepts(host.converted(url, form)) for url in (URL, sized) for form in ("webp", "avif"))


@EITHER
def test_metadata_goes_with_each_image(tmp_path: Path, generation: str) -> None:
    double = Double(generation)
    with opened(double, metadata={"project": "manual", "team": "docs"}, tags=("one",)) as host:
        host.upload(a_payload(tmp_path))
    [copy] = double.copies.values()
    if generation == "upload":
        assert (copy.fields["project"], copy.fields["team"], copy.fields["tags"]) == ("manual", "docs", "one")
    else:
        assert json.loads(copy.fields["metadata"]) == {"project": "manual", "team": "docs", "tags": ["one"]}


@pytest.mark.parametrize("raw", [{"project": "manual", "n": 5}, "project=manual, n=5"])
def test_metadata_is_a_mapping_or_what_a_command_line_has(raw: object) -> None:
    options = read_host_options(ImgProOptions, {"metadata": raw}, "img.pro")
    assert options.metadata == {"project": "manual", "n": "5"}


@pytest.mark.parametrize("raw", ["project", ["a"], {"a": ["b"]}, 5])
def test_metadata_that_is_none_is_refused(raw: object) -> None:
    with pytest.raises(SettingsError, match="metadata"):
        read_host_options(ImgProOptions, {"metadata": raw}, "img.pro")


@pytest.mark.parametrize(
    "options", [{"metadata": {"file": "x"}}, {"metadata": {"A b": "x"}}, {"date": "today"}, {"ttl": "59m"}]
)
def test_what_the_host_would_refuse_is_refused_before(options: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        offline(retention=timedelta(minutes=1), **options)


def test_an_age_that_only_one_field_tells_and_a_long_link_are_read() -> None:
    link = "https://img.pro/upgrade?sig=" + "a" * 350
    media = read_media(
        {"object": "image", "id": "a", "url": URL, "published_at": "2026-11-01T00:00:00Z", "upgrade": {"url": link}}
    )
    assert media.uploaded == datetime(2026, 11, 1, tzinfo=UTC)
    assert media.link == link


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 3 2"><path d="M0 0h3v2z"/></svg>'


def a_drawing(folder: Path, body: bytes = SVG) -> Payload:
    return a_payload(folder, body, media_type="image/svg+xml", width=3, height=2)


@EITHER
def test_a_drawing_goes_only_where_it_is_asked_for_and_served_as_one(tmp_path: Path, generation: str) -> None:
    with opened(Double(generation, drawings="svg"), svg=True) as host:
        hosted = host.upload(a_drawing(tmp_path))
        assert hosted.url.endswith(".svg")
        assert "image/svg+xml" in host.limits.formats
        large = refused(host, a_drawing(tmp_path, SVG + b" " * 10_000_000))
        assert (large.action, "up to 10 MB" in large.reason) == (Action.FILE, True)
    with opened(Double(generation, drawings="png"), svg=True) as host:
        other = refused(host, a_drawing(tmp_path))
    assert (other.action, other.reason) == (Action.FILE, "img.pro would not serve this drawing as one, but as png")
    plain = offline()
    assert "image/svg+xml" not in plain.limits.formats
    assert not plain.accepts(URL.replace(".jpg", ".svg"))


@pytest.mark.parametrize(("key", "most"), [(VERIFIED, 70_000_000), (None, 20_000_000)])
def test_what_is_larger_than_sure_is_sent_with_a_key_alone_and_made_to_fit_where_that_is_asked_for(
    key: str | None, most: int
) -> None:
    host = offline(key=key, retention=THIRTY_DAYS)
    assert (host.limits.max_bytes, host.limits.sure_bytes) == (most, 20_000_000)
    large = Image("a.gif", "a" * 64, 30_000_000, Facts("image/png", 9, 6))
    asked = {"metadata": "keep", "max_edge": None}
    assert variant_of(large, host.limits, oversize="resize", **asked) == "fit20000000"  # type: ignore[arg-type]
    kept = variant_of(large, host.limits, oversize="keep", **asked)  # type: ignore[arg-type]
    assert kept == "" if key else isinstance(kept, Refusal)


@EITHER
def test_an_apps_user_is_named_in_every_request_and_only_with_an_apps_key(tmp_path: Path, generation: str) -> None:
    key = credential("img_sk_live_app")
    double = Double(generation)
    double.keys[key] = "app"
    with opened(double, key, THIRTY_DAYS, user="reader-7") as host:
        host.upload(a_payload(tmp_path))
    asked = [request for request in double.server.requests() if request.path.startswith("/v1/")]
    assert {request.headers.get("x-img-user") for request in asked} == {"reader-7"}
    with opened(Double(generation)) as host:
        host.upload(a_payload(tmp_path))
        assert all("x-img-user" not in request.headers for request in double.server.requests()[len(asked) + 1 :])
    with pytest.raises(SettingsError, match="'user' needs an App's secret key, which begins with img_sk_"):
        offline(user="reader-7")
    with pytest.raises(SettingsError, match="'user' should be"):
        offline(key=key, user="a\r\nb: c")


@pytest.mark.parametrize("namespace", [None, "docs"])
def test_a_copy_is_looked_for_among_those_with_the_tags_where_no_namespace_makes_the_list_short(
    tmp_path: Path, namespace: str | None
) -> None:
    double, payload = Double("upload", page=1), a_payload(tmp_path)
    with double, Client(5.0, environ={}) as client:
        for number, tags in enumerate([("other",), ("a", "b"), ("a",)]):
            body = a_picture(colour=("red", "teal", "blue")[number])
            a_host(double.api_url, client, tags=tags, namespace=namespace).upload(a_payload(tmp_path, body))
        before = len(double.server.log)
        found = a_host(double.api_url, client, tags=("a", "b"), namespace=namespace).find(payload)
        lists = [request for request in double.server.log[before:] if request.path == "/v1/media"]
        assert found is not None
        assert ({"tags", "tag_mode"} <= lists[0].query.keys(), len(lists)) == (
            (True, 1) if not namespace else (False, 3)
        )
        # One that was stored before it had tags is found all the same.
        assert a_host(double.api_url, client, tags=("new",), namespace=namespace).find(payload) is not None
