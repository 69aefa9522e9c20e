"""Builds that share records: each image is uploaded once, whoever builds first, and a store in trouble is told of."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubles.engines import Engine, Folder, end_claims, opened, states
from doubles.imgpro import ImgPro
from doubles.payer import a_payload
from sites import write
from trust.place import Project, built_site, counted, crawl, picture, tell, tree

from imghost import settings
from imghost.hosts import HostBase
from imghost.records import lock, shared
from imghost.records.shared import Key, Seen, State, Store, Writer, claim, render
from imghost.run.job import Job
from imghost.run.rehost import rehost
from imghost.run.sharing import Sharing
from imghost.site.images import Origins
from imghost.testing.fake import KEY, FakeStore, write_entry
from imghost.threads import concurrently

TESTS = Path(__file__).parents[1]
USUAL = 4
BUILDS = counted("BUILDS", USUAL)
HALF = counted("SHARED_IMAGES", 8) // 2
"""Of a build's images; every repository has these, and as many of its own."""
PAIRS = [(engine, can) for engine in ("file", "s3", "postgresql") for can in (True, False)]
if BUILDS == USUAL:  # each engine meets one of the two kinds of hosts
    PAIRS = [("file", True), ("s3", False), ("postgresql", True)]


def a_project(folder: Path, name: str, host: Any, store: str, *more: tuple[str, Any]) -> Project:
    return Project(folder / name, host, (("shared", store), *more))


def a_mute_project(folder: Path, name: str, host: FakeStore, store: str, *more: tuple[str, Any]) -> Project:
    """Make a project at a host that cannot be asked, known to its processes."""
    entry = folder / "entries"
    if not entry.exists():
        write_entry(entry, "mute", "doubles.mute:MuteHost")
    return replace(a_project(folder, name, _Addressed(host), store, *more), chosen="mute", key=("FAKE_HOST_KEY", KEY))


class _Addressed:
    """A fake host's store by the name that projects know it by."""

    def __init__(self, store: FakeStore) -> None:
        self.api_url = store.url
        self.server = store


def illustrated(site: Path, numbers: list[int]) -> Path:
    """Write a site of one page that shows these pictures."""
    shown = "".join(f'<p><img src="images/{number}.png"></p>\n' for number in numbers)
    # A number has one of 256 colours, so those beyond are wider.
    pictures: dict[str, str | bytes] = {
        f"images/{number}.png": picture(number, (40 + number // 256, 30)) for number in numbers
    }
    return write(site, {"index.html": f"<!doctype html><title>t</title>\n{shown}", **pictures})


def begun(project: Project, engine: Engine, folder: Path, *more: str) -> subprocess.Popen[str]:
    """Start a build in a process of its own."""
    known = os.pathsep.join((project.environ()["PYTHONPATH"], str(TESTS), str(folder / "entries")))
    environ = project.environ(PYTHONPATH=known, **engine.environ)
    return subprocess.Popen(
        project.command("--concurrency", "4", *more), cwd=project.root, env=environ, text=True, stdout=-1, stderr=-1
    )


def uploads(host: Any) -> Counter[str]:
    """Count what arrived to be stored, by its digest; by the host's own books."""
    if isinstance(host, FakeStore):
        return host.uploads
    return Counter(copy.sent for copy in host.copies.values())


@pytest.mark.sampled(1)
@pytest.mark.timeout(2400)
@pytest.mark.parametrize(("engine", "can_be_asked"), PAIRS, indirect=["engine"])
def test_builds_of_several_repositories_at_once_upload_each_image_once(
    tmp_path: Path, engine: Engine, can_be_asked: bool
) -> None:
    """Two builds of each repository, on runners that share nothing but the store and the account."""
    store, distinct = engine.fresh(), HALF + HALF * (BUILDS // 2)
    with ImgPro("images", quota=1000) if can_be_asked else FakeStore(is_idempotent=False) as host:
        making = a_project if can_be_asked else a_mute_project
        projects = [making(tmp_path, f"{number}", host, store) for number in range(BUILDS)]
        for number, project in enumerate(projects):
            own = 10 + HALF + HALF * (number % (BUILDS // 2))
            illustrated(project.site, [*range(HALF), *range(own, own + HALF)])
        before = [tree(project.site) for project in projects]
        # As long as a user's: many builds and the servers share this machine's cores.
        running = [begun(project, engine, tmp_path, "--timeout", "30") for project in projects]
        told = [one.communicate(timeout=2000) for one in running]
        assert [one.returncode for one in running] == [0] * BUILDS, told
        assert sorted(uploads(host).values()) == [1] * distinct, [err[-600:] for _, err in told]
        assert "warning" not in "".join(err for _, err in told), told
        for project, was in zip(projects, before, strict=True):
            assert crawl(project.site, was, host if can_be_asked else project.host)["index.html"] == 2 * HALF
    with opened(engine, store) as place:
        assert [(it["claim"], it["generation"]) for it in states(place)] == [(None, 1)] * distinct
    tell(
        f"{BUILDS} builds of {2 * HALF} images with {engine.__class__.__name__}: {distinct} uploads of {distinct} images"
    )


@pytest.mark.long
def test_builds_that_were_killed_leave_what_others_complete(tmp_path: Path, engine: Engine) -> None:
    """The host can be asked, so that nothing is there twice, wherever a build dies."""
    store = engine.fresh()
    with ImgPro("images", quota=1000) as host:
        projects = [a_project(tmp_path, f"{number}", host, store) for number in range(3)]
        for project in projects:
            illustrated(project.site, list(range(10)))
        running = [begun(project, engine, tmp_path) for project in projects[:2]]
        while not host.copies and any(one.poll() is None for one in running):
            time.sleep(0.01)
        for one in running:
            one.send_signal(signal.SIGKILL)
            one.communicate()
        with opened(engine, store) as place:
            end_claims(place)
        last = begun(projects[2], engine, tmp_path)
        out = last.communicate(timeout=100)
        assert (last.returncode, sorted(uploads(host).values())) == (0, [1] * 10), out
        assert len(lock.read(projects[2].root / "imghost.lock").records) == 10


@pytest.mark.long
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("round_", range(counted("SHARED_KILLS", 3)))
def test_of_many_builds_some_are_killed_and_completed_and_each_image_is_there_once(
    tmp_path: Path, engine: Engine, round_: int
) -> None:
    """One of sixteen is killed in the middle, at a moment that is drawn; another one if it left no image undone."""
    builds, chance = 16, random.Random(round_)
    store, distinct = engine.fresh(), HALF + HALF * builds // 2
    with ImgPro("images", quota=10_000) as host, opened(engine, store) as place:
        projects = [a_project(tmp_path, f"{number}", host, store) for number in range(builds)]

        def begin(number: int) -> subprocess.Popen[str]:
            own = 10 + HALF + HALF * (number % (builds // 2))
            illustrated(projects[number].site, [*range(HALF), *range(own, own + HALF)])
            return begun(projects[number], engine, tmp_path, "--timeout", "30")

        running = [begin(number) for number in range(builds)]
        killed, left = list[int](), 0
        while left == 0 and len(killed) < 4:
            after = chance.randrange(1, distinct * 3 // 4)
            while len(host.copies) < after and any(one.poll() is None for one in running):
                time.sleep(0.005)
            if not (able := [number for number, one in enumerate(running) if one.poll() is None]):
                break
            # Whoever is at an image now, where that can be seen in time.
            names = {number: f"{projects[number].root.name}/imghost.lock" for number in able}
            at_work = {it["project"] for it in states(place) if it["claim"]}
            killed.append(chance.choice([number for number in able if names[number] in at_work] or able))
            running[killed[-1]].send_signal(signal.SIGKILL)
            running[killed[-1]].communicate()
            left = end_claims(place, {names[killed[-1]]})
        told = [one.communicate(timeout=2000) for number, one in enumerate(running) if number not in killed]
        told += [begin(number).communicate(timeout=2000) for number in killed]
        assert sorted(uploads(host).values()) == [1] * distinct, [err[-600:] for _, err in told]
        known = [len(lock.read(project.root / "imghost.lock").records) for project in projects]
        assert known == [2 * HALF] * builds, told
        assert {(it["claim"], it["generation"]) for it in states(place)} == {(None, 1)}
    tell(
        f"{builds} builds with {engine.__class__.__name__}, {len(killed)} killed and completed, {left} claims ended: "
        f"{distinct} uploads of {distinct} images"
    )


class TestRequests:
    """Counted by the engines, not by our own report."""

    @pytest.fixture(params=["s3", "postgresql"])
    def counted(self, request: pytest.FixtureRequest, servers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
        if request.param not in servers:
            pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
        for name, text in servers[request.param].environ.items():
            monkeypatch.setenv(name, text)
        return servers[request.param]

    def test_one_for_an_image_that_is_there_and_three_for_one_that_is_not(self, tmp_path: Path, counted: Any) -> None:
        store = counted.fresh()
        with ImgPro("images") as host:
            first, second = (a_project(tmp_path, name, host, store) for name in ("first", "second"))
            for project in (first, second):
                built_site(project.site, count=8)
            start = counted.requests()
            first.build()
            # A question, a claim and a record each; and the check of the store's conditions, once a build.
            assert 0 < counted.requests() - start <= 3 * 8 + 3
            start = counted.requests()
            assert second.build().notices == ()
            # A question each, and one note of what this project uses from now on.
            assert 0 < counted.requests() - start <= 8 + 1

    def test_a_warm_build_makes_none_and_loads_no_client(self, tmp_path: Path, counted: Any) -> None:
        store = counted.fresh()
        with ImgPro("images") as host:
            project = a_project(tmp_path, "first", host, store)
            built_site(project.site)
            project.build()
            built_site(project.site)
            start = counted.requests()
            code = (
                "import sys; from imghost.cli.main import main\n"
                "try: main(sys.argv[1:])\n"
                "except SystemExit as end: assert not end.code, end.code\n"
                "print([name for name in sys.modules if name.startswith(('boto', 'psycopg', 'imghost.records.shared'))])"
            )
            command = [sys.executable, "-c", code, *project.command()[3:]]
            ran = subprocess.run(
                command, cwd=project.root, env=project.environ(**counted.environ), text=True, capture_output=True
            )
            assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "[]"), ran.stderr
            assert counted.requests() == start

    def test_a_pull_requests_build_makes_none(self, tmp_path: Path, counted: Any) -> None:
        store = counted.fresh()
        with ImgPro("images") as host:
            project = a_project(tmp_path, "first", host, store)
            built_site(project.site)
            start = counted.requests()
            result = project.build({"GITHUB_EVENT_NAME": "pull_request", project.key[0]: project.key[1]})
            assert (result.notices, counted.requests()) == ((), start)


class TestWaiting:
    """What another build is at comes last, and is taken when it is there."""

    @pytest.mark.sampled(1)
    def test_the_rest_goes_first_and_what_is_left_is_taken_over(self, tmp_path: Path, engine: Engine) -> None:
        url = engine.fresh()
        said: list[str] = []
        with ImgPro("images") as host, opened(engine, url) as store:
            project = a_project(tmp_path, "first", host, url)
            illustrated(project.site, [1, 2])
            key = Key("img.pro", "", _sha256(picture(1)), "")
            assert claim(store, key, Seen(), Writer("somebody-else", lease=100))

            def sleep(seconds: float) -> None:
                said.append(f"{len(host.copies)} there")
                end_claims(store)

            result = _built(project, said, sleep)
            assert (len(host.copies), result.counts.uploaded) == (2, 2)
            assert said[said.index("waiting for another build: 1") + 1] == "1 there"

    def test_what_comes_meanwhile_is_taken(self, tmp_path: Path) -> None:
        engine = Folder(tmp_path / "stores")
        url = engine.fresh()
        said: list[str] = []
        with ImgPro("images") as host, opened(engine, url) as store:
            first, second = (a_project(tmp_path, name, host, url) for name in ("first", "second"))
            for project in (first, second):
                illustrated(project.site, [1])
            key = Key("img.pro", "", _sha256(picture(1)), "")
            path = key.path
            first.build()
            done = store.get(path)
            assert done is not None
            state = State(None, Writer("somebody-else").claim(), "x", 0)
            assert store.put(path, render(key, state, "write"), done.tag)

            def sleep(seconds: float) -> None:
                claimed = store.get(path)
                assert claimed is not None
                store.put(path, done.text, claimed.tag)

            result = _built(second, said, sleep)
            assert (len(host.copies), result.counts.uploaded, result.counts.images) == (1, 0, 1)
            assert "waiting for another build: 1" in said


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _built(project: Project, said: list[str], sleep: Any = None, **raw: Any) -> Any:
    """Build in this process; gives the report, and what was said."""
    where = {"host": project.chosen, "options": {"api_url": project.host.api_url}}
    chosen = settings.read({**where, "retries": 3, "timeout": 3, **dict(project.options), **raw}, project.root)
    job = Job(project.site, chosen, dict([project.key]), Origins(is_own_source=True), say=said.append, sleep=sleep)
    result = rehost(job)
    said += [f"warning: {notice.text}" for notice in result.notices]
    return result.report


class _Slow:
    """A store whose writes take a while, before and after they are done."""

    def __init__(self, store: Store, pause: float = 0.002) -> None:
        self.address = store.address
        self._pause = pause
        self.get, self.get_all, self.listed = store.get, store.get_all, store.listed
        self._put = store.put

    def put(self, key: str, text: str, tag: str | None) -> str | None:
        time.sleep(self._pause)
        new = self._put(key, text, tag)
        time.sleep(self._pause)
        return new

    def close(self) -> None: ...


class _Buying(HostBase):
    """A host, as far as a claim needs one."""

    name = "img402"


def test_who_writes_a_claim_while_its_thread_extends_it_loses_nothing(tmp_path: Path) -> None:
    """Of two writes on one condition the second is refused, as if another build had taken the claim over."""
    engine, payload = Folder(tmp_path / "stores"), a_payload(tmp_path)
    with opened(engine, url := engine.fresh()) as store:
        chosen = settings.read({"host": "img402", "shared": url}, tmp_path)
        host: Any = _Buying()
        among = Sharing(_Slow(store), Job(tmp_path, chosen, {}), host, lease=0.015)
        key = Key("img402", "", payload.image, "")
        among._seen[key] = Seen()
        among._claim(key)
        for number in range(60):
            among.signed(payload, {"nonce": f"{number}"})
            assert among.begun(payload) == {"nonce": f"{number}"}
        among.close()
        assert [it["payment"] for it in states(store)] == [{"nonce": "59"}]


def test_claims_are_held_also_where_the_store_takes_its_time(tmp_path: Path) -> None:
    """One after the other, two dozen would take two leases to extend."""
    with opened(engine := Folder(tmp_path / "stores"), url := engine.fresh()) as store:
        chosen = settings.read({"host": "img402", "shared": url}, tmp_path)
        host: Any = _Buying()
        among = Sharing(_Slow(store, 0.05), Job(tmp_path, chosen, {}), host, lease=1.2)
        keys = [Key("img402", "", f"{number:064x}", "") for number in range(24)]
        for key in keys:
            among._seen[key] = Seen()
        concurrently(among._claim, keys, 24)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            ages = [seen.age for seen in shared.ask_all(store, keys).values()]
            assert max(ages) < 1.2
            time.sleep(0.05)
        among.close()
