"""One S3-speaking server for the tests of a module: starting one takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from doubles.s3 import Storage


@pytest.fixture(scope="module")
def server() -> Iterator[Storage]:
    """Start the server."""
    from doubles.s3 import Storage

    with Storage() as found:
        yield found


@pytest.fixture
def credential(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the environment one credential for S3, and no other."""
    from doubles.s3 import VARIABLES
    from doubles.stores import NOTHING

    for name, value in (NOTHING | VARIABLES).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def storage(server: Storage, credential: None) -> Storage:
    """Give the server without objects and log, with a credential for it."""
    server.empty()
    return server
