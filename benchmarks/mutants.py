"""Break the code at random where a mistake costs money, data or a secret, and see whether a test notices.

    python benchmarks/mutants.py --count 300 --seed 1 --folder build/mutants   # make them; goes on where it stopped
    python benchmarks/mutants.py --folder build/mutants --again --budget 600   # survivors only, with the tests of now

Each mutant changes one place of one file (a comparison, a constant, a word of logic, a statement that goes) in a copy
of the project. First every test runs once unchanged, and `reach.jsonl` keeps which lines it executes and how long it
takes: only tests that pass, and that execute the place, are tried on a mutant, those of the room first and the quickest
of them first, until one fails. Tests are collected once and run in forks, in which the code of the changed function
is replaced; a place that runs when its module is loaded gets a process of its own. A test that fails, or that does not
end in a time that is generous beside its own, must do so a second time. `made.jsonl` has a line for each mutant, as it
comes; `--again` adds lines, so that what is told has the first and the last end of each. What survives is to be
read by a person: it asks for a test, or is equal to the original. Nothing outside the copy is touched.

Left out, since no test should hold them: annotations, decorators (`slots`, `frozen`, sizes of caches), blocks for type
checkers, what is inside a `raise` (its text; that it is raised does count) or inside a text of several words, and
branches for another system than the one that this runs on.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import contextlib
import copy
import gc
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[1]
ROOMS: Final = (
    "records", "hosts/img402", "net", "site/images.py", "run/publish.py", "run/upload.py", "threads.py",
)  # fmt: skip
"""Folders and files of imghost where a mistake costs money, data or a secret."""
TESTS: Final = (
    *("tests/records", "tests/net", "tests/site/test_images.py", "tests/hosts/test_payments.py"),
    *("tests/hosts/test_img402*.py", "tests/hosts/test_clock.py", "tests/run/test_kept_records.py"),
    *("tests/run/test_upload*.py", "tests/run/test_publish*.py", "tests/run/test_rehost.py", "tests/run/test_plan*.py"),
    *("tests/run/test_reviewed_lock.py", "tests/run/test_records_judged.py", "tests/run/test_sharing*.py"),
    *("tests/run/test_local_copies.py", "tests/run/test_derived.py", "tests/run/test_sizes.py"),
    *("tests/run/test_care.py", "tests/trust/test_guards.py", "tests/test_threads.py"),
)
"""Where tests of these rooms lie; `--tests` tries others."""
VARIANTS: Final = 8
"""Variants of one test that are tried at first, spread over all of them; survivors meet every one."""
LEAST: Final = 30
"""Mutants that each room gets at least."""
SLOWEST: Final = 30.0
"""Seconds; tests that take longer are not tried."""
_ELSEWHERE: Final = {"TYPE_CHECKING", "os.name == 'nt'", "sys.platform == 'win32'"}
"""Conditions of branches for type checkers, or for another system."""
_OPPOSITES: Final[dict[type, type]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add,
}  # fmt: skip


class Place(NamedTuple):
    """What can be changed: a node, and the statement around it; `is_late`: it runs when a function is called."""

    node: Any
    statement: ast.stmt
    is_late: bool


def places(tree: ast.Module) -> list[Place]:
    """List what can be changed, in the order of the text."""
    return [place for statement in tree.body for place in _in_statement(statement, is_late=False)]


def _in_statement(statement: ast.stmt, *, is_late: bool) -> Iterator[Place]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield from _in_definition(statement, is_late)
        return
    if isinstance(statement, ast.If) and ast.unparse(statement.test) in _ELSEWHERE:
        for inner in statement.orelse:
            yield from _in_statement(inner, is_late=is_late)
        return
    is_call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    if is_call or isinstance(statement, (ast.Raise, ast.AugAssign, ast.If)):
        yield Place(statement, statement, is_late)
    if not isinstance(statement, ast.Raise):
        for name, value in ast.iter_fields(statement):
            for child in value if isinstance(value, list) else [value]:
                if name != "annotation" and isinstance(child, ast.AST):
                    yield from _in_child(child, statement, is_late)


def _in_definition(defined: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, is_late: bool) -> Iterator[Place]:
    """Defaults belong to what is around a function; annotations and decorators are left out."""
    if not isinstance(defined, ast.ClassDef):
        for default in filter(None, (*defined.args.defaults, *defined.args.kw_defaults)):
            yield from _in_expression(default, defined, is_late)
    for inner in defined.body:
        yield from _in_statement(inner, is_late=is_late or not isinstance(defined, ast.ClassDef))


def _in_child(child: ast.AST, statement: ast.stmt, is_late: bool) -> Iterator[Place]:
    if isinstance(child, ast.stmt):
        yield from _in_statement(child, is_late=is_late)
    elif isinstance(child, (ast.ExceptHandler, ast.match_case)):
        for inner in child.body:
            yield from _in_statement(inner, is_late=is_late)
    else:
        yield from _in_expression(child, statement, is_late)


def _in_expression(node: ast.AST, statement: ast.stmt, is_late: bool) -> Iterator[Place]:
    if isinstance(node, ast.JoinedStr) and any(isinstance(it, ast.Constant) and " " in it.value for it in node.values):
        return
    is_logic = isinstance(node, (ast.BoolOp, ast.BinOp)) and type(node.op) in _OPPOSITES
    is_comparison = isinstance(node, ast.Compare) and type(node.ops[0]) in _OPPOSITES
    is_number = isinstance(node, ast.Constant) and type(node.value) in {bool, int}
    if is_logic or is_comparison or is_number or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)):
        yield Place(node, statement, is_late)
    for child in ast.iter_child_nodes(node):
        yield from _in_expression(child, statement, is_late)


def mutated(tree: ast.Module, number: int) -> tuple[ast.Module, str]:
    """Change the place of this number in a copy of a tree; gives the copy and what was done."""
    tree = copy.deepcopy(tree)
    node = places(tree)[number].node
    before = ast.unparse(node).split("\n")[0]
    if isinstance(node, ast.Compare):
        node.ops[0] = _OPPOSITES[type(node.ops[0])]()
    elif isinstance(node, (ast.BoolOp, ast.BinOp)):
        node.op = _OPPOSITES[type(node.op)]()
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else int(node.value) + 1
    elif isinstance(node, ast.If):
        node.test = ast.Constant(value=False)
    else:
        tree = _Without(node).visit(tree)
        return ast.fix_missing_locations(tree), f"{before}  ->  gone"
    return ast.fix_missing_locations(tree), f"{before}  ->  {ast.unparse(node).split(chr(10))[0]}"


class _Without(ast.NodeTransformer):
    """Takes a statement out, or a `not` off."""

    def __init__(self, node: ast.AST) -> None:
        self._node = node

    def visit(self, node: ast.AST) -> ast.AST:
        if node is not self._node:
            return self.generic_visit(node)
        return node.operand if isinstance(node, ast.UnaryOp) else ast.copy_location(ast.Pass(), node)


class Mutant(NamedTuple):
    """One change: its room, file and number there, told by line, and the lines of which a test must execute one."""

    room: str
    file: str
    number: int
    what: str
    lines: frozenset[int]
    is_late: bool


def mutants_of(room: str) -> list[Mutant]:
    """List every mutant of a room."""
    place = ROOT / "imghost" / room
    every = []
    for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
        name = file.relative_to(ROOT).as_posix()
        tree = ast.parse(file.read_text("utf-8"))
        for number, (node, statement, is_late) in enumerate(places(tree)):
            body = getattr(statement, "body", None)
            last = max(statement.lineno, body[0].lineno - 1 if body else statement.end_lineno or 0)
            lines = frozenset(range(statement.lineno, last + 1)) if is_late else _lines_that_use(tree, statement)
            every.append(Mutant(room, name, number, str(node.lineno), lines, is_late))
    return every


def _lines_that_use(tree: ast.Module, statement: ast.stmt) -> frozenset[int]:
    """List the statements of functions that name what a statement of the module binds; none = any."""
    names = {it.id for it in ast.walk(statement) if isinstance(it, ast.Name) and isinstance(it.ctx, ast.Store)}
    functions = (it for it in ast.walk(tree) if isinstance(it, (ast.FunctionDef, ast.AsyncFunctionDef)))
    inside = {it for function in functions for it in ast.walk(function) if isinstance(it, ast.stmt)}
    return frozenset(it.lineno for it in inside if it is not statement and not names.isdisjoint(_names_in(it)))


def _names_in(node: ast.AST) -> Iterator[str]:
    """List the names in a statement, without those in statements inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            yield from (name for name in (getattr(child, "id", ""), getattr(child, "attr", "")) if name)
            yield from _names_in(child)


def chosen(count: int, seed: str) -> list[Mutant]:
    """Draw mutants, by the sizes of the rooms, but some of each; in an order that mixes the rooms."""
    chance = random.Random(seed)
    every = {room: mutants_of(room) for room in ROOMS}
    total = sum(map(len, every.values()))
    counts = {room: max(LEAST, count * len(some) // total) for room, some in every.items()}
    while sum(counts.values()) > count:
        counts[max(counts, key=lambda room: counts[room])] -= 1
    drawn = [mutant for room, some in every.items() for mutant in chance.sample(some, min(counts[room], len(some)))]
    chance.shuffle(drawn)
    return drawn


# Forks: tests are collected once, in a process that runs none itself.


class Heard(NamedTuple):
    """What a fork told: the number of the test that failed, hung or ended the process; None = all passed."""

    number: int | None
    way: str = ""


class Forks:
    """Runs tests in forks of the process that collected them."""

    def __init__(self, session: pytest.Session, place: Path, *, is_whole: bool) -> None:
        self.items = {item.nodeid: item for item in (session.items if is_whole else _spread(session.items))}
        self._session = session
        self._place = place
        self._count = 0
        self.functions: dict[str, list[FunctionType]] = {}
        rooms = tuple(str(place.parent / "imghost" / room) for room in ROOMS)
        for thing in gc.get_objects():
            if isinstance(thing, FunctionType) and thing.__code__.co_filename.startswith(rooms):
                self.functions.setdefault(thing.__code__.co_filename, []).append(thing)

    def run(
        self,
        tests: Sequence[str],
        limit: Callable[[str], float],
        *,
        before: Callable[[], None] = lambda: None,
        is_traced: bool = False,
        hear: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> Heard:
        """Run tests in a fork until one fails (when traced: all); a test that takes longer than its limit is ended."""
        self._count += 1
        base = self._place / f"t{self._count}"
        base.mkdir(parents=True)
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            os.close(reading)
            with contextlib.suppress(BaseException):
                self._in_child(tests, writing, base, before, is_traced=is_traced)
            os._exit(1)
        os.close(writing)
        try:
            return _heard(reading, tests, limit, hear)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reading)
            shutil.rmtree(base, ignore_errors=True)

    def _in_child(
        self, tests: Sequence[str], writing: int, base: Path, before: Callable[[], None], *, is_traced: bool
    ) -> None:
        os.setsid()
        config = self._session.config
        factory: Any = config._tmp_path_factory  # type: ignore[attr-defined]  # noqa: SLF001 - pytest has no other way
        factory._basetemp = base  # noqa: SLF001
        if is_traced:
            _mark(self)
        before()
        failed: list[str] = []
        config.pluginmanager.register(_Listener(failed))
        for number, name in enumerate(tests):
            item, then = self.items[name], tests[number + 1 : number + 2]
            begun, reached = time.monotonic(), set[str]()
            builtins.__reached__ = reached.add  # type: ignore[attr-defined]
            os.write(writing, f"{json.dumps({'begin': number})}\n".encode())
            item.ihook.pytest_runtest_protocol(item=item, nextitem=self.items[then[0]] if then else None)
            told = {"end": number, "test": name, "seconds": round(time.monotonic() - begun, 3), "failed": bool(failed)}
            if is_traced:
                told["lines"] = _by_file(reached)
            _write(writing, f"{json.dumps(told)}\n".encode())
            if failed and not is_traced:
                break
            failed.clear()
        _write(writing, b'{"done": 1}\n')
        os._exit(0)


def _spread(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """Leave out variants of one test beyond so many."""
    variants: dict[str, list[pytest.Item]] = {}
    for item in items:
        variants.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for several in variants.values():
        yield from several[:: -(-len(several) // VARIANTS)]


class _Listener:
    """Hears which tests fail."""

    def __init__(self, failed: list[str]) -> None:
        self._failed = failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.append(report.nodeid)


def _write(writing: int, text: bytes) -> None:
    while text:
        text = text[os.write(writing, text) :]


def _heard(
    reading: int, tests: Sequence[str], limit: Callable[[str], float], hear: Callable[[dict[str, Any]], None]
) -> Heard:
    """Read what a fork tells until it is done, one of its tests fails, or takes too long."""
    current, rest = 0, b""
    end = time.monotonic() + 60
    while True:
        if not select.select([reading], [], [], max(0.0, end - time.monotonic()))[0]:
            return Heard(current, "endless")
        data = os.read(reading, 1 << 20)
        if not data:
            return Heard(current, "ended")
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            told = json.loads(line)
            if "done" in told:
                return Heard(None)
            if "begin" in told:
                current = told["begin"]
                end = time.monotonic() + limit(tests[current])
                continue
            hear(told)
            if told["failed"] and "lines" not in told:
                return Heard(told["end"], "failed")


def _marked(tree: ast.Module, file: str) -> ast.Module:
    """Put before each statement of each function a call that tells that it is reached: tracing would take too long."""
    tree, inside = copy.deepcopy(tree), dict[int, ast.AST]()
    for function in (it for it in ast.walk(tree) if isinstance(it, (ast.FunctionDef, ast.AsyncFunctionDef))):
        inside |= {id(it): it for it in ast.walk(function)}
    for node in inside.values():
        for name in ("body", "orelse", "finalbody"):
            if isinstance(statements := getattr(node, name, None), list):
                marks = (ast.parse(f"__reached__({f'{file}:{it.lineno}'!r})").body[0] for it in statements)
                pairs = [(ast.copy_location(mark, it), it) for mark, it in zip(marks, statements, strict=True)]
                setattr(node, name, [it for pair in pairs for it in pair])
    return ast.fix_missing_locations(tree)


def _mark(forks: Forks) -> None:
    """Have every function of the rooms tell what it reaches."""
    for file in forks.functions:
        tree = ast.parse(Path(file).read_text("utf-8"))
        swap = _swap(tree, _marked(tree, "imghost/" + file.partition("/imghost/")[2]), file, forks)
        if swap:
            swap()


def _by_file(reached: set[str]) -> dict[str, list[int]]:
    by_file: dict[str, list[int]] = {}
    for file, _, line in sorted(it.partition(":") for it in reached):
        by_file.setdefault(file, []).append(int(line))
    return by_file


# Which test reaches what, and how long it takes.


class Reach(NamedTuple):
    """What a test executes when nothing is changed."""

    seconds: float
    is_sound: bool
    lines: dict[str, frozenset[int]]


def read_reach(file: Path) -> dict[str, Reach]:
    """Read what was measured."""
    told = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    return {
        it["test"]: Reach(it["seconds"], not it["failed"], {k: frozenset(v) for k, v in it["lines"].items()})
        for it in told
    }


def measure(forks: Forks, file: Path) -> dict[str, Reach]:
    """Run each test that was not yet measured, with nothing changed."""
    left = [name for name in forks.items if name not in read_reach(file)]
    with file.open("a", encoding="utf-8") as out:
        while left:
            ended: list[str] = []

            def hear(told: dict[str, Any], ended: list[str] = ended) -> None:
                out.write(f"{json.dumps(told)}\n")
                out.flush()
                ended.append(told["test"])

            heard = forks.run(left, lambda _: 2 * SLOWEST, is_traced=True, hear=hear)
            left = left[len(ended) :]
            if heard.number is not None and left:
                hear({"test": left.pop(0), "seconds": 2 * SLOWEST, "failed": True, "lines": {}})
    return read_reach(file)


def tests_for(mutant: Mutant, reach: dict[str, Reach], budget: float) -> list[str]:
    """List the tests that execute a place, those of its room first, quickest first, as many as the seconds allow."""

    def is_reached(test: Reach) -> bool:
        lines = test.lines.get(mutant.file, frozenset())
        return bool(lines & mutant.lines) or (bool(lines) and not mutant.is_late and not mutant.lines)

    own = f"tests/{mutant.room.partition('/')[0]}/"
    names = [name for name, it in reach.items() if it.is_sound and it.seconds <= SLOWEST and is_reached(it)]
    taken, spent = [], 0.0
    for name in sorted(names, key=lambda name: (not name.startswith(own), reach[name].seconds)):
        spent += reach[name].seconds
        if spent > budget and taken:
            break
        taken.append(name)
    return taken


# One mutant.


class Ended(NamedTuple):
    """How a mutant ended: survived, unreached, failed, endless or ended; and by which test."""

    way: str
    by: str = ""


def attempt(mutant: Mutant, forks: Forks, reach: dict[str, Reach], folder: Path, budget: float) -> tuple[str, Ended]:
    """Break one place in the copy, run tests, and put it back; gives what was done, and how it ended."""
    file = folder / mutant.file
    original = file.read_text("utf-8")
    tree = ast.parse(original)
    changed, what = mutated(tree, mutant.number)
    tests = [name for name in tests_for(mutant, reach, budget) if name in forks.items]
    if not tests:
        return what, Ended("unreached")
    file.write_text(ast.unparse(changed), "utf-8")  # for the programs that tests start
    try:
        swap = _swap(tree, changed, str(file), forks) if mutant.is_late else None
        return what, _noticed(forks, tests, reach, swap) if swap else _noticed_apart(tests, reach, folder)
    finally:
        file.write_text(original, "utf-8")


def _swap(tree: ast.Module, changed: ast.Module, file: str, forks: Forks) -> Callable[[], None] | None:
    """Make what replaces the code of the changed function; None = it cannot be replaced while it runs."""
    old, new = (compile(it, file, "exec", dont_inherit=True) for it in (tree, changed))
    pairs = list(_changed_pairs(old, new))
    swaps = [(it, after) for it in forks.functions.get(file, ()) for before, after in pairs if it.__code__ == before]
    if not swaps or any(it.__code__.co_freevars != code.co_freevars for it, code in swaps):
        return None

    def swap() -> None:
        for function, code in swaps:
            function.__code__ = code

    return swap


def _changed_pairs(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """Pair the codes of two modules that differ."""
    if old != new:
        yield old, new
        inner = ([it for it in code.co_consts if isinstance(it, CodeType)] for code in (old, new))
        for before, after in zip(*inner, strict=False):
            yield from _changed_pairs(before, after)


def _noticed(forks: Forks, tests: Sequence[str], reach: dict[str, Reach], swap: Callable[[], None]) -> Ended:
    """Run tests until one fails twice, once beside others and once alone."""

    def limit(name: str) -> float:
        return 20 + 10 * reach[name].seconds

    while tests:
        heard = forks.run(tests, limit, before=swap)
        if heard.number is None:
            break
        suspect = tests[heard.number]
        again = forks.run([suspect], limit, before=swap)
        if again.number is not None:
            return Ended(again.way, suspect)
        tests = tests[heard.number + 1 :]
    return Ended("survived")


def _noticed_apart(tests: Sequence[str], reach: dict[str, Reach], folder: Path) -> Ended:
    """Run tests in a process of their own, which loads the changed module."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", "--reruns", "1", *tests]
    limit = 60 + 10 * sum(reach[name].seconds for name in tests)
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=limit, check=False, text=True)
    except subprocess.TimeoutExpired:
        return Ended("endless")
    by = next((line.split(" ")[1] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))), "")
    return Ended("failed", by) if done.returncode else Ended("survived")


# The whole.


def _copied(place: Path) -> Path:
    """Copy what tests need of the project."""
    for part in ("imghost", "mkdocs_imghost", "sphinx_imghost", "tests", "docs", "example_site"):
        shutil.copytree(ROOT / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, place)
    return place


def read_made(file: Path) -> list[dict[str, Any]]:
    """Read the lines of mutants that were made."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def _is_alive(line: dict[str, Any]) -> bool:
    return line["way"] in {"survived", "unreached"}


def key(line: dict[str, Any]) -> tuple[str, int]:
    """Name a mutant."""
    return line["file"], line["number"]


def told(lines: Sequence[dict[str, Any]]) -> str:
    """Say, by room, how many were killed at first and at last, and list what is alive."""
    first = {key(line): line for line in reversed(lines)}
    last = {key(line): line for line in lines}
    rows = []
    for room in (*ROOMS, ""):
        ours = [one for one, line in first.items() if room in {"", line["room"]}]
        before, after = (sum(not _is_alive(ends[one]) for one in ours) for ends in (first, last))
        ways = Counter(last[one]["way"] for one in ours)
        rows.append(f"{room or 'in all'}: {before} of {len(ours)} killed at first, {after} at last {dict(ways)}")
    alive = sorted((line for line in last.values() if _is_alive(line)), key=lambda line: (line["file"], line["line"]))
    return "\n".join((*rows, *(f"{it['file']}:{it['line']}: {it['what']} ({it['way']})" for it in alive)))


def make(session: pytest.Session, given: argparse.Namespace) -> None:
    """Make the mutants that are left, or the survivors again, in this process, which has the tests collected."""
    folder = Path.cwd()
    forks = Forks(session, folder / "forks", is_whole=given.again)
    for name in given.warm.split():
        item = forks.items[name]
        item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
    gc.freeze()
    reach = measure(forks, given.folder / "reach.jsonl")
    lines = read_made(given.folder / "made.jsonl")
    last = {key(line): line for line in lines}
    end = time.monotonic() + given.minutes * 60
    with (given.folder / "made.jsonl").open("a", encoding="utf-8") as out:
        for mutant in chosen(given.count, given.seed):
            before = last.get((mutant.file, mutant.number))
            is_due = before is not None and _is_alive(before) if given.again else before is None
            if not is_due or time.monotonic() > end or not any(part in mutant.file for part in given.only.split(",")):
                continue
            begun = time.monotonic()
            what, ended = attempt(mutant, forks, reach, folder, given.budget)
            line = {"room": mutant.room, "file": mutant.file, "number": mutant.number, "line": int(mutant.what)}
            line |= {"what": what, "way": ended.way, "by": ended.by, "seconds": round(time.monotonic() - begun, 1)}
            out.write(f"{json.dumps(line)}\n")
            out.flush()


class Loop:
    """Takes the place of pytest's own loop, once tests are collected."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        make(session, self._given)
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", default="", help="parts of the files' names, with commas between them")
    parser.add_argument("--tests", default=" ".join(TESTS), help="globs of the tests that are tried")
    parser.add_argument("--warm", default="", help="tests that run first, once: what they keep in memory, forks have")
    parser.add_argument("--minutes", type=float, default=600, help="begin no mutant after so long")
    parser.add_argument("--budget", type=float, default=60, help="seconds of tests that are tried on one mutant")
    parser.add_argument("--again", action="store_true", help="make the survivors again")
    parser.add_argument("--tell", action="store_true", help="make none")
    parser.add_argument("--folder", type=lambda text: Path(text).resolve(), default=ROOT / "build/mutants")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.inside:
        sys.path.pop(0)  # the folder of this file
        options = ["-q", "-n0", "-p", "no:cacheprovider"]
        tests = [str(path) for glob in given.tests.split() for path in sorted(Path().glob(glob))]
        pytest.main([*options, *tests], plugins=[Loop(given)])
        return
    if not given.tell:
        with tempfile.TemporaryDirectory() as place:
            folder = _copied(Path(place) / "copy")
            # Programs that a test starts elsewhere must load the copy, too.
            environ = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
            command = [sys.executable, __file__, *sys.argv[1:], "--inside", "--folder", str(given.folder)]
            subprocess.run(command, cwd=folder, env=environ, check=True)
    print(told(read_made(given.folder / "made.jsonl")))


if __name__ == "__main__":
    main()
