"""Troubles of a machine: full and read-only disks, closed outputs, signals, limits, strange files and names."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from doubles.server import Fault
from sites import picture, tree, write
from trust.place import Project, assert_done, built_site, counted, crawl, duplicates, scratch
from trust.points import Point, Tracer, can_trace, spread

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals, limits and modes are those of POSIX")


@pytest.fixture
def project(tmp_path: Path):
    with ImgPro("images") as host:
        yield Project(tmp_path, host)


def test_a_lock_that_cannot_be_written_costs_no_image_and_its_lines_are_printed(project: Project) -> None:
    before = tree(built_site(project.site))
    (project.root / "gone").mkdir()
    nowhere = project.root / "gone" / "imghost.lock"
    nowhere.symlink_to("/proc/self/imghost.lock")  # no file can be made there, by anybody
    done = project.run("--lock", "gone/imghost.lock", "--strict")
    assert done.returncode == 1
    receipts = [line.partition("receipt: ")[2] for line in done.stderr.splitlines() if "receipt: " in line]
    assert len(receipts) == 3
    assert {json.loads(line)["sha256"] for line in receipts} == {copy.sent for copy in project.host.copies.values()}
    assert_done(project, before)
    built_site(project.site)
    nowhere.unlink()
    project.build(lock="gone/imghost.lock")
    assert len(project.host.copies) == 3
    assert len(nowhere.read_text().splitlines()) == 4


QUIET = {
    "imghost": ["imghost", "rehost", "site", "-q", "--host", "img.pro", "--option", "api_url=URL"],
    "mkdocs": ["mkdocs", "build", "-q"],
    "sphinx-build": ["sphinx", "-q", "-b", "html", ".", "out"],
}
LOUD = {name: [word for word in command if word != "-q"] for name, command in QUIET.items()}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("command", [*QUIET.values(), *LOUD.values()], ids=[*QUIET, *(f"{it}, loud" for it in LOUD)])
@pytest.mark.parametrize("is_ci", [False, True])
def test_receipts_and_new_lines_are_printed_once_also_by_a_quiet_build(
    tmp_path: Path, command: list[str], *, is_ci: bool
) -> None:
    """Of what was paid they may be all that is left: of the one where no lock can be written, of the other in a CI."""
    with ImgPro("images") as host:
        write(
            tmp_path,
            {
                "docs/index.md": "![a](a.png)\n",
                "docs/a.png": picture(1),
                "index.rst": ".. image:: docs/a.png\n",
                "site/index.html": '<img src="a.png">',
                "site/a.png": picture(1),
                "mkdocs.yml": "site_name: x\nplugins: [imghost: {host: img.pro, options: "
                f"{{api_url: '{host.api_url}'}}}}]\n",
                "conf.py": "extensions = ['sphinx_imghost']\nexclude_patterns = ['site']\nimghost_host = 'img.pro'\n"
                f"imghost_options = {{'api_url': '{host.api_url}'}}\n",
            },
        )
        if not is_ci:
            (tmp_path / "imghost.lock").symlink_to("/proc/self/imghost.lock")
        done = subprocess.run(
            [sys.executable, "-m", *(word.replace("URL", host.api_url) for word in command)],
            cwd=tmp_path, env=os.environ | {"IMGPRO_API_KEY": VERIFIED} | ({"CI": "1"} if is_ci else {}),
            capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        (copy,) = host.copies.values()
    printed = (done.stdout + done.stderr).splitlines()
    mark = '{"sha256": ' if is_ci else "receipt: "
    lines = [line[line.index("{") :] for line in printed if mark in line]
    assert [json.loads(line)["sha256"] for line in lines] == [copy.sent], done.stderr


@pytest.mark.sampled(2)
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "</dev/null >/dev/full 2>/dev/full", "2>/dev/full"])
def test_a_closed_or_full_output_leaves_no_page_undone(project: Project, closed: str) -> None:
    if "full" in closed and not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    before = tree(built_site(project.site))
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *project.command()], cwd=project.root, env=project.environ()
    )
    assert done.returncode in {0, 1}
    assert_done(project, before)


def test_an_output_that_nobody_reads_leaves_no_page_undone(project: Project) -> None:
    before = tree(built_site(project.site))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(project.command(), cwd=project.root, env=project.environ(), stdout=writer, stderr=writer)
    os.close(writer)
    assert done.returncode in {0, 1}
    assert_done(project, before)


def begun(project: Project, *more: str, until: Callable[[], object]) -> subprocess.Popen[str]:
    """Begin a build, and wait until something is so."""
    build = subprocess.Popen(project.command(*more), cwd=project.root, env=project.environ(), stderr=-1, text=True)
    latest = time.monotonic() + 30
    while not until() and time.monotonic() < latest:
        time.sleep(0.002)
    return build


ENDINGS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("signum", ENDINGS)
def test_a_build_that_is_told_to_end_says_so_and_keeps_what_it_earned(project: Project, signum: int) -> None:
    """One request is under way and may finish; nothing that waits is begun."""
    before = tree(built_site(project.site, count=12))
    project.host.server.fail(*[Fault.SLOW] * 12, when=lambda request: request.method == "POST")
    build = begun(project, "--concurrency", "1", until=lambda: project.host.copies)
    build.send_signal(signum)
    _, told = build.communicate(timeout=30)
    assert build.returncode == ENDINGS[signal.Signals(signum)]
    assert told.splitlines()[-1] == "imghost: interrupted; what was uploaded is kept, run the command again to go on"
    assert "Traceback" not in told
    stored = len(project.host.copies)
    assert 1 <= stored < 12
    assert len((project.root / "imghost.lock").read_text().splitlines()) in {stored, stored + 1}
    crawl(project.site, before, project.host)
    project.host.server.calm()
    project.build()
    assert_done(project, before)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("signum", "times"), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 2)])
def test_an_interrupted_build_waits_five_seconds_at_most_and_the_second_time_not_at_all(
    project: Project, signum: int, times: int
) -> None:
    before = tree(built_site(project.site, count=8))
    project.host.server.fail(*[Fault.HANG] * 8, when=lambda request: request.method == "POST")
    build = begun(project, "--timeout", "30", until=lambda: project.host.server.requests("POST"))
    started = time.monotonic()
    for _ in range(times):
        build.send_signal(signum)
        time.sleep(0.4)
    build.communicate(timeout=30)
    assert build.returncode in {ENDINGS[signal.Signals(signum)], -signum}
    assert time.monotonic() - started < (9 if times == 1 else 4)
    project.host.server.calm()
    crawl(project.site, before, project.host)
    project.build()
    assert_done(project, before)


def test_a_build_that_shall_outlive_its_terminal_does(project: Project) -> None:
    before = tree(built_site(project.site))
    project.host.server.fail(*[Fault.SLOW] * 3, when=lambda request: request.method == "POST")
    command = ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", *project.command()]
    build = subprocess.Popen(command, cwd=project.root, env=project.environ(), stderr=subprocess.DEVNULL)
    while not project.host.server.requests("POST"):
        time.sleep(0.002)
    build.send_signal(signal.SIGHUP)
    assert build.wait(timeout=30) == 0
    assert_done(project, before)


def ended(tracer: Tracer, number: int, point: Point) -> str:
    """Tell a build to end at one of its system calls; gives what was wrong with its end, or nothing."""
    signum = (signal.SIGINT, signal.SIGTERM)[number % 2]
    with scratch("ended") as folder, ImgPro("images") as host:
        project = Project(Path(folder), host)
        before = tree(built_site(project.site))
        log = Path(folder) / "calls.log"
        done = tracer.inject(project, point, f"signal={signum.name}", log=log)
        times = log.read_text("utf-8", "replace").count(f"--- {signum.name} ")
        crawl(project.site, before, host)
        project.build()
        assert_done(project, before)
    # Two threads may each come to their call of this number, and a second request ends a build at once.
    allowed = {0, ENDINGS[signum], *([-signum] if times > 1 else [])}
    is_in_order = done.status in allowed and "Traceback" not in done.err
    return "" if is_in_order else f"{signum.name} at {point}: {done.status}, {done.err[-1500:]}"


@pytest.mark.long
@pytest.mark.skipif(not can_trace(), reason="strace is not installed, or may not trace here")
@pytest.mark.timeout(3600)
def test_a_build_may_be_told_to_end_at_any_step(tmp_path: Path) -> None:
    """It ends with its own status or not at all, and the next one completes the site."""
    with Tracer() as tracer:
        with ImgPro("images") as host:
            built_site(Project(tmp_path, host).site)
            points = spread(tracer.found(Project(tmp_path, host)), counted("ENDINGS", 12))
        problems = [problem for number, point in enumerate(points) if (problem := ended(tracer, number, point))]
    assert not problems, "\n".join(problems)
    assert len(points) >= 12


LIMITED = """
import resource, sys
resource.setrlimit(getattr(resource, sys.argv[1]), (int(sys.argv[2]),) * 2)
from imghost.cli.main import main
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("limit", "amount"),
    [("RLIMIT_NOFILE", 8), ("RLIMIT_NOFILE", 14), ("RLIMIT_NOFILE", 24), ("RLIMIT_FSIZE", 0), ("RLIMIT_FSIZE", 20_000)],
)
def test_a_limit_that_is_reached_leaves_a_site_that_works(project: Project, limit: str, amount: int) -> None:
    assert hasattr(resource, limit)
    before = tree(built_site(project.site))
    command = [sys.executable, "-c", LIMITED, limit, str(amount), *project.command()[3:]]
    done = subprocess.run(command, cwd=project.root, env=project.environ(), capture_output=True, text=True, timeout=60)
    assert done.returncode in {0, 1, 2}, done.stderr
    crawl(project.site, before, project.host)
    project.build()
    assert_done(project, before)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits address space reliably")
def test_a_build_takes_little_memory_however_large_a_page_is(project: Project) -> None:
    before = tree(built_site(project.site))
    write(project.site, {"large.html": b'<img src="images/0.png">' + b"<p>text" * 3_600_000})
    command = [sys.executable, "-c", LIMITED, "RLIMIT_AS", str(768 * 2**20), *project.command()[3:]]
    done = subprocess.run(command, cwd=project.root, env=project.environ(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "large.html: left as it is; a page of more than 20 MB" in done.stderr
    assert_done(project, before)


@pytest.mark.long
def test_a_pipe_or_a_socket_named_as_a_page_or_an_image_holds_nothing_up(project: Project) -> None:
    before = tree(built_site(project.site))
    write(project.site, {"more.html": '<img src="images/pipe.png"><img src="images/null.png">'})
    os.mkfifo(project.site / "page.html")
    os.mkfifo(project.site / "images" / "pipe.png")
    (project.site / "images" / "null.png").symlink_to("/dev/zero")
    started = time.monotonic()
    done = project.run()
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 20
    assert_done(project, before)
    assert (project.site / "more.html").read_text() == '<img src="images/pipe.png"><img src="images/null.png">'


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="other systems take only Unicode names")
def test_names_and_pages_that_are_no_text_and_a_plain_locale_are_no_trouble(project: Project) -> None:
    before = tree(built_site(project.site))
    page = os.fsencode(project.site) + b"/caf\xe9.html"
    Path(os.fsdecode(page)).write_bytes(b'\xe9 <img src="images/b\xc3\xa9 b.png"><img src="images/%E9.png">')
    write(project.site, {"images/bé b.png": picture(50)})
    Path(os.fsdecode(os.fsencode(project.site) + b"/images/\xe9.png")).write_bytes(picture(51))
    # Without UTF-8 no name outside ASCII can be compared with what a page says: such images stay local.
    for more, count in (({"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, 0), ({}, 1)):
        done = project.run(env=project.environ(LC_ALL="C", **more), errors="replace")
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        content = Path(os.fsdecode(page)).read_bytes()
        assert content.count(b"http://127.0.0.1:") == count
        assert content.endswith(b'<img src="images/%E9.png">')
        crawl(project.site, before, project.host)


def test_a_cache_that_cannot_be_written_uploads_nothing_and_the_site_stays(project: Project) -> None:
    before = tree(built_site(project.site))
    (project.root / ".cache").write_text("a file where the folder should be")
    done = project.run()
    assert done.returncode in {0, 1, 2}
    assert "Traceback" not in done.stderr
    assert "warning" in done.stderr or "error" in done.stderr
    assert project.host.copies == {}
    assert tree(project.site) == before


def test_what_a_killed_build_left_half_written_is_swept(project: Project) -> None:
    before = tree(built_site(project.site))
    left = [project.site / "below" / ".imghost-0123456789abcdef.tmp", project.site / ".imghost-ffffffffffffffff.tmp"]
    for file in left:
        file.write_text("half a page")
        os.utime(file, (1, 1))
    kept = project.site / ".imghost-notes.tmp"
    kept.write_text("somebody else's")
    assert project.run().returncode == 0
    assert not [file for file in left if file.exists()]
    kept.unlink()
    assert_done(project, before)


def test_a_half_rewritten_site_ends_as_a_clean_build_would(project: Project) -> None:
    before = tree(built_site(project.site))
    project.build()
    clean = tree(project.site)
    built_site(project.site)
    (project.site / "below" / "index.html").write_bytes(clean["below/index.html"])
    project.build()
    assert tree(project.site) == clean
    assert duplicates(project.host) == 0
    crawl(project.site, before, project.host)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("fault", [Fault.RESET_AFTER_BODY, Fault.HANG])
def test_a_host_that_never_answers_ends_the_build_in_time_and_leaves_the_site(project: Project, fault: Fault) -> None:
    before = tree(built_site(project.site, count=6))
    project.host.server.fail_on(b"", fault)
    started = time.monotonic()
    done = project.run("--timeout", "0.5", "--retries", "2")
    assert time.monotonic() - started < 20
    assert done.returncode == 0, done.stderr
    assert "warning" in done.stderr
    assert crawl(project.site, before, project.host).keys()
    assert {path: content for path, content in tree(project.site).items() if path in before} == before
