"""Requests to S3-compatible storage: boto3 writes, signs and reads them, the run's own client sends them.

So they have the client's deadlines, proxies and limits, follow no redirect, and are counted. The
library's exceptions end here; of what the storage says only an error's code is printed, since a message
may repeat parts of the request. Errors are raised outside of the `except` clauses, so that no traceback
holds the library's.
"""

from __future__ import annotations

import io
import logging
import re
import threading
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from imghost.errors import Action, HostError, SettingsError
from imghost.hosts.answers import COMMON, Rule
from imghost.hosts.s3_settings import NAME
from imghost.net.client import LIMIT

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse

    from imghost.net.client import Client

REQUESTS: Final = 3
"""Requests that one question may take: the library asks where the bucket is if it is in another region."""
LIST_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of an answer that lists: a thousand keys of at most 1,024 letters, with what belongs to each."""

_KEYS: Final = Rule(
    Action.STOP, "refuses the credential", "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
)
_RIGHT: Final = Rule(
    Action.STOP, "forbids this", "allow s3:PutObject, s3:GetObject and, to find images, s3:ListBucket for the bucket"
)
_BUCKET: Final = Rule(Action.STOP, "does not have this bucket", "check `bucket`, `region` and `endpoint_url`")
_PLACE: Final = Rule(Action.STOP, "has the bucket elsewhere", "check `region` and `endpoint_url`")
_AGAIN: Final = Rule(Action.RETRY, "asks to send the request again", "build again later")
_DOWN: Final = Rule(Action.RETRY, "is overloaded or down", "build again later")
_CLOCK: Final = Rule(Action.STOP, "sees another time than this machine", "set this machine's clock")

CODES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "InvalidAccessKeyId": _KEYS,
        "SignatureDoesNotMatch": _KEYS,
        "ExpiredToken": _KEYS,
        "InvalidToken": _KEYS,
        "TokenRefreshRequired": _KEYS,
        "InvalidSecurity": _KEYS,
        "AccessDenied": _RIGHT,
        "AllAccessDisabled": _RIGHT,
        "AccountProblem": _RIGHT,
        "NotSignedUp": _RIGHT,
        "NoSuchBucket": _BUCKET,
        "InvalidBucketName": _BUCKET,
        "PermanentRedirect": _PLACE,
        "TemporaryRedirect": _PLACE,
        "AuthorizationHeaderMalformed": _PLACE,
        "IllegalLocationConstraintException": _PLACE,
        "RequestTimeTooSkewed": _CLOCK,
        "RequestExpired": _CLOCK,
        "SlowDown": _DOWN,
        "ServiceUnavailable": _DOWN,
        "Throttling": _DOWN,
        "InternalError": _DOWN,
        "RequestTimeout": _AGAIN,
        "OperationAborted": _AGAIN,
        "ConditionalRequestConflict": _AGAIN,
        "BadDigest": _AGAIN,
        "IncompleteBody": _AGAIN,
        "XAmzContentChecksumMismatch": _AGAIN,
        "XAmzContentSHA256Mismatch": _AGAIN,
        "EntityTooLarge": Rule(Action.FILE, "refuses the image: it is too large", "make it smaller"),
        "QuotaExceeded": Rule(Action.STOP, "has no room left", "raise the bucket's quota"),
    }
)

STATUSES: Final[Mapping[int, Rule]] = MappingProxyType(
    {
        **dict.fromkeys([301, 302, 303, 307, 308], _PLACE),
        401: _KEYS,
        403: _RIGHT,
        **dict.fromkeys([404, 405, 410], _BUCKET),
        409: _AGAIN,
        429: _DOWN,
    }
)


class RefusedError(HostError):
    """An answer that is no success; `status` is HTTP's."""

    def __init__(self, status: int, code: str) -> None:
        rule = CODES.get(code) or STATUSES.get(status) or COMMON.get(status) or _by_class(status)
        said = f", {code}" if re.fullmatch("[A-Za-z]{1,64}", code) else ""
        super().__init__(
            rule.action, f"{NAME} {rule.reason} (HTTP {status}{said})", remedy=rule.remedy, is_ambiguous=status >= 500
        )
        self.status = status


def _by_class(status: int) -> Rule:
    return _DOWN if status >= 500 else Rule(Action.FILE, "refuses the request")


def unclear(*, is_ambiguous: bool = True) -> HostError:
    """Make the error for an answer that is not S3's, like a proxy's page."""
    return HostError(
        Action.RETRY,
        f"{NAME} gave an answer that is not one of S3",
        remedy="check `endpoint_url`",
        is_ambiguous=is_ambiguous,
    )


class Bucket:
    """Asks one bucket; safe to share between threads."""

    def __init__(self, client: Client, bucket: str, endpoint_url: str | None, region: str | None) -> None:
        self._client = client
        self._bucket = bucket
        self._endpoint_url = endpoint_url
        self._region = region
        self._lock = threading.Lock()
        self._library: Any = None
        self._asking = threading.local()

    def ask(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """Ask once, by the library's name for the operation; raises HostError, a RefusedError if there is an answer."""
        library = self.opened()
        self._asking.sent = 0
        try:
            return cast("Mapping[str, Any]", getattr(library, operation)(Bucket=self._bucket, **parameters))
        except Exception as broken:  # the library's exceptions have no common root
            problem = _explained(broken)
        raise problem

    def pages(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        """List the objects whose keys begin with the prefix, a thousand at a time."""
        after: dict[str, str] = {}
        while True:
            page = self.ask("list_objects_v2", Prefix=prefix, **after)
            yield page
            token = page.get("NextContinuationToken")
            if not token or after.get("ContinuationToken") == token:
                return
            after = {"ContinuationToken": token}

    def opened(self) -> Any:
        """Load the library and the credential, once.

        Raises:
            HostError: there is no credential after all (STOP).
            SettingsError: the extra is not installed.
        """
        with self._lock:
            if self._library is None:
                self._library = self._made()
            return self._library

    def _made(self) -> Any:
        try:
            import boto3
        except ImportError:
            raise SettingsError("host 's3' needs boto3, which is not installed; pip install \"imghost[s3]\"") from None
        _quieten()
        try:
            session = boto3.Session()
            credential = session.get_credentials()
            made = None if credential is None else self._configured(session)
        except Exception as broken:  # a profile that is not there, a file that cannot be read, a token service
            problem = _explained(broken)
        else:
            if made is not None:
                return made
            problem = _uncredited("finds no credential")
        raise problem

    def _configured(self, session: Any) -> Any:
        from botocore.config import Config

        made = session.client(
            "s3",
            endpoint_url=self._endpoint_url,
            region_name=self._region,
            config=Config(
                # The caller tries again, by the action that an error asks for.
                retries={"total_max_attempts": 1, "mode": "standard"},
                # Other storages know neither the bucket's own host name nor the newer checksums.
                s3={"addressing_style": "path" if self._endpoint_url else "auto"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        made.meta.events.register_first("before-send.s3", self._send)
        return made

    def _send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Send a signed request in the library's place."""
        from botocore.awsrequest import AWSResponse

        self._asking.sent += 1
        if self._asking.sent > REQUESTS:
            # The library asks again for the region as often as it is sent elsewhere.
            raise HostError(_PLACE.action, f"{NAME} {_PLACE.reason}", remedy=_PLACE.remedy)
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        for own in ("user-agent", "expect"):
            # Not signed; the client has its own name, and does not wait between headers and body.
            headers.pop(own, None)
        body = cast("bytes | BinaryIO | None", request.body or None)
        limit = LIST_LIMIT if request.method in {"GET", "POST"} else LIMIT
        answer = self._client.send(request.method, request.url, headers=headers, body=body, limit=limit)
        return AWSResponse(request.url, answer.status, cast("Any", answer.headers), _Raw(answer.body))


class _Raw(io.BytesIO):
    """A body in the form that the library reads."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _quieten() -> None:
    """Keep session tokens out of logs: the library's lines below warnings hold whole requests."""
    for name in ("boto3", "botocore"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))


def _explained(broken: Exception) -> HostError:
    """Say what a failure means without repeating the library's text, which may hold a secret."""
    from botocore import exceptions, parsers

    if isinstance(broken, HostError):
        return broken.with_traceback(None)
    if isinstance(broken, exceptions.ClientError):
        status = broken.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return RefusedError(status, str(broken.response.get("Error", {}).get("Code", "")))
    if isinstance(broken, parsers.ResponseParserError):
        return unclear()
    kind = type(broken).__name__
    if isinstance(broken, (exceptions.ParamValidationError, exceptions.NoRegionError)):
        return HostError(
            Action.STOP, f"{NAME} cannot be asked ({kind})", remedy="check `bucket`, `region` and `prefix`"
        )
    return _uncredited(f"cannot use the credential ({kind})")


def _uncredited(what: str) -> HostError:
    remedy = "check the AWS_ variables and, if AWS_PROFILE is set, the profile of that name"
    return HostError(Action.STOP, f"{NAME} {what}", remedy=remedy)
