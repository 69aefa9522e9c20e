"""Values: our named tuples and data classes behave like the standard library's, as which they are type-checked."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import typing
from collections.abc import Callable
from typing import Any

import pytest

from imghost import models


class Theirs(typing.NamedTuple):
    name: str
    new: int = 0
    cls: tuple[int, ...] = ()


class Ours(models.NamedTuple):
    """Fields by the names of what the constructor is made with."""

    name: str
    new: int = 0
    cls: tuple[int, ...] = ()

    @property
    def is_new(self) -> bool:
        return bool(self.new)


class Later(models.NamedTuple):
    """Never called but by the test that sees what a class is before."""

    name: str = "a"


USES: dict[str, Any] = {
    "all": lambda kind: kind("a", 1, (2,)),
    "defaults": lambda kind: kind("a"),
    "by name": lambda kind: kind(cls=(2,), name="a"),
    "replaced": lambda kind: kind("a")._replace(new=3),
    "of values": lambda kind: kind._make(iter(["a", 1, ()])),
    "as a dict": lambda kind: kind("a")._asdict(),
    "fields": lambda kind: (kind._fields, kind._field_defaults, kind.__match_args__),
    "copied": lambda kind: copy.deepcopy(kind("a")),
    "pickled": lambda kind: pickle.loads(pickle.dumps(kind("a", 2))),
    "a tuple": lambda kind: (
        kind("a") == ("a", 0, ()),
        hash(kind("a")),
        [*kind("a")],
        kind("a")[0],
        kind("a") < ("b",),
    ),
    "types": typing.get_type_hints,
}
MISUSES: dict[str, Any] = {
    "too few": lambda kind: kind(),
    "too many": lambda kind: kind("a", 1, (), 4),
    "no such field": lambda kind: kind("a", other=1),
    "twice": lambda kind: kind("a", name="b"),
    "no such field to replace": lambda kind: kind("a")._replace(other=1),
    "too few of values": lambda kind: kind._make(["a"]),
    "changed": lambda kind: setattr(kind("a"), "new", 1),
    "given another": lambda kind: setattr(kind("a"), "other", 1),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_named_tuple_does_what_those_of_typing_do(use: Any) -> None:
    ours, theirs = use(Ours), use(Theirs)
    assert ours == theirs
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert type(ours).__name__ == type(theirs).__name__.replace("Theirs", "Ours")


@pytest.mark.parametrize("misuse", MISUSES.values(), ids=MISUSES)
def test_a_named_tuple_refuses_what_those_of_typing_refuse(misuse: Any) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - what it is, is compared
        misuse(Theirs)
    with pytest.raises((type(theirs.value), TypeError)):  # of a wrong name, Python 3.13 has a TypeError, too
        misuse(Ours)


def test_a_named_tuple_is_matched_by_its_fields_and_has_methods_of_its_own() -> None:
    match Ours("a", 1):
        case Ours(name, cls=numbers):
            assert (name, numbers) == ("a", ())
    assert (Ours("a", 1).is_new, Ours("a").is_new) == (True, False)


def test_a_constructor_is_compiled_when_a_class_is_first_called() -> None:
    """A build loads far more such classes than it uses."""
    assert "__new__" not in vars(Later)
    assert Later() == ("a",)
    assert "__new__" in vars(Later)
    assert Later(name="b") == ("b",)


def _frozen_by(dataclass: Any, called: str) -> Any:
    @dataclass(frozen=True, slots=True)
    class Frozen:
        """The same body for both, by another name."""

        __qualname__ = called
        name: str
        self_: int
        height: int = 3
        notes: list[str] = dataclasses.field(default_factory=list, hash=False)
        seen: int = dataclasses.field(default=0, compare=False, repr=False)

        @property
        def is_low(self) -> bool:
            return self.height < 10

    return Frozen


TheirsFrozen = _frozen_by(dataclasses.dataclass, "TheirsFrozen")
OursFrozen = _frozen_by(models.dataclass, "OursFrozen")


def _heir(kind: Any) -> Any:
    """Make what the author of a host may make of a class of ours."""

    @dataclasses.dataclass(frozen=True, slots=True)
    class Heir(kind):
        more: str = "b"

    return Heir


FROZEN_USES: dict[str, Callable[[Any], Any]] = {
    "all": lambda kind: kind("a", 1, 2, ["b"], 5),
    "defaults": lambda kind: kind("a", 1),
    "by name": lambda kind: kind(self_=2, name="a"),
    "replaced": lambda kind: dataclasses.replace(kind("a", 1), height=4),
    "replaced, and equal but for what does not count": lambda kind: (
        kind("a", 1) == dataclasses.replace(kind("a", 1), seen=9)
    ),
    "unequal": lambda kind: (kind("a", 1) == kind("b", 1), kind("a", 1) == ("a", 1), kind("a", 1) != kind("a", 1)),
    "hashed": lambda kind: (hash(kind("a", 1, notes=["b"])), len({kind("a", 1), kind("a", 1), kind("b", 1)})),
    "notes of its own": lambda kind: kind("a", 1).notes is kind("a", 1).notes,
    "as a dict": lambda kind: dataclasses.asdict(kind("a", 1)),
    "fields": lambda kind: ([field.name for field in dataclasses.fields(kind)], kind.__match_args__, kind.__slots__),
    "a data class": lambda kind: (dataclasses.is_dataclass(kind), repr(kind.__dataclass_params__)),
    "copied": lambda kind: copy.deepcopy(kind("a", 1, notes=["b"], seen=5)),
    "pickled": lambda kind: pickle.loads(pickle.dumps(kind("a", 1, notes=["b"], seen=5))).seen,
    "types": typing.get_type_hints,
    "its methods": lambda kind: kind("a", 1).is_low,
    "as its class": lambda kind: (
        kind.__doc__,
        kind.height,
        dataclasses.fields(kind)[2].kw_only,
        dir(kind("a", 1))[-5:],
    ),
    "inherited from": lambda kind: (_heir(kind)("a", 1, more="c"), dataclasses.fields(_heir(kind))[-1].name),
}
FROZEN_MISUSES: dict[str, Callable[[Any], Any]] = {
    "too few": lambda kind: kind("a"),
    "too many": lambda kind: kind("a", 1, 2, [], 5, 6),
    "no such field": lambda kind: kind("a", 1, other=1),
    "no such field to replace": lambda kind: dataclasses.replace(kind("a", 1), other=1),
    "changed": lambda kind: setattr(kind("a", 1), "height", 1),
    "deleted": lambda kind: delattr(kind("a", 1), "height"),
    "changed in an heir": lambda kind: setattr(_heir(kind)("a", 1), "height", 1),
    "compared": lambda kind: kind("a", 1) < kind("b", 1),
    "hashed with what has no hash": lambda kind: hash(kind(["a"], 1)),
}


@pytest.mark.parametrize("use", FROZEN_USES.values(), ids=FROZEN_USES)
def test_a_frozen_class_does_what_those_of_dataclasses_do(use: Callable[[Any], Any]) -> None:
    assert repr(use(OursFrozen)) == repr(use(TheirsFrozen)).replace("TheirsFrozen", "OursFrozen")


@pytest.mark.parametrize("misuse", FROZEN_MISUSES.values(), ids=FROZEN_MISUSES)
def test_a_frozen_class_refuses_what_those_of_dataclasses_refuse(misuse: Callable[[Any], Any]) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - what it is, is compared
        misuse(TheirsFrozen)
    with pytest.raises(type(theirs.value)) as ours:
        misuse(OursFrozen)
    assert str(ours.value) == str(theirs.value).replace("TheirsFrozen", "OursFrozen")


def test_a_frozen_class_takes_no_other_attribute_and_its_heirs_theirs() -> None:
    """Where the standard library's of Python 3.11 have a TypeError, with slots."""

    class Heir(OursFrozen):
        pass

    with pytest.raises(dataclasses.FrozenInstanceError):
        OursFrozen("a", 1).other = 1
    heir = Heir("a", 1)
    heir.own = 2
    del heir.own
    with pytest.raises(dataclasses.FrozenInstanceError):
        heir.height = 1
    assert (heir.height, heir == OursFrozen("a", 1)) == (3, False)


@pytest.mark.parametrize("dataclass", [dataclasses.dataclass, models.dataclass])
def test_a_frozen_class_keeps_the_methods_and_fields_that_it_has(dataclass: Any) -> None:
    """A `__repr__` may be there to hide something."""

    @dataclass(frozen=True, slots=True)
    class Heir(_frozen_by(dataclass, "Own")):
        """An heir of the same kind."""

        height: int = 4
        secret: str = "b"

        def __repr__(self) -> str:
            return f"Heir(height={self.height})"

    heir = Heir("a", 1, secret="c")
    assert (repr(heir), heir.secret, heir == dataclasses.replace(heir)) == ("Heir(height=4)", "c", True)
    assert [it.name for it in dataclasses.fields(Heir)] == ["name", "self_", "height", "notes", "seen", "secret"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        heir.secret = "d"
