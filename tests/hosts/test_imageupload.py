"""imageupload.io against its double: uploads, settings, quota, folders."""

import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.imageupload import FREE, PRO, STARTER
from doubles.imageupload import ImageUpload as Double
from doubles.server import Fault, Reply
from hosts.imageupload_setup import MONTH, a_host, a_payload, a_picture, offline, opened, refused
from PIL import Image as Picture

from imghost.errors import Action, HostError, SettingsError
from imghost.hosts import Deletes, Finds, Host, HostType, Tells, registry
from imghost.hosts.imageupload import ImageUpload
from imghost.hosts.imageupload_api import Pace
from imghost.http import Client
from imghost.settings import Settings


def test_the_class_fits_what_an_entry_point_names() -> None:
    kind: HostType = ImageUpload
    host: Host = offline()
    assert host.name == kind.name == "imageupload.io"
    assert kind.origin == kind.Options().api_url == "https://imageupload.io"
    assert registry.host_type("imageupload.io") is ImageUpload
    assert isinstance(host, Finds)
    assert isinstance(host, Deletes)
    assert isinstance(host, Tells)


def test_an_upload_gives_the_images_own_address_and_not_the_page_that_shares_it(tmp_path: Path) -> None:
    double = Double()
    with opened(double) as host, Client(environ={}) as reader:
        hosted = host.upload(a_payload(tmp_path))
        answer = reader.fetch(hosted.url)
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "image/png", a_picture())
    assert hosted.url == f"{double.api_url}/f/{hosted.id}.png"
    assert (hosted.expires, hosted.is_new) == (None, True)


@pytest.mark.parametrize(
    ("form", "media_type"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("AVIF", "image/avif"),
    ],
)
def test_each_part_says_its_media_type_and_a_name_made_of_its_digest(
    tmp_path: Path, form: str, media_type: str
) -> None:
    double = Double()
    with opened(double) as host:
        payload = a_payload(tmp_path, a_picture(form=form), media_type=media_type)
        assert host.accepts(host.upload(payload).url)
        _, files = double.uploads[0].form()
    assert (files["file"].media_type, files["file"].name) == (media_type, payload.name)
    assert payload.name.startswith(payload.sha256[:12])
    assert media_type in host.limits.formats


def test_an_svg_is_not_among_the_formats() -> None:
    assert "image/svg+xml" not in offline().limits.formats


@pytest.mark.parametrize(
    ("retention", "expiration", "least"),
    [
        (None, "forever", None),
        (timedelta(hours=5), "1d", 1),
        (timedelta(days=1), "1d", 1),
        (timedelta(days=2), "1w", 7),
        (timedelta(days=7), "1w", 7),
        (timedelta(days=8), "1mo", 30),
        (timedelta(days=30), "1mo", 30),
        (timedelta(days=31), "3mo", 90),
        (timedelta(days=90), "3mo", 90),
        (timedelta(days=91), "forever", None),
    ],
)
def test_the_shortest_expiration_that_suffices_is_always_sent(
    tmp_path: Path, retention: timedelta | None, expiration: str, least: int | None
) -> None:
    double = Double()
    with opened(double, retention=retention) as host:
        hosted = host.upload(a_payload(tmp_path))
        fields, _ = double.uploads[0].form()
    assert fields == {"expiration": expiration}
    assert host.limits.retention == (None if least is None else timedelta(days=least))
    assert (hosted.expires is None) is (least is None)
    if hosted.expires and least:
        assert abs(hosted.expires - datetime.now(UTC) - timedelta(days=least)) < timedelta(minutes=1)


def test_an_expiration_of_the_settings_is_sent_as_it_is_and_is_what_the_host_promises(tmp_path: Path) -> None:
    double = Double()
    with opened(double, retention=timedelta(days=7), expiration="3mo") as host:
        host.upload(a_payload(tmp_path))
    assert double.uploads[0].form()[0]["expiration"] == "3mo"
    assert host.limits.retention == timedelta(days=90)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"expiration": "burn"}, "use the image up"),
        ({"expiration": "views"}, "use the image up"),
        ({"expiration": "forevr"}, "did you mean 'forever'"),
        ({"expiration": ""}, "no expiration named"),
        ({"folder": ""}, "folder"),
        ({"folder": "x" * 41}, "folder"),
        ({"folder": "a\nb"}, "folder"),
        ({"folder": "unsorted"}, "no folder"),
        ({"folder": "Root"}, "no folder"),
        ({"url_hosts": ("https://a.example",)}, "url_hosts"),
        ({"api_url": "http://elsewhere.example"}, "api_url"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        offline(**options)


@pytest.mark.parametrize("option", ["password", "view_limit"])
def test_what_would_hide_images_from_readers_is_no_option(option: str, tmp_path: Path) -> None:
    settings = Settings(host="imageupload.io", options={option: "7"}, folder=tmp_path)
    with pytest.raises(SettingsError, match=option):
        registry.open_host("imageupload.io", settings, {}, Client(environ={}), tmp_path)


def test_an_expiration_shorter_than_the_retention_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    settings = Settings(host="imageupload.io", options={"expiration": "1mo"}, folder=tmp_path)
    environ = {"IMAGEUPLOAD_API_KEY": PRO}
    with pytest.raises(SettingsError, match="retention: 30d"):
        registry.open_host("imageupload.io", settings, environ, Client(environ={}), tmp_path)


def test_without_a_key_the_host_serves_records_only() -> None:
    assert offline(key=None).lacks_credential
    assert not offline().lacks_credential


def test_the_tools_are_asked_beside_the_api_unless_the_settings_name_another_place() -> None:
    with Double() as rest, Double() as tools, Client(5.0, environ={}) as client:
        a_host(rest.api_url, client).ready()
        assert [name for name, _ in rest.calls] == ["get_quota"]
        a_host(rest.api_url, client, mcp_url=f"{tools.api_url}/mcp").ready()
        assert ([name for name, _ in rest.calls], [name for name, _ in tools.calls]) == (["get_quota"], ["get_quota"])


@pytest.mark.parametrize(
    ("key", "remaining", "plan", "is_proven"),
    [(FREE, 10, "free", False), (STARTER, 50, "starter", True), (PRO, None, "pro", True)],
)
@pytest.mark.parametrize("answers_as", ["structured", "text", "events"])
def test_the_quota_is_told_before_the_first_upload(
    key: str, remaining: int | None, plan: str, is_proven: bool, answers_as: str
) -> None:
    double = Double(answers_as=answers_as)
    with opened(double, key) as host:
        quota = host.ready()
    assert (quota.remaining, quota.plan, quota.is_proven) == (remaining, plan, is_proven)
    assert quota.link == f"{double.api_url}/dashboard/profile#upgrade"
    assert not double.uploads


def test_the_usage_names_the_first_of_the_next_month() -> None:
    with opened(Double(used={FREE: 3}), FREE) as host:
        usage = host.usage()
    assert (usage.plan, usage.used, usage.limit, usage.remaining) == ("free", 3, 10, 7)
    assert usage.resets is not None
    assert (usage.resets.day, usage.resets.hour) == (1, 0)
    assert timedelta() < usage.resets - datetime.now(UTC) <= timedelta(days=31)


def test_uploads_end_when_the_months_quota_is_used_up_and_nothing_more_is_sent(tmp_path: Path) -> None:
    double = Double(used={FREE: 8})
    with opened(double, FREE, MONTH) as host:
        for colour in ("red", "green"):
            host.upload(a_payload(tmp_path, a_picture(colour=colour)))
        error = refused(host, a_payload(tmp_path, a_picture(colour="blue")))
    assert error.action is Action.STOP
    assert f"{double.api_url}/dashboard/profile#upgrade" in error.remedy
    assert len(double.uploads) == 2


@pytest.mark.parametrize("plan", [{"unlimited": True, "limit": 0, "remaining": 0}, {"limit": None, "remaining": 0}])
def test_a_plan_without_a_limit_is_not_taken_for_an_empty_one(tmp_path: Path, plan: dict[str, object]) -> None:
    with opened(Double(changes={"quota": {"used": 7, "plan": "pro", **plan}})) as host:
        host.upload(a_payload(tmp_path, a_picture(colour="red")))
        host.upload(a_payload(tmp_path, a_picture(colour="blue")))


def test_the_quota_is_also_read_from_the_headers(tmp_path: Path) -> None:
    double = Double(used={FREE: 9}, changes={"quota": None})
    with opened(double, FREE, MONTH) as host:
        host.upload(a_payload(tmp_path))
        assert refused(host, a_payload(tmp_path, a_picture(colour="red"))).action is Action.STOP
    assert len(double.uploads) == 1


TROUBLE = [
    Reply.json({"error": "down"}, 500),
    Reply.json({"error": "down"}, 503),
    Reply.json({"error": "gone"}, 404),
    Reply.redirect("https://elsewhere.example/"),
    Reply(200, b"<html>"),
    Reply.json({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "Unknown tool"}}),
    Reply.json({"jsonrpc": "2.0", "id": 1, "error": {"code": -32002, "message": "Slow down"}}, 429),
    Reply.json({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "7 uploads left"}]}}),
    Reply.json({"jsonrpc": "2.0", "id": 1, "result": []}),
    Reply.json([]),
]


@pytest.mark.parametrize("reply", TROUBLE, ids=lambda reply: f"{reply.status}-{len(reply.body)}")
def test_tools_that_are_out_of_order_do_not_stop_uploads(tmp_path: Path, reply: Reply) -> None:
    double = Double()
    with opened(double) as host:
        double.answer_tools(reply)
        quota = host.ready()
        host.upload(a_payload(tmp_path))
    assert (quota.remaining, quota.is_proven) == (None, False)


def test_a_refused_key_stops_before_the_first_upload() -> None:
    with opened(Double(), "iu_live_rotated") as host, pytest.raises(HostError, match="IMAGEUPLOAD_API_KEY") as caught:
        host.ready()
    assert caught.value.action is Action.STOP


def test_a_folder_that_does_not_exist_is_made_once_and_its_slug_is_sent(tmp_path: Path) -> None:
    with Double() as double, Client(5.0, environ={}) as client:
        for _ in range(2):
            host = a_host(double.api_url, client, folder="My Docs")
            host.ready()
            host.upload(a_payload(tmp_path))
    assert double.folders == {"my-docs": "My Docs"}
    assert {copy.folder for copy in double.copies.values()} == {"my-docs"}
    assert host.project == "my-docs"


def test_the_slug_that_the_host_chooses_is_the_one_that_is_used(tmp_path: Path) -> None:
    double = Double(folders={"kdm-7": "Documentation"})
    with opened(double, folder="Documentation") as host:
        host.ready()
        host.upload(a_payload(tmp_path))
    assert next(iter(double.copies.values())).folder == host.project == "kdm-7"


def test_no_folder_is_asked_for_where_none_is_set(tmp_path: Path) -> None:
    double = Double()
    with opened(double) as host:
        host.ready()
        host.upload(a_payload(tmp_path))
    assert "folder" not in double.uploads[0].form()[0]
    assert [name for name, _ in double.calls] == ["get_quota"]


def test_a_folder_that_the_host_refuses_to_make_stops_the_uploads() -> None:
    double = Double(folders={f"f{number}": str(number) for number in range(200)})
    with opened(double, folder="one-more") as host, pytest.raises(HostError, match="one-more") as caught:
        host.ready()
    assert caught.value.action is Action.STOP


def test_a_folder_is_used_by_its_usual_slug_where_the_tools_are_down(tmp_path: Path) -> None:
    double = Double(folders={"my-docs": "My Docs"})
    with opened(double, folder="My Docs") as host:
        double.answer_tools(*[Reply.json({"error": "down"}, 503)] * 2)
        host.ready()
        host.upload(a_payload(tmp_path))
    assert next(iter(double.copies.values())).folder == "my-docs"


def test_an_image_that_the_host_strips_of_its_metadata_is_accepted(tmp_path: Path) -> None:
    exif = Picture.Exif()
    exif[0x010F] = "a camera" * 20
    file = io.BytesIO()
    Picture.new("RGB", (9, 6), "teal").save(file, "JPEG", exif=exif)
    double = Double()
    with opened(double) as host:
        payload = a_payload(tmp_path, file.getvalue(), media_type="image/jpeg")
        hosted = host.upload(payload)
        stored = double.copies[hosted.id].body
        found = host.find(payload)
    assert len(stored) < payload.bytes
    assert b"a camera" not in stored
    assert found is not None
    assert found.url == hosted.url


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_success_status_will_do(tmp_path: Path, status: int) -> None:
    double = Double()
    with opened(double) as host:
        url = "https://imageupload.io/f/abc.png"
        double.answer_next(Reply.json({"slug": "abc", "direct_url": url, "expires_at": None, "x": [{}]}, status))
        assert host.upload(a_payload(tmp_path)).url == url


def test_a_pace_lets_no_more_calls_through_than_the_host_takes() -> None:
    moments: list[float] = []
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    pace = Pace(3, 10.0, lambda: clock[0], sleep)
    for _ in range(9):
        pace.turn()
        moments.append(clock[0])
        clock[0] += 1.0
    assert moments[:3] == [0.0, 1.0, 2.0]
    assert all(later - earlier >= 10.0 for earlier, later in zip(moments, moments[3:], strict=False))
    assert moments[3:6] == [10.0, 11.0, 12.0]


def test_importing_the_host_leaves_httpx_alone() -> None:
    code = "import imghost.hosts.imageupload, sys; sys.exit('httpx' in sys.modules or 'httpcore' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_hanging_tool_does_not_stop_uploads(tmp_path: Path) -> None:
    double = Double()
    with opened(double, timeout=0.5) as host:
        double.server.fail(Fault.HANG)
        assert host.ready().remaining is None
        host.upload(a_payload(tmp_path))
