"""No input of a fuzz target's corpus, and none like it, breaks what reads it."""

from __future__ import annotations

import pytest
from fuzz.search import mutants, seeds
from fuzz.targets import TARGETS
from trust.place import counted


@pytest.mark.parametrize("target", TARGETS)
def test_every_input_of_the_corpus_has_a_value_or_a_verdict(target: str) -> None:
    inputs = seeds(target)
    assert len(inputs) >= 3
    for raw in inputs:
        TARGETS[target](raw)


@pytest.mark.sampled(1)
@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("target", TARGETS)
def test_every_mutation_has_a_value_or_a_verdict(target: str) -> None:
    count = counted("FUZZ", 300 if target in {"store", "journal"} else 3000)
    for raw in mutants(seeds(target), count, seed=402):
        TARGETS[target](raw)
    print(f"\n{target}: {count} mutated inputs")
