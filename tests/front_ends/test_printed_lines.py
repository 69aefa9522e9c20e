"""No line that any front end prints is a command to a CI or a terminal, whatever files and hosts are called.

What each CI obeys is told here anew, from its own documentation and runner, and not by the code that is tested.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from doubles.img402 import Img402
from doubles.server import Reply, Request
from hypothesis import given
from hypothesis import strategies as st
from sites import picture, write

from imghost.cli.main import main
from imghost.wording import json_in_log, one_line, printable

COMMANDS = {
    "GitHub": re.compile(r"^\s*::\s*[A-Za-z-]+", re.MULTILINE),
    "GitHub's first form": re.compile(r"##\[[^\]]*\]?"),
    "Azure": re.compile(r"##vso\[", re.IGNORECASE),
    "TeamCity": re.compile(r"##teamcity\[", re.IGNORECASE),
    "GitLab": re.compile(r"section_(?:start|end):\d+:"),
    "Travis": re.compile(r"travis_(?:fold|time):(?:start|end)"),
    "Buildkite": re.compile(r"^\s*(?:---|\+\+\+|~~~|\^\^\^) ", re.MULTILINE),
    "a terminal": re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]"),
    "the direction of writing": re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"),
    "another line": re.compile("[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]"),
}
PARTS = [
    *("::", ":", "error", "::error::", "::stop-commands::x", "::add-mask::", "##[", "##[error]", "##vso[", "#", "##"),
    *("##vso[task.setvariable variable=PATH]", "##teamcity[", "##teamcity[message text='x']", "section_start:", "\r"),
    *(
        "section_start:1560896352:x\r\x1b[0K",
        "section_end:1:x",
        "travis_fold:start:x",
        "travis_time:end",
        "--- ",
        "+++ ",
    ),
    *(
        "\n",
        "\x1b[2J",
        "\x9b31m",
        "\u202e",
        "\u2066",
        "\u200f",
        "\u2028",
        "\x85",
        "\x00",
        "\x07",
        "%0A",
        " ",
        "  ",
        "\t",
    ),
    *("a", "é", "图", "\U0001f600", "\ud800", "\udcff", ".png", "]", "[", "~~~ ", "^^^ ", "\ufeff", "\xa0", "\u3000"),
]


def commands(text: str) -> list[tuple[str, str]]:
    """List what a CI or a terminal would obey in an output."""
    return [(who, found[0]) for who, pattern in COMMANDS.items() for found in pattern.finditer(text)]


def a_name(chance: random.Random) -> str:
    return "".join(chance.choices(PARTS, k=chance.randint(1, 6)))


def test_the_parts_are_commands_by_themselves() -> None:
    for who in COMMANDS:
        assert [part for part in PARTS if who in dict(commands(part + "x"))], who


def test_five_thousand_names_through_the_door_command_nobody() -> None:
    chance = random.Random("names")
    for _ in range(5_000):
        name = a_name(chance)
        for shown in (one_line(name), printable(name), f"  {one_line(name)}"):
            assert commands(shown) == []
            assert "\n" not in shown
        assert one_line(one_line(name)) == one_line(name)
        value = {name: [name, "##"]}
        logged = json_in_log(json.dumps(value, indent=1, ensure_ascii=False))
        assert commands(logged) == []
        assert json.loads(logged) == json.loads(json.dumps(value))


@given(st.text(st.sampled_from("ab:#[vso/.- é"), max_size=40))
def test_what_is_harmless_is_shown_as_it_is(text: str) -> None:
    if not commands(text + "x") and not commands(text) and "##" not in text and not text.lstrip().startswith("::"):
        is_touched = re.search(r"(?:^|\s)::|^\s*--- ", text)
        assert one_line(text) == text or is_touched


@pytest.mark.parametrize("text", ["http://[::1]:8080/a.png", "std::vector", "a # b", "Größe 图.png", "[::]", "a -- b"])
def test_addresses_and_words_with_such_signs_are_left_alone(text: str) -> None:
    assert one_line(text) == text


# Through the front ends. A name that cannot be a file's is left out.


def hostile_names(count: int, seed: str) -> list[str]:
    chance = random.Random(seed)
    names: dict[str, None] = {}
    while len(names) < count:
        name = (a_name(chance) + f"{len(names)}.png").replace("/", "").replace("\x00", "").replace("\\", "")
        names[
            name.encode("utf-8", "surrogatepass" if "\ud800" in name else "surrogateescape").decode("utf-8", "replace")
        ] = None
    return list(names)


def a_site(folder: Path, names: list[str]) -> Path:
    """Write a site whose pages show images of these names, which are different and small."""
    site = folder / "site"
    images = {f"site/{name}": picture(number) for number, name in enumerate(names)}
    page = "".join(f'<img src="{quote(name)}">\n' for name in names)
    write(folder, {"site/index.html": f"<!doctype html><title>x</title>{page}", **images})
    return site


class Rude(Img402):
    """A host that refuses each image in words that command CIs."""

    def route(self, request: Request) -> Reply:
        chance = random.Random(f"words {len(self.server.log)}")
        if request.method != "POST":
            return super().route(request)
        refusal = {"error": a_name(chance), "message": a_name(chance) + "\n" + a_name(chance)}
        return Reply.json(refusal, chance.choice((400, 409, 413, 415, 422)))


posix = pytest.mark.skipif(os.name == "nt", reason="such names cannot be files there")


@pytest.mark.long
@posix
def test_no_command_prints_a_command_about_five_thousand_files(tmp_path, monkeypatch, capsys) -> None:
    names = hostile_names(5_000, "files")
    site = tmp_path / "site"
    site.mkdir()
    for number, name in enumerate(names):
        (site / name).write_bytes(picture(number % 250, size=(1 + number // 250, 1)))
    page = "".join(f'<img src="{quote(name)}">\n' for name in names)
    (site / "index.html").write_text(f"<!doctype html><title>x</title>{page}", "utf-8")
    monkeypatch.chdir(tmp_path)
    flags = ["--host", "img402", "--option", "tier=free", "--retention", "7d"]
    for arguments in (["check"], ["plan"], ["check", "--json"], ["plan", "--json"], ["audit"], ["audit", "--json"]):
        capsys.readouterr()
        main([arguments[0], "site", *arguments[1:], *(flags if arguments[0] != "audit" else [])])
        printed = capsys.readouterr()
        assert len(printed.out) > 1_000
        assert commands(printed.out + "\n" + printed.err) == []


@pytest.mark.long
@posix
@pytest.mark.parametrize("environ", [{}, {"CI": "true"}, {"CI": "true", "TF_BUILD": "True"}], ids=str)
def test_no_line_about_a_rude_hosts_refusals_is_a_command(tmp_path, environ: dict[str, str]) -> None:
    a_site(tmp_path, hostile_names(120, "refused"))
    with Rude() as double:
        flags = ["--host", "img402", "--option", "tier=free", "--retention", "7d", "--option", f"api_url={double.url}"]
        done = subprocess.run(
            [sys.executable, "-m", "imghost", "rehost", "site", *flags, "--verbose", "--report", "report.json"],
            cwd=tmp_path, env=os.environ | environ, capture_output=True, text=True, encoding="utf-8", check=False,
        )  # fmt: skip
        assert len(double.server.requests("POST")) > 20
    assert "img402" in done.stderr
    assert commands(done.stdout + "\n" + done.stderr) == []


@pytest.mark.sampled(1)
@posix
@pytest.mark.parametrize("tool", ["mkdocs", "sphinx"])
def test_no_plugin_logs_a_command_about_names_and_answers(tmp_path, tool: str) -> None:
    """Sphinx colours its lines where it has a terminal only."""
    names = [name for name in hostile_names(150, tool) if name.isprintable() and not set(name) & set("'\"<>?*|`")]
    images = {f"docs/{name}": picture(number) for number, name in enumerate(names)}
    assert [name for name in names if "##" in name]
    with Rude() as double:
        options = {"api_url": double.url, "tier": "free"}
        if tool == "mkdocs":
            config = {"host": "img402", "retention": "7d", "options": options}
            page = "\n\n".join(f'<img src="{quote(name)}">' for name in names)
            yml = f"site_name: x\nplugins:\n  - imghost: {json.dumps(config)}\n"
            write(tmp_path, {"mkdocs.yml": yml, "docs/index.md": page, **images})
            command = [sys.executable, "-m", "mkdocs", "build", "--verbose"]
        else:
            conf = "extensions = ['sphinx_imghost']\nimghost_host = 'img402'\nimghost_retention = '7d'\n"
            conf += f"imghost_options = {options!r}\nhtml_extra_path = ['extra']\n"
            page = "x\n=\n\n.. raw:: html\n\n" + "".join(f'   <img src="{quote(name)}">\n' for name in names)
            extra = {f"docs/extra/{name.removeprefix('docs/')}": body for name, body in images.items()}
            extra = {key.replace("docs/extra/docs/", "docs/extra/"): body for key, body in extra.items()}
            write(tmp_path, {"docs/conf.py": conf, "docs/index.rst": page, **extra})
            command = [sys.executable, "-m", "sphinx", "-b", "html", "docs", "out", "-v"]
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | {"NO_COLOR": "1", "CI": "true"}, capture_output=True, text=True,
            encoding="utf-8", check=False, timeout=100,
        )  # fmt: skip
        assert len(double.server.requests("POST")) > 5, done.stderr
    ours = [line for line in (done.stdout + "\n" + done.stderr).splitlines() if "img402" in line or "imghost" in line]
    assert len(ours) > 5
    assert commands("\n".join(ours)) == []


@pytest.mark.parametrize(("encoding", "name"), [("ascii", "图.png"), ("cp1252", "é😀.png"), ("cp437", "Ω≠Ж.png")])
def test_a_name_that_the_output_has_no_letters_for_is_escaped(tmp_path, encoding, name):
    """A pipe on Windows is seldom UTF-8; the pages are written by then."""
    write(tmp_path, {f"site/{name}": picture(1), "site/bad.png": "x", "site/index.html": f'<img src="{name}">'})
    write(tmp_path, {f"site/{name}x.png": "no image", "site/b.html": f'<img src="{name}x.png"><img src="gone-{name}">'})
    environ = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}

    def ran(*arguments):
        command = [sys.executable, "-m", "imghost", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, check=False, timeout=100)

    for arguments in (["plan", "site"], ["rehost", "site", "-v"], ["audit", "site", "--format", "github"]):
        done = ran(*arguments, "--host", "directory")
        assert b"Traceback" not in done.stderr, arguments
        done.stdout.decode(encoding)
    assert name in json.dumps(json.loads(ran("audit", "site", "--json").stdout.decode(encoding)), ensure_ascii=False)
