"""S3-compatible storage: content-addressed objects in a bucket that somebody else serves."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from imghost.errors import Action, HostError, SettingsError
from imghost.hosts import HostBase, Quota, Setup, Stored, Terms
from imghost.hosts.answers import COMMON, Rule, image_urls, origin_of, split_origin
from imghost.models import MEDIA_TYPES, Hosted, Limits, Payload, dataclass
from imghost.net import LIMIT
from imghost.wording import printable

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse

    from imghost.net import Client


NAME: Final = "s3"
FOLDERS: Final = r"(?:(?!\.{1,2}/)[A-Za-z0-9._~\-]+/)"
_SHAPES: Final = {
    # Without a colon, which would make it the name of something other than a bucket.
    "bucket": (r"[A-Za-z0-9][A-Za-z0-9._\-]{1,61}[A-Za-z0-9]", "the name of a bucket"),
    # It becomes a part of the host's name.
    "region": (r"[a-z0-9]+(?:-[a-z0-9]+){0,5}", "a region like 'eu-central-1'"),
}


@dataclass(frozen=True, slots=True)
class S3Options:
    """The host's own settings."""

    bucket: str = ""
    prefix: str = ""
    """The folder in the bucket that is this project's."""
    base_url: str = ""
    """Where the bucket's root is served to readers."""
    endpoint_url: str | None = None
    """The storage's API; None = Amazon's."""
    region: str | None = None
    url_hosts: tuple[str, ...] = ()
    """Other hosts that serve the bucket, like a CDN's former name."""


def check_shapes(options: S3Options) -> None:
    """Refuse options that cannot work; raises SettingsError."""
    lacking = [name for name in ("bucket", "base_url") if not getattr(options, name)]
    if lacking:
        raise SettingsError(
            f"host {NAME!r}: option {lacking[0]!r} is needed; set bucket, and base_url to where it is served"
        )
    for name, (shape, meaning) in _SHAPES.items():
        if (text := getattr(options, name)) is not None and not re.fullmatch(shape, text):
            raise SettingsError(f"host {NAME!r}: option {name!r} should be {meaning}, not {text!r:.80}")


def read_prefix(text: str) -> str:
    """Read the project's folder: empty, or with a slash at its end; raises SettingsError."""
    prefix = f"{text.strip('/')}/" if text.strip("/") else ""
    if not re.fullmatch(FOLDERS + "{0,16}", prefix) or len(prefix) > 512:
        raise SettingsError(f"host {NAME!r}: option 'prefix' should be a folder like 'docs/images', not {text!r:.80}")
    return prefix


def read_base(text: str) -> tuple[str, str]:
    """Read where the bucket is served: a URL that ends in a slash, and its origin; raises SettingsError."""
    base = f"{text.rstrip('/')}/"
    parts = split_origin(base)
    if parts is None or not re.fullmatch(f"/{FOLDERS}{{0,16}}", parts.path):
        raise SettingsError(
            f"host {NAME!r}: option 'base_url' should be an https URL (http on loopback only), not {text!r:.80}"
        )
    return base, origin_of(parts)


# So they have the client's deadlines, proxies and limits, follow no redirect, and are counted. The
# library's exceptions end here; of what the storage says only an error's code is printed, since a message
# may repeat parts of the request. Errors are raised outside of the `except` clauses, so that no traceback
# holds the library's.
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
        "EntityTooLarge": Rule(Action.FILE, "refuses the image: it is too large", "make it smaller", True),
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
            rule.action,
            f"{NAME} {rule.reason} (HTTP {status}{said})",
            remedy=rule.remedy,
            is_ambiguous=status >= 500,
            is_final=rule.is_final,
        )
        self.status = status
        self.is_about_feature = status == 501 or (status == 400 and code in _FEATURES | {"400", ""})
        """Whether the storage may only not know a part of the request."""


_FEATURES: Final = frozenset({"InvalidArgument", "InvalidRequest", "NotImplemented", "MissingContentMD5"})
"""Codes by which storages refuse a header that they do not know, or lack."""


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
        made.meta.events.register_first("before-sign.s3.DeleteObjects", _with_md5)
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


def _with_md5(request: AWSRequest, **_: object) -> None:
    """Add the digest that S3 once demanded of a deletion, and that older storages still do."""
    digest = hashlib.md5(cast("bytes", request.body), usedforsecurity=False).digest()
    request.headers["Content-MD5"] = base64.b64encode(digest).decode()


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


CACHING: Final = "public, max-age=31536000, immutable"
"""A year, which is what HTTP caches call for ever: the bytes under a key never change."""
BATCH: Final = 1000
"""Objects that one request may delete."""


# An object's key is its digest, and a put is conditional on there being none: nothing is uploaded twice,
# whoever asks, and an answer that was lost does no harm. What speaks with the storage is loaded when it is asked.
_DIGEST: Final = rf"[0-9a-f]{{64}}\.(?:{'|'.join(MEDIA_TYPES.values())})"
_AWS: Final = (
    r"https://s3(?:-fips|-accelerate)?(?:\.dualstack)?(?:[.-][a-z]{2,3}(?:-[a-z]{1,12}){1,3}-[0-9])?"
    r"\.amazonaws\.com(?:\.cn)?"
)


_SOURCE: Final = re.compile(
    r"^\s*(?:credential_process|credential_source|role_arn|sso_session|sso_start_url|login_session|aws_access_key_id)\s*=",
    re.M,
)
"""What in a configuration file makes a profile that has a credential."""


def _text_of(file: str) -> str:
    """Read a file that need not be there, nor its folder, nor a home."""
    try:
        return Path(file).expanduser().read_text("utf-8", "replace")
    except (OSError, RuntimeError, ValueError):
        return ""


class S3(HostBase):
    """Stores images in a bucket; safe to share between threads.

    The project's keys are its prefix and the image's digest; they are served below `base_url`.
    """

    name = NAME
    credentials: tuple[str, ...] = (
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    )
    is_chosen_by_credential = False
    origin = "https://s3.amazonaws.com"
    Options = S3Options
    limits = Limits(frozenset(MEDIA_TYPES), 5_000_000_000)
    terms = Terms("as long as the bucket", "the bucket's")
    is_idempotent = True

    def __init__(self, options: S3Options, setup: Setup) -> None:
        check_shapes(options)
        base, origin = read_base(options.base_url)
        self.project = read_prefix(options.prefix)
        url = base + self.project
        own, elsewhere = re.escape(url) + _DIGEST, rf"/{FOLDERS}{{0,16}}{_DIGEST}"
        self._urls = image_urls(own, elsewhere, self.origin, self.origin, options.url_hosts)
        self.origins = (origin, *(f"https://{host}" for host in options.url_hosts))
        self.lacks_credential = not self.finds_credential(setup.environ)
        self._url = url
        self._keys = re.compile(re.escape(self.project) + _DIGEST)
        # Those that the environment names are the user's own, as the credential is.
        named = (setup.environ.get(variable) for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
        endpoint_url = options.endpoint_url or next(filter(None, named), None)
        region = options.region or setup.environ.get("AWS_REGION") or None
        self.account = f"{endpoint_url or 's3'}/{options.bucket}"
        self._bucket = Bucket(setup.client, options.bucket, endpoint_url, region)
        self._lacks: frozenset[str] = frozenset()
        """What the storage is known not to have: `checksum`, `condition`."""

    @classmethod
    def finds_credential(cls, environ: Mapping[str, str]) -> bool:
        """Say whether boto3 will find a credential, without loading it: a variable, or one of the shared files.

        An instance's role is asked for by a profile with a `credential_source`.
        """
        if any(environ.get(variable) for variable in cls.credentials):
            return True
        shared = _text_of(environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"))
        return bool(shared) or _SOURCE.search(_text_of(environ.get("AWS_CONFIG_FILE", "~/.aws/config"))) is not None

    @staticmethod
    def is_own_origin(origin: str) -> bool:
        """Say whether a credential may go to an origin without further leave: Amazon's own for S3."""
        return re.fullmatch(_AWS, origin) is not None

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images."""
        return self._urls.fullmatch(url) is not None

    def ready(self) -> Quota:
        """Load the library and the credential; the storage itself tells of no quota."""
        self._bucket.opened()
        return Quota()

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload, or find that it is there."""
        refusal = RefusedError(0, "")
        for lacks in self._fallbacks():
            if "condition" in lacks and self._is_there(payload):
                # Nobody else looks whether it is: a put without the condition would store it anew.
                return self._hosted(payload, is_new=False)
            try:
                answer = self._put(payload, lacks)
            except RefusedError as problem:
                if problem.status == 412:
                    return self._confirmed(payload)
                refusal = problem
                if not problem.is_about_feature:
                    break
            else:
                self._lacks = lacks
                if not answer.get("ETag"):
                    raise unclear()
                return self._hosted(payload, is_new=True)
        raise refusal

    def _fallbacks(self) -> Iterator[frozenset[str]]:
        """Give what to do without: what the storage is known to lack, then each feature more, then both.

        Backblaze B2 refuses the checksum, others the condition; which, a refusal does not say in one way.
        """
        more: tuple[set[str], ...] = (set(), {"condition"}, {"checksum"}, {"checksum", "condition"})
        yield from dict.fromkeys(self._lacks | lacking for lacking in more)

    def _put(self, payload: Payload, lacks: frozenset[str]) -> Mapping[str, Any]:
        features = {
            **({} if "checksum" in lacks else {"ChecksumSHA256": _checksum(payload)}),
            **({} if "condition" in lacks else {"IfNoneMatch": "*"}),
        }
        try:
            body = payload.file.open("rb")
        except OSError as error:
            reason = f"the file to send cannot be read: {error.strerror}"
        else:
            with body:
                return self._bucket.ask(
                    "put_object",
                    Key=self._key(payload),
                    Body=body,
                    ContentType=payload.media_type,
                    CacheControl=CACHING,
                    **features,
                )
        raise HostError(Action.FILE, reason)

    def _confirmed(self, payload: Payload) -> Hosted:
        """Look at what is said to be there already, as far as the credential may."""
        if self._is_there(payload) is False:
            raise HostError(Action.RETRY, f"{NAME} had this image and has it no longer", remedy="build again later")
        return self._hosted(payload, is_new=False)

    def find(self, payload: Payload) -> Hosted | None:
        """Find a stored copy of exactly these bytes; checked by size and, where the storage tells it, by digest."""
        answer = self._head(payload)
        return self._hosted(payload, is_new=False) if answer and self._is_same(answer, payload) else None

    def _is_there(self, payload: Payload) -> bool | None:
        """Say whether the storage has these bytes; None where it does not tell.

        Without the right to list, Amazon answers 403 for what is not there, too.
        """
        try:
            answer = self._head(payload)
        except RefusedError as refusal:
            if refusal.status != 403:
                raise
            return None
        return False if answer is None else self._is_same(answer, payload)

    def _head(self, payload: Payload) -> Mapping[str, Any] | None:
        """Ask for an object's head, and for its digest where the storage knows that; None where there is no object."""
        key = self._key(payload)
        if "checksum" not in self._lacks:
            try:
                return self._bucket.ask("head_object", Key=key, ChecksumMode="ENABLED")
            except RefusedError as refusal:
                if refusal.status == 404:
                    return None
                if not refusal.is_about_feature:
                    raise
        try:
            answer = self._bucket.ask("head_object", Key=key)
        except RefusedError as refusal:
            if refusal.status != 404:
                raise
            answer = None
        self._lacks |= {"checksum"}
        return answer

    def _is_same(self, head: Mapping[str, Any], payload: Payload) -> bool | None:
        """Say whether an object is the payload, by what its head tells; None where that is not enough.

        Raises:
            HostError: there are other bytes.
        """
        length, checksum = head.get("ContentLength"), str(head.get("ChecksumSHA256", ""))
        # One of a multipart upload is a digest of digests, and has how many behind it.
        is_whole = head.get("ChecksumType") != "COMPOSITE" and "-" not in checksum
        differs = length not in {None, payload.bytes} or (is_whole and checksum not in {"", _checksum(payload)})
        if differs:
            raise HostError(
                Action.FILE,
                f"{NAME} has other bytes under this image's key: {self._key(payload)}",
                remedy="delete that object",
            )
        return True if length is not None or (is_whole and checksum) else None

    def listed(self) -> Iterator[Stored]:
        """List this project's images; without a prefix nothing is known to be the project's."""
        for page in self._bucket.pages(self.project) if self.project else ():
            for entry in page.get("Contents", ()):
                if self._keys.fullmatch(key := str(entry.get("Key", ""))):
                    url = self._url + key.removeprefix(self.project)
                    stored = entry.get("LastModified")
                    yield Stored(key, url, stored.astimezone(UTC) if stored else None, entry.get("Size"))

    def delete(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Delete images; gives why for each that was not. One that is gone already counts as deleted."""
        if not self.project:
            return dict.fromkeys(ids, "nothing says that it is this project's; set the option 'prefix'")
        own = [key for key in ids if self._keys.fullmatch(key)]
        left = {key: "it is not one of this project's images" for key in ids if key not in set(own)}
        for start in range(0, len(own), BATCH):
            left |= self._deleted(own[start : start + BATCH])
        return left

    def _deleted(self, keys: Sequence[str]) -> dict[str, str]:
        """Delete objects at once, or one by one where the storage does not know that request."""
        named = [{"Key": key} for key in keys]
        try:
            answer = self._bucket.ask("delete_objects", Delete={"Objects": named, "Quiet": True})
        except RefusedError as refusal:
            if not refusal.is_about_feature:
                raise
        else:
            return {
                str(error.get("Key")): printable(error.get("Code", "it was refused"), 60)
                for error in answer.get("Errors", ())
            }
        for key in keys:
            self._bucket.ask("delete_object", Key=key)
        return {}

    def _key(self, payload: Payload) -> str:
        return f"{self.project}{payload.sha256}.{MEDIA_TYPES[payload.media_type]}"

    def _hosted(self, payload: Payload, *, is_new: bool) -> Hosted:
        key = self._key(payload)
        return Hosted(self._url + key.removeprefix(self.project), key, is_new=is_new)


def _checksum(payload: Payload) -> str:
    return base64.b64encode(bytes.fromhex(payload.sha256)).decode()
