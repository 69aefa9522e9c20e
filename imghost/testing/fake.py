"""A fake host and the store behind it, the server on loopback that it runs on, and pictures to send."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol, Self
from urllib.parse import quote

from PIL import Image as Picture
from PIL import features

from imghost.errors import Action, HostError
from imghost.hosts import Host, HostBase, HostType, Quota, Secret, Setup, Stored, Usage
from imghost.hosts.answers import Rule, image_urls, moment, origin_of, read_object, refusal, split_origin, unclear
from imghost.image.inspect import inspect
from imghost.models import MEDIA_TYPES, Hosted, Image, Limits, Payload
from imghost.net import Answer, Client
from imghost.wording import printable

KEY: Final = "fake-canary-0123456789"
"""The credential that the store takes."""


class FakeStore:
    """The store, in memory or in a folder; a context manager.

    Without `is_idempotent` every upload is a new copy. `life` is how long it keeps what it gets from now on;
    None = for ever. `quota` is how many images it takes. `clock` tells its time, by which images end, and which its
    answers have. With `lingers` what is deleted is served until `flush`, as a CDN does with what it has in its cache.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        is_idempotent: bool = True,
        life: timedelta | None = None,
        quota: int | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        lingers: bool = False,
    ) -> None:
        self.folder = folder
        self.is_idempotent = is_idempotent
        self.life = life
        self.quota = quota
        self.refused: set[str] = set()
        """Digests of payloads that it refuses."""
        self.uploads: Counter[str] = Counter()
        """How often each payload came and was stored, by its digest."""
        self._clock = clock
        self.lingers = lingers
        self._lingering: dict[str, bytes] = {}
        self._images: dict[str, bytes] = {}
        self._ends: dict[str, datetime] = {}
        self._guard = threading.Lock()
        self._server = Loopback(self._route, clock=clock)

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
        """The stored images by their paths; those that have come to their end are gone."""
        if self.folder is None:
            every = dict(self._images)
        else:
            found = sorted(file for file in self.folder.rglob("*.*") if file.is_file())
            every = {file.relative_to(self.folder).as_posix(): file.read_bytes() for file in found}
        now = self._clock()
        return {path: body for path, body in every.items() if path not in self._ends or self._ends[path] > now}

    @property
    def ends(self) -> Mapping[str, datetime]:
        """When images end, by their paths; those that do not are not in it."""
        return dict(self._ends)

    def fail(self, *faults: Fault | Reply) -> None:
        """Let each of the next uploads have one of these faults, or this answer without being stored."""
        self._server.fail(*faults)

    def calm(self) -> None:
        """Forget the faults that no upload has had."""
        self._server.calm()

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

    def flush(self) -> None:
        """Serve nothing any more of what is deleted."""
        self._lingering.clear()

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    def _route(self, seen: Seen) -> Reply:
        path = seen.target.removeprefix("/")
        with self._guard:
            served = {**self._lingering, **self.images}
            if seen.method in {"GET", "HEAD"} and path in served:
                media_type = next(kind for kind, ending in MEDIA_TYPES.items() if path.endswith(f".{ending}"))
                return Reply(200, served[path], {"Content-Type": media_type})
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
        end = None if self.life is None else self._clock() + self.life
        # A copy that is there lasts as long as was promised before.
        if end and (path not in self.images or self._ends.get(path, end) < end):
            self._ends[path] = end
        elif end is None:
            self._ends.pop(path, None)
        if self.folder is None:
            self._images[path] = body
            return
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(body)

    def _remove(self, path: str) -> bool:
        images = self.images
        self._ends.pop(path, None)
        if path not in images:
            return False
        if self.lingers:
            self._lingering[path] = images[path]
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
        "refused": Rule(Action.FILE, "refuses the image", "choose another image", True),
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
        """Find a stored copy of these bytes; one that does not outlast what is renewed is no renewal."""
        for found in self._list():
            if str(found.get("id")).startswith(payload.sha256) and found.get("bytes") == payload.bytes:
                hosted = replace(self._hosted(found), is_new=False)
                if hosted.expires is None or hosted.expires.timestamp() > payload.period:
                    return hosted
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


def write_entry(folder: Path, name: str, target: str, group: str = "imghost.hosts") -> None:
    """Make a host known, as if its package were installed, to processes that have the folder on their path.

    `target` names its class, like `imghost.testing:FakeHost`; with the group `imghost.stores` it is a store.
    """
    metadata = folder / f"{re.sub('[^a-z0-9]', '_', name)}_entry-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-entry\nVersion: 1\n", "utf-8")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n", "utf-8")


def _name(payload: Payload) -> str:
    return f"{payload.sha256}.{MEDIA_TYPES[payload.media_type]}"


# A small HTTP server on loopback to build a host's double on, with the faults that hosts have.

TRAP: Final = "/trap-for-redirects"
"""Where a redirect leads that nobody should follow."""
EVIL: Final = "https://evil.example"
_USUAL: Final = frozenset(
    {"host", "user-agent", "accept", "accept-encoding", "connection", "content-length", "content-type"}
)
"""Headers that hold no secret."""
_PATIENCE: Final = 20.0
"""Seconds after which a connection that hangs gives up, so that no test hangs for ever."""
_WHILE: Final = 0.4
"""Seconds after which a slow answer comes."""


class Fault(Enum):
    """What goes wrong with one upload."""

    LOST = "stores the image and closes without an answer"
    HANGS = "stores the image and never answers"
    DRIPS = "stores the image and answers a byte at a time, without end"
    SLOW = "stores the image and answers rightly, after a while"
    HALF = "stores the image and breaks off in the middle of its answer"
    PAGE = "stores the image and answers with an HTML page"
    NESTED = "stores the image and answers with JSON too deep to read"
    ENDLESS = "stores the image and answers without end"
    ELSEWHERE = "stores the image and names a URL at another host"
    JUNK = "answers with what is no HTTP"
    BUSY = "answers 503"
    LATER = "asks to wait for thirty years"
    ECHO = "refuses the image and repeats what the request's headers hold"
    REDIRECT = "redirects to another origin"


STORING: Final = frozenset(
    {
        *(Fault.LOST, Fault.HANGS, Fault.DRIPS, Fault.SLOW, Fault.HALF, Fault.PAGE, Fault.NESTED, Fault.ENDLESS),
        Fault.ELSEWHERE,
    }
)
"""Faults after which the image is there."""
UNCLEAR: Final = STORING - {Fault.ELSEWHERE, Fault.SLOW} | {Fault.JUNK}
"""Faults after which nobody can know whether it is."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came; names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to give."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: object, status: int = 200) -> Reply:
        """Answer with JSON."""
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def is_sending(seen: Seen) -> bool:
    """Say whether a request uploads, as far as its method tells."""
    return seen.method in {"POST", "PUT"}


class Loopback:
    """The server; a context manager. `route` gives the reply to a request, from any thread.

    `fail` lets the next uploads go wrong, each with one fault or with an answer in place of the route's; `is_upload`
    says which requests these are, and `clock` what the time is that answers have.
    """

    def __init__(
        self,
        route: Callable[[Seen], Reply],
        is_upload: Callable[[Seen], bool] = is_sending,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.clock = clock
        self.log: list[Seen] = []
        self._route = route
        self._is_upload = is_upload
        self._faults: deque[Fault | Reply] = deque()
        self._ended = threading.Event()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The origin, once the server runs."""
        if self._server is None:
            raise RuntimeError("the server is not running; open it with `with`")
        return f"http://127.0.0.1:{self._server.server_port}"

    def fail(self, *faults: Fault | Reply) -> None:
        """Let each of the next uploads have one of these faults, or this answer without being stored."""
        self._faults.extend(faults)

    def calm(self) -> None:
        """Forget the faults that no upload has had."""
        self._faults.clear()

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Speaker)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._server and self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def answer(self, seen: Seen, speaker: _Speaker) -> None:
        """Answer one request, rightly or not."""
        self.log.append(seen)
        fault = None
        if self._is_upload(seen):
            with suppress(IndexError):
                fault = self._faults.popleft()
        if isinstance(fault, Reply):
            speaker.give(fault)
            return
        reply = Reply() if fault and fault not in STORING else self._route(seen)
        if fault is Fault.SLOW:
            self._ended.wait(_WHILE)
        if fault in {None, Fault.SLOW}:
            speaker.give(reply)
        elif fault and (changed := altered(fault, seen, reply, self.url)):
            speaker.give(changed)
        elif fault:
            speaker.close_connection = True
            self._break(fault, reply, speaker)

    def _break(self, fault: Fault, reply: Reply, speaker: _Speaker) -> None:
        """Break the connection in the fault's way."""
        if fault is Fault.HANGS:
            self._ended.wait(_PATIENCE)
        elif fault is Fault.DRIPS:
            speaker.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            for _ in range(int(_PATIENCE / 0.05)):
                speaker.wfile.write(b"x")
                if self._ended.wait(0.05):
                    break
        elif fault is Fault.JUNK:
            speaker.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        elif fault is Fault.HALF:
            speaker.give(reply, reply.body[: len(reply.body) // 2])
        elif fault is Fault.ENDLESS:
            speaker.give(replace(reply, body=b" " * 20_000_000), b"")
            for _ in range(300):
                speaker.wfile.write(b" " * 65_536)


def altered(fault: Fault, seen: Seen, reply: Reply, origin: str) -> Reply | None:
    """Give the whole answer that stands for a fault; None for faults of the connection."""
    port = origin.rpartition(":")[2]
    own = [value for name, value in seen.headers.items() if name not in _USUAL]
    found = {
        Fault.PAGE: Reply(200, b"<!doctype html><title>Bad Gateway</title>", {"Content-Type": "text/html"}),
        Fault.NESTED: Reply(200, b"[" * 30_000 + b"]" * 30_000, {"Content-Type": "application/json"}),
        Fault.ELSEWHERE: replace(reply, body=reply.body.replace(origin.encode(), EVIL.encode())),
        Fault.BUSY: Reply.json({"error": "busy"}, 503),
        Fault.LATER: replace(Reply.json({"error": "slow_down"}, 429), headers={"Retry-After": "999999999"}),
        Fault.ECHO: Reply.json({"error": "invalid", "message": "\n::error::\x1b[2J" + " ".join(own)}, 400),
        Fault.REDIRECT: Reply(307, b"", {"Location": f"http://localhost:{port}{TRAP}"}),
    }
    return found.get(fault)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: Loopback

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away, as they do after a fault."""


class _Speaker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = int(headers.get("content-length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:  # its sender was killed
            self.close_connection = True
            return
        self.server.owner.answer(Seen(self.command, self.path, headers, body), self)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names

    def give(self, reply: Reply, body: bytes | None = None) -> None:
        """Send a reply, whose length is said to be the reply's even where another body is given."""
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body if body is None else body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Tell the time by the double's own clock."""
        return super().date_time_string(self.server.owner.clock().timestamp() if timestamp is None else timestamp)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the library's name
        """Print nothing."""


# A host and its double side by side, hostile URLs, and pictures.

_AFTER: Final = (
    "\n",
    " ",
    "\t",
    "\x00",
    "\u202e",
    "\\",
    '" onerror="alert(1)',
    "' onerror='alert(1)",
    "><script>alert(1)</script>",
    ", https://evil.example/b.png 2x",
    '?"><script>',
    "#onload",
    "/",
    "/../a",
    ".html",
    ".js",
)
_WHOLE: Final = (
    "",
    " ",
    "javascript:alert(1)",
    "data:image/svg+xml,<svg onload=alert(1)>",
    "blob:https://evil.example/a.png",
    "file:///etc/passwd",
    "/etc/passwd",
    "../../etc/passwd",
    "//evil.example/a.png",
    "https://evil.example/a.png",
    "https://evil.example",
    "https://169.254.169.254/a.png",
    "https://[::1]/a.png",
    "https://" + "a" * 5_000 + ".example/a.png",
)


def hostile_urls(good: str) -> tuple[str, ...]:
    """List URLs that a host must not accept, made of one that it accepts."""
    changed = [good + ending for ending in _AFTER] + [" " + good, "\n" + good, "javascript:alert(1)//" + good]
    scheme, _, rest = good.partition("://")
    if not rest:
        return (*_WHOLE, *changed, f"../{good}", f"/{good}", f"x/../../{good}")
    host, _, path = rest.partition("/")
    changed += [f"{other}://{rest}" for other in ("ftp", "javascript", "ws", scheme.upper())]
    changed += [f"{scheme}:{rest}", f"{scheme}:/{rest}", f"//{rest}", rest, f"{scheme}:\\\\{host}\\{path}"]
    places = [
        f"user@{host}",
        f"user:password@{host}",
        "evil.example",
        f"{host}.evil.example",
        f"{host}@evil.example",
        f"evil.example#{host}",
        f"evil.example?{host}",
        f"evil.example/{host}",
        f"evil.example\\@{host}",
        f"{host}\\@evil.example",
        f"{host}%2f@evil.example",
        f"x{host}",
        f"{host}.",
        f"{host}:",
        f"{host}:1" if ":" not in host else f"{host[:-1]}{(int(host[-1]) + 1) % 10}",
    ]
    changed += [f"{scheme}://{place}/{path}" for place in places]
    paths = [f"../{path}", f"a/../{path}", f"%2e%2e/{path}", f"/{path}", "", "a b.png", "a" * 5_000 + ".png"]
    return (*_WHOLE, *changed, *(f"{scheme}://{host}/{wrong}" for wrong in paths))


PRIVATE = "private-name"
"""What payloads' files are called: no host may be told."""


def draw(number: int = 0, media_type: str = "image/png") -> bytes:
    """Draw a picture of 24 x 16 pixels; every number gives other bytes."""
    shade = (number * 37 % 256, number // 7 % 256, 90)
    if media_type == "image/svg+xml":
        size, colour = 'width="24" height="16"', "#{:02x}{:02x}{:02x}".format(*shade)
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><path id="n{number}" fill="{colour}"/></svg>'.encode()
    drawn = Picture.new("RGB", (24, 16), shade)
    for digit, x in zip(f"{number:024b}", range(24), strict=False):
        drawn.putpixel((x, 0), (255, 255, 255) if digit == "1" else (0, 0, 0))
    file = io.BytesIO()
    drawn.save(file, media_type.partition("/")[2], **({} if media_type == "image/gif" else {"lossless": True}))
    return file.getvalue()


def drawable(formats: frozenset[str]) -> list[str]:
    """List those of a host's formats that can be drawn here; a Pillow without AVIF draws none."""
    lacking = frozenset() if features.check("avif") else frozenset({"image/avif"})
    return sorted(formats & MEDIA_TYPES.keys() - lacking)


def a_payload(folder: Path, number: int = 0, media_type: str = "image/png") -> Payload:
    """Make a payload as a run makes it: a file of its own, known by its bytes."""
    body = draw(number, media_type)
    digest = hashlib.sha256(body).hexdigest()
    file = folder / f"{PRIVATE}-{number}"
    file.write_bytes(body)
    facts = inspect(body)
    return Payload(digest, digest, file, len(body), media_type, facts.width, facts.height)


def an_image(payload: Payload) -> Image:
    """Give the image of the site that a payload is of."""
    return Image(f"images/{payload.image[:8]}", payload.image, payload.bytes, inspect(payload.file.read_bytes()))


class Request(Protocol):
    """A request that a double has got."""

    @property
    def method(self) -> str:
        """The method."""
        ...

    @property
    def target(self) -> str:
        """Path and query."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by lower-case name."""
        ...

    @property
    def body(self) -> bytes:
        """The body."""
        ...


class Double(Protocol):
    """What stands for a host in tests: on loopback, it stores and serves images, and fails on demand."""

    @property
    def log(self) -> Sequence[Request]:
        """The requests so far."""
        ...

    @property
    def stored(self) -> int:
        """How many images it has: two copies of one count twice."""
        ...

    def fail(self, *faults: Fault | Reply) -> None:
        """Let each of the next uploads have one of these faults, or this answer without being stored."""
        ...


@dataclass(frozen=True, slots=True)
class Bench:
    """A host and its double, ready to be tried; `double` is None for a host without the network."""

    host: Host
    double: Double | None
    client: Client
    secrets: tuple[str, ...]
    anew: Callable[[], Host]
    """Makes the host again on the same double, as a later build does."""

    @property
    def asked(self) -> Double:
        """Give the double of a host that needs the network."""
        if self.double is None:
            raise TypeError("this host has no double")
        return self.double

    def refusal(self, payload: Payload) -> HostError | None:
        """Upload once and give the HostError, checked, or None if the upload succeeded."""
        try:
            hosted = self.host.upload(payload)
        except HostError as error:
            self.check_text(error)
            return error
        except Exception as foreign:
            raise AssertionError(f"upload raised {type(foreign).__name__}; a host raises only HostError") from foreign
        expect(isinstance(hosted, Hosted), f"upload gave {hosted!r}, not Hosted")
        expect(self.host.accepts(hosted.url), f"upload gave a URL that the host does not accept: {hosted.url!r}")
        return None

    def check_text(self, error: HostError) -> None:
        """Check that an error is one printable line, tells what to do, and holds no secret."""
        text = str(error)
        expect(isinstance(error.action, Action), f"{error.action!r} is no Action")
        expect(text.isprintable() and 0 < len(text) <= 700, f"no printable line of at most 700 letters: {text!r:.900}")
        expect("::" not in text, f"a CI would take a part of this for a command: {text!r}")
        expect(error.wait is None or 0 <= error.wait < math.inf, f"no time to wait: {error.wait!r}")
        told = "".join(traceback.format_exception(error)) + repr(vars(error))
        expect(not self.holds_secret(told), "an error's text or traceback holds the credential")

    def holds_secret(self, text: str) -> bool:
        """Say whether a text holds a credential, as it is or encoded."""
        return any(form in text for secret in self.secrets for form in forms(secret))


def expect(is_so: bool, otherwise: str) -> None:
    """Raise AssertionError with the sentence where a fact does not hold."""
    if not is_so:
        raise AssertionError(otherwise)


def forms(secret: str) -> tuple[str, ...]:
    """List how a secret may be written: as it is, encoded for a URL, in base64, in hexadecimal digits."""
    raw = secret.encode()
    return secret, quote(secret, safe=""), base64.b64encode(raw).decode().rstrip("="), raw.hex()


def a_setup(
    client: Client,
    folder: Path,
    credential: str | None = None,
    retention: timedelta | None = None,
    environ: Mapping[str, str] | None = None,
    **more: Any,
) -> Setup:
    """Make what a run gives a host, for a project in a folder; its site is the folder `site` there."""
    return Setup(
        client,
        Secret(credential) if credential else None,
        retention,
        folder,
        folder / "site",
        environ or {},
        lock=folder / "imghost.lock",
        cache_dir=folder / ".cache",
        **{"max_cost": Decimal(0), **more},
    )


def kinds_facts(kind: HostType) -> dict[str, bool]:
    """Say which facts hold for a class that an entry point names, by their sentences."""
    variables = kind.credentials
    return {
        "`name` is a text": isinstance(kind.name, str) and bool(kind.name),
        "`credentials` are names of environment variables": isinstance(variables, tuple)
        and all(name.isidentifier() and name.isupper() for name in variables),
        "`Options` is a frozen dataclass": getattr(kind.Options, "__dataclass_params__", None) is not None
        and kind.Options.__dataclass_params__.frozen,
        "`origin` is https, or empty where no credential is sent": kind.origin.startswith("https://")
        or (kind.origin == "" and not variables),
        "every option has a default": bool(kind.Options() or True),
    }
