"""Credentials in a configuration are refused, and so is everything else that cannot be read, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imghost.errors import SettingsError
from imghost.hosts.img402 import Img402Options
from imghost.settings import Settings, options, read, read_host_options

HERE = Path("/project").absolute()
NAMES = [option.name for option in options()]


def refusal(raw: Any) -> str:
    """Read what cannot be right; gives the one line that a user is told."""
    with pytest.raises(SettingsError) as caught:
        read(raw, HERE, "mkdocs.yml")
    text = str(caught.value)
    assert text.startswith("mkdocs.yml: ")
    assert text.isprintable()
    assert len(text) < 600
    return text


SECRETS = [
    "img_live_0123456789abcdef",
    "img_sk_live_0123456789abcdef",
    "iu_live_0123456789abcdef",
    "0x" + "4c0a" * 16,
    "0X" + "4C0A" * 16,
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "shape",
    [
        lambda secret: {"host": secret},
        lambda secret: {"options": {"namespace": secret}},
        lambda secret: {"options": {"tags": ["a", secret]}},
        lambda secret: {"options": {"deep": {"deeper": [{"x": secret}]}}},
        lambda secret: {"include": {secret}},
        lambda secret: {"site_url": f"https://x.example/?key={secret}"},
        lambda secret: {"lock": Path(secret)},
        lambda secret: {"unknown": secret},
        lambda secret: {secret: "x"},
        lambda secret: {"options": {secret: "x"}},
        lambda secret: {"timeout": secret.encode()},
    ],
)
def test_a_credential_is_refused_and_not_shown(secret: str, shape: Any) -> None:
    text = refusal(shape(secret))
    assert "credential" in text
    assert "environment" in text
    assert secret[-8:] not in text


def test_a_private_key_that_was_read_as_a_number_is_refused_and_not_shown() -> None:
    key = int(SECRETS[3], 16)
    for raw in ({"max_uploads": key}, {"timeout": key}, {"options": {"pay_to": key}}):
        text = refusal(raw)
        assert "credential" in text
        assert str(key)[:12] not in text


@pytest.mark.parametrize(
    "name",
    [
        *("api_key", "apikey", "API_KEY", "IMGPRO_API_KEY", "private_key", "IMG402_PRIVATE_KEY", "secret"),
        *("aws_secret_access_key", "password", "token", "access_token", "upload_token", "api_\u212aey", "\u017fecret"),
    ],
)
def test_an_option_named_like_a_credential_is_refused_whatever_it_holds(name: str) -> None:
    for raw in (
        {name: "hunter2-canary"},
        {"options": {name: "hunter2-canary"}},
        {"options": {name: 1234567}},
        {name: {"canary"}},
    ):
        text = refusal(raw)
        assert "credential" in text
        assert name in text
        assert "canary" not in text
        assert "1234567" not in text


def test_an_address_to_pay_to_and_a_digest_are_no_credentials() -> None:
    fine = {"pay_to": "0x" + "ab" * 20, "namespace": "tokens", "prefix": "secretary"}
    assert read({"options": fine}, HERE).options == fine


def test_a_large_number_is_told_without_printing_it() -> None:
    assert "'timeout' should" in refusal({"timeout": float("inf")})
    assert "credential" in refusal({"timeout": 16**5000})


def test_options_that_hold_themselves_are_refused() -> None:
    around: dict[str, Any] = {}
    around["again"] = [around]
    assert "nested too deeply" in refusal({"options": around})


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=8)
    | st.dates()
    | st.decimals()
    | st.just(Path("x"))
    | st.sampled_from(["~x/y", "\0", "\ud800", "9" * 5000, *SECRETS])
    | st.integers(300, 6000).map(lambda digits: 10**digits)
)
RAW = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=6,
)


@example({"timeout": 10**400})
@example({"max_cost": 16**6000})
@example({"lock": "~x/y"})
@example({"cache_dir": "\0"})
@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=6) | st.integers(), RAW, max_size=4))
def test_any_configuration_is_read_or_refused_in_one_line(raw: dict[Any, Any]) -> None:
    try:
        settings = read(raw, HERE)
    except SettingsError as refused:
        assert "\n" not in str(refused)  # noqa: PT017
        assert len(str(refused)) < 1000  # noqa: PT017
    else:
        assert isinstance(settings, Settings)


@given(st.dictionaries(st.sampled_from(["tier", "api_url", "url_hosts"]) | st.text(max_size=5), RAW))
def test_any_options_of_a_host_are_read_or_refused_in_one_line(raw: dict[str, Any]) -> None:
    try:
        assert isinstance(read_host_options(Img402Options, read({"options": raw}, HERE).options, "x"), Img402Options)
    except SettingsError as refused:
        assert "\n" not in str(refused)  # noqa: PT017
