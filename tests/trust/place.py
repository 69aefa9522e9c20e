"""What the tests of trust share: a project that can be built anyhow, and the crawl that judges what is left."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import hypothesis
from doubles.imgpro import VERIFIED, ImgPro
from doubles.imgpro_copies import Copy
from hypothesis import HealthCheck, Phase
from sites import picture as drawn
from sites import tree, write

import imghost
from imghost import settings
from imghost.run.job import Job
from imghost.run.rehost import Result, rehost
from imghost.site import page_map
from imghost.site.images import Origins

_GIVEN = dict(os.environ)  # before the tests' own fixture takes such variables out
SITE_URL = "https://docs.example/"
_URL = re.compile(rb'(\b(?:src|href|poster|content|srcset)="|url\()([^")]*)')
_HOUR = 3600
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where a disk costs no time, for tests that are not about one; None = where all temporary files are."""

picture = cache(drawn)


def counted(name: str, usual: int, of_all: int | None = None) -> int:
    """Give how many rounds a test makes: those of a soak, those of `make test-all`, or the usual ones."""
    is_all = of_all is not None and _GIVEN.get("IMGHOST_TEST_ALL") in {"1", "rest"}
    return int(_GIVEN.get(f"IMGHOST_SOAK_{name}", of_all if is_all else usual))


def of_orders(name: str, count: int, steps: int) -> hypothesis.settings:
    """Give a state machine's settings: the same orders each time, and in a soak new ones, not made small."""
    is_soak = f"IMGHOST_SOAK_{name}" in _GIVEN
    return hypothesis.settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        derandomize=not is_soak,
        database=None,
        print_blob=True,
        phases=[Phase.generate] if is_soak else [Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


TOLD: list[str] = []
"""What the tests counted, for the end of the run."""


def tell(counts: str) -> None:
    """Have counts printed at the end of the run, whether or not what tests print is shown."""
    TOLD.append(counts)


def pages(count: int) -> dict[str, str | bytes]:
    """Write two pages that show this many images in every way that moves, beside one that shows none."""
    shown = "".join(f'<p><img src="images/{number}.png" alt="n {number}"></p>\n' for number in range(count))
    sets = f'<img src="images/0.png" srcset="images/0.png 1x, images/{count - 1}.png 2x">\n'
    rest = '<video poster="images/1.png"></video><div style="background: url(images/0.png)"></div>\n'
    meta = f'<meta property="og:image" content="{SITE_URL}images/0.png">\n'
    below = '<img src="../images/0.png"><img src="../images/copy.png"><a href="../images/1.png">up</a>'
    return {
        "index.html": f"<!doctype html>\n{meta}<title>small</title>\n{shown}{sets}{rest}",
        "below/index.html": f"<!doctype html>\r\n{below}\r\n",
        "plain.html": '<p>nothing <a href="index.html">here</a>',
    }


def built_site(site: Path, count: int = 3, first: int = 0) -> Path:
    """Write a site as a generator does: every page anew. `first` changes what the images show."""
    images: dict[str, str | bytes] = {f"images/{number}.png": picture(first + number) for number in range(count)}
    return write(site, {**pages(count), "images/copy.png": picture(first), **images})


@dataclass(frozen=True)
class Elsewhere:
    """A host in another process, of which only the address is known here."""

    api_url: str


@dataclass(frozen=True)
class Project:
    """A project's folder, and the host that it publishes with."""

    root: Path
    host: Any
    """A double, which most tests take from img.pro."""
    options: tuple[tuple[str, Any], ...] = ()
    name: str = "site"
    """The site's folder."""
    chosen: str = "img.pro"
    """The host's name."""
    key: tuple[str, str] = ("IMGPRO_API_KEY", VERIFIED)

    @property
    def site(self) -> Path:
        return self.root / self.name

    @property
    def cache(self) -> Path:
        return self.root / ".cache" / "imghost"

    def command(self, *more: str) -> list[str]:
        """Give the command that builds; run it in the project's folder."""
        where = ["--host", self.chosen, "--option", f"api_url={self.host.api_url}", "--site-url", SITE_URL]
        own = [f"--{name.replace('_', '-')}={value}" for name, value in self.options]
        rest = ["--retries", "3", "--timeout", "3", *own, *more]
        return [sys.executable, "-m", "imghost", "rehost", self.name, *where, *rest]

    def environ(self, **more: str) -> dict[str, str]:
        """Give a process's environment, with the key; no byte code is written, so that each run does the same."""
        here = str(Path(imghost.__file__).parents[1])
        own = {"PATH": os.environ["PATH"], "PYTHONPATH": here, "PYTHONDONTWRITEBYTECODE": "1"}
        return own | {"HOME": str(self.root), "TMPDIR": str(self.root), self.key[0]: self.key[1]} | more

    def run(self, *more: str, before: Sequence[str] = (), **kept: Any) -> subprocess.CompletedProcess[str]:
        """Build in a process of its own, behind another command if one is given."""
        kept = {"env": self.environ(), "timeout": 60, "capture_output": True, "text": True} | kept
        return subprocess.run([*before, *self.command(*more)], cwd=self.root, **kept)

    def build(
        self,
        environ: Mapping[str, str] | None = None,
        now: Callable[[], datetime] | None = None,
        sleep: Callable[[float], object] | None = None,
        **raw: Any,
    ) -> Result:
        """Build in this process, with what is left of an earlier run as old as it would be next day."""
        _age(self.root)
        where = {"host": self.chosen, "options": {"api_url": self.host.api_url}, "site_url": SITE_URL}
        chosen = settings.read({**where, "retries": 3, "timeout": 3, **dict(self.options), **raw}, self.root)
        job = Job(
            site=self.site,
            settings=chosen,
            environ=dict([self.key]) if environ is None else environ,
            origins=Origins(is_own_source=True),
            page_map=page_map.location(chosen.cache_dir, self.site),
            sleep=sleep,
        )
        return rehost(replace(job, now=now) if now else job)


def _age(root: Path) -> None:
    for file in root.rglob(".imghost-*.tmp"):
        made = file.stat().st_mtime - _HOUR
        os.utime(file, (made, made))


def references(page: bytes) -> list[str]:
    """List the URLs of a page in order, by a way that shares no code with the scanner."""
    return [
        part for _, text in _URL.findall(page) for part in re.findall(r"[^\s,]+", re.sub(r" [12]x", "", text.decode()))
    ]


def rest(page: bytes) -> bytes:
    """Give a page without its URLs, which no build may change in any byte."""
    return _URL.sub(rb"\1", re.sub(rb'(srcset=")[^"]*', rb"\1", page))


def crawl(site: Path, before: Mapping[str, bytes], host: Any) -> dict[str, int]:
    """Follow every reference of every page; gives how many of each page point to the host.

    Each must be as it was and lead to a file, or be a URL that serves the image that was there before.
    """
    moved: dict[str, int] = {}
    after = tree(site)
    for page in (path for path in before if path.endswith(".html")):
        assert rest(after[page]) == rest(before[page]), page
        pairs = list(zip(references(before[page]), references(after[page]), strict=True))
        moved[page] = sum(was != now for was, now in pairs)
        for was, now in pairs:
            file = urlsplit(urljoin(f"{SITE_URL}{page}", was)).path.lstrip("/")
            if was == now:
                assert file in after, f"{page}: {was} leads nowhere"
            else:
                assert shows(host, now, before[file]), f"{page}: {now} is not {was}"
    return moved


def shows(host: Any, url: str, image: bytes) -> bool:
    """Say whether a URL serves an image that was made of these bytes; only img.pro stores other ones than are sent."""
    if not isinstance(host, ImgPro):
        return url.startswith(f"{host.server.url}/") and _fetched(url) == image
    name = url.rpartition("/")[2].partition(".")[0]
    if not url.startswith(f"{host.server.url}/t/") or name not in host.copies:
        return False
    copy = host.copies[name]
    is_alive = copy.expires is None or copy.expires > host.now()
    return is_alive and copy.sent == hashlib.sha256(image).hexdigest() and _is_served(url, copy.created)


@cache
def _is_served(url: str, _: float) -> bool:
    """Fetch a URL, once for each copy that was ever there."""
    return bool(_fetched(url))


def _fetched(url: str) -> bytes:
    """Fetch an image; nothing where it is none."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        is_image = answer.status == 200 and answer.headers["content-type"].startswith("image/")
        return bytes(answer.read()) if is_image else b""


def duplicates(host: ImgPro) -> int:
    """Count the copies that the host stores beyond one for each image and life.

    Once images have ended, a machine that knows so renews them, under another key than one that knows nothing.
    """
    alive = [copy for copy in host.copies.values() if copy.expires is None or copy.expires > host.now()]
    kinds = Counter((copy.sent, _key_of(copy) if host.clock else "") for copy in alive)
    return sum(number - 1 for number in kinds.values())


def _key_of(copy: Copy) -> str:
    return copy.fields.get("external_id") or copy.labels.get("key", "")


def assert_whole(moved: Mapping[str, int], before: Mapping[str, bytes]) -> None:
    """Check that each page is the old one or the new one, and none is between."""
    for page, count in moved.items():
        whole = sum(".png" in url for url in references(before[page]))
        assert count in {0, whole}, f"{page}: {count} of {whole} references moved"


def assert_done(project: Project, before: Mapping[str, bytes]) -> None:
    """Check that a site is complete: every image hosted once, nothing unfinished left."""
    moved = crawl(project.site, before, project.host)
    for page, count in moved.items():
        assert count == sum(".png" in url for url in references(before[page])), page
    assert duplicates(project.host) == 0
    assert not [path for path in tree(project.site) if ".imghost-" in path]


def scratch(name: str) -> tempfile.TemporaryDirectory[str]:
    """Make a folder for one round, which goes with it."""
    return tempfile.TemporaryDirectory(prefix=f"{name}-", ignore_cleanup_errors=True)


def today() -> datetime:
    """Give this moment."""
    return datetime.now(UTC)
