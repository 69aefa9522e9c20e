"""A small generator of sites that writes only what changed, as real ones do, or all of it into a new folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from sites import picture, tree

from imghost import settings
from imghost.models import Record
from imghost.records.lock import Lock, write
from imghost.run.job import Job
from imghost.run.rehost import Result, rehost
from imghost.site import page_map
from imghost.site.images import Origins

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PAGES = ("index.html", "deep/page.html", "copied/old.html")
NAMES = ("one.png", "two.png", "a b.png")
SNIPPETS = (
    '<img src="{up}img/one.png" alt=x>',
    "<img src={up}img/two.png>",
    '<a href="{up}img/one.png"><img src="{up}img/two.png#only-dark"></a>',
    '<picture><source srcset="{up}img/two.png 1x, {up}img/one.png 2x"><img src="{up}img/a%20b.png"></picture>',
    '<img src="/small/img/one.png?v=1">',
    '<meta property="og:image" content="https://x.test/small/img/two.png">',
    "<p style='background: url({up}img/a%20b.png)'>é &amp; more</p>",
    '<object data="{up}img/one.png"></object>',
    '<img data-imghost="off" src="{up}img/two.png">',
    '<img src="{up}plot/drawn.png">',
    '<base href="{up}img/">',
    "<p>no image</p>",
)
CSS = "body { background: url(img/two.png) } p { color: red }"


@dataclass
class Generator:
    """Sources, and what stands in the site that is built step by step."""

    folder: Path
    texts: dict[str, str] = field(default_factory=dict)
    """Page or other text -> its content as the generator writes it."""
    images: dict[str, int] = field(default_factory=dict)
    """Name -> seed."""
    drawn: int = 0
    """Seed of the image that the build itself draws, with no source."""
    raw: dict[str, Any] = field(default_factory=dict)
    now: datetime = NOW
    records: dict[int, timedelta | None] = field(default_factory=dict)
    """Seed -> life of its record in the lock."""
    is_command: bool = False
    """Whether the command line does it, which knows of no sources."""
    written: dict[str, object] = field(default_factory=dict)
    """What the step-by-step site has, by path."""

    @property
    def site(self) -> Path:
        return self.folder / "site"

    @property
    def map(self) -> Path:
        return page_map.location(self.folder / "state", self.site)

    def sources(self) -> dict[str, Path]:
        return {f"img/{name}": self.folder / "src" / name for name in self.images}

    def wanted(self) -> dict[str, object]:
        """List everything that a build writes: texts, and images by their seeds."""
        copies = {f"img/{name}": seed for name, seed in self.images.items()}
        return self.texts | copies | {"plot/drawn.png": self.drawn}

    def build(self, site: Path, written: dict[str, object]) -> None:
        """Write what is not as it was written the last time, and delete what is no more."""
        shutil.rmtree(self.folder / "src", ignore_errors=True) if not self.images else None
        (self.folder / "src").mkdir(parents=True, exist_ok=True)
        for name, seed in self.images.items():
            source, content = self.folder / "src" / name, picture(seed)
            if not source.exists() or source.read_bytes() != content:
                source.write_bytes(content)
        for gone in written.keys() - self.wanted().keys():
            (site / gone).unlink(missing_ok=True)
        for source in (self.folder / "src").iterdir():
            if source.name not in self.images:
                source.unlink()
        for path, content in self.wanted().items():
            if written.get(path) != content:
                (site / path).parent.mkdir(parents=True, exist_ok=True)
                (site / path).write_bytes(content.encode() if isinstance(content, str) else picture(content))
        written.clear()
        written.update(self.wanted())

    def write_lock(self) -> None:
        """Have the lock tell of the images that have a record."""
        records = []
        for seed, life in self.records.items():
            digest, expires = sha256(picture(seed)).hexdigest(), NOW + life if life else None
            url = f"https://i.img402.dev/{digest[:12]}.png"
            records.append(Record(digest, "img402", url, digest[:12], "", 9, "image/png", 40, 30, NOW, expires))
        write(self.folder / "imghost.lock", Lock("img402", tuple(records)))

    def job(self, site: Path, known: Path | None, cache: str) -> Job:
        raw = {"host": "directory", "site_url": "https://x.test/small/", "cache_dir": cache} | self.raw
        chosen = settings.read(raw, self.folder, "test")
        origins = Origins(is_own_source=True)
        if not self.is_command:
            origins = Origins(roots=(self.folder / "src",), sources=self.sources())
        return Job(site, chosen, {}, origins, known, now=lambda: self.now)

    def step(self) -> dict[str, bytes]:
        """Build on what is there, and give the site's files."""
        if not self.map.exists():
            self.written.clear()
        self.write_lock()
        self.build(self.site, self.written)
        self.result = rehost(self.job(self.site, self.map, "cache"))
        return tree(self.site)

    def clean(self) -> tuple[dict[str, bytes], Result]:
        """Build all of it anew, somewhere else."""
        site = self.folder / "clean"
        shutil.rmtree(site, ignore_errors=True)
        shutil.rmtree(self.folder / "clean-cache", ignore_errors=True)
        site.mkdir()
        self.build(site, {})
        result = rehost(self.job(site, None, "clean-cache"))
        return tree(site), result


def naming(name: str) -> str:
    """Write a file of JSON that names an image."""
    return json.dumps({"image": f"img/{name}"})
