"""Which URLs in CSS are images, and where they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imghost.html.scan import css_images, is_image_name, unescape


def urls(sheet: str) -> list[str]:
    return [image.url for image in css_images(sheet)]


@pytest.mark.parametrize(
    ("sheet", "expected"),
    [
        ("a{background:url(a.png)}", ["a.png"]),
        ("a{background:URL( a.png )}", ["a.png"]),
        ("a{background:u\\72l(a.png),u\\000072 l(b.png)}", ["a.png", "b.png"]),
        ("a{background:url('a b.png')}", ["a b.png"]),
        ('a{background:url( "a\\"b.png" )}', ['a"b.png']),
        ("a{background:url(a\\ b\\28 c.png)}", ["a b(c.png"]),
        ("a{background:url('a\\\nb.png')}", ["ab.png"]),
        ("a{background:url(a b.png),url(c.png)}", ["c.png"]),
        ("a{background:url('a\n.png')}b{background:url(no.png)}", []),
        ("a{background:url(a.png", ["a.png"]),
        ("a{background:url('a.png", ["a.png"]),
        ("a{/* url(no.png) */background:url(a.png)/*", ["a.png"]),
        ("a{content:'url(no.png)'}b{content:url(a.png)}", ["a.png"]),
        ("a{background:url(/*a.png)}", ["/*a.png"]),
        ("a{background:url()}b{background:url('')}c{background:url(#d)}", []),
        ("a{background:url(data:image/png;base64,AA)}", []),
        (
            "a{background:image-set('a.png' 1x, url(b.png) 2x, 'c.avif' type('image/avif'))}",
            ["a.png", "b.png", "c.avif"],
        ),
        ("a{background:-webkit-image-set('a.png' 1x)}", ["a.png"]),
        ("a{background:#url(no.png) 1url(no.png)}", []),
        ("@font-face{font-family:x;src:url(a.svg)}b{background:url(b.png)}", ["b.png"]),
        ("@media x{@font-face{src:url(a.svg)}b{background:url(b.png)}}", ["b.png"]),
        ("@import url(a.png);@import 'b.png';@namespace url(c.png);d{background:url(d.png)}", ["d.png"]),
        ("a{filter:url(f.svg#x);clip-path:url(c.svg#x);fill:url(p.svg#x);marker-end:url(m.svg#x)}", []),
        ("a{cursor:url(a.cur),auto;background-image:url(b)}", ["a.cur", "b"]),
        ("a{unknown:url(b);other:url(c.png)}", ["c.png"]),
        ("a{--x:url(a.png)}", ["a.png"]),
        ("a:hover{background:url(a.png)}b{c:d;;background:url(b.png)}", ["a.png", "b.png"]),
        ("<!-- a{background:url(a.png)} -->", ["a.png"]),
        ("a{background:url('a.png' x(y))}b{background:url(b.png)}", ["a.png", "b.png"]),
    ],
)
def test_a_sheet_names_its_images(sheet: str, expected: list[str]) -> None:
    assert urls(sheet) == expected


@pytest.mark.parametrize(
    ("declaration", "needs"),
    [
        ("background:url(a.png)", False),
        ("mask-image:url(a.png)", True),
        ("-webkit-mask:url(a.png)", True),
        ("shape-outside:url(a.png)", True),
        ("--icon:url(a.png)", True),
    ],
)
def test_masks_and_what_may_become_one_need_cors(declaration: str, needs: bool) -> None:
    assert [image.needs_cors for image in css_images(declaration)] == [needs]


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_a_span_is_the_url_alone(quote: str) -> None:
    sheet = f"a{{background:url( {quote}a.png{quote} )}}"
    (image,) = css_images(sheet)
    assert (sheet[image.start : image.end], image.quote) == ("a.png", quote)


@given(st.text(alphabet="abu rl('\")\\/*{};:@,\n-#0\u00e9", max_size=60))
def test_no_sheet_raises_and_spans_follow_each_other(sheet: str) -> None:
    sheet = "a{background:url(x.png)" + sheet
    position = 0
    for image in css_images(sheet):
        assert position <= image.start < image.end <= len(sheet)
        position = image.end


@given(st.text(alphabet="a '\"()\\<>&\x01\u00e9", min_size=1).map(lambda text: f"{text}.png"))
def test_what_is_escaped_by_code_points_is_read_back(url: str) -> None:
    written = "".join(f"\\{ord(letter):x} " for letter in url)
    assert unescape(written) == url


@pytest.mark.parametrize(
    ("url", "is_image"),
    [
        ("a.png", True),
        ("A.SVG?x#y", True),
        ("a.jpeg#x", True),
        ("a.html?b.png", False),
        ("a#b.png", False),
        ("png", False),
    ],
)
def test_an_image_is_known_by_the_end_of_its_path(url: str, is_image: bool) -> None:
    assert is_image_name(url) is is_image
