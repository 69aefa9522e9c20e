"""What a run says of its uploads: what will be sent, before it is sent, and then how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imghost.hosts import Host, may_store_twice
from imghost.models import IMPORT
from imghost.wording import many

if TYPE_CHECKING:
    from imghost.plan import Upload
    from imghost.run.plan import Job
    from imghost.work import Outcome, Work


def announce(uploads: Sequence[Upload], work: Work, job: Job) -> None:
    """Say what will be sent before it is sent."""
    host = work.host
    doubtful = [it for it in uploads if (it.image.sha256, host.name, it.variant) in work.doubtful]
    if doubtful and may_store_twice(host):
        job.say(f"{len(doubtful)} images may be stored twice: an earlier run ended before {host.name} answered")
    if uploads and host.needs_network:
        size = sum(upload.image.bytes for upload in uploads)
        most = "" if host.limits.is_price_certain else "at most "
        cost = f" for {most}${host.limits.price * len(uploads):.2f}" if host.limits.price else ""
        job.say(f"uploading {many(len(uploads), 'image')} ({size:,} bytes) to {host.name}{cost}")


@contextmanager
def told(job: Job, host: Host, count: int) -> Iterator[Callable[[Outcome], None]]:
    """Tell what became of each upload, as the front end shows it; a host on this machine is done at once."""

    def say(outcome: Outcome) -> None:
        if outcome.record and outcome.is_new and host.needs_network:
            job.say(f"uploaded {_named(outcome.upload)} to {outcome.record.url}")

    if job.progress is None or not host.needs_network or not count:
        yield say
        return
    with job.progress(count) as step:
        yield lambda outcome: step(_named(outcome.upload))


def _named(upload: Upload) -> str:
    """Name an image; an external one without its query, which may hold what only the page's author should see."""
    path = upload.paths[0]
    return path.partition("?")[0] if upload.variant == IMPORT else path
