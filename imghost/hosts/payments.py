"""What the payment journal keeps, as frozen values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final, NamedTuple


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
