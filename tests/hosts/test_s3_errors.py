"""What S3-compatible storage's refusals ask for, and that none of them tells a secret."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import pytest
from doubles.messages import Reply
from doubles.s3 import SECRET, TOKEN, Storage
from doubles.server import Fault, Server
from hosts.s3_setup import a_payload, opened, refused

from imghost.errors import Action

REFUSALS = [
    (404, "NoSuchBucket", Action.STOP),
    (403, "AccessDenied", Action.STOP),
    (403, "InvalidAccessKeyId", Action.STOP),
    (403, "SignatureDoesNotMatch", Action.STOP),
    (400, "ExpiredToken", Action.STOP),
    (403, "RequestTimeTooSkewed", Action.STOP),
    (400, "AuthorizationHeaderMalformed", Action.STOP),
    (403, "SomethingNew", Action.STOP),
    (405, "MethodNotAllowed", Action.STOP),
    (503, "SlowDown", Action.RETRY),
    (503, "ServiceUnavailable", Action.RETRY),
    (500, "InternalError", Action.RETRY),
    (400, "RequestTimeout", Action.RETRY),
    (409, "ConditionalRequestConflict", Action.RETRY),
    (400, "BadDigest", Action.RETRY),
    (429, "TooMany", Action.RETRY),
    (502, "", Action.RETRY),
    (400, "EntityTooLarge", Action.FILE),
    (413, "", Action.FILE),
    (400, "SomethingNew", Action.FILE),
    (418, TOKEN, Action.FILE),
]


@pytest.mark.usefixtures("credential")
class TestRefusals:
    """What a refusal asks for, and that it tells no secret."""

    @pytest.mark.sampled(3)
    @pytest.mark.parametrize(("status", "code", "action"), REFUSALS)
    def test_each_is_classified_and_sent_once(
        self, storage: Storage, tmp_path: Path, status: int, code: str, action: Action
    ) -> None:
        with opened(storage) as host:
            storage.refuse(status, code, Location="http://evil.example/")
            error = refused(host, a_payload(tmp_path))
        assert (error.action, error.is_ambiguous) == (action, status >= 500)
        assert str(status) in error.reason
        assert len(storage.log) == 1
        assert storage.objects() == {}

    @pytest.mark.parametrize(("status", "code"), [(301, "PermanentRedirect"), (307, "TemporaryRedirect")])
    def test_a_bucket_that_is_elsewhere_names_the_options(
        self, storage: Storage, tmp_path: Path, status: int, code: str
    ) -> None:
        with opened(storage) as host:
            storage.refuse(status, code, times=99)
            error = refused(host, a_payload(tmp_path))
        assert (error.action, error.remedy) == (Action.STOP, "check `region` and `endpoint_url`")
        assert len(storage.log) == 3
        assert storage.objects() == {}

    def test_a_bucket_of_another_region_is_asked_there(self, storage: Storage, tmp_path: Path) -> None:
        with opened(storage) as host:
            storage.refuse(301, "PermanentRedirect", 1, **{"x-amz-bucket-region": "eu-west-1"})
            assert host.upload(a_payload(tmp_path)).is_new
        assert "/eu-west-1/s3/" in storage.log[-1][2]["authorization"]

    def test_a_bucket_that_is_not_there_names_the_option(self, storage: Storage, tmp_path: Path) -> None:
        with opened(storage, bucket="other") as host:
            error = refused(host, a_payload(tmp_path))
        assert (error.action, "NoSuchBucket" in error.reason) == (Action.STOP, True)
        assert "`bucket`" in error.remedy

    def test_a_key_that_the_storage_does_not_know_names_the_variables(self, tmp_path: Path) -> None:
        with Storage() as strict, opened(strict) as host:
            strict.demand_known_keys()
            error = refused(host, a_payload(tmp_path))
        assert error.action is Action.STOP
        assert "AWS_ACCESS_KEY_ID" in error.remedy

    @pytest.mark.parametrize("fault", [Fault.RESET_BEFORE_BODY, Fault.NOT_HTTP, Fault.MANY_HEADERS, Fault.GZIP])
    def test_a_broken_connection_is_tried_again(self, tmp_path: Path, fault: Fault) -> None:
        with Server(lambda _: Reply.json({})) as broken, opened(broken) as host:
            broken.fail(fault)
            assert refused(host, a_payload(tmp_path)).action is Action.RETRY

    def test_nobody_there_is_tried_again_and_not_ambiguous(self, tmp_path: Path) -> None:
        with Server(lambda _: Reply.json({})) as gone:
            pass
        with opened(gone) as host:
            error = refused(host, a_payload(tmp_path))
        assert (error.action, error.is_ambiguous) == (Action.RETRY, False)

    @pytest.mark.long
    def test_a_server_that_drips_ends_at_the_deadline(self, tmp_path: Path) -> None:
        with Server(lambda _: Reply.json({})) as slow, opened(slow, timeout=0.5) as host:
            slow.fail(Fault.DRIP_HEADERS)
            started = time.monotonic()
            assert refused(host, a_payload(tmp_path)).action is Action.RETRY
        assert time.monotonic() - started < 3

    @pytest.mark.parametrize("page", ["<html>signed in</html>", "", "<x", json.dumps({"a": 1})])
    def test_another_servers_success_is_no_upload(self, tmp_path: Path, page: str) -> None:
        with (
            Server(lambda _: Reply(200, page.encode(), (("Content-Type", "text/html"),))) as portal,
            opened(portal) as host,
        ):
            error = refused(host, a_payload(tmp_path))
            assert (error.action, error.is_ambiguous) == (Action.RETRY, True)

    def test_a_redirect_is_not_followed(self, tmp_path: Path) -> None:
        with Server(lambda _: Reply.json({})) as evil:
            headers = (("Location", f"{evil.url}/"), ("x-amz-bucket-region", "eu-west-1"))
            for status in (301, 302, 303, 307, 308):
                with Server(lambda _, status=status: Reply(status, b"", headers)) as front, opened(front) as host:  # type: ignore[misc]
                    assert refused(host, a_payload(tmp_path)).action is Action.STOP
            assert evil.log == []

    def test_no_log_line_tells_a_secret(
        self, storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with opened(storage) as host:
            host.upload(a_payload(tmp_path))
            storage.refuse(403, "SignatureDoesNotMatch")
            refused(host, a_payload(tmp_path))
        assert SECRET not in caplog.text
        assert TOKEN not in caplog.text
