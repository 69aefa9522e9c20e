"""The network: one bounded HTTP client."""

from __future__ import annotations

import json as jsonlib
import os
import re
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

from imghost.errors import Action, HostError
from imghost.files import strict_json
from imghost.models import NamedTuple

if TYPE_CHECKING:
    import httpx

    from imghost.net.wire import Wire


# One HTTP client for every host, with credentials masked in what answers say.

HIDDEN: Final = "[hidden]"
"""Takes the place of a credential; without a letter that means something in JSON or in XML, so that both stay whole."""

_SECRET: Final = cache(
    partial(re.compile, r"authorization|cookie|token|secret|password|signature|payment|api-?key", re.I)
)
"""Names of headers that hold credentials, of whatever host."""
_SHORTEST: Final = 8
"""Letters that a credential has at least; what is shorter would be found in any text."""


def credentials(headers: Mapping[str, str]) -> tuple[str, ...]:
    """List the credentials that a request's headers hold, without words before them like `Bearer`."""
    sent = (text.rpartition(" ")[2] for name, text in headers.items() if _SECRET().search(name))
    return tuple(text for text in sent if len(text) >= _SHORTEST)


def hidden(body: bytes, secrets: Iterable[str]) -> bytes:
    """Put `[hidden]` in the place of each credential, also where it stands in JSON, or in JSON in JSON."""
    for secret in secrets:
        for form in _forms(secret):
            body = body.replace(form.encode(), HIDDEN.encode())
    return body


def hidden_text(text: str, secrets: Iterable[str]) -> str:
    """Do the same in a text."""
    return hidden(text.encode("utf-8", "surrogatepass"), secrets).decode("utf-8", "surrogatepass")


def _forms(secret: str) -> list[str]:
    """List how a credential may be written, the longest first, since one may be a part of another."""
    once = jsonlib.dumps(secret)[1:-1]
    twice = jsonlib.dumps(once)[1:-1]
    slashed = once.replace("/", "\\/")
    forms = {secret, once, twice, slashed, jsonlib.dumps(slashed)[1:-1]}
    return sorted(forms, key=lambda form: (-len(form), form))


# Nothing of httpx is imported before the first request, so that a warm build stays light.
LIMIT: Final = 64 * 1024
"""Bytes of an answer's body that are read at most, where a caller asks for nothing else."""

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Answer(NamedTuple):
    """A whole answer: status, headers by lower-case name, and a body of at most the limit asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        """Read the body as strict JSON.

        Raises:
            ValueError: it is not UTF-8 or not JSON, repeats a key, is nested too deeply, or holds a
                number that is not finite.
        """
        return strict_json(self.body.decode("utf-8"))


class FilePart(NamedTuple):
    """A file to send as one part of a multipart form."""

    field: str
    name: str
    media_type: str
    file: Path


class Client:
    """Sends requests and gives whole answers; safe to share between threads.

    `timeout` is in seconds: a request fails where nothing moves for so long. What has no body gets no more in all;
    an upload goes on as long as it moves, and its answer has a second more for each 40,000 bytes in flight.
    Proxies and certificates come from `environ` alone.
    """

    requests: int
    """Requests sent so far."""

    def __init__(
        self, timeout: float = 30.0, *, environ: Mapping[str, str] | None = None, connections: int = 16
    ) -> None:
        self.requests = 0
        self._timeout = timeout
        self._environ = os.environ if environ is None else environ
        self._connections = connections
        self._lock = threading.Lock()
        self._wires: dict[bool, Wire] = {}
        """By whether they fetch: images come from elsewhere, and would take the connections that uploads keep open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self) -> None:
        """Load now what the first request needs; it opens no connection."""
        self._opened_wire(is_fetch=False)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._lock:
            wires, self._wires = self._wires, {}
        for wire in wires.values():
            wire.close()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        form: Mapping[str, str] | None = None,
        file: FilePart | None = None,
        body: bytes | BinaryIO | None = None,
        limit: int = LIMIT,
    ) -> Answer:
        """Send one request and give its answer, a redirect too, without the credentials that the headers hold.

        `body` is sent as it is; an open file is read from where it stands.

        Raises:
            HostError: there is no answer of at most `limit` bytes of body.
        """
        # Before anything is sent, so that no answer is lost for want of it.

        parts: dict[str, Any] = {"headers": dict(headers or {}), "json": json, "data": form, "content": body}
        with ExitStack() as stack:
            if file is not None:
                source = stack.enter_context(_opened(file.file))
                parts["files"] = {file.field: (file.name, source, file.media_type)}
            return _without(credentials(parts["headers"]), self._send(method, url, parts, limit))

    def fetch(self, url: str, *, limit: int = LIMIT) -> Answer:
        """Look at what a URL serves, without any credential: the body is cut at `limit` bytes.

        At most three redirects are followed, on the same origin only.

        Raises:
            HostError: there is no answer, or it leads elsewhere.
        """
        for _ in range(4):
            answer = self._send("GET", url, {}, limit, is_fetch=True)
            if answer.status not in REDIRECTS or "location" not in answer.headers:
                return answer
            url = _next(url, answer.headers["location"])
        raise HostError(Action.FILE, f"{_host(url)} redirects more than three times")

    def _send(self, method: str, url: str, parts: dict[str, Any], limit: int, *, is_fetch: bool = False) -> Answer:
        wire = self._opened_wire(is_fetch)
        request = wire.request(method, url, parts)
        with self._lock:
            self.requests += 1
        status, headers, body = wire.exchange(request, limit, cut=is_fetch)
        return Answer(status, headers, body)

    def _opened_wire(self, is_fetch: bool) -> Wire:
        with self._lock:
            if is_fetch not in self._wires:
                from imghost.net.wire import Wire

                self._wires[is_fetch] = Wire(self._timeout, self._environ, self._connections)
            return self._wires[is_fetch]


def _without(secrets: tuple[str, ...], answer: Answer) -> Answer:
    """Hide what a host repeats of a request's credentials, in a message, an address or a header."""
    if not secrets:
        return answer
    said = "\0".join(answer.headers.values()).encode("utf-8", "surrogatepass") + b"\0" + answer.body
    if hidden(said, secrets) == said:  # one look at all of it: hardly any answer repeats one
        return answer
    headers = {name: hidden_text(text, secrets) for name, text in answer.headers.items()}
    return Answer(answer.status, headers, hidden(answer.body, secrets))


def _opened(file: Path) -> Any:
    try:
        return file.open("rb")
    except OSError as error:
        reason = f"the file to send cannot be read: {error.strerror}"
    raise HostError(Action.FILE, reason)


def _next(url: str, location: str) -> str:
    """Resolve a redirect with the parser that will send it, so that both see the same host."""
    import httpx

    here = httpx.URL(url)
    try:
        there = here.join(location)
    except (httpx.InvalidURL, ValueError):
        there = httpx.URL("invalid:")
    if _origin(here) != _origin(there):
        raise HostError(Action.FILE, f"{here.host} redirects to another host, which is refused")
    return str(there)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _host(url: str) -> str:
    import httpx

    return httpx.URL(url).host
