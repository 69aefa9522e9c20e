"""What the tests of S3-compatible storage share: payloads, and hosts opened on a server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from doubles.s3 import VARIABLES, Storage
from doubles.server import Server
from doubles.stores import NOTHING

from imghost.errors import HostError
from imghost.hosts import Setup
from imghost.hosts.s3 import S3, S3Options
from imghost.models import Payload
from imghost.net import Client

PNG = b"\x89PNG\r\n\x1a\n" + b"p" * 200
DIGEST = "d" * 64
CDN = "https://cdn.example.org/"


def a_setup(client: Client | None = None, environ: dict[str, str] | None = None) -> Setup:
    here = Path()
    given = NOTHING | VARIABLES if environ is None else NOTHING | environ
    return Setup(client or Client(environ={}), None, None, folder=here, site=here, environ=given)


def offline(environ: dict[str, str] | None = None, **more: Any) -> S3:
    return S3(S3Options(**{"bucket": "images", "base_url": CDN, **more}), a_setup(environ=environ))


@contextmanager
def opened(storage: Storage | Server, timeout: float = 5.0, **more: Any) -> Iterator[S3]:
    own = {"bucket": "images", "base_url": f"{storage.url}/images/", "endpoint_url": storage.url}
    with Client(timeout, environ={}) as client:
        yield S3(S3Options(**own | more), a_setup(client))


def a_payload(folder: Path, body: bytes = PNG, media_type: str = "image/png") -> Payload:
    digest = hashlib.sha256(body).hexdigest()
    file = folder / digest
    file.write_bytes(body)
    return Payload("a" * 64, digest, file, len(body), media_type, 1, 1)


def refused(host: S3, payload: Payload) -> HostError:
    with pytest.raises(HostError) as caught:
        host.upload(payload)
    assert str(caught.value).isprintable()
    assert "canary" not in str(caught.value).lower()
    return caught.value
