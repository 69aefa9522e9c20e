"""What a URL means from a page's folder: those that lead up are found by what they lead to."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from imghost import urls
from imghost.site.pages import meaning

PIECES = (
    "../",
    "..",
    "./",
    "/",
    "//",
    "a",
    "b/",
    "images/",
    "x.png",
    "%2e%2e/",
    "%2E/",
    "\\",
    ":",
    "http:",
    "#",
    "?",
    "\t",
    " ",
    "é",
)
FOLDERS = ("/", "/a/", "/a/b/", "/docs/", "/docs/a/b/c/", "/a//b/", "//", "/%252e/a/")
SITES = (None, "https://example.com/", "https://example.com/docs/", "/docs/")


class Every:
    """A site that has every file."""

    def __contains__(self, path: object) -> bool:
        return True


@given(
    some.lists(some.sampled_from(PIECES), max_size=8).map("".join),
    some.sampled_from(FOLDERS),
    some.sampled_from(SITES),
    some.booleans(),
)
@example("../../../../x.png", "/a/", None, False)
@example("..//a/x.png", "/a/b/", None, False)
@example("../http://example.com/x.png", "/a/b/", "https://example.com/", False)
@example("../images/x.png", "/docs/a/", "https://example.com/docs/", True)
@example("../../x.png", "/docs/a/", "https://example.com/docs/", False)
@example("../", "/a/", None, False)
@example("../a:x.png", "/a/b/", None, False)
@example("../images/x.png", "/docs/", "https://example.com/docs/", True)
@example("../\\x.png", "/a/b/", None, False)
def test_a_url_means_what_it_means_by_the_standard(url: str, folder: str, address: str | None, is_meta: bool) -> None:
    site = urls.place(address)
    wanted = urls.resolve(url, folder, site, Every())
    if wanted is None and is_meta:
        wanted = urls.resolve_in_root(url, site, Every())
    means = meaning(site, Every(), lambda _: False, lambda _: False)
    assert means(url, folder, is_meta) == wanted


@pytest.mark.parametrize("depth", [1, 3])
def test_pages_of_many_folders_share_what_they_show(depth: int) -> None:
    """A site of a hundred thousand pages holds each image once."""
    means = meaning(urls.Place(), Every(), lambda _: False, lambda _: False)
    folders = ["/" + "".join(f"f{number}-{at}/" for at in range(depth)) for number in range(3)]
    first, *others = (means(f"{'../' * depth}images/x.png", folder, False) for folder in folders)
    assert first == ("images/x.png", "relative")
    assert all(other is first for other in others)
