"""Uploads that begin while pages are rendered: only what is sure to go, and the run ends as it would without them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubles.img402 import Img402
from doubles.imgpro import VERIFIED, ImgPro
from doubles.server import Reply, Request
from sites import picture, tree, write

from imghost import settings
from imghost.net import Client
from imghost.records import lock as locks
from imghost.records.cache import Cache, exclusive
from imghost.run.early import begin as begin_early
from imghost.run.job import Job
from imghost.run.plan import open_host, owner_of
from imghost.run.rehost import Result, rehost
from imghost.run.report import as_mapping
from imghost.site.images import Origins

PAGES = {
    "index.html": '<img src="a.png"><img src="b.png"><a href="linked.png">large</a>',
    "deep/page.html": '<img src="../b.png"><picture><source srcset="../c.webp"><img src="../d.png"></picture>',
    "last.html": '<meta property="og:image" content="e.png"><img src="copy.png"><img src="notes.png">',
}
IMAGES: dict[str, str | bytes] = {
    **{f"{name}.png": picture(number) for number, name in enumerate(["a", "b", "linked", "d", "e"])},
    "c.webp": picture(20, form="WEBP"),
    "copy.png": picture(0),
    "notes.png": "no image",
    "unused.png": picture(30),
}
SHOWN = {"a.png", "b.png", "c.webp", "d.png"}
"""What pages show; of two files with the same bytes the one that comes first."""


def job(folder: Path, host: ImgPro | Img402, **raw: Any) -> Job:
    """Describe a build whose static files are copied, and whose pages are not written yet."""
    write(folder / "docs", IMAGES)
    write(folder / "site", IMAGES)
    url = host.api_url if isinstance(host, ImgPro) else host.url
    name = "img.pro" if isinstance(host, ImgPro) else "img402"
    options = {"host": name, "options": {"api_url": url}, "retries": 2, **raw}
    return Job(
        site=folder / "site",
        settings=settings.read(options, folder),
        environ={"IMGPRO_API_KEY": VERIFIED},
        origins=Origins(
            roots=(folder / "docs",),
            sources={path: folder / "docs" / path for path in IMAGES},
            stands_for_copy=True,
        ),
        sleep=lambda _: None,
    )


def build(
    job: Job, after: Callable[[], object] = lambda: None, *, is_early: bool = True, is_awaited: bool = True
) -> Result:
    """Render the pages, looked at each or not, and rehost; `after` is between the two, once what goes early is sent."""
    early = begin_early(job) if is_early else None
    assert early or not is_early
    for path, text in PAGES.items():
        if early:
            early.look(path, text)
        write(job.site, {path: text})
    if early and is_awaited:
        begun = early.end()
        assert begun
        begun.wait()
    after()
    return rehost(job, early)


def sent(host: ImgPro) -> set[str]:
    """Name the images that the host was sent; of those with the same bytes the first one."""
    there = {copy.sent for copy in host.copies.values()}
    digests = {name: hashlib.sha256(it).hexdigest() for name, it in IMAGES.items() if isinstance(it, bytes)}
    return {name for name, digest in digests.items() if digest in there} - {"copy.png"}


def until(is_so: Callable[[], object]) -> None:
    """Wait until something is so, on the busiest machine."""
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_pages_show_is_there_when_the_last_one_is_rendered(tmp_path: Path) -> None:
    """And nothing else: what is only linked to, or named for others, waits until all pages are known."""
    with ImgPro("images") as host:
        lines: list[str] = []
        early: list[set[str]] = []

        result = build(replace(job(tmp_path, host), say=lines.append), lambda: early.append(sent(host)))
        assert early == [SHOWN]
        assert sent(host) == SHOWN | {"linked.png", "e.png"}
        assert len(host.uploads) == 6
        assert lines[0] == "uploading to img.pro while pages are rendered"
        assert lines[1].startswith("uploading 2 images (")
        assert result.report.counts.uploaded == 6
        assert [upload.path for upload in result.report.uploads] == [
            "a.png",
            "b.png",
            "c.webp",
            "d.png",
            "e.png",
            "linked.png",
        ]
        assert result.report.requests == len(host.server.requests())


def refuses(host: ImgPro, marker: bytes, reply: Reply) -> None:
    """Have the host answer so to what holds some bytes."""
    route = host.server.route

    def answer(request: Request) -> Reply:
        return reply if request.method == "POST" and marker in request.body else route(request)

    host.server.route = answer


def held_up(host: ImgPro, wait: Callable[[], object]) -> None:
    """Have the host wait before it stores an image."""
    route = host.server.route

    def answer(request: Request) -> Reply:
        if request.method == "POST":
            wait()
        return route(request)

    host.server.route = answer


def not_an_image(host: ImgPro) -> None:
    refuses(host, IMAGES["b.png"], Reply.json({"error": {"code": "unsupported_format", "message": "No"}}, 422))


def unwell(host: ImgPro) -> None:
    refuses(host, IMAGES["b.png"], Reply.json({"error": {"code": "server_error", "message": "No"}}, 500))


def out_of_quota(host: ImgPro) -> None:
    host.quota = 3


def no_leave(host: ImgPro) -> None:
    refuses(host, b"PNG", Reply.json({"error": {"code": "forbidden", "message": "No"}}, 403))


def unknown_key(host: ImgPro) -> None:
    route = host.server.route

    def answer(request: Request) -> Reply:
        is_usage = request.path == "/v1/usage"
        return Reply.json({"error": {"code": "unauthorized", "message": "No"}}, 401) if is_usage else route(request)

    host.server.route = answer


def told(result: Result) -> str:
    """Write down all that a run tells, but for what it took."""
    report = as_mapping(result.report)
    del report["seconds"], report["site"], report["requests"]
    rest = (result.notices, result.remarks, result.is_refused, result.advice, result.new_lines, result.error)
    return f"{json.dumps(report)} {rest}"


def left(folder: Path) -> str:
    """Write down the pages and the lock."""
    pages = tree(folder / "site", ".html")
    lock = folder / "imghost.lock"
    return f"{pages} {lock.read_text() if lock.exists() else ''}"


def alike(text: str, host: ImgPro) -> str:
    """Name images at the host by what was sent, since others are there in another order, and no moment."""
    for name, copy in host.copies.items():
        text = text.replace(name, copy.sent)
    text = text.replace(host.server.url, "HOST")
    return re.sub(r'"uploaded": "[^"]*"|\d{4}-\d\d-\d\d|in \d+(\.\d+)? m?s', "", text)


TROUBLES: list[Callable[[ImgPro], None]] = [lambda _: None, not_an_image, unwell, out_of_quota, no_leave, unknown_key]


@pytest.mark.parametrize("more", [{}, {"CI": "true"}], ids=["at home", "in CI"])
@pytest.mark.parametrize("trouble", TROUBLES, ids=["calm", *(trouble.__name__ for trouble in TROUBLES[1:])])
def test_a_build_ends_as_without_it(tmp_path: Path, trouble: Callable[[ImgPro], None], more: dict[str, str]) -> None:
    """The same pages, records, report, warnings and requests, whatever the host says; and so does the next one.

    What is left to the run has it ask for the account once more.
    """
    ends = []
    for is_early in (True, False):
        folder = tmp_path / str(is_early)
        with ImgPro("images") as host:
            trouble(host)
            given = job(folder, host, concurrency=1)
            given = replace(given, environ={**given.environ, **more})
            first = build(given, is_early=is_early)
            account = {("GET", "/v1/usage"), ("GET", "/v1/images")}
            asked = sorted(
                f"{it.method} {it.path}" for it in host.server.requests() if (it.method, it.path) not in account
            )
            here = [told(first), left(folder)]
            write(given.site, dict(PAGES))
            here += [told(rehost(given)), left(folder), str(asked)]
            ends.append([alike(text, host) for text in here])
    for with_it, without in zip(*ends, strict=True):
        assert with_it == without


def in_pull_request(given: Job) -> Job:
    return replace(given, environ={**given.environ, "GITHUB_EVENT_NAME": "pull_request"})


def with_lock(given: Job) -> Job:
    write(given.settings.folder, {"imghost.lock": '{"imghost_lock": 1, "host": "img.pro"}\n'})
    return given


NEVER: dict[str, Callable[[Job], Job]] = {
    "a pull request": in_pull_request,
    "no key": lambda given: replace(given, environ={}),
    "frozen": lambda given: replace(given, settings=replace(given.settings, frozen=True)),
    "a live preview": lambda given: replace(given, is_serving=True),
    "a limit": lambda given: replace(given, settings=replace(given.settings, max_uploads=100)),
    "external images": lambda given: replace(given, settings=replace(given.settings, remote=("https://x.test/*",))),
    "shared records": lambda given: replace(given, settings=replace(given.settings, shared="file:///nowhere")),
    "another plugin": lambda given: replace(given, origins=given.origins._replace(stands_for_copy=False)),
    "a lock": with_lock,
    "a folder": lambda given: replace(given, settings=replace(given.settings, host="directory", options={})),
    "a wrong option": lambda given: replace(given, settings=replace(given.settings, options={"nonsense": 1})),
}


@pytest.mark.parametrize("why", NEVER)
def test_where_it_is_not_sure_that_images_may_go_no_page_is_looked_at(tmp_path: Path, why: str) -> None:
    with ImgPro("images") as host:
        assert begin_early(NEVER[why](job(tmp_path, host))) is None
        assert not host.server.log
    assert not (tmp_path / ".cache").exists()


@pytest.mark.parametrize(("tier", "is_looked_at"), [("free", True), ("permanent", False), ("auto", False)])
def test_what_may_cost_money_waits_for_the_whole_plan(tmp_path: Path, tier: str, *, is_looked_at: bool) -> None:
    with Img402() as host:
        given = job(tmp_path, host, max_cost=100, retention="7d", options={"api_url": host.url, "tier": tier})
        key = {"IMG402_PRIVATE_KEY": f"0x{'11' * 32}"}
        early = begin_early(replace(given, environ=key))
        assert (early is not None) is is_looked_at
        if early:
            early.close()


def test_what_an_images_path_chooses_waits_for_all_its_paths(tmp_path: Path) -> None:
    with Img402() as host:
        lines: list[str] = []
        options = {"api_url": host.url, "tier": "free", "tiers": {"a.png": "free"}}
        given = job(tmp_path, host, retention="7d", options=options)
        build(replace(given, environ={"IMG402_PRIVATE_KEY": f"0x{'11' * 32}"}, say=lines.append))
        assert lines[0].startswith("uploading 6 images (")


def looked_at(given: Job, host: ImgPro, pages: Mapping[str, str] = PAGES) -> set[str]:
    """Look at the pages; gives the images that are there then."""
    early = begin_early(given)
    assert early
    with early:
        for path, text in pages.items():
            early.look(path, text)
        begun = early.end()
        assert begun
        begun.wait()
    return sent(host)


RENAMES = "document.images[0].src = document.images[0].src.replace('d.png', 'b.png')"


@pytest.mark.parametrize(
    ("raw", "files", "there"),
    [
        ({}, {}, SHOWN),
        ({"exclude": ["b.png"]}, {}, SHOWN - {"b.png"}),
        ({"exclude": ["c.webp"]}, {}, SHOWN - {"c.webp", "d.png"}),
        ({"references": ["link", "meta"]}, {}, set()),
        ({}, {"x.js": RENAMES}, {"a.png"}),
        ({"max_edge": 30}, {}, set()),
        ({"max_edge": 100}, {}, SHOWN),
        ({"format": "webp"}, {}, SHOWN),
        ({"responsive": True}, {}, SHOWN),
    ],
)
def test_only_what_no_other_page_can_change_goes_early(
    tmp_path: Path, raw: dict[str, Any], files: dict[str, str], there: set[str]
) -> None:
    """A page that counts on an image's pixels has it sent in its own size, and pages come one by one."""
    with ImgPro("images") as host:
        given = job(tmp_path, host, **raw)
        write(given.site, dict(files))
        assert looked_at(given, host) == there


def test_a_quota_that_not_all_fit_in_is_for_the_run_to_share_out(tmp_path: Path) -> None:
    """It is asked once, and how many images the site has is known before."""
    with ImgPro("images", quota=len(IMAGES) - 1) as host:
        given = job(tmp_path, host)
        there: list[set[str]] = []
        result = build(given, lambda: there.append(sent(host)))
        assert there == [set()]
        assert result.report.counts.uploaded == 6
        assert result.report.requests == len(host.server.requests())


def test_images_that_could_not_go_anyway_take_no_room_in_a_quota(tmp_path: Path) -> None:
    """Those of a theme are none of the project's."""
    with ImgPro("images", quota=len(IMAGES)) as host:
        given = job(tmp_path, host)
        write(given.site, {"theme.png": picture(50)})
        sources = {**given.origins.sources, "theme.png": tmp_path / "theme" / "theme.png"}
        given = replace(given, origins=given.origins._replace(sources=sources))
        assert looked_at(given, host) == SHOWN


def test_another_build_that_holds_the_store_is_not_waited_for(tmp_path: Path) -> None:
    with ImgPro("images") as host:
        given = job(tmp_path, host)
        with exclusive(given.settings.cache_dir):
            assert looked_at(given, host) == set()
        assert not host.server.log
        assert build(given).report.counts.uploaded == 6


def began(given: Job, _: ImgPro) -> None:
    """Note the upload of an image as a build does before it sends it."""
    with Cache.load(given.settings.cache_dir) as cache, Client() as client:
        opened = open_host(given, None, client)
        assert opened
        cache.intend(hashlib.sha256(picture(0)).hexdigest(), "img.pro", "", owner_of(given.settings, opened))


def was_sent(given: Job, host: ImgPro) -> None:
    build(given, is_early=False)
    given.settings.lock.unlink()


def was_refused(given: Job, host: ImgPro) -> None:
    not_an_image(host)
    was_sent(given, host)


@pytest.mark.parametrize("known", [began, was_sent, was_refused])
def test_where_the_local_store_knows_of_an_upload_the_run_decides(tmp_path: Path, known: Callable[..., None]) -> None:
    """Whether the lock is gone or a build was killed: what was begun is asked for, what was refused not sent again."""
    with ImgPro("images") as host:
        given = job(tmp_path, host)
        known(given, host)
        assert begin_early(given) is None


def test_what_is_not_sent_when_the_last_page_is_rendered_goes_on_beside_the_plan(tmp_path: Path) -> None:
    """Each image is sent once, and the run sends what no page shows."""
    with ImgPro("images") as host:
        is_rendered = threading.Event()
        held_up(host, lambda: is_rendered.wait(10))
        lines: list[str] = []
        given = replace(job(tmp_path, host, concurrency=1), say=lines.append)

        def end() -> None:
            until(lambda: host.uploads)
            threading.Timer(0.5, is_rendered.set).start()

        result = build(given, end, is_awaited=False)
        assert lines[1].startswith("uploading 2 images (")
        assert len(host.uploads) == result.report.counts.uploaded == 6


def test_the_first_image_goes_alone_where_the_account_tells_too_little(tmp_path: Path) -> None:
    """What is wrong with the account one upload shows."""
    with ImgPro("images") as host:
        is_seen = threading.Event()
        held_up(host, lambda: is_seen.wait(10))
        posts: list[int] = []

        def look() -> None:
            until(lambda: host.server.requests(method="POST"))
            time.sleep(0.5)
            posts.append(len(host.server.requests(method="POST")))
            is_seen.set()

        given = job(tmp_path, host, concurrency=4)
        assert build(given, look, is_awaited=False).report.counts.uploaded == 6
        assert posts == [1]


def test_what_was_found_goes_on_being_sent_once_every_image_is_found(tmp_path: Path) -> None:
    """Pages that come then are not looked at, and take nothing back."""
    with ImgPro("images") as host:
        given = job(tmp_path, host, concurrency=1)
        for folder in ("docs", "site"):
            for name in ("linked.png", "e.png", "notes.png", "unused.png"):
                (tmp_path / folder / name).unlink()
        more = {f"more{number}.html": PAGES["index.html"] for number in range(3)}
        assert looked_at(given, host, PAGES | more) == SHOWN


def test_an_image_that_changes_meanwhile_is_another_one(tmp_path: Path) -> None:
    """No page shows what it was; its record stays, as of bytes that the site had."""
    with ImgPro("images") as host:
        given = job(tmp_path, host)

        def change() -> None:
            for folder in ("docs", "site"):
                write(tmp_path / folder, {"a.png": picture(77)})

        result = build(given, change)
        now = hashlib.sha256(picture(77)).hexdigest()
        record = next(it for it in locks.read(given.settings.lock).records if it.sha256 == now)
        assert f'<img src="{record.url}">' in (given.site / "index.html").read_text()
        assert result.report.counts.uploaded == 7
        assert len(locks.read(given.settings.lock).records) == len(host.copies) == 7
        assert [notice.code for notice in result.notices] == ["type"]


def test_a_build_that_fails_keeps_what_was_sent_and_lets_go_of_the_store(tmp_path: Path) -> None:
    with ImgPro("images") as host:
        given = job(tmp_path, host)
        assert looked_at(given, host) == SHOWN
        with exclusive(given.settings.cache_dir, wait=0) as is_free:
            assert is_free
        assert len(locks.read(given.settings.lock).records) == len(SHOWN)
        result = build(given, is_early=False)
        assert result.report.counts.cached == 5
        assert len(host.uploads) == 6


def test_a_build_that_ends_before_its_time_has_nothing_more_begun(tmp_path: Path) -> None:
    """What is under way ends as it would."""
    with ImgPro("images") as host:
        may_end = threading.Event()
        held_up(host, lambda: may_end.wait(10))
        early = begin_early(job(tmp_path, host, concurrency=1))
        assert early
        with early:
            for path, text in PAGES.items():
                early.look(path, text)
            until(lambda: host.server.requests(method="POST"))
            threading.Timer(2, may_end.set).start()
        assert len(host.copies) == 1


def test_where_the_lock_takes_nothing_each_receipt_is_told_once(tmp_path: Path) -> None:
    """And past a log that is closed to what only informs."""
    with ImgPro("images") as host:
        given = job(tmp_path, host)
        given.settings.lock.symlink_to("/proc/nowhere/imghost.lock")
        receipts: list[str] = []
        build(replace(given, receipt=receipts.append))
        told = [json.loads(line.removeprefix("receipt: "))["sha256"] for line in receipts]
        assert sorted(told) == sorted(copy.sent for copy in host.copies.values())
        assert len(told) == 6


def test_where_the_store_takes_nothing_the_run_says_so(tmp_path: Path) -> None:
    with ImgPro("images") as host:
        given = job(tmp_path, host)
        write(tmp_path, {".cache": "a file"})
        with suppress(AssertionError):
            build(given)
        assert not host.uploads


@pytest.mark.parametrize("meanwhile", [began, lambda given, _: with_lock(given)], ids=["begun", "ended"])
def test_a_build_that_began_or_ended_since_the_rendering_began_is_seen(
    tmp_path: Path, meanwhile: Callable[[Job, ImgPro], object]
) -> None:
    """What it has in the local store counts, and where it has left a lock the run goes by that."""
    with ImgPro("images") as host:
        given = job(tmp_path, host)
        early = begin_early(given)
        assert early
        meanwhile(given, host)
        for path, text in PAGES.items():
            early.look(path, text)
            write(given.site, {path: text})
        begun = early.end()
        assert begun
        assert not begun.wait().outcomes
        assert not host.uploads
        assert rehost(given, early).report.counts.uploaded > 0


def of(parent: int) -> list[int]:
    """List the processes that one has started."""
    return [*map(int, Path(f"/proc/self/task/{parent}/children").read_text().split())]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the system does not list a process's children")
def test_where_the_process_that_sends_is_killed_the_run_sends_the_rest(tmp_path: Path) -> None:
    with ImgPro("images") as host:
        is_under_way, is_killed = threading.Event(), threading.Event()
        held_up(host, lambda: host.copies and (is_under_way.set(), is_killed.wait(10)))
        given = job(tmp_path, host, concurrency=2)
        before = set(of(threading.main_thread().native_id or 0))

        def kill() -> None:
            assert is_under_way.wait(20)
            (sender,) = {*of(threading.main_thread().native_id or 0)} - before
            os.kill(sender, signal.SIGKILL)
            is_killed.set()

        details: list[str] = []
        result = build(replace(given, detail=details.append), kill, is_awaited=False)
        assert result.report.counts.references_rewritten == 8
        assert {copy.sent for copy in host.copies.values()} == {
            it.sha256 for it in locks.read(given.settings.lock).records
        }
        assert "no more was uploaded while pages were rendered: it was ended" in details


@pytest.mark.parametrize("name", ["/nowhere/python", ""])
def test_where_no_process_can_be_started_the_run_sends_all(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", name)
    with ImgPro("images") as host:
        given = job(tmp_path, host)
        assert begin_early(given) is None
        assert build(given, is_early=False).report.counts.uploaded == 6


def test_a_program_that_brings_its_own_python_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its command would be the program, and build the site."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with ImgPro("images") as host:
        assert begin_early(job(tmp_path, host)) is None
