"""The doubles of the built-in hosts, in the form that the host contract asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from doubles.s3 import Storage
from doubles.server import Fault as Wire
from doubles.server import Reply, Request, Server
from third_party.shelf_double import ShelfDouble

from imghost.testing import Fault
from imghost.testing.fake import STORING, Seen, altered
from imghost.testing.fake import Reply as Answer

WIRE = {
    Fault.LOST: Wire.CLOSE_AFTER_ROUTE,
    Fault.HANGS: Wire.HANG_AFTER_ROUTE,
    Fault.DRIPS: Wire.DRIP_HEADERS,
    Fault.SLOW: Wire.SLOW,
    Fault.HALF: Wire.SHORT_BODY,
    Fault.ENDLESS: Wire.OVERSIZE_BODY,
    Fault.JUNK: Wire.NOT_HTTP,
}
"""The contract's faults of the connection, by what the server calls them."""


class Fitted:
    """A double on the tests' server, with the contract's faults; `uploads` are the paths that take images."""

    def __init__(
        self,
        inner: AbstractContextManager[Any],
        server: Server,
        count: Callable[[], int],
        is_upload: Callable[[Request], bool],
    ) -> None:
        self.inner = inner
        self.server = server
        self._count = count
        self._is_upload = is_upload
        self._faults: list[Fault | Answer] = []
        self.unspent: list[Wire] = []
        """Marked faults that no upload has had yet."""
        self._route, server.route = server.route, self._answer

    def __enter__(self) -> Self:
        self.inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.inner.__exit__(kind, error, trace)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def log(self) -> Sequence[Request]:
        return self.server.log

    @property
    def stored(self) -> int:
        return self._count()

    def fail(self, *faults: Fault | Answer) -> None:
        for fault in faults:
            if isinstance(fault, Fault) and fault in WIRE:
                self.server.fail(WIRE[fault], when=self._is_upload)
            else:
                self._faults.append(fault)

    def mark(self, marker: bytes, fault: Wire) -> None:
        """Let the first upload that holds the marker have this fault of the server's."""
        self.unspent.append(fault)

        def is_hit(request: Request) -> bool:
            if fault not in self.unspent or not self._is_upload(request) or marker not in request.body:
                return False
            self.unspent.remove(fault)
            return True

        self.server._marked.append((fault, is_hit))

    def _answer(self, request: Request) -> Reply:
        fault = self._faults.pop(0) if self._faults and self._is_upload(request) else None
        if isinstance(fault, Answer):
            return Reply(fault.status, fault.body, tuple(fault.headers.items()))
        reply = self._route(request) if fault is None or fault in STORING else Reply()
        if fault is None:
            return reply
        seen = Seen(request.method, request.target, request.headers, request.body)
        changed = altered(fault, seen, Answer(reply.status, reply.body, dict(reply.headers)), self.url)
        assert changed is not None
        return Reply(changed.status, changed.body, tuple(changed.headers.items()))


def sends_to(*paths: str) -> Callable[[Request], bool]:
    return lambda request: request.method == "POST" and request.path in paths


def is_put(request: Request) -> bool:
    return request.method == "PUT"


def fitted_storage(storage: Storage) -> Fitted:
    """Put the tests' server in front of a storage that speaks S3."""
    storage.empty()

    place = urlsplit(storage.url).netloc

    def forward(request: Request) -> Reply:
        with closing(HTTPConnection(place, timeout=10)) as line:
            line.request(request.method, request.target, request.body, request.headers)
            answer = line.getresponse()
            body = answer.read()
        dropped = {"content-length", "connection", "transfer-encoding"}
        kept = tuple((name, text) for name, text in answer.getheaders() if name.lower() not in dropped)
        # What a question for the head alone is told of the body is its length.
        length = int(answer.getheader("content-length") or 0) if request.method == "HEAD" else None
        return Reply(answer.status, body, kept, length=length)

    server = Server(forward)
    return Fitted(server, server, lambda: len(storage.objects()), is_put)


def fitted_shelf() -> Fitted:
    """Put the other package's double on the tests' server."""
    double = ShelfDouble()

    def route(request: Request) -> Reply:
        answer = double.shelve(Seen(request.method, request.target, request.headers, request.body))
        return Reply(answer.status, answer.body, tuple(answer.headers.items()))

    server = Server(route)
    double.url = server.url
    return Fitted(server, server, lambda: double.stored, sends_to("/upload"))
