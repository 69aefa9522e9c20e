"""img402.dev's free tier, as its documentation tells it, on loopback."""

from __future__ import annotations

import itertools
import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from doubles.server import Reply, Request, Server

ENDINGS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}


@dataclass
class Img402:
    """The double. `era` is `brief` (1 MB for 7 days) or `newest` (1 MB for good, 10 MB for 30 days)."""

    era: str = "brief"
    daily: int = 1_000
    """Free uploads that it takes."""
    tls: ssl.SSLContext | None = None
    origin: str = ""
    """Where it says that its images are; empty = on this server."""
    images: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    """The stored bytes and their media type, by path."""
    changes: dict[str, object] = field(default_factory=dict)
    """What to put over the fields of a success."""

    ahead: timedelta = timedelta(0)
    """How far the host's clock is ahead of this machine's."""

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.server = Server(self.route, self.tls)

    @property
    def url(self) -> str:
        return self.server.url

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    def route(self, request: Request) -> Reply:
        with self._lock:
            if request.method == "POST" and request.path == "/api/free":
                return self._free(request)
            if request.method in {"GET", "HEAD"} and request.path in self.images:
                return Reply.image(*self.images[request.path])
        return Reply.json({"error": "not_found"}, 404)

    def _free(self, request: Request) -> Reply:
        _, files = request.form()
        if "image" not in files:
            return Reply.json({"error": "no_file"}, 400)
        body = files["image"].body
        if not body:
            return Reply.json({"error": "empty_file"}, 400)
        if len(body) > (1_000_000 if self.era == "brief" else 10_000_000):
            return Reply.json({"error": "file_too_large"}, 400)
        media_type = sniffed(body)
        if media_type is None:
            return Reply.json({"error": "unsupported_format"}, 400)
        if len(self.images) >= self.daily:
            return Reply.json({"error": "daily_limit", "message": "daily free limit reached"}, 429)
        return self._stored(body, media_type)

    def _stored(self, body: bytes, media_type: str) -> Reply:
        name = f"{next(self._numbers):010d}"
        path = f"/{name}.{ENDINGS[media_type]}"
        self.images[path] = body, media_type
        answer: dict[str, object] = {
            "url": (self.origin or self.url) + path,
            "id": name,
            "contentType": media_type,
            "sizeBytes": len(body),
            "expiresAt": self._end(len(body)),
            "img402": {"hint": "the API has new capabilities"},
        }
        return Reply.json({**answer, **self.changes})

    def _end(self, size: int) -> str | None:
        if self.era == "newest" and size <= 1_000_000:
            return None
        life = timedelta(days=7 if self.era == "brief" else 30)
        return (datetime.now(UTC) + self.ahead + life).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sniffed(body: bytes) -> str | None:
    """Name an image's format by its first bytes; None for what the host does not take."""
    if body.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if body.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if body.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if body.startswith(b"RIFF") and body[8:12] == b"WEBP":
        return "image/webp"
    return None
