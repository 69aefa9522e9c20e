"""img402.dev: the free tier, which needs no account.

The tiers have changed over time: the answer's own `expiresAt` decides how long an image lives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from imghost.errors import Action, HostError, SettingsError, printable
from imghost.hosts import Limits, Quota, Setup
from imghost.hosts.answers import (
    Rule,
    extra_origins,
    image_urls,
    moment,
    moment_of,
    read_object,
    refusal,
    unclear,
)
from imghost.http import Answer, FilePart
from imghost.models import Hosted, Image, Payload
from imghost.settings import nearest

NAME: Final = "img402"
FORMATS: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
SLACK: Final = timedelta(hours=1)
"""How much sooner than asked an image may end, since host and client do not count from the same moment."""

_FILE: Final = r"/[A-Za-z0-9]{1,64}\.(?:png|jpe?g|gif|webp)"

TIERS: Final[Mapping[str, Limits]] = MappingProxyType(
    {
        "permanent": Limits(FORMATS, 5_000_000, price=Decimal("1.00")),
        "1-year": Limits(FORMATS, 5_000_000, retention=timedelta(days=365), price=Decimal("0.01")),
        # Up to 10 MB: what is over the tier's own limit, the host refuses or keeps for less time.
        "free": Limits(FORMATS, 10_000_000, retention=timedelta(days=7)),
        "auto": Limits(FORMATS, 10_000_000, price=Decimal("1.00")),
    }
)

CODES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "no_file": Rule(Action.FILE, "saw no image in the upload", "report it to imghost"),
        "empty_file": Rule(Action.FILE, "refuses the image: it is empty"),
        "file_too_large": Rule(Action.FILE, "refuses the image: it is too large", "make it smaller, or set `max_edge`"),
        "unsupported_format": Rule(Action.FILE, "takes only PNG, JPEG, GIF and WebP", "convert the image"),
        "daily_limit": Rule(
            Action.STOP, "takes no more free uploads today", "build again tomorrow, or choose another host"
        ),
        "upload_failed": Rule(Action.RETRY, "could not store the image", "build again later"),
    }
)

STATUSES: Final[Mapping[int, Rule]] = MappingProxyType(
    {
        402: Rule(Action.STOP, "asks for a payment for a free upload", "choose another host"),
        403: Rule(Action.STOP, "forbids free uploads from here", "choose another host"),
    }
)


@dataclass(frozen=True, slots=True)
class Img402Options:
    """The host's own settings."""

    api_url: str = "https://img402.dev"
    tier: str = "permanent"
    pay_to: str | None = None
    """The one address that may be paid."""
    url_hosts: tuple[str, ...] = ()


class Img402:
    """Uploads images to img402.dev."""

    name = NAME
    credentials = ("IMG402_PRIVATE_KEY", "IMG402_PRIVATE_KEY_FILE")
    origin = "https://img402.dev"
    Options = Img402Options
    needs_network = True

    def __init__(self, options: Img402Options, setup: Setup) -> None:
        if options.tier not in TIERS:
            raise SettingsError(f"host 'img402': no tier named {options.tier!r:.80}; {nearest(options.tier, TIERS)}")
        self.lacks_credential = options.tier != "free" and setup.credential is None
        if options.tier != "free" and setup.credential is not None:
            raise SettingsError(
                f"host 'img402': the tier {options.tier!r} is paid, which is part of the extra imghost[x402] and "
                "not in this version; set options: tier: free, with retention: 7d"
            )
        self.limits = TIERS[options.tier]
        self.origins = (
            "https://i.img402.dev",
            *extra_origins(options.api_url, self.origin, options.url_hosts),
        )
        own = rf"https://i\.img402\.dev{_FILE}"
        self._urls = image_urls(own, _FILE, options.api_url, self.origin, options.url_hosts)
        self._api = options.api_url.rstrip("/")
        self._client = setup.client
        self._retention = setup.retention

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images."""
        return self._urls.fullmatch(url) is not None

    def stored(self, image: Image, variant: str) -> Hosted | None:  # noqa: ARG002 - nothing is on this machine
        """Find nothing: the images are elsewhere."""
        return None

    def ready(self) -> Quota:
        """Say that uploads can go on; the free tier tells its cap only by refusing."""
        return Quota()

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload; the same bytes again are a second image there."""
        part = FilePart("image", payload.name, payload.media_type, payload.file)
        answer = self._client.send("POST", f"{self._api}/api/free", file=part)
        if not 200 <= answer.status < 300:
            raise refusal(NAME, answer, CODES, STATUSES)
        hosted = self._hosted(answer)
        self._check_life(hosted.expires, moment_of(answer))
        return hosted

    def _hosted(self, answer: Answer) -> Hosted:
        """Read the image object; fields that are not known are ignored."""
        found = read_object(NAME, answer)
        url, name, expires = found.get("url"), found.get("id"), found.get("expiresAt")
        if not isinstance(url, str) or not isinstance(name, str):
            raise unclear(NAME, "has no `url` and `id`")
        if "expiresAt" not in found or not isinstance(expires, (str, type(None))):
            raise unclear(NAME, "does not say how long the image lives")
        if not self.accepts(url):
            raise HostError(
                Action.FILE,
                f"{NAME} gave a URL that is not one of its images: {printable(url, 80)}",
                remedy="if it is right, name its host in `options.url_hosts`",
                is_ambiguous=True,
            )
        try:
            return Hosted(url, name, moment(expires))
        except ValueError:
            raise unclear(NAME, "does not say how long the image lives") from None

    def _check_life(self, expires: datetime | None, now: datetime) -> None:
        """Refuse an image that ends sooner than asked: its page would break then."""
        if expires is None:
            return
        if self._retention is not None and expires + SLACK >= now + self._retention:
            return
        days = max(0, (expires - now).days)
        raise HostError(
            Action.FILE,
            f"{NAME} keeps this image only until {expires:%Y-%m-%d}, which is sooner than `retention` asks",
            remedy=f"make it smaller, or set retention: {max(days, 1)}d or less",
        )
