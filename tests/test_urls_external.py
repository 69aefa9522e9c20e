"""Which external URLs are meant, what they are known by, and which addresses are everybody's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from imghost.errors import Action, HostError
from imghost.net.download import check_public, is_public, public_addresses
from imghost.urls import absolute, external_url, key_of, selected

ALL = ["*"]
PRIVATE = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
]  # fmt: skip
PRIVATE_6 = [
    "::/96", "::ffff:0:0/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:20::/28", "2001:db8::/32", "3fff::/20",
    "5f00::/16", "fc00::/7", "fd00:ec2::254/128", "fe80::/10", "fec0::/10", "ff00::/8",
]  # fmt: skip
private = st.sampled_from(PRIVATE).flatmap(lambda net: st.ip_addresses(v=4, network=net))
private_6 = st.sampled_from(PRIVATE_6).flatmap(lambda net: st.ip_addresses(v=6, network=net))


@given(private | private_6)
def test_an_address_of_a_network_that_is_not_everybodys_never_passes(address: IPv4Address | IPv6Address) -> None:
    assert not is_public(str(address))


@given(private)
def test_a_private_address_does_not_pass_inside_another(address: IPv4Address) -> None:
    bits = int(address)
    for outer in (
        int(IPv6Address("::ffff:0:0")) | bits,
        int(IPv6Address("64:ff9b::")) | bits,
        int(IPv6Address("2002::")) | bits << 80 | 1,
        int(IPv6Address("2001::")) | bits ^ 0xFFFF_FFFF,
    ):
        assert not is_public(str(IPv6Address(outer)))


@given(st.ip_addresses())
def test_what_the_standard_library_calls_special_never_passes(address: IPv4Address | IPv6Address) -> None:
    assume(not (isinstance(address, IPv6Address) and address in ip_network("64:ff9b::/96")))
    if address.is_private or address.is_multicast or address.is_loopback or address.is_link_local:
        assert not is_public(str(address))


@pytest.mark.parametrize("text", ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "64:ff9b::101:101", "2002:101:101::1"])
def test_addresses_of_the_public_network_pass(text: str) -> None:
    assert is_public(text)


@pytest.mark.parametrize("text", ["", "1.1.1", "01.1.1.1", "2606:4700::1111%eth0", "example.org", "1.1.1.1/32"])
def test_what_is_no_plain_address_does_not_pass(text: str) -> None:
    assert not is_public(text)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "LOCALHOST", "10.1.2.3", "192.168.0.1", "169.254.169.254", "0.0.0.0", "[::1]", "[::]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fd00:ec2::254]",
        "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "0", "017700000001", "[1:2:3]", "[127.0.0.1]",
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_host_that_is_not_everybodys_is_refused_and_the_message_says_what_to_change(scheme: str, host: str) -> None:
    with pytest.raises(HostError) as caught:
        check_public(f"{scheme}://{host}/x.png?secret", {})
    assert caught.value.action is Action.FILE
    assert caught.value.remedy
    assert "secret" not in str(caught.value)
    if host.lower() == "localhost":
        assert "resolves to an address that is not public" in caught.value.reason
        assert "'remote'" in caught.value.remedy
        assert "IMGHOST_ALLOW_REMOTE" in caught.value.remedy


@given(st.integers(0x7F000000, 0x7FFFFFFF), st.sampled_from(["{}", "{:#x}", "0{:o}", "{:#X}"]))
def test_loopback_as_one_number_is_refused_in_every_spelling(number: int, form: str) -> None:
    with pytest.raises(HostError, match="unusual spelling"):
        check_public(f"http://{form.format(number)}/", {})


@pytest.mark.parametrize("port", [1, 22, 79, 8080, 65_535])
def test_another_port_than_a_web_servers_is_refused(port: int) -> None:
    with pytest.raises(HostError, match="80 or 443"):
        check_public(f"http://1.1.1.1:{port}/x.png", {})


@pytest.mark.parametrize("url", ["http://1.1.1.1/x", "https://1.1.1.1/x", "http://1.1.1.1:443/x", "//1.1.1.1/x"])
def test_a_public_address_on_a_web_servers_port_passes(url: str) -> None:
    check_public(url, {})


@pytest.mark.parametrize(
    ("listed", "url", "is_exempt"),
    [
        ("localhost", "http://localhost:8000/", True),
        ("localhost:8000", "http://LOCALHOST:8000/", True),
        ("localhost:8000", "http://localhost/", False),
        ("localhost:80", "http://localhost/", True),
        ("a.test, 10.0.0.1\tb.test", "http://10.0.0.1/", True),
        ("[::1]", "http://[::1]:8000/", True),
        ("::1", "http://[::1]/", True),
        ("[::1]:8000", "http://[::1]:8000/", True),
        ("LocalHost", "http://localhost/", True),
        ("host", "http://localhost/", False),
        ("*", "http://localhost/", False),
        ("", "http://localhost/", False),
    ],
)
def test_hosts_named_in_the_environment_are_exempt(listed: str, url: str, is_exempt: bool) -> None:
    environ = {"IMGHOST_ALLOW_REMOTE": listed}
    if is_exempt:
        check_public(url, environ)
    else:
        with pytest.raises(HostError):
            check_public(url, environ)


def test_a_name_is_looked_up_once_and_every_address_has_to_be_public() -> None:
    found = external_url("https://images.example/x.png")
    assert found
    asked: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(f"{host}:{port}")
        return ["93.184.215.14"] if len(asked) == 1 else ["127.0.0.1"]

    assert public_addresses(found, {}, resolve=rebinding) == ("93.184.215.14",)
    assert asked == ["images.example:443"]
    with pytest.raises(HostError, match=r"images\.example resolves to an address that is not public"):
        public_addresses(found, {}, resolve=rebinding)
    with pytest.raises(HostError, match="not public"):
        public_addresses(found, {}, resolve=lambda *_: ["93.184.215.14", "fe80::1%eth0"])


def test_a_name_without_an_address_is_asked_again_later() -> None:
    found = external_url("https://images.example/x.png")
    assert found

    def failing(host: str, port: int) -> Sequence[str]:
        raise UnicodeError("label too long")

    for resolve in (failing, lambda *_: ()):
        with pytest.raises(HostError, match="does not resolve") as caught:
            public_addresses(found, {}, resolve=resolve)
        assert caught.value.action is Action.RETRY


@pytest.mark.parametrize(
    ("url", "glob", "is_meant"),
    [
        ("https://img.example/a/b.png", "https://img.example/*", True),
        ("https://img.example/a/b.png?v=1#x", "https://img.example/*.png[?]v=*", True),
        ("https://img.example/a/b.png#x.gif", "*.gif", False),
        ("//img.example/b.png", "https://img.example/*", True),
        ("//img.example/b.png", "http://img.example/*", False),
        ("HTTPS://IMG.example:443/b.png", "https://img.example/*", True),
        ("https://img.example/B.png", "https://img.example/b.png", False),
        ("https://img.example/B.png", "https://IMG.example/B.png", True),
        ("https://img.example:8443/b.png", "https://img.example:8443/*", True),
        ("https://img.example/é a.png", "https://img.example/é*", True),
        ("https://img.example/é a.png", "https://img.example/%C3%A9*", True),
        ("https://cdn.img.example/b.png", "https://*.img.example/*", True),
        ("https://stranger.test/x.img.example/b.png", "https://*.img.example/*", False),
        ("https://stranger.test/https://img.example/b.png", "*://img.example/*", False),
        ("https://img.example/b.png", "*", True),
        ("https://img.example", "https://img.example", True),
        ("https://img.example/b.png", "img.example/*", False),
    ],
)
def test_globs_select_by_the_whole_url_and_by_the_host_alone(url: str, glob: str, is_meant: bool) -> None:
    assert selected(url, ["nothing", glob]) is is_meant
    assert not selected(url, [])


@pytest.mark.parametrize(
    "url",
    [
        "", "x.png", "/x.png", "../x.png", "https:x.png", "https:/h/x.png", "https:///x.png", "ftp://h/x", "file:///x",
        "file://h/etc/passwd", "data:image/png;base64,AAAA", "javascript://h/x", "blob:https://h/x", "gopher://h/x",
        "https://user@h/x", "https://user:password@h/x", "https://@h/x", "//user@h/x", "https://h@evil/x",
        "https://h\\@evil/x", "https://h\\x", "https://h/\\x", "https:\\\\h/x", "https://h /x", "https://h\t/x",
        "https://h/x\n", "\nhttps://h/x", " https://h/x", "https://h/\x00", "https://h/\x7f", "https://h/\u202e",
        "https://h/\u2028", "https://h/\ud800", 'https://h/"x', "https://h/<x>", "https://h/{{ x }}", "https://h/`x",
        "https://bücher.example/x", "https://h。example/x", "httpſ://h/x", "https://K/x".replace("K", "\u212a"),
        "https://①/x", "https://h%2eexample/x", "https://h:80:80/x", "https://h:0/x", "https://h:99999/x",
        "https://h:123456/x", "https://h:-1/x", "https://h:８０/x", "https://.h/x", "https://h./x", "https://-h/x",
        "https://[::1/x", "https://[::1%25eth0]/x", "https://[v1.a]/x", "https://h/a/../x", "https://h/%2e%2E/x",
        "https://h/a/.", "https://h/..", "https://h/./x", f"https://h/{'x' * 2_000}",
    ],
)  # fmt: skip
def test_what_is_no_plain_web_address_is_never_meant(url: str) -> None:
    assert not selected(url, ALL)
    with pytest.raises(ValueError, match="plain"):
        absolute(url)
    with pytest.raises(HostError, match="plain"):
        check_public(url, {"IMGHOST_ALLOW_REMOTE": "h"})
    assert len(key_of(url)) == 64


def test_the_longest_url_is_meant() -> None:
    assert selected(f"https://h/{'x' * 1_990}", ALL)


def test_a_key_is_of_the_normalised_text_and_nothing_else_is_normalised() -> None:
    plain = "https://img.example/A%2fb.png?x=1&y"
    assert key_of(plain) == hashlib.sha256(plain.encode()).hexdigest()
    for same in ("HTTPS://IMG.Example/A%2fb.png?x=1&y#z", "//img.example:443/A%2fb.png?x=1&y", f"{plain}#"):
        assert key_of(same) == key_of(plain)
    for other in ("http://img.example/A%2fb.png?x=1&y", plain.lower(), plain.replace("%2f", "%2F"), f"{plain}&"):
        assert key_of(other) != key_of(plain)
    assert key_of("http://h:443/") != key_of("http://h/")
    assert key_of("http://h:080/") == key_of("http://h/")


def test_letters_outside_ascii_are_asked_as_utf_8_and_escapes_stay() -> None:
    assert absolute("//H:443/é a%20%zz.png?q=ü b#f") == "https://h/%C3%A9%20a%20%zz.png?q=%C3%BC%20b"


urls = st.text(st.sampled_from("htpsHTTPS:/@\\.#?%[]0129afx-_ \té{\u212a"), max_size=30)


@given(urls | st.builds("{}://{}".format, st.sampled_from(["http", "https"]), urls) | st.text())
def test_three_readers_agree_on_the_host_of_what_is_meant(url: str) -> None:
    assert len(key_of(url)) == 64
    if not selected(url, ALL):
        return
    asked = absolute(url)
    assert absolute(asked) == asked
    assert key_of(url) == key_of(str(external_url(url)))
    assert asked.isascii()
    found, split = external_url(url), urlsplit(asked)
    assert found
    assert (split.scheme, split.username, split.fragment) == (found.scheme, None, "")
    assert split.netloc == found.name
    try:
        client = httpx.URL(asked)
    except httpx.InvalidURL:
        return
    host = client.raw_host.decode()
    assert host == found.host or ip_address(host) == ip_address(found.host)
    assert client.userinfo == b""
