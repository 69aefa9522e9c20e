"""The HTTP client, against a real server that misbehaves on demand."""

import os
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from doubles.server import Fault, Reply, Request, Server
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import Action, HostError
from imghost.hosts.answers import error_code, moment, retry_after
from imghost.http import Answer, Client, FilePart

CANARY = "canary-5d1f0c"
SECRET = {"Authorization": f"Bearer {CANARY}"}


def echo(request: Request) -> Reply:
    return Reply.json({"path": request.path, "text": "x" * 200})


@contextmanager
def a_pair(route: Callable[[Request], Reply] = echo, timeout: float = 0.6) -> Iterator[tuple[Server, Client]]:
    with Server(route) as server, Client(timeout, environ={}) as client:
        yield server, client


@pytest.fixture
def part(tmp_path: Path) -> FilePart:
    file = tmp_path / "private-name.png"
    file.write_bytes(b"\x89PNG" + bytes(range(256)) * 40)
    return FilePart("image", "abc.png", "image/png", file)


def refused(client: Client, url: str, **given: object) -> HostError:
    """Give the error of a request that carries a secret, after a look for that secret everywhere in it."""
    with pytest.raises(HostError) as caught:
        client.send("POST", url, headers=SECRET, **given)  # type: ignore[arg-type]
    told = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert CANARY not in told
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


# What is sent


def test_a_file_arrives_as_it_is_with_the_fields_beside_it(part: FilePart) -> None:
    with a_pair() as (server, client):
        client.send("POST", f"{server.url}/x", form={"ttl": "30d"}, file=part)
        fields, files = server.log[0].form()
    assert fields == {"ttl": "30d"}
    assert files["image"].body == part.file.read_bytes()
    assert (files["image"].name, files["image"].media_type) == ("abc.png", "image/png")


def test_json_and_forms_arrive() -> None:
    with a_pair() as (server, client):
        client.send("POST", server.url, json={"a": [1]})
        client.send("POST", server.url, form={"a": "1 2"})
        assert server.log[0].json() == {"a": [1]}
        assert server.log[1].form() == ({"a": "1 2"}, {})


def test_requests_name_the_client_and_ask_for_plain_answers() -> None:
    with a_pair() as (server, client):
        client.send("GET", server.url)
        headers = server.log[0].headers
    assert headers["user-agent"].startswith("imghost/")
    assert headers["accept-encoding"] == "identity"


def test_a_connection_is_used_again_and_the_requests_are_counted() -> None:
    with a_pair() as (server, client):
        for _ in range(5):
            client.send("GET", server.url)
        assert (server.connections, client.requests) == (1, 5)


def test_threads_share_a_client() -> None:
    with a_pair(timeout=5) as (server, client):
        threads = [
            threading.Thread(target=lambda: [client.send("GET", server.url) for _ in range(10)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (client.requests, len(server.log)) == (80, 80)
        assert server.connections <= 8


def test_the_environment_of_the_process_and_netrc_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with a_pair() as (server, client):
        client.send("GET", server.url, headers=SECRET)
        assert server.log[0].bearer == CANARY


def test_a_cookie_is_not_sent_back() -> None:
    with a_pair(lambda _: Reply.json({}, Set_Cookie="a=b; Path=/")) as (server, client):
        client.send("GET", server.url)
        client.send("GET", server.url)
        assert "cookie" not in server.log[1].headers


@pytest.mark.skipif(sys.platform == "win32", reason="reads the peak of memory from the system")
def test_memory_stays_flat_however_large_the_file_is(tmp_path: Path) -> None:
    """60 MB are sent by a process whose peak grows by less than 20 MB over that of a small request."""
    import subprocess

    code = """
import resource, sys
from pathlib import Path
from imghost.http import Client, FilePart
url, file, small = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
with Client(environ={}) as client:
    client.send("POST", url, file=FilePart("image", "a.png", "image/png", small))
    before = peak()
    client.send("POST", url, file=FilePart("image", "a.png", "image/png", file))
    print(peak() - before)
"""
    large, small = tmp_path / "large", tmp_path / "small"
    with large.open("wb") as stream:
        stream.truncate(60_000_000)
    small.write_bytes(b"small")
    with Server(echo, swallow=True) as server:
        done = subprocess.run(
            [sys.executable, "-c", code, server.url, str(large), str(small)],
            check=True,
            capture_output=True,
            text=True,
        )
        assert server.received > 60_000_000
    assert int(done.stdout) < 20_000


# Faults: each ends in time, as what it is

AMBIGUOUS = (
    Fault.RESET_BEFORE_BODY,
    Fault.RESET_AFTER_BODY,
    Fault.RESET_AFTER_ROUTE,
    Fault.CLOSE_AFTER_ROUTE,
    Fault.HANG,
    Fault.HANG_AFTER_ROUTE,
    Fault.DRIP_HEADERS,
    Fault.DRIP_BODY,
    Fault.ENDLESS_100,
    Fault.SHORT_BODY,
    Fault.OVERSIZE_BODY,
    Fault.GZIP,
    Fault.MANY_HEADERS,
    Fault.LONG_HEADER,
    Fault.NOT_HTTP,
)


@pytest.mark.parametrize("fault", AMBIGUOUS, ids=lambda fault: fault.name)
def test_a_fault_ends_in_time_as_an_ambiguous_retry_and_the_next_request_succeeds(fault: Fault, part: FilePart) -> None:
    with a_pair() as (server, client):
        server.fail(fault)
        begin = time.monotonic()
        error = refused(client, f"{server.url}/{CANARY}?key={CANARY}", file=part)
        assert time.monotonic() - begin < 4
        assert (error.action, error.is_ambiguous) == (Action.RETRY, True)
        assert server.host in error.reason
        assert client.send("POST", server.url, file=part).status == 200


@pytest.mark.parametrize(
    "fault", [Fault.HTML_PAGE, Fault.TRUNCATED_JSON, Fault.SLOW, Fault.EARLY_413], ids=lambda fault: fault.name
)
def test_a_whole_answer_is_given_whatever_it_says(fault: Fault, part: FilePart) -> None:
    with a_pair() as (server, client):
        server.fail(fault)
        answer = client.send("POST", server.url, file=part)
    assert answer.status == (413 if fault is Fault.EARLY_413 else 200)


def test_an_answer_that_comes_before_the_body_is_sent_is_read(tmp_path: Path) -> None:
    """The host closes while megabytes are still to come, so the write fails before the answer is read."""
    file = tmp_path / "large.png"
    file.write_bytes(b"x" * 8_000_000)
    with a_pair(timeout=5) as (server, client):
        server.fail(Fault.EARLY_413)
        answer = client.send("POST", server.url, file=FilePart("image", "a.png", "image/png", file))
    assert (answer.status, error_code(answer)) == (413, ("file_too_large", ""))


def test_a_larger_upload_gets_more_time(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"x" * 100_000)
    with a_pair(timeout=0.4) as (server, client):
        server.fail(Fault.DRIP_HEADERS)
        begin = time.monotonic()
        refused(client, server.url, file=FilePart("image", "a.png", "image/png", file))
        assert 1.2 < time.monotonic() - begin < 4


def test_a_question_is_never_ambiguous() -> None:
    with a_pair() as (server, client):
        server.fail(Fault.CLOSE_AFTER_ROUTE)
        with pytest.raises(HostError) as caught:
            client.send("GET", server.url)
    assert not caught.value.is_ambiguous


def test_a_refused_connection_is_retried_and_not_ambiguous() -> None:
    with Server(echo) as server:
        url, host = server.url, server.host
    with Client(1, environ={}) as client:
        error = refused(client, url)
    assert (error.action, error.is_ambiguous) == (Action.RETRY, False)
    assert host in error.reason


def test_a_name_that_does_not_resolve_is_retried_and_not_ambiguous() -> None:
    with Client(1, environ={}) as client:
        error = refused(client, "http://imghost-test.invalid/")
    assert (error.action, error.is_ambiguous) == (Action.RETRY, False)
    assert "does not resolve" in error.reason


def test_a_file_that_is_gone_is_that_files_failure(part: FilePart) -> None:
    part.file.unlink()
    with a_pair() as (server, client):
        error = refused(client, server.url, file=part)
        assert (error.action, server.log) == (Action.FILE, [])


@pytest.mark.parametrize(
    "value", [f"{CANARY}\n", f"{CANARY}\r\nX-More: 1", f"{CANARY}\0", f"{CANARY}é", f"{CANARY}\ud800"]
)
def test_a_header_that_cannot_be_sent_stops_without_being_told(value: str) -> None:
    with a_pair() as (server, client):
        with pytest.raises(HostError) as caught:
            client.send("POST", server.url, headers={"Authorization": value})
        assert server.log == []
    assert caught.value.action is Action.STOP
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://127.0.0.1/", "http://", "http://[::1", "http://a:99999/", "http://\0/"]
)
def test_what_is_no_url_stops(url: str) -> None:
    with Client(1, environ={}) as client:
        assert refused(client, url).action is Action.STOP


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", ["Authorization", "X-Upload-Token", "PAYMENT-SIGNATURE", "X-PAYMENT"])
def test_a_redirect_is_an_answer_and_no_secret_reaches_its_target(status: int, name: str) -> None:
    with Server(echo) as evil, a_pair(lambda _: Reply.redirect(f"{evil.url}/", status)) as (server, client):
        answer = client.send("POST", server.url, headers={name: CANARY}, json={})
        assert answer.status == status
        assert evil.log == []


@pytest.mark.parametrize("location", ["http://[", "http://\u00ad/", "javascript:x", "\\\\evil", "//", "?" * 5_000])
def test_an_odd_redirect_is_an_answer_to_send_and_refused_by_fetch(location: str) -> None:
    with a_pair(lambda _: Reply.redirect(location)) as (server, client):
        assert client.send("POST", server.url).status == 302
        with pytest.raises(HostError):
            client.fetch(server.url)


def test_fetch_follows_redirects_on_the_same_origin_only() -> None:
    def route(request: Request) -> Reply:
        return Reply.redirect("/image.png") if request.path == "/a" else Reply.image(b"\x89PNG", "image/png")

    with a_pair(route) as (server, client):
        assert client.fetch(f"{server.url}/a").body == b"\x89PNG"
    with Server(route) as other, a_pair(lambda _: Reply.redirect(f"{other.url}/image.png")) as (server, client):
        with pytest.raises(HostError) as caught:
            client.fetch(server.url)
        assert caught.value.action is Action.FILE
        assert other.log == []


def test_fetch_gives_up_after_three_redirects() -> None:
    with a_pair(lambda request: Reply.redirect(request.path + "x")) as (server, client):
        with pytest.raises(HostError, match="three times"):
            client.fetch(f"{server.url}/x")
        assert len(server.log) == 4


def test_fetch_cuts_the_body_and_reads_no_further() -> None:
    with a_pair(lambda _: Reply.image(b"i" * 5_000_000, "image/png")) as (server, client):
        answer = client.fetch(server.url, limit=1_000)
        assert answer.body == b"i" * 1_000
        assert client.fetch(server.url, limit=10).status == 200


def test_a_body_of_just_the_limit_is_whole() -> None:
    with a_pair(lambda _: Reply(200, b"x" * 1_000)) as (server, client):
        assert len(client.send("GET", server.url, limit=1_000).body) == 1_000
        with pytest.raises(HostError, match="too long"):
            client.send("GET", server.url, limit=999)


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, str]:
    trustme = pytest.importorskip("trustme")
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


@pytest.mark.parametrize("wrong", ["host", "authority", "date", "no TLS"])
def test_a_bad_certificate_stops_before_anything_is_sent(authority: tuple[object, str], wrong: str) -> None:
    import datetime

    import trustme

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


def test_certificates_that_cannot_be_read_are_named() -> None:
    with Client(1, environ={"SSL_CERT_FILE": "missing.pem"}) as client:
        assert "SSL_CERT_FILE" in refused(client, "https://localhost:9/").remedy


# Proxies


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
    assert ("407" in error.reason) == (way == "407")


@pytest.mark.parametrize("text", ["socks5://127.0.0.1:1080", "http://", "http://a:b", f"://{CANARY}@", "http://[::1"])
def test_a_proxy_of_another_kind_stops_by_its_variables_name(text: str) -> None:
    with Client(1, environ={"HTTPS_PROXY": text}) as client:
        error = refused(client, "https://localhost:9/")
    assert (error.action, "HTTPS_PROXY" in error.reason) == (Action.STOP, True)


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
    from imghost.proxies import proxy_for

    found = proxy_for("api.example.org", 443, {"https_proxy": "proxy.local:3128", "no_proxy": listed})
    assert (found is None) is is_exempt
    assert is_exempt or str(found) == "proxy.local:3128"


# Answers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"<html>",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"[1e999]",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 10_000,
    ],
    ids=repr,
)
def test_json_that_readers_disagree_on_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the texts are the standard library's
        Answer(200, {}, body).json()


@given(st.binary(max_size=200))
def test_reading_an_answer_never_breaks(body: bytes) -> None:
    answer = Answer(400, {"retry-after": body.decode("latin-1"), "date": "x"}, body)
    code, message = error_code(answer)
    wait = retry_after(answer)
    assert isinstance(code, str)
    assert isinstance(message, str)
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"error": "gone", "message": "m"}', ("gone", "m")),
        (b'{"error": {"type": "t", "code": "gone", "message": "m"}}', ("gone", "m")),
        (b'{"error": {"code": 5}, "message": "m"}', ("", "")),
        (b'{"code": "gone"}', ("gone", "")),
        (b'{"error": ["gone"]}', ("", "")),
        (b'"gone"', ("", "")),
        (b"<h1>502</h1>", ("", "")),
    ],
)
def test_an_error_is_read_in_each_form(body: bytes, found: tuple[str, str]) -> None:
    assert error_code(Answer(400, {}, body)) == found


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("0", 0.0),
        ("60", 60.0),
        ("999999999", 999_999_999.0),
        ("Wed, 21 Oct 2026 07:29:00 GMT", 60.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("-5", None),
        ("1e9", None),
        ("NaN", None),
        ("", None),
        ("soon", None),
        ("٣", None),
        ("9" * 400, None),
    ],
)
def test_a_waiting_time_is_read_against_the_hosts_clock(text: str, wait: float | None) -> None:
    answer = Answer(429, {"retry-after": text, "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"")
    assert retry_after(answer) == wait


@pytest.mark.parametrize("value", [True, [], {}, "", "soon", 1e300, -1e300, float("nan"), "9999-12-31T23:59:59-14:00"])
def test_what_is_no_date_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="no date"):
        moment(value)


def test_dates_come_in_three_forms() -> None:
    assert moment(None) is None
    assert moment("2026-02-17T00:00:00Z") == moment(1_771_286_400) == moment("2026-02-17T01:00:00+01:00")


@contextmanager
def a_tunnel(port: int) -> Iterator[tuple[int, list[bytes]]]:
    """Run a proxy that answers CONNECT and leads to one local port; gives its port and what it was asked."""
    import socket

    asked: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def start(target: Callable[..., None], *given: object) -> None:
        threads.append(threading.Thread(target=target, args=given, daemon=True))
        threads[-1].start()

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while chunk := source.recv(65536):
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

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


def test_importing_the_client_leaves_httpx_alone() -> None:
    import subprocess

    code = "import imghost.http, sys; sys.exit(any(name in sys.modules for name in ('httpx', 'httpcore', 'ssl')))"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
