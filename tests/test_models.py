"""Values: our named tuples behave like those of the standard library, as which they are type-checked."""

from __future__ import annotations

import copy
import pickle
import typing
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
    with pytest.raises(type(theirs.value)):
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
