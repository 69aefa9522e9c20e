"""A URL counts once it serves the image: late, wrong or not at all are told apart, and cost no second upload."""

from __future__ import annotations

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
