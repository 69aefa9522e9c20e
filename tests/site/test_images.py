"""Where an image came from decides whether it may leave the machine."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pictures import saved
from PIL import Image

from imghost.files import stamp
from imghost.models import Image as ImageFile
from imghost.records.cache import Cache, KnownFile
from imghost.settings import read
from imghost.site.images import Judge, Origins, Stay, has_changed, identify, is_page, opened, opened_any
from imghost.site.page_map import Removed


class Place:
    """A project with its built site, and what lies beside it on the machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = root / "project"
        self.docs = self.project / "docs"
        self.site = self.project / "site"
        for folder in (self.docs, self.site, root / "home"):
            folder.mkdir(parents=True)
        (root / "home" / "secret.png").write_bytes(b"secret")
        (self.site / "a.png").write_bytes(b"a")

    def judge(self, source: Path, *more_roots: Path, packages: tuple[Path, ...] = ()) -> Stay | None:
        origins = Origins((self.project, *more_roots), {"a.png": source}, packages)
        return Judge(self.site, origins)("a.png")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def link(tmp_path: Path) -> None:
    try:
        (tmp_path / "try").symlink_to(tmp_path)
    except OSError:
        pytest.skip("this system does not let us make links")


def is_warned(stay: Stay | None) -> bool:
    return stay is not None and stay.code == "origin" and bool(stay.reason) and bool(stay.remedy)


def test_a_copy_of_a_file_in_the_project_may_leave(place: Place) -> None:
    (place.docs / "a.png").write_bytes(b"a")
    assert place.judge(place.docs / "a.png") is None


def test_a_copy_of_a_file_outside_the_project_stays_with_a_warning(place: Place) -> None:
    assert is_warned(place.judge(place.root / "home/secret.png"))


@pytest.mark.parametrize("way", ["../../home/secret.png", "../docs/../../home/secret.png"])
def test_a_way_up_out_of_the_project_stays(place: Place, way: str) -> None:
    assert is_warned(place.judge(place.docs / way))


@pytest.mark.usefixtures("link")
def test_a_link_to_a_file_outside_stays(place: Place) -> None:
    (place.docs / "a.png").symlink_to("../../home/secret.png")
    assert is_warned(place.judge(place.docs / "a.png"))


@pytest.mark.usefixtures("link")
def test_a_link_to_a_folder_outside_stays(place: Place) -> None:
    (place.docs / "img").symlink_to(place.root / "home")
    assert is_warned(place.judge(place.docs / "img/secret.png"))


@pytest.mark.usefixtures("link")
def test_a_chain_of_links_is_followed_to_its_end(place: Place) -> None:
    (place.docs / "c.png").symlink_to(place.root / "home/secret.png")
    (place.docs / "b.png").symlink_to("c.png")
    (place.docs / "more").symlink_to(".")
    (place.docs / "a.png").symlink_to("more/b.png")
    assert is_warned(place.judge(place.docs / "a.png"))


@pytest.mark.usefixtures("link")
def test_a_link_that_leads_in_a_circle_is_judged_without_an_error(place: Place) -> None:
    (place.docs / "a.png").symlink_to("b.png")
    (place.docs / "b.png").symlink_to("a.png")
    assert place.judge(place.docs / "a.png") in {None, place.judge(place.root / "home/secret.png")}


@pytest.mark.usefixtures("link")
def test_a_link_inside_the_project_may_leave(place: Place) -> None:
    (place.docs / "real").mkdir()
    (place.docs / "real/b.png").write_bytes(b"b")
    (place.docs / "a.png").symlink_to("real/b.png")
    (place.docs / "img").symlink_to("real")
    assert place.judge(place.docs / "a.png") is None
    assert place.judge(place.docs / "img/b.png") is None


@pytest.mark.usefixtures("link")
def test_a_project_that_is_reached_over_a_link_is_still_the_project(place: Place) -> None:
    (place.root / "short").symlink_to("project")
    (place.docs / "a.png").write_bytes(b"a")
    assert place.judge(place.root / "short/docs/a.png") is None
    origins = Origins((place.root / "short",), {"a.png": place.docs / "a.png"})
    assert Judge(place.site, origins)("a.png") is None


def test_a_folder_beside_the_project_with_a_longer_name_is_outside(place: Place) -> None:
    (place.root / "project-two").mkdir()
    assert is_warned(place.judge(place.root / "project-two/a.png"))


def test_a_named_folder_is_a_source_too(place: Place) -> None:
    assert place.judge(place.root / "home/secret.png", place.root / "home") is None


@pytest.mark.usefixtures("link")
def test_a_link_out_of_a_named_folder_stays(place: Place) -> None:
    (place.root / "shots").mkdir()
    (place.root / "shots/a.png").symlink_to(place.root / "home/secret.png")
    assert is_warned(place.judge(place.root / "shots/a.png", place.root / "shots"))


def test_files_of_an_installed_package_stay_without_a_warning(place: Place) -> None:
    for folder in ("site-packages", "dist-packages"):
        stay = place.judge(place.project / ".venv/lib" / folder / "theme/logo.png")
        assert stay is not None
        assert not stay.code


def test_files_of_the_theme_stay_without_a_warning(place: Place) -> None:
    theme = place.root / "checkout/theme"
    stay = place.judge(theme / "static/logo.png", place.root, packages=(theme,))
    assert stay is not None
    assert (stay.code, stay.is_wish) == ("", False)


@pytest.mark.usefixtures("link")
def test_a_theme_that_is_reached_over_a_link_is_still_the_theme(place: Place) -> None:
    theme = place.root / "checkout/theme"
    theme.mkdir(parents=True)
    (place.docs / "theme").symlink_to(theme)
    stay = place.judge(place.docs / "theme/logo.png", packages=(theme,))
    assert stay is not None
    assert not stay.code


def test_a_file_that_the_build_made_is_its_own_source(place: Place) -> None:
    assert Judge(place.site, Origins((place.project,)))("a.png") is None


@pytest.mark.usefixtures("link")
def test_a_link_that_the_build_made_out_of_the_site_stays(place: Place) -> None:
    (place.site / "b.png").symlink_to(place.root / "home/secret.png")
    (place.site / "more").symlink_to(place.root / "home")
    origins = Origins((place.project,))
    assert is_warned(Judge(place.site, origins)("b.png"))
    assert is_warned(Judge(place.site, origins)("more/secret.png"))


@pytest.mark.usefixtures("link")
def test_on_the_command_line_the_site_is_the_source_and_links_out_of_it_stay(place: Place) -> None:
    own = Origins(is_own_source=True)
    (place.site / "b.png").symlink_to("../../home/secret.png")
    (place.site / "c.png").symlink_to("a.png")
    (place.site / "d.png").symlink_to("../docs/x.png")
    (place.docs / "x.png").write_bytes(b"x")
    assert Judge(place.site, own)("a.png") is None
    assert Judge(place.site, own)("c.png") is None
    assert is_warned(Judge(place.site, own)("b.png"))
    assert is_warned(Judge(place.site, own)("d.png"))


@pytest.mark.usefixtures("link")
def test_a_site_that_is_a_link_itself_is_the_site(place: Place) -> None:
    (place.root / "public").symlink_to(place.site)
    assert Judge(place.root / "public", Origins(is_own_source=True))("a.png") is None


@pytest.mark.usefixtures("link")
def test_a_new_run_looks_at_links_again(place: Place) -> None:
    (place.docs / "img").symlink_to(place.root / "home")
    assert is_warned(place.judge(place.docs / "img/a.png"))
    (place.docs / "img").unlink()
    (place.docs / "img").mkdir()
    assert place.judge(place.docs / "img/a.png") is None


def test_the_names_of_unusual_folders_are_compared_as_they_are(place: Place) -> None:
    for name in ("a b", "é", "100%", "[x]", "-"):
        (place.docs / name).mkdir()
        (place.docs / name / "x.png").write_bytes(b"x")
        assert place.judge(place.docs / name / "x.png") is None


OLD = 1_700_000_000
"""A time of files that have rested for long, so that what is learned of them may be kept."""


def a_file(path: Path, shade: int = 100) -> bytes:
    """Make an image that has rested, as long as one of any other shade."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = saved("gif", Image.new("L", (4, 4), shade))
    path.write_bytes(content)
    os.utime(path, (OLD, OLD))
    return content


class Run:
    """What one run after another learns of a site's images."""

    def __init__(self, place: Place, **origins: Any) -> None:
        self.place = place
        self.origins = Origins((place.project,), **origins)

    def __call__(
        self, *paths: str, removed: dict[str, Removed] | None = None, **raw: Any
    ) -> tuple[dict[str, ImageFile], dict[str, Stay]]:
        settings = read(raw, self.place.project)
        with Cache.load(self.place.root / "cache") as cache:
            told = identify(paths, self.place.site, settings, self.origins, removed or {}, cache)
            cache.save()
            return told

    def facts(self, path: Path) -> KnownFile | None:
        """Tell what the next run knows of a file before it reads any."""
        now = stamp(path)
        assert now is not None
        return Cache.load(self.place.root / "cache").facts(str(path), now)


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_an_image_is_known_by_its_bytes_and_is_read_once(place: Place) -> None:
    content, run = a_file(place.site / "a.gif"), Run(place)
    images, stays = run("a.gif")
    assert (images["a.gif"].sha256, images["a.gif"].bytes, stays) == (digest_of(content), len(content), {})
    assert run.facts(place.site / "a.gif") == (digest_of(content), images["a.gif"].facts)
    assert run("a.gif") == (images, {})


def test_what_is_no_image_is_known_too_and_stays_with_its_reason(place: Place) -> None:
    (place.site / "b.png").write_bytes(b"<!doctype html><title>b.png</title>")
    run = Run(place)
    first, second = run("b.png")[1], run("b.png")[1]
    assert first == second
    assert (is_page(first["b.png"]), first["b.png"].is_wish) == (True, False)


@pytest.mark.parametrize("stands", [True, False])
@pytest.mark.parametrize("is_as_long", [True, False])
def test_a_source_stands_for_its_copy_only_where_nothing_can_have_rewritten_that(
    place: Place, *, stands: bool, is_as_long: bool
) -> None:
    """A generator copies all images anew; a page must still not show other bytes than its build made."""
    source = a_file(place.docs / "a.gif")
    a_file(place.site / "a.gif")
    run = Run(place, sources={"a.gif": place.docs / "a.gif"}, stands_for_copy=stands)
    assert run("a.gif")[0]["a.gif"].sha256 == digest_of(source)
    copy = a_file(place.site / "a.gif", shade=107)
    if not is_as_long:
        copy += b"\0"
        (place.site / "a.gif").write_bytes(copy)
    assert run("a.gif")[0]["a.gif"].sha256 == digest_of(source if stands and is_as_long else copy)


def test_an_image_whose_local_copy_was_removed_is_its_source(place: Place) -> None:
    source = a_file(place.docs / "a.gif")
    run = Run(place, sources={"a.gif": place.docs / "a.gif", "b.gif": place.docs / "b.gif"})
    images, stays = run("a.gif", "b.gif")
    assert (images["a.gif"].sha256, stays["b.gif"].code) == (digest_of(source), "page")
    with opened("a.gif", place.site, run.origins) as file:
        assert file.read() == source
    with opened_any(["b.gif", "a.gif"], place.site, run.origins) as file:
        assert file.read() == source
    assert not has_changed(images["a.gif"], place.site, run.origins)


def test_an_image_without_a_source_whose_local_copy_was_removed_is_what_it_was(place: Place) -> None:
    a_file(place.site / "a.gif")
    run = Run(place)
    images, _ = run("a.gif")
    (place.site / "a.gif").unlink()
    assert run("a.gif", removed={"a.gif": Removed(images["a.gif"])}) == (images, {})
    assert (run("a.gif")[0], run("a.gif")[1]["a.gif"].code) == ({}, "page")


@pytest.mark.parametrize(
    ("globs", "left"),
    [
        ({}, ["a/b.gif", "c.gif"]),
        ({"include": ["a/"]}, ["a/b.gif"]),
        ({"exclude": ["a/"]}, ["c.gif"]),
        ({"include": ["*.gif"], "exclude": ["c.*"]}, ["a/b.gif"]),
    ],
)
def test_an_image_that_the_globs_leave_out_is_not_even_read(
    place: Place, globs: dict[str, list[str]], left: list[str]
) -> None:
    for path in ("a/b.gif", "c.gif"):
        a_file(place.site / path)
    run = Run(place)
    images, stays = run("a/b.gif", "c.gif", **globs)
    assert list(images) == left
    assert all(stay.is_wish and not stay.code for stay in stays.values())
    assert all(run.facts(place.site / path) is None for path in stays)


def test_an_image_has_changed_only_if_its_bytes_have(place: Place) -> None:
    """A page that was scanned before must not get the URL of other bytes."""
    a_file(place.site / "a.gif")
    run = Run(place)
    image = run("a.gif")[0]["a.gif"]
    assert not has_changed(image, place.site, run.origins)
    os.utime(place.site / "a.gif", (OLD + 9, OLD + 9))
    assert not has_changed(image, place.site, run.origins)
    assert not has_changed(replace(image, seen=None), place.site, run.origins)
    a_file(place.site / "a.gif", shade=107)
    assert has_changed(image, place.site, run.origins)
    (place.site / "a.gif").unlink()
    assert not has_changed(image, place.site, run.origins)
