"""Whole builds: a warm one with imghost beside a plain one, pair by pair."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks import sites
from benchmarks.measure import Row, Taken, alternating, environ, median, python, ratio, run
from benchmarks.server import Running, serving
from imghost.records import lock as locks

PAIRS = 2
_LOADED = """
import sys
from mkdocs.__main__ import cli
try:
    cli(["build", "-q", "-f", sys.argv[1]])
finally:
    print(*(name for name in sys.modules if name != "__main__"))
"""
_IMPORTS = """
import sys, time
from importlib import import_module
from pathlib import Path
plain, hosted = (Path(name).read_text().split() for name in sys.argv[1:])
for name in plain:
    import_module(name)
added = [name for name in hosted if name not in sys.modules]
before = time.process_time()
for name in added:
    import_module(name)
print(time.process_time() - before, len(added))
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
        run(plain, folder, env)  # MkDocs empties the last site first, which counts on both sides
        pairs = alternating(lambda: run(hosted, folder, env), lambda: run(plain, folder, env), PAIRS)
        requests = server.count - sent
    each = median([other for _, other in pairs]) / pages * 1000
    size = sum(page.stat().st_size for page in (folder / "site-plain").rglob("*.html")) // pages // 1000
    note = f"{size} KB and {each:.0f} ms of a plain build a page; {sent - 1} images; {PAIRS} pairs"
    what = f"warm MkDocs build of {pages:,} Material pages, over a plain one (CPU)"
    return [
        Row(what, ratio(pairs), 1.02, note=note),
        Row("requests of a warm build", requests / PAIRS, 0, ""),
        _imports(folder, env),
    ]


def light(folder: Path, pages: int, pictures: int, *, is_small: bool = False) -> list[Row]:
    """Build light pages, warm and on a fresh runner, which has the lock alone; the least of each side counts."""
    folder.mkdir(parents=True)
    with serving() as server:
        plugins = {"plain": "", "hosted": sites.imghost_plugin(server.url)}
        sites.mkdocs(folder, pages, pictures, plugins, paragraphs=5)
        env = environ(IMGPRO_API_KEY=sites.KEY)
        warm, anew = _warm_and_fresh(folder, env, 9 if is_small else 7, has_fresh=not is_small)
    shutil.rmtree(folder)
    each = min(other for _, other in warm) / pages * 1000
    note = f"{each:.1f} ms of a plain build a page; least of {len(warm)} a side"
    if is_small:
        return [Row(f"warm MkDocs build of {pages} pages, over a plain one (CPU)", _least(warm), 1.05, note=note)]
    return [
        Row(f"warm MkDocs build of {pages} light pages, over a plain one (CPU)", _least(warm), 1.04, note=note),
        Row("the same on a fresh runner that has the lock alone", _least(anew), 1.08),
        Row("the same, the second target", _least(anew), 1.05),
    ]


def _warm_and_fresh(
    folder: Path, env: Mapping[str, str], rounds: int, *, has_fresh: bool = True
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Build with imghost and without, in turn: again and again, then each time with nothing but the lock there."""
    plain, hosted = (
        [sys.executable, "-m", "mkdocs", "build", "-q", "-f", f"{name}.yml"] for name in ("plain", "hosted")
    )
    for command in (hosted, plain):
        run(command, folder, env)  # MkDocs empties the last site first, which counts on both sides

    def fresh(command: list[str]) -> Taken:
        for left in (".cache", "site-hosted", "site-plain"):
            shutil.rmtree(folder / left, ignore_errors=True)
        return run(command, folder, env)

    warm = alternating(lambda: run(hosted, folder, env), lambda: run(plain, folder, env), rounds)
    return warm, alternating(lambda: fresh(hosted), lambda: fresh(plain), rounds if has_fresh else 0)


def _least(pairs: list[tuple[float, float]]) -> float:
    """Compare the least that each side took: what else the machine does only adds."""
    return min(one for one, _ in pairs) / min(other for _, other in pairs)


def _imports(folder: Path, env: Mapping[str, str]) -> Row:
    """Time the import of every module that a warm build loads more than a plain one, in a process that has those."""
    for name in ("plain", "hosted"):
        run(python(_LOADED, f"{name}.yml"), folder, env)
        shutil.copyfile(folder / ".benchmark.log", folder / f"{name}.modules")
    taken = []
    for _ in range(9):
        run(python(_IMPORTS, "plain.modules", "hosted.modules"), folder)
        seconds, count = (folder / ".benchmark.log").read_text().split()
        taken.append(float(seconds) * 1000)
    return Row("import time added to a warm MkDocs build", median(taken), 10, "ms", f"CPU; {count} modules")


def sphinx(folder: Path, sizes: Sequence[int]) -> list[Row]:
    """Build with Furo where nothing has changed, and anew, with imghost and without.

    Of a build where nothing has changed the middle of several sizes counts: Python's collector of cycles looks through
    all objects now and then, and at some sizes those that an extension makes more bring one such look about.
    """
    found: dict[int, list[tuple[float, float]]] = {}
    middle = sorted(sizes)[len(sizes) // 2]
    with serving() as server:
        env = environ(IMGPRO_API_KEY=sites.KEY)
        for pages in sizes:
            for name, lines in (("plain", ""), ("hosted", _extension(server))):
                sites.sphinx(folder / name, pages, pages, lines)
            found[pages] = _noops(folder, server, env)
            if pages == middle:
                clean = _clean(folder, server, env, f"Sphinx build of {pages:,} Furo pages", 3)
            shutil.rmtree(folder)
    ratios = {pages: _least(pairs) for pages, pairs in found.items()}
    each = ", ".join(
        f"{ratios[pages]:.3g} at {pages:,} pages (plain: {min(other for _, other in pairs):.2f} s)"
        for pages, pairs in found.items()
    )
    what = f"warm no-op Sphinx build of {min(sizes):,} to {max(sizes):,} Furo pages, over a plain no-op (CPU)"
    note = f"the middle of {each}; least of {len(found[middle])} a side"
    return [Row(what, median([*ratios.values()]), 1.05, note=note), clean]


def _extension(server: Running) -> str:
    return (
        "extensions = ['sphinx_imghost']\nimghost_host = 'img.pro'\n"
        f"imghost_options = {{'api_url': '{server.url}/v1'}}\nimghost_verify = False\n"
    )


_SPHINX: Final = (sys.executable, "-m", "sphinx", "-q", "-b", "html", "source", "out")


def _noops(folder: Path, server: Running, env: Mapping[str, str]) -> list[tuple[float, float]]:
    """Build again where nothing has changed, with imghost and without."""
    for name in ("plain", "hosted"):
        run(_SPHINX, folder / name, env)
    time.sleep(1)
    for name in ("plain", "hosted"):
        run(_SPHINX, folder / name, env)
    sent = server.count
    pairs = alternating(lambda: run(_SPHINX, folder / "hosted", env), lambda: run(_SPHINX, folder / "plain", env), 10)
    assert server.count == sent, "a no-op build has asked the host"
    return pairs


def _clean(folder: Path, server: Running, env: Mapping[str, str], what: str, rounds: int) -> Row:
    """Build into an empty folder, with imghost and without."""
    sent = server.count

    def clean(name: str) -> Taken:
        shutil.rmtree(folder / name / "out")
        return run(_SPHINX, folder / name, env)

    whole = alternating(lambda: clean("hosted"), lambda: clean("plain"), rounds)
    assert server.count == sent, "a clean build has asked the host"
    pages = list((folder / "hosted/out").rglob("*.html"))
    assert any("127.0.0.1" in page.read_text("utf-8") for page in pages), "the build has moved no image"
    note = f"{min(other for _, other in whole):.1f} s of a plain one; least of {len(whole)} a side"
    return Row(f"clean {what}, over a plain one (CPU)", _least(whole), 1.04, note=note)


def real(folder: Path) -> list[Row]:
    """Build two projects' own documentation, from the source distributions on the package registry.

    Of Hatch's plugins search alone is there, and of its Markdown extensions all but one; Sphinx's is as it is.
    """
    folder.mkdir(parents=True)
    with serving() as server:
        env = environ(IMGPRO_API_KEY=sites.KEY)
        rows = [*_hatch(folder, server, env), *_sphinx_itself(folder, server, env)]
    shutil.rmtree(folder)
    return rows


def _hatch(folder: Path, server: Running, env: Mapping[str, str]) -> list[Row]:
    project = _source(folder, "hatch", "1.18.2")
    configuration = project / "mkdocs.yml"
    configuration.write_text(configuration.read_text("utf-8").replace("  - mkdocs-click:\n", ""), "utf-8")
    for name, lines in (("plain", ""), ("hosted", sites.imghost_plugin(server.url))):
        own = f"INHERIT: mkdocs.yml\nsite_dir: site-{name}\nhooks: []\nwatch: []\nplugins:\n  - search\n{lines}"
        (project / f"{name}.yml").write_text(own)
    warm, anew = _warm_and_fresh(project, env, 7)
    pages = sum(1 for _ in (project / "site-plain").rglob("*.html"))
    moved = len(locks.read(project / "imghost.lock").records)
    assert moved, "the build has moved no image"
    each = min(other for _, other in warm) / pages * 1000
    note = f"{pages} pages, {moved} images; {each:.1f} ms of a plain build a page; least of {len(warm)} a side"
    return [
        Row("warm MkDocs build of Hatch's documentation, over a plain one (CPU)", _least(warm), 1.04, note=note),
        Row("the same on a fresh runner that has the lock alone", _least(anew), 1.08),
    ]


def _sphinx_itself(folder: Path, server: Running, env: Mapping[str, str]) -> list[Row]:
    documentation = _source(folder, "sphinx", "9.0.4") / "doc"
    for name in ("plain", "hosted"):
        shutil.copytree(documentation, folder / name / "source")
        with (folder / name / "source" / "conf.py").open("a") as written:
            written.write("\nintersphinx_mapping = {}\nnitpicky = False\n")
            if name == "hosted":
                written.write(_extension(server).replace("extensions =", "extensions +="))
    what, pairs = "build of Sphinx's own documentation", _noops(folder, server, env)
    note = f"{min(other for _, other in pairs):.2f} s of a plain no-op; least of {len(pairs)} a side"
    return [
        Row(f"warm no-op {what}, over a plain no-op (CPU)", _least(pairs), 1.05, note=note),
        _clean(folder, server, env, what, 2),
    ]


def _source(folder: Path, name: str, version: str) -> Path:
    """Fetch a source distribution of a project and unpack it; raises RuntimeError without a registry."""
    fetch = ["pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder, f"{name}=={version}"]
    subprocess.run([sys.executable, "-m", *fetch], check=True, capture_output=True)
    with tarfile.open(next(folder.glob(f"{name}-*.tar.gz"))) as packed:
        packed.extractall(folder, filter="data")
    return folder / f"{name}-{version}"


_WARM = """
import json, os, sys, time
from pathlib import Path
from imghost import Job, rehost
from imghost.settings import read
folder = Path.cwd()
began = time.process_time()
found = rehost(Job(folder / "site", read(json.loads(sys.argv[1]), folder), dict(os.environ))).report
spent = time.process_time() - began
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([spent * 1000, peak / 1000, found.counts.uploaded, found.counts.cached, found.requests]))
"""


def beside_records(folder: Path, pages: int, pictures: int, count: int) -> list[Row]:
    """Rehost pages beside a lock of their own images and beside one of many more, in turn; the least of each counts."""
    own, many = folder / "own", folder / "many"
    with serving() as server:
        sites.mkdocs(folder, pages, pictures, {"plain": ""}, paragraphs=5)
        env = environ(IMGPRO_API_KEY=sites.KEY)
        run([sys.executable, "-m", "mkdocs", "build", "-q", "-f", "plain.yml"], folder, env)
        given = json.dumps({"host": "img.pro", "options": {"api_url": f"{server.url}/v1"}, "verify": False})

        def rehosted(place: Path) -> list[float]:
            run(python(_WARM, given), place, env)
            return [float(it) for it in json.loads((place / ".benchmark.log").read_text())]

        for place in (own, many):
            shutil.copytree(folder / "site-plain", place / "site")
        rehosted(own)
        written = _fill(own / "imghost.lock", many / "imghost.lock", count)
        fresh = rehosted(many)
        sent = server.count
        pairs = [(rehosted(many), rehosted(own)) for _ in range(7)]
        assert server.count == sent, "a warm build has asked the host"
        assert {it[2] for pair in pairs for it in pair} == {0}, "a warm build has uploaded"
    size = (many / "imghost.lock").stat().st_size / 1e6
    shutil.rmtree(folder)
    least = [[min(pair[side][column] for pair in pairs) for side in (0, 1)] for column in (0, 1)]
    first = f"the first look at it {(fresh[0] - least[0][1]) / 1000:.2f} s and {fresh[1] - least[1][1]:.0f} MB"
    note = f"CPU; {size:.0f} MB; {first}; {pictures} lines put in {written:.1f} s"
    what = f"a lock of {count:,} records, to a warm build of {pages} pages"
    return [
        Row(f"time that is added by {what}", least[0][0] - least[0][1], 20, "ms", note),
        Row("memory that it adds", least[1][0] - least[1][1], 30, "MB"),
    ]


def _fill(own: Path, many: Path, count: int) -> float:
    """Write a lock of many records of other images, and add those that are known as a build does; gives its seconds."""
    known = locks.read(own)
    line = locks.render_record(known.records[0])
    digest, url = known.records[0].sha256, known.records[0].url
    with many.open("w") as file:
        file.write('{"imghost_lock": 1, "host": "img.pro"}\n')
        for name in sorted(hashlib.sha256(b"%d" % it).hexdigest() for it in range(count - len(known.records))):
            file.write(line.replace(digest, name).replace(url, f"{url}?{name[:20]}") + "\n")
    began = time.process_time()
    locks.add(many, known.records, known.host)
    return time.process_time() - began
