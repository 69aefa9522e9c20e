"""Storages that speak S3 and lack a part of it: each is asked once for what it has not, and used all the same."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from doubles.s3 import Storage
from doubles.stores import NOTHING
from hosts.s3_setup import a_payload, offline, opened, refused

from imghost.errors import Action, HostError
from imghost.hosts.s3 import S3
from imghost.models import Hosted

PICTURES = [b"\x89PNG\r\n\x1a\n" + bytes([number]) * 90 for number in range(3)]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "lacks",
    [
        {"checksum": (400, "InvalidArgument")},
        {"checksum": (501, "NotImplemented")},
        {"condition": (501, "NotImplemented")},
        {"condition": (400, "NotImplemented")},
        {"condition": (400, "InvalidArgument")},
        {"checksum": (400, "InvalidArgument"), "condition": (400, "InvalidRequest")},
    ],
)
def test_what_a_storage_lacks_is_asked_for_once(
    storage: Storage, tmp_path: Path, lacks: dict[str, tuple[int, str]]
) -> None:
    with opened(storage, prefix="docs") as host:
        storage.lacks = lacks
        hosted = [host.upload(a_payload(tmp_path, picture)) for picture in PICTURES]
        assert [one.is_new for one in hosted] == [True] * 3
        assert len(storage.objects()) == 3
        puts = len(storage.requests("PUT"))
        assert 3 < puts <= 3 + 3
        again = host.upload(a_payload(tmp_path, PICTURES[0]))
        assert (again.url, again.is_new) == (hosted[0].url, False)
        host.upload(a_payload(tmp_path, PICTURES[1] + b"new"))
        assert len(storage.requests("PUT")) - puts <= 2
        assert host.find(a_payload(tmp_path, PICTURES[2])) == Hosted(hosted[2].url, hosted[2].id, is_new=False)


def test_a_refusal_that_is_about_the_image_stays_one(storage: Storage, tmp_path: Path) -> None:
    """Nothing is remembered of a try that no way of asking helped."""
    with opened(storage) as host:
        storage.refuse(400, "InvalidArgument", times=9)
        assert refused(host, a_payload(tmp_path)).action is Action.FILE
        storage._refusals.clear()
        host.upload(a_payload(tmp_path))
        assert "if_none_match" in storage.log[-1][2]
        assert "x_amz_checksum_sha256" in storage.log[-1][2]


def test_a_credential_that_may_put_and_not_look_uploads(storage: Storage, tmp_path: Path) -> None:
    """Without the right to list, Amazon answers 403 for what is not there."""
    with opened(storage) as host:
        storage.is_blind, storage.lacks = True, {"condition": (501, "NotImplemented")}
        assert host.upload(a_payload(tmp_path)).is_new
        assert len(storage.objects()) == 1
        with pytest.raises(HostError) as caught:
            host.find(a_payload(tmp_path))
        assert caught.value.action is Action.STOP


@pytest.mark.parametrize("tells_digest", [True, False])
def test_a_head_without_a_length_tells_what_else_it_has(storage: Storage, tmp_path: Path, tells_digest: bool) -> None:
    with opened(storage) as host:
        payload = a_payload(tmp_path)
        hosted = host.upload(payload)
        digest = b64encode(bytes.fromhex(payload.sha256)).decode() if tells_digest else ""
        storage.head = {"content-length": "", "x-amz-checksum-sha256": digest}
        assert (host.find(payload) is not None) is tells_digest
        assert host.upload(payload) == Hosted(hosted.url, hosted.id, is_new=False)


@pytest.mark.parametrize(
    "head",
    [
        {"x-amz-checksum-sha256": "bm90IHRoZSBkaWdlc3Qgb2YgdGhlIGltYWdlIGl0c2VsZg==-2"},
        {
            "x-amz-checksum-sha256": "bm90IHRoZSBkaWdlc3Qgb2YgdGhlIGltYWdlIGl0c2VsZg==",
            "x-amz-checksum-type": "COMPOSITE",
        },
    ],
)
def test_a_digest_of_digests_is_no_other_image(storage: Storage, tmp_path: Path, head: dict[str, str]) -> None:
    """As an object has it that was put there in parts."""
    with opened(storage) as host:
        payload = a_payload(tmp_path)
        host.upload(payload)
        storage.head = head
        assert host.find(payload) is not None
        storage.head = {"x-amz-checksum-sha256": "bm90IHRoZSBkaWdlc3Qgb2YgdGhlIGltYWdlIGl0c2VsZg=="}
        with pytest.raises(HostError, match="other bytes"):
            host.find(payload)


@pytest.mark.parametrize(
    "lacks",
    [{}, {"md5": (400, "MissingContentMD5")}, {"delete": (501, "NotImplemented")}, {"delete": (400, "InvalidRequest")}],
)
def test_deleting_works_where_a_digest_is_demanded_or_many_at_once_are_not(
    storage: Storage, tmp_path: Path, lacks: dict[str, tuple[int, str]]
) -> None:
    with opened(storage, prefix="docs") as host:
        ids = [host.upload(a_payload(tmp_path, picture)).id for picture in PICTURES]
        storage.lacks = lacks
        assert host.delete(ids[:2]) == {}
        assert list(storage.objects()) == ids[2:]


@pytest.mark.parametrize(
    ("text", "has_one"),
    [
        ("[profile docs]\ncredential_process = /usr/bin/vault\n", True),
        ("[default]\nsso_session = work\n", True),
        ("[default]\nrole_arn=arn:aws:iam::1:role/docs\ncredential_source = Ec2InstanceMetadata\n", True),
        ("[default]\nregion = eu-central-1\n# credential_process = /usr/bin/vault\n", False),
        ("", False),
    ],
)
def test_a_configuration_file_may_name_where_the_credential_is(tmp_path: Path, text: str, has_one: bool) -> None:
    (tmp_path / "config").write_text(text, "utf-8")
    environ = {**NOTHING, "AWS_CONFIG_FILE": str(tmp_path / "config")}
    assert S3.finds_credential(environ) is has_one
    assert offline(environ).lacks_credential is not has_one
