"""A local image host that takes its time: it answers each upload after a set delay, in the form of img.pro's API.

Run as a process of its own, so that its work is not counted with the client's. It prints its port, then serves
until it is ended. `GET /count` tells how many other requests there were.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.request import urlopen

_KEPT: Final = 1 << 20
"""Bytes of an upload that is kept, to be served again; larger ones are read and forgotten."""
_USAGE: Final = {"plan": "pro", "verified": True, "uploads_used": 0, "uploads_limit": 0}


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs."""

    url: str

    @property
    def count(self) -> int:
        """Requests so far."""
        with urlopen(f"{self.url}/count") as answer:
            return int(answer.read())


@contextmanager
def serving(delay: float = 0.0) -> Iterator[Running]:
    """Run a server with a delay in seconds, as long as the block lasts."""
    with subprocess.Popen([sys.executable, __file__, str(delay)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield Running(f"http://127.0.0.1:{int(child.stdout.readline())}")
        finally:
            child.kill()


class _Host:
    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.count = 0
        self.kept: dict[str, bytes] = {}
        self.numbers = itertools.count()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode("latin-1"), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, _ = head.split(" ", 2)
        length = next((int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0)
        if "expect: 100-continue" in head.lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _body(reader, length)
        if target == "/count":
            return await _send(writer, str(self.count).encode(), "text/plain")
        self.count += 1
        await asyncio.sleep(self.delay)
        if method == "POST":
            return await _send(writer, json.dumps(self._stored(head, body)).encode(), "application/json")
        if target.startswith("/t/"):
            return await _send(writer, self.kept.get(target[3:], b""), "image/png")
        return await _send(writer, json.dumps(_USAGE).encode(), "application/json")

    def _stored(self, head: str, body: bytes) -> dict[str, object]:
        name = f"i{next(self.numbers):06d}"
        start = body.find(b"\x89PNG")
        self.kept[f"{name}.png"] = body[start : body.rfind(b"IEND") + 8]
        host = next(line[5:].strip() for line in head.split("\r\n") if line.lower().startswith("host:"))
        url = f"http://{host}/t/{name}.png"
        return {"id": name, "src": url, "link": url, "data": {"link": url, "url": url}, "image": {"url": url}}


async def _body(reader: asyncio.StreamReader, length: int) -> bytes:
    kept = bytearray()
    left = length
    while left > 0:
        chunk = await reader.read(min(left, 1 << 18))
        if not chunk:
            raise ConnectionError("the client went away")
        left -= len(chunk)
        if length <= _KEPT:
            kept += chunk
    return bytes(kept)


async def _send(writer: asyncio.StreamWriter, body: bytes, media_type: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


async def _main(delay: float) -> None:
    server = await asyncio.start_server(_Host(delay).serve, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1])))
