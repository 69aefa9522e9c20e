"""img.pro in both generations of its API, against its double."""

import io
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.imgpro import VERIFIED
from doubles.imgpro import ImgPro as Double
from doubles.server import Reply, Server
from hosts.imgpro_setup import (
    EITHER,
    GENERATIONS,
    THIRTY_DAYS,
    a_host,
    a_payload,
    a_picture,
    a_setup,
    offline,
    opened,
    refused,
)
from PIL import Image as Picture

from imghost.errors import Action, SettingsError
from imghost.hosts import Host, HostType
from imghost.hosts.imgpro import ImgProOptions
from imghost.hosts.imgpro.host import ImgPro
from imghost.net import Client


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
    code = "import sys, imghost.hosts.imgpro; print(sorted({'httpx', 'httpcore'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_image_over_the_hosts_limit_stays_local(tmp_path: Path) -> None:
    for generation in GENERATIONS:
        with opened(Double(generation, max_bytes=50)) as host:
            error = refused(host, a_payload(tmp_path))
        assert error.action is Action.FILE
        assert "too large" in error.reason
