"""S3-compatible storage, against a real server that speaks S3."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from doubles.messages import Reply, Request
from doubles.s3 import VARIABLES, Storage
from doubles.server import Fault, Server
from doubles.stores import NOTHING
from hosts.s3_setup import CDN, DIGEST, PNG, a_payload, a_setup, opened, refused

from imghost.errors import Action, HostError
from imghost.hosts import Deletes, Finds, Host, HostType
from imghost.hosts.s3 import S3, S3Options
from imghost.models import MEDIA_TYPES
from imghost.net import Client


@pytest.mark.usefixtures("credential")
class TestUpload:
    """Storing an image once."""

    def test_the_class_fits_what_an_entry_point_names(self) -> None:
        kind: HostType = S3
        host: Host = kind(S3Options("images", base_url=CDN), a_setup())
        assert (host.name, host.limits.retention, int(host.limits.price)) == ("s3", None, 0)
        assert host.limits.formats == set(MEDIA_TYPES)
        assert isinstance(host, Finds)
        assert isinstance(host, Deletes)

    def test_the_url_serves_the_same_bytes_with_headers_for_ever(self, storage: Storage, tmp_path: Path) -> None:
        with opened(storage, prefix="docs") as host:
            hosted = host.upload(a_payload(tmp_path))
        assert hosted.is_new
        assert hosted.expires is None
        assert hosted.url == f"{storage.base_url}docs/{hashlib.sha256(PNG).hexdigest()}.png"
        assert host.accepts(hosted.url)
        answer = httpx.get(hosted.url, trust_env=False)
        assert answer.content == PNG
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"

    @pytest.mark.sampled(3)
    @pytest.mark.parametrize("media_type", sorted(MEDIA_TYPES))
    def test_every_format_has_its_type_and_ending(self, storage: Storage, tmp_path: Path, media_type: str) -> None:
        with opened(storage) as host:
            hosted = host.upload(a_payload(tmp_path, b"<svg/>", media_type))
        ((key, found),) = storage.objects().items()
        assert found["ContentType"] == media_type
        assert hosted.id == key == f"{hashlib.sha256(b'<svg/>').hexdigest()}.{MEDIA_TYPES[media_type]}"
        assert host.accepts(hosted.url)

    def test_the_same_bytes_twice_are_one_object(self, storage: Storage, tmp_path: Path) -> None:
        with opened(storage) as host:
            first = host.upload(a_payload(tmp_path))
            second = host.upload(a_payload(tmp_path))
        assert (first.is_new, second.is_new, first.url) == (True, False, second.url)
        assert len(storage.objects()) == 1
        assert storage.requests("HEAD") == [f"/images/{first.id}"]

    def test_of_eight_puts_at_once_one_is_new(self, storage: Storage, tmp_path: Path) -> None:
        payload = a_payload(tmp_path)
        with opened(storage) as host, ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: host.upload(payload), range(8)))
        assert len({hosted.url for hosted in found}) == 1
        assert len(storage.objects()) == 1
        assert any(hosted.is_new for hosted in found)

    def test_the_put_names_the_digest_and_its_condition(self, storage: Storage, tmp_path: Path) -> None:
        with opened(storage) as host:
            host.upload(a_payload(tmp_path))
            requests = host._bucket._client.requests
        ((method, _, headers),) = storage.log
        assert (method, headers["if_none_match"], requests) == ("PUT", "*", 1)
        assert headers["x_amz_checksum_sha256"]
        assert headers["user_agent"].startswith("imghost/")
        assert headers["authorization"].startswith("AWS4-HMAC-SHA256 ")

    def test_the_environment_may_name_the_storage(self, storage: Storage, tmp_path: Path) -> None:
        environ = NOTHING | VARIABLES | {"AWS_ENDPOINT_URL_S3": storage.url, "AWS_REGION": "eu-west-3"}
        with Client(environ={}) as client:
            host = S3(S3Options("images", base_url=storage.base_url), a_setup(client, environ))
            assert host.upload(a_payload(tmp_path)).is_new
        ((_, path, headers),) = storage.log
        assert path.startswith("/images/")
        assert "/eu-west-3/s3/" in headers["authorization"]

    def test_a_large_payload_arrives_whole(self, storage: Storage, tmp_path: Path) -> None:
        body = bytes(range(256)) * 40_000
        with opened(storage) as host:
            assert httpx.get(host.upload(a_payload(tmp_path, body)).url, trust_env=False).content == body

    def test_other_bytes_under_the_key_are_an_error(self, storage: Storage, tmp_path: Path) -> None:
        payload = a_payload(tmp_path)
        key = f"{payload.sha256}.png"
        for body in (b"short", bytes(len(PNG))):
            storage.client.put_object(Bucket="images", Key=key, Body=body, ChecksumAlgorithm="SHA256")
            with opened(storage) as host:
                error = refused(host, payload)
                assert (error.action, key in error.reason) == (Action.FILE, True)
                with pytest.raises(HostError, match="other bytes"):
                    host.find(payload)

    def test_a_put_whose_answer_is_lost_can_be_repeated(self, storage: Storage, tmp_path: Path) -> None:
        payload = a_payload(tmp_path)

        def route(request: Request) -> Reply:
            headers = {name: value for name, value in request.headers.items() if name not in {"host", "connection"}}
            url = storage.url + request.target
            answer = httpx.request(request.method, url, headers=headers, content=request.body, trust_env=False)
            kept = tuple(pair for pair in answer.headers.items() if pair[0] in {"etag", "x-amz-checksum-sha256"})
            length = int(answer.headers["content-length"])
            return Reply(answer.status_code, answer.content, kept, length)

        with Server(route) as front, opened(front) as host:
            front.fail(Fault.CLOSE_AFTER_ROUTE)
            error = refused(host, payload)
            assert (error.action, error.is_ambiguous) == (Action.RETRY, True)
            assert not host.upload(payload).is_new
        assert len(storage.objects()) == 1

    def test_a_storage_without_conditional_puts_is_asked_first(self, storage: Storage, tmp_path: Path) -> None:
        first, second = a_payload(tmp_path), a_payload(tmp_path, PNG + b"2")
        with opened(storage) as host:
            storage.refuse(501, "NotImplemented")
            assert host.upload(first).is_new
            assert not host.upload(first).is_new
            assert host.upload(second).is_new
        assert [method for method, _, _ in storage.log] == ["PUT", "HEAD", "PUT", "HEAD", "HEAD", "PUT"]
        assert ["if_none_match" in headers for method, _, headers in storage.log if method == "PUT"] == [
            True,
            False,
            False,
        ]

    def test_a_key_that_may_not_look_still_finds_its_own(self, storage: Storage, tmp_path: Path) -> None:
        with opened(storage) as host:
            host.upload(a_payload(tmp_path))
            storage.refuse(412, "PreconditionFailed")
            storage.refuse(403, "AccessDenied")
            assert not host.upload(a_payload(tmp_path)).is_new

    def test_an_object_deleted_between_put_and_look_is_tried_again(self, storage: Storage, tmp_path: Path) -> None:
        with opened(storage) as host:
            storage.refuse(412, "PreconditionFailed")
            assert refused(host, a_payload(tmp_path)).action is Action.RETRY
            assert host.upload(a_payload(tmp_path)).is_new

    def test_a_payload_that_is_gone_concerns_one_image(self, storage: Storage, tmp_path: Path) -> None:
        with opened(storage) as host:
            assert refused(host, replace(a_payload(tmp_path), file=tmp_path / "gone")).action is Action.FILE
        assert storage.log == []


@pytest.mark.usefixtures("credential")
class TestStock:
    """Finding, listing and deleting."""

    def test_a_stored_copy_is_found_and_a_missing_one_is_none(self, storage: Storage, tmp_path: Path) -> None:
        with opened(storage, prefix="docs") as host:
            assert host.find(a_payload(tmp_path)) is None
            stored = host.upload(a_payload(tmp_path))
            assert host.find(a_payload(tmp_path)) == replace(stored, is_new=False)

    def test_only_the_projects_own_images_are_listed(self, storage: Storage, tmp_path: Path) -> None:
        own = f"docs/{DIGEST}.png"
        for key in (own, f"docs/x/{DIGEST}.png", "docs/index.html", f"docs2/{DIGEST}.png", f"{DIGEST}.png"):
            storage.client.put_object(Bucket="images", Key=key, Body=b"1234")
        with opened(storage, prefix="docs") as host:
            (found,) = host.listed()
        assert (found.id, found.url, found.bytes) == (own, storage.base_url + own, 4)
        assert found.uploaded is not None
        assert abs(found.uploaded - datetime.now(UTC)) < timedelta(minutes=5)

    def test_a_list_of_several_pages_is_read_to_its_end(self) -> None:
        def route(request: Request) -> Reply:
            page = int(request.query.get("continuation-token", "0"))
            more = f"<NextContinuationToken>{page + 1}</NextContinuationToken>" if page < 2 else ""
            key = f"<Key>docs/{page:064x}.png</Key><LastModified>2026-01-02T03:04:05Z</LastModified><Size>7</Size>"
            return Reply(200, f"<ListBucketResult>{more}<Contents>{key}</Contents></ListBucketResult>".encode())

        with Server(route) as front, opened(front, prefix="docs") as host:
            found = list(host.listed())
        assert [image.id for image in found] == [f"docs/{page:064x}.png" for page in range(3)]
        assert {image.uploaded for image in found} == {datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}

    def test_more_than_a_thousand_are_deleted_in_batches(self, storage: Storage) -> None:
        keys = [f"p/{number:064x}.png" for number in range(1005)]
        storage.client.put_object(Bucket="images", Key=keys[-1], Body=b"")
        with opened(storage, prefix="p") as host:
            assert host.delete(keys) == {}
        assert storage.objects() == {}
        assert len(storage.requests("POST")) == 2

    def test_what_is_not_the_projects_is_not_deleted(self, storage: Storage, tmp_path: Path) -> None:
        storage.client.put_object(Bucket="images", Key="docs/index.html", Body=b"x")
        with opened(storage, prefix="docs") as host:
            stored = host.upload(a_payload(tmp_path))
            left = host.delete([stored.id, "docs/index.html", f"docs/../{DIGEST}.png"])
            assert host.delete([stored.id]) == {}
        assert set(left) == {"docs/index.html", f"docs/../{DIGEST}.png"}
        assert set(storage.objects()) == {"docs/index.html"}

    def test_without_a_prefix_nothing_is_listed_or_deleted(self, storage: Storage, tmp_path: Path) -> None:
        with opened(storage) as host:
            stored = host.upload(a_payload(tmp_path))
            assert list(host.listed()) == []
            assert "'prefix'" in host.delete([stored.id])[stored.id]
        assert set(storage.objects()) == {stored.id}

    def test_an_object_that_may_not_be_deleted_says_why(self, tmp_path: Path) -> None:
        key = f"docs/{DIGEST}.png"
        said = f"<DeleteResult><Error><Key>{key}</Key><Code>AccessDenied</Code></Error></DeleteResult>"
        with Server(lambda _: Reply(200, said.encode())) as front, opened(front, prefix="docs") as host:
            assert host.delete([key]) == {key: "AccessDenied"}


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        (S3Options("others", base_url="https://cdn.test/"), {}),
        (S3Options("images", base_url="https://cdn.test/", endpoint_url="https://store.test"), {}),
        (S3Options("images", base_url="https://cdn.test/"), {"AWS_ENDPOINT_URL_S3": "https://store.test"}),
    ],
)
def test_two_buckets_are_two_accounts_which_share_no_records(options: S3Options, environ: dict[str, str]) -> None:
    with Client(1, environ={}) as client:
        one = S3(S3Options("images", base_url="https://cdn.test/"), a_setup(client, {}))
        assert one.account != S3(options, a_setup(client, environ)).account
        assert one.account == S3(S3Options("images", base_url="https://other.test/"), a_setup(client, {})).account
