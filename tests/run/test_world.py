"""A model of the whole: projects, machines and a host, in any order of events, against a plain dictionary."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sites import picture, write
from test_kept_records import png_with_text
from trust.place import MEMORY, counted

from imghost.hosts.registry import open_host
from imghost.net import Client
from imghost.records import lock as locks
from imghost.run import care
from imghost.run.job import Job
from imghost.run.rehost import rehost
from imghost.settings import read
from imghost.site.images import Origins
from imghost.testing import FakeStore, write_entry
from imghost.testing.fake import KEY

ROUNDS = counted("WORLD", 6, of_all=500)
SOAKS = "IMGHOST_SOAK_WORLD" in os.environ
PICTURES = [picture(1), picture(2), png_with_text(""), png_with_text("by A"), png_with_text("by B"), picture(3)]
"""Three of them are one payload once they are stripped."""
PAYLOADS = [0, 1, 2, 2, 2, 3]
DAY = timedelta(days=1)
NAMES = strategies.sampled_from(["a", "b"])
MACHINES = strategies.sampled_from(["first", "second"])


class World(RuleBasedStateMachine):
    """Two projects in one repository that share each machine's store, a lock each; what each page should show."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="world-", dir=MEMORY))
        (self.root / ".git").mkdir()  # what one repository holds may share a store
        write_entry(self.root / "entry", "fake", "imghost.testing:FakeHost")
        sys.path.insert(0, str(self.root / "entry"))
        self.store = FakeStore(is_idempotent=False)
        self.store.__enter__()
        self.shown: dict[str, dict[str, int]] = {"a": {}, "b": {}}
        self.stores: dict[tuple[str, str], dict[int, str]] = {}
        """What each machine's store knows of a project's pictures: their URLs."""
        self.locked: dict[str, dict[int, str]] = {"a": {}, "b": {}}
        """What each project's lock knows."""

    def job(self, name: str, machine: str, **more: object) -> Job:
        raw = {
            "host": "fake", "options": {"api_url": self.store.url, "project": name}, "retries": 1,
            "cache_dir": str(self.root / machine), "concurrency": 2, **more,
        }  # fmt: skip
        site = self.root / name / "site"
        given = read(raw, self.root / name)
        return Job(site, given, {"FAKE_HOST_KEY": KEY}, Origins((site,), is_own_source=True), None)

    @rule(name=NAMES, images=strategies.sets(strategies.integers(0, 5), min_size=1, max_size=4))
    def edit(self, name: str, images: set[int]) -> None:
        self.shown[name] = {f"{number}.png": number for number in sorted(images)}

    @rule(name=NAMES, machine=MACHINES, limit=strategies.sampled_from([None, None, 2]))
    def build(self, name: str, machine: str, limit: int | None) -> None:
        """A clean build: what was known anywhere costs nothing, and all that is shown is hosted."""
        site = self.root / name / "site"
        shutil.rmtree(site, ignore_errors=True)
        shown = "".join(f'<img src="{path}" alt="">' for path in self.shown[name])
        pictures = {path: PICTURES[number] for path, number in self.shown[name].items()}
        write(site, {"index.html": f"<title>t</title><p>{shown}", **pictures})
        files = set(self.shown[name].values())
        known = self.stores.get((name, machine), {}) | self.locked[name]
        new = {PAYLOADS[number] for number in files - known.keys()}
        budget = len(files - self.locked[name].keys() - self.stores.get((name, machine), {}).keys())
        before = self.stored(name)
        result = rehost(self.job(name, machine, **({"max_uploads": limit} if limit else {})))
        is_over = limit is not None and budget > limit
        assert result.is_refused is is_over, result.notices
        assert self.stored(name) - before <= (0 if is_over else len(new)), "no payload is sent twice"
        urls = re.findall(r'src="([^"]+)"', (site / "index.html").read_text("utf-8"))
        page = dict(zip(self.shown[name].values(), urls, strict=True))
        hosted = {number: url for number, url in page.items() if url.startswith(f"{self.store.url}/{name}/")}
        assert hosted.keys() == (files & known.keys() if is_over else files), result.notices
        assert all(known.get(number, url) == url for number, url in hosted.items()), "what is known is used"
        self.stores.setdefault((name, machine), {}).update(
            {number: url for number, url in hosted.items() if number not in known}
        )
        self.locked[name] |= hosted

    @rule(name=NAMES)
    def lose_lock(self, name: str) -> None:
        (self.root / name / "imghost.lock").unlink(missing_ok=True)
        self.locked[name] = {}

    @rule(machine=MACHINES)
    def lose_store(self, machine: str) -> None:
        shutil.rmtree(self.root / machine, ignore_errors=True)
        for name in "ab":
            self.stores.pop((name, machine), None)

    @rule(name=NAMES, machine=MACHINES)
    def prune(self, name: str, machine: str) -> None:
        """What the project's own page does not show goes, and nothing of the other project's."""
        site = self.root / name / "site"
        page = site / "index.html"
        if not page.exists() or f"{self.store.url}/{name}/" not in page.read_text("utf-8"):
            return
        job = self.job(name, machine)
        lock = job.settings.lock
        with Client(5, environ={}) as client:
            host = open_host("fake", job.settings, job.environ, client, site)
            found = care.find_unused(host, [site], timedelta(0), datetime.now(UTC), locks.read(lock).records)
            others = {path for path in self.store.images if not path.startswith(f"{name}/")}
            care.delete(host, found.unused, lock, job.settings.cache_dir)  # type: ignore[arg-type]
        assert others <= set(self.store.images)
        # Another machine's store may still know what is gone, and finds it out by asking; here it is lost instead.
        self.lose_store("second" if machine == "first" else "first")
        for urls in (self.locked[name], self.stores.get((name, machine), {})):
            for number, url in list(urls.items()):
                if url.removeprefix(f"{self.store.url}/") not in self.store.images:
                    del urls[number]

    def stored(self, name: str) -> int:
        return sum(1 for path in self.store.images if path.startswith(f"{name}/"))

    @invariant()
    def every_page_shows_its_pictures(self) -> None:
        """Each hosted reference of the last build is served, as an image of its own project."""
        for name in "ab":
            page = getattr(self, "root", Path("/nowhere")) / name / "site/index.html"
            if page.exists():
                for url in re.findall(r'src="(http[^"]+)"', page.read_text("utf-8")):
                    assert f"/{name}/" in url
                    with urllib.request.urlopen(url) as answer:
                        assert answer.status == 200

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.__exit__()
            sys.path.remove(str(self.root / "entry"))
            shutil.rmtree(self.root, ignore_errors=True)


World.TestCase.settings = settings(
    max_examples=ROUNDS,
    stateful_step_count=12 if ROUNDS < 20 else 40,
    deadline=None,
    derandomize=not SOAKS,
    database=None,
    print_blob=True,
    phases=[Phase.generate] if SOAKS else [Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
TestWorld = pytest.mark.more_in_all(pytest.mark.timeout(36_000)(World.TestCase))
