"""A host that there is not, which uploads to a store on loopback.

It is real enough to publish a site to. It is registered nowhere; `write_entry` makes it known to a process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from imghost.errors import Action, HostError
from imghost.hosts import Host, Quota, Setup, Stored, Usage
from imghost.hosts.answers import Rule, image_urls, moment, origin_of, read_object, refusal, split_origin, unclear
from imghost.models import MEDIA_TYPES, Hosted, Image, Limits, Payload
from imghost.net.client import Answer, Client
from imghost.testing.bench import a_setup
from imghost.testing.store import KEY, FakeStore
from imghost.wording import printable

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


class FakeHost:
    """Uploads images to a `FakeStore`."""

    name = "fake"
    credentials: tuple[str, ...] = ("FAKE_HOST_KEY",)
    origin = "https://fake.example"
    Options = FakeOptions
    needs_network = True

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

    def stored(self, image: Image, variant: str) -> Hosted | None:  # noqa: ARG002 - nothing is on this machine
        """Find nothing: the images are elsewhere."""
        return None

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
