"""img402: its tiers, free uploads, and what is paid."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Final

from imghost.errors import Action, HostError, SettingsError, StateError
from imghost.hosts import Quota, Setup
from imghost.hosts.answers import Rule, foreign, moment, moment_of, read_object, refusal, unclear
from imghost.hosts.img402.buying import PAYEES, ROUTES, Deal, Till, outlasts
from imghost.hosts.img402.journal import Budget, Journal, journal_of, lock_name
from imghost.hosts.img402.options import NAME, Img402Options, paid_tier
from imghost.hosts.img402.wallet import KeySigner, Signer
from imghost.hosts.img402.x402 import atoms
from imghost.models import Hosted, Payload
from imghost.net.client import Answer, FilePart

_ID: Final = re.compile(r"[\x21-\x7e]{1,200}")
"""What the journal and the lock can keep, in one line."""

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


class Service:
    """Speaks with the host for one run, which began at a moment in Unix seconds; safe to share between threads."""

    def __init__(
        self,
        options: Img402Options,
        setup: Setup,
        accepts: Callable[[str], bool],
        began: float,
        signer: Signer | None,
    ) -> None:
        self._accepts = accepts
        self._api = options.api_url.rstrip("/")
        self._setup = setup
        self._client = setup.client
        self._tier = options.tier
        self._too_short: set[str] = set()
        self._till: Till | None = None
        if options.tier != "free" and setup.credential is not None:
            signer = signer or KeySigner(setup.credential)
            self._till = Till(setup.client, self._deal(options, setup, signer, began))

    def _deal(self, options: Img402Options, setup: Setup, signer: Signer, began: float) -> Deal:
        def journal() -> Journal:
            return journal_of(setup.environ, setup.folder, setup.cache_dir)

        return Deal(
            api=self._api,
            signer=signer,
            journal=journal,
            budget=Budget(atoms(setup.max_cost), lock_name(setup.lock), began),
            pay_to=frozenset({options.pay_to.lower()}) if options.pay_to else PAYEES,
            retention=setup.retention,
            hosted=self._hosted,
            environ=setup.environ,
        )

    @property
    def spent(self) -> Decimal:
        """Dollars that this build has signed for, settled or not."""
        return self._till.spent if self._till else Decimal(0)

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
        route = ROUTES[paid_tier(self._setup.retention)]
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
        if not self._accepts(url):
            raise foreign(NAME, url)
        try:
            return Hosted(url, name, moment(expires))
        except ValueError:
            raise unclear(NAME, "does not say how long the image lives") from None


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
