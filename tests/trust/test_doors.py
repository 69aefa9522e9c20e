"""Every host behind a slow door: what it can carry arrives, once each."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from doubles.imageupload import PRO, ImageUpload
from doubles.img402 import Img402
from doubles.img402_paid import PaidImg402
from doubles.imgpro import VERIFIED, ImgPro
from doubles.line import SlowLine
from PIL import Image as Picture
from sites import write
from trust.place import counted, tell

COUNT, RATE = 8, 60_000


def noise(seed: int, size: int) -> bytes:
    """Draw a picture of about so many bytes, which nothing makes smaller."""
    edge = int((size / 3) ** 0.5)
    file = io.BytesIO()
    Picture.frombytes("RGB", (edge, edge), random.Random(seed).randbytes(edge * edge * 3)).save(file, "PNG")
    return file.getvalue()


def images(folder: Path, size: int) -> None:
    shown = "".join(f'<img src="{number}.png" alt="x">' for number in range(COUNT))
    pictures = {f"site/{number}.png": noise(number, size) for number in range(COUNT)}
    write(folder, {"site/index.html": f"<title>x</title>{shown}", **pictures})


def host(name: str) -> tuple[Any, str, dict[str, str], list[str]]:
    """Make a double: it, where its API is, the environment, and flags."""
    if name == "img402":
        return Img402(era="newest"), "", {}, ["--retention", "7d", "--option", "tier=free"]
    if name == "img402 paid":
        chain = shared_chain()
        key = "0x" + bytes(chain.wallet(30).key).hex()
        return PaidImg402(chain=chain), "", {"IMG402_PRIVATE_KEY": key}, ["--max-cost", "8"]
    if name.startswith("img.pro"):
        return ImgPro(name.partition(" ")[2]), "/v1", {"IMGPRO_API_KEY": VERIFIED}, []
    return ImageUpload(), "", {"IMAGEUPLOAD_API_KEY": PRO}, []


def shared_chain() -> Any:
    from doubles.chain import shared_chain as made

    return made()


HOSTS = ("img402", "img402 paid", "img.pro upload", "img.pro images", "imageupload.io")


def rehosted(
    folder: Path, name: str, size: int, flags: list[str], held: ExitStack
) -> Callable[[], tuple[int, int, int, str]]:
    """Begin a build whose host is behind a door; gives what waits for it and tells what became of it."""
    images(folder, size)
    double, below, environ, more = host(name)
    held.enter_context(double)
    port = double.server.port
    line = held.enter_context(SlowLine(port, RATE))
    double.server.port = line.port  # what it says of itself is the door's address
    held.callback(setattr, double.server, "port", port)
    command = [
        sys.executable,
        "-m",
        "imghost",
        "rehost",
        "site",
        "--host",
        name.split(maxsplit=1)[0],
        "--strict",
        *more,
        *flags,
    ]
    given = os.environ | environ | {"IMGHOST_STATE_DIR": str(folder / "state")}
    address = ["--option", f"api_url=http://127.0.0.1:{line.port}{below}"]

    def wait() -> tuple[int, int, int, str]:
        done = subprocess.run([*command, *address], cwd=folder, env=given, capture_output=True, text=True)
        sent = sum(len(request.body) > size // 2 for request in double.server.requests("POST"))
        hosted = (folder / "site/index.html").read_text("utf-8").count(f"http://127.0.0.1:{line.port}/")
        return done.returncode, sent, hosted, done.stderr

    return wait


@pytest.mark.long
@pytest.mark.timeout(600)
def test_eight_images_through_a_door_of_60_kb_a_second_arrive_once_each_at_every_host(tmp_path: Path) -> None:
    """A soak sends 600 kB each with the default settings; else sizes and times are a tenth, in the same proportion."""
    tenths = counted("DOOR", 1)
    flags = [] if tenths == 10 else ["--timeout", str(3 * tenths)]
    with ExitStack() as held, ThreadPoolExecutor(len(HOSTS)) as pool:
        waits = [rehosted(tmp_path / name.replace(" ", "-"), name, 60_000 * tenths, flags, held) for name in HOSTS]
        ends = dict(zip(HOSTS, pool.map(lambda wait: wait(), waits), strict=True))
    assert {name: end[:3] for name, end in ends.items()} == dict.fromkeys(HOSTS, (0, COUNT, COUNT)), ends
    tell(f"doors: {len(HOSTS)} hosts, {COUNT} images of {60 * tenths} kB each at {RATE // 1000} kB/s, none sent twice")
