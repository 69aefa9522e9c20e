"""What was paid for a lock's images, by this machine's payment journal."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from imghost.commands.call import Call, warn
from imghost.errors import StateError


@dataclass(frozen=True, slots=True)
class Money:
    """US dollars, and what they did not buy."""

    spent: Decimal = Decimal(0)
    """What bought images for this lock."""
    unresolved: Decimal = Decimal(0)
    """What was signed for it and bought none yet."""
    lost: tuple[str, ...] = ()
    """Digests of the images that were paid for and never given."""


def paid(call: Call) -> Money:
    """Say what was paid for the call's lock."""
    from imghost.hosts.img402.journal import journal_of

    settings = call.settings
    try:
        journal = journal_of(call.environ, settings.folder, settings.cache_dir)
        return Money(journal.spent(settings.lock), journal.unresolved(settings.lock), journal.lost(settings.lock))
    except StateError as problem:
        warn([f"the payments are not known: {problem}"])
        return Money()
