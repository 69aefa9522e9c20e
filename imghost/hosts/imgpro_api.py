"""img.pro's requests: every field is a function of the bytes and the settings, never of a path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from imghost.hosts import Secret
from imghost.hosts.imgpro_settings import Fields
from imghost.http import Answer, Client, FilePart
from imghost.models import Payload

LIST_LIMIT: Final = 1 << 20
"""Bytes that a list of a hundred images may take."""
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Api:
    """Sends the requests; the credential is revealed here and nowhere else."""

    def __init__(self, client: Client, url: str, secret: Secret | None, fields: Fields) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._secret = secret
        self.fields = fields

    @property
    def has_key(self) -> bool:
        """Say whether there is a credential."""
        return self._secret is not None

    def usage(self) -> Answer:
        """Ask for the account's quota."""
        return self._send("GET", "/usage")

    def images(self, label: str, value: str) -> Answer:
        """Ask for the first hundred images that have a label (`images` generation)."""
        query = urlencode({f"label[{label}]": value, "limit": 100})
        return self._send("GET", f"/images?{query}", limit=LIST_LIMIT)

    def upload(self, payload: Payload, key: str) -> Answer:
        """Store an image under an external id (`upload` generation)."""
        form = {"name": payload.name, "external_id": key, **self.fields.shared()}
        if self.fields.namespace:
            form["namespace"] = self.fields.namespace
        if self.fields.tags:
            form["tags"] = ",".join(self.fields.tags)
        return self._post("/upload", payload, form, {})

    def create(self, payload: Payload, key: str, attempt: str) -> Answer:
        """Store an image with labels, under an idempotency key (`images` generation)."""
        labels = {"imghost": self.fields.project, "key": key, "sha256": payload.sha256}
        form = {"labels": json.dumps(labels), **self.fields.shared()}
        if self.fields.tags:
            form["metadata"] = json.dumps({"tags": list(self.fields.tags)})
        return self._post("/images", payload, form, {"Idempotency-Key": attempt})

    def _post(self, path: str, payload: Payload, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        part = FilePart("file", payload.name, payload.media_type, payload.file)
        return self._send("POST", path, headers=headers, form=form, file=part)

    def _send(self, method: str, path: str, *, headers: Mapping[str, str] = _NONE, **parts: Any) -> Answer:
        key = self._secret.reveal() if self._secret else ""
        own = {"Authorization": f"Bearer {key}"} if key else {}
        answer = self._client.send(method, self._url + path, headers={**headers, **own}, **parts)
        # A host that repeats the credential, in a message or an address, must not get it printed or recorded.
        body = answer.body
        for written in (key, json.dumps(key)[1:-1], json.dumps(key)[1:-1].replace("/", "\\/")) if key else ():
            body = body.replace(written.encode(), b"<hidden>")
        return replace(answer, body=body)
