"""A build that is killed while it writes a page over leaves no half-written page to the next build."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
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
TOOLS = {
    "mkdocs": (MKDOCS, ["-m", "mkdocs", "build", "-q"], "site"),
    "sphinx": (SPHINX, ["-m", "sphinx", "-q", "docs", "out"], "out"),
}


def built(folder: Path, words: list[str], before: tuple[str, ...] = ()) -> int:
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "SOURCE_DATE_EPOCH": "1"}
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
