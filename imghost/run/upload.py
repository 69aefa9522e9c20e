"""The uploads: threads, one image to its record, patience with a host, and the URL confirmed."""

from __future__ import annotations

import errno
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from imghost.errors import Action, HostError, ImghostError, StateError
from imghost.hosts import Finds, Host, limits_at, may_store_twice
from imghost.image.inspect import dimensions, is_whole, media_type_of
from imghost.models import IMPORT, MEDIA_TYPES, RASTER, Failure, Hosted, NamedTuple, Payload, Record, served_of
from imghost.net import LIMIT, Answer, Client
from imghost.records import asked_for, confirmed, covers, is_confirmed, unconfirmed
from imghost.run.job import Outcome, Upload, whole_of
from imghost.threads import GRACE, LOOK, MORE, Worker, awaited, concurrently, join_all, received, start
from imghost.wording import lasted, printable


class Content(NamedTuple):
    """What is known of the bytes at a URL: digest, length, type and size; empty, 0 or None = not known."""

    sha256: str
    bytes: int
    media_type: str
    size: tuple[int | None, int | None]

    def may_be(self, other: Content) -> bool:
        """Say whether both can be the same bytes: by their digests, else by all else that is known of both."""
        if self.sha256 and other.sha256:
            return self.sha256 == other.sha256
        pairs = (
            (self.bytes, other.bytes),
            (self.media_type, other.media_type),
            *zip(self.size, other.size, strict=True),
        )
        return all(mine == theirs for mine, theirs in pairs if mine and theirs)


def content_of(record: Record, payload: str = "") -> Content:
    """Say what is at a record's URL; without a change before the upload that is the image's own bytes."""
    sha256 = payload or (record.sha256 if not record.variant else "")
    is_seen = record.variant != IMPORT or record.width is not None
    return Content(sha256, record.bytes, record.media_type if is_seen else "", (record.width, record.height))


@dataclass(slots=True)
class Sending:
    """One payload on its way: images of the site with equal payloads wait for the one upload of theirs."""

    done: threading.Event = field(default_factory=threading.Event)
    hosted: Hosted | None = None
    refusal: HostError | None = None
    """Why the host will never take it."""


@dataclass(slots=True)
class SharedState:
    """What the workers of one run share; only ever changed under its lock."""

    guard: threading.Lock = field(default_factory=threading.Lock)
    waited: float = 0.0
    """Seconds in which some worker waited; those in which several did count once."""
    slept: float = 0.0
    """Seconds of waits that only a test's clock has seen pass."""
    waits_until: float = 0.0
    """When the longest wait of those that have begun ends."""
    barred_until: float = 0.0
    """Before then the host wants to be asked nothing more, by no worker."""
    unreachable: int = 0
    unconfirmed: int = 0
    stopped: HostError | None = None
    fatal: ImghostError | None = None
    bound: dict[str, Content] = field(default_factory=dict)
    sending: dict[tuple[str, int, str], Sending] = field(default_factory=dict)
    """What is on its way, by the payload's digest, renewal period and tier."""
    repeats: Counter[str] = field(default_factory=Counter)
    """By the payload's image."""
    interrupted: threading.Event = field(default_factory=threading.Event)
    stored: dict[str, list[Record]] = field(default_factory=dict)
    """By the image's digest, what the host has of it."""


@dataclass(frozen=True, slots=True)
class UploadContext:
    """Everything an upload needs beside the image: the host, and where payloads come from and records go."""

    host: Host
    client: Client
    prepare: Callable[[Upload], Payload]
    bring: Callable[[Upload], Hosted] | None
    """Has the host fetch an external image itself, where it can."""
    intend: Callable[[Payload], None]
    """Makes the intent durable before anything is sent."""
    settle: Callable[[Payload], None]
    """Ends the intent of an upload that the host is known not to have stored."""
    earn: Callable[[Record], None]
    """Keeps the record durably as soon as the host has answered, and again once its URL is confirmed."""
    doubtful: frozenset[tuple[str, str, str]]
    """Uploads (digest, host, variant) that an earlier run tried and whose end is not known."""
    now: Callable[[], datetime]
    tries: int
    concurrency: int
    verify: bool
    bound: Callable[[str], Record | None] = lambda _: None
    """Tells the record that binds a URL already."""
    twin: Callable[[str], Record | None] = lambda _: None
    """Tells the record that is good of the payload with a digest, where such a one is at the host."""
    retention: timedelta | None = None
    """How long images are to live; None = for ever."""
    expect: Callable[[], None] = lambda: None
    """Opens what intents are noted in, before the first one is."""
    told: set[str] = field(default_factory=set)
    """URLs whose receipts were told, since the lock could not be written."""
    stored: tuple[Record, ...] = ()
    """What the lock says that the host has."""
    is_first_alone: bool = False
    sleep: Callable[[float], object] | None = None
    """How to wait; the interruptible default is for runs, another one for tests."""
    refuse: Callable[[Upload, HostError, str], None] = lambda *_: None
    """Keeps what the host has refused for good, with what the account allowed."""
    allowance: str = ""
    """What the account allows, as the host tells it."""
    is_over: Callable[[], bool] = lambda: False
    """Says whether what is not begun yet is no longer to be sent; what is under way goes on."""


STOPPED: Final = "the run was stopped"
"""Why an upload was not begun that nothing else was in the way of."""


@dataclass(slots=True)
class _Making:
    """A payload that is made ahead: there, or why it cannot be, once it is done."""

    done: threading.Event = field(default_factory=threading.Event)
    payload: Payload | None = None
    problem: BaseException | None = None


class _Ahead:
    """Makes payloads before their workers ask for them, at most as many as there are workers.

    While these wait for the host nobody uses the machine. What is not begun yet when its worker asks, that makes
    itself: so several are made at once where one takes longer than an upload.
    """

    def __init__(self, uploads: Sequence[Upload], prepare: Callable[[Upload], Payload], most: int) -> None:
        self._uploads = uploads
        self._prepare = prepare
        self._room = threading.Semaphore(most)
        self._guard = threading.Lock()
        self._begun: dict[int, _Making | None] = {}
        """By the upload's identity; None once its worker has asked."""
        self._is_over = False

    def serve(self) -> None:
        """Make one after another, until all are begun or nobody wants more."""
        for upload in self._uploads:
            self._room.acquire()
            making = _Making()
            with self._guard:
                if self._is_over:
                    return
                if self._begun.setdefault(id(upload), making) is not making:
                    self._room.release()
                    continue
            try:
                making.payload = self._prepare(upload)
            except BaseException as problem:  # its worker says what it means
                making.problem = problem
            finally:
                making.done.set()

    def prepare(self, upload: Upload) -> Payload:
        """Give an upload's payload, made by now or here; raises what making it did."""
        with self._guard:
            making, self._begun[id(upload)] = self._begun.get(id(upload)), None
        if making is None:
            return self._prepare(upload)
        making.done.wait()
        self._room.release()
        if making.payload is None:
            assert making.problem is not None
            raise making.problem
        return making.payload

    def end(self) -> None:
        """Have no more made."""
        self._is_over = True
        self._room.release()


@contextmanager
def preparing(uploads: Sequence[Upload], context: UploadContext) -> Iterator[UploadContext]:
    """Have payloads made, and the store opened, from now on; gives the context that takes them from there.

    What is on the network itself waits for its turn: nothing may be fetched before it is known how much may go.
    """
    local = [upload for upload in uploads if upload.variant != IMPORT and upload.renewed is None]
    ahead = _Ahead(local, context.prepare, context.concurrency)
    workers: list[Worker] = []
    if len(local) > 1 and context.host.place == "network":
        context.expect()
        # The host is asked first of all, and what asks it has to be loaded; payloads have time until it answers.
        context.client.load()
        start(ahead.serve, 1, workers)
    try:
        yield replace(context, prepare=ahead.prepare) if workers else context
    finally:
        ahead.end()
        for worker in workers:
            worker.join(GRACE)


def upload_all(uploads: Sequence[Upload], context: UploadContext) -> Iterator[Outcome]:
    """Upload, and give each outcome as it comes.

    Raises StateError where a record could not be kept: then nothing further is sent.
    """
    state = _state_of(context)
    first = list(uploads[:1]) if context.is_first_alone else []
    yield from _run(_feed_of(first), context, state)
    left = uploads[len(first) :]
    # Smaller sizes come last: one that gains nothing is the image, which the host has by then.
    yield from _run(_feed_of(upload for upload in left if not upload.is_size), context, state)
    yield from _run(_feed_of(upload for upload in left if upload.is_size), context, state)
    if state.fatal:
        raise state.fatal


def upload_as_given(feed: Feed, context: UploadContext) -> Iterator[Outcome]:
    """Upload what a feed is given until it is closed; else as `upload_all`.

    Nothing may be a smaller size, which would have to come after its image.
    """
    state = _state_of(context)
    if context.is_first_alone and (first := feed.take()):
        yield from _run(_feed_of([first]), context, state)
    yield from _run(feed, context, state)
    if state.fatal:
        raise state.fatal


def _state_of(context: UploadContext) -> SharedState:
    state = SharedState()
    for record in context.stored:
        state.stored.setdefault(record.sha256, []).append(record)
    return state


class Feed:
    """Uploads that wait for a worker, of which there may come more until it is closed.

    One thread gives and closes, another one takes or runs it.
    """

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[Upload | None] = queue.SimpleQueue()
        self.is_closed = False
        self.has_imports = False
        self._given = self._taken = 0

    @property
    def count(self) -> int:
        """How many there are or were, but for those that were taken; all there will be, once it is closed."""
        return self._given - self._taken

    def give(self, upload: Upload) -> None:
        """Have one more uploaded."""
        self._given += 1
        self.has_imports |= upload.variant == IMPORT
        self.waiting.put(upload)

    def take(self) -> Upload | None:
        """Wait for the next one, and take it out; None once it is closed."""
        if upload := self.waiting.get():
            self._taken += 1
        else:
            self.waiting.put(None)
        return upload

    def close(self) -> None:
        """Give no more: each worker ends when nothing waits."""
        self.is_closed = True
        self.waiting.put(None)


def _feed_of(uploads: Iterable[Upload]) -> Feed:
    feed = Feed()
    for upload in uploads:
        feed.give(upload)
    feed.close()
    return feed


def _run(feed: Feed, context: UploadContext, state: SharedState) -> Iterator[Outcome]:
    """Give the uploads to daemon threads, so that a stop does not wait for a host that hangs.

    An interrupt comes out once what was under way had its time, and what came of that was given. Whatever was stored
    is confirmed, or known not to be, before this ends.
    """
    line = _Line(feed, room=threading.Semaphore(context.concurrency))
    count = min(context.concurrency, feed.count) if feed.is_closed else context.concurrency
    if not count:
        return
    workers: list[Worker] = []
    try:  # the first may be sending while the others are started
        problem = start(lambda: _serve(line, context, state), count, workers)
        if problem and not workers:
            raise StateError(f"no more is uploaded, since the system says: {problem}; {MORE}")  # noqa: TRY301 - nothing runs
        if context.verify or feed.has_imports:
            start(lambda: _serve_unseen(line, workers, context, state), count, line.seers)
        done = 0
        while not (feed.is_closed and done == feed.count):
            outcome = received(line.outcomes, [*workers, *line.seers])
            if isinstance(outcome, Outcome):
                done += 1
                yield outcome
    except BaseException as end:
        state.interrupted.set()
        feed.close()
        _end(line, workers)
        while isinstance(end, KeyboardInterrupt) and not line.outcomes.empty():
            if isinstance(outcome := line.outcomes.get(), Outcome):
                yield outcome
        raise
    _end(line, workers)  # one may still be on its way out, which is no reason to stop what comes next


@dataclass(frozen=True, slots=True)
class _Line:
    """What goes from worker to worker: uploads to those who send, what was stored to those who look at its URL.

    A host needs as long to show an image as to take it, so nobody who could send waits for that. But of what nobody
    has seen there is never more than uploads at a time: where nothing can be confirmed, little more is paid.
    """

    feed: Feed
    room: threading.Semaphore
    unseen: queue.SimpleQueue[Outcome | None] = field(default_factory=queue.SimpleQueue)
    outcomes: queue.SimpleQueue[Outcome | Feed] = field(default_factory=queue.SimpleQueue)
    """What became of each; and the feed from each worker for whom it has nothing more."""
    seers: list[Worker] = field(default_factory=list)
    """Those who look; where the system gives no thread for any, who has sent looks."""


def _end(line: _Line, workers: Sequence[Worker]) -> None:
    """Let those who send finish, then those who look, for a while in all."""
    deadline = time.monotonic() + GRACE
    join_all(workers, deadline)
    for _ in line.seers:
        line.unseen.put(None)
    join_all(line.seers, deadline)


def _serve(line: _Line, context: UploadContext, state: SharedState) -> None:
    """Send one image after another; what has to be looked at is handed on, as soon as there is room for it."""
    while (upload := line.feed.waiting.get()) is not None:
        outcome = _outcome(upload, context, state)
        if outcome.record is None or is_confirmed(outcome.record):
            _give(outcome, line, state)
        elif _has_room(line):
            line.unseen.put(outcome)
        else:
            _give(_seen(outcome, context, state), line, state)
    line.feed.waiting.put(None)  # for the next one
    line.outcomes.put(line.feed)


def _has_room(line: _Line) -> bool:
    """Wait until one more may be unseen; False where nobody is left who looks."""
    while not all(seer.is_over for seer in line.seers):
        if line.room.acquire(timeout=LOOK):
            return True
    return False


def _serve_unseen(line: _Line, workers: Sequence[Worker], context: UploadContext, state: SharedState) -> None:
    while (outcome := awaited(line.unseen, workers)) is not None:
        try:
            seen = _seen(outcome, context, state)
        finally:
            line.room.release()
        _give(seen, line, state)


def _give(outcome: Outcome, line: _Line, state: SharedState) -> None:
    line.outcomes.put(outcome._replace(repeats=state.repeats[outcome.upload.image.sha256]))


def _outcome(upload: Upload, context: UploadContext, state: SharedState) -> Outcome:
    """Upload one image; gives its record, not confirmed yet where that is asked for, or why there is none."""
    if state.stopped:
        return Outcome(upload, stop=str(state.stopped))
    if state.fatal or state.interrupted.is_set() or context.is_over():
        return Outcome(upload, stop=str(state.fatal or STOPPED))
    return _tried(upload, lambda: Outcome(upload, *upload_one(upload, context, state)), context, state)


def _seen(outcome: Outcome, context: UploadContext, state: SharedState) -> Outcome:
    """Look at the URL of what was stored, also where the run was stopped meanwhile; gives the outcome then."""
    assert outcome.record is not None
    record = outcome.record
    return _tried(outcome.upload, lambda: outcome._replace(record=confirm_one(record, context, state)), context, state)


def _tried(upload: Upload, step: Callable[[], Outcome], context: UploadContext, state: SharedState) -> Outcome:
    """Do one step for an image; whatever goes wrong with it is a value."""
    path = upload.shown
    try:
        return step()
    except HostError as refusal:
        if refusal.action is Action.STOP:
            with state.guard:
                state.stopped = state.stopped or refusal
            return Outcome(upload, failure=Failure(path, refusal.reason, refusal.remedy), stop=str(refusal))
        if refusal.is_final:
            _keep(partial(context.refuse, upload, refusal, context.allowance), state)
        return Outcome(upload, failure=Failure(path, refusal.reason, refusal.remedy, refusal.effort))
    except StateError as problem:
        with state.guard:
            state.fatal = state.fatal or problem
        return Outcome(upload, failure=Failure(path, str(problem)), stop=str(state.fatal))
    except ImghostError as problem:
        return Outcome(upload, failure=Failure(path, printable(problem)))
    except (OSError, MemoryError) as problem:
        return Outcome(upload, failure=_uncopied(path, problem))
    except Exception as problem:  # a host by others may raise anything, and its text may hold a secret
        reason = f"the host {context.host.name!r} broke with {type(problem).__name__}"
        return Outcome(upload, failure=Failure(path, reason, "report it to the host's authors"))


def _uncopied(path: str, problem: OSError | MemoryError) -> Failure:
    """Tell why no copy of an image could be made to send: it cannot be read, or disk or memory take no more."""
    if isinstance(problem, MemoryError):
        return Failure(path, "there is too little memory for it", MORE)
    reason = f"no copy of it can be made to send: {printable(problem.strerror or problem)}"
    is_full = problem.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
    return Failure(path, reason, "make room, or set TMPDIR" if is_full else "build again")


def upload_one(upload: Upload, context: UploadContext, state: SharedState) -> tuple[Record, bool]:
    """Have the host store one image; gives its record, and whether the host had it not before. Raises HostError.

    The record is kept by then. Where it is marked as not confirmed, no page may name its URL before `confirm_one`.
    """
    if upload.variant == IMPORT and context.bring:
        return _brought(upload, context.bring, context, state)
    payload = context.prepare(upload)
    try:
        if same := _same_bytes(upload, payload, context, state):
            _keep(partial(context.earn, same), state)
            return same, False
        _check_length(upload, payload, context)
        twin = None if upload.renewed else context.twin(payload.sha256)
        hosted = _as_hosted(twin) if twin else _sent_once(upload, payload, context, state)
        _check_address(hosted, context)
        since = twin.uploaded if twin else context.now()
        record = asked_for(recorded(upload, payload, hosted, context.host.name, since), context.retention)
        _bind(record, context, state, payload.sha256)
        return _earned(unconfirmed(record) if context.verify else record, context, state), hosted.is_new
    finally:
        payload.file.unlink(missing_ok=True)


def _as_hosted(record: Record) -> Hosted:
    return Hosted(record.url, record.id, record.expires, is_new=False)


def confirm_one(record: Record, context: UploadContext, state: SharedState) -> Record:
    """Look at the URL of what was stored, and keep the record as confirmed. Raises HostError."""
    answer = _confirm(record, context, state)
    record = confirmed(record)
    if record.variant == IMPORT and context.bring:
        record = _with_facts(record, answer)
    return _earned(record.with_served(served_of(answer.body)), context, state)


def _earned(record: Record, context: UploadContext, state: SharedState) -> Record:
    """Keep a record the moment it is earned; it stands for other images once its URL may be named."""
    _keep(partial(context.earn, record), state)
    if is_confirmed(record):
        with state.guard:
            state.stored.setdefault(record.sha256, []).append(record)
    return record


def _sent_once(upload: Upload, payload: Payload, context: UploadContext, state: SharedState) -> Hosted:
    """Send a payload, or wait for the image with the same one that is on its way: equal bytes are one upload.

    A host on this machine has no records but its files, which are named by the images: each has its own.
    """
    if context.host.place != "network":
        return _stored(upload, payload, context, state)
    key = payload.sha256, payload.period, payload.tier
    with state.guard:
        sending = state.sending.get(key)
        if not sending:
            state.sending[key] = mine = Sending()
    if sending:
        sending.done.wait()
        if sending.hosted:
            return replace(sending.hosted, is_new=False)
        if sending.refusal:
            raise sending.refusal.with_traceback(None)
        mine = sending  # it failed; whatever the reason was, it may be another for this one
    try:
        hosted = _stored(upload, payload, context, state)
    except HostError as refusal:
        mine.refusal = refusal if refusal.is_final else None
        raise
    else:
        mine.hosted = hosted
        return hosted
    finally:
        mine.done.set()


def _stored(upload: Upload, payload: Payload, context: UploadContext, state: SharedState) -> Hosted:
    """Have the host store a payload, unless an earlier run did and the host can be asked."""
    is_doubtful = (upload.image.sha256, context.host.name, upload.variant) in context.doubtful
    context.intend(payload)
    hosted = _looked_up(payload, context, state) if is_doubtful else None
    return hosted or _sent(payload, context, state, is_doubtful=is_doubtful)


def recover(uploads: Sequence[Upload], context: UploadContext) -> tuple[list[Outcome], list[Upload]]:
    """Confirm the records that would spare uploads; gives what became of those, and what is left to upload.

    A dead URL is uploaded again; one that cannot be asked now is asked by the next build, and nothing is sent.
    """
    state = SharedState()
    spared = [upload for upload in uploads if upload.spare]
    outcomes = concurrently(lambda upload: _recovered(upload, context, state), spared, context.concurrency)
    done = [outcome for outcome in outcomes if outcome]
    answered = {id(outcome.upload) for outcome in done}
    return done, [upload for upload in uploads if id(upload) not in answered]


def _recovered(upload: Upload, context: UploadContext, state: SharedState) -> Outcome | None:
    """Take up what an earlier run earned; None where it has to be uploaded again."""
    assert upload.spare is not None
    record = confirmed(upload.spare)
    try:
        _bind(record, context, state)
        answer = _confirm(record, context, state)
        if upload.variant == IMPORT and record.width is None:
            record = _with_facts(record, answer)
        record = record.with_served(served_of(answer.body))
    except HostError as refusal:
        if refusal.action is Action.FILE:
            return None
        failure = Failure(upload.shown, refusal.reason, refusal.remedy)
        return Outcome(upload, failure=failure, stop=str(state.stopped or ""))
    _keep(lambda: context.earn(record), state)
    return Outcome(upload, record, is_new=False)


def _sent(payload: Payload, context: UploadContext, state: SharedState, *, is_doubtful: bool) -> Hosted:
    """Upload, with retries, and count each time that this may store a second copy."""
    refusals: list[HostError] = []

    def send() -> Hosted:
        is_repeat = may_store_twice(context.host) and (refusals[-1].is_ambiguous if refusals else is_doubtful)
        if is_repeat:
            with state.guard:
                state.repeats[payload.image] += 1
        try:
            return context.host.upload(payload)
        except HostError as refusal:
            refusals.append(refusal)
            if is_repeat and refusal.is_ambiguous:
                # Such a host stores each try anew: what two of them did not tell, a third would not.
                raise _given_up(refusal) from None
            raise

    try:
        return with_retries(send, context, state)
    except HostError:
        if _is_known_absent(refusals, is_doubtful=is_doubtful):
            _keep(lambda: context.settle(payload), state)
        raise


def _is_known_absent(refusals: Sequence[HostError], *, is_doubtful: bool) -> bool:
    """Say whether a host that refused cannot have the image from any try, of this run or an earlier one.

    Bytes that it does not take are not there from an earlier try either; a quota, say, tells nothing of that.
    """
    if not refusals or refusals[-1].is_ambiguous:
        return False
    was_unclear = is_doubtful or any(refusal.is_ambiguous for refusal in refusals)
    return refusals[-1].action is Action.FILE or not was_unclear


def _looked_up(payload: Payload, context: UploadContext, state: SharedState) -> Hosted | None:
    """Ask for what a run that was killed may have stored, where the host can be asked.

    A host that refuses to tell (a credential that may put and not look) leaves it unknown, as one that cannot be
    asked does: the image is sent, and what is wrong with more than the question, the upload will say.
    """
    host = context.host
    if not isinstance(host, Finds):
        return None

    def look() -> Hosted | None:
        try:
            return host.find(payload)
        except HostError as refusal:
            if refusal.action in {Action.WAIT, Action.RETRY}:
                raise
            if not host.is_idempotent:
                with state.guard:
                    state.repeats[payload.image] += 1
            return None

    return with_retries(look, context, state)


def _given_up(refusal: HostError) -> HostError:
    """Say that an image is not sent a third time to a host that may have stored it twice."""
    remedy = refusal.remedy or "the next build sends it once more"
    return HostError(Action.FILE, refusal.reason, remedy=remedy, is_ambiguous=True, effort="2 tries")


def _brought(
    upload: Upload, bring: Callable[[Upload], Hosted], context: UploadContext, state: SharedState
) -> tuple[Record, bool]:
    """Have the host fetch an external image; what it is, its own URL then tells, as soon as it is there."""
    hosted = with_retries(lambda: bring(upload), context, state)
    _check_address(hosted, context)
    record = Record(
        upload.image.sha256, context.host.name, hosted.url, hosted.id, upload.variant, 0, "image/png", None, None,
        context.now().replace(microsecond=0), hosted.expires,
    )  # fmt: skip
    record = asked_for(record, context.retention)
    return _earned(unconfirmed(record), context, state), hosted.is_new


def _with_facts(record: Record, answer: Answer) -> Record:
    """Say of an imported image what its URL serves."""
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    width, height = dimensions(answer.body) or (None, None)
    kind = media_type if media_type in MEDIA_TYPES else record.media_type
    return replace(record, media_type=kind, width=width, height=height)


def _same_bytes(upload: Upload, payload: Payload, context: UploadContext, state: SharedState) -> Record | None:
    """Find what the host has already of these bytes, where remaking an image gained nothing: they go there once.

    A smaller size that is no smaller in bytes gains nothing, either: its record is the whole image's.
    """
    if context.host.place != "network":
        return None
    with state.guard:
        records = [record for record in state.stored.get(upload.image.sha256, ()) if covers(record, context.now())]
    whole = next((record for record in records if upload.is_size and record.variant == whole_of(upload.variant)), None)
    if whole and whole.bytes <= payload.bytes:
        return _as_variant(whole, upload.variant)
    if payload.plain is None:
        return None
    strips = upload.variant.startswith("strip")
    for record in records:
        alike = (record.bytes, record.media_type, record.width, record.height)
        is_alike = alike == (payload.bytes, payload.media_type, payload.width, payload.height)
        if is_alike and record.variant.startswith("strip") == strips:
            return _as_variant(record, upload.variant)
    return None


def _as_variant(record: Record, variant: str) -> Record:
    """Let a record stand for another variant, too; what was paid for it was paid once."""
    extra = {name: value for name, value in record.extra.items() if name != "receipt"}
    return replace(record, variant=variant, extra=extra)


def _check_length(upload: Upload, payload: Payload, context: UploadContext) -> None:
    """Refuse to send what the host is known to refuse: what an image became is what counts."""
    most = limits_at(context.host, upload.paths).max_bytes
    if most is not None and payload.bytes > most:
        reason = f"what is sent for it has {payload.bytes:,} bytes, and {context.host.name} takes {most:,}"
        raise HostError(Action.FILE, reason, remedy="set `oversize: resize`", is_final=True)


def _keep(write: Callable[[], None], state: SharedState) -> None:
    """Write to the local store; where it fails, a record still reaches the lock, but nothing further is sent."""
    try:
        write()
    except StateError as problem:
        with state.guard:
            state.fatal = state.fatal or problem


def recorded(upload: Upload, payload: Payload, hosted: Hosted, host: str, now: datetime) -> Record:
    """Make the record of what a host answered, with the path by which a reviewer knows the image.

    An external image has none: its URL's query may hold what only the page's author should see.
    """
    extra: dict[str, object] = {"path": upload.paths[0][:_LONGEST_PATH]} if upload.variant != IMPORT else {}
    if hosted.receipt:
        extra["receipt"] = dict(hosted.receipt)
    return Record(
        sha256=upload.image.sha256,
        host=host,
        url=hosted.url,
        id=hosted.id,
        variant=upload.variant,
        bytes=payload.bytes,
        media_type=payload.media_type,
        width=payload.width,
        height=payload.height,
        uploaded=now.replace(microsecond=0),
        expires=hosted.expires,
        extra=extra,
    )


_LONGEST_PATH: Final = 150
"""Letters of a path in a record; escaped, they are still read at once."""


def _check_address(hosted: Hosted, context: UploadContext) -> None:
    """Refuse a URL that is not one of the host's images, whatever the host's own code made of it."""
    if not context.host.accepts(hosted.url):
        raise HostError(Action.FILE, f"the host's URL is not one of its images: {printable(hosted.url)}")


def _bind(record: Record, context: UploadContext, state: SharedState, payload: str = "") -> None:
    """Refuse a URL that already stands for other bytes; files with equal payloads share one."""
    mine, known = content_of(record, payload), context.bound(record.url)
    with state.guard:
        if not state.bound.setdefault(record.url, content_of(known) if known else mine).may_be(mine):
            raise HostError(
                Action.FILE,
                f"the host gave a URL that already belongs to another image: {record.url}",
                remedy="report it to the host",
            )


def _confirm(record: Record, context: UploadContext, state: SharedState) -> Answer:
    """Confirm a record's URL; stops the run where one image after another could not be fetched."""

    def wait(seconds: float) -> bool:
        sleep(seconds, context, state)
        return state.interrupted.is_set() or state.stopped is not None

    try:
        answer = confirm(record, context.client, context.tries, wait)
    except HostError as refusal:
        if refusal.action is Action.RETRY:
            with state.guard:
                state.unconfirmed += 1
                if state.unconfirmed >= BREAKER and state.stopped is None:
                    state.stopped = HostError(Action.STOP, refusal.reason, remedy=refusal.remedy)
        raise
    state.unconfirmed = 0
    return answer


MAX_WAIT: Final = 60.0
"""Seconds that one wait may take."""
MAX_WAITS: Final = 300.0
"""Seconds that all waits of a run may take together."""
BREAKER: Final = 3
"""How often in a row a host may be out of reach, or an image unconfirmed, before it is given up."""

Answered = TypeVar("Answered")


def with_retries(ask: Callable[[], Answered], context: UploadContext, state: SharedState | None = None) -> Answered:
    """Ask a host until it answers, as its refusals allow; raises the HostError that is left."""
    state = state or SharedState()
    started = time.monotonic()
    for attempt in range(1, context.tries + 1):
        _wait_for_all(context, state)
        try:
            answered = ask()
        except HostError as refusal:
            _count_unreachable(refusal, state)
            if refusal.action in {Action.FILE, Action.STOP} or state.stopped:
                raise
            if attempt == context.tries:
                effort = f"{attempt} tries in {lasted(time.monotonic() - started)}" if attempt > 1 else ""
                remedy = refusal.remedy or "build again"
                raise HostError(_last(refusal), refusal.reason, remedy=remedy, effort=effort) from None
            _wait(refusal, attempt, context, state)
        else:
            state.unreachable = 0
            return answered
    raise HostError(Action.FILE, "no try was allowed", remedy="set retries to 1 or more")


def _last(refusal: HostError) -> Action:
    """Stop where the host still asks to wait after the last try: it would ask the next image, too."""
    return Action.STOP if refusal.action is Action.WAIT else Action.FILE


def _count_unreachable(refusal: HostError, state: SharedState) -> None:
    """Trip the breaker when the host was out of reach several times in a row."""
    is_unreachable = refusal.action is Action.RETRY and not refusal.is_ambiguous
    with state.guard:
        state.unreachable = state.unreachable + 1 if is_unreachable else 0
        if state.unreachable >= BREAKER and state.stopped is None:
            state.stopped = HostError(Action.STOP, refusal.reason, remedy=refusal.remedy)


def _wait(refusal: HostError, attempt: int, context: UploadContext, state: SharedState) -> None:
    """Wait as told, or with full jitter; raises STOP where that would take too long.

    A host that asks to wait asks all workers: each of eight that are told 40 s waits in the same 40 s.
    """
    pause = refusal.wait
    if pause is None:
        # After three of these a limit by the minute, the usual one, is over.
        is_told = refusal.action is Action.WAIT
        least, most = (9.0 * attempt, 11.0 * attempt) if is_told else (0.0, min(8.0, 0.25 * 2**attempt))
        pause = random.uniform(least, most)  # noqa: S311 - spreads load, guards nothing
    with state.guard:
        now = time.monotonic() + state.slept
        state.waited += max(0.0, now + pause - max(now, state.waits_until))
        state.waits_until = max(state.waits_until, now + pause)
        if refusal.action is Action.WAIT:
            state.barred_until = max(state.barred_until, now + min(pause, MAX_WAIT))
        is_too_long = pause > MAX_WAIT or state.waited > MAX_WAITS + 0.001  # a sum of clock readings is never exact
    if is_too_long:
        raise HostError(
            Action.STOP, f"{refusal.reason} (asks to wait {pause:.0f} s)", remedy=refusal.remedy or "build again later"
        )
    sleep(pause, context, state)


def sleep(seconds: float, context: UploadContext, state: SharedState) -> None:
    """Wait, unless the run is stopped meanwhile."""
    (context.sleep or state.interrupted.wait)(seconds)
    if context.sleep:
        with state.guard:
            state.slept += seconds


def _wait_for_all(context: UploadContext, state: SharedState) -> None:
    """Wait until the host wants to be asked again, if it has told another worker to wait."""
    with state.guard:
        left = state.barred_until - time.monotonic() - state.slept
    if left > 0 and not state.stopped:
        sleep(left, context, state)


_PAUSES: Final = (0.0, 0.5, 1.5, 3.0, 5.0)
"""Seconds before each try: a CDN may need a moment to know a new image."""


def confirm(record: Record, client: Client, tries: int, wait: Callable[[float], bool] | None = None) -> Answer:
    """Fetch a record's URL: 200, an image, of the right size; gives the answer.

    `wait` sleeps and says whether to give up. Raises HostError; its action is FILE where the URL is dead or
    wrong, RETRY where it could not be known.
    """
    problem = HostError(Action.RETRY, "its URL could not be confirmed")
    for pause in _PAUSES[: max(tries, 1)]:
        if pause and (wait or _sleep)(pause):
            break
        try:
            answer = client.fetch(record.url)
        except HostError as refusal:
            problem = refusal
            continue
        if answer.status == 200:
            _check_image(record, answer.headers.get("content-type", ""), answer.body)
            return answer
        action = Action.FILE if answer.status in {404, 410} else Action.RETRY
        remedy = "readers may not see it: make the bucket or the image public" if answer.status in {401, 403} else ""
        problem = HostError(action, f"its URL answers {answer.status}: {record.url}", remedy=remedy)
    action = Action.FILE if problem.action is Action.FILE else Action.RETRY
    remedy = problem.remedy or "the next build asks again, without a new upload"
    raise HostError(action, problem.reason, remedy=remedy)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _check_image(record: Record, media_type: str, body: bytes) -> None:
    """Compare an answer with the record; raises HostError (FILE)."""
    # Of what a host has fetched itself nobody knows the format until it is seen.
    is_known = record.variant != IMPORT or record.width is not None
    expected = record.media_type if is_known else "image/*"
    if problem := difference(record.width, record.height, media_type, body, expected):
        raise HostError(Action.FILE, f"its URL {problem[1]}: {record.url}", remedy="report it to the host")


def difference(
    width: int | None, height: int | None, media_type: str, body: bytes, expected: str = ""
) -> tuple[str, str] | None:
    """Say how an answer of 200 differs from an image of this size and type: `dead` or `altered`, and the clause.

    A raster image counts only if a browser would show it: its type is told, its bytes say the same and a size, and
    they go on to the image's end, as far as they were read.
    With `image/*` as what is expected any raster image will do.
    """
    told = media_type.partition(";")[0].strip().lower()
    if not told.startswith("image/") or not body:
        return "dead", f"serves {printable(media_type, 60) or 'nothing'}, not an image"
    if expected in RASTER or expected == "image/*":
        own, size = media_type_of(body), dimensions(body)
        if not own or not size:
            return "dead", f"serves {len(body):,} bytes as {printable(told, 60)} that are no image which can be read"
        if _ALIASES.get(told, told) != own or expected not in {own, "image/*"}:
            return "altered", f"serves {printable(told, 60)} with the bytes of {own}, not {expected}"
        if len(body) < LIMIT and not is_whole(body):  # a fetch reads no more than that
            return "dead", f"serves {len(body):,} bytes of {own} that end before the image does"
    elif expected and told != expected:
        return "altered", f"serves {printable(told, 60)}, not {expected}"
    size = dimensions(body)
    if size and width and height and size != (width, height):
        return "altered", f"serves {size[0]} x {size[1]} pixels, not {width} x {height}"
    return None


_ALIASES: Final = {
    **dict.fromkeys(("image/jpg", "image/pjpeg"), "image/jpeg"),
    **dict.fromkeys(("image/x-png", "image/apng"), "image/png"),
}
"""Names of types that browsers take for another."""
