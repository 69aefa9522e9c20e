"""S3-compatible storage: a bucket that a CDN or the storage itself serves, with content-addressed keys.

An object's key is its digest, and a put is conditional on there being none: nothing is uploaded twice,
whoever asks, and an answer that was lost does no harm. What speaks with the storage is loaded when it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imghost.hosts import Setup
from imghost.hosts.once import Once
from imghost.hosts.origins import image_urls
from imghost.hosts.s3_settings import FOLDERS, NAME, S3Options, check_shapes, read_base, read_prefix
from imghost.models import MEDIA_TYPES, Hosted, Image, Limits, Payload

if TYPE_CHECKING:
    from imghost.hosts import Quota, Stored
    from imghost.hosts.s3_service import Service

_DIGEST: Final = rf"[0-9a-f]{{64}}\.(?:{'|'.join(MEDIA_TYPES.values())})"
_AWS: Final = (
    r"https://s3(?:-fips|-accelerate)?(?:\.dualstack)?(?:[.-][a-z]{2,3}(?:-[a-z]{1,12}){1,3}-[0-9])?"
    r"\.amazonaws\.com(?:\.cn)?"
)


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
        check_shapes(options)
        base, origin = read_base(options.base_url)
        self.project = read_prefix(options.prefix)
        url = base + self.project
        own, elsewhere = re.escape(url) + _DIGEST, rf"/{FOLDERS}{{0,16}}{_DIGEST}"
        self._urls = image_urls(own, elsewhere, self.origin, self.origin, options.url_hosts)
        self.origins = (origin, *(f"https://{host}" for host in options.url_hosts))
        self.lacks_credential = not self.finds_credential(setup.environ)
        self._service = Once(lambda: self._opened(options, setup, url))

    def _opened(self, options: S3Options, setup: Setup, url: str) -> Service:
        from imghost.hosts.s3_service import Service

        return Service(options, setup, self.project, url, _DIGEST)

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
        return re.fullmatch(_AWS, origin) is not None

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images."""
        return self._urls.fullmatch(url) is not None

    def stored(self, image: Image, variant: str) -> Hosted | None:  # noqa: ARG002 - nothing is on this machine
        """Find nothing: the images are elsewhere."""
        return None

    def ready(self) -> Quota:
        """Load the library and the credential; the storage itself tells of no quota."""
        return self._service().ready()

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload, or find that it is there."""
        return self._service().upload(payload)

    def find(self, payload: Payload) -> Hosted | None:
        """Find a stored copy of exactly these bytes; checked by size and, where the storage tells it, by digest."""
        return self._service().find(payload)

    def listed(self) -> Iterator[Stored]:
        """List this project's images; without a prefix nothing is known to be the project's."""
        yield from self._service().listed()

    def delete(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Delete images; gives why for each that was not. One that is gone already counts as deleted."""
        return self._service().delete(ids)
