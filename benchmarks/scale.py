"""What shared records cost an organisation: a day of many builds by discrete events, and the model held against a run.

    python -m benchmarks.scale            the day, the table, and the check of the model on this machine
    python -m benchmarks.scale --records 1000000 --objects 100000    what a build's question costs beside many records

The steps of the protocol are measured here, each alone, in a folder and in PostgreSQL if it is installed; for S3 a
round trip is taken as given, since no bucket is on this machine.
"""

from __future__ import annotations

import argparse
import heapq
import json
import multiprocessing
import os
import random
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks import engines, uploads
from benchmarks.measure import Row
from benchmarks.server import serving
from imghost.models import Record
from imghost.records import shared
from imghost.records.shared import Course, Held, Key, Seen, State, Store, Writer

PRICES = {"get": 0.0004 / 1000, "put": 0.005 / 1000}
"""US dollars a request: S3 Standard's list for us-east-1."""
STORAGE = 0.023
"""US dollars a GB and month, of the same list."""


@dataclass(frozen=True)
class Steps:
    """Seconds that each step of the protocol takes."""

    ask: float
    """One question of a batch; a batch of n takes n / width of these."""
    write: float
    """A claim, an extension or a record."""
    width: int = 32


@dataclass(frozen=True)
class Day:
    """An organisation's day."""

    repositories: int = 300
    builds: int = 20
    """Of each repository."""
    runners: int = 12
    images: int = 10_000_000
    """In the store when the day begins."""
    new: float = 2.0
    """Images of a build that its lock lacks, on average."""
    common: float = 0.3
    """The share of those that another repository shows, too: the same logo, released to all in the same hour."""
    fresh: int = 2
    """Builds whose lock was lost, or that join: they ask for all of their images."""
    upload: float = 0.3
    """Seconds of one upload and its confirmation."""
    concurrency: int = 8
    rendering: float = 60.0
    hours: float = 10.0
    """Of the day in which people push."""


@dataclass
class Told:
    """What a day came to."""

    requests: Counter[str] = field(default_factory=Counter)
    uploads: int = 0
    distinct: int = 0
    waits: list[float] = field(default_factory=list)
    """Seconds that builds waited for others."""
    added: list[float] = field(default_factory=list)
    """Seconds that the store added to builds that uploaded, waiting left out."""
    queued: list[float] = field(default_factory=list)
    """Seconds that builds waited for a runner."""

    @property
    def dollars(self) -> float:
        return sum(PRICES[kind] * count for kind, count in self.requests.items())


def simulate(day: Day, steps: Steps, seed: int = 1) -> Told:
    """Live through a day: builds come, take a runner, and ask, claim, upload, publish and wait as the run does."""
    chance = random.Random(seed)
    told = Told()
    free = [0.0] * day.runners
    heapq.heapify(free)
    there: dict[str, float] = {}
    """Image -> when its record is there; until then a claim is."""
    arrivals = sorted(chance.uniform(0, day.hours * 3600) for _ in range(day.repositories * day.builds))
    large = set(chance.sample(range(len(arrivals)), day.fresh)) if day.fresh else set()
    for number, arrival in enumerate(arrivals):
        start = max(arrival, heapq.heappop(free))
        told.queued.append(start - arrival)
        known = day.images // day.repositories if number in large else 0
        wanted = [_image(chance, day, start) for _ in range(_poisson(chance, day.new))]
        end = _build(start + day.rendering, wanted, known, day, steps, there, told)
        heapq.heappush(free, end)
    told.distinct = len(there)
    return told


def _build(
    now: float, wanted: list[str], known: int, day: Day, steps: Steps, there: dict[str, float], told: Told
) -> float:
    """Carry one build's uploads out; gives when it is done."""
    asked = len(wanted) + known
    if not asked:
        return now
    told.requests["get"] += asked
    begun = now
    now += steps.ask * -(-asked // steps.width)
    if known:  # one note of uses for each 5,000
        told.requests["put"] += -(-known // 5000)
        now += steps.write
    new = [image for image in wanted if image not in there]
    others = [there[image] for image in wanted if image in there and there[image] > now]
    if new:
        told.requests["put"] += 1  # the check of the store's conditions
        now += 2 * steps.write  # it, and the first batch's claims
    told.added.append(now - begun + (steps.write if new else 0.0))
    for place, image in enumerate(new):
        now_there = now + day.upload * (1 + place // day.concurrency) + steps.write
        there[image] = now_there
        told.uploads += 1
        told.requests["put"] += 2
    now = max([now, *(there[image] for image in new)])
    if others:
        # Asked again with pauses from half a second that grow by half, up to five.
        pause, waited = 0.5, now
        while waited < max(others):
            waited += pause + steps.ask
            told.requests["get"] += sum(1 for end in others if end > waited - pause)
            pause = min(5.0, pause * 1.5)
        told.waits.append(waited - now)
        now = waited
    return now


def _image(chance: random.Random, day: Day, now: float) -> str:
    """Draw an image that a build's lock lacks: one of its own, or one that many get in the same hour."""
    if chance.random() < day.common:
        return f"common {int(now // 3600)} {chance.randrange(20)}"
    return f"own {chance.getrandbits(64)}"


def _poisson(chance: random.Random, mean: float) -> int:
    count, product = 0, chance.random()
    while product > 2.718281828**-mean:
        count, product = count + 1, product * chance.random()
    return count


# The model against the machine: processes that go through the protocol with an upload that only takes time.
#
# On one machine the steps of sixteen processes share its processors, so the model lives through them by events: each
# step waits for a processor, has it for as long as the step took of one alone, and then waits for its answer.

PAUSE, LONGEST = 0.1, 1.0
"""Seconds between two questions for what another process is at."""


class Step(NamedTuple):
    """What a step of the protocol takes where nothing else runs: seconds, and of those on a processor."""

    seconds: float
    busy: float


class Taken(NamedTuple):
    """What the steps of the check take, each measured alone."""

    look: Step
    """A question for one image."""
    each: Step
    """What each image more adds to it."""
    claim: Step
    lost: Step
    """A claim of what another has claimed."""
    publish: Step
    wake: Step
    """What a wait takes beyond its time."""


class Check(NamedTuple):
    """What processes want: images that all of them show, and some of their own."""

    processes: int = 16
    common: int = 20
    own: int = 20
    upload: float = 0.1

    def names(self, number: int) -> list[str]:
        """List what one process wants, in its order."""
        names = [f"common {it}" for it in range(self.common)] + [f"own {number} {it}" for it in range(self.own)]
        random.Random(number).shuffle(names)
        return names


def alone(store: Store, count: int = 60) -> Taken:
    """Take the time of each step in a store, with nothing else to do on this machine."""
    writer, other = (Writer(secrets.token_hex(8), "benchmark") for _ in range(2))
    keys = [Key("h", "", secrets.token_hex(32), "") for _ in range(count)]
    shared.ask_all(store, keys)  # what a first question opens
    shared.claim(store, Key("h", "", secrets.token_hex(32), ""), Seen(), writer)
    held: dict[Key, Held | None] = {}
    look = _taken(lambda key: shared.ask_all(store, [key]), keys)
    claim = _taken(lambda key: held.update({key: shared.claim(store, key, Seen(), writer)}), keys)
    lost = _taken(lambda key: shared.claim(store, key, Seen(), other), keys)
    publish = _taken(lambda key: shared.publish(store, key, held[key], a_record(key), writer, lambda _: True), keys)
    turns = 20
    every = _taken(lambda _: shared.ask_all(store, keys), range(turns))
    each = Step(*(max(0.0, (many - one) / (count - 1)) for many, one in zip(every, look, strict=True)))
    wake = _taken(lambda _: time.sleep(0.01), range(turns))
    return Taken(look, each, claim, lost, publish, Step(wake.seconds - 0.01, wake.busy))


def _taken(step: Callable[[Any], object], things: Sequence[Any]) -> Step:
    """Take the time of a step: what passes, and what this process and the engine's have of the processors."""
    busy, began = _busy(), time.perf_counter()
    for thing in things:
        step(thing)
    return Step((time.perf_counter() - began) / len(things), (_busy() - busy) / len(things))


def _busy() -> float:
    """Sum up the processor time of this process and of every process of PostgreSQL's, in seconds."""
    found = time.process_time()
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = place.read_text().partition("(")[2].rpartition(")")
        except OSError:  # it has ended
            continue
        if name == "postgres":
            found += sum(map(int, rest.split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return found


Doing = Generator[tuple[float, float], None, None]
"""What a process does: seconds that it needs a processor for, and seconds that it waits after that."""


def modelled(wanted: Check, taken: Taken, cores: int) -> list[float]:
    """Live through the processes' steps; gives the seconds that each of them takes."""
    there: dict[str, bool] = {}
    """Image -> whether it has been published; until then it is claimed."""
    free = [0.0] * cores
    doing = [_modelled(wanted.names(number), wanted.upload, taken, there) for number in range(wanted.processes)]
    events = [(0.0, number) for number in range(wanted.processes)]
    ends = [0.0] * wanted.processes
    while events:
        now, number = heapq.heappop(events)
        try:
            busy, waits = next(doing[number])
        except StopIteration:
            ends[number] = now
            continue
        if busy:
            now = max(now, heapq.heappop(free)) + busy
            heapq.heappush(free, now)
        heapq.heappush(events, (now + waits, number))
    return ends


def _modelled(left: list[str], upload: float, taken: Taken, there: dict[str, bool]) -> Doing:
    """Be one build of the model, step by step as `_work` is one of the machine."""

    def done(step: Step, times: int = 1, wait: float = 0.0) -> tuple[float, float]:
        return step.busy * times, max(0.0, step.seconds - step.busy) * times + wait

    pause = PAUSE
    while left:
        yield done(taken.look)
        yield done(taken.each, len(left) - 1)
        seen, progress = dict(there), False
        for image in list(left):
            if seen.get(image):
                left.remove(image)
            elif image not in seen and image in there:
                yield done(taken.lost)
            elif image not in seen:
                there[image] = False
                yield done(taken.claim)
                yield done(taken.wake, wait=upload)
                yield done(taken.publish)
                there[image], progress = True, True
                left.remove(image)
        if left:
            pause = PAUSE if progress else min(LONGEST, pause * 1.5)
            yield done(taken.wake, wait=pause)


def check(place: str, wanted: Check) -> dict[str, float]:
    """Let processes want the same images and some of their own; gives what happened beside what the model says."""
    store = shared.open_store(place, {}, 30.0)
    taken = alone(store)
    store.close()
    context = multiprocessing.get_context("spawn")
    gate, answers = context.Barrier(wanted.processes), context.Queue()
    workers = [
        context.Process(target=_work, args=(place, number, wanted, gate, answers)) for number in range(wanted.processes)
    ]
    for worker in workers:
        worker.start()
    found = [answers.get(timeout=300) for _ in workers]
    for worker in workers:
        worker.join()
    sent = Counter(image for one in found for image in one["sent"])
    ran, model = median(one["seconds"] for one in found), modelled(wanted, taken, cores())
    return {
        "look": taken.look.seconds * 1000,
        "claim": taken.claim.seconds * 1000,
        "busy": taken.claim.busy * 1000,
        "uploads over distinct": sum(sent.values()) / (wanted.common + wanted.own * wanted.processes),
        "requests": sum(one["requests"] for one in found) / ((wanted.common + wanted.own) * wanted.processes),
        "run": ran,
        "model": median(model),
        "ratio": median(model) / ran,
    }


def cores() -> int:
    """Say how many processors there are for this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _work(place: str, number: int, wanted: Check, gate: Any, answers: Any) -> None:
    """Be one build: what another is at comes last."""
    store = Counted(shared.open_store(place, {}, 30.0))
    keys = {Key("h", "", _digest(name), ""): name for name in wanted.names(number)}
    writer, sent = Writer(secrets.token_hex(8), f"p{number}"), []
    shared.ask_all(store, keys)
    store.calls = 0
    gate.wait()
    started = time.perf_counter()
    left, pause = list(keys), PAUSE
    while left:
        seen = shared.ask_all(store, left)
        progress = False
        for key, there in seen.items():
            course = shared.course(there, writer.holder, lambda _: True)
            if course is Course.TAKE:
                left.remove(key)
            elif course is Course.CLAIM and (held := shared.claim(store, key, there, writer)):
                time.sleep(wanted.upload)
                sent.append(keys[key])
                shared.publish(store, key, held, a_record(key), writer, lambda _: True)
                left.remove(key)
                progress = True
        if left:
            pause = PAUSE if progress else min(LONGEST, pause * 1.5)
            time.sleep(pause)
    seconds = time.perf_counter() - started
    answers.put({"sent": sent, "requests": store.calls, "seconds": seconds})
    store.close()


class Counted:
    """A store whose entries asked for and written are counted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.address = store.address
        self.calls = 0
        self.get, self.listed, self.close = store.get, store.listed, store.close

    def get_all(self, keys: list[str]) -> object:
        self.calls += len(keys)
        return self._store.get_all(keys)

    def put(self, key: str, text: str, tag: str | None) -> str | None:
        self.calls += 1
        return self._store.put(key, text, tag)


def a_record(key: Key) -> Record:
    url = f"https://h.example/{key.sha256}.png"
    return Record(key.sha256, "h", url, key.sha256[:8], "", 1, "image/png", 1, 1, datetime(2026, 1, 1, tzinfo=UTC))


def _digest(name: str) -> str:
    import hashlib

    return hashlib.sha256(name.encode()).hexdigest()


_FIRST = "0" * 64


def _entry() -> tuple[Key, str]:
    """Make the entry of an image whose digest is zeros, to be written for others."""
    key = Key("h", "", _FIRST, "")
    state = State(a_record(key), None, "p", 1)
    return key, shared.render(key, state, "w")


def fill_folder(place: str, count: int) -> None:
    """Put records into a folder's store by a script, as a store of that age has them."""
    _, text = _entry()
    folder = Path(place.removeprefix("file://"))
    for number in range(count):
        digest = _digest(f"filling {number}")
        path = folder / f"{Key('h', '', digest, '').path}.1"
        try:
            file = path.open("w")
        except FileNotFoundError:
            path.parent.mkdir(parents=True)
            file = path.open("w")
        with file:
            file.write(text.replace(_FIRST, digest))


def fill_postgres(server: Any, place: str, count: int) -> None:
    """Put records into a schema by one statement."""
    key, text = _entry()
    store = shared.open_store(place, {}, 30.0)
    store.put("probe", "x", None)
    store.close()
    table = f"{place.rpartition('=')[2]}.imghost_shared"
    rest = key.path.rpartition("-")[2]
    server.sql(
        f"INSERT INTO {table} SELECT concat('records/h/', left(d, 2), '/', substr(d, 3, 2), '/', d, '-{rest}'), "
        f"replace('{text}', '{_FIRST}', d), nextval('{table}_tag'), clock_timestamp() FROM (SELECT "
        f"encode(sha256(convert_to('filling ' || n, 'UTF8')), 'hex') d FROM generate_series(0, {count - 1}) n) them",
        f"VACUUM ANALYZE {table}",
    )


def fill_s3(server: Any, place: str, count: int) -> None:
    """Put records into a bucket, some at a time."""
    _, text = _entry()
    prefix = place.removeprefix(f"s3://{server.bucket}/")

    def put(number: int) -> None:
        digest = _digest(f"filling {number}")
        name = f"{prefix}/{Key('h', '', digest, '').path}"
        server.client.put_object(Bucket=server.bucket, Key=name, Body=text.replace(_FIRST, digest).encode())

    with ThreadPoolExecutor(8) as several:
        for _ in several.map(put, range(count)):
            pass


def beside(places: Sequence[str], count: int = 200, turns: int = 21) -> list[float]:
    """Take the time of a build's question for 200 images, half of them there, from each store in turn; in seconds."""
    stores = [shared.open_store(place, {}, 30.0) for place in places]
    times: list[list[float]] = [[] for _ in stores]
    for turn in range(turns + 1):
        # Only the first thousand are in both, and no two turns ask for the same ones.
        there = [f"filling {(turn * count // 2 + it) % 1000}" for it in range(count // 2)]
        keys = [Key("h", "", _digest(name), "") for name in (*there, *(f"not {turn} {it}" for it in range(count // 2)))]
        for store, taken in list(zip(stores, times, strict=True))[:: -1 if turn % 2 else 1]:
            started = time.perf_counter()
            seen = shared.ask_all(store, keys)
            taken.append(time.perf_counter() - started)
            assert sum(it.state.record is not None for it in seen.values()) == count // 2
    for store in stores:
        store.close()
    return [median(taken[1:]) for taken in times]


def building(folder: Path, places: Sequence[str], rounds: int = 5) -> list[float]:
    """Take the time of builds that know nothing and take 200 images from each store; the least of each, in seconds."""
    with serving() as server:

        def build(place: str, uploaded: int) -> float:
            taken = uploads.rehosted(folder, server.url, 200, 16, verify=True, shared=place)
            report = json.loads((folder / "report.json").read_text())
            assert report["images"]["uploaded"] == uploaded, report["failures"][:1]
            return taken.wall

        for place in places:
            build(place, 200)
        times = [[build(place, 0) for place in places] for _ in range(rounds)]
    return [min(taken) for taken in zip(*times, strict=True)]


def beside_many(count: int, count_s3: int) -> Iterator[Row]:
    """Ask for 200 images beside a thousand records and beside many, for each engine."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        engines.find()
        from doubles.stores import Postgres, Weed, postgres_programs, weed_program

        fillings: list[tuple[str, int, Callable[[], str], Callable[[str, int], None]]] = []

        def fresh() -> str:
            return Path(tempfile.mkdtemp(dir=name)).as_uri()

        fillings.append(("a folder", count, fresh, fill_folder))
        if postgres_programs():
            server = stack.enter_context(Postgres())
            fillings.append(("PostgreSQL", count, server.fresh, partial(fill_postgres, server)))
        if weed_program():
            storage = stack.enter_context(Weed())
            os.environ.update(storage.environ)
            fillings.append(("S3", count_s3, storage.fresh, partial(fill_s3, storage)))
        for engine, many, make, fill in fillings:
            few, full = make(), make()
            began = time.perf_counter()
            fill(few, 1000)
            fill(full, many)
            filled = time.perf_counter() - began
            short, long = beside((few, full))
            question = f"the question itself {short * 1000:.1f} ms and {long * 1000:.1f} ms; filled in {filled:.0f} s"
            short, long = building(Path(name) / "site", (few, full))
            what = f"a build that takes 200 images from {engine} with {many:,} records, over one with 1,000"
            yield Row(what, long / short, 1.1, note=f"{short:.2f} s and {long:.2f} s; {question}")


def places(stack: ExitStack, folder: Path) -> Iterator[tuple[str, str]]:
    """Open the engines that are here."""
    yield "file", folder.as_uri()
    engines.find()
    from doubles.stores import Postgres, postgres_programs

    if postgres_programs():
        yield "postgresql", stack.enter_context(Postgres()).fresh()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=0, help="only: the time of a question beside so many records")
    parser.add_argument("--objects", type=int, default=0, help="so many in S3, which takes them one by one")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        if chosen.records:
            for row in beside_many(chosen.records, chosen.objects or chosen.records):
                print(f"{row.what}: {row.value:.2f} ({row.note})", flush=True)
            return
        print(
            f"16 processes on {cores()} processors, each step measured alone\n\n"
            "| store | look, ms | claim, ms | of it on a processor | uploads / distinct | requests an image "
            "| s, run | s, model | model / run |\n|---|---|---|---|---|---|---|---|---|"
        )
        for engine, place in places(stack, folder):
            print(
                f"| {engine} | " + " | ".join(f"{it:.2f}" for it in check(place, Check()).values()) + " |", flush=True
            )
    print()
    print("| S3, trip | builds | uploads / distinct | requests a day | dollars a day | waited | longest | added |")
    print("|---|---|---|---|---|---|---|---|")
    for trip in (0.02, 0.1, 0.5):
        day = Day()
        told = simulate(day, Steps(trip, trip))
        waits = f"{len(told.waits):,} builds | {max(told.waits, default=0):.1f} s"
        row = (f"{trip * 1000:.0f} ms", f"{day.repositories * day.builds:,}", f"{told.uploads / told.distinct:.2f}")
        requests = f"{sum(told.requests.values()):,} | ${told.dollars:.2f} | {waits} | {median(told.added):.2f} s"
        print("| " + " | ".join((*row, requests)) + " |")
    lost = Day(fresh=300, builds=1, new=0)
    told = simulate(lost, Steps(0.02, 0.02))
    joined = lost.images * (2 * PRICES["get"] + PRICES["put"])
    size = lost.images * 700 / 1e9
    print(f"\n300 locks lost in one day: {sum(told.requests.values()):,} requests, ${told.dollars:.2f}")
    print(f"a store lost: `imghost share` of all 300 locks, ${joined:.2f}")
    print(f"storage: {size:.0f} GB, ${size * STORAGE:.2f} a month")


if __name__ == "__main__":
    main()
