"""A build ends in its time and in little memory, whatever the host, the clock and other builds do."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from doubles.imgpro import ImgPro
from doubles.server import Fault
from sites import picture, tree, write
from trust.place import SITE_URL, Project, assert_done, built_site, crawl, tell, today
from trust.points import can_trace

from imghost import settings
from imghost.errors import LockError
from imghost.records.cache import exclusive
from imghost.run.job import Job
from imghost.run.rehost import rehost

pytestmark = pytest.mark.skipif(os.name == "nt", reason="limits are those of POSIX")
ROOM = 1 << 30
"""Bytes of address space that a build gets, most of which threads only reserve."""
RESIDENT = 80 << 20
"""Bytes that a build may really use."""

LIMITED = """
import re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
from imghost.cli.main import main
status = main(sys.argv[2:])
if sys.platform == "linux":  # what the system counts for a finished command began with its parent's
    most = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
else:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("resident", most)
sys.exit(status)
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with ImgPro("images") as host:
        yield Project(tmp_path, host)


def limited(project: Project, address: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Build with a host at some address, in as little room as a build may need."""
    command = [part.replace(project.host.api_url, address) for part in project.command(*more)[3:]]
    limits = [str(ROOM)] if sys.platform == "linux" else ["-1"]
    return subprocess.run(
        [sys.executable, "-c", LIMITED, *limits, *command],
        cwd=project.root, env=project.environ(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def resident(done: subprocess.CompletedProcess[str]) -> int:
    return int(done.stdout.rpartition("resident ")[2])


SCARCE = """
import re, resource, sys
import httpx, filelock
from imghost.cli import main as cli
from imghost.html import scan
from imghost.image import inspect, payload
from imghost.net import wire
from imghost.records import cache, safe_diskcache
from imghost.run import publish, rehost, upload
size = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + int(float(sys.argv[1]) * 2**20),) * 2)
sys.exit(cli.main(sys.argv[2:]))
"""
"""A command that has loaded all modules, and gets so many megabytes more."""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits address space, and tells its size")
def test_a_build_that_runs_out_of_memory_says_so_and_leaves_a_site_that_works(project: Project) -> None:
    """At no thread's stack, at the store's, at the first upload's, after the first upload."""
    for megabytes in ("0.2", "2", "14"):
        before = tree(built_site(project.site, count=8))
        command = [sys.executable, "-c", SCARCE, megabytes, *project.command()[3:]]
        done = subprocess.run(command, cwd=project.root, env=project.environ(), capture_output=True, text=True)
        assert done.returncode in {0, 1, 2}, done.stderr
        assert "Traceback" not in done.stderr
        crawl(project.site, before, project.host)
        # One thread is enough to upload them all, after a while.
        assert "memory" in done.stderr or len(project.host.copies) == 8
        assert megabytes != "0.2" or project.host.copies == {}
    project.build()
    assert_done(project, before)


@contextmanager
def refusing() -> Iterator[str]:
    """Give an address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
    yield address


@contextmanager
def silent() -> Iterator[str]:
    """Give an address that takes no connection and refuses none: its queue is full."""
    with ExitStack() as held, socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


@pytest.mark.long
@pytest.mark.parametrize("dead", [refusing, silent])
def test_a_host_that_is_not_there_ends_the_build_in_time(project: Project, dead: object) -> None:
    """Three connections in a row that fail are enough: not each of the images has to wait."""
    before = tree(built_site(project.site, count=24))
    with dead() as address:  # type: ignore[operator]
        begin = time.monotonic()
        done = limited(project, address, "--timeout", "0.5", "--retries", "5")
        assert time.monotonic() - begin < 20
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning") == 1
    assert "; check the network\n" in done.stderr
    assert resident(done) < RESIDENT
    assert {path: content for path, content in tree(project.site).items() if path in before} == before


@pytest.mark.long
@pytest.mark.parametrize("fault", [Fault.DRIP_HEADERS, Fault.DRIP_BODY, Fault.OVERSIZE_BODY])
def test_a_host_that_never_ends_its_answers_takes_neither_time_nor_memory(project: Project, fault: Fault) -> None:
    before = tree(built_site(project.site, count=12))
    project.host.server.fail_on(b"", fault)
    begin = time.monotonic()
    done = limited(project, project.host.api_url, "--timeout", "0.5", "--retries", "2")
    assert time.monotonic() - begin < 20
    assert done.returncode == 0, done.stderr
    assert "warning" in done.stderr
    assert resident(done) < RESIDENT
    assert {path: content for path, content in tree(project.site).items() if path in before} == before


def patient(project: Project, seconds: float, said: list[str]) -> Job:
    """Make a run of a project that waits for others so long."""
    raw = {"host": "img.pro", "options": {"api_url": project.host.api_url}, "site_url": SITE_URL}
    return Job(project.site, settings.read(raw, project.root), dict([project.key]), patience=seconds, say=said.append)


def test_a_store_that_another_build_holds_is_waited_for_and_then_left_alone(project: Project) -> None:
    before = tree(built_site(project.site))
    said: list[str] = []
    with exclusive(project.cache, wait=0) as is_held:
        assert is_held
        result = rehost(patient(project, 1, said))
    assert said == ["another build is uploading; waiting for it, 1 seconds at most"]
    assert [notice.code for notice in result.notices] == ["busy"]
    why = f"another build holds the local store {project.cache}; build again when it is done"
    assert result.notices[0].text == f"nothing is uploaded: {why}"
    assert project.host.server.requests("POST") == []
    assert tree(project.site) == before


def test_a_build_that_gets_the_store_in_time_goes_by_what_the_other_has_written(project: Project) -> None:
    before = tree(built_site(project.site))
    held = threading.Event()

    def hold() -> None:
        with exclusive(project.cache, wait=0):
            held.set()
            time.sleep(0.8)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(5)
    assert rehost(patient(project, 10, [])).notices == ()
    holder.join()
    assert_done(project, before)


JUMPING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <sys/time.h>
static long jump(void) { static long calls; return (calls++ % 2 ? 1 : -1) * 11L * 3600; }
int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*usual)(clockid_t, struct timespec *);
    if (!usual) usual = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int status = usual(which, now);
    if (which == CLOCK_REALTIME) now->tv_sec += jump();
    return status;
}
int gettimeofday(struct timeval *now, void *zone) {
    static int (*usual)(struct timeval *, void *);
    if (!usual) usual = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
    int status = usual(now, zone);
    now->tv_sec += jump();
    return status;
}
"""
"""A C library's clock that is eleven hours late or early, in turn, each time it is asked; only its steady one is not.

A record that is more than a day ahead is an error, whatever the clock does."""


@pytest.fixture(scope="module")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("a clock that jumps is made with a C compiler, on Linux")
    source = tmp_path_factory.mktemp("clock") / "jumping.c"
    source.write_text(JUMPING)
    library = source.with_suffix(".so")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return str(library)


FAULTS: dict[str, Sequence[Fault]] = {
    "none": (),
    "lost answers": (Fault.RESET_AFTER_ROUTE, Fault.CLOSE_AFTER_ROUTE),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("faults", FAULTS)
def test_a_clock_that_jumps_hurries_nothing_and_holds_nothing_up(project: Project, jumping: str, faults: str) -> None:
    before = tree(built_site(project.site))
    project.host.server.fail(*FAULTS[faults], when=lambda request: request.method == "POST")
    begin = time.monotonic()
    done = project.run("--strict", env=project.environ(LD_PRELOAD=jumping))
    assert time.monotonic() - begin < 20
    assert done.returncode == 0, done.stderr
    assert_done(project, before)
    built_site(project.site)
    asked = len(project.host.server.log)
    again = project.run("--strict", env=project.environ(LD_PRELOAD=jumping))
    assert again.returncode == 0, again.stderr
    assert len(project.host.server.log) == asked
    assert_done(project, before)


def test_the_clock_of_the_tests_above_does_jump(jumping: str) -> None:
    code = "import time; print(abs(time.time() - time.time()) > 3600, time.monotonic() <= time.monotonic())"
    environ = {**os.environ, "LD_PRELOAD": jumping}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert done.stdout == "True True\n", done.stderr


def test_a_clock_that_jumps_ahead_while_images_go_up_renews_nothing(tmp_path: Path) -> None:
    """The images live for sixty days; the clock says that these are over as soon as the first one is stored."""
    with ImgPro("images", lifetime=60 * 86_400, quota=100) as host:
        project = Project(tmp_path, host, (("retention", "30d"),))
        before = tree(built_site(project.site))
        result = project.build(now=lambda: today() + timedelta(days=90 if host.copies else 0))
        crawl(project.site, before, host)
        assert len(host.uploads) == 3
        assert not [notice for notice in result.notices if "Traceback" in notice.text]
        # By the right clock those records are of the future, which is said before anything is asked or sent.
        with pytest.raises(
            LockError, match=r"line 2: its 'uploaded' is in the future .*; restore the file from git, or set"
        ):
            project.build()
        assert len(host.uploads) == 3
        crawl(project.site, before, host)


PAGES, FOLDERS = 100, 100


def among_many(project: Project, files: int) -> Project:
    """Write a site of a hundred pages with an image each, among so many files of other kinds in a hundred folders."""
    for number in range(PAGES):
        page = f"<title>{number}</title><link rel=stylesheet href=a.css><img src=images/{number}.png>"
        write(project.site, {f"{number}.html": page, f"images/{number}.png": picture(number)})
    write(project.site, {"a.css": "p { color: red }"})
    for folder in range(FOLDERS):
        first = write(project.site, {f"data/{folder}/0.json": f'{{"number": {folder}}}'}) / f"data/{folder}/0.json"
        for number in range(1, files // FOLDERS):
            os.link(first, first.with_name(f"{number}.{('json', 'txt', 'csv', 'bin')[number % 4]}"))
    return project


def counted_calls(project: Project, *names: str) -> Counter[str]:
    """Build, and count calls of the system by their names."""
    log = project.root / "trace"
    tracing = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={','.join(names)}"]
    assert project.run(before=tracing).returncode == 0
    return Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text("utf-8", "replace"), re.M))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(not can_trace(), reason="strace is not installed, or may not trace here")
def test_a_hundred_thousand_files_beside_the_pages_are_listed_and_no_more(tmp_path: Path) -> None:
    """None of them is opened or asked for, by the first build or the next; what is known of one takes few bytes."""
    few, many = 1_000, 100_000
    most: dict[int, list[int]] = {}
    calls: dict[int, Counter[str]] = {}
    for files in (few, many):
        with ImgPro("images", quota=PAGES) as host:
            project = among_many(Project(tmp_path / str(files), host), files)
            first = limited(project, host.api_url)
            assert (first.returncode, len(host.copies)) == (0, PAGES), first.stderr
            asked = len(host.server.log)
            most[files] = [resident(first), resident(limited(project, host.api_url))]
            calls[files] = counted_calls(project, "openat", "newfstatat", "statx")
            assert (len(host.copies), len(host.server.log)) == (PAGES, asked)
    assert sum(name.is_file() for name in (tmp_path / str(many)).rglob("data/*/*")) == many
    counts = {files: sum(by_name.values()) for files, by_name in calls.items()}
    tell(
        f"{PAGES} pages and images among {few:,} and {many:,} files: calls {counts}, bytes of a cold and a warm build {most}"
    )
    assert counts[many] < counts[few] + 100
    for with_few, with_many in zip(most[few], most[many], strict=True):
        assert with_many - with_few < 300 * (many - few)
