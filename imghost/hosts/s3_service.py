"""S3-compatible storage as it is spoken with: puts on a condition, heads, lists, deletions."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any, Final

from imghost.errors import Action, HostError
from imghost.hosts import Quota, Setup, Stored
from imghost.hosts.s3 import Bucket, RefusedError, unclear
from imghost.hosts.s3_settings import NAME, S3Options
from imghost.models import MEDIA_TYPES, Hosted, Payload
from imghost.wording import printable

CACHING: Final = "public, max-age=31536000, immutable"
"""A year, which is what HTTP caches call for ever: the bytes under a key never change."""
BATCH: Final = 1000
"""Objects that one request may delete."""


class Service:
    """Speaks with the storage for one run; safe to share between threads.

    The project's keys are its prefix and what matches `digest`; they are served below `url` without the prefix.
    """

    def __init__(self, options: S3Options, setup: Setup, project: str, url: str, digest: str) -> None:
        self._project = project
        self._url = url
        self._keys = re.compile(re.escape(project) + digest)
        # Those that the environment names are the user's own, as the credential is.
        named = (setup.environ.get(variable) for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
        endpoint_url = options.endpoint_url or next(filter(None, named), None)
        region = options.region or setup.environ.get("AWS_REGION") or None
        self._bucket = Bucket(setup.client, options.bucket, endpoint_url, region)
        self._is_conditional = True

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
        for page in self._bucket.pages(self._project) if self._project else ():
            for found in page.get("Contents", ()):
                if self._keys.fullmatch(key := found["Key"]):
                    url = self._url + key.removeprefix(self._project)
                    yield Stored(key, url, found["LastModified"].astimezone(UTC), found["Size"])

    def delete(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Delete images; gives why for each that was not. One that is gone already counts as deleted."""
        if not self._project:
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
        return f"{self._project}{payload.sha256}.{MEDIA_TYPES[payload.media_type]}"

    def _hosted(self, payload: Payload, *, is_new: bool) -> Hosted:
        key = self._key(payload)
        return Hosted(self._url + key.removeprefix(self._project), key, is_new=is_new)


def _checksum(payload: Payload) -> str:
    return base64.b64encode(bytes.fromhex(payload.sha256)).decode()
