"""A small HTTP server on loopback to build a host's double on, with the faults that hosts have."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

TRAP: Final = "/trap-for-redirects"
"""Where a redirect leads that nobody should follow."""
EVIL: Final = "https://evil.example"
_USUAL: Final = frozenset(
    {"host", "user-agent", "accept", "accept-encoding", "connection", "content-length", "content-type"}
)
"""Headers that hold no secret."""
_PATIENCE: Final = 20.0
"""Seconds after which a connection that hangs gives up, so that no test hangs for ever."""


class Fault(Enum):
    """What goes wrong with one upload."""

    LOST = "stores the image and closes without an answer"
    HANGS = "stores the image and never answers"
    HALF = "stores the image and breaks off in the middle of its answer"
    PAGE = "stores the image and answers with an HTML page"
    NESTED = "stores the image and answers with JSON too deep to read"
    ENDLESS = "stores the image and answers without end"
    ELSEWHERE = "stores the image and names a URL at another host"
    JUNK = "answers with what is no HTTP"
    BUSY = "answers 503"
    LATER = "asks to wait for thirty years"
    ECHO = "refuses the image and repeats what the request's headers hold"
    REDIRECT = "redirects to another origin"


STORING: Final = frozenset(
    {Fault.LOST, Fault.HANGS, Fault.HALF, Fault.PAGE, Fault.NESTED, Fault.ENDLESS, Fault.ELSEWHERE}
)
"""Faults after which the image is there."""
UNCLEAR: Final = STORING - {Fault.ELSEWHERE} | {Fault.JUNK}
"""Faults after which nobody can know whether it is."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came; names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to give."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: object, status: int = 200) -> Reply:
        """Answer with JSON."""
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def is_sending(seen: Seen) -> bool:
    """Say whether a request uploads, as far as its method tells."""
    return seen.method in {"POST", "PUT"}


class Loopback:
    """The server; a context manager. `route` gives the reply to a request, from any thread.

    `fail` lets the next uploads go wrong, each with one fault; `is_upload` says which requests these are.
    """

    def __init__(self, route: Callable[[Seen], Reply], is_upload: Callable[[Seen], bool] = is_sending) -> None:
        self.log: list[Seen] = []
        self._route = route
        self._is_upload = is_upload
        self._faults: deque[Fault] = deque()
        self._ended = threading.Event()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The origin, once the server runs."""
        if self._server is None:
            raise RuntimeError("the server is not running; open it with `with`")
        return f"http://127.0.0.1:{self._server.server_port}"

    def fail(self, *faults: Fault) -> None:
        """Let each of the next uploads have one of these faults."""
        self._faults.extend(faults)

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Speaker)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._server and self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def answer(self, seen: Seen, speaker: _Speaker) -> None:
        """Answer one request, rightly or not."""
        self.log.append(seen)
        fault = None
        if self._is_upload(seen):
            with suppress(IndexError):
                fault = self._faults.popleft()
        reply = Reply() if fault and fault not in STORING else self._route(seen)
        if fault is None:
            speaker.give(reply)
        elif changed := altered(fault, seen, reply, self.url):
            speaker.give(changed)
        else:
            speaker.close_connection = True
            self._break(fault, reply, speaker)

    def _break(self, fault: Fault, reply: Reply, speaker: _Speaker) -> None:
        """Break the connection in the fault's way."""
        if fault is Fault.HANGS:
            self._ended.wait(_PATIENCE)
        elif fault is Fault.JUNK:
            speaker.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        elif fault is Fault.HALF:
            speaker.give(reply, reply.body[: len(reply.body) // 2])
        elif fault is Fault.ENDLESS:
            speaker.give(replace(reply, body=b" " * 20_000_000), b"")
            for _ in range(300):
                speaker.wfile.write(b" " * 65_536)


def altered(fault: Fault, seen: Seen, reply: Reply, origin: str) -> Reply | None:
    """Give the whole answer that stands for a fault; None for faults of the connection."""
    port = origin.rpartition(":")[2]
    own = [value for name, value in seen.headers.items() if name not in _USUAL]
    found = {
        Fault.PAGE: Reply(200, b"<!doctype html><title>Bad Gateway</title>", {"Content-Type": "text/html"}),
        Fault.NESTED: Reply(200, b"[" * 30_000 + b"]" * 30_000, {"Content-Type": "application/json"}),
        Fault.ELSEWHERE: replace(reply, body=reply.body.replace(origin.encode(), EVIL.encode())),
        Fault.BUSY: Reply.json({"error": "busy"}, 503),
        Fault.LATER: replace(Reply.json({"error": "slow_down"}, 429), headers={"Retry-After": "999999999"}),
        Fault.ECHO: Reply.json({"error": "invalid", "message": "\n::error::\x1b[2J" + " ".join(own)}, 400),
        Fault.REDIRECT: Reply(307, b"", {"Location": f"http://localhost:{port}{TRAP}"}),
    }
    return found.get(fault)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: Loopback

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away, as they do after a fault."""


class _Speaker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        self.server.owner.answer(Seen(self.command, self.path, headers, body), self)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names

    def give(self, reply: Reply, body: bytes | None = None) -> None:
        """Send a reply, whose length is said to be the reply's even where another body is given."""
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body if body is None else body)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the library's name
        """Print nothing."""
