"""Where an image came from decides whether it may leave the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from imghost.site.images import Judge, Origins, Stay


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
    assert not stay.code


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
