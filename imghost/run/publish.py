"""The plan carried out, as far as this build may: uploads under one lock, and their records to the lock file."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

from imghost import files
from imghost.errors import Action, BudgetError, HostError, LockError, StateError, StoreError
from imghost.hosts import Converts, Host, Imports, Notes, Prices, Quota, Sorts, Varies
from imghost.html.edit import Additions
from imghost.models import IMPORT, Failure, Hosted, NamedTuple, Payload, Record, Refused
from imghost.net import Client
from imghost.records import confirmed, covers, is_confirmed, lasts, owns
from imghost.records import lock as locks
from imghost.records.cache import Cache, exclusive
from imghost.run.job import (
    NOT_UPLOADED,
    Job,
    Notice,
    Outcome,
    Plan,
    Planned,
    Published,
    Upload,
    refused,
    without_uploads,
)
from imghost.run.plan import Refusal, decide, owner_of, replanned, terms_of, within_budget, words_of
from imghost.run.report import announce, failure_notices, reporting
from imghost.run.rewrite import REFUSED, SEEN, WAY, additions_of, hosted_image, kinds_of, seen_kinds
from imghost.settings import Settings
from imghost.site.images import Origins, Stay, opened_any
from imghost.site.page_map import PageMap
from imghost.wording import json_in_log, many, stay

if TYPE_CHECKING:
    from imghost.run.sharing import Sharing
    from imghost.run.upload import UploadContext

_SKEW: Final = timedelta(seconds=300)


def publish(planned: Planned, job: Job, client: Client, cache: Cache) -> Published:
    """Upload what the plan asks for, as far as this build may; the records that exist count in any case."""
    return _with_refused(_published(planned, job, client, cache))


def _published(planned: Planned, job: Job, client: Client, cache: Cache) -> Published:
    host = planned.host
    if host is None or not planned.leave.may_upload:
        return without_uploads(planned, planned.leave)
    if host.place != "network":
        return _carried_out(planned, job, client, cache)
    if not planned.plan.uploads:
        return without_uploads(planned, planned.leave)._replace(notices=_in_order(planned, job, host))
    try:
        with ExitStack() as held:
            is_alone = held.enter_context(exclusive(job.settings.cache_dir, wait=0.5))
            if not is_alone:
                job.say(f"another build is uploading; waiting for it, {job.patience:g} seconds at most")
                is_alone = held.enter_context(exclusive(job.settings.cache_dir, wait=job.patience - 0.5))
            if not is_alone:
                why = f"another build holds the local store {job.settings.cache_dir}; build again when it is done"
                return refused(planned, "busy", f"nothing is uploaded: {why}")
            locks.check_place(job.settings.lock)
            with Cache.load(job.settings.cache_dir) as fresh, ending_in_order():
                with locks.opened(job.settings.lock, job.now(), cache) as lock:
                    there = lock.of(image.sha256 for image in planned.images.values())
                    planned = replanned(planned, job, there, fresh)
                    planned, job, notices = _by_the_hosts_clock(planned, job, client, fresh)
                    done = _carried_out(planned, job, client, fresh, lock)
                locks.prove(job.settings.lock, cache)
                return done._replace(notices=(*notices, *done.notices))
    except StateError as problem:
        why = str(problem).removeprefix("nothing is uploaded, since ")
        return refused(planned, "state", f"nothing is uploaded: {why}")


def _with_refused(published: Published) -> Published:
    """Tell of the images that the host has refused before for good: nothing was sent for them this time."""
    aside = published.planned.plan.refused
    if not aside:
        return published
    told = [(upload, Failure(upload.shown, *words_of(last))) for upload, last in aside]
    failures = [
        failure._replace(path=path)
        for upload, failure in told
        for path in (() if upload.is_size else upload.paths)
        if path not in published.records
    ]
    notices = (*published.notices, *_told_of(told, published.records))
    return published._replace(failures=(*published.failures, *failures), notices=notices)


def _by_the_hosts_clock(
    planned: Planned, job: Job, client: Client, cache: Cache
) -> tuple[Planned, Job, tuple[Notice, ...]]:
    """Plan anew by the host's clock where this machine's is wrong: nothing is renewed, or paid, because of that."""
    renewed = next((upload.renewed for upload in planned.plan.uploads if upload.renewed), None)
    if renewed is None:
        return planned, job, ()
    try:
        answer = client.fetch(renewed.url, limit=1)
    except HostError:
        return planned, job, ()
    from imghost.hosts.answers import moment_of

    here = job.now
    skew = moment_of(answer) - here() if "date" in answer.headers else timedelta(0)
    if abs(skew) <= _SKEW:
        return planned, job, ()
    job = replace(job, now=lambda: here() + skew)
    text = f"this machine's clock is wrong by {skew.total_seconds():.0f} seconds; the host's counts: set the clock"
    return replanned(planned, job, planned.lock, cache), job, (Notice("clock", text),)


def _carried_out(
    planned: Planned, job: Job, client: Client, cache: Cache, lock: locks.OpenLock | None = None
) -> Published:
    """Upload what the plan asks for, if that is within the budget; raises StateError where no state can be kept.

    `lock` is that of a host on the network, open.
    """
    host = planned.host
    if host is None or not planned.plan.uploads:
        return without_uploads(planned, planned.leave)
    # What uploads need is loaded where one begins, here and below: most builds have none.
    from imghost.run.upload import preparing, recover, with_retries

    known: list[Outcome] = []

    def left_out(code: str, why: str, *, is_refused: bool = False) -> Published:
        return _with_known(refused(planned, code, why, is_refused=is_refused), known, why, job, host)

    try:
        with _among_others(job, host) as among, workshop() as folder:
            context = context_of(host, planned, job, client, cache, folder, lock)
            begun, left = job.begun.answered(planned.plan.uploads) if job.begun else ([], planned.plan.uploads)
            known += begun
            spared, left = recover(left, context)
            known += spared
            if spared:
                again = many(sum(1 for outcome in spared if outcome.record), "image")
                job.say(f"{again} found at the host again, so that nothing is sent")
            taken, left = among.take(left, client) if among else ([], left)
            known += taken
            ask = partial(with_retries, context=context)
            plan = priced(planned.plan._replace(uploads=tuple(left)), host, job.settings, ask)
            going, waiting = _in_turn(plan, job)
            with preparing(going.uploads, context) as ready:
                quota = with_retries(host.ready, ready) if going.uploads else Quota()
                if reopened := refused_otherwise(plan, quota):
                    taken, left = among.take(reopened, client) if among else ([], reopened)
                    known += taken
                    plan = priced(with_again(plan, reopened, left), host, job.settings, ask)
                    going, waiting = _in_turn(plan, job)
                prepared = replace(ready, is_first_alone=not quota.is_proven, allowance=quota.allowance)
                done = _upload_planned(planned._replace(plan=going), job, prepared, quota, known, among)
        done = _with_waiting(done, waiting, job)
        told = (*(job.begun.wait().notes if job.begun else ()), *(host.notes() if isinstance(host, Notes) else ()))
        done = done._replace(notices=(*done.notices, *(Notice("upload", line) for line in dict.fromkeys(told))))
        return done._replace(notices=(*done.notices, *among.notices)) if among else done
    except StoreError as problem:
        return left_out("shared", f"nothing is uploaded: {problem}")
    except BudgetError as over:
        return left_out("budget", str(over), is_refused=True)
    except HostError as refusal:
        return left_out("upload", f"nothing is uploaded to {host.name}: {refusal}")


def refused_otherwise(plan: Plan, quota: Quota) -> list[Upload]:
    """List what the host has refused for good when it allowed the account other things than now."""
    now = quota.allowance
    return [upload for upload, last in plan.refused if now and last.allowance and last.allowance != now]


def with_again(plan: Plan, again: Sequence[Upload], left: Sequence[Upload]) -> Plan:
    """Set nothing of this aside any longer; what of it is `left` is an upload."""
    names = set(map(id, again))
    aside = tuple((upload, last) for upload, last in plan.refused if id(upload) not in names)
    return plan._replace(uploads=(*plan.uploads, *left), refused=aside)


def _in_turn(plan: Plan, job: Job) -> tuple[Plan, Plan]:
    """Take what the budget allows, in the order in which it is sent; gives that, and what waits."""
    going, waiting = within_budget(plan, job.settings, job.now())
    return going._replace(uploads=tuple(sorted(going.uploads, key=_last_of_all))), waiting


def _last_of_all(upload: Upload) -> tuple[bool, bool]:
    """Order uploads by what the site has least without them: smaller sizes last, and renewals behind new images."""
    return upload.is_size, upload.renewed is not None


def _with_known(refusal: Published, known: Sequence[Outcome], why: str, job: Job, host: Host) -> Published:
    """Show, though nothing is uploaded, what was known without that: by the local store, or from others."""
    records = [outcome.record for outcome in known if outcome.record]
    if not records:
        return refusal
    planned, answered = refusal.planned, {id(outcome.upload) for outcome in known}
    beyond = [upload for upload in planned.plan.uploads if id(upload) not in answered]
    done = _sorted_out(planned, known, beyond, why)
    notices = (*refusal.notices, *_add_to_lock(job, host, records), *failure_notices(done.failures))
    return done._replace(notices=notices, is_refused=refusal.is_refused)


def priced(
    plan: Plan, host: Host, settings: Settings, ask: Callable[[Callable[[], Decimal]], Decimal] = lambda price: price()
) -> Plan:
    """Ask for the price of now where the highest known one is over the budget: hosts' prices move."""
    if not isinstance(host, Prices) or not plan.is_price_certain or not 0 < settings.max_cost < plan.cost:
        return plan
    if not plan.tiers or not isinstance(host, Sorts):
        return plan._replace(price=ask(host.price))
    prices = {tier: ask(partial(host.price_in, tier)) for tier in plan.tiers}
    return plan._replace(uploads=tuple(upload._replace(price=prices[upload.tier]) for upload in plan.uploads))


def _with_waiting(done: Published, waiting: Plan, job: Job) -> Published:
    """Say what the budget has no room for now: renewals wait without harm, new images stay local."""
    if not waiting.uploads:
        return done
    renewals = [upload for upload in waiting.uploads if covers(upload.renewed, job.now())]
    new = [upload for upload in waiting.uploads if upload not in renewals]
    if renewals:
        count = many(len(renewals), "renewal")
        job.say(f"{count} must wait for the next build: the budget has no room for more")
    if not new:
        return done
    text = (
        f"the budget has room for renewals alone, which come first: {many(len(new), 'new image')} "
        f"{'stays' if len(new) == 1 else 'stay'} local; build again, or raise max_uploads or max_cost"
    )
    stay = Stay(text)
    staying = {**done.staying, **{path: stay for upload in new for path in upload.paths if path not in done.records}}
    return done._replace(staying=staying, notices=(*done.notices, Notice("budget", text)), is_refused=True)


def _among_others(job: Job, host: Host) -> AbstractContextManager[Sharing | None]:
    """Open the store of shared records, where one is set: only then what speaks with it is loaded."""
    if not job.settings.shared or not host.needs_network:
        return nullcontext()
    from imghost.run.sharing import sharing

    return sharing(job, host)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let a request to end interrupt the uploads, as the keyboard does: MkDocs and Sphinx know no such request.

    What is under way may finish; then the process ends as it was asked to. A signal that somebody else handles, or
    that is ignored, as under nohup, stays so. Only the main thread can be interrupted.
    """
    ended: list[int] = []

    def interrupt(signum: int, _: FrameType | None) -> NoReturn:
        ended.append(signum)
        signal.signal(signum, signal.SIG_DFL)  # a second request ends it at once
        raise KeyboardInterrupt(signum)

    is_ours = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if is_ours:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if ended:
            os.kill(os.getpid(), ended[0])


@contextmanager
def workshop() -> Iterator[Path]:
    """Make a folder of this run's own for payloads; raises StateError."""
    with ExitStack() as held:
        try:
            folder = held.enter_context(files.payload_folder())
        except OSError as problem:
            reason = problem.strerror or str(problem)
            text = f"no folder can be made for what is to be sent: {reason}; make room, or set TMPDIR"
            raise StateError(text) from None
        yield folder


def context_of(
    host: Host,
    planned: Planned,
    job: Job,
    client: Client,
    cache: Cache,
    folder: Path,
    lock: locks.OpenLock | None,
) -> UploadContext:
    """Collect what the uploads of a plan need."""
    from imghost.image import payload
    from imghost.run.upload import UploadContext

    origins = _with_removed(job.origins, planned.last_map)

    def prepare(upload: Upload) -> Payload:
        if upload.variant == IMPORT:
            copy = downloaded(upload, host, job, folder)
        else:
            try:
                with opened_any(upload.paths, job.site, origins) as source:
                    copy = payload.prepare(upload.image, source, upload.variant, folder)
            except FileNotFoundError:
                if upload.renewed is None:
                    raise
                copy = _fetched(upload, upload.renewed, client, folder)
        expires = upload.renewed.expires if upload.renewed else None
        return replace(copy, period=int(expires.timestamp()) if expires else 0, tier=upload.tier)

    def bring(upload: Upload) -> Hosted:
        assert isinstance(host, Imports)
        from imghost.net.download import check_public

        check_public(upload.image.path, job.environ)
        return host.bring(upload.image.path, upload.image.sha256)

    ledger = _Ledger(host, job, cache)
    return UploadContext(
        host=host,
        client=client,
        prepare=prepare,
        bring=bring if isinstance(host, Imports) else None,
        expect=ledger.expect,
        intend=ledger.intend,
        settle=ledger.settle,
        refuse=ledger.refuse,
        earn=ledger.earn,
        told=ledger.told,
        doubtful=frozenset(cache.intents(ledger.owner)),
        now=job.now,
        tries=job.settings.retries,
        concurrency=job.settings.concurrency,
        verify=job.settings.verify and host.place == "network",
        bound=_bound(planned, host, lock),
        twin=_twins(host, job, lock),
        retention=job.settings.retention,
        stored=tuple(record for record in planned.lock.records if record.host == host.name and _is_good(record, job)),
        sleep=job.sleep,
    )


def _fetched(upload: Upload, record: Record, client: Client, folder: Path) -> Payload:
    """Take what is renewed from the host, where `remove_local` left no other copy and its bytes are what was sent.

    Raises HostError where they are not, while there is time to put the file back.
    """
    body = client.fetch(record.url, limit=record.bytes + 1).body
    digest = hashlib.sha256(body).hexdigest()
    if digest != (record.served.sha256 if record.variant and record.served else upload.image.sha256):
        until = f" before {record.expires.date()}" if record.expires else ""
        reason = "its local copy was removed, and the host serves other bytes than were sent, so it cannot be renewed"
        raise HostError(Action.FILE, reason, remedy=f"put the file back into the site{until}")
    file = folder / os.urandom(8).hex()
    file.write_bytes(body)
    return Payload(
        upload.image.sha256, digest, file, len(body), record.media_type, record.width, record.height, upload.variant
    )


class _Ledger:
    """Writes what is begun and earned where no kill forgets it: the local store and the lock; for any thread.

    A host on this machine needs neither, since its files tell.
    """

    def __init__(self, host: Host, job: Job, cache: Cache) -> None:
        self.owner = owner_of(job.settings, host)
        self._host = host
        self._job = job
        self._cache = cache
        self._is_kept = host.place == "network"
        self._guard, self._writing = threading.Lock(), threading.Lock()
        self._earned: list[tuple[Record, str]] = []
        """What the lock shall have and has not yet, each with its line."""
        self.told: set[str] = set(job.begun.wait().told if job.begun else ())

    def expect(self) -> None:
        """Open the local store while the host is asked for its quota: that takes as long as an upload's own work."""
        if self._is_kept:
            self._cache.expect()

    def intend(self, payload: Payload) -> None:
        """Note that an upload begins; raises StateError."""
        if self._is_kept:
            self._cache.intend(payload.image, self._host.name, payload.variant, self.owner)

    def settle(self, payload: Payload) -> None:
        """Note that the host is known not to have it; raises StateError."""
        if self._is_kept:
            self._cache.settle(payload.image, self._host.name, payload.variant, self.owner)

    def refuse(self, upload: Upload, refusal: HostError, allowance: str) -> None:
        """Note that the host has refused an image for good; raises StateError."""
        if self._is_kept:
            terms = terms_of(self._job.settings, self._job.environ, self._host)
            last = Refused(refusal.reason, refusal.remedy, self._job.now().replace(microsecond=0), terms, allowance)
            self._cache.refuse((upload.image.sha256, self._host.name, upload.variant), last, self.owner)

    def earn(self, record: Record) -> None:
        """Keep a record, before its worker begins the next upload; where the lock fails, its receipt is told."""
        if not self._is_kept:
            return
        line = locks.render_record(locks.whole(record))  # one that no lock can have is its own worker's failure alone
        is_first = not (self._job.settings.verify and is_confirmed(record))
        try:
            if is_first:  # the store's records are confirmed again before they count, so the first time is enough
                self._cache.keep(confirmed(record), self.owner)
        finally:
            self._add(record, line)

    def _add(self, record: Record, line: str) -> None:
        """Add a record to the lock, with those that other workers have earned meanwhile: who comes first writes all.

        Each would have to hold the file alone, and a file that is held can only be asked for again and again.
        """
        with self._guard:
            self._earned.append((record, line))
        with self._writing:
            with self._guard:
                earned, self._earned = self._earned, []
            try:
                if earned:
                    locks.append(self._job.settings.lock, (line for _, line in earned), self._host.name)
            except (OSError, LockError):
                self._tell(record for record, _ in earned)

    def _tell(self, records: Iterable[Record]) -> None:
        """Tell the receipts of what the lock could not be given, each once."""
        for record in records:
            if record.url not in self.told:
                self.told.add(record.url)
                _give_receipt(self._job, record)


def _give_receipt(job: Job, record: Record) -> None:
    """Print a record whole, as the lock would have it, so that whoever has the log can put it there."""
    (job.receipt or job.say)(f"receipt: {json_in_log(locks.render_record(record))}")


def _bound(planned: Planned, host: Host, lock: locks.OpenLock | None) -> Callable[[str], Record | None]:
    """Make what tells the record of a URL, if any image of this host has it; mostly one of the site's own."""
    own = {record.url: record for record in planned.lock.records if record.host == host.name}

    def bound(url: str) -> Record | None:
        record = own.get(url)
        with suppress(LockError):  # what the host has stored by now is kept, whoever writes into the lock meanwhile
            record = record or (lock.bound(url) if lock else None)
        return record if record and record.host == host.name else None

    return bound


def _twins(host: Host, job: Job, lock: locks.OpenLock | None) -> Callable[[str], Record | None]:
    """Make what tells the good record of an image that was sent as it is: an equal payload needs no other."""

    def twin(digest: str) -> Record | None:
        known: Sequence[Record] = ()
        with suppress(LockError):
            known = lock.of([digest]).records if lock else ()
        own = (record for record in known if not record.variant and owns(record, host.name, host.accepts))
        return next((record for record in own if _is_good(record, job)), None)

    return twin


def _is_good(record: Record, job: Job) -> bool:
    """Say whether a record needs no other in its place, so that another image may share its URL."""
    return lasts(record, job.settings.renew_before, job.settings.retention, job.now())


def _with_removed(origins: Origins, last_map: PageMap) -> Origins:
    """Name for each drawn image whose local copy was removed the place where that was kept."""
    places = {path: Path(gone.source) for path, gone in last_map.removed.items() if gone.source}
    return origins._replace(sources={**places, **origins.sources})


def downloaded(upload: Upload, host: Host, job: Job, folder: Path) -> Payload:
    """Fetch an external image and make it a payload like the site's own: checked, and stripped as the settings say."""
    from imghost.image import payload
    from imghost.image.inspect import NotAnImage
    from imghost.image.inspect import read as read_image
    from imghost.net.download import download

    copy = download(upload.image.path, folder, environ=job.environ, timeout=job.settings.timeout)
    try:
        image = read_image(copy.parent, copy.name)
        variant = decide(image, host, job.settings)
        if isinstance(variant, Refusal):
            raise HostError(Action.FILE, variant.reason, remedy=variant.remedy, is_final=True)
        with copy.open("rb") as source:
            made = payload.prepare(image, source, variant, folder)
    except NotAnImage as reason:
        raise HostError(Action.FILE, str(reason), remedy="take it out of 'remote'") from None
    finally:
        copy.unlink(missing_ok=True)
    return replace(made, image=upload.image.sha256, variant=IMPORT)


def _upload_planned(
    planned: Planned,
    job: Job,
    context: UploadContext,
    quota: Quota,
    taken: Sequence[Outcome],
    among: Sharing | None,
) -> Published:
    """Upload as many as the host allows, write the lock, and sort what came of it and what others have uploaded."""
    from imghost.run.upload import upload_all

    uploads = planned.plan.uploads
    allowed = _allowed(quota, len(uploads))
    over = _over(quota, context.host, len(uploads)) if allowed < len(uploads) else ""
    if over:
        # Without a link the host is asked for one image more, and its refusal is the warning.
        (job.alert if quota.link else job.say)(over)
    announce(uploads[:allowed], context, job)
    outcomes = list(taken)
    notices: list[Notice] = []
    fatal = ""
    try:
        mine = uploads[:allowed]
        with reporting(job, context.host, mine) as tell:
            for outcome in among.upload_all(mine, context, upload_all) if among else upload_all(mine, context):
                outcomes.append(outcome)
                tell(outcome)
    except StateError as problem:
        fatal = str(problem)
    finally:
        records = [outcome.record for outcome in outcomes if outcome.record]
        notices += _add_to_lock(job, context.host, records, context.told)
    tried = {id(outcome.upload) for outcome in outcomes}
    beyond = [upload for upload in uploads if id(upload) not in tried]
    done = _sorted_out(planned, outcomes, beyond, fatal or over)
    return done._replace(notices=(*notices, *_warnings(done, fatal, over)))


def _allowed(quota: Quota, count: int) -> int:
    """Say how many uploads to try: where the host gives no link to get more, its refusal of one more may."""
    if quota.remaining is None:
        return count
    return min(count, max(0, quota.remaining) + (0 if quota.link else 1))


def _over(quota: Quota, host: Host, count: int) -> str:
    """Say that the host has no room for all, before anything is sent, and what would help."""
    allowed = max(0, quota.remaining or 0)
    room = f"room for {allowed:,} more {'image' if allowed == 1 else 'images'}" if allowed else "no more room"
    date = f"wait until {quota.resets.date()}" if quota.resets else ""
    remedy = ", or ".join(filter(None, (f"raise the plan ({quota.link})" if quota.link else "", date)))
    wants = f"{many(count, 'image')} {'wants' if count == 1 else 'want'} to go"
    return f"{host.name} has {room} and {wants}: {count - allowed:,} will stay local; {remedy or 'build again'}"


def _sorted_out(planned: Planned, outcomes: Sequence[Outcome], beyond: Sequence[Upload], over: str) -> Published:
    """Sort outcomes into records, failures and what was not tried."""
    records = dict(planned.plan.reused)
    staying = dict(planned.plan.staying)
    failures: list[Failure] = []
    stopped = next((outcome.stop for outcome in outcomes if outcome.stop), over)
    every = (*outcomes, *(Outcome(upload, stop=stopped) for upload in beyond))
    sizes = dict(planned.plan.sizes)
    for outcome in every:
        if outcome.upload.is_size:
            # Without one of its sizes an image is as good as before: what failed is a warning, and no more.
            new = (outcome.record,) if outcome.record else ()
            sizes |= {path: (*_others(sizes.get(path, ()), new), *new) for path in outcome.upload.paths}
            continue
        if outcome.record:
            records |= dict.fromkeys(outcome.upload.paths, outcome.record)
            continue
        left = [path for path in outcome.upload.paths if path not in records]
        if outcome.stop or outcome.failure is None:
            staying |= {path: Stay(f"{NOT_UPLOADED}{outcome.stop}") for path in left}
        else:
            failures += [outcome.failure._replace(path=path) for path in left]
    return Published(planned, records, staying, every, tuple(failures), sizes=sizes)


def _others(records: Sequence[Record], new: Sequence[Record]) -> Iterator[Record]:
    """Give the records of other variants than these."""
    return (record for record in records if all(record.variant != one.variant for one in new))


def _warnings(done: Published, fatal: str, over: str) -> Iterator[Notice]:
    """Warn of what stopped the uploads, once, with how many images that concerns, and of the images that failed.

    `over` says itself how many images the host has no room for.
    """
    missing = (outcome for outcome in done.outcomes if not outcome.record and not outcome.upload.is_size)
    stops = Counter(outcome.stop for outcome in missing if outcome.stop)
    if fatal:
        stops[fatal] += 0
    for why, count in stops.items():
        left = f": {stay(count)}" if count and why != over else ""
        yield Notice("state" if why == fatal else "upload", f"{why}{left}")
    yield from _told_of(((it.upload, it.failure) for it in done.outcomes if it.failure and not it.stop), done.records)


def _told_of(failed: Iterable[tuple[Upload, Failure]], records: Container[str]) -> Iterator[Notice]:
    """Warn of uploads that failed, and say what that means for the page."""
    failed = list(failed)
    yield from failure_notices((failure for upload, failure in failed if not upload.is_size), records)
    yield from failure_notices((failure for upload, failure in failed if upload.is_size), of_sizes=True)


def _in_order(planned: Planned, job: Job, host: Host) -> tuple[Notice, ...]:
    """Keep the lock as it should be where nothing is uploaded by this run."""
    return _name_in_lock(planned, job) or (
        _add_to_lock(job, host, ()) if job.begun and job.begun.wait().outcomes else ()
    )


def _name_in_lock(planned: Planned, job: Job) -> tuple[Notice, ...]:
    """Keep the lock's header true: the host that was last published with."""
    assert planned.host is not None
    if not planned.plan.reused or planned.lock.host == planned.host.name:
        return ()
    return _written(job, (), planned.host.name)


def _add_to_lock(job: Job, host: Host, records: Sequence[Record], told: Container[str] = ()) -> tuple[Notice, ...]:
    """Sort the records into the lock; a host on this machine has none there, since its files tell.

    Lines that the workers appended are sorted too, also where none of their URLs could be confirmed.
    """
    if host.place != "network" or not (records or job.settings.lock.exists()):
        return ()
    if not records:
        return _written(job, (), None)
    notices = _written(job, records, host.name, told)
    if job.environ.get("CI"):
        name = job.settings.lock.name
        new = "1 record is" if len(records) == 1 else f"{len(records):,} records are"
        text = f"{new} new: commit {name}, or the next build uploads these images again; the lines follow"
        notices += (Notice("ci", text),)
    return notices


def _written(job: Job, records: Sequence[Record], host: str | None, told: Container[str] = ()) -> tuple[Notice, ...]:
    try:
        locks.add(job.settings.lock, records, host, job.now())
    except (OSError, LockError) as problem:
        for record in (record for record in records if record.url not in told):
            _give_receipt(job, record)
        reason = getattr(problem, "strerror", None) or problem
        text = f"{job.settings.lock} cannot be written: {reason}; make room or change its mode, then build again"
        return (Notice("lock", text),)
    return ()


# Addresses that a host makes of a hosted image's: fetched once for each image before a page names them.
#
# A host may refuse to convert one image, and a page that names the address then shows nothing. So one of each kind
# is fetched, and the record tells which were seen; what was not keeps its plain address. It also tells which the host
# answered otherwise: builds ask for them again, but `check` is not red for ever.

_BREAKER: Final = 3
"""Addresses that cannot be reached, after which no more are asked for in this run."""


class Confirmed(NamedTuple):
    """What pages may name: the records, told what was seen of them, and what is worth a warning or a line."""

    published: Published
    notices: tuple[Notice, ...] = ()
    remarks: tuple[str, ...] = ()


def confirm_derived(published: Published, job: Job, client: Client) -> Confirmed:
    """Fetch one address of each kind for each image that pages are to name so, where nobody has yet."""
    host, additions = published.planned.host, additions_of(job.settings, published.planned.host)
    if not isinstance(host, Varies) or not (additions.format or additions.responsive):
        return Confirmed(published)
    wanted = _wanted(published, host, additions)
    if not wanted:
        return Confirmed(published)
    if not job.settings.verify:
        return Confirmed(_with(published, {url: frozenset(kinds) for url, kinds in wanted.items()}))
    if not published.planned.leave.may_upload:
        text = f"{many(len(wanted), 'image')} keep the plain address: nobody has seen the host's other copies yet"
        return Confirmed(published, remarks=(text,))
    if additions.format and isinstance(host, Converts):
        try:
            published = _told_way(published, host.way(), wanted)
        except HostError as problem:
            text = f"{many(len(wanted), 'image')} keep the plain address: {problem.reason}; build again"
            return Confirmed(published, (Notice("derived", text),))
        wanted = _wanted(published, host, additions)
    seen, odd, problems = _asked(wanted, client, job.settings.concurrency)
    was, published = published.records, _with(_with(published, seen), odd, REFUSED)
    told = {record.url for path, record in published.records.items() if record != was[path]}
    notices = _noted(published, job, told) if told else ()
    if problems:
        text = f"{many(len(problems), 'image')} keep the plain address: {problems[0]}; build again, or ask the host"
        notices += (Notice("derived", text),)
    return Confirmed(published, notices)


def _wanted(published: Published, host: Host, additions: Additions) -> dict[str, dict[str, str]]:
    """List, by the images' addresses, the kinds that nobody has seen yet, with one address of each."""
    wanted: dict[str, dict[str, str]] = {}
    for path, record in published.records.items():
        kinds = kinds_of(hosted_image(record, published.planned.images.get(path), host, additions), additions)
        if new := {kind: url for kind, url in kinds.items() if kind not in seen_kinds(record)}:
            wanted[record.url] = new
    return wanted


def untried(planned: Planned, settings: Settings) -> set[str]:
    """List the images with a record for which a build would fetch an address of a kind that none has asked for yet."""
    host, additions = planned.host, additions_of(settings, planned.host)
    if not isinstance(host, Varies) or not settings.verify or not (additions.format or additions.responsive):
        return set()
    reused = planned.plan.reused
    wanted = _wanted(Published(planned, reused, planned.plan.staying), host, additions)
    return {path for path, record in reused.items() if wanted.get(record.url, {}).keys() - seen_kinds(record, REFUSED)}


def _told_way(published: Published, way: str, urls: Container[str]) -> Published:
    """Tell the records of these addresses how the host names their copies, since an idle build asks nobody."""
    records = {
        path: replace(record, extra={**record.extra, WAY: way}) if record.url in urls else record
        for path, record in published.records.items()
    }
    return published._replace(records=records)


def _asked(
    wanted: Mapping[str, Mapping[str, str]], client: Client, concurrency: int
) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]], list[str]]:
    """Fetch the addresses; gives the kinds that were seen of each image, those that the host refused, and why."""
    from imghost.threads import concurrently

    unreachable: list[str] = []

    def look(kinds: Mapping[str, str]) -> dict[str, _Trouble]:
        return {kind: _problem(url, kind, client, unreachable) for kind, url in kinds.items()}

    looks = concurrently(look, list(wanted.values()), concurrency)
    by_image = dict(zip(wanted, looks, strict=True))
    seen = {url: frozenset(kind for kind, it in found.items() if not it.text) for url, found in by_image.items()}
    odd = {url: frozenset(kind for kind, it in found.items() if it.is_answer) for url, found in by_image.items()}
    return seen, odd, [text for found in looks if (text := next(filter(None, (it.text for it in found.values())), ""))]


class _Trouble(NamedTuple):
    """Why an address shows no image of its kind, and whether that is the host's answer rather than a bad moment."""

    text: str = ""
    is_answer: bool = False


_BAD_MOMENTS: Final = {408, 425, 429}


def _problem(url: str, kind: str, client: Client, unreachable: list[str]) -> _Trouble:
    """Say why an address shows no image of its kind; empty where it does. What cannot be reached is noted.

    A host that does not know a parameter serves the original, which is no conversion.
    """
    from imghost.run.upload import difference

    if len(unreachable) >= _BREAKER:
        return _Trouble(unreachable[0])
    try:
        answer = client.fetch(url)
    except HostError as problem:
        unreachable.append(f"{url}: {problem.reason}")
        return _Trouble(unreachable[-1])
    if answer.status != 200:
        return _Trouble(f"{url} answers {answer.status}", answer.status < 500 and answer.status not in _BAD_MOMENTS)
    found = difference(None, None, answer.headers.get("content-type", ""), answer.body, _type_of(kind))
    return _Trouble(f"{url} {found[1]}", is_answer=True) if found else _Trouble()


def _type_of(kind: str) -> str:
    """Give the type that an address of this kind should have."""
    _, mark, form = kind.rpartition("format=")
    return f"image/{form}" if mark else "image/*"


def _with(published: Published, kinds: Mapping[str, frozenset[str]], field: str = SEEN) -> Published:
    """Tell the records what was seen of them; or, in another field, what else came of it."""
    records = {
        path: replace(record, extra={**record.extra, field: sorted(seen_kinds(record, field) | kinds[record.url])})
        if kinds.get(record.url)
        else record
        for path, record in published.records.items()
    }
    return published._replace(records=records)


def _noted(published: Published, job: Job, urls: Iterable[str]) -> tuple[Notice, ...]:
    """Write into the lock what was seen; where it cannot be, the next build looks again."""
    shown = set(urls)
    told = {record.key: record for record in published.records.values() if record.url in shown}
    try:
        digests = {digest for digest, _, _ in told}
        locks.change(
            job.settings.lock,
            digests,
            lambda _, there: (told.get(it.key, it) if is_confirmed(it) else it for it in there),
            now=job.now(),
        )
    except OSError as problem:
        reason = problem.strerror or problem
        return (Notice("lock", f"{job.settings.lock} cannot be written: {reason}; make room or change its mode"),)
    return ()
