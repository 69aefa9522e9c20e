"""Records shared by many repositories and runners: who may upload an image, and where it is afterwards.

A key has one entry, whose text is all that is known: a record, a claim, or both while a record is renewed. So
one conditional write publishes a record and gives its claim up, and nobody sees the one without the other.
Nothing is ever deleted on the way: an entry that comes to nothing is given up by a conditional write, too, since
a plain delete could take a successor's claim away.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import Final, Protocol, TypeVar

from imghost.errors import LockError, SettingsError, StoreError
from imghost.models import NamedTuple, Record
from imghost.records.lock import load_object, record_of, render_record, whole
from imghost.wording import printable

GROUP: Final = "imghost.stores"
LEASE: Final = 60.0
"""Seconds that a claim lasts without being extended, by the store's clock."""
MAX_TEXT: Final = 1024 * 1024
"""Bytes of an entry that are read."""

_VERSION: Final = 1
_BATCH: Final = 1000
_TRIES: Final = 4
_PATIENCE: Final = 15.0
"""Seconds after which a call is not made again."""
_MAX_STATE: Final = 64 * 1024
"""Characters of a key's state: as many as a line of the lock may have."""
_HOLDER: Final = re.compile(r"[A-Za-z0-9-]{8,64}")

Answered = TypeVar("Answered")


class Entry(NamedTuple):
    """What a store has under a key."""

    text: str
    tag: str
    """Names this very write: a conditional write is held against it."""
    age: float = 0.0
    """Seconds since the write, by the store's own clock; no machine's clock is ever compared with another's."""


class Store(Protocol):
    """A place for entries that many machines write: the least that the protocol needs of an engine.

    Safe to share between threads. Each call is tried once and raises StoreError; the caller repeats it.
    """

    address: str
    """How messages name the store; never a credential."""

    def get(self, key: str) -> Entry | None:
        """Read one entry."""
        ...

    def get_all(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """Read many entries, as many at a time as suits the engine; keys without an entry are left out."""
        ...

    def put(self, key: str, text: str, tag: str | None) -> str | None:
        """Write an entry if it still has this tag, or, for None, if there is none; gives the new tag.

        None = it has another tag, or is there, or is there no more. One step, whoever else writes.
        """
        ...

    def listed(self, prefix: str) -> Iterator[str]:
        """List the keys that begin with a prefix; for people's commands, never on a build."""
        ...

    def close(self) -> None:
        """Let go of connections and files."""
        ...


class StoreType(Protocol):
    """What an entry point of the group `imghost.stores` names; its name is the URL's scheme."""

    def __call__(self, url: str, environ: Mapping[str, str], timeout: float) -> Store:
        """Make the store without asking anything; raises SettingsError for a URL that cannot be meant."""
        ...


class Key(NamedTuple):
    """What a shared record is looked up by."""

    host: str
    account: str
    """The account's own name for itself at the host; empty where it has none. Accounts share no images."""
    sha256: str
    variant: str

    @property
    def path(self) -> str:
        """Name the entry: as many folders as keep ten million entries findable, and a digest of what is no path."""
        rest = _digest(f"{self.account}\0{self.variant}")
        return f"records/{self.host}/{self.sha256[:2]}/{self.sha256[2:4]}/{self.sha256}-{rest}"


class Claim(NamedTuple):
    """Somebody is uploading this image."""

    holder: str
    """The random id of a build."""
    lease: float
    """Seconds after its last write at which the claim is over."""


@dataclass(frozen=True, slots=True)
class State:
    """All that an entry tells; one without record and claim was given up."""

    record: Record | None = None
    claim: Claim | None = None
    project: str = ""
    """Who wrote this: people's name for a repository."""
    generation: int = 0
    """How many records this key has had."""
    payment: Mapping[str, str] | None = field(default=None, hash=False)
    """What was signed for this image and may have been cashed; never what could be cashed again."""


class Seen(NamedTuple):
    """A key as it was when it was asked for."""

    state: State = State()
    tag: str | None = None
    """None = the store has no entry."""
    age: float = 0.0

    def is_over(self) -> bool:
        """Say whether the claim's time is over, by the store's clock."""
        return self.state.claim is not None and self.age > self.state.claim.lease


class Held(NamedTuple):
    """A claim of this build, as it last wrote it."""

    key: Key
    state: State
    tag: str

    @property
    def holder(self) -> str:
        """Name the build that holds it."""
        assert self.state.claim is not None
        return self.state.claim.holder


class Published(NamedTuple):
    """What became of a record: the one that counts, and whether it is this build's."""

    record: Record
    is_ours: bool


class Course(Enum):
    """What a build can do about a key."""

    TAKE = "take"
    """Use the record that is there."""
    CLAIM = "claim"
    """Nobody is at it: claim it, or take an old claim over."""
    WAIT = "wait"
    """Another build is at it."""


class Writer(NamedTuple):
    """Who writes, and how patiently."""

    holder: str
    project: str = ""
    lease: float = LEASE
    sleep: Callable[[float], object] = time.sleep

    def claim(self) -> Claim:
        """Make the claim that this build writes."""
        return Claim(self.holder, self.lease)


def course(seen: Seen, holder: str, is_acceptable: Callable[[Record], bool]) -> Course:
    """Decide what to do about a key; pure.

    A record under a claim is one that is being renewed: who can use it as it is does.
    """
    state = seen.state
    if state.record and is_acceptable(state.record):
        return Course.TAKE
    if state.claim is None or state.claim.holder == holder or seen.is_over():
        return Course.CLAIM
    return Course.WAIT


def ask(store: Store, key: Key, sleep: Callable[[float], object] = time.sleep) -> Seen:
    """Ask for one key; raises StoreError."""
    return _seen(key, patiently(lambda: store.get(key.path), sleep))


def ask_all(store: Store, keys: Iterable[Key], sleep: Callable[[float], object] = time.sleep) -> dict[Key, Seen]:
    """Ask for many keys at once; raises StoreError."""
    paths = {key.path: key for key in keys}
    entries = patiently(lambda: store.get_all(list(paths)), sleep) if paths else {}
    return {key: _seen(key, entries.get(path)) for path, key in paths.items()}


def claim(store: Store, key: Key, seen: Seen, writer: Writer) -> Held | None:
    """Claim a key as it was seen: anew, after a claim was given up or over, or to renew its record.

    None = another build was faster. A claim that is absent could only be made because there was no record either,
    so that nothing needs to be asked again. Raises StoreError.
    """
    state = replace(seen.state, claim=writer.claim(), project=writer.project)
    tag = _written(store, key, state, seen.tag, writer)
    return Held(key, state, tag) if tag else None


def extend(store: Store, held: Held, writer: Writer, payment: Mapping[str, str] | None = None) -> Held | None:
    """Extend a claim, and keep with it what was signed; None = another build has taken it over. Raises StoreError."""
    state = replace(held.state, payment=payment or held.state.payment)
    tag = _written(store, held.key, state, held.tag, writer)
    return Held(held.key, state, tag) if tag else None


def publish(
    store: Store, key: Key, held: Held | None, record: Record, writer: Writer, is_acceptable: Callable[[Record], bool]
) -> Published:
    """Publish what was uploaded and give the claim up, in one step; raises StoreError.

    Where the claim was taken over, or forgotten, the record that is there first counts: ours is written only
    over a claim, and never over a record that can be used.
    """
    record = whole(record)
    seen = Seen(held.state, held.tag) if held else ask(store, key, writer.sleep)
    while True:
        there = seen.state.record
        if there and there != record and is_acceptable(there) and not _outlives(record, there):
            return Published(there, is_ours=False)
        state = State(record, None, writer.project, seen.state.generation + 1)
        if there == record or _written(store, key, state, seen.tag, writer):
            return Published(record, is_ours=True)
        seen = ask(store, key, writer.sleep)


def give_up(store: Store, held: Held, writer: Writer) -> bool:
    """Let others try; False = it was another build's already. What was signed stays known. Raises StoreError."""
    state = replace(held.state, claim=None)
    return _written(store, held.key, state, held.tag, writer) is not None


def check_conditions(store: Store, sleep: Callable[[float], object] = time.sleep) -> None:
    """Check that the store keeps its conditions: one that ignores them would give each claim to everybody.

    One entry is made for that, once; after it the check is one refused write. Raises StoreError.
    """
    for _ in range(2):
        if patiently(lambda: store.put("probe", "imghost\n", None), sleep) is None:
            return
    raise StoreError(
        f"the store {store.address} does not keep conditional writes, so that two builds could upload the same image",
        "use one that knows If-None-Match and If-Match",
    )


def note_uses(store: Store, writer: Writer, keys: Sequence[str]) -> None:
    """Write down that a project uses records, in a note of its own; raises StoreError.

    What a project has published itself needs no note: the record tells who wrote it.
    """
    text = json.dumps({"imghost_uses": _VERSION, "project": writer.project, "keys": list(keys)})
    key = f"uses/{_digest(writer.project)}/{random.getrandbits(96):024x}"
    patiently(lambda: store.put(key, text, None), writer.sleep)


def uses(store: Store, sleep: Callable[[float], object] = time.sleep) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """List the notes of uses: each one's own key, the project, and the keys of records; raises StoreError."""
    paths = patiently(lambda: list(store.listed("uses/")), sleep)
    for path, entry in patiently(lambda: store.get_all(paths), sleep).items():
        try:
            fields = json.loads(entry.text)
            project, keys = fields["project"], fields["keys"]
            is_sound = isinstance(project, str) and isinstance(keys, list) and all(isinstance(it, str) for it in keys)
        except (ValueError, KeyError, TypeError, RecursionError):
            is_sound = False
        if not is_sound:
            raise StoreError(f"the shared entry {path} cannot be read", "take it out of the store, or choose another")
        yield path, project, tuple(f"records/{key}" for key in keys)


def every(
    store: Store, paths: Sequence[str], sleep: Callable[[float], object] = time.sleep
) -> Iterator[tuple[Key, Seen]]:
    """Read entries of which only the paths are known, as a list gives them; raises StoreError."""
    for start in range(0, len(paths), _BATCH):
        batch = paths[start : start + _BATCH]
        for path, entry in patiently(partial(store.get_all, batch), sleep).items():
            try:
                fields = load_object(entry.text)
                key = Key(*fields["key"])
                is_right = key.path == path
            except (ValueError, KeyError, TypeError, AttributeError):
                is_right = False
            if not is_right:
                raise StoreError(f"the shared entry {path} is not imghost's", "take it out of the store")
            yield key, _seen(key, entry)


def open_store(url: str, environ: Mapping[str, str], timeout: float) -> Store:
    """Open the store that a URL names, ours or others'; nothing is asked yet. Raises SettingsError."""
    from importlib.metadata import entry_points

    scheme = url.partition(":")[0].lower()
    scheme = {"postgres": "postgresql"}.get(scheme, scheme)
    stores = {entry.name: entry for entry in entry_points(group=GROUP)}
    if scheme not in stores:
        text = f"option 'shared': no store for {scheme!r:.40} is installed; there are: {', '.join(sorted(stores))}"
        raise SettingsError(text, "shared")
    kind: StoreType = stores[scheme].load()
    return kind(url, environ, timeout)


def render(key: Key, state: State, write: str) -> str:
    """Write an entry's text; `write` makes it unlike every other one. Raises StoreError."""
    try:
        record = json.loads(render_record(state.record)) if state.record else None
    except LockError as problem:
        raise StoreError(str(problem)) from None
    text = json.dumps(
        {
            "imghost_shared": _VERSION,
            "key": list(key),
            "project": state.project,
            "generation": state.generation,
            "record": record,
            "claim": state.claim and {"holder": state.claim.holder, "lease": state.claim.lease},
            "payment": dict(state.payment) if state.payment else None,
            "write": write,
        }
    )
    if len(text) > _MAX_STATE:
        raise StoreError(
            f"the entry of {key.sha256[:12]} would be longer than 64 KB", "report it to the host's authors"
        )
    return text


def parse(key: Key, text: str) -> State:
    """Read an entry's text; raises ValueError with the cause."""
    fields = load_object(text)
    version = fields.get("imghost_shared")
    if type(version) is not int or version < 1:
        raise ValueError("it is not imghost's")
    if version > _VERSION:
        raise ValueError("it was written by a newer imghost")
    if fields.get("key") != list(key):
        raise ValueError("it belongs to another key")
    record = None if fields.get("record") is None else record_of(fields["record"])
    if record and record.key != (key.sha256, key.host, key.variant):
        raise ValueError("its record is another image's")
    generation, payment = fields.get("generation"), fields.get("payment")
    if type(generation) is not int or not 0 <= generation < 10**9:
        raise ValueError("its generation makes no sense")
    if payment is not None and not _is_texts(payment):
        raise ValueError("its payment makes no sense")
    project = fields.get("project")
    if not isinstance(project, str) or len(project) > 200:
        raise ValueError("its project makes no sense")
    return State(record, _claim_of(fields.get("claim")), project, generation, payment)


def patiently(call: Callable[[], Answered], sleep: Callable[[float], object], tries: int = _TRIES) -> Answered:
    """Call a store again where that may help, with full jitter; raises the StoreError that is left."""
    started = time.monotonic()
    for attempt in range(1, tries):
        try:
            return call()
        except StoreError as problem:
            if not problem.is_passing or time.monotonic() - started > _PATIENCE:
                raise
        sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - spreads load, guards nothing
    return call()


def _written(store: Store, key: Key, state: State, tag: str | None, writer: Writer) -> str | None:
    """Write an entry on its condition, and find out what became of a write whose answer was lost.

    Each text is unlike every other one, so that what is found under the key tells whose write it is.
    """
    text = render(key, state, f"{writer.holder}-{random.getrandbits(64):016x}")
    started = time.monotonic()
    for attempt in range(1, _TRIES + 1):
        try:
            new = store.put(key.path, text, tag)
        except StoreError as problem:
            is_last = attempt == _TRIES or time.monotonic() - started > _PATIENCE
            if is_last or not (problem.is_passing or problem.is_ambiguous):
                raise
            writer.sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - spreads load, guards nothing
        else:
            if new or attempt == 1:
                return new
            # An earlier try may have been carried out, and then this one had to be refused.
            entry = patiently(lambda: store.get(key.path), writer.sleep)
            return entry.tag if entry and entry.text == text else None
    return None


def _seen(key: Key, entry: Entry | None) -> Seen:
    if entry is None:
        return Seen()
    try:
        return Seen(parse(key, entry.text), entry.tag, entry.age)
    except ValueError as cause:
        reason = f"the shared entry {key.path} cannot be read: {printable(cause)}"
    raise StoreError(reason, "take it out of the store, or choose another prefix")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _outlives(record: Record, other: Record) -> bool:
    """Say whether a record lives longer than another one."""
    return other.expires is not None and (record.expires is None or record.expires > other.expires)


def _claim_of(fields: object) -> Claim | None:
    if fields is None:
        return None
    if not isinstance(fields, dict) or not {"holder", "lease"} <= fields.keys():
        raise ValueError("its claim makes no sense")
    holder, lease = fields["holder"], fields["lease"]
    is_holder = isinstance(holder, str) and _HOLDER.fullmatch(holder)
    if not is_holder or isinstance(lease, bool) or not isinstance(lease, (int, float)) or not 0 < lease <= 86_400:
        raise ValueError("its claim makes no sense")
    return Claim(holder, float(lease))


def _is_texts(fields: object) -> bool:
    return isinstance(fields, dict) and all(
        isinstance(name, str) and isinstance(text, str) and len(text) <= 200 for name, text in fields.items()
    )
