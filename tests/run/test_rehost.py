"""The whole run on small sites, through the command line, against the embedded directory and real local hosts."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from doubles.img402 import Img402
from doubles.imgpro import UNVERIFIED, VERIFIED, ImgPro
from doubles.server import Fault
from sites import image_urls, local_file, picture, small_site, tree, write

from imghost.cli.main import main


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with a built site, as the current folder."""
    monkeypatch.chdir(tmp_path)
    small_site(tmp_path / "site")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    """Run `imghost rehost site` and give its report."""
    capsys.readouterr()
    status = main(["rehost", "site", "--json", *arguments])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    return json.loads(printed.out) | {"err": printed.err}


def lock_lines(project: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (project / "imghost.lock").read_text("utf-8").splitlines()]


class TestDirectory:
    """The embedded host."""

    def test_every_reference_points_to_the_same_bytes(self, project, capsys):
        before = tree(project / "site")
        report = run(capsys, "--host", "directory")
        assert report["references"] == {"found": 5, "rewritten": 5, "kept": 0}
        assert report["images"] == {"found": 4, "cached": 1, "uploaded": 3, "kept": 0, "failed": 0}
        for page in ("index.html", "below/index.html"):
            after = (project / "site" / page).read_bytes()
            old, new = image_urls(before[page]), image_urls(after)
            assert len(old) == len(new)
            for was, now in zip(old, new, strict=True):
                assert "_imghost/" in now
                assert (
                    local_file(project / "site", page, now).read_bytes()
                    == before[local_file(Path(), page, was).as_posix().replace("below/../", "")]
                )

    def test_second_run_uploads_nothing_and_leaves_the_same_bytes(self, project, capsys):
        run(capsys, "--host", "directory")
        first = tree(project / "site")
        report = run(capsys, "--host", "directory")
        assert report["images"]["uploaded"] == 0
        assert report["references"]["rewritten"] == 5
        assert tree(project / "site") == first

    def test_run_without_the_cache_leaves_the_same_bytes(self, project, capsys):
        import shutil

        run(capsys, "--host", "directory")
        first = tree(project / "site")
        shutil.rmtree(project / ".cache")
        report = run(capsys, "--host", "directory")
        assert report["images"]["uploaded"] == 0
        assert tree(project / "site") == first

    def test_a_reference_keeps_its_form(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        image = picture(1)
        write(
            tmp_path / "site",
            {
                "a.png": image,
                "404.html": '<img src="/proj/a.png">',
                "deep/er/p.html": '<img src="../../a.png#only-dark"><meta property="og:image" content="https://x.test/proj/a.png">',
            },
        )
        run(capsys, "--host", "directory", "--site-url", "https://x.test/proj/")
        name = f"{hashlib.sha256(image).hexdigest()[:32]}.png"
        assert (tmp_path / "site/404.html").read_text() == f'<img src="/proj/_imghost/{name}">'
        deep = (tmp_path / "site/deep/er/p.html").read_text()
        assert f'src="../../_imghost/{name}#only-dark"' in deep
        assert f'content="https://x.test/proj/_imghost/{name}"' in deep

    def test_base_url_is_put_before_the_name(self, project, capsys):
        run(capsys, "--host", "directory", "--option", "base_url=https://cdn.test/i/", "--option", "path=public")
        assert 'src="https://cdn.test/i/' in (project / "site/index.html").read_text()
        assert len(list((project / "public").iterdir())) == 3
        assert not (project / "imghost.lock").exists()


@pytest.mark.parametrize("generation", ["upload", "images"])
class TestImgPro:
    """img.pro, in both generations of its API."""

    def test_each_content_is_uploaded_once_and_never_again(self, project, capsys, monkeypatch, generation):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        with ImgPro(generation) as host:
            where = ("--option", f"api_url={host.api_url}")
            report = run(capsys, *where)
            assert len(host.uploads) == len(host.copies) == 3
            assert report["images"] == {"found": 4, "cached": 1, "uploaded": 3, "kept": 0, "failed": 0}
            assert report["requests"] > 0
            first = tree(project / "site")
            for url in image_urls(first["index.html"]):
                assert url.startswith(host.api_url.rpartition("/")[0])
            count = len(host.server.requests())
            report = run(capsys, *where)
            assert report["requests"] == 0
            assert report["images"]["uploaded"] == 0
            assert tree(project / "site") == first
            assert len(host.server.requests()) == count
        assert lock_lines(project)[0] == {"imghost_lock": 1, "host": "img.pro"}
        assert len(lock_lines(project)) == 4

    def test_lock_alone_suffices_without_cache_or_network(self, project, capsys, monkeypatch, generation):
        import shutil

        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        with ImgPro(generation) as host:
            where = ("--option", f"api_url={host.api_url}")
            run(capsys, *where)
            first = tree(project / "site")
        shutil.rmtree(project / ".cache")
        shutil.rmtree(project / "site")
        small_site(project / "site")
        report = run(capsys, *where)
        assert report["requests"] == 0
        assert tree(project / "site") == first
        monkeypatch.delenv("IMGPRO_API_KEY")
        shutil.rmtree(project / "site")
        small_site(project / "site")
        run(capsys, *where)
        assert tree(project / "site") == first

    def test_changed_bytes_are_one_new_upload_at_a_new_url(self, project, capsys, monkeypatch, generation):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        with ImgPro(generation) as host:
            where = ("--option", f"api_url={host.api_url}")
            run(capsys, *where)
            before = image_urls((project / "site/index.html").read_bytes())
            write(project / "site", {"images/1.png": picture(99)})
            report = run(capsys, *where)
            after = image_urls((project / "site/index.html").read_bytes())
            assert report["images"]["uploaded"] == 1
            assert len(host.copies) == 4
            assert (before[0], before[2]) == (after[0], after[2])
            assert before[1] != after[1]

    def test_lost_reply_leaves_one_copy(self, project, capsys, monkeypatch, generation):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        with ImgPro(generation) as host:
            host.die_after_store(2)
            report = run(capsys, "--option", f"api_url={host.api_url}")
            assert len(host.copies) == 3
            assert report["images"]["failed"] == 0

    def test_lost_records_leave_one_copy(self, project, capsys, monkeypatch, generation):
        import shutil

        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        with ImgPro(generation) as host:
            run(capsys, "--option", f"api_url={host.api_url}")
            shutil.rmtree(project / ".cache")
            (project / "imghost.lock").unlink()
            shutil.rmtree(project / "site")
            small_site(project / "site")
            report = run(capsys, "--option", f"api_url={host.api_url}")
            assert len(host.copies) == 3
            assert report["references"]["rewritten"] == 5

    @pytest.mark.sampled(1)
    def test_killed_in_the_middle_the_next_run_completes_without_a_second_copy(
        self, project, capsys, monkeypatch, generation
    ):
        small_site(project / "site", count=12)
        before = tree(project / "site", ".html")
        with ImgPro(generation) as host:
            where = ["--option", f"api_url={host.api_url}", "--concurrency", "2"]
            environ = os.environ | {"IMGPRO_API_KEY": VERIFIED}
            command = [sys.executable, "-m", "imghost", "rehost", "site", *where]
            for least in (2, 5, 8):
                process = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
                until = time.monotonic() + 20
                while len(host.copies) < least and process.poll() is None and time.monotonic() < until:
                    time.sleep(0.002)
                process.send_signal(signal.SIGKILL)
                process.wait()
                assert all(
                    content == before[path] or b"http://127" in content
                    for path, content in tree(project / "site", ".html").items()
                )
            monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
            report = run(capsys, *where)
            assert len(host.copies) == 12
            assert report["references"]["rewritten"] == 14
            assert not [path for path in tree(project) if ".tmp" in path]


class TestImgProRefusals:
    """What img.pro does not do for everybody."""

    def test_unverified_key_sends_no_image_and_gives_the_link(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", UNVERIFIED)
        with ImgPro("upload") as host:
            report = run(capsys, "--option", f"api_url={host.api_url}")
            assert host.copies == {} or len(host.copies) == 0
            assert "verify" in report["err"]
            assert report["images"]["kept"] == 4

    def test_no_key_is_a_normal_case(self, project, capsys):
        before = tree(project / "site")
        report = run(capsys, "--host", "img.pro", "--strict")
        assert report["images"]["kept"] == 4
        assert report["requests"] == 0
        assert "warning" not in report["err"]
        assert "4 images stay local: no credential for img.pro" in report["err"]
        assert tree(project / "site") == before

    def test_pull_request_sends_nothing_though_a_key_is_there(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        monkeypatch.setenv("GITHUB_EVENT_NAME", "pull_request_target")
        with ImgPro("upload") as host:
            report = run(capsys, "--option", f"api_url={host.api_url}", "--strict")
            assert host.server.requests() == []
            assert report["images"]["kept"] == 4
            monkeypatch.setenv("IMGHOST_ALLOW_PULL_REQUESTS", "1")
            assert run(capsys, "--option", f"api_url={host.api_url}")["images"]["uploaded"] == 3

    def test_frozen_warns_of_each_image_that_the_lock_misses(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        assert main(["rehost", "site", "--frozen", "--strict"]) == 1
        printed = capsys.readouterr()
        (warning,) = [line for line in printed.err.splitlines() if line.startswith("imghost: warning: ")]
        assert "4 images stay local: `frozen` is set" in warning
        assert "(images/0.png, images/1.png, images/2.png and 1 more)" in warning

    def test_dead_host_ends_soon_and_leaves_the_site(self, project, capsys, monkeypatch):
        monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
        before = tree(project / "site")
        started = time.monotonic()
        report = run(capsys, "--host", "img.pro", "--option", "api_url=http://127.0.0.1:9/v1", "--retries", "2")
        assert time.monotonic() - started < 10
        assert report["references"]["rewritten"] == 0
        assert tree(project / "site") == before


class TestImg402Free:
    """img402's free tier."""

    WHERE = ("--host", "img402", "--option", "tier=free", "--retention", "7d")

    def test_each_content_is_uploaded_once_and_its_expiry_recorded(self, project, capsys):
        with Img402() as host:
            report = run(capsys, *self.WHERE, "--option", f"api_url={host.url}")
            assert report["images"]["uploaded"] == 3
            count = len(host.server.requests())
            assert run(capsys, *self.WHERE, "--option", f"api_url={host.url}")["requests"] == 0
            assert len(host.server.requests()) == count
        assert all(line["expires"] for line in lock_lines(project)[1:])

    def test_other_hosts_records_are_not_reused(self, project, capsys, monkeypatch):
        with Img402() as free, ImgPro("images") as pro:
            run(capsys, *self.WHERE, "--option", f"api_url={free.url}")
            monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
            report = run(capsys, "--host", "img.pro", "--option", f"api_url={pro.api_url}")
            assert report["images"]["uploaded"] == 3
        assert {line["host"] for line in lock_lines(project)} == {"img402", "img.pro"}

    def test_permanent_retention_is_refused_before_anything_is_sent(self, project, capsys):
        with Img402() as host:
            arguments = ["rehost", "site", "--host", "img402", "--option", "tier=free"]
            assert main([*arguments, "--option", f"api_url={host.url}"]) == 2
            assert host.server.requests() == []
        assert "retention" in capsys.readouterr().err

    def test_store_that_never_confirms_keeps_the_image_local_and_uploads_once(self, project, capsys):
        with Img402() as host:
            host.server.fail(*[Fault.HTML_PAGE] * 3, when=lambda request: request.method == "GET")
            report = run(capsys, *self.WHERE, "--option", f"api_url={host.url}", "--retries", "1")
            assert report["images"]["failed"] == 4
            assert report["references"]["rewritten"] == 0
            assert len(host.server.requests("POST")) == 3
            host.server.fail()
            report = run(capsys, *self.WHERE, "--option", f"api_url={host.url}")
            assert report["references"]["rewritten"] == 5
            assert len(host.server.requests("POST")) == 3


def test_warm_run_imports_nothing_heavy(project, capsys):
    run(capsys, "--host", "directory")
    code = (
        "import sys; from imghost.cli.main import main; main(['rehost', 'site', '--host', 'directory']); "
        "print([name for name in ('httpx', 'bs4', 'PIL', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_warm_run_works_with_sockets_blocked(project, capsys):
    run(capsys, "--host", "directory")
    first = tree(project / "site")
    code = (
        "import socket\n"
        "def refuse(*_, **__): raise AssertionError('a socket was opened')\n"
        "socket.socket = refuse\n"
        "from imghost.cli.main import main\n"
        "raise SystemExit(main(['rehost', 'site', '--host', 'directory']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tree(project / "site") == first


class TestMemory:
    """What a run keeps in memory, and how it leaves the process."""

    def test_pages_for_which_there_is_no_room_are_rewritten_like_the_others(self, project, capsys):
        """They are read a second time, when they are written."""
        filler = "<p>words</p>" * 250_000
        for number in range(5):
            write(
                project / "site",
                {f"large{number}.html": f'<title>l</title>{filler}<img src="images/{number % 3}.png">'},
            )
        before = tree(project / "site", ".html")
        assert sum(map(len, before.values())) > 14_000_000
        assert run(capsys, "--host", "directory")["references"]["rewritten"] == 10
        for path, content in tree(project / "site", ".html").items():
            was, now = before[path], content
            assert re.sub(rb'src="[^"]*"', b"", now) == re.sub(rb'src="[^"]*"', b"", was)
            assert now.count(b"_imghost/") == len(image_urls(was))

    @pytest.mark.parametrize("is_on", [True, False])
    @pytest.mark.parametrize("host", ["directory", "nobody"])
    def test_the_search_for_cycles_is_left_as_it_was(self, project, capsys, is_on, host):
        """Also after a run that ends in an error."""
        was_on = gc.isenabled()
        try:
            (gc.enable if is_on else gc.disable)()
            assert main(["rehost", "site", "--host", host]) == (2 if host == "nobody" else 0)
            assert gc.isenabled() is is_on
        finally:
            (gc.enable if was_on else gc.disable)()
