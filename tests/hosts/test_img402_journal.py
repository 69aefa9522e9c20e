"""The payment journal: durable, private, and one budget for all processes."""

import os
import sqlite3
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imghost.errors import BudgetError, StateError
from imghost.hosts.img402.journal import (
    Budget,
    Journal,
    Payment,
    Purchase,
    Sent,
    Signed,
    State,
    Step,
    journal_of,
    lock_name,
)

URL = "https://img402.dev/api/upload/token"
HOST = "https://img402.dev"
HEADER = "canary-of-a-cheque"
posix = pytest.mark.skipif(os.name == "nt", reason="modes and owners are POSIX's")


def a_purchase(number: int = 0, period: int = 0) -> Purchase:
    return Purchase(HOST, f"{number:064x}", period)


def a_sent(number: int = 0, variant: str = "") -> Sent:
    return Sent(f"{number + 1000:064x}", 200, "image/png", variant)


def signing(amount: int = 10_000, calls: list[int] | None = None) -> Callable[[Step], Signed]:
    def sign(step: Step) -> Signed:
        if calls is not None:
            calls.append(step.attempt)
        return Signed("X-PAYMENT", HEADER, 1, "0xpayer", "0xpayee", amount, "0xnonce", 2_000_000_000, URL)

    return sign


def a_budget(atoms: int = 1_000_000, lock: str = "", since: int = 0) -> Budget:
    return Budget(atoms, lock, since)


def reserved(journal: Journal, number: int = 0, budget: Budget | None = None, amount: int = 10_000) -> Payment:
    return journal.reserve(a_purchase(number), a_sent(number), amount, budget or a_budget(), signing(amount))[0]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / "payments.sqlite3")


def test_a_signed_payment_is_found_by_a_later_build_with_its_header(journal: Journal) -> None:
    made = reserved(journal)
    found = Journal(journal.file).find(a_purchase())
    assert found == made
    assert found is not None
    assert (found.state, found.header, found.amount, found.attempt) == (State.SIGNED, HEADER, 10_000, 0)
    assert journal.find(a_purchase(1)) is None
    assert journal.find(a_purchase(0, period=7)) == made, "an open payment stops a renewal, too"
    assert journal.find(Purchase("https://other.example", a_purchase().image)) is None


def test_the_states_follow_one_another_and_the_cheque_is_dropped_when_done(journal: Journal) -> None:
    made = reserved(journal)
    journal.keep_token(made, "canary-of-a-token", 99.0, "0xtransaction")
    found = journal.find(a_purchase())
    assert found is not None
    assert (found.state, found.token, found.paid_by) == (State.TOKEN, "canary-of-a-token", "0xtransaction")
    journal.finish(made, "https://i.img402.dev/a.png", "a", None, None)
    found = journal.find(a_purchase())
    assert found is not None
    assert (found.state, found.hosted, found.paid_by) == (State.DONE, "https://i.img402.dev/a.png", "0xtransaction")
    assert (found.header, found.token, found.token_expires) == (None, None, None)
    assert b"canary" not in journal.file.read_bytes()


def test_a_later_refusal_does_not_undo_what_another_process_got(journal: Journal) -> None:
    made = reserved(journal)
    journal.finish(made, "https://i.img402.dev/a.png", "a", None, None)
    journal.refuse(made, State.LOST, 1)
    found = journal.find(a_purchase())
    assert found is not None
    assert found.state is State.DONE


def test_the_same_purchase_is_signed_once(journal: Journal) -> None:
    calls: list[int] = []
    first = journal.reserve(a_purchase(), a_sent(), 10_000, a_budget(), signing(calls=calls))
    second = journal.reserve(a_purchase(), a_sent(), 10_000, a_budget(), signing(calls=calls))
    assert (first[1], second[1]) == (True, False)
    assert first[0] == second[0]
    assert calls == [0]


def test_a_void_payment_is_replaced_under_the_same_number_of_attempt(journal: Journal) -> None:
    calls: list[int] = []
    made = reserved(journal)
    journal.refuse(made, State.VOID, 1)
    again, is_new = journal.reserve(a_purchase(), a_sent(), 10_000, a_budget(), signing(calls=calls))
    assert (calls, is_new, again.attempt, again.refusals) == ([0], True, 0, 1)


def test_only_the_user_can_allow_another_attempt(journal: Journal) -> None:
    calls: list[int] = []
    made = reserved(journal)
    journal.refuse(made, State.LOST, 1)
    assert not journal.reserve(a_purchase(), a_sent(), 10_000, a_budget(), signing(calls=calls))[1]
    assert journal.allow_again(a_purchase().image) == 1
    again, is_new = journal.reserve(a_purchase(), a_sent(), 10_000, a_budget(), signing(calls=calls))
    assert (calls, is_new, again.attempt) == ([1], True, 1)


def test_a_signature_that_fails_leaves_nothing(journal: Journal) -> None:
    def sign(_: Step) -> Signed:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        journal.reserve(a_purchase(), a_sent(), 10_000, a_budget(), sign)
    assert journal.find(a_purchase()) is None


def test_a_build_cannot_spend_more_than_its_budget(journal: Journal) -> None:
    for number in range(3):
        reserved(journal, number, a_budget(30_000))
    calls: list[int] = []
    with pytest.raises(BudgetError, match="max_cost"):
        journal.reserve(a_purchase(3), a_sent(3), 10_000, a_budget(30_000), signing(calls=calls))
    assert calls == []


def test_unresolved_payments_of_the_lock_count_against_a_later_build_and_finished_ones_do_not(tmp_path: Path) -> None:
    now = [1_000.0]
    journal = Journal(tmp_path / "payments.sqlite3", clock=lambda: now[0])
    lost = reserved(journal, 0)
    journal.refuse(lost, State.LOST, 1)
    journal.finish(reserved(journal, 1), "https://i.img402.dev/a.png", "a", None, None)
    later = a_budget(20_000, since=journal.last())
    now[0] = 3_000.0
    reserved(journal, 2, later)
    with pytest.raises(BudgetError):
        reserved(journal, 3, later)


def test_what_a_build_has_finished_counts_against_itself_and_those_beside_it(journal: Journal) -> None:
    journal.finish(reserved(journal, 0), "https://i.img402.dev/a.png", "a", None, None)
    with pytest.raises(BudgetError):
        reserved(journal, 1, a_budget(10_000, since=0))


def test_what_another_lock_has_open_counts_and_what_it_finished_does_not(journal: Journal, tmp_path: Path) -> None:
    """Else a lock that is renamed frees the budget again."""
    mine, other = tmp_path / "imghost.lock", tmp_path / "other.lock"
    made = reserved(journal, 0, a_budget(10_000, lock_name(other)))
    with pytest.raises(BudgetError):
        reserved(journal, 1, a_budget(10_000, lock_name(mine)))
    journal.finish(made, "https://i.img402.dev/a.png", "a", None, None)
    reserved(journal, 1, a_budget(10_000, lock_name(mine)))
    assert journal.unresolved(mine) == journal.unresolved() == Decimal("0.01")
    assert journal.spent(mine) == 0
    assert journal.spent(other) == Decimal("0.01")


def test_the_first_payment_of_a_journal_counts_against_the_build_that_made_it(journal: Journal) -> None:
    assert journal.last() == 0
    journal.prepare()
    assert journal.last() == 0
    budget = a_budget(10_000, since=journal.last())
    journal.finish(reserved(journal, 0, budget), "https://i.img402.dev/a.png", "a", None, None)
    assert journal.last() == 1
    with pytest.raises(BudgetError):
        reserved(journal, 1, budget)


def test_a_renewal_begins_without_the_refusals_of_what_it_renews(journal: Journal) -> None:
    made = reserved(journal)
    journal.refuse(made, State.SIGNED, 2)
    journal.finish(made, "https://i.img402.dev/a.png", "a", 5_000.0, None)
    again, is_new = journal.reserve(a_purchase(), a_sent(), 10_000, a_budget(), signing(), lambda _: False)
    assert (is_new, again.period, again.refusals) == (True, 5_000, 0)


def test_a_clock_that_steps_back_frees_no_budget(tmp_path: Path) -> None:
    now = [1_000_000.0]
    journal = Journal(tmp_path / "payments.sqlite3", clock=lambda: now[0])
    budget = a_budget(30_000)
    for number in range(3):
        journal.finish(reserved(journal, number, budget), "https://i.img402.dev/a.png", "a", None, None)
        now[0] -= 100_000.0
    with pytest.raises(BudgetError):
        reserved(journal, 3, budget)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=8))
def test_spent_and_unresolved_add_up_to_what_was_signed(amounts: list[tuple[int, bool]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        journal, lock = Journal(Path(folder) / "j"), Path(folder) / "imghost.lock"
        for number, (amount, is_finished) in enumerate(amounts):
            made = reserved(journal, number, a_budget(10**9, lock_name(lock)), amount)
            if is_finished:
                journal.finish(made, "u", "i", None, None)
        spent, unresolved = journal.spent(lock), journal.unresolved(lock)
    assert spent == Decimal(sum(amount for amount, is_finished in amounts if is_finished)) / 1_000_000
    assert spent + unresolved == Decimal(sum(amount for amount, _ in amounts)) / 1_000_000


def test_looking_does_not_make_the_file(journal: Journal) -> None:
    assert journal.find(a_purchase()) is None
    assert journal.spent(Path("imghost.lock")) == journal.unresolved(Path("imghost.lock")) == 0
    assert not journal.file.parent.exists()


def test_eight_threads_share_one_budget(journal: Journal) -> None:
    made: list[int] = []

    def pay(number: int) -> None:
        try:
            reserved(journal, number, a_budget(30_000))
        except BudgetError:
            return
        made.append(number)

    threads = [threading.Thread(target=pay, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 3


@posix
def test_file_and_folder_are_the_users_alone(journal: Journal) -> None:
    old = os.umask(0)
    try:
        journal.prepare()
    finally:
        os.umask(old)
    assert stat.S_IMODE(journal.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.file.parent.stat().st_mode) == 0o700
    journal.file.chmod(0o644)
    reserved(journal)
    assert stat.S_IMODE(journal.file.stat().st_mode) == 0o600


@posix
def test_a_link_in_the_journals_place_is_refused(journal: Journal, tmp_path: Path) -> None:
    journal.file.parent.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"")
    journal.file.symlink_to(elsewhere)
    with pytest.raises(StateError, match="regular file"):
        journal.prepare()


@posix
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_place_that_cannot_be_written_is_an_error_with_the_remedy() -> None:
    with pytest.raises(StateError, match="IMGHOST_STATE_DIR"):
        Journal(Path("/proc/imghost/payments.sqlite3")).prepare()


@pytest.mark.parametrize(
    "content", [b"not a database, and long enough to be read as one" * 100, b"SQLite format 3\0" * 9]
)
def test_a_broken_journal_is_an_error_and_is_left_as_it_is(journal: Journal, content: bytes) -> None:
    journal.file.parent.mkdir()
    journal.file.write_bytes(content)
    calls: list[int] = []
    with pytest.raises(StateError, match="cannot be used"):
        journal.reserve(a_purchase(), a_sent(), 10_000, a_budget(), signing(calls=calls))
    assert (calls, journal.file.read_bytes()) == ([], content)


def test_a_later_versions_journal_is_not_touched(journal: Journal) -> None:
    journal.prepare()
    with closing(sqlite3.connect(journal.file)) as connection:
        connection.execute("PRAGMA user_version = 3")
    with pytest.raises(StateError, match="newer"):
        journal.find(a_purchase())


@pytest.mark.skipif(sys.platform != "linux", reason="a full disk is /dev/full's file limit here")
def test_a_full_disk_signs_nothing_and_keeps_what_was_there(journal: Journal) -> None:
    import resource

    reserved(journal)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    import signal

    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(StateError):
            reserved(journal, 1)
    finally:
        signal.signal(signal.SIGXFSZ, old)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert journal.find(a_purchase()) is not None
    assert journal.find(a_purchase(1)) is None


def test_a_write_is_synced_with_its_folder(journal: Journal) -> None:
    with closing(journal._opened()) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (3,)
        assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)


def test_nothing_secret_shows_in_a_repr(journal: Journal) -> None:
    made = reserved(journal)
    assert HEADER not in repr(made) + str(made) + repr(signing()(0))
    assert HEADER not in repr(replace(made, token="canary"))
    assert "canary" not in repr(replace(made, token="canary"))


def test_each_platform_has_its_place(tmp_path: Path) -> None:
    home = tmp_path.resolve()
    environ = {"HOME": str(home), "USERPROFILE": str(home)}
    name = "payments.sqlite3"
    assert journal_of(environ, platform="linux").file == home / ".local/state/imghost" / name
    state = {**environ, "XDG_STATE_HOME": str(home / "xdg")}
    assert journal_of(state, platform="linux").file == home / "xdg/imghost" / name
    assert journal_of({**environ, "XDG_STATE_HOME": "rel"}, platform="linux").file.is_relative_to(home / ".local")
    assert journal_of(environ, platform="darwin").file == home / "Library/Application Support/imghost" / name
    assert journal_of(environ, platform="win32").file == home / "AppData/Local/imghost" / name
    local = {"LOCALAPPDATA": str(home / "local")}
    assert journal_of(local, platform="win32").file == home / "local/imghost" / name
    named = {**state, "IMGHOST_STATE_DIR": str(home / "named")}
    assert journal_of(named, platform="linux").file == home / "named" / name


def test_without_a_home_the_message_names_the_variable() -> None:
    with pytest.raises(StateError, match="IMGHOST_STATE_DIR"):
        journal_of({}, platform="linux")


def test_a_place_that_git_commits_or_ci_caches_is_refused_unless_it_is_named(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    (project / "docs").mkdir()
    inside = {"HOME": str(project), "XDG_STATE_HOME": str(project / "state")}
    with pytest.raises(StateError, match="git checkout"):
        journal_of(inside, project / "docs", platform="linux")
    cache = tmp_path / "cache"
    with pytest.raises(StateError, match="cache"):
        journal_of({"XDG_STATE_HOME": str(cache / "x")}, project, cache, platform="linux")
    named = {**inside, "IMGHOST_STATE_DIR": str(project / "state")}
    assert journal_of(named, project, project / "state").file.is_relative_to(project.resolve())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("state", "paid"), ("state", b"signed"), ("amount", "10000"), ("amount", -1), ("amount", 1e4)),
        *(("signed_at", None), ("expires", float("inf")), ("header", 7), ("attempt", 10**12)),
    ],
)
def test_a_line_that_no_version_has_written_is_refused_in_words(journal: Journal, column: str, value: object) -> None:
    """Else a broken file ends a build in a traceback, or its sum lets a budget be overdrawn."""
    reserved(journal, budget=a_budget(lock=lock_name(journal.file)))
    with closing(sqlite3.connect(journal.file)) as connection, connection:
        connection.execute(f"UPDATE payments SET {column} = ?", (value,))
    asks: list[Callable[[], object]] = [
        lambda: journal.find(a_purchase()),
        lambda: journal.unresolved(journal.file),
        lambda: journal.spent(journal.file),
        lambda: reserved(journal, 1, a_budget(lock=lock_name(journal.file))),
    ]
    for ask in asks:
        with pytest.raises(StateError, match=f"a payment's {column} makes no sense|is not a valid State"):
            ask()
