"""The README, and how a setting's default is written in tables."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from imghost import settings
from imghost.models import KINDS

README = Path(__file__).parents[2] / "README.md"


def shown_default(name: str) -> str:
    value = getattr(settings.Settings(), name)
    if name == "retention":
        return "`permanent`"
    if isinstance(value, timedelta):
        return f"`{value.days}d`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, frozenset):
        return "all but " + ", ".join(sorted(set(KINDS) - value))
    if isinstance(value, (tuple, dict)) or value is None or name == "options":
        return "none"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
