"""External images, matched by `remote`: brought to the host once, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from doubles.server import Reply, Request, Server
from sites import picture, tree, write

from imghost.cli.main import main


@pytest.fixture
def origin():
    """Serve somebody else's images, and one thing that is none."""

    def route(request: Request) -> Reply:
        if request.path == "/text.png":
            return Reply.image(b"PASSWORD=hunter2", "image/png")
        seed = 1 if "one" in request.path else 2
        return Reply.image(picture(seed), "image/png")

    with Server(route) as server:
        yield server


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: Server) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGHOST_ALLOW_REMOTE", origin.url.partition("//")[2])
    page = f'<img src="{origin.url}/one.png?x=1&amp;y=2#top"><img src="{origin.url}/two.png"><img src="{origin.url}/one.png?x=1&amp;y=2">'
    write(tmp_path / "site", {"index.html": page, "a/b.html": f'<img src="{origin.url}/two.png">'})
    return tmp_path


def ran(capsys, *arguments: str) -> dict:
    capsys.readouterr()
    assert main(["rehost", "site", "--json", *arguments]) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out) | {"err": printed.err}


@pytest.mark.parametrize("generation", ["upload", "images"])
def test_img_pro_imports_each_url_once_and_never_again(project, origin, capsys, monkeypatch, generation):
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    with ImgPro(generation) as host:
        flags = ("--remote", f"{origin.url}/*", "--option", f"api_url={host.api_url}")
        report = ran(capsys, *flags)
        assert report["images"]["uploaded"] == 2
        assert report["references"]["rewritten"] == 4
        assert len(host.copies) == 2
        assert origin.url.encode() not in tree(project / "site")["index.html"]
        lock = [json.loads(line) for line in (project / "imghost.lock").read_text().splitlines()[1:]]
        assert {line["variant"] for line in lock} == {"import"}
        assert ran(capsys, *flags)["requests"] == 0
        write(project / "site", {"c.html": f'<img src="{origin.url}/one.png?x=1&amp;y=2">'})
        assert ran(capsys, *flags)["requests"] == 0
        assert len(host.copies) == 2


def test_directory_gets_a_download(project, origin, capsys):
    report = ran(capsys, "--remote", f"{origin.url}/*", "--host", "directory")
    assert report["images"]["uploaded"] == 2
    stored = list((project / "site/_imghost").iterdir())
    assert sorted(file.read_bytes() for file in stored) == sorted([picture(1), picture(2)])
    count = len(origin.requests())
    first = tree(project / "site")
    ran(capsys, "--remote", f"{origin.url}/*", "--host", "directory")
    assert len(origin.requests()) == count
    assert tree(project / "site") == first


def test_url_of_a_private_address_is_refused_and_stays(project, origin, capsys, monkeypatch):
    monkeypatch.delenv("IMGHOST_ALLOW_REMOTE")
    before = tree(project / "site", ".html")
    report = ran(capsys, "--remote", "*", "--host", "directory")
    assert report["images"]["failed"] == 2
    assert "IMGHOST_ALLOW_REMOTE" in report["err"]
    assert origin.requests() == []
    assert tree(project / "site", ".html") == before


def test_what_is_no_image_stays(project, origin, capsys):
    write(project / "site", {"index.html": f'<img src="{origin.url}/text.png">', "a/b.html": ""})
    report = ran(capsys, "--remote", f"{origin.url}/*", "--host", "directory")
    assert report["images"]["failed"] == 1
    assert "is not an image" in report["err"]


def test_without_the_option_external_images_are_nobodys(project, origin, capsys):
    assert ran(capsys, "--host", "directory")["references"]["found"] == 0
    assert origin.requests() == []


def test_pull_request_downloads_nothing(project, origin, capsys, monkeypatch):
    monkeypatch.setenv("CI_MERGE_REQUEST_IID", "3")
    report = ran(capsys, "--remote", f"{origin.url}/*", "--host", "directory", "--strict")
    assert report["images"]["kept"] == 2
    assert origin.requests() == []


SECRET = "sekret-token-1"


@pytest.mark.parametrize(
    "query", [f"?token={SECRET}", f"?w=1&amp;X-Amz-Signature={SECRET}&amp;n=2", f"?size=s&amp;sig={SECRET}#top"]
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["rehost", "--frozen"],
        ["rehost", "-v"],
        ["rehost", "--json"],
        ["plan"],
        ["plan", "--json"],
        ["check"],
        ["check", "--json"],
        ["adopt"],
        ["adopt", "--json"],
        ["audit"],
        ["audit", "--json"],
    ],
)
def test_no_token_in_a_url_is_printed_or_reported(project, origin, capsys, monkeypatch, query, arguments):
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    write(
        project / "site", {"c.html": f'<img src="{origin.url}/one.png{query}"><img src="{origin.url}/text.png{query}">'}
    )
    with ImgPro("upload") as host:
        flags = ("--host", "img.pro", "--remote", f"{origin.url}/*", "--option", f"api_url={host.api_url}")
        for report in ("r.json", "r.html") if arguments == ["rehost", "-v"] else ("",):
            main([arguments[0], "site", *arguments[1:], *flags, *(["--report", report] if report else [])])
            printed = capsys.readouterr()
            assert SECRET not in printed.out + printed.err
            assert not report or SECRET not in (project / report).read_text()
    assert f"{origin.url}/" in printed.out + printed.err or "--frozen" not in arguments
