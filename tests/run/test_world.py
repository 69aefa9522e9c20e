"""A model of the whole: projects, machines and hosts, in any order of events, against plain dictionaries."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sites import picture, write
from test_kept_records import png_with_text
from trust.place import MEMORY, counted, of_orders, tell

from imghost.errors import SettingsError
from imghost.hosts.answers import image_urls
from imghost.hosts.registry import open_host
from imghost.net import Client
from imghost.records import lock as locks
from imghost.run import care
from imghost.run.job import Job
from imghost.run.rehost import Result, rehost
from imghost.settings import read
from imghost.site import page_map
from imghost.site.images import Origins
from imghost.testing import FakeHost, FakeStore, Reply, Seen, write_entry
from imghost.testing.fake import KEY

# The whole of `make test-all` has 500; a push, which runs its rest, has a fifth of that.
ROUNDS = counted("WORLD", 15, of_all=500 if os.environ.get("IMGHOST_TEST_ALL") == "1" else 100)
STEPS = counted("WORLD_STEPS", 25, of_all=40)
PICTURES = [picture(1), picture(2), png_with_text(""), png_with_text("by A"), png_with_text("by B"), picture(3)]
"""Three of them are one payload once they are stripped."""
PAYLOADS = [PICTURES[number] for number in (0, 1, 2, 2, 2, 5)]
DIGESTS = [sha256(payload).hexdigest() for payload in PAYLOADS]
NUMBERS = {sha256(image).hexdigest(): number for number, image in enumerate(PICTURES)}
PAGES = {"index.html": ("0", "1"), "more.html": ("2",)}
"""The pages of a new project, and the pictures' places in each."""
DAY = timedelta(days=1)
LIVES = (None, 8 * DAY, 40 * DAY, 120 * DAY)
EVER = datetime.max.replace(tzinfo=UTC)
HOSTS = ("fake", "loose")
_SHOWN = re.compile(r'src="([^"]+)"')

names = st.sampled_from(["a", "b"])
machines = st.sampled_from(["first", "second"])
checkouts = st.tuples(names, machines)
limits = st.sampled_from([None, None, None, 2])
modes = st.sampled_from(["command", "plugin", "dirty", "again"])
hosts = st.sampled_from(["fake", "fake", "loose"])
pictures = st.integers(0, len(PICTURES) - 1)
slots = st.sampled_from("0123")


class Loose(FakeHost):
    """A host whose URLs do not tell whose the images are: it takes every project's for its own."""

    name = "loose"

    def __init__(self, options: Any, setup: Any) -> None:
        super().__init__(options, setup)
        path = r"/[a-z]+/[0-9a-f]{64}(?:-[0-9]{1,6})?\.png"
        self._urls = image_urls(r"https://fake\.example" + path, path, options.api_url, self.origin, ())


class Deadly(FakeStore):
    """A store that kills who sends it an image, before or after it is stored."""

    victim = 0
    left = 0
    is_late = False

    def _route(self, seen: Seen) -> Reply:
        is_last = False
        if self.victim and seen.method == "PUT":
            self.left -= 1
            is_last = self.left == 0
        if is_last and not self.is_late:
            os.kill(self.victim, signal.SIGKILL)
            return Reply.json({"error": "busy"}, 503)
        reply = super()._route(seen)
        if is_last:
            os.kill(self.victim, signal.SIGKILL)
        return reply


class Rec(NamedTuple):
    """What somebody knows of a picture at a host."""

    end: datetime
    uploaded: datetime
    url: str
    asked: str = ""
    """For how long it was wanted, where the host gave less."""

    def is_due(self, now: datetime) -> bool:
        """Say whether it has to be renewed: in its last quarter, or its last 14 days."""
        return self.end != EVER and self.end - now <= min(14 * DAY, (self.end - self.uploaded) / 4)

    def is_short(self, life: timedelta | None) -> bool:
        """Say whether it was stored for less than is wanted now."""
        wanted = f"{life.total_seconds():.0f}s" if life else "permanent"
        given = self.end - self.uploaded
        return self.end != EVER and self.asked != wanted and (life is None or given < life - min(DAY, life / 4))


Known = dict[tuple[int, str], Rec]
"""Picture and host -> what is known of it."""


class Shown(NamedTuple):
    """One reference of a page: the place of its picture, which picture that was, and where that is hosted."""

    slot: str
    number: int
    rec: Rec | None = None
    is_known: bool = False
    """Whether the map tells what a hosted one was before."""

    @property
    def is_active(self) -> bool:
        """Say whether a build may change it."""
        return self.rec is None or self.is_known


@dataclass
class Checkout:
    """One project on one machine."""

    name: str
    machine: str
    root: Path
    lock: Known = field(default_factory=dict)
    store: Known = field(default_factory=dict)
    doubt: dict[tuple[int, str], list[Rec]] = field(default_factory=dict)
    """What a build that came to no end has left at a host, of which the local store tells."""
    vague: set[tuple[int, str]] = field(default_factory=set)
    """Of what it is not certain who knows it, beside the lock."""
    pages: dict[str, list[Shown]] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    """The site's pictures, as they were last generated."""

    @property
    def site(self) -> Path:
        return self.root / "site"

    @property
    def lock_file(self) -> Path:
        return self.root / "imghost.lock"

    @property
    def cache(self) -> Path:
        return self.root.parent / "cache"

    @property
    def map(self) -> Path:
        return page_map.location(self.cache, self.site)

    def wanted(self) -> set[int]:
        """List the pictures of the references that a build may change: local ones, and those of which the map tells."""
        shown = (one for page in self.pages.values() for one in page)
        return {self.files[one.slot] for one in shown if one.is_active}

    def forget_map(self) -> None:
        self.pages = {page: [one._replace(is_known=False) for one in shown] for page, shown in self.pages.items()}

    def is_there(self, number: int) -> bool:
        """Say whether the site has a file of a picture."""
        return any(its == number and (self.site / f"images/{slot}.png").exists() for slot, its in self.files.items())


@dataclass
class Plan:
    """What a build has to do, by pictures."""

    kept: Known
    """What the lock has and need not be renewed."""
    spared: Known
    """What the local store alone knows."""
    renewed: set[int]
    short: set[int]
    """What was stored for less than is wanted now, and is stored anew as far as there is room."""
    new: set[int]
    doubted: set[int]
    """What must not be sent again, if the build needs it."""
    vague: set[int]
    lost: set[int]
    """What is nowhere on this machine any more, and can only be fetched from where it is hosted."""

    @property
    def anew(self) -> set[int]:
        """What is sent, where there is room."""
        return self.renewed | self.short | self.new


class World(RuleBasedStateMachine):
    """Two projects in one repository, on two machines with a store each, at two hosts."""

    tally: ClassVar[Counter[str]] = Counter()

    @initialize(is_idempotent=st.booleans())
    def begin(self, is_idempotent: bool) -> None:
        self.tally["orders"] += 1
        self.root = Path(tempfile.mkdtemp(prefix="world-", dir=MEMORY))
        write_entry(self.root / "entry", "fake", "imghost.testing:FakeHost")
        write_entry(self.root / "entry", "loose", f"{__name__}:Loose")
        sys.path.insert(0, str(self.root / "entry"))
        self.now = datetime(2020, 1, 1, tzinfo=UTC)
        self.is_idempotent = is_idempotent
        self.hosts = {
            name: Deadly(is_idempotent=is_idempotent, clock=lambda: self.now, lingers=True).__enter__()
            for name in HOSTS
        }
        self.checkouts = {
            (name, machine): Checkout(name, machine, self.root / machine / name)
            for name in "ab"
            for machine in ("first", "second")
        }
        for machine in ("first", "second"):
            # What one repository holds may share a store.
            (self.root / machine / ".git").mkdir(parents=True)
        self.sources = {name: {page: list(shown) for page, shown in PAGES.items()} for name in "ab"}
        self.places = {name: {slot: int(slot) for slot in "0123"} for name in "ab"}
        self.lives: dict[str, timedelta | None] = {"a": None, "b": None}

    # What people do to the sources and to the clock.

    @rule(name=names, page=st.sampled_from(list(PAGES)), shown=st.lists(slots, max_size=3, unique=True))
    def write_page(self, name: str, page: str, shown: list[str]) -> None:
        self.sources[name][page] = shown

    @rule(name=names, slot=slots, number=pictures)
    def draw(self, name: str, slot: str, number: int) -> None:
        """Put another picture into a place."""
        self.places[name][slot] = number

    @rule(days=st.sampled_from([1, 3, 7, 30]))
    def wait(self, days: int) -> None:
        self.tally["wait"] += 1
        self.now += days * DAY
        for store in self.hosts.values():
            store.flush()

    @rule(name=names, life=st.sampled_from(LIVES))
    def retain(self, name: str, life: timedelta | None) -> None:
        self.lives[name] = life

    # Builds.

    def job(self, it: Checkout, host: str, *, is_plugin: bool = False, **more: Any) -> Job:
        life = self.lives[it.name]
        days = life.days if life else 0
        store = self.hosts[host]
        store.life = life
        raw = {
            "host": host, "options": {"api_url": store.url, "project": it.name, "days": days}, "retries": 1,
            "cache_dir": str(it.cache), "concurrency": 2, "retention": f"{days}d" if days else "permanent", **more,
        }  # fmt: skip
        docs = it.root / "docs"
        origins = Origins(is_own_source=True)
        if is_plugin:
            sources = {f"images/{slot}.png": docs / f"images/{slot}.png" for slot in it.files}
            origins = Origins(roots=(docs,), sources=sources, stands_for_copy=True)
        return Job(
            it.site, read(raw, it.root), {"FAKE_HOST_KEY": KEY}, origins, it.map, writes_again=is_plugin,
            now=lambda: self.now, sleep=lambda _: None,
        )  # fmt: skip

    def generate(self, it: Checkout, *, is_dirty: bool) -> None:
        """Write the site as a generator does: all of it, or what has changed."""
        if not is_dirty:
            shutil.rmtree(it.site, ignore_errors=True)
            it.pages, it.files = {}, {}
        places = self.places[it.name]
        write(it.root / "docs", {f"images/{slot}.png": PICTURES[number] for slot, number in places.items()})
        for slot, number in places.items():
            if it.files.get(slot) != number or not (it.site / f"images/{slot}.png").exists():
                write(it.site, {f"images/{slot}.png": PICTURES[number]})
                it.files[slot] = number
        writes_all = not is_dirty or not it.map.exists()
        for page, slots_shown in self.sources[it.name].items():
            if writes_all or page not in it.pages or [one.slot for one in it.pages[page]] != slots_shown:
                write(it.site, {page: page_of(slots_shown)})
                it.pages[page] = [Shown(slot, it.files[slot]) for slot in slots_shown]

    def begun(self, it: Checkout, mode: str) -> bool:
        """Bring the site to where imghost begins; gives False where there is none that could be built again."""
        if mode == "again":
            return bool(it.pages)
        if mode == "plugin":
            page_map.retire(it.map)
            it.forget_map()
        self.generate(it, is_dirty=mode == "dirty" and bool(it.pages))
        return True

    @rule(it=checkouts, host=hosts, mode=modes, limit=limits, removes=st.booleans())
    def build(self, it: tuple[str, str], host: str, mode: str, limit: int | None, removes: bool) -> None:
        """Build: what was known anywhere costs nothing, all that is shown is hosted, and lasts."""
        if self.begun(self.checkouts[it], mode):
            self.tally[f"build {mode}"] += 1
            self.run(self.checkouts[it], host, mode, limit, removes=removes)

    @rule(it=checkouts, mode=modes)
    def build_as_always(self, it: tuple[str, str], mode: str) -> None:
        self.build(it, "fake", mode, None, removes=False)

    @rule(it=checkouts)
    def build_again(self, it: tuple[str, str]) -> None:
        """Call the command on what was built and rewritten, which has no other copy of the pictures."""
        self.build(it, "fake", "again", None, removes=True)

    @rule(it=checkouts, number=pictures, slot=slots, host=hosts)
    def change_and_build(self, it: tuple[str, str], number: int, slot: str, host: str) -> None:
        self.draw(it[0], slot, number)
        self.build(it, host, "dirty", None, removes=False)

    @rule(it=checkouts, mode=modes, limit=st.sampled_from([1, 2]))
    def build_without_lock(self, it: tuple[str, str], mode: str, limit: int) -> None:
        """Build where the lock is lost, on a budget: what the local store knows takes none of it."""
        self.build_as_always(it, mode)
        self.lose_lock(it)
        self.build(it, "fake", mode, limit, removes=False)

    @rule(it=checkouts, slot=slots, number=pictures)
    def prune_between(self, it: tuple[str, str], slot: str, number: int) -> None:
        """Show another picture for a while, and prune meanwhile."""
        before = self.places[it[0]][slot]
        self.build_as_always(it, "dirty")
        self.change_and_build(it, number, slot, "fake")
        self.prune(it, "fake")
        self.change_and_build(it, before, slot, "fake")

    @rule(it=checkouts, life=st.sampled_from([8, 40, 120]))
    def renew_what_is_nowhere_else(self, it: tuple[str, str], life: int) -> None:
        """Build again in the last days of pictures that have no local copy any more."""
        self.retain(it[0], life * DAY)
        self.build(it, "fake", "command", None, removes=True)
        self.wait(life - 2)
        self.build_again(it)

    def plan(self, it: Checkout, host: str) -> Plan:
        """Say what a build has to do."""
        plan, life = Plan({}, {}, set(), set(), set(), set(), set(), set()), self.lives[it.name]
        for number in it.wanted():
            rec, spare, key = it.lock.get((number, host)), it.store.get((number, host)), (number, host)
            if rec and not rec.is_due(self.now) and not rec.is_short(life):
                plan.kept[key] = rec
            elif any(not left.is_due(self.now) and not left.is_short(life) for left in it.doubt.get(key, ())):
                plan.doubted.add(number)
            elif key in it.vague or key in it.doubt:
                plan.vague.add(number)
            elif spare and spare.end > self.now and not spare.is_due(self.now) and not spare.is_short(life):
                plan.spared[key] = spare
            elif rec and rec.end > self.now:
                (plan.renewed if rec.is_due(self.now) else plan.short).add(number)
            elif it.is_there(number):
                plan.new.add(number)
            else:
                plan.lost.add(number)
        return plan

    def run(
        self, it: Checkout, host: str, mode: str, limit: int | None, *, removes: bool, is_faulty: bool = False
    ) -> Result:
        """Build a site that is as its generator left it."""
        more = {"max_uploads": limit} if limit else {}
        job = self.job(it, host, is_plugin=mode in {"plugin", "dirty"}, remove_local=removes, **more)
        plan, store = self.plan(it, host), self.hosts[host]
        sent = Counter(store.uploads)
        result = rehost(job)
        self.observe(it)
        is_certain = not (plan.doubted or plan.vague or plan.lost or is_faulty)
        going = plan.renewed | plan.new
        if limit and len(going) > limit:
            # Renewals come first, as far as the budget goes; new ones go all or not at all.
            assert not is_certain or result.is_refused is bool(plan.new), result.notices
            going, is_certain = plan.renewed, False
        else:
            is_certain = is_certain and not (limit and len(going | plan.short) > limit)
            going |= plan.short
        if not (plan.vague or is_faulty or (limit and plan.doubted)):
            # What is renewed at another time is another copy.
            periods = {one: it.lock[one, host].end for one in it.wanted() if (one, host) in it.lock}
            sendings = {(DIGESTS[one], periods.get(one, EVER)) for one in going | plan.lost}
            assert (store.uploads - sent).total() <= len(sendings), "nothing is sent twice"
        if not is_faulty:
            for shown in (one for page in it.pages.values() for one in page):
                self.judge(it, host, shown, plan, store.uploads - sent, is_certain=is_certain)
        self.learn(it, host, plan, sent if is_faulty else Counter(store.uploads), is_certain=is_certain)
        return result

    def judge(self, it: Checkout, host: str, shown: Shown, plan: Plan, new: Counter[str], *, is_certain: bool) -> None:
        """Compare one reference with what the build had to do."""
        key = shown.number, host
        if shown.number not in {number for number, _ in plan.kept | plan.spared} | plan.anew:
            return
        known = plan.kept.get(key) or plan.spared.get(key)
        if known and (is_certain or key in plan.kept):
            assert shown.rec, f"{shown} is known as {known}"
            assert shown.rec.url == known.url, f"{shown} is known as {known}"
        if shown.number in plan.renewed | plan.short:
            assert shown.rec, f"{shown} is not hosted any more"
        if is_certain and shown.number in plan.anew:
            assert shown.rec, f"{shown} is not hosted"
            # A copy that the host had, as another machine's, has what is left of its life.
            is_found = DIGESTS[shown.number] not in new
            least = self.now if is_found else self.now + (self.lives[it.name] or EVER - self.now)
            twin = it.lock.get((2, host))
            assert shown.rec.end >= least or (twin and twin.url == shown.rec.url), f"{shown} will not last"

    def learn(self, it: Checkout, host: str, plan: Plan, sent: Counter[str], *, is_certain: bool) -> None:
        """Know what a build has learned, by the lock that it has left.

        `sent` is what was sent before, for a build that came to no end.
        """
        store = self.hosts[host]
        new, alike = store.uploads - sent, Counter(DIGESTS[number] for number in plan.anew)
        was, it.lock = it.lock, self.read_lock(it)
        assert all(rec <= it.lock.get(key, rec) and key in it.lock for key, rec in was.items()), (
            "the lock forgets nothing"
        )
        for number in plan.anew | plan.lost | plan.vague | plan.doubted:
            key = number, host
            rec = it.lock.get(key)
            if rec and rec != was.get(key):
                it.store[key] = rec
                if number in plan.vague | plan.doubted:
                    it.vague.add(key)
                it.doubt.pop(key, None)
            elif DIGESTS[number] in new and alike[DIGESTS[number]] > 1:
                it.vague.add(key)
            elif DIGESTS[number] in new:
                paths = [path for path in store.images if path.startswith(f"{it.name}/{DIGESTS[number]}")]
                it.doubt[key] = [
                    Rec(store.ends.get(path, EVER), self.now, f"{store.url}/{path}") for path in paths[-1:]
                ]
        if is_certain:
            twin = was.get((2, host))
            for number in plan.anew:
                rec = it.lock[number, host]
                is_twin = twin and not twin.is_due(self.now) and not twin.is_short(self.lives[it.name])
                is_twin = is_twin and number in {3, 4} and (number, host) not in was
                assert rec.uploaded == (twin.uploaded if twin and is_twin else self.now), (
                    f"{number} is {rec}, was {was}"
                )
            for key, rec in plan.spared.items():
                assert it.lock[key] == max(rec, was.get(key, rec)), "the lock has what the local store had"

    def read_lock(self, it: Checkout) -> Known:
        """Read a lock, as anybody could."""
        known: Known = {}
        for line in it.lock_file.read_text("ascii").splitlines() if it.lock_file.exists() else ():
            one = json.loads(line)
            if "sha256" in one and not one.get("unconfirmed"):
                end = datetime.fromisoformat(one["expires"]) if one["expires"] else EVER
                key, rec = (
                    (NUMBERS[one["sha256"]], one["host"]),
                    Rec(end, datetime.fromisoformat(one["uploaded"]), one["url"], one.get("retention", "")),
                )
                known[key] = max(rec, known.get(key, rec))
        return known

    def observe(self, it: Checkout) -> None:
        """See what the pages show now; what no build may change stays as it was."""
        for page, before in it.pages.items():
            urls = _SHOWN.findall((it.site / page).read_text("utf-8"))
            shown = []
            for was, url in zip(before, urls, strict=True):
                if was.rec and not was.is_active:
                    assert url == was.rec.url, f"{page}: {was} is {url} now"
                    shown.append(was)
                elif "://" in url:
                    host = next(host for host, store in self.hosts.items() if url.startswith(f"{store.url}/"))
                    path = url.removeprefix(f"{self.hosts[host].url}/")
                    is_same = was.rec is not None and was.rec.url == url
                    number = was.number if is_same else it.files[was.slot]
                    end = self.hosts[host].ends.get(path, EVER)
                    shown.append(Shown(was.slot, number, Rec(end, self.now, url), is_known=True))
                else:
                    slot = url.removeprefix("images/").removesuffix(".png")
                    if slot != was.slot:  # a restore without the map goes by the bytes
                        assert PAYLOADS[it.files[slot]] == PAYLOADS[was.number]
                    shown.append(Shown(slot, it.files[slot]))
            it.pages[page] = shown

    @rule(it=checkouts, host=hosts, mode=modes, at=st.integers(1, 2), is_late=st.booleans())
    def kill(self, it: tuple[str, str], host: str, mode: str, at: int, is_late: bool) -> None:
        """Build in a process that is killed at one of its uploads, before or after the host has stored the image."""
        checkout, store = self.checkouts[it], self.hosts[host]
        if not hasattr(os, "fork") or not self.begun(checkout, mode):
            return
        plan, sent = self.plan(checkout, host), Counter(store.uploads)
        alike = Counter(DIGESTS[number] for number in plan.anew)
        if plan.vague or plan.doubted or plan.lost or max(alike.values(), default=0) > 1 or at > len(alike):
            self.run(checkout, host, mode, None, removes=False)
            return
        self.tally["kill"] += 1
        job = self.job(checkout, host, is_plugin=mode in {"plugin", "dirty"}, concurrency=1)
        store.left, store.is_late = at, is_late
        mine, theirs = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a fork among threads, none of which the child needs
            child = os.fork()
        if not child:
            with suppress(BaseException):
                os.read(mine, 1)
                rehost(job)
            os._exit(0)
        store.victim = child
        os.write(theirs, b"!")
        is_killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        store.victim = 0
        end = time.monotonic() + 5
        while time.monotonic() < end and any("process_request" in one.name for one in threading.enumerate()):
            time.sleep(0.001)  # while one still answers who is dead
        os.close(mine)
        os.close(theirs)
        self.tally["kill that hit"] += is_killed
        self.observe(checkout)
        self.learn(checkout, host, plan, sent, is_certain=False)

    @rule(it=checkouts, host=hosts, mode=modes)
    def lose_answer(self, it: tuple[str, str], host: str, mode: str) -> None:
        """Build while an answer is lost after the host has stored the image."""
        if self.begun(self.checkouts[it], mode):
            self.tally["lose an answer"] += 1
            self.hosts[host].lose()
            self.run(self.checkouts[it], host, mode, None, removes=False, is_faulty=True)
            self.hosts[host].calm()

    @rule(it=checkouts, host=hosts, limit=limits)
    def migrate(self, it: tuple[str, str], host: str, limit: int | None) -> None:
        """Move a site to a host; where none of its images goes there, it stays as it was."""
        checkout = self.checkouts[it]
        if not checkout.pages:
            return
        self.tally["migrate"] += 1
        known = checkout.map.read_bytes() if checkout.map.exists() else None
        pages = dict(checkout.pages)
        restored = self.restored(checkout)
        if restored.left:
            return
        result = self.run(checkout, host, "again", limit, removes=False)
        if not result.report.counts.references_rewritten and restored.pages:
            care.undo(checkout.site, restored, checkout.map, known)
            checkout.pages = pages
            if known is None:
                checkout.forget_map()

    @rule(it=checkouts, host=hosts, is_serving=st.booleans())
    def look(self, it: tuple[str, str], host: str, is_serving: bool) -> None:
        """Build what is only looked at: it shows what the lock has, asks nobody and changes nothing."""
        checkout, store = self.checkouts[it], self.hosts[host]
        self.tally["look"] += 1
        places, sources = self.places[checkout.name], self.sources[checkout.name]
        site = checkout.root / "looked"
        shutil.rmtree(site, ignore_errors=True)
        write(site, {f"images/{slot}.png": PICTURES[number] for slot, number in places.items()})
        write(site, {page: page_of(shown) for page, shown in sources.items()})
        more = {"serve": True} if is_serving else {"frozen": True}
        job = replace(self.job(checkout, host, **more), site=site, page_map=None, is_serving=is_serving)
        asked, locked = len(store.log), checkout.lock_file.exists() and checkout.lock_file.read_bytes()
        rehost(job)
        assert len(store.log) == asked
        assert locked == (checkout.lock_file.exists() and checkout.lock_file.read_bytes())
        for page, shown in sources.items():
            for slot, url in zip(shown, _SHOWN.findall((site / page).read_text("utf-8")), strict=True):
                rec = checkout.lock.get((places[slot], host))
                assert url == (rec.url if rec and rec.end > self.now else f"images/{slot}.png")

    # What is lost, and what machines exchange.

    def lose_lock(self, it: tuple[str, str]) -> None:
        self.tally["lose a lock"] += 1
        self.checkouts[it].lock_file.unlink(missing_ok=True)
        self.checkouts[it].lock = {}

    def lose_map(self, it: tuple[str, str]) -> None:
        self.tally["lose a map"] += 1
        for file in self.checkouts[it].cache.glob(f"{self.checkouts[it].map.stem}.*"):
            file.unlink()
        self.checkouts[it].forget_map()

    @rule(it=checkouts, what=st.sampled_from(["lock", "map", "store"]))
    def lose(self, it: tuple[str, str], what: str) -> None:
        if what == "store":
            self.lose_store(it[1])
        else:
            (self.lose_lock if what == "lock" else self.lose_map)(it)

    def lose_store(self, machine: str) -> None:
        self.tally["lose a store"] += 1
        shutil.rmtree(self.root / machine / "cache", ignore_errors=True)
        for it in self.checkouts.values():
            if it.machine == machine:
                # The lock may have what nobody has confirmed yet.
                it.vague = it.vague | it.doubt.keys() if it.lock_file.exists() else set()
                it.store, it.doubt = {}, {}
                it.forget_map()

    @rule(name=names, into=machines)
    def merge(self, name: str, into: str) -> None:
        """Take the other machine's lock, merged as git's union merge does: the lines of both."""
        it, other = (self.checkouts[name, machine] for machine in (into, "first" if into == "second" else "second"))
        if not other.lock_file.exists():
            return
        self.tally["merge locks"] += 1
        texts = [one.lock_file.read_text("ascii") for one in (it, other) if one.lock_file.exists()]
        it.root.mkdir(parents=True, exist_ok=True)
        it.lock_file.write_text("".join(dict.fromkeys("".join(texts).splitlines(keepends=True))), "ascii")
        for key, rec in other.lock.items():
            it.lock[key] = max(rec, it.lock.get(key, rec))
        it.vague |= other.vague | other.doubt.keys()
        assert self.read_lock(it) == it.lock

    # What people do about what is hosted.

    @rule(it=checkouts, host=hosts)
    def prune(self, it: tuple[str, str], host: str) -> None:
        """Delete what none of the project's sites shows: nothing of the other project's, and nothing for ever."""
        checkout, store = self.checkouts[it], self.hosts[host]
        mine = [one for one in self.checkouts.values() if one.name == checkout.name]
        sites = [one.site for one in mine if one.pages]
        if not sites:
            return
        job, before = self.job(checkout, host), set(store.images)
        with Client(5, environ={}) as client:
            asked = open_host(host, job.settings, job.environ, client, checkout.site, now=job.now)
            records = locks.read(checkout.lock_file, self.now).records
            try:
                found = care.find_unused(asked, sites, timedelta(0), self.now, records)
            except SettingsError:
                return  # one of the sites is not rewritten yet
            care.delete(asked, found.unused, checkout.lock_file, checkout.cache)  # type: ignore[arg-type]
        gone = before - set(store.images)
        self.tally["prune"] += bool(gone)
        assert all(path.startswith(f"{checkout.name}/") for path in gone)
        # The other machine takes over the lock as it is now. What its store knows it finds out by asking, as far as
        # it can: here that is lost.
        self.lose_store("second" if checkout.machine == "first" else "first")
        urls = {f"{store.url}/{path}" for path in gone}
        for one in mine:
            if one is not checkout and one.lock_file.exists():
                lines = one.lock_file.read_text("ascii").splitlines(keepends=True)
                one.lock_file.write_text("".join(it for it in lines if json.loads(it).get("url") not in urls), "ascii")
            one.lock = {key: rec for key, rec in one.lock.items() if rec.url not in urls}
            one.store = {key: rec for key, rec in one.store.items() if rec.url not in urls}
            for key, doubtful in list(one.doubt.items()):
                one.doubt[key] = [left for left in doubtful if left.url not in urls]
                if not one.doubt[key]:
                    del one.doubt[key]
                    one.vague.add(key)

    @rule(it=checkouts, host=hosts)
    def adopt(self, it: tuple[str, str], host: str) -> None:
        """Take into the lock what the host has of what it lacks."""
        checkout = self.checkouts[it]
        if not checkout.pages:
            return
        self.tally["adopt"] += 1
        lacking = {number for number in checkout.wanted() if (number, host) not in checkout.lock}
        care.adopt(self.job(checkout, host))
        store = self.hosts[host]
        at_host = {DIGESTS[number]: number for number in lacking}
        held = {path.rpartition("/")[2][:64] for path in store.images if path.startswith(f"{checkout.name}/")}
        was, checkout.lock = checkout.lock, self.read_lock(checkout)
        # What has expired is looked for anew.
        assert all(rec == checkout.lock.get(key) or rec.end <= self.now for key, rec in was.items())
        for number in lacking:
            is_held = DIGESTS[number] in held
            if checkout.is_there(number) and number in at_host.values():
                assert ((number, host) in checkout.lock) is is_held, f"{number} is held: {is_held}"
        for rec in (rec for key, rec in checkout.lock.items() if key not in was):
            path = rec.url.removeprefix(f"{store.url}/")
            assert (path in store.images, store.ends.get(path, EVER)) == (True, rec.end)

    @rule(it=checkouts)
    def restore(self, it: tuple[str, str]) -> None:
        checkout = self.checkouts[it]
        if checkout.pages:
            self.tally["restore"] += 1
            self.restored(checkout)

    def restored(self, it: Checkout) -> care.Restored:
        """Put the local references back; what was rewritten and is known, all of it."""
        job = self.job(it, "fake")
        every = [one for page in it.pages.values() for one in page]
        is_whole = all((it.site / f"images/{one.slot}.png").exists() for one in every)
        known = page_map.load(it.map, "")
        result = care.restore(it.site, known, locks.read(it.lock_file, self.now).records, job.settings)
        was_known = all(one.is_active for one in every)
        # Without the map it goes by the bytes that the lock knows.
        it.pages = {page: [one._replace(is_known=True) for one in shown] for page, shown in it.pages.items()}
        self.observe(it)
        if was_known and is_whole:
            assert not result.left, result.left
            for page, shown in it.pages.items():
                assert (it.site / page).read_text("utf-8") == page_of([one.slot for one in shown])
        if not was_known:
            it.forget_map()
        if not result.left:
            care.forget(it.map)
            it.forget_map()
        return result

    # What is always so.

    @invariant()
    def every_page_shows_its_pictures(self) -> None:
        """Each reference leads to its own picture, as long as that was promised."""
        for it in getattr(self, "checkouts", {}).values():
            for page, every in it.pages.items():
                urls = _SHOWN.findall((it.site / page).read_text("utf-8"))
                assert len(urls) == len(every)
                for url, shown in zip(urls, every, strict=True):
                    self.check(it, url, shown)

    def check(self, it: Checkout, url: str, shown: Shown) -> None:
        if shown.rec is None:
            assert (it.site / url).exists(), f"{url} of {shown} is not there"
            assert (it.site / url).read_bytes() == PICTURES[shown.number], f"{url} is not {shown}"
            return
        assert url == shown.rec.url
        assert f"/{it.name}/" in url, f"{it.name} shows {url}"
        if shown.rec.end > self.now:
            served = {
                f"{store.url}/{path}": body for store in self.hosts.values() for path, body in store.images.items()
            }
            assert served.get(url) == PAYLOADS[shown.number], f"{url} is not {shown}"

    def teardown(self) -> None:
        if hasattr(self, "hosts"):
            for store in self.hosts.values():
                store.__exit__()
            sys.path.remove(str(self.root / "entry"))
            shutil.rmtree(self.root, ignore_errors=True)


def page_of(slots_shown: list[str]) -> str:
    shown = "".join(f'<img src="images/{slot}.png" alt="">' for slot in slots_shown)
    return f"<title>t</title><p>{shown}"


@pytest.mark.more_in_all
@pytest.mark.timeout(36_000)
def test_any_order_of_events_leaves_pages_as_they_should_be() -> None:
    """The number of orders is raised for a soak."""
    World.tally.clear()
    World.TestCase.settings = of_orders("WORLD", ROUNDS, STEPS)
    World.TestCase().runTest()
    tell(", ".join(f"{count} {event}" for event, count in World.tally.items()))
