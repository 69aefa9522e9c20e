"""One image to its record: what an earlier run left is taken up, else it is sent, kept, and its URL confirmed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from imghost.confirm import confirm
from imghost.errors import Action, HostError, StateError
from imghost.hosts import Finds, may_store_twice
from imghost.image.inspect import dimensions
from imghost.models import IMPORT, MEDIA_TYPES, Hosted, Payload, Record
from imghost.patience import BREAKER, patiently, sleep
from imghost.plan import Upload
from imghost.wording import printable
from imghost.work import Course, Work


def store(upload: Upload, work: Work, course: Course) -> tuple[Record, bool]:
    """Have the host store one image; gives its record, and whether the host had it not before. Raises HostError."""
    if record := _recovered(upload, work, course):
        return record, False
    if upload.variant == IMPORT and work.bring:
        return _brought(upload, work.bring, work, course)
    payload = work.prepare(upload)
    try:
        is_doubtful = (upload.image.sha256, work.host.name, upload.variant) in work.doubtful
        work.intend(payload)
        hosted = _looked_up(payload, work, course) if is_doubtful else None
        hosted = hosted or _sent(payload, work, course, is_doubtful=is_doubtful)
        _check_address(hosted, work)
        record = recorded(upload, payload, hosted, work.host.name, work.now())
        _bind(record, course)
        _earn(record, work, course)
        if work.verify:
            _confirm(record, work, course)
        return record, hosted.is_new
    finally:
        payload.file.unlink(missing_ok=True)


def _sent(payload: Payload, work: Work, course: Course, *, is_doubtful: bool) -> Hosted:
    """Upload patiently, and count each time that this may store a second copy."""
    is_unclear = is_doubtful

    def send() -> Hosted:
        nonlocal is_unclear
        if is_unclear and may_store_twice(work.host):
            with course.guard:
                course.repeats[payload.image] += 1
        try:
            return work.host.upload(payload)
        except HostError as refusal:
            is_unclear = refusal.is_ambiguous
            raise

    return patiently(send, work, course)


def _looked_up(payload: Payload, work: Work, course: Course) -> Hosted | None:
    """Ask for what a run that was killed may have stored, where the host can be asked."""
    host = work.host
    return patiently(lambda: host.find(payload), work, course) if isinstance(host, Finds) else None


def _brought(upload: Upload, bring: Callable[[Upload], Hosted], work: Work, course: Course) -> tuple[Record, bool]:
    """Have the host fetch an external image; what it is, its own URL then tells."""
    hosted = patiently(lambda: bring(upload), work, course)
    _check_address(hosted, work)
    answer = work.client.fetch(hosted.url)
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    width, height = dimensions(answer.body) or (None, None)
    record = Record(
        upload.image.sha256, work.host.name, hosted.url, hosted.id, upload.variant, 0,
        media_type if media_type in MEDIA_TYPES else "image/png", width, height,
        work.now().replace(microsecond=0), hosted.expires,
    )  # fmt: skip
    _bind(record, course)
    _earn(record, work, course)
    _confirm(record, work, course)
    return record, hosted.is_new


def _recovered(upload: Upload, work: Work, course: Course) -> Record | None:
    """Take up what an earlier run earned but could not write to the lock; a dead URL is uploaded again."""
    record = work.earned.get((upload.image.sha256, work.host.name, upload.variant))
    if record is None or record == upload.renewed or not record.lives_at(work.now()):
        return None
    try:
        _bind(record, course)
        _confirm(record, work, course)
    except HostError as refusal:
        if refusal.action is Action.FILE:
            return None
        raise
    return record


def _earn(record: Record, work: Work, course: Course) -> None:
    """Keep a record; where the store fails, the record still reaches the lock, but nothing further is sent."""
    try:
        work.earn(record)
    except StateError as problem:
        with course.guard:
            course.fatal = course.fatal or problem


def recorded(upload: Upload, payload: Payload, hosted: Hosted, host: str, now: datetime) -> Record:
    """Make the record of what a host answered."""
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
        extra={"receipt": dict(hosted.receipt)} if hosted.receipt else {},
    )


def _check_address(hosted: Hosted, work: Work) -> None:
    """Refuse a URL that is not one of the host's images, whatever the host's own code made of it."""
    if not work.host.accepts(hosted.url):
        raise HostError(Action.FILE, f"the host's URL is not one of its images: {printable(hosted.url)}")


def _bind(record: Record, course: Course) -> None:
    """Refuse a URL that already stands for other bytes."""
    with course.guard:
        if course.urls.setdefault(record.url, record.sha256) != record.sha256:
            raise HostError(
                Action.FILE,
                f"the host gave a URL that already belongs to another image: {record.url}",
                remedy="report it to the host",
            )


def _confirm(record: Record, work: Work, course: Course) -> None:
    """Confirm a record's URL; stops the run where one image after another could not be fetched."""

    def wait(seconds: float) -> bool:
        sleep(seconds, work, course)
        return course.interrupted.is_set() or course.stopped is not None

    try:
        confirm(record, work.client, work.tries, wait)
    except HostError as refusal:
        if refusal.action is Action.RETRY:
            with course.guard:
                course.unconfirmed += 1
                if course.unconfirmed >= BREAKER and course.stopped is None:
                    course.stopped = HostError(Action.STOP, refusal.reason, remedy=refusal.remedy)
        raise
    course.unconfirmed = 0
