"""S3-compatible storage: a bucket that a CDN or the storage itself serves, with content-addressed keys.

An object's key is its digest, and a put is conditional on there being none: nothing is uploaded twice,
whoever asks, and an answer that was lost does no harm.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from imghost.errors import Action, HostError, SettingsError, printable
from imghost.hosts import Limits, Quota, Setup, Stored
from imghost.hosts.answers import image_urls
from imghost.hosts.registry import origin_of, split_origin
from imghost.hosts.s3_requests import NAME, Bucket, RefusedError, unclear
from imghost.models import MEDIA_TYPES, Hosted, Image, Payload

CACHING: Final = "public, max-age=31536000, immutable"
"""A year, which is what HTTP caches call for ever: the bytes under a key never change."""
BATCH: Final = 1000
"""Objects that one request may delete."""

_DIGEST: Final = rf"[0-9a-f]{{64}}\.(?:{'|'.join(MEDIA_TYPES.values())})"
_FOLDERS: Final = r"(?:(?!\.{1,2}/)[A-Za-z0-9._~\-]+/)"
_SHAPES: Final = {
    # Without a colon, which would make it the name of something other than a bucket.
    "bucket": (r"[A-Za-z0-9][A-Za-z0-9._\-]{1,61}[A-Za-z0-9]", "the name of a bucket"),
    # It becomes a part of the host's name.
    "region": (r"[a-z0-9]+(?:-[a-z0-9]+){0,5}", "a region like 'eu-central-1'"),
}
_AWS: Final = re.compile(
    r"https://s3(?:-fips|-accelerate)?(?:\.dualstack)?(?:[.-][a-z]{2,3}(?:-[a-z]{1,12}){1,3}-[0-9])?\.amazonaws\.com(?:\.cn)?"
)


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


class S3:
    """Stores images in a bucket."""

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
    needs_network = True

    def __init__(self, options: S3Options, setup: Setup) -> None:
        _check_shapes(options)
        base, origin = _base(options.base_url)
        self.project = _prefix(options.prefix)
        self._url = base + self.project
        own, elsewhere = re.escape(self._url) + _DIGEST, rf"/{_FOLDERS}{{0,16}}{_DIGEST}"
        self._urls = image_urls(own, elsewhere, self.origin, self.origin, options.url_hosts)
        self._keys = re.compile(re.escape(self.project) + _DIGEST)
        self.origins = (origin, *(f"https://{host}" for host in options.url_hosts))
        self.lacks_credential = not self.finds_credential(setup.environ)
        # Those that the environment names are the user's own, as the credential is.
        named = (setup.environ.get(variable) for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
        endpoint_url = options.endpoint_url or next(filter(None, named), None)
        region = options.region or setup.environ.get("AWS_REGION") or None
        self._bucket = Bucket(setup.client, options.bucket, endpoint_url, region)
        self._is_conditional = True

    @classmethod
    def finds_credential(cls, environ: Mapping[str, str]) -> bool:
        """Say whether boto3 will find a credential, without loading it: a variable, or the shared file.

        An instance's role is asked for by a profile with a `credential_source`.
        """
        named = environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
        try:
            is_file = Path(named).expanduser().is_file()
        except (OSError, RuntimeError, ValueError):
            is_file = False
        return is_file or any(environ.get(variable) for variable in cls.credentials)

    @staticmethod
    def is_own_origin(origin: str) -> bool:
        """Say whether a credential may go to an origin without further leave: Amazon's own for S3."""
        return _AWS.fullmatch(origin) is not None

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images."""
        return self._urls.fullmatch(url) is not None

    def stored(self, image: Image, variant: str) -> Hosted | None:  # noqa: ARG002 - nothing is on this machine
        """Find nothing: the images are elsewhere."""
        return None

    def ready(self) -> Quota:
        """Load the library and the credential; the storage itself tells of no quota."""
        self._bucket.opened()
        return Quota()

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload, or find that it is there."""
        if not self._is_conditional and (found := self.find(payload)):
            return found
        try:
            answer = self._put(payload)
        except RefusedError as refusal:
            problem = refusal
        else:
            if not answer.get("ETag"):
                raise unclear()
            return self._hosted(payload, is_new=True)
        if problem.status == 412:
            return self._confirmed(payload)
        if problem.status == 501 and self._is_conditional:
            # A storage that knows no conditional put is asked before each put instead.
            self._is_conditional = False
            return self.upload(payload)
        raise problem

    def _put(self, payload: Payload) -> Mapping[str, Any]:
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
                    ChecksumSHA256=_checksum(payload),
                    **({"IfNoneMatch": "*"} if self._is_conditional else {}),
                )
        raise HostError(Action.FILE, reason)

    def _confirmed(self, payload: Payload) -> Hosted:
        """Look at what is said to be there already, as far as the credential may."""
        try:
            found = self.find(payload)
        except RefusedError as refusal:
            if refusal.status != 403:
                raise
            return self._hosted(payload, is_new=False)
        if found is None:
            raise HostError(Action.RETRY, f"{NAME} had this image and has it no longer", remedy="build again later")
        return found

    def find(self, payload: Payload) -> Hosted | None:
        """Find a stored copy of exactly these bytes; checked by size and, where the storage tells it, by digest."""
        try:
            found = self._bucket.ask("head_object", Key=self._key(payload), ChecksumMode="ENABLED")
        except RefusedError as refusal:
            if refusal.status == 404:
                return None
            raise
        if "ContentLength" not in found:
            raise unclear(is_ambiguous=False)
        checksum = found.get("ChecksumSHA256", _checksum(payload))
        if found["ContentLength"] != payload.bytes or checksum != _checksum(payload):
            raise HostError(
                Action.FILE,
                f"{NAME} has other bytes under this image's key: {self._key(payload)}",
                remedy="delete that object",
            )
        return self._hosted(payload, is_new=False)

    def listed(self) -> Iterator[Stored]:
        """List this project's images; without a prefix nothing is known to be the project's."""
        for page in self._bucket.pages(self.project) if self.project else ():
            for found in page.get("Contents", ()):
                if self._keys.fullmatch(key := found["Key"]):
                    url = self._url + key.removeprefix(self.project)
                    yield Stored(key, url, found["LastModified"].astimezone(UTC), found["Size"])

    def delete(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Delete images; gives why for each that was not. One that is gone already counts as deleted."""
        if not self.project:
            return dict.fromkeys(ids, "nothing says that it is this project's; set the option 'prefix'")
        own = [key for key in ids if self._keys.fullmatch(key)]
        left = {key: "it is not one of this project's images" for key in ids if key not in set(own)}
        for start in range(0, len(own), BATCH):
            named = [{"Key": key} for key in own[start : start + BATCH]]
            answer = self._bucket.ask("delete_objects", Delete={"Objects": named, "Quiet": True})
            left |= {
                str(error.get("Key")): printable(error.get("Code", "it was refused"), 60)
                for error in answer.get("Errors", ())
            }
        return left

    def _key(self, payload: Payload) -> str:
        return f"{self.project}{payload.sha256}.{MEDIA_TYPES[payload.media_type]}"

    def _hosted(self, payload: Payload, *, is_new: bool) -> Hosted:
        key = self._key(payload)
        return Hosted(self._url + key.removeprefix(self.project), key, is_new=is_new)


def _checksum(payload: Payload) -> str:
    return base64.b64encode(bytes.fromhex(payload.sha256)).decode()


def _check_shapes(options: S3Options) -> None:
    lacking = [name for name in ("bucket", "base_url") if not getattr(options, name)]
    if lacking:
        raise SettingsError(
            f"host {NAME!r}: option {lacking[0]!r} is needed; set bucket, and base_url to where it is served"
        )
    for name, (shape, meaning) in _SHAPES.items():
        if (text := getattr(options, name)) is not None and not re.fullmatch(shape, text):
            raise SettingsError(f"host {NAME!r}: option {name!r} should be {meaning}, not {text!r:.80}")


def _prefix(text: str) -> str:
    prefix = f"{text.strip('/')}/" if text.strip("/") else ""
    if not re.fullmatch(_FOLDERS + "{0,16}", prefix) or len(prefix) > 512:
        raise SettingsError(f"host {NAME!r}: option 'prefix' should be a folder like 'docs/images', not {text!r:.80}")
    return prefix


def _base(text: str) -> tuple[str, str]:
    """Read where the bucket is served: a URL that ends in a slash, and its origin."""
    base = f"{text.rstrip('/')}/"
    parts = split_origin(base)
    if parts is None or not re.fullmatch(f"/{_FOLDERS}{{0,16}}", parts.path):
        raise SettingsError(
            f"host {NAME!r}: option 'base_url' should be an https URL (http on loopback only), not {text!r:.80}"
        )
    return base, origin_of(parts)
