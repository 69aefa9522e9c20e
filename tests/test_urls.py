"""What a reference means, and how a reference to a file is written."""

from __future__ import annotations

import unicodedata
from urllib.parse import urljoin

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imghost.urls import Place, SiteTarget, base_of, place, quoted, resolve, resolve_in_root, written

BARE = place(None)
SITE = place("https://docs.example.org/en/latest/")


def found(url: str, *files: str, page: str = "index.html", site: Place = SITE, base: str | None = None) -> str | None:
    """Resolve as a page does; gives the file's path."""
    start = base_of(page, base, site)
    target = None if start is None else resolve(url, start, site, frozenset(files))
    return target.path if target else None


@pytest.mark.parametrize(
    ("page", "url", "path"),
    [
        ("index.html", "img/a.png", "img/a.png"),
        ("index.html", "./img/./a.png", "img/a.png"),
        ("guide/index.html", "../img/a.png", "img/a.png"),
        ("guide/deep/x.html", "../../img/a.png", "img/a.png"),
        ("guide/deep/x.html", "a.png", "guide/deep/a.png"),
        ("guide/x.html", "%2e%2E/img/a.png", "img/a.png"),
        ("guide/x.html", ".%2e/img/a.png", "img/a.png"),
        ("guide/x.html", "%2E/a.png", "guide/a.png"),
    ],
)
def test_a_relative_url_starts_from_its_page(page: str, url: str, path: str) -> None:
    for site in (BARE, SITE):
        assert found(url, path, page=page, site=site) == path


def test_parent_folders_end_at_the_root_as_in_browsers() -> None:
    assert found("../../../../img/a.png", "img/a.png", page="x/y.html", site=BARE) == "img/a.png"
    assert found("../../../../en/latest/img/a.png", "img/a.png", page="x/y.html") == "img/a.png"
    assert found("../../../../etc/passwd", "etc/passwd", "passwd", page="x/y.html") is None


@pytest.mark.parametrize(
    "url",
    [
        *("../../../../etc/passwd", "/etc/passwd", "/etc/hostname", "..%2fetc/passwd", "..%2Fetc%2Fpasswd"),
        *("..\\etc\\passwd", "..%5cetc%5cpasswd", "%252e%252e/etc/passwd", "img/..%252fa.png", "img%2fa.png"),
        *("a.png%00", "%00a.png", "img/%00", "a\0.png", "img//a.png", "img/", "/", ".", "..", "", "#", "?", "#a.png"),
        *("?a.png", "%ff.png", "%C3.png", "%2e%2e%2fa.png", "....//a.png", "img/.../a.png", "~/a.png", "$HOME/a.png"),
        *("file:///etc/passwd", "file:a.png", "\\\\host\\share\\a.png", "C:\\a.png", "C:/a.png", "c:a.png"),
        *("data:image/png;base64,AA", "blob:https://docs.example.org/1", "javascript:a.png", "about:blank"),
        *("mailto:a.png", "ftp://docs.example.org/en/latest/a.png", "http://docs.example.org/en/latest/a.png"),
        *("//elsewhere.example/en/latest/a.png", "///docs.example.org/en/latest/a.png", "https:a.png", "https:/a.png"),
        *("https://docs.example.org.evil.example/en/latest/a.png", "https://docs.example.org@evil.example/a.png"),
        *("https://user@docs.example.org/en/latest/a.png", "https://docs.example.org:444/en/latest/a.png"),
        *("https://docs.example.org/fr/latest/a.png", "https://docs.example.org/en/latestx/a.png", "https://"),
        *("https://docs.example.org", "https://docs.example.org/en/latest", "/en/latest", "/en/latest/", "/a.png"),
    ],
)
def test_what_is_no_file_of_the_site_belongs_to_somebody_else(url: str) -> None:
    files = ("a.png", "img/a.png", "passwd.png", "...", "en", "latest")
    assert found(url, *files) is None


def test_a_name_is_decoded_once() -> None:
    assert found("a%2520b.png", "a%20b.png", "a b.png") == "a%20b.png"
    assert found("a%20b.png", "a%20b.png", "a b.png") == "a b.png"
    assert found("a b.png", "a%20b.png", "a b.png") == "a b.png"
    assert found("100%.png", "100%.png") == "100%.png"
    assert found("%252e%252e/a.png", "%2e%2e/a.png", "a.png") == "%2e%2e/a.png"


def test_a_page_in_a_folder_with_a_percent_sign_refers_from_that_folder() -> None:
    assert found("a.png", "100%25/a.png", "100%/a.png", page="100%25/x.html") == "100%25/a.png"
    assert found("a.png", "what?/a.png", page="what?/x#y.html") == "what?/a.png"


def test_letters_are_neither_folded_nor_normalised() -> None:
    composed, apart = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    assert found(composed, apart) is None
    assert found(apart, composed) is None
    assert found(quoted(apart), composed, apart) == apart
    assert found(composed, composed, apart) == composed
    assert found("A.png", "a.png") is None


@pytest.mark.parametrize("url", ["a.png?v=1", "a.png#only-dark", "a.png?v=1#x", "a.png#x?y", "a.png?", "a.png#../b"])
def test_query_and_fragment_do_not_decide_which_file_it_is(url: str) -> None:
    assert found(url, "a.png") == "a.png"


@pytest.mark.parametrize("url", [" a.png", "a.png\n", "\t\x0ca.png ", "a.\npng", "a\t.p\rng"])
def test_white_space_that_browsers_take_out_does_not_count(url: str) -> None:
    assert found(url, "a.png") == "a.png"


def test_a_no_break_space_is_a_letter_of_the_name() -> None:
    assert found("\u00a0a.png", "a.png") is None
    assert found("\u00a0a.png", "\u00a0a.png") == "\u00a0a.png"


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("/en/latest/img/a.png", "root"),
        ("/en/../en/latest/img/a.png", "root"),
        ("//docs.example.org/en/latest/img/a.png", "network"),
        ("https://docs.example.org/en/latest/img/a.png", "absolute"),
        ("HTTPS://DOCS.example.ORG/en/latest/img/a.png", "absolute"),
        ("https://docs.example.org:443/en/latest/img/a.png", "absolute"),
        ("img/a.png", "relative"),
    ],
)
def test_a_url_of_the_site_is_known_in_every_form(url: str, form: str) -> None:
    base = base_of("index.html", None, SITE)
    assert base is not None
    assert resolve(url, base, SITE, {"img/a.png"}) == SiteTarget("img/a.png", form)


def test_without_a_site_url_only_paths_are_known() -> None:
    assert found("/img/a.png", "img/a.png", page="x/y.html", site=BARE) == "img/a.png"
    assert found("https://docs.example.org/img/a.png", "img/a.png", site=BARE) is None
    assert found("//docs.example.org/img/a.png", "img/a.png", site=BARE) is None


@pytest.mark.parametrize(
    ("site_url", "url"),
    [
        ("http://localhost:8000/", "http://localhost:8000/a.png"),
        ("http://localhost:80/", "http://localhost/a.png"),
        ("http://localhost/", "http://localhost:80/a.png"),
        ("https://Docs.Example.Org", "https://docs.example.org/a.png"),
        ("https://docs.example.org?x#y", "/a.png"),
        ("http://[::1]:8000/", "http://[::1]:8000/a.png"),
        ("https://user:word@docs.example.org/", "https://docs.example.org/a.png"),
        ("/docs/", "/docs/a.png"),
        ("https://docs.example.org/@me/a+b/", "/@me/a+b/a.png"),
        ("https://docs.example.org/@me/a+b/", "/%40me/a%2Bb/a.png"),
        ("https://docs.example.org/a%20b/", "/a b/a.png"),
        ("https://docs.example.org/a b/", "/a%20b/a.png"),
        ("https://docs.example.org/été/", "/%C3%A9t%C3%A9/a.png"),
    ],
)
def test_a_site_url_is_read_as_browsers_read_it(site_url: str, url: str) -> None:
    assert found(url, "a.png", site=place(site_url)) == "a.png"


@pytest.mark.parametrize("site_url", ["https://[", "https://x:y/", "https://x:99999/", "mailto:a", "//", "ftp://x/y/"])
def test_a_site_url_that_cannot_be_read_tells_nothing(site_url: str) -> None:
    assert place(site_url) == Place()


@pytest.mark.parametrize(
    ("base", "url", "path"),
    [
        ("../", "img/a.png", "img/a.png"),
        ("..", "img/a.png", "img/a.png"),
        ("/en/latest/", "img/a.png", "img/a.png"),
        ("/en/latest/guide", "img/a.png", "img/a.png"),
        ("https://docs.example.org/en/latest/", "img/a.png", "img/a.png"),
        ("//docs.example.org/en/latest/x/", "../img/a.png", "img/a.png"),
        ("/", "en/latest/img/a.png", "img/a.png"),
        ("", "../img/a.png", "img/a.png"),
        ("  ", "../img/a.png", "img/a.png"),
        ("#top", "../img/a.png", "img/a.png"),
        ("?x", "../img/a.png", "img/a.png"),
        ("https://elsewhere.example/", "/en/latest/img/a.png", None),
        ("https://elsewhere.example/", "https://docs.example.org/en/latest/img/a.png", None),
        ("data:text/html,x", "img/a.png", None),
    ],
)
def test_relative_urls_start_from_the_base_element(base: str, url: str, path: str | None) -> None:
    assert found(url, "img/a.png", page="guide/index.html", base=base) == path


def test_metadata_also_tries_the_root_of_the_site() -> None:
    assert resolve_in_root("img/a.png", SITE, {"img/a.png"}) == SiteTarget("img/a.png", "site")
    assert resolve_in_root("/en/latest/img/a.png", SITE, {"img/a.png"}) == SiteTarget("img/a.png", "root")
    assert resolve_in_root("../img/a.png", SITE, {"img/a.png"}) is None


NAME = st.text(st.characters(exclude_characters="/\\\0", exclude_categories=("Cs",)), min_size=1, max_size=8).filter(
    lambda name: name not in {".", ".."}
)
FOLDERS = st.lists(NAME | st.sampled_from(["a", "100%", "a b", "%2e", "x:y", "é"]), max_size=3)
SITES = st.sampled_from(
    [place(url) for url in (None, "/d/", "https://x.example", "https://x.example/a b/@c/%41/", "http://[::1]:81/a//b/")]
)


@example(["100%25"], "x.html", ["100%25"], "a%20b.png", SITE)
@example([], "x.html", [], "a:b.png", BARE)
@example(["a"], "x.html", ["a"], "?", place("http://[::1]:81/a//b/"))
@given(FOLDERS, NAME, FOLDERS, NAME, SITES)
def test_what_is_written_means_the_same_file_again(
    folders: list[str], page: str, image_folders: list[str], image: str, site: Place
) -> None:
    path = "/".join([*image_folders, image])
    base = base_of("/".join([*folders, page]), None, site)
    assert base is not None
    for form in ("relative", "root", *(("absolute", "network") if site.authority else ())):
        url = written(path, form, base, site)
        assert resolve(url, base, site, {path}) == SiteTarget(path, form)
    assert resolve_in_root(written(path, "site", base, site), site, {path}) == SiteTarget(path, "site")


@given(FOLDERS, NAME, FOLDERS, NAME, st.sampled_from(["/", "/x/", "../", "../../y/z/", "//h.example/q/", "a//b/c"]))
def test_what_is_written_under_a_base_element_means_the_same_file_again(
    folders: list[str], page: str, image_folders: list[str], image: str, href: str
) -> None:
    site = place("https://h.example/docs/")
    path = "/".join([*image_folders, image])
    base = base_of("/".join([*folders, page]), href, site)
    assert base is not None
    assert resolve(written(path, "relative", base, site), base, site, {path}) == SiteTarget(path, "relative")


def test_a_path_that_begins_with_an_empty_name_is_not_written_as_an_absolute_one() -> None:
    site = place("https://x.example/a//b/")
    base = base_of("x.html", "/a/y.html", site)
    assert base == "/a/y.html"
    assert written("c.png", "relative", base, site) == ".//b/c.png"
    assert resolve(".//b/c.png", base, site, {"c.png"}) == SiteTarget("c.png", "relative")


PLAIN = st.lists(st.sampled_from(["a", "b", "..", ".", "%2e", "..."]), min_size=1, max_size=6).map("/".join)


@given(PLAIN, PLAIN.map(lambda page: f"p/{page}x.html"))
def test_dots_are_followed_as_the_standard_library_does(url: str, page: str) -> None:
    page = page.replace(".", "d").replace("%", "d")
    files = {"/".join(parts) for parts in _paths(4)}
    expected = urljoin(f"http://x.example/{page}", url.replace("%2e", "."))
    path = expected.removeprefix("http://x.example").removeprefix("/")
    got = found(url, *files, page=page, site=BARE)
    assert got == (path if path in files else None)


def _paths(depth: int) -> list[list[str]]:
    shorter = _paths(depth - 1) if depth > 1 else [[]]
    return [[*path, name] for path in [[], *shorter] for name in ("a", "b", "...", "p")]


@given(st.text(max_size=40), st.text(max_size=10), SITES)
def test_any_text_is_resolved_without_an_error(url: str, base: str, site: Place) -> None:
    start = base_of("guide/x.html", base, site)
    assert start is None or resolve(url, start, site, frozenset()) is None


@pytest.mark.parametrize("url", ["a/" * 200_000 + "../" * 200_000 + "a.png", "%2e%2e/" * 200_000 + "a.png"])
def test_a_very_long_url_takes_no_more_than_its_length(url: str) -> None:
    assert found(url, "a.png", site=BARE) == "a.png"


def test_a_page_whose_name_is_no_text_is_resolved_all_the_same() -> None:
    page = b"caf\xe9/x.html".decode("utf-8", "surrogateescape")
    assert found("../a.png", "a.png", page=page) == "a.png"
    assert found("caf\udce9/a.png", "a.png") is None
    assert found("\ud800.png", "a.png") is None
