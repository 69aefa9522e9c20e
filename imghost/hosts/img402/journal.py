"""The payment journal: its values, its file, its place."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from imghost.errors import BudgetError, StateError
from imghost.files import git_top, sync_folder
from imghost.hosts.img402.x402 import ATOMS, dollars
from imghost.models import NamedTuple
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
    """What is bought: a place for an image at a host, for the time that follows `period`.

    These three are one purchase, whatever else changes: wallet, tier, what was done to the bytes before they
    were sent, how the host's address is spelt, which lock asks.
    """

    host: str
    """The host's normalised address."""
    image: str
    """SHA-256 of the file as it is in the site."""
    period: int = 0
    """When the image ends that is renewed, as the host promised it, in Unix seconds; 0 = the first purchase."""

    @property
    def is_due(self) -> bool:
        """Whether the run asks for a renewal."""
        return self.period > 0


class Sent(NamedTuple):
    """What is uploaded for an image: an attribute of its purchase."""

    payload: str
    """SHA-256 of what is sent."""
    bytes: int
    media_type: str
    variant: str


class Step(NamedTuple):
    """What is signed next for a purchase."""

    period: int
    attempt: int
    nonce: str | None = None
    """The number of the void payment that this one takes the place of; the chain moves money once for both."""
    payer: str | None = None
    """Who signed that one: nobody else has its number."""
    ended: int = 0
    """When that one ran out."""


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
    url: str
    """Where it is sent, spelt as it was signed for: a payment sent again is the same bytes to the same place."""

    def __repr__(self) -> str:
        return f"Signed(amount={self.amount}, nonce={self.nonce!r})"


@dataclass(frozen=True, slots=True)
class Payment(Signed):
    """One line of the journal: what was signed, for what, and how far it has come."""

    id: int
    """Counts up with each payment; lines are never replaced."""
    host: str
    image: str
    """Empty in a line of the first version, which knew the payload alone."""
    period: int
    attempt: int
    lock: str
    state: State
    payload: str
    bytes: int | None
    media_type: str | None
    variant: str | None
    """What was sent last for it; None in a line of the first version."""
    token: str | None
    token_expires: float | None
    hosted: str | None
    hosted_id: str | None
    expires: float | None
    paid_by: str | None
    """The settlement's transaction."""
    refusals: int
    again: int
    """Whether the user allowed another attempt: the payment, or what it bought, is lost."""
    signed_at: float
    changed_at: float

    def __repr__(self) -> str:
        return f"Payment({self.image[:12] or self.payload[:12]}, {self.state}, amount={self.amount})"

    @property
    def is_open(self) -> bool:
        """Whether it may still buy its image, or may have and did not: nothing else is signed for it meanwhile."""
        return self.state in {State.SIGNED, State.TOKEN} or (self.state is State.LOST and not self.again)

    def lasts(self, now: float, is_due: bool) -> bool:
        """Say whether what it bought stands; `is_due` asks for a renewal, in the last quarter of its own life."""
        if self.expires is None:
            return True
        return self.expires - now > ((self.expires - self.changed_at) / 4 if is_due else 0)

    @property
    def next_step(self) -> Step:
        """What to sign when it decides nothing any more: the renewal, the next attempt, or its number anew."""
        if self.state is State.DONE and not self.again:
            return Step(int(self.expires or 0), 0)
        if self.state is State.VOID:
            return Step(self.period, self.attempt, self.nonce, self.payer, self.valid_before)
        return Step(self.period, self.attempt + 1)


Judge = Callable[[Payment], bool]
"""Says whether what a payment bought is what is wanted now, so that nothing more is bought."""


def has_bought(payment: Payment) -> bool:
    """Say whether a payment bought an image that is not known to be lost."""
    return payment.state is State.DONE and not payment.again


def deciding(payments: Sequence[Payment], serves: Judge = has_bought) -> Payment | None:
    """Choose the payment that decides what becomes of a purchase, of all for one image at one host.

    What was bought and serves comes first, then what is still open (the furthest, then the first), so that
    neither another wallet nor another tier ever pays beside it; else the last one.
    """
    if serving := [payment for payment in payments if serves(payment)]:
        return max(serving, key=lambda payment: (payment.expires is None, payment.expires or 0, payment.id))
    if standing := [payment for payment in payments if payment.is_open]:
        order = (State.TOKEN, State.SIGNED, State.LOST)
        return min(standing, key=lambda payment: (order.index(payment.state), payment.id))
    return max(payments, key=lambda payment: payment.id, default=None)


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
    """What one build may spend, what is unresolved at the host included, whichever lock it was signed for."""

    atoms: int
    lock: str
    since: int = 0
    """The last payment in the journal when this build began; later ones of its lock count, whoever made them.

    No clock is asked, which may step back.
    """


# One SQLite file in the user's state folder, outside what git commits and CI caches: a signed payment is a
# cheque for whoever has it. Writes are one transaction each, so that the budget holds between processes.
WAIT: Final = 30.0
"""Seconds to wait for another process that writes."""
_VERSION: Final = 2
_GUARD: Final = threading.Lock()


_CREATE: Final = f"""CREATE TABLE payments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, {", ".join(column for column in COLUMNS if column != "id")}
)"""
_SAME: Final = "host = :host AND (image = :image OR payload = :payload) ORDER BY id"
"""One image at one host, or the same bytes sent for another: what these have bought serves both."""


class Journal:
    """The journal in one file, made at the first write; safe to share between threads and processes."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self.file = file
        self._clock = clock

    def prepare(self) -> None:
        """Make the file ready, before anything is paid; raises StateError."""
        with self._transaction():
            pass

    def last(self) -> int:
        """Give the number of the last payment; 0 = none yet."""
        if not self._is_there():
            return 0
        with self._transaction() as connection:
            return int(connection.execute("SELECT coalesce(max(id), 0) FROM payments").fetchone()[0])

    def find(self, purchase: Purchase, payload: str = "", serves: Judge = has_bought) -> Payment | None:
        """Find the payment that decides what becomes of an image, whatever its period."""
        if not self._is_there():
            return None
        with self._transaction() as connection:
            return _deciding(connection, purchase, payload, serves)

    def read(self, payment: Payment) -> Payment:
        """Read a payment anew, which another process may have taken further."""
        with self._transaction() as connection:
            return next(iter(_payments(connection, "id = :id", id=payment.id)), payment)

    def reserve(
        self,
        purchase: Purchase,
        sent: Sent,
        amount: int,
        budget: Budget,
        sign: Callable[[Step], Signed],
        serves: Judge = has_bought,
    ) -> tuple[Payment, bool]:
        """Reserve the amount and keep the signed payment, in one durable step.

        `sign` is not called where a payment decides already: one that is open, or has bought what `serves`.
        The flag says whether this call signed. Raises BudgetError and StateError; then nothing is kept.
        """
        with self._transaction() as connection:
            known = _deciding(connection, purchase, sent.payload, serves)
            if known and (known.is_open or serves(known)):
                return known, False
            left = budget.atoms - _committed(connection, purchase.host, budget)
            if amount > left:
                raise BudgetError(
                    f"${dollars(amount)} more would be over max_cost (${dollars(budget.atoms)}), of which "
                    f"${dollars(max(left, 0))} is left; set a larger max_cost, or see `imghost status`"
                )
            step = known.next_step if known else Step(purchase.period, 0)
            made = _payment(purchase, step, sent, budget.lock, sign(step), self._clock(), known)
            return replace(made, id=_insert(connection, made)), True

    def keep_sent(self, payment: Payment, sent: Sent) -> Payment:
        """Note, before it is sent, what is uploaded with an open payment; gives the payment as it is then."""
        self._change(payment, UNRESOLVED, **sent._asdict())
        return replace(payment, **sent._asdict())

    def keep_token(self, payment: Payment, token: str, expires: float, paid_by: str | None) -> None:
        """Keep the token that a payment bought."""
        self._change(
            payment, UNRESOLVED, state=State.TOKEN, token=token, token_expires=expires, **_known(paid_by=paid_by)
        )

    def finish(self, payment: Payment, url: str, name: str, expires: float | None, paid_by: str | None) -> None:
        """Keep what a payment bought for what was last sent, and drop the cheque and the token."""
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

    def allow_again(self, digest: str) -> int:
        """Let an image be paid for once more whose payment, or whose copy at the host, is lost.

        The digest is the image's or its payload's, or the first 8 digits of it at least. Gives how many payments
        were found; those that are still open are none of them.
        """
        if not re.fullmatch("[0-9a-f]{8,64}", digest):
            return 0
        with self._transaction() as connection:
            text = """UPDATE payments SET again = 1 WHERE state IN ('lost', 'done')
                AND (substr(image, 1, :length) = :digest OR substr(payload, 1, :length) = :digest)"""
            return connection.execute(text, {"digest": digest, "length": len(digest)}).rowcount

    def lost(self, lock: Path) -> tuple[str, ...]:
        """List the images (their digests) that were paid for a lock and never given."""
        found = self._all(lock)
        return tuple(
            sorted(
                payment.image or payment.payload for payment in found if payment.is_open and payment.state is State.LOST
            )
        )

    def spent(self, lock: Path) -> Decimal:
        """Sum up the dollars that bought images for a lock."""
        return _dollars(payment for payment in self._all(lock) if payment.state is State.DONE)

    def unresolved(self, lock: Path | None = None) -> Decimal:
        """Sum up the dollars that were signed, for a lock or at all, and have not bought an image yet."""
        return _dollars(payment for payment in self._all(lock) if payment.state in UNRESOLVED)

    def _all(self, lock: Path | None) -> list[Payment]:
        """List the payments that a lock asked for, or all of them."""
        if not self._is_there():
            return []
        with self._transaction() as connection:
            return _payments(connection, "lock = :lock OR :lock IS NULL", lock=lock and lock_name(lock))

    def _change(self, payment: Payment, only: tuple[State, ...], **values: object) -> None:
        values = {**values, "changed_at": self._clock()}
        sets = ", ".join(f"{column} = :{column}" for column in values)
        states = ", ".join(f"'{state}'" for state in only)
        text = f"UPDATE payments SET {sets} WHERE id = :key AND state IN ({states})"  # noqa: S608 - names of ours
        with self._transaction() as connection:
            connection.execute(text, {**values, "key": payment.id})

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


def _payments(connection: sqlite3.Connection, where: str, **values: object) -> list[Payment]:
    """Read lines of the journal; raises DatabaseError for one that no version has written."""
    text = f"SELECT {', '.join(COLUMNS)} FROM payments WHERE {where}"  # noqa: S608 - names of ours
    try:
        return [read_payment(row) for row in connection.execute(text, values)]
    except ValueError as problem:
        raise sqlite3.DatabaseError(str(problem)) from None


def _insert(connection: sqlite3.Connection, payment: Payment) -> int:
    """Add a line, by names, since a journal may have its columns in another order; gives its number."""
    values = {column: getattr(payment, column) for column in COLUMNS if column != "id"}
    marks = ", ".join(f":{column}" for column in values)
    text = f"INSERT INTO payments ({', '.join(values)}) VALUES ({marks})"  # noqa: S608 - names of ours
    return int(connection.execute(text, values).lastrowid or 0)


def _deciding(connection: sqlite3.Connection, purchase: Purchase, payload: str, serves: Judge) -> Payment | None:
    return deciding(_payments(connection, _SAME, host=purchase.host, image=purchase.image, payload=payload), serves)


def _dollars(payments: Iterable[Payment]) -> Decimal:
    return Decimal(sum(payment.amount for payment in payments)) / ATOMS


def _committed(connection: sqlite3.Connection, host: str, budget: Budget) -> int:
    """Sum up what counts against a budget: what is open at the host, and what this build and those beside it bought.

    The cheque that is being replaced is void, and counts no more.
    """
    found = _payments(connection, "host = :host OR lock = :lock", host=host, lock=budget.lock)
    return sum(
        payment.amount
        for payment in found
        if (payment.state in UNRESOLVED and payment.host == host)
        or (payment.state is State.DONE and payment.lock == budget.lock and payment.id > budget.since)
    )


def _payment(
    purchase: Purchase, step: Step, sent: Sent, lock: str, signed: Signed, now: float, replaced: Payment | None
) -> Payment:
    return Payment(
        **{field.name: getattr(signed, field.name) for field in fields(Signed)},
        **sent._asdict(),
        id=0,
        host=purchase.host,
        image=purchase.image,
        period=step.period,
        attempt=step.attempt,
        lock=lock,
        state=State.SIGNED,
        token=None,
        token_expires=None,
        hosted=None,
        hosted_id=None,
        expires=None,
        paid_by=None,
        refusals=replaced.refusals if replaced and step.nonce else 0,
        again=0,
        signed_at=now,
        changed_at=now,
    )


def _known(**values: str | None) -> dict[str, Any]:
    """Leave out what is not known, so that it is not written over what is."""
    return {name: value for name, value in values.items() if value is not None}


def _check_version(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == _VERSION:
        return
    if version not in {0, 1}:
        raise sqlite3.DatabaseError(f"it is of version {version}, which only a newer imghost can read")
    if version == 1:
        connection.execute("ALTER TABLE payments RENAME TO first_payments")
    connection.execute(_CREATE)
    if version == 1:
        _take_over(connection)
    connection.execute(f"PRAGMA user_version = {_VERSION}")


_ADDED: Final = frozenset({"id", "host", "payload", "bytes", "media_type", "variant"})
"""What lines of the first version lack; their `image` is what was sent."""


def _take_over(connection: sqlite3.Connection) -> None:
    """Take the lines of the first version over, each with its cheque and its number, and drop their table."""
    names = [column for column in COLUMNS if column not in _ADDED]
    text = f"SELECT {', '.join(names)} FROM first_payments ORDER BY signed_at, url, image, period, attempt"  # noqa: S608
    for row in connection.execute(text).fetchall():
        line = dict(zip(names, row, strict=True))
        host = address_of(str(line["url"]).partition("/api/upload/")[0])
        added = {"id": 0, "host": host, "payload": line["image"], "image": "", "bytes": None}
        line |= {**added, "media_type": None, "variant": None}
        try:
            payment = read_payment([line[column] for column in COLUMNS])
        except ValueError as problem:
            raise sqlite3.DatabaseError(str(problem)) from None
        _insert(connection, payment)
    connection.execute("DROP TABLE first_payments")


def address_of(api_url: str) -> str:
    """Normalise a host's address, so that however it is spelt it is one: case, port, dots and slashes."""
    parts = urlsplit(api_url)
    name = (parts.hostname or "").rstrip(".")
    with suppress(ValueError):
        name = f"[{ip_address(name)}]" if ":" in name else str(ip_address(name))
    port = "" if parts.port in {None, {"https": 443, "http": 80}.get(parts.scheme)} else f":{parts.port}"
    steps = [step for step in parts.path.split("/") if step not in {"", "."}]
    return "/".join([f"{parts.scheme.lower()}://{name}{port}", *steps])


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
