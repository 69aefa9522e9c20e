"""img402's paid tiers: what is paid, what is refused before the key is touched, and what becomes of every answer."""

import base64
import copy
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from canaries import planted
from doubles.chain import shared_chain
from doubles.img402_paid import PAYEE, PaidImg402
from doubles.mutants import Mutator, written
from doubles.payer import KEY, PNG, Counting, a_host, a_payload, changed
from doubles.server import Fault, Reply, Request, Server
from test_img402_x402 import BAD, a_challenge, an_offer
from trust.place import counted, tell

from imghost.errors import Action, HostError, SettingsError, StateError
from imghost.hosts import Secret, Setup
from imghost.hosts.img402 import Img402Options
from imghost.hosts.img402.host import Img402
from imghost.hosts.img402.journal import Journal, Purchase, State, journal_of
from imghost.hosts.img402.wallet import KeySigner, usdc_balance, wallet_address
from imghost.models import Payload
from imghost.net import Client

YEAR = timedelta(days=365)


class Shop:
    """A host with a wallet on the chain, and the double that sells to it."""

    def __init__(self, folder: Path, client: Client, *, dollars: float = 5, **double: Any) -> None:
        self.chain = shared_chain()
        self.folder = folder
        self.client = client
        self.wallet = self.chain.wallet(dollars)
        self.key = "0x" + bytes(self.wallet.key).hex()
        self.had = self.chain.balance(self.wallet.address)
        self.double = PaidImg402(chain=self.chain, **double)
        self.signer = Counting(self.key)

    def host(self, **changes: Any) -> Img402:
        return a_host(self.client, self.double.url, self.folder, self.key, signer=self.signer, **changes)

    @property
    def paid(self) -> int:
        """Atomic units that left the wallet."""
        return self.had - self.chain.balance(self.wallet.address)

    @property
    def journal(self) -> Journal:
        return journal_of({"IMGHOST_STATE_DIR": str(self.folder / "state")})

    def state(self, host: Img402) -> str:
        till = host.till
        assert till is not None
        payload = a_payload(self.folder)
        payment = self.journal.find(Purchase(till._deal.host, payload.image))
        return payment.state if payment else ""


@contextmanager
def a_shop(folder: Path, timeout: float = 5.0, **double: Any) -> Iterator[Shop]:
    with Client(timeout, environ={}) as client:
        shop = Shop(folder, client, **double)
        with shop.double:
            yield shop


def refused(host: Img402, folder: Path, number: int = 0) -> HostError:
    with pytest.raises(HostError) as caught:
        host.upload(a_payload(folder, number))
    assert str(caught.value).isprintable()
    return caught.value


def patiently(host: Img402, folder: Path, number: int = 0, tries: int = 5) -> Any:
    """Ask again as long as the host's refusals allow."""
    for _ in range(tries):
        try:
            return host.upload(a_payload(folder, number))
        except HostError as error:
            if error.action not in {Action.RETRY, Action.WAIT}:
                raise
    raise AssertionError("it never stopped asking to retry")


versions = pytest.mark.parametrize("version", [1, 2])


@versions
@pytest.mark.parametrize(("tier", "atoms"), [("permanent", 1_000_000), ("1-year", 10_000)])
def test_a_tiers_exact_price_moves_from_a_wallet_without_ether(
    tmp_path: Path, version: int, tier: str, atoms: int
) -> None:
    with a_shop(tmp_path, version=version) as shop:
        host = shop.host(tier=tier, retention=None if tier == "permanent" else YEAR)
        payee = shop.chain.balance(PAYEE)
        hosted = host.upload(a_payload(tmp_path))
        assert shop.paid == shop.chain.balance(PAYEE) - payee == atoms
        assert shop.chain.ether(shop.wallet.address) == 0
        assert (host.accepts(hosted.url), hosted.is_new, host.spent) == (True, True, Decimal(atoms) / 1_000_000)
        assert shop.client.fetch(hosted.url).body == PNG + b"0"
        assert (hosted.expires is None) is (tier == "permanent")
        assert hosted.receipt == {
            "amount": "1.00" if tier == "permanent" else "0.01",
            "network": "eip155:8453",
            "transaction": shop.double.settled[0],
        }


@versions
def test_the_same_bytes_twice_pay_once_and_the_second_time_ask_nobody(tmp_path: Path, version: int) -> None:
    with a_shop(tmp_path, version=version) as shop:
        first = shop.host().upload(a_payload(tmp_path))
        asked = len(shop.double.server.log)
        second = shop.host().upload(a_payload(tmp_path))
        assert (shop.paid, shop.signer.signed, len(shop.double.server.log)) == (1_000_000, 1, asked)
    assert (second.url, second.is_new, second.receipt) == (first.url, False, first.receipt)


def test_a_challenge_of_version_2_in_the_body_alone_is_paid(tmp_path: Path) -> None:
    with a_shop(tmp_path, in_body=True) as shop:
        shop.host().upload(a_payload(tmp_path))
        assert shop.paid == 1_000_000


def test_a_lower_price_than_known_is_paid_as_asked(tmp_path: Path) -> None:
    with a_shop(tmp_path, prices={"/api/upload/token/permanent": 10_000}) as shop:
        hosted = shop.host(max_cost="1").upload(a_payload(tmp_path))
        assert shop.paid == 10_000
    assert hosted.receipt is not None
    assert hosted.receipt["amount"] == "0.01"


@versions
def test_the_payment_is_sent_as_the_same_bytes_each_time(tmp_path: Path, version: int) -> None:
    with a_shop(tmp_path, version=version) as shop:
        is_paid = lambda request: bool({"x-payment", "payment-signature"} & set(request.headers))  # noqa: E731
        shop.double.server.fail(Fault.CLOSE_AFTER_ROUTE, Fault.RESET_AFTER_ROUTE, when=is_paid)
        patiently(shop.host(), tmp_path)
        sent = [(request.method, request.target, request.body) for request in shop.double.payments()]
        headers = {
            request.headers.get("x-payment", request.headers.get("payment-signature"))
            for request in shop.double.payments()
        }
        assert (len(sent), len(set(sent)), len(headers), shop.paid) == (3, 1, 1, 1_000_000)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("path", ["/api/upload/token/permanent", "/api/upload"])
@pytest.mark.parametrize(
    "fault",
    [
        *(Fault.RESET_BEFORE_BODY, Fault.RESET_AFTER_BODY, Fault.RESET_AFTER_ROUTE, Fault.CLOSE_AFTER_ROUTE),
        *(Fault.HTML_PAGE, Fault.TRUNCATED_JSON, Fault.SHORT_BODY, Fault.OVERSIZE_BODY, Fault.GZIP, Fault.NOT_HTTP),
    ],
)
def test_whatever_reply_is_lost_the_image_is_uploaded_and_paid_once(tmp_path: Path, path: str, fault: Fault) -> None:
    with a_shop(tmp_path) as shop:
        shop.double.server.fail(fault, fault, when=lambda request: request.path == path)
        shop.double.server.fail(fault, when=lambda request: request.path == path)
        patiently(shop.host(), tmp_path)
        assert (shop.paid, shop.signer.signed, len(shop.double.images)) == (1_000_000, 1, 1)


@pytest.mark.sampled(5)
@versions
@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
def test_an_error_after_the_settlement_is_retried_with_the_same_payment(
    tmp_path: Path, version: int, status: int
) -> None:
    with a_shop(tmp_path, version=version, after_settling=[status, status]) as shop:
        patiently(shop.host(), tmp_path)
        assert (shop.paid, shop.signer.signed, len(shop.double.images)) == (1_000_000, 1, 1)


def test_retries_that_run_out_are_taken_up_by_the_next_build(tmp_path: Path) -> None:
    with a_shop(tmp_path, after_settling=[500] * 3) as shop:
        first = shop.host()
        for _ in range(3):
            assert refused(first, tmp_path).action is Action.RETRY
        shop.host().upload(a_payload(tmp_path))
        assert (shop.paid, shop.signer.signed, len(shop.double.images)) == (1_000_000, 1, 1)


def test_while_one_payment_keeps_failing_nothing_more_is_signed(tmp_path: Path) -> None:
    with a_shop(tmp_path, after_settling=[500] * 3) as shop:
        host = shop.host()
        for _ in range(3):
            error = refused(host, tmp_path)
            assert (error.action, "$1.00 is signed and unresolved" in error.reason) == (Action.RETRY, True)
        assert refused(host, tmp_path, 1).action is Action.STOP
        host.upload(a_payload(tmp_path))
        host.upload(a_payload(tmp_path, 1))
        assert (shop.paid, shop.signer.signed) == (2_000_000, 2)


@versions
def test_a_second_402_after_the_settlement_is_never_signed_again_in_the_run(tmp_path: Path, version: int) -> None:
    with a_shop(tmp_path, version=version, after_settling=[402]) as shop:
        host = shop.host()
        error = refused(host, tmp_path)
        assert (error.action, error.is_ambiguous) == (Action.FILE, True)
        assert "unresolved" in error.reason
        assert "same payment" in error.remedy
        assert refused(host, tmp_path).reason == error.reason
        assert refused(host, tmp_path, 1).action is Action.STOP
        assert (shop.paid, shop.signer.signed, shop.state(host)) == (1_000_000, 1, State.SIGNED)
        shop.host().upload(a_payload(tmp_path))
        assert (shop.paid, shop.signer.signed, len(shop.double.images)) == (1_000_000, 1, 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
def test_any_other_refusal_of_a_payment_stops_the_signing(tmp_path: Path, status: int) -> None:
    with a_shop(tmp_path, after_settling=[status]) as shop:
        host = shop.host()
        assert "unresolved" in refused(host, tmp_path).reason
        assert refused(host, tmp_path, 1).action is Action.STOP
        assert (shop.paid, shop.signer.signed) == (1_000_000, 1)


def test_a_token_that_ran_out_is_asked_for_again_with_the_same_payment(tmp_path: Path) -> None:
    with a_shop(tmp_path, token_life=timedelta(seconds=0)) as shop:
        error = refused(shop.host(), tmp_path)
        assert "token" in error.reason
        shop.double.token_life = timedelta(minutes=10)
        shop.host().upload(a_payload(tmp_path))
        assert (shop.paid, shop.signer.signed, len(shop.double.images)) == (1_000_000, 1, 1)


def test_a_402_at_the_upload_asks_for_the_token_once_more_and_never_pays(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        host = shop.host()
        shop.double.tokens = _Forgetful()
        assert "unresolved" in refused(host, tmp_path).reason
        uploads = shop.double.server.requests("POST", "/api/upload")
        assert (len(uploads), len(shop.double.payments()), shop.paid) == (2, 2, 1_000_000)
        assert not any("payment-signature" in request.headers for request in uploads)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("status", [401, 402, 403, 404, 409, 410])
def test_a_token_that_is_refused_once_is_asked_for_again_with_the_same_payment(tmp_path: Path, status: int) -> None:
    """Whatever the host says of a token that it has lost, the payment is there and gives another."""
    with a_shop(tmp_path) as shop:
        shop.double.server.route = _answering_once("/api/upload", Reply.json({"error": "no"}, status), shop)
        hosted = shop.host().upload(a_payload(tmp_path))
        assert hosted.url.removeprefix(shop.double.url) in shop.double.images
        assert len({request.headers["payment-signature"] for request in shop.double.payments()}) == 1
        assert (len(shop.double.payments()), shop.paid, shop.signer.signed) == (2, 1_000_000, 1)


@pytest.mark.parametrize(("status", "action"), [(400, Action.FILE), (405, Action.STOP), (500, Action.RETRY)])
def test_an_image_object_in_a_refusal_of_the_upload_is_none(tmp_path: Path, status: int, action: Action) -> None:
    """Where nothing is stored for it, a page would be given an address that the host may never serve."""
    image = {"url": "http://127.0.0.1/1.png", "id": "1", "contentType": "image/png", "sizeBytes": 201}
    with a_shop(tmp_path) as shop:
        image["url"] = f"{shop.double.url}/0000000009.png"
        reply = Reply.json({**image, "expiresAt": None}, status)
        shop.double.server.route = _answering_once("/api/upload", reply, shop)
        host = shop.host()
        error = refused(host, tmp_path)
        assert (error.action, str(status) in error.reason, shop.state(host)) == (action, True, State.TOKEN)
        assert shop.host().upload(a_payload(tmp_path)).url.removeprefix(shop.double.url) in shop.double.images
        assert (shop.paid, shop.signer.signed) == (1_000_000, 1)


def _answering_once(path: str, reply: Reply, shop: Shop) -> Callable[[Request], Reply]:
    """Answer the first request to a path so, and everything else as the double does."""
    left = [reply]
    return lambda request: left.pop() if left and request.path == path else shop.double.route(request)


def test_a_token_of_the_journal_is_used_where_the_host_knows_the_payment_no_more(tmp_path: Path) -> None:
    """To send the payment again first would end in a refusal, though what it bought is at hand."""
    with a_shop(tmp_path, memory="none") as shop:
        lost = Fault.RESET_BEFORE_BODY
        shop.double.server.fail(lost, when=lambda request: request.path == "/api/upload")
        assert refused(shop.host(), tmp_path).action is Action.RETRY
        shop.host().upload(a_payload(tmp_path))
        assert (len(shop.double.payments()), len(shop.double.images), shop.paid) == (1, 1, 1_000_000)


def test_a_payment_that_another_build_finished_meanwhile_is_not_unresolved(tmp_path: Path) -> None:
    """Its payment is used up by then, so the host refuses it; the journal knows the image that it bought."""
    with a_shop(tmp_path) as shop:
        others = []

        def route(request: Request) -> Reply:
            if "payment-signature" in request.headers and not others:
                others.append(request)
                others.append(shop.host().upload(a_payload(tmp_path)))
                return shop.double.challenge(request.path)
            return shop.double.route(request)

        shop.double.server.route = route
        assert shop.host().upload(a_payload(tmp_path)).url == others[1].url
        assert (shop.paid, shop.signer.signed, len(shop.double.images)) == (1_000_000, 1, 1)


class _Forgetful(dict[str, Any]):
    def __setitem__(self, key: str, value: Any) -> None:
        pass


def test_an_image_that_the_payment_bought_already_is_taken(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        first = shop.host()
        shop.double.server.fail(Fault.CLOSE_AFTER_ROUTE, when=lambda request: request.path == "/api/upload")
        assert refused(first, tmp_path).action is Action.RETRY
        hosted = first.upload(a_payload(tmp_path))
        assert hosted.is_new is False
        assert (shop.paid, len(shop.double.images)) == (1_000_000, 1)


@pytest.mark.parametrize("changes", [{"sizeBytes": 9}, {"contentType": "image/gif"}])
def test_an_image_of_another_size_or_type_is_not_taken_for_the_payments(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    with a_shop(tmp_path, changes=changes) as shop:
        host = shop.host()
        shop.double.server.fail(Fault.CLOSE_AFTER_ROUTE, when=lambda request: request.path == "/api/upload")
        refused(host, tmp_path)
        assert "another size or type" in refused(host, tmp_path).reason
        assert (shop.paid, shop.signer.signed) == (1_000_000, 1)


def test_a_wallet_without_the_money_is_named_and_stops_the_build(tmp_path: Path) -> None:
    with a_shop(tmp_path, dollars=0.5) as shop:
        host = shop.host()
        error = refused(host, tmp_path)
        assert error.action is Action.STOP
        assert shop.wallet.address in error.remedy
        assert shop.paid == 0


def test_an_image_that_ends_too_soon_says_what_was_paid_and_is_not_bought_again(tmp_path: Path) -> None:
    lives: dict[str, timedelta | None] = {"/api/upload/token/permanent": timedelta(days=30)}
    with a_shop(tmp_path, lives=lives) as shop:
        error = refused(shop.host(), tmp_path)
        assert "$1.00 was paid" in error.reason
        assert "retention" in error.remedy
        assert "$1.00 was paid" in refused(shop.host(), tmp_path).reason
        assert shop.paid == 1_000_000
        assert shop.host(retention=timedelta(days=30)).upload(a_payload(tmp_path)).expires is not None
        assert shop.paid == 1_000_000


def test_a_copy_that_was_bought_for_a_year_is_none_for_ever_and_is_not_bought_again(tmp_path: Path) -> None:
    """The page would break when it ends, though the journal has a URL."""
    with a_shop(tmp_path) as shop:
        shop.host(tier="1-year", retention=YEAR).upload(a_payload(tmp_path))
        error = refused(shop.host(tier="1-year", retention=None), tmp_path)
        assert (error.action, "sooner than `retention` asks" in error.reason) == (Action.FILE, True)
        assert (shop.paid, shop.signer.signed) == (10_000, 1)


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00Z", "1969-12-31T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_no_end_of_an_image_or_of_a_token_makes_the_journal_unreadable(tmp_path: Path, end: str) -> None:
    with a_shop(tmp_path, changes={"expiresAt": end}) as shop:
        honest = shop.double._given
        shop.double._given = lambda sale: Reply.json({**json.loads(honest(sale).body), "expiresAt": end})  # type: ignore[method-assign]
        with suppress(HostError):
            shop.host().upload(a_payload(tmp_path))
        (payment,) = shop.double.payments()
        again = shop.host()
        assert shop.state(again) == State.DONE
        with suppress(HostError):
            again.upload(a_payload(tmp_path))
        assert shop.double.payments() == [payment]
        assert shop.paid == 1_000_000


def test_after_an_image_that_ends_too_soon_nothing_more_is_bought(tmp_path: Path) -> None:
    with a_shop(tmp_path, lives={"/api/upload/token/permanent": timedelta(days=30)}) as shop:
        host = shop.host()
        refused(host, tmp_path)
        assert refused(host, tmp_path, 1).action is Action.STOP
        assert (shop.paid, shop.signer.signed) == (1_000_000, 1)


@pytest.mark.parametrize("url", ["https://evil.example/a.png", "javascript:alert(1)"])
def test_after_a_paid_image_with_a_url_elsewhere_nothing_more_is_bought(tmp_path: Path, url: str) -> None:
    with a_shop(tmp_path, changes={"url": url}) as shop:
        host = shop.host()
        assert "not one of its images" in refused(host, tmp_path).reason
        assert refused(host, tmp_path, 1).action is Action.STOP
        assert (shop.paid, shop.signer.signed) == (1_000_000, 1)


def test_a_journal_that_fails_after_the_upload_tells_the_url_and_the_next_build_finds_it(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        honest, file = shop.double.route, tmp_path / "state" / "payments.sqlite3"

        def route(request: Request) -> Reply:
            if request.path == "/api/upload":
                file.rename(file.with_name("kept"))
                file.mkdir()
            return honest(request)

        shop.double.server.route = route
        with pytest.raises(StateError) as caught:
            shop.host().upload(a_payload(tmp_path))
        (path,) = shop.double.images
        assert shop.double.url + path in str(caught.value)
        assert shop.double.settled[0] in str(caught.value)
        file.rmdir()
        file.with_name("kept").rename(file)
        shop.double.server.route = honest
        assert shop.host().upload(a_payload(tmp_path)).url == shop.double.url + path
        assert (shop.paid, len(shop.double.images)) == (1_000_000, 1)


def test_a_renewal_is_bought_anew_also_where_only_the_journal_knows_the_first(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        first = shop.host(tier="1-year", retention=YEAR).upload(a_payload(tmp_path))
        later = (datetime.now(UTC) + YEAR + timedelta(days=1)).timestamp()
        host = changed(shop.host(tier="1-year", retention=YEAR), clock=lambda: later)
        shop.double.date = datetime.fromtimestamp(later, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        shop.double.lives["/api/upload/token"] = 2 * YEAR + timedelta(days=2)
        second = host.upload(a_payload(tmp_path))
        assert first.url != second.url
        assert (shop.paid, shop.signer.signed) == (20_000, 2)
        numbers = [message["nonce"] for message in shop.signer.messages]
        assert numbers[0] != numbers[1]


@pytest.mark.parametrize(("days_left", "atoms"), [(200, 10_000), (92, 10_000), (91, 20_000), (5, 20_000)])
def test_a_renewal_is_due_by_what_the_host_said_and_not_by_what_a_lock_says(
    tmp_path: Path, days_left: int, atoms: int
) -> None:
    """A lock whose `expires` was edited asks for renewals; only in the last quarter of the copy's life is one due."""
    with a_shop(tmp_path) as shop:
        first = shop.host(tier="1-year", retention=YEAR).upload(a_payload(tmp_path))
        later = (datetime.now(UTC) + YEAR - timedelta(days=days_left)).timestamp()
        shop.double.date = datetime.fromtimestamp(later, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        shop.double.lives["/api/upload/token"] = 2 * YEAR
        for period in (int(later), int(later) + 86_400, 1_500_000_000):
            host = changed(shop.host(tier="1-year", retention=YEAR), clock=lambda: later)
            hosted = host.upload(a_payload(tmp_path, period=period))
            assert (hosted.url == first.url) is (atoms == 10_000)
        assert shop.paid == atoms


# Payments that ran out.


def test_an_unsettled_payment_that_ran_out_is_signed_again_with_its_number_by_the_next_build(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        lost = Fault.RESET_AFTER_BODY
        shop.double.server.fail(lost, when=lambda request: "payment-signature" in request.headers)
        an_hour_ago = datetime.now(UTC).timestamp() - 3_600
        shop.double.date = datetime.fromtimestamp(an_hour_ago, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        early = changed(shop.host(), clock=lambda: an_hour_ago)
        assert refused(early, tmp_path).action is Action.RETRY
        shop.double.date = ""
        _age(shop.folder, 3_600)
        shop.host().upload(a_payload(tmp_path))
        assert (shop.paid, shop.signer.signed, len(shop.double.images)) == (1_000_000, 2, 1)
        assert len({message["nonce"] for message in shop.signer.messages}) == 1


class Others:
    """What builds that share records know: what another one has begun, and what this one has told."""

    def __init__(self, begun: Mapping[str, str] | None = None, refusal: HostError | None = None) -> None:
        self.told: list[dict[str, str]] = []
        self._begun = begun or {}
        self._refusal = refusal

    def begun(self, payload: Payload) -> Mapping[str, str]:
        return self._begun

    def signed(self, payload: Payload, payment: Mapping[str, str]) -> None:
        self.told.append(dict(payment))
        if self._refusal:
            raise self._refusal
        self._begun = payment


def among(shop: Shop, folder: str, others: Others, clock: Callable[[], float] = time.time) -> Img402:
    """Make the host of another machine, with the same wallet and a journal of its own."""
    place = shop.folder / folder
    place.mkdir(exist_ok=True)
    host = a_host(shop.client, shop.double.url, place, shop.key, signer=shop.signer)
    host.share_payments(others)
    return changed(host, clock=clock)


def _ends(shop: Shop) -> list[int]:
    return [int(message["validBefore"]) for message in shop.signer.messages]


def test_what_others_are_told_is_told_before_it_is_sent_and_cannot_be_cashed(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        lost = HostError(Action.FILE, "another build has taken over the upload")
        assert refused(among(shop, "first", Others(refusal=lost)), tmp_path) is lost
        assert (shop.signer.signed, shop.paid, shop.double.payments()) == (0, 0, [])
        among(shop, "first", others := Others()).upload(a_payload(tmp_path))
        assert shop.paid == 1_000_000
        (told,) = others.told
        assert set(told) == {"period", "attempt", "payer", "nonce", "valid_before"}


def test_a_payment_that_another_build_has_begun_is_sent_as_the_same_bytes(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        shop.double.after_settling = [500]
        refused(among(shop, "first", others := Others()), tmp_path)
        later = among(shop, "second", Others(others.told[0]), lambda: time.time() + 5)
        assert later.upload(a_payload(tmp_path)).url
        assert (shop.paid, len({it.headers["payment-signature"] for it in shop.double.payments()})) == (1_000_000, 1)


def test_one_that_ran_out_uncashed_is_signed_again_with_its_number_by_who_takes_over(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        lost = Others(refusal=HostError(Action.FILE, "it died here"))
        refused(among(shop, "first", lost), tmp_path)
        begun = lost.told[0] | {"valid_before": str(int(time.time()) - 200)}
        others = Others(begun)
        assert among(shop, "second", others).upload(a_payload(tmp_path)).url
        assert (shop.paid, len({bytes(it["nonce"]) for it in shop.signer.messages})) == (1_000_000, 1)
        assert [told["valid_before"] for told in others.told] == [str(_ends(shop)[-1])]


def _told(shop: Shop, **changes: str) -> dict[str, str]:
    """Say what a build tells of a first purchase, but for some of it."""
    return {"period": "0", "attempt": "0", "payer": shop.wallet.address, "nonce": "0x0", "valid_before": "1", **changes}


@pytest.mark.parametrize("change", [{"nonce": "0x" + "ab" * 32}, {"attempt": "1"}, {"period": "1"}, {"payer": "0x1"}])
def test_no_number_is_taken_from_others_and_another_one_stops_the_payment(
    tmp_path: Path, change: dict[str, str]
) -> None:
    """A new number would be a second payment, so that whoever writes to the store could have all of them made."""
    with a_shop(tmp_path) as shop:
        text = str(refused(among(shop, "first", Others(_told(shop, **change))), tmp_path))
        assert "another build has signed another payment for this image, from the wallet 0x" in text
        assert (shop.signer.signed, shop.paid) == (0, 0)


@pytest.mark.parametrize("told", [{}, {"period": "-1"}, {"attempt": "x"}, {"valid_before": "9" * 13}])
def test_what_makes_no_sense_is_no_payment(tmp_path: Path, told: dict[str, str]) -> None:
    with a_shop(tmp_path) as shop:
        assert among(shop, "first", Others(_told(shop, **told) if told else {})).upload(a_payload(tmp_path)).url


def test_what_was_begun_before_a_purchase_that_is_known_is_not_sent_again(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        host = among(shop, "first", Others(_told(shop)))
        assert host.upload(a_payload(tmp_path, period=1_900_000_000)).url
        assert shop.paid == 1_000_000


def test_an_end_in_years_is_not_signed_for_others(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        among(shop, "first", others := Others()).upload(a_payload(tmp_path))
        begun = others.told[0] | {"valid_before": str(int(time.time()) + 315_360_000)}
        refused(among(shop, "second", Others(begun), lambda: time.time() + 5), tmp_path)
        assert max(_ends(shop)) < time.time() + 1000


def _age(folder: Path, seconds: int) -> None:
    """Make every payment of the journal older, as if the build had been that long ago."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(folder / "state" / "payments.sqlite3")) as connection:
        connection.execute("UPDATE payments SET signed_at = signed_at - ?", (seconds,))
        connection.commit()


def test_a_settled_payment_that_the_host_forgot_is_paid_once_and_ends_as_lost(tmp_path: Path) -> None:
    """The host settles, answers 402, and remembers nothing: the chain refuses each further payment."""
    with a_shop(tmp_path, memory="none", after_settling=[402]) as shop:
        assert "unresolved" in refused(shop.host(), tmp_path).reason
        now = datetime.now(UTC).timestamp()
        host = shop.host()
        for build in range(1, 5):
            _age(shop.folder, 3_600)
            host = changed(shop.host(), clock=lambda build=build: now + 3_600 * build)  # type: ignore[misc]
            shop.double.date = datetime.fromtimestamp(now + 3_600 * build, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
            refused(host, tmp_path)
        assert shop.state(host) == State.LOST
        assert shop.paid == 1_000_000
        assert shop.signer.signed <= 3
        assert len({message["nonce"] for message in shop.signer.messages}) == 1
        journal = journal_of({"IMGHOST_STATE_DIR": str(shop.folder / "state")})
        assert journal.unresolved(tmp_path / "imghost.lock") == 1
        # Only the user's own word makes another attempt, which is another number, and counts beside the lost one.
        assert journal.allow_again(a_payload(tmp_path).sha256) == 1
        shop.double.date = ""
        assert "max_cost" in refused(shop.host(max_cost="1"), tmp_path).reason
        shop.host().upload(a_payload(tmp_path))
        assert (shop.paid, len({message["nonce"] for message in shop.signer.messages})) == (2_000_000, 2)


# What is never signed.


def _with(field: str, value: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(challenge: dict[str, Any]) -> dict[str, Any]:
        altered = copy.deepcopy(challenge)
        for offer in altered["accepts"]:
            name = {"amount": "maxAmountRequired"}.get(field, field) if altered["x402Version"] == 1 else field
            offer[name] = value
        return altered

    return change


HOSTILE: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (_with("amount", "1000001"), "tier"),
    (_with("network", "eip155:1"), "Base"),
    (_with("asset", "0x" + "1" * 40), "USDC"),
    (_with("payTo", "0x" + "1" * 40), "pay_to"),
    (_with("scheme", "upto"), "exact"),
    (_with("extra", {"name": "Coin", "version": "2"}), "USD Coin"),
    (_with("maxTimeoutSeconds", 29), "30"),
    (_with("extra", {"assetTransferMethod": "permit2"}), "eip3009"),
    (lambda challenge: {**challenge, "accepts": []}, "no way to pay"),
    (lambda challenge: {**challenge, "x402Version": 3}, "version"),
]


@pytest.mark.sampled(8)
@versions
@pytest.mark.parametrize(("change", "word"), HOSTILE)
def test_a_challenge_outside_the_policy_gets_no_signature_and_no_second_request(
    tmp_path: Path, version: int, change: Callable[[dict[str, Any]], Any], word: str
) -> None:
    with a_shop(tmp_path, version=version, change=change, in_body=version == 2) as shop:
        error = refused(shop.host(), tmp_path)
        assert error.action is Action.STOP
        assert word in str(error)
        assert (shop.signer.signed, len(shop.double.server.log), shop.paid) == (0, 1, 0)
        assert shop.journal.unresolved(tmp_path / "imghost.lock") == 0


def a_good_challenge(url: str, version: int, offers: int = 1) -> Any:
    place = {"resource": url} if version == 1 else {}
    challenge = a_challenge(version, *[an_offer(version, **place) for _ in range(offers)])
    return {**challenge, "resource": {"url": url}} if version == 2 else challenge


@versions
def test_the_challenge_that_is_mutated_below_is_signed_as_it_is(tmp_path: Path, version: int) -> None:
    signer = Counting()
    route: Callable[[Request], Reply] = lambda it: Reply.json(a_good_challenge(server.url + it.path, version, 3), 402)  # noqa: E731
    with Server(route) as server, Client(2, environ={}) as client:
        refused(a_host(client, server.url, tmp_path, tier="1-year", retention=YEAR, signer=signer), tmp_path)
    assert signer.signed == 1


def a_bad_challenge(chance: random.Random, url: str, version: int) -> Any:
    """Ask for a payment that nobody may sign: each offer has a field that must stop it, and more may be odd."""
    challenge = a_good_challenge(url, version, chance.randint(1, 3))
    mutator = Mutator(chance)
    for _ in range(chance.choice((0, 1, 2))):
        changed = mutator.reshaped(copy.deepcopy(challenge))
        challenge = changed if isinstance(changed, dict) and isinstance(changed.get("accepts"), list) else challenge
    for offer in challenge["accepts"]:
        for name, value in chance.sample(BAD, chance.randint(1, 4)) if isinstance(offer, dict) else ():
            offer["maxAmountRequired" if (version, name) == (1, "amount") else name] = value
    return challenge


@pytest.mark.timeout(36_000)
def test_mutated_challenges_over_http_get_no_signature(tmp_path: Path) -> None:
    """In the header or in the body, in both versions; some are no HTTP answer at all."""
    count, signer, refusals = counted("CHALLENGES", 300), Counting(), Counter[str]()

    def route(request: Request) -> Reply:
        version = chance.choice((1, 2))
        text = written(a_bad_challenge(chance, server.url + request.path, version))
        body = text.encode("utf-8", "surrogatepass")
        reply = Reply(402, body, (("Content-Type", "application/json"),))
        if chance.random() < 0.5:
            reply = Reply.json({}, 402, PAYMENT_REQUIRED=base64.b64encode(body[:11_000]).decode())
        return Mutator(chance).garbled(reply) if chance.random() < 0.1 else reply

    with Server(route) as server, Client(2, environ={}) as client:
        for number in range(count):
            chance = random.Random(f"challenge {number}")
            host = a_host(client, server.url, tmp_path, tier="1-year", retention=YEAR, signer=signer)
            error = refused(host, tmp_path)
            refusals[error.action.name] += 1
            assert len(str(error)) <= 700
            assert signer.signed == 0, f"challenge {number} was signed"
            assert not [request for request in server.log if "payment-signature" in request.headers]
            server.log.clear()
    assert refusals["STOP"] > count / 2
    tell(f"{count} mutated challenges over HTTP: {dict(refusals)}, {signer.signed} signatures")


def test_a_payee_that_the_settings_name_is_paid_and_the_known_one_no_more(tmp_path: Path) -> None:
    other = shared_chain().wallet(0).address
    with a_shop(tmp_path) as shop:
        assert "pay_to" in refused(shop.host(pay_to=other), tmp_path).remedy
        assert shop.signer.signed == 0


def test_ones_own_wallet_is_never_the_payee(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        shop.double.change = _with("payTo", shop.wallet.address)
        error = refused(shop.host(pay_to=shop.wallet.address), tmp_path)
        assert "your own wallet" in error.reason
        assert shop.signer.signed == 0


@pytest.mark.parametrize("days", [-30, 30, 20_000])
def test_nothing_is_signed_with_a_wrong_clock(tmp_path: Path, days: int) -> None:
    with a_shop(tmp_path) as shop:
        host = changed(shop.host(), clock=lambda: datetime.now(UTC).timestamp() + days * 86_400)
        shop.double.date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        assert "clock" in refused(host, tmp_path).reason
        assert (shop.signer.signed, len(shop.double.server.log)) == (0, 1)


def test_without_max_cost_nothing_is_asked(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        error = refused(shop.host(max_cost="0"), tmp_path)
        assert (error.action, "max_cost" in error.remedy) == (Action.STOP, True)
        assert (shop.signer.signed, shop.double.server.log) == (0, [])


def test_the_budget_ends_the_signing_and_counts_what_is_unresolved(tmp_path: Path) -> None:
    with a_shop(tmp_path, after_settling=[402]) as shop:
        refused(shop.host(max_cost="2"), tmp_path)
        host = shop.host(max_cost="2")
        host.upload(a_payload(tmp_path, 1))
        error = refused(host, tmp_path, 2)
        assert (error.action, "max_cost" in error.reason) == (Action.STOP, True)
        assert (shop.paid, shop.signer.signed) == (2_000_000, 2)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_neither_payment_nor_token_follows_a_redirect(tmp_path: Path, status: int) -> None:
    with Server(lambda _: Reply()) as evil, a_shop(tmp_path) as shop:
        honest = shop.double.route

        def route(request: Request) -> Reply:
            if len(shop.double.payments()) and request.path.startswith("/api/upload"):
                return Reply.redirect(evil.url + request.path, status)
            return honest(request)

        shop.double.server.route = route
        refused(shop.host(), tmp_path)
        assert evil.log == []


def test_a_free_answer_where_a_payment_was_expected_pays_nothing(tmp_path: Path) -> None:
    signer = Counting()
    with Server(lambda _: Reply.json({"token": "a" * 40})) as server, Client(5, environ={}) as client:
        error = refused(a_host(client, server.url, tmp_path, signer=signer), tmp_path)
    assert (error.action, signer.signed) == (Action.RETRY, 0)


def test_a_journal_that_cannot_be_written_stops_the_build_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    with a_shop(tmp_path) as shop:
        with pytest.raises(HostError) as caught:
            shop.host().ready()
        assert (caught.value.action, "IMGHOST_STATE_DIR" in str(caught.value)) == (Action.STOP, True)
        with pytest.raises(StateError):
            shop.host().upload(a_payload(tmp_path))
        assert (shop.signer.signed, shop.paid, shop.double.payments()) == (0, 0, [])


# The tier `auto`.


def test_auto_takes_the_free_tier_where_it_lasts_long_enough(tmp_path: Path) -> None:
    with a_shop(tmp_path, era="newest") as shop:
        hosted = shop.host(tier="auto").upload(a_payload(tmp_path))
        assert (hosted.expires, hosted.receipt, shop.paid) == (None, None, 0)
        week = shop.host(tier="auto", retention=timedelta(days=7)).upload(a_payload(tmp_path, 1))
        assert (week.receipt, shop.paid, shop.signer.signed) == (None, 0, 0)


@pytest.mark.parametrize(("retention", "atoms"), [(None, 1_000_000), (YEAR, 10_000), (2 * YEAR, 1_000_000)])
def test_auto_pays_for_the_cheapest_tier_that_lasts(tmp_path: Path, retention: timedelta | None, atoms: int) -> None:
    with a_shop(tmp_path, era="brief") as shop:
        host = shop.host(tier="auto", retention=retention)
        assert host.limits.price == Decimal(atoms) / 1_000_000
        hosted = host.upload(a_payload(tmp_path))
        assert shop.paid == atoms
        assert hosted.receipt is not None


def test_auto_uploads_one_free_image_at_most_however_often_the_payment_is_retried(tmp_path: Path) -> None:
    with a_shop(tmp_path, era="brief", after_settling=[500]) as shop:
        shop.double.server.fail(Fault.RESET_AFTER_ROUTE, when=lambda request: request.path.endswith("permanent"))
        patiently(shop.host(tier="auto"), tmp_path)
        assert len(shop.double.server.requests("POST", "/api/free")) == 1
        assert shop.paid == 1_000_000


def test_auto_without_max_cost_says_so_and_pays_nothing(tmp_path: Path) -> None:
    with a_shop(tmp_path, era="brief") as shop:
        error = refused(shop.host(tier="auto", max_cost="0"), tmp_path)
        assert "max_cost" in error.remedy
        assert (shop.paid, shop.signer.signed) == (0, 0)


def test_auto_leaves_the_one_image_local_that_must_be_paid_and_goes_on_with_the_free_ones(tmp_path: Path) -> None:
    with a_shop(tmp_path, era="brief") as shop:
        for budget in ("0", "0.5"):
            error = refused(shop.host(tier="auto", max_cost=budget), tmp_path)
            assert (error.action, "max_cost" in str(error)) == (Action.FILE, True)
        assert refused(shop.host(max_cost="0.5"), tmp_path).action is Action.STOP
        assert (shop.paid, shop.signer.signed) == (0, 0)


@pytest.mark.parametrize("said", ["settlement_pending", "settlement pending", "transaction_in_progress"])
def test_a_payment_that_is_being_settled_is_sent_again_and_none_beside_it(tmp_path: Path, said: str) -> None:
    with a_shop(tmp_path, after_settling=[402, 402]) as shop:
        challenge = shop.double.challenge
        shop.double.challenge = lambda path, error=said: challenge(path, error)  # type: ignore[method-assign]
        host = shop.host()
        error = refused(host, tmp_path)
        assert (error.action, "unresolved" in error.reason) == (Action.RETRY, True)
        patiently(host, tmp_path)
        assert (shop.paid, shop.signer.signed, len(shop.double.images)) == (1_000_000, 1, 1)


@pytest.mark.parametrize("changes", [{"sizeBytes": 9}, {"contentType": "image/gif"}])
@pytest.mark.parametrize("tier", ["permanent", "auto"])
def test_an_answer_about_other_bytes_is_no_upload(tmp_path: Path, changes: dict[str, object], tier: str) -> None:
    with a_shop(tmp_path, changes=changes, era="newest") as shop:
        host = shop.host(tier=tier)
        error = refused(host, tmp_path)
        assert (error.action, "another size or type" in error.reason) == (Action.FILE, True)
        assert refused(host, tmp_path).reason == error.reason
        assert shop.signer.signed == (1 if tier == "permanent" else 0)


# Settings, keys and secrets.


def address_of(host: Img402) -> str:
    till = host.till
    assert till is not None
    return till._deal.signer.address


@pytest.mark.parametrize(
    "key", ["short-key", "0x" + "g" * 64, "a" * 63, "a" * 65, "0x" + "0" * 64 + "\u0661", "f" * 64]
)
def test_a_key_that_is_none_is_refused_without_being_shown(tmp_path: Path, key: str) -> None:
    with Client(environ={}) as client, pytest.raises(SettingsError) as caught:
        address_of(a_host(client, "https://img402.dev", tmp_path, key))
    assert key not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_key_is_read_with_and_without_its_prefix() -> None:
    bare, prefixed = KeySigner(Secret(KEY[2:])), KeySigner(Secret(KEY))
    assert bare.address == prefixed.address
    assert KEY[2:] not in repr(bare) + repr(vars(bare))


@pytest.mark.parametrize("pay_to", ["0x123", "vitalik.eth", "0x" + "g" * 40])
def test_a_payee_that_is_no_address_is_refused_in_the_settings(tmp_path: Path, pay_to: str) -> None:
    with Client(environ={}) as client, pytest.raises(SettingsError, match="pay_to"):
        a_host(client, "https://img402.dev", tmp_path, pay_to=pay_to)


def test_the_first_payment_is_sent_alone(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        assert shop.host().ready().is_proven is False


def a_repository(folder: Path, *, has_lock: bool) -> None:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / "imghost.lock").write_text("")
    if has_lock:
        subprocess.run(["git", "-C", str(folder), "add", "imghost.lock"], check=True)


@pytest.mark.parametrize("has_lock", [True, False])
def test_a_ci_pays_only_with_a_lock_that_git_tracks(tmp_path: Path, has_lock: bool) -> None:
    a_repository(tmp_path, has_lock=has_lock)
    with Client(environ={}) as client:
        host = a_host(client, "https://img402.dev", tmp_path, environ={"CI": "true"})
        if has_lock:
            host.ready()
        else:
            with pytest.raises(SettingsError, match=r"commit imghost\.lock"):
                host.ready()


@versions
def test_no_secret_appears_anywhere(
    tmp_path: Path, version: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with a_shop(tmp_path, version=version, after_settling=[500]) as shop, caplog.at_level("DEBUG", "imghost"):
        hosted = patiently(shop.host(), tmp_path)
        headers = [value for request in shop.double.payments() for value in request.headers.values() if len(value) > 99]
        secrets = [shop.key[2:], *headers, *shop.double.tokens]
    out, err = capfd.readouterr()
    seen = "".join(
        (out, err, repr(hosted), *(record.getMessage() for record in caplog.records if record.name != "x402"))
    )
    journal = (tmp_path / "state" / "payments.sqlite3").read_bytes().decode("latin-1")
    assert len(secrets) >= 3
    assert not [secret for secret in secrets if secret in seen or secret in journal]


def test_github_is_asked_to_hide_the_payment_and_the_token_before_they_are_used(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with a_shop(tmp_path) as shop:
        shop.host(environ={"GITHUB_ACTIONS": "true"}).upload(a_payload(tmp_path))
        sent = shop.double.payments()[0].headers["payment-signature"]
        tokens = list(shop.double.tokens)
    out, err = capfd.readouterr()
    assert out == ""
    masked = {line.removeprefix("::add-mask::") for line in err.splitlines()}
    assert masked == {sent, *tokens}


def test_the_library_that_signs_is_loaded_by_nothing_but_a_payment(tmp_path: Path) -> None:
    code = f"""
import sys, pathlib
sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(Path(__file__).parents[1] / "support")!r}]
from doubles.payer import a_host, a_payload
from imghost.errors import HostError
from imghost.net import Client
folder = pathlib.Path({str(tmp_path)!r})
with Client(environ={{}}) as client:
    host = a_host(client, "http://127.0.0.1:9", folder)
    host.ready()
    try:
        host.upload(a_payload(folder))
    except HostError:
        pass
sys.exit("eth_account" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_paid_tier_without_the_extra_names_it_in_one_line(tmp_path: Path) -> None:
    code = f"""
import sys
import time
sys.modules["eth_account"] = None
sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(Path(__file__).parents[1] / "support")!r}]
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "eth_account" else find(name, *rest)
from pathlib import Path
from doubles.payer import a_host
from imghost.errors import SettingsError
from imghost.net import Client
try:
    a_host(Client(environ={{}}), "https://img402.dev", Path({str(tmp_path)!r}))
except SettingsError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert 'pip install "imghost[x402]"' in found
    assert found.count("\n") == 1


def test_the_wallets_address_and_balance_can_be_asked_for(tmp_path: Path) -> None:
    chain = shared_chain()
    account = chain.wallet(12.5)
    key = bytes(account.key).hex()
    file = planted(tmp_path / "key")
    file.write_text(f"0x{key}\n")
    assert wallet_address({}) is None
    assert wallet_address({"IMG402_PRIVATE_KEY": key}) == account.address
    assert wallet_address({"IMG402_PRIVATE_KEY_FILE": str(file)}) == account.address
    with pytest.raises(SettingsError, match="IMG402_PRIVATE_KEY_FILE"):
        wallet_address({"IMG402_PRIVATE_KEY_FILE": str(tmp_path / "none")})
    with chain.node() as node, Client(5, environ={}) as client:
        assert usdc_balance(client, node.url, account.address) == Decimal("12.5")
    broken = Server(lambda _: Reply.json({"error": {"message": "no"}}))
    with broken, Client(5, environ={}) as client, pytest.raises(HostError, match="balance"):
        usdc_balance(client, broken.url, account.address)


def test_a_paid_tier_is_opened_with_the_settings_budget_and_lock(tmp_path: Path) -> None:
    from imghost.hosts.registry import open_host
    from imghost.settings import read

    settings = read({"host": "img402", "max_cost": 3, "lock": "my.lock"}, tmp_path)
    with Client(environ={}) as client:
        host = open_host("img402", settings, {"IMG402_PRIVATE_KEY": KEY}, client, tmp_path)
    assert isinstance(host, Img402)
    till = host.till
    assert till is not None
    deal = till._deal
    assert (deal.atoms, deal.lock) == (3_000_000, str(tmp_path.resolve() / "my.lock"))
    assert not host.lacks_credential


def test_the_host_pays_nothing_without_a_wallet(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        setup = Setup(shop.client, None, None, tmp_path, tmp_path, {}, max_cost=Decimal(5))
        host = Img402(Img402Options(api_url=shop.double.url), setup)
        assert refused(host, tmp_path).action is Action.STOP
        assert shop.double.server.log == []


@pytest.mark.sampled(3)
@pytest.mark.parametrize("step", range(1, 13))
@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_steps_at_any_moment_of_a_purchase_pays_once(tmp_path: Path, step: int, days: int) -> None:
    """Asked for the time so often, the machine's clock is a day off from then on; and right again for the next build."""
    with a_shop(tmp_path) as shop:
        asked = iter(range(1, 1_000))

        def clock() -> float:
            return datetime.now(UTC).timestamp() + (days * 86_400 if next(asked) >= step else 0)

        host = changed(shop.host(), clock=clock)
        with suppress(HostError):
            host.upload(a_payload(tmp_path))
        with suppress(HostError):
            host.upload(a_payload(tmp_path))
        assert shop.paid <= 1_000_000
        hosted = shop.host().upload(a_payload(tmp_path))
        again = shop.host().upload(a_payload(tmp_path))
        assert (again.url, shop.paid, len(shop.double.images)) == (hosted.url, 1_000_000, 1)
        assert len({message["nonce"] for message in shop.signer.messages}) == 1
