"""The payment journal: its values, its file, its place."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

from imghost.errors import BudgetError, StateError
from imghost.files import git_top, sync_folder
from imghost.hosts.img402.x402 import ATOMS, dollars
from imghost.wording import printable


class State(StrEnum):
    """How far a purchase has come."""

    SIGNED = "signed"
    """Perhaps sent, perhaps settled."""
    TOKEN = "token"  # noqa: S105 - a state's name
    """Settled; the upload is due."""
    DONE = "done"
    LOST = "lost"
    """Settled as far as can be known, and nothing was given for it."""
    VOID = "void"
    """Too old to be cashed, and the host does not know of it."""


UNRESOLVED: Final = (State.SIGNED, State.TOKEN, State.LOST)


class Purchase(NamedTuple):
    """What is bought: a token from this URL for these bytes; `period` changes with each renewal."""

    url: str
    image: str
    """SHA-256 of the payload."""
    period: int = 0


@dataclass(frozen=True, slots=True)
class Signed:
    """A payment, ready to be sent."""

    name: str
    header: str | None
    """The cheque: whoever has it can cash it, once. The journal drops it when the image is there."""
    version: int
    payer: str
    pay_to: str
    amount: int
    """Atomic units."""
    nonce: str
    valid_before: int

    def __repr__(self) -> str:
        return f"Signed(amount={self.amount}, nonce={self.nonce!r})"


@dataclass(frozen=True, slots=True)
class Payment(Signed):
    """One line of the journal: what was signed, for what, and how far it has come."""

    url: str
    image: str
    period: int
    attempt: int
    lock: str
    state: State
    token: str | None
    token_expires: float | None
    hosted: str | None
    hosted_id: str | None
    expires: float | None
    paid_by: str | None
    """The settlement's transaction."""
    refusals: int
    again: int
    """Whether the user allowed another attempt for a lost payment."""
    signed_at: float
    changed_at: float

    def __repr__(self) -> str:
        return f"Payment({self.image[:12]}, {self.state}, amount={self.amount})"


COLUMNS: Final = tuple(field.name for field in fields(Payment))
_TYPES: Final = {"str": (str,), "State": (str,), "int": (int,), "float": (int, float)}
_LAST: Final = 253_402_300_800
"""Seconds, and a number that none of a payment's reaches: the year 10,000, and more dollars than there are."""


def read_payment(row: Sequence[Any]) -> Payment:
    """Read a line of the journal, in the order of `COLUMNS`; raises ValueError where it makes no sense."""
    values = dict(zip(COLUMNS, row, strict=True))
    for field in fields(Payment):
        value, (kind, *optional) = values[field.name], str(field.type).split(" | ")
        is_sound = (value is None and optional) or type(value) in _TYPES[kind]
        if not is_sound or (isinstance(value, (int, float)) and not 0 <= value < _LAST):
            raise ValueError(f"a payment's {field.name} makes no sense")
    return Payment(**{**values, "state": State(values["state"])})


class Budget(NamedTuple):
    """What one build may spend, what earlier builds of its lock left unresolved included."""

    atoms: int
    lock: str
    since: float
    """When this build began: what was signed since, by whichever process, counts."""


# One SQLite file in the user's state folder, outside what git commits and CI caches: a signed payment is a
# cheque for whoever has it. Writes are one transaction each, so that the budget holds between processes.
WAIT: Final = 30.0
"""Seconds to wait for another process that writes."""
_VERSION: Final = 1
_GUARD: Final = threading.Lock()


_CREATE: Final = f"""CREATE TABLE payments (
    {", ".join(COLUMNS)}, PRIMARY KEY (url, image, period, attempt)
) WITHOUT ROWID"""

# By name, since a journal may have its columns in another order.
_INSERT: Final = f"""INSERT OR REPLACE INTO payments ({", ".join(COLUMNS)})
    VALUES ({", ".join(f":{column}" for column in COLUMNS)})"""  # noqa: S608 - names of ours


class Journal:
    """The journal in one file, made at the first write; safe to share between threads and processes."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self.file = file
        self._clock = clock

    def prepare(self) -> None:
        """Make the file ready, before anything is paid; raises StateError."""
        with self._transaction():
            pass

    def find(self, purchase: Purchase) -> Payment | None:
        """Find how far a purchase has come: its latest attempt."""
        if not self._is_there():
            return None
        with self._transaction() as connection:
            return _latest(connection, purchase)

    def reserve(
        self, purchase: Purchase, amount: int, budget: Budget, sign: Callable[[int], Signed]
    ) -> tuple[Payment, bool]:
        """Reserve the amount and keep the signed payment, in one durable step.

        `sign` gets the attempt's number; it is not called where another process has signed already.
        The flag says whether this call signed. Raises BudgetError and StateError; then nothing is kept.
        """
        with self._transaction() as connection:
            known = _latest(connection, purchase)
            if known and known.state is not State.VOID and not known.again:
                return known, False
            left = budget.atoms - _committed(connection, budget)
            if amount > left:
                raise BudgetError(
                    f"${dollars(amount)} more would be over max_cost (${dollars(budget.atoms)}), of which "
                    f"${dollars(max(left, 0))} is left; set a larger max_cost, or see `imghost status`"
                )
            attempt = 0 if known is None else known.attempt + known.again
            made = _payment(purchase, attempt, budget.lock, sign(attempt), self._clock(), known)
            values = {column: getattr(made, column) for column in COLUMNS}
            connection.execute(_INSERT, values)
        return made, True

    def keep_token(self, payment: Payment, token: str, expires: float, paid_by: str | None) -> None:
        """Keep the token that a payment bought."""
        self._change(
            payment, UNRESOLVED, state=State.TOKEN, token=token, token_expires=expires, **_known(paid_by=paid_by)
        )

    def finish(self, payment: Payment, url: str, name: str, expires: float | None, paid_by: str | None) -> None:
        """Keep what a payment bought, and drop the cheque and the token."""
        gone = {"header": None, "token": None, "token_expires": None}
        self._change(
            payment,
            tuple(State),
            state=State.DONE,
            hosted=url,
            hosted_id=name,
            expires=expires,
            **gone,
            **_known(paid_by=paid_by),
        )

    def refuse(self, payment: Payment, state: State, refusals: int) -> None:
        """Keep that the host will not take a payment any more, unless another process got further with it."""
        self._change(payment, (State.SIGNED, State.LOST), state=state, refusals=refusals)

    def allow_again(self, image: str) -> int:
        """Let a lost payment's image be paid for once more; gives how many were."""
        with self._transaction() as connection:
            text = "UPDATE payments SET again = 1 WHERE image = ? AND state = 'lost'"
            return connection.execute(text, (image,)).rowcount

    def lost(self, lock: Path) -> tuple[str, ...]:
        """List the images (digests of what was sent) that were paid for a lock and never given."""
        if not self._is_there():
            return ()
        with self._transaction() as connection:
            found = _payments(connection, "lock = ? AND state = 'lost' AND again = 0 ORDER BY image", lock_name(lock))
            return tuple(payment.image for payment in found)

    def spent(self, lock: Path) -> Decimal:
        """Sum up the dollars that bought images for a lock."""
        return self._sum(lock, (State.DONE,))

    def unresolved(self, lock: Path) -> Decimal:
        """Sum up the dollars that were signed for a lock and have not bought an image yet."""
        return self._sum(lock, UNRESOLVED)

    def _sum(self, lock: Path, states: tuple[State, ...]) -> Decimal:
        if not self._is_there():
            return Decimal(0)
        with self._transaction() as connection:
            found = _payments(connection, "lock = ?", lock_name(lock))
            return Decimal(sum(payment.amount for payment in found if payment.state in states)) / ATOMS

    def _change(self, payment: Payment, only: tuple[State, ...], **values: object) -> None:
        values = {**values, "changed_at": self._clock()}
        key = {"url": payment.url, "image": payment.image, "period": payment.period, "attempt": payment.attempt}
        sets = ", ".join(f"{column} = :{column}" for column in values)
        where = " AND ".join(f"{column} = :key_{column}" for column in key)
        states = ", ".join(f"'{state}'" for state in only)
        text = f"UPDATE payments SET {sets} WHERE {where} AND state IN ({states})"  # noqa: S608 - names of ours
        with self._transaction() as connection:
            connection.execute(text, {**values, **{f"key_{column}": value for column, value in key.items()}})

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Open the file and hold it for writing; what happens inside is kept as a whole, durably, or not at all."""
        try:
            with _GUARD, closing(self._opened()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    _check_version(connection)
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
        except (OSError, UnicodeError, sqlite3.Error) as problem:  # SQLite's own words repeat a broken file's bytes
            reason = f"the payment journal {self.file} cannot be used: {printable(problem)}"
        else:
            return
        raise StateError(f"{reason}; make room or repair it, or name another folder in IMGHOST_STATE_DIR")

    def _is_there(self) -> bool:
        try:
            self.file.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as problem:
            reason = f"the payment journal {self.file} cannot be read: {problem.strerror}"
        else:
            return True
        raise StateError(f"{reason}; change its folder's mode, or name another folder in IMGHOST_STATE_DIR")

    def _opened(self) -> sqlite3.Connection:
        _make_private(self.file)
        connection = sqlite3.connect(self.file, timeout=WAIT, isolation_level=None)
        # EXTRA is FULL, and syncs the folder too, without which a loss of power can undo the last step.
        for setting in ("trusted_schema=OFF", "secure_delete=ON", "synchronous=EXTRA", "fullfsync=ON"):
            connection.execute(f"PRAGMA {setting}")
        return connection


def lock_name(lock: Path | None) -> str:
    """Name a lock in the journal: its whole path."""
    return "" if lock is None else str(lock.resolve())


def _latest(connection: sqlite3.Connection, purchase: Purchase) -> Payment | None:
    where = "url = ? AND image = ? AND period = ? ORDER BY attempt DESC LIMIT 1"
    return next(iter(_payments(connection, where, purchase.url, purchase.image, purchase.period)), None)


def _payments(connection: sqlite3.Connection, where: str, *values: object) -> list[Payment]:
    """Read lines of the journal; raises DatabaseError for one that no version has written."""
    text = f"SELECT {', '.join(COLUMNS)} FROM payments WHERE {where}"  # noqa: S608 - names of ours
    try:
        return [read_payment(row) for row in connection.execute(text, values)]
    except ValueError as problem:
        raise sqlite3.DatabaseError(str(problem)) from None


def _committed(connection: sqlite3.Connection, budget: Budget) -> int:
    """Sum up what counts against a budget; the cheque that is being replaced is void, and counts no more."""
    return sum(
        payment.amount
        for payment in _payments(connection, "lock = ?", budget.lock)
        if payment.state in UNRESOLVED or (payment.state is State.DONE and payment.signed_at >= budget.since)
    )


def _payment(
    purchase: Purchase, attempt: int, lock: str, signed: Signed, now: float, replaced: Payment | None
) -> Payment:
    return Payment(
        **{field.name: getattr(signed, field.name) for field in fields(Signed)},
        url=purchase.url,
        image=purchase.image,
        period=purchase.period,
        attempt=attempt,
        lock=lock,
        state=State.SIGNED,
        token=None,
        token_expires=None,
        hosted=None,
        hosted_id=None,
        expires=None,
        paid_by=None,
        refusals=replaced.refusals if replaced and replaced.attempt == attempt else 0,
        again=0,
        signed_at=now,
        changed_at=now,
    )


def _known(**values: str | None) -> dict[str, Any]:
    """Leave out what is not known, so that it is not written over what is."""
    return {name: value for name, value in values.items() if value is not None}


def _check_version(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.execute(_CREATE)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    elif version != _VERSION:
        raise sqlite3.DatabaseError(f"it is of version {version}, which only a newer imghost can read")


def _make_private(file: Path) -> None:
    """Make folder and file for this user alone; what SQLite puts beside the file takes its mode."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        # Never opened again here: closing any descriptor of the file would drop SQLite's own locks on it.
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        sync_folder(file.parent)
        sync_folder(file.parent.parent)
    except FileExistsError:
        _check_private(file)


def _check_private(file: Path) -> None:
    found = file.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is not a regular file")
    if os.name == "posix":
        if found.st_uid != os.geteuid():
            raise OSError("it belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            file.chmod(0o600)


FILE: Final = "payments.sqlite3"
VARIABLE: Final = "IMGHOST_STATE_DIR"


def journal_of(
    environ: Mapping[str, str], folder: Path | None = None, cache_dir: Path | None = None, platform: str = sys.platform
) -> Journal:
    """Give the journal of this user; nothing is made yet.

    Raises:
        StateError: it would lie in the checkout that holds `folder`, or in `cache_dir`, and IMGHOST_STATE_DIR
            does not say so.
    """
    if named := environ.get(VARIABLE):
        return Journal(Path(named).expanduser().resolve() / FILE)
    place = _state_folder(environ, platform).resolve()
    top = git_top(folder.resolve()) if folder else None
    for what, where in (("the git checkout", top), ("the cache", cache_dir)):
        if where and place.is_relative_to(where.resolve()):
            raise StateError(f"the payment journal would be in {what}, at {place}; name another folder in {VARIABLE}")
    return Journal(place / FILE)


def _state_folder(environ: Mapping[str, str], platform: str) -> Path:
    """Give the platform's folder for what programs keep between runs."""
    if platform == "win32":
        local = environ.get("LOCALAPPDATA")
        return (Path(local) if local else _home(environ, "USERPROFILE") / "AppData" / "Local") / "imghost"
    if platform == "darwin":
        return _home(environ, "HOME") / "Library" / "Application Support" / "imghost"
    state = environ.get("XDG_STATE_HOME", "")
    # The XDG specification says to ignore a path that is not absolute.
    return (Path(state) if Path(state).is_absolute() else _home(environ, "HOME") / ".local" / "state") / "imghost"


def _home(environ: Mapping[str, str], variable: str) -> Path:
    if home := environ.get(variable):
        return Path(home)
    raise StateError(f"there is no place for the payment journal, since {variable} is not set; set {VARIABLE}")
