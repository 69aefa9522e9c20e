"""Break the code at random where a mistake costs money, data or a secret, and see whether a test notices.

    python benchmarks/mutants.py --count 300 --seed 1 --report mutants.txt

Each mutant changes one place of one file (a comparison, a constant, a word of logic, a statement that goes) in a copy
of the project, and the tests of its room run there until one fails. What survives is written down with its place, to be
read by a person: it asks for a test, or is equal to the original. Nothing outside the copy is touched.
"""

from __future__ import annotations

import argparse
import ast
import copy
import math
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
ROOMS: Final = {
    "records/__init__.py": ("tests/records/test_lock.py", "tests/run/test_rehost.py"),
    "records/lock.py": ("tests/records/test_lock.py", "tests/run/test_kept_records.py"),
    "records/cache.py": ("tests/records/test_cache.py",),
    "records/safe_diskcache.py": ("tests/records/test_cache.py", "tests/trust/test_guards.py"),
    "records/shared.py": ("tests/records/test_shared.py",),
    "records/shared_folder.py": ("tests/records/test_shared.py", "tests/records/test_shared_stores.py"),
    "hosts/img402/__init__.py": ("tests/hosts/test_img402.py",),
    "hosts/img402/x402.py": ("tests/hosts/test_img402_x402.py", "tests/hosts/test_img402_paid.py"),
    "hosts/img402/journal.py": (
        *("tests/hosts/test_payments.py", "tests/hosts/test_img402_journal.py", "tests/hosts/test_img402_identity.py"),
        "tests/trust/test_guards.py",
    ),
    "hosts/img402/buying.py": ("tests/hosts/test_img402_paid.py", "tests/hosts/test_img402_identity.py"),
    "hosts/img402/host.py": ("tests/hosts/test_img402.py", "tests/hosts/test_img402_paid.py"),
    "hosts/img402/wallet.py": ("tests/hosts/test_img402_signer.py", "tests/hosts/test_img402_paid.py"),
    "net/__init__.py": ("tests/net/test_client.py", "tests/net/test_client_hidden.py"),
    "net/wire.py": ("tests/net/test_wire_faults.py", "tests/net/test_wire_tls.py", "tests/net/test_slow_line.py"),
    "net/download.py": ("tests/net/test_download.py", "tests/net/test_download_addresses.py"),
    "site/images.py": ("tests/site/test_images.py",),
    "run/publish.py": ("tests/run/test_publish_budget.py", "tests/run/test_rehost.py"),
    "run/upload.py": ("tests/run/test_upload.py", "tests/run/test_upload_patience.py", "tests/run/test_rehost.py"),
}
"""Files, and the tests that hold them; what these let live is tried against the whole suite by `--thorough`."""
_OPPOSITES: Final[dict[type, type]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add,
}  # fmt: skip


def places(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """List what can be changed: nodes, and how."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in _OPPOSITES:
            yield node, "compare"
        elif isinstance(node, (ast.BoolOp, ast.BinOp)) and type(node.op) in _OPPOSITES:
            yield node, "operator"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, "not"
        elif isinstance(node, ast.Constant) and type(node.value) in {bool, int}:
            yield node, "constant"
        elif isinstance(node, ast.If):
            yield node, "if"
        for body in ("body", "orelse", "finalbody"):
            for statement in getattr(node, body, None) or () if isinstance(getattr(node, body, None), list) else ():
                is_call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
                if is_call or isinstance(statement, (ast.Raise, ast.AugAssign)):
                    yield statement, "statement"


def mutated(tree: ast.Module, number: int) -> tuple[ast.Module, str]:
    """Change the place of this number in a copy of a tree; gives the copy and what was done."""
    tree = copy.deepcopy(tree)
    node, way = list(places(tree))[number]
    before, line = ast.unparse(node).split("\n")[0], getattr(node, "lineno", 0)
    if isinstance(node, ast.Compare):
        node.ops[0] = _OPPOSITES[type(node.ops[0])]()
    elif isinstance(node, (ast.BoolOp, ast.BinOp)):
        node.op = _OPPOSITES[type(node.op)]()
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else int(node.value) + 1
    elif isinstance(node, ast.If):
        node.test = ast.Constant(value=False)
    else:
        tree = ast.fix_missing_locations(_Without(node).visit(tree))
        return tree, f"{line}: {before}  ->  gone ({way})"
    return ast.fix_missing_locations(tree), f"{line}: {before}  ->  {ast.unparse(node).split(chr(10))[0]}"


class _Without(ast.NodeTransformer):
    """Takes a statement out, or a `not` off."""

    def __init__(self, node: ast.AST) -> None:
        self._node = node

    def visit(self, node: ast.AST) -> ast.AST:
        if node is not self._node:
            return self.generic_visit(node)
        return node.operand if isinstance(node, ast.UnaryOp) else ast.Pass()


def is_killed(folder: Path, tests: tuple[str, ...]) -> bool:
    """Run tests in a copy until one fails; one that hangs is killed, too."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", "--reruns", "1", *tests]
    # Programs that a test starts elsewhere must load the copy, too.
    environ = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def _copied(place: Path) -> Path:
    """Copy what tests need of the project."""
    for part in ("imghost", "mkdocs_imghost", "sphinx_imghost", "tests", "docs", "example_site"):
        shutil.copytree(ROOT / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, place)
    return place


def _tried(name: str, number: int, tree: ast.Module, folder: Path, *, is_thorough: bool) -> str:
    """Break one place in a copy and put it back; gives what was done where no test noticed."""
    file = folder / "imghost" / name
    original = file.read_text("utf-8")
    changed, what = mutated(tree, number)
    file.write_text(ast.unparse(changed), "utf-8")
    is_dead = is_killed(folder, ROOMS[name]) or (is_thorough and is_killed(folder, ("tests",)))
    file.write_text(original, "utf-8")
    return "" if is_dead else f"imghost/{name}:{what}"


Work = Callable[[Path], str]


class Copies:
    """Copies of the project, each for one thread at a time."""

    def __init__(self, place: Path, count: int, minutes: float) -> None:
        self._free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(count):
            self._free.put(_copied(place / str(number)))
        self._end = time.monotonic() + minutes * 60 if minutes else math.inf

    def lend(self, work: Work) -> str | None:
        """Work in a copy; None = there was no time for it."""
        if time.monotonic() > self._end:
            return None
        folder = self._free.get()
        try:
            return work(folder)
        finally:
            self._free.put(folder)


def _unsound(name: str, folder: Path) -> str:
    """Name a file whose tests fail without a change."""
    return name if is_killed(folder, ROOMS[name]) else ""


def _told(made: Counter[str], survivors: list[str]) -> str:
    left = Counter(line.removeprefix("imghost/").partition(":")[0].rpartition("/")[0] for line in survivors)
    lines = [f"{room}: {count - left[room]} of {count} killed" for room, count in sorted(made.items())]
    return "\n".join((*lines, f"in all: {made.total() - left.total()} of {made.total()} killed"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", default="", help="a part of the files' names")
    parser.add_argument("--jobs", type=int, default=2, help="copies in which tests run at a time")
    parser.add_argument("--minutes", type=float, default=0, help="begin no mutant after so long; 0 = make all")
    parser.add_argument("--thorough", action="store_true", help="try survivors against the whole suite")
    parser.add_argument("--report", type=Path, default=None)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    trees = {name: ast.parse((ROOT / "imghost" / name).read_text("utf-8")) for name in ROOMS if given.only in name}
    every = [(name, number) for name, tree in trees.items() for number, _ in enumerate(places(tree))]
    chosen = chance.sample(every, min(given.count, len(every)))
    made, survivors = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(given.jobs) as pool:
        copies = Copies(Path(place), given.jobs, given.minutes)
        names = dict.fromkeys(name for name, _ in chosen)
        unsound = set(filter(None, pool.map(lambda name: copies.lend(partial(_unsound, name)), names)))
        for name in sorted(unsound):
            print(f"imghost/{name}: left out, since its tests fail without a change")
        chosen = [(name, number) for name, number in chosen if name not in unsound]

        def attempt(it: tuple[str, int]) -> str | None:
            return copies.lend(lambda folder: _tried(*it, trees[it[0]], folder, is_thorough=given.thorough))

        for (name, _), survivor in zip(chosen, pool.map(attempt, chosen), strict=True):
            if survivor is not None:
                made[name.rpartition("/")[0]] += 1
            if survivor:
                survivors.append(survivor)
                print(survivor, flush=True)
    print(_told(made, survivors))
    if given.report:
        given.report.write_text("\n".join((_told(made, survivors), "", *sorted(survivors))) + "\n", "utf-8")


if __name__ == "__main__":
    main()
