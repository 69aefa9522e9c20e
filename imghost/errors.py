"""What can go wrong, as one small family.

A wrong set-up is an exception that ends the run; what one image could not do is a `Failure` value
(see `models`). `HostError` is between the two: a host raises it, `upload` turns it into a value.
"""

from __future__ import annotations

from enum import Enum


class ImghostError(Exception):
    """A wrong set-up; its text is one line that names the thing, the cause and the remedy."""


class SettingsError(ImghostError):
    """An option, a credential or a combination of them that cannot work."""

    def __init__(self, text: str, option: str = "") -> None:
        super().__init__(text)
        self.option = option


class LockError(ImghostError):
    """A lock file that cannot be read; never a reason to upload again."""


class StateError(ImghostError):
    """A local store that cannot be written, so that an upload could be forgotten."""


class BudgetError(ImghostError):
    """A plan over `max_uploads` or `max_cost`: nothing at all is uploaded."""


class Action(Enum):
    """What a host's refusal asks the client to do."""

    FILE = "file"
    """This image stays local; the others go on."""
    STOP = "stop"
    """No further upload to this host in this build."""
    WAIT = "wait"
    """Try again after the time that the host named."""
    RETRY = "retry"
    """Try again, with back-off; the same bytes and the same key."""


class HostError(ImghostError):
    """One request to a host that did not give what was asked.

    `reason` is one line that is safe to print, `remedy` what the user can change, `wait` the seconds
    that the host asks for, and `is_ambiguous` says that the host may have stored the image all the same.
    `effort` tells how often and how long it was asked. `is_final` says of a FILE that the same bytes will be refused
    for as long as the settings and the account are the same, so that later builds need not send them to know it.
    """

    def __init__(
        self,
        action: Action,
        reason: str,
        *,
        remedy: str = "",
        wait: float | None = None,
        is_ambiguous: bool = False,
        effort: str = "",
        is_final: bool = False,
    ) -> None:
        super().__init__(f"{reason}; {remedy}" if remedy else reason)
        self.action = action
        self.reason = reason
        self.remedy = remedy
        self.wait = wait
        self.is_ambiguous = is_ambiguous
        self.effort = effort
        self.is_final = is_final and action is Action.FILE and not is_ambiguous


class StoreError(ImghostError):
    """A store of shared records that did not do what was asked.

    `is_passing` says that the same call may succeed in a moment, `is_ambiguous` that a write may have happened
    all the same.
    """

    def __init__(self, reason: str, remedy: str = "", *, is_passing: bool = False, is_ambiguous: bool = False) -> None:
        super().__init__(f"{reason}; {remedy}" if remedy else reason)
        self.reason = reason
        self.remedy = remedy
        self.is_passing = is_passing
        self.is_ambiguous = is_ambiguous
