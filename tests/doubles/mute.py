"""A host that can neither be asked what it has nor knows a repeated upload: what is sent twice is there twice."""

from __future__ import annotations

from typing import Any

from imghost.testing.fake import FakeHost


class MuteHost(FakeHost):
    """A host of the least kind."""

    name = "mute"
    find: Any = None
