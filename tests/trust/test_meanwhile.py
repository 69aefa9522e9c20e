"""What happens to a site while it is being published: images and pages change, go, or become something else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from doubles.imgpro import ImgPro
from doubles.server import Reply, Request
from sites import picture, tree, write
from trust.place import Project, assert_done, built_site, references

from imghost.run.rehost import Result


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with ImgPro("images") as host:
        yield Project(tmp_path / "project", host)


def during(project: Project, happens: Callable[[], object], count: int = 3) -> Result:
    """Build; this happens once, when the host has stored so many images, and before it says so."""
    server, left = project.host.server, [happens]
    inner = server.route

    def route(request: Request) -> Reply:
        reply = inner(request)
        if request.method == "POST" and len(project.host.copies) >= count and left:
            left.pop()()
        return reply

    server.route = route
    try:
        return project.build(concurrency=1)
    finally:
        server.route = inner
        assert not left


def local(project: Project, before: dict[str, bytes], page: str) -> set[str]:
    """List the images that a page still shows from the site."""
    pairs = zip(references(before[page]), references((project.site / page).read_bytes()), strict=True)
    return {was for was, now in pairs if was == now and was.endswith(".png")}


CHANGES: dict[str, Callable[[Path], object]] = {
    "another picture": lambda file: file.write_bytes(picture(77, (48, 30))),
    "another picture of the same length": lambda file: file.write_bytes(file.read_bytes()[:-20] + b"\0" * 20),
    "no image any more": lambda file: file.write_text("key = 'abc'"),
    "a link to another file": lambda file: (file.unlink(), file.symlink_to("/etc/passwd")),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("is_known", [False, True])
def test_an_image_that_changes_while_others_are_sent_stays_local(project: Project, change: str, is_known: bool) -> None:
    """What a page shows is the file that is there now; the record is of the bytes that were sent, or sent before."""
    before = tree(built_site(project.site))
    if is_known:
        project.build()
        before = tree(built_site(project.site))
        write(project.site, {"images/0.png": picture(50), "images/copy.png": picture(50)})
        project.host.uploads.clear()
    result = during(project, lambda: CHANGES[change](project.site / "images" / "1.png"))
    told = [(notice.code, notice.text) for notice in result.notices]
    assert told == [("page", "images/1.png stays local: it changed while the build ran; build again")]
    assert local(project, before, "index.html") == {"images/1.png"}
    assert local(project, before, "below/index.html") == {"../images/1.png"}
    assert [kept.path for kept in result.report.kept] == ["images/1.png"]
    recorded = {json.loads(line).get("sha256") for line in (project.root / "imghost.lock").read_text().splitlines()}
    assert hashlib.sha256(before["images/1.png"]).hexdigest() in recorded


def test_the_build_after_that_brings_the_changed_image_to_the_host(project: Project) -> None:
    built_site(project.site)
    during(project, lambda: write(project.site, {"images/1.png": picture(77)}))
    before = tree(write(built_site(project.site), {"images/1.png": picture(77)}))
    assert project.build().notices == ()
    assert_done(project, before)


def test_an_image_that_is_only_touched_moves(project: Project) -> None:
    before = tree(built_site(project.site))
    image = project.site / "images" / "1.png"
    assert during(project, lambda: image.write_bytes(before["images/1.png"])).notices == ()
    assert_done(project, before)


def test_an_image_that_goes_once_it_is_hosted_is_shown_from_the_host(project: Project) -> None:
    before = tree(built_site(project.site))
    assert during(project, (project.site / "images" / "1.png").unlink).notices == ()
    assert_done(project, before)


def test_an_image_that_goes_before_it_is_sent_leaves_its_references_as_they_were(project: Project) -> None:
    """One payload is made ahead of the worker: the second image's, while the first one is sent."""
    before = tree(built_site(project.site))
    gone = project.site / "images" / "2.png"
    result = during(project, gone.unlink, count=1)
    assert [(failure.path, failure.remedy) for failure in result.report.failures] == [("images/2.png", "build again")]
    # The first one too, in the `srcset` that names both.
    assert local(project, before, "index.html") == {"images/0.png", "images/2.png"}
    assert [notice.code for notice in result.notices] == ["upload"]


def test_a_page_that_changes_meanwhile_is_left_alone_and_the_others_move(project: Project) -> None:
    before = tree(built_site(project.site))
    edited = before["index.html"].replace(b"small", b"large")
    result = during(project, lambda: write(project.site, {"index.html": edited}))
    assert (project.site / "index.html").read_bytes() == edited
    assert [notice.text for notice in result.notices] == [
        "index.html: its references stay as they were: it changed while the build ran; build again"
    ]
    assert local(project, before, "below/index.html") == set()
