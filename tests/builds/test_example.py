"""The example sites: every local reference of the chosen kinds moves, shows the same pixels, and stays warm."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from oracle import references
from PIL import Image as Picture
from sites import tree

ROOT = Path(__file__).parents[2]
SITES = {"mkdocs": "example_site/mkdocs/site", "sphinx": "example_site/sphinx/_build/html"}
URLS = {
    "mkdocs": "https://docs.example.com/meteo-one/",
    "sphinx": "https://docs.example.com/meteo-one-handbook/",
}
COMMANDS = {
    "mkdocs": ["mkdocs", "build", "--strict", "-q", "-f", "example_site/mkdocs/mkdocs.yml"],
    "sphinx": ["sphinx", "-W", "-q", "-b", "html", "example_site/sphinx", "example_site/sphinx/_build/html"],
}
CONFIGS = {"mkdocs": "example_site/mkdocs/mkdocs.yml", "sphinx": "example_site/sphinx/conf.py"}
KINDS = frozenset({"img", "link", "poster", "meta", "preload", "style", "svg"})


@pytest.fixture(scope="module", params=sorted(SITES))
def example(request, tmp_path_factory) -> tuple[str, Path]:
    """Copy the example and let its report be JSON."""
    folder = tmp_path_factory.mktemp("example")
    ignored = shutil.ignore_patterns("site", "_build", ".cache", "report-*", "__pycache__")
    shutil.copytree(ROOT / "example_site", folder / "example_site", ignore=ignored)
    config = folder / CONFIGS[request.param]
    config.write_text(re.sub(r"report-\w+\.html", "report.json", config.read_text("utf-8")), "utf-8")
    return request.param, folder


def build(tool: str, folder: Path, prelude: str = "") -> subprocess.CompletedProcess[str]:
    """Build in a process of its own, after some lines of Python."""
    module, *arguments = COMMANDS[tool]
    code = f"import runpy, sys\n{prelude}\nsys.argv = {['x', *arguments]!r}\nrunpy.run_module({module!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False, timeout=110,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip


def report(folder: Path) -> dict:
    return json.loads((folder / "example_site/report.json").read_text("utf-8"))


def pages(tool: str, folder: Path) -> dict[str, bytes]:
    site = tree(folder / SITES[tool], ".html")
    return {path: re.sub(rb"Build Date[^\n]*", b"", content) for path, content in site.items()}


def local_file(site: Path, base: str, page: str, url: str) -> Path | None:
    """Find the site's file that a URL means, by urllib."""
    whole = urljoin(base + page, url.strip())
    if not whole.startswith(base):
        return None
    path = unquote(urlsplit(whole).path)[len(urlsplit(base).path) :]
    return site / path if path and (site / path).is_file() else None


@pytest.mark.sampled(1)
def test_example_moves_every_reference_and_a_warm_build_asks_and_imports_nothing(example):
    tool, folder = example
    site = folder / SITES[tool]
    done = build(tool, folder)
    assert done.returncode == 0, done.stderr
    assert report(folder)["images"]["uploaded"] > 30
    local = 0
    for page, content in pages(tool, folder).items():
        for kind, url in references(content.decode("utf-8")).elements():
            if kind not in KINDS:
                continue
            file = local_file(site, URLS[tool], page, url)
            if file is None or file.suffix == ".html":
                continue
            if "_imghost" in file.parts:
                _assert_same_pixels(folder, file)
                local += 1
            else:
                assert "seal" in file.name, (page, kind, url)
    assert local == report(folder)["references"]["rewritten"]

    first = pages(tool, folder)
    block = "import socket\ndef refuse(*_, **__): raise AssertionError('a socket was opened')\nsocket.socket.connect = refuse"
    watch = (
        "import atexit\natexit.register(lambda: print('HEAVY', [name for name in "
        "('httpx', 'bs4', 'PIL', 'rich') if name in sys.modules], file=sys.stderr))"
    )
    done = build(tool, folder, block)
    assert done.returncode == 0, done.stderr
    config = folder / CONFIGS[tool]
    with_imghost = config.read_text("utf-8")
    # A report says more than a build needs to know, and loads what finds that out.
    without_report = re.sub(r"^(?:      report:|imghost_report =).*\n", "", with_imghost, flags=re.M)
    assert without_report != with_imghost
    config.write_text(without_report, "utf-8")
    done = build(tool, folder, f"{block}\n{watch}")
    assert done.returncode == 0, done.stderr
    heavy = re.search(r"HEAVY .*", done.stderr)[0]
    plain = re.sub(r"  - imghost:\n(      .*\n)*", "", with_imghost).replace('"sphinx_imghost"', "")
    assert plain != with_imghost
    shutil.copytree(site, folder / "kept")
    config.write_text(plain, "utf-8")
    done = build(tool, folder, watch)
    assert heavy == re.search(r"HEAVY .*", done.stderr)[0]
    config.write_text(with_imghost, "utf-8")
    shutil.rmtree(site)
    shutil.move(folder / "kept", site)
    assert report(folder)["images"]["uploaded"] == 0
    assert report(folder)["requests"] == 0
    assert pages(tool, folder) == first

    for cache in folder.rglob(".cache"):
        shutil.rmtree(cache)
    assert build(tool, folder).returncode == 0
    assert report(folder)["images"]["uploaded"] == 0
    assert pages(tool, folder) == first


def _assert_same_pixels(folder: Path, file: Path) -> None:
    """Find the source by its digest in the name; the bytes are the same, or where metadata went, the pixels."""
    import hashlib

    sources = {
        hashlib.sha256(path.read_bytes()).hexdigest()[:32]: path
        for path in (folder / "example_site").rglob("*")
        if path.is_file() and "_imghost" not in path.parts
    }
    source = sources[file.name[:32]]
    if source.read_bytes() == file.read_bytes():
        return
    assert "strip" in file.name
    with Picture.open(source) as old, Picture.open(file) as new:
        assert old.size == new.size
        assert old.tobytes() == new.tobytes()
