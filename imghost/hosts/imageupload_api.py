"""imageupload.io's requests: uploads by REST, everything else through its tools (MCP, JSON-RPC 2.0)."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from imghost.hosts import Secret
from imghost.hosts.answers import unclear
from imghost.hosts.clock import HostClock
from imghost.hosts.imageupload.options import NAME
from imghost.hosts.imageupload_refusals import refused_tool, text_of
from imghost.models import Payload
from imghost.net.client import Answer, Client, FilePart

LIST_LIMIT: Final = 1 << 20
"""Bytes that a list of a hundred images may take."""


class Pace:
    """Keeps calls under a rate that the host publishes, so that no build is refused for its speed.

    At most `calls` within any `seconds`; the one too many waits. Safe to share between threads.
    """

    def __init__(
        self,
        calls: int,
        seconds: float,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._seconds = seconds
        self._now = now
        self._sleep = sleep
        self._turns: deque[float] = deque(maxlen=calls)
        self._guard = threading.Lock()

    def turn(self) -> None:
        """Wait until one more call may be sent."""
        with self._guard:
            now = self._now()
            is_full = len(self._turns) == self._turns.maxlen
            turn = max(now, self._turns[0] + self._seconds) if is_full else now
            self._turns.append(turn)
        if turn > now:
            self._sleep(turn - now)


class Api:
    """Sends the requests; the credential is revealed here and nowhere else."""

    def __init__(
        self,
        client: Client,
        url: str,
        mcp_url: str,
        secret: Secret | None,
        clock: HostClock,
        paces: tuple[Pace, Pace] | None = None,
    ) -> None:
        self._client = client
        self._url = f"{url.rstrip('/')}/api/upload"
        self._mcp_url = mcp_url
        self._secret = secret
        self._paces = paces
        """For uploads and for tools; None = as fast as it goes."""
        self._numbers = itertools.count(1)
        self._clock = clock

    def now(self) -> datetime:
        """Give the moment by the host's clock."""
        return self._clock.now()

    def upload(self, payload: Payload, form: Mapping[str, str]) -> Answer:
        """Store an image; the part's Content-Type is the payload's."""
        part = FilePart("file", payload.name, payload.media_type, payload.file)
        return self._send(self._url, 0, form=form, file=part)

    def call(self, tool: str, **arguments: object) -> Mapping[str, Any]:
        """Call one of the host's tools, and give what it returns in structured form.

        Raises:
            ToolError: the tool, or something in its place, refuses.
            HostError: there is no answer, or none that can be read.
        """
        number = next(self._numbers)
        params = {"name": tool, "arguments": arguments}
        request = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        headers = {"Accept": "application/json, text/event-stream"}
        return _result(self._send(self._mcp_url, 1, headers=headers, json=request, limit=LIST_LIMIT))

    def _send(self, url: str, kind: int, *, headers: Mapping[str, str] | None = None, **parts: Any) -> Answer:
        if self._paces:
            self._paces[kind].turn()
        key = self._secret.reveal() if self._secret else ""
        own = {"Authorization": f"Bearer {key}"} if key else {}
        answer = self._client.send("POST", url, headers={**(headers or {}), **own}, **parts)
        self._clock.hear(answer)
        return answer


def _result(answer: Answer) -> Mapping[str, Any]:
    """Read a tool's answer: the error it means, or the structured content, or JSON in its text."""
    message = _message(answer)
    error = message.get("error")
    if error is not None or not 200 <= answer.status < 300:
        code = error.get("code") if isinstance(error, dict) else None
        raise refused_tool(answer, _code(code), text_of(message))
    result = message.get("result")
    if not isinstance(result, dict):
        raise unclear(NAME, "is no tool's result")
    found, text = _content(result)
    if result.get("isError") is True:
        raise refused_tool(answer, _code(found.get("code")), text_of(found) or text)
    return found


def _content(result: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    structured = result.get("structuredContent")
    content = result.get("content")
    parts = content if isinstance(content, list) else []
    texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    first = texts[0] if texts else ""
    if isinstance(structured, dict):
        return structured, first
    for value in map(_parsed, texts):
        if isinstance(value, dict):
            return value, first
        if isinstance(value, list):
            return {"items": value}, first
    return {}, first


def _message(answer: Answer) -> Mapping[str, Any]:
    """Read the JSON-RPC message, which a server may also send as the last of a stream of events."""
    if answer.headers.get("content-type", "").lower().startswith("text/event-stream"):
        text = answer.body.decode("utf-8", "replace").replace("\r\n", "\n")
        events = ["\n".join(_fields(event)) for event in text.split("\n\n")]
        messages = [value for event in events if isinstance(value := _parsed(event), dict)]
        answers = [message for message in messages if "result" in message or "error" in message]
        return answers[-1] if answers else {}
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _fields(event: str) -> list[str]:
    return [line[5:].strip() for line in event.split("\n") if line.startswith("data:")]


def _parsed(text: str) -> object:
    try:
        return Answer(200, {}, text.encode()).json()
    except ValueError:
        return None


def _code(raw: object) -> int | None:
    return raw if isinstance(raw, int) and not isinstance(raw, bool) else None
