"""Where the double of img.pro makes keys: three for an address, five tries an hour."""

from __future__ import annotations

from dataclasses import dataclass, field

from canaries import credential

from doubles.imgpro_copies import RefusedError
from doubles.server import Reply, Request


@dataclass
class KeyDesk:
    """The keys that were made, and who asked."""

    keys: dict[str, str] = field(default_factory=dict)
    """E-mail addresses by keys."""
    tries: list[float] = field(default_factory=list)

    def made(self, request: Request, now: float, uploads: int) -> Reply:
        email = request.json().get("email", "")
        if "." not in email.partition("@")[2]:
            raise RefusedError(422, "validation_error", "Invalid", errors={"email": ["is not valid"]})
        self.tries.append(now)
        if len([moment for moment in self.tries if moment > now - 3600]) > 5:
            raise RefusedError(429, "rate_limited", "Too many", action={"type": "wait", "seconds": 3600})
        if list(self.keys.values()).count(email) == 3:
            raise RefusedError(403, "key_limit_reached", "Three keys are there")
        key = credential(f"img_live_made{len(self.keys)}x")
        self.keys[key] = email
        limits = {"uploads": uploads, "storage_mb": 5000, "retention_days": 30}
        made = {"key": key, "key_id": f"k{len(self.keys)}", "status": "active", "verified": False, "limits": limits}
        return Reply.json({**made, "message": f"Verify {email} to keep images"}, 201)
