"""The distribution's version."""

from __future__ import annotations

from typing import Final

_VERSION: Final = "0.1.0"


def version() -> str:
    """Give the version: the project's, written here too since reading it from the installation takes milliseconds."""
    return _VERSION
