"""img402.dev: the free tier, which needs no account, and the tiers that are paid from a wallet.

The tiers have changed over time: the answer's own `expiresAt` decides how long an image lives.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from imghost.errors import Action, HostError, SettingsError, StateError
from imghost.hosts import HostBase, Payments, Quota, Setup, Terms
from imghost.hosts.answers import (
    Rule,
    extra_origins,
    foreign,
    image_urls,
    moment,
    moment_of,
    read_object,
    refusal,
    unclear,
)
from imghost.hosts.img402 import (
    FORMATS,
    NAME,
    TIERS,
    Img402Options,
    check_options,
    has_wallet,
    limits_for,
    limits_of_all,
    outlasts,
    paid_tier,
    sold,
)
from imghost.models import Hosted, Limits, Payload, endings
from imghost.net import Answer, FilePart
from imghost.wording import printable

if TYPE_CHECKING:
    from imghost.hosts.img402.buying import Till
    from imghost.hosts.img402.wallet import Signer

_FILE: Final = rf"/[A-Za-z0-9]{{1,64}}\.(?:{endings(sorted(FORMATS))})"
_ID: Final = re.compile(r"[\x21-\x7e]{1,200}")
"""What the journal and the lock can keep, in one line."""

CODES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "no_file": Rule(Action.FILE, "saw no image in the upload", "report it to imghost"),
        "empty_file": Rule(Action.FILE, "refuses the image: it is empty", is_final=True),
        "file_too_large": Rule(
            Action.FILE, "refuses the image: it is too large", "make it smaller, or set `max_edge`", True
        ),
        "unsupported_format": Rule(Action.FILE, "takes only PNG, JPEG, GIF and WebP", "convert the image", True),
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


class Img402(HostBase):
    """Uploads images to img402.dev; safe to share between threads."""

    name = NAME
    credentials = ("IMG402_PRIVATE_KEY", "IMG402_PRIVATE_KEY_FILE", "IMG402_SIGNER")
    origin = "https://img402.dev"
    Options = Img402Options
    terms = Terms(
        "permanently, or a year",
        "$1.00, $0.01",
        MappingProxyType({f"tier={name}": limits for name, limits in TIERS.items() if name != "auto"}),
        "permanent there means as long as the service lives, and its terms speak of a notice of 90 days before it ends",
    )

    def __init__(self, options: Img402Options, setup: Setup, signer: Signer | None = None) -> None:
        check_options(options, setup)
        tiers = sold(options)
        self._is_free = tiers == {"free"}
        self.lacks_credential = not self._is_free and not has_wallet(setup)
        self.is_idempotent = tiers.isdisjoint({"free", "auto"})
        self.limits = limits_of_all(tiers, setup.retention)
        self.origins = (
            "https://i.img402.dev",
            *extra_origins(options.api_url, self.origin, options.url_hosts),
        )
        own = rf"https://i\.img402\.dev{_FILE}"
        self._urls = image_urls(own, _FILE, options.api_url, self.origin, options.url_hosts)
        self._options = options
        self._setup = setup
        self._signer = signer
        self._guard = threading.Lock()
        self._till: Till | None = None
        self._payments: Payments | None = None
        self._too_short: set[str] = set()
        self._globs = _compiled(options.tiers or {})

    @property
    def spent(self) -> Decimal:
        """Dollars that this build has signed for, settled or not."""
        return self._till.spent if self._till else Decimal(0)

    @classmethod
    def finds_credential(cls, environ: Mapping[str, str]) -> bool | None:
        """Say that a command signs, where the environment names one and no key."""
        return True if environ.get("IMG402_SIGNER") and not any(map(environ.get, cls.credentials[:2])) else None

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images."""
        return self._urls.fullmatch(url) is not None

    def ready(self) -> Quota:
        """Say that uploads can go on; the free tier tells its cap only by refusing.

        Before anything is paid, the journal must be writable, and in CI the lock must be kept by git. The first
        payment is then sent alone, since only its answer shows what a payment gets.

        Raises:
            HostError: the payment journal cannot be written.
            SettingsError: in CI, git does not track the lock.
        """
        till = self.till
        if till is None:
            return Quota()
        check_kept(self._setup.lock, self._setup.environ)
        try:
            till.prepare()
        except StateError as problem:
            raise HostError(Action.STOP, str(problem)) from None
        return Quota(is_proven=False)

    def share_payments(self, payments: Payments) -> None:
        """Have other builds know what is signed, and sign again what they have begun."""
        self._payments = payments

    def price(self) -> Decimal:
        """Ask for the tier's price of now, which may be under what is known of it; nothing is signed."""
        return self.price_in(self._options.tier)

    def price_in(self, tier: str) -> Decimal:
        """Ask for a tier's price of now, where it has one; nothing is signed."""
        till, known = self.till, self.limits_in(tier).price
        return known if till is None or tier in {"auto", "free"} else till.price(tier)

    def limits_in(self, tier: str) -> Limits:
        """Tell what a tier takes, promises and costs at most; without one, what all of them do."""
        return limits_for(tier, self._setup.retention) if tier else self.limits

    def tier_of(self, paths: Sequence[str]) -> str:
        """Name the tier that an image's paths choose: of several the one that promises most and costs most."""
        if not self._globs:
            return ""
        chosen = {next((tier for is_in, tier in self._globs if is_in(path)), self._options.tier) for path in paths}
        return next((tier for tier in TIERS if tier in chosen), self._options.tier)

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload; the same bytes again are a second free image there, but one paid one."""
        tier = payload.tier or self._options.tier
        if tier == "free":
            return self._upload_free(payload)
        till = self.till
        if till is None:
            raise HostError(
                Action.STOP, f"{NAME} would have to be paid", remedy="set IMG402_PRIVATE_KEY, or IMG402_SIGNER"
            )
        # A budget that is used up says nothing of images that cost nothing, or less.
        otherwise = Action.FILE if self._globs else Action.STOP
        if tier != "auto":
            return till.buy(payload, tier, otherwise=otherwise)
        tier = paid_tier(self._setup.retention)
        if payload.sha256 not in self._too_short and not till.knows(payload, tier):
            try:
                return self._upload_free(payload)
            except _TooShortError:
                # A second try of the payment should not leave a second free image.
                self._too_short.add(payload.sha256)
        # What is free goes on: only this image would have to be paid.
        return till.buy(payload, tier, otherwise=Action.FILE)

    @property
    def till(self) -> Till | None:
        """What buys for this build, None without a wallet; what pays is loaded when it is first asked for."""
        if self._is_free or not has_wallet(self._setup):
            return None
        with self._guard:
            if self._till is None:
                from imghost.hosts.img402.buying import open_till

                self._till = open_till(self._options, self._setup, self._hosted, self._signer, lambda: self._payments)
            return self._till

    def _upload_free(self, payload: Payload) -> Hosted:
        part = FilePart("image", payload.name, payload.media_type, payload.file)
        answer = self._setup.client.send("POST", f"{self._options.api_url.rstrip('/')}/api/free", file=part)
        if not 200 <= answer.status < 300:
            raise refusal(NAME, answer, CODES, STATUSES)
        hosted, found, now = self._hosted(answer), read_object(NAME, answer), moment_of(answer)
        told = found.get("sizeBytes", payload.bytes), found.get("contentType", payload.media_type)
        if told != (payload.bytes, payload.media_type):
            raise HostError(
                Action.FILE,
                f"{NAME} says that it has stored an image of another size or type",
                remedy="report it to the host",
                is_ambiguous=True,
            )
        if hosted.expires and not outlasts(hosted.expires, now, self._setup.retention):
            days = max(1, (hosted.expires - now).days)
            raise _TooShortError(
                Action.FILE,
                f"{NAME} keeps this image only until {hosted.expires:%Y-%m-%d}, which is sooner than `retention` asks",
                remedy=f"make it smaller, or set retention: {days}d or less",
                is_final=True,
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
            raise foreign(NAME, url)
        try:
            return Hosted(url, name, moment(expires))
        except ValueError:
            raise unclear(NAME, "does not say how long the image lives") from None


def _compiled(tiers: Mapping[str, str]) -> tuple[tuple[Callable[[str], bool], str], ...]:
    """Make of each glob what says whether a path in the site fits it, in their order."""
    if not tiers:
        return ()
    from pathspec import GitIgnoreSpec

    return tuple((GitIgnoreSpec.from_lines([glob]).match_file, tier) for glob, tier in tiers.items())


class _TooShortError(HostError):
    """An image that is stored, and ends sooner than asked: its page would break then."""


def check_kept(lock: Path | None, environ: Mapping[str, str]) -> None:
    """Refuse to pay in CI where the lock would be forgotten, and every build would pay again.

    Raises:
        SettingsError: git does not track the lock.
    """
    if not environ.get("CI"):
        return
    from subprocess import run

    name = lock.name if lock else "the lock"
    asked, is_kept, why = ["git", "ls-files", "--error-unmatch", "--", str(name)], False, ""
    try:
        if lock is not None:
            done = run(asked, cwd=lock.parent, capture_output=True, text=True, check=False)  # noqa: S603
            # 1 is git's answer that it has no such file; anything else is about git or the checkout.
            is_kept, why = done.returncode == 0, done.stderr if done.returncode > 1 else ""
    except OSError as problem:
        why = f"git cannot be run: {problem.strerror or problem}"
    if why:
        raise SettingsError(
            f"host 'img402': this tier is paid, and in CI git must say that it keeps {name}; it says: "
            f"{printable(why, 160)}; install git, or run `git config --global --add safe.directory <checkout>`"
        )
    if not is_kept:
        raise SettingsError(
            f"host 'img402': this tier is paid, and in CI without {name} in git each build would pay again; "
            f"commit {name}, made by a build outside CI, or set options: tier: free"
        )
