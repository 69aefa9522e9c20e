"""img.pro: uploads that can be repeated safely, in both generations of its API.

`POST /upload` knows an image by its `external_id`, `POST /images` by an `Idempotency-Key` for a day and by
its labels for ever. All are functions of the bytes and the settings, so that a repeated upload, a lost
answer and a lost lock lead to the same stored copy. What speaks with the host is loaded when it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from imghost.hosts import Setup
from imghost.hosts.answers import Once, extra_origins, image_urls
from imghost.hosts.imgpro import variants
from imghost.hosts.imgpro.options import ANONYMOUS, NAME, Fields, ImgProOptions, read_fields
from imghost.models import Hosted, Image, Limits, Payload, Record

if TYPE_CHECKING:
    from imghost.hosts import Quota, Stored, Usage
    from imghost.hosts.imgpro.host import Service

_FORMATS: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
_VARIANT: Final = r"(?:size|format|w|h|fit)=[a-z0-9-]{1,16}"
_NAME: Final = rf"[A-Za-z0-9_-]{{1,128}}\.(?:png|jpe?g|gif|webp|avif)(?:\?{_VARIANT}(?:&{_VARIANT}){{0,3}})?"
_OWN: Final = rf"https://src\.img\.pro/(?:[A-Za-z0-9_-]{{1,64}}/){{0,2}}{_NAME}"
_ELSEWHERE: Final = rf"/(?:[A-Za-z0-9_-]{{1,64}}/){{0,8}}{_NAME}"


class ImgPro:
    """Uploads images to img.pro."""

    name = NAME
    credentials: tuple[str, ...] = ("IMGPRO_API_KEY",)
    origin = "https://api.img.pro"
    Options = ImgProOptions
    needs_network = True

    def __init__(self, options: ImgProOptions, setup: Setup) -> None:
        fields = read_fields(options, setup.retention)
        self.origins = ("https://src.img.pro", *extra_origins(options.api_url, self.origin, options.url_hosts))
        self._urls = image_urls(_OWN, _ELSEWHERE, options.api_url, self.origin, options.url_hosts)
        self.lacks_credential = setup.credential is None and fields.is_long
        lives = [life for life in (fields.ttl, None if setup.credential else ANONYMOUS) if life is not None]
        self.limits = Limits(_FORMATS, 20_000_000, keeps_animated_png=False, retention=min(lives, default=None))
        self.project = options.namespace or ""
        self._service = Once(lambda: self._opened(options, setup, fields))

    def _opened(self, options: ImgProOptions, setup: Setup, fields: Fields) -> Service:
        from imghost.hosts.imgpro.host import Service

        return Service(options, setup, fields, self.accepts)

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images, and not a page about one."""
        return self._urls.fullmatch(url) is not None

    def stored(self, image: Image, variant: str) -> Hosted | None:  # noqa: ARG002 - nothing is on this machine
        """Find nothing: the images are elsewhere."""
        return None

    def ready(self) -> Quota:
        """Ask for the quota, by which the API also shows its generation; refuse a key whose images would not last."""
        return self._service().ready()

    def usage(self) -> Usage:
        """Ask how much of the plan is used."""
        return self._service().usage()

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload, or find the copy that an earlier try has stored."""
        return self._service().upload(payload)

    def bring(self, url: str, key: str) -> Hosted:
        """Have the host fetch a public image, or find the copy of an earlier import under this key."""
        return self._service().bring(url, key)

    def find(self, payload: Payload) -> Hosted | None:
        """Find a copy that lasts and that this project has stored of the payload, under whatever terms."""
        return self._service().find(payload)

    def listed(self) -> Iterator[Stored]:
        """List this project's images; one at an address that no page could have from here is left out."""
        yield from self._service().listed()

    def delete(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Delete images of this project, which cannot be undone; gives why for each that is still there."""
        return self._service().delete(ids)

    def variants(self, record: Record) -> tuple[tuple[str, str], ...]:
        """Name the smaller copies that the host serves of an image."""
        if not record.width or not record.height:
            return ()
        return variants.variants(record.url, record.width, record.height)

    def converted(self, url: str, format: str) -> str:  # noqa: A002 - the option's name
        """Name the copy of an image in another format."""
        return variants.converted(url, format)
