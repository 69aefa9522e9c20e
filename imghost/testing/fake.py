"""A fake host, and the store behind it."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from imghost.errors import Action, HostError
from imghost.hosts import Host, HostBase, Quota, Setup, Stored, Usage
from imghost.hosts.answers import Rule, image_urls, moment, origin_of, read_object, refusal, split_origin, unclear
from imghost.models import MEDIA_TYPES, Hosted, Limits, Payload
from imghost.net.client import Answer, Client
from imghost.testing.bench import a_setup
from imghost.testing.loopback import Fault, Loopback, Reply, Seen
from imghost.wording import printable

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


# It is real enough to publish a site to. It is registered nowhere; `write_entry` makes it known to a process.
_NAME: Final = r"[0-9a-f]{64}(?:-[0-9]{1,6})?\.[a-z]{3,4}"
_CODES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "refused": Rule(Action.FILE, "refuses the image", "choose another image"),
        "quota": Rule(Action.STOP, "has no room left", "make room"),
    }
)


@dataclass(frozen=True, slots=True)
class FakeOptions:
    """The host's own settings."""

    api_url: str = "https://fake.example"
    project: str = "project"
    days: int = 0
    """How long the host says that images live; 0 = for ever."""


class FakeHost(HostBase):
    """Uploads images to a `FakeStore`."""

    name = "fake"
    credentials: tuple[str, ...] = ("FAKE_HOST_KEY",)
    origin = "https://fake.example"
    Options = FakeOptions

    def __init__(self, options: FakeOptions, setup: Setup) -> None:
        life = timedelta(days=options.days) if options.days else None
        self.limits = Limits(frozenset(MEDIA_TYPES), 10_000_000, retention=life)
        self.lacks_credential = setup.credential is None
        self.project = options.project
        path = rf"/{re.escape(options.project)}/{_NAME}"
        self._urls = image_urls(r"https://fake\.example" + path, path, options.api_url, self.origin, ())
        parts = split_origin(options.api_url)
        self.origins: tuple[str, ...] = (origin_of(parts) if parts else self.origin,)
        self._place = f"{options.api_url.rstrip('/')}/{options.project}/"
        self._usage = f"{options.api_url.rstrip('/')}/usage"
        self._setup = setup

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images."""
        return self._urls.fullmatch(url) is not None

    def ready(self) -> Quota:
        """Ask how many uploads are left."""
        return Quota(self.usage().remaining)

    def usage(self) -> Usage:
        """Ask how much is used."""
        found = read_object(self.name, self._asked("GET", self._usage))
        used, limit = found.get("used"), found.get("limit")
        if not isinstance(used, int) or not isinstance(limit, (int, type(None))):
            raise unclear(self.name, "has no usage")
        return Usage("fake", used, limit, None if limit is None else max(0, limit - used))

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload."""
        try:
            body = payload.file.open("rb")
        except OSError as error:
            problem = HostError(Action.FILE, f"the file to send cannot be read: {error.strerror}")
        else:
            with body:
                answer = self._asked("PUT", self._place + _name(payload), body=body)
            found = read_object(self.name, answer)
            return replace(self._hosted(found), is_new=found.get("is_new") is not False)
        raise problem

    def find(self, payload: Payload) -> Hosted | None:
        """Find a stored copy of these bytes."""
        for found in self._list():
            if str(found.get("id")).startswith(payload.sha256) and found.get("bytes") == payload.bytes:
                return replace(self._hosted(found), is_new=False)
        return None

    def listed(self) -> Iterator[Stored]:
        """List this project's images."""
        for found in self._list():
            hosted = self._hosted(found)
            yield Stored(hosted.id, hosted.url, bytes=found.get("bytes"))

    def delete(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Delete images; gives why for each that was not."""
        kept = {name: "it is no image's id" for name in ids if not re.fullmatch(_NAME, name)}
        for name in ids:
            if name not in kept:
                self._asked("DELETE", self._place + name)
        return kept

    def _list(self) -> list[dict[str, Any]]:
        found = read_object(self.name, self._asked("GET", self._place)).get("images")
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise unclear(self.name, "is no list")
        return found

    def _asked(self, method: str, url: str, **parts: Any) -> Answer:
        key = self._setup.credential.reveal() if self._setup.credential else ""
        answer = self._setup.client.send(method, url, headers={"Authorization": f"Bearer {key}"}, **parts)
        if 200 <= answer.status < 300:
            return answer
        raise refusal(self.name, answer, _CODES)

    def _hosted(self, found: Mapping[str, Any]) -> Hosted:
        url, name = found.get("url"), found.get("id")
        if not isinstance(url, str) or not isinstance(name, str):
            raise unclear(self.name, "has no `url` and `id`")
        if not self.accepts(url):
            reason = f"{self.name} gave a URL that is not one of its images: {printable(url, 80)}"
            raise HostError(Action.FILE, reason, is_ambiguous=True)
        try:
            return Hosted(url, name, moment(found.get("expires")))
        except ValueError:
            raise unclear(self.name, "does not say how long the image lives") from None


def fake_host(store: FakeStore, client: Client, folder: Path, **options: Any) -> Host:
    """Make the host on a store, for a project in a folder."""
    return FakeHost(FakeOptions(store.url, **options), a_setup(client, folder, KEY))


def write_entry(folder: Path, name: str, target: str) -> None:
    """Make a host known, as if its package were installed, to processes that have the folder on their path.

    `target` names its class, like `imghost.testing:FakeHost`.
    """
    metadata = folder / f"{re.sub('[^a-z0-9]', '_', name)}_entry-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-entry\nVersion: 1\n", "utf-8")
    (metadata / "entry_points.txt").write_text(f"[imghost.hosts]\n{name} = {target}\n", "utf-8")


def _name(payload: Payload) -> str:
    return f"{payload.sha256}.{MEDIA_TYPES[payload.media_type]}"
