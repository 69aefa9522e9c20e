"""img.pro's addresses are checked, and its key stays hidden."""

import json
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from doubles.hostile import HOSTILE_URLS
from doubles.imgpro import VERIFIED
from doubles.server import Fault, Reply, Request, Server
from hosts.imgpro_setup import EITHER, GENERATIONS, Answering, a_host, a_payload, offline, open_both, refused
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import Action, HostError
from imghost.hosts.imgpro.host import ImgPro
from imghost.models import Payload
from imghost.net import Client


@pytest.fixture(scope="module")
def answering() -> Iterator[Answering]:
    with open_both() as both:
        yield both


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize(
    "media",
    [
        {"id": "a", "src": "https://src.img.pro/t/a.jpeg", "url": "https://img.pro/a", "unknown": [{}]},
        {"id": "a", "url": "https://src.img.pro/t/a.jpeg", "object": "image"},
        {"id": "a", "url": "https://src.img.pro/t/a.jpeg", "page_url": "https://img.pro/a", "src": 7},
        {"success": True, "data": {"id": "a", "src": "https://src.img.pro/t/a.jpeg"}},
    ],
)
def test_the_answers_shape_decides_which_field_is_the_image(
    answering: Answering, tmp_path: Path, status: int, media: object
) -> None:
    for double, host in (answering[:2], answering[2:]):
        double.answer_next(Reply.json(media, status))
        assert host.upload(a_payload(tmp_path)).url == "https://src.img.pro/t/a.jpeg"


@pytest.mark.parametrize(
    "media",
    [
        {"id": "a", "url": "https://img.pro/a"},
        {"id": "a", "link": "https://img.pro/a"},
        {"id": "a", "object": "image", "url": "https://img.pro/a"},
        {"id": "a", "src": "https://img.pro/a"},
        {"id": "a", "src": "https://img.pro/a.png"},
    ],
)
def test_a_page_about_the_image_is_refused(answering: Answering, tmp_path: Path, media: object) -> None:
    for double, host in (answering[:2], answering[2:]):
        double.answer_next(Reply.json(media, 201))
        assert refused(host, a_payload(tmp_path)).action in {Action.STOP, Action.FILE}


HOSTILE = [url.replace("i.img402.dev", "src.img.pro") if isinstance(url, str) else url for url in HOSTILE_URLS]


LEGITIMATE = "https://src.img.pro/4j2/abc_1-2.jpeg"


@pytest.mark.parametrize("url", HOSTILE)
def test_no_hostile_url_is_accepted(answering: Answering, tmp_path: Path, url: object) -> None:
    assert len(HOSTILE) >= 64
    double, host, _, _ = answering
    double.answer_next(Reply.json({"id": "a", "src": url}, 201))
    error = refused(host, a_payload(tmp_path))
    assert error.is_ambiguous
    assert error.reason.isprintable()
    assert not isinstance(url, str) or not host.accepts(url)


OFFLINE = offline()


@given(st.text())
def test_nothing_but_an_image_address_is_accepted(text: str) -> None:
    host = OFFLINE
    assert host.accepts(LEGITIMATE)
    assert not host.accepts(text)
    assert not host.accepts(LEGITIMATE + (text or " "))
    assert not host.accepts((text or " ") + LEGITIMATE)


@pytest.mark.parametrize(
    ("url", "is_accepted"),
    [
        ("https://src.img.pro/a.png", True),
        ("https://src.img.pro/t/a.png", True),
        ("https://src.img.pro/t/u/a.avif", True),
        ("https://src.img.pro/t/a.jpg?size=s", True),
        ("https://src.img.pro/t/a.jpg?format=webp&w=640", True),
        ("https://src.img.pro/t/u/v/a.png", False),
        ("https://src.img.pro/t/a", False),
        ("https://src.img.pro/t/a.svg", False),
        ("https://src.img.pro/t/a.html", False),
        ("https://src.img.pro/t/a.png?", False),
        ('https://src.img.pro/t/a.png?w="', False),
        ("https://src.img.pro/t/a.png?w=%22", False),
        ("https://src.img.pro/t/a.png#only-dark", False),
        ("http://src.img.pro/t/a.png", False),
        ("https://img.pro/abc123", False),
        ("https://img.pro/abc123.png", False),
        ("https://cdn.example/x/y/z/u/a.png", True),
        ("http://cdn.example/a.png", False),
        ("https://cdn.example:8443/a.png", False),
        ("http://127.0.0.1:8080/t/a.png", True),
        ("http://127.0.0.1:8080/t/a", False),
        ("http://127.0.0.1:8081/t/a.png", False),
        ("https://127.0.0.1:8080/t/a.png", False),
    ],
)
def test_an_address_is_accepted_from_the_image_domain_and_where_the_settings_say(url: str, is_accepted: bool) -> None:
    host = offline(api_url="http://127.0.0.1:8080/v1", url_hosts=("cdn.example",))
    assert host.accepts(url) is is_accepted
    assert host.origins == ("https://src.img.pro", "http://127.0.0.1:8080", "https://cdn.example")
    assert offline().origins == ("https://src.img.pro",)


def test_a_redirect_never_takes_the_key_along(tmp_path: Path) -> None:
    with Server(lambda _: Reply.json({})) as evil, Client(environ={}) as client:
        for status in (301, 302, 303, 307, 308):
            with Server(lambda _, status=status: Reply.redirect(evil.url, status)) as server:  # type: ignore[misc]
                for api in GENERATIONS:
                    host = a_host(server.url, client, api=api)
                    with pytest.raises(HostError, match="redirects") as caught:
                        host.ready()
                    assert caught.value.action is Action.STOP
                    assert refused(host, a_payload(tmp_path)).action is Action.STOP
    assert not evil.log


def _echo(request: Request) -> Reply:
    """Repeat the key wherever a text is printed, as careless servers do."""
    key = request.bearer or ""
    link = {"url": f"https://img.pro/{key}"}
    error = {"code": key, "type": key, "message": f"bad key {key}", "action": link, "details": {key: [key]}}
    status = 422 if request.path == "/upload" else 500
    return Reply.json({"error": error, "id": key, "src": f"https://img.pro/{key}"}, status)


def _texts(host: ImgPro, payload: Payload) -> list[str]:
    """Let both requests fail, and give all that could be printed of it."""
    texts = [repr(host), str(vars(host))]
    for act in (host.ready, lambda: host.upload(payload)):
        with pytest.raises(HostError) as caught:
            act()
        texts += [str(caught.value), "".join(traceback.format_exception(caught.value))]
    return texts


KEYS = [VERIFIED, "img_live_" + "x" * 40, "a" * 256, "img_live_(.*)+[\\]", 'img"live"quote\\', "img/live/slash"]


@EITHER
@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_the_host_repeats_is_in_no_exception(tmp_path: Path, generation: str, key: str) -> None:
    with Server(_echo) as server, Client(5.0, environ={}) as client:
        texts = _texts(a_host(server.url, client, key, api=generation), a_payload(tmp_path))
    assert [request.bearer for request in server.log] == [key] * len(server.log)
    assert not any(key in text or json.dumps(key)[1:-1] in text for text in texts)


@pytest.mark.sampled(9)
@pytest.mark.parametrize("fault", Fault)
def test_the_key_is_in_no_exception_whatever_fails_on_the_wire(tmp_path: Path, fault: Fault) -> None:
    with Server(_echo) as server, Client(0.2, environ={}) as client:
        server.fail(fault, fault)
        texts = _texts(a_host(server.url, client, api="upload"), a_payload(tmp_path))
    assert not any(VERIFIED in text for text in texts)


def _acts(host: ImgPro, payload: Payload) -> list[str]:
    """Do all that a host can beside uploads, and give what could be printed of it."""
    texts = [repr(host)]
    acts = (host.usage, lambda: host.find(payload), lambda: list(host.listed()), lambda: host.bring("http://a.b/", "k"))
    for act in acts:
        try:
            texts.append(str(act()))
        except HostError as error:
            texts += [str(error), "".join(traceback.format_exception(error))]
    return [*texts, str(host.delete(["a", "b"]))]


@EITHER
@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_the_host_repeats_is_in_nothing_that_is_listed_found_or_deleted(
    tmp_path: Path, generation: str, key: str
) -> None:
    with Server(_echo) as server, Client(5.0, environ={}) as client:
        texts = _acts(a_host(server.url, client, key, api=generation, namespace="docs"), a_payload(tmp_path))
    assert [request.bearer for request in server.log] == [key] * len(server.log)
    assert len(server.log) >= 5
    assert not any(key in text or json.dumps(key)[1:-1] in text for text in texts)


@EITHER
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_that_a_host_can_follows_a_redirect(tmp_path: Path, generation: str, status: int) -> None:
    evil = Server(lambda _: Reply.json({}))
    with evil, Server(lambda _: Reply.redirect(evil.url, status)) as server, Client(5.0, environ={}) as client:
        texts = _acts(a_host(server.url, client, api=generation, namespace="docs"), a_payload(tmp_path))
    assert sum("redirects" in text for text in texts) >= 5
    assert not evil.log


FAULTS = [Fault.RESET_AFTER_ROUTE, Fault.HANG_AFTER_ROUTE, Fault.HTML_PAGE, Fault.OVERSIZE_BODY, Fault.GZIP]


@EITHER
@pytest.mark.parametrize("fault", FAULTS)
def test_a_deletion_that_breaks_on_the_wire_is_never_said_to_be_done(generation: str, fault: Fault) -> None:
    def answered(request: Request) -> Reply:
        media = {"id": "a", "object": "image", "url": "https://src.img.pro/t/a.png", "namespace": "docs"}
        media |= {"labels": {"imghost": "docs"}}  # type: ignore[dict-item]
        return Reply.json({"items": [media], "data": [media], "deleted": 1})

    with Server(answered) as server, Client(0.3, environ={}) as client:
        host = a_host(server.url, client, api=generation, namespace="docs")
        assert [one.id for one in host.listed()] == ["a"]
        server.fail(fault)
        assert list(host.delete(["a"])) == ["a"]
        assert host.delete(["a"]) == {}


@EITHER
@pytest.mark.parametrize(
    "errors",
    [
        7,
        [7],
        [{}],
        [{"id": 7}],
        [{"id": "b"}],
        [{"id": "a", "error": 7}],
        [{"id": "a", "error": {"message": "\x1b[2J\n::x"}}],
    ],
)
def test_no_answer_to_a_deletion_breaks_the_reading(generation: str, errors: object) -> None:
    server = Server(lambda _: Reply.json({"errors": errors, "deleted": "one", "id": "a"}))
    with server, Client(5.0, environ={}) as client:
        kept = a_host(server.url, client, api=generation, namespace="docs").delete(["a"])
    assert all(reason.isprintable() and "::" not in reason for reason in kept.values())
