"""A store on loopback that takes and serves images, for hosts that there are not."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from imghost.models import MEDIA_TYPES
from imghost.testing.loopback import Fault, Loopback, Reply, Seen

KEY: Final = "fake-canary-0123456789"
"""The credential that the store takes."""


class FakeStore:
    """The store, in memory or in a folder; a context manager.

    Without `is_idempotent` every upload is a new copy. `life` is how long it keeps what it gets from now on;
    None = for ever. `quota` is how many images it takes.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        is_idempotent: bool = True,
        life: timedelta | None = None,
        quota: int | None = None,
    ) -> None:
        self.folder = folder
        self.is_idempotent = is_idempotent
        self.life = life
        self.quota = quota
        self.refused: set[str] = set()
        """Digests of payloads that it refuses."""
        self.uploads: Counter[str] = Counter()
        """How often each payload came and was stored, by its digest."""
        self._images: dict[str, bytes] = {}
        self._ends: dict[str, datetime] = {}
        self._guard = threading.Lock()
        self._server = Loopback(self._route)

    @property
    def url(self) -> str:
        """The store's address, which is the host's `api_url`."""
        return self._server.url

    @property
    def log(self) -> Sequence[Seen]:
        """The requests so far."""
        return self._server.log

    @property
    def stored(self) -> int:
        """How many images there are; copies count."""
        return len(self.images)

    @property
    def images(self) -> Mapping[str, bytes]:
        """The stored images by their paths."""
        if self.folder is None:
            return dict(self._images)
        found = sorted(file for file in self.folder.rglob("*.*") if file.is_file())
        return {file.relative_to(self.folder).as_posix(): file.read_bytes() for file in found}

    def fail(self, *faults: Fault) -> None:
        """Let each of the next uploads have one of these faults."""
        self._server.fail(*faults)

    def lose(self, times: int = 1) -> None:
        """Store each of the next uploads and give no answer, so that nobody can know."""
        self.fail(*[Fault.LOST] * times)

    def refuse(self, *digests: str) -> None:
        """Refuse the payloads with these digests."""
        self.refused.update(digests)

    def expire(self) -> None:
        """Let every image that has an end come to it."""
        for path in list(self._ends):
            self._remove(path)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    def _route(self, seen: Seen) -> Reply:
        path = seen.target.removeprefix("/")
        with self._guard:
            if seen.method in {"GET", "HEAD"} and path in self.images:
                media_type = next(kind for kind, ending in MEDIA_TYPES.items() if path.endswith(f".{ending}"))
                return Reply(200, self.images[path], {"Content-Type": media_type})
            if seen.headers.get("authorization") != f"Bearer {KEY}":
                return Reply.json({"error": "unauthorized"}, 401)
            if seen.method == "PUT":
                return self._put(path, seen.body)
            if seen.method == "DELETE":
                return Reply.json({"deleted": self._remove(path)})
            if path.partition("?")[0] == "usage":
                return Reply.json({"used": self.stored, "limit": self.quota})
            if path.endswith("/"):
                return Reply.json({"images": [self._entry(name) for name in self.images if name.startswith(path)]})
        return Reply.json({"error": "not_found"}, 404)

    def _put(self, path: str, body: bytes) -> Reply:
        digest = hashlib.sha256(body).hexdigest()
        if digest in self.refused:
            return Reply.json({"error": "refused"}, 422)
        if self.quota is not None and self.stored >= self.quota:
            return Reply.json({"error": "quota"}, 403)
        if not self.is_idempotent:
            name, _, ending = path.rpartition(".")
            path = f"{name}-{self.uploads[digest]}.{ending}"
        is_new = path not in self.images
        self.uploads[digest] += 1
        self._keep(path, body)
        return Reply.json({**self._entry(path), "is_new": is_new}, 201)

    def _keep(self, path: str, body: bytes) -> None:
        if self.life is not None:
            self._ends[path] = datetime.now(UTC) + self.life
        if self.folder is None:
            self._images[path] = body
            return
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(body)

    def _remove(self, path: str) -> bool:
        self._ends.pop(path, None)
        if path not in self.images:
            return False
        if self.folder is None:
            del self._images[path]
        else:
            (self.folder / path).unlink()
        return True

    def _entry(self, path: str) -> dict[str, object]:
        end = self._ends.get(path)
        known = {"id": path.rpartition("/")[2], "url": f"{self.url}/{path}", "bytes": len(self.images[path])}
        return {**known, "expires": end.isoformat() if end else None}
