"""imageupload.io against its double: uploads and settings."""

import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.imageupload import PRO
from doubles.imageupload import ImageUpload as Double
from doubles.server import Reply
from hosts.imageupload_setup import a_host, a_payload, a_picture, offline, opened
from PIL import Image as Picture

from imghost.errors import SettingsError
from imghost.hosts import Deletes, Finds, Host, HostType, Tells, registry
from imghost.hosts.imageupload.api import Pace
from imghost.hosts.imageupload.host import ImageUpload
from imghost.net import Client
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


def test_only_the_hosts_own_address_has_the_pace_that_it_publishes() -> None:
    assert offline()._api._paces is not None
    assert offline(api_url="https://proxy.example")._api._paces is None
