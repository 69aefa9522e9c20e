"""A URL counts once it serves the image: late, wrong or not at all are told apart, and cost no second upload."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from doubles.imgpro import ImgPro
from doubles.server import Reply, Request
from sites import picture, tree
from trust.place import Project, assert_done, built_site, crawl

from imghost.records.lock import read

IMAGE = (("Content-Type", "image/png"),)
WRONG = {
    "a page": (Reply(200, b"<!doctype html><title>soon</title>", (("Content-Type", "text/html"),)), "not an image"),
    "nothing": (Reply(200, b"", IMAGE), "not an image"),
    "another size": (Reply(200, picture(90, (8, 9)), IMAGE), "serves 8 x 9 pixels, not 40 x 30"),
    "forbidden": (Reply(403, b"no", (("Content-Type", "text/plain"),)), "answers 403"),
    "gone": (Reply(404, b"no", (("Content-Type", "text/plain"),)), "answers 404"),
}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with ImgPro("images") as host:
        yield Project(tmp_path, host)


@contextmanager
def serving(host: ImgPro, instead: Callable[[Request], Reply | None]) -> Iterator[None]:
    """Have the host's images, but not its answers, be something else."""
    inner = host.server.route
    host.server.route = lambda request: ("/t/" in request.path and instead(request)) or inner(request)
    yield
    host.server.route = inner


@pytest.mark.parametrize("status", [404, 503])
def test_an_image_that_is_served_a_moment_later_is_waited_for(project: Project, status: int) -> None:
    before = tree(built_site(project.site))
    asked: dict[str, int] = {}

    def late(request: Request) -> Reply | None:
        asked[request.path] = asked.get(request.path, 0) + 1
        return Reply(status, b"") if asked[request.path] < 2 else None

    with serving(project.host, late):
        assert project.build().notices == ()
    assert_done(project, before)
    assert len(project.host.uploads) == 3


@pytest.mark.parametrize("wrong", WRONG)
def test_a_url_that_serves_no_such_image_stays_out_of_pages_and_the_next_build_asks_again(
    project: Project, wrong: str
) -> None:
    reply, why = WRONG[wrong]
    before = tree(built_site(project.site))
    with serving(project.host, lambda request: reply):
        result = project.build(retries=1)
    assert {notice.code for notice in result.notices} == {"upload"}
    assert why in result.notices[0].text
    assert {path: content for path, content in tree(project.site).items() if path in before} == before
    assert read(project.root / "imghost.lock").records == (), "what is not confirmed counts for no page"
    crawl(project.site, before, project.host)
    assert project.build().notices == ()
    assert_done(project, before)
    assert len(project.host.copies) == 3


def test_the_next_image_is_sent_while_a_url_is_looked_at(project: Project) -> None:
    """The host shows an image only once the next but one has come; who waits for the first would wait for ever."""
    before = tree(built_site(project.site, 5))
    shown: list[str] = []

    def held(request: Request) -> Reply | None:
        shown.append(request.path)
        if len(shown) == 2:
            for _ in range(500):
                if len(project.host.uploads) > 2:
                    break
                time.sleep(0.01)
            else:
                return Reply(404, b"")
        return None

    with serving(project.host, held):
        assert project.build(concurrency=1, retries=1).notices == ()
    assert_done(project, before)


@pytest.mark.parametrize("concurrency", [1, 2, 3])
def test_of_what_nobody_has_seen_no_more_is_sent_than_a_few(project: Project, concurrency: int) -> None:
    """Where a host shows nothing, the build must know it before many more are paid for."""
    built_site(project.site, 12)
    ahead: list[int] = []
    asked: list[str] = []

    def held(request: Request) -> Reply | None:
        asked.append(request.path)
        time.sleep(0.05)
        ahead.append(len(project.host.uploads) - len(asked))
        return None

    with serving(project.host, held):
        assert project.build(concurrency=concurrency).notices == ()
    # As many as are looked at, less those that this counts, and one in each hand of those who send.
    assert max(ahead) <= 2 * concurrency - 1


def test_what_was_stored_is_looked_at_though_the_run_stops(project: Project) -> None:
    """A host that wants no more images still shows those it took, which then need no later build."""
    built_site(project.site, 6)

    def late(request: Request) -> Reply | None:
        if len(project.host.uploads) >= 3:
            project.host.quota = project.host.used
        return None

    with serving(project.host, late):
        result = project.build(concurrency=2)
    found = read(project.root / "imghost.lock")
    assert result.notices
    assert found.unconfirmed == ()
    assert len(found.records) == len(project.host.copies)
