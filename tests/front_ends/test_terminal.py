"""What a user sees: on a terminal of some width, in a pipe, in CI, without colours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from sites import picture, small_site, write

from imghost.cli import columns, shortened
from imghost.records import lock as locks
from imghost.run.report import on_terminal
from imghost.wording import one_line

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")

RECORD = (
    '{{"sha256": "{digest:064x}", "host": "img.pro", "url": "{url}", "id": "{digest}", "variant": "", "bytes": 1234567, '
    '"media_type": "image/png", "width": 40, "height": 30, "uploaded": "2026-01-02T03:04:05Z", "expires": null}}\n'
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    small_site(tmp_path / "site")
    return tmp_path


@dataclass(frozen=True)
class Shown:
    """What a terminal got: raw, and the lines as they stand in the end."""

    status: int
    raw: str

    @property
    def lines(self) -> list[str]:
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw.replace("\r\n", "\n"))
        return [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]


def on_a_terminal(*arguments: str, width: int = 80, program: str = "imghost", **environ: str) -> Shown:
    """Run a command whose three streams are a terminal of a width."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    command = [sys.executable, "-m", program, *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | environ) as running:
        os.close(theirs)
        printed = b""
        with suppress(OSError):  # Linux says so at the end
            while chunk := os.read(ours, 65536):
                printed += chunk
        os.close(ours)
        status = running.wait(60)
    return Shown(status, printed.decode())


def piped(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imghost", *arguments],
        capture_output=True, text=True, check=False, timeout=60, env=os.environ | environ,
    )  # fmt: skip


def with_records(project: Path, urls: list[str]) -> None:
    records = "".join(RECORD.format(digest=number, url=url) for number, url in enumerate(urls))
    write(project, {"imghost.lock": '{"imghost_lock": 1, "host": "img.pro"}\n' + records})


class TestUploads:
    def test_terminal_shows_what_will_be_sent_one_bar_and_one_summary(self, project):
        with ImgPro("images") as host:
            shown = on_a_terminal("rehost", "site", "--option", f"api_url={host.api_url}", IMGPRO_API_KEY=VERIFIED)
        assert shown.status == 0
        announced, *summary, advice, end = shown.lines
        assert announced == "imghost: uploading 3 images (316 B) to img.pro"
        whole = (
            r"5 references to 4 images in 2 pages point to img\.pro, 3 uploaded \(316 B in [\d.]+ s\), 1 has the same"
        )
        assert re.fullmatch(whole + " bytes as others", " ".join(line.strip() for line in summary))
        assert len(summary) == 2
        assert (advice, end) == ("imghost: commit imghost.lock: it has 3 new records", "")
        drawn = [part.rstrip() for part in shown.raw.split("\r") if part.startswith("imghost: [")]
        assert len(drawn) == 4  # once at the start and once for each image, in one line that goes when it is done
        assert re.fullmatch(r"imghost: \[-{26}\]  0/3   0 of 316 B", drawn[0])
        assert re.fullmatch(r"imghost: \[#{26}\]  3/3   316 of 316 B", drawn[-1])

    @pytest.mark.parametrize("environ", [{"CI": "true"}, {"TERM": "dumb"}])
    def test_nobody_watches_a_ci_or_a_dumb_terminal(self, project, environ):
        with ImgPro("images") as host:
            flags = ["--option", f"api_url={host.api_url}"]
            shown = on_a_terminal("rehost", "site", *flags, IMGPRO_API_KEY=VERIFIED, **environ)
        assert len([line for line in shown.lines if line.startswith("imghost: upload")]) == 1
        assert "[#" not in shown.raw

    def test_pipe_gets_no_line_an_image_unless_it_is_asked_for_and_no_code(self, project):
        with ImgPro("images") as host:
            flags = ["rehost", "site", "--option", f"api_url={host.api_url}"]
            done = piped(*flags, IMGPRO_API_KEY=VERIFIED)
            assert "imghost: uploaded" not in done.stderr
            write(project / "site", {f"images/{number}.png": picture(number + 50) for number in range(3)})
            done = piped(*flags, "--verbose", IMGPRO_API_KEY=VERIFIED)
        assert done.stderr.count("imghost: uploaded images/") == 3
        assert "\x1b" not in done.stdout + done.stderr
        assert "\r" not in done.stdout + done.stderr

    def test_warm_run_is_one_line_and_imports_nothing_for_uploads(self, project):
        with ImgPro("images") as host:
            flags = ["rehost", "site", "--option", f"api_url={host.api_url}"]
            piped(*flags, IMGPRO_API_KEY=VERIFIED)
            shown = on_a_terminal(*flags, IMGPRO_API_KEY=VERIFIED, PYTHONVERBOSE="")
            assert len(shown.lines) == 2, shown.lines
            code = "import sys; from imghost.cli.main import main; main(sys.argv[1:]); print('imghost.run.upload' in sys.modules)"
            done = subprocess.run(
                [sys.executable, "-c", code, *flags], capture_output=True, text=True, check=True, timeout=60
            )
        assert done.stdout.endswith("False\n")

    def test_narrow_terminal_gets_a_narrow_bar(self, project):
        with ImgPro("images") as host:
            flags = ["--option", f"api_url={host.api_url}"]
            shown = on_a_terminal("rehost", "site", *flags, width=40, IMGPRO_API_KEY=VERIFIED)
        assert all(len(line) <= 40 for line in shown.lines if "[" in line)

    def test_terminal_that_goes_away_does_not_end_the_run(self, tmp_path):
        class Gone:
            def isatty(self) -> bool:
                return True

            def write(self, _: str) -> int:
                raise OSError(5, "Input/output error")

            flush = write

        progress = on_terminal(Gone(), {})  # type: ignore[arg-type]
        with progress(2, 20) as step:
            step("a.png", 10)
            step("b.png", 10)


class TestTables:
    LONG = "images/" + "a-name-that-says-everything-" * 4 + "end.png"

    @pytest.mark.parametrize("width", [80, 50, 120])
    def test_plan_fits_the_terminal(self, project, width):
        write(project / "site", {self.LONG: picture(9), "more.html": f'<img src="{self.LONG}">', "images/b.png": "no"})
        write(project / "site", {"last.html": '<img src="images/b.png"><img src="images/1.png" data-imghost="off">'})
        shown = on_a_terminal("plan", "site", "--host", "img.pro", width=width)
        assert shown.status == 0
        assert all(columns(line) <= width for line in shown.lines), shown.lines
        (long,) = [line for line in shown.lines if "end.png" in line]
        assert "…" in long

    def test_pipe_has_every_path_whole(self, project):
        write(project / "site", {self.LONG: picture(9), "more.html": f'<img src="{self.LONG}">'})
        done = piped("plan", "site", "--host", "img.pro")
        assert self.LONG in done.stdout
        assert "\x1b" not in done.stdout

    @pytest.mark.parametrize("command", [["hosts"], ["status"]])
    def test_tables_fit_80_columns(self, project, command):
        with_records(project, [f"https://src.img.pro/{'deep/' * 20}{number}.png" for number in range(3)])
        shown = on_a_terminal(*command, "--host", "img.pro")
        assert all(len(line) <= 80 for line in shown.lines), shown.lines
        assert "\x1b[1mhost " in shown.raw
        assert len(shown.lines) > 2

    @pytest.mark.long
    def test_dead_urls_are_a_table_with_whole_urls_and_the_reason_below(self, project):
        with ImgPro("images") as host:
            where = ["--option", f"api_url={host.api_url}"]
            piped("rehost", "site", *where, IMGPRO_API_KEY=VERIFIED)
            host.copies.clear()
            shown = on_a_terminal("verify", "--host", "img.pro", "--site", "site", *where, width=40)
        assert shown.status == 1
        assert shown.lines[0].split() == ["state", "url"]
        urls = [record.url for record in locks.read(project / "imghost.lock").records]
        assert sorted(line.split()[1] for line in shown.lines if line.startswith("dead ")) == sorted(urls)
        assert "\x1b[1;31mdead\x1b[0m" in shown.raw
        assert all(len(line) <= 40 for line in shown.lines if "http" not in line), shown.lines
        assert re.fullmatch(r"3 records in [\d.]+ s: 3 dead", shown.lines[-2])

    def test_reason_stands_once_below_those_that_share_it(self, project):
        done = piped("plan", "site", "--exclude", "images/*", "--host", "img.pro")
        assert done.stdout.count("exclude") == 1
        assert "images/0.png, images/1.png, images/2.png, images/copy.png\n" in done.stdout
        assert re.search(
            r"\n {21}it matches a glob of the option 'exclude'\n\nnothing to upload: 4 images stay local\n", done.stdout
        )

    def test_escape_codes_in_a_name_do_not_reach_the_terminal(self, project):
        write(project / "site", {"images/\x1b]0;x\x07.png": picture(5), "e.html": '<img src="images/%1b]0;x%07.png">'})
        done = piped("plan", "site", "--host", "img.pro")
        assert "\\x1b]0;x\\x07.png" in done.stdout
        assert "\x1b" not in done.stdout + done.stderr


class TestColours:
    @pytest.mark.long
    def test_errors_are_red_only_where_they_are_seen_and_wanted(self, project):
        assert "\x1b[1;31merror:\x1b[0m" in on_a_terminal("plan", "nowhere").raw
        assert "\x1b[1;31m" in on_a_terminal("plan", "nowhere", CI="1", FORCE_COLOR="1").raw
        for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"CI": "true"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}):
            assert "\x1b" not in on_a_terminal("plan", "nowhere", **environ).raw
        assert "\x1b" not in piped("plan", "nowhere").stderr
        assert "\x1b[1;31m" in piped("plan", "nowhere", FORCE_COLOR="1").stderr

    def test_closed_streams_are_no_terminal(self, project):
        command = f"exec {sys.executable} -m imghost hosts >&- 2>&-"
        assert subprocess.run(["sh", "-c", command], check=False, timeout=60).returncode == 0


class TestUsage:
    @pytest.mark.sampled(5)
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ("plna", "there is no command 'plna'; did you mean 'plan'?"),
            ("plan site --max-cots 3", "there is no option '--max-cots'; did you mean '--max-cost'?"),
            ("plan", "SITE is missing; see imghost plan --help"),
            ("--json status", "options stand after the command: imghost status --json"),
            (
                "--host img.pro rehost site",
                "options stand after the command: imghost rehost site --host img.pro",
            ),
            ("verify site", "'site' is one argument too many; did you mean '--site site'?"),
            ("prune --keep a b", "'b' is one argument too many; did you mean '--keep b'?"),
            (
                "rehost site --dry-run",
                "there is no option '--dry-run'; `imghost plan SITE` shows what would be uploaded",
            ),
            ("plan site --host", "option '--host' requires an argument; see imghost plan --help"),
            ("plan site more", "'more' is one argument too many; see imghost plan --help"),
        ],
    )
    def test_wrong_usage_is_one_line(self, project, arguments, said):
        done = piped(*arguments.split())
        assert (done.returncode, done.stderr) == (2, f"imghost: error: {said}\n")

    def test_help_begins_with_the_commands_own_flags_and_shows_the_settings_that_matter(self, project):
        done = piped("help", "prune")
        assert done.stdout == piped("prune", "--help").stdout
        flags = re.findall(r"^  (?:-\w, )?--([\w-]+)", done.stdout, re.M)
        assert flags[:3] == ["keep", "grace", "yes"]
        assert "host" in flags
        assert "lazy" not in flags
        assert "see imghost help rehost" in done.stdout
        assert "--lazy" in piped("help", "rehost").stdout
        assert piped("prune", "--keep", "site", "--lazy", "--host", "s3").stderr.count("no option") == 0

    def test_help_of_what_is_no_command_names_the_nearest(self, project):
        done = piped("help", "prnue")
        assert (done.returncode, done.stderr) == (
            2,
            "imghost: error: there is no command 'prnue'; did you mean 'prune'?\n",
        )

    def test_nothing_typed_shows_the_help(self, project):
        done = piped()
        assert done.returncode == 2
        assert "commands:" in done.stderr

    def test_help_of_each_command_has_an_example_that_can_be_typed(self, project):
        from imghost.cli.parser import COMMANDS, help_of, make_parser, parse

        assert {*COMMANDS, "completion", "help"} == {*make_parser().commands}
        for name, told in COMMANDS.items():
            printed = help_of(name)
            for line in told.example.splitlines():
                assert f"\n  {line}\n" in printed + "\n"
                typed = parse(line.partition(" ||")[0].split()[1:])
                assert typed is not None
                assert typed.command == name
        assert "completion bash" in help_of("completion")


def completed(*words: str) -> list[str]:
    """Ask bash what it would complete the last word to."""
    program = (
        'eval "$("$0" -m imghost completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _imghost; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", program, sys.executable, "imghost", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["pl"], ["plan"]),
        (["hosts", "--max-"], ["--max-cost", "--max-uploads", "--max-edge"]),
        (["plan", "site", "--host", "img"], ["img.pro", "img402"]),
        (["plan", "--oversize", "=", "k"], ["keep"]),
        (["keys", "c"], ["create"]),
        (["completion", ""], ["bash", "zsh", "fish", "--help"]),
        (["prune", "--ke"], ["--keep"]),
        (["plan", "si"], []),
        (["nonsense", "--"], []),
    ],
)
def test_bash_completes(project, words, found):
    assert completed(*words) == found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_name_every_command_and_flag_also_where_the_configuration_is_broken(project, shell):
    write(project, {"imghost.toml": "not toml"})
    done = piped("completion", shell)
    assert done.returncode == 0
    for word in ("rehost", "migrate", "max-uploads", "rpc-url", "no-frozen", "imageupload.io"):
        assert word in done.stdout


def test_cutting_keeps_both_ends_and_counts_columns():
    assert shortened("a/b.png", 20) == "a/b.png"
    for text in ("images/" + "x" * 50 + "/end.png", "画像/" + "図" * 30 + ".png"):
        for most in range(8, 40):
            assert columns(shortened(text, most)) <= most
        assert shortened(text, 30)[:2] == text[:2]
        assert shortened(text, 30)[-4:] == ".png"
    assert one_line("a\x1b[2Jb") == "a\\x1b[2Jb"


class TestTools:
    """Each generator's own style: one bar among MkDocs' lines, Sphinx's own way to count."""

    @pytest.mark.long
    def test_mkdocs_shows_the_bar_between_its_lines_and_none_where_it_is_quiet(self, project):
        write(
            project, {"docs/index.md": "![a](a.png) ![b](b.png)\n", "docs/a.png": picture(1), "docs/b.png": picture(2)}
        )
        with ImgPro("images") as host:
            options = f"{{host: img.pro, options: {{api_url: '{host.api_url}'}}}}"
            write(project, {"mkdocs.yml": f"site_name: x\nplugins:\n  - imghost: {options}\n"})
            environ = {"IMGPRO_API_KEY": VERIFIED, "NO_MKDOCS_2_WARNING": "1"}
            quiet = on_a_terminal("build", "-q", program="mkdocs", **environ)
            write(project, {"docs/a.png": picture(3), "docs/b.png": picture(4)})
            shown = on_a_terminal("build", program="mkdocs", **environ)
        assert (quiet.status, quiet.lines) == (0, [""])
        assert shown.status == 0
        assert re.search(r"\rimghost: \[#+\]  2/2 ", shown.raw)
        (at,) = [number for number, line in enumerate(shown.lines) if "imghost: uploading 2 images (" in line]
        assert shown.lines[at].startswith("INFO    -  imghost: uploading 2 images (")
        assert shown.lines[at + 1].startswith("INFO    -  imghost: 2 references to 2 images")

    @pytest.mark.sampled(1)
    @pytest.mark.parametrize("environ", [{}, {"CI": "true"}])
    def test_sphinx_counts_as_it_counts_everything_and_tells_a_ci_one_line(self, project, environ):
        write(
            project,
            {"index.rst": "x\n=\n\n.. image:: a.png\n.. image:: b.png\n", "a.png": picture(1), "b.png": picture(2)},
        )
        with ImgPro("images") as host:
            conf = f"extensions = ['sphinx_imghost']\nimghost_host = 'img.pro'\nimghost_options = {{'api_url': '{host.api_url}'}}\n"
            write(project, {"conf.py": conf})
            shown = on_a_terminal("-b", "html", ".", "out", program="sphinx", IMGPRO_API_KEY=VERIFIED, **environ)
        assert shown.status == 0, shown.raw
        counted = [
            line for line in shown.lines if re.fullmatch(r"imghost: uploading\.\.\. \[100%\] _images/[ab]\.png", line)
        ]
        told = [line for line in shown.lines if line.startswith("imghost: upload")]
        assert (len(counted), len(told)) == ((0, 1) if environ else (1, 2))
