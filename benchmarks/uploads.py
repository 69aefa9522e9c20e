"""Uploads to a local host that takes its time: how near to the ideal, how much memory, and beside others."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import engines, sites
from benchmarks.measure import Row, Taken, environ, median, python, run
from benchmarks.server import serving

DELAY = 0.1
"""Seconds that the host takes for an answer, beside the peers."""
_LARGE = """
import sys, threading
from benchmarks.measure import peak
from pathlib import Path
from imghost.image import inspect, payload
from imghost.net import Client, FilePart
folder, url, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with Client() as client:
    def upload(number):
        image = inspect.read(folder, f"p{number}.png")
        with (folder / image.path).open("rb") as source:
            made = payload.prepare(image, source, "strip", folder)
        part = FilePart("file", made.name, made.media_type, made.file)
        assert client.send("POST", url, form={"a": "b"}, file=part).status == 200
        made.file.unlink()
    threads = [threading.Thread(target=upload, args=(number,)) for number in range(count)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert client.requests == count
print(peak())
"""
_PICGO = """
const { PicGo } = require(process.argv[2] + '/node_modules/picgo');
const fs = require('fs');
const [, , , config, url, ...files] = process.argv;
fs.writeFileSync(config, JSON.stringify({ picBed: { uploader: 'local', current: 'local' }, silent: true }));
const picgo = new PicGo(config);
// As its own uploaders do it: one image after another, each as a multipart form.
picgo.helper.uploader.register('local', {
  handle: async (ctx) => {
    for (const image of ctx.output) {
      const answer = await ctx.request({
        method: 'POST', url, headers: { 'Content-Type': 'multipart/form-data' },
        formData: { file: { value: image.buffer, options: { filename: image.fileName } } },
        data: (() => { const form = new FormData(); form.append('file', new Blob([image.buffer]), image.fileName);
                       return form; })(),
      });
      const body = answer.data || (typeof answer === 'string' ? JSON.parse(answer) : answer);
      image.imgUrl = body.link || body.data?.link;
      delete image.buffer;
    }
    return ctx;
  },
});
picgo.upload(files).then((done) => {
  const count = Array.isArray(done) ? done.filter((one) => one.imgUrl).length : 0;
  if (count !== files.length) { console.error(done); process.exit(1); }
  process.exit(0);
});
"""
_CLI = """
import asyncio, sys
from pathlib import Path
from images_upload_cli.main import upload_images
async def local(client, image):  # as its hosts' functions do it
    response = await client.post(url=sys.argv[1], files={"source": image})
    return response.json()["image"]["url"]
links = asyncio.run(upload_images(local, tuple(map(Path, sys.argv[2:])), False))
assert len(links) == len(sys.argv) - 2
"""


def cold(
    folder: Path, count: int, at_once: int, delay: float, target: float = 1.15, *, verify: bool = False
) -> list[Row]:
    """Upload a site's images at a host that answers late, and compare with what the delay alone takes.

    With `verify`, the default of a build, each URL is fetched too, which takes the same delay once more.
    """
    ratios = []
    for _ in range(3):
        with serving(delay) as server:
            rehosted(folder, server.url, count, at_once, verify=verify)
            report = json.loads((folder / "report.json").read_text())
            assert report["images"]["uploaded"] == count, report["failures"][:1]
            ratios.append(report["seconds"]["upload"] / (math.ceil(count / at_once) * delay))
    how = "each confirmed, " if verify else ""
    what = f"cold, {count} uploads, {how}{at_once} at a time, {delay * 1000:.0f} ms latency, to ceil(N/c) × latency"
    # Whatever else the machine does only adds to the time that passes.
    note = f"least of {len(ratios)}; with the question for the quota, the payloads and the records"
    return [Row(what, min(ratios), target, note=note)]


def behind_rendering(folder: Path, pages: int, count: int, delay: float) -> list[Row]:
    """Build a new site of light pages without imghost, with it, and with it beside a hook, where all waits for the end.

    What a hook does with images nobody knows: so none goes before every page is there.
    """
    folder.mkdir(parents=True)
    (folder / "hook.py").write_text("def on_post_build(config):\n    pass\n")
    taken: dict[str, list[float]] = {"plain": [], "early": [], "late": []}
    with serving(delay) as server:
        plugin = sites.imghost_plugin(server.url)
        plugins = {"plain": "", "early": plugin, "late": f"{plugin}hooks: [hook.py]\n"}
        sites.mkdocs(folder, pages, count, plugins, paragraphs=5)
        for number in range(3):
            for name in sorted(taken, reverse=number % 2 == 1):
                for left in (".cache", f"site-{name}"):
                    shutil.rmtree(folder / left, ignore_errors=True)
                (folder / "imghost.lock").unlink(missing_ok=True)
                sent, command = server.count, [sys.executable, "-m", "mkdocs", "build", "-f", f"{name}.yml"]
                taken[name].append(run(command, folder, environ(IMGPRO_API_KEY=sites.KEY)).wall)
                assert (server.count - sent >= count) is (name != "plain"), "not all was uploaded"
                is_early = "while pages are rendered" in (folder / ".benchmark.log").read_text("utf-8")
                assert is_early is (name == "early"), "uploads have not begun where they should"
    shutil.rmtree(folder)
    plain, early, late = (min(taken[name]) for name in ("plain", "early", "late"))
    what = (
        f"{count} cold uploads, {delay * 1000:.0f} ms latency: what they add to a MkDocs build of {pages} light pages"
    )
    what += " that sends while it renders, to what they add at its end"
    note = f"{plain:.2f} s of a plain build, {early:.2f} s and {late:.2f} s; least of 3 a side"
    return [Row(what, (early - plain) / (late - plain), 0.5, note=note)]


def beside_a_store(folder: Path, count: int, at_once: int, delay: float, trip: float) -> list[Row]:
    """Upload with shared records and without, in turn, where each answer of the store is a round trip away."""
    rows = []
    with ExitStack() as stack:
        for engine, fresh, more in engines.far(stack, folder / "stores", trip):
            taken: dict[bool, list[float]] = {True: [], False: []}
            for number in range(6):
                is_shared = number % 2 == 0
                with serving(delay) as server:
                    store = fresh() if is_shared else ""
                    rehosted(folder / "site", server.url, count, at_once, verify=True, shared=store, more=more)
                report = json.loads((folder / "site" / "report.json").read_text())
                assert report["images"]["uploaded"] == count, report["failures"][:1]
                taken[is_shared].append(report["seconds"]["upload"])
            own = min(taken[False])
            what = f"cold, {count} uploads, each confirmed, {at_once} at a time, {delay * 1000:.0f} ms latency, and "
            what += f"records shared by {engine}, {trip * 1000:.0f} ms away, over the same without"
            note = f"{own:.2f} s without, {min(taken[True]):.2f} s with; least of 3 a side"
            rows.append(Row(what, min(taken[True]) / own, 1.1, note=note))
    shutil.rmtree(folder)
    return rows


def rehosted(
    folder: Path,
    url: str,
    count: int,
    at_once: int,
    *,
    verify: bool = False,
    shared: str = "",
    more: Mapping[str, str] | None = None,
) -> Taken:
    """Upload a new site's images by the command line; the pages are few."""
    shutil.rmtree(folder, ignore_errors=True)
    sites.images(folder / "site" / "images", count, 20_000)
    shown = "".join(f'<img src="images/p{number}.png" alt="">\n' for number in range(count))
    (folder / "site" / "index.html").write_text(f"<!doctype html><title>Page</title>\n{shown}")
    sites.imghost_settings(url, folder, verify=verify, shared=shared)
    command = ["rehost", "site", "--concurrency", str(at_once), "--report", "report.json"]
    return run([sys.executable, "-m", "imghost", *command], folder, environ(IMGPRO_API_KEY=sites.KEY, **(more or {})))


def memory(folder: Path, count: int, length: int) -> list[Row]:
    """Upload large images at once, and compare the most memory with that of small ones."""
    peaks = []
    for size in (20_000, length):
        shutil.rmtree(folder, ignore_errors=True)
        sites.large_images(folder, count, size)
        with serving() as server:
            peaks.append(median([_peak(folder, server.url, count) for _ in range(2)]))
    shutil.rmtree(folder)
    note = f"{peaks[0] / 1e6:.0f} MB to {peaks[1] / 1e6:.0f} MB; the client and its payloads, without a host's limit"
    what = f"memory over the base while uploading {count} × {length // 1_000_000} MB"
    return [Row(what, (peaks[1] - peaks[0]) / 1e6, 10, "MB", note)]


def _peak(folder: Path, url: str, count: int) -> float:
    run(python(_LARGE, folder, url, str(count)), folder)
    return float((folder / ".benchmark.log").read_text())


def beside_others(folder: Path, count: int, npm: Path | None) -> list[Row]:
    """Upload the same files to the same host with PicGo and images-upload-cli, command beside command."""
    ours = []
    for _ in range(3):
        with serving(DELAY) as server:
            ours.append(rehosted(folder, server.url, count, 16).wall)
    files: Sequence[Path] = sorted((folder / "site" / "images").iterdir())
    names = [os.fspath(file) for file in files]
    script = folder / "picgo.cjs"
    script.write_text(_PICGO)
    peers: dict[str, list[str | Path]] = {"images-upload-cli": python(_CLI)}
    if npm:
        peers["PicGo"] = ["node", script, npm, folder / "picgo.json"]
    rows = [] if npm else [Row("to PicGo", None, 1.0, note="skipped: npm or node is missing")]
    for name, command in peers.items():
        what = f"{count} files to the same local host, to {name} (time that passes)"
        try:
            with serving(DELAY) as server:
                taken = run([*command, server.url, *names], folder).wall
                assert server.count >= count, "it has not uploaded all"
        except (RuntimeError, OSError, AssertionError) as problem:
            rows.append(Row(what, None, 1.0, note=f"skipped: {str(problem).splitlines()[-1][:160]}"))
            continue
        times = taken / median(ours)
        note = f"{median(ours):.2f} s, with start and rewriting, to {taken:.1f} s: {times:.0f} times as fast"
        rows.append(Row(what, median(ours) / taken, 1.0, note=note))
    return rows
