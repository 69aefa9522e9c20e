"""The values of one run, in the order of the line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import AbstractContextManager, suppress
from dataclasses import field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from imghost import settings
from imghost.environment import Leave
from imghost.errors import SettingsError
from imghost.models import IMPORT, NamedTuple, dataclass
from imghost.site.images import Origins, Stay
from imghost.site.page_map import Scripts

if TYPE_CHECKING:
    from imghost.hosts import Host
    from imghost.models import Failure, Image, Record, Refused
    from imghost.net import Client
    from imghost.records import lock as locks
    from imghost.records.cache import Cache
    from imghost.settings import Settings
    from imghost.site.page_map import PageEntry, PageMap, Removed
    from imghost.site.pages import Group, PageView
    from imghost.site.survey import Survey

Step = Callable[[str, int], None]
"""Told once for each upload that has ended, with the image's path and its bytes in the site."""

Progress = Callable[[int, int], AbstractContextManager[Step]]
"""Opens the display for this many uploads and bytes; leaving it ends the display, however the uploads ended."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run's site and circumstances; time and environment come in from outside."""

    site: Path
    settings: Settings
    environ: Mapping[str, str]
    origins: Origins = field(default_factory=Origins)
    page_map: Path | None = None
    """Where the map of rewritten references lives; None = the generator writes every page again."""
    writes_again: bool = False
    """Whether the generator writes every page again after a run that left no map: then pages are written in place."""
    is_serving: bool = False
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], object] | None = None
    """How to wait between tries; None = as long as asked, or until the run is stopped."""
    patience: float = 30.0
    """Seconds to wait for another build that uploads."""
    say: Callable[[str], None] = lambda _: None
    """Tells the user what is going on, one line at a time."""
    receipt: Callable[[str], None] | None = None
    """Prints a record that no file takes, which may be the only trace of a payment: not even a quiet build hides it.

    None = as `say`.
    """
    detail: Callable[[str], None] = lambda _: None
    """Tells what only those want who ask for more: a line for each image that was uploaded."""
    alert: Callable[[str], None] = lambda _: None
    """Warns before anything is sent; the warning is among the run's notices, too, once all is written."""
    progress: Progress | None = None
    """Shows how far the uploads are; None = a line now and then."""
    begun: Begun | None = None
    """What was uploaded while the generator still rendered; None = nothing."""


def read_settings(raw: Mapping[str, Any], folder: Path, origin: str = "imghost", given: Iterable[str] = ()) -> Settings:
    """Make settings of what a configuration holds; of a host's own option at its top, say where that belongs.

    Raises SettingsError, one line.
    """
    try:
        return settings.read(raw, folder, origin, given)
    except SettingsError as wrong:
        from imghost.hosts import registry

        hosts = [] if wrong.option in {it.name for it in settings.options()} else registry.owners_of(wrong.option)
        if not hosts:
            raise
        owners = f"of {' and '.join(hosts)}" if len(hosts) < len(registry.installed()) else "of the host"
        text = f"{origin}: option {wrong.option!r} is one {owners}: put it under 'options'"
        raise SettingsError(text, wrong.option) from None


def unfailing(job: Job) -> Job:
    """Have it tell the user things as far as anybody can be told: a closed log must not end a run half-way."""

    def safe(say: Callable[[str], None]) -> Callable[[str], None]:
        def tell(line: str) -> None:
            with suppress(OSError, ValueError):
                say(line)

        return tell

    return replace(job, say=safe(job.say), receipt=safe(job.receipt or job.say))


class Notice(NamedTuple):
    """Something worth a warning; `code` is stable, for `suppress_warnings`."""

    code: str
    text: str


class Upload(NamedTuple):
    """One image to upload, known by its bytes, with every path at which the site has it."""

    image: Image
    variant: str
    paths: tuple[str, ...]
    renewed: Record | None = None
    """The record that runs out; it counts until the renewal is there."""
    spare: Record | None = None
    """A record that nobody has confirmed yet: once it is, nothing is sent."""
    tier: str = ""
    """On which of the host's terms it is stored, where its path chooses them."""
    price: Decimal | None = None
    """US dollars, at most, where the tier and not the plan tells them."""

    @property
    def is_size(self) -> bool:
        """Whether it is a smaller size beside the image, which a `srcset` names."""
        return is_size(self.variant)

    @property
    def shown(self) -> str:
        """How a message names it; a URL's query may hold what only the page's author should see in a log."""
        path = self.paths[0]
        return path.partition("?")[0] if self.variant == IMPORT else path


def is_size(variant: str) -> bool:
    """Say whether a variant is a smaller size beside the image."""
    return "width" in variant  # which no other part has in it; asked ten times for each upload


def cost_of(uploads: Iterable[Upload], price: Decimal) -> Decimal:
    """Add up what uploads cost at most; `price` is that of those whose tier tells none."""
    return sum((price if upload.price is None else upload.price for upload in uploads), Decimal(0))


def is_remade(variant: str) -> bool:
    """Say whether a variant writes pixels anew, in another size or format; metadata goes without that."""
    return not {*variant.split("+")} <= {"", "strip", IMPORT}


def whole_of(variant: str) -> str:
    """Name the variant of the whole image beside which a smaller size is."""
    return "+".join(part for part in variant.split("+") if not part.startswith("width"))


class Plan(NamedTuple):
    """What a run would do."""

    reused: Mapping[str, Record]
    """Path in the site -> the record that already tells its URL."""
    uploads: tuple[Upload, ...]
    staying: Mapping[str, Stay]
    """Path in the site -> why it stays local."""
    price: Decimal = Decimal(0)
    """US dollars for each upload, at most, whose tier tells no other price."""

    is_price_certain: bool = True
    """False where some uploads may cost nothing."""
    sizes: Mapping[str, tuple[Record, ...]] = MappingProxyType({})
    """Path in the site -> the records of its smaller sizes."""
    short: tuple[str, ...] = ()
    """Images that were stored for less than is asked for now; those that the budget has room for are uploads, too."""
    refused: tuple[tuple[Upload, Refused], ...] = ()
    """What would be an upload, had the host not refused it for good on these terms."""

    @property
    def bytes(self) -> int:
        """Bytes of the images to upload, as they are in the site."""
        return sum(upload.image.bytes for upload in self.uploads)

    @property
    def cost(self) -> Decimal:
        """US dollars for all uploads, at most."""
        return cost_of(self.uploads, self.price)

    @property
    def tiers(self) -> Mapping[str, int]:
        """How many uploads each tier has, where paths choose among several."""
        return Counter(upload.tier for upload in self.uploads if upload.tier)


class Planned(NamedTuple):
    """What a run would do, and all that was found on the way."""

    survey: Survey
    last_map: PageMap
    """What the last run knew of the pages, by the sources of this build."""
    views: tuple[PageView, ...]
    groups: tuple[tuple[PageView, Mapping[int, Group]], ...]
    images: Mapping[str, Image]
    stays: Mapping[str, Stay]
    lock: locks.Lock
    host: Host | None
    leave: Leave
    plan: Plan
    notices: tuple[Notice, ...]
    seconds: Mapping[str, float]
    scripts: Scripts = Scripts()

    @property
    def all_groups(self) -> list[Group]:
        """Every group of every page."""
        return [group for _, groups in self.groups for group in groups.values()]


class Outcome(NamedTuple):
    """What became of one upload: a record, or why there is none."""

    upload: Upload
    record: Record | None = None
    is_new: bool = True
    failure: Failure | None = None
    stop: str = ""
    """Why no further upload was tried, where that is the reason."""
    repeats: int = 0
    """How often it was sent again to a host that may have stored it before, and cannot be asked."""


class Sent(NamedTuple):
    """What became of uploads that were begun before the run, and what the run has to know of that."""

    outcomes: Mapping[tuple[str, str], Outcome]
    """By the image's digest and the variant: what was tried."""
    stop: str = ""
    """Why nothing more is to be sent."""
    told: frozenset[str] = frozenset()
    """URLs whose receipts were told."""
    notes: tuple[str, ...] = ()
    """What the host says that it did otherwise than asked."""
    requests: int = 0
    seconds: float = 0.0
    """How long it took."""


class Begun(NamedTuple):
    """What was begun to be uploaded before the run, and what the run goes on with."""

    client: Client
    host: Host
    scripts: Scripts
    """What the site's scripts did with images when the first page was rendered."""
    known: Cache
    """What was found out of files."""
    given: Set[tuple[str, str]]
    """What is sent, by the image's digest and the variant."""
    wait: Callable[[], Sent]
    """Waits until it is, and tells what became of it."""

    def has(self, upload: Upload) -> bool:
        """Say whether an upload is among them."""
        return (upload.image.sha256, upload.variant) in self.given

    def without(self, records: Mapping[tuple[str, str, str], Record]) -> dict[tuple[str, str, str], Record]:
        """Leave out what is earned so: the run plans and tells it as uploads of its own."""
        return {key: record for key, record in records.items() if (key[0], key[2]) not in self.given}

    def answered(self, uploads: Iterable[Upload]) -> tuple[list[Outcome], list[Upload]]:
        """Give what became of a run's uploads by now, and what is left to send."""
        sent = self.wait()
        done: list[Outcome] = []
        left: list[Upload] = []
        for upload in uploads:
            outcome = sent.outcomes.get((upload.image.sha256, upload.variant))
            if outcome:
                done.append(outcome._replace(upload=upload))
            elif sent.stop:
                done.append(Outcome(upload, stop=sent.stop))
            else:
                left.append(upload)
        return done, left


NOT_UPLOADED: Final = "was not uploaded: "


class Published(NamedTuple):
    """What has a URL now, and what has not."""

    planned: Planned
    records: Mapping[str, Record]
    """Path in the site -> the record whose URL pages may point to."""
    staying: Mapping[str, Stay]
    outcomes: tuple[Outcome, ...] = ()
    failures: tuple[Failure, ...] = ()
    notices: tuple[Notice, ...] = ()
    is_refused: bool = False
    sizes: Mapping[str, tuple[Record, ...]] = MappingProxyType({})
    """Path in the site -> the records of its smaller sizes."""


def without_uploads(planned: Planned, leave: Leave) -> Published:
    """Leave what would have been uploaded where it is, except what an older record still serves."""
    stay = Stay(leave.reason, code=leave.code)
    plan = planned.plan
    staying = {path: stay for upload in plan.uploads for path in upload.paths if path not in plan.reused}
    return Published(planned, plan.reused, dict(plan.staying) | staying, sizes=plan.sizes)


def refused(planned: Planned, code: str, why: str, *, is_refused: bool = False) -> Published:
    """Leave everything where it is, with one warning."""
    left = without_uploads(planned, Leave(may_upload=False, reason=why))
    return left._replace(notices=(Notice(code, why),), is_refused=is_refused)


class WrittenPage(NamedTuple):
    """What became of one page."""

    entry: PageEntry | None
    """What the map keeps of it; None where it is not as it should be."""
    rewritten: int
    """References that point to hosted images now."""
    problem: str = ""
    is_half_written: bool = False
    """Whether it is neither what it was nor what it was to become, so that it has to be written again."""


class RewrittenPages(NamedTuple):
    """What became of the pages."""

    pages: tuple[tuple[PageView, WrittenPage], ...]
    local: frozenset[str]
    """Images that some reference still means locally."""
    notices: tuple[Notice, ...]
    remarks: tuple[str, ...] = ()


class Settled(NamedTuple):
    """What became of the local copies: how many were deleted, the bytes that this freed, and what is worth a line."""

    copies: int = 0
    freed: int = 0
    remarks: tuple[str, ...] = ()
    removed: Mapping[str, Removed] = MappingProxyType({})
    """Every image of the site whose local copy is gone by now, with what brings it back."""
