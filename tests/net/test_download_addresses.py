"""Where a credential may go."""

from __future__ import annotations

from pathlib import Path

import pytest
from doubles.server import Reply, Server
from hypothesis import given
from hypothesis import strategies as st
from test_registry import KEY, opened, refusal

from imghost.errors import SettingsError
from imghost.hosts.answers import split_origin
from imghost.hosts.registry import open_host
from imghost.net import Client
from imghost.settings import read

FOREIGN = [
    "https://evil.example",
    "https://evil.example/v1",
    "https://api.img.pro.evil.example/v1",
    "https://evil.example/api.img.pro/v1",
    "https://img.pro/v1",
    "https://api.img.pro.:443/v1",
    "https://api.img.pro:8443/v1",
    "https://127.0.0.1.evil.example/v1",
    "https://localhost.evil.example/v1",
    "https://169.254.169.254/v1",
    "https://10.0.0.1/v1",
    "https://0x7f000001/v1",
    "https://2130706433/v1",
    "https://[2001:db8::1]/v1",
]


@pytest.mark.parametrize("url", FOREIGN)
def test_a_credential_goes_to_no_other_origin(tmp_path: Path, url: str) -> None:
    text = refusal(tmp_path / "site", api_url=url)
    assert "'api_url'" in text
    assert "IMGHOST_ALLOW_API_URL" in text


@pytest.mark.parametrize("url", FOREIGN)
def test_without_a_credential_any_address_may_be_asked(tmp_path: Path, url: str) -> None:
    assert opened(tmp_path / "site", {}, retention="30d", api_url=url).name == "img.pro"


@pytest.mark.parametrize(
    "url",
    [
        *("http://api.img.pro/v1", "http://evil.example/v1", "http://192.168.0.1/v1", "http://localhost.evil.example/"),
        *("https://user@api.img.pro/v1", "https://user:word@api.img.pro/v1", "https://api.img.pro@evil.example/v1"),
        *("https://api.img.pro/v1?x=1", "https://api.img.pro/v1#x", "https://api.img.pro\\@evil.example/v1"),
        *(
            "https://api.img.pro\n/v1",
            "https://api.img.pro /v1",
            "https://api.img.pro/v1/%2e%2e",
            "https://аpi.img.pro/v1",
        ),
        *("https://api.img.pro/v1;x", "https:/api.img.pro/v1", "https:api.img.pro", "//api.img.pro/v1", "api.img.pro"),
        *(
            "ftp://api.img.pro/v1",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://",
            "https://:443/",
            "https://[",
        ),
        *("https://evil.example[::1]/", "http://[::1].evil.example/", "http://evil.example[::1]/", "http://[x]/"),
        *(
            "https://api.img.pro:0/v1",
            "https://api.img.pro:99999/v1",
            "https://api.img.pro:x/v1",
            "HTTPS://api.img.pro",
        ),
        *("https://[::1", "https://[1:2]/", "https://[fe80::1%25eth0]/"),
    ],
)
def test_an_address_that_is_not_plain_is_refused_even_where_it_is_allowed(tmp_path: Path, url: str) -> None:
    for environ in ({"IMGPRO_API_KEY": KEY, "IMGHOST_ALLOW_API_URL": url}, {}):
        text = refusal(tmp_path / "site", environ, retention="30d", api_url=url)
        assert "'api_url'" in text


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:8000", "http://localhost:8000/v1", "http://[::1]:8000/v1", "http://127.8.9.1/v1"),
        *("https://localhost/v1", "https://api.img.pro", "https://api.img.pro/v2/", "https://API.img.pro/v1"),
    ],
)
def test_a_credential_may_go_to_the_hosts_own_origin_and_to_this_machine(tmp_path: Path, url: str) -> None:
    assert opened(tmp_path / "site", api_url=url).name == "img.pro"


@pytest.mark.parametrize(
    "allowed",
    [
        "https://proxy.example:8443/v1",
        "https://proxy.example:8443/v1/",
        "https://proxy.example:8443",
        "https://proxy.example:8443/",
        "https://one.example, https://proxy.example:8443",
        "https://one.example\nhttps://proxy.example:8443/v1",
    ],
)
def test_the_environment_can_allow_an_address_or_its_origin(tmp_path: Path, allowed: str) -> None:
    environ = {"IMGPRO_API_KEY": KEY, "IMGHOST_ALLOW_API_URL": allowed}
    assert opened(tmp_path / "site", environ, api_url="https://proxy.example:8443/v1").name == "img.pro"


@pytest.mark.parametrize(
    "allowed",
    [
        *("", " ", "1", "true", "*", "https://", "proxy.example", "proxy.example:8443", "https://proxy.example"),
        *("http://proxy.example:8443", "https://proxy.example:8443/v2", "https://proxy.example:8443/v1/x"),
        *(
            "https://proxy.example:844",
            "https://proxy.example:84433",
            "https://*.example:8443",
            "https://PROXY.example:8443",
        ),
    ],
)
def test_the_environment_allows_nothing_but_what_it_names(tmp_path: Path, allowed: str) -> None:
    environ = {"IMGPRO_API_KEY": KEY, "IMGHOST_ALLOW_API_URL": allowed}
    assert "https://proxy.example:8443" in refusal(tmp_path / "site", environ, api_url="https://proxy.example:8443/v1")


def test_the_configuration_cannot_allow_an_address(tmp_path: Path) -> None:
    for name in ("allow_api_url", "IMGHOST_ALLOW_API_URL"):
        text = refusal(tmp_path / "site", api_url="https://evil.example", **{name: "https://evil.example"})
        assert "is unknown" in text


def test_a_foreign_address_is_refused_before_a_connection_is_made(tmp_path: Path) -> None:
    settings = read({"host": "img.pro", "options": {"api_url": "https://evil.example"}}, tmp_path)
    with Server(lambda _: Reply(200)) as proxy, Client(environ={"HTTPS_PROXY": proxy.url}) as client:
        with pytest.raises(SettingsError):
            open_host("img.pro", settings, {"IMGPRO_API_KEY": KEY}, client, tmp_path / "site")
        assert client.requests == proxy.connections == 0


@given(st.from_regex(r"\A(https?://)?[a-z\[\]:@/\\%.1-9#?-]{0,24}\Z"))
def test_an_address_is_split_or_refused_without_an_error(url: str) -> None:
    parts = split_origin(url)
    if parts is not None:
        assert parts.username is None
        assert not parts.query
        assert not parts.fragment
        assert (
            parts.scheme == "https" or parts.hostname in {"localhost", "::1"} or str(parts.hostname).startswith("127.")
        )
