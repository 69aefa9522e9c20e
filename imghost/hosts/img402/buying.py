"""One purchase, from the agreement to the hosted image, never paid twice."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final

from imghost.errors import Action, BudgetError, HostError, StateError
from imghost.hosts import Payments, Setup
from imghost.hosts.answers import Rule, moment, moment_of, read_object, refusal, unclear
from imghost.hosts.img402 import NAME, Img402Options, outlasts, x402
from imghost.hosts.img402.journal import (
    Budget,
    Journal,
    Payment,
    Purchase,
    Sent,
    Signed,
    State,
    Step,
    address_of,
    has_bought,
    journal_of,
    lock_name,
)
from imghost.hosts.img402.wallet import ADDRESS, SIGNER, CommandSigner, KeySigner, Signer
from imghost.hosts.img402.x402 import Policy, chosen, refused
from imghost.models import Hosted, NamedTuple, Payload
from imghost.net import Answer, Client, FilePart
from imghost.wording import printable

# A payment is sent as the same bytes each time. What the host answers is kept before the next step, so that
# the next try or the next build goes on from there; nothing here signs.
GRACE: Final = 120
"""Seconds after which a payment that ran out is surely refused by the chain."""
MAX_VOID: Final = 3
"""Payments with one number that ran out before it counts as lost."""
MAX_TROUBLES: Final = 3
"""Failures in a row of one payment, after which nothing more is signed before it is through."""
MARGIN: Final = 30.0
"""Seconds that a token must still live to be worth an upload."""
_TOKEN_LIFE: Final = 540.0
"""Seconds that a token is taken to live where the host does not say."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{8,512}")
_NOT_ACCEPTED: Final = frozenset({401, 402, 403, 404, 409, 410})
"""What an upload is answered whose token does not count; 402 there is no reason to pay."""
_USED: Final = re.compile(r"nonce[_ ](?:already[_ ])?used|authorization(?: is)?[_ ]?(?:already)?[_ ]?used", re.I)
_PENDING: Final = re.compile(
    r"(?:settlement|payment|transaction)[_ ](?:is[_ ])?(?:still[_ ])?(?:pending|in[_ ]progress)", re.I
)
"""What a facilitator says whose transaction is on its way: the same payment is sent again, and none beside it."""
_NUMBER: Final = re.compile(r"[0-9]{1,12}")
_POOR: Final = re.compile(r"insufficient", re.I)
_ASKED: Final[Mapping[int, Rule]] = {409: Rule(Action.RETRY, "is still at work on this payment")}


@dataclass(frozen=True, slots=True)
class Deal:
    """What buying needs beside the client: whose money, how much, to whom, for how long."""

    api: str
    host: str
    """The normalised address, by which purchases are known."""
    signer: Signer
    journal: Callable[[], Journal]
    atoms: int
    """What this build may spend, in atomic units."""
    lock: str
    last: Callable[[], int]
    """Gives the last payment that the journal had when this build began."""
    pay_to: frozenset[str]
    retention: timedelta | None
    hosted: Callable[[Answer], Hosted]
    """Reads the host's image object."""
    environ: Mapping[str, str]
    shared: Callable[[], Payments | None] = lambda: None
    """Gives what other builds know of payments, where records are shared."""
    clock: Callable[[], float] = time.time
    number: Callable[[str, str, str, int, int], str] = x402.nonce


class Redeemer:
    """Sends payments and uploads with what they buy; safe to share between threads."""

    def __init__(self, client: Client, deal: Deal) -> None:
        self._client = client
        self._deal = deal
        self._guard = threading.Lock()
        self._refused: dict[int, HostError] = {}
        self._troubles: dict[int, int] = {}

    @property
    def is_in_trouble(self) -> bool:
        """Whether a payment of this build was in vain, or keeps failing: then nothing more is signed."""
        with self._guard:
            return bool(self._refused) or any(count >= MAX_TROUBLES for count in self._troubles.values())

    def refusal_of(self, payment: Payment) -> HostError | None:
        """Give the error of a payment that this build has sent in vain."""
        return self._refused.get(payment.id)

    def remembered(self, known: Payment, payload: Payload) -> Hosted:
        """Give the image that a finished payment bought, without asking anybody."""
        if known.payload != payload.sha256 and known.variant != payload.variant:
            raise self._sent_otherwise(known)
        ends = None if known.expires is None else datetime.fromtimestamp(known.expires, UTC)
        hosted = Hosted(known.hosted or "", known.hosted_id or "", ends, is_new=False, receipt=_receipt(known))
        self._check_life(hosted, datetime.fromtimestamp(known.changed_at, UTC), known)
        return hosted

    def redeem(self, payment: Payment, payload: Payload) -> Payment | Hosted | None:
        """Send the payment, the same bytes each time, and take what it bought: a token, or the image itself.

        None = an earlier build's payment has run out unused, so that a new one with its number may be signed.
        """
        if payment.header is None:
            return self.remembered(payment, payload)  # only a finished payment has none
        self.mask(payment.header)
        answer = self._sent(payment, payment.url, {payment.name: payment.header}, json={})
        if answer.status == 402:
            return self._not_taken(answer, payment, payload)
        if not 200 <= answer.status < 300:
            raise self._failed(payment, answer)
        found = self._read(payment, answer)
        paid_by = x402.read_receipt(answer, payment.amount).get("transaction")
        token = found.get("token")
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            return self._with_token(payment, token, _life(found.get("expiresAt"), answer), paid_by)
        if isinstance(found.get("url"), str):
            return self._had_already(payment, payload, answer, paid_by)
        raise self._troubled(unclear(NAME, "has neither `token` nor `url`"), payment)

    def _with_token(self, payment: Payment, token: str, life: float, paid_by: str | None) -> Payment:
        self.mask(token)
        expires = self._deal.clock() + life
        # Without this line in the journal the payment gives the token again; the upload is not worth losing.
        with suppress(StateError):
            self._deal.journal().keep_token(payment, token, expires, paid_by)
        return replace(
            payment, state=State.TOKEN, token=token, token_expires=expires, paid_by=paid_by or payment.paid_by
        )

    def _had_already(self, payment: Payment, payload: Payload, answer: Answer, paid_by: str | None) -> Hosted:
        """Take the image that this payment bought before, if it is what was last sent for it."""
        hosted, found = self._hosted(payment, answer), self._read(payment, answer)
        sent = sent_for(payment) or sent_as(payload)
        if is_unlike(found, sent):
            raise self._keep_refusal(_unresolved(payment, f"{NAME} {_OTHER}"), payment)
        hosted = self._finished(payment, replace(hosted, is_new=False), moment_of(answer), paid_by)
        if sent.payload != payload.sha256 and sent.variant != payload.variant:
            raise self._sent_otherwise(replace(payment, hosted=hosted.url))
        return hosted

    def _sent_otherwise(self, known: Payment) -> HostError:
        """Make the error for an image that was paid for with other settings: another copy is another purchase."""
        return HostError(
            Action.FILE,
            f"{NAME} was paid ${x402.dollars(known.amount)} for this image as it was sent before "
            f"({known.variant or 'unchanged'}), and sending it in another form would be paid again",
            remedy=f"set what changes images back as it was, or allow it with `imghost wallet --pay-again "
            f"{(known.image or known.payload)[:12]}`; it is at {known.hosted}",
        )

    def _read(self, payment: Payment, answer: Answer) -> Mapping[str, Any]:
        try:
            return read_object(NAME, answer)
        except HostError as error:
            raise self._troubled(error, payment) from None

    def _hosted(self, payment: Payment, answer: Answer) -> Hosted:
        try:
            return self._deal.hosted(answer)
        except HostError as error:
            raise self._troubled(error, payment) from None

    def _not_taken(self, answer: Answer, payment: Payment, payload: Payload) -> Payment | Hosted | None:
        """Judge a 402 after the payment was sent: nothing is signed again for it in this build."""
        journal, now = self._deal.journal(), self._deal.clock()
        known = journal.read(payment)
        if known.state is State.DONE:
            return self.remembered(known, payload)
        if known.state is State.TOKEN and known.token != payment.token:
            return known
        said = x402.complaint(answer, payment.header or "")
        if _PENDING.search(said):
            pending = HostError(Action.RETRY, f"{NAME} is still settling the payment ({said})", is_ambiguous=True)
            raise self._troubled(pending, payment)
        is_poor = bool(_POOR.search(said))
        if now > payment.valid_before + GRACE and payment.state in {State.SIGNED, State.TOKEN}:
            refusals = payment.refusals + (0 if is_poor else 1)
            is_lost = payment.state is State.TOKEN or bool(_USED.search(said)) or refusals >= MAX_VOID
            journal.refuse(payment, State.LOST if is_lost else State.VOID, refusals)
            if not is_lost and (payment.id <= self._deal.last() or _had_run_out(payment)):
                return None
        error = _unresolved(payment, f"{NAME} did not take the payment (HTTP 402{', ' + said if said else ''})")
        if is_poor:
            remedy = f"send USDC on Base to {payment.payer}, then build again"
            error = HostError(Action.STOP, error.reason, remedy=remedy, is_ambiguous=True)
        raise self._keep_refusal(error, payment)

    def _sent(self, payment: Payment, url: str, headers: Mapping[str, str], **body: Any) -> Answer:
        try:
            return self._client.send("POST", url, headers=headers, **body)
        except HostError as error:
            raise self._troubled(error, payment) from None

    def _failed(self, payment: Payment, answer: Answer) -> HostError:
        return self._troubled(refusal(NAME, answer, statuses=_ASKED), payment)

    def _troubled(self, error: HostError, payment: Payment) -> HostError:
        """Say with an error that a payment is under way, and count it, or remember it where it will not pass."""
        if error.action not in {Action.RETRY, Action.WAIT}:
            return self._keep_refusal(_unresolved(payment, error.reason, error), payment)
        with self._guard:
            self._troubles[payment.id] = self._troubles.get(payment.id, 0) + 1
        return _unresolved(payment, error.reason, error)

    def _keep_refusal(self, error: HostError, payment: Payment) -> HostError:
        """Remember, for this build, a payment that was in vain; what may pass is tried again instead."""
        if error.action not in {Action.RETRY, Action.WAIT}:
            with self._guard:
                self._refused[payment.id] = error
        return error

    def failed_tokens(self, payment: Payment) -> HostError:
        """Make the error for a payment whose tokens the host gives and does not take."""
        return self._keep_refusal(
            _unresolved(payment, f"{NAME} does not take the token that it gave for the payment"), payment
        )

    def upload(self, payment: Payment, payload: Payload) -> Hosted | None:
        """Upload with a token; None = the host does not take it, which is never a reason to pay."""
        if sent_for(payment) != sent_as(payload):
            payment = self._deal.journal().keep_sent(payment, sent_as(payload))
        token = payment.token or ""
        self.mask(token)
        part = FilePart("image", payload.name, payload.media_type, payload.file)
        url = f"{self._deal.api}/api/upload"
        answer = self._sent(payment, url, {"X-Upload-Token": token}, file=part)
        if answer.status in _NOT_ACCEPTED:
            return None
        if not 200 <= answer.status < 300:
            raise self._failed(payment, answer)
        hosted = self._hosted(payment, answer)
        if is_unlike(self._read(payment, answer), sent_as(payload)):
            raise self._keep_refusal(_unresolved(payment, f"{NAME} {_OTHER}"), payment)
        return self._finished(payment, hosted, moment_of(answer), None)

    def _finished(self, payment: Payment, hosted: Hosted, now: datetime, paid_by: str | None) -> Hosted:
        # The journal knows whole seconds, and none before 1970; what ended then has ended.
        ends = None if hosted.expires is None else max(0.0, hosted.expires.replace(microsecond=0).timestamp())
        paid = replace(payment, paid_by=paid_by or payment.paid_by)
        with self._guard:
            self._troubles.pop(payment.id, None)
        try:
            self._deal.journal().finish(paid, hosted.url, hosted.id, ends, paid.paid_by)
        except StateError as problem:
            # The payment stays in the journal, so that the next build is given this URL for it.
            receipt = ", ".join(f"{name} {text}" for name, text in _receipt(paid).items())
            raise StateError(f"paid for {hosted.url} ({receipt}), but {problem}") from None
        hosted = replace(hosted, receipt=_receipt(paid))
        try:
            self._check_life(hosted, now, paid)
        except HostError as error:
            raise self._keep_refusal(error, paid) from None
        return hosted

    def _check_life(self, hosted: Hosted, start: datetime, payment: Payment) -> None:
        """Refuse an image that ends sooner than asked: its page would break then."""
        if outlasts(hosted.expires, start, self._deal.retention):
            return
        raise HostError(
            Action.FILE,
            f"{NAME} keeps this image only until {hosted.expires:%Y-%m-%d}, which is sooner than `retention` asks, "
            f"though ${x402.dollars(payment.amount)} was paid for it ({payment.paid_by or 'transaction unknown'})",
            remedy=f"it is at {hosted.url}; set a shorter `retention` to use it, or choose another tier",
        )

    def mask(self, secret: str) -> None:
        """Have GitHub hide what is as good as money, before it is used; on stderr, since stdout may be JSON."""
        if self._deal.environ.get("GITHUB_ACTIONS") == "true":
            print(f"::add-mask::{secret}", file=sys.stderr, flush=True)  # noqa: T201 - a command to the runner


def _unresolved(payment: Payment, reason: str, cause: HostError | None = None) -> HostError:
    """Make the error for a payment that has not bought its image yet: it is neither lost nor to be made again."""
    advice = "build again: the same payment is sent and nothing is paid twice; `imghost status` shows it"
    is_final = cause is not None and cause.action not in {Action.RETRY, Action.WAIT}
    return HostError(
        cause.action if cause else Action.FILE,
        f"{reason}: ${x402.dollars(payment.amount)} is signed and unresolved",
        remedy=f"{cause.remedy}; then {advice}" if cause and is_final and cause.remedy else advice,
        wait=cause.wait if cause else None,
        is_ambiguous=cause.is_ambiguous if cause else True,
    )


def _had_run_out(payment: Payment) -> bool:
    """Say whether a payment was signed after its time, as another build's is that was begun before this one."""
    return payment.valid_before < payment.signed_at


_OTHER: Final = "says that the payment has bought an image of another size or type"


def is_unlike(found: Mapping[str, Any], sent: Sent) -> bool:
    """Say whether a host's image object is of another size or type than what was sent, as far as it tells."""
    told = found.get("sizeBytes", sent.bytes), found.get("contentType", sent.media_type)
    return told != (sent.bytes, sent.media_type)


def sent_as(payload: Payload) -> Sent:
    """Name what a payload is."""
    return Sent(payload.sha256, payload.bytes, payload.media_type, payload.variant)


def sent_for(payment: Payment) -> Sent | None:
    """Name what was last sent for a payment; None in a line of the journal's first version."""
    if payment.bytes is None or payment.media_type is None or payment.variant is None:
        return None
    return Sent(payment.payload, payment.bytes, payment.media_type, payment.variant)


def _receipt(payment: Payment) -> dict[str, str]:
    receipt = {"amount": x402.dollars(payment.amount), "network": x402.NETWORK}
    return receipt | ({"transaction": payment.paid_by} if payment.paid_by else {})


def _life(expires: object, answer: Answer) -> float:
    """Give the seconds that a token lives, by the host's own clock."""
    try:
        end = moment(expires)
    except ValueError:
        end = None
    return _TOKEN_LIFE if end is None else max(0.0, min((end - moment_of(answer)).total_seconds(), 86_400.0))


# The order is: look into the journal, ask what is wanted, check it, sign and keep the payment in one durable
# step, send it, keep the token, upload, keep the URL. Wherever this stops, the next try or the next build
# goes on from the journal with the same payment, and the payment's number makes the chain refuse a second one.
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


class Begun(NamedTuple):
    """A payment that another build has signed for an image: all of it but the signature."""

    period: int
    attempt: int
    payer: str
    nonce: str
    valid_before: int

    @classmethod
    def read(cls, told: Mapping[str, str]) -> Begun | None:
        """Read what a build has kept; None = nothing, or no sense."""
        numbers = [told.get(name, "") for name in ("period", "attempt", "valid_before")]
        if not all(_NUMBER.fullmatch(number) for number in numbers):
            return None
        period, attempt, valid_before = map(int, numbers)
        return cls(period, attempt, told.get("payer", ""), told.get("nonce", ""), valid_before)

    def written(self) -> dict[str, str]:
        """Write what another build of the same wallet needs to sign a payment again, byte for byte.

        Without the key nobody can cash it: the signature is not in it.
        """
        return {name: str(value) for name, value in self._asdict().items()}


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted of a till now: an image in a tier."""

    purchase: Purchase
    payload: Payload
    route: Route
    retention: timedelta | None

    now: float
    otherwise: Action
    """What it means for other images that this one may not be paid."""

    def serves(self, payment: Payment) -> bool:
        """Say whether nothing is to be bought, since a payment has bought what is wanted.

        A renewal is due by what the host promised, whatever a lock says. Where the tier's copy ended too soon
        already when it was bought, the next one would, too; only another tier may be bought in its place.
        """
        if not has_bought(payment):
            return False
        ends = None if payment.expires is None else datetime.fromtimestamp(payment.expires, UTC)
        is_enough = outlasts(ends, datetime.fromtimestamp(payment.changed_at, UTC), self.retention)
        if not is_enough:
            return payment.url.endswith(self.route.path)
        return payment.lasts(self.now, self.purchase.is_due)


def open_till(
    options: Img402Options,
    setup: Setup,
    hosted: Callable[[Answer], Hosted],
    signer: Signer | None,
    shared: Callable[[], Payments | None] = lambda: None,
) -> Till:
    """Make what buys for one build; `hosted` reads an image object."""
    if signer is None:
        named = setup.environ.get(ADDRESS, "")
        signer = KeySigner(setup.credential) if setup.credential else CommandSigner(setup.environ[SIGNER], named)

    def journal() -> Journal:
        return journal_of(setup.environ, setup.folder, setup.cache_dir)

    @cache
    def last() -> int:
        return journal().last()

    deal = Deal(
        api=options.api_url.rstrip("/"),
        host=address_of(options.api_url),
        signer=signer,
        journal=journal,
        atoms=x402.atoms(setup.max_cost),
        lock=lock_name(setup.lock),
        last=last,
        pay_to=frozenset({options.pay_to.lower()}) if options.pay_to else PAYEES,
        retention=setup.retention,
        hosted=hosted,
        environ=setup.environ,
        shared=shared,
    )
    return Till(setup.client, deal)


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

    def prepare(self) -> None:
        """Make the journal ready, and note where this build begins in it; raises StateError."""
        self._deal.journal().prepare()
        self._deal.last()

    def knows(self, payload: Payload, tier: str) -> bool:
        """Say whether something was signed for this image already."""
        return self._find(self._order(payload, tier)) is not None

    def buy(self, payload: Payload, tier: str, *, otherwise: Action = Action.STOP) -> Hosted:
        """Give an image a place: from the journal, with a payment that is under way, or with a new one.

        `otherwise` is what a budget that allows no payment means for the other images.

        Raises:
            HostError: RETRY and WAIT mean to call again, with the same payload: the same payment is sent.
            StateError: the journal cannot be written.
        """
        order = self._order(payload, tier, otherwise)
        known = self._find(order)
        if known and order.serves(known):
            return self._redeemer.remembered(known, payload)
        if known and (earlier := self._redeemer.refusal_of(known)):
            raise earlier
        if self._deal.atoms <= 0:
            raise HostError(otherwise, f"{NAME} would have to be paid", remedy="set max_cost, in US dollars")
        return self._delivered(known if known and known.is_open else self._agreed(order), order)

    def _order(self, payload: Payload, tier: str, otherwise: Action = Action.STOP) -> Order:
        purchase = Purchase(self._deal.host, payload.image, payload.period)
        return Order(purchase, payload, ROUTES[tier], self._deal.retention, self._deal.clock(), otherwise)

    def _find(self, order: Order) -> Payment | None:
        return self._deal.journal().find(order.purchase, order.payload.sha256, order.serves)

    def _delivered(self, payment: Payment, order: Order) -> Hosted:
        """Upload with the token that is there, else with the one that the payment gives; ask twice at most.

        Before other bytes are sent than last time, the payment is asked what it bought then.
        """
        self._tell_open(payment, order)
        asks, payload = 2, order.payload
        is_fresh = payment.token and (payment.token_expires or 0) > self._deal.clock() + MARGIN
        if is_fresh and payment.payload == payload.sha256:
            asks = 1
            if hosted := self._redeemer.upload(payment, payload):
                return hosted
        for _ in range(asks):
            given = self._redeemer.redeem(payment, payload)
            if given is None:
                payment = self._agreed(order)
                given = self._redeemer.redeem(payment, payload)
            if isinstance(given, Hosted):
                return given
            if given and (hosted := self._redeemer.upload(given, payload)):
                return hosted
        raise self._redeemer.failed_tokens(payment)

    def _tell_open(self, payment: Payment, order: Order) -> None:
        """Have other builds know of a payment that an earlier build signed without them, before it is sent again.

        One that was signed for another image with the same bytes has a number that follows from that image.
        """
        shared = self._deal.shared()
        if shared and payment.image == order.payload.image and not shared.begun(order.payload):
            told = Begun(payment.period, payment.attempt, payment.payer, payment.nonce, payment.valid_before)
            shared.signed(order.payload, told.written())

    def price(self, tier: str) -> Decimal:
        """Ask what a tier costs now, in dollars; nothing is signed. Raises HostError as a purchase would."""
        url = self._deal.api + ROUTES[tier].path
        answer = self._client.send("POST", url, json={})
        if answer.status != 402:
            raise self._no_challenge(answer)
        policy = Policy(NAME, url, ROUTES[tier].cap, self._deal.pay_to)
        return Decimal(x402.dollars(chosen(x402.read_challenge(NAME, answer), policy).amount))

    def _agreed(self, order: Order) -> Payment:
        """Ask what is wanted, check it, then reserve, sign and keep the payment in one durable step."""
        if self._redeemer.is_in_trouble:
            raise HostError(
                Action.STOP,
                f"an earlier payment of this build did not get from {NAME} what it was for, so nothing more is signed",
                remedy="see `imghost status`, then build again",
            )
        url = self._deal.api + order.route.path
        answer = self._client.send("POST", url, json={})
        now = int(self._deal.clock())
        if answer.status != 402:
            raise self._no_challenge(answer)
        self._check_clock(answer, now)
        challenge = x402.read_challenge(NAME, answer)
        terms = chosen(challenge, Policy(NAME, url, order.route.cap, self._deal.pay_to))
        payer = self._deal.signer.address
        if payer.lower() == terms.pay_to.lower():
            raise refused(NAME, "its payee is your own wallet", "use a wallet of your own")
        known = self._find(order)
        if known and (known.is_open or order.serves(known)):
            return known  # another build of this machine has been faster
        step = known.next_step if known else Step(order.purchase.period, 0)
        agreed = self._told(step, terms, payer, order, now)

        def sign(anew: Step) -> Signed:
            if anew != step:
                raise HostError(Action.RETRY, "another build of this machine has just signed for this image")
            return self._sealed(challenge, terms, url, agreed)

        budget = Budget(self._deal.atoms, self._deal.lock, self._deal.last())
        try:
            payment, is_new = self._deal.journal().reserve(
                order.purchase, sent_as(order.payload), terms.amount, budget, sign, order.serves
            )
        except BudgetError as over:
            raise HostError(order.otherwise, str(over)) from None
        if is_new:
            with self._guard:
                self._signed += terms.amount
        return payment

    def _told(self, step: Step, terms: x402.Terms, payer: str, order: Order, now: int) -> Mapping[str, str]:
        """Write what is to be signed, and have other builds know it first; raises HostError where it may not be.

        So whoever takes an image over knows of each payment that can have been sent, and sends the same one.
        """
        if step.payer and step.payer.lower() != payer.lower():
            raise self._another_wallet(step.payer, order)
        purchase = order.purchase
        number = step.nonce or self._deal.number(payer, purchase.host, purchase.image, step.period, step.attempt)
        agreed = x402.authorization(terms, payer, number, now)
        if (shared := self._deal.shared()) is None:
            return agreed
        begun = Begun.read(shared.begun(order.payload))
        mine = Begun(step.period, step.attempt, payer, number, int(agreed["validBefore"]))
        if begun and self._is_to_be_sent(begun, mine, step, order):
            # What is signed alike is the same bytes: the host knows it again, and gives what it bought.
            return {**agreed, "validBefore": str(begun.valid_before)}
        shared.signed(order.payload, mine.written())
        return agreed

    def _is_to_be_sent(self, begun: Begun, mine: Begun, step: Step, order: Order) -> bool:
        """Say whether another build's payment is what is to be sent now; raises HostError where none may be.

        Whoever writes to the store can only stop a payment so, or name its end: a number is never taken from there,
        since a new one would be a second payment.
        """
        if (begun.period, begun.attempt) < (mine.period, mine.attempt):
            return False  # this wallet's journal, or the record, knows what became of that one
        is_ours = begun.payer.lower() == mine.payer.lower()
        if is_ours and begun._replace(payer=mine.payer, valid_before=mine.valid_before) == mine:
            is_void = step.nonce is not None and begun.valid_before == step.ended
            return not is_void and begun.valid_before <= mine.valid_before + SKEW
        whose = printable(begun.payer, 60)
        reason = f"another build has signed another payment for this image, from the wallet {whose}"
        remedy = f"build with that wallet, or take the entry of {order.payload.image[:12]} out of the store"
        raise HostError(Action.FILE, reason, remedy=remedy)

    def _sealed(self, challenge: x402.Challenge, terms: x402.Terms, url: str, agreed: Mapping[str, str]) -> Signed:
        signature = self._deal.signer.sign(x402.DOMAIN, x402.TYPES, x402.message(agreed))
        name, header = x402.header(challenge, terms, url, agreed, signature)
        self._redeemer.mask(header)
        payer, number, ends = agreed["from"], agreed["nonce"], int(agreed["validBefore"])
        return Signed(name, header, challenge.version, payer, terms.pay_to, terms.amount, number, ends, url)

    def _another_wallet(self, payer: str, order: Order) -> HostError:
        """Make the error for a payment that ran out and is another wallet's, whose number this one does not have."""
        return HostError(
            Action.FILE,
            f"the wallet {payer} signed a payment for this image that {NAME} did not take, and only the same wallet "
            "can sign it again so that the chain moves money once",
            remedy=f"build with that wallet, or allow another payment with `imghost wallet --pay-again "
            f"{order.payload.image[:12]}`",
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
