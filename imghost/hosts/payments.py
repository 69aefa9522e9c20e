"""What the payment journal keeps, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


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


@dataclass(frozen=True, slots=True)
class Purchase:
    """What is bought: a token from this URL for these bytes; `period` changes with each renewal."""

    url: str
    image: str
    """SHA-256 of the payload."""
    period: int = 0


@dataclass(frozen=True, slots=True)
class Signed:
    """A payment, ready to be sent: the header is a cheque."""

    name: str
    header: str
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
class Payment:
    """One line of the journal."""

    url: str
    image: str
    period: int
    attempt: int
    lock: str
    state: State
    version: int
    payer: str
    pay_to: str
    amount: int
    nonce: str
    valid_before: int
    name: str
    header: str | None
    """The payment's header, dropped once the image is there."""
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


@dataclass(frozen=True, slots=True)
class Budget:
    """What one build may spend, what earlier builds of its lock left unresolved included."""

    atoms: int
    lock: str
    since: float
    """When this build began: what was signed since, by whichever process, counts."""
