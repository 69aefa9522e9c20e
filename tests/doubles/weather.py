"""A host in bad weather: at random, but by a seed and by what is asked for, its answers go wrong in every known way."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from doubles.server import Fault, Reply, Request, Server

PAGE = b"<!doctype html><title>502 Bad Gateway</title><h1>Bad Gateway</h1>"


@dataclass(frozen=True)
class Gust:
    """One way in which an answer goes wrong."""

    name: str
    wire: Fault | None = None
    """What happens to the connection."""
    stores: bool = True
    """Whether the host does what it was asked for."""
    spoil: Callable[[Reply], Reply] = lambda reply: reply
    is_clear: bool = False
    """Whether the answer says that nothing was stored."""


def _with_url(reply: Reply, url: str) -> Reply:
    """Let an answer name another address, wherever it names one."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: changed(inner) for name, inner in value.items()}
        return url if isinstance(value, str) and value.startswith("http") else value

    return Reply.json(changed(json.loads(reply.body)), reply.status)


def _waits(seconds: str) -> Callable[[Reply], Reply]:
    refused = Reply.json({"error": "rate_limited", "message": "too many"}, 429)
    return lambda reply: replace(refused, headers=(*refused.headers, ("Retry-After", seconds)))


def _status(status: int) -> Callable[[Reply], Reply]:
    return lambda reply: Reply.json({"error": "internal", "message": "try again"}, status)


UPLOADS = (
    Gust("reset before storing", Fault.RESET_AFTER_BODY, stores=False),
    Gust("reset after storing", Fault.RESET_AFTER_ROUTE),
    Gust("close after storing", Fault.CLOSE_AFTER_ROUTE),
    Gust("half a body", Fault.SHORT_BODY),
    Gust("truncated JSON", Fault.TRUNCATED_JSON),
    Gust("200 with a page", Fault.HTML_PAGE),
    Gust("no HTTP", Fault.NOT_HTTP),
    Gust("says it is gzip", Fault.GZIP),
    Gust("too long a body", Fault.OVERSIZE_BODY),
    Gust("too many headers", Fault.MANY_HEADERS),
    Gust("slow", Fault.SLOW),
    Gust("500 before storing", stores=False, spoil=_status(500)),
    Gust("500 after storing", spoil=_status(500)),
    Gust("503", stores=False, spoil=_status(503)),
    Gust("429 with Retry-After", stores=False, spoil=_waits("1"), is_clear=True),
    Gust("429 with Retry-After 0", stores=False, spoil=_waits("0"), is_clear=True),
    Gust("a wrong URL", spoil=lambda reply: _with_url(reply, "https://evil.example/a.png")),
    Gust("an empty object", spoil=lambda reply: Reply.json({})),
)
VIEWS = (
    Gust("404 at first", spoil=lambda reply: Reply(404, b"not yet", (("Content-Type", "text/plain"),))),
    Gust("403", spoil=lambda reply: Reply(403)),
    Gust("503", spoil=lambda reply: Reply(503)),
    Gust("a page for an image", spoil=lambda reply: Reply(200, PAGE, (("Content-Type", "text/html"),))),
    Gust("nothing for an image", spoil=lambda reply: Reply(200, b"", reply.headers)),
)


class Weather:
    """What stands before a double's server; `share` of the requests go wrong, and a tenth of those for good.

    A request's luck follows from the seed, the bytes that it sends or asks for, and how often that was before.
    """

    def __init__(self, server: Server, seed: int, share: float, is_upload: Callable[[Request], bool]) -> None:
        self._server = server
        self._seed = seed
        self.share = share
        self._is_upload = is_upload
        self._honest, server.route = server.route, self._answer
        server.pick = self._pick
        self._guard = threading.Lock()
        self._times: Counter[str] = Counter()
        self._now = threading.local()
        self.gusts: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        """How often each image arrived, by its digest."""
        self.unclear: Counter[str] = Counter()
        """How often an image was sent again after an answer that did not say whether it was stored."""
        self._doubted: set[str] = set()

    def _drawn(self, kind: str, digest: str, gusts: tuple[Gust, ...]) -> Gust | None:
        with self._guard:
            self._times[kind + digest] += 1
            times = self._times[kind + digest]
        fate = Random(f"{self._seed} {kind} {digest}")
        is_lasting = fate.random() < self.share / 10
        luck = fate if is_lasting else Random(f"{self._seed} {kind} {digest} {times}")
        if not is_lasting and luck.random() >= self.share:
            return None
        gust = luck.choice(gusts)
        with self._guard:
            self.gusts[f"{kind}: {gust.name}"] += 1
        return gust

    def _pick(self, request: Request) -> Fault | None:
        self._now.gust = None
        if not self._is_upload(request):
            return None
        digest = hashlib.sha256(sent_in(request)).hexdigest()
        gust = self._drawn("upload", digest, UPLOADS) if self.share else None
        with self._guard:
            self.sent[digest] += 1
            self.unclear[digest] += digest in self._doubted
            self._doubted.discard(digest)
            if gust and not gust.is_clear and gust.wire is not Fault.SLOW:
                self._doubted.add(digest)
        self._now.gust = gust
        return gust.wire if gust else None

    def _answer(self, request: Request) -> Reply:
        if self._is_upload(request):
            gust: Gust | None = self._now.gust
            reply = Reply() if gust and not gust.stores else self._honest(request)
            is_good = 200 <= reply.status < 300
            return gust.spoil(reply) if gust and (is_good or not gust.stores) else reply
        reply = self._honest(request)
        if request.method != "GET" or not dict(reply.headers).get("Content-Type", "").startswith("image/"):
            return reply
        gust = self._drawn("view", hashlib.sha256(reply.body).hexdigest(), VIEWS) if self.share else None
        if gust is None:
            return reply
        time.sleep(0.001)
        return gust.spoil(reply)


def sent_in(request: Request) -> bytes:
    """Give the image that a request holds."""
    if request.method == "PUT":
        return request.body
    _, files = request.form()
    return next(iter(files.values())).body
