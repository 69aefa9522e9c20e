"""What the tests of trust counted, at the end of every run."""

from __future__ import annotations

import pytest
from trust.place import TOLD


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many kills, faults, orders and rounds there were: a test that passes tells nothing of its size."""
    if TOLD:
        terminalreporter.section("counts of the tests of trust")
        for counts in TOLD:
            terminalreporter.line(counts)
