"""What the tests of the HTTP client share: a server with its client, and a refusal searched for the secret."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from doubles.server import Reply, Request, Server
from imghost.errors import HostError
from imghost.net import Client

CANARY = "canary-5d1f0c"
SECRET = {"Authorization": f"Bearer {CANARY}"}


def echo(request: Request) -> Reply:
    return Reply.json({"path": request.path, "text": "x" * 200})


@contextmanager
def a_pair(route: Callable[[Request], Reply] = echo, timeout: float = 0.6) -> Iterator[tuple[Server, Client]]:
    with Server(route) as server, Client(timeout, environ={}) as client:
        yield server, client


def refused(client: Client, url: str, **given: object) -> HostError:
    """Give the error of a request that carries a secret, after a look for that secret everywhere in it."""
    with pytest.raises(HostError) as caught:
        client.send("POST", url, headers=SECRET, **given)  # type: ignore[arg-type]
    told = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert CANARY not in told
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value
