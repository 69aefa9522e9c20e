"""Buys places for images at img402, each at most once.

The order is: look into the journal, ask what is wanted, check it, sign and keep the payment in one durable
step, send it, keep the token, upload, keep the URL. Wherever this stops, the next try or the next build
goes on from the journal with the same payment, and the payment's number makes the chain refuse a second one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from imghost.errors import Action, BudgetError, HostError
from imghost.hosts.answers import moment_of, refusal, unclear
from imghost.hosts.img402 import x402
from imghost.hosts.img402.buying import MARGIN, Deal, Redeemer
from imghost.hosts.img402_settings import NAME
from imghost.hosts.payments import Payment, Purchase, Signed, State
from imghost.hosts.x402_policy import Policy, chosen, refused
from imghost.models import Hosted, Payload
from imghost.net.client import Answer, Client

PAYEES: Final = frozenset({"0x77f3c9bcb898ad1d30e9a336e2cc3108d88d6c09"})
"""The one address that every public record of img402 names."""
SKEW: Final = 300
"""Seconds that this machine's clock may differ from the host's where something is signed."""


class Route(NamedTuple):
    """Where a tier's token is sold, and what it may cost."""

    path: str
    cap: int
    """Atomic units."""


ROUTES: Final[Mapping[str, Route]] = {
    "permanent": Route("/api/upload/token/permanent", 1_000_000),
    "1-year": Route("/api/upload/token", 10_000),
}


class Till:
    """Buys for one build; safe to share between threads."""

    def __init__(self, client: Client, deal: Deal) -> None:
        self._client = client
        self._deal = deal
        self._redeemer = Redeemer(client, deal)
        self._guard = threading.Lock()
        self._signed = 0

    @property
    def spent(self) -> Decimal:
        """Dollars that this build has signed for."""
        return Decimal(self._signed) / x402.ATOMS

    def knows(self, payload: Payload, route: Route) -> bool:
        """Say whether something was signed for this image already."""
        return self._look_up(payload, route)[1] is not None

    def buy(self, payload: Payload, route: Route) -> Hosted:
        """Give an image a place: from the journal, with a payment that is under way, or with a new one.

        Raises:
            HostError: RETRY and WAIT mean to call again, with the same payload: the same payment is sent.
            StateError: the journal cannot be written.
        """
        purchase, known = self._look_up(payload, route)
        if known and known.state is State.DONE:
            return self._redeemer.remembered(known)
        if earlier := self._redeemer.refusal_of(purchase):
            raise earlier
        if self._deal.budget.atoms <= 0:
            raise HostError(Action.STOP, f"{NAME} would have to be paid", remedy="set max_cost, in US dollars")
        if known is None or known.state is State.VOID or known.again:
            return self._delivered(self._agreed(purchase, route), payload, purchase, route)
        return self._delivered(known, payload, purchase, route)

    def _look_up(self, payload: Payload, route: Route) -> tuple[Purchase, Payment | None]:
        """Find the purchase; of one whose image has ended, the renewal, whose period is that end."""
        purchase = Purchase(self._deal.api + route.path, payload.sha256, payload.period)
        journal = self._deal.journal()
        while (known := journal.find(purchase)) and known.state is State.DONE and known.expires is not None:
            if known.expires > self._deal.clock() or purchase.period >= int(known.expires):
                break
            purchase = purchase._replace(period=int(known.expires))
        return purchase, known

    def _delivered(self, payment: Payment, payload: Payload, purchase: Purchase, route: Route) -> Hosted:
        """Upload with the token that is there, else with the one that the payment gives; ask twice at most."""
        asks = 2
        if payment.token and (payment.token_expires or 0) > self._deal.clock() + MARGIN:
            asks = 1
            if hosted := self._redeemer.upload(payment, payload):
                return hosted
        for _ in range(asks):
            given = self._redeemer.redeem(payment, payload)
            if given is None:
                payment = self._agreed(purchase, route)
                given = self._redeemer.redeem(payment, payload)
            if isinstance(given, Hosted):
                return given
            if given and (hosted := self._redeemer.upload(given, payload)):
                return hosted
        raise self._redeemer.failed_tokens(payment)

    def _agreed(self, purchase: Purchase, route: Route) -> Payment:
        """Ask what is wanted, check it, then reserve, sign and keep the payment in one durable step."""
        if self._redeemer.is_in_trouble:
            raise HostError(
                Action.STOP,
                f"an earlier payment of this build did not get from {NAME} what it was for, so nothing more is signed",
                remedy="see `imghost status`, then build again",
            )
        answer = self._client.send("POST", purchase.url, json={})
        now = int(self._deal.clock())
        if answer.status != 402:
            raise self._no_challenge(answer)
        self._check_clock(answer, now)
        challenge = x402.read_challenge(NAME, answer)
        terms = chosen(challenge, Policy(NAME, purchase.url, route.cap, self._deal.pay_to))
        payer = self._deal.signer.address
        if payer.lower() == terms.pay_to.lower():
            raise refused(NAME, "its payee is your own wallet", "use a wallet of your own")

        def sign(attempt: int) -> Signed:
            number = self._deal.number(payer, purchase.url, purchase.image, purchase.period, attempt)
            return self._sealed(challenge, terms, purchase.url, payer, number, now)

        try:
            payment, is_new = self._deal.journal().reserve(purchase, terms.amount, self._deal.budget, sign)
        except BudgetError as over:
            raise HostError(Action.STOP, str(over)) from None
        if is_new:
            with self._guard:
                self._signed += terms.amount
        return payment

    def _sealed(
        self, challenge: x402.Challenge, terms: x402.Terms, url: str, payer: str, number: str, now: int
    ) -> Signed:
        agreed = x402.authorization(terms, payer, number, now)
        signature = self._deal.signer.sign(x402.DOMAIN, x402.TYPES, x402.message(agreed))
        name, header = x402.header(challenge, terms, url, agreed, signature)
        self._redeemer.mask(header)
        return Signed(
            name, header, challenge.version, payer, terms.pay_to, terms.amount, number, int(agreed["validBefore"])
        )

    def _no_challenge(self, answer: Answer) -> HostError:
        if 200 <= answer.status < 300:
            return unclear(NAME, "does not ask for the payment")
        return refusal(NAME, answer)

    def _check_clock(self, answer: Answer, now: int) -> None:
        skew = abs(moment_of(answer).timestamp() - now)
        if skew > SKEW:
            raise refused(
                NAME,
                f"this machine's clock and the host's are {int(skew)} seconds apart",
                "set this machine's clock; nothing was signed",
            )
