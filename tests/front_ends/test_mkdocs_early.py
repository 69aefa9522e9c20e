"""Real MkDocs builds whose images go while pages are still rendered, ended in every way in the middle of that."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from doubles.server import Reply, Request
from sites import picture, tree, write
from trust.test_money_faults import FAULTY

from imghost.records import lock as locks

COUNT = 6
CONFIG = """
site_name: Small
theme: {{name: null, custom_dir: theme}}
extra: {{wait: !!python/name:gate.wait ''}}
{more}
plugins:
  - imghost:
      options: {{api_url: {url}}}
      concurrency: 2
{options}
"""
THEME = "<!doctype html><title>a</title>{{ page.content }}{{ config.extra.wait(page.url) }}"
GATE = f"""
import pathlib, time
def wait(url):
    end = time.monotonic() + 60
    while 'page{COUNT - 1}' in url and not pathlib.Path('go').exists() and time.monotonic() < end:
        time.sleep(0.01)
    return ''
"""
"""Holds the last page until the test lets it go."""
TOLD = "while pages are rendered"


def project(folder: Path, host: ImgPro, options: str = "", more: str = "") -> Path:
    """Write a project whose pages show an image of their own each; the last one is not rendered before it may."""
    config = CONFIG.format(url=host.api_url, options=options, more=more)
    pages = {f"docs/page{number}.md": f"![one]({number}.png)\n" for number in range(COUNT)}
    images = {f"docs/{number}.png": picture(number) for number in range(COUNT)}
    files: dict[str, str | bytes] = {"mkdocs.yml": config, "theme/main.html": THEME, "gate.py": GATE}
    return write(folder, {**files, "docs/index.md": "# Start\n", **pages, **images})


def go(folder: Path) -> None:
    """Have the last page rendered."""
    (folder / "go").touch()


def until(is_so: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until something is so while a build goes on."""
    while not is_so():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def ended(is_so: Callable[[], object]) -> None:
    """Wait until what a build left under way has ended so, on the busiest machine."""
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def building(folder: Path, *arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Begin a build, and wait for its end at the end."""
    given = os.environ | {"IMGPRO_API_KEY": VERIFIED, "PYTHONPATH": str(folder)} | environ
    command = [sys.executable, "-m", "mkdocs", "build", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process


def build(folder: Path, *arguments: str, **environ: str) -> tuple[int, str]:
    """Build; gives the exit status and what was printed."""
    with building(folder, *arguments, **environ) as process:
        printed = process.communicate(timeout=100)[1]
    return process.returncode, printed


def all_hosted(folder: Path) -> bool:
    return all(b'src="http://127.' in page for path, page in tree(folder / "site", ".html").items() if "page" in path)


def slowed(host: ImgPro, seconds: float) -> None:
    """Have the host think before it stores."""
    route = host.server.route

    def slowly(request: Request) -> Reply:
        if request.method == "POST":
            time.sleep(seconds)
        return route(request)

    host.server.route = slowly


def test_images_are_there_before_the_last_page_is(tmp_path: Path) -> None:
    """Also where warnings end the build, since there are none; a second build looks at no page before its end."""
    with ImgPro("images") as host:
        folder = project(tmp_path, host)
        with building(folder, "--strict") as process:
            until(lambda: len(host.copies) == COUNT - 1, process)
            assert not (folder / f"site/page{COUNT - 1}/index.html").exists()
            go(folder)
            printed = process.communicate(timeout=60)[1]
        assert process.returncode == 0, printed
        assert TOLD in printed
        assert f"{COUNT} uploaded" in printed
        assert all_hosted(folder)
        count = len(host.server.log)
        status, printed = build(folder, "--strict")
        assert (status, TOLD in printed, len(host.server.log)) == (0, False, count)
        assert all_hosted(folder)


HOOK = "def on_post_build(config):\n    pass\n"
QUIET = {
    "a hook": ({"more": "hooks: [hook.py]"}, (), {}),
    "a plugin that may change images": ({"options": "  - resizing"}, (), {}),
    "a part of the site": ({}, ("--dirty",), {}),
    "a pull request": ({}, (), {"GITHUB_EVENT_NAME": "pull_request"}),
    "no key": ({}, (), {"IMGPRO_API_KEY": ""}),
    "a preview": ({"options": "      serve: true"}, (), {"IMGHOST_SERVE": "1"}),
}
WATCHED = """
import atexit, sys
atexit.register(lambda: print("LOADED early" if "imghost.run.early" in sys.modules else "", file=sys.stderr))
"""
PLUGIN = {
    "resizing.py": "from mkdocs.plugins import BasePlugin\nclass Plugin(BasePlugin):\n    pass\n",
    "resizing-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: resizing\nVersion: 1\n",
    "resizing-1.dist-info/entry_points.txt": "[mkdocs.plugins]\nresizing = resizing:Plugin\n",
}


@pytest.mark.parametrize("why", QUIET)
def test_where_anything_may_change_what_pages_show_nothing_goes_early(tmp_path: Path, why: str) -> None:
    """A live preview, and a build of what has changed alone, load nothing for it."""
    given, arguments, environ = QUIET[why]
    with ImgPro("images") as host:
        folder = project(write(tmp_path, {"hook.py": HOOK, "sitecustomize.py": WATCHED, **PLUGIN}), host, **given)
        go(folder)
        status, printed = build(folder, *arguments, **environ)
        assert status == 0, printed
        assert TOLD not in printed
        assert ("LOADED early" in printed) is (why not in {"a part of the site", "a preview"})
        is_own = why in {"a hook", "a plugin that may change images", "a part of the site"}
        assert len(host.uploads) == (COUNT if is_own else 0)


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "an error"])
def test_a_build_that_ends_while_pages_are_rendered_keeps_what_was_under_way(tmp_path: Path, how: str) -> None:
    """Nothing is sent twice, and the lock has every image that is at the host."""
    with ImgPro("images") as host:
        folder = project(tmp_path, host)
        slowed(host, 0.5)
        if how == "an error":
            write(folder, {"theme/main.html": THEME + "{{ config.none.of_it if page.url.startswith('page5') }}"})
        with building(folder) as process:
            until(lambda: host.uploads, process)
            if how == "an error":
                go(folder)
            else:
                process.send_signal(getattr(signal, how))
            printed = process.communicate(timeout=60)[1]
        assert process.returncode == {"SIGINT": 1, "SIGTERM": -signal.SIGTERM, "an error": 1}[how], printed
        assert "Exception ignored" not in printed
        assert host.copies, "the build has not waited for what was under way"
        ended(lambda: len(host.copies) == len(locks.read(folder / "imghost.lock").records) < COUNT)
        go(project(tmp_path, host))
        status, printed = build(folder)
        assert status == 0, printed
        assert all_hosted(folder)
        assert len(host.uploads) == len(host.copies) == COUNT


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.3, 0.6])
def test_a_build_that_is_killed_while_pages_are_rendered_is_completed_by_the_next(
    tmp_path: Path, moment: float
) -> None:
    with ImgPro("images") as host:
        folder = project(tmp_path, host)
        slowed(host, 0.1)
        with building(folder) as process:
            until(lambda: host.uploads, process)
            time.sleep(moment)
            process.kill()
        go(project(tmp_path, host))
        status, printed = build(folder)
        assert status == 0, printed
        assert all_hosted(folder)
        assert len(host.copies) == len(locks.read(folder / "imghost.lock").records) == COUNT


def test_a_page_that_a_plugin_takes_away_later_costs_no_more_than_its_image(tmp_path: Path) -> None:
    """The report tells what pages show, and the lock what is at the host."""
    with ImgPro("images") as host:
        folder = project(tmp_path, host, "      report: report.json")
        with building(folder) as process:
            until(lambda: len(host.copies) == COUNT - 1, process)
            write(folder, {"site/page0/index.html": "<title>gone</title>"})
            go(folder)
            printed = process.communicate(timeout=60)[1]
        assert process.returncode == 0, printed
        assert json.loads((folder / "report.json").read_text())["images"]["uploaded"] == COUNT - 1
        assert len(locks.read(folder / "imghost.lock").records) == COUNT
        assert "1 image that no page shows any more was uploaded: 0.png" in printed


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="a library that fails is made with cc")
def test_where_the_lock_cannot_be_locked_nothing_is_sent_at_any_time(tmp_path: Path) -> None:
    (tmp_path / "faulty.c").write_text(FAULTY)
    library = tmp_path / "faulty.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "faulty.c", "-ldl"], check=True)
    with ImgPro("images") as host:
        folder = project(tmp_path / "project", host)
        go(folder)
        status, printed = build(folder, LD_PRELOAD=str(library), NO_LOCK="imghost.lock")
        assert (status, TOLD in printed) == (0, True)
        assert "imghost.lock cannot be locked" in printed
        assert not host.uploads
