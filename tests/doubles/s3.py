"""A real S3-speaking server on loopback, with a bucket that anybody may read, and refusals on demand.

with Storage() as storage:
storage.refuse(503, "SlowDown")
storage.objects()
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import boto3
import httpx
from canaries import credential
from moto.server import ThreadedMotoServer

SECRET = credential("secret/")
TOKEN = credential("token//////////")
VARIABLES = {"AWS_ACCESS_KEY_ID": "AKIACANARYCANARY0000", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}
"""A credential, as the environment has it."""
Start = Callable[..., Any]


class Storage:
    """The server; a context manager. All servers of a process share their objects, so each begins with none."""

    bucket = "images"

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._refusals: deque[tuple[int, str, Mapping[str, str]]] = deque()
        self._guard = threading.Lock()
        self.log: list[tuple[str, str, dict[str, str]]] = []
        """Method, path and headers of each request, but not of this double's own."""
        self.lacks: dict[str, tuple[int, str]] = {}
        """What this storage does not have, of `checksum`, `condition`, `delete`; and how it refuses that."""
        self.is_blind = False
        """Whether the credential may put, and neither look nor list: 403, as Amazon says it."""
        self.head: dict[str, str] = {}
        """What stands in the answers to HEAD in place of its own; empty = nothing does."""

    def __enter__(self) -> Self:
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self.base_url = f"{self.url}/{self.bucket}/"
        self._post("reset")
        self.client = boto3.client(
            "s3", "us-east-1", endpoint_url=self.url, aws_access_key_id="double", aws_secret_access_key="double"
        )
        self.client.create_bucket(Bucket=self.bucket)
        anybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
        anybody["Resource"] = f"arn:aws:s3:::{self.bucket}/*"
        policy = json.dumps({"Version": "2012-10-17", "Statement": [anybody]})
        self.client.put_bucket_policy(Bucket=self.bucket, Policy=policy)
        server = self._server._server
        assert server is not None
        self._app, server.app = server.app, self._answer
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._post("reset-auth", "inf")
        self._server.stop()

    def refuse(self, status: int, code: str, times: int = 1, **headers: str) -> None:
        """Let the next requests be refused, as the storage would."""
        self._refusals.extend([(status, code, headers)] * times)

    def demand_known_keys(self) -> None:
        """Refuse keys that the server does not know, which are all."""
        self._post("reset-auth", "0")

    def objects(self) -> dict[str, dict[str, Any]]:
        """Give the stored objects by key: what a reader gets of each."""
        listed = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {found["Key"]: dict(self.client.get_object(Bucket=self.bucket, Key=found["Key"])) for found in listed}

    def empty(self) -> None:
        """Forget the objects, the log and the refusals."""
        for key in self.objects():
            self.client.delete_object(Bucket=self.bucket, Key=key)
        self.log.clear()
        self.lacks, self.is_blind, self.head = {}, False, {}
        self._refusals.clear()

    def requests(self, method: str) -> list[str]:
        """Give the paths that were asked with a method."""
        return [path for asked, path, _ in self.log if asked == method]

    def _answer(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        is_own = "boto3" in environ.get("HTTP_USER_AGENT", "").lower() or environ["PATH_INFO"].startswith("/moto-api")
        if is_own:
            return self._app(environ, start)
        with self._guard:
            headers = {name[5:].lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
            self.log.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], headers))
            refusal = self._refusals.popleft() if self._refusals else self._lacking(environ, headers)
        if refusal is None:
            return self._app(environ, self._shown(environ, start))
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, code, more = refusal
        start(f"{status} Refused", [("Content-Type", "application/xml"), *more.items()])
        # A storage may repeat parts of the request.
        said = f"<Error><Code>{code}</Code><Message>no, {TOKEN}</Message></Error>"
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else said.encode()]

    def _lacking(
        self, environ: dict[str, Any], headers: Mapping[str, str]
    ) -> tuple[int, str, Mapping[str, str]] | None:
        method = environ["REQUEST_METHOD"]
        asked = {
            "checksum": bool({"x_amz_checksum_sha256", "x_amz_checksum_mode"} & headers.keys()),
            "condition": "if_none_match" in headers,
            "delete": method == "POST" and "delete" in environ.get("QUERY_STRING", ""),
            "md5": method == "POST" and "delete" in environ.get("QUERY_STRING", "") and "content_md5" not in headers,
        }
        for feature, (status, code) in self.lacks.items():
            if asked[feature]:
                return status, code, {}
        return (403, "AccessDenied", {}) if self.is_blind and method in {"HEAD", "GET"} else None

    def _shown(self, environ: dict[str, Any], start: Start) -> Start:
        if not self.head or environ["REQUEST_METHOD"] != "HEAD":
            return start

        def begin(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            kept = [(name, value) for name, value in headers if name.lower() not in self.head]
            return start(status, [*kept, *((name, value) for name, value in self.head.items() if value)], *more)

        return begin

    def _post(self, path: str, body: str = "") -> None:
        httpx.post(f"{self.url}/moto-api/{path}", content=body, trust_env=False).raise_for_status()
