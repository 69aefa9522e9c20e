"""The system calls of a build, found with strace, and builds in which one of them kills or fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trust.place import Project

import imghost

STRACE = shutil.which("strace")

CHANGING = (
    *("write", "pwrite64", "openat", "rename", "unlink", "unlinkat", "mkdir", "rmdir", "chmod", "fsync"),
    *("fdatasync", "ftruncate", "flock", "sendto", "connect"),
)
"""Calls that change a file, a folder or the host; which of them a machine makes decides its C library."""

Point = tuple[str, int]
"""A system call, and the how manyeth of its thread."""

NEVER = 1 << 40
"""An event that no build comes to."""

_PATIENCE = 100.0
"""Seconds in which the slowest build of these ends; one that hangs would hold all tests behind it."""

_CALL = re.compile(r"(\d+) +(\w+)\(")


@dataclass(frozen=True)
class Ended:
    """How a build ended: its exit status, negative for a signal, and what it printed."""

    status: int
    out: str
    err: str


class Tracer:
    """Runs builds under strace, each forked from one process that has loaded all modules; a context manager.

    What builds load beside these is named where a test's builds do.
    """

    def __init__(self, *loads: str) -> None:
        self._loads = loads

    def __enter__(self) -> Self:
        script = [sys.executable, str(Path(__file__).with_name("forked.py")), *self._loads]
        environ = {**os.environ, "PYTHONPATH": str(Path(imghost.__file__).parents[1])}
        self._forker = subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)
        return self

    def __exit__(self, *_: object) -> None:
        self._forker.communicate(timeout=60)

    def run(self, project: Project, *given: str, more: tuple[str, ...] = ()) -> Ended:
        """Build a project with strace's options."""
        build = self._start(project, more)
        _await_stop(build)
        tracing = [str(STRACE), "-f", *given, "-p", str(build)]
        with subprocess.Popen(tracing, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            told = tracer.stderr.readline()
            os.kill(build, signal.SIGCONT)
            status = int(self._line())
            tracer.stderr.read()
        assert "attached" in told, told
        return self._ended(project, status)

    def kill(self, project: Project, event: int, ahead: float = 0) -> Ended:
        """Build a project, without strace, in a process that kills itself at one of the events of Python.

        Its clock may be ahead of this machine's by some seconds.
        """
        where = {"api_url": project.host.api_url, "options": project.options, "name": project.name}
        self._start(project, (), dies=event, **({"ahead": ahead, **where} if ahead else {}))
        return self.end(project)

    def begin(self, project: Project, *more: str, dies: int = NEVER, **kept: object) -> int:
        """Begin a build without strace, and give its process; `end` waits for it.

        It may have another environment (`environ`), no more than so many bytes of memory (`room`), and a control
        group of its own (`group`).
        """
        return self._start(project, more, dies=dies, **kept)

    def end(self, project: Project) -> Ended:
        """Wait for the build that was begun."""
        return self._ended(project, int(self._line()))

    def found(self, project: Project) -> list[Point]:
        """List the points of a build by tracing one that succeeds."""
        log = project.root / "trace"
        done = self.run(project, "-o", str(log), "-e", "trace=" + ",".join(f"?{name}" for name in CHANGING))
        assert done.status == 0, done.err
        numbers: Counter[tuple[str, str]] = Counter(_CALL.findall(log.read_text("utf-8", "replace")))
        most: Counter[str] = Counter()
        for (_, name), number in numbers.items():
            most[name] = max(most[name], number)
        return [(name, number) for name in sorted(most) for number in range(1, most[name] + 1)]

    def inject(self, project: Project, point: Point, what: str, *more: str, log: Path = Path("/dev/null")) -> Ended:
        """Build a project with this done to one of its system calls, of each thread that makes so many."""
        name, number = point
        inject = f"inject={name}:{what}:when={number}"
        return self.run(project, "-o", str(log), "-e", f"trace={name}", "-e", inject, more=more)

    def _start(self, project: Project, more: tuple[str, ...], **kept: object) -> int:
        assert self._forker.stdin is not None
        task: dict[str, object] = {"folder": str(project.root), "environ": project.environ(), **kept}
        for name, file in self._printed(project).items():
            file.write_bytes(b"")  # a build may be killed before it opens what it prints to
            task[name] = str(file)
        task["arguments"] = project.command(*more)[3:]
        self._forker.stdin.write(f"{json.dumps(task)}\n")
        self._forker.stdin.flush()
        return int(self._line())

    def _ended(self, project: Project, status: int) -> Ended:
        return Ended(status, *(file.read_text("utf-8", "replace") for file in self._printed(project).values()))

    def _printed(self, project: Project) -> dict[str, Path]:
        return {name: project.root / f"printed-{self._forker.pid}.{name}" for name in ("out", "err")}

    def _line(self) -> str:
        """Read what the forker says next; a build that does not end is killed, and fails its test."""
        assert self._forker.stdout is not None
        hung: list[str] = []
        watch = threading.Timer(_PATIENCE, self._end_hanging, [hung])
        watch.daemon = True
        watch.start()
        line = self._forker.stdout.readline()
        watch.cancel()
        assert not hung, f"a build did not end in {_PATIENCE:.0f} s: {hung}"
        return line

    def _end_hanging(self, hung: list[str]) -> None:
        children = Path(f"/proc/{self._forker.pid}/task/{self._forker.pid}/children")
        for build in map(int, children.read_text("ascii").split()):
            hung += _stack(build)
            os.kill(build, signal.SIGKILL)


def _stack(process: int) -> list[str]:
    """Name the system calls in which the threads of a build that hangs wait."""
    return [
        f"{task.name} {(task / 'wchan').read_text('ascii')} {(task / 'syscall').read_text('ascii').split()[0]}"
        for task in Path(f"/proc/{process}/task").iterdir()
    ]


def _await_stop(process: int) -> None:
    status = Path(f"/proc/{process}/stat")
    until = time.monotonic() + 20
    while status.read_text("ascii").rpartition(")")[2].split()[0] not in {"T", "t"}:
        assert time.monotonic() < until, "the build did not stop for its tracer"
        time.sleep(0.002)


def can_trace() -> bool:
    """Say whether this machine lets one process trace another, which containers may forbid."""
    if STRACE is None:
        return False
    tried = subprocess.run([STRACE, "-f", "-o", "/dev/null", "true"], capture_output=True)
    return tried.returncode == 0


def spread(points: list[Point], count: int) -> list[Point]:
    """Choose as many points as asked for: of each call some, evenly over the build."""
    of_call: dict[str, list[Point]] = {}
    for point in points:
        of_call.setdefault(point[0], []).append(point)
    chosen: list[Point] = []
    waiting = sorted(of_call.values(), key=len)
    while waiting:
        share = max(1, (count - len(chosen)) // len(waiting))
        here = waiting.pop(0)
        step = max(1.0, len(here) / share)
        chosen += [here[int(number * step)] for number in range(min(share, len(here)))]
    return chosen[:count]


def repeated(points: list[Point], count: int) -> list[Point]:
    """Choose as many points as asked for; where a build has fewer, each again, as its threads take another order."""
    chosen: list[Point] = []
    while len(chosen) < count:
        chosen += spread(points, count - len(chosen))
    return chosen
