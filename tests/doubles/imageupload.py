"""A double of imageupload.io: `POST /api/upload`, the tools at `/mcp`, and the images at `/f/<slug>.<ext>`.

Each key has a plan, with the month's quota that its uploads share. Metadata is taken off, so bytes change.
What is sent without an expiration lives for a day, as at the host.

    with ImageUpload() as host:
        host.api_url, host.copies
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any, Self

from doubles.imageupload_store import (
    FREE,
    LIVES,
    MAX_BYTES,
    PLANS,
    PRO,
    QUOTAS,
    STARTER,
    TYPES,
    Copy,
    RefusedError,
    stripped,
)
from doubles.server import Fault, Part, Reply, Request, Server

__all__ = ["FREE", "PRO", "STARTER", "ImageUpload"]

CODES = {400: -32602, 401: -32001, 403: -32603, 404: -32004, 413: -32602, 415: -32602}
CODES |= {429: -32002, 500: -32000, 502: -32004, 503: -32003}


@dataclass
class ImageUpload:
    """The host; a context manager."""

    rate: int | None = None
    """Uploads that it takes within `span` seconds; None = any number."""
    span: float = 60.0
    retry_after: str = ""
    """What it says beside a refusal for the rate; empty = nothing, as is documented."""
    shortens: int | None = None
    """Seconds that every image lives at most, whatever was asked for, as a plan may have it."""
    used: dict[str, int] = field(default_factory=dict)
    """Uploads of this month, by key."""
    copies: dict[str, Copy] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    """Names by slug."""
    blocked: set[bytes] = field(default_factory=set)
    """Bodies that the moderation refuses."""
    shape: str = "images"
    """Where a list is: `images`, `items` or `data`."""
    answers_as: str = "structured"
    """How tools answer: `structured`, `text` (JSON in the content) or `events`."""
    status: int | None = None
    """The HTTP status of the tools' refusals; None = the one that REST would give."""
    is_storage_down: bool = False
    page: int = 100
    origin: str = ""
    """Where it says that its images are; empty = on this server."""
    changes: dict[str, object] = field(default_factory=dict)
    """What to put over the fields of a success."""
    clock: float = 0.0
    """Seconds that the host's clock is ahead."""
    wants_greeting: bool = True
    """Whether the tools are refused to who has not begun a session, as the protocol has it."""
    sessions: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.server = Server(self._route)
        self._forced: deque[Reply] = deque()
        self._tools_forced: deque[Reply] = deque()
        self._recent: deque[float] = deque()
        self._called: list[tuple[str, dict[str, Any]]] = []
        self._guard = threading.RLock()

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.__exit__(*error)

    @property
    def api_url(self) -> str:
        return self.server.url

    @property
    def uploads(self) -> list[Request]:
        """The requests that sent an image."""
        return self.server.requests("POST", "/api/upload")

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """The tools that were called in a session, or whose answer was given before, with their arguments."""
        return list(self._called)

    def answer_next(self, *replies: Reply) -> None:
        """Give the next uploads these answers, and store nothing for them."""
        self._forced.extend(replies)

    def answer_tools(self, *replies: Reply) -> None:
        """Give the next calls of tools these answers."""
        self._tools_forced.extend(replies)

    def lose(self, *faults: Fault) -> None:
        """Let each of the next uploads have one of these faults."""
        self.server.fail(*faults, when=lambda request: request.path == "/api/upload")

    def now(self) -> float:
        return time.time() + self.clock

    def _route(self, request: Request) -> Reply:
        reply = self._answer(request)
        date = formatdate(self.now(), usegmt=True)
        return replace(reply, headers=(*reply.headers, ("Date", date))) if self.clock else reply

    def _answer(self, request: Request) -> Reply:
        with self._guard:
            if request.path == "/mcp" and request.method == "POST":
                return self._tool(request)
            try:
                return self._routed(request)
            except RefusedError as refused:
                reply = Reply.json({"error": refused.text, **refused.more}, refused.status)
                if refused.status != 429 or not self.retry_after:
                    return reply
                return replace(reply, headers=(*reply.headers, ("Retry-After", self.retry_after)))

    def _routed(self, request: Request) -> Reply:
        if request.method == "GET" and (found := re.fullmatch(r"/f/(\w+)\.\w+", request.path)):
            return self._served(found[1])
        if (request.method, request.path) != ("POST", "/api/upload"):
            raise RefusedError(404, "Not found")
        if self._forced:
            return self._forced.popleft()
        owner = self._owner(request)
        self._check_rate()
        fields, files = request.form()
        if "file" not in files:
            raise RefusedError(400, "Missing file")
        copy = self._keep(owner, fields, files["file"])
        quota = self._quota(owner)
        body = {"ok": True, **self._entry(copy), "upload_source": "api", "quota": quota, **self.changes}
        headers = {f"X_Quota_{name.title()}": str(quota[name]) for name in ("used", "limit", "remaining")}
        return Reply.json(body, 200, **headers)

    def _owner(self, request: Request) -> str:
        if request.bearer not in PLANS:
            raise RefusedError(401, "Invalid API key")
        return request.bearer

    def _check_rate(self) -> None:
        if self.rate is None:
            return
        now = time.monotonic()
        while self._recent and self._recent[0] <= now - self.span:
            self._recent.popleft()
        if len(self._recent) >= self.rate:
            raise RefusedError(429, "Rate limit exceeded")
        self._recent.append(now)

    def _served(self, slug: str) -> Reply:
        copy = self.copies.get(slug)
        if copy is None or (copy.expires is not None and copy.expires <= self.now()):
            return Reply(404, b"gone", (("Content-Type", "text/plain"),))
        return Reply.image(copy.body, f"image/{'jpeg' if copy.ending == 'jpg' else copy.ending}")

    def _quota(self, owner: str) -> dict[str, Any]:
        plan = PLANS[owner]
        used, limit = self.used.get(owner, 0), QUOTAS[plan]
        left = None if limit is None else limit - used
        return {"used": used, "limit": limit, "remaining": left, "plan": plan, "unlimited": limit is None}

    def _keep(self, owner: str, fields: dict[str, str], part: Part) -> Copy:
        """Store an image, if the host would."""
        plan, expiration = PLANS[owner], fields.get("expiration", "1d")
        self._check_allowance(owner, plan, expiration, part)
        folder = fields.get("folder")
        if folder is not None and folder not in self.folders:
            raise RefusedError(400, "Unknown folder")
        body, form, (width, height) = stripped(part)
        life = min((time for time in (LIVES[expiration], self.shortens) if time is not None), default=None)
        expires = None if life is None else int(self.now()) + life
        slug = f"s{len(self.copies):07d}"
        where = (owner, part.name, part.media_type, expiration, folder, self.now(), expires)
        copy = self.copies[slug] = Copy(slug, TYPES[form], body, width, height, *where)
        self.used[owner] = self.used.get(owner, 0) + 1
        return copy

    def _check_allowance(self, owner: str, plan: str, expiration: str, part: Part) -> None:
        quota = self._quota(owner)
        if not quota["unlimited"] and quota["remaining"] <= 0:
            told = {**quota, "upgrade_url": "/dashboard/profile#upgrade"}
            raise RefusedError(429, "Monthly API upload quota exceeded", quota=told)
        if expiration not in LIVES:
            raise RefusedError(400, "Invalid expiration")
        if plan == "free" and expiration in {"forever", "3mo"}:
            raise RefusedError(403, "This needs a paid plan")
        if part.body in self.blocked:
            raise RefusedError(403, "Upload rejected")
        if len(part.body) > MAX_BYTES[plan]:
            raise RefusedError(413, "File too large")

    def _entry(self, copy: Copy) -> dict[str, Any]:
        share = f"https://imageupload.io/i/{copy.slug}"
        return {
            "slug": copy.slug,
            "ext": copy.ending,
            "filename": copy.name,
            "mime": copy.media_type,
            "size": len(copy.body),
            "width": copy.width,
            "height": copy.height,
            "expiration": copy.expiration,
            "expires_at": copy.expires,
            "view_limit": None,
            "password_protected": False,
            "folder": copy.folder,
            "share_url": share,
            "direct_url": f"{self.origin or self.server.url}/f/{copy.slug}.{copy.ending}",
            "embed": {"html": f'<img src="{share}">', "bbcode": f"[img]{share}[/img]", "markdown": f"![]({share})"},
        }

    def _tool(self, request: Request) -> Reply:
        message = request.json()
        if message["method"] == "tools/call" and (self._tools_forced or self._is_greeted(request)):
            self._called.append((message["params"]["name"], message["params"]["arguments"]))
        if self._tools_forced:
            return self._tools_forced.popleft()
        if message["method"] == "initialize":
            return self._greeted(message)
        if not self._is_greeted(request):
            is_ended = "mcp-session-id" in request.headers
            error = {"code": -32000, "message": "Bad Request: Server not initialized"}
            return _said({"id": None}, {"error": error}, 404 if is_ended else 400)
        if message["method"] == "notifications/initialized":
            return Reply(202, b"")
        try:
            owner = self._owner(request)
            tools = {
                "get_quota": lambda given: self._quota(owner),
                "list_images": lambda given: self._listed(owner, **given),
                "get_image": lambda given: self._entry(self._own(owner, given["slug"])),
                "delete_image": lambda given: self._deleted(owner, given["slug"]),
                "list_folders": lambda given: {
                    "folders": [{"slug": slug, "name": name} for slug, name in self.folders.items()]
                },
                "create_folder": lambda given: self._made(given["name"]),
            }
            params = message["params"]
            if message["method"] != "tools/call" or params["name"] not in tools:
                return _said(message, {"error": {"code": -32601, "message": "Method not found"}}, 404)
            found = tools[params["name"]](params["arguments"])
        except RefusedError as refused:
            code = -32029 if refused.more else CODES[refused.status]
            return _said(message, {"error": {"code": code, "message": refused.text}}, self.status or refused.status)
        return self._answered(message, found)

    def _greeted(self, message: dict[str, Any]) -> Reply:
        params = message["params"]
        if not {"protocolVersion", "capabilities", "clientInfo"} <= params.keys():
            return _said(message, {"error": {"code": -32602, "message": "Invalid params"}}, 400)
        session = f"session-{len(self.sessions)}-{id(self)}"
        self.sessions.add(session)
        result = {"protocolVersion": "2025-03-26", "capabilities": {"tools": {}}, "serverInfo": {"name": "double"}}
        reply = _said(message, {"result": result}, 200)
        return replace(reply, headers=(*reply.headers, ("Mcp-Session-Id", session)))

    def _is_greeted(self, request: Request) -> bool:
        if not self.wants_greeting:
            return True
        headers = request.headers
        return headers.get("mcp-session-id") in self.sessions and headers.get("mcp-protocol-version") == "2025-03-26"

    def _answered(self, message: dict[str, Any], found: dict[str, Any]) -> Reply:
        text = [{"type": "text", "text": json.dumps(found) if self.answers_as == "text" else "Done."}]
        result: dict[str, Any] = {"content": text}
        if self.answers_as != "text":
            result["structuredContent"] = found
        reply = _said(message, {"result": result}, 200)
        if self.answers_as != "events":
            return reply
        return Reply(200, b"event: message\ndata: " + reply.body + b"\n\n", (("Content-Type", "text/event-stream"),))

    def _listed(self, owner: str, folder: str | None = None, limit: int = 50, offset: int = 0) -> dict[str, Any]:
        assert 1 <= limit <= 100
        wanted = {None: None, "unsorted": {None}}.get(folder, {folder})
        mine = [copy for copy in self.copies.values() if copy.owner == owner]
        fitting = [copy for copy in mine if wanted is None or copy.folder in wanted]
        page = fitting[offset : offset + min(limit, self.page)]
        return {self.shape: [self._entry(copy) for copy in page], "total": len(fitting)}

    def _own(self, owner: str, slug: str) -> Copy:
        if self.is_storage_down:
            raise RefusedError(502, "Error")
        copy = self.copies.get(slug)
        if copy is None or copy.owner != owner:
            raise RefusedError(404, "Error")
        return copy

    def _deleted(self, owner: str, slug: str) -> dict[str, Any]:
        del self.copies[self._own(owner, slug).slug]
        return {"deleted": True, "slug": slug}

    def _made(self, name: str) -> dict[str, Any]:
        if not 1 <= len(name) <= 40 or len(self.folders) >= 200:
            raise RefusedError(400, "Invalid folder, or too many")
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        while slug in self.folders:
            slug += "-2"
        self.folders[slug] = name
        return {"slug": slug, "name": name}


def _said(message: dict[str, Any], answer: dict[str, Any], status: int) -> Reply:
    return Reply.json({"jsonrpc": "2.0", "id": message["id"], **answer}, status)
