"""What keeps a warm build fast, and what must stay true for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from doubles.imageupload import PRO
from doubles.imageupload import ImageUpload as DoubleImageUpload
from doubles.img402 import Img402 as DoubleImg402
from doubles.imgpro import VERIFIED
from doubles.imgpro import ImgPro as DoubleImgPro
from sites import small_site

from imghost.hosts.registry import installed
from imghost.html import tokenizer
from imghost.html.scan import scan
from imghost.models import DEFAULT_KINDS

MATTERING = sorted({*tokenizer._STARTS, *(f"/{name}" for name in (*tokenizer._ENDS, "a"))})


@pytest.mark.parametrize("name", MATTERING)
def test_no_tag_that_matters_is_taken_for_a_common_one(name):
    for ending in (">", ' class="a">', "\t>", "/>", " style='x'>"):
        assert not re.match(tokenizer._COMMON, name + ending)


@pytest.mark.parametrize("name", ["span", "/span", "td", "tr", "/th", "pre", "div", "code", "h2", "ul"])
def test_usual_tags_are_common_ones(name):
    assert re.fullmatch(tokenizer._COMMON, f"{name}>" if name.startswith("/") else f'{name} class="nb">')
    assert not re.match(tokenizer._COMMON, f'{name} class="nb" style="background: url(a.png)">')


@pytest.mark.parametrize(
    "piece", ['<span class="', '<span class="a" ', "<td><p", '</li class="x"', '<p class="<img src=a.png>">']
)
def test_common_tags_that_do_not_end_take_linear_time(piece):
    def taken(count: int) -> float:
        text, best = piece * count, 9.0
        for _ in range(3):
            began = time.process_time()
            scan(text, frozenset(DEFAULT_KINDS))
            best = min(best, time.process_time() - began)
        return best

    taken(10)
    assert taken(40_000) < 12 * taken(10_000) + 0.01


RUN = """
import json, os, sys
from pathlib import Path
from imghost import Job, rehost
from imghost.settings import read
folder = Path.cwd()
report = rehost(Job(folder / "site", read(json.loads(sys.argv[1]), folder), dict(os.environ))).report
print(json.dumps([report.host, report.counts.uploaded, report.counts.cached, report.requests, sorted(sys.modules)]))
"""
ROOM = {"imghost.hosts", "imghost.hosts.registry", "imghost.hosts.answers"}
HEAVY = {"httpx", "bs4", "PIL", "boto3", "eth_account", "imghost.run.upload", "imghost.net.wire"}


def ran(folder: Path, settings: dict[str, Any], environ: dict[str, str]) -> tuple[list[Any], set[str]]:
    """Rehost a site in a new process: host, uploaded, cached, requests; and what was loaded for it."""
    small_site(folder / "site")
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | environ
    given = [sys.executable, "-c", RUN, json.dumps(settings)]
    done = subprocess.run(given, cwd=folder, capture_output=True, text=True, env=environ, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    *counts, modules = json.loads(done.stdout)
    return counts, set(modules)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["img.pro", "imageupload.io", "img402"])
def test_a_build_that_knows_its_images_loads_no_more_of_a_host_than_it_asks(tmp_path: Path, name: str) -> None:
    """With `host: auto` the entry points name the one class to load, and what speaks with its host is not loaded."""
    with ExitStack() as stack:
        if name == "img.pro":
            url = stack.enter_context(DoubleImgPro()).api_url
            settings, environ = {"options": {"api_url": url}}, {"IMGPRO_API_KEY": VERIFIED}
        elif name == "imageupload.io":
            url = stack.enter_context(DoubleImageUpload()).api_url
            settings, environ = {"options": {"api_url": url}}, {"IMAGEUPLOAD_API_KEY": PRO}
        else:
            url = stack.enter_context(DoubleImg402()).url
            settings, environ = {"host": name, "options": {"api_url": url, "tier": "free"}, "retention": "7d"}, {}
        first, loaded = ran(tmp_path, settings, environ)
    assert first[0] == name
    assert first[1] > 0
    assert {"httpx", "imghost.run.upload"} <= loaded
    again, loaded = ran(tmp_path, settings, environ)
    assert again == [name, 0, first[1] + first[2], 0]
    own = {module for module in loaded if module.startswith("imghost.hosts")}
    theirs = installed()[name].module
    room = theirs.removesuffix(".host")
    assert own - ROOM <= {room, f"{room}.host", f"{room}.options"}
    assert theirs in own
    assert loaded & HEAVY == set()
