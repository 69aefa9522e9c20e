"""Random canaries for every credential are in nothing that is written or printed, in no form."""

from __future__ import annotations

import base64
import secrets
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from canaries import credential
from doubles.imgpro import ImgPro
from doubles.server import Reply, Request, Server
from sites import tree
from trust.place import Project, built_site
from trust.points import NEVER, Tracer

CREDENTIALS = {
    "img.pro": ("IMGPRO_API_KEY", "img_live_"),
    "imageupload.io": ("IMAGEUPLOAD_API_KEY", "iu_live_"),
    "img402": ("IMG402_PRIVATE_KEY", "0x"),
}
LOUD = {"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1", "HTTPX_LOG_LEVEL": "trace", "SSLKEYLOGFILE": ""}

SHOUT = """
import logging, sys, warnings
logging.basicConfig(level=1)
from imghost.cli.main import main
sys.exit(main())
"""


def canary(host: str) -> str:
    """Make a credential of the host's shape that nobody else has."""
    return credential(CREDENTIALS[host][1]) + secrets.token_hex(16)


def forms(secret: str) -> Iterator[bytes]:
    """Give the forms in which a secret may hide, without the ends that depend on what is around it."""
    core = secret.removeprefix("0x").removeprefix("img_live_").removeprefix("iu_live_")
    for text in {secret, core, core[:24], core[-24:]}:
        raw = text.encode()
        yield raw
        yield raw.hex().encode()
        yield urllib.parse.quote(text, safe="").encode()
        yield "".join(f"%{byte:02X}" for byte in raw).encode()
        for shift in range(3):
            encoded = base64.b64encode(b"\0" * shift + raw)
            yield encoded[4:-4]
            yield base64.urlsafe_b64encode(b"\0" * shift + raw)[4:-4]
    if secret.startswith("0x"):
        yield bytes.fromhex(core)
        yield base64.b64encode(bytes.fromhex(core))[:-4]


def found(secret: str, root: Path, *printed: str) -> list[str]:
    """List the files and outputs that hold a secret in any form."""
    places = dict(tree(root))
    places |= {f"output {number}": text.encode() for number, text in enumerate(printed)}
    places |= {f"name {name}": name.encode() for name in places}
    return sorted({name for name, content in places.items() for form in forms(secret) if form in content})


def test_the_search_finds_a_secret_in_every_form(tmp_path: Path) -> None:
    """Else the other tests would prove nothing."""
    secret = f"0x{secrets.token_hex(32)}"
    for number, form in enumerate(forms(secret)):
        (tmp_path / str(number)).write_bytes(b"before" + form + b"after")
    (tmp_path / "clean").write_bytes(secrets.token_bytes(4096))
    assert len(found(secret, tmp_path)) == len(list(tmp_path.iterdir())) - 1
    assert found(secret, tmp_path / "none", base64.b64encode(f"Bearer {secret}".encode()).decode()) == ["output 0"]


def echoed(status: int) -> Server:
    """Make a host that repeats all that it is sent, in every place that a client may print."""

    def route(request: Request) -> Reply:
        told = " ".join(f"{name}: {value}" for name, value in request.headers.items())
        answer = {"error": {"code": told, "message": told, "details": {told: [told]}}, "message": told, "url": told}
        return Reply.json(answer | {"id": told, "src": f"https://x/{told}"}, status)

    return Server(route)


def ran(host: str, secret: str, url: str, root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    where = ["--host", host, "--option", f"api_url={url}", "--retries", "1", "--timeout", "2"]
    more = ["--retention", "7d", "--option", "tier=1-year", "--max-cost", "1"] if host == "img402" else []
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(root), "PYTHONPATH": str(Path(__file__).parents[2]), **LOUD}
    return subprocess.run(
        [sys.executable, "-c", SHOUT, *command, *where, *more],
        cwd=root,
        env=environ | {CREDENTIALS[host][0]: secret, "TMPDIR": str(root), "IMGHOST_STATE_DIR": str(root / "state")},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.sampled(1)
@pytest.mark.parametrize("host", CREDENTIALS)
def test_a_credential_is_nowhere_though_the_host_repeats_it_and_every_logger_is_on(host: str, tmp_path: Path) -> None:
    secret = canary(host)
    built_site(tmp_path / "site")
    outputs = []
    for status, command in ((200, ["rehost", "site", "--report", "r.json"]), (500, ["rehost", "site"])):
        with echoed(status) as server:
            done = ran(host, secret, server.url, tmp_path, *command)
        assert done.returncode in {0, 1, 2}, done.stderr
        assert "DEBUG:" in done.stderr or not server.log
        outputs += [done.stdout, done.stderr]
    with echoed(403) as server:
        for other in (["status"], ["hosts"], ["plan", "site", "--json"], ["adopt", "site"]):
            done = ran(host, secret, server.url, tmp_path, *other)
            outputs += [done.stdout, done.stderr]
    assert found(secret, tmp_path, *outputs) == []


@pytest.mark.parametrize("end", ["\n", " ", "\r\n", "\0x", "é", "\t"])
@pytest.mark.parametrize("host", CREDENTIALS)
def test_a_credential_of_a_wrong_shape_is_refused_and_not_shown(
    host: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from imghost.cli.main import main

    if "\0" in end:
        end = "\x01"  # an environment holds no zero byte
    secret = canary(host)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CREDENTIALS[host][0], secret + end)
    built_site(tmp_path / "site")
    main(["rehost", "site", "--host", host, "--retention", "7d", "--option", "api_url=http://127.0.0.1:9"])
    printed = capsys.readouterr()
    assert found(secret, tmp_path, printed.out, printed.err) == []


def test_a_good_key_is_nowhere_after_a_build_and_after_one_that_was_killed(tmp_path: Path) -> None:
    secret = canary("img.pro")
    with ImgPro("images") as host, Tracer() as tracer:
        host.keys[secret] = "somebody@example.org"
        project = Keyed(tmp_path, host, (("retention", "30d"),))
        project.secret.append(secret)
        built_site(project.site)
        for event in (200, NEVER):
            ended = tracer.kill(project, event)
            assert found(secret, tmp_path, ended.out, ended.err) == []
        assert len(host.copies) == 3
        assert {request.bearer for request in host.uploads} == {secret}


class Keyed(Project):
    """A project whose environment has another key."""

    secret: list[str] = []  # noqa: RUF012 - the canary of the one test

    def environ(self, **more: str) -> dict[str, str]:
        return super().environ(**more) | {"IMGPRO_API_KEY": self.secret[-1]}
