"""One HTTP client for every host: bounded, without redirects for secrets, and silent about them.

Nothing of httpx is imported before the first request, so that a warm build stays light.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: status, headers by lower-case name, and a body of at most the limit asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file to send as one part of a multipart form."""

    field: str
    name: str
    media_type: str
    file: Path


class Client:
    """Sends requests and gives whole answers."""

    requests: int
