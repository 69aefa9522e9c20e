"""What a host is: its name and limits as data, `upload`, and where it can more.

Every host, ours too, comes through the entry-point group `imghost.hosts`. The entry point names a
class that fits `HostType`; its instances fit `Host`. A host raises `HostError` and nothing else of
its own: foreign exceptions never leave it.

All that the author of a host needs is named here and nowhere else; what has a cost is loaded when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeGuard, runtime_checkable

from imghost.errors import Action, HostError, SettingsError
from imghost.models import Hosted, Image, Limits, NamedTuple, Payload, Record, dataclass
from imghost.wording import printable

if TYPE_CHECKING:
    from imghost.hosts.answers import Rule, extra_origins, image_urls, moment, read_object, refusal, unclear
    from imghost.net import Answer, Client, FilePart

__all__ = [
    "Action",
    "Answer",
    "Converts",
    "Deletes",
    "Edit",
    "Edits",
    "FilePart",
    "Finds",
    "Host",
    "HostBase",
    "HostError",
    "HostType",
    "Hosted",
    "Image",
    "Imports",
    "Limits",
    "Notes",
    "Payload",
    "Payments",
    "Pays",
    "Place",
    "Prices",
    "Quota",
    "Record",
    "Rule",
    "Secret",
    "SettingsError",
    "Setup",
    "Sorts",
    "Stored",
    "Tells",
    "Terms",
    "Usage",
    "Varies",
    "extra_origins",
    "image_urls",
    "moment",
    "printable",
    "read_object",
    "refusal",
    "unclear",
]
_LATE = {
    **dict.fromkeys(["Answer", "FilePart"], "net"),
    **dict.fromkeys(
        ["Rule", "extra_origins", "image_urls", "moment", "read_object", "refusal", "unclear"], "hosts.answers"
    ),
}
"""Name -> the module that has it: the HTTP client and what reads its answers, which no record needs."""


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"imghost.{_LATE[name]}"), name)
    return value


Place = Literal["site", "machine", "network"]
"""Where a host's images are: a part of the site, beside it on this machine, or elsewhere."""


class Secret:
    """A credential that shows itself to nobody by accident: only `reveal()` gives its text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Give the credential's text, for a request's header only."""
        return self._text

    def __repr__(self) -> str:
        return "<hidden>"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run gives every host, beside the host's own options."""

    client: Client
    credential: Secret | None
    """The first credential found in the environment, shape-checked; None = none there."""
    retention: timedelta | None
    """What the user asks for; None = permanent."""
    folder: Path
    """What relative paths in the options are relative to."""
    site: Path
    environ: Mapping[str, str]
    max_cost: Decimal = Decimal(0)
    """US dollars that this build may spend."""
    lock: Path | None = None
    """The lock that this build writes; what is paid is counted by it."""
    cache_dir: Path | None = None
    """Where nothing secret may be kept, since a CI may restore it anywhere."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    """The run's clock."""


class Quota(NamedTuple):
    """What the host says of the account, asked once before the first upload."""

    remaining: int | None = None
    """Uploads that the host still allows; None = unknown or unlimited."""
    plan: str = ""
    link: str = ""
    """Where to get more, or to verify the account."""
    is_proven: bool = True
    """False where only the first upload's answer shows whether images last: it is then sent alone."""
    resets: datetime | None = None
    """When the host allows more again."""
    allowance: str = ""
    """What the account allows, as the host tells it; once that is another, what was refused for good is sent again."""


class Usage(NamedTuple):
    """What the host says of the account, for people to read; None = it does not say."""

    plan: str = ""
    used: int | None = None
    limit: int | None = None
    """Uploads, or stored images, that the plan allows."""
    remaining: int | None = None
    bytes_used: int | None = None
    bytes_limit: int | None = None
    resets: datetime | None = None
    link: str = ""
    groups: tuple[tuple[str, int, int], ...] = ()
    """The namespaces that the account has: each one's name, images and bytes."""

    @property
    def allowance(self) -> str:
        """Say what the account allows, as a `Quota` does."""
        told = (self.plan, self.limit, self.bytes_limit)
        return " ".join("-" if it is None else str(it) for it in told) if any(told) else ""


class Edit(NamedTuple):
    """What a host does not know of one image as the settings have it."""

    id: str
    url: str
    fields: Mapping[str, object]
    """Field -> what it should be."""


class Stored(NamedTuple):
    """One image as a host lists it."""

    id: str
    url: str
    uploaded: datetime | None = None
    bytes: int | None = None


class Host(Protocol):
    """A place where images live."""

    name: str
    limits: Limits
    origins: tuple[str, ...]
    """`scheme://host[:port]` of the URLs that it gives; empty = the site's own."""

    lacks_credential: bool
    """True where these settings need a credential and the environment has none: records only, a normal case."""
    is_idempotent: bool
    """Whether it knows a repeated upload as the same image."""
    account: str
    """Whose images its own are, in the host's words; two accounts share none. Empty where the host tells of none."""

    @property
    def place(self) -> Place:
        """Say where its images are; pull requests and `frozen` stop only hosts in the network."""
        ...

    @property
    def needs_network(self) -> bool:
        """Say whether its place is the network."""
        ...

    @property
    def spent(self) -> Decimal | None:
        """Tell the US dollars that this build has signed for, settled or not; None = its receipts tell."""
        ...

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images: one full match on the raw string."""
        ...

    def stored(self, image: Image, variant: str) -> Hosted | None:
        """Find, without the network, what this machine already stores of an image; None for hosts elsewhere."""
        ...

    def ready(self) -> Quota:
        """Ask once, before the first upload, whether uploads can go on; raises `HostError` (STOP)."""
        ...

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload. The caller retries as the `HostError` says, with the same payload."""
        ...


class Terms(NamedTuple):
    """On what terms images live at a host, in a few words for people; an empty one = what its limits say."""

    life: str = ""
    """How long, such as `as long as the bucket`."""
    price: str = ""
    """For how much, such as `by plan`; `free` only of what costs nobody anything."""
    offers: Mapping[str, Limits] = MappingProxyType({})
    """What its options can choose among, each with its own price and promise, by what is to be set."""
    notice: str = ""
    """What its word for "for ever" means, where that is less: a clause, for the report."""


class HostType(Protocol):
    """The class that an entry point names."""

    name: str
    credentials: tuple[str, ...]
    """Environment variables of which any one is the credential; empty = none is needed."""
    Options: type[Any]
    """A frozen dataclass: the host's own settings, with their defaults. Unknown names are refused by the caller."""
    origin: str
    """`scheme://host` that a credential may go to without further leave; empty where none is sent."""
    limits: Limits
    """What it takes with default options; no formats = only a host that is made can tell."""
    terms: Terms
    """How long its images live and what they cost, in words."""
    is_chosen_by_credential: bool
    """False for a host whose credentials are often there for other reasons; `host: auto` does not mean it."""

    def finds_credential(self, environ: Mapping[str, str]) -> bool | None:
        """Say whether its own library will find a credential; None = it is read from `credentials` and given to it."""
        ...

    def is_own_origin(self, origin: str) -> bool:
        """Say whether a credential may go to an origin without further leave."""
        ...

    def __call__(self, options: Any, setup: Setup) -> Host:
        """Make the host; raises `SettingsError` for options that cannot work together."""
        ...


class HostBase:
    """What most hosts say alike. To inherit it is optional: a class that does not is given the same defaults."""

    name = ""
    credentials: tuple[str, ...] = ()
    origin = ""
    limits = Limits(frozenset())
    terms = Terms()
    lacks_credential = False
    is_chosen_by_credential = True
    is_idempotent = False
    account = ""
    place: Place = "network"

    @property
    def needs_network(self) -> bool:
        """Say whether its place is the network."""
        return self.place == "network"

    @property
    def spent(self) -> Decimal | None:
        """Leave it to the receipts in the records to tell what was paid."""
        return None

    @classmethod
    def finds_credential(cls, environ: Mapping[str, str]) -> bool | None:  # noqa: ARG003 - others look there
        """Have the credential read from the environment."""
        return None

    @classmethod
    def is_own_origin(cls, origin: str) -> bool:
        """Say whether an origin is the host's one."""
        return origin == cls.origin

    def stored(self, image: Image, variant: str) -> Hosted | None:  # noqa: ARG002 - nothing is on this machine
        """Find nothing: the images are elsewhere."""
        return None

    def ready(self) -> Quota:
        """Say that uploads can go on: the host tells of no quota."""
        return Quota()


@runtime_checkable
class Finds(Protocol):
    """A host that can be asked for what it has already."""

    def find(self, payload: Payload) -> Hosted | None:
        """Find a stored copy of exactly these bytes, without an upload; checked by size and dimensions."""
        ...


def may_store_twice(host: Host) -> bool:
    """Say whether bytes that are sent again, after a try of which nothing is known, may be a second image there.

    A host that can be asked for what it has looks first; one that knows a repeated upload says `is_idempotent`.
    """
    return not isinstance(host, Finds) and not host.is_idempotent


@runtime_checkable
class Deletes(Protocol):
    """A host whose images can be listed and deleted."""

    project: str
    """The namespace, folder or prefix that marks this project's images; empty = none, and nothing may be deleted."""

    def listed(self) -> Iterator[Stored]:
        """List this project's images, and no others."""
        ...

    def delete(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Delete images; gives why for each that was not. One that is gone already counts as deleted."""
        ...


@runtime_checkable
class Edits(Protocol):
    """A host that can change what it knows of a stored image."""

    def outdated(self, records: Sequence[Record]) -> tuple[Edit, ...]:
        """List what differs from the settings, of the images of these records. Raises `HostError`."""
        ...

    def edit(self, edits: Sequence[Edit]) -> Mapping[str, str]:
        """Bring images up to date; gives why for each that was not."""
        ...


@runtime_checkable
class Notes(Protocol):
    """A host that notes while it stores what is worth a warning at the end."""

    def notes(self) -> tuple[str, ...]:
        """Give a line for each thing, however many images it concerns."""
        ...


@runtime_checkable
class Tells(Protocol):
    """A host that tells how much of the account is used."""

    def usage(self) -> Usage:
        """Ask how much of the plan is used; raises `HostError`."""
        ...


@runtime_checkable
class Imports(Protocol):
    """A host that fetches an image from a URL itself."""

    def bring(self, url: str, key: str) -> Hosted:
        """Have the host import a public image once; `key` makes a repeated call the same import."""
        ...


class Payments(Protocol):
    """What builds that share records know of each other's payments; safe to share between threads."""

    def begun(self, payload: Payload) -> Mapping[str, str]:
        """Tell what another build kept that signed a payment for this image and did not finish; empty = nothing."""
        ...

    def signed(self, payload: Payload, payment: Mapping[str, str]) -> None:
        """Keep what whoever takes the image over needs to sign this very payment again; raises `HostError`.

        Everybody who may read the store reads it: it is nothing that could be cashed.
        """
        ...


@runtime_checkable
class Pays(Protocol):
    """A host that buys with payments which it can make again as they were, where another build began them."""

    def share_payments(self, payments: Payments) -> None:
        """Keep from now on what is signed, before it is sent, and sign again what another build has begun."""
        ...


@runtime_checkable
class Prices(Protocol):
    """A host that tells what an upload costs now: its limits say what it costs at most."""

    def price(self) -> Decimal:
        """Ask for the price of one upload, in dollars; nothing is bought. Raises `HostError`."""
        ...


@runtime_checkable
class Sorts(Protocol):
    """A host whose options choose an image's terms by its path in the site."""

    def tier_of(self, paths: Sequence[str]) -> str:
        """Name the terms for an image that the site has at these paths; empty = those of all images."""
        ...

    def limits_in(self, tier: str) -> Limits:
        """Tell what these terms take, promise and cost at most."""
        ...

    def price_in(self, tier: str) -> Decimal:
        """Ask for the price of one upload on these terms; nothing is bought. Raises `HostError`."""
        ...


def limits_at(host: Host, paths: Sequence[str]) -> Limits:
    """Tell what a host takes of an image that the site has at these paths."""
    return host.limits_in(host.tier_of(paths)) if sorts(host) else host.limits


# What a host can do follows from its class. Python looks at each member of a protocol at each question: 35 µs, and a
# plan asks several times for each image.
_ABILITIES: dict[tuple[type[object], type[object]], bool] = {}


def _can(host: object, ability: type[object]) -> bool:
    key = type(host), ability
    if key not in _ABILITIES:
        _ABILITIES[key] = isinstance(host, ability)
    return _ABILITIES[key]


def sorts(host: object) -> TypeGuard[Sorts]:
    """Say whether a host `Sorts`; for what is asked once for each image."""
    return _can(host, Sorts)


def varies(host: object) -> TypeGuard[Varies]:
    """Say whether a host `Varies`; for what is asked once for each image."""
    return _can(host, Varies)


@runtime_checkable
class Varies(Protocol):
    """A host that serves what it has in other sizes and formats, at addresses that follow from the record."""

    def variants(self, record: Record) -> tuple[tuple[str, str], ...]:
        """Name the smaller copies of an image, each one's URL and its width like `426w`; nothing is asked or sent."""
        ...

    def converted(self, url: str, format: str) -> str:  # noqa: A002 - the option's name
        """Name the copy of an image, or of one of its sizes, as `webp` or `avif`."""
        ...


@runtime_checkable
class Converts(Varies, Protocol):
    """A host whose service names converted copies in one of several ways, which has to be asked for once."""

    def way(self) -> str:
        """Ask in which way, in a word that is kept in the image's record. Raises `HostError`."""
        ...

    def converted(self, url: str, format: str, way: str = "") -> str:  # noqa: A002 - the option's name
        """Name a copy in the way that the record keeps; without one, in the way of the settings."""
        ...
