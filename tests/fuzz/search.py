"""Fuzz one target: `python tests/fuzz/search.py TARGET [options of libFuzzer]`.

With atheris the search is guided by coverage and new inputs go to the corpus; without it the corpus is mutated
at random for as many rounds as `IMGHOST_SOAK_FUZZ` says.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

CORPUS = Path(__file__).with_name("corpus")


def seeds(target: str) -> list[bytes]:
    """Read a target's corpus."""
    return [file.read_bytes() for file in sorted((CORPUS / target).iterdir())]


def mutants(inputs: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Give changed inputs: bytes flipped, cut, doubled, put in or taken from another input."""
    chance = random.Random(seed)
    for _ in range(count):
        raw = bytearray(chance.choice(inputs))
        for _ in range(chance.randint(1, 6)):
            at, other = chance.randrange(len(raw) + 1), chance.choice(inputs)
            cut = chance.randrange(len(other) + 1)
            piece = other[cut : cut + chance.randint(0, 40)]
            end = at + chance.choice([0, 0, 1, len(piece), chance.randint(0, 60)])
            raw[at:end] = chance.choice([piece, bytes([chance.randrange(256)]), b"", raw[at:end] * 2])
        yield bytes(raw)


def main(target: str) -> None:
    from fuzz.targets import TARGETS

    judge: Callable[[bytes], None] = TARGETS[target]
    try:
        import atheris
    except ImportError:
        count = int(os.environ.get("IMGHOST_SOAK_FUZZ", "10000"))
        for raw in mutants(seeds(target), count, int.from_bytes(os.urandom(8), "big")):
            judge(raw)
        print(f"{target}: {count} mutated inputs, no crash; install atheris to be guided by coverage")
        return
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *sys.argv[2:], str(CORPUS / target)], judge)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1])
