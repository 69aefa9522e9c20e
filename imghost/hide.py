"""Takes credentials out of what a host repeats, so that none is printed or recorded, whichever host it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

HIDDEN: Final = "[hidden]"
"""Takes the place of a credential; without a letter that means something in JSON or in XML, so that both stay whole."""

_SECRET: Final = re.compile(r"authorization|cookie|token|secret|password|signature|payment|api-?key", re.I)
"""Names of headers that hold credentials, of whatever host."""
_SHORTEST: Final = 8
"""Letters that a credential has at least; what is shorter would be found in any text."""


def credentials(headers: Mapping[str, str]) -> tuple[str, ...]:
    """List the credentials that a request's headers hold, without words before them like `Bearer`."""
    sent = (text.rpartition(" ")[2] for name, text in headers.items() if _SECRET.search(name))
    return tuple(text for text in sent if len(text) >= _SHORTEST)


def hidden(body: bytes, secrets: Iterable[str]) -> bytes:
    """Put `[hidden]` in the place of each credential, also where it stands in JSON, or in JSON in JSON."""
    for secret in secrets:
        for form in _forms(secret):
            body = body.replace(form.encode(), HIDDEN.encode())
    return body


def hidden_text(text: str, secrets: Iterable[str]) -> str:
    """Do the same in a text."""
    return hidden(text.encode("utf-8", "surrogatepass"), secrets).decode("utf-8", "surrogatepass")


def _forms(secret: str) -> list[str]:
    """List how a credential may be written, the longest first, since one may be a part of another."""
    once = json.dumps(secret)[1:-1]
    twice = json.dumps(once)[1:-1]
    slashed = once.replace("/", "\\/")
    forms = {secret, once, twice, slashed, json.dumps(slashed)[1:-1]}
    return sorted(forms, key=lambda form: (-len(form), form))
