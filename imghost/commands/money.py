"""What was paid for a lock's images, by this machine's payment journal."""

from __future__ import annotations

from decimal import Decimal

from imghost.commands.call import Call, warn
from imghost.errors import StateError


def paid(call: Call) -> tuple[Decimal, Decimal]:
    """Give the US dollars that bought images for this lock, and those that were signed and bought none yet."""
    from imghost.hosts.journal_place import journal_of

    settings = call.settings
    try:
        journal = journal_of(call.environ, settings.folder, settings.cache_dir)
        return journal.spent(settings.lock), journal.unresolved(settings.lock)
    except StateError as problem:
        warn([f"the payments are not known: {problem}"])
        return Decimal(0), Decimal(0)
