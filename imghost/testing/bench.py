"""A host and its double side by side, hostile URLs, and pictures."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

from PIL import Image as Picture
from PIL import features

from imghost.errors import Action, HostError
from imghost.hosts import Host, HostType, Secret, Setup
from imghost.image.inspect import inspect
from imghost.models import MEDIA_TYPES, Hosted, Image, Payload
from imghost.net.client import Client
from imghost.testing.loopback import Fault

_AFTER: Final = (
    "\n",
    " ",
    "\t",
    "\x00",
    "\u202e",
    "\\",
    '" onerror="alert(1)',
    "' onerror='alert(1)",
    "><script>alert(1)</script>",
    ", https://evil.example/b.png 2x",
    '?"><script>',
    "#onload",
    "/",
    "/../a",
    ".html",
    ".js",
)
_WHOLE: Final = (
    "",
    " ",
    "javascript:alert(1)",
    "data:image/svg+xml,<svg onload=alert(1)>",
    "blob:https://evil.example/a.png",
    "file:///etc/passwd",
    "/etc/passwd",
    "../../etc/passwd",
    "//evil.example/a.png",
    "https://evil.example/a.png",
    "https://evil.example",
    "https://169.254.169.254/a.png",
    "https://[::1]/a.png",
    "https://" + "a" * 5_000 + ".example/a.png",
)


def hostile_urls(good: str) -> tuple[str, ...]:
    """List URLs that a host must not accept, made of one that it accepts."""
    changed = [good + ending for ending in _AFTER] + [" " + good, "\n" + good, "javascript:alert(1)//" + good]
    scheme, _, rest = good.partition("://")
    if not rest:
        return (*_WHOLE, *changed, f"../{good}", f"/{good}", f"x/../../{good}")
    host, _, path = rest.partition("/")
    changed += [f"{other}://{rest}" for other in ("ftp", "javascript", "ws", scheme.upper())]
    changed += [f"{scheme}:{rest}", f"{scheme}:/{rest}", f"//{rest}", rest, f"{scheme}:\\\\{host}\\{path}"]
    places = [
        f"user@{host}",
        f"user:password@{host}",
        "evil.example",
        f"{host}.evil.example",
        f"{host}@evil.example",
        f"evil.example#{host}",
        f"evil.example?{host}",
        f"evil.example/{host}",
        f"evil.example\\@{host}",
        f"{host}\\@evil.example",
        f"{host}%2f@evil.example",
        f"x{host}",
        f"{host}.",
        f"{host}:",
        f"{host}:1" if ":" not in host else f"{host[:-1]}{(int(host[-1]) + 1) % 10}",
    ]
    changed += [f"{scheme}://{place}/{path}" for place in places]
    paths = [f"../{path}", f"a/../{path}", f"%2e%2e/{path}", f"/{path}", "", "a b.png", "a" * 5_000 + ".png"]
    return (*_WHOLE, *changed, *(f"{scheme}://{host}/{wrong}" for wrong in paths))


PRIVATE = "private-name"
"""What payloads' files are called: no host may be told."""


def draw(number: int = 0, media_type: str = "image/png") -> bytes:
    """Draw a picture of 24 x 16 pixels; every number gives other bytes."""
    shade = (number * 37 % 256, number // 7 % 256, 90)
    if media_type == "image/svg+xml":
        size, colour = 'width="24" height="16"', "#{:02x}{:02x}{:02x}".format(*shade)
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><path id="n{number}" fill="{colour}"/></svg>'.encode()
    drawn = Picture.new("RGB", (24, 16), shade)
    for digit, x in zip(f"{number:024b}", range(24), strict=False):
        drawn.putpixel((x, 0), (255, 255, 255) if digit == "1" else (0, 0, 0))
    file = io.BytesIO()
    drawn.save(file, media_type.partition("/")[2], **({} if media_type == "image/gif" else {"lossless": True}))
    return file.getvalue()


def drawable(formats: frozenset[str]) -> list[str]:
    """List those of a host's formats that can be drawn here; a Pillow without AVIF draws none."""
    lacking = frozenset() if features.check("avif") else frozenset({"image/avif"})
    return sorted(formats & MEDIA_TYPES.keys() - lacking)


def a_payload(folder: Path, number: int = 0, media_type: str = "image/png") -> Payload:
    """Make a payload as a run makes it: a file of its own, known by its bytes."""
    body = draw(number, media_type)
    digest = hashlib.sha256(body).hexdigest()
    file = folder / f"{PRIVATE}-{number}"
    file.write_bytes(body)
    facts = inspect(body)
    return Payload(digest, digest, file, len(body), media_type, facts.width, facts.height)


def an_image(payload: Payload) -> Image:
    """Give the image of the site that a payload is of."""
    return Image(f"images/{payload.image[:8]}", payload.image, payload.bytes, inspect(payload.file.read_bytes()))


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
