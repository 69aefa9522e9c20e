"""CI builds killed at random, of each front end: a next build that has the lock alone sends again what was on its way.

The host is img402's free tier, which cannot be asked what it has and knows no repeated upload as one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from doubles.img402 import Img402
from doubles.server import Reply, Request
from sites import picture, write
from trust.place import MEMORY, counted, tell

import imghost
from imghost.records import lock as locks

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux names processes safely")

IMAGES = 8
TOOLS = ("imghost", "mkdocs", "sphinx-build")
OUTPUTS = {"imghost": "site", "mkdocs": "site", "sphinx-build": "_build"}
COMMANDS = {
    "imghost": ["rehost", "site"],
    "mkdocs": ["build"],
    "sphinx-build": ["-b", "html", ".", "_build"],
}


class Watched:
    """Counts what a double is asked, and calls `at` before and after each of its routes."""

    def __init__(self, host: Img402) -> None:
        self._route, host.server.route = host.server.route, self._watched
        self._guard = threading.Lock()
        self._count = self._open = 0
        self.at: Callable[[int], None] = lambda number: None

    def _watched(self, request: Request) -> Reply:
        self._tell(1)
        reply = self._route(request)
        self._tell(-1)
        return reply

    def _tell(self, more: int) -> None:
        with self._guard:
            self._count += 1
            self._open += more
            number = self._count
        self.at(number)

    def settle(self) -> None:
        """Wait until all that was sent before a build was killed is answered, though nobody hears it."""
        quiet, count = 0, -1
        while quiet < 5:
            time.sleep(0.03)
            quiet = quiet + 1 if (self._open, self._count) == (0, count) else 0
            count = self._count


def sources(folder: Path, tool: str, api_url: str, concurrency: int) -> None:
    """Write what a checkout has, but for the lock; the command gets a built site."""
    options: dict[str, Any] = {"host": "img402", "retention": "7d", "retries": 2, "timeout": 5}
    options |= {"concurrency": concurrency, "options": {"tier": "free", "api_url": api_url}}
    images = {f"{number}.png": picture(number) for number in range(IMAGES)}
    if tool == "mkdocs":
        shown = "\n\n".join(f"![]({name})" for name in images)
        config = {"site_name": "a", "plugins": [{"imghost": options}]}
        write(folder, {"docs/index.md": shown, "mkdocs.yml": json.dumps(config)})
        write(folder / "docs", dict(images))
    elif tool == "sphinx-build":
        conf = [f"imghost_{name} = {value!r}" for name, value in options.items()]
        shown = "\n\n".join(f".. image:: {name}" for name in images)
        write(
            folder,
            {"index.rst": f"a\n=\n\n{shown}\n", "conf.py": "\n".join(["extensions = ['sphinx_imghost']", *conf])},
        )
        write(folder, dict(images))
    else:
        shown = "".join(f'<img src="{name}">' for name in images)
        own = "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items() if name != "options")
        table = "".join(f"{name} = {json.dumps(value)}\n" for name, value in options["options"].items())
        write(folder, {"site/index.html": shown, "imghost.toml": f"{own}[options]\n{table}"})
        write(folder / "site", dict(images))


class Builds:
    """Runs builds, each forked from one process that has all three front ends loaded."""

    def __init__(self, root: Path) -> None:
        script = [sys.executable, str(Path(__file__).with_name("tools.py"))]
        environ = {**os.environ, "PYTHONPATH": str(Path(imghost.__file__).parents[1])}
        self._forker = subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)
        self._root = root
        self.printed = root / "printed"

    def close(self) -> None:
        self._forker.communicate(timeout=60)

    def begin(self, folder: Path, tool: str) -> int:
        self.printed.write_text("")
        environ = {"PATH": os.environ["PATH"], "HOME": str(self._root), "TMPDIR": str(self._root), "CI": "true"}
        task = {"tool": tool, "folder": str(folder), "environ": environ, "printed": str(self.printed)}
        task |= {"arguments": COMMANDS[tool], "is_named": True}
        assert self._forker.stdin is not None
        self._forker.stdin.write(f"{json.dumps(task)}\n")
        self._forker.stdin.flush()
        return int(self._line())

    def end(self) -> int:
        return int(self._line())

    def _line(self) -> str:
        assert self._forker.stdout is not None
        return self._forker.stdout.readline()


def recorded(folder: Path, printed: str) -> set[str]:
    """List the URLs that the lock knows, or the log; in CI nothing else is left."""
    lock = locks.read(folder / "imghost.lock")
    lines = [line.partition("receipt: ")[2] for line in printed.splitlines() if "receipt: " in line]
    told = [locks.parse_record(line) for line in lines]
    return {record.url for record in (*lock.records, *lock.unconfirmed, *told)}


def round_of(builds: Builds, root: Path, seed: int) -> Counter[str]:
    """Kill one build, and build again as a new job does: from the sources and the lock."""
    chance, tool = random.Random(seed), TOOLS[seed % len(TOOLS)]
    name = "SIGTERM" if seed // len(TOOLS) % 2 else "SIGKILL"
    folder, concurrency = root / str(seed), chance.choice([1, 2, 4])
    with Img402() as host:
        watched = Watched(host)
        sources(folder, tool, host.url, concurrency)
        number, begun, sent = chance.randint(1, 4 * IMAGES + 2), threading.Event(), threading.Event()
        process: list[int] = []

        def kill(now: int) -> None:
            begun.wait(20)
            if now == number and process:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process[0], getattr(signal, name))
                    sent.set()

        watched.at = kill
        process.append(os.pidfd_open(builds.begin(folder, tool)))
        begun.set()
        status = builds.end()
        os.close(process.pop())
        watched.at = lambda now: None
        watched.settle()
        printed = builds.printed.read_text("utf-8", "replace")
        known = recorded(folder, printed)
        stored = {host.url + path for path in host.images}
        lost = stored - known
        assert known <= stored
        assert len(lost) <= concurrency, f"seed {seed}: {len(lost)} uploads are in no lock and no log"
        if name == "SIGTERM" and sent.is_set() and status != 0:
            assert status in {-15, 143}, printed
            assert not lost, f"seed {seed}: an end in order forgets nothing that was under way"
        for left in (folder / ".cache", folder / OUTPUTS[tool]):
            shutil.rmtree(left, ignore_errors=True)
        sources(folder, tool, host.url, concurrency)
        builds.begin(folder, tool)
        assert builds.end() == 0, builds.printed.read_text("utf-8", "replace")
        beyond = len(host.images) - IMAGES
        assert beyond == len(lost), f"seed {seed}: {beyond} copies too many, {len(lost)} were on their way"
        page = (folder / OUTPUTS[tool] / "index.html").read_text("utf-8")
        assert page.count(f'src="{host.url}/') == IMAGES
        assert len(recorded(folder, "")) == IMAGES
    shutil.rmtree(folder)
    hit = sent.is_set() and status != 0
    amid = hit and 0 < len(stored) < IMAGES
    return Counter({f"{name} {tool}": hit, "hit": hit, "amid": amid, "beyond": beyond, "stored": len(stored)})


@pytest.mark.more_in_all
@pytest.mark.timeout(14_400)
def test_a_killed_ci_build_costs_no_upload_but_those_that_were_on_their_way() -> None:
    kills = counted("CI_KILLS", 6, of_all=20)
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="ci-kills-", dir=MEMORY, ignore_cleanup_errors=True) as folder:
        builds = Builds(Path(folder))
        try:
            for seed in range(kills):
                total += round_of(builds, Path(folder), seed)
        finally:
            builds.close()
    kinds = ", ".join(
        f"{total[f'{name} {tool}']} {name} of {tool}" for name in ("SIGKILL", "SIGTERM") for tool in TOOLS
    )
    told = f"{kills} CI builds killed, without a cache: {total['hit']} hit ({kinds}), {total['amid']} amid uploads"
    tell(f"{told}; of {total['stored']} images stored by then {total['beyond']} were sent again, all on their way")
    assert total["hit"] >= kills // 2
