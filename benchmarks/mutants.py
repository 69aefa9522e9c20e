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
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
ROOMS: Final = {
    "records/lock.py": ("tests/records/test_lock.py",),
    "records/cache.py": ("tests/records/test_cache.py",),
    "records/safe_disk.py": ("tests/records/test_cache.py",),
    "records/safe_diskcache.py": ("tests/records/test_cache.py", "tests/trust/test_guards.py"),
    "hosts/img402/x402.py": ("tests/hosts/test_img402_x402.py", "tests/hosts/test_img402_paid.py"),
    "hosts/img402/journal.py": (
        *("tests/hosts/test_payments.py", "tests/hosts/test_img402_journal.py", "tests/hosts/test_img402_identity.py"),
        "tests/trust/test_guards.py",
    ),
    "hosts/img402/buying.py": ("tests/hosts/test_img402_paid.py", "tests/hosts/test_img402_identity.py"),
    "hosts/img402/host.py": ("tests/hosts/test_img402.py", "tests/hosts/test_img402_paid.py"),
    "hosts/img402/wallet.py": ("tests/hosts/test_img402_signer.py", "tests/hosts/test_img402_paid.py"),
    "net/client.py": ("tests/net/test_client.py", "tests/net/test_client_hidden.py"),
    "net/wire.py": ("tests/net/test_wire_faults.py", "tests/net/test_wire_tls.py"),
    "net/download.py": ("tests/net/test_download.py", "tests/net/test_download_addresses.py"),
    "site/images.py": ("tests/site/test_images.py",),
    "run/publish.py": ("tests/run/test_publish_budget.py", "tests/run/test_rehost.py"),
    "run/upload.py": ("tests/run/test_upload.py", "tests/run/test_rehost.py"),
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
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", "-p", "no:randomly", *tests]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", default="", help="a part of the files' names")
    parser.add_argument("--thorough", action="store_true", help="try survivors against the whole suite")
    parser.add_argument("--report", type=Path, default=None)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    trees = {name: ast.parse((ROOT / "imghost" / name).read_text("utf-8")) for name in ROOMS if given.only in name}
    every = [(name, number) for name, tree in trees.items() for number, _ in enumerate(places(tree))]
    made, killed, survivors = Counter[str](), Counter[str](), []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "project"
        for part in ("imghost", "mkdocs_imghost", "sphinx_imghost", "tests"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        chosen = chance.sample(every, min(given.count, len(every)))
        for name in dict.fromkeys(name for name, _ in chosen):
            if is_killed(folder, ROOMS[name]):
                raise SystemExit(f"{name}: its tests fail without a change: mend that first")
        for name, number in chosen:
            file, room = folder / "imghost" / name, name.rpartition("/")[0]
            original = file.read_text("utf-8")
            tree, what = mutated(trees[name], number)
            file.write_text(ast.unparse(tree), "utf-8")
            made[room] += 1
            is_dead = is_killed(folder, ROOMS[name]) or (given.thorough and is_killed(folder, ("tests",)))
            killed[room] += is_dead
            if not is_dead:
                survivors.append(f"imghost/{name}:{what}")
                print(survivors[-1], flush=True)
            file.write_text(original, "utf-8")
    lines = [f"{room}: {killed[room]} of {made[room]} killed" for room in sorted(made)]
    lines.append(f"in all: {killed.total()} of {made.total()} killed, seed {given.seed}")
    print("\n".join(lines))
    if given.report:
        given.report.write_text("\n".join((*lines, "", *sorted(survivors))) + "\n", "utf-8")


if __name__ == "__main__":
    main()
