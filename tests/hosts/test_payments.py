"""The journal's lines as values: each field is declared once, and lies under its name in the file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import fields
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import StateError
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
    deciding,
    has_bought,
)

PURCHASE = Purchase("https://img402.dev", "5" * 64)
SENT = Sent("6" * 64, 200, "image/png", "strip")
TOKEN_URL = "https://img402.dev/api/upload/token"
SIGNED = Signed("X-PAYMENT", "cheque", 1, "0xpayer", "0xpayee", 10_000, "0xnonce", 2_000_000_000, TOKEN_URL)
NAMES = [field.name for field in fields(Payment)]


def test_a_payment_is_what_was_signed_and_how_far_it_has_come() -> None:
    assert issubclass(Payment, Signed)
    assert len(NAMES) == len(set(NAMES)) == len(fields(Signed)) + len(Payment.__annotations__)
    assert {*Purchase._fields, *Sent._fields} < set(NAMES)


@pytest.mark.parametrize("order", [NAMES, sorted(NAMES), sorted(NAMES, reverse=True)])
def test_a_journal_with_its_columns_in_another_order_is_read_and_written(tmp_path: Path, order: list[str]) -> None:
    file = tmp_path / "state" / "payments.sqlite3"
    file.parent.mkdir(mode=0o700)
    columns = ", ".join("id INTEGER PRIMARY KEY AUTOINCREMENT" if name == "id" else name for name in order)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"CREATE TABLE payments ({columns})")
        connection.execute("PRAGMA user_version = 2")
    file.chmod(0o600)
    made, is_new = Journal(file).reserve(PURCHASE, SENT, 10_000, Budget(20_000, "lock"), lambda _: SIGNED)
    assert is_new
    assert Journal(file).find(PURCHASE) == made
    assert [getattr(made, field.name) for field in fields(Signed)] == [
        getattr(SIGNED, field.name) for field in fields(Signed)
    ]
    Journal(file).finish(made, "https://i.img402.dev/a.png", "a", None, "0x1")
    done = Journal(file).find(PURCHASE)
    assert done is not None
    assert (done.state, done.hosted, done.header, done.amount) == (
        State.DONE,
        "https://i.img402.dev/a.png",
        None,
        10_000,
    )


def test_neither_a_cheque_nor_a_token_shows_itself(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state" / "payments.sqlite3")
    made, _ = journal.reserve(PURCHASE, SENT, 10_000, Budget(20_000, "lock"), lambda _: SIGNED)
    journal.keep_token(made, "token-canary", 1.0, None)
    assert "cheque" not in repr(SIGNED) + repr(made)
    assert "canary" not in repr(journal.find(PURCHASE))


# Journals of the first version: one line for each token URL and payload, which a later line replaced.

FIRST = (
    *("name", "header", "version", "payer", "pay_to", "amount", "nonce", "valid_before", "url", "image", "period"),
    *("attempt", "lock", "state", "token", "token_expires", "hosted", "hosted_id", "expires", "paid_by"),
    *("refusals", "again", "signed_at", "changed_at"),
)


def a_first_journal(file: Path, *lines: dict[str, object]) -> Journal:
    """Write a journal as the first version did."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    sample = {
        "name": "X-PAYMENT",
        "header": "cheque",
        "version": 1,
        "payer": "0xpayer",
        "pay_to": "0xpayee",
        "amount": 10_000,
        "nonce": "0xnonce",
        "valid_before": 2_000_000_000,
        "url": TOKEN_URL,
        "image": SENT.payload,
        "period": 0,
        "attempt": 0,
        "lock": "lock",
        "state": "signed",
        "token": None,
        "token_expires": None,
        "hosted": None,
        "hosted_id": None,
        "expires": None,
        "paid_by": None,
        "refusals": 0,
        "again": 0,
        "signed_at": 1.0,
        "changed_at": 1.0,
    }
    with closing(sqlite3.connect(file)) as connection, connection:
        key = "PRIMARY KEY (url, image, period, attempt)"
        connection.execute(f"CREATE TABLE payments ({', '.join(FIRST)}, {key}) WITHOUT ROWID")
        for line in lines:
            marks = ", ".join(f":{name}" for name in FIRST)
            connection.execute(f"INSERT INTO payments ({', '.join(FIRST)}) VALUES ({marks})", {**sample, **line})
        connection.execute("PRAGMA user_version = 1")
    file.chmod(0o600)
    return Journal(file)


@pytest.mark.parametrize(
    "url", [TOKEN_URL, "HTTPS://IMG402.dev/api/upload/token/permanent", "https://img402.dev:443/api/upload/token"]
)
def test_an_open_payment_of_an_old_journal_stops_another_however_its_address_was_spelt(
    tmp_path: Path, url: str
) -> None:
    journal = a_first_journal(tmp_path / "state" / "j", {"url": url})
    known, is_new = journal.reserve(PURCHASE, SENT, 10_000, Budget(90_000, "lock"), lambda _: SIGNED)
    assert (is_new, known.header, known.url, known.nonce) == (False, "cheque", url, "0xnonce")
    assert journal.unresolved() * 100 == 1


def test_what_an_old_journal_has_as_bought_is_given_and_its_end_makes_the_renewal(tmp_path: Path) -> None:
    done = {"state": "done", "header": None, "hosted": "https://i.img402.dev/a.png", "hosted_id": "a"}
    ended = {**done, "image": "7" * 64, "expires": 5_000.0}
    journal = a_first_journal(tmp_path / "state" / "j", done, ended)
    known = journal.find(PURCHASE, SENT.payload)
    assert known is not None
    assert (known.state, known.hosted) == (State.DONE, "https://i.img402.dev/a.png")
    steps: list[Step] = []

    def sign(step: Step) -> Signed:
        steps.append(step)
        return SIGNED

    other = PURCHASE._replace(image="8" * 64)
    sent, budget = SENT._replace(payload="7" * 64), Budget(90_000, "lock")
    assert not journal.reserve(other, sent, 10_000, budget, sign)[1]
    assert journal.reserve(other, sent, 10_000, budget, sign, lambda payment: payment.lasts(9_000.0, is_due=False))[1]
    assert steps == [Step(5_000, 0)]
    with closing(sqlite3.connect(journal.file)) as connection:  # what was finished has no cheque left to be found
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '%payments'")
        assert tables.fetchall() == [("payments",)]


def test_who_only_looks_makes_no_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state" / "j")
    assert (journal.find(PURCHASE), journal.last(), journal.lost(tmp_path)) == (None, 0, ())
    assert journal.spent(tmp_path) == journal.unresolved() == 0
    assert list(tmp_path.iterdir()) == []


def test_of_what_was_bought_for_an_image_that_which_lasts_longest_decides() -> None:
    """Else a page would name the copy that ends, and the next build would buy what is there for ever."""
    year, ever, older = a_payment(3, State.DONE, 200.0), a_payment(2, State.DONE), a_payment(1, State.DONE, 100.0)
    assert deciding([older, ever, year]) == ever
    assert deciding([year, older]) == year


def test_a_broken_old_journal_is_refused_whole_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "state" / "j"
    journal = a_first_journal(file, {"amount": "much"})
    before = file.read_bytes()
    with pytest.raises(StateError, match="amount"):
        journal.find(PURCHASE)
    assert file.read_bytes() == before


# Which payment decides.


@pytest.mark.parametrize(
    "spelling",
    [
        *(
            "https://IMG402.dev",
            "https://img402.dev/",
            "https://img402.dev:443",
            "https://img402.dev.",
            "HTTPS://img402.dev",
        ),
        *("https://img402.dev//", "https://img402.dev/./"),
    ],
)
def test_an_address_is_one_however_it_is_spelt(spelling: str) -> None:
    assert address_of(spelling) == "https://img402.dev"


def test_addresses_that_differ_stay_apart() -> None:
    addresses = [
        *("https://img402.dev", "http://img402.dev", "https://img402.dev:8443", "https://img402.dev/a"),
        *("https://img402.dev/A", "https://img402.dev/a/b", "http://[::1]:80", "http://127.0.0.1", "http://[::2]"),
    ]
    assert len({address_of(address) for address in addresses}) == len(addresses)
    assert address_of("http://[0:0::1]:80/x/") == "http://[::1]/x"


def a_payment(number: int, state: State, expires: float | None = None, again: int = 0) -> Payment:
    signed = {field.name: getattr(SIGNED, field.name) for field in fields(Signed)}
    return Payment(
        **signed, **SENT._asdict(), id=number, host=PURCHASE.host, image=PURCHASE.image, period=0, attempt=0, lock="",
        state=state, token=None, token_expires=None, hosted=None, hosted_id=None, expires=expires, paid_by=None,
        refusals=0, again=again, signed_at=0.0, changed_at=0.0,
    )  # fmt: skip


LINES = st.sampled_from(list(product(State, (None, 50.0, 100.0, 200.0), (0, 1))))


@given(st.lists(LINES, max_size=5), st.sampled_from([50.0, 100.0]))
def test_whatever_lines_there_are_nothing_is_signed_beside_what_serves_or_is_open(
    lines: list[tuple[State, float | None, int]], now: float
) -> None:
    payments = [a_payment(number, *line) for number, line in enumerate(lines)]

    def serves(payment: Payment) -> bool:
        return has_bought(payment) and payment.lasts(now, is_due=False)

    decides = deciding(payments, serves)
    serving = [payment for payment in payments if serves(payment)]
    standing = [payment for payment in payments if payment.is_open]
    if serving:
        assert decides in serving
    elif standing:
        assert decides in standing
    elif payments:
        assert decides == max(payments, key=lambda payment: payment.id)
    else:
        assert decides is None


@pytest.mark.parametrize(("now", "is_due", "lasts"), [(149.0, True, True), (150.0, True, False), (199.0, False, True)])
def test_a_copy_lasts_until_it_ends_and_for_a_renewal_until_its_last_quarter(
    now: float, is_due: bool, lasts: bool
) -> None:
    assert a_payment(1, State.DONE, 200.0).lasts(now, is_due) is lasts
    assert not a_payment(1, State.DONE, 200.0).lasts(200.0, is_due)
    assert a_payment(1, State.DONE, None).lasts(1e9, is_due)


def test_what_is_signed_next_has_a_number_of_its_own_unless_it_takes_a_void_ones_place() -> None:
    assert a_payment(1, State.DONE, 70.0).next_step == Step(70, 0)
    assert a_payment(1, State.DONE, None, again=1).next_step == Step(0, 1)
    assert a_payment(1, State.LOST, None, again=1).next_step == Step(0, 1)
    assert a_payment(1, State.VOID).next_step == Step(0, 0, "0xnonce", "0xpayer", 2_000_000_000)
