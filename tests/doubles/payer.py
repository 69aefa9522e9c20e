"""What pays in tests: a signer that counts, payloads of real files, a host with a wallet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

from canaries import private_key

from imghost.files import write_whole
from imghost.hosts import Secret, Setup
from imghost.hosts.img402 import Img402Options
from imghost.hosts.img402.buying import Till
from imghost.hosts.img402.host import Img402
from imghost.hosts.img402.wallet import KeySigner
from imghost.models import Payload
from imghost.net import Client

PNG = b"\x89PNG\r\n\x1a\n" + b"p" * 200
KEY = private_key()


class Counting:
    """A signer that counts how often it signs."""

    def __init__(self, key: str = KEY) -> None:
        self._signer = KeySigner(Secret(key))
        self.signed = 0
        self.messages: list[dict[str, Any]] = []

    @property
    def address(self) -> str:
        return self._signer.address

    def sign(self, domain: Mapping[str, Any], types: Mapping[str, Any], message: Mapping[str, Any]) -> bytes:
        self.signed += 1
        self.messages.append(dict(message))
        return self._signer.sign(domain, types, message)


def a_payload(folder: Path, number: int = 0, period: int = 0, variant: str = "") -> Payload:
    """Make an image that no other number has; a variant of it is other bytes of the same image."""
    body = PNG + str(number).encode()
    file = folder / f"payload-{number}{variant}"
    sent = body + variant.encode()
    write_whole(file, sent, is_durable=False)  # eight processes make it at once, and none may send another's half
    image = sha256(b"as it is in the site: " + body).hexdigest()
    digest = sha256(sent).hexdigest()
    return Payload(image, digest, file, len(sent), "image/png", 1, 1, period=period, variant=variant)


def a_host(
    client: Client,
    url: str,
    folder: Path,
    key: str = KEY,
    *,
    tier: str = "permanent",
    max_cost: str = "5",
    retention: timedelta | None = None,
    environ: Mapping[str, str] | None = None,
    signer: Counting | None = None,
    lock: str = "imghost.lock",
    **options: Any,
) -> Img402:
    """Make the host with a wallet, whose journal is in the folder `state`."""
    setup = Setup(
        client,
        Secret(key),
        retention,
        folder,
        folder / "site",
        {"IMGHOST_STATE_DIR": str(folder / "state"), **(environ or {})},
        max_cost=Decimal(max_cost),
        lock=folder / lock,
    )
    return Img402(Img402Options(api_url=url, tier=tier, **options), setup, signer)


def changed(host: Img402, **changes: Any) -> Img402:
    """Give a host's till other parts, as a fault or another clock would."""
    till = host.till
    assert till is not None
    host._till = Till(till._client, replace(till._deal, **changes))
    return host
