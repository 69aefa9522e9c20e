"""One build among many: what others have uploaded is taken, and what this one uploads is claimed before it is sent.

Only a build that would upload loads this, and asks only for what neither lock nor cache knows. Claims are made before
their images' turns, and records published while the next images are sent, so that the store's round trips hide behind
the host's.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from imghost.environment import project_name
from imghost.errors import Action, HostError, ImghostError, SettingsError, StoreError
from imghost.hosts import Host, Pays, Stored
from imghost.models import Failure, NamedTuple, Payload, Record, served_of
from imghost.records import covers, lasts, owns, shared
from imghost.records.shared import Course, Held, Key, Seen, Store, Writer
from imghost.run.job import Job, Notice, Outcome, Upload
from imghost.settings import Settings
from imghost.threads import GRACE, Crew, Task, Worker, concurrently, join_all, start
from imghost.wording import many

if TYPE_CHECKING:
    from imghost.hosts import Host
    from imghost.net import Client
    from imghost.run.upload import UploadContext

    UploadAll = Callable[[Sequence[Upload], UploadContext], Iterator[Outcome]]

MAX_CLAIMS: Final = 128
"""Claims that are held before their images are sent."""
PATIENCE: Final = 600.0
"""Seconds to wait for other builds of which nothing comes."""
_WIDTH: Final = 16
_SLOW: Final = 1.0
"""Seconds of an answer that are worth a word."""
_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 5.0
_USES: Final = 5000
"""Keys of one note of uses: with the rest of it less than an entry may have."""


class _Claim:
    """A claim that is being made: there, or lost, or why the store failed, once it is done."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.problem: BaseException | None = None


class _Ahead:
    """Claims images before their workers want to send them, in the same order; what is not begun they claim themselves.

    So nobody waits for the store but at the beginning.
    """

    def __init__(self, keys: Sequence[Key], claim: Callable[[Key], None], most: int, check: Task[None] | None) -> None:
        self._keys: SimpleQueue[Key] = SimpleQueue()
        for key in keys:
            self._keys.put(key)
        self._make = claim
        self._check = check
        self._room = threading.Semaphore(most)
        self._guard = threading.Lock()
        self._begun: dict[Key, _Claim | None] = {}
        """None = nobody needs it any more."""
        self._is_over = False
        self._workers: list[Worker] = []
        start(self._serve, min(_WIDTH, len(keys)), self._workers)

    def wait(self, key: Key) -> None:
        """Wait until a key's claim is made, or lost; raises StoreError."""
        if self._check:
            self._check.result()
        mine = _Claim()
        with self._guard:
            claim = self._begun.get(key) or self._begun.setdefault(key, mine)
        if claim is mine:
            self._claim(key, mine)
            with self._guard:
                self._begun[key] = None  # it took nobody's room
        elif claim:
            claim.done.wait()
            self.pass_over(key)
        if claim and claim.problem:
            raise claim.problem

    def pass_over(self, key: Key) -> None:
        """Make no claim for what was done without one, and another one instead of what was claimed."""
        with self._guard:
            claim, self._begun[key] = self._begun.get(key), None
        if claim:
            self._room.release()

    def end(self) -> None:
        """Claim no more, and wait for the claims under way."""
        self._is_over = True
        for _ in self._workers:
            self._room.release()
        join_all(self._workers, time.monotonic() + GRACE)

    def _serve(self) -> None:
        while True:
            self._room.acquire()
            try:
                key = self._keys.get_nowait()
            except Empty:
                return
            claim = _Claim()
            with self._guard:
                if self._is_over:
                    return
                is_wanted = self._begun.setdefault(key, claim) is claim
            if is_wanted:
                self._claim(key, claim)
            else:
                self._room.release()

    def _claim(self, key: Key, claim: _Claim) -> None:
        try:
            self._make(key)
        except BaseException as problem:  # who wants to send it says what it means
            claim.problem = problem
        finally:
            claim.done.set()


class Sharing:
    """A build's dealings with the store; made once a run, used by its main thread."""

    def __init__(self, store: Store, job: Job, host: Host, lease: float = shared.LEASE) -> None:
        self.notices: list[Notice] = []
        """What is worth a warning of what was not as it should be."""
        self._store = store
        self._job = job
        self._host = host
        self._writer = Writer(secrets.token_hex(16), project_name(job.settings.lock), lease)
        self._seen: dict[Key, Seen] = {}
        self._held: dict[Key, tuple[Held, float]] = {}
        """Each claim, and when by this process's own clock it was last known to be written."""
        self._taken_away: set[Key] = set()
        self._refused: set[str] = set()
        """URLs of records that could not be confirmed."""
        self._strangers: dict[str, str] = {}
        """URLs that are not the host's, each with the project that wrote it."""
        self._guard = threading.Lock()
        self._turns: dict[Key, threading.Lock] = {}
        """Who writes a held claim: of two writes on one condition each would take the other for a stranger's."""
        self._ended = threading.Event()
        self._crew = Crew(_WIDTH)
        self._extender: Worker | None = None
        self._latency = 0.0
        self._is_checked = False
        self._is_alone = False
        self._failed: StoreError | None = None
        """Why nothing more is claimed."""
        self._doubles: list[str] = []
        self._unpublished: list[str] = []

    def take(self, uploads: Sequence[Upload], client: Client) -> tuple[list[Outcome], list[Upload]]:
        """Take what others have uploaded, each record confirmed by a fetch; gives that, and what is left to upload.

        Raises StoreError where the store does not answer, unless the build may go on alone.
        """
        try:
            return self._asked(uploads, client)
        except StoreError as problem:
            if self._job.settings.shared_required:
                raise
            self._go_alone(problem)
            return [], list(uploads)

    def upload_all(self, uploads: Sequence[Upload], context: UploadContext, upload_all: UploadAll) -> Iterator[Outcome]:
        """Claim, upload and publish, and give each outcome as it comes; what another build is at comes last."""
        if self._is_alone:
            yield from upload_all(uploads, context)
            return
        mine = [upload for upload in uploads if self._is_free(upload)]
        put_off = [upload for upload in uploads if not self._is_free(upload)]
        try:
            if mine and (yield from self._sent(mine, put_off, context, upload_all, self._ahead(mine, context))):
                return
            yield from self._waited(put_off, context, upload_all)
        finally:
            self._give_up_rest()

    def close(self) -> None:
        """End the threads, give up what is still claimed, and say what has to be said."""
        self._ended.set()
        self._give_up_rest()
        self._crew.close()
        self._store.close()
        self._tell()

    def _asked(self, uploads: Sequence[Upload], client: Client) -> tuple[list[Outcome], list[Upload]]:
        keys = {self._key(upload): upload for upload in uploads}
        started = time.monotonic()
        self._seen |= shared.ask_all(self._store, keys)
        self._latency = (time.monotonic() - started) / max(1, len(keys) / _WIDTH)
        if self._latency > _SLOW and not self._is_checked:
            self._job.say(f"the store {self._store.address} is slow: {self._latency:.1f} s an answer")
        return self._taken(keys, client)

    def _taken(self, keys: Mapping[Key, Upload], client: Client) -> tuple[list[Outcome], list[Upload]]:
        there = {
            key: record
            for key, upload in keys.items()
            if (record := self._seen[key].state.record) and self._is_acceptable(record, upload)
        }
        self._note_uses(there)
        outcomes = concurrently(lambda key: self._confirmed(keys[key], there[key], client), list(there), _WIDTH)
        taken = [outcome for outcome in outcomes if outcome]
        done = {id(outcome.upload) for outcome in taken}
        return taken, [upload for upload in keys.values() if id(upload) not in done]

    def _confirmed(self, upload: Upload, record: Record, client: Client) -> Outcome | None:
        """Fetch a record's URL; None where it is dead, so that the image is uploaded again."""
        from imghost.run.upload import confirm

        try:
            record = record.with_served(served_of(confirm(record, client, self._job.settings.retries).body))
        except HostError as refusal:
            if refusal.action is Action.FILE:
                self._refused.add(record.url)
                return None
            return Outcome(upload, failure=Failure(upload.paths[0], refusal.reason, refusal.remedy))
        return Outcome(upload, record, is_new=False)

    def _is_acceptable(self, record: Record, upload: Upload) -> bool:
        """Say whether a record can be used here: by its URL, its size, and how long it lives."""
        if not self._host.accepts(record.url):
            self._strangers[record.url] = self._seen[self._key(upload)].state.project
            return False
        facts, settings, now = upload.image.facts, self._job.settings, self._job.now()
        is_whole = upload.variant in {"", "strip"}
        if is_whole and (record.media_type, record.width, record.height) != (
            facts.media_type,
            facts.width,
            facts.height,
        ):
            return False
        if record.url in self._refused or record == upload.renewed:
            return False
        return lasts(record, settings.renew_before, settings.retention, now)

    def _key(self, upload: Upload) -> Key:
        return self._named(upload.image.sha256, upload.variant)

    def _named(self, sha256: str, variant: str) -> Key:
        return Key(self._host.name, self._host.account, sha256, variant)

    def _ahead(self, uploads: Sequence[Upload], context: UploadContext) -> _Ahead:
        """Begin to claim what is to be uploaded, no more than can be extended in time where the store is slow."""
        in_time = int(_WIDTH * self._writer.lease / 6 / max(self._latency, 0.001))
        most = max(min(MAX_CLAIMS, in_time), context.concurrency)
        # One that ignores conditions is found out before anything is sent, and not before anything is claimed: that
        # is a round trip less.
        check = None if self._is_checked else self._crew.begin(self._check_conditions)
        return _Ahead(list(map(self._key, uploads)), self._claim, most, check)

    def _check_conditions(self) -> None:
        shared.check_conditions(self._store)
        self._is_checked = True

    def _claimed(self, batch: list[Upload]) -> StoreError | None:
        """Claim a batch, some at a time; gives why the store failed."""
        try:
            if batch and not self._is_checked:
                self._check_conditions()
            concurrently(self._claim, list(map(self._key, batch)), _WIDTH)
        except StoreError as problem:
            return problem
        return None

    def _claim(self, key: Key) -> None:
        """Claim one key as it was seen; where another build was faster, it is not held afterwards."""
        seen, started = self._seen[key], time.monotonic()
        if self._ended.is_set() or shared.course(seen, self._writer.holder, lambda _: False) is not Course.CLAIM:
            return
        held = shared.claim(self._store, key, seen, self._writer)
        if held is None:
            return
        with self._guard:
            self._held[key] = held, started
            self._taken_away.discard(key)
            if self._extender is None:
                self._extender = Worker(self._extend_all)
                self._extender.start()

    def _mine(self, batch: Sequence[Upload]) -> list[Upload]:
        return [upload for upload in batch if self._key(upload) in self._held]

    def _unclaimed(self, batch: Sequence[Upload]) -> list[Upload]:
        return [upload for upload in batch if self._key(upload) not in self._held]

    def _go_alone(self, problem: StoreError) -> None:
        with self._guard:
            if self._is_alone:
                return
            self._is_alone = True
        self._job.say(f"{problem}; the build goes on alone, since 'shared_required' is false")

    def _unguarded(
        self, uploads: Sequence[Upload], problem: StoreError, context: UploadContext, upload_all: UploadAll
    ) -> Iterator[Outcome]:
        """Leave local what the store was to guard and does not, unless this build may go on alone."""
        if self._job.settings.shared_required:
            yield from (Outcome(upload, stop=f"{problem}") for upload in uploads)
        elif uploads:
            self._go_alone(problem)
            yield from upload_all(uploads, context)

    def _extend_all(self) -> None:
        """Extend what is held, again and again, until the run ends."""
        while not self._ended.wait(self._writer.lease / 3):
            # One after the other, a store that takes seconds for an answer would let the last ones run out.
            concurrently(self._extend_patiently, list(self._held), _WIDTH)

    def _extend_patiently(self, key: Key) -> None:
        # A store that does not answer now may do so in a moment; who sends looks at the time itself.
        with suppress(StoreError):
            self._extend(key)

    def _extend(self, key: Key, payment: Mapping[str, str] | None = None) -> bool:
        """Extend one claim, with what was signed; False = it is another build's by now. Raises StoreError."""
        with self._turn(key):
            with self._guard:
                known = self._held.get(key)
            if known is None:
                return False
            started = time.monotonic()
            held = shared.extend(self._store, known[0], self._writer, payment)
            with self._guard:
                if held:
                    self._held[key] = held, started
                else:
                    del self._held[key]
                    self._taken_away.add(key)
        return held is not None

    def _turn(self, key: Key) -> threading.Lock:
        with self._guard:
            return self._turns.setdefault(key, threading.Lock())

    def _let_go(self, key: Key) -> Held | None:
        """Hold a claim no longer, once nobody is writing it."""
        with self._turn(key), self._guard:
            return self._held.pop(key, (None, 0.0))[0]

    def begun(self, payload: Payload) -> Mapping[str, str]:
        """Tell what a build signed for an image whose claim was taken over from it, or that it gave up."""
        with self._guard:
            held, _ = self._held.get(self._named(payload.image, payload.variant), (None, 0.0))
        return (held and held.state.payment) or {}

    def signed(self, payload: Payload, payment: Mapping[str, str]) -> None:
        """Keep with the claim what was signed, before it is sent; raises HostError where the claim is lost."""
        if self._is_alone:
            return
        try:
            is_kept = self._extend(self._named(payload.image, payload.variant), payment)
        except StoreError as problem:
            raise HostError(Action.FILE, problem.reason, remedy=problem.remedy) from None
        if not is_kept:
            raise _taken_over()

    def _guarded(self, batch: Sequence[Upload], context: UploadContext, ahead: _Ahead | None) -> UploadContext:
        """Have each image's claim looked at before it is sent, and the host asked for what a dead build began."""
        name = self._host.name

        def intend(payload: Payload) -> None:
            key = self._named(payload.image, payload.variant)
            try:
                if ahead and not self._is_alone:
                    ahead.wait(key)
            except StoreError as problem:
                if self._job.settings.shared_required:
                    self._failed = self._failed or problem
                    raise HostError(Action.STOP, problem.reason, remedy=problem.remedy) from None
                self._go_alone(problem)
            if not self._is_alone:
                self._check(key)
            context.intend(payload)

        over = {
            (key.sha256, name, key.variant)
            for key in map(self._key, batch)
            if (seen := self._seen.get(key)) and (seen.state.claim or seen.state.payment)
        }
        return replace(context, intend=intend, doubtful=context.doubtful | over)

    def _check(self, key: Key) -> None:
        """Stop before anything is sent where the claim is, or may be, another build's; raises HostError."""
        with self._guard:
            known = self._held.get(key)
            if known is None:
                self._taken_away.add(key)  # another build was faster
        try:
            is_fresh = known is not None and time.monotonic() - known[1] < self._writer.lease / 2
            if is_fresh or (known and self._extend(key)):
                return
        except StoreError as problem:
            raise HostError(Action.FILE, problem.reason, remedy=problem.remedy) from None
        raise _taken_over()

    def _sent(
        self,
        batch: Sequence[Upload],
        put_off: list[Upload],
        context: UploadContext,
        upload_all: UploadAll,
        ahead: _Ahead | None = None,
    ) -> Generator[Outcome, None, bool]:
        """Upload a batch, and publish what it brings; says whether the host, or the store, wants no more."""
        publishing: list[Task[Outcome]] = []
        is_stopped = False
        try:
            for outcome in upload_all(batch, self._guarded(batch, context, ahead)) if batch else ():
                if ahead:
                    ahead.pass_over(self._key(outcome.upload))
                if settled := self._settled(outcome, publishing, put_off):
                    is_stopped = is_stopped or bool(settled.stop)
                    yield settled
        except (KeyboardInterrupt, ImghostError):
            # What was earned reaches the lock, whatever stopped the rest.
            for future in publishing:
                yield future.result()
            raise
        finally:
            if ahead:
                ahead.end()
        for future in publishing:
            yield future.result()
        if self._failed:
            yield from (Outcome(upload, stop=f"{self._failed}") for upload in put_off)
        return is_stopped

    def _settled(self, outcome: Outcome, publishing: list[Task[Outcome]], put_off: list[Upload]) -> Outcome | None:
        """Say what an upload came to; None where it is published first, or put off until another build is done."""
        key = self._key(outcome.upload)
        if self._failed and outcome.stop:
            return Outcome(outcome.upload, stop=f"{self._failed}")
        if self._is_alone and key not in self._held:
            return outcome
        if outcome.record:
            publishing.append(self._crew.begin(partial(self._published, key, outcome)))
            return None
        if key in self._taken_away and not outcome.stop:
            put_off.append(outcome.upload)
            return None
        self._crew.begin(partial(self._given_up, key))
        return outcome

    def _published(self, key: Key, outcome: Outcome) -> Outcome:
        """Publish a record; the one that is there first counts. A store that fails leaves it to `imghost share`."""
        record = outcome.record
        assert record is not None
        held = self._let_go(key)
        try:
            published = shared.publish(
                self._store, key, held, record, self._writer, lambda there: self._is_acceptable(there, outcome.upload)
            )
        except StoreError:
            self._unpublished.append(record.url)
            return outcome
        if published.is_ours:
            return outcome
        if outcome.is_new:
            self._doubles.append(record.url)
        return outcome._replace(record=published.record, is_new=False)

    def _given_up(self, key: Key) -> None:
        if held := self._let_go(key):
            with suppress(StoreError):  # its time will be over soon
                shared.give_up(self._store, held, self._writer)

    def _give_up_rest(self) -> None:
        for key in list(self._held):
            self._given_up(key)

    def _waited(self, put_off: list[Upload], context: UploadContext, upload_all: UploadAll) -> Iterator[Outcome]:
        """Ask again for what other builds are at, with growing pauses, and take over what they leave."""
        pause, end, said = _PAUSE, time.monotonic() + PATIENCE, 0
        while put_off:
            if len(put_off) != said:
                said = len(put_off)
                self._job.say(f"waiting for another build: {said}")
            (self._job.sleep or time.sleep)(pause * (0.75 + secrets.randbelow(500) / 1000))
            taken, left, problem = self._asked_again(put_off, context.client)
            yield from taken
            mine, put_off = self._mine(left), self._unclaimed(left)
            if problem:
                yield from self._unguarded(put_off, problem, context, upload_all)
                put_off = []
            pause = _PAUSE if taken or mine else min(_LONGEST_PAUSE, pause * 1.5)
            end = time.monotonic() + PATIENCE if taken or mine else end
            if (yield from self._sent(mine, put_off, context, upload_all)):
                return
            if time.monotonic() > end:
                why = f"another build is at it, and nothing came of that for {PATIENCE / 60:.0f} minutes; build again"
                yield from (Outcome(upload, stop=why) for upload in put_off)
                return

    def _asked_again(
        self, put_off: list[Upload], client: Client
    ) -> tuple[list[Outcome], list[Upload], StoreError | None]:
        """Take what has come, and claim what is free; gives that, what is left, and why the store failed."""
        try:
            taken, left = self._asked(put_off, client)
        except StoreError as problem:
            return [], put_off, problem
        return taken, left, self._claimed([upload for upload in left if self._is_free(upload)])

    def _is_free(self, upload: Upload) -> bool:
        """Say whether nobody is at an image whose record, if it has one, cannot be used."""
        return shared.course(self._seen[self._key(upload)], self._writer.holder, lambda _: False) is Course.CLAIM

    def _note_uses(self, keys: Mapping[Key, Record]) -> None:
        """Say that this project uses what it takes, before it does: who prunes must see it. Raises StoreError."""
        mine = [
            key.path.removeprefix("records/") for key in keys if self._seen[key].state.project != self._writer.project
        ]
        for first in range(0, len(mine), _USES):
            shared.note_uses(self._store, self._writer, mine[first : first + _USES])

    def _tell(self) -> None:
        if self._strangers:
            url, project = next(iter(self._strangers.items()))
            text = (
                f"{many(len(self._strangers), 'record')} in the store {self._store.address} name a URL that is not "
                f"one of {self._host.name}'s images with these settings and are not used, like {url} by {project}; "
                "take them out, or correct the options"
            )
            self.notices.append(Notice("shared", text))
        if self._doubles:
            text = f"{many(len(self._doubles), 'image')} were uploaded by another build, too, like {self._doubles[0]}"
            self.notices.append(Notice("shared", f"{text}; delete the copy at the host"))
        if self._unpublished:
            count = many(len(self._unpublished), "record")
            text = f"{count} could not be published to the store {self._store.address}; run `imghost share`"
            self.notices.append(Notice("shared", text))


def _taken_over() -> HostError:
    return HostError(Action.FILE, "another build has taken over the upload", remedy="build again")


@contextmanager
def sharing(job: Job, host: Host) -> Iterator[Sharing | None]:
    """Open the store of this run; None where none is set, or the host is a part of this machine. Raises StoreError."""
    if not job.settings.shared or not host.needs_network:
        yield None
        return
    among = Sharing(shared.open_store(job.settings.shared, job.environ, job.settings.timeout), job, host)
    if isinstance(host, Pays):
        host.share_payments(among)
    try:
        yield among
    finally:
        among.close()


# What people do with shared records: publish a lock's, look at the store, and spare what other projects use.

SETTLING: Final = 2
"""Timeouts between taking records out and deleting images: a build that asked just before has noted its use by then."""
SAMPLE: Final = 10_000
"""Entries that are read to tell the projects that wrote them."""


class Joined(NamedTuple):
    """What `share` found, and what it published."""

    published: int
    """Records that the store lacked; with a dry run those that would be published."""
    there: int
    """Records that the store had already."""
    left: int
    """Records that nobody can use: expired, or of a host that is not set up so."""


class Holdings(NamedTuple):
    """What a store has."""

    address: str
    latency: float
    """Seconds of one answer."""
    hosts: Mapping[str, int]
    """Records by host."""
    written: Mapping[str, int]
    """Records by the project that wrote them, of as many as were read."""
    used: Mapping[str, int]
    """Records that projects use and others wrote."""
    claimed: int
    """Images that are being uploaded."""
    read: int


@contextmanager
def opened(settings: Settings, environ: Mapping[str, str]) -> Iterator[Store]:
    """Open the store that the settings name; raises SettingsError where they name none."""
    if not settings.shared:
        raise SettingsError("no store is set; set the option 'shared' to its URL", "shared")
    store = shared.open_store(settings.shared, environ, settings.timeout)
    try:
        yield store
    finally:
        store.close()


def share(
    store: Store,
    settings: Settings,
    records: Iterable[Record],
    hosts: Mapping[str, Host],
    now: datetime,
    *,
    is_dry: bool,
) -> Joined:
    """Publish the lock's records that the store lacks, and note the use of those that it has; raises StoreError."""
    writer = a_writer(settings)
    every = list(records)
    live = {
        _key(record, hosts[record.host]): record
        for record in every
        if record.host in hosts and owns(record, record.host, hosts[record.host].accepts) and covers(record, now)
    }
    seen = shared.ask_all(store, live)
    lacking = {key: record for key, record in live.items() if not _is_there(seen[key], now)}
    there = [key for key in live if key not in lacking]
    if not is_dry:
        shared.check_conditions(store)
        foreign = [key.path.removeprefix("records/") for key in there if seen[key].state.project != writer.project]
        if foreign:
            shared.note_uses(store, writer, foreign)
        concurrently(lambda key: _publish(store, key, lacking[key], writer, now), list(lacking), _WIDTH)
    return Joined(len(lacking), len(there), len(every) - len(live))


def _publish(store: Store, key: Key, record: Record, writer: Writer, now: datetime) -> None:
    shared.publish(store, key, None, record, writer, lambda there: covers(there, now))


def _is_there(seen: Seen, now: datetime) -> bool:
    return covers(seen.state.record, now)


def holdings(store: Store) -> Holdings:
    """Look at a store; raises StoreError, also where this user may not list it."""
    started = time.monotonic()
    store.get("probe")
    latency = time.monotonic() - started
    paths = list(store.listed("records/"))
    states = [state for _, state in shared.every(store, paths[:SAMPLE])]
    used = Counter[str]()
    for _, project, keys in shared.uses(store):
        used[project] += len(set(keys))
    return Holdings(
        store.address,
        latency,
        Counter(path.split("/")[1] for path in paths),
        Counter(seen.state.project for seen in states if seen.state.record),
        used,
        sum(seen.state.claim is not None for seen in states),
        len(states),
    )


def spared(
    store: Store, settings: Settings, host: Host, unused: Sequence[Stored], records: Iterable[Record]
) -> tuple[dict[Key, Seen], dict[str, str]]:
    """Say which images of a host the store knows, and which of them other projects use: URL -> project.

    An image that the lock does not know may be anybody's, so that for one of those the whole store is read.
    """
    own = project_name(settings.lock)
    urls = {stored.url for stored in unused}
    keys = {_key(record, host) for record in records if record.host == host.name and record.url in urls}
    known = {record.url for record in records if record.host == host.name}
    seen = shared.ask_all(store, keys)
    if urls - known:
        seen |= dict(shared.every(store, list(store.listed(f"records/{host.name}/"))))
    mine = {key: there for key, there in seen.items() if there.state.record and there.state.record.url in urls}
    used = _used_by_others(store, own)
    by_others = {}
    for key, there in mine.items():
        record = there.state.record
        project = there.state.project if there.state.project != own else used.get(key.path, "")
        if record and project:
            by_others[record.url] = project
    return mine, by_others


class Withdrawn(NamedTuple):
    """Records that were taken out of the store, so that no build takes one while its image is deleted."""

    claims: Mapping[str, tuple[Held, Record]]
    """URL -> this command's claim, and the record that was there."""
    kept: Mapping[str, str]
    """URL -> who needs the image after all."""


def withdraw(
    store: Store,
    settings: Settings,
    seen: Mapping[Key, Seen],
    urls: Iterable[str],
    sleep: Callable[[float], object] = time.sleep,
) -> Withdrawn:
    """Claim the keys of images that are to be deleted, and look once more who uses them; raises StoreError.

    A build that has asked just before says so within the pause; one that asks later waits for the claim.
    """
    writer = a_writer(settings)._replace(lease=pause(settings) + 600)
    doomed = set(urls)
    claims: dict[str, tuple[Held, Record]] = {}
    kept: dict[str, str] = {}
    for key, there in seen.items():
        record = there.state.record
        if record is None or record.url not in doomed:
            continue
        held = shared.claim(store, key, there._replace(state=replace(there.state, record=None)), writer)
        if held:
            claims[record.url] = held, record
        else:
            kept[record.url] = "another build"
    if claims:
        sleep(pause(settings))
    used = _used_by_others(store, writer.project)
    kept |= {url: used[held.key.path] for url, (held, _) in claims.items() if held.key.path in used}
    return Withdrawn(claims, kept)


def pause(settings: Settings) -> float:
    """Give the seconds that deleting waits for builds under way."""
    return SETTLING * settings.timeout


def settle(store: Store, settings: Settings, withdrawn: Withdrawn, deleted: Container[str]) -> None:
    """Give up the keys of images that are gone, and put the records of all others back; raises StoreError."""
    writer = a_writer(settings)
    for url, (held, record) in withdrawn.claims.items():
        if url in deleted:
            shared.give_up(store, held, writer)
        else:
            shared.publish(store, held.key, held, record, writer, lambda _: True)


def _used_by_others(store: Store, own: str) -> dict[str, str]:
    return {key: project for _, project, keys in shared.uses(store) if project != own for key in keys}


def _key(record: Record, host: Host) -> Key:
    return Key(record.host, host.account, record.sha256, record.variant)


def a_writer(settings: Settings) -> Writer:
    """Make who writes in a person's name."""
    return Writer(secrets.token_hex(16), project_name(settings.lock))
