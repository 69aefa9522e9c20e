"""What the package offers to authors of hosts, tried on its own fake host."""

from __future__ import annotations

from imghost.testing import (
    DeletesContract,
    FakeHost,
    FakeOptions,
    FakeStore,
    FindsContract,
    HttpContract,
    TellsContract,
)
from imghost.testing.fake import KEY


class TestFakeHost(HttpContract, FindsContract, DeletesContract, TellsContract):
    """The fake host keeps the contract."""

    kind = FakeHost
    credential = KEY

    def double(self):
        return FakeStore()

    def host(self, double, setup):
        return FakeHost(FakeOptions(double.url), setup)


class TestFakeHostThatCopies(TestFakeHost):
    """So does one that keeps each upload as a copy of its own."""

    is_idempotent = False

    def double(self):
        return FakeStore(is_idempotent=False)
