"""img.pro's requests: every field is a function of the bytes and the settings, never of a path."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from imghost.hosts import Secret
from imghost.hosts.clock import HostClock
from imghost.hosts.imgpro.options import Fields, Generation
from imghost.models import Payload
from imghost.net.client import Answer, Client, FilePart

What = Payload | str
"""An image to store: its payload, or a public URL that the host fetches."""
LIST_LIMIT: Final = 1 << 20
"""Bytes that a list of a hundred images may take."""
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Api:
    """Sends the requests; the credential is revealed here and nowhere else."""

    def __init__(self, client: Client, url: str, secret: Secret | None, fields: Fields, clock: HostClock) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._secret = secret
        self.fields = fields
        self._clock = clock

    @property
    def has_key(self) -> bool:
        """Say whether there is a credential."""
        return self._secret is not None

    def now(self) -> datetime:
        """Give the moment by the host's clock."""
        return self._clock.now()

    def usage(self) -> Answer:
        """Ask for the account's quota."""
        return self._send("GET", "/usage")

    def images(self, label: str, value: str) -> Answer:
        """Ask for the first hundred images that have a label (`images` generation)."""
        return self._listed("/images", {f"label[{label}]": value})

    def page(self, generation: Generation, cursor: str) -> Answer:
        """Ask for the next hundred images of the project."""
        onward = {"cursor": cursor} if cursor else {}
        if generation == "images":
            return self._listed("/images", {"label[imghost]": self.fields.project, **onward})
        namespace = {"namespace": self.fields.namespace} if self.fields.namespace else {}
        return self._listed("/media", {**namespace, **onward})

    def chosen(self, ids: Sequence[str]) -> Answer:
        """Ask for at most fifty images (`images` generation); those that are gone are left out."""
        return self._send("GET", f"/images?{urlencode({'ids': ','.join(ids)})}", limit=LIST_LIMIT)

    def one(self, name: str) -> Answer:
        """Ask for one image by its id (`upload` generation)."""
        return self._send("GET", f"/media/{name}")

    def delete(self, generation: Generation, ids: Sequence[str]) -> Answer:
        """Delete at most a hundred images, by their ids alone."""
        path = "/images/batch" if generation == "images" else "/media/batch"
        return self._send("DELETE", path, json={"ids": list(ids)}, limit=LIST_LIMIT)

    def store(self, what: What, key: str) -> Answer:
        """Store an image under an external id (`upload` generation)."""
        fields = {"external_id": key, **self.fields.shared(), **self.fields.grouped()}
        if isinstance(what, str):
            return self._send("POST", "/import", json={"url": what, **fields})
        return self._post("/upload", what, {"name": what.name, **fields}, {})

    def create(self, what: What, wanted: Mapping[str, str], attempt: str) -> Answer:
        """Store an image with labels, under an idempotency key (`images` generation)."""
        fields = {**self.fields.shared(), **self.fields.labelled(wanted)}
        headers = {"Idempotency-Key": attempt}
        if isinstance(what, str):
            return self._send("POST", "/images", headers=headers, json={"url": what, **fields})
        return self._post("/images", what, fields, headers)

    def _listed(self, path: str, query: Mapping[str, str]) -> Answer:
        return self._send("GET", f"{path}?{urlencode({**query, 'limit': '100'})}", limit=LIST_LIMIT)

    def _post(self, path: str, payload: Payload, fields: Mapping[str, object], headers: Mapping[str, str]) -> Answer:
        form = {name: told if isinstance(told, str) else json.dumps(told) for name, told in fields.items()}
        part = FilePart("file", payload.name, payload.media_type, payload.file)
        return self._send("POST", path, headers=headers, form=form, file=part)

    def _send(self, method: str, path: str, *, headers: Mapping[str, str] = _NONE, **parts: Any) -> Answer:
        key = self._secret.reveal() if self._secret else ""
        own = {"Authorization": f"Bearer {key}"} if key else {}
        answer = self._client.send(method, self._url + path, headers={**headers, **own}, **parts)
        self._clock.hear(answer)
        return answer
