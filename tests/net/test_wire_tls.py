"""TLS and proxies: certificates are always verified, and a proxy only ever leads to TLS."""

import base64
import datetime
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from doubles.exchange import CANARY, SECRET, echo, refused
from doubles.server import Fault, Reply, Server

from imghost.errors import Action, HostError
from imghost.net import Client, FilePart
from imghost.net.wire import proxy_for


@pytest.fixture
def part(tmp_path: Path) -> FilePart:
    file = tmp_path / "private-name.png"
    file.write_bytes(b"\x89PNG" + bytes(range(256)) * 40)
    return FilePart("image", "abc.png", "image/png", file)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, str]:
    made = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(str(file))
    return made, str(file)


def certificate(issuer: object, name: str = "localhost", **given: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert(name, **given).configure_cert(context)  # type: ignore[attr-defined]
    return context


def test_a_good_certificate_connects_and_the_body_arrives(authority: tuple[object, str], part: FilePart) -> None:
    issuer, file = authority
    with Server(echo, certificate(issuer)) as server, Client(5, environ={"SSL_CERT_FILE": file}) as client:
        assert client.send("POST", server.url, file=part).status == 200
        assert server.log[0].form()[1]["image"].body == part.file.read_bytes()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("expired", "expired"), ("name", "localhost"), ("self-signed", "self-signed|self signed|issuer"), ("", "")],
)
def test_each_kind_of_certificate_is_one_clear_line(authority: tuple[object, str], wrong: str, words: str) -> None:
    issuer, file = authority
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    given = {"not_before": past, "not_after": past + datetime.timedelta(days=1)} if wrong == "expired" else {}
    name = "other.example" if wrong == "name" else "localhost"
    context = certificate(trustme.CA() if wrong == "self-signed" else issuer, name, **given)
    with Server(echo, context) as server, Client(5, environ={"SSL_CERT_FILE": file}) as client:
        if not wrong:
            assert client.send("GET", server.url).status == 200
            return
        error = refused(client, f"https://localhost:{server.port}/")
    assert str(error).isprintable()
    assert re.search(words, error.reason), error.reason
    assert "cannot be trusted" in error.reason


@pytest.mark.parametrize("wrong", ["host", "authority", "date", "no TLS"])
def test_a_bad_certificate_stops_before_anything_is_sent(authority: tuple[object, str], wrong: str) -> None:
    issuer, file = authority
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    contexts = {
        "host": lambda: certificate(issuer, "other.example"),
        "authority": lambda: certificate(trustme.CA()),
        "date": lambda: certificate(issuer, not_before=past, not_after=past + datetime.timedelta(days=1)),
        "no TLS": lambda: None,
    }
    with Server(echo, contexts[wrong]()) as server, Client(2, environ={"SSL_CERT_FILE": file}) as client:
        error = refused(client, f"https://localhost:{server.port}/")
        assert server.log == []
    assert not error.is_ambiguous
    assert CANARY not in str(error)
    if wrong != "no TLS":
        assert error.action is Action.STOP
        assert "cannot be trusted" in error.reason
        assert "SSL_CERT_FILE" in error.remedy


@pytest.mark.parametrize("is_reset", [True, False])
def test_a_connection_that_ends_while_tls_begins_is_worth_another_try(*, is_reset: bool) -> None:
    """A restarting server or a full one does so: that says nothing of its certificate, and stops no run."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def leave() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", int(is_reset), 0))
            connection.close()

        leaving = threading.Thread(target=leave, daemon=True)
        leaving.start()
        with Client(2, environ={}) as client:
            error = refused(client, f"https://127.0.0.1:{listener.getsockname()[1]}/")
        leaving.join(5)
    assert (error.action, error.is_ambiguous) == (Action.RETRY, False)
    assert error.reason.endswith("broke off while TLS began")


def test_certificates_that_cannot_be_read_are_named() -> None:
    with Client(1, environ={"SSL_CERT_FILE": "missing.pem"}) as client:
        assert "SSL_CERT_FILE" in refused(client, "https://localhost:9/").remedy


def test_https_goes_through_the_proxy_and_http_does_not(authority: tuple[object, str]) -> None:
    issuer, file = authority
    with Server(echo, certificate(issuer)) as server, a_tunnel(server.port) as (port, asked):
        environ = {"SSL_CERT_FILE": file, "HTTPS_PROXY": f"http://somebody:pass%21{CANARY}@127.0.0.1:{port}"}
        with Client(5, environ=environ) as client:
            assert client.send("GET", server.url, headers=SECRET).status == 200
            assert server.log[0].bearer == CANARY
            with Server(echo) as plain:
                client.send("GET", plain.url)
        with Client(5, environ={**environ, "NO_PROXY": "localhost"}) as client:
            client.send("GET", server.url)
    assert len(asked) == 1
    assert asked[0].startswith(f"CONNECT localhost:{server.port} ".encode())
    assert CANARY.encode() not in asked[0]
    assert b"\r\nProxy-Authorization: Basic " + base64.b64encode(f"somebody:pass!{CANARY}".encode()) in asked[0]


def test_what_went_to_the_proxy_is_no_part_of_the_request(authority: tuple[object, str]) -> None:
    """A header that is refused behind a new tunnel stops, as if nothing had been sent."""
    issuer, file = authority
    headers = {"Authorization": f"{CANARY}\r\n"}
    with Server(echo, certificate(issuer)) as server, a_tunnel(server.port) as (port, _):
        environ = {"SSL_CERT_FILE": file, "ALL_PROXY": f"127.0.0.1:{port}"}
        with Client(5, environ=environ) as client, pytest.raises(HostError) as caught:
            client.send("POST", server.url, headers=headers)
        assert server.log == []
    assert (caught.value.action, caught.value.is_ambiguous) == (Action.STOP, False)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "all_proxy"])
@pytest.mark.parametrize("way", ["refused", "407", "dropped", "not a proxy"])
def test_a_proxy_that_does_not_lead_on_stops_and_is_named_without_its_password(name: str, way: str) -> None:
    with Server(lambda _: Reply(407, b"who are you?")) as server:
        if way == "dropped":
            server.fail(Fault.RESET_AFTER_BODY)
        if way == "not a proxy":
            server.fail(Fault.NOT_HTTP)
        port = 9 if way == "refused" else server.port
        with Client(2, environ={name: f"http://somebody:{CANARY}@127.0.0.1:{port}"}) as client:
            error = refused(client, "https://localhost:9/")
    assert (error.action, error.is_ambiguous) == (Action.STOP, False)
    assert f"127.0.0.1:{port}" in error.reason
    assert ("(407" in error.reason) == (way == "407")


@pytest.mark.parametrize("text", ["socks5://127.0.0.1:1080", "http://", "http://a:b", f"://{CANARY}@", "http://[::1"])
def test_a_proxy_of_another_kind_stops_by_its_variables_name(text: str) -> None:
    with Client(1, environ={"HTTPS_PROXY": text}) as client:
        error = refused(client, "https://localhost:9/")
    assert (error.action, "HTTPS_PROXY" in error.reason) == (Action.STOP, True)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("proxy.local", "http://proxy.local:80"),
        ("http://proxy.local", "http://proxy.local:80"),
        ("https://proxy.local", "https://proxy.local:443"),
        ("https://somebody@proxy.local:3128", "https://proxy.local:3128"),
        ("http://[::1]", "http://[::1]:80"),
    ],
)
def test_a_proxy_without_a_port_listens_where_its_kind_does(text: str, url: str) -> None:
    found = proxy_for("api.example.org", 443, {"HTTPS_PROXY": text})
    assert found is not None
    assert (found.url, found.auth) == (url, (b"somebody", b"") if "@" in text else None)


@pytest.mark.parametrize(
    ("listed", "is_exempt"),
    [
        ("*", True),
        ("api.example.org", True),
        ("EXAMPLE.org", True),
        (".example.org", True),
        ("*.example.org", True),
        ("other.org, example.org:443", True),
        ("example.org:8443", False),
        ("ample.org", False),
        ("example.org.evil", False),
        ("", False),
    ],
)
def test_no_proxy_names_hosts_by_their_domain(listed: str, is_exempt: bool) -> None:
    found = proxy_for("api.example.org", 443, {"https_proxy": "proxy.local:3128", "no_proxy": listed})
    assert (found is None) is is_exempt
    assert is_exempt or str(found) == "proxy.local:3128"


@contextmanager
def a_tunnel(port: int) -> Iterator[tuple[int, list[bytes]]]:
    """Run a proxy that answers CONNECT and leads to one local port; gives its port and what it was asked."""
    asked: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def start(target: Callable[..., None], *given: object) -> None:
        threads.append(threading.Thread(target=target, args=given, daemon=True))
        threads[-1].start()

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                target.sendall(chunk)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def lead(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            asked.append(client.recv(65536))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=pump, args=(server, client), daemon=True)
            back.start()
            pump(client, server)
            back.join(5)

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            if not client.recv(1, socket.MSG_PEEK):
                client.close()
                return
            start(lead, client)

    start(accept)
    try:
        yield listener.getsockname()[1], asked
    finally:
        socket.create_connection(listener.getsockname()).close()
        for thread in list(threads):
            thread.join(5)
        listener.close()


@pytest.mark.parametrize(
    ("host", "listed", "is_proxied"),
    [
        ("::1", "::1", False),
        ("::1", "[::1]", False),
        ("::1", "[::1]:443", False),
        ("::1", "[::1]:8443", True),
        ("2001:db8::5", "2001:db8::/32", False),
        ("2001:db9::5", "2001:db8::/32", True),
        ("10.1.2.3", "10.0.0.0/8", False),
        ("11.1.2.3", "10.0.0.0/8 10.1.2.3:443", True),
        ("10.1.2.3", "10.1.2.3", False),
        ("host.example", "10.0.0.0/8,.example", False),
        ("host.example", "::1 example:8443", True),
    ],
)
def test_no_proxy_takes_addresses_and_networks_as_other_tools_do(host: str, listed: str, is_proxied: bool) -> None:
    environ = {"HTTPS_PROXY": "proxy.local:3128", "NO_PROXY": listed}
    assert (proxy_for(host, 443, environ) is not None) is is_proxied


def test_a_tunnel_to_an_address_of_the_sixth_version_is_asked_for_in_brackets() -> None:
    with Server(echo) as plain, a_tunnel(plain.port) as (port, asked):
        environ = {"HTTPS_PROXY": f"127.0.0.1:{port}"}
        with Client(2, environ=environ) as client, pytest.raises(HostError):
            client.send("GET", "https://[::1]:9/")
    assert asked[0].startswith(b"CONNECT [::1]:9 HTTP/1.1\r\n")
    assert b"Host: [::1]:9\r\n" in asked[0]


def test_the_bundle_that_aws_tools_read_is_read(authority: tuple[object, str]) -> None:
    issuer, file = authority
    with Server(echo, certificate(issuer)) as server, Client(5, environ={"AWS_CA_BUNDLE": file}) as client:
        assert client.send("GET", server.url).status == 200
