"""For authors of hosts: the contract that every host keeps, a server to build a double on, and a fake host.

`HttpContract` (or `HostContract` for a host without the network) is subclassed, with `FindsContract`,
`DeletesContract`, `TellsContract` and `VariesContract` for what a host can more. `Loopback` is a server with faults.
`FakeHost` uploads to a `FakeStore`, for tests of what stands above hosts.
"""

from imghost.testing.contract import (
    DeletesContract,
    FindsContract,
    HostContract,
    HttpContract,
    TellsContract,
    VariesContract,
)
from imghost.testing.fake import (
    Bench,
    Double,
    FakeHost,
    FakeOptions,
    FakeStore,
    Fault,
    Loopback,
    Reply,
    Seen,
    a_payload,
    a_setup,
    draw,
    expect,
    fake_host,
    hostile_urls,
    write_entry,
)

__all__ = [
    "Bench",
    "DeletesContract",
    "Double",
    "FakeHost",
    "FakeOptions",
    "FakeStore",
    "Fault",
    "FindsContract",
    "HostContract",
    "HttpContract",
    "Loopback",
    "Reply",
    "Seen",
    "TellsContract",
    "VariesContract",
    "a_payload",
    "a_setup",
    "draw",
    "expect",
    "fake_host",
    "hostile_urls",
    "write_entry",
]
