"""imageupload.io: uploads by REST, and its tools (MCP) for what REST does not have.

The host knows no idempotency key: the same bytes sent twice are two images. So where an answer was lost,
the next try first looks whether the image has arrived. An upload without an expiration would be deleted
after a day, so one is always sent. What speaks with the host is loaded when it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from imghost.hosts import Setup
from imghost.hosts.answers import Once, extra_origins, image_urls
from imghost.hosts.imageupload.options import LIVES, NAME, ORIGIN, ImageUploadOptions, read_expiration, read_folder
from imghost.models import Hosted, Image, Limits, Payload

if TYPE_CHECKING:
    from imghost.hosts import Quota, Stored, Usage
    from imghost.hosts.imageupload.host import Service

_FORMATS: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"})
_FILE: Final = r"/f/[A-Za-z0-9_-]{1,64}\.(?:png|jpe?g|webp|gif|avif)"


class ImageUpload:
    """Uploads images to imageupload.io."""

    name = NAME
    credentials: tuple[str, ...] = ("IMAGEUPLOAD_API_KEY",)
    origin = ORIGIN
    Options = ImageUploadOptions
    needs_network = True

    def __init__(self, options: ImageUploadOptions, setup: Setup) -> None:
        expiration, folder = read_expiration(options, setup.retention), read_folder(options)
        self.limits = Limits(_FORMATS, 25_000_000, retention=LIVES[expiration])
        self.origins = (ORIGIN, *extra_origins(options.api_url, ORIGIN, options.url_hosts))
        self._urls = image_urls(r"https://imageupload\.io" + _FILE, _FILE, options.api_url, ORIGIN, options.url_hosts)
        self.lacks_credential = setup.credential is None
        self._service = Once(lambda: self._opened(options, setup, expiration, folder))

    def _opened(self, options: ImageUploadOptions, setup: Setup, expiration: str, folder: str) -> Service:
        from imghost.hosts.imageupload.host import Service

        return Service(options, setup, expiration, folder, self.accepts)

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images, and not a page that shares one."""
        return self._urls.fullmatch(url) is not None

    def stored(self, image: Image, variant: str) -> Hosted | None:  # noqa: ARG002 - nothing is on this machine
        """Find nothing: the images are elsewhere."""
        return None

    @property
    def project(self) -> str:
        """The folder that marks this project's images."""
        return self._service().project

    def ready(self) -> Quota:
        """Ask for the quota, and make the folder; tools that are out of order do not stop uploads."""
        return self._service().ready()

    def usage(self) -> Usage:
        """Ask how much of the month's uploads is used; raises HostError."""
        return self._service().usage()

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload; after a try of which nothing is known, look for its copy first."""
        return self._service().upload(payload)

    def find(self, payload: Payload) -> Hosted | None:
        """Find a copy that is stored already, by its name, which follows from the bytes; its size is checked."""
        return self._service().find(payload)

    def listed(self) -> Iterator[Stored]:
        """List this project's images: those in its folder that this program has named.

        Raises:
            HostError: the host does not say which folder an image is in.
        """
        yield from self._service().listed()

    def delete(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Delete images, one call each; gives why for each that was not."""
        return self._service().delete(ids)
