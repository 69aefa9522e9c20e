"""The journal's lines as values: each field is declared once, and lies under its name in the file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest

from imghost.hosts.img402.journal import Budget, Journal, Payment, Purchase, Signed, State

PURCHASE = Purchase("https://img402.dev/api/upload/token", "5" * 64)
SIGNED = Signed("X-PAYMENT", "cheque", 1, "0xpayer", "0xpayee", 10_000, "0xnonce", 2_000_000_000)
NAMES = [field.name for field in fields(Payment)]


def test_a_payment_is_what_was_signed_and_how_far_it_has_come() -> None:
    assert issubclass(Payment, Signed)
    assert len(NAMES) == len(set(NAMES)) == len(fields(Signed)) + len(Payment.__annotations__)
    assert set(Purchase._fields) < set(NAMES)


@pytest.mark.parametrize("order", [NAMES, sorted(NAMES), sorted(NAMES, reverse=True)])
def test_a_journal_with_its_columns_in_another_order_is_read_and_written(tmp_path: Path, order: list[str]) -> None:
    file = tmp_path / "state" / "payments.sqlite3"
    file.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(file)) as connection:
        key = "PRIMARY KEY (url, image, period, attempt)"
        connection.execute(f"CREATE TABLE payments ({', '.join(order)}, {key}) WITHOUT ROWID")
        connection.execute("PRAGMA user_version = 1")
    file.chmod(0o600)
    made, is_new = Journal(file).reserve(PURCHASE, 10_000, Budget(20_000, "lock", 0.0), lambda _: SIGNED)
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
    made, _ = journal.reserve(PURCHASE, 10_000, Budget(20_000, "lock", 0.0), lambda _: SIGNED)
    journal.keep_token(made, "token-canary", 1.0, None)
    assert "cheque" not in repr(SIGNED) + repr(made)
    assert "canary" not in repr(journal.find(PURCHASE))
