"""A build that pays, on a disk that fails, in too little memory, without locks: no payment is lost or made twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from doubles.chain import shared_chain
from sites import tree
from trust.place import built_site, counted, crawl, references, scratch, tell
from trust.points import Tracer, can_trace
from trust.test_errno import failings, judged
from trust.test_money_kills import DOLLAR, SIGNING, Machine, Till

IMAGES = 3
FAILING = ("write", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "unlink", "openat", "flock", "mkdir")


@dataclass(frozen=True)
class Buyer:
    """A project that pays, with all that was paid."""

    machine: Machine
    address: str
    before: dict[str, bytes]

    @property
    def paid(self) -> int:
        return 100 * DOLLAR - shared_chain().balance(self.address)

    def check(self) -> None:
        """Check what holds after any build: pages work, and no image was paid or stored twice."""
        crawl(self.machine.site, self.before, self.machine.host)
        assert self.paid <= IMAGES * DOLLAR
        assert len(self.machine.host.images) <= len(self.machine.host.settled) <= IMAGES

    def check_done(self) -> None:
        """Check that all images are hosted, for one price each."""
        self.check()
        page = (self.machine.site / "index.html").read_bytes()
        assert not [url for url in references(page) if url.startswith("images/")]
        assert (self.paid, len(self.machine.host.images)) == (IMAGES * DOLLAR, IMAGES)


@contextmanager
def a_buyer(memory: str = "header", **more: str) -> Iterator[Buyer]:
    """Make a project that pays a host which knows a payment by its very bytes: those the journal alone has."""
    account = shared_chain().wallet(100)
    key = ("IMG402_PRIVATE_KEY", "0x" + bytes(account.key).hex())
    with scratch("buyer") as folder, Till(chain=shared_chain(), memory=memory) as host:
        options = (("max_cost", str(IMAGES)), ("concurrency", "2"), *more.items())
        machine = Machine(Path(folder), host, options, chosen="img402", key=key)
        yield Buyer(machine, account.address, tree(built_site(machine.site, IMAGES)))


@pytest.fixture(scope="module")
def tracer() -> Iterator[Tracer]:
    with Tracer(*SIGNING) as tracer:
        yield tracer


def completed(tracer: Tracer, buyer: Buyer) -> None:
    """Build again, on a sound machine."""
    tracer.begin(buyer.machine)
    ended = tracer.end(buyer.machine)
    assert ended.status == 0, ended.err
    buyer.check_done()


@pytest.mark.long
@pytest.mark.timeout(36_000)
@pytest.mark.skipif(not can_trace(), reason="strace is not installed, or may not trace here")
def test_a_build_that_pays_and_in_which_any_call_fails_pays_once_with_the_next(tracer: Tracer) -> None:
    """Every write and sync of journal, lock and store is one of them; for some, every later one fails, too."""
    with a_buyer() as buyer:
        points = [point for point in tracer.found(buyer.machine) if point[0] in FAILING]
    chosen = failings(points, counted("MONEY_ERRORS", 30))
    problems: list[str] = []
    for point, cause, lasts in chosen:
        with a_buyer() as buyer:
            ended = tracer.inject(buyer.machine, (point[0], f"{point[1]}{lasts}"), f"error={cause}")  # type: ignore[arg-type]
            if problem := judged(ended):
                problems.append(f"{point} {cause}{lasts}: {problem}")
            buyer.check()
            completed(tracer, buyer)
    tell(f"{len(chosen)} errno points of builds that pay ({len(set(chosen))} faults, {len(points)} calls): paid once")
    assert not problems, "\n".join(problems)


FAULTY = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
static int count, next;
static int is_cut(int file) {
    const char *at = getenv("CUT_AT");
    struct stat found;
    if (!at || fstat(file, &found) || !S_ISREG(found.st_mode)) return 0;
    return __sync_add_and_fetch(&count, 1) == atoi(at);
}
#define WRAPPED(name, given, passed) \\
    ssize_t name given { \\
        static ssize_t (*usual) given; \\
        if (!usual) usual = dlsym(RTLD_NEXT, #name); \\
        if (next == file + 1) { next = 0; errno = EIO; return -1; } \\
        if (size > 1 && is_cut(file)) { size /= 2; if (getenv("CUT_THEN")) next = file + 1; } \\
        return usual passed; \\
    }
int flock(int file, int how) {
    static int (*usual)(int, int);
    const char *what = getenv("NO_LOCK");
    char at[64], path[4096] = "";
    if (!usual) usual = dlsym(RTLD_NEXT, "flock");
    snprintf(at, sizeof at, "/proc/self/fd/%d", file);
    if (what && readlink(at, path, sizeof path - 1) > 0) {
        int is_for_reading = (fcntl(file, F_GETFL) & O_ACCMODE) == O_RDONLY;
        if (strstr(path, what)) { errno = ENOLCK; return -1; }
        if (!strcmp(what, "nfs") && is_for_reading && how & LOCK_EX) { errno = EBADF; return -1; }
    }
    return usual(file, how);
}
WRAPPED(write, (int file, const void *bytes, size_t size), (file, bytes, size))
WRAPPED(pwrite, (int file, const void *bytes, size_t size, off_t at), (file, bytes, size, at))
WRAPPED(pwrite64, (int file, const void *bytes, size_t size, off64_t at), (file, bytes, size, at))
"""
"""A C library that takes half of one write to a file, and says so; the next write there fails where that is asked.

No system takes nothing of the single byte by which SQLite makes a file longer, so that one is taken whole.

It also locks no file whose path has a text in it, or, as NFS, none for one process alone that is open for reading.
"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracer]:
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("a library that fails is made with a C compiler, on Linux")
    source = tmp_path_factory.mktemp("faulty") / "faulty.c"
    source.write_text(FAULTY)
    library = source.with_suffix(".so")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(library))
        with Tracer(*SIGNING) as tracer:
            patch.undo()
            yield tracer


def writes(tracer: Tracer) -> int:
    """Count the writes to files of a build that pays."""
    with a_buyer() as buyer:
        log = buyer.machine.root / "trace"
        done = tracer.run(buyer.machine, "-o", str(log), "-e", "trace=write,pwrite64")
        assert done.status == 0, done.err
        return sum("= " in line for line in log.read_text("utf-8", "replace").splitlines())


@pytest.mark.long
@pytest.mark.timeout(36_000)
@pytest.mark.skipif(not can_trace(), reason="strace is not installed, or may not trace here")
def test_a_write_that_is_cut_in_the_middle_loses_no_payment(tracer: Tracer, faulty: Tracer) -> None:
    """The disk takes the first half of one write, and the second half later, or never."""
    every = writes(tracer)
    rounds = counted("MONEY_CUTS", 24)
    tally: Counter[str] = Counter()
    for number in range(rounds):
        with a_buyer() as buyer:
            at = 1 + number * every // rounds if rounds < every else 1 + number % every
            then = {"CUT_THEN": "1"} if (number + number // every) % 2 else {}
            faulty.begin(buyer.machine, environ=buyer.machine.environ(CUT_AT=str(at), **then))
            ended = faulty.end(buyer.machine)
            assert not judged(ended), (at, then)
            buyer.check()
            tally["failed"] += bool(then) and ("warning" in ended.err or ended.status != 0)
            tally["went on"] += not then
            if not then:
                assert ended.status == 0
                buyer.check_done()
            completed(faulty, buyer)
    tell(f"{rounds} writes cut in the middle of {every} of a build that pays ({dict(tally)}): paid once")


@pytest.mark.long
@pytest.mark.timeout(36_000)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits address space, and tells its size")
def test_a_build_that_pays_in_too_little_memory_says_so_and_pays_once_with_the_next(tracer: Tracer) -> None:
    chance, rounds, told = random.Random(17), counted("MONEY_MEMORY", 24), 0
    for _ in range(rounds):
        with a_buyer() as buyer:
            room = int(2**20 * chance.choice([chance.uniform(0.1, 4), chance.uniform(4, 40), chance.uniform(0.1, 90)]))
            tracer.begin(buyer.machine, room=room)
            ended = tracer.end(buyer.machine)
            assert not judged(ended), room
            told += "memory" in ended.err
            buyer.check()
            completed(tracer, buyer)
    tell(f"{rounds} builds that pay in little memory, {told} said so: paid once")


GROUPS = Path("/sys/fs/cgroup/memory")
"""Where control groups of the first version limit memory, for root."""


@contextmanager
def memory_group() -> Iterator[Path]:
    """Make a control group whose memory can be limited; skips where this user may make none."""
    group = GROUPS / f"imghost-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as problem:
        pytest.skip(f"no control group for memory can be made here: {problem.strerror}")
    try:
        yield group
    finally:
        group.rmdir()


@pytest.mark.long
@pytest.mark.timeout(36_000)
def test_a_build_that_the_kernel_kills_for_its_memory_pays_once_with_the_next(tracer: Tracer) -> None:
    """It is given less than it took, so that it dies wherever it first needs more, without a word."""
    chance, rounds, killed, paying = random.Random(23), counted("MONEY_OOM", 24), 0, 0
    with memory_group() as group:
        with a_buyer() as buyer:
            tracer.begin(buyer.machine, group=str(group))
            assert tracer.end(buyer.machine).status == 0
        most = int((group / "memory.max_usage_in_bytes").read_text("ascii"))
        for _ in range(rounds):
            with a_buyer() as buyer:
                # Most of what a build takes it has taken before it pays.
                room = int(most * chance.choice([chance.uniform(0.2, 1), chance.uniform(0.92, 1)]))
                (group / "memory.limit_in_bytes").write_text(str(room), "ascii")
                tracer.begin(buyer.machine, group=str(group))
                ended = tracer.end(buyer.machine)
                killed += ended.status == -signal.SIGKILL
                paying += ended.status == -signal.SIGKILL and buyer.paid > 0
                assert ended.status in {-signal.SIGKILL, 0, 1}, ended.err
                buyer.check()
                completed(tracer, buyer)
    told = f"{rounds} builds in less memory than {most:,} bytes: the kernel killed {killed}"
    tell(f"{told}, {paying} after a payment: paid once")
    assert killed >= rounds // 4


@pytest.mark.parametrize("what", ["uploads.lock", "imghost.lock"])
def test_where_files_cannot_be_locked_nothing_is_paid_and_one_line_says_why(faulty: Tracer, what: str) -> None:
    """As on a network drive without locks: who else is at work there cannot be known, whichever of two it is."""
    with a_buyer() as buyer:
        for _ in range(2):
            faulty.begin(buyer.machine, environ=buyer.machine.environ(NO_LOCK=what))
            ended = faulty.end(buyer.machine)
            assert ended.status == 0, ended.err
            assert buyer.machine.host.server.log == []
            assert len(ended.err.splitlines()) == 1
            assert "warning: nothing is uploaded" in ended.err
            assert "be locked" in ended.err
            assert "on a drive of this machine" in ended.err
            assert not buyer.machine.places["lock"].exists()
        completed(faulty, buyer)


def test_a_network_drive_that_locks_only_what_is_open_for_writing_does(faulty: Tracer) -> None:
    """NFS is such a one, which makes locks of this kind from those of another."""
    with a_buyer() as buyer:
        faulty.begin(buyer.machine, environ=buyer.machine.environ(NO_LOCK="nfs"))
        ended = faulty.end(buyer.machine)
        assert (ended.status, "warning" in ended.err) == (0, False), ended.err
        buyer.check_done()
        assert len(buyer.machine.places["lock"].read_text("ascii").splitlines()) == 1 + IMAGES


def test_a_lock_that_was_not_written_is_not_to_be_committed(faulty: Tracer) -> None:
    with a_buyer() as buyer:
        nowhere = buyer.machine.places["lock"]
        nowhere.symlink_to("/proc/self/imghost.lock")  # no file can be made there, by anybody
        faulty.begin(buyer.machine)
        ended = faulty.end(buyer.machine)
        assert ended.err.count("receipt: ") == IMAGES
        assert "imghost.lock cannot be written" in ended.err
        assert "commit imghost.lock" not in ended.err
