"""img402.dev: the free tier, which needs no account, and the tiers that are paid from a wallet.

The tiers have changed over time: the answer's own `expiresAt` decides how long an image lives.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Final

from imghost.errors import Action, HostError, SettingsError, StateError, printable
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
from imghost.hosts.img402_paid import PAYEES, ROUTES, Route, Till
from imghost.hosts.img402_redeem import NAME, Deal, outlasts
from imghost.hosts.journal import Journal, lock_name
from imghost.hosts.journal_place import journal_of
from imghost.hosts.payments import Budget
from imghost.hosts.signer import KeySigner, Signer, check_key
from imghost.hosts.x402 import ATOMS, atoms
from imghost.http import Answer, FilePart
from imghost.models import Hosted, Image, Payload
from imghost.settings import nearest

FORMATS: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_ID: Final = re.compile(r"[\x21-\x7e]{1,200}")
"""What the journal and the lock can keep, in one line."""
_FILE: Final = r"/[A-Za-z0-9]{1,64}\.(?:png|jpe?g|gif|webp)"

TIERS: Final[Mapping[str, Limits]] = MappingProxyType(
    {
        "permanent": Limits(FORMATS, 5_000_000, price=Decimal("1.00")),
        "1-year": Limits(FORMATS, 5_000_000, retention=timedelta(days=365), price=Decimal("0.01")),
        # Up to 10 MB: what is over the tier's own limit, the host refuses or keeps for less time.
        "free": Limits(FORMATS, 10_000_000, retention=timedelta(days=7)),
        "auto": Limits(FORMATS, 10_000_000, price=Decimal("1.00"), is_price_certain=False),
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
    """The one address that may be paid; None = the one that is known for the host."""
    url_hosts: tuple[str, ...] = ()


class Img402:
    """Uploads images to img402.dev."""

    name = NAME
    credentials = ("IMG402_PRIVATE_KEY", "IMG402_PRIVATE_KEY_FILE")
    origin = "https://img402.dev"
    Options = Img402Options
    needs_network = True

    def __init__(self, options: Img402Options, setup: Setup, signer: Signer | None = None) -> None:
        _check(options, setup)
        self.lacks_credential = options.tier != "free" and setup.credential is None
        self.is_idempotent = options.tier not in {"free", "auto"}
        self.limits = _limits(options.tier, setup.retention)
        self.origins = (
            "https://i.img402.dev",
            *extra_origins(options.api_url, self.origin, options.url_hosts),
        )
        own = rf"https://i\.img402\.dev{_FILE}"
        self._urls = image_urls(own, _FILE, options.api_url, self.origin, options.url_hosts)
        self._api = options.api_url.rstrip("/")
        self._setup = setup
        self._client = setup.client
        self._tier = options.tier
        self._too_short: set[str] = set()
        self._till: Till | None = None
        if options.tier != "free" and setup.credential is not None:
            signer = signer or KeySigner(setup.credential)
            self._till = Till(setup.client, self._deal(options, setup, signer))

    def _deal(self, options: Img402Options, setup: Setup, signer: Signer) -> Deal:
        def journal() -> Journal:
            return journal_of(setup.environ, setup.folder, setup.cache_dir)

        return Deal(
            api=self._api,
            signer=signer,
            journal=journal,
            budget=Budget(atoms(setup.max_cost), lock_name(setup.lock), time.time()),
            pay_to=frozenset({options.pay_to.lower()}) if options.pay_to else PAYEES,
            retention=setup.retention,
            hosted=self._hosted,
            environ=setup.environ,
        )

    @property
    def spent(self) -> Decimal:
        """Dollars that this build has signed for, settled or not."""
        return self._till.spent if self._till else Decimal(0)

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images."""
        return self._urls.fullmatch(url) is not None

    def stored(self, image: Image, variant: str) -> Hosted | None:  # noqa: ARG002 - nothing is on this machine
        """Find nothing: the images are elsewhere."""
        return None

    def ready(self) -> Quota:
        """Say that uploads can go on; the free tier tells its cap only by refusing.

        Before anything is paid, the journal must be writable, and in CI the lock must be kept by git. The first
        payment is then sent alone, since only its answer shows what a payment gets.

        Raises:
            SettingsError: in CI, git does not track the lock.
        """
        if self._till is None:
            return Quota()
        check_kept(self._setup.lock, self._setup.environ)
        try:
            journal_of(self._setup.environ, self._setup.folder, self._setup.cache_dir).prepare()
        except StateError as problem:
            raise HostError(Action.STOP, str(problem)) from None
        return Quota(is_proven=False)

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload; the same bytes again are a second free image there, but one paid one."""
        if self._tier == "free":
            return self._upload_free(payload)
        if self._till is None:
            raise HostError(Action.STOP, f"{NAME} would have to be paid", remedy="set IMG402_PRIVATE_KEY")
        if self._tier != "auto":
            return self._till.buy(payload, ROUTES[self._tier])
        route = _route(self._setup.retention)
        if payload.sha256 not in self._too_short and not self._till.knows(payload, route):
            try:
                return self._upload_free(payload)
            except _TooShortError:
                # A second try of the payment should not leave a second free image.
                self._too_short.add(payload.sha256)
        return self._till.buy(payload, route)

    def _upload_free(self, payload: Payload) -> Hosted:
        part = FilePart("image", payload.name, payload.media_type, payload.file)
        answer = self._client.send("POST", f"{self._api}/api/free", file=part)
        if not 200 <= answer.status < 300:
            raise refusal(NAME, answer, CODES, STATUSES)
        hosted = self._hosted(answer)
        now = moment_of(answer)
        if hosted.expires and not outlasts(hosted.expires, now, self._setup.retention):
            days = max(1, (hosted.expires - now).days)
            raise _TooShortError(
                Action.FILE,
                f"{NAME} keeps this image only until {hosted.expires:%Y-%m-%d}, which is sooner than `retention` asks",
                remedy=f"make it smaller, or set retention: {days}d or less",
            )
        return hosted

    def _hosted(self, answer: Answer) -> Hosted:
        """Read the image object; fields that are not known are ignored."""
        found = read_object(NAME, answer)
        url, name, expires = found.get("url"), found.get("id"), found.get("expiresAt")
        if not isinstance(url, str) or not isinstance(name, str) or not _ID.fullmatch(name):
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


class _TooShortError(HostError):
    """An image that is stored, and ends sooner than asked: its page would break then."""


def _route(retention: timedelta | None) -> Route:
    """Choose the cheapest tier whose promise satisfies the retention."""
    promise = TIERS["1-year"].retention
    is_enough = retention is not None and promise is not None and retention <= promise
    return ROUTES["1-year" if is_enough else "permanent"]


def _limits(tier: str, retention: timedelta | None) -> Limits:
    """Give a tier's limits; what `auto` may cost is what it would pay for this retention."""
    limits = TIERS[tier]
    return replace(limits, price=Decimal(_route(retention).cap) / ATOMS) if tier == "auto" else limits


def _check(options: Img402Options, setup: Setup) -> None:
    if options.tier not in TIERS:
        raise SettingsError(f"host 'img402': no tier named {options.tier!r:.80}; {nearest(options.tier, TIERS)}")
    if options.pay_to is not None and not re.fullmatch("0x[0-9a-fA-F]{40}", options.pay_to):
        raise SettingsError(
            f"host 'img402': pay_to should be an address, 0x and 40 hexadecimal digits, not {options.pay_to!r:.80}"
        )
    if options.tier != "free" and setup.credential is not None:
        check_key(setup.credential)


def check_kept(lock: Path | None, environ: Mapping[str, str]) -> None:
    """Refuse to pay in CI where the lock would be forgotten, and every build would pay again.

    Raises:
        SettingsError: git does not track the lock.
    """
    if not environ.get("CI"):
        return
    from subprocess import run

    name = lock.name if lock else "the lock"
    try:
        asked = ["git", "ls-files", "--error-unmatch", "--", str(name)]
        is_kept = lock is not None and run(asked, cwd=lock.parent, capture_output=True, check=False).returncode == 0  # noqa: S603
    except OSError:
        is_kept = False
    if not is_kept:
        raise SettingsError(
            f"host 'img402': this tier is paid, and in CI without {name} in git each build would pay again; "
            f"commit {name}, made by a build outside CI, or set options: tier: free"
        )
