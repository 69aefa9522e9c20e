"""The floors of the house: a room imports from lower floors only, and nothing heavy is loaded before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = [  # bottom up: a room on one floor imports neither what is above it nor another room on its own
    {"errors", "wording", "models", "urls", "files", "threads"},
    {"html", "image", "net", "records", "settings"},
    {"hosts", "site", "environment"},
    {"run", "testing"},
    {"cli", "markdown", "mkdocs_imghost", "sphinx_imghost"},
    {"__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
GROUND = ["errors", "wording", "models", "urls", "files", "threads"]
"""The ground floor's own order, since its files do build on each other."""
TOOLS = {
    "imghost": {"jinja2"},  # the HTML report is a template of it
    "mkdocs_imghost": {"imghost", "mkdocs", "properdocs", "jinja2"},
    "sphinx_imghost": {"imghost", "sphinx", "docutils"},
}
FILES = [file for package in TOOLS for file in sorted((ROOT / package).rglob("*.py"))]


def imports(file: Path) -> Iterator[str]:
    """List what a module imports, wherever in it that stands; what only types need counts too."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name: str) -> str:
    """Name the room of a dotted module: the part below `imghost`, or the adapter's package."""
    top, _, rest = name.partition(".")
    return rest.partition(".")[0] if top == "imghost" else top


def breaches() -> Iterator[str]:
    for file in FILES:
        own = room_of(".".join(file.relative_to(ROOT).with_suffix("").parts))
        for name in imports(file):
            room = room_of(name)
            if own in FLOOR and room in FLOOR and room != own:
                is_below = FLOOR[room] < FLOOR[own]
                if not is_below and not (own in GROUND and room in GROUND and GROUND.index(room) < GROUND.index(own)):
                    yield f"{file.relative_to(ROOT)} ({own}) imports {name} ({room})"


def test_a_room_imports_from_lower_floors_only() -> None:
    assert list(breaches()) == []


def test_a_stranger_finds_the_place_from_the_tree() -> None:
    """A file is one subject: what has a single importer and a few lines belongs beside that importer."""
    own = [file for file in FILES if file.is_relative_to(ROOT / "imghost")]
    assert len(own) <= 85
    assert sum(file.parent == ROOT / "imghost" for file in own) <= 12


def test_every_room_stands_on_a_floor() -> None:
    rooms = {
        path.stem for path in (ROOT / "imghost").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {"__init__"} <= set(FLOOR)


def modules() -> dict[str, Path]:
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in FILES}


def test_no_module_imports_itself_over_others() -> None:
    """The packages' own `__init__` aside: a package is imported with each of its parts."""
    files = modules()

    def owner(name: str) -> str:
        while name and name not in files:
            name = name.rpartition(".")[0]
        return name

    edges = {name: {owner(found) for found in imports(file)} - {"", name} for name, file in files.items()}

    def reaches(name: str) -> set[str]:
        seen: set[str] = set()
        left = [name]
        while left:
            new = edges[left.pop()] - seen
            seen |= new
            left += new
        return seen

    assert [name for name in files if name != "imghost" and name in reaches(name)] == []


@pytest.mark.parametrize("package", TOOLS)
def test_a_package_imports_only_the_tool_it_is_for(package: str) -> None:
    tools = {"imghost", "mkdocs", "properdocs", "jinja2", "sphinx", "docutils", "mkdocs_imghost", "sphinx_imghost"}
    for file in (ROOT / package).rglob("*.py"):
        tops = {name.partition(".")[0] for name in imports(file)}
        assert tops & tools <= TOOLS[package] | {package}, file
        if package != "imghost":
            assert tops <= TOOLS[package] | {package} | sys.stdlib_module_names, file


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    """A build that has nothing to upload, and `imghost --help`, start without them."""
    hosts = [name for name in modules() if name.startswith("imghost.hosts.")]
    heavy = ["httpx", "bs4", "PIL", "diskcache", "eth_account", "mkdocs", "sphinx"]
    program = (
        f"import sys, imghost.run.rehost, {', '.join(hosts)}\n"
        f"print([name for name in {[*heavy, 'click', 'jinja2']} if name in sys.modules])\n"
        f"import imghost.cli.parser\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.split("\n")[:2], done.stderr) == (["[]", "[]"], "")
