"""New records to the lock file, and what CI has to be told of them."""

from __future__ import annotations

from collections.abc import Sequence

from imghost.hosts import Host
from imghost.models import Record
from imghost.records import lock as locks
from imghost.run.plan import Job, Notice, Prospect


def name_in_lock(prospect: Prospect, job: Job) -> tuple[Notice, ...]:
    """Keep the lock's header true: the host that was last published with."""
    assert prospect.host is not None
    if not prospect.plan.reused or prospect.lock.host == prospect.host.name:
        return ()
    return _written(job, locks.merged(prospect.lock, (), prospect.host.name), ())


def keep_records(prospect: Prospect, job: Job, host: Host, records: Sequence[Record]) -> tuple[Notice, ...]:
    """Write the records to the lock; a host on this machine has none there, since its files tell."""
    if not host.needs_network or not records:
        return ()
    notices = _written(job, locks.merged(prospect.lock, records, host.name), records)
    if job.environ.get("CI"):
        name = job.settings.lock.name
        for record in records:
            job.say(f"new line of {name}: {locks.render_record(record)}")
        text = f"{len(records)} records are new: commit {name}, or the next build uploads these images again"
        notices += (Notice("ci", text),)
    return notices


def _written(job: Job, lock: locks.Lock, records: Sequence[Record]) -> tuple[Notice, ...]:
    try:
        locks.write(job.settings.lock, lock)
    except OSError as problem:
        for record in records:
            job.say(f"receipt: {locks.render_record(record)}")
        reason = problem.strerror or problem
        text = f"{job.settings.lock} cannot be written: {reason}; make room or change its mode, then build again"
        return (Notice("lock", text),)
    return ()
