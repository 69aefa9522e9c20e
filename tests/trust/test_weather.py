"""A site of many images at a host of whose answers one in twenty goes wrong: nothing breaks, and all is told."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubles.imgpro import ImgPro
from doubles.weather import Weather
from hosts.conformance_doubles import Fitted, sends_to
from hosts.conformance_hosts import ImageUploadPro, Img402Free, ImgProImages, ImgProUpload, Served
from PIL import Image as Picture
from sites import image_urls, tree, write
from trust.place import counted, tell

from imghost import settings
from imghost.net import Client
from imghost.records import lock
from imghost.run.job import Job
from imghost.run.rehost import Result, rehost
from imghost.run.report import as_mapping
from imghost.testing import draw

IMAGES = counted("IMAGES", 80, of_all=200)
SHARE = 0.05
A_PAGE = 50
"""Images on a page; each is on the next page, too."""


class Roomy(ImgProImages):
    """img.pro with room for a soak."""

    def double(self) -> Fitted:
        double = ImgPro(self.generation, quota=1_000_000)
        return Fitted(double, double.server, lambda: len(double.copies), sends_to("/v1/upload", "/v1/images"))


class RoomyUpload(Roomy, ImgProUpload):
    generation = "upload"


class RoomyFree(Img402Free):
    def double(self) -> Fitted:
        found = super().double()
        found.inner.daily = 1_000_000  # type: ignore[attr-defined]
        return found


HOSTS: dict[str, type[Served]] = {
    "img.pro images": Roomy, "img.pro upload": RoomyUpload, "imageupload.io": ImageUploadPro, "img402 free": RoomyFree,
}  # fmt: skip


def a_site(site: Path) -> dict[str, bytes]:
    """Write a site whose pages show every image, and most of them twice."""
    images = {f"images/{number}.png": draw(number) for number in range(IMAGES)}
    pages: dict[str, str | bytes] = {}
    for start in range(0, IMAGES, A_PAGE):
        shown = [f'<p><img src="../images/{number % IMAGES}.png"></p>' for number in range(start, start + 2 * A_PAGE)]
        pages[f"page/{start}.html"] = "<!doctype html>\n" + "\n".join(shown)
    write(site, {**images, **pages})
    return tree(site)


def number_in(body: bytes) -> int:
    """Read which image a picture is, from its first row, however the host has encoded it."""
    drawn = Picture.open(io.BytesIO(body)).convert("L")
    assert drawn.size == (24, 16)
    return int("".join("1" if drawn.getpixel((x, 0)) > 127 else "0" for x in range(24)), 2)  # type: ignore[operator]


def published(opened: Served, double: Any, folder: Path) -> Result:
    raw: dict[str, Any] = {"host": opened.kind.name, "options": opened.options(double), "timeout": 4}
    if opened.retention:
        raw["retention"] = f"{opened.retention.days}d"
    credential = {opened.kind.credentials[0]: opened.credential} if opened.credential else {}
    job = Job(folder / "site", settings.read(raw, folder), credential)
    return rehost(replace(job, sleep=lambda seconds: None))


def crawl(site: Path, before: dict[str, bytes], reader: Client) -> Counter[str]:
    """Follow every reference: to the file that was there before, or to a URL that serves that very image."""
    found: Counter[str] = Counter()
    served: dict[str, int] = {}
    for page in (path for path in before if path.endswith(".html")):
        was, now = image_urls(before[page]), image_urls((site / page).read_bytes())
        for old, new in zip(was, now, strict=True):
            number = int(old.rpartition("/")[2].partition(".")[0])
            if old == new:
                assert (site / f"images/{number}.png").read_bytes() == before[f"images/{number}.png"]
                found["local"] += 1
                continue
            if new not in served:
                answer = reader.fetch(new)
                assert answer.status == 200, new
                assert answer.headers["content-type"].startswith("image/"), new
                served[new] = number_in(answer.body)
            assert served[new] == number, new
            found["hosted"] += 1
    return found


def check_report(result: Result, folder: Path, found: Counter[str]) -> None:
    """Check that the report's figures add up, and agree with the pages and with the lock."""
    told = as_mapping(result.report)
    images, references = told["images"], told["references"]
    assert images["found"] == IMAGES == sum(images[name] for name in ("cached", "uploaded", "kept", "failed"))
    assert references["found"] == sum(found.values())
    assert (references["rewritten"], references["kept"]) == (found["hosted"], found["local"])
    records = lock.read(folder / "imghost.lock").records
    assert len(records) == images["cached"] + images["uploaded"]
    assert len({record.url for record in records}) == len({record.sha256 for record in records}) == len(records)
    assert len(told["uploads"]) == images["uploaded"]
    assert len({failure["path"] for failure in told["failures"]}) == images["failed"]
    assert len({kept["path"] for kept in told["kept"]}) == images["kept"]


@contextmanager
def in_weather(opened: Served) -> Iterator[tuple[Fitted, Weather]]:
    with opened.double() as double:
        yield double, Weather(double.server, seed=402, share=SHARE, is_upload=double._is_upload)


@pytest.mark.more_in_all
@pytest.mark.sampled(1)
@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("name", HOSTS)
def test_a_site_is_published_in_bad_weather_and_completed_in_good(name: str, tmp_path: Path) -> None:
    """References work after each run, the figures add up, and no second copy is there that was not told of."""
    opened = HOSTS[name]()
    before = a_site(tmp_path / "site")
    with in_weather(opened) as (double, weather), Client(5, environ={}) as reader:
        first = published(opened, double, tmp_path)
        assert weather.gusts.total() > IMAGES * SHARE / 2
        weather.share, repeats = 0.0, weather.unclear.total()
        check_report(first, tmp_path, crawl(tmp_path / "site", before, reader))
        extra = double.stored - len(stored_once(double, opened))
        assert first.report.duplicates_possible == (
            repeats if not opened.is_idempotent and not opened.looks_first else 0
        )
        assert extra <= first.report.duplicates_possible

        write(tmp_path / "site", {path: body for path, body in before.items() if path.endswith(".html")})
        second = published(opened, double, tmp_path)
        found = crawl(tmp_path / "site", before, reader)
        check_report(second, tmp_path, found)
        assert (found["local"], second.report.counts.failed, second.report.counts.kept) == (0, 0, 0)
        assert second.notices == ()
        possible = first.report.duplicates_possible + second.report.duplicates_possible
        extra = double.stored - IMAGES
        assert 0 <= extra <= possible
        if opened.is_idempotent or opened.looks_first:
            assert (extra, possible) == (0, 0)
    counts = first.report.counts
    tell(
        f"{IMAGES} images at {name}, {weather.gusts.total()} faults of {len(weather.gusts)} kinds: "
        f"{counts.uploaded + counts.cached} hosted, {counts.failed + counts.kept} left to the second run, "
        f"{extra} second copies of {possible} told of"
    )


def stored_once(double: Fitted, opened: Served) -> set[str]:
    """Give the digests of the images that the host has, each once."""
    inner: Any = double.inner
    if hasattr(inner, "images"):
        return {hashlib.sha256(body).hexdigest() for body, _ in inner.images.values()}
    return {getattr(copy, "sent", None) or copy.name for copy in inner.copies.values()}
