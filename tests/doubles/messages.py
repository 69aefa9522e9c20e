"""Requests and replies as plain values."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from email import policy
from email.parser import BytesParser
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Part:
    """One part of a multipart form that has a file name."""

    name: str
    media_type: str
    body: bytes


@dataclass(frozen=True)
class Request:
    """One request, as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        found = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[-1] for name, values in found.items()}

    @property
    def bearer(self) -> str | None:
        """The token of `Authorization: Bearer`, or None."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind.lower() == "bearer" else None

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> tuple[dict[str, str], dict[str, Part]]:
        """Give the form's fields and files; both empty for a body that is no form."""
        kind = self.headers.get("content-type", "")
        if kind.startswith("application/x-www-form-urlencoded"):
            return {name: values[-1] for name, values in parse_qs(self.body.decode()).items()}, {}
        fields: dict[str, str] = {}
        files: dict[str, Part] = {}
        if not kind.startswith("multipart/form-data"):
            return fields, files
        message = BytesParser(policy=policy.HTTP).parsebytes(
            b"Content-Type: " + kind.encode() + b"\r\n\r\n" + self.body
        )
        for part in message.iter_parts():
            body = part.get_payload(decode=True) or b""
            name = str(part.get_param("name", header="content-disposition"))
            if part.get_filename() is None:
                fields[name] = body.decode()
            else:
                files[name] = Part(str(part.get_filename()), part.get_content_type(), body)
        return fields, files


@dataclass(frozen=True)
class Reply:
    """One answer; `length` may lie about the body."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None

    @classmethod
    def json(cls, value: object, status: int = 200, **headers: str) -> Reply:
        """Answer with JSON; underscores in the names of headers become dashes."""
        own = tuple((name.replace("_", "-"), text) for name, text in headers.items())
        return cls(status, json.dumps(value).encode(), (("Content-Type", "application/json"), *own))

    @classmethod
    def image(cls, body: bytes, media_type: str) -> Reply:
        return cls(200, body, (("Content-Type", media_type),))

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Reply:
        return cls(status, b"", (("Location", location),))

    def last(self) -> Reply:
        """Say that the connection closes after this answer, so that no client sends the next one into it."""
        return replace(self, headers=(*self.headers, ("Connection", "close")))

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Status"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if "date" not in {name.lower() for name, _ in self.headers}:
            lines.append(f"Date: {formatdate(usegmt=True)}")
        lines.append(f"Content-Length: {len(self.body) if self.length is None else self.length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
