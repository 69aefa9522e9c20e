"""What the double of img.pro says: images, the account and refusals, in both generations of its API."""

from __future__ import annotations

import http.client
import io
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from PIL import Image as Picture
from PIL import UnidentifiedImageError

from doubles.server import Part, Reply

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
EDGES = {"s": 320, "m": 640, "l": 1080}
"""Sizes that the CDN serves, each with its shorter edge in pixels."""
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

    def fits(self, query: dict[str, str], generation: str) -> bool:
        """Say whether a list that was asked for with this query has the image."""
        if generation == "upload":
            wanted = set(query["tags"].split(",")) if "tags" in query else set()
            has_tags = wanted <= set(self.fields.get("tags", "").split(",")) or query.get("tag_mode") != "all"
            return query.get("namespace") in {None, self.fields.get("namespace")} and has_tags
        if "ids" in query:
            return self.id in query["ids"].split(",")[:50]
        wanted = {found[1]: text for name, text in query.items() if (found := re.fullmatch(r"label\[(.+)\]", name))}
        return all(self.labels.get(name) == text for name, text in wanted.items())


@dataclass(frozen=True)
class Speech:
    """How a generation writes its answers."""

    generation: str
    origin: str
    duplicates: str
    is_processing: bool

    def media(self, copy: Copy) -> dict[str, Any]:
        address = f"{self.origin}/t/{copy.id}.{copy.ending}"
        size: dict[str, Any] = {"width": copy.width, "height": copy.height}
        if self.is_processing:
            size = {"width": None, "height": None}
        if self.generation == "upload":
            return _flat(copy, address) | size
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

    def page(self, copies: list[Copy], start: int, limit: int) -> Reply:
        page = [self.media(copy) for copy in copies[start : start + limit]]
        has_more = len(copies) > start + limit
        cursor = str(start + limit) if has_more else None
        if self.generation == "upload":
            return Reply.json({"items": page, "cursor": cursor, "has_more": has_more})
        return Reply.json({"data": page, "pagination": {"next_cursor": cursor, "has_more": has_more}})

    def usage(self, used: int, quota: int, resets: int, *, is_verified: bool) -> Reply:
        if self.generation == "images":
            limits = {"images": {"used": used, "limit": quota}}
            return Reply.json({"plan": "free", "limits": limits, "totals": {"images_stored": used}})
        usage: dict[str, Any] = {
            "plan": "free",
            "uploads_used": used,
            "uploads_limit": quota,
            "uploads_remaining": quota - used,
            "storage_used_bytes": 0,
            "storage_limit_bytes": 5_000_000_000,
            "resets_at": resets,
            "verified": is_verified,
        }
        if not is_verified:
            usage["action"] = {"type": "verify", "url": VERIFY_LINK, "label": "Verify"}
        return Reply.json(usage)

    def refusal(self, refused: RefusedError) -> Reply:
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


def _flat(copy: Copy, address: str) -> dict[str, Any]:
    media: dict[str, Any] = {
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
    }
    if copy.expires is not None:
        media["expires_at"] = int(copy.expires)
        media["upgrade"] = {"type": "upgrade", "url": UPGRADE_LINK}
    return media


def encoded(body: bytes, drawings: str = "") -> tuple[bytes, str, tuple[int, int]] | None:
    """Strip and re-encode as the CDN does, where that is cheap; None for what is no image.

    `drawings` is what a drawing is served as; without it none is taken.
    """
    if drawings and body.lstrip().startswith(b"<svg"):
        return body, drawings, (300, 150)
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
        return None


def varied(copy: Copy, query: dict[str, str]) -> tuple[bytes, str]:
    """Serve a copy in the size and the format asked for; what is unknown is ignored, and nothing is enlarged."""
    kind = "jpeg" if copy.ending == "jpg" else copy.ending
    edge, wanted = EDGES.get(query.get("size", "")), query.get("format", kind)
    wanted = wanted if wanted in {"png", "webp", "avif"} else kind
    if (edge is None or edge >= min(copy.width, copy.height)) and wanted == kind:
        return copy.body, kind
    with Picture.open(io.BytesIO(copy.body)) as picture:
        ratio = min(1.0, edge / min(picture.size)) if edge else 1.0
        again = io.BytesIO()
        picture.resize((int(picture.width * ratio), int(picture.height * ratio))).save(again, wanted)
        return again.getvalue(), wanted


def fetched(url: object, generation: str, patience: float) -> Part:
    """Fetch what an import names; only tests' own servers on this machine are asked."""
    if not isinstance(url, str):
        raise RefusedError(*((400, "missing_url") if generation == "upload" else (422, "validation_error")))
    parts = urlsplit(url)
    failed, late = (400, 400) if generation == "upload" else (502, 504)
    if parts.hostname != "127.0.0.1":
        raise RefusedError(failed, "fetch_failed", "The address is not public")
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=patience)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        body = answer.read()
    except TimeoutError:
        raise RefusedError(late, "fetch_failed", "The server is too slow") from None
    except (OSError, http.client.HTTPException):
        raise RefusedError(failed, "fetch_failed", "The server cannot be reached") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise RefusedError(failed, "fetch_failed", f"The server answered {answer.status}")
    return Part(parts.path.rpartition("/")[2], answer.headers.get_content_type(), body)


def batch_deleted(
    copies: dict[str, Copy], asked: dict[str, Any], owner: str, locked: set[str], generation: str
) -> Reply:
    """Delete by ids, or in the older generation a whole namespace at once."""
    ids = asked.get("ids", [])
    if not isinstance(ids, list) or len(ids) > 100:
        raise RefusedError(422, "validation_error", "At most 100 ids")
    if generation == "upload" and "namespace" in asked:
        ids = [one.id for one in copies.values() if one.fields.get("namespace") == asked["namespace"]]
    missing = {name for name in ids if name not in copies or copies[name].owner != owner}
    refused = {name: "not_found" if name in missing else "media_locked" for name in {*missing, *(locked & {*ids})}}
    for name in set(ids) - set(refused):
        del copies[name]
    if generation == "upload":
        return Reply.json({"deleted": len(set(ids)) - len(refused)})
    errors = [{"id": name, "error": {"code": code, "message": "In words."}} for name, code in refused.items()]
    return Reply.json({"object": "batch_result", "data": [], "errors": errors})


def patched(copies: dict[str, Copy], asked: dict[str, Any], name: str, owner: str, speech: Speech) -> Reply:
    """Change what is kept beside one image, or beside at most a hundred (`upload` generation)."""
    ids = asked.pop("ids", None) if name == "batch" else [name]
    if not isinstance(ids, list) or not 1 <= len(ids) <= 100:
        raise RefusedError(422, "validation_error", "Invalid", errors={"ids": ["1 to 100 ids"]})
    types = {"tags": str, "namespace": str, "public": bool, "metadata": dict}
    for field, told in asked.items():
        if type(told) is not types.get(field):
            raise RefusedError(422, "validation_error", "Invalid", errors={field: ["is not valid"]})
    tags = asked.get("tags", "").split(",")
    if len(tags) > 10 or not re.fullmatch(r"[a-z0-9-]{2,64}", asked.get("namespace", "none")):
        raise RefusedError(422, "validation_error", "Invalid", errors={"tags": ["are not valid"]})
    found = [copies[one] for one in ids if one in copies and copies[one].owner == owner]
    if name != "batch" and not found:
        raise RefusedError(404, "not_found", "No such image")
    metadata = {key: str(text) for key, text in asked.pop("metadata", {}).items()}
    told = {field: told if isinstance(told, str) else json.dumps(told) for field, told in asked.items()}
    for copy in found:
        copy.fields.update(told | metadata)
    return Reply.json({"updated": len(found)} if name == "batch" else speech.media(found[0]))


def form_of(fields: dict[str, Any]) -> dict[str, str]:
    """Write JSON fields as a form has them; each must have its own type."""
    types = {"labels": dict, "metadata": dict, "public": bool, "ttl": int}
    for name, told in fields.items():
        if type(told) is not types.get(name, str):
            raise RefusedError(422, "validation_error", "Invalid", errors={name: ["has another type"]})
    return {name: told if isinstance(told, str) else json.dumps(told) for name, told in fields.items()}
