"""A build that is killed while it writes a page over leaves no half-written page to the next build."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doubles.imgpro import VERIFIED, ImgPro
from sites import tree, write
from trust.place import picture
from trust.points import can_trace

pytestmark = pytest.mark.skipif(not can_trace(), reason="strace is not installed, or may not trace here")

LONG = f"{'a-long-name-' * 8}.png"
"""Its URL gets shorter, so that a page killed before it is cut still has the old one's end."""
PAGES = ("index", "second", "third")
MKDOCS = {
    "mkdocs.yml": "site_name: x\nuse_directory_urls: false\nplugins:\n  - imghost:\n      host: directory\n",
    **{f"docs/{name}.md": f"# {name}\n\n![]({LONG})\n\n{name} is the end.\n" for name in PAGES},
    f"docs/{LONG}": picture(1),
}
SPHINX = {
    "docs/conf.py": "extensions = ['sphinx_imghost']\nimghost_host = 'directory'\nproject = 'x'\n",
    "docs/index.rst": f"x\n=\n\n.. image:: {LONG}\n\n.. toctree::\n\n   second\n   third\n",
    **{f"docs/{name}.rst": f"{name}\n{'=' * 9}\n\n.. image:: {LONG}\n" for name in PAGES[1:]},
    f"docs/{LONG}": picture(1),
}
WATCHED = """
import atexit, sys
atexit.register(lambda: open({loaded!r}, "w").write("\\n".join(sys.modules)))
"""
TOOLS = {
    "mkdocs": (MKDOCS, ["-m", "mkdocs", "build", "-q"], "site"),
    "sphinx": (SPHINX, ["-m", "sphinx", "-q", "docs", "out"], "out"),
}


def built(folder: Path, words: list[str], before: tuple[str, ...] = (), **more: str) -> int:
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "SOURCE_DATE_EPOCH": "1", **more}
    command = [*before, sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, timeout=60, check=False).returncode


def pages(site: Path) -> dict[str, bytes]:
    return {path: content for path, content in tree(site).items() if path.endswith(".html")}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("tool", TOOLS)
def test_no_half_written_page_survives_the_next_build(tmp_path: Path, tool: str) -> None:
    sources, words, out = TOOLS[tool]
    write(tmp_path / "whole", sources)
    assert built(tmp_path / "whole", words) == 0
    wanted = pages(tmp_path / "whole" / out)
    assert any(b"_imghost/" in content for content in wanted.values())
    torn = 0
    for number in (1, 2):
        folder = tmp_path / str(number)
        write(folder, sources)
        kill = ("strace", "-f", "-o", os.devnull, "-e", f"inject=ftruncate:signal=KILL:when={number}")
        assert built(folder, words, kill) == -9
        left = pages(folder / out)
        torn += any(
            content not in (wanted[path], b"") and content.count(b"</html>") > 1 for path, content in left.items()
        )
        assert built(folder, words) == 0
        assert pages(folder / out) == wanted
        shutil.rmtree(folder)
    assert torn  # else no kill hit a page


def on_a_host(sources: dict[str, str | bytes], url: str) -> dict[str, str | bytes]:
    """Have a project's images on a host, and one of them in each of its pages."""
    options = f"      options: {{api_url: {url}}}\n      verify: false\n"
    lines = f"imghost_options = {{'api_url': '{url}'}}\nimghost_verify = False\nhtml_logo = '{LONG}'\n"
    found = dict(sources)
    for name in found.keys() & {"mkdocs.yml", "docs/conf.py"}:
        more = options if name == "mkdocs.yml" else lines
        text = (
            str(found[name]).replace("host: directory", "host: img.pro").replace("= 'directory'", "= 'img.pro'") + more
        )
        found[name] = text.replace("site_name: x", "site_name: x\ntheme: readthedocs")
    return found


@pytest.mark.sampled(1)
@pytest.mark.parametrize("tool", TOOLS)
def test_a_run_that_repeats_the_last_one_leaves_no_half_written_page_either(tmp_path: Path, tool: str) -> None:
    with ImgPro("images") as host:
        sources, words, out = TOOLS[tool]
        folder, loaded = tmp_path / "project", tmp_path / "loaded"
        write(folder, on_a_host(sources, host.api_url))
        write(tmp_path / "startup", {"sitecustomize.py": WATCHED.format(loaded=str(loaded))})
        environ = {"IMGPRO_API_KEY": VERIFIED, "PYTHONPATH": str(tmp_path / "startup")}
        for _ in range(3):
            assert built(folder, words, **environ) == 0
        assert "imghost.run.plan" not in loaded.read_text()
        wanted, asked = pages(folder / out), len(host.server.requests())
        assert any(host.api_url.rpartition("/")[0].encode() in content for content in wanted.values())
        ended = []
        for call, number in (("ftruncate", 2), ("rename", 1), ("rename", 2)):
            for source in (folder / "docs").glob("*.rst"):
                os.utime(source)  # Sphinx writes the page again, as it was
            kill = ("strace", "-f", "-o", os.devnull, "-e", f"inject={call}:signal=KILL:when={number}")
            ended.append(built(folder, words, kill, **environ))
            assert built(folder, words, **environ) == 0
            assert pages(folder / out) == wanted
        assert ended.count(-9) >= 2
        assert len(host.server.requests()) == asked
