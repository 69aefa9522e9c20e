"""Images brought home from real servers: what is sent, what is refused, and that nothing stays behind."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
from doubles.server import Fault, Reply, Request, Server

from imghost.errors import Action, HostError
from imghost.net.download import download

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 400


def image(request: Request) -> Reply:
    return Reply.image(PNG, "image/png")


def allowing(*servers: Server) -> dict[str, str]:
    return {"IMGHOST_ALLOW_REMOTE": " ".join(server.host for server in servers)}


def refused(url: str, folder: Path, environ: dict[str, str], **given: object) -> HostError:
    """Give the error of a download, after a look at what it left behind and what it tells."""
    with pytest.raises(HostError) as caught:
        download(url, folder, environ=environ, **given)  # type: ignore[arg-type]
    assert list(folder.iterdir()) == []
    assert "hidden" not in "".join(traceback.format_exception(caught.value))
    assert str(caught.value).isprintable()
    assert not caught.value.is_ambiguous
    return caught.value


def test_an_image_arrives_whole_in_a_private_file(tmp_path: Path) -> None:
    with Server(image) as server:
        file = download(f"{server.url}/a%20b/c d.png?v=1#part", tmp_path, environ=allowing(server))
        assert server.log[0].target == "/a%20b/c%20d.png?v=1"
    assert file.read_bytes() == PNG
    assert list(tmp_path.iterdir()) == [file]
    if os.name == "posix":
        assert file.stat().st_mode & 0o777 == 0o600


def test_nothing_is_sent_but_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    def route(request: Request) -> Reply:
        if request.path == "/2":
            return image(request)
        return Reply(302, b"", (("Location", "/2"), ("Set-Cookie", "a=b; Path=/")))

    environ = {"IMGPRO_API_KEY": "hidden", "IMG402_PRIVATE_KEY": "hidden"}
    with Server(route) as server:
        download(f"{server.url}/1", tmp_path, environ={**environ, **allowing(server)})
        assert [request.method for request in server.log] == ["GET", "GET"]
        for request in server.log:
            assert set(request.headers) <= {"host", "user-agent", "accept", "accept-encoding", "connection"}
            assert request.headers["accept-encoding"] == "identity"
            assert "hidden" not in str(request)


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(tmp_path: Path) -> None:
    """The name exists for nobody else, and the second look-up that would lead away never happens."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    with Server(image) as server:
        environ = {"IMGHOST_ALLOW_REMOTE": "images.test"}
        url = f"http://images.test:{server.port}/x.png"
        assert download(url, tmp_path, environ=environ, resolve=rebinding).read_bytes() == PNG
        assert server.log[0].headers["host"] == f"images.test:{server.port}"
    assert asked == ["images.test"]


def test_a_name_that_leads_to_loopback_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with Server(image) as server:
        for url in (f"http://localhost:{server.port}/?hidden", f"http://127.0.0.1:{server.port}/?hidden"):
            error = refused(url, tmp_path, {})
            assert error.action is Action.FILE
        error = refused("http://images.test/?hidden", tmp_path, {}, resolve=lambda *_: ["127.0.0.1"])
        assert "images.test resolves to an address that is not public" in error.reason
        assert server.connections == 0


@pytest.mark.parametrize(
    "place",
    [
        "http://127.0.0.1/", "http://localhost/", "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://0.0.0.0/", "http://2130706433/", "http://0177.1/",
        "http://1.1.1.1:22/", "//localhost/", "http://hidden:hidden@1.1.1.1/", "file:///etc/passwd", "ftp://1.1.1.1/",
        "data:image/png;base64,AAAA", "https://", "http://[", "",
    ],
)  # fmt: skip
def test_a_redirect_is_checked_as_the_first_url_was(tmp_path: Path, place: str) -> None:
    with Server(lambda request: Reply.redirect(place)) as server:
        assert refused(f"{server.url}/?hidden", tmp_path, allowing(server)).action is Action.FILE
        assert len(server.log) == 1


@pytest.mark.parametrize("status", [301, 303, 307, 308])
def test_every_kind_of_redirect_is_checked(tmp_path: Path, status: int) -> None:
    with Server(lambda request: Reply.redirect("http://127.0.0.1/", status)) as server:
        assert "not public" in refused(server.url, tmp_path, allowing(server)).reason


def test_a_redirect_from_an_allowed_server_to_another_is_refused(tmp_path: Path) -> None:
    with Server(image) as inner, Server(lambda _: Reply.redirect(f"{inner.url}/x.png")) as outer:
        assert refused(f"{outer.url}/x.png", tmp_path, allowing(outer)).action is Action.FILE
        assert inner.connections == 0
        assert download(f"{outer.url}/x.png", tmp_path, environ=allowing(outer, inner)).read_bytes() == PNG


@pytest.mark.parametrize(("hops", "is_fine"), [(3, True), (4, False)])
def test_three_redirects_are_followed_and_a_fourth_is_not(tmp_path: Path, hops: int, is_fine: bool) -> None:
    def route(request: Request) -> Reply:
        number = int(request.path[1:])
        return Reply.redirect(f"/{number + 1}") if number < hops else image(request)

    with Server(route) as server:
        if is_fine:
            assert download(f"{server.url}/0", tmp_path, environ=allowing(server)).read_bytes() == PNG
        else:
            assert "more than 3 times" in refused(f"{server.url}/0", tmp_path, allowing(server)).reason
        assert len(server.log) == 4


def test_a_redirect_to_itself_ends(tmp_path: Path) -> None:
    with Server(lambda request: Reply.redirect(request.target)) as server:
        assert "redirects" in refused(f"{server.url}/x?hidden", tmp_path, allowing(server)).reason
        assert len(server.log) == 4


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://hidden:hidden@h/", "ftp://h/x", "x.png", "", "http://"])
def test_what_is_no_plain_web_address_is_refused_without_showing_it(tmp_path: Path, url: str) -> None:
    error = refused(url, tmp_path, {})
    assert (error.action, "plain" in error.reason) == (Action.FILE, True)


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (Reply(200, b"<!doctype html>", (("Content-Type", "text/html; charset=utf-8"),)), "text/html"),
        (Reply(200, PNG, (("Content-Type", "image/png, text/html"),)), "text/html"),
        (Reply(200, PNG, (("Content-Type", "\x1b[2J::error::"),)), "in place of an image"),
        (Reply(200, PNG), "in place of an image"),
        (Reply.image(PNG * 20, "image/png"), "more than 1,000,000 bytes"),
        (Reply(404, b"", (("Content-Type", "image/png"),)), "answered 404"),
        (Reply(206, PNG, (("Content-Type", "image/png"),)), "answered 206"),
        (Reply(204, b""), "answered 204"),
        (Reply(401, b"", (("WWW-Authenticate", "Basic"),)), "answered 401"),
        (Reply(200, PNG, (("Content-Type", "image/png"), ("Content-Encoding", "gzip"))), "compressed"),
    ],
)
def test_an_answer_that_is_no_image_of_its_size_stays_away(tmp_path: Path, reply: Reply, word: str) -> None:
    with Server(lambda _: reply) as server:
        error = refused(f"{server.url}/x.png?hidden", tmp_path, allowing(server), limit=1_000_000)
        assert (error.action, word in error.reason) == (Action.FILE, True), error
        assert server.host in error.reason


def test_a_body_without_a_length_is_counted_as_it_comes(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = threading.Thread(target=send_long_body, args=[listener])
        sender.start()
        port = listener.getsockname()[1]
        environ = {"IMGHOST_ALLOW_REMOTE": f"127.0.0.1:{port}"}
        error = refused(f"http://127.0.0.1:{port}/", tmp_path, environ, limit=1_000_000)
        sender.join()
    assert (error.action, "1,000,000" in error.reason) == (Action.FILE, True)


def send_long_body(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection, suppress(OSError):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(1_000):
            connection.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_trouble_that_passes_is_worth_another_try(tmp_path: Path, status: int) -> None:
    with Server(lambda _: Reply(status)) as server:
        assert refused(f"{server.url}/?hidden", tmp_path, allowing(server)).action is Action.RETRY


@pytest.mark.parametrize(
    ("fault", "action"),
    [
        (Fault.RESET_AFTER_BODY, Action.RETRY),
        (Fault.CLOSE_AFTER_ROUTE, Action.RETRY),
        (Fault.HANG, Action.RETRY),
        (Fault.DRIP_HEADERS, Action.RETRY),
        (Fault.DRIP_BODY, Action.RETRY),
        (Fault.ENDLESS_100, Action.RETRY),
        (Fault.SHORT_BODY, Action.RETRY),
        (Fault.NOT_HTTP, Action.RETRY),
        (Fault.GZIP, Action.FILE),
        (Fault.MANY_HEADERS, Action.FILE),
        (Fault.HTML_PAGE, Action.FILE),
    ],
    ids=lambda given: given.name,
)
def test_a_fault_ends_in_time_and_leaves_no_file(tmp_path: Path, fault: Fault, action: Action) -> None:
    with Server(image) as server:
        server.fail(fault)
        begin = time.monotonic()
        error = refused(f"{server.url}/x.png?hidden", tmp_path, allowing(server), timeout=0.5)
        assert time.monotonic() - begin < 2
    assert error.action is action
    assert server.host in error.reason


def test_the_time_is_for_all_redirects_and_look_ups_together(tmp_path: Path) -> None:
    with Server(lambda request: Reply.redirect("/again")) as server:
        server.fail(*[Fault.SLOW] * 4)
        begin = time.monotonic()
        assert refused(server.url, tmp_path, allowing(server), timeout=0.8).action is Action.RETRY
        assert time.monotonic() - begin < 1.5

    def slow(host: str, port: int) -> Sequence[str]:
        time.sleep(1)
        return ["127.0.0.1"]

    begin = time.monotonic()
    assert "does not resolve" in refused("http://images.test/", tmp_path, {}, timeout=0.2, resolve=slow).reason
    assert time.monotonic() - begin < 0.8


def test_a_port_where_nobody_listens_is_worth_another_try(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environ = {"IMGHOST_ALLOW_REMOTE": "127.0.0.1"}
    assert refused(f"http://127.0.0.1:{port}/?hidden", tmp_path, environ).action is Action.RETRY


def test_a_folder_that_cannot_be_written_is_no_traceback(tmp_path: Path) -> None:
    with Server(image) as server, pytest.raises(HostError, match="cannot be written") as caught:
        download(server.url, tmp_path / "missing", environ=allowing(server))
    assert caught.value.action is Action.FILE


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, str]:
    made = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(str(file))
    return made, str(file)


def certificate(issuer: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert(name).configure_cert(context)
    return context


def test_tls_verifies_the_name_although_an_address_is_connected_to(
    tmp_path: Path, authority: tuple[trustme.CA, str]
) -> None:
    issuer, file = authority
    with Server(image, certificate(issuer, "images.test")) as server:
        environ = {"SSL_CERT_FILE": file, "IMGHOST_ALLOW_REMOTE": "images.test other.test"}
        found = download(
            f"https://images.test:{server.port}/", tmp_path, environ=environ, resolve=lambda *_: ["127.0.0.1"]
        )
        assert found.read_bytes() == PNG
        found.unlink()
        url = f"https://other.test:{server.port}/"
        error = refused(url, tmp_path, environ, resolve=lambda *_: ["127.0.0.1"])
    assert (error.action, "cannot be trusted" in error.reason) == (Action.FILE, True)


def test_a_redirect_from_https_to_http_is_refused(tmp_path: Path, authority: tuple[trustme.CA, str]) -> None:
    issuer, file = authority
    with (
        Server(image) as plain,
        Server(lambda _: Reply.redirect(plain.url), certificate(issuer, "localhost")) as secure,
    ):
        error = refused(secure.url, tmp_path, {"SSL_CERT_FILE": file, **allowing(plain, secure)})
        assert "from https to http" in error.reason
        assert plain.connections == 0


def test_a_proxy_is_asked_only_for_what_was_checked_here(tmp_path: Path) -> None:
    with Server(lambda _: Reply(403)) as proxy:
        environ = {"HTTPS_PROXY": f"http://somebody:hidden@{proxy.host}"}
        error = refused("https://images.test/x", tmp_path, environ, resolve=lambda *_: ["10.0.0.1"])
        assert "not public" in error.reason
        assert proxy.connections == 0
        error = refused("https://images.test/x", tmp_path, environ, resolve=lambda *_: ["1.1.1.1"])
        assert (error.action, "proxy" in error.reason) == (Action.FILE, True)
        assert [(request.method, request.target) for request in proxy.log] == [("CONNECT", "images.test:443")]
