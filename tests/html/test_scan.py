"""What counts as a reference, how it is written, what moves together and what stays."""

from __future__ import annotations

import pytest

from imghost.html.scan import scan, scan_css
from imghost.models import ENDINGS, KINDS, Reference

ALL = frozenset(KINDS)


def read(page: str, kinds: frozenset[str] = ALL) -> tuple[Reference, ...]:
    return scan(page, kinds).references


def urls(page: str) -> list[str]:
    return [f"{reference.kind}:{reference.url}" for reference in read(page)]


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<img src=a.png>", ["img:a.png"]),
        ("<IMG\nSRC = 'a.png'\n>", ["img:a.png"]),
        ("<img src=a.png srcset='b.png 1x, c.png 2x'>", ["img:a.png", "img:b.png", "img:c.png"]),
        ("<img data-src=a.png data-srcset='b.png 2x'>", ["img:a.png", "img:b.png"]),
        ("<image src=a.png>", ["img:a.png"]),
        ("<img src='\n a.p\nng\t'>", ["img:a.png"]),
        ("<img src=data:image/png;base64,AA==><img src=' '><img src><img src=''>", []),
        ("<img src=http://e.org/a.png><img src=//e.org/b.png>", ["img:http://e.org/a.png", "img://e.org/b.png"]),
        ("<picture><source srcset=a.webp><source src=b.webp><img src=c.png></picture>", "abc"),
        ("<source srcset=a.webp><video><source src=a.mp4></video><audio><source src=a.ogg></audio>", []),
        ("<picture><video><source src=no.mp4></video><source srcset=a.webp></picture>", ["img:a.webp"]),
        ("<input type=image src=a.png><input src=b.png><input type=text src=c.png>", ["img:a.png"]),
        ("<a href=A.PNG?x=.b#c>x</a><a href=b.html?c.png>x</a><a href=d.svg#e.html>x</a>", 2),
        ("<a href=a.png download>x</a><a href=b.png DOWNLOAD=x>y</a>", []),
        ("<area href=a.jpeg>", ["link:a.jpeg"]),
        ('<a title="a>b" href="c.png">x</a>', ["link:c.png"]),
        ("<a href='a&#46;png'>x</a><a href='a&period;png'>x</a><a href='a.p\nng'>x</a>", ["link:a.png"] * 3),
        ("<video poster=a.jpg></video>", ["poster:a.jpg"]),
        ('<meta property="og:image" content="a.png"><meta name=og:title content=b.png>', ["meta:a.png"]),
        ('<meta name="twitter:image:src" content="/a.png">', ["meta:/a.png"]),
        ("<link rel=preload as=image href=a.png imagesrcset='b.png 2x'>", ["preload:a.png", "preload:b.png"]),
        ("<link rel=prefetch as=image href=a.png>", ["preload:a.png"]),
        ("<link rel=preload as=script href=a.js><link rel=stylesheet href=a.css>", []),
        ('<link rel="shortcut icon" href=a.ico><link rel=apple-touch-icon href=b.png>', ["icon:a.ico", "icon:b.png"]),
        ("<p style=\"background: url('a.png')\">", ["style:a.png"]),
        ("<p style='background:url(&quot;a.png&quot;)'>", ["style:a.png"]),
        ("<style>a{background:url(a.png)}</style>", ["style:a.png"]),
        ("<style>@font-face{src:url(a.svg)}@import url(b.png);c{fill:url(#d)}</style>", []),
        ("<svg><image href=a.png /><image xlink:href=b.png></svg>", ["svg:a.png", "svg:b.png"]),
        ("<svg><filter><feImage href=a.png /></filter></svg>", ["svg:a.png"]),
        ("<object data=a.svg></object><embed src=b.png><object data=c.pdf></object>", ["object:a.svg", "object:b.png"]),
        ("<iframe srcdoc=\"<img src='no.png'>\"></iframe>", []),
        ('<a class=glightbox data-description="<img src=no.png>" href=a.png>x</a>', ["link:a.png"]),
        ("<img alt='>' src=a.png>", ["img:a.png"]),
        ("<p title=it's><img src=a.png>", ["img:a.png"]),
        ("<img src=a.png src=b.png>", ["img:a.png"]),
        ("<img src='?a=1&copy=2'>", ["img:?a=1&copy=2"]),
        ("<img src='a.png?a=1&amp;b&#x3D;2'>", ["img:a.png?a=1&b=2"]),
        ("<noscript><img src=a.png></noscript><template><img src=b.png></template>", ["img:a.png", "img:b.png"]),
        ("<!-- <img src=no.png> --><img src=a.png>", ["img:a.png"]),
        ("<!--><img src=a.png>", ["img:a.png"]),
        ("<!---><img src=a.png>", ["img:a.png"]),
        ("<!--!><img src=no.png>--><img src=a.png>", ["img:a.png"]),
        ("<!-- a --!><img src=a.png>", ["img:a.png"]),
        ("<!-- -- > <img src=no.png>", []),
        ("<! <img src=no.png><img src=a.png>", ["img:a.png"]),
        ("<? <b><img src=a.png>", ["img:a.png"]),
        ("</ <img src=no.png><img src=a.png>", ["img:a.png"]),
        ("<![CDATA[<img src=no.png>]]><img src=a.png>", ["img:a.png"]),
        ("<svg><![CDATA[<image href=no.png>]]><image href=a.png></svg>", ["svg:a.png"]),
        ("<script>'<img src=no.png>'</script><img src=a.png>", ["img:a.png"]),
        ("<script><!--<script></script><img src=no.png>--></script><img src=a.png>", ["img:a.png"]),
        ("<script><!--></script><img src=a.png>", ["img:a.png"]),
        ("<textarea><img src=no.png></textareas></textarea><img src=a.png>", ["img:a.png"]),
        ("<title><img src=no.png></title><img src=a.png>", ["img:a.png"]),
        ("<xmp><img src=no.png></xmp><noembed><img src=no.png></noembed><img src=a.png>", ["img:a.png"]),
        ("<img src=a.png><plaintext><img src=no.png></plaintext><img src=no.png>", ["img:a.png"]),
        ("<pre><code>&lt;img src=no.png&gt;</code></pre><img src=a.png>", ["img:a.png"]),
        ("<img alt='&lt;img src=no.png&gt;' src=a.png>", ["img:a.png"]),
        ("<svg><title><img src=a.png></title></svg>", ["img:a.png"]),
        ("<svg><style>a{background:url(a.png)}<image href=b.png /></style></svg>", ["style:a.png", "svg:b.png"]),
        ("<svg><style><![CDATA[a{background:url(a.png)}]]></style></svg>", ["style:a.png"]),
        ("<svg><script><image href=a.png /></script></svg>", ["svg:a.png"]),
        ("<svg><g><p><img src=a.png></svg><image src=b.png>", ["img:a.png", "img:b.png"]),
        ("<svg viewBox=x><path d='M0'/></svg><textarea><img src=no.png></textarea>", []),
        ("<div><svg><g></div><textarea><img src=no.png></textarea><img src=a.png>", ["img:a.png"]),
        ("<svg/a=b/><image href=a.png /></svg>", ["svg:a.png"]),
        ("<svg/><image href=no.png src=a.png>", ["img:a.png"]),
        ("<math><mi><img src=a.png></mi><ms><image src=b.png></ms></math>", ["img:a.png", "img:b.png"]),
        ("<img src=a.png", []),
        ("<img src='a.png", []),
        ("< img src=no.png><1img src=no.png><imgs src=no.png><im\0g src=no.png>", []),
        ("\ufeff<!doctype html>\r\n<img\r\nsrc='a.png'\r\n>", ["img:a.png"]),
        ("<img src='\udcff.png'>", ["img:\udcff.png"]),
    ],
)
def test_a_trap_is_read_as_browsers_do(page: str, expected: list[str] | str | int) -> None:
    if isinstance(expected, int):
        assert len(urls(page)) == expected
    elif isinstance(expected, str):
        assert "".join(url.removeprefix("img:")[0] for url in urls(page)) == expected
    else:
        assert urls(page) == expected


@pytest.mark.parametrize(
    ("page", "spans"),
    [
        ('<img src=" a.png ">', ["a.png"]),
        ("<img src=a.png/>", ["a.png/"]),
        ("<img srcset='&#32;a.png 1x,&#32;b&amp;.png 2x'>", ["a.png", "b&amp;.png"]),
        ("<img src='&#32;a&amp;b.png&#32;'>", ["a&amp;b.png"]),
        ("<p style='a:&quot;&amp;&quot;;background:url(&quot;a.png&quot;),url(b.png)'>", ["a.png", "b.png"]),
        ("<style>&amp;{background:url( 'a.png' )}</style>", ["a.png"]),
        ("<svg><style>a &gt; b{background:url(a.png),url(&#98;.png)}</style>", ["a.png"]),
        ("<img src=&#32;a.png>", ["&#32;a.png"]),
    ],
)
def test_a_span_covers_the_url_as_it_is_written(page: str, spans: list[str]) -> None:
    assert [page[reference.start : reference.end] for reference in read(page)] == spans


@pytest.mark.parametrize(
    ("page", "groups"),
    [
        ("<img src=a.png srcset='b.png 2x'><img src=c.png>", "aab"),
        ("<picture><source srcset='a.webp, b.webp 2x'><img src=c.png></picture><img src=d.png>", "aaab"),
        ("<a href=a.png><img src=b.png></a><img src=c.png>", "aab"),
        ("<a href=a.png><picture><source srcset=b.webp><img src=c.png></picture><img src=d.png></a>", "aaaa"),
        ("<a href=a.html><img src=b.png><img src=c.png></a>", "ab"),
        ("<a href=a.png>x</a><img src=b.png>", "ab"),
        ("<a href=a.png>x<a href=b.html><img src=c.png></a>", "ab"),
        ("<a href=a.png download><img src=b.png><img src=c.png></a>", "ab"),
        ("<a href=a.png><svg><a></a></svg><img src=b.png></a><img src=c.png>", "aab"),
        ("<style>a{background:url(a.png)}b{background:url(b.png)}</style>", "ab"),
    ],
)
def test_a_picture_and_a_link_with_its_image_are_one_group(page: str, groups: str) -> None:
    numbers: dict[int, str] = {}
    found = "".join(numbers.setdefault(reference.group, "abcdef"[len(numbers)]) for reference in read(page))
    assert found == groups


OFF, CLASS = 'kept by data-imghost="off"', "kept by the class no-imghost"


@pytest.mark.parametrize(
    ("page", "held"),
    [
        ('<img data-imghost="off" src=a.png><img src=b.png>', [OFF, ""]),
        ("<img DATA-IMGHOST=OFF src=a.png srcset='b.png 2x'>", [OFF, OFF]),
        ("<img data-imghost=on class='no-imghost2' src=a.png>", [""]),
        ("<img class='a no-imghost\tb' src=a.png>", [CLASS]),
        (
            "<picture class=no-imghost><source srcset=a.webp><img src=b.png></picture><img src=c.png>",
            [CLASS, CLASS, ""],
        ),
        ("<a href=a.png data-imghost=off><img src=b.png></a><img src=c.png>", [OFF, OFF, ""]),
        ("<a href=a.html data-imghost=off><img src=b.png></a>", [""]),
        ("<a href=a.png><picture class=no-imghost><img src=b.png></picture></a>", ["", CLASS]),
        ("<img class='toggler' src=_static/minus.png>", ["a script renames it"]),
        ("<p class=toggler style='background:url(a.png)'>", [""]),
        ("<p class=no-imghost style='background:url(a.png)'>", [CLASS]),
        (
            "<style class=no-imghost>a{background:url(a.png)}</style><style>a{background:url(a.png)}</style>",
            [CLASS, ""],
        ),
    ],
)
def test_an_element_can_keep_its_references_local(page: str, held: list[str]) -> None:
    assert [reference.held for reference in read(page)] == held


@pytest.mark.parametrize(
    ("page", "needs"),
    [
        ("<img crossorigin src=a.png><img src=b.png>", [True, False]),
        (
            "<picture><source srcset=a.webp><img crossorigin=anonymous src=b.png><source srcset=c.webp></picture>",
            [True] * 3,
        ),
        ("<picture><source crossorigin srcset=a.webp><img src=b.png></picture>", [True, False]),
        ("<picture><source srcset=a.webp><img crossorigin src=b.png>", [True, True]),
        ("<link rel=preload as=image crossorigin href=a.png>", [True]),
        ("<video crossorigin poster=a.png></video>", [True]),
        ("<p style='mask-image:url(a.png);background:url(b.png)'>", [True, False]),
    ],
)
def test_what_asks_for_cors_is_known(page: str, needs: list[bool]) -> None:
    assert [reference.needs_cors for reference in read(page)] == needs


@pytest.mark.parametrize(
    ("page", "base"),
    [
        ("<p>", None),
        ("<base href='a&amp;b/'><base href=c/>", "a&b/"),
        ("<base target=x><base href=''>", ""),
        ("<template><base href=a/></template><base href=b/>", "b/"),
        ("<!-- <base href=a/> --><script><base href=b/></script>", None),
        ("<svg><base href=a/></svg>", None),
    ],
)
def test_the_first_base_counts(page: str, base: str | None) -> None:
    assert scan(page, ALL).base == base


def test_the_pages_own_policies_are_decoded() -> None:
    page = (
        "<meta HTTP-EQUIV=Content-Security-Policy content='img-src &#39;self&#39;'><meta http-equiv=refresh content=5>"
    )
    assert scan(page, ALL).policies == ("img-src 'self'",)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_kinds_that_are_asked_for_are_found(kind: str) -> None:
    page = (
        "<img src=a.png><a href=a.png></a><video poster=a.png></video><meta property=og:image content=a.png>"
        "<link rel=preload as=image href=a.png><p style='background:url(a.png)'><svg><image href=a.png /></svg>"
        "<object data=a.png></object><link rel=icon href=a.png><style>a{background:url(a.png)}</style>"
    )
    assert {reference.kind for reference in read(page, frozenset({kind}))} == ({kind} - {"css"})


def test_a_link_groups_nothing_when_links_are_not_asked_for() -> None:
    first, second = read("<a href=a.png><img src=b.png><img src=c.png></a>", frozenset({"img"}))
    assert first.group != second.group


def test_many_tags_in_a_row_hide_nothing() -> None:
    page = "<b>x</b>" * 1000 + "<img src=a.png>" + "<a href='b.html'>x</a>" * 999 + "<img src=c.png>"
    assert urls(page) == ["img:a.png", "img:c.png"]


def test_a_css_file_gives_references_of_its_kind() -> None:
    (found,) = scan_css("a { background: url( 'a.png' ) }").references
    assert found == Reference("css", 22, 27, "a.png", None, "'", group=1)


@pytest.mark.parametrize(
    "tag",
    [
        '<input type="image" src="a.png">',
        '<input type="text" style="background:url(a.png)">',
        '<svg style="background:url(a.png)"><path d="M0"/></svg>',
        '<svg viewBox="0"><path d="M0" style="fill:red;background:url(a.png)"/></svg>',
        '<svg viewBox="0"><image href="a.png"/></svg>',
        '<link rel="icon" href="a.png">',
        '<link rel="next" href="b.html" style="background:url(a.png)">',
        '<meta property="og:image" content="a.png">',
    ],
)
def test_what_a_theme_writes_as_it_writes_what_is_passed_over_is_read(tag: str) -> None:
    """A control, an icon or a link that shows an image is found where others like it are passed in one pattern."""
    page = f'<input type="text" name="q"><svg viewBox="0"><path d="M0"/></svg><link rel="next" href="b.html">{tag}'
    assert [found.url for found in scan(page, ALL).references] == ["a.png"]


@pytest.mark.parametrize("ending", [ending for endings in ENDINGS.values() for ending in endings])
@pytest.mark.parametrize("form", ['<a href="{}">', '<a class="b" href="{}" title="c">', "<a href='{}'>", "<A HREF={}>"])
def test_a_link_to_an_image_is_found_by_each_ending_however_it_is_written(form: str, ending: str) -> None:
    written = form.format(f"a.{ending}") + form.format(f"b.{ending.upper()}")
    assert urls(written) == [f"link:a.{ending}", f"link:b.{ending.upper()}"]


@pytest.mark.parametrize(
    "icon",
    [
        '<link rel="icon" href="a.png">',
        '<link rel="shortcut icon" href="a.png" sizes="32x32">',
        '<link href="a.png" rel="apple-touch-icon" />',
        "<LINK REL=icon HREF=a.png>",
    ],
)
def test_icons_are_passed_where_they_are_not_asked_for(icon: str) -> None:
    page = f'<head>{icon}<style>p {{ background: url(b.png) }}</style></head><img src="c.png">'
    assert [one.url for one in read(page)] == ["a.png", "b.png", "c.png"]
    assert [one.url for one in read(page, ALL - {"icon"})] == ["b.png", "c.png"]


@pytest.mark.parametrize(
    "link",
    [
        '<link rel="icon" href="a.png" style="background: url(b.png)">',
        '<link rel="icon" href="a.png" integrity="sha256-a">',
        '<link rel="icon preload" as="image" href="b.png">',
    ],
)
def test_an_icon_that_says_more_is_read_though_icons_are_not_asked_for(link: str) -> None:
    found = scan(link, ALL - {"icon"})
    assert found.vouched or [one.url for one in found.references] == ["b.png"]


@pytest.mark.parametrize(
    "told", ['id="a"', 'class="a"', 'name="a"', "data-a", "onload=\"this.src = this.src.replace('small', 'large')\""]
)
def test_an_image_is_held_by_what_stands_beside_its_plain_attributes(told: str) -> None:
    """Those alone tell nothing of it, so that nobody asks what scripts work on."""
    words = frozenset({"a", "#a", "[data-a"})
    page = f'<img alt="" src="a.png"><img alt="" src="b.png" width="1" {told}>'
    assert [bool(one.held) for one in scan(page, ALL, words).references] == [False, True]
