"""Local copies that nothing names any more."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sites import write

from imghost.run.local_copies import remove, unnamed
from imghost.site.names import mentions
from imghost.site.survey import survey

NAMES = st.text(
    st.characters(exclude_characters="/\\\0", exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=12
)


def site_with(root: Path, text: str, name: str = "index.html") -> Path:
    (root / "img").mkdir(exist_ok=True)
    (root / name).write_bytes(text.encode("utf-8"))
    return root


@pytest.mark.parametrize(
    "text",
    [
        '<img src="img/a.png">',
        "<img src=a.png>",
        "see the file a.png.",
        '{"text": "first line\\na.png"}',
        '{"image": "img\\/a.png"}',
        "load(`${base}a.png`)",
        "/_image?url=%2Fimg%2Fa.png&w=640",
        "url(a.png)",
        "a.png",
        "a.png?v=2#light",
        "img/a.png 2x, img/b.png",
        "'\\u002fa.png'",
        "'\\x2fa.png'",
        "?from=%252Fimg%252Fa.png",
        "a.png-large",
    ],
)
def test_a_name_keeps_its_file_whatever_stands_around_it(tmp_path: Path, text: str) -> None:
    site = site_with(tmp_path, text)
    assert unnamed(survey(site), ["img/a.png"]) == ()


@pytest.mark.parametrize(
    "name",
    [
        *("app.js", "app.mjs", "site.css", "images.json", "feed.xml", "feed.rss", "feed.atom", "llms.txt"),
        *("icon.svg", "site.webmanifest", "app.map", "page.md", "_redirects", "_headers", "old.htm", "data.yml"),
    ],
)
def test_every_kind_of_text_can_keep_a_file(tmp_path: Path, name: str) -> None:
    site = site_with(tmp_path, "img/a.png", name)
    assert unnamed(survey(site), ["img/a.png"]) == ()


def test_a_file_that_no_text_names_is_found(tmp_path: Path) -> None:
    site = site_with(tmp_path, "<p data-see='b.png and a-png, ba.pn, a.jpg, /8f1ca.png, data-a.png, logo_a.png'>")
    assert unnamed(survey(site), ["img/c.png", "img/a.png", "img/b.png"]) == ("img/a.png", "img/c.png")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_sources/page.rst.txt", ".. image:: images/shot.png"),
        ("de/_sources/deep/page.md.txt", "![](images/shot.png)"),
        ("index.html", '<img alt="_images/shot.png" src="https://cdn.example/x.png">'),
        ("index.html", '<img\n class="align-center" hidden alt="shot.png" src="https://cdn.example/x.png"/>'),
    ],
)
def test_what_no_browser_loads_a_picture_by_keeps_none(tmp_path: Path, name: str, text: str) -> None:
    """Sphinx shows a page's source as plain text, and puts the path of a picture without a text into its `alt`."""
    site = write(tmp_path, {"images/shot.png": b"x", name: text})
    assert unnamed(survey(site), ["images/shot.png"]) == ("images/shot.png",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_sources/page.html", '<img src="images/shot.png">'),
        ("sources/page.txt", "images/shot.png"),
        ("index.html", '<img alt="a" src="images/shot.png">'),
        ("index.html", '<img alt="shot" data-full="shot.png">'),
        ("index.html", '<img data-full="shot.png" alt="shot">'),
        ("index.html", "<script>var mark='<img ';var alt=\"shot.png\"</script>"),
        ("index.html", '<script>var alt="shot.png"</script>'),
        ("index.html", '<a alt="shot.png">'),
        ("app.js", '<img alt="shot.png"'),
    ],
)
def test_what_may_load_a_picture_keeps_it(tmp_path: Path, name: str, text: str) -> None:
    site = write(tmp_path, {"images/shot.png": b"x", name: text})
    assert unnamed(survey(site), ["images/shot.png"]) == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("index.html", "<p>See the file shot.png.</p>"),
        ("index.html", "<img alt=shot.png src=https://cdn.example/x.png>"),
        ("index.html", "<img src=https://cdn.example/x.png alt='images/shot.png'>"),
        ("search/search_index.json", '{"docs": [{"text": "see images/shot.png"}]}'),
        ("de/searchindex.js", 'Search.setIndex({"terms": {"shot.png": 1}})'),
        ("_static/doctools.js", "el.src = `${el.src}shot.png`"),
    ],
)
def test_prose_and_what_searches_go_through_keep_no_file(tmp_path: Path, name: str, text: str) -> None:
    site = write(tmp_path, {"images/shot.png": b"x", name: text})
    assert unnamed(survey(site), ["images/shot.png"]) == ("images/shot.png",)


@pytest.mark.parametrize(
    "drawing",
    [
        '<svg xmlns="http://www.w3.org/2000/svg" sodipodi:docname="shot.svg"/>',
        '<svg inkscape:export-filename="/home/me/other.svg"/>',
        "<svg><!-- shot.svg, made by hand --></svg>",
    ],
)
def test_a_drawing_keeps_itself_not(tmp_path: Path, drawing: str) -> None:
    site = write(tmp_path, {"shot.svg": drawing, "other.svg": "<svg/>"})
    assert unnamed(survey(site), ["shot.svg", "other.svg"]) == ("other.svg", "shot.svg")


def test_what_stands_behind_a_link_to_a_folder_keeps_files(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"page.html": '<img src="../img/a.png">'})
    site = write(tmp_path / "site", {"index.html": "<p>nothing</p>"})
    (site / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert unnamed(survey(site), ["img/a.png"]) == ()


@pytest.mark.parametrize(
    "links",
    [
        {"site/latest": "../v2"},
        {"site/latest": "stable", "site/stable": "../v2"},
        {"site/all": "..", "v2/deeper": "."},
        {"site/page.html": "../v2/deep/page.html"},
        {"site/deep/er": "../../v2"},
    ],
)
def test_a_page_behind_any_link_keeps_what_it_names(tmp_path: Path, links: dict[str, str]) -> None:
    """Links to links, to a folder above, round in a circle, to a single page, in a folder of the site."""
    write(tmp_path, {"v2/deep/page.html": '<img src="../../img/a.png">', "site/index.html": "<p>", "site/deep/x": ""})
    for place, target in links.items():
        (tmp_path / place).symlink_to(target)
    assert unnamed(survey(tmp_path / "site"), ["img/a.png", "img/b.png"]) == ("img/b.png",)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.html.br", b"\x1b\x00"),
        ("gone.html.zst", b"\x28\xb5\x2f\xfd\x04"),
        ("page.html.gz", b"\x1f\x8b\x08broken"),
        ("page.html", f"<pre>{'Zm9+b/Q9' * 20}</pre><script>decrypt(password)</script>".encode()),
    ],
)
def test_a_text_that_cannot_be_read_keeps_every_file_and_says_so(tmp_path: Path, name: str, content: bytes) -> None:
    site = write(tmp_path, {"img/a.png": b"x", name: content})
    who = mentions(survey(site), ["img/a.png"])
    assert [doubt.partition(" ")[0] for doubt in who.doubts] == [name]
    assert unnamed(survey(site), ["img/a.png"]) == ()


def test_a_packed_twin_of_a_page_keeps_what_the_page_showed(tmp_path: Path) -> None:
    site = write(tmp_path, {"page.html": '<img src="https://cdn.example/x.png">', "page.html.br": b"\x1b\x00"})
    who = mentions(survey(site), ["img/a.png", "img/b.png"], {"page.html": {"img/a.png"}})
    assert (dict(who.named), who.doubts) == ({"img/a.png": "page.html.br"}, ())


def test_another_image_names_no_file(tmp_path: Path) -> None:
    site = site_with(tmp_path, "a.png", "img/other.png")
    assert unnamed(survey(site), ["img/a.png"]) == ("img/a.png",)


def test_images_are_all_kept_where_a_text_cannot_be_read(tmp_path: Path) -> None:
    found = survey(site_with(tmp_path, "nothing"))
    (tmp_path / "index.html").unlink()
    assert unnamed(found, ["img/a.png"]) == ()


def escaped(name: str, form: str) -> str:
    """Write what is not plain in a name as a language would."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else form.format(ord(c)) for c in name)


SPELLINGS = {
    "plain": lambda name: name,
    "percent": quote,
    "lower percent": lambda name: re.sub(r"%..", lambda found: found[0].lower(), quote(name)),
    "json": json.dumps,
    "entities": lambda name: escaped(name, "&#{};"),
    "hex entities": lambda name: escaped(name, "&#x{:x};"),
    "script": lambda name: escaped(name, "\\u{{{:x}}}"),
}


@settings(deadline=None)
@example("café.png")
@example("é.png")
@example("日本")
@example("a b&c.png")
@example("x@2x.png")
@given(NAMES)
def test_no_spelling_of_a_name_is_missed(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "spelled"
    folder.mkdir(exist_ok=True)
    for spell in SPELLINGS.values():
        (folder / "index.html").write_text(f'"x/{spell(name)}"', "utf-8")
        assert unnamed(survey(folder), [f"img/{name}"]) == ()


def test_removing_counts_what_it_deleted_and_lets_the_rest_be(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"12345")
    (tmp_path / "folder").mkdir()
    assert remove(tmp_path, ["a.png", "gone.png", "folder"]) == (1, 5)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
