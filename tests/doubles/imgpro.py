"""A double of img.pro, in the generations `upload` and `images` of its API.

It refuses what the host refuses, strips and re-encodes what it stores, and serves it on the same server.
Each key has a state; without a key it is anonymous, rate-limited and keeps images for 30 days.

    with ImgPro("images") as host:
        host.api_url, host.copies
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from PIL import Image as Picture
from PIL import UnidentifiedImageError

from doubles.server import Fault, Part, Reply, Request, Server

VERIFIED = "img_live_verified0000000000000000"
UNVERIFIED = "img_live_unverified00000000000000"
READ_ONLY = "img_live_readonly0000000000000000"
EXHAUSTED = "img_live_exhausted000000000000000"

DAY = 86_400
MONTH = 30 * DAY
VERIFY_LINK = "https://img.pro/verify"
UPGRADE_LINK = "https://img.pro/upgrade"
TYPES = {
    "unauthorized": "authentication_error",
    "forbidden": "permission_error",
    "quota_exceeded": "quota_error",
    "rate_limited": "rate_limit_error",
    "idempotency_key_conflict": "idempotency_error",
    "validation_error": "validation_error",
}
ENDINGS = {"PNG": "png", "JPEG": "jpeg", "GIF": "gif", "WEBP": "webp", "AVIF": "avif"}


class RefusedError(Exception):
    """A refusal on its way to its reply."""

    def __init__(self, status: int, code: str, message: str = "", **more: Any) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.more = status, code, message, more


@dataclass
class Copy:
    """One stored image."""

    id: str
    ending: str
    body: bytes
    width: int
    height: int
    owner: str | None
    sent: str
    """SHA-256 of the bytes that were sent."""
    name: str
    fields: dict[str, str]
    created: float
    expires: float | None

    @property
    def labels(self) -> dict[str, str]:
        return dict(json.loads(self.fields.get("labels", "{}")))


@dataclass
class ImgPro:
    """The host; a context manager."""

    generation: str = "upload"
    duplicates: str = "flat"
    """Where a 409 has the existing media: `flat`, `media` or `data`."""
    has_envelope: bool = False
    """Whether answers are `{success, data}`, as the oldest generation's."""
    is_processing: bool = False
    """Whether a new image has no size yet."""
    lists_labels: bool = True
    """Whether images can be listed."""
    lifetime: float | None = None
    """Seconds that every image lives; None = as the key says."""
    hourly: int = 20
    """Anonymous uploads an hour."""
    max_bytes: int = 20_000_000
    quota: int = 100
    used: int = 0
    page: int = 100
    """Images in one answer of a list, at most."""
    copies: dict[str, Copy] = field(default_factory=dict)
    clock: float = 0.0
    """Seconds that the host's clock is ahead."""

    def __post_init__(self) -> None:
        self.server = Server(self._route)
        self.anonymous = 0
        self._attempts: dict[tuple[str | None, str], tuple[str, float, str]] = {}
        self._forced: deque[Reply] = deque()
        self._guard = threading.RLock()

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.__exit__(*error)

    @property
    def api_url(self) -> str:
        return f"{self.server.url}/v1"

    @property
    def uploads(self) -> list[Request]:
        """The requests that sent an image."""
        return [r for r in self.server.requests("POST") if r.path in {"/v1/upload", "/v1/images"}]

    def answer_next(self, *replies: Reply) -> None:
        """Give the next uploads these answers, and store nothing for them."""
        self._forced.extend(replies)

    def die_after_store(self, times: int = 1) -> None:
        """Close the connection after each of the next uploads is stored, without an answer."""
        self.server.fail(*[Fault.CLOSE_AFTER_ROUTE] * times, when=lambda request: request.method == "POST")

    def now(self) -> float:
        return time.time() + self.clock

    def _route(self, request: Request) -> Reply:
        with self._guard:
            try:
                return self._routed(request)
            except RefusedError as refused:
                return self._refusal(refused)

    def _routed(self, request: Request) -> Reply:
        if request.method == "GET" and (found := re.fullmatch(r"/t/(\w+)\.\w+", request.path)):
            return self._served(found[1])
        owner = self._owner(request)
        routes = {
            ("GET", "/v1/usage"): self._usage,
            ("POST", "/v1/upload" if self.generation == "upload" else "/v1/images"): self._store,
            ("GET", "/v1/media" if self.generation == "upload" else "/v1/images"): self._listed,
        }
        route = routes.get((request.method, request.path))
        if route is None or (route == self._listed and not self.lists_labels):
            raise RefusedError(404, "not_found", "No such route")
        return route(request, owner)

    def _owner(self, request: Request) -> str | None:
        key = request.bearer
        if key is not None and key not in {VERIFIED, UNVERIFIED, READ_ONLY, EXHAUSTED}:
            raise RefusedError(401, "unauthorized", "Invalid API key")
        return key

    def _served(self, name: str) -> Reply:
        copy = self.copies.get(name)
        if copy is None or (copy.expires is not None and copy.expires <= self.now()):
            return Reply(404, b"gone", (("Content-Type", "text/plain"),))
        kind = "jpeg" if copy.ending in {"jpg", "jpeg"} else copy.ending
        return Reply.image(copy.body, f"image/{kind}")

    def _usage(self, request: Request, owner: str | None) -> Reply:
        if owner is None:
            raise RefusedError(401, "unauthorized", "A key is needed")
        used = self.quota if owner == EXHAUSTED else self.used
        if self.generation == "images":
            return Reply.json({"plan": "free", "limits": {"images": {"used": used, "limit": self.quota}}})
        usage: dict[str, Any] = {
            "plan": "free",
            "uploads_used": used,
            "uploads_limit": self.quota,
            "uploads_remaining": self.quota - used,
            "storage_used_bytes": 0,
            "storage_limit_bytes": 5_000_000_000,
            "resets_at": int(self.now()) + DAY,
            "verified": owner != UNVERIFIED,
        }
        if owner == UNVERIFIED:
            usage["action"] = {"type": "verify", "url": VERIFY_LINK, "label": "Verify"}
        return Reply.json(usage)

    def _listed(self, request: Request, owner: str | None) -> Reply:
        if owner is None:
            raise RefusedError(401, "unauthorized", "A key is needed")
        wanted = {
            found[1]: text for name, text in request.query.items() if (found := re.fullmatch(r"label\[(.+)\]", name))
        }
        fitting = [
            copy
            for copy in self.copies.values()
            if copy.owner == owner and all(copy.labels.get(name) == text for name, text in wanted.items())
        ]
        limit = min(self.page, int(request.query.get("limit", "50")))
        start = int(request.query.get("cursor", "0"))
        page = [self._media(copy) for copy in fitting[start : start + limit]]
        has_more = len(fitting) > start + limit
        cursor = str(start + limit) if has_more else None
        if self.generation == "upload":
            return Reply.json({"items": page, "cursor": cursor, "has_more": has_more})
        return Reply.json({"data": page, "pagination": {"next_cursor": cursor, "has_more": has_more}})

    def _store(self, request: Request, owner: str | None) -> Reply:
        if self._forced:
            return self._forced.popleft()
        if owner == READ_ONLY:
            raise RefusedError(403, "forbidden", "The key may not write")
        fields, files = request.form()
        if "file" not in files:
            raise RefusedError(400 if self.generation == "upload" else 422, "missing_file", "No file")
        part = files["file"]
        if self.generation == "upload":
            return self._uploaded(owner, fields, part)
        return self._created(owner, fields, part, request.headers.get("idempotency-key"))

    def _uploaded(self, owner: str | None, fields: dict[str, str], part: Part) -> Reply:
        if not re.fullmatch(r"[a-z0-9-]{2,64}", fields.get("namespace", "none")):
            raise RefusedError(422, "validation_error", "Invalid", errors={"namespace": ["is not valid"]})
        if external := fields.get("external_id"):
            for copy in self.copies.values():
                if (copy.owner, copy.fields.get("external_id")) == (owner, external):
                    raise RefusedError(409, "duplicate", "It exists", existing=self._media(copy))
        copy = self._keep(owner, fields, part)
        media = self._media(copy)
        return Reply.json({"success": True, "data": media} if self.has_envelope else media, 201)

    def _created(self, owner: str | None, fields: dict[str, str], part: Part, key: str | None) -> Reply:
        labels = json.loads(fields.get("labels", "{}"))
        if not isinstance(labels, dict) or not all(isinstance(text, str) for text in labels.values()):
            raise RefusedError(422, "validation_error", "Validation failed", details={"labels": ["is not an object"]})
        content = json.dumps(
            [sorted(fields.items()), part.name, part.media_type, hashlib.sha256(part.body).hexdigest()]
        )
        if key and (attempt := self._attempts.get((owner, key))) and attempt[1] > self.now() - DAY:
            if attempt[0] != content:
                raise RefusedError(409, "idempotency_key_conflict", "Another upload has this key")
            return Reply.json(self._media(self.copies[attempt[2]]))
        copy = self._keep(owner, fields, part)
        if key:
            self._attempts[owner, key] = (content, self.now(), copy.id)
        return Reply.json(self._media(copy), 201)

    def _keep(self, owner: str | None, fields: dict[str, str], part: Part) -> Copy:
        """Store an image, if the host would."""
        self._check_allowance(owner)
        if len(part.body) > self.max_bytes:
            raise RefusedError(400 if self.generation == "upload" else 422, "file_too_large", "Too large")
        body, form, (width, height) = self._encoded(part.body)
        life = [MONTH] if owner in {None, UNVERIFIED} else []
        life += [int(fields["ttl"])] if "ttl" in fields else []
        life += [] if self.lifetime is None else [int(self.lifetime)]
        name = f"i{len(self.copies):06d}"
        expires = self.now() + min(life) if life else None
        sent = hashlib.sha256(part.body).hexdigest()
        copy = Copy(name, form, body, width, height, owner, sent, part.name, fields, self.now(), expires)
        self.copies[name] = copy
        self.used += owner is not None
        self.anonymous += owner is None
        return copy

    def _check_allowance(self, owner: str | None) -> None:
        if owner is None and self.anonymous >= self.hourly:
            raise RefusedError(429, "rate_limited", "Too many", action={"type": "wait", "seconds": 3600})
        if owner == EXHAUSTED or (owner is not None and self.used >= self.quota):
            action = {"type": "upgrade", "url": UPGRADE_LINK, "label": "Upgrade"}
            raise RefusedError(413, "quota_exceeded", "No uploads left", action=action)

    def _encoded(self, body: bytes) -> tuple[bytes, str, tuple[int, int]]:
        """Strip and re-encode as the CDN does, where that is cheap; formats are known by the bytes."""
        try:
            with Picture.open(io.BytesIO(body), formats=list(ENDINGS)) as picture:
                form, size = str(picture.format), picture.size
                if form not in {"PNG", "JPEG"}:
                    return body, ENDINGS[form], size
                picture.load()
                again = io.BytesIO()
                picture.info.clear()
                picture.save(again, form)
                return again.getvalue(), ENDINGS[form], size
        except (UnidentifiedImageError, OSError, SyntaxError):
            pass
        if self.generation == "upload":
            raise RefusedError(400, "unsupported_format", "Not an image that we take")
        raise RefusedError(422, "validation_error", "Validation failed", details={"file": ["is not an image"]})

    def _media(self, copy: Copy) -> dict[str, Any]:
        address = f"{self.server.url}/t/{copy.id}.{copy.ending}"
        size: dict[str, Any] = {"width": copy.width, "height": copy.height}
        if self.is_processing:
            size = {"width": None, "height": None}
        if self.generation == "upload":
            return self._flat(copy, address, size)
        expires = None if copy.expires is None else datetime.fromtimestamp(copy.expires, UTC).isoformat()
        media = {
            "id": copy.id,
            "object": "image",
            "url": address,
            "page_url": f"https://img.pro/{copy.id}",
            "sizes": {},
            "filename": copy.name,
            "format": copy.ending,
            "bytes": None if self.is_processing else len(copy.body),
            "status": "processing" if self.is_processing else "ready",
            "expires_at": expires,
            "labels": copy.labels,
            "metadata": json.loads(copy.fields.get("metadata", "{}")),
            **size,
        }
        if copy.expires is not None:
            media["upgrade"] = {"type": "upgrade", "url": UPGRADE_LINK}
        return media

    def _flat(self, copy: Copy, address: str, size: dict[str, Any]) -> dict[str, Any]:
        media = {
            "id": copy.id,
            "name": copy.fields.get("name", copy.name),
            "url": f"https://img.pro/{copy.id}",
            "src": address,
            "filesize": len(copy.body),
            "extension": copy.ending,
            "tags": copy.fields["tags"].split(",") if "tags" in copy.fields else [],
            "namespace": copy.fields.get("namespace"),
            "public": copy.fields.get("public", "true") == "true",
            "created_at": int(copy.created),
            **size,
        }
        if copy.expires is not None:
            media["expires_at"] = int(copy.expires)
            media["upgrade"] = {"type": "upgrade", "url": UPGRADE_LINK}
        return media

    def _refusal(self, refused: RefusedError) -> Reply:
        more = dict(refused.more)
        existing = more.pop("existing", None)
        error: dict[str, Any] = {"code": refused.code, "message": refused.message, **more}
        if self.generation == "images":
            seconds = error.get("action", {}).pop("seconds", None)
            if seconds is not None:
                error["action"]["retry_after"] = seconds
            return Reply.json({"error": {"type": TYPES.get(refused.code, "api_error"), **error}}, refused.status)
        error["error"] = error.pop("code")
        if existing is not None:
            error.update(existing if self.duplicates == "flat" else {self.duplicates: existing})
        return Reply.json(error, refused.status)
