"""What the tests of imageupload.io share: hosts opened on a double."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.imageupload import PRO
from doubles.imageupload import ImageUpload as Double
from doubles.server import Reply
from hosts.imgpro_setup import a_payload, a_picture

from imghost.errors import HostError
from imghost.hosts import Secret, Setup
from imghost.hosts.imageupload import ImageUploadOptions
from imghost.hosts.imageupload.host import ImageUpload
from imghost.models import Payload
from imghost.net import Client

__all__ = [
    "MONTH",
    "PERMANENT",
    "Opened",
    "a_host",
    "a_payload",
    "a_picture",
    "list_one",
    "offline",
    "opened",
    "refused",
]

PERMANENT = None
MONTH = timedelta(days=30)
Opened = tuple[Double, ImageUpload]


def a_host(
    api_url: str, client: Client, key: str | None = PRO, retention: timedelta | None = PERMANENT, **more: Any
) -> ImageUpload:
    here = Path()
    setup = Setup(client, Secret(key) if key else None, retention, folder=here, site=here, environ={})
    return ImageUpload(ImageUploadOptions(api_url=api_url, **more), setup)


@contextmanager
def opened(
    double: Double,
    key: str | None = PRO,
    retention: timedelta | None = PERMANENT,
    timeout: float = 5.0,
    **more: Any,
) -> Iterator[ImageUpload]:
    with double, Client(timeout, environ={}) as client:
        yield a_host(double.api_url, client, key, retention, **more)


def offline(retention: timedelta | None = PERMANENT, key: str | None = PRO, **options: Any) -> ImageUpload:
    here = Path()
    setup = Setup(Client(environ={}), Secret(key) if key else None, retention, folder=here, site=here, environ={})
    return ImageUpload(ImageUploadOptions(**options), setup)


def refused(host: ImageUpload, payload: Payload) -> HostError:
    with pytest.raises(HostError) as caught:
        host.upload(payload)
    return caught.value


def list_one(double: Double, **changes: object) -> None:
    """Let the next list have one image with these fields, which the caller's payload would otherwise be."""
    entry = {"slug": "abc", "direct_url": "https://imageupload.io/f/abc.png", "width": 9, "height": 6, **changes}
    pages = [{"images": [entry]}, {"images": []}]
    double.answer_tools(*[Reply.json({"id": 1, "result": {"structuredContent": page}}) for page in pages])
