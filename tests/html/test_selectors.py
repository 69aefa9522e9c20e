"""Selectors that ask for a URL's text."""

from __future__ import annotations

import pytest

from imghost.html.uses import selectors_of
from imghost.models import Condition
from imghost.site.dependents import differs, stand_in


@pytest.mark.parametrize(
    ("css", "found"),
    [
        ('img[src$="icon.png"]{width:20px}', Condition("src", "$=", "icon.png")),
        ("img[ SRC *= 'logo' i ]{}", Condition("src", "*=", "logo", True)),
        ("a[href^=img]{}", Condition("href", "^=", "img")),
        (r'img[src$="ico\6e .png"]{}', Condition("src", "$=", "icon.png")),
        (r"img[src$=a\.png]{}", Condition("src", "$=", "a.png")),
        ("queryCondition(\"img[src$='icon.png']\")", Condition("src", "$=", "icon.png")),
        ('queryCondition("img[src$=\\"icon.png\\"]")', Condition("src", "$=", "icon.png")),
        ("image[xlink\\:href='a.png']{}", Condition("xlink:href", "=", "a.png")),
    ],
)
def test_selectors_are_read(css, found):
    assert selectors_of(css) == {found}


@pytest.mark.parametrize(
    ("css", "kind", "old", "is_lost"),
    [
        ("[src$='icon.png']", "img", "img/icon.png", True),
        ("[src*=logo]", "img", "img/logo.svg", True),
        ("[src^='img/']", "img", "img/a.png", True),
        ("[src='img/a.png']", "img", "img/a.png", True),
        ("[srcset*='a.png']", "img", "img/a.png", False),
        ("[src$='#only-dark']", "img", "a.png#only-dark", False),
        ("[src$='.png']", "img", "a.png", False),
        ("[src*='dark']", "img", "a-dark.png#only-dark", False),
        ("[href$='a.png']", "img", "a.png", False),
        ("[href$='a.png']", "link", "a.png", True),
        ("[poster*=still]", "poster", "still.jpg", True),
        ("a[href*='://']::after{}", "link", "a.png", True),
        ("a[href^=http]::after{}", "link", "/img/a.png", True),
        ("a[href^=http]::after{}", "img", "a.png", False),
    ],
)
def test_what_a_hosted_url_would_not_match_is_lost(css, kind, old, is_lost):
    selectors = selectors_of(css)
    new = stand_in(old, "https://images.test")
    assert bool(differs(selectors, kind, old, new, in_srcset=False)) is is_lost


def test_url_in_the_site_leads_up_as_before():
    assert stand_in("../img/a.png?v=1#x", "") == f"../_imghost/{'0' * 32}.png?v=1#x"
    assert stand_in("/img/a.png", "").startswith("/_imghost/")
