"""Whole builds: a warm one with imghost beside a plain one, pair by pair."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path

from benchmarks import sites
from benchmarks.measure import Row, environ, median, python, ratio, run
from benchmarks.server import serving

PAIRS = 2
_IMPORTS = """
import sys, time
import mkdocs.__main__, mkdocs.commands.build, mkdocs.config, material.plugins.search.plugin, material.extensions.emoji
before = time.process_time()
import mkdocs_imghost, imghost.scan, imghost.rewrite, imghost.hosts.imgpro, imghost.cache_check
print(time.process_time() - before)
"""


def mkdocs(folder: Path, pages: int) -> list[Row]:
    """Build with Material and search, with imghost and without; the hosts' requests of warm builds are counted."""
    with serving() as server:
        sites.mkdocs(folder, pages, pages * 6 // 10, {"plain": "", "hosted": sites.imghost_plugin(server.url)})
        env = environ(IMGPRO_API_KEY=sites.KEY)
        plain, hosted = (
            [sys.executable, "-m", "mkdocs", "build", "-q", "-f", f"{name}.yml"] for name in ("plain", "hosted")
        )
        run(hosted, folder, env)
        sent = server.count
        assert sent > pages * 6 // 10, "the cold build has uploaded nothing"
        pairs = [(run(hosted, folder, env), run(plain, folder, env)) for _ in range(PAIRS)]
        requests = server.count - sent
    each = median([other.cpu for _, other in pairs]) / pages * 1000
    size = sum(page.stat().st_size for page in (folder / "site-plain").rglob("*.html")) // pages // 1000
    note = f"{size} KB and {each:.0f} ms of a plain build a page; {sent - 1} images; {PAIRS} pairs"
    what = f"warm MkDocs build of {pages:,} Material pages, over a plain one (CPU)"
    return [
        Row(what, ratio([(one.cpu, other.cpu) for one, other in pairs]), 1.05, note=note),
        Row("the same, the second target", ratio([(one.cpu, other.cpu) for one, other in pairs]), 1.03),
        Row("requests of a warm build", requests / PAIRS, 0, ""),
        _imports(folder),
    ]


def _imports(folder: Path) -> Row:
    """Time the import of the plugin into a process that has MkDocs and Material."""
    taken = []
    for _ in range(7):
        run(python(_IMPORTS), folder)
        taken.append(float((folder / ".benchmark.log").read_text()) * 1000)
    return Row(
        "import time added to a warm MkDocs build", median(taken), 10, "ms", "CPU; the plugin, and what it loads later"
    )


def sphinx(folder: Path, pages: int) -> list[Row]:
    """Build with Furo where nothing has changed, with imghost and without."""
    with serving() as server:
        extension = (
            "extensions = ['sphinx_imghost']\nimghost_host = 'img.pro'\n"
            f"imghost_options = {{'api_url': '{server.url}/v1'}}\nimghost_verify = False\n"
        )
        for name, lines in (("plain", ""), ("hosted", extension)):
            sites.sphinx(folder / name, pages, pages, lines)
        env = environ(IMGPRO_API_KEY=sites.KEY)
        command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "source", "out"]
        for name in ("plain", "hosted"):
            run(command, folder / name, env)
        time.sleep(1)
        run(command, folder / "hosted", env)
        sent = server.count
        pairs = [(run(command, folder / "hosted", env).cpu, run(command, folder / "plain", env).cpu) for _ in range(9)]
        assert server.count == sent, "a no-op build has asked the host"
    rewritten = len(re.findall(r"127\.0\.0\.1", (folder / "hosted/out/page1.html").read_text()))
    assert rewritten, "the build has moved no image"
    note = f"{median([other for _, other in pairs]):.2f} s of a plain no-op; 9 pairs"
    shutil.rmtree(folder)
    return [
        Row(f"warm no-op Sphinx build of {pages:,} Furo pages, over a plain no-op (CPU)", ratio(pairs), 1.05, note=note)
    ]
