"""A page's own policy for images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imghost.html import blocks

CDN = "https://src.img.example"


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "script-src 'self'",
        "img-src *",
        "img-src https:",
        "img-src http:",
        "img-src 'self' https://src.img.example",
        "img-src 'self' https://SRC.img.example/",
        "img-src src.img.example",
        "img-src http://src.img.example",
        "img-src *.img.example",
        "img-src https://*.img.example:443",
        "img-src src.img.example:*",
        "img-src https://*",
        "IMG-SRC\thttps:",
        "default-src 'none'; img-src https:",
        "img-src https:; img-src 'none'",
        "default-src https:",
        "; ;img-src https:;",
    ],
)
def test_a_policy_that_lets_the_host_through_blocks_nothing(policy: str) -> None:
    assert not blocks([policy], [CDN])


@pytest.mark.parametrize(
    "policy",
    [
        "img-src 'self'",
        "img-src 'none'",
        "img-src",
        "img-src data: blob:",
        "default-src 'self'",
        "default-src https:; img-src 'self'",
        "img-src 'none'; img-src https:",
        "img-src https://img.example",
        "img-src https://other.example",
        "img-src *.src.img.example",
        "img-src https://src.img.example.evil.example",
        "img-src https://evilsrc.img.example",
        "img-src https://src.img.example:8443",
        "img-src https://src.img.example:80",
        "img-src https://src.img.example/only/here/",
        "img-src ws://src.img.example",
        "img-src 'nonce-src.img.example'",
        "img-src img-src",
    ],
)
def test_a_policy_without_the_host_blocks_it(policy: str) -> None:
    assert blocks([policy], [CDN])


def test_every_policy_has_to_let_every_origin_through() -> None:
    assert blocks(["img-src https:", "img-src 'self'"], [CDN])
    assert blocks([f"img-src {CDN}"], [CDN, "https://other.example"])
    assert not blocks([f"img-src {CDN}", "default-src https:"], [CDN])


def test_the_site_itself_is_an_origin_that_no_policy_is_asked_about() -> None:
    assert not blocks(["img-src 'none'"], [])


@pytest.mark.parametrize(
    ("source", "is_allowed"),
    [
        ("http://127.0.0.1:8000", True),
        ("127.0.0.1:8000", True),
        ("127.0.0.1:*", True),
        ("127.0.0.1", False),
        ("https://127.0.0.1:8000", False),
        ("https:", False),
        ("127.0.0.1:443", False),
        ("http:", True),
    ],
)
def test_a_port_has_to_be_named(source: str, *, is_allowed: bool) -> None:
    assert blocks([f"img-src {source}"], ["http://127.0.0.1:8000"]) is not is_allowed


def test_the_usual_port_of_http_is_not_that_of_https() -> None:
    assert blocks(["img-src x.example:443"], ["http://x.example"])
    assert not blocks(["img-src x.example:80"], ["http://x.example"])


def test_an_address_in_brackets_is_a_host() -> None:
    assert not blocks(["img-src http://[::1]:8000"], ["http://[::1]:8000"])
    assert blocks(["img-src http://[::2]:8000"], ["http://[::1]:8000"])


@given(st.text(max_size=60), st.text(max_size=30))
def test_any_text_is_judged_without_an_error(policy: str, origin: str) -> None:
    assert blocks([policy, f"img-src {policy}"], [origin, CDN]) in {True, False}


@given(st.lists(st.sampled_from(["'self'", "'none'", "data:", "blob:", "https://other.example", "'unsafe-inline'"])))
def test_sources_that_do_not_name_the_host_never_let_it_through(sources: list[str]) -> None:
    assert blocks([f"img-src {' '.join(sources)}"], [CDN])
