"""One image at one host is one purchase, whatever else changes between builds: by the balances on a real chain."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest
from doubles.chain import shared_chain
from doubles.img402_paid import PaidImg402
from doubles.payer import a_host, a_payload
from doubles.server import Fault, Request

from imghost.errors import Action, HostError
from imghost.models import Hosted
from imghost.net import Client

YEAR = timedelta(days=365)
FUND = 100


def a_key() -> str:
    return "0x" + bytes(shared_chain().wallet(FUND).key).hex()


@dataclass(frozen=True)
class Build:
    """What may change from one build to the next."""

    key: str
    host: str = "127.0.0.1"
    tail: str = ""
    tier: str = "permanent"
    variant: str = ""
    lock: str = "imghost.lock"
    period: int = 0
    keys: tuple[str, ...] = field(default=())
    """Every wallet that was used so far."""

    def url(self, double: PaidImg402) -> str:
        return double.url.replace("127.0.0.1", self.host) + self.tail


def another_wallet(build: Build) -> Build:
    key = a_key()
    return replace(build, key=key, keys=(*build.keys, key))


def another_spelling(build: Build) -> Build:
    return replace(build, host="LocalHost" if build.host == "localhost" else "localhost", tail=build.tail + "/")


def another_tier(build: Build) -> Build:
    return replace(build, tier="1-year" if build.tier == "permanent" else "permanent")


def another_variant(build: Build) -> Build:
    return replace(build, variant=f"{build.variant}+edge{len(build.variant) + 1}".removeprefix("+"))


def another_lock(build: Build) -> Build:
    return replace(build, lock="sub-" + build.lock)


def another_end(build: Build) -> Build:
    """Edit `expires` in the lock, which makes the run ask for a renewal."""
    return replace(build, period=build.period + 1_700_000_000)


CHANGES = (another_wallet, another_spelling, another_tier, another_variant, another_lock, another_end)


@pytest.fixture
def first() -> Build:
    key = a_key()
    return Build(key, host="localhost", keys=(key,))


@pytest.fixture
def double() -> Iterator[PaidImg402]:
    """Make the host, known by a name, whose letters a setting may spell otherwise."""
    with PaidImg402(chain=shared_chain()) as double:
        double.origin = double.url.replace("127.0.0.1", "localhost")
        double.change = lambda challenge: json.loads(json.dumps(challenge).replace("127.0.0.1", "localhost"))
        yield double


def paid(build: Build) -> int:
    """Sum up the atomic units that left any of the wallets."""
    from eth_account import Account

    left = sum(shared_chain().balance(Account.from_key(key).address) for key in build.keys)
    return FUND * 1_000_000 * len(build.keys) - left


def run(build: Build, double: PaidImg402, folder: Path, tries: int = 3) -> Hosted | None:
    """Build as often as the host's refusals allow; None = the image stayed local."""
    with Client(5, environ={}) as client:
        host = a_host(client, build.url(double), folder, build.key, tier=build.tier, retention=YEAR, lock=build.lock)
        for _ in range(tries):
            try:
                return host.upload(a_payload(folder, period=build.period, variant=build.variant))
            except HostError as error:
                if error.action not in {Action.RETRY, Action.WAIT}:
                    break
    return None


def carries_payment(request: Request) -> bool:
    return "payment-signature" in request.headers


def is_upload(request: Request) -> bool:
    return request.path == "/api/upload"


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("one", "two"), list(product(CHANGES, CHANGES)), ids=lambda change: change.__name__)
def test_two_changes_while_a_payment_is_open_pay_once(one, two, first, double, tmp_path: Path) -> None:
    """The payment settles and every reply to it is lost, in two builds; the third one gets its image."""
    for build in (first, one(first)):
        double.server.fail(*[Fault.CLOSE_AFTER_ROUTE] * 3, when=carries_payment)
        assert run(build, double, tmp_path) is None
        double.server.calm()
    last = two(one(first))
    assert run(last, double, tmp_path) is not None
    assert (paid(last), len(double.images)) == (1_000_000, 1)
    for build in (last, one(two(last))):
        run(build, double, tmp_path)
        assert paid(build) == 1_000_000, "what is bought and lasts is not bought again"


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_after_the_uploads_reply_was_lost_pays_once(change, first, double, tmp_path: Path) -> None:
    double.server.fail(*[Fault.CLOSE_AFTER_ROUTE] * 3, when=is_upload)
    assert run(first, double, tmp_path, tries=1) is None
    double.server.calm()
    build = change(first)
    hosted = run(build, double, tmp_path)
    assert (hosted is None) is (change is another_variant), "what was bought as other bytes is not taken for these"
    assert run(first, double, tmp_path) is not None
    assert (paid(build), len(double.images)) == (1_000_000, 1)


def test_other_bytes_of_an_image_that_was_bought_are_paid_for_by_the_users_word_alone(
    first, double, tmp_path: Path
) -> None:
    from imghost.hosts.img402.journal import journal_of

    assert run(first, double, tmp_path) is not None
    smaller = another_variant(first)
    with Client(5, environ={}) as client:
        host = a_host(client, smaller.url(double), tmp_path, smaller.key)
        payload = a_payload(tmp_path, variant=smaller.variant)
        with pytest.raises(HostError, match="--pay-again") as caught:
            host.upload(payload)
    assert caught.value.action is Action.FILE
    assert payload.image[:12] in caught.value.remedy
    assert journal_of({"IMGHOST_STATE_DIR": str(tmp_path / "state")}).allow_again(payload.image[:12]) == 1
    assert run(smaller, double, tmp_path) is not None
    assert (paid(first), len(double.images)) == (2_000_000, 2)
    assert run(smaller, double, tmp_path) is not None
    assert paid(first) == 2_000_000


def test_two_files_that_are_sent_as_the_same_bytes_are_one_purchase(first, double, tmp_path: Path) -> None:
    """One of them has an author's name in it, which is stripped."""
    with Client(5, environ={}) as client:
        host = a_host(client, first.url(double), tmp_path, first.key)
        one = a_payload(tmp_path)
        assert host.upload(one).url == host.upload(replace(one, image="e" * 64, variant="strip")).url
    assert paid(first) == 1_000_000


def test_a_payment_that_ran_out_is_signed_again_by_its_own_wallet_alone(first, double, tmp_path: Path) -> None:
    """Only its wallet has its number, by which the chain refuses a second one."""
    double.server.fail(*[Fault.CLOSE_AFTER_ROUTE] * 9, when=carries_payment)
    assert run(first, double, tmp_path) is None
    double.server.calm()
    with closing(sqlite3.connect(tmp_path / "state" / "payments.sqlite3")) as connection, connection:
        connection.execute("UPDATE payments SET state = 'void'")
    other = another_wallet(first)
    assert run(other, double, tmp_path) is None
    assert paid(other) == 1_000_000
    with suppress(HostError):
        run(first, double, tmp_path)
    assert paid(other) == 1_000_000


def test_a_longer_retention_buys_the_tier_that_gives_it_once(first, double, tmp_path: Path) -> None:
    year = replace(first, tier="1-year")
    assert run(year, double, tmp_path) is not None
    with Client(5, environ={}) as client:
        for _ in range(2):
            host = a_host(client, first.url(double), tmp_path, first.key, tier="permanent", retention=None)
            assert host.upload(a_payload(tmp_path)).expires is None
    assert paid(first) == 1_010_000


def test_a_tier_that_gives_less_than_it_promised_is_not_bought_again_when_its_copy_has_ended(
    first, double, tmp_path: Path
) -> None:
    double.changes["expiresAt"] = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    for _ in range(3):
        assert run(first, double, tmp_path) is None
    assert paid(first) == 1_000_000
