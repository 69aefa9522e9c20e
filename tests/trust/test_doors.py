"""Every host behind a slow door: what it can carry arrives, once each."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from doubles.imageupload import PRO, ImageUpload
from doubles.img402 import Img402
from doubles.img402_paid import PaidImg402
from doubles.imgpro import VERIFIED, ImgPro
from doubles.line import SlowLine
from doubles.s3 import VARIABLES, Storage
from doubles.stores import NOTHING
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


class Place(NamedTuple):
    """A host's double, and how a build finds it behind a door."""

    double: Any
    environ: dict[str, str]
    flags: list[str]
    below: str = ""
    """What follows the origin in `api_url`."""

    @property
    def port(self) -> int:
        double = self.double
        return int(urlsplit(double.url).port or 0) if isinstance(double, Storage) else int(double.server.port)

    def behind(self, port: int, held: ExitStack) -> list[str]:
        """Let what the double says of itself be the door's address; gives the options that lead there."""
        door = f"http://127.0.0.1:{port}"
        if isinstance(self.double, Storage):
            return [f"endpoint_url={door}", f"base_url={door}/{Storage.bucket}", f"bucket={Storage.bucket}"]
        held.callback(setattr, self.double.server, "port", self.port)
        self.double.server.port = port
        return [f"api_url={door}{self.below}"]

    def sent(self, size: int) -> int:
        """Count the requests that brought an image."""
        if isinstance(self.double, Storage):
            return len(self.double.requests("PUT"))
        return sum(len(request.body) > size // 2 for request in self.double.server.requests("POST"))


def host(name: str) -> Place:
    """Make a double."""
    if name == "img402":
        return Place(Img402(era="newest"), {}, ["--retention", "7d", "--option", "tier=free"])
    if name == "img402 paid":
        chain = shared_chain()
        key = "0x" + bytes(chain.wallet(30).key).hex()
        return Place(PaidImg402(chain=chain), {"IMG402_PRIVATE_KEY": key}, ["--max-cost", "8"])
    if name.startswith("img.pro"):
        return Place(ImgPro(name.partition(" ")[2]), {"IMGPRO_API_KEY": VERIFIED}, [], "/v1")
    if name == "s3":
        return Place(Storage(), NOTHING | VARIABLES, [])
    return Place(ImageUpload(), {"IMAGEUPLOAD_API_KEY": PRO}, [])


def shared_chain() -> Any:
    from doubles.chain import shared_chain as made

    return made()


HOSTS = ("img402", "img402 paid", "img.pro upload", "img.pro images", "imageupload.io", "s3")


class End(NamedTuple):
    """What became of a build."""

    status: int
    sent: int
    hosted: int
    seconds: float
    bytes: int
    """That went through the door."""
    told: str


def rehosted(folder: Path, name: str, size: int, flags: list[str], held: ExitStack) -> Callable[[], End]:
    """Begin a build whose host is behind a door; gives what waits for it and tells what became of it."""
    images(folder, size)
    place = host(name)
    held.enter_context(place.double)
    line = held.enter_context(SlowLine(place.port, RATE))
    options = [f"--option={option}" for option in place.behind(line.port, held)]
    chosen = ["--host", name.split(maxsplit=1)[0], "--strict", *place.flags, *flags, *options]
    given = os.environ | place.environ | {"IMGHOST_STATE_DIR": str(folder / "state")}

    def wait() -> End:
        command, began = [sys.executable, "-m", "imghost", "rehost", "site", *chosen], time.monotonic()
        done = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True)
        hosted = (folder / "site/index.html").read_text("utf-8").count(f"http://127.0.0.1:{line.port}/")
        seconds = time.monotonic() - began
        return End(done.returncode, place.sent(size), hosted, seconds, line.taken, done.stderr)

    return wait


@pytest.mark.long
@pytest.mark.timeout(600)
def test_eight_images_through_a_door_of_60_kb_a_second_arrive_once_each_at_every_host(tmp_path: Path) -> None:
    """A soak sends 600 kB each with the default settings; else sizes and times are a tenth, in the same proportion.

    The directory host is not among them: it needs no network, so that there is no door.
    """
    tenths = counted("DOOR", 1)
    flags = [] if tenths == 10 else ["--timeout", str(3 * tenths)]
    with ExitStack() as held, ThreadPoolExecutor(len(HOSTS)) as pool:
        waits = [rehosted(tmp_path / name.replace(" ", "-"), name, 60_000 * tenths, flags, held) for name in HOSTS]
        ends = dict(zip(HOSTS, pool.map(lambda wait: wait(), waits), strict=True))
    assert {name: end[:3] for name, end in ends.items()} == dict.fromkeys(HOSTS, (0, COUNT, COUNT)), ends
    for name, end in ends.items():
        what = f"{end.hosted} of {COUNT} images of {60 * tenths} kB hosted, {end.sent - COUNT} sent twice"
        tell(f"door of {RATE // 1000} kB/s, {name}: {what}, {end.bytes / 1e6:.2f} MB up in {end.seconds:.0f} s")
