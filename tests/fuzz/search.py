"""Fuzz one target: `python tests/fuzz/search.py TARGET [options of libFuzzer]`.

With atheris (the dependency group `fuzz`) the search is guided by imghost's coverage; what it finds goes to
`build/fuzz/TARGET`, crashes included, and `-merge=1` brings what is new in it into the corpus. Without atheris the
corpus is mutated at random for as many rounds as `IMGHOST_SOAK_FUZZ` says.
"""

from __future__ import annotations

import os
import random
import shlex
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

CORPUS = Path(__file__).with_name("corpus")
FOUND = Path(__file__).parents[2] / "build" / "fuzz"


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


def guided(target: str, options: list[str]) -> None:
    """Search with atheris, which must see our modules before anything else imports them."""
    import atheris

    with atheris.instrument_imports(include=["imghost"]):
        from fuzz.targets import TARGETS
    found = FOUND / target
    found.mkdir(parents=True, exist_ok=True)
    # libFuzzer writes into the first folder and only reads the others; a merge goes the other way.
    folders = [str(found), str(CORPUS / target)]
    if "-merge=1" in options:
        folders.reverse()
    # A merge starts this anew for each input that ends it, by the first word.
    again = FOUND / f"{target}.sh"
    again.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(__file__)} {target} "$@"\n')
    again.chmod(0o755)
    crashes = f"-artifact_prefix={FOUND}/{target}-"
    atheris.Setup([str(again), crashes, *options, *folders], TARGETS[target])
    atheris.Fuzz()


def unguided(target: str) -> None:
    """Mutate the corpus at random."""
    from fuzz.targets import TARGETS

    count = int(os.environ.get("IMGHOST_SOAK_FUZZ", "10000"))
    for raw in mutants(seeds(target), count, int.from_bytes(os.urandom(8), "big")):
        TARGETS[target](raw)
    print(f"{target}: {count} mutated inputs, no crash; install atheris to be guided by coverage")


if __name__ == "__main__":
    if find_spec("atheris"):
        guided(sys.argv[1], sys.argv[2:])
    else:
        unguided(sys.argv[1])
