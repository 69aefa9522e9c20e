"""imageupload.io's addresses are checked, and its key stays hidden."""

import json
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from doubles.hostile import HOSTILE_URLS
from doubles.imageupload import PRO
from doubles.imageupload import ImageUpload as Double
from doubles.server import Fault, Reply, Request, Server
from hosts.imageupload_setup import Opened, a_host, a_payload, offline, refused
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import Action, HostError
from imghost.hosts.imageupload.api import refused_upload
from imghost.hosts.imageupload.host import ImageUpload
from imghost.models import Payload
from imghost.net import Answer, Client


@pytest.fixture(scope="module")
def answering() -> Iterator[Opened]:
    with Double() as double, Client(5.0, environ={}) as client:
        yield double, a_host(double.api_url, client)


HOSTILE = [
    url.replace("i.img402.dev/", "imageupload.io/f/").replace("i.img402.dev", "imageupload.io")
    if isinstance(url, str)
    else url
    for url in HOSTILE_URLS
    if url != "https://img402.dev/a.png"
]
LEGITIMATE = "https://imageupload.io/f/aBc-1_2.jpg"


@pytest.mark.parametrize("url", HOSTILE)
def test_no_hostile_url_is_accepted(answering: Opened, tmp_path: Path, url: object) -> None:
    assert len(HOSTILE) >= 64
    double, _ = answering
    with Client(5.0, environ={}) as client:
        host = a_host(double.api_url, client)
        double.answer_next(Reply.json({"slug": "a", "direct_url": url, "expires_at": None}))
        error = refused(host, a_payload(tmp_path))
    assert error.is_ambiguous
    assert error.reason.isprintable()
    assert not isinstance(url, str) or not host.accepts(url)


OFFLINE = offline()


@given(st.text())
def test_nothing_but_an_image_address_is_accepted(text: str) -> None:
    assert OFFLINE.accepts(LEGITIMATE)
    assert not OFFLINE.accepts(text)
    assert not OFFLINE.accepts(LEGITIMATE + (text or " "))
    assert not OFFLINE.accepts((text or " ") + LEGITIMATE)


@pytest.mark.parametrize(
    ("url", "is_accepted"),
    [
        ("https://imageupload.io/f/abc.png", True),
        ("https://imageupload.io/f/abc.jpeg", True),
        ("https://imageupload.io/f/abc.avif", True),
        ("https://imageupload.io/i/abc", False),
        ("https://imageupload.io/i/abc.png", False),
        ("https://imageupload.io/ib/abcdefghijklmno_1690000000.png", False),
        ("https://imageupload.io/f/abc", False),
        ("https://imageupload.io/f/abc.svg", False),
        ("https://imageupload.io/f/x/abc.png", False),
        ("https://imageupload.io/f/abc.png?x=1", False),
        ("https://cdn.example/f/abc.png", True),
        ("https://cdn.example/i/abc.png", False),
        ("http://127.0.0.1:8080/f/abc.png", True),
        ("http://127.0.0.1:8081/f/abc.png", False),
        ("https://127.0.0.1:8080/f/abc.png", False),
    ],
)
def test_an_address_is_accepted_from_the_host_and_where_the_settings_say(url: str, is_accepted: bool) -> None:
    host = offline(api_url="http://127.0.0.1:8080", url_hosts=("cdn.example",))
    assert host.accepts(url) is is_accepted
    assert host.origins == ("https://imageupload.io", "http://127.0.0.1:8080", "https://cdn.example")
    assert OFFLINE.origins == ("https://imageupload.io",)


def _ask(host: ImageUpload, payload: Payload) -> list[Callable[[], object]]:
    return [host.usage, lambda: host.upload(payload), lambda: host.find(payload), host.ready]


def test_a_redirect_never_takes_the_key_along(tmp_path: Path) -> None:
    with Server(lambda _: Reply.json({})) as evil, Client(environ={}) as client:
        for status in (301, 302, 303, 307, 308):
            with Server(lambda _, status=status: Reply.redirect(evil.url, status)) as server:  # type: ignore[misc]
                host = a_host(server.url, client)
                for ask in _ask(host, a_payload(tmp_path))[:3]:
                    with pytest.raises(HostError, match="redirects") as caught:
                        ask()
                    assert caught.value.action is Action.STOP
    assert not evil.log


def _echo(request: Request) -> Reply:
    """Repeat the key wherever a text is printed, as careless servers do."""
    key = request.bearer or ""
    if request.path == "/mcp":
        text = json.dumps({"code": -32001, "message": f"bad key {key}"})
        return Reply.json({"id": 1, "result": {"isError": True, "content": [{"type": "text", "text": text}]}}, 200)
    return Reply.json({"error": f"bad key {key}", "quota": {"upgrade_url": f"/{key}"}}, 429)


def _page(request: Request) -> Reply:
    key = request.bearer or ""
    return Reply.json({"slug": "a", "direct_url": f"https://imageupload.io/f/{key}.png", "error": key, "id": 1})


def _texts(host: ImageUpload, payload: Payload) -> list[str]:
    """Let every request fail, and give all that could be printed of it."""
    texts = [repr(host), str(vars(host)), repr(vars(host._api)), repr(vars(host._listing))]
    for ask in _ask(host, payload):
        try:
            texts.append(repr(ask()))
        except HostError as problem:
            texts += [str(problem), repr(vars(problem)), "".join(traceback.format_exception(problem))]
    texts.append(repr(host.delete(["a"])))
    return texts


KEYS = [PRO, "iu_live_" + "x" * 40, "a" * 63, "iu_live_(.*)+[\\]", 'iu"live"quote\\', "iu/live/slash"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("route", [_echo, _page])
def test_a_key_that_the_host_repeats_is_in_no_text_and_no_address(
    tmp_path: Path, key: str, route: Callable[[Request], Reply]
) -> None:
    with Server(route) as server, Client(5.0, environ={}) as client:
        texts = _texts(a_host(server.url, client, key, folder="docs"), a_payload(tmp_path))
    assert {request.bearer for request in server.log} == {key}
    assert not any(key in text or json.dumps(key)[1:-1] in text for text in texts)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("fault", Fault)
def test_the_key_is_in_no_exception_whatever_fails_on_the_wire(tmp_path: Path, fault: Fault) -> None:
    with Server(_echo) as server, Client(0.15, environ={}) as client:
        server.fail(*[fault] * 5)
        texts = _texts(a_host(server.url, client), a_payload(tmp_path))
    assert not any(PRO in text for text in texts)


def test_words_of_the_host_are_printed_on_one_harmless_line(answering: Opened, tmp_path: Path) -> None:
    double, host = answering
    said = "\n::stop-commands::x\x1b[2J\u202e" + "y" * 5_000
    double.answer_next(Reply.json({"error": said}, 400))
    double.answer_tools(Reply.json({"id": 1, "error": {"code": -32000, "message": said}}, 500))
    for ask in (lambda: host.upload(a_payload(tmp_path)), host.usage):
        with pytest.raises(HostError) as caught:
            ask()
        assert str(caught.value).isprintable()
        assert "::" not in str(caught.value)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/pay",
        "//evil.example/pay",
        "javascript:alert(1)",
        "/a b",
        "/\n::error::x",
        "https://imageupload.io.evil.example/",
        "https://imageupload.io@evil.example/",
        "https://[",
        "/" + "x" * 500,
        7,
        None,
        [],
    ],
)
def test_a_link_that_leads_elsewhere_is_not_shown(link: object) -> None:
    body = json.dumps({"error": "quota", "quota": {"limit": 10, "upgrade_url": link}}).encode()
    error = refused_upload(Answer(429, {}, body), "https://imageupload.io")
    assert error.remedy.endswith(": https://imageupload.io/dashboard/profile#upgrade")
