"""img402's paid tiers on loopback: the official schemas and the official facilitator, settling on a real chain."""

from __future__ import annotations

import json
import secrets
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from doubles.chain import CHAIN, USDC, Chain
from doubles.img402 import Img402, sniffed
from doubles.server import Reply, Request

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from x402.http.utils import (
        decode_payment_signature_header,
        encode_payment_required_header,
        encode_payment_response_header,
    )
    from x402.schemas import PaymentRequired, PaymentRequirements, ResourceInfo
    from x402.schemas.v1 import PaymentRequiredV1, PaymentRequirementsV1

PAYEE = "0x77f3c9bCb898Ad1d30e9a336E2cC3108d88D6c09"
PRICES = {"/api/upload/token": 10_000, "/api/upload/token/permanent": 1_000_000}
LIVES: dict[str, timedelta | None] = {"/api/upload/token": timedelta(days=365), "/api/upload/token/permanent": None}


@dataclass
class Sale:
    """What one payment has bought."""

    path: str
    token: str = ""
    expires: datetime = datetime.min.replace(tzinfo=UTC)
    image: dict[str, Any] | None = None


@dataclass
class PaidImg402(Img402):
    """The double with its till; `memory` is by what it knows a payment again: its header, its number, or not."""

    chain: Chain = field(kw_only=True)
    version: int = 2
    in_body: bool = False
    """Whether a challenge of version 2 stands in the body alone, as some servers have it."""
    memory: str = "header"
    token_life: timedelta = timedelta(minutes=10)
    prices: dict[str, int] = field(default_factory=lambda: dict(PRICES))
    lives: dict[str, timedelta | None] = field(default_factory=lambda: dict(LIVES))
    change: Callable[[dict[str, Any]], Any] = lambda challenge: challenge
    """What becomes of a challenge before it is sent."""
    after_settling: list[int] = field(default_factory=list)
    """Statuses to answer the next payments with, once they have settled."""
    date: str = ""
    settled: list[str] = field(default_factory=list)
    """The transactions so far."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._till = threading.RLock()
        self._sales: dict[str, Sale] = {}
        self.tokens: dict[str, Sale] = {}

    def route(self, request: Request) -> Reply:
        if request.method == "POST" and request.path in self.prices:
            with self._till:
                return self._dated(self._sold(request))
        if request.method == "POST" and request.path == "/api/upload":
            with self._till:
                return self._dated(self._uploaded(request))
        return super().route(request)

    def _dated(self, reply: Reply) -> Reply:
        return Reply(reply.status, reply.body, (*reply.headers, ("Date", self.date))) if self.date else reply

    def challenge(self, path: str, error: str = "Payment required") -> Reply:
        """Ask for a payment with the official schemas."""
        if self.version == 1:
            offer = PaymentRequiredV1(error=error, accepts=[self._offer_v1(path)])
            return Reply.json(self.change(offer.model_dump(by_alias=True, exclude_none=True)), 402)
        solana = self._offer(path).model_copy(
            update={"network": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "asset": "EPjFWdd5", "pay_to": "9xuipz9Y"}
        )
        required = PaymentRequired(
            error=error,
            resource=ResourceInfo(url=self.url + path, description="an upload token"),
            accepts=[solana, self._offer(path)],
            extensions={"payment-identifier": {"info": {"required": False}, "schema": {}}},
        )
        changed = self.change(required.model_dump(by_alias=True, exclude_none=True))
        if self.in_body:
            return Reply.json(changed, 402)
        try:
            text = encode_payment_required_header(PaymentRequired.model_validate(changed))
        except ValueError:
            import base64

            text = base64.b64encode(json.dumps(changed).encode()).decode()
        return Reply.json({}, 402, PAYMENT_REQUIRED=text)

    def _offer(self, path: str) -> PaymentRequirements:
        return PaymentRequirements(
            scheme="exact",
            network=f"eip155:{CHAIN}",
            asset=USDC,
            amount=str(self.prices.get(path, 10_000)),
            pay_to=PAYEE,
            max_timeout_seconds=300,
            extra={"name": "USD Coin", "version": "2"},
        )

    def _offer_v1(self, path: str) -> PaymentRequirementsV1:
        return PaymentRequirementsV1(
            scheme="exact",
            network="base",
            max_amount_required=str(self.prices.get(path, 10_000)),
            resource=self.url + path,
            description="an upload token",
            mime_type="application/json",
            pay_to=PAYEE,
            max_timeout_seconds=300,
            asset=USDC,
            extra={"name": "USD Coin", "version": "2"},
        )

    def _sold(self, request: Request) -> Reply:
        header = request.headers.get("x-payment" if self.version == 1 else "payment-signature")
        if header is None:
            return self.challenge(request.path)
        payload = decode_payment_signature_header(header)
        key = header if self.memory == "header" else str(payload.payload["authorization"]["nonce"])
        receipt: tuple[tuple[str, str], ...] = ()
        if key not in self._sales or self.memory == "none":
            offer = self._offer_v1(request.path) if self.version == 1 else self._offer(request.path)
            with self.chain.guard:
                verified = self.chain.facilitator.verify(payload, offer)
                if not verified.is_valid:
                    return self.challenge(request.path, verified.invalid_reason or "invalid")
                result = self.chain.facilitator.settle(payload, offer)
            if not result.success:
                return self.challenge(request.path, result.error_reason or "settlement failed")
            self.settled.append(result.transaction)
            self._sales[key] = Sale(request.path)
            name = "X-PAYMENT-RESPONSE" if self.version == 1 else "PAYMENT-RESPONSE"
            receipt = ((name, encode_payment_response_header(result)),)
        if self.after_settling:
            status = self.after_settling.pop(0)
            return self.challenge(request.path) if status == 402 else Reply.json({"error": "oops"}, status)
        reply = self._given(self._sales[key])
        return Reply(reply.status, reply.body, (*reply.headers, *receipt))

    def has_sold(self, header: str, nonce: str) -> bool:
        """Say whether a payment has settled that is known again by what the till remembers of it."""
        return self.memory != "none" and (header if self.memory == "header" else nonce) in self._sales

    def _given(self, sale: Sale) -> Reply:
        if sale.image is not None:
            return Reply.json(sale.image)
        now = datetime.now(UTC)
        if sale.expires <= now:
            sale.token, sale.expires = secrets.token_hex(20), now + self.token_life
            self.tokens[sale.token] = sale
        return Reply.json({"token": sale.token, "expiresAt": sale.expires.isoformat()})

    def _uploaded(self, request: Request) -> Reply:
        sale = self.tokens.get(request.headers.get("x-upload-token", ""))
        if sale is None or sale.image is not None or sale.expires <= datetime.now(UTC):
            return self.challenge(request.path)
        _, files = request.form()
        body = files["image"].body
        media_type = sniffed(body)
        if media_type is None:
            return Reply.json({"error": "unsupported_format"}, 400)
        with self._lock:
            reply = self._stored(body, media_type)
        life = self.lives[sale.path]
        ends = None if life is None else (datetime.now(UTC) + life).isoformat()
        sale.image = {**json.loads(reply.body), "expiresAt": ends, **self.changes}
        return Reply.json(sale.image)

    def payments(self) -> list[Request]:
        """Give the requests so far that carried a payment."""
        return [request for request in self.server.log if {"x-payment", "payment-signature"} & set(request.headers)]
