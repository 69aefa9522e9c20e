"""A process with all modules loaded that forks a build for each line it reads: `python forked.py MODULE...`.

The modules that are named are loaded, too. A line is JSON: the folder, the environment, the command's arguments, and
files for what it prints. The build stops itself before it begins, so that a tracer can take hold of it, or kills
itself at an event that is named by its number. Two lines come back: its id, and how it ended.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import pkgutil
import re
import signal
import sys
import traceback
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import diskcache
import filelock
import httpx
from trust import place

import imghost
from imghost.cli import main as cli
from imghost.records import safe_diskcache

LOADED = (
    *(diskcache, filelock, httpx, place, safe_diskcache.safe_disk()),
    *(
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(imghost.__path__, "imghost.")
        if not module.name.endswith("__main__")
    ),
    *map(importlib.import_module, sys.argv[1:]),
)
"""What a build loads when it first needs it: a call that fails there fails for Python, not for us."""
ALLOW_TRACING = 0x59616D61


def build(task: dict[str, Any]) -> int:
    """Run one command in this process."""
    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["environ"])
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(task[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if room := task.get("room"):
        limit(int(room))
    if group := task.get("group"):
        (Path(group) / "cgroup.procs").write_text(str(os.getpid()), "ascii")
    if dies := task.get("dies"):
        sys.addaudithook(Death(dies).look)
    else:
        await_tracer()
    try:
        return cli.main(task["arguments"]) if "ahead" not in task else build_at(task)
    except BaseException:
        traceback.print_exc()
        return 120


def limit(room: int) -> None:
    """Let this process have so many bytes more of address space than it has."""
    import resource

    size = re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text("ascii"))
    assert size is not None
    resource.setrlimit(resource.RLIMIT_AS, (int(size[1]) * 1024 + room,) * 2)


def build_at(task: dict[str, Any]) -> int:
    """Build by a clock that is ahead of the machine's, which a command has no option for."""
    host = place.Elsewhere(task["api_url"])
    project = place.Project(Path(task["folder"]), host, tuple(map(tuple, task["options"])), task["name"])
    project.build(now=lambda: place.today() + timedelta(seconds=task["ahead"]))
    return 0


class Death:
    """Counts what Python does to the world, and kills the process at one of these events."""

    def __init__(self, number: int) -> None:
        self.left = number

    def look(self, event: str, _: tuple[object, ...]) -> None:
        if event.startswith(("open", "os.", "socket.", "sqlite3.", "fcntl.", "tempfile.", "shutil.")):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def await_tracer() -> None:
    with suppress(AttributeError, OSError):
        # Some systems let only parents trace, unless one says otherwise.
        ctypes.CDLL(None).prctl(ALLOW_TRACING, ctypes.c_ulong(-1))
    os.kill(os.getpid(), signal.SIGSTOP)


def main() -> None:
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            os._exit(build(json.loads(line)))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
