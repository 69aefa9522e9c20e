"""A splice changes the URLs, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imghost.html.edit import splice
from imghost.html.scan import scan, scan_css
from imghost.models import KINDS, Reference

ALL = frozenset(KINDS)
NEW = "https://h.example/n.png"


def rewrite(page: str, url: str = NEW) -> str:
    return splice(page, [(reference, url) for reference in scan(page, ALL).references])


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ('<img src=" a.png ">', f'<img src=" {NEW} ">'),
        ("<img src=a.png>", f"<img src={NEW}>"),
        ("<img src=a.png/>", f"<img src={NEW}>"),
        ("<img src=a.png?x=1 alt>", f'<img src="{NEW}?x=1" alt>'),
        ('<img src="a.png?a=1&copy=2&amp;b#only-dark">', None),
        ("<img src='a.png?a=1&b=2'>", f"<img src='{NEW}?a=1&b=2'>"),
        ('<img src="a.png?a&amp;b#c">', f'<img src="{NEW}?a&amp;b#c">'),
        ('<img src="a.png&#63;a">', f'<img src="{NEW}?a">'),
        ("<img src='a.png#it&#39;s'>", f"<img src='{NEW}#it&#39;s'>"),
        ("<img srcset='a.png 1x, b.png?c 2x'>", f"<img srcset='{NEW} 1x, {NEW}?c 2x'>"),
        ("<img srcset='a.png, b.png'>", f"<img srcset='{NEW}, {NEW}'>"),
        ("<img srcset=a.png,>", f"<img srcset={NEW},>"),
        ("<p style=\"a:'&amp;';background:url(&quot;a.png?b&quot;)\">", None),
        ("<p style=background:url(a.png)>", f"<p style=background:url({NEW})>"),
        ("<style>a{background:url(a.svg#b)}</style>", f"<style>a{{background:url({NEW}#b)}}</style>"),
        ("<style>a{background:url('a\\.png?b')}</style>", f"<style>a{{background:url('{NEW}?b')}}</style>"),
        ("<a href=a.png><img src='b.png'></a>\r\n", f"<a href={NEW}><img src='{NEW}'></a>\r\n"),
    ],
)
def test_a_new_url_is_written_as_the_old_one_was(page: str, expected: str | None) -> None:
    if expected is None:
        expected = page.replace("a.png", NEW, 1)
    assert rewrite(page) == expected


@pytest.mark.parametrize(
    ("page", "url", "expected"),
    [
        ('<img src="a.png">', "/n?a=1&b=2", '<img src="/n?a=1&amp;b=2">'),
        ('<img src="a.png?c#d">', "/n?a", '<img src="/n?a&amp;c#d">'),
        ('<img src="a.png">', "/n?a#f", '<img src="/n?a#f">'),
        ('<img src="a.png#d">', "/n?a#f", '<img src="/n?a#d">'),
        ("<img src=a.png>", "/n?a=1", '<img src="/n?a=1">'),
        ("<img src=a.png>", '/"n', "<img src=/&quot;n>"),
        ('<img src="a.png">', "/n\"'", '<img src="/n&quot;\'">'),
        ("<img src='a.png'>", "/n\"'", "<img src='/n\"&#39;'>"),
        ("<img srcset='a.png 1x'>", ",/n m,", "<img srcset='%2C/n%20m%2C 1x'>"),
        (
            "<style>a{background:url(a.png)}</style>",
            "/a b)</style>",
            "<style>a{background:url(/a\\20 b\\29 \\3c /style\\3e )}</style>",
        ),
    ],
)
def test_a_strange_url_cannot_leave_its_place(page: str, url: str, expected: str) -> None:
    assert rewrite(page, url) == expected


def test_a_css_file_is_spliced_too() -> None:
    sheet = "a { background: url( 'a.png' ), url(b.png?c) }"
    edits = [(reference, NEW) for reference in scan_css(sheet).references]
    assert splice(sheet, edits) == f"a {{ background: url( '{NEW}' ), url({NEW}?c) }}"


def test_overlapping_edits_are_refused() -> None:
    one, two = Reference("img", 0, 4, "abcd", '"'), Reference("img", 3, 5, "de", '"')
    with pytest.raises(ValueError, match="character 3"):
        splice("abcdef", [(two, NEW), (one, NEW)])


URLS = st.text(alphabet="ab/.?#&;=\"'()<>` \\,x20", min_size=1, max_size=12).map(lambda text: f"/{text}z")
OLD = st.sampled_from(["a.png", "b.png?x=1&y", "c.png#d", "e.png?f&amp;g#h", "&#105;.png?&#106;"])
PLACES = st.sampled_from(
    [
        "<img src={}>",
        '<img src=" {} ">',
        "<img src='{}' alt='>'>",
        "<img srcset='{} 1x, z.png 2x'>",
        "<img srcset={}>",
        "<p style='background: url(\"{}\")'>",
        "<p style=background:url({})>",
        '<p style="background: url({})">',
        '<meta property="og:image" content="{}">',
        "<svg><image href='{}' /></svg>",
        "<style>a{{background:url({})}}</style>",
    ]
)


@settings(max_examples=400)
@given(st.lists(st.tuples(PLACES, OLD), min_size=1, max_size=4), URLS)
def test_what_is_written_is_read_back_and_all_else_stays(places: list[tuple[str, str]], url: str) -> None:
    page = "\ufeff<p title='<img src=no.png>'>\r\n" + "\r\n<!-- & -->".join(place.format(old) for place, old in places)
    before = scan(page, ALL).references
    changed = splice(page, [(reference, url) for reference in before])
    after = scan(changed, ALL).references
    assert [reference.kind for reference in after] == [reference.kind for reference in before]
    for old, new in zip(before, after, strict=True):
        assert new.url.startswith(url.partition("#")[0].partition("?")[0].replace(" ", "%20" if old.in_srcset else " "))
        assert ("#" in old.url) <= new.url.endswith(old.url[old.url.find("#") :])
    assert _around(changed, after) == _around(page, before)


def _around(page: str, references: tuple[Reference, ...]) -> list[str]:
    """Cut the URLs out, with the quotes that an unquoted value may have got."""
    edges = [0]
    for reference in references:
        is_quoted = reference.quote == '"' and page[reference.start - 2 : reference.start] == '="'
        edges += reference.start - is_quoted, reference.end + (is_quoted and page[reference.end] == '"')
    edges.append(len(page))
    return [page[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
