"""A till that takes the money and then does not give what it was for, in seven ways; the chain is real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from doubles.img402_paid import PaidImg402
from doubles.server import Fault, Reply, Request

PATH = "/api/upload/token"
"""The token for a year, whose cap leaves room for a price that rises."""
FIRST_PRICE = 2_500
PAGE = b"<!doctype html><title>Thank you</title><h1>Thank you</h1>"
MODES = (
    "settles, then answers 500",
    "settles, then never answers",
    "settles, then breaks the connection",
    "settles, then asks for the payment again",
    "settles, then asks a higher price each time",
    "settles, then shows a page",
    "settles, then does not take its own token",
)
FAULTS = {MODES[1]: Fault.HANG_AFTER_ROUTE, MODES[2]: Fault.CLOSE_AFTER_ROUTE}


def is_paid(request: Request) -> bool:
    return bool({"x-payment", "payment-signature"} & set(request.headers))


@dataclass
class HostileTill(PaidImg402):
    """The double; while it is hostile it tries to cash whatever payment it is sent, however often."""

    mode: str = MODES[0]
    is_hostile: bool = True
    at_the_worst: Callable[[], None] = lambda: None
    """Called when the money has moved and the answer is due."""
    moments: int = 0
    """How often that was."""
    prices: dict[str, int] = field(default_factory=lambda: {PATH: FIRST_PRICE})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.memory = "none"
        if fault := FAULTS.get(self.mode):
            self.server._marked.append((fault, lambda request: self.is_hostile and is_paid(request)))

    def repent(self) -> None:
        """Be honest from now on: give for each payment, known by its number, what it was for."""
        self.is_hostile, self.memory, self.prices = False, "nonce", {PATH: FIRST_PRICE}

    def _sold(self, request: Request) -> Reply:
        reply = super()._sold(request)
        if not self.is_hostile or not is_paid(request):
            return reply
        if self.mode == MODES[6]:
            return self._given(self._sales[self._number(request)])
        self._worst()
        if self.mode == MODES[0]:
            return Reply.json({"error": "internal"}, 500)
        if self.mode == MODES[5]:
            return Reply(200, PAGE, (("Content-Type", "text/html"),))
        if self.mode == MODES[4]:
            self.prices[PATH] *= 2
        return self.challenge(request.path)

    def _number(self, request: Request) -> str:
        from doubles.img402_paid import decode_payment_signature_header

        header = request.headers["x-payment" if self.version == 1 else "payment-signature"]
        return str(decode_payment_signature_header(header).payload["authorization"]["nonce"])

    def _uploaded(self, request: Request) -> Reply:
        if not self.is_hostile:
            return super()._uploaded(request)
        self._worst()
        return self.challenge(PATH)

    def _worst(self) -> None:
        self.moments += 1
        self.at_the_worst()
