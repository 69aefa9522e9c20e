"""What the HTTP client sends and follows, against a real server."""

import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from doubles.exchange import CANARY, SECRET, a_pair, echo
from doubles.server import Reply, Request, Server
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import Action, HostError
from imghost.net import Client, FilePart
from imghost.net.wire import _JOINED, _Joined


@pytest.fixture
def part(tmp_path: Path) -> FilePart:
    file = tmp_path / "private-name.png"
    file.write_bytes(b"\x89PNG" + bytes(range(256)) * 40)
    return FilePart("image", "abc.png", "image/png", file)


def test_a_file_arrives_as_it_is_with_the_fields_beside_it(part: FilePart) -> None:
    with a_pair() as (server, client):
        client.send("POST", f"{server.url}/x", form={"ttl": "30d"}, file=part)
        fields, files = server.log[0].form()
    assert fields == {"ttl": "30d"}
    assert files["image"].body == part.file.read_bytes()
    assert (files["image"].name, files["image"].media_type) == ("abc.png", "image/png")


@given(st.lists(st.binary(max_size=40) | st.integers(0, 200_000).map(bytes), max_size=12))
def test_a_body_goes_out_whole_in_large_pieces(parts: list[bytes]) -> None:
    """A form's fields, lines and file are parts of their own; each sent alone would be a packet and a wait."""
    pieces = list(_Joined(parts))
    assert b"".join(pieces) == b"".join(parts)
    assert all(pieces)
    assert all(len(piece) <= max(_JOINED, *map(len, parts)) for piece in pieces)
    assert all(len(one) + len(other) > _JOINED for one, other in pairwise(pieces))


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


def test_an_idle_connection_makes_way_where_there_may_be_no_more() -> None:
    """Images stand at any number of servers, and each connection is an open file."""
    for most, connected in ((1, 2), (2, 1)):
        with a_pair() as (server, _), a_pair() as (other, _), Client(connections=most) as client:
            for url in (server.url, other.url, server.url):
                client.fetch(url)
            assert server.connections == connected


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    with a_pair(lambda _: Reply.json({})) as (server, client):
        client.send("GET", server.url)
        server.hang_up()
        client.send("POST", server.url, json={})
        assert server.connections == 2


def test_an_answer_that_was_not_read_to_its_end_takes_its_connection_along() -> None:
    with a_pair(lambda _: Reply(200, b"x" * 200_000)) as (server, client):
        assert [len(client.fetch(server.url, limit=10).body) for _ in range(2)] == [10, 10]
        assert server.connections == 2


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
    code = """
import resource, sys
from pathlib import Path
from imghost.net import Client, FilePart
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


def test_importing_the_client_leaves_httpx_alone() -> None:
    code = "import imghost.net, sys; sys.exit(any(name in sys.modules for name in ('httpx', 'httpcore', 'ssl')))"
    subprocess.run([sys.executable, "-c", code], check=True)
