"""The values that the stages hand to each other: frozen, small, without behaviour that touches the world."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, field, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414 - type checkers: others import it from here
else:
    from collections import _tuplegetter
    from operator import attrgetter

    class _FieldsOfBody(type):
        """Makes fields of what a class's body annotates, and their defaults of what it assigns to them."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            if fields := tuple(body.get("__annotations__", ())):
                body["_field_defaults"] = {field: body[field] for field in fields if field in body}
                body |= {field: _tuplegetter(number, "") for number, field in enumerate(fields)}
                body["_fields"] = body["__match_args__"] = fields
            return super().__new__(cls, name, bases, body | {"__slots__": ()})

    class NamedTuple(tuple, metaclass=_FieldsOfBody):
        """What `typing.NamedTuple` is, made in a tenth of the time: a build loads sixty such classes, and uses a third.

        The constructor is compiled when a class is first called, and then is the same as there.
        """

        def __new__(cls, *given: Any, **named: Any) -> Any:  # noqa: D102 - compiled when a class is first called
            names = ", ".join(cls._fields)
            made = eval(f"lambda _cls, {names}: _new(_cls, ({names},))", {"_new": tuple.__new__})  # noqa: S307 - our names
            made.__defaults__ = tuple(cls._field_defaults.values())
            made.__name__, made.__qualname__ = "__new__", f"{cls.__qualname__}.__new__"
            cls.__new__ = staticmethod(made)
            return made(cls, *given, **named)

        @classmethod
        def _make(cls, values: Iterable[Any]) -> Any:
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"expected {len(cls._fields)} arguments, got {len(made)}")
            return made

        def _replace(self, /, **named: Any) -> Any:
            made = self._make(map(named.pop, self._fields, self))
            if named:
                raise TypeError(f"got unexpected field names: {[*named]}")
            return made

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self) -> str:
            return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

    def dataclass(*, frozen: Literal[True], slots: Literal[True]) -> Callable[[type], type]:  # noqa: ARG001
        """Give what `dataclasses.dataclass` does, for frozen classes with slots, in an eighth of the time.

        There seven methods are compiled for each class, and each annotation is looked at for what is no field; here
        every annotation is one, and the constructor alone is compiled, when it is first called.
        """
        return _frozen

    def _frozen(body: type) -> type:
        own = dict(vars(body))
        added = {name: _named(own.pop(name, MISSING), name, kind) for name, kind in body.__annotations__.items()}
        inherited = getattr(body, "__dataclass_fields__", {})
        declared = inherited | added
        kept = {name: value for name, value in own.items() if name not in {"__dict__", "__weakref__"}}
        hashed = (it.name for it in declared.values() if (it.compare if it.hash is None else it.hash))
        whole = (
            _SHARED
            | kept
            | {"__slots__": tuple(name for name in added if name not in inherited), "__match_args__": tuple(declared)}
        )
        whole |= {"__dataclass_fields__": declared, "_hashed": attrgetter(*hashed)}
        whole["_compared"] = attrgetter(*(it.name for it in declared.values() if it.compare))
        made = type(body.__name__, body.__bases__, whole)
        made.__qualname__ = body.__qualname__
        return made

    def _named(declared: Any, name: str, kind: Any) -> Field[Any]:
        made = declared if isinstance(declared, Field) else field(default=declared)
        made.name, made.type, made.kw_only = name, kind, False
        made._field_type = _KIND  # noqa: SLF001 - what tells a field from a constant of the class
        return made

    class _Frozen:
        """The methods that each such class gets as its own."""

        def __init__(self, *given: Any, **named: Any) -> None:
            made = next(kind for kind in type(self).__mro__ if "_compared" in vars(kind))
            made.__init__ = _constructor(fields(made))
            made.__init__.__qualname__ = f"{made.__qualname__}.__init__"
            made.__init__(self, *given, **named)

        def __repr__(self) -> str:
            told = ", ".join(f"{it.name}={getattr(self, it.name)!r}" for it in fields(self) if it.repr)
            return f"{type(self).__qualname__}({told})"

        def __eq__(self, other: object) -> bool:
            return self._compared(self) == self._compared(other) if type(other) is type(self) else NotImplemented

        def __hash__(self) -> int:
            return hash(self._hashed(self))

        def __setattr__(self, name: str, value: object) -> None:
            self._refuse("assign to", name)
            object.__setattr__(self, name, value)

        def __delattr__(self, name: str) -> None:
            self._refuse("delete", name)
            object.__delattr__(self, name)

        def _refuse(self, what: str, name: str) -> None:
            if name in self.__dataclass_fields__ or "__dataclass_fields__" in vars(type(self)):
                raise FrozenInstanceError(f"cannot {what} field {name!r}")

        def __getstate__(self) -> list[Any]:
            return [getattr(self, field.name) for field in fields(self)]

        def __setstate__(self, values: list[Any]) -> None:
            for field, value in zip(fields(self), values, strict=True):
                object.__setattr__(self, field.name, value)

    @dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)
    class _Model:
        """Of what the standard library makes the parts that nobody else can."""

        field: int

    _KIND = fields(_Model)[0]._field_type  # noqa: SLF001
    _SHARED = {name: vars(_Model)[name] for name in ("__replace__", "__dataclass_params__") if name in vars(_Model)}
    _SHARED |= {name: method for name, method in vars(_Frozen).items() if callable(method)}
    for _name in ("init", "repr", "eq", "frozen"):  # as who inherits from such a class will ask
        setattr(_SHARED["__dataclass_params__"], _name, True)

    def _constructor(declared: Iterable[Field[Any]]) -> Callable[..., None]:
        given, lines, values = [], [], {"_set": object.__setattr__, "_missing": MISSING}
        for field in declared:
            name = value = field.name
            given.append(name)
            if field.default is not MISSING:
                values[f"_{name}"] = field.default
                given[-1] += f"=_{name}"
            elif field.default_factory is not MISSING:
                values[f"_{name}"] = field.default_factory
                given[-1] += "=_missing"
                value = f"_{name}() if {name} is _missing else {name}"
            lines.append(f"    _set(self, {name!r}, {value})")
        exec(f"def __init__(self, {', '.join(given)}):\n" + "\n".join(lines), values)  # noqa: S102 - our own names
        return values["__init__"]


KINDS: Final = ("img", "link", "poster", "meta", "preload", "style", "svg", "object", "icon", "css")
"""Kinds of references, by the names of the option `references`."""

IMPORT: Final = "import"
"""The variant of an image that was brought from a URL; its record's digest is the URL's."""

DEFAULT_KINDS: Final = tuple(kind for kind in KINDS if kind not in {"icon", "css", "object"})

ENDINGS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "image/png": ("png", "apng"),
        "image/jpeg": ("jpg", "jpeg", "jpe", "jfif"),
        "image/gif": ("gif",),
        "image/webp": ("webp",),
        "image/avif": ("avif",),
        "image/svg+xml": ("svg",),
    }
)
"""The formats that may leave the machine, and the endings by which their files are known, as IANA registers them.

Every pattern that looks for an image's name is made of these, by `endings`.
"""

MEDIA_TYPES: Final = MappingProxyType({media_type: names[0] for media_type, names in ENDINGS.items()})
"""Each format's ending where we name a file."""

FORMAT_NAMES: Final = MappingProxyType(
    {
        "image/png": "PNG",
        "image/jpeg": "JPEG",
        "image/gif": "GIF",
        "image/webp": "WebP",
        "image/avif": "AVIF",
        "image/svg+xml": "SVG",
    }
)
"""What people call the formats."""

RASTER: Final = frozenset(MEDIA_TYPES) - {"image/svg+xml"}
"""Those that are made of pixels: they can be resized, and have a size of their own."""


def endings(media_types: Iterable[str] = ENDINGS) -> str:
    """Make the alternatives of a regular expression of all endings of some formats, without a group around them."""
    return "|".join(name for media_type in media_types for name in ENDINGS[media_type])


class Reference(NamedTuple):
    """One URL in a page: the span of its text, and how it is written there.

    `start` and `end` are character offsets of the URL alone, without quotes, descriptors or `url(`.
    `url` is what a browser reads there: character references and CSS escapes decoded, stripped of
    surrounding white space. References with the same `group` move together or not at all.
    """

    kind: str
    start: int
    end: int
    url: str
    quote: str | None
    """The attribute's quote: `"`, `'`, empty for an unquoted value, None outside attributes (CSS text)."""
    css: str | None = None
    """In CSS: `"` or `'` inside a string, empty inside a bare `url(…)`; None elsewhere."""
    in_srcset: bool = False
    group: int = 0
    held: str = ""
    """Why the page itself keeps this reference local, or empty."""
    needs_cors: bool = False
    """Whether the element has a `crossorigin` attribute, so that another origin must allow it."""


def changed_text(text: str, changes: Iterable[tuple[int, str, str]]) -> str:
    """Carry changes out, in order.

    Raises:
        ValueError: two changes overlap.
    """
    parts: list[str] = []
    position = 0
    for start, before, after in changes:
        if start < position:
            raise ValueError(f"two edits overlap at character {start}")
        parts += text[position:start], after
        position = start + len(before)
    return "".join(parts) + text[position:]


class Condition(NamedTuple):
    """What a selector asks of an attribute's text, as CSS writes it: `[src$="icon.png" i]`."""

    attribute: str
    operator: str
    value: str
    ignores_case: bool = False


ASKED: Final = "\\?"
"""How a literal in `Scan.renaming` begins of which a script asks whether a URL has it, or that it exchanges for what
is not known."""
DIGITS: Final = "\\d"
"""The literal there that says that digits in a name are changed."""


ANY: Final = "\\*"
"""The literal in `Scan.renaming` of a script that changes more URLs than can be followed: any image may be one."""


class Scan(NamedTuple):
    """What one page refers to."""

    references: tuple[Reference, ...]
    base: str | None = None
    """The first `<base href>`, as written."""
    policies: tuple[str, ...] = ()
    """The page's own Content-Security-Policies (`<meta http-equiv>`)."""
    renaming: tuple[str, ...] = ()
    """Literals of which its own scripts make images' names."""
    selectors: tuple[Condition, ...] = ()
    """What its own styles and scripts ask of a URL's text."""
    vouched: tuple[str, ...] = ()
    """URLs of style sheets for whose bytes it vouches (`integrity`)."""
    fixed: tuple[int, ...] = ()
    """Which of the references count on their image's size in pixels, by their places in `references`."""
    early: tuple[int, ...] = ()
    """Which of them fetch an image for a page that comes after this one (`rel=prefetch`), by their places."""


class Facts(NamedTuple):
    """What an image's bytes say of it, known by a walk to its end that decodes no pixel."""

    media_type: str
    width: int | None
    height: int | None
    is_animated: bool = False
    has_metadata: bool = False
    """Whether `metadata: strip` would take something away: EXIF, XMP, text, or bytes after the end."""
    natural: tuple[int, int] | None = None
    """The size in CSS pixels at which a browser shows it, where that is not one for each pixel."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image file of the site, known by its bytes."""

    path: str
    """Where it is in the site: relative, decoded, with forward slashes."""
    sha256: str
    bytes: int
    facts: Facts
    seen: tuple[str, tuple[int, int, int]] | None = field(default=None, compare=False, repr=False)
    """The file that told all this, and its stamp then; None where no file of this machine did."""
    is_counted_on: bool = field(default=False, compare=False, repr=False)
    """Whether something in a page counts on its size in pixels, so that it is not resized."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What is sent for an image: a private copy whose bytes can no longer change."""

    image: str
    """SHA-256 of the image in the site."""
    sha256: str
    """SHA-256 of the bytes that are sent."""
    file: Path
    bytes: int
    media_type: str
    width: int | None
    height: int | None
    variant: str = ""
    """What was done to the image's bytes; empty = nothing."""
    period: int = 0
    """The renewal period: 0 at first, else when the renewed record expires (Unix seconds)."""
    plain: str | None = None
    """The variant that gives the same bytes, where nothing was gained by the one that was asked for."""
    tier: str = ""
    """On which of its host's terms it is stored; empty = on those of the host's options."""

    @property
    def name(self) -> str:
        """The file name to send: a function of the bytes, never of the path."""
        return f"{self.sha256[:12]}.{MEDIA_TYPES[self.media_type]}"


@dataclass(frozen=True, slots=True)
class Hosted:
    """A host's answer to an upload, validated: these bytes now live at this URL."""

    url: str
    id: str
    expires: datetime | None = None
    """When the host deletes it (UTC); None = permanent."""
    is_new: bool = True
    """False where the host had this image already."""
    receipt: Mapping[str, str] | None = field(default=None, hash=False)
    """What a payment may be remembered by: `transaction`, `amount` in dollars, `network`; never a secret."""
    facts: Facts | None = None
    """What a file of this machine is, where it is not what the image is: another size or format."""
    bytes: int | None = None
    """How long that file is."""


class Served(NamedTuple):
    """What a host served at a URL when it was first confirmed: hosts re-encode, so it is not the payload."""

    bytes: int
    sha256: str


def served_of(body: bytes) -> Served:
    """Tell what was served."""
    return Served(len(body), sha256(body).hexdigest())


@dataclass(frozen=True, slots=True)
class Record:
    """These bytes live at this URL: one line of the lock. `bytes`, `width`, `height` are the payload's."""

    sha256: str
    host: str
    url: str
    id: str
    variant: str
    bytes: int
    media_type: str
    width: int | None
    height: int | None
    uploaded: datetime
    expires: datetime | None = None
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)
    """Fields of later versions, kept as they are."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What a record is looked up by: digest, host, variant."""
        return self.sha256, self.host, self.variant

    @property
    def path(self) -> str:
        """Where the site had the image when it was first uploaded, for reviewers; nothing depends on it."""
        path = self.extra.get("path")
        return path if isinstance(path, str) else ""

    @property
    def served(self) -> Served | None:
        """What the host served at the first confirmation; None in a record that does not say it as we do."""
        served = self.extra.get("served")
        if not isinstance(served, dict) or type(served.get("bytes")) is not int:
            return None
        digest = served.get("sha256")
        return Served(served["bytes"], digest) if isinstance(digest, str) else None

    def with_served(self, served: Served) -> Record:
        """Keep what a host served, unless the record says it already."""
        return self if self.served else replace(self, extra={**self.extra, "served": served._asdict()})

    def lives_at(self, moment: datetime) -> bool:
        """Say whether the host still promises the image at this moment."""
        return self.expires is None or self.expires > moment


class Failure(NamedTuple):
    """Why an image or a reference stays local: the thing, the cause and the remedy."""

    path: str
    reason: str
    remedy: str = ""
    effort: str = ""
    """How often and how long it was tried, where that says something."""

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" + (f"; {self.remedy}" if self.remedy else "")


class Refused(NamedTuple):
    """A host's last word on an image's bytes: on the same terms it is not asked again."""

    reason: str
    remedy: str
    since: datetime
    terms: str
    """What the user could change, in one word that no other settings have."""
    allowance: str = ""
    """What the account allowed then, as the host tells it; empty = it did not."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a host takes, as data."""

    formats: frozenset[str]
    """Media types."""
    max_bytes: int | None = None
    sure_bytes: int | None = None
    """What it takes for sure, where more depends on the account: to this `oversize: resize` makes an image fit."""
    keeps_animated_png: bool = True
    """False where the host makes a still of an animated PNG."""
    retention: timedelta | None = None
    """The host's least promise with these settings; None = permanent."""
    price: Decimal = Decimal(0)
    """US dollars an image, at most."""
    is_price_certain: bool = True
    """False where some images may cost nothing: then each payment is weighed when it comes up."""
