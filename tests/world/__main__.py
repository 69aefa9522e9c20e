"""Builds the projects, hosts a copy of each site, and compares every page: `python -m tests.world`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.world.compare import Difference, Seen, differences, look
from tests.world.projects import PROJECTS, URL, Project, Tools, missing


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that hangs up."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback; gives its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    server = _Server(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def hosted_copy(site: Path, hosted: Path, images: Path, address: str, options: list[str]) -> str:
    """Copy a site and move its images to another origin, without leaving a local copy; gives the summary."""
    shutil.copytree(site, hosted, symlinks=True)
    command = [
        *(sys.executable, "-m", "imghost", "rehost", str(hosted), "--host", "directory", "--site-url", URL),
        *("--option", f"path={images}", "--option", f"base_url={address}", "--remove-local", *options),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=hosted.parent)
    if ended.returncode == 2:
        raise RuntimeError(ended.stdout + ended.stderr)
    return (ended.stdout + ended.stderr).strip()


def compared(browser: Any, path: str, plain: str, moved: str, address: str) -> tuple[list[Difference], Seen]:
    """Compare a page with its hosted copy; what is not between each look at one and each at the other was the moment's."""
    looks: list[tuple[Seen, Seen]] = []
    found: list[Difference] = []
    for _ in range(3):
        looks.append((look(browser, plain, path, [address]), look(browser, moved, path, [address])))
        pairs = [differences(path, was, now) for was, _ in looks for _, now in looks]
        found = [one for one in pairs[-1] if all(one in others for others in pairs)]
        if not found:
            break
    return found, looks[0][1]


def judged(
    project: Project, tools: Tools, folder: Path, browser: Any, options: list[str]
) -> tuple[int, int, list[Difference]]:
    """Build one project, host it, and compare its pages; gives the pages, the clicks and the differences."""
    site = project.build(folder / "project", tools)
    images, hosted = folder / "images", folder / "hosted"
    with served(images) as address, served(site) as plain:
        print(hosted_copy(site, hosted, images, address, options))
        with served(hosted) as moved:
            found: list[Difference] = []
            clicks = pages = 0
            sources: list[str] = []
            for file in sorted(site.rglob("*.html")):
                path = file.relative_to(site).as_posix()
                different, seen = compared(browser, path, plain, moved, address)
                found += different
                pages, clicks = pages + 1, clicks + seen.clicks
                sources += seen.sources
            files = [source for source in sources if source.startswith("http")]
            print(f"{sum(source.startswith(address) for source in files)} of {len(files)} images come from the host")
    return pages, clicks, found


def main() -> int:
    """Judge the projects that are named, or all; 1 where a hosted page differs, 2 where too little could be built."""
    asked = argparse.ArgumentParser(prog="make world", description=__doc__)
    asked.add_argument("projects", nargs="*", metavar="PROJECT", help=", ".join(one.name for one in PROJECTS))
    asked.add_argument("--folder", type=Path, required=True, help="where the projects are built; emptied first")
    asked.add_argument("--npm", type=Path, required=True, help="the folder of npm's packages")
    asked.add_argument("--pages", type=int, default=Tools(Path()).pages, help="pages of each project")
    asked.add_argument(
        "--option", action="append", default=[], help="one more option of `imghost rehost`, as it is written"
    )
    asked.add_argument("--least", type=int, default=0, help="projects that must be built")
    given = asked.parse_args()
    tools = Tools(given.npm, given.pages)
    chosen = [one for one in PROJECTS if not given.projects or one.name in given.projects]
    return _judge(chosen, tools, given.folder, given.option, given.least)


def chromium(started: Any) -> Any:
    """Start Chromium under Playwright; None where it is not installed."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    return started.chromium.launch(executable_path=program, args=arguments) if program else None


def _judge(chosen: list[Project], tools: Tools, folder: Path, options: list[str], least: int) -> int:
    from playwright.sync_api import sync_playwright

    shutil.rmtree(folder, ignore_errors=True)
    totals = [0, 0, 0]
    built = 0
    with sync_playwright() as started:
        browser = chromium(started)
        if browser is None:
            print("no chromium is installed; install it")
            return 2
        for project in chosen:
            if lacking := missing(project, tools):
                print(f"{project.name}: left out: {', '.join(lacking)} missing")
                continue
            began = time.monotonic()
            try:
                pages, clicks, found = judged(project, tools, folder / project.name, browser, options)
            except RuntimeError as problem:
                print(f"{project.name}: not judged: {problem}")
                continue
            built += 1
            for difference in found:
                print(f"  {project.name}/{difference.page}: {difference.what}: {difference.detail}")
            print(
                f"{project.name}: {pages} pages, {clicks} clicks, {len(found)} differences, {time.monotonic() - began:.0f} s",
                flush=True,
            )
            totals = [total + more for total, more in zip(totals, (pages, clicks, len(found)), strict=True)]
        browser.close()
    print(f"{built} generators, {totals[0]} pages, {totals[1]} clicks, {totals[2]} differences")
    return 2 if built < least else int(totals[2] > 0)


if __name__ == "__main__":
    sys.exit(main())
