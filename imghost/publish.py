"""The plan carried out as far as this build may: under one lock, by the right clock, or not at all."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from typing import Final

from imghost.environment import leave_to_upload
from imghost.errors import HostError, StateError
from imghost.keep_records import name_in_lock
from imghost.models import IMPORT
from imghost.net.client import Client
from imghost.provenance import Stay
from imghost.records import lock as locks
from imghost.records.cache import Cache, exclusive
from imghost.run.job import Published, refused, without_uploads
from imghost.run.plan import Job, Notice, Prospect, replanned

_SKEW: Final = timedelta(seconds=300)


def publish(prospect: Prospect, job: Job, client: Client, cache: Cache) -> Published:
    """Upload what the plan asks for, as far as this build may; the records that exist count in any case."""
    host = prospect.host
    if host is None or not prospect.leave.may_upload:
        return without_uploads(prospect, prospect.leave)
    if not host.needs_network:
        return _placed(prospect, job, client, cache)
    if not prospect.plan.uploads:
        return without_uploads(prospect, prospect.leave)._replace(notices=name_in_lock(prospect, job))
    try:
        with ExitStack() as held:
            is_alone = held.enter_context(exclusive(job.settings.cache_dir, wait=0.5))
            if not is_alone:
                job.say(f"another build is uploading; waiting for it, {job.patience:g} seconds at most")
                is_alone = held.enter_context(exclusive(job.settings.cache_dir, wait=job.patience - 0.5))
            if not is_alone:
                why = f"another build holds the local store {job.settings.cache_dir}; build again when it is done"
                return refused(prospect, "busy", f"nothing is uploaded: {why}")
            prospect = replanned(prospect, job, locks.read(job.settings.lock))
            with closing(Cache.load(job.settings.cache_dir)) as fresh:
                prospect, job, notices = _by_the_hosts_clock(prospect, job, client)
                done = _carried_out(prospect, job, client, fresh)
                return done._replace(notices=(*notices, *done.notices))
    except StateError as problem:
        why = str(problem).removeprefix("nothing is uploaded, since ")
        return refused(prospect, "state", f"nothing is uploaded: {why}")


def _by_the_hosts_clock(prospect: Prospect, job: Job, client: Client) -> tuple[Prospect, Job, tuple[Notice, ...]]:
    """Plan anew by the host's clock where this machine's is wrong: nothing is renewed, or paid, because of that."""
    renewed = next((upload.renewed for upload in prospect.plan.uploads if upload.renewed), None)
    if renewed is None:
        return prospect, job, ()
    try:
        answer = client.fetch(renewed.url, limit=1)
    except HostError:
        return prospect, job, ()
    from imghost.hosts.answers import moment_of

    here = job.now
    skew = moment_of(answer) - here() if "date" in answer.headers else timedelta(0)
    if abs(skew) <= _SKEW:
        return prospect, job, ()
    job = replace(job, now=lambda: here() + skew)
    text = f"this machine's clock is wrong by {skew.total_seconds():.0f} seconds; the host's counts: set the clock"
    return replanned(prospect, job, prospect.lock), job, (Notice("clock", text),)


def _placed(prospect: Prospect, job: Job, client: Client, cache: Cache) -> Published:
    """Carry a plan out on this machine; only external images need the network, and leave to use it."""
    leave = leave_to_upload(job.settings, job.environ, is_serving=job.is_serving)
    if not leave.may_upload:
        plan = prospect.plan
        barred = [path for upload in plan.uploads if upload.variant == IMPORT for path in upload.paths]
        stays = {path: Stay(leave.reason, code=leave.code) for path in barred}
        own = tuple(upload for upload in plan.uploads if upload.variant != IMPORT)
        prospect = prospect._replace(plan=plan._replace(uploads=own, kept=dict(plan.kept) | stays))
    return _carried_out(prospect, job, client, cache)


def _carried_out(prospect: Prospect, job: Job, client: Client, cache: Cache) -> Published:
    if prospect.host is None or not prospect.plan.uploads:
        return without_uploads(prospect, prospect.leave)
    from imghost.run.publish import carried_out  # what uploads need is loaded where one begins: most builds have none

    return carried_out(prospect, prospect.host, job, client, cache)
