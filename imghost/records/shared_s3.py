"""Shared records in any storage that speaks S3 and keeps conditional writes: one object an entry.

boto3 reads the credential and the endpoint from the environment, as it does everywhere; of what the storage says
only an error's code is printed, since a message may repeat parts of the request.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from imghost.errors import SettingsError, StoreError
from imghost.records.shared import MAX_TEXT, Entry
from imghost.threads import concurrently

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest

WIDTH: Final = 32
"""Questions at a time: a round trip of 20 ms then costs 200 images seven of them."""

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{1,61}[A-Za-z0-9]")
_PREFIX: Final = re.compile(r"(?:[A-Za-z0-9._~\-]+/){0,16}")
_LOST: Final = frozenset({"PreconditionFailed", "412"})
_ABSENT: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_UNKNOWN: Final = frozenset({"NotImplemented", "501", "InvalidArgument", "InvalidRequest"})
_PASSING: Final = frozenset(
    {"SlowDown", "ServiceUnavailable", "Throttling", "InternalError", "RequestTimeout", "OperationAborted"}
    | {"ConditionalRequestConflict", "ThrottlingException", "TooManyRequests", "500", "502", "503", "504", "409", "429"}
)
_REMEDIES: Final[Mapping[str, tuple[str, str]]] = {
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "401"),
        ("refuses the credential", "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"),
    ),
    **dict.fromkeys(
        ("AccessDenied", "AllAccessDisabled", "403", "MethodNotAllowed", "405"),
        ("forbids this", "allow s3:GetObject, s3:PutObject and s3:ListBucket for its prefix"),
    ),
    **dict.fromkeys(
        ("NoSuchBucket", "InvalidBucketName"),
        ("has no such bucket", "correct the option 'shared', or AWS_ENDPOINT_URL_S3"),
    ),
    **dict.fromkeys(
        ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301", "307"),
        ("has the bucket in another region", "set AWS_REGION"),
    ),
    **dict.fromkeys(
        ("QuotaExceeded", "InsufficientStorage", "EntityTooLarge", "507"),
        ("has no room left", "raise the bucket's quota"),
    ),
    "RequestTimeTooSkewed": ("sees another time than this machine", "set this machine's clock"),
}


class S3Store:
    """Keeps entries as objects of a bucket."""

    def __init__(self, url: str, environ: Mapping[str, str], timeout: float) -> None:
        self._bucket, self._prefix = _read(url)
        self.address = f"s3://{self._bucket}/{self._prefix}".rstrip("/")
        self._environ = environ
        self._timeout = timeout
        self._guard = threading.Lock()
        self._library: Any = None

    def get(self, key: str) -> Entry | None:
        """Read an object; its age is between the answer's date and the object's, both the storage's."""
        try:
            answer = self._opened().get_object(Bucket=self._bucket, Key=self._prefix + key)
            content = answer["Body"].read(MAX_TEXT + 1)
        except Exception as broken:  # the library's exceptions have no common root
            code, problem = self._explained(broken, "read")
        else:
            return Entry(_decoded(content), answer["ETag"], self._age(answer))
        if code in _ABSENT:
            return None
        raise problem

    def get_all(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """Read many objects, some at a time."""
        self._opened()
        entries = concurrently(self.get, keys, WIDTH)
        return {key: entry for key, entry in zip(keys, entries, strict=True) if entry}

    def put(self, key: str, text: str, tag: str | None) -> str | None:
        """Write an object on its condition."""
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        try:
            answer = self._opened().put_object(
                Bucket=self._bucket,
                Key=self._prefix + key,
                Body=text.encode(),
                ContentType="application/json",
                **condition,
            )
        except Exception as broken:
            code, problem = self._explained(broken, "write")
        else:
            return str(answer["ETag"])
        if code in _LOST or (tag is not None and code in _ABSENT):
            return None
        if code in _UNKNOWN:
            reason = f"the store {self.address} knows no conditional writes ({code})"
            problem = StoreError(reason, "choose one that knows If-None-Match and If-Match")
        raise problem

    def listed(self, prefix: str) -> Iterator[str]:
        """List the keys that begin with a prefix, a thousand a request."""
        try:
            pages = self._opened().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                yield from (entry["Key"].removeprefix(self._prefix) for entry in page.get("Contents", ()))
        except Exception as broken:
            problem = self._explained(broken, "list")[1]
        else:
            return
        raise problem

    def close(self) -> None:
        """Close the connections."""
        with self._guard:
            if self._library is not None:
                self._library.close()
                self._library = None

    def _opened(self) -> Any:
        with self._guard:
            if self._library is None:
                self._library = self._client()
            return self._library

    def _client(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            text = "option 'shared' needs boto3 for s3://, which is not installed; pip install \"imghost[s3]\""
            raise SettingsError(text, "shared") from None
        for name in ("boto3", "botocore"):  # lines below warnings hold whole requests, session tokens too
            logging.getLogger(name).setLevel(max(logging.getLogger(name).level, logging.WARNING))
        named = (self._environ.get(variable) for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
        endpoint = next(filter(None, named), None)
        config = Config(
            retries={"total_max_attempts": 1, "mode": "standard"},  # the caller tries again, and knows what it wrote
            connect_timeout=min(self._timeout, 10.0),
            read_timeout=self._timeout,
            max_pool_connections=WIDTH,
            s3={"addressing_style": "path" if endpoint else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            session = boto3.Session()
            if session.get_credentials() is None:
                problem = StoreError(f"there is no credential for the store {self.address}", "set AWS_ACCESS_KEY_ID")
            else:
                region = self._environ.get("AWS_REGION") or session.region_name or "us-east-1"
                library = session.client("s3", region_name=region, endpoint_url=endpoint, config=config)
                library.meta.events.register("before-sign.s3", _send_at_once)
                return library
        except Exception as broken:  # a profile that is not there, a file that cannot be read, a token service
            problem = self._explained(broken, "be opened")[1]
        raise problem

    def _age(self, answer: Mapping[str, Any]) -> float:
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        try:
            now = parsedate_to_datetime(date)
            return float((now - answer["LastModified"]).total_seconds())
        except (TypeError, ValueError, KeyError):
            reason = f"the store {self.address} does not tell the time"
        raise StoreError(reason, "let its proxy keep the headers Date and Last-Modified")

    def _explained(self, broken: Exception, verb: str) -> tuple[str, StoreError]:
        """Say what a failure means without repeating the library's text, which may hold a secret."""
        from botocore import exceptions

        if isinstance(broken, (StoreError, SettingsError)):
            raise broken
        if not isinstance(broken, exceptions.ClientError):
            kind = type(broken).__name__
            is_connection = isinstance(broken, (exceptions.HTTPClientError, exceptions.ConnectionError, OSError))
            # urllib3 breaks in its own words where an answer ends early.
            is_passing = is_connection or type(broken).__module__.startswith("urllib3")
            reason = f"the store {self.address} cannot {verb}: {'it does not answer' if is_passing else 'no use of it'}"
            remedy = "check the network, or build again later" if is_passing else "check its credential and address"
            return "", StoreError(f"{reason} ({kind})", remedy, is_passing=is_passing, is_ambiguous=is_passing)
        code = str(broken.response.get("Error", {}).get("Code", ""))
        status = str(broken.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
        code = code if re.fullmatch("[A-Za-z]{1,64}", code) else status
        for name in (code, status):
            if name in _REMEDIES:
                why, remedy = _REMEDIES[name]
                return code, StoreError(f"the store {self.address} {why} ({code})", remedy)
        is_passing = code in _PASSING or status in _PASSING
        reason = f"the store {self.address} cannot {verb} ({code})"
        return code, StoreError(reason, "build again later", is_passing=is_passing, is_ambiguous=status >= "500")


def _send_at_once(request: AWSRequest, **_: object) -> None:
    """Leave out what would have a kilobyte wait for leave to be sent: that is a round trip more for each write."""
    if "Expect" in request.headers:
        del request.headers["Expect"]


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return ""


def _read(url: str) -> tuple[str, str]:
    """Read bucket and prefix of the URL; raises SettingsError."""
    parts = urlsplit(url)
    prefix = f"{parts.path.strip('/')}/" if parts.path.strip("/") else ""
    is_plain = not (parts.query or parts.fragment or "@" in parts.netloc or ":" in parts.netloc)
    if not is_plain or not _BUCKET.fullmatch(parts.netloc) or not _PREFIX.fullmatch(prefix) or ".." in prefix:
        raise SettingsError(f"option 'shared' should be like s3://bucket/prefix, not {url!r:.80}", "shared")
    return parts.netloc, prefix
