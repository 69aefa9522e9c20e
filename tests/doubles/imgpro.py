"""A double of img.pro, in the generations `upload` and `images` of its API.

It refuses what the host refuses, strips and re-encodes what it stores, and serves it on the same server.
Each key has a state; without a key it is anonymous, rate-limited and keeps images for 30 days.

    with ImgPro("images") as host:
        host.api_url, host.copies
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from canaries import credential

from doubles.imgpro_copies import (
    DAY,
    MONTH,
    UPGRADE_LINK,
    VERIFY_LINK,
    Copy,
    RefusedError,
    Speech,
    batch_deleted,
    encoded,
    fetched,
    form_of,
    patched,
    varied,
)
from doubles.imgpro_keys import KeyDesk
from doubles.server import Fault, Part, Reply, Request, Server

__all__ = ["DAY", "EXHAUSTED", "MONTH", "READ_ONLY", "UNVERIFIED", "UPGRADE_LINK", "VERIFIED", "VERIFY_LINK", "ImgPro"]

VERIFIED = credential("img_live_verified")
UNVERIFIED = credential("img_live_unverified")
READ_ONLY = credential("img_live_readonly")
EXHAUSTED = credential("img_live_exhausted")


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
    daily: int = 100
    """Anonymous uploads a day."""
    patience: float = 1.0
    """Seconds that an import may take."""
    lists_sizes: bool = True
    """Whether lists tell images' sizes."""
    is_filtering: bool = True
    """Whether lists heed the namespace and the labels that are asked for."""
    is_open: bool = True
    """Whether new accounts are taken."""
    drops: set[str] = field(default_factory=set)
    """Fields of an upload that it takes without a word and does not keep, as a plan may have it."""
    locked: set[str] = field(default_factory=set)
    """Ids of images that cannot be deleted."""
    drawings: str = ""
    """What drawings are served as, `svg` or `png`; empty = none is taken."""
    max_bytes: int = 20_000_000
    quota: int = 100
    used: int = 0
    page: int = 100
    """Images in one answer of a list, at most."""
    copies: dict[str, Copy] = field(default_factory=dict)
    clock: float = 0.0
    """Seconds ahead."""

    def __post_init__(self) -> None:
        self.server = Server(self._route)
        self._desk = KeyDesk()
        self._anonymous: list[float] = []
        self._numbers = itertools.count()
        self._attempts: dict[tuple[str | None, str], tuple[str, float, str]] = {}
        self._forced: deque[Reply] = deque()
        self._guard = threading.RLock()

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.__exit__(*error)

    @property
    def keys(self) -> dict[str, str]:
        """E-mail addresses by the keys that were made."""
        return self._desk.keys

    @property
    def api_url(self) -> str:
        return f"{self.server.url}/v1"

    @property
    def uploads(self) -> list[Request]:
        """The requests that sent an image, or the address of one."""
        return [r for r in self.server.requests("POST") if r.path in {"/v1/upload", "/v1/import", "/v1/images"}]

    @property
    def deletions(self) -> list[Any]:
        """What the requests asked to delete."""
        return [json.loads(r.body) if r.body else r.path for r in self.server.requests("DELETE")]

    def answer_next(self, *replies: Reply) -> None:
        """Give the next uploads these answers, and store nothing for them."""
        self._forced.extend(replies)

    def die_after_store(self, times: int = 1) -> None:
        """Close the connection after each of the next uploads is stored, without an answer."""
        self.server.fail(*[Fault.CLOSE_AFTER_ROUTE] * times, when=lambda request: request.method == "POST")

    def now(self) -> float:
        return time.time() + self.clock

    @property
    def _speech(self) -> Speech:
        return Speech(self.generation, self.server.url, self.duplicates, self.is_processing)

    def _route(self, request: Request) -> Reply:
        if request.method == "GET" and (found := re.fullmatch(r"/t/(\w+)\.(\w+)", request.path)):
            # The older generation converts by the ending and knows no `format`, the newer the other way round.
            query = {name: text for name, text in request.query.items() if name != "format"}
            by_ending = query | {"format": found[2]}
            return self._served(found[1], by_ending if self.generation == "upload" else request.query)
        try:
            # Outside the guard, so that an import may take its time, or fetch what this very host serves.
            part = self._imported(request)
            with self._guard:
                return self._routed(request, part)
        except RefusedError as refused:
            return self._speech.refusal(refused)

    def _imported(self, request: Request) -> Part | None:
        is_import = request.path == "/v1/import" if self.generation == "upload" else request.path == "/v1/images"
        if request.method != "POST" or not is_import or not _is_json(request) or self._forced:
            return None
        if self._owner(request) == READ_ONLY:
            raise RefusedError(403, "forbidden", "The key may not write")
        return fetched(request.json().get("url"), self.generation, self.patience)

    def _routed(self, request: Request, part: Part | None) -> Reply:
        if (request.method, request.path, self.generation) == ("POST", "/v1/keys", "upload"):
            if not self.is_open:
                raise RefusedError(403, "registration_closed", "No new accounts")
            return self._desk.made(request, self.now(), self.quota)
        owner = self._owner(request)
        if request.method == "POST":
            return self._store(request, owner, part)
        if (request.method, request.path) == ("GET", "/v1/usage"):
            return self._usage(owner)
        if (request.method, request.path, self.generation) == ("GET", "/v1/namespaces", "upload"):
            return self._namespaces(owner)
        place = "media" if self.generation == "upload" else "images"
        found = re.fullmatch(rf"/v1/{place}(?:/(\w+))?", request.path)
        routes: dict[tuple[str, bool], Callable[[Request, str | None, str], Reply]] = {
            ("GET", False): self._listed,
            ("GET", True): self._one,
            ("DELETE", True): self._deleted,
            ("PATCH", True): self._patched,
        }
        route = routes.get((request.method, found[1] is not None)) if found else None
        if found is None or route is None or (route == self._listed and not self.lists_labels):
            raise RefusedError(404, "not_found", "No such route")
        return route(request, owner, found[1])

    def _owner(self, request: Request) -> str | None:
        key = request.bearer
        if key is not None and key not in {VERIFIED, UNVERIFIED, READ_ONLY, EXHAUSTED, *self.keys}:
            raise RefusedError(401, "unauthorized", "Invalid API key")
        return key

    def _served(self, name: str, query: dict[str, str]) -> Reply:
        copy = self.copies.get(name)
        if copy is None or (copy.expires is not None and copy.expires <= self.now()):
            return Reply(404, b"gone", (("Content-Type", "text/plain"),))
        body, kind = varied(copy, {} if copy.ending == "svg" else query)
        return Reply.image(body, "image/svg+xml" if kind == "svg" else f"image/{kind}")

    def _usage(self, owner: str | None) -> Reply:
        if owner is None:
            raise RefusedError(401, "unauthorized", "A key is needed")
        used = self.quota if owner == EXHAUSTED else self.used
        is_verified = owner != UNVERIFIED and owner not in self.keys
        return self._speech.usage(used, self.quota, int(self.now()) + DAY, is_verified=is_verified)

    def _listed(self, request: Request, owner: str | None, name: str) -> Reply:
        if owner is None:
            raise RefusedError(401, "unauthorized", "A key is needed")
        query = request.query
        fitting = [
            copy
            for copy in self.copies.values()
            if copy.owner == owner and (copy.fits(query, self.generation) or not self.is_filtering)
        ]
        limit = min(self.page, int(query.get("limit", "50")))
        reply = self._speech.page(fitting, int(query.get("cursor", "0")), limit)
        return reply if self.lists_sizes else Reply(200, re.sub(rb'"(width|height)": \d+', rb'"\1": null', reply.body))

    def _one(self, request: Request, owner: str | None, name: str) -> Reply:
        copy = self.copies.get(name)
        if copy is None or (copy.owner != owner and copy.fields.get("public") == "false"):
            raise RefusedError(404, "not_found", "No such image")
        return Reply.json(self._speech.media(copy))

    def _deleted(self, request: Request, owner: str | None, name: str) -> Reply:
        if owner in {None, READ_ONLY}:
            raise RefusedError(*((401, "unauthorized") if owner is None else (403, "forbidden")))
        if name != "batch":
            if self.generation == "images" or self.copies.get(name) is None or self.copies[name].owner != owner:
                raise RefusedError(404, "not_found", "No such image")
            del self.copies[name]
            return Reply.json({"deleted": True})
        return batch_deleted(self.copies, request.json(), str(owner), self.locked, self.generation)

    def _patched(self, request: Request, owner: str | None, name: str) -> Reply:
        if self.generation == "images":
            raise RefusedError(404, "not_found", "No such route")
        if owner in {None, READ_ONLY}:
            raise RefusedError(*((401, "unauthorized") if owner is None else (403, "forbidden")))
        return patched(self.copies, request.json(), name, str(owner), self._speech)

    def _namespaces(self, owner: str | None) -> Reply:
        if owner is None:
            raise RefusedError(401, "unauthorized", "A key is needed")
        groups: dict[str, list[Copy]] = {}
        for copy in self.copies.values():
            if copy.owner == owner and "namespace" in copy.fields:
                groups.setdefault(copy.fields["namespace"], []).append(copy)
        told = [
            {"namespace": name, "count": len(copies), "storage_bytes": sum(len(copy.body) for copy in copies)}
            for name, copies in groups.items()
        ]
        return Reply.json({"namespaces": told})

    def _store(self, request: Request, owner: str | None, part: Part | None) -> Reply:
        paths = {"/v1/upload", "/v1/import"} if self.generation == "upload" else {"/v1/images"}
        if request.path not in paths:
            raise RefusedError(404, "not_found", "No such route")
        if self._forced:
            return self._forced.popleft()
        if owner == READ_ONLY:
            raise RefusedError(403, "forbidden", "The key may not write")
        fields, files = (form_of(request.json()), {}) if part else request.form()
        part = part or files.get("file")
        if part is None:
            raise RefusedError(400 if self.generation == "upload" else 422, "missing_file", "No file")
        if self.generation == "upload":
            return self._uploaded(owner, fields, part)
        return self._created(owner, fields, part, request.headers.get("idempotency-key"))

    def _uploaded(self, owner: str | None, fields: dict[str, str], part: Part) -> Reply:
        if not re.fullmatch(r"[a-z0-9-]{2,64}", fields.get("namespace", "none")):
            raise RefusedError(422, "validation_error", "Invalid", errors={"namespace": ["is not valid"]})
        if external := fields.get("external_id"):
            for copy in self.copies.values():
                if (copy.owner, copy.fields.get("external_id")) == (owner, external):
                    raise RefusedError(409, "duplicate", "It exists", existing=self._speech.media(copy))
        copy = self._keep(owner, fields, part)
        media = self._speech.media(copy)
        return Reply.json({"success": True, "data": media} if self.has_envelope else media, 201)

    def _created(self, owner: str | None, fields: dict[str, str], part: Part, key: str | None) -> Reply:
        labels = json.loads(fields.get("labels", "{}"))
        if not isinstance(labels, dict) or not all(isinstance(text, str) for text in labels.values()):
            raise RefusedError(422, "validation_error", "Validation failed", details={"labels": ["is not an object"]})
        content = json.dumps(
            [sorted(fields.items()), part.name, part.media_type, hashlib.sha256(part.body).hexdigest()]
        )
        attempt = self._attempts.get((owner, key or ""))
        if attempt and attempt[1] > self.now() - DAY and attempt[2] in self.copies:
            if attempt[0] != content:
                raise RefusedError(409, "idempotency_key_conflict", "Another upload has this key")
            return Reply.json(self._speech.media(self.copies[attempt[2]]))
        copy = self._keep(owner, fields, part)
        if key:
            self._attempts[owner, key] = (content, self.now(), copy.id)
        return Reply.json(self._speech.media(copy), 201)

    def _keep(self, owner: str | None, fields: dict[str, str], part: Part) -> Copy:
        """Store an image, if the host would."""
        self._check_allowance(owner)
        if len(part.body) > self.max_bytes:
            raise RefusedError(400 if self.generation == "upload" else 422, "file_too_large", "Too large")
        if (known := encoded(part.body, self.drawings)) is None:
            if self.generation == "upload":
                raise RefusedError(400, "unsupported_format", "Not an image that we take")
            raise RefusedError(422, "validation_error", "Validation failed", details={"file": ["is not an image"]})
        body, form, (width, height) = known
        life = [MONTH] if owner in {None, UNVERIFIED, *self.keys} else []
        if owner is None and "ttl" in fields:
            raise RefusedError(422, "validation_error", "Invalid", errors={"ttl": ["needs a key"]})
        life += [int(fields["ttl"])] if "ttl" in fields else []
        life += [] if self.lifetime is None else [int(self.lifetime)]
        name = f"i{next(self._numbers):06d}"
        expires = self.now() + min(life) if life else None
        sent = hashlib.sha256(part.body).hexdigest()
        fields = {name: text for name, text in fields.items() if name not in self.drops}
        copy = Copy(name, form, body, width, height, owner, sent, part.name, fields, self.now(), expires)
        self.copies[name] = copy
        self.used += owner is not None
        self._anonymous += [self.now()] if owner is None else []
        return copy

    def _check_allowance(self, owner: str | None) -> None:
        for seconds, allowed in ((3600, self.hourly), (DAY, self.daily)) if owner is None else ():
            if len([moment for moment in self._anonymous if moment > self.now() - seconds]) >= allowed:
                raise RefusedError(429, "rate_limited", "Too many", action={"type": "wait", "seconds": seconds})
        if owner == EXHAUSTED or (owner is not None and self.used >= self.quota):
            action = {"type": "upgrade", "url": UPGRADE_LINK, "label": "Upgrade"}
            raise RefusedError(413, "quota_exceeded", "No uploads left", action=action)


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("application/json")
