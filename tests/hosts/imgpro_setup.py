"""What the tests of img.pro share: payloads, and hosts opened on a double."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.imgpro import VERIFIED
from doubles.imgpro import ImgPro as Double
from PIL import Image as Picture

from imghost.errors import HostError
from imghost.hosts import Secret, Setup
from imghost.hosts.imgpro import ImgProOptions
from imghost.hosts.imgpro.host import ImgPro
from imghost.models import Payload
from imghost.net import Client

PERMANENT = None


THIRTY_DAYS = timedelta(days=30)


GENERATIONS = ("upload", "images")


EITHER = pytest.mark.parametrize("generation", GENERATIONS)


def a_picture(size: tuple[int, int] = (9, 6), colour: str = "teal", form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Picture.new("RGB", size, colour).save(file, form)
    return file.getvalue()


def a_payload(folder: Path, body: bytes | None = None, **more: Any) -> Payload:
    body = a_picture() if body is None else body
    digest = hashlib.sha256(body).hexdigest()
    folder.mkdir(exist_ok=True)
    file = folder / digest
    file.write_bytes(body)
    known: dict[str, Any] = {"media_type": "image/png", "width": 9, "height": 6, **more}
    return Payload(digest, digest, file, len(body), **known)


def a_setup(client: Client, key: str | None = VERIFIED, retention: timedelta | None = PERMANENT) -> Setup:
    here = Path()
    return Setup(client, Secret(key) if key else None, retention, folder=here, site=here, environ={})


def a_host(
    api_url: str, client: Client, key: str | None = VERIFIED, retention: timedelta | None = PERMANENT, **more: Any
) -> ImgPro:
    return ImgPro(ImgProOptions(api_url=api_url, **more), a_setup(client, key, retention))


@contextmanager
def opened(
    double: Double, key: str | None = VERIFIED, retention: timedelta | None = PERMANENT, **more: Any
) -> Iterator[ImgPro]:
    with double, Client(5.0, environ={}) as client:
        yield a_host(double.api_url, client, key, retention, **more)


def refused(host: ImgPro, payload: Payload) -> HostError:
    with pytest.raises(HostError) as caught:
        host.upload(payload)
    return caught.value


def offline(**more: Any) -> ImgPro:
    options = {name: more.pop(name) for name in tuple(more) if name in ImgProOptions.__slots__}
    return ImgPro(ImgProOptions(**options), a_setup(Client(environ={}), **more))


PLACES = {"upload": "/v1/media", "images": "/v1/images"}


def payloads(folder: Path, number: int) -> list[Payload]:
    return [a_payload(folder, a_picture(colour=f"#00{count:04x}")) for count in range(number)]


def filled(double: Double, client: Client, folder: Path, number: int, namespace: str | None = "docs") -> ImgPro:
    """Upload some images, and give a host that knows nothing of it."""
    host = a_host(double.api_url, client, namespace=namespace)
    for payload in payloads(folder, number):
        host.upload(payload)
    return a_host(double.api_url, client, namespace=namespace)


def listings(double: Double) -> int:
    return len(double.server.requests("GET", PLACES[double.generation]))


Answering = tuple[Double, ImgPro, Double, ImgPro]


@contextmanager
def open_both() -> Iterator[Answering]:
    """One double and host for each generation, for tests that give the doubles their answers."""
    older, newer = Double("upload"), Double("images")
    with older, newer, Client(5.0, environ={}) as client:
        yield older, a_host(older.api_url, client), newer, a_host(newer.api_url, client)
