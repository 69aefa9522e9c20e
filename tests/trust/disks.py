"""Disks of a test's own, in a mount namespace that only it sees and that goes with it: small ones, read-only ones.

Root gets one, and elsewhere whoever may make a user namespace. What is on such a disk is read over `/proc`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
from trust.place import Project

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
APART = ["unshare", "--mount"] if IS_ROOT else ["unshare", "--user", "--map-root-user", "--mount"]
SMALL = 'mount -t tmpfs -o size="$2" none "$1"'
FROM_FILE = 'mount -o loop,noatime,commit=300 "$2" "$1"'
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"'


@dataclass(frozen=True)
class Disk:
    """A folder that is a disk of its own, for whoever is in its namespace."""

    folder: Path
    holder: int
    """The id of what keeps the namespace open."""

    def seen(self, path: Path) -> Path:
        """Say where somebody outside finds a file that is inside."""
        return Path(f"/proc/{self.holder}/root{path}")

    @property
    def inside(self) -> list[str]:
        """What runs a command inside, in the folder that it is given next."""
        whose = [] if IS_ROOT else ["--user", "--preserve-credentials"]
        enter = ["nsenter", "--target", str(self.holder), *whose, "--mount", "--"]
        return [*enter, "/bin/sh", "-c", 'cd "$0" && exec "$@"']

    def run(self, project: Project, *more: str, **kept: object) -> subprocess.CompletedProcess[str]:
        """Build a project inside."""
        return project.run(*more, before=[*self.inside, str(project.root)], **kept)

    def viewed(self, project: Project) -> Project:
        """Give the project as it is seen from outside."""
        return replace(project, root=self.seen(project.root))

    def fill(self, left: int = 0) -> Path:
        """Fill the disk, but for so many bytes; gives the file that takes its room."""
        filler = self.seen(self.folder) / "filler"
        with filler.open("wb", buffering=0) as file:
            step = 65_536
            while step:
                try:
                    file.write(b"\0" * step)
                except OSError:
                    step //= 2
            file.truncate(max(0, file.tell() - left))
        return filler


@contextmanager
def disk(folder: Path, how: str, size: str = "") -> Iterator[Disk]:
    """Make a folder a disk, by one of the ways above; skips where this user may not mount."""
    if why := _hindrance():
        pytest.skip(why)
    if how == FROM_FILE and not (IS_ROOT and Path("/dev/loop-control").exists() and shutil.which("mkfs.ext4")):
        pytest.skip("only root can mount a file as a disk, where there are loop devices and mkfs.ext4")
    script = f"{how} && echo ready && exec cat"
    command = [*APART, "--propagation", "private", "/bin/sh", "-c", script, "sh", str(folder), size]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        yield Disk(folder, holder.pid)
        holder.stdin.close()  # it ends with its input, also where this process is killed


@cache
def _hindrance() -> str:
    """Say what hinders a mount here; empty where nothing does."""
    if sys.platform != "linux" or not shutil.which("unshare") or not shutil.which("nsenter"):
        return "only Linux, with util-linux, has mount namespaces"
    script = "mount -t tmpfs -o size=4k none /mnt"
    tried = subprocess.run([*APART, "/bin/sh", "-c", script], capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"this user may not mount: {tried.stderr.strip()}"
