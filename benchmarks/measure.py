"""Runs commands one after another and tells what each of them took, by the system's own accounts."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Taken:
    """What one command took: seconds of processor time, and seconds that passed."""

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `value` is None where it could not be measured, and `note` says why."""

    what: str
    value: float | None
    target: float | None
    unit: str = "×"
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None where there is none, or no value."""
        return None if self.value is None or self.target is None else self.value <= self.target


def environ(**more: str) -> dict[str, str]:
    """Give this process's environment without what makes builds behave otherwise in CI, or compile modules anew."""
    others = ("CI", "GITHUB", "IMGHOST", "IMGPRO", "PYTHONDONTWRITEBYTECODE")
    ours = {name: text for name, text in os.environ.items() if not name.startswith(others)}
    return ours | {"PYTHONHASHSEED": "0"} | more


def run(command: Sequence[str | Path], folder: Path, env: Mapping[str, str] | None = None) -> Taken:
    """Run a command to its end; raises RuntimeError with what it printed where it fails."""
    log = folder / ".benchmark.log"
    with log.open("wb") as output:
        began = time.perf_counter()
        child = subprocess.Popen(
            [str(part) for part in command], cwd=folder, env=dict(env or environ()), stdout=output, stderr=output
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command} gave {child.returncode}: {log.read_text(errors='replace')[-2000:]}")
    return Taken(usage.ru_utime + usage.ru_stime, wall)


def alternating(one: Callable[[], Taken], other: Callable[[], Taken], count: int) -> list[tuple[float, float]]:
    """Give pairs of processor times in seconds; every other pair runs the other way round, which cancels a drift."""
    pairs = []
    for number in range(count):
        if number % 2:
            second = other().cpu
            pairs.append((one().cpu, second))
        else:
            pairs.append((one().cpu, other().cpu))
    return pairs


def peak() -> int:
    """Give the most memory in bytes that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # the account of resources also counts what the parent had when it started this process
        return next(int(line.split()[1]) * 1024 for line in status.open() if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def python(code: str, *given: str | Path) -> list[str | Path]:
    """Write the command that runs Python code with arguments."""
    return [sys.executable, "-c", code, *given]


def median(values: Sequence[float]) -> float:
    """Give the middle value."""
    return statistics.median(values)


def ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Give the middle of the ratios, each within a pair that ran side by side."""
    return statistics.median(one / other for one, other in pairs)
