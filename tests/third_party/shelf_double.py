"""A Shelf server on loopback."""

from __future__ import annotations

import hashlib
from email.parser import BytesParser
from email.policy import HTTP
from typing import Self

from imghost.testing import Loopback, Reply, Seen

TOKEN = "shelf-token-0123456789"
ENDINGS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


class ShelfDouble:
    """It stores images by their keys and serves them; `room` is how many it takes."""

    def __init__(self, room: int = 1_000) -> None:
        self.server = Loopback(self.shelve)
        self.url = ""
        self.log = self.server.log
        self.fail = self.server.fail
        self.room = room
        self.images: dict[str, tuple[str, bytes]] = {}

    def __enter__(self) -> Self:
        self.url = self.server.__enter__().url
        return self

    def __exit__(self, *error: object) -> None:
        self.server.__exit__(*error)

    @property
    def stored(self) -> int:
        return len(self.images)

    def shelve(self, seen: Seen) -> Reply:
        if seen.method == "GET" and seen.target in self.images:
            media_type, body = self.images[seen.target]
            return Reply(200, body, {"Content-Type": media_type})
        if (seen.method, seen.target) != ("POST", "/upload"):
            return Reply.json({"error": "not_found"}, 404)
        if seen.headers.get("shelf-token") != TOKEN:
            return Reply.json({"error": "unauthorized"}, 401)
        media_type, body = _image_in(seen)
        if media_type not in ENDINGS:
            return Reply.json({"error": "unsupported"}, 415)
        name = hashlib.sha256(seen.headers["shelf-key"].encode()).hexdigest()[:16]
        path = f"/img/{name}.{ENDINGS[media_type]}"
        if path not in self.images and self.stored >= self.room:
            return Reply.json({"error": "shelf_full"}, 403)
        self.images[path] = media_type, body
        return Reply.json({"url": self.url + path, "id": name, "expires": None}, 201)


def _image_in(seen: Seen) -> tuple[str, bytes]:
    head = f"Content-Type: {seen.headers['content-type']}\r\n\r\n".encode()
    for part in BytesParser(policy=HTTP).parsebytes(head + seen.body).iter_parts():
        if part.get_filename():
            return part.get_content_type(), part.get_payload(decode=True)
    return "", b""
