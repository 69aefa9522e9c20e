"""img402.dev: the free tier, which needs no account, and the tiers that are paid from a wallet.

The tiers have changed over time: the answer's own `expiresAt` decides how long an image lives. What speaks
with the host, and what pays, is loaded when it is asked.
"""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from imghost.hosts import Setup
from imghost.hosts.answers import Once, extra_origins, image_urls
from imghost.hosts.img402.options import NAME, TIERS, Img402Options, check_options, limits_for
from imghost.models import Hosted, Image, Payload

if TYPE_CHECKING:
    from imghost.hosts import Quota
    from imghost.hosts.img402.host import Service
    from imghost.hosts.img402.wallet import Signer

__all__ = ["TIERS", "Img402", "Img402Options"]

_FILE: Final = r"/[A-Za-z0-9]{1,64}\.(?:png|jpe?g|gif|webp)"


class Img402:
    """Uploads images to img402.dev."""

    name = NAME
    credentials = ("IMG402_PRIVATE_KEY", "IMG402_PRIVATE_KEY_FILE")
    origin = "https://img402.dev"
    Options = Img402Options
    needs_network = True

    def __init__(self, options: Img402Options, setup: Setup, signer: Signer | None = None) -> None:
        check_options(options, setup)
        self.lacks_credential = options.tier != "free" and setup.credential is None
        self.is_idempotent = options.tier not in {"free", "auto"}
        self.limits = limits_for(options.tier, setup.retention)
        self.origins = (
            "https://i.img402.dev",
            *extra_origins(options.api_url, self.origin, options.url_hosts),
        )
        own = rf"https://i\.img402\.dev{_FILE}"
        self._urls = image_urls(own, _FILE, options.api_url, self.origin, options.url_hosts)
        began = time.time()
        self._service = Once(lambda: self._opened(options, setup, began, signer))

    def _opened(self, options: Img402Options, setup: Setup, began: float, signer: Signer | None) -> Service:
        from imghost.hosts.img402.host import Service

        return Service(options, setup, self.accepts, began, signer)

    @property
    def spent(self) -> Decimal:
        """Dollars that this build has signed for, settled or not."""
        return self._service().spent if self._service.is_made else Decimal(0)

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images."""
        return self._urls.fullmatch(url) is not None

    def stored(self, image: Image, variant: str) -> Hosted | None:  # noqa: ARG002 - nothing is on this machine
        """Find nothing: the images are elsewhere."""
        return None

    def ready(self) -> Quota:
        """Say that uploads can go on; the free tier tells its cap only by refusing.

        Raises:
            HostError: the payment journal cannot be written.
            SettingsError: in CI, git does not track the lock.
        """
        return self._service().ready()

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload; the same bytes again are a second free image there, but one paid one."""
        return self._service().upload(payload)
