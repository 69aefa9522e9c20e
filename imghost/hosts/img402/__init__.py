"""img402.dev, paid over x402: the host, its options, buying, the journal, the wire and the wallet.

Here are its options, its tiers and what each of them limits; `imghost status` reads the journal alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from imghost.errors import SettingsError
from imghost.hosts import Setup
from imghost.models import Limits, dataclass
from imghost.wording import nearest

FORMATS: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


@dataclass(frozen=True, slots=True)
class Img402Options:
    """The host's own settings."""

    api_url: str = "https://img402.dev"
    tier: str = "permanent"
    pay_to: str | None = None
    """The one address that may be paid; None = the one that is known for the host."""
    tiers: Mapping[str, str] | None = None
    """Globs of paths in the site, each with the tier of its images; the first that fits counts, else `tier`."""
    url_hosts: tuple[str, ...] = ()


NAME: Final = "img402"

TIERS: Final[Mapping[str, Limits]] = MappingProxyType(
    {
        "permanent": Limits(FORMATS, 5_000_000, price=Decimal("1.00")),
        "1-year": Limits(FORMATS, 5_000_000, retention=timedelta(days=365), price=Decimal("0.01")),
        # Up to 10 MB: what is over the tier's own limit, the host refuses or keeps for less time.
        "free": Limits(FORMATS, 10_000_000, retention=timedelta(days=7)),
        "auto": Limits(FORMATS, 10_000_000, price=Decimal("1.00"), is_price_certain=False),
    }
)


def check_options(options: Img402Options, setup: Setup) -> None:
    """Refuse options that cannot work, and a credential that could not sign; raises SettingsError."""
    for tier in sold(options):
        if tier not in TIERS:
            raise SettingsError(f"host 'img402': no tier named {tier!r:.80}; {nearest(tier, TIERS)}")
    if options.pay_to is not None and not re.fullmatch("0x[0-9a-fA-F]{40}", options.pay_to):
        raise SettingsError(
            f"host 'img402': pay_to should be an address, 0x and 40 hexadecimal digits, not {options.pay_to!r:.80}"
        )
    if sold(options) == {"free"} or not has_wallet(setup):
        return
    from imghost.hosts.img402.wallet import check_extra, check_key

    if setup.credential:
        check_key(setup.credential)
    else:
        check_extra()


def sold(options: Img402Options) -> frozenset[str]:
    """Name the tiers that these options may ask for."""
    return frozenset({options.tier, *(options.tiers or {}).values()})


def has_wallet(setup: Setup) -> bool:
    """Say whether there is a key, or a command that signs."""
    return setup.credential is not None or bool(setup.environ.get("IMG402_SIGNER"))


def limits_for(tier: str, retention: timedelta | None) -> Limits:
    """Give a tier's limits; what `auto` may cost is what it would pay for this retention."""
    limits = TIERS[tier]
    return replace(limits, price=TIERS[paid_tier(retention)].price) if tier == "auto" else limits


def limits_of_all(tiers: Iterable[str], retention: timedelta | None) -> Limits:
    """Give the limits of what may be stored in several tiers: the least promise, the highest price."""
    several = [limits_for(tier, retention) for tier in tiers]
    return Limits(
        FORMATS,
        max(limits.max_bytes or 0 for limits in several),
        retention=min((limits.retention for limits in several if limits.retention), default=None),
        price=max(limits.price for limits in several),
        is_price_certain=all(limits.is_price_certain for limits in several),
    )


def paid_tier(retention: timedelta | None) -> str:
    """Choose the cheapest tier whose promise satisfies the retention."""
    promise = TIERS["1-year"].retention
    is_enough = retention is not None and promise is not None and retention <= promise
    return "1-year" if is_enough else "permanent"


def outlasts(expires: datetime | None, start: datetime, retention: timedelta | None) -> bool:
    """Say whether an image lives as long as asked, give or take the hour that clocks may differ."""
    if expires is None:
        return True
    # A difference of two moments is always a time; a sum may lie beyond the last of them.
    return retention is not None and expires - start >= retention - timedelta(hours=1)
