"""Pages of one theme: what the page before had as well is passed unread, and nothing but the time shows it."""

from __future__ import annotations

from pathlib import Path

import corpora
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imghost.html import Theme
from imghost.html.scan import _Page, _Trail, scan
from imghost.html.tokenizer import tags
from imghost.models import KINDS
from imghost.site.survey import decode

ALL = frozenset(KINDS)

# What pages of a theme share, and what means something for all that follows or stands around.
PIECES = [
    "<",
    "< a",
    "text",
    "<!-- c -->",
    "<p>",
    "<div>",
    "</div>",
    '<ul><li class="a">x</li></ul>',
    '<meta name="viewport" content="a">',
    '<link rel="canonical" href="a">',
    '<input type="text" placeholder="Search">',
    "<title>a</title>",
    "<title>",
    "</title>",
    "<textarea>",
    "</textarea>",
    '<svg><path d="M0"/></svg>',
    '<svg><use href="#a"></use></svg>',
    "<svg><image href=a.png>",
    "<svg><p>",
    "<svg>",
    "</svg>",
    "<script>1</script>",
    "<script src=x.js></script>",
    '<script>a = document.querySelector("#x").src.replace("a", "b")</script>',
    '<style>img[src$=".png"] { color: red }</style>',
    "<style>a { background: url(s.png) }</style>",
    "<p style='background: url(s.png)'>",
    "<img src=a.png>",
    "<img id=x src=b.png>",
    "<img src=c.png onmouseover=\"this.src = this.src.replace('a', 'b')\">",
    '<a href="y.html">',
    '<a href="y.png">',
    "</a>",
    "<picture>",
    '<source srcset="s.png">',
    "</picture>",
    "<template>",
    "</template>",
    "<noscript>",
    "</noscript>",
    '<base href="/x/">',
    "<base>",
    "<meta http-equiv=content-security-policy content=\"base-uri 'none'\">",
    '<meta property="og:image" content=n.png>',
    '<meta property="og:image:width" content=3>',
    "<link rel=stylesheet href=a.css integrity=sha256-a>",
    '<link rel=icon href="i.png">',
]
PIECE = st.sampled_from(PIECES)
EDIT = st.tuples(st.integers(0, 30), st.integers(0, 2), st.lists(PIECE, max_size=2))


def edited(page: list[str], edits: list[tuple[int, int, list[str]]]) -> list[str]:
    for at, left_out, put_in in edits:
        page = [*page[:at], *put_in, *page[at + left_out :]]
    return page


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECE, min_size=3, max_size=25), st.lists(st.lists(EDIT, max_size=3), min_size=1, max_size=3))
def test_a_page_means_the_same_whatever_stood_before(
    page: list[str], changes: list[list[tuple[int, int, list[str]]]]
) -> None:
    theme = Theme()
    for edits in [[], *changes]:
        page = edited(page, edits)
        text = "".join(page)
        assert scan(text, ALL, theme=theme) == scan(text, ALL), text


# Stretches are told by their first letters, so those of the examples are long.
LONG = '<input type="text" placeholder="Search">'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # A `<` alone is text by what follows it.
        (f"{LONG}a <{LONG}b{LONG}", f"{LONG}a <img src=x.png>{LONG}b{LONG}"),
        # What an end tag inside foreign content closes, is decided by what is open around that.
        (
            f"<div>{LONG}<svg><g></div>{LONG}<image href=a.png>",
            f"<b></b>{LONG}<svg><g></div>{LONG}<image href=a.png>",
        ),
        # Raw text ends by its whole end tag.
        (
            f"<title>Documentation of a thing</title>{LONG}",
            f"<title>Documentation of a thing</titles><img src=x.png></title>{LONG}",
        ),
        (
            f"<textarea class='search-field'>a</textarea>{LONG}",
            f"<textarea class='search-field'>a</textareas><img src=x.png></textarea>{LONG}",
        ),
        # What is open decides what a reference is a part of, and what a base means.
        (f"{LONG}{LONG}<img src=a.png>{LONG}", f"<picture>{LONG}{LONG}<img src=a.png>{LONG}</picture>"),
        (
            f"{LONG}{LONG}<base href=/a/><img src=a.png>{LONG}",
            f"<template>{LONG}{LONG}<base href=/a/></template><img src=a.png>{LONG}",
        ),
    ],
)
def test_what_only_looks_the_same_is_read(before: str, after: str) -> None:
    theme = Theme()
    for text in (before, after, before):
        assert scan(text, ALL, theme=theme) == scan(text, ALL), text


def test_other_kinds_are_looked_for_anew() -> None:
    theme = Theme()
    text = f"{LONG}<p style='background: url(a.png)'>{LONG}{LONG}"
    assert not scan(text, ALL - {"style"}, theme=theme).references
    assert scan(text, ALL, theme=theme).references


def test_what_two_pages_share_is_passed() -> None:
    """All but what refers to images, or differs: the tokenizer gives nothing else."""
    theme = Theme()
    head = "<meta charset=utf-8><link rel=stylesheet href=a.css><script>1</script><svg><use href=#a></use></svg>"
    foot = "<script src=b.js></script><input><svg><use href=#a></use></svg><link rel=prefetch href=c>"
    scan(f"<!doctype html>{head}<h1>One</h1><img src=a.png>{foot}", ALL, theme=theme)
    text = f"<!doctype html>{head}<h1>Two</h1><img src=b.png>{foot}"
    trail = _Trail(_Page(text, ALL, frozenset()), theme.last)
    given = [tag.name for tag in tags(text, with_styles=True, ahead=trail.ahead)]
    assert given == ["img", "link"]  # a page's last stretch has no end


def test_a_page_that_differs_all_the_time_is_compared_no_more() -> None:
    """What was compared in vain may not be more than the page: it would take time by the square of that."""
    theme = Theme()
    short = f"<input>{'a' * 49}"
    long = f"<input>{'a' * 49}{'c' * (100 * len(short) - 80)}{'a' * 24}"
    assert len(long) == 100 * len(short)  # so that both begin and end alike
    scan(f"{long}<input><input>", ALL, theme=theme)
    trail = _Trail(_Page(short * 1000, ALL, frozenset()), theme.last)
    assert len([*tags(trail.page.text, with_styles=True, ahead=trail.ahead)]) == 1000
    assert trail.last is None


def test_a_theme_whose_pages_share_little_is_compared_no_more() -> None:
    """To compare costs more than it spares there; one page that shares more has the next ones compared again."""
    theme = Theme()
    apart = [f"{LONG}<p>{letter * 400}</p><img src=a.png>{LONG}" for letter in "abcdefghijkl"]
    for text in apart:
        assert scan(text, ALL, theme=theme) == scan(text, ALL)
    assert theme.in_vain == 8
    last = theme.last
    scan(apart[0], ALL, theme=theme)
    assert theme.last is last
    theme = Theme()
    alike = "<link rel=prefetch href=c>" * 20
    for text in [*apart[:6], alike, alike, *apart[:6]]:
        scan(text, ALL, theme=theme)
    assert theme.in_vain == 6


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECE, min_size=3, max_size=25))
def test_a_page_means_the_same_where_icons_are_not_asked_for(page: list[str]) -> None:
    text = "".join(page)
    every, others = scan(text, ALL), scan(text, ALL - {"icon"})
    groups = {one.group for one in every.references if one.kind != "icon"}
    told = [one._replace(group=0) for one in every.references if one.kind != "icon"]
    assert [one._replace(group=0) for one in others.references] == told
    assert len({one.group for one in others.references}) == len(groups)
    assert others._replace(references=(), fixed=(), early=()) == every._replace(references=(), fixed=(), early=())


@corpora.needs_corpora
def test_real_sites_are_scanned_the_same_page_by_page(tmp_path: Path) -> None:
    for site in corpora.sites(tmp_path):
        theme = Theme()
        for page in sorted(site.rglob("*.html")):
            text = decode(page.read_bytes())
            assert scan(text, ALL, theme=theme) == scan(text, ALL), page
