"""Modules import what lies below them: no circles, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = [  # bottom up; a module that stands in none of them may be anywhere between those that use it
    "errors hide models pages files durable scratch version",
    "hosts.account",
    "settings resolve csp provenance formats hosts",
    "environment lock cache scan rewrite http page_map images report",
    "hosts.origins hosts.once",
    "payload hosts.registry hosts.answers hosts.clock hosts.directory hosts.imgpro hosts.img402",
    "plan references upload removal",
    "prospect write_pages",
    "publish",
    "rehost",
    ". commands",
    "cli",
    "__main__",
]
DECIDING = "settings resolve csp provenance scan rewrite plan environment"
ADAPTERS = {
    "imghost": set[str](),
    "mkdocs_imghost": {"imghost", "mkdocs", "properdocs", "jinja2"},
    "sphinx_imghost": {"imghost", "sphinx", "docutils"},
}


def imports(file: Path, *, with_types: bool) -> Iterator[str]:
    """List what a module imports, wherever in it that stands."""
    tree = ast.parse(file.read_text("utf-8"))
    blocks = (node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    for_types = {inner for block in blocks for inner in ast.walk(block)}
    for node in ast.walk(tree):
        if with_types or node not in for_types:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file} imports by a relative name"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def graph() -> dict[str, set[str]]:
    """Draw which of the core's modules imports which, without what only types need."""
    files = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in (ROOT / "imghost").rglob("*.py")
    }
    return {
        name: {known for known in (owner(found, files) for found in imports(file, with_types=False)) if known}
        for name, file in files.items()
    }


def owner(name: str, modules: Iterable[str]) -> str:
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def reached(name: str, edges: dict[str, set[str]]) -> set[str]:
    """Follow imports to their end."""
    found: set[str] = set()
    left = [name]
    while left:
        new = edges[left.pop()] - found
        found |= new
        left += new
    return found


def named(names: str) -> list[str]:
    return [f"imghost.{name}".rstrip(".") for name in names.split()]


EDGES = graph()


def test_no_module_imports_itself_over_others() -> None:
    assert [name for name in EDGES if name in reached(name, EDGES)] == []


@pytest.mark.parametrize("number", range(len(LAYERS)))
def test_a_layer_reaches_nothing_above_it(number: int) -> None:
    above = {name for layer in LAYERS[number + 1 :] for name in named(layer)}
    for name in named(LAYERS[number]):
        assert reached(name, EDGES).isdisjoint(above), name


@pytest.mark.parametrize("name", named(DECIDING))
def test_what_decides_reaches_neither_the_network_nor_the_store(name: str) -> None:
    assert reached(name, EDGES).isdisjoint(named("http wire cache lock upload hosts.registry"))


@pytest.mark.parametrize("package", ADAPTERS)
def test_a_package_imports_only_the_tool_it_is_for(package: str) -> None:
    tools = {"imghost", "mkdocs", "properdocs", "jinja2", "sphinx", "docutils", "mkdocs_imghost", "sphinx_imghost"}
    for file in (ROOT / package).rglob("*.py"):
        found = {name.partition(".")[0] for name in imports(file, with_types=True)}
        assert found & tools <= ADAPTERS[package] | {package}, file
        if package != "imghost":
            assert found <= ADAPTERS[package] | {package} | sys.stdlib_module_names, file


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    """A build that has nothing to upload, and `imghost --help`, start without them."""
    hosts = [name for name in EDGES if name.startswith("imghost.hosts.")]
    heavy = ["httpx", "bs4", "PIL", "diskcache", "click", "eth_account", "mkdocs", "sphinx"]
    program = (
        f"import sys, imghost.rehost, imghost.cli, {', '.join(hosts)}\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
