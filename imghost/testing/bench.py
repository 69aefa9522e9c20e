"""What the contract tries a host on: the host, its double, and how to ask them."""

from __future__ import annotations

import base64
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from imghost.errors import Action, HostError
from imghost.hosts import Host, HostType, Secret, Setup
from imghost.models import Hosted, Payload
from imghost.net.client import Client
from imghost.testing.loopback import Fault


class Request(Protocol):
    """A request that a double has got."""

    @property
    def method(self) -> str:
        """The method."""
        ...

    @property
    def target(self) -> str:
        """Path and query."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by lower-case name."""
        ...

    @property
    def body(self) -> bytes:
        """The body."""
        ...


class Double(Protocol):
    """What stands for a host in tests: on loopback, it stores and serves images, and fails on demand."""

    @property
    def log(self) -> Sequence[Request]:
        """The requests so far."""
        ...

    @property
    def stored(self) -> int:
        """How many images it has: two copies of one count twice."""
        ...

    def fail(self, *faults: Fault) -> None:
        """Let each of the next uploads have one of these faults."""
        ...


@dataclass(frozen=True, slots=True)
class Bench:
    """A host and its double, ready to be tried; `double` is None for a host without the network."""

    host: Host
    double: Double | None
    client: Client
    secrets: tuple[str, ...]
    anew: Callable[[], Host]
    """Makes the host again on the same double, as a later build does."""

    @property
    def asked(self) -> Double:
        """Give the double of a host that needs the network."""
        if self.double is None:
            raise TypeError("this host has no double")
        return self.double

    def refusal(self, payload: Payload) -> HostError | None:
        """Upload once and give the HostError, checked, or None if the upload succeeded."""
        try:
            hosted = self.host.upload(payload)
        except HostError as error:
            self.check_text(error)
            return error
        except Exception as foreign:
            raise AssertionError(f"upload raised {type(foreign).__name__}; a host raises only HostError") from foreign
        expect(isinstance(hosted, Hosted), f"upload gave {hosted!r}, not Hosted")
        expect(self.host.accepts(hosted.url), f"upload gave a URL that the host does not accept: {hosted.url!r}")
        return None

    def check_text(self, error: HostError) -> None:
        """Check that an error is one printable line, tells what to do, and holds no secret."""
        text = str(error)
        expect(isinstance(error.action, Action), f"{error.action!r} is no Action")
        expect(text.isprintable() and 0 < len(text) <= 700, f"no printable line of at most 700 letters: {text!r:.900}")
        expect("::" not in text, f"a CI would take a part of this for a command: {text!r}")
        expect(error.wait is None or 0 <= error.wait < math.inf, f"no time to wait: {error.wait!r}")
        told = "".join(traceback.format_exception(error)) + repr(vars(error))
        expect(not self.holds_secret(told), "an error's text or traceback holds the credential")

    def holds_secret(self, text: str) -> bool:
        """Say whether a text holds a credential, as it is or encoded."""
        return any(form in text for secret in self.secrets for form in forms(secret))


def expect(is_so: bool, otherwise: str) -> None:
    """Raise AssertionError with the sentence where a fact does not hold."""
    if not is_so:
        raise AssertionError(otherwise)


def forms(secret: str) -> tuple[str, ...]:
    """List how a secret may be written: as it is, encoded for a URL, in base64, in hexadecimal digits."""
    raw = secret.encode()
    return secret, quote(secret, safe=""), base64.b64encode(raw).decode().rstrip("="), raw.hex()


def a_setup(
    client: Client,
    folder: Path,
    credential: str | None = None,
    retention: timedelta | None = None,
    environ: Mapping[str, str] | None = None,
    **more: Any,
) -> Setup:
    """Make what a run gives a host, for a project in a folder; its site is the folder `site` there."""
    return Setup(
        client,
        Secret(credential) if credential else None,
        retention,
        folder,
        folder / "site",
        environ or {},
        lock=folder / "imghost.lock",
        cache_dir=folder / ".cache",
        **{"max_cost": Decimal(0), **more},
    )


def kinds_facts(kind: HostType) -> dict[str, bool]:
    """Say which facts hold for a class that an entry point names, by their sentences."""
    variables = kind.credentials
    return {
        "`name` is a text": isinstance(kind.name, str) and bool(kind.name),
        "`credentials` are names of environment variables": isinstance(variables, tuple)
        and all(name.isidentifier() and name.isupper() for name in variables),
        "`Options` is a frozen dataclass": getattr(kind.Options, "__dataclass_params__", None) is not None
        and kind.Options.__dataclass_params__.frozen,
        "`origin` is https, or empty where no credential is sent": kind.origin.startswith("https://")
        or (kind.origin == "" and not variables),
        "every option has a default": bool(kind.Options() or True),
    }
